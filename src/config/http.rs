//! The edge.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::BaseUrl;

/// `http.*`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Http {
    /// Where HTTPS listens.
    pub listen: SocketAddr,
    /// How clients reach the service.
    pub base_url: BaseUrl,
    /// A Unix socket beside it.
    pub unix_socket: Option<PathBuf>,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// How long a caller may take to send a request's head, and again its body, and how long a connection may have nothing open on it.
    pub request_timeout_ms: u64,
    /// Connections that are open at once on each listener.
    pub connections_max: usize,
    /// The same from one address, of IPv6 from one /64.
    pub connections_address_max: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            base_url: BaseUrl::default(),
            unix_socket: None,
            body_limit: 1_048_576,
            request_timeout_ms: 30_000,
            connections_max: 4_096,
            connections_address_max: 1_024,
        }
    }
}

impl Http {
    /// How long a caller may take to send a request's head, and again its body.
    #[must_use]
    pub const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// What cannot work, and what would.
    pub(super) fn unfit(&self) -> Option<(&'static str, &'static str)> {
        if !(1024..=67_108_864).contains(&self.body_limit) {
            return Some((
                "http.body_limit",
                "must lie between 1024 and 67108864 bytes",
            ));
        }
        if !(100..=600_000).contains(&self.request_timeout_ms) {
            return Some(("http.request_timeout_ms", "must lie between 100 and 600000"));
        }
        if !(1..=1_048_576).contains(&self.connections_max) {
            return Some(("http.connections_max", "must lie between 1 and 1048576"));
        }
        if !(1..=1_048_576).contains(&self.connections_address_max) {
            return Some((
                "http.connections_address_max",
                "must lie between 1 and 1048576",
            ));
        }
        None
    }
}
