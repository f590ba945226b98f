//! Why a question is answered as it is.

use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::access::{AskedAction, AskedEntity, NamedEntity};
use super::audit::LogPlace;
use super::{Id, Moment};

/// The question that is to be explained, as in an AuthZEN evaluation.
#[derive(ToSchema)]
pub(in crate::http) struct NewExplanation {
    subject: AskedEntity,
    action: AskedAction,
    resource: AskedEntity,
    /// Under which circumstances, as in an evaluation.
    #[schema(nullable = false)]
    context: Option<Map<String, Value>>,
    /// Not looked at.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Why a question is answered as it is.
#[derive(ToSchema)]
pub(in crate::http) struct Explanation {
    /// Whether it is allowed.
    decision: bool,
    outcome: ExplainedOutcome,
    /// The plan that would do; absent but from a refusal for the plan.
    #[schema(nullable = false)]
    plan: Option<NeededPlan>,
    /// All of it in sentences, the answer first.
    #[schema(min_items = 1)]
    words: Vec<String>,
    /// The policies that decided.
    policies: Vec<ExplainedPolicy>,
    /// Of each who must be allowed (an agent and its person are two); of a refusal those alone who are not. Empty where no policy was asked.
    #[schema(max_items = 2)]
    why: Vec<ExplainedHalf>,
    /// Where it is recorded: the decision, and a digest of the explanation.
    log: LogPlace,
}

/// The answer: yes, or a policy forbids it, nothing permits it, a policy that might have decided otherwise could not be evaluated, or nothing
/// but the organization's plan stands against it.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ExplainedOutcome {
    Allowed,
    Forbidden,
    NotPermitted,
    Error,
    PlanRequired,
}

/// The plan from which on something is there.
#[derive(ToSchema)]
enum NeededPlan {
    Business,
    Enterprise,
}

/// A policy that had a part in an answer.
#[derive(ToSchema)]
struct ExplainedPolicy {
    /// Its id; of a share, that of its template.
    #[schema(example = "viewer.ceiling")]
    id: String,
    /// The share; absent where it is none.
    #[schema(nullable = false)]
    link: Option<Id>,
    /// What it says, for people; absent where it has no reason.
    #[schema(nullable = false)]
    reason: Option<String>,
    /// Where it speaks for the plans, the plan that would do.
    #[schema(nullable = false)]
    plan: Option<NeededPlan>,
}

/// Why it is so for one who must be allowed.
#[derive(ToSchema)]
struct ExplainedHalf {
    /// Who.
    subject: NamedEntity,
    /// The policies that forbid it, with all of their conditions; absent where there is none.
    #[schema(nullable = false, min_items = 1)]
    forbidden_by: Option<Vec<TestedPolicy>>,
    /// The policies that could not be evaluated, with those of their conditions that do not hold; absent where there is none.
    #[schema(nullable = false, min_items = 1)]
    failed: Option<Vec<TestedPolicy>>,
    /// Where nothing permits it, the permits that came nearest, the nearest first; absent where there is none.
    #[schema(nullable = false, min_items = 1, max_items = 20)]
    near_misses: Option<Vec<NearMiss>>,
    /// How many more near misses there are; absent where there is none.
    #[schema(nullable = false, minimum = 1)]
    left_off: Option<u64>,
    /// Of a refusal: whether something permits it, whatever else stands against it.
    #[schema(nullable = false)]
    otherwise_permitted: Option<bool>,
    /// What gives a yes.
    #[schema(nullable = false)]
    because: Option<Because>,
}

/// A policy, and conditions of it.
#[derive(ToSchema)]
struct TestedPolicy {
    /// Its id; of a share, that of its template.
    #[schema(example = "viewer.ceiling")]
    id: String,
    /// The share; absent where it is none.
    #[schema(nullable = false)]
    link: Option<Id>,
    /// What it says, for people; absent where it has no reason.
    #[schema(nullable = false)]
    reason: Option<String>,
    /// Where it speaks for the plans, the plan that would do.
    #[schema(nullable = false)]
    plan: Option<NeededPlan>,
    /// In the order in which they are looked at.
    conditions: Vec<TestedCondition>,
}

