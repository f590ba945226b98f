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

fn ended(
    snapshot: &Snapshot,
    reference: Ref,
    (status, now): (Status, DateTime<Utc>),
) -> Result<Change, DirectoryError> {
    let Object::AgentRun(old) = snapshot.require(reference)? else {
        return Err(DirectoryError::absent(reference));
    };
    if old.status != Status::Running {
        return Err(DirectoryError::invalid("status", "the run has ended"));
    }
    let event = match status {
        Status::Running => return Err(DirectoryError::invalid("status", "it runs now")),
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
}
