//! What is proved: the guardrails that speak of one request, each as a policy that nothing enforces; and what is not.

use std::sync::LazyLock;

use cedar_policy::{Policy, PolicyId, PolicySet};

use super::ProofError;
use super::ground::Rule;

/// The properties.
const TEXT: &str = include_str!("properties.cedar");

/// What no proof here says, and why.
pub const UNPROVEN: &[(&str, &str)] = &[
    (
        "which shares and auditors there are",
        "they are data; each kind is proved about as one policy for one group or agent and one thing, and replay shows what the real ones open",
    ),
    (
        "what an organization's people and things are",
        "proofs are over all requests whose entities exist and are as the schema says; that they are, the service sees to",
    ),
    (
        "that the count of active Admins is right",
        "guardrail 10 is proved for the count that policies read; the transaction that changes a person keeps it",
    ),
    (
        "that an organization's own permits count for nothing among the private actions",
        "no policy says so: the engine leaves them out, and the proof leaves them out in the same way",
    ),
    (
        "training on an organization's own types",
        "it is refused by name before any policy is asked",
    ),
    (
        "the other half of a question by an agent or a key",
        "each half is proved about by itself, and both must be allowed",
    ),
    (
        "pruning of the log, and closing an organization, under a legal hold",
        "no policy decides about them",
    ),
    (
        "the second Admin of an export of a whole organization",
        "the export itself asks for the approval",
    ),
];

/// A property, ready to be proved.
pub(super) struct Stated {
    pub(super) id: String,
    pub(super) guardrail: String,
    pub(super) says: String,
    /// Whether it speaks of what is permitted: then a permit of everything proves nothing.
    pub(super) permits_count: bool,
    pub(super) rule: Rule,
}

/// All properties, in the order of their text.
///
/// # Errors
/// `Schema` where the text is not what it should be, which a test rules out.
pub(super) fn properties() -> Result<Vec<Stated>, ProofError> {
    let mut stated = Vec::new();
    for policy in policies()? {
        let said = |name: &str| policy.annotation(name).unwrap_or_default().to_owned();
        let id = said("id");
        let rule = Rule::new(&policy.new_id(PolicyId::new(&id)));
        stated.push(Stated {
            guardrail: said("guardrail"),
            says: said("says"),
            permits_count: policy.annotation("permits").is_some(),
            id,
            rule,
        });
    }
    Ok(stated)
}

/// The ids of all properties.
#[must_use]
pub fn property_ids() -> Vec<String> {
    let policies = policies().unwrap_or_default();
    let ids = policies.iter().filter_map(|policy| policy.annotation("id"));
    ids.map(str::to_owned).collect()
}

fn policies() -> Result<&'static [Policy], ProofError> {
    static POLICIES: LazyLock<Result<Vec<Policy>, String>> = LazyLock::new(parsed);
    match &*POLICIES {
        Ok(policies) => Ok(policies),
        Err(error) => Err(ProofError::Schema(error.clone())),
    }
}

fn parsed() -> Result<Vec<Policy>, String> {
    let set: PolicySet = TEXT
        .parse()
        .map_err(|error: cedar_policy::ParseErrors| error.to_string())?;
    let mut policies: Vec<Policy> = set.policies().cloned().collect();
    policies.sort_by_key(|policy| {
        let number: &str = policy.id().as_ref();
        let number = number.trim_start_matches("policy").parse::<usize>();
        number.unwrap_or(usize::MAX)
    });
    Ok(policies)
}
