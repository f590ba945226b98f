//! A backup taken while the service runs: each database in one snapshot, and each organization with the key that fits its snapshot.
//!
//! The control database comes last, so that what is wrapped under a root key is wrapped under the newest. An organization's own row of it
//! is read before and after its snapshot begins, and is the same: the two were there together, as whoever opens it finds them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use super::folder::{CONTROL, KEYRING, Making, Sealers};
use super::frames::{PIECE_SIZE, put_end, put_file, put_piece, put_row, put_table};
use super::sealed::Writing;
use super::{BackupError, Progress};
use crate::ids::TenantId;
use crate::storage::copy::{Cell, Reading, Table};
use crate::storage::{CONTROL as CONTROL_SCHEMA, Dialect, TENANT};
use crate::tenant::{Control, DEPLOYMENT, NOT_PUT_BACK, Restoring, Stored, TenantError};

/// How often an organization, or the control database, is begun with whose keys are being rotated just then, and the pause in between.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// How many organizations are listed at a time.
const TENANTS: i64 = 100;

/// How often progress is told.
const TOLD: Duration = Duration::from_secs(1);

/// The folder of a tenant's files where what is being written lies, which no snapshot knows of.
const INCOMING: &str = "incoming";

/// What a backup is taken of.
#[derive(Debug)]
pub struct Taking<'a> {
    /// The deployment.
    pub control: &'a Control,
    /// Its name, as its logs have it.
    pub deployment: &'a str,
    /// One organization alone, with its short name.
    pub only: Option<(TenantId, String)>,
    /// The keys that are to open it.
    pub sealers: Sealers<'a>,
    /// A keyring to take along for whoever has the recovery key.
    pub keyring: Option<&'a Path>,
}

/// What was taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// The backup's random name.
    pub id: String,
    /// Organizations, and the deployment's own log.
    pub tenants: u64,
    /// Rows of all databases.
    pub rows: u64,
    /// Files of all organizations.
    pub files: u64,
    /// Bytes of the backup.
    pub bytes: u64,
    /// Whether the keyring is in it, for whoever has the recovery key.
    pub keyring: bool,
    /// Organizations that are being put back, and are not in it.
    pub left_out: Vec<String>,
}

/// A file being filled.
struct Filling<'a> {
    name: String,
    writing: Writing,
    frames: Vec<u8>,
    rows: u64,
    files: u64,
    told: Instant,
    progress: &'a mut (dyn FnMut(Progress) + Send),
}

impl Filling<'_> {
    fn put(&mut self, put: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<(), BackupError> {
        let path = Path::new(&self.name);
        put(&mut self.frames).map_err(|cause| BackupError::write(path, cause))
    }

    fn flush(&mut self) -> Result<(), BackupError> {
        let pushed = block_in_place(|| self.writing.push(&self.frames));
        self.frames.clear();
        if self.told.elapsed() >= TOLD {
            self.told = Instant::now();
            (self.progress)(Progress::Rows {
                of: self.name.clone(),
                rows: self.rows,
            });
        }
        pushed
    }

    async fn table(&mut self, reading: &mut Reading, table: &Table) -> Result<(), BackupError> {
        self.put(|out| put_table(out, false, table))?;
        let mut last: Option<Vec<Cell>> = None;
        loop {
            let mut page = reading.page(table, last.as_deref()).await?;
            for row in &page {
                self.put(|out| put_row(out, row))?;
                self.rows += 1;
            }
            self.flush()?;
            match page.pop() {
                Some(row) => last = Some(row),
                None => return Ok(()),
            }
        }
    }

    fn stored(&mut self, stored: &Stored) -> Result<(), BackupError> {
        self.put(|out| put_table(out, true, &stored.table))?;
        self.put(|out| put_row(out, &stored.row))?;
        self.rows += 1;
        Ok(())
    }

    /// Everything below a folder that is there whole. A file that goes meanwhile was let go of after the snapshot.
    fn folder(&mut self, root: &Path, below: &str) -> Result<(), BackupError> {
        let folder = root.join(below);
        let entries = match std::fs::read_dir(&folder) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|cause| BackupError::read(&folder, cause))?,
        };
        for entry in entries {
            let entry = entry.map_err(|cause| BackupError::read(&folder, cause))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && path == INCOMING => {}
                Ok(kind) if kind.is_dir() => self.folder(root, &path)?,
                Ok(kind) if kind.is_file() => self.file(&root.join(&path), &path)?,
                Ok(_) => {}
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(BackupError::read(&folder, cause)),
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &str) -> Result<(), BackupError> {
        let mut file = match File::open(path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.map_err(|cause| BackupError::read(path, cause))?,
        };
        self.put(|out| put_file(out, name))?;
        self.files += 1;
        let mut piece = vec![0; PIECE_SIZE];
        loop {
            let count = file
                .read(&mut piece)
                .map_err(|cause| BackupError::read(path, cause))?;
            let read = piece.get(..count).unwrap_or_default();
            if read.is_empty() {
                return Ok(());
            }
            self.put(|out| put_piece(out, read))?;
            self.flush()?;
        }
    }
}

