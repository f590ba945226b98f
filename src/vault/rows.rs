//! The rows of what is kept: begun and ended in the transaction of the log, and read back.

use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row as _, Transaction};

use super::{Keeping, Sealed, Spot, VaultError};
use crate::crypto::hierarchy::{CheckValue, Wrapped};
use crate::storage::many::{MANY, bind_all, padded, places, rows_of_places};
use crate::storage::{Database, StorageError};
use crate::tenant::Store;

const CURRENT_OF: &str = "SELECT version, resource, from_index, to_index, subject, wrapped, key_check, body, shelved FROM content \
     WHERE to_index IS NULL AND resource IN ";
const CURRENT_NAME: &str = "SELECT version FROM content WHERE resource = $1 AND to_index IS NULL ORDER BY from_index DESC LIMIT 1";
const VERSION: &str = "SELECT version, resource, from_index, to_index, subject, wrapped, key_check, body, shelved FROM content \
     WHERE version = $1 AND resource = $2 LIMIT 1";
const VERSIONS: &str = "SELECT version, resource, from_index, to_index, subject, wrapped, key_check, body, shelved FROM content \
     WHERE resource = $1 AND from_index > $2 ORDER BY from_index LIMIT $3";
const OF_PERSON: &str = "SELECT version, resource, from_index, to_index, subject, wrapped, key_check, body, shelved FROM content \
     WHERE subject = $1 AND version > $2 ORDER BY version LIMIT $3";
const ADD: &str = "INSERT INTO content (version, resource, from_index, to_index, subject, wrapped, key_check, body, shelved) VALUES ";
const ONCE: &str = " ON CONFLICT (version) DO NOTHING";
/// Once what comes after them is there: each ends where its own successor begins. The sign keeps the index of all versions out of it:
/// there may be thousands before the one that counts.
const END: &str = "UPDATE content SET to_index = (SELECT MIN(next.from_index) FROM content AS next \
     WHERE next.resource = content.resource AND next.from_index >= $1) \
     WHERE to_index IS NULL AND +from_index < $1 AND resource IN ";
const GONE: &str = "INSERT INTO content_gone (version) VALUES ($1)";
const REMOVE: &str = "DELETE FROM content WHERE from_index < $1 AND resource IN ";
const REMOVED: &str = " RETURNING version, shelved";
const GONE_AMONG: &str = "INSERT INTO content_gone (version) SELECT version FROM content \
     WHERE shelved = 1 AND from_index < $1 AND resource IN ";
const GONE_OF: &str = "INSERT INTO content_gone (version) SELECT version FROM content WHERE subject = $1 AND shelved = 1";
const REMOVE_OF: &str = "DELETE FROM content WHERE subject = $1";
const ANY_GONE: &str =
    "SELECT version FROM content_gone WHERE version > $1 ORDER BY version LIMIT $2";
const FORGET_GONE: &str = "DELETE FROM content_gone WHERE version IN ";
/// From one resource to the next: a thread may have a million rows.
const RESOURCES: &str = "WITH RECURSIVE one(resource) AS (SELECT MIN(resource) FROM content WHERE resource > $1 \
     UNION ALL SELECT (SELECT MIN(next.resource) FROM content AS next WHERE next.resource > one.resource) \
     FROM one WHERE one.resource IS NOT NULL) \
     SELECT resource FROM one WHERE resource IS NOT NULL LIMIT $2";
const REPLACED_OF: &str =
    "SELECT DISTINCT resource AS name FROM content WHERE to_index IS NOT NULL AND resource IN ";
const SOME_OF: &str = "SELECT version FROM content WHERE from_index < $1 AND resource IN ";
const SOME_REPLACED: &str = "SELECT version FROM content WHERE to_index < $1 AND resource IN ";
const SOME: &str = " LIMIT 2000";
const GONE_THESE: &str = "INSERT INTO content_gone (version) SELECT version FROM content WHERE shelved = 1 AND version IN ";
const REMOVE_THESE: &str = "DELETE FROM content WHERE version IN ";
const NAMED: &str = "SELECT 1 AS found FROM content WHERE version = $1 LIMIT 1";
const NAMED_OF: &str = "SELECT version AS name FROM content WHERE version IN ";
const WITH_KEY: &str = "SELECT subject AS name FROM subject_key WHERE subject IN ";

const COLUMNS: usize = 9;

/// A version as it is stored.
#[derive(Debug, Clone)]
pub struct Held {
    pub(super) spot: Spot,
    /// The index at which it became the resource's.
    pub from_index: u64,
    /// The index at which another took its place.
    pub to_index: Option<u64>,
    pub(super) wrapped: Wrapped,
    pub(super) body: Vec<u8>,
    pub(super) shelved: bool,
}

