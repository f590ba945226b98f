//! Integrations over HTTP: connected, refreshed and disconnected.

use axum::response::Response;
use serde_json::Map;

use super::call::Call;
use super::fields::Fields;
use super::page::{self, Acting, Keyed, Paged, Paging, Problems};
use super::problem::Problem;
use crate::crypto;
use crate::decide::authorized::{
    IntegrationConnect, IntegrationDisconnect, IntegrationRead, IntegrationRefreshToken,
};
use crate::directory::integration::{self, Connection};
use crate::directory::made::Audience;
use crate::directory::Kind;

/// Connect something outside.
#[utoipa::path(post, path = "/v1/integrations", tag = "Directory", operation_id = "create_integration", params(Acting, Keyed),
    request_body(content = serde_json::Value, description = "`name`, `provider`, and `audience`: the members group of those who may use it, Admins alone if absent"),
    responses((status = 201, description = "the integration, with `Location`", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn create(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let connection = Connection {
        id: crypto::random().map_err(|_| Problem::Internal)?,
        name: body.text("name")?,
        provider: body.text("provider")?,
        audience: body.maybe_audience()?.unwrap_or(Audience::Private),
    };
    body.finish()?;
    let changed = call
        .change::<IntegrationConnect>(call.org(), Map::new(), &body, move |by, snapshot| {
            integration::connect(by, snapshot, &connection)
        })
        .await?;
    Ok(page::made(Kind::Integration.collection(), changed))
}

/// The integrations that the acting user may see.
#[utoipa::path(get, path = "/v1/integrations", tag = "Directory", operation_id = "list_integrations", params(Acting, Paged),
    responses((status = 200, description = "`items`, and `next_cursor` where there are more", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    page::list::<IntegrationRead>(&call, Kind::Integration, &Paging::of(limit, cursor)?, |_, _| true).await
}

/// One integration.
#[utoipa::path(get, path = "/v1/integrations/{id}", tag = "Directory", operation_id = "read_integration",
    params(("id" = String, Path, description = "its identifier"), Acting),
    responses((status = 200, description = "the integration", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let wanted = call.named("id", Kind::Integration)?;
    page::one(wanted, call.read::<IntegrationRead>(wanted).await?.snapshot())
}

/// Say that its token was refreshed.
#[utoipa::path(post, path = "/v1/integrations/{id}/refresh", tag = "Directory", operation_id = "refresh_integration",
    params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
    responses((status = 200, description = "the integration as it is now", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn refresh(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::Integration)?;
    let changed =
        call.change::<IntegrationRefreshToken>(wanted, Map::new(), &Fields::none(), integration::refreshed).await?;
    Ok(page::changed_to(changed))
}

/// Disconnect it.
#[utoipa::path(delete, path = "/v1/integrations/{id}", tag = "Directory", operation_id = "delete_integration",
    params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
    responses((status = 204, description = "it is disconnected"), Problems),
    security(("api_key" = [])))]
pub(super) async fn delete(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::Integration)?;
    let changed =
        call.change::<IntegrationDisconnect>(wanted, Map::new(), &Fields::none(), integration::disconnect).await?;
    Ok(page::gone(&changed))
}
