//! The log of a tenant: what an entry says, how batches are framed, the Merkle tree over them, and what is signed, handed out and checked.

pub mod anchor;
pub mod anchors;
pub mod append;
pub mod bundle;
pub mod checkpoint;
pub mod entry;
pub mod flaw;
mod leaf;
pub mod merkle;
pub mod name;
pub mod query;
pub mod receipt;
pub mod search;
pub mod segment;
pub mod tiles;
pub mod upkeep;
pub mod verify;
pub mod view;
pub mod vocabulary;
pub mod witness;

pub use vocabulary::Event;
