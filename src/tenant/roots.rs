//! The root keys as the control database's rows need them: the provider in use, which is read again when another process has rotated it,
//! and each tenant's wrapped key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use super::TenantError;
use crate::crypto::CryptoError;
use crate::crypto::hierarchy::{CheckValue, TenantKey, Wrapped};
use crate::crypto::keyring::{self, Keyring};
use crate::crypto::provider::Provider;
use crate::crypto::sealing::{Purpose, key_version};
use crate::ids::TenantId;
use crate::storage::Database;

const KEYS_OF: &str = "SELECT key_version, key_wrapped, key_check, next_version, next_wrapped, next_check FROM tenant \
     WHERE id = $1 LIMIT 1";
const PREPARE: &str = "UPDATE tenant SET next_version = $1, next_wrapped = $2, next_check = $3 \
     WHERE id = $4 AND next_version IS NULL";
const PROMOTE: &str = "UPDATE tenant SET key_version = next_version, key_wrapped = next_wrapped, key_check = next_check, \
     next_version = NULL, next_wrapped = NULL, next_check = NULL WHERE id = $1 AND next_version = $2";

/// How often a row is read again that a rotation has changed meanwhile.
pub(super) const TRIES: usize = 5;

/// A key of a row, wrapped under a root key.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) version: u32,
    pub(super) wrapped: Wrapped,
}

/// The provider of root keys, and the control database whose rows it wraps.
#[derive(Debug)]
pub(super) struct Roots {
    database: Database,
    keyring: PathBuf,
    provider: ArcSwap<Provider>,
}

impl Roots {
    /// Opens the provider; makes a keyring at a first start alone.
    pub(super) fn open(
        database: Database,
        keyring: &Path,
        store: keyring::Store,
    ) -> Result<Self, TenantError> {
        let provider = Provider::Keyring(Keyring::open_or_create(keyring, store)?);
        Ok(Self {
            database,
            keyring: keyring.to_owned(),
            provider: ArcSwap::from_pointee(provider),
        })
    }

    /// The provider as it was read last.
    pub(super) fn provider(&self) -> Arc<Provider> {
        self.provider.load_full()
    }

    /// Reads the provider again: another process may have added or destroyed a root key.
    pub(super) fn reload(&self) -> Result<(), TenantError> {
        let read = Provider::Keyring(Keyring::open(&self.keyring)?);
        self.provider.store(Arc::new(read));
        Ok(())
    }

    /// Makes sure that there is a root key after this version; the newest.
    pub(super) fn add_after(&self, version: u32) -> Result<u32, TenantError> {
        for _ in 0..TRIES {
            let mut keyring = Keyring::open(&self.keyring)?;
            if keyring.roots().newest().version <= version {
                match keyring.add_root() {
                    // Another process was quicker: perhaps there is one now.
                    Err(CryptoError::KeyringChanged(_)) => continue,
                    added => drop(added?),
                }
            }
            let newest = keyring.roots().newest().version;
            self.provider.store(Arc::new(Provider::Keyring(keyring)));
            return Ok(newest);
        }
        Err(CryptoError::KeyringChanged(self.keyring.clone()).into())
    }

    /// Destroys the root keys before this version.
    pub(super) fn destroy_before(&self, version: u32) -> Result<(), TenantError> {
        for _ in 0..TRIES {
            let mut keyring = Keyring::open(&self.keyring)?;
            match keyring.destroy_roots_before(version) {
                Err(CryptoError::KeyringChanged(_)) => {}
                done => {
                    done?;
                    self.provider.store(Arc::new(Provider::Keyring(keyring)));
                    return Ok(());
                }
            }
        }
        Err(CryptoError::KeyringChanged(self.keyring.clone()).into())
    }

    /// The versions of root keys that are held, oldest first.
    pub(super) fn versions(&self) -> Vec<u32> {
        match self.provider().as_ref() {
            Provider::Keyring(keyring) => keyring.roots().iter().map(|root| root.version).collect(),
        }
    }

    /// Unwraps a key; the provider is read again where it lacks the root key.
    pub(super) fn unwrap(&self, tenant: &str, held: &Held) -> Result<TenantKey, TenantError> {
        let open = || TenantKey::open(&self.provider(), tenant, held.version, &held.wrapped);
        match open() {
            Err(CryptoError::UnknownVersion {
                purpose: Purpose::TenantWrap,
                ..
            }) => {
                self.reload()?;
                Ok(open()?)
            }
            opened => Ok(opened?),
        }
    }

