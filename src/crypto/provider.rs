//! Where root keys live: the one thing that the database does not hold.
//!
//! Whoever wraps a tenant's key is asked for it each time, and nothing of the root key stays here in between: a key that was
//! replaced, revoked or taken away is so at once, for every process.

#[cfg(feature = "aws-kms")]
pub mod aws_kms;
mod error;
mod pin;
pub mod pkcs11;
mod token;

use std::path::{Path, PathBuf};

pub use error::ProviderError;

use super::CryptoError;
use super::hierarchy::{CheckValue, Wrapped};
use super::keyring::{Keyring, Store};
use super::sealing::{DataKey, Purpose};
use super::secret::{Secret32, same};

/// What tells that a root key is the right one where it can not be looked at: this text was sealed under it, and opens.
const CANARY: &[u8] = b"cedarkeep/root-check/1";

/// How often a keyring is changed that somebody else changes at the same time.
const TRIES: usize = 5;

/// The place of that text: no tenant has such an id, and no key such a version.
const CANARY_PLACE: (&str, u32) = ("root-check", 0);

/// What the control database keeps to tell a wrong root key: a check value of the keyring's, or a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootCheck(Vec<u8>);

impl RootCheck {
    /// One that was stored.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// To be stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Which of a provider's root keys wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// The newest, also one that was made ready for a rotation and is not yet everywhere.
    Newest,
    /// The one of this version, where versions are ours to make; else the newest.
    Version(u32),
}

/// Wraps tenant keys. A root key never leaves its provider; only tenant keys go in and out.
#[derive(Debug)]
pub enum Provider {
    /// A file on this machine, read for each call.
    Keyring(PathBuf),
    /// A token that speaks PKCS#11.
    Pkcs11(pkcs11::Token),
    /// A key of AWS KMS.
    #[cfg(feature = "aws-kms")]
    AwsKms(aws_kms::AwsKms),
}

impl Provider {
    /// Has a root key ready: where there is nothing yet that an earlier one must open, the first is made. None is ever made
    /// over data, and AWS KMS makes its keys by itself.
    ///
    /// # Errors
    /// One of `CryptoError::Keyring*`; [`CryptoError::Provider`].
    pub async fn prepare(&self, store: Store) -> Result<(), CryptoError> {
        match self {
            Self::Keyring(path) => {
                on_file(path, move |path| Keyring::open_or_create(path, store)).await?;
            }
            Self::Pkcs11(token) => token.prepare(store).await?,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(_) => {}
        }
        Ok(())
    }

    /// Wraps a tenant key under a root key, bound to the tenant and to the key's version.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`]; [`CryptoError::UnknownVersion`]; as [`Provider::prepare`].
    pub async fn wrap(
        &self,
        tenant: &str,
        key: &DataKey,
        under: Under,
    ) -> Result<Wrapped, CryptoError> {
        let place = (tenant, key.version);
        let sealed = match self {
            Self::Keyring(path) => {
                let keyring = on_file(path, Keyring::open).await?;
                return keyring.wrap(tenant, key, under);
            }
            Self::Pkcs11(token) => token.seal(place, key.secret.expose(), under).await?.1,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => kms.seal(place, key.secret.expose()).await?.1,
        };
        Ok(Wrapped {
            sealed,
            check: CheckValue::of(key),
        })
    }

    /// Unwraps the tenant key of this version.
    ///
    /// # Errors
    /// [`CryptoError::UnknownVersion`] for a root key that is not here; as [`super::sealing::DataKeys::unwrap_key`] and
    /// [`Provider::prepare`].
    pub async fn unwrap_key(
        &self,
        tenant: &str,
        version: u32,
        wrapped: &Wrapped,
    ) -> Result<DataKey, CryptoError> {
        let place = (tenant, version);
        let opened = match self {
            Self::Keyring(path) => {
                let keyring = on_file(path, Keyring::open).await?;
                return keyring.unwrap_key(tenant, version, wrapped);
            }
            Self::Pkcs11(token) => token.open(place, &wrapped.sealed).await?,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => kms.open(place, &wrapped.sealed).await?,
        };
        let key = DataKey {
            purpose: Purpose::DataWrap,
            version,
            secret: Secret32::from_slice(&opened)?,
        };
        wrapped.check.verify(&key)?;
        Ok(key)
    }

    /// The root key that wraps now: its version, and what the control database keeps of it.
    ///
    /// # Errors
    /// As [`Provider::wrap`].
    pub async fn check_value(&self) -> Result<(u32, RootCheck), CryptoError> {
        let (version, sealed) = match self {
            Self::Keyring(path) => {
                let keyring = on_file(path, Keyring::open).await?;
                let newest = keyring.roots().newest();
                let check = CheckValue::of(newest).as_bytes().to_vec();
                (newest.version, check)
            }
            Self::Pkcs11(token) => token.seal(CANARY_PLACE, CANARY, Under::Newest).await?,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => kms.seal(CANARY_PLACE, CANARY).await?,
        };
        Ok((version, RootCheck(sealed)))
    }

