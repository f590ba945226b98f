//! The state read: all of it at first, a piece at a time, and then what began and ended since.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::error::{Unfit, Unwritten};
use super::rows::read_body;
use super::world::World;
use crate::directory::{Kind, Row, RowId};
use crate::log::append::column;
use crate::tenant::Store;

/// What has not ended, a page at a time.
const STANDING: &str = "SELECT id, from_index, body FROM state \
     WHERE to_index IS NULL AND id > $2 AND +from_index <= $1 ORDER BY id LIMIT 1024";
/// What has ended since, a page at a time.
const OVER: &str = "SELECT id, from_index, to_index, body FROM state \
     WHERE (to_index, id) > ($2, $3) AND +from_index <= $1 ORDER BY to_index, id LIMIT 1024";
const LIBRARY: &str = "SELECT id, from_index, body FROM state \
     WHERE id = $2 AND from_index <= $1 AND (to_index IS NULL OR to_index > $1)";
const BEGUN: &str = "SELECT id, from_index, body FROM state \
     WHERE from_index > $1 AND from_index <= $2 AND (to_index IS NULL OR to_index > $2)";
const ENDED: &str =
    "SELECT DISTINCT id FROM state WHERE to_index > $1 AND to_index <= $2 AND from_index <= $1";

/// How often rows are read again that another node has sealed anew meanwhile.
pub(super) const TRIES: usize = 3;

/// The world at the last change, from the one that is known and the rows that began and ended since. Head and rows are
/// read one after the other, and another node may write in between: rows beyond that change belong to a later world.
pub(super) async fn catch_up(
    store: &Store,
    before: &Arc<World>,
    last_change: u64,
) -> Result<World, Unwritten> {
    for _ in 1..TRIES {
        match try_catch_up(store, before, last_change).await {
            Err(error) if error.is_of_unknown_key() => store.reload_keys().await?,
            world => return world,
        }
    }
    try_catch_up(store, before, last_change).await
}

async fn try_catch_up(
    store: &Store,
    before: &Arc<World>,
    last_change: u64,
) -> Result<World, Unwritten> {
    let since = before.snapshot().as_of();
    if before.snapshot().organization().is_err() {
        let mut world = World::clone(before);
        let mut take = |read: Read| {
            world = read.onto(&world, last_change)?;
            Ok(())
        };
        all_as_of(store, last_change, &mut take).await?;
        return Ok(world);
    }
    if since == last_change {
        return Ok(World::clone(before));
    }
    let (read, left) = read_since(store, since, last_change).await?;
    // Somebody who left may have been forgotten: no key stays in the memory for longer than in the database.
    if left {
        store.subjects().let_go();
    }
    // Another version may have to be compiled: whoever else is on this thread goes on elsewhere.
    if read.rows.iter().any(|row| row.id() == RowId::Library) {
        let with = || read.onto(before, last_change);
        return Ok(tokio::task::block_in_place(with)?);
    }
    Ok(read.onto(before, last_change)?)
}

/// Rows as they were read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) rows: Vec<Row>,
    /// Since when they are as they are.
    since: HashMap<RowId, u64>,
}

impl Read {
    fn of(store: &Store, rows: &[AnyRow]) -> Result<Self, Unwritten> {
        let mut read = Self::default();
        for row in rows {
            read.add(store, row)?;
        }
        Ok(read)
    }

    fn without_library(mut self) -> Self {
        self.rows.retain(|row| row.id() != RowId::Library);
        self
    }

    fn add(&mut self, store: &Store, row: &AnyRow) -> Result<RowId, Unwritten> {
        let id: String = row
            .try_get("id")
            .map_err(|cause| store.database().error(cause))?;
        let (from, body) = read_body(store, &id, row)?;
        let id = row_id(id)?;
        self.rows.push(Row::Put(id, body));
        self.since.insert(id, from);
        Ok(id)
    }

    fn onto(&self, world: &World, change: u64) -> Result<World, Unfit> {
        let since = |row| self.since.get(&row).copied().unwrap_or(change);
        world.with_since(&self.rows, change, &since)
    }
}

/// Takes some rows of a state.
pub(super) type Take<'a> = dyn FnMut(Read) -> Result<(), Unwritten> + Send + 'a;

