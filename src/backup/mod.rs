//! Backups: a deployment or one organization taken as it is while the service runs, sealed, and put back.
//!
//! A backup is a folder: `backup.json`, which says in the clear what opens it; `contents`, sealed, which says what else there is and with
//! which hashes; `control`, the control database; `<tenant id>`, for each organization its database in one snapshot, its row of the
//! control database, and its files; `keyring`, where a recovery key was given. It has its name once it is whole.
//!
//! In reading order: [`frames`] (what is in a file), [`sealed`] (how it is sealed), [`folder`] (which files, under which keys), [`take`],
//! [`read`] (all of it checked), [`put`].

mod folder;
mod frames;
mod put;
mod read;
mod sealed;
mod take;

use std::path::{Path, PathBuf};

pub use folder::{Backup, Sealers};
pub use put::{PutBack, identity, load_control, put_back};
pub use read::{Checked, Found, Wanted};
pub use take::{Taken, Taking, take};

use crate::crypto::CryptoError;
use crate::decide::error::{Refused, Unwritten};
use crate::decide::restore::NotRestored;
use crate::decide::upkeep::Unkept;
use crate::storage::StorageError;
use crate::tenant::TenantError;

/// Why a backup was not taken, or not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The control database, or the keys.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// A key, or what is sealed under it.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Another life of a log could not be begun.
    #[error(transparent)]
    NotRestored(#[from] NotRestored),
    /// A log that was put back.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// An entry of a log that was put back.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// An erasure could not be done again.
    #[error(transparent)]
    Unkept(#[from] Unkept),
    /// A file cannot be written.
    #[error("cannot write `{}`: nothing is left of this backup; make room, or choose another place", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// There is no folder to put it into.
    #[error("there is no folder `{}`: make it, or choose another place for the backup", .0.display())]
    NoFolder(PathBuf),
    /// The place is taken.
    #[error("`{}` is there already: choose another name for the backup", .0.display())]
    There(PathBuf),
    /// No backup at all.
    #[error("`{}` is no backup: {why}", path.display())]
    NotABackup {
        /// The folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Its own key does not open.
    #[error(
        "nothing here opens this backup: it wants the root key that it was made under, or the file that was given as --recovery-key"
    )]
    WrongKeys(#[source] CryptoError),
    /// A file that is not what was written.
    #[error(
        "the backup's file `{file}` is not what was written ({why}): nothing was changed; take another backup"
    )]
    Altered {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// A log of it that does not verify.
    #[error(
        "the log of `{name}` in the backup does not verify, so it takes nobody's place: {wrong}; put another backup back"
    )]
    Unsound {
        /// Its short name.
        name: String,
        /// The first that is wrong.
        wrong: String,
    },
    /// A backup that does not fit what is here.
    #[error("{0}: nothing was changed")]
    Unfit(String),
    /// An organization that was closed.
    #[error("`{name}` was closed, and what it had was destroyed on purpose: it is not put back")]
    Closed {
        /// Its name or id.
        name: String,
    },
}

impl BackupError {
    pub(crate) fn write(path: &Path, cause: std::io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            cause,
        }
    }

    pub(crate) fn read(path: &Path, cause: std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            cause,
        }
    }

    fn altered(file: &str, why: impl std::fmt::Display) -> Self {
        Self::Altered {
            file: file.to_owned(),
            why: why.to_string(),
        }
    }
}

/// What a backup has done so far.
#[derive(Debug, Clone)]
pub enum Progress {
    /// So many bytes of a file were read and found sound.
    Checked {
        /// The file.
        file: String,
        /// Bytes of it so far.
        bytes: u64,
    },
    /// So many rows of a database were written.
    Rows {
        /// Whose.
        of: String,
        /// Rows of it so far.
        rows: u64,
    },
    /// So many of a log's entries were checked.
    Entries {
        /// So far.
        done: u64,
        /// In all.
        of: u64,
    },
    /// Something to know.
    Said(String),
}
