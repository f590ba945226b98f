//! The deployment's own keys, and their rotation: each step may be done twice, by two processes at once, or be gone on with after a crash.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::TenantError;
use super::control::Control;
use super::providers::RootKeys;
use super::roots::{self, Roots, TRIES, held, version, wrapped};
use crate::crypto::cobblestone::Salt;
use crate::crypto::hierarchy::BlindIndex;
use crate::crypto::provider::{RootCheck, Under};
use crate::crypto::sealing::{Binding, DataKeys, IndexedField, Purpose};
use crate::storage::Database;

/// What the deployment's own key is bound to; no tenant has such an id.
pub(super) const DEPLOYMENT: &str = "deployment";

const SLUG: Purpose = Purpose::BlindIndex(IndexedField::Slug);

/// How many tenants' rows are written at a time.
pub(super) const ROWS: i64 = 100;

/// The version of the ledger's key: it is never another.
const LEDGER: u32 = 1;

pub(super) const READ: &str = "SELECT version, root_version, root_check, key_wrapped, key_check, records_wrapped, records_check, \
     slug_wrapped, slug_check, ledger_wrapped, ledger_check, wrapped_by FROM deployment WHERE one = 1";
const ADD: &str = "INSERT INTO deployment (one, root_version, root_check, key_wrapped, key_check, \
     records_wrapped, records_check, slug_wrapped, slug_check, ledger_wrapped, ledger_check, wrapped_by) \
     VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (one) DO NOTHING";
const ADD_LEDGER: &str = "UPDATE deployment SET ledger_wrapped = $1, ledger_check = $2 \
     WHERE one = 1 AND ledger_wrapped IS NULL AND version = $3";
pub(super) const STANDING: &str = "SELECT version, next_version, root_version, root_from, root_next, removed, shredded, removed_at, wrapped_by \
     FROM deployment WHERE one = 1";
const LEASE: &str = "UPDATE deployment SET leased_until = $1 WHERE one = 1 AND leased_until < $2";
const RENEW: &str = "UPDATE deployment SET leased_until = $1 WHERE one = 1 AND leased_until = $2";
const BEGIN_OWN: &str =
    "UPDATE deployment SET next_version = version + 1 WHERE one = 1 AND next_version IS NULL";
const END_OWN: &str = "UPDATE deployment SET version = $1, key_wrapped = $2, key_check = $3, records_wrapped = $4, \
     records_check = $5, slug_wrapped = $6, slug_check = $7, ledger_wrapped = $8, ledger_check = $9 WHERE one = 1";
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
    /// Seals the lines of the ledger of erasures.
    pub(super) ledger: DataKeys,
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
pub(super) async fn add(database: &Database, root: &RootKeys) -> Result<(), TenantError> {
    let (version, root_check) = root.check_value().await?;
    let under = Under::Version(version);
    let (key, wrapped) = root.create_key(DEPLOYMENT, 1, under).await?;
    let (_, records) = key.create_data_key(Purpose::Records, 1)?;
    let (_, slugs) = key.create_data_key(SLUG, 1)?;
    let (_, ledger) = key.create_data_key(Purpose::Ledger, LEDGER)?;
    let mut query = sqlx::query(ADD)
        .bind(i64::from(version))
        .bind(root_check.as_bytes());
    for one in [&wrapped, &records, &slugs, &ledger] {
        query = query
            .bind(one.sealed.as_slice())
            .bind(one.check.as_bytes().as_slice());
    }
    query
        .bind(root.name())
        .execute(database.pool())
        .await
        .map(|_| ())
        .map_err(|cause| database.error(cause).into())
}

/// Whose root keys wrap the deployment's.
pub(super) async fn wrapped_by(database: &Database) -> Result<String, TenantError> {
    let error = |cause| database.error(cause);
    let row = sqlx::query(STANDING)
        .fetch_one(database.pool())
        .await
        .map_err(error)?;
    Ok(row.try_get("wrapped_by").map_err(error)?)
}

