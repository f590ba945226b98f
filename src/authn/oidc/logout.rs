//! A logout token: a provider says by itself that somebody's session is over (OpenID Connect Back-Channel Logout 1.0, 2.4 to 2.6).

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::keys::KeySet;
use super::members::seconds;
use super::token::{identifier, is_for, is_now, subject};
use super::{OidcRefusal, SKEW_S, signed, subject_of};
use crate::directory::connection::Oidc;

/// The member of `events` that makes it one.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// After how many seconds a token is over that its provider lets live longer: what was taken once is remembered as long.
const AGE_S: i64 = 3600;

/// A logout that a provider asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logout {
    /// Whose sessions end, as [`Proof`](crate::authn::proof::Proof) names them; none: see `provider_session`.
    pub subject: Option<String>,
    /// The provider's session that is over; none: all that the subject has.
    pub provider_session: Option<String>,
    /// What must never be taken twice, and until when.
    pub once: (String, DateTime<Utc>),
}

/// The logout that this token asks for, if its signature and every rule hold. That it is taken once is up to whoever keeps `once`.
///
/// # Errors
/// The first check that fails. On [`OidcRefusal::UnknownKey`] the provider may have new keys.
pub fn verify(
    token: &str,
    oidc: &Oidc,
    keys: &KeySet,
    now: DateTime<Utc>,
) -> Result<Logout, OidcRefusal> {
    let token = signed::verify(token, &["JWT", "logout+jwt"], keys)?;
    let claims = &token.claims;
    is_for(claims, oidc)?;
    is_now(claims, now)?;
    let issued = seconds(claims.get("iat")).ok_or(OidcRefusal::IssuedAhead)?;
    if issued.saturating_add(AGE_S + SKEW_S) <= now.timestamp() {
        return Err(OidcRefusal::Expired);
    }
    let event = claims.get("events").and_then(|events| events.get(EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(OidcRefusal::Events);
    }
    if claims.contains_key("nonce") {
        return Err(OidcRefusal::NonceInLogout);
    }
    let id = claims
        .get("jti")
        .and_then(identifier)
        .ok_or(OidcRefusal::Identifier)?;
    let sub = match claims.get("sub") {
        None => None,
        Some(_) => Some(subject(claims).ok_or(OidcRefusal::Subject)?),
    };
    let session = claims
        .get("sid")
        .map(|sid| identifier(sid).ok_or_else(|| OidcRefusal::Claim("sid".to_owned())));
    let session = session.transpose()?;
    if sub.is_none() && session.is_none() {
        return Err(OidcRefusal::Nobody);
    }
    Ok(Logout {
        subject: sub.map(|sub| subject_of(&oidc.issuer, &sub)),
        provider_session: session,
        once: (id, now + TimeDelta::seconds(AGE_S + 2 * SKEW_S)),
    })
}
