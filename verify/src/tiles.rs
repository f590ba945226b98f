//! Hash tiles in the layout of C2SP tlog-tiles: which become complete when a log grows, and proofs read out of them.

use std::collections::BTreeMap;

use super::flaw::Flaw;
use super::merkle::{Frontier, Hash, SIZE_LIMIT, fold, node_hash, read_hashes};

/// Hashes in a full tile.
pub const WIDTH: u64 = 256;

/// Heights of the tree between one level of tiles and the next.
const HEIGHT: u32 = 8;

/// A tile: `width` hashes of level `level`, from `index * 256` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// 0 for leaf hashes; each above has the roots of the full tiles below.
    pub level: u8,
    /// Its place in its level.
    pub index: u64,
    /// From 1 to 256; less than 256 at the right edge alone.
    pub width: u16,
}

impl Tile {
    /// Its path below the log's prefix: `tile/0/x001/234.p/56`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            path = format!("x{:03}/{path}", rest % 1000);
            rest /= 1000;
        }
        if self.is_full() {
            format!("tile/{}/{path}", self.level)
        } else {
            format!("tile/{}/{path}.p/{}", self.level, self.width)
        }
    }

    /// Whether it will never change.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == 256
    }

    /// Reads a path as [`Tile::path`] writes it.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().ok()?),
            None => (rest, 256),
        };
        let index = index.split('/').try_fold(0_u64, |index, three| {
            let digits = three.strip_prefix('x').unwrap_or(three);
            index.checked_mul(1000)?.checked_add(digits.parse().ok()?)
        })?;
        let tile = Self {
            level: level.parse().ok()?,
            index,
            width,
        };
        (tile.level < 64 && (1..=256).contains(&width) && tile.path() == path).then_some(tile)
    }

    /// The tile at this place in a tree of `size` leaves, as wide as it is there.
    fn within(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = size
            .checked_shr(u32::from(level) * HEIGHT)
            .unwrap_or_default();
        let width = hashes.checked_sub(index.checked_mul(WIDTH)?)?.min(WIDTH);
        (width > 0).then_some(Self {
            level,
            index,
            width: u16::try_from(width).ok()?,
        })
    }
}

/// A tile that has become full, with its 8,192 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullTile {
    /// Which.
    pub tile: Tile,
    /// Its 256 hashes.
    pub bytes: Vec<u8>,
    /// The root over them, which stands in the level above.
    pub root: Hash,
}

/// The tiles at the right edge that are not full: all that is needed to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    // INVARIANT: level n has `(size >> 8n) % 256` hashes.
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// Of the tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            levels: Vec::new(),
        }
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash, and hands out the tiles that it made full, the lowest level first.
    ///
    /// # Errors
    /// The tree is full.
    pub fn push(&mut self, leaf: Hash) -> Result<Vec<FullTile>, Flaw> {
        if self.size >= SIZE_LIMIT {
            return Err(Flaw::TreeTooLarge);
        }
        self.size += 1;
        let mut full = Vec::new();
        let mut hash = leaf;
        let mut hashes_in_level = self.size;
        for level in 0..=u8::MAX {
            let place = usize::from(level);
            if self.levels.len() <= place {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(place) else {
                break;
            };
            hashes.push(hash);
            if !hashes_in_level.is_multiple_of(WIDTH) {
                break;
            }
            let complete = std::mem::take(hashes);
            hashes_in_level /= WIDTH;
            let tile = Tile {
                level,
                index: hashes_in_level - 1,
                width: 256,
            };
            let bytes = complete.iter().flat_map(Hash::bytes).copied().collect();
            hash = perfect_root(complete);
            full.push(FullTile {
                tile,
                bytes,
                root: hash,
            });
        }
        Ok(full)
    }

    /// The tiles that are not full, with their bytes: what a reader of the tree at this size needs beside the full ones.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, Vec<u8>)> + '_ {
        (0_u8..).zip(&self.levels).filter_map(|(level, hashes)| {
            let width = u16::try_from(hashes.len())
                .ok()
                .filter(|width| *width > 0)?;
            let index = self
                .size
                .checked_shr((u32::from(level) + 1) * HEIGHT)
                .unwrap_or_default();
            Some((
                Tile {
                    level,
                    index,
                    width,
                },
                hashes.iter().flat_map(Hash::bytes).copied().collect(),
            ))
        })
    }

    /// The frontier of the same tree.
    ///
    /// # Errors
    /// None, as long as the edge is what [`Edge::push`] made of it.
    pub fn frontier(&self) -> Result<Frontier, Flaw> {
        let mut roots = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            for height in (0..HEIGHT).rev() {
                if let Some((subtree, after)) = rest.split_at_checked(1 << height) {
                    roots.push(perfect_root(subtree.to_vec()));
                    rest = after;
                }
            }
        }
        Frontier::from_roots(self.size, roots)
    }

    /// The edge of a tree of `size` leaves, out of its partial tiles.
    ///
    /// # Errors
    /// A tile cannot be had or has the wrong width.
    pub fn load<E: From<Flaw>>(
        size: u64,
        mut read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        if size > SIZE_LIMIT {
            return Err(Flaw::TreeTooLarge.into());
        }
        let mut levels = Vec::new();
        let mut level = 0_u8;
        while let Some(hashes) = size
            .checked_shr(u32::from(level) * HEIGHT)
            .filter(|hashes| *hashes > 0)
        {
            let tile = Tile::within(level, hashes / WIDTH, size);
            levels.push(match tile {
                Some(tile) => hashes_of(tile, read(tile)?)?,
                None => Vec::new(),
            });
            level += 1;
        }
        Ok(Self { size, levels })
    }
}

