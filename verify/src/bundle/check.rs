//! The verification of a bundle as it is read, with the keys that somebody trusts and nothing else.
//!
//! It reads its source once, from the beginning to the end, and holds no more than a few tiles and the longest line.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use data_encoding::{BASE64, HEXLOWER};

use super::tape::{Stop, Tape, is_listed};
use super::{
    CHECKPOINT, Commitment, KEYS, LINE_LIMIT, MANIFEST, Manifest, Measure, PARTS, PartsLine,
    RECORDS, TILES, Tiling, tiles,
};
use crate::checkpoint::{Origin, SignedCheckpoint, VerifierKey};
use crate::entry::{Entry, Event, Fact, LEAF_LIMIT, PartName};
use crate::flaw::Flaw;
use crate::merkle::{Frontier, Hash};
use crate::verify::{Evidence, Finding, Kept, LISTED, Restored, Unchecked, Verification};

/// The most bytes of a manifest, and of a file of keys.
const SMALL: u64 = 4 << 20;

/// Something that is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// A file that is not what it must be; what stands behind it was not read.
    Broken(Flaw),
    /// None of the keys that are trusted is one of the log's.
    UnknownKey {
        /// The log.
        origin: String,
        /// How many keys were given.
        given: usize,
    },
    /// A key that took over without a word of the log about it ahead of its first checkpoint.
    Unannounced {
        /// The key.
        key: String,
    },
    /// A key of another life of the log took over without an entry of the restore that began that life.
    Unrestored {
        /// The key.
        key: String,
    },
    /// The log announces a key that the bundle does not have.
    KeyMissing {
        /// The entry that announces it.
        index: u64,
    },
    /// The tiles are not those that the checkpoint commits to.
    Tiles,
    /// A sealed part is not what its line has the SHA-256 of.
    PartAltered {
        /// Its entry.
        index: u64,
        /// Which.
        name: String,
    },
    /// The parts are not those that the entries have.
    Parts,
    /// The entries.
    Log(Finding),
}

/// Something that could not be checked with the bundle alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// What parts say is sealed under keys that only the service has.
    Says,
    /// Nothing vouches for the time of the export.
    ExportedAt,
    /// Keys older than the trusted ones, which the trusted ones do not vouch for.
    OlderKeys {
        /// How many.
        count: usize,
    },
    /// Of the log.
    Log(Unchecked),
}

/// What was checked of a bundle, what was found, and what could not be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What it says that it holds, if that could be read.
    pub manifest: Option<Manifest>,
    /// The trusted key, or the one that it was handed over to, by which the checkpoint is signed.
    pub signed_by: Option<VerifierKey>,
    /// Entries that were read.
    pub entries: u64,
    /// Sealed parts whose hash was compared with their entry's.
    pub parts: u64,
    /// Tiles that were compared.
    pub tiles: u64,
    /// Rotations of the key that were followed.
    pub rotations: usize,
    /// Restores that the log records.
    pub restored: Vec<Restored>,
    /// What is wrong, the first [`LISTED`] of it.
    pub wrong: Vec<Wrong>,
    /// How much is wrong.
    pub found: u64,
    /// What could not be checked.
    pub unchecked: Vec<Unseen>,
    /// Whether all of it was read.
    complete: bool,
}

impl Verdict {
    /// Whether all of it was read, a trusted key has signed it, and nothing is wrong.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.complete && self.found == 0 && self.signed_by.is_some()
    }

    const fn new() -> Self {
        Self {
            manifest: None,
            signed_by: None,
            entries: 0,
            parts: 0,
            tiles: 0,
            rotations: 0,
            restored: Vec::new(),
            wrong: Vec::new(),
            found: 0,
            unchecked: Vec::new(),
            complete: false,
        }
    }

    fn find(&mut self, wrong: Wrong) {
        self.found += 1;
        if self.wrong.len() < LISTED {
            self.wrong.push(wrong);
        }
    }
}

