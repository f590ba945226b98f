//! The keys of a tenant's people: opened when they are wanted, destroyed when somebody is forgotten.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use sqlx::{Any, Row as _, Transaction};

use super::TenantError;
use super::keys::TenantKeys;
use super::roots::TRIES;
use crate::crypto::CryptoError;
use crate::crypto::hierarchy::{CheckValue, Wrapped, create_subject_key, open_subject_key};
use crate::crypto::sealing::DataKeys;
use crate::ids::TenantId;
use crate::storage::Database;

const FORGET: &str = "DELETE FROM subject_key WHERE subject = $1";
const SUBJECT: &str = "SELECT wrapped, key_check FROM subject_key WHERE subject = $1 LIMIT 1";

/// How many people's keys are kept open.
const SUBJECTS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// The keys of people: opened when they are wanted, destroyed when somebody is forgotten.
pub struct SubjectKeys {
    tenant: String,
    database: Database,
    keys: Arc<TenantKeys>,
    open: Mutex<Open>,
}

/// The keys that are open, and how often all were let go of: what was read before that is not kept after it.
struct Open {
    keys: LruCache<String, Arc<DataKeys>>,
    let_go: u64,
}

impl std::fmt::Debug for SubjectKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectKeys")
    }
}

impl SubjectKeys {
    pub(super) fn new(tenant: TenantId, database: Database, keys: Arc<TenantKeys>) -> Self {
        Self {
            tenant: tenant.to_string(),
            database,
            keys,
            open: Mutex::new(Open {
                keys: LruCache::new(SUBJECTS),
                let_go: 0,
            }),
        }
    }

    /// Somebody's key; nothing where there is none.
    ///
    /// # Errors
    /// The database does not answer, or the key does not open.
    pub async fn get(&self, subject: &str) -> Result<Option<Arc<DataKeys>>, TenantError> {
        if let Some(key) = self.open().keys.get(subject) {
            return Ok(Some(Arc::clone(key)));
        }
        for _ in 1..TRIES {
            match self.read(subject).await {
                // It has been wrapped anew since the keys were read.
                Err(error) if error.is_of_unknown_key() => self.keys.reload().await?,
                read => return read,
            }
        }
        self.read(subject).await
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, subject: &str) -> Result<Option<Arc<DataKeys>>, TenantError> {
        let let_go = self.open().let_go;
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
        let ring = self.keys.ring();
        let key = open_subject_key(&ring.subject_wrap, &self.tenant, subject, &wrapped)?;
        let key = Arc::new(key);
        let mut open = self.open();
        if open.let_go == let_go {
            open.keys.put(subject.into(), Arc::clone(&key));
        }
        drop(open);
        Ok(Some(key))
    }

    /// A new key for somebody, wrapped, to be written in the transaction that makes them known.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn create(&self, subject: &str) -> Result<Wrapped, CryptoError> {
        let ring = self.keys.ring();
        let (_, wrapped) = create_subject_key(&ring.subject_wrap, &self.tenant, subject)?;
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
        let mut open = self.open();
        open.let_go = open.let_go.wrapping_add(1);
        open.keys.clear();
    }
}
