//! The folder that a backup is: its files, the keys that they are sealed under, and what says that nothing is missing.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::BackupError;
use super::frames::Frames;
use super::sealed::{Lying, Text, Writing};
use crate::crypto::cobblestone::Key;
use crate::crypto::hierarchy::{CheckValue, Wrapped};
use crate::crypto::provider::{Provider, Under};
use crate::crypto::sealing::{DataKey, Purpose};
use crate::ids;

/// The first words of every backup.
const FORMAT: &str = "cedarkeep-backup 1";
const HEADER: &str = "backup.json";
const CONTENTS: &str = "contents";
/// The file with the control database.
pub(super) const CONTROL: &str = "control";
/// The file with the keyring, sealed under the recovery key alone.
pub(super) const KEYRING: &str = "keyring";

/// A header is a few hundred bytes; longer is none.
const HEADER_LIMIT: u64 = 1 << 16;
/// What `contents` may take in memory: a line for each organization.
const CONTENTS_LIMIT: u64 = 1 << 26;

/// Where the keys come from that open a backup: the deployment's root, and a recovery key apart from it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sealers<'a> {
    /// The deployment's root.
    pub root: Option<&'a Provider>,
    /// A key that is kept apart from the machine.
    pub recovery: Option<&'a Provider>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    key: String,
    check: String,
}

impl Lock {
    fn of(wrapped: &Wrapped) -> Self {
        Self {
            key: BASE64.encode(&wrapped.sealed),
            check: HEXLOWER.encode(wrapped.check.as_bytes()),
        }
    }

    fn wrapped(&self) -> Option<Wrapped> {
        let sealed = BASE64.decode(self.key.as_bytes()).ok()?;
        let check = HEXLOWER.decode(self.check.as_bytes()).ok()?;
        let check = CheckValue::from_slice(&check).ok()?;
        Some(Wrapped { sealed, check })
    }
}

/// What is said in the clear.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    id: String,
    created_at: String,
    root: Lock,
    recovery: Option<Lock>,
    keyring: Option<Lock>,
}

/// A file of a backup, as `contents` tells of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    bytes: u64,
    sha256: String,
    /// Of an organization: its short name.
    slug: Option<String>,
    /// Of a database: the version of its schema.
    version: i64,
}

/// What a backup holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    deployment: String,
    dialect: String,
    whole: bool,
    files: BTreeMap<String, Line>,
}

/// The one place where a backup's keys are wrapped and opened.
async fn wrap(provider: &Provider, id: &str, key: &DataKey) -> Result<Lock, BackupError> {
    Ok(Lock::of(&provider.wrap(id, key, Under::Newest).await?))
}

async fn unwrap(provider: &Provider, id: &str, wrapped: &Wrapped) -> Result<DataKey, BackupError> {
    let opened = provider.unwrap_key(id, 1, wrapped).await;
    opened.map_err(BackupError::WrongKeys)
}

/// What a file is bound to, each part behind its length.
fn context(id: &str, file: &str, header: &[u8]) -> Vec<u8> {
    let mut context = Vec::new();
    for part in [
        "cedarkeep/backup/1".as_bytes(),
        id.as_bytes(),
        file.as_bytes(),
        header,
    ] {
        context.extend_from_slice(&(part.len() as u64).to_be_bytes());
        context.extend_from_slice(part);
    }
    context
}

/// A backup's keys, wrapped by whoever is to open it.
pub(super) struct Locks {
    root: Lock,
    recovery: Option<Lock>,
    keyring: Option<Lock>,
}

/// A backup being written: under a name of its own beside its place, which it gets once it is whole.
pub(super) struct Making {
    id: String,
    part: PathBuf,
    whole: PathBuf,
    key: DataKey,
    cipher: Key,
    keyring: DataKey,
    contents: Contents,
    finished: bool,
}

