//! What the guardrails would be worth with a built-in policy changed or gone: how it is shown that a proof would notice.

use std::sync::Arc;

use cedar_policy::{Policy, PolicyId};

use super::ground::{Ground, Rule};
use super::guardrails::{Changed, Site, Verdict, prove_at, tried};
use super::query::Bench;
use super::{ProofError, Which};
use crate::policy::Compiled;

/// A built-in policy changed.
#[derive(Debug, Clone)]
pub struct Weakening {
    /// The policy.
    pub policy: String,
    /// What stands in its place; nothing where it is gone.
    pub instead: Option<Policy>,
    /// What is proved about the rest.
    pub which: Which,
}

/// Proves properties for each change by itself, and each only where the policy could have mattered, before or since.
pub(super) async fn prove(
    bench: &mut Bench,
    compiled: &Arc<Compiled>,
    weakenings: &[Weakening],
) -> Result<Vec<Vec<(String, Verdict)>>, ProofError> {
    let ground = Ground::new(compiled)?;
    bench.expects(weakenings.len());
    let mut all = Vec::new();
    for weakening in weakenings {
        let before = ground.rule(&weakening.policy);
        // Under the name of what it stands for.
        let named = |policy: &Policy| policy.new_id(PolicyId::new(&weakening.policy));
        let instead = weakening.instead.as_ref().map(named);
        let instead = instead.as_ref().map(Rule::new);
        let changed = Changed {
            id: &weakening.policy,
            instead: instead.as_ref(),
        };
        let mut tried = tried(&weakening.which)?;
        for at in ground.environments.values() {
            let matters = [before, instead.as_ref()];
            if matters.into_iter().flatten().any(|rule| rule.is_for(at)) {
                prove_at(bench, &Site::new(&ground, at, Some(&changed)), &mut tried).await;
            }
            if tried.iter().all(|one| one.has_failed()) {
                break;
            }
        }
        let verdicts = tried.into_iter().map(|mut one| {
            let verdict = one.verdict();
            (one.stated.id, verdict)
        });
        all.push(verdicts.collect());
        bench.did(1);
    }
    Ok(all)
}