impl Held {
    /// Which it is, and whose.
    #[must_use]
    pub const fn spot(&self) -> &Spot {
        &self.spot
    }
}

/// What one entry does to a resource's content.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The entry's index.
    pub index: u64,
    /// The resource.
    pub resource: &'a str,
    /// What is there from then on.
    pub sealed: Option<&'a Sealed>,
    /// What becomes of what was there.
    pub keeping: Keeping,
}

/// The versions that count now of so many resources, each of which has one at most.
pub(super) async fn current_of(
    database: &Database,
    resources: &[&str],
) -> Result<Vec<Held>, VaultError> {
    let rows = those_of(database, CURRENT_OF, resources).await?;
    rows.iter().map(|row| held(database, row)).collect()
}

/// Those of these versions that are there.
pub(super) async fn named(
    database: &Database,
    versions: &[&str],
) -> Result<Vec<String>, StorageError> {
    names_of(database, NAMED_OF, versions).await
}

async fn names_of(
    database: &Database,
    statement: &'static str,
    names: &[&str],
) -> Result<Vec<String>, StorageError> {
    let error = |cause| database.error(cause);
    let rows = those_of(database, statement, names).await?;
    let found = rows.iter().map(|row| row.try_get("name").map_err(error));
    found.collect()
}

/// The rows of so many names.
async fn those_of(
    database: &Database,
    statement: &'static str,
    names: &[&str],
) -> Result<Vec<AnyRow>, StorageError> {
    let mut rows = Vec::new();
    for some in names.chunks(MANY) {
        let places = places(some.len(), 1);
        let query = sqlx::query(AssertSqlSafe(format!("{statement}({places})")));
        let found = bind_all(query, some).fetch_all(database.pool()).await;
        rows.extend(found.map_err(|cause| database.error(cause))?);
    }
    Ok(rows)
}

/// The name of the version that counts now.
///
/// # Errors
/// The database does not answer.
pub async fn current_name(
    database: &Database,
    resource: &str,
) -> Result<Option<String>, StorageError> {
    let error = |cause| database.error(cause);
    let row = sqlx::query(CURRENT_NAME)
        .bind(resource)
        .fetch_optional(database.pool())
        .await
        .map_err(error)?;
    row.map(|row| row.try_get("version").map_err(error))
        .transpose()
}

pub(super) async fn version(
    database: &Database,
    resource: &str,
    version: &str,
) -> Result<Option<Held>, VaultError> {
    let row = sqlx::query(VERSION)
        .bind(version)
        .bind(resource)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    row.map(|row| held(database, &row)).transpose()
}

