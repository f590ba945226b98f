//! Cedarkeep: authorization as a service, with a log that strangers can verify.

pub mod authn;
pub mod config;
pub mod crypto;
pub mod http;
pub mod ids;
pub mod log;
pub mod policy;
pub mod storage;
pub mod telemetry;
pub mod app;
//pub mod cli;
pub mod decide;
pub mod directory;
pub mod tenant;
