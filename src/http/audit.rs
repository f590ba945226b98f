//! The log over HTTP: receipts, the checkpoint and the key to verify them with.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Map, json};

use super::caller;
use super::problem::Problem;
use super::refused;
use super::request_id::RequestId;
use super::serve::Peer;
use crate::app::App;
use crate::decide::audit;
use crate::decide::authorized::AuditLogRead;
use crate::directory::{Kind, Ref};
use crate::log::Event;
use crate::log::entry::Outcome;

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
