//! The rows of anchors, and of the last checkpoint that was published.

use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use super::append::{Unreadable, bytes, column, number};
use crate::storage::Database;

const NEWEST: &str = "SELECT size, salt, entry FROM anchor ORDER BY size DESC LIMIT 1";
const AT_LEAST: &str = "SELECT size, salt, entry FROM anchor \
     WHERE size >= $1 AND entry IS NOT NULL ORDER BY size LIMIT 1";
const BEFORE: &str = "SELECT size, salt, entry FROM anchor \
     WHERE size < $1 AND entry IS NOT NULL ORDER BY size DESC LIMIT 1";
const BEGIN: &str =
    "INSERT INTO anchor (size, salt, entry) VALUES ($1, $2, NULL) ON CONFLICT (size) DO NOTHING";
const END: &str = "UPDATE anchor SET entry = $1 WHERE size = $2 AND entry IS NULL";
const DROP: &str = "DELETE FROM anchor WHERE size = $1 AND entry IS NULL";
const PUBLISHED: &str = "SELECT note FROM published WHERE one = 1";
const PUBLISH: &str = "INSERT INTO published (one, size, note) VALUES (1, $1, $2) \
     ON CONFLICT (one) DO UPDATE SET size = excluded.size, note = excluded.note \
     WHERE published.size <= excluded.size OR published.size > $3";

/// A size of a log, and where the deployment's log has a commitment to its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The size.
    pub size: u64,
    /// The salt, sealed.
    pub salt: Vec<u8>,
    /// The index of the entry; nothing until it is written.
    pub entry: Option<u64>,
}

fn row(row: &AnyRow) -> Result<Row, Unreadable> {
    let missing = |_| Unreadable::Missing { what: "anchor" };
    let entry: Option<i64> = row.try_get("entry").map_err(missing)?;
    Ok(Row {
        size: number(row, "size")?,
        salt: bytes(row, "salt")?,
        entry: entry
            .map(|entry| u64::try_from(entry).map_err(|_| Unreadable::Missing { what: "anchor" }))
            .transpose()?,
    })
}

/// The one of the largest size, written or not.
///
/// # Errors
/// The database does not answer.
pub async fn newest(database: &Database) -> Result<Option<Row>, Unreadable> {
    let found = sqlx::query(NEWEST)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    found.as_ref().map(row).transpose()
}

/// The first that is written and covers so many entries; without a size the newest that is written.
///
/// # Errors
/// The database does not answer.
pub async fn covering(database: &Database, size: Option<u64>) -> Result<Option<Row>, Unreadable> {
    let Some(size) = size else {
        return before(database, u64::MAX >> 1).await;
    };
    let found = sqlx::query(AT_LEAST)
        .bind(column(size)?)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    found.as_ref().map(row).transpose()
}

/// The newest that is written of a smaller size.
///
/// # Errors
/// The database does not answer.
pub async fn before(database: &Database, size: u64) -> Result<Option<Row>, Unreadable> {
    let found = sqlx::query(BEFORE)
        .bind(column(size)?)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    found.as_ref().map(row).transpose()
}

/// Notes a size and its salt, ahead of the entry; one that is there stays as it is.
///
/// # Errors
/// The database does not take it.
pub async fn begin(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    size: u64,
    salt: &[u8],
) -> Result<(), Unreadable> {
    sqlx::query(BEGIN)
        .bind(column(size)?)
        .bind(salt)
        .execute(&mut **transaction)
        .await
        .map(|_| ())
        .map_err(|cause| database.error(cause).into())
}

/// Notes where the entry is.
///
/// # Errors
/// The database does not take it.
pub async fn end(database: &Database, size: u64, entry: u64) -> Result<(), Unreadable> {
    sqlx::query(END)
        .bind(column(entry)?)
        .bind(column(size)?)
        .execute(database.pool())
        .await
        .map(|_| ())
        .map_err(|cause| database.error(cause).into())
}

/// Forgets one that was begun for what a restore has lost.
///
/// # Errors
/// The database does not take it.
pub async fn forget(database: &Database, size: u64) -> Result<(), Unreadable> {
    sqlx::query(DROP)
        .bind(column(size)?)
        .execute(database.pool())
        .await
        .map(|_| ())
        .map_err(|cause| database.error(cause).into())
}

/// The last checkpoint that was published, with its witnesses' signatures.
///
/// # Errors
/// The database does not answer.
pub async fn published(database: &Database) -> Result<Option<String>, Unreadable> {
    let found = sqlx::query(PUBLISHED)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    let note = |row: &AnyRow| {
        row.try_get("note")
            .map_err(|_| Unreadable::Missing { what: "checkpoint" })
    };
    found.as_ref().map(note).transpose()
}

/// Notes the checkpoint that goes out; false where another node was further already, which it cannot have been beyond `size_now`.
///
/// # Errors
/// The database does not take it.
pub async fn publish(
    database: &Database,
    (size, note): (u64, &str),
    size_now: u64,
) -> Result<bool, Unreadable> {
    let done = sqlx::query(PUBLISH)
        .bind(column(size)?)
        .bind(note)
        .bind(column(size_now)?)
        .execute(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    Ok(done.rows_affected() == 1)
}
