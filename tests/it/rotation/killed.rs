//! `kill -9` in the middle of rotations, of the service and of the command, under load: what was begun is gone on with and ends, the
//! log verifies, and the version before is in no row.
//!
//! `PROVE=1` makes it forty times instead of three; `SEED=n` repeats the moments of a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cedarkeep::config::Database;
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::columns::{named_in, named_in_control};
use crate::harness::chance::Chance;
use crate::harness::postgres;
use crate::harness::server::{DEADLINE, Site};
use crate::harness::witness::Witness;

/// So many rows are sealed again in some hundred milliseconds, so that most kills come in between.
const ENTITIES: usize = 4_000;

const KEYS: [&str; 6] = [
    "records",
    "content-wrap",
    "subject-wrap",
    "tenant",
    "epoch",
    "idempotency",
];

fn rounds() -> usize {
    if std::env::var_os("PROVE").is_some() {
        40
    } else {
        3
    }
}

/// Loads entities of the organization's own.
fn fill(site: &Site) {
    let people = (0..ENTITIES).map(|number| {
        json!({
            "uid": {"type": "user", "id": format!("somebody {number}")},
            "attrs": {"email": format!("{number}@example.com")}, "parents": [],
        })
    });
    let file = site.beside().join("people.json");
    std::fs::write(&file, Value::Array(people.collect()).to_string()).unwrap();
    site.done(&["org", "load", "acme", "--entities", file.to_str().unwrap()]);
}

/// What `keys status` says: of the root key, the deployment's, and the organization's.
fn status(site: &Site) -> Vec<Value> {
    let said = site.done(&["keys", "status", "--json"]);
    said.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The rotations that are under way, but that of the key that waits a day.
fn under_way(site: &Site) -> Vec<String> {
    let mut found = Vec::new();
    for line in status(site) {
        assert!(line.get("error").is_none(), "{line}");
        match line["keys"].as_object() {
            None if line["rotation"].is_object() => {
                found.push(line["key"].as_str().unwrap().to_owned());
            }
            None => {}
            Some(keys) => found.extend(
                keys.iter()
                    .filter(|(name, key)| key["rotation"].is_object() && *name != "idempotency")
                    .map(|(name, _)| format!("{} of {}", name, line["slug"])),
            ),
        }
    }
    found
}

async fn goes_on(site: &Site, database: &Database, chance: &mut Chance) {
    let key = site.create_todo_org("acme");
    fill(site);
    let witness = Arc::new(Witness::default());
    let (mut hit, mut round) = (0, 0);
    // Of a few the clock decides; of many most come in the middle.
    let least = if rounds() > 10 { rounds() / 2 } else { 1 };
    while round < rounds() || (hit == 0 && round < 2 * rounds()) {
        round += 1;
        let server = site.serve().await;
        let load = witness.load(&server, &key, 4);
        let mut begun = Vec::new();
        for key in KEYS {
            // One that was begun in the round before may still be under way, and is refused.
            // That of the most rows is begun in each round, so that most kills come in the middle of it.
            let is_begun = key == "records" || !chance.number().is_multiple_of(3);
            if is_begun && site.run(&["keys", "rotate", key, "acme"]).status.success() {
                begun.push(key);
            }
        }
        let above = ["root", "deployment"][usize::try_from(chance.number() % 2).unwrap()];
        let mut command = site.begin(&["keys", "rotate", above]);
        tokio::time::sleep(chance.span(Duration::ZERO, Duration::from_millis(400))).await;
        command.kill().unwrap();
        command.wait().unwrap();
        tokio::time::sleep(chance.span(Duration::ZERO, Duration::from_millis(500))).await;
        server.kill9();
        load.end().await;
        let left = under_way(site);
        hit += usize::from(!left.is_empty());
        println!("round {round}: begun {begun:?} and {above}; killed with {left:?} under way");
        witness.check_new(site, "acme");
    }
    assert!(hit >= least, "only {hit} kills came in the middle");
    assert!(witness.received() > 0);

    // The service goes on with all of it by itself.
    let server = site.serve().await;
    let client = server.client(&key);
    let begun = Instant::now();
    loop {
        assert!(witness.ask(&client).await);
        let left = under_way(site);
        if left.is_empty() {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "{left:?} never ends");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    server.stop();
    witness.check_all(site, "acme");

    let (mut id, mut wanted) = (String::new(), Vec::new());
    for line in status(site) {
        if let Some(keys) = line["keys"].as_object().filter(|_| line["slug"] == "acme") {
            for (name, key) in keys
                .iter()
                .filter(|(name, _)| *name != "epoch" && *name != "idempotency")
            {
                assert_eq!(key["held"].as_array().unwrap().len(), 1, "{name}: {key}");
                wanted.push((name.clone(), key["version"].as_u64().unwrap()));
            }
        } else if let Some(key) = line["key"].as_str() {
            wanted.push((key.to_owned(), line["version"].as_u64().unwrap()));
        }
    }
    for line in site.done(&["org", "list", "--json"]).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        id = line["id"].as_str().unwrap().to_owned();
    }
    sqlx::any::install_default_drivers();
    let (tenant, control) = match database {
        Database::Sqlite => (
            format!("sqlite://{}/tenants/{id}.db", site.data().display()),
            format!("sqlite://{}/control.db", site.data().display()),
        ),
        Database::Postgres(url) => {
            let name = format!("cedarkeep_{}", id.split_once('_').unwrap().1);
            (
                url.replacen("/postgres?", &format!("/{name}?"), 1),
                url.clone(),
            )
        }
    };
    let mut rows = sqlx::AnyConnection::connect(&tenant).await.unwrap();
    let here = named_in(&mut rows, database).await;
    let mut rows = sqlx::AnyConnection::connect(&control).await.unwrap();
    let above = named_in_control(&mut rows, database).await;
    let mut rotated = 0;
    for (name, version) in wanted.into_iter().filter(|(name, _)| name != "log-signing") {
        let found = match name.as_str() {
            "root" | "deployment" => above.of(&name),
            _ => here.of(&name),
        };
        // There is no content here.
        let wanted = match name.as_str() {
            "content-wrap" => Vec::new(),
            _ => vec![u32::try_from(version).unwrap()],
        };
        assert_eq!(found, wanted, "{name}");
        rotated += usize::from(version > 1);
    }
    assert!(rotated >= 3, "only {rotated} keys were rotated");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_survive_kill_9_on_sqlite() {
    let mut chance = Chance::of_this_run("kill -9 in rotations on SQLite");
    goes_on(&Site::sqlite(), &Database::Sqlite, &mut chance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_survive_kill_9_on_postgresql() {
    let mut chance = Chance::of_this_run("kill -9 in rotations on PostgreSQL");
    let server = postgres::start();
    let database = Database::Postgres(server.url());
    goes_on(&Site::postgres(&server.url()), &database, &mut chance).await;
}
