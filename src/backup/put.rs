//! A backup put back: beside what is there first, where it is verified, then in its place as another life of the log, and served at the end.
//!
//! From the moment at which a tenant's row says that it is being put back nobody opens it, until all of it is done; whoever is killed in
//! between does it again. What was erased since is not written at all as far as it is a key, and erased again as far as it is more.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use tokio::task::block_in_place;

use super::folder::{Backup, CONTROL};
use super::frames::{Frame, Frames};
use super::read::{Checked, Found, bytes, subject};
use super::sealed::Text;
use super::take::below;
use super::{BackupError, Progress};
use crate::decide::door::Terms;
use crate::decide::restore::{self, NotRestored, Sound};
use crate::ids::TenantId;
use crate::log::verify::Restored;
use crate::storage::copy::{Cell, Loading, Table, tables, up_to};
use crate::storage::restorer::Restorer;
use crate::storage::{CONTROL as CONTROL_SCHEMA, Database, Place, StorageError, TENANT};
use crate::tenant::{Control, DEPLOYMENT, Kind, Known, NOT_PUT_BACK, Stored, restoring};

/// How many rows, and how many bytes of them, one transaction writes.
const ROWS: u64 = 2_000;
const BYTES: usize = 8 << 20;

/// How often it is asked whether another restore has ended, and the pause in between.
const TRIES: usize = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// What was put back.
#[derive(Debug)]
pub enum PutBack {
    /// An organization, or the deployment's log.
    Served {
        /// Whose.
        id: TenantId,
        /// Its short name.
        slug: String,
        /// What is known of the lives of its log before; nothing where they had been told of before this was killed.
        before: Vec<Restored>,
        /// How many people were erased again.
        erased: usize,
    },
    /// An organization that was closed since: it is not.
    Closed {
        /// Its short name.
        slug: String,
    },
}

/// Whether two rows say the same of which deployment it is.
#[must_use]
pub fn identity(one: &Stored, other: &Stored) -> bool {
    let of = |stored: &Stored| {
        // The one key of a deployment that is never another.
        let bytes = bytes(&stored.table, &stored.row, "ledger_check");
        bytes.map(<[u8]>::to_vec)
    };
    of(one).is_some() && of(one) == of(other)
}

/// Puts the control database back into a place that has none, with every tenant of the backup as one that is being put back. Where that
/// was done before, it goes on.
///
/// # Errors
/// There is a deployment, or the database does not take it.
pub async fn load_control(
    place: &Place,
    backup: &Backup,
    checked: &Checked,
) -> Result<(), BackupError> {
    let database = place.control().await?;
    let loaded = begin_control(place, &database, backup, checked).await;
    database.close().await;
    loaded
}