/// Verifies a bundle with the keys that somebody trusts, and holds it against what they have kept of the log; `progress` is told how many
/// entries were read, and of how many.
///
/// # Errors
/// It cannot be read. What is read and wrong is in the verdict.
pub fn verify(
    from: impl Read,
    trusted: &[VerifierKey],
    kept: &[Kept],
    mut progress: impl FnMut(u64, u64),
) -> io::Result<Verdict> {
    let mut verdict = Verdict::new();
    match read(
        Tape::new(from),
        (trusted, kept),
        &mut verdict,
        &mut progress,
    ) {
        Ok(()) => {}
        Err(Stop::Flaw(flaw)) => verdict.find(Wrong::Broken(flaw)),
        Err(Stop::Io(error)) => return Err(error),
    }
    Ok(verdict)
}

fn read(
    mut tape: Tape<impl Read>,
    (trusted, kept): (&[VerifierKey], &[Kept]),
    verdict: &mut Verdict,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), Stop> {
    let manifest = Manifest::parse(&tape.whole(MANIFEST, None, SMALL)?)?;
    verdict.manifest = Some(manifest.clone());
    let keys = read_keys(&tape.listed(manifest.file(KEYS)?, SMALL)?, &manifest)?;
    let checkpoint = tape.listed(manifest.file(CHECKPOINT)?, SMALL)?;
    let signed = SignedCheckpoint::parse(&checkpoint)?;
    let mut chain = Chain::new(keys, trusted, &manifest)?;
    for size in manifest.rotations() {
        let path = format!("rotations/{size}");
        let note = SignedCheckpoint::parse(&tape.listed(manifest.file(&path)?, SMALL)?)?;
        chain.rotation(&path, size, note)?;
    }
    let newest = chain.finish(&signed, verdict)?;
    let before = read_tiles(&mut tape, &manifest, &signed, verdict)?;
    let rotations = chain.vouched_for().iter().cloned().map(Kept::Signed);
    let all: Vec<Kept> = rotations.chain(kept.iter().cloned()).collect();
    let mut verification = Verification::new(Evidence {
        checkpoint: Some(&checkpoint),
        kept: &all,
        keys: chain.reached(),
        origin: None,
        before,
    });
    let mut commitment = Commitment::default();
    let mut lines = tape.lines(manifest.file(RECORDS)?)?;
    while let Some(leaf) = lines.next(LEAF_LIMIT)? {
        verification.push(&leaf, &[]);
        verdict.entries += 1;
        if let Ok(entry) = Entry::parse(&leaf) {
            commitment.push(entry.index, &entry.parts);
            chain.announced(&entry, verdict);
        }
        progress(verdict.entries, manifest.size - manifest.first);
    }
    lines.finish()?;
    let absent = read_parts(&mut tape, &manifest, commitment, verdict)?;
    tape.finish()?;
    for key in chain.unannounced() {
        verdict.find(Wrong::Unannounced {
            key: key.to_string(),
        });
    }
    for key in chain.unrestored(manifest.first) {
        verdict.find(Wrong::Unrestored {
            key: key.to_string(),
        });
    }
    let report = verification.finish();
    let listed = u64::try_from(report.findings.len()).unwrap_or_default();
    for finding in report.findings {
        verdict.find(Wrong::Log(finding));
    }
    verdict.found += report.found.saturating_sub(listed);
    verdict.restored = report.restored;
    verdict.signed_by = newest;
    let largest = kept.iter().map(Kept::size).max().unwrap_or_default();
    verdict.unchecked = unchecked(report.unchecked, absent, (chain.older(), largest));
    verdict.complete = true;
    Ok(())
}

