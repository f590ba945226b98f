//! Where sealed bytes lie that are too long for a row: files in a folder beside SQLite, pieces in the tenant's own database on PostgreSQL.
//!
//! What is being written has a name that no row knows yet. In a folder it is `incoming/<name>.part`, beside the file `incoming/<name>`
//! that whoever writes holds locked until its row is committed: a lock that nobody holds is of somebody who died. In a database it is a
//! row of `content_upload` that says when the last piece came, and that the commit takes away; below zero it was given up.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sqlx::{Any, Row as _, Transaction};
use tokio::task::block_in_place;

use super::pieces::{PIECE, Pieces, SLICE};
use super::{Database, StorageError, private_folder};

/// How long an upload to PostgreSQL may be silent before it counts as abandoned, in microseconds.
const SILENT: i64 = 60 * 60 * 1_000_000;
/// How many abandoned ones are looked at in one go.
const FEW: i64 = 100;

const BEGIN: &str = "INSERT INTO content_upload (version, touched_at) VALUES ($1, $2)";
const TOUCH: &str =
    "UPDATE content_upload SET touched_at = $2 WHERE version = $1 AND touched_at >= 0";
const SETTLE: &str = "DELETE FROM content_upload WHERE version = $1 AND touched_at >= 0";
/// Only while nobody has given it up.
const ADD: &str = "INSERT INTO content_piece (version, number, bytes) SELECT $1, $2, $3 \
     WHERE EXISTS (SELECT 1 FROM content_upload WHERE version = $1 AND touched_at >= 0)";
/// Some at a time: a statement may take ten seconds, and a long value has thousands.
const REMOVE: &str = "DELETE FROM content_piece WHERE version = $1 AND number IN \
     (SELECT number FROM content_piece WHERE version = $1 ORDER BY number LIMIT 256)";
const ABANDONED: &str =
    "SELECT version FROM content_upload WHERE touched_at < $1 ORDER BY version LIMIT $2";
/// From then on it can neither be settled nor grow; the row goes once the pieces are gone.
const LET_GO: &str = "UPDATE content_upload SET touched_at = -1 WHERE version = $1";
const GIVE_UP: &str =
    "UPDATE content_upload SET touched_at = -1 WHERE version = $1 AND touched_at < $2";
const FORGET: &str = "DELETE FROM content_upload WHERE version = $1";

/// Where the long sealed values of one tenant lie.
#[derive(Debug, Clone)]
pub enum Shelf {
    /// Files in a folder of the tenant's own.
    Folder(PathBuf),
    /// Pieces in the tenant's database.
    Rows(Database),
}

impl Shelf {
    /// Begins a value of that name, which nobody else has. `now`: microseconds since 1970.
    ///
    /// # Errors
    /// The folder or the database takes nothing.
    pub async fn begin(&self, name: &str, now: i64) -> Result<Writing, StorageError> {
        let name = name.to_owned();
        match self {
            Self::Folder(folder) => block_in_place(|| {
                let incoming = folder.join("incoming");
                private_folder(&incoming)?;
                let part = incoming.join(format!("{name}.part"));
                let mark = new_mark(&incoming.join(&name))?;
                let file = new_file(&part)?;
                let place = Place::Folder {
                    folder: folder.clone(),
                    file,
                    mark,
                };
                Ok(Writing {
                    name,
                    place: Some(place),
                })
            }),
            Self::Rows(database) => {
                sqlx::query(BEGIN)
                    .bind(&name)
                    .bind(now)
                    .execute(database.pool())
                    .await
                    .map_err(|cause| database.error(cause))?;
                let place = Place::Rows {
                    database: database.clone(),
                    number: 0,
                    gathered: Vec::new(),
                    touched: now,
                };
                Ok(Writing {
                    name,
                    place: Some(place),
                })
            }
        }
    }

