//! Cobblestone-256: C2SP chunked encryption (<https://c2sp.org/chunked-encryption>) with SHA-512 and AES-256-GCM.
//!
//! `salt (24) || commitment (32) || chunks`, each chunk 16 KiB of text and a 16-byte tag, the last one
//! always shorter. Key, base nonce and commitment of a message come out of HKDF-Expand over the key, the
//! salt and the context, so a value opens under one key and in one context only.

use std::fmt;

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce, Tag};
use hmac::{Hmac, Mac};
use sha2::Sha512;
use zeroize::Zeroizing;

use super::secret::{Secret32, same};
use super::{CryptoError, random};

/// Bytes of salt at the start of a sealed message.
pub const SALT: usize = 24;
/// Bytes of commitment after the salt.
pub const COMMITMENT: usize = 32;
/// Bytes before the first chunk.
pub const HEADER: usize = SALT + COMMITMENT;
/// Bytes of text in a full chunk.
pub const CHUNK: usize = 16 * 1024;
/// Bytes that the tag adds to a chunk.
pub const TAG: usize = 16;
/// Bytes of a full chunk, sealed.
pub const SEALED_CHUNK: usize = CHUNK + TAG;
/// No message has more chunks than this.
pub const MAX_CHUNKS: u64 = 1 << 38;

const INFO: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

/// A salt, used up by the message that it seals: it must never repeat under one key, so it cannot be copied.
#[derive(Debug)]
pub struct Salt([u8; SALT]);

impl Salt {
    /// The way to make one.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn random() -> Result<Self, CryptoError> {
        Ok(Self(random()?))
    }

    /// So many, drawn at once: asking the system for each costs more than some messages' encryption.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn several(count: usize) -> Result<impl Iterator<Item = Self>, CryptoError> {
        let mut salts = vec![[0; SALT]; count];
        getrandom::fill(salts.as_flattened_mut()).map_err(CryptoError::NoRandomness)?;
        Ok(salts.into_iter().map(Self))
    }

    /// A chosen salt. Only for a caller that knows by other means that it was never used with its key: a test vector.
    #[must_use]
    pub fn fixed(bytes: [u8; SALT]) -> Self {
        Self(bytes)
    }
}

/// A key made ready: what HMAC does with the key alone is done once, and not for each message.
pub struct Key(Hmac<Sha512>);