async fn begin_control(
    place: &Place,
    database: &Database,
    backup: &Backup,
    checked: &Checked,
) -> Result<(), BackupError> {
    let steps = up_to(CONTROL_SCHEMA, backup.version(CONTROL));
    if database.is_new().await? {
        if place.has_tenants()? {
            return Err(occupied(place));
        }
        database.migrate(steps).await?;
    }
    let mut reading = database.reading().await?;
    let (version, deployment) = (reading.version(), reading.table("deployment").await?);
    let present = reading.row(&deployment, Cell::Number(1)).await?;
    let begun = match reading.table("restoring").await {
        Ok(table) => reading.page(&table, None).await?,
        Err(_) => Vec::new(),
    };
    let tenants = reading.table("tenant").await?;
    let has_tenants = !reading.page(&tenants, None).await?.is_empty();
    reading.close().await?;
    // One in which nobody ever was, as a command beside the loss makes it, is nobody's.
    if let Some(row) = present.filter(|_| has_tenants || !begun.is_empty()) {
        let table = deployment;
        let is_ours = identity(&Stored { table, row }, &checked.deployment);
        let id = Cell::Text(backup.id().to_owned());
        let is_this = !begun.is_empty() && begun.iter().all(|row| row.contains(&id));
        return match is_ours && is_this {
            true => Ok(()),
            false => Err(occupied(place)),
        };
    }
    if version != backup.version(CONTROL) {
        return Err(occupied(place));
    }
    let mut loading = database.loading().await?;
    let (mut frames, mut of) = (backup.frames(CONTROL)?, None);
    loop {
        match next(&mut frames, CONTROL)? {
            Frame::Table { table, .. } => {
                of = None;
                if !NOT_PUT_BACK.contains(&table.name.as_str()) {
                    loading.clear(&table).await?;
                    // Each tenant has its row with its database.
                    of = Some(table).filter(|table| table.name != "tenant");
                }
            }
            Frame::Row(row) => {
                if let Some(table) = &of {
                    loading.add(table, &row).await?;
                }
            }
            Frame::File { .. } | Frame::Piece(_) => {}
            Frame::End { .. } => break,
        }
    }
    backup.check_read(CONTROL, frames.into_inner())?;
    for found in &checked.found {
        let mut stored = found.stored.put_back()?;
        // Its name is under the keys that the deployment had at the backup's end, as the deployment's own row is.
        if let Some(last) = checked.rows.get(&found.id) {
            stored.named_as(last)?;
        }
        loading.add(&stored.table, &stored.row).await?;
    }
    let ids = checked.found.iter().map(|found| found.id);
    let (table, rows) = restoring(ids, backup.id(), false);
    for row in &rows {
        loading.add(&table, row).await?;
    }
    Ok(loading.finish().await?)
}

fn occupied(place: &Place) -> BackupError {
    BackupError::Unfit(format!(
        "`{}` holds a deployment: a whole backup is put back where there is none; choose an empty place, or put one \
         organization back with --org",
        place.name()
    ))
}

