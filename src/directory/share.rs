//! Shares: links of the policy templates, to a user, a group or an agent's definition.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::change::{Change, RowId, SHARE};
use super::expiry::End;
use super::made::{binding, of_kind};
use super::object::{Body, Kind, Level, Ref, Share};
use super::snapshot::{Snapshot, Stored, counts_at};
use super::{DirectoryError, view};
use crate::decide::authorized::{
    Action, AgentShare, AgentUnshare, AssistantShare, AssistantUnshare, Authorized,
    PromptTemplateShare, PromptTemplateUnshare, SettingsUpdate, ThreadShare, ThreadUnshare,
    ToolShare, ToolUnshare,
};
use crate::ids;
use crate::log::vocabulary::Event;

binding! {
    /// An action that shares something.
    Shares {
        ThreadShare = Thread, ThreadShared;
        PromptTemplateShare = PromptTemplate, PromptTemplateShared;
        ToolShare = Tool, ToolShared;
        AssistantShare = Assistant, AssistantShared;
        AgentShare = AgentDefinition, AgentShared;
    }
}

binding! {
    /// An action that takes a share back.
    Unshares {
        ThreadUnshare = Thread, ThreadUnshared;
        PromptTemplateUnshare = PromptTemplate, PromptTemplateUnshared;
        ToolUnshare = Tool, ToolUnshared;
        AssistantUnshare = Assistant, AssistantUnshared;
        AgentUnshare = AgentDefinition, AgentUnshared;
    }
}

/// What can be shared; the last with auditors.
pub const SHARED: &[Kind] = &[
    Kind::Thread,
    Kind::PromptTemplate,
    Kind::Tool,
    Kind::Assistant,
    Kind::AgentDefinition,
    Kind::AuditLog,
];

/// What is given, to whom and for how long.
#[derive(Debug, Clone)]
pub struct Grant {
    /// A user, a group or an agent's definition.
    pub grantee: Ref,
    /// How much.
    pub level: Level,
    /// When it stops counting.
    pub until: End,
}

/// What becomes other of a share; the rest stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edit {
    /// How much.
    pub level: Option<Level>,
    /// When it stops counting.
    pub until: Option<End>,
}

/// A share that is given: the change, its identifier, and itself.
pub(super) type Shared = (Change, String, Share);

/// What becomes of what somebody had of a thing that is shared with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// This takes its place.
    Replaced,
    /// What gives more or lasts longer stays.
    Kept,
}

/// What is shared, as what it is recorded, and when.
#[derive(Debug, Clone, Copy)]
struct Deed {
    resource: Ref,
    event: Event,
    now: DateTime<Utc>,
}

/// Shares the thing asked about; what the grantee had of it is replaced, and keeps its identifier.
///
/// # Errors
/// Nobody there of that name or somebody suspended, a level of the log, or an end that is past or too far off.
pub fn share<A: Shares>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    id: [u8; 16],
    grant: &Grant,
) -> Result<Change, DirectoryError> {
    let deed = of_made(by, snapshot, grant)?;
    granted(snapshot, deed, (id, Before::Replaced), grant).map(|(change, ..)| change)
}

/// The same, and nothing is taken away: what the grantee had of it and gives more or lasts longer stays beside it.
///
/// # Errors
/// The same; or what they have is all that this would give.
pub(super) fn share_beside<A: Shares>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    id: [u8; 16],
    grant: &Grant,
) -> Result<Shared, DirectoryError> {
    let deed = of_made(by, snapshot, grant)?;
    granted(snapshot, deed, (id, Before::Kept), grant)
}

/// Has a share of the thing asked about give more or less, or end sooner or later.
///
/// # Errors
/// It has no such share, nothing is said, a level of the log, or an end that is past or too far off.
pub fn edit<A: Shares>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    id: [u8; 16],
    edit: Edit,
) -> Result<Change, DirectoryError> {
    let resource = of_kind(by.resource(), A::KIND)?;
    if edit.level == Some(Level::Auditor) {
        return Err(of_log());
    }
    let deed = Deed {
        resource,
        event: A::EVENT,
        now: by.now(),
    };
    edited(snapshot, deed, id, edit)
}

