//! What people make: threads, documents' metadata, templates, tools, assistants and agents' definitions.

use std::collections::BTreeSet;

use serde_json::json;

use super::change::{Change, RowId};
use super::object::{Body, Kind, Made, Object, Ref};
use super::snapshot::Snapshot;
use super::{DirectoryError, name, view};
use crate::decide::authorized::{
    Action, AgentCreate, AgentDelete, AgentEdit, AssistantCreate, AssistantDelete, AssistantEdit,
    Authorized, DocumentDelete, DocumentEdit, DocumentUpload, PromptTemplateCreate,
    PromptTemplateDelete, PromptTemplateEdit, ThreadCreate, ThreadDelete, ThreadRestrict,
    ThreadTransfer, ToolCreate, ToolDelete, ToolEdit,
};
use crate::log::vocabulary::Event;

macro_rules! binding {
    ($(#[$doc:meta])* $name:ident { $($action:ident = $kind:ident, $event:ident;)* }) => {
        $(#[$doc])*
        pub trait $name: Action {
            /// Of which kind.
            const KIND: Kind;
            /// What it is recorded as.
            const EVENT: Event;
        }
        $(impl $name for $action {
            const KIND: Kind = Kind::$kind;
            const EVENT: Event = Event::$event;
        })*
    };
}
pub(super) use binding;

binding! {
    /// An action that makes one.
    Creates {
        ThreadCreate = Thread, ThreadCreated;
        DocumentUpload = Document, DocumentUploaded;
        PromptTemplateCreate = PromptTemplate, PromptTemplateCreated;
        ToolCreate = Tool, ToolCreated;
        AssistantCreate = Assistant, AssistantCreated;
        AgentCreate = AgentDefinition, AgentCreated;
    }
}

binding! {
    /// An action that changes one; a thread's name and audience are changed otherwise.
    Edits {
        DocumentEdit = Document, DocumentEdited;
        PromptTemplateEdit = PromptTemplate, PromptTemplateEdited;
        ToolEdit = Tool, ToolEdited;
        AssistantEdit = Assistant, AssistantEdited;
        AgentEdit = AgentDefinition, AgentEdited;
    }
}

binding! {
    /// An action that deletes one.
    Deletes {
        ThreadDelete = Thread, ThreadDeleted;
        DocumentDelete = Document, DocumentDeleted;
        PromptTemplateDelete = PromptTemplate, PromptTemplateDeleted;
        ToolDelete = Tool, ToolDeleted;
        AssistantDelete = Assistant, AssistantDeleted;
        AgentDelete = AgentDefinition, AgentDeleted;
    }
}

/// Who may read it beside its owner and those whom it is shared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Nobody.
    Private,
    /// A container's members group.
    Members(Ref),
}

impl Audience {
    const fn group(self) -> Option<Ref> {
        match self {
            Self::Private => None,
            Self::Members(group) => Some(group),
        }
    }
}

/// Something new.
#[derive(Debug, Clone)]
pub struct New {
    /// 128 random bits.
    pub id: [u8; 16],
    /// As many again, for the principal of an agent's definition; unused for every other kind.
    pub agent: [u8; 16],
    /// What people call it.
    pub name: String,
    /// Who may read it.
    pub audience: Audience,
}

/// What changes; the rest stays.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// What people call it.
    pub name: Option<String>,
    /// Who may read it.
    pub audience: Option<Audience>,
}

/// Makes something under the container asked about, owned by whoever acts.
///
/// # Errors
/// Nobody acts, a name that cannot be read, nothing there to hang it from, or an audience that is not above it.
pub fn create<A: Creates>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    new: &New,
) -> Result<Change, DirectoryError> {
    let owner = by.user().ok_or(DirectoryError::NoActingUser)?;
    snapshot.require_user(owner)?;
    let parent = by.resource();
    snapshot.require(parent)?;
    if !parent.kind.is_container() && (A::KIND, parent.kind) != (Kind::Document, Kind::Thread) {
        return Err(DirectoryError::invalid(
            "parent",
            format!("nothing of this type hangs from `{parent}`"),
        ));
    }
    let audience = fitting(snapshot, parent, new.audience)?;
    let reference = Ref::new(A::KIND, new.id);
    let made = Made {
        name: name("name", &new.name)?,
        owner,
        parent,
        audience,
        holds: 0,
    };
    let details = json!({"name": made.name, "parent": parent, "audience": audience});
    let object = object(reference, made)?;
    let reply = view::body(reference, &object, snapshot);
    let change = Change::new(A::EVENT, Some(reference), details)
        .put(RowId::Object(reference), Body::Object(object))
        .reply(reply);
    if A::KIND != Kind::AgentDefinition {
        return Ok(change);
    }
    let agent = Ref::new(Kind::Agent, new.agent);
    let mut change = change.put(
        RowId::Object(agent),
        Body::Object(Object::Agent {
            definition: reference,
        }),
    );
    if let Some(reply) = change.reply.as_object_mut() {
        // Known to `view` once the row is there.
        reply.insert("agents".into(), json!([agent]));
    }
    Ok(change)
}

