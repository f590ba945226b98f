//! How a batch is framed for storage: one blob of leaves with a table of offsets, and one of their sealed parts.
//!
//! Numbers are big-endian. Leaves: `CKL1`, first index (8 bytes), count (4), the end of each leaf (4 each), the leaves. Parts: `CKP1`, first
//! index, count, the end of each entry's parts, and of each part its name's length (1), its name, its length (4) and its sealed bytes. Ends
//! count from behind the table.

use super::entry::{LEAF_LIMIT, PartName, SealedPart};
use super::flaw::Flaw;
use super::merkle::{Hash, SIZE_LIMIT};

const LEAVES: &[u8; 4] = b"CKL1";
const PARTS: &[u8; 4] = b"CKP1";
const HEADER: usize = 16;

/// The most entries that a segment may have.
pub const ENTRY_LIMIT: usize = 65_536;

/// The most bytes that a blob may have.
pub const BLOB_LIMIT: usize = 1 << 30;

/// The leaves of a batch, read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaves<'a>(Frames<'a>);

impl<'a> Leaves<'a> {
    /// Frames leaves that follow one another from `first` on.
    ///
    /// # Errors
    /// None at all, too many, or one too long.
    pub fn frame<T: AsRef<[u8]>>(first: u64, leaves: &[T]) -> Result<Vec<u8>, Flaw> {
        if let Some(long) = leaves
            .iter()
            .map(|leaf| leaf.as_ref().len())
            .find(|length| *length > LEAF_LIMIT)
        {
            return Err(Flaw::LeafTooLong { length: long });
        }
        frame(LEAVES, first, leaves)
    }

    /// Reads a blob of leaves. The leaves themselves are not parsed.
    ///
    /// # Errors
    /// Anything that [`Leaves::frame`] does not write.
    pub fn parse(blob: &'a [u8]) -> Result<Self, Flaw> {
        let frames = Frames::parse(LEAVES, blob)?;
        if frames.iter().any(|(_, leaf)| leaf.len() > LEAF_LIMIT) {
            return Err(Flaw::Segment {
                at: HEADER,
                what: "a leaf is too long",
            });
        }
        Ok(Self(frames))
    }

    /// The index of the first.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.0.first
    }

    /// How many; never none.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.count
    }

    /// The leaf of this index in the log.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<&'a [u8]> {
        self.0.get(index)
    }

    /// Each index in the log and its leaf.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &'a [u8])> + use<'a> {
        self.0.iter()
    }
}

/// The sealed parts of a batch, read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a>(Frames<'a>);

impl<'a> Parts<'a> {
    /// Frames the parts of entries that follow one another from `first` on. An entry's parts are written in the order of their names.
    ///
    /// # Errors
    /// No entry at all, too many, too many bytes, or two parts of one name.
    pub fn frame(first: u64, entries: &[Vec<SealedPart>]) -> Result<Vec<u8>, Flaw> {
        let framed: Result<Vec<Vec<u8>>, Flaw> =
            entries.iter().map(|parts| frame_parts(parts)).collect();
        frame(PARTS, first, &framed?)
    }

    /// Reads a blob of parts.
    ///
    /// # Errors
    /// Anything that [`Parts::frame`] does not write.
    pub fn parse(blob: &'a [u8]) -> Result<Self, Flaw> {
        let frames = Frames::parse(PARTS, blob)?;
        for (_, parts) in frames.iter() {
            check_parts(parts)?;
        }
        Ok(Self(frames))
    }

    /// The index of the first.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.0.first
    }

    /// How many entries; never none.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.count
    }

    /// The parts of the entry of this index in the log.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<Vec<SealedPart>> {
        read_parts(self.0.get(index)?).ok()
    }

    /// Those of these names, and no copy of the others.
    #[must_use]
    pub fn some(&self, index: u64, names: &[PartName]) -> Option<Vec<SealedPart>> {
        let mut parts = Vec::with_capacity(names.len());
        let heard = walk_parts(self.0.get(index)?, |name, sealed| {
            if names.contains(&name) {
                let sealed = sealed.to_vec();
                parts.push(SealedPart { name, sealed });
            }
        });
        heard.is_ok().then_some(parts)
    }

    /// The hashes of the parts of the entry of this index in the log.
    #[must_use]
    pub fn hashes(&self, index: u64) -> Option<Vec<(PartName, Hash)>> {
        let mut hashes = Vec::new();
        let heard = walk_parts(self.0.get(index)?, |name, sealed| {
            hashes.push((name, Hash::of(sealed)));
        });
        heard.is_ok().then_some(hashes)
    }

    /// The parts of each entry: to write them again without some of them.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Vec<SealedPart>> {
        self.0
            .iter()
            .map(|(_, parts)| read_parts(parts).unwrap_or_default())
            .collect()
    }
}

