//! How far a version has come, and what an organization asks of one before it counts.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::super::hand::{Hand, Through};
use super::super::object::{Object, Ref, Role};
use super::super::snapshot::Snapshot;

/// For how long what was found about a version speaks for it, in hours: what happened since was not replayed.
pub const CHECK_HOURS: i64 = 24;

/// Somebody, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Who; nobody where it was the operator.
    pub by: Option<Ref>,
    /// By whose key it came.
    #[serde(default)]
    pub through: Through,
    /// When.
    pub at: DateTime<Utc>,
}

impl Signed {
    /// Whose hand it is; nobody's where it was the operator.
    pub(super) fn hand(&self) -> Option<Hand> {
        let through = self.through;
        self.by.map(|by| Hand { by, through })
    }
}

/// What came of a version's tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// How many passed.
    pub passed: u64,
    /// How many did not.
    pub failed: u64,
    /// The digest of the built-in policies beside which they ran.
    #[serde(default)]
    pub builtin: String,
}

/// What came of the proofs about a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proved {
    /// How many properties hold, for every request.
    pub holds: u64,
    /// How many do not.
    pub fails: u64,
    /// Of how many it is not known: the solver gave up.
    pub unknown: u64,
}

/// What came of replaying decisions under a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// The index of the first entry that was looked at.
    pub from: u64,
    /// The index behind the last one.
    pub to: u64,
    /// How many decisions were made again.
    pub decisions: u64,
    /// How many would be allowed that were denied.
    pub gained: u64,
    /// How many would be denied that were allowed.
    pub lost: u64,
    /// How many could not be made again.
    pub left_out: u64,
    /// How many of those the version itself stands against: it does not know their action, or what was said does not fit it.
    #[serde(default)]
    pub unknown: u64,
    /// Of how many of the newest decisions it is; 0 of another stretch of the log, which says nothing about the newest.
    #[serde(default)]
    pub newest: u64,
}

/// What was found about a version, and against what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The version that was active.
    pub against: u64,
    /// The digest of the built-in policies.
    pub builtin: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The proofs; absent where none were made.
    pub proved: Option<Proved>,
    /// Whether proofs were wanted, and no solver was there.
    #[serde(default)]
    pub without_solver: bool,
    /// The replay.
    pub replayed: Option<Replayed>,
}

/// How far a version has come. The version itself never changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What whoever drafted it says about it; nothing once they are forgotten.
    #[serde(default)]
    pub message: String,
    /// What came of its tests; absent where it has none.
    pub tested: Option<Tested>,
    /// What was found about it last.
    pub checked: Option<Checked>,
    /// Who approved it.
    pub approvals: Vec<Signed>,
    /// When it was activated first.
    pub activated: Option<Signed>,
}

/// Whether proofs are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// No.
    #[default]
    No,
    /// It was checked, and nothing fails; without a solver, or where it gives up, the version is let through.
    IfPossible,
    /// Everything must hold.
    Yes,
}

/// How many answers a replay may show to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flips {
    /// Of how many of the newest decisions.
    pub last: u64,
    /// How many at most.
    pub most: u64,
}

/// What an organization asks of a version before it is activated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// It has tests, and all of them pass.
    pub tests: bool,
    /// The guardrails are proved.
    pub proof: Demand,
    /// A replay changes few answers.
    pub replay: Option<Flips>,
    /// Two people have had a hand in it.
    pub approval: bool,
}

/// Conditions that wait for another Admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// Which.
    pub conditions: Conditions,
    /// Whose wish it is.
    pub by: Signed,
}

/// What counts for all versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The number of the newest version that there ever was.
    pub newest: u64,
    /// What is asked of a version.
    pub conditions: Conditions,
    /// What somebody wants to ask instead.
    pub proposed: Option<Proposed>,
    /// The version that is evaluated beside the active one.
    pub shadow: Option<u64>,
    /// The version that is about to be activated: every node makes it ready.
    pub next: Option<u64>,
}

