//! ID tokens that mean ill, each refused by the check that is for it; and those that hold.

use cedarkeep::authn::oidc::OidcRefusal;
use cedarkeep::authn::oidc::keys::KeySet;
use cedarkeep::authn::oidc::token::{Identity, verify};
use cedarkeep::authn::proof::Proof;
use cedarkeep::directory::connection::Oidc;
use ring::digest::{SHA256, SHA384, SHA512};
use serde_json::{Value, json};

use super::forge::{Keys, Token};
use super::hostile::{CLAIMS, FORMS, Make, SIGNATURES, USED, half};
use super::{ACCESS, ISSUER, connection, grant, now, parameter, pending};

/// The claims of a token that holds.
fn claims() -> Value {
    let (url, _) = pending();
    json!({
        "iss": ISSUER, "aud": "cedarkeep", "sub": "248289761001",
        "iat": now().timestamp(), "exp": now().timestamp() + 300,
        "nonce": parameter(&url, "nonce"),
        "email": "jane@example.com", "email_verified": true, "name": "Jane Doe",
        "groups": ["staff", "finance"], "sid": "session-1",
    })
}

fn check(oidc: &Oidc, keys: &KeySet, token: &str) -> Result<Identity, OidcRefusal> {
    verify(&grant(token), &pending().1, oidc, keys, now())
}

fn proof(oidc: &Oidc, keys: &KeySet, token: &str) -> Result<Proof, OidcRefusal> {
    check(oidc, keys, token)?.proof(oidc)
}

