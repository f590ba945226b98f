//! Tenants: the control database that knows where each lies, its keys and their rotation, and its open store.

mod control;
mod deployment;
mod keys;
mod ring;
mod roots;
mod rotation;
pub mod sealed;
mod store;
mod subjects;

pub use control::{Control, Created, Tenant};
pub use deployment::Standing;
pub use keys::{KeysAt, NextSigner, Signer, TenantKeys, is_of_an_epoch};
pub use ring::{Epoch, Rotation};
pub use rotation::NewKey;
pub use store::Kind;
pub use store::{Life, Store};
pub use subjects::SubjectKeys;

use crate::crypto::CryptoError;
use crate::storage::StorageError;

/// Why a tenant, or the directory of them, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A key.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Nobody has that name or id.
    #[error("there is no organization `{name}`: `cedarkeep org list` shows those that there are")]
    NotFound {
        /// The slug or the id.
        name: String,
    },
    /// Somebody has that name.
    #[error("an organization `{slug}` is there already: choose another short name")]
    Taken {
        /// The slug.
        slug: String,
    },
    /// There is no log of the deployment's own.
    #[error(
        "the deployment has no log of its own yet: `cedarkeep serve` or `cedarkeep audit publish` makes it"
    )]
    NoDeploymentLog,
    /// A name that the deployment's own log has.
    #[error("`{slug}` is the name of the deployment's own log: choose another short name")]
    Reserved {
        /// The slug.
        slug: String,
    },
    /// A name that is none.
    #[error("`{slug}` is no short name: use 2 to 63 of a-z, 0-9 and `-`, beginning with a letter")]
    Slug {
        /// What was given.
        slug: String,
    },
    /// A database that belongs to somebody else, or to nobody.
    #[error(
        "the database of `{id}` holds another organization, or none: it was moved or exchanged"
    )]
    Exchanged {
        /// Whose it should be.
        id: String,
    },
    /// Organizations without the control database that has their keys.
    #[error(
        "`{place}` holds organizations, but its control database is gone or new: put `control.db` back from a backup"
    )]
    Orphans {
        /// The folder.
        place: String,
    },
    /// A row that is not what it should be.
    #[error("the control database's {what} is not what it should be")]
    Corrupt {
        /// Which.
        what: &'static str,
    },
}

impl TenantError {
    /// Whether a value names a version of a key that is not in memory: another node has rotated it, and what was read is read again with
    /// the keys as they are now.
    pub fn is_of_unknown_key(&self) -> bool {
        matches!(self, Self::Crypto(CryptoError::UnknownVersion { .. }))
    }
}

/// An organization's short name: 2 to 63 of a-z, 0-9 and `-`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slug(String);

/// What the deployment's own log is called where organizations are called by their short names.
pub const DEPLOYMENT: &str = "deployment";

impl Slug {
    /// The name of the deployment's own log, which no organization can have.
    pub(super) fn deployment() -> Self {
        Self(DEPLOYMENT.to_owned())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Slug {
    type Err = TenantError;

    fn from_str(text: &str) -> Result<Self, TenantError> {
        let fits = (2..=63).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text
                .chars()
                .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-');
        if text == DEPLOYMENT {
            Err(TenantError::Reserved { slug: text.into() })
        } else if fits {
            Ok(Self(text.into()))
        } else {
            Err(TenantError::Slug {
                slug: text.chars().take(64).collect(),
            })
        }
    }
}

impl std::fmt::Display for Slug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
