//! What proofs about policies are made with.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The solver's program, where none is named.
const PROGRAM: &str = "cvc5";

/// `proof.*`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Proof {
    /// The solver.
    pub solver: Option<PathBuf>,
    /// How long it may take for one question, in seconds.
    pub timeout_s: u64,
    /// How long a whole proof may take, in seconds.
    pub limit_s: u64,
    /// How much memory the solver may take, in MiB.
    pub memory_mib: u64,
}

impl Default for Proof {
    fn default() -> Self {
        Self {
            solver: None,
            timeout_s: 10,
            limit_s: 600,
            memory_mib: 2_048,
        }
    }
}

impl Proof {
    /// The solver's program: the one that is named, else the first on the path; nothing where there is none.
    #[must_use]
    pub fn program(&self) -> Option<PathBuf> {
        if self.solver.is_some() {
            return self.solver.clone();
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join(PROGRAM))
            .find(|program| program.is_file())
    }

    /// How long the solver may take for one question.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    /// How long a whole proof may take.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        Duration::from_secs(self.limit_s)
    }

    /// How much memory the solver may take, in bytes.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        self.memory_mib << 20
    }

    /// What cannot work, and what would.
    pub(super) fn unfit(&self) -> Option<(&'static str, &'static str)> {
        if !(1..=3600).contains(&self.timeout_s) {
            return Some(("proof.timeout_s", "must lie between 1 and 3600"));
        }
        if !(1..=86_400).contains(&self.limit_s) {
            return Some(("proof.limit_s", "must lie between 1 and 86400"));
        }
        if !(256..=1_048_576).contains(&self.memory_mib) {
            return Some(("proof.memory_mib", "must lie between 256 and 1048576"));
        }
        None
    }
}
