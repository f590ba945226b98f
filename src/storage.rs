//! Databases: where they lie, transactions, and migrations.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{
    AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _,
    Row as _,
};

use crate::ids::TenantId;

pub mod beside;
pub mod copy;
mod dialect;
pub(crate) mod many;
mod pieces;
pub mod restorer;
mod schema;
pub mod shelf;

pub use dialect::Dialect;
#[cfg(test)]
pub(crate) use schema::plan;
pub use schema::{CONTROL, Migration, TENANT};
use shelf::Shelf;

/// Why a database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database answered with an error, or did not answer.
    #[error("the database `{place}` does not answer as it should")]
    Database {
        /// Which database, without credentials.
        place: String,
        /// What the driver said.
        #[source]
        cause: sqlx::Error,
    },
    /// A folder could not be made.
    #[error("cannot use the folder `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The server is set up so that a commit may be lost.
    #[error(
        "PostgreSQL has `{setting}` off, so an answered decision could be lost: set it to `on` and restart it"
    )]
    NotDurable {
        /// The name of the setting.
        setting: &'static str,
    },
    /// The database was written by a newer program.
    #[error(
        "the database `{place}` is at version {found}, and this program knows {known}: run the newer program"
    )]
    Newer {
        /// Which database.
        place: String,
        /// The version found.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// Something in a schema that this program does not know.
    #[error("the database `{place}` has {what}: was it written by another program?")]
    Unknown {
        /// Which database.
        place: String,
        /// What.
        what: String,
    },
    /// A URL that cannot be used.
    #[error("`{what}`: {why}")]
    Url {
        /// The part that is wrong, without credentials.
        what: String,
        /// Why.
        why: &'static str,
    },
}

/// Where the control database and the tenants' databases lie.
#[derive(Clone)]
pub enum Place {
    /// A folder: `control.db` and `tenants/<id>.db`.
    Folder(PathBuf),
    /// A server: the URL names the control database; tenants lie beside it.
    Server(ServerUrl),
}

