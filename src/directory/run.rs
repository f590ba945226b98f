//! Runs of agents: started for whoever asks, ended with how, and cancelled; what one did is theirs alone.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DirectoryError;
use super::change::{Change, RowId};
use super::object::{AgentRun, Body, Kind, Object, Ref};
use super::snapshot::Snapshot;
use super::view;
use crate::decide::authorized::{self, AgentCancel, Authorized};
use crate::log::vocabulary::Event;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was started, and nobody has said how it ended.
    #[default]
    Running,
    /// It did what it was started for.
    Completed,
    /// It did not.
    Failed,
    /// It was told to stop.
    Cancelled,
}

impl std::str::FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "completed" => Ok(Self::Completed),
            "failed" => Ok(Self::Failed),
            _ => Err("it must be completed or failed: how a run that goes on has ended".into()),
        }
    }
}

/// The agent asked about runs for whoever acts.
///
/// # Errors
/// Nobody acts, or the agent is not there.
pub fn start(
    by: &Authorized<authorized::AgentRun>,
    snapshot: &Snapshot,
    id: [u8; 16],
) -> Result<Change, DirectoryError> {
    let owner = by.user().ok_or(DirectoryError::NoActingUser)?;
    snapshot.require_user(owner)?;
    let definition = by.resource();
    if definition.kind != Kind::AgentDefinition {
        return Err(DirectoryError::absent(definition));
    }
    snapshot.require_made(definition)?;
    let run = AgentRun {
        owner,
        definition,
        status: Status::Running,
        started_at: Some(by.now()),
        ended_at: None,
    };
    let reference = Ref::new(Kind::AgentRun, id);
    let details = json!({"definition": definition});
    Ok(put(
        snapshot,
        (Event::AgentRunStarted, details),
        reference,
        run,
    ))
}

/// The run asked about has ended, and how.
///
/// # Errors
/// It is not there, or has ended before.
pub fn end(
    by: &Authorized<authorized::AgentRun>,
    snapshot: &Snapshot,
    status: Status,
) -> Result<Change, DirectoryError> {
    ended(snapshot, by.resource(), (status, by.now()))
}

/// The run asked about is told to stop.
///
/// # Errors
/// It is not there, or has ended before.
pub fn cancel(by: &Authorized<AgentCancel>, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    ended(snapshot, by.resource(), (Status::Cancelled, by.now()))
}

/// The runs for somebody that nobody has ended.
fn running(snapshot: &Snapshot, user: Ref) -> impl Iterator<Item = (Ref, AgentRun)> {
    all_of(snapshot, user).filter_map(|reference| match &snapshot.lent(reference)?.value {
        Object::AgentRun(run) if run.status == Status::Running => Some((reference, run.clone())),
        _ => None,
    })
}

/// With what runs for somebody told to stop, since they may do nothing now.
pub(super) fn stop_all(
    snapshot: &Snapshot,
    user: Ref,
    change: Change,
    now: DateTime<Utc>,
) -> Change {
    let stopped: Vec<_> = running(snapshot, user).collect();
    stopped
        .into_iter()
        .fold(change, |change, (reference, run)| {
            let run = AgentRun {
                status: Status::Cancelled,
                ended_at: Some(now),
                ..run
            };
            let details = json!({"definition": run.definition, "why": "suspended"});
            change
                .put(
                    RowId::Object(reference),
                    Body::Object(Object::AgentRun(run)),
                )
                .and(Event::AgentRunCancelled, Some(reference), details)
        })
}

/// With every run for somebody ended, since they leave: those that nobody has ended are told to stop.
pub(super) fn end_all(snapshot: &Snapshot, user: Ref, mut change: Change) -> Change {
    for (reference, run) in running(snapshot, user) {
        let details = json!({"definition": run.definition, "why": "removed"});
        change = change.and(Event::AgentRunCancelled, Some(reference), details);
    }
    for reference in all_of(snapshot, user) {
        change = change.end(RowId::Object(reference));
    }
    change
}

/// Every run for somebody, ended or not.
pub(super) fn all_of(snapshot: &Snapshot, user: Ref) -> impl Iterator<Item = Ref> {
    snapshot.owned_of(user, Kind::AgentRun)
}

