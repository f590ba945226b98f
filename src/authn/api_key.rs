//! API keys: how one is written, made, read, and kept. Pure.
//!
//! `ck_<env>_<id>_<secret><crc32>`, all of it lower-case base 32 (RFC 4648, `a-z2-7`, no padding):
//!
//! | part | holds | characters |
//! | --- | --- | --- |
//! | `env` | `live` or `test` | 4 |
//! | `id` | the tenant's id (16 bytes), the key's id (16 bytes), each on its own | 26 + 26 |
//! | `secret` | 32 random bytes | 52 |
//! | `crc32` | CRC-32 (IEEE) of every character before it, big-endian | 7 |
//!
//! The tenant comes out of the key itself, so a request belongs to one tenant before anything is looked
//! up. The checksum tells a typo from a wrong key without asking a database, and gives secret scanners a
//! pattern that nothing else matches: `ck_(live|test)_[a-z2-7]{52}_[a-z2-7]{59}`. Ids are the 16 bytes
//! behind a text id's prefix; the prefix is left out, since the position says what they are.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// What every key begins with.
pub const PREFIX: &str = "ck_";

/// The length of every key, in bytes.
pub const LENGTH: usize = 8 + 2 * ID + 1 + SECRET + CHECKSUM;

pub(super) const ID: usize = 26;
pub(super) const SECRET: usize = 52;
pub(super) const CHECKSUM: usize = 7;

/// What a key is for; a key of one kind never opens the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Real decisions.
    Live,
    /// Trials.
    Test,
}

impl Environment {
    /// Its word in a key.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// Why a text is no key. None of them says anything that the text's sender did not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// Some other credential.
    #[error("an API key begins with `{PREFIX}`")]
    Prefix,
    /// Cut off, or with something added.
    #[error("an API key has {LENGTH} characters, this has {0}")]
    Length(usize),
    /// Neither of the two words.
    #[error("an API key is `live` or `test`")]
    Environment,
    /// A character that no key has, or one at the wrong place.
    #[error("an API key holds `a-z` and `2-7` between its underscores, nothing else")]
    Character,
    /// All characters may stand where they do, but they were not made together.
    #[error("the checksum of this API key is wrong; it was mistyped or cut from elsewhere")]
    Checksum,
}

/// A key, whole: what its owner holds. It is wiped when it is dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub struct ApiKey {
    #[zeroize(skip)]
    environment: Environment,
    #[zeroize(skip)]
    tenant: [u8; 16],
    #[zeroize(skip)]
    id: [u8; 16],
    text: String,
}

impl ApiKey {
    /// A new key from 32 bytes that are random and used for nothing else.
    #[must_use]
    pub fn mint(
        environment: Environment,
        tenant: [u8; 16],
        id: [u8; 16],
        mut secret: [u8; 32],
    ) -> Self {
        let mut text = String::with_capacity(LENGTH);
        text.push_str(PREFIX);
        text.push_str(environment.word());
        text.push('_');
        text.push_str(&written(&tenant));
        text.push_str(&written(&id));
        text.push('_');
        let mut random = written(&secret);
        text.push_str(&random);
        random.zeroize();
        secret.zeroize();
        let sum = checksum(&text);
        text.push_str(&sum);
        Self {
            environment,
            tenant,
            id,
            text,
        }
    }