    /// Opens a value to read from it.
    ///
    /// # Errors
    /// It is not there.
    pub fn open(&self, name: &str) -> Result<Reading, StorageError> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                let file = block_in_place(|| File::open(&path));
                Ok(Reading::File {
                    file: file.map_err(|cause| failed(&path, cause))?,
                    path,
                })
            }
            Self::Rows(database) => Ok(Reading::Rows(Box::new(Pieces::of(database, name)))),
        }
    }

    /// Says in the transaction that a row names this value now: on PostgreSQL it is abandoned no more. False: it was given up meanwhile.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn settle(
        &self,
        transaction: &mut Transaction<'_, Any>,
        name: &str,
    ) -> Result<bool, StorageError> {
        let Self::Rows(database) = self else {
            return Ok(true);
        };
        let done = sqlx::query(SETTLE)
            .bind(name)
            .execute(&mut **transaction)
            .await
            .map_err(|cause| database.error(cause))?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes a value away; doing it again changes nothing.
    ///
    /// # Errors
    /// It cannot be removed.
    pub async fn remove(&self, name: &str) -> Result<(), StorageError> {
        match self {
            Self::Folder(folder) => block_in_place(|| removed(&folder.join(name))),
            Self::Rows(database) => remove_pieces(database, name).await,
        }
    }

    /// Values whose writer is gone. In a folder each must be asked about: a row may name it by now.
    ///
    /// # Errors
    /// Folder or database cannot be read.
    pub async fn abandoned(&self, now: i64) -> Result<Vec<Abandoned>, StorageError> {
        match self {
            Self::Folder(folder) => block_in_place(|| {
                let incoming = folder.join("incoming");
                let entries = match std::fs::read_dir(&incoming) {
                    Ok(entries) => entries,
                    Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                    Err(cause) => return Err(failed(&incoming, cause)),
                };
                let mut found = Vec::new();
                for entry in entries {
                    let entry = entry.map_err(|cause| failed(&incoming, cause))?;
                    let name = entry.file_name();
                    let Some(name) = name.to_str().filter(|name| !name.ends_with(".part")) else {
                        continue;
                    };
                    let path = incoming.join(name);
                    let mark = match File::open(&path) {
                        Ok(mark) => mark,
                        // It was settled meanwhile.
                        Err(cause) if cause.kind() == ErrorKind::NotFound => continue,
                        Err(cause) => return Err(failed(&path, cause)),
                    };
                    match mark.try_lock() {
                        Ok(()) => found.push(Abandoned {
                            name: name.to_owned(),
                            mark: Some(mark),
                        }),
                        Err(TryLockError::WouldBlock) => {}
                        Err(TryLockError::Error(cause)) => return Err(failed(&path, cause)),
                    }
                }
                Ok(found)
            }),
            Self::Rows(database) => {
                let error = |cause| database.error(cause);
                let silent = now.saturating_sub(SILENT);
                let rows = sqlx::query(ABANDONED)
                    .bind(silent)
                    .bind(FEW)
                    .fetch_all(database.pool())
                    .await
                    .map_err(error)?;
                let mut found = Vec::new();
                for row in &rows {
                    let name: String = row.try_get("version").map_err(error)?;
                    let given_up = sqlx::query(GIVE_UP)
                        .bind(&name)
                        .bind(silent)
                        .execute(database.pool())
                        .await
                        .map_err(error)?;
                    if given_up.rows_affected() == 1 {
                        found.push(Abandoned { name, mark: None });
                    }
                }
                Ok(found)
            }
        }
    }

    /// Ends what was abandoned: with its bytes, or, where a row names it after all, without.
    ///
    /// # Errors
    /// It cannot be removed.
    pub async fn end(&self, abandoned: Abandoned, named: bool) -> Result<(), StorageError> {
        if !named {
            self.remove(&abandoned.name).await?;
        }
        match self {
            Self::Folder(folder) => block_in_place(|| unmark(folder, &abandoned.name))?,
            Self::Rows(database) => forget_upload(database, &abandoned.name).await?,
        }
        drop(abandoned.mark);
        Ok(())
    }
}

/// A value whose writer is gone.
#[derive(Debug)]
pub struct Abandoned {
    /// Its name.
    pub name: String,
    mark: Option<File>,
}

#[derive(Debug)]
enum Place {
    Folder {
        folder: PathBuf,
        file: File,
        mark: File,
    },
    Rows {
        database: Database,
        number: i64,
        gathered: Vec<u8>,
        touched: i64,
    },
}

/// A value that is being written; dropped before its end it leaves nothing.
#[derive(Debug)]
pub struct Writing {
    name: String,
    place: Option<Place>,
}

