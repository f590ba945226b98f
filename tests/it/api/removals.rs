//! Whoever is removed on one node is refused on another with the very next request, without a pause, however warm that one is: by session, by
//! key, by agent, by a stream that is open. `PROVE=1` does it a thousand times each.

use std::net::SocketAddr;
use std::time::Duration;

use cedarkeep::config::Database;
use cedarkeep::directory::Ref;
use cedarkeep::http::serve::Peer;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::harness::{Service, Tenant};
use super::messages::sound;
use crate::harness::postgres;

fn rounds() -> usize {
    if std::env::var_os("PROVE").is_some() {
        1_000
    } else {
        20
    }
}

/// In each round from another address: of one alone a hundred refusals a minute are told what is wrong, and more that they are too many.
fn host(round: usize) -> Peer {
    let [.., high, low] = round.to_be_bytes();
    Peer::Tcp(SocketAddr::from(([10, 0, high, low], 4000)))
}

/// Two nodes, and what is asked on them.
struct Scene {
    here: Service,
    there: Service,
    tenant: Tenant,
    thread: String,
    agent: (String, String),
}

impl Scene {
    async fn set(database: Database) -> Self {
        let here = Service::patient(database).await;
        let tenant = here.tenant("acme").await;
        let there = here.beside().await;
        let things = here.things(&tenant).await;
        let place = format!("/v1/agents/{}", things.agent);
        let definition = here.get(&tenant, tenant.admin, &place).await.ok();
        let agent = definition["agents"][0].as_str().unwrap().to_owned();
        Self {
            agent: (things.agent, agent),
            thread: format!("/v1/threads/{}", things.thread),
            here,
            there,
            tenant,
        }
    }

    async fn member(&self, number: usize, role: &str) -> Ref {
        let body =
            json!({"name": "Eve", "email": format!("eve-{number}@example.com"), "role": role});
        let made = self
            .here
            .post(&self.tenant, self.tenant.admin, "/v1/users", body)
            .await;
        made.id().parse().unwrap()
    }

    /// Here; the answer has arrived when this is over.
    async fn remove(&self, user: Ref) {
        let place = format!("/v1/users/{user}");
        let told = self
            .here
            .delete(&self.tenant, self.tenant.admin, &place)
            .await;
        assert_eq!(told.status, 204, "{}", told.body);
    }

    /// By a session, there.
    async fn by_session(&self, cookie: &str, round: usize) -> u16 {
        self.there
            .signed_in(cookie, "GET", &self.thread)
            .from(host(round))
            .send()
            .await
            .status
    }

    /// By the back end's key, in that person's name, there.
    async fn by_key(&self, user: Ref) -> u16 {
        self.there
            .get(&self.tenant, user, &self.thread)
            .await
            .status
    }

    /// By an agent that acts for them, there.
    async fn by_agent(&self, user: Ref) -> u16 {
        let ask = self.there.by(&self.tenant, user, "GET", &self.thread);
        ask.header("cedarkeep-acting-agent", &self.agent.1)
            .send()
            .await
            .status
    }

    /// What a back end is told about them, there.
    async fn decided(&self, user: Ref) -> bool {
        let (_, id) = self.thread.rsplit_once('/').unwrap();
        let body = json!({
            "subject": {"type": "User", "id": user.to_string()},
            "action": {"name": "thread.read"},
            "resource": {"type": "Thread", "id": id},
        });
        let told = self
            .there
            .ask("POST", "/access/v1/evaluation")
            .key(&self.tenant.key)
            .body(&body);
        told.send().await.ok()["decision"].as_bool().unwrap()
    }

    /// The log as witness: nothing was allowed to them behind their removal.
    async fn witness(&self, user: Ref) {
        let read = async |conditions: &str| {
            let path = format!("/v1/audit/entries?limit=200&{conditions}");
            let told = self
                .here
                .get(&self.tenant, self.tenant.admin, &path)
                .await
                .ok();
            told["items"].as_array().unwrap().clone()
        };
        let index = |item: &Value| item["index"].as_str().unwrap().parse::<u64>().unwrap();
        let removed = read(&format!("event=member.removed&resource={user}")).await;
        let removed = index(&removed[0]);
        let allowed = read(&format!("actor={user}&outcome=allow")).await;
        assert!(!allowed.is_empty());
        assert!(allowed.iter().all(|item| index(item) < removed), "{user}");
    }
}

