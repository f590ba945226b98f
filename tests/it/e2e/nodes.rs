//! Three nodes on one PostgreSQL, asked and changed at once, and killed: one log, and every decision in it right when replayed.
//!
//! `PROVE=1` makes it a thousand changes and a hundred kills; `SEED=n` repeats what is asked and changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cedarkeep::app::App;
use cedarkeep::config::{Config, Database};
use cedarkeep::decide::audit;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _};
use tokio::task::JoinSet;

use crate::harness::chance::Chance;
use crate::harness::client::Client;
use crate::harness::postgres;
use crate::harness::server::{Server, Site};
use crate::replay::{Replay, Row, Wrong};

const NODES: usize = 3;
const PEOPLE: usize = 6;
const THREADS: usize = 4;

/// Two libraries of the tenant's own, in force by turns.
const OWN: [&str; 2] = [
    "@id(\"nobody.reads\") forbid (principal is Cedarkeep::User, action == Cedarkeep::Action::\"thread.read\", resource) when { principal.role == Cedarkeep::Role::\"Viewer\" };",
    "@id(\"viewers.see\") permit (principal is Cedarkeep::User, action == Cedarkeep::Action::\"settings.read\", resource); @id(\"no.threads\") forbid (principal is Cedarkeep::User, action == Cedarkeep::Action::\"thread.create\", resource) when { principal.role == Cedarkeep::Role::\"Member\" };",
];

fn proves() -> bool {
    std::env::var_os("PROVE").is_some()
}

/// An answer that a client received.
struct Received {
    index: u64,
    decision: bool,
    leaf_hash: String,
}

/// What everybody shares.
struct Scene {
    ports: [AtomicU16; NODES],
    cas: [PathBuf; NODES],
    asks: String,
    changes: String,
    admin: String,
    people: Vec<String>,
    threads: Vec<String>,
    org: String,
    stop: AtomicBool,
    received: Mutex<Vec<Received>>,
    /// Changes that were said to be made, by their event.
    made: Mutex<BTreeMap<&'static str, usize>>,
    flips: AtomicUsize,
    unanswered: AtomicUsize,
}

/// Somebody at one node, wherever that listens now.
struct Caller {
    scene: Arc<Scene>,
    node: usize,
    key: String,
    client: Option<(u16, Client)>,
    chance: Chance,
}

impl Caller {
    fn client(&mut self) -> Client {
        let port = self.scene.ports[self.node].load(Ordering::Relaxed);
        match &self.client {
            Some((known, client)) if *known == port => client.clone(),
            _ => {
                let client = Client::new(&self.scene.cas[self.node], port, &self.key);
                self.client = Some((port, client.clone()));
                client
            }
        }
    }

