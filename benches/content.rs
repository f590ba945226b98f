//! Content through the real service, beside what it cannot do without: a long upload beside sealing the same bytes and writing a file
//! durably, a download beside reading that file and opening it, and short items beside the decision alone about the same thing.
//!
//! The service is a process of its own, asked over TLS and over its Unix socket; the load shares the machine's processors with it. What
//! counts is the ratio within a run.

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

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cedarkeep::crypto;
use cedarkeep::crypto::cobblestone::{self, Chunk, HEADER, Key, Opener, SEALED_CHUNK, Salt};
use cedarkeep::crypto::secret::Secret32;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use figures::cpu;
use harness::client::Client;
use harness::postgres;
use harness::raw::{Raw, request, whole};
use harness::server::{Server, Site};

/// The service's own allocator, for what is compared with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The bytes of a long content, and how often it goes in and out.
const LONG: usize = 1 << 30;
const TURNS: usize = 3;
/// How much is sealed, written, read and sent at a time.
const PIECE: usize = 256 * 1024;
/// The bytes of a short one.
const SHORT: usize = 100;

const CONNECTIONS: [usize; 2] = [16, 64];
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_secs(1);

fn main() {
    let argument = |name: &str| {
        let mut all = std::env::args().skip_while(move |one| one != name);
        all.nth(1)
    };
    let length = argument("--bytes").map_or(LONG, |text| text.parse().unwrap());
    // `sqlite`, `postgres`, or both.
    let only = argument("--only");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut summary = Vec::new();
    runtime.block_on(async {
        let takes = |name: &str| only.as_deref().is_none_or(|only| only == name);
        if takes("sqlite") {
            measure("", Site::sqlite(), length, &mut summary).await;
        }
        if takes("postgres") {
            let server = postgres::start();
            let site = Site::postgres(&server.url());
            // It writes everything twice, into its log and its tables: a quarter will do.
            measure("_postgres", site, length / 4, &mut summary).await;
        }
    });
    figures::write(summary);
}

/// Who is asked, and what about.
struct Scene {
    site: Site,
    server: Server,
    socket: PathBuf,
    key: String,
    admin: String,
}

/// How the service is reached.
#[derive(Clone, Copy, PartialEq)]
enum Over {
    Tls,
    Unix,
}

impl Scene {
    async fn set(mut site: Site) -> Self {
        let socket = site.beside().join("socket");
        site.set("CEDARKEEP_HTTP__UNIX_SOCKET", socket.to_str().unwrap());
        site.create_org("bench");
        let admin = site.add_admin("bench");
        let every = "decide,directory.read,directory.write,content";
        let key = site.create_key("bench", every);
        let server = site.serve().await;
        Self {
            site,
            server,
            socket,
            key,
            admin,
        }
    }

    async fn connect(&self, over: Over) -> Raw {
        match over {
            Over::Tls => Raw::tls(&self.site.data().join("tls/ca.crt"), self.server.port()).await,
            Over::Unix => Raw::unix(&self.socket).await,
        }
    }

    fn head(&self, method: &str, path: &str) -> String {
        request(method, path, &self.key, &self.admin)
    }

    /// Makes something that content is kept of; its kind and identifier.
    async fn made(&self, client: &Client, number: usize) -> (&'static str, String) {
        let (kind, path, body) = match number % 2 {
            0 => (
                "Memory",
                "/v1/memory",
                json!({"name": "A fact", "layer": "organization"}),
            ),
            _ => ("Document", "/v1/documents", json!({"name": "A note"})),
        };
        let headers = [
            ("content-type", "application/json"),
            ("cedarkeep-acting-user", self.admin.as_str()),
        ];
        let body = Some(body.to_string().into_bytes());
        let made = client.send(reqwest::Method::POST, path, &headers, body);
        let made = made.await.unwrap();
        assert_eq!(made.status, 201, "{}", made.body);
        (kind, made.json()["id"].as_str().unwrap().to_owned())
    }
}

