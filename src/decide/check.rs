//! The check of everything that is stored of a log: every row against what the signed checkpoint commits to.
//!
//! What is wrong with the data is a finding, and the check goes on; an error is a database that does not answer. It takes as much
//! memory as a few segments.

use tokio::task::JoinHandle;

use super::audit;
use super::error::Unwritten;
use super::rows;
use crate::log::Event;
use crate::log::append::{self, Head, Segment, Unreadable};
use crate::log::checkpoint::{Origin, SignedCheckpoint, VerifierKey};
use crate::log::entry::{Entry, Fact};
use crate::log::merkle::{Frontier, Hash, leaf_hash};
use crate::log::search::BLOCK;
use crate::log::segment::{Leaves, Parts};
use crate::log::tiles::{Edge, FullTile, Tile, WIDTH};
use crate::log::tree;
use crate::log::upkeep;
use crate::log::verify::{Evidence, Finding, Heard, Kept, Report, Verification};
use crate::storage::Database;
use crate::tenant::Store;

/// How many bytes of segments are read at a time, if they are more than one; and how many segments, at most.
const PAGE: u64 = 1 << 22;
const SEGMENTS: i64 = 256;

/// How many tiles of what is pruned are read at a time.
const PRUNED: u64 = 64;

/// Of a tile whose hashes nobody else has.
const NOT_ITS_ROOT: &str = "its root is not that of its hashes";

/// How many rows of the search index are read at a time.
const BLOCKS: i64 = 256;