    /// Whether the root key of this version is the one that the control database was written with: asked at start,
    /// before anything is unwrapped.
    ///
    /// # Errors
    /// [`CryptoError::WrongKey`], [`CryptoError::UnknownVersion`]; as [`Provider::prepare`].
    pub async fn verify(&self, version: u32, recorded: &RootCheck) -> Result<(), CryptoError> {
        let opened = match self {
            Self::Keyring(path) => {
                let keyring = on_file(path, Keyring::open).await?;
                let root = keyring.roots().version(version)?;
                return CheckValue::from_slice(&recorded.0)?.verify(root);
            }
            Self::Pkcs11(token) => token.open(CANARY_PLACE, &recorded.0).await,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => kms.open(CANARY_PLACE, &recorded.0).await,
        };
        let purpose = Purpose::TenantWrap;
        match opened {
            Ok(text) if same(&text, CANARY) => Ok(()),
            Ok(_) | Err(CryptoError::DoesNotOpen) => {
                Err(CryptoError::WrongKey { purpose, version })
            }
            Err(error) => Err(error),
        }
    }

    /// The version of the root key that wraps now.
    ///
    /// # Errors
    /// As [`Provider::prepare`].
    pub async fn newest(&self) -> Result<u32, CryptoError> {
        match self {
            Self::Keyring(path) => {
                let keyring = on_file(path, Keyring::open).await?;
                Ok(keyring.roots().newest().version)
            }
            Self::Pkcs11(token) => token.newest().await,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => Ok(kms.newest()),
        }
    }

    /// Adds a new root key, which wraps from now on, and returns its version.
    ///
    /// # Errors
    /// [`ProviderError::OwnVersions`] where versions are not ours to make; as [`Provider::prepare`].
    pub async fn create_next(&self) -> Result<u32, CryptoError> {
        match self {
            Self::Keyring(path) => on_file(path, |path| Keyring::open(path)?.add_root()).await,
            Self::Pkcs11(token) => token.create_next().await,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => Err(kms.own_versions().into()),
        }
    }

    /// The versions of the root keys that are held, oldest first.
    ///
    /// # Errors
    /// As [`Provider::prepare`].
    pub async fn versions(&self) -> Result<Vec<u32>, CryptoError> {
        match self {
            Self::Keyring(path) => {
                let keyring = on_file(path, Keyring::open).await?;
                Ok(keyring.roots().iter().map(|root| root.version).collect())
            }
            Self::Pkcs11(token) => token.versions().await,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => Ok(vec![kms.newest()]),
        }
    }

    /// Whether versions of root keys are ours to make and to destroy.
    #[must_use]
    pub const fn rotates(&self) -> bool {
        match self {
            Self::Keyring(_) | Self::Pkcs11(_) => true,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(_) => false,
        }
    }

    /// Whether its root keys are those of another one, under another name.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keyring(one), Self::Keyring(other)) => {
                let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
                real(one) == real(other)
            }
            (Self::Pkcs11(one), Self::Pkcs11(other)) => one.is_same_as(other),
            _ => false,
        }
    }

    /// Makes sure that there is a root key after this version, and returns the newest.
    ///
    /// # Errors
    /// As [`Provider::create_next`].
    pub async fn add_after(&self, version: u32) -> Result<u32, CryptoError> {
        match self {
            Self::Keyring(path) => {
                on_file(path, move |path| {
                    again(|| {
                        let mut keyring = Keyring::open(path)?;
                        // Over data whose root key is not there none is made.
                        keyring.roots().version(version)?;
                        let newest = keyring.roots().newest().version;
                        if newest > version {
                            Ok(newest)
                        } else {
                            keyring.add_root()
                        }
                    })
                })
                .await
            }
            Self::Pkcs11(token) => token.add_after(version).await,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => Err(kms.own_versions().into()),
        }
    }

    /// Destroys the root keys before this version: what is still wrapped under them is lost, here and in backups. Doing it again changes
    /// nothing.
    ///
    /// # Errors
    /// [`CryptoError::LastVersion`]; as [`Provider::create_next`].
    pub async fn destroy_before(&self, version: u32) -> Result<(), CryptoError> {
        match self {
            Self::Keyring(path) => {
                on_file(path, move |path| {
                    again(|| Keyring::open(path)?.destroy_roots_before(version))
                })
                .await
            }
            Self::Pkcs11(token) => token.destroy_before(version).await,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => Err(kms.own_versions().into()),
        }
    }

    /// Destroys an older root key: what is still wrapped under it is lost, here and in backups.
    ///
    /// # Errors
    /// [`CryptoError::LastVersion`], [`CryptoError::UnknownVersion`]; as [`Provider::create_next`].
    pub async fn destroy(&self, version: u32) -> Result<(), CryptoError> {
        match self {
            Self::Keyring(path) => {
                on_file(path, move |path| Keyring::open(path)?.destroy_root(version)).await
            }
            Self::Pkcs11(token) => token.destroy(version).await,
            #[cfg(feature = "aws-kms")]
            Self::AwsKms(kms) => Err(kms.own_versions().into()),
        }
    }
}

/// Does it again where another process has changed the keyring between the reading and the writing.
fn again<T>(work: impl Fn() -> Result<T, CryptoError>) -> Result<T, CryptoError> {
    for _ in 1..TRIES {
        match work() {
            Err(CryptoError::KeyringChanged(_)) => {}
            done => return done,
        }
    }
    work()
}

/// Works on the file on a thread that may wait: it may lie on another machine.
async fn on_file<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> Result<T, CryptoError> + Send + 'static,
) -> Result<T, CryptoError> {
    let path = path.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&path)).await;
    done.map_err(|error| ProviderError::OutOfReach {
        what: "the keyring".to_owned(),
        why: error.to_string(),
    })?
}
