//! One entry of a log: who did what to what, how it ended, and the hashes of its sealed parts.
//!
//! What a caller or a tenant chose (names, addresses, ids of their own types, request ids, settings) has no way into
//! the leaf: a [`Word`] is made from a literal of the program, an [`Id`] from random bytes that the service gave, and everything else is
//! a [`SealedPart`], of which the leaf holds the SHA-256.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use super::flaw::Flaw;
use super::leaf;
use super::merkle::{Hash, leaf_hash};
pub use super::name::{Id, PolicyId, Ref, Word};
pub use super::vocabulary::{Category, Event, PartName, Refusal};

/// The leaf's `format`: another shape of entry has another.
pub const FORMAT: &str = "cedarkeep.entry.v1";

/// The most bytes that a leaf may have: C2SP's entry bundles count them in 16 bits.
pub const LEAF_LIMIT: usize = 65_535;

/// The credential that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// An app back end's key.
    ApiKey(Id),
    /// An app back end's certificate.
    ClientCertificate(Id),
    /// The customer's directory.
    ScimToken(Id),
    /// A person who is signed in.
    Session(Id),
    /// The service itself: heartbeats, pruning, expiry.
    System,
    /// Somebody at the deployment's command line.
    Operator,
    /// Nobody that was recognised: a failed sign-in, a rejected key.
    Unrecognised,
}

impl Caller {
    /// As it stands in an entry.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ApiKey(_) => "api_key",
            Self::ClientCertificate(_) => "client_certificate",
            Self::ScimToken(_) => "scim_token",
            Self::Session(_) => "session",
            Self::System => "system",
            Self::Operator => "operator",
            Self::Unrecognised => "unrecognised",
        }
    }

    /// The identifier of the credential.
    #[must_use]
    pub const fn id(&self) -> Option<&Id> {
        match self {
            Self::ApiKey(id)
            | Self::ClientCertificate(id)
            | Self::ScimToken(id)
            | Self::Session(id) => Some(id),
            Self::System | Self::Operator | Self::Unrecognised => None,
        }
    }

    pub(super) fn read(kind: &str, id: Option<Id>) -> Option<Self> {
        match (kind, id) {
            ("api_key", Some(id)) => Some(Self::ApiKey(id)),
            ("client_certificate", Some(id)) => Some(Self::ClientCertificate(id)),
            ("scim_token", Some(id)) => Some(Self::ScimToken(id)),
            ("session", Some(id)) => Some(Self::Session(id)),
            ("system", None) => Some(Self::System),
            ("operator", None) => Some(Self::Operator),
            ("unrecognised", None) => Some(Self::Unrecognised),
            _ => None,
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A decision that allows.
    Allow,
    /// A decision that denies, and its kind.
    Deny(Refusal),
    /// An action that was carried out.
    Ok,
    /// An action that was not, and why.
    Failed(Refusal),
}

impl Outcome {
    /// As it stands in an entry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny(_) => "deny",
            Self::Ok => "ok",
            Self::Failed(_) => "failed",
        }
    }

    /// Why not.
    #[must_use]
    pub const fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Deny(refusal) | Self::Failed(refusal) => Some(refusal),
            Self::Allow | Self::Ok => None,
        }
    }

    pub(super) fn read(word: &str, refusal: Option<Refusal>) -> Option<Self> {
        match (word, refusal) {
            ("allow", None) => Some(Self::Allow),
            ("deny", Some(refusal)) => Some(Self::Deny(refusal)),
            ("ok", None) => Some(Self::Ok),
            ("failed", Some(refusal)) => Some(Self::Failed(refusal)),
            _ => None,
        }
    }
}

/// Something that a stranger with nothing but the leaves must be able to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// How many: results of a search, refusals that a rate limit kept out.
    Count(u64),
    /// The Ed25519 public key that signs from here on.
    NewKey([u8; 32]),
    /// The least index whose entry is still kept.
    Minimum(u64),
    /// The version of the organization's own policies that decides from the next change on.
    PolicyVersion(u64),
    /// The salted hash of another log's checkpoint ([`super::anchor`]): whoever has salt and checkpoint can show that it was there.
    Commitment(Hash),
    /// The log that this one goes on from after a restore, as far as it is known.
    Restored {
        /// Its incarnation.
        incarnation: Id,
        /// Its size at the last checkpoint that is known.
        size: u64,
        /// Its root at that size.
        root: Hash,
    },
}

