//! The version that is evaluated beside the active one, over HTTP: which, and what it comes to.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, json};

use super::set;
use crate::decide::authorized::{PolicyEdit, PolicyRead};
use crate::decide::shadow::Shadowed;
use crate::directory::policies;
use crate::http::audit::{note, permitted};
use crate::http::call::Call;
use crate::http::document::calls::{Acting, Keyed, Problems};
use crate::http::document::policies::shadow::{NewPolicyShadow, PolicyShadow};
use crate::http::document::policies::versions::PolicyVersionNumber;
use crate::http::fields::Fields;
use crate::http::page;
use crate::http::problem::Problem;

/// What the shadow has come to, on the node that is asked: how many answers it would give otherwise, by action, and the last of them.
///
/// Each node counts what it answers itself, from when it has the version ready. Takes the rights `policy.read` and `audit_log.read`.
#[utoipa::path(get, path = "/v1/policy-shadow", tag = "Policies", operation_id = "read_policy_shadow", params(Acting),
    responses((status = 200, description = "which it is, and what it has come to here", body = PolicyShadow), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let policies = call.read::<PolicyRead>(set(&call)).await?;
    permitted(&call).await?;
    let version = policies.snapshot().rules().shadow;
    let here = call.door().shadowed();
    let shown = here.as_ref().map(|here| here.version);
    note(&call, json!({ "shadow": shown })).await?;
    let here = here.as_ref().map(Shadowed::to_json);
    Ok(Json(json!({ "version": version, "node": here })).into_response())
}

/// Have a version evaluated beside the active one, on what is asked from here on: nothing is answered by it.
#[utoipa::path(put, path = "/v1/policy-shadow", tag = "Policies", operation_id = "replace_policy_shadow", params(Acting, Keyed),
    request_body = NewPolicyShadow,
    responses((status = 200, description = "the version that is the shadow", body = PolicyVersionNumber), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn replace(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let number = body.number("version")?;
    body.finish()?;
    let changed = call
        .change::<PolicyEdit>(set(&call), Map::new(), &body, move |by, snapshot| {
            policies::shadow(by, snapshot, Some(number))
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// End it.
#[utoipa::path(delete, path = "/v1/policy-shadow", tag = "Policies", operation_id = "end_policy_shadow", params(Acting, Keyed),
    responses((status = 204, description = "no version is evaluated beside the active one"), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn end(call: Call) -> Result<Response, Problem> {
    let changed = call
        .change::<PolicyEdit>(set(&call), Map::new(), &Fields::none(), |by, snapshot| {
            policies::shadow(by, snapshot, None)
        })
        .await?;
    Ok(page::gone(&changed))
}
