//! The log handed out as one file: decided and recorded before the first byte, written a few segments at a time.

use std::sync::Arc;

use chrono::Utc;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::audit::{self, Read};
use super::door::Door;
use super::error::{Refused, Unwritten};
use super::question::Asker;
use super::sending::{CHUNK, Right, Sending};
use crate::log::append::{self, Head, Unreadable};
use crate::log::bundle::{self, Extent, Manifest, Signers, Survey, Writing};
use crate::log::checkpoint::{Origin, SignedCheckpoint, VerifierKey};
use crate::log::entry::{Entry, Outcome, Refusal, Time};
use crate::log::flaw::Flaw;
use crate::log::query::Query;
use crate::log::tiles::Tile;
use crate::log::{Event, tree, upkeep, view};
use crate::tenant::Store;

/// How many bytes of segments are read at a time, if they are more than one.
const PAGE: u64 = 1 << 20;

/// The most segments that are read at a time.
const SEGMENTS: i64 = 256;

/// In which form a log is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// All of it, with everything that proves it (`cedarkeep.bundle.v1`).
    Bundle,
    /// A JSON object a line: index, leaf, and what the parts say.
    Jsonl,
    /// A table.
    Csv,
    /// OCSF events, one a line.
    Ocsf,
}

impl Format {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Bundle, Self::Jsonl, Self::Csv, Self::Ocsf];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Ocsf => "ocsf",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// What is to be exported.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// In which form.
    pub format: Format,
    /// Which entries.
    pub query: Query,
    /// The same, as it is recorded.
    pub conditions: Value,
}

/// Why nothing is exported, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum NotExported {
    /// The log cannot be read, or does not verify.
    #[error(transparent)]
    Unread(#[from] Unwritten),
    /// It is not allowed, or not any more; too many are under way; or it cannot be recorded.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is nothing that a checkpoint commits to.
    #[error("the log has no entries yet: there is nothing to export")]
    Empty,
    /// A bundle of some entries would prove nothing.
    #[error("a bundle holds the whole log: leave the conditions away, or choose another format")]
    Conditions,
    /// Whoever wanted it is gone.
    #[error("nobody takes the export any more")]
    Gone,
    /// Whoever wanted it reads nothing of it.
    #[error("nobody has taken anything of the export for minutes")]
    Stalled,
}

impl NotExported {
    /// The word for it in the log.
    const fn word(&self) -> Refusal {
        match self {
            Self::Refused(Refused::Denied(..) | Refused::Scope(..) | Refused::Nobody { .. }) => {
                Refusal::NotPermitted
            }
            Self::Gone | Self::Stalled => Refusal::Cancelled,
            Self::Unread(_) | Self::Refused(_) | Self::Empty | Self::Conditions => {
                Refusal::Unavailable
            }
        }
    }
}

impl From<Flaw> for NotExported {
    fn from(flaw: Flaw) -> Self {
        Self::Unread(flaw.into())
    }
}

impl From<Unreadable> for NotExported {
    fn from(error: Unreadable) -> Self {
        Self::Unread(error.into())
    }
}

/// An export that is recorded, of the log as it was then: whatever is appended meanwhile is not in it.
#[derive(Debug)]
pub struct Export {
    door: Arc<Door>,
    asker: Asker,
    wanted: Wanted,
    head: Head,
    bundle: Option<(Manifest, Signers)>,
    right: Option<Right>,
    _turn: OwnedSemaphorePermit,
}

/// What is sent in place of the rest of an export that cannot go on: whoever takes it must not look complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the export ended early: what was sent of it is not whole")]
pub struct Broken;

/// Where the bytes of an export go, in order.
pub type Outlet = mpsc::Sender<Result<Vec<u8>, Broken>>;