/// The URL of a PostgreSQL server, credentials included: never printed.
#[derive(Clone)]
pub struct ServerUrl(AnyConnectOptions);

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Place {
    /// Reads the URL of a PostgreSQL server; its password comes from elsewhere.
    ///
    /// # Errors
    /// Not a PostgreSQL URL, or one over TCP without `sslmode=verify-full`.
    pub fn server(url: &str, password: Option<&str>) -> Result<Self, StorageError> {
        let wrong = |why| StorageError::Url {
            what: "data.database".into(),
            why,
        };
        let mut options: AnyConnectOptions = url
            .parse()
            .map_err(|_| wrong("not a URL of the form postgres://USER@HOST/DATABASE"))?;
        let parsed = &options.database_url;
        if !matches!(parsed.scheme(), "postgres" | "postgresql") {
            return Err(wrong("its scheme is not postgres"));
        }
        if parsed.path().len() < 2 {
            return Err(wrong("it names no database: add /cedarkeep"));
        }
        let socket = parsed
            .query_pairs()
            .any(|(name, value)| name == "host" && value.starts_with('/'))
            || parsed
                .host_str()
                .is_some_and(|host| host.starts_with("%2F"));
        let verified = parsed
            .query_pairs()
            .any(|(name, value)| name == "sslmode" && value == "verify-full");
        if !socket && !verified {
            return Err(wrong(
                "over TCP it wants ?sslmode=verify-full (and sslrootcert=FILE); a Unix socket wants ?host=/FOLDER",
            ));
        }
        if let Some(password) = password {
            // In memory alone: neither the settings nor a message ever hold it.
            let set = options.database_url.set_password(Some(password));
            set.map_err(|()| wrong("it names no host or user that a password could be for"))?;
        }
        Ok(Self::Server(ServerUrl(options)))
    }

    /// What to call it in a message.
    pub fn name(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Server(url) => {
                format!(
                    "postgres:{}",
                    url.0.database_url.path().trim_start_matches('/')
                )
            }
        }
    }

    /// Which of the two it is.
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Folder(_) => Dialect::Sqlite,
            Self::Server(_) => Dialect::Postgres,
        }
    }

    /// Whether tenants' files lie in a folder. On a server nothing is said: other deployments may share it.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn has_tenants(&self) -> Result<bool, StorageError> {
        let Self::Folder(path) = self else {
            return Ok(false);
        };
        let path = path.join("tenants");
        match std::fs::read_dir(&path) {
            Ok(mut files) => Ok(files.next().is_some()),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(cause) => Err(StorageError::Folder { path, cause }),
        }
    }

    /// Opens the control database, and creates it in a folder.
    ///
    /// # Errors
    /// It cannot be opened, or its server may lose commits.
    pub async fn control(&self) -> Result<Database, StorageError> {
        match self {
            Self::Folder(path) => {
                private_folder(path)?;
                private_folder(&path.join("tenants"))?;
                Database::open(
                    file_options(&path.join("control.db"), Missing::Made)?,
                    Dialect::Sqlite,
                    "control".into(),
                )
                .await
            }
            Self::Server(url) => {
                let database =
                    Database::open(url.0.clone(), Dialect::Postgres, self.name()).await?;
                database.check_durable().await?;
                Ok(database)
            }
        }
    }

    /// Opens a tenant's database; one that is missing is an error, and never made anew.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn tenant(&self, id: TenantId) -> Result<Database, StorageError> {
        self.open_tenant(id, Missing::Refused).await
    }

    async fn open_tenant(&self, id: TenantId, missing: Missing) -> Result<Database, StorageError> {
        match self {
            Self::Folder(path) => {
                let file = path.join("tenants").join(format!("{id}.db"));
                let options = file_options(&file, missing)?;
                Database::open(options, Dialect::Sqlite, id.to_string()).await
            }
            Self::Server(url) => {
                let mut options = url.0.clone();
                options
                    .database_url
                    .set_path(&format!("/{}", database_name(id)));
                Database::open(options, Dialect::Postgres, id.to_string()).await
            }
        }
    }

    /// Makes a tenant's database where there is none; doing it again changes nothing.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn create_tenant(&self, id: TenantId) -> Result<Database, StorageError> {
        if let Self::Server(_) = self
            && !self.has_tenant(id).await?
        {
            let control = self.control().await?;
            // The name is made of our own id's letters and digits alone.
            let sql = format!("CREATE DATABASE {}", database_name(id));
            control
                .pool
                .execute(AssertSqlSafe(sql))
                .await
                .map_err(|cause| control.error(cause))?;
        }
        self.open_tenant(id, Missing::Made).await
    }

    /// Whether a tenant's database is there, whether it opens or not.
    ///
    /// # Errors
    /// The folder cannot be looked into, or the server does not answer.
    pub async fn has_tenant(&self, id: TenantId) -> Result<bool, StorageError> {
        match self {
            Self::Folder(path) => {
                let path = path.join("tenants").join(format!("{id}.db"));
                // A link whose file is away is there.
                match std::fs::symlink_metadata(&path) {
                    Ok(_) => Ok(true),
                    Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(false),
                    Err(cause) => Err(StorageError::Folder { path, cause }),
                }
            }
            Self::Server(_) => {
                let control = self.control().await?;
                let found = sqlx::query("SELECT 1 AS found FROM pg_database WHERE datname = $1")
                    .bind(database_name(id))
                    .fetch_optional(&control.pool)
                    .await
                    .map_err(|cause| control.error(cause))?;
                Ok(found.is_some())
            }
        }
    }

    /// Where a tenant's long sealed values lie, beside its open database.
    pub fn shelf(&self, id: TenantId, database: &Database) -> Shelf {
        match self {
            Self::Folder(path) => Shelf::Folder(path.join("content").join(id.to_string())),
            Self::Server(_) => Shelf::Rows(database.clone()),
        }
    }

    /// Takes a tenant's database away for good; doing it again changes nothing.
    ///
    /// # Errors
    /// The files or the database cannot be removed.
    pub async fn remove_tenant(&self, id: TenantId) -> Result<(), StorageError> {
        match self {
            Self::Folder(path) => {
                for ending in ["db", "db-wal", "db-shm"] {
                    let file = path.join("tenants").join(format!("{id}.{ending}"));
                    match std::fs::remove_file(&file) {
                        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                            return Err(StorageError::Folder { path: file, cause });
                        }
                        _ => {}
                    }
                }
                let content = path.join("content").join(id.to_string());
                match std::fs::remove_dir_all(&content) {
                    Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                        Err(StorageError::Folder {
                            path: content,
                            cause,
                        })
                    }
                    _ => Ok(()),
                }
            }
            Self::Server(_) => {
                let control = self.control().await?;
                control
                    .pool
                    .execute(AssertSqlSafe(format!(
                        "DROP DATABASE IF EXISTS {} WITH (FORCE)",
                        database_name(id)
                    )))
                    .await
                    .map(|_| ())
                    .map_err(|cause| control.error(cause))
            }
        }
    }
}

