//! Proofs about policies: what they never allow, how a draft differs from what is in force, and which of its policies do nothing.
//!
//! Cedar's symbolic compiler makes a formula of policies and of one request environment (a type of principals, an action, a type
//! of resources); a solver, `cvc5`, says whether some request satisfies it. If none does, that is a proof over all requests;
//! if one does, it is an example, which the engine that answers questions has to confirm before anybody hears of it
//! (`scene`). What neither is, is unknown, and is said to be: a time that ran out, a solver that gave up, died or talked
//! nonsense never makes anything hold.
//!
//! A question to the solver is of a few policies, whatever the number of policies is (`query`): those that an example shows to
//! matter join it, one example after another (`search`). What holds for the built-in `forbid` policies beside a permit of
//! everything holds for every organization (`guardrails`); a draft is compared where its policies changed (`difference`),
//! and each of its policies is asked what it is there for (`findings`). That a proof would notice, a changed built-in policy
//! shows (`weakened`).
//!
//! Here nothing is written, recorded or kept.

mod difference;
mod findings;
mod ground;
mod guardrails;
mod job;
mod properties;
mod query;
mod report;
mod scene;
mod search;
mod shape;
mod solver;
mod weakened;

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use self::findings::Whose;
use crate::policy::{Compiled, Library};

pub use difference::{Change, Difference, Direction, Effect};
pub use findings::{Finding, Findings, What};
pub use ground::Place;
pub use guardrails::{Guardrails, Property, Verdict};
pub use properties::{UNPROVEN, property_ids};
pub use report::Report;
pub use scene::{Decided, Example};
pub use weakened::Weakening;

/// How much a proof may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The solver for one question.
    pub question: Duration,
    /// A whole proof, from its first question on.
    pub whole: Duration,
    /// The memory of the solver, in bytes of its address space.
    pub memory: u64,
}

/// How far a proof is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps that are done.
    pub done: usize,
    /// All steps.
    pub of: usize,
}

/// Why there is nothing to prove with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSolver {
    /// There is none on the path, and none is named.
    #[error(
        "no solver to prove with: there is no `cvc5` on the path; install it (Debian: `apt-get install cvc5`), or name its program in `proof.solver`"
    )]
    NotFound,
    /// What was named is no program.
    #[error(
        "no solver to prove with: `{}` is no program that can be run; name that of cvc5 in `proof.solver`", .0.display()
    )]
    NoProgram(PathBuf),
}

/// Why a proof was not made at all.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The solver's program cannot be started.
    #[error("the solver `{}` does not start; `proof.solver` names its program", program.display())]
    NotStarted {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The policies cannot be told to the solver.
    #[error("the schema has no form that the solver knows: {0}")]
    Schema(String),
    /// It ended before it was done.
    #[error("the proof was broken off; try it again")]
    BrokenOff,
}

/// Why something is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// The solver took longer than it may for one question.
    TimedOut,
    /// The whole proof had taken as long as it may.
    OutOfTime,
    /// The solver says that it cannot tell.
    Undecided,
    /// It gave no answer that could be read: what happened.
    Solver(String),
    /// Something in the policies has no form that the solver knows.
    Unsupported(String),
    /// The solver's example is none for the engine.
    Unconfirmed(String),
    /// More would have to be said to the solver than it is worth.
    TooMuch(String),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the solver took too long"),
            Self::OutOfTime => f.write_str("the time for the whole proof was over"),
            Self::Undecided => f.write_str("the solver cannot tell"),
            Self::Solver(what) => write!(f, "the solver failed: {what}"),
            Self::Unsupported(what) => write!(f, "the solver cannot be asked: {what}"),
            Self::Unconfirmed(what) => write!(f, "the solver's example is not confirmed: {what}"),
            Self::TooMuch(what) => write!(f, "it is too much for the solver: {what}"),
        }
    }
}

/// Which properties are to be proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All that there are.
    All,
    /// These, by their ids.
    Only(Vec<String>),
}

impl Which {
    fn has(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.iter().any(|one| one == id),
        }
    }
}

