//! The log, checked by its own words and by libraries that nobody here wrote.

use std::collections::HashMap;

use cedarkeep::log::checkpoint::{Checkpoint, Origin, SignedCheckpoint, VerifierKey};
use cedarkeep::log::entry::{
    Caller, Draft, Event, Id, Outcome, PartName, PolicyId, Record, Ref, Refusal, SealedPart, Time,
    Word,
};
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::merkle::{Frontier, Hash, leaf_hash};
use cedarkeep::log::receipt::Receipt;
use cedarkeep::log::tiles::{Edge, Tile, inclusion_proof};
use ed25519_dalek::SigningKey;

mod anchor;
mod bundle;
mod checkpoint;
mod entry;
mod interop;
mod receipt;
mod segment;
mod tree;
mod verify;
mod witness;

/// The sizes at which trees change their shape.
pub const SIZES: [u64; 10] = [1, 2, 3, 7, 8, 255, 256, 257, 777, 1000];

pub fn id(prefix: &'static str, number: u64) -> Id {
    Id::of(
        prefix,
        &(u128::from(number) << 64 | 0x1234_5678).to_be_bytes(),
    )
}

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub fn origin() -> Origin {
    Origin::tenant("keep.example", id("org", 1).as_str(), id("inc", 1).as_str()).unwrap()
}

/// A decision as the service records one.
pub fn record(index: u64) -> Record {
    let outcome = if index.is_multiple_of(3) {
        Outcome::Deny(Refusal::Forbidden)
    } else {
        Outcome::Allow
    };
    let mut draft = Draft::new(Event::DecisionMade, Caller::ApiKey(id("key", 7)), outcome)
        .actor(Ref::new(Word::of("User"), id("usr", index % 11)))
        .action(Word::of("thread.read"))
        .resource(Ref::new(Word::of("Thread"), id("thr", index % 5)))
        .policies([
            PolicyId::built_in("role.member.read"),
            PolicyId::given(id("lnk", index)),
        ])
        .saw(4, index / 2);
    draft
        .attach(SealedPart {
            name: PartName::Request,
            sealed: format!("sealed request {index}").into_bytes(),
        })
        .unwrap();
    draft
        .attach(SealedPart {
            name: PartName::Client,
            sealed: format!("sealed client {index}").into_bytes(),
        })
        .unwrap();
    draft
        .at(
            index,
            Time::from_micros(1_795_000_000_000_000 + i64::try_from(index / 4).unwrap()).unwrap(),
        )
        .unwrap()
}

/// A log in memory, with its tiles.
pub struct Sample {
    pub records: Vec<Record>,
    pub frontier: Frontier,
    pub edge: Edge,
    full: HashMap<Tile, Vec<u8>>,
}

impl Sample {
    pub fn new(size: u64) -> Self {
        let mut sample = Self {
            records: Vec::new(),
            frontier: Frontier::new(),
            edge: Edge::new(),
            full: HashMap::new(),
        };
        for index in 0..size {
            sample.append(record(index));
        }
        sample
    }

    pub fn append(&mut self, record: Record) {
        self.frontier.push(record.leaf_hash()).unwrap();
        for full in self.edge.push(record.leaf_hash()).unwrap() {
            assert!(
                self.full.insert(full.tile, full.bytes).is_none(),
                "a tile became full twice"
            );
        }
        self.records.push(record);
    }

    /// The tile as a store has it: full, or the present one at the edge.
    pub fn tile(&self, tile: Tile) -> Result<Vec<u8>, Flaw> {
        let full = self.full.get(&Tile { width: 256, ..tile }).cloned();
        let partial = || {
            self.edge
                .partial()
                .find(|(at, _)| (at.level, at.index) == (tile.level, tile.index))
                .map(|(_, bytes)| bytes)
        };
        full.or_else(partial)
            .ok_or_else(|| Flaw::TileMissing { path: tile.path() })
    }

    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            origin: origin(),
            size: self.frontier.size(),
            root: self.frontier.root(),
        }
    }

    pub fn signed(&self) -> SignedCheckpoint {
        self.checkpoint().sign(&key(1))
    }

    pub fn receipt(&self, index: u64) -> Receipt {
        Receipt {
            leaf: self.records[usize::try_from(index).unwrap()].leaf.clone(),
            index,
            path: inclusion_proof(index, self.frontier.size(), |tile| self.tile(tile)).unwrap(),
            checkpoint: self.signed(),
        }
    }

    pub fn hashes(&self) -> Vec<Hash> {
        self.records
            .iter()
            .map(|record| leaf_hash(&record.leaf))
            .collect()
    }
}

pub fn keys() -> Vec<VerifierKey> {
    vec![VerifierKey::of(origin(), &key(1))]
}

/// Every way to alter one bit.
pub fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut altered = bytes.to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        altered
    })
}
