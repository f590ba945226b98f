//! Whose hand is in something, where it takes two people.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DirectoryError;
use super::object::Ref;
use crate::decide::authorized::{Action, Authorized};

/// By whose key something came. Whoever has a key speaks for anybody, so what comes by one that an Admin made may be that Admin's doing
/// alone, in whosever name it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Through {
    /// By nobody's: a session, or a key of the operator's.
    Nobody,
    /// By one that this Admin made.
    Admin(Ref),
    /// By one that several Admins had a hand in, or of which nobody knows who made it.
    #[default]
    Several,
}

impl Through {
    /// Whose a key is that somebody makes who comes by this one.
    pub(super) fn made_by(self, who: Option<Ref>) -> Self {
        match (self, who) {
            // A back end of the operator's that acts for nobody.
            (Self::Nobody, None) => Self::Nobody,
            (Self::Nobody, Some(who)) => Self::Admin(who),
            (Self::Admin(maker), Some(who)) if maker == who => self,
            _ => Self::Several,
        }
    }

    /// As a caller of the API reads it.
    pub(super) fn told(self) -> Value {
        match self {
            Self::Nobody => json!("operator"),
            Self::Admin(who) => json!(who),
            Self::Several => Value::Null,
        }
    }
}

/// Whose doing something may be. What comes by a session, or by a back end that the operator has let in, is the person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hand {
    /// In whose name it was done.
    pub(super) by: Ref,
    /// By whose key.
    pub(super) through: Through,
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

    /// Everybody whose it may be; nothing where that is not known.
    fn people(self) -> Option<[Ref; 2]> {
        match self.through {
            Through::Nobody => Some([self.by; 2]),
            Through::Admin(maker) => Some([self.by, maker]),
            Through::Several => None,
        }
    }

    /// Whether these two are surely those of two people.
    #[must_use]
    pub(super) fn is_apart_from(self, other: Self) -> bool {
        let both = self.people().zip(other.people());
        both.is_some_and(|(these, those)| these.iter().all(|one| !those.contains(one)))
    }

    /// Whether it is surely that of one of these people.
    #[must_use]
    pub(super) fn is_of(self, people: &[Ref]) -> bool {
        let these = self.people();
        these.is_some_and(|these| these.iter().all(|one| people.contains(one)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::Kind;
    use super::*;

    #[test]
    fn a_key_that_an_admin_made_is_no_second_hand_of_theirs() {
        let [ada, bob, eve] = [1, 2, 3].map(|id| Ref::new(Kind::User, [id; 16]));
        let hand = |by, through: Option<Ref>| {
            let through = through.map_or(Through::Nobody, Through::Admin);
            Hand { by, through }
        };
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
        // Nobody knows whose it is.
        let unknown = Hand {
            by: ada,
            through: Through::default(),
        };
        assert!(!unknown.is_apart_from(hand(bob, None)) && !unknown.is_of(&[ada, bob]));
    }

    #[test]
    fn who_makes_a_key_by_anothers_has_a_hand_in_it_beside_them() {
        let [ada, bob] = [1, 2].map(|id| Ref::new(Kind::User, [id; 16]));
        let adas = Through::Nobody.made_by(Some(ada));
        assert_eq!(adas, Through::Admin(ada));
        assert_eq!(adas.made_by(Some(ada)), adas);
        assert_eq!(adas.made_by(Some(bob)), Through::Several);
        assert_eq!(adas.made_by(None), Through::Several);
        assert_eq!(Through::Several.made_by(Some(bob)), Through::Several);
        assert_eq!(Through::Nobody.made_by(None), Through::Nobody);
    }
}
