//! The log followed live: entries as they are made, as server-sent events.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::{Map, Value, json};

use super::audit::{note, permitted};
use super::call::Call;
use super::document::audit::{AuditCategory, AuditEvent, AuditOutcome};
use super::document::calls::{Acting, Problems};
use super::problem::Problem;
use crate::decide::audit::{self, Shown};
use crate::log::query::Query;

/// How long a reading lasts before it is decided and recorded anew.
const PERMITTED_FOR: Duration = Duration::from_secs(60);

/// How long one waits where too much else is asked.
const BUSY: Duration = Duration::from_millis(200);

/// How many entries are read at a time.
const PAGE: usize = 200;

/// The entries that fit every condition given, from now on, as they are committed.
///
/// Each is an event whose `id` is its index and whose `data` is what `GET /v1/audit/entries` shows of it. `Last-Event-ID`, or
/// `after`, goes on behind an index. The right to read is decided anew with every entry that may have changed it, and every minute: once it
/// is gone, the stream ends with an event `refused`.
#[utoipa::path(get, path = "/v1/audit/follow", tag = "Audit", operation_id = "follow_audit_log",
    params(Acting,
        ("Last-Event-ID" = Option<u64>, Header, nullable = false, description = "the `id` of the last event that is there already: go on behind it, whatever `after` says"),
        ("after" = Option<u64>, Query, description = "go on behind this index; from now on if absent"),
        ("event" = Option<AuditEvent>, Query, description = "what happened"),
        ("category" = Option<AuditCategory>, Query, description = "the chapter of what happened"),
        ("outcome" = Option<AuditOutcome>, Query, description = "how it ended"),
        ("actor" = Option<String>, Query, description = "the id of who acted, of the user acted for, or of the key"),
        ("resource" = Option<String>, Query, description = "the id of what it was done to"),
        ("action" = Option<String>, Query, description = "as `thread.read`"),
        ("policy" = Option<String>, Query, description = "the id of a policy that determined it"),
        ("request_id" = Option<String>, Query, description = "the `X-Request-ID` of the call")),
    responses((status = 200, description = "server-sent events", content_type = "text/event-stream"), Problems),
    security(("api_key" = [])))]
pub(super) async fn follow(call: Call, headers: HeaderMap) -> Result<Response, Problem> {
    let conditions: Vec<&str> = Query::NAMES
        .iter()
        .copied()
        .filter(|name| !["from", "to"].contains(name))
        .collect();
    let known = [&["after"], conditions.as_slice()].concat();
    let given = call.given(&known)?;
    let (after, conditions): (Vec<_>, Vec<_>) =
        given.into_iter().partition(|(name, _)| *name == "after");
    let query = Query::of(conditions.iter().copied())
        .map_err(|unasked| Problem::Malformed(unasked.to_string()))?;
    let index = |text: &str| {
        text.parse::<u64>()
            .map_err(|_| Problem::Malformed("`after` and `Last-Event-ID` are an index".into()))
    };
    let last = headers
        .get("last-event-id")
        .map(|value| index(value.to_str().unwrap_or_default()))
        .transpose()?;
    let after = after.first().map(|(_, text)| index(text)).transpose()?;
    permitted(&call).await?;
    let details: Map<String, Value> = conditions
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    let details = json!({ "follow": details });
    note(&call, details.clone()).await?;
    let next = match last.or(after) {
        Some(index) => index.saturating_add(1),
        None => call.door().tip().size,
    };
    let following = Following {
        call,
        query,
        details,
        next,
        permitted: Instant::now(),
        ready: Vec::new(),
        over: false,
    };
    Ok(Sse::new(following.events())
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// One stream.
struct Following {
    call: Call,
    query: Query,
    details: Value,
    next: u64,
    permitted: Instant,
    /// The newest first.
    ready: Vec<Shown>,
    over: bool,
}

impl Following {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, async |mut following| {
            let event = following.event().await?;
            Some((Ok(event), following))
        })
    }

    /// The next event; nothing once the stream is over.
    async fn event(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        let mut tip = self.call.door().watch();
        loop {
            if let Some(shown) = self.ready.pop() {
                let event = Event::default()
                    .id(shown.index.to_string())
                    .event("entry")
                    .data(shown.line().to_string());
                return Some(event);
            }
            if let Err(problem) = self.read().await {
                // A stream that ends says so: what is missing is never taken for what did not happen.
                self.over = true;
                let said = json!({ "code": problem.code(), "detail": problem.message() });
                return Some(Event::default().event("refused").data(said.to_string()));
            }
            if !self.ready.is_empty() {
                continue;
            }
            let until = PERMITTED_FOR.saturating_sub(self.permitted.elapsed());
            let grown = tokio::time::timeout(until, tip.wait_for(|tip| tip.size > self.next)).await;
            if matches!(grown, Ok(Err(_))) {
                // The tenant was let go of: whoever follows comes again.
                return None;
            }
        }
    }

    async fn asked_again(&self) -> Result<(), Problem> {
        permitted(&self.call).await?;
        note(&self.call, self.details.clone()).await
    }

    /// Reads what has been committed since, and decides anew where that is due.
    async fn read(&mut self) -> Result<(), Problem> {
        if self.permitted.elapsed() >= PERMITTED_FOR {
            match self.asked_again().await {
                Ok(()) => self.permitted = Instant::now(),
                // Too much else was asked just now: it is asked again at once, for a while.
                Err(Problem::TooMany(_)) if self.permitted.elapsed() < 2 * PERMITTED_FOR => {}
                Err(problem) => return Err(problem),
            }
        }
        let door = self.call.door();
        if door.tip().size <= self.next {
            return Ok(());
        }
        let read = audit::entries(door.store(), self.next, PAGE)
            .await
            .map_err(super::audit::unread)?;
        // Whoever was removed, suspended or signed out by one of these reads neither it nor what comes behind: decided once all of them
        // are there, so on a state that knows of each.
        if read.iter().any(Shown::may_change) {
            match permitted(&self.call).await {
                Ok(_) => {}
                // Too much else was asked just now: they are read again in a moment.
                Err(Problem::TooMany(_)) => {
                    tokio::time::sleep(BUSY).await;
                    return Ok(());
                }
                Err(problem) => return Err(problem),
            }
        }
        if let Some(last) = read.last() {
            self.next = last.index + 1;
        }
        self.ready = read
            .into_iter()
            .rev()
            .filter(|shown| shown.fits(&self.query))
            .collect();
        Ok(())
    }
}
