//! What is found in a log: through the search index and without it, and followed as it grows.

use std::time::Duration;

use cedarkeep::config::Database;
use cedarkeep::decide::recent::Recent;
use cedarkeep::decide::{Acting, Asker, Caller, Door, audit, search};
use cedarkeep::directory::{Kind, Ref};
use cedarkeep::log::Event;
use cedarkeep::log::entry::Outcome;
use cedarkeep::log::query::Query;
use serde_json::{Value, json};
use sqlx::Row as _;

use super::harness::Service;
use super::keeping::{asked, every_entry, last_of};
use crate::harness::postgres;

/// All indexes that a query finds, page by page.
pub async fn found(door: &Door, conditions: &[(&str, &str)], limit: usize) -> Vec<u64> {
    let query = Query::of(conditions.iter().copied()).unwrap();
    let (mut indexes, mut before) = (Vec::new(), None);
    loop {
        let page = search::newest(door.store(), &query, before, limit)
            .await
            .unwrap();
        indexes.extend(page.entries.iter().map(|shown| shown.index));
        match page.before {
            Some(next) => before = Some(next),
            None => return indexes,
        }
    }
}

async fn the_index_answers_what_the_log_says(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    asked(&service, &tenant, tenant.member, 1_100).await;
    asked(&service, &tenant, tenant.viewer, 30).await;
    let things = service.things(&tenant).await;
    asked(&service, &tenant, tenant.member, 1_050).await;
    let (member, viewer) = (tenant.member.to_string(), tenant.viewer.to_string());
    let first_time = every_entry(door).await[600].time.to_string();
    let last_time = every_entry(door).await[1_500].time.to_string();
    let asks: Vec<Vec<(&str, &str)>> = vec![
        vec![],
        vec![("actor", &member)],
        vec![("actor", &viewer)],
        vec![("actor", &viewer), ("outcome", "deny")],
        vec![("resource", &things.thread)],
        vec![("category", "membership")],
        vec![("event", "thread.shared"), ("outcome", "ok")],
        vec![("request_id", "call 400")],
        vec![("request_id", "nobody's")],
        vec![
            ("action", "member.read"),
            ("from", &first_time),
            ("to", &last_time),
        ],
        vec![("to", &first_time)],
    ];
    // The keeper has indexed nothing, some, or all by now: it starts from nothing here.
    search::forget_index(door.store()).await.unwrap();
    let entries = audit::entries(door.store(), 0, usize::MAX).await.unwrap();
    let size = u64::try_from(entries.len()).unwrap();
    assert!(size > 2_048);
    let compare = async |what: &str, asks: &[Vec<(&str, &str)>]| {
        for conditions in asks {
            let query = Query::of(conditions.iter().copied()).unwrap();
            let wanted: Vec<u64> = entries
                .iter()
                .rev()
                .filter(|shown| shown.fits(&query))
                .map(|shown| shown.index)
                .collect();
            // A short page where there is little to find: each begins its walk anew.
            let short = if wanted.len() < 60 { 7 } else { 400 };
            for limit in [short, 5_000] {
                let mut found = found(door, conditions, limit).await;
                found.retain(|index| *index < size);
                assert_eq!(found, wanted, "{conditions:?} by {limit}, {what}");
            }
        }
    };
    compare("without an index", &asks[3..6]).await;
    search::index_next(door.store(), &Recent::default())
        .await
        .unwrap();
    compare("while it is built", &asks[2..6]).await;
    while search::index_next(door.store(), &Recent::default())
        .await
        .unwrap()
        .is_some()
    {}
    compare("with it", &asks).await;
    let mut rows = service.database(&tenant).await;
    let blocks: i64 = sqlx::query("SELECT COUNT(*) AS blocks FROM search_block")
        .fetch_one(&mut rows)
        .await
        .unwrap()
        .get("blocks");
    assert!(blocks >= 2);
    // A damaged row, and one that is another block's, are read past.
    for sql in [
        "UPDATE search_block SET pairs = filter WHERE block = 0",
        "UPDATE search_block SET filter = (SELECT filter FROM search_block WHERE block = 0) WHERE block = 1",
    ] {
        sqlx::query(sql).execute(&mut rows).await.unwrap();
        compare(sql, &asks[6..8]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_answers_what_the_log_says_on_sqlite() {
    the_index_answers_what_the_log_says(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_answers_what_the_log_says_on_postgresql() {
    let server = postgres::start();
    the_index_answers_what_the_log_says(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_followed_as_it_grows() {
    use futures_util::StreamExt as _;
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let path = "/v1/audit/follow?event=thread.created";
    let follow = |user: Ref, after: Option<&str>| {
        let ask = service.by(&tenant, user, "GET", path);
        match after {
            Some(id) => ask.header("last-event-id", id),
            None => ask,
        }
    };
    let told = follow(tenant.viewer, None).send().await;
    told.is_problem(403);
    let told = service
        .get(&tenant, tenant.admin, "/v1/audit/follow?event=nothing")
        .await;
    told.is_problem(400);
    let told = follow(tenant.admin, Some("seven")).send().await;
    told.is_problem(400);

    let (status, mut events) = follow(tenant.admin, None).stream().await;
    assert_eq!(status, 200);
    let mut next = async || {
        let piece = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
        String::from_utf8(piece.unwrap().unwrap().unwrap().to_vec()).unwrap()
    };
    let mut seen = Vec::new();
    for name in ["First", "Second"] {
        let thread = json!({"name": name, "audience": tenant.everybody});
        service
            .post(&tenant, tenant.member, "/v1/threads", thread)
            .await
            .id();
        let event = next().await;
        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
        let entry: Value = serde_json::from_str(data.unwrap()).unwrap();
        assert_eq!(entry["leaf"]["event"], "thread.created");
        assert_eq!(entry["details"]["name"], name);
        let id = event.lines().find_map(|line| line.strip_prefix("id: "));
        assert_eq!(Some(entry["index"].as_str().unwrap()), id);
        seen.push(id.unwrap().to_owned());
    }
    // Whoever comes again goes on behind what they had, and what they ask for is recorded.
    let (_, mut again) = follow(tenant.admin, Some(&seen[0])).stream().await;
    let event = tokio::time::timeout(Duration::from_secs(10), again.next()).await;
    let event = event.unwrap().unwrap().unwrap();
    let wanted = format!("id: {}\n", seen[1]);
    assert!(String::from_utf8_lossy(&event).contains(&wanted));
    let readings = last_of(&tenant.door, Event::AuditLogRead).await;
    assert!(readings.is_some());
}

/// Entries by somebody who acts seldom, in segments of hundreds, with leaves across the borders of sealed chunks.
async fn few_entries_of_great_segments_are_found(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    let key = Ref::new(Kind::ApiKey, [1; 16]);
    let service_ = Ref::new(Kind::Service, [2; 16]);
    let asker = |user| Asker {
        caller: Caller::Key {
            key,
            service: service_,
            acting: Some(Acting { user, agent: None }),
        },
        request_id: Some("seldom".into()),
        client: Some("192.0.2.17".into()),
        purpose: None,
    };
    let mut seldom = Vec::new();
    for round in 0..5_usize {
        let first = audit::head(door.store()).await.unwrap().size;
        let notes = (0..600).map(|number| {
            let is_theirs = number % 150 == round * 29;
            let user = if is_theirs {
                tenant.viewer
            } else {
                tenant.member
            };
            door.note(
                asker(user),
                Event::AuditLogRead,
                Outcome::Ok,
                json!({ "number": number }),
            )
        });
        for noted in futures_util::future::join_all(notes).await {
            noted.unwrap();
        }
        let all = every_entry(door).await;
        let theirs = all.iter().filter(|entry| entry.index >= first);
        let viewer = tenant.viewer.to_string();
        seldom.extend(
            theirs
                .filter(|entry| {
                    entry
                        .actor
                        .as_ref()
                        .is_some_and(|one| one.id.as_str() == viewer)
                })
                .map(|entry| entry.index),
        );
    }
    seldom.reverse();
    assert_eq!(seldom.len(), 20);
    let mut rows = service.database(&tenant).await;
    let great = "SELECT COUNT(*) AS great FROM segment WHERE entries > 300";
    let great: i64 = sqlx::query(great)
        .fetch_one(&mut rows)
        .await
        .unwrap()
        .get("great");
    assert!(great >= 4, "{great} segments have hundreds of entries");
    while search::index_next(door.store(), &Recent::default())
        .await
        .unwrap()
        .is_some()
    {}
    let viewer = tenant.viewer.to_string();
    for limit in [1, 3, 50] {
        let conditions = [("actor", viewer.as_str()), ("request_id", "seldom")];
        assert_eq!(
            found(door, &conditions, limit).await,
            seldom,
            "{limit} at a time"
        );
    }
    let query = Query::of([("actor", viewer.as_str())]).unwrap();
    let page = search::newest(door.store(), &query, None, 1).await.unwrap();
    assert_eq!(page.entries[0].parts["client"]["address"], "192.0.2.17");
    // What was altered on the way is no answer: neither a chunk of leaves nor a table of parts.
    for column in ["leaves", "parts"] {
        let at = if column == "leaves" { 100 } else { 20 };
        let sql = format!("SELECT first_index, {column} AS blob FROM segment WHERE entries > 300");
        let stored = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(&mut rows)
            .await
            .unwrap();
        let set = format!("UPDATE segment SET {column} = $1 WHERE first_index = $2");
        let mut write = async |first: i64, blob: Vec<u8>| {
            sqlx::query(sqlx::AssertSqlSafe(set.clone()))
                .bind(blob)
                .bind(first)
                .execute(&mut rows)
                .await
                .unwrap();
        };
        for row in &stored {
            let mut altered: Vec<u8> = row.get("blob");
            altered[at] ^= 1;
            write(row.get("first_index"), altered).await;
        }
        assert!(
            search::newest(door.store(), &query, None, 50)
                .await
                .is_err(),
            "{column}"
        );
        for row in &stored {
            write(row.get("first_index"), row.get("blob")).await;
        }
    }
    assert_eq!(found(door, &[("actor", &viewer)], 50).await, seldom);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_entries_of_great_segments_are_found_on_sqlite() {
    few_entries_of_great_segments_are_found(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_entries_of_great_segments_are_found_on_postgresql() {
    let server = postgres::start();
    few_entries_of_great_segments_are_found(Database::Postgres(server.url())).await;
}
