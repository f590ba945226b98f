//! A log as one file that proves itself: what is in it, in which order, and how it is written.
//!
//! # Format `cedarkeep.bundle.v1`
//!
//! A tar archive (POSIX ustar, every header as [`tape::header`] makes it: mode 0644, no owner, no time) of these files, in
//! this order and no others, ended by two blocks of zeros and nothing behind them:
//!
//! | File | Holds |
//! | --- | --- |
//! | `manifest.json` | [`Manifest`]: format, origin, first index, size, time of the export, and of every other file its bytes and SHA-256 |
//! | `keys` | the log's verifier keys (C2SP signed note), one a line, the oldest first, those of earlier lives of the log included; the last has signed `checkpoint` |
//! | `checkpoint` | the last checkpoint (C2SP tlog-checkpoint), of `size` entries |
//! | `rotations/<size>` | for each key but the first the checkpoint by which it took over, signed by the key before and by it |
//! | `tile/<L>/<N>[.p/<W>]` | the hash tiles (C2SP tlog-tiles) of the tree of `size`: each tile of level 0 in order, behind it the tiles above that it makes full, at last the partial ones from level 0 up |
//! | `records.jsonl` | the leaves, verbatim, one a line, from index `first` on |
//! | `parts.jsonl` | one line for each entry that has parts: `index`, and of each part in the order of names its `name`, the `sha256` that the leaf has, the `sealed` bytes in base 64 (or null where they are gone), and what it `says` (`"[erased]"` where nobody can open it any more) |
//!
//! Numbers are decimal strings. In the manifest all tiles are one line, `tile/`, with their number, and bytes and SHA-256 of their
//! contents one behind the other, so that a manifest is short whatever the size. Its own `sha256` is that of the manifest with
//! this member empty: it finds accidents, and proves nothing. Unpacked, `checkpoint` and `tile/` are a log that any reader of
//! tlog-tiles can read.
//!
//! What proves the leaves is the signature on `checkpoint`, by a key that the verifier got elsewhere. A bundle that is changed in
//! any byte is refused; one that is made anew by somebody without the key is not sound.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::checkpoint::{Origin, SignedCheckpoint, VerifierKey};
use super::entry::{Entry, PartName, SealedPart, Time};
use super::flaw::Flaw;
use super::merkle::{Frontier, Hash, SIZE_LIMIT, read_hashes};
use super::tiles::{Edge, FullTile, Tile, WIDTH};

mod check;
mod tape;
mod write;

pub use check::{Unseen, Verdict, Wrong, verify};
pub use write::{Survey, Writing};

/// What a manifest says that it is.
pub const FORMAT: &str = "cedarkeep.bundle.v1";

/// What stands in place of what nobody can open any more.
pub const ERASED: &str = "[erased]";

/// The first file.
pub const MANIFEST: &str = "manifest.json";

/// The other files, in their order; the rotations stand behind the checkpoint.
const KEYS: &str = "keys";
const CHECKPOINT: &str = "checkpoint";
const TILES: &str = "tile/";
const RECORDS: &str = "records.jsonl";
const PARTS: &str = "parts.jsonl";

/// The most bytes of a line about the parts of one entry.
const LINE_LIMIT: usize = 1 << 28;

/// What a log's checkpoints were signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signers {
    /// The keys, the oldest first.
    pub keys: Vec<VerifierKey>,
    /// For each key but the first, the checkpoint by which it took over.
    pub rotations: Vec<SignedCheckpoint>,
}

impl Signers {
    fn keys_text(&self) -> String {
        self.keys.iter().map(|key| format!("{key}\n")).collect()
    }
}

/// Which log, from where on, up to where, and when it was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Its name.
    pub origin: Origin,
    /// The least index that is kept, a multiple of 256.
    pub first: u64,
    /// The index behind the last.
    pub size: u64,
    /// The time of the export.
    pub exported_at: Time,
}

/// What a bundle says that it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    origin: String,
    #[serde(with = "decimal")]
    first: u64,
    #[serde(with = "decimal")]
    size: u64,
    exported_at: String,
    files: Vec<Listed>,
    sha256: String,
}

/// A file as the manifest has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    path: String,
    #[serde(with = "decimal")]
    bytes: u64,
    sha256: String,
}

