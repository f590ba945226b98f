//! Versions of an organization's own policies: drafted, checked, approved, activated, and taken back.
//!
//! A version never changes; how far it has come stands beside it. Which one counts is a row of its own, with its texts, so that the state as
//! of any index has the policies that counted then. Whether a version compiles is seen by whoever brings it, before any of this.

mod counting;
pub mod files;
mod rules;
pub mod standing;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::change::{Change, RowId};
use super::object::{Body, Kind, Ref};
use super::snapshot::Snapshot;
use super::{DirectoryError, Through, hand};
use crate::decide::authorized::{Action, Authorized, Operator, PolicyActivate, PolicyEdit};
use crate::log::vocabulary::Event;
pub use counting::{
    Wanted, activate, activate_by_operator, announce, announce_by_operator, announce_rollback,
    clear, load, load_by_operator, roll_back, roll_back_by_operator,
};
pub use files::Files;
pub use rules::{agree, set_conditions, shadow};
pub use standing::{Checked, Conditions, Proposed, Rules, Signed, Standing, Tested};

/// The most versions that wait, none of which was ever active.
pub const DRAFTS_LIMIT: usize = 100;

/// The most bytes that all versions may take, as they are kept: about a tenth of their texts.
pub const KEPT_LIMIT: usize = 64 << 20;

/// The longest message, in bytes.
pub const MESSAGE_LIMIT: usize = 2_000;

/// One version, which never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// [`Files::digest`].
    pub digest: String,
    /// Its files.
    packed: String,
    /// What was active when it was drafted.
    pub base: u64,
    /// Who drafted it, and when.
    pub drafted: Signed,
}

impl PolicyVersion {
    /// Its files.
    ///
    /// # Errors
    /// What is stored is not what was written.
    pub fn files(&self, number: u64) -> Result<Files, DirectoryError> {
        Files::unpacked(&self.packed).ok_or_else(|| DirectoryError::WrongBody {
            id: RowId::Version(number).to_string(),
        })
    }
}

/// What somebody wants to be a version: its files compile beside the built-in ones.
#[derive(Debug, Clone)]
pub struct Draft {
    files: Files,
    /// As they are kept, and [`Files::digest`]: made once, and not while others wait for the log.
    packed: String,
    digest: String,
    tested: Option<Tested>,
    /// Which of them failed, in words: told, and not kept.
    failures: Vec<String>,
    message: String,
}

impl Draft {
    /// These files, and what they are for.
    #[must_use]
    pub fn of(files: Files, message: impl Into<String>) -> Self {
        Self {
            packed: files.packed(),
            digest: files.digest(),
            files,
            tested: None,
            failures: Vec::new(),
            message: message.into(),
        }
    }

    /// With what came of its tests, and which of them failed, in words.
    #[must_use]
    pub fn tested(self, tested: Option<Tested>, failures: Vec<String>) -> Self {
        Self {
            tested,
            failures,
            ..self
        }
    }

    /// How far it has come when it is drafted.
    fn standing(&self) -> Result<Standing, DirectoryError> {
        Ok(Standing {
            message: said(&self.message)?,
            tested: self.tested.clone(),
            ..Standing::default()
        })
    }

    /// The digest of the built-in policies beside which its tests ran.
    fn ran_beside(&self) -> &str {
        let tested = self.tested.as_ref();
        tested.map_or("", |tested| &tested.builtin)
    }

    /// What would come of it, as whoever drafts is told.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "digest": self.digest, "tests": self.tested, "failures": self.failures })
    }
}

/// Whose change it is, and when.
#[derive(Clone, Copy)]
struct Hand {
    by: Option<Ref>,
    through: Through,
    now: DateTime<Utc>,
}

impl Hand {
    /// Whoever was allowed it.
    const fn of<A: Action>(by: &Authorized<A>) -> Self {
        Self {
            by: by.user(),
            through: by.through(),
            now: by.now(),
        }
    }

    const fn signed(self) -> Signed {
        Signed {
            by: self.by,
            through: self.through,
            at: self.now,
        }
    }
}

/// Takes a draft as the next version.
///
/// # Errors
/// A message that cannot be read, too many drafts, or too much that is kept.
pub fn draft(
    by: &Authorized<PolicyEdit>,
    snapshot: &Snapshot,
    draft: &Draft,
) -> Result<Change, DirectoryError> {
    let hand = Hand::of(by);
    drafted(hand, snapshot, draft).map(|(change, _)| change)
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn draft_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    draft: &Draft,
) -> Result<Change, DirectoryError> {
    drafted(operator(by), snapshot, draft).map(|(change, _)| change)
}

/// Lets go of a draft that was never active.
///
/// # Errors
/// It is not there, it was active once, or it is evaluated beside the active one.
pub fn discard(
    _by: &Authorized<PolicyEdit>,
    snapshot: &Snapshot,
    number: u64,
) -> Result<Change, DirectoryError> {
    version(snapshot, number)?;
    if standing(snapshot, number).activated.is_some() {
        return Err(conflict(format!(
            "version {number} was active: it is kept, since answers were given by it"
        )));
    }
    if snapshot.rules().shadow == Some(number) {
        return Err(conflict(format!(
            "version {number} is evaluated beside the active one: end that first"
        )));
    }
    let details = json!({ "version": number });
    Ok(
        Change::new(Event::PolicyDiscarded, Some(policy_set(snapshot)), details)
            .end(RowId::Version(number))
            .end(RowId::Standing(number)),
    )
}