/// A moment in UTC, in microseconds, from 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, std::hash::Hash)]
pub struct Time(i64);

impl Time {
    /// The moment so many microseconds after the beginning of 1970.
    ///
    /// # Errors
    /// Before 1970 or after 9999.
    pub const fn from_micros(micros: i64) -> Result<Self, Flaw> {
        if micros >= 0 && micros <= 253_402_300_799_999_999 {
            Ok(Self(micros))
        } else {
            Err(Flaw::Time { micros })
        }
    }

    /// Microseconds since the beginning of 1970.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Time {
    /// RFC 3339 with six decimals and `Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(27);
        leaf::push_time(&mut text, *self);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl FromStr for Time {
    type Err = Flaw;

    /// Reads what `Display` writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, Flaw> {
        leaf::read_time(text).ok_or(Flaw::Leaf {
            at: 0,
            wanted: "a time in UTC with six decimals",
        })
    }
}

/// The bytes of a part as they are stored: sealed under the key of whom they are about.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedPart {
    /// What it holds.
    pub name: PartName,
    /// The sealed bytes, of which the leaf has the hash.
    pub sealed: Vec<u8>,
}

impl SealedPart {
    /// The SHA-256 that stands in the leaf.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.sealed)
    }
}

impl fmt::Debug for SealedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SealedPart({}, {} bytes)",
            self.name.as_str(),
            self.sealed.len()
        )
    }
}

/// An entry at its place. Any value of this type can be written, but for length; what was read can be written again to the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub index: u64,
    /// When it was appended; never before the entry ahead of it.
    pub time: Time,
    /// What happened.
    pub event: Event,
    /// The credential that asked.
    pub caller: Caller,
    /// How it ended.
    pub outcome: Outcome,
    /// Who acted; absent where the caller named somebody unknown or of a tenant's own type.
    pub actor: Option<Ref>,
    /// The user that an agent acted for.
    pub acts_for: Option<Ref>,
    /// The built-in action that was asked for; a tenant's own is a part.
    pub action: Option<Word>,
    /// What it was done to; absent as `actor` is.
    pub resource: Option<Ref>,
    /// The policies that determined the decision.
    pub policies: BTreeSet<PolicyId>,
    /// The version of the policy set that was evaluated.
    pub policy_version: Option<u64>,
    /// The index of the last change that the decision saw.
    pub as_of: Option<u64>,
    /// What strangers must be able to read.
    pub fact: Option<Fact>,
    /// The SHA-256 of each sealed part.
    pub parts: BTreeMap<PartName, Hash>,
}

impl Entry {
    /// The chapter of its event.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.event.category()
    }

    /// The leaf: RFC 8785 JSON.
    ///
    /// # Errors
    /// Too long, or a word or prefix of the program that breaks its grammar.
    pub fn leaf(&self) -> Result<Vec<u8>, Flaw> {
        leaf::write(self)
    }

    /// Reads a leaf that is verified elsewhere: what could be written otherwise is not looked for, which takes half as long as
    /// [`Entry::parse`].
    ///
    /// # Errors
    /// Anything that is not an entry of this format.
    pub fn read(leaf: &[u8]) -> Result<Self, Flaw> {
        leaf::read(leaf)
    }

    /// Reads a leaf, and nothing but what [`Entry::leaf`] writes.
    ///
    /// # Errors
    /// Anything that is not an entry of this format in canonical form.
    pub fn parse(leaf: &[u8]) -> Result<Self, Flaw> {
        let entry = leaf::read(leaf)?;
        if leaf::write(&entry)? == leaf {
            Ok(entry)
        } else {
            Err(Flaw::LeafNotCanonical)
        }
    }
}

/// An entry that has no place yet: everything but index and time.
#[derive(Debug, Clone)]
pub struct Draft {
    entry: Entry,
    sealed: Vec<SealedPart>,
}

