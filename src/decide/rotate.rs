//! Rotations of a tenant's keys gone on with in the background, a bounded piece at a time; and the log's next epoch, when it is due.
//!
//! Two nodes may do all of it at once, and a node that dies leaves it where it was: rows are compared and swapped, how far it has come
//! is a row, and only the change that ends a rotation, under the head's lock, destroys the key before.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::door::Door;
use super::error::{Refused, Unwritten};
use super::rows;
use super::upkeep::Unkept;
use crate::crypto::sealing::{IndexedField, Purpose};
use crate::directory::keys::{self, KeyName};
use crate::tenant::Rotation;

/// After so many entries another epoch of the log begins.
pub const EPOCH: u64 = 1_000_000;

/// How long one piece of the work is where there is nothing else to do.
const WHOLE: Duration = Duration::from_secs(5);

/// Between two pieces the log's appender has the database to itself.
const PAUSE: Duration = Duration::from_millis(10);

/// What a key that an organization speaks of is for.
#[must_use]
pub const fn purpose(key: KeyName) -> Purpose {
    match key {
        KeyName::Tenant => Purpose::DataWrap,
        KeyName::Records => Purpose::Records,
        KeyName::ContentWrap => Purpose::ContentWrap,
        KeyName::SubjectWrap => Purpose::SubjectWrap,
        KeyName::Idempotency => Purpose::BlindIndex(IndexedField::IdempotencyKey),
        KeyName::Epoch => Purpose::Epoch,
    }
}

/// What an organization calls the key of this purpose.
#[must_use]
pub fn name(of: Purpose) -> Option<KeyName> {
    KeyName::ALL.into_iter().find(|key| purpose(*key) == of)
}

/// Begins the log's next epoch where it is due, and goes on with what is under way for `stint` at most.
///
/// # Errors
/// The log does not answer, or something that is stored does not open: it is gone on with once it does.
pub(super) async fn round(door: &Door, now: DateTime<Utc>, stint: Duration) -> Result<(), Unkept> {
    let epochs = door.store().keys().epochs();
    let size = door.tip().size;
    // A log that is older than there are epochs has none.
    let due = epochs
        .last()
        .map_or(1, |last| last.first.saturating_add(EPOCH));
    if size >= due {
        let after = epochs.last().map_or(0, |last| last.version);
        let begun = door.keep(move |by, snapshot| keys::begin_epoch(by, snapshot, after));
        match begun.await {
            // Another node was quicker.
            Ok(_) | Err(Refused::Directory(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    advance(door, now, stint).await.map(|_| ())
}

/// Goes on with everything that is under way until it is done, but for what waits for something to expire: of a log that is opened for its
/// upkeep alone.
///
/// # Errors
/// The same.
pub async fn finish(door: &Door, now: DateTime<Utc>) -> Result<(), Unkept> {
    let waits = |rotation: &Rotation| matches!(rotation.purpose, Purpose::BlindIndex(_));
    while !advance(door, now, WHOLE).await?.iter().all(waits) {}
    Ok(())
}

/// Goes on with the rotations that are under way, for `stint` at most; those that are left.
///
/// # Errors
/// The same.
pub async fn advance(
    door: &Door,
    now: DateTime<Utc>,
    stint: Duration,
) -> Result<Vec<Rotation>, Unkept> {
    let store = door.store();
    let begun = Instant::now();
    if store.keys().rotations().is_empty() {
        return Ok(Vec::new());
    }
    // How far it has come is read anew: a round goes on where any node's last one ended.
    for mut rotation in store.rotations().await.map_err(Unwritten::from)? {
        let Some(key) = name(rotation.purpose) else {
            continue;
        };
        let is_done = loop {
            let is_done = step(door, &mut rotation, now).await?;
            let waits = matches!(rotation.purpose, Purpose::BlindIndex(_));
            if is_done || waits || begun.elapsed() >= stint {
                break is_done;
            }
            tokio::time::sleep(PAUSE).await;
        };
        if is_done {
            let ended = door.keep(move |by, snapshot| keys::rotated(by, snapshot, key));
            match ended.await {
                // Another node was quicker.
                Ok(_) | Err(Refused::Directory(_)) => door.refresh().await?,
                Err(error) => return Err(error.into()),
            }
        }
        if begun.elapsed() >= stint {
            break;
        }
    }
    Ok(store.keys().rotations())
}

/// A bounded piece of a rotation; whether nothing lies under the key before any more.
async fn step(door: &Door, rotation: &mut Rotation, now: DateTime<Utc>) -> Result<bool, Unwritten> {
    let store = door.store();
    match rotation.purpose {
        Purpose::DataWrap => {
            let is_done = store.rewrap(rotation).await?;
            match store.rotation(rotation.purpose) {
                Some(now) => *rotation = now,
                // Another node has ended it.
                None => return Ok(true),
            }
            Ok(is_done)
        }
        Purpose::BlindIndex(_) => {
            rows::expire_replies(store, rotation.new, now.timestamp_micros()).await
        }
        _ => Ok(store.seal_again(rotation).await?),
    }
}