    /// Reads a key as it was sent; exactly as it was made, with no space around it.
    ///
    /// # Errors
    ///
    /// When the text cannot be a key that was ever made.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let rest = text.strip_prefix(PREFIX).ok_or(NotAKey::Prefix)?;
        if text.len() != LENGTH {
            return Err(NotAKey::Length(text.chars().count()));
        }
        let mut parts = rest.split('_');
        let (Some(word), Some(ids), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAKey::Character);
        };
        let environment = match word {
            "live" => Environment::Live,
            "test" => Environment::Test,
            _ => return Err(NotAKey::Environment),
        };
        let plain = |part: &str| part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        if !plain(ids) || !plain(secret) {
            return Err(NotAKey::Character);
        }
        // The whole is long enough, so these fail only where an underscore stands at the wrong place.
        let (tenant, id) = ids.split_at_checked(ID).ok_or(NotAKey::Character)?;
        if secret.len() != SECRET + CHECKSUM {
            return Err(NotAKey::Character);
        }
        let (body, sum) = text
            .split_at_checked(LENGTH - CHECKSUM)
            .ok_or(NotAKey::Character)?;
        if checksum(body) != sum {
            return Err(NotAKey::Checksum);
        }
        // A checksum that fits was computed over these characters; what is left is bits that no id has.
        Ok(Self {
            environment,
            tenant: read(tenant).ok_or(NotAKey::Character)?,
            id: read(id).ok_or(NotAKey::Character)?,
            text: text.to_owned(),
        })
    }

    /// What it is for.
    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.environment
    }

    /// The tenant that it belongs to, as it says itself.
    #[must_use]
    pub const fn tenant(&self) -> [u8; 16] {
        self.tenant
    }

    /// Its id within the tenant.
    #[must_use]
    pub const fn id(&self) -> [u8; 16] {
        self.id
    }

    /// The key as its owner holds it; shown once, never logged.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What is stored of it. 256 random bits need no salt and no slow hash.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(self.text.as_bytes()).into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// SHA-256 of a whole key: what is stored.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest that these bytes are, as they come from the store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is the digest of that key; takes the same time wherever they differ.
    #[must_use]
    pub fn is_of(&self, key: &ApiKey) -> bool {
        self.0.ct_eq(&key.digest().0).into()
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

pub(super) fn written(bytes: &[u8]) -> String {
    let mut text = BASE32_NOPAD.encode(bytes);
    text.make_ascii_lowercase();
    text
}

pub(super) fn read(text: &str) -> Option<[u8; 16]> {
    BASE32_NOPAD
        .decode(text.to_ascii_uppercase().as_bytes())
        .ok()?
        .try_into()
        .ok()
}

pub(super) fn checksum(text: &str) -> String {
    written(&crc32fast::hash(text.as_bytes()).to_be_bytes())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test")]

    use super::*;
    use proptest::prelude::*;

    fn key() -> ApiKey {
        ApiKey::mint(Environment::Live, [1; 16], [2; 16], [3; 32])
    }

    #[test]
    fn the_written_form_never_changes() {
        // Keys are in other people's configuration: this line may be added to, not edited.
        assert_eq!(
            key().expose(),
            concat!(
                "ck_live_aeaqcaibaeaqcaibaeaqcaibaeaibaeaqcaibaeaqcaibaeaqcai_",
                "ambqgaydambqgaydambqgaydambqgaydambqgaydambqgaydambqqf4wgda"
            )
        );
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let shown = format!("{:?} {:?}", key(), key().digest());
        assert_eq!(shown, "ApiKey(..) KeyDigest(..)");
    }

    #[test]
    fn each_refusal_says_what_is_wrong() {
        let text = key().expose().to_owned();
        let refused = |text: &str| ApiKey::parse(text).unwrap_err();
        assert_eq!(refused(""), NotAKey::Prefix);
        assert_eq!(refused("sk_live_x"), NotAKey::Prefix);
        assert_eq!(refused(&text[..LENGTH - 1]), NotAKey::Length(LENGTH - 1));
        assert_eq!(refused(&format!("{text} ")), NotAKey::Length(LENGTH + 1));
        assert_eq!(refused(&text.replace("live", "prod")), NotAKey::Environment);
        assert_eq!(refused(&text.replace("_aea", "_aeA")), NotAKey::Character);
        assert_eq!(refused(&text.replace("_aea", "_ae1")), NotAKey::Character);
        assert_eq!(refused(&text.replace("_ambq", "am_bq")), NotAKey::Character);
        assert_eq!(refused(&text.replace("_aea", "_ae_")), NotAKey::Character);
        assert_eq!(
            refused(&text.replace("_aea", "_a\u{e9}")),
            NotAKey::Character
        );
        assert_eq!(refused(&text.replace("live", "test")), NotAKey::Checksum);
        assert_eq!(refused(&text.replace("_aea", "_aeb")), NotAKey::Checksum);
    }

    #[test]
    fn bits_that_no_id_has_are_refused_even_with_a_fitting_checksum() {
        let text = key().expose().to_owned();
        // 26 characters hold 130 bits: `f` for `e` at the end of an id sets one of
        // the two that mean nothing.
        let body = format!("{}f{}", &text[..33], &text[34..LENGTH - CHECKSUM]);
        assert_eq!(&text[32..34], "ae");
        assert_eq!(
            ApiKey::parse(&format!("{body}{}", checksum(&body))).unwrap_err(),
            NotAKey::Character
        );
    }

    #[test]
    fn another_secret_is_another_digest() {
        let other = ApiKey::mint(Environment::Live, [1; 16], [2; 16], [4; 32]);
        assert!(key().digest().is_of(&key()));
        assert!(!key().digest().is_of(&other));
        assert!(KeyDigest::from_bytes(*key().digest().as_bytes()).is_of(&key()));
    }

    proptest! {
        #[test]
        fn what_is_minted_is_read_back(
            tenant: [u8; 16], id: [u8; 16], secret: [u8; 32], live: bool,
        ) {
            let environment = if live { Environment::Live } else { Environment::Test };
            let minted = ApiKey::mint(environment, tenant, id, secret);
            let parsed = ApiKey::parse(minted.expose()).unwrap();
            prop_assert_eq!(minted.expose().len(), LENGTH);
            prop_assert_eq!((parsed.environment(), parsed.tenant(), parsed.id()), (environment, tenant, id));
            prop_assert!(minted.digest().is_of(&parsed));
        }

        #[test]
        fn one_wrong_character_is_always_seen(
            secret: [u8; 32], at in 0..LENGTH, other in proptest::char::range('!', '~'),
        ) {
            let text = ApiKey::mint(Environment::Test, [9; 16], [8; 16], secret).expose().to_owned();
            prop_assume!(!text[at..].starts_with(other));
            let typo = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            prop_assert!(ApiKey::parse(&typo).is_err());
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,140}") {
            prop_assert!(ApiKey::parse(&text).is_err());
            let like_ours = format!("ck_live_{text}");
            prop_assert!(ApiKey::parse(&like_ours).is_err());
        }
    }
}