/// Where each entry lies in a blob, read off its beginning: so that one can be had without the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    first: u64,
    ends: Vec<u64>,
}

impl Places {
    /// How many bytes of a blob's beginning are needed where it has so many entries.
    #[must_use]
    pub const fn needs(entries: u64) -> u64 {
        (HEADER as u64).saturating_add(entries.saturating_mul(4))
    }

    /// Those of leaves, off the beginning of their blob.
    ///
    /// # Errors
    /// It is too short, or not what [`Leaves::frame`] writes.
    pub fn of_leaves(start: &[u8]) -> Result<Self, Flaw> {
        Self::of(LEAVES, start)
    }

    /// Those of parts, off the beginning of their blob.
    ///
    /// # Errors
    /// It is too short, or not what [`Parts::frame`] writes.
    pub fn of_parts(start: &[u8]) -> Result<Self, Flaw> {
        Self::of(PARTS, start)
    }

    fn of(magic: &[u8; 4], start: &[u8]) -> Result<Self, Flaw> {
        let (first, ends, _) = read_table(magic, start)?;
        let table = Self::needs(u64::try_from(ends.len()).unwrap_or(u64::MAX));
        let ends = ends
            .iter()
            .map(|end| table + u64::from(u32::from_be_bytes(*end)));
        Ok(Self {
            first,
            ends: ends.collect(),
        })
    }

    /// The index of the first.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// How many; never none.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.ends.len()
    }

    /// Where the entry of this index in the log begins and ends in the blob.
    #[must_use]
    pub fn of_entry(&self, index: u64) -> Option<(u64, u64)> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let begins = match at.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => Self::needs(u64::try_from(self.ends.len()).ok()?),
        };
        Some((begins, *self.ends.get(at)?))
    }
}

/// The parts of one entry, off its place in a blob.
///
/// # Errors
/// Not what [`Parts::frame`] writes.
pub fn parts_of_entry(framed: &[u8]) -> Result<Vec<SealedPart>, Flaw> {
    read_parts(framed)
}

/// First index and ends off the beginning of a blob, and what follows the table.
type Table<'a> = (u64, &'a [[u8; 4]], &'a [u8]);

fn read_table<'a>(magic: &[u8; 4], blob: &'a [u8]) -> Result<Table<'a>, Flaw> {
    let damaged = |at, what| Err(Flaw::Segment { at, what });
    let Some((found, rest)) = blob.split_first_chunk::<4>() else {
        return damaged(0, "it is shorter than its header");
    };
    if found != magic {
        return damaged(0, "it is of another kind");
    }
    let (Some((first, rest)), true) = (rest.split_first_chunk::<8>(), blob.len() <= BLOB_LIMIT)
    else {
        return damaged(4, "it is shorter than its header, or too long");
    };
    let Some((count, rest)) = rest.split_first_chunk::<4>() else {
        return damaged(12, "it is shorter than its header");
    };
    let first = u64::from_be_bytes(*first);
    let count = usize::try_from(u32::from_be_bytes(*count)).unwrap_or(usize::MAX);
    if count == 0 || count > ENTRY_LIMIT || first > SIZE_LIMIT {
        return damaged(4, "its index or count is out of range");
    }
    let Some((table, body)) = rest.split_at_checked(count * 4) else {
        return damaged(HEADER, "it is shorter than its table");
    };
    let ends = table.as_chunks::<4>().0;
    if !ends.iter().map(length_of).is_sorted() {
        return damaged(HEADER, "its table goes back");
    }
    Ok((first, ends, body))
}

/// A blob whose header and table have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frames<'a> {
    first: u64,
    count: usize,
    // INVARIANT: the ends ascend, and the last is the length of `body`.
    ends: &'a [[u8; 4]],
    body: &'a [u8],
}

