//! The way of a browser: what it takes along, what it brings back, and what is sent for the code.

use cedarkeep::authn::oidc::grant::Grant;
use cedarkeep::authn::oidc::grant::redeem;
use cedarkeep::authn::oidc::request::{Callback, Pending, begin};
use chrono::TimeDelta;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::{connection, document, now, parameter, pending, provider_of, redirect_uri, seeds};

#[test]
fn the_request_has_state_nonce_and_a_challenge_of_256_bits_each() {
    let (url, pending) = pending();
    assert!(
        url.as_str()
            .starts_with("https://idp.example/authorize?tenant=7&response_type=code&")
    );
    for (name, wanted) in [
        ("client_id", "cedarkeep"),
        ("redirect_uri", redirect_uri().as_str()),
        ("scope", "openid email profile"),
        ("code_challenge_method", "S256"),
        ("state", &BASE64URL_NOPAD.encode(&[1; 32])),
        ("nonce", &BASE64URL_NOPAD.encode(&[2; 32])),
    ] {
        assert_eq!(parameter(&url, name), wanted);
    }
    let verifier = BASE64URL_NOPAD.encode(&[3; 32]);
    let hash = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
    assert_eq!(
        parameter(&url, "code_challenge"),
        BASE64URL_NOPAD.encode(hash.as_ref())
    );
    assert!(!url.as_str().contains(&verifier));
    assert!(
        !url.query_pairs()
            .any(|(name, _)| name == "hd" || name == "login_hint")
    );
    let shown = format!("{pending:?} {:?}", seeds(1));
    for secret in [
        &verifier,
        &parameter(&url, "state"),
        &parameter(&url, "nonce"),
    ] {
        assert!(!shown.contains(secret.as_str()));
    }
}

#[test]
fn a_domain_and_a_hint_go_along() {
    let mut oidc = connection();
    oidc.hosted_domain = Some("example.com".to_owned());
    let provider = provider_of(&document()).unwrap();
    let hint = Some("jane+1@example.com");
    let (url, _) = begin((&oidc, &provider), &redirect_uri(), hint, &seeds(1), now());
    assert_eq!(parameter(&url, "hd"), "example.com");
    assert_eq!(parameter(&url, "login_hint"), "jane+1@example.com");
}

#[test]
fn what_is_pending_survives_being_kept() {
    let (_, pending) = pending();
    let kept = serde_json::to_string(&pending).unwrap();
    let back: Pending = serde_json::from_str(&kept).unwrap();
    assert_eq!(
        (back.key(), back.ends_at()),
        (pending.key(), pending.ends_at())
    );
    assert_eq!(back.ends_at(), now() + TimeDelta::minutes(10));
}

#[test]
fn a_callback_is_taken_only_by_the_sign_in_that_it_ends() {
    let (url, pending) = pending();
    let (oidc, state) = (connection(), parameter(&url, "state"));
    let other = BASE64URL_NOPAD.encode(&[9; 32]);
    let iss = "iss=https%3A%2F%2Fidp.example%2Ftenant";
    let rows = [
        (format!("code=abc&state={state}"), "taken"),
        (
            format!("code=abc&state={state}&{iss}&session_state=x"),
            "taken",
        ),
        (format!("code=abc&state={other}"), "state"),
        (format!("code=abc&state={state}x"), "state"),
        ("code=abc&state=".to_owned(), "state"),
        ("code=abc".to_owned(), "callback"),
        (String::new(), "callback"),
        (format!("state={state}"), "callback"),
        (format!("code=&state={state}"), "callback"),
        (format!("code=abc&code=def&state={state}"), "callback"),
        (format!("code=abc&state={other}&state={state}"), "callback"),
        (format!("code=abc&state={state}&{iss}&{iss}"), "callback"),
        (
            format!("code={}&state={state}", "x".repeat(17_000)),
            "callback",
        ),
        (
            format!("code=abc&state={state}&iss=https%3A%2F%2Fevil.example"),
            "callback_iss",
        ),
        (format!("code=abc&state={state}&{iss}%2F"), "callback_iss"),
        (format!("code=abc&state={state}&iss="), "callback_iss"),
        // Somebody else's refusal is not the provider's.
        (format!("error=access_denied&state={other}"), "state"),
        (
            format!("error=access_denied&state={state}&iss=https%3A%2F%2Fevil.example"),
            "callback_iss",
        ),
        (
            format!("error=access_denied&state={state}"),
            "provider_declined",
        ),
        (
            format!("error=x&code=abc&state={state}"),
            "provider_declined",
        ),
    ];
    let provider = provider_of(&document()).unwrap();
    for (query, word) in rows {
        let taken = Callback::read(&query)
            .and_then(|callback| pending.accept((&oidc, &provider), &callback, now()));
        assert_eq!(
            taken.err().map_or("taken", |refused| refused.name()),
            word,
            "{query}"
        );
    }
    // A provider that says that it names itself must.
    let mut said = document();
    said["authorization_response_iss_parameter_supported"] = json!(true);
    let provider = provider_of(&said).unwrap();
    let callback = Callback::read(&format!("code=abc&state={state}")).unwrap();
    let refused = pending
        .accept((&oidc, &provider), &callback, now())
        .unwrap_err();
    assert_eq!(refused.name(), "callback_iss");
    assert_eq!(callback.key(), pending.key());
}