pub(super) async fn versions(
    database: &Database,
    resource: &str,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<Held>, VaultError> {
    let after = after.map_or(Ok(-1), i64::try_from);
    let rows = sqlx::query(VERSIONS)
        .bind(resource)
        .bind(after.unwrap_or(i64::MAX))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    rows.iter().map(|row| held(database, row)).collect()
}

pub(super) async fn of_person(
    database: &Database,
    person: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<Held>, VaultError> {
    let rows = sqlx::query(OF_PERSON)
        .bind(person)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    rows.iter().map(|row| held(database, row)).collect()
}

fn held(database: &Database, row: &AnyRow) -> Result<Held, VaultError> {
    let error = |cause| database.error(cause);
    let number = |index: i64| u64::try_from(index).map_err(|_| VaultError::Corrupt);
    let subject: String = row.try_get("subject").map_err(error)?;
    let check: Vec<u8> = row.try_get("key_check").map_err(error)?;
    let to_index: Option<i64> = row.try_get("to_index").map_err(error)?;
    let shelved: i64 = row.try_get("shelved").map_err(error)?;
    Ok(Held {
        spot: Spot {
            resource: row.try_get("resource").map_err(error)?,
            version: row.try_get("version").map_err(error)?,
            subject: (!subject.is_empty()).then_some(subject),
        },
        from_index: number(row.try_get("from_index").map_err(error)?)?,
        to_index: to_index.map(number).transpose()?,
        wrapped: Wrapped {
            sealed: row.try_get("wrapped").map_err(error)?,
            check: CheckValue::from_slice(&check)?,
        },
        body: row.try_get("body").map_err(error)?,
        shelved: shelved == 1,
    })
}

/// Writes what the entries of one commit do. Of one resource only the last step counts where no versions are kept.
///
/// # Errors
/// The database does not take it.
pub async fn write(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    steps: &[Step<'_>],
) -> Result<(), VaultError> {
    let database = store.database();
    let error = |cause| database.error(cause);
    let Some(first) = steps.first() else {
        return Ok(());
    };
    let newest = resources(steps, Keeping::Newest);
    let each = (first.index, newest.as_slice());
    for row in about(database, transaction, [REMOVE, REMOVED], each).await? {
        let shelved: i64 = row.try_get("shelved").map_err(error)?;
        if shelved == 1 {
            let version: String = row.try_get("version").map_err(error)?;
            let gone = sqlx::query(GONE).bind(version);
            gone.execute(&mut **transaction).await.map_err(error)?;
        }
    }
    for some in added(steps).chunks(MANY) {
        // The rows beyond the last repeat it, and are not written: so few statements are prepared, and one is enough.
        let rows = rows_of_places(database.dialect(), padded(some.len()), COLUMNS);
        let mut query = sqlx::query(AssertSqlSafe(format!("{ADD}{rows}{ONCE}")));
        for at in 0..padded(some.len()) {
            let Some((sealed, index, to_index)) = some.get(at).or(some.last()) else {
                continue;
            };
            let wrapped = sealed.wrapped(store)?;
            query = query
                .bind(sealed.spot.version.as_str())
                .bind(sealed.spot.resource.as_str())
                .bind(column(*index)?)
                .bind(to_index.map(column).transpose()?)
                .bind(sealed.spot.subject.as_deref().unwrap_or_default())
                .bind(wrapped.sealed)
                .bind(wrapped.check.as_bytes().to_vec())
                .bind(sealed.body.as_slice())
                .bind(i64::from(sealed.shelved));
        }
        let written = query.execute(&mut **transaction).await.map_err(error)?;
        if usize::try_from(written.rows_affected()) != Ok(some.len()) {
            return Err(VaultError::Corrupt);
        }
    }
    let versions = resources(steps, Keeping::Versions);
    let each = (first.index, versions.as_slice());
    about(database, transaction, [END, ""], each).await?;
    Ok(())
}

/// Takes away what is kept of these resources from before an index. There may be a hundred thousand messages: the database counts none of
/// them out.
async fn remove(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    each: (u64, &[&str]),
) -> Result<(), VaultError> {
    for statement in [GONE_AMONG, REMOVE] {
        about(database, transaction, [statement, ""], each).await?;
    }
    Ok(())
}

/// The resources of these steps, each once.
fn resources<'a>(steps: &[Step<'a>], keeping: Keeping) -> Vec<&'a str> {
    let of_these = steps.iter().filter(|step| step.keeping == keeping);
    let mut resources: Vec<&str> = of_these.map(|step| step.resource).collect();
    resources.sort_unstable();
    resources.dedup();
    resources
}

/// Runs a statement, which goes on behind the resources, for all of these, many at a time.
async fn about(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    [statement, rest]: [&str; 2],
    (first, resources): (u64, &[&str]),
) -> Result<Vec<AnyRow>, VaultError> {
    let mut rows = Vec::new();
    for some in resources.chunks(MANY) {
        let places = places(some.len(), 2);
        let query =
            sqlx::query(AssertSqlSafe(format!("{statement}({places}){rest}"))).bind(column(first)?);
        let found = bind_all(query, some).fetch_all(&mut **transaction).await;
        rows.extend(found.map_err(|cause| database.error(cause))?);
    }
    Ok(rows)
}

/// What is added, from which index on and up to which: a step that another one of the same commit replaces ends there, or is left out.
fn added<'a>(steps: &[Step<'a>]) -> Vec<(&'a Sealed, u64, Option<u64>)> {
    let mut next: std::collections::HashMap<&str, u64> = std::collections::HashMap::new();
    let mut added = Vec::new();
    for step in steps.iter().rev() {
        let replaced = match step.keeping {
            Keeping::Each => None,
            Keeping::Versions | Keeping::Newest => next.insert(step.resource, step.index),
        };
        match step.sealed {
            Some(sealed) if step.keeping != Keeping::Newest || replaced.is_none() => {
                added.push((sealed, step.index, replaced));
            }
            _ => {}
        }
    }
    added.reverse();
    added
}

/// Takes away what is kept of resources that are no more, with the keys.
///
/// # Errors
/// The database does not take it.
pub async fn forget(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    resources: &[String],
) -> Result<(), VaultError> {
    let resources: Vec<&str> = resources.iter().map(String::as_str).collect();
    // Whatever there is of them.
    let all = (i64::MAX.unsigned_abs(), resources.as_slice());
    remove(store.database(), transaction, all).await
}

