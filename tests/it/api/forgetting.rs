//! What is forgotten is in no file any more once what the README says was done (`When something is gone from the files`): the wrapped keys of
//! content, of people, and the sealed bytes of the shelf.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cedarkeep::config::Database;
use cedarkeep::decide::world::World;
use cedarkeep::decide::{audit, upkeep};
use cedarkeep::directory::{Object, Ref};
use cedarkeep::policy::Library;
use serde_json::{Value, json};
use sqlx::{Row as _, raw_sql};

use super::content::{bytes, kept};
use super::harness::{Service, Tenant};
use crate::harness::postgres;

/// How many bytes of a sealed value are looked for at a time: a page or a record may end within it.
const WINDOW: usize = 24;

/// Pieces of sealed values, which chance does not write.
#[derive(Default)]
struct Needles {
    of: HashMap<[u8; 8], (String, Vec<u8>)>,
}

impl Needles {
    /// Every window of a value that it fills; of a long one the first few.
    fn add(&mut self, what: &str, value: &[u8]) {
        // Format and version of the key are the same in all.
        for window in value[5..].chunks_exact(WINDOW).take(4) {
            let start = *window.first_chunk().unwrap();
            self.of.insert(start, (what.to_owned(), window.to_vec()));
        }
    }

    /// What of it is in the files below these.
    fn found(&self, roots: &[PathBuf]) -> Vec<String> {
        let mut starts = vec![false; 1 << 16];
        for start in self.of.keys() {
            starts[usize::from(u16::from_le_bytes([start[0], start[1]]))] = true;
        }
        let (mut found, mut paths, mut read) = (Vec::new(), roots.to_vec(), 0);
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                let entries = std::fs::read_dir(&path).unwrap();
                paths.extend(entries.map(|entry| entry.unwrap().path()));
                continue;
            }
            // A socket is no file, and a server that runs takes files away.
            let Ok(bytes) = std::fs::read(&path) else {
                continue;
            };
            read += bytes.len();
            for (at, window) in bytes.windows(WINDOW).enumerate() {
                if !starts[usize::from(u16::from_le_bytes([window[0], window[1]]))] {
                    continue;
                }
                let start: &[u8; 8] = window.first_chunk().unwrap();
                if let Some((what, needle)) = self.of.get(start)
                    && window == needle
                {
                    found.push(format!("{what} at {at} of {}", path.display()));
                }
            }
        }
        assert!(read > 100_000, "only {read} bytes were there to be read");
        found
    }
}

struct Scene {
    service: Service,
    tenant: Tenant,
    roots: Vec<PathBuf>,
}

impl Scene {
    async fn make(&self, path: &str, body: Value) -> String {
        let made = self
            .service
            .post(&self.tenant, self.tenant.member, path, body);
        format!("{path}/{}", made.await.id())
    }

    async fn write(&self, method: &str, path: &str, length: usize) {
        let put = self
            .service
            .by(&self.tenant, self.tenant.member, method, path);
        let told = put.content("text/plain", bytes(length)).send().await;
        assert!([200, 201].contains(&told.status), "{}", told.body);
    }

    /// Wrapped keys, and what lies on the shelf, as they are stored now.
    async fn needles(&self) -> Needles {
        let mut needles = Needles::default();
        let mut rows = self.service.database(&self.tenant).await;
        let content = "SELECT version, resource, wrapped, shelved FROM content";
        let content = sqlx::query(content).fetch_all(&mut rows).await.unwrap();
        for row in &content {
            let (version, resource): (String, String) = (row.get("version"), row.get("resource"));
            let what = format!("{version} of {resource}");
            needles.add(&format!("the key of {what}"), row.get("wrapped"));
            if row.get::<i64, _>("shelved") == 1 {
                let sealed = self.shelf(&version).await;
                needles.add(&format!("the bytes of {what}"), &sealed);
            }
        }
        let people = "SELECT subject, wrapped FROM subject_key WHERE subject = $1";
        let member = self.tenant.member.to_string();
        let person = sqlx::query(people).bind(&member).fetch_one(&mut rows);
        let person = person.await.unwrap();
        needles.add("the key of the person", person.get("wrapped"));
        needles
    }

    async fn shelf(&self, version: &str) -> Vec<u8> {
        if let Database::Sqlite = self.service.app().config().data.database {
            return std::fs::read(self.service.shelf(&self.tenant).join(version)).unwrap();
        }
        let mut rows = self.service.database(&self.tenant).await;
        let sql = "SELECT bytes FROM content_piece WHERE version = $1 ORDER BY number LIMIT 1";
        let piece = sqlx::query(sql).bind(version).fetch_one(&mut rows);
        piece.await.unwrap().get("bytes")
    }