fn database_name(id: TenantId) -> String {
    format!("cedarkeep_{}", crate::ids::bare(id.bytes()))
}

/// A folder that only we can look into.
fn private_folder(path: &Path) -> Result<(), StorageError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| StorageError::Folder {
            path: path.into(),
            cause,
        })
}

/// What becomes of a file that is not there.
#[derive(Debug, Clone, Copy)]
enum Missing {
    Made,
    Refused,
}

fn file_options(path: &Path, missing: Missing) -> Result<AnyConnectOptions, StorageError> {
    let wrong = || StorageError::Url {
        what: path.display().to_string(),
        why: "not a path that a database can have",
    };
    let address = match missing {
        Missing::Made => "sqlite:///?mode=rwc",
        Missing::Refused => "sqlite:///?mode=rw",
    };
    let absolute = std::path::absolute(path).map_err(|_| wrong())?;
    let mut url: url::Url = address.parse().map_err(|_| wrong())?;
    url.set_path(absolute.to_str().ok_or_else(wrong)?);
    AnyConnectOptions::from_url(&url).map_err(|_| wrong())
}

/// One open database: a small pool, and the word for what differs.
#[derive(Clone)]
pub struct Database {
    pool: AnyPool,
    options: AnyConnectOptions,
    dialect: Dialect,
    place: String,
    /// How much there was when its statistics were made.
    known: Arc<AtomicU64>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place)
    }
}

/// How little makes no difference to a plan, and how much is left to the database itself.
const FEW: u64 = 256;
const MANY: u64 = 1 << 20;

/// How often a migration that collided is tried, and how long is waited in between.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// How long a query may wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(2);

/// A connection that nobody has used for so long is closed: an organization that is open and idle keeps one.
const IDLE: Duration = Duration::from_secs(30);

impl Database {
    async fn open(
        options: AnyConnectOptions,
        dialect: Dialect,
        place: String,
    ) -> Result<Self, StorageError> {
        sqlx::any::install_default_drivers();
        let options = options.disable_statement_logging();
        let pool = AnyPoolOptions::new()
            .min_connections(0)
            .max_connections(2)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(IDLE)
            // A file does not hang up; asking it first takes as long as what is asked then.
            .test_before_acquire(dialect == Dialect::Postgres)
            .after_connect(move |connection, _| {
                Box::pin(async move { prepare(connection, dialect).await })
            })
            .connect_lazy_with(options.clone());
        Ok(Self {
            pool,
            options,
            dialect,
            place,
            known: Arc::default(),
        })
    }