#[test]
fn a_callback_is_too_late_after_ten_minutes_or_a_change() {
    let (url, pending) = pending();
    let provider = provider_of(&document()).unwrap();
    let callback = format!("code=abc&state={}", parameter(&url, "state"));
    let callback = Callback::read(&callback).unwrap();
    let mut oidc = connection();
    let mut word = |late, change: fn(&mut _)| {
        change(&mut oidc);
        let at = now() + TimeDelta::seconds(late);
        let taken = pending.accept((&oidc, &provider), &callback, at);
        taken.err().map_or("taken", |refused| refused.name())
    };
    assert_eq!(word(599, |_| {}), "taken");
    assert_eq!(word(600, |_| {}), "late");
    assert_eq!(
        word(0, |oidc| oidc.client_id = "other".to_owned()),
        "connection_changed"
    );
    assert_eq!(
        word(0, |oidc| {
            *oidc = connection();
            oidc.issuer = "https://evil.example".to_owned();
        }),
        "connection_changed"
    );
}

/// The value of `Authorization`, and the fields of the form.
type Sent = (Option<String>, Vec<(&'static str, String)>);

/// What is sent for a code, with the methods that the provider says it reads.
fn sent(methods: Value, public: bool) -> Result<Sent, &'static str> {
    let (url, pending) = pending();
    let mut said = document();
    said["token_endpoint_auth_methods_supported"] = methods;
    let provider = provider_of(&said).unwrap();
    let mut oidc = connection();
    let callback = format!("code=abc&state={}", parameter(&url, "state"));
    let callback = Callback::read(&callback).unwrap();
    let code = pending
        .accept((&oidc, &provider), &callback, now())
        .unwrap();
    if public {
        oidc.client_secret = None;
    } else {
        oidc.client_secret = Some(cedarkeep::directory::connection::ClientSecret::new(
            "a:b c%".to_owned(),
        ));
    }
    let request = redeem((&oidc, &provider), &pending, &code).map_err(|refused| refused.name())?;
    assert_eq!(request.url.as_str(), "https://idp.example/token");
    let shown = format!("{request:?} {code:?} {callback:?}");
    assert!(!shown.contains("abc") && !shown.contains("a:b") && !shown.contains("Basic"));
    Ok((request.authorization.clone(), request.form.clone()))
}

#[test]
fn the_code_is_sent_with_the_verifier_and_the_secret_as_the_provider_reads_it() {
    let verifier = BASE64URL_NOPAD.encode(&[3; 32]);
    let always = [
        ("grant_type", "authorization_code".to_owned()),
        ("code", "abc".to_owned()),
        ("redirect_uri", redirect_uri().to_string()),
        ("code_verifier", verifier),
    ];
    // Both halves of the pair are encoded as forms are, then the whole in base 64.
    let basic = format!(
        "Basic {}",
        data_encoding::BASE64.encode(b"cedarkeep:a%3Ab+c%25")
    );
    for methods in [
        Value::Null,
        json!(["client_secret_post", "client_secret_basic"]),
    ] {
        let (authorization, form) = sent(methods, false).unwrap();
        assert_eq!(authorization.as_deref(), Some(basic.as_str()));
        assert_eq!(form, always);
    }
    let id = ("client_id", "cedarkeep".to_owned());
    let (authorization, form) = sent(json!(["client_secret_post"]), false).unwrap();
    assert_eq!(authorization, None);
    let secret = ("client_secret", "a:b c%".to_owned());
    assert_eq!(form, [&always[..], &[id.clone(), secret]].concat());
    let (authorization, form) = sent(json!(["client_secret_basic"]), true).unwrap();
    assert_eq!(authorization, None);
    assert_eq!(form, [&always[..], &[id]].concat());
    let refused = sent(json!(["private_key_jwt"]), false).unwrap_err();
    assert_eq!(refused, "discovery_unsupported");
}

#[test]
fn answers_of_the_token_endpoint_that_are_none_are_refused() {
    let whole =
        json!({"access_token": "a", "token_type": "Bearer", "id_token": "x.y.z", "expires_in": 60});
    assert!(Grant::read(200, whole.to_string().as_bytes()).is_ok());
    let without = |name: &str, value: Value| {
        let mut said = whole.clone();
        said[name] = value;
        said.to_string()
    };
    let rows = [
        (200, without("id_token", Value::Null), "token_answer"),
        (200, without("id_token", json!("")), "token_answer"),
        (200, without("access_token", Value::Null), "token_answer"),
        (
            200,
            without("access_token", json!("a\r\nX: y")),
            "token_answer",
        ),
        (200, without("token_type", json!("DPoP")), "token_answer"),
        (200, without("token_type", Value::Null), "token_answer"),
        (
            200,
            whole.to_string().replacen('{', r#"{"id_token":"a","#, 1),
            "token_answer",
        ),
        (200, "<html>".to_owned(), "token_answer"),
        (201, whole.to_string(), "token_declined"),
        (
            400,
            json!({"error": "invalid_grant"}).to_string(),
            "token_declined",
        ),
        (500, String::new(), "token_declined"),
    ];
    for (status, body, word) in rows {
        let refused = Grant::read(status, body.as_bytes()).unwrap_err();
        assert_eq!(refused.name(), word, "{status} {body}");
    }
    let refused = Grant::read(401, br#"{"error":"invalid_client\u0007"}"#).unwrap_err();
    assert!(
        refused.to_string().contains("`invalid_client`"),
        "{refused}"
    );
}
