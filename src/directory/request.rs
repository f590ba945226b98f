//! Requests for access: somebody asks whoever may share something to share it with them, and says why and for how long.
//!
//! Whether what they ask for is there they are not told: a request about nothing is kept like any other, seen by nobody else, and lapses.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::change::{Change, RowId};
use super::expiry::MINUTES_MOST;
use super::object::{Body, Kind, Level, Object, Ref};
use super::snapshot::Snapshot;
use super::{DirectoryError, unreadable, view};
use crate::decide::authorized::{AccessRequest, AccessWithdraw, Authorized, Operator};
use crate::log::vocabulary::Event;

pub mod deciding;

/// For how long a request may be decided, in days.
pub const DAYS: i64 = 14;

/// How many requests of one person may be open at once.
pub const OPEN_MOST: usize = 20;

/// The longest reason, in bytes.
const REASON_LIMIT: usize = 500;

/// For how long whoever asked sees what became of it, in days, and of how many requests at most: what is beyond goes with their next one.
const SEEN_DAYS: i64 = 30;
const SEEN_MOST: usize = 50;

/// How many are said to have lapsed in one change.
const LAPSED_AT_ONCE: usize = 200;

/// Somebody's wish to have something shared with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks.
    pub owner: Ref,
    /// For what, as they named it: it need not be there.
    pub resource: Ref,
    /// How much.
    pub level: Level,
    /// Why.
    pub reason: String,
    /// For how many minutes from when it is approved; without an end if absent.
    pub minutes: Option<u32>,
    /// When they asked.
    pub asked_at: DateTime<Utc>,
    /// When it lapses, if nobody has decided.
    pub lapses_at: DateTime<Utc>,
    /// What became of it.
    pub status: Status,
    /// Since when it is not open any more.
    pub closed_at: Option<DateTime<Utc>>,
    /// What was given, where it was approved.
    pub given: Option<Given>,
}

/// What has become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing yet.
    Open,
    /// It was shared with whoever asked.
    Approved,
    /// Whoever may share it does not.
    Declined,
    /// Whoever asked does not want it any more.
    Withdrawn,
    /// Nobody has decided in time.
    Lapsed,
}

impl Status {
    /// Every one of them.
    pub const ALL: &'static [Self] = &[
        Self::Open,
        Self::Approved,
        Self::Declined,
        Self::Withdrawn,
        Self::Lapsed,
    ];

    /// As callers are told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Withdrawn => "withdrawn",
            Self::Lapsed => "lapsed",
        }
    }
}

/// What was given on a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The share's identifier.
    pub share: String,
    /// How much.
    pub level: Level,
    /// End when; without an end if absent.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Request {
    /// Whether it may still be decided.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.status == Status::Open && now < self.lapses_at
    }

    fn closed(&self, status: Status, now: DateTime<Utc>) -> Self {
        Self {
            status,
            closed_at: Some(now),
            ..self.clone()
        }
    }
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Access to what.
    pub resource: Ref,
    /// How much.
    pub level: Level,
    /// Why.
    pub reason: String,
    /// For how many minutes.
    pub minutes: Option<u32>,
}

/// The attribute by which a request names what it is about.
pub(super) const fn names_by(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Thread => Some("thread"),
        Kind::PromptTemplate => Some("prompt_template"),
        Kind::Tool => Some("tool"),
        Kind::Assistant => Some("assistant"),
        Kind::AgentDefinition => Some("agent"),
        Kind::AuditLog => Some("log"),
        _ => None,
    }
}