/// Hands over what counts as of a change, the policies first, since entities must fit their schema, and then a page at a time: all of it at
/// once would take as much memory again as the state that it makes. It is called at least once.
///
/// What ends meanwhile is found among what has ended, which is read last.
pub(super) async fn all_as_of(
    store: &Store,
    change: u64,
    take: &mut Take<'_>,
) -> Result<(), Unwritten> {
    let database = store.database();
    let error = |cause| database.error(cause);
    let change = column(change)?;
    let library = sqlx::query(LIBRARY)
        .bind(change)
        .bind(RowId::Library.to_string())
        .fetch_all(database.pool())
        .await
        .map_err(error)?;
    take(Read::of(store, &library)?)?;
    let mut after = String::new();
    loop {
        let page = sqlx::query(STANDING)
            .bind(change)
            .bind(&after)
            .fetch_all(database.pool())
            .await
            .map_err(error)?;
        let Some(last) = page.last() else {
            break;
        };
        after = last.try_get("id").map_err(error)?;
        take(Read::of(store, &page)?.without_library())?;
    }
    let mut after = (change.saturating_add(1), String::new());
    loop {
        let page = sqlx::query(OVER)
            .bind(change)
            .bind(after.0)
            .bind(&after.1)
            .fetch_all(database.pool())
            .await
            .map_err(error)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        let to = last.try_get("to_index").map_err(error)?;
        after = (to, last.try_get("id").map_err(error)?);
        take(Read::of(store, &page)?.without_library())?;
    }
}

/// The rows that began and ended after a change, up to another.
pub(super) async fn changed(store: &Store, since: u64, change: u64) -> Result<Vec<Row>, Unwritten> {
    for _ in 1..TRIES {
        match read_since(store, since, change).await {
            Err(error) if error.is_of_unknown_key() => store.reload_keys().await?,
            read => return read.map(|(read, _)| read.rows),
        }
    }
    let (read, _) = read_since(store, since, change).await?;
    Ok(read.rows)
}

/// The same, and whether a person's row is among those that ended.
async fn read_since(store: &Store, since: u64, change: u64) -> Result<(Read, bool), Unwritten> {
    let database = store.database();
    let error = |cause| database.error(cause);
    let (since, change) = (column(since)?, column(change)?);
    let over = sqlx::query(ENDED)
        .bind(since)
        .bind(change)
        .fetch_all(database.pool())
        .await
        .map_err(error)?;
    let mut ended = BTreeSet::new();
    for row in &over {
        ended.insert(row_id(row.try_get("id").map_err(error)?)?);
    }
    let begun = sqlx::query(BEGUN)
        .bind(since)
        .bind(change)
        .fetch_all(database.pool())
        .await
        .map_err(error)?;
    let left = |id: &RowId| matches!(id, RowId::Object(one) if one.kind == Kind::User);
    let somebody_left = ended.iter().any(left);
    let mut found = Vec::new();
    for row in begun {
        let from: i64 = row.try_get("from_index").map_err(error)?;
        let id: String = row.try_get("id").map_err(error)?;
        found.push((from, id, row));
    }
    // What is pointed to was there before what points to it.
    found.sort_unstable_by(|(from, id, _), (other, another, _)| (from, id).cmp(&(other, another)));
    let mut read = Read::default();
    for (_, _, row) in found {
        ended.remove(&read.add(store, &row)?);
    }
    read.rows.splice(0..0, ended.into_iter().map(Row::End));
    Ok((read, somebody_left))
}

fn row_id(text: String) -> Result<RowId, Unwritten> {
    RowId::parse(&text).ok_or(Unwritten::Corrupt { what: "state" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::plan;

    #[tokio::test]
    async fn what_a_row_was_before_is_not_looked_at() {
        let standing = plan(STANDING).await;
        assert_eq!(
            standing,
            "SEARCH state USING INDEX state_by_to (to_index=? AND id>?)"
        );
        let over = plan(OVER).await;
        assert!(
            over.starts_with("SEARCH state USING INDEX state_by_to") && !over.contains("B-TREE"),
            "{over}"
        );
    }
}
