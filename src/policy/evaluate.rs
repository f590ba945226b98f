//! What the policies say about one question: allowed or not, by which of them, and what went wrong.

use std::sync::Arc;

use cedar_policy::{Decision, Effect};

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

/// Evaluates a question on a view of the entities.
///
/// Each policy that can match is evaluated by itself, compiled; where one errs, or has no compiled form, Cedar's own authorizer is asked
/// about that one. This is what evaluating all of them at once would say, since in Cedar a policy's outcome never depends on the
/// others: any forbid refuses, else any permit allows. Beyond Cedar, a forbid that could not be evaluated refuses as well.
#[must_use]
pub fn evaluate(
    compiled: &Compiled,
    links: &[CompiledLink],
    view: &dyn View,
    question: &Question,
) -> Evaluation {
    let run = Run {
        vocabulary: compiled.vocabulary(),
        view,
        question,
    };
    let mut found = Found {
        run,
        cedar: InCedar::of(run),
        permits: Vec::new(),
        forbids: Vec::new(),
        failures: Vec::new(),
        forbid_failed: false,
    };
    compiled.each(&run, &mut |rule| found.add(rule));
    for link in links
        .iter()
        .filter(|one| one.link().counts_at(question.now))
    {
        found.add_link(link);
    }
    found.conclude()
}

/// What the policies said so far.
struct Found<'a> {
    run: Run<'a>,
    cedar: InCedar<'a>,
    permits: Vec<Determining>,
    forbids: Vec<Determining>,
    failures: Vec<Failure>,
    forbid_failed: bool,
}

impl Found<'_> {
    fn add(&mut self, rule: &Rule) {
        let satisfied = match rule.body.is_satisfied(&self.run, None) {
            Some(satisfied) => Ok(satisfied),
            None => self.cedar.evaluate(rule),
        };
        match (satisfied, rule.note.effect) {
            (Ok(false), _) => {}
            (Ok(true), Effect::Permit) => {
                self.permits
                    .push(rule.note.determining(Arc::clone(&rule.id)));
            }
            (Ok(true), Effect::Forbid) => {
                self.forbids
                    .push(rule.note.determining(Arc::clone(&rule.id)));
            }
            (Err(message), effect) => {
                self.forbid_failed |= effect == Effect::Forbid;
                self.failures.push(Failure {
                    id: rule.id.to_string(),
                    message,
                });
            }
        }
    }

    fn add_link(&mut self, link: &CompiledLink) {
        let linked = (&link.link().principal, &link.link().resource);
        let satisfied = match link.template.body.is_satisfied(&self.run, Some(linked)) {
            Some(satisfied) => satisfied,
            None => self.cedar.decide(link) == Decision::Allow,
        };
        if satisfied {
            self.permits.push(link.determining());
        }
    }

    /// The answer.
    fn conclude(self) -> Evaluation {
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
