//! What is kept of resources: each version sealed under a key of its own, short ones in their row, long ones on the shelf.
//!
//! A content key is wrapped under the key of the person whose content it is, or under the organization's content-wrap key. What is
//! sealed is bound to resource and version, so nothing opens in another's place. Nobody is asked here whether they may: `decide` is
//! asked first, and a version becomes the resource's in the transaction that records the decision.

mod gathering;
mod reading;
pub mod rows;
mod upload;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use gathering::Gathering;
pub use reading::Opened;
pub use rows::Held;
pub use upload::Upload;

pub use crate::storage::shelf::Shelved;

use crate::crypto::CryptoError;
use crate::crypto::cobblestone::Salt;
use crate::crypto::hierarchy::{Wrapped, create_content_key};
use crate::crypto::sealing::{Binding, DataKeys, key_version};
use crate::storage::StorageError;
use crate::tenant::{Store, TenantError};

/// Content up to this length lies in its row; a longer one is a value on the shelf.
pub const SHORT: usize = 16 * 1024;

/// Why content is not kept or not shown.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The database or the shelf.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A person's key.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// It does not open, or cannot be sealed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The person whose it is was forgotten, and their key with them.
    #[error("the person whose content this is was erased")]
    Forgotten,
    /// A row that is not what it should be.
    #[error("the stored content is not what it should be")]
    Corrupt,
}

/// Which version of which resource, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The resource's identifier.
    pub resource: String,
    /// The version's.
    pub version: String,
    /// The person whose key wraps it; none: it is the organization's.
    pub subject: Option<String>,
}

impl Spot {
    fn row(&self) -> String {
        format!("{}/{}", self.resource, self.version)
    }
}

/// What is said of a version beside its bytes, and sealed with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its media type, as it was sent.
    pub media_type: String,
    /// How many bytes it has.
    pub length: u64,
    /// Who wrote it.
    pub author: Option<String>,
    /// When it was whole, in microseconds since 1970.
    pub at: i64,
    /// Of a message: a comment, and no post.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub comment: bool,
}

/// What becomes of the version before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// It is kept, and may be read by its name.
    Versions,
    /// It is taken away with its key.
    Newest,
    /// There is none before: each stands beside the others.
    Each,
}

/// What must hold of the present version for a deposit to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// There is none (`If-None-Match: *`).
    Absent,
    /// There is one (`If-Match: *`).
    Present,
    /// It is one of these (`If-Match`).
    OneOf(Vec<String>),
}

impl Condition {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, present: Option<&str>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => present.is_none(),
            Self::Present => present.is_some(),
            Self::OneOf(wanted) => {
                present.is_some_and(|present| wanted.iter().any(|one| one == present))
            }
        }
    }
}

/// A version that is sealed, and not yet its resource's.
#[derive(Debug)]
pub struct Sealed {
    spot: Spot,
    /// Its key: the one above may be rotated before its row is written, and that is wrapped anew then.
    keys: DataKeys,
    wrapped: Wrapped,
    body: Vec<u8>,
    shelved: bool,
}

impl Sealed {
    /// Which it is.
    #[must_use]
    pub const fn spot(&self) -> &Spot {
        &self.spot
    }

    /// Its key as it is wrapped in its row, under the newest of the keys that wrap.
    fn wrapped(&self, store: &Store) -> Result<Wrapped, VaultError> {
        let keys = store.keys().at(u64::MAX);
        let newest = keys.content_wrap().newest().version;
        if self.spot.subject.is_some() || key_version(&self.wrapped.sealed)? == newest {
            return Ok(self.wrapped.clone());
        }
        let row = self.spot.row();
        let binding = binding(store, "wrapped", &row, None);
        Ok(keys.content_wrap().wrap(&binding, self.keys.newest())?)
    }

    /// Whether its bytes are on the shelf.
    #[must_use]
    pub const fn is_shelved(&self) -> bool {
        self.shelved
    }
}

/// What is kept of one tenant's resources.
#[derive(Clone)]
pub struct Vault {
    store: Arc<Store>,
    current: Arc<Gathering<Held>>,
    named: Arc<Gathering<()>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// That of this store.
    #[must_use]
    pub fn of(store: Arc<Store>) -> Self {
        Self {
            store,
            current: Arc::default(),
            named: Arc::default(),
        }
    }