/// What stands at one place of the tree: the root of the `1 << height` leaves from `index << height` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    height: u32,
    index: u64,
}

impl Node {
    /// The tile whose hashes, from the second number on and as many as the third, are the leaves of this subtree.
    fn tile(self, size: u64) -> Option<(Tile, usize, usize)> {
        let level = u8::try_from(self.height / HEIGHT).ok()?;
        let within = self.height % HEIGHT;
        let first = self.index << within;
        let tile = Tile::within(level, first / WIDTH, size)?;
        Some((tile, usize::try_from(first % WIDTH).ok()?, 1 << within))
    }
}

/// The tiles that [`inclusion_proof`] will read, each once: for readers that fetch before they compute.
///
/// # Errors
/// The index is not in the tree.
pub fn inclusion_tiles(index: u64, size: u64) -> Result<Vec<Tile>, Flaw> {
    Ok(tiles_of(&inclusion_plan(index, size)?, size))
}

/// The tiles that [`consistency_proof`] will read, each once.
///
/// # Errors
/// The sizes are reversed.
pub fn consistency_tiles(old: u64, new: u64) -> Result<Vec<Tile>, Flaw> {
    Ok(tiles_of(&consistency_plan(old, new)?, new))
}

/// The tiles that [`frontier_at`] will read, each once.
///
/// # Errors
/// The tree is too large.
pub fn frontier_tiles(size: u64) -> Result<Vec<Tile>, Flaw> {
    Ok(tiles_of(&[subtrees(0, checked(size)?)], size))
}

/// The proof that leaf `index` is in the tree of `size` leaves (RFC 6962, 2.1.1). `read` may give more hashes than the tile's width,
/// never fewer: a full tile serves where a partial one was asked for.
///
/// # Errors
/// The index is not in the tree, or a tile cannot be had or has the wrong width.
pub fn inclusion_proof<E: From<Flaw>>(
    index: u64,
    size: u64,
    read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
) -> Result<Vec<Hash>, E> {
    evaluate(&inclusion_plan(index, size)?, size, read)
}

/// The proof that the tree of `old` leaves is the beginning of that of `new` (RFC 6962, 2.1.2).
///
/// # Errors
/// The sizes are reversed, or a tile cannot be had or has the wrong width.
pub fn consistency_proof<E: From<Flaw>>(
    old: u64,
    new: u64,
    read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
) -> Result<Vec<Hash>, E> {
    evaluate(&consistency_plan(old, new)?, new, read)
}

/// The frontier of the tree of `size` leaves, out of tiles of that tree or of a larger one: where a pruned log begins.
///
/// # Errors
/// A tile cannot be had or has the wrong width.
pub fn frontier_at<E: From<Flaw>>(
    size: u64,
    read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
) -> Result<Frontier, E> {
    let plan: Vec<Vec<Node>> = subtrees(0, checked(size)?)
        .into_iter()
        .map(|node| vec![node])
        .collect();
    Ok(Frontier::from_roots(size, evaluate(&plan, size, read)?)?)
}

/// Each hash of a proof, as the perfect subtrees that it is folded from.
type Plan = Vec<Vec<Node>>;

fn checked(size: u64) -> Result<u64, Flaw> {
    if size > SIZE_LIMIT {
        Err(Flaw::TreeTooLarge)
    } else {
        Ok(size)
    }
}

fn inclusion_plan(index: u64, size: u64) -> Result<Plan, Flaw> {
    let (mut from, mut to) = (0, checked(size)?);
    if index >= size {
        return Err(Flaw::IndexBeyond { index, size });
    }
    let mut plan = Vec::new();
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            plan.push(subtrees(middle, to));
            to = middle;
        } else {
            plan.push(subtrees(from, middle));
            from = middle;
        }
    }
    plan.reverse();
    Ok(plan)
}

