//! Moving the wraps of keys from one root key to another: rows of the control database, and nothing of any tenant's.
//!
//! Each key is moved by itself: opened where it is wrapped, wrapped where it shall be, opened there once more, and only then
//! is its row exchanged, if it is still the one that was read. Whoever dies in between comes again.
//!
//! Whoever writes to the control database could give an organization another provider, for the next move to obey. What wraps
//! a key can not be given: so a key goes over to another owner's root keys by an operator's word alone (`Strayed`).

use sqlx::Row as _;

use super::control::{Control, DEPLOYMENT, Row, wrapped};
use super::{Slug, TenantError};
use crate::crypto::hierarchy::{TenantKey, Wrapped};
use crate::crypto::provider::RootCheck;
use crate::crypto::sealing;
use crate::ids::TenantId;

const EVERY: &str = "SELECT id, slug, key_version, key_wrapped, key_check, ready, created_at, kind, provider, \
     wrapped_by FROM tenant WHERE id > $1 ORDER BY id LIMIT $2";
const ONE: &str = "SELECT id, slug, key_version, key_wrapped, key_check, ready, created_at, kind, provider, \
     wrapped_by FROM tenant WHERE id = $1 LIMIT 1";
const MOVE: &str = "UPDATE tenant SET key_wrapped = $1, key_check = $2, provider = $3, wrapped_by = $4 \
     WHERE id = $5 AND key_version = $6 AND key_wrapped = $7 AND provider = $8";
const READ_KEY: &str = "SELECT root_version, root_check, key_wrapped, key_check, wrapped_by FROM deployment WHERE one = 1";
const MOVE_KEY: &str = "UPDATE deployment SET key_wrapped = $1, key_check = $2, wrapped_by = $3, root_version = $4, \
     root_check = $5 WHERE one = 1 AND key_wrapped = $6";

/// How often a row is read again that somebody else has written meanwhile.
const ATTEMPTS: usize = 5;

/// What became of one key's wrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// The provider that wraps it.
    pub provider: String,
    /// The version of its root key.
    pub root_version: u32,
    /// Whether it was moved; else it was there already.
    pub moved: bool,
}

