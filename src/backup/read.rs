//! A backup read whole before anything is changed: every file opens, is the one that was written, and fits together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::folder::{Backup, CONTROL, KEYRING};
use super::frames::{Frame, Frames};
use super::sealed::Text;
use super::take::below;
use super::{BackupError, Progress};
use crate::ids::TenantId;
use crate::storage::copy::{Cell, Table, newest, tables, up_to};
use crate::storage::{CONTROL as CONTROL_SCHEMA, Dialect, TENANT};
use crate::tenant::{DEPLOYMENT, Stored};

/// How often progress is told.
const TOLD: Duration = Duration::from_secs(1);

/// What is wanted of a backup.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// One organization alone.
    pub only: Option<TenantId>,
    /// The database that it is to go to.
    pub dialect: Dialect,
}

/// What a backup has of one tenant.
#[derive(Debug)]
pub struct Found {
    /// Whose.
    pub id: TenantId,
    /// Its short name.
    pub slug: String,
    /// Its row of the control database, as it was at the moment of its snapshot.
    pub stored: Stored,
    /// The check value of the key that its database was written with.
    pub key_check: Vec<u8>,
    /// How many lives its log had.
    pub lives: usize,
    /// How many entries its log had.
    pub size: u64,
    /// Rows and files.
    pub rows: u64,
    /// The same.
    pub files: u64,
}

/// What a backup has.
#[derive(Debug)]
pub struct Checked {
    /// The row of the control database that says which deployment it is.
    pub deployment: Stored,
    /// The tenants' rows of the control database at the end of the backup, which one organization's does not have.
    pub rows: BTreeMap<TenantId, Stored>,
    /// Each tenant that is wanted.
    pub found: Vec<Found>,
}

/// What is read of a file on the way.
struct Looking<'a> {
    backup: &'a Backup,
    file: String,
    frames: Frames<Text>,
    told: Instant,
    bytes: u64,
}

impl<'a> Looking<'a> {
    fn begin(backup: &'a Backup, file: &str) -> Result<Self, BackupError> {
        Ok(Self {
            backup,
            file: file.to_owned(),
            frames: backup.frames(file)?,
            told: Instant::now(),
            bytes: 0,
        })
    }

