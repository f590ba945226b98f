//! The log read back: entries with their parts opened, receipts, and the check of everything that is stored.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::error::Unwritten;
use super::rows;
use super::world::World;
use crate::directory::{Kind, Ref};
use crate::log::append;
use crate::log::checkpoint::{Origin, SignedCheckpoint, VerifierKey};
use crate::log::entry::{Entry, SealedPart};
use crate::log::merkle::{Frontier, Hash};
use crate::log::query::Query;
use crate::log::receipt::Receipt;
use crate::log::segment::{Leaves, Parts};
use crate::log::verify::{Evidence, Report, Verification};
use crate::tenant::Store;

/// How many segments are read at a time.
const SEGMENTS: i64 = 64;

/// How many entries one call of a query looks at, at most; what is begun of a segment is ended.
pub const LOOKED_AT: u64 = 20_000;

/// How many segments a query reads at a time: its page is often in the newest.
const SEGMENTS_OF_A_QUERY: i64 = 16;

/// One entry, as it is shown to whoever may read the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Its index.
    pub index: u64,
    /// The leaf, verbatim.
    pub leaf: Vec<u8>,
    /// What its parts say; `[erased]` where the key is gone.
    pub parts: Map<String, Value>,
}

impl Shown {
    /// As one line of JSON.
    pub fn line(&self) -> Value {
        let leaf: Value = serde_json::from_slice(&self.leaf).unwrap_or(Value::Null);
        let mut line = json!({ "index": self.index.to_string(), "leaf": leaf });
        if let Some(object) = line.as_object_mut() {
            for (name, part) in &self.parts {
                object.insert(name.clone(), part.clone());
            }
        }
        line
    }
}

/// What a read segment holds.
struct Opened {
    first: u64,
    leaves: Vec<Vec<u8>>,
    parts: Vec<Vec<SealedPart>>,
}

fn open(store: &Store, segment: &append::Segment) -> Result<Opened, Unwritten> {
    let framed = rows::open_leaves(store, segment.first, &segment.leaves)?;
    let leaves = Leaves::parse(&framed)?;
    let parts = Parts::parse(&segment.parts)?;
    let leaves: Vec<Vec<u8>> = leaves.iter().map(|(_, leaf)| leaf.to_vec()).collect();
    let whole = parts.first() == segment.first
        && parts.count() == leaves.len()
        && u64::try_from(leaves.len()) == Ok(segment.entries);
    if !whole {
        return Err(Unwritten::Corrupt { what: "segment" });
    }
    Ok(Opened {
        first: segment.first,
        leaves,
        parts: parts.to_vec(),
    })
}

/// The entries from `first` on, `limit` at most, oldest first.
///
/// # Errors
/// The database does not answer, or a segment does not open.
pub async fn entries(store: &Store, first: u64, limit: usize) -> Result<Vec<Shown>, Unwritten> {
    let database = store.database();
    let Some(segment) = append::segment_of(database, first).await? else {
        return Ok(Vec::new());
    };
    let mut shown = Vec::new();
    let mut segments = vec![segment];
    while !segments.is_empty() {
        let mut next = 0;
        for segment in &segments {
            next = segment.first + segment.entries;
            let opened = open(store, segment)?;
            let wanted = (opened.first..)
                .zip(opened.leaves.into_iter().zip(opened.parts))
                .skip_while(|(index, _)| *index < first)
                .map(|(index, (leaf, parts))| parsed(index, leaf, parts))
                .take(limit.saturating_sub(shown.len()))
                .collect::<Result<Vec<_>, Unwritten>>()?;
            shown.extend(
                show(store, wanted)
                    .await?
                    .into_iter()
                    .map(|(_, shown)| shown),
            );
            if shown.len() == limit {
                return Ok(shown);
            }
        }
        segments = append::segments_from(database, next, SEGMENTS).await?;
    }
    Ok(shown)
}

/// What a query found, and where to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The newest first.
    pub entries: Vec<Shown>,
    /// The query goes on with the entries before this one; nothing once every entry was looked at.
    pub before: Option<u64>,
}

