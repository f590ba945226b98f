//! A version found out about over HTTP: proofs and a replay, told line by line, and kept beside it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::replays;
use super::versions::number;
use crate::app::App;
use crate::app::checking::{NotChecked, Wanted};
use crate::decide::replay::{Given, NotReplayed};
use crate::http::call::Call;
use crate::http::document::calls::{Acting, Problems};
use crate::http::document::policies::checks::{CheckLine, NewPolicyCheck};
use crate::http::fields::Fields;
use crate::http::lines;
use crate::http::problem::Problem;
use crate::http::refused;

/// Find out what a version does, before it counts: whether every guardrail holds for all requests, how it differs from what counts, what it
/// would have decided otherwise.
///
/// What is found is kept beside the version; the organization's conditions look at it for a day. Lines are JSON, each a `CheckLine`: `progress`
/// while it goes on, then `report`, or `problem` where it could not end. Where no solver is on the node, `no_proof` says so.
#[utoipa::path(post, path = "/v1/policy-versions/{version}/check", tag = "Policies", operation_id = "check_policy_version",
    params(("version" = u64, Path, minimum = 1, description = "its number"), Acting),
    request_body = NewPolicyCheck,
    responses((status = 200, description = "lines of JSON, each a `CheckLine`", body = CheckLine, content_type = "application/x-ndjson"), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn check(
    State(app): State<Arc<App>>,
    call: Call,
    mut body: Fields,
) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let (since, until) = (body.maybe_text("since")?, body.maybe_text("until")?);
    let given = Given {
        last: body.maybe_number("last")?,
        from: body.maybe_number("from")?,
        to: body.maybe_number("to")?,
        since: since.as_deref(),
        until: until.as_deref(),
    };
    let range = match given == Given::default() {
        true => None,
        false => Some(given.range().map_err(replays::problem)?),
    };
    let replays = body.maybe_flag("replay")?.unwrap_or(true);
    let wanted = Wanted {
        number: number(&call)?,
        proof: body.maybe_flag("proof")?.unwrap_or(true),
        replay: replays.then_some(range),
    };
    body.finish()?;
    // Whoever may not is told with a status, and not in a line.
    let (door, asker) = (Arc::clone(call.door()), call.asker());
    app.may_check(&door, &asker, wanted)
        .await
        .map_err(refused::problem)?;
    Ok(lines::told(async move |teller| {
        let told = move |step: crate::app::checking::Step| teller.tell(&step.to_json());
        match app.check(&door, &asker, wanted, told).await {
            Ok(found) => Some(Ok(serde_json::json!({ "report": found.to_json() }))),
            Err(NotChecked::Replay(NotReplayed::Gone)) => None,
            Err(error) => Some(Err(problem(error))),
        }
    }))
}

fn problem(error: NotChecked) -> Problem {
    match error {
        NotChecked::Refused(refused) => refused::problem(refused),
        NotChecked::Replay(error) => replays::problem(error),
        NotChecked::Proof(error) => {
            tracing::error!(%error, cause = ?std::error::Error::source(&error), "a proof was not made");
            Problem::Unavailable(error.to_string())
        }
    }
}
