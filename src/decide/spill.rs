//! Where bodies of the directory lie that memory has no room for: a file that no name leads to, sealed under a key that this process alone
//! has, and that ends with it. It is no copy of anything: what it holds stands in the tenant's rows, and is read from there again at the
//! next opening.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::crypto::cobblestone::Salt;
use crate::crypto::sealing::{Binding, DataKey, DataKeys, Purpose};
use crate::directory::bodies::{Room, Spill, Spilled};
use crate::ids::TenantId;

/// Places are of so many bytes, or a multiple.
const GRAIN: usize = 64;

/// How much of a tenant's directory is held in memory, and where the rest goes.
#[derive(Debug, Clone)]
pub struct Spilling {
    /// The folder of the files, on a disk of this machine.
    pub dir: PathBuf,
    /// In bytes, for each tenant.
    pub most: u64,
}

impl Spilling {
    /// An empty room for a state of a tenant's.
    #[must_use]
    pub fn room(&self, tenant: TenantId) -> Room {
        let file = SpillFile {
            tenant: tenant.to_string(),
            dir: self.dir.clone(),
            sound: AtomicBool::new(true),
            warned: AtomicBool::new(false),
            open: Mutex::default(),
        };
        Room::of(self.most, Arc::new(Shared(Arc::new(file))))
    }
}

struct SpillFile {
    tenant: String,
    dir: PathBuf,
    sound: AtomicBool,
    /// That it takes nothing was said.
    warned: AtomicBool,
    /// Nothing before something is put there.
    open: Mutex<Option<Arc<Open>>>,
}

struct Open {
    file: File,
    keys: DataKeys,
    last: AtomicU64,
    places: Mutex<Places>,
}

/// Which places are taken.
#[derive(Default)]
struct Places {
    /// Those that are free, by their length.
    free: BTreeMap<usize, Vec<u64>>,
    end: u64,
}

struct Shared(Arc<SpillFile>);

/// A sealed body in the file.
struct Lying {
    spill: Arc<SpillFile>,
    open: Arc<Open>,
    number: u64,
    at: u64,
    length: usize,
}

impl Open {
    fn new(dir: &Path) -> io::Result<Self> {
        let key = DataKey::random(Purpose::Records, 1).and_then(DataKeys::new);
        Ok(Self {
            file: tempfile::tempfile_in(dir)?,
            keys: key.map_err(io::Error::other)?,
            last: AtomicU64::new(0),
            places: Mutex::default(),
        })
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn take(&mut self, length: usize) -> u64 {
        let room = length.next_multiple_of(GRAIN);
        let free = self.free.get_mut(&room).and_then(Vec::pop);
        free.unwrap_or_else(|| {
            let at = self.end;
            self.end = at.saturating_add(room as u64);
            at
        })
    }

    fn give_back(&mut self, at: u64, length: usize) {
        let room = length.next_multiple_of(GRAIN);
        self.free.entry(room).or_default().push(at);
    }
}

impl SpillFile {
    fn open(&self) -> io::Result<Arc<Open>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.as_ref() {
            return Ok(Arc::clone(open));
        }
        let new = Arc::new(Open::new(&self.dir)?);
        tracing::info!(
            tenant.id = %self.tenant,
            "the directory is larger than `tenants.memory_mib`: what is beyond it lies in a file, and is read back when it is asked for"
        );
        Ok(Arc::clone(open.insert(new)))
    }

    fn binding<'a>(&'a self, number: &'a str) -> Binding<'a> {
        Binding {
            tenant: &self.tenant,
            incarnation: "",
            table: "spill",
            column: "body",
            row: number,
            row_version: 0,
        }
    }
}

impl Shared {
    fn try_put(&self, body: &[u8]) -> io::Result<Lying> {
        let Self(spill) = self;
        let open = spill.open()?;
        let number = open.last.fetch_add(1, Ordering::Relaxed);
        let salt = Salt::random().map_err(io::Error::other)?;
        let binding = number.to_string();
        let sealed = open.keys.seal(&spill.binding(&binding), salt, body);
        let sealed = sealed.map_err(io::Error::other)?;
        let at = open.places().take(sealed.len());
        // Whatever becomes of the writing, the place is given back with it.
        let lying = Lying {
            spill: Arc::clone(spill),
            open,
            number,
            at,
            length: sealed.len(),
        };
        lying.open.file.write_all_at(&sealed, at)?;
        Ok(lying)
    }
}

