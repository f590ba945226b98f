//! The log's rows: the head and its lock, and segments; read and written inside the appender's transaction.

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Row as _, Transaction};

use super::flaw::Flaw;
use super::merkle::Frontier;
use crate::storage::{Database, StorageError};

/// Why the log's rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What it holds.
    #[error(transparent)]
    Flaw(#[from] Flaw),
    /// A row that should be there is not.
    #[error("the log's {what} is missing or is not what it should be")]
    Missing {
        /// Which.
        what: &'static str,
    },
}

/// The end of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// How many entries there are.
    pub size: u64,
    /// The tree's right edge.
    pub frontier: Vec<u8>,
    /// The index of the last change.
    pub last_change: u64,
    /// The time of the last entry, in microseconds since 1970.
    pub last_time: i64,
    /// The last signed checkpoint; empty before the first entry.
    pub checkpoint: String,
    /// The least index that is kept, a multiple of 256.
    pub minimum: u64,
    /// Which version of the log's key signs.
    pub signing_version: u32,
    /// The life of the log that it is of.
    pub incarnation: String,
    /// Counts the changes of the tenant's keys: those in memory are in force if they were read at this count.
    pub keys_version: u64,
}

impl Head {
    /// The frontier as the tree has it.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn frontier(&self) -> Result<Frontier, Unreadable> {
        if self.size == 0 {
            return Ok(Frontier::new());
        }
        let frontier = Frontier::from_bytes(&self.frontier)?;
        if frontier.size() == self.size {
            Ok(frontier)
        } else {
            Err(Unreadable::Missing { what: "frontier" })
        }
    }
}

/// A batch ready to be written.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The index of its first entry.
    pub first: u64,
    /// How many entries.
    pub entries: u64,
    /// Framed leaves, sealed.
    pub leaves: Vec<u8>,
    /// Framed parts, each sealed.
    pub parts: Vec<u8>,
    /// The leaf hashes.
    pub hashes: Vec<u8>,
}

const HEAD: &str = "SELECT size, frontier, last_change, last_time, checkpoint, minimum, signing_version, incarnation, keys_version FROM head WHERE one = 1";
const MINIMUM: &str = "SELECT minimum FROM head WHERE one = 1";
const MOVE_HEAD: &str = "UPDATE head SET size = $1, frontier = $2, last_change = $3, last_time = $4, checkpoint = $5, \
     minimum = $6, signing_version = $7, incarnation = $8, keys_version = $9 WHERE one = 1";
const ADD_SEGMENT: &str =
    "INSERT INTO segment (first_index, entries, leaves, parts, hashes) VALUES ($1, $2, $3, $4, $5)";
const SEGMENT_OF: &str = "SELECT first_index, entries, leaves, parts, hashes FROM segment \
     WHERE first_index <= $1 ORDER BY first_index DESC LIMIT 1";
const SEGMENTS_FROM: &str = "SELECT first_index, entries, leaves, parts, hashes FROM segment \
     WHERE first_index >= $1 ORDER BY first_index LIMIT $2";
const START_OF: &str = "SELECT first_index, entries, SUBSTR(leaves, 1, CAST($2 AS INTEGER)) AS leaves, \
     SUBSTR(parts, 1, CAST($3 AS INTEGER)) AS parts FROM segment WHERE first_index <= $1 ORDER BY first_index DESC LIMIT 1";
const SLICES: &str = "SELECT SUBSTR(leaves, CAST($2 AS INTEGER), CAST($3 AS INTEGER)) AS leaves, \
     SUBSTR(parts, CAST($4 AS INTEGER), CAST($5 AS INTEGER)) AS parts FROM segment WHERE first_index = $1 LIMIT 1";
const SIZES_FROM: &str = "SELECT LENGTH(leaves) + LENGTH(parts) AS bytes FROM segment \
     WHERE first_index >= $1 ORDER BY first_index LIMIT $2";
const SEGMENTS_BEFORE: &str = "SELECT first_index, entries, leaves, parts, hashes FROM segment \
     WHERE first_index < $1 ORDER BY first_index DESC LIMIT $2";
const LEAVES_BEFORE: &str = "SELECT first_index, entries, leaves FROM segment \
     WHERE first_index < $1 ORDER BY first_index DESC LIMIT $2";

pub(super) fn number(row: &AnyRow, column: &'static str) -> Result<u64, Unreadable> {
    let value: i64 = row
        .try_get(column)
        .map_err(|_| Unreadable::Missing { what: column })?;
    u64::try_from(value).map_err(|_| Unreadable::Missing { what: column })
}

pub(super) fn bytes(row: &AnyRow, column: &'static str) -> Result<Vec<u8>, Unreadable> {
    row.try_get(column)
        .map_err(|_| Unreadable::Missing { what: column })
}

