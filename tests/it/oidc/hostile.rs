//! ID tokens that mean ill: what is wrong with each, and the word of the check that must find it.

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, SHA512, digest};
use serde_json::{Value, json};

use super::forge::{Token, parts, with_claims};
use super::{ACCESS, ISSUER, now};

/// The left half of a hash, as `at_hash` holds it.
pub fn half(algorithm: &'static ring::digest::Algorithm, text: &str) -> String {
    let hash = digest(algorithm, text.as_bytes());
    BASE64URL_NOPAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
}

/// How a token comes to be.
pub type Make = fn(&mut Token<'_>);

/// What is wrong with a token: a name, the word of the check that must find it, and how it comes to be.
pub type Row = (&'static str, &'static str, Make);

/// Signatures and keys.
pub const SIGNATURES: &[Row] = &[
    ("no signature wanted", "alg", |t| {
        t.say("alg", json!("none"));
        t.after = |token| format!("{}.", token.rsplit_once('.').unwrap().0);
    }),
    ("`none`, and signed", "alg", |t| t.say("alg", json!("none"))),
    ("`nOnE`", "alg", |t| t.say("alg", json!("nOnE"))),
    ("an empty alg", "alg", |t| t.say("alg", json!(""))),
    ("HS256 by the client secret", "alg", |t| {
        t.by("HS256", "shared", &t.keys.shared);
    }),
    ("HS512 by the client secret", "alg", |t| {
        t.by("HS512", "shared", &t.keys.shared);
    }),
    ("HS256 under the name of an RSA key", "alg", |t| {
        t.by("HS256", "rsa", &t.keys.shared);
    }),
    ("ES512, which is not taken", "alg", |t| {
        t.say("alg", json!("ES512"))
    }),
    ("RS1", "alg", |t| t.say("alg", json!("RS1"))),
    ("`rs256`", "alg", |t| t.say("alg", json!("rs256"))),
    ("no alg", "token_form", |t| t.header = json!({"kid": "rsa"})),
    ("an alg that is a list", "token_form", |t| {
        t.say("alg", json!(["RS256"]));
    }),
    ("somebody else's key under its name", "signature", |t| {
        t.key = &t.keys.stranger;
    }),
    ("an empty signature", "signature", |t| {
        t.after = |token| format!("{}.", token.rsplit_once('.').unwrap().0);
    }),
    ("half a signature", "signature", |t| {
        t.after = |token| token[..token.len() - 170].to_owned();
    }),
    ("claims changed afterwards", "signature", |t| {
        t.after = |token| with_claims(&token, |claims| claims["sub"] = json!("admin"));
    }),
    ("signed as RS256, said PS256", "signature", |t| {
        t.say("alg", json!("PS256"));
    }),
    ("signed as RS256, said RS512", "signature", |t| {
        t.say("alg", json!("RS512"));
    }),
    ("an ECDSA signature in ASN.1", "signature", |t| {
        t.by("ES256", "p256", &t.keys.p256);
        t.signed = "ES256 in ASN.1";
    }),
    ("an ECDSA signature of zeros", "signature", |t| {
        t.by("ES256", "p256", &t.keys.p256);
        t.after = |token| {
            let [header, claims, _] = parts(&token);
            format!("{header}.{claims}.{}", BASE64URL_NOPAD.encode(&[0; 64]))
        };
    }),
    ("another's curve key under its name", "signature", |t| {
        t.by("ES256", "p256", &t.keys.strange_curve);
    }),
    ("a key that it brings along", "signature", |t| {
        t.key = &t.keys.stranger;
        t.say("jwk", t.keys.stranger.jwk.clone());
    }),
    (
        "a key that it brings along, by its own name",
        "unknown_key",
        |t| {
            t.by("RS256", "mine", &t.keys.stranger);
            t.say("jwk", t.keys.stranger.named("mine", &json!({})));
        },
    ),
    ("a key set that it points to", "unknown_key", |t| {
        t.by("RS256", "mine", &t.keys.stranger);
        t.say("jku", json!("https://evil.example/jwks"));
    }),
    ("a certificate that it points to", "signature", |t| {
        t.key = &t.keys.stranger;
        t.say("x5u", json!("https://evil.example/cert"));
    }),
    ("a key that there is not", "unknown_key", |t| {
        t.say("kid", json!("rsa2"));
    }),
    ("a path in place of a key", "unknown_key", |t| {
        t.say("kid", json!("../../dev/null"));
    }),
    ("an empty kid", "unknown_key", |t| t.say("kid", json!(""))),
    ("a kid that is a number", "token_form", |t| {
        t.say("kid", json!(1))
    }),
    ("no kid, and several keys", "ambiguous_key", |t| {
        t.header = json!({"alg": "RS256"});
    }),
    ("RS256 by the name of a curve key", "key_use", |t| {
        t.say("kid", json!("p256"));
    }),
    ("ES256 by the name of another curve's key", "key_use", |t| {
        t.by("ES256", "p384", &t.keys.p256);
    }),
    ("a key that is for another alg", "key_use", |t| {
        t.say("kid", json!("only-pss"));
    }),
    ("a key for encryption", "unknown_key", |t| {
        t.say("kid", json!("for-encryption"));
    }),
    ("a key that does not verify", "unknown_key", |t| {
        t.say("kid", json!("for-signing-only"));
    }),
    ("an RSA key of 1024 bits", "weak_key", |t| {
        t.by("RS256", "weak", &t.keys.weak);
    }),
    ("an RSA key whose exponent is 1", "weak_key", |t| {
        t.say("kid", json!("one"));
    }),
    ("a key whose private part is published", "weak_key", |t| {
        t.by("RS256", "leaked", &t.keys.leaked);
    }),
];

/// Headers and forms.
pub const FORMS: &[Row] = &[
    ("crit", "crit", |t| {
        t.say("crit", json!(["exp"]));
    }),
    ("a crit of nothing", "crit", |t| t.say("crit", json!([]))),
    ("claims that are not encoded (b64)", "crit", |t| {
        t.say("b64", json!(false));
        t.say("crit", json!(["b64"]));
    }),
    ("an access token", "typ", |t| t.say("typ", json!("at+jwt"))),
    ("an access token, in full", "typ", |t| {
        t.say("typ", json!("application/at+jwt"));
    }),
    ("a logout token", "typ", |t| {
        t.say("typ", json!("logout+jwt"))
    }),
    ("a typ that is no text", "token_form", |t| {
        t.say("typ", json!(["JWT"]))
    }),
    ("JWE", "token_encrypted", |t| {
        t.say("enc", json!("A128GCM"));
        t.after = |token| format!("{token}.AAAA.AAAA");
    }),
    ("JWE in three parts", "token_encrypted", |t| {
        t.say("enc", json!("A128GCM"));
    }),
    ("zip", "token_encrypted", |t| t.say("zip", json!("DEF"))),
    ("two parts", "token_form", |t| {
        t.after = |token| token.rsplit_once('.').unwrap().0.to_owned();
    }),
    ("four parts", "token_form", |t| {
        t.after = |token| format!("{token}.AAAA")
    }),
    ("padding", "token_form", |t| {
        t.after = |token| format!("{token}==")
    }),
    ("a line break at its end", "token_form", |t| {
        t.after = |token| format!("{token}\n");
    }),
    ("a space before it", "token_form", |t| {
        t.after = |token| format!(" {token}")
    }),
    ("longer than a token is", "token_size", |t| {
        t.claims["more"] = json!("x".repeat(50_000));
    }),
    ("two algs", "duplicate_member", |t| {
        t.header_text = Some(r#"{"alg":"none","alg":"RS256","kid":"rsa"}"#.to_owned());
    }),
    ("two algs, one of them escaped", "duplicate_member", |t| {
        t.header_text = Some(r#"{"alg":"RS256","\u0061lg":"RS256","kid":"rsa"}"#.to_owned());
    }),
    ("two subs", "duplicate_member", |t| {
        t.append(r#","sub":"admin""#)
    }),
    ("two auds", "duplicate_member", |t| {
        t.append(r#","aud":"cedarkeep""#)
    }),
    ("two of one inside a claim", "duplicate_member", |t| {
        t.append(r#","address":{"a":1,"a":2}"#);
    }),
    ("claims that are no JSON", "token_form", |t| {
        t.claims_text = Some(b"iss=https://idp.example".to_vec());
    }),
    ("claims that are a list", "token_form", |t| {
        t.claims_text = Some(b"[]".to_vec());
    }),
    ("claims and more", "token_form", |t| t.append("}{")),
    ("claims that are no UTF-8", "token_form", |t| {
        t.claims_text = Some(b"{\"iss\":\"\xff\"}".to_vec());
    }),
    ("claims behind a byte order mark", "token_form", |t| {
        t.claims_text = Some(format!("\u{feff}{}", t.claims).into_bytes());
    }),
    ("claims that nest without end", "token_form", |t| {
        t.append(&format!(
            r#","deep":{}1{}"#,
            "[".repeat(200),
            "]".repeat(200)
        ));
    }),
    ("an empty header", "token_form", |t| {
        t.header_text = Some(String::new())
    }),
];

/// Claims by which a token is taken or not.
pub const CLAIMS: &[Row] = &[
    ("another issuer", "iss", |t| {
        t.claims["iss"] = json!("https://evil.example")
    }),
    ("the issuer and a slash", "iss", |t| {
        t.claims["iss"] = json!(format!("{ISSUER}/"))
    }),
    ("the issuer in capitals", "iss", |t| {
        t.claims["iss"] = json!("https://IDP.example/tenant");
    }),
    ("a list of issuers", "iss", |t| {
        t.claims["iss"] = json!([ISSUER])
    }),
    ("no issuer", "iss", |t| t.without("iss")),
    ("for another client", "aud", |t| {
        t.claims["aud"] = json!("other")
    }),
    ("for a client of a longer name", "aud", |t| {
        t.claims["aud"] = json!("cedarkeep2")
    }),
    ("for nobody", "aud", |t| t.claims["aud"] = json!([])),
    ("for no one said", "aud", |t| t.without("aud")),
    ("for a number too", "aud", |t| {
        t.claims["aud"] = json!(["cedarkeep", 1])
    }),
    ("for whoever is in an object", "aud", |t| {
        t.claims["aud"] = json!({"cedarkeep": 1})
    }),
    ("for several, for whom not said", "azp", |t| {
        t.claims["aud"] = json!(["cedarkeep", "other"]);
    }),
    ("for several, made for another", "azp", |t| {
        t.claims["aud"] = json!(["cedarkeep", "other"]);
        t.claims["azp"] = json!("other");
    }),
    ("for one, made for another", "azp", |t| {
        t.claims["azp"] = json!("other")
    }),
    ("made for a list", "azp", |t| {
        t.claims["azp"] = json!(["cedarkeep"])
    }),
    ("made for nobody", "azp", |t| t.claims["azp"] = Value::Null),
    ("over for 60 s", "exp", |t| {
        t.claims["exp"] = json!(now().timestamp() - 60)
    }),
    ("over since 1970", "exp", |t| t.claims["exp"] = json!(0)),
    ("without end", "exp", |t| t.without("exp")),
    ("an end in words", "exp", |t| {
        t.claims["exp"] = json!("2999999999")
    }),
    ("an end beyond all numbers", "exp", |t| {
        t.claims["exp"] = json!(1e300)
    }),
    ("issued in 61 s", "iat", |t| {
        t.claims["iat"] = json!(now().timestamp() + 61)
    }),
    ("issued never", "iat", |t| t.without("iat")),
    ("issued in words", "iat", |t| t.claims["iat"] = json!("now")),
    ("issued beyond all time", "iat", |t| {
        t.claims["iat"] = json!(i64::MAX)
    }),
    ("good in 61 s", "nbf", |t| {
        t.claims["nbf"] = json!(now().timestamp() + 61)
    }),
    ("good in words", "nbf", |t| t.claims["nbf"] = json!("soon")),
    ("of nobody", "sub", |t| t.without("sub")),
    ("of the empty name", "sub", |t| t.claims["sub"] = json!("")),
    ("of a blank", "sub", |t| t.claims["sub"] = json!(" ")),
    ("of a number", "sub", |t| t.claims["sub"] = json!(7)),
    ("of a line break", "sub", |t| {
        t.claims["sub"] = json!("jane\nadmin")
    }),
    ("of a name too long", "sub", |t| {
        t.claims["sub"] = json!("x".repeat(256))
    }),
    ("without nonce", "nonce", |t| t.without("nonce")),
    ("of another sign-in", "nonce", |t| {
        t.claims["nonce"] = json!("n-0S6_WzA2Mj")
    }),
    ("an empty nonce", "nonce", |t| t.claims["nonce"] = json!("")),
    ("a list of nonces", "nonce", |t| {
        t.claims["nonce"] = json!([t.claims["nonce"].clone()]);
    }),
    ("with another's access token", "at_hash", |t| {
        t.claims["at_hash"] = json!(half(&SHA256, "another"));
    }),
    ("a hash by another function", "at_hash", |t| {
        t.claims["at_hash"] = json!(half(&SHA512, ACCESS));
    }),
    ("an empty hash", "at_hash", |t| {
        t.claims["at_hash"] = json!("")
    }),
    ("a hash of nothing", "at_hash", |t| {
        t.claims["at_hash"] = Value::Null
    }),
];

/// What a claim must be that is used afterwards.
pub const USED: &[Row] = &[
    ("verified by a word", "email_verified", |t| {
        t.claims["email_verified"] = json!("yes")
    }),
    ("verified by a number", "email_verified", |t| {
        t.claims["email_verified"] = json!(1)
    }),
    ("verified in capitals", "email_verified", |t| {
        t.claims["email_verified"] = json!("TRUE")
    }),
    ("a list of addresses", "claim", |t| {
        t.claims["email"] = json!(["a@example.com"])
    }),
    ("an address of two lines", "claim", |t| {
        t.claims["email"] = json!("a@example.com\r\nb")
    }),
    ("an address too long", "claim", |t| {
        t.claims["email"] = json!("x".repeat(255))
    }),
    ("a name that is a number", "claim", |t| {
        t.claims["name"] = json!(1)
    }),
    ("groups in an object", "claim", |t| {
        t.claims["groups"] = json!({"admin": true})
    }),
    ("groups that are numbers", "claim", |t| {
        t.claims["groups"] = json!(["staff", 1])
    }),
    ("more groups than anybody has", "claim", |t| {
        t.claims["groups"] = json!(vec!["g"; 2001]);
    }),
    ("a session that is a number", "claim", |t| {
        t.claims["sid"] = json!(5)
    }),
];
