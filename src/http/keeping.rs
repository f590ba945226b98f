//! What is kept of an organization's log, over HTTP: retention, legal holds, the log's key, and the erasure of a person.

use axum::response::Response;
use serde_json::{Map, Value};

use super::call::Call;
use super::document::calls::{Acting, Keyed, Problems};
use super::document::organization::{
    Erasure, KeyName as RotatedKey, KeyRotationProgress, LegalHoldReason, LogKeyRotation,
    Organization, OrganizationClosing, RetentionChange,
};
use super::fields::{self, Fields};
use super::page;
use super::problem::Problem;
use super::refused;
use crate::decide::authorized::{
    DataErase, KeyRotate, LegalHoldRelease, LegalHoldSet, RetentionUpdate, SettingsUpdate,
};
use crate::directory::keys::{self, KeyName};
use crate::directory::{Kind, closing, keeping};

/// For how many days entries of the log are kept. Older ones are taken away in steps of 256; their hashes stay, so that receipts and
/// proofs go on verifying.
#[utoipa::path(put, path = "/v1/organization/retention", tag = "Audit", operation_id = "set_retention", params(Acting, Keyed),
    request_body = RetentionChange,
    responses((status = 200, description = "the organization as it is now", body = Organization), Problems),
    security(("api_key" = [])))]
pub(super) async fn retention(call: Call, mut body: Fields) -> Result<Response, Problem> {
    const MEMBER: &str = "retention_days";
    let days = match body.any(MEMBER) {
        None => return Err(fields::missing(MEMBER)),
        Some(Value::Null) => None,
        Some(value) => Some(
            value
                .as_u64()
                .and_then(|days| u32::try_from(days).ok())
                .ok_or_else(|| fields::wrong(MEMBER, "it must be a whole number, or null"))?,
        ),
    };
    body.finish()?;
    let settings = call.singleton(Kind::Settings);
    let changed = call
        .change::<RetentionUpdate>(settings, Map::new(), &body, move |by, snapshot| {
            keeping::set_retention(by, snapshot, days)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// A legal hold on the whole organization: until each is released, nothing of the log is pruned and nobody is erased.
#[utoipa::path(post, path = "/v1/organization/hold", tag = "Audit", operation_id = "set_legal_hold", params(Acting, Keyed),
    request_body = LegalHoldReason,
    responses((status = 200, description = "the organization as it is now, with how many `holds` stand", body = Organization), Problems),
    security(("api_key" = [])))]
pub(super) async fn hold(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let reason = body.text("reason")?;
    body.finish()?;
    let changed = call
        .change::<LegalHoldSet>(call.org(), Map::new(), &body, move |by, snapshot| {
            keeping::hold(by, snapshot, &reason)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Releases one legal hold.
#[utoipa::path(post, path = "/v1/organization/release", tag = "Audit", operation_id = "release_legal_hold", params(Acting, Keyed),
    request_body = LegalHoldReason,
    responses((status = 200, description = "the organization as it is now, with how many `holds` stand", body = Organization), Problems),
    security(("api_key" = [])))]
pub(super) async fn release(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let reason = body.text("reason")?;
    body.finish()?;
    let changed = call
        .change::<LegalHoldRelease>(call.org(), Map::new(), &body, move |by, snapshot| {
            keeping::release(by, snapshot, &reason)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// The log is signed by a new key from here on; the checkpoint of this change is signed by the old one too, which is then destroyed.
#[utoipa::path(post, path = "/v1/audit/key", tag = "Audit", operation_id = "rotate_log_key", params(Acting, Keyed),
    responses((status = 200, description = "it is; `GET /v1/audit/checkpoint` has the new key", body = LogKeyRotation), Problems),
    security(("api_key" = [])))]
pub(super) async fn rotate(call: Call) -> Result<Response, Problem> {
    let settings = call.singleton(Kind::Settings);
    let changed = call
        .change::<KeyRotate>(
            settings,
            Map::new(),
            &Fields::none(),
            keeping::rotate_log_key,
        )
        .await?;
    Ok(page::changed_to(changed))
}

/// The organization is to be closed: after a grace period all that it has is destroyed, keys first, and nothing brings it back.
///
/// Until then everything goes on, `closes_at` says when it ends, and `DELETE` calls it off. A legal hold stands against it. That it was
/// done is an entry of the deployment's own log.
#[utoipa::path(post, path = "/v1/organization/closing", tag = "Directory", operation_id = "close_organization", params(Acting, Keyed),
    request_body = OrganizationClosing,
    responses((status = 200, description = "the organization as it is now", body = Organization), Problems),
    security(("api_key" = [])))]
pub(super) async fn close(call: Call, mut body: Fields) -> Result<Response, Problem> {
    const MEMBER: &str = "days";
    let days = match body.any(MEMBER) {
        None => closing::GRACE_LIMIT,
        Some(value) => value
            .as_u64()
            .and_then(|days| u32::try_from(days).ok())
            .ok_or_else(|| fields::wrong(MEMBER, "it must be a whole number"))?,
    };
    body.finish()?;
    let changed = call
        .change::<DataErase>(call.org(), Map::new(), &body, move |by, snapshot| {
            closing::request(by, snapshot, days)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// The closing of the organization is called off.
#[utoipa::path(delete, path = "/v1/organization/closing", tag = "Directory", operation_id = "keep_organization", params(Acting, Keyed),
    responses((status = 200, description = "the organization as it is now", body = Organization), Problems),
    security(("api_key" = [])))]
pub(super) async fn call_off(call: Call) -> Result<Response, Problem> {
    let settings = call.singleton(Kind::Settings);
    let changed = call
        .change::<SettingsUpdate>(settings, Map::new(), &Fields::none(), closing::call_off)
        .await?;
    Ok(page::changed_to(changed))
}

/// A key of the organization's is rotated: the next version is used from here on, what lies under the one before is sealed or wrapped again
/// in the background, and then that is destroyed; `key.rotated` says when it is begun and when it is done.
#[utoipa::path(post, path = "/v1/keys/{key}/rotation", tag = "Directory", operation_id = "rotate_key",
    params(("key" = RotatedKey, Path, description = "which key"), Acting, Keyed),
    responses((status = 200, description = "the next version is used", body = KeyRotationProgress), Problems),
    security(("api_key" = [])))]
