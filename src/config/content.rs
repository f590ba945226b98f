//! How much content is taken.

use serde::{Deserialize, Serialize};

/// `content.*`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Content {
    /// The longest content of most things, in bytes.
    pub max_bytes: u64,
    /// The longest content of a memory, in bytes.
    pub memory_max_bytes: u64,
    /// The longest token of an integration, in bytes.
    pub token_max_bytes: u64,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            max_bytes: 5 * 1024 * 1024 * 1024,
            memory_max_bytes: 1024 * 1024,
            token_max_bytes: 64 * 1024,
        }
    }
}

impl Content {
    /// What cannot work, and what would.
    pub(super) fn unfit(&self) -> Option<(&'static str, &'static str)> {
        if !(1..=1 << 50).contains(&self.max_bytes) {
            return Some(("content.max_bytes", "must lie between 1 and 2^50"));
        }
        // What is for a thread is made of many memories, each whole in memory; so is a token.
        if !(1..=16_777_216).contains(&self.memory_max_bytes) {
            let problem = "must lie between 1 and 16777216";
            return Some(("content.memory_max_bytes", problem));
        }
        if !(1..=1_048_576).contains(&self.token_max_bytes) {
            let problem = "must lie between 1 and 1048576";
            return Some(("content.token_max_bytes", problem));
        }
        None
    }
}
