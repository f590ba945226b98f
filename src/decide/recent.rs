//! What the newest entries say, held in memory until the search index has it: a block that this node appended whole need not be read
//! back and opened again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::log::search::{BLOCK, Builder};

/// How many full blocks are held; the oldest gives way, and is read when its turn comes.
const BLOCKS: usize = 64;

/// After so long it is looked anew whether every block before has its row: somebody else may have taken the index away.
const LOOKED: Duration = Duration::from_secs(3_600);

/// What this node's last entries say, block by block, and how far the index is known to reach.
#[derive(Debug, Default)]
pub struct Recent {
    held: Mutex<Held>,
    reaches: Mutex<Option<Reach>>,
}

/// Every block before this one was seen to be indexed, since then.
#[derive(Debug, Clone, Copy)]
struct Reach {
    block: u64,
    since: Instant,
}

#[derive(Debug, Default)]
struct Held {
    /// The index that follows the last entry that was held.
    next: u64,
    /// The block that is filling; nothing where its beginning was not seen.
    filling: Option<Builder>,
    full: BTreeMap<u64, Builder>,
}

impl Recent {
    /// The first block that is not known to be indexed: those before it need not be counted again.
    pub(super) fn reaches(&self, now: Instant) -> u64 {
        let reach = *self.reaches.lock().unwrap_or_else(PoisonError::into_inner);
        let reach = reach.filter(|reach| now.saturating_duration_since(reach.since) < LOOKED);
        reach.map_or(0, |reach| reach.block)
    }

    /// Every block before this one is indexed.
    pub(super) fn reach(&self, block: u64, now: Instant) {
        let mut reach = self.reaches.lock().unwrap_or_else(PoisonError::into_inner);
        let since = reach
            .map(|reach| reach.since)
            .filter(|since| now.saturating_duration_since(*since) < LOOKED);
        let since = since.unwrap_or(now);
        *reach = Some(Reach { block, since });
    }

    /// Holds what these entries say, which follow one another from `first` on. They are committed.
    pub(super) fn append(&self, first: u64, prints: &[Vec<u64>]) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.next != first {
            held.filling = None;
        }
        for (index, prints) in (first..).zip(prints) {
            let (block, place) = (index / BLOCK, index % BLOCK);
            if place == 0 {
                held.filling = Some(Builder::default());
            }
            if let (Some(builder), Ok(place)) = (&mut held.filling, u16::try_from(place)) {
                prints.iter().for_each(|print| builder.say(place, *print));
            }
            if place == BLOCK - 1
                && let Some(builder) = held.filling.take()
            {
                held.full.insert(block, builder);
                while held.full.len() > BLOCKS {
                    held.full.pop_first();
                }
            }
            held.next = index + 1;
        }
    }

    /// What the entries of a block say, where all of them are held. It is let go of.
    pub(super) fn take(&self, block: u64) -> Option<Builder> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.full.remove(&block)
    }

    /// Lets go of everything: somebody's words are no longer theirs to be found by.
    pub(super) fn forget(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Held::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(entries: u64) -> Vec<Vec<u64>> {
        (0..entries).map(|number| vec![number, 7]).collect()
    }

    #[test]
    fn a_block_is_held_once_it_was_seen_whole() {
        let recent = Recent::default();
        recent.append(0, &said(1_000));
        assert!(recent.take(0).is_none());
        recent.append(1_000, &said(1_100));
        assert!(recent.take(0).is_some());
        assert!(recent.take(0).is_none(), "it was let go of");
        assert!(recent.take(1).is_some());
        // The third begins at 2,048 and the next entry is 2,100; another node's entries are missing.
        recent.append(2_200, &said(1_000));
        assert!(recent.take(2).is_none());
        recent.append(3_200, &said(1_000));
        assert!(recent.take(3).is_some());
        recent.append(4_200, &said(1_000));
        recent.forget();
        assert!(recent.take(4).is_none());
    }

    #[test]
    fn how_far_the_index_reaches_is_known_for_an_hour() {
        let (recent, begun) = (Recent::default(), Instant::now());
        assert_eq!(recent.reaches(begun), 0);
        recent.reach(7, begun);
        recent.forget();
        let later = begun + LOOKED / 2;
        assert_eq!(recent.reaches(later), 7, "what is indexed stays so");
        recent.reach(9, later);
        assert_eq!(recent.reaches(begun + LOOKED), 0, "since it was looked at");
        recent.reach(8, begun + LOOKED);
        assert_eq!(recent.reaches(begun + LOOKED + LOOKED / 2), 8);
    }

    #[test]
    fn what_nobody_takes_is_bounded() {
        let recent = Recent::default();
        let blocks = BLOCKS as u64 + 10;
        recent.append(0, &said(blocks * BLOCK));
        assert!(recent.take(9).is_none());
        assert!(recent.take(10).is_some());
    }
}
