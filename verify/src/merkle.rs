//! The Merkle tree of RFC 6962 and RFC 9162 over SHA-256: hashes, the frontier that an appender keeps, and the verification of proofs.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use super::flaw::Flaw;

/// The most leaves that a tree may have; it leaves room for the arithmetic of sizes.
pub const SIZE_LIMIT: u64 = 1 << 62;

/// A SHA-256 hash: of a leaf, of a node, or of a part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// From its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Plain SHA-256, as parts are hashed; leaves and nodes have [`leaf_hash`] and [`node_hash`].
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// In base 64, as checkpoints and receipts have it.
    #[must_use]
    pub fn base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// Reads what [`Hash::base64`] wrote, and nothing else.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        Some(Self(BASE64.decode(text.as_bytes()).ok()?.try_into().ok()?))
    }

    /// From exactly 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Hash {
    /// In lower-case hexadecimal, as leaves have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash of a leaf: SHA-256 of a zero byte and its bytes.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([0])
            .chain_update(leaf)
            .finalize()
            .into(),
    )
}

/// The hash of two subtrees: SHA-256 of a one and both hashes.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1_u8; 65];
    for (to, from) in bytes.iter_mut().skip(1).zip(left.0.iter().chain(&right.0)) {
        *to = *from;
    }
    Hash::of(&bytes)
}

/// The root of the tree without leaves.
#[must_use]
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// What an appender must keep of a tree: the roots of its perfect subtrees, the largest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    // INVARIANT: as many as `size` has one bits; each covers as many leaves as its bit is worth.
    roots: Vec<Hash>,
}

impl Frontier {
    /// The tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            roots: Vec::new(),
        }
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash.
    ///
    /// # Errors
    /// The tree is full.
    pub fn push(&mut self, leaf: Hash) -> Result<(), Flaw> {
        if self.size >= SIZE_LIMIT {
            return Err(Flaw::TreeTooLarge);
        }
        let mut root = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                root = node_hash(&left, &root);
            }
        }
        self.roots.push(root);
        self.size += 1;
        Ok(())
    }

    /// The root of the whole tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.roots).unwrap_or_else(empty_root)
    }

    /// For storage: the size in 8 bytes, big-endian, and the hashes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.roots.iter().flat_map(Hash::bytes));
        bytes
    }

    /// Reads what [`Frontier::to_bytes`] wrote. Whether it is the log's is shown by its root alone.
    ///
    /// # Errors
    /// Not as long as the size asks for.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Flaw> {
        let Some((size, hashes)) = bytes.split_first_chunk::<8>() else {
            return Err(Flaw::TreeState {
                what: "it is shorter than its size",
            });
        };
        let roots = read_hashes(hashes).ok_or(Flaw::TreeState {
            what: "it ends within a hash",
        })?;
        Self::from_roots(u64::from_be_bytes(*size), roots)
    }

    /// The tree of `size` leaves whose perfect subtrees, the largest first, have these roots.
    ///
    /// # Errors
    /// Not as many as the size asks for.
    pub fn from_roots(size: u64, roots: Vec<Hash>) -> Result<Self, Flaw> {
        if size > SIZE_LIMIT {
            return Err(Flaw::TreeTooLarge);
        }
        if u32::try_from(roots.len()) != Ok(size.count_ones()) {
            return Err(Flaw::TreeState {
                what: "it has not as many hashes as its size asks for",
            });
        }
        Ok(Self { size, roots })
    }
}

/// Splits bytes into hashes; `None` if they are not a whole number of them.
pub(super) fn read_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty()
        .then(|| hashes.iter().copied().map(Hash::new).collect())
}

/// The root over perfect subtrees that stand side by side, the largest first.
pub(super) fn fold(roots: &[Hash]) -> Option<Hash> {
    roots
        .iter()
        .rev()
        .copied()
        .reduce(|right, left| node_hash(&left, &right))
}

/// Checks that the leaf of this hash is at `index` in the tree of `size` leaves and this root (RFC 9162, 2.1.3.2).
///
/// # Errors
/// It is not, or the proof does not show it.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Flaw> {
    if size > SIZE_LIMIT {
        return Err(Flaw::TreeTooLarge);
    }
    if index >= size {
        return Err(Flaw::IndexBeyond { index, size });
    }
    let wanted = inclusion_length(index, size);
    if proof.len() != wanted {
        return Err(Flaw::ProofLength {
            found: proof.len(),
            wanted,
        });
    }
    let (mut place, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            // A subtree at the right edge that has no sibling at these heights goes up as it is.
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root {
        Ok(())
    } else {
        Err(Flaw::ProofRoot { size })
    }
}

