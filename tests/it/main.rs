//! The one integration binary: a module for each room.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test that fails here has failed, which is what it is for"
)]

mod api;
mod backup;
mod crypto;
mod decide;
mod e2e;
mod harness;
mod http;
mod keys;
mod log;
mod mail;
mod oidc;
mod policy;
mod proof;
mod publish;
mod replay;
mod rotation;
mod saml;
mod tenant;
mod tidy;
