//! Tenants in memory.

use serde::{Deserialize, Serialize};

/// `tenants.*`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Tenants {
    /// Tenants that are kept open at once.
    pub open_max: usize,
    /// How much of an open tenant's directory is held in memory, in MiB.
    pub memory_mib: u64,
}

impl Default for Tenants {
    fn default() -> Self {
        Self {
            open_max: 500,
            memory_mib: 1_024,
        }
    }
}

impl Tenants {
    /// How much of an open tenant's directory is held in memory, in bytes.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        self.memory_mib << 20
    }

    /// What cannot work, and what would.
    pub(super) fn unfit(&self) -> Option<(&'static str, &'static str)> {
        if !(1..=100_000).contains(&self.open_max) {
            return Some(("tenants.open_max", "must lie between 1 and 100000"));
        }
        if self.memory_mib > 1_048_576 {
            return Some(("tenants.memory_mib", "must lie between 0 and 1048576"));
        }
        None
    }
}
