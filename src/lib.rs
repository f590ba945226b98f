//! Cedarkeep: authorization as a service, with a log that strangers can verify.

pub mod crypto;
pub mod ids;
pub mod log;
pub mod storage;
