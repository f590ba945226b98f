//! Queries on the log: the newest entries that fit, found through the search index where there is one, and the index itself.
//!
//! The index is derived from the segments, in the background, and only ever narrows what is read: a block that has none, or one
//! that does not open, is read whole. So an answer is complete while the index lags, while it is rebuilt, and without it.

use std::time::Instant;

use super::audit::{self, Read, Shown};
use super::error::Unwritten;
use super::pick::pick;
use super::recent::Recent;
use crate::crypto::CryptoError;
use crate::log::append;
use crate::log::entry::Time;
use crate::log::query::{Query, said};
use crate::log::search::{self, BLOCK, Builder};
use crate::log::upkeep;
use crate::tenant::Store;

/// How many entries one call of a query reads, at most; what is begun of a block is ended.
pub const LOOKED_AT: u64 = 20_000;

/// What it costs to pass over a block by its filter, in entries read.
const PASSED_OVER: u64 = 8;

/// How many filters are read at a time.
const FILTERS: i64 = 256;

/// What a query found, and where to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The newest first.
    pub entries: Vec<Shown>,
    /// The query goes on with the entries before this one; nothing once every entry was looked at.
    pub before: Option<u64>,
}

/// A query under way, from the newest entry back.
struct Walk<'a> {
    store: &'a Store,
    query: &'a Query,
    prints: Vec<u64>,
    limit: usize,
    /// What is kept begins here.
    minimum: u64,
    /// The entries before this one are still to be looked at.
    end: u64,
    /// How many entries may still be read.
    left: u64,
    over: bool,
    entries: Vec<Shown>,
}

/// The newest entries that a query asks for, `limit` at most, of those before an index where one is given.
///
/// What was committed a moment ago is found like everything else. One call reads [`LOOKED_AT`] entries and then says where to go
/// on, even if it found less than `limit`.
///
/// # Errors
/// The database does not answer, or a segment does not open: nothing is left out in silence.
pub async fn newest(
    store: &Store,
    query: &Query,
    before: Option<u64>,
    limit: usize,
) -> Result<Found, Unwritten> {
    let head = audit::head(store).await?;
    let mut end = before.map_or(head.size, |before| before.min(head.size));
    if let Some(to) = query.to() {
        end = end.min(first_at(store, to).await?);
    }
    let mut walk = Walk {
        store,
        query,
        prints: query.words().map(search::fingerprint).collect(),
        limit,
        minimum: head.minimum,
        end,
        left: LOOKED_AT,
        over: false,
        entries: Vec::new(),
    };
    walk.run().await?;
    let more = !walk.over && walk.end > walk.minimum;
    Ok(Found {
        entries: walk.entries,
        before: more.then_some(walk.end),
    })
}

/// The first index, of those that are kept, whose entry is not before this moment; the log's size where all are.
///
/// # Errors
/// The database does not answer, or a segment does not open.
pub async fn first_at(store: &Store, moment: Time) -> Result<u64, Unwritten> {
    let head = audit::head(store).await?;
    // Times never go back in a log.
    let (mut low, mut high) = (head.minimum, head.size);
    while low < high {
        let middle = low + (high - low) / 2;
        let segment = append::segment_of(store.database(), middle).await?;
        let segment = segment.ok_or(Unwritten::Corrupt { what: "segment" })?;
        let next = segment.first + segment.entries;
        if next <= middle {
            return Err(Unwritten::Corrupt { what: "segment" });
        }
        // A batch has one time.
        let opened = audit::open_known(store, &segment, |index| index == segment.first).await?;
        let stored = opened.into_iter().next();
        let stored = stored.ok_or(Unwritten::Corrupt { what: "segment" })?;
        let (entry, ..) = audit::parsed(stored)?;
        if entry.time < moment {
            low = next.min(high);
        } else {
            high = segment.first.max(low);
        }
    }
    Ok(low)
}

