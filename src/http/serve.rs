//! Listeners: HTTPS, a Unix socket beside it, and how both come to an end.
//!
//! There is no listener for plain HTTP over TCP, and no setting for one.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::accepting::Served;
use super::hello::Hello;
use super::linger;
use crate::config::Http;

/// How long a TLS handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// Why nothing listens, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum NotServing {
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A process answers at the socket's path.
    #[error("another process listens on `{}`", .0.display())]
    InUse(PathBuf),
    /// Something lies at the socket's path, and it is no socket.
    #[error("`{}` is there and is not a socket; remove it or set `http.unix_socket` to another path", .0.display())]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("cannot make the socket `{}`", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system does not let us wait for signals.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// A listener ended by itself.
    #[error("a listener ended")]
    Ended(#[source] io::Error),
}

/// Where a request came from; `ConnectInfo<Peer>` in a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over TLS, from this address.
    Tcp(SocketAddr),
    /// Over the Unix socket.
    Unix,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<UnixAddr> for Peer {
    fn from(_: UnixAddr) -> Self {
        Self::Unix
    }
}

impl Peer {
    /// The address of the site that it is at; callers on this machine have none. Of IPv6 the part that one site has, since its other
    /// half is everybody's own choice.
    pub(super) fn site(self) -> Option<IpAddr> {
        match self {
            Self::Unix => None,
            Self::Tcp(address) => Some(match address.ip().to_canonical() {
                IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
                ip @ IpAddr::V4(_) => ip,
            }),
        }
    }
}

/// How many connections a listener has at once.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// In all.
    pub all: usize,
    /// From one site: an address, of IPv6 a /64. The Unix socket has none.
    pub of_one: usize,
}

/// Where to listen, how long to wait for callers, and for how many.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Where HTTPS listens.
    pub https: SocketAddr,
    /// The Unix socket, if there is to be one.
    pub unix: Option<PathBuf>,
    /// How long a caller may take to send a request's head, or leave a connection with nothing open on it.
    pub patience: Duration,
    /// How many connections each listener has at once.
    pub most: Most,
}

impl Listen {
    /// What the settings say.
    #[must_use]
    pub fn of(settings: &Http) -> Self {
        Self {
            https: settings.listen,
            unix: settings.unix_socket.clone(),
            patience: settings.request_timeout(),
            most: Most {
                all: settings.connections_max,
                of_one: settings.connections_address_max,
            },
        }
    }
}

/// Listeners at work.
#[derive(Debug)]
pub struct Serving {
    https: SocketAddr,
    unix: Option<PathBuf>,
    stop: watch::Sender<Option<Duration>>,
    tasks: JoinSet<()>,
}

impl Serving {
    /// Starts to listen. When this returns, connections are taken on every listener.
    ///
    /// # Errors
    ///
    /// When one of them cannot be had; then none stays.
    pub fn start(listen: &Listen, tls: RustlsConfig, routes: Router) -> Result<Self, NotServing> {
        let refused = |source| NotServing::Listen {
            address: listen.https,
            source,
        };
        let socket = TcpListener::bind(listen.https).map_err(refused)?;
        let https = socket.local_addr().map_err(refused)?;
        socket.set_nonblocking(true).map_err(refused)?;
        let tcp = tokio::net::TcpListener::from_std(socket).map_err(refused)?;
        // The last that can fail comes before anything runs.
        let unix = listen.unix.as_deref().map(bind_unix).transpose()?;

        let routes = routes.layer(axum::middleware::from_fn(linger::carry));
        let served = || Arc::new(Served::new(routes.clone(), listen.patience, listen.most));
        let (stop, stopped) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let acceptor = RustlsAcceptor::new(tls)
            .handshake_timeout(HANDSHAKE_PATIENCE)
            .acceptor(Hello {
                patience: HANDSHAKE_PATIENCE,
            });
        tasks.spawn(served().accept::<SocketAddr, _>(tcp, acceptor, stopped.clone()));
        if let Some(unix) = unix {
            // Places of its own: no flood from outside keeps out who is on this machine.
            tasks.spawn(served().accept::<UnixAddr, _>(unix, DefaultAcceptor::new(), stopped));
        }
        Ok(Self {
            https,
            unix: listen.unix.clone(),
            stop,
            tasks,
        })
    }

    /// Where HTTPS listens, with the port that the system chose if none was given.
    #[must_use]
    pub const fn https(&self) -> SocketAddr {
        self.https
    }

    /// Serves until `stop`, then takes no new connections and lets the requests that are there end, for
    /// `grace` at most. When this returns no handler runs any more, so what they wait for may be closed.
    ///
    /// # Errors
    ///
    /// When a listener ended by itself.
    pub async fn until(
        mut self,
        stop: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<(), NotServing> {
        let mut outcome = tokio::select! {
            () = stop => Ok(()),
            ended = self.tasks.join_next() => Err(ended_early(ended)),
        };
        self.stop.send_replace(Some(grace));
        while let Some(ended) = self.tasks.join_next().await {
            if ended.is_err() && outcome.is_ok() {
                outcome = Err(ended_early(Some(ended)));
            }
        }
        if let Some(path) = &self.unix
            && let Err(refused) = std::fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), error = %refused, "the socket file stays behind");
        }
        outcome
    }
}

/// Waits for SIGTERM or SIGINT. Both are caught from this call on, not only once the result is polled.
///
/// # Errors
///
/// When the system does not let us wait for signals.
pub fn stop_signal() -> Result<impl Future<Output = ()>, NotServing> {
    let mut terminate = signal(SignalKind::terminate()).map_err(NotServing::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(NotServing::Signals)?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
    })
}

/// A socket at this path that its owner and group may use. One that a dead process left is replaced.
fn bind_unix(path: &Path) -> Result<tokio::net::UnixListener, NotServing> {
    let failed = |source| NotServing::Socket {
        path: path.to_owned(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Err(absent) if absent.kind() == ErrorKind::NotFound => {}
        Err(other) => return Err(failed(other)),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(NotServing::NotASocket(path.to_owned()));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(NotServing::InUse(path.to_owned())),
            Err(dead) if dead.kind() == ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed)?;
            }
            Err(other) => return Err(failed(other)),
        },
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    tokio::net::UnixListener::from_std(listener).map_err(failed)
}

fn ended_early(ended: Option<Result<(), tokio::task::JoinError>>) -> NotServing {
    NotServing::Ended(match ended {
        Some(Err(broken)) => io::Error::other(broken),
        Some(Ok(())) | None => io::Error::other("without a reason"),
    })
}