/// Checks that the tree of `old` leaves is the beginning of the tree of `new` leaves (RFC 9162, 2.1.4.2).
///
/// # Errors
/// It is not, or the proof does not show it.
pub fn verify_consistency(
    old: (u64, &Hash),
    new: (u64, &Hash),
    proof: &[Hash],
) -> Result<(), Flaw> {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if new_size > SIZE_LIMIT {
        return Err(Flaw::TreeTooLarge);
    }
    if old_size > new_size {
        return Err(Flaw::SizesReversed {
            old: old_size,
            new: new_size,
        });
    }
    let wanted = consistency_length(old_size, new_size);
    if proof.len() != wanted {
        return Err(Flaw::ProofLength {
            found: proof.len(),
            wanted,
        });
    }
    if old_size == new_size {
        return if old_root == new_root {
            Ok(())
        } else {
            Err(Flaw::ProofRoot { size: new_size })
        };
    }
    if old_size == 0 {
        return if *old_root == empty_root() {
            Ok(())
        } else {
            Err(Flaw::ProofRoot { size: 0 })
        };
    }
    let mut rest = proof.iter();
    let shift = (old_size - 1).trailing_ones();
    let (mut place, mut last) = ((old_size - 1) >> shift, (new_size - 1) >> shift);
    // Where the old tree is one perfect subtree its root is known and left out of the proof.
    let start = if old_size.is_power_of_two() {
        Some(old_root)
    } else {
        rest.next()
    };
    let Some(start) = start else {
        return Err(Flaw::ProofLength { found: 0, wanted });
    };
    let (mut old_hash, mut new_hash) = (*start, *start);
    for sibling in rest {
        if place & 1 == 1 || place == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if old_hash != *old_root {
        return Err(Flaw::ProofRoot { size: old_size });
    }
    if last == 0 && new_hash == *new_root {
        Ok(())
    } else {
        Err(Flaw::ProofRoot { size: new_size })
    }
}

/// How many hashes an inclusion proof has: siblings up to where the path meets the right edge, and the ones to its left above.
fn inclusion_length(index: u64, size: u64) -> usize {
    let inner = 64 - (index ^ (size - 1)).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or_default().count_ones();
    usize::try_from(inner + border).unwrap_or(usize::MAX)
}

fn consistency_length(old: u64, new: u64) -> usize {
    if old == 0 || old == new {
        return 0;
    }
    let shift = old.trailing_zeros();
    let path = inclusion_length((old - 1) >> shift, ((new - 1) >> shift) + 1);
    path + usize::from(!old.is_power_of_two())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 6962, 2.1, word for word.
    fn naive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&naive(left), &naive(right))
            }
        }
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count)
            .map(|index| leaf_hash(&index.to_be_bytes()))
            .collect()
    }

    #[test]
    fn the_frontier_has_the_root_of_the_definition_at_every_size() {
        let leaves = leaves(600);
        let mut frontier = Frontier::new();
        for (size, leaf) in leaves.iter().enumerate() {
            assert_eq!(frontier.root(), naive(leaves.get(..size).unwrap()));
            assert_eq!(
                Frontier::from_bytes(&frontier.to_bytes()).unwrap(),
                frontier
            );
            frontier.push(*leaf).unwrap();
        }
    }

    proptest! {
        #[test]
        fn garbage_is_no_frontier_and_does_no_harm(bytes: Vec<u8>) {
            if let Ok(frontier) = Frontier::from_bytes(&bytes) {
                prop_assert_eq!(frontier.to_bytes(), bytes);
            }
        }

        #[test]
        fn verification_of_garbage_does_no_harm(index: u64, old: u64, new: u64, proof: Vec<[u8; 32]>, root: [u8; 32]) {
            let proof: Vec<Hash> = proof.into_iter().map(Hash::new).collect();
            let root = Hash::new(root);
            prop_assert!(verify_inclusion(&leaf_hash(b""), index, new, &proof, &root).is_err());
            prop_assert!(verify_consistency((old, &empty_root()), (new, &root), &proof).is_err() || old == 0);
        }
    }
}
