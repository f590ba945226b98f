//! What is open on one connection: requests, each from its head to the last byte of its answer; and since when nothing is.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::Instant;
use tower::Service;

use super::serve::Peer;

/// The requests that are open on one connection.
#[derive(Debug)]
pub(super) struct Streams(Mutex<Open>);

#[derive(Debug)]
struct Open {
    now: usize,
    /// When the last one ended, or the connection began.
    since: Instant,
    /// Whether there ever was one.
    any: bool,
}

impl Streams {
    /// Of a connection that begins now.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Open {
            now: 0,
            since: Instant::now(),
            any: false,
        }))
    }

    /// Waits until nothing was open for so long, from now on at least; whether anything ever was.
    pub(super) async fn idle(&self, patience: Duration) -> bool {
        let mut until = Instant::now() + patience;
        loop {
            tokio::time::sleep_until(until).await;
            let now = Instant::now();
            let open = self.open();
            match (open.now, open.since + patience) {
                (0, over) if over <= now => return open.any,
                (0, later) => until = later,
                (1.., _) => until = now + patience,
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them, for as long as it is open.
#[derive(Debug)]
struct Stream(Arc<Streams>);

impl Stream {
    fn begin(streams: &Arc<Streams>) -> Self {
        let mut open = streams.open();
        open.now += 1;
        open.any = true;
        drop(open);
        Self(Arc::clone(streams))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut open = self.0.open();
        open.now = open.now.saturating_sub(1);
        open.since = Instant::now();
    }
}

/// The routes for one connection: they are told where it comes from, and what they answer is counted until it was sent.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    pub(super) routes: Router,
    pub(super) peer: Peer,
    pub(super) streams: Arc<Streams>,
}

impl Service<Request<Incoming>> for Counted {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A router always is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let stream = Stream::begin(&self.streams);
        let answered = self.routes.call(request);
        Box::pin(async move {
            let answer = answered.await?;
            Ok(answer.map(|body| Answer {
                body,
                _stream: stream,
            }))
        })
    }
}

/// The body of an answer; its request is open until this is gone.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    _stream: Stream,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_connection_is_idle_from_the_end_of_what_was_open() {
        let streams = Arc::new(Streams::new());
        let begun = Instant::now();
        assert!(!streams.idle(PATIENCE).await, "nothing ever was");
        assert!(begun.elapsed() >= PATIENCE);
        let (first, second) = (Stream::begin(&streams), Stream::begin(&streams));
        let both = tokio::time::timeout(PATIENCE * 3, streams.idle(PATIENCE));
        assert!(both.await.is_err(), "two are open");
        drop(first);
        let one = tokio::time::timeout(PATIENCE * 3, streams.idle(PATIENCE));
        assert!(one.await.is_err(), "one is open");
        let ended = Instant::now();
        drop(second);
        assert!(streams.idle(PATIENCE).await);
        assert!(ended.elapsed() >= PATIENCE);
    }
}
