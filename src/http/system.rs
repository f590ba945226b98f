//! What operators and monitors ask: is it alive, is it ready, what does it count, what are its calls.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use super::document;
use super::document::operation::Readiness;
use super::problem::Problem;
use crate::app::App;
use crate::tenant;

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "Operation",
    responses((status = 200, description = "the process is alive: `ok`", body = String, content_type = "text/plain")))]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// The service can answer: its control database is there, and every open log takes entries.
#[utoipa::path(get, path = "/readyz", tag = "Operation",
    responses(
        (status = 200, description = "it can answer", body = Readiness),
        (status = 503, description = "it cannot answer now: why", body = document::Problem, content_type = "application/problem+json"),
    ))]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let waiting = std::time::Duration::from_secs(2);
    let control = tokio::time::timeout(waiting, app.control().ping()).await;
    if !matches!(control, Ok(Ok(()))) {
        return Problem::Unavailable("the control database does not answer".into()).into_response();
    }
    let doors = app.doors();
    // A node that gets no traffic while it is not ready would never find out that its log answers again.
    for door in doors.iter().filter(|door| !door.is_healthy()) {
        if tokio::time::timeout(waiting, door.refresh()).await.is_err() {
            break;
        }
    }
    let stuck = doors.iter().filter(|door| !door.is_healthy()).count();
    if stuck > 0 {
        return Problem::Unavailable(format!(
            "{stuck} of {} open logs cannot be written",
            doors.len()
        ))
        .into_response();
    }
    let organizations = doors
        .iter()
        .filter(|door| door.store().kind() == tenant::Kind::Organization)
        .count();
    let mut told = json!({ "ready": true, "open_tenants": organizations });
    // Ready all the same: what is open goes on, and every node that were taken out would be as deaf.
    if let (Some((down, of, why)), Some(told)) =
        (app.control().providers().down(), told.as_object_mut())
    {
        let said = format!("{down} of {of} providers cannot be used: {why}");
        told.insert("root_keys".to_owned(), said.into());
    }
    (StatusCode::OK, Json(told)).into_response()
}

/// Counters in Prometheus's text format.
pub(super) async fn counts(State(handle): State<PrometheusHandle>) -> Response {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        handle.render(),
    )
        .into_response()
}
