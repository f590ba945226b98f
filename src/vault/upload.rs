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

#[derive(Debug)]
enum Work {
    Idle(Box<(Sealer, Writing)>, Vec<u8>),
    Busy(JoinHandle<Result<(Sealer, Writing), VaultError>>),
    Broken,
}

impl Upload {
    pub(super) fn new((sealer, start): (Sealer, Vec<u8>), writing: Writing, under: Under) -> Self {
        Self {
            under,
            length: 0,
            work: Work::Idle(Box::new((sealer, writing)), start),
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

    /// Takes the next bytes: waits for those before, and returns while these are being sealed and written. `now`: microseconds since 1970.
    ///
    /// # Errors
    /// The disk is full, or the database does not take them.
    pub async fn push(&mut self, mut text: Vec<u8>, now: i64) -> Result<(), VaultError> {
        self.length = self
            .length
            .saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        let (mut sealer, mut writing, mut out) = self.idle().await?;
        self.work = Work::Busy(tokio::spawn(async move {
            let sealed = block_in_place(|| {
                out.reserve(text.len() + text.len() / 512 + 32);
                let sealed = sealer.push(&text, &mut out);
                // As a slice: a vector is wiped byte by byte, which takes longer than sealing it.
                text.as_mut_slice().zeroize();
                sealed
            });
            sealed?;
            writing.write(&out, now).await?;
            Ok((sealer, writing))
        }));
        Ok(())
    }

    pub(super) async fn finish(mut self, now: i64) -> Result<(Shelved, Under), VaultError> {
        let (sealer, mut writing, mut out) = self.idle().await?;
        sealer.finish(&mut out)?;
        writing.write(&out, now).await?;
        Ok((writing.finish(now).await?, self.under))
    }

    async fn idle(&mut self) -> Result<(Sealer, Writing, Vec<u8>), VaultError> {
        match std::mem::replace(&mut self.work, Work::Broken) {
            Work::Idle(both, start) => Ok((both.0, both.1, start)),
            Work::Busy(task) => {
                let (sealer, writing) = task.await.map_err(|_| VaultError::Corrupt)??;
                Ok((sealer, writing, Vec::new()))
            }
            Work::Broken => Err(VaultError::Corrupt),
        }
    }
}
