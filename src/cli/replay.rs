//! `cedarkeep audit replay`: logged decisions made again as they were made; and what a replay under a folder's policies has in common with it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::Outcome;
use super::ending::Ending;
use super::org::door;
use super::print::Out;
use crate::app::App;
use crate::decide::Asker;
use crate::decide::replay::{Given, NotReplayed, Progress, Replaying, Report, Under};

/// How often it is told how far it is.
const TOLD: Duration = Duration::from_secs(1);

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

impl SelfCheck {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        let slug = self.slug;
        let report = replayed(app, out, (&slug, &self.which), Under::Recorded).await??;
        match report.is_same() {
            true => Ok(()),
            false => Err(Ending::unmet(format!(
                "decisions of `{slug}` do not come out as they were recorded: keep what you have of its log, and run `cedarkeep audit verify {slug}`"
            ))
            .into()),
        }
    }
}

/// Makes decisions again and prints what comes of it; or why they are not.
pub(super) async fn replayed(
    app: &Arc<App>,
    out: &Out,
    (slug, which): (&str, &Which),
    under: Under,
) -> Result<Result<Report, NotReplayed>, Box<dyn std::error::Error + Send + Sync>> {
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
    let report = door.replay(Asker::operator(), wanted, progress).await;
    if let Ok(report) = &report {
        out.say(&report.to_json(), &report.words())?;
    }
    Ok(report)
}
