//! The ledger of erasures: who was erased and which organizations were closed, kept where no restore of a backup reaches.
//!
//! It lies in a file of each node and in the control database; each has what the other has. A line has random ids alone: the tenant, the
//! person (`-` for the organization itself), and the time, sealed under a key that only the deployment has, so that nobody else adds one. It is
//! never another: no rotation reaches the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::BASE64;
use sqlx::Row as _;

use super::control::Control;
use super::{DEPLOYMENT, TenantError};
use crate::crypto::cobblestone::Salt;
use crate::crypto::sealing::Binding;
use crate::ids::TenantId;

const ADD: &str = "INSERT INTO erased (tenant, subject, sealed) VALUES ($1, $2, $3) ON CONFLICT (tenant, subject) DO NOTHING";
const PAGE: &str = "SELECT tenant, subject, sealed FROM erased WHERE (tenant, subject) > ($1, $2) ORDER BY tenant, subject LIMIT 1000";

/// What a line says instead of a person where it is of the organization.
const EVERYTHING: &str = "-";

/// Whom a line is of: the tenant, and the person, or nobody where it is of the organization itself.
type Whom = (String, String);

/// The ledger of a deployment, as one node keeps it.
#[derive(Debug)]
pub struct Ledger {
    control: Arc<Control>,
    path: PathBuf,
    noted: Mutex<BTreeSet<Whom>>,
}

/// Says that a tenant's closing is in the ledger: only then may it be taken away.
#[derive(Debug)]
pub struct Noted(TenantId);

impl Noted {
    /// Whose.
    pub(super) const fn tenant(&self) -> TenantId {
        self.0
    }
}

/// What the ledger says.
#[derive(Debug, Default)]
pub struct Known {
    /// Organizations that were closed.
    pub closed: BTreeSet<TenantId>,
    /// People who were erased, of each organization.
    pub people: BTreeMap<TenantId, BTreeSet<String>>,
}

impl Known {
    /// The people of an organization who were erased.
    #[must_use]
    pub fn people_of(&self, id: TenantId) -> BTreeSet<String> {
        self.people.get(&id).cloned().unwrap_or_default()
    }
}

impl Ledger {
    /// The ledger whose file lies there; nothing is read yet.
    #[must_use]
    pub const fn of(control: Arc<Control>, path: PathBuf) -> Self {
        Self {
            control,
            path,
            noted: Mutex::new(BTreeSet::new()),
        }
    }

    /// Notes that somebody was erased; one who is noted already is not noted again.
    ///
    /// # Errors
    /// The file or the control database does not take it: then it is not noted, and has to be tried again. `now`: microseconds since 1970.
    pub async fn erased(
        &self,
        tenant: TenantId,
        person: &str,
        now: i64,
    ) -> Result<(), TenantError> {
        self.note(tenant, person, now).await
    }

    /// Notes that an organization is closed and goes, before it does.
    ///
    /// # Errors
    /// The same.
    pub async fn closed(&self, tenant: TenantId, now: i64) -> Result<Noted, TenantError> {
        self.note(tenant, "", now).await?;
        Ok(Noted(tenant))
    }

    async fn note(&self, tenant: TenantId, subject: &str, now: i64) -> Result<(), TenantError> {
        let whom = (tenant.to_string(), subject.to_owned());
        if self.is_noted(&whom) {
            return Ok(());
        }
        let row = row_of(&whom);
        let sealed = self.control.own.load().ledger.seal(
            &binding(&row),
            Salt::random()?,
            now.to_string().as_bytes(),
        )?;
        let lines = BTreeMap::from([(whom.clone(), sealed)]);
        self.write(lines.clone()).await?;
        self.add(&lines).await?;
        self.remember([whom]);
        Ok(())
    }

    fn is_noted(&self, whom: &Whom) -> bool {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.contains(whom)
    }

