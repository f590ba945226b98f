//! Listeners: HTTPS, a Unix socket beside it, and how both come to an end.
//!
//! There is no listener for plain HTTP over TCP, and no setting for one.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Address, Handle, Server};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::hello::Hello;
use super::linger;

/// How long a TLS handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// The most header lines, and the most bytes of them, that a request may have.
const HEADER_LINES: usize = 64;
const HEADER_BYTES: u32 = 32 * 1024;

/// The most requests at once on one HTTP/2 connection.
const STREAMS: u32 = 128;

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

impl Connected<SocketAddr> for Peer {
    fn connect_info(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl Connected<UnixAddr> for Peer {
    fn connect_info(_: UnixAddr) -> Self {
        Self::Unix
    }
}

/// Where to listen, and how long to wait for a request's head.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Where HTTPS listens.
    pub https: SocketAddr,
    /// The Unix socket, if there is to be one.
    pub unix: Option<PathBuf>,
    /// How long a caller may take to send a request's head, or leave a connection idle.
    pub patience: Duration,
}

/// Listeners at work.
#[derive(Debug)]
pub struct Serving {
    https: SocketAddr,
    tcp: Handle<SocketAddr>,
    unix: Option<(Handle<UnixAddr>, PathBuf)>,
    tasks: JoinSet<io::Result<()>>,
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
        let routes = routes.layer(axum::middleware::from_fn(linger::carry));
        let service = routes.into_make_service_with_connect_info::<Peer>();
        let mut tasks = JoinSet::new();

        // The last that can fail comes before anything runs.
        let unix = match &listen.unix {
            None => None,
            Some(path) => {
                let failed = |source| NotServing::Socket {
                    path: path.clone(),
                    source,
                };
                let listener = bind_unix(path)?;
                let handle = Handle::new();
                let server = bounded(
                    axum_server::from_unix(listener).map_err(failed)?,
                    listen.patience,
                );
                Some((server.handle(handle.clone()), handle, path.clone()))
            }
        };
        let tcp = Handle::new();
        let acceptor = RustlsAcceptor::new(tls)
            .handshake_timeout(HANDSHAKE_PATIENCE)
            .acceptor(Hello {
                patience: HANDSHAKE_PATIENCE,
            });
        let server = bounded(
            axum_server::from_tcp(socket).map_err(refused)?,
            listen.patience,
        );
        tasks.spawn(
            server
                .acceptor(acceptor)
                .handle(tcp.clone())
                .serve(service.clone()),
        );
        let unix = unix.map(|(server, handle, path)| {
            tasks.spawn(server.serve(service));
            (handle, path)
        });
        Ok(Self {
            https,
            tcp,
            unix,
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
        self.tcp.graceful_shutdown(Some(grace));
        if let Some((handle, _)) = &self.unix {
            handle.graceful_shutdown(Some(grace));
        }
        while let Some(ended) = self.tasks.join_next().await {
            if !matches!(ended, Ok(Ok(()))) && outcome.is_ok() {
                outcome = Err(ended_early(Some(ended)));
            }
        }
        if let Some((_, path)) = &self.unix
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

fn bounded<A: Address>(server: Server<A>, patience: Duration) -> Server<A> {
    let mut server = server
        .first_request_timeout(patience)
        .accept_error_handler(|_, refused| {
            // Scanners and clients without our CA come here all day: counted, and logged for who looks.
            metrics::counter!("cedarkeep_connections_refused_total").increment(1);
            tracing::debug!(error = %refused, "connection refused");
        });
    let builder = server.http_builder();
    builder
        .http1()
        .header_read_timeout(patience)
        .max_headers(HEADER_LINES)
        .max_buf_size(HEADER_BYTES as usize);
    builder
        .http2()
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .keep_alive_interval(patience)
        .keep_alive_timeout(patience);
    server
}

/// A socket at this path that its owner and group may use. One that a dead process left is replaced.
fn bind_unix(path: &Path) -> Result<UnixListener, NotServing> {
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
    Ok(listener)
}

fn ended_early(ended: Option<Result<io::Result<()>, tokio::task::JoinError>>) -> NotServing {
    NotServing::Ended(match ended {
        Some(Ok(Err(refused))) => refused,
        Some(Err(broken)) => io::Error::other(broken),
        Some(Ok(Ok(()))) | None => io::Error::other("without a reason"),
    })
}
