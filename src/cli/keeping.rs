//! `cedarkeep org retention|hold|release` and `cedarkeep member erase`: what is kept, said by the operator.

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::Outcome;
use super::audit::log;
use super::org::door;
use super::print::Out;
use crate::app::App;
use crate::directory::{Kind, Ref, keeping};

#[derive(Debug, Subcommand)]
pub(super) enum Keeping {
    /// Say for how long entries of the log are kept; older ones are taken away, and their hashes stay
    Retention {
        /// Its short name
        slug: String,
        /// For so many days, from 1 to 36500
        #[arg(long, required_unless_present = "forever", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
        /// Keep everything
        #[arg(long, conflicts_with = "days")]
        forever: bool,
    },
    /// Set a legal hold: nothing of the log is pruned and nobody is erased until each hold is released
    Hold {
        /// Its short name
        slug: String,
        /// Why, as it is recorded
        #[arg(long)]
        reason: String,
    },
    /// Say that an organization's database was put back from a backup: it is checked, and its log goes on as another incarnation, whose
    /// first entry says what is known of the one before
    Restored {
        /// Its short name, or `deployment` for the deployment's own log
        slug: String,
        /// The short name once more, since this cannot be undone
        #[arg(long, value_name = "SLUG")]
        confirm: String,
    },
    /// Release one legal hold
    Release {
        /// Its short name
        slug: String,
        /// Why, as it is recorded
        #[arg(long)]
        reason: String,
    },
}

impl Keeping {
    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        match self {
            Self::Retention { slug, days, .. } => {
                door(app, &slug)
                    .await?
                    .operate(move |by, snapshot| {
                        keeping::set_retention_by_operator(by, snapshot, days)
                    })
                    .await?;
                let kept = days.map_or("for ever".to_owned(), |days| format!("for {days} days"));
                out.say(
                    &json!({ "slug": slug, "retention_days": days }),
                    &format!("the log of {slug} is kept {kept}"),
                )?;
            }
            Self::Hold { slug, reason } => {
                let changed = door(app, &slug)
                    .await?
                    .operate(move |by, snapshot| keeping::hold_by_operator(by, snapshot, &reason))
                    .await?;
                let holds = changed.reply.get("holds").cloned().unwrap_or_default();
                out.say(
                    &json!({ "slug": slug, "holds": holds }),
                    &format!("{slug} is under a legal hold ({holds} in all)"),
                )?;
            }
            Self::Restored { slug, confirm } => restored(app, out, &slug, &confirm).await?,
            Self::Release { slug, reason } => {
                let changed = door(app, &slug)
                    .await?
                    .operate(move |by, snapshot| {
                        keeping::release_by_operator(by, snapshot, &reason)
                    })
                    .await?;
                let holds = changed.reply.get("holds").cloned().unwrap_or_default();
                out.say(
                    &json!({ "slug": slug, "holds": holds }),
                    &format!("released a legal hold of {slug} ({holds} stand)"),
                )?;
            }
        }
        Ok(())
    }
}

/// Begins another incarnation of a log.
async fn restored(app: &Arc<App>, out: &Out, slug: &str, confirm: &str) -> Outcome {
    if slug != confirm {
        return Err(format!(
            "this ends the present incarnation of the log of `{slug}`: repeat it with --confirm {slug}"
        )
        .into());
    }
    let id = log(app, slug).await?;
    let mut told = 0;
    let restored = app
        .restored(id, |done, of| {
            if done >= told + 50_000 {
                told = done;
                out.progress(&format!("checked {done} of {of} entries"));
            }
        })
        .await?;
    let before: Vec<_> = restored
        .iter()
        .map(|life| json!({ "incarnation": life.incarnation, "known_size": life.size }))
        .collect();
    let told: Vec<String> = restored.iter().map(ToString::to_string).collect();
    let told = told.join("\n");
    out.say(
        &json!({
            "slug": slug, "index": restored.first().map(|life| life.index.to_string()), "before": before,
        }),
        &format!(
            "{told}\nthe log has a new public key: `cedarkeep audit checkpoint {slug} --key`; the one before has vouched for it"
        ),
    )?;
    Ok(())
}

/// Forgets a person.
pub(super) async fn erase(
    app: &Arc<App>,
    out: &Out,
    slug: &str,
    member: &str,
    confirm: &str,
) -> Outcome {
    let person = Ref::of(Kind::User, member).ok_or_else(|| {
        format!("`{member}` is no person's id: `cedarkeep member list {slug}` shows them")
    })?;
    if member != confirm {
        return Err(format!(
            "this destroys what the log says about {member}: repeat it with --confirm {member}"
        )
        .into());
    }
    door(app, slug)
        .await?
        .operate(move |by, snapshot| keeping::erase_by_operator(by, snapshot, person))
        .await?;
    out.say(
        &json!({ "id": member, "erasing": true }),
        &format!(
            "{member} is forgotten; a running service writes it out of the log and records `data.erased`"
        ),
    )?;
    Ok(())
}