async fn removed_here_is_refused_there(database: Database) {
    let scene = Scene::set(database).await;
    let mut refused = [0_usize; 4];
    for round in 0..rounds() {
        let user = scene.member(round, "Member").await;
        let cookie = scene.here.sign_in(&scene.tenant, user).await;
        let share = json!({"resource": scene.thread.trim_start_matches("/v1/threads/"), "grantee": scene.agent.0, "level": "viewer"});
        if round == 0 {
            scene
                .here
                .post(&scene.tenant, scene.tenant.admin, "/v1/shares", share)
                .await
                .id();
        }
        // Warm: each has just been answered there.
        assert_eq!(scene.by_session(&cookie, round).await, 200);
        assert_eq!(scene.by_key(user).await, 200);
        assert_eq!(scene.by_agent(user).await, 200);
        assert!(scene.decided(user).await);
        scene.remove(user).await;
        // Each is the first one in turn, since the first is what makes the other node look.
        for next in 0..4 {
            let at = (round + next) % 4;
            let is_refused = match at {
                0 => scene.by_session(&cookie, round).await == 401,
                1 => scene.by_key(user).await == 403,
                2 => scene.by_agent(user).await == 403,
                _ => !scene.decided(user).await,
            };
            refused[at] += usize::from(is_refused);
        }
        scene.witness(user).await;
    }
    assert_eq!(refused, [rounds(); 4]);
    sound(&scene.tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_here_is_refused_there_on_sqlite() {
    removed_here_is_refused_there(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_here_is_refused_there_on_postgresql() {
    let server = postgres::start();
    removed_here_is_refused_there(Database::Postgres(server.url())).await;
}

async fn revoked_here_is_refused_there(database: Database) {
    let scene = Scene::set(database).await;
    let mut refused = [0_usize; 2];
    for round in 0..rounds() {
        let cookie = scene.here.sign_in(&scene.tenant, scene.tenant.member).await;
        let key = json!({"name": "nightly", "scopes": ["directory.read"]});
        let key = scene
            .here
            .post(&scene.tenant, scene.tenant.admin, "/v1/api-keys", key)
            .await;
        let (secret, id) = (key.body["key"].as_str().unwrap().to_owned(), key.id());
        let by_key = async || {
            let ask = scene
                .there
                .ask("GET", "/v1/organization")
                .key(&secret)
                .from(host(round));
            ask.user(scene.tenant.admin).send().await.status
        };
        assert_eq!(scene.by_session(&cookie, round).await, 200);
        assert_eq!(by_key().await, 200);
        let place = format!("/v1/users/{}/sessions", scene.tenant.member);
        scene
            .here
            .delete(&scene.tenant, scene.tenant.admin, &place)
            .await
            .ok();
        refused[0] += usize::from(scene.by_session(&cookie, round).await == 401);
        let place = format!("/v1/api-keys/{id}");
        let gone = scene
            .here
            .delete(&scene.tenant, scene.tenant.admin, &place)
            .await;
        assert_eq!(gone.status, 204);
        refused[1] += usize::from(by_key().await == 401);
    }
    assert_eq!(refused, [rounds(); 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_here_is_refused_there_on_sqlite() {
    revoked_here_is_refused_there(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_here_is_refused_there_on_postgresql() {
    let server = postgres::start();
    revoked_here_is_refused_there(Database::Postgres(server.url())).await;
}

async fn an_open_stream_says_nothing_of_what_comes_behind_a_removal(database: Database) {
    let scene = Scene::set(database).await;
    for round in 0..rounds() {
        let user = scene.member(round, "Admin").await;
        let cookie = scene.here.sign_in(&scene.tenant, user).await;
        let (status, mut stream) = scene
            .there
            .signed_in(&cookie, "GET", "/v1/audit/follow?category=membership")
            .stream()
            .await;
        assert_eq!(status, 200);
        // It is warm: what happens here is said there.
        let first = scene.member(1_000_000 + round, "Viewer").await;
        let mut said = String::new();
        let wait = Duration::from_secs(30);
        while !said.contains(&first.to_string()) {
            let piece = tokio::time::timeout(wait, stream.next()).await.unwrap();
            said.push_str(std::str::from_utf8(&piece.unwrap().unwrap()).unwrap());
        }
        scene.remove(user).await;
        let behind = scene.member(2_000_000 + round, "Viewer").await;
        let mut rest = String::new();
        while let Some(piece) = tokio::time::timeout(wait, stream.next()).await.unwrap() {
            rest.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        }
        assert!(rest.contains("event: refused"), "{rest}");
        assert!(
            !rest.contains(&behind.to_string()) && !rest.contains("member.removed"),
            "{rest}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_says_nothing_of_what_comes_behind_a_removal_on_sqlite() {
    an_open_stream_says_nothing_of_what_comes_behind_a_removal(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_says_nothing_of_what_comes_behind_a_removal_on_postgresql() {
    let server = postgres::start();
    an_open_stream_says_nothing_of_what_comes_behind_a_removal(Database::Postgres(server.url()))
        .await;
}
