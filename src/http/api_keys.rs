//! API keys over HTTP: made, shown once, listed without their secret, and revoked.

use std::collections::BTreeSet;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::Map;

use super::call::Call;
use super::fields::{Fields, wrong};
use super::page::{self, Acting, Keyed, Paged, Paging, Problems};
use super::problem::Problem;
use crate::authn::api_key::{ApiKey, Environment};
use crate::crypto;
use crate::decide::authorized::{ApiKeyCreate, ApiKeyRead, ApiKeyRevoke};
use crate::directory::object::{Form, Scope};
use crate::directory::service::{self, NewKey, Speaker};
use crate::directory::{Kind, Object, Ref, Snapshot};

/// Make a service with a key, or another key of a service. The key is shown in this answer and never again, so the call
/// takes no `Idempotency-Key`: an answer that could be had twice would have to be kept.
#[utoipa::path(post, path = "/v1/api-keys", tag = "Directory", operation_id = "create_api_key", params(Acting),
    request_body(content = serde_json::Value, description = "`name`; `scopes`: what it may be used for, `decide` alone if absent; or `service`: another key of this service; `expires_at`"),
    responses((status = 201, description = "the key's record, with the whole `key`, once", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn create(call: Call, mut body: Fields) -> Result<Response, Problem> {
    if call.is_keyed() {
        return Err(Problem::Malformed(
            "this call takes no `Idempotency-Key`: its answer holds a secret, which is not kept"
                .into(),
        ));
    }
    let random = || crypto::random().map_err(|_| Problem::Internal);
    let id = random()?;
    let secret = crypto::random().map_err(|_| Problem::Internal)?;
    let key = ApiKey::mint(
        Environment::Live,
        *call.door().store().id().bytes(),
        id,
        secret,
    );
    let scopes = body.maybe_texts("scopes")?;
    let service = body.maybe_reference("service", &[Kind::Service])?;
    let speaker = match (service, scopes) {
        (Some(_), Some(_)) => {
            return Err(wrong(
                "scopes",
                "they are the service's: send either `scopes` or `service`",
            ));
        }
        (Some(service), None) => Speaker::Existing(service),
        (None, scopes) => {
            let scopes: Result<BTreeSet<Scope>, String> = scopes
                .unwrap_or_default()
                .iter()
                .map(|scope| scope.parse())
                .collect();
            Speaker::New {
                id: random()?,
                scopes: scopes.map_err(|why| wrong("scopes", &why))?,
            }
        }
    };
    let new = NewKey {
        id,
        name: body.text("name")?,
        speaker,
        expires_at: body.maybe_time("expires_at")?,
        digest: *key.digest().as_bytes(),
    };
    body.finish()?;
    let mut changed = call
        .change::<ApiKeyCreate>(call.org(), Map::new(), &body, move |by, snapshot| {
            service::create_key(by, snapshot, &new)
        })
        .await?;
    if let Some(reply) = changed.reply.as_object_mut() {
        reply.insert("key".into(), key.expose().into());
    }
    let mut response = page::made(Kind::ApiKey.collection(), changed);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The keys, without what is secret.
#[utoipa::path(get, path = "/v1/api-keys", tag = "Directory", operation_id = "list_api_keys", params(Acting, Paged),
    responses((status = 200, description = "`items`, and `next_cursor` where there are more", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    let paging = Paging::of(limit, cursor)?;
    // A directory's tokens are at `/v1/scim/token`.
    let is_key = |key: Ref, snapshot: &Snapshot| match snapshot.object(key).map(|one| &one.value) {
        Some(Object::ApiKey(key)) => key.form == Form::Key,
        _ => false,
    };
    page::list::<ApiKeyRead>(&call, Kind::ApiKey, &paging, is_key).await
}

/// Revoke a key, and its service when it has no other.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "Directory", operation_id = "delete_api_key",
    params(("id" = String, Path, description = "the key's identifier"), Acting, Keyed),
    responses((status = 204, description = "it opens nothing from now on"), Problems),
    security(("api_key" = [])))]
pub(super) async fn delete(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::ApiKey)?;
    let changed = call
        .change::<ApiKeyRevoke>(wanted, Map::new(), &Fields::none(), service::revoke_key)
        .await?;
    Ok(page::gone(&changed))
}
