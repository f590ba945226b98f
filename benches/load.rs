//! The load of a benchmark: one question over and over, each time with a number of its own, over TLS connections that stay open.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::figures::cpu;

/// What stands for the number in a body.
pub const NUMBER: &str = "0000000000000000";

/// What is sent, and what the answer must hold.
#[derive(Clone)]
pub struct Asked {
    bytes: Vec<u8>,
    /// Where the number is.
    place: usize,
    answer: String,
}

impl Asked {
    /// A POST of this body, which has [`NUMBER`] in it once.
    pub fn post(path: &str, key: &str, body: &str, answer: &str) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Self {
            place: head.len() + body.find(NUMBER).unwrap(),
            bytes: format!("{head}{body}").into_bytes(),
            answer: answer.to_owned(),
        }
    }
}

/// A process that is asked.
pub struct Target {
    pub port: u16,
    pub process: u32,
    pub tls: TlsConnector,
    pub asked: Asked,
}

/// What a target did in one round, or in several.
#[derive(Default)]
pub struct Measured {
    pub answers: usize,
    pub time: Duration,
    /// Processor time of the target.
    pub cpu: Duration,
    /// Processor time of this process, which asks.
    pub load: Duration,
    pub latencies: Vec<Duration>,
}

impl Measured {
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.time.as_secs_f64()
    }

    pub fn percentile(&mut self, percent: usize) -> Duration {
        self.latencies.sort_unstable();
        self.latencies[(self.latencies.len() * percent / 100).min(self.latencies.len() - 1)]
    }

    /// The target's processor time for one answer.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.answers as f64
    }

    /// What the target, and who asks, had of all processors' time.
    pub fn shares(&self) -> [f64; 2] {
        let all = self.time.as_secs_f64() * processors() as f64;
        [self.cpu, self.load].map(|used| used.as_secs_f64() / all)
    }

    pub fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.time += other.time;
        self.cpu += other.cpu;
        self.load += other.load;
        self.latencies.extend(other.latencies);
    }
}

pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// Trusts this CA; TLS 1.3 with one cipher suite, so that no two targets agree on different ones.
pub fn trusting(ca: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let provider = CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..ring::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Asks over this many connections for this long, each again as soon as it is answered.
pub async fn round(target: &Target, connections: usize, time: Duration) -> Measured {
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        streams.push(connect(target).await);
    }
    let this = std::process::id();
    let (start, before) = (Instant::now(), [target.process, this].map(cpu));
    let mut tasks = JoinSet::new();
    for (number, stream) in streams.into_iter().enumerate() {
        let first = u64::try_from(number).unwrap() << 40 | u64::from(this);
        tasks.spawn(ask(stream, target.asked.clone(), first, start + time));
    }
    let mut measured = Measured::default();
    while let Some(latencies) = tasks.join_next().await {
        let latencies = latencies.unwrap();
        measured.answers += latencies.len();
        measured.latencies.extend(latencies);
    }
    measured.time = start.elapsed();
    measured.cpu = cpu(target.process).saturating_sub(before[0]);
    measured.load = cpu(this).saturating_sub(before[1]);
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
    mut asked: Asked,
    first: u64,
    end: Instant,
) -> Vec<Duration> {
    let (mut latencies, mut answer, mut number) = (
        Vec::with_capacity(1 << 14),
        Vec::with_capacity(1 << 12),
        first,
    );
    let place = asked.place..asked.place + NUMBER.len();
    while Instant::now() < end {
        asked.bytes[place.clone()].copy_from_slice(format!("{number:016x}").as_bytes());
        number += 1;
        let start = Instant::now();
        stream.write_all(&asked.bytes).await.unwrap();
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
            text.starts_with("HTTP/1.1 200 ") && text.contains(&asked.answer),
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