    async fn delete(&self, path: &str) {
        let gone = self
            .service
            .delete(&self.tenant, self.tenant.member, path)
            .await;
        assert_eq!(gone.status, 204, "{path}: {}", gone.body);
    }

    /// A round of upkeep, as there is one every minute.
    async fn round(&self) {
        let now = chrono::Utc::now();
        upkeep::round(&self.tenant.door, now, true).await.unwrap();
    }

    /// What the README says: statements, each by itself.
    async fn documented(&self) {
        let (name, sqlite) = match self.service.app().config().data.database {
            Database::Sqlite => ("sqlite", true),
            Database::Postgres(_) => ("postgresql", false),
        };
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let (_, section) = readme
            .split_once("\n### When something is gone from the files\n")
            .unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let (_, steps) = section.split_once(&format!("\n```sql {name}\n")).unwrap();
        let (steps, _) = steps.split_once("```").unwrap();
        let mut database = self.service.database(&self.tenant).await;
        let mut done = 0;
        for step in steps.lines().filter(|line| !line.starts_with("--")) {
            // The driver has no word for a place in the write-ahead log.
            let text = step.replace("pg_switch_wal()", "pg_switch_wal()::text");
            let step = raw_sql(sqlx::AssertSqlSafe(text));
            if sqlite {
                // Whether somebody kept it from being done.
                let rows = step.fetch_all(&mut database).await.unwrap();
                assert!(rows.iter().all(|row| row.get::<i64, _>(0) == 0));
            } else {
                step.execute(&mut database).await.unwrap();
            }
            done += 1;
        }
        assert!(done > 0);
    }
}

async fn what_is_forgotten_is_in_no_file(database: Database, more: Option<PathBuf>) {
    let service = Service::still(database).await;
    let tenant = service.tenant("acme").await;
    let mut roots = vec![service.app().config().data.dir.clone()];
    roots.extend(more);
    let scene = Scene {
        service,
        tenant,
        roots,
    };
    let group = scene.tenant.everybody;
    let personal = json!({"name": "A fact", "layer": "personal"});
    let document = json!({"name": "Budget", "audience": group});
    let thread = json!({"name": "Plan", "audience": group});
    // What stays, between what goes: pages of the database hold both.
    let mut stays = Vec::new();
    let mut goes = Vec::new();
    for round in 0..12 {
        for (path, body) in [("/v1/memory", &personal), ("/v1/documents", &document)] {
            for length in [50, 3_000] {
                let item = scene.make(path, body.clone()).await;
                scene.write("PUT", &format!("{item}/content"), length).await;
                if round % 3 == 0 {
                    stays.push(item);
                } else {
                    goes.push(item);
                }
            }
        }
    }
    let memory = scene.make("/v1/memory", personal.clone()).await;
    scene.write("PUT", &format!("{memory}/content"), 300).await;
    let long = scene.make("/v1/memory", personal.clone()).await;
    scene.write("PUT", &format!("{long}/content"), 90_000).await;
    let budget = scene.make("/v1/documents", document.clone()).await;
    for length in [10, 70_000, 20] {
        scene
            .write("PUT", &format!("{budget}/content"), length)
            .await;
    }
    let emptied = scene.make("/v1/documents", document.clone()).await;
    for length in [40, 80_000] {
        scene
            .write("PUT", &format!("{emptied}/content"), length)
            .await;
    }
    let talk = scene.make("/v1/threads", thread).await;
    for length in [8, 60_000, 500] {
        scene
            .write("POST", &format!("{talk}/messages"), length)
            .await;
    }
    let mut all = scene.needles().await;
    // The control: what must be nowhere afterwards is there now.
    let found = scene.roots_hold(&all);
    assert!(found > all.of.len() / 2, "{found} of {}", all.of.len());

    // One takes another's place; forgotten, deleted, emptied, with its thread.
    scene.write("PUT", &format!("{memory}/content"), 301).await;
    scene.write("PUT", &format!("{memory}/content"), 302).await;
    for path in &goes {
        scene.delete(path).await;
    }
    for path in [&long, &budget, &format!("{emptied}/content"), &talk] {
        scene.delete(path).await;
    }
    let left = scene.needles().await;
    all.of.retain(|start, _| !left.of.contains_key(start));
    assert!(all.of.len() > 4 * goes.len());
    scene.round().await;
    scene.documented().await;
    let found = all.found(&scene.roots);
    assert!(found.is_empty(), "{}: {found:#?}", found.len());
    let rows = i64::try_from(stays.len()).unwrap() + 1;
    assert_eq!(kept(&scene.service, &scene.tenant).await, (rows, 0, 0));

    // Somebody is forgotten, with what is left of theirs.
    scene
        .write("PUT", &format!("{memory}/content"), 100_000)
        .await;
    let left = scene.needles().await;
    let erased = format!("/v1/users/{}/erasure", scene.tenant.member);
    let told = scene
        .service
        .by(&scene.tenant, scene.tenant.admin, "POST", &erased)
        .send()
        .await;
    assert!([200, 202, 204].contains(&told.status), "{}", told.body);
    for _ in 0..3 {
        scene.round().await;
    }
    scene.documented().await;
    let found = left.found(&scene.roots);
    assert!(found.is_empty(), "{}: {found:#?}", found.len());
    assert_eq!(kept(&scene.service, &scene.tenant).await, (0, 0, 0));
}

