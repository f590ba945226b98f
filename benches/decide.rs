//! Decisions per second and how long one takes, with the durable log on, beside an axum endpoint that parses the same
//! question behind the same listener and TLS and does nothing else.
//!
//! Three processes: the service, the bare endpoint, and this one, which asks both in turn over connections that stay
//! open. They share the machine's processors, so what counts is the ratio within a run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a measurement that fails has failed; the harness is shared with the tests"
)]

mod figures;
#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use cedarkeep::config::Config;
use cedarkeep::http::authzen::{EVALUATION, wire};
use cedarkeep::http::problem::{Plain, Problem};
use cedarkeep::http::serve::{Listen, Serving, stop_signal};
use cedarkeep::http::tls::Certificates;
use cedarkeep::http::{edge, json};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use figures::cpu;
use harness::client::may_morty_change;
use harness::server::Site;

/// The service's own allocator, for what is compared with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: [usize; 3] = [1, 16, 64];
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

/// What stands for the number in a question, which every question has anew.
const NUMBER: &str = "0000000000000000";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    match arguments.iter().position(|argument| argument == "--bare") {
        Some(at) => runtime.block_on(bare(Path::new(&arguments[at + 1]))),
        None => runtime.block_on(measure()),
    }
}

/// The endpoint to compare with: the listener, TLS, limits and parser of the service, and a constant answer.
async fn bare(data: &Path) {
    let mut settings = Config::default();
    settings.data.dir = data.to_owned();
    let certificates = Certificates::open(&settings, chrono::Utc::now()).unwrap();
    let routes = edge(
        Router::new().route(EVALUATION, post(parsed)),
        settings.http.body_limit,
    );
    let listen = Listen {
        https: SocketAddr::from(([127, 0, 0, 1], 0)),
        unix: None,
        patience: PATIENCE,
    };
    let serving = Serving::start(&listen, certificates.live(), routes).unwrap();
    println!("listening on https://{}", serving.https());
    serving
        .until(stop_signal().unwrap(), Duration::from_secs(1))
        .await
        .unwrap();
}

async fn parsed(request: Request) -> Response {
    match read(request).await {
        Ok(answer) => {
            let body = serde_json::to_string(&answer).unwrap();
            (
                [(axum::http::header::CONTENT_TYPE, "application/json")],
                body,
            )
                .into_response()
        }
        Err(problem) => Plain(problem).into_response(),
    }
}

async fn read(request: Request) -> Result<wire::Decision, Problem> {
    let (question, _) = wire::evaluation(json::body(request, PATIENCE).await?)?;
    Ok(wire::Decision::minimal(question.subject.kind == "user"))
}

/// One of the two that are asked.
struct Target {
    port: u16,
    process: u32,
    key: String,
    tls: TlsConnector,
}

/// What a target did in one round, or in several.
#[derive(Default)]
struct Measured {
    answers: usize,
    time: Duration,
    cpu: Duration,
    latencies: Vec<Duration>,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.answers as f64 / self.time.as_secs_f64()
    }

    fn percentile(&mut self, percent: usize) -> Duration {
        self.latencies.sort_unstable();
        self.latencies[(self.latencies.len() * percent / 100).min(self.latencies.len() - 1)]
    }

    fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.answers as f64
    }

    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.time += other.time;
        self.cpu += other.cpu;
        self.latencies.extend(other.latencies);
    }
}