fn consistency_plan(old: u64, new: u64) -> Result<Plan, Flaw> {
    let (mut from, mut to) = (0, checked(new)?);
    if old > new {
        return Err(Flaw::SizesReversed { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut plan = Vec::new();
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            plan.push(subtrees(middle, to));
            to = middle;
        } else {
            plan.push(subtrees(from, middle));
            from = middle;
        }
    }
    // At the left edge what is left is the whole old tree, whose root the verifier has.
    if from > 0 {
        plan.push(subtrees(from, to));
    }
    plan.reverse();
    Ok(plan)
}

/// The largest power of two below `count`, which is at least 2.
const fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// The perfect subtrees of the leaves `from..to`, the largest first. INVARIANT: `from` is a multiple of the largest.
fn subtrees(mut from: u64, to: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    while from < to {
        let height = 63 - (to - from).leading_zeros();
        nodes.push(Node {
            height,
            index: from >> height,
        });
        from += 1 << height;
    }
    nodes
}

fn tiles_of(plan: &[Vec<Node>], size: u64) -> Vec<Tile> {
    let mut tiles: Vec<Tile> = plan
        .iter()
        .flatten()
        .filter_map(|node| node.tile(size))
        .map(|(tile, ..)| tile)
        .collect();
    tiles.sort_unstable();
    tiles.dedup();
    tiles
}

fn evaluate<E: From<Flaw>>(
    plan: &[Vec<Node>],
    size: u64,
    mut read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
) -> Result<Vec<Hash>, E> {
    let mut tiles = BTreeMap::new();
    for tile in tiles_of(plan, size) {
        tiles.insert(tile, hashes_of(tile, read(tile)?)?);
    }
    let subtree = |node: &Node| {
        let (tile, first, count) = node.tile(size)?;
        let hashes = tiles.get(&tile)?.get(first..first + count)?;
        Some(perfect_root(hashes.to_vec()))
    };
    plan.iter()
        .map(|nodes| {
            let roots: Option<Vec<Hash>> = nodes.iter().map(subtree).collect();
            roots.as_deref().and_then(fold).ok_or_else(|| {
                Flaw::TreeState {
                    what: "a proof reaches beyond its tiles",
                }
                .into()
            })
        })
        .collect()
}

/// The hashes of a tile, out of at least as many as its width asks for.
fn hashes_of(tile: Tile, bytes: Vec<u8>) -> Result<Vec<Hash>, Flaw> {
    let width = usize::from(tile.width);
    match read_hashes(&bytes) {
        Some(mut hashes) if (width..=256).contains(&hashes.len()) => {
            hashes.truncate(width);
            Ok(hashes)
        }
        _ => Err(Flaw::TileWidth {
            path: tile.path(),
            bytes: bytes.len(),
        }),
    }
}

/// The root over a power of two of hashes.
fn perfect_root(mut hashes: Vec<Hash>) -> Hash {
    while hashes.len() > 1 {
        hashes = hashes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[left, right]| node_hash(left, right))
            .collect();
    }
    hashes
        .first()
        .copied()
        .unwrap_or_else(super::merkle::empty_root)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let full = Tile {
            level: 0,
            index: 1_234_067,
            width: 256,
        };
        assert_eq!(full.path(), "tile/0/x001/x234/067");
        let partial = Tile {
            level: 2,
            index: 0,
            width: 1,
        };
        assert_eq!(partial.path(), "tile/2/000.p/1");
        assert_eq!(Tile::parse("tile/0/x001/x234/067"), Some(full));
        assert_eq!(Tile::parse("tile/2/000.p/1"), Some(partial));
    }

    #[test]
    fn other_spellings_of_a_path_are_refused() {
        for path in [
            "tile/00/000",
            "tile/0/0",
            "tile/0/000.p/256",
            "tile/0/000.p/0",
            "tile/0/x000/001",
            "tile/64/000",
            "tile/0/+01",
            "tile/0",
        ] {
            assert_eq!(Tile::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_tree_of_70_000_has_the_tiles_of_the_specification() {
        let mut edge = Edge::new();
        let mut full = BTreeMap::new();
        for index in 0..70_000_u64 {
            for tile in edge
                .push(super::super::merkle::leaf_hash(&index.to_be_bytes()))
                .unwrap()
            {
                *full.entry(tile.tile.level).or_insert(0) += 1;
            }
        }
        assert_eq!(full, BTreeMap::from([(0, 273), (1, 1)]));
        let widths: Vec<u16> = edge.partial().map(|(tile, _)| tile.width).collect();
        assert_eq!(widths, [112, 17, 1]);
    }
}