/// Changes the name or the audience of the thing asked about.
///
/// # Errors
/// Nothing changes, an audience that is not above it, or somebody else's audience: who may edit a private thing
/// without reading it (an Admin) would otherwise open it to themselves.
pub fn edit<A: Edits>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    edit: &Edit,
) -> Result<Change, DirectoryError> {
    let reference = of_kind(by.resource(), A::KIND)?;
    let old = snapshot.require_made(reference)?;
    let mut new = old.clone();
    if let Some(text) = &edit.name {
        new.name = name("name", text)?;
    }
    if let Some(audience) = edit.audience {
        new.audience = fitting(snapshot, old.parent, audience)?;
    }
    if new.audience != old.audience && by.user() != Some(old.owner) {
        return Err(DirectoryError::invalid(
            "audience",
            "its owner alone chooses who may read it",
        ));
    }
    if new == *old {
        return Err(DirectoryError::conflicting("name", "this changes nothing"));
    }
    let details = json!({
        "old": {"name": old.name, "audience": old.audience},
        "new": {"name": new.name, "audience": new.audience},
    });
    replaced(snapshot, A::EVENT, reference, new, details)
}

/// Narrows the audience of the thread asked about.
///
/// # Errors
/// It would not be narrower: a group that is not below the one that it has, or one with somebody who may not read it now.
pub fn restrict(
    by: &Authorized<ThreadRestrict>,
    snapshot: &Snapshot,
    audience: Audience,
) -> Result<Change, DirectoryError> {
    let thread = of_kind(by.resource(), Kind::Thread)?;
    let old = snapshot.require_made(thread)?;
    let Some(was) = old.audience else {
        return Err(DirectoryError::conflicting("audience", "it is private now"));
    };
    let new = fitting(snapshot, old.parent, audience)?;
    if let Some(group) = new {
        // The nearest first: deeper is before.
        let groups = snapshot.audiences(old.parent);
        let depth = |group: Ref| groups.iter().position(|other| *other == group);
        if depth(group) >= depth(was) {
            return Err(DirectoryError::invalid(
                "audience",
                "it is not narrower than the one that it has",
            ));
        }
        // A project's members need not be members of the team above it.
        if snapshot
            .people_in(group)
            .any(|(_, user)| !user.groups.contains(&was))
        {
            return Err(DirectoryError::invalid(
                "audience",
                "it has somebody in it who may not read the thread now",
            ));
        }
    }
    let details = json!({"old": was, "new": new});
    replaced(
        snapshot,
        Event::ThreadRestricted,
        thread,
        Made {
            audience: new,
            ..old.clone()
        },
        details,
    )
}

/// Gives the thread asked about to another owner.
///
/// # Errors
/// Nobody there of that name, somebody suspended, or the owner that it has.
pub fn transfer(
    by: &Authorized<ThreadTransfer>,
    snapshot: &Snapshot,
    owner: Ref,
) -> Result<Change, DirectoryError> {
    let thread = of_kind(by.resource(), Kind::Thread)?;
    let old = snapshot.require_made(thread)?;
    if !snapshot.require_user(owner)?.active {
        return Err(DirectoryError::invalid("owner", "they are suspended"));
    }
    if old.owner == owner {
        return Err(DirectoryError::conflicting("owner", "it is theirs now"));
    }
    let details = json!({"old": old.owner, "new": owner});
    replaced(
        snapshot,
        Event::ThreadTransferred,
        thread,
        Made {
            owner,
            ..old.clone()
        },
        details,
    )
}

/// Deletes the thing asked about, what hangs from it, and the shares of and to all that.
///
/// # Errors
/// It is not there.
pub fn delete<A: Deletes>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    let reference = of_kind(by.resource(), A::KIND)?;
    let old = snapshot.require_made(reference)?;
    // What hangs from it has nothing hanging from it: documents and memory of a thread, agents and runs of a definition.
    let mut ended = vec![reference];
    ended.extend(snapshot.children(reference));
    let of_all = ended.iter().flat_map(|one| snapshot.shares_of(*one));
    let shares: BTreeSet<_> = of_all
        .chain(snapshot.shares_to(reference))
        .map(|(id, _)| id)
        .collect();
    let count = |kind| {
        ended
            .iter()
            .skip(1)
            .filter(|child| child.kind == kind)
            .count()
    };
    let details = json!({
        "name": old.name, "owner": old.owner, "parent": old.parent, "shares_ended": shares.len(),
        "documents_ended": count(Kind::Document), "memories_ended": count(Kind::Memory),
        "runs_ended": count(Kind::AgentRun),
    });
    let mut change =
        Change::new(A::EVENT, Some(reference), details).reply(json!({"id": reference}));
    for object in ended {
        change = change.end(RowId::Object(object));
    }
    for share in shares {
        change = change.end(RowId::Share(share));
    }
    Ok(change)
}

