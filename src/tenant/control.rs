//! The control database: which tenants there are, and their wrapped keys; nothing of theirs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::deployment::{self, Own, slug_binding};
use super::ledger::Noted;
use super::providers::{Providers, RootKeys};
use super::restoring::PUT_BACK;
use super::roots::{self, Held, NEXT, PRESENT, Roots, TRIES, held};
use super::store::{Kind, Store};
use super::{DEPLOYMENT as DEPLOYMENT_LOG, Slug, TenantError};
use crate::crypto::cobblestone::Salt;
use crate::crypto::keyring;
use crate::ids::{Incarnation, TenantId};
use crate::storage::{CONTROL, Database, Place, StorageError};

const PING: &str = "SELECT one FROM deployment WHERE one = 1";
const ADD_TENANT: &str = "INSERT INTO tenant (id, slug_index, slug, key_version, key_wrapped, key_check, ready, \
     created_at, kind, provider, wrapped_by) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, $10) \
     ON CONFLICT (slug_index) DO NOTHING";
const BY_SLUG: &str = "SELECT id, slug, key_version, key_wrapped, key_check, next_version, next_wrapped, next_check, ready, \
     created_at, kind, provider, wrapped_by FROM tenant \
     WHERE slug_index = $1 LIMIT 1";
const BY_ID: &str = "SELECT id, slug, key_version, key_wrapped, key_check, next_version, next_wrapped, next_check, ready, \
     created_at, kind, provider, wrapped_by FROM tenant \
     WHERE id = $1 LIMIT 1";
const PAGE: &str = "SELECT id, slug, key_version, key_wrapped, key_check, next_version, next_wrapped, next_check, ready, \
     created_at, kind, provider, wrapped_by FROM tenant \
     WHERE id > $1 AND ready = 1 AND kind = 0 ORDER BY id LIMIT $2";
const WRAPS: &str = "SELECT 1 AS found FROM deployment WHERE wrapped_by = $1 \
     UNION ALL SELECT 1 FROM tenant WHERE wrapped_by = $1 LIMIT 1";
const IN_USE: &str = "SELECT wrapped_by FROM deployment UNION SELECT wrapped_by FROM tenant ORDER BY wrapped_by LIMIT 1000";
const READY: &str = "UPDATE tenant SET ready = 1 WHERE id = $1";
const REMOVE: &str = "DELETE FROM tenant WHERE id = $1";
const NOT_RESTORING: &str = "DELETE FROM restoring WHERE tenant = $1";
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
    pub(super) place: Place,
    pub(super) database: Database,
    pub(super) roots: Arc<Roots>,
    /// Whose root keys wrapped the deployment's key when this was opened.
    pub(super) wrapped_by: String,
    /// The deployment's own keys, as they were read last.
    pub(super) own: ArcSwap<Own>,
}

pub(super) struct Row {
    pub(super) tenant: Tenant,
    /// Its key.
    pub(super) key: Held,
    /// The one that it is being rotated to.
    pub(super) next: Option<Held>,
    ready: bool,
    /// It is being put back from a backup.
    restoring: bool,
    kind: Kind,
    /// Whose root keys are to wrap it; empty for the deployment's.
    pub(super) provider: String,
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
    /// Opens the control database; makes it, a root key and the deployment's key at the first start.
    ///
    /// # Errors
    /// The database does not answer; the root key is missing, another one, or out of reach.
    pub async fn open(place: Place, providers: Providers) -> Result<Arc<Self>, TenantError> {
        let database = place.control().await?;
        database.migrate(CONTROL).await?;
        let roots = Arc::new(Roots::new(database.clone(), providers));
        if !deployment::is_there(&database).await? {
            // A key is never made over data that is there.
            if place.has_tenants()? {
                return Err(TenantError::Orphans {
                    place: place.name(),
                });
            }
            let root = roots.providers().named("")?;
            root.prepare(keyring::Store::Empty).await?;
            // Of two that start at once the first wins, and the other reads what it wrote.
            deployment::add(&database, root).await?;
        }
        let wrapped_by = deployment::wrapped_by(&database).await?;
        let root = roots.providers().root_name();
        if wrapped_by != root {
            tracing::warn!(
                root,
                wrapped_by,
                "the deployment's key is not wrapped where `keys.root` says: run `cedarkeep keys rewrap`"
            );
        }
        let own = Own::read(&database, &roots).await?;
        Ok(Arc::new(Self {
            place,
            database,
            roots,
            wrapped_by,
            own: ArcSwap::from_pointee(own),
        }))
    }