impl Writing {
    /// Appends bytes. `now`: microseconds since 1970.
    ///
    /// # Errors
    /// The disk is full, or the database does not take them.
    pub async fn write(&mut self, bytes: &[u8], now: i64) -> Result<(), StorageError> {
        match &mut self.place {
            Some(Place::Folder { folder, file, .. }) => {
                block_in_place(|| file.write_all(bytes)).map_err(|cause| failed(folder, cause))
            }
            Some(rows @ Place::Rows { .. }) => {
                if let Place::Rows { gathered, .. } = rows {
                    gathered.extend_from_slice(bytes);
                }
                add_pieces(rows, &self.name, now, false).await
            }
            None => Ok(()),
        }
    }

    /// Ends it: every byte is durable. Nobody removes it from here on but whoever gives it up, or finds it abandoned.
    ///
    /// # Errors
    /// The disk is full, or the database does not take the rest.
    pub async fn finish(mut self, now: i64) -> Result<Shelved, StorageError> {
        if let Some(rows @ Place::Rows { .. }) = &mut self.place {
            add_pieces(rows, &self.name, now, true).await?;
        }
        if let Some(Place::Folder { folder, file, .. }) = &self.place {
            block_in_place(|| {
                let part = folder.join("incoming").join(format!("{}.part", self.name));
                file.sync_all().map_err(|cause| failed(&part, cause))?;
                let path = folder.join(&self.name);
                std::fs::rename(&part, &path).map_err(|cause| failed(&path, cause))?;
                let synced = File::open(folder).and_then(|folder| folder.sync_all());
                synced.map_err(|cause| failed(folder, cause))
            })?;
        }
        let place = self.place.take();
        Ok(Shelved {
            name: std::mem::take(&mut self.name),
            place,
        })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        match self.place.take() {
            Some(Place::Folder { folder, mark, .. }) => {
                let part = folder.join("incoming").join(format!("{}.part", self.name));
                let gone = removed(&part)
                    .and_then(|()| removed(&folder.join(&self.name)))
                    .and_then(|()| unmark(&folder, &self.name));
                if let Err(error) = gone {
                    tracing::warn!(%error, "what is left of an upload is removed later");
                }
                drop(mark);
            }
            Some(Place::Rows { database, .. }) => {
                let name = std::mem::take(&mut self.name);
                // Where no runtime is left, whoever finds it abandoned removes it.
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(give_up(database, name));
                }
            }
            None => {}
        }
    }
}

/// A value that is written whole, and that no row names yet.
#[derive(Debug)]
pub struct Shelved {
    name: String,
    place: Option<Place>,
}

impl Shelved {
    /// A row names it now.
    pub fn keep(mut self) {
        if let Some(Place::Folder { folder, mark, .. }) = self.place.take() {
            if let Err(error) = block_in_place(|| unmark(&folder, &self.name)) {
                tracing::warn!(%error, "an upload is settled later");
            }
            drop(mark);
        }
    }

    /// No row will ever name it.
    pub async fn discard(mut self) {
        match self.place.take() {
            place @ Some(Place::Folder { .. }) => drop(Writing {
                name: std::mem::take(&mut self.name),
                place,
            }),
            Some(Place::Rows { database, .. }) => {
                give_up(database, std::mem::take(&mut self.name)).await;
            }
            None => {}
        }
    }
}

/// A value that is read from.
#[derive(Debug)]
pub enum Reading {
    /// A file.
    File {
        /// It.
        file: File,
        /// Where it lies.
        path: PathBuf,
    },
    /// Pieces in rows.
    Rows(Box<Pieces>),
}

