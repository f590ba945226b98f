//! The log of a tenant: how batches are framed, stored, searched and asked for; what an entry says and how strangers check it is
//! `cedarkeep-verify`, a crate of its own.

pub mod anchors;
pub mod append;
pub mod query;
pub mod search;
pub mod segment;
pub mod tree;
pub mod upkeep;
pub mod view;

pub use cedarkeep_verify::vocabulary::Event;
pub use cedarkeep_verify::{
    anchor, bundle, checkpoint, entry, flaw, merkle, name, receipt, tiles, verify, vocabulary,
    witness,
};