/// Checks a log: its leaves, sealed parts, hashes, tiles, head, lives, keys and search index (rows of anchors and of what was published are
/// not: a proof is checked when it is made); and that it goes on from every checkpoint of it
/// that was kept elsewhere.
///
/// # Errors
/// The database does not answer.
pub async fn verify(
    store: &Store,
    origin: &Origin,
    kept: &[Kept],
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, Unwritten> {
    let mut wrong = Report::of(Vec::new());
    let head = match audit::head(store).await {
        Ok(head) => head,
        Err(error) => {
            wrong.add(stored("head", unless_silent(error)?));
            return Ok(wrong);
        }
    };
    let newest = VerifierKey::of(origin.clone(), store.keys().signing().seed().key());
    let keys = match audit::verifiers(store, origin).await {
        Ok(keys) => keys,
        Err(error) => {
            wrong.add(stored("list of keys", unless_silent(error)?));
            vec![newest]
        }
    };
    let checkpoint = (!head.checkpoint.is_empty()).then_some(head.checkpoint.as_bytes());
    let mut verification = Verification::new(Evidence {
        checkpoint,
        kept,
        keys: &keys,
        origin: Some(origin),
        before: Frontier::new(),
    });
    let found = (&mut verification, &mut wrong);
    let edge = match begin(store, &head, found, &mut progress).await {
        Ok(edge) => edge,
        Err(error) => {
            wrong.add(stored("tile", unless_silent(error)?));
            verification.skip_to(Frontier::new());
            Edge::new()
        }
    };
    let mut check = Check {
        store,
        verification,
        next: head.minimum,
        edge,
        said: Said::default(),
        wrong,
    };
    check.segments(&head, &mut progress).await?;
    check.said.last_row = rows::last_change(store, head.size).await?;
    check.head(&head);
    check.beyond(&head).await?;
    check.index(&head).await?;
    let mut report = check.verification.finish();
    let present = keys.first().map_or(0, VerifierKey::id);
    if report.checkpoint.is_some() && !report.signed_by.contains(&present) {
        let why = "its checkpoint is signed by earlier keys of the log alone";
        report.add(stored("head", why));
    }
    report.add_all(check.wrong);
    Ok(report)
}

/// The tree ahead of the first entry that is kept, out of the leaf hashes of what is not: every tile above them is made of them again.
async fn begin(
    store: &Store,
    head: &Head,
    (verification, wrong): (&mut Verification, &mut Report),
    progress: &mut impl FnMut(u64, u64),
) -> Result<Edge, Unwritten> {
    if !head.minimum.is_multiple_of(WIDTH) || head.minimum > head.size {
        return Err(Unwritten::Corrupt { what: "minimum" });
    }
    let mut edge = Edge::new();
    while edge.size() < head.minimum {
        let wanted = (edge.size() / WIDTH, head.minimum / WIDTH);
        let rows = tree::kept_leaves(store.database(), wanted).await?;
        for index in wanted.0..wanted.1.min(wanted.0 + PRUNED) {
            let row = rows.iter().find(|row| row.number == index);
            let Some((row, hashes)) = row.and_then(|row| Some((row, leaves(&row.hashes)?))) else {
                let path = Tile {
                    level: 0,
                    index,
                    width: 256,
                }
                .path();
                wrong.add(stored(&path, "it is missing, or is not of 256 hashes"));
                // Nobody can tell what is behind it; the rest of the log can be checked.
                let edge = tree::load_edge(store.database(), head.minimum).await?;
                verification.skip_to(edge.frontier()?);
                return Ok(edge);
            };
            for hash in hashes {
                verification.pass(hash);
                for full in edge.push(hash)? {
                    match full.tile.level {
                        0 if row.is(&full) => {}
                        0 => wrong.add(stored(&full.tile.path(), NOT_ITS_ROOT)),
                        _ => compare(store, &full, wrong).await?,
                    }
                }
            }
        }
        progress(edge.size(), head.size);
    }
    Ok(edge)
}

/// The hashes of a tile of 256.
fn leaves(hashes: &[u8]) -> Option<Vec<Hash>> {
    let hashes: Option<Vec<Hash>> = hashes.chunks(32).map(Hash::from_slice).collect();
    hashes.filter(|hashes| u64::try_from(hashes.len()) == Ok(WIDTH))
}

/// A tile that is full now, against its row.
async fn compare(store: &Store, full: &FullTile, wrong: &mut Report) -> Result<(), Unwritten> {
    let path = full.tile.path();
    match tree::kept(store.database(), full.tile).await {
        Ok(Some(row)) if row.is(full) => {}
        Ok(Some(_)) => wrong.add(stored(
            &path,
            "its hashes or its root are not those of the entries",
        )),
        Ok(None) => wrong.add(stored(&path, "it is missing")),
        Err(error) => wrong.add(stored(&path, unless_silent(error.into())?)),
    }
    Ok(())
}

/// What is wrong with the data; what is the database's silence stays an error.
fn unless_silent(error: Unwritten) -> Result<String, Unwritten> {
    match error {
        Unwritten::Storage(_) | Unwritten::Log(Unreadable::Storage(_)) | Unwritten::Slow => {
            Err(error)
        }
        error => Ok(error.to_string()),
    }
}

fn stored(what: &str, why: impl std::fmt::Display) -> Finding {
    Finding::Stored {
        what: format!("{what}: {why}"),
    }
}

/// What the entries say of the head.
#[derive(Debug, Default)]
struct Said {
    /// The last entry that changed something, whatever else it may have been of.
    last_change: Option<u64>,
    /// The last change that the state has rows of.
    last_row: u64,
    last_time: Option<i64>,
    minimum: u64,
    key: Option<[u8; 32]>,
    /// Where other lives of the log began, and which ended there.
    restored: Vec<(u64, String)>,
}

struct Check<'a> {
    store: &'a Store,
    verification: Verification,
    /// The index that comes next.
    next: u64,
    edge: Edge,
    said: Said,
    wrong: Report,
}

