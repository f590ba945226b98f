//! The control database: which tenants there are, and their wrapped keys; nothing of theirs.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::ledger::Noted;
use super::restoring::PUT_BACK;
use super::store::{Kind, Store};
use super::{DEPLOYMENT as DEPLOYMENT_LOG, Slug, TenantError};
use crate::crypto::cobblestone::Salt;
use crate::crypto::hierarchy::{BlindIndex, CheckValue, TenantKey, Wrapped};
use crate::crypto::keyring::{self, Keyring};
use crate::crypto::provider::Provider;
use crate::crypto::sealing::{Binding, DataKey, DataKeys, IndexedField, Purpose};
use crate::ids::{Incarnation, TenantId};
use crate::storage::{CONTROL, Database, Place};

/// What the deployment's own key is bound to; no tenant has such an id.
const DEPLOYMENT: &str = "deployment";

const SLUG: Purpose = Purpose::BlindIndex(IndexedField::Slug);

const READ_DEPLOYMENT: &str = "SELECT root_version, root_check, key_wrapped, key_check, records_wrapped, \
     records_check, slug_wrapped, slug_check FROM deployment WHERE one = 1";
const ADD_DEPLOYMENT: &str = "INSERT INTO deployment (one, root_version, root_check, key_wrapped, key_check, \
     records_wrapped, records_check, slug_wrapped, slug_check) VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8) \
     ON CONFLICT (one) DO NOTHING";
const ADD_TENANT: &str = "INSERT INTO tenant (id, slug_index, slug, key_version, key_wrapped, key_check, ready, \
     created_at, kind) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8) ON CONFLICT (slug_index) DO NOTHING";
const BY_SLUG: &str = "SELECT id, slug, key_version, key_wrapped, key_check, ready, created_at, kind FROM tenant \
     WHERE slug_index = $1 LIMIT 1";
const BY_ID: &str = "SELECT id, slug, key_version, key_wrapped, key_check, ready, created_at, kind FROM tenant \
     WHERE id = $1 LIMIT 1";
const PAGE: &str = "SELECT id, slug, key_version, key_wrapped, key_check, ready, created_at, kind FROM tenant \
     WHERE id > $1 AND ready = 1 AND kind = 0 ORDER BY id LIMIT $2";
const READY: &str = "UPDATE tenant SET ready = 1 WHERE id = $1";
const REMOVE: &str = "DELETE FROM tenant WHERE id = $1";

/// A tenant as the control database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its short name.
    pub slug: Slug,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A tenant that was made, and is not ready until its first change is written.
#[derive(Debug)]
pub struct Created {
    /// Its id.
    pub id: TenantId,
    /// Its store, empty or half made.
    pub store: Store,
}

/// The control database, and the provider of root keys.
#[derive(Debug)]
pub struct Control {
    pub(super) place: Place,
    pub(super) database: Database,
    pub(super) provider: Provider,
    pub(super) records: DataKeys,
    slugs: BlindIndex,
}

struct Row {
    tenant: Tenant,
    key_version: u32,
    key: Wrapped,
    ready: bool,
    /// It is being put back from a backup.
    restoring: bool,
    kind: Kind,
}

impl Row {
    fn found(self) -> Result<Self, TenantError> {
        if self.restoring {
            let name = self.tenant.slug.to_string();
            return Err(TenantError::Restoring { name });
        }
        Ok(self)
    }
}

impl Control {
    /// Opens the control database; makes it, its keyring and the deployment's key at the first start.
    ///
    /// # Errors
    /// The database does not answer; the keyring is missing, foreign or readable by others.
    pub async fn open(place: Place, keyring: &Path) -> Result<Arc<Self>, TenantError> {
        let database = place.control().await?;
        database.migrate(CONTROL).await?;
        let error = |cause| database.error(cause);
        let row = sqlx::query(READ_DEPLOYMENT)
            .fetch_optional(database.pool())
            .await
            .map_err(error)?;
        // A key is never made over data that is there.
        let store = if row.is_some() {
            keyring::Store::HasData
        } else if place.has_tenants()? {
            return Err(TenantError::Orphans {
                place: place.name(),
            });
        } else {
            keyring::Store::Empty
        };
        let provider = Provider::Keyring(Keyring::open_or_create(keyring, store)?);
        let row = match row {
            Some(row) => row,
            None => {
                add_deployment(&database, &provider).await?;
                // Of two that start at once the first wins, and the other reads what it wrote.
                sqlx::query(READ_DEPLOYMENT)
                    .fetch_one(database.pool())
                    .await
                    .map_err(error)?
            }
        };
        let root: i64 = row.try_get("root_version").map_err(error)?;
        let root = u32::try_from(root).map_err(|_| TenantError::Corrupt { what: "deployment" })?;
        let check: Vec<u8> = row.try_get("root_check").map_err(error)?;
        provider.verify(root, &CheckValue::from_slice(&check)?)?;
        let wrapped = |sealed, check| wrapped(&database, &row, sealed, check);
        let key = TenantKey::open(
            &provider,
            DEPLOYMENT,
            1,
            &wrapped("key_wrapped", "key_check")?,
        )?;
        let records = key.open_data_key(
            Purpose::Records,
            1,
            &wrapped("records_wrapped", "records_check")?,
        )?;
        let slugs = key.open_data_key(SLUG, 1, &wrapped("slug_wrapped", "slug_check")?)?;
        let (records, slugs) = (DataKeys::new(records)?, BlindIndex::new(slugs)?);
        Ok(Arc::new(Self {
            place,
            database,
            provider,
            records,
            slugs,
        }))
    }

