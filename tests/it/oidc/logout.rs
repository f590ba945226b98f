//! Logout tokens that mean ill, each refused by the check that is for it; and those that hold.

use cedarkeep::authn::oidc::OidcRefusal;
use cedarkeep::authn::oidc::logout::{Logout, verify};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::forge::{Keys, Token, with_claims};
use super::{ISSUER, connection, now};

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "cedarkeep", "sub": "248289761001", "sid": "session-1", "jti": "bWJq",
        "iat": now().timestamp(), "exp": now().timestamp() + 120,
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    })
}

fn check(keys: &Keys, token: &Token<'_>) -> Result<Logout, OidcRefusal> {
    verify(&token.sign(), &connection(), &keys.read(), now())
}

type Row = (&'static str, &'static str, fn(&mut Token<'_>));

const ROWS: &[Row] = &[
    ("not signed", "alg", |t| {
        t.say("alg", json!("none"));
        t.after = |token| format!("{}.", token.rsplit_once('.').unwrap().0);
    }),
    ("signed by the client secret", "alg", |t| {
        t.by("HS256", "shared", &t.keys.shared)
    }),
    ("signed by somebody else", "signature", |t| {
        t.key = &t.keys.stranger
    }),
    ("changed afterwards", "signature", |t| {
        t.after = |token| with_claims(&token, |claims| claims["sub"] = json!("another"));
    }),
    ("an access token", "typ", |t| t.say("typ", json!("at+jwt"))),
    ("crit", "crit", |t| t.say("crit", json!(["jti"]))),
    ("another issuer", "iss", |t| {
        t.claims["iss"] = json!("https://evil.example")
    }),
    ("for another client", "aud", |t| {
        t.claims["aud"] = json!("other")
    }),
    ("over", "exp", |t| {
        t.claims["exp"] = json!(now().timestamp() - 60)
    }),
    ("without end", "exp", |t| t.without("exp")),
    ("an hour old, and good for years", "exp", |t| {
        t.claims["iat"] = json!(now().timestamp() - 3660);
        t.claims["exp"] = json!(now().timestamp() + 100_000_000);
    }),
    ("issued in 61 s", "iat", |t| {
        t.claims["iat"] = json!(now().timestamp() + 61)
    }),
    ("issued never", "iat", |t| t.without("iat")),
    ("without an identifier", "jti", |t| t.without("jti")),
    ("with an empty identifier", "jti", |t| {
        t.claims["jti"] = json!("")
    }),
    ("with a number for identifier", "jti", |t| {
        t.claims["jti"] = json!(1)
    }),
    ("an ID token", "events", |t| {
        t.without("events");
        t.claims["nonce"] = json!("n");
    }),
    ("another event", "events", |t| {
        t.claims["events"] =
            json!({"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {}});
    }),
    ("an event that is no object", "events", |t| {
        t.claims["events"] = json!({"http://schemas.openid.net/event/backchannel-logout": true});
    }),
    ("a list of events", "events", |t| {
        t.claims["events"] = json!(["http://schemas.openid.net/event/backchannel-logout"]);
    }),
    ("with a nonce", "logout_nonce", |t| {
        t.claims["nonce"] = json!("n")
    }),
    ("with a nonce of nothing", "logout_nonce", |t| {
        t.claims["nonce"] = Value::Null
    }),
    ("of nobody", "logout_nobody", |t| {
        t.without("sub");
        t.without("sid");
    }),
    ("of the empty name", "sub", |t| t.claims["sub"] = json!("")),
    ("of nothing", "sub", |t| t.claims["sub"] = Value::Null),
    ("of the empty session", "claim", |t| {
        t.claims["sid"] = json!("")
    }),
    ("two subs", "duplicate_member", |t| {
        t.append(r#","sub":"another""#)
    }),
];

#[test]
fn each_hostile_logout_token_is_refused_by_its_own_check() {
    let keys = Keys::fresh();
    let mut wrong = Vec::new();
    for (name, word, make) in ROWS {
        let mut token = Token::of(&keys, claims());
        make(&mut token);
        let refused = check(&keys, &token).err();
        let said = refused.map_or("taken", |refused| refused.name());
        if said != *word {
            wrong.push(format!("{name}: {said}, not {word}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_logout_names_a_subject_or_a_session_or_both() {
    let keys = Keys::fresh();
    let mut token = Token::of(&keys, claims());
    token.say("typ", json!("logout+jwt"));
    let logout = check(&keys, &token).unwrap();
    let subject = format!("{ISSUER} 248289761001");
    assert_eq!(logout.subject.as_deref(), Some(subject.as_str()));
    assert_eq!(logout.provider_session.as_deref(), Some("session-1"));
    // Remembered as long as it could be taken: its clock may be ahead, and it is over after an hour.
    assert_eq!(
        logout.once,
        ("bWJq".to_owned(), now() + TimeDelta::seconds(3720))
    );

    let mut token = Token::of(&keys, claims());
    token.without("sub");
    assert_eq!(check(&keys, &token).unwrap().subject, None);
    let mut token = Token::of(&keys, claims());
    token.without("sid");
    assert_eq!(check(&keys, &token).unwrap().provider_session, None);
    let mut token = Token::of(&keys, claims());
    token.claims["aud"] = json!(["other", "cedarkeep"]);
    assert!(check(&keys, &token).is_ok());
}

#[test]
fn a_logout_token_is_no_id_token() {
    let keys = Keys::fresh();
    let token = Token::of(&keys, claims()).sign();
    let (_, pending) = super::pending();
    let grant = super::grant(&token);
    let refused =
        cedarkeep::authn::oidc::token::verify(&grant, &pending, &connection(), &keys.read(), now());
    assert_eq!(refused.unwrap_err().name(), "nonce");
}
