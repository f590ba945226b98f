//! `cedarkeep policy prove`: what the policies of a folder never allow, beside the built-in ones, for all requests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::folder;
use crate::cli::print::Out;
use crate::cli::{Ends, Outcome};
use crate::config;
use crate::policy::{Compiled, Library};
use crate::proof::{Limits, NoSolver, Progress, Prover, Report};

const AFTER: &str = "\
Exit codes:
  0  every guardrail holds for all requests
  1  a guardrail fails, or the policies cannot be read
  2  something is not known: there is no solver, it gave up, or the time was over

Examples:
  cedarkeep policy prove                         the built-in policies alone
  cedarkeep policy prove policies/               those of a folder beside them
  cedarkeep policy prove new/ --against old/     and how they differ from others";

/// How many steps go by before another line says so.
const TOLD: usize = 200;

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Prove {
    /// The folder: its `*.cedar`, and `schema.cedarschema` if there is one; without it the built-in policies alone
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Say how they differ from the policies of this folder
    #[arg(long, value_name = "DIR", requires = "folder")]
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
    pub(super) fn run(&self, out: &Out) -> Outcome {
        let library = Arc::new(Library::builtin()?);
        let compiled = |folder: Option<&Path>| -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Arc::new(match folder {
                Some(folder) => Compiled::new(&library, &folder::own(folder)?)?,
                None => Compiled::builtin(&library),
            }))
        };
        let draft = compiled(self.folder.as_deref())?;
        let active = match &self.against {
            Some(folder) => Some(compiled(Some(folder))?),
            None => None,
        };
        let prover = self.prover().map_err(|error| Ends {
            code: 2,
            message: error.to_string(),
        })?;
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
        };
        Prover::find(settings.program().as_deref(), limits)
    }
}

/// The code that says how it went.
fn ends(report: &Report) -> Outcome {
    let (_, fails, _) = report.guardrails.counts();
    if fails > 0 {
        let message = format!("{fails} properties of the guardrails fail");
        return Err(Ends { code: 1, message }.into());
    }
    if report.has_unknown() {
        let message = "something is not known; more time may help (--timeout, --limit)".to_owned();
        return Err(Ends { code: 2, message }.into());
    }
    Ok(())
}