/// What proofs are made with: a solver, and how long they may take. One proof at a time; others wait.
#[derive(Debug, Clone)]
pub struct Prover {
    program: Arc<Path>,
    limits: Limits,
    turn: Arc<Semaphore>,
}

impl Prover {
    /// With the solver of this program; nothing is started yet.
    ///
    /// # Errors
    /// `NotFound` where no program is given, `NoProgram` where it is none.
    pub fn find(program: Option<&Path>, limits: Limits) -> Result<Self, NoSolver> {
        let program = program.ok_or(NoSolver::NotFound)?;
        let can_be_run = program
            .metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
        if !can_be_run {
            return Err(NoSolver::NoProgram(program.to_owned()));
        }
        Ok(Self {
            program: program.into(),
            limits,
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// Whether the guardrails hold for these policies, over all requests.
    ///
    /// # Errors
    /// `NotStarted` and `Schema`; `BrokenOff` where the proof ended otherwise than by an answer.
    pub async fn guardrails(
        &self,
        of: &Arc<Compiled>,
        which: &Which,
        told: impl Fn(Progress) + Send + 'static,
    ) -> Result<Guardrails, ProofError> {
        let (of, which) = (Arc::clone(of), which.clone());
        self.job(told, async move |bench| {
            guardrails::prove(bench, &of, &which).await
        })
        .await
    }

    /// What of the properties holds where a built-in policy is changed or gone, for each change by itself: each property with what
    /// was found out about it.
    ///
    /// # Errors
    /// The same.
    pub async fn weakened(
        &self,
        of: &Arc<Compiled>,
        weakenings: Vec<Weakening>,
        told: impl Fn(Progress) + Send + 'static,
    ) -> Result<Vec<Vec<(String, Verdict)>>, ProofError> {
        let of = Arc::clone(of);
        self.job(told, async move |bench| {
            weakened::prove(bench, &of, &weakenings).await
        })
        .await
    }

    /// How a draft differs from what is in force, over all requests.
    ///
    /// # Errors
    /// The same.
    pub async fn difference(
        &self,
        active: &Arc<Compiled>,
        draft: &Arc<Compiled>,
        told: impl Fn(Progress) + Send + 'static,
    ) -> Result<Difference, ProofError> {
        let (active, draft) = (Arc::clone(active), Arc::clone(draft));
        self.job(told, async move |bench| {
            difference::compare(bench, &active, &draft).await
        })
        .await
    }

    /// Which of an organization's own policies do nothing, and which can err.
    ///
    /// # Errors
    /// The same.
    pub async fn findings(
        &self,
        draft: &Arc<Compiled>,
        told: impl Fn(Progress) + Send + 'static,
    ) -> Result<Findings, ProofError> {
        let draft = Arc::clone(draft);
        self.job(told, async move |bench| {
            findings::find(bench, &draft, Whose::Own).await
        })
        .await
    }

    /// The same of the built-in policies.
    ///
    /// # Errors
    /// The same.
    pub async fn findings_of_builtin(
        &self,
        library: &Arc<Library>,
        told: impl Fn(Progress) + Send + 'static,
    ) -> Result<Findings, ProofError> {
        let builtin = Arc::new(Compiled::builtin(library));
        self.job(told, async move |bench| {
            findings::find(bench, &builtin, Whose::Builtin).await
        })
        .await
    }

    /// All of it, within one limit: the guardrails, the difference from what is in force (if there is something), and the
    /// findings.
    ///
    /// # Errors
    /// The same.
    pub async fn report(
        &self,
        active: Option<&Arc<Compiled>>,
        draft: &Arc<Compiled>,
        told: impl Fn(Progress) + Send + 'static,
    ) -> Result<Report, ProofError> {
        let (active, draft) = (active.cloned(), Arc::clone(draft));
        self.job(told, async move |bench| {
            let guardrails = guardrails::prove(bench, &draft, &Which::All).await?;
            let difference = match &active {
                Some(active) => Some(difference::compare(bench, active, &draft).await?),
                None => None,
            };
            let findings = findings::find(bench, &draft, Whose::Own).await?;
            Ok(Report {
                guardrails,
                difference,
                findings,
            })
        })
        .await
    }
}
