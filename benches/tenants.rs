//! Many organizations on one node: what a flood of one does to another's answers, decisions per second over one and over a thousand, and
//! how long the first answer of one takes that is not open.
//!
//! The service and whoever asks share the machine's processors. `-- --tenants N` measures with fewer.

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
mod load;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cedarkeep::app::App;
use cedarkeep::authn::api_key::{ApiKey, Environment};
use cedarkeep::config::Config;
use cedarkeep::crypto;
use cedarkeep::directory::object::{Plan, Role, Scope};
use cedarkeep::directory::organization::{self, Founding};
use cedarkeep::directory::people::{self, Joining};
use cedarkeep::directory::service::{self, NewKey, Speaker};
use cedarkeep::directory::{Kind, Ref};
use cedarkeep::http::authzen::EVALUATION;
use serde_json::{Value, json};

use harness::server::{Server, Site};
use load::{Asked, Measured, Target, processors, round, trusting};

/// The service's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(1);

/// So many connections have all that the service can do; the flood has ten times as many.
const CAPACITY: usize = 64;
const FLOOD: usize = 10 * CAPACITY;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let count = arguments.iter().position(|one| one == "--tenants");
    let count = count.map_or(1_000, |at| arguments[at + 1].parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(count));
}

/// An organization with one person, who may be asked about.
struct Tenant {
    slug: String,
    key: String,
    org: Ref,
    person: Ref,
}

impl Tenant {
    /// A question that is allowed.
    fn question(&self) -> String {
        json!({
            "subject": {"type": "User", "id": self.person.to_string()},
            "action": {"name": "settings.read"},
            "resource": {"type": "Settings", "id": Ref::new(Kind::Settings, self.org.id).to_string()},
        })
        .to_string()
    }

    fn asked(&self) -> (&str, String, String) {
        (&self.key, self.question(), "{\"decision\":true}".to_owned())
    }
}

async fn measure(count: usize) {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let mut site = Site::sqlite();
    site.set("CEDARKEEP_TENANTS__OPEN_MAX", &count.to_string());
    let begun = Instant::now();
    let tenants = found(&site, count).await;
    println!(
        "{count} organizations were made in {:.0} s; the service and the load share {} processors\n",
        begun.elapsed().as_secs_f64(),
        processors()
    );
    let server = site.serve().await;
    let mut summary = vec![cold(&server, &tenants).await];
    summary.push(spread(&site, &server, &tenants).await);
    summary.extend(flooded(&site, &server, [&tenants[0], &tenants[1]]).await);
    server.stop();
    figures::write(summary);
}

/// Makes organizations without a server.
async fn found(site: &Site, count: usize) -> Vec<Tenant> {
    let mut config = Config::default();
    config.data.dir = site.data().to_owned();
    let app = App::visit(config).await.unwrap();
    let mut tenants = Vec::with_capacity(count);
    for number in 0..count {
        let slug = format!("org-{number}");
        let control = app.control();
        let name = slug.parse().unwrap();
        let created = control.create(&name, chrono::Utc::now());
        let created = created.await.unwrap();
        let id = created.id;
        let org = Ref::new(Kind::Organization, *id.bytes());
        let door = app.found(created).await.unwrap();
        let founding = Founding {
            name: slug.clone(),
            plan: Plan::Enterprise,
        };
        let group = crypto::random().unwrap();
        door.operate(move |by, _| organization::found(by, org, &founding, group))
            .await
            .unwrap();
        let person = crypto::random().unwrap();
        let joining = Joining {
            id: person,
            name: "Ada".into(),
            email: "ada@example.com".into(),
            role: Role::Admin,
        };
        door.operate(move |by, snapshot| people::join_by_operator(by, snapshot, &joining))
            .await
            .unwrap();
        let name = crypto::random().unwrap();
        let secret = crypto::random().unwrap();
        let key = ApiKey::mint(Environment::Live, *id.bytes(), name, secret);
        let new = NewKey {
            id: name,
            name: "back end".into(),
            speaker: Speaker::New {
                id: crypto::random().unwrap(),
                scopes: [Scope::Decide].into(),
            },
            expires_at: None,
            digest: *key.digest().as_bytes(),
        };
        door.operate(move |by, snapshot| service::create_key_by_operator(by, snapshot, &new))
            .await
            .unwrap();
        door.close().await;
        control.mark_ready(id).await.unwrap();
        tenants.push(Tenant {
            slug,
            key: key.expose().to_owned(),
            org,
            person: Ref::new(Kind::User, person),
        });
    }
    tenants
}

fn target(site: &Site, server: &Server, asked: Asked) -> Target {
    Target {
        port: server.port(),
        process: server.id(),
        tls: trusting(&site.data().join("tls/ca.crt")),
        asked,
    }
}

