//! Cedarkeep beside peers that a registry provides, all with the same model: the Cerbos server over HTTPS, ours with the durable log on and
//! theirs with no audit; and casbin, regorus and Cedar's authorizer in this process. Prints tables, draws a plot.
//!
//! What is compared must give the same answers first. Servers and load share the machine's processors, so what counts is
//! the ratio within a run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a measurement that fails has failed; the harness is shared with the tests"
)]

mod cerbos;
mod engines;
#[path = "../figures.rs"]
mod figures;
#[path = "../../tests/it/harness/mod.rs"]
mod harness;
#[path = "../load.rs"]
mod load;
mod plot;
mod scenario;

use std::time::Duration;

use serde_json::{Value, json};

use cedarkeep::http::authzen::EVALUATION;
use cerbos::{CHECK, Cerbos};
use engines::Speed;
use harness::client::may_morty_change;
use harness::server::Site;
use load::{Asked, Measured, NUMBER, Target, processors, trusting};
use plot::{Panel, Scale, grouped};
use scenario::{Person, people, questions, root, self_contained};

/// The service's own allocator, for what is compared with it in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(2_500);
const WARM_UP: Duration = Duration::from_secs(1);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let (people, questions) = (people(), questions());
    let (served, mut figures) = runtime.block_on(servers(&people, &questions));
    let mut engines = runtime.block_on(engines::engines(&people, &questions));
    let speeds = engines::measure(&mut engines, questions.len());
    let evaluated = in_process(&speeds, questions.len(), &mut figures);
    figures::write(figures);
    let path = root().join("target/bench/peers.svg");
    let title = "Cedarkeep and its peers, the AuthZEN todo scenario";
    plot::draw(&path, title, &[served, evaluated]);
    println!("drew {}", path.display());
}

/// What one server did.
struct Served {
    name: String,
    all: Measured,
    /// Answers per second, round by round.
    rates: Vec<f64>,
}

/// The service and Cerbos, the latter asked in AuthZEN's words with the very same bytes, and in its own.
async fn servers(people: &[Person], questions: &[scenario::Asked]) -> (Panel, Vec<Value>) {
    let site = Site::sqlite();
    let key = site.create_todo_org("bench");
    let server = site.serve().await;
    let peer = Cerbos::start().await;
    let clients = [server.client(&key), peer.client()];
    for question in questions {
        let request = self_contained(&question.request, people);
        for client in &clients {
            assert_eq!(
                client.decision(&request).await,
                question.allowed,
                "{request}"
            );
        }
        let answer = clients[1]
            .post(CHECK, &cerbos::check(&request))
            .await
            .unwrap();
        let effect =
            &answer.json()["results"][0]["actions"][&request["action"]["name"].as_str().unwrap()];
        let allowed = effect == "EFFECT_ALLOW";
        assert_eq!(allowed, question.allowed, "{request}: {}", answer.body);
    }
    println!("{} questions, answered alike by all\n", questions.len());

    let body = self_contained(&may_morty_change(NUMBER, true), people);
    let authzen = Asked::post(EVALUATION, &key, &body.to_string(), "{\"decision\":true}");
    let own = Asked::post(
        CHECK,
        &key,
        &cerbos::check(&body).to_string(),
        "\"EFFECT_ALLOW\"",
    );
    let theirs = |asked: Asked| Target {
        port: peer.port,
        process: peer.id(),
        tls: trusting(&peer.ca()),
        asked,
    };
    let targets = [
        Target {
            port: server.port(),
            process: server.id(),
            tls: trusting(&site.data().join("tls/ca.crt")),
            asked: authzen.clone(),
        },
        theirs(authzen),
        theirs(own),
    ];
    let version = cerbos::version();
    let names = [
        "Cedarkeep, log on".to_owned(),
        format!("Cerbos {version}"),
        format!("Cerbos {version}, own API"),
    ];
    let mut served = names.map(|name| Served {
        name,
        all: Measured::default(),
        rates: Vec::new(),
    });
    for target in &targets {
        load::round(target, CONNECTIONS, WARM_UP).await;
    }
    for round in 0..ROUNDS {
        // Whoever goes first changes: they may find a colder or a quieter machine.
        for at in (0..targets.len()).map(|number| (number + round) % targets.len()) {
            let measured = load::round(&targets[at], CONNECTIONS, ROUND).await;
            served[at].rates.push(measured.rate());
            served[at].all.add(measured);
        }
    }
    server.stop();
    site.verify("bench");
    drop(peer);
    report(&mut served)
}

