//! Content on its way out: its key unwrapped, its label read, and any range of its bytes opened, a few chunks at a time.

use zeroize::Zeroizing;

use super::{Held, Label, Vault, VaultError};
use crate::crypto::CryptoError;
use crate::crypto::cobblestone::{
    CHUNK, Chunk, HEADER, Opener, SEALED_CHUNK, chunk_of, chunk_offset,
};
use crate::crypto::hierarchy::{Wrapped, open_content_key};
use crate::crypto::sealing::{DataKeys, PREFIX};
use crate::storage::shelf::Reading;

/// How often a key is read again that a rotation has wrapped anew meanwhile.
const TRIES: usize = 5;

/// How many chunks are read and opened at a time.
const CHUNKS: u64 = 16;

/// A version that is open: what it is, and its bytes.
pub struct Opened {
    label: Label,
    bytes: Bytes,
}

enum Bytes {
    Short(Zeroizing<Vec<u8>>),
    /// With what was read last, whose place is used again.
    Long(Box<(Reading, Opener, Vec<u8>)>),
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("length", &self.label.length)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Opens a version: its key, its label, and the beginning of its bytes.
    ///
    /// # Errors
    /// Its person was forgotten; it was moved, altered or cut.
    pub async fn open(&self, held: &Held) -> Result<Opened, VaultError> {
        let row = held.spot.row();
        let index = Some(held.from_index);
        let binding = self.binding("wrapped", &row, index);
        let keys = match &held.spot.subject {
            None => self.key(held).await?,
            Some(subject) => {
                let key = self.store.subjects().get(subject).await?;
                let key = key.ok_or(VaultError::Forgotten)?;
                open_content_key(&key, &binding, &held.wrapped)?
            }
        };
        let body = self.binding("body", &row, index);
        let mut text = Zeroizing::new(keys.open(&body, &held.body)?);
        let (length, rest) = text.split_first_chunk().ok_or(VaultError::Corrupt)?;
        let length =
            usize::try_from(u32::from_be_bytes(*length)).map_err(|_| VaultError::Corrupt)?;
        let (label, _) = rest.split_at_checked(length).ok_or(VaultError::Corrupt)?;
        let label: Label = serde_json::from_slice(label).map_err(|_| VaultError::Corrupt)?;
        text.drain(..4 + length);
        let bytes = if held.shelved {
            let mut reading = self.store.shelf().open(&held.spot.version)?;
            let mut start = Vec::new();
            reading.read(0, PREFIX + HEADER, &mut start).await?;
            let opener = keys.opener(&self.binding("shelf", &row, index), &start)?;
            Bytes::Long(Box::new((reading, opener, start)))
        } else if u64::try_from(text.len()) == Ok(label.length) {
            Bytes::Short(text)
        } else {
            return Err(VaultError::Corrupt);
        };
        Ok(Opened { label, bytes })
    }

    /// The key of a version that belongs to no person.
    async fn key(&self, held: &Held) -> Result<DataKeys, VaultError> {
        let row = held.spot.row();
        let binding = self.binding("wrapped", &row, Some(held.from_index));
        let open = |wrapped: &Wrapped| {
            let keys = self.store.keys().at(held.from_index);
            open_content_key(keys.content_wrap(), &binding, wrapped)
        };
        let mut wrapped = held.wrapped.clone();
        for _ in 1..TRIES {
            match open(&wrapped) {
                // The key above has been rotated since row or keys were read.
                Err(CryptoError::UnknownVersion { .. }) => {
                    self.store.reload_keys().await?;
                    let spot = &held.spot;
                    if let Some(now) = self.version(&spot.resource, &spot.version).await? {
                        wrapped = now.wrapped;
                    }
                }
                opened => return Ok(opened?),
            }
        }
        Ok(open(&wrapped)?)
    }
}

impl Opened {
    /// What it is.
    #[must_use]
    pub const fn label(&self) -> &Label {
        &self.label
    }

    /// All of it, if it is short.
    #[must_use]
    pub fn short(&self) -> Option<&[u8]> {
        match &self.bytes {
            Bytes::Short(bytes) => Some(bytes),
            Bytes::Long(_) => None,
        }
    }

    /// The next bytes from `at` up to `end`, which is not beyond the length: a good many of them, and none once `at` is `end`.
    ///
    /// # Errors
    /// They cannot be read, or were altered or cut.
    pub async fn next(&mut self, at: u64, end: u64) -> Result<Vec<u8>, VaultError> {
        if at >= end {
            return Ok(Vec::new());
        }
        let length = self.label.length;
        match &mut self.bytes {
            Bytes::Short(bytes) => cut(bytes, at, end),
            Bytes::Long(long) => {
                let (reading, opener, sealed) = long.as_mut();
                let (first, _) = chunk_of(at);
                let (last, _) = chunk_of(end - 1);
                let count = (last - first + 1).min(CHUNKS);
                let begin = chunk_offset(first).saturating_add(size(PREFIX));
                let wanted =
                    usize::try_from(count).map_err(|_| VaultError::Corrupt)? * SEALED_CHUNK;
                let is_file = matches!(reading, Reading::File { .. });
                if !is_file {
                    reading.read(begin, wanted, sealed).await?;
                }
                let mut text = Vec::with_capacity(wanted);
                let opened = tokio::task::block_in_place(|| {
                    if is_file {
                        reading.read_file(begin, wanted, sealed)?;
                    }
                    for (index, chunk) in (first..).zip(sealed.chunks(SEALED_CHUNK)) {
                        let kind = opener.open_chunk(index, chunk, &mut text)?;
                        // The last chunk stands where the label says that the end is, and nowhere else.
                        if (kind == Chunk::Last) != (index == length / size(CHUNK)) {
                            return Err(CryptoError::Truncated.into());
                        }
                    }
                    Ok::<_, VaultError>(())
                });
                opened?;
                let base = first * size(CHUNK);
                let upto = end.min(base.saturating_add(size(text.len())));
                if upto <= at {
                    return Err(CryptoError::Truncated.into());
                }
                // Mostly all of it is wanted: then it is not copied.
                text.truncate(place(upto - base)?);
                match place(at - base)? {
                    0 => Ok(text),
                    ahead => Ok(text.split_off(ahead)),
                }
            }
        }
    }

    /// All of it from the beginning, if it is not longer than `most`.
    ///
    /// # Errors
    /// As [`Opened::next`]; [`VaultError::Corrupt`] where it is longer.
    pub async fn whole(mut self, most: u64) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let length = self.label.length;
        if length > most {
            return Err(VaultError::Corrupt);
        }
        if let Bytes::Short(bytes) = self.bytes {
            return Ok(bytes);
        }
        let mut all = Zeroizing::new(Vec::new());
        while size(all.len()) < length {
            let more = self.next(size(all.len()), length).await?;
            all.extend_from_slice(&more);
        }
        Ok(all)
    }
}

fn place(position: u64) -> Result<usize, VaultError> {
    usize::try_from(position).map_err(|_| VaultError::Corrupt)
}

fn cut(bytes: &[u8], at: u64, end: u64) -> Result<Vec<u8>, VaultError> {
    let found = bytes.get(place(at)?..place(end)?);
    found.map(<[u8]>::to_vec).ok_or(VaultError::Corrupt)
}

/// A usize never exceeds a u64 on a platform that this builds for.
fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
