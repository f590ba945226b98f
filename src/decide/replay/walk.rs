//! A log walked through from an index on, a few segments at a time: the next are read and opened while those before them are judged.

use tokio::task::JoinHandle;

use super::super::audit;
use super::super::error::Unwritten;
use super::super::rows;
use super::crew::shared_out;
use super::decision::Heard;
use crate::log::Event;
use crate::log::append::{self, Segment};
use crate::log::entry::{Entry, PartName};
use crate::log::segment::Leaves;
use crate::tenant::Store;
use std::sync::Arc;

/// How many bytes of segments are read at a time, if they are more than one; and how many segments, at most.
const PAGE: u64 = 1 << 22;
const SEGMENTS: i64 = 256;

/// The parts that it takes to decide again.
const DECIDED: [PartName; 2] = [PartName::Request, PartName::Policies];

/// Of how many segments the leaves are read at a time where the last decisions are counted.
const BACK: i64 = 8;

/// The segments that come next: what they hold, and up to which index. Nothing where the one that comes next is not there.
pub(super) struct Ahead(JoinHandle<Result<Option<(Page, u64)>, Unwritten>>);

impl Ahead {
    /// Those from the beginning of one on, up to an end.
    pub(super) fn from(store: &Arc<Store>, (first, end): (u64, u64)) -> Self {
        let store = Arc::clone(store);
        Self(tokio::spawn(async move {
            if first >= end {
                return Ok(None);
            }
            let database = store.database();
            let fitting = append::segments_within(database, first, (PAGE, SEGMENTS)).await?;
            let segments = append::segments_from(database, first, fitting).await?;
            read(&store, segments, (first, end)).await
        }))
    }

    /// The one that an index lies in, from there up to an end.
    pub(super) fn of(store: &Arc<Store>, (index, end): (u64, u64)) -> Self {
        let store = Arc::clone(store);
        Self(tokio::spawn(async move {
            let segment = append::segment_of(store.database(), index).await?;
            read(&store, Vec::from_iter(segment), (index, end)).await
        }))
    }

    /// Waits until they are read and opened.
    pub(super) async fn read(mut self) -> Result<Option<(Page, u64)>, Unwritten> {
        let read = (&mut self.0).await;
        read.map_err(|_| Unwritten::Corrupt { what: "segment" })?
    }
}

async fn read(
    store: &Arc<Store>,
    segments: Vec<Segment>,
    (next, end): (u64, u64),
) -> Result<Option<(Page, u64)>, Unwritten> {
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Ok(None);
    };
    if !(first.first..first.first + first.entries).contains(&next) {
        return Ok(None);
    }
    let reached = (last.first + last.entries).min(end);
    let page = open(store, segments, (next, reached)).await?;
    Ok(Some((page, reached)))
}

impl Drop for Ahead {
    /// Whoever does not wait for them any more does not want them.
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a few segments hold of a range.
#[derive(Debug, Default)]
pub(in crate::decide) struct Page {
    /// The decisions, in order.
    pub(in crate::decide) decisions: Vec<Heard>,
    /// How many entries of anything else.
    pub(in crate::decide) others: u64,
    /// The changes that there were, as far as the entries tell for certain, in order.
    pub(in crate::decide) changes: Vec<u64>,
}

impl Page {
    fn add(&mut self, other: Self) {
        self.decisions.extend(other.decisions);
        self.others += other.others;
        self.changes.extend(other.changes);
    }
}

/// Opens segments and reads what they hold from one index up to another.
///
/// # Errors
/// One does not open, or holds what it should not.
pub(in crate::decide) async fn open(
    store: &Arc<Store>,
    segments: Vec<Segment>,
    range: (u64, u64),
) -> Result<Page, Unwritten> {
    let segments = Arc::new(segments);
    for _ in 0..2 {
        match opened(store, &segments, range).await {
            // Another node has begun an epoch meanwhile.
            Err(error) if error.is_of_unknown_key() => store.reload_keys().await?,
            opened => return opened,
        }
    }
    opened(store, &segments, range).await
}

async fn opened(
    store: &Arc<Store>,
    segments: &Arc<Vec<Segment>>,
    range: (u64, u64),
) -> Result<Page, Unwritten> {
    let (store, segments) = (Arc::clone(store), Arc::clone(segments));
    apart(move || {
        let all: Vec<&Segment> = segments.iter().collect();
        let pages = shared_out(all, |share| {
            let mut page = Page::default();
            for segment in share {
                page.add(hear(&store, segment, range)?);
            }
            Ok::<_, Unwritten>(page)
        })?;
        let mut whole = Page::default();
        for page in pages {
            whole.add(page?);
        }
        Ok(whole)
    })
    .await
}

/// Does something that takes a while where it holds up nobody.
///
/// # Errors
/// It broke off, or what it is itself.
pub(in crate::decide) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Unwritten> + Send + 'static,
) -> Result<T, Unwritten> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Unwritten::Corrupt { what: "replay" })?
}

