//! A tenant's database put in the place of the one that is there: written beside it first, and exchanged for it once it is whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::shelf::Shelf;
use super::{
    Database, Dialect, Missing, Place, StorageError, collided, database_name, file_options,
    private_folder,
};
use crate::ids::TenantId;

/// Whoever appends holds the head's lock and compares it with what they know: a head of another life ends them.
const FENCE: &str = "UPDATE head SET incarnation = 'restoring' WHERE one = 1";

/// How often, and after what pause, a database is renamed that somebody has just let go of.
const TRIES: usize = 25;
const PAUSE: Duration = Duration::from_millis(200);

/// SQLITE_CANTOPEN and invalid_catalog_name: it is not there.
const ABSENT: &[&str] = &["14", "3D000"];
/// SQLITE_ERROR, SQLITE_CORRUPT, SQLITE_NOTADB, undefined_table, undefined_column: nobody can append to it.
const USELESS: &[&str] = &["1", "11", "26", "42P01", "42703"];

impl Place {
    /// An empty database beside a tenant's own, which nobody opens, and an empty folder for its files: where none are put back, none are left.
    /// What lay there from before is gone.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn make_beside(&self, id: TenantId) -> Result<Database, StorageError> {
        self.drop_beside(id).await?;
        match self {
            Self::Folder(path) => {
                private_folder(&path.join("tenants"))?;
                let content = path.join("content");
                private_folder(&content.join(format!("{id}.new")))?;
                sync(&content)?;
                let options = file_options(&beside(path, id), Missing::Made)?;
                Database::open(options, Dialect::Sqlite, id.to_string()).await
            }
            Self::Server(_) => {
                let control = self.control().await?;
                let name = name_beside(id);
                // The name is made of our own id's letters and digits alone.
                let made = control
                    .pool
                    .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
                    .await;
                made.map_err(|cause| control.error(cause))?;
                control.close().await;
                self.open_beside(id).await
            }
        }
    }

    /// Opens what lies beside.
    ///
    /// # Errors
    /// Nothing does, or it cannot be opened.
    pub async fn open_beside(&self, id: TenantId) -> Result<Database, StorageError> {
        match self {
            Self::Folder(path) => {
                let options = file_options(&beside(path, id), Missing::Refused)?;
                Database::open(options, Dialect::Sqlite, id.to_string()).await
            }
            Self::Server(url) => {
                let mut options = url.0.clone();
                let name = name_beside(id);
                options.database_url.set_path(&format!("/{name}"));
                Database::open(options, Dialect::Postgres, id.to_string()).await
            }
        }
    }

    /// Where long sealed values lie that belong to it.
    pub fn shelf_beside(&self, id: TenantId, database: &Database) -> Shelf {
        match self.content_beside(id) {
            Some(folder) => Shelf::Folder(folder),
            None => Shelf::Rows(database.clone()),
        }
    }

    /// Where files go that belong to what lies beside; nothing on a server, where they are rows.
    #[must_use]
    pub fn content_beside(&self, id: TenantId) -> Option<PathBuf> {
        match self {
            Self::Folder(path) => Some(path.join("content").join(format!("{id}.new"))),
            Self::Server(_) => None,
        }
    }

    /// Where a tenant's files lie; nothing on a server, where they are rows.
    #[must_use]
    pub fn content(&self, id: TenantId) -> Option<PathBuf> {
        match self {
            Self::Folder(path) => Some(path.join("content").join(id.to_string())),
            Self::Server(_) => None,
        }
    }

    /// Whether something lies beside.
    ///
    /// # Errors
    /// The folder or the server does not answer.
    pub async fn has_beside(&self, id: TenantId) -> Result<bool, StorageError> {
        match self {
            Self::Folder(path) => {
                let path = beside(path, id);
                path.try_exists()
                    .map_err(|cause| StorageError::Folder { path, cause })
            }
            Self::Server(_) => {
                let control = self.control().await?;
                let found = sqlx::query("SELECT 1 AS found FROM pg_database WHERE datname = $1")
                    .bind(name_beside(id))
                    .fetch_optional(&control.pool)
                    .await
                    .map_err(|cause| control.error(cause))?;
                control.close().await;
                Ok(found.is_some())
            }
        }
    }

    /// Takes away what lies beside; doing it again changes nothing.
    ///
    /// # Errors
    /// It cannot be removed.
    pub async fn drop_beside(&self, id: TenantId) -> Result<(), StorageError> {
        match self {
            Self::Folder(path) => {
                remove_database(&beside(path, id))?;
                let content = path.join("content").join(format!("{id}.new"));
                absent(std::fs::remove_dir_all(&content), &content)
            }
            Self::Server(_) => {
                let control = self.control().await?;
                let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name_beside(id));
                let dropped = control.pool.execute(AssertSqlSafe(sql)).await;
                dropped.map_err(|cause| control.error(cause))?;
                control.close().await;
                Ok(())
            }
        }
    }

    /// Has whoever appends to a tenant's database find at their next commit that it is over; whether there was anything to fence. One
    /// that is not there, or that nobody can append to, needs no fence.
    ///
    /// # Errors
    /// It does not answer: then it is not known who else writes to it.
    pub async fn fence(&self, id: TenantId) -> Result<bool, StorageError> {
        let database = self.tenant(id).await?;
        let fenced = async {
            let mut connection = database.connect().await?;
            for tries in 1.. {
                match sqlx::query(FENCE).execute(&mut connection).await {
                    Ok(_) => break,
                    // Somebody appends just now.
                    Err(cause) if collided(&cause) && tries < TRIES => {
                        tokio::time::sleep(PAUSE).await
                    }
                    Err(cause) => return Err(database.error(cause)),
                }
            }
            let closed = connection.close().await;
            closed.map_err(|cause| database.error(cause))
        };
        let outcome = fenced.await;
        database.close().await;
        match outcome {
            Err(StorageError::Database { cause, .. })
                if is(&cause, ABSENT) || is(&cause, USELESS) =>
            {
                Ok(false)
            }
            outcome => outcome.map(|()| true),
        }
    }

    /// Ends what was written in a tenant's database that nobody has open: in its file alone, and without what was overwritten where
    /// `erased` says that it must go.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn tidy(&self, id: TenantId, erased: bool) -> Result<(), StorageError> {
        let database = self.tenant(id).await?;
        let error = |cause| database.error(cause);
        let mut connection = database.connect().await?;
        let steps: &[&'static str] = match (self, erased) {
            // What is deleted is overwritten there (`secure_delete`); the write-ahead log has the sealed bytes for longer.
            (Self::Folder(_), _) => &["PRAGMA wal_checkpoint(TRUNCATE)"],
            // A table that is written anew leaves nothing of the old one. It takes as long as it takes.
            (Self::Server(_), true) => &["SET statement_timeout = 0", "VACUUM FULL"],
            (Self::Server(_), false) => &[],
        };
        for step in steps {
            let done = sqlx::raw_sql(*step).execute(&mut connection).await;
            done.map_err(error)?;
        }
        connection.close().await.map_err(error)?;
        database.close().await;
        Ok(())
    }

    /// Puts what lies beside in the place of the tenant's database and files, which are gone with that. Killed in the middle it is done by
    /// being done again, for as long as something lies beside.
    ///
    /// # Errors
    /// It cannot be removed or renamed.
    pub async fn exchange(&self, id: TenantId) -> Result<(), StorageError> {
        match self {
            Self::Folder(path) => exchange_files(path, id).await,
            Self::Server(_) => {
                let control = self.control().await?;
                let (name, new) = (database_name(id), name_beside(id));
                let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                let dropped = control.pool.execute(AssertSqlSafe(sql)).await;
                dropped.map_err(|cause| control.error(cause))?;
                for tries in 1.. {
                    let sql = format!("ALTER DATABASE {new} RENAME TO {name}");
                    match control.pool.execute(AssertSqlSafe(sql)).await {
                        Ok(_) => break,
                        // object_in_use: a connection that was closed ends on the server a moment later.
                        Err(cause) if is(&cause, &["55006"]) && tries < TRIES => {
                            tokio::time::sleep(PAUSE).await;
                        }
                        Err(cause) => return Err(control.error(cause)),
                    }
                }
                control.close().await;
                Ok(())
            }
        }
    }
}

