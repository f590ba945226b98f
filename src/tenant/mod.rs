//! Tenants: the control database that knows where each lies, its keys and their rotation, and its open store.

mod control;
mod deployment;
mod keys;
mod ledger;
mod providers;
mod restoring;
mod rewrap;
mod ring;
mod root_rotation;
mod roots;
mod rotation;
pub mod sealed;
mod store;
mod subjects;

pub use control::{Control, Created, Tenant};
pub use deployment::Standing;
pub use keys::{KeysAt, NextSigner, Signer, TenantKeys, is_of_an_epoch};
pub use ledger::{Known, Ledger, Noted};
pub use providers::{KEYRING, Providers, RootKeys};
pub use restoring::{NOT_PUT_BACK, Restoring, Stored, restoring};
pub use rewrap::Rewrapped;
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
    /// The root keys that something is wrapped under.
    #[error("the root keys of `{provider}` cannot be used")]
    Keys {
        /// The provider's name in the settings.
        provider: String,
        /// Why.
        #[source]
        cause: CryptoError,
    },
    /// A provider that the control database names, or a command.
    #[error(
        "there is no provider of root keys `{name}` here: add `[keys.providers.{name}]` to the settings"
    )]
    NoProvider {
        /// Its name.
        name: String,
    },
    /// A half made organization was begun with other root keys.
    #[error(
        "`{slug}` was left half made with root keys of `{provider}`: give the same, or `cedarkeep keys rewrap` it later"
    )]
    OtherProvider {
        /// The slug.
        slug: String,
        /// The provider's name.
        provider: String,
    },
    /// The deployment's keys go where the settings say.
    #[error(
        "the deployment's keys go to `keys.root`, which is `{root}`: set `keys.root` to `{to}` first, or name an organization with --org"
    )]
    NotTheRoot {
        /// What `keys.root` says.
        root: String,
        /// Where they were to go.
        to: String,
    },
    /// A row that says otherwise than it is: without an operator's word no key goes over from one owner's root keys to
    /// another's.
    #[error(
        "the key of `{name}` is wrapped by `{found}`, and its row says that it belongs to `{wanted}`: if that is right, say so with --org {name} --to {wanted}"
    )]
    Strayed {
        /// The slug.
        name: String,
        /// The provider that wraps it.
        found: String,
        /// The provider that the row names.
        wanted: String,
    },
    /// Somebody else wrote the row each time.
    #[error("the key of `{name}` is being changed by somebody else: try again")]
    Contended {
        /// The slug, or `deployment`.
        name: String,
    },
    /// What is rotated and where the settings say that keys go are not the same.
    #[error(
        "the deployment's keys are wrapped by `{found}`, and `keys.root` is `{root}`: run `cedarkeep keys rewrap` first"
    )]
    NotMoved {
        /// The provider that wraps them.
        found: String,
        /// What `keys.root` says.
        root: String,
    },
    /// Two names for the same root keys: to destroy what the one has not in use would take it from the other.
    #[error(
        "`{one}` and `{other}` under `keys.providers` are the same root keys, so none of them can be destroyed: give each its own, and run `cedarkeep keys rewrap`"
    )]
    SameRoots {
        /// A provider.
        one: String,
        /// Another.
        other: String,
    },
    /// The root key is being rotated.
    #[error("the root key is being rotated: run `cedarkeep keys rotate root` to the end first")]
    RootRotates,
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
    /// It is being put back from a backup.
    #[error(
        "`{name}` is being put back from a backup and is not served until that is done: run `cedarkeep restore` again as it was begun"
    )]
    Restoring {
        /// The slug.
        name: String,
    },
    /// The ledger of erasures, without which nothing is put back.
    #[error(
        "the ledger of erasures `{}` cannot be used: {why}; put a copy that is whole in its place, or take the line out that is not",
        path.display()
    )]
    Ledger {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        why: String,
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
    /// Whether a value names a version of a key that is not in memory, or not there any more: another node has rotated it, and what was
    /// read is read again with the keys as they are now.
    #[must_use]
    pub const fn is_of_unknown_key(&self) -> bool {
        matches!(
            self,
            Self::Crypto(CryptoError::UnknownVersion { .. })
                | Self::Keys {
                    cause: CryptoError::UnknownVersion { .. },
                    ..
                }
        )
    }

    /// Why the root keys cannot be used, in words for whoever may know nothing of where they are kept; nothing where it is
    /// not they.
    #[must_use]
    pub fn keys_unavailable(&self) -> Option<&'static str> {
        match self {
            Self::Keys { cause, .. } => Some(cause.reason()),
            Self::NoProvider { .. } => Some("what keeps its root key is not known to this node"),
            _ => None,
        }
    }

    /// Whether root keys that answer do not open a key that lies under them: the one that has wrapped it is gone or another one, or the wrap is
    /// not what it was. Root keys that are out of reach, refuse or are not known here say nothing of the kind.
    #[must_use]
    pub const fn is_of_lost_key(&self) -> bool {
        matches!(
            self,
            Self::Keys {
                cause: CryptoError::UnknownVersion { .. }
                    | CryptoError::WrongKey { .. }
                    | CryptoError::DoesNotOpen
                    | CryptoError::Altered { .. }
                    | CryptoError::Truncated,
                ..
            }
        )
    }

    /// Whether it may pass without anybody's doing.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Keys {
                cause: CryptoError::Provider(error),
                ..
            } => error.may_pass(),
            _ => false,
        }
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