#[test]
fn each_hostile_token_is_refused_by_its_own_check() {
    let (keys, oidc) = (Keys::fresh(), connection());
    let set = keys.read();
    let mut wrong = Vec::new();
    let rows = [SIGNATURES, FORMS, CLAIMS, USED].concat();
    assert!(rows.len() >= 110, "{} rows", rows.len());
    for (name, word, make) in rows {
        let mut token = Token::of(&keys, claims());
        make(&mut token);
        let refused = proof(&oidc, &set, &token.sign());
        let said = refused.err().map_or("taken", |refused| refused.name());
        if said != word {
            wrong.push(format!("{name}: {said}, not {word}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_hosted_domain_is_a_claim_and_nothing_else_will_do() {
    let keys = Keys::fresh();
    let mut oidc = connection();
    oidc.hosted_domain = Some("example.com".to_owned());
    let said = |hd: Option<Value>| {
        let mut token = Token::of(&keys, claims());
        if let Some(hd) = hd {
            token.claims["hd"] = hd;
        }
        let refused = check(&oidc, &keys.read(), &token.sign()).err();
        refused.map_or("taken", |refused| refused.name())
    };
    // An address in the domain is no proof: anybody's Google account may have one.
    assert_eq!(said(None), "hd");
    for hostile in [
        json!("evil.example"),
        json!("a.example.com"),
        json!("EXAMPLE.COM"),
        json!(["example.com"]),
        json!(""),
        Value::Null,
    ] {
        assert_eq!(said(Some(hostile)), "hd");
    }
    assert_eq!(said(Some(json!("example.com"))), "taken");
}

#[test]
fn every_way_of_signing_that_is_said_to_be_taken_is() {
    let (keys, oidc) = (Keys::fresh(), connection());
    let set = keys.read();
    let ways = [
        ("RS256", "rsa", &keys.rsa, &SHA256),
        ("RS384", "rsa", &keys.rsa, &SHA384),
        ("RS512", "rsa", &keys.rsa, &SHA512),
        ("PS256", "only-pss", &keys.rsa, &SHA256),
        ("PS384", "rsa", &keys.rsa, &SHA384),
        ("PS512", "rsa", &keys.rsa, &SHA512),
        ("ES256", "p256", &keys.p256, &SHA256),
        ("ES384", "p384", &keys.p384, &SHA384),
        ("EdDSA", "ed", &keys.ed, &SHA512),
    ];
    for (alg, kid, key, hash) in ways {
        let mut token = Token::of(&keys, claims());
        token.by(alg, kid, key);
        token.claims["at_hash"] = json!(half(hash, ACCESS));
        let proof = proof(&oidc, &set, &token.sign()).unwrap_or_else(|why| panic!("{alg}: {why}"));
        assert_eq!(proof.subject, format!("{ISSUER} 248289761001"));
        assert_eq!(proof.email.as_deref(), Some("jane@example.com"));
        assert!(proof.email_verified);
        assert_eq!(proof.name.as_deref(), Some("Jane Doe"));
        assert_eq!(proof.groups, ["staff", "finance"]);
        assert_eq!(proof.provider_session.as_deref(), Some("session-1"));
        assert!(proof.claims.iter().all(|(name, _)| name != "nonce"));
        assert!(
            proof
                .claims
                .contains(&("sub".to_owned(), "248289761001".to_owned()))
        );
    }
}

#[test]
fn what_standards_allow_is_taken() {
    let (keys, oidc) = (Keys::fresh(), connection());
    let set = keys.read();
    let rows: &[(&str, Make)] = &[
        ("several audiences and azp", |t| {
            t.claims["aud"] = json!(["other", "cedarkeep"]);
            t.claims["azp"] = json!("cedarkeep");
        }),
        ("one audience in a list", |t| {
            t.claims["aud"] = json!(["cedarkeep"])
        }),
        ("over for 59 s", |t| {
            t.claims["exp"] = json!(now().timestamp() - 59)
        }),
        ("a clock that is 60 s ahead", |t| {
            t.claims["iat"] = json!(now().timestamp() + 60);
            t.claims["nbf"] = json!(now().timestamp() + 60);
        }),
        ("fractions of seconds", |t| {
            t.claims["iat"] = json!(1_899_999_999.75);
            t.claims["exp"] = json!(1_900_000_100.5);
        }),
        ("no kid, and one key that it can be", |t| {
            t.by("EdDSA", "", &t.keys.ed);
            t.header = json!({"alg": "EdDSA"});
        }),
        ("no typ", |t| {
            t.header = json!({"alg": "RS256", "kid": "rsa"})
        }),
        ("typ in full", |t| t.say("typ", json!("application/jwt"))),
        ("a key that is brought along and not needed", |t| {
            t.say("jwk", t.keys.stranger.jwk.clone());
        }),
        ("claims that nobody knows", |t| {
            t.claims["https://example.com/x"] = json!({"a": [1, 2]})
        }),
    ];
    for (name, make) in rows {
        let mut token = Token::of(&keys, claims());
        make(&mut token);
        if let Err(why) = proof(&oidc, &set, &token.sign()) {
            panic!("{name}: {why}");
        }
    }
}

#[test]
fn email_verified_may_be_a_string() {
    let (keys, oidc) = (Keys::fresh(), connection());
    let verified = |said: Value| {
        let mut token = Token::of(&keys, claims());
        token.claims["email_verified"] = said;
        proof(&oidc, &keys.read(), &token.sign())
            .unwrap()
            .email_verified
    };
    assert!(verified(json!("true")));
    assert!(!verified(json!("false")));
    assert!(!verified(json!(false)));
    assert!(!verified(Value::Null));
}

#[test]
fn an_address_is_verified_only_by_whoever_has_said_it() {
    let (keys, oidc) = (Keys::fresh(), connection());
    let token = |change: fn(&mut Token<'_>)| {
        let mut token = Token::of(&keys, claims());
        change(&mut token);
        check(&oidc, &keys.read(), &token.sign()).unwrap()
    };
    let said = |more: Value| {
        let mut all = json!({"sub": "248289761001"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        all.to_string().into_bytes()
    };
    let json = "application/json; charset=utf-8";
    // Its own address, without saying that it is verified, beside a userinfo that says so of another.
    let identity = token(|t| t.without("email_verified"));
    let other = said(json!({"email": "admin@example.com", "email_verified": true}));
    let proof = identity
        .with_userinfo(200, json, &other)
        .unwrap()
        .proof(&oidc)
        .unwrap();
    assert_eq!(proof.email.as_deref(), Some("jane@example.com"));
    assert!(!proof.email_verified);
    // No address in the token: the other's word counts for the other's address.
    let identity = token(|t| {
        t.without("email");
        t.claims["email_verified"] = json!(true);
    });
    assert!(identity.lacks(&oidc));
    let other = said(json!({"email": "jane@example.org"}));
    let proof = identity
        .with_userinfo(200, json, &other)
        .unwrap()
        .proof(&oidc)
        .unwrap();
    assert_eq!(proof.email.as_deref(), Some("jane@example.org"));
    assert!(!proof.email_verified);
}

#[test]
fn userinfo_of_somebody_else_is_refused() {
    let (keys, oidc) = (Keys::fresh(), connection());
    let token = Token::of(&keys, claims()).sign();
    let rows: &[(u16, &str, &[u8], &str)] = &[
        (
            200,
            "application/json",
            br#"{"sub":"24828976100"}"#,
            "userinfo_sub",
        ),
        (
            200,
            "application/json",
            br#"{"email":"a@example.com"}"#,
            "userinfo_sub",
        ),
        (
            200,
            "application/json",
            br#"{"sub":["248289761001"]}"#,
            "userinfo_sub",
        ),
        (
            200,
            "application/json",
            br#"{"sub":"a","sub":"248289761001"}"#,
            "userinfo",
        ),
        (200, "application/json", b"", "userinfo"),
        (
            200,
            "application/jwt",
            br#"{"sub":"248289761001"}"#,
            "userinfo",
        ),
        (200, "text/html", br#"{"sub":"248289761001"}"#, "userinfo"),
        (
            401,
            "application/json",
            br#"{"sub":"248289761001"}"#,
            "userinfo",
        ),
        (
            200,
            "application/json",
            br#"{"sub":"248289761001"}"#,
            "taken",
        ),
    ];
    for (status, media, body, word) in rows {
        let identity = check(&oidc, &keys.read(), &token).unwrap();
        let refused = identity.with_userinfo(*status, media, body).err();
        assert_eq!(refused.map_or("taken", |refused| refused.name()), *word);
    }
}

#[test]
fn a_token_of_a_connection_that_was_changed_meanwhile_is_refused() {
    let keys = Keys::fresh();
    let mut oidc = connection();
    oidc.client_id = "another".to_owned();
    let mut token = Token::of(&keys, claims());
    token.claims["aud"] = json!("another");
    let refused = check(&oidc, &keys.read(), &token.sign()).unwrap_err();
    assert_eq!(refused.name(), "connection_changed");
}

#[test]
fn key_sets_that_are_none_are_refused() {
    let keys: String = format!(r#"{{"keys":[{}]}}"#, vec!["{}"; 101].join(","));
    for hostile in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[{"kid":"a","kid":"b"}]}"#,
        keys.as_str(),
    ] {
        let refused = KeySet::read(hostile.as_bytes()).unwrap_err();
        assert_eq!(refused.name(), "key_set", "{hostile}");
    }
}
