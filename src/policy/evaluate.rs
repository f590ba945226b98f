//! What the policies say about one question: allowed or not, by which of them, and what went wrong.

use std::sync::Arc;

use cedar_policy::Effect;

use super::cedar::InCedar;
use super::compile::Compiled;
use super::index::Rule;
use super::link::CompiledLink;
use super::request::Question;
use super::run::Run;
use super::view::View;

/// A policy that had a part in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Determining {
    /// The policy's id, or the template's for a link.
    pub id: Arc<str>,
    /// The link, where it is one.
    pub link: Option<String>,
    /// What it says, for people.
    pub reason: Arc<str>,
    /// For a plan gate, the plan that would do.
    pub plan: Option<Arc<str>>,
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

impl Evaluation {
    /// Both of two who must be allowed: a no of either is a no, and of two that which says more gives its kind.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let both_allow = self.is_allowed() && other.is_allowed();
        let mut determining: Vec<Determining> = Vec::new();
        for half in [&self, &other] {
            // Beside a refusal, what the other half was permitted by says nothing.
            if both_allow || !half.is_allowed() {
                for one in &half.determining {
                    if !determining.contains(one) {
                        determining.push(one.clone());
                    }
                }
            }
        }
        let failures = self.failures.into_iter().chain(other.failures).collect();
        Self {
            refusal: worse(self.refusal, other.refusal),
            determining,
            failures,
        }
    }
}

/// Of two refusals the one that says more: a plan would help only where nothing else stands against it.
fn worse(first: Option<Refusal>, second: Option<Refusal>) -> Option<Refusal> {
    let rank = |refusal: &Refusal| match refusal {
        Refusal::Forbidden => 3,
        Refusal::Error => 2,
        Refusal::NotPermitted => 1,
        Refusal::PlanRequired(_) => 0,
    };
    match (first, second) {
        (Some(first), Some(second)) => Some(if rank(&second) > rank(&first) {
            second
        } else {
            first
        }),
        (first, second) => first.or(second),
    }
}

/// What each policy that can match says about a question: what Cedar would say of all of them at once, since in Cedar a policy's outcome
/// never depends on the others.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The permits that are satisfied, links among them.
    pub permits: Vec<Determining>,
    /// The forbids that are satisfied.
    pub forbids: Vec<Determining>,
    /// The policies that could not be evaluated.
    pub failures: Vec<Failure>,
    /// Whether a forbid is among those.
    pub forbid_failed: bool,
}

/// Evaluates a question on a view of the entities.
#[must_use]
pub fn evaluate(
    compiled: &Compiled,
    links: &[CompiledLink],
    view: &dyn View,
    question: &Question,
) -> Evaluation {
    Verdict::of(compiled, links, view, question).conclude()
}

impl Verdict {
    /// Evaluates each policy that can match by itself, compiled; where one errs, or has no compiled form, Cedar's own authorizer is asked
    /// about that one.
    #[must_use]
    pub fn of(
        compiled: &Compiled,
        links: &[CompiledLink],
        view: &dyn View,
        question: &Question,
    ) -> Self {
        let run = Run {
            vocabulary: compiled.vocabulary(),
            view,
            question,
        };
        let cedar = InCedar::of(run);
        let mut verdict = Self::default();
        compiled.each(&run, &mut |rule| verdict.add(rule, &run, &cedar));
        for link in links {
            if link.link().counts_at(question.now) {
                verdict.add_link(link, &run, &cedar);
            }
        }
        verdict
    }

    fn add(&mut self, rule: &Rule, run: &Run<'_>, cedar: &InCedar<'_>) {
        let satisfied = match rule.body.is_satisfied(run, None) {
            Some(satisfied) => Ok(satisfied),
            None => cedar.evaluate(rule),
        };
        let effect = rule.note.effect;
        match satisfied {
            Ok(false) => {}
            Ok(true) => {
                let of = match effect {
                    Effect::Permit => &mut self.permits,
                    Effect::Forbid => &mut self.forbids,
                };
                of.push(rule.note.determining(Arc::clone(&rule.id)));
            }
            Err(message) => {
                self.forbid_failed |= effect == Effect::Forbid;
                let id = rule.id.to_string();
                self.failures.push(Failure { id, message });
            }
        }
    }

    fn add_link(&mut self, link: &CompiledLink, run: &Run<'_>, cedar: &InCedar<'_>) {
        let linked = (&link.link().principal, &link.link().resource);
        let satisfied = match link.template.body.is_satisfied(run, Some(linked)) {
            Some(satisfied) => Ok(satisfied),
            None => cedar.evaluate_link(link),
        };
        match satisfied {
            Ok(false) => {}
            Ok(true) => self.permits.push(link.determining()),
            Err(message) => {
                let id = format!("{}/{}", link.template.id, link.link().id);
                self.failures.push(Failure { id, message });
            }
        }
    }

    /// The answer: any forbid refuses, else any permit allows. Beyond Cedar, which would skip it, a forbid that could not be evaluated
    /// refuses as well.
    #[must_use]
    pub fn conclude(self) -> Evaluation {
        let refusal = if !self.forbids.is_empty() {
            match highest_plan(&self.forbids) {
                // "The plan would do" is said only where it is true.
                Some(plan) if !self.forbid_failed && !self.permits.is_empty() => {
                    Some(Refusal::PlanRequired(plan))
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
