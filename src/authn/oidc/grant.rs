//! The code made into tokens: what is sent to the token endpoint, and what is read of its answer.

use std::fmt;

use data_encoding::BASE64;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::byte_serialize;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::discovery::{ClientAuth, Provider};
use super::members::object;
use super::request::{Code, Pending};
use super::{OidcRefusal, shown};
use crate::directory::connection::{ClientSecret, Oidc};

/// A POST of a form to the token endpoint.
pub struct TokenRequest {
    /// Where it goes.
    pub url: Url,
    /// The value of `Authorization`, if there is one; a secret.
    pub authorization: Option<String>,
    /// The fields of the form, secrets among them.
    pub form: Vec<(&'static str, String)>,
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

impl Drop for TokenRequest {
    fn drop(&mut self) {
        self.authorization.zeroize();
        self.form.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

/// The request by which a code becomes tokens. It may be sent once.
///
/// # Errors
/// The provider reads no client secret as we would send it.
pub fn redeem(
    (oidc, provider): (&Oidc, &Provider),
    pending: &Pending,
    code: &Code,
) -> Result<TokenRequest, OidcRefusal> {
    let mut form = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.expose().to_owned()),
        ("redirect_uri", pending.redirect_uri.clone()),
        ("code_verifier", pending.verifier.clone()),
    ];
    let secret = oidc.client_secret.as_ref().map_or("", ClientSecret::expose);
    let authorization = match provider.client_auth(oidc)? {
        ClientAuth::Basic => {
            // Encoded twice, as RFC 6749, 2.3.1 wants it.
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let mut pair = format!("{}:{}", encoded(&oidc.client_id), encoded(secret));
            let value = format!("Basic {}", BASE64.encode(pair.as_bytes()));
            pair.zeroize();
            Some(value)
        }
        ClientAuth::Post => {
            form.push(("client_id", oidc.client_id.clone()));
            form.push(("client_secret", secret.to_owned()));
            None
        }
        ClientAuth::Public => {
            form.push(("client_id", oidc.client_id.clone()));
            None
        }
    };
    Ok(TokenRequest {
        url: provider.token.clone(),
        authorization,
        form,
    })
}

/// The tokens that a code was worth. They are used at once and kept nowhere.
#[derive(ZeroizeOnDrop)]
pub struct Grant {
    pub(super) id_token: String,
    pub(super) access_token: String,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grant(..)")
    }
}

impl Grant {
    /// Reads what the token endpoint has answered with this status.
    ///
    /// # Errors
    /// It says no, or what it says is no answer with an ID token and a bearer token.
    pub fn read(status: u16, body: &[u8]) -> Result<Self, OidcRefusal> {
        let said = object(body);
        if status != 200 {
            let error = said
                .ok()
                .and_then(|said| Some(shown(said.get("error")?.as_str()?)));
            return Err(OidcRefusal::TokenDeclined(
                error.unwrap_or_else(|| status.to_string()),
            ));
        }
        let mut said = said.map_err(|_| OidcRefusal::TokenAnswer("it is not one JSON object"))?;
        let mut text = |name| match said.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(OidcRefusal::TokenAnswer("its `token_type` is not `Bearer`"));
        }
        let id_token = text("id_token").ok_or(OidcRefusal::TokenAnswer("it has no `id_token`"))?;
        let access_token =
            text("access_token").filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
        Ok(Self {
            id_token,
            access_token: access_token
                .ok_or(OidcRefusal::TokenAnswer("it has no `access_token`"))?,
        })
    }

    /// The value of `Authorization` for the userinfo endpoint: a secret.
    #[must_use]
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.access_token)
    }
}
