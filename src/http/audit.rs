//! The log over HTTP: receipts, the checkpoint and the key to verify them with.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Map, Value, json};

use super::call::Call;
use super::caller;
use super::page::{self, Acting, Paged, Paging, Problems};
use super::problem::Problem;
use super::refused;
use super::request_id::RequestId;
use super::serve::Peer;
use crate::app::App;
use crate::decide::audit::{self, Shown};
use crate::decide::authorized::AuditLogRead;
use crate::directory::{Kind, Ref};
use crate::log::Event;
use crate::log::entry::Outcome;
use crate::log::merkle::Hash;
use crate::log::query::Query;

/// A receipt of one entry: one text that shows offline that the log has it.
#[utoipa::path(get, path = "/v1/audit/receipts/{index}", tag = "Audit",
    params(("index" = u64, Path, description = "the entry's index")),
    responses(
        (status = 200, description = "a C2SP tlog-proof with the entry in its extra line", content_type = "text/plain"),
        (status = 401, description = "no valid API key"),
        (status = 403, description = "the acting user may not read the log, the key has not the scope `audit.read`, or the plan is too small"),
        (status = 404, description = "there is no such entry"),
        (status = 503, description = "the reading could not be recorded in time"),
    ),
    security(("api_key" = [])))]
pub(super) async fn receipt(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Extension(id): Extension<RequestId>,
    Path(index): Path<u64>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (door, asker) = caller::on_behalf(&app, peer, &id, &headers).await?;
    let log = Ref::new(Kind::AuditLog, *door.store().id().bytes());
    door.permit::<AuditLogRead>(asker.clone(), log, Map::new())
        .await
        .map_err(refused::problem)?;
    let receipt = audit::receipt(door.store(), index).await.map_err(|error| {
        tracing::error!(error = %error, "a receipt could not be made");
        Problem::AuditUnavailable
    })?;
    let receipt = receipt.ok_or(Problem::NotFound)?;
    door.note(
        asker,
        Event::AuditLogRead,
        Outcome::Ok,
        json!({ "receipt": index.to_string() }),
    )
    .await
    .map_err(refused::problem)?;
    Ok((
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        receipt.to_string(),
    )
        .into_response())
}