impl Walk<'_> {
    fn is_done(&self) -> bool {
        self.over || self.end <= self.minimum || self.entries.len() == self.limit || self.left == 0
    }

    async fn run(&mut self) -> Result<(), Unwritten> {
        let mut filters: std::collections::VecDeque<(u64, Vec<u8>)> = Default::default();
        // Down to this block the filters are read.
        let mut known_to = u64::MAX;
        while !self.is_done() {
            let block = (self.end - 1) / BLOCK;
            if !self.prints.is_empty() && block < known_to {
                let database = self.store.database();
                let oldest = self.minimum / BLOCK;
                let page = upkeep::filters(database, (block, oldest), FILTERS).await?;
                let full = i64::try_from(page.len()) == Ok(FILTERS);
                known_to = match page.last() {
                    Some((last, _)) if full => *last,
                    _ => oldest,
                };
                filters = page.into();
            }
            while filters.front().is_some_and(|(other, _)| *other > block) {
                filters.pop_front();
            }
            let filter = filters.front().filter(|(other, _)| *other == block);
            let may = match filter {
                Some((_, sealed)) => self.may_say(block, sealed),
                None => Indexed::No,
            };
            let floor = (block * BLOCK).max(self.minimum);
            match may {
                Indexed::Elsewhere => {
                    self.left = self.left.saturating_sub(PASSED_OVER);
                    self.end = floor;
                }
                Indexed::Here => match self.places(block).await? {
                    Some(places) => self.visit(block, &places, floor).await?,
                    None => self.scan(floor).await?,
                },
                Indexed::No => self.scan(floor).await?,
            }
        }
        Ok(())
    }

    /// What the filter says; one that does not open says nothing.
    fn may_say(&self, block: u64, sealed: &[u8]) -> Indexed {
        let opened = open(self.store, "filter", block, sealed);
        match opened.map(|filter| search::may_say(&filter, &self.prints)) {
            Some(Ok(true)) => Indexed::Here,
            Some(Ok(false)) => Indexed::Elsewhere,
            _ => Indexed::No,
        }
    }

    /// Where in the block all words are said; nothing where the index does not say.
    async fn places(&self, block: u64) -> Result<Option<Vec<u16>>, Unwritten> {
        let Some(sealed) = upkeep::places(self.store.database(), block).await? else {
            return Ok(None);
        };
        let opened = open(self.store, "pairs", block, &sealed);
        Ok(opened.and_then(|stored| search::places(&stored, &self.prints).ok()))
    }

    /// Looks at these places of a block, the newest first.
    async fn visit(&mut self, block: u64, places: &[u16], floor: u64) -> Result<(), Unwritten> {
        let mut wanted: Vec<u64> = places
            .iter()
            .map(|place| block * BLOCK + u64::from(*place))
            .filter(|index| *index < self.end && *index >= floor)
            .collect();
        while !wanted.is_empty() {
            // The newest first, and no more than it takes to fill the page.
            let some = wanted.len().saturating_sub(self.limit.max(1));
            let some = wanted.get(some..).unwrap_or_default();
            let (first, read) = pick(self.store, some).await?;
            let taken = read.len();
            let oldest = read.first().map_or(first, |(index, ..)| *index);
            self.left = self.left.saturating_sub(taken as u64);
            self.take(read).await?;
            if self.entries.len() == self.limit || self.over {
                return Ok(());
            }
            wanted.truncate(wanted.len().saturating_sub(taken));
            let reached = match wanted.last() {
                Some(next) if *next >= first => oldest,
                _ => first,
            };
            self.end = self.end.min(reached.max(floor));
            if self.left == 0 {
                return Ok(());
            }
        }
        self.end = self.end.min(floor);
        Ok(())
    }

    /// Looks at every entry from the end back to `floor`.
    async fn scan(&mut self, floor: u64) -> Result<(), Unwritten> {
        let mut worth = 1;
        while self.end > floor && !self.is_done() {
            let segments = append::segments_before(self.store.database(), self.end, worth).await?;
            worth = audit::worth(self.end - floor, segments.last());
            if segments.is_empty() {
                return Err(Unwritten::Corrupt { what: "segment" });
            }
            for segment in &segments {
                if segment.first + segment.entries < self.end {
                    return Err(Unwritten::Corrupt { what: "segment" });
                }
                let (from, end) = (floor.max(segment.first), self.end);
                let wanted = |index| (from..end).contains(&index);
                let read = audit::open_known(self.store, segment, wanted).await?;
                self.left = self.left.saturating_sub(end - from);
                self.take(read).await?;
                if self.entries.len() == self.limit || self.over {
                    return Ok(());
                }
                self.end = from;
                if self.end == floor {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Keeps those that fit of these entries, which stand in ascending order.
    async fn take(&mut self, read: Vec<audit::Stored>) -> Result<(), Unwritten> {
        let mut candidates: Vec<Read> = Vec::new();
        let mut over = false;
        for stored in read.into_iter().rev() {
            let read = audit::parsed(stored)?;
            over = self.query.is_over(&read.0);
            if over {
                break;
            }
            if self.query.may_match(&read.0) {
                candidates.push(read);
            }
        }
        // A page ends before the rest is opened, where the leaves alone decide.
        for chunk in chunks(candidates, self.limit) {
            for (entry, shown) in audit::show(self.store, chunk).await? {
                if self.query.matches(&entry, &shown.parts) {
                    self.end = shown.index;
                    self.entries.push(shown);
                    if self.entries.len() == self.limit {
                        return Ok(());
                    }
                }
            }
        }
        self.over = over;
        Ok(())
    }
}

/// What the index says of a block.
enum Indexed {
    /// Nothing: it is read whole.
    No,
    /// That the words may be said in it.
    Here,
    /// That they are not.
    Elsewhere,
}

fn chunks(mut all: Vec<Read>, size: usize) -> Vec<Vec<Read>> {
    let mut chunks = Vec::new();
    while !all.is_empty() {
        let rest = all.split_off(size.max(1).min(all.len()));
        chunks.push(std::mem::replace(&mut all, rest));
    }
    chunks
}

fn open(store: &Store, column: &str, block: u64, sealed: &[u8]) -> Option<Vec<u8>> {
    let keys = store.keys().at(block.saturating_mul(BLOCK));
    let opened = keys.open_value("search_block", column, &block.to_string(), 0, sealed);
    // A key that was rotated a moment ago is no damage: the block is read whole this once.
    if matches!(&opened, Err(error) if !matches!(error, CryptoError::UnknownVersion { .. })) {
        tracing::warn!(tenant.id = %store.id(), block, column, "a row of the search index does not open: run `cedarkeep audit reindex`");
    }
    opened.ok()
}

/// Indexes the next block that is full and not indexed; how many are left after it, nothing once there is none. What is not held in
/// memory is read.
///
/// # Errors
/// The database does not answer, or a segment does not open.
pub async fn index_next(store: &Store, recent: &Recent) -> Result<Option<u64>, Unwritten> {
    let head = audit::head(store).await?;
    let (first, end) = (head.minimum.div_ceil(BLOCK), head.size / BLOCK);
    if first >= end {
        return Ok(None);
    }
    let (database, now) = (store.database(), Instant::now());
    let known = recent.reaches(now).max(first);
    if known >= end {
        return Ok(None);
    }
    let Some((block, missing)) = upkeep::missing_block(database, known, end).await? else {
        recent.reach(end, now);
        return Ok(None);
    };
    recent.reach(block, now);
    if block >= end {
        return Ok(None);
    }
    let builder = match recent.take(block) {
        Some(builder) => builder,
        None => read_block(store, block).await?,
    };
    let (filter, places) = builder.finish();
    let row = block.to_string();
    let label = store.keys().label();
    let (filter, places) = {
        let keys = store.keys().at(block.saturating_mul(BLOCK));
        (
            keys.seal("search_block", "filter", &row, 0, &filter)?,
            keys.seal("search_block", "pairs", &row, 0, &places)?,
        )
    };
    let error = |cause| database.error(cause);
    let mut connection = database.pool().acquire().await.map_err(error)?;
    let mut transaction = database.begin(&mut connection).await?;
    if !store.hold_keys(&mut transaction, label).await? {
        // The key may be gone by now: the block is indexed with those in force the next time.
        transaction.rollback().await.map_err(error)?;
        store.reload_keys().await?;
        return Ok(Some(missing));
    }
    upkeep::add_block(database, &mut transaction, block, (&filter, &places)).await?;
    transaction.commit().await.map_err(error)?;
    Ok(Some(missing - 1))
}

// What is bound to a block is sealed again as what it is.
const _: () = assert!(BLOCK == crate::tenant::sealed::BLOCK);

/// What the entries of a block say, as they are stored.
async fn read_block(store: &Store, block: u64) -> Result<Builder, Unwritten> {
    let from = block * BLOCK;
    let mut builder = Builder::default();
    let mut next = from;
    while next < from + BLOCK {
        let left = usize::try_from(from + BLOCK - next).unwrap_or_default();
        let read = audit::read(store, next, left).await?;
        if read.is_empty() {
            return Err(Unwritten::Corrupt { what: "segment" });
        }
        for (entry, shown) in audit::show(store, read).await? {
            if shown.index != next {
                return Err(Unwritten::Corrupt { what: "segment" });
            }
            next += 1;
            let Ok(place) = u16::try_from(shown.index - from) else {
                break;
            };
            if u64::from(place) < BLOCK {
                said(&entry, |name| shown.parts.get(name.as_str()))
                    .for_each(|word| builder.say(place, search::fingerprint(word)));
            }
        }
    }
    Ok(builder)
}

/// Takes the whole index away; it is built again block by block, and queries are complete meanwhile.
///
/// # Errors
/// The database does not take it.
pub async fn forget_index(store: &Store) -> Result<(), Unwritten> {
    let last = u64::try_from(i64::MAX).unwrap_or_default();
    Ok(upkeep::drop_blocks(store.database(), 0, last).await?)
}
