//! What many read and write at once: content, looked for and written together, and people's keys; each gets and keeps their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedarkeep::config::Database;
use cedarkeep::decide::{audit, check, upkeep};
use cedarkeep::directory::{Kind, Ref};
use chrono::Utc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::Row as _;

use super::content::{bytes, kept};
use super::harness::{Service, Tenant, Told};
use crate::harness::postgres;

/// More than one statement is about.
const MANY: usize = 70;

async fn write(service: &Service, tenant: &Tenant, place: &str, content: Vec<u8>) -> Told {
    let put = service.by(tenant, tenant.admin, "PUT", place);
    put.content("text/plain", content).send().await
}

async fn read(service: &Service, tenant: &Tenant, place: &str) -> Told {
    service.get(tenant, tenant.member, place).await
}

/// Places of content: documents, of which versions are kept, and memories, of which none is.
async fn places(service: &Service, tenant: &Tenant) -> Vec<String> {
    let mut places = Vec::new();
    for number in 0..MANY {
        let (collection, body) = match number % 2 {
            0 => (
                "documents",
                json!({"name": "Budget", "audience": tenant.everybody}),
            ),
            _ => ("memory", json!({"name": "Fact", "layer": "organization"})),
        };
        let path = format!("/v1/{collection}");
        let made = service.post(tenant, tenant.admin, &path, body).await;
        places.push(format!("{path}/{}/content", made.id()));
    }
    places
}

