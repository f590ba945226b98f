//! Descriptions of providers that are somebody else's, or that do not go with what we do.

use cedarkeep::authn::oidc::Plain;
use cedarkeep::authn::oidc::discovery::{Provider, well_known};
use cedarkeep::directory::connection::{ClientSecret, Oidc};
use serde_json::{Value, json};

use super::{ISSUER, document, provider_of};

#[test]
fn an_issuer_is_a_bare_https_url() {
    let at = |issuer: &str, plain| well_known(issuer, plain).map(|url| url.to_string());
    let path = "/.well-known/openid-configuration";
    for issuer in [
        "https://idp.example",
        "https://idp.example/",
        "https://idp.example/a/b",
    ] {
        let wanted = format!("{}{path}", issuer.trim_end_matches('/'));
        assert_eq!(at(issuer, Plain::Refused).unwrap(), wanted);
    }
    for hostile in [
        "",
        "idp.example",
        "http://idp.example",
        "ftp://idp.example",
        "file:///etc/passwd",
        "https://",
        "https://idp.example?",
        "https://idp.example#",
        "https://idp.example/?a=b",
        "https://idp.example/#a",
        "https://user@idp.example",
        "https://a:b@idp.example",
        "https://idp.example/a b",
        "https://idp.example/\n",
        " https://idp.example",
        "https:\\\\idp.example",
        "https://idp.example\\@evil.example",
        "http://localhost:1",
        "http://127.0.0.1",
    ] {
        let refused = at(hostile, Plain::Refused).unwrap_err();
        assert_eq!(refused.name(), "issuer_url", "{hostile}");
    }
    assert!(at("http://localhost:3000", Plain::OnLoopback).is_ok());
    assert!(at("http://127.0.0.1:3000", Plain::OnLoopback).is_ok());
    assert!(at("http://[::1]:3000", Plain::OnLoopback).is_ok());
    for hostile in [
        "http://idp.example",
        "http://10.0.0.1",
        "http://localhost.evil.example",
    ] {
        assert!(at(hostile, Plain::OnLoopback).is_err(), "{hostile}");
    }
}

#[test]
fn a_description_that_does_not_fit_is_refused_by_its_own_check() {
    let rows: &[(&str, &str, Value)] = &[
        ("issuer", "discovery_issuer", json!("https://evil.example")),
        ("issuer", "discovery_issuer", json!(format!("{ISSUER}/"))),
        (
            "issuer",
            "discovery_issuer",
            json!("https://IDP.example/tenant"),
        ),
        (
            "issuer",
            "discovery_issuer",
            json!("https://idp.example:443/tenant"),
        ),
        (
            "issuer",
            "discovery_issuer",
            json!("https://idp.example/{tenantid}"),
        ),
        ("issuer", "discovery_member", Value::Null),
        ("issuer", "discovery_member", json!([ISSUER])),
        ("authorization_endpoint", "discovery_member", Value::Null),
        ("token_endpoint", "discovery_member", Value::Null),
        ("jwks_uri", "discovery_member", Value::Null),
        (
            "authorization_endpoint",
            "discovery_endpoint",
            json!("http://idp.example/authorize"),
        ),
        (
            "authorization_endpoint",
            "discovery_endpoint",
            json!("javascript:alert(1)"),
        ),
        (
            "authorization_endpoint",
            "discovery_endpoint",
            json!("/authorize"),
        ),
        (
            "authorization_endpoint",
            "discovery_endpoint",
            json!("https://idp.example/a#b"),
        ),
        (
            "token_endpoint",
            "discovery_endpoint",
            json!("http://169.254.169.254/latest"),
        ),
        (
            "token_endpoint",
            "discovery_endpoint",
            json!("https://user:word@idp.example/token"),
        ),
        (
            "token_endpoint",
            "discovery_endpoint",
            json!(["https://idp.example/token"]),
        ),
        (
            "jwks_uri",
            "discovery_endpoint",
            json!("file:///etc/passwd"),
        ),
        (
            "jwks_uri",
            "discovery_endpoint",
            json!("data:application/json,{}"),
        ),
        (
            "userinfo_endpoint",
            "discovery_endpoint",
            json!("http://localhost/userinfo"),
        ),
        (
            "userinfo_endpoint",
            "discovery_endpoint",
            json!(format!("https://idp.example/{}", "x".repeat(2048))),
        ),
        (
            "response_types_supported",
            "discovery_unsupported",
            json!(["id_token", "code id_token"]),
        ),
        (
            "response_types_supported",
            "discovery_member",
            json!("code"),
        ),
        (
            "response_modes_supported",
            "discovery_unsupported",
            json!(["form_post"]),
        ),
        (
            "grant_types_supported",
            "discovery_unsupported",
            json!(["implicit"]),
        ),
        (
            "code_challenge_methods_supported",
            "discovery_unsupported",
            json!(["plain"]),
        ),
        (
            "code_challenge_methods_supported",
            "discovery_unsupported",
            json!([]),
        ),
        (
            "id_token_signing_alg_values_supported",
            "discovery_unsupported",
            json!(["none", "HS256"]),
        ),
        (
            "id_token_signing_alg_values_supported",
            "discovery_member",
            json!([1]),
        ),
        (
            "require_pushed_authorization_requests",
            "discovery_unsupported",
            json!(true),
        ),
        (
            "require_signed_request_object",
            "discovery_unsupported",
            json!(true),
        ),
        (
            "authorization_response_iss_parameter_supported",
            "discovery_member",
            json!("true"),
        ),
    ];
    for (member, word, value) in rows {
        let mut said = document();
        said[*member] = value.clone();
        let refused = provider_of(&said).unwrap_err();
        assert_eq!(refused.name(), *word, "{member}: {value}");
    }
    assert!(provider_of(&document()).is_ok());
}

#[test]
fn a_description_that_can_be_read_in_two_ways_is_refused() {
    let twice =
        document()
            .to_string()
            .replacen('{', r#"{"token_endpoint":"https://evil.example","#, 1);
    for hostile in [
        twice.as_str(),
        "",
        "[]",
        "null",
        "<html>",
        "{\"issuer\":",
        &"[".repeat(100_000),
        &format!("{} {{}}", document()),
    ] {
        let refused = Provider::read(ISSUER, hostile.as_bytes(), Plain::Refused).unwrap_err();
        assert_eq!(refused.name(), "discovery_document");
    }
}

#[test]
fn what_is_not_said_is_not_held_against_it() {
    let mut said = document();
    for member in ["code_challenge_methods_supported", "userinfo_endpoint"] {
        said.as_object_mut().unwrap().remove(member);
    }
    said["token_endpoint_auth_methods_supported"] = Value::Null;
    let provider = provider_of(&said).unwrap();
    assert_eq!(provider.userinfo(), None);
    assert_eq!(provider.keys().as_str(), "https://keys.idp.example/jwks");
}

#[test]
fn google_is_an_issuer_and_a_domain() {
    let secret = ClientSecret::new("s3cret".to_owned());
    let oidc = Oidc::google("id".to_owned(), secret, "example.com".to_owned());
    assert_eq!(oidc.issuer, "https://accounts.google.com");
    assert_eq!(oidc.hosted_domain.as_deref(), Some("example.com"));
    assert!(!format!("{oidc:?}").contains("s3cret"));
    let at = well_known(&oidc.issuer, Plain::Refused).unwrap();
    assert_eq!(
        at.as_str(),
        "https://accounts.google.com/.well-known/openid-configuration"
    );
}
