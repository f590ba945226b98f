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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_back_is_no_answer_and_then_read_from_the_rows() {
    let service = Service::without_memory(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let body = json!({"name": "Plan", "audience": tenant.everybody});
    let thread = service
        .post(&tenant, tenant.admin, "/v1/threads", body)
        .await;
    let thread = thread.id();
    let question = json!({
        "subject": {"type": "User", "id": tenant.member}, "action": {"name": "thread.read"},
        "resource": {"type": "Thread", "id": thread},
    });
    // A node that has not read it back yet, so that it must.
    let other = service.beside_with(|_| {}).await;
    let ask = async || {
        let ask = other.ask("POST", "/access/v1/evaluation").key(&tenant.key);
        ask.body(&question).send().await
    };
    let none = other.get(&tenant, tenant.admin, "/v1/users?limit=1").await;
    none.ok();
    let files = put_aside(&service);
    assert_eq!(files.len(), 2, "one of each node");
    for mut file in files {
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        file.rewind().unwrap();
        file.write_all(&vec![0; length]).unwrap();
    }
    let door = other.app().door(tenant.door.store().id()).await.unwrap();
    let before = door.tip().size;
    assert_eq!(ask().await.status, 503);
    let told = ask().await.ok();
    assert_eq!(told["decision"], true);
    // Nothing was recorded of what was no answer.
    assert_eq!(door.tip().size, before + 1);
}
