//! The control database: which tenants there are, and their wrapped keys; nothing of theirs.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::deployment::{self, Own, slug_binding};
use super::roots::{self, Roots, TRIES};
use super::store::{Kind, Store};
use super::{DEPLOYMENT as DEPLOYMENT_LOG, Slug, TenantError};
use crate::crypto::cobblestone::Salt;
use crate::crypto::hierarchy::TenantKey;
use crate::crypto::keyring;
use crate::ids::{Incarnation, TenantId};
use crate::storage::{CONTROL, Database, Place};

const PING: &str = "SELECT one FROM deployment WHERE one = 1";
const ADD_TENANT: &str = "INSERT INTO tenant (id, slug_index, slug, key_version, key_wrapped, key_check, ready, \
     created_at, kind) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8) ON CONFLICT (slug_index) DO NOTHING";
const BY_SLUG: &str =
    "SELECT id, slug, ready, created_at, kind FROM tenant WHERE slug_index = $1 LIMIT 1";
const BY_ID: &str = "SELECT id, slug, ready, created_at, kind FROM tenant WHERE id = $1 LIMIT 1";
const PAGE: &str = "SELECT id, slug, ready, created_at, kind FROM tenant \
     WHERE id > $1 AND ready = 1 AND kind = 0 ORDER BY id LIMIT $2";
const READY: &str = "UPDATE tenant SET ready = 1 WHERE id = $1";
const REMOVE: &str = "DELETE FROM tenant WHERE id = $1";
const REMOVED: &str = "UPDATE deployment SET removed_at = CASE WHEN removed = shredded THEN $1 ELSE removed_at END, \
     removed = removed + 1 WHERE one = 1";

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
    place: Place,
    pub(super) database: Database,
    pub(super) roots: Arc<Roots>,
    /// The deployment's own keys, as they were read last.
    pub(super) own: ArcSwap<Own>,
}

struct Row {
    tenant: Tenant,
    ready: bool,
    kind: Kind,
}

