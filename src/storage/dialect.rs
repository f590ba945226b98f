//! The two databases that we speak to, and the statements that differ between them.

/// The two databases that we speak to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A file of its own for each tenant.
    Sqlite,
    /// A database of its own for each tenant, on one server.
    Postgres,
}

/// SQLite's extended result code of a trigger that raises.
const SQLITE_CONSTRAINT_TRIGGER: &str = "1811";

impl Dialect {
    /// How a transaction that will write begins.
    pub(super) const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Whether a slice of a long value costs less than the whole: SQLite reads the whole to cut a slice out.
    pub(crate) const fn reads_slices(self) -> bool {
        match self {
            Self::Sqlite => false,
            Self::Postgres => true,
        }
    }

    /// Locks the row that whoever changes a tenant's keys holds alone; SQLite has locked the database already.
    pub(crate) const fn keys_lock(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT key_check FROM tenant WHERE one = 1",
            Self::Postgres => "SELECT key_check FROM tenant WHERE one = 1 FOR UPDATE",
        }
    }

    /// The same for those who seal outside of the head's lock: they hold it together.
    pub(crate) const fn keys_share(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT key_check FROM tenant WHERE one = 1",
            Self::Postgres => "SELECT key_check FROM tenant WHERE one = 1 FOR SHARE",
        }
    }

    /// Locks the deployment's row of the control database: whoever wraps a key under a root key holds it.
    pub(crate) const fn deployment_lock(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT version, root_version, root_next, wrapped_by FROM deployment WHERE one = 1"
            }
            Self::Postgres => {
                "SELECT version, root_version, root_next, wrapped_by FROM deployment WHERE one = 1 FOR UPDATE"
            }
        }
    }

    /// Adds a segment and moves the head, where that is what it is said to be: one statement, which is its own transaction.
    pub(crate) const fn advance(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "INSERT INTO appending (first_index, entries, leaves, parts, hashes, frontier, last_time, checkpoint, \
                 ends, ends_frontier, ends_change, ends_time, ends_checkpoint, ends_minimum, ends_signing, ends_incarnation, ends_keys) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
            }
            Self::Postgres => {
                "WITH moved AS (UPDATE head SET size = $1 + $2, frontier = $6, last_time = $7, checkpoint = $8 \
                 WHERE one = 1 AND size = $9 AND frontier = $10 AND last_change = $11 AND last_time = $12 AND checkpoint = $13 \
                 AND minimum = $14 AND signing_version = $15 AND incarnation = $16 AND keys_version = $17 RETURNING one) \
                 INSERT INTO segment (first_index, entries, leaves, parts, hashes) SELECT $1, $2, $3, $4, $5 FROM moved"
            }
        }
    }

    /// Whether [`Dialect::advance`] found another head: PostgreSQL has then written nothing, SQLite's trigger fails.
    pub(crate) fn is_elsewhere(
        self,
        advanced: &Result<sqlx::any::AnyQueryResult, sqlx::Error>,
    ) -> bool {
        match (self, advanced) {
            (Self::Postgres, Ok(done)) => done.rows_affected() == 0,
            (Self::Sqlite, Err(sqlx::Error::Database(error))) => error
                .code()
                .is_some_and(|code| code == SQLITE_CONSTRAINT_TRIGGER),
            (Self::Sqlite | Self::Postgres, _) => false,
        }
    }

    /// What follows a SELECT that locks its row; SQLite has locked the database already.
    pub(crate) const fn head_lock(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT size, frontier, last_change, last_time, checkpoint, minimum, signing_version, incarnation, keys_version FROM head WHERE one = 1"
            }
            Self::Postgres => {
                "SELECT size, frontier, last_change, last_time, checkpoint, minimum, signing_version, incarnation, keys_version FROM head WHERE one = 1 FOR UPDATE"
            }
        }
    }
}
