//! Anchors: salted hashes of a log's checkpoints in the deployment's log, which is the one that is published and witnessed.
//!
//! Whoever witnesses the deployment's log learns nothing of the logs beneath it. Whoever has an anchor's file can show offline that a
//! checkpoint was there: the file is
//!
//! ```text
//! cedarkeep.anchor.v1
//! salt <base 64 of 32 bytes>
//!
//! <the checkpoint's three lines>
//!
//! <a receipt (C2SP tlog-proof) of the entry of the deployment's log>
//! ```
//!
//! and the entry's `fact.commitment` is `SHA-256("cedarkeep.anchor.v1\n" || salt || the checkpoint's three lines)`.

use std::fmt;

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use super::checkpoint::{Checkpoint, VerifierKey};
use super::entry::{Entry, Event, Fact};
use super::flaw::Flaw;
use super::merkle::Hash;
use super::receipt::Receipt;

/// The first line of the file, and what a commitment's hash begins with.
pub const HEADER: &str = "cedarkeep.anchor.v1";

/// What makes a commitment say nothing to whoever does not have it.
pub type Salt = [u8; 32];

/// What the deployment's log holds of a checkpoint.
#[must_use]
pub fn commitment(salt: &Salt, checkpoint: &Checkpoint) -> Hash {
    let hash = Sha256::new()
        .chain_update(HEADER)
        .chain_update("\n")
        .chain_update(salt)
        .chain_update(checkpoint.text())
        .finalize();
    Hash::new(hash.into())
}

/// A checkpoint, and what shows that the deployment's log has a commitment to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The salt of the commitment.
    pub salt: Salt,
    /// What was committed to.
    pub checkpoint: Checkpoint,
    /// The entry of the deployment's log.
    pub receipt: Receipt,
}

impl Anchor {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not one, or written in another way than [`Anchor`] is.
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let wrong = |what| Flaw::Anchor { what };
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let rest = text
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_prefix("\nsalt "))
            .ok_or_else(|| wrong("its first lines are not `cedarkeep.anchor.v1` and a salt"))?;
        let (salt, rest) = rest
            .split_once("\n\n")
            .ok_or_else(|| wrong("no empty line ends its salt"))?;
        let (checkpoint, receipt) = rest
            .split_once("\n\n")
            .ok_or_else(|| wrong("no empty line ends its checkpoint"))?;
        let salt = BASE64.decode(salt.as_bytes()).ok();
        let anchor = Self {
            salt: salt
                .and_then(|salt| salt.try_into().ok())
                .ok_or_else(|| wrong("its salt is not 32 bytes in base 64"))?,
            checkpoint: Checkpoint::parse(&format!("{checkpoint}\n"))?,
            receipt: Receipt::parse(receipt.as_bytes())?,
        };
        if anchor.to_string() == text {
            Ok(anchor)
        } else {
            Err(wrong("it is not written plainly"))
        }
    }

    /// The entry of the deployment's log, when it is under a checkpoint that one of `keys` has signed, and commits to this checkpoint.
    ///
    /// # Errors
    /// Either is not so.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Entry, Flaw> {
        let entry = self.receipt.verified_entry(keys)?;
        let said = Some(Fact::Commitment(commitment(&self.salt, &self.checkpoint)));
        if entry.event == Event::LogAnchored && entry.fact == said {
            Ok(entry)
        } else {
            Err(Flaw::Anchor {
                what: "the entry does not commit to this checkpoint",
            })
        }
    }
}

impl fmt::Display for Anchor {
    /// The file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, checkpoint) = (BASE64.encode(&self.salt), self.checkpoint.text());
        write!(f, "{HEADER}\nsalt {salt}\n\n{checkpoint}\n{}", self.receipt)
    }
}
