//! API keys over HTTP: made, shown once, seen without their secret but with their last use, replaced, and revoked.

use std::collections::BTreeSet;

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::document::Page;
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::credentials::{
    ApiKey as Described, ApiKeyRotation, MadeApiKey, NewApiKey, RotatedApiKey,
};
use super::fields::{Fields, wrong};
use super::page::{self, Paging};
use super::problem::Problem;
use super::refused;
use crate::authn::api_key::{ApiKey, Environment};
use crate::crypto;
use crate::decide::Changed;
use crate::decide::authorized::{ApiKeyCreate, ApiKeyRead, ApiKeyRevoke};
use crate::directory::object::{Form, Scope};
use crate::directory::service::{self, NewBinding, NewKey, Rotation, Speaker};
use crate::directory::{Kind, Object, Ref, Snapshot};

/// Make a service with a key, or another key of a service. The key is shown in this answer and never again, so the call
/// takes no `Idempotency-Key`: an answer that could be had twice would have to be kept. With `certificate` no key is made: client
/// certificates that have this name, of an issuer in `tls.client_ca`, are the service's, in calls that name their organization in
/// `Cedarkeep-Organization`.
#[utoipa::path(post, path = "/v1/api-keys", tag = "Directory", operation_id = "create_api_key", params(Acting),
    request_body = NewApiKey,
    responses((status = 201, description = "the key's record, with the whole `key`, once, and `Location`", body = MadeApiKey), Problems),
    security(("api_key" = [])))]
pub(super) async fn create(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let certificate = body.maybe_text("certificate")?;
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
                id: crypto::random().map_err(|_| Problem::Internal)?,
                scopes: scopes.map_err(|why| wrong("scopes", &why))?,
            }
        }
    };
    let (name, expires_at) = (body.text("name")?, body.maybe_time("expires_at")?);
    body.finish()?;
    if let Some(certificate) = certificate {
        let new = NewBinding {
            id: crypto::random().map_err(|_| Problem::Internal)?,
            name,
            speaker,
            expires_at,
            certificate,
        };
        return bound(&call, &body, new).await;
    }
    let (id, key) = minted(&call)?;
    let new = NewKey {
        id,
        name,
        speaker,
        expires_at,
        digest: *key.digest().as_bytes(),
    };
    let changed = call
        .change::<ApiKeyCreate>(call.org(), Map::new(), &body, move |by, snapshot| {
            service::create_key(by, snapshot, &new)
        })
        .await?;
    Ok(shown_once(changed, &key))
}

/// Has certificates of a name be a service's: nothing of it is secret.
async fn bound(call: &Call, body: &Fields, new: NewBinding) -> Result<Response, Problem> {
    let changed = call
        .change::<ApiKeyCreate>(call.org(), Map::new(), body, move |by, snapshot| {
            service::bind_certificate(by, snapshot, &new)
        })
        .await?;
    Ok(page::made(Kind::ApiKey.collection(), changed))
}

/// A new key, of which nothing is stored yet.
fn minted(call: &Call) -> Result<([u8; 16], ApiKey), Problem> {
    if call.is_keyed() {
        return Err(Problem::Malformed(
            "this call takes no `Idempotency-Key`: its answer holds a secret, which is not kept"
                .into(),
        ));
    }
    let random = |_| Problem::Internal;
    let id = crypto::random().map_err(random)?;
    let secret = crypto::random().map_err(random)?;
    let tenant = *call.door().store().id().bytes();
    Ok((id, ApiKey::mint(Environment::Live, tenant, id, secret)))
}

