//! Tokens that are no API keys: session cookies, one-time links, SCIM tokens. One form for all, and a word that tells them apart. Pure.
//!
//! `<word>_<id>_<secret><crc32>`, lower-case base 32 like an API key ([`super::api_key`]): the tenant's id and the token's own, 32
//! random bytes, and the CRC-32 of every character before it. What is stored is the SHA-256 of the whole.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::api_key::{CHECKSUM, ID, SECRET, checksum, read, written};

/// What a token is for; one of one use is none of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// The cookie of somebody who is signed in.
    Session,
    /// A link that signs somebody in, once.
    Link,
    /// A link that begins a test of a connection, once.
    Test,
    /// A link by which somebody who was invited joins, once.
    Invitation,
    /// What an identity provider's directory brings to SCIM.
    Scim,
}

impl Use {
    /// The word that every token of it begins with.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Session => "cks",
            Self::Link => "ckl",
            Self::Test => "ckx",
            Self::Invitation => "cki",
            Self::Scim => "ckd",
        }
    }
}

/// A token, whole: what its owner holds. It is wiped when it is dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Token {
    #[zeroize(skip)]
    tenant: [u8; 16],
    #[zeroize(skip)]
    id: [u8; 16],
    text: String,
}

impl Token {
    /// A new one, of 32 bytes that are random and used for nothing else.
    #[must_use]
    pub fn mint(of: Use, tenant: [u8; 16], id: [u8; 16], mut secret: [u8; 32]) -> Self {
        let mut random = written(&secret);
        let mut text = format!(
            "{}_{}{}_{random}",
            of.word(),
            written(&tenant),
            written(&id)
        );
        random.zeroize();
        secret.zeroize();
        let sum = checksum(&text);
        text.push_str(&sum);
        Self { tenant, id, text }
    }

    /// Reads one of this use, exactly as it was made; nothing where the text cannot be one.
    #[must_use]
    pub fn parse(of: Use, text: &str) -> Option<Self> {
        let rest = text.strip_prefix(of.word())?.strip_prefix('_')?;
        let (ids, secret) = rest.split_once('_')?;
        let plain = |part: &str| part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        if ids.len() != 2 * ID || secret.len() != SECRET + CHECKSUM || !plain(ids) || !plain(secret)
        {
            return None;
        }
        let (body, sum) = text.split_at_checked(text.len() - CHECKSUM)?;
        if checksum(body) != sum {
            return None;
        }
        let (tenant, id) = ids.split_at_checked(ID)?;
        Some(Self {
            tenant: read(tenant)?,
            id: read(id)?,
            text: text.to_owned(),
        })
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

    /// The token as its owner holds it; shown once, never logged.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What is stored of it. 256 random bits need no salt and no slow hash.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }

    /// The same in hexadecimal, as it stands in a row.
    #[must_use]
    pub fn stored(&self) -> String {
        HEXLOWER.encode(&self.digest())
    }

    /// Whether this is what is stored of it, in hexadecimal; takes the same time wherever they differ.
    #[must_use]
    pub fn is(&self, digest: &str) -> bool {
        let stored = HEXLOWER.decode(digest.as_bytes());
        stored.is_ok_and(|stored| stored.ct_eq(&self.digest()).into())
    }

    /// Whether two texts that are derived of it are the same; takes the same time wherever they differ.
    #[must_use]
    pub fn is_same(&self, one: &str, other: &str) -> bool {
        one.as_bytes().ct_eq(other.as_bytes()).into()
    }

    /// A secret for another purpose that whoever has the token can make, and nobody can make the token of.
    #[must_use]
    pub fn derived(&self, purpose: &str) -> String {
        let digest = Sha256::new()
            .chain_update("cedarkeep ")
            .chain_update(purpose)
            .chain_update([0])
            .chain_update(self.text.as_bytes())
            .finalize();
        data_encoding::BASE64URL_NOPAD.encode(&digest)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test")]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_written_form_never_changes() {
        let token = Token::mint(Use::Session, [1; 16], [2; 16], [3; 32]);
        assert_eq!(
            token.expose(),
            concat!(
                "cks_aeaqcaibaeaqcaibaeaqcaibaeaibaeaqcaibaeaqcaibaeaqcai_",
                "ambqgaydambqgaydambqgaydambqgaydambqgaydambqgaydambqcexddea"
            )
        );
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn what_is_derived_differs_by_purpose_and_token() {
        let (one, two) = (
            Token::mint(Use::Link, [1; 16], [2; 16], [3; 32]),
            Token::mint(Use::Link, [1; 16], [2; 16], [4; 32]),
        );
        assert_eq!(one.derived("a"), one.derived("a"));
        assert_ne!(one.derived("a"), one.derived("b"));
        assert_ne!(one.derived("a"), two.derived("a"));
    }

    proptest! {
        #[test]
        fn what_is_minted_is_read_back_by_its_use_alone(tenant: [u8; 16], id: [u8; 16], secret: [u8; 32]) {
            for of in [Use::Session, Use::Link, Use::Scim] {
                let minted = Token::mint(of, tenant, id, secret);
                for other in [Use::Session, Use::Link, Use::Scim] {
                    let parsed = Token::parse(other, minted.expose());
                    prop_assert_eq!(parsed.is_some(), of == other);
                }
                let parsed = Token::parse(of, minted.expose()).unwrap();
                prop_assert_eq!((parsed.tenant(), parsed.id()), (tenant, id));
                prop_assert!(parsed.is(&minted.stored()));
                prop_assert!(!parsed.is(&HEXLOWER.encode(&[0; 32])));
            }
        }

        #[test]
        fn one_wrong_character_is_always_seen(secret: [u8; 32], at in 0_usize..116, other in proptest::char::range('!', '~')) {
            let text = Token::mint(Use::Session, [9; 16], [8; 16], secret).expose().to_owned();
            prop_assume!(!text[at..].starts_with(other));
            let typo = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            prop_assert!(Token::parse(Use::Session, &typo).is_none());
        }
    }
}
