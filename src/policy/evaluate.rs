//! What the policies say about one question: allowed or not, by which of them, and what went wrong.

use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Authorizer, Decision, Effect, Entities, Entity, PolicyId, PolicySet,
};

use super::compile::Compiled;
use super::index::Note;
use super::link::CompiledLink;
use super::request::Question;

/// A policy that had a part in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Determining {
    /// The policy's id, or the template's for a link.
    pub id: String,
    /// The link, where it is one.
    pub link: Option<String>,
    /// What it says, for people.
    pub reason: String,
    /// For a plan gate, the plan that would do.
    pub plan: Option<String>,
}

/// Why the answer is no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A policy forbids it.
    Forbidden,
    /// Nothing permits it.
    NotPermitted,
    /// A policy could not be evaluated, and might have decided otherwise.
    Error,
    /// Nothing but the organization's plan stands against it; this one would do.
    PlanRequired(String),
}

/// A policy that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The policy.
    pub id: String,
    /// What went wrong, in Cedar's words.
    pub message: String,
}

/// What the policies say about one question, for one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// Why not; absent: it is allowed.
    pub refusal: Option<Refusal>,
    /// The policies that decided, sorted by id.
    pub determining: Vec<Determining>,
    /// The policies that could not be evaluated, sorted by id.
    pub failures: Vec<Failure>,
}

impl Evaluation {
    /// Whether the answer is yes.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.refusal.is_none()
    }

    /// A no that was found without evaluating anything.
    #[must_use]
    pub fn refused(refusal: Refusal, determining: Vec<Determining>) -> Self {
        Self {
            refusal: Some(refusal),
            determining,
            failures: Vec::new(),
        }
    }
}

/// Evaluates a question on a slice of the entities: principal, resource, their ancestors, and what attributes reach
/// within [`DEREFERENCE_LEVEL`](super::DEREFERENCE_LEVEL). The action's own entity is added here.
///
/// The sets of built-in policies, own policies and links are evaluated one by one. This is what evaluating their union
/// would say, since in Cedar a policy's outcome never depends on the others: any forbid refuses, else any permit
/// allows. Beyond Cedar, a forbid that could not be evaluated refuses as well.
#[must_use]
pub fn evaluate(
    compiled: &Compiled,
    links: &[Arc<CompiledLink>],
    slice: Vec<Entity>,
    question: &Question,
) -> Evaluation {
    let Some(action) = compiled.vocabulary().action_by_uid(question.action()) else {
        return Evaluation::refused(Refusal::NotPermitted, Vec::new());
    };
    let slice = slice.into_iter().chain([action.entity().clone()]);
    let entities = match Entities::from_entities(slice, None) {
        Ok(entities) => entities,
        Err(error) => return unusable(&error),
    };
    let candidates = compiled.candidates(
        question.principal().type_name(),
        action,
        question.resource().type_name(),
    );
    let mut found = Found::new(compiled, question, &entities);
    for set in &candidates {
        found.add_set(&set.all);
    }
    for link in links.iter().filter(|l| l.link().counts_at(question.now)) {
        found.add_link(link);
    }
    found.conclude(|found| {
        candidates
            .iter()
            .any(|set| found.decides(&set.permits) == Decision::Allow)
    })
}

/// A slice that contradicts itself decides nothing.
fn unusable(error: &dyn std::fmt::Display) -> Evaluation {
    Evaluation {
        refusal: Some(Refusal::Error),
        determining: Vec::new(),
        failures: vec![Failure {
            id: "entities".to_owned(),
            message: error.to_string(),
        }],
    }
}

/// What the sets said so far.
struct Found<'a> {
    authorizer: Authorizer,
    compiled: &'a Compiled,
    question: &'a Question,
    entities: &'a Entities,
    permits: Vec<Determining>,
    forbids: Vec<Determining>,
    failures: Vec<Failure>,
    forbid_failed: bool,
}

impl<'a> Found<'a> {
    fn new(compiled: &'a Compiled, question: &'a Question, entities: &'a Entities) -> Self {
        Self {
            authorizer: Authorizer::new(),
            compiled,
            question,
            entities,
            permits: Vec::new(),
            forbids: Vec::new(),
            failures: Vec::new(),
            forbid_failed: false,
        }
    }

    fn note(&self, id: &PolicyId) -> Option<&'a Note> {
        self.compiled.note(id)
    }

    fn add_set(&mut self, set: &PolicySet) {
        let response = self
            .authorizer
            .is_authorized(self.question.request(), set, self.entities);
        for id in response.diagnostics().reason() {
            let Some(note) = self.note(id) else { continue };
            let determining = note.determining(id.as_ref());
            match note.effect {
                Effect::Permit => self.permits.push(determining),
                Effect::Forbid => self.forbids.push(determining),
            }
        }
        for error in response.diagnostics().errors() {
            let AuthorizationError::PolicyEvaluationError(error) = error;
            let forbids = self
                .note(error.policy_id())
                .is_none_or(|note| note.effect == Effect::Forbid);
            self.forbid_failed |= forbids;
            self.failures.push(Failure {
                id: AsRef::<str>::as_ref(error.policy_id()).to_owned(),
                message: error.to_string(),
            });
        }
    }

    fn add_link(&mut self, link: &CompiledLink) {
        if self.decides(&link.set) == Decision::Allow {
            self.permits.push(link.determining());
        }
    }

    fn decides(&self, set: &PolicySet) -> Decision {
        self.authorizer
            .is_authorized(self.question.request(), set, self.entities)
            .decision()
    }

    /// The answer. `would_permit` says whether a static permit matches: Cedar doesn't report them beside a forbid.
    fn conclude(self, would_permit: impl Fn(&Self) -> bool) -> Evaluation {
        let refusal = if !self.forbids.is_empty() {
            match highest_plan(&self.forbids) {
                // "The plan would do" is said only where it is true.
                Some(plan) if !self.forbid_failed => {
                    let otherwise = !self.permits.is_empty() || would_permit(&self);
                    Some(if otherwise {
                        Refusal::PlanRequired(plan)
                    } else {
                        Refusal::Forbidden
                    })
                }
                _ => Some(Refusal::Forbidden),
            }
        } else if self.forbid_failed {
            Some(Refusal::Error)
        } else if !self.permits.is_empty() {
            None
        } else if self.failures.is_empty() {
            Some(Refusal::NotPermitted)
        } else {
            Some(Refusal::Error)
        };
        let mut determining = match refusal {
            None => self.permits,
            Some(_) => self.forbids,
        };
        determining.sort_by(|a, b| (&a.id, &a.link).cmp(&(&b.id, &b.link)));
        let mut failures = self.failures;
        failures.sort_by(|a, b| a.id.cmp(&b.id));
        Evaluation {
            refusal,
            determining,
            failures,
        }
    }
}

/// The plan that satisfies all of these, if they are plan gates every one.
fn highest_plan(forbids: &[Determining]) -> Option<String> {
    let plans: Option<Vec<&str>> = forbids.iter().map(|one| one.plan.as_deref()).collect();
    let plans = plans?;
    let highest = ["Enterprise", "Business"]
        .into_iter()
        .find(|plan| plans.contains(plan))?;
    Some(highest.to_owned())
}
