//! Policies at the command line: those in a folder, which need no service, and those of an organization.

mod admin;
mod diff;
pub(super) mod folder;
mod format;
mod lifecycle;
mod place;
mod prove;
mod replay;
mod test;
mod validate;

use std::sync::Arc;

use clap::Subcommand;

use self::admin::{Approve, Check, Conditions, Saying, Shadow};
use self::lifecycle::{Activate, Deed, Pull, Push, Rollback, Versions};
use super::Outcome;
use super::print::Out;
use crate::app::App;

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    Test(test::Test),
    Validate(validate::Validate),
    Format(format::Format),
    Diff(Box<diff::Diff>),
    Prove(Box<prove::Prove>),
    Push(Box<Push>),
    Pull(Box<Pull>),
    Versions(Box<Versions>),
    Check(Box<Check>),
    Approve(Box<Approve>),
    Conditions(Box<Conditions>),
    Shadow(Box<Shadow>),
    Activate(Box<Activate>),
    Rollback(Box<Rollback>),
    Replay(Box<replay::Replay>),
}

impl Policy {
    /// What is about files alone, or a service elsewhere, and reads no settings; nothing for the rest.
    pub(super) fn offline(&self, out: &Out) -> Option<Outcome> {
        match self {
            Self::Test(test) => Some(test.run(out)),
            Self::Validate(validate) => Some(validate.run(out)),
            Self::Format(format) => Some(format.run(out)),
            Self::Prove(prove) => Some(prove.run(out)),
            Self::Diff(diff) => diff.elsewhere(out),
            Self::Replay(_) => None,
            other => match (other.deed(), other.saying()) {
                (Some(deed), _) => deed.elsewhere(out),
                (_, Some(saying)) => saying.elsewhere(out),
                _ => None,
            },
        }
    }

    pub(super) async fn run(self, app: &Arc<App>, out: &Out) -> Outcome {
        match &self {
            // Those ran before there was an app.
            Self::Test(_) | Self::Validate(_) | Self::Format(_) | Self::Prove(_) => Ok(()),
            Self::Diff(diff) => diff.here(app, out).await,
            Self::Replay(_) => self.replay(app, out).await,
            other => match (other.deed(), other.saying()) {
                (Some(deed), _) => deed.here(app, out).await,
                (_, Some(saying)) => saying.here(app, out).await,
                _ => Ok(()),
            },
        }
    }

    async fn replay(self, app: &Arc<App>, out: &Out) -> Outcome {
        match self {
            Self::Replay(replay) => replay.run(app, out).await,
            _ => Ok(()),
        }
    }

    fn deed(&self) -> Option<Deed<'_>> {
        Some(match self {
            Self::Push(push) => Deed::Push(push),
            Self::Pull(pull) => Deed::Pull(pull),
            Self::Versions(versions) => Deed::Versions(versions),
            Self::Activate(activate) => Deed::Activate(activate),
            Self::Rollback(rollback) => Deed::Rollback(rollback),
            _ => return None,
        })
    }

    fn saying(&self) -> Option<Saying<'_>> {
        Some(match self {
            Self::Check(check) => Saying::Check(check),
            Self::Approve(approve) => Saying::Approve(approve),
            Self::Conditions(conditions) => Saying::Conditions(conditions),
            Self::Shadow(shadow) => Saying::Shadow(shadow),
            _ => return None,
        })
    }
}
