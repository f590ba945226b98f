//! Content, messages, memory and runs.

use utoipa::ToSchema;

use super::{Id, Moment};

/// Bytes, as they are.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(in crate::http) struct AnyBytes(Vec<u8>);

/// Short content, 16 KiB at most.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum ShortContent {
    /// Of a media type that says text, in UTF-8.
    #[schema(title = "TextContent")]
    Text {
        /// As it was sent.
        text: String,
    },
    /// Everything else.
    #[schema(title = "Base64Content")]
    Bytes {
        /// In base64, with padding (RFC 4648, section 4).
        #[schema(content_encoding = "base64")]
        base64: String,
    },
}

/// Content that was written.
#[derive(ToSchema)]
pub(in crate::http) struct WrittenContent {
    /// The thing whose content it is.
    id: Id,
    /// What this version is called; its `ETag` is the same in double quotes.
    version: Id,
    /// As it was sent; `application/octet-stream` where it was not said.
    #[schema(example = "text/markdown")]
    media_type: String,
    /// In bytes.
    length: u64,
}

/// A version of a thing's content, without its bytes.
#[derive(ToSchema)]
pub(in crate::http) struct ContentVersion {
    /// What it is called.
    version: Id,
    /// As it was sent; `application/octet-stream` where it was not said.
    #[schema(example = "text/markdown")]
    media_type: String,
    /// In bytes.
    length: u64,
    /// The person who wrote it; null where nobody was named.
    #[schema(required)]
    author: Option<Id>,
    /// When all of it was here.
    at: Moment,
    /// The index in the log since which it counts.
    from_index: u64,
    /// The index in the log since which it does not any more; null where it is the one that counts.
    #[schema(required)]
    to_index: Option<u64>,
}

/// A message, as it was posted.
#[derive(ToSchema)]
pub(in crate::http) struct PostedMessage {
    id: Id,
    /// What it was said in.
    thread: Id,
    /// The person who said it.
    author: Id,
    /// As it was sent; `application/octet-stream` where it was not said.
    #[schema(example = "text/plain; charset=utf-8")]
    media_type: String,
    /// In bytes.
    length: u64,
    /// Whether it is a comment, for which a `commenter` share will do.
    comment: bool,
}

/// A message of a thread.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum Message {
    /// As it was said.
    #[schema(title = "SaidMessage")]
    Said {
        id: Id,
        /// As it was sent; `application/octet-stream` where it was not said.
        #[schema(example = "text/plain; charset=utf-8")]
        media_type: String,
        /// In bytes.
        length: u64,
        /// The person who said it.
        author: Id,
        /// When all of it was here.
        at: Moment,
        /// The index in the log at which it was said.
        from_index: u64,
        /// Whether it is a comment, for which a `commenter` share will do.
        comment: bool,
        /// What it says; null where it is longer than 16 KiB: it is read by itself.
        #[schema(required)]
        content: Option<ShortContent>,
    },
    /// Of somebody who was erased: there is nothing but that it was there.
    #[schema(title = "ErasedMessage")]
    Erased {
        id: Id,
        /// True.
        erased: bool,
    },
}

/// A memory that is to be.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewMemory {
    /// What people call it: 1 to 200 bytes, without control characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    layer: MemoryLayer,
    /// What it is of, which must be said for three layers: a thread, a project or a team. For the other two it may be absent: a personal one is
    /// of the acting user and of nobody else, one of the organization of it.
    #[schema(nullable = false)]
    parent: Option<Id>,
}

/// What becomes other of a memory.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct MemoryChange {
    /// What people call it: 1 to 200 bytes, without control characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// A memory.
#[derive(ToSchema)]
pub(in crate::http) struct Memory {
    id: Id,
    r#type: MemoryType,
    /// What people call it.
    name: String,
    /// The person who wrote it first; of a personal one, whose it is.
    owner: Id,
    layer: MemoryLayer,
    /// The thread, project or team that it is of; for the other two layers the organization.
    parent: Id,
    /// How many legal holds stand on it.
    holds: u64,
    /// The index in the log since which it is as it is; absent in the answer to a change.
    #[schema(nullable = false)]
    from_index: Option<u64>,
    /// What it says, in a list with `for`, where it is null if nothing was written yet; absent in every other answer.
    content: Option<MemoryContent>,
}

/// What a memory is.
#[derive(ToSchema)]
enum MemoryType {
    Memory,
}

/// How wide a memory reaches: one thread, one project, one team, one person, or everybody.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum MemoryLayer {
    Thread,
    Project,
    Team,
    Personal,
    Organization,
}

/// The content of a memory that counts.
#[derive(ToSchema)]
struct MemoryContent {
    /// What this version is called.
    version: Id,
    /// As it was sent; `application/octet-stream` where it was not said.
    #[schema(example = "text/plain; charset=utf-8")]
    media_type: String,
    /// In bytes.
    length: u64,
    /// The person who wrote it; null where nobody was named.
    #[schema(required)]
    author: Option<Id>,
    /// When all of it was here.
    at: Moment,
    /// The index in the log since which it counts.
    from_index: u64,
    /// The index in the log since which it does not any more; null while it counts.
    #[schema(required)]
    to_index: Option<u64>,
    /// Itself; null where it is longer than 16 KiB: it is read by itself.
    #[schema(required)]
    content: Option<ShortContent>,
}

/// Which agent is to run.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewAgentRun {
    /// The agent's definition.
    definition: Id,
}

/// How a run has ended.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AgentRunEnd {
    status: AgentRunOutcome,
}

/// Whether a run did what it was started for.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum AgentRunOutcome {
    Completed,
    Failed,
}

/// A run of an agent.
#[derive(ToSchema)]
pub(in crate::http) struct AgentRun {
    id: Id,
    r#type: AgentRunType,
    /// The person for whom it runs.
    owner: Id,
    /// The definition of the agent that runs.
    definition: Id,
    status: AgentRunStatus,
    /// When it was started; null where that was not written down.
    #[schema(required)]
    started_at: Option<Moment>,
    /// When it ended; null while it runs, and where that was not written down.
    #[schema(required)]
    ended_at: Option<Moment>,
    /// The index in the log since which it is as it is; absent in the answer to a change.
    #[schema(nullable = false)]
    from_index: Option<u64>,
}

/// What a run is.
#[derive(ToSchema)]
enum AgentRunType {
    AgentRun,
}

/// How far a run is: nobody has said how it ended, it did what it was started for, it did not, or it was told to stop.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum AgentRunStatus {
    Running,
    Completed,
    Failed,
    Cancelled,
}
