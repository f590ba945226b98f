//! Root keys in a PKCS#11 token: AES-256 keys that cannot leave it.
//!
//! The key of version `n` is the object with the label `<key>-<n>`. A tenant's key is sealed as data with `CKM_AES_GCM`,
//! its place being the associated data:
//!
//! ```text
//! 0x11 || root version (u32, big-endian) || IV (12 bytes) || ciphertext (32 bytes) || tag (16 bytes)
//! ```
//!
//! What tells that a root key is the right one is a canary: a fixed text that was sealed under it at the beginning, and must
//! open. A check value that is computed would ask the token for a mechanism more.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

pub use super::pin::Pin;
use super::token::{self, Desk, Fault, Library};
use super::{CryptoError, ProviderError, Under};
use crate::crypto::keyring::{Store, tenant_binding};
use crate::crypto::sealing::{FORMAT_TOKEN, Purpose, put_foreign, split_foreign};

/// Bytes of an IV.
pub(super) const IV: usize = 12;
/// Bytes of a tag.
pub(super) const TAG: usize = 16;

/// Which token, which key in it, and how to log in.
#[derive(Debug)]
pub struct Settings {
    /// The PKCS#11 library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// What the labels of its root keys begin with.
    pub key: String,
    /// The user PIN.
    pub pin: Pin,
}

impl Settings {
    pub(super) fn what(&self) -> String {
        format!("the token `{}`", self.token)
    }

    pub(super) fn out_of_reach(&self, why: String) -> ProviderError {
        ProviderError::OutOfReach {
            what: self.what(),
            why,
        }
    }

    pub(super) fn refused(&self, why: String) -> ProviderError {
        ProviderError::Refused {
            what: self.what(),
            why,
        }
    }
}

/// A token with root keys. Every call waits for the thread of its library; a call that is given up is not made any more,
/// unless it has begun.
pub struct Token {
    settings: Arc<Settings>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.settings).finish()
    }
}

impl Token {
    /// Nothing is asked of it before its first call.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    /// Makes the first root key where there is nothing that an earlier one must open.
    pub(super) async fn prepare(&self, store: Store) -> Result<(), CryptoError> {
        if store == Store::HasData {
            return Ok(());
        }
        match self.newest().await {
            // It was looked for twice: it is not that the token is away.
            Err(CryptoError::Provider(ProviderError::NoKey { .. })) => {
                self.ask(|desk| desk.make(1)).await
            }
            found => found.map(|_| ()),
        }
    }

    pub(super) async fn newest(&self) -> Result<u32, CryptoError> {
        let settings = Arc::clone(&self.settings);
        self.ask(move |desk| newest(desk, &settings)).await
    }

    pub(super) async fn create_next(&self) -> Result<u32, CryptoError> {
        let newest = match self.newest().await {
            Err(CryptoError::Provider(ProviderError::NoKey { .. })) => 0,
            newest => newest?,
        };
        self.ask(move |desk| {
            let version = newest.checked_add(1).ok_or(CryptoError::BadVersion {
                purpose: Purpose::TenantWrap,
                version: newest,
            })?;
            desk.make(version)?;
            Ok(version)
        })
        .await
    }

    pub(super) async fn versions(&self) -> Result<Vec<u32>, CryptoError> {
        // One that has none may be away.
        self.newest().await?;
        self.ask(|desk| desk.versions()).await
    }