/// Asks for access. Whether what is asked for is there makes no difference to what whoever asks is told.
///
/// # Errors
/// Nobody acts; a level that is not one of what is asked for, a reason that cannot be read, a time that is too long; they ask for the same
/// already, or for too much.
pub fn ask(
    by: &Authorized<AccessRequest>,
    snapshot: &Snapshot,
    id: [u8; 16],
    asking: &Asking,
) -> Result<Change, DirectoryError> {
    let owner = by.user().ok_or(DirectoryError::NoActingUser)?;
    snapshot.require_user(owner)?;
    let now = by.now();
    fits(asking)?;
    let theirs: Vec<(Ref, &Request)> = of_person(snapshot, owner).collect();
    let open = || theirs.iter().filter(|(_, one)| one.is_open(now));
    if let Some((same, _)) = open().find(|(_, one)| one.resource == asking.resource) {
        return Err(DirectoryError::Conflicting {
            why: format!("you ask for that already, in `{same}`: withdraw it first"),
        });
    }
    if open().count() >= OPEN_MOST {
        return Err(DirectoryError::Conflicting {
            why: format!(
                "you have {OPEN_MOST} open requests: withdraw one, or wait until one is decided"
            ),
        });
    }
    let request = Request {
        owner,
        resource: asking.resource,
        level: asking.level,
        reason: reason(&asking.reason)?,
        minutes: asking.minutes,
        asked_at: now,
        lapses_at: now + Duration::days(DAYS),
        status: Status::Open,
        closed_at: None,
        given: None,
    };
    let details = json!({
        "resource": request.resource, "level": request.level.name(), "reason": request.reason,
        "for_minutes": request.minutes, "lapses_at": request.lapses_at,
    });
    let reference = Ref::new(Kind::AccessRequest, id);
    let change = Change::new(Event::AccessRequested, Some(reference), details);
    let mut change = put(snapshot, change, reference, request);
    for old in beyond(&theirs, now) {
        change = change.end(RowId::Object(old));
    }
    Ok(change)
}

/// Whoever asked does not want it any more.
///
/// # Errors
/// It is not there, or not open.
pub fn withdraw(
    by: &Authorized<AccessWithdraw>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    ended(snapshot, by.resource(), Status::Withdrawn, by.now())
}

/// Those whose time is over and of which the log does not say so yet.
pub fn due(snapshot: &Snapshot, now: DateTime<Utc>) -> impl Iterator<Item = (Ref, &Request)> {
    all(snapshot)
        .filter(move |(_, request)| request.status == Status::Open && now >= request.lapses_at)
}

/// Says of those whose time is over that they have lapsed, of some of them at a time.
///
/// # Errors
/// There are none.
pub fn lapse(by: &Operator, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let mut change: Option<Change> = None;
    for (reference, found) in due(snapshot, by.now()).take(LAPSED_AT_ONCE) {
        let with = match change.take() {
            None => Change::new(Event::AccessLapsed, Some(reference), json!({})),
            Some(change) => change.and(Event::AccessLapsed, Some(reference), json!({})),
        };
        let body = Object::AccessRequest(found.closed(Status::Lapsed, by.now()));
        change = Some(with.put(RowId::Object(reference), Body::Object(body)));
    }
    change.ok_or_else(|| DirectoryError::invalid("access_request", "none has lapsed"))
}

/// Every request that there is.
pub fn all(snapshot: &Snapshot) -> impl Iterator<Item = (Ref, &Request)> {
    snapshot
        .objects_of(Kind::AccessRequest, None)
        .filter_map(|(reference, stored)| match &stored.value {
            Object::AccessRequest(request) => Some((reference, request)),
            _ => None,
        })
}

/// A request that must be there.
///
/// # Errors
/// It is not.
pub fn required(snapshot: &Snapshot, reference: Ref) -> Result<&Request, DirectoryError> {
    match snapshot.require(reference)? {
        Object::AccessRequest(request) => Ok(request),
        _ => Err(DirectoryError::absent(reference)),
    }
}

/// What a person has asked for.
pub(super) fn of_person(snapshot: &Snapshot, user: Ref) -> impl Iterator<Item = (Ref, &Request)> {
    let theirs = snapshot.owned(user, Kind::AccessRequest);
    theirs.filter_map(|(reference, object)| match object {
        Object::AccessRequest(request) => Some((reference, request)),
        _ => None,
    })
}

/// A person's requests end with this change, which is about the person.
pub(super) fn end_all(snapshot: &Snapshot, user: Ref, mut change: Change) -> Change {
    for (reference, _) in of_person(snapshot, user) {
        change = change.end(RowId::Object(reference));
    }
    change
}

fn open(request: &Request, now: DateTime<Utc>) -> Result<(), DirectoryError> {
    let why = match request.status {
        Status::Open if now < request.lapses_at => return Ok(()),
        Status::Open | Status::Lapsed => "it has lapsed: whoever asked may ask again".to_owned(),
        status => format!("it is not open any more: it was {}", status.as_str()),
    };
    Err(DirectoryError::Conflicting { why })
}