/// Asks each organization once, none of which is open, one at a time; then each once more.
async fn cold(server: &Server, tenants: &[Tenant]) -> Value {
    let client = |tenant: &Tenant| server.client(&tenant.key);
    let clients: Vec<_> = tenants.iter().map(client).collect();
    let mut times = [Vec::new(), Vec::new()];
    for times in &mut times {
        for (tenant, client) in tenants.iter().zip(&clients) {
            let question: Value = serde_json::from_str(&tenant.question()).unwrap();
            // The connection is made before it is timed.
            client.get("/healthz").await.unwrap();
            let begun = Instant::now();
            assert!(client.decision(&question).await);
            times.push(begun.elapsed());
        }
        times.sort_unstable();
    }
    let at = |times: &[Duration], percent: usize| times[(times.len() - 1) * percent / 100];
    let [cold, warm] = &times;
    println!(
        "the first answer of an organization that is not open: p50 {:.2} ms, p99 {:.2} ms; the next one: p50 {:.2} ms; memory {} MiB",
        at(cold, 50).as_secs_f64() * 1e3,
        at(cold, 99).as_secs_f64() * 1e3,
        at(warm, 50).as_secs_f64() * 1e3,
        server.status("VmRSS:") / 1024,
    );
    json!({
        "name": "cold_tenant_vs_warm", "value": at(cold, 50).as_micros(), "unit": "us",
        "ratio": rounded(at(cold, 50).as_secs_f64() / at(warm, 50).as_secs_f64()), "against": "the next answer",
    })
}

/// The same load on one organization, and on all of them in turn.
async fn spread(site: &Site, server: &Server, tenants: &[Tenant]) -> Value {
    let one = target(
        site,
        server,
        Asked::of(EVALUATION, std::iter::once(tenants[0].asked())),
    );
    let all = target(
        site,
        server,
        Asked::of(EVALUATION, tenants.iter().map(Tenant::asked)),
    );
    let (mut ratios, mut rates) = (Vec::new(), [0.0; 2]);
    for each in [&one, &all] {
        round(each, CAPACITY, WARM_UP).await;
    }
    for _ in 0..ROUNDS {
        let [of_one, of_all] = [
            round(&one, CAPACITY, ROUND).await.rate(),
            round(&all, CAPACITY, ROUND).await.rate(),
        ];
        rates[0] += of_one / ROUNDS as f64;
        rates[1] += of_all / ROUNDS as f64;
        ratios.push(of_all / of_one);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!(
        "{CAPACITY} connections to one organization: {:.0} decisions/s; to {} in turn: {:.0}, {median:.3} of it ({:.3}-{:.3})",
        rates[0],
        tenants.len(),
        rates[1],
        ratios[0],
        ratios[ratios.len() - 1],
    );
    json!({
        "name": "decide_many_tenants_vs_one", "value": rates[1].round(), "unit": "decisions/s", "ratio": rounded(median),
        "tenants": tenants.len(), "against": "one tenant",
    })
}

/// How long one organization's answers take while another floods the service, beside how long they take while nothing else is asked.
async fn flooded(site: &Site, server: &Server, [flooding, quiet]: [&Tenant; 2]) -> Vec<Value> {
    let flood = Asked::of(EVALUATION, std::iter::once(flooding.asked())).may_be_shed();
    let flood = target(site, server, flood);
    let other = Asked::of(EVALUATION, std::iter::once(quiet.asked()));
    let other = Arc::new(target(site, server, other));
    let before = size(site, &flooding.slug);
    let (mut idle, mut busy, mut all) = (
        Measured::default(),
        Measured::default(),
        Measured::default(),
    );
    for _ in 0..ROUNDS {
        // One is active for a second after it has asked.
        tokio::time::sleep(WARM_UP + WARM_UP).await;
        idle.add(apart(&other).await);
        let (flooded, asked) = tokio::join!(round(&flood, FLOOD, ROUND + 2 * WARM_UP), async {
            tokio::time::sleep(WARM_UP).await;
            apart(&other).await
        });
        all.add(flooded);
        busy.add(asked);
    }
    assert_eq!(
        size(site, &flooding.slug) - before,
        all.answers as u64,
        "an entry for each answer, and none for what was shed"
    );
    site.verify(&quiet.slug);
    let [p99_idle, p99_busy] = [&mut idle, &mut busy].map(|one| one.percentile(99));
    let ratio = p99_busy.as_secs_f64() / p99_idle.as_secs_f64();
    println!(
        "a flood over {FLOOD} connections: {:.0} answered/s, {:.0} shed/s, each answer has its entry; another's p50 {} us, p99 {} us; idle {} and {} us: {ratio:.2} times",
        all.rate(),
        all.shed as f64 / all.time.as_secs_f64(),
        busy.percentile(50).as_micros(),
        p99_busy.as_micros(),
        idle.percentile(50).as_micros(),
        p99_idle.as_micros(),
    );
    vec![json!({
        "name": "flooded_p99_vs_idle", "value": p99_busy.as_micros(), "unit": "us", "ratio": rounded(ratio),
        "against": "the same, nothing else asked",
    })]
}

/// One connection's questions, in a thread of their own: whoever floods is not what they wait for.
async fn apart(target: &Arc<Target>) -> Measured {
    let target = Arc::clone(target);
    let thread = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(round(&target, 1, ROUND))
    };
    tokio::task::spawn_blocking(thread).await.unwrap()
}

/// How many entries a log has.
fn size(site: &Site, slug: &str) -> u64 {
    let told = site.told(&["audit", "checkpoint", slug, "--json"]);
    let checkpoint = told["checkpoint"].as_str().unwrap();
    checkpoint.lines().nth(1).unwrap().parse().unwrap()
}

fn rounded(ratio: f64) -> f64 {
    (ratio * 1e4).round() / 1e4
}
