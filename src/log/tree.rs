//! The tree's rows: full tiles, and whatever is read out of them and of the leaf hashes behind them.
//!
//! Beside a tile stands its root, which the level above holds: up to 255 of them at the edge of the tree, where each would be 255 hashes
//! over a tile of its own.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use super::append::{Unreadable, bytes, column, number};
use super::merkle::Hash;
use super::segment::ENTRY_LIMIT;
use super::tiles::{Edge, FullTile, Tile, WIDTH};
use crate::storage::Database;

const ADD_TILE: &str = "INSERT INTO tile (level, number, hashes, root) VALUES ($1, $2, $3, $4)";
const HASHES_FROM: &str = "SELECT first_index, hashes FROM segment \
     WHERE first_index >= $4 AND first_index + entries > $1 AND first_index < $2 ORDER BY first_index LIMIT $3";
const TILES: &str = "SELECT COUNT(*) AS tiles FROM tile";
const KEPT: &str = "SELECT number, hashes, root FROM tile WHERE level = $1 AND number = $2 LIMIT 1";
const KEPT_LEAVES: &str = "SELECT number, hashes, root FROM tile \
     WHERE level = 0 AND number >= $1 AND number < $2 ORDER BY number LIMIT 64";
const ROOTS: &str = "SELECT number, root FROM tile WHERE level = $1 AND number >= $2 AND number < $3 \
     AND root IS NOT NULL ORDER BY number LIMIT 256";

/// Adds the tiles that a batch completes.
///
/// # Errors
/// The database does not take them.
pub async fn add_tiles(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    tiles: &[FullTile],
) -> Result<(), Unreadable> {
    for full in tiles {
        sqlx::query(ADD_TILE)
            .bind(i64::from(full.tile.level))
            .bind(column(full.tile.index)?)
            .bind(full.bytes.as_slice())
            .bind(full.root.bytes().as_slice())
            .execute(&mut **transaction)
            .await
            .map_err(|cause| database.error(cause))?;
    }
    Ok(())
}

/// A full tile as its row has it.
#[derive(Debug)]
pub struct Kept {
    /// Its place in its level.
    pub number: u64,
    /// Its hashes, 256 if nobody has altered it.
    pub hashes: Vec<u8>,
    root: Option<Vec<u8>>,
}

impl Kept {
    fn of(row: &AnyRow) -> Result<Self, Unreadable> {
        Ok(Self {
            number: number(row, "number")?,
            hashes: bytes(row, "hashes")?,
            root: row
                .try_get("root")
                .map_err(|_| Unreadable::Missing { what: "root" })?,
        })
    }

    /// Whether it is this one, and its root that one's, if it has any.
    #[must_use]
    pub fn is(&self, full: &FullTile) -> bool {
        let root = self.root.as_ref();
        self.hashes == full.bytes && root.is_none_or(|root| *root == *full.root.bytes())
    }
}

/// A full tile's row.
///
/// # Errors
/// The database does not answer.
pub async fn kept(database: &Database, tile: Tile) -> Result<Option<Kept>, Unreadable> {
    let row = sqlx::query(KEPT)
        .bind(i64::from(tile.level))
        .bind(column(tile.index)?)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    row.as_ref().map(Kept::of).transpose()
}

/// Some full tiles of leaf hashes, from this number on and ahead of that one, in order.
///
/// # Errors
/// The database does not answer.
pub async fn kept_leaves(
    database: &Database,
    (from, to): (u64, u64),
) -> Result<Vec<Kept>, Unreadable> {
    let rows = sqlx::query(KEPT_LEAVES)
        .bind(column(from)?)
        .bind(column(to)?)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    rows.iter().map(Kept::of).collect()
}

/// The roots of full tiles of a level, from this number on and ahead of that one, by their numbers; those of rows that were written before
/// roots were are missing.
async fn roots(
    database: &Database,
    level: u8,
    (from, to): (u64, u64),
) -> Result<BTreeMap<u64, Hash>, Unreadable> {
    let rows = sqlx::query(ROOTS)
        .bind(i64::from(level))
        .bind(column(from)?)
        .bind(column(to)?)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    let roots = rows.iter().map(|row| {
        let root = bytes(row, "root")?;
        let root = Hash::from_slice(&root).ok_or(Unreadable::Missing { what: "root" })?;
        Ok((number(row, "number")?, root))
    });
    roots.collect()
}

