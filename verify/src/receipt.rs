//! A receipt: C2SP tlog-proof with the leaf in its extra field, so that one text file shows offline that a log has an entry.

use std::fmt;

use data_encoding::BASE64;

use super::checkpoint::{SignedCheckpoint, VerifierKey};
use super::entry::{Entry, LEAF_LIMIT};
use super::flaw::Flaw;
use super::merkle::{Hash, leaf_hash, verify_inclusion};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A leaf, where it stands, and the checkpoint that commits to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The leaf's bytes, verbatim.
    pub leaf: Vec<u8>,
    /// Its place in the log.
    pub index: u64,
    /// The siblings from the leaf up.
    pub path: Vec<Hash>,
    /// The head that it was proved for.
    pub checkpoint: SignedCheckpoint,
}

impl Receipt {
    /// Reads a receipt.
    ///
    /// # Errors
    /// It is not one, or has no leaf, or is written in another way than [`Receipt`] is.
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let text = std::str::from_utf8(bytes).map_err(|_| Flaw::Receipt {
            what: "it is not UTF-8",
        })?;
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(Flaw::Receipt {
            what: "no empty line ends its proof",
        })?;
        let mut lines = proof.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(Flaw::Receipt {
                what: "its first line is not `c2sp.org/tlog-proof@v1`",
            });
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra "));
        let extra = extra.ok_or(Flaw::Receipt {
            what: "it does not have its entry in an extra line",
        })?;
        let leaf = BASE64.decode(extra.as_bytes()).map_err(|_| Flaw::Receipt {
            what: "its entry is not base 64",
        })?;
        if leaf.len() > LEAF_LIMIT {
            return Err(Flaw::LeafTooLong { length: leaf.len() });
        }
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(|index| index.parse().ok());
        let index: u64 = index.ok_or(Flaw::Receipt {
            what: "it has no index",
        })?;
        let path: Option<Vec<Hash>> = lines.map(Hash::from_base64).collect();
        let path = path.ok_or(Flaw::Receipt {
            what: "a line of its proof is not a hash",
        })?;
        let receipt = Self {
            leaf,
            index,
            path,
            checkpoint: SignedCheckpoint::parse(checkpoint.as_bytes())?,
        };
        if receipt.to_string().as_bytes() == bytes {
            Ok(receipt)
        } else {
            Err(Flaw::Receipt {
                what: "its index is not written plainly",
            })
        }
    }

    /// The leaf's bytes, when one of `keys` has signed the checkpoint and the leaf is in the log at this index.
    ///
    /// # Errors
    /// Either is not so.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<&[u8], Flaw> {
        self.checkpoint.verify(keys)?;
        let head = self.checkpoint.checkpoint();
        verify_inclusion(
            &leaf_hash(&self.leaf),
            self.index,
            head.size,
            &self.path,
            &head.root,
        )?;
        Ok(&self.leaf)
    }

    /// The entry, when [`Receipt::verify`] holds and the entry says the index that is proved.
    ///
    /// # Errors
    /// As [`Receipt::verify`]; the leaf is not an entry, or one with another index.
    pub fn verified_entry(&self, keys: &[VerifierKey]) -> Result<Entry, Flaw> {
        let entry = Entry::parse(self.verify(keys)?)?;
        if entry.index == self.index {
            Ok(entry)
        } else {
            Err(Flaw::ReceiptIndex {
                receipt: self.index,
                entry: entry.index,
            })
        }
    }
}

impl fmt::Display for Receipt {
    /// The file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{HEADER}\nextra {}\nindex {}",
            BASE64.encode(&self.leaf),
            self.index
        )?;
        for hash in &self.path {
            writeln!(f, "{}", hash.base64())?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}
