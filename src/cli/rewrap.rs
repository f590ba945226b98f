//! `cedarkeep keys rewrap`: the wraps of keys go over to another provider of root keys, or to its newest root key.

use clap::Args;
use serde_json::json;

use super::Outcome;
use super::org::tenant;
use super::print::{Out, with_causes};
use crate::app::App;
use crate::ids::TenantId;
use crate::tenant::{DEPLOYMENT, Rewrapped, TenantError};

/// How many rows are read at a time.
const PAGE: i64 = 100;

#[derive(Debug, Args)]
pub(super) struct Rewrap {
    /// This organization alone
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,
    /// To this provider: with --org the organization's own from now on (the name that `keys.root` has: the deployment's
    /// again); without it the one that `keys.root` names
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
}

#[derive(Default)]
struct Tally {
    moved: u64,
    kept: u64,
    failed: u64,
}

impl Rewrap {
    pub(super) async fn run(self, app: &App, out: &Out) -> Outcome {
        let Self { org, to } = self;
        let mut tally = Tally::default();
        if let Some(slug) = org {
            let id = tenant(app, &slug).await?;
            let done = app.control().rewrap(id, to.as_deref()).await?;
            say(out, &slug, &done)?;
            return Ok(());
        }
        app.control().root_for_all(to.as_deref())?;
        // Until a round moves nothing: organizations may be made meanwhile by a node that has other settings.
        loop {
            let round = all(app, out).await?;
            tally.moved += round.moved;
            (tally.kept, tally.failed) = (round.kept.saturating_sub(tally.moved), round.failed);
            if round.moved == 0 {
                break;
            }
        }
        out.say(
            &json!({ "moved": tally.moved, "kept": tally.kept, "failed": tally.failed }),
            &format!(
                "{} moved, {} were there already, {} not moved",
                tally.moved, tally.kept, tally.failed
            ),
        )?;
        if tally.failed > 0 {
            return Err(format!(
                "{} keys could not be moved and are wrapped as before: put right what is said above, and run it again",
                tally.failed
            )
            .into());
        }
        Ok(())
    }
}

/// Every organization, then the deployment itself. One that fails keeps no other from being moved.
async fn all(app: &App, out: &Out) -> Result<Tally, Box<dyn std::error::Error + Send + Sync>> {
    let control = app.control();
    let (mut tally, mut after): (Tally, Option<TenantId>) = (Tally::default(), None);
    loop {
        let page = control.keys(after, PAGE).await?;
        after = page.last().map(|(id, _)| *id);
        for (id, slug) in page {
            let done = control.rewrap(id, None).await;
            // One that was closed meanwhile has no key to move.
            if !matches!(done, Err(TenantError::NotFound { .. })) {
                tally.note(out, slug.as_str(), done)?;
            }
        }
        if after.is_none() {
            break;
        }
    }
    // Last, and only behind all others: whose root keys wrap it tells which keys are on their way with it.
    if tally.failed == 0 {
        tally.note(out, "", control.rewrap_deployment().await)?;
    }
    Ok(tally)
}

impl Tally {
    fn note(
        &mut self,
        out: &Out,
        slug: &str,
        done: Result<Rewrapped, TenantError>,
    ) -> std::io::Result<()> {
        match done {
            Ok(done) if done.moved => {
                self.moved += 1;
                say(out, slug, &done)
            }
            Ok(_) => {
                self.kept += 1;
                Ok(())
            }
            Err(error) => {
                self.failed += 1;
                let (whose, error) = (named(slug), with_causes(&error));
                out.say(
                    &json!({ "key": whose, "error": error }),
                    &format!("{whose}: {error}"),
                )
            }
        }
    }
}

/// Whose key it is; the deployment's log has an organization's key like any other, beside the deployment's own.
fn named(slug: &str) -> &str {
    match slug {
        "" => "the deployment",
        DEPLOYMENT => "the deployment's log",
        slug => slug,
    }
}

fn say(out: &Out, slug: &str, done: &Rewrapped) -> std::io::Result<()> {
    let whose = named(slug);
    let Rewrapped {
        provider,
        root_version,
        moved,
    } = done;
    let what = if *moved { "is now" } else { "was already" };
    out.say(
        &json!({ "key": whose, "provider": provider, "root_version": root_version, "moved": moved }),
        &format!("{whose}: its key {what} wrapped by `{provider}`, root key {root_version}"),
    )
}