/// How many full tiles have a row.
///
/// # Errors
/// The database does not answer.
pub async fn count_tiles(database: &Database) -> Result<u64, Unreadable> {
    let row = sqlx::query(TILES)
        .fetch_one(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    number(&row, "tiles")
}

/// The hashes of a tile: a full one from its row, one at the edge from the leaf hashes of segments, or from the roots of the tiles beneath it.
///
/// # Errors
/// The database does not answer, or a row is missing.
pub async fn tile(database: &Database, tile: Tile) -> Result<Vec<u8>, Unreadable> {
    if let Some(kept) = kept(database, tile).await? {
        return Ok(kept.hashes);
    }
    let from = tile.index * WIDTH;
    let to = from + u64::from(tile.width);
    if tile.level == 0 {
        return leaf_hashes(database, from, to).await;
    }
    let known = roots(database, tile.level - 1, (from, to)).await?;
    let mut hashes = Vec::with_capacity(usize::from(tile.width) * 32);
    for index in from..to {
        if let Some(root) = known.get(&index) {
            hashes.extend_from_slice(root.bytes());
            continue;
        }
        let below = Tile {
            level: tile.level - 1,
            index,
            width: 256,
        };
        let full = Box::pin(self::tile(database, below)).await?;
        let mut edge = Edge::new();
        // A full tile's root is what its level above holds: push its hashes into a tree of their own.
        for chunk in full.chunks_exact(32) {
            edge.push(Hash::from_slice(chunk).ok_or(Unreadable::Missing { what: "tile" })?)?;
        }
        hashes.extend_from_slice(edge.frontier()?.root().bytes());
    }
    Ok(hashes)
}

async fn leaf_hashes(database: &Database, from: u64, to: u64) -> Result<Vec<u8>, Unreadable> {
    let missing = || Unreadable::Missing { what: "segment" };
    // No segment has more entries than the limit: those that begin further ahead are not looked at.
    let ahead = u64::try_from(ENTRY_LIMIT).unwrap_or(u64::MAX);
    let rows = sqlx::query(HASHES_FROM)
        .bind(column(from)?)
        .bind(column(to)?)
        .bind(i64::from(u16::MAX))
        .bind(column(from.saturating_sub(ahead))?)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    let mut hashes = Vec::new();
    let mut next = from;
    for row in &rows {
        let first = number(row, "first_index")?;
        let held = bytes(row, "hashes")?;
        for (index, hash) in (first..).zip(held.chunks_exact(32)) {
            if index == next && next < to {
                hashes.extend_from_slice(hash);
                next += 1;
            }
        }
    }
    if next == to {
        Ok(hashes)
    } else {
        Err(missing())
    }
}

/// The tree's right edge at a size, from the rows.
///
/// # Errors
/// The database does not answer, or a row is missing.
pub async fn load_edge(database: &Database, size: u64) -> Result<Edge, Unreadable> {
    let mut wanted = Vec::new();
    // The first walk says which tiles it needs; the second has them.
    Edge::load(size, |tile| {
        wanted.push(tile);
        Ok::<_, Unreadable>(vec![0; usize::from(tile.width) * 32])
    })?;
    let read = read_tiles(database, wanted).await?;
    Edge::load(size, |tile| held(&read, tile))
}

/// The path from a leaf to the root of the tree of that size.
///
/// # Errors
/// An index beyond the size, or the database does not answer.
pub async fn inclusion(
    database: &Database,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, Unreadable> {
    let read = read_tiles(database, super::tiles::inclusion_tiles(index, size)?).await?;
    super::tiles::inclusion_proof(index, size, |tile| held(&read, tile))
}

/// What shows that the tree of size `old` is the beginning of the one of size `new`.
///
/// # Errors
/// A size beyond the log's, an `old` beyond `new`, or the database does not answer.
pub async fn consistency(database: &Database, old: u64, new: u64) -> Result<Vec<Hash>, Unreadable> {
    let read = read_tiles(database, super::tiles::consistency_tiles(old, new)?).await?;
    super::tiles::consistency_proof(old, new, |tile| held(&read, tile))
}

async fn read_tiles(
    database: &Database,
    wanted: Vec<Tile>,
) -> Result<BTreeMap<Tile, Vec<u8>>, Unreadable> {
    let mut read = BTreeMap::new();
    for tile in wanted {
        read.insert(tile, self::tile(database, tile).await?);
    }
    Ok(read)
}

fn held(read: &BTreeMap<Tile, Vec<u8>>, tile: Tile) -> Result<Vec<u8>, Unreadable> {
    read.get(&tile)
        .cloned()
        .ok_or(Unreadable::Missing { what: "tile" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::plan;

    #[tokio::test]
    async fn roots_are_read_without_their_tiles() {
        let plan = plan(ROOTS).await;
        assert!(plan.contains("USING COVERING INDEX tile_root"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