fn report(served: &mut [Served]) -> (Panel, Vec<Value>) {
    println!(
        "HTTPS, TLS 1.3, {CONNECTIONS} connections that stay open; SQLite, durable log on, which verifies; Cerbos without audit and telemetry; {} processors\n",
        processors()
    );
    println!(
        "| | answers/s | p50 us | p99 us | CPU us | share of the CPU | of whom asks | ours is |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let ours = served[0].rates.clone();
    let cpu = served[0].all.cpu_us();
    let mut figures = Vec::new();
    let names = [None, Some("cerbos"), Some("cerbos_own_api")];
    for (one, against) in served.iter_mut().zip(names) {
        let [least, ratio, most] = spread(ours.iter().zip(&one.rates).map(|(us, them)| us / them));
        let [p50, p99] = [50, 99].map(|percent| one.all.percentile(percent).as_micros());
        let [share, asking] = one.all.shares();
        let times = against.map_or_else(String::new, |_| {
            format!("{ratio:.1} times ({least:.1} to {most:.1})")
        });
        println!(
            "| {} | {} | {p50} | {p99} | {:.0} | {:.0} % | {:.0} % | {times} |",
            one.name,
            grouped(one.all.rate()),
            one.all.cpu_us(),
            share * 100.0,
            asking * 100.0,
        );
        let Some(against) = against else {
            continue;
        };
        figures.push(json!({
            "name": format!("decide_{CONNECTIONS}_vs_{against}"),
            "value": median(&ours).round(), "unit": "decisions/s", "ratio": rounded(ratio), "against": against,
            "ratio_least": rounded(least), "ratio_most": rounded(most),
        }));
        figures.push(json!({
            "name": format!("decide_{CONNECTIONS}_cpu_vs_{against}"),
            "value": rounded(cpu), "unit": "us", "ratio": rounded(cpu / one.all.cpu_us()), "against": against,
        }));
        figures.push(json!({
            "name": format!("{against}_{CONNECTIONS}_share_of_cpu"), "value": rounded(share), "unit": "of_all_processors",
        }));
    }
    let panel = Panel {
        title: format!("Over HTTPS, {CONNECTIONS} connections"),
        axis: "decisions per second",
        scale: Scale::Linear,
        bars: (served.iter())
            .map(|one| (one.name.clone(), median(&one.rates)))
            .collect(),
    };
    (panel, figures)
}

fn in_process(speeds: &[Speed], questions: usize, figures: &mut Vec<Value>) -> Panel {
    println!(
        "\nIn this process, one thread, the {questions} questions in turn, each ready in the engine's own form:\n"
    );
    println!("| | evaluations/s | ns | ours is |");
    println!("| --- | ---: | ---: | ---: |");
    let ours = &speeds[0].rounds;
    let mut bars = Vec::new();
    for one in speeds {
        let ns = median(&one.rounds);
        let [least, times, most] = spread(ours.iter().zip(&one.rounds).map(|(us, them)| them / us));
        let peer = one.name != speeds[0].name;
        let ratio = if peer {
            format!("{times:.1} times ({least:.1} to {most:.1})")
        } else {
            String::new()
        };
        println!(
            "| {} | {} | {ns:.0} | {ratio} |",
            one.name,
            grouped(1e9 / ns)
        );
        bars.push((one.name.to_owned(), 1e9 / ns));
        if peer {
            // Cedar's authorizer on the built-in policies is another figure.
            let name = match one.name {
                "Cedar" => "eval_todo_vs_cedar".to_owned(),
                other => format!("eval_vs_{other}"),
            };
            figures.push(json!({
                "name": name, "value": rounded(median(ours)), "unit": "ns", "ratio": rounded(1.0 / times),
                "against": one.name.to_lowercase(), "ratio_least": rounded(1.0 / most), "ratio_most": rounded(1.0 / least),
            }));
        }
    }
    Panel {
        title: "In process, one thread".to_owned(),
        axis: "evaluations per second (logarithmic)",
        scale: Scale::Logarithmic,
        bars,
    }
}

/// The least, the median and the most.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    ]
}

fn median(values: &[f64]) -> f64 {
    spread(values.iter().copied())[1]
}

fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}
