//! Random identifiers that we give: a prefix that names the kind, and 128 bits in base 32.

pub mod reference;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use data_encoding::{Encoding, Specification};

/// Lower-case RFC 4648 base 32 without padding: 26 characters for 128 bits.
fn base32() -> &'static Encoding {
    static ENCODING: std::sync::OnceLock<Encoding> = std::sync::OnceLock::new();
    ENCODING.get_or_init(|| {
        let mut specification = Specification::new();
        specification
            .symbols
            .push_str("abcdefghijklmnopqrstuvwxyz234567");
        specification
            .encoding()
            .unwrap_or(data_encoding::BASE32_NOPAD)
    })
}

/// A text that is not an identifier of the kind that was wanted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an identifier of the form `{prefix}_` and 26 characters of a-z and 2-7")]
pub struct NotAnId {
    /// What was given, cut to 64 characters.
    pub text: String,
    /// The prefix that was wanted.
    pub prefix: &'static str,
}

/// Bytes that begin with the milliseconds since 1970, as in UUIDv7 (RFC 9562): what is written together lies together in an index. The
/// other 80 bits are chance.
#[must_use]
pub fn in_order(now: DateTime<Utc>, chance: [u8; 16]) -> [u8; 16] {
    let [_, _, time @ ..] = now.timestamp_millis().to_be_bytes();
    let mut bytes = chance;
    for (place, byte) in bytes.iter_mut().zip(time) {
        *place = byte;
    }
    bytes
}

/// Writes 16 random bytes as `prefix_` and 26 characters.
pub fn text(prefix: &str, bytes: &[u8; 16]) -> String {
    format!("{prefix}_{}", base32().encode(bytes))
}

/// Writes 16 bytes as 26 characters, with no prefix.
pub fn bare(bytes: &[u8; 16]) -> String {
    base32().encode(bytes)
}

/// Reads what [`bare`] wrote.
pub fn parse_bare(text: &str) -> Option<[u8; 16]> {
    base32().decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Reads what [`text`] wrote.
///
/// # Errors
/// Another prefix, another length or another character.
pub fn parse(prefix: &'static str, given: &str) -> Result<[u8; 16], NotAnId> {
    given
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .and_then(parse_bare)
        .ok_or_else(|| NotAnId {
            text: given.chars().take(64).collect(),
            prefix,
        })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The prefix of its text form.
            pub const PREFIX: &'static str = $prefix;

            /// From 16 random bytes.
            pub const fn new(random: [u8; 16]) -> Self {
                Self(random)
            }

            /// The 16 bytes.
            pub const fn bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&text($prefix, &self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(given: &str) -> Result<Self, NotAnId> {
                parse($prefix, given).map(Self)
            }
        }
    };
}

id! {
    /// A tenant: one organization, one database, one log.
    TenantId, "org"
}
id! {
    /// One life of a tenant's log: a restore from a backup starts another.
    Incarnation, "inc"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = TenantId::new([0x5a; 16]);
        assert_eq!(id.to_string().parse::<TenantId>(), Ok(id));
        assert_eq!(id.to_string().len(), 4 + 26);
    }

    #[test]
    fn what_is_made_at_one_time_begins_alike() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap_or_default();
        let one = in_order(at(1_900_000_000_000), [1; 16]);
        let other = in_order(at(1_900_000_000_000), [2; 16]);
        assert_eq!(one[..6], other[..6]);
        assert_eq!((&one[6..], &other[6..]), (&[1; 10][..], &[2; 10][..]));
        assert!(in_order(at(1_900_000_000_001), [0; 16]) > other);
    }

    #[test]
    fn another_prefix_is_refused() {
        let text = Incarnation::new([1; 16]).to_string();
        assert!(text.parse::<TenantId>().is_err());
        assert!("org_".parse::<TenantId>().is_err());
        assert!(
            "org_AAAAAAAAAAAAAAAAAAAAAAAAAA"
                .parse::<TenantId>()
                .is_err()
        );
    }
}