/// Keeps what was found about a version, and what came of its tests, which ran again.
///
/// # Errors
/// It is not there any more.
pub fn check(
    _by: &Authorized<PolicyEdit>,
    snapshot: &Snapshot,
    number: u64,
    (checked, tested): (&Checked, Option<&Tested>),
) -> Result<Change, DirectoryError> {
    version(snapshot, number)?;
    let mut standing = standing(snapshot, number);
    standing.checked = Some(checked.clone());
    standing.tested = tested.cloned();
    let details = json!({ "version": number, "checked": checked, "tests": tested });
    let change = Change::new(Event::PolicyChecked, Some(policy_set(snapshot)), details);
    Ok(stands(change, number, standing))
}

/// Approves a version.
///
/// # Errors
/// It is not there, whoever asks is its author, or has approved it.
pub fn approve(
    by: &Authorized<PolicyActivate>,
    snapshot: &Snapshot,
    number: u64,
) -> Result<Change, DirectoryError> {
    let found = version(snapshot, number)?;
    let user = by.user().ok_or(DirectoryError::NoActingUser)?;
    if found.drafted.by == Some(user) {
        return Err(conflict(format!(
            "version {number} is yours: another Admin approves it"
        )));
    }
    let mut standing = standing(snapshot, number);
    if standing.approvals.iter().any(|one| one.by == Some(user)) {
        return Err(conflict(format!("you have approved version {number}")));
    }
    let approval = Hand::of(by).signed();
    let author = found.drafted.hand();
    let is_apart = |one: hand::Hand| author.is_none_or(|author| one.is_apart_from(author));
    if !approval.hand().is_some_and(is_apart) {
        return Err(DirectoryError::OneHand);
    }
    standing.approvals.push(approval);
    let details = json!({ "version": number, "digest": found.digest });
    let change = Change::new(Event::PolicyApproved, Some(policy_set(snapshot)), details);
    Ok(stands(change, number, standing))
}

fn operator(by: &Operator) -> Hand {
    Hand {
        by: None,
        through: Through::Nobody,
        now: by.now(),
    }
}

fn policy_set(snapshot: &Snapshot) -> Ref {
    Ref::new(Kind::PolicySet, snapshot.org().id)
}

const fn conflict(why: String) -> DirectoryError {
    DirectoryError::Conflicting { why }
}

fn version(snapshot: &Snapshot, number: u64) -> Result<&PolicyVersion, DirectoryError> {
    let found = snapshot.version(number);
    found.ok_or_else(|| DirectoryError::NotFound {
        kind: "version",
        id: number.to_string(),
    })
}

fn standing(snapshot: &Snapshot, number: u64) -> Standing {
    snapshot.standing(number).cloned().unwrap_or_default()
}

fn stands(change: Change, number: u64, standing: Standing) -> Change {
    change
        .reply(json!({ "version": number }))
        .put(RowId::Standing(number), Body::Standing(standing))
}

fn drafted(
    hand: Hand,
    snapshot: &Snapshot,
    draft: &Draft,
) -> Result<(Change, u64), DirectoryError> {
    let standing = draft.standing()?;
    if hand.by.is_some() {
        has_room(snapshot, draft)?;
    }
    // Versions that were loaded before there were drafts have numbers, too.
    let rules = snapshot.rules();
    let number = rules
        .newest
        .max(snapshot.library().version)
        .saturating_add(1);
    let version = PolicyVersion {
        digest: draft.digest.clone(),
        packed: draft.packed.clone(),
        base: snapshot.library().version,
        drafted: hand.signed(),
    };
    let details = json!({
        "version": number, "digest": version.digest, "base": version.base, "message": standing.message,
        "policies": draft.files.policies.iter().map(|(file, _)| file).collect::<Vec<_>>(),
        "tests": draft.tested,
    });
    let reply = json!({
        "version": number, "digest": version.digest, "base": version.base, "tests": draft.tested,
        "failures": draft.failures,
    });
    let mut next = Rules::clone(rules);
    next.newest = number;
    let change = Change::new(Event::PolicyDrafted, Some(policy_set(snapshot)), details)
        .reply(reply)
        .put(RowId::Version(number), Body::Version(version))
        .put(RowId::Standing(number), Body::Standing(standing))
        .put(RowId::Rules, Body::Rules(next));
    Ok((change, number))
}

/// Whether there is room for one more. The operator's way back in is never shut by what others have drafted.
fn has_room(snapshot: &Snapshot, draft: &Draft) -> Result<(), DirectoryError> {
    let waiting = snapshot.versions().filter(|(number, _)| {
        let standing = snapshot.standing(*number);
        standing.is_none_or(|standing| standing.activated.is_none())
    });
    if waiting.count() >= DRAFTS_LIMIT {
        return Err(conflict(format!(
            "{DRAFTS_LIMIT} drafts wait already: discard some of them"
        )));
    }
    let kept = snapshot.versions().map(|(_, version)| version.packed.len());
    if kept.fold(draft.packed.len(), usize::saturating_add) > KEPT_LIMIT {
        return Err(conflict(
            "the versions that are kept take all the room that there is: discard drafts".to_owned(),
        ));
    }
    Ok(())
}

/// A message as people may write it: lines are fine.
fn said(message: &str) -> Result<String, DirectoryError> {
    let message = message.trim();
    if message.len() > MESSAGE_LIMIT {
        let why = format!("it is longer than {MESSAGE_LIMIT} bytes");
        return Err(DirectoryError::invalid("message", why));
    }
    let is_readable = |one: char| one == '\n' || !super::unreadable(one);
    if !message.chars().all(is_readable) {
        return Err(DirectoryError::invalid(
            "message",
            "it has control characters, or characters that change the direction of writing",
        ));
    }
    Ok(message.to_owned())
}