/// Takes back a share of the thing asked about.
///
/// # Errors
/// It has no such share.
pub fn unshare<A: Unshares>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    id: [u8; 16],
) -> Result<Change, DirectoryError> {
    let resource = of_kind(by.resource(), A::KIND)?;
    taken_back(snapshot, resource, A::EVENT, id)
}

/// Lets a person or a group read the log. Asked about are the settings: who may audit is one of them, and the log's own
/// actions are for auditors.
///
/// # Errors
/// An agent, nobody there of that name or somebody suspended, or an end that is past or too far off.
pub fn auditor(
    by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    id: [u8; 16],
    (grantee, until): (Ref, End),
) -> Result<Change, DirectoryError> {
    let grant = Grant {
        grantee,
        level: Level::Auditor,
        until,
    };
    let deed = of_auditors(by, snapshot, &grant)?;
    granted(snapshot, deed, (id, Before::Replaced), &grant).map(|(change, ..)| change)
}

/// The same, and nothing is taken away.
///
/// # Errors
/// The same; or they may do so already for as long.
pub(super) fn auditor_beside(
    by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    id: [u8; 16],
    grant: &Grant,
) -> Result<Shared, DirectoryError> {
    let deed = of_auditors(by, snapshot, grant)?;
    granted(snapshot, deed, (id, Before::Kept), grant)
}

/// Has an auditor's share end sooner or later.
///
/// # Errors
/// There is no such share, or an end that is past or too far off.
pub fn edit_auditor(
    by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    id: [u8; 16],
    until: Option<End>,
) -> Result<Change, DirectoryError> {
    let deed = Deed {
        resource: audit_log(snapshot),
        event: Event::SettingsUpdated,
        now: by.now(),
    };
    edited(snapshot, deed, id, Edit { level: None, until })
}

/// Takes that back.
///
/// # Errors
/// There is no such share.
pub fn end_auditor(
    _by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    id: [u8; 16],
) -> Result<Change, DirectoryError> {
    taken_back(snapshot, audit_log(snapshot), Event::SettingsUpdated, id)
}

/// The organization's log, which an auditor's share is of.
pub const fn audit_log(snapshot: &Snapshot) -> Ref {
    Ref::new(Kind::AuditLog, snapshot.org().id)
}

fn check_grantee(snapshot: &Snapshot, grantee: Ref) -> Result<(), DirectoryError> {
    match grantee.kind {
        Kind::User if !snapshot.require_user(grantee)?.active => {
            Err(DirectoryError::invalid("grantee", "they are suspended"))
        }
        Kind::User | Kind::Group | Kind::AgentDefinition => snapshot.require(grantee).map(|_| ()),
        _ => Err(DirectoryError::invalid(
            "grantee",
            "it is no user, group or agent's definition",
        )),
    }
}

fn of_log() -> DirectoryError {
    DirectoryError::invalid("level", "`auditor` is for the log alone")
}

fn of_made<A: Shares>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    grant: &Grant,
) -> Result<Deed, DirectoryError> {
    let resource = of_kind(by.resource(), A::KIND)?;
    snapshot.require_made(resource)?;
    if grant.level == Level::Auditor {
        return Err(of_log());
    }
    check_grantee(snapshot, grant.grantee)?;
    Ok(Deed {
        resource,
        event: A::EVENT,
        now: by.now(),
    })
}

fn of_auditors(
    by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    grant: &Grant,
) -> Result<Deed, DirectoryError> {
    if grant.grantee.kind == Kind::AgentDefinition {
        return Err(DirectoryError::invalid(
            "grantee",
            "an agent audits nothing",
        ));
    }
    check_grantee(snapshot, grant.grantee)?;
    Ok(Deed {
        resource: audit_log(snapshot),
        event: Event::SettingsUpdated,
        now: by.now(),
    })
}