impl Key {
    /// Makes a key ready.
    #[must_use]
    pub fn of(secret: &Secret32) -> Self {
        // HMAC fills a short key up with zeros; doing it here makes the key's length a matter of types.
        let mut padded = hmac::digest::Key::<Hmac<Sha512>>::default();
        for (place, byte) in padded.iter_mut().zip(secret.expose()) {
            *place = *byte;
        }
        let keyed = Hmac::<Sha512>::new(&padded);
        zeroize::Zeroize::zeroize(padded.as_mut_slice());
        Self(keyed)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Seals a whole message.
///
/// # Errors
/// [`CryptoError::TooLong`], which no message that fits in memory reaches.
pub fn seal(key: &Key, context: &[u8], salt: Salt, text: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut out = Vec::new();
    seal_into(key, context, salt, text, &mut out)?;
    Ok(out)
}

/// Seals a whole message and appends it to `out`.
///
/// # Errors
/// As [`seal`].
pub fn seal_into(
    key: &Key,
    context: &[u8],
    salt: Salt,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CryptoError> {
    out.reserve(HEADER + text.len() + TAG * (text.len() / CHUNK + 1));
    let mut sealer = Sealer::start(key, context, salt, out);
    let mut chunks = text.chunks_exact(CHUNK);
    for chunk in &mut chunks {
        sealer.seal_chunk(chunk, out)?;
    }
    sealer.seal_chunk(chunks.remainder(), out)
}

/// Opens a whole message; nothing of it is given out unless all of it is as it was sealed.
///
/// # Errors
/// [`CryptoError::DoesNotOpen`], [`CryptoError::Altered`] or [`CryptoError::Truncated`].
pub fn open(key: &Key, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let (header, body) = sealed.split_first_chunk().ok_or(CryptoError::Truncated)?;
    let opener = Opener::start(key, context, header)?;
    let mut out = Zeroizing::new(Vec::with_capacity(body.len()));
    let mut ended = false;
    // Only the last of these can be short, so nothing follows a chunk that ends the message.
    for (index, chunk) in (0..).zip(body.chunks(SEALED_CHUNK)) {
        ended = opener.open_chunk(index, chunk, &mut out)? == Chunk::Last;
    }
    if !ended {
        return Err(CryptoError::Truncated);
    }
    Ok(std::mem::take(&mut *out))
}

/// Seals a message piece by piece, holding at most one chunk of it.
pub struct Sealer {
    schedule: Schedule,
    next: u64,
    pending: Zeroizing<Vec<u8>>,
}

impl Sealer {
    /// Appends the header to `out` and starts.
    #[must_use]
    pub fn start(key: &Key, context: &[u8], salt: Salt, out: &mut Vec<u8>) -> Self {
        let schedule = Schedule::derive(key, context, &salt.0);
        out.extend_from_slice(&salt.0);
        out.extend_from_slice(&schedule.commitment);
        Self {
            schedule,
            next: 0,
            pending: Zeroizing::default(),
        }
    }

    /// Takes the next piece, of any length; appends the chunks that it completes.
    ///
    /// # Errors
    /// [`CryptoError::TooLong`].
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let missing = if self.pending.is_empty() {
            0
        } else {
            CHUNK - self.pending.len()
        };
        let (fills, rest) = piece.split_at_checked(missing).unwrap_or((piece, &[]));
        self.pending.extend_from_slice(fills);
        if self.pending.len() == CHUNK {
            let full = std::mem::take(&mut self.pending);
            self.seal_chunk(&full, out)?;
        }
        let mut chunks = rest.chunks_exact(CHUNK);
        for chunk in &mut chunks {
            self.seal_chunk(chunk, out)?;
        }
        if !chunks.remainder().is_empty() {
            // All at once: a vector that grows leaves its old content behind.
            self.pending.reserve_exact(CHUNK);
            self.pending.extend_from_slice(chunks.remainder());
        }
        Ok(())
    }

    /// Appends the last chunk, which may be empty. Without it the message counts as cut.
    ///
    /// # Errors
    /// [`CryptoError::TooLong`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let last = std::mem::take(&mut self.pending);
        self.seal_chunk(&last, out)
    }

    fn seal_chunk(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let nonce = self.schedule.nonce(self.next)?;
        let start = out.len();
        out.reserve(text.len() + TAG);
        out.extend_from_slice(text);
        let (_, place) = out.split_at_mut(start);
        let Ok(tag) = self
            .schedule
            .cipher
            .encrypt_inout_detached(&nonce, &[], place.into())
        else {
            out.truncate(start);
            return Err(CryptoError::TooLong);
        };
        out.extend_from_slice(&tag);
        self.next += 1;
        Ok(())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Whether more follows a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a message that was read without its last chunk may have been cut"]
pub enum Chunk {
    /// A full one: another follows.
    Full,
    /// A short one: the message ends with it.
    Last,
}

/// Opens the chunks of one message in any order.
pub struct Opener {
    schedule: Schedule,
}

impl Opener {
    /// Checks the commitment in the message's first [`HEADER`] bytes.
    ///
    /// # Errors
    /// [`CryptoError::DoesNotOpen`].
    pub fn start(key: &Key, context: &[u8], header: &[u8; HEADER]) -> Result<Self, CryptoError> {
        let (salt, commitment) = header.split_first_chunk().ok_or(CryptoError::Truncated)?;
        let schedule = Schedule::derive(key, context, salt);
        if !same(&schedule.commitment, commitment) {
            return Err(CryptoError::DoesNotOpen);
        }
        Ok(Self { schedule })
    }

    /// Opens the chunk of this index (from 0; it lies at [`chunk_offset`]) and appends its text to `out`.
    ///
    /// Whoever reads to the end, or measures from it, must see [`Chunk::Last`] at the last index and nothing behind it.
    ///
    /// # Errors
    /// [`CryptoError::Altered`]; [`CryptoError::Truncated`] where the length can be no chunk's. `out` is then as before.
    pub fn open_chunk(
        &self,
        index: u64,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Chunk, CryptoError> {
        let nonce = self.schedule.nonce(index)?;
        let (text, tag) = sealed
            .split_last_chunk::<TAG>()
            .ok_or(CryptoError::Truncated)?;
        let chunk = match text.len() {
            0..CHUNK => Chunk::Last,
            CHUNK => Chunk::Full,
            _ => return Err(CryptoError::Altered { chunk: index }),
        };
        let start = out.len();
        out.extend_from_slice(text);
        let (_, place) = out.split_at_mut(start);
        // The tag is checked before anything is deciphered, so a refused chunk leaves no text behind.
        let opened = self.schedule.cipher.decrypt_inout_detached(
            &nonce,
            &[],
            place.into(),
            &Tag::from(*tag),
        );
        if opened.is_err() {
            out.truncate(start);
            return Err(CryptoError::Altered { chunk: index });
        }
        Ok(chunk)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}

/// Bytes that a text of this length takes when sealed.
///
/// # Errors
/// [`CryptoError::TooLong`].
pub fn sealed_len(text: u64) -> Result<u64, CryptoError> {
    let chunks = text / CHUNK as u64 + 1;
    if chunks > MAX_CHUNKS {
        return Err(CryptoError::TooLong);
    }
    Ok(HEADER as u64 + text + chunks * TAG as u64)
}

/// Bytes of text in a sealed message of this length, if its end is what it seems: opening the last chunk proves it.
///
/// # Errors
/// [`CryptoError::Truncated`] for a length that no message has.
pub fn text_len(sealed: u64) -> Result<u64, CryptoError> {
    let body = sealed
        .checked_sub(HEADER as u64)
        .ok_or(CryptoError::Truncated)?;
    let full = body / SEALED_CHUNK as u64;
    let last = (body % SEALED_CHUNK as u64)
        .checked_sub(TAG as u64)
        .ok_or(CryptoError::Truncated)?;
    Ok(full * CHUNK as u64 + last)
}

/// The chunk that holds the text's byte at `position`, and the byte's place in it.
#[must_use]
pub fn chunk_of(position: u64) -> (u64, u64) {
    (position / CHUNK as u64, position % CHUNK as u64)
}

/// Where a chunk starts in the sealed message, counted from the header's first byte.
#[must_use]
pub fn chunk_offset(index: u64) -> u64 {
    index
        .saturating_mul(SEALED_CHUNK as u64)
        .saturating_add(HEADER as u64)
}

/// What one message is sealed with.
struct Schedule {
    cipher: Aes256Gcm,
    base_nonce: Zeroizing<[u8; 12]>,
    commitment: [u8; COMMITMENT],
}

impl Schedule {
    /// `key (32) || base nonce (12) || commitment (32) = HKDF-Expand-SHA-512(key, INFO || salt || context)`.
    ///
    /// By hand, since the `hkdf` crate wants a pseudorandom key of at least the hash's 64 bytes and the
    /// format takes one of 32: 76 bytes are two blocks.
    fn derive(key: &Key, context: &[u8], salt: &[u8; SALT]) -> Self {
        let block = |previous: &[u8], number: u8| -> Zeroizing<[u8; 64]> {
            let mut mac = key.0.clone();
            mac.update(previous);
            mac.update(INFO);
            mac.update(salt);
            mac.update(context);
            mac.update(&[number]);
            Zeroizing::new(mac.finalize().into_bytes().into())
        };
        let first = block(&[], 1);
        let second = block(&*first, 2);

        let (message_key, rest) = first.split_at(32);
        let (nonce, of_commitment) = rest.split_at(12);
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(message_key);
        let mut base_nonce = Zeroizing::new([0; 12]);
        base_nonce.copy_from_slice(nonce);
        // The commitment lies across the two blocks.
        let mut commitment = [0; COMMITMENT];
        let (begins, ends) = commitment.split_at_mut(of_commitment.len());
        begins.copy_from_slice(of_commitment);
        for (place, byte) in ends.iter_mut().zip(second.iter()) {
            *place = *byte;
        }
        Self {
            cipher: Aes256Gcm::new((&*key).into()),
            base_nonce,
            commitment,
        }
    }

    /// The base nonce with the chunk's number, big-endian, XORed into its end.
    fn nonce(&self, chunk: u64) -> Result<Nonce<aes_gcm::aes::cipher::consts::U12>, CryptoError> {
        if chunk >= MAX_CHUNKS {
            return Err(CryptoError::TooLong);
        }
        let mut nonce = *self.base_nonce;
        for (place, byte) in nonce.iter_mut().rev().zip(chunk.to_le_bytes()) {
            *place ^= byte;
        }
        Ok(nonce.into())
    }
}
