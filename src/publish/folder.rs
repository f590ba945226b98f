//! The deployment's log as files in the layout of C2SP tlog-tiles, for any web server to hand out.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::Unpublished;
use crate::decide::error::Unwritten;
use crate::decide::export;
use crate::log::bundle;
use crate::log::checkpoint::SignedCheckpoint;
use crate::log::tiles::Tile;
use crate::tenant::Store;

const CHECKPOINT: &str = "checkpoint";

/// A folder that holds `checkpoint`, `tile/<L>/<N>` and `tile/entries/<N>`.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Lays the log up to a checkpoint into the folder: what it commits to first, then the checkpoint itself.
    pub(super) async fn lay(
        &self,
        store: &Store,
        note: &SignedCheckpoint,
    ) -> Result<Option<Unpublished>, Unwritten> {
        let text = note.to_string();
        let there = self.there();
        let is_further = |there: &SignedCheckpoint| {
            let (there, note) = (there.checkpoint(), note.checkpoint());
            there.origin == note.origin && there.size > note.size
        };
        if there
            .as_ref()
            .is_some_and(|there| there.to_string() == text || is_further(there))
        {
            return Ok(None);
        }
        // What another life of the log has left behind is written over.
        let same = |there: &SignedCheckpoint| there.checkpoint().origin == note.checkpoint().origin;
        let from = there
            .filter(same)
            .map_or(0, |there| there.checkpoint().size);
        for tile in bundle::tiles(note.checkpoint().size).filter(|tile| reaches(*tile) > from) {
            let entries = tile.path().strip_prefix("tile/0/").map(entries_path);
            for path in [Some(tile.path()), entries].into_iter().flatten() {
                let missing = Unwritten::Corrupt { what: "tile" };
                let bytes = export::tile(store, &path).await?.ok_or(missing)?;
                if let Err(failed) = self.write(path, bytes).await {
                    return Ok(Some(failed));
                }
            }
        }
        Ok(self
            .write(CHECKPOINT.to_owned(), text.into_bytes())
            .await
            .err())
    }

    /// The checkpoint that it holds.
    fn there(&self) -> Option<SignedCheckpoint> {
        let note = std::fs::read(self.path.join(CHECKPOINT)).ok()?;
        SignedCheckpoint::parse(&note).ok()
    }

    async fn write(&self, name: String, bytes: Vec<u8>) -> Result<(), Unpublished> {
        let path = self.path.join(name);
        let failed = |source| Unpublished::Folder {
            path: self.path.clone(),
            source,
        };
        let written = tokio::task::spawn_blocking(move || replace(&path, &bytes)).await;
        written
            .unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into()))
            .map_err(failed)
    }
}

fn entries_path(number: &str) -> String {
    format!("tile/entries/{number}")
}

/// How many leaves end with this tile.
fn reaches(tile: Tile) -> u64 {
    let hashes = tile.index * 256 + u64::from(tile.width);
    hashes << (8 * u32::from(tile.level))
}

/// Puts a file in the place of the one that is there: whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // Several nodes may write into one folder, each in a container where it is the first process.
    let number: [u8; 8] = crate::crypto::random().map_err(std::io::Error::other)?;
    let beside = folder.join(format!(".{}.tmp", u64::from_be_bytes(number)));
    let mut file = std::fs::File::create_new(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // Once a tile is full nobody needs its beginnings any more.
    let partial = path.with_extension("p");
    if partial != path && partial.is_dir() {
        std::fs::remove_dir_all(partial)?;
    }
    Ok(())
}
