//! Decisions made again over HTTP: under a draft, or as they were recorded; told line by line as it goes on.

use axum::response::Response;
use serde_json::json;

use super::files;
use crate::decide::replay::{self, Given, NotReplayed, Progress, Replay, Replaying, Under};
use crate::http::audit::unread;
use crate::http::call::Call;
use crate::http::document::calls::{Acting, Problems};
use crate::http::document::policies::replays::{NewReplay, ReplayLine};
use crate::http::fields::{Fields, missing};
use crate::http::lines;
use crate::http::problem::Problem;
use crate::http::refused;

/// Make logged decisions again under a version or a draft: who gains, who loses, and what cannot be made again.
///
/// Takes the rights `policy.read` and `audit_log.read`, and is recorded as a reading of the log before the first line. Lines are JSON, each a
/// `ReplayLine`: `progress` while it goes on, then `report`, or `problem` where it could not end. Two at once, for an organization, on a node.
#[utoipa::path(post, path = "/v1/policy-replays", tag = "Policies", operation_id = "replay_decisions", params(Acting),
    request_body = NewReplay,
    responses((status = 200, description = "lines of JSON, each a `ReplayLine`", body = ReplayLine, content_type = "application/x-ndjson"), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn create(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let (last, from, to) = (
        body.maybe_number("last")?,
        body.maybe_number("from")?,
        body.maybe_number("to")?,
    );
    let (since, until) = (body.maybe_text("since")?, body.maybe_text("until")?);
    let given = Given {
        last,
        from,
        to,
        since: since.as_deref(),
        until: until.as_deref(),
    };
    let under = match body.maybe_number("version")? {
        Some(number) => Under::Version(number),
        None => Under::Draft {
            schema: body.maybe_text("schema")?,
            policies: files(&mut body, "policies")?.ok_or_else(|| missing("policies"))?,
        },
    };
    body.finish()?;
    begun(&call, given, under).await
}

/// Make logged decisions again as they were made: each must come out exactly as it was recorded.
///
/// Lines as of `POST /v1/policy-replays`; the log tells the truth where `gained`, `lost` and `other_policies` of the report are 0.
#[utoipa::path(get, path = "/v1/audit/self-check", tag = "Audit", operation_id = "check_decisions",
    params(Acting,
        ("last" = Option<u64>, Query, minimum = 1, description = "the last so many decisions; without the others. All that are kept if nothing is said"),
        ("from" = Option<u64>, Query, description = "the first index that counts; 0 if absent"),
        ("to" = Option<u64>, Query, minimum = 1, description = "the first index that does not count any more, beyond `from`; to the end if absent"),
        ("since" = Option<String>, Query, description = "the first moment that counts, as 2026-01-31T12:00:00Z; from the beginning if absent. Without `from` and `to`"),
        ("until" = Option<String>, Query, description = "the first moment that does not count any more, later than `since`; to the end if absent")),
    responses((status = 200, description = "lines of JSON, each a `ReplayLine`", body = ReplayLine, content_type = "application/x-ndjson"), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn check(call: Call) -> Result<Response, Problem> {
    let [last, from, to, since, until] = call.query(["last", "from", "to", "since", "until"])?;
    let number = |name: &str, text: Option<&str>| {
        let number = text.map(|text| text.parse::<u64>());
        number
            .transpose()
            .map_err(|_| Problem::Malformed(format!("`{name}` must be a whole number, 0 or more")))
    };
    let given = Given {
        last: number("last", last)?,
        from: number("from", from)?,
        to: number("to", to)?,
        since,
        until,
    };
    begun(&call, given, Under::Recorded).await
}

async fn begun(call: &Call, given: Given<'_>, under: Under) -> Result<Response, Problem> {
    let range = given.range().map_err(problem)?;
    let wanted = Replaying { range, under };
    let replay = replay::begin(call.door().clone(), call.asker(), wanted)
        .await
        .map_err(problem)?;
    Ok(told(replay))
}

/// Goes on for as long as somebody reads.
fn told(replay: Replay) -> Response {
    let first = Progress {
        done: 0,
        of: replay.entries(),
        per_second: 0.0,
    };
    lines::told(async move |teller| {
        if teller.tell(&first.to_json()).is_break() {
            return None;
        }
        match replay.run(|now| teller.tell(&now.to_json())).await {
            Ok(report) => Some(Ok(json!({ "report": report.to_json() }))),
            Err(NotReplayed::Gone) => None,
            Err(error) => Some(Err(problem(error))),
        }
    })
}

pub(super) fn problem(error: NotReplayed) -> Problem {
    match error {
        NotReplayed::Refused(refused) => refused::problem(refused),
        NotReplayed::Range { .. } => Problem::Malformed(error.to_string()),
        NotReplayed::Unread(unwritten) => unread(unwritten),
        NotReplayed::Gone => Problem::Internal,
    }
}
