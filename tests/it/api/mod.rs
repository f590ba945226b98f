//! The directory over HTTP: the real router over a real store, without a socket.

mod audit;
mod bad_input;
mod content;
mod directory;
mod explaining;
mod export;
mod forgetting;
pub mod found;
pub mod harness;
mod idempotency;
mod interop;
pub mod keeping;
mod marks;
mod matrix;
mod memory;
mod messages;
mod overload;
mod own;
mod pages;
mod permissions;
mod races;
pub mod restore;
mod sealed;
mod searching;
pub mod sessions;
mod takeout;
mod tamper;
