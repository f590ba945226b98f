//! Decisions and searches (AuthZEN 1.0). What is sent may have further members everywhere, as AuthZEN wants it.

pub(in crate::http) mod calling;

use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::audit::LogPlace;

/// A subject or a resource, and what is said about it.
#[derive(ToSchema)]
pub(super) struct AskedEntity {
    /// A type of the schema: a built-in one without its namespace, as `Thread`, or one of the organization's own. 1 to 1,024 bytes, without
    /// control characters.
    #[schema(min_length = 1, max_length = 1024, example = "Thread")]
    r#type: String,
    /// 1 to 1,024 bytes, without control characters.
    #[schema(min_length = 1, max_length = 1024)]
    id: String,
    /// What is said about it. Of a built-in type what is stored counts, whatever is said here; of an organization's own this wins over what is
    /// stored. What the schema does not know is left out.
    #[schema(nullable = false)]
    properties: Option<Map<String, Value>>,
    /// Not looked at.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// What is to be done.
#[derive(ToSchema)]
pub(super) struct AskedAction {
    /// An action of the schema: a built-in one, as `thread.read`, or one of the organization's own. 1 to 1,024 bytes, without control
    /// characters.
    #[schema(min_length = 1, max_length = 1024, example = "thread.read")]
    name: String,
    /// What is said about it: policies read it in `context.action`.
    #[schema(nullable = false)]
    properties: Option<Map<String, Value>>,
    /// Not looked at.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// One question: whether a subject may do something to a resource.
#[derive(ToSchema)]
pub(in crate::http) struct Evaluation {
    subject: AskedEntity,
    action: AskedAction,
    resource: AskedEntity,
    /// Under which circumstances; policies read of it what the schema declares. An agent's question names the person that it acts for in
    /// `acts_for`: their identifier, or an object with `type` and `id`.
    #[schema(nullable = false)]
    context: Option<Map<String, Value>>,
    #[schema(nullable = false)]
    options: Option<EvaluationOptions>,
    /// Not looked at.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// How a question is to be answered.
#[derive(ToSchema)]
struct EvaluationOptions {
    /// Whether the answer says why, and where it is recorded; not if absent, unless the header `Cedarkeep-Explain: true` asks for it.
    #[schema(nullable = false)]
    explain: Option<bool>,
    /// Not looked at.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Several questions; without items one, of which `subject`, `action` and `resource` must then be there.
///
/// A member of an item stands in the place of the default whole. A default that no item uses is not looked at; in the items that use them the
/// defaults may come to 8 MiB.
#[derive(ToSchema)]
pub(in crate::http) struct Evaluations {
    /// The default for items without one.
    #[schema(nullable = false)]
    subject: Option<AskedEntity>,
    /// The default for items without one.
    #[schema(nullable = false)]
    action: Option<AskedAction>,
    /// The default for items without one.
    #[schema(nullable = false)]
    resource: Option<AskedEntity>,
    /// The default for items without one.
    #[schema(nullable = false)]
    context: Option<Map<String, Value>>,
    /// What is wrong with one is answered in its place, as a deny.
    #[schema(nullable = false, max_items = 1000)]
    evaluations: Option<Vec<EvaluationItem>>,
    #[schema(nullable = false)]
    options: Option<EvaluationsOptions>,
    /// Not looked at.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// A question, of which what is absent is as the defaults say: then it must have subject, action and resource.
#[derive(ToSchema)]
struct EvaluationItem {
    #[schema(nullable = false)]
    subject: Option<AskedEntity>,
    #[schema(nullable = false)]
    action: Option<AskedAction>,
    #[schema(nullable = false)]
    resource: Option<AskedEntity>,
    /// Under which circumstances, as in a question alone.
    #[schema(nullable = false)]
    context: Option<Map<String, Value>>,
    /// Not looked at.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// How several questions are to be answered.
#[derive(ToSchema)]
struct EvaluationsOptions {
    /// When to end before the last item; never if absent.
    #[schema(nullable = false)]
    evaluations_semantic: Option<EvaluationsSemantic>,
    /// Whether each answer says why, and where it is recorded; not if absent, unless the header `Cedarkeep-Explain: true` asks for it.
    #[schema(nullable = false)]
    explain: Option<bool>,
    /// Not looked at.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// When a batch ends: with its last item, after the first deny (an item that is wrong is one), or after the first permit.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum EvaluationsSemantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

/// What is decided on a question.
#[derive(ToSchema)]
pub(in crate::http) struct Decision {
    /// Whether it is allowed.
    decision: bool,
    /// Why, where that was asked for, or what is wrong with an item of a batch.
    #[schema(nullable = false)]
    context: Option<DecisionContext>,
}

/// What a decision says beside yes or no.
#[derive(ToSchema)]
#[serde(untagged)]
enum DecisionContext {
    /// Why, and where it is recorded.
    #[schema(title = "ExplainedDecision")]
    Explained {
        /// Why it is a deny; absent from a permit.
        #[schema(nullable = false)]
        kind: Option<DenialKind>,
        /// The policies that determined it, and those that failed.
        policies: Vec<DecidingPolicy>,
        log: LogPlace,
    },
    /// An item of a batch that could not be decided.
    #[schema(title = "FailedDecision")]
    Failed { error: ItemFailure },
}

/// Why a decision is a deny: a policy forbids it, no policy permits it, a policy that could forbid it failed, or the organization's plan does
/// not hold it.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum DenialKind {
    Forbidden,
    NotPermitted,
    Error,
    PlanRequired,
}

/// A policy that had a part in a decision.
#[derive(ToSchema)]
struct DecidingPolicy {
    /// Its id; of a share, that of its template, `/` and that of the share.
    #[schema(example = "viewer.ceiling")]
    id: String,
    /// What it says, for people; absent where it has no reason.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// What is wrong with an item of a batch.
#[derive(ToSchema)]
struct ItemFailure {
    /// The HTTP status that it would have alone.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, and where.
    message: String,
}

/// A batch's answer, in the order of its items.
#[derive(ToSchema)]
pub(in crate::http) struct Decisions {
    /// The decisions: fewer than items where the batch ended early.
    #[schema(min_items = 1, max_items = 1000)]
    evaluations: Vec<Decision>,
}

/// The decisions on the items; where there were none, the one decision.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum EvaluationsAnswer {
    Several(Decisions),
    One(Decision),
}

/// Who may do something to something.
#[derive(ToSchema)]
pub(in crate::http) struct SubjectSearch {
    subject: SoughtEntity,
    action: AskedAction,
    resource: AskedEntity,
    /// Under which circumstances, as in a question.
    #[schema(nullable = false)]
    context: Option<Map<String, Value>>,
    #[schema(nullable = false)]
    page: Option<SearchPage>,
    /// Not looked at.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// To what somebody may do something.
#[derive(ToSchema)]
pub(in crate::http) struct ResourceSearch {
    subject: AskedEntity,
    action: AskedAction,
    resource: SoughtEntity,
    /// Under which circumstances, as in a question.
    #[schema(nullable = false)]
    context: Option<Map<String, Value>>,
    #[schema(nullable = false)]
    page: Option<SearchPage>,
    /// Not looked at.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// What somebody may do to something.
#[derive(ToSchema)]
pub(in crate::http) struct ActionSearch {
    subject: AskedEntity,
    resource: AskedEntity,
    /// Under which circumstances, as in a question.
    #[schema(nullable = false)]
    context: Option<Map<String, Value>>,
    #[schema(nullable = false)]
    page: Option<SearchPage>,
    /// Not looked at, an `action` neither.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// What is looked for.
#[derive(ToSchema)]
struct SoughtEntity {
    /// Its type, as in a question.
    #[schema(min_length = 1, max_length = 1024, example = "User")]
    r#type: String,
    /// What is said about each of them, as in a question.
    #[schema(nullable = false)]
    properties: Option<Map<String, Value>>,
    /// Not looked at, an `id` neither.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Which page of the results.
#[derive(ToSchema)]
struct SearchPage {
    /// The `next_token` of the page before, with everything else as it was; the first page if absent or empty.
    #[schema(nullable = false)]
    token: Option<String>,
    /// How many results at most. If absent 1,000, or with a token as many as the page before; with a token no other number is taken.
    #[schema(nullable = false, minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Not looked at.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// The subjects or resources that were found.
#[derive(ToSchema)]
pub(in crate::http) struct FoundEntities {
    /// Absent where nothing was said of pages, and these are all.
    #[schema(nullable = false)]
    page: Option<FoundPage>,
    /// Absent where the header `Cedarkeep-Explain: true` does not ask for it.
    #[schema(nullable = false)]
    context: Option<SearchContext>,
    /// In a stable order.
    #[schema(max_items = 10000)]
    results: Vec<NamedEntity>,
}

/// The actions that were found.
#[derive(ToSchema)]
pub(in crate::http) struct FoundActions {
    /// Absent where nothing was said of pages, and these are all.
    #[schema(nullable = false)]
    page: Option<FoundPage>,
    /// Absent where the header `Cedarkeep-Explain: true` does not ask for it.
    #[schema(nullable = false)]
    context: Option<SearchContext>,
    /// In the order in which the schema declares them.
    #[schema(max_items = 10000)]
    results: Vec<NamedAction>,
}

/// What comes behind a page. One may be shorter than its limit, or empty, and have a token: a page looks at 10,000 candidates at most.
#[derive(ToSchema)]
struct FoundPage {
    /// What `token` of the next page is; empty where this is the last.
    next_token: String,
    /// How many results this page has.
    #[schema(maximum = 10000)]
    count: u64,
}

/// What a search says beside its results.
#[derive(ToSchema)]
struct SearchContext {
    log: LogPlace,
}

/// What an entity is called.
#[derive(ToSchema)]
pub(super) struct NamedEntity {
    /// Its type, as in a question.
    #[schema(example = "User")]
    r#type: String,
    id: String,
}

/// What an action is called.
#[derive(ToSchema)]
struct NamedAction {
    #[schema(example = "thread.read")]
    name: String,
}

/// The decision point's metadata (AuthZEN 1.0), built from the configured base URL.
#[derive(ToSchema)]
pub(in crate::http) struct DecisionPoint {
    /// Its identifier: the base URL.
    #[schema(format = "uri")]
    policy_decision_point: String,
    #[schema(format = "uri")]
    access_evaluation_endpoint: String,
    #[schema(format = "uri")]
    access_evaluations_endpoint: String,
    #[schema(format = "uri")]
    search_subject_endpoint: String,
    #[schema(format = "uri")]
    search_resource_endpoint: String,
    #[schema(format = "uri")]
    search_action_endpoint: String,
}
