//! What a tenant's database keeps beside the log: sign-ins that are under way, what is used up, and when credentials were last used.
//!
//! None of it is decided on by a policy, and none of it is in the state that an index names.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use data_encoding::HEXLOWER;
use sqlx::{Any, Row as _, Transaction};

use super::error::Unwritten;
use crate::directory::Ref;
use crate::tenant::Store;

const ADD_ARRIVAL: &str =
    "INSERT INTO arrival (id, body, expires_at, origin) VALUES ($1, $2, $3, $4)";
const TAKE_ARRIVAL: &str = "DELETE FROM arrival WHERE id = $1 AND expires_at > $2 RETURNING body";
const LATE_ARRIVALS: &str = "DELETE FROM arrival WHERE expires_at <= $1";
const BEGUN: &str = "SELECT COUNT(*) AS arrivals FROM arrival WHERE origin IS NOT NULL";
const GRANTED: &str = "SELECT COUNT(*) AS arrivals FROM arrival WHERE origin IS NULL";
const GIVE_WAY: &str = "DELETE FROM arrival WHERE id IN (SELECT id FROM arrival WHERE origin = \
     (SELECT origin FROM arrival WHERE origin IS NOT NULL GROUP BY origin \
     ORDER BY COUNT(*) DESC, MIN(expires_at) LIMIT 1) ORDER BY expires_at LIMIT $1)";
const SPEND: &str =
    "INSERT INTO spent (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
const CLEAR: &str = "DELETE FROM arrival";
const FORGET_USED: &str = "DELETE FROM used WHERE id = $1";
const IS_SPENT: &str = "SELECT 1 AS found FROM spent WHERE id = $1 LIMIT 1";
const LATE_SPENT: &str = "DELETE FROM spent WHERE expires_at <= $1";
const USE: &str = "INSERT INTO used (id, at) VALUES ($1, $2) \
     ON CONFLICT (id) DO UPDATE SET at = EXCLUDED.at WHERE used.at < EXCLUDED.at";
const LAST_USE: &str = "SELECT at FROM used WHERE id = $1 LIMIT 1";
const FORGET_USE: &str = "DELETE FROM used WHERE at < $1";

/// How many of each kind are kept.
const MOST: i64 = 10_000;

/// By whom it is asked to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room<'a> {
    /// A sign-in that anybody may begin, from this site: what a flood of them can take of the disk has an end.
    Anybody(&'a str),
    /// A link that an Admin or the operator makes: no flood of sign-ins keeps them from it.
    Granted,
}

/// How often a sign-in is sealed again where the key is rotated meanwhile.
const TRIES: usize = 3;

/// A use is noted once in so many microseconds.
pub(super) const A_MINUTE: i64 = 60_000_000;

/// For how long an unused credential's last use is remembered, in microseconds: 400 days.
const REMEMBERED: i64 = 400 * 24 * 60 * A_MINUTE;

