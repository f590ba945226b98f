//! Decisions per second and how long one takes, with the durable log on, beside an axum endpoint that parses the same questions behind
//! the same listener and TLS and does nothing else, and beside that endpoint with as many bytes flushed for each question.
//!
//! Four processes: the service, both endpoints, and this one, which asks them in turn over connections that stay open. They share the
//! machine's processors, so what counts is the ratio within a run. `-- --at 64` measures at so many connections alone.

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

mod bare;
mod figures;
#[path = "../tests/it/harness/mod.rs"]
mod harness;
mod load;
mod mix;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use bare::Bare;
use harness::server::Site;
use load::{Measured, Target, processors, round, trusting};
use mix::Scene;

/// The service's own allocator, for what is compared with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: [usize; 3] = [1, 64, 256];
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_secs(1);
const BATCH: usize = 100;
const SLUG: &str = "bench";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|argument| argument == name);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    if let Some(at) = after("--bare") {
        let record = arguments.get(at + 2).map(|bytes| bytes.parse().unwrap());
        runtime.block_on(bare::serve(Path::new(&arguments[at + 1]), record));
    } else {
        let only = after("--at").map(|at| arguments[at + 1].parse().unwrap());
        runtime.block_on(measure(only));
    }
}

async fn measure(only: Option<usize>) {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let site = Site::sqlite();
    site.create_org(SLUG);
    let server = site.serve().await;
    let begun = Instant::now();
    let scene = Arc::new(mix::scene(&site, &server, SLUG).await);
    println!(
        "the organization was made in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    let mut ours = Target {
        port: server.port(),
        process: server.id(),
        tls: trusting(&site.data().join("tls/ca.crt")),
        asked: scene.singles(),
    };
    let record = written_for_one(&ours).await;
    let places = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [plain, durable] = [None, Some(record)].map(|record| {
        let at = &places[usize::from(record.is_some())];
        (Bare::start(at.path(), record), at)
    });
    let [plain_target, durable_target] = [&plain, &durable].map(|(bare, at)| Target {
        port: bare.port,
        process: bare.id(),
        tls: trusting(&at.path().join("tls/ca.crt")),
        asked: scene.singles_answered_alike(),
    });

    println!(
        "SQLite, durable log on; service, endpoints and load are processes on {} processors; {record} bytes are written for each question",
        processors()
    );
    println!(
        "flushing 4 KiB to this disk takes {} µs (median)\n",
        flush_us(site.beside())
    );
    println!(
        "| connections | decisions/s | p50 us | p99 us | CPU us | bare/s | p50 us | CPU us | ratio (spread) | durable/s | p50 us | CPU us | ratio (spread) |"
    );
    println!(
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    let changes = tokio::spawn(changed(Arc::clone(&scene)));
    let mut summary = Vec::new();
    for connections in CONNECTIONS {
        if only.is_none_or(|only| only == connections) {
            let targets = [&ours, &plain_target, &durable_target];
            summary.extend(compared(targets, connections).await);
        }
    }
    if only.is_none() {
        summary.push(batches(&mut ours, &scene).await);
    }
    changes.abort();
    figures::where_the_time_goes(&server.client("").get("/metrics").await.unwrap().body);
    for (bare, _) in [plain, durable] {
        bare.stop();
    }
    server.stop();
    site.verify(SLUG);

    println!("\nthe log of this run verifies");
    figures::write(summary);
}

/// One change a second.
async fn changed(scene: Arc<Scene>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        scene.change().await;
    }
}

/// How many bytes the service has written to the disk for one question, under load.
async fn written_for_one(target: &Target) -> usize {
    round(target, 64, WARM_UP).await;
    let before = written(target.process);
    let measured = round(target, 64, ROUND).await;
    usize::try_from(written(target.process) - before).unwrap() / measured.answers
}

fn written(process: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}

/// All three in turn, at so many connections.
async fn compared(targets: [&Target; 3], connections: usize) -> Vec<Value> {
    for target in targets {
        round(target, connections, WARM_UP).await;
    }
    let mut all: [Measured; 3] = Default::default();
    let mut ratios = [Vec::new(), Vec::new()];
    for number in 0..ROUNDS {
        // Whoever goes later may find a warmer or a busier machine: they take turns at it.
        let mut rates = [0.0; 3];
        for place in 0..targets.len() {
            let at = (place + number) % targets.len();
            let one = round(targets[at], connections, ROUND).await;
            rates[at] = one.rate();
            all[at].add(one);
        }
        ratios[0].push(rates[0] / rates[1]);
        ratios[1].push(rates[0] / rates[2]);
    }
    for each in &mut ratios {
        each.sort_by(f64::total_cmp);
    }
    let [ours, others @ ..] = &mut all;
    let (p50, p99) = (ours.percentile(50), ours.percentile(99));
    print!(
        "| {connections} | {:.0} | {} | {} | {:.0} |",
        ours.rate(),
        p50.as_micros(),
        p99.as_micros(),
        ours.cpu_us()
    );
    let mut summary = Vec::new();
    let names = ["bare_axum", "bare_durable"];
    for ((other, ratios), against) in others.iter_mut().zip(&ratios).zip(names) {
        let (median, least, most) = (
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1],
        );
        print!(
            " {:.0} | {} | {:.0} | {median:.3} ({least:.3}-{most:.3}) |",
            other.rate(),
            other.percentile(50).as_micros(),
            other.cpu_us(),
        );
        summary.push(json!({
            "name": format!("decide_{connections}_vs_{against}"),
            "value": ours.rate().round(), "unit": "decisions/s", "ratio": rounded(median),
            "least": rounded(least), "most": rounded(most), "against": against,
        }));
        for (name, percent) in [("p50", 50), ("p99", 99)] {
            let [one, two] = [ours.percentile(percent), other.percentile(percent)];
            summary.push(json!({
                "name": format!("decide_{connections}_{name}_vs_{against}"),
                "value": one.as_micros(), "unit": "us", "against": against,
                "ratio": rounded(one.as_secs_f64() / two.as_secs_f64()),
            }));
        }
    }
    println!();
    summary
}

/// Decisions per second in batches, beside single ones over as many connections.
async fn batches(ours: &mut Target, scene: &Scene) -> Value {
    const CONNECTIONS: usize = 64;
    let (singles, batched) = (scene.singles(), scene.batches(BATCH));
    let mut ratios = Vec::new();
    let mut whole = Measured::default();
    for _ in 0..ROUNDS {
        ours.asked = singles.clone();
        let single = round(ours, CONNECTIONS, ROUND).await;
        ours.asked = batched.clone();
        let batch = round(ours, CONNECTIONS, ROUND).await;
        ratios.push(batch.rate() * BATCH as f64 / single.rate());
        whole.add(batch);
    }
    ratios.sort_by(f64::total_cmp);
    let (rate, median) = (whole.rate() * BATCH as f64, ratios[ratios.len() / 2]);
    println!(
        "\nin batches of {BATCH} over {CONNECTIONS} connections: {rate:.0} decisions/s, {median:.2} times those of single questions ({:.2}-{:.2}), {:.1} us of CPU each",
        ratios[0],
        ratios[ratios.len() - 1],
        whole.cpu_us() / BATCH as f64,
    );
    json!({
        "name": "decide_batch100_vs_single", "value": rate.round(), "unit": "decisions/s", "ratio": rounded(median),
        "against": "single questions",
    })
}

fn rounded(ratio: f64) -> f64 {
    (ratio * 1e4).round() / 1e4
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