/// What becomes of an organization that is listed.
enum Turn {
    Taken {
        rows: u64,
        files: u64,
    },
    /// It has been closed meanwhile, or there is nothing in it yet.
    Nothing,
    /// It is being put back: what there is of it is not whole.
    LeftOut,
}

/// Takes a backup into a folder that is not there yet; there it is whole or not at all.
///
/// # Errors
/// A database or the disk; nothing is left then.
pub async fn take(
    taking: &Taking<'_>,
    output: &Path,
    created_at: &str,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Taken, BackupError> {
    let dialect = dialect(taking.control.place().dialect());
    let is_whole = taking.only.is_none();
    let mut making = Making::begin(output, (taking.deployment, dialect), is_whole)?;
    let mut taken = Taken {
        id: making.id().to_owned(),
        ..Taken::default()
    };
    let wanted = match &taking.only {
        Some(only) => vec![only.clone()],
        None => all(taking.control, &mut taken.left_out).await?,
    };
    for (id, slug) in wanted {
        match tenant(taking.control, &mut making, (id, &slug), progress).await? {
            Turn::Taken { rows, files } => {
                taken.tenants += 1;
                taken.rows += rows;
                taken.files += files;
            }
            Turn::Nothing if is_whole => {}
            Turn::LeftOut if is_whole => taken.left_out.push(id.to_string()),
            Turn::LeftOut => return Err(TenantError::Restoring { name: slug }.into()),
            Turn::Nothing => {
                return Err(BackupError::Unfit(format!("there is nothing in `{slug}`")));
            }
        }
    }
    for _ in 0..TRIES {
        // A rotation that ends in between destroys the root key that the control database was read under.
        let before = root_of(taking.control).await?;
        let rows = control(taking.control, &mut making, is_whole, progress).await?;
        if let Some(path) = taking.keyring {
            let text = std::fs::read(path).map(zeroize::Zeroizing::new);
            making.keyring(&text.map_err(|cause| BackupError::read(path, cause))?)?;
            taken.keyring = true;
        }
        let locks = making.locks(taking.sealers).await?;
        if root_of(taking.control).await? == before {
            taken.rows += rows;
            taken.bytes = making.finish(created_at, locks)?;
            return Ok(taken);
        }
        making.forget(CONTROL)?;
        making.forget(KEYRING)?;
        tokio::time::sleep(PAUSE).await;
    }
    Err(BackupError::Unfit(
        "the root key is being changed all the time: try again".into(),
    ))
}

/// Under which root key everything lies now: whose, its version, and the one that it goes over to.
async fn root_of(control: &Control) -> Result<(String, u32, u32), BackupError> {
    let standing = control.standing().await?;
    let next = standing
        .root_rotation
        .map_or(standing.root, |(_, next)| next);
    Ok((standing.provider, standing.root, next))
}

pub(super) const fn dialect(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "sqlite",
        Dialect::Postgres => "postgres",
    }
}

