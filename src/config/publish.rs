//! How the deployment's own log is shown to the world.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `publish.*`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Publish {
    /// How often it is published.
    pub every_s: u64,
    /// The folder.
    pub dir: Option<PathBuf>,
    /// Where checkpoints are sent.
    pub sink: Option<String>,
    /// File with the token for the sink.
    pub token_file: Option<PathBuf>,
    /// The policy of witnesses.
    pub witnesses: Option<PathBuf>,
    /// Certificates that are trusted too.
    pub ca: Option<PathBuf>,
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            every_s: 60,
            dir: None,
            sink: None,
            token_file: None,
            witnesses: None,
            ca: None,
        }
    }
}

impl Publish {
    /// How often the deployment's log is published.
    #[must_use]
    pub const fn every(&self) -> Duration {
        Duration::from_secs(self.every_s)
    }
}
