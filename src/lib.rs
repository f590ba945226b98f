//! Cedarkeep: authorization as a service, with a log that strangers can verify.
pub mod authn;
pub mod config;
pub mod http;
pub mod telemetry;