impl Check<'_> {
    async fn segments(
        &mut self,
        head: &Head,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), Unwritten> {
        let database = self.store.database();
        // The first may begin ahead of the least index that is kept.
        let first = match append::segment_of(database, head.minimum).await {
            Ok(segment) => segment.map_or(head.minimum, |segment| segment.first),
            Err(error) => {
                self.wrong
                    .add(stored("segment", unless_silent(error.into())?));
                head.minimum
            }
        };
        let mut reading = read_ahead(database, first);
        loop {
            let read = reading.await;
            let segments = match read.map_err(|_| Unwritten::Corrupt { what: "segment" })? {
                Ok(segments) => segments,
                Err(error) => {
                    self.wrong
                        .add(stored("segment", unless_silent(error.into())?));
                    return Ok(());
                }
            };
            let Some(last) = segments.last() else {
                return Ok(());
            };
            reading = read_ahead(database, last.first + 1);
            // What was committed since the head was read belongs to a later check.
            let ours = segments.partition_point(|segment| segment.first < head.size);
            let (ours, beyond) = segments.split_at(ours);
            let store = self.store;
            let opened = tokio::task::block_in_place(|| open_all(store, ours));
            for (segment, opened) in ours.iter().zip(opened) {
                self.segment((segment, opened), head).await?;
                progress(self.next.min(head.size), head.size);
            }
            if !beyond.is_empty() {
                return Ok(());
            }
        }
    }

    async fn segment(
        &mut self,
        (segment, opened): (&Segment, Result<Vec<Heard>, Unwritten>),
        head: &Head,
    ) -> Result<(), Unwritten> {
        let name = format!("segment {}", segment.first);
        let opened = match opened {
            // Another node has begun an epoch meanwhile.
            Err(error) if error.is_of_unknown_key() => {
                self.store.reload_keys().await?;
                open(self.store, segment)
            }
            opened => opened,
        };
        let entries = match opened {
            Ok(entries) => entries,
            Err(error) => {
                self.wrong.add(stored(&name, unless_silent(error)?));
                return Ok(());
            }
        };
        if u64::try_from(entries.len()) != Ok(segment.entries) {
            let count = entries.len();
            let why = format!("it says {} entries and holds {count}", segment.entries);
            self.wrong.add(stored(&name, why));
        }
        let hashes = entries.iter().flat_map(|heard| heard.hash.bytes());
        if !hashes.eq(&segment.hashes) {
            let why = "its list of leaf hashes is not that of its leaves";
            self.wrong.add(stored(&name, why));
        }
        let mut change = None;
        for (index, heard) in (segment.first..).zip(&entries) {
            if let Ok(entry) = &heard.entry {
                self.hear(entry, &mut change);
            }
            if index < head.minimum {
                continue;
            }
            self.verification.push_read(heard);
            self.next += 1;
            for tile in self.edge.push(heard.hash)? {
                compare(self.store, &tile, &mut self.wrong).await?;
            }
        }
        self.said.last_change = change.or(self.said.last_change);
        Ok(())
    }

    /// What an entry says of the head.
    fn hear(&mut self, entry: &Entry, change: &mut Option<u64>) {
        self.said.last_time = Some(entry.time.micros());
        // A change is alone in its segment, with the decision that allowed it: its index is that of its first event.
        let surely = entry.event.changes_state() && !entry.event.may_be_of_content();
        if change.is_none() && surely {
            *change = Some(entry.index);
        }
        match (entry.event, &entry.fact) {
            (Event::LogPruned, Some(Fact::Minimum(minimum))) => self.said.minimum = *minimum,
            (Event::LogKeyRotated, Some(Fact::NewKey(key))) => self.said.key = Some(*key),
            (Event::LogRestored, Some(Fact::Restored { incarnation, .. })) => {
                let ended = (entry.index, incarnation.as_str().to_owned());
                self.said.restored.push(ended);
            }
            _ => {}
        }
    }

    /// The head against what the entries say.
    fn head(&mut self, head: &Head) {
        let mut wrong = |what: &str| self.wrong.add(stored("head", what));
        if let Ok(frontier) = self.edge.frontier()
            && head.size > 0
            && frontier.to_bytes() != head.frontier
        {
            wrong("its frontier is not that of the entries");
        }
        if head.size != self.edge.size() {
            wrong("its size is not the number of entries");
        }
        if self
            .said
            .last_time
            .is_some_and(|time| time != head.last_time)
        {
            wrong("its last time is not the last entry's");
        }
        // Of what is not kept any more nobody can tell.
        let last_change = self.said.last_change.unwrap_or_default();
        let last_change = last_change.max(self.said.last_row);
        if last_change != head.last_change && last_change.max(head.last_change) >= head.minimum {
            wrong("its last change is not the last entry that changed something");
        }
        // Whatever is pruned is followed by the entry that says so.
        if head.minimum != self.said.minimum {
            wrong("no entry says that so much was pruned");
        }
        let life = self.store.life();
        let pruned = |index: u64| index < head.minimum;
        let lives = self.store.lives().windows(2).filter_map(|pair| match pair {
            [ended, next] if !pruned(next.first) => {
                Some((next.first, ended.incarnation.to_string()))
            }
            _ => None,
        });
        let told = &self.said.restored;
        let all_are_told = lives.clone().all(|life| told.contains(&life));
        // Behind the entry of the life that ended may stand some of lives that are lost whole.
        let firsts: Vec<u64> = lives.map(|(first, _)| first).collect();
        let all_are_there = told
            .iter()
            .filter(|(index, _)| !pruned(*index))
            .all(|(index, _)| {
                let begun = firsts.iter().rev().find(|first| *first <= index);
                begun.is_some_and(|begun| {
                    (*begun..=*index).all(|index| told.iter().any(|(other, _)| *other == index))
                })
            });
        if head.incarnation != life.incarnation.to_string() || !all_are_told || !all_are_there {
            wrong("its lives are not those that the entries of restores tell of");
        }
        let signing = self.store.keys().signing();
        if head.signing_version != signing.version() {
            wrong("its signing key is not the newest");
        }
        let public = *signing.seed().public_key().as_bytes();
        if self.said.key.is_some_and(|key| key != public) {
            wrong("the log is signed by another key than the last entry of a rotation names");
        }
    }

    /// Rows beyond the log's end.
    async fn beyond(&mut self, head: &Head) -> Result<(), Unwritten> {
        let database = self.store.database();
        let beyond = append::segments_from(database, head.size, 1).await;
        let tiles = tree::count_tiles(database).await?;
        // What was committed meanwhile is no finding.
        let now = audit::head(self.store).await?.size;
        let found = match beyond {
            Ok(segments) => segments.first().map(|segment| segment.first),
            Err(error) => {
                self.wrong
                    .add(stored("segment", unless_silent(error.into())?));
                None
            }
        };
        if found.is_some_and(|first| first >= now) {
            self.wrong
                .add(stored("segment", "there is one beyond the head"));
        }
        if tiles > full_tiles(now) || tiles < full_tiles(head.size) {
            let (wanted, size) = (full_tiles(now), now);
            let why = format!("there are {tiles}, and {wanted} belong to {size} entries");
            self.wrong.add(stored("tiles", why));
        }
        Ok(())
    }

    /// Rows of the search index: each must open in its place. One that is missing is built again.
    async fn index(&mut self, head: &Head) -> Result<(), Unwritten> {
        let mut newest = head.size;
        loop {
            let page = upkeep::filters(self.store.database(), (newest, 0), BLOCKS).await?;
            let Some((oldest, _)) = page.last() else {
                return Ok(());
            };
            let oldest = *oldest;
            for (block, filter) in &page {
                let places = upkeep::places(self.store.database(), *block).await?;
                let mut opens = opens_block(self.store, *block, (filter, places.as_deref()));
                if !opens {
                    // It may have been sealed again under another key since it was read.
                    self.store.reload_keys().await?;
                    let database = self.store.database();
                    let filter = upkeep::filters(database, (*block, *block), 1).await?;
                    let places = upkeep::places(database, *block).await?;
                    opens = filter.first().is_none_or(|(_, filter)| {
                        opens_block(self.store, *block, (filter, places.as_deref()))
                    });
                }
                if !opens {
                    let why =
                        "it does not open; queries read past it, `audit reindex` builds it again";
                    self.wrong
                        .add(stored(&format!("search index, block {block}"), why));
                }
            }
            match oldest.checked_sub(1) {
                Some(next) => newest = next,
                None => return Ok(()),
            }
        }
    }
}