/// The audience's group, if it may be one of something that hangs from `parent`.
fn fitting(
    snapshot: &Snapshot,
    parent: Ref,
    audience: Audience,
) -> Result<Option<Ref>, DirectoryError> {
    let group = audience.group();
    match group {
        Some(_) if parent.kind == Kind::Thread => Err(DirectoryError::invalid(
            "audience",
            "what hangs from a thread follows the thread",
        )),
        Some(group) if !snapshot.audiences(parent).contains(&group) => {
            Err(DirectoryError::invalid(
                "audience",
                "it is not the members group of a container that this hangs from",
            ))
        }
        _ => Ok(group),
    }
}

pub(super) fn of_kind(reference: Ref, kind: Kind) -> Result<Ref, DirectoryError> {
    if reference.kind == kind {
        Ok(reference)
    } else {
        Err(DirectoryError::absent(reference))
    }
}

fn object(reference: Ref, made: Made) -> Result<Object, DirectoryError> {
    Object::from_made(reference.kind, made).ok_or_else(|| DirectoryError::WrongBody {
        id: reference.to_string(),
    })
}

fn replaced(
    snapshot: &Snapshot,
    event: Event,
    reference: Ref,
    new: Made,
    details: serde_json::Value,
) -> Result<Change, DirectoryError> {
    let object = object(reference, new)?;
    let reply = view::body(reference, &object, snapshot);
    Ok(Change::new(event, Some(reference), details)
        .put(RowId::Object(reference), Body::Object(object))
        .reply(reply))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::world::{World, id};
    use super::*;
    use crate::decide::authorized::{ProjectAddMember, TeamAddMember};
    use crate::directory::circle::{Place, add_member};

    fn new(audience: Audience) -> New {
        New {
            id: id(90),
            agent: id(91),
            name: "Plan".into(),
            audience,
        }
    }

    fn groups(world: &World) -> [Ref; 3] {
        [world.org, world.team, world.project]
            .map(|container| world.snapshot.members(container).unwrap())
    }

    #[test]
    fn what_is_made_is_owned_by_whoever_acts() {
        let world = World::new();
        let by = world.by::<ThreadCreate>(world.project);
        let change = create(&by, &world.snapshot, &new(Audience::Private)).unwrap();
        let next = world.with(&change);
        assert_eq!(
            next.require_made(Ref::new(Kind::Thread, id(90)))
                .unwrap()
                .owner,
            world.ada
        );
        let nobody = world.by_nobody::<ThreadCreate>(world.project);
        let refused = create(&nobody, &world.snapshot, &new(Audience::Private));
        assert_eq!(refused.unwrap_err(), DirectoryError::NoActingUser);
    }

    #[test]
    fn an_audience_is_the_members_of_a_container_above() {
        let world = World::new();
        let [org, team, project] = groups(&world);
        let snapshot = &world.snapshot;
        for group in [org, team, project] {
            assert!(
                create(
                    &world.by::<ToolCreate>(world.project),
                    snapshot,
                    &new(Audience::Members(group))
                )
                .is_ok()
            );
        }
        let leads = snapshot.require_circle(world.team).unwrap().leads;
        for (parent, group) in [
            (world.team, project),
            (world.org, team),
            (world.team, leads),
        ] {
            assert!(
                create(
                    &world.by::<ToolCreate>(parent),
                    snapshot,
                    &new(Audience::Members(group))
                )
                .is_err()
            );
        }
    }

    #[test]
    fn a_document_under_a_thread_follows_the_thread() {
        let mut world = World::new();
        let thread = world.thread(Audience::Private);
        let [org, ..] = groups(&world);
        let by = world.by::<DocumentUpload>(thread);
        assert!(create(&by, &world.snapshot, &new(Audience::Private)).is_ok());
        assert!(create(&by, &world.snapshot, &new(Audience::Members(org))).is_err());
        assert!(
            create(
                &world.by::<ToolCreate>(thread),
                &world.snapshot,
                &new(Audience::Private)
            )
            .is_err()
        );
    }

    #[test]
    fn an_agents_definition_comes_with_one_principal_and_goes_with_it() {
        let mut world = World::new();
        let by = world.by::<AgentCreate>(world.team);
        world.apply(create(&by, &world.snapshot, &new(Audience::Private)));
        let (definition, agent) = (
            Ref::new(Kind::AgentDefinition, id(90)),
            Ref::new(Kind::Agent, id(91)),
        );
        assert_eq!(
            world.snapshot.require(agent).unwrap(),
            &Object::Agent { definition }
        );
        world.apply(delete::<AgentDelete>(
            &world.by(definition),
            &world.snapshot,
        ));
        assert!(world.snapshot.object(agent).is_none());
    }

    #[test]
    fn only_its_owner_chooses_who_reads_it() {
        let mut world = World::new();
        let [.., project] = groups(&world);
        let by = world.by_user::<ToolCreate>(world.bob, world.project);
        world.apply(create(&by, &world.snapshot, &new(Audience::Private)));
        let tool = Ref::new(Kind::Tool, id(90));
        let open = Edit {
            name: None,
            audience: Some(Audience::Members(project)),
        };
        // An Admin, who may edit it without reading it.
        assert!(edit(&world.by::<ToolEdit>(tool), &world.snapshot, &open).is_err());
        let rename = Edit {
            name: Some("Hammer".into()),
            audience: None,
        };
        assert!(edit(&world.by::<ToolEdit>(tool), &world.snapshot, &rename).is_ok());
        assert!(
            edit(
                &world.by_user::<ToolEdit>(world.bob, tool),
                &world.snapshot,
                &open
            )
            .is_ok()
        );
        assert!(
            edit(
                &world.by::<ToolEdit>(tool),
                &world.snapshot,
                &Edit::default()
            )
            .is_err()
        );
    }

    #[test]
    fn a_restriction_only_narrows() {
        let mut world = World::new();
        let [org, team, project] = groups(&world);
        let thread = world.thread(Audience::Members(team));
        let by = world.by::<ThreadRestrict>(thread);
        assert!(restrict(&by, &world.snapshot, Audience::Members(org)).is_err());
        assert!(restrict(&by, &world.snapshot, Audience::Members(team)).is_err());
        assert!(restrict(&by, &world.snapshot, Audience::Members(project)).is_ok());
        world.apply(restrict(&by, &world.snapshot, Audience::Private));
        assert!(restrict(&by, &world.snapshot, Audience::Private).is_err());
        assert!(restrict(&by, &world.snapshot, Audience::Members(project)).is_err());
    }

    #[test]
    fn a_restriction_lets_nobody_in() {
        let mut world = World::new();
        let [_, team, project] = groups(&world);
        let thread = world.thread(Audience::Members(team));
        let by = world.by::<ThreadRestrict>(thread);
        world.apply(add_member::<ProjectAddMember>(
            &world.by(world.project),
            &world.snapshot,
            world.bob,
            Place::Member,
        ));
        assert!(restrict(&by, &world.snapshot, Audience::Members(project)).is_err());
        world.apply(add_member::<TeamAddMember>(
            &world.by(world.team),
            &world.snapshot,
            world.bob,
            Place::Member,
        ));
        assert!(restrict(&by, &world.snapshot, Audience::Members(project)).is_ok());
    }

    #[test]
    fn a_thread_goes_to_somebody_active_and_else() {
        let mut world = World::new();
        let thread = world.thread(Audience::Private);
        let by = world.by::<ThreadTransfer>(thread);
        assert!(transfer(&by, &world.snapshot, world.ada).is_err());
        assert!(transfer(&by, &world.snapshot, world.bob).is_ok());
        world.suspend_bob();
        assert!(transfer(&by, &world.snapshot, world.bob).is_err());
        let nobody = Ref::new(Kind::User, id(99));
        assert_eq!(
            transfer(&by, &world.snapshot, nobody).unwrap_err(),
            DirectoryError::absent(nobody)
        );
    }

    #[test]
    fn documents_memory_and_shares_go_with_their_thread() {
        let mut world = World::new();
        let (thread, share) = world.shared_thread();
        world.apply(create(
            &world.by::<DocumentUpload>(thread),
            &world.snapshot,
            &new(Audience::Private),
        ));
        let memory = world.memory_of(thread);
        world.apply(delete::<ThreadDelete>(&world.by(thread), &world.snapshot));
        for gone in [thread, Ref::new(Kind::Document, id(90)), memory] {
            assert!(world.snapshot.object(gone).is_none(), "{gone}");
        }
        assert!(world.snapshot.share(share).is_none());
    }
}
