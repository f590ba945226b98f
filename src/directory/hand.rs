//! Whose hand is in something, where it takes two people.

use super::DirectoryError;
use super::object::Ref;
use crate::decide::authorized::{Action, Authorized};

/// Whose doing something may be. Whoever has a key speaks for anybody, so what comes by one that an Admin made may be that Admin's doing
/// alone, in whosever name it is. What comes by a session, or by a back end that the operator has let in, is the person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hand {
    /// In whose name it was done.
    pub(super) by: Ref,
    /// The Admin who made the key that it came by, or the certificate's binding.
    pub(super) through: Option<Ref>,
}

impl Hand {
    /// Whoever was allowed it.
    ///
    /// # Errors
    /// Nobody acts.
    pub(super) fn of<A: Action>(by: &Authorized<A>) -> Result<Self, DirectoryError> {
        Ok(Self {
            by: by.user().ok_or(DirectoryError::NoActingUser)?,
            through: by.through(),
        })
    }

    /// Whether these two are surely those of two people.
    #[must_use]
    pub(super) fn is_apart_from(self, other: Self) -> bool {
        let may_be = |who: Ref| other.by == who || other.through == Some(who);
        !may_be(self.by) && !self.through.is_some_and(may_be)
    }

    /// Whether it is surely that of one of these people.
    #[must_use]
    pub(super) fn is_of(self, people: &[Ref]) -> bool {
        people.contains(&self.by) && self.through.is_none_or(|one| people.contains(&one))
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::Kind;
    use super::*;

    #[test]
    fn a_key_that_an_admin_made_is_no_second_hand_of_theirs() {
        let [ada, bob, eve] = [1, 2, 3].map(|id| Ref::new(Kind::User, [id; 16]));
        let hand = |by, through| Hand { by, through };
        for (one, other, apart) in [
            (hand(ada, None), hand(bob, None), true),
            (hand(ada, None), hand(ada, None), false),
            (hand(ada, None), hand(bob, Some(ada)), false),
            (hand(ada, Some(eve)), hand(bob, Some(eve)), false),
            (hand(ada, Some(eve)), hand(bob, None), true),
            (hand(ada, Some(bob)), hand(bob, None), false),
            (hand(ada, Some(ada)), hand(bob, Some(bob)), true),
        ] {
            assert_eq!(one.is_apart_from(other), apart, "{one:?} {other:?}");
            assert_eq!(other.is_apart_from(one), apart, "{other:?} {one:?}");
        }
        assert!(hand(ada, None).is_of(&[ada, bob]) && hand(ada, Some(bob)).is_of(&[ada, bob]));
        assert!(!hand(ada, Some(eve)).is_of(&[ada, bob]) && !hand(eve, None).is_of(&[ada, bob]));
    }
}
