//! How an object is told to a caller of the API: everything but a key's digest, and a link's.

use serde_json::{Value, json};

use super::change::SHARE;
use super::object::{Kind, Made, Object, OwnEntity, OwnLibrary, Ref, Share, User};
use super::policies::Files;
use super::snapshot::{Snapshot, Stored};
use crate::ids;

/// An object of the snapshot, with the log's index since which it is as it is.
pub fn view(reference: Ref, object: &Object, snapshot: &Snapshot) -> Value {
    let mut view = body(reference, object, snapshot);
    if let (Some(stored), Some(view)) = (snapshot.object(reference), view.as_object_mut()) {
        view.insert("from_index".into(), stored.from_index.into());
    }
    view
}

/// The same without the index: what a change answers before it has one.
pub fn body(reference: Ref, object: &Object, snapshot: &Snapshot) -> Value {
    let mut view = match object {
        Object::Organization(_) => return organization(reference, object),
        Object::User(user) => user_body(user, snapshot),
        Object::Group { of } => json!({"of": of, "place": place(reference, *of, snapshot)}),
        Object::DirectoryGroup(group) => {
            json!({"name": group.name, "external_id": group.external_id, "place": "member"})
        }
        Object::Service(service) => {
            let scopes: Vec<_> = service.scopes.iter().map(|scope| scope.name()).collect();
            json!({"name": service.name, "scopes": scopes})
        }
        Object::ApiKey(key) => {
            let scopes: Option<Vec<_>> =
                match snapshot.object(key.service).map(|stored| &stored.value) {
                    Some(Object::Service(service)) => {
                        Some(service.scopes.iter().map(|scope| scope.name()).collect())
                    }
                    _ => None,
                };
            json!({
                "name": key.name, "service": key.service, "scopes": scopes,
                "created_at": key.created_at, "expires_at": key.expires_at, "certificate": key.certificate,
                "made_by": key.made_by.told(),
            })
        }
        Object::Team(circle) | Object::Project(circle) => json!({
            "name": circle.name, "parent": circle.parent, "members": circle.members, "leads": circle.leads,
            "holds": circle.holds,
        }),
        Object::AgentDefinition(made) => {
            let under = snapshot.children(reference);
            let agents: Vec<_> = under.filter(|one| one.kind == Kind::Agent).collect();
            let mut view = made_body(made);
            if let Some(view) = view.as_object_mut() {
                view.insert("agents".into(), json!(agents));
            }
            view
        }
        Object::Thread(made)
        | Object::Document(made)
        | Object::PromptTemplate(made)
        | Object::Tool(made)
        | Object::Assistant(made) => made_body(made),
        Object::Memory(memory) => json!({
            "name": memory.name, "owner": memory.owner, "layer": memory.layer.name(), "parent": memory.parent,
            "holds": memory.holds,
        }),
        Object::Integration(integration) => json!({
            "name": integration.name, "provider": integration.provider, "audience": integration.audience,
            "status": "connected", "refreshed_at": integration.refreshed_at,
        }),
        Object::Agent { definition } => json!({"definition": definition}),
        Object::Invitation(invitation) => json!({
            "email": invitation.email, "name": invitation.name, "role": invitation.role.name(),
            "invited_by": invitation.invited_by, "sent_at": invitation.sent_at, "expires_at": invitation.expires_at,
            "status": if invitation.expired { "expired" } else { "open" },
        }),
        Object::AccessRequest(request) => json!({
            "owner": request.owner, "resource": request.resource, "level": request.level.name(),
            "reason": request.reason, "for_minutes": request.minutes, "asked_at": request.asked_at,
            "lapses_at": request.lapses_at, "status": request.status.as_str(), "closed_at": request.closed_at,
            "given": request.given,
        }),
        Object::AgentRun(run) => json!({
            "owner": run.owner, "definition": run.definition, "status": run.status,
            "started_at": run.started_at, "ended_at": run.ended_at,
        }),
        Object::Session(session) => json!({
            "owner": session.owner, "method": session.method, "break_glass": session.break_glass,
            "connection": session.connection, "created_at": session.created_at, "expires_at": session.expires_at,
            "agent": session.agent, "client": session.client,
        }),
    };
    named(&mut view, reference);
    view
}

/// The organization, which needs no snapshot: it is told before there is one.
pub(super) fn organization(reference: Ref, object: &Object) -> Value {
    let Object::Organization(organization) = object else {
        return Value::Null;
    };
    let mut view = json!({
        "name": organization.name, "plan": organization.plan.name(), "regions": organization.regions,
        "sso_enforced": organization.sso_enforced, "active_admins": organization.active_admins,
        "members": organization.members, "holds": organization.holds, "suspended": organization.suspended,
        "retention_days": organization.retention_days, "closes_at": organization.closes_at,
        "private_export": organization.private_export, "share_days": organization.share_days,
    });
    named(&mut view, reference);
    view
}

