//! Versions of policies activated and taken back on three nodes under load: no decision by a mixture, none that fails for it, and each
//! entry's version right at its index.
//!
//! `PROVE=1` makes it a thousand; `SEED=n` repeats what is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::nodes::{history, number};
use crate::harness::chance::Chance;
use crate::harness::client::Client;
use crate::harness::postgres;
use crate::harness::server::Site;
use crate::replay::Replay;

/// What each version forbids and permits: no policy of one has the id of another's, and each answers each question differently.
const VERSIONS: [&str; 3] = [
    "@id(\"one.reads\") permit (principal is Cedarkeep::User, action == Cedarkeep::Action::\"settings.read\", resource);
     @id(\"one.viewers\") forbid (principal is Cedarkeep::User, action == Cedarkeep::Action::\"member.read\", resource) when { principal.role == Cedarkeep::Role::\"Viewer\" };",
    "@id(\"two.nobody\") forbid (principal is Cedarkeep::User, action == Cedarkeep::Action::\"settings.read\", resource) unless { principal.role == Cedarkeep::Role::\"Admin\" };
     @id(\"two.members\") forbid (principal is Cedarkeep::User, action == Cedarkeep::Action::\"member.read\", resource) when { principal.role == Cedarkeep::Role::\"Member\" };",
    "@id(\"three.bills\") permit (principal is Cedarkeep::User, action == Cedarkeep::Action::\"billing.read\", resource) when { principal.role != Cedarkeep::Role::\"Viewer\" };",
];

const NAMES: [&str; 3] = ["one.", "two.", "three."];

struct Scene {
    people: Vec<String>,
    org: String,
    stop: AtomicBool,
    asked: AtomicUsize,
    /// Answers that did not come: their status and text.
    unanswered: AtomicUsize,
}

/// Asks at one node until it is told to stop; every call must be answered.
async fn ask_on(scene: Arc<Scene>, client: Client, mut chance: Chance) {
    let headers = [("content-type", "application/json")];
    while !scene.stop.load(Ordering::Relaxed) {
        let questions: Vec<Value> = (0..3).map(|_| question(&scene, &mut chance)).collect();
        let body = json!({ "evaluations": questions }).to_string().into_bytes();
        let path = "/access/v1/evaluations";
        let sent = client.send(Method::POST, path, &headers, Some(body)).await;
        match sent {
            Ok(answer) if answer.status == 200 => {
                scene.asked.fetch_add(3, Ordering::Relaxed);
            }
            Ok(answer) => {
                eprintln!("not answered: {} {}", answer.status, answer.body);
                scene.unanswered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                eprintln!("not answered: {error}");
                scene.unanswered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn question(scene: &Scene, chance: &mut Chance) -> Value {
    let at = usize::try_from(chance.number()).unwrap() % scene.people.len();
    let (action, kind, prefix) = match chance.number() % 3 {
        0 => ("settings.read", "Settings", "set"),
        1 => ("billing.read", "Billing", "bil"),
        _ => ("member.read", "Organization", "org"),
    };
    json!({
        "subject": {"type": "User", "id": scene.people[at]},
        "action": {"name": action},
        "resource": {"type": kind, "id": scene.org.replacen("org", prefix, 1)},
    })
}

/// A change by the Admin, through one node; it must be made.
async fn changed(client: &Client, admin: &str, path: &str, body: Value) -> Value {
    let headers = [
        ("content-type", "application/json"),
        ("cedarkeep-acting-user", admin),
    ];
    let body = Some(body.to_string().into_bytes());
    let told = client
        .send(Method::POST, path, &headers, body)
        .await
        .unwrap();
    assert!([200, 201].contains(&told.status), "{path}: {}", told.body);
    told.json()
}

/// Which version counted as of each change, by the rows alone.
fn counted(rows: &[crate::replay::Row], as_of: u64) -> u64 {
    let library = rows
        .iter()
        .find(|row| row.id == "library" && row.from <= as_of && row.to.is_none_or(|to| to > as_of));
    library.map_or(0, |row| row.body["library"]["version"].as_u64().unwrap())
}

async fn activated(test: &str, sites: Vec<Site>, url: Option<&str>) {
    let rounds = if std::env::var_os("PROVE").is_some() {
        1_000
    } else {
        40
    };
    let mut chance = Chance::of_this_run(test);
    let begun = Instant::now();
    let mut servers = Vec::new();
    for site in &sites {
        servers.push(site.serve().await);
    }
    let org = sites[0].create_org("nodes");
    let admin = sites[0].add_admin("nodes");
    let mut people = vec![admin.clone()];
    for role in ["Member", "Viewer"] {
        let email = format!("{role}@nodes.example");
        let add = [
            "member", "add", "nodes", "--name", "Somebody", "--email", &email, "--role", role,
            "--json",
        ];
        people.push(sites[0].told(&add)["id"].as_str().unwrap().to_owned());
    }
    let asks = sites[0].create_key("nodes", "decide");
    let changes = sites[0].create_key("nodes", "policy");
    let clients: Vec<Client> = servers
        .iter()
        .map(|server| server.client(&changes))
        .collect();
    let scene = Arc::new(Scene {
        people,
        org,
        stop: AtomicBool::new(false),
        asked: AtomicUsize::new(0),
        unanswered: AtomicUsize::new(0),
    });
    let mut versions = Vec::new();
    for text in VERSIONS {
        let body = json!({"policies": {"own.cedar": text}, "message": "a version"});
        let drafted = changed(&clients[0], &admin, "/v1/policy-versions", body).await;
        versions.push(drafted["version"].as_u64().unwrap());
    }
    // Each was active once, so that it can come back.
    for version in &versions {
        let path = format!("/v1/policy-versions/{version}/activate");
        changed(&clients[0], &admin, &path, json!({})).await;
    }
    let mut load = JoinSet::new();
    for server in &servers {
        for _ in 0..2 {
            let (scene, client) = (Arc::clone(&scene), server.client(&asks));
            load.spawn(ask_on(scene, client, chance.another()));
        }
    }
    let mut active = *versions.last().unwrap();
    for round in 0..rounds {
        let others: Vec<u64> = versions
            .iter()
            .copied()
            .filter(|one| *one != active)
            .collect();
        active = others[usize::try_from(chance.number()).unwrap() % others.len()];
        let client = &clients[round % clients.len()];
        let told = if chance.number().is_multiple_of(2) {
            let body = json!({ "version": active });
            changed(client, &admin, "/v1/policy-set/rollback", body).await
        } else {
            let path = format!("/v1/policy-versions/{active}/activate");
            changed(client, &admin, &path, json!({})).await
        };
        assert_eq!(told["version"], active);
        // Whoever is asked next, on whichever node, decides by it.
        let node = (round + 1) % servers.len();
        let answer = servers[node]
            .client(&asks)
            .send(
                Method::POST,
                "/access/v1/evaluation",
                &[("content-type", "application/json")],
                Some(question(&scene, &mut chance).to_string().into_bytes()),
            )
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    scene.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    for server in servers {
        server.stop();
    }
    sites[0].verify("nodes");
    let said = check(&sites[0], url, &asks_id(&sites[0])).await;
    let (asked, unanswered) = (&scene.asked, &scene.unanswered);
    assert_eq!(
        unanswered.load(Ordering::Relaxed),
        0,
        "a call was not answered"
    );
    println!(
        "{test}: {} nodes, {rounds} activations and rollbacks, {} answers, none failed; {said}; {:.0} s",
        sites.len(),
        asked.load(Ordering::Relaxed),
        begun.elapsed().as_secs_f64(),
    );
}

/// The key that only asks: the first that an entry has.
fn asks_id(site: &Site) -> String {
    let entries = site.entries("nodes");
    let asked = entries.iter().find(|entry| {
        let action = &entry["leaf"]["action"];
        entry["leaf"]["event"] == "decision.made"
            && (action == "billing.read" || action == "member.read")
    });
    let id = &asked.expect("somebody asked")["leaf"]["caller"]["id"];
    id.as_str().unwrap().to_owned()
}

/// How many decisions the checker decides anew, at most: of more, one in so many. Each one's version is looked at in any case.
const DECIDED_ANEW: usize = 20_000;

/// Every decision: by the version that counted, by no other's policies, and as the checker that shares nothing decides it.
async fn check(site: &Site, url: Option<&str>, asks: &str) -> String {
    let (rows, entries) = history(site, url).await;
    let mut replay = Replay::of(rows.clone(), "local");
    let mut by_version: BTreeMap<u64, usize> = BTreeMap::new();
    let mut named = BTreeSet::new();
    let one_in = entries.len() / DECIDED_ANEW + 1;
    let (mut seen, mut anew) = (0_usize, 0_usize);
    for entry in &entries {
        let leaf = &entry["leaf"];
        if leaf.get("policy_version").is_none() || leaf.get("as_of").is_none() {
            continue;
        }
        let (said, as_of) = (number(&leaf["policy_version"]), number(&leaf["as_of"]));
        assert_eq!(said, counted(&rows, as_of), "{entry}");
        let is_decision = leaf["event"] == "decision.made";
        if !is_decision || leaf["caller"]["type"] != "api_key" {
            continue;
        }
        let own = entry["policies"]["determining"].as_array();
        for one in own.into_iter().flatten() {
            let id = one["id"].as_str().unwrap();
            let of = NAMES.iter().position(|name| id.starts_with(name)).unwrap();
            assert_eq!(u64::try_from(of).unwrap() + 1, said, "{entry}");
            named.insert(id.to_owned());
        }
        let asked = leaf["caller"]["id"] == asks;
        seen += 1;
        if seen.is_multiple_of(one_in) {
            anew += 1;
            assert_eq!(replay.check(entry, asked), [], "{entry}");
        }
        *by_version.entry(said).or_default() += 1;
    }
    assert_eq!(named.len(), 5, "every policy decided something: {named:?}");
    assert!(by_version.len() >= 3, "{by_version:?}");
    format!(
        "{} entries, decisions by version {by_version:?}, {anew} of them decided anew on {} states",
        entries.len(),
        replay.states()
    )
}

fn patient(site: &mut Site) {
    // On a machine that does something else as well, a slow answer is no failed one.
    site.set("CEDARKEEP_LOG__COMMIT_TIMEOUT_MS", "20000");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_decide_by_one_version_at_a_time() {
    let database = postgres::start();
    let url = database.url();
    let mut sites: Vec<Site> = (0..3).map(|_| Site::postgres(&url)).collect();
    let keyring = sites[0].data().join("keyring");
    for site in &mut sites {
        site.set("CEDARKEEP_KEYS__KEYRING", keyring.to_str().unwrap());
        patient(site);
    }
    activated("activations on three nodes", sites, Some(&url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_decides_by_one_version_at_a_time() {
    let mut site = Site::sqlite();
    patient(&mut site);
    activated("activations on SQLite", vec![site], None).await;
}

/// A version of many policies takes seconds to compile, and is announced: whoever asks meanwhile is answered within the usual time.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_version_holds_up_nobody() {
    const POLICIES: usize = 600;
    let database = postgres::start();
    let url = database.url();
    let mut sites: Vec<Site> = (0..2).map(|_| Site::postgres(&url)).collect();
    let keyring = sites[0].data().join("keyring");
    for site in &mut sites {
        site.set("CEDARKEEP_KEYS__KEYRING", keyring.to_str().unwrap());
        // Less than it would take to compile it in the way of an answer, and enough for a busy machine.
        site.set("CEDARKEEP_LOG__COMMIT_TIMEOUT_MS", "6000");
    }
    let servers = [sites[0].serve().await, sites[1].serve().await];
    let org = sites[0].create_org("nodes");
    let admin = sites[0].add_admin("nodes");
    let asks = sites[0].create_key("nodes", "decide");
    let policy = sites[0].create_key("nodes", "policy");
    let text: String = (0..POLICIES)
        .map(|at| format!("@id(\"large.{at}\") permit (principal == Cedarkeep::User::\"{admin}\", action == Cedarkeep::Action::\"billing.read\", resource) when {{ context.purpose == \"p{at}\" || principal.active }};\n").replace("context.purpose == ", "context has purpose && context.purpose == "))
        .collect();
    let client = servers[0].client(&policy);
    let body = json!({"policies": {"large.cedar": text}});
    let drafted = changed(&client, &admin, "/v1/policy-versions", body).await;
    let scene = Arc::new(Scene {
        people: vec![admin.clone()],
        org,
        stop: AtomicBool::new(false),
        asked: AtomicUsize::new(0),
        unanswered: AtomicUsize::new(0),
    });
    let mut chance = Chance::of_this_run("a large version");
    let mut load = JoinSet::new();
    for server in &servers {
        let (scene, client) = (Arc::clone(&scene), server.client(&asks));
        load.spawn(ask_on(scene, client, chance.another()));
    }
    let path = format!("/v1/policy-versions/{}/activate", drafted["version"]);
    let begun = Instant::now();
    changed(&client, &admin, &path, json!({})).await;
    let took = begun.elapsed();
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    assert!(scene.asked.load(Ordering::Relaxed) > 0);
    assert_eq!(scene.unanswered.load(Ordering::Relaxed), 0);
    for server in servers {
        server.stop();
    }
    let entries = sites[0].entries("nodes");
    let at = |event: &str| {
        entries
            .iter()
            .position(|entry| entry["leaf"]["event"] == event)
    };
    let (announced, activated) = (at("policy.announced"), at("policy.activated"));
    assert!(
        announced.is_some() && announced < activated,
        "{announced:?} {activated:?}"
    );
    println!(
        "a version of {POLICIES} policies: activated in {took:.1?}, {} answers meanwhile, none failed",
        scene.asked.load(Ordering::Relaxed)
    );
}
