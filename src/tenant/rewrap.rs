//! Moving the wraps of keys from one root key to another: rows of the control database, and nothing of any tenant's.
//!
//! Each key is moved by itself: opened where it is wrapped, wrapped where it shall be, opened there once more, and only then
//! is its row exchanged, if it is still the one that was read. Whoever dies in between comes again.
//!
//! Whoever writes to the control database could give an organization another provider, for the next move to obey. What wraps
//! a key can not be given: so a key goes over to another owner's root keys by an operator's word alone (`Strayed`).

use sqlx::Row as _;

use super::control::{Control, Row};
use super::deployment::DEPLOYMENT;
use super::providers::RootKeys;
use super::roots::{self, Held, TRIES, held, version};
use super::{Slug, TenantError};
use crate::crypto::hierarchy::{TenantKey, Wrapped};
use crate::crypto::provider::{RootCheck, Under};
use crate::crypto::sealing::key_version;
use crate::ids::TenantId;

const EVERY: &str = "SELECT id, slug, key_version, key_wrapped, key_check, next_version, next_wrapped, next_check, ready, \
     created_at, kind, provider, wrapped_by FROM tenant WHERE id > $1 ORDER BY id LIMIT $2";
const MOVE: &str = "UPDATE tenant SET key_wrapped = $1, provider = $2, wrapped_by = $3 \
     WHERE id = $4 AND key_version = $5 AND key_wrapped = $6 AND provider = $7 AND COALESCE(next_version, 0) = $8";