/// The newest entries that a query asks for, `limit` at most, of those before an index where one is given.
///
/// It reads the segments themselves, so what was committed a moment ago is found like everything else. One call looks at
/// [`LOOKED_AT`] entries and then says where to go on, even if it found less than `limit`.
///
/// # Errors
/// The database does not answer, or a segment does not open: nothing is left out in silence.
pub async fn newest(
    store: &Store,
    query: &Query,
    before: Option<u64>,
    limit: usize,
) -> Result<Found, Unwritten> {
    let size = head(store).await?.size;
    let mut end = before.map_or(size, |before| before.min(size));
    let floor = end.saturating_sub(LOOKED_AT);
    let mut entries = Vec::new();
    while end > floor {
        let segments = append::segments_before(store.database(), end, SEGMENTS_OF_A_QUERY).await?;
        if segments.is_empty() {
            return Err(Unwritten::Corrupt { what: "segment" });
        }
        for segment in &segments {
            if segment.first + segment.entries < end {
                return Err(Unwritten::Corrupt { what: "segment" });
            }
            let opened = open(store, segment)?;
            let held: Vec<_> = (opened.first..)
                .zip(opened.leaves.into_iter().zip(opened.parts))
                .take_while(|(index, _)| *index < end)
                .collect();
            let (mut candidates, mut over) = (Vec::new(), false);
            for (index, (leaf, parts)) in held.into_iter().rev() {
                let read = parsed(index, leaf, parts)?;
                over = query.is_over(&read.0);
                if over {
                    break;
                }
                if query.may_match(&read.0) {
                    candidates.push(read);
                }
            }
            end = segment.first;
            for (entry, shown) in show(store, candidates).await? {
                if query.matches(&entry, &shown.parts) {
                    let index = shown.index;
                    entries.push(shown);
                    if entries.len() == limit {
                        return Ok(Found {
                            entries,
                            before: (index > 0).then_some(index),
                        });
                    }
                }
            }
            if over {
                return Ok(Found {
                    entries,
                    before: None,
                });
            }
            if end <= floor {
                break;
            }
        }
    }
    Ok(Found {
        entries,
        before: (end > 0).then_some(end),
    })
}

/// An entry as it was read: parsed, its leaf, and its parts.
type Read = (Entry, Vec<u8>, Vec<SealedPart>);

fn parsed(index: u64, leaf: Vec<u8>, parts: Vec<SealedPart>) -> Result<Read, Unwritten> {
    let entry = Entry::parse(&leaf)?;
    if entry.index == index {
        Ok((entry, leaf, parts))
    } else {
        Err(Unwritten::Corrupt { what: "entry" })
    }
}

/// Opens the parts of entries; the keys of all their people are read at once.
async fn show(store: &Store, read: Vec<Read>) -> Result<Vec<(Entry, Shown)>, Unwritten> {
    let people: BTreeSet<Ref> = read
        .iter()
        .filter_map(|(entry, ..)| person(entry))
        .collect();
    let keys = rows::subject_keys(store, people).await?;
    let shown = read.into_iter().map(|(entry, leaf, parts)| {
        let key = person(&entry)
            .and_then(|person| keys.get(&person))
            .map(AsRef::as_ref);
        let index = entry.index;
        let opened = parts.iter().map(|part| {
            let value = rows::open_part(store, key, (index, part.name), &part.sealed);
            (
                part.name.as_str().to_owned(),
                value.unwrap_or_else(|| json!("[erased]")),
            )
        });
        let parts = opened.collect();
        (entry, Shown { index, leaf, parts })
    });
    Ok(shown.collect())
}

/// Whose key seals an entry's parts.
fn person(entry: &Entry) -> Option<Ref> {
    [&entry.actor, &entry.acts_for]
        .into_iter()
        .flatten()
        .find(|one| one.kind.as_str() == Kind::User.name())
        .and_then(|one| one.id.as_str().parse().ok())
}

/// The state as of a change, from an earlier one or from [`World::empty`]: what a decision of that `as_of` saw.
///
/// # Errors
/// The database does not answer, or a row does not open.
pub async fn world_at(
    store: &Store,
    earlier: &Arc<World>,
    change: u64,
) -> Result<World, Unwritten> {
    rows::catch_up(store, earlier, change).await
}

