//! What tests of the whole service share: it as a process, clients of it, and searches of what it wrote.

pub mod chance;
pub mod client;
pub mod cosigner;
pub mod kms;
pub mod postgres;
pub mod raw;
pub mod scan;
pub mod server;
pub mod smtp;
pub mod token;
pub mod witness;
