//! What differs between two versions, as they are written.

use utoipa::ToSchema;

/// What differs between two versions, policy by policy, by `@id`, wherever each stands.
#[derive(ToSchema)]
pub(in crate::http) struct PolicyDifference {
    /// The policies that are not as they were, by id.
    policies: Vec<PolicyChange>,
    /// The types and actions of the schema that are not as they were.
    schema: Vec<SchemaChange>,
    /// The same for people, line by line.
    words: Vec<String>,
}

/// A policy that is not as it was.
#[derive(ToSchema)]
struct PolicyChange {
    /// Its `@id`; of one that has none, its file and its place there.
    id: String,
    change: PolicyChangeKind,
    /// The file that it stood in; null where it was added.
    #[schema(required)]
    before: Option<String>,
    /// The file that it stands in; null where it was removed.
    #[schema(required)]
    after: Option<String>,
    /// What of it is another; empty where it was added or removed.
    changed: Vec<PolicyAspect>,
    /// Both in Cedar's format, line by line, each behind two spaces where it is in both, `- ` where it was and `+ ` where it is; empty where
    /// they are the same.
    lines: Vec<String>,
}

/// What happened to a policy: it is new, it is gone, it says something else, or it says the same and stands in another file or is written
/// otherwise.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum PolicyChangeKind {
    Added,
    Removed,
    Changed,
    Rewritten,
}

/// What of a policy is another: whether it permits or forbids; whom, what it is about and which actions; its `when` and `unless`; what stands
/// before it behind an `@`; the remarks above and in it; where its lines end and nothing else; or the file that it stands in.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum PolicyAspect {
    Effect,
    Scope,
    Conditions,
    Annotations,
    Remarks,
    Layout,
    File,
}

/// A type or an action that is not as it was.
#[derive(ToSchema)]
struct SchemaChange {
    kind: SchemaDeclaration,
    /// Its whole name.
    name: String,
    change: SchemaChangeKind,
    /// What of it is another, in words; empty where it was added or removed.
    details: Vec<String>,
}

/// What of a schema it is.
#[derive(ToSchema)]
enum SchemaDeclaration {
    #[serde(rename = "entity type")]
    EntityType,
    #[serde(rename = "common type")]
    CommonType,
    #[serde(rename = "action")]
    Action,
}

/// What happened to a type or an action.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum SchemaChangeKind {
    Added,
    Removed,
    Changed,
}
