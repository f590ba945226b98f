//! The local keyring: root keys in one file that only its owner can read.
//!
//! ```text
//! # a remark
//! cedarkeep-keyring 1
//! root <version> <64 hexadecimal digits> <check value, 16 hexadecimal digits>
//! end <number of roots>
//! ```

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustix::fs::{FlockOperation, Mode, OFlags};
use zeroize::Zeroizing;

use super::CryptoError;
use super::cobblestone::Salt;
use super::hierarchy::{CheckValue, Wrapped};
use super::private_file::{self, Unfit};
use super::provider::Under;
use super::sealing::{Binding, DataKey, DataKeys, Purpose};
use super::secret::{Secret32, same};

const REMARK: &str = "# Cedarkeep's root keys. Without this file the data is lost; with it and the data, all can be read.\n\
                      # Keep a copy, away from the backups of the database.\n";
const MAGIC: &str = "cedarkeep-keyring 1";
/// Some hundred root keys. Longer is no keyring.
const MAX_BYTES: u16 = u16::MAX;

/// Whether there is anything that an earlier keyring must open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Nothing yet: a missing keyring is a first start.
    Empty,
    /// Something: a missing keyring is a loss.
    HasData,
}

/// The root keys of a deployment, or of a tenant that brings its own.
#[derive(Debug)]
pub struct Keyring {
    path: PathBuf,
    // INVARIANT: of the purpose `TenantWrap`, and what the file holds.
    roots: DataKeys,
}

impl Keyring {
    /// Reads a keyring.
    ///
    /// # Errors
    /// One of `CryptoError::Keyring*`: missing, not a plain file, open to others, of another owner, damaged.
    pub fn open(path: &Path) -> Result<Self, CryptoError> {
        let text = read(path)?;
        let roots = parse(&text).map_err(|why| CryptoError::KeyringDamaged {
            path: path.to_owned(),
            why,
        })?;
        Ok(Self {
            path: path.to_owned(),
            roots,
        })
    }

