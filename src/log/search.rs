//! The search index of a log: for each block of entries a filter of the words that they say, and where in the block each is said.
//!
//! Both are derived from the segments and hold no word, only fingerprints; they are sealed where they are stored. An index answers
//! where a word *may* be said: whoever asks reads the entries themselves.
//!
//! Filter (`CKF1`): a Bloom filter, ten bits and seven probes a word. Places (`CKX1`), numbers big-endian: count of words (4), of each,
//! in ascending order, its fingerprint (8) and the end of its places (4, counted in places), then the places (2 each).

use sha2::{Digest as _, Sha256};

use super::flaw::Flaw;
use super::query::Spoken;

/// Entries in a block.
pub const BLOCK: u64 = 1_024;

const FILTER: &[u8; 4] = b"CKF1";
const PLACES: &[u8; 4] = b"CKX1";
const BITS_A_WORD: usize = 10;
const PROBES: u64 = 7;

/// What stands in the index for a word.
#[must_use]
pub fn fingerprint((about, word): Spoken<'_>) -> u64 {
    let hash = Sha256::new()
        .chain_update([about as u8])
        .chain_update(word.as_bytes())
        .finalize();
    hash.iter()
        .take(8)
        .fold(0, |print, byte| print << 8 | u64::from(*byte))
}

/// Collects what the entries of a block say.
#[derive(Debug, Default)]
pub struct Builder {
    said: Vec<(u64, u16)>,
}

impl Builder {
    /// The entry at this place of the block says the word of this [`fingerprint`].
    pub fn say(&mut self, place: u16, print: u64) {
        self.said.push((print, place));
    }

    /// The filter and the places, as they are stored once sealed.
    #[must_use]
    pub fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        self.said.sort_unstable();
        self.said.dedup();
        let words = || self.said.chunk_by(|(one, _), (other, _)| one == other);
        let count_of_words = words().count();
        let mut filter = FILTER.to_vec();
        filter.resize(4 + (count_of_words * BITS_A_WORD).div_ceil(8).max(1), 0);
        let (mut table, mut places) = (PLACES.to_vec(), Vec::new());
        table.extend_from_slice(&count(count_of_words));
        let mut end = 0;
        for word in words() {
            let Some((print, _)) = word.first() else {
                continue;
            };
            for bit in probes(*print, (filter.len() - 4) * 8) {
                if let Some(byte) = filter.get_mut(4 + bit / 8) {
                    *byte |= 1 << (bit % 8);
                }
            }
            end += word.len();
            table.extend_from_slice(&print.to_be_bytes());
            table.extend_from_slice(&count(end));
            places.extend(word.iter().flat_map(|(_, place)| place.to_be_bytes()));
        }
        table.extend_from_slice(&places);
        (filter, table)
    }
}

/// Whether a block may say all of these.
///
/// # Errors
/// Bytes that are no filter.
pub fn may_say(filter: &[u8], prints: &[u64]) -> Result<bool, Flaw> {
    let bits = filter
        .strip_prefix(FILTER)
        .filter(|bits| !bits.is_empty())
        .ok_or(damaged("it is no filter"))?;
    let set = |bit: usize| {
        bits.get(bit / 8)
            .is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
    };
    Ok(prints
        .iter()
        .all(|print| probes(*print, bits.len() * 8).all(set)))
}

