//! The deployment's own keys, and the rotation of these and of the root key: each step may be done twice, by two processes at once, or
//! be gone on with after a crash.

use chrono::{DateTime, Utc};
use sqlx::{Any, Row as _, Transaction};

use super::TenantError;
use super::control::Control;
use super::roots::{self, Held, Roots, TRIES, held, version};
use crate::crypto::CryptoError;
use crate::crypto::cobblestone::Salt;
use crate::crypto::hierarchy::{BlindIndex, CheckValue, TenantKey, Wrapped};
use crate::crypto::sealing::{Binding, DataKeys, IndexedField, Purpose, key_version};
use crate::storage::Database;

/// What the deployment's own key is bound to; no tenant has such an id.
pub(super) const DEPLOYMENT: &str = "deployment";

const SLUG: Purpose = Purpose::BlindIndex(IndexedField::Slug);

/// How many tenants' rows are written at a time.
const ROWS: i64 = 100;

const READ: &str = "SELECT version, root_version, root_check, key_wrapped, key_check, records_wrapped, records_check, \
     slug_wrapped, slug_check FROM deployment WHERE one = 1";
const ADD: &str = "INSERT INTO deployment (one, root_version, root_check, key_wrapped, key_check, \
     records_wrapped, records_check, slug_wrapped, slug_check) VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8) \
     ON CONFLICT (one) DO NOTHING";
const STANDING: &str = "SELECT version, next_version, root_version, root_from, root_next, removed, shredded, removed_at \
     FROM deployment WHERE one = 1";
const LEASE: &str = "UPDATE deployment SET leased_until = $1 WHERE one = 1 AND leased_until < $2";
const RELEASE: &str = "UPDATE deployment SET leased_until = 0 WHERE one = 1";
const BEGIN_ROOT: &str = "UPDATE deployment SET root_from = root_version, root_next = $1, covers = $2 \
     WHERE one = 1 AND root_from IS NULL AND root_version = $3";
const END_ROOT: &str = "UPDATE deployment SET root_version = root_next, root_check = $1, root_next = NULL, shredded = covers, \
     removed_at = CASE WHEN removed > covers THEN $2 ELSE NULL END WHERE one = 1 AND root_next = $3";
const FORGET_ROOT: &str =
    "UPDATE deployment SET root_from = NULL WHERE one = 1 AND root_next IS NULL";
const REWRAP_OWN: &str =
    "UPDATE deployment SET key_wrapped = $1 WHERE one = 1 AND key_wrapped = $2";
const WRAPS: &str = "SELECT id, key_version, key_wrapped, key_check, next_version, next_wrapped, next_check FROM tenant \
     WHERE id > $1 ORDER BY id LIMIT $2";
const REWRAP: &str = "UPDATE tenant SET key_wrapped = $1 WHERE id = $2 AND key_wrapped = $3";
const REWRAP_NEXT: &str = "UPDATE tenant SET next_wrapped = $1 WHERE id = $2 AND next_wrapped = $3";
const BEGIN_OWN: &str =
    "UPDATE deployment SET next_version = version + 1 WHERE one = 1 AND next_version IS NULL";
const END_OWN: &str = "UPDATE deployment SET version = $1, key_wrapped = $2, key_check = $3, records_wrapped = $4, \
     records_check = $5, slug_wrapped = $6, slug_check = $7 WHERE one = 1";
const FORGET_OWN: &str =
    "UPDATE deployment SET next_version = NULL WHERE one = 1 AND next_version = version";
const SLUGS: &str = "SELECT id, slug FROM tenant WHERE id > $1 ORDER BY id LIMIT $2";
const RENAME: &str = "UPDATE tenant SET slug = $1, slug_index = $2 WHERE id = $3";

/// The deployment's own keys.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) version: u32,
    pub(super) records: DataKeys,
    pub(super) slugs: BlindIndex,
}

/// The place of a tenant's short name.
pub(super) const fn slug_binding(id: &str) -> Binding<'_> {
    Binding {
        tenant: DEPLOYMENT,
        incarnation: "",
        table: "tenant",
        column: "slug",
        row: id,
        row_version: 0,
    }
}

