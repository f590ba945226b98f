//! Integrations over HTTP: connected, given tokens, used and disconnected.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, json};

use super::call::Call;
use super::content as shown_content;
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::content::AnyBytes;
use super::document::made::{Integration, IntegrationToken, NewIntegration};
use super::document::{self, Page};
use super::fields::Fields;
use super::incoming::Incoming;
use super::page::{self, Paging};
use super::problem::Problem;
use super::shown;
use crate::app::App;
use crate::crypto;
use crate::decide::Beside;
use crate::decide::Caller;
use crate::decide::authorized::{
    IntegrationConnect, IntegrationDisconnect, IntegrationRead, IntegrationRefreshToken,
    IntegrationUse,
};
use crate::directory::integration::{self, Connection};
use crate::directory::made::Audience;
use crate::directory::{Kind, content};
use crate::log::Event;
use crate::vault::{Condition, Keeping};

/// Connect something outside.
#[utoipa::path(post, path = "/v1/integrations", tag = "Directory", operation_id = "create_integration", params(Acting, Keyed),
    request_body = NewIntegration,
    responses((status = 201, description = "the integration, with `Location`", body = Integration), Problems),
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
    responses((status = 200, description = "a page of them", body = Page<Integration>), Problems),
    security(("api_key" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    page::list::<IntegrationRead>(
        &call,
        Kind::Integration,
        &Paging::of(limit, cursor)?,
        |_, _| true,
    )
    .await
}

/// One integration.
#[utoipa::path(get, path = "/v1/integrations/{id}", tag = "Directory", operation_id = "read_integration",
    params(("id" = String, Path, description = "its identifier"), Acting),
    responses((status = 200, description = "the integration", body = Integration), Problems),
    security(("api_key" = [])))]
pub(super) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let wanted = call.named("id", Kind::Integration)?;
    page::one(
        wanted,
        call.read::<IntegrationRead>(wanted).await?.snapshot(),
    )
}

/// Give it a token, in place of the one that it has.
///
/// The body is the token, of any media type: an OAuth token response as it came, or the bare token. It is sealed, and never shown but
/// to a service that uses the integration.
#[utoipa::path(put, path = "/v1/integrations/{id}/token", tag = "Content", operation_id = "put_integration_token",
    params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
    request_body(content = inline(AnyBytes), description = "the token: any media type is kept as it is sent; 64 KiB at most, where the service is set up no other way", content_type = "application/octet-stream"),
    responses((status = 200, description = "the integration as it is now", body = Integration),
        (status = 415, description = "it comes with `Content-Encoding`", body = document::Problem, content_type = "application/problem+json"), Problems),
    security(("api_key" = [])))]
pub(super) async fn put_token(
    State(app): State<Arc<App>>,
    call: Call,
    request: Request,
) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let wanted = call.named("id", Kind::Integration)?;
    let limit = app.config().content.token_max_bytes;
    let incoming = Incoming::of(request, limit, app.config().http.request_timeout())?;
    let call = Arc::new(call);
    let owner = |snapshot: &_| content::owner(snapshot, wanted);
    let arrived = incoming
        .take::<IntegrationRefreshToken>(&call, (wanted, "ver"), owner)
        .await?;
    let written = arrived.written();
    let how = (Keeping::Newest, Condition::Always, Beside::Rows);
    let changed = arrived
        .deposit::<IntegrationRefreshToken>(&call, wanted, how, move |by, snapshot| {
            content::token_refreshed(by, snapshot, &written)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Use it: the token, for the service that asks, on behalf of a user who may.
///
/// Recorded as `integration.used` before it is handed out.
#[utoipa::path(post, path = "/v1/integrations/{id}/use", tag = "Content", operation_id = "use_integration",
    params(("id" = String, Path, description = "its identifier"), Acting),
    responses((status = 200, description = "the token", body = IntegrationToken), Problems),
    security(("api_key" = [])))]
pub(super) async fn make_use(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    // A token is for a back end and nobody's eyes: nothing but a service's own half keeps it from people.
    if matches!(call.asker().caller, Caller::Session { .. }) {
        return Err(Problem::Forbidden(
            "an integration's token is handed to a back end alone: use an API key with the scope `content`".into(),
        ));
    }
    let wanted = call.named("id", Kind::Integration)?;
    let vault = call.door().vault();
    let held = vault
        .current(&wanted.to_string())
        .await
        .map_err(shown_content::unopened)?;
    let Some(held) = held else {
        call.permit_change::<IntegrationUse>(wanted).await?;
        return Err(Problem::Conflict(
            "the integration has no token yet: put one at its `token`".into(),
        ));
    };
    let details = json!({"token": held.spot().version});
    call.used::<IntegrationUse>(wanted, (Event::IntegrationUsed, details))
        .await?;
    let opened = vault.open(&held).await.map_err(shown_content::unopened)?;
    let label = opened.label().clone();
    let token = opened
        .whole(label.length)
        .await
        .map_err(shown_content::unopened)?;
    let body = json!({
        "token": shown::of(&label.media_type, &token), "media_type": label.media_type, "version": held.spot().version,
    });
    let mut response = Json(body).into_response();
    shown_content::private(response.headers_mut());
    Ok(response)
}

/// Disconnect it.
#[utoipa::path(delete, path = "/v1/integrations/{id}", tag = "Directory", operation_id = "delete_integration",
    params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
    responses((status = 204, description = "it is disconnected"), Problems),
    security(("api_key" = [])))]
pub(super) async fn delete(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::Integration)?;
    let changed = call
        .change::<IntegrationDisconnect>(
            wanted,
            Map::new(),
            &Fields::none(),
            integration::disconnect,
        )
        .await?;
    Ok(page::gone(&changed))
}
