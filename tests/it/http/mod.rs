//! The edge: settings, certificates, listeners, documents. A server here is the real one with a few small
//! routes behind it.

mod authzen;
mod config;
mod connections;
mod edge;
mod listeners;
mod telemetry;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use cedarkeep::config::Config;
use cedarkeep::http::serve::{Listen, NotServing, Serving};
use cedarkeep::http::tls::Certificates;
use chrono::Utc;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than anything here takes on a slow machine; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Settings with everything in this directory.
fn settings(dir: &Path) -> Config {
    let mut settings = Config::default();
    settings.data.dir = dir.to_owned();
    settings
}

/// A server on a port of its own, until it is dropped.
struct Service {
    address: SocketAddr,
    ca: PathBuf,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), NotServing>>,
}

impl Service {
    fn start(certificates: &Certificates, routes: Router) -> Self {
        Self::start_at(certificates, routes, None, DEADLINE)
    }

    fn start_at(
        certificates: &Certificates,
        routes: Router,
        unix: Option<PathBuf>,
        patience: Duration,
    ) -> Self {
        let listen = Listen {
            https: SocketAddr::from(([127, 0, 0, 1], 0)),
            unix,
            patience,
            ..Listen::of(&Config::default().http)
        };
        Self::of(&listen, certificates, routes)
    }

    fn of(listen: &Listen, certificates: &Certificates, routes: Router) -> Self {
        let serving = Serving::start(listen, certificates.live(), routes).unwrap();
        let address = serving.https();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(serving.until(
            async {
                stopped.await.ok();
            },
            DEADLINE,
        ));
        Self {
            address,
            ca: certificates.ca().unwrap().to_owned(),
            stop,
            ended,
        }
    }

    async fn stop(self) -> Result<(), NotServing> {
        self.stop.send(()).unwrap();
        tokio::time::timeout(DEADLINE, self.ended)
            .await
            .unwrap()
            .unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }
}

/// A client that trusts this CA and no other.
fn client(ca: &Path) -> reqwest::Client {
    client_from(ca, None)
}

/// The same, at this address of the machine.
fn client_from(ca: &Path, at: Option<IpAddr>) -> reqwest::Client {
    // A second call finds it installed, which is just as good.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(ca).unwrap()).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .local_address(at)
        .timeout(DEADLINE)
        .build()
        .unwrap()
}

/// Own certificates in a new directory.
fn own() -> (TempDir, Certificates) {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(&settings(dir.path()), Utc::now()).unwrap();
    (dir, certificates)
}