/// Whether a block of the search index opens in its place.
fn opens_block(store: &Store, block: u64, (filter, places): (&[u8], Option<&[u8]>)) -> bool {
    let row = block.to_string();
    let keys = store.keys().at(block.saturating_mul(BLOCK));
    let opens = |column, sealed: &[u8]| {
        let opened = keys.open_value("search_block", column, &row, 0, sealed);
        opened.is_ok()
    };
    opens("filter", filter) && places.is_none_or(|places| opens("pairs", places))
}

/// Takes those rows out of the search index of a log of `size` entries that do not open: they are built again. Nobody else has it open.
///
/// # Errors
/// The database does not answer.
pub(super) async fn drop_unfit_blocks(store: &Store, size: u64) -> Result<(), Unwritten> {
    let (database, mut newest) = (store.database(), size);
    loop {
        let page = upkeep::filters(database, (newest, 0), BLOCKS).await?;
        for (block, filter) in &page {
            let places = upkeep::places(database, *block).await?;
            if !opens_block(store, *block, (filter, places.as_deref())) {
                upkeep::drop_blocks(database, *block, *block).await?;
            }
        }
        let oldest = page.last().map(|(oldest, _)| *oldest);
        match oldest.and_then(|oldest| oldest.checked_sub(1)) {
            Some(next) => newest = next,
            None => return Ok(()),
        }
    }
}