const MOVE_NEXT: &str = "UPDATE tenant SET next_wrapped = $1 WHERE id = $2 AND next_wrapped = $3";
const READ_KEY: &str = "SELECT version, root_version, root_check, root_from, key_wrapped, key_check, wrapped_by FROM deployment WHERE one = 1";
const MOVE_KEY: &str = "UPDATE deployment SET key_wrapped = $1, wrapped_by = $2, root_version = $3, root_check = $4 \
     WHERE one = 1 AND key_wrapped = $5 AND root_from IS NULL";

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
        let mut last = None;
        for _ in 0..TRIES {
            let rows = sqlx::query(EVERY)
                .bind(&after)
                .bind(limit)
                .fetch_all(self.database.pool())
                .await
                .map_err(|cause| self.database.error(cause))?;
            let read = rows.iter().map(|row| self.read(row));
            let read: Result<Vec<_>, _> = read
                .map(|row| row.map(|row| (row.tenant.id, row.tenant.slug)))
                .collect();
            match read {
                // The deployment's keys have been rotated since they were read.
                Err(error) if error.is_of_unknown_key() => {
                    self.reload().await?;
                    last = Some(error);
                }
                read => return read,
            }
        }
        Err(last.unwrap_or(TenantError::Corrupt { what: "deployment" }))
    }

    /// Wraps a tenant's key under the newest root key of its provider, or of another one, which is its provider from then
    /// on. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound`, `NoProvider`, `Keys`, `Strayed`, `Contended`, or the database does not answer; its key is then wrapped as before.
    pub async fn rewrap(&self, id: TenantId, to: Option<&str>) -> Result<Rewrapped, TenantError> {
        let to = to.map(|name| self.own_provider(name)).transpose()?;
        for _ in 0..TRIES {
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
        for _ in 0..TRIES {
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
        let root = self.providers().root_name();
        match meant {
            Some(to) if to != root => Err(TenantError::NotTheRoot {
                root: root.to_owned(),
                to: to.to_owned(),
            }),
            _ => Ok(root),
        }
    }

    fn has_not_strayed(&self, row: &Row) -> Result<(), TenantError> {
        let found = row.key.by.as_str();
        let fits = if row.provider.is_empty() {
            found == self.providers().root_name() || found == self.wrapped_by
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
                self.providers().root_name().to_owned()
            } else {
                row.provider.clone()
            },
        })
    }

    async fn row(&self, id: TenantId) -> Result<Row, TenantError> {
        let row = self.by_id(id).await?;
        row.ok_or_else(|| TenantError::NotFound {
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
        let root = match self.roots.under(target).await? {
            Under::Newest => target.newest().await?,
            Under::Version(version) => version,
        };
        let mut is_there = row.key.by == target.name();
        for held in [Some(&row.key), row.next.as_ref()].into_iter().flatten() {
            is_there &= key_version(&held.wrapped.sealed)? == root;
        }
        if is_there && row.provider == provider {
            return Ok(Some(Rewrapped {
                provider: row.key.by.clone(),
                root_version: root,
                moved: false,
            }));
        }
        let there = (!is_there).then_some(Under::Version(root));
        let moved = self.moved(target, &id, &row.key, there).await?;
        let next = match &row.next {
            Some(next) => Some((next, self.moved(target, &id, next, there).await?)),
            None => None,
        };
        let error = |cause| self.database.error(cause);
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        let locked = roots::lock(&self.database, &mut transaction).await?;
        let mut fits = locked.takes(target.name(), &moved)?;
        let done = sqlx::query(MOVE)
            .bind(moved.sealed.as_slice())
            .bind(provider)
            .bind(target.name())
            .bind(&id)
            .bind(i64::from(row.key.version))
            .bind(row.key.wrapped.sealed.as_slice())
            .bind(&row.provider)
            .bind(i64::from(row.next.as_ref().map_or(0, |next| next.version)))
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        fits &= done.rows_affected() == 1;
        if let Some((next, moved)) = &next {
            fits &= locked.takes(target.name(), moved)?;
            let done = sqlx::query(MOVE_NEXT)
                .bind(moved.sealed.as_slice())
                .bind(&id)
                .bind(next.wrapped.sealed.as_slice())
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
            fits &= done.rows_affected() == 1;
        }
        if !fits {
            transaction.rollback().await.map_err(error)?;
            return Ok(None);
        }
        transaction.commit().await.map_err(error)?;
        Ok(Some(Rewrapped {
            provider: target.name().to_owned(),
            root_version: key_version(&moved.sealed)?,
            moved: true,
        }))
    }

    /// A key wrapped by the target, opened there once more; as it is where it need not be.
    async fn moved(
        &self,
        target: &RootKeys,
        id: &str,
        held: &Held,
        under: Option<Under>,
    ) -> Result<Wrapped, TenantError> {
        let Some(under) = under else {
            return Ok(held.wrapped.clone());
        };
        let key = self.roots.unwrap(id, held).await?;
        let moved = target.rewrap(&key, under).await?;
        same_key(&key, &target.open_key(id, held.version, &moved).await?)?;
        Ok(moved)
    }

    async fn try_rewrap_deployment(&self) -> Result<Option<Rewrapped>, TenantError> {
        let error = |cause| self.database.error(cause);
        let row = sqlx::query(READ_KEY)
            .fetch_one(self.database.pool())
            .await
            .map_err(error)?;
        let missing = || TenantError::Corrupt { what: "deployment" };
        let root = version(&self.database, &row, "root_version")?.ok_or_else(missing)?;
        let old = held(
            &self.database,
            &row,
            ["version", "key_wrapped", "key_check"],
        )?;
        let old = old.ok_or_else(missing)?;
        let check: Vec<u8> = row.try_get("root_check").map_err(error)?;
        // Whose root keys are destroyed at its end is written in this row.
        if version(&self.database, &row, "root_from")?.is_some() {
            return Err(TenantError::RootRotates);
        }
        let target = self.ready_provider("").await?;
        // Where it stays, the root key in force stays: `keys rotate root` goes on to the next.
        let version = if old.by == target.name() {
            root
        } else {
            target.newest().await?
        };
        let is_there = old.by == target.name() && key_version(&old.wrapped.sealed)? == version;
        if is_there {
            let check = RootCheck::from_slice(&check);
            target.verify(root, &check).await?;
            return Ok(Some(Rewrapped {
                provider: old.by,
                root_version: version,
                moved: false,
            }));
        }
        let (version, check) = target.check_value().await?;
        target.verify(version, &check).await?;
        let there = (!is_there).then_some(Under::Version(version));
        let moved = self.moved(target, DEPLOYMENT, &old, there).await?;
        // A root key that was added between the two calls: the check must be of the one that wraps.
        if key_version(&moved.sealed)? != version {
            return Ok(None);
        }
        let done = sqlx::query(MOVE_KEY)
            .bind(moved.sealed.as_slice())
            .bind(target.name())
            .bind(i64::from(version))
            .bind(check.as_bytes())
            .bind(old.wrapped.sealed.as_slice())
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
