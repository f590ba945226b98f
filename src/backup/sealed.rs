//! One sealed file of a backup: a Cobblestone-256 message, written and read chunk by chunk.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::BackupError;
use crate::crypto::CryptoError;
use crate::crypto::cobblestone::{Chunk, HEADER, Key, Opener, SEALED_CHUNK, Salt, Sealer};

/// What a file is, as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lying {
    /// Its length in bytes.
    pub(super) bytes: u64,
    /// The SHA-256 of its bytes.
    pub(super) sha256: [u8; 32],
}

/// A file being written.
pub(super) struct Writing {
    path: PathBuf,
    file: BufWriter<File>,
    sealer: Sealer,
    sealed: Vec<u8>,
    digest: Sha256,
    bytes: u64,
}

impl Writing {
    /// Begins a file that is not there yet.
    pub(super) fn begin(path: PathBuf, key: &Key, context: &[u8]) -> Result<Self, BackupError> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let file = made.map_err(|cause| BackupError::write(&path, cause))?;
        let mut sealed = Vec::new();
        let sealer = Sealer::start(key, context, Salt::random()?, &mut sealed);
        let mut writing = Self {
            path,
            file: BufWriter::new(file),
            sealer,
            sealed,
            digest: Sha256::new(),
            bytes: 0,
        };
        writing.flush()?;
        Ok(writing)
    }

    /// Takes the next piece of the text.
    pub(super) fn push(&mut self, text: &[u8]) -> Result<(), BackupError> {
        self.sealer.push(text, &mut self.sealed)?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), BackupError> {
        self.digest.update(&self.sealed);
        self.bytes += self.sealed.len() as u64;
        let written = self.file.write_all(&self.sealed);
        self.sealed.clear();
        written.map_err(|cause| BackupError::write(&self.path, cause))
    }

    /// Ends the message, and has the disk keep it.
    pub(super) fn finish(self) -> Result<Lying, BackupError> {
        let Self {
            path,
            mut file,
            sealer,
            mut sealed,
            mut digest,
            bytes,
        } = self;
        sealer.finish(&mut sealed)?;
        digest.update(&sealed);
        let kept = file
            .write_all(&sealed)
            .and_then(|()| file.flush())
            .and_then(|()| file.get_ref().sync_all());
        kept.map_err(|cause| BackupError::write(&path, cause))?;
        Ok(Lying {
            bytes: bytes + sealed.len() as u64,
            sha256: digest.finalize().into(),
        })
    }
}

/// The text of a sealed file, as far as it has been read and found to be what was sealed.
pub(super) struct Text {
    file: BufReader<File>,
    opener: Opener,
    index: u64,
    sealed: Vec<u8>,
    text: Zeroizing<Vec<u8>>,
    at: usize,
    ended: bool,
    digest: Sha256,
    bytes: u64,
}

impl Text {
    /// Opens a file by its first bytes.
    pub(super) fn open(path: &Path, key: &Key, context: &[u8]) -> Result<Self, BackupError> {
        let opened = OpenOptions::new().read(true).open(path);
        let mut file = BufReader::new(opened.map_err(|cause| BackupError::read(path, cause))?);
        let mut header = [0; HEADER];
        match file.read_exact(&mut header) {
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(CryptoError::Truncated.into());
            }
            read => read.map_err(|cause| BackupError::read(path, cause))?,
        }
        let opener = Opener::start(key, context, &header)?;
        let mut digest = Sha256::new();
        digest.update(header);
        Ok(Self {
            file,
            opener,
            index: 0,
            sealed: Vec::with_capacity(SEALED_CHUNK),
            text: Zeroizing::new(Vec::with_capacity(SEALED_CHUNK)),
            at: 0,
            ended: false,
            digest,
            bytes: HEADER as u64,
        })
    }

    /// What the file is, once its text was read to the end.
    pub(super) fn lying(self) -> Option<Lying> {
        (self.ended && self.at == self.text.len()).then(|| Lying {
            bytes: self.bytes,
            sha256: self.digest.finalize().into(),
        })
    }

    /// How many bytes of the file were read.
    pub(super) const fn position(&self) -> u64 {
        self.bytes
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        self.sealed.clear();
        let limit = SEALED_CHUNK as u64;
        self.file
            .by_ref()
            .take(limit)
            .read_to_end(&mut self.sealed)?;
        self.digest.update(&self.sealed);
        self.bytes += self.sealed.len() as u64;
        self.text.clear();
        self.at = 0;
        let opened = self
            .opener
            .open_chunk(self.index, &self.sealed, &mut self.text);
        let chunk = opened.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.index += 1;
        // A chunk that ends the message is short, so that nothing can follow it.
        self.ended = chunk == Chunk::Last;
        Ok(())
    }
}

impl Read for Text {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() {
            if self.ended {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let left = self.text.get(self.at..).unwrap_or_default();
        let count = left.len().min(into.len());
        if let (Some(from), Some(to)) = (left.get(..count), into.get_mut(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}
