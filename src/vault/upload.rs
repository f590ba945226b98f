//! Content on its way in: sealed and written piece by piece, while the next piece arrives.

use tokio::task::{JoinHandle, block_in_place};
use zeroize::Zeroize as _;

use super::{Spot, VaultError};
use crate::crypto::cobblestone::Sealer;
use crate::crypto::hierarchy::Wrapped;
use crate::crypto::sealing::DataKeys;
use crate::storage::shelf::{Shelved, Writing};

/// What is sealed under which key.
pub(super) type Under = (Spot, DataKeys, Wrapped);

/// Content that is being written; dropped before its end it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    under: Under,
    length: u64,
    work: Work,
}

/// What it works with, and gets back: a piece takes the place of the one before.
#[derive(Debug)]
struct Workbench {
    sealer: Sealer,
    writing: Writing,
    /// Sealed bytes that are not written yet.
    sealed: Vec<u8>,
    /// Where the text of a piece was, wiped.
    text: Vec<u8>,
}

#[derive(Debug)]
enum Work {
    Idle(Box<Workbench>),
    Busy(JoinHandle<Result<Workbench, VaultError>>),
    Broken,
}

impl Upload {
    pub(super) fn new((sealer, start): (Sealer, Vec<u8>), writing: Writing, under: Under) -> Self {
        let workbench = Workbench {
            sealer,
            writing,
            sealed: start,
            text: Vec::new(),
        };
        Self {
            under,
            length: 0,
            work: Work::Idle(Box::new(workbench)),
        }
    }

    /// Which version it will be.
    #[must_use]
    pub const fn spot(&self) -> &Spot {
        &self.under.0
    }

    /// How many bytes have come.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Takes the next bytes out of `text`, where there is room for more then: waits for those before, and returns while these are being
    /// sealed and written. `now`: microseconds since 1970.
    ///
    /// # Errors
    /// The disk is full, or the database does not take them.
    pub async fn push(&mut self, text: &mut Vec<u8>, now: i64) -> Result<(), VaultError> {
        self.length = self
            .length
            .saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        let mut workbench = self.idle().await?;
        std::mem::swap(&mut workbench.text, text);
        self.work = Work::Busy(tokio::spawn(async move {
            let sealed = block_in_place(|| {
                let Workbench {
                    sealer,
                    sealed,
                    text,
                    ..
                } = &mut workbench;
                sealed.reserve(text.len() + text.len() / 512 + 32);
                let done = sealer.push(text, sealed);
                // As a slice: a vector is wiped byte by byte, which takes longer than sealing it.
                text.as_mut_slice().zeroize();
                text.clear();
                done
            });
            sealed?;
            workbench.writing.write(&workbench.sealed, now).await?;
            workbench.sealed.clear();
            Ok(workbench)
        }));
        Ok(())
    }

    pub(super) async fn finish(mut self, now: i64) -> Result<(Shelved, Under), VaultError> {
        let Workbench {
            sealer,
            mut writing,
            mut sealed,
            ..
        } = self.idle().await?;
        sealer.finish(&mut sealed)?;
        writing.write(&sealed, now).await?;
        Ok((writing.finish(now).await?, self.under))
    }

    async fn idle(&mut self) -> Result<Workbench, VaultError> {
        match std::mem::replace(&mut self.work, Work::Broken) {
            Work::Idle(workbench) => Ok(*workbench),
            Work::Busy(task) => task.await.map_err(|_| VaultError::Corrupt)?,
            Work::Broken => Err(VaultError::Corrupt),
        }
    }
}
