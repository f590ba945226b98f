//! The rows beside the log: its public keys, people whose parts are to go, entries that are not kept any more, and the search
//! index.

use sqlx::{Any, Row as _, Transaction};

use super::append::{Segment, Unreadable, bytes, column, number};
use super::search::BLOCK;
use crate::storage::Database;

const ADD_KEY: &str = "INSERT INTO log_key (version, public, checkpoint) VALUES ($1, $2, $3) ON CONFLICT (version) DO NOTHING";
const KEYS: &str =
    "SELECT version, public, checkpoint FROM log_key ORDER BY version DESC LIMIT 10000";
const ADD_ERASURE: &str = "INSERT INTO erasure (subject, requested_at, reached) VALUES ($1, $2, 0) ON CONFLICT (subject) DO NOTHING";

const FILTERS: &str = "SELECT block, filter FROM search_block WHERE block <= $1 AND block >= $2 ORDER BY block DESC LIMIT $3";
const PLACES: &str = "SELECT pairs FROM search_block WHERE block = $1 LIMIT 1";
const INDEXED: &str =
    "SELECT COUNT(*) AS blocks FROM search_block WHERE block >= $1 AND block < $2";
/// Nothing before the first is looked at: there may be a million blocks.
const FIRST_MISSING: &str = "SELECT MIN(candidate.block) AS block FROM \
     (SELECT $1 AS block UNION SELECT block + 1 AS block FROM search_block WHERE block >= $2) AS candidate \
     WHERE candidate.block NOT IN (SELECT block FROM search_block WHERE block >= $3)";
const ADD_BLOCK: &str = "INSERT INTO search_block (block, filter, pairs) VALUES ($1, $2, $3) ON CONFLICT (block) DO NOTHING";
const DROP_BLOCKS: &str = "DELETE FROM search_block WHERE block >= $1 AND block <= $2";

/// The filters of up to `limit` blocks from `newest` back to `oldest`, the newest first; blocks that are not indexed are left out.
///
/// # Errors
/// The database does not answer.
pub async fn filters(
    database: &Database,
    (newest, oldest): (u64, u64),
    limit: i64,
) -> Result<Vec<(u64, Vec<u8>)>, Unreadable> {
    let rows = sqlx::query(FILTERS)
        .bind(column(newest)?)
        .bind(column(oldest)?)
        .bind(limit)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    rows.iter()
        .map(|row| Ok((number(row, "block")?, bytes(row, "filter")?)))
        .collect()
}

/// The places of a block; nothing where it is not indexed.
///
/// # Errors
/// The database does not answer.
pub async fn places(database: &Database, block: u64) -> Result<Option<Vec<u8>>, Unreadable> {
    let row = sqlx::query(PLACES)
        .bind(column(block)?)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    row.map(|row| bytes(&row, "pairs")).transpose()
}

/// The first block from `first` on and before `end` that is not indexed, and how many are not.
///
/// # Errors
/// The database does not answer.
pub async fn missing_block(
    database: &Database,
    first: u64,
    end: u64,
) -> Result<Option<(u64, u64)>, Unreadable> {
    let error = |cause| database.error(cause);
    let row = sqlx::query(INDEXED)
        .bind(column(first)?)
        .bind(column(end)?)
        .fetch_one(database.pool())
        .await
        .map_err(error)?;
    let missing = end
        .saturating_sub(first)
        .saturating_sub(number(&row, "blocks")?);
    if missing == 0 {
        return Ok(None);
    }
    let row = sqlx::query(FIRST_MISSING)
        .bind(column(first)?)
        .bind(column(first)?)
        .bind(column(first)?)
        .fetch_one(database.pool())
        .await
        .map_err(error)?;
    Ok(Some((number(&row, "block")?, missing)))
}

/// Indexes a block; one that is indexed stays as it is.
///
/// # Errors
/// The database does not take it.
pub async fn add_block(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    block: u64,
    (filter, places): (&[u8], &[u8]),
) -> Result<(), Unreadable> {
    sqlx::query(ADD_BLOCK)
        .bind(column(block)?)
        .bind(filter)
        .bind(places)
        .execute(&mut **transaction)
        .await
        .map_err(|cause| database.error(cause))?;
    Ok(())
}

/// Takes blocks out of the index, the first and the last included.
///
/// # Errors
/// The database does not take it.
pub async fn drop_blocks(database: &Database, first: u64, last: u64) -> Result<(), Unreadable> {
    sqlx::query(DROP_BLOCKS)
        .bind(column(first)?)
        .bind(column(last)?)
        .execute(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    Ok(())
}

const ERASURES: &str =
    "SELECT subject, reached FROM erasure ORDER BY requested_at, subject LIMIT 100";
const REACHED: &str = "UPDATE erasure SET reached = $1 WHERE subject = $2 AND reached < $3";
const END_ERASURE: &str = "DELETE FROM erasure WHERE subject = $1";
const REPLACE_PARTS: &str = "UPDATE segment SET parts = $1 WHERE first_index = $2 AND parts = $3";
const BELOW: &str = "SELECT first_index FROM segment WHERE first_index < $1 AND first_index + entries <= $2 \
     ORDER BY first_index LIMIT 1";
const DROP_SEGMENTS: &str = "DELETE FROM segment WHERE first_index IN (SELECT first_index FROM segment \
     WHERE first_index < $1 AND first_index + entries <= $2 ORDER BY first_index LIMIT $3)";
const DROP_STATE: &str = "DELETE FROM state WHERE to_index <= $1";

/// Somebody whose parts are to be written out of the segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Who.
    pub subject: String,
    /// Segments before this index are done.
    pub reached: u64,
}