impl Making {
    pub(super) fn begin(
        whole: &Path,
        (deployment, dialect): (&str, &str),
        is_whole: bool,
    ) -> Result<Self, BackupError> {
        refuse_existing(whole)?;
        let name = whole.file_name().ok_or_else(|| BackupError::NotABackup {
            path: whole.to_owned(),
            why: "it names no folder".into(),
        })?;
        let folder = parent(whole);
        if !folder.is_dir() {
            return Err(BackupError::NoFolder(folder.to_owned()));
        }
        let random: [u8; 16] = crate::crypto::random()?;
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".{}.part", ids::bare(&random)));
        let part = whole.with_file_name(part);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&part);
        made.map_err(|cause| BackupError::write(&part, cause))?;
        let key = DataKey::random(Purpose::DataWrap, 1)?;
        Ok(Self {
            id: ids::text("bak", &crate::crypto::random()?),
            part,
            whole: whole.to_owned(),
            cipher: Key::of(&key.secret),
            key,
            keyring: DataKey::random(Purpose::DataWrap, 1)?,
            contents: Contents {
                deployment: deployment.to_owned(),
                dialect: dialect.to_owned(),
                whole: is_whole,
                files: BTreeMap::new(),
            },
            finished: false,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Begins a file.
    pub(super) fn file(&self, name: &str) -> Result<Writing, BackupError> {
        Writing::begin(
            self.part.join(name),
            &self.cipher,
            &context(&self.id, name, &[]),
        )
    }

    /// Takes a file away again, if it was begun.
    pub(super) fn forget(&self, name: &str) -> Result<(), BackupError> {
        let path = self.part.join(name);
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                Err(BackupError::write(&path, cause))
            }
            _ => Ok(()),
        }
    }

    /// Notes a file that is written.
    pub(super) fn written(
        &mut self,
        name: &str,
        lying: &Lying,
        (slug, version): (Option<String>, i64),
    ) {
        let line = Line {
            bytes: lying.bytes,
            sha256: HEXLOWER.encode(&lying.sha256),
            slug,
            version,
        };
        self.contents.files.insert(name.to_owned(), line);
    }

    /// Takes the keyring along, for whoever has the recovery key.
    pub(super) fn keyring(&mut self, text: &[u8]) -> Result<(), BackupError> {
        let cipher = Key::of(&self.keyring.secret);
        let place = context(&self.id, KEYRING, &[]);
        let mut writing = Writing::begin(self.part.join(KEYRING), &cipher, &place)?;
        writing.push(text)?;
        let lying = writing.finish()?;
        self.written(KEYRING, &lying, (None, 0));
        Ok(())
    }

    /// Wraps the keys.
    pub(super) async fn locks(&self, sealers: Sealers<'_>) -> Result<Locks, BackupError> {
        let Some(root) = sealers.root else {
            return Err(BackupError::Unfit("a backup wants the root key".into()));
        };
        let recovery = match sealers.recovery {
            Some(provider) => Some(wrap(provider, &self.id, &self.key).await?),
            None => None,
        };
        let keyring = match sealers.recovery {
            Some(provider) if self.contents.files.contains_key(KEYRING) => {
                Some(wrap(provider, &keyring_id(&self.id), &self.keyring).await?)
            }
            _ => None,
        };
        Ok(Locks {
            root: wrap(root, &self.id, &self.key).await?,
            recovery,
            keyring,
        })
    }

    /// Says what there is and what opens it, and gives the folder its name; how many bytes it has.
    pub(super) fn finish(mut self, created_at: &str, locks: Locks) -> Result<u64, BackupError> {
        let header = Header {
            format: FORMAT.into(),
            id: self.id.clone(),
            created_at: created_at.to_owned(),
            root: locks.root,
            recovery: locks.recovery,
            keyring: locks.keyring,
        };
        let unwritable = |cause: serde_json::Error| BackupError::write(&self.part, cause.into());
        let header = serde_json::to_vec_pretty(&header).map_err(unwritable)?;
        let contents = serde_json::to_vec(&self.contents).map_err(unwritable)?;
        let place = context(&self.id, CONTENTS, &Sha256::digest(&header));
        let mut writing = Writing::begin(self.part.join(CONTENTS), &self.cipher, &place)?;
        writing.push(&contents)?;
        let lying = writing.finish()?;
        let path = self.part.join(HEADER);
        let written = std::fs::write(&path, &header)
            .and_then(|()| File::open(&path)?.sync_all())
            .and_then(|()| File::open(&self.part)?.sync_all());
        written.map_err(|cause| BackupError::write(&path, cause))?;
        refuse_existing(&self.whole)?;
        let renamed = std::fs::rename(&self.part, &self.whole)
            .and_then(|()| File::open(parent(&self.whole))?.sync_all());
        renamed.map_err(|cause| BackupError::write(&self.whole, cause))?;
        self.finished = true;
        let files = self.contents.files.values().map(|line| line.bytes);
        Ok(files.sum::<u64>() + lying.bytes + header.len() as u64)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.finished {
            // If it cannot be removed, its name says that it is not whole.
            drop(std::fs::remove_dir_all(&self.part));
        }
    }
}