    fn one_of<'a>(&mut self, all: &'a [String]) -> &'a str {
        let at = usize::try_from(self.chance.number()).unwrap() % all.len();
        &all[at]
    }

    /// Asks until it is told to stop, and remembers each answer.
    async fn ask_on(mut self) {
        let scene = Arc::clone(&self.scene);
        while !scene.stop.load(Ordering::Relaxed) {
            let count = [1, 1, 5][usize::try_from(self.chance.number() % 3).unwrap()];
            let questions: Vec<Value> = (0..count).map(|_| self.question(&scene)).collect();
            let headers = [
                ("content-type", "application/json"),
                ("Cedarkeep-Explain", "true"),
            ];
            let (path, body) = match questions.as_slice() {
                [one] => ("/access/v1/evaluation", one.clone()),
                many => ("/access/v1/evaluations", json!({"evaluations": many})),
            };
            let body = Some(body.to_string().into_bytes());
            let sent = self.client().send(Method::POST, path, &headers, body).await;
            let Ok(answer) = sent else {
                scene.unanswered.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            if answer.status == 503 {
                assert!(!answer.body.contains("\"decision\""), "{}", answer.body);
                scene.unanswered.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            assert_eq!(answer.status, 200, "{}", answer.body);
            let said = answer.json();
            let each = match said["evaluations"].as_array() {
                Some(each) => each.clone(),
                None => vec![said],
            };
            let received = each.iter().map(|one| Received {
                index: number(&one["context"]["log"]["index"]),
                decision: one["decision"].as_bool().unwrap(),
                leaf_hash: one["context"]["log"]["leaf_hash"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            });
            scene.received.lock().unwrap().extend(received);
        }
    }

    fn question(&mut self, scene: &Scene) -> Value {
        let user = self.one_of(&scene.people).to_owned();
        let thread = self.one_of(&scene.threads).to_owned();
        let (action, kind, id) = match self.chance.number() % 6 {
            0 => ("thread.create", "Organization", scene.org.clone()),
            1 => ("thread.share", "Thread", thread),
            2 => ("member.change_role", "User", user.clone()),
            3 => (
                "settings.read",
                "Settings",
                scene.org.replacen("org", "set", 1),
            ),
            _ => ("thread.read", "Thread", thread),
        };
        json!({
            "subject": {"type": "User", "id": user},
            "action": {"name": action},
            "resource": {"type": kind, "id": id},
        })
    }

    /// Changes something until it is told to stop.
    async fn flip_on(mut self) {
        let scene = Arc::clone(&self.scene);
        let mut shares: Vec<String> = Vec::new();
        while !scene.stop.load(Ordering::Relaxed) {
            let user = self.one_of(&scene.people).to_owned();
            let person = format!("/v1/users/{user}");
            let ((method, path, body), event) = match self.chance.number() % 8 {
                0..=2 => {
                    let role = ["Admin", "Member", "Viewer"]
                        [usize::try_from(self.chance.number() % 3).unwrap()];
                    let body = Some(json!({"role": role}));
                    ((Method::PATCH, person, body), "member.role_changed")
                }
                3 => {
                    let active = self.chance.number().is_multiple_of(2);
                    let event = if active {
                        "member.resumed"
                    } else {
                        "member.suspended"
                    };
                    let body = Some(json!({"active": active}));
                    ((Method::PATCH, person, body), event)
                }
                4 | 5 if shares.len() < 4 => {
                    let thread = self.one_of(&scene.threads);
                    let body = json!({"resource": thread, "grantee": user, "level": "viewer"});
                    (
                        (Method::POST, "/v1/shares".into(), Some(body)),
                        "thread.shared",
                    )
                }
                4..=6 => {
                    let Some(share) = shares.pop() else { continue };
                    let path = format!("/v1/shares/{share}");
                    ((Method::DELETE, path, None), "thread.unshared")
                }
                _ => {
                    let text = OWN[usize::try_from(self.chance.number() % 2).unwrap()];
                    let body = json!({"policies": {"own.cedar": text}});
                    (
                        (Method::PUT, "/v1/policy-set".into(), Some(body)),
                        "policy.activated",
                    )
                }
            };
            let headers = [
                ("content-type", "application/json"),
                ("cedarkeep-acting-user", scene.admin.as_str()),
            ];
            let body = body.map(|body| body.to_string().into_bytes());
            let sent = self.client().send(method, &path, &headers, body).await;
            let Ok(answer) = sent else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            match answer.status {
                200 | 201 | 204 => {
                    if event == "thread.shared" {
                        shares.push(answer.json()["id"].as_str().unwrap().to_owned());
                    }
                    *scene.made.lock().unwrap().entry(event).or_default() += 1;
                    scene.flips.fetch_add(1, Ordering::Relaxed);
                }
                // It is so now, or somebody else was quicker; or no log in time.
                400 | 404 | 409 | 503 => {}
                status => panic!("{event}: {status} {}", answer.body),
            }
        }
    }
}

pub(super) fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

async fn set(sites: &[Site], servers: &[Server]) -> Scene {
    let site = &sites[0];
    let org = site.create_org("nodes");
    let admin = site.add_admin("nodes");
    let people = (0..PEOPLE).map(|number| {
        let email = format!("person{number}@nodes.example");
        let made = site.told(&[
            "member", "add", "nodes", "--name", "Somebody", "--email", &email, "--role", "Member",
            "--json",
        ]);
        made["id"].as_str().unwrap().to_owned()
    });
    let people: Vec<String> = people.collect();
    let asks = site.create_key("nodes", "decide");
    let changes = site.create_key("nodes", "directory.read,directory.write,content,policy");
    let client = servers[0].client(&changes);
    let mut threads = Vec::new();
    for number in 0..THREADS {
        let headers = [
            ("content-type", "application/json"),
            ("cedarkeep-acting-user", admin.as_str()),
        ];
        let body = json!({"name": format!("Thread {number}")})
            .to_string()
            .into_bytes();
        let told = client
            .send(Method::POST, "/v1/threads", &headers, Some(body))
            .await
            .unwrap();
        assert_eq!(told.status, 201, "{}", told.body);
        threads.push(told.json()["id"].as_str().unwrap().to_owned());
    }
    let port = |at: usize| AtomicU16::new(servers[at].port());
    let ca = |at: usize| sites[at].data().join("tls/ca.crt");
    Scene {
        ports: [port(0), port(1), port(2)],
        cas: [ca(0), ca(1), ca(2)],
        asks,
        changes,
        admin,
        people,
        threads,
        org,
        stop: AtomicBool::new(false),
        received: Mutex::default(),
        made: Mutex::default(),
        flips: AtomicUsize::new(0),
        unanswered: AtomicUsize::new(0),
    }
}

/// The rows of the state, opened with the tenant's keys, and every entry as it is shown.
pub(super) async fn history(site: &Site, url: Option<&str>) -> (Vec<Row>, Vec<Value>) {
    let mut config = Config::default();
    config.data.dir = site.data().to_owned();
    if let Some(url) = url {
        config.data.database = Database::Postgres(url.to_owned());
    }
    let app = App::visit(config).await.unwrap();
    let id = app
        .control()
        .find(&"nodes".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    let store = app.control().open_store(id).await.unwrap();
    let name = format!("cedarkeep_{}", id.to_string().split_once('_').unwrap().1);
    let url = match url {
        Some(url) => url.replacen("/postgres?", &format!("/{name}?"), 1),
        None => format!(
            "sqlite://{}",
            site.data().join(format!("tenants/{id}.db")).display()
        ),
    };
    let mut database = sqlx::AnyConnection::connect(&url).await.unwrap();
    let sql = "SELECT id, from_index, to_index, body FROM state ORDER BY from_index, id";
    let stored = sqlx::query(sql).fetch_all(&mut database).await.unwrap();
    let rows = stored.iter().map(|row| {
        let (id, from): (String, i64) = (row.get("id"), row.get("from_index"));
        let (to, sealed): (Option<i64>, Vec<u8>) = (row.get("to_index"), row.get("body"));
        let from = u64::try_from(from).unwrap();
        let text = store
            .keys()
            .at(from)
            .open_value("state", "body", &id, from, &sealed);
        Row {
            id,
            from,
            to: to.map(|to| u64::try_from(to).unwrap()),
            body: serde_json::from_slice(&text.unwrap()).unwrap(),
        }
    });
    let rows = rows.collect();
    let entries = audit::entries(&store, 0, usize::MAX).await.unwrap();
    (rows, entries.iter().map(audit::Shown::line).collect())
}

/// Holds the log to what was received, and every decision in it to the policies.
async fn check(sites: &[Site], scene: &Scene, url: &str, chance: &mut Chance) -> String {
    sites[0].verify("nodes");
    let (rows, entries) = history(&sites[0], Some(url)).await;
    for (wanted, entry) in entries.iter().enumerate() {
        assert_eq!(number(&entry["index"]), wanted as u64, "the log has a gap");
    }
    let received = scene.received.lock().unwrap();
    for one in received.iter() {
        let entry = &entries[usize::try_from(one.index).unwrap()];
        let outcome = if one.decision { "allow" } else { "deny" };
        assert_eq!(entry["leaf"]["outcome"], outcome, "answer {}", one.index);
        let leaf = serde_json_canonicalizer::to_string(&entry["leaf"]).unwrap();
        let hash = cedarkeep::log::merkle::leaf_hash(leaf.as_bytes());
        let hex = data_encoding::HEXLOWER.encode(hash.bytes());
        assert!(
            [hex, hash.base64()].contains(&one.leaf_hash),
            "answer {}",
            one.index
        );
    }
    let made = scene.made.lock().unwrap();
    for (event, count) in made.iter() {
        let found = entries.iter().filter(|one| one["leaf"]["event"] == *event);
        assert!(found.count() >= *count, "a change was lost: {event}");
    }
    let asks_key = entries
        .iter()
        .find(|entry| {
            entry["leaf"]["index"].as_str()
                == received.first().map(|one| one.index.to_string()).as_deref()
        })
        .map(|entry| entry["leaf"]["caller"]["id"].clone())
        .unwrap();
    let mut replay = Replay::of(rows, "local");
    let decisions: Vec<&Value> = entries
        .iter()
        .filter(|entry| {
            entry["leaf"]["event"] == "decision.made"
                && entry["leaf"]["caller"]["type"] == "api_key"
        })
        .collect();
    let mut allowed = 0;
    for entry in &decisions {
        let asks = entry["leaf"]["caller"]["id"] == asks_key;
        let wrong = replay.check(entry, asks);
        assert_eq!(wrong, [], "{entry}");
        allowed += usize::from(entry["leaf"]["outcome"] == "allow");
    }
    assert!(allowed > 0 && allowed < decisions.len(), "{allowed}");
    // One that is false is found out: its outcome turned round; or decided on a state that had passed.
    let at = usize::try_from(chance.number()).unwrap() % decisions.len();
    let mut seeded = decisions[at].clone();
    let asks = seeded["leaf"]["caller"]["id"] == asks_key;
    let turned = if seeded["leaf"]["outcome"] == "allow" {
        "deny"
    } else {
        "allow"
    };
    seeded["leaf"]["outcome"] = json!(turned);
    let index = number(&seeded["leaf"]["index"]);
    let said = turned.to_owned();
    assert_eq!(
        replay.check(&seeded, asks),
        [Wrong::Decided { index, said }]
    );
    let (mut stale, mut other) = (0, 0);
    for entry in decisions.iter().rev().take(2_000) {
        let mut seeded = (*entry).clone();
        let Some(before) = replay.change_before(number(&seeded["leaf"]["as_of"])) else {
            continue;
        };
        seeded["leaf"]["as_of"] = json!(before.to_string());
        let wrong = replay.check(&seeded, seeded["leaf"]["caller"]["id"] == asks_key);
        stale += usize::from(matches!(wrong.first(), Some(Wrong::Stale { .. })));
        other += usize::from(matches!(wrong.get(1), Some(Wrong::Decided { .. })));
        if stale >= 20 && other > 0 {
            break;
        }
    }
    assert!(stale > 0 && other > 0, "{stale} {other}");
    format!(
        "{} entries, {} decisions replayed ({allowed} allowed) on {} states of {} changes; {} answers received, {} not answered; {} changes said to be made",
        entries.len(),
        decisions.len(),
        replay.states(),
        replay.changes(),
        received.len(),
        scene.unanswered.load(Ordering::Relaxed),
        made.values().sum::<usize>(),
    )
}

async fn three_nodes(test: &str, flips: usize, kills: usize) {
    let mut chance = Chance::of_this_run(test);
    let begun = std::time::Instant::now();
    let database = postgres::start();
    let url = database.url();
    let mut sites: Vec<Site> = (0..NODES).map(|_| Site::postgres(&url)).collect();
    // The first makes the keyring, and the others have the same one.
    let keyring = sites[0].data().join("keyring");
    for site in &mut sites {
        site.set("CEDARKEEP_KEYS__KEYRING", keyring.to_str().unwrap());
    }
    let mut servers = Vec::new();
    for site in &sites {
        servers.push(site.serve().await);
    }
    let scene = Arc::new(set(&sites, &servers).await);
    let mut load = JoinSet::new();
    for node in 0..NODES {
        let mut caller = |key: &str| Caller {
            scene: Arc::clone(&scene),
            node,
            key: key.to_owned(),
            client: None,
            chance: chance.another(),
        };
        let (asks, changes) = (scene.asks.clone(), scene.changes.clone());
        load.spawn(caller(&asks).ask_on());
        load.spawn(caller(&asks).ask_on());
        load.spawn(caller(&changes).flip_on());
    }
    let mut killed = 0;
    while killed < kills || scene.flips.load(Ordering::Relaxed) < flips {
        assert!(
            begun.elapsed() < Duration::from_secs(3_000),
            "it takes too long"
        );
        if killed == kills {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        let moment = chance.span(Duration::from_millis(200), Duration::from_millis(1_500));
        tokio::time::sleep(moment).await;
        let node = usize::try_from(chance.number()).unwrap() % NODES;
        servers.remove(node).kill9();
        killed += 1;
        let server = sites[node].serve().await;
        scene.ports[node].store(server.port(), Ordering::Relaxed);
        servers.insert(node, server);
    }
    scene.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    for server in servers {
        server.stop();
    }
    let said = check(&sites, &scene, &url, &mut chance).await;
    println!(
        "{test}: {NODES} nodes, {killed} kills, {} changes: {said}; {:.0} s",
        scene.flips.load(Ordering::Relaxed),
        begun.elapsed().as_secs_f64()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_are_one_log_and_every_decision_in_it_is_right() {
    let flips = if proves() { 1_000 } else { 60 };
    three_nodes("three nodes", flips, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_killed_at_random_are_one_log_still() {
    let kills = if proves() { 100 } else { 4 };
    three_nodes("three nodes, killed", 0, kills).await;
}
