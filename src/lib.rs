//! Cedarkeep: authorization as a service, with a log that strangers can verify.

pub mod policy;
