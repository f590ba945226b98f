//! The log.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use utoipa::openapi::schema::Object;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::{Id, Moment};
use crate::log::vocabulary::{Category, Event, PartName, Refusal};

/// What shows that the log was only appended to between two of its sizes.
#[derive(ToSchema)]
pub(in crate::http) struct ConsistencyProof {
    /// The earlier size.
    #[schema(minimum = 1)]
    from: u64,
    /// The later size.
    #[schema(minimum = 1)]
    to: u64,
    /// The hashes of the proof (RFC 6962).
    path: Vec<Base64Hash>,
    /// The log's size now.
    size: u64,
    /// The last signed checkpoint (a C2SP signed note), which is of that size.
    checkpoint: String,
}

/// A SHA-256, in base 64.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9+/]{43}=$")]
struct Base64Hash(String);

/// Where something is recorded.
#[derive(ToSchema)]
pub(super) struct LogPlace {
    /// The log's origin.
    log: String,
    /// The entry's index.
    index: u64,
    /// The index of the last change that the answer saw.
    as_of: u64,
    /// The entry's leaf hash.
    leaf_hash: Base64Hash,
    /// The size of the signed checkpoint that covers it.
    checkpoint_size: u64,
}

/// The last signed checkpoint, and what verifies it.
#[derive(ToSchema)]
pub(in crate::http) struct AuditCheckpoint {
    /// A C2SP signed note.
    checkpoint: String,
    /// A note verifier key: it verifies this checkpoint and every receipt.
    key: String,
}

/// An entry of the log, and what its sealed parts say. A part is absent where the entry has none of that name, and `[erased]` where its key is
/// gone or retention has taken it away.
#[derive(ToSchema)]
pub(in crate::http) struct AuditEntry {
    index: Digits,
    leaf: AuditLeaf,
    /// The question that was decided, or what was searched for; null where nothing was asked: it was the operator.
    request: Option<AuditRequest>,
    /// What of a decision's policies is not in the leaf; absent where there is nothing.
    #[schema(nullable = false)]
    policies: Option<AuditPolicies>,
    #[schema(nullable = false)]
    details: Option<AuditDetails>,
    #[schema(nullable = false)]
    client: Option<AuditClient>,
    /// The call's `X-Request-ID`, in entries of an earlier version.
    #[schema(nullable = false)]
    request_id: Option<String>,
}

/// A whole number of 64 bits, in a string, so that it is exact for every reader.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^(0|[1-9][0-9]{0,19})$", example = "41")]
struct Digits(String);

/// 32 bytes, in lower-case hexadecimal.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
struct HexHash(String);

/// What everybody may see of an entry who has the log: it holds nothing that identifies a person, and its canonical form (RFC 8785) is what
/// the tree is made of.
#[derive(ToSchema)]
struct AuditLeaf {
    /// The built-in action that was asked for; one of the organization's own is in `request`.
    #[schema(nullable = false, example = "thread.read")]
    action: Option<String>,
    /// Who acted; absent where that is nobody whom the service knows.
    #[schema(nullable = false)]
    actor: Option<AuditReference>,
    /// The user that an agent acted for.
    #[schema(nullable = false)]
    acts_for: Option<AuditReference>,
    /// The index of the last change that was seen.
    #[schema(nullable = false)]
    as_of: Option<Digits>,
    caller: AuditCaller,
    category: AuditCategory,
    event: AuditEvent,
    #[schema(nullable = false)]
    fact: Option<AuditFact>,
    format: AuditFormat,
    /// Its place in the log.
    index: Digits,
    outcome: AuditOutcome,
    /// The SHA-256 of each of its parts, as they are sealed; absent where it has none.
    #[schema(nullable = false)]
    parts: Option<BTreeMap<AuditPart, HexHash>>,
    /// The built-in policies that determined a decision; absent where there is none.
    #[schema(nullable = false, min_items = 1)]
    policies: Option<Vec<String>>,
    /// The version of the policy set that was evaluated.
    #[schema(nullable = false)]
    policy_version: Option<Digits>,
    /// Why it was denied or failed; absent where it was not.
    #[schema(nullable = false)]
    refusal: Option<AuditRefusal>,
    /// What it was done to; absent as `actor` is.
    #[schema(nullable = false)]
    resource: Option<AuditReference>,
    /// When it was appended, to the microsecond; never before the entry ahead of it.
    time: Moment,
}

/// The shape of a leaf.
#[derive(ToSchema)]
enum AuditFormat {
    #[serde(rename = "cedarkeep.entry.v1")]
    EntryV1,
}

/// A person or a thing.
#[derive(ToSchema)]
struct AuditReference {
    id: Id,
    /// Its built-in type.
    #[schema(example = "User")]
    r#type: String,
}

/// The credential that asked.
#[derive(ToSchema)]
struct AuditCaller {
    /// Its identifier; absent for `system`, `operator` and `unrecognised`.
    #[schema(nullable = false)]
    id: Option<Id>,
    r#type: AuditCallerType,
}

/// What asked: a key or a certificate of an app's back end, the customer's directory, a person who is signed in, the service itself, somebody at
/// the deployment's command line, or nobody who was recognised.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum AuditCallerType {
    ApiKey,
    ClientCertificate,
    ScimToken,
    Session,
    System,
    Operator,
    Unrecognised,
}

/// How it ended: a decision that allows or denies, or an action that was carried out or failed.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum AuditOutcome {
    Allow,
    Deny,
    Ok,
    Failed,
}

