//! A directory that memory has no room for: every answer is the one that would be given if it had, and what cannot be read back is no
//! answer.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use cedarkeep::config::Database;
use cedarkeep::decide::replay::{Range, Replaying, Report, Under};
use cedarkeep::decide::{Asker, Door};
use serde_json::{Value, json};

use super::harness::{Service, Tenant};
use super::history::History;
use crate::harness::chance::Chance;
use crate::harness::postgres;

/// The files of this process below the folder of a service to which no name leads any more.
fn put_aside(service: &Service) -> Vec<File> {
    let dir = service.app().config().data.dir.clone();
    let mut files = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        let target = std::fs::read_link(&path);
        let is_ours = target
            .is_ok_and(|to| to.starts_with(&dir) && to.to_string_lossy().ends_with(" (deleted)"));
        if is_ours {
            let file = OpenOptions::new().read(true).write(true).open(&path);
            files.extend(file.ok().filter(|file| file.metadata().unwrap().len() > 0));
        }
    }
    // A file that is open twice is there twice.
    files.sort_by_key(|file| file.metadata().unwrap().ino());
    files.dedup_by_key(|file| file.metadata().unwrap().ino());
    files
}

async fn replayed(door: &Arc<Door>) -> Report {
    let wanted = Replaying {
        range: Range::All,
        under: Under::Recorded,
    };
    let told = |_| ControlFlow::Continue(());
    door.replay(Asker::operator(), wanted, told).await.unwrap()
}

/// Everything that is listed, as an Admin is told it.
async fn everything(service: &Service, tenant: &Tenant, history: &History) -> Vec<Value> {
    let mut all = Vec::new();
    let thread = &history.things.thread;
    for path in [
        "users",
        "teams",
        "projects",
        "threads",
        "documents",
        "memory",
        "prompt-templates",
        "tools",
        "assistants",
        "agents",
        "integrations",
        "entities",
        "invitations",
        "access-requests",
    ] {
        let path = format!("/v1/{path}?limit=200");
        all.push(service.get(tenant, tenant.admin, &path).await.ok());
    }
    for user in [tenant.admin, tenant.member, tenant.viewer] {
        for path in [format!("/v1/memory?for={thread}"), "/v1/threads".to_owned()] {
            all.push(service.get(tenant, user, &path).await.body);
        }
    }
    all
}

