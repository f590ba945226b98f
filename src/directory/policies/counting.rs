//! Which version counts: activated, rolled back, loaded in one step, and taken away.

use serde_json::{Value, json};

use super::{
    Draft, Files, Hand, Rules, Standing, conflict, drafted, operator, policy_set, standing, version,
};
use crate::decide::authorized::{Authorized, Operator, PolicyActivate, PolicyRollback};
use crate::directory::DirectoryError;
use crate::directory::change::{Change, RowId};
use crate::directory::object::{Body, OwnLibrary};
use crate::directory::snapshot::Snapshot;
use crate::log::entry::Fact;
use crate::log::vocabulary::Event;

/// Says that a version is about to be activated, so that every node makes it ready.
///
/// # Errors
/// As [`activate`].
pub fn announce(
    by: &Authorized<PolicyActivate>,
    snapshot: &Snapshot,
    wanted: &Wanted<'_>,
) -> Result<Change, DirectoryError> {
    let hand = Hand::of(by);
    may_count(hand, snapshot, wanted)?;
    let details = json!({ "version": wanted.number });
    Ok(announced(snapshot, wanted.number, details))
}

/// The same of a version that comes back.
///
/// # Errors
/// As [`roll_back`].
pub fn announce_rollback(
    _by: &Authorized<PolicyRollback>,
    snapshot: &Snapshot,
    number: u64,
) -> Result<Change, DirectoryError> {
    comes_back(snapshot, number)?;
    Ok(announced(snapshot, number, json!({ "version": number })))
}

/// Which version is to count.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its number.
    pub number: u64,
    /// What is active as far as whoever asks knows; it is refused where it is not.
    pub active: Option<u64>,
    /// The digest of the built-in policies.
    pub builtin: &'a str,
}

/// The same by the operator.
///
/// # Errors
/// As [`activate_by_operator`].
pub fn announce_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    number: u64,
) -> Result<Change, DirectoryError> {
    version(snapshot, number)?;
    is_not_active(snapshot, number)?;
    Ok(announced(snapshot, number, json!({ "version": number })))
}

/// Has a version count from here on.
///
/// # Errors
/// It is not there, it counts already, the active one is another than was said, or the organization's conditions are not met.
pub fn activate(
    by: &Authorized<PolicyActivate>,
    snapshot: &Snapshot,
    wanted: &Wanted<'_>,
) -> Result<Change, DirectoryError> {
    let hand = Hand::of(by);
    may_count(hand, snapshot, wanted)?;
    counts(hand, snapshot, Event::PolicyActivated, wanted.number)
}

/// The same by the operator, whom no condition holds.
///
/// # Errors
/// It is not there, or counts already.
pub fn activate_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    number: u64,
) -> Result<Change, DirectoryError> {
    version(snapshot, number)?;
    is_not_active(snapshot, number)?;
    counts(operator(by), snapshot, Event::PolicyActivated, number)
}

/// Has a version count again that was active before. Nothing is asked of it: taking something back must not wait for a solver, nor for a second
/// Admin in the night.
///
/// # Errors
/// It is not there, was never active, or counts already.
pub fn roll_back(
    by: &Authorized<PolicyRollback>,
    snapshot: &Snapshot,
    number: u64,
) -> Result<Change, DirectoryError> {
    comes_back(snapshot, number)?;
    let hand = Hand::of(by);
    counts(hand, snapshot, Event::PolicyRolledBack, number)
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn roll_back_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    number: u64,
) -> Result<Change, DirectoryError> {
    comes_back(snapshot, number)?;
    counts(operator(by), snapshot, Event::PolicyRolledBack, number)
}

/// Drafts and activates in one change. The organization's conditions hold here as well, and a version that was never checked or approved
/// meets none but that of its tests.
///
/// # Errors
/// As [`draft()`] and [`activate`].
pub fn load(
    by: &Authorized<PolicyActivate>,
    snapshot: &Snapshot,
    draft: &Draft,
) -> Result<Change, DirectoryError> {
    let hand = Hand::of(by);
    let standing = draft.standing()?;
    let active = snapshot.library().version;
    let unmet = snapshot.rules().conditions.unmet(
        &standing,
        (&hand.signed(), &hand.signed()),
        snapshot,
        // Whoever loads has run them just now.
        (active, draft.ran_beside()),
        hand.now,
    );
    if !unmet.is_empty() {
        let why = "this organization asks more of a version than can be met at once: draft it at `/v1/policy-versions`, and activate that";
        return Err(conflict(why.to_owned()));
    }
    loaded(hand, snapshot, (Event::PolicyActivated, draft))
}

/// The same by the operator, whom no condition holds.
///
/// # Errors
/// As [`draft()`].
pub fn load_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    draft: &Draft,
) -> Result<Change, DirectoryError> {
    loaded(operator(by), snapshot, (Event::PolicyActivated, draft))
}

