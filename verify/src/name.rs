//! How an entry names things: words of the program, and random identifiers that the service gave.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use super::flaw::Flaw;

/// A word of the program's own: a built-in action or type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(Text);

impl Word {
    /// A word of the program: 1 to 96 of `a-z A-Z 0-9 . _ : / -`, a letter first. Only a literal, or what was compiled in, lives long
    /// enough to be one; a word that breaks the grammar is refused when its entry is written.
    #[must_use]
    pub const fn of(word: &'static str) -> Self {
        Self(Text::Ours(word))
    }

    /// As it stands in an entry.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        is_word(text).then(|| Self(Text::Read(Arc::from(text))))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A random identifier that the service gave: a prefix of 1 to 8 of `a-z 0-9`, `_`, and 128 bits in lower-case base 32.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<str>);

impl Id {
    /// The identifier of these random bytes. A prefix that breaks the grammar is refused when its entry is written.
    #[must_use]
    pub fn of(prefix: &'static str, random: &[u8; 16]) -> Self {
        let mut text = String::with_capacity(prefix.len() + 27);
        text.push_str(prefix);
        text.push('_');
        let bits = u128::from_be_bytes(*random);
        for place in 0..26_u32 {
            // 130 bits in all: the last character has two that are zero.
            let five = if place == 25 {
                (bits & 7) << 2
            } else {
                (bits >> (123 - 5 * place)) & 31
            };
            text.push(base32_digit(five));
        }
        Self(text.into())
    }

    /// As it stands in an entry.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_well_formed(&self) -> bool {
        is_id(&self.0)
    }
}

impl FromStr for Id {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        if is_id(text) {
            Ok(Self(text.into()))
        } else {
            Err(not_ours(text))
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A person or a thing: its built-in type and the identifier that the service gave it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref {
    /// Its type, such as `User`.
    pub kind: Word,
    /// Its identifier.
    pub id: Id,
}

impl Ref {
    /// What `kind` and `id` name together.
    #[must_use]
    pub const fn new(kind: Word, id: Id) -> Self {
        Self { kind, id }
    }
}

/// A policy that determined a decision: built in by name, a tenant's or a link by the identifier that it was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(Text);

impl PolicyId {
    /// A policy of the service's own, by the `@id` that was compiled in; its grammar is that of a [`Word`].
    #[must_use]
    pub const fn built_in(id: &'static str) -> Self {
        Self(Text::Ours(id))
    }

    /// A tenant's policy, or a link of a template. The name that the tenant gave it belongs in a part.
    #[must_use]
    pub fn given(id: Id) -> Self {
        Self(Text::Read(id.0))
    }

    /// As it stands in an entry.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        (is_word(text) || is_id(text)).then(|| Self(Text::Read(Arc::from(text))))
    }
}

/// Either of the program, or read back from a leaf.
#[derive(Debug, Clone)]
enum Text {
    Ours(&'static str),
    Read(Arc<str>),
}

impl Text {
    fn as_str(&self) -> &str {
        match self {
            Self::Ours(text) => text,
            Self::Read(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

pub(super) fn not_ours(text: &str) -> Flaw {
    Flaw::NotOurs {
        text: text.chars().take(64).collect(),
    }
}

pub(super) fn is_word(text: &str) -> bool {
    text.len() <= 96
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte))
}

pub(super) fn is_id(text: &str) -> bool {
    let Some((prefix, digits)) = text.split_once('_') else {
        return false;
    };
    (1..=8).contains(&prefix.len())
        && prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && digits.len() == 26
        && digits.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte))
        // Of the last character's five bits, two are beyond the 128.
        && digits.ends_with(['a', 'e', 'i', 'm', 'q', 'u', 'y', '4'])
}

fn base32_digit(five: u128) -> char {
    let five = u8::try_from(five & 31).unwrap_or_default();
    char::from(if five < 26 {
        b'a' + five
    } else {
        b'2' + (five - 26)
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_base_32_of_its_bytes() {
        let random = *b"0123456789abcdef";
        let wanted = data_encoding::BASE32_NOPAD
            .encode(&random)
            .to_ascii_lowercase();
        let id = Id::of("usr", &random);
        assert_eq!(id.as_str(), format!("usr_{wanted}"));
        assert_eq!(id.as_str().parse::<Id>().unwrap(), id);
    }

    #[test]
    fn what_people_choose_is_no_id() {
        for text in [
            "",
            "anna",
            "usr_anna",
            "anna@example.com",
            "USR_aaaaaaaaaaaaaaaaaaaaaaaaaa",
            "usr_aaaaaaaaaaaaaaaaaaaaaaaaab",
        ] {
            assert!(text.parse::<Id>().is_err(), "{text}");
        }
    }
}