async fn exchange_files(path: &Path, id: TenantId) -> Result<(), StorageError> {
    let (tenants, content) = (path.join("tenants"), path.join("content"));
    let (whole, new) = (tenants.join(format!("{id}.db")), beside(path, id));
    // Everything into the one file that is renamed, also where whoever wrote it was killed before it was closed.
    let options = file_options(&new, Missing::Refused)?;
    let database = Database::open(options, Dialect::Sqlite, id.to_string()).await?;
    let mut connection = database.connect().await?;
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut connection)
        .await
        .map_err(|cause| database.error(cause))?;
    let closed = connection.close().await;
    closed.map_err(|cause| database.error(cause))?;
    database.close().await;
    for ending in ["-wal", "-shm"] {
        let file = with_ending(&new, ending);
        absent(std::fs::remove_file(&file), &file)?;
    }
    // The files first: as long as the database lies beside, all of this is done again.
    let (old_files, new_files) = (
        content.join(id.to_string()),
        content.join(format!("{id}.new")),
    );
    let exists = new_files.try_exists();
    if exists.map_err(|cause| folder_error(&new_files, cause))? {
        absent(std::fs::remove_dir_all(&old_files), &old_files)?;
        std::fs::rename(&new_files, &old_files).map_err(|cause| folder_error(&new_files, cause))?;
        sync(&content)?;
    }
    remove_database(&whole)?;
    std::fs::rename(&new, &whole).map_err(|cause| folder_error(&new, cause))?;
    sync(&tenants)
}

fn beside(path: &Path, id: TenantId) -> PathBuf {
    path.join("tenants").join(format!("{id}.new.db"))
}

fn name_beside(id: TenantId) -> String {
    format!("{}_new", database_name(id))
}

fn with_ending(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn remove_database(file: &Path) -> Result<(), StorageError> {
    // The write-ahead log last: without its database it is nothing, but a database without it may be an older one.
    for ending in ["", "-shm", "-wal"] {
        let file = with_ending(file, ending);
        absent(std::fs::remove_file(&file), &file)?;
    }
    Ok(())
}

fn folder_error(path: &Path, cause: std::io::Error) -> StorageError {
    StorageError::Folder {
        path: path.to_owned(),
        cause,
    }
}

/// What is not there need not be removed.
fn absent(removed: std::io::Result<()>, path: &Path) -> Result<(), StorageError> {
    match removed {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(folder_error(path, cause))
        }
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> Result<(), StorageError> {
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|cause| folder_error(folder, cause))
}

fn is(cause: &sqlx::Error, codes: &[&str]) -> bool {
    let code = cause.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| codes.contains(&code.as_ref()))
}
