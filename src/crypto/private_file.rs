//! A file for nobody else to read, looked at through the descriptor that is read: what was checked is what is used.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It is not there.
    Missing,
    /// A link, a folder, a device.
    NotAFile,
    /// It belongs to somebody else.
    Owner {
        /// Its owner's numeric id.
        owner: u32,
        /// The id that this process runs as.
        user: u32,
    },
    /// Others may read or write it.
    Mode(u32),
    /// The file system refused.
    Io {
        /// A verb.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// Its content; of a longer one the first `limit + 1` bytes.
pub(super) fn read(path: &Path, limit: u16) -> Result<Zeroizing<Vec<u8>>, Unfit> {
    let io = |action, source| Unfit::Io { action, source };
    // NONBLOCK, since opening a pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Err(Unfit::Missing),
        Err(Errno::LOOP) => return Err(Unfit::NotAFile),
        Err(errno) => return Err(io("open", errno.into())),
    };
    let stat = rustix::fs::fstat(&file).map_err(|errno| io("look at", errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Unfit::NotAFile);
    }
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid != user {
        return Err(Unfit::Owner {
            owner: stat.st_uid,
            user,
        });
    }
    let mode = stat.st_mode & 0o7777;
    if mode & !0o600 != 0 {
        return Err(Unfit::Mode(mode));
    }
    // The room is made at once: a vector that grows leaves its old content behind.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::from(limit).saturating_add(1)));
    file.take(u64::from(limit).saturating_add(1))
        .read_to_end(&mut text)
        .map_err(|source| io("read", source))?;
    Ok(text)
}
