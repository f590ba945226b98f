//! Keys as an organization speaks of them, and their rotation.

use serde_json::json;

use super::DirectoryError;
use super::change::{Change, Effect};
use super::snapshot::Snapshot;
use crate::decide::authorized::{Authorized, KeyRotate, Operator};
use crate::log::vocabulary::Event;

/// A key of an organization's that is rotated by itself; the key that signs its log is rotated otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyName {
    /// The one that wraps all others.
    Tenant,
    /// Seals rows and wraps epoch keys.
    Records,
    /// Wraps the keys of content that belongs to no person.
    ContentWrap,
    /// Wraps people's keys.
    SubjectWrap,
    /// Finds the replies to requests that brought an Idempotency-Key.
    Idempotency,
    /// Seals the log's segments from here on.
    Epoch,
}

impl KeyName {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::Tenant,
        Self::Records,
        Self::ContentWrap,
        Self::SubjectWrap,
        Self::Idempotency,
        Self::Epoch,
    ];

    /// As it is said.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Records => "records",
            Self::ContentWrap => "content-wrap",
            Self::SubjectWrap => "subject-wrap",
            Self::Idempotency => "idempotency",
            Self::Epoch => "epoch",
        }
    }
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for KeyName {
    type Err = DirectoryError;

    fn from_str(text: &str) -> Result<Self, DirectoryError> {
        let found = Self::ALL.into_iter().find(|key| key.as_str() == text);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            DirectoryError::invalid("key", format!("it must be one of {known}"))
        })
    }
}

/// A key that follows is used from here on.
///
/// # Errors
/// None here; the door refuses a rotation of a key that is being rotated.
pub fn rotate(
    _by: &Authorized<KeyRotate>,
    snapshot: &Snapshot,
    key: KeyName,
) -> Result<Change, DirectoryError> {
    Ok(change(snapshot, Effect::RotateKey(key)))
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn rotate_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    key: KeyName,
) -> Result<Change, DirectoryError> {
    Ok(change(snapshot, Effect::RotateKey(key)))
}

/// The log's next epoch is due after this one.
///
/// # Errors
/// None here; the door refuses it where another has begun.
pub fn begin_epoch(
    _by: &Operator,
    snapshot: &Snapshot,
    after: u32,
) -> Result<Change, DirectoryError> {
    Ok(change(snapshot, Effect::BeginEpoch(after)))
}

/// The key before is destroyed.
///
/// # Errors
/// None here; the door refuses it where no rotation is under way.
pub fn rotated(
    _by: &Operator,
    snapshot: &Snapshot,
    key: KeyName,
) -> Result<Change, DirectoryError> {
    Ok(change(snapshot, Effect::EndRotation(key)))
}

/// What the event says is known where the key is made.
fn change(snapshot: &Snapshot, effect: Effect) -> Change {
    Change::new(Event::KeyRotated, Some(snapshot.org()), json!({})).effect(effect)
}

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The new key is used.
    Begun,
    /// The old one is destroyed.
    Done,
}

impl Phase {
    /// As it stands in an entry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
        }
    }
}

/// What an entry says of the rotation of a key.
#[must_use]
pub fn said(key: &str, (old, new): (u32, u32), phase: Phase) -> serde_json::Value {
    json!({ "key": key, "old": old, "new": new, "phase": phase.as_str() })
}

/// A key above those of organizations was rotated: an entry of the deployment's own log.
///
/// # Errors
/// None.
pub fn rotated_above(
    _by: &Operator,
    snapshot: &Snapshot,
    details: &serde_json::Value,
) -> Result<Change, DirectoryError> {
    let details = details.clone();
    Ok(Change::new(
        Event::KeyRotated,
        Some(snapshot.org()),
        details,
    ))
}
