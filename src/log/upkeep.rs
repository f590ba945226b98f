//! The rows beside the log: its public keys, people whose parts are to go, entries that are not kept any more, and the search
//! index.

use sqlx::{Any, Row as _, Transaction};

use super::append::{Unreadable, bytes, column, number};
use crate::storage::Database;

const ADD_KEY: &str = "INSERT INTO log_key (version, public, checkpoint) VALUES ($1, $2, $3) ON CONFLICT (version) DO NOTHING";
const KEYS: &str =
    "SELECT version, public, checkpoint FROM log_key ORDER BY version DESC LIMIT 10000";
const ADD_ERASURE: &str = "INSERT INTO erasure (subject, requested_at, reached) VALUES ($1, $2, 0) ON CONFLICT (subject) DO NOTHING";

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
