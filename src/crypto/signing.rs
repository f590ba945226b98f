//! Ed25519: a seed that signs, and a public key that verifies strictly.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::CryptoError;
use super::sealing::{DataKey, Purpose};
use super::secret::Secret32;

/// Signs. The key inside zeroizes itself.
pub struct SigningSeed(SigningKey);

impl SigningSeed {
    /// From 32 random bytes.
    #[must_use]
    pub fn new(seed: &Secret32) -> Self {
        Self(SigningKey::from_bytes(seed.expose()))
    }

    /// From the data key that holds a log's seed.
    ///
    /// # Errors
    /// [`CryptoError::WrongPurpose`].
    pub fn of(key: &DataKey) -> Result<Self, CryptoError> {
        match key.purpose {
            Purpose::LogSigning => Ok(Self::new(&key.secret)),
            found => Err(CryptoError::WrongPurpose {
                found,
                wanted: "a signing seed",
            }),
        }
    }

    /// The signature of a message: deterministic.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The key as the log's notes take it.
    pub(crate) const fn key(&self) -> &SigningKey {
        &self.0
    }

    /// The key to give away.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

impl fmt::Debug for SigningSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSeed")
    }
}

/// Verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a key.
    ///
    /// # Errors
    /// [`CryptoError::BadPublicKey`], also for a point of small order, under which one signature fits many messages.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, CryptoError> {
        let bytes = bytes.try_into().map_err(|_| CryptoError::BadPublicKey)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| CryptoError::BadPublicKey)?;
        if key.is_weak() {
            return Err(CryptoError::BadPublicKey);
        }
        Ok(Self(key))
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether the signature is the holder's for this message; malleable variants are refused.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature = Signature::from_slice(signature).map_err(|_| CryptoError::BadSignature)?;
        self.0
            .verify_strict(message, &signature)
            .map_err(|_| CryptoError::BadSignature)
    }
}