impl Own {
    /// Reads and opens them; the root key must be the one that the control database was written with.
    pub(super) async fn read(database: &Database, roots: &Roots) -> Result<Self, TenantError> {
        let mut last = None;
        for _ in 0..TRIES {
            match Self::try_read(database, roots).await {
                Ok(Some(own)) => return Ok(own),
                Ok(None) => {}
                Err(error) if error.is_of_unknown_key() => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(TenantError::Corrupt { what: "deployment" }))
    }

    /// Nothing where the ledger had no key, which was made.
    async fn try_read(database: &Database, roots: &Roots) -> Result<Option<Self>, TenantError> {
        let error = |cause| database.error(cause);
        let missing = || TenantError::Corrupt { what: "deployment" };
        let row = sqlx::query(READ)
            .fetch_one(database.pool())
            .await
            .map_err(error)?;
        let root = version(database, &row, "root_version")?.ok_or_else(missing)?;
        let check: Vec<u8> = row.try_get("root_check").map_err(error)?;
        let held = held(database, &row, ["version", "key_wrapped", "key_check"])?;
        let held = held.ok_or_else(missing)?;
        let provider = roots.providers().named(&held.by)?;
        provider
            .verify(root, &RootCheck::from_slice(&check))
            .await?;
        let key = roots.unwrap(DEPLOYMENT, &held).await?;
        let version = held.version;
        let stored: Option<Vec<u8>> = row.try_get("ledger_wrapped").map_err(error)?;
        if stored.is_none() {
            let (_, ledger) = key.create_data_key(Purpose::Ledger, LEDGER)?;
            // Of two nodes that come at once the first wins.
            sqlx::query(ADD_LEDGER)
                .bind(ledger.sealed.as_slice())
                .bind(ledger.check.as_bytes().as_slice())
                .bind(i64::from(version))
                .execute(database.pool())
                .await
                .map_err(error)?;
            return Ok(None);
        }
        let open = |purpose, version, sealed, check| {
            let wrapped = wrapped(database, &row, sealed, check)?;
            Ok::<_, TenantError>(key.open_data_key(purpose, version, &wrapped)?)
        };
        let records = open(
            Purpose::Records,
            version,
            "records_wrapped",
            "records_check",
        )?;
        let slugs = open(SLUG, version, "slug_wrapped", "slug_check")?;
        let ledger = open(Purpose::Ledger, LEDGER, "ledger_wrapped", "ledger_check")?;
        Ok(Some(Self {
            version,
            records: DataKeys::new(records)?,
            slugs: BlindIndex::new(slugs)?,
            ledger: DataKeys::new(ledger)?,
        }))
    }
}

/// The versions of root key and deployment's keys, and what is under way with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose root keys wrap the deployment's.
    pub provider: String,
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

impl Standing {
    /// What the deployment's row says.
    pub(super) fn of(database: &Database, row: &AnyRow) -> Result<Self, TenantError> {
        let error = |cause| database.error(cause);
        let missing = || TenantError::Corrupt { what: "deployment" };
        let version = |column| version(database, row, column);
        let root = version("root_version")?.ok_or_else(missing)?;
        let deployment = version("version")?.ok_or_else(missing)?;
        let next = version("root_next")?.unwrap_or(root);
        let removed: i64 = row.try_get("removed").map_err(error)?;
        let shredded: i64 = row.try_get("shredded").map_err(error)?;
        let since: Option<i64> = row.try_get("removed_at").map_err(error)?;
        let since = since.filter(|_| removed > shredded);
        Ok(Self {
            provider: row.try_get("wrapped_by").map_err(error)?,
            root,
            root_rotation: version("root_from")?.map(|from| (from, next)),
            deployment,
            deployment_rotation: version("next_version")?.map(|next| (next - 1, next)),
            shred_due_since: since.and_then(DateTime::from_timestamp_micros),
        })
    }
}

impl Control {
    /// How the root key and the deployment's own keys stand.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn standing(&self) -> Result<Standing, TenantError> {
        let row = sqlx::query(STANDING).fetch_one(self.database.pool()).await;
        let row = row.map_err(|cause| self.database.error(cause))?;
        Standing::of(&self.database, &row)
    }

    /// The versions of the deployment's root key that its provider holds, oldest first.
    ///
    /// # Errors
    /// The provider or the database does not answer.
    pub async fn root_versions(&self) -> Result<Vec<u32>, TenantError> {
        let root = self.standing().await?.provider;
        self.roots.providers().named(&root)?.versions().await
    }

    /// Whether the deployment's root key is ours to rotate; AWS KMS rotates its keys by itself.
    ///
    /// # Errors
    /// The provider is not configured here.
    pub fn rotates_root(&self) -> Result<bool, TenantError> {
        Ok(self.roots.providers().named("")?.provider().rotates())
    }

    /// Takes the work on these keys for a while, where nobody else has it: it would not be wrong twice, and recorded twice. Until when tells
    /// whose it is: nobody takes it before another's is over.
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

    /// Has the work that was taken until `held` for longer; false where somebody else has it by now.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn renew(
        &self,
        held: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, TenantError> {
        let done = sqlx::query(RENEW)
            .bind(until.timestamp_micros())
            .bind(held.timestamp_micros())
            .execute(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives the work back that was taken until `held`; what somebody else has by now stays theirs.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn release(&self, held: DateTime<Utc>) -> Result<(), TenantError> {
        self.renew(held, DateTime::UNIX_EPOCH).await.map(|_| ())
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
            self.reload().await?;
        }
        Err(TenantError::Corrupt { what: "deployment" })
    }

    async fn try_rotate_deployment(&self) -> Result<bool, TenantError> {
        let error = |cause| self.database.error(cause);
        let Some((old, next)) = self.standing().await?.deployment_rotation else {
            return Ok(true);
        };
        let by = self.standing().await?.provider;
        let root = self.roots.providers().named(&by)?;
        let under = self.roots.under(root).await?;
        let (key, wrapped) = root.create_key(DEPLOYMENT, next, under).await?;
        let (records_key, records) = key.create_data_key(Purpose::Records, next)?;
        let (slugs_key, slugs) = key.create_data_key(SLUG, next)?;
        let own = self.own.load_full();
        // Its lines lie in files as well: the key is wrapped anew, and stays what it is.
        let ledger = key.wrap_data_key(own.ledger.newest())?;
        let (sealing, index) = (DataKeys::new(records_key)?, BlindIndex::new(slugs_key)?);
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        let locked = roots::lock(&self.database, &mut transaction).await?;
        if locked.version == next {
            return Ok(true);
        }
        let is_same = locked.version == old && own.version == old;
        if !is_same || !locked.wraps(&by, &wrapped)? {
            return Ok(false);
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
        for one in [&wrapped, &records, &slugs, &ledger] {
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

    pub(super) async fn run(&self, sql: &'static str) -> Result<(), TenantError> {
        sqlx::query(sql)
            .execute(self.database.pool())
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }
}