fn unchecked(of_log: Vec<Unchecked>, absent: u64, (older, kept): (usize, u64)) -> Vec<Unseen> {
    // The log was shown its leaves alone; the parts were compared beside it.
    let of_log = of_log
        .into_iter()
        .filter(|one| !matches!(one, Unchecked::PartsAbsent { .. }))
        // What a bundle brings of checkpoints itself was not kept by anybody.
        .map(|one| match one {
            Unchecked::RollBack { .. } => Unchecked::RollBack { kept },
            other => other,
        });
    let parts = (absent > 0).then_some(Unchecked::PartsAbsent { count: absent });
    let older = (older > 0).then_some(Unseen::OlderKeys { count: older });
    parts
        .into_iter()
        .chain(of_log)
        .map(Unseen::Log)
        .chain([Unseen::Says, Unseen::ExportedAt])
        .chain(older)
        .collect()
}

fn broken(file: &str, what: &str) -> Flaw {
    Flaw::Bundle {
        file: file.into(),
        what: what.into(),
    }
}

fn read_keys(bytes: &[u8], manifest: &Manifest) -> Result<Vec<VerifierKey>, Flaw> {
    let text = std::str::from_utf8(bytes).ok();
    let text = text.and_then(|text| text.strip_suffix('\n'));
    let text = text.ok_or_else(|| broken(KEYS, "it is not lines of text"))?;
    let origin: Origin = manifest.origin.parse()?;
    let mut keys: Vec<VerifierKey> = Vec::new();
    for line in text.split('\n') {
        let key: VerifierKey = line.parse()?;
        let (name, origin) = (key.name(), &origin);
        if !name.is_of_same_log(origin) || keys.contains(&key) {
            return Err(broken(KEYS, "a key is of another log, or there twice"));
        }
        keys.push(key);
    }
    if keys.last().is_some_and(|key| *key.name() != origin) {
        return Err(broken(KEYS, "the last is of another life of the log"));
    }
    Ok(keys)
}

/// The keys of a log, from the newest that is trusted on: each was handed over to by the one before.
struct Chain {
    keys: Vec<VerifierKey>,
    rotations: Vec<SignedCheckpoint>,
    announced: Vec<bool>,
    /// Lives that an entry says ended with a restore, and the index of that entry.
    restored: Vec<(u64, String)>,
    trusted: Option<usize>,
    given: usize,
}

impl Chain {
    fn new(
        keys: Vec<VerifierKey>,
        trusted: &[VerifierKey],
        manifest: &Manifest,
    ) -> Result<Self, Flaw> {
        if manifest.rotations().count() + 1 != keys.len() {
            return Err(broken(
                KEYS,
                "each key but the first has a checkpoint in `rotations/`, and there are more or fewer",
            ));
        }
        Ok(Self {
            trusted: keys.iter().rposition(|key| trusted.contains(key)),
            announced: vec![false; keys.len()],
            restored: Vec::new(),
            rotations: Vec::new(),
            given: trusted.len(),
            keys,
        })
    }

    /// Takes the next checkpoint by which a key took over.
    fn rotation(&mut self, path: &str, size: u64, note: SignedCheckpoint) -> Result<(), Flaw> {
        let at = self.rotations.len();
        let last = self
            .rotations
            .last()
            .map_or(0, |note| note.checkpoint().size);
        let said = note.checkpoint();
        if said.size != size || size <= last {
            return Err(broken(
                path,
                "it is of another size than its name, or out of order",
            ));
        }
        // Where another life of the log began, the key before is of the one before.
        for key in self.keys.iter().skip(at).take(1) {
            note.vouched_for_by(key)?;
        }
        for key in self.keys.iter().skip(at + 1).take(1) {
            note.verify(std::slice::from_ref(key))?;
        }
        self.rotations.push(note);
        Ok(())
    }

    /// The newest key, if it is trusted or was handed over to; it must have signed the checkpoint.
    fn finish(
        &self,
        checkpoint: &SignedCheckpoint,
        verdict: &mut Verdict,
    ) -> Result<Option<VerifierKey>, Flaw> {
        let newest = self
            .keys
            .last()
            .ok_or_else(|| broken(KEYS, "it is empty"))?;
        checkpoint.verify(std::slice::from_ref(newest))?;
        let size = checkpoint.checkpoint().size;
        if self
            .rotations
            .last()
            .is_some_and(|note| note.checkpoint().size > size)
        {
            return Err(broken(CHECKPOINT, "a key took over behind it"));
        }
        let Some(at) = self.trusted else {
            verdict.find(Wrong::UnknownKey {
                origin: checkpoint.checkpoint().origin.to_string(),
                given: self.given,
            });
            return Ok(None);
        };
        verdict.rotations = self.keys.len() - 1 - at;
        Ok(Some(newest.clone()))
    }