    fn remember(&self, whom: impl IntoIterator<Item = Whom>) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.extend(whom);
    }

    /// Reads the ledger, and has the file and the control database know the same: also what copies of other nodes' files say.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that nobody here wrote: then what was erased is not known for certain.
    pub async fn settle(&self, more: &[PathBuf]) -> Result<Known, TenantError> {
        let own = self.read(&self.path, Absent::Nothing)?;
        let mut stored = BTreeMap::new();
        let mut after: Whom = Whom::default();
        loop {
            let error = |cause| self.control.database.error(cause);
            let rows = sqlx::query(PAGE)
                .bind(&after.0)
                .bind(&after.1)
                .fetch_all(self.control.database.pool())
                .await
                .map_err(error)?;
            for row in &rows {
                let whom: Whom = (
                    row.try_get("tenant").map_err(error)?,
                    row.try_get("subject").map_err(error)?,
                );
                let sealed: Vec<u8> = row.try_get("sealed").map_err(error)?;
                self.control
                    .own
                    .load()
                    .ledger
                    .open(&binding(&row_of(&whom)), &sealed)
                    .map_err(|_| TenantError::Corrupt {
                        what: "ledger of erasures",
                    })?;
                after.clone_from(&whom);
                stored.insert(whom, sealed);
            }
            if rows.is_empty() {
                break;
            }
        }
        let mut all = stored.clone();
        all.extend(own.clone());
        for path in more {
            all.extend(self.read(path, Absent::Wrong)?);
        }
        let missing = |known: &BTreeMap<Whom, Vec<u8>>| {
            let missing = all.iter().filter(|(whom, _)| !known.contains_key(*whom));
            missing
                .map(|(whom, sealed)| (whom.clone(), sealed.clone()))
                .collect::<BTreeMap<_, _>>()
        };
        self.write(missing(&own)).await?;
        self.add(&missing(&stored)).await?;
        let mut known = Known::default();
        for (tenant, subject) in all.keys() {
            let id: TenantId = tenant.parse().map_err(|_| TenantError::Corrupt {
                what: "ledger of erasures",
            })?;
            if subject.is_empty() {
                known.closed.insert(id);
            } else {
                known.people.entry(id).or_default().insert(subject.clone());
            }
        }
        self.remember(all.into_keys());
        Ok(known)
    }

    /// Lines for the control database; those that it has stay as they are.
    async fn add(&self, lines: &BTreeMap<Whom, Vec<u8>>) -> Result<(), TenantError> {
        let database = &self.control.database;
        for ((tenant, subject), sealed) in lines {
            sqlx::query(ADD)
                .bind(tenant)
                .bind(subject)
                .bind(sealed.as_slice())
                .execute(database.pool())
                .await
                .map_err(|cause| database.error(cause))?;
        }
        Ok(())
    }

    /// Lines for the file; when this returns the disk has them.
    async fn write(&self, lines: BTreeMap<Whom, Vec<u8>>) -> Result<(), TenantError> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || append(&path, &lines)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => Err(self.unfit(&self.path, format!("it cannot be written: {cause}"))),
            Err(_) => Err(self.unfit(&self.path, "it was not written".into())),
        }
    }

    fn read(&self, path: &Path, absent: Absent) -> Result<BTreeMap<Whom, Vec<u8>>, TenantError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(cause)
                if cause.kind() == std::io::ErrorKind::NotFound && absent == Absent::Nothing =>
            {
                return Ok(BTreeMap::new());
            }
            Err(cause) => return Err(self.unfit(path, cause.to_string())),
        };
        let mut lines = BTreeMap::new();
        // Whoever was killed in the middle of a line comes again: what has no end was never noted.
        for (at, line) in text.split_inclusive('\n').enumerate() {
            let Some(line) = line.strip_suffix('\n') else {
                break;
            };
            let wrong = || {
                let why = format!("line {} is not what was written", at + 1);
                self.unfit(path, why)
            };
            let mut words = line.split(' ');
            let (Some(tenant), Some(subject), Some(sealed), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(wrong());
            };
            let subject = if subject == EVERYTHING { "" } else { subject };
            let whom: Whom = (tenant.to_owned(), subject.to_owned());
            let sealed = BASE64.decode(sealed.as_bytes()).map_err(|_| wrong())?;
            let opened = self
                .control
                .own
                .load()
                .ledger
                .open(&binding(&row_of(&whom)), &sealed);
            opened.map_err(|_| wrong())?;
            lines.insert(whom, sealed);
        }
        Ok(lines)
    }

    fn unfit(&self, path: &Path, why: String) -> TenantError {
        TenantError::Ledger {
            path: path.to_owned(),
            why,
        }
    }
}

/// What a file that is not there means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    Nothing,
    Wrong,
}

fn row_of((tenant, subject): &Whom) -> String {
    format!("{tenant}/{subject}")
}

fn binding(row: &str) -> Binding<'_> {
    Binding {
        tenant: DEPLOYMENT,
        incarnation: "",
        table: "erased",
        column: "sealed",
        row,
        row_version: 0,
    }
}

/// Appends lines for good: two processes one after the other, and behind what somebody who was killed left whole.
fn append(path: &Path, lines: &BTreeMap<Whom, Vec<u8>>) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.lock()?;
    let mut before = Vec::new();
    file.read_to_end(&mut before)?;
    let whole = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    file.set_len(whole as u64)?;
    file.seek(SeekFrom::End(0))?;
    let mut text = String::new();
    for ((tenant, subject), sealed) in lines {
        let subject = if subject.is_empty() {
            EVERYTHING
        } else {
            subject
        };
        text.push_str(&format!("{tenant} {subject} {}\n", BASE64.encode(sealed)));
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}
