//! What of the directory is handed out: to a person what is theirs, to an organization what it has; what is private of others only once a
//! second Admin has approved.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DirectoryError;
use super::change::Change;
use super::hand::{Hand, Through};
use super::object::{Kind, Layer, Object, Organization, Ref, Role};
use super::organization::changed;
use super::snapshot::Snapshot;
use crate::decide::authorized::{Authorized, DataExport};
use crate::log::vocabulary::Event;

/// For how long what was asked for may be approved, and what was approved may be taken, in hours.
const IN_FORCE: i64 = 24;

/// An export with what is private: asked for by one Admin, and approved by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateExport {
    /// Who asked for it.
    pub requested_by: Ref,
    /// By whose key that came.
    #[serde(default)]
    pub requested_through: Through,
    /// Who approved it.
    pub approved_by: Option<Ref>,
    /// Until when it may be approved, and then taken.
    pub until: DateTime<Utc>,
}

/// Whose data is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Of the organization: what is private of somebody in it only where this says so.
    Organization {
        /// With what is private.
        private: bool,
    },
    /// Of one person: what they are, own, wrote and were sent.
    Person(Ref),
}

/// An export with what is private is asked for.
///
/// # Errors
/// Nobody acts, or one is asked for already.
pub fn request(by: &Authorized<DataExport>, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let hand = Hand::of(by)?;
    let old = snapshot.organization()?;
    if in_force(old, by.now()).is_some() {
        return Err(DirectoryError::conflicting(
            "private_export",
            "one is asked for already: approve it, or withdraw it first",
        ));
    }
    let until = by.now() + Duration::hours(IN_FORCE);
    let export = PrivateExport {
        requested_by: hand.by,
        requested_through: hand.through,
        approved_by: None,
        until,
    };
    let details = json!({"until": until});
    set(snapshot, Event::DataExportRequested, details, Some(export))
}

/// It is approved, by another Admin than the one who asked.
///
/// # Errors
/// Nobody acts, none is asked for, or by the same Admin.
pub fn approve(by: &Authorized<DataExport>, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let hand = Hand::of(by)?;
    let asked = in_force(snapshot.organization()?, by.now())
        .filter(|export| export.approved_by.is_none())
        .ok_or_else(|| {
            DirectoryError::conflicting(
                "private_export",
                "none waits for approval: it is to be asked for first",
            )
        })?;
    let asked_by = Hand {
        by: asked.requested_by,
        through: asked.requested_through,
    };
    if asked.requested_by == hand.by {
        return Err(DirectoryError::invalid(
            "private_export",
            "whoever asked for it does not approve it: that takes another Admin",
        ));
    }
    if !hand.is_apart_from(asked_by) {
        return Err(DirectoryError::OneHand);
    }
    let until = by.now() + Duration::hours(IN_FORCE);
    let details = json!({"requested_by": asked.requested_by, "until": until});
    let export = PrivateExport {
        approved_by: Some(hand.by),
        until,
        ..asked.clone()
    };
    set(snapshot, Event::DataExportApproved, details, Some(export))
}

/// It is withdrawn, asked for or approved.
///
/// # Errors
/// There is none.
pub fn withdraw(
    _by: &Authorized<DataExport>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    let asked = old.private_export.as_ref().ok_or_else(|| {
        DirectoryError::conflicting("private_export", "there is none to withdraw")
    })?;
    let details = json!({"private_export": {"old": asked, "new": null}});
    set(snapshot, Event::SettingsUpdated, details, None)
}

/// The organization's data is handed out.
///
/// # Errors
/// With what is private: another Admin has not approved it, or not any more.
pub fn organization(
    by: &Authorized<DataExport>,
    snapshot: &Snapshot,
    (private, sealed): (bool, bool),
) -> Result<Change, DirectoryError> {
    let org = snapshot.org();
    let approval = match private {
        false => None,
        true => Some(approved(snapshot, by.now())?),
    };
    // Two Admins have agreed that one of them takes it, and no third.
    if let Some((one, other)) = approval
        && !Hand::of(by).is_ok_and(|hand| hand.is_of(&[one, other]))
    {
        return Err(DirectoryError::NotApproved);
    }
    let details = json!({
        "private": private, "sealed": sealed,
        "requested_by": approval.map(|(requested_by, _)| requested_by),
        "approved_by": approval.map(|(_, approved_by)| approved_by),
    });
    Ok(Change::new(Event::DataExported, Some(org), details.clone()).reply(details))
}

