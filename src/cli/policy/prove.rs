//! `cedarkeep policy prove`: what the policies of a folder never allow, beside the built-in ones, for all requests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::folder::{Folder, counted, show};
use crate::cli::Outcome;
use crate::cli::ending::Ending;
use crate::cli::print::Out;
use crate::config;
use crate::policy::{Compiled, Library, PolicyError};
use crate::proof::{Limits, NoSolver, Progress, Prover, Report};

const AFTER: &str = "\
Exit codes: 0 every guardrail holds for all requests; 1 one fails; 2 something is not known, since the files are wrong, there
is no solver, it gave up, or the time was over.

Examples:
  cedarkeep policy prove                         the built-in policies alone
  cedarkeep policy prove policies/               those of a folder beside them
  cedarkeep policy prove new/ --against old/     and how they differ from others";

/// How many steps go by before another line says so.
const TOLD: usize = 200;

/// Prove, for all requests, that the guardrails hold beside the policies of a folder, and find what those are not there for
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(in crate::cli) struct Prove {
    /// A folder with `schema.cedarschema` (or none) and `*.cedar`; without it the built-in policies alone
    dir: Option<PathBuf>,
    /// Say how they differ from the policies of this folder
    #[arg(long, value_name = "DIR", requires = "dir")]
    against: Option<PathBuf>,
    /// The solver's program, cvc5; by default `cvc5` on the path
    #[arg(long, value_name = "FILE")]
    solver: Option<PathBuf>,
    /// How long the solver may take for one question, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = config::Proof::default().timeout_s,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// How long all of it may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = config::Proof::default().limit_s,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    limit: u64,
}

impl Prove {
    pub(in crate::cli) fn run(&self, out: &Out) -> Outcome {
        let library = Arc::new(Library::builtin()?);
        let draft = match &self.dir {
            Some(dir) => match compiled(out, &library, dir) {
                Ok(compiled) => compiled,
                Err(ended) => return ended,
            },
            None => Arc::new(Compiled::builtin(&library)),
        };
        let active = match &self.against {
            Some(dir) => match compiled(out, &library, dir) {
                Ok(compiled) => Some(compiled),
                Err(ended) => return ended,
            },
            None => None,
        };
        let prover = match self.prover() {
            Ok(prover) => prover,
            Err(none) => return Err(Ending::unchecked(none.to_string()).into()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let told = {
            let out = *out;
            move |Progress { done, of }| {
                if done > 0 && done.is_multiple_of(TOLD) {
                    out.progress(&format!("{done} of {of} steps"));
                }
            }
        };
        let report = runtime.block_on(prover.report(active.as_ref(), &draft, told))?;
        out.say(&report.to_json(), &report.words().join("\n"))?;
        ends(&report)
    }

    fn prover(&self) -> Result<Prover, NoSolver> {
        let settings = config::Proof {
            solver: self.solver.clone(),
            ..config::Proof::default()
        };
        let limits = Limits {
            question: Duration::from_secs(self.timeout),
            whole: Duration::from_secs(self.limit),
            memory: settings.memory(),
        };
        Prover::find(settings.program().as_deref(), limits)
    }
}

/// A folder's policies beside the built-in ones.
///
/// # Errors
/// How the command ends: they cannot be read, or are no policies.
fn compiled(out: &Out, library: &Arc<Library>, dir: &Path) -> Result<Arc<Compiled>, Outcome> {
    let folder = Folder::read(dir).map_err(|unread| unread.end(out))?;
    let refused = |error| match error {
        PolicyError::Refused(findings) => match show(out, &findings) {
            Ok(()) => Err(Ending::unchecked(counted(&findings)).into()),
            Err(error) => Err(error.into()),
        },
        other => Err(other.into()),
    };
    Compiled::new(library, &folder.own)
        .map(Arc::new)
        .map_err(refused)
}

/// How the command ends.
fn ends(report: &Report) -> Outcome {
    let (_, fails, _) = report.guardrails.counts();
    match (fails, report.has_unknown()) {
        (0, false) => Ok(()),
        (0, true) => Err(Ending::unchecked(
            "something is not known; more time may help (--timeout, --limit)",
        )
        .into()),
        (1, _) => Err(Ending::unmet("a guardrail fails").into()),
        (fails, _) => Err(Ending::unmet(format!("{fails} guardrails fail")).into()),
    }
}