impl Reading {
    /// Reads bytes from an offset on in place of what `into` holds, so many as there are up to `length`.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn read(
        &mut self,
        offset: u64,
        length: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        match self {
            Self::File { .. } => block_in_place(|| self.read_file(offset, length, into)),
            Self::Rows(pieces) => {
                into.clear();
                while into.len() < length {
                    let at = offset.saturating_add(u64::try_from(into.len()).unwrap_or(u64::MAX));
                    let Some(held) = pieces.slice(at / SLICE).await? else {
                        break;
                    };
                    let start = usize::try_from(at % SLICE).unwrap_or(usize::MAX);
                    let rest = held.get(start..).unwrap_or_default();
                    if rest.is_empty() {
                        break;
                    }
                    let wanted = rest.len().min(length - into.len());
                    into.extend_from_slice(rest.get(..wanted).unwrap_or_default());
                }
                Ok(())
            }
        }
    }

    /// The same of a file, and nothing of anything else: it waits for the disk, in a place where that is allowed.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn read_file(
        &self,
        offset: u64,
        length: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        let Self::File { file, path } = self else {
            return Ok(());
        };
        into.resize(length, 0);
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            // A usize never exceeds a u64 on a platform that this builds for.
            let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            match file.read_at(rest, at) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(failed(path, cause)),
            }
        }
        into.truncate(filled);
        Ok(())
    }
}

/// Writes the pieces that are full, and at the end what is left.
async fn add_pieces(
    place: &mut Place,
    name: &str,
    now: i64,
    whole: bool,
) -> Result<(), StorageError> {
    let Place::Rows {
        database,
        number,
        gathered,
        touched,
    } = place
    else {
        return Ok(());
    };
    let full = usize::try_from(PIECE).unwrap_or(usize::MAX);
    while gathered.len() >= full || (whole && !gathered.is_empty()) {
        // Where it is gathered it stays, so that the place is used again.
        let length = full.min(gathered.len());
        let added = sqlx::query(ADD)
            .bind(name)
            .bind(*number)
            .bind(gathered.get(..length).unwrap_or_default())
            .execute(database.pool())
            .await
            .map_err(|cause| database.error(cause))?;
        if added.rows_affected() == 0 {
            // It was silent for too long, and whoever tidies has taken it.
            return Err(database.error(sqlx::Error::RowNotFound));
        }
        gathered.drain(..length);
        *number += 1;
    }
    // Often enough that nobody takes a slow upload for an abandoned one.
    if now.saturating_sub(*touched) > SILENT / 60 {
        sqlx::query(TOUCH)
            .bind(name)
            .bind(now)
            .execute(database.pool())
            .await
            .map_err(|cause| database.error(cause))?;
        *touched = now;
    }
    Ok(())
}

async fn give_up(database: Database, name: String) {
    let gone = async {
        sqlx::query(LET_GO)
            .bind(&name)
            .execute(database.pool())
            .await
            .map_err(|cause| database.error(cause))?;
        remove_pieces(&database, &name).await?;
        forget_upload(&database, &name).await
    };
    if let Err(error) = gone.await {
        tracing::warn!(%error, "what is left of an upload is removed later");
    }
}

async fn remove_pieces(database: &Database, name: &str) -> Result<(), StorageError> {
    loop {
        let done = sqlx::query(REMOVE)
            .bind(name)
            .execute(database.pool())
            .await
            .map_err(|cause| database.error(cause))?;
        if done.rows_affected() == 0 {
            return Ok(());
        }
    }
}

async fn forget_upload(database: &Database, name: &str) -> Result<(), StorageError> {
    sqlx::query(FORGET)
        .bind(name)
        .execute(database.pool())
        .await
        .map(|_| ())
        .map_err(|cause| database.error(cause))
}

/// A mark that is held by the time others can find it.
fn new_mark(path: &Path) -> Result<File, StorageError> {
    loop {
        let mark = new_file(path)?;
        let inode = mark
            .lock()
            .and_then(|()| mark.metadata())
            .map_err(|cause| failed(path, cause))?
            .ino();
        // Whoever tidies may have come between the two, and have taken it away as one that nobody holds.
        if std::fs::metadata(path).is_ok_and(|there| there.ino() == inode) {
            return Ok(mark);
        }
    }
}

fn new_file(path: &Path) -> Result<File, StorageError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.map_err(|cause| failed(path, cause))
}

fn removed(path: &Path) -> Result<(), StorageError> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(failed(path, cause)),
        _ => Ok(()),
    }
}

fn unmark(folder: &Path, name: &str) -> Result<(), StorageError> {
    let incoming = folder.join("incoming");
    removed(&incoming.join(format!("{name}.part")))?;
    removed(&incoming.join(name))
}

fn failed(path: &Path, cause: std::io::Error) -> StorageError {
    StorageError::Folder {
        path: path.into(),
        cause,
    }
}
