//! Whoever puts a tenant back is alone with it: a lock that ends with the process that holds it, and what was left beside by one that ended.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sqlx::{AnyConnection, Connection as _, Row as _};

use super::{Place, StorageError, private_folder};
use crate::ids::{self, TenantId};

/// Advisory locks are of one database: of the control database, and so of the deployment.
const LOCK: &str = "SELECT pg_try_advisory_lock($1) AS locked";
// The connection is silent for as long as a load lasts.
const PATIENT: &str = "SELECT set_config(name, value, false) FROM (VALUES ('tcp_keepalives_idle', '30'), \
     ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'), ('idle_session_timeout', '0')) AS wanted (name, value) \
     WHERE name IN (SELECT name FROM pg_settings)";
const HELD: &str = "SELECT 1 AS held";
const UNLOCK: &str = "SELECT pg_advisory_unlock($1) AS unlocked";
const BESIDE: &str = r"SELECT datname::text AS datname FROM pg_database WHERE datname LIKE 'cedarkeep\_%\_new' ORDER BY datname LIMIT 10000";

/// The right to write beside a tenant's database.
pub struct Restorer(Held);

enum Held {
    File(Locked),
    /// A connection of one's own, with whose end the server lets go of it.
    Session(Box<AnyConnection>, i64),
}

/// A file that is locked, and goes with the lock.
struct Locked {
    path: PathBuf,
    _file: File,
}

impl std::fmt::Debug for Restorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Restorer")
    }
}

impl Place {
    /// The right to put a tenant back; nothing where somebody else has it.
    ///
    /// # Errors
    /// The folder or the server does not answer.
    pub async fn restorer(&self, id: TenantId) -> Result<Option<Restorer>, StorageError> {
        match self {
            Self::Folder(folder) => {
                let tenants = folder.join("tenants");
                private_folder(&tenants)?;
                let path = tenants.join(format!("{id}.new.lock"));
                let file = lock(&path).map_err(|cause| StorageError::Folder {
                    path: path.clone(),
                    cause,
                })?;
                Ok(file.map(|_file| Restorer(Held::File(Locked { path, _file }))))
            }
            Self::Server(_) => {
                let control = self.control().await?;
                let mut connection = Box::new(control.connect().await?);
                let key = key(id);
                sqlx::query(PATIENT)
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(|cause| control.error(cause))?;
                let row = sqlx::query(LOCK)
                    .bind(key)
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(|cause| control.error(cause))?;
                let locked = row
                    .try_get::<bool, _>("locked")
                    .map_err(|cause| control.error(cause));
                control.close().await;
                Ok(locked?.then_some(Restorer(Held::Session(connection, key))))
            }
        }
    }

    /// Whose databases or files lie beside, or a lock of whoever wrote there. A server may have some of other deployments.
    ///
    /// # Errors
    /// The folder or the server does not answer.
    pub async fn all_beside(&self) -> Result<BTreeSet<TenantId>, StorageError> {
        match self {
            Self::Folder(path) => {
                let mut found = BTreeSet::new();
                for (folder, ending) in [("tenants", ".new."), ("content", ".new")] {
                    let names = names(&path.join(folder))?;
                    let ids = names.iter().filter_map(|name| name.split_once(ending));
                    found.extend(ids.filter_map(|(id, _)| id.parse::<TenantId>().ok()));
                }
                Ok(found)
            }
            Self::Server(_) => {
                let control = self.control().await?;
                let rows = sqlx::query(BESIDE).fetch_all(&control.pool).await;
                let rows = rows.map_err(|cause| control.error(cause))?;
                let mut found = BTreeSet::new();
                for row in &rows {
                    let name: String = row
                        .try_get("datname")
                        .map_err(|cause| control.error(cause))?;
                    let id = name.strip_prefix("cedarkeep_");
                    let id = id.and_then(|id| id.strip_suffix("_new"));
                    found.extend(id.and_then(ids::parse_bare).map(TenantId::new));
                }
                control.close().await;
                Ok(found)
            }
        }
    }
}

impl Restorer {
    /// Whether it is held still: a server may have ended the connection.
    pub async fn is_held(&mut self) -> bool {
        match &mut self.0 {
            Held::File(_) => true,
            Held::Session(connection, _) => {
                let held = sqlx::query(HELD).fetch_one(&mut **connection).await;
                held.is_ok()
            }
        }
    }

    /// Lets go of it at once. Dropped, or with the end of the process, it is let go of as well, on a server a moment later.
    pub async fn release(self) {
        match self.0 {
            Held::File(locked) => drop(locked),
            Held::Session(mut connection, key) => {
                let unlocked = sqlx::query(UNLOCK)
                    .bind(key)
                    .execute(&mut *connection)
                    .await;
                // Where it does not answer the connection is over, and the lock with it.
                drop(unlocked);
                drop(connection.close().await);
            }
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // While it is locked still: whoever has opened it sees that its name is gone.
        drop(std::fs::remove_file(&self.path));
    }
}

/// A lock on the file of that name; nothing where somebody has it.
fn lock(path: &Path) -> std::io::Result<Option<File>> {
    loop {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(cause)) => return Err(cause),
        }
        // Whoever had it takes its name away: a lock on a file without one keeps nobody out.
        let locked = file.metadata()?;
        match std::fs::metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) => {
                return Ok(Some(file));
            }
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
    }
}

/// The number that a server locks for a tenant.
fn key(id: TenantId) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *id.bytes();
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// What lies in a folder, if there is one.
fn names(folder: &Path) -> Result<Vec<String>, StorageError> {
    let failed = |cause| StorageError::Folder {
        path: folder.to_owned(),
        cause,
    };
    let entries = match std::fs::read_dir(folder) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let names =
        entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into()));
    names.collect()
}
