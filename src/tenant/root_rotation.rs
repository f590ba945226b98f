//! The rotation of the deployment's root key, at the provider that keeps it: each step may be done twice, by two processes at once, or be
//! gone on with after a crash.

use chrono::Utc;
use sqlx::{Any, Row as _, Transaction};

use super::TenantError;
use super::control::Control;
use super::deployment::{DEPLOYMENT, READ, ROWS, STANDING, Standing};
use super::providers::RootKeys;
use super::roots::{self, Held, NEXT, PRESENT, TRIES, held};
use crate::crypto::CryptoError;
use crate::crypto::hierarchy::Wrapped;
use crate::crypto::provider::Under;
use crate::crypto::sealing::{Purpose, key_version};

const BEGIN_ROOT: &str = "UPDATE deployment SET root_from = root_version, root_next = $1, covers = $2 \
     WHERE one = 1 AND root_from IS NULL AND root_version = $3 AND wrapped_by = $4";
const END_ROOT: &str = "UPDATE deployment SET root_version = root_next, root_check = $1, root_next = NULL, shredded = covers, \
     removed_at = CASE WHEN removed > covers THEN $2 ELSE NULL END WHERE one = 1 AND root_next = $3";
const RAISE_ROOT: &str = "UPDATE deployment SET root_next = $1 WHERE one = 1 AND root_next = $2";
const FORGET_ROOT: &str =
    "UPDATE deployment SET root_from = NULL WHERE one = 1 AND root_next IS NULL";
const REWRAP_OWN: &str =
    "UPDATE deployment SET key_wrapped = $1 WHERE one = 1 AND key_wrapped = $2";
const WRAPS: &str = "SELECT id, key_version, key_wrapped, key_check, next_version, next_wrapped, next_check, wrapped_by FROM tenant \
     WHERE id > $1 AND wrapped_by = $2 ORDER BY id LIMIT $3";
const REWRAP: &str =
    "UPDATE tenant SET key_wrapped = $1 WHERE id = $2 AND key_wrapped = $3 AND wrapped_by = $4";
const REWRAP_NEXT: &str =
    "UPDATE tenant SET next_wrapped = $1 WHERE id = $2 AND next_wrapped = $3 AND wrapped_by = $4";

impl Control {
    /// Makes a root key that follows the present one, and uses it for nothing yet: nodes whose keyring is a copy get it first.
    ///
    /// # Errors
    /// The root key is not ours to rotate, or wraps under two names; the provider or the database does not answer.
    pub async fn prepare_root(&self) -> Result<u32, TenantError> {
        let standing = self.standing().await?;
        let root = self.root_to_rotate(&standing)?;
        root.add_after(standing.root).await
    }

    /// The provider whose root key is rotated: the one that `keys.root` names and that wraps the deployment's keys. Nobody else wraps with it
    /// under another name, whose keys would be gone with the root key before.
    fn root_to_rotate(&self, standing: &Standing) -> Result<&RootKeys, TenantError> {
        let providers = self.roots.providers();
        let root = providers.named("")?;
        if standing.provider != root.name() {
            return Err(TenantError::NotMoved {
                found: standing.provider.clone(),
                root: root.name().to_owned(),
            });
        }
        self.is_alone(root)?;
        Ok(root)
    }