fn ended(
    snapshot: &Snapshot,
    reference: Ref,
    status: Status,
    now: DateTime<Utc>,
) -> Result<Change, DirectoryError> {
    let request = required(snapshot, reference)?;
    open(request, now)?;
    let event = match status {
        Status::Withdrawn => Event::AccessWithdrawn,
        _ => Event::AccessDeclined,
    };
    let details = json!({"resource": request.resource, "owner": request.owner});
    let change = Change::new(event, Some(reference), details);
    Ok(put(
        snapshot,
        change,
        reference,
        request.closed(status, now),
    ))
}

fn put(snapshot: &Snapshot, change: Change, reference: Ref, request: Request) -> Change {
    let object = Object::AccessRequest(request);
    let reply = view::body(reference, &object, snapshot);
    change
        .put(RowId::Object(reference), Body::Object(object))
        .reply(reply)
}

/// Those that whoever asked need not see any more.
fn beyond(theirs: &[(Ref, &Request)], now: DateTime<Utc>) -> Vec<Ref> {
    let mut closed: Vec<(DateTime<Utc>, Ref)> = theirs
        .iter()
        .filter_map(|(reference, one)| Some((one.closed_at?, *reference)))
        .collect();
    closed.sort_unstable_by(|one, other| other.cmp(one));
    let since = now - Duration::days(SEEN_DAYS);
    let numbered = closed.into_iter().enumerate();
    numbered
        .filter(|(number, (at, _))| *number >= SEEN_MOST || *at < since)
        .map(|(_, (_, reference))| reference)
        .collect()
}

fn fits(asking: &Asking) -> Result<(), DirectoryError> {
    if names_by(asking.resource.kind).is_none() {
        return Err(DirectoryError::invalid("resource", "it is never shared"));
    }
    let of_log = asking.resource.kind == Kind::AuditLog;
    if of_log != (asking.level == Level::Auditor) {
        let why = match of_log {
            true => "the log is shared with the level `auditor` alone",
            false => "`auditor` is for the log alone",
        };
        return Err(DirectoryError::invalid("level", why));
    }
    match asking.minutes {
        Some(minutes) if !(1..=MINUTES_MOST).contains(&minutes) => Err(DirectoryError::invalid(
            "for_minutes",
            format!("it must lie between 1 and {MINUTES_MOST}"),
        )),
        _ => Ok(()),
    }
}

