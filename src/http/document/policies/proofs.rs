//! What is proved about policies, over all requests.

use utoipa::ToSchema;

/// What was proved about a version.
#[derive(ToSchema)]
pub(super) struct ProofReport {
    guardrails: ProvedGuardrails,
    difference: ProvedDifference,
    findings: PolicyFindings,
}

/// Whether the guardrails hold for all requests.
#[derive(ToSchema)]
struct ProvedGuardrails {
    /// How many properties hold.
    holds: u64,
    /// How many do not.
    fails: u64,
    /// Of how many it is not known.
    unknown: u64,
    /// How many request environments the schema has.
    environments: u64,
    /// How many questions the solver answered for it.
    questions: u64,
    properties: Vec<ProvedProperty>,
    /// What no proof here says.
    unproven: Vec<Unproven>,
}

/// A property, and what was found out about it.
#[derive(ToSchema)]
struct ProvedProperty {
    /// Its name.
    id: String,
    /// The number of the guardrail, or what else it is about.
    guardrail: String,
    /// What it says.
    says: String,
    /// In how many request environments it says something.
    environments: u64,
    verdict: ProofVerdict,
    /// Where it fails: what is allowed, and should not be. Absent otherwise.
    #[schema(nullable = false)]
    example: Option<ProofExample>,
    /// Where it is not known: in which environments, and why. Absent otherwise.
    #[schema(nullable = false)]
    unknown: Option<Vec<UnknownEnvironment>>,
}

/// Whether a property holds for all requests, fails for one, or nobody knows.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ProofVerdict {
    Holds,
    Fails,
    Unknown,
}

/// A request environment about which something is not known.
#[derive(ToSchema)]
struct UnknownEnvironment {
    environment: RequestEnvironment,
    /// Why not.
    why: String,
}

/// A request environment.
#[derive(ToSchema)]
struct RequestEnvironment {
    /// The type of whoever asks.
    principal: String,
    /// The action's name.
    action: String,
    /// The type of what it is about.
    resource: String,
}

/// What no proof here says.
#[derive(ToSchema)]
struct Unproven {
    what: String,
    /// Why not.
    why: String,
}

/// A request that the engine has answered, as an example.
#[derive(ToSchema)]
struct ProofExample {
    question: ProofQuestion,
    /// What it is answered.
    decided: Vec<ProofAnswer>,
}

/// A question in Cedar's JSON, with the entities that matter to it.
#[derive(ToSchema)]
struct ProofQuestion {
    /// Who asks.
    principal: CedarEntityName,
    action: CedarEntityName,
    /// What it is about.
    resource: CedarEntityName,
    /// What is said beside it.
    context: serde_json::Map<String, serde_json::Value>,
    /// The entities that matter to it, each as Cedar writes one.
    entities: Vec<serde_json::Map<String, serde_json::Value>>,
}

/// What Cedar calls an entity.
#[derive(ToSchema)]
struct CedarEntityName {
    r#type: String,
    id: String,
}

/// What an example is answered.
#[derive(ToSchema)]
struct ProofAnswer {
    version: ProofVersion,
    /// Whether it is allowed.
    allowed: bool,
    /// The policies that allow it, or that refuse it; empty where nothing permits it.
    by: Vec<String>,
}

/// Under which policies: those in force, the draft, or the only ones that were looked at.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ProofVersion {
    Active,
    Draft,
    Policies,
}

/// How a version differs from the policies in force, over all requests.
#[derive(ToSchema)]
struct ProvedDifference {
    /// What it does as a whole.
    effect: ProvedEffect,
    /// In how many request environments every request is answered as today.
    equivalent: u64,
    /// In how many it refuses what is allowed today, and allows nothing more.
    stricter: u64,
    /// In how many it allows what is refused today, and refuses nothing more.
    more_permissive: u64,
    /// In how many it does both.
    both: u64,
    /// Of how many it is not known.
    unknown: u64,
    /// How many questions the solver answered for it.
    questions: u64,
    /// The request environments in which it differs, or may.
    changes: Vec<ProvedChange>,
}

/// What a version does beside the policies in force: it answers every request as they do, refuses more, allows more, does both, or nobody
/// knows.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ProvedEffect {
    Equivalent,
    Stricter,
    #[serde(rename = "more permissive")]
    MorePermissive,
    Both,
    Unknown,
}

/// A request environment in which a version differs, or may.
#[derive(ToSchema)]
struct ProvedChange {
    environment: RequestEnvironment,
    effect: ProvedEffect,
    /// Whether it allows what is refused today.
    more: ProvedDirection,
    /// Whether it refuses what is allowed today.
    less: ProvedDirection,
}

/// What was found out about one direction.
#[derive(ToSchema)]
#[serde(tag = "found", rename_all = "snake_case")]
enum ProvedDirection {
    /// There is no such request.
    #[schema(title = "NeverProved")]
    Never,
    /// Nobody knows.
    #[schema(title = "UnknownProved")]
    Unknown {
        /// Why not.
        why: String,
    },
    /// There are such requests.
    #[schema(title = "ExampleProved")]
    Example {
        /// One of them; absent where 100 are shown already.
        #[schema(nullable = false)]
        example: Option<ProofExample>,
    },
}

/// Which of the organization's own policies do nothing, and which can err.
#[derive(ToSchema)]
struct PolicyFindings {
    /// How many policies were looked at.
    policies: u64,
    /// How many questions the solver answered for it.
    questions: u64,
    found: Vec<PolicyFinding>,
    /// Those about which something is not known.
    unknown: Vec<UnknownPolicy>,
}

/// Something that was found about a policy.
#[derive(ToSchema)]
struct PolicyFinding {
    /// Its id.
    policy: String,
    what: PolicyFindingKind,
    /// The same for people.
    words: String,
    /// The other policies that have a part in it.
    by: Vec<String>,
    /// An example of it; null where there is none.
    #[schema(required)]
    example: Option<ProofExample>,
}

/// What was found about a policy: no request satisfies it; it permits private actions alone, for which it does not count; all that it permits
/// is forbidden; without it nothing would be answered otherwise; it forbids nothing that is permitted; where its scope fits it always errs; or
/// it can err.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum PolicyFindingKind {
    NeverApplies,
    NeverCounts,
    AlwaysForbidden,
    Implied,
    ForbidsNothing,
    AlwaysErrs,
    CanErr,
}

/// A policy about which something is not known.
#[derive(ToSchema)]
struct UnknownPolicy {
    /// Its id.
    policy: String,
    /// Why not.
    why: String,
}