    /// The keys that are trusted or were handed over to. Where none is, the bundle's own, to say what else is wrong.
    fn reached(&self) -> &[VerifierKey] {
        self.keys
            .get(self.trusted.unwrap_or_default()..)
            .unwrap_or_default()
    }

    /// The checkpoints that one of [`Chain::reached`] has signed.
    fn vouched_for(&self) -> &[SignedCheckpoint] {
        let first = self.trusted.unwrap_or_default().saturating_sub(1);
        self.rotations.get(first..).unwrap_or_default()
    }

    /// How many keys are older than the trusted one.
    fn older(&self) -> usize {
        self.trusted.unwrap_or_default()
    }

    /// Notes that an entry announces a key, ahead of the checkpoint by which it took over.
    fn announced(&mut self, entry: &Entry, verdict: &mut Verdict) {
        if let (Event::LogRestored, Some(Fact::Restored { incarnation, .. })) =
            (entry.event, &entry.fact)
        {
            let ended = (entry.index, incarnation.as_str().to_owned());
            self.restored.push(ended);
        }
        let (Event::LogKeyRotated, Some(Fact::NewKey(new))) = (entry.event, &entry.fact) else {
            return;
        };
        let Some(at) = self.keys.iter().position(|key| key.bytes() == new) else {
            verdict.find(Wrong::KeyMissing { index: entry.index });
            return;
        };
        let took_over = at.checked_sub(1).and_then(|at| self.rotations.get(at));
        if took_over.is_some_and(|note| entry.index < note.checkpoint().size)
            && let Some(announced) = self.announced.get_mut(at)
        {
            *announced = true;
        }
    }

    /// Keys behind the trusted one that are of another life than the one before, and no entry from `first` on says that this one had ended.
    fn unrestored(&self, first: u64) -> impl Iterator<Item = &VerifierKey> {
        let pairs = self.keys.windows(2).zip(&self.rotations);
        pairs
            .skip(self.trusted.unwrap_or_default())
            .filter_map(move |(pair, note)| {
                let [before, key] = pair else { return None };
                let took_over = note.checkpoint().size;
                let ended = before.name().incarnation();
                let is_told = before.name() == key.name()
                    || took_over <= first
                    || self
                        .restored
                        .iter()
                        .any(|(index, life)| *index < took_over && life == ended);
                (!is_told).then_some(key)
            })
    }

    /// Keys behind the trusted one that the log says nothing about.
    fn unannounced(&self) -> impl Iterator<Item = &VerifierKey> {
        let behind = self.trusted.unwrap_or_default() + 1;
        self.keys
            .iter()
            .zip(&self.announced)
            .skip(behind)
            .filter(|(_, announced)| !**announced)
            .map(|(key, _)| key)
    }
}

/// Reads the tiles, which must be those of the checkpoint; the tree ahead of the first entry.
fn read_tiles(
    tape: &mut Tape<impl Read>,
    manifest: &Manifest,
    signed: &SignedCheckpoint,
    verdict: &mut Verdict,
) -> Result<Frontier, Stop> {
    let head = signed.checkpoint();
    if (head.size, head.origin.as_str()) != (manifest.size, manifest.origin()) {
        return Err(broken(
            CHECKPOINT,
            "it is of another size or another log than the manifest says",
        )
        .into());
    }
    let mut tiling = Tiling::new(manifest.first);
    let mut measure = Measure::default();
    for tile in tiles(manifest.size) {
        let bytes = u64::from(tile.width) * 32;
        let content = tape.whole(&tile.path(), Some(bytes), bytes)?;
        measure.push(&content);
        tiling.push(tile, &content)?;
        verdict.tiles += 1;
    }
    is_listed(&measure.listed(TILES), manifest.file(TILES)?)?;
    let (before, root) = tiling.finish()?;
    if root != head.root {
        verdict.find(Wrong::Tiles);
    }
    Ok(before)
}