/// Whether there is a deployment.
pub(super) async fn is_there(database: &Database) -> Result<bool, TenantError> {
    let row = sqlx::query(READ)
        .fetch_optional(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    Ok(row.is_some())
}

/// Makes the deployment's keys, where there are none.
pub(super) async fn add(database: &Database, roots: &Roots) -> Result<(), TenantError> {
    let provider = roots.provider();
    let (root, root_check) = provider.check_value();
    let (key, wrapped) = TenantKey::create(&provider, DEPLOYMENT, 1)?;
    let (_, records) = key.create_data_key(Purpose::Records, 1)?;
    let (_, slugs) = key.create_data_key(SLUG, 1)?;
    let mut query = sqlx::query(ADD)
        .bind(i64::from(root))
        .bind(root_check.as_bytes().as_slice());
    for one in [&wrapped, &records, &slugs] {
        query = query
            .bind(one.sealed.as_slice())
            .bind(one.check.as_bytes().as_slice());
    }
    query
        .execute(database.pool())
        .await
        .map(|_| ())
        .map_err(|cause| database.error(cause).into())
}

impl Own {
    /// Reads and opens them; the root key must be the one that the control database was written with.
    pub(super) async fn read(database: &Database, roots: &Roots) -> Result<Self, TenantError> {
        let mut last = None;
        for _ in 0..TRIES {
            match Self::try_read(database, roots).await {
                Err(error) if error.is_of_unknown_key() => {
                    last = Some(error);
                    roots.reload()?;
                }
                read => return read,
            }
        }
        Err(last.unwrap_or(TenantError::Corrupt { what: "deployment" }))
    }

    async fn try_read(database: &Database, roots: &Roots) -> Result<Self, TenantError> {
        let error = |cause| database.error(cause);
        let missing = || TenantError::Corrupt { what: "deployment" };
        let row = sqlx::query(READ)
            .fetch_one(database.pool())
            .await
            .map_err(error)?;
        let root = version(database, &row, "root_version")?.ok_or_else(missing)?;
        let check: Vec<u8> = row.try_get("root_check").map_err(error)?;
        let check = CheckValue::from_slice(&check)?;
        roots.provider().verify(root, &check)?;
        let wrapped = |sealed, check| {
            let held = held(database, &row, ["version", sealed, check])?;
            held.ok_or_else(missing)
        };
        let key = wrapped("key_wrapped", "key_check")?;
        let version = key.version;
        let key = roots.unwrap(DEPLOYMENT, &key)?;
        let records = wrapped("records_wrapped", "records_check")?.wrapped;
        let slugs = wrapped("slug_wrapped", "slug_check")?.wrapped;
        Ok(Self {
            version,
            records: DataKeys::new(key.open_data_key(Purpose::Records, version, &records)?)?,
            slugs: BlindIndex::new(key.open_data_key(SLUG, version, &slugs)?)?,
        })
    }
}

/// The versions of root key and deployment's keys, and what is under way with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The root keys that the provider holds here, oldest first.
    pub roots: Vec<u32>,
    /// The root key that the control database goes by.
    pub root: u32,
    /// The root key that is being rotated away, and the one that follows.
    pub root_rotation: Option<(u32, u32)>,
    /// The version of the deployment's own keys.
    pub deployment: u32,
    /// The version that is being rotated away, and the one that follows.
    pub deployment_rotation: Option<(u32, u32)>,
    /// Since when an old backup of the control database would open an organization that was closed.
    pub shred_due_since: Option<DateTime<Utc>>,
}