    fn next(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<Frame, BackupError> {
        let frame = self.frames.next();
        let frame = frame.map_err(|cause| BackupError::altered(&self.file, cause))?;
        if self.told.elapsed() >= TOLD {
            self.told = Instant::now();
            self.bytes = self.frames.position();
            progress(Progress::Checked {
                file: self.file.clone(),
                bytes: self.bytes,
            });
        }
        Ok(frame)
    }

    fn end(self) -> Result<(), BackupError> {
        self.backup.check_read(&self.file, self.frames.into_inner())
    }
}

impl Frames<Text> {
    fn position(&self) -> u64 {
        self.from().position()
    }
}

impl Backup {
    /// Reads all that is wanted of it, and all that says what that is.
    ///
    /// # Errors
    /// A file that is not what was written, or one that cannot go where it is to go.
    pub fn check(
        &self,
        wanted: Wanted,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Checked, BackupError> {
        let (deployment, rows) = self.check_control(progress)?;
        self.check_keyring()?;
        let mut found = Vec::new();
        for (id, slug) in self.tenants() {
            if wanted.only.is_none_or(|only| only == id) {
                found.push(self.check_tenant((id, slug), wanted.dialect, progress)?);
            }
        }
        Ok(Checked {
            deployment,
            rows,
            found,
        })
    }

    fn check_version(&self, file: &str, known: i64) -> Result<(), BackupError> {
        let found = self.version(file);
        if found > known {
            return Err(BackupError::Unfit(format!(
                "the backup was made by a newer program (its `{file}` is at version {found}, and this program knows \
                 {known}): run that one"
            )));
        }
        Ok(())
    }

    fn check_control(
        &self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Stored, BTreeMap<TenantId, Stored>), BackupError> {
        self.check_version(CONTROL, newest(CONTROL_SCHEMA))?;
        let (mut deployment, mut rows) = (None, BTreeMap::new());
        let mut looking = Looking::begin(self, CONTROL)?;
        let mut of: Option<Table> = None;
        loop {
            match looking.next(progress)? {
                Frame::Table { table, .. } => of = Some(table),
                Frame::Row(row) => {
                    let Some(table) = of.clone() else { continue };
                    match table.name.as_str() {
                        DEPLOYMENT => deployment = Some(Stored { table, row }),
                        "tenant" => {
                            let id = text(&table, &row, "id").and_then(|id| id.parse().ok());
                            let id = id.ok_or_else(|| {
                                BackupError::altered(CONTROL, "a tenant without an id")
                            })?;
                            rows.insert(id, Stored { table, row });
                        }
                        _ => {}
                    }
                }
                Frame::End { .. } => break,
                Frame::File { .. } | Frame::Piece(_) => {}
            }
        }
        looking.end()?;
        let none = || BackupError::altered(CONTROL, "it names no deployment");
        Ok((deployment.ok_or_else(none)?, rows))
    }

    fn check_tenant(
        &self,
        (id, slug): (TenantId, &str),
        dialect: Dialect,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Found, BackupError> {
        let name = id.to_string();
        self.check_version(&name, newest(TENANT))?;
        let known = tables(up_to(TENANT, self.version(&name)), dialect);
        let elsewhere = |what: &str| {
            BackupError::Unfit(format!(
                "`{slug}` has {what} in the backup, which was taken on {}, and the other database cannot take that: put it \
                 back where it came from",
                self.dialect()
            ))
        };
        let mut looking = Looking::begin(self, &name)?;
        let (mut stored, mut key_check, mut size, mut lives) = (None, None, 0, 0);
        let (mut of, mut rows, mut files) = (None, 0, 0);
        loop {
            match looking.next(progress)? {
                Frame::Table { control, table } => of = Some((control, table)),
                Frame::Row(row) => {
                    let Some((control, table)) = &of else {
                        continue;
                    };
                    if *control {
                        let table = table.clone();
                        stored = Some(Stored { table, row });
                        continue;
                    }
                    rows += 1;
                    if !known.contains(&table.name.as_str()) {
                        return Err(elsewhere(&format!("rows of `{}`", table.name)));
                    }
                    match table.name.as_str() {
                        "tenant" if text(table, &row, "id") == Some(&name) => {
                            key_check = bytes(table, &row, "key_check").map(<[u8]>::to_vec);
                        }
                        "head" => {
                            size = number(table, &row, "size").unwrap_or_default();
                        }
                        "life" => lives += 1,
                        _ => {}
                    }
                }
                Frame::File { name: file } => {
                    files += 1;
                    if dialect == Dialect::Postgres {
                        return Err(elsewhere("content"));
                    }
                    if below(std::path::Path::new(""), &file).is_none() {
                        return Err(BackupError::altered(&name, "a file that lies nowhere"));
                    }
                }
                Frame::Piece(_) => {}
                Frame::End { .. } => break,
            }
        }
        looking.end()?;
        let wrong = |why| BackupError::altered(&name, why);
        Ok(Found {
            id,
            slug: slug.to_owned(),
            stored: stored.ok_or_else(|| wrong("it has no key"))?,
            key_check: key_check.ok_or_else(|| wrong("it is another organization's, or none's"))?,
            lives,
            size: u64::try_from(size).map_err(|_| wrong("its log has no length"))?,
            rows,
            files,
        })
    }

    /// Which of these people a tenant's database in the backup still has the keys of: whoever was erased after it was taken.
    ///
    /// # Errors
    /// The file is not what was written.
    pub fn keyed(
        &self,
        id: TenantId,
        people: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, BackupError> {
        let mut found = BTreeSet::new();
        if people.is_empty() {
            return Ok(found);
        }
        let mut looking = Looking::begin(self, &id.to_string())?;
        let mut of: Option<Table> = None;
        loop {
            match looking.next(&mut |_| {})? {
                Frame::Table { table, .. } => of = Some(table),
                Frame::Row(row) => {
                    let key = of.as_ref().and_then(|table| subject(table, &row));
                    found.extend(key.filter(|key| people.contains(*key)).map(str::to_owned));
                }
                // All of it, so that its end was seen.
                Frame::End { .. } => break,
                Frame::File { .. } | Frame::Piece(_) => {}
            }
        }
        looking.end()?;
        Ok(found)
    }

    /// Whether there is a keyring in it.
    #[must_use]
    pub fn has_keyring(&self) -> bool {
        self.has(KEYRING)
    }
}

/// Whose key a row is.
pub(super) fn subject<'a>(table: &Table, row: &'a [Cell]) -> Option<&'a str> {
    (table.name == "subject_key").then(|| text(table, row, "subject"))?
}

fn cell<'a>(table: &Table, row: &'a [Cell], name: &str) -> Option<&'a Cell> {
    row.get(table.place(name)?)
}

pub(super) fn text<'a>(table: &Table, row: &'a [Cell], name: &str) -> Option<&'a str> {
    match cell(table, row, name)? {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

pub(super) fn bytes<'a>(table: &Table, row: &'a [Cell], name: &str) -> Option<&'a [u8]> {
    match cell(table, row, name)? {
        Cell::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn number(table: &Table, row: &[Cell], name: &str) -> Option<i64> {
    match cell(table, row, name)? {
        Cell::Number(number) => Some(*number),
        _ => None,
    }
}