impl Control {
    /// Opens the control database; makes it, its keyring and the deployment's key at the first start.
    ///
    /// # Errors
    /// The database does not answer; the keyring is missing, foreign or readable by others.
    pub async fn open(place: Place, keyring: &Path) -> Result<Arc<Self>, TenantError> {
        let database = place.control().await?;
        database.migrate(CONTROL).await?;
        let is_new = !deployment::is_there(&database).await?;
        // A key is never made over data that is there.
        let store = if !is_new {
            keyring::Store::HasData
        } else if place.has_tenants()? {
            return Err(TenantError::Orphans {
                place: place.name(),
            });
        } else {
            keyring::Store::Empty
        };
        let roots = Arc::new(Roots::open(database.clone(), keyring, store)?);
        if is_new {
            // Of two that start at once the first wins, and the other reads what it wrote.
            deployment::add(&database, &roots).await?;
        }
        let own = Own::read(&database, &roots).await?;
        Ok(Arc::new(Self {
            place,
            database,
            roots,
            own: ArcSwap::from_pointee(own),
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
            Some(row) if row.ready => {
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
        let key = self.roots.tenant_keys(id).await?;
        let key = key.first().ok_or(TenantError::Corrupt { what: "tenant" })?;
        let database = self.place.create_tenant(id).await?;
        Store::create(&database, id, key).await?;
        let roots = Arc::clone(&self.roots);
        Ok(Created {
            id,
            store: Store::open(database, roots, (id, kind), None).await?,
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

    /// Takes a tenant away: first its key, then its database. From then on it is due that the root key is rotated, so that no old backup
    /// of the control database opens it. Doing it again changes nothing.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn remove(&self, id: TenantId) -> Result<(), TenantError> {
        let error = |cause| self.database.error(cause);
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        // The deployment's row first, as everybody does who writes both.
        roots::lock(&self.database, &mut transaction).await?;
        let done = sqlx::query(REMOVE)
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        if done.rows_affected() > 0 {
            sqlx::query(REMOVED)
                .bind(Utc::now().timestamp_micros())
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
        }
        transaction.commit().await.map_err(error)?;
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
        for _ in 1..TRIES {
            match self.page(after, limit).await {
                // The deployment's keys have been rotated since they were read.
                Err(error) if error.is_of_unknown_key() => drop(self.reload().await?),
                page => return page,
            }
        }
        self.page(after, limit).await
    }

    /// The tenant of that name.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn find(&self, slug: &Slug) -> Result<Option<TenantId>, TenantError> {
        Ok(self
            .by_slug(slug)
            .await?
            .filter(|row| row.ready && row.kind == Kind::Organization)
            .map(|row| row.tenant.id))
    }

    /// Whether there is a tenant of that id: one that was closed is gone.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn holds(&self, id: TenantId) -> Result<bool, TenantError> {
        let row = sqlx::query(BY_ID)
            .bind(id.to_string())
            .fetch_optional(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        Ok(row.is_some())
    }

    /// Opens a tenant's store.
    ///
    /// # Errors
    /// `NotFound`, `Exchanged`, or the database does not answer.
    pub async fn open_store(&self, id: TenantId) -> Result<Store, TenantError> {
        self.open_life(id, None).await
    }

    /// The same, to begin another life of its log: its database was put back from a backup.
    ///
    /// # Errors
    /// The same, or the system has no randomness.
    pub async fn open_restored(&self, id: TenantId) -> Result<Store, TenantError> {
        let next = Incarnation::new(crate::crypto::random()?);
        self.open_life(id, Some(next)).await
    }

    async fn open_life(
        &self,
        id: TenantId,
        next: Option<Incarnation>,
    ) -> Result<Store, TenantError> {
        let row = self.by_id(id).await?;
        let row = row
            .filter(|row| row.ready)
            .ok_or_else(|| TenantError::NotFound {
                name: id.to_string(),
            })?;
        let (database, roots) = (self.place.tenant(id).await?, Arc::clone(&self.roots));
        Store::open(database, roots, (id, row.kind), next).await
    }

    /// Whether the control database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), TenantError> {
        let asked = sqlx::query(PING).fetch_one(self.database.pool()).await;
        asked
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }

    async fn add(
        &self,
        (slug, kind): (&Slug, Kind),
        now: DateTime<Utc>,
    ) -> Result<(), TenantError> {
        let id = TenantId::new(crate::crypto::random()?);
        for _ in 0..TRIES {
            if self.try_add(id, (slug, kind), now).await? {
                return Ok(());
            }
            // The deployment's keys, or the root key, have been rotated since they were read.
            self.roots.reload()?;
            self.reload().await?;
        }
        Err(TenantError::Corrupt { what: "deployment" })
    }

    /// Whether the row was written under the keys that are in force.
    async fn try_add(
        &self,
        id: TenantId,
        (slug, kind): (&Slug, Kind),
        now: DateTime<Utc>,
    ) -> Result<bool, TenantError> {
        let error = |cause| self.database.error(cause);
        let (text, own) = (id.to_string(), self.own.load_full());
        let (_, wrapped) = TenantKey::create(&self.roots.provider(), &text, 1)?;
        let sealed = own.records.seal(
            &slug_binding(&text),
            Salt::random()?,
            slug.as_str().as_bytes(),
        )?;
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        let locked = self.roots.locked(&mut transaction, &wrapped).await?;
        if locked.is_none_or(|locked| locked.version != own.version) {
            transaction.rollback().await.map_err(error)?;
            return Ok(false);
        }
        sqlx::query(ADD_TENANT)
            .bind(&text)
            .bind(own.slugs.of(slug.as_str()).as_slice())
            .bind(sealed)
            .bind(1_i64)
            .bind(wrapped.sealed.as_slice())
            .bind(wrapped.check.as_bytes().as_slice())
            .bind(now.timestamp_micros())
            .bind(i64::from(kind == Kind::Deployment))
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        transaction.commit().await.map_err(error)?;
        Ok(true)
    }

    async fn by_slug(&self, slug: &Slug) -> Result<Option<Row>, TenantError> {
        for _ in 0..TRIES {
            let own = self.own.load_full();
            let row = sqlx::query(BY_SLUG)
                .bind(own.slugs.of(slug.as_str()).as_slice())
                .fetch_optional(self.database.pool())
                .await
                .map_err(|cause| self.database.error(cause))?;
            match row.map(|row| self.read(&row)).transpose() {
                Err(error) if error.is_of_unknown_key() => drop(self.reload().await?),
                // Where nothing is found the index may have another key now.
                Ok(None) if self.reload().await? != own.version => {}
                found => return found,
            }
        }
        Err(TenantError::Corrupt { what: "deployment" })
    }

    async fn by_id(&self, id: TenantId) -> Result<Option<Row>, TenantError> {
        for _ in 0..TRIES {
            let row = sqlx::query(BY_ID)
                .bind(id.to_string())
                .fetch_optional(self.database.pool())
                .await
                .map_err(|cause| self.database.error(cause))?;
            match row.map(|row| self.read(&row)).transpose() {
                Err(error) if error.is_of_unknown_key() => drop(self.reload().await?),
                found => return found,
            }
        }
        Err(TenantError::Corrupt { what: "deployment" })
    }

    async fn page(&self, after: Option<TenantId>, limit: i64) -> Result<Vec<Tenant>, TenantError> {
        let rows = sqlx::query(PAGE)
            .bind(after.map(|id| id.to_string()).unwrap_or_default())
            .bind(limit)
            .fetch_all(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        let tenants = rows.iter().map(|row| self.read(row).map(|row| row.tenant));
        tenants.collect()
    }

    fn read(&self, row: &AnyRow) -> Result<Row, TenantError> {
        let error = |cause| self.database.error(cause);
        let corrupt = || TenantError::Corrupt { what: "tenant" };
        let text: String = row.try_get("id").map_err(error)?;
        let id: TenantId = text.parse().map_err(|_| corrupt())?;
        let sealed: Vec<u8> = row.try_get("slug").map_err(error)?;
        let slug = String::from_utf8(
            self.own
                .load()
                .records
                .open(&slug_binding(&text), &sealed)?,
        )
        .map_err(|_| corrupt())?;
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
            ready: ready == 1,
            kind,
        })
    }
}
