//! The root keys as the control database's rows need them: who wraps a row, each tenant's wrapped key, and the lock of whoever writes one.

use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use super::TenantError;
use super::deployment::STANDING;
use super::providers::{Providers, RootKeys};
use crate::crypto::hierarchy::{CheckValue, TenantKey, Wrapped};
use crate::crypto::provider::Under;
use crate::crypto::sealing::key_version;
use crate::ids::TenantId;
use crate::storage::Database;

const KEYS_OF: &str = "SELECT key_version, key_wrapped, key_check, next_version, next_wrapped, next_check, wrapped_by FROM tenant \
     WHERE id = $1 LIMIT 1";
const WRAPPED_BY: &str = "SELECT wrapped_by FROM tenant WHERE id = $1 LIMIT 1";
const PREPARE: &str = "UPDATE tenant SET next_version = $1, next_wrapped = $2, next_check = $3 \
     WHERE id = $4 AND next_version IS NULL AND wrapped_by = $5";
const PROMOTE: &str = "UPDATE tenant SET key_version = next_version, key_wrapped = next_wrapped, key_check = next_check, \
     next_version = NULL, next_wrapped = NULL, next_check = NULL WHERE id = $1 AND next_version = $2";

/// The columns of a tenant's present key: version, wrap and check value.
pub(super) const PRESENT: [&str; 3] = ["key_version", "key_wrapped", "key_check"];
/// Those of the one that it is being rotated to.
pub(super) const NEXT: [&str; 3] = ["next_version", "next_wrapped", "next_check"];

/// How often a row is read again that a rotation has changed meanwhile.
pub(super) const TRIES: usize = 5;

/// A key of a row, wrapped under a root key.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) version: u32,
    pub(super) wrapped: Wrapped,
    /// Whose root keys wrap it.
    pub(super) by: String,
}

/// The providers of root keys, and the control database whose rows they wrap.
#[derive(Debug)]
pub(super) struct Roots {
    database: Database,
    providers: Providers,
    /// The keys of the one tenant that these are for, where the row of the control database is not to say.
    told: Option<Vec<Held>>,
}

impl Roots {
    pub(super) const fn new(database: Database, providers: Providers) -> Self {
        Self {
            database,
            providers,
            told: None,
        }
    }

    /// The same for one tenant alone, whose keys are these.
    pub(super) fn telling(&self, told: Vec<Held>) -> Self {
        Self {
            database: self.database.clone(),
            providers: self.providers.clone(),
            told: Some(told),
        }
    }

    /// Who wraps.
    pub(super) const fn providers(&self) -> &Providers {
        &self.providers
    }

    /// Unwraps a key where it is wrapped.
    pub(super) async fn unwrap(&self, tenant: &str, held: &Held) -> Result<TenantKey, TenantError> {
        let root = self.providers.named(&held.by)?;
        root.open_key(tenant, held.version, &held.wrapped).await
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
        let text = id.to_string();
        let mut keys = Vec::new();
        if let Some(told) = &self.told {
            for held in told {
                keys.push(self.unwrap(&text, held).await?);
            }
            return Ok(keys);
        }
        let row = sqlx::query(KEYS_OF)
            .bind(&text)
            .fetch_optional(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        let row = row.ok_or_else(|| TenantError::NotFound { name: text.clone() })?;
        for columns in [PRESENT, NEXT] {
            if let Some(held) = held(&self.database, &row, columns)? {
                keys.push(self.unwrap(&text, &held).await?);
            }
        }
        Ok(keys)
    }

    /// The tenant key that follows: made and kept beside the present one where there is none yet, wrapped by whoever wraps that.
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
            let root = self.wraps(id).await?;
            let under = self.under(root).await?;
            let (_, wrapped) = root.create_key(&text, version, under).await?;
            let error = |cause| self.database.error(cause);
            let mut connection = self.database.connect().await?;
            let mut transaction = self.database.begin(&mut connection).await?;
            let locked = lock(&self.database, &mut transaction).await?;
            if !locked.takes(root.name(), &wrapped)? {
                transaction.rollback().await.map_err(error)?;
                continue;
            }
            sqlx::query(PREPARE)
                .bind(i64::from(version))
                .bind(wrapped.sealed.as_slice())
                .bind(wrapped.check.as_bytes().as_slice())
                .bind(&text)
                .bind(root.name())
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
            transaction.commit().await.map_err(error)?;
        }
        Err(TenantError::Corrupt { what: "tenant" })
    }

    /// Which of these root keys wraps now: of those that the control database goes by the one that it names, since one that was made
    /// ready for a rotation may not yet be on every machine.
    pub(super) async fn under(&self, root: &RootKeys) -> Result<Under, TenantError> {
        let row = sqlx::query(STANDING).fetch_one(self.database.pool()).await;
        let row = row.map_err(|cause| self.database.error(cause))?;
        let locked = Locked::of(&self.database, &row)?;
        Ok(if root.name() == locked.wrapped_by {
            Under::Version(locked.root)
        } else {
            Under::Newest
        })
    }

    /// Who wraps a tenant's key.
    async fn wraps(&self, id: TenantId) -> Result<&RootKeys, TenantError> {
        let error = |cause| self.database.error(cause);
        let row = sqlx::query(WRAPPED_BY)
            .bind(id.to_string())
            .fetch_optional(self.database.pool())
            .await
            .map_err(error)?;
        let row = row.ok_or_else(|| TenantError::NotFound {
            name: id.to_string(),
        })?;
        let name: String = row.try_get("wrapped_by").map_err(error)?;
        Ok(self.providers.named(&name)?)
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
}

