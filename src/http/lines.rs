//! Answers of long work: lines of JSON, told as it goes on, the last of which says what came of it.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::problem::Problem;

/// How many lines wait for a slow reader.
const WAITING: usize = 4;

/// How often it is told how far it is.
const TOLD: Duration = Duration::from_millis(250);

type Line = Result<Vec<u8>, Infallible>;

/// Tells whoever reads how far it is.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    out: mpsc::Sender<Line>,
    told: Arc<Mutex<Option<Instant>>>,
}

impl Teller {
    /// Tells it, if nothing was told a moment ago. Over, once nobody reads any more.
    pub(super) fn tell(&self, line: &Value) -> ControlFlow<()> {
        if self.out.is_closed() {
            return ControlFlow::Break(());
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TOLD) {
            *told = Some(Instant::now());
            // Whoever reads slowly misses some of them.
            drop(self.out.try_send(written(line)));
        }
        ControlFlow::Continue(())
    }
}

/// Work that goes on for as long as somebody reads: its last line, or why there is none; nothing where nobody waits for it.
pub(super) fn told<W>(work: impl FnOnce(Teller) -> W) -> Response
where
    W: Future<Output = Option<Result<Value, Problem>>> + Send + 'static,
{
    let (out, lines) = mpsc::channel(WAITING);
    let teller = Teller {
        out: out.clone(),
        told: Arc::default(),
    };
    let work = work(teller);
    tokio::spawn(async move {
        let last = tokio::select! {
            last = work => last,
            () = out.closed() => None,
        };
        let last = match last {
            None => return,
            Some(Ok(last)) => last,
            Some(Err(problem)) => {
                json!({ "problem": { "code": problem.code(), "detail": problem.message() } })
            }
        };
        // Whoever is gone needs no report.
        drop(out.send(written(&last)).await);
    });
    let mut response = Body::from_stream(ReceiverStream::new(lines)).into_response();
    let headers = response.headers_mut();
    let media = HeaderValue::from_static("application/x-ndjson");
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn written(line: &Value) -> Line {
    Ok(format!("{line}\n").into_bytes())
}