fn ended(
    snapshot: &Snapshot,
    reference: Ref,
    (status, now): (Status, DateTime<Utc>),
) -> Result<Change, DirectoryError> {
    let Object::AgentRun(old) = snapshot.require(reference)? else {
        return Err(DirectoryError::absent(reference));
    };
    if old.status != Status::Running {
        return Err(DirectoryError::conflicting("status", "the run has ended"));
    }
    let event = match status {
        Status::Running => return Err(DirectoryError::conflicting("status", "it runs now")),
        Status::Completed => Event::AgentRunCompleted,
        Status::Failed => Event::AgentRunFailed,
        Status::Cancelled => Event::AgentRunCancelled,
    };
    let run = AgentRun {
        status,
        ended_at: Some(now),
        ..old.clone()
    };
    let details = json!({"definition": run.definition});
    Ok(put(snapshot, (event, details), reference, run))
}

fn put(
    snapshot: &Snapshot,
    (event, details): (Event, Value),
    reference: Ref,
    run: AgentRun,
) -> Change {
    let object = Object::AgentRun(run);
    let reply = view::body(reference, &object, snapshot);
    Change::new(event, Some(reference), details)
        .put(RowId::Object(reference), Body::Object(object))
        .reply(reply)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::world::{World, id};
    use super::*;

    #[test]
    fn a_run_is_started_once_and_ends_once() {
        let mut world = World::new();
        let definition = world.definition();
        assert!(start(&world.by(world.team), &world.snapshot, id(90)).is_err());
        assert!(start(&world.by_nobody(definition), &world.snapshot, id(90)).is_err());
        world.apply(start(&world.by(definition), &world.snapshot, id(90)));
        let run = Ref::new(Kind::AgentRun, id(90));
        assert!(end(&world.by(run), &world.snapshot, Status::Running).is_err());
        let failed = end(&world.by(run), &world.snapshot, Status::Failed).unwrap();
        assert_eq!(failed.events.first().unwrap().event, Event::AgentRunFailed);
        world.apply(cancel(&world.by(run), &world.snapshot));
        assert!(end(&world.by(run), &world.snapshot, Status::Completed).is_err());
        assert!(cancel(&world.by(run), &world.snapshot).is_err());
        assert!(end(&world.by(definition), &world.snapshot, Status::Failed).is_err());
    }

    #[test]
    fn what_runs_for_somebody_ends_with_them() {
        let mut world = World::new();
        let definition = world.definition();
        world.apply(start(&world.by(definition), &world.snapshot, id(90)));
        world.apply(start(&world.by(definition), &world.snapshot, id(91)));
        let (over, runs) = (
            Ref::new(Kind::AgentRun, id(90)),
            Ref::new(Kind::AgentRun, id(91)),
        );
        world.apply(end(&world.by(over), &world.snapshot, Status::Completed));
        let view = view::body(runs, world.snapshot.require(runs).unwrap(), &world.snapshot);
        let owner = view.get("owner").unwrap().as_str().unwrap();
        let owner = Ref::of(Kind::User, owner).unwrap();
        let begin = || Change::new(Event::MemberSuspended, Some(owner), json!({}));
        let cancelled = |change: &Change| {
            let events = change.events.iter().skip(1);
            let cancelled = events.filter(|one| one.event == Event::AgentRunCancelled);
            cancelled.filter_map(|one| one.resource).collect::<Vec<_>>()
        };
        let left = end_all(&world.snapshot, owner, begin());
        assert_eq!(cancelled(&left), [runs]);
        assert_eq!(left.rows.len(), 2);
        let now = super::super::world::now();
        let stopped = stop_all(&world.snapshot, owner, begin(), now);
        assert_eq!(cancelled(&stopped), [runs]);
        world.apply(Ok(stopped));
        assert!(end(&world.by(runs), &world.snapshot, Status::Completed).is_err());
        let again = stop_all(&world.snapshot, owner, begin(), now);
        assert_eq!((again.rows.len(), again.events.len()), (0, 1));
    }
}
