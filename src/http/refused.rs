//! What the door refuses, in the words of a caller.

use std::collections::BTreeSet;

use super::problem::{Finding, Problem};
use crate::app::AppError;
use crate::decide::Refused;
use crate::decide::error::Unwritten;
use crate::decide::judge::Judgement;
use crate::decide::turn::AGAIN;
use crate::directory::DirectoryError;
use crate::policy::{Determining, PolicyError, Refusal, SUSPENDED};
use crate::tenant::TenantError;

/// Built-in policies that refuse whoever asks, whatever they ask about: their reasons give nothing away. No policy of an organization's own
/// has one of these ids.
const ABOUT_THE_CALLER: &[&str] = &[
    "active.acts_for",
    "active.user",
    "never.train_purpose",
    SUSPENDED,
    "services.acting_user",
    "services.audit",
    "services.content",
    "services.decide",
    "services.directory_read",
    "services.directory_write",
    "services.events",
    "services.explain",
    "services.policy",
    "services.search",
    "sso.enforced",
];

/// What is told of a policy that failed: Cedar's own words have values in them, and the log has those.
const FAILED: &str = "could not be evaluated";

/// Whether the refusal would be the same for anything that the caller could name.
pub(super) fn is_about_the_caller(judgement: &Judgement) -> bool {
    matches!(judgement.refusal, Some(Refusal::PlanRequired(_)))
        || about_the_caller(judgement).next().is_some()
}

fn about_the_caller(judgement: &Judgement) -> impl Iterator<Item = &Determining> {
    let determining = judgement.determining.iter();
    determining.filter(|one| ABOUT_THE_CALLER.contains(&&*one.id))
}

/// The policies that determined a judgement, with their reasons; one that failed stands beside them.
pub(super) fn policies(judgement: &Judgement) -> impl Iterator<Item = (String, Option<String>)> {
    let determining = judgement.determining.iter().map(told);
    // One may fail for each who must be allowed.
    let failed: BTreeSet<&str> = judgement
        .failures
        .iter()
        .map(|one| one.id.as_str())
        .collect();
    let failed = failed.into_iter();
    determining.chain(failed.map(|id| (id.to_owned(), Some(FAILED.to_owned()))))
}

fn told(one: &Determining) -> (String, Option<String>) {
    let id = one
        .link
        .clone()
        .map_or_else(|| one.id.to_string(), |link| format!("{}/{link}", one.id));
    (id, (!one.reason.is_empty()).then(|| one.reason.to_string()))
}

fn reasons(judgement: &Judgement) -> String {
    let mut all: Vec<_> = about_the_caller(judgement).map(told).collect();
    // Beside these, what else stands against it could say whether the thing is there.
    if all.is_empty() {
        all.extend(policies(judgement));
    }
    let reasons: Vec<String> = all
        .into_iter()
        .map(|(id, reason)| {
            reason.map_or_else(|| format!("({id})"), |reason| format!("{reason} ({id})"))
        })
        .collect();
    if reasons.is_empty() {
        "no policy permits it".into()
    } else {
        reasons.join(" ")
    }
}

/// What a caller of ours is told.
pub(super) fn problem(refused: Refused) -> Problem {
    match refused {
        Refused::Scope(judgement, _) => Problem::Forbidden(format!(
            "this key has not the scope for `{}`: {}",
            judgement.action,
            reasons(&judgement)
        )),
        Refused::Denied(judgement, _) => match &judgement.refusal {
            Some(Refusal::PlanRequired(plan)) => Problem::PlanRequired(format!(
                "the plan {plan} is needed: {}",
                reasons(&judgement)
            )),
            _ => Problem::Forbidden(format!(
                "`{}` is not allowed: {}",
                judgement.action,
                reasons(&judgement)
            )),
        },
        Refused::Question(error) => policy(error),
        unknown @ (Refused::Unknown { .. } | Refused::KeyReused | Refused::LockOut) => {
            match unknown {
                Refused::Unknown { .. } => Problem::Malformed(unknown.to_string()),
                _ => Problem::Conflict(unknown.to_string()),
            }
        }
        Refused::Directory(error) => directory(error),
        Refused::Nobody {
            what: "key" | "session",
        } => Problem::BadCredential,
        nobody @ Refused::Nobody { .. } => Problem::Forbidden(nobody.to_string()),
        Refused::Precondition => Problem::PreconditionFailed(refused.to_string()),
        Refused::Forgotten => Problem::Conflict(refused.to_string()),
        Refused::Unavailable => Problem::AuditUnavailable,
        Refused::Busy => Problem::TooMany(AGAIN),
    }
}