/// Reads the parts, which must be those that the leaves have the hashes of; how many are not there.
fn read_parts(
    tape: &mut Tape<impl Read>,
    manifest: &Manifest,
    wanted: Commitment,
    verdict: &mut Verdict,
) -> Result<u64, Stop> {
    let mut found = Commitment::default();
    let mut absent = 0;
    let mut lines = tape.lines(manifest.file(PARTS)?)?;
    while let Some(line) = lines.next(LINE_LIMIT)? {
        let line: PartsLine = serde_json::from_slice(&line)
            .map_err(|error| broken(PARTS, &format!("a line is none: {error}")))?;
        let mut hashes = BTreeMap::new();
        for part in line.parts {
            let (name, hash) = (PartName::parse(&part.name), read_hash(&part.sha256));
            let (Some(known), Some(hash)) = (name, hash) else {
                return Err(broken(PARTS, "a part has no name that parts have, or no hash").into());
            };
            if hashes
                .last_key_value()
                .is_some_and(|(last, _)| *last >= known)
            {
                return Err(broken(PARTS, "parts are out of order").into());
            }
            hashes.insert(known, hash);
            let Some(sealed) = part.sealed else {
                absent += 1;
                continue;
            };
            verdict.parts += 1;
            let sealed = BASE64.decode(sealed.as_bytes()).ok();
            if sealed.is_none_or(|sealed| Hash::of(&sealed) != hash) {
                verdict.find(Wrong::PartAltered {
                    index: line.index,
                    name: part.name,
                });
            }
        }
        found.push(line.index, &hashes);
    }
    lines.finish()?;
    if found.finish() != wanted.finish() {
        verdict.find(Wrong::Parts);
    }
    Ok(absent)
}

fn read_hash(text: &str) -> Option<Hash> {
    Hash::from_slice(&HEXLOWER.decode(text.as_bytes()).ok()?)
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(flaw) => write!(f, "{flaw}"),
            Self::UnknownKey { origin, given: 0 } => write!(
                f,
                "unknown key: no key was given, and what a bundle says of its own keys proves nothing; give that of `{origin}` \
                 with --key, as its operator prints it with `cedarkeep audit checkpoint SLUG --key`"
            ),
            Self::UnknownKey { origin, given } => write!(
                f,
                "unknown key: none of the {given} that were given is a key of `{origin}`; ask its operator for it, who prints \
                 it with `cedarkeep audit checkpoint SLUG --key`"
            ),
            Self::Unannounced { key } => write!(
                f,
                "the key `{key}` took over, and no entry ahead of that says so; give this key with --key if its operator \
                 vouches for it"
            ),
            Self::Unrestored { key } => write!(
                f,
                "the key `{key}` is of another incarnation of the log, and no entry ahead of its first checkpoint says that the one before \
                 ended with a restore"
            ),
            Self::KeyMissing { index } => write!(
                f,
                "entry {index} announces a key that is not among the bundle's"
            ),
            Self::Tiles => write!(f, "the tiles are not those that the checkpoint commits to"),
            Self::PartAltered { index, name } => write!(
                f,
                "entry {index}: the sealed part `{name}` is not what the entry has the hash of"
            ),
            Self::Parts => write!(f, "the parts are not those that the entries have"),
            Self::Log(finding) => write!(f, "{finding}"),
        }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Says => write!(
                f,
                "whether parts say what is written beside their sealed bytes: only the service can open them"
            ),
            Self::ExportedAt => write!(f, "when it was exported: nobody has signed that"),
            Self::OlderKeys { count } => write!(
                f,
                "{count} keys older than the one that was given, and what they alone have signed"
            ),
            Self::Log(unchecked) => write!(f, "{unchecked}"),
        }
    }
}