/// The answer that holds the key itself.
fn shown_once(mut changed: Changed, key: &ApiKey) -> Response {
    if let Some(reply) = changed.reply.as_object_mut() {
        reply.insert("key".into(), key.expose().into());
    }
    let mut response = page::made(Kind::ApiKey.collection(), changed);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Replace a key: another one of the same service, shown in this answer and never again. The old one goes on for `overlap_hours`, so that
/// nothing stands still while the new one is brought out; 0 ends it at once. A service has two live keys at most.
#[utoipa::path(post, path = "/v1/api-keys/{id}/rotation", tag = "Directory", operation_id = "rotate_api_key",
    params(("id" = String, Path, description = "the identifier of the key that is replaced"), Acting),
    request_body = ApiKeyRotation,
    responses((status = 201, description = "the new key's record, with the whole `key`, once, and `Location`", body = RotatedApiKey), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn rotate(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let old = call.named("id", Kind::ApiKey)?;
    let (id, key) = minted(&call)?;
    let rotation = Rotation {
        old,
        overlap: overlap(body.any("overlap_hours"))?,
        id,
        expires_at: body.maybe_time("expires_at")?,
        digest: *key.digest().as_bytes(),
    };
    body.finish()?;
    // Two things are asked: whether this key may be ended, and whether another may be made.
    call.permit_change::<ApiKeyRevoke>(old).await?;
    let changed = call
        .change::<ApiKeyCreate>(call.org(), Map::new(), &body, move |by, snapshot| {
            service::rotate_key(by, snapshot, &rotation)
        })
        .await?;
    Ok(shown_once(changed, &key))
}

fn overlap(sent: Option<Value>) -> Result<TimeDelta, Problem> {
    let Some(sent) = sent else {
        return Ok(service::OVERLAP);
    };
    let hours = sent.as_u64().and_then(|hours| i64::try_from(hours).ok());
    let overlap = hours.and_then(TimeDelta::try_hours);
    overlap
        .filter(|overlap| *overlap <= service::OVERLAP_MOST)
        .ok_or_else(|| wrong("overlap_hours", "it is a whole number from 0 to 168"))
}

/// The keys, without what is secret: `last_used_at` is to the minute, and of all nodes.
#[utoipa::path(get, path = "/v1/api-keys", tag = "Directory", operation_id = "list_api_keys", params(Acting, Paged),
    responses((status = 200, description = "a page of them", body = Page<Described>), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    let paging = Paging::of(limit, cursor)?;
    let listed = page::listed::<ApiKeyRead>(&call, Kind::ApiKey, &paging).await?;
    let mut items = Vec::with_capacity(listed.items().len());
    for key in listed.items() {
        items.extend(with_last_use(&call, *key, listed.snapshot()).await?);
    }
    page::is_whole(listed.snapshot())?;
    Ok(page::page(
        items,
        listed.next().map(|next| next.to_string()),
    ))
}

/// One key, without what is secret.
#[utoipa::path(get, path = "/v1/api-keys/{id}", tag = "Directory", operation_id = "read_api_key",
    params(("id" = String, Path, description = "the key's identifier"), Acting),
    responses((status = 200, description = "the key", body = Described), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let wanted = call.named("id", Kind::ApiKey)?;
    let permitted = call.read::<ApiKeyRead>(wanted).await?;
    let found = with_last_use(&call, wanted, permitted.snapshot()).await?;
    page::is_whole(permitted.snapshot())?;
    found
        .map(|view| Json(view).into_response())
        .ok_or(Problem::NotFound)
}

async fn with_last_use(
    call: &Call,
    key: Ref,
    snapshot: &Snapshot,
) -> Result<Option<Value>, Problem> {
    // A directory's tokens are at `/v1/scim/token`.
    let is_key = match snapshot.object(key).map(|stored| &stored.value) {
        Some(Object::ApiKey(key)) => key.form == Form::Key,
        _ => false,
    };
    if !is_key {
        return Ok(None);
    }
    let Some(mut view) = page::shown_as(key, snapshot) else {
        return Ok(None);
    };
    let used = call.door().last_used(key).await;
    let used = used.map_err(refused::problem)?;
    if let Some(view) = view.as_object_mut() {
        view.insert("last_used_at".into(), json!(used));
    }
    Ok(Some(view))
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
