//! A provider's keys (RFC 7517), and by which of them a token may be signed.

use openidconnect::JsonWebKey as _;
use openidconnect::core::{CoreJsonWebKey, CoreJwsSigningAlgorithm};
use serde_json::{Map, Value};

use super::OidcRefusal;
use super::members::{object, strings};

/// The most keys of a set that are looked at.
const KEYS_LIMIT: usize = 100;

/// How many bits an RSA modulus has. More than the most would only take time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A way of signing that is taken.
#[derive(Debug)]
pub(super) struct Algorithm {
    /// Its name in a header.
    pub(super) name: &'static str,
    kty: &'static str,
    crv: Option<&'static str>,
    scheme: CoreJwsSigningAlgorithm,
}

const fn rsa(name: &'static str, scheme: CoreJwsSigningAlgorithm) -> Algorithm {
    Algorithm {
        name,
        kty: "RSA",
        crv: None,
        scheme,
    }
}

const fn curve(
    name: &'static str,
    kty: &'static str,
    crv: &'static str,
    scheme: CoreJwsSigningAlgorithm,
) -> Algorithm {
    Algorithm {
        name,
        kty,
        crv: Some(crv),
        scheme,
    }
}

/// What is taken. Deliberately absent: `none`; the HS family, whose key would be our own secret; ES512, which the library cannot verify.
static ALGORITHMS: [Algorithm; 9] = [
    rsa("RS256", CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256),
    rsa("RS384", CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384),
    rsa("RS512", CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512),
    rsa("PS256", CoreJwsSigningAlgorithm::RsaSsaPssSha256),
    rsa("PS384", CoreJwsSigningAlgorithm::RsaSsaPssSha384),
    rsa("PS512", CoreJwsSigningAlgorithm::RsaSsaPssSha512),
    curve(
        "ES256",
        "EC",
        "P-256",
        CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    ),
    curve(
        "ES384",
        "EC",
        "P-384",
        CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    ),
    curve("EdDSA", "OKP", "Ed25519", CoreJwsSigningAlgorithm::EdDsa),
];

impl Algorithm {
    /// The one of this name, if it is taken.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        ALGORITHMS.iter().find(|one| one.name == name)
    }
}

/// The keys of a provider that could sign a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    key: CoreJsonWebKey,
    kid: Option<String>,
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    weak: bool,
}

impl KeySet {
    /// Reads a key set. A key that is not understood, or is for something else, is left out, as RFC 7517 wants it.
    ///
    /// # Errors
    /// No JSON object with `keys`, a member twice, more than a hundred keys.
    pub fn read(bytes: &[u8]) -> Result<Self, OidcRefusal> {
        let set = object(bytes).map_err(|_| OidcRefusal::KeySet("it is not one JSON object"))?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err(OidcRefusal::KeySet("it has no `keys`"));
        };
        if keys.len() > KEYS_LIMIT {
            return Err(OidcRefusal::KeySet("it has more than 100 keys"));
        }
        let keys = keys.iter().filter_map(Value::as_object);
        Ok(Self(keys.filter_map(Key::read).collect()))
    }

    /// The keys by which a token may be signed that says this.
    pub(super) fn of(
        &self,
        kid: Option<&str>,
        algorithm: &Algorithm,
    ) -> Result<Vec<&Key>, OidcRefusal> {
        let named = self
            .0
            .iter()
            .filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        let (fit, unfit): (Vec<&Key>, Vec<&Key>) = named.partition(|key| key.fits(algorithm));
        match (fit.len(), kid) {
            (0, Some(_)) if !unfit.is_empty() => Err(OidcRefusal::KeyUse),
            (0, _) => Err(OidcRefusal::UnknownKey(super::shown(
                kid.unwrap_or_default(),
            ))),
            (2.., None) => Err(OidcRefusal::AmbiguousKey),
            _ if fit.iter().any(|key| key.weak) => Err(OidcRefusal::WeakKey),
            _ => Ok(fit),
        }
    }
}

impl Key {
    fn read(members: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let signs = members.get("use").is_none_or(|use_| use_ == "sig")
            && members
                .get("key_ops")
                .is_none_or(|ops| strings(ops).is_some_and(|ops| ops.contains(&"verify")));
        let key = serde_json::from_value(Value::Object(members.clone())).ok()?;
        let weak = members.contains_key("d")
            || text("kty") == Some("RSA") && !is_strong(text("n"), text("e"));
        let read = Self {
            key,
            kid: text("kid").map(str::to_owned),
            kty: text("kty")?.to_owned(),
            crv: text("crv").map(str::to_owned),
            alg: text("alg").map(str::to_owned),
            weak,
        };
        signs.then_some(read)
    }

    fn fits(&self, algorithm: &Algorithm) -> bool {
        self.kty == algorithm.kty
            && (algorithm.crv.is_none() || self.crv.as_deref() == algorithm.crv)
            && self.alg.as_deref().is_none_or(|alg| alg == algorithm.name)
    }

    pub(super) fn has_signed(
        &self,
        algorithm: &Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.key
            .verify_signature(&algorithm.scheme, message, signature)
            .is_ok()
    }

    /// The hash that goes with the signature, as `at_hash` is made by it.
    pub(super) fn hash(&self, algorithm: &Algorithm, bytes: &[u8]) -> Option<Vec<u8>> {
        self.key.hash_bytes(bytes, &algorithm.scheme).ok()
    }
}

/// Whether an RSA key is long enough, and its exponent one that a real key has.
fn is_strong(n: Option<&str>, e: Option<&str>) -> bool {
    let number = |text: Option<&str>| {
        let bytes = data_encoding::BASE64URL_NOPAD
            .decode(text?.as_bytes())
            .ok()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.get(zeros..).map(<[u8]>::to_vec)
    };
    let (Some(n), Some(e)) = (number(n), number(e)) else {
        return false;
    };
    let bits = n.first().map_or(0, |first| {
        n.len()
            .saturating_mul(8)
            .saturating_sub(usize::try_from(first.leading_zeros()).unwrap_or(8))
    });
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    RSA_BITS.contains(&bits) && odd(&n) && odd(&e) && e != [1] && e.len() <= 4
}