/// Reads the segments from an index on, as many as fit, while those before them are checked.
fn read_ahead(database: &Database, from: u64) -> JoinHandle<Result<Vec<Segment>, Unreadable>> {
    let database = database.clone();
    tokio::spawn(async move {
        let fitting = append::segments_within(&database, from, (PAGE, SEGMENTS)).await?;
        append::segments_from(&database, from, fitting).await
    })
}

/// Opens segments, and reads and hashes what is in them, on as many processors as there are.
fn open_all(store: &Store, segments: &[Segment]) -> Vec<Result<Vec<Heard>, Unwritten>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let each = segments.len().div_ceil(processors).max(1);
    std::thread::scope(|scope| {
        let shares: Vec<_> = segments
            .chunks(each)
            .map(|share| {
                let opened = move || share.iter().map(|one| open(store, one)).collect::<Vec<_>>();
                (share.len(), scope.spawn(opened))
            })
            .collect();
        let broken = |_| Err(Unwritten::Corrupt { what: "segment" });
        shares
            .into_iter()
            .flat_map(|(count, share)| {
                share
                    .join()
                    .unwrap_or_else(|_| (0..count).map(broken).collect())
            })
            .collect()
    })
}

fn open(store: &Store, segment: &Segment) -> Result<Vec<Heard>, Unwritten> {
    let wrong = || Unwritten::Corrupt {
        what: "list of parts",
    };
    let framed = rows::open_leaves(store, segment.first, &segment.leaves)?;
    let leaves = Leaves::parse(&framed)?;
    let parts = Parts::parse(&segment.parts)?;
    if parts.first() != segment.first || parts.count() != leaves.count() {
        return Err(wrong());
    }
    // The leaves are counted from where the row begins.
    (segment.first..)
        .zip(leaves.iter())
        .map(|(index, (_, leaf))| Ok(Heard::of(leaf, parts.hashes(index).ok_or_else(wrong)?)))
        .collect()
}

/// How many full tiles a tree of that size has, at all levels.
fn full_tiles(size: u64) -> u64 {
    std::iter::successors(Some(size / WIDTH), |level| Some(level / WIDTH))
        .take_while(|level| *level > 0)
        .sum()
}

/// Whether a path leads from a leaf to a checkpoint's root: what is handed out is checked as its receiver will.
///
/// # Errors
/// It does not: a stored hash is not what it should be.
pub(super) fn leads_to(
    checkpoint: &SignedCheckpoint,
    (leaf, index): (&[u8], u64),
    path: &[Hash],
) -> Result<(), Unwritten> {
    let head = checkpoint.checkpoint();
    Ok(crate::log::merkle::verify_inclusion(
        &leaf_hash(leaf),
        index,
        head.size,
        path,
        &head.root,
    )?)
}