    /// For reading outside of the appender.
    pub(crate) const fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Which of the two it is.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Has PostgreSQL make statistics where there is twice as much as when it made the last: until it does so by itself, a minute later, its
    /// plans are those for empty tables. `size` is any number that grows with what there is.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn make_statistics(&self, size: u64) -> Result<(), StorageError> {
        let known = self.known.load(Ordering::Relaxed);
        let is_due = (FEW..MANY).contains(&size) && size / 2 >= known;
        if self.dialect == Dialect::Sqlite || !is_due {
            return Ok(());
        }
        sqlx::raw_sql("ANALYZE content, segment, state, subject_key, tile")
            .execute(&self.pool)
            .await
            .map_err(|cause| self.error(cause))?;
        self.known.store(size, Ordering::Relaxed);
        Ok(())
    }

    /// Wraps what the driver said.
    pub(crate) fn error(&self, cause: sqlx::Error) -> StorageError {
        StorageError::Database {
            place: self.place.clone(),
            cause,
        }
    }

    /// A connection of one's own, outside the pool.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn connect(&self) -> Result<AnyConnection, StorageError> {
        let connect = async {
            let mut connection = AnyConnection::connect_with(&self.options).await?;
            prepare(&mut connection, self.dialect).await?;
            Ok(connection)
        };
        match tokio::time::timeout(ACQUIRE, connect).await {
            Ok(connected) => connected.map_err(|cause| self.error(cause)),
            Err(_) => Err(self.error(sqlx::Error::PoolTimedOut)),
        }
    }

    /// Begins a transaction that will write.
    pub(crate) async fn begin<'c>(
        &self,
        connection: &'c mut AnyConnection,
    ) -> Result<sqlx::Transaction<'c, sqlx::Any>, StorageError> {
        connection
            .begin_with(self.dialect.begin())
            .await
            .map_err(|cause| self.error(cause))
    }

    /// Closes the pool; waits for what is under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn check_durable(&self) -> Result<(), StorageError> {
        for (setting, sql) in [
            (
                "fsync",
                "SELECT setting FROM pg_settings WHERE name = 'fsync'",
            ),
            (
                "full_page_writes",
                "SELECT setting FROM pg_settings WHERE name = 'full_page_writes'",
            ),
            (
                "synchronous_commit",
                "SELECT setting FROM pg_settings WHERE name = 'synchronous_commit'",
            ),
        ] {
            let row: AnyRow = sqlx::query(sql)
                .fetch_one(&self.pool)
                .await
                .map_err(|cause| self.error(cause))?;
            let value: String = row.try_get("setting").map_err(|cause| self.error(cause))?;
            if value == "off" {
                return Err(StorageError::NotDurable { setting });
            }
        }
        Ok(())
    }

    /// Brings the schema up to date, each step in a transaction of its own.
    ///
    /// # Errors
    /// A step failed, or the database was written by a newer program.
    pub async fn migrate(&self, steps: &[Migration]) -> Result<(), StorageError> {
        // Two first starts at once collide where the table itself is made: the loser begins anew and finds it.
        for _ in 1..ATTEMPTS {
            match self.try_migrate(steps).await {
                Err(StorageError::Database { cause, .. }) if collided(&cause) => {
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
        self.try_migrate(steps).await
    }

    async fn try_migrate(&self, steps: &[Migration]) -> Result<(), StorageError> {
        let mut connection = self.connect().await?;
        let error = |cause| self.error(cause);
        let mut transaction = self.begin(&mut connection).await?;
        transaction
            .execute("CREATE TABLE IF NOT EXISTS migration (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)")
            .await
            .map_err(error)?;
        // Two nodes that start at once: the second waits for the first one's row.
        sqlx::query("INSERT INTO migration (version, name) VALUES (0, 'none') ON CONFLICT (version) DO UPDATE SET name = 'none'")
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM migration")
            .fetch_one(&mut *transaction)
            .await
            .map_err(error)?;
        let found: i64 = row.try_get("version").map_err(error)?;
        let known = steps.last().map_or(0, |step| step.version);
        if found > known {
            return Err(StorageError::Newer {
                place: self.place.clone(),
                found,
                known,
            });
        }
        for step in steps.iter().filter(|step| step.version > found) {
            let sql = match self.dialect {
                Dialect::Sqlite => step.sqlite,
                Dialect::Postgres => step.postgres,
            };
            sqlx::raw_sql(sql)
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
            sqlx::query("INSERT INTO migration (version, name) VALUES ($1, $2)")
                .bind(step.version)
                .bind(step.name)
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
        }
        transaction.commit().await.map_err(error)
    }
}

/// Somebody else held what was to be written: serialization_failure, deadlock_detected and lock_not_available of PostgreSQL,
/// SQLITE_BUSY and its kinds. Nothing of the transaction was done.
const HELD: [&str; 6] = ["40001", "40P01", "55P03", "5", "261", "517"];

/// Somebody else has made the same: unique_violation and duplicate_table of PostgreSQL.
const MADE: [&str; 2] = ["23505", "42P07"];

/// Whether somebody else did the same at the same time.
fn collided(cause: &sqlx::Error) -> bool {
    is_one_of(cause, &HELD) || is_one_of(cause, &MADE)
}

fn is_one_of(cause: &sqlx::Error, codes: &[&str]) -> bool {
    let code = cause.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| codes.contains(&code.as_ref()))
}

impl StorageError {
    /// Whether somebody else held what was to be written, so that nothing of the transaction was done.
    pub(crate) fn is_collision(&self) -> bool {
        matches!(self, Self::Database { cause, .. } if is_one_of(cause, &HELD))
    }
}

/// What every new connection is told.
async fn prepare(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), sqlx::Error> {
    match dialect {
        Dialect::Sqlite => {
            // `recursive_triggers` is not needed: no trigger is relied upon. `secure_delete` overwrites what is deleted.
            sqlx::raw_sql(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; \
                 PRAGMA temp_store = MEMORY; PRAGMA busy_timeout = 1500;",
            )
            .execute(connection)
            .await?;
        }
        Dialect::Postgres => {
            sqlx::raw_sql("SET client_min_messages = warning; SET lock_timeout = '1500ms'; SET statement_timeout = '10s'; SET synchronous_commit = 'on'")
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}
