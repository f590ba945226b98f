//! The tree and its tiles, against the known roots of RFC 6962 and the crate `ct-merkle`.

use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::merkle::{
    Frontier, Hash, empty_root, leaf_hash, node_hash, verify_consistency, verify_inclusion,
};
use cedarkeep::log::tiles::{
    Edge, Tile, consistency_proof, consistency_tiles, frontier_at, frontier_tiles, inclusion_proof,
    inclusion_tiles,
};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use proptest::prelude::*;
use sha2::Sha256;
use sha2::digest::Output;

use super::{SIZES, Sample};

type Oracle = MemoryBackedTree<Sha256, Vec<u8>>;

fn oracle(sample: &Sample, size: u64) -> Oracle {
    let mut oracle = Oracle::new();
    for record in sample.records.iter().take(usize::try_from(size).unwrap()) {
        oracle.push(record.leaf.clone());
    }
    oracle
}

fn root_of(oracle: &Oracle) -> Hash {
    Hash::from_slice(oracle.root().as_bytes()).unwrap()
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes
        .chunks(32)
        .map(|hash| Hash::from_slice(hash).unwrap())
        .collect()
}

#[test]
fn the_roots_of_the_published_test_leaves() {
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), empty_root());
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(frontier.root().to_string(), *root, "size {size}");
        if let Some(leaf) = leaves.get(size) {
            frontier.push(leaf_hash(leaf)).unwrap();
        }
    }
}

#[test]
fn inclusion_proofs_are_those_of_ct_merkle_at_every_index() {
    let sample = Sample::new(1000);
    for size in SIZES {
        let oracle = oracle(&sample, size);
        let root = root_of(&oracle);
        for index in 0..size {
            let proof = inclusion_proof(index, size, |tile| sample.tile(tile)).unwrap();
            assert_eq!(
                proof,
                hashes(
                    oracle
                        .prove_inclusion(usize::try_from(index).unwrap())
                        .as_bytes()
                ),
                "{index} of {size}"
            );
            let record = &sample.records[usize::try_from(index).unwrap()];
            verify_inclusion(&record.leaf_hash(), index, size, &proof, &root).unwrap();
        }
    }
}

#[test]
fn ct_merkle_accepts_our_inclusion_proofs() {
    let sample = Sample::new(777);
    let root =
        RootHash::<Sha256>::new(Output::<Sha256>::from(*sample.frontier.root().bytes()), 777);
    for index in [0, 1, 255, 256, 511, 512, 767, 768, 776] {
        let proof = inclusion_proof(index, 777, |tile| sample.tile(tile)).unwrap();
        let bytes = proof.iter().flat_map(Hash::bytes).copied().collect();
        let leaf = &sample.records[usize::try_from(index).unwrap()].leaf;
        root.verify_inclusion(leaf, index, &InclusionProof::from_bytes(bytes))
            .unwrap();
    }
}

#[test]
fn consistency_proofs_are_those_of_ct_merkle() {
    let sample = Sample::new(1000);
    let mut frontiers = vec![Frontier::new()];
    for hash in sample.hashes() {
        let mut next = frontiers.last().unwrap().clone();
        next.push(hash).unwrap();
        frontiers.push(next);
    }
    for new in SIZES {
        let oracle = oracle(&sample, new);
        for old in 1..=new {
            let proof = consistency_proof(old, new, |tile| sample.tile(tile)).unwrap();
            assert_eq!(
                proof,
                hashes(
                    oracle
                        .prove_consistency(usize::try_from(new - old).unwrap())
                        .as_bytes()
                ),
                "{old} to {new}"
            );
            let old_root = frontiers[usize::try_from(old).unwrap()].root();
            verify_consistency((old, &old_root), (new, &root_of(&oracle)), &proof).unwrap();
        }
    }
}