/// Every tenant that there is, and those that are left out.
async fn all(
    control: &Control,
    left_out: &mut Vec<String>,
) -> Result<Vec<(TenantId, String)>, BackupError> {
    // Asked twice: one of them may begin, or end, while the others are listed.
    let mut restoring = ids_of(&control.restoring().await?);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = control.list(after, TENANTS).await?;
        match page.last() {
            Some(last) => after = Some(last.id),
            None => break,
        }
        found.extend(page.iter().map(|one| (one.id, one.slug.to_string())));
    }
    match control.deployment().await {
        Ok(Some(id)) => found.push((id, DEPLOYMENT.to_owned())),
        // Where it is being put back it is among those that are left out.
        Ok(None) | Err(TenantError::Restoring { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let now = ids_of(&control.restoring().await?);
    found.retain(|(id, _)| !now.contains(id));
    restoring.extend(now);
    for (id, _) in &found {
        restoring.remove(id);
    }
    left_out.extend(restoring.iter().map(TenantId::to_string));
    Ok(found)
}

fn ids_of(restoring: &[Restoring]) -> BTreeSet<TenantId> {
    restoring.iter().map(|one| one.tenant).collect()
}

async fn tenant(
    control: &Control,
    making: &mut Making,
    (id, slug): (TenantId, &str),
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Turn, BackupError> {
    let name = id.to_string();
    let taken = snapshot(control, making, (id, &name), progress).await;
    let now = control.stored(id).await?;
    if now.as_ref().is_some_and(Stored::is_put_back) {
        // A restore has begun meanwhile: what was read may be of before, or its files gone.
        drop(taken);
        making.forget(&name)?;
        return Ok(Turn::LeftOut);
    }
    match taken {
        Ok(Some((filling, version))) => {
            let (rows, files) = (filling.rows, filling.files);
            let lying = filling.writing.finish()?;
            making.written(&name, &lying, (Some(slug.to_owned()), version));
            Ok(Turn::Taken { rows, files })
        }
        Ok(None) => Ok(Turn::Nothing),
        // Its database went in the middle of it, and it is no more.
        Err(BackupError::Storage(_) | BackupError::Tenant(_)) if now.is_none() => {
            making.forget(&name)?;
            Ok(Turn::Nothing)
        }
        Err(error) => Err(error),
    }
}

async fn snapshot<'a>(
    control: &Control,
    making: &Making,
    (id, name): (TenantId, &str),
    progress: &'a mut (dyn FnMut(Progress) + Send),
) -> Result<Option<(Filling<'a>, i64)>, BackupError> {
    let database = control.place().tenant(id).await?;
    // Read as this program has it: what it puts back later it then knows.
    let migrated = database.migrate(TENANT).await;
    let begun = match migrated {
        Ok(()) => begin(control, &database, id).await,
        Err(error) => Err(error.into()),
    };
    let (stored, mut reading) = match begun {
        Ok(Some(begun)) => begun,
        Ok(None) => {
            database.close().await;
            return Ok(None);
        }
        Err(error) => {
            database.close().await;
            return Err(error);
        }
    };
    let version = reading.version();
    let mut filling = Filling {
        name: name.to_owned(),
        writing: making.file(name)?,
        frames: Vec::new(),
        rows: 0,
        files: 0,
        told: Instant::now(),
        progress,
    };
    filling.stored(&stored)?;
    for table in reading.tables(TENANT).await? {
        filling.table(&mut reading, &table).await?;
    }
    reading.close().await?;
    database.close().await;
    // What the snapshot names is there still, unless it was let go of since.
    if let Some(root) = control.place().content(id) {
        block_in_place(|| filling.folder(&root, ""))?;
    }
    let (rows, files) = (filling.rows, filling.files);
    filling.put(|out| {
        put_end(out, rows, files);
        Ok(())
    })?;
    filling.flush()?;
    Ok(Some((filling, version)))
}

/// A snapshot of a tenant's database, and its row of the control database that was there at the same moment; nothing where it is gone, or
/// where its log has no entry yet.
async fn begin(
    control: &Control,
    database: &crate::storage::Database,
    id: TenantId,
) -> Result<Option<(Stored, Reading)>, BackupError> {
    for _ in 0..TRIES {
        let Some(before) = control.stored(id).await? else {
            return Ok(None);
        };
        if before.is_put_back() {
            let name = id.to_string();
            return Err(TenantError::Restoring { name }.into());
        }
        let mut reading = database.reading().await?;
        if control.stored(id).await?.as_ref() == Some(&before) {
            let head = reading.table("head").await?;
            let row = reading.row(&head, Cell::Number(1)).await?;
            let size = head.place("size").and_then(|at| row?.get(at).cloned());
            return Ok((size != Some(Cell::Number(0))).then_some((before, reading)));
        }
        reading.close().await?;
        tokio::time::sleep(PAUSE).await;
    }
    Err(BackupError::Unfit(format!(
        "the key of `{id}` is being changed all the time: try again"
    )))
}

/// The control database: whole, or what says which deployment it is.
async fn control(
    control: &Control,
    making: &mut Making,
    is_whole: bool,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<u64, BackupError> {
    let mut reading = control.database().reading().await?;
    let version = reading.version();
    let mut filling = Filling {
        name: CONTROL.to_owned(),
        writing: making.file(CONTROL)?,
        frames: Vec::new(),
        rows: 0,
        files: 0,
        told: Instant::now(),
        progress,
    };
    for table in reading.tables(CONTROL_SCHEMA).await? {
        let name = table.name.as_str();
        if !NOT_PUT_BACK.contains(&name) && (is_whole || name == DEPLOYMENT) {
            filling.table(&mut reading, &table).await?;
        }
    }
    reading.close().await?;
    let rows = filling.rows;
    filling.put(|out| {
        put_end(out, rows, 0);
        Ok(())
    })?;
    filling.flush()?;
    let lying = filling.writing.finish()?;
    making.written(CONTROL, &lying, (None, version));
    Ok(rows)
}

/// A file's name within a backup, as a path below a folder; nothing where it would lead out of it.
pub(super) fn below(root: &Path, name: &str) -> Option<PathBuf> {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    (!name.contains('\\') && !name.contains('\0') && name.split('/').all(is_plain))
        .then(|| root.join(name))
}