fn hear(store: &Store, segment: &Segment, (from, end): (u64, u64)) -> Result<Page, Unwritten> {
    let mut page = Page::default();
    let mut change = None;
    audit::visit(store, segment, |index, leaf, parts| {
        let corrupt = || Unwritten::Corrupt { what: "entry" };
        let entry = Entry::read(leaf)?;
        if entry.index != index {
            return Err(corrupt());
        }
        // A change is alone in its segment, with the decision that allowed it: its index is that of its first event.
        let surely = entry.event.changes_state() && !entry.event.may_be_of_content();
        if surely && change.is_none() {
            change = Some(index);
        }
        if !(from..end).contains(&index) {
            return Ok(());
        }
        if entry.event == Event::DecisionMade {
            let parts = parts.some(index, &DECIDED).ok_or_else(corrupt)?;
            let person = audit::person(&entry);
            page.decisions.push(Heard {
                entry,
                person,
                parts,
            });
        } else {
            page.others += 1;
        }
        Ok(())
    })?;
    page.changes.extend(change);
    Ok(page)
}

/// The index at which the last so many decisions before another begin, of those that are kept.
///
/// # Errors
/// The database does not answer, or a segment does not open.
pub(super) async fn last_decisions(
    store: &Arc<Store>,
    (minimum, end): (u64, u64),
    mut wanted: u64,
) -> Result<u64, Unwritten> {
    let mut before = end;
    loop {
        if before <= minimum {
            return Ok(minimum);
        }
        let read = append::leaves_before(store.database(), before, BACK).await?;
        if read.is_empty() {
            return Ok(before);
        }
        let counted = match counted(store, read.clone(), (minimum, end)).await {
            Err(error) if error.is_of_unknown_key() => {
                store.reload_keys().await?;
                counted(store, read, (minimum, end)).await?
            }
            counted => counted?,
        };
        for (first, decisions) in counted {
            let there = u64::try_from(decisions.len()).unwrap_or(u64::MAX);
            if there >= wanted {
                let at = usize::try_from(there - wanted).unwrap_or_default();
                return Ok(decisions.get(at).copied().unwrap_or(first).max(minimum));
            }
            wanted -= there;
            before = first;
        }
    }
}

/// Where segments begin, and the decisions in each.
type Counted = Vec<(u64, Vec<u64>)>;

async fn counted(
    store: &Arc<Store>,
    read: Vec<(u64, u64, Vec<u8>)>,
    (minimum, end): (u64, u64),
) -> Result<Counted, Unwritten> {
    let store = Arc::clone(store);
    apart(move || {
        let shares = shared_out(read, |share| {
            let counted = share.into_iter().map(|(first, _, sealed)| {
                let framed = rows::open_leaves(&store, first, &sealed)?;
                let mut decisions = Vec::new();
                for (index, leaf) in Leaves::parse(&framed)?.iter() {
                    let is_there = (minimum..end).contains(&index);
                    if is_there && Entry::read(leaf)?.event == Event::DecisionMade {
                        decisions.push(index);
                    }
                }
                Ok((first, decisions))
            });
            counted.collect::<Result<Counted, Unwritten>>()
        })?;
        let mut all = Vec::new();
        for share in shares {
            all.extend(share?);
        }
        Ok(all)
    })
    .await
}
