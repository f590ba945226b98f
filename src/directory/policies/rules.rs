//! What is asked of versions, and which one is evaluated beside the active one.

use serde_json::json;

use super::counting::is_not_active;
use super::standing::is_admin;
use super::{Conditions, Hand, Proposed, Rules, conflict, policy_set, version};
use crate::decide::authorized::{Authorized, PolicyActivate, PolicyEdit};
use crate::directory::DirectoryError;
use crate::directory::change::{Change, RowId};
use crate::directory::object::{Body, Ref};
use crate::directory::snapshot::Snapshot;
use crate::log::vocabulary::Event;

/// Asks for other conditions; for those that stand, to take back what was asked for instead. Where two people are asked for and these ask for less than those that stand, they wait for another Admin.
///
/// # Errors
/// They stand already, or a number that cannot be.
pub fn set_conditions(
    by: &Authorized<PolicyActivate>,
    snapshot: &Snapshot,
    conditions: &Conditions,
) -> Result<Change, DirectoryError> {
    if let Some(flips) = conditions.replay
        && !(1..=10_000_000).contains(&flips.last)
    {
        return Err(DirectoryError::invalid(
            "replay",
            "`last` is from 1 to 10000000 decisions",
        ));
    }
    let rules = snapshot.rules();
    if rules.conditions == *conditions && rules.proposed.is_none() {
        return Err(conflict("these conditions stand already".to_owned()));
    }
    let waits = rules.conditions.approval && conditions.are_weaker_than(&rules.conditions);
    let mut next = Rules::clone(rules);
    if waits {
        next.proposed = Some(Proposed {
            conditions: *conditions,
            by: Hand::of(by).signed(),
        });
    } else {
        next.conditions = *conditions;
        next.proposed = None;
    }
    Ok(conditions_changed(snapshot, next))
}

/// Agrees to these conditions, which somebody else wants.
///
/// # Errors
/// None wait, or others do, whoever wanted them is no Admin any more, or whoever asks is who wanted them.
pub fn agree(
    by: &Authorized<PolicyActivate>,
    snapshot: &Snapshot,
    conditions: &Conditions,
) -> Result<Change, DirectoryError> {
    let rules = snapshot.rules();
    let Some(proposed) = rules.proposed else {
        return Err(conflict("no conditions wait for an approval".to_owned()));
    };
    let user = by.user().ok_or(DirectoryError::NoActingUser)?;
    if proposed.by.by == Some(user) {
        return Err(conflict(
            "they are yours: another Admin approves them".to_owned(),
        ));
    }
    let theirs = proposed.by.hand();
    let hand = Hand::of(by).signed().hand();
    if !hand.is_some_and(|one| theirs.is_none_or(|theirs| one.is_apart_from(theirs))) {
        return Err(DirectoryError::OneHand);
    }
    // Somebody may have asked for something else since they were read.
    if proposed.conditions != *conditions {
        return Err(DirectoryError::Moved);
    }
    let is_theirs = |by: Ref| is_admin(snapshot, by);
    if !proposed.by.by.is_some_and(is_theirs) {
        return Err(conflict(
            "whoever asked for them is no active Admin any more: ask for them yourself".to_owned(),
        ));
    }
    let mut next = Rules::clone(rules);
    next.conditions = proposed.conditions;
    next.proposed = None;
    Ok(conditions_changed(snapshot, next))
}

/// Has a version evaluated beside the active one on what is asked from here on; none: ends that.
///
/// # Errors
/// It is not there, it is the active one, or nothing changes.
pub fn shadow(
    _by: &Authorized<PolicyEdit>,
    snapshot: &Snapshot,
    number: Option<u64>,
) -> Result<Change, DirectoryError> {
    let rules = snapshot.rules();
    if rules.shadow == number {
        return Err(conflict(match number {
            Some(number) => format!("version {number} is evaluated beside the active one already"),
            None => "no version is evaluated beside the active one".to_owned(),
        }));
    }
    if let Some(number) = number {
        version(snapshot, number)?;
        is_not_active(snapshot, number)?;
    }
    let mut next = Rules::clone(rules);
    next.shadow = number;
    let details = json!({ "old": rules.shadow, "new": number });
    Ok(
        Change::new(Event::PolicyShadowed, Some(policy_set(snapshot)), details)
            .reply(json!({ "version": number }))
            .put(RowId::Rules, Body::Rules(next)),
    )
}

fn conditions_changed(snapshot: &Snapshot, next: Rules) -> Change {
    let rules = snapshot.rules();
    let details = json!({
        "old": rules.conditions, "new": next.conditions,
        "proposed": next.proposed.map(|proposed| proposed.conditions),
    });
    let reply = json!({ "conditions": next.conditions, "proposed": next.proposed });
    Change::new(
        Event::PolicyConditionsChanged,
        Some(policy_set(snapshot)),
        details,
    )
    .reply(reply)
    .put(RowId::Rules, Body::Rules(next))
}
