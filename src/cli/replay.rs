//! `cedarkeep audit replay` and `cedarkeep policy replay`: logged decisions made again, as they were recorded or under a folder's policies.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::Outcome;
use super::org::{door, folder, read};
use super::print::Out;
use crate::app::App;
use crate::decide::Asker;
use crate::decide::replay::{Given, Progress, Replaying, Report, Under};

/// How often it is told how far it is.
const TOLD: Duration = Duration::from_secs(1);

/// The schema of a folder, if it has one.
const SCHEMA: &str = "schema.cedarschema";

/// Which decisions.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The last so many decisions; all that are kept if nothing is given
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "to", "since", "until"])]
    last: Option<u64>,
    /// From this index on
    #[arg(long, value_name = "INDEX", conflicts_with_all = ["since", "until"])]
    from: Option<u64>,
    /// Up to this index, which does not count any more
    #[arg(long, value_name = "INDEX", conflicts_with_all = ["since", "until"])]
    to: Option<u64>,
    /// From this moment on, as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Up to this moment, which does not count any more
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Make logged decisions again as they were made: each must come out exactly as it was recorded; exits with 1 when one does not
#[derive(Debug, Args)]
pub(super) struct SelfCheck {
    /// The organization
    slug: String,
    #[command(flatten)]
    which: Which,
}

/// Make logged decisions again under the policies of a folder: who would gain, who would lose, and what cannot be made again
#[derive(Debug, Args)]
pub(super) struct UnderFolder {
    /// The organization
    slug: String,
    /// The folder: `.cedar` files, and `schema.cedarschema` if there is one
    folder: PathBuf,
    #[command(flatten)]
    which: Which,
    /// Exit with 1 where more answers than these would be others
    #[arg(long, value_name = "N")]
    max_flips: Option<u64>,
}

impl SelfCheck {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        let report = replayed(app, out, (&self.slug, &self.which), Under::Recorded).await?;
        match report.is_same() {
            true => Ok(()),
            false => Err(format!(
                "decisions of `{}` do not come out as they were recorded: keep what you have of the log, and run `cedarkeep audit verify {}`",
                self.slug, self.slug
            )
            .into()),
        }
    }
}

impl UnderFolder {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        let under = under(&self.folder)?;
        let report = replayed(app, out, (&self.slug, &self.which), under).await?;
        let flips = report.flips();
        match self.max_flips {
            Some(most) if flips > most => {
                Err(format!("{flips} answers would be others, and {most} may").into())
            }
            _ => Ok(()),
        }
    }
}

/// What a folder has of policies; without a schema of its own it has none.
fn under(path: &Path) -> Result<Under, String> {
    let schema = path.join(SCHEMA);
    let schema = match schema.is_file() {
        true => read(&schema)?,
        false => String::new(),
    };
    Ok(Under::Draft {
        schema: Some(schema),
        policies: folder(path)?,
    })
}

async fn replayed(
    app: &Arc<App>,
    out: &Out,
    (slug, which): (&str, &Which),
    under: Under,
) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let given = Given {
        last: which.last,
        from: which.from,
        to: which.to,
        since: which.since.as_deref(),
        until: which.until.as_deref(),
    };
    let wanted = Replaying {
        range: given.range()?,
        under,
    };
    let mut told = Instant::now();
    let progress = |now: Progress| {
        if told.elapsed() >= TOLD {
            told = Instant::now();
            let Progress {
                done,
                of,
                per_second,
            } = now;
            out.progress(&format!("{done} of {of} entries, {per_second:.0} a second"));
        }
        ControlFlow::Continue(())
    };
    let door = door(app, slug).await?;
    let report = door.replay(Asker::operator(), wanted, progress).await?;
    out.say(&report.to_json(), &report.words())?;
    Ok(report)
}
