//! What people make, what is connected, and the entities of the tenant's own types.

use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Id, Moment};

/// A thread, prompt template, tool, assistant or agent's definition that is to be.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewMade {
    /// What people call it: 1 to 200 bytes, without control characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it is in: the organization, which it is if absent, a team or a project.
    #[schema(nullable = false)]
    parent: Option<Id>,
    /// Who may read it beside its owner and those whom it is shared with: the members group of its parent, or of a container above that;
    /// private if null or absent.
    audience: Option<Id>,
}

/// A document that is to be.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewDocument {
    /// What people call it: 1 to 200 bytes, without control characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it is in: the organization, which it is if absent, a team, a project or a thread.
    #[schema(nullable = false)]
    parent: Option<Id>,
    /// Who may read it beside its owner and those whom it is shared with: the members group of its parent, or of a container above that;
    /// private if null or absent. None where it is in a thread, which it follows.
    audience: Option<Id>,
}

/// Something that somebody has made.
#[derive(ToSchema)]
pub(in crate::http) struct Made {
    id: Id,
    r#type: MadeType,
    /// What people call it.
    name: String,
    /// The person whose it is.
    owner: Id,
    /// What it is in: the organization, a team or a project, or for a document also a thread.
    parent: Id,
    /// The members group of those who may read it beside its owner and those whom it is shared with. Null where it is private, or is in
    /// a thread, which it follows.
    #[schema(required)]
    audience: Option<Id>,
    /// How many legal holds stand on it, beside those on the organization.
    holds: u64,
    /// The index in the log since which it is as it is; absent in the answer to a change.
    #[schema(nullable = false)]
    from_index: Option<u64>,
}

/// What it is that somebody has made.
#[derive(ToSchema)]
enum MadeType {
    Thread,
    Document,
    PromptTemplate,
    Tool,
    Assistant,
}

/// What an agent is.
#[derive(ToSchema)]
pub(in crate::http) struct AgentDefinition {
    id: Id,
    r#type: AgentDefinitionType,
    /// What people call it.
    name: String,
    /// The person whose it is.
    owner: Id,
    /// What it is in: the organization, a team or a project.
    parent: Id,
    /// The members group of those who may read it beside its owner and those whom it is shared with; null where it is private.
    #[schema(required)]
    audience: Option<Id>,
    /// How many legal holds stand on it, beside those on the organization.
    holds: u64,
    /// The agents whose definition it is.
    agents: Vec<Id>,
    /// The index in the log since which it is as it is; absent in the answer to a change.
    #[schema(nullable = false)]
    from_index: Option<u64>,
}

/// What an agent's definition is.
#[derive(ToSchema)]
enum AgentDefinitionType {
    AgentDefinition,
}

/// What is to change of a thread: one of these at a time, since each is decided for itself.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum ThreadChange {
    /// A narrower audience.
    #[serde(deny_unknown_fields)]
    #[schema(title = "ThreadAudienceChange")]
    Audience {
        /// A members group that lets in nobody new; null for private.
        #[schema(required)]
        audience: Option<Id>,
    },
    /// Another owner.
    #[serde(deny_unknown_fields)]
    #[schema(title = "ThreadOwnerChange")]
    Owner {
        /// An active person of the organization.
        owner: Id,
    },
}

/// What is to change of something that somebody has made: one of these, or both.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub(in crate::http) struct MadeChange {
    /// What people are to call it: 1 to 200 bytes, without control characters.
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    name: Option<String>,
    /// The members group of those who may read it, as where it is made; null for private. Its owner alone changes that.
    audience: Option<Id>,
}

/// An integration that is to be connected.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewIntegration {
    /// What people call it: 1 to 200 bytes, without control characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it connects to: 1 to 200 bytes, without control characters.
    #[schema(min_length = 1, max_length = 200)]
    provider: String,
    /// The members group of those who may use it; Admins alone if null or absent.
    audience: Option<Id>,
}

/// A connection to something outside.
#[derive(ToSchema)]
pub(in crate::http) struct Integration {
    id: Id,
    r#type: IntegrationType,
    /// What people call it.
    name: String,
    /// What it connects to.
    provider: String,
    /// The members group of those who may use it; null where Admins alone may.
    #[schema(required)]
    audience: Option<Id>,
    status: IntegrationStatus,
    /// When it was last given a token; null where it never was.
    #[schema(required)]
    refreshed_at: Option<Moment>,
    /// The index in the log since which it is as it is; absent in the answer to a change.
    #[schema(nullable = false)]
    from_index: Option<u64>,
}

/// What an integration is.
#[derive(ToSchema)]
enum IntegrationType {
    Integration,
}

/// How an integration stands: one that is disconnected is not there any more.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum IntegrationStatus {
    Connected,
}

/// The token of an integration, for the service that uses it.
#[derive(ToSchema)]
pub(in crate::http) struct IntegrationToken {
    token: Token,
    /// What it was sent as.
    media_type: String,
    /// The version of the token.
    version: Id,
}

/// A token as it was given: as text where its media type says that it is text, else in base64.
#[derive(ToSchema)]
#[serde(untagged)]
enum Token {
    /// As text.
    #[schema(title = "TextToken")]
    Text { text: String },
    /// In base64.
    #[schema(title = "Base64Token")]
    Base64 {
        #[schema(content_encoding = "base64")]
        base64: String,
    },
}

/// Entities of the tenant's own types that are to be written, each as a whole.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewEntities {
    /// None is there twice, and none is in itself.
    #[schema(min_items = 1, max_items = 1000)]
    entities: Vec<OwnEntity>,
}

/// Entities were written.
#[derive(ToSchema)]
pub(in crate::http) struct WrittenEntities {
    /// How many.
    count: u64,
}

/// An entity of a type of the tenant's own, in Cedar's JSON format: it fits the tenant's schema, and is answered as it was given.
#[derive(ToSchema)]
pub(in crate::http) struct OwnEntity {
    /// Its name, which is of no built-in type and no action.
    uid: OwnEntityUid,
    /// Its attributes, as the schema has them.
    attrs: Map<String, Value>,
    /// What it is in.
    parents: Vec<OwnEntityUid>,
    /// Its tags, as the schema has them; none if absent.
    #[schema(nullable = false)]
    tags: Option<Map<String, Value>>,
}

/// The name of an entity, in either of the forms that Cedar takes.
#[derive(ToSchema)]
#[serde(untagged)]
enum OwnEntityUid {
    /// As it is.
    #[schema(title = "PlainEntityUid")]
    Plain {
        /// A Cedar type.
        #[schema(example = "Ticket")]
        r#type: String,
        id: String,
    },
    /// With Cedar's escape.
    #[schema(title = "EscapedEntityUid")]
    Escaped { __entity: EntityName },
}

/// A type and an identifier.
#[derive(ToSchema)]
struct EntityName {
    /// A Cedar type.
    #[schema(example = "Ticket")]
    r#type: String,
    id: String,
}

/// Which entity of the tenant's own types is to be deleted.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EntityDeletion {
    /// Its Cedar type.
    #[schema(example = "Ticket")]
    r#type: String,
    /// Its identifier.
    id: String,
}