impl<'a> Frames<'a> {
    fn parse(magic: &[u8; 4], blob: &'a [u8]) -> Result<Self, Flaw> {
        let (first, ends, body) = read_table(magic, blob)?;
        if ends.last().map(length_of) != Some(body.len()) {
            return Err(Flaw::Segment {
                at: HEADER,
                what: "its length is not that of its table",
            });
        }
        Ok(Self {
            first,
            count: ends.len(),
            ends,
            body,
        })
    }

    fn at(&self, place: usize) -> Option<&'a [u8]> {
        let from = match place.checked_sub(1) {
            Some(before) => length_of(self.ends.get(before)?),
            None => 0,
        };
        self.body.get(from..length_of(self.ends.get(place)?))
    }

    fn get(&self, index: u64) -> Option<&'a [u8]> {
        self.at(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &'a [u8])> + use<'a> {
        let frames = *self;
        (0..frames.count).filter_map(move |place| {
            Some((frames.first + u64::try_from(place).ok()?, frames.at(place)?))
        })
    }
}

fn frame<T: AsRef<[u8]>>(magic: &[u8; 4], first: u64, bodies: &[T]) -> Result<Vec<u8>, Flaw> {
    let total: usize = bodies.iter().map(|body| body.as_ref().len()).sum();
    let blob = HEADER + bodies.len() * 4 + total;
    let count = u32::try_from(bodies.len()).unwrap_or(u32::MAX);
    if bodies.is_empty() || bodies.len() > ENTRY_LIMIT || first > SIZE_LIMIT || blob > BLOB_LIMIT {
        return Err(Flaw::Segment {
            at: 4,
            what: "its index, count or length would be out of range",
        });
    }
    let mut out = Vec::with_capacity(blob);
    out.extend_from_slice(magic);
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    let mut end = 0;
    for body in bodies {
        end += body.as_ref().len();
        push_length(&mut out, end);
    }
    for body in bodies {
        out.extend_from_slice(body.as_ref());
    }
    Ok(out)
}

fn frame_parts(parts: &[SealedPart]) -> Result<Vec<u8>, Flaw> {
    let mut sorted: Vec<&SealedPart> = parts.iter().collect();
    sorted.sort_by_key(|part| part.name);
    let mut out = Vec::new();
    let mut before = None;
    for part in sorted {
        if before == Some(part.name) {
            return Err(Flaw::PartTwice {
                name: part.name.as_str(),
            });
        }
        if part.sealed.len() > BLOB_LIMIT {
            return Err(Flaw::Segment {
                at: 0,
                what: "a part would be too long",
            });
        }
        before = Some(part.name);
        let name = part.name.as_str();
        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(name.as_bytes());
        push_length(&mut out, part.sealed.len());
        out.extend_from_slice(&part.sealed);
    }
    Ok(out)
}

fn read_parts(framed: &[u8]) -> Result<Vec<SealedPart>, Flaw> {
    let mut parts = Vec::new();
    walk_parts(framed, |name, sealed| {
        parts.push(SealedPart {
            name,
            sealed: sealed.to_vec(),
        });
    })?;
    Ok(parts)
}

fn check_parts(framed: &[u8]) -> Result<(), Flaw> {
    walk_parts(framed, |_, _| {})
}

fn walk_parts(framed: &[u8], mut meet: impl FnMut(PartName, &[u8])) -> Result<(), Flaw> {
    let mut before: Option<PartName> = None;
    let mut rest = framed;
    while !rest.is_empty() {
        let at = framed.len() - rest.len();
        let part = read_part(rest).filter(|(name, ..)| before.is_none_or(|before| before < *name));
        let Some((name, sealed, after)) = part else {
            return Err(Flaw::Segment {
                at,
                what: "a part is cut, unknown or out of order",
            });
        };
        meet(name, sealed);
        (before, rest) = (Some(name), after);
    }
    Ok(())
}

/// The name of the first part, its sealed bytes, and what follows.
fn read_part(bytes: &[u8]) -> Option<(PartName, &[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let name = PartName::parse(std::str::from_utf8(name).ok()?)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sealed, rest) = rest.split_at_checked(length_of(length))?;
    Some((name, sealed, rest))
}

fn length_of(bytes: &[u8; 4]) -> usize {
    usize::try_from(u32::from_be_bytes(*bytes)).unwrap_or(usize::MAX)
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    // INVARIANT: no length is above BLOB_LIMIT, which 32 bits hold.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}