    /// Reads a keyring, or makes it at a first start, with its folder if need be. It never makes one over data.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn open_or_create(path: &Path, store: Store) -> Result<Self, CryptoError> {
        match (Self::open(path), store) {
            (Err(CryptoError::KeyringMissing(_)), Store::Empty) => Self::create(path),
            (opened, _) => opened,
        }
    }

    /// Puts a keyring that was kept elsewhere where there is none.
    ///
    /// # Errors
    /// [`CryptoError::KeyringIo`]: it is there already, or the disk; [`CryptoError::KeyringDamaged`]: it is none.
    pub fn put(path: &Path, text: &[u8]) -> Result<Self, CryptoError> {
        let roots = parse(text).map_err(|why| CryptoError::KeyringDamaged {
            path: path.to_owned(),
            why,
        })?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder(path))
            .map_err(|source| io("make the folder of", path, source))?;
        let lock = Lock::take(path)?;
        match Self::open(path) {
            Err(CryptoError::KeyringMissing(_)) => {}
            Err(error) => return Err(error),
            Ok(_) => {
                return Err(io(
                    "replace",
                    path,
                    std::io::ErrorKind::AlreadyExists.into(),
                ));
            }
        }
        lock.write(path, &encode(&roots), Old::Kept)?;
        Self::open(path)
    }

    /// The root keys.
    #[must_use]
    pub fn roots(&self) -> &DataKeys {
        &self.roots
    }

    /// Adds a new root key, which wraps from now on, and returns its version.
    ///
    /// # Errors
    /// [`CryptoError::KeyringChanged`], [`CryptoError::KeyringIo`]; what this process holds is then as before.
    pub fn add_root(&mut self) -> Result<u32, CryptoError> {
        let newest = self.roots.newest().version;
        let purpose = Purpose::TenantWrap;
        let version = newest.checked_add(1).ok_or(CryptoError::BadVersion {
            purpose,
            version: newest,
        })?;
        let add = |roots: &mut DataKeys| roots.add(DataKey::random(purpose, version)?);
        self.replace(Old::Kept, add)?;
        Ok(version)
    }

    /// Takes older root keys out of the file, those before this version: what is still wrapped under them, here and in backups of the
    /// database, is lost as soon as no copy of the old file is left. The old file is overwritten in place once the new one is there; a
    /// file system that copies on write, a snapshot or the flash beneath it may keep its content nevertheless.
    ///
    /// # Errors
    /// [`CryptoError::LastVersion`] for one after the newest; as [`Keyring::add_root`].
    pub fn destroy_roots_before(&mut self, version: u32) -> Result<(), CryptoError> {
        let purpose = Purpose::TenantWrap;
        if version > self.roots.newest().version {
            return Err(CryptoError::LastVersion(purpose));
        }
        let older: Vec<u32> = self.roots.iter().map(|root| root.version).collect();
        let older = older.into_iter().filter(|other| *other < version);
        let older: Vec<u32> = older.collect();
        if older.is_empty() {
            return Ok(());
        }
        self.replace(Old::Overwritten, |roots| {
            older.iter().try_for_each(|version| roots.remove(*version))
        })
    }

    /// The same for one older root key.
    ///
    /// # Errors
    /// [`CryptoError::LastVersion`], [`CryptoError::UnknownVersion`]; as [`Keyring::add_root`].
    pub fn destroy_root(&mut self, version: u32) -> Result<(), CryptoError> {
        self.replace(Old::Overwritten, |roots| roots.remove(version))
    }

    pub(super) fn wrap(
        &self,
        tenant: &str,
        key: &DataKey,
        under: Under,
    ) -> Result<Wrapped, CryptoError> {
        let version = match under {
            Under::Newest => self.roots.newest().version,
            Under::Version(version) => version,
        };
        let binding = tenant_binding(tenant, key.version);
        let sealed =
            self.roots
                .seal_under(version, &binding, Salt::random()?, key.secret.expose())?;
        Ok(Wrapped {
            sealed,
            check: CheckValue::of(key),
        })
    }

    pub(super) fn unwrap_key(
        &self,
        tenant: &str,
        version: u32,
        wrapped: &Wrapped,
    ) -> Result<DataKey, CryptoError> {
        self.roots.unwrap_key(
            &tenant_binding(tenant, version),
            Purpose::DataWrap,
            version,
            wrapped,
        )
    }

    fn create(path: &Path) -> Result<Self, CryptoError> {
        let folder = folder(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| io("make the folder of", path, source))?;
        let lock = Lock::take(path)?;
        // Another process may have come first, between our look and our lock.
        match Self::open(path) {
            Err(CryptoError::KeyringMissing(_)) => {}
            other => return other,
        }
        let roots = DataKeys::new(DataKey::random(Purpose::TenantWrap, 1)?)?;
        lock.write(path, &encode(&roots), Old::Kept)?;
        Ok(Self {
            path: path.to_owned(),
            roots,
        })
    }

    /// Changes a copy of what is in the file, writes it, and only then goes over to it.
    fn replace(
        &mut self,
        old: Old,
        change: impl FnOnce(&mut DataKeys) -> Result<(), CryptoError>,
    ) -> Result<(), CryptoError> {
        let lock = Lock::take(&self.path)?;
        let mut current = Self::open(&self.path)?;
        if !same(
            encode(&current.roots).as_bytes(),
            encode(&self.roots).as_bytes(),
        ) {
            return Err(CryptoError::KeyringChanged(self.path.clone()));
        }
        change(&mut current.roots)?;
        lock.write(&self.path, &encode(&current.roots), old)?;
        self.roots = current.roots;
        Ok(())
    }
}

/// What becomes of the content that a keyring had before.
#[derive(Debug, Clone, Copy)]
enum Old {
    /// All of it is in the new one.
    Kept,
    /// It has a key that is to be gone.
    Overwritten,
}

/// The folder, locked against other processes that would write a keyring in it.
struct Lock {
    folder: File,
}

impl Lock {
    fn take(path: &Path) -> Result<Self, CryptoError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder(path), flags, Mode::empty())
            .map_err(|errno| io("open the folder of", path, errno.into()))?;
        rustix::fs::flock(&folder, FlockOperation::LockExclusive)
            .map_err(|errno| io("lock the folder of", path, errno.into()))?;
        Ok(Self {
            folder: folder.into(),
        })
    }

    /// Puts the text in the file's place at once and for good: at any moment there is the old one or the new one.
    fn write(&self, path: &Path, text: &str, old: Old) -> Result<(), CryptoError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let fresh = path.with_file_name(name);
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match old {
            Old::Kept => None,
            Old::Overwritten => Some(rustix::fs::open(path, flags, Mode::empty())),
        };
        let opened = opened.transpose();
        let opened = opened.map_err(|errno| io("open", path, errno.into()))?;
        // What a crash left behind. Nobody else writes here while the lock is held.
        remove(&fresh).map_err(|source| io("clear the way for", path, source))?;
        let written = self.write_through(&fresh, path, text);
        if written.is_err() {
            // The first error is the one to tell; this one would only repeat it.
            drop(remove(&fresh));
        }
        written.map_err(|source| io("write", path, source))?;
        opened.map(File::from).map_or(Ok(()), |old| {
            overwrite(&old).map_err(|source| io("overwrite the old content of", path, source))
        })
    }

    fn write_through(&self, fresh: &Path, path: &Path, text: &str) -> std::io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(rustix::fs::open(fresh, flags, mode)?);
        // Whatever the umask made of it.
        rustix::fs::fchmod(&file, mode)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(fresh, path)?;
        self.folder.sync_all()
    }
}

