//! Who asks: the doors by which a caller comes in.

pub mod api_key;
pub mod certificate;
pub mod lockout;
pub mod oidc;
pub mod proof;
pub mod saml;
pub mod token;

use chrono::{DateTime, Utc};

use crate::directory::object::{Form, Session};
use crate::directory::{Kind, Object, Ref, Snapshot};
use api_key::{ApiKey, KeyDigest};
use token::Token;

/// Why a well-formed key or link is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is none of that id: never made, or revoked.
    Unknown,
    /// The id is right and the secret is not; of a link also: another was sent since.
    Wrong,
    /// It has expired.
    Expired,
}

/// The stored key that a caller's key is, and its service.
///
/// # Errors
/// There is none, or it is not this one, or its time is over.
pub fn key_of(
    snapshot: &Snapshot,
    key: &ApiKey,
    now: DateTime<Utc>,
) -> Result<(Ref, Ref), Refusal> {
    let reference = Ref::new(Kind::ApiKey, key.id());
    let Some(Object::ApiKey(stored)) = snapshot.object(reference).map(|stored| &stored.value)
    else {
        return Err(Refusal::Unknown);
    };
    let digest: Option<[u8; 32]> = data_encoding::HEXLOWER
        .decode(stored.digest.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    if !digest.is_some_and(|digest| KeyDigest::from_bytes(digest).is_of(key)) {
        return Err(Refusal::Wrong);
    }
    if stored.expires_at.is_some_and(|end| now >= end) {
        return Err(Refusal::Expired);
    }
    Ok((reference, stored.service))
}

/// The stored token of a customer's directory that this is, and its service.
///
/// # Errors
/// There is none, or it is not this one, or its time is over.
pub fn directory_of(
    snapshot: &Snapshot,
    token: &Token,
    now: DateTime<Utc>,
) -> Result<(Ref, Ref), Refusal> {
    let reference = Ref::new(Kind::ApiKey, token.id());
    let stored = match snapshot.object(reference).map(|stored| &stored.value) {
        Some(Object::ApiKey(stored)) if stored.form == Form::Scim => stored,
        _ => return Err(Refusal::Unknown),
    };
    if !token.is(&stored.digest) {
        return Err(Refusal::Wrong);
    }
    if stored.expires_at.is_some_and(|end| now >= end) {
        return Err(Refusal::Expired);
    }
    Ok((reference, stored.service))
}

/// The binding that a certificate of these names is by, and its service. That it is verified and not over is looked at before.
///
/// # Errors
/// There is none, or more than one, so that it says nothing; or its time is over.
pub fn binding_of(
    snapshot: &Snapshot,
    names: &[String],
    now: DateTime<Utc>,
) -> Result<(Ref, Ref), Refusal> {
    let keys = snapshot.objects_of(Kind::ApiKey, None);
    let mut found = keys.filter_map(|(reference, stored)| match &stored.value {
        Object::ApiKey(key) => {
            let name = key.certificate.as_ref()?;
            names.contains(name).then_some((reference, key))
        }
        _ => None,
    });
    let (Some((reference, key)), None) = (found.next(), found.next()) else {
        return Err(Refusal::Unknown);
    };
    if key.expires_at.is_some_and(|end| now >= end) {
        return Err(Refusal::Expired);
    }
    Ok((reference, key.service))
}

/// The session that a cookie is of. Whether it was used lately is another question.
///
/// # Errors
/// There is none, or it is not this one, or its time is over.
pub fn session_of<'a>(
    snapshot: &'a Snapshot,
    cookie: &Token,
    now: DateTime<Utc>,
) -> Result<(Ref, &'a Session), Refusal> {
    let reference = Ref::new(Kind::Session, cookie.id());
    let Some(Object::Session(stored)) = snapshot.object(reference).map(|stored| &stored.value)
    else {
        return Err(Refusal::Unknown);
    };
    if !cookie.is(&stored.digest) {
        return Err(Refusal::Wrong);
    }
    if now >= stored.expires_at {
        return Err(Refusal::Expired);
    }
    Ok((reference, stored))
}

/// The invitation that a link is to.
///
/// # Errors
/// There is none, or this is not its link, or its time is over.
pub fn invitation_of(
    snapshot: &Snapshot,
    link: &Token,
    now: DateTime<Utc>,
) -> Result<Ref, Refusal> {
    let reference = Ref::new(Kind::Invitation, link.id());
    let Some(Object::Invitation(stored)) = snapshot.object(reference).map(|stored| &stored.value)
    else {
        return Err(Refusal::Unknown);
    };
    if !link.is(&stored.digest) {
        return Err(Refusal::Wrong);
    }
    if now >= stored.expires_at {
        return Err(Refusal::Expired);
    }
    Ok(reference)
}
