//! Events that happened in an app: which of them a back end may report, and how they are recorded. They change nothing here.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::DirectoryError;
use super::change::{Change, Happening, Reported};
use super::object::{Kind, Ref};
use super::snapshot::Snapshot;
use crate::decide::authorized::{Authorized, EventRecord};
use crate::log::entry::{Outcome, Refusal};
use crate::log::vocabulary::Event;

/// How many are reported at once.
pub const AT_ONCE: usize = 100;

/// How long the details of one may be, in bytes of JSON.
pub const DETAILS_LIMIT: usize = 4_096;

/// How far the app's clock may be from ours, or how late it may report.
pub const AWAY: TimeDelta = TimeDelta::hours(24);

/// What an app may report: what happens there alone. All else is recorded by the call that does it.
const OF_APPS: &[Event] = &[
    Event::UserLogin,
    Event::UserLoginFailed,
    Event::UserLogout,
    Event::IntegrationUsed,
];

/// Why something failed there, in words that the log has.
const REASONS: &[Refusal] = &[
    Refusal::UnknownCredential,
    Refusal::WrongCredential,
    Refusal::Expired,
    Refusal::Revoked,
    Refusal::Suspended,
    Refusal::LockedOut,
    Refusal::MethodNotAllowed,
    Refusal::RateLimited,
    Refusal::Invalid,
    Refusal::Unavailable,
    Refusal::Cancelled,
];

/// One that an app reports.
#[derive(Debug, Clone)]
pub struct Happened {
    /// Which.
    pub event: Event,
    /// The person.
    pub actor: Ref,
    /// The integration that was used.
    pub resource: Option<Ref>,
    /// How it ended.
    pub outcome: Outcome,
    /// When, by the app's clock.
    pub at: DateTime<Utc>,
    /// What else there is to say: sealed under the person's key.
    pub details: Map<String, Value>,
}

/// An event of this name, where an app may report it.
///
/// # Errors
/// It is none, or one that is recorded where it happens: in words for whoever reported it.
pub fn event(name: &str) -> Result<Event, String> {
    let found = OF_APPS.iter().find(|event| event.as_str() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = OF_APPS.iter().map(|event| event.as_str()).collect();
        format!(
            "it must be one of {}: everything else is recorded by the call that does it",
            names.join(", ")
        )
    })
}

/// The word for why something failed.
///
/// # Errors
/// It is none: in words for whoever reported it.
pub fn reason(name: &str) -> Result<Refusal, String> {
    let found = REASONS.iter().find(|reason| reason.as_str() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = REASONS.iter().map(|reason| reason.as_str()).collect();
        format!("it must be one of {}", names.join(", "))
    })
}

/// Records them, all or none.
///
/// # Errors
/// None or too many, or one that cannot be: which, and why.
pub fn report(
    by: &Authorized<EventRecord>,
    snapshot: &Snapshot,
    happened: &[Happened],
) -> Result<Change, DirectoryError> {
    if !(1..=AT_ONCE).contains(&happened.len()) {
        return Err(DirectoryError::invalid(
            "events",
            format!("there must be 1 to {AT_ONCE}"),
        ));
    }
    let mut events = Vec::with_capacity(happened.len());
    for (number, one) in happened.iter().enumerate() {
        fits(snapshot, one, by.now())
            .map_err(|why| DirectoryError::invalid("events", format!("number {number}: {why}")))?;
        events.push(Happening {
            event: one.event,
            resource: one.resource,
            details: json!({"reported": true, "at": one.at, "details": one.details}),
            fact: None,
            reported: Some(Reported {
                actor: one.actor,
                outcome: one.outcome,
            }),
        });
    }
    let mut change = Change::nothing(json!({"recorded": events.len()}));
    change.events = events;
    Ok(change)
}

