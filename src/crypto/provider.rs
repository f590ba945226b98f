//! Where root keys live: the one thing that the database does not hold.

use super::CryptoError;
use super::hierarchy::{CheckValue, Wrapped};
use super::keyring::Keyring;
use super::sealing::DataKey;

/// Wraps tenant keys. A root key never leaves its provider; only tenant keys go in and out.
#[derive(Debug)]
pub enum Provider {
    /// A file on this machine.
    Keyring(Keyring),
}

impl Provider {
    /// Wraps a tenant key under the newest root key, bound to the tenant and to the key's version.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn wrap(&self, tenant: &str, key: &DataKey) -> Result<Wrapped, CryptoError> {
        match self {
            Self::Keyring(keyring) => keyring.wrap(tenant, key),
        }
    }

    /// Unwraps the tenant key of this version.
    ///
    /// # Errors
    /// [`CryptoError::UnknownVersion`] for a root key that is not here; as [`super::sealing::DataKeys::unwrap_key`].
    pub fn unwrap_key(
        &self,
        tenant: &str,
        version: u32,
        wrapped: &Wrapped,
    ) -> Result<DataKey, CryptoError> {
        match self {
            Self::Keyring(keyring) => keyring.unwrap_key(tenant, version, wrapped),
        }
    }

    /// The root key that wraps now: its version, and the check value for the control database to keep.
    #[must_use]
    pub fn check_value(&self) -> (u32, CheckValue) {
        match self {
            Self::Keyring(keyring) => {
                let newest = keyring.roots().newest();
                (newest.version, CheckValue::of(newest))
            }
        }
    }

    /// Whether the root key of this version is the one that the control database was written with: asked at start,
    /// before anything is unwrapped.
    ///
    /// # Errors
    /// [`CryptoError::WrongKey`], [`CryptoError::UnknownVersion`].
    pub fn verify(&self, version: u32, recorded: &CheckValue) -> Result<(), CryptoError> {
        match self {
            Self::Keyring(keyring) => recorded.verify(keyring.roots().version(version)?),
        }
    }
}
