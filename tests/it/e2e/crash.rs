//! `kill -9` at random moments under load: what a client received is in the log, and the log verifies.
//!
//! `PROVE=1` makes it fifty times instead of five; `SEED=n` repeats the moments of a run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::harness::chance::Chance;
use crate::harness::client::Client;
use crate::harness::postgres;
use crate::harness::server::Site;
use crate::harness::witness::Witness;

const SOONEST: Duration = Duration::from_millis(150);
const LATEST: Duration = Duration::from_millis(1_500);

fn rounds() -> usize {
    if std::env::var_os("PROVE").is_some() {
        50
    } else {
        5
    }
}

/// Somebody who changes the directory all the time, and remembers what was said to be done.
struct Changes {
    key: String,
    admin: String,
    teams: Mutex<Vec<String>>,
}

impl Changes {
    fn by_an_admin_of(site: &Site, slug: &str) -> Self {
        let admin = site.told(&[
            "member",
            "add",
            slug,
            "--name",
            "Ada",
            "--email",
            "ada@example.com",
            "--role",
            "Admin",
            "--json",
        ]);
        let scopes = "directory.read,directory.write";
        let key = site.told(&[
            "key", "create", slug, "--name", "changes", "--scopes", scopes, "--json",
        ]);
        Self {
            key: key["key"].as_str().unwrap().to_owned(),
            admin: admin["id"].as_str().unwrap().to_owned(),
            teams: Mutex::default(),
        }
    }

    fn headers(&self) -> [(&str, &str); 2] {
        [
            ("content-type", "application/json"),
            ("cedarkeep-acting-user", &self.admin),
        ]
    }

    /// Makes teams until the connection breaks.
    async fn make(&self, client: &Client) {
        let body = json!({"name": "made while it is killed"}).to_string();
        while let Ok(answer) = client
            .send(
                Method::POST,
                "/v1/teams",
                &self.headers(),
                Some(body.clone().into_bytes()),
            )
            .await
        {
            assert_eq!(answer.status, 201, "{}", answer.body);
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            self.teams.lock().unwrap().push(id);
        }
    }

    /// Asserts that everything that was said to be made is there.
    async fn check(&self, client: &Client) -> usize {
        let teams = self.teams.lock().unwrap().clone();
        let headers = &self.headers()[1..];
        for team in &teams {
            let place = format!("/v1/teams/{team}");
            let answer = client.send(Method::GET, &place, headers, None).await;
            assert_eq!(answer.unwrap().status, 200, "{team} is lost");
        }
        teams.len()
    }
}

async fn survives(site: &Site, chance: &mut Chance) {
    let key = site.create_todo_org("crash");
    let changes = Arc::new(Changes::by_an_admin_of(site, "crash"));
    let witness = Arc::new(Witness::default());
    let mut hit = 0;
    for round in 0..rounds() {
        let server = site.serve().await;
        let clients = 8 + usize::try_from(chance.number() % 9).unwrap();
        let load = witness.load(&server, &key, clients);
        let writer = {
            let (changes, client) = (Arc::clone(&changes), server.client(&changes.key));
            tokio::spawn(async move { changes.make(&client).await })
        };
        let before = witness.received();
        let moment = chance.span(SOONEST, LATEST);
        tokio::time::sleep(moment).await;
        server.kill9();
        load.end().await;
        writer.await.unwrap();
        witness.check_new(site, "crash");
        let received = witness.received() - before;
        hit += usize::from(received > 0);
        println!(
            "round {round}: {clients} clients, killed after {moment:?}, {received} decisions received"
        );
    }
    witness.check_all(site, "crash");
    // A kill before the first answer shows little: most rounds must have come later.
    assert!(hit * 2 > rounds(), "only {hit} rounds had an answer");
    assert!(
        witness.broken() > 0,
        "no question was under way at any kill"
    );
    assert_eq!(witness.refused(), 0, "the log was there all the time");

    // It goes on where it was, and ends in order.
    let server = site.serve().await;
    assert!(witness.ask(&server.client(&key)).await);
    let made = changes.check(&server.client(&changes.key)).await;
    println!(
        "{} decisions and {made} changes were received, and all of them are there",
        witness.received()
    );
    assert!(made >= rounds(), "only {made} changes");
    server.stop();
    witness.check_all(site, "crash");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_received_survives_kill_9_on_sqlite() {
    let mut chance = Chance::of_this_run("kill -9 on SQLite");
    survives(&Site::sqlite(), &mut chance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_received_survives_kill_9_on_postgresql() {
    let mut chance = Chance::of_this_run("kill -9 on PostgreSQL");
    let database = postgres::start();
    survives(&Site::postgres(&database.url()), &mut chance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_order_loses_nothing_and_refuses_nobody_that_it_took() {
    let site = Site::sqlite();
    let key = site.create_todo_org("stop");
    let witness = Arc::new(Witness::default());
    for _ in 0..2 {
        let server = site.serve().await;
        let load = witness.load(&server, &key, 8);
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.stop();
        load.end().await;
    }
    assert!(witness.received() > 0);
    assert_eq!(witness.refused(), 0);
    witness.check_all(&site, "stop");
}