/// The last signed checkpoint, as it is committed.
///
/// # Errors
/// The database does not answer.
pub async fn head(store: &Store) -> Result<append::Head, Unwritten> {
    let mut connection = store.database().connect().await?;
    Ok(append::read_head(store.database(), &mut connection).await?)
}

/// A receipt of one entry: one text that shows offline that the log has it.
///
/// # Errors
/// The database does not answer. Nothing where there is no such entry.
pub async fn receipt(store: &Store, index: u64) -> Result<Option<Receipt>, Unwritten> {
    let head = head(store).await?;
    if index >= head.size {
        return Ok(None);
    }
    let Some(segment) = append::segment_of(store.database(), index).await? else {
        return Ok(None);
    };
    let opened = open(store, &segment)?;
    let at = usize::try_from(index - opened.first).ok();
    let Some(leaf) = at.and_then(|at| opened.leaves.into_iter().nth(at)) else {
        return Ok(None);
    };
    let path = append::inclusion(store.database(), index, head.size).await?;
    let checkpoint = SignedCheckpoint::parse(head.checkpoint.as_bytes())?;
    Ok(Some(Receipt {
        leaf,
        index,
        path,
        checkpoint,
    }))
}

/// What shows that a log of `from` entries became the one of `to` entries by appending alone, whose last checkpoint this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// The earlier size.
    pub from: u64,
    /// The later size.
    pub to: u64,
    /// The hashes of the proof (RFC 6962).
    pub path: Vec<Hash>,
    /// The log's size now.
    pub size: u64,
    /// The last signed checkpoint, which is of that size.
    pub checkpoint: String,
}

/// A consistency proof between two sizes; `to` is the size now where none is given.
///
/// # Errors
/// The database does not answer. The log's size where one of the two is beyond it, or they are not in order.
pub async fn consistency(
    store: &Store,
    from: u64,
    to: Option<u64>,
) -> Result<Result<Consistency, u64>, Unwritten> {
    let head = head(store).await?;
    let to = to.unwrap_or(head.size);
    if from > to || to > head.size {
        return Ok(Err(head.size));
    }
    Ok(Ok(Consistency {
        from,
        to,
        path: append::consistency(store.database(), from, to).await?,
        size: head.size,
        checkpoint: head.checkpoint,
    }))
}

/// Checks everything that is stored of a log: every leaf and part against the signed checkpoint.
///
/// # Errors
/// The database does not answer, or a row does not open, which is a finding of its own.
pub async fn verify(
    store: &Store,
    origin: &Origin,
    kept: &[SignedCheckpoint],
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, Unwritten> {
    let head = head(store).await?;
    let keys = [VerifierKey::of(
        origin.clone(),
        store.keys().signing().seed().key(),
    )];
    let checkpoint = (!head.checkpoint.is_empty()).then_some(head.checkpoint.as_bytes());
    let mut verification = Verification::new(Evidence {
        checkpoint,
        kept,
        keys: &keys,
        origin: Some(origin),
        before: Frontier::new(),
    });
    let mut next = 0;
    loop {
        let segments = append::segments_from(store.database(), next, SEGMENTS).await?;
        if segments.is_empty() {
            break;
        }
        for segment in &segments {
            // What was committed since the head was read belongs to a later check.
            if segment.first >= head.size {
                break;
            }
            let opened = open(store, segment)?;
            for (leaf, parts) in opened.leaves.iter().zip(&opened.parts) {
                verification.push(leaf, parts);
            }
            let hashes: Vec<u8> = opened
                .leaves
                .iter()
                .flat_map(|leaf| *crate::log::merkle::leaf_hash(leaf).bytes())
                .collect();
            if hashes != segment.hashes {
                return Err(Unwritten::Corrupt {
                    what: "list of leaf hashes",
                });
            }
            progress(segment.first + segment.entries, head.size);
        }
        let Some(last) = segments.last() else { break };
        next = last.first + last.entries;
        if next >= head.size {
            break;
        }
    }
    Ok(verification.finish())
}