impl Conditions {
    /// Whether these ask for less than those in anything.
    #[must_use]
    pub fn are_weaker_than(&self, those: &Self) -> bool {
        let replay = match (self.replay, those.replay) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(these), Some(those)) => these.last < those.last || these.most > those.most,
        };
        replay
            || (those.tests && !self.tests)
            || (those.approval && !self.approval)
            || self.proof < those.proof
    }

    /// What stands against a version that is to be activated: each with the next step. `against`: what is active now, and the digest of the
    /// built-in policies.
    #[must_use]
    pub fn unmet(
        &self,
        standing: &Standing,
        (author, by): (&Signed, &Signed),
        snapshot: &Snapshot,
        (against, builtin): (u64, &str),
        now: DateTime<Utc>,
    ) -> Vec<String> {
        let mut unmet = Vec::new();
        if self.tests {
            match &standing.tested {
                None => unmet.push("it has no tests: draft it again with some".to_owned()),
                Some(tested) if tested.builtin != builtin => unmet.push(
                    "its tests ran beside other built-in policies than there are now: check it, which runs them again".to_owned(),
                ),
                Some(tested) if tested.failed == 0 && tested.passed > 0 => {}
                Some(Tested { failed, passed, .. }) => unmet.push(format!(
                    "{failed} of its {} tests fail: draft it again",
                    passed.saturating_add(*failed)
                )),
            }
        }
        let fresh = standing.checked.as_ref().filter(|checked| {
            checked.against == against
                && checked.builtin == builtin
                && now.signed_duration_since(checked.at) < Duration::hours(CHECK_HOURS)
        });
        if fresh.is_none() && (self.proof != Demand::No || self.replay.is_some()) {
            unmet.push(format!(
                "it was not checked against the active version {against} in the last {CHECK_HOURS} hours: check it"
            ));
        }
        if let Some(checked) = fresh {
            self.unproved(checked, &mut unmet);
            self.flipped(checked.replayed, &mut unmet);
        }
        if self.approval && !is_of_two(standing, author, by, snapshot) {
            unmet.push("another Admin has not approved it: ask one to".to_owned());
        }
        unmet
    }

    fn unproved(&self, checked: &Checked, unmet: &mut Vec<String>) {
        match (self.proof, checked.proved) {
            (Demand::No, _) => {}
            (Demand::IfPossible, None) if checked.without_solver => {}
            (_, None) if checked.without_solver => unmet.push(
                "nothing was proved, since no solver was there: install cvc5 on the node, and check it again".to_owned(),
            ),
            (_, None) => unmet.push("nothing was proved: check it with proofs".to_owned()),
            (_, Some(Proved { fails, .. })) if fails > 0 => {
                unmet.push(format!("{fails} properties do not hold: look at its check"));
            }
            (Demand::Yes, Some(Proved { unknown, holds, .. })) if unknown > 0 || holds == 0 => {
                unmet.push(format!(
                    "{unknown} properties are not proved, since the solver gave up: check it again, or with more time"
                ));
            }
            _ => {}
        }
    }

    fn flipped(&self, replayed: Option<Replayed>, unmet: &mut Vec<String>) {
        let Some(Flips { last, most }) = self.replay else {
            return;
        };
        let Some(replayed) = replayed else {
            unmet.push("nothing was replayed: check it with a replay".to_owned());
            return;
        };
        if replayed.newest < last {
            unmet.push(format!(
                "the newest {} decisions were replayed, and {last} are asked for: check it again with a replay of them",
                replayed.newest
            ));
        }
        let others = replayed.left_out.saturating_sub(replayed.unknown);
        if others > replayed.decisions {
            unmet.push(format!(
                "{others} decisions could not be made again, and {} could: what it changes is not known",
                replayed.decisions
            ));
        }
        let changed = replayed.gained.saturating_add(replayed.lost);
        let flips = changed.saturating_add(replayed.unknown);
        if flips > most {
            unmet.push(format!(
                "{flips} answers would change ({} gained, {} lost, {} that it could not answer), and {most} may",
                replayed.gained, replayed.lost, replayed.unknown
            ));
        }
    }
}

/// Whether two people at least wrote it, approved it or activate it. Whoever is no active Admin any more has approved nothing.
fn is_of_two(standing: &Standing, author: &Signed, by: &Signed, snapshot: &Snapshot) -> bool {
    let Some(by) = by.hand() else {
        return false;
    };
    let hands = standing.approvals.iter().chain([author]);
    let mut others = hands.filter_map(Signed::hand);
    others.any(|one| is_admin(snapshot, one.by) && one.is_apart_from(by))
}

/// Whether this is an active Admin.
pub(super) fn is_admin(snapshot: &Snapshot, who: Ref) -> bool {
    let found = snapshot.object(who).map(|stored| &stored.value);
    matches!(found, Some(Object::User(user)) if user.active && user.role == Role::Admin)
}
