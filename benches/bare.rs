//! What the service is measured against: an axum endpoint behind the same listener, TLS, limits and parser, with a constant answer; and
//! the same one that does not answer before a record of its question is flushed to a file, with those of all others that wait.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use cedarkeep::config::Config;
use cedarkeep::http::authzen::{EVALUATION, wire};
use cedarkeep::http::problem::{Plain, Problem};
use cedarkeep::http::serve::{Listen, Serving, stop_signal};
use cedarkeep::http::tls::Certificates;
use cedarkeep::http::{edge, json};
use tokio::sync::{mpsc, oneshot};

const PATIENCE: Duration = Duration::from_secs(30);

/// So many bytes of the file are written before they are written over: a file that is there already is flushed fastest.
const AROUND: u64 = 256 << 20;

/// The most that one flush is for, as in the service.
const BATCH: usize = 1_024;

/// Serves until it is told to stop; with a record's length, durably.
pub async fn serve(data: &Path, record: Option<usize>) {
    let mut settings = Config::default();
    settings.data.dir = data.to_owned();
    let certificates = Certificates::open(&settings, chrono::Utc::now()).unwrap();
    let committed = record.map(|record| commits(data, record));
    let routes = edge(
        Router::new()
            .route(EVALUATION, post(answer))
            .with_state(committed),
        settings.http.body_limit,
    );
    let listen = Listen {
        https: SocketAddr::from(([127, 0, 0, 1], 0)),
        unix: None,
        patience: PATIENCE,
        ..Listen::of(&settings.http)
    };
    let serving = Serving::start(&listen, certificates.live(), routes).unwrap();
    println!("listening on https://{}", serving.https());
    serving
        .until(stop_signal().unwrap(), Duration::from_secs(1))
        .await
        .unwrap();
}

type Waiting = oneshot::Sender<()>;

async fn answer(
    State(committed): State<Option<mpsc::Sender<Waiting>>>,
    request: Request,
) -> Response {
    let answer = match read(request).await {
        Ok(answer) => answer,
        Err(problem) => return Plain(problem).into_response(),
    };
    if let Some(committed) = committed {
        let (done, waiting) = oneshot::channel();
        committed.send(done).await.unwrap();
        waiting.await.unwrap();
    }
    let body = serde_json::to_string(&answer).unwrap();
    (
        [(axum::http::header::CONTENT_TYPE, "application/json")],
        body,
    )
        .into_response()
}

async fn read(request: Request) -> Result<wire::Decision, Problem> {
    let (question, _) = wire::evaluation(json::body(request, PATIENCE).await?)?;
    Ok(wire::Decision::minimal(!question.subject.id.is_empty()))
}

/// Whatever waits is written and flushed together, while the next gathers.
fn commits(data: &Path, record: usize) -> mpsc::Sender<Waiting> {
    let mut file = File::create(data.join("records")).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..AROUND >> 20 {
        file.write_all(&zeros).unwrap();
    }
    file.sync_all().unwrap();
    file.rewind().unwrap();
    let (queue, mut waiting) = mpsc::channel::<Waiting>(1 << 14);
    std::thread::spawn(move || {
        let (bytes, mut batch) = (vec![7; record * BATCH], Vec::new());
        while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
            if file.stream_position().unwrap() + bytes.len() as u64 > AROUND {
                file.rewind().unwrap();
            }
            file.write_all(&bytes[..record * batch.len()]).unwrap();
            file.sync_data().unwrap();
            for done in batch.drain(..) {
                // Whoever asked may have gone at the end of a round.
                done.send(()).ok();
            }
        }
    });
    queue
}

/// One of them in a process of its own.
pub struct Bare {
    child: Child,
    pub port: u16,
}

impl Bare {
    /// Starts this benchmark's own executable again, as the endpoint.
    pub fn start(data: &Path, record: Option<usize>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--bare").arg(data);
        if let Some(record) = record {
            command.arg(record.to_string());
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let port = line.rsplit(':').next().unwrap().parse().unwrap();
        Self { child, port }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stop(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
