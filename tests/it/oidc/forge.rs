//! Tokens made for a test, good and bad, with keys that are fresh each time. The signatures are ring's and openssl's, not those of the
//! library that verifies them.

use std::process::Command;

use cedarkeep::authn::oidc::keys::KeySet;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXUPPER};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use serde_json::{Map, Value, json};

/// What signs.
enum Signer {
    Rsa(RsaKeyPair),
    /// Shorter than ring signs with: openssl does.
    Weak(String),
    Curve(EcdsaKeyPair, Vec<u8>),
    Edwards(Ed25519KeyPair),
    Symmetric(Vec<u8>),
}

/// A key of a provider's, or of somebody who would like to be it.
pub struct Key {
    signer: Signer,
    /// As it stands in a key set, without its name.
    pub jwk: Value,
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut command = Command::new("openssl");
    command.args(arguments);
    command.stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::null());
    let mut child = command
        .spawn()
        .expect("Debian's `openssl` signs for this test");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}

fn rsa_pem(bits: u32) -> String {
    let bits = format!("rsa_keygen_bits:{bits}");
    let pem = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", &bits], &[]);
    String::from_utf8(pem).unwrap()
}

fn der(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    BASE64.decode(lines.collect::<String>().as_bytes()).unwrap()
}

fn url64(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

impl Key {
    pub fn rsa() -> Self {
        let pair = RsaKeyPair::from_pkcs8(&der(&rsa_pem(2048))).unwrap();
        let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
        let jwk = json!({"kty": "RSA", "n": url64(&public.n), "e": url64(&public.e)});
        Self {
            signer: Signer::Rsa(pair),
            jwk,
        }
    }

    /// An RSA key of so few bits that ring would not make one.
    pub fn weak(bits: u32) -> Self {
        let pem = rsa_pem(bits);
        let said = openssl(&["rsa", "-noout", "-modulus"], pem.as_bytes());
        let said = String::from_utf8(said).unwrap();
        let modulus = said.trim().strip_prefix("Modulus=").unwrap();
        let n = HEXUPPER.decode(modulus.as_bytes()).unwrap();
        Self {
            signer: Signer::Weak(pem),
            jwk: json!({"kty": "RSA", "n": url64(&n), "e": "AQAB"}),
        }
    }

    fn curve(crv: &str, algorithm: &'static EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let jwk = json!({"kty": "EC", "crv": crv, "x": url64(x), "y": url64(y)});
        Self {
            jwk,
            signer: Signer::Curve(pair, pkcs8.as_ref().to_vec()),
        }
    }

    pub fn p256() -> Self {
        Self::curve("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub fn p384() -> Self {
        Self::curve("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    pub fn ed25519() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": url64(pair.public_key().as_ref())});
        Self {
            signer: Signer::Edwards(pair),
            jwk,
        }
    }

    /// A secret that both sides know.
    pub fn symmetric(secret: &[u8]) -> Self {
        Self {
            signer: Signer::Symmetric(secret.to_vec()),
            jwk: json!({"kty": "oct", "k": url64(secret)}),
        }
    }

    /// Its entry of a key set.
    pub fn named(&self, kid: &str, more: &Value) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = json!(kid);
        for (name, value) in more.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }

    fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match alg {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Signer::Weak(pem) => {
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), pem).unwrap();
                let path = file.path().to_str().unwrap();
                openssl(&["dgst", "-sha256", "-sign", path], message)
            }
            Signer::Curve(_, pkcs8) if alg == "ES256 in ASN.1" => {
                let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &random).unwrap();
                pair.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Signer::Curve(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Signer::Edwards(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::Symmetric(secret) => {
                let algorithm = match alg {
                    "HS384" => ring::hmac::HMAC_SHA384,
                    "HS512" => ring::hmac::HMAC_SHA512,
                    _ => ring::hmac::HMAC_SHA256,
                };
                let key = ring::hmac::Key::new(algorithm, secret);
                ring::hmac::sign(&key, message).as_ref().to_vec()
            }
        }
    }
}

/// The client secret of the connection, with which nothing may be signed.
pub const SECRET: &str = "a client secret that is long enough for an HMAC";

/// A provider with keys of every kind, and somebody who would like to be it.
pub struct Keys {
    pub rsa: Key,
    pub p256: Key,
    pub p384: Key,
    pub ed: Key,
    pub weak: Key,
    pub leaked: Key,
    pub shared: Key,
    pub stranger: Key,
    pub strange_curve: Key,
}

