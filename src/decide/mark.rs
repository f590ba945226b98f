//! The high-water mark of a log: its last checkpoint, in a file outside its database, so that a database that was put back to an
//! earlier state is noticed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::audit;
use super::error::Unwritten;
use crate::ids::TenantId;
use crate::log::Event;
use crate::log::append::{Head, Unreadable};
use crate::log::checkpoint::{Checkpoint, SignedCheckpoint, VerifierKey};
use crate::log::entry::Fact;
use crate::log::merkle::{Hash, verify_consistency};
use crate::log::tree;
use crate::tenant::Store;

/// The most entries that a restore begins with: of the life before, and of one that is lost whole.
const LIVES: usize = 2;

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
        self.keep_earlier(checkpoint)?;
        let is_first = !self.path.try_exists()?;
        std::fs::rename(&beside, &self.path)?;
        // A rename that a power cut takes back leaves the mark before it, which holds the log to nearly as much: each second's is not worth
        // another wait for the disk. Of the first nothing would be left.
        if is_first {
            for place in [Some(folder), folder.parent()].into_iter().flatten() {
                sync(place)?;
            }
        }
        Ok(())
    }

    /// A mark of an earlier life is kept beside the present one's: what a restore has lost shows against it.
    fn keep_earlier(&self, checkpoint: &str) -> std::io::Result<()> {
        let present = SignedCheckpoint::parse(checkpoint.as_bytes()).ok();
        if let (Some(present), Ok(Some(seen))) = (present, self.read())
            && seen.checkpoint().origin != present.checkpoint().origin
        {
            let ending = format!("{}.checkpoint", seen.checkpoint().origin.incarnation());
            let earlier = self.path.with_extension(ending);
            std::fs::copy(&self.path, &earlier)?;
            sync(&earlier)?;
            sync(self.path.parent().unwrap_or(Path::new(".")))?;
        }
        Ok(())
    }

    /// Whether the log goes on from where it was seen last; how far that was.
    ///
    /// # Errors
    /// [`Unwritten::RolledBack`]: it does not. [`Unwritten::Mark`]: the mark says nothing that can be believed.
    pub async fn check(&self, store: &Store, keys: &[VerifierKey]) -> Result<u64, Unwritten> {
        let Some(seen) = self.read()? else {
            return Ok(0);
        };
        let signed = seen.verify(keys);
        let seen = seen.checkpoint();
        // Read after the mark: another process on this folder may have moved both meanwhile.
        let head = audit::head(store).await?;
        let rolled_back = || Unwritten::RolledBack {
            seen: seen.size,
            size: head.size,
        };
        let Some(present) = keys.first().filter(|key| *key.name() != seen.origin) else {
            signed.map_err(|flaw| self.unfit(flaw.to_string()))?;
            if seen.size > head.size {
                return Err(rolled_back());
            }
            let end = end_signed(&head, keys.first())?;
            return match begins_with(store, &end, (seen.size, &seen.root)).await? {
                true => Ok(seen.size),
                false => Err(rolled_back()),
            };
        };
        // Of an earlier life: the key that signed the mark may be among what the restore has lost.
        let end = end_signed(&head, Some(present)).map_err(|_| rolled_back())?;
        let is_there = seen.size <= end.size;
        if is_there && begins_with(store, &end, (seen.size, &seen.root)).await? {
            return Ok(0);
        }
        let left = end_of(store, seen).await?.ok_or_else(rolled_back)?;
        // A life that what was put back knows nothing of is lost whole: nothing of it is in the tree to compare with.
        let mut lives = store.lives().iter();
        let is_known = lives.any(|life| life.incarnation.to_string() == seen.origin.incarnation());
        if seen.size <= left && is_known {
            return Err(rolled_back());
        }
        tracing::warn!(
            tenant.id = %store.id(), seen = seen.size, left,
            "a restore has put the log back behind what this node has seen of it"
        );
        Ok(0)
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

/// Has the disk hold a file, or the names in a folder.
fn sync(path: &Path) -> std::io::Result<()> {
    match path.as_os_str().is_empty() {
        // Where a relative path begins.
        true => Ok(()),
        false => std::fs::File::open(path)?.sync_all(),
    }
}

/// Where the life ended of which a mark is: a restore put the log back there, as the log's own entry says. Nothing where nobody says so.
async fn end_of(store: &Store, seen: &Checkpoint) -> Result<Option<u64>, Unwritten> {
    for life in store.lives().iter().skip(1) {
        for (entry, ..) in audit::read(store, life.first, LIVES).await? {
            match (entry.event, &entry.fact) {
                (Event::LogRestored, Some(Fact::Restored { incarnation, .. })) => {
                    if incarnation.as_str() == seen.origin.incarnation() {
                        return Ok(Some(life.first));
                    }
                }
                _ => break,
            }
        }
    }
    Ok(None)
}

/// Whether the log that this head is the end of begins with the leaves of that root: shown by a proof, since rows of tiles say the same thing
/// in several places, and need not agree. Rows that are no tree begin with nothing.
async fn begins_with(
    store: &Store,
    end: &Checkpoint,
    (size, root): (u64, &Hash),
) -> Result<bool, Unwritten> {
    let path = match tree::consistency(store.database(), size, end.size).await {
        Ok(path) => path,
        Err(Unreadable::Flaw(_) | Unreadable::Missing { .. }) => return Ok(false),
        Err(error @ Unreadable::Storage(_)) => return Err(error.into()),
    };
    Ok(verify_consistency((size, root), (end.size, &end.root), &path).is_ok())
}

/// What a head says, as the log's present key has signed it.
fn end_signed(head: &Head, present: Option<&VerifierKey>) -> Result<Checkpoint, Unwritten> {
    let note = SignedCheckpoint::parse(head.checkpoint.as_bytes())?;
    note.verify(present.map(std::slice::from_ref).unwrap_or_default())?;
    let end = note.checkpoint();
    if end.size == head.size {
        Ok(end.clone())
    } else {
        Err(Unwritten::Corrupt { what: "head" })
    }
}

/// The root over the first `size` leaves of the log that the first of these keys has signed.
pub(super) async fn root_at(
    store: &Store,
    keys: &[VerifierKey],
    size: u64,
) -> Result<Hash, Unwritten> {
    let head = audit::head(store).await?;
    audit::root_of(store, &end_signed(&head, keys.first())?, size).await
}