impl Manifest {
    fn new(extent: &Extent, files: Vec<Listed>) -> Self {
        let mut manifest = Self {
            format: FORMAT.into(),
            origin: extent.origin.to_string(),
            first: extent.first,
            size: extent.size,
            exported_at: extent.exported_at.to_string(),
            files,
            sha256: String::new(),
        };
        manifest.sha256 = Hash::of(&manifest.to_bytes()).to_string();
        manifest
    }

    /// The log that it says it is of.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The index of the first entry.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The index behind the last entry.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// When it says that it was exported; nothing vouches for it.
    #[must_use]
    pub fn exported_at(&self) -> &str {
        &self.exported_at
    }

    /// How many bytes the whole bundle has.
    #[must_use]
    pub fn length(&self) -> u64 {
        let own = u64::try_from(self.to_bytes().len()).unwrap_or(u64::MAX);
        let files = self.files.iter().filter(|file| file.path != TILES);
        let tiles = tiles(self.size).map(|tile| u64::from(tile.width) * 32);
        tape::END
            + files
                .map(|file| file.bytes)
                .chain([own])
                .chain(tiles)
                .map(tape::length)
                .sum::<u64>()
    }

    /// Its bytes.
    fn to_bytes(&self) -> Vec<u8> {
        // Strings and lists of strings: this cannot fail.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads one, and nothing but what is written by [`Manifest::to_bytes`] about files that a bundle of this size has.
    fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let wrong = |what: String| Flaw::Bundle {
            file: MANIFEST.into(),
            what,
        };
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if manifest.format != FORMAT {
            let found: String = manifest.format.escape_debug().take(64).collect();
            return Err(wrong(format!(
                "its format is `{found}` and this program reads `{FORMAT}`"
            )));
        }
        let mut unsealed = manifest.clone();
        unsealed.sha256.clear();
        if manifest.to_bytes() != bytes
            || Hash::of(&unsealed.to_bytes()).to_string() != manifest.sha256
        {
            return Err(wrong("it is not as it was written".into()));
        }
        manifest.exported_at.parse::<Time>()?;
        manifest.origin.parse::<Origin>()?;
        let (first, size) = (manifest.first, manifest.size);
        if first >= size || !first.is_multiple_of(WIDTH) || size > SIZE_LIMIT {
            return Err(wrong(format!(
                "the range from {first} to {size} is none: it begins at a multiple of 256 and has an entry"
            )));
        }
        let mut expected = vec![KEYS.to_owned(), CHECKPOINT.to_owned()];
        expected.extend(manifest.rotations().map(|size| format!("rotations/{size}")));
        expected.extend([TILES, RECORDS, PARTS].map(String::from));
        if !manifest.files.iter().map(|file| &file.path).eq(&expected) {
            return Err(wrong(
                "it lists other files than a bundle has, or in another order".into(),
            ));
        }
        Ok(manifest)
    }

    /// The sizes of the checkpoints by which keys took over, as it lists them.
    fn rotations(&self) -> impl Iterator<Item = u64> + '_ {
        self.files
            .iter()
            .filter_map(|file| file.path.strip_prefix("rotations/")?.parse().ok())
    }

    fn file(&self, path: &str) -> Result<&Listed, Flaw> {
        let found = self.files.iter().find(|file| file.path == path);
        found.ok_or_else(|| Flaw::Bundle {
            file: MANIFEST.into(),
            what: format!("it does not list `{path}`"),
        })
    }
}

/// The tiles of a tree, in the order of a bundle.
pub fn tiles(size: u64) -> impl Iterator<Item = Tile> {
    let full = (0..size / WIDTH).flat_map(|index| {
        let done = index + 1;
        (0..8_u8)
            .take_while(move |level| done.is_multiple_of(1 << (8 * u32::from(*level))))
            .map(move |level| Tile {
                level,
                index: (done >> (8 * u32::from(level))) - 1,
                width: 256,
            })
    });
    let partial = (0..8_u8).filter_map(move |level| {
        let hashes = size >> (8 * u32::from(level));
        let width = u16::try_from(hashes % WIDTH)
            .ok()
            .filter(|width| *width > 0)?;
        Some(Tile {
            level,
            index: hashes / WIDTH,
            width,
        })
    });
    full.chain(partial)
}

/// Tiles that come in the order of [`tiles`]: those of level 0 make a tree, and the others must be that tree's.
#[derive(Debug)]
struct Tiling {
    edge: Edge,
    first: u64,
    before: Option<Frontier>,
    due: Vec<FullTile>,
}

impl Tiling {
    fn new(first: u64) -> Self {
        Self {
            edge: Edge::new(),
            first,
            before: (first == 0).then(Frontier::new),
            due: Vec::new(),
        }
    }

