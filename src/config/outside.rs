//! How the providers and names are reached that tenants have named.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `outside.*`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Outside {
    /// Whether a tenant may name this very machine, and that without TLS: for development.
    pub allow_loopback: bool,
    /// Certificates that are trusted too.
    pub ca_file: Option<PathBuf>,
    /// The DNS server to ask, instead of the system's.
    pub dns_server: Option<SocketAddr>,
}