    fn is_alone(&self, root: &RootKeys) -> Result<(), TenantError> {
        let mut others = self.roots.providers().iter();
        let same = others.find(|other| {
            other.name() != root.name() && other.provider().is_same_as(root.provider())
        });
        match same {
            Some(other) => Err(TenantError::SameRoots {
                one: root.name().to_owned(),
                other: other.name().to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Begins to rotate the root key, or goes on where that was begun: the version before and the one that follows.
    ///
    /// # Errors
    /// As [`Control::prepare_root`].
    pub async fn begin_root(&self) -> Result<(u32, u32), TenantError> {
        for _ in 0..TRIES {
            let standing = self.standing().await?;
            if let Some(versions) = standing.root_rotation {
                return Ok(versions);
            }
            // Who was removed until here was never wrapped under the root key that follows.
            let row = sqlx::query(STANDING).fetch_one(self.database.pool()).await;
            let row = row.map_err(|cause| self.database.error(cause))?;
            let covers: i64 = row
                .try_get("removed")
                .map_err(|cause| self.database.error(cause))?;
            let root = self.root_to_rotate(&standing)?;
            let next = root.add_after(standing.root).await?;
            sqlx::query(BEGIN_ROOT)
                .bind(i64::from(next))
                .bind(covers)
                .bind(i64::from(standing.root))
                .bind(root.name())
                .execute(self.database.pool())
                .await
                .map_err(|cause| self.database.error(cause))?;
        }
        Err(TenantError::Corrupt { what: "deployment" })
    }

    /// Wraps every key that lies under a root key of this provider under the one that follows, and destroys those before it.
    ///
    /// Somebody else may do the same, end it and begin the next one at any time: after each step the row alone says how it stands.
    ///
    /// # Errors
    /// A key does not open, and then nothing is destroyed; the provider or the database does not answer.
    pub async fn rotate_root(&self) -> Result<(), TenantError> {
        let mut begun = None;
        loop {
            let standing = self.locked_standing().await?;
            let Some((from, next)) = standing.root_rotation else {
                return Ok(());
            };
            // The one that follows is gone on with, and recorded, by itself.
            if *begun.get_or_insert(from) != from {
                return Ok(());
            }
            let root = self.roots.providers().named(&standing.provider)?;
            self.is_alone(root)?;
            // INVARIANT: root keys are destroyed only before the one that the control database goes by.
            if standing.root >= next {
                return root.destroy_before(standing.root).await;
            }
            let newest = root.newest().await?;
            if newest < next {
                // Another machine, with a keyring of its own, has begun it.
                return Err(CryptoError::UnknownVersion {
                    purpose: Purpose::TenantWrap,
                    version: next,
                }
                .into());
            }
            if newest > next {
                // Somebody has added one where root keys are kept: what is wrapped from now on is under that.
                sqlx::query(RAISE_ROOT)
                    .bind(i64::from(newest))
                    .bind(i64::from(next))
                    .execute(self.database.pool())
                    .await
                    .map_err(|cause| self.database.error(cause))?;
                continue;
            }
            self.rewrap_own(root, next).await?;
            self.rewrap_all(root, next).await?;
        }
    }

    /// How the keys stand, with the deployment's row locked: behind everything that whoever ended a rotation has written.
    async fn locked_standing(&self) -> Result<Standing, TenantError> {
        let error = |cause| self.database.error(cause);
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        roots::lock(&self.database, &mut transaction).await?;
        let row = sqlx::query(STANDING).fetch_one(&mut *transaction).await;
        let standing = Standing::of(&self.database, &row.map_err(error)?)?;
        transaction.rollback().await.map_err(error)?;
        Ok(standing)
    }

    async fn rewrap_own(&self, root: &RootKeys, next: u32) -> Result<(), TenantError> {
        let database = &self.database;
        let row = sqlx::query(READ)
            .fetch_one(database.pool())
            .await
            .map_err(|cause| database.error(cause))?;
        let held = held(database, &row, ["version", "key_wrapped", "key_check"])?;
        let held = held.ok_or(TenantError::Corrupt { what: "deployment" })?;
        if let Some(wrapped) = self.rewrapped(root, DEPLOYMENT, &held, next).await? {
            sqlx::query(REWRAP_OWN)
                .bind(wrapped.sealed)
                .bind(held.wrapped.sealed.as_slice())
                .execute(database.pool())
                .await
                .map_err(|cause| database.error(cause))?;
        }
        Ok(())
    }

    /// A key under the root key that follows; nothing where it is under it already.
    async fn rewrapped(
        &self,
        root: &RootKeys,
        tenant: &str,
        held: &Held,
        next: u32,
    ) -> Result<Option<Wrapped>, TenantError> {
        if key_version(&held.wrapped.sealed)? >= next {
            return Ok(None);
        }
        let key = self.roots.unwrap(tenant, held).await?;
        let wrapped = root.rewrap(&key, Under::Version(next)).await?;
        // What does not open where it was wrapped is not written.
        let again = root.open_key(tenant, held.version, &wrapped).await?;
        again.verify(&key.check_value())?;
        Ok(Some(wrapped))
    }

    /// One walk over all tenants, and then, with the deployment's row locked so that nobody adds one, a look at whether any is left. If none
    /// is, and the rotation is still this one, the control database goes by the root key that follows.
    async fn rewrap_all(&self, root: &RootKeys, next: u32) -> Result<(), TenantError> {
        let error = |cause| self.database.error(cause);
        self.walk(root, next).await?;
        let (version, check) = root.check_value().await?;
        if version != next {
            return Ok(());
        }
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        roots::lock(&self.database, &mut transaction).await?;
        let left = self.left(&mut transaction, root.name(), next).await?;
        let own = sqlx::query(READ)
            .fetch_one(&mut *transaction)
            .await
            .map_err(error)?;
        let own: Vec<u8> = own.try_get("key_wrapped").map_err(error)?;
        if left || key_version(&own)? < next {
            transaction.rollback().await.map_err(error)?;
            return self.rewrap_own(root, next).await;
        }
        sqlx::query(END_ROOT)
            .bind(check.as_bytes())
            .bind(Utc::now().timestamp_micros())
            .bind(i64::from(next))
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        Ok(transaction.commit().await.map_err(error)?)
    }

    /// Wraps the keys of all tenants that lie under this provider's root keys under the one that follows.
    async fn walk(&self, root: &RootKeys, next: u32) -> Result<(), TenantError> {
        let error = |cause| self.database.error(cause);
        let mut after = String::new();
        loop {
            let rows = sqlx::query(WRAPS)
                .bind(after.clone())
                .bind(root.name())
                .bind(ROWS)
                .fetch_all(self.database.pool())
                .await
                .map_err(error)?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = last.try_get("id").map_err(error)?;
            for row in &rows {
                let id: String = row.try_get("id").map_err(error)?;
                for (columns, sql) in [(PRESENT, REWRAP), (NEXT, REWRAP_NEXT)] {
                    let Some(held) = held(&self.database, row, columns)? else {
                        continue;
                    };
                    if let Some(wrapped) = self.rewrapped(root, &id, &held, next).await? {
                        sqlx::query(sql)
                            .bind(wrapped.sealed)
                            .bind(&id)
                            .bind(held.wrapped.sealed.as_slice())
                            .bind(root.name())
                            .execute(self.database.pool())
                            .await
                            .map_err(error)?;
                    }
                }
            }
        }
    }

    /// Whether the key of any tenant lies under an older root key of this provider.
    async fn left(
        &self,
        transaction: &mut Transaction<'_, Any>,
        root: &str,
        next: u32,
    ) -> Result<bool, TenantError> {
        let error = |cause| self.database.error(cause);
        let mut after = String::new();
        loop {
            let rows = sqlx::query(WRAPS)
                .bind(after.clone())
                .bind(root)
                .bind(ROWS)
                .fetch_all(&mut **transaction)
                .await
                .map_err(error)?;
            let Some(last) = rows.last() else {
                return Ok(false);
            };
            after = last.try_get("id").map_err(error)?;
            for row in &rows {
                for columns in [PRESENT, NEXT] {
                    if let Some(held) = held(&self.database, row, columns)?
                        && key_version(&held.wrapped.sealed)? < next
                    {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// The rotation of the root key is recorded.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn end_root(&self) -> Result<(), TenantError> {
        self.run(FORGET_ROOT).await
    }
}
