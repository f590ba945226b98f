//! Policies at the command line: those in a folder, which need no service, and those of an organization.

mod folder;
mod prove;

use std::sync::Arc;

use clap::Subcommand;

use super::Outcome;
use super::org::door;
use super::print::Out;
use crate::app::App;
use crate::directory::own;

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Prove, for all requests, that the guardrails hold beside the policies of a folder, and say what is odd about those
    Prove(prove::Prove),
    /// Take every policy of the organization's own out of force: the way back in when Admins are locked out
    Rollback {
        /// The organization
        #[arg(long = "operator", value_name = "SLUG")]
        slug: String,
    },
}

impl Policy {
    /// What is about files alone, and reads no settings; nothing for the rest.
    pub(super) fn offline(&self, out: &Out) -> Option<Outcome> {
        match self {
            Self::Prove(prove) => Some(prove.run(out)),
            Self::Rollback { .. } => None,
        }
    }

    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        match self {
            Self::Prove(_) => {}
            Self::Rollback { slug } => {
                let changed = door(app, &slug)
                    .await?
                    .operate(own::rollback_library)
                    .await?;
                out.say(
                    &changed.reply,
                    &format!("{slug} is governed by the built-in policies alone"),
                )?;
            }
        }
        Ok(())
    }
}