pub(super) async fn rotate_key(call: Call) -> Result<Response, Problem> {
    let key: KeyName = call.text("key")?.parse().map_err(|_| Problem::NotFound)?;
    let settings = call.singleton(Kind::Settings);
    let changed = call
        .change::<KeyRotate>(
            settings,
            Map::new(),
            &Fields::none(),
            move |by, snapshot| keys::rotate(by, snapshot, key),
        )
        .await?;
    Ok(page::changed_to(changed))
}

/// A person is forgotten: they leave, the key of what the log says about them is destroyed, and it is written out of the log in the
/// background (`data.erased` says when that is done). Receipts and proofs go on verifying.
///
/// So is somebody who left before: Cedar then decides `data.erase` on the organization. Asked for again, it is done again.
#[utoipa::path(post, path = "/v1/users/{id}/erasure", tag = "Directory", operation_id = "erase_user",
    params(("id" = String, Path, description = "the person's identifier"), Acting, Keyed),
    responses((status = 200, description = "they are being forgotten", body = Erasure), Problems),
    security(("api_key" = [])))]
pub(super) async fn erase(call: Call) -> Result<Response, Problem> {
    let person = call.named("id", Kind::User)?;
    let left = call.door().has_left(person).await;
    let changed = if left.map_err(refused::problem)? {
        call.change_past::<DataErase>(move |by, snapshot| {
            keeping::erase_who_left(by, snapshot, person)
        })
        .await?
    } else {
        call.change::<DataErase>(person, Map::new(), &Fields::none(), keeping::erase)
            .await?
    };
    Ok(page::changed_to(changed))
}
