//! AuthZEN's searches: who, what, or to what.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};

use super::access::{asked_by_service, recorded};
use super::authzen::search::{Results, asked};
use super::authzen::wire::Detail;
use super::document::access::calling::{ByCertificate, Explaining, Unanswered};
use super::document::access::{
    ActionSearch, FoundActions, FoundEntities, ResourceSearch, SubjectSearch,
};
use super::problem::Plain;
use super::refused;
use crate::app::App;
use crate::decide::Sought;

type Called = (State<Arc<App>>, Request);

async fn search((State(app), request): Called, sought: Sought) -> Result<Response, Plain> {
    let (door, asker, detail, body) = asked_by_service(&app, request).await?;
    let asked = asked(body, sought, door.origin().as_str())?;
    let page = (asked.after.clone(), asked.limit);
    let (found, place) = door
        .search(asker, asked.query.clone(), page)
        .await
        .map_err(refused::problem)?;
    let found = (found.results, found.next);
    let explained = detail == Detail::Explained;
    Ok(Json(Results::of(&asked, found, recorded(&place), explained)).into_response())
}

/// Who may do something to something.
#[utoipa::path(
    post, path = "/access/v1/search/subject", tag = "AuthZEN", operation_id = "search_subjects",
    params(Explaining, ByCertificate),
    request_body = SubjectSearch,
    responses(
        (status = 200, description = "the subjects, in a stable order", body = FoundEntities),
        (status = 400, description = "a member is missing or is not what it should be, or the token is of another search", body = String, content_type = "text/plain"),
        (status = 403, description = "the key has not the scope `search`", body = String, content_type = "text/plain"),
        Unanswered,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn subject(called: Called) -> Result<Response, Plain> {
    search(called, Sought::Subject).await
}

/// To what somebody may do something.
#[utoipa::path(
    post, path = "/access/v1/search/resource", tag = "AuthZEN", operation_id = "search_resources",
    params(Explaining, ByCertificate),
    request_body = ResourceSearch,
    responses(
        (status = 200, description = "the resources, in a stable order", body = FoundEntities),
        (status = 400, description = "a member is missing or is not what it should be, or the token is of another search", body = String, content_type = "text/plain"),
        (status = 403, description = "the key has not the scope `search`", body = String, content_type = "text/plain"),
        Unanswered,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn resource(called: Called) -> Result<Response, Plain> {
    search(called, Sought::Resource).await
}

/// What somebody may do to something.
#[utoipa::path(
    post, path = "/access/v1/search/action", tag = "AuthZEN", operation_id = "search_actions",
    params(Explaining, ByCertificate),
    request_body = ActionSearch,
    responses(
        (status = 200, description = "the actions, in the order in which the schema declares them", body = FoundActions),
        (status = 400, description = "a member is missing or is not what it should be, or the token is of another search or of other actions than those of now", body = String, content_type = "text/plain"),
        (status = 403, description = "the key has not the scope `search`", body = String, content_type = "text/plain"),
        Unanswered,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn action(called: Called) -> Result<Response, Plain> {
    search(called, Sought::Action).await
}