fn reason(text: &str) -> Result<String, DirectoryError> {
    let text = text.trim();
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > REASON_LIMIT {
        "it is longer than 500 bytes"
    } else if text.chars().any(unreadable) {
        "it has control characters, or characters that change the direction of writing"
    } else {
        return Ok(text.to_owned());
    };
    Err(DirectoryError::invalid("reason", why))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::keeping::erase_by_operator;
    use super::super::made::{Audience, delete};
    use super::super::people::remove;
    use super::super::share;
    use super::super::world::{World, id, now};
    use super::*;
    use crate::decide::authorized::ThreadDelete;
    use crate::policy::View as _;

    pub(super) fn asking(resource: Ref) -> Asking {
        Asking {
            resource,
            level: Level::Commenter,
            reason: "  to answer it ".into(),
            minutes: Some(60),
        }
    }

    pub(super) fn asked(
        world: &World,
        number: u8,
        asking: &Asking,
    ) -> Result<Change, DirectoryError> {
        let by = world.by_user::<AccessRequest>(world.bob, world.org);
        ask(&by, &world.snapshot, id(number), asking)
    }

    pub(super) fn named(number: u8) -> Ref {
        Ref::new(Kind::AccessRequest, id(number))
    }

    /// Ada's private thread, which Bob has asked for.
    pub(super) fn wanted() -> (World, Ref) {
        let mut world = World::new();
        let thread = world.thread(Audience::Private);
        world.apply(asked(&world, 90, &asking(thread)));
        (world, thread)
    }

    pub(super) fn later(days: i64) -> Operator {
        Operator::in_test(now() + Duration::days(days))
    }

    #[test]
    fn one_of_each_thing_is_open_and_twenty_in_all() {
        let (mut world, thread) = wanted();
        let nothing = |number| Ref::new(Kind::Tool, id(number));
        let same = asked(&world, 91, &asking(thread)).unwrap_err();
        assert!(same.to_string().contains(&named(90).to_string()));
        for number in 0..19 {
            world.apply(asked(&world, 100 + number, &asking(nothing(number))));
        }
        let many = asked(&world, 91, &asking(nothing(99))).unwrap_err();
        assert!(many.to_string().contains("20 open requests"));
        let by = world.by_user(world.bob, named(90));
        world.apply(withdraw(&by, &world.snapshot));
        world.apply(asked(&world, 91, &asking(thread)));
    }

    #[test]
    fn a_request_that_cannot_be_meant_is_refused() {
        let world = World::new();
        let thread = Ref::new(Kind::Thread, id(99));
        let log = share::audit_log(&world.snapshot);
        let wrong = [
            Asking {
                resource: world.team,
                ..asking(thread)
            },
            asking(log),
            Asking {
                level: Level::Auditor,
                ..asking(thread)
            },
            Asking {
                minutes: Some(0),
                ..asking(thread)
            },
            Asking {
                minutes: Some(MINUTES_MOST + 1),
                ..asking(thread)
            },
            Asking {
                reason: " ".into(),
                ..asking(thread)
            },
            Asking {
                reason: "x".repeat(501),
                ..asking(thread)
            },
            Asking {
                reason: "a\u{202e}b".into(),
                ..asking(thread)
            },
        ];
        for wrong in &wrong {
            let refused = asked(&world, 90, wrong);
            assert!(
                matches!(refused, Err(DirectoryError::Invalid { .. })),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn what_is_not_there_makes_no_difference_to_what_is_told() {
        let mut world = World::new();
        let thread = world.thread(Audience::Private);
        let nothing = Ref::new(Kind::Thread, id(99));
        let there = asked(&world, 90, &asking(thread)).unwrap();
        let not_there = asked(&world, 90, &asking(nothing)).unwrap();
        let without = |change: &Change, about: Ref| {
            let text = format!("{:?} {}", change.events, change.reply);
            text.replace(&about.to_string(), "it")
        };
        assert_eq!(without(&there, thread), without(&not_there, nothing));
        // To policies one names something, and the other does not, from the moment that it is gone.
        let names = |world: &World, number| {
            let seen = world.snapshot.attribute(&named(number).into(), "thread");
            matches!(seen, crate::policy::Attribute::Is(_))
        };
        world.apply(Ok(there));
        world.apply(asked(&world, 91, &asking(nothing)));
        assert_eq!((names(&world, 90), names(&world, 91)), (true, false));
        let deleted = delete(&world.by::<ThreadDelete>(thread), &world.snapshot);
        let before = world.snapshot.object(named(90)).unwrap().clone();
        world.apply(deleted);
        assert!(!names(&world, 90));
        let after = world.snapshot.object(named(90)).unwrap();
        assert_eq!(
            (&after.value, after.from_index),
            (&before.value, before.from_index)
        );
    }

    #[test]
    fn a_persons_requests_end_with_them() {
        let (mut world, _) = wanted();
        let erased = erase_by_operator(&later(0), &world.snapshot, world.bob).unwrap();
        assert!(world.with(&erased).object(named(90)).is_none());
        world.apply(remove(&world.by(world.bob), &world.snapshot));
        assert!(world.snapshot.object(named(90)).is_none());
    }

    #[test]
    fn what_became_of_a_request_is_kept_for_a_while() {
        let (mut world, thread) = wanted();
        let by = world.by_user(world.bob, named(90));
        world.apply(withdraw(&by, &world.snapshot));
        let again = |days| {
            let time = now() + Duration::days(days);
            let by = Authorized::in_test(Some(world.bob), world.org, time);
            let change = ask(&by, &world.snapshot, id(91), &asking(thread)).unwrap();
            world.with(&change).object(named(90)).is_some()
        };
        assert!(again(SEEN_DAYS));
        assert!(!again(SEEN_DAYS + 1));
        let request = required(&world.snapshot, named(90)).unwrap();
        let many: Vec<(Ref, &Request)> = (0..60).map(|number| (named(number), request)).collect();
        assert_eq!(beyond(&many, now()).len(), 60 - SEEN_MOST);
    }
}