/// What an export of the log is.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum AuditExportFormat {
    Bundle,
    Jsonl,
    Csv,
    Ocsf,
}

/// Something that must be read off the leaves alone.
#[derive(ToSchema)]
#[serde(untagged)]
enum AuditFact {
    /// The salted hash of another log's checkpoint.
    #[schema(title = "CommitmentFact")]
    Commitment { commitment: HexHash },
    /// How many: results of a search, refusals that a rate limit kept out.
    #[schema(title = "CountFact")]
    Count { count: Digits },
    /// The log that this one goes on from after a restore, as far as it is known.
    #[schema(title = "RestoredFact")]
    Restored {
        /// The life of that log.
        incarnation: Id,
        /// Its root at that size.
        root: HexHash,
        /// Its size at the last checkpoint that is known.
        size: Digits,
    },
    /// The Ed25519 public key that signs from here on.
    #[schema(title = "NewKeyFact")]
    NewKey { key: HexHash },
    /// The least index whose entry is still kept.
    #[schema(title = "MinimumFact")]
    Minimum { minimum: Digits },
    /// The version of the organization's own policies that decides from the next change on.
    #[schema(title = "PolicyVersionFact")]
    PolicyVersion { policy_version: Digits },
}

/// What stands for a part that cannot be opened any more.
#[derive(ToSchema)]
enum Erased {
    #[serde(rename = "[erased]")]
    Erased,
}

/// The exact question.
#[derive(ToSchema)]
#[serde(untagged)]
enum AuditRequest {
    Asked(Box<AuditQuestion>),
    Erased(Erased),
}

/// A question, as it was asked. What a search looked for has an empty `id` or `name`.
#[derive(ToSchema)]
struct AuditQuestion {
    subject: AuditEntity,
    action: AuditAction,
    resource: AuditEntity,
    context: Map<String, Value>,
    /// Absent from a search.
    #[schema(nullable = false)]
    cedarkeep: Option<AuditCircumstances>,
}

/// A subject or a resource, in the words of the question.
#[derive(ToSchema)]
struct AuditEntity {
    r#type: String,
    id: String,
    /// What was said about it; absent where that is nothing.
    #[schema(nullable = false)]
    properties: Option<Map<String, Value>>,
}

/// What was to be done, in the words of the question.
#[derive(ToSchema)]
struct AuditAction {
    name: String,
    /// What was said about it; absent where that is nothing.
    #[schema(nullable = false)]
    properties: Option<Map<String, Value>>,
}

/// What the service added to the question.
#[derive(ToSchema)]
struct AuditCircumstances {
    /// The moment that was decided for, to the microsecond.
    now: Moment,
    /// The region of the node.
    region: String,
    /// Absent from entries of an earlier version.
    #[schema(nullable = false)]
    judged: Option<AuditJudged>,
    /// A mark of the built-in policies that decided; absent from entries of an earlier version.
    #[schema(nullable = false)]
    builtin: Option<String>,
}

/// Whose right was decided on: the subject's and that of whom they act for; that of everybody in whose name a call is made; or that without the
/// key's service.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum AuditJudged {
    Question,
    Call,
    People,
}

/// The policies that stand in no leaf.
#[derive(ToSchema)]
#[serde(untagged)]
enum AuditPolicies {
    #[schema(title = "ToldPolicies")]
    Told {
        /// The organization's own and the shares that determined the decision.
        determining: Vec<AuditPolicy>,
        /// The policies that could not be evaluated.
        failed: Vec<AuditFailure>,
    },
    Erased(Erased),
}

/// A policy that determined a decision.
#[derive(ToSchema)]
struct AuditPolicy {
    /// Its id; of a share, that of its template.
    id: String,
    /// The share; null where it is none.
    #[schema(required)]
    link: Option<Id>,
}

/// A policy that could not be evaluated.
#[derive(ToSchema)]
struct AuditFailure {
    /// Its id.
    id: String,
    /// Why, in Cedar's words.
    error: String,
}

/// What is particular to the event: of a change as a rule what was `old` and what is `new`, of a reading of the log what was asked for, of a
/// search a digest of what was found, of an explanation a digest of what was told.
#[derive(ToSchema)]
#[serde(untagged)]
enum AuditDetails {
    Told(Map<String, Value>),
    Erased(Erased),
}

/// Where the call came from; in entries of an earlier version the address alone.
#[derive(ToSchema)]
#[serde(untagged)]
enum AuditClient {
    #[schema(title = "ToldClient")]
    Told {
        /// The client's address.
        #[schema(nullable = false)]
        address: Option<String>,
        /// The call's `X-Request-ID`.
        #[schema(nullable = false)]
        request_id: Option<String>,
    },
    Text(String),
}

/// A closed list of words, as entries have them.
fn words<'a>(all: impl Iterator<Item = &'a str>, description: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(all))
        .description(Some(description))
        .build()
}

macro_rules! vocabulary {
    ($($name:ident of $words:ident: $description:literal;)*) => {
        $(
            #[doc = $description]
            pub(in crate::http) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    words($words::ALL.iter().map(|word| word.as_str()), $description).into()
                }
            }

            impl ToSchema for $name {}
        )*
    };
}

vocabulary! {
    AuditEvent of Event: "What happened.";
    AuditCategory of Category: "The chapter of an event.";
    AuditRefusal of Refusal: "Why something was denied or failed.";
    AuditPart of PartName: "What a sealed part holds.";
}
