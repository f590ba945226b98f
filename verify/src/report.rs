//! What a verification found, what it could not check, and both in words.

use std::fmt;

use super::checkpoint::Checkpoint;
use super::entry::PartName;
use super::flaw::Flaw;
use super::restored::Restored;

/// Findings that a report lists; more are only counted.
pub const LISTED: usize = 1_000;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// There is no checkpoint.
    NoCheckpoint,
    /// The checkpoint, or one that was kept, cannot be trusted.
    Checkpoint(Flaw),
    /// The checkpoint is of another log.
    OtherLog {
        /// The one that it is of.
        found: String,
    },
    /// A leaf that is no entry.
    Leaf {
        /// The index that it should have had.
        index: u64,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// An entry that is not the next.
    Gap {
        /// The index that comes next.
        wanted: u64,
        /// The one that the entry says.
        found: u64,
    },
    /// An entry whose time is before that of the entry ahead.
    TimeWentBack {
        /// Its index.
        index: u64,
    },
    /// An entry that was decided by another version of the organization's policies than the one that the last activation ahead made count.
    PolicyVersion {
        /// Its index.
        index: u64,
        /// The version that it says.
        said: u64,
        /// The one that counts.
        counts: u64,
    },
    /// A sealed part that is not what the leaf has the hash of.
    PartAltered {
        /// Its entry.
        index: u64,
        /// Which.
        name: PartName,
    },
    /// A sealed part of which the leaf knows nothing, or a second one of its name.
    PartForeign {
        /// Its entry.
        index: u64,
        /// Which.
        name: PartName,
    },
    /// Not as many entries as the checkpoint commits to.
    Size {
        /// As many as it commits to.
        wanted: u64,
        /// As many as there are.
        found: u64,
    },
    /// The entries are not those that the checkpoint commits to.
    Root,
    /// A stored row that is not what it should be.
    Stored {
        /// Which, and why.
        what: String,
    },
    /// A checkpoint that was kept of an earlier life of the log has entries that a restore has lost.
    Lost {
        /// The size of the one that was kept.
        kept: u64,
        /// How many entries of that life are left.
        left: u64,
    },
    /// A checkpoint that was kept is larger than the log: it has lost its end.
    WentBack {
        /// The size of the one that was kept.
        kept: u64,
    },
    /// A checkpoint that was kept commits to other entries.
    Rewritten {
        /// The size of the one that was kept.
        kept: u64,
    },
    /// The same of one that was kept of an earlier life of a log that is pruned: an entry that is not there any more may have told of a
    /// restore that has lost its entries.
    LostOrRewritten {
        /// The size of the one that was kept.
        kept: u64,
    },
}

/// Something that could not be checked with what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unchecked {
    /// Parts that leaves have hashes of and that are not there: erased, pruned or left out.
    PartsAbsent {
        /// How many.
        count: u64,
    },
    /// Entries ahead of the first, of which only hashes are left.
    Pruned {
        /// How many.
        count: u64,
    },
    /// Checkpoints that were kept of sizes ahead of the first entry, whose hashes are not there either.
    KeptBeforeFirst {
        /// How many.
        count: u64,
    },
    /// A log that was cut back to this checkpoint of its own would look the same, as long as no larger one was kept elsewhere.
    RollBack {
        /// The largest that was kept; 0 if none was given.
        kept: u64,
    },
}

/// What was checked, what was found, and what could not be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The checkpoint, if it could be trusted.
    pub checkpoint: Option<Checkpoint>,
    /// The ids of the given keys that have signed it.
    pub signed_by: Vec<u32>,
    /// Entries that were read.
    pub entries: u64,
    /// Parts whose hash was compared.
    pub parts: u64,
    /// Kept checkpoints that the log agrees with.
    pub kept: u64,
    /// Restores that the log records, the oldest first.
    pub restored: Vec<Restored>,
    /// What is wrong, the first [`LISTED`] of it.
    pub findings: Vec<Finding>,
    /// How much is wrong.
    pub found: u64,
    /// What could not be checked.
    pub unchecked: Vec<Unchecked>,
}