/// A person's own data is handed out to them.
///
/// # Errors
/// They are not there, or somebody else asks.
pub fn person(
    by: &Authorized<DataExport>,
    snapshot: &Snapshot,
    sealed: bool,
) -> Result<Change, DirectoryError> {
    let person = by.resource();
    snapshot.require_user(person)?;
    if by.user() != Some(person) {
        return Err(DirectoryError::invalid(
            "id",
            "a person's data is handed out to nobody but them",
        ));
    }
    let details = json!({"private": true, "sealed": sealed});
    Ok(Change::new(Event::DataExported, Some(person), details.clone()).reply(details))
}

/// The one that still counts, asked for or approved.
fn in_force(organization: &Organization, now: DateTime<Utc>) -> Option<&PrivateExport> {
    organization
        .private_export
        .as_ref()
        .filter(|export| now < export.until)
}

/// Who asked and who approved: both must be Admins still.
pub(crate) fn approved(
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> Result<(Ref, Ref), DirectoryError> {
    let export = in_force(snapshot.organization()?, now);
    let both = export.and_then(|export| Some((export.requested_by, export.approved_by?)));
    let is_admin = |person| {
        snapshot
            .user(person)
            .is_some_and(|user| user.active && user.role == Role::Admin)
    };
    both.filter(|(one, other)| is_admin(*one) && is_admin(*other))
        .ok_or(DirectoryError::NotApproved)
}

fn set(
    snapshot: &Snapshot,
    event: Event,
    details: Value,
    export: Option<PrivateExport>,
) -> Result<Change, DirectoryError> {
    let new = Organization {
        private_export: export,
        ..snapshot.organization()?.clone()
    };
    Ok(changed(snapshot, event, details, new))
}

/// Whether somebody alone may read it: it has no audience, and neither has the thread that it is in.
#[must_use]
pub fn is_private(snapshot: &Snapshot, object: &Object) -> bool {
    let in_private = |parent: Ref| {
        parent.kind == Kind::Thread
            && snapshot
                .lent(parent)
                .is_none_or(|thread| is_private(snapshot, &thread.value))
    };
    match object {
        Object::Memory(memory) => memory.layer == Layer::Personal || in_private(memory.parent),
        Object::AgentRun(_) | Object::Session(_) | Object::AccessRequest(_) => true,
        object => object.made().is_some_and(|made| match made.parent.kind {
            Kind::Thread => in_private(made.parent),
            _ => made.audience.is_none(),
        }),
    }
}

/// The objects that are handed out, in the order of identifiers.
#[must_use]
pub fn objects(snapshot: &Snapshot, of: Of) -> Vec<Ref> {
    let fits = |reference: Ref, object: &Object| match of {
        Of::Organization { private } => private || !is_private(snapshot, object),
        Of::Person(person) => match object {
            Object::User(_) => reference == person,
            Object::Memory(memory) => memory.layer == Layer::Personal && memory.owner == person,
            Object::AgentRun(run) => run.owner == person,
            Object::Session(session) => session.owner == person,
            Object::AccessRequest(request) => request.owner == person,
            Object::Group { .. } | Object::DirectoryGroup(_) => snapshot
                .user(person)
                .is_some_and(|user| user.groups.contains(&reference)),
            object => object.made().is_some_and(|made| made.owner == person),
        },
    };
    let fitting = |reference: &Ref| {
        let stored = snapshot.lent(*reference);
        stored.is_some_and(|stored| fits(*reference, &stored.value))
    };
    match of {
        Of::Organization { .. } => snapshot.references().filter(fitting).collect(),
        Of::Person(person) => {
            let groups = snapshot
                .user(person)
                .into_iter()
                .flat_map(|user| &user.groups);
            let known = groups
                .copied()
                .chain([person])
                .chain(snapshot.all_owned(person));
            let known: BTreeSet<Ref> = known.collect();
            known.into_iter().filter(fitting).collect()
        }
    }
}

/// What a person has begun to have a team, a project, a thread or the organization remember: others may have written in it since.
#[must_use]
pub fn shared_memories(snapshot: &Snapshot, person: Ref) -> Vec<Ref> {
    let theirs = snapshot.owned_of(person, Kind::Memory);
    let shared = theirs.filter(|one| {
        let stored = snapshot.lent(*one);
        stored.is_some_and(
            |one| matches!(&one.value, Object::Memory(memory) if memory.layer != Layer::Personal),
        )
    });
    shared.collect()
}

/// The shares that are handed out: of what is handed out, the [`objects`], and to the person.
#[must_use]
pub fn shares(snapshot: &Snapshot, of: Of, shown: &[Ref]) -> BTreeSet<[u8; 16]> {
    let person = match of {
        Of::Person(person) => Some(person),
        Of::Organization { .. } => None,
    };
    let to_them = person.into_iter().flat_map(|one| snapshot.shares_to(one));
    let of_shown = shown.iter().flat_map(|one| snapshot.shares_of(*one));
    to_them.chain(of_shown).map(|(id, _)| id).collect()
}