    fn push(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), Flaw> {
        let hashes = read_hashes(bytes)
            .filter(|hashes| hashes.len() == usize::from(tile.width))
            .ok_or_else(|| Flaw::TileWidth {
                path: tile.path(),
                bytes: bytes.len(),
            })?;
        if tile.level == 0 {
            for hash in hashes {
                self.due.extend(
                    self.edge
                        .push(hash)?
                        .into_iter()
                        .filter(|full| full.tile.level > 0),
                );
            }
            self.due.reverse();
            if self.edge.size() == self.first {
                self.before = Some(self.edge.frontier()?);
            }
            return Ok(());
        }
        let made = if tile.is_full() {
            self.due.pop().map(|full| (full.tile, full.bytes))
        } else {
            self.edge.partial().find(|(partial, _)| *partial == tile)
        };
        if made.is_some_and(|(made, held)| made == tile && held == bytes) {
            Ok(())
        } else {
            Err(Flaw::Bundle {
                file: tile.path(),
                what: "it is not what the tiles beneath it make".into(),
            })
        }
    }

    /// The tree ahead of the first entry, and the root of the whole one.
    fn finish(self) -> Result<(Frontier, Hash), Flaw> {
        let before = self.before.ok_or(Flaw::TreeState {
            what: "its tiles end before its first entry",
        })?;
        Ok((before, self.edge.frontier()?.root()))
    }
}

/// A line of `parts.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartsLine {
    #[serde(with = "decimal")]
    index: u64,
    parts: Vec<Part>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    sha256: String,
    sealed: Option<String>,
    says: Value,
}

/// What a part of an entry says, as far as it was opened; nothing where the entry has no such part.
#[must_use]
pub fn says(entry: &Entry, opened: &Map<String, Value>, name: PartName) -> Option<Value> {
    entry.parts.contains_key(&name).then(|| {
        opened
            .get(name.as_str())
            .cloned()
            .unwrap_or_else(|| ERASED.into())
    })
}

/// The line about an entry's parts, with its end; nothing where it has none.
fn parts_line(
    entry: &Entry,
    sealed: &[SealedPart],
    opened: &Map<String, Value>,
) -> Result<Vec<u8>, Flaw> {
    if entry.parts.is_empty() {
        return Ok(Vec::new());
    }
    let parts = entry.parts.iter().map(|(name, hash)| Part {
        name: name.as_str().into(),
        sha256: hash.to_string(),
        sealed: sealed
            .iter()
            .find(|part| part.name == *name)
            .map(|part| BASE64.encode(&part.sealed)),
        says: says(entry, opened, *name).unwrap_or_default(),
    });
    let line = PartsLine {
        index: entry.index,
        parts: parts.collect(),
    };
    let mut line = serde_json::to_vec(&line).unwrap_or_default();
    line.push(b'\n');
    if line.len() > LINE_LIMIT {
        return Err(Flaw::Bundle {
            file: PARTS.into(),
            what: format!("the parts of entry {} are too long for it", entry.index),
        });
    }
    Ok(line)
}

/// Bytes that are counted and hashed as they go by.
#[derive(Debug, Default)]
struct Measure {
    bytes: u64,
    digest: Sha256,
}

impl Measure {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.digest.update(bytes);
    }

    fn of(path: &str, bytes: &[u8]) -> Listed {
        let mut measure = Self::default();
        measure.push(bytes);
        measure.listed(path)
    }

    fn listed(self, path: &str) -> Listed {
        Listed {
            path: path.into(),
            bytes: self.bytes,
            sha256: HEXLOWER.encode(&self.digest.finalize()),
        }
    }
}

/// What leaves say about their parts, in short: equal for the same parts of the same entries alone.
#[derive(Debug, Default)]
struct Commitment(Sha256);

impl Commitment {
    fn push(&mut self, index: u64, parts: &BTreeMap<PartName, Hash>) {
        for (name, hash) in parts {
            self.0.update(index.to_be_bytes());
            self.0.update(name.as_str());
            self.0.update([0]);
            self.0.update(hash.bytes());
        }
    }

    fn finish(self) -> Hash {
        Hash::new(self.0.finalize().into())
    }
}

/// A number as a decimal string, written plainly.
mod decimal {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let number: Option<u64> = text.parse().ok();
        number
            .filter(|number| number.to_string() == text)
            .ok_or_else(|| D::Error::custom("a number is not a plain decimal string"))
    }
}
