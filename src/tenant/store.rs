//! A tenant's open store: its database, its keys, and the keys of its people.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use sqlx::{Any, Row as _, Transaction};

use super::TenantError;
use super::keys::TenantKeys;
use crate::crypto::CryptoError;
use crate::crypto::hierarchy::{
    CheckValue, TenantKey, Wrapped, create_subject_key, open_subject_key,
};
use crate::crypto::sealing::DataKeys;
use crate::ids::{Incarnation, TenantId};
use crate::storage::{Database, TENANT};

const WHO: &str = "SELECT id, incarnation, key_check FROM tenant WHERE one = 1";
const BE: &str = "INSERT INTO tenant (one, id, incarnation, key_check) VALUES (1, $1, $2, $3)";
const FIRST_HEAD: &str = "INSERT INTO head (one, size, frontier, last_change, last_time, checkpoint) VALUES (1, 0, $1, 0, 0, '')";
const FORGET: &str = "DELETE FROM subject_key WHERE subject = $1";
const SUBJECT: &str = "SELECT wrapped, key_check FROM subject_key WHERE subject = $1 LIMIT 1";

/// How many people's keys are kept open.
const SUBJECTS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// A tenant's open store.
#[derive(Debug)]
pub struct Store {
    id: TenantId,
    incarnation: Incarnation,
    database: Database,
    keys: Arc<TenantKeys>,
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
            .bind(incarnation.to_string())
            .bind(key.check_value().as_bytes().as_slice())
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        sqlx::query(FIRST_HEAD)
            .bind(Vec::<u8>::new())
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        TenantKeys::create(database, &mut transaction, key).await?;
        transaction.commit().await.map_err(error)?;
        Ok(())
    }

    /// Opens it: the database must be this tenant's, and its keys must open.
    pub(super) async fn open(
        database: Database,
        id: TenantId,
        key: TenantKey,
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
        let check: Vec<u8> = row.try_get("key_check").map_err(error)?;
        key.verify(&CheckValue::from_slice(&check)?)?;
        let incarnation: String = row.try_get("incarnation").map_err(error)?;
        let incarnation: Incarnation = incarnation.parse().map_err(|_| TenantError::Corrupt {
            what: "incarnation",
        })?;
        let keys = Arc::new(TenantKeys::open(&database, key, id, incarnation).await?);
        let subjects = SubjectKeys {
            tenant: id.to_string(),
            database: database.clone(),
            keys: Arc::clone(&keys),
            open: Mutex::new(LruCache::new(SUBJECTS)),
        };
        Ok(Self {
            id,
            incarnation,
            database,
            keys,
            subjects,
        })
    }

    /// Whose it is.
    pub const fn id(&self) -> TenantId {
        self.id
    }

    /// The life of the log.
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The database.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// The data keys.
    pub fn keys(&self) -> &TenantKeys {
        &self.keys
    }

    /// The keys of people.
    pub const fn subjects(&self) -> &SubjectKeys {
        &self.subjects
    }
}

/// The keys of people: opened when they are wanted, destroyed when somebody is forgotten.
pub struct SubjectKeys {
    tenant: String,
    database: Database,
    keys: Arc<TenantKeys>,
    open: Mutex<LruCache<String, Arc<DataKeys>>>,
}

impl std::fmt::Debug for SubjectKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectKeys")
    }
}

impl SubjectKeys {
    /// Somebody's key; nothing where there is none.
    ///
    /// # Errors
    /// The database does not answer, or the key does not open.
    pub async fn get(&self, subject: &str) -> Result<Option<Arc<DataKeys>>, TenantError> {
        if let Some(key) = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(subject)
        {
            return Ok(Some(Arc::clone(key)));
        }
        let error = |cause| self.database.error(cause);
        let row = sqlx::query(SUBJECT)
            .bind(subject)
            .fetch_optional(self.database.pool())
            .await
            .map_err(error)?;
        let Some(row) = row else { return Ok(None) };
        let check: Vec<u8> = row.try_get("key_check").map_err(error)?;
        let sealed: Vec<u8> = row.try_get("wrapped").map_err(error)?;
        let wrapped = Wrapped {
            sealed,
            check: CheckValue::from_slice(&check)?,
        };
        let key = Arc::new(open_subject_key(
            self.keys.subject_wrap(),
            &self.tenant,
            subject,
            &wrapped,
        )?);
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(subject.into(), Arc::clone(&key));
        Ok(Some(key))
    }

    /// A new key for somebody, wrapped, to be written in the transaction that makes them known.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn create(&self, subject: &str) -> Result<Wrapped, CryptoError> {
        let (_, wrapped) = create_subject_key(self.keys.subject_wrap(), &self.tenant, subject)?;
        Ok(wrapped)
    }

    /// Destroys somebody's key within a transaction.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn destroy(
        &self,
        transaction: &mut Transaction<'_, Any>,
        subject: &str,
    ) -> Result<(), TenantError> {
        sqlx::query(FORGET)
            .bind(subject)
            .execute(&mut **transaction)
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }

    /// Lets go of the keys in memory: one that was destroyed is not found any more.
    pub fn let_go(&self) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