impl Control {
    /// The tenants that have a key, by id, after `after`: half made ones and the deployment's own log too.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn keys(
        &self,
        after: Option<TenantId>,
        limit: i64,
    ) -> Result<Vec<(TenantId, Slug)>, TenantError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows = sqlx::query(EVERY)
            .bind(after)
            .bind(limit)
            .fetch_all(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        rows.iter()
            .map(|row| self.read(row).map(|row| (row.tenant.id, row.tenant.slug)))
            .collect()
    }

    /// Wraps a tenant's key under the newest root key of its provider, or of another one, which is its provider from then
    /// on. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound`, `NoProvider`, `Keys`, `Strayed`, `Contended`, or the database does not answer; its key is then wrapped as before.
    pub async fn rewrap(&self, id: TenantId, to: Option<&str>) -> Result<Rewrapped, TenantError> {
        let to = to.map(|name| self.own_provider(name)).transpose()?;
        for _ in 0..ATTEMPTS {
            let row = self.row(id).await?;
            if to.is_none() {
                self.has_not_strayed(&row)?;
            }
            if let Some(done) = self.try_rewrap(&row, to.unwrap_or(&row.provider)).await? {
                return Ok(done);
            }
        }
        Err(TenantError::Contended {
            name: id.to_string(),
        })
    }

    /// Wraps the deployment's own key under the newest root key of the provider that the settings name. Doing it again
    /// changes nothing.
    ///
    /// # Errors
    /// As [`Control::rewrap`].
    pub async fn rewrap_deployment(&self) -> Result<Rewrapped, TenantError> {
        for _ in 0..ATTEMPTS {
            if let Some(done) = self.try_rewrap_deployment().await? {
                return Ok(done);
            }
        }
        Err(TenantError::Contended {
            name: DEPLOYMENT.to_owned(),
        })
    }

    /// The name of the provider that all that has none of its own goes to.
    ///
    /// # Errors
    /// `NotTheRoot`, if that is not the one that was meant.
    pub fn root_for_all(&self, meant: Option<&str>) -> Result<&str, TenantError> {
        let root = self.providers.root_name();
        match meant {
            Some(to) if to != root => Err(TenantError::NotTheRoot {
                root: root.to_owned(),
                to: to.to_owned(),
            }),
            _ => Ok(root),
        }
    }

    fn has_not_strayed(&self, row: &Row) -> Result<(), TenantError> {
        let found = row.wrapped_by.as_str();
        let fits = if row.provider.is_empty() {
            found == self.providers.root_name() || found == self.wrapped_by
        } else {
            found == row.provider
        };
        if fits {
            return Ok(());
        }
        Err(TenantError::Strayed {
            name: row.tenant.slug.to_string(),
            found: found.to_owned(),
            wanted: if row.provider.is_empty() {
                self.providers.root_name().to_owned()
            } else {
                row.provider.clone()
            },
        })
    }

    async fn row(&self, id: TenantId) -> Result<Row, TenantError> {
        let row = sqlx::query(ONE)
            .bind(id.to_string())
            .fetch_optional(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        row.map(|row| self.read(&row))
            .transpose()?
            .ok_or_else(|| TenantError::NotFound {
                name: id.to_string(),
            })
    }

    /// Nothing where the row was written meanwhile.
    async fn try_rewrap(
        &self,
        row: &Row,
        provider: &str,
    ) -> Result<Option<Rewrapped>, TenantError> {
        let id = row.tenant.id.to_string();
        let target = self.ready_provider(provider).await?;
        let newest = target.newest().await?;
        let there =
            row.wrapped_by == target.name() && sealing::key_version(&row.key.sealed)? == newest;
        if there && row.provider == provider {
            return Ok(Some(Rewrapped {
                provider: row.wrapped_by.clone(),
                root_version: newest,
                moved: false,
            }));
        }
        let moved = if there {
            row.key.clone()
        } else {
            let key = self.key(row).await?;
            let moved = target.rewrap(&key).await?;
            same_key(&key, &target.open_key(&id, row.key_version, &moved).await?)?;
            moved
        };
        let done = sqlx::query(MOVE)
            .bind(moved.sealed.as_slice())
            .bind(moved.check.as_bytes().as_slice())
            .bind(provider)
            .bind(target.name())
            .bind(&id)
            .bind(i64::from(row.key_version))
            .bind(row.key.sealed.as_slice())
            .bind(&row.provider)
            .execute(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        let root_version = sealing::key_version(&moved.sealed)?;
        Ok((done.rows_affected() == 1).then(|| Rewrapped {
            provider: target.name().to_owned(),
            root_version,
            moved: true,
        }))
    }

    async fn try_rewrap_deployment(&self) -> Result<Option<Rewrapped>, TenantError> {
        let error = |cause| self.database.error(cause);
        let row = sqlx::query(READ_KEY)
            .fetch_one(self.database.pool())
            .await
            .map_err(error)?;
        let wrapped_by: String = row.try_get("wrapped_by").map_err(error)?;
        let version: i64 = row.try_get("root_version").map_err(error)?;
        let version =
            u32::try_from(version).map_err(|_| TenantError::Corrupt { what: "deployment" })?;
        let check: Vec<u8> = row.try_get("root_check").map_err(error)?;
        let old: Wrapped = wrapped(&self.database, &row, "key_wrapped", "key_check")?;

        let target = self.ready_provider("").await?;
        let newest = target.newest().await?;
        let there = wrapped_by == target.name() && sealing::key_version(&old.sealed)? == newest;
        if there && version == newest {
            let check = RootCheck::from_slice(&check);
            target.verify(version, &check).await?;
            return Ok(Some(Rewrapped {
                provider: wrapped_by,
                root_version: newest,
                moved: false,
            }));
        }
        let key = self
            .providers
            .named(&wrapped_by)?
            .open_key(DEPLOYMENT, 1, &old)
            .await?;
        let (version, check) = target.check_value().await?;
        target.verify(version, &check).await?;
        let moved = target.rewrap(&key).await?;
        same_key(&key, &target.open_key(DEPLOYMENT, 1, &moved).await?)?;
        // A root key that was added between the two calls: the check must be of the one that wraps.
        if sealing::key_version(&moved.sealed)? != version {
            return Ok(None);
        }
        let done = sqlx::query(MOVE_KEY)
            .bind(moved.sealed.as_slice())
            .bind(moved.check.as_bytes().as_slice())
            .bind(target.name())
            .bind(i64::from(version))
            .bind(check.as_bytes())
            .bind(old.sealed.as_slice())
            .execute(self.database.pool())
            .await
            .map_err(error)?;
        Ok((done.rows_affected() == 1).then(|| Rewrapped {
            provider: target.name().to_owned(),
            root_version: version,
            moved: true,
        }))
    }
}

/// What was wrapped anew is what was wrapped before: else it is not written.
fn same_key(before: &TenantKey, after: &TenantKey) -> Result<(), TenantError> {
    Ok(after.verify(&before.check_value())?)
}