#[test]
fn ct_merkle_accepts_our_proofs_up_to_70_000_and_refuses_altered_ones() {
    let sample = Sample::new(70_000);
    let (mut frontier, mut roots) = (Frontier::new(), std::collections::BTreeMap::new());
    for hash in sample.hashes() {
        frontier.push(hash).unwrap();
        roots.insert(frontier.size(), frontier.root());
    }
    let root = |size: u64, hash: &Hash| {
        RootHash::<Sha256>::new(Output::<Sha256>::from(*hash.bytes()), size)
    };
    let sizes = [1, 2, 255, 256, 257, 777, 1000, 70_000];
    let (mut accepted, mut refused) = (0, 0);
    for new in sizes {
        let newer = root(new, &roots[&new]);
        for old in sizes.into_iter().filter(|old| *old <= new) {
            let proof = consistency_proof(old, new, |tile| sample.tile(tile)).unwrap();
            let older = root(old, &roots[&old]);
            let holds = |older: &RootHash<Sha256>, proof: &[Hash]| {
                let digests: Vec<Output<Sha256>> =
                    proof.iter().map(|hash| (*hash.bytes()).into()).collect();
                newer
                    .verify_consistency(older, &ConsistencyProof::from_digests(&digests))
                    .is_ok()
            };
            assert!(holds(&older, &proof), "{old} to {new}");
            accepted += 1;
            let other = root(old, &Hash::of(roots[&old].bytes()));
            assert!(!holds(&other, &proof), "another root of {old}");
            for place in 0..proof.len() {
                let mut altered = proof.clone();
                altered[place] = Hash::of(altered[place].bytes());
                assert!(!holds(&older, &altered), "{old} to {new}, hash {place}");
                refused += 1;
            }
        }
        for index in [0, new / 3, new - 1] {
            let proof = inclusion_proof(index, new, |tile| sample.tile(tile)).unwrap();
            let leaf = &sample.records[usize::try_from(index).unwrap()].leaf;
            let holds = |leaf: &Vec<u8>, proof: &[Hash]| {
                let bytes = proof.iter().flat_map(Hash::bytes).copied().collect();
                newer
                    .verify_inclusion(leaf, index, &InclusionProof::from_bytes(bytes))
                    .is_ok()
            };
            assert!(holds(leaf, &proof), "{index} of {new}");
            accepted += 1;
            let mut altered = leaf.clone();
            altered[7] ^= 1;
            assert!(!holds(&altered, &proof), "another leaf at {index} of {new}");
            for place in 0..proof.len() {
                let mut altered = proof.clone();
                altered[place] = Hash::of(altered[place].bytes());
                assert!(!holds(leaf, &altered), "{index} of {new}, hash {place}");
                refused += 1;
            }
        }
    }
    println!("{accepted} proofs accepted, {refused} altered ones refused");
    assert!(accepted == 60 && refused > 300, "{accepted} {refused}");
}

#[test]
fn tiles_are_what_the_definition_says_at_every_size() {
    let mut sample = Sample::new(0);
    let mut handed_out = 0;
    for index in 0..700 {
        sample.append(super::record(index));
        let hashes = sample.hashes();
        let (full, width) = (hashes.len() / 256, hashes.len() % 256);
        assert_eq!(
            Edge::load(sample.edge.size(), |tile| sample.tile(tile)).unwrap(),
            sample.edge
        );
        assert_eq!(sample.edge.frontier().unwrap(), sample.frontier);
        let partial: Vec<(u8, u64, usize)> = sample
            .edge
            .partial()
            .map(|(tile, bytes)| (tile.level, tile.index, bytes.len() / 32))
            .collect();
        let wanted = [(0, full as u64, width), (1, 0, full)]
            .into_iter()
            .filter(|(.., width)| *width > 0);
        assert_eq!(partial, wanted.collect::<Vec<_>>());
        handed_out = full;
    }
    assert_eq!(handed_out, 2);
    let level_0 = sample
        .tile(Tile {
            level: 0,
            index: 1,
            width: 256,
        })
        .unwrap();
    assert_eq!(hashes(&level_0), sample.hashes()[256..512]);
    let mut second = Frontier::new();
    sample.hashes()[256..512]
        .iter()
        .for_each(|hash| second.push(*hash).unwrap());
    assert_eq!(
        hashes(
            &sample
                .tile(Tile {
                    level: 1,
                    index: 0,
                    width: 2
                })
                .unwrap()
        )[1],
        second.root()
    );
}

#[test]
fn a_tree_of_three_levels_proves_from_its_tiles() {
    let size = 70_000_u64;
    let mut edge = Edge::new();
    let mut full = std::collections::HashMap::new();
    let mut frontier = Frontier::new();
    let mut roots = std::collections::HashMap::from([(0, frontier.root())]);
    for index in 0..size {
        let leaf = leaf_hash(&index.to_be_bytes());
        frontier.push(leaf).unwrap();
        roots.insert(index + 1, frontier.root());
        full.extend(
            edge.push(leaf)
                .unwrap()
                .into_iter()
                .map(|full| (full.tile, full.bytes)),
        );
    }
    let partial: Vec<_> = edge.partial().collect();
    let read = |tile: Tile| -> Result<Vec<u8>, Flaw> {
        let found = full.get(&Tile { width: 256, ..tile }).or_else(|| {
            partial
                .iter()
                .find(|(at, _)| (at.level, at.index) == (tile.level, tile.index))
                .map(|(_, bytes)| bytes)
        });
        found
            .cloned()
            .ok_or_else(|| Flaw::TileMissing { path: tile.path() })
    };
    for index in (0..size).step_by(997).chain([65_535, 65_536, 69_999]) {
        let proof = inclusion_proof(index, size, read).unwrap();
        verify_inclusion(
            &leaf_hash(&index.to_be_bytes()),
            index,
            size,
            &proof,
            &roots[&size],
        )
        .unwrap();
    }
    for old in (0..=size)
        .step_by(1_009)
        .chain([65_535, 65_536, 65_537, size])
    {
        let proof = consistency_proof(old, size, read).unwrap();
        verify_consistency((old, &roots[&old]), (size, &roots[&size]), &proof).unwrap();
        assert_eq!(frontier_at(old, read).unwrap().root(), roots[&old]);
    }
}