/// Keeps a sign-in until it is taken; whether there was room for it.
pub(super) async fn expect(
    store: &Store,
    (id, body, room): (&[u8; 32], &[u8], Room<'_>),
    (now, expires_at): (i64, i64),
) -> Result<bool, Unwritten> {
    let database = store.database();
    let error = |cause| database.error(cause);
    sqlx::query(LATE_ARRIVALS)
        .bind(now)
        .execute(database.pool())
        .await
        .map_err(error)?;
    let origin = match room {
        Room::Anybody(site) => Some(origin(store, site)?),
        Room::Granted => None,
    };
    let row = sqlx::query(if origin.is_some() { BEGUN } else { GRANTED })
        .fetch_one(database.pool())
        .await
        .map_err(error)?;
    let arrivals: i64 = row.try_get("arrivals").map_err(error)?;
    let too_many = arrivals - MOST + 1;
    if too_many > 0 {
        if origin.is_none() {
            return Ok(false);
        }
        // Nobody is refused for what others have begun: the oldest of the site that has most go, which a few addresses that fill all
        // the room are themselves. It is counted in the rows, so all nodes count as one.
        sqlx::query(GIVE_WAY)
            .bind(too_many)
            .execute(database.pool())
            .await
            .map_err(error)?;
    }
    add(store, (id, body), (expires_at, origin.as_deref())).await?;
    Ok(true)
}

async fn add(
    store: &Store,
    (id, body): (&[u8; 32], &[u8]),
    (expires_at, origin): (i64, Option<&[u8]>),
) -> Result<(), Unwritten> {
    let database = store.database();
    let error = |cause| database.error(cause);
    for _ in 0..TRIES {
        let label = store.keys().label();
        // Of no index: bound to the log's first life, as replies are.
        let keys = store.keys().at(0);
        let sealed = keys.seal("arrival", "body", &HEXLOWER.encode(id), 0, body)?;
        drop(keys);
        // One of the pool's: anybody may begin a sign-in, and takes no more connections than there are.
        let mut connection = database.pool().acquire().await.map_err(error)?;
        let mut transaction = database.begin(&mut connection).await?;
        if store.hold_keys(&mut transaction, label).await? {
            sqlx::query(ADD_ARRIVAL)
                .bind(id.as_slice())
                .bind(sealed)
                .bind(expires_at)
                .bind(origin)
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
            return Ok(transaction.commit().await.map_err(error)?);
        }
        // Another process has rotated the key, which may be gone by now: it is sealed with those in force.
        transaction.rollback().await.map_err(error)?;
        drop(connection);
        store.reload_keys().await?;
    }
    Err(Unwritten::Contended)
}

/// Lets go of sign-ins that nobody has taken in time.
pub(super) async fn expire(store: &Store, now: i64) -> Result<(), Unwritten> {
    let database = store.database();
    sqlx::query(LATE_ARRIVALS)
        .bind(now)
        .execute(database.pool())
        .await
        .map(|_| ())
        .map_err(|cause| database.error(cause).into())
}

/// What a site is counted by: whoever reads the database alone does not know which it is.
fn origin(store: &Store, site: &str) -> Result<Vec<u8>, Unwritten> {
    let newest = store.keys().blind(&format!("arrival from {site}"));
    let (_, origin) = newest
        .into_iter()
        .next()
        .ok_or(Unwritten::Corrupt { what: "data key" })?;
    Ok(origin.to_vec())
}

/// Takes a sign-in that is under way: whoever comes second finds nothing, on any node.
pub(super) async fn take(
    store: &Store,
    id: &[u8; 32],
    now: i64,
) -> Result<Option<Vec<u8>>, Unwritten> {
    let database = store.database();
    let error = |cause| database.error(cause);
    let row = sqlx::query(TAKE_ARRIVAL)
        .bind(id.as_slice())
        .bind(now)
        .fetch_optional(database.pool())
        .await
        .map_err(error)?;
    let Some(row) = row else {
        return Ok(None);
    };
    let sealed: Vec<u8> = row.try_get("body").map_err(error)?;
    match open(store, id, &sealed) {
        // Sealed by a process that has rotated the key: it is taken by now, and does not come again.
        Err(error) if error.is_of_unknown_key() => store.reload_keys().await?,
        opened => return opened.map(Some),
    }
    open(store, id, &sealed).map(Some)
}

fn open(store: &Store, id: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>, Unwritten> {
    let keys = store.keys().at(0);
    Ok(keys.open_value("arrival", "body", &HEXLOWER.encode(id), 0, sealed)?)
}

/// Whether this was used up before.
pub(super) async fn is_spent(store: &Store, id: &[u8; 32]) -> Result<bool, Unwritten> {
    let database = store.database();
    let found = sqlx::query(IS_SPENT)
        .bind(id.as_slice())
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    Ok(found.is_some())
}

/// Uses it up, in the transaction that records what for. One that is [used up](Unwritten::UsedUp) by then is an error, and nothing is
/// to be recorded.
pub(super) async fn spend(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    (id, expires_at): (&[u8; 32], i64),
    now: i64,
) -> Result<(), Unwritten> {
    let error = |cause| store.database().error(cause);
    sqlx::query(LATE_SPENT)
        .bind(now)
        .execute(&mut **transaction)
        .await
        .map_err(error)?;
    let spent = sqlx::query(SPEND)
        .bind(id.as_slice())
        .bind(expires_at)
        .execute(&mut **transaction)
        .await
        .map_err(error)?;
    match spent.rows_affected() {
        0 => Err(Unwritten::UsedUp),
        _ => Ok(()),
    }
}

/// What was under way when a log was put back counts no more.
pub(super) async fn clear(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
) -> Result<(), Unwritten> {
    sqlx::query(CLEAR)
        .execute(&mut **transaction)
        .await
        .map_err(|cause| store.database().error(cause))?;
    Ok(())
}

/// That this was used is forgotten.
pub(super) async fn forget_use(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    one: Ref,
) -> Result<(), Unwritten> {
    sqlx::query(FORGET_USED)
        .bind(one.to_string())
        .execute(&mut **transaction)
        .await
        .map_err(|cause| store.database().error(cause))?;
    Ok(())
}

/// When sessions and keys were last used, in microseconds; what is not written yet is in memory.
#[derive(Debug, Default)]
pub(super) struct Uses {
    all: Mutex<HashMap<Ref, Use>>,
}

#[derive(Debug, Clone, Copy)]
struct Use {
    at: i64,
    written: i64,
}

impl Uses {
    /// It is used now.
    pub(super) fn touch(&self, one: Ref, now: i64) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let used = all.entry(one).or_insert(Use {
            at: now,
            written: 0,
        });
        used.at = used.at.max(now);
    }

    /// When it was last used, as far as this node knows.
    pub(super) fn known(&self, one: Ref) -> Option<i64> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&one).map(|used| used.at)
    }

    /// When it was last used, on any node, to the minute.
    pub(super) async fn last(&self, store: &Store, one: Ref) -> Result<Option<i64>, Unwritten> {
        let database = store.database();
        let error = |cause| database.error(cause);
        let row = sqlx::query(LAST_USE)
            .bind(one.to_string())
            .fetch_optional(database.pool())
            .await
            .map_err(error)?;
        let written = row
            .map(|row| row.try_get("at"))
            .transpose()
            .map_err(error)?;
        Ok(self.known(one).max(written))
    }

    /// Writes what is more than a minute newer than what is written, and lets go of what was not used for a day.
    pub(super) async fn write(&self, store: &Store, now: i64) -> Result<(), Unwritten> {
        let due: Vec<(Ref, i64)> = {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, used| used.at > used.written || now - used.at < 24 * 60 * A_MINUTE);
            let due = all
                .iter()
                .filter(|(_, used)| used.at - used.written >= A_MINUTE);
            due.map(|(one, used)| (*one, used.at)).collect()
        };
        if due.is_empty() {
            return Ok(());
        }
        let database = store.database();
        let error = |cause| database.error(cause);
        for (one, at) in due {
            sqlx::query(USE)
                .bind(one.to_string())
                .bind(at)
                .execute(database.pool())
                .await
                .map_err(error)?;
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(used) = all.get_mut(&one) {
                used.written = used.written.max(at);
            }
        }
        sqlx::query(FORGET_USE)
            .bind(now - REMEMBERED)
            .execute(database.pool())
            .await
            .map_err(error)?;
        Ok(())
    }
}