    /// Seals content that fits into its row.
    ///
    /// # Errors
    /// Its person was forgotten, or the system has no randomness.
    pub async fn seal(
        &self,
        spot: Spot,
        label: &Label,
        content: &[u8],
    ) -> Result<Sealed, VaultError> {
        let (keys, wrapped) = self.new_key(&spot).await?;
        let body = self.seal_body(&spot, &keys, label, content)?;
        Ok(Sealed {
            spot,
            keys,
            wrapped,
            body,
            shelved: false,
        })
    }

    /// Begins content that may be long; it is sealed as it comes. `now`: microseconds since 1970.
    ///
    /// # Errors
    /// Its person was forgotten, or the shelf takes nothing.
    pub async fn begin(&self, spot: Spot, now: i64) -> Result<Upload, VaultError> {
        let (keys, wrapped) = self.new_key(&spot).await?;
        let writing = self.store.shelf().begin(&spot.version, now).await?;
        let row = spot.row();
        let (mut start, salt) = (Vec::new(), Salt::random()?);
        let sealer = keys.sealer(&self.binding("shelf", &row, None), salt, &mut start);
        Ok(Upload::new((sealer, start), writing, (spot, keys, wrapped)))
    }

    /// Ends it: what was sent is durable on the shelf, and waits for its row.
    ///
    /// # Errors
    /// The disk is full.
    pub async fn finish(
        &self,
        upload: Upload,
        label: &Label,
        now: i64,
    ) -> Result<(Sealed, Shelved), VaultError> {
        let (shelved, (spot, keys, wrapped)) = upload.finish(now).await?;
        let body = self.seal_body(&spot, &keys, label, &[])?;
        let sealed = Sealed {
            spot,
            keys,
            wrapped,
            body,
            shelved: true,
        };
        Ok((sealed, shelved))
    }

    /// The version of a resource that counts now.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn current(&self, resource: &str) -> Result<Option<Held>, VaultError> {
        self.current.get(self.store.database(), resource).await
    }

    /// A version by its name.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn version(&self, resource: &str, version: &str) -> Result<Option<Held>, VaultError> {
        rows::version(self.store.database(), resource, version).await
    }

    /// Whether a version is there still.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn holds(&self, held: &Held) -> Result<bool, VaultError> {
        let (database, name) = (self.store.database(), &held.spot.version);
        Ok(self.named.get(database, name).await?.is_some())
    }

    /// Versions that begin after an index, the oldest first.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn versions(
        &self,
        resource: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Held>, VaultError> {
        rows::versions(self.store.database(), resource, after, limit).await
    }

    /// Versions under a person's key, behind one of that name, in the order of their names.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn of_person(
        &self,
        person: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Held>, VaultError> {
        rows::of_person(self.store.database(), person, after, limit).await
    }

    async fn new_key(&self, spot: &Spot) -> Result<(DataKeys, Wrapped), VaultError> {
        let row = spot.row();
        let binding = self.binding("wrapped", &row, None);
        Ok(match &spot.subject {
            None => {
                let keys = self.store.keys().at(u64::MAX);
                create_content_key(keys.content_wrap(), &binding)?
            }
            Some(subject) => {
                let key = self.store.subjects().get(subject).await?;
                create_content_key(&*key.ok_or(VaultError::Forgotten)?, &binding)?
            }
        })
    }

    fn seal_body(
        &self,
        spot: &Spot,
        keys: &DataKeys,
        label: &Label,
        content: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let label = serde_json::to_vec(label).map_err(|_| VaultError::Corrupt)?;
        let length = u32::try_from(label.len()).map_err(|_| VaultError::Corrupt)?;
        let mut text = zeroize::Zeroizing::new(Vec::with_capacity(4 + label.len() + content.len()));
        text.extend_from_slice(&length.to_be_bytes());
        text.extend_from_slice(&label);
        text.extend_from_slice(content);
        let row = spot.row();
        Ok(keys.seal(&self.binding("body", &row, None), Salt::random()?, &text)?)
    }

    /// The place of a value: of the life that its row is of, or that a new row will be of.
    fn binding<'a>(&'a self, column: &'a str, row: &'a str, index: Option<u64>) -> Binding<'a> {
        binding(&self.store, column, row, index)
    }
}

fn binding<'a>(store: &'a Store, column: &'a str, row: &'a str, index: Option<u64>) -> Binding<'a> {
    let keys = store.keys().at(index.unwrap_or(u64::MAX));
    keys.binding("content", column, row, 0)
}