fn policy(error: PolicyError) -> Problem {
    let PolicyError::Refused(findings) = &error else {
        return Problem::Malformed(error.to_string());
    };
    let found = findings
        .iter()
        .map(|finding| Finding {
            message: finding.message.clone(),
            file: Some(finding.file.clone()),
            line: finding.line,
            column: finding.column,
            help: finding.help.clone(),
        })
        .collect();
    Problem::Findings(
        "the schema or the policies cannot be loaded, and nothing of them was".into(),
        found,
    )
}

fn directory(error: DirectoryError) -> Problem {
    match error {
        DirectoryError::NotFound { .. } => Problem::NotFound,
        DirectoryError::Taken { .. }
        | DirectoryError::Conflicting { .. }
        | DirectoryError::Invited { .. }
        | DirectoryError::NotEmpty { .. }
        | DirectoryError::Moved
        | DirectoryError::BreaksGlass { .. }
        | DirectoryError::LastAdmin { .. }
        | DirectoryError::Held
        | DirectoryError::Unmet { .. }
        | DirectoryError::KeysLive { .. }
        | DirectoryError::Rotating { .. }
        | DirectoryError::NotRotating { .. } => Problem::Conflict(error.to_string()),
        DirectoryError::NotApproved
        | DirectoryError::OneHand
        | DirectoryError::BeyondScope { .. }
        | DirectoryError::Suspended
        | DirectoryError::NoMember { .. }
        | DirectoryError::UsedUp
        | DirectoryError::MethodNotAllowed { .. } => Problem::Forbidden(error.to_string()),
        DirectoryError::DeadLink => Problem::BadLink,
        DirectoryError::Invalid { .. }
        | DirectoryError::Misfit(_)
        | DirectoryError::Line { .. }
        | DirectoryError::NoActingUser
        | DirectoryError::OwnEntity { .. } => Problem::Malformed(error.to_string()),
        DirectoryError::NoOrganization => Problem::Unavailable(error.to_string()),
        DirectoryError::WrongBody { .. }
        | DirectoryError::Undecided { .. }
        | DirectoryError::Cedar { .. } => {
            tracing::error!(%error, "the directory holds what it should not");
            Problem::Internal
        }
    }
}

/// What a caller is told when its tenant does not open.
pub(super) fn closed(error: &AppError) -> Problem {
    match error {
        AppError::Tenant(TenantError::NotFound { .. }) => Problem::BadCredential,
        AppError::Unwritten(error @ Unwritten::RolledBack { .. }) => {
            tracing::error!(%error, "a tenant is not served");
            Problem::RolledBack
        }
        AppError::Tenant(error) if error.keys_unavailable().is_some() => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(%error, cause, "a tenant does not open");
            let why = error.keys_unavailable().unwrap_or_default();
            Problem::KeysUnavailable(format!(
                "keys_unavailable: this organization cannot be opened, since {why}: try again"
            ))
        }
        error => {
            tracing::error!(%error, "a tenant does not open");
            Problem::Unavailable("this organization cannot be opened now: try again".into())
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use crate::policy::Library;

    #[test]
    fn what_is_about_the_caller_is_built_in() {
        let library = Library::builtin().unwrap();
        for id in ABOUT_THE_CALLER.iter().filter(|id| **id != SUSPENDED) {
            assert!(library.describe(id).is_some(), "{id}");
        }
        let forbids = library.policies().filter(|policy| {
            let id = policy.id().to_string();
            let about = ["active.", "services.", "sso."].into_iter();
            policy.effect() == cedar_policy::Effect::Forbid
                && about.into_iter().any(|room| id.starts_with(room))
        });
        for policy in forbids {
            let id = policy.id().to_string();
            assert!(ABOUT_THE_CALLER.contains(&id.as_str()), "{id}");
        }
    }
}
