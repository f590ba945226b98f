//! Explanations over HTTP: why a question is answered as it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use super::access::{question, recorded};
use super::authzen::wire::{self, Recorded};
use super::caller;
use super::document::calls::{Acting, Problems};
use super::document::explanation::{Explanation, NewExplanation};
use super::json;
use super::problem::Problem;
use super::refused;
use crate::app::App;

/// An explanation, and where it is recorded.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    explanation: Map<String, Value>,
    log: Recorded,
}

/// Why a question is answered as it is: of a refusal what stands against it and what came nearest, of a yes what gives it. A key with the scope
/// `explain` may ask about anybody; in a person's name about them, or about others where they may read the log or the policies. Values are
/// told where the same key, in the same names, could read them.
#[utoipa::path(post, path = "/v1/explain", tag = "Decisions", operation_id = "explain", params(Acting),
    request_body = NewExplanation,
    responses((status = 200, description = "the explanation", body = Explanation), Problems),
    security(("api_key" = [])))]
pub(super) async fn explain(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (door, asker) = caller::on_behalf(&app, &parts).await?;
    let request = Request::from_parts(parts, body);
    let body = json::body(request, app.config().http.request_timeout()).await?;
    let asked = question(wire::whole(body)?);
    let (explained, place) = door.explain(asker, asked).await.map_err(refused::problem)?;
    Ok(Json(Answer {
        explanation: explained.to_json(),
        log: recorded(&place),
    })
    .into_response())
}
