//! A question that a test puts, the answer that it expects, and whether an evaluation is that.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::names::ours;
use super::node::listed;
use super::scene::Scene;
use crate::policy::compile::Compiled;
use crate::policy::evaluate::{Evaluation, Refusal, evaluate};
use crate::policy::link::{CompiledLink, Link};
use crate::policy::request::Question;
use crate::policy::value::Uid;
use crate::policy::view::View;

/// An answer that a test expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Allow,
    /// No, for whatever reason.
    Deny,
    /// No: a policy forbids it.
    Forbidden,
    /// No: nothing permits it.
    NotPermitted,
    /// No: it needs another plan.
    PlanRequired,
    /// No: a policy could not be evaluated.
    Error,
}

impl Answer {
    pub(super) const ALL: [Self; 6] = [
        Self::Allow,
        Self::Deny,
        Self::Forbidden,
        Self::NotPermitted,
        Self::PlanRequired,
        Self::Error,
    ];

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Forbidden => "forbidden",
            Self::NotPermitted => "not_permitted",
            Self::PlanRequired => "plan_required",
            Self::Error => "error",
        }
    }

    /// What an evaluation comes to.
    #[must_use]
    pub const fn of(evaluation: &Evaluation) -> Self {
        match evaluation.refusal {
            None => Self::Allow,
            Some(Refusal::Forbidden) => Self::Forbidden,
            Some(Refusal::NotPermitted) => Self::NotPermitted,
            Some(Refusal::PlanRequired(_)) => Self::PlanRequired,
            Some(Refusal::Error) => Self::Error,
        }
    }

    fn is_met_by(self, got: Self) -> bool {
        self == got || (self == Self::Deny && got != Self::Allow)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The policies that a test expects to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reasons {
    /// Whichever.
    Any,
    /// These and no others.
    Exactly(BTreeSet<String>),
    /// These, and others perhaps.
    Including(BTreeSet<String>),
}

/// A question that a test puts, and what is expected.
#[derive(Debug, Clone)]
pub struct Case {
    /// The file that it is in.
    pub file: String,
    /// The test's name.
    pub test: String,
    /// What is asked, in words.
    pub asked: String,
    /// Which case of its test it is, from 1; nothing where the test is one question.
    pub number: Option<usize>,
    /// The line that it stands in, from 1.
    pub line: usize,
    pub(super) expected: Answer,
    pub(super) reasons: Reasons,
    pub(super) put: Put,
    pub(super) scene: Arc<Scene>,
    pub(super) links: Arc<[Link]>,
}

/// What becomes of a question.
#[derive(Debug, Clone)]
pub(super) enum Put {
    /// It is answered before any policy is asked.
    Settled(Evaluation),
    /// Each of these must be allowed.
    Halves(Vec<Question>),
}

impl Case {
    /// Each half of the question: the agent's or the service's, and the person's.
    #[must_use]
    pub fn questions(&self) -> &[Question] {
        match &self.put {
            Put::Settled(_) => &[],
            Put::Halves(halves) => halves,
        }
    }

    /// What it is asked about.
    #[must_use]
    pub fn view(&self) -> &dyn View {
        self.scene.as_ref()
    }

    /// The shares that a question may go by: those of what it is about, and of the thread that this hangs from.
    pub fn links_of(&self, question: &Question) -> impl Iterator<Item = &Link> {
        let resource = question.resource();
        let thread = ours("Thread");
        let above = self.scene.parents(resource).into_iter();
        let above: Vec<Uid> = above.filter(|parent| parent.is(&thread)).collect();
        let links = self.links.iter();
        links.filter(move |link| link.resource == *resource || above.contains(&link.resource))
    }

    /// What the policies say, which may be others than those that the test was read with, of the same vocabulary.
    #[must_use]
    pub fn evaluate(&self, compiled: &Compiled) -> Evaluation {
        match &self.put {
            Put::Settled(evaluation) => evaluation.clone(),
            Put::Halves(halves) => {
                let halves = halves.iter().map(|half| {
                    let links = self.compiled_links(compiled, half);
                    evaluate(compiled, &links, self.scene.as_ref(), half)
                });
                let nothing = || Evaluation::refused(Refusal::NotPermitted, Vec::new());
                halves.reduce(Evaluation::and).unwrap_or_else(nothing)
            }
        }
    }

    pub(super) fn compiled_links(
        &self,
        compiled: &Compiled,
        question: &Question,
    ) -> Vec<CompiledLink> {
        let links = self.links_of(question);
        let links = links.filter_map(|link| compiled.library().link(link.clone()).ok());
        links.collect()
    }

    /// What is not as it was expected.
    #[must_use]
    pub fn differs(&self, got: &Evaluation) -> Option<String> {
        let (answer, by) = (Answer::of(got), reasons(got));
        let told = || match by.is_empty() {
            true => format!("got {answer}"),
            false => format!("got {answer}, by {}", quoted(&by)),
        };
        if !self.expected.is_met_by(answer) {
            return Some(format!("expected {}, {}", self.expected, told()));
        }
        let wrong = match &self.reasons {
            Reasons::Any => return None,
            Reasons::Exactly(wanted) => (*wanted != by).then(|| quoted(wanted)),
            Reasons::Including(wanted) => {
                (!wanted.is_subset(&by)).then(|| format!("{} among others", quoted(wanted)))
            }
        };
        wrong.map(|wanted| format!("expected {} by {wanted}, {}", self.expected, told()))
    }

    /// What is expected, in words.
    #[must_use]
    pub fn expected(&self) -> String {
        match &self.reasons {
            Reasons::Any => self.expected.to_string(),
            Reasons::Exactly(wanted) => format!("{} by {}", self.expected, quoted(wanted)),
            Reasons::Including(wanted) => {
                format!("{} by {} among others", self.expected, quoted(wanted))
            }
        }
    }
}

/// The policies that an evaluation goes by: those that decided, and where none could, those that could not be evaluated.
pub(super) fn reasons(of: &Evaluation) -> BTreeSet<String> {
    let decided = of.determining.iter().map(|one| one.id.to_string());
    let failed = of.failures.iter().map(|one| one.id.clone());
    match of.refusal {
        Some(Refusal::Error) => decided.chain(failed).collect(),
        _ => decided.collect(),
    }
}

fn quoted(names: &BTreeSet<String>) -> String {
    match names.is_empty() {
        true => "no policy".to_owned(),
        false => listed(&names.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}
