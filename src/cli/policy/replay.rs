//! Logged decisions made again under a folder's policies: what they would change.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::folder::{Folder, SCHEMA, counted, show};
use crate::app::App;
use crate::cli::Outcome;
use crate::cli::ending::Ending;
use crate::cli::print::Out;
use crate::cli::replay::{Which, replayed};
use crate::decide::Refused;
use crate::decide::replay::{NotReplayed, Under};
use crate::policy::{PolicyError, Source};

/// Make logged decisions again under a folder's policies: who would gain, who would lose, and what cannot be made again
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(in crate::cli) struct Replay {
    /// The organization
    slug: String,
    /// A folder with `schema.cedarschema` (or none) and `*.cedar`
    dir: PathBuf,
    #[command(flatten)]
    which: Which,
    /// End with 1 where more answers than these would be others
    #[arg(long, value_name = "N")]
    max_flips: Option<u64>,
}

const AFTER: &str = "\
Exit codes: 0 it was replayed, 1 more answers than --max-flips would be others, 2 the folder cannot be read or does not compile.
The replay is a reading of the log, and recorded as one.";

impl Replay {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        let folder = match Folder::read(&self.dir) {
            Ok(folder) => folder,
            Err(unread) => return unread.end(out),
        };
        let file = |source: Source| (source.name, source.text);
        let under = Under::Draft {
            // Without a file there is none.
            schema: Some(folder.own.schema.map_or_else(String::new, |one| one.text)),
            policies: folder.own.policies.into_iter().map(file).collect(),
        };
        let report = match replayed(app, out, (&self.slug, &self.which), under).await? {
            Ok(report) => report,
            Err(NotReplayed::Refused(refused)) => {
                return match refused.about_schema(SCHEMA) {
                    Refused::Question(PolicyError::Refused(findings)) => {
                        show(out, &findings)?;
                        Err(Ending::unchecked(counted(&findings)).into())
                    }
                    refused => Err(refused.into()),
                };
            }
            Err(error) => return Err(error.into()),
        };
        let flips = report.flips();
        match self.max_flips {
            Some(most) if flips > most => Err(Ending::unmet(format!(
                "{flips} answers would be others, and {most} may"
            ))
            .into()),
            _ => Ok(()),
        }
    }
}
