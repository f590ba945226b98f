//! What is left of a body that nobody read: taken in for a moment, so that whoever is refused reads why.
//!
//! A connection that is closed while bytes are still on their way is reset, and a reset may take the answer with it
//! (RFC 9112, section 9.6). A body of more than [`MOST`] bytes is not waited for: its sender should say
//! `Expect: 100-continue`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt as _};

/// How many bytes are taken in at most.
const MOST: usize = 1024 * 1024;

/// How long they are waited for at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// The layer that takes in what the routes left of a body, after their answer and past all of them.
pub(super) async fn carry(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = if body.is_end_stream() {
        body
    } else {
        Body::from_stream(Lingering(Some(body.into_data_stream())))
    };
    next.run(Request::from_parts(parts, body)).await
}

/// A body, as long as there may be more of it.
struct Lingering(Option<BodyDataStream>);

impl Stream for Lingering {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = body.poll_next_unpin(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        tokio::spawn(async move {
            let drain = async {
                let mut taken = 0_usize;
                while let Some(Ok(piece)) = body.next().await {
                    taken = taken.saturating_add(piece.len());
                    if taken > MOST {
                        break;
                    }
                }
            };
            // Late or not: it ends here, and the connection with it.
            drop(tokio::time::timeout(PATIENCE, drain).await);
        });
    }
}
