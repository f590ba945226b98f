//! An ID token held to its signature and every rule, and what it proves about somebody.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use super::grant::Grant;
use super::keys::KeySet;
use super::members::{object, seconds, strings};
use super::request::Pending;
use super::signed::{self, Verified};
use super::{OidcRefusal, SKEW_S, subject_of};
use crate::authn::proof::Proof;
use crate::directory::connection::Oidc;

/// The longest `sub`, `sid` and `jti`, in bytes.
pub(super) const ID_LIMIT: usize = 255;

/// The longest address, in bytes (RFC 5321 allows 254).
const EMAIL_LIMIT: usize = 254;

/// The longest name of a person or a group, in bytes.
const NAME_LIMIT: usize = 512;

/// The most groups of a person.
const GROUPS_LIMIT: usize = 2000;

/// The most characters of a claim that are shown to whoever tests a connection.
const SHOWN_LIMIT: usize = 1000;

/// Somebody as an ID token that holds tells of them.
pub struct Identity {
    sub: String,
    issuer: String,
    claims: Map<String, Value>,
    userinfo: Map<String, Value>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// Whom the ID token of a grant speaks of, if its signature and every rule of OpenID Connect Core 1.0 (3.1.3.7) hold, and of ours.
///
/// # Errors
/// The first check that fails. On [`OidcRefusal::UnknownKey`] the provider may have new keys.
pub fn verify(
    grant: &Grant,
    pending: &Pending,
    oidc: &Oidc,
    keys: &KeySet,
    now: DateTime<Utc>,
) -> Result<Identity, OidcRefusal> {
    let token = signed::verify(&grant.id_token, &["JWT"], keys)?;
    let claims = &token.claims;
    // What was asked of one provider is not answered by another, however the connection was set meanwhile.
    if pending.issuer != oidc.issuer || pending.client_id != oidc.client_id {
        return Err(OidcRefusal::Changed);
    }
    let audiences = is_for(claims, oidc)?;
    match claims.get("azp") {
        Some(Value::String(party)) if *party == oidc.client_id => {}
        None if audiences == 1 => {}
        Some(_) | None => return Err(OidcRefusal::AuthorizedParty),
    }
    is_now(claims, now)?;
    let nonce = claims
        .get("nonce")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !bool::from(nonce.as_bytes().ct_eq(pending.nonce.as_bytes())) {
        return Err(OidcRefusal::Nonce);
    }
    is_of_the_access_token(&token, grant)?;
    let sub = subject(claims).ok_or(OidcRefusal::Subject)?;
    if let Some(domain) = &oidc.hosted_domain
        && claims.get("hd").and_then(Value::as_str) != Some(domain)
    {
        return Err(OidcRefusal::HostedDomain);
    }
    Ok(Identity {
        sub,
        issuer: oidc.issuer.clone(),
        claims: token.claims,
        userinfo: Map::new(),
    })
}

/// Whether a token is the issuer's and for our client; for how many it is.
pub(super) fn is_for(claims: &Map<String, Value>, oidc: &Oidc) -> Result<usize, OidcRefusal> {
    if claims.get("iss").and_then(Value::as_str) != Some(&oidc.issuer) {
        return Err(OidcRefusal::Issuer);
    }
    let audiences = claims.get("aud").and_then(strings).unwrap_or_default();
    if audiences.contains(&oidc.client_id.as_str()) {
        Ok(audiences.len())
    } else {
        Err(OidcRefusal::Audience)
    }
}

/// Whether a token's times hold: `exp` and `iat` must be there.
pub(super) fn is_now(claims: &Map<String, Value>, now: DateTime<Utc>) -> Result<(), OidcRefusal> {
    let now = now.timestamp();
    let ahead = |at: i64| at > now.saturating_add(SKEW_S);
    let exp = seconds(claims.get("exp")).ok_or(OidcRefusal::Expired)?;
    if exp.saturating_add(SKEW_S) <= now {
        return Err(OidcRefusal::Expired);
    }
    if seconds(claims.get("iat")).is_none_or(ahead) {
        return Err(OidcRefusal::IssuedAhead);
    }
    if claims.contains_key("nbf") && seconds(claims.get("nbf")).is_none_or(ahead) {
        return Err(OidcRefusal::NotYet);
    }
    Ok(())
}

fn is_of_the_access_token(token: &Verified<'_>, grant: &Grant) -> Result<(), OidcRefusal> {
    let Some(said) = token.claims.get("at_hash") else {
        return Ok(());
    };
    let hash = token.half_hash(&grant.access_token);
    if hash.is_some() && said.as_str() == hash.as_deref() {
        Ok(())
    } else {
        Err(OidcRefusal::AccessTokenHash)
    }
}

/// A `sub` that can be somebody's.
pub(super) fn subject(claims: &Map<String, Value>) -> Option<String> {
    identifier(claims.get("sub")?)
}

/// An identifier of the provider's: short, not empty, and nothing in it that cannot be seen.
pub(super) fn identifier(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let fits = (1..=ID_LIMIT).contains(&text.len())
        && !text.chars().any(char::is_control)
        && !text.trim().is_empty();
    fits.then(|| text.to_owned())
}

impl Identity {
    /// Whether the provider may know more of what is needed than the token says: an address, or the groups that the connection reads.
    #[must_use]
    pub fn lacks(&self, oidc: &Oidc) -> bool {
        let groups = oidc.groups_claim.as_ref();
        !self.claims.contains_key("email")
            || !self.claims.contains_key("name")
            || groups.is_some_and(|claim| !self.claims.contains_key(claim))
    }