/// Begins an export, where it is allowed and not too many are under way: a bundle is verified and measured first. Then it is recorded.
///
/// # Errors
/// `Refused`, `Busy` among it; the log cannot be read, does not verify, or cannot be written.
pub async fn begin(
    door: Arc<Door>,
    asker: Asker,
    wanted: Wanted,
    progress: impl FnMut(u64, u64),
) -> Result<Export, NotExported> {
    let turn = Arc::clone(&door.exporting).try_acquire_owned();
    let turn = turn.map_err(|_| Refused::Busy)?;
    let right = Right::of(&door, &asker).await?;
    if wanted.format == Format::Bundle && wanted.query != Query::default() {
        return Err(NotExported::Conditions);
    }
    let head = audit::head(door.store()).await?;
    if head.size == 0 {
        return Err(NotExported::Empty);
    }
    let mut export = Export {
        door,
        asker,
        wanted,
        head,
        bundle: None,
        right,
        _turn: turn,
    };
    if export.wanted.format == Format::Bundle {
        match export.survey(progress).await {
            Ok(bundle) => export.bundle = Some(bundle),
            Err(refused @ NotExported::Refused(_)) => {
                export.note(Outcome::Failed(refused.word())).await?;
                return Err(refused);
            }
            Err(error) => {
                export.note(Outcome::Failed(Refusal::Invalid)).await?;
                return Err(unsound(error));
            }
        }
    }
    export.note(Outcome::Ok).await?;
    Ok(export)
}

/// A log that was read and is not what it should be; a database that does not answer stays what it is.
fn unsound(error: NotExported) -> NotExported {
    match error {
        NotExported::Unread(Unwritten::Flaw(Flaw::Unsound { .. }))
        | NotExported::Unread(
            Unwritten::Storage(_)
            | Unwritten::Tenant(_)
            | Unwritten::Slow
            | Unwritten::Log(Unreadable::Storage(_)),
        ) => error,
        NotExported::Unread(wrong) => Flaw::Unsound {
            wrong: wrong.to_string(),
        }
        .into(),
        other => other,
    }
}