    /// Makes a tenant's row, database and keys; of one that was left half made it makes the rest.
    ///
    /// # Errors
    /// `Taken`, or the database does not answer.
    pub async fn create(&self, slug: &Slug, now: DateTime<Utc>) -> Result<Created, TenantError> {
        self.make((slug, Kind::Organization, ""), now).await
    }

    /// The same, with its key under root keys of its own; of `""` and of the name of the deployment's it is the same.
    ///
    /// # Errors
    /// The same, or there is no such provider.
    pub async fn create_with_keys(
        &self,
        slug: &Slug,
        keys: &str,
        now: DateTime<Utc>,
    ) -> Result<Created, TenantError> {
        let keys = self.own_provider(keys)?;
        self.make((slug, Kind::Organization, keys), now).await
    }

    /// The providers of root keys.
    pub fn providers(&self) -> &Providers {
        self.roots.providers()
    }

    /// Asks each provider that wraps anything for what it must be able to do, so that it is known which are down though
    /// nothing is opened; how many are, or are not known here.
    ///
    /// # Errors
    /// The control database does not answer.
    pub async fn look_at_root_keys(&self) -> Result<u32, TenantError> {
        let error = |cause| self.database.error(cause);
        let rows = sqlx::query(IN_USE)
            .fetch_all(self.database.pool())
            .await
            .map_err(error)?;
        let mut down: u32 = 0;
        for row in &rows {
            let name: String = row.try_get("wrapped_by").map_err(error)?;
            let told = match self.providers().named(&name) {
                Ok(root) => root.check_value().await.map(|_| ()),
                Err(error) => Err(error),
            };
            // What it says is noted where it is asked.
            down = down.saturating_add(u32::from(told.is_err()));
        }
        Ok(down)
    }

