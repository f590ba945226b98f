//! The log read back: entries with their parts opened, receipts, consistency, and the chain of its keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::check;
use super::error::Unwritten;
use super::rows;
use super::state;
use super::world::World;
use crate::directory::{Kind, Ref};
use crate::log::Event;
use crate::log::append;
use crate::log::checkpoint::{Checkpoint, Origin, SignedCheckpoint, VerifierKey};
use crate::log::entry::{Entry, SealedPart};
use crate::log::flaw::Flaw;
use crate::log::merkle::{Hash, verify_consistency};
use crate::log::query::Query;
use crate::log::receipt::Receipt;
use crate::log::segment::{Leaves, Parts};
use crate::log::tree;
use crate::log::upkeep::{self, LogKey};
use crate::tenant::{self, Store};

/// How many segments are read at a time, at most.
const SEGMENTS: u64 = 64;

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
    /// Whether it is one that a query asks for.
    #[must_use]
    pub fn fits(&self, query: &Query) -> bool {
        Entry::parse(&self.leaf)
            .is_ok_and(|entry| query.may_match(&entry) && query.matches(&entry, &self.parts))
    }

    /// Whether it may be of a change: whoever reads on behind it may not be whom they were. What cannot be read may be anything.
    #[must_use]
    pub fn may_change(&self) -> bool {
        let event = Entry::parse(&self.leaf).map(|entry| entry.event);
        !matches!(
            event,
            Ok(Event::DecisionMade
                | Event::SearchMade
                | Event::ContentRead
                | Event::AuditLogRead
                | Event::LogHeartbeat)
        )
    }

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

/// An entry of a segment, unread: its index, its leaf, its sealed parts.
pub(super) type Stored = (u64, Vec<u8>, Vec<SealedPart>);

/// Opens a segment, and takes the entries out of it whose index is wanted.
pub(super) fn open(
    store: &Store,
    segment: &append::Segment,
    wanted: impl Fn(u64) -> bool,
) -> Result<Vec<Stored>, Unwritten> {
    let mut stored = Vec::new();
    visit(store, segment, |index, leaf, parts| {
        if wanted(index) {
            let parts = parts
                .get(index)
                .ok_or(Unwritten::Corrupt { what: "segment" })?;
            stored.push((index, leaf.to_vec(), parts));
        }
        Ok(())
    })?;
    Ok(stored)
}

