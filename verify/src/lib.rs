//! What a stranger needs to check a Cedarkeep log: its formats, and their verification.
//!
//! Nothing here reads a file, opens a connection, asks the clock or draws a random number: whoever has the bytes gives them, with the
//! public keys that they trust. So it can be embedded wherever somebody wants to be sure, without the service.
//!
//! - [`bundle::verify`] checks an export as it is read, once, in the memory of a few tiles.
//! - [`receipt::Receipt`] shows that a log has one entry, [`anchor::Anchor`] that the deployment's log commits to a checkpoint.
//! - [`verify::Verification`] takes leaves one by one and holds them against a signed checkpoint.
//! - [`checkpoint`] has the signed heads and the keys, [`witness`] the cosignatures and the policies about them, [`merkle`] and [`tiles`]
//!   the proofs, [`entry`] what an entry says.
//!
//! The formats are C2SP's where there is one (signed-note, tlog-checkpoint, tlog-tiles, tlog-proof, tlog-cosignature, tlog-policy); our own
//! are said where they are read. Absence of evidence is a finding, never a pass.

pub mod anchor;
pub mod bundle;
pub mod checkpoint;
pub mod entry;
pub mod flaw;
mod leaf;
pub mod merkle;
pub mod name;
pub mod receipt;
mod report;
mod restored;
pub mod tiles;
pub mod verify;
mod versions;
pub mod vocabulary;
pub mod witness;
