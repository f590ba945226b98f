//! A tenant's open store: its database, its keys, and the keys of its people.

use std::sync::Arc;

use sqlx::{Any, Row as _, Transaction};

use super::TenantError;
use super::keys::TenantKeys;
use super::ring;
use super::roots::Roots;
use super::subjects::SubjectKeys;
use crate::crypto::hierarchy::TenantKey;
use crate::ids::{Incarnation, TenantId};
use crate::storage::shelf::Shelf;
use crate::storage::{Database, TENANT};

const WHO: &str = "SELECT id FROM tenant WHERE one = 1";
const BE: &str = "INSERT INTO tenant (one, id, key_check) VALUES (1, $1, $2)";
const LIVES: &str = "SELECT first_index, incarnation FROM life ORDER BY first_index LIMIT 10000";
const ADD_LIFE: &str = "INSERT INTO life (first_index, incarnation) VALUES ($1, $2)";
const SIZE: &str = "SELECT size FROM head WHERE one = 1";
const FIRST_HEAD: &str = "INSERT INTO head (one, size, frontier, last_change, last_time, checkpoint, incarnation) \
     VALUES (1, 0, $1, 0, 0, '', $2)";

/// Whose a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An organization's.
    Organization,
    /// The deployment's: it holds a log and nothing else.
    Deployment,
}

/// One life of a log: it goes on from the one before at the size that a restore put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The index of its first entry.
    pub first: u64,
    /// Its name.
    pub incarnation: Incarnation,
}

/// A tenant's open store.
#[derive(Debug)]
pub struct Store {
    id: TenantId,
    kind: Kind,
    /// The first is the one that the tenant was made with; never empty.
    lives: Vec<Life>,
    begins: bool,
    pub(super) database: Database,
    shelf: Shelf,
    pub(super) keys: Arc<TenantKeys>,
    subjects: SubjectKeys,
}

impl Store {
    /// Makes an empty store; doing it again changes nothing.
    pub(super) async fn create(
        database: &Database,
        id: TenantId,
        key: &TenantKey,
    ) -> Result<(), TenantError> {
        database.migrate(TENANT).await?;
        let error = |cause| database.error(cause);
        let mut connection = database.connect().await?;
        let mut transaction = database.begin(&mut connection).await?;
        if sqlx::query(WHO)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(error)?
            .is_some()
        {
            return Ok(());
        }
        let incarnation = Incarnation::new(crate::crypto::random()?);
        sqlx::query(BE)
            .bind(id.to_string())
            .bind(key.check_value().as_bytes().as_slice())
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        let first = Life {
            first: 0,
            incarnation,
        };
        write_life(database, &mut transaction, first).await?;
        sqlx::query(FIRST_HEAD)
            .bind(Vec::<u8>::new())
            .bind(incarnation.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        ring::create(database, &mut transaction, (id, key)).await?;
        transaction.commit().await.map_err(error)?;
        Ok(())
    }

    /// Opens it: the database must be this tenant's, and its keys must open. With `next` another life of its log begins, which the
    /// first change has to write.
    pub(super) async fn open(
        (database, shelf): (Database, Shelf),
        roots: Arc<Roots>,
        (id, kind): (TenantId, Kind),
        next: Option<Incarnation>,
    ) -> Result<Self, TenantError> {
        database.migrate(TENANT).await?;
        let error = |cause| database.error(cause);
        let exchanged = || TenantError::Exchanged { id: id.to_string() };
        let row = sqlx::query(WHO)
            .fetch_optional(database.pool())
            .await
            .map_err(error)?
            .ok_or_else(exchanged)?;
        let found: String = row.try_get("id").map_err(error)?;
        if found != id.to_string() {
            return Err(exchanged());
        }
        let mut lives = read_lives(&database).await?;
        if let Some(incarnation) = next {
            let size = sqlx::query(SIZE).fetch_one(database.pool()).await;
            let size: i64 = size.map_err(error)?.try_get("size").map_err(error)?;
            let first = u64::try_from(size).map_err(|_| TenantError::Corrupt { what: "head" })?;
            lives.push(Life { first, incarnation });
        }
        let keys = Arc::new(TenantKeys::open(database.clone(), roots, id, &lives).await?);
        let subjects = SubjectKeys::new(id, database.clone(), Arc::clone(&keys));
        Ok(Self {
            id,
            kind,
            lives,
            begins: next.is_some(),
            database,
            shelf,
            keys,
            subjects,
        })
    }

    /// Whose it is.
    pub const fn id(&self) -> TenantId {
        self.id
    }

    /// Whether it is an organization's.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The lives of the log, the first first; its last is the present one.
    pub fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// The present life of the log.
    pub fn life(&self) -> Life {
        let none = Life {
            first: 0,
            incarnation: Incarnation::new([0; 16]),
        };
        // INVARIANT: there is always one.
        self.lives.last().copied().unwrap_or(none)
    }

    /// The life that the head must be of: of a store that begins another the one before.
    pub fn written_life(&self) -> Life {
        let before = self.lives.len().checked_sub(2).filter(|_| self.begins);
        before
            .and_then(|at| self.lives.get(at).copied())
            .unwrap_or_else(|| self.life())
    }

    /// Whether its present life is to begin with the next change.
    pub const fn begins(&self) -> bool {
        self.begins
    }

    /// Writes the life that begins, in the transaction of its first entries.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn write_life(
        &self,
        transaction: &mut Transaction<'_, Any>,
    ) -> Result<(), TenantError> {
        write_life(&self.database, transaction, self.life()).await
    }

    /// The database.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Where long sealed values lie.
    pub const fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// The data keys.
    pub fn keys(&self) -> &TenantKeys {
        &self.keys
    }

    /// Reads the data keys again: another node has changed them.
    ///
    /// # Errors
    /// The database or the control database does not answer.
    pub async fn reload_keys(&self) -> Result<(), TenantError> {
        self.keys.reload().await
    }

    /// The keys of people.
    pub const fn subjects(&self) -> &SubjectKeys {
        &self.subjects
    }
}

async fn write_life(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    life: Life,
) -> Result<(), TenantError> {
    let first = i64::try_from(life.first).map_err(|_| TenantError::Corrupt { what: "life" })?;
    sqlx::query(ADD_LIFE)
        .bind(first)
        .bind(life.incarnation.to_string())
        .execute(&mut **transaction)
        .await
        .map(|_| ())
        .map_err(|cause| database.error(cause).into())
}

async fn read_lives(database: &Database) -> Result<Vec<Life>, TenantError> {
    let error = |cause| database.error(cause);
    let corrupt = || TenantError::Corrupt { what: "life" };
    let rows = sqlx::query(LIVES)
        .fetch_all(database.pool())
        .await
        .map_err(error)?;
    let mut lives = Vec::new();
    for row in &rows {
        let first: i64 = row.try_get("first_index").map_err(error)?;
        let incarnation: String = row.try_get("incarnation").map_err(error)?;
        lives.push(Life {
            first: u64::try_from(first).map_err(|_| corrupt())?,
            incarnation: incarnation.parse().map_err(|_| corrupt())?,
        });
    }
    match lives.first() {
        Some(first) if first.first == 0 => Ok(lives),
        _ => Err(corrupt()),
    }
}
