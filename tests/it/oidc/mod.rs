//! OpenID Connect: tokens and providers that mean ill, calls to the world, and a provider that nobody here wrote.

mod callback;
mod discovery;
mod dns;
mod forge;
mod hostile;
mod logout;
mod outside;
pub mod provider;
mod tokens;
pub mod world;

use cedarkeep::authn::oidc::discovery::Provider;
use cedarkeep::authn::oidc::grant::Grant;
use cedarkeep::authn::oidc::request::{Pending, Seeds, begin};
use cedarkeep::authn::oidc::{OidcRefusal, Plain};
use cedarkeep::directory::connection::{ClientSecret, Oidc};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use url::Url;

/// The issuer of the tests that speak to nobody.
const ISSUER: &str = "https://idp.example/tenant";

fn connection() -> Oidc {
    Oidc {
        issuer: ISSUER.to_owned(),
        client_id: "cedarkeep".to_owned(),
        client_secret: Some(ClientSecret::new(forge::SECRET.to_owned())),
        scopes: ["email", "profile"].map(str::to_owned).into(),
        groups_claim: Some("groups".to_owned()),
        hosted_domain: None,
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000, 0).unwrap()
}

/// A description that holds.
fn document() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://idp.example/authorize?tenant=7",
        "token_endpoint": "https://idp.example/token",
        "jwks_uri": "https://keys.idp.example/jwks",
        "userinfo_endpoint": "https://idp.example/userinfo",
        "response_types_supported": ["id_token", "code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["HS256", "RS256"],
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}

fn provider_of(document: &Value) -> Result<Provider, OidcRefusal> {
    Provider::read(ISSUER, document.to_string().as_bytes(), Plain::Refused)
}

fn seeds(byte: u8) -> Seeds {
    Seeds {
        state: [byte; 32],
        nonce: [byte + 1; 32],
        verifier: [byte + 2; 32],
    }
}

fn redirect_uri() -> Url {
    "https://app.example/sign-in/oidc/callback".parse().unwrap()
}

/// A sign-in that has just begun, and where the browser goes.
fn pending() -> (Url, Pending) {
    let provider = provider_of(&document()).unwrap();
    begin(
        (&connection(), &provider),
        &redirect_uri(),
        None,
        &seeds(1),
        now(),
    )
}

pub fn parameter(url: &Url, name: &str) -> String {
    let mut pairs = url.query_pairs();
    let (_, value) = pairs.find(|(key, _)| key == name).unwrap();
    value.into_owned()
}

/// The access token that comes with every ID token here.
const ACCESS: &str = "an-access-token";

fn grant(id_token: &str) -> Grant {
    let said = json!({"access_token": ACCESS, "token_type": "bearer", "id_token": id_token});
    Grant::read(200, said.to_string().as_bytes()).unwrap()
}
