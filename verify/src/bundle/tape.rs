//! The tar archive of a bundle, written and read in one way only: a file is where it must be, byte for byte, or it is an error.

use std::io::{self, BufRead as _, BufReader, Read};

use tar::{EntryType, Header};

use super::{Listed, Measure};
use crate::flaw::Flaw;

/// An archive is made of blocks of this many bytes.
const BLOCK: usize = 512;

/// The bytes at the end of an archive.
pub(super) const END: u64 = 1_024;

/// How much is read at a time.
const BUFFER: usize = 64 * 1024;

/// What stands ahead of a file of that size.
pub(super) fn header(path: &str, bytes: u64) -> Result<[u8; BLOCK], Flaw> {
    let mut header = Header::new_ustar();
    header.set_path(path).map_err(|_| Flaw::Bundle {
        file: path.into(),
        what: "an archive can have no such path".into(),
    })?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// The zeros behind a file of that size.
pub(super) fn padding(bytes: u64) -> impl Iterator<Item = u8> {
    let rest = usize::try_from(bytes % BLOCK as u64).unwrap_or_default();
    std::iter::repeat_n(0, (BLOCK - rest) % BLOCK)
}

/// A whole file.
pub(super) fn file(path: &str, bytes: &[u8]) -> Result<Vec<u8>, Flaw> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let mut out = header(path, length)?.to_vec();
    out.extend_from_slice(bytes);
    out.extend(padding(length));
    Ok(out)
}

/// How much of an archive a file of that size takes.
pub(super) const fn length(bytes: u64) -> u64 {
    BLOCK as u64 + bytes.next_multiple_of(BLOCK as u64)
}

/// What ends an archive.
pub(super) const fn end() -> [u8; 2 * BLOCK] {
    [0; 2 * BLOCK]
}

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// What was read is not what it must be.
    Flaw(Flaw),
    /// It could not be read.
    Io(io::Error),
}

impl From<Flaw> for Stop {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

fn wrong(file: &str, what: impl Into<String>) -> Stop {
    Stop::Flaw(Flaw::Bundle {
        file: file.into(),
        what: what.into(),
    })
}

fn cut(file: &str) -> impl FnOnce(io::Error) -> Stop + '_ {
    move |error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            wrong(
                file,
                "the bundle ends ahead of it or within it: it was cut short",
            )
        } else {
            Stop::Io(error)
        }
    }
}

/// An archive that is read from its beginning to its end.
#[derive(Debug)]
pub(super) struct Tape<R> {
    from: R,
}

impl<R: Read> Tape<R> {
    pub(super) const fn new(from: R) -> Self {
        Self { from }
    }