async fn measure() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let site = Site::sqlite();
    let key = site.create_todo_org("bench");
    let server = site.serve().await;
    let ours = Target {
        port: server.port(),
        process: server.id(),
        key,
        tls: trusting(&site.data().join("tls/ca.crt")),
    };

    let other = tempfile::tempdir().unwrap();
    let (mut child, port) = spawn_bare(other.path());
    let tls = trusting(&other.path().join("tls/ca.crt"));
    let bare = Target {
        port,
        process: child.id(),
        key: ours.key.clone(),
        tls,
    };

    println!(
        "SQLite, durable log on; service, bare endpoint and load are three processes on {} processors",
        processors()
    );
    println!(
        "flushing 4 KiB to this disk takes {} µs (median)\n",
        flush_us(site.beside())
    );
    println!(
        "| connections | decisions/s | p50 us | p99 us | CPU us | bare/s | p50 us | p99 us | CPU us | ratio |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut summary = Vec::new();
    for connections in CONNECTIONS {
        for target in [&ours, &bare] {
            round(target, connections, WARM_UP).await;
        }
        let (mut decided, mut parsed, mut ratios) =
            (Measured::default(), Measured::default(), Vec::new());
        for number in 0..ROUNDS {
            // Whoever goes second may find a warmer or a busier machine: they take turns at it.
            let (one, two);
            if number % 2 == 0 {
                one = round(&ours, connections, ROUND).await;
                two = round(&bare, connections, ROUND).await;
            } else {
                two = round(&bare, connections, ROUND).await;
                one = round(&ours, connections, ROUND).await;
            }
            ratios.push(one.rate() / two.rate());
            decided.add(one);
            parsed.add(two);
        }
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        let (p50, p99) = (decided.percentile(50), decided.percentile(99));
        println!(
            "| {connections} | {:.0} | {} | {} | {:.0} | {:.0} | {} | {} | {:.0} | {ratio:.3} |",
            decided.rate(),
            p50.as_micros(),
            p99.as_micros(),
            decided.cpu_us(),
            parsed.rate(),
            parsed.percentile(50).as_micros(),
            parsed.percentile(99).as_micros(),
            parsed.cpu_us(),
        );
        let against = "bare_axum";
        summary.push(serde_json::json!({
            "name": format!("decide_{connections}_vs_{against}"),
            "value": decided.rate().round(), "unit": "decisions/s",
            "ratio": (ratio * 1e4).round() / 1e4, "against": against,
        }));
        for (name, ours, theirs) in [
            ("p50", p50, parsed.percentile(50)),
            ("p99", p99, parsed.percentile(99)),
        ] {
            let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
            summary.push(serde_json::json!({
                "name": format!("decide_{connections}_{name}_vs_{against}"),
                "value": ours.as_micros(), "unit": "us", "ratio": (ratio * 1e2).round() / 1e2, "against": against,
            }));
        }
    }
    figures::where_the_time_goes(&server.client("").get("/metrics").await.unwrap().body);
    child.kill().unwrap();
    child.wait().unwrap();
    server.stop();
    site.verify("bench");

    println!("\nthe log of this run verifies");
    figures::write(summary);
}

fn spawn_bare(data: &Path) -> (Child, u16) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("--bare")
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    (child, line.rsplit(':').next().unwrap().parse().unwrap())
}

fn trusting(ca: &PathBuf) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Asks over this many connections for this long, each a new question as soon as the last is answered.
async fn round(target: &Target, connections: usize, time: Duration) -> Measured {
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        streams.push(connect(target).await);
    }
    let question = may_morty_change(NUMBER, true).to_string();
    let head = format!(
        "POST {EVALUATION} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        target.key,
        question.len()
    );
    let place = head.len() + question.find(NUMBER).unwrap();
    let request = format!("{head}{question}").into_bytes();
    let (start, before) = (Instant::now(), cpu(target.process));
    let mut tasks = JoinSet::new();
    for (number, stream) in streams.into_iter().enumerate() {
        let first = u64::try_from(number).unwrap() << 40 | u64::from(std::process::id());
        tasks.spawn(ask(stream, request.clone(), place, first, start + time));
    }
    let mut measured = Measured::default();
    while let Some(latencies) = tasks.join_next().await {
        let latencies = latencies.unwrap();
        measured.answers += latencies.len();
        measured.latencies.extend(latencies);
    }
    measured.time = start.elapsed();
    measured.cpu = cpu(target.process).saturating_sub(before);
    measured
}

async fn connect(target: &Target) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(("127.0.0.1", target.port))
        .await
        .unwrap();
    tcp.set_nodelay(true).unwrap();
    target
        .tls
        .connect(ServerName::try_from("localhost").unwrap(), tcp)
        .await
        .unwrap()
}

async fn ask(
    mut stream: TlsStream<TcpStream>,
    mut request: Vec<u8>,
    place: usize,
    first: u64,
    end: Instant,
) -> Vec<Duration> {
    let (mut latencies, mut answer, mut number) = (
        Vec::with_capacity(1 << 14),
        Vec::with_capacity(1 << 12),
        first,
    );
    while Instant::now() < end {
        request[place..place + NUMBER.len()].copy_from_slice(format!("{number:016x}").as_bytes());
        number += 1;
        let start = Instant::now();
        stream.write_all(&request).await.unwrap();
        stream.flush().await.unwrap();
        answer.clear();
        while !is_whole(&answer) {
            assert!(
                stream.read_buf(&mut answer).await.unwrap() > 0,
                "the connection ended"
            );
        }
        latencies.push(start.elapsed());
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.starts_with("HTTP/1.1 200 ") && text.ends_with("{\"decision\":true}"),
            "{text}"
        );
    }
    latencies
}

/// Whether these bytes are a head and all of the body that it announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let text = std::str::from_utf8(&answer[..head]).unwrap();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().unwrap())
    });
    answer.len() == head + 4 + length.expect("a body of known length")
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// What one durable write costs here, in microseconds: the least that a batch can take.
fn flush_us(directory: &Path) -> u128 {
    let mut file = std::fs::File::create(directory.join("flush")).unwrap();
    let mut times: Vec<_> = (0..200)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[7; 4_096]).unwrap();
            file.sync_data().unwrap();
            start.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
