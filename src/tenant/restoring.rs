//! What the control database knows of backups: a tenant's row as a whole, and which tenants are being put back, so that none of them opens.

use std::sync::Arc;

use super::TenantError;
use super::control::Control;
use super::deployment::slug_binding;
use super::roots::{Held, Locked, NEXT, PRESENT, TRIES};
use super::store::{Kind, Store};
use crate::crypto::cobblestone::Salt;
use crate::crypto::hierarchy::{CheckValue, Wrapped};
use crate::crypto::provider::Provider;
use crate::ids::{Incarnation, TenantId};
use crate::storage::copy::{Cell, CellKind, Column, Table};
use crate::storage::{Database, Dialect, Place};

const NAME: &str = "tenant";
const RESTORING: &str = "restoring";
const UNLOAD: &str = "UPDATE restoring SET loaded = 0 WHERE tenant = $1";
const CLOSED: &str = "SELECT tenant FROM erased WHERE tenant = $1 AND subject = '' LIMIT 1";

/// What `ready` says of a tenant that is being put back.
pub(super) const PUT_BACK: i64 = 2;

/// A tenant's row of the control database, whatever it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The table.
    pub table: Table,
    /// The row.
    pub row: Vec<Cell>,
}

impl Stored {
    fn cell(&self, name: &str) -> Result<&Cell, TenantError> {
        let at = self.table.place(name);
        at.and_then(|at| self.row.get(at))
            .ok_or(TenantError::Corrupt { what: NAME })
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, TenantError> {
        match self.cell(name)? {
            Cell::Bytes(bytes) => Ok(bytes.clone()),
            _ => Err(TenantError::Corrupt { what: NAME }),
        }
    }

    /// A key of the row: nothing where it has none.
    fn held(&self, [version, sealed, check]: [&str; 3]) -> Result<Option<Held>, TenantError> {
        let corrupt = || TenantError::Corrupt { what: NAME };
        let version = match self.cell(version)? {
            Cell::Null => return Ok(None),
            Cell::Number(version) => u32::try_from(*version).map_err(|_| corrupt())?,
            _ => return Err(corrupt()),
        };
        let Cell::Text(by) = self.cell("wrapped_by")? else {
            return Err(corrupt());
        };
        Ok(Some(Held {
            version,
            wrapped: Wrapped {
                sealed: self.bytes(sealed)?,
                check: CheckValue::from_slice(&self.bytes(check)?)?,
            },
            by: by.clone(),
        }))
    }

    /// Whether it is of a tenant that is being put back.
    #[must_use]
    pub fn is_put_back(&self) -> bool {
        matches!(self.cell("ready"), Ok(Cell::Number(PUT_BACK)))
    }

    /// Has the sealed name that another row of the same tenant has.
    ///
    /// # Errors
    /// It is no such row.
    pub fn named_as(&mut self, other: &Self) -> Result<(), TenantError> {
        for column in ["slug", "slug_index"] {
            self.set(column, other.bytes(column)?)?;
        }
        Ok(())
    }

    /// Puts another value in a column.
    fn set(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), TenantError> {
        let at = self.table.place(name);
        let cell = at.and_then(|at| self.row.get_mut(at));
        *cell.ok_or(TenantError::Corrupt { what: NAME })? = Cell::Bytes(bytes);
        Ok(())
    }

    /// The same, of a tenant that is being put back.
    ///
    /// # Errors
    /// It is no such row.
    pub fn put_back(&self) -> Result<Self, TenantError> {
        let mut stored = self.clone();
        let at = stored.table.place("ready");
        let cell = at.and_then(|at| stored.row.get_mut(at));
        *cell.ok_or(TenantError::Corrupt { what: NAME })? = Cell::Number(PUT_BACK);
        Ok(stored)
    }
}

/// A tenant that is being put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restoring {
    /// Who.
    pub tenant: TenantId,
    /// From which backup.
    pub backup: String,
    /// Whether its rows and files lie whole beside its database, or in its place already.
    pub loaded: bool,
}

/// The rows that say in a control database that these tenants are being put back: the table, and a row for each.
#[must_use]
pub fn restoring(
    ids: impl IntoIterator<Item = TenantId>,
    backup: &str,
    loaded: bool,
) -> (Table, Vec<Vec<Cell>>) {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
    };
    let columns = vec![
        column("tenant", CellKind::Text),
        column("backup", CellKind::Text),
        column("loaded", CellKind::Number),
    ];
    let row = |id: TenantId| {
        vec![
            Cell::Text(id.to_string()),
            Cell::Text(backup.to_owned()),
            Cell::Number(i64::from(loaded)),
        ]
    };
    (
        Table::told(RESTORING.into(), columns),
        ids.into_iter().map(row).collect(),
    )
}

