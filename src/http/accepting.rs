//! The connections of one listener: each is taken while there is a place, and served until it ends or nothing was open on it for long.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum_server::accept::Accept;
use axum_server::service::SendService;
use axum_server::{AddrListener as _, Address};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::places::Places;
use super::serve::{Most, Peer};
use super::streams::{Counted, Streams};

/// The most header lines, and the most bytes of them, that a request may have.
const HEADER_LINES: usize = 64;
const HEADER_BYTES: u32 = 32 * 1024;

/// The most requests at once on one HTTP/2 connection.
const STREAMS: u32 = 128;

/// How long nothing is accepted after the system had none to give, as where the process has too many files.
const PAUSE: Duration = Duration::from_millis(50);

/// How many times as long as a connection may be idle one may take to go that was asked to: the end of its last answer may still be on
/// its way to a slow reader.
const TO_GO: u32 = 10;

/// Told to stop: how long what is there may take to end.
pub(super) type Stop = watch::Receiver<Option<Duration>>;

/// What is served to each connection of a listener.
pub(super) struct Served {
    routes: Router,
    builder: Builder<TokioExecutor>,
    patience: Duration,
    places: Arc<Places>,
}

impl Served {
    /// These routes, with the limits of a connection.
    pub(super) fn new(routes: Router, patience: Duration, most: Most) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_headers(HEADER_LINES)
            .max_buf_size(HEADER_BYTES as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADER_BYTES)
            .keep_alive_interval(patience)
            .keep_alive_timeout(patience);
        Self {
            routes,
            builder,
            patience,
            places: Arc::new(Places::new(most)),
        }
    }

    /// Takes connections until it is told to stop. When this returns none is left.
    pub(super) async fn accept<A, T>(
        self: Arc<Self>,
        listener: A::Listener,
        acceptor: T,
        mut stop: Stop,
    ) where
        A: Address,
        A::Stream: Send,
        Peer: From<A>,
        T: Accept<A::Stream, Counted>,
        T::Future: Send + 'static,
        T::Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T::Service: SendService<Request<Incoming>> + Send,
    {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = told(&mut stop) => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept_stream() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok((stream, address)) => (stream, Peer::from(address)),
                Err(error) => {
                    refused(&error);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            // Closed at once, not left to wait: behind one that waits for the end of others everybody else would wait, whose place is
            // free; and whoever is refused can go to another node.
            let Some(place) = self.places.take(peer) else {
                metrics::counter!("cedarkeep_connections_over_limit_total").increment(1);
                tracing::debug!("connection beyond the limit closed");
                continue;
            };
            let streams = Arc::new(Streams::new());
            let routes = Counted {
                routes: self.routes.clone(),
                peer,
                streams: Arc::clone(&streams),
            };
            let accepting = acceptor.accept(stream, routes);
            let (served, mut stop) = (Arc::clone(&self), stop.clone());
            connections.spawn(async move {
                let _place = place;
                let accepted = tokio::select! {
                    biased;
                    () = told(&mut stop) => return,
                    accepted = accepting => accepted,
                };
                match accepted {
                    Ok((stream, service)) => served.serve(stream, service, &streams, stop).await,
                    Err(error) => refused(&error),
                }
            });
        }
        // From now on nobody is kept waiting for an answer that will not come.
        drop(listener);
        let grace = stop.borrow().unwrap_or_default();
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, ended).await.is_err() {
            connections.shutdown().await;
        }
    }

    /// Serves one until it ends. One on which nothing is open for as long as may be is asked to go, and goes once its answers are sent.
    async fn serve<I, S>(&self, stream: I, service: S, streams: &Streams, mut stop: Stop)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: SendService<Request<Incoming>>,
    {
        let service = TowerToHyperService::new(service.into_service());
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = told(&mut stop) => {}
            // One that has asked nothing has nothing to be told.
            asked = streams.idle(self.patience) => if !asked {
                return;
            },
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            biased;
            _ = connection => {}
            _ = streams.idle(self.patience.saturating_mul(TO_GO)) => {}
        }
    }
}

/// Waits until it is told to stop, or nobody is left who could say so.
async fn told(stop: &mut Stop) {
    drop(stop.wait_for(Option::is_some).await);
}

fn refused(error: &io::Error) {
    // Scanners and clients without our CA come here all day: counted, and logged for who looks.
    metrics::counter!("cedarkeep_connections_refused_total").increment(1);
    tracing::debug!(%error, "connection refused");
}
