//! A decision made again, beside what was recorded of it: whether it is the same, and if not, in which way.

use super::super::error::Refused;
use super::super::record::{self, Names};
use super::decision::{Decision, Why, reference};
use super::past::Seen;
use crate::log::entry::Outcome;
use crate::policy::{Determining, Evaluation};

/// In which way a decision comes out otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// It was denied, and is allowed.
    Gained,
    /// It was allowed, and is denied.
    Lost,
    /// The outcome is the same; other policies decide, it is refused for another reason, or others fail.
    Otherwise,
}

impl Turn {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Gained, Self::Lost, Self::Otherwise];

    /// A word for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::Lost => "lost",
            Self::Otherwise => "other_policies",
        }
    }
}

/// What a decision comes to when it is made again.
#[derive(Debug)]
pub(super) enum After {
    /// An answer.
    Answer(Evaluation),
    /// None, or none that can be compared: what is wrong.
    Wrong(String),
}

/// A decision that was made again.
#[derive(Debug)]
pub(super) struct Made {
    /// Nothing: it is the same.
    pub(super) turn: Option<Turn>,
    pub(super) after: After,
}

/// Under what decisions are made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decide) enum Mode {
    /// What they were made under: everything must be as it was recorded.
    Recorded,
    /// A draft, in place of what the tenant had of its own.
    Draft,
}

/// Makes a decision again; or why not.
pub(super) fn make(
    names: &Names,
    decision: &Decision,
    seen: &Seen,
    mode: Mode,
) -> Result<Made, (Why, String)> {
    let wrong = |what: String| Made {
        turn: Some(Turn::Otherwise),
        after: After::Wrong(what),
    };
    if mode == Mode::Draft && seen.lacks {
        let vocabulary = seen.world.compiled().vocabulary();
        let action = &decision.asked.action;
        if vocabulary.action(action).is_some_and(|one| one.is_own()) {
            return Err((Why::Entities, action.clone()));
        }
    }
    let (evaluation, on) = match (decision.again(&seen.world), mode) {
        (Ok(answered), _) => answered,
        (Err(refused), Mode::Recorded) => return Ok(wrong(refused.to_string())),
        (Err(refused), Mode::Draft) => {
            let why = match &refused {
                Refused::Unknown { .. } => Why::Unknown,
                Refused::Nobody { .. } => Why::Nobody,
                _ => Why::Misfit,
            };
            return Err((why, refused.to_string()));
        }
    };
    if mode == Mode::Recorded {
        let entry = &decision.entry;
        let named = [&entry.actor, &entry.acts_for, &entry.resource];
        if named.map(|one| reference(one.as_ref())) != on {
            return Ok(wrong("it is about others than the entry names".to_owned()));
        }
        let version = seen.world.snapshot().library().version;
        if entry.policy_version != Some(version) {
            let why = format!(
                "version {version} of the policies was in force, and the entry names another"
            );
            return Ok(wrong(why));
        }
    }
    Ok(Made {
        turn: turn(names, decision, &evaluation),
        after: After::Answer(evaluation),
    })
}

/// In which way an answer is not the one that was recorded; nothing where it is.
fn turn(names: &Names, decision: &Decision, evaluation: &Evaluation) -> Option<Turn> {
    let was = decision.entry.outcome;
    match (was == Outcome::Allow, evaluation.is_allowed()) {
        (false, true) => return Some(Turn::Gained),
        (true, false) => return Some(Turn::Lost),
        _ => {}
    }
    let same = was.refusal() == evaluation.refusal.as_ref().map(record::refusal)
        && same_policies(names, decision, &evaluation.determining)
        && same_failures(decision, evaluation);
    (!same).then_some(Turn::Otherwise)
}

fn same_policies(names: &Names, decision: &Decision, determining: &[Determining]) -> bool {
    let in_leaf = &decision.entry.policies;
    let ours = || determining.iter().filter_map(|one| names.policy(one));
    let mut apart = determining.iter().filter(|one| names.is_apart(one));
    let mut recorded = decision.apart.determining.iter();
    let same_apart = recorded.by_ref().all(|recorded| {
        apart
            .next()
            .is_some_and(|one| *one.id == *recorded.id && one.link == recorded.link)
    });
    // Several links may be of one template, which stands in the leaf once.
    same_apart
        && apart.next().is_none()
        && ours().all(|one| in_leaf.contains(one))
        && in_leaf
            .iter()
            .all(|recorded| ours().any(|one| one == recorded))
}

fn same_failures(decision: &Decision, evaluation: &Evaluation) -> bool {
    let recorded = decision.apart.failed.iter();
    let failures = evaluation.failures.iter();
    recorded
        .map(|one| (&one.id, &one.error))
        .eq(failures.map(|one| (&one.id, &one.message)))
}