async fn each_has_their_own(database: Database) {
    let service = Service::patient(database).await;
    let tenant = service.tenant("acme").await;
    let places = places(&service, &tenant).await;
    let said = |place: &str, round: usize| format!("{place} in round {round}").into_bytes();
    for round in 0..3 {
        let written = places
            .iter()
            .map(|place| write(&service, &tenant, place, said(place, round)));
        for told in join_all(written).await {
            told.ok();
        }
        // Each several times, and among them what is not there.
        let asked = places.iter().chain(&places).chain(&places);
        let nothing = format!("{}x", places[0]);
        let answers = join_all(asked.clone().map(|place| read(&service, &tenant, place)));
        let (answers, none) = tokio::join!(answers, read(&service, &tenant, &nothing));
        assert_eq!(none.status, 404);
        for (place, told) in asked.zip(answers) {
            assert_eq!(told.status, 200, "{}", told.body);
            assert_eq!(told.bytes, said(place, round));
        }
    }
    // Of a document three versions, of a memory one; and every version ends where the next begins.
    let mut rows = service.database(&tenant).await;
    let found = sqlx::query(
        "SELECT resource, from_index, to_index FROM content ORDER BY resource, from_index",
    )
    .fetch_all(&mut rows)
    .await
    .unwrap();
    assert_eq!(found.len(), MANY / 2 * 3 + MANY / 2);
    for pair in found.windows(2) {
        let same = pair[0].get::<String, _>("resource") == pair[1].get::<String, _>("resource");
        let ends: Option<i64> = pair[0].get("to_index");
        assert_eq!(ends, same.then(|| pair[1].get("from_index")));
    }

    // Of one thing in one commit: the last one counts, and what is told is what is there.
    for place in [&places[0], &places[1]] {
        let written = (0..MANY).map(|round| write(&service, &tenant, place, said(place, round)));
        let versions: BTreeSet<String> = join_all(written)
            .await
            .into_iter()
            .map(|told| told.ok()["version"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(versions.len(), MANY);
        let told = read(&service, &tenant, place).await;
        let tag = told.headers["etag"]
            .to_str()
            .unwrap()
            .trim_matches('"')
            .to_owned();
        assert!(versions.contains(&tag));
        assert!((0..MANY).any(|round| told.bytes == said(place, round)));
    }
    let (rows, ..) = kept(&service, &tenant).await;
    let documents = MANY / 2 * 3 + MANY;
    assert_eq!(rows, i64::try_from(documents + MANY / 2).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_has_their_own_on_sqlite() {
    each_has_their_own(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_has_their_own_on_postgresql() {
    let server = postgres::start();
    each_has_their_own(Database::Postgres(server.url())).await;
}

/// Two nodes keep content of the same things at once, and decide in between: nothing is lost, each version ends where the next begins, and
/// the log is one.
async fn two_nodes_write_at_once(database: Database) {
    let service = Service::patient(database).await;
    let tenant = service.tenant("acme").await;
    let places = places(&service, &tenant).await;
    let nodes = [service.beside().await, service];
    let (documents, rounds) = (6, 20);
    let asked = (0..rounds).flat_map(|round| {
        let (nodes, tenant, places) = (&nodes, &tenant, &places);
        (0..2 * documents).map(move |number| async move {
            let place = &places[number % documents * 2];
            let node = &nodes[(number + round) % 2];
            let text = format!("{number} in round {round}");
            let told = write(node, tenant, place, text.clone().into_bytes()).await;
            let version = told.ok()["version"].as_str().unwrap().to_owned();
            // Whatever is there now, on the other node too, is of this thing.
            assert_eq!(read(&nodes[round % 2], tenant, place).await.status, 200);
            (place.clone(), version)
        })
    });
    let written: BTreeSet<(String, String)> = join_all(asked).await.into_iter().collect();
    assert_eq!(written.len(), 2 * documents * rounds);
    for place in places.iter().step_by(2).take(documents) {
        let versions = place.replace("/content", "/versions?limit=100");
        for node in &nodes {
            let listed = node.get(&tenant, tenant.admin, &versions).await.ok();
            let items = listed["items"].as_array().unwrap();
            assert_eq!(items.len(), 2 * rounds);
            for pair in items.windows(2) {
                assert_eq!(pair[0]["to_index"], pair[1]["from_index"], "{place}");
            }
            let last = items.last().unwrap();
            assert!(last["to_index"].is_null(), "{last}");
            let named = |one: &Value| one["version"].as_str().unwrap().to_owned();
            assert!(
                items
                    .iter()
                    .all(|one| written.contains(&(place.clone(), named(one))))
            );
            let tag = read(node, &tenant, place).await.headers["etag"].clone();
            assert_eq!(tag.to_str().unwrap().trim_matches('"'), named(last));
        }
    }
    let door = &tenant.door;
    let report = check::verify(door.store(), door.origin(), &[], |_, _| {});
    let report = report.await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_write_at_once_on_sqlite() {
    two_nodes_write_at_once(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_write_at_once_on_postgresql() {
    let server = postgres::start();
    two_nodes_write_at_once(Database::Postgres(server.url())).await;
}

/// Long content that short content takes the place of leaves no bytes behind, however much else is in the same commit.
async fn nothing_stays_on_the_shelf(database: Database) {
    let service = Service::patient(database).await;
    let tenant = service.tenant("acme").await;
    let places = places(&service, &tenant).await;
    let memories: Vec<&String> = places.iter().skip(1).step_by(2).take(4).collect();
    let long = memories
        .iter()
        .map(|place| write(&service, &tenant, place, bytes(40_000)));
    for told in join_all(long).await {
        told.ok();
    }
    let (_, pieces, files) = kept(&service, &tenant).await;
    assert_eq!(pieces.max(i64::try_from(files).unwrap()), 4);
    let short = memories
        .iter()
        .map(|place| write(&service, &tenant, place, b"short".to_vec()));
    for told in join_all(short).await {
        told.ok();
    }
    upkeep::round(&tenant.door, Utc::now(), true).await.unwrap();
    assert_eq!(kept(&service, &tenant).await, (4, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_on_the_shelf_on_sqlite() {
    nothing_stays_on_the_shelf(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_on_the_shelf_on_postgresql() {
    let server = postgres::start();
    nothing_stays_on_the_shelf(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_can_be_looked_up_everybody_is_told_and_nobody_waits_for_ever() {
    let service = Service::patient(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let places = places(&service, &tenant).await;
    let some = &places[..20];
    for place in some {
        write(&service, &tenant, place, b"here".to_vec()).await.ok();
    }
    let mut rows = service.database(&tenant).await;
    let mut rename = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&mut rows).await.unwrap();
    };
    rename("ALTER TABLE content RENAME TO away").await;
    let answers = join_all(some.iter().map(|place| read(&service, &tenant, place)));
    for told in answers.await {
        told.is_problem(503);
    }
    rename("ALTER TABLE away RENAME TO content").await;
    let answers = join_all(some.iter().map(|place| read(&service, &tenant, place)));
    for told in answers.await {
        assert_eq!((told.status, told.bytes.as_slice()), (200, &b"here"[..]));
    }
}

/// The decisions about people whose keys are not open: their keys are read together, each entry is sealed under its own.
async fn each_is_sealed_under_their_own(database: Database) {
    let service = Service::patient(database).await;
    let tenant = service.tenant("acme").await;
    let mut people = Vec::new();
    for number in 0..MANY {
        let body = json!({"name": "Somebody", "email": format!("p{number}@example.com"), "role": "Member"});
        let made = service.post(&tenant, tenant.admin, "/v1/users", body).await;
        people.push(made.id());
    }
    let subjects = tenant.door.store().subjects();
    let before = audit::head(tenant.door.store()).await.unwrap().size;
    subjects.let_go();
    let question = |person: &String| {
        json!({
            "subject": {"type": "User", "id": person}, "action": {"name": "settings.read"},
            "resource": {"type": "Settings", "id": Ref::new(Kind::Settings, tenant.org.id).to_string()},
        })
    };
    let all: Vec<Value> = people.iter().map(question).collect();
    let ask = service
        .ask("POST", "/access/v1/evaluations")
        .key(&tenant.key);
    ask.body(&json!({"evaluations": all})).send().await.ok();
    let gone = people.pop().unwrap();
    let path = format!("/v1/users/{gone}/erasure");
    service
        .post(&tenant, tenant.admin, &path, json!({}))
        .await
        .ok();

    // Everybody's key but that of who was erased, and of nobody else; each is the one that opens their entry.
    let nobody = Ref::new(Kind::User, [9; 16]).to_string();
    let asked = people.iter().chain([&gone, &nobody]);
    let asked: Vec<&str> = asked.map(String::as_str).collect();
    let found = subjects.several(&asked).await.unwrap();
    let names: BTreeSet<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, people.iter().map(String::as_str).collect());
    for (name, key) in &found {
        let one = subjects.get(name).await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&one, key), "it is open from then on");
    }
    let entries = audit::entries(tenant.door.store(), before, MANY).await;
    let entries = entries.unwrap();
    assert_eq!(entries.len(), MANY);
    for (person, entry) in people.iter().zip(&entries) {
        assert_eq!(entry.parts["request"]["subject"]["id"], json!(person));
    }
    assert_eq!(entries[MANY - 1].parts["request"], "[erased]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_sealed_under_their_own_on_sqlite() {
    each_is_sealed_under_their_own(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_sealed_under_their_own_on_postgresql() {
    let server = postgres::start();
    each_is_sealed_under_their_own(Database::Postgres(server.url())).await;
}

/// Statistics are samples of what columns hold: no key may be among them, since it would be there when its row is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_samples_nothing_that_is_sealed() {
    let server = postgres::start();
    let service = Service::still(Database::Postgres(server.url())).await;
    let tenant = service.tenant("acme").await;
    for mut rows in [service.database(&tenant).await, service.control().await] {
        let sampled = "SELECT CAST(attrelid::regclass AS TEXT) || '.' || attname AS name, attstattarget IS NOT DISTINCT FROM 0 AS is_not
             FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
             WHERE atttypid = 'bytea'::regtype AND relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0";
        let columns = sqlx::query(sampled).fetch_all(&mut rows).await.unwrap();
        assert!(columns.len() > 10);
        for column in columns {
            let name: String = column.get("name");
            assert!(column.get::<bool, _>("is_not"), "{name}");
        }
    }
}

/// PostgreSQL makes statistics a minute after there is something to know. Until then its plans would be those for empty tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_told_how_much_there_is() {
    let server = postgres::start();
    let service = Service::still(Database::Postgres(server.url())).await;
    let tenant = service.tenant("acme").await;
    let known = async || {
        let mut rows = service.database(&tenant).await;
        let row = sqlx::query(
            "SELECT CAST(reltuples AS BIGINT) AS known FROM pg_class WHERE relname = 'segment'",
        );
        let row = row.fetch_one(&mut rows).await.unwrap();
        row.get::<i64, _>("known")
    };
    let door = &tenant.door;
    upkeep::round(door, Utc::now(), true).await.unwrap();
    assert!(known().await <= 0, "nothing is counted of so little");
    while door.tip().size < 256 {
        let asked = (0..64).map(|_| service.get(&tenant, tenant.admin, "/v1/organization"));
        join_all(asked).await;
    }
    upkeep::round(door, Utc::now(), true).await.unwrap();
    let once = known().await;
    assert!(once > 0);
    // Again only once there is twice as much.
    for _ in 0..3 {
        service.get(&tenant, tenant.admin, "/v1/organization").await;
    }
    upkeep::round(door, Utc::now(), true).await.unwrap();
    assert_eq!(known().await, once);
}
