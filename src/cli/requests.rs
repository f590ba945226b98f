//! `cedarkeep member requests`: who has asked for access to what, for the operator.

use super::Outcome;
use super::print::Out;
use crate::decide::Door;
use crate::directory::Object;
use crate::directory::request::{self, Status};
use crate::directory::view;

/// Lists the requests for access that are open, or all that are kept.
pub(super) fn list(door: &Door, out: &Out, all: bool) -> Outcome {
    let world = door.glance();
    let snapshot = world.snapshot();
    for (id, asked) in request::all(snapshot) {
        if !all && asked.status != Status::Open {
            continue;
        }
        let (owner, resource, level) = (asked.owner, asked.resource, asked.level.name());
        let status = asked.status.as_str();
        let wished = asked.minutes.map_or_else(
            || "without an end".to_owned(),
            |minutes| format!("for {minutes} minutes"),
        );
        let until = asked.lapses_at.to_rfc3339();
        out.say(
            &view::view(id, &Object::AccessRequest(asked.clone()), snapshot),
            &format!(
                "{id}  {owner}  {level} of {resource} {wished}  {status}, until {until}: {}",
                asked.reason
            ),
        )?;
    }
    Ok(())
}
