//! Secrets in memory: boxed so that a move leaves no copy, zeroized when dropped, never printed.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{CryptoError, random};

/// A 256-bit key or seed. It has no `Serialize`, no `Clone` and no public content but by [`Secret32::expose`].
pub struct Secret32(Box<Zeroizing<[u8; 32]>>);

impl Secret32 {
    /// A new random key.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn random() -> Result<Self, CryptoError> {
        Ok(Self::new(&Zeroizing::new(random::<32>()?)))
    }

    /// Copies a key; wiping the original is the caller's.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        let mut boxed = Box::new(Zeroizing::new([0; 32]));
        boxed.copy_from_slice(bytes);
        Self(boxed)
    }

    /// Copies a key out of bytes that were read or opened.
    ///
    /// # Errors
    /// [`CryptoError::Length`] unless there are exactly 32.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, CryptoError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| CryptoError::Length {
            what: "a key",
            expected: 32,
            found: bytes.len(),
        })?;
        Ok(Self::new(bytes))
    }

    /// The key itself, for the call that uses it and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret32")
    }
}

impl PartialEq for Secret32 {
    fn eq(&self, other: &Self) -> bool {
        same(self.expose(), other.expose())
    }
}

impl Eq for Secret32 {}

/// Compares in a time that depends on the lengths alone.
#[must_use]
pub fn same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}