fn keyring_id(id: &str) -> String {
    format!("{id}/{KEYRING}")
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn refuse_existing(path: &Path) -> Result<(), BackupError> {
    match path.symlink_metadata() {
        Ok(_) => Err(BackupError::There(path.to_owned())),
        Err(_) => Ok(()),
    }
}

/// A backup whose keys and contents opened; its files are read when they are wanted.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    header: Header,
    contents: Contents,
    cipher: Key,
}

impl Backup {
    /// Opens a backup by whichever key opens it.
    ///
    /// # Errors
    /// No backup, no key that opens it, or one whose header, contents or list of files is not what was written.
    pub async fn open(path: &Path, sealers: Sealers<'_>) -> Result<Self, BackupError> {
        let (header, bytes) = header(path)?;
        let mut error = None;
        let mut key = None;
        for (provider, lock) in [
            (sealers.root, Some(&header.root)),
            (sealers.recovery, header.recovery.as_ref()),
        ] {
            let (Some(provider), Some(lock), None) = (provider, lock, &key) else {
                continue;
            };
            let wrapped = lock
                .wrapped()
                .ok_or_else(|| BackupError::altered(HEADER, "a key that is none"))?;
            match unwrap(provider, &header.id, &wrapped).await {
                Ok(opened) => key = Some(opened),
                Err(cause) => error = error.or(Some(cause)),
            }
        }
        let Some(key) = key else {
            let none = crate::crypto::CryptoError::DoesNotOpen;
            return Err(error.unwrap_or(BackupError::WrongKeys(none)));
        };
        let cipher = Key::of(&key.secret);
        let place = context(&header.id, CONTENTS, &Sha256::digest(&bytes));
        let contents = whole_text(&path.join(CONTENTS), CONTENTS, &cipher, &place)?;
        let contents: Contents = serde_json::from_slice(&contents)
            .map_err(|cause| BackupError::altered(CONTENTS, cause))?;
        let backup = Self {
            path: path.to_owned(),
            header,
            contents,
            cipher,
        };
        backup.check_files()?;
        Ok(backup)
    }

    /// The keyring that was taken along, for whoever has the recovery key.
    ///
    /// # Errors
    /// It is not the key, or the file is not what was written. Nothing: none was taken along.
    pub async fn keyring(
        path: &Path,
        recovery: &Provider,
    ) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, BackupError> {
        let (header, _) = header(path)?;
        let Some(lock) = &header.keyring else {
            return Ok(None);
        };
        let wrapped = lock
            .wrapped()
            .ok_or_else(|| BackupError::altered(HEADER, "a key that is none"))?;
        let key = unwrap(recovery, &keyring_id(&header.id), &wrapped).await?;
        let place = context(&header.id, KEYRING, &[]);
        let text = whole_text(&path.join(KEYRING), KEYRING, &Key::of(&key.secret), &place)?;
        Ok(Some(text))
    }

    /// Nothing is missing, nothing is longer or shorter than it was, and nothing is there that was not written.
    fn check_files(&self) -> Result<(), BackupError> {
        let unreadable = |cause| BackupError::read(&self.path, cause);
        let mut missing: BTreeMap<&str, u64> = self
            .contents
            .files
            .iter()
            .map(|(name, line)| (name.as_str(), line.bytes))
            .collect();
        for entry in std::fs::read_dir(&self.path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == HEADER || name == CONTENTS {
                continue;
            }
            let about = entry.metadata().map_err(unreadable)?;
            match missing.remove(name.as_str()) {
                Some(bytes) if about.is_file() && about.len() == bytes => {}
                Some(_) => return Err(BackupError::altered(&name, "its length is another")),
                None => return Err(BackupError::altered(&name, "it is not of this backup")),
            }
        }
        match missing.into_keys().next() {
            Some(name) => Err(BackupError::altered(name, "it is missing")),
            None => Ok(()),
        }
    }

