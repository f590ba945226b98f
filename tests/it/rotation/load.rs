//! Every key is rotated while two nodes are asked, changed and read without a pause: no request fails, and the version before is in no
//! row any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cedarkeep::app::App;
use cedarkeep::config::Database;
use cedarkeep::decide::above::{Above, By};
use cedarkeep::decide::{Door, audit, check, rotate};
use cedarkeep::directory::Ref;
use cedarkeep::directory::keys::KeyName;
use cedarkeep::log::Event;
use chrono::Utc;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::columns::{held, named, named_above};
use crate::api::harness::{Service, Tenant, Told};
use crate::api::keeping::every_entry;
use crate::harness::postgres;

const PATIENCE: Duration = Duration::from_secs(120);

/// How often the replies of a day are made to have expired.
static DAYS: AtomicU64 = AtomicU64::new(0);

/// What everybody does at both nodes.
struct Load {
    key: String,
    org: Ref,
    admin: Ref,
    member: Ref,
    /// Where the content of something lies that the organization remembers.
    content: String,
    stop: AtomicBool,
    done: AtomicU64,
    /// The index of some entry.
    seen: AtomicU64,
}

impl Load {
    async fn tell(&self, service: &Service, number: u64) -> Vec<Told> {
        let ask = |method, path: &str| service.ask(method, path).key(&self.key);
        let by = |method, path: &str| ask(method, path).user(self.admin);
        let name = format!("team-{number}");
        let team = || {
            by("POST", "/v1/teams")
                .header("idempotency-key", &name)
                .body(&json!({ "name": name }))
        };
        match number % 7 {
            0 => {
                let days = DAYS.load(Ordering::SeqCst);
                let one = team().send().await;
                assert_eq!(one.status, 201, "{}", one.body);
                let again = team().send().await;
                // A day may have gone by in between, and then it is a call like any other.
                if DAYS.load(Ordering::SeqCst) == days {
                    assert_eq!(one.body, again.body);
                    assert_eq!(again.headers["idempotency-replayed"], "true");
                }
                vec![one, again]
            }
            1 => {
                let email = format!("{number}@example.com");
                let body = json!({"name": name, "email": email, "role": "Member"});
                vec![by("POST", "/v1/users").body(&body).send().await]
            }
            2 => {
                let path = format!("/v1/audit/entries?actor={}&limit=3", self.member);
                vec![by("GET", &path).send().await]
            }
            3 => {
                let path = format!("/v1/audit/receipts/{}", self.seen.load(Ordering::Relaxed));
                vec![by("GET", &path).send().await]
            }
            4 => {
                let text = format!("content {number}").into_bytes();
                let kept = by("PUT", &self.content).content("text/plain", text);
                vec![kept.send().await, by("GET", &self.content).send().await]
            }
            _ => {
                let question = json!({
                    "subject": {"type": "User", "id": self.member},
                    "action": {"name": "thread.create"},
                    "resource": {"type": "Organization", "id": self.org},
                });
                let body = json!({"evaluations": [question, question]});
                let told = ask("POST", "/access/v1/evaluations")
                    .header("cedarkeep-explain", "true")
                    .body(&body)
                    .send()
                    .await;
                assert_eq!(
                    told.body["evaluations"][0]["decision"], true,
                    "{}",
                    told.body
                );
                let index = &told.body["evaluations"][0]["context"]["log"]["index"];
                let index = index.as_u64().or_else(|| index.as_str()?.parse().ok());
                self.seen.store(index.unwrap(), Ordering::Relaxed);
                vec![told]
            }
        }
    }