/// Those that are under way, the oldest first.
///
/// # Errors
/// The database does not answer.
pub async fn erasures(database: &Database) -> Result<Vec<Erasure>, Unreadable> {
    let rows = sqlx::query(ERASURES)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    let read = rows.iter().map(|row| {
        Ok(Erasure {
            subject: row
                .try_get("subject")
                .map_err(|_| Unreadable::Missing { what: "subject" })?,
            reached: number(row, "reached")?,
        })
    });
    read.collect()
}

/// Segments before this index are done.
///
/// # Errors
/// The database does not take it.
pub async fn reached(database: &Database, subject: &str, index: u64) -> Result<(), Unreadable> {
    sqlx::query(REACHED)
        .bind(column(index)?)
        .bind(subject)
        .bind(column(index)?)
        .execute(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    Ok(())
}

/// An erasure is done: within the transaction that says so.
///
/// # Errors
/// The database does not take it.
pub async fn end_erasure(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    subject: &str,
) -> Result<(), Unreadable> {
    sqlx::query(END_ERASURE)
        .bind(subject)
        .execute(&mut **transaction)
        .await
        .map_err(|cause| database.error(cause))?;
    Ok(())
}

/// Writes other parts into a segment, whose blocks leave the search index; whether it was still as it had been read.
///
/// # Errors
/// The database does not take it.
pub async fn replace_parts(
    database: &Database,
    segment: &Segment,
    parts: &[u8],
) -> Result<bool, Unreadable> {
    let error = |cause| database.error(cause);
    let mut connection = database.connect().await?;
    let mut transaction = database.begin(&mut connection).await?;
    let done = sqlx::query(REPLACE_PARTS)
        .bind(parts)
        .bind(column(segment.first)?)
        .bind(segment.parts.as_slice())
        .execute(&mut *transaction)
        .await
        .map_err(error)?;
    let last = segment.first + segment.entries.saturating_sub(1);
    sqlx::query(DROP_BLOCKS)
        .bind(column(segment.first / BLOCK)?)
        .bind(column(last / BLOCK)?)
        .execute(&mut *transaction)
        .await
        .map_err(error)?;
    transaction.commit().await.map_err(error)?;
    Ok(done.rows_affected() == 1)
}

/// Whether there are segments that end below this index.
///
/// # Errors
/// The database does not answer.
pub async fn holds_below(database: &Database, minimum: u64) -> Result<bool, Unreadable> {
    let row = sqlx::query(BELOW)
        .bind(column(minimum)?)
        .bind(column(minimum)?)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    Ok(row.is_some())
}

/// Takes up to `limit` segments away that end below the least index that is kept, and then the state that ended below it and its
/// search index; how many segments.
///
/// # Errors
/// The database does not take it.
pub async fn drop_below(database: &Database, minimum: u64, limit: i64) -> Result<u64, Unreadable> {
    let error = |cause| database.error(cause);
    let done = sqlx::query(DROP_SEGMENTS)
        .bind(column(minimum)?)
        .bind(column(minimum)?)
        .bind(limit)
        .execute(database.pool())
        .await
        .map_err(error)?;
    if done.rows_affected() > 0 {
        sqlx::query(DROP_STATE)
            .bind(column(minimum)?)
            .execute(database.pool())
            .await
            .map_err(error)?;
        if let Some(last) = (minimum / BLOCK).checked_sub(1) {
            drop_blocks(database, 0, last).await?;
        }
    }
    Ok(done.rows_affected())
}

/// A public key of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    /// Which version, counted from 1.
    pub version: u32,
    /// Its 32 bytes (Ed25519).
    pub public: [u8; 32],
    /// The checkpoint by which it took over: signed by the one before and by it. Empty for the first.
    pub checkpoint: String,
}

/// Writes a public key of the log; one that is there stays as it is.
///
/// # Errors
/// The database does not take it.
pub async fn write_key(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    key: &LogKey,
) -> Result<(), Unreadable> {
    sqlx::query(ADD_KEY)
        .bind(i64::from(key.version))
        .bind(key.public.as_slice())
        .bind(key.checkpoint.as_str())
        .execute(&mut **transaction)
        .await
        .map_err(|cause| database.error(cause))?;
    Ok(())
}

/// The public keys of the log, the newest first; none before the first rotation.
///
/// # Errors
/// The database does not answer.
pub async fn log_keys(database: &Database) -> Result<Vec<LogKey>, Unreadable> {
    let rows = sqlx::query(KEYS)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    let wrong = |_| Unreadable::Missing { what: "key" };
    let read = rows.iter().map(|row| {
        Ok(LogKey {
            version: u32::try_from(number(row, "version")?)
                .map_err(|_| Unreadable::Missing { what: "version" })?,
            public: bytes(row, "public")?.try_into().map_err(wrong)?,
            checkpoint: row
                .try_get("checkpoint")
                .map_err(|_| Unreadable::Missing { what: "checkpoint" })?,
        })
    });
    read.collect()
}

/// Notes that what segments hold about this person is to be written out of them.
///
/// # Errors
/// The database does not take it.
pub async fn begin_erasure(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    subject: &str,
    now: i64,
) -> Result<(), Unreadable> {
    sqlx::query(ADD_ERASURE)
        .bind(subject)
        .bind(now)
        .execute(&mut **transaction)
        .await
        .map_err(|cause| database.error(cause))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::plan;

    #[tokio::test]
    async fn what_is_indexed_already_is_not_looked_at() {
        for statement in [INDEXED, FIRST_MISSING] {
            let plan = plan(statement).await;
            assert!(!plan.contains("SCAN search_block"), "{plan}");
            assert!(plan.contains("SEARCH search_block"), "{plan}");
        }
    }
}