impl Spill for Shared {
    fn put(&self, body: &[u8]) -> Option<Arc<dyn Spilled>> {
        match self.try_put(body) {
            Ok(lying) => Some(Arc::new(lying)),
            Err(error) => {
                if !self.0.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(tenant.id = %self.0.tenant, %error, "what memory has no room for stays there: it could not be put aside");
                }
                None
            }
        }
    }

    fn is_sound(&self) -> bool {
        self.0.sound.load(Ordering::Acquire)
    }

    fn damaged(&self) {
        self.0.sound.store(false, Ordering::Release);
    }
}

impl Lying {
    fn try_get(&self) -> io::Result<Vec<u8>> {
        let mut sealed = vec![0; self.length];
        self.open.file.read_exact_at(&mut sealed, self.at)?;
        let number = self.number.to_string();
        let opened = self.open.keys.open(&self.spill.binding(&number), &sealed);
        opened.map_err(io::Error::other)
    }
}

impl Spilled for Lying {
    fn number(&self) -> u64 {
        self.number
    }

    fn get(&self) -> Option<Vec<u8>> {
        match self.try_get() {
            Ok(body) => Some(body),
            Err(error) => {
                tracing::error!(tenant.id = %self.spill.tenant, %error, "what was put aside cannot be read back");
                self.spill.sound.store(false, Ordering::Release);
                None
            }
        }
    }
}

impl Drop for Lying {
    fn drop(&mut self) {
        self.open.places().give_back(self.at, self.length);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn spill(dir: &Path) -> Shared {
        Shared(Arc::new(SpillFile {
            tenant: "tnt_test".into(),
            dir: dir.into(),
            sound: AtomicBool::new(true),
            warned: AtomicBool::new(false),
            open: Mutex::default(),
        }))
    }

    #[test]
    fn what_is_put_aside_is_read_back_sealed_and_its_place_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let spill = spill(dir.path());
        let one = spill.try_put(b"a body of one").unwrap();
        let other = spill.try_put(&[7; 10_000]).unwrap();
        assert_eq!(one.get().unwrap(), b"a body of one");
        assert_eq!(other.get().unwrap(), [7; 10_000]);
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "no name leads to it"
        );
        let mut all = vec![0; other.at as usize + other.length];
        one.open.file.read_exact_at(&mut all, 0).unwrap();
        assert!(
            !all.windows(6)
                .any(|part| part == b"a body" || part == [7; 6])
        );
        let (at, number) = (one.at, one.number);
        drop(one);
        let next = spill.try_put(b"another body").unwrap();
        assert_eq!(next.at, at, "the place is used again");
        assert_ne!(next.number, number, "and not the number");
        assert!(spill.is_sound());
    }

    #[test]
    fn what_was_moved_or_altered_does_not_open_and_nothing_counts_any_more() {
        let dir = tempfile::tempdir().unwrap();
        for is_moved in [true, false] {
            let spill = spill(dir.path());
            let one = spill.try_put(b"a body of one").unwrap();
            let other = spill.try_put(b"a body of two").unwrap();
            let mut bytes = vec![0; one.length];
            one.open.file.read_exact_at(&mut bytes, one.at).unwrap();
            match is_moved {
                true => other.open.file.write_all_at(&bytes, other.at).unwrap(),
                false => {
                    *bytes.get_mut(20).unwrap() ^= 1;
                    one.open.file.write_all_at(&bytes, one.at).unwrap();
                }
            }
            let damaged = if is_moved { other } else { one };
            assert!(spill.is_sound());
            assert_eq!(damaged.get(), None);
            assert!(!spill.is_sound());
        }
    }

    #[test]
    fn without_a_folder_nothing_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let spill = spill(&dir.path().join("missing"));
        assert!(spill.put(b"a body").is_none());
        assert!(spill.is_sound(), "it stays in memory");
    }
}