/// A permit that is not satisfied.
#[derive(ToSchema)]
struct NearMiss {
    /// Its id; of a share, that of its template.
    #[schema(example = "owner.thread")]
    id: String,
    /// The share; absent where it is none.
    #[schema(nullable = false)]
    link: Option<Id>,
    /// What it says, for people; absent where it has no reason.
    #[schema(nullable = false)]
    reason: Option<String>,
    /// Where it speaks for the plans, the plan that would do.
    #[schema(nullable = false)]
    plan: Option<NeededPlan>,
    /// Those that do not hold.
    conditions: Vec<TestedCondition>,
    /// How many of its conditions hold.
    held: u64,
    /// Of a share that counts no more: since when.
    #[schema(nullable = false)]
    expired_at: Option<Moment>,
}

/// What gives a yes: the permit that needs the fewest memberships, and those.
#[derive(ToSchema)]
struct Because {
    /// With all of its conditions.
    policy: TestedPolicy,
    /// Of a share: whom it is for, and what it opens; absent also where whoever asks may not see that these are those of the question.
    #[schema(nullable = false)]
    link: Option<ExplainedLink>,
    memberships: Vec<ExplainedMembership>,
    /// How many more memberships whoever asks may not see; absent where there is none.
    #[schema(nullable = false, minimum = 1)]
    withheld_memberships: Option<u64>,
}

/// Whom a share is for, and what it opens.
#[derive(ToSchema)]
struct ExplainedLink {
    principal: NamedEntity,
    resource: NamedEntity,
}

/// That one is in the other.
#[derive(ToSchema)]
struct ExplainedMembership {
    child: NamedEntity,
    parent: NamedEntity,
}

/// A condition of a policy, and what it came to. Either `condition` is there or `withheld`.
#[derive(ToSchema)]
struct TestedCondition {
    place: ConditionPlace,
    /// Of a `when` or `unless`: which of the policy's clauses, from 1.
    #[schema(nullable = false, minimum = 1)]
    number: Option<u64>,
    /// In Cedar's syntax, so that it must hold; of an `unless`, turned round.
    #[schema(nullable = false)]
    condition: Option<String>,
    /// `true` where it looks at what whoever asks may not see.
    #[schema(nullable = false)]
    withheld: Option<bool>,
    result: ConditionResult,
    /// Why it could not be evaluated, in Cedar's words; absent also where they may say more than whoever asks may see.
    #[schema(nullable = false)]
    error: Option<String>,
    /// What is the case, in words.
    words: String,
    /// What it looked at; absent where that is nothing, or is withheld.
    #[schema(nullable = false, min_items = 1)]
    values: Option<Vec<LookedAt>>,
}

/// Where in a policy a condition stands: in what its scope says of the principal or the resource, in a `when`, or in an `unless`.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConditionPlace {
    Principal,
    Resource,
    When,
    Unless,
}

/// What a condition came to: it holds, it does not, it could not be evaluated, or it was not looked at, since one before it does not hold.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConditionResult {
    True,
    False,
    Error,
    NotReached,
}

/// Something that a condition looked at. One of `value`, `absent` and `withheld` is there.
#[derive(ToSchema)]
struct LookedAt {
    /// As Cedar writes it.
    #[schema(example = "resource.owner")]
    path: String,
    /// Whose attribute it is; absent where it is of what the request says, or nobody's.
    #[schema(nullable = false)]
    of: Option<NamedEntity>,
    #[schema(nullable = false)]
    value: Option<ShownValue>,
    /// `true` where nothing is there.
    #[schema(nullable = false)]
    absent: Option<bool>,
    /// `true` where whoever asks may not see it.
    #[schema(nullable = false)]
    withheld: Option<bool>,
}

/// A value, as policies see it: an entity is an object with its `type` and `id`, a record an object, and a set a list of
/// such values; a moment, a duration, a decimal number and an address are text.
#[derive(ToSchema)]
#[serde(untagged)]
enum ShownValue {
    Truth(bool),
    Number(i64),
    Text(String),
    Members(Map<String, Value>),
    All(Vec<Value>),
}
