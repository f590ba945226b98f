//! Events from outside over HTTP: what happened in an app, reported by its back end.

use axum::response::Response;
use serde_json::{Map, Value};

use super::call::Call;
use super::document::access::calling::ByCertificate;
use super::document::calls::{Keyed, Problems};
use super::document::credentials::{EventReport, RecordedEvents};
use super::fields::{Fields, missing, wrong};
use super::page;
use super::problem::Problem;
use crate::decide::Caller;
use crate::directory::Kind;
use crate::directory::reported::{self, AT_ONCE, Happened};
use crate::log::entry::{Outcome, Refusal};

/// Record what happened in an app: people who signed in there, failed to, or signed out, and integrations that were used. Each is an
/// entry of its own whose caller is this key and whose details say `reported`, so that nobody takes it for something that was seen here.
/// All of a call are recorded or none.
#[utoipa::path(post, path = "/v1/audit/events", tag = "Audit", operation_id = "report_events", params(ByCertificate, Keyed),
    request_body = EventReport,
    responses((status = 200, description = "how many are recorded", body = RecordedEvents), Problems),
    security(("api_key" = [])))]
pub(super) async fn report(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let [] = call.query([])?;
    // An event is of whoever it names: that somebody may do this for themselves would say nothing.
    let acting = match call.asker().caller {
        Caller::Key { acting, .. } | Caller::Certificate { acting, .. } => acting.is_some(),
        Caller::Session { .. } | Caller::Directory { .. } | Caller::Operator | Caller::System => {
            true
        }
    };
    if acting {
        return Err(Problem::Forbidden(
            "events are reported by a back end in its own name: send its API key without an acting user, and name in each event who acted".into(),
        ));
    }
    let sent = match body.any("events") {
        Some(Value::Array(sent)) if (1..=AT_ONCE).contains(&sent.len()) => sent,
        Some(_) => return Err(wrong("events", "it must be a list of 1 to 100 events")),
        None => return Err(missing("events")),
    };
    body.finish()?;
    let mut happened = Vec::with_capacity(sent.len());
    for (number, one) in sent.into_iter().enumerate() {
        happened.push(read(one).map_err(|problem| match problem {
            Problem::Malformed(what) => {
                Problem::Malformed(format!("`events`: number {number}: {what}"))
            }
            other => other,
        })?);
    }
    let key = call.idempotency(body.digest());
    let told = call.door().report(call.asker(), happened, key).await;
    let log = call.singleton(Kind::AuditLog);
    Ok(page::changed_to(call.told(log, told).await?))
}

fn read(sent: Value) -> Result<Happened, Problem> {
    let Value::Object(members) = sent else {
        return Err(Problem::Malformed("it must be an object".into()));
    };
    let mut body = Fields::of(members);
    let event = reported::event(&body.text("event")?).map_err(|why| wrong("event", &why))?;
    let reason = body.maybe_text("reason")?;
    let reason = reason.map(|reason| reported::reason(&reason)).transpose();
    let reason = reason.map_err(|why| wrong("reason", &why))?;
    let outcome = match (body.maybe_text("outcome")?.as_deref(), reason) {
        (Some("ok"), None) => Outcome::Ok,
        (Some("failed"), reason) => Outcome::Failed(reason.unwrap_or(Refusal::Invalid)),
        (Some("ok"), Some(_)) => return Err(wrong("reason", "it is of what failed")),
        (Some(_), _) => return Err(wrong("outcome", "it must be ok or failed")),
        (None, _) => return Err(missing("outcome")),
    };
    let details = match body.any("details") {
        None => Map::new(),
        Some(Value::Object(details)) => details,
        Some(_) => return Err(wrong("details", "it must be an object")),
    };
    let happened = Happened {
        event,
        actor: body.reference("actor", Kind::User)?,
        resource: body.maybe_reference("resource", &[Kind::Integration])?,
        outcome,
        at: body.maybe_time("at")?.ok_or_else(|| missing("at"))?,
        details,
    };
    body.finish()?;
    Ok(happened)
}
