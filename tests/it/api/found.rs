//! What is found in a log: through the search index and without it, and followed as it grows.

use std::time::Duration;

use cedarkeep::config::Database;
use cedarkeep::decide::recent::Recent;
use cedarkeep::decide::{Door, audit, search};
use cedarkeep::directory::Ref;
use cedarkeep::log::Event;
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