    fn block(&mut self, file: &str) -> Result<[u8; BLOCK], Stop> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).map_err(cut(file))?;
        Ok(block)
    }

    /// Reads the header of the next file, which must be this one; its size.
    fn open(&mut self, path: &str, bytes: Option<u64>) -> Result<u64, Stop> {
        let block = self.block(path)?;
        if block == [0; BLOCK] {
            return Err(wrong(path, "it is missing: the bundle ends in its place"));
        }
        let found = Header::from_byte_slice(&block);
        let name = String::from_utf8_lossy(&found.path_bytes()).into_owned();
        if name != path {
            let name: String = name.escape_debug().take(100).collect();
            return Err(wrong(
                path,
                format!(
                    "`{name}` stands in its place: a file is missing, there twice, unknown or out of order"
                ),
            ));
        }
        let size = found
            .entry_size()
            .map_err(|_| wrong(path, "its header has no size"))?;
        if let Some(bytes) = bytes.filter(|bytes| *bytes != size) {
            return Err(wrong(
                path,
                format!("it has {size} bytes and {bytes} are expected"),
            ));
        }
        if block == header(path, size)? {
            Ok(size)
        } else {
            Err(wrong(path, "its header is not as it was written"))
        }
    }

    fn pad(&mut self, path: &str, bytes: u64) -> Result<(), Stop> {
        for _ in padding(bytes) {
            let mut byte = [0];
            self.from.read_exact(&mut byte).map_err(cut(path))?;
            if byte != [0] {
                return Err(wrong(path, "there is something behind its end"));
            }
        }
        Ok(())
    }

    /// Reads a file of a size that is known, or at most the limit.
    pub(super) fn whole(
        &mut self,
        path: &str,
        bytes: Option<u64>,
        limit: u64,
    ) -> Result<Vec<u8>, Stop> {
        let size = self.open(path, bytes)?;
        if size > limit {
            return Err(wrong(path, format!("it has more than {limit} bytes")));
        }
        let mut content = Vec::new();
        let read = (&mut self.from).take(size).read_to_end(&mut content);
        let read = u64::try_from(read.map_err(Stop::Io)?).unwrap_or_default();
        if read < size {
            return Err(cut(path)(io::ErrorKind::UnexpectedEof.into()));
        }
        self.pad(path, size)?;
        Ok(content)
    }

    /// Reads a small file that the manifest lists.
    pub(super) fn listed(&mut self, file: &Listed, limit: u64) -> Result<Vec<u8>, Stop> {
        let content = self.whole(&file.path, Some(file.bytes), limit)?;
        is_listed(&Measure::of(&file.path, &content), file)?;
        Ok(content)
    }

    /// Begins with a file of lines that the manifest lists.
    pub(super) fn lines<'a>(&'a mut self, file: &'a Listed) -> Result<Lines<'a, R>, Stop> {
        self.open(&file.path, Some(file.bytes))?;
        let within = Within {
            tape: self,
            left: file.bytes,
            measure: Measure::default(),
        };
        Ok(Lines {
            from: BufReader::with_capacity(BUFFER, within),
            file,
        })
    }

    /// Reads the end of the archive, behind which there must be nothing.
    pub(super) fn finish(mut self) -> Result<(), Stop> {
        for _ in 0..2 {
            let block = self.block("end")?;
            if block != [0; BLOCK] {
                let name = Header::from_byte_slice(&block).path_bytes().into_owned();
                let name = String::from_utf8_lossy(&name);
                let name: String = name.escape_debug().take(100).collect();
                return Err(wrong(&name, "it stands behind the last file"));
            }
        }
        match self.from.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(wrong("end", "there is something behind it")),
            Err(error) => Err(Stop::Io(error)),
        }
    }
}

/// Whether what was read is what the manifest lists.
pub(super) fn is_listed(read: &Listed, listed: &Listed) -> Result<(), Stop> {
    if read == listed {
        Ok(())
    } else {
        Err(wrong(
            &listed.path,
            "its bytes are not those that the manifest has the SHA-256 of",
        ))
    }
}

/// What is left of a file.
struct Within<'a, R> {
    tape: &'a mut Tape<R>,
    left: u64,
    measure: Measure,
}

impl<R: Read> Read for Within<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let wanted = to.len().min(left);
        let Some(to) = to.get_mut(..wanted).filter(|to| !to.is_empty()) else {
            return Ok(0);
        };
        let read = self.tape.from.read(to)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.measure.push(to.get(..read).unwrap_or_default());
        self.left -= u64::try_from(read).unwrap_or_default();
        Ok(read)
    }
}

/// The lines of a file.
pub(super) struct Lines<'a, R> {
    from: BufReader<Within<'a, R>>,
    file: &'a Listed,
}

impl<R: Read> Lines<'_, R> {
    /// The next line without its end, `limit` bytes at most.
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<Vec<u8>>, Stop> {
        let path = &self.file.path;
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let mut line = Vec::new();
        let read = (&mut self.from).take(most).read_until(b'\n', &mut line);
        if read.map_err(cut(path))? == 0 {
            return Ok(None);
        }
        if line.pop() == Some(b'\n') {
            Ok(Some(line))
        } else {
            Err(wrong(
                path,
                format!("a line of it has no end, or more than {limit} bytes"),
            ))
        }
    }

    /// Ends the file, all of which was read.
    pub(super) fn finish(self) -> Result<(), Stop> {
        let file = self.file;
        let within = self.from.into_inner();
        is_listed(&within.measure.listed(&file.path), file)?;
        within.tape.pad(&file.path, file.bytes)
    }
}
