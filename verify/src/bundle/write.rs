//! A bundle as it is written, in two passes: the first verifies the log and measures it, the second comes to the same or fails.

use serde_json::{Map, Value};

use super::{
    CHECKPOINT, Extent, KEYS, Listed, MANIFEST, Manifest, Measure, PARTS, RECORDS, Signers, TILES,
    Tiling, parts_line, tape,
};
use crate::checkpoint::SignedCheckpoint;
use crate::entry::{Entry, SealedPart};
use crate::flaw::Flaw;
use crate::tiles::Tile;
use crate::verify::{Evidence, Kept, Verification};

/// The first pass over a log that is exported: it is verified and measured. The tiles come first, then the entries.
#[derive(Debug)]
pub struct Survey {
    extent: Extent,
    signers: Signers,
    checkpoint: SignedCheckpoint,
    files: Vec<Listed>,
    tiling: Option<Tiling>,
    tiles: Measure,
    records: Measure,
    parts: Measure,
    verification: Option<Verification>,
}

impl Survey {
    /// Begins with what is small.
    ///
    /// # Errors
    /// There is no checkpoint, or not one of this log and size.
    pub fn new(extent: Extent, signers: Signers, checkpoint: &str) -> Result<Self, Flaw> {
        let signed = SignedCheckpoint::parse(checkpoint.as_bytes())?;
        let head = signed.checkpoint();
        if (head.size, &head.origin) != (extent.size, &extent.origin) {
            return Err(Flaw::Unsound {
                wrong: "its checkpoint is of another size or another log".into(),
            });
        }
        let mut files = vec![
            Measure::of(KEYS, signers.keys_text().as_bytes()),
            Measure::of(CHECKPOINT, checkpoint.as_bytes()),
        ];
        for rotation in &signers.rotations {
            let path = format!("rotations/{}", rotation.checkpoint().size);
            files.push(Measure::of(&path, rotation.to_string().as_bytes()));
        }
        Ok(Self {
            tiling: Some(Tiling::new(extent.first)),
            extent,
            signers,
            checkpoint: signed,
            files,
            tiles: Measure::default(),
            records: Measure::default(),
            parts: Measure::default(),
            verification: None,
        })
    }

    /// Takes the next of [`super::tiles`].
    ///
    /// # Errors
    /// It is not what the ones beneath it make.
    pub fn tile(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), Flaw> {
        self.tiles.push(bytes);
        match &mut self.tiling {
            Some(tiling) => tiling.push(tile, bytes),
            None => Err(Flaw::TileMissing { path: tile.path() }),
        }
    }

    /// Takes the next entry, behind all tiles.
    ///
    /// # Errors
    /// The tiles are not the log's.
    pub fn entry(
        &mut self,
        (entry, leaf): (&Entry, &[u8]),
        sealed: &[SealedPart],
        opened: &Map<String, Value>,
    ) -> Result<(), Flaw> {
        if let Some(tiling) = self.tiling.take() {
            let (before, root) = tiling.finish()?;
            if root != self.checkpoint.checkpoint().root {
                return Err(Flaw::Unsound {
                    wrong: "its tiles are not those that the checkpoint commits to".into(),
                });
            }
            let note = self.checkpoint.to_string();
            let rotations = self.signers.rotations.iter().cloned();
            let kept: Vec<Kept> = rotations.map(Kept::Signed).collect();
            self.verification = Some(Verification::new(Evidence {
                checkpoint: Some(note.as_bytes()),
                kept: &kept,
                keys: &self.signers.keys,
                origin: Some(&self.extent.origin),
                before,
            }));
        }
        if let Some(verification) = &mut self.verification {
            verification.push(leaf, sealed);
        }
        self.records.push(leaf);
        self.records.push(b"\n");
        self.parts.push(&parts_line(entry, sealed, opened)?);
        Ok(())
    }

    /// What the bundle will hold, if the log is sound.
    ///
    /// # Errors
    /// It is not.
    pub fn finish(self) -> Result<Manifest, Flaw> {
        let unsound = |wrong: String| Flaw::Unsound { wrong };
        let verification = self
            .verification
            .ok_or_else(|| unsound("it has no entries".into()))?;
        let report = verification.finish();
        if !report.is_sound() {
            let wrong = report.findings.first();
            return Err(unsound(wrong.map_or_else(
                || "its checkpoint cannot be trusted".into(),
                ToString::to_string,
            )));
        }
        let mut files = self.files;
        files.push(self.tiles.listed(TILES));
        files.push(self.records.listed(RECORDS));
        files.push(self.parts.listed(PARTS));
        Ok(Manifest::new(&self.extent, files))
    }
}