/// The tables of the control database that no backup puts back.
pub const NOT_PUT_BACK: &[&str] = &[RESTORING];

impl Control {
    /// Where the databases lie.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Its own database.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Where the deployment's root key is.
    ///
    /// # Errors
    /// It is not configured here.
    pub fn provider(&self) -> Result<&Provider, TenantError> {
        Ok(self.providers().named("")?.provider())
    }

    /// A tenant's row as it is committed.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn stored(&self, id: TenantId) -> Result<Option<Stored>, TenantError> {
        let mut reading = self.database.reading().await?;
        let table = reading.table(NAME).await?;
        let row = reading.row(&table, Cell::Text(id.to_string())).await?;
        reading.close().await?;
        Ok(row.map(|row| Stored { table, row }))
    }

    /// Whether a key in this row opens here, and is the one that a tenant's database was written with, by its check value.
    ///
    /// # Errors
    /// Why not.
    pub async fn fits(
        &self,
        id: TenantId,
        stored: &Stored,
        check: &[u8],
    ) -> Result<(), TenantError> {
        let check = CheckValue::from_slice(check)?;
        let mut wrong = None;
        // In the middle of the rotation of the tenant key the database may be of either.
        for columns in [PRESENT, NEXT] {
            if let Some(held) = stored.held(columns)? {
                let key = self.roots.unwrap(&id.to_string(), &held).await?;
                match key.verify(&check) {
                    Ok(()) => return Ok(()),
                    Err(error) => wrong = wrong.or(Some(error)),
                }
            }
        }
        Err(wrong.map_or(TenantError::Corrupt { what: NAME }, TenantError::from))
    }

    /// Says that a tenant is being put back, and puts this row in the place of the one that it has: from here on nobody opens it. Its name
    /// and its keys go under the keys that are in force here, which may have been rotated since the row was read. Whether it does: one that
    /// was closed meanwhile is in the ledger before its row goes, and stays closed.
    ///
    /// # Errors
    /// The database does not take it, or another organization has its name.
    pub async fn begin_restoring(
        &self,
        (id, slug): (TenantId, &str),
        stored: &Stored,
        backup: &str,
    ) -> Result<bool, TenantError> {
        let key = Cell::Text(id.to_string());
        let (table, rows) = restoring([id], backup, true);
        for _ in 0..TRIES {
            let (own, text) = (self.own.load_full(), id.to_string());
            let mut stored = stored.put_back()?;
            let sealed =
                own.records
                    .seal(&slug_binding(&text), Salt::random()?, slug.as_bytes())?;
            stored.set("slug", sealed)?;
            stored.set("slug_index", own.slugs.of(slug).to_vec())?;
            let mut wraps = Vec::new();
            for columns in [PRESENT, NEXT] {
                if let Some(held) = stored.held(columns)? {
                    let root = self.providers().named(&held.by)?;
                    let opened = self.roots.unwrap(&text, &held).await?;
                    let under = self.roots.under(root).await?;
                    let wrapped = root.rewrap(&opened, under).await?;
                    stored.set(columns[1], wrapped.sealed.clone())?;
                    wraps.push((held.by, wrapped));
                }
            }
            let mut loading = self.database.loading().await?;
            let locked = Locked::of(&self.database, &loading.lock_deployment().await?)?;
            let mut fits = locked.version == own.version;
            for (by, wrapped) in &wraps {
                fits &= locked.takes(by, wrapped)?;
            }
            if !fits {
                loading.abandon().await?;
                self.reload().await?;
                continue;
            }
            if loading.finds(CLOSED, &key).await? {
                loading.abandon().await?;
                return Ok(false);
            }
            loading.remove((NAME, "id"), &key).await?;
            loading.add(&stored.table, &stored.row).await?;
            loading.remove((RESTORING, "tenant"), &key).await?;
            for row in &rows {
                loading.add(&table, row).await?;
            }
            loading.finish().await?;
            return Ok(true);
        }
        Err(TenantError::Contended { name: slug.into() })
    }

    /// What lies beside a tenant's database, or did, is not of the backup that it was begun with: that is loaded again.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn unload(&self, id: TenantId) -> Result<(), TenantError> {
        sqlx::query(UNLOAD)
            .bind(id.to_string())
            .execute(self.database.pool())
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }

    /// Takes away what lies beside of whoever is not being put back: of restores that were killed, or failed, while they loaded. What
    /// somebody loads just now stays.
    ///
    /// # Errors
    /// A database or the folder does not answer; it is done by being done again.
    pub async fn drop_abandoned(&self) -> Result<(), TenantError> {
        for id in self.place.all_beside().await? {
            if !self.is_ours(id).await? {
                continue;
            }
            let Some(restorer) = self.place.restorer(id).await? else {
                continue;
            };
            let begun = self.restoring().await?;
            if begun.iter().all(|one| one.tenant != id) {
                self.place.drop_beside(id).await?;
            }
            restorer.release().await;
        }
        Ok(())
    }

    /// Whether what is called after this tenant is this deployment's, and not that of another one on the same server.
    async fn is_ours(&self, id: TenantId) -> Result<bool, TenantError> {
        if self.place.dialect() == Dialect::Sqlite || self.stored(id).await?.is_some() {
            return Ok(true);
        }
        let closed = sqlx::query(CLOSED)
            .bind(id.to_string())
            .fetch_optional(self.database.pool())
            .await
            .map_err(|cause| self.database.error(cause))?;
        Ok(closed.is_some())
    }

    /// Those that are being put back, by id.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn restoring(&self) -> Result<Vec<Restoring>, TenantError> {
        let corrupt = || TenantError::Corrupt { what: RESTORING };
        let mut reading = self.database.reading().await?;
        let table = reading.table(RESTORING).await?;
        let mut all: Vec<Restoring> = Vec::new();
        let mut last: Option<Vec<Cell>> = None;
        loop {
            let page = reading.page(&table, last.as_deref()).await?;
            for row in &page {
                let [Cell::Text(tenant), Cell::Text(backup), Cell::Number(loaded)] = row.as_slice()
                else {
                    return Err(corrupt());
                };
                all.push(Restoring {
                    tenant: tenant.parse().map_err(|_| corrupt())?,
                    backup: backup.clone(),
                    loaded: *loaded == 1,
                });
            }
            match page.into_iter().next_back() {
                Some(row) => last = Some(row),
                None => break,
            }
        }
        reading.close().await?;
        Ok(all)
    }

    /// Opens the store that lies beside a tenant's own, with the keys of this row.
    ///
    /// # Errors
    /// As [`Control::open_store`].
    pub async fn open_beside(
        &self,
        (id, kind): (TenantId, Kind),
        stored: &Stored,
    ) -> Result<Store, TenantError> {
        let mut told = Vec::new();
        for columns in [PRESENT, NEXT] {
            told.extend(stored.held(columns)?);
        }
        let roots = Arc::new(self.roots.telling(told));
        let database = self.place.open_beside(id).await?;
        let shelf = self.place.shelf_beside(id, &database);
        Store::open((database, shelf), roots, (id, kind), None).await
    }

    /// Opens the store of a tenant that is being put back, or was by other means.
    ///
    /// # Errors
    /// As [`Control::open_store`].
    pub async fn open_put_back(&self, id: TenantId) -> Result<Store, TenantError> {
        self.open_life(id, None, true).await
    }

    /// The same, to begin another life of its log.
    ///
    /// # Errors
    /// The same, or the system has no randomness.
    pub async fn open_restored(&self, id: TenantId) -> Result<Store, TenantError> {
        let next = Incarnation::new(crate::crypto::random()?);
        self.open_life(id, Some(next), true).await
    }

    /// A tenant that was put back is there again.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn end_restoring(&self, id: TenantId) -> Result<(), TenantError> {
        // Ready first: whoever is killed in between finds that there is nothing left to do.
        self.mark_ready(id).await?;
        let mut loading = self.database.loading().await?;
        let key = Cell::Text(id.to_string());
        loading.remove((RESTORING, "tenant"), &key).await?;
        Ok(loading.finish().await?)
    }

    /// A tenant that is not put back after all, since it was closed: nothing of it stays here.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn give_up_restoring(&self, id: TenantId) -> Result<(), TenantError> {
        let key = Cell::Text(id.to_string());
        let mut loading = self.database.loading().await?;
        loading.remove((NAME, "id"), &key).await?;
        loading.remove((RESTORING, "tenant"), &key).await?;
        loading.finish().await?;
        // Its key was in the control database again, and may be in backups of it.
        self.removed().await?;
        self.place.drop_beside(id).await?;
        Ok(self.place.remove_tenant(id).await?)
    }
}
