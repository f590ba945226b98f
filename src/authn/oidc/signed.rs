//! A signed token (RFC 7515, compact) whose claims nobody sees before its signature was verified.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::OidcRefusal;
use super::keys::{Algorithm, Key, KeySet};
use super::members::{Unreadable, object};

/// The longest token, in bytes.
pub const LONGEST: usize = 64 * 1024;

/// More keys of one name than any provider has would only take time.
const TRIES: usize = 4;

/// What a verified token says, and by which key.
pub(super) struct Verified<'a> {
    pub(super) claims: Map<String, Value>,
    algorithm: &'static Algorithm,
    key: &'a Key,
}

impl Verified<'_> {
    /// The left half of the hash of a text, as `at_hash` holds it.
    pub(super) fn half_hash(&self, text: &str) -> Option<String> {
        let hash = self.key.hash(self.algorithm, text.as_bytes())?;
        let half = hash.get(..hash.len() / 2)?;
        Some(BASE64URL_NOPAD.encode(half))
    }
}

/// The claims of a token of one of these types, if one of these keys has signed it. A key that the token brings along or points to (`jwk`,
/// `x5c`, `jku`, `x5u`) means nothing.
pub(super) fn verify<'a>(
    token: &str,
    types: &[&str],
    keys: &'a KeySet,
) -> Result<Verified<'a>, OidcRefusal> {
    if token.len() > LONGEST {
        return Err(OidcRefusal::Size);
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else {
        return Err(match parts.len() {
            5 => OidcRefusal::Encrypted,
            _ => OidcRefusal::Form("it has not three parts"),
        });
    };
    let header = read(header)?;
    let algorithm = algorithm_of(&header, types)?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.as_str()),
        Some(_) => return Err(OidcRefusal::Form("its `kid` is not a string")),
    };
    let signature = BASE64URL_NOPAD
        .decode(signature.as_bytes())
        .map_err(|_| OidcRefusal::Form("its signature is not in base64url"))?;
    let message = token
        .rsplit_once('.')
        .map(|(message, _)| message.as_bytes());
    let message = message.unwrap_or_default();
    let key = keys
        .of(kid, algorithm)?
        .into_iter()
        .take(TRIES)
        .find(|key| key.has_signed(algorithm, message, &signature))
        .ok_or(OidcRefusal::Signature)?;
    Ok(Verified {
        claims: read(payload)?,
        algorithm,
        key,
    })
}

fn algorithm_of(
    header: &Map<String, Value>,
    types: &[&str],
) -> Result<&'static Algorithm, OidcRefusal> {
    if header.contains_key("enc") || header.contains_key("zip") {
        return Err(OidcRefusal::Encrypted);
    }
    if header.contains_key("crit") {
        return Err(OidcRefusal::Critical);
    }
    let typ = match header.get("typ") {
        None => "JWT",
        Some(Value::String(typ)) => typ,
        Some(_) => return Err(OidcRefusal::Form("its `typ` is not a string")),
    };
    let bare = typ
        .get(.."application/".len())
        .filter(|start| start.eq_ignore_ascii_case("application/"));
    let bare = bare.and_then(|start| typ.get(start.len()..)).unwrap_or(typ);
    if !types.iter().any(|one| bare.eq_ignore_ascii_case(one)) {
        return Err(OidcRefusal::Type(super::shown(typ)));
    }
    let Some(Value::String(alg)) = header.get("alg") else {
        return Err(OidcRefusal::Form("its header has no `alg`"));
    };
    Algorithm::named(alg).ok_or_else(|| OidcRefusal::Algorithm(super::shown(alg)))
}

fn read(part: &str) -> Result<Map<String, Value>, OidcRefusal> {
    let bytes = BASE64URL_NOPAD
        .decode(part.as_bytes())
        .map_err(|_| OidcRefusal::Form("a part is not in base64url"))?;
    object(&bytes).map_err(|refused| match refused {
        Unreadable::Twice => OidcRefusal::Duplicate,
        Unreadable::Malformed(_) => OidcRefusal::Form("a part is not a JSON object"),
    })
}
