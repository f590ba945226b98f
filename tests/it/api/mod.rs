//! The directory over HTTP: the real router over a real store, without a socket.

mod audit;
mod bad_input;
mod content;
mod directory;
mod export;
pub mod found;
pub mod harness;
mod idempotency;
pub mod keeping;
mod marks;
mod matrix;
mod memory;
mod messages;
mod own;
mod pages;
mod permissions;
mod races;
pub mod restore;
mod takeout;
mod tamper;
