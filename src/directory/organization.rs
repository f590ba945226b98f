//! The organization's own record: founded, renamed, suspended, on which plan and in which regions.

use std::collections::BTreeSet;

use serde_json::json;

use super::change::{Change, RowId};
use super::connection::{SAML_NOTICE, SignIn};
use super::expiry::DAYS_LIMIT;
use super::object::{Body, Kind, Object, Organization, Plan, Ref};
use super::snapshot::Snapshot;
use super::{DirectoryError, name, view};
use crate::decide::authorized::{Authorized, Operator, RegionUpdate, SettingsUpdate};
use crate::log::vocabulary::Event;

/// What a new organization begins with.
#[derive(Debug, Clone)]
pub struct Founding {
    /// What people call it.
    pub name: String,
    /// What it has bought.
    pub plan: Plan,
}

/// The first change of a tenant: its record and the group of everybody.
///
/// # Errors
/// A name that cannot be read.
pub fn found(
    _by: &Operator,
    org: Ref,
    founding: &Founding,
    group_id: [u8; 16],
) -> Result<Change, DirectoryError> {
    let members = Ref::new(Kind::Group, group_id);
    let organization = Organization {
        name: name("name", &founding.name)?,
        plan: founding.plan,
        regions: BTreeSet::new(),
        sso_enforced: None,
        active_admins: 0,
        members,
        holds: 0,
        suspended: false,
        retention_days: None,
        closes_at: None,
        private_export: None,
        sign_in: SignIn::default(),
        share_days: None,
        scim: Box::default(),
    };
    let details = json!({"name": organization.name, "plan": organization.plan.name()});
    let object = Object::Organization(organization);
    let reply = view::organization(org, &object);
    Ok(Change::new(Event::OrganizationCreated, Some(org), details)
        .put(RowId::Object(org), Body::Object(object))
        .put(
            RowId::Object(members),
            Body::Object(Object::Group { of: org }),
        )
        .reply(reply))
}

/// Another plan.
///
/// # Errors
/// It is on that plan.
pub fn set_plan(by: &Operator, snapshot: &Snapshot, plan: Plan) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    if old.plan == plan {
        return Err(DirectoryError::conflicting(
            "plan",
            format!("it is {} now", plan.name()),
        ));
    }
    let details = json!({"old": old.plan.name(), "new": plan.name()});
    Ok(changed(
        snapshot,
        Event::PlanChanged,
        details,
        Organization {
            plan,
            // Of what the plan before had and this one has not, sign-in goes on for a while.
            sign_in: SignIn {
                saml_until: (plan != Plan::Enterprise).then(|| by.now() + SAML_NOTICE),
                ..old.sign_in.clone()
            },
            ..old.clone()
        },
    ))
}

/// Nothing is allowed until it is resumed.
///
/// # Errors
/// It is suspended.
pub fn suspend(_by: &Operator, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    if old.suspended {
        return Err(DirectoryError::conflicting(
            "suspended",
            "it is suspended now",
        ));
    }
    let new = Organization {
        suspended: true,
        ..old.clone()
    };
    Ok(changed(
        snapshot,
        Event::OrganizationSuspended,
        json!({}),
        new,
    ))
}

/// Ends a suspension.
///
/// # Errors
/// It is not suspended.
pub fn resume(_by: &Operator, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    if !old.suspended {
        return Err(DirectoryError::conflicting(
            "suspended",
            "it is not suspended",
        ));
    }
    let new = Organization {
        suspended: false,
        ..old.clone()
    };
    Ok(changed(
        snapshot,
        Event::OrganizationResumed,
        json!({}),
        new,
    ))
}

/// Another name.
///
/// # Errors
/// A name that cannot be read.
pub fn rename(
    _by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    new_name: &str,
) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    let new = Organization {
        name: name("name", new_name)?,
        ..old.clone()
    };
    let details = json!({"setting": "name", "old": old.name, "new": new.name});
    Ok(changed(snapshot, Event::SettingsUpdated, details, new))
}