    /// Adds what the userinfo endpoint has answered with this status and media type. What the token says itself stays.
    ///
    /// # Errors
    /// It says no, it says no JSON, or it speaks of somebody else.
    pub fn with_userinfo(
        mut self,
        status: u16,
        media: &str,
        body: &[u8],
    ) -> Result<Self, OidcRefusal> {
        if status != 200 {
            return Err(OidcRefusal::Userinfo("it is not 200"));
        }
        let kind = media.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(OidcRefusal::Userinfo(
                "it is not `application/json`; switch its signing and encryption off at the provider",
            ));
        }
        let said = object(body).map_err(|_| OidcRefusal::Userinfo("it is not one JSON object"))?;
        if said.get("sub").and_then(Value::as_str) != Some(&self.sub) {
            return Err(OidcRefusal::UserinfoSubject);
        }
        self.userinfo = said;
        Ok(self)
    }

    /// What is proven.
    ///
    /// # Errors
    /// A claim that is read has another type than its standard gives it.
    pub fn proof(&self, oidc: &Oidc) -> Result<Proof, OidcRefusal> {
        let email = self.text("email", EMAIL_LIMIT)?;
        // An address is verified by whoever has said it.
        let from = if self.claims.contains_key("email") {
            &self.claims
        } else {
            &self.userinfo
        };
        let email_verified = match from.get("email_verified") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(verified)) => *verified,
            // Some providers send it as a string.
            Some(Value::String(text)) if text == "true" => true,
            Some(Value::String(text)) if text == "false" => false,
            Some(_) => return Err(OidcRefusal::EmailVerified),
        };
        let session = self
            .claims
            .get("sid")
            .map(|sid| identifier(sid).ok_or_else(|| OidcRefusal::Claim("sid".to_owned())));
        Ok(Proof {
            subject: subject_of(&self.issuer, &self.sub),
            email_verified: email.is_some() && email_verified,
            email,
            name: self.text("name", NAME_LIMIT)?,
            groups: self.groups(oidc)?,
            provider_session: session.transpose()?,
            ends_at: None,
            once: None,
            claims: self.words(),
        })
    }

    /// What is said by this name: by the token, else by the userinfo endpoint.
    fn said(&self, name: &str) -> Option<&Value> {
        let said = self.claims.get(name).or_else(|| self.userinfo.get(name));
        said.filter(|value| !value.is_null())
    }

    fn text(&self, name: &'static str, limit: usize) -> Result<Option<String>, OidcRefusal> {
        match self.said(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text))
                if text.len() <= limit && !text.chars().any(char::is_control) =>
            {
                Ok(Some(text.clone()))
            }
            Some(_) => Err(OidcRefusal::Claim(name.to_owned())),
        }
    }

    fn groups(&self, oidc: &Oidc) -> Result<Vec<String>, OidcRefusal> {
        let Some(claim) = &oidc.groups_claim else {
            return Ok(Vec::new());
        };
        let Some(value) = self.said(claim) else {
            return Ok(Vec::new());
        };
        let groups = strings(value).filter(|groups| {
            groups.len() <= GROUPS_LIMIT && groups.iter().all(|group| group.len() <= NAME_LIMIT)
        });
        let groups = groups.ok_or_else(|| OidcRefusal::Claim(super::shown(claim)))?;
        Ok(groups.into_iter().map(str::to_owned).collect())
    }

    /// All that was said, in words. The nonce is left out: it is ours, and whoever tests has never seen it.
    fn words(&self) -> Vec<(String, String)> {
        let word = |prefix: &str, (name, value): (&String, &Value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let text = text.chars().filter(|char| !char.is_control());
            (format!("{prefix}{name}"), text.take(SHOWN_LIMIT).collect())
        };
        let token = self.claims.iter().filter(|(name, _)| *name != "nonce");
        let token = token.map(|pair| word("", pair));
        token
            .chain(self.userinfo.iter().map(|pair| word("userinfo.", pair)))
            .collect()
    }
}
