//! Shares: links of the policy templates, to a user, a group or an agent's definition.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::change::{Change, RowId, SHARE};
use super::made::{binding, of_kind};
use super::object::{Body, Kind, Level, Ref, Share};
use super::snapshot::Snapshot;
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

/// What is given, to whom and for how long.
#[derive(Debug, Clone)]
pub struct Grant {
    /// A user, a group or an agent's definition.
    pub grantee: Ref,
    /// How much.
    pub level: Level,
    /// When it stops counting.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Shares the thing asked about; what the grantee had of it is replaced, and keeps its identifier.
///
/// # Errors
/// Nobody there of that name or somebody suspended, a level of the log, or a time that is past.
pub fn share<A: Shares>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    id: [u8; 16],
    grant: &Grant,
) -> Result<Change, DirectoryError> {
    let resource = of_kind(by.resource(), A::KIND)?;
    snapshot.require_made(resource)?;
    if grant.level == Level::Auditor {
        return Err(DirectoryError::invalid(
            "level",
            "`auditor` is for the log alone",
        ));
    }
    check_grantee(snapshot, grant.grantee)?;
    granted(snapshot, resource, A::EVENT, id, grant, by.now())
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
/// An agent, nobody there of that name or somebody suspended, or a time that is past.
pub fn auditor(
    by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    id: [u8; 16],
    grantee: Ref,
    expires_at: Option<DateTime<Utc>>,
) -> Result<Change, DirectoryError> {
    if grantee.kind == Kind::AgentDefinition {
        return Err(DirectoryError::invalid(
            "grantee",
            "an agent audits nothing",
        ));
    }
    check_grantee(snapshot, grantee)?;
    let grant = Grant {
        grantee,
        level: Level::Auditor,
        expires_at,
    };
    granted(
        snapshot,
        audit_log(snapshot),
        Event::SettingsUpdated,
        id,
        &grant,
        by.now(),
    )
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

fn granted(
    snapshot: &Snapshot,
    resource: Ref,
    event: Event,
    id: [u8; 16],
    grant: &Grant,
    now: DateTime<Utc>,
) -> Result<Change, DirectoryError> {
    if grant.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(DirectoryError::invalid("expires_at", "it is past"));
    }
    let before = snapshot
        .shares_of(resource)
        .find(|(_, share)| share.value.grantee == grant.grantee);
    let id = before.map_or(id, |(id, _)| id);
    let share = Share {
        level: grant.level,
        grantee: grant.grantee,
        resource,
        expires_at: grant.expires_at,
    };
    let reply = view::share_body(id, &share);
    let mut details = reply.clone();
    if let (Some((_, old)), Some(details)) = (before, details.as_object_mut()) {
        details.insert(
            "old".into(),
            json!({"level": old.value.level.name(), "expires_at": old.value.expires_at}),
        );
    }
    Ok(Change::new(event, Some(resource), details)
        .put(RowId::Share(id), Body::Share(share))
        .reply(reply))
}

fn taken_back(
    snapshot: &Snapshot,
    resource: Ref,
    event: Event,
    id: [u8; 16],
) -> Result<Change, DirectoryError> {
    let text = ids::text(SHARE, &id);
    let stored = snapshot
        .share(id)
        .filter(|share| share.value.resource == resource)
        .ok_or_else(|| DirectoryError::NotFound {
            kind: "share",
            id: text.clone(),
        })?;
    let details = json!({"old": view::share_body(id, &stored.value), "new": null});
    Ok(Change::new(event, Some(resource), details)
        .end(RowId::Share(id))
        .reply(json!({"id": text})))
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
            expires_at: None,
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
        let until = |expires_at| Grant {
            expires_at: Some(expires_at),
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
        assert!(auditor(&by, &world.snapshot, id(90), definition, None).is_err());
        world.apply(auditor(&by, &world.snapshot, id(90), world.bob, None));
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
}
