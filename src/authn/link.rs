//! One-time links: how the token in one is written, made, read, and kept. Pure.
//!
//! `ckl_<kind>_<id>_<secret><crc32>`, all of it lower-case base 32 (RFC 4648, `a-z2-7`, no padding):
//!
//! | part | holds | characters |
//! | --- | --- | --- |
//! | `kind` | `inv`: an invitation; `sgn`: a sign-in | 3 |
//! | `id` | the tenant's id (16 bytes), what it is a link to (16 bytes), each on its own | 26 + 26 |
//! | `secret` | 32 random bytes | 52 |
//! | `crc32` | CRC-32 (IEEE) of every character before it, big-endian | 7 |
//!
//! As with API keys the tenant comes out of the token itself, and a mistyped one costs no look-up. Secret scanners find it by
//! `ckl_(inv|sgn)_[a-z2-7]{52}_[a-z2-7]{59}`.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::api_key::{CHECKSUM, ID, SECRET, checksum, read, written};

/// What every token begins with.
pub const PREFIX: &str = "ckl_";

/// The length of every token, in bytes.
pub const LENGTH: usize = PREFIX.len() + KIND + 1 + 2 * ID + 1 + SECRET + CHECKSUM;

const KIND: usize = 3;

/// What a link is for; one of one kind never serves as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Joining an organization by an invitation.
    Invitation,
    /// Signing in once.
    SignIn,
}

impl Purpose {
    /// Its word in a token.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Invitation => "inv",
            Self::SignIn => "sgn",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Invitation, Self::SignIn]
            .into_iter()
            .find(|one| one.word() == word)
    }
}

/// A text that is no token of ours: cut off, mistyped, or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no one-time link of ours: copy it whole")]
pub struct NotALink;

/// A token, whole: what stands in the link. It is wiped when it is dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Link {
    #[zeroize(skip)]
    purpose: Purpose,
    #[zeroize(skip)]
    tenant: [u8; 16],
    #[zeroize(skip)]
    to: [u8; 16],
    text: String,
}

impl Link {
    /// A new one from 32 bytes that are random and used for nothing else.
    #[must_use]
    pub fn mint(purpose: Purpose, tenant: [u8; 16], to: [u8; 16], mut secret: [u8; 32]) -> Self {
        let mut text = String::with_capacity(LENGTH);
        text.push_str(PREFIX);
        text.push_str(purpose.word());
        text.push('_');
        text.push_str(&written(&tenant));
        text.push_str(&written(&to));
        text.push('_');
        let mut random = written(&secret);
        text.push_str(&random);
        random.zeroize();
        secret.zeroize();
        let sum = checksum(&text);
        text.push_str(&sum);
        Self {
            purpose,
            tenant,
            to,
            text,
        }
    }

    /// Reads a token of this purpose as it was sent; exactly as it was made, with no space around it.
    ///
    /// # Errors
    /// When the text cannot be one that was ever made for this.
    pub fn parse(purpose: Purpose, text: &str) -> Result<Self, NotALink> {
        Self::read(purpose, text).ok_or(NotALink)
    }

    fn read(purpose: Purpose, text: &str) -> Option<Self> {
        if text.len() != LENGTH {
            return None;
        }
        let mut parts = text.strip_prefix(PREFIX)?.split('_');
        let (word, ids, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let plain = |part: &str| part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        let fits = parts.next().is_none()
            && Purpose::of(word) == Some(purpose)
            && plain(ids)
            && plain(secret)
            && secret.len() == SECRET + CHECKSUM;
        let (body, sum) = text.split_at_checked(LENGTH - CHECKSUM)?;
        let (tenant, to) = ids.split_at_checked(ID)?;
        if !fits || checksum(body) != sum {
            return None;
        }
        Some(Self {
            purpose,
            tenant: read(tenant)?,
            to: read(to)?,
            text: text.to_owned(),
        })
    }

    /// What it is for.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The tenant that it belongs to, as it says itself.
    #[must_use]
    pub const fn tenant(&self) -> [u8; 16] {
        self.tenant
    }

    /// The identifier, within the tenant, of what it is a link to.
    #[must_use]
    pub const fn to(&self) -> [u8; 16] {
        self.to
    }

    /// The token as it stands in the link; shown once, never logged.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What is stored of it, in hex: SHA-256. 256 random bits need no salt and no slow hash.
    #[must_use]
    pub fn digest(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.text.as_bytes()))
    }

    /// Whether this is what is stored of it; takes the same time wherever they differ.
    #[must_use]
    pub fn is_kept_as(&self, digest: &str) -> bool {
        self.digest().as_bytes().ct_eq(digest.as_bytes()).into()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link(..)")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test")]

    use super::*;
    use proptest::prelude::*;

    fn link() -> Link {
        Link::mint(Purpose::Invitation, [1; 16], [2; 16], [3; 32])
    }

    #[test]
    fn the_written_form_never_changes() {
        // Links lie in mailboxes for a week.
        assert_eq!(
            link().expose(),
            concat!(
                "ckl_inv_aeaqcaibaeaqcaibaeaqcaibaeaibaeaqcaibaeaqcaibaeaqcai_",
                "ambqgaydambqgaydambqgaydambqgaydambqgaydambqgaydambqk7774ay"
            )
        );
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", link()), "Link(..)");
    }

    #[test]
    fn a_link_of_one_kind_is_none_of_another() {
        assert!(Link::parse(Purpose::Invitation, link().expose()).is_ok());
        assert_eq!(
            Link::parse(Purpose::SignIn, link().expose()).unwrap_err(),
            NotALink
        );
    }

    #[test]
    fn it_is_kept_as_its_digest_alone() {
        let other = Link::mint(Purpose::Invitation, [1; 16], [2; 16], [4; 32]);
        assert!(link().is_kept_as(&link().digest()));
        assert!(!link().is_kept_as(&other.digest()));
        assert!(!link().is_kept_as(""));
        assert!(!link().digest().contains(&link().expose()[61..]));
    }

    proptest! {
        #[test]
        fn what_is_minted_is_read_back(tenant: [u8; 16], to: [u8; 16], secret: [u8; 32]) {
            let minted = Link::mint(Purpose::SignIn, tenant, to, secret);
            let read = Link::parse(Purpose::SignIn, minted.expose()).unwrap();
            prop_assert_eq!(minted.expose().len(), LENGTH);
            prop_assert_eq!((read.purpose(), read.tenant(), read.to()), (Purpose::SignIn, tenant, to));
            prop_assert!(read.is_kept_as(&minted.digest()));
        }

        #[test]
        fn one_wrong_character_is_always_seen(
            secret: [u8; 32], at in 0..LENGTH, other in proptest::char::range('!', '~'),
        ) {
            let text = Link::mint(Purpose::Invitation, [9; 16], [8; 16], secret).expose().to_owned();
            prop_assume!(!text[at..].starts_with(other));
            let typo = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            prop_assert!(Link::parse(Purpose::Invitation, &typo).is_err());
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,140}") {
            prop_assert!(Link::parse(Purpose::Invitation, &text).is_err());
            let like_ours = format!("ckl_inv_{text}");
            prop_assert!(Link::parse(Purpose::Invitation, &like_ours).is_err());
        }
    }
}