impl Keys {
    pub fn fresh() -> Self {
        Self {
            rsa: Key::rsa(),
            p256: Key::p256(),
            p384: Key::p384(),
            ed: Key::ed25519(),
            weak: Key::weak(1024),
            leaked: Key::rsa(),
            shared: Key::symmetric(SECRET.as_bytes()),
            stranger: Key::rsa(),
            strange_curve: Key::p256(),
        }
    }

    /// What the provider publishes.
    pub fn set(&self) -> Value {
        json!({"keys": [
            self.rsa.named("rsa", &json!({"use": "sig"})),
            self.p256.named("p256", &json!({"key_ops": ["verify"]})),
            self.p384.named("p384", &json!({"alg": "ES384"})),
            self.ed.named("ed", &json!({})),
            self.weak.named("weak", &json!({})),
            self.leaked.named("leaked", &json!({"d": "AQAB"})),
            self.rsa.named("only-pss", &json!({"alg": "PS256"})),
            self.rsa.named("for-encryption", &json!({"use": "enc"})),
            self.rsa.named("for-signing-only", &json!({"key_ops": ["sign"]})),
            self.shared.named("shared", &json!({})),
            json!({"kty": "RSA", "kid": "one", "n": self.rsa.jwk["n"], "e": "AQ"}),
            json!({"kty": "a new kind", "kid": "new"}),
            json!("no key at all"),
        ]})
    }

    pub fn read(&self) -> KeySet {
        KeySet::read(self.set().to_string().as_bytes()).unwrap()
    }
}

/// A token on its way to be signed.
pub struct Token<'a> {
    pub keys: &'a Keys,
    pub key: &'a Key,
    /// How it is signed, whatever its header says.
    pub signed: &'static str,
    pub header: Value,
    pub claims: Value,
    /// The header, if it is not what JSON makes of `header`.
    pub header_text: Option<String>,
    /// The claims, if they are not what JSON makes of `claims`.
    pub claims_text: Option<Vec<u8>>,
    /// What is done to the whole in the end.
    pub after: fn(String) -> String,
}

impl<'a> Token<'a> {
    /// With these claims, signed as most providers sign.
    pub fn of(keys: &'a Keys, claims: Value) -> Self {
        Self {
            keys,
            key: &keys.rsa,
            signed: "RS256",
            header: json!({"alg": "RS256", "kid": "rsa", "typ": "JWT"}),
            claims,
            header_text: None,
            claims_text: None,
            after: |token| token,
        }
    }

    /// Signed so, and saying so.
    pub fn by(&mut self, alg: &'static str, kid: &str, key: &'a Key) {
        self.signed = alg;
        self.key = key;
        self.header = json!({"alg": alg, "kid": kid, "typ": "JWT"});
    }

    /// Without a claim.
    pub fn without(&mut self, claim: &str) {
        self.claims.as_object_mut().unwrap().remove(claim).unwrap();
    }

    /// With more in its header.
    pub fn say(&mut self, name: &str, value: Value) {
        self.header[name] = value;
    }

    /// With text before the last brace of its claims.
    pub fn append(&mut self, text: &str) {
        let claims = self.claims.to_string();
        let open = claims.strip_suffix('}').unwrap();
        self.claims_text = Some(format!("{open}{text}}}").into_bytes());
    }

    pub fn sign(&self) -> String {
        let header = self
            .header_text
            .clone()
            .unwrap_or_else(|| self.header.to_string());
        let claims = self.claims_text.clone();
        let claims = claims.unwrap_or_else(|| self.claims.to_string().into_bytes());
        let message = format!("{}.{}", url64(header.as_bytes()), url64(&claims));
        let signature = self.key.sign(self.signed, message.as_bytes());
        (self.after)(format!("{message}.{}", url64(&signature)))
    }
}

/// The parts of a token.
pub fn parts(token: &str) -> [String; 3] {
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

/// A token whose claims were changed after it was signed.
pub fn with_claims(token: &str, change: impl Fn(&mut Map<String, Value>)) -> String {
    let [header, claims, signature] = parts(token);
    let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap();
    let mut claims: Map<String, Value> = serde_json::from_slice(&claims).unwrap();
    change(&mut claims);
    let claims = url64(&serde_json::to_vec(&claims).unwrap());
    format!("{header}.{claims}.{signature}")
}
