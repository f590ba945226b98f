//! The high-water mark of a log: its last checkpoint, in a file outside its database, so that a database that was put back to an
//! earlier state is noticed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::audit;
use super::error::Unwritten;
use crate::ids::TenantId;
use crate::log::append;
use crate::log::checkpoint::{SignedCheckpoint, VerifierKey};
use crate::log::merkle::Hash;
use crate::tenant::Store;

/// Where a log's mark lies.
#[derive(Debug, Clone)]
pub struct Mark {
    path: PathBuf,
}

impl Mark {
    /// The mark of this tenant's log in that folder.
    pub fn of(folder: &Path, tenant: TenantId) -> Self {
        Self {
            path: folder.join(format!("{tenant}.checkpoint")),
        }
    }

    /// The checkpoint that was seen last; nothing where none was yet.
    ///
    /// # Errors
    /// The file cannot be read, or does not hold a checkpoint: then nothing is known of what there was.
    pub fn read(&self) -> Result<Option<SignedCheckpoint>, Unwritten> {
        match std::fs::read(&self.path) {
            Ok(bytes) => match SignedCheckpoint::parse(&bytes) {
                Ok(checkpoint) => Ok(Some(checkpoint)),
                Err(flaw) => Err(self.unfit(flaw.to_string())),
            },
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(self.unfit(cause.to_string())),
        }
    }

    /// Puts this checkpoint in the place of the one that is there: whole or not at all, whenever the process ends.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, checkpoint: &str) -> std::io::Result<()> {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        // Two processes on one folder, and two doors of one process, write beside each other.
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let ending = format!("{}.{number}.tmp", std::process::id());
        let beside = self.path.with_extension(ending);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(checkpoint.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)
    }

    /// Whether the log goes on from where it was seen last; how far that was.
    ///
    /// # Errors
    /// [`Unwritten::RolledBack`]: it does not. [`Unwritten::Mark`]: the mark says nothing that can be believed.
    pub async fn check(&self, store: &Store, keys: &[VerifierKey]) -> Result<u64, Unwritten> {
        let Some(seen) = self.read()? else {
            return Ok(0);
        };
        seen.verify(keys)
            .map_err(|flaw| self.unfit(flaw.to_string()))?;
        let seen = seen.checkpoint();
        // Read after the mark: another process on this folder may have moved both meanwhile.
        let size = audit::head(store).await?.size;
        if seen.size > size || root_at(store, seen.size).await? != seen.root {
            let seen = seen.size;
            return Err(Unwritten::RolledBack { seen, size });
        }
        Ok(seen.size)
    }

    /// That the mark could not be written.
    pub(super) fn unwritten(&self, cause: &std::io::Error) -> Unwritten {
        self.unfit(format!("it cannot be written: {cause}"))
    }

    fn unfit(&self, why: String) -> Unwritten {
        Unwritten::Mark {
            path: self.path.clone(),
            why,
        }
    }
}

/// The root over the first `size` leaves, out of tiles and segments.
async fn root_at(store: &Store, size: u64) -> Result<Hash, Unwritten> {
    let edge = append::load_edge(store.database(), size).await?;
    Ok(edge.frontier()?.root())
}
