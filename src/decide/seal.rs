//! Entries that are given their places in the log: their parts sealed, their leaves hashed.

use std::sync::{Arc, LazyLock};

use super::batch::SubjectKeys;
use super::error::Unwritten;
use super::record::Unsealed;
use super::rows;
use crate::crypto::cobblestone::Salt;
use crate::log::entry::{Record, SealedPart, Time};
use crate::log::merkle::Hash;
use crate::log::query::said_in_leaf;
use crate::log::search::fingerprint;
use crate::tenant::Store;

/// An entry at its place, the hash of its leaf, and the fingerprints of what it says.
pub(super) struct Sealed {
    pub(super) record: Record,
    pub(super) hash: Hash,
    pub(super) prints: Vec<u64>,
}

/// Asked for once: the system reads files to tell.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// So many entries are worth a thread of their own.
const A_THREADS_WORTH: usize = 64;

/// Gives entries that follow one another their places and seals their parts, on several processors where there are many: each is
/// sealed for itself.
pub(super) fn seal(
    store: &Store,
    keys: &SubjectKeys,
    mut entries: Vec<Unsealed>,
    (first, time): (u64, Time),
) -> Result<Vec<Sealed>, Unwritten> {
    let processors = *PROCESSORS;
    let threads = processors.min(entries.len() / A_THREADS_WORTH).max(1);
    let each = entries.len().div_ceil(threads).max(1);
    let mut shares = Vec::new();
    let mut at = first;
    while entries.len() > each {
        let rest = entries.split_off(each);
        let share = std::mem::replace(&mut entries, rest);
        let from = at;
        at += share.len() as u64;
        shares.push((from, share));
    }
    std::thread::scope(|scope| {
        let others: Vec<_> = shares
            .into_iter()
            .map(|(from, share)| scope.spawn(move || seal_share(store, keys, share, (from, time))))
            .collect();
        let last = seal_share(store, keys, entries, (at, time));
        let mut sealed = Vec::new();
        for other in others {
            let share = other.join();
            sealed.extend(share.map_err(|_| Unwritten::Corrupt { what: "batch" })??);
        }
        sealed.extend(last?);
        Ok(sealed)
    })
}

fn seal_share(
    store: &Store,
    keys: &SubjectKeys,
    entries: Vec<Unsealed>,
    (first, time): (u64, Time),
) -> Result<Vec<Sealed>, Unwritten> {
    let mut sealed = Vec::with_capacity(entries.len());
    let parts = entries.iter().map(|entry| entry.parts.texts.len()).sum();
    let mut salts = Salt::several(parts)?;
    for (index, mut entry) in (first..).zip(entries) {
        let key = entry
            .subject
            .and_then(|subject| keys.get(&subject))
            .map(Arc::as_ref);
        for (name, text) in &entry.parts.texts {
            // There is one for each part.
            let salt = salts.next().ok_or(Unwritten::Corrupt { what: "salt" })?;
            let bytes = rows::seal_part(store, key, (index, *name), (text, salt))?;
            entry.draft.attach(SealedPart {
                name: *name,
                sealed: bytes,
            })?;
        }
        let record = entry.draft.at(index, time)?;
        let mut prints = entry.parts.prints;
        prints.extend(said_in_leaf(&record.entry).map(fingerprint));
        sealed.push(Sealed {
            hash: record.leaf_hash(),
            prints,
            record,
        });
    }
    Ok(sealed)
}