/// The places of a block at which all of these may be said, ascending.
///
/// # Errors
/// Bytes that are no list of places.
pub fn places(stored: &[u8], prints: &[u64]) -> Result<Vec<u16>, Flaw> {
    let cut = || damaged("it is cut");
    let rest = stored
        .strip_prefix(PLACES)
        .ok_or(damaged("it is no list of places"))?;
    let (words, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let words = usize::try_from(u32::from_be_bytes(*words)).map_err(|_| cut())?;
    let (table, places) = words
        .checked_mul(12)
        .and_then(|length| rest.split_at_checked(length))
        .ok_or_else(cut)?;
    let (table, places) = (table.as_chunks::<12>().0, places.as_chunks::<2>().0);
    let mut all: Option<Vec<u16>> = None;
    for print in prints {
        let Ok(at) = table.binary_search_by_key(print, print_of) else {
            return Ok(Vec::new());
        };
        let end = |at: usize| table.get(at).map(end_of);
        let from = at.checked_sub(1).map_or(Some(0), end).ok_or_else(cut)?;
        let to = end(at).ok_or_else(cut)?;
        let said = places.get(from..to).ok_or_else(cut)?;
        let said = said.iter().map(|place| u16::from_be_bytes(*place));
        all = Some(match all {
            None => said.collect(),
            Some(before) => {
                let said: Vec<u16> = said.collect();
                let both = before.into_iter();
                both.filter(|place| said.binary_search(place).is_ok())
                    .collect()
            }
        });
    }
    Ok(all.unwrap_or_default())
}

fn print_of(word: &[u8; 12]) -> u64 {
    word.iter()
        .take(8)
        .fold(0, |print, byte| print << 8 | u64::from(*byte))
}

fn end_of(word: &[u8; 12]) -> usize {
    let end = word
        .iter()
        .skip(8)
        .fold(0_u32, |end, byte| end << 8 | u32::from(*byte));
    usize::try_from(end).unwrap_or(usize::MAX)
}

/// The bits of a filter that stand for a fingerprint: two halves of it, one step apart.
fn probes(print: u64, bits: usize) -> impl Iterator<Item = usize> {
    let bits = u64::try_from(bits).unwrap_or(u64::MAX).max(1);
    let (start, step) = (print >> 32, (print & 0xffff_ffff) | 1);
    (0..PROBES).map(move |probe| {
        let bit = start.wrapping_add(probe.wrapping_mul(step)) % bits;
        usize::try_from(bit).unwrap_or_default()
    })
}

fn count(number: usize) -> [u8; 4] {
    // INVARIANT: a block has BLOCK entries of at most some thousand words.
    u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes()
}

const fn damaged(what: &'static str) -> Flaw {
    Flaw::Segment { at: 0, what }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::query::About;
    use super::*;
    use proptest::prelude::*;

    fn prints(words: &[(About, &str)]) -> Vec<u64> {
        words.iter().map(|word| fingerprint(*word)).collect()
    }

    #[test]
    fn words_are_found_where_they_are_said_and_together() {
        let mut builder = Builder::default();
        for place in 0..1024_u16 {
            builder.say(place, fingerprint((About::Event, "decision.made")));
            let actor = if place % 2 == 0 { "ada" } else { "bob" };
            builder.say(place, fingerprint((About::Actor, actor)));
            builder.say(
                place,
                fingerprint((About::RequestId, &format!("request {place}"))),
            );
        }
        let (filter, stored) = builder.finish();
        let ask = |words: &[(About, &str)]| {
            assert!(may_say(&filter, &prints(words)).unwrap());
            places(&stored, &prints(words)).unwrap()
        };
        assert_eq!(ask(&[(About::Event, "decision.made")]).len(), 1024);
        assert_eq!(ask(&[(About::RequestId, "request 77")]), [77]);
        assert_eq!(
            ask(&[(About::RequestId, "request 77"), (About::Actor, "bob")]),
            [77]
        );
        assert!(ask(&[(About::RequestId, "request 77"), (About::Actor, "ada")]).is_empty());
        let absent = prints(&[(About::Resource, "ada")]);
        assert!(places(&stored, &absent).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_index_is_said() {
        let (filter, stored) = Builder::default().finish();
        assert!(!may_say(&filter, &[1]).unwrap());
        assert!(places(&stored, &[1]).unwrap().is_empty());
        assert!(may_say(b"CKF1", &[1]).is_err());
        assert!(may_say(b"other bytes", &[1]).is_err());
        assert!(places(b"CKX1\0\0\0\x02short", &[1]).is_err());
    }

    proptest! {
        #[test]
        fn nothing_that_is_said_is_missed(words in prop::collection::vec("[a-e]{1,3}", 1..200)) {
            let mut builder = Builder::default();
            for (place, word) in (0_u16..).zip(&words) {
                builder.say(place, fingerprint((About::Actor, word)));
            }
            let (filter, stored) = builder.finish();
            for word in &words {
                let print = [fingerprint((About::Actor, word))];
                prop_assert!(may_say(&filter, &print).unwrap());
                let said: Vec<u16> = (0_u16..).zip(&words).filter(|(_, other)| *other == word).map(|(place, _)| place).collect();
                prop_assert_eq!(places(&stored, &print).unwrap(), said);
            }
        }
    }
}