/// An index as the database has it.
///
/// # Errors
/// Beyond what a BIGINT holds.
pub fn column(value: u64) -> Result<i64, Unreadable> {
    i64::try_from(value).map_err(|_| Unreadable::Missing { what: "index" })
}

fn head(row: &AnyRow) -> Result<Head, Unreadable> {
    Ok(Head {
        size: number(row, "size")?,
        frontier: bytes(row, "frontier")?,
        last_change: number(row, "last_change")?,
        last_time: row
            .try_get("last_time")
            .map_err(|_| Unreadable::Missing { what: "last_time" })?,
        checkpoint: row
            .try_get("checkpoint")
            .map_err(|_| Unreadable::Missing { what: "checkpoint" })?,
        minimum: number(row, "minimum")?,
        signing_version: u32::try_from(number(row, "signing_version")?).map_err(|_| {
            Unreadable::Missing {
                what: "signing_version",
            }
        })?,
        incarnation: row
            .try_get("incarnation")
            .map_err(|_| Unreadable::Missing {
                what: "incarnation",
            })?,
        keys_version: number(row, "keys_version")?,
    })
}

/// Locks the head's row and reads it: whoever holds it decides what comes next.
///
/// # Errors
/// The database does not answer, or somebody else holds it for too long.
pub async fn lock(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
) -> Result<Head, Unreadable> {
    let row = sqlx::query(database.dialect().head_lock())
        .fetch_optional(&mut **transaction)
        .await
        .map_err(|cause| database.error(cause))?;
    head(&row.ok_or(Unreadable::Missing { what: "head" })?)
}

/// Reads the head as it is committed.
///
/// # Errors
/// The database does not answer.
pub async fn read_head(
    database: &Database,
    connection: &mut AnyConnection,
) -> Result<Head, Unreadable> {
    let row = sqlx::query(HEAD)
        .fetch_optional(connection)
        .await
        .map_err(|cause| database.error(cause))?;
    head(&row.ok_or(Unreadable::Missing { what: "head" })?)
}

/// The least index that is kept, as it is committed.
///
/// # Errors
/// The database does not answer.
pub async fn minimum(database: &Database) -> Result<u64, Unreadable> {
    let row = sqlx::query(MINIMUM)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    number(&row.ok_or(Unreadable::Missing { what: "head" })?, "minimum")
}

/// Writes a batch but for its tiles and moves the head.
///
/// # Errors
/// The database does not take it.
pub async fn write(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    segment: &Segment,
    head: &Head,
) -> Result<(), Unreadable> {
    let error = |cause| database.error(cause);
    sqlx::query(ADD_SEGMENT)
        .bind(column(segment.first)?)
        .bind(column(segment.entries)?)
        .bind(segment.leaves.as_slice())
        .bind(segment.parts.as_slice())
        .bind(segment.hashes.as_slice())
        .execute(&mut **transaction)
        .await
        .map_err(error)?;
    sqlx::query(MOVE_HEAD)
        .bind(column(head.size)?)
        .bind(head.frontier.as_slice())
        .bind(column(head.last_change)?)
        .bind(head.last_time)
        .bind(head.checkpoint.as_str())
        .bind(column(head.minimum)?)
        .bind(i64::from(head.signing_version))
        .bind(head.incarnation.as_str())
        .bind(column(head.keys_version)?)
        .execute(&mut **transaction)
        .await
        .map_err(error)?;
    Ok(())
}

/// Writes a batch but for its tiles and moves the head from `before`, all in one statement; `false`, and nothing is written, where the log
/// does not end with `before` any more. Beside the batch only frontier, time and checkpoint of the head change.
///
/// # Errors
/// The database does not take it.
pub async fn advance(
    database: &Database,
    connection: &mut AnyConnection,
    segment: &Segment,
    (before, head): (&Head, &Head),
) -> Result<bool, Unreadable> {
    let advanced = sqlx::query(database.dialect().advance())
        .bind(column(segment.first)?)
        .bind(column(segment.entries)?)
        .bind(segment.leaves.as_slice())
        .bind(segment.parts.as_slice())
        .bind(segment.hashes.as_slice())
        .bind(head.frontier.as_slice())
        .bind(head.last_time)
        .bind(head.checkpoint.as_str())
        .bind(column(before.size)?)
        .bind(before.frontier.as_slice())
        .bind(column(before.last_change)?)
        .bind(before.last_time)
        .bind(before.checkpoint.as_str())
        .bind(column(before.minimum)?)
        .bind(i64::from(before.signing_version))
        .bind(before.incarnation.as_str())
        .bind(column(before.keys_version)?)
        .execute(connection)
        .await;
    if database.dialect().is_elsewhere(&advanced) {
        return Ok(false);
    }
    advanced.map_err(|cause| database.error(cause))?;
    Ok(true)
}

