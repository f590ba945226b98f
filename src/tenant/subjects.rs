//! The keys of a tenant's people: opened when they are wanted, destroyed when somebody is forgotten.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use sqlx::{Any, AssertSqlSafe, Row as _, Transaction};

use super::TenantError;
use super::keys::TenantKeys;
use super::roots::TRIES;
use crate::crypto::CryptoError;
use crate::crypto::hierarchy::{CheckValue, Wrapped, create_subject_key, open_subject_key};
use crate::crypto::sealing::DataKeys;
use crate::ids::TenantId;
use crate::storage::Database;
use crate::storage::many::{MANY, bind_all, places};

const FORGET: &str = "DELETE FROM subject_key WHERE subject = $1";
const SUBJECTS_OF: &str = "SELECT subject, wrapped, key_check FROM subject_key WHERE subject IN ";

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
        let found = self.several(&[subject]).await?;
        Ok(found.into_iter().next().map(|(_, key)| key))
    }

    /// The keys of these people, of those who have one: what is not open here is read together.
    ///
    /// # Errors
    /// The same.
    pub async fn several(
        &self,
        subjects: &[&str],
    ) -> Result<Vec<(String, Arc<DataKeys>)>, TenantError> {
        let mut found = Vec::with_capacity(subjects.len());
        let mut missing = Vec::new();
        {
            let mut open = self.open();
            for subject in subjects {
                match open.keys.get(*subject) {
                    Some(key) => found.push(((*subject).to_owned(), Arc::clone(key))),
                    None => missing.push(*subject),
                }
            }
        }
        for some in missing.chunks(MANY) {
            found.extend(self.read_known(some).await?);
        }
        Ok(found)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_known(
        &self,
        subjects: &[&str],
    ) -> Result<Vec<(String, Arc<DataKeys>)>, TenantError> {
        for _ in 1..TRIES {
            match self.read(subjects).await {
                // One has been wrapped anew since the keys were read.
                Err(error) if error.is_of_unknown_key() => self.keys.reload().await?,
                read => return read,
            }
        }
        self.read(subjects).await
    }

    async fn read(&self, subjects: &[&str]) -> Result<Vec<(String, Arc<DataKeys>)>, TenantError> {
        let let_go = self.open().let_go;
        let error = |cause| self.database.error(cause);
        let places = places(subjects.len(), 1);
        let query = sqlx::query(AssertSqlSafe(format!("{SUBJECTS_OF}({places})")));
        let rows = bind_all(query, subjects).fetch_all(self.database.pool());
        let rows = rows.await.map_err(error)?;
        let ring = self.keys.ring();
        let mut read = Vec::with_capacity(subjects.len());
        for row in rows {
            let subject: String = row.try_get("subject").map_err(error)?;
            let check: Vec<u8> = row.try_get("key_check").map_err(error)?;
            let sealed: Vec<u8> = row.try_get("wrapped").map_err(error)?;
            let wrapped = Wrapped {
                sealed,
                check: CheckValue::from_slice(&check)?,
            };
            let key = open_subject_key(&ring.subject_wrap, &self.tenant, &subject, &wrapped)?;
            read.push((subject, Arc::new(key)));
        }
        let mut open = self.open();
        if open.let_go == let_go {
            for (subject, key) in &read {
                open.keys.put(subject.clone(), Arc::clone(key));
            }
        }
        drop(open);
        Ok(read)
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
