//! Content of what the directory holds: whose it is, and what writing it is recorded as.

use serde_json::{Value, json};

use super::DirectoryError;
use super::change::{Change, RowId};
use super::made::binding;
use super::object::{Body, Kind, Layer, Object, Ref};
use super::snapshot::Snapshot;
use super::view;
use crate::decide::authorized::{
    Action, AgentDelete, AgentEdit, AgentRun, AssistantDelete, AssistantEdit, Authorized,
    DocumentDelete, DocumentEdit, IntegrationRefreshToken, MemoryForget, MemoryWrite,
    PromptTemplateDelete, PromptTemplateEdit, ThreadComment, ThreadPost, ToolDelete, ToolEdit,
};
use crate::log::vocabulary::Event;

binding! {
    /// An action that replaces the content of one.
    Writes {
        DocumentEdit = Document, DocumentEdited;
        MemoryWrite = Memory, MemoryWritten;
        PromptTemplateEdit = PromptTemplate, PromptTemplateEdited;
        ToolEdit = Tool, ToolEdited;
        AssistantEdit = Assistant, AssistantEdited;
        AgentEdit = AgentDefinition, AgentEdited;
        AgentRun = AgentRun, AgentRunRecorded;
    }
}

binding! {
    /// An action that takes the content of one away, with all its versions.
    Removes {
        DocumentDelete = Document, DocumentEdited;
        MemoryForget = Memory, MemoryForgotten;
        PromptTemplateDelete = PromptTemplate, PromptTemplateEdited;
        ToolDelete = Tool, ToolEdited;
        AssistantDelete = Assistant, AssistantEdited;
        AgentDelete = AgentDefinition, AgentEdited;
        AgentRun = AgentRun, AgentRunRecorded;
    }
}

binding! {
    /// An action that adds to what a thread says.
    Posts {
        ThreadPost = Thread, ThreadPosted;
        ThreadComment = Thread, ThreadPosted;
    }
}

/// What is recorded of content that is written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The version's name.
    pub version: String,
    /// The person under whose key it is.
    pub owner: Option<Ref>,
    /// Its media type.
    pub media_type: String,
    /// How many bytes it has.
    pub length: u64,
}

impl Written {
    fn details(&self) -> Value {
        json!({"content": {"version": self.version, "media_type": self.media_type, "length": self.length}})
    }

    fn reply(&self, id: Ref) -> Value {
        json!({"id": id, "version": self.version, "media_type": self.media_type, "length": self.length})
    }
}

/// The person whose content it is, and with whom it is erased: the owner of what a person makes, the person of a personal memory. What a
/// team, a project, a thread or the organization remembers is the organization's, and so is an integration's token.
///
/// # Errors
/// It is not there, or nothing is kept of such a thing.
pub fn owner(snapshot: &Snapshot, reference: Ref) -> Result<Option<Ref>, DirectoryError> {
    let object = snapshot.require(reference)?;
    match object {
        Object::Memory(memory) if memory.layer == Layer::Personal => Ok(Some(memory.owner)),
        Object::Memory(_) | Object::Integration(_) => Ok(None),
        Object::AgentRun(run) => Ok(Some(run.owner)),
        _ => object
            .made()
            .map(|made| Some(made.owner))
            .ok_or_else(|| DirectoryError::absent(reference)),
    }
}

/// The thing asked about has this content from now on.
///
/// # Errors
/// It is not there, or it is somebody else's since the content was sealed.
pub fn written<A: Writes>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    written: &Written,
) -> Result<Change, DirectoryError> {
    let reference = by.resource();
    same_owner(owner(snapshot, reference)?, written.owner)?;
    Ok(Change::new(A::EVENT, Some(reference), written.details()).reply(written.reply(reference)))
}

/// The thing asked about has no content any more.
///
/// # Errors
/// It is not there.
pub fn removed<A: Removes>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    let reference = by.resource();
    owner(snapshot, reference)?;
    let details = json!({"content": null});
    Ok(Change::new(A::EVENT, Some(reference), details).reply(json!({"id": reference})))
}