impl Draft {
    /// What happened, who asked, and how it ended.
    #[must_use]
    pub const fn new(event: Event, caller: Caller, outcome: Outcome) -> Self {
        let entry = Entry {
            index: 0,
            time: Time(0),
            event,
            caller,
            outcome,
            actor: None,
            acts_for: None,
            action: None,
            resource: None,
            policies: BTreeSet::new(),
            policy_version: None,
            as_of: None,
            fact: None,
            parts: BTreeMap::new(),
        };
        Self {
            entry,
            sealed: Vec::new(),
        }
    }

    /// Who acted.
    #[must_use]
    pub fn actor(mut self, actor: Ref) -> Self {
        self.entry.actor = Some(actor);
        self
    }

    /// The user that the agent acted for.
    #[must_use]
    pub fn acts_for(mut self, user: Ref) -> Self {
        self.entry.acts_for = Some(user);
        self
    }

    /// The built-in action.
    #[must_use]
    pub fn action(mut self, action: Word) -> Self {
        self.entry.action = Some(action);
        self
    }

    /// What it was done to.
    #[must_use]
    pub fn resource(mut self, resource: Ref) -> Self {
        self.entry.resource = Some(resource);
        self
    }

    /// The policies that determined the decision, in any order.
    #[must_use]
    pub fn policies(mut self, policies: impl IntoIterator<Item = PolicyId>) -> Self {
        self.entry.policies.extend(policies);
        self
    }

    /// The state that the decision saw: the policy set's version and the index of the last change.
    #[must_use]
    pub const fn saw(mut self, policy_version: u64, as_of: u64) -> Self {
        self.entry.policy_version = Some(policy_version);
        self.entry.as_of = Some(as_of);
        self
    }

    /// What strangers must be able to read.
    #[must_use]
    pub fn fact(mut self, fact: Fact) -> Self {
        self.entry.fact = Some(fact);
        self
    }

    /// Adds a sealed part, and hashes it here: attach before the log's head is locked where that can be.
    ///
    /// # Errors
    /// It has a part of this name already.
    pub fn attach(&mut self, part: SealedPart) -> Result<(), Flaw> {
        if self.entry.parts.contains_key(&part.name) {
            return Err(Flaw::PartTwice {
                name: part.name.as_str(),
            });
        }
        self.entry.parts.insert(part.name, part.hash());
        self.sealed.push(part);
        Ok(())
    }

    /// The event of this draft.
    #[must_use]
    pub const fn event(&self) -> Event {
        self.entry.event
    }

    /// Gives it its place.
    ///
    /// # Errors
    /// As [`Entry::leaf`].
    pub fn at(self, index: u64, time: Time) -> Result<Record, Flaw> {
        let Self {
            mut entry,
            mut sealed,
        } = self;
        entry.index = index;
        entry.time = time;
        sealed.sort_by_key(|part| part.name);
        let leaf = entry.leaf()?;
        Ok(Record {
            entry,
            leaf,
            parts: sealed,
        })
    }
}

/// What is stored of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The entry, for whoever indexes it.
    pub entry: Entry,
    /// Its leaf, verbatim from here on.
    pub leaf: Vec<u8>,
    /// Its parts, in the order of their names.
    pub parts: Vec<SealedPart>,
}

impl Record {
    /// The hash of its leaf in the tree.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.leaf)
    }
}

pub(super) fn push_hex(out: &mut Vec<u8>, bytes: &[u8; 32]) {
    let mut hex = [0_u8; 64];
    HEXLOWER.encode_mut(bytes, &mut hex);
    out.extend_from_slice(&hex);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_one_name_is_attached_once() {
        let mut draft = Draft::new(Event::UserLogin, Caller::System, Outcome::Ok);
        let part = SealedPart {
            name: PartName::Details,
            sealed: vec![1],
        };
        draft.attach(part.clone()).unwrap();
        assert_eq!(draft.attach(part), Err(Flaw::PartTwice { name: "details" }));
    }

    #[test]
    fn a_word_that_breaks_the_grammar_is_refused_when_written() {
        let draft = Draft::new(Event::UserLogin, Caller::System, Outcome::Ok)
            .action(Word::of("a \"quote\""));
        assert!(matches!(draft.at(0, Time(0)), Err(Flaw::NotOurs { .. })));
    }
}