    async fn run(self: Arc<Self>, service: Arc<Service>, first: u64) {
        let mut number = first;
        while !self.stop.load(Ordering::Relaxed) {
            for told in self.tell(&service, number).await {
                assert!(
                    [200, 201].contains(&told.status),
                    "{number}: {} {}",
                    told.status,
                    told.body
                );
            }
            number += 1;
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Waits for a rotation that the keepers of both nodes go on with.
async fn over(door: &Door, key: KeyName) {
    let begun = Instant::now();
    door.refresh().await.unwrap();
    while door.store().keys().rotates(rotate::purpose(key)) {
        assert!(begun.elapsed() < PATIENCE, "{key} is never done");
        tokio::time::sleep(Duration::from_millis(50)).await;
        door.refresh().await.unwrap();
    }
}

/// The events of rotations: which key, from which version to which, and how far.
async fn told(door: &Door) -> Vec<(String, u64, u64, String)> {
    let all = audit::entries(door.store(), 0, usize::MAX).await.unwrap();
    all.iter()
        .filter(|shown| shown.line()["leaf"]["event"] == Event::KeyRotated.as_str())
        .map(|shown| {
            let said = &shown.parts["details"];
            let text = |member: &str| said[member].as_str().unwrap().to_owned();
            (
                text("key"),
                said["old"].as_u64().unwrap(),
                said["new"].as_u64().unwrap(),
                text("phase"),
            )
        })
        .collect()
}

/// Something that the organization remembers, and whose content is thus nobody's: where that lies.
async fn remembered(service: &Service, tenant: &Tenant) -> String {
    let body = json!({ "name": "Terms", "layer": "organization" });
    let memory = service.post(tenant, tenant.admin, "/v1/memory", body).await;
    let content = format!("/v1/memory/{}/content", memory.id());
    let kept = service.by(tenant, tenant.admin, "PUT", &content);
    kept.content("text/plain", b"at first".to_vec())
        .send()
        .await
        .ok();
    content
}

async fn rotate_all(service: &Service, second: &App, tenant: &Tenant, round: u32) {
    let door = &tenant.door;
    for key in KeyName::ALL {
        let path = format!("/v1/keys/{key}/rotation");
        let said = service
            .by(tenant, tenant.admin, "POST", &path)
            .send()
            .await
            .ok();
        assert_eq!(said["key"], key.as_str());
        if key == KeyName::Epoch {
            // One began with the records key.
            assert_eq!(
                (&said["new"], &said["phase"]),
                (&json!(2 * round + 1), &json!("done"))
            );
            continue;
        }
        let numbers = (&said["old"], &said["new"], &said["phase"]);
        assert_eq!(numbers, (&json!(round), &json!(round + 1), &json!("begun")));
        if key == KeyName::Idempotency {
            // What the version before finds goes when it has expired.
            rotate::advance(door, Utc::now(), Duration::ZERO)
                .await
                .unwrap();
            assert!(door.store().keys().rotates(rotate::purpose(key)));
            let again = service.by(tenant, tenant.admin, "POST", &path).send().await;
            again.is_problem(409);
            DAYS.fetch_add(1, Ordering::SeqCst);
            let sql = "UPDATE idempotency SET at = 0 WHERE key_version <= $1";
            sqlx::query(sql)
                .bind(i64::from(round))
                .execute(&mut service.database(tenant).await)
                .await
                .unwrap();
        }
        // One after the other, and all at once.
        if round % 2 == 1 {
            over(door, key).await;
        }
    }
    for key in KeyName::ALL {
        over(door, key).await;
    }
    for key in [Above::Root, Above::Deployment] {
        let versions = second.rotate_above(key, By::Operator).await.unwrap();
        assert_eq!(versions, (round, round + 1));
    }
}

async fn every_key_rotates_under_load(database: Database) {
    let service = Arc::new(Service::patient(database).await);
    let tenant = service.tenant("acme").await;
    service.things(&tenant).await;
    let content = remembered(&service, &tenant).await;
    let untouched = remembered(&service, &tenant).await;
    let beside = Arc::new(service.beside().await);
    let load = Arc::new(Load {
        key: tenant.key.clone(),
        org: tenant.org,
        admin: tenant.admin,
        member: tenant.member,
        content: content.clone(),
        stop: AtomicBool::new(false),
        done: AtomicU64::new(0),
        seen: AtomicU64::new(0),
    });
    let mut tasks = JoinSet::new();
    for (at, node) in [&service, &beside, &service, &beside]
        .into_iter()
        .enumerate()
    {
        let first = u64::try_from(at).unwrap() * 1_000_000;
        tasks.spawn(Arc::clone(&load).run(Arc::clone(node), first));
    }
    let rounds = if std::env::var_os("PROVE").is_some() {
        10
    } else {
        2
    };
    for round in 1..=rounds {
        let before = load.done.load(Ordering::Relaxed);
        rotate_all(&service, beside.app(), &tenant, round).await;
        // Something is sealed under the new keys of each round, at both nodes.
        while load.done.load(Ordering::Relaxed) < before + 40 {
            assert!(tasks.try_join_next().is_none(), "a request failed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    load.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    println!(
        "{} requests over {rounds} rounds, none failed",
        load.done.load(Ordering::Relaxed)
    );

    // The versions before are in no row, and name no value.
    let newest = rounds + 1;
    for (purpose, versions) in held(&service, &tenant).await {
        let wanted = if purpose == "log-signing" { 1 } else { newest };
        assert_eq!(versions, [i64::from(wanted)], "{purpose}");
    }
    let here = named(&service, &tenant).await;
    for key in ["tenant", "records", "content-wrap", "subject-wrap"] {
        assert_eq!(here.of(key), [newest], "{key}");
    }
    let above = named_above(&service).await;
    for key in ["root", "deployment"] {
        assert_eq!(above.of(key), [newest], "{key}");
    }
    let keyring = std::fs::read_to_string(service.app().config().keyring()).unwrap();
    assert_eq!(keyring.matches("\nroot ").count(), 1);
    assert!(keyring.contains(&format!("\nroot {newest} ")));
    assert_eq!(
        here.of("log").len(),
        usize::try_from(2 * rounds + 1).unwrap()
    );
    what_was_written_is_read(&service, &tenant).await;
    // What was written before the first of them opens, and what was written last.
    for (place, beginning) in [(&untouched, "at first"), (&content, "content ")] {
        let told = beside.get(&tenant, tenant.admin, place).await;
        assert_eq!(told.status, 200, "{}", told.body);
        assert!(told.bytes.starts_with(beginning.as_bytes()));
    }
    // Each is in the log, begun and done.
    let said = told(&tenant.door).await;
    for key in KeyName::ALL {
        for phase in ["begun", "done"] {
            let count = said
                .iter()
                .filter(|(name, .., how)| name == key.as_str() && how == phase)
                .count();
            let wanted = match (key, phase) {
                (KeyName::Epoch, "begun") => 0,
                _ => usize::try_from(rounds).unwrap(),
            };
            assert_eq!(count, wanted, "{key} {phase}: {said:?}");
        }
    }
    let deployment = service.app().deployment().await.unwrap();
    let said = told(&deployment).await;
    for (key, phase) in [
        ("root", "begun"),
        ("root", "done"),
        ("deployment", "begun"),
        ("deployment", "done"),
    ] {
        let count = said
            .iter()
            .filter(|(name, .., how)| name == key && how == phase)
            .count();
        assert_eq!(
            count,
            usize::try_from(rounds).unwrap(),
            "{key} {phase}: {said:?}"
        );
    }
}

/// Everything that reads: the check, queries, receipts, an export, and a node that starts anew.
pub async fn what_was_written_is_read(service: &Service, tenant: &Tenant) {
    let door = &tenant.door;
    let report = check::verify(door.store(), door.origin(), &[], |_, _| {})
        .await
        .unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let fresh = service.beside().await;
    let other = fresh.app().door(door.store().id()).await.unwrap();
    let all = every_entry(&other).await;
    for entry in all.iter().step_by(all.len() / 20 + 1) {
        let receipt = audit::receipt(other.store(), entry.index)
            .await
            .unwrap()
            .unwrap();
        receipt.verified_entry(&[other.verifier()]).unwrap();
    }
    let shown = audit::entries(other.store(), 0, usize::MAX).await.unwrap();
    let erased = shown
        .iter()
        .flat_map(|shown| shown.parts.values())
        .filter(|part| **part == "[erased]");
    assert_eq!(erased.count(), 0, "a part does not open");
    let actor = tenant.member.to_string();
    let by_index = crate::api::found::found(&other, &[("actor", &actor)], 50).await;
    let wanted = all.iter().filter(|entry| {
        entry
            .actor
            .as_ref()
            .is_some_and(|one| one.id.as_str() == actor)
    });
    assert_eq!(by_index.len(), wanted.count());
    let told = fresh
        .get(tenant, tenant.admin, "/v1/audit/export?format=jsonl")
        .await;
    assert_eq!(told.status, 200);
    let lines = told
        .bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert!(lines.len() >= all.len(), "{} of {}", lines.len(), all.len());
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_rotates_under_load_on_sqlite() {
    every_key_rotates_under_load(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_rotates_under_load_on_postgresql() {
    let server = postgres::start();
    every_key_rotates_under_load(Database::Postgres(server.url())).await;
}