/// Within how many days every share ends from now on; if absent one may be without an end. Those that there are stay as they are.
///
/// # Errors
/// No number of days, or it is so now.
pub fn set_share_days(
    _by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    days: Option<u32>,
) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    if days.is_some_and(|days| !(1..=DAYS_LIMIT).contains(&days)) {
        return Err(DirectoryError::invalid(
            "share_days",
            format!("it must lie between 1 and {DAYS_LIMIT}, or be null"),
        ));
    }
    if old.share_days == days {
        return Err(DirectoryError::conflicting("share_days", "it is so now"));
    }
    let new = Organization {
        share_days: days,
        ..old.clone()
    };
    let details = json!({"setting": "share_days", "old": old.share_days, "new": days});
    Ok(changed(snapshot, Event::SettingsUpdated, details, new))
}

/// Where content may be touched; none: everywhere.
///
/// # Errors
/// A region's name that is none.
pub fn set_regions(
    _by: &Authorized<RegionUpdate>,
    snapshot: &Snapshot,
    regions: &BTreeSet<String>,
) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    if regions.len() > REGIONS_LIMIT || !regions.iter().all(|region| is_region(region)) {
        return Err(DirectoryError::invalid(
            "regions",
            "at most 64 names of 1 to 63 characters of a-z, 0-9 and `-`",
        ));
    }
    let details = json!({"old": old.regions, "new": regions});
    Ok(changed(
        snapshot,
        Event::RegionChanged,
        details,
        Organization {
            regions: regions.clone(),
            ..old.clone()
        },
    ))
}

const REGIONS_LIMIT: usize = 64;

fn is_region(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

pub(super) fn changed(
    snapshot: &Snapshot,
    event: Event,
    details: serde_json::Value,
    new: Organization,
) -> Change {
    let org = snapshot.org();
    let object = Object::Organization(new);
    let reply = view::organization(org, &object);
    Change::new(event, Some(org), details)
        .put(RowId::Object(org), Body::Object(object))
        .reply(reply)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::world::{World, now};
    use super::*;

    #[test]
    fn founding_makes_the_record_and_the_group_of_everybody() {
        let world = World::new();
        let organization = world.snapshot.organization().unwrap();
        assert_eq!(organization.name, "Acme");
        assert!(world.snapshot.is_members_group(organization.members));
    }

    #[test]
    fn a_change_of_plan_says_what_was_and_what_is() {
        let world = World::new();
        let by = Operator::in_test(now());
        let change = set_plan(&by, &world.snapshot, Plan::Starter).unwrap();
        assert_eq!(
            change.events.first().unwrap().details,
            json!({"old": "Enterprise", "new": "Starter"})
        );
        assert!(set_plan(&by, &world.snapshot, Plan::Enterprise).is_err());
    }

    #[test]
    fn nobody_is_suspended_twice_or_resumed_unsuspended() {
        let mut world = World::new();
        let by = Operator::in_test(now());
        assert!(resume(&by, &world.snapshot).is_err());
        world.apply(suspend(&by, &world.snapshot));
        assert!(world.snapshot.organization().unwrap().suspended);
        assert!(suspend(&by, &world.snapshot).is_err());
        world.apply(resume(&by, &world.snapshot));
        assert!(!world.snapshot.organization().unwrap().suspended);
    }

    #[test]
    fn a_new_name_is_recorded_beside_the_old_one() {
        let world = World::new();
        let by = world.by::<SettingsUpdate>(world.org);
        let change = rename(&by, &world.snapshot, " Acme & Co ").unwrap();
        let details = json!({"setting": "name", "old": "Acme", "new": "Acme & Co"});
        assert_eq!(change.events.first().unwrap().details, details);
        assert!(rename(&by, &world.snapshot, "A\u{202e}B").is_err());
    }

    #[test]
    fn a_region_is_named_in_small_letters() {
        let world = World::new();
        let by = world.by::<RegionUpdate>(world.org);
        assert!(set_regions(&by, &world.snapshot, &BTreeSet::from(["eu-1".into()])).is_ok());
        assert!(set_regions(&by, &world.snapshot, &BTreeSet::from(["EU 1".into()])).is_err());
    }
}