/// Nulls over a file that has no name any more.
fn overwrite(mut old: &File) -> std::io::Result<()> {
    let length = old.metadata()?.len().min(MAX_BYTES.into());
    let nothing = vec![0; usize::try_from(length).unwrap_or_default()];
    old.write_all(&nothing)?;
    old.sync_all()
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The place of a tenant key, whoever wraps it.
pub(super) fn tenant_binding(tenant: &str, version: u32) -> Binding<'_> {
    Binding {
        tenant,
        incarnation: "",
        table: "tenants",
        column: "key",
        row: tenant,
        row_version: u64::from(version),
    }
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> CryptoError {
    CryptoError::KeyringIo {
        action,
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let here = || path.to_owned();
    private_file::read(path, MAX_BYTES).map_err(|unfit| match unfit {
        Unfit::Missing => CryptoError::KeyringMissing(here()),
        Unfit::NotAFile => CryptoError::KeyringNotAFile(here()),
        Unfit::Owner { owner, user } => CryptoError::KeyringOwner {
            path: here(),
            owner,
            user,
        },
        Unfit::Mode(mode) => CryptoError::KeyringMode { path: here(), mode },
        Unfit::Io { action, source } => io(action, path, source),
    })
}

/// The reason, in an error, names no content.
fn parse(text: &[u8]) -> Result<DataKeys, String> {
    if text.len() > usize::from(MAX_BYTES) {
        return Err("it is too long".to_owned());
    }
    let text = std::str::from_utf8(text).map_err(|_| "it is not text".to_owned())?;
    if !text.ends_with('\n') {
        return Err("its last line is cut".to_owned());
    }
    let mut lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.starts_with('#'));
    if lines.next().is_none_or(|(_, line)| line != MAGIC) {
        return Err(format!("it does not start with `{MAGIC}`"));
    }
    let mut roots: Option<DataKeys> = None;
    for (number, line) in &mut lines {
        let at = |why: &str| format!("line {number} {why}");
        let mut words = line.split(' ');
        match (
            words.next(),
            words.next(),
            words.next(),
            words.next(),
            words.next(),
        ) {
            (Some("root"), Some(version), Some(key), Some(check), None) => {
                let key = parse_root(version, key, check).map_err(at)?;
                let added = match &mut roots {
                    None => DataKeys::new(key).map(|first| roots = Some(first)),
                    Some(roots) => roots.add(key),
                };
                added.map_err(|error| at(&format!("is refused: {error}")))?;
            }
            (Some("end"), Some(count), None, None, None) => {
                let roots = roots.ok_or_else(|| at("ends a list of no root key"))?;
                if count != roots.iter().count().to_string() {
                    return Err(at("counts other root keys than there are"));
                }
                return match lines.next() {
                    None => Ok(roots),
                    Some((number, _)) => Err(format!("line {number} stands behind the end")),
                };
            }
            _ => return Err(at("is neither `root VERSION KEY CHECK` nor `end COUNT`")),
        }
    }
    Err("its end is missing".to_owned())
}

fn parse_root(version: &str, key: &str, check: &str) -> Result<DataKey, &'static str> {
    let version = version.parse().map_err(|_| "has no version")?;
    let bytes = Zeroizing::new(
        HEXLOWER
            .decode(key.as_bytes())
            .map_err(|_| "has a key that is not hexadecimal")?,
    );
    let secret = Secret32::from_slice(&bytes).map_err(|_| "has a key of a wrong length")?;
    let key = DataKey {
        purpose: Purpose::TenantWrap,
        version,
        secret,
    };
    let check = HEXLOWER
        .decode(check.as_bytes())
        .map_err(|_| "has a check value that is not hexadecimal")?;
    let check =
        CheckValue::from_slice(&check).map_err(|_| "has a check value of a wrong length")?;
    check
        .verify(&key)
        .map_err(|_| "has a key that does not match its check value")?;
    Ok(key)
}

fn encode(roots: &DataKeys) -> Zeroizing<String> {
    let count = roots.iter().count();
    let mut text = Zeroizing::new(String::with_capacity(512 + count * 128));
    text.push_str(REMARK);
    text.push_str(MAGIC);
    text.push('\n');
    for root in roots.iter() {
        text.push_str("root ");
        text.push_str(&root.version.to_string());
        text.push(' ');
        HEXLOWER.encode_append(root.secret.expose(), &mut text);
        text.push(' ');
        HEXLOWER.encode_append(CheckValue::of(root).as_bytes(), &mut text);
        text.push('\n');
    }
    text.push_str("end ");
    text.push_str(&count.to_string());
    text.push('\n');
    text
}