/// A share of the snapshot.
pub fn share(id: [u8; 16], stored: &Stored<Share>) -> Value {
    let mut view = share_body(id, &stored.value);
    if let Some(view) = view.as_object_mut() {
        view.insert("from_index".into(), stored.from_index.into());
    }
    view
}

/// The same without the index.
pub fn share_body(id: [u8; 16], share: &Share) -> Value {
    json!({
        "id": ids::text(SHARE, &id), "type": "Share", "level": share.level.name(), "grantee": share.grantee,
        "resource": share.resource, "expires_at": share.expires_at,
    })
}

/// An entity of the tenant's own types: as it was given.
pub fn own(entity: &OwnEntity) -> Value {
    entity.entity.clone()
}

/// The tenant's own schema and policies.
pub fn library(library: &OwnLibrary) -> Value {
    let policies: Vec<_> = library
        .policies
        .iter()
        .map(|(name, text)| json!({"name": name, "text": text}))
        .collect();
    json!({"version": library.version, "schema": library.schema, "policies": policies})
}

/// What counts of the tenant's own.
pub fn policy_set(snapshot: &Snapshot) -> Value {
    let mut view = library(snapshot.library());
    let number = snapshot.library().version;
    let digest = snapshot.version(number).map(|version| &version.digest);
    if let Some(view) = view.as_object_mut() {
        view.insert("digest".into(), json!(digest));
        view.insert("activated".into(), json!(snapshot.library().activated));
    }
    view
}

/// A version and how far it has come, without its files; nothing of one that is not there.
pub fn policy_version(snapshot: &Snapshot, number: u64) -> Value {
    let standing = snapshot.standing(number).cloned().unwrap_or_default();
    let active = snapshot.library().version == number;
    let rules = snapshot.rules();
    snapshot.version(number).map_or(Value::Null, |version| {
        json!({
            "version": number, "digest": version.digest, "base": version.base, "message": standing.message,
            "drafted": version.drafted, "active": active, "shadow": rules.shadow == Some(number),
            "tested": standing.tested, "checked": standing.checked, "approvals": standing.approvals,
            "activated": standing.activated,
        })
    })
}

/// The same with its files.
pub fn with_files(view: &mut Value, files: &Files) {
    let by_name = |files: &[(String, String)]| -> Value {
        let texts = files.iter().map(|(name, text)| (name.clone(), json!(text)));
        Value::Object(texts.collect())
    };
    if let Some(view) = view.as_object_mut() {
        view.insert("schema".into(), json!(files.schema));
        view.insert("policies".into(), by_name(&files.policies));
        view.insert("tests".into(), by_name(&files.tests));
    }
}

fn named(view: &mut Value, reference: Ref) {
    if let Some(view) = view.as_object_mut() {
        view.insert("id".into(), json!(reference));
        view.insert("type".into(), reference.kind.name().into());
    }
}

fn made_body(made: &Made) -> Value {
    json!({
        "name": made.name, "owner": made.owner, "parent": made.parent, "audience": made.audience,
        "holds": made.holds,
    })
}

fn user_body(user: &User, snapshot: &Snapshot) -> Value {
    let places: Vec<_> = user
        .groups
        .iter()
        .filter_map(
            |group| match snapshot.object(*group).map(|stored| &stored.value) {
                Some(Object::Group { of }) => {
                    Some(json!({"group": group, "of": of, "place": place(*group, *of, snapshot)}))
                }
                Some(Object::DirectoryGroup(directory)) => {
                    Some(json!({"group": group, "name": directory.name, "place": "member"}))
                }
                _ => None,
            },
        )
        .collect();
    json!({
        "name": user.name, "email": user.email, "role": user.role.name(), "active": user.active,
        "groups": places, "holds": user.holds,
    })
}

/// What being in a container's group is called.
fn place(group: Ref, of: Ref, snapshot: &Snapshot) -> &'static str {
    let leads = snapshot
        .object(of)
        .and_then(|stored| stored.value.circle())
        .map(|circle| circle.leads);
    if leads == Some(group) {
        "lead"
    } else {
        "member"
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::world::World;
    use super::*;

    #[test]
    fn every_view_has_its_id_and_type() {
        let mut world = World::new();
        world.shared_thread();
        world.run_for_bob();
        world.integration_for_the_team();
        for (reference, stored) in world.snapshot.objects() {
            let view = view(reference, &stored.value, &world.snapshot);
            assert_eq!(view.get("id").unwrap(), &json!(reference));
            assert_eq!(view.get("type").unwrap(), reference.kind.name());
            assert_eq!(view.get("from_index").unwrap(), stored.from_index);
        }
    }

    #[test]
    fn a_person_is_told_where_they_lead() {
        let world = World::new();
        let ada = world.snapshot.require(world.ada).unwrap();
        let view = view(world.ada, ada, &world.snapshot).to_string();
        assert!(view.contains("\"place\":\"lead\"") && view.contains(&world.team.to_string()));
    }
}