impl Export {
    /// How many entries the log has that it is of.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.head.size
    }

    /// How many bytes it will have, where that is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.bundle.as_ref().map(|(manifest, _)| manifest.length())
    }

    /// Writes it, for as long as whoever asked for it may have it. Whatever goes wrong is recorded, and is the last that is sent.
    ///
    /// # Errors
    /// The log cannot be read any more, it is not allowed any more, or nobody takes what is sent.
    pub async fn write(
        self,
        out: Outlet,
        progress: impl FnMut(u64, u64),
    ) -> Result<(), NotExported> {
        let mut sending = Sending::of(out.clone(), self.right.clone());
        let written = match &self.bundle {
            Some((manifest, signers)) => {
                self.write_bundle(&mut sending, (manifest, signers), progress)
                    .await
            }
            None => self.write_view(&mut sending, progress).await,
        };
        let written = match written {
            Ok(()) => sending.flush().await,
            failed => failed,
        };
        let Err(error) = written else {
            return Ok(());
        };
        let (id, why) = (self.store().id(), error.word());
        match why {
            Refusal::Cancelled => {}
            Refusal::NotPermitted => {
                tracing::warn!(tenant.id = %id, %error, "an export was broken off");
            }
            _ => tracing::error!(tenant.id = %id, %error, "an export ended early"),
        }
        if let Err(error) = self.note(Outcome::Failed(why)).await {
            tracing::error!(tenant.id = %id, %error, "the end of an export was not recorded");
        }
        // Its turn is over, however long its reader takes to hear of it; whoever is gone needs no word.
        drop((self, sending));
        drop(out.send(Err(Broken)).await);
        Err(error)
    }

    /// Records that it begins, or that it came to nothing.
    async fn note(&self, outcome: Outcome) -> Result<(), NotExported> {
        let details = json!({
            "format": self.wanted.format.name(),
            "query": self.wanted.conditions,
            "first": self.head.minimum.to_string(),
            "size": self.head.size.to_string(),
        });
        self.door
            .note(
                self.asker.clone(),
                Event::AuditLogExported,
                outcome,
                details,
            )
            .await?;
        Ok(())
    }

    fn store(&self) -> &Store {
        self.door.store()
    }

    fn walk(&self) -> Walk<'_> {
        Walk::of(self.store(), self.head.minimum, self.head.size)
    }

    /// Verifies the log, and measures what the bundle will hold.
    async fn survey(
        &self,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(Manifest, Signers), NotExported> {
        let (first, size) = (self.head.minimum, self.head.size);
        let signers = signers(self.store(), self.door.origin(), &self.head).await?;
        let extent = Extent {
            origin: self.door.origin().clone(),
            first,
            size,
            exported_at: Time::from_micros(Utc::now().timestamp_micros())?,
        };
        let mut survey = Survey::new(extent, signers.clone(), &self.head.checkpoint)?;
        for tile in bundle::tiles(size) {
            survey.tile(tile, &tile_of(self.store(), tile).await?)?;
        }
        let (mut walk, mut right) = (self.walk(), self.right.clone());
        while let Some(read) = walk.page().await? {
            if let Some(right) = &mut right {
                right.hold().await?;
            }
            let sealed: Vec<_> = read.iter().map(|(_, _, parts)| parts.clone()).collect();
            let shown = audit::show(self.store(), read).await?;
            for ((entry, shown), sealed) in shown.iter().zip(&sealed) {
                survey.entry((entry, &shown.leaf), sealed, &shown.parts)?;
            }
            progress(walk.next - first, size - first);
        }
        Ok((survey.finish()?, signers))
    }

    async fn write_bundle(
        &self,
        sending: &mut Sending,
        (manifest, signers): (&Manifest, &Signers),
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(), NotExported> {
        let (first, size) = (self.head.minimum, self.head.size);
        let mut writing = Writing::new(manifest.clone(), signers, &self.head.checkpoint)?;
        for tile in bundle::tiles(size) {
            writing.tile(tile, &tile_of(self.store(), tile).await?)?;
            if writing.waiting() >= CHUNK {
                sending.send(writing.taken()).await?;
            }
        }
        writing.begin_records()?;
        let mut walk = self.walk();
        while let Some(read) = walk.page().await? {
            for (_, leaf, _) in &read {
                writing.record(leaf);
            }
            sending.send(writing.taken()).await?;
        }
        writing.begin_parts()?;
        let mut walk = self.walk();
        while let Some(read) = walk.page().await? {
            let sealed: Vec<_> = read.iter().map(|(_, _, parts)| parts.clone()).collect();
            let shown = audit::show(self.store(), read).await?;
            for ((entry, shown), sealed) in shown.iter().zip(&sealed) {
                writing.parts(entry, sealed, &shown.parts)?;
                if writing.waiting() >= CHUNK {
                    sending.send(writing.taken()).await?;
                }
            }
            progress(walk.next - first, size - first);
        }
        sending.send(writing.finish()?).await
    }

    async fn write_view(
        &self,
        sending: &mut Sending,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(), NotExported> {
        let first = self.head.minimum;
        if self.wanted.format == Format::Csv {
            sending.send(csv_rows([view::columns()])?).await?;
        }
        let mut walk = self.walk();
        while let Some(read) = walk.page().await? {
            sending.goes_on().await?;
            let over = read
                .last()
                .is_some_and(|(entry, ..)| self.wanted.query.is_past(entry));
            let candidates: Vec<Read> = read
                .into_iter()
                .filter(|(entry, ..)| self.wanted.query.may_match(entry))
                .collect();
            for (entry, shown) in audit::show(self.store(), candidates).await? {
                if self.wanted.query.matches(&entry, &shown.parts) {
                    sending.send(self.row(&entry, &shown)?).await?;
                }
            }
            progress(walk.next - first, self.head.size - first);
            if over {
                break;
            }
        }
        Ok(())
    }

    /// One entry in the format of this view.
    fn row(&self, entry: &Entry, shown: &audit::Shown) -> Result<Vec<u8>, NotExported> {
        let line = match self.wanted.format {
            Format::Csv => return csv_rows([view::cells(entry, &shown.leaf, &shown.parts)]),
            Format::Ocsf => view::ocsf(entry, &shown.leaf, &shown.parts, self.door.origin()),
            Format::Jsonl | Format::Bundle => shown.line(),
        };
        Ok(format!("{line}\n").into_bytes())
    }
}

/// What has signed the log, up to this head.
async fn signers(store: &Store, origin: &Origin, head: &Head) -> Result<Signers, NotExported> {
    let mut log_keys = upkeep::log_keys(store.database()).await?;
    log_keys.reverse();
    let (mut keys, mut rotations) = (Vec::new(), Vec::new());
    for key in log_keys {
        let verifier = audit::verifier(store, origin, &key)?;
        if !key.checkpoint.is_empty() {
            let rotation = SignedCheckpoint::parse(key.checkpoint.as_bytes())?;
            if rotation.checkpoint().size > head.size {
                // It took over since the head was read.
                break;
            }
            rotations.push(rotation);
        }
        keys.push(verifier);
    }
    if keys.is_empty() {
        let signer = store.keys().signing();
        keys.push(VerifierKey::of(origin.clone(), signer.seed().key()));
    }
    Ok(Signers { keys, rotations })
}

/// A tile as wide as it is asked for; the stored one may have become wider.
async fn tile_of(store: &Store, tile: Tile) -> Result<Vec<u8>, Unwritten> {
    let mut bytes = tree::tile(store.database(), tile).await?;
    bytes.truncate(usize::from(tile.width) * 32);
    Ok(bytes)
}

/// The hashes of a tile of the log, or its leaves from the same places; nothing beyond the log's size, or where the entries are
/// not kept any more.
///
/// # Errors
/// The database does not answer, or a segment does not open.
pub async fn tile(store: &Store, path: &str) -> Result<Option<Vec<u8>>, Unwritten> {
    let entries = path.strip_prefix("tile/entries/");
    // An entry bundle stands at the place of its tile of level 0.
    let hashes = entries.map_or_else(|| path.to_owned(), |rest| format!("tile/0/{rest}"));
    let Some(tile) = Tile::parse(&hashes) else {
        return Ok(None);
    };
    let head = audit::head(store).await?;
    let held = head
        .size
        .checked_shr(8 * u32::from(tile.level))
        .unwrap_or_default();
    let first = tile.index.checked_mul(256);
    let Some(first) = first.filter(|first| {
        first
            .checked_add(u64::from(tile.width))
            .is_some_and(|end| end <= held)
    }) else {
        return Ok(None);
    };
    if entries.is_none() {
        return tile_of(store, tile).await.map(Some);
    }
    if first < head.minimum {
        return Ok(None);
    }
    let mut walk = Walk::of(store, first, first + u64::from(tile.width));
    let mut bundle = Vec::new();
    while let Some(read) = walk.page().await? {
        for (_, leaf, _) in read {
            let length =
                u16::try_from(leaf.len()).map_err(|_| Flaw::LeafTooLong { length: leaf.len() })?;
            bundle.extend_from_slice(&length.to_be_bytes());
            bundle.extend(leaf);
        }
    }
    Ok(Some(bundle))
}

/// The entries of a range, the oldest first, without a gap.
pub(super) struct Walk<'a> {
    store: &'a Store,
    next: u64,
    end: u64,
    begun: bool,
}

impl<'a> Walk<'a> {
    /// From one index up to another.
    pub(super) const fn of(store: &'a Store, next: u64, end: u64) -> Self {
        Self {
            store,
            next,
            end,
            begun: false,
        }
    }

    /// The entries of the next few segments; nothing at the end.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<Read>>, Unwritten> {
        if self.next >= self.end {
            return Ok(None);
        }
        let database = self.store.database();
        let segments = if std::mem::replace(&mut self.begun, true) {
            let most = (PAGE, SEGMENTS);
            let fitting = append::segments_within(database, self.next, most).await?;
            append::segments_from(database, self.next, fitting).await?
        } else {
            // The first entry may stand within a segment.
            Vec::from_iter(append::segment_of(database, self.next).await?)
        };
        let mut read = Vec::new();
        let corrupt = || Unwritten::Corrupt { what: "segment" };
        for segment in segments {
            if self.next >= self.end {
                break;
            }
            if segment.first > self.next || segment.first + segment.entries <= self.next {
                return Err(corrupt());
            }
            let (from, end) = (self.next, self.end);
            let wanted = |index| (from..end).contains(&index);
            let opened = audit::open_known(self.store, &segment, wanted).await?;
            drop(segment);
            for stored in opened {
                self.next = stored.0 + 1;
                read.push(audit::parsed(stored)?);
            }
        }
        if read.is_empty() {
            return Err(corrupt());
        }
        Ok(Some(read))
    }
}

/// Rows of a table.
fn csv_rows<R>(rows: impl IntoIterator<Item = R>) -> Result<Vec<u8>, NotExported>
where
    R: IntoIterator<Item = String>,
{
    let unwritten = || NotExported::Unread(Unwritten::Corrupt { what: "table" });
    let mut table = csv::WriterBuilder::new()
        .quote_style(csv::QuoteStyle::Always)
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        table.write_record(row).map_err(|_| unwritten())?;
    }
    table.into_inner().map_err(|_| unwritten())
}