fn fits(snapshot: &Snapshot, one: &Happened, now: DateTime<Utc>) -> Result<(), String> {
    if snapshot.user(one.actor).is_none() {
        return Err(format!("`actor`: there is no person `{}`", one.actor));
    }
    match (one.event, one.resource) {
        (Event::IntegrationUsed, Some(resource)) => {
            if resource.kind != Kind::Integration || snapshot.object(resource).is_none() {
                return Err(format!("`resource`: there is no integration `{resource}`"));
            }
        }
        (Event::IntegrationUsed, None) => {
            return Err("`resource`: the integration that was used is missing".into());
        }
        (_, Some(_)) => return Err("`resource`: this event is of a person alone".into()),
        (_, None) => {}
    }
    let failed = matches!(one.outcome, Outcome::Failed(_));
    match one.event {
        Event::UserLoginFailed if !failed => return Err("`outcome`: it is `failed`".into()),
        Event::UserLogin | Event::UserLogout if failed => {
            return Err("`outcome`: it is `ok`; what failed is `user.login_failed`".into());
        }
        _ => {}
    }
    if (one.at - now).abs() > AWAY {
        return Err("`at`: it is more than 24 hours from now".into());
    }
    let length = Value::Object(one.details.clone()).to_string().len();
    if length > DETAILS_LIMIT {
        return Err(format!(
            "`details`: they are longer than {DETAILS_LIMIT} bytes"
        ));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::world::{World, now};
    use super::*;

    fn login(world: &World) -> Happened {
        Happened {
            event: Event::UserLogin,
            actor: world.bob,
            resource: None,
            outcome: Outcome::Ok,
            at: now(),
            details: Map::new(),
        }
    }

    #[test]
    fn what_is_reported_says_that_it_is_and_changes_no_row() {
        let world = World::new();
        let by = world.by_nobody::<EventRecord>(Ref::new(Kind::AuditLog, world.org.id));
        let change = report(&by, &world.snapshot, &[login(&world), login(&world)]).unwrap();
        assert!(change.rows.is_empty());
        assert_eq!(change.events.len(), 2);
        let first = change.events.first().unwrap();
        assert_eq!(first.details.get("reported"), Some(&json!(true)));
        assert_eq!(first.reported.unwrap().actor, world.bob);
    }

    #[test]
    fn one_that_cannot_be_refuses_all() {
        let mut world = World::new();
        let integration = world.integration_for_the_team();
        let by = world.by_nobody::<EventRecord>(Ref::new(Kind::AuditLog, world.org.id));
        let good = login(&world);
        let used = Happened {
            event: Event::IntegrationUsed,
            resource: Some(integration),
            ..good.clone()
        };
        let told = |events: &[Happened]| report(&by, &world.snapshot, events);
        assert!(told(&[good.clone(), used.clone()]).is_ok());
        let late = good.at - AWAY;
        let wrong = [
            Happened {
                actor: world.team,
                ..good.clone()
            },
            Happened {
                actor: Ref::new(Kind::User, [9; 16]),
                ..good.clone()
            },
            Happened {
                resource: Some(integration),
                ..good.clone()
            },
            Happened {
                outcome: Outcome::Failed(Refusal::Invalid),
                ..good.clone()
            },
            Happened {
                event: Event::UserLoginFailed,
                ..good.clone()
            },
            Happened {
                at: late - TimeDelta::seconds(1),
                ..good.clone()
            },
            Happened {
                at: good.at + AWAY + TimeDelta::seconds(1),
                ..good.clone()
            },
            Happened {
                details: Map::from_iter([("x".to_owned(), "y".repeat(DETAILS_LIMIT).into())]),
                ..good.clone()
            },
            Happened {
                resource: None,
                ..used.clone()
            },
            Happened {
                resource: Some(world.team),
                ..used.clone()
            },
        ];
        for one in wrong {
            let refused = told(&[good.clone(), one.clone()]).unwrap_err();
            assert!(
                refused.to_string().contains("number 1"),
                "{refused}: {one:?}"
            );
        }
        assert!(
            told(&[Happened {
                at: late,
                ..good.clone()
            }])
            .is_ok()
        );
        assert!(told(&[]).is_err());
        assert!(told(&vec![good.clone(); AT_ONCE + 1]).is_err());
    }

    #[test]
    fn an_app_reports_what_happens_there_alone() {
        assert_eq!(event("user.logout"), Ok(Event::UserLogout));
        for ours in [
            "decision.made",
            "member.joined",
            "agent.run_started",
            "audit_log.read",
            "nothing",
        ] {
            assert!(event(ours).is_err(), "{ours}");
        }
        assert_eq!(reason("expired"), Ok(Refusal::Expired));
        assert!(reason("forbidden").is_err());
    }
}
