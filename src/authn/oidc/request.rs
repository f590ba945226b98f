//! A sign-in on its way: where a browser is sent, what stays here meanwhile, and what the browser brings back.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE64URL_NOPAD;
use openidconnect::{PkceCodeChallenge, PkceCodeVerifier};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use url::Url;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::discovery::Provider;
use super::{OidcRefusal, shown};
use crate::directory::connection::Oidc;

/// How long a browser may be away, in minutes.
const AWAY_MIN: i64 = 10;

/// The longest query that a browser brings back, in bytes.
const QUERY_LIMIT: usize = 16 * 1024;

/// What makes one sign-in different from every other: 256 random bits each, used for nothing else.
#[derive(ZeroizeOnDrop)]
pub struct Seeds {
    /// Of `state`, which ties the answer to the browser.
    pub state: [u8; 32],
    /// Of `nonce`, which ties the token to the sign-in.
    pub nonce: [u8; 32],
    /// Of the PKCE verifier, which ties the code to us.
    pub verifier: [u8; 32],
}

impl fmt::Debug for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seeds(..)")
    }
}

/// A sign-in whose browser is away. It is kept on this side, sealed, taken out once, and never sent.
#[derive(Clone, Serialize, Deserialize, ZeroizeOnDrop)]
pub struct Pending {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    #[zeroize(skip)]
    ends_at: DateTime<Utc>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("issuer", &self.issuer)
            .field("ends_at", &self.ends_at)
            .finish_non_exhaustive()
    }
}

/// The URL to which a browser is sent, and what stays here. `redirect_uri` is our own, to the character as the provider has it registered;
/// `login_hint` is what somebody has typed as their address, if they have.
#[must_use]
pub fn begin(
    (oidc, provider): (&Oidc, &Provider),
    redirect_uri: &Url,
    login_hint: Option<&str>,
    seeds: &Seeds,
    now: DateTime<Utc>,
) -> (Url, Pending) {
    let verifier = PkceCodeVerifier::new(BASE64URL_NOPAD.encode(&seeds.verifier));
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    let pending = Pending {
        issuer: provider.issuer.clone(),
        client_id: oidc.client_id.clone(),
        redirect_uri: redirect_uri.as_str().to_owned(),
        state: BASE64URL_NOPAD.encode(&seeds.state),
        nonce: BASE64URL_NOPAD.encode(&seeds.nonce),
        verifier: verifier.into_secret(),
        ends_at: now + TimeDelta::minutes(AWAY_MIN),
    };
    let mut scope = "openid".to_owned();
    for one in oidc.scopes.iter().filter(|one| *one != "openid") {
        scope.push(' ');
        scope.push_str(one);
    }
    let mut url = provider.authorization.clone();
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &oidc.client_id)
            .append_pair("redirect_uri", &pending.redirect_uri)
            .append_pair("scope", &scope)
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", challenge.method().as_str());
        if let Some(domain) = &oidc.hosted_domain {
            query.append_pair("hd", domain);
        }
        if let Some(hint) = login_hint {
            query.append_pair("login_hint", hint);
        }
    }
    (url, pending)
}

/// A code that a browser has brought back; it is good for one request.
#[derive(ZeroizeOnDrop)]
pub struct Code(String);

impl Code {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

/// What a browser brings back, not yet believed.
pub struct Callback {
    state: String,
    issuer: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback(..)")
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.state.zeroize();
        self.code.zeroize();
    }
}

impl Callback {
    /// Reads the query of the redirect URI as it was called, without its `?`.
    ///
    /// # Errors
    /// Too long, a parameter twice, or no `state`.
    pub fn read(query: &str) -> Result<Self, OidcRefusal> {
        if query.len() > QUERY_LIMIT {
            return Err(OidcRefusal::Callback("it is longer than 16 KiB"));
        }
        let once = |name: &str| {
            let pairs = url::form_urlencoded::parse(query.as_bytes());
            let mut found = pairs
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned());
            match (found.next(), found.next()) {
                (one, None) => Ok(one),
                (_, Some(_)) => Err(OidcRefusal::Callback("a parameter is there twice")),
            }
        };
        Ok(Self {
            state: once("state")?.ok_or(OidcRefusal::Callback("it has no `state`"))?,
            issuer: once("iss")?,
            code: once("code")?,
            error: once("error")?,
        })
    }

    /// By what the sign-in is found that this ends: see [`Pending::key`].
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        Sha256::digest(self.state.as_bytes()).into()
    }
}

impl Pending {
    /// By what it is found when the browser is back: SHA-256 of `state`.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        Sha256::digest(self.state.as_bytes()).into()
    }

    /// When it is over.
    #[must_use]
    pub const fn ends_at(&self) -> DateTime<Utc> {
        self.ends_at
    }

    /// The code that a browser has brought back to this sign-in. Whoever calls this has taken it out of the store, so that nobody else does.
    ///
    /// # Errors
    /// It is too late, of another browser or of another provider (RFC 9207), the connection is another by now, or the provider says no.
    pub fn accept(
        &self,
        (oidc, provider): (&Oidc, &Provider),
        callback: &Callback,
        now: DateTime<Utc>,
    ) -> Result<Code, OidcRefusal> {
        if !bool::from(self.state.as_bytes().ct_eq(callback.state.as_bytes())) {
            return Err(OidcRefusal::State);
        }
        if now >= self.ends_at {
            return Err(OidcRefusal::Late);
        }
        if self.issuer != oidc.issuer
            || self.issuer != provider.issuer
            || self.client_id != oidc.client_id
        {
            return Err(OidcRefusal::Changed);
        }
        match &callback.issuer {
            Some(issuer) if *issuer != self.issuer => return Err(OidcRefusal::CallbackIssuer),
            None if provider.names_itself => return Err(OidcRefusal::CallbackIssuer),
            Some(_) | None => {}
        }
        if let Some(error) = &callback.error {
            return Err(OidcRefusal::Declined(shown(error)));
        }
        match &callback.code {
            Some(code) if !code.is_empty() => Ok(Code(code.clone())),
            Some(_) | None => Err(OidcRefusal::Callback("it has no `code`")),
        }
    }
}