impl Scene {
    fn roots_hold(&self, needles: &Needles) -> usize {
        needles.found(&self.roots).len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_is_in_no_file_on_sqlite() {
    what_is_forgotten_is_in_no_file(Database::Sqlite, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_is_in_no_file_on_postgresql() {
    let server = postgres::start();
    let directory = server.directory();
    let database = Database::Postgres(server.url());
    what_is_forgotten_is_in_no_file(database, Some(directory)).await;
}

/// What the rows of a store say that something was called, as of a change.
async fn called(tenant: &Tenant, place: &str, change: u64) -> String {
    let library = Arc::new(Library::builtin().unwrap());
    let empty = Arc::new(World::empty(tenant.org, &library));
    let world = audit::world_at(tenant.door.store(), &empty, change).await;
    let world = world.unwrap();
    let thing: Ref = place.rsplit('/').next().unwrap().parse().unwrap();
    match &world.snapshot().object(thing).unwrap().value {
        Object::Memory(memory) => memory.name.clone(),
        object => object.made().unwrap().name.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_private_has_no_name_once_it_is_no_more() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let scene = Scene {
        service,
        tenant,
        roots: Vec::new(),
    };
    let tenant = &scene.tenant;
    let personal = json!({"name": "CANARY", "layer": "personal"});
    let private = json!({"name": "CANARY"});
    let open = json!({"name": "CANARY", "audience": tenant.everybody});
    let mut gone = Vec::new();
    for (path, body) in [
        ("/v1/memory", &personal),
        ("/v1/documents", &private),
        ("/v1/threads", &private),
        ("/v1/prompt-templates", &private),
    ] {
        gone.push(scene.make(path, body.clone()).await);
    }
    let thread = gone[2].rsplit('/').next().unwrap();
    let within = json!({"name": "CANARY", "parent": thread});
    let within = scene.make("/v1/documents", within).await;
    let kept = scene.make("/v1/documents", private).await;
    let others = scene.make("/v1/documents", open).await;
    let before = tenant.door.glance().snapshot().as_of();
    for place in gone.iter().chain([&others]) {
        assert_eq!(called(tenant, place, before).await, "CANARY");
        scene.delete(place).await;
    }
    for place in gone.iter().chain([&within]) {
        assert_eq!(called(tenant, place, before).await, "[erased]", "{place}");
    }
    for place in [&kept, &others] {
        assert_eq!(called(tenant, place, before).await, "CANARY", "{place}");
    }
}

/// Rows of before names went with what they name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_finds_the_names_of_what_was_no_more_before() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let scene = Scene {
        service,
        tenant,
        roots: Vec::new(),
    };
    let (service, tenant) = (&scene.service, &scene.tenant);
    let personal = json!({"name": "CANARY", "layer": "personal"});
    let private = json!({"name": "CANARY"});
    let open = json!({"name": "CANARY", "audience": tenant.everybody});
    let mut over = Vec::new();
    for (path, body) in [
        ("/v1/memory", personal),
        ("/v1/documents", private),
        ("/v1/documents", open),
    ] {
        over.push(scene.make(path, body).await);
    }
    let before = tenant.door.glance().snapshot().as_of();
    let mut database = service.database(tenant).await;
    for place in &over {
        let id = place.rsplit('/').next().unwrap();
        let body = sqlx::query("SELECT body FROM state WHERE id = $1").bind(id);
        let body: Vec<u8> = body.fetch_one(&mut database).await.unwrap().get("body");
        scene.delete(place).await;
        let back = sqlx::query("UPDATE state SET body = $1 WHERE id = $2");
        let back = back.bind(body).bind(id).execute(&mut database).await;
        assert_eq!(back.unwrap().rows_affected(), 1);
        assert_eq!(called(tenant, place, before).await, "CANARY");
    }
    let erased = format!("/v1/users/{}/erasure", tenant.member);
    let told = service.by(tenant, tenant.admin, "POST", &erased);
    told.send().await.ok();
    for _ in 0..3 {
        scene.round().await;
    }
    for (place, name) in over.iter().zip(["[erased]", "[erased]", "CANARY"]) {
        assert_eq!(called(tenant, place, before).await, name, "{place}");
    }
}