/// Takes away what is kept of resources that are no more, and what was replaced of others, with the keys: some of it, since there may be a
/// million rows; whether that was all.
///
/// # Errors
/// The database does not take it.
pub async fn forget_some(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    (ended, replaced): (&[&str], &[&str]),
) -> Result<bool, VaultError> {
    let database = store.database();
    let error = |cause| database.error(cause);
    for (statement, resources) in [(SOME_OF, ended), (SOME_REPLACED, replaced)] {
        let each = (i64::MAX.unsigned_abs(), resources);
        let rows = about(database, transaction, [statement, SOME], each).await?;
        let versions = rows.iter().map(|row| row.try_get("version").map_err(error));
        let versions: Vec<String> = versions.collect::<Result<_, _>>()?;
        let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
        for some in versions.chunks(MANY) {
            for statement in [GONE_THESE, REMOVE_THESE] {
                let places = places(some.len(), 1);
                let query = sqlx::query(AssertSqlSafe(format!("{statement}({places})")));
                let done = bind_all(query, some).execute(&mut **transaction).await;
                done.map_err(error)?;
            }
        }
        if !versions.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Resources of which something is kept: `most` of them, behind one of that name, in the order of their names.
///
/// # Errors
/// The database does not answer.
pub async fn kept(
    database: &Database,
    after: &str,
    most: i64,
) -> Result<Vec<String>, StorageError> {
    let error = |cause| database.error(cause);
    let rows = sqlx::query(RESOURCES)
        .bind(after)
        .bind(most)
        .fetch_all(database.pool())
        .await
        .map_err(error)?;
    let names = rows
        .iter()
        .map(|row| row.try_get("resource").map_err(error));
    names.collect()
}

/// Those of these resources of which something is kept that was replaced.
///
/// # Errors
/// The database does not answer.
pub async fn replaced(
    database: &Database,
    resources: &[&str],
) -> Result<Vec<String>, StorageError> {
    names_of(database, REPLACED_OF, resources).await
}

/// Takes away whatever is under the key of a person.
///
/// # Errors
/// The database does not take it.
pub async fn forget_person(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    subject: &str,
) -> Result<(), VaultError> {
    for statement in [GONE_OF, REMOVE_OF] {
        sqlx::query(statement)
            .bind(subject)
            .execute(&mut **transaction)
            .await
            .map_err(|cause| database.error(cause))?;
    }
    Ok(())
}

/// Versions that are no more, and whose bytes still lie on the shelf: `most` of them, behind one of that name, in the order of their names.
///
/// # Errors
/// The database does not answer.
pub async fn gone(
    database: &Database,
    after: &str,
    most: i64,
) -> Result<Vec<String>, StorageError> {
    let error = |cause| database.error(cause);
    let rows = sqlx::query(ANY_GONE)
        .bind(after)
        .bind(most)
        .fetch_all(database.pool())
        .await
        .map_err(error)?;
    let names = rows.iter().map(|row| row.try_get("version").map_err(error));
    names.collect()
}

/// Their bytes were taken from the shelf.
///
/// # Errors
/// The database does not take it.
pub async fn forget_gone(database: &Database, versions: &[&str]) -> Result<(), StorageError> {
    for some in versions.chunks(MANY) {
        let places = places(some.len(), 1);
        let query = sqlx::query(AssertSqlSafe(format!("{FORGET_GONE}({places})")));
        let done = bind_all(query, some).execute(database.pool()).await;
        done.map_err(|cause| database.error(cause))?;
    }
    Ok(())
}

/// Whether a row names this value of the shelf, in a transaction that holds the head's lock: no commit that is under way can still name it.
///
/// # Errors
/// The database does not answer.
pub async fn is_named(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    version: &str,
) -> Result<bool, StorageError> {
    sqlx::query(NAMED)
        .bind(version)
        .fetch_optional(&mut **transaction)
        .await
        .map(|row| row.is_some())
        .map_err(|cause| database.error(cause))
}

/// Those of these people whose key is there still.
///
/// # Errors
/// The database does not answer.
pub async fn with_key(database: &Database, people: &[&str]) -> Result<Vec<String>, StorageError> {
    names_of(database, WITH_KEY, people).await
}

fn column(index: u64) -> Result<i64, VaultError> {
    i64::try_from(index).map_err(|_| VaultError::Corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::plan;

    #[tokio::test]
    async fn versions_before_the_one_that_counts_are_not_looked_at() {
        for statement in [END, CURRENT_OF] {
            let plan = plan(&format!("{statement}($2, $3)")).await;
            assert!(
                plan.starts_with("SEARCH content USING INDEX content_present (resource=?)"),
                "{plan}"
            );
        }
    }
}