/// Opens a segment, and shows each of its entries: its index, its leaf, and the parts of all.
pub(super) fn visit(
    store: &Store,
    segment: &append::Segment,
    mut show: impl FnMut(u64, &[u8], &Parts<'_>) -> Result<(), Unwritten>,
) -> Result<(), Unwritten> {
    let framed = rows::open_leaves(store, segment.first, &segment.leaves)?;
    let leaves = Leaves::parse(&framed)?;
    let parts = Parts::parse(&segment.parts)?;
    let whole = leaves.first() == segment.first
        && parts.first() == segment.first
        && parts.count() == leaves.count()
        && u64::try_from(leaves.count()) == Ok(segment.entries);
    if !whole {
        return Err(Unwritten::Corrupt { what: "segment" });
    }
    leaves
        .iter()
        .try_for_each(|(index, leaf)| show(index, leaf, &parts))
}

/// The same; where another node has begun an epoch that is not known here yet, the keys are read again first.
pub(super) async fn open_known(
    store: &Store,
    segment: &append::Segment,
    wanted: impl Fn(u64) -> bool,
) -> Result<Vec<Stored>, Unwritten> {
    match open(store, segment, &wanted) {
        Err(error) if error.is_of_unknown_key() => {
            store.reload_keys().await?;
            open(store, segment, &wanted)
        }
        opened => opened,
    }
}

/// How many segments to read at a time for so many entries, going by one that was read: they hold from one entry to a thousand.
pub(super) fn worth(entries: u64, of: Option<&append::Segment>) -> i64 {
    let each = of.map_or(256, |segment| segment.entries.max(1));
    i64::try_from((entries / each).clamp(1, SEGMENTS)).unwrap_or(1)
}

/// The entries from `first` on, `limit` at most, oldest first.
///
/// # Errors
/// The database does not answer, or a segment does not open.
pub async fn entries(store: &Store, first: u64, limit: usize) -> Result<Vec<Shown>, Unwritten> {
    let first = first.max(head(store).await?.minimum);
    let shown = show(store, read(store, first, limit).await?).await?;
    Ok(shown.into_iter().map(|(_, shown)| shown).collect())
}

/// The entries from `first` on, `limit` at most, oldest first, with their parts sealed.
///
/// # Errors
/// The database does not answer, or a segment does not open.
pub(super) async fn read(store: &Store, first: u64, limit: usize) -> Result<Vec<Read>, Unwritten> {
    let database = store.database();
    let Some(segment) = append::segment_of(database, first).await? else {
        return Ok(Vec::new());
    };
    let mut read = Vec::new();
    let mut segments = vec![segment];
    while !segments.is_empty() {
        let mut next = 0;
        for segment in &segments {
            next = segment.first + segment.entries;
            let left = limit.saturating_sub(read.len());
            for stored in open_known(store, segment, |index| index >= first)
                .await?
                .into_iter()
                .take(left)
            {
                read.push(parsed(stored)?);
            }
            if read.len() == limit {
                return Ok(read);
            }
        }
        let left = u64::try_from(limit.saturating_sub(read.len())).unwrap_or(u64::MAX);
        let worth = worth(left, segments.last());
        segments = append::segments_from(database, next, worth).await?;
    }
    Ok(read)
}

/// An entry as it was read: parsed, its leaf, and its parts.
pub(super) type Read = (Entry, Vec<u8>, Vec<SealedPart>);

pub(super) fn parsed((index, leaf, parts): Stored) -> Result<Read, Unwritten> {
    let entry = Entry::parse(&leaf)?;
    if entry.index == index {
        Ok((entry, leaf, parts))
    } else {
        Err(Unwritten::Corrupt { what: "entry" })
    }
}

/// Opens the parts of entries; the keys of all their people are read at once.
pub(super) async fn show(store: &Store, read: Vec<Read>) -> Result<Vec<(Entry, Shown)>, Unwritten> {
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
                value.unwrap_or_else(|| json!(rows::ERASED)),
            )
        });
        let mut parts: Map<String, Value> = opened.collect();
        // What has been written out of the segment is in the leaf by its hash.
        for name in entry.parts.keys() {
            parts
                .entry(name.as_str())
                .or_insert_with(|| json!(rows::ERASED));
        }
        (entry, Shown { index, leaf, parts })
    });
    Ok(shown.collect())
}

/// Whose key seals an entry's parts.
pub(super) fn person(entry: &Entry) -> Option<Ref> {
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
    state::catch_up(store, earlier, change).await
}

/// The last signed checkpoint, as it is committed.
///
/// # Errors
/// The database does not answer.
pub async fn head(store: &Store) -> Result<append::Head, Unwritten> {
    let mut connection = store.database().connect().await?;
    let head = append::read_head(store.database(), &mut connection).await?;
    if head.keys_version != store.keys().label() {
        store.reload_keys().await?;
    }
    Ok(head)
}

/// The name of a log in its present life.
///
/// # Errors
/// The deployment's name cannot stand in one.
pub fn origin(store: &Store, deployment: &str) -> Result<Origin, Flaw> {
    let incarnation = store.life().incarnation.to_string();
    match store.kind() {
        tenant::Kind::Organization => {
            Origin::tenant(deployment, &store.id().to_string(), &incarnation)
        }
        tenant::Kind::Deployment => Origin::deployment(deployment, &incarnation),
    }
}