    /// The tenant key of a row, and the one that it is being rotated to.
    pub(super) async fn tenant_keys(&self, id: TenantId) -> Result<Vec<TenantKey>, TenantError> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.try_tenant_keys(id).await {
                // The row was wrapped anew, and the root key that it was under is gone.
                Err(error) if error.is_of_unknown_key() => last = Some(error),
                read => return read,
            }
        }
        Err(last.unwrap_or(TenantError::Corrupt { what: "tenant" }))
    }

    async fn try_tenant_keys(&self, id: TenantId) -> Result<Vec<TenantKey>, TenantError> {
        let error = |cause| self.database.error(cause);
        let text = id.to_string();
        let row = sqlx::query(KEYS_OF)
            .bind(&text)
            .fetch_optional(self.database.pool())
            .await
            .map_err(error)?;
        let row = row.ok_or_else(|| TenantError::NotFound { name: text.clone() })?;
        let held = [
            held(
                &self.database,
                &row,
                ["key_version", "key_wrapped", "key_check"],
            )?,
            held(
                &self.database,
                &row,
                ["next_version", "next_wrapped", "next_check"],
            )?,
        ];
        let held = held.into_iter().flatten();
        held.map(|held| self.unwrap(&text, &held)).collect()
    }

    /// The tenant key that follows: made and kept beside the present one where there is none yet.
    pub(super) async fn prepare(
        &self,
        id: TenantId,
        version: u32,
    ) -> Result<TenantKey, TenantError> {
        let text = id.to_string();
        for _ in 0..TRIES {
            let keys = self.tenant_keys(id).await?;
            if let Some(next) = keys.into_iter().find(|key| key.version() == version) {
                return Ok(next);
            }
            let (_, wrapped) = TenantKey::create(&self.provider(), &text, version)?;
            let error = |cause| self.database.error(cause);
            let mut connection = self.database.connect().await?;
            let mut transaction = self.database.begin(&mut connection).await?;
            if self.locked(&mut transaction, &wrapped).await?.is_none() {
                transaction.rollback().await.map_err(error)?;
                self.reload()?;
                continue;
            }
            sqlx::query(PREPARE)
                .bind(i64::from(version))
                .bind(wrapped.sealed.as_slice())
                .bind(wrapped.check.as_bytes().as_slice())
                .bind(&text)
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
            transaction.commit().await.map_err(error)?;
        }
        Err(TenantError::Corrupt { what: "tenant" })
    }

    /// The tenant key that follows is the present one from now on, and the one before is in no row any more. Doing it again changes nothing.
    pub(super) async fn promote(&self, id: TenantId, version: u32) -> Result<(), TenantError> {
        sqlx::query(PROMOTE)
            .bind(id.to_string())
            .bind(i64::from(version))
            .execute(self.database.pool())
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }

    /// Locks the deployment's row for whoever writes a key that is wrapped under a root key. Nothing where the root key is one that is being
    /// rotated away: it would be gone with that.
    pub(super) async fn locked(
        &self,
        transaction: &mut Transaction<'_, Any>,
        wrapped: &Wrapped,
    ) -> Result<Option<Locked>, TenantError> {
        let locked = lock(&self.database, transaction).await?;
        let wanted = locked.root_next.unwrap_or(locked.root_version);
        let under = key_version(&wrapped.sealed)?;
        Ok(Some(locked).filter(|_| under >= wanted))
    }
}

/// The deployment's row as whoever has locked it sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locked {
    /// The version of the deployment's own keys.
    pub(super) version: u32,
    /// The root key that the control database goes by.
    pub(super) root_version: u32,
    /// The root key that it is being rotated to.
    pub(super) root_next: Option<u32>,
}

/// Locks the deployment's row.
pub(super) async fn lock(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
) -> Result<Locked, TenantError> {
    let row = sqlx::query(database.dialect().deployment_lock())
        .fetch_one(&mut **transaction)
        .await
        .map_err(|cause| database.error(cause))?;
    let missing = || TenantError::Corrupt { what: "deployment" };
    Ok(Locked {
        version: version(database, &row, "version")?.ok_or_else(missing)?,
        root_version: version(database, &row, "root_version")?.ok_or_else(missing)?,
        root_next: version(database, &row, "root_next")?,
    })
}

/// A version in a row.
pub(super) fn version(
    database: &Database,
    row: &AnyRow,
    column: &str,
) -> Result<Option<u32>, TenantError> {
    let version: Option<i64> = row.try_get(column).map_err(|cause| database.error(cause))?;
    let version = version.map(u32::try_from).transpose();
    version.map_err(|_| TenantError::Corrupt { what: "version" })
}

/// A wrapped key in a row.
pub(super) fn held(
    database: &Database,
    row: &AnyRow,
    [version_column, sealed, check]: [&str; 3],
) -> Result<Option<Held>, TenantError> {
    let error = |cause| database.error(cause);
    let Some(version) = version(database, row, version_column)? else {
        return Ok(None);
    };
    let check: Vec<u8> = row.try_get(check).map_err(error)?;
    Ok(Some(Held {
        version,
        wrapped: Wrapped {
            sealed: row.try_get(sealed).map_err(error)?,
            check: CheckValue::from_slice(&check)?,
        },
    }))
}
