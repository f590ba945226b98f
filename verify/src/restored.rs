//! A restore that a log itself records, and what it lost.

use std::fmt;

/// A restore that the log itself records: from here on it is another life of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The index of the first entry that says so: as many entries of the life before are left.
    pub index: u64,
    /// How many entries say so: one for the life before, and one for each life that is lost whole.
    pub entries: u64,
    /// The life that ended.
    pub incarnation: String,
    /// As many entries as that life is known to have had.
    pub size: u64,
    /// Whether nothing of it is left: what was put back is older than it.
    pub is_lost_whole: bool,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            index,
            incarnation,
            size,
            is_lost_whole,
            ..
        } = self;
        write!(
            f,
            "entry {index}: the log goes on here after a restore; of `{incarnation}` "
        )?;
        if *is_lost_whole {
            return write!(f, "nothing is left, which was seen with {size} entries");
        }
        match size.saturating_sub(*index) {
            0 => write!(f, "no entry is known to be lost"),
            1 => write!(f, "entry {index} is lost"),
            lost => write!(f, "{lost} entries are lost, {index} to {}", size - 1),
        }
    }
}