    /// Whether this is another one's token and its keys.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let (one, other) = (&self.settings, &other.settings);
        one.token == other.token && one.key == other.key
    }

    /// Makes sure that there is a root key after this version; the newest.
    pub(super) async fn add_after(&self, version: u32) -> Result<u32, CryptoError> {
        let purpose = Purpose::TenantWrap;
        self.ask(move |desk| {
            let versions = desk.versions()?;
            // Over data whose root key is not there none is made.
            if !versions.contains(&version) {
                let missing = CryptoError::UnknownVersion { purpose, version };
                return Err(Fault::Missing(missing));
            }
            if let Some(newest) = versions.last().filter(|newest| **newest > version) {
                return Ok(*newest);
            }
            let next = version.checked_add(1);
            let next = next.ok_or(CryptoError::BadVersion { purpose, version })?;
            desk.make(next)?;
            Ok(next)
        })
        .await
    }

    /// Destroys the root keys before this version, which is held.
    pub(super) async fn destroy_before(&self, version: u32) -> Result<(), CryptoError> {
        let settings = Arc::clone(&self.settings);
        self.ask(move |desk| {
            newest(desk, &settings)?;
            let versions = desk.versions()?;
            if versions.last().is_none_or(|newest| *newest < version) {
                return Err(CryptoError::LastVersion(Purpose::TenantWrap).into());
            }
            for older in versions.into_iter().filter(|older| *older < version) {
                desk.destroy(older)?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn destroy(&self, version: u32) -> Result<(), CryptoError> {
        let purpose = Purpose::TenantWrap;
        self.ask(move |desk| {
            let versions = desk.versions()?;
            if versions.last() == Some(&version) {
                return Err(CryptoError::LastVersion(purpose).into());
            }
            if !versions.contains(&version) {
                return Err(CryptoError::UnknownVersion { purpose, version }.into());
            }
            desk.destroy(version)
        })
        .await
    }

    /// Seals a text for a tenant and a version of its key.
    pub(super) async fn seal(
        &self,
        (tenant, key_version): (&str, u32),
        text: &[u8],
        under: Under,
    ) -> Result<(u32, Vec<u8>), CryptoError> {
        let (tenant, text) = (tenant.to_owned(), Zeroizing::new(text.to_vec()));
        let settings = Arc::clone(&self.settings);
        self.ask(move |desk| {
            let version = match under {
                Under::Newest => newest(desk, &settings)?,
                Under::Version(version) => version,
            };
            let keys = desk.keys(version)?;
            let key = keys.first().ok_or_else(|| no_key(&settings, version))?;
            let bound = tenant_binding(&tenant, key_version).context(Purpose::TenantWrap, version);
            let sealed = desk.seal(*key, &bound, &text)?;
            Ok((version, put_foreign(FORMAT_TOKEN, version, &[&sealed])))
        })
        .await
    }

    /// Opens what was sealed for this tenant and this version of its key.
    pub(super) async fn open(
        &self,
        (tenant, key_version): (&str, u32),
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let (version, sealed) = split_foreign(FORMAT_TOKEN, sealed)?;
        let purpose = Purpose::TenantWrap;
        let bound = tenant_binding(tenant, key_version).context(purpose, version);
        let sealed = sealed.to_vec();
        self.ask(move |desk| {
            let keys = desk.keys(version)?;
            if keys.is_empty() {
                let missing = CryptoError::UnknownVersion { purpose, version };
                return Err(Fault::Missing(missing));
            }
            for key in keys {
                if let Some(text) = desk.open(key, &bound, &sealed)? {
                    return Ok(text);
                }
            }
            Err(CryptoError::DoesNotOpen.into())
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        mut call: impl FnMut(&Desk<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, CryptoError> {
        let (tell, told) = oneshot::channel();
        let settings = Arc::clone(&self.settings);
        let job = move |library: &mut Library| {
            if !tell.is_closed() {
                // Whoever has gone meanwhile is not told.
                drop(tell.send(library.with(&settings, &mut call)));
            }
        };
        let what = self.settings.what();
        token::ask(&self.settings.module, &what, Box::new(job))?;
        told.await.map_err(|_| {
            self.settings
                .out_of_reach("its library's thread has ended: start again".to_owned())
        })?
    }
}

fn newest(desk: &Desk<'_>, settings: &Settings) -> Result<u32, Fault> {
    let newest = desk.versions()?.last().copied();
    newest.ok_or_else(|| no_key(settings, 1))
}

fn no_key(settings: &Settings, version: u32) -> Fault {
    let missing = ProviderError::NoKey {
        what: settings.what(),
        key: format!("{}-{version}", settings.key),
    };
    Fault::Missing(missing.into())
}