    /// Its random name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.header.id
    }

    /// When it was begun.
    #[must_use]
    pub fn created_at(&self) -> &str {
        &self.header.created_at
    }

    /// The name of the deployment.
    #[must_use]
    pub fn deployment(&self) -> &str {
        &self.contents.deployment
    }

    /// Which database it was taken of.
    #[must_use]
    pub fn dialect(&self) -> &str {
        &self.contents.dialect
    }

    /// Whether it is of everything that there was.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.contents.whole
    }

    /// The version of the schema of a file's database.
    pub(super) fn version(&self, file: &str) -> i64 {
        self.contents.files.get(file).map_or(0, |line| line.version)
    }

    /// Whether the keyring in it is the one that was written, whoever can open it.
    pub(super) fn check_keyring(&self) -> Result<(), BackupError> {
        let Some(line) = self.contents.files.get(KEYRING) else {
            return Ok(());
        };
        let path = self.path.join(KEYRING);
        let bytes = std::fs::read(&path).map_err(|cause| BackupError::read(&path, cause))?;
        match HEXLOWER.encode(&Sha256::digest(&bytes)) == line.sha256 {
            true => Ok(()),
            false => Err(BackupError::altered(KEYRING, "its hash is another")),
        }
    }

    /// Whether it has a file of that name.
    pub(super) fn has(&self, file: &str) -> bool {
        self.contents.files.contains_key(file)
    }

    /// Each tenant with its short name.
    pub fn tenants(&self) -> impl Iterator<Item = (ids::TenantId, &str)> {
        self.contents
            .files
            .iter()
            .filter_map(|(name, line)| Some((name.parse().ok()?, line.slug.as_deref()?)))
    }

    /// How many bytes its files have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.contents.files.values().map(|line| line.bytes).sum()
    }

    /// Reads a file.
    pub(super) fn frames(&self, file: &str) -> Result<Frames<Text>, BackupError> {
        let place = context(&self.header.id, file, &[]);
        let text = Text::open(&self.path.join(file), &self.cipher, &place);
        let text = text.map_err(|error| match error {
            BackupError::Crypto(error) => BackupError::altered(file, error),
            error => error,
        })?;
        Ok(Frames::of(text))
    }

    /// Whether a file that was read to its end is the one that was written.
    pub(super) fn check_read(&self, file: &str, text: Text) -> Result<(), BackupError> {
        let is = |line: &Line, lying: &Lying| {
            line.bytes == lying.bytes && line.sha256 == HEXLOWER.encode(&lying.sha256)
        };
        match (self.contents.files.get(file), text.lying()) {
            (Some(line), Some(lying)) if is(line, &lying) => Ok(()),
            _ => Err(BackupError::altered(file, "its hash is another")),
        }
    }
}

fn header(path: &Path) -> Result<(Header, Vec<u8>), BackupError> {
    let not = |why: String| BackupError::NotABackup {
        path: path.to_owned(),
        why,
    };
    let file = path.join(HEADER);
    let about = std::fs::metadata(&file).map_err(|cause| {
        not(format!(
            "it has no `{HEADER}` ({cause}), or was never finished"
        ))
    })?;
    if about.len() > HEADER_LIMIT {
        return Err(not(format!("its `{HEADER}` is too long")));
    }
    let bytes = std::fs::read(&file).map_err(|cause| BackupError::read(&file, cause))?;
    let header: Header = serde_json::from_slice(&bytes)
        .map_err(|cause| not(format!("its `{HEADER}` cannot be read: {cause}")))?;
    if header.format != FORMAT {
        return Err(not(
            "its format is another: run the program that made it, or a newer one".into(),
        ));
    }
    Ok((header, bytes))
}

/// The text of a short file.
fn whole_text(
    path: &Path,
    name: &str,
    key: &Key,
    context: &[u8],
) -> Result<zeroize::Zeroizing<Vec<u8>>, BackupError> {
    use std::io::Read as _;
    let mut text = zeroize::Zeroizing::new(Vec::new());
    let read = Text::open(path, key, context).and_then(|opened| {
        opened
            .take(CONTENTS_LIMIT)
            .read_to_end(&mut text)
            .map_err(|cause| BackupError::read(path, cause))
    });
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(BackupError::altered(name, print(&error))),
    }
}

fn print(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    if let Some(cause) = error.source() {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}