/// The keys that this log's checkpoints are verified with, the newest first: the one that signs now, and those before it, as far as
/// each has handed over to the next in a checkpoint that both have signed. Keys of earlier lives are named after these.
///
/// # Errors
/// The database does not answer.
pub async fn verifiers(store: &Store, origin: &Origin) -> Result<Vec<VerifierKey>, Unwritten> {
    let signing = store.keys().signing();
    let mut newest = VerifierKey::of(origin.clone(), signing.seed().key());
    let mut trusted = vec![newest.clone()];
    let rows = upkeep::log_keys(store.database()).await?;
    for pair in rows.windows(2) {
        let [newer, older] = pair else { break };
        let older = verifier(store, origin, older)?;
        let handed_over = SignedCheckpoint::parse(newer.checkpoint.as_bytes())?;
        let both = newer.public == *newest.bytes()
            && handed_over.verify(std::slice::from_ref(&newest)).is_ok()
            && handed_over.vouched_for_by(&older).is_ok();
        if !both {
            return Err(Unwritten::Corrupt {
                what: "list of keys",
            });
        }
        newest = older.clone();
        trusted.push(older);
    }
    Ok(trusted)
}

/// A public key of a log, named after the life of the log in which it took over.
pub(super) fn verifier(
    store: &Store,
    origin: &Origin,
    key: &LogKey,
) -> Result<VerifierKey, Unwritten> {
    let name = match key.checkpoint.as_str() {
        // It was there from the beginning.
        "" => {
            let first = store.lives().first();
            let first = first.ok_or(Unwritten::Corrupt { what: "life" })?;
            origin.with_incarnation(&first.incarnation.to_string())?
        }
        note => {
            let took_over = SignedCheckpoint::parse(note.as_bytes())?;
            took_over.checkpoint().origin.clone()
        }
    };
    Ok(VerifierKey::from_bytes(name, &key.public)?)
}

/// A receipt of one entry: one text that shows offline that the log has it.
///
/// # Errors
/// The database does not answer. Nothing where there is no such entry.
pub async fn receipt(store: &Store, index: u64) -> Result<Option<Receipt>, Unwritten> {
    let head = head(store).await?;
    if index < head.minimum || head.size == 0 {
        return Ok(None);
    }
    let checkpoint = SignedCheckpoint::parse(head.checkpoint.as_bytes())?;
    receipt_under(store, index, checkpoint).await
}

/// The same under another checkpoint of the log than its last, which witnesses may have cosigned.
///
/// # Errors
/// The database does not answer. Nothing where there is no such entry under it.
pub async fn receipt_under(
    store: &Store,
    index: u64,
    checkpoint: SignedCheckpoint,
) -> Result<Option<Receipt>, Unwritten> {
    let size = checkpoint.checkpoint().size;
    if index >= size {
        return Ok(None);
    }
    let Some(segment) = append::segment_of(store.database(), index).await? else {
        return Ok(None);
    };
    let found = open_known(store, &segment, |other| other == index).await?;
    let Some((_, leaf, _)) = found.into_iter().next() else {
        return Ok(None);
    };
    let path = tree::inclusion(store.database(), index, size).await?;
    check::leads_to(&checkpoint, (&leaf, index), &path)?;
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
    let path = tree::consistency(store.database(), from, to).await?;
    if head.size > 0 {
        let note = SignedCheckpoint::parse(head.checkpoint.as_bytes())?;
        let edge = tree::load_edge(store.database(), from).await?;
        let old = edge.frontier()?.root();
        let new = root_of(store, note.checkpoint(), to).await?;
        verify_consistency((from, &old), (to, &new), &path)?;
    }
    Ok(Ok(Consistency {
        from,
        to,
        path,
        size: head.size,
        checkpoint: head.checkpoint,
    }))
}

/// The root over the first `size` leaves, shown to be the beginning of the log that ends with this checkpoint.
///
/// # Errors
/// The database does not answer, or it is not shown.
pub(super) async fn root_of(store: &Store, end: &Checkpoint, size: u64) -> Result<Hash, Unwritten> {
    if size == end.size {
        return Ok(end.root);
    }
    let edge = tree::load_edge(store.database(), size).await?;
    let root = edge.frontier()?.root();
    let path = tree::consistency(store.database(), size, end.size).await?;
    verify_consistency((size, &root), (end.size, &end.root), &path)?;
    Ok(root)
}
