//! How a provider describes itself (OpenID Connect Discovery 1.0), and whether it can be spoken to as we speak.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use url::Url;

use super::keys::Algorithm;
use super::members::{object, strings};
use super::{OidcRefusal, Plain, shown};
use crate::directory::connection::Oidc;

/// The longest issuer and endpoint, in bytes.
const URL_LIMIT: usize = 2048;

/// A provider whose description holds: whatever is sent to it goes to these places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    pub(super) issuer: String,
    pub(super) authorization: Url,
    pub(super) token: Url,
    keys: Url,
    userinfo: Option<Url>,
    methods: Option<BTreeSet<String>>,
    pub(super) names_itself: bool,
}

/// How a client says to the token endpoint who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// By a header.
    Basic,
    /// In the form.
    Post,
    /// By its name alone: PKCE protects the code.
    Public,
}

/// Where the provider of this issuer describes itself.
///
/// # Errors
/// No issuer that the standard allows.
pub fn well_known(issuer: &str, plain: Plain) -> Result<Url, OidcRefusal> {
    let spaced = issuer.chars().any(|char| !char.is_ascii_graphic());
    let url = plain.url(issuer).ok_or(OidcRefusal::IssuerUrl)?;
    if spaced
        || issuer.len() > URL_LIMIT
        || issuer.contains(['?', '#', '\\'])
        || url.query().is_some()
    {
        return Err(OidcRefusal::IssuerUrl);
    }
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    format!("{base}/.well-known/openid-configuration")
        .parse()
        .map_err(|_| OidcRefusal::IssuerUrl)
}

impl Provider {
    /// What this description says, if it is the issuer's own and goes with the code flow, PKCE by S256 and a signature that is taken.
    ///
    /// # Errors
    /// What it says cannot be read, is of somebody else, or does not go with that.
    pub fn read(issuer: &str, document: &[u8], plain: Plain) -> Result<Self, OidcRefusal> {
        well_known(issuer, plain)?;
        let said =
            object(document).map_err(|refused| OidcRefusal::Document(refused.to_string()))?;
        let Some(Value::String(said_issuer)) = said.get("issuer") else {
            return Err(OidcRefusal::DocumentMember("issuer"));
        };
        if said_issuer != issuer {
            return Err(OidcRefusal::DocumentIssuer(shown(said_issuer)));
        }
        let endpoint = |name| match said.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() <= URL_LIMIT => {
                plain.url(text).map(Some).ok_or(OidcRefusal::Endpoint(name))
            }
            Some(_) => Err(OidcRefusal::Endpoint(name)),
        };
        let required = |name| endpoint(name)?.ok_or(OidcRefusal::DocumentMember(name));
        let provider = Self {
            issuer: issuer.to_owned(),
            authorization: required("authorization_endpoint")?,
            token: required("token_endpoint")?,
            keys: required("jwks_uri")?,
            userinfo: endpoint("userinfo_endpoint")?,
            methods: list(&said, "token_endpoint_auth_methods_supported")?
                .map(|methods| methods.into_iter().map(str::to_owned).collect()),
            names_itself: flag(&said, "authorization_response_iss_parameter_supported")?,
        };
        offers(&said, "response_types_supported", |one| one == "code")?;
        offers(&said, "response_modes_supported", |one| one == "query")?;
        offers(&said, "grant_types_supported", |one| {
            one == "authorization_code"
        })?;
        offers(&said, "code_challenge_methods_supported", |one| {
            one == "S256"
        })?;
        offers(&said, "id_token_signing_alg_values_supported", |one| {
            Algorithm::named(one).is_some()
        })?;
        for demand in [
            "require_pushed_authorization_requests",
            "require_signed_request_object",
        ] {
            if flag(&said, demand)? {
                return Err(OidcRefusal::Unsupported(demand));
            }
        }
        Ok(provider)
    }

    /// Where its keys are.
    #[must_use]
    pub const fn keys(&self) -> &Url {
        &self.keys
    }

    /// Where it says more about somebody.
    #[must_use]
    pub const fn userinfo(&self) -> Option<&Url> {
        self.userinfo.as_ref()
    }

    /// How we say who we are: as it said it can read it, and by the header where it said nothing, as the standard has it.
    pub(super) fn client_auth(&self, oidc: &Oidc) -> Result<ClientAuth, OidcRefusal> {
        if oidc.client_secret.is_none() {
            return Ok(ClientAuth::Public);
        }
        let Some(methods) = &self.methods else {
            return Ok(ClientAuth::Basic);
        };
        if methods.contains("client_secret_basic") {
            Ok(ClientAuth::Basic)
        } else if methods.contains("client_secret_post") {
            Ok(ClientAuth::Post)
        } else {
            Err(OidcRefusal::Unsupported(
                "token_endpoint_auth_methods_supported",
            ))
        }
    }
}

fn list<'a>(
    said: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<Vec<&'a str>>, OidcRefusal> {
    match said.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value @ Value::Array(_)) => strings(value)
            .map(Some)
            .ok_or(OidcRefusal::DocumentMember(name)),
        Some(_) => Err(OidcRefusal::DocumentMember(name)),
    }
}

/// Where it says what it can do, that must be among it.
fn offers(
    said: &Map<String, Value>,
    name: &'static str,
    needed: impl Fn(&str) -> bool,
) -> Result<(), OidcRefusal> {
    match list(said, name)? {
        Some(offered) if !offered.iter().any(|one| needed(one)) => {
            Err(OidcRefusal::Unsupported(name))
        }
        Some(_) | None => Ok(()),
    }
}

fn flag(said: &Map<String, Value>, name: &'static str) -> Result<bool, OidcRefusal> {
    match said.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(OidcRefusal::DocumentMember(name)),
    }
}
