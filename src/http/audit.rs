//! The log over HTTP: asked, and proved by receipts, consistency proofs, anchors, the checkpoint and the key to verify them with.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::call::Call;
use super::document::Page;
use super::document::audit::{
    AuditCategory, AuditCheckpoint, AuditEntry, AuditEvent, AuditOutcome, ConsistencyProof,
};
use super::document::calls::{Acting, Paged, Problems};
use super::export;
use super::page::{self, Paging};
use super::problem::Problem;
use super::refused;
use crate::app::App;
use crate::decide::anchor;
use crate::decide::audit::{self, Shown};
use crate::decide::authorized::AuditLogRead;
use crate::decide::error::Unwritten;
use crate::decide::search;
use crate::directory::Kind;
use crate::log::Event;
use crate::log::entry::Outcome;
use crate::log::merkle::Hash;
use crate::log::query::Query;
use crate::tenant::Store;

/// A receipt of one entry: one text that shows offline that the log has it. A key needs the scope `audit.read`.
#[utoipa::path(get, path = "/v1/audit/receipts/{index}", tag = "Audit", operation_id = "read_receipt",
    params(("index" = u64, Path, description = "the entry's index"), Acting),
    responses((status = 200, description = "a C2SP tlog-proof with the entry in its extra line", body = String, content_type = "text/plain"), Problems),
    security(("api_key" = [])))]
pub(super) async fn receipt(call: Call) -> Result<Response, Problem> {
    let index = call.text("index")?;
    let index = index
        .parse()
        .map_err(|_| Problem::Malformed("the index must be a number from 0".into()))?;
    let store = permitted(&call).await?;
    let receipt = audit::receipt(store, index).await.map_err(unread)?;
    let receipt = receipt.ok_or(Problem::NotFound)?;
    note(&call, json!({ "receipt": index.to_string() })).await?;
    Ok((
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        receipt.to_string(),
    )
        .into_response())
}

/// Decides the reading of the log; what there is to read.
pub(super) async fn permitted(call: &Call) -> Result<&Store, Problem> {
    let log = call.singleton(Kind::AuditLog);
    call.door()
        .permit::<AuditLogRead>(call.asker(), log, Map::new())
        .await
        .map_err(refused::problem)?;
    Ok(call.door().store())
}

/// Records what was read, before it goes out.
pub(super) async fn note(call: &Call, details: Value) -> Result<(), Problem> {
    call.door()
        .note(call.asker(), Event::AuditLogRead, Outcome::Ok, details)
        .await
        .map_err(refused::problem)?;
    Ok(())
}

pub(super) fn unread(error: Unwritten) -> Problem {
    tracing::error!(error = %error, "the log could not be read");
    Problem::AuditUnavailable
}

/// What shows that the log was only appended to between two of its sizes.
#[utoipa::path(get, path = "/v1/audit/consistency", tag = "Audit", operation_id = "prove_consistency",
    params(Acting,
        ("from" = u64, Query, minimum = 1, description = "the earlier size, from 1: that of a checkpoint that somebody kept"),
        ("to" = Option<u64>, Query, minimum = 1, description = "the later size, not before `from`; the log's size now if absent")),
    responses((status = 200, description = "the proof, and the last checkpoint", body = ConsistencyProof), Problems),
    security(("api_key" = [])))]
pub(super) async fn consistency(call: Call) -> Result<Response, Problem> {
    let [from, to] = call.query(["from", "to"])?;
    let from = from
        .map(|text| size("from", text))
        .transpose()?
        .ok_or_else(|| Problem::Malformed("the parameter `from` is missing".into()))?;
    let to = to.map(|text| size("to", text)).transpose()?;
    let store = permitted(&call).await?;
    let proved = audit::consistency(store, from, to).await.map_err(unread)?;
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

/// What shows that the deployment's log, which is published and witnessed, has a commitment to a checkpoint of this log.
#[utoipa::path(get, path = "/v1/audit/anchor", tag = "Audit", operation_id = "prove_anchor",
    params(Acting,
        ("size" = Option<u64>, Query, minimum = 1, description = "a checkpoint of so many entries or more; the newest there is if absent")),
    responses((status = 200, description = "the checkpoint, the salt of the commitment, and a receipt of the entry of the deployment's log (`cedarkeep.anchor.v1`)", body = String, content_type = "text/plain"), Problems),
    security(("api_key" = [])))]
