//! A few entries out of a segment, without the rest of it where the database can cut a slice out: the chunks that hold them are read and
//! opened, and no more.

use super::audit::{self, Stored};
use super::error::Unwritten;
use super::rows;
use crate::crypto::cobblestone::{CHUNK, Chunk, Opener, SEALED_CHUNK, chunk_of, chunk_offset};
use crate::crypto::sealing::PREFIX;
use crate::log::append::{self, Start};
use crate::log::segment::{Places, parts_of_entry};
use crate::tenant::Store;

/// Out of a segment of fewer entries for each that is wanted it is quicker to read the whole.
const WORTH: u64 = 64;

/// The most entries whose table lies in the first chunk of leaves.
const ENTRIES: u64 = (CHUNK as u64 - 16) / 4;

/// Of these indexes, which ascend, the entries that lie in the segment of the last, and where that begins.
///
/// # Errors
/// The database does not answer, or what it holds does not open.
pub(super) async fn pick(store: &Store, wanted: &[u64]) -> Result<(u64, Vec<Stored>), Unwritten> {
    let corrupt = || Unwritten::Corrupt { what: "segment" };
    let (database, newest) = (
        store.database(),
        wanted.last().copied().ok_or_else(corrupt)?,
    );
    if !database.dialect().reads_slices() {
        return whole(store, wanted, newest).await;
    }
    let header = PREFIX as u64 + chunk_offset(1);
    let start = append::start_of(database, newest, (header, Places::needs(ENTRIES))).await?;
    let start = start.ok_or_else(corrupt)?;
    let end = start.first.checked_add(start.entries).ok_or_else(corrupt)?;
    if end <= newest {
        return Err(corrupt());
    }
    let here = wanted.partition_point(|index| *index < start.first);
    let here = wanted.get(here..).unwrap_or_default();
    let few = u64::try_from(here.len()).is_ok_and(|count| count * WORTH <= start.entries);
    if !few || start.entries > ENTRIES {
        return whole(store, wanted, newest).await;
    }
    let segment = match Opened::of(store, &start) {
        Err(error) if error.is_of_unknown_key() => {
            store.reload_keys().await?;
            Opened::of(store, &start)?
        }
        opened => opened?,
    };
    let mut picked = Vec::with_capacity(here.len());
    for index in here {
        picked.push(segment.entry(store, *index).await?);
    }
    Ok((start.first, picked))
}

/// The same out of the whole segment.
async fn whole(
    store: &Store,
    wanted: &[u64],
    newest: u64,
) -> Result<(u64, Vec<Stored>), Unwritten> {
    let corrupt = || Unwritten::Corrupt { what: "segment" };
    let segment = append::segment_of(store.database(), newest).await?;
    let segment = segment.ok_or_else(corrupt)?;
    if segment.first + segment.entries <= newest {
        return Err(corrupt());
    }
    let all = audit::open_known(store, &segment, |index| {
        wanted.binary_search(&index).is_ok()
    })
    .await?;
    Ok((segment.first, all))
}

/// A segment whose tables are known.
struct Opened {
    first: u64,
    opener: Opener,
    leaves: Places,
    parts: Places,
    /// The first chunk of the leaves, and whether there is no other.
    chunk: Vec<u8>,
    is_whole: bool,
}

impl Opened {
    fn of(store: &Store, start: &Start) -> Result<Self, Unwritten> {
        let corrupt = || Unwritten::Corrupt { what: "segment" };
        let opener = rows::leaves_opener(store, start.first, &start.leaves)?;
        let begins = PREFIX as u64 + chunk_offset(0);
        let begins = usize::try_from(begins).map_err(|_| corrupt())?;
        let sealed = start.leaves.get(begins..).ok_or_else(corrupt)?;
        let mut chunk = Vec::with_capacity(CHUNK);
        let is_whole = opener.open_chunk(0, sealed, &mut chunk)? == Chunk::Last;
        let leaves = Places::of_leaves(&chunk)?;
        let parts = Places::of_parts(&start.parts)?;
        let whole = [&leaves, &parts].iter().all(|places| {
            places.first() == start.first && u64::try_from(places.count()) == Ok(start.entries)
        });
        if !whole {
            return Err(corrupt());
        }
        Ok(Self {
            first: start.first,
            opener,
            leaves,
            parts,
            chunk,
            is_whole,
        })
    }

    async fn entry(&self, store: &Store, index: u64) -> Result<Stored, Unwritten> {
        let corrupt = || Unwritten::Corrupt { what: "segment" };
        let (begins, ends) = self.leaves.of_entry(index).ok_or_else(corrupt)?;
        let (parts_begin, parts_end) = self.parts.of_entry(index).ok_or_else(corrupt)?;
        let ((from, _), (to, _)) = (chunk_of(begins), chunk_of(ends.saturating_sub(1)));
        let sealed = (to - from + 1) * SEALED_CHUNK as u64;
        let leaves = (PREFIX as u64 + chunk_offset(from), sealed);
        let parts = (parts_begin, parts_end - parts_begin);
        let slices = append::slices(store.database(), self.first, [leaves, parts]).await?;
        let [sealed, parts] = slices.ok_or_else(corrupt)?;
        let mut text = Vec::new();
        for (number, chunk) in (from..=to).zip(sealed.chunks(SEALED_CHUNK)) {
            match number {
                0 => text.extend_from_slice(&self.chunk),
                number => {
                    let chunk = self.opener.open_chunk(number, chunk, &mut text)?;
                    if self.is_whole || (chunk == Chunk::Last && number < to) {
                        return Err(corrupt());
                    }
                }
            }
        }
        let at = |place: u64| usize::try_from(place - from * CHUNK as u64).ok();
        let leaf = at(begins).zip(at(ends));
        let leaf = leaf.and_then(|(begins, ends)| text.get(begins..ends));
        let parts =
            Some(parts).filter(|parts| u64::try_from(parts.len()) == Ok(parts_end - parts_begin));
        match (leaf, parts) {
            (Some(leaf), Some(parts)) => Ok((index, leaf.to_vec(), parts_of_entry(&parts)?)),
            _ => Err(corrupt()),
        }
    }
}