impl Control {
    /// How the root key and the deployment's own keys stand.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn standing(&self) -> Result<Standing, TenantError> {
        let database = &self.database;
        let error = |cause| database.error(cause);
        let missing = || TenantError::Corrupt { what: "deployment" };
        let row = sqlx::query(STANDING)
            .fetch_one(database.pool())
            .await
            .map_err(error)?;
        let version = |column| version(database, &row, column);
        let root = version("root_version")?.ok_or_else(missing)?;
        let deployment = version("version")?.ok_or_else(missing)?;
        let next = version("root_next")?.unwrap_or(root);
        let removed: i64 = row.try_get("removed").map_err(error)?;
        let shredded: i64 = row.try_get("shredded").map_err(error)?;
        let since: Option<i64> = row.try_get("removed_at").map_err(error)?;
        let since = since.filter(|_| removed > shredded);
        Ok(Standing {
            roots: self.roots.versions(),
            root,
            root_rotation: version("root_from")?.map(|from| (from, next)),
            deployment,
            deployment_rotation: version("next_version")?.map(|next| (next - 1, next)),
            shred_due_since: since.and_then(DateTime::from_timestamp_micros),
        })
    }

    /// Takes the work on these keys for a while, where nobody else has it: it would not be wrong twice, and recorded twice.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn lease(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, TenantError> {
        let done = sqlx::query(LEASE)
            .bind(until.timestamp_micros())
            .bind(now.timestamp_micros())
            .execute(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives it back.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn release(&self) -> Result<(), TenantError> {
        self.run(RELEASE).await
    }

    /// Makes a root key that follows the present one, and uses it for nothing yet: nodes whose keyring is a copy get it first.
    ///
    /// # Errors
    /// The keyring or the database cannot be written.
    pub async fn prepare_root(&self) -> Result<u32, TenantError> {
        let standing = self.standing().await?;
        self.roots.add_after(standing.root)
    }

    /// Begins to rotate the root key, or goes on where that was begun: the version before and the one that follows.
    ///
    /// # Errors
    /// The keyring or the database cannot be written.
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
            let next = self.roots.add_after(standing.root)?;
            sqlx::query(BEGIN_ROOT)
                .bind(i64::from(next))
                .bind(covers)
                .bind(i64::from(standing.root))
                .execute(self.database.pool())
                .await
                .map_err(|cause| self.database.error(cause))?;
        }
        Err(TenantError::Corrupt { what: "deployment" })
    }

    /// Wraps every key that lies under a root key under the one that follows, and destroys those before it.
    ///
    /// # Errors
    /// A key does not open, and then nothing is destroyed; the keyring or the database cannot be written.
    pub async fn rotate_root(&self) -> Result<(), TenantError> {
        let standing = self.standing().await?;
        let Some((_, next)) = standing.root_rotation else {
            return Ok(());
        };
        if standing.root < next {
            self.roots.reload()?;
            if self.roots.provider().check_value().0 != next {
                // Another machine, with a keyring of its own, has begun it.
                return Err(CryptoError::UnknownVersion {
                    purpose: Purpose::TenantWrap,
                    version: next,
                }
                .into());
            }
            self.rewrap_own(next).await?;
            while !self.rewrap_all(next).await? {}
        }
        self.roots.destroy_before(next)
    }

    async fn rewrap_own(&self, next: u32) -> Result<(), TenantError> {
        let database = &self.database;
        let row = sqlx::query(READ)
            .fetch_one(database.pool())
            .await
            .map_err(|cause| database.error(cause))?;
        let held = held(database, &row, ["version", "key_wrapped", "key_check"])?;
        let held = held.ok_or(TenantError::Corrupt { what: "deployment" })?;
        if let Some(wrapped) = self.rewrapped(DEPLOYMENT, &held, next)? {
            sqlx::query(REWRAP_OWN)
                .bind(wrapped.sealed)
                .bind(held.wrapped.sealed.as_slice())
                .execute(database.pool())
                .await
                .map_err(|cause| database.error(cause))?;
        }
        Ok(())
    }

    /// A key under the newest root key; nothing where it is under it already.
    fn rewrapped(
        &self,
        tenant: &str,
        held: &Held,
        next: u32,
    ) -> Result<Option<Wrapped>, TenantError> {
        if key_version(&held.wrapped.sealed)? >= next {
            return Ok(None);
        }
        let key = self.roots.unwrap(tenant, held)?;
        Ok(Some(key.rewrap(&self.roots.provider())?))
    }

    /// One walk over all tenants, and then, with the deployment's row locked so that nobody adds one, a look at whether any is left; whether
    /// the control database goes by the root key that follows.
    async fn rewrap_all(&self, next: u32) -> Result<bool, TenantError> {
        let error = |cause| self.database.error(cause);
        self.walk(next, None).await?;
        let (_, check) = self.roots.provider().check_value();
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        roots::lock(&self.database, &mut transaction).await?;
        let left = self.walk(next, Some(&mut transaction)).await?;
        let own = sqlx::query(READ)
            .fetch_one(&mut *transaction)
            .await
            .map_err(error)?;
        let own: Vec<u8> = own.try_get("key_wrapped").map_err(error)?;
        if left > 0 || key_version(&own)? < next {
            transaction.rollback().await.map_err(error)?;
            self.rewrap_own(next).await?;
            return Ok(false);
        }
        sqlx::query(END_ROOT)
            .bind(check.as_bytes().as_slice())
            .bind(Utc::now().timestamp_micros())
            .bind(i64::from(next))
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        transaction.commit().await.map_err(error)?;
        Ok(true)
    }

    /// Wraps the keys of all tenants under the root key that follows; within a transaction it only counts those that are left.
    async fn walk(
        &self,
        next: u32,
        mut locked: Option<&mut Transaction<'_, Any>>,
    ) -> Result<usize, TenantError> {
        let error = |cause| self.database.error(cause);
        let (mut after, mut left) = (String::new(), 0);
        loop {
            let page = sqlx::query(WRAPS).bind(after.clone()).bind(ROWS);
            let rows = match &mut locked {
                Some(transaction) => page.fetch_all(&mut ***transaction).await,
                None => page.fetch_all(self.database.pool()).await,
            };
            let rows = rows.map_err(error)?;
            let Some(last) = rows.last() else {
                return Ok(left);
            };
            after = last.try_get("id").map_err(error)?;
            for row in &rows {
                let id: String = row.try_get("id").map_err(error)?;
                let columns = [
                    (["key_version", "key_wrapped", "key_check"], REWRAP),
                    (["next_version", "next_wrapped", "next_check"], REWRAP_NEXT),
                ];
                for (columns, sql) in columns {
                    let Some(held) = held(&self.database, row, columns)? else {
                        continue;
                    };
                    if locked.is_some() {
                        left += usize::from(key_version(&held.wrapped.sealed)? < next);
                    } else if let Some(wrapped) = self.rewrapped(&id, &held, next)? {
                        sqlx::query(sql)
                            .bind(wrapped.sealed)
                            .bind(&id)
                            .bind(held.wrapped.sealed.as_slice())
                            .execute(self.database.pool())
                            .await
                            .map_err(error)?;
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

    /// Begins to rotate the deployment's own keys, or goes on where that was begun: the version before and the one that follows.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn begin_deployment(&self) -> Result<(u32, u32), TenantError> {
        self.run(BEGIN_OWN).await?;
        let standing = self.standing().await?;
        standing
            .deployment_rotation
            .ok_or(TenantError::Corrupt { what: "deployment" })
    }

    /// Seals and indexes every tenant's name under new keys and has these in place of those that there are, in one transaction.
    ///
    /// # Errors
    /// A name does not open, or the database does not answer; then all is as it was.
    pub async fn rotate_deployment(&self) -> Result<(), TenantError> {
        for _ in 0..TRIES {
            if self.try_rotate_deployment().await? {
                self.reload().await?;
                return Ok(());
            }
            self.roots.reload()?;
            self.reload().await?;
        }
        Err(TenantError::Corrupt { what: "deployment" })
    }

    async fn try_rotate_deployment(&self) -> Result<bool, TenantError> {
        let error = |cause| self.database.error(cause);
        let Some((old, next)) = self.standing().await?.deployment_rotation else {
            return Ok(true);
        };
        let (key, wrapped) = TenantKey::create(&self.roots.provider(), DEPLOYMENT, next)?;
        let (records_key, records) = key.create_data_key(Purpose::Records, next)?;
        let (slugs_key, slugs) = key.create_data_key(SLUG, next)?;
        let (sealing, index) = (DataKeys::new(records_key)?, BlindIndex::new(slugs_key)?);
        let own = self.own.load_full();
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        match self.roots.locked(&mut transaction, &wrapped).await? {
            Some(locked) if locked.version == next => return Ok(true),
            Some(locked) if locked.version == old && own.version == old => {}
            _ => return Ok(false),
        }
        let mut after = String::new();
        loop {
            let rows = sqlx::query(SLUGS)
                .bind(after)
                .bind(ROWS)
                .fetch_all(&mut *transaction)
                .await
                .map_err(error)?;
            let Some(last) = rows.last() else { break };
            after = last.try_get("id").map_err(error)?;
            for row in &rows {
                let id: String = row.try_get("id").map_err(error)?;
                let stored: Vec<u8> = row.try_get("slug").map_err(error)?;
                let slug = own.records.open(&slug_binding(&id), &stored)?;
                let text = std::str::from_utf8(&slug)
                    .map_err(|_| TenantError::Corrupt { what: "tenant" })?;
                sqlx::query(RENAME)
                    .bind(sealing.seal(&slug_binding(&id), Salt::random()?, &slug)?)
                    .bind(index.of(text).as_slice())
                    .bind(&id)
                    .execute(&mut *transaction)
                    .await
                    .map_err(error)?;
            }
        }
        let mut query = sqlx::query(END_OWN).bind(i64::from(next));
        for one in [&wrapped, &records, &slugs] {
            query = query
                .bind(one.sealed.as_slice())
                .bind(one.check.as_bytes().as_slice());
        }
        query.execute(&mut *transaction).await.map_err(error)?;
        transaction.commit().await.map_err(error)?;
        Ok(true)
    }

    /// The rotation of the deployment's own keys is recorded.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn end_deployment(&self) -> Result<(), TenantError> {
        self.run(FORGET_OWN).await
    }

    /// Reads the deployment's keys again, where they are others than those in memory; their version.
    pub(super) async fn reload(&self) -> Result<u32, TenantError> {
        let row = sqlx::query(STANDING)
            .fetch_one(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        let missing = || TenantError::Corrupt { what: "deployment" };
        let stored = version(&self.database, &row, "version")?.ok_or_else(missing)?;
        if stored != self.own.load().version {
            let own = Own::read(&self.database, &self.roots).await?;
            self.own.store(std::sync::Arc::new(own));
        }
        Ok(self.own.load().version)
    }

    async fn run(&self, sql: &'static str) -> Result<(), TenantError> {
        sqlx::query(sql)
            .execute(self.database.pool())
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }
}
