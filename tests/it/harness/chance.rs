//! Chance that can be had again: every test that uses it prints its seed, and `SEED=n` repeats it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Numbers from a seed (SplitMix64): good enough to choose moments and names, and for nothing secret.
pub struct Chance(u64);

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
        Self(seed)
    }

    /// Another that goes its own way from here.
    pub fn another(&mut self) -> Self {
        Self(self.number())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
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