/// Takes all of the organization's own policies away: the way in when they lock everybody out. Its schema goes too, unless
/// there are entities that need it.
///
/// # Errors
/// There is nothing to take away.
pub fn clear(by: &Operator, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let old = snapshot.library();
    let schema = if snapshot.own(None).next().is_some() {
        old.schema.clone()
    } else {
        String::new()
    };
    if old.policies.is_empty() && old.schema == schema {
        return Err(DirectoryError::invalid(
            "library",
            "the tenant has no policies of its own",
        ));
    }
    let files = Files {
        schema,
        ..Files::default()
    };
    let draft = Draft::of(files, "the built-in policies alone");
    loaded(operator(by), snapshot, (Event::PolicyRolledBack, &draft))
}

pub(super) fn is_not_active(snapshot: &Snapshot, number: u64) -> Result<(), DirectoryError> {
    if snapshot.library().version == number {
        return Err(conflict(format!("version {number} is active already")));
    }
    Ok(())
}

/// Whether a version may be activated by whoever asks.
fn may_count(hand: Hand, snapshot: &Snapshot, wanted: &Wanted<'_>) -> Result<(), DirectoryError> {
    let found = version(snapshot, wanted.number)?;
    is_not_active(snapshot, wanted.number)?;
    let active = snapshot.library().version;
    if let Some(said) = wanted.active
        && said != active
    {
        return Err(conflict(format!(
            "version {active} is active, and not {said}: look at what differs, and try again"
        )));
    }
    let standing = standing(snapshot, wanted.number);
    let unmet = snapshot.rules().conditions.unmet(
        &standing,
        (&found.drafted, &hand.signed()),
        snapshot,
        (active, wanted.builtin),
        hand.now,
    );
    if unmet.is_empty() {
        return Ok(());
    }
    Err(DirectoryError::Unmet {
        version: wanted.number,
        unmet,
    })
}

fn comes_back(snapshot: &Snapshot, number: u64) -> Result<(), DirectoryError> {
    version(snapshot, number)?;
    is_not_active(snapshot, number)?;
    if standing(snapshot, number).activated.is_none() {
        return Err(conflict(format!(
            "version {number} was never active: activate it"
        )));
    }
    Ok(())
}

fn announced(snapshot: &Snapshot, number: u64, details: Value) -> Change {
    let mut next = Rules::clone(snapshot.rules());
    next.next = Some(number);
    Change::new(Event::PolicyAnnounced, Some(policy_set(snapshot)), details)
        .put(RowId::Rules, Body::Rules(next))
}

/// Has a version count: the row of what is active, and what a stranger must be able to read of it.
fn counts(
    hand: Hand,
    snapshot: &Snapshot,
    event: Event,
    number: u64,
) -> Result<Change, DirectoryError> {
    let found = version(snapshot, number)?;
    let files = found.files(number)?;
    let change = counting(hand, snapshot, (event, number), (&files, &found.digest));
    let mut standing = standing(snapshot, number);
    let change = if standing.activated.is_none() {
        standing.activated = Some(hand.signed());
        change.put(RowId::Standing(number), Body::Standing(standing))
    } else {
        change
    };
    let mut rules = Rules::clone(snapshot.rules());
    // What counts is not beside itself.
    rules.shadow = rules.shadow.filter(|shadow| *shadow != number);
    rules.next = None;
    if rules == **snapshot.rules() {
        return Ok(change);
    }
    Ok(change.put(RowId::Rules, Body::Rules(rules)))
}

fn counting(
    hand: Hand,
    snapshot: &Snapshot,
    (event, number): (Event, u64),
    (files, digest): (&Files, &str),
) -> Change {
    let old = snapshot.library();
    let set = policy_set(snapshot);
    let names: Vec<_> = files.policies.iter().map(|(file, _)| file).collect();
    let reply = json!({ "version": number, "digest": digest, "policies": names });
    let details = json!({ "old": old.version, "new": number, "digest": digest, "policies": names });
    let mut change = Change::new(event, Some(set), details)
        .fact(Fact::PolicyVersion(number))
        .reply(reply);
    if files.schema != old.schema {
        change = change.and(Event::SchemaEdited, Some(set), json!({ "version": number }));
    }
    change.put(
        RowId::Library,
        Body::Library(OwnLibrary {
            version: number,
            schema: files.schema.clone(),
            policies: files.policies.clone(),
            activated: Some(hand.signed()),
        }),
    )
}

fn loaded(
    hand: Hand,
    snapshot: &Snapshot,
    (event, draft): (Event, &Draft),
) -> Result<Change, DirectoryError> {
    let (drafted, number) = drafted(hand, snapshot, draft)?;
    let files = (&draft.files, draft.digest.as_str());
    let mut change = counting(hand, snapshot, (event, number), files);
    let standing = Standing {
        activated: Some(hand.signed()),
        ..draft.standing()?
    };
    // One row each: the draft's standing is what it is once it counts.
    let mut rows = drafted.rows;
    rows.retain(|row| row.id() != RowId::Standing(number));
    rows.append(&mut change.rows);
    change.rows = rows;
    change.events.splice(0..0, drafted.events);
    Ok(change.put(RowId::Standing(number), Body::Standing(standing)))
}