/// The second pass: the bundle is written, and must come to what was measured. Tiles, records and parts come one after the
/// other.
#[derive(Debug)]
pub struct Writing {
    manifest: Manifest,
    at: usize,
    measure: Measure,
    out: Vec<u8>,
}

impl Writing {
    /// Begins with what is small.
    ///
    /// # Errors
    /// It is not what was measured.
    pub fn new(manifest: Manifest, signers: &Signers, checkpoint: &str) -> Result<Self, Flaw> {
        let bytes = manifest.to_bytes();
        let mut writing = Self {
            manifest,
            at: 0,
            measure: Measure::default(),
            out: tape::file(MANIFEST, &bytes)?,
        };
        writing.whole(KEYS, signers.keys_text().as_bytes())?;
        writing.whole(CHECKPOINT, checkpoint.as_bytes())?;
        for rotation in &signers.rotations {
            let path = format!("rotations/{}", rotation.checkpoint().size);
            writing.whole(&path, rotation.to_string().as_bytes())?;
        }
        Ok(writing)
    }

    fn whole(&mut self, path: &str, bytes: &[u8]) -> Result<(), Flaw> {
        self.out.extend(tape::file(path, bytes)?);
        self.measure.push(bytes);
        self.end(path)
    }

    /// Ends the file that is written, which must be the one that was measured at this place.
    fn end(&mut self, path: &str) -> Result<(), Flaw> {
        let written = std::mem::take(&mut self.measure).listed(path);
        if self.manifest.files.get(self.at) != Some(&written) {
            return Err(Flaw::Bundle {
                file: path.into(),
                what: "it changed while the log was exported, as by an erasure: export it again"
                    .into(),
            });
        }
        self.at += 1;
        Ok(())
    }

    fn begin(&mut self, path: &str) -> Result<(), Flaw> {
        let bytes = self.manifest.file(path)?.bytes;
        self.out.extend(tape::header(path, bytes)?);
        Ok(())
    }

    /// Writes the next of [`super::tiles`].
    ///
    /// # Errors
    /// The path cannot be one, which none of a tile is.
    pub fn tile(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), Flaw> {
        self.out.extend(tape::file(&tile.path(), bytes)?);
        self.measure.push(bytes);
        Ok(())
    }

    /// Goes on to the leaves.
    ///
    /// # Errors
    /// The tiles are not those that were measured.
    pub fn begin_records(&mut self) -> Result<(), Flaw> {
        self.end(TILES)?;
        self.begin(RECORDS)
    }

    /// Writes the next leaf.
    pub fn record(&mut self, leaf: &[u8]) {
        for bytes in [leaf, b"\n"] {
            self.measure.push(bytes);
            self.out.extend_from_slice(bytes);
        }
    }

    /// Goes on to the parts.
    ///
    /// # Errors
    /// The leaves are not those that were measured.
    pub fn begin_parts(&mut self) -> Result<(), Flaw> {
        self.out.extend(tape::padding(self.measure.bytes));
        self.end(RECORDS)?;
        self.begin(PARTS)
    }

    /// Writes the parts of the next entry.
    ///
    /// # Errors
    /// They are too long.
    pub fn parts(
        &mut self,
        entry: &Entry,
        sealed: &[SealedPart],
        opened: &Map<String, Value>,
    ) -> Result<(), Flaw> {
        let line = parts_line(entry, sealed, opened)?;
        self.measure.push(&line);
        self.out.extend(line);
        Ok(())
    }

    /// Takes what was written since the last time.
    pub fn taken(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// How much there is to take.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Ends the bundle; the rest of it.
    ///
    /// # Errors
    /// The parts are not those that were measured.
    pub fn finish(mut self) -> Result<Vec<u8>, Flaw> {
        self.out.extend(tape::padding(self.measure.bytes));
        self.end(PARTS)?;
        self.out.extend(tape::end());
        Ok(self.out)
    }
}
