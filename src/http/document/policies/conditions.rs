//! What an organization asks of a version before it counts.

use utoipa::ToSchema;

use super::Signed;

/// What is to be asked of a version before it is activated, as a whole.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewPolicyConditions {
    /// There are tests, and all of them pass; not asked for if absent.
    #[schema(nullable = false)]
    tests: Option<bool>,
    /// Whether the guardrails must be proved; `no` if absent.
    #[schema(nullable = false)]
    proof: Option<ProofDemand>,
    /// A replay changes few answers; not asked for if absent or null.
    replay: Option<ReplayDemand>,
    /// Two people have had a hand in it; not asked for if absent.
    #[schema(nullable = false)]
    approval: Option<bool>,
}

/// What is asked of a version before it is activated.
#[derive(ToSchema)]
struct PolicyConditions {
    /// Whether there must be tests, all of which pass.
    tests: bool,
    /// Whether the guardrails must be proved.
    proof: ProofDemand,
    /// How many answers a replay may show to change; null: it is not asked for.
    #[schema(required)]
    replay: Option<ReplayDemand>,
    /// Whether two people must have had a hand in it.
    approval: bool,
}

/// Whether proofs are asked for: no; it was checked and nothing fails, though without a solver, or where it gives up, the version is let
/// through; or everything must hold.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ProofDemand {
    No,
    IfPossible,
    Yes,
}

/// How many answers a replay may show to change.
#[derive(ToSchema)]
struct ReplayDemand {
    /// Of how many of the newest decisions.
    #[schema(minimum = 1, maximum = 10_000_000)]
    last: u64,
    /// How many at most, those among them that could not be answered.
    most: u64,
}

/// What is asked of a version, and what somebody wants to ask instead.
#[derive(ToSchema)]
pub(in crate::http) struct StandingPolicyConditions {
    /// What is asked of a version before it is activated.
    conditions: PolicyConditions,
    /// Those that wait for another Admin; null: none do.
    #[schema(required)]
    proposed: Option<ProposedPolicyConditions>,
}

/// Conditions that wait for another Admin.
#[derive(ToSchema)]
struct ProposedPolicyConditions {
    conditions: PolicyConditions,
    /// Whose wish it is, and since when.
    by: Signed,
}
