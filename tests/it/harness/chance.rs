//! Chance that can be had again: every test that uses it prints its seed, and `SEED=n` repeats it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Numbers from a seed (SplitMix64): good enough to choose moments and names, and for nothing secret.
pub struct Chance {
    seed: u64,
    /// What is chosen before anything is left to chance.
    chosen: std::vec::IntoIter<u16>,
}

impl Chance {
    /// From `SEED`, else from the clock; the seed is printed either way.
    pub fn of_this_run(test: &str) -> Self {
        let seed = match std::env::var("SEED") {
            Ok(text) => text.parse().expect("`SEED` is a number"),
            Err(_) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                u64::from(since.subsec_nanos()) ^ since.as_secs()
            }
        };
        println!("{test}: SEED={seed}");
        Self::of_seed(seed)
    }

    fn of_seed(seed: u64) -> Self {
        Self {
            seed,
            chosen: Vec::new().into_iter(),
        }
    }

    /// Two bytes for each choice, so that whoever changes a few of them changes a few choices; then from their sum.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let (pairs, _) = bytes.as_chunks();
        let chosen: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
        Self {
            seed: bytes.iter().copied().map(u64::from).sum(),
            chosen: chosen.into_iter(),
        }
    }

    /// Another that goes its own way from here.
    pub fn another(&mut self) -> Self {
        Self::of_seed(self.number())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        if let Some(choice) = self.chosen.next() {
            // Who chooses among a few looks at the upper bits.
            return u64::from(choice) << 16;
        }
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A span of time between two others.
    pub fn span(&mut self, least: Duration, most: Duration) -> Duration {
        let range = u64::try_from((most - least).as_micros()).unwrap().max(1);
        least + Duration::from_micros(self.number() % range)
    }

    /// A word of 13 lower-case letters and digits: no normalisation changes it.
    pub fn word(&mut self) -> String {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345679";
        let number = self.number();
        (0..13)
            .map(|at| char::from(LETTERS[usize::try_from(number >> (at * 5) & 31).unwrap()]))
            .collect()
    }
}