/// Puts one tenant back, whatever is there of it, and has it served.
///
/// # Errors
/// No key opens it, it was closed, a database or the disk. From `begin_restoring` on it is not served before this has been done again.
pub async fn put_back(
    (control, terms): (&Control, &Terms),
    (backup, checked, found): (&Backup, &Checked, &Found),
    known: &Known,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<PutBack, BackupError> {
    let mut restorer = restorer(control.place(), found).await?;
    let known = (known, &mut restorer);
    let put = begin((control, terms), (backup, checked, found), known, progress).await;
    restorer.release().await;
    put
}

/// The right to put it back: nobody else does, and what lies beside is nobody's to take away.
async fn restorer(place: &Place, found: &Found) -> Result<Restorer, BackupError> {
    for _ in 0..TRIES {
        if let Some(restorer) = place.restorer(found.id).await? {
            return Ok(restorer);
        }
        // Whoever was killed a moment ago may have it still, and whoever takes away what they left.
        tokio::time::sleep(PAUSE).await;
    }
    Err(BackupError::Unfit(format!(
        "`{}` is being put back by another restore just now: wait for its end",
        found.slug
    )))
}

async fn begin(
    (control, terms): (&Control, &Terms),
    (backup, checked, found): (&Backup, &Checked, &Found),
    (known, restorer): (&Known, &mut Restorer),
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<PutBack, BackupError> {
    let (id, place) = (found.id, control.place());
    let begun = control.restoring().await?;
    let begun = begun.into_iter().find(|one| one.tenant == id);
    if known.closed.contains(&id) {
        return closed(control, found, begun.is_some()).await;
    }
    let is_loaded = begun
        .as_ref()
        .is_some_and(|one| one.loaded && one.backup == backup.id());
    let mut sound = None;
    if !is_loaded {
        if begun.is_some() {
            control.unload(id).await?;
        }
        let stored = key_of(control, checked, found).await?;
        let people = backup.keyed(id, &known.people_of(id))?;
        let loaded = async {
            load(place, backup, found, &people, progress).await?;
            verified((control, terms), found, &stored, progress).await
        };
        match loaded.await {
            Ok(found) => sound = Some(found),
            Err(error) => {
                // Nothing says of it: whoever is erased from here on would not be looked for in it.
                if let Err(error) = place.drop_beside(id).await {
                    tracing::warn!(tenant.id = %id, %error, "what was loaded is taken away later");
                }
                return Err(error);
            }
        }
        if !restorer.is_held().await {
            return Err(BackupError::Unfit(format!(
                "the database server has ended the connection that kept others from restoring `{}`: restore it again",
                found.slug
            )));
        }
        let of = (id, found.slug.as_str());
        match control.begin_restoring(of, &stored, backup.id()).await {
            Ok(true) => {}
            Ok(false) => return closed(control, found, begun.is_some()).await,
            Err(error) => {
                drop_unsaid(control, id).await;
                return Err(error.into());
            }
        }
    }
    let put = exchange((control, terms), (backup, found), sound, progress).await;
    if put.is_err() {
        let known = terms.ledger.settle(&[]).await;
        if known.is_ok_and(|known| known.closed.contains(&id)) {
            // It was closed while it was put back, which is why that failed.
            return closed(control, found, true).await;
        }
    }
    put
}

/// Takes away what was loaded where nothing says that it goes on.
async fn drop_unsaid(control: &Control, id: TenantId) {
    let begun = control.restoring().await;
    if begun.is_ok_and(|begun| begun.iter().all(|one| one.tenant != id))
        && let Err(error) = control.place().drop_beside(id).await
    {
        tracing::warn!(tenant.id = %id, %error, "what was loaded is taken away later");
    }
}

/// One that was closed is not put back, and what was written of it until now goes.
async fn closed(control: &Control, found: &Found, is_begun: bool) -> Result<PutBack, BackupError> {
    let slug = found.slug.clone();
    if is_begun {
        control.give_up_restoring(found.id).await?;
        return Ok(PutBack::Closed { slug });
    }
    control.place().drop_beside(found.id).await?;
    Err(BackupError::Closed { name: slug })
}

/// Puts what lies beside in the place of what there is, and goes on with it, once nobody opens it any more.
async fn exchange(
    (control, terms): (&Control, &Terms),
    (backup, found): (&Backup, &Found),
    sound: Option<Sound>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<PutBack, BackupError> {
    let (id, slug, place) = (found.id, found.slug.clone(), control.place());
    let is_beside = place.has_beside(id).await?;
    if sound.is_some() && !is_beside {
        // It was loaded just now: whoever has taken it away did not know that, and what there is is not what was verified.
        control.unload(id).await?;
        return Err(BackupError::Unfit(format!(
            "what was loaded of `{slug}` is not there any more: restore it again"
        )));
    }
    let is_fenced = is_beside && place.fence(id).await?;
    // It was served while it was loaded: from here on nobody is erased in it, and the ledger has whoever was.
    let known = terms.ledger.settle(&[]).await?;
    if known.closed.contains(&id) {
        return closed(control, found, true).await;
    }
    let mut people = known.people_of(id);
    if is_beside {
        if is_fenced {
            // Whoever was erased in what goes now, and is not in the ledger yet.
            people.extend(under_way(place, id).await?);
        }
        for person in &people {
            let now = Utc::now().timestamp_micros();
            terms.ledger.erased(id, person, now).await?;
        }
        place.exchange(id).await?;
    }
    let mut returned = backup.keyed(id, &people)?;
    // Whose key was left out is not found by it; an invitation has none, and is.
    returned.extend(restore::returned(control, id, &people).await?);
    let people = returned;
    let store = control.open_put_back(id).await?;
    let (lives, kind) = (store.lives().len(), store.kind());
    store.database().close().await;
    let before = match lives == found.lives {
        true => {
            let tell = |done, of| progress(Progress::Entries { done, of });
            restore::restored(control, id, terms, sound, tell).await?
        }
        false => Vec::new(),
    };
    if kind == Kind::Organization {
        restore::erase_again(control, id, terms, &people).await?;
    }
    place.tidy(id, !people.is_empty()).await?;
    control.end_restoring(id).await?;
    Ok(PutBack::Served {
        id,
        slug,
        before,
        erased: people.iter().filter(|one| is_person(one)).count(),
    })
}

/// What lies beside is sound: nothing takes the place of what there is before that is known.
async fn verified(
    (control, terms): (&Control, &Terms),
    found: &Found,
    stored: &Stored,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Sound, BackupError> {
    let kind = match found.slug == DEPLOYMENT {
        true => Kind::Deployment,
        false => Kind::Organization,
    };
    let store = control.open_beside((found.id, kind), stored).await?;
    let tell = |done, of| progress(Progress::Entries { done, of });
    let sound = restore::sound(&store, terms, tell).await;
    store.database().close().await;
    match sound {
        Err(NotRestored::Unsound { wrong }) => Err(BackupError::Unsound {
            name: found.slug.clone(),
            wrong,
        }),
        sound => Ok(sound?),
    }
}

/// Whether this is somebody, and not an invitation of theirs.
fn is_person(erased: &str) -> bool {
    erased.starts_with(crate::ids::reference::Kind::User.prefix())
}

/// The row whose key opens here and is the one that the database in the backup was written with: the one that is here, the one of its
/// snapshot, or the one of the backup's end.
async fn key_of(
    control: &Control,
    checked: &Checked,
    found: &Found,
) -> Result<Stored, BackupError> {
    let present = control.stored(found.id).await?;
    let told = [Some(&found.stored), checked.rows.get(&found.id)];
    let mut why = None;
    for stored in present
        .as_ref()
        .into_iter()
        .chain(told.into_iter().flatten())
    {
        match control.fits(found.id, stored, &found.key_check).await {
            Ok(()) => return Ok(stored.clone()),
            Err(error) => why = Some(error),
        }
    }
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    Err(BackupError::Unfit(format!(
        "no key that is here or in the backup opens `{}`{why}",
        found.slug
    )))
}

/// Who is being erased in the database that is there.
async fn under_way(place: &Place, id: TenantId) -> Result<BTreeSet<String>, BackupError> {
    let database = place.tenant(id).await?;
    let read = async {
        let mut reading = database.reading().await?;
        let table = reading.table("erasure").await?;
        let at = table.place("subject").unwrap_or_default();
        let (mut found, mut last) = (BTreeSet::new(), None::<Vec<Cell>>);
        loop {
            let mut page = reading.page(&table, last.as_deref()).await?;
            for row in &page {
                if let Some(Cell::Text(subject)) = row.get(at) {
                    found.insert(subject.clone());
                }
            }
            match page.pop() {
                Some(row) => last = Some(row),
                None => break,
            }
        }
        reading.close().await?;
        Ok(found)
    };
    let outcome: Result<_, StorageError> = read.await;
    database.close().await;
    Ok(outcome?)
}

/// Writes a tenant's rows and files beside what is there.
async fn load(
    place: &Place,
    backup: &Backup,
    found: &Found,
    erased: &BTreeSet<String>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), BackupError> {
    let name = found.id.to_string();
    let steps = up_to(TENANT, backup.version(&name));
    let here = tables(steps, place.dialect());
    let database = place.make_beside(found.id).await?;
    let loaded = async {
        database.migrate(steps).await?;
        let mut filling = Filling {
            loading: database.loading().await?,
            here,
            erased,
            table: None,
            pending: (0, 0),
            rows: 0,
        };
        let mut shelf = place.content_beside(found.id).map(Shelf::of);
        let mut frames = backup.frames(&name)?;
        loop {
            match next(&mut frames, &name)? {
                Frame::Table { control: true, .. } => filling.table = None,
                Frame::Table { table, .. } => filling.begin(table).await?,
                Frame::Row(row) => {
                    if filling.add(&row).await? {
                        progress(Progress::Rows {
                            of: found.slug.clone(),
                            rows: filling.rows,
                        });
                    }
                }
                Frame::File { name: file } => {
                    if let Some(shelf) = &mut shelf {
                        block_in_place(|| shelf.begin(&file))?;
                    }
                }
                Frame::Piece(piece) => {
                    if let Some(shelf) = &mut shelf {
                        block_in_place(|| shelf.push(&piece))?;
                    }
                }
                Frame::End { .. } => break,
            }
        }
        backup.check_read(&name, frames.into_inner())?;
        if let Some(shelf) = shelf {
            block_in_place(|| shelf.finish())?;
        }
        filling.loading.finish().await?;
        Ok(())
    };
    let loaded = loaded.await;
    database.close().await;
    loaded
}

fn next(frames: &mut Frames<Text>, file: &str) -> Result<Frame, BackupError> {
    frames
        .next()
        .map_err(|cause| BackupError::altered(file, cause))
}

/// A database being filled.
struct Filling<'a> {
    loading: Loading,
    here: Vec<&'static str>,
    erased: &'a BTreeSet<String>,
    table: Option<Table>,
    /// Rows and bytes that are not committed yet.
    pending: (u64, usize),
    rows: u64,
}

impl Filling<'_> {
    async fn begin(&mut self, table: Table) -> Result<(), BackupError> {
        // One that the other database does not have is empty, as was seen when it was checked.
        self.table = None;
        if self.here.contains(&table.name.as_str()) {
            self.loading.clear(&table).await?;
            self.table = Some(table);
        }
        Ok(())
    }

    /// Adds a row; whether a transaction is full with it, and was committed.
    async fn add(&mut self, row: &[Cell]) -> Result<bool, BackupError> {
        let Some(table) = &self.table else {
            return Ok(false);
        };
        // The key of somebody who was erased is written nowhere any more.
        if subject(table, row).is_some_and(|subject| self.erased.contains(subject)) {
            return Ok(false);
        }
        self.loading.add(table, row).await?;
        self.rows += 1;
        let length = |cell: &Cell| match cell {
            Cell::Null | Cell::Number(_) => 8,
            Cell::Text(text) => text.len(),
            Cell::Bytes(bytes) => bytes.len(),
        };
        self.pending.0 += 1;
        self.pending.1 += row.iter().map(length).sum::<usize>();
        let is_full = self.pending.0 >= ROWS || self.pending.1 >= BYTES;
        if is_full {
            self.loading.settle().await?;
            self.pending = (0, 0);
        }
        Ok(is_full)
    }
}

/// A tenant's files being written beside those that are there.
struct Shelf {
    root: PathBuf,
    file: Option<(PathBuf, File)>,
}

impl Shelf {
    const fn of(root: PathBuf) -> Self {
        Self { root, file: None }
    }

    fn begin(&mut self, name: &str) -> Result<(), BackupError> {
        self.end()?;
        let path = below(&self.root, name)
            .ok_or_else(|| BackupError::altered(name, "it would lie elsewhere"))?;
        let folder = path.parent().unwrap_or(&self.root);
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .and_then(|()| {
                OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&path)
            });
        let file = made.map_err(|cause| BackupError::write(&path, cause))?;
        self.file = Some((path, file));
        Ok(())
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), BackupError> {
        match &mut self.file {
            Some((path, file)) => file
                .write_all(piece)
                .map_err(|cause| BackupError::write(path, cause)),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), BackupError> {
        if let Some((path, file)) = self.file.take() {
            let synced = file.sync_all();
            synced.map_err(|cause| BackupError::write(&path, cause))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), BackupError> {
        self.end()?;
        if self.root.is_dir() {
            sync_below(&self.root)?;
        }
        Ok(())
    }
}

/// Has the disk keep the names of what lies in a folder.
fn sync_below(folder: &Path) -> Result<(), BackupError> {
    let failed = |cause| BackupError::write(folder, cause);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sync_below(&entry.path())?;
        }
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}