async fn measure(suffix: &str, site: Site, length: usize, summary: &mut Vec<Value>) {
    let scene = Scene::set(site).await;
    println!(
        "\n## {}: {length} bytes at once, then {SHORT} at a time; two processes on {} processors\n",
        if suffix.is_empty() {
            "SQLite"
        } else {
            "PostgreSQL"
        },
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    long(&scene, suffix, length, summary).await;
    short(&scene, suffix, summary).await;
    let metrics = scene.server.client("").get("/metrics").await.unwrap().body;
    figures::where_the_time_goes(&metrics);
    scene.server.stop();
    scene.site.verify("bench");
    println!("\nthe log of this run verifies");
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for some in bytes.chunks_mut(64) {
        let random: [u8; 64] = crypto::random().unwrap();
        some.copy_from_slice(&random[..some.len()]);
    }
    bytes
}

/// Waits until the disk has what was written: nobody pays for whoever wrote before.
fn settled() {
    rustix::fs::sync();
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Sealing and writing a file, durably; then reading and opening it.
fn raw(path: &Path, piece: &[u8], length: usize) -> (Duration, Duration) {
    let key = Key::of(&Secret32::random().unwrap());
    let context = b"a benchmark";
    let begun = Instant::now();
    let mut file = File::create(path).unwrap();
    let mut sealed = Vec::with_capacity(PIECE + PIECE / 512);
    let salt = Salt::random().unwrap();
    let mut sealer = cobblestone::Sealer::start(&key, context, salt, &mut sealed);
    let mut rest = length;
    while rest > 0 {
        let some = &piece[..PIECE.min(rest)];
        sealer.push(some, &mut sealed).unwrap();
        file.write_all(&sealed).unwrap();
        sealed.clear();
        rest -= some.len();
    }
    sealer.finish(&mut sealed).unwrap();
    file.write_all(&sealed).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let put = begun.elapsed();

    let begun = Instant::now();
    let mut file = File::open(path).unwrap();
    let mut header = [0; HEADER];
    file.read_exact(&mut header).unwrap();
    let opener = Opener::start(&key, context, &header).unwrap();
    let mut sealed = vec![0; 16 * SEALED_CHUNK];
    let (mut chunks, mut ended, mut text) = (0, false, Vec::with_capacity(PIECE));
    while !ended {
        let mut filled = 0;
        while filled < sealed.len() {
            match file.read(&mut sealed[filled..]).unwrap() {
                0 => break,
                read => filled += read,
            }
        }
        text.clear();
        for chunk in sealed[..filled].chunks(SEALED_CHUNK) {
            ended = opener.open_chunk(chunks, chunk, &mut text).unwrap() == Chunk::Last;
            chunks += 1;
        }
        std::hint::black_box(&text);
    }
    (put, begun.elapsed())
}

async fn long(scene: &Scene, suffix: &str, length: usize, summary: &mut Vec<Value>) {
    let piece = random(PIECE);
    let client = scene.server.client(&scene.key);
    let aside = scene.site.beside().join("raw");
    let mut raws = (Vec::new(), Vec::new());
    let mut ours = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    let (mut used, mut peaks) = (Duration::ZERO, [0, 0]);
    // The first of each is not counted.
    for turn in 0..=TURNS {
        settled();
        let (put, get) = tokio::task::block_in_place(|| raw(&aside, &piece, length));
        std::fs::remove_file(&aside).unwrap();
        if turn > 0 {
            raws.0.push(put);
            raws.1.push(get);
        }
        for (times, over) in ours.iter_mut().zip([Over::Unix, Over::Tls]) {
            let (_, id) = scene.made(&client, 1).await;
            let path = format!("/v1/documents/{id}/content");
            let mut raw = scene.connect(over).await;
            settled();
            let before = cpu(scene.server.id());
            let idle = scene.server.forget_peak();
            let begun = Instant::now();
            let head = scene.head("PUT", &path);
            let (status, body) = raw.upload(&head, length, |_| &piece).await.unwrap();
            let put = begun.elapsed();
            let beyond = scene.server.status("VmHWM:").saturating_sub(idle);
            peaks[0] = beyond.max(peaks[0]);
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
            let idle = scene.server.forget_peak();
            let begun = Instant::now();
            raw.send(&whole(&scene.head("GET", &path), b""))
                .await
                .unwrap();
            let mut taken = 0;
            let answer = raw.answer(|bytes| {
                // Now and then, that it is what went in; all of it is what the tests are for.
                let at = taken % PIECE;
                let same = bytes.len().min(PIECE - at).min(64);
                assert!(bytes[..same] == piece[at..at + same], "at {taken}");
                taken += bytes.len();
            });
            assert_eq!(answer.await.unwrap().status, 200);
            let get = begun.elapsed();
            let beyond = scene.server.status("VmHWM:").saturating_sub(idle);
            peaks[1] = beyond.max(peaks[1]);
            assert_eq!(taken, length);
            used += cpu(scene.server.id()) - before;
            if turn > 0 {
                times.0.push(put);
                times.1.push(get);
            }
            // What was measured makes room: each turn finds the disk as the one before.
            let delete = whole(&scene.head("DELETE", &path), b"");
            let gone = raw.exchange(&delete).await.unwrap();
            assert_eq!(gone.0, 204);
        }
    }
    println!(
        "the service used {:.2} s of processor time a GiB in and out",
        used.as_secs_f64() / (2 * (TURNS + 1)) as f64 * LONG as f64 / length as f64
    );
    for (what, peak) in ["put", "get"].into_iter().zip(peaks) {
        println!("{what}: at most {} MiB more memory than idle", peak >> 10);
        summary.push(json!({
            "name": format!("content_{what}_peak{suffix}"), "value": peak >> 10, "unit": "MiB over idle",
        }));
    }
    println!("| what | MiB/s | raw MiB/s | ratio |");
    println!("| --- | ---: | ---: | ---: |");
    let rate = |time: Duration| length as f64 / (1 << 20) as f64 / time.as_secs_f64();
    let raws = (rate(median(raws.0)), rate(median(raws.1)));
    for ((put, get), over) in ours.into_iter().zip(["", "_tls"]) {
        for (what, time, raw) in [("put", put, raws.0), ("get", get, raws.1)] {
            let ours = rate(median(time));
            let name = format!("content_{what}{over}_vs_raw{suffix}");
            println!("| {name} | {ours:.0} | {raw:.0} | {:.3} |", ours / raw);
            summary.push(json!({
                "name": name, "value": ours.round(), "unit": "MiB/s",
                "ratio": (ours / raw * 1e3).round() / 1e3, "against": "raw",
            }));
        }
    }
}

/// What is asked for of each item: its content in, its content out, and the decision about the same alone.
#[derive(Clone, Copy)]
enum What {
    Put,
    Get,
    MayPut,
    MayGet,
}

impl What {
    fn request(self, scene: &Scene, (kind, id): &(&str, String), text: &[u8]) -> Vec<u8> {
        let collection = if *kind == "Memory" {
            "memory"
        } else {
            "documents"
        };
        let path = format!("/v1/{collection}/{id}/content");
        let question = |action: &str| {
            let question = json!({
                "subject": {"type": "User", "id": scene.admin},
                "action": {"name": action},
                "resource": {"type": kind, "id": id},
            });
            let head = format!(
                "POST /access/v1/evaluation HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
                scene.key
            );
            whole(&head, question.to_string().as_bytes())
        };
        match (self, *kind) {
            (Self::Put, _) => whole(&scene.head("PUT", &path), text),
            (Self::Get, _) => whole(&scene.head("GET", &path), b""),
            (Self::MayPut, "Memory") => question("memory.write"),
            (Self::MayPut, _) => question("document.edit"),
            (Self::MayGet, "Memory") => question("memory.read"),
            (Self::MayGet, _) => question("document.read"),
        }
    }

    fn is_answered(self, status: u16, body: &[u8], text: &[u8]) -> bool {
        status == 200
            && match self {
                Self::Put => true,
                Self::Get => body == text,
                Self::MayPut | Self::MayGet => body == b"{\"decision\":true}",
            }
    }
}

/// What was done in one round, or in several.
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

    fn percentile(&mut self, percent: usize) -> u128 {
        self.latencies.sort_unstable();
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len() - 1);
        self.latencies[at].as_micros()
    }

    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.time += other.time;
        self.cpu += other.cpu;
        self.latencies.extend(other.latencies);
    }
}