/// The thread asked about has one message more, by whoever acts.
///
/// # Errors
/// Nobody acts, or the thread is not there.
pub fn posted<A: Posts>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    written: &Written,
) -> Result<Change, DirectoryError> {
    let author = by.user().ok_or(DirectoryError::NoActingUser)?;
    let thread = by.resource();
    snapshot.require(thread)?;
    same_owner(Some(author), written.owner)?;
    let details = json!({"message": written.version, "media_type": written.media_type, "length": written.length});
    let reply = json!({
        "id": written.version, "thread": thread, "author": author, "media_type": written.media_type,
        "length": written.length, "comment": A::NAME == ThreadComment::NAME,
    });
    Ok(Change::new(A::EVENT, Some(thread), details).reply(reply))
}

/// The integration asked about has a new token.
///
/// # Errors
/// It is not there.
pub fn token_refreshed(
    by: &Authorized<IntegrationRefreshToken>,
    snapshot: &Snapshot,
    written: &Written,
) -> Result<Change, DirectoryError> {
    let reference = by.resource();
    let mut new = snapshot.require_integration(reference)?.clone();
    new.refreshed_at = Some(by.now());
    let details = json!({"name": new.name, "token": written.version});
    let object = Object::Integration(new);
    let reply = view::body(reference, &object, snapshot);
    Ok(
        Change::new(Event::IntegrationTokenRefreshed, Some(reference), details)
            .put(RowId::Object(reference), Body::Object(object))
            .reply(reply),
    )
}

fn same_owner(now: Option<Ref>, then: Option<Ref>) -> Result<(), DirectoryError> {
    if now == then {
        return Ok(());
    }
    Err(DirectoryError::Taken {
        what: "its ownership changed while the content arrived, and it".into(),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::made::Audience;
    use super::super::world::{World, id, now};
    use super::*;

    fn said(owner: Option<Ref>) -> Written {
        Written {
            version: "ver_1".into(),
            owner,
            media_type: "text/plain".into(),
            length: 5,
        }
    }

    #[test]
    fn a_personal_memory_is_its_persons_and_a_teams_is_the_organizations() {
        let mut world = World::new();
        let team = world.memory_of(world.team);
        assert_eq!(owner(&world.snapshot, team), Ok(None));
        let mut world = World::new();
        let mine = world.memory_of(world.ada);
        assert_eq!(owner(&world.snapshot, mine), Ok(Some(world.ada)));
        let thread = world.thread(Audience::Private);
        assert_eq!(owner(&world.snapshot, thread), Ok(Some(world.ada)));
        assert!(owner(&world.snapshot, world.team).is_err());
    }

    #[test]
    fn content_that_was_sealed_for_somebody_else_is_not_taken() {
        let mut world = World::new();
        let mine = world.memory_of(world.ada);
        let by = world.by::<MemoryWrite>(mine);
        assert!(written(&by, &world.snapshot, &said(Some(world.ada))).is_ok());
        assert!(written(&by, &world.snapshot, &said(Some(world.bob))).is_err());
        assert!(written(&by, &world.snapshot, &said(None)).is_err());
    }

    #[test]
    fn a_message_is_its_authors() {
        let mut world = World::new();
        let thread = world.thread(Audience::Private);
        let by = world.by::<ThreadPost>(thread);
        let change = posted(&by, &world.snapshot, &said(Some(world.ada))).unwrap();
        assert!(change.rows.is_empty());
        assert_eq!(change.reply.get("author"), Some(&json!(world.ada)));
        assert!(posted(&by, &world.snapshot, &said(Some(world.bob))).is_err());
        let nobody = world.by_nobody::<ThreadPost>(thread);
        assert!(posted(&nobody, &world.snapshot, &said(None)).is_err());
    }

    #[test]
    fn a_new_token_is_dated_and_one_of_an_integration_that_is_gone_is_refused() {
        let mut world = World::new();
        let integration = world.integration_for_the_team();
        let by = world.by::<IntegrationRefreshToken>(integration);
        world.apply(token_refreshed(&by, &world.snapshot, &said(None)));
        let stored = world.snapshot.require_integration(integration).unwrap();
        assert_eq!(stored.refreshed_at, Some(now()));
        let gone = world.by::<IntegrationRefreshToken>(Ref::new(Kind::Integration, id(99)));
        assert!(token_refreshed(&gone, &world.snapshot, &said(None)).is_err());
    }
}
