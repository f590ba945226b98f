//! References in order: most lists are of one or of a few, some of everything that there is.

use std::ops::{Bound, RangeBounds as _};
use std::sync::Arc;

use imbl::OrdSet;

use super::object::Ref;
use super::pointing::InOrder;

/// So many are one slice, which is copied to change it.
const FEW: usize = 24;

/// Some references, none twice. A state shares with the one before it what did not change.
#[derive(Clone)]
pub(super) enum Refs {
    One(Ref),
    /// INVARIANT: sorted.
    Few(Arc<[Ref]>),
    Many(OrdSet<Ref>),
}

impl Refs {
    pub(super) fn insert(&mut self, new: Ref) {
        match self {
            Self::One(one) if *one == new => {}
            Self::One(one) => *self = Self::Few([new.min(*one), new.max(*one)].into()),
            Self::Few(few) => {
                let Err(at) = few.binary_search(&new) else {
                    return;
                };
                let (before, after) = few.split_at(at);
                let all = before.iter().chain([&new]).chain(after).copied();
                *self = match few.len() < FEW {
                    true => Self::Few(all.collect()),
                    false => Self::Many(all.collect()),
                };
            }
            Self::Many(many) => {
                many.insert(new);
            }
        }
    }

    /// The same without one of them; nothing where it was the last.
    #[must_use]
    pub(super) fn without(mut self, old: Ref) -> Option<Self> {
        match &mut self {
            Self::One(one) if *one == old => return None,
            Self::One(_) => {}
            Self::Few(few) => {
                let rest = few.iter().copied().filter(|one| *one != old);
                self = Self::of(rest.collect())?;
            }
            Self::Many(many) => {
                many.remove(&old);
                // Half of them, so that one more and one less do not copy them all each time.
                if many.len() <= FEW / 2 {
                    self = Self::of(many.iter().copied().collect())?;
                }
            }
        }
        Some(self)
    }

    fn of(sorted: Vec<Ref>) -> Option<Self> {
        match sorted.as_slice() {
            [] => None,
            [one] => Some(Self::One(*one)),
            few => Some(Self::Few(few.into())),
        }
    }

    /// Those from one to another.
    pub(super) fn range(&self, within: (Bound<Ref>, Bound<Ref>)) -> InOrder<'_> {
        match self {
            Self::One(one) => Box::new(within.contains(one).then_some(*one).into_iter()),
            Self::Few(few) => Box::new(few.iter().copied().filter(move |one| within.contains(one))),
            Self::Many(many) => Box::new(many.range(within).copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::object::Kind;
    use super::*;

    proptest! {
        #[test]
        fn they_are_a_set_in_order(steps in prop::collection::vec((any::<bool>(), 0_u8..60), 0..300), from in 0_u8..60) {
            let one = |number: u8| Ref::new(Kind::Thread, [number; 16]);
            let (mut wanted, mut found) = (BTreeSet::new(), None::<Refs>);
            for (is_added, number) in steps {
                let before = found.clone();
                let was: Vec<Ref> = wanted.iter().copied().collect();
                if is_added {
                    wanted.insert(one(number));
                    match &mut found {
                        Some(found) => found.insert(one(number)),
                        None => found = Some(Refs::One(one(number))),
                    }
                } else {
                    wanted.remove(&one(number));
                    found = found.and_then(|found| found.without(one(number)));
                }
                let all = |refs: &Option<Refs>, start: Bound<Ref>| -> Vec<Ref> {
                    refs.iter().flat_map(|refs| refs.range((start, Bound::Unbounded))).collect()
                };
                let now: Vec<Ref> = wanted.iter().copied().collect();
                prop_assert_eq!(all(&found, Bound::Unbounded), now);
                prop_assert_eq!(all(&before, Bound::Unbounded), was);
                let behind: Vec<Ref> = wanted.range((Bound::Excluded(one(from)), Bound::Unbounded)).copied().collect();
                prop_assert_eq!(all(&found, Bound::Excluded(one(from))), behind);
            }
        }
    }
}