async fn what_is_read_back_is_what_was_there(database: Database, steps: usize) {
    let chance = Chance::of_this_run("a directory that lies elsewhere");
    let small = Service::without_memory(database).await;
    let mut history = History::begin(small, chance).await;
    assert_eq!(put_aside(&history.service).len(), 1);
    history.go_on(steps).await;
    let id = history.tenant.door.store().id();

    // What was decided on what was read back is decided again by a node that has all of it in memory; and the other way round.
    let large = history
        .service
        .beside_with(|config| config.tenants.memory_mib = 1_024);
    let large = large.await;
    let door = large.app().door(id).await.unwrap();
    let report = replayed(&door).await;
    assert!(report.is_same(), "{}", report.words());
    assert!(report.tally.made() > u64::try_from(steps).unwrap());
    let small = std::mem::replace(&mut history.service, large);
    let there = std::mem::replace(&mut history.tenant.door, door);
    history.go_on(steps / 4).await;
    let report = replayed(&there).await;
    assert!(report.is_same(), "{}", report.words());

    // Both tell the same of everything, and a node that has just read all of it does, too.
    let one = everything(&history.service, &history.tenant, &history).await;
    assert_eq!(everything(&small, &history.tenant, &history).await, one);
    let third = small.beside_with(|_| {}).await;
    assert_eq!(everything(&third, &history.tenant, &history).await, one);
    assert!(
        one.iter()
            .any(|list| list["items"].as_array().is_some_and(|all| all.len() > 3))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_back_is_what_was_there_on_sqlite() {
    what_is_read_back_is_what_was_there(Database::Sqlite, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_back_is_what_was_there_on_postgresql() {
    let server = postgres::start();
    what_is_read_back_is_what_was_there(Database::Postgres(server.url()), 60).await;
}

/// Overwrites whatever lies elsewhere.
fn damage(service: &Service) -> usize {
    let files = put_aside(service);
    for mut file in &files {
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        file.rewind().unwrap();
        file.write_all(&vec![0; length]).unwrap();
    }
    files.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_back_is_no_answer_and_then_read_from_the_rows() {
    let service = Service::without_memory(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let body = json!({"name": "Plan", "audience": tenant.everybody});
    let thread = service.post(&tenant, tenant.admin, "/v1/threads", body);
    let thread = thread.await.id();
    let put = async |path: &str, body: Value| {
        let put = service.by(&tenant, tenant.admin, "PUT", path);
        put.body(&body).send().await.ok()
    };
    let schema = "entity Ticket { title: String };";
    put("/v1/policy-set", json!({"schema": schema, "policies": {}})).await;
    let ticket =
        json!({"uid": {"type": "Ticket", "id": "1"}, "attrs": {"title": "t"}, "parents": []});
    put("/v1/entities", json!({"entities": [ticket]})).await;
    let question = json!({
        "subject": {"type": "User", "id": tenant.member}, "action": {"name": "thread.read"},
        "resource": {"type": "Thread", "id": thread},
    });
    let one = format!("/v1/threads/{thread}");
    for path in ["/access/v1/evaluation", "/v1/threads", &one, "/v1/entities"] {
        let ask = async |service: &Service| {
            let told = match path {
                "/access/v1/evaluation" => {
                    service.ask("POST", path).key(&tenant.key).body(&question)
                }
                path => service.by(&tenant, tenant.admin, "GET", path),
            };
            told.send().await
        };
        let large = service
            .beside_with(|config| config.tenants.memory_mib = 1)
            .await;
        let wanted = ask(&large).await.ok();
        // A node that has not read it back yet, so that it must.
        let other = service.beside_with(|_| {}).await;
        other
            .get(&tenant, tenant.admin, "/v1/users?limit=1")
            .await
            .ok();
        assert!(damage(&service) >= 1, "{path}");
        let door = other.app().door(tenant.door.store().id()).await.unwrap();
        let before = door.tip().size;
        assert_eq!(ask(&other).await.status, 503, "{path}");
        if path == "/access/v1/evaluation" {
            assert_eq!(
                door.tip().size,
                before,
                "nothing is recorded of what is no answer"
            );
        }
        let mut told = ask(&other).await;
        if told.status == 503 {
            told = ask(&other).await;
        }
        assert_eq!(told.ok(), wanted, "{path}");
    }
}

/// As many as take several pages, each of a change that ends more than fit one.
async fn a_state_of_many_pages_is_read_whole(database: Database) {
    let service = Service::still(database).await;
    let tenant = service.tenant("acme").await;
    let put = async |path: &str, body: Value| {
        let put = service.by(&tenant, tenant.admin, "PUT", path);
        put.body(&body).send().await.ok()
    };
    let schema = "entity Ticket { title: String };
        action look appliesTo { principal: [Cedarkeep::User], resource: [Ticket] };";
    let policy = "@id(\"look\") @reason(\"Some may be looked at.\")
        permit (principal, action == Action::\"look\", resource) when { resource.title like \"open*\" };";
    put(
        "/v1/policy-set",
        json!({"schema": schema, "policies": {"look.cedar": policy}}),
    )
    .await;
    let tickets = async |round: usize| {
        for part in 0..3 {
            let ticket = |number: usize| {
                let word = ["open", "shut"][(number + round) % 2];
                json!({"uid": {"type": "Ticket", "id": format!("{}", part * 1_000 + number)},
                    "attrs": {"title": format!("{word} {round}")}, "parents": []})
            };
            let all: Vec<Value> = (0..1_000).map(ticket).collect();
            put("/v1/entities", json!({"entities": all})).await;
        }
    };
    let ask = async |service: &Service, asked: &[usize]| {
        let one = |id: &usize| json!({"resource": {"type": "Ticket", "id": id.to_string()}});
        let all: Vec<Value> = asked.iter().map(one).collect();
        let body = json!({"subject": {"type": "User", "id": tenant.member}, "action": {"name": "look"}, "evaluations": all});
        let ask = service
            .ask("POST", "/access/v1/evaluations")
            .key(&tenant.key);
        ask.body(&body).send().await.ok()["evaluations"].clone()
    };
    let asked: Vec<usize> = (0..3_000).step_by(7).collect();
    for round in 0..2 {
        tickets(round).await;
        let told = ask(&service, &asked).await;
        for (told, number) in told.as_array().unwrap().iter().zip(&asked) {
            assert_eq!(
                told["decision"],
                (number + round) % 2 == 0,
                "{number} in {round}"
            );
        }
    }
    // A node that reads the state as it is, and one that reads it as it was, of rows that have ended since: it makes every decision again.
    let there = service.beside().await;
    assert_eq!(ask(&there, &asked).await, ask(&service, &asked).await);
    let report = replayed(&there.app().door(tenant.door.store().id()).await.unwrap()).await;
    assert!(report.is_same(), "{}", report.words());
    assert!(report.tally.made() >= 4 * 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_of_many_pages_is_read_whole_on_sqlite() {
    a_state_of_many_pages_is_read_whole(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_of_many_pages_is_read_whole_on_postgresql() {
    let server = postgres::start();
    a_state_of_many_pages_is_read_whole(Database::Postgres(server.url())).await;
}