/// What shows that the log was only appended to between two of its sizes.
#[utoipa::path(get, path = "/v1/audit/consistency", tag = "Audit", operation_id = "prove_consistency",
    params(Acting,
        ("from" = u64, Query, description = "the earlier size, from 1: that of a checkpoint that somebody kept"),
        ("to" = Option<u64>, Query, description = "the later size; the log's size now if absent")),
    responses((status = 200, description = "`from`, `to`, `path` (RFC 6962, each hash in base 64), and the last `checkpoint`, of `size` entries", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn consistency(call: Call) -> Result<Response, Problem> {
    let [from, to] = call.query(["from", "to"])?;
    let from = from
        .map(|text| size("from", text))
        .transpose()?
        .ok_or_else(|| Problem::Malformed("the parameter `from` is missing".into()))?;
    let to = to.map(|text| size("to", text)).transpose()?;
    let log = call.singleton(Kind::AuditLog);
    call.door()
        .permit::<AuditLogRead>(call.asker(), log, Map::new())
        .await
        .map_err(refused::problem)?;
    let proved = audit::consistency(call.door().store(), from, to)
        .await
        .map_err(|error| {
            tracing::error!(error = %error, "a consistency proof could not be made");
            Problem::AuditUnavailable
        })?;
    let proof = proved.map_err(|size| {
        Problem::Malformed(format!(
            "`from` must not be beyond `to`, nor `to` beyond the log's {size} entries"
        ))
    })?;
    let path: Vec<String> = proof.path.iter().map(Hash::base64).collect();
    Ok(Json(json!({
        "from": proof.from, "to": proof.to, "path": path, "size": proof.size, "checkpoint": proof.checkpoint,
    }))
    .into_response())
}

/// A size that a checkpoint can have.
fn size(name: &str, text: &str) -> Result<u64, Problem> {
    text.parse()
        .ok()
        .filter(|size| *size > 0)
        .ok_or_else(|| Problem::Malformed(format!("`{name}` must be a number from 1")))
}

/// The entries that fit every condition given, the newest first, those of a moment ago included.
///
/// A page may be shorter than `limit`, or empty, and still have a `next_cursor`: one call looks at 20,000 entries.
#[utoipa::path(get, path = "/v1/audit/entries", tag = "Audit", operation_id = "query_audit_log",
    params(Acting, Paged,
        ("from" = Option<String>, Query, description = "the first moment that counts, as 2026-01-31T12:00:00Z"),
        ("to" = Option<String>, Query, description = "the first moment that does not count any more"),
        ("event" = Option<String>, Query, description = "as `thread.shared`"),
        ("category" = Option<String>, Query, description = "as `membership`"),
        ("outcome" = Option<String>, Query, description = "allow, deny, ok or failed"),
        ("actor" = Option<String>, Query, description = "the id of who acted, of the user acted for, or of the key"),
        ("resource" = Option<String>, Query, description = "the id of what it was done to"),
        ("action" = Option<String>, Query, description = "as `thread.read`"),
        ("policy" = Option<String>, Query, description = "the id of a policy that determined it"),
        ("request_id" = Option<String>, Query, description = "the `X-Request-ID` of the call")),
    responses((status = 200, description = "`items`, each with its `index`, its `leaf` and what its parts say, and `next_cursor` where there may be more", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn entries(call: Call) -> Result<Response, Problem> {
    let [limit, cursor, conditions @ ..] = call.query(CONDITIONS)?;
    let given: Vec<(&str, &str)> = CONDITIONS
        .iter()
        .skip(2)
        .zip(conditions)
        .filter_map(|(name, value)| Some((*name, value?)))
        .collect();
    let query = Query::of(given.iter().copied())
        .map_err(|unasked| Problem::Malformed(unasked.to_string()))?;
    let paging = Paging::of(limit, cursor)?;
    let before = paging.after(|text| text.parse().ok())?;
    let log = call.singleton(Kind::AuditLog);
    call.door()
        .permit::<AuditLogRead>(call.asker(), log, Map::new())
        .await
        .map_err(refused::problem)?;
    let found = audit::newest(call.door().store(), &query, before, paging.limit)
        .await
        .map_err(|error| {
            tracing::error!(error = %error, "the log could not be read");
            Problem::AuditUnavailable
        })?;
    let conditions: Map<String, Value> = given
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    call.door()
        .note(
            call.asker(),
            Event::AuditLogRead,
            Outcome::Ok,
            json!({ "query": conditions, "entries": found.entries.len() }),
        )
        .await
        .map_err(refused::problem)?;
    Ok(page::page(
        found.entries.iter().map(Shown::line).collect(),
        found.before.map(|before| before.to_string()),
    ))
}

/// The parameters of a query: how much, from where, and the conditions.
const CONDITIONS: [&str; 12] = [
    "limit",
    "cursor",
    "from",
    "to",
    "event",
    "category",
    "outcome",
    "actor",
    "resource",
    "action",
    "policy",
    "request_id",
];

/// The last signed checkpoint, and the key that verifies it and every receipt.
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "Audit",
    responses(
        (status = 200, description = "`checkpoint` (a C2SP signed note) and `key` (a note verifier key)", body = serde_json::Value),
        (status = 401, description = "no valid API key"),
        (status = 403, description = "the acting user may not read the log"),
        (status = 503, description = "the reading could not be recorded in time"),
    ),
    security(("api_key" = [])))]
pub(super) async fn checkpoint(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (door, asker) = caller::on_behalf(&app, peer, &id, &headers).await?;
    let log = Ref::new(Kind::AuditLog, *door.store().id().bytes());
    door.permit::<AuditLogRead>(asker, log, Map::new())
        .await
        .map_err(refused::problem)?;
    let head = audit::head(door.store()).await.map_err(|error| {
        tracing::error!(error = %error, "the head could not be read");
        Problem::AuditUnavailable
    })?;
    Ok(
        Json(json!({ "checkpoint": head.checkpoint, "key": door.verifier().to_string() }))
            .into_response(),
    )
}