impl Report {
    /// A report of these findings alone: nothing else could be looked at.
    #[must_use]
    pub fn of(findings: Vec<Finding>) -> Self {
        Self {
            checkpoint: None,
            signed_by: Vec::new(),
            entries: 0,
            parts: 0,
            kept: 0,
            restored: Vec::new(),
            found: findings.len() as u64,
            findings,
            unchecked: Vec::new(),
        }
    }

    /// With this finding too; beyond [`LISTED`] it is only counted.
    pub fn add(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < LISTED {
            self.findings.push(finding);
        }
    }

    /// With everything that another report says is wrong.
    pub fn add_all(&mut self, other: Self) {
        let listed = other.findings.len() as u64;
        for finding in other.findings {
            self.add(finding);
        }
        self.found += other.found.saturating_sub(listed);
    }

    /// Whether nothing was found, a trusted checkpoint included.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.found == 0 && self.checkpoint.is_some()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCheckpoint => write!(
                f,
                "there is no checkpoint: nothing vouches for these entries"
            ),
            Self::Checkpoint(flaw) => write!(f, "checkpoint: {flaw}"),
            Self::OtherLog { found } => write!(f, "the checkpoint is of another log, `{found}`"),
            Self::Leaf { index, flaw } => write!(f, "entry {index}: {flaw}"),
            Self::Gap { wanted, found } => {
                write!(f, "entry {wanted} was expected and entry {found} is there")
            }
            Self::TimeWentBack { index } => write!(
                f,
                "entry {index}: its time is before that of the entry ahead"
            ),
            Self::PolicyVersion {
                index,
                said,
                counts,
            } => write!(
                f,
                "entry {index}: it was decided by version {said} of the policies, and version {counts} counts"
            ),
            Self::PartAltered { index, name } => {
                write!(
                    f,
                    "entry {index}: the part `{}` is not what the entry has the hash of",
                    name.as_str()
                )
            }
            Self::PartForeign { index, name } => write!(
                f,
                "entry {index}: the part `{}` is not the entry's",
                name.as_str()
            ),
            Self::Size { wanted, found } => write!(
                f,
                "the checkpoint commits to {wanted} entries and there are {found}"
            ),
            Self::Root => write!(
                f,
                "the entries are not those that the checkpoint commits to"
            ),
            Self::Stored { what } => write!(f, "stored {what}"),
            Self::Lost { kept, left } => write!(
                f,
                "a checkpoint of {kept} entries was kept of an earlier life of the log, of which a restore has left {left}"
            ),
            Self::WentBack { kept } => write!(
                f,
                "a checkpoint of {kept} entries was kept: the log has lost its end"
            ),
            Self::Rewritten { kept } => write!(
                f,
                "a checkpoint of {kept} entries was kept and commits to others: the log was rewritten"
            ),
            Self::LostOrRewritten { kept } => write!(
                f,
                "a checkpoint of {kept} entries was kept of an earlier life of the log and commits to others: the log was rewritten, or a restore that is told of in what is pruned has lost them"
            ),
        }
    }
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartsAbsent { count } => write!(
                f,
                "{count} parts are not there (erased, pruned or left out); their hashes are"
            ),
            Self::Pruned { count } => write!(
                f,
                "{count} entries ahead of the first are pruned; their hashes are covered by the root"
            ),
            Self::KeptBeforeFirst { count } => {
                write!(
                    f,
                    "{count} kept checkpoints are of sizes ahead of the first entry, of which no hashes are here"
                )
            }
            Self::RollBack { kept } => {
                write!(
                    f,
                    "whether the log ever had more entries: the largest checkpoint from elsewhere that was given has {kept}"
                )
            }
        }
    }
}
