//! The end of an organization: asked for, called off, and done once its time has come.

use chrono::{DateTime, Duration, Utc};
use serde_json::json;

use super::DirectoryError;
use super::change::Change;
use super::object::{Organization, Ref};
use super::organization::changed;
use super::snapshot::Snapshot;
use crate::decide::authorized::{Authorized, DataErase, Operator, SettingsUpdate};
use crate::log::vocabulary::Event;

/// The longest time between asking for it and its being done, in days.
pub const GRACE_LIMIT: u32 = 30;

/// The organization is closed in so many days, and all that it has is destroyed; until then everything goes on, and it can be called off.
///
/// # Errors
/// More days than may be, it is asked for already, or a legal hold stands.
pub fn request(
    by: &Authorized<DataErase>,
    snapshot: &Snapshot,
    days: u32,
) -> Result<Change, DirectoryError> {
    requested(snapshot, days, by.now())
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn request_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    days: u32,
) -> Result<Change, DirectoryError> {
    requested(snapshot, days, by.now())
}

fn requested(snapshot: &Snapshot, days: u32, now: DateTime<Utc>) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    if days > GRACE_LIMIT {
        return Err(DirectoryError::invalid(
            "days",
            format!("it must lie between 0 and {GRACE_LIMIT}"),
        ));
    }
    if let Some(at) = old.closes_at {
        return Err(DirectoryError::conflicting(
            "closing",
            format!("it is closed at {at} as it is: call that off first"),
        ));
    }
    not_held(old)?;
    let closes_at = now + Duration::days(i64::from(days));
    let new = Organization {
        closes_at: Some(closes_at),
        ..old.clone()
    };
    let details = json!({"closes_at": closes_at});
    Ok(changed(snapshot, Event::DataErasureRequested, details, new))
}

/// It is not closed after all.
///
/// # Errors
/// Nobody has asked for it.
pub fn call_off(
    _by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    called_off(snapshot)
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn call_off_by_operator(_by: &Operator, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    called_off(snapshot)
}

fn called_off(snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    if old.closes_at.is_none() || old.suspended {
        return Err(DirectoryError::conflicting(
            "closing",
            "nobody has asked to close it, or it is closed",
        ));
    }
    let details = json!({"closes_at": old.closes_at});
    let new = Organization {
        closes_at: None,
        ..old.clone()
    };
    Ok(changed(snapshot, Event::DataErasureCancelled, details, new))
}

/// Whether its time has come, and nothing stands against it.
#[must_use]
pub fn is_due(snapshot: &Snapshot, now: DateTime<Utc>) -> bool {
    snapshot.organization().is_ok_and(|organization| {
        organization.holds == 0 && organization.closes_at.is_some_and(|at| at <= now)
    })
}

/// The last entry of its log: nothing is allowed from here on, and what it has is destroyed next. One that is
/// suspended, or was closed and not destroyed, may be closed too.
///
/// # Errors
/// It was never founded, its time has not come, or a legal hold stands.
pub fn close(by: &Operator, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    not_held(old)?;
    if !is_due(snapshot, by.now()) {
        return Err(DirectoryError::conflicting(
            "closing",
            "its time has not come, or it was called off",
        ));
    }
    let closed = Organization {
        suspended: true,
        ..old.clone()
    };
    Ok(changed(
        snapshot,
        Event::OrganizationClosed,
        json!({}),
        closed,
    ))
}

/// Said in the deployment's own log: all that this organization has is destroyed from here on.
///
/// # Errors
/// None.
pub fn destroying(_by: &Operator, organization: Ref) -> Result<Change, DirectoryError> {
    Ok(Change::new(
        Event::OrganizationClosed,
        Some(organization),
        json!({}),
    ))
}

/// Said in the deployment's own log: it is done.
///
/// # Errors
/// None.
pub fn destroyed(_by: &Operator, organization: Ref) -> Result<Change, DirectoryError> {
    Ok(Change::new(
        Event::DataErased,
        Some(organization),
        json!({}),
    ))
}

fn not_held(organization: &Organization) -> Result<(), DirectoryError> {
    if organization.holds > 0 {
        return Err(DirectoryError::Held);
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::keeping::{hold_by_operator, release_by_operator};
    use super::super::organization::suspend;
    use super::super::world::{World, now};
    use super::*;

    #[test]
    fn it_is_closed_when_its_time_has_come_and_not_before() {
        let mut world = World::new();
        let by = Operator::in_test(now());
        assert!(close(&by, &world.snapshot).is_err());
        assert!(request_by_operator(&by, &world.snapshot, 31).is_err());
        world.apply(request_by_operator(&by, &world.snapshot, 30));
        assert!(request_by_operator(&by, &world.snapshot, 1).is_err());
        assert!(close(&by, &world.snapshot).is_err());
        let almost = Operator::in_test(now() + Duration::days(30) - Duration::seconds(1));
        assert!(close(&almost, &world.snapshot).is_err());
        world.apply(call_off_by_operator(&by, &world.snapshot));
        assert!(call_off_by_operator(&by, &world.snapshot).is_err());
        world.apply(request_by_operator(&by, &world.snapshot, 7));
        let then = Operator::in_test(now() + Duration::days(7));
        let change = close(&then, &world.snapshot).unwrap();
        assert_eq!(
            change.events.first().unwrap().event,
            Event::OrganizationClosed
        );
        world.apply(Ok(change));
        assert!(world.snapshot.organization().unwrap().suspended);
        assert!(call_off_by_operator(&by, &world.snapshot).is_err());
    }

    #[test]
    fn one_that_is_suspended_may_be_closed() {
        let mut world = World::new();
        let by = Operator::in_test(now());
        world.apply(suspend(&by, &world.snapshot));
        world.apply(request_by_operator(&by, &world.snapshot, 0));
        assert!(close(&by, &world.snapshot).is_ok());
    }

    #[test]
    fn a_legal_hold_stands_against_it() {
        let mut world = World::new();
        let by = Operator::in_test(now());
        world.apply(request_by_operator(&by, &world.snapshot, 0));
        world.apply(hold_by_operator(&by, &world.snapshot, "a lawsuit"));
        assert!(!is_due(&world.snapshot, now()));
        assert_eq!(
            close(&by, &world.snapshot).unwrap_err(),
            DirectoryError::Held
        );
        world.apply(call_off_by_operator(&by, &world.snapshot));
        assert_eq!(
            request_by_operator(&by, &world.snapshot, 0).unwrap_err(),
            DirectoryError::Held
        );
        world.apply(release_by_operator(&by, &world.snapshot, "settled"));
        assert!(request_by_operator(&by, &world.snapshot, 0).is_ok());
    }
}