#[test]
fn a_proof_reads_the_tiles_that_were_foretold() {
    let sample = Sample::new(777);
    for (index, size) in [(0, 1), (5, 300), (776, 777), (256, 257), (255, 777)] {
        let mut read = Vec::new();
        inclusion_proof(index, size, |tile| {
            read.push(tile);
            sample.tile(tile)
        })
        .unwrap();
        assert_eq!(read, inclusion_tiles(index, size).unwrap());
    }
    let mut read = Vec::new();
    consistency_proof(300, 777, |tile| {
        read.push(tile);
        sample.tile(tile)
    })
    .unwrap();
    assert_eq!(read, consistency_tiles(300, 777).unwrap());
    assert_eq!(
        frontier_tiles(512).unwrap(),
        [Tile {
            level: 1,
            index: 0,
            width: 2
        }]
    );
}

#[test]
fn questions_beyond_the_tree_are_refused() {
    let sample = Sample::new(10);
    assert_eq!(
        inclusion_proof(10, 10, |tile| sample.tile(tile)),
        Err(Flaw::IndexBeyond {
            index: 10,
            size: 10
        })
    );
    assert_eq!(
        consistency_proof(11, 10, |tile| sample.tile(tile)),
        Err(Flaw::SizesReversed { old: 11, new: 10 })
    );
    assert!(matches!(
        inclusion_proof(0, 300, |tile| sample.tile(tile)),
        Err(Flaw::TileWidth { .. } | Flaw::TileMissing { .. })
    ));
    assert!(matches!(
        inclusion_proof(0, u64::MAX, |tile| sample.tile(tile)),
        Err(Flaw::TreeTooLarge)
    ));
}

#[test]
fn a_proof_with_any_hash_altered_left_out_or_added_is_refused() {
    let sample = Sample::new(257);
    let root = sample.frontier.root();
    let mut old = Frontier::new();
    sample.hashes()[..100]
        .iter()
        .for_each(|hash| old.push(*hash).unwrap());
    let inclusion = inclusion_proof(100, 257, |tile| sample.tile(tile)).unwrap();
    let consistency = consistency_proof(100, 257, |tile| sample.tile(tile)).unwrap();
    let leaf = sample.records[100].leaf_hash();
    let included = |proof: &[Hash]| verify_inclusion(&leaf, 100, 257, proof, &root);
    let consistent = |proof: &[Hash]| verify_consistency((100, &old.root()), (257, &root), proof);
    included(&inclusion).unwrap();
    consistent(&consistency).unwrap();
    type Check<'a> = &'a dyn Fn(&[Hash]) -> Result<(), Flaw>;
    for (proof, check) in [
        (inclusion, &included as Check<'_>),
        (consistency, &consistent),
    ] {
        for place in 0..proof.len() {
            let mut altered = proof.clone();
            altered[place] = node_hash(&altered[place], &root);
            assert!(check(&altered).is_err());
            let mut shorter = proof.clone();
            shorter.remove(place);
            assert!(check(&shorter).is_err());
            let mut longer = proof.clone();
            longer.insert(place, root);
            assert!(check(&longer).is_err());
        }
    }
}

proptest! {
    #[test]
    fn a_leaf_is_included_at_its_own_index_alone(size in 1_u64..600, index: prop::sample::Index, other: prop::sample::Index) {
        let mut edge = Edge::new();
        let mut full = std::collections::HashMap::new();
        for leaf in 0..size {
            full.extend(edge.push(leaf_hash(&leaf.to_be_bytes())).unwrap().into_iter().map(|full| (full.tile, full.bytes)));
        }
        full.extend(edge.partial());
        let (index, other) = (index.index(size as usize) as u64, other.index(size as usize) as u64);
        let proof = inclusion_proof(index, size, |tile| full.get(&tile).cloned().ok_or(Flaw::TreeTooLarge)).unwrap();
        let root = edge.frontier().unwrap().root();
        let verified = verify_inclusion(&leaf_hash(&index.to_be_bytes()), other, size, &proof, &root);
        prop_assert_eq!(verified.is_ok(), index == other);
    }
}