fn granted(
    snapshot: &Snapshot,
    deed: Deed,
    (id, before): ([u8; 16], Before),
    grant: &Grant,
) -> Result<Shared, DirectoryError> {
    let share = Share {
        level: grant.level,
        grantee: grant.grantee,
        resource: deed.resource,
        expires_at: grant.until.time(snapshot, deed.now)?,
    };
    let mut replaced = Vec::new();
    for (id, stored) in snapshot.shares_of(deed.resource) {
        let had = &stored.value;
        if had.grantee != share.grantee {
            continue;
        }
        let counts = before == Before::Kept && counts_at(had, deed.now);
        let (more, longer) = (had.level > share.level, outlasts(had, &share));
        if counts && had.level >= share.level && !outlasts(&share, had) {
            return Err(DirectoryError::Conflicting {
                why: "they have that already, for as long".into(),
            });
        }
        if !(counts && (more || longer)) {
            replaced.push((id, had));
        }
    }
    let mut replaced = replaced.into_iter();
    let first = replaced.next();
    let id = first.map_or(id, |(id, _)| id);
    let mut change = given(deed, id, first.map(|(_, old)| old), &share);
    for (other, _) in replaced {
        change = change.end(RowId::Share(other));
    }
    Ok((change, ids::text(SHARE, &id), share))
}

