//! Policies at the command line: those in a folder, which need no service, and those of an organization.

mod diff;
mod folder;
mod format;
mod replay;
mod test;
mod validate;

use std::sync::Arc;

use clap::Subcommand;

use super::Outcome;
use super::org::door;
use super::print::Out;
use crate::app::App;
use crate::directory::policies;

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    Test(test::Test),
    Validate(validate::Validate),
    Format(format::Format),
    Diff(diff::Diff),
    /// Take every policy of the organization's own out of force: the way back in when Admins are locked out
    Rollback {
        /// The organization
        #[arg(long = "operator", value_name = "SLUG")]
        slug: String,
    },
    Replay(Box<replay::Replay>),
}

impl Policy {
    /// What is about files alone, and reads no settings; nothing for the rest.
    pub(super) fn offline(&self, out: &Out) -> Option<Outcome> {
        match self {
            Self::Test(test) => Some(test.run(out)),
            Self::Validate(validate) => Some(validate.run(out)),
            Self::Format(format) => Some(format.run(out)),
            Self::Diff(diff) => Some(diff.run(out)),
            Self::Rollback { .. } | Self::Replay(_) => None,
        }
    }

    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        match self {
            // Those ran before there was an app.
            Self::Test(_) | Self::Validate(_) | Self::Format(_) | Self::Diff(_) => {}
            Self::Replay(replay) => replay.run(app, out).await?,
            Self::Rollback { slug } => {
                let changed = door(app, &slug).await?.operate(policies::clear).await?;
                out.say(
                    &changed.reply,
                    &format!("{slug} is governed by the built-in policies alone"),
                )?;
            }
        }
        Ok(())
    }
}