    /// Makes a tenant's row, database and keys; of one that was left half made it makes the rest.
    ///
    /// # Errors
    /// `Taken`, or the database does not answer.
    pub async fn create(&self, slug: &Slug, now: DateTime<Utc>) -> Result<Created, TenantError> {
        self.make((slug, Kind::Organization), now).await
    }

    /// The deployment's own log; nothing before it is made.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn deployment(&self) -> Result<Option<TenantId>, TenantError> {
        let row = self.by_slug(&Slug::deployment()).await?;
        let row = row.map(Row::found).transpose()?;
        let row = row.filter(|row| row.ready && row.kind == Kind::Deployment);
        Ok(row.map(|row| row.tenant.id))
    }

    /// The same; makes it where there is none, or the rest of it where it was left half made.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn make_deployment(&self, now: DateTime<Utc>) -> Result<TenantId, TenantError> {
        if let Some(id) = self.deployment().await? {
            return Ok(id);
        }
        let made = self
            .make((&Slug::deployment(), Kind::Deployment), now)
            .await;
        match made {
            Ok(Created { id, store }) => {
                store.database().close().await;
                self.mark_ready(id).await?;
                Ok(id)
            }
            // Another node was quicker.
            Err(error @ TenantError::Taken { .. }) => self.deployment().await?.ok_or(error),
            Err(error) => Err(error),
        }
    }

    async fn make(
        &self,
        (slug, kind): (&Slug, Kind),
        now: DateTime<Utc>,
    ) -> Result<Created, TenantError> {
        let row = match self.by_slug(slug).await? {
            Some(row) if row.ready || row.restoring => {
                return Err(TenantError::Taken {
                    slug: slug.to_string(),
                });
            }
            Some(row) => row,
            None => {
                self.add((slug, kind), now).await?;
                let row = self
                    .by_slug(slug)
                    .await?
                    .ok_or(TenantError::Corrupt { what: "tenant" })?;
                if row.ready || row.kind != kind {
                    return Err(TenantError::Taken {
                        slug: slug.to_string(),
                    });
                }
                row
            }
        };
        let id = row.tenant.id;
        let key = self.key(&row)?;
        let database = self.place.create_tenant(id).await?;
        Store::create(&database, id, &key).await?;
        Ok(Created {
            id,
            store: Store::open(database, (id, kind), key, None).await?,
        })
    }

    /// From now on it is there; doing it again changes nothing.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn mark_ready(&self, id: TenantId) -> Result<(), TenantError> {
        let done = sqlx::query(READY)
            .bind(id.to_string())
            .execute(self.database.pool())
            .await;
        done.map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }

    /// Takes a tenant away whose closing is in the ledger: first its key, then its database. Doing it again changes nothing.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn remove(&self, noted: Noted) -> Result<(), TenantError> {
        let id = noted.tenant();
        let error = |cause| self.database.error(cause);
        sqlx::query(REMOVE)
            .bind(id.to_string())
            .execute(self.database.pool())
            .await
            .map_err(error)?;
        Ok(self.place.remove_tenant(id).await?)
    }

    /// Those that there are, by id, after `after`.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn list(
        &self,
        after: Option<TenantId>,
        limit: i64,
    ) -> Result<Vec<Tenant>, TenantError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows = sqlx::query(PAGE)
            .bind(after)
            .bind(limit)
            .fetch_all(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        rows.iter()
            .map(|row| self.read(row).map(|row| row.tenant))
            .collect()
    }

    /// The tenant of that name.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn find(&self, slug: &Slug) -> Result<Option<TenantId>, TenantError> {
        Ok(self
            .by_slug(slug)
            .await?
            .map(Row::found)
            .transpose()?
            .filter(|row| row.ready && row.kind == Kind::Organization)
            .map(|row| row.tenant.id))
    }

    /// Whether there is a tenant of that id that may be open: one that was closed is gone, and one that is being put back may not.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn holds(&self, id: TenantId) -> Result<bool, TenantError> {
        let row = sqlx::query(BY_ID)
            .bind(id.to_string())
            .fetch_optional(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        let row = row.map(|row| self.read(&row)).transpose()?;
        Ok(row.is_some_and(|row| !row.restoring))
    }

    /// Opens a tenant's store.
    ///
    /// # Errors
    /// `NotFound`, `Exchanged`, or the database does not answer.
    pub async fn open_store(&self, id: TenantId) -> Result<Store, TenantError> {
        self.open_life(id, None, false).await
    }

    pub(super) async fn open_life(
        &self,
        id: TenantId,
        next: Option<Incarnation>,
        put_back: bool,
    ) -> Result<Store, TenantError> {
        let row = self.row_to_open(id, put_back).await?;
        let key = self.key(&row)?;
        let opened = Store::open(self.place.tenant(id).await?, (id, row.kind), key, next).await?;
        // A restore may have begun meanwhile, and what was opened may be what it puts back, which is nobody's to go on in yet.
        if !put_back && let Err(error) = self.row_to_open(id, put_back).await {
            opened.database().close().await;
            return Err(error);
        }
        Ok(opened)
    }

    /// The row of a tenant that may be opened.
    async fn row_to_open(&self, id: TenantId, put_back: bool) -> Result<Row, TenantError> {
        let row = sqlx::query(BY_ID)
            .bind(id.to_string())
            .fetch_optional(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        let row = row.map(|row| self.read(&row)).transpose()?;
        let row = match put_back {
            true => row.filter(|row| row.ready || row.restoring),
            false => row.map(Row::found).transpose()?.filter(|row| row.ready),
        };
        row.ok_or_else(|| TenantError::NotFound {
            name: id.to_string(),
        })
    }

    /// Whether the control database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), TenantError> {
        let asked = sqlx::query(READ_DEPLOYMENT)
            .fetch_one(self.database.pool())
            .await;
        asked
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }

    fn key(&self, row: &Row) -> Result<TenantKey, TenantError> {
        Ok(TenantKey::open(
            &self.provider,
            &row.tenant.id.to_string(),
            row.key_version,
            &row.key,
        )?)
    }

    async fn add(
        &self,
        (slug, kind): (&Slug, Kind),
        now: DateTime<Utc>,
    ) -> Result<(), TenantError> {
        let id = TenantId::new(crate::crypto::random()?);
        let text = id.to_string();
        let (_, wrapped) = TenantKey::create(&self.provider, &text, 1)?;
        let sealed = self.records.seal(
            &slug_binding(&text),
            Salt::random()?,
            slug.as_str().as_bytes(),
        )?;
        sqlx::query(ADD_TENANT)
            .bind(&text)
            .bind(self.slugs.of(slug.as_str()).as_slice())
            .bind(sealed)
            .bind(1_i64)
            .bind(wrapped.sealed.as_slice())
            .bind(wrapped.check.as_bytes().as_slice())
            .bind(now.timestamp_micros())
            .bind(i64::from(kind == Kind::Deployment))
            .execute(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        Ok(())
    }

    async fn by_slug(&self, slug: &Slug) -> Result<Option<Row>, TenantError> {
        let row = sqlx::query(BY_SLUG)
            .bind(self.slugs.of(slug.as_str()).as_slice())
            .fetch_optional(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        row.map(|row| self.read(&row)).transpose()
    }

    fn read(&self, row: &AnyRow) -> Result<Row, TenantError> {
        let error = |cause| self.database.error(cause);
        let corrupt = || TenantError::Corrupt { what: "tenant" };
        let text: String = row.try_get("id").map_err(error)?;
        let id: TenantId = text.parse().map_err(|_| corrupt())?;
        let sealed: Vec<u8> = row.try_get("slug").map_err(error)?;
        let slug = String::from_utf8(self.records.open(&slug_binding(&text), &sealed)?)
            .map_err(|_| corrupt())?;
        let version: i64 = row.try_get("key_version").map_err(error)?;
        let ready: i64 = row.try_get("ready").map_err(error)?;
        let created: i64 = row.try_get("created_at").map_err(error)?;
        let kind: i64 = row.try_get("kind").map_err(error)?;
        // The name is sealed, and bound to the row: no organization becomes the deployment by a number.
        let kind = match kind {
            0 if slug != DEPLOYMENT_LOG => Kind::Organization,
            1 if slug == DEPLOYMENT_LOG => Kind::Deployment,
            _ => return Err(corrupt()),
        };
        Ok(Row {
            tenant: Tenant {
                id,
                slug: match kind {
                    Kind::Organization => slug.parse()?,
                    Kind::Deployment => Slug::deployment(),
                },
                created_at: DateTime::from_timestamp_micros(created).ok_or_else(corrupt)?,
            },
            key_version: u32::try_from(version).map_err(|_| corrupt())?,
            key: wrapped(&self.database, row, "key_wrapped", "key_check")?,
            ready: ready == 1,
            restoring: ready == PUT_BACK,
            kind,
        })
    }
}

fn slug_binding(id: &str) -> Binding<'_> {
    Binding {
        tenant: DEPLOYMENT,
        incarnation: "",
        table: "tenant",
        column: "slug",
        row: id,
        row_version: 0,
    }
}

fn wrapped(
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

async fn add_deployment(database: &Database, provider: &Provider) -> Result<(), TenantError> {
    let (root, root_check) = provider.check_value();
    let (key, wrapped) = TenantKey::create(provider, DEPLOYMENT, 1)?;
    let (_, records): (DataKey, Wrapped) = key.create_data_key(Purpose::Records, 1)?;
    let (_, slugs) = key.create_data_key(SLUG, 1)?;
    let mut query = sqlx::query(ADD_DEPLOYMENT)
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