/// Whether a share counts when another does not any more.
fn outlasts(one: &Share, other: &Share) -> bool {
    match (one.expires_at, other.expires_at) {
        (Some(one), Some(other)) => one > other,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

fn edited(
    snapshot: &Snapshot,
    deed: Deed,
    id: [u8; 16],
    edit: Edit,
) -> Result<Change, DirectoryError> {
    let old = &share_of(snapshot, deed.resource, id)?.value;
    if edit.level.is_none() && edit.until.is_none() {
        return Err(DirectoryError::invalid(
            "expires_at",
            "say it, or `for_minutes`, or `level`",
        ));
    }
    let expires_at = match edit.until {
        Some(until) => until.time(snapshot, deed.now)?,
        None => old.expires_at,
    };
    let share = Share {
        level: edit.level.unwrap_or(old.level),
        expires_at,
        ..old.clone()
    };
    Ok(given(deed, id, Some(old), &share))
}

/// The change by which a share is as it is from now on.
fn given(deed: Deed, id: [u8; 16], old: Option<&Share>, share: &Share) -> Change {
    let reply = view::share_body(id, share);
    let mut details = reply.clone();
    if let (Some(old), Some(details)) = (old, details.as_object_mut()) {
        details.insert(
            "old".into(),
            json!({"level": old.level.name(), "expires_at": old.expires_at}),
        );
    }
    Change::new(deed.event, Some(deed.resource), details)
        .put(RowId::Share(id), Body::Share(share.clone()))
        .reply(reply)
}

fn share_of(
    snapshot: &Snapshot,
    resource: Ref,
    id: [u8; 16],
) -> Result<&Stored<Share>, DirectoryError> {
    snapshot
        .share(id)
        .filter(|share| share.value.resource == resource)
        .ok_or_else(|| DirectoryError::NotFound {
            kind: "share",
            id: ids::text(SHARE, &id),
        })
}

fn taken_back(
    snapshot: &Snapshot,
    resource: Ref,
    event: Event,
    id: [u8; 16],
) -> Result<Change, DirectoryError> {
    let stored = share_of(snapshot, resource, id)?;
    let details = json!({"old": view::share_body(id, &stored.value), "new": null});
    Ok(Change::new(event, Some(resource), details)
        .end(RowId::Share(id))
        .reply(json!({"id": ids::text(SHARE, &id)})))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use chrono::TimeDelta;

    use super::super::made::Audience;
    use super::super::world::{World, id, now};
    use super::*;

    fn grant(grantee: Ref) -> Grant {
        Grant {
            grantee,
            level: Level::Viewer,
            until: End::Never,
        }
    }

    #[test]
    fn a_second_share_to_the_same_replaces_the_first() {
        let mut world = World::new();
        let (thread, first) = world.shared_thread();
        let editor = Grant {
            level: Level::Editor,
            ..grant(world.bob)
        };
        world.apply(share::<ThreadShare>(
            &world.by(thread),
            &world.snapshot,
            id(90),
            &editor,
        ));
        assert_eq!(world.snapshot.shares_of(thread).count(), 1);
        assert_eq!(
            world.snapshot.share(first).unwrap().value.level,
            Level::Editor
        );
    }

    #[test]
    fn nothing_is_shared_with_the_suspended_or_the_absent() {
        let mut world = World::new();
        let thread = world.thread(Audience::Private);
        let by = world.by::<ThreadShare>(thread);
        let nobody = Ref::new(Kind::Group, id(99));
        assert_eq!(
            share(&by, &world.snapshot, id(90), &grant(nobody)).unwrap_err(),
            DirectoryError::absent(nobody)
        );
        assert!(share(&by, &world.snapshot, id(90), &grant(world.team)).is_err());
        world.suspend_bob();
        assert!(share(&by, &world.snapshot, id(90), &grant(world.bob)).is_err());
    }

    #[test]
    fn a_share_ends_in_the_future() {
        let mut world = World::new();
        let thread = world.thread(Audience::Private);
        let by = world.by::<ThreadShare>(thread);
        let until = |at| Grant {
            until: End::At(at),
            ..grant(world.bob)
        };
        assert!(share(&by, &world.snapshot, id(90), &until(now())).is_err());
        assert!(
            share(
                &by,
                &world.snapshot,
                id(90),
                &until(now() + TimeDelta::seconds(1))
            )
            .is_ok()
        );
    }

    #[test]
    fn a_share_is_taken_back_from_what_it_is_of() {
        let mut world = World::new();
        let (thread, first) = world.shared_thread();
        let other = Ref::new(Kind::Thread, id(99));
        assert!(unshare::<ThreadUnshare>(&world.by(other), &world.snapshot, first).is_err());
        world.apply(unshare::<ThreadUnshare>(
            &world.by(thread),
            &world.snapshot,
            first,
        ));
        assert!(world.snapshot.share(first).is_none());
    }

    #[test]
    fn auditors_are_people_and_the_level_is_for_the_log() {
        let mut world = World::new();
        let thread = world.thread(Audience::Private);
        let level = Grant {
            level: Level::Auditor,
            ..grant(world.bob)
        };
        assert!(share::<ThreadShare>(&world.by(thread), &world.snapshot, id(90), &level).is_err());
        let by = world.by::<SettingsUpdate>(Ref::new(Kind::Settings, world.org.id));
        let definition = world.definition();
        assert!(auditor(&by, &world.snapshot, id(90), (definition, End::Never)).is_err());
        world.apply(auditor(
            &by,
            &world.snapshot,
            id(90),
            (world.bob, End::Never),
        ));
        assert_eq!(
            world.snapshot.shares_of(audit_log(&world.snapshot)).count(),
            1
        );
        world.apply(end_auditor(&by, &world.snapshot, id(90)));
        assert_eq!(
            world.snapshot.shares_of(audit_log(&world.snapshot)).count(),
            0
        );
    }

    #[test]
    fn a_share_is_changed_where_it_is() {
        let mut world = World::new();
        let (thread, first) = world.shared_thread();
        let by = world.by::<ThreadShare>(thread);
        let changed = |world: &World, level, until| {
            edit(&by, &world.snapshot, first, Edit { level, until }).map(|change| {
                let next = world.with(&change);
                let share = next.share(first).unwrap().value.clone();
                (share.level, share.expires_at.map(|end| end - now()), change)
            })
        };
        let (level, left, change) = changed(&world, None, Some(End::After(5))).unwrap();
        assert_eq!((level, left), (Level::Viewer, Some(TimeDelta::minutes(5))));
        assert_eq!(change.events.first().unwrap().event, Event::ThreadShared);
        world.apply(Ok(change));
        let (level, left, _) = changed(&world, Some(Level::Editor), None).unwrap();
        assert_eq!((level, left), (Level::Editor, Some(TimeDelta::minutes(5))));
        assert_eq!(changed(&world, None, Some(End::Never)).unwrap().1, None);
        assert!(changed(&world, None, None).is_err());
        assert!(changed(&world, Some(Level::Auditor), None).is_err());
        assert!(changed(&world, None, Some(End::At(now()))).is_err());
        let other = world.by::<ThreadShare>(Ref::new(Kind::Thread, id(99)));
        let until = Some(End::After(5));
        let edit = |level| edit(&other, &world.snapshot, first, Edit { level, until });
        assert!(matches!(
            edit(None).unwrap_err(),
            DirectoryError::NotFound { .. }
        ));
    }
}