pub(super) async fn anchor(State(app): State<Arc<App>>, call: Call) -> Result<Response, Problem> {
    let [size] = call.query(["size"])?;
    let size = size.map(|text| self::size("size", text)).transpose()?;
    let store = permitted(&call).await?;
    let deployment = app.deployment().await.map_err(|error| {
        tracing::error!(%error, "the deployment's log does not open");
        Problem::Unavailable("the deployment's log cannot be read now: try again".into())
    })?;
    let log = (store, call.door().origin());
    let proved = anchor::proof(log, deployment.store(), size).await;
    let anchor = proved.map_err(unread)?.ok_or(Problem::NotFound)?;
    note(
        &call,
        json!({ "anchor": anchor.checkpoint.size.to_string() }),
    )
    .await?;
    let media = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((media, anchor.to_string()).into_response())
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
        ("event" = Option<AuditEvent>, Query, description = "what happened"),
        ("category" = Option<AuditCategory>, Query, description = "the chapter of what happened"),
        ("outcome" = Option<AuditOutcome>, Query, description = "how it ended"),
        ("actor" = Option<String>, Query, description = "the id of who acted, of the user acted for, or of the key"),
        ("resource" = Option<String>, Query, description = "the id of what it was done to"),
        ("action" = Option<String>, Query, description = "as `thread.read`"),
        ("policy" = Option<String>, Query, description = "the id of a policy that determined it"),
        ("request_id" = Option<String>, Query, description = "the `X-Request-ID` of the call")),
    responses((status = 200, description = "a page of them; with `next_cursor` where there may be more", body = Page<AuditEntry>), Problems),
    security(("api_key" = [])))]
pub(super) async fn entries(call: Call) -> Result<Response, Problem> {
    let known = [&["limit", "cursor"], Query::NAMES].concat();
    let (paging, conditions): (Vec<_>, Vec<_>) = call
        .given(&known)?
        .into_iter()
        .partition(|(name, _)| !Query::NAMES.contains(name));
    let query = Query::of(conditions.iter().copied())
        .map_err(|unasked| Problem::Malformed(unasked.to_string()))?;
    let said = |wanted| paging.iter().find(|(name, _)| *name == wanted);
    let paging = Paging::of(
        said("limit").map(|(_, value)| *value),
        said("cursor").map(|(_, value)| *value),
    )?;
    let before = paging.after(|text| text.parse().ok())?;
    let store = permitted(&call).await?;
    let found = search::newest(store, &query, before, paging.limit)
        .await
        .map_err(unread)?;
    let conditions: Map<String, Value> = conditions
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let details = json!({ "query": conditions, "entries": found.entries.len() });
    note(&call, details).await?;
    Ok(page::page(
        found.entries.iter().map(Shown::line).collect(),
        found.before.map(|before| before.to_string()),
    ))
}

/// The last signed checkpoint, and the key that verifies it and every receipt. With `Accept: text/plain` the signed note alone, as
/// readers of C2SP tlog-tiles want it.
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "Audit", operation_id = "read_checkpoint", params(Acting),
    responses((status = 200, description = "the checkpoint and the key, or the checkpoint alone", content((AuditCheckpoint = "application/json"), (String = "text/plain"))), Problems),
    security(("api_key" = [])))]
pub(super) async fn checkpoint(call: Call, headers: HeaderMap) -> Result<Response, Problem> {
    let head = audit::head(permitted(&call).await?).await.map_err(unread)?;
    if export::wants_text(&headers) {
        let media = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return Ok((media, head.checkpoint).into_response());
    }
    let key = call.door().verifier().to_string();
    Ok(Json(json!({ "checkpoint": head.checkpoint, "key": key })).into_response())
}
