//! What the newest entries say, held in memory until the search index has it: a block that this node appended whole need not be read
//! back and opened again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::log::search::{BLOCK, Builder};

/// How many full blocks are held; the oldest gives way, and is read when its turn comes.
const BLOCKS: usize = 64;

/// What this node's last entries say, block by block.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// The index that follows the last entry that was held.
    next: u64,
    /// The block that is filling; nothing where its beginning was not seen.
    filling: Option<Builder>,
    full: BTreeMap<u64, Builder>,
}

impl Recent {
    /// Holds what these entries say, which follow one another from `first` on. They are committed.
    pub(super) fn append(&self, first: u64, prints: &[Vec<u64>]) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.full.remove(&block)
    }

    /// Lets go of everything: somebody's words are no longer theirs to be found by.
    pub(super) fn forget(&self) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn what_nobody_takes_is_bounded() {
        let recent = Recent::default();
        let blocks = BLOCKS as u64 + 10;
        recent.append(0, &said(blocks * BLOCK));
        assert!(recent.take(9).is_none());
        assert!(recent.take(10).is_some());
    }
}