    /// What a tenant's row says of a provider: its name, or nothing for the deployment's.
    pub(super) fn own_provider<'a>(&self, name: &'a str) -> Result<&'a str, TenantError> {
        self.providers().named(name)?;
        Ok(if name == self.providers().root_name() {
            ""
        } else {
            name
        })
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
            .make((&Slug::deployment(), Kind::Deployment, ""), now)
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
        (slug, kind, keys): (&Slug, Kind, &str),
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
                self.add((slug, kind, keys), now).await?;
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
        if row.provider != keys {
            return Err(TenantError::OtherProvider {
                slug: slug.to_string(),
                provider: self.providers().named(&row.provider)?.name().into(),
            });
        }
        let id = row.tenant.id;
        let key = self.roots.tenant_keys(id).await?;
        let key = key.first().ok_or(TenantError::Corrupt { what: "tenant" })?;
        let database = self.place.create_tenant(id).await?;
        Store::create(&database, id, key).await?;
        let shelf = self.place.shelf(id, &database);
        let roots = Arc::clone(&self.roots);
        Ok(Created {
            id,
            store: Store::open((database, shelf), roots, (id, kind), None).await?,
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

    /// Takes a tenant away whose closing is in the ledger: first its key, then its database. From then on it is due that the root key is
    /// rotated, so that no old backup of the control database opens it. Doing it again changes nothing.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn remove(&self, noted: Noted) -> Result<(), TenantError> {
        let id = noted.tenant();
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
        sqlx::query(NOT_RESTORING)
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        transaction.commit().await.map_err(error)?;
        // What somebody puts back just now too: they find that it is gone.
        let beside = self.place.drop_beside(id).await;
        self.place.remove_tenant(id).await?;
        Ok(beside?)
    }

    /// Whether what kept a tenant from opening shows that it is lost, and not only out of reach: its database is not there or is another's, or
    /// its key does not open where it is wrapped.
    ///
    /// # Errors
    /// It cannot be seen whether its database is there.
    pub async fn is_lost(&self, id: TenantId, error: &TenantError) -> Result<bool, TenantError> {
        match error {
            TenantError::Exchanged { .. } => Ok(true),
            TenantError::Storage(StorageError::Database { .. }) => {
                Ok(!self.place.has_tenant(id).await?)
            }
            error => Ok(error.is_of_lost_key()),
        }
    }

    /// A tenant's key was taken away by other means.
    pub(super) async fn removed(&self) -> Result<(), TenantError> {
        sqlx::query(REMOVED)
            .bind(Utc::now().timestamp_micros())
            .execute(self.database.pool())
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
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
        let row = self.by_id(id).await?;
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
        let database = self.place.tenant(id).await?;
        let shelf = self.place.shelf(id, &database);
        let roots = Arc::clone(&self.roots);
        let opened = Store::open((database, shelf), roots, (id, row.kind), next).await?;
        // A restore may have begun meanwhile, and what was opened may be what it puts back, which is nobody's to go on in yet.
        if !put_back && let Err(error) = self.row_to_open(id, put_back).await {
            opened.database().close().await;
            return Err(error);
        }
        Ok(opened)
    }

    /// The row of a tenant that may be opened.
    async fn row_to_open(&self, id: TenantId, put_back: bool) -> Result<Row, TenantError> {
        let row = self.by_id(id).await?;
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
        let asked = sqlx::query(PING).fetch_one(self.database.pool()).await;
        asked
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }

    /// The provider of that name, with a root key in it: the first is made where nothing is wrapped by it yet.
    pub(super) async fn ready_provider(&self, name: &str) -> Result<&Arc<RootKeys>, TenantError> {
        let root = self.providers().named(name)?;
        let wraps = sqlx::query(WRAPS)
            .bind(root.name())
            .fetch_optional(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        if wraps.is_none() {
            root.prepare(keyring::Store::Empty).await?;
        }
        Ok(root)
    }

    async fn add(
        &self,
        (slug, kind, keys): (&Slug, Kind, &str),
        now: DateTime<Utc>,
    ) -> Result<(), TenantError> {
        let id = TenantId::new(crate::crypto::random()?);
        for _ in 0..TRIES {
            if self.try_add(id, (slug, kind, keys), now).await? {
                return Ok(());
            }
            // The deployment's keys, or the root key, have been rotated since they were read.
            self.reload().await?;
        }
        Err(TenantError::Contended {
            name: slug.to_string(),
        })
    }

    /// Whether the row was written under the keys that are in force.
    async fn try_add(
        &self,
        id: TenantId,
        (slug, kind, keys): (&Slug, Kind, &str),
        now: DateTime<Utc>,
    ) -> Result<bool, TenantError> {
        let error = |cause| self.database.error(cause);
        let (text, own) = (id.to_string(), self.own.load_full());
        let root = self.ready_provider(keys).await?;
        let under = self.roots.under(root).await?;
        let (_, wrapped) = root.create_key(&text, 1, under).await?;
        let sealed = own.records.seal(
            &slug_binding(&text),
            Salt::random()?,
            slug.as_str().as_bytes(),
        )?;
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        let locked = roots::lock(&self.database, &mut transaction).await?;
        if locked.version != own.version || !locked.takes(root.name(), &wrapped)? {
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
            .bind(keys)
            .bind(root.name())
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

    /// The row of a tenant, as it is.
    pub(super) async fn by_id(&self, id: TenantId) -> Result<Option<Row>, TenantError> {
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

    pub(super) fn read(&self, row: &AnyRow) -> Result<Row, TenantError> {
        let error = |cause| self.database.error(cause);
        let corrupt = || TenantError::Corrupt { what: "tenant" };
        let text: String = row.try_get("id").map_err(error)?;
        let id: TenantId = text.parse().map_err(|_| corrupt())?;
        let sealed: Vec<u8> = row.try_get("slug").map_err(error)?;
        let own = self.own.load();
        let slug = String::from_utf8(own.records.open(&slug_binding(&text), &sealed)?)
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
            key: held(&self.database, row, PRESENT)?.ok_or_else(corrupt)?,
            next: held(&self.database, row, NEXT)?,
            ready: ready == 1,
            restoring: ready == PUT_BACK,
            kind,
            provider: row.try_get("provider").map_err(error)?,
        })
    }
}
