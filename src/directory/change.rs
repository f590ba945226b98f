//! What a change is: rows that begin or end, events that it is recorded as, and the reply to whoever asked.

use super::connection::ConnectionId;
use super::keys::KeyName;
use super::object::{Body, Ref};
use crate::ids;
use crate::log::entry::{Fact, Outcome};
use crate::log::vocabulary::Event;

/// The identity of a row of `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowId {
    /// An object of a built-in type.
    Object(Ref),
    /// A share.
    Share([u8; 16]),
    /// An entity of the tenant's own types.
    Own([u8; 16]),
    /// The tenant's own schema and policies.
    Library,
    /// A connection to an identity provider.
    Connection(ConnectionId),
    /// A version of the tenant's own policies.
    Version(u64),
    /// How far that version has come.
    Standing(u64),
    /// What counts for all versions.
    Rules,
}

/// The prefix of shares' identifiers.
pub const SHARE: &str = "shr";
const OWN: &str = "own";
const LIBRARY: &str = "library";
const VERSION: &str = "policy-version.";
const STANDING: &str = "policy-standing.";
const RULES: &str = "policy-rules";

impl std::fmt::Display for RowId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Object(reference) => reference.fmt(f),
            Self::Share(id) => f.write_str(&ids::text(SHARE, id)),
            Self::Own(id) => f.write_str(&ids::text(OWN, id)),
            Self::Library => f.write_str(LIBRARY),
            Self::Connection(id) => id.fmt(f),
            Self::Version(number) => write!(f, "{VERSION}{number}"),
            Self::Standing(number) => write!(f, "{STANDING}{number}"),
            Self::Rules => f.write_str(RULES),
        }
    }
}

impl RowId {
    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        if text == LIBRARY {
            return Some(Self::Library);
        }
        if text == RULES {
            return Some(Self::Rules);
        }
        if let Some(number) = text.strip_prefix(VERSION) {
            return counted(number).map(Self::Version);
        }
        if let Some(number) = text.strip_prefix(STANDING) {
            return counted(number).map(Self::Standing);
        }
        ids::parse(SHARE, text)
            .map(Self::Share)
            .or_else(|_| ids::parse(OWN, text).map(Self::Own))
            .ok()
            .or_else(|| text.parse().ok().map(Self::Connection))
            .or_else(|| text.parse().ok().map(Self::Object))
    }
}

/// A number as `Display` writes it, and not otherwise.
fn counted(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// One row of a change.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every row of a change is a body"
)]
pub enum Row {
    /// This body from now on; ends the one before, if there is one.
    Put(RowId, Body),
    /// Nothing from now on.
    End(RowId),
}

impl Row {
    /// Which row.
    #[must_use]
    pub const fn id(&self) -> RowId {
        match self {
            Self::Put(id, _) | Self::End(id) => *id,
        }
    }
}

/// An event that a change is recorded as.
#[derive(Debug, Clone)]
pub struct Happening {
    /// Which.
    pub event: Event,
    /// What it happened to.
    pub resource: Option<Ref>,
    /// What a person chose: sealed as a part of the entry.
    pub details: serde_json::Value,
    /// What strangers must be able to read in the entry.
    pub fact: Option<Fact>,
    /// Who did it and how it ended, where whoever asks only reports it.
    pub reported: Option<Reported>,
}

/// Who did something elsewhere, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// Who.
    pub actor: Ref,
    /// How it ended.
    pub outcome: Outcome,
}

/// What a change does beside its rows, in the same transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    #[default]
    Nothing,
    /// The log is signed by a new key from here on; the old one signs once more, beside it, and is destroyed.
    RotateLogKey,
    /// The log goes on as another life of it, signed by a new key; the old one signs once more, and is destroyed.
    BeginLife,
    /// The key of this person is destroyed, and with it what the log's parts say about them.
    Forget(Ref),
    /// What the log held about this person has been written out of it.
    Forgotten(Ref),
    /// Entries below this index, a multiple of 256, are not kept any more.
    Prune(u64),
    /// A key that follows is used from here on, and what lies under the one before is sealed again in the background.
    RotateKey(KeyName),
    /// The log's next epoch begins, where the newest is still this one: the version of its key, 0 before the first.
    BeginEpoch(u32),
    /// Nothing lies under the key before any more: it is destroyed.
    EndRotation(KeyName),
    /// What has this digest is used up: whoever brings it again before that time, in microseconds, is refused.
    Spend([u8; 32], i64),
}

/// All that a change does; it is applied whole or not at all.
#[derive(Debug, Clone)]
pub struct Change {
    /// Rows that begin or end.
    pub rows: Vec<Row>,
    /// At least one event.
    pub events: Vec<Happening>,
    /// What it does beside its rows.
    pub effect: Effect,
    /// What whoever asked is told.
    pub reply: serde_json::Value,
}

impl Change {
    /// A change recorded as one event.
    pub fn new(event: Event, resource: Option<Ref>, details: serde_json::Value) -> Self {
        Self {
            rows: Vec::new(),
            events: vec![Happening {
                event,
                resource,
                details,
                fact: None,
                reported: None,
            }],
            effect: Effect::Nothing,
            reply: serde_json::Value::Null,
        }
    }

    /// No change, with this reply: its events are put into it.
    pub(super) const fn nothing(reply: serde_json::Value) -> Self {
        Self {
            rows: Vec::new(),
            events: Vec::new(),
            effect: Effect::Nothing,
            reply,
        }
    }

    /// With this body from now on.
    #[must_use]
    pub fn put(mut self, id: RowId, body: Body) -> Self {
        self.rows.push(Row::Put(id, body));
        self
    }

    /// With nothing from now on.
    #[must_use]
    pub fn end(mut self, id: RowId) -> Self {
        self.rows.push(Row::End(id));
        self
    }

    /// With this happening too, after those that there are.
    #[must_use]
    pub fn and(mut self, event: Event, resource: Option<Ref>, details: serde_json::Value) -> Self {
        self.events.push(Happening {
            event,
            resource,
            details,
            fact: None,
            reported: None,
        });
        self
    }

    /// With this in the entry of its last event, for strangers to read.
    #[must_use]
    pub fn fact(mut self, fact: Fact) -> Self {
        if let Some(happening) = self.events.last_mut() {
            happening.fact = Some(fact);
        }
        self
    }

    /// With this effect beside its rows.
    #[must_use]
    pub const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// With this reply.
    #[must_use]
    pub fn reply(mut self, reply: serde_json::Value) -> Self {
        self.reply = reply;
        self
    }
}