fn segment(row: &AnyRow) -> Result<Segment, Unreadable> {
    Ok(Segment {
        first: number(row, "first_index")?,
        entries: number(row, "entries")?,
        leaves: bytes(row, "leaves")?,
        parts: bytes(row, "parts")?,
        hashes: bytes(row, "hashes")?,
    })
}

/// The segment that holds an index.
///
/// # Errors
/// The database does not answer.
pub async fn segment_of(database: &Database, index: u64) -> Result<Option<Segment>, Unreadable> {
    let row = sqlx::query(SEGMENT_OF)
        .bind(column(index)?)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    row.as_ref().map(segment).transpose()
}

/// The beginning of a segment's blobs.
#[derive(Debug, Clone)]
pub struct Start {
    /// The index of its first entry.
    pub first: u64,
    /// How many entries.
    pub entries: u64,
    /// So many bytes of its sealed leaves.
    pub leaves: Vec<u8>,
    /// So many of its framed parts.
    pub parts: Vec<u8>,
}

/// The beginning of the segment that holds an index: so many bytes of its leaves, and of its parts.
///
/// # Errors
/// The database does not answer.
pub async fn start_of(
    database: &Database,
    index: u64,
    (leaves, parts): (u64, u64),
) -> Result<Option<Start>, Unreadable> {
    let row = sqlx::query(START_OF)
        .bind(column(index)?)
        .bind(column(leaves)?)
        .bind(column(parts)?)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    let start = |row: &AnyRow| {
        Ok(Start {
            first: number(row, "first_index")?,
            entries: number(row, "entries")?,
            leaves: bytes(row, "leaves")?,
            parts: bytes(row, "parts")?,
        })
    };
    row.as_ref().map(start).transpose()
}

/// Slices of the leaves and the parts of the segment that begins at an index, each from so many bytes on and so long; fewer bytes where
/// there are no more.
///
/// # Errors
/// The database does not answer.
pub async fn slices(
    database: &Database,
    first: u64,
    [leaves, parts]: [(u64, u64); 2],
) -> Result<Option<[Vec<u8>; 2]>, Unreadable> {
    let row = sqlx::query(SLICES)
        .bind(column(first)?)
        .bind(column(leaves.0.saturating_add(1))?)
        .bind(column(leaves.1)?)
        .bind(column(parts.0.saturating_add(1))?)
        .bind(column(parts.1)?)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    row.map(|row| Ok([bytes(&row, "leaves")?, bytes(&row, "parts")?]))
        .transpose()
}

/// Up to `limit` segments that begin at an index or after it.
///
/// # Errors
/// The database does not answer.
pub async fn segments_from(
    database: &Database,
    first: u64,
    limit: i64,
) -> Result<Vec<Segment>, Unreadable> {
    let rows = sqlx::query(SEGMENTS_FROM)
        .bind(column(first)?)
        .bind(limit)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    rows.iter().map(segment).collect()
}

/// How many of the segments that begin at an index or after it come to so many bytes, `limit` at most: one at least, if there
/// is any.
///
/// # Errors
/// The database does not answer.
pub async fn segments_within(
    database: &Database,
    first: u64,
    (bytes, limit): (u64, i64),
) -> Result<i64, Unreadable> {
    let rows = sqlx::query(SIZES_FROM)
        .bind(column(first)?)
        .bind(limit)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    let (mut fitting, mut sum) = (0, 0_u64);
    for row in &rows {
        sum = sum.saturating_add(number(row, "bytes")?);
        if sum > bytes && fitting > 0 {
            break;
        }
        fitting += 1;
    }
    Ok(fitting)
}

/// Up to `limit` segments that begin before an index, the newest first.
///
/// # Errors
/// The database does not answer.
pub async fn segments_before(
    database: &Database,
    index: u64,
    limit: i64,
) -> Result<Vec<Segment>, Unreadable> {
    let rows = sqlx::query(SEGMENTS_BEFORE)
        .bind(column(index)?)
        .bind(limit)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    rows.iter().map(segment).collect()
}

/// The leaves alone of up to `limit` segments that begin before an index, the newest first: each with the index of its first entry, and how
/// many there are.
///
/// # Errors
/// The database does not answer.
pub async fn leaves_before(
    database: &Database,
    index: u64,
    limit: i64,
) -> Result<Vec<(u64, u64, Vec<u8>)>, Unreadable> {
    let rows = sqlx::query(LEAVES_BEFORE)
        .bind(column(index)?)
        .bind(limit)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    let leaves = rows.iter().map(|row| {
        let (first, entries) = (number(row, "first_index")?, number(row, "entries")?);
        Ok((first, entries, bytes(row, "leaves")?))
    });
    leaves.collect()
}