/// The deployment's row as whoever has locked it sees it.
#[derive(Debug, Clone)]
pub(super) struct Locked {
    /// The version of the deployment's own keys.
    pub(super) version: u32,
    /// Whose root keys wrap the deployment's keys.
    wrapped_by: String,
    /// The root key that the control database goes by, or the one that it is being rotated to.
    root: u32,
}

impl Locked {
    pub(super) fn of(database: &Database, row: &AnyRow) -> Result<Self, TenantError> {
        let missing = || TenantError::Corrupt { what: "deployment" };
        let root = version(database, row, "root_version")?.ok_or_else(missing)?;
        Ok(Self {
            version: version(database, row, "version")?.ok_or_else(missing)?,
            wrapped_by: row
                .try_get("wrapped_by")
                .map_err(|cause| database.error(cause))?,
            root: version(database, row, "root_next")?.unwrap_or(root),
        })
    }

    /// Whether this is a wrap of the deployment's own key by whoever is to wrap it.
    pub(super) fn wraps(&self, provider: &str, wrapped: &Wrapped) -> Result<bool, TenantError> {
        Ok(provider == self.wrapped_by && self.takes(provider, wrapped)?)
    }

    /// Whether a key that this provider has wrapped may be written: not under a root key that is being rotated away, with which it would be
    /// gone, nor under one that is not yet everywhere. Root keys of other providers are rotated there, and none of them is destroyed here.
    pub(super) fn takes(&self, provider: &str, wrapped: &Wrapped) -> Result<bool, TenantError> {
        Ok(provider != self.wrapped_by || key_version(&wrapped.sealed)? == self.root)
    }
}

/// Locks the deployment's row: whoever writes a key that is wrapped under a root key holds it.
pub(super) async fn lock(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
) -> Result<Locked, TenantError> {
    let row = sqlx::query(database.dialect().deployment_lock())
        .fetch_one(&mut **transaction)
        .await
        .map_err(|cause| database.error(cause))?;
    Locked::of(database, &row)
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
    Ok(Some(Held {
        version,
        wrapped: wrapped(database, row, sealed, check)?,
        by: row.try_get("wrapped_by").map_err(error)?,
    }))
}

/// A wrap and its check value in a row.
pub(super) fn wrapped(
    database: &Database,
    row: &AnyRow,
    sealed: &str,
    check: &str,
) -> Result<Wrapped, TenantError> {
    let error = |cause| database.error(cause);
    let bytes: Vec<u8> = row.try_get(check).map_err(error)?;
    Ok(Wrapped {
        sealed: row.try_get(sealed).map_err(error)?,
        check: CheckValue::from_slice(&bytes)?,
    })
}