/// Asks over as many connections as there are items, each as soon as it was answered.
async fn round(
    scene: &Scene,
    items: &[(&'static str, String)],
    what: What,
    time: Duration,
) -> Measured {
    let text = "x".repeat(SHORT).into_bytes();
    let mut asked = Vec::with_capacity(items.len());
    for item in items {
        let request = what.request(scene, item, &text);
        asked.push((scene.connect(Over::Tls).await, request, text.clone()));
    }
    let (begun, before) = (Instant::now(), cpu(scene.server.id()));
    let mut tasks = JoinSet::new();
    for (mut raw, request, text) in asked {
        tasks.spawn(async move {
            let mut latencies = Vec::with_capacity(1 << 12);
            while begun.elapsed() < time {
                let start = Instant::now();
                let (status, body) = raw.exchange(&request).await.unwrap();
                latencies.push(start.elapsed());
                assert!(
                    what.is_answered(status, &body, &text),
                    "{status}: {}",
                    String::from_utf8_lossy(&body)
                );
            }
            latencies
        });
    }
    let mut measured = Measured::default();
    while let Some(latencies) = tasks.join_next().await {
        let latencies = latencies.unwrap();
        measured.answers += latencies.len();
        measured.latencies.extend(latencies);
    }
    measured.time = begun.elapsed();
    measured.cpu = cpu(scene.server.id()).saturating_sub(before);
    measured
}

async fn short(scene: &Scene, suffix: &str, summary: &mut Vec<Value>) {
    let client = scene.server.client(&scene.key);
    let mut items = Vec::new();
    for number in 0..CONNECTIONS[1] {
        items.push(scene.made(&client, number).await);
    }
    println!(
        "\n| connections over TLS | what | items/s | p50 us | p99 us | CPU us | decisions/s | p50 us | CPU us | ratio |"
    );
    println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for connections in CONNECTIONS {
        let items = &items[..connections];
        for (name, item, decision) in [
            ("put", What::Put, What::MayPut),
            ("get", What::Get, What::MayGet),
        ] {
            for what in [item, decision] {
                round(scene, items, what, WARM_UP).await;
            }
            let (mut kept, mut decided) = (Measured::default(), Measured::default());
            let mut ratios = Vec::new();
            for number in 0..ROUNDS {
                // Whoever goes second may find a warmer or a busier machine: they take turns at it.
                let (one, two);
                if number % 2 == 0 {
                    one = round(scene, items, item, ROUND).await;
                    two = round(scene, items, decision, ROUND).await;
                } else {
                    two = round(scene, items, decision, ROUND).await;
                    one = round(scene, items, item, ROUND).await;
                }
                ratios.push(one.rate() / two.rate());
                kept.add(one);
                decided.add(two);
            }
            ratios.sort_by(f64::total_cmp);
            let ratio = ratios[ratios.len() / 2];
            let each = |one: &Measured| one.cpu.as_secs_f64() * 1e6 / one.answers as f64;
            println!(
                "| {connections} | {name} | {:.0} | {} | {} | {:.0} | {:.0} | {} | {:.0} | {ratio:.3} |",
                kept.rate(),
                kept.percentile(50),
                kept.percentile(99),
                each(&kept),
                decided.rate(),
                decided.percentile(50),
                each(&decided),
            );
            let name = match connections {
                // Enough of them that a commit is shared.
                64 => format!("content_items_{name}_vs_decide{suffix}"),
                few => format!("content_items_{few}_{name}_vs_decide{suffix}"),
            };
            summary.push(json!({
                "name": name, "value": kept.rate().round(), "unit": "items/s",
                "ratio": (ratio * 1e3).round() / 1e3, "against": "decide",
            }));
        }
    }
}
