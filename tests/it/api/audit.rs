//! The log asked over HTTP: every condition, every page, the fresh tail, and who may not ask.

use cedarkeep::config::Database;
use cedarkeep::directory::object::{Plan, Scope};
use cedarkeep::directory::{Ref, organization};
use cedarkeep::log::checkpoint::SignedCheckpoint;
use cedarkeep::log::merkle::{Hash, verify_consistency};
use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _};

use super::harness::{Service, Tenant, key};
use crate::harness::postgres;

/// Asks for entries, page by page, until there is no more.
async fn walked(service: &Service, tenant: &Tenant, conditions: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/audit/entries?limit={limit}{conditions}{cursor}");
        let page = service.get(tenant, tenant.admin, &path).await.ok();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        found.extend(items.iter().cloned());
        match page.get("next_cursor") {
            Some(next) => cursor = format!("&cursor={}", next.as_str().unwrap()),
            None => return found,
        }
    }
}

fn index(entry: &Value) -> u64 {
    entry["index"].as_str().unwrap().parse().unwrap()
}

/// Whether an entry fits a condition, read from its JSON alone.
fn fits(entry: &Value, name: &str, value: &str) -> bool {
    let (leaf, request) = (&entry["leaf"], &entry["request"]);
    let time = leaf["time"].as_str().unwrap();
    match name {
        "from" => time >= value,
        "to" => time < value,
        "event" | "category" | "outcome" => leaf[name] == value,
        "actor" => [
            &leaf["actor"]["id"],
            &leaf["acts_for"]["id"],
            &leaf["caller"]["id"],
            &request["subject"]["id"],
        ]
        .contains(&&json!(value)),
        "resource" => {
            [&leaf["resource"]["id"], &request["resource"]["id"]].contains(&&json!(value))
        }
        "action" => leaf["action"] == value || request["action"]["name"] == value,
        "policy" => {
            let own = entry["policies"]["determining"].as_array();
            leaf["policies"]
                .as_array()
                .is_some_and(|all| all.contains(&json!(value)))
                || own.is_some_and(|own| own.iter().any(|one| one["id"] == value))
        }
        "request_id" => entry["client"]["request_id"] == value,
        other => panic!("{other}"),
    }
}

async fn every_condition_finds_what_it_should(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let things = service.things(&tenant).await;
    for (number, user) in [tenant.admin, tenant.member, tenant.viewer]
        .into_iter()
        .enumerate()
    {
        for action in ["thread.read", "thread.post", "no.such"] {
            let question = json!({
                "subject": {"type": "User", "id": user},
                "action": {"name": action},
                "resource": {"type": "Thread", "id": things.thread},
            });
            service
                .ask("POST", "/access/v1/evaluation")
                .key(&tenant.key)
                .header("x-request-id", &format!("call-{number}"))
                .body(&question)
                .send()
                .await;
        }
    }
    let all = walked(&service, &tenant, "", 200).await;
    // Without a gap, newest first, from the first entry to one of a moment ago.
    let newest = index(&all[0]);
    let expected: Vec<u64> = (0..=newest).rev().collect();
    assert_eq!(all.iter().map(index).collect::<Vec<_>>(), expected);
    assert!(newest > 30);
    let middle = all[all.len() / 2]["leaf"]["time"].as_str().unwrap();
    let (member, viewer) = (tenant.member.to_string(), tenant.viewer.to_string());
    let shares = all
        .iter()
        .find(|entry| fits(entry, "event", "thread.shared"));
    assert!(shares.is_some());
    let policy = all
        .iter()
        .find_map(|entry| entry["leaf"]["policies"][0].as_str())
        .unwrap();
    let service_key = all[0]["leaf"]["caller"]["id"].as_str().unwrap();
    for conditions in [
        vec![("from", middle)],
        vec![("to", middle)],
        vec![("event", "thread.shared")],
        vec![("category", "membership")],
        vec![("outcome", "deny")],
        vec![("actor", member.as_str())],
        vec![("actor", service_key)],
        vec![("resource", things.thread.as_str())],
        vec![("action", "thread.post")],
        vec![("policy", policy)],
        vec![("request_id", "call-1")],
        vec![
            ("actor", viewer.as_str()),
            ("outcome", "deny"),
            ("action", "thread.post"),
            ("request_id", "call-2"),
        ],
        vec![
            ("from", middle),
            ("event", "decision.made"),
            ("resource", things.thread.as_str()),
        ],
    ] {
        // What was there before this query: its own reading is an entry too.
        let known = |entry: &&Value| index(entry) <= newest;
        let wanted: Vec<u64> = all
            .iter()
            .filter(|entry| {
                conditions
                    .iter()
                    .all(|(name, value)| fits(entry, name, value))
            })
            .map(index)
            .collect();
        assert!(
            !wanted.is_empty() && wanted.len() < all.len(),
            "{conditions:?}"
        );
        let query: String = conditions
            .iter()
            .map(|(name, value)| format!("&{name}={value}"))
            .collect();
        for limit in [3, 200] {
            let found = walked(&service, &tenant, &query, limit).await;
            let indexes: Vec<u64> = found.iter().filter(known).map(index).collect();
            assert_eq!(indexes, wanted, "{conditions:?} by {limit}");
        }
    }
    // By the id that the service gave a call that came without one, too.
    let asked = service.get(&tenant, tenant.admin, "/v1/organization").await;
    let made = asked.headers["x-request-id"].to_str().unwrap();
    assert!(made.starts_with("req_"), "{made}");
    let found = walked(&service, &tenant, &format!("&request_id={made}"), 200).await;
    assert!(!found.is_empty());
    assert!(
        found
            .iter()
            .all(|entry| entry["client"]["request_id"] == made)
    );
    // Each reading is an entry, with what was asked for.
    let readings = walked(&service, &tenant, "&event=audit_log.read", 200).await;
    assert!(
        readings
            .iter()
            .any(|entry| entry["details"]["query"]["request_id"] == "call-1")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_condition_finds_what_it_should_on_sqlite() {
    every_condition_finds_what_it_should(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_condition_finds_what_it_should_on_postgresql() {
    let server = postgres::start();
    every_condition_finds_what_it_should(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_query_is_refused_with_the_reason() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    for (query, said) in [
        ("colour=red", "unknown parameter"),
        ("event=thread.exploded", "`event` must be"),
        ("outcome=maybe", "`outcome` must be"),
        ("from=yesterday", "`from` must be"),
        (
            "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z",
            "`from` is not before `to`",
        ),
        ("actor=", "`actor` must be"),
        ("cursor=***", "`cursor` must be"),
        ("cursor=YWJj", "`cursor` must be"),
        ("limit=0", "`limit` must be"),
        ("event=thread.read&event=thread.read", "is there twice"),
    ] {
        let path = format!("/v1/audit/entries?{query}");
        let told = service.get(&tenant, tenant.admin, &path).await;
        assert!(
            told.is_problem(400).contains(said),
            "{query}: {}",
            told.body
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_read_by_those_who_may_alone() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let path = "/v1/audit/entries";
    let may = async |user: Ref| service.get(&tenant, user, path).await.status;
    assert_eq!(may(tenant.admin).await, 200);
    assert_eq!(may(tenant.member).await, 403);
    assert_eq!(may(tenant.viewer).await, 403);
    let narrow = key(&tenant.door, &[Scope::Decide, Scope::DirectoryRead]).await;
    let told = service
        .ask("GET", path)
        .key(&narrow)
        .user(tenant.admin)
        .send()
        .await;
    told.is_problem(403);
    // It is recorded on every plan, and read from Business up.
    for (plan, status) in [(Plan::Starter, 403), (Plan::Business, 200)] {
        tenant
            .door
            .operate(move |by, snapshot| organization::set_plan(by, snapshot, plan))
            .await
            .unwrap();
        assert_eq!(may(tenant.admin).await, status, "{plan:?}");
    }
    // Another organization's Admin sees their own log and nothing of this one.
    let other = service.tenant("globex").await;
    let theirs = walked(&service, &other, "", 200).await;
    assert!(!theirs.is_empty());
    let text = serde_json::to_string(&theirs).unwrap();
    assert!(!text.contains(&tenant.admin.to_string()) && !text.contains("acme"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_from_the_log_is_an_error_and_no_shorter_answer() {
    // The keeper of the log would notice, and close the organization.
    let service = Service::still(Database::Sqlite).await;
    // A segment is gone; or gone, and the one ahead says that it has those entries too.
    for (slug, hidden) in [("gone", false), ("hidden", true)] {
        let tenant = service.tenant(slug).await;
        service.things(&tenant).await;
        let whole = walked(&service, &tenant, "", 200).await.len();
        assert!(whole > 30);
        let file = format!("sqlite://{}", service.file(&tenant).display());
        let mut database = sqlx::AnyConnection::connect(&file).await.unwrap();
        let rows = sqlx::query("SELECT first_index, entries FROM segment ORDER BY first_index")
            .fetch_all(&mut database)
            .await
            .unwrap();
        let segments: Vec<(i64, i64)> = rows
            .iter()
            .map(|row| (row.get("first_index"), row.get("entries")))
            .collect();
        let (ahead, victim) = (
            segments[segments.len() / 2 - 1],
            segments[segments.len() / 2],
        );
        sqlx::query("DELETE FROM segment WHERE first_index = $1")
            .bind(victim.0)
            .execute(&mut database)
            .await
            .unwrap();
        if hidden {
            sqlx::query("UPDATE segment SET entries = $1 WHERE first_index = $2")
                .bind(ahead.1 + victim.1)
                .bind(ahead.0)
                .execute(&mut database)
                .await
                .unwrap();
        }
        let path = "/v1/audit/entries?limit=200";
        let told = service.get(&tenant, tenant.admin, path).await;
        told.is_problem(503);
        // What is newer than the gap is still read.
        let newest = service
            .get(&tenant, tenant.admin, "/v1/audit/entries?limit=3")
            .await
            .ok();
        assert_eq!(newest["items"].as_array().unwrap().len(), 3);
    }
}

async fn checkpoint(service: &Service, tenant: &Tenant) -> (u64, Hash) {
    let told = service
        .get(tenant, tenant.admin, "/v1/audit/checkpoint")
        .await
        .ok();
    head(told["checkpoint"].as_str().unwrap())
}

fn head(note: &str) -> (u64, Hash) {
    let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    (signed.checkpoint().size, signed.checkpoint().root)
}

async fn what_somebody_kept_is_shown_to_be_the_beginning(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let mut kept = vec![checkpoint(&service, &tenant).await];
    let prove = async |query: String| {
        let path = format!("/v1/audit/consistency?{query}");
        service.get(&tenant, tenant.admin, &path).await
    };
    let path = |proof: &Value| -> Vec<Hash> {
        let path = proof["path"].as_array().unwrap().iter();
        path.map(|hash| Hash::from_base64(hash.as_str().unwrap()).unwrap())
            .collect()
    };
    for round in 0..6 {
        // More than a tile's 256 entries are passed on the way.
        for _ in 0..=round {
            let question = json!({
                "subject": {"type": "User", "id": tenant.member},
                "action": {"name": "thread.create"},
                "resource": {"type": "Organization", "id": tenant.org},
            });
            let batch = json!({"evaluations": vec![question; 30]});
            let told = service
                .ask("POST", "/access/v1/evaluations")
                .key(&tenant.key)
                .body(&batch);
            told.send().await.ok();
        }
        for (size, root) in &kept {
            let proof = prove(format!("from={size}")).await.ok();
            let now = head(proof["checkpoint"].as_str().unwrap());
            assert_eq!(
                (proof["to"].as_u64(), proof["size"].as_u64()),
                (Some(now.0), Some(now.0))
            );
            let path = path(&proof);
            verify_consistency((*size, root), (now.0, &now.1), &path).unwrap();
            // The control: another beginning is not shown by the same proof.
            let other = Hash::of(b"another");
            verify_consistency((*size, &other), (now.0, &now.1), &path).unwrap_err();
        }
        kept.push(checkpoint(&service, &tenant).await);
    }
    assert!(kept.last().unwrap().0 > 600);
    for pair in kept.windows(2) {
        let proof = prove(format!("from={}&to={}", pair[0].0, pair[1].0))
            .await
            .ok();
        let (old, new) = (&pair[0], &pair[1]);
        verify_consistency((old.0, &old.1), (new.0, &new.1), &path(&proof)).unwrap();
    }
    for (query, said) in [
        ("", "`from` is missing"),
        ("from=0", "`from` must be"),
        ("from=-1", "`from` must be"),
        ("from=9&to=8", "must not be beyond"),
        ("from=1&to=100000000", "must not be beyond"),
        ("from=18446744073709551615", "must not be beyond"),
    ] {
        let told = prove(query.to_owned()).await;
        assert!(
            told.is_problem(400).contains(said),
            "{query}: {}",
            told.body
        );
    }
    let path = "/v1/audit/consistency?from=1";
    service
        .get(&tenant, tenant.member, path)
        .await
        .is_problem(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_kept_is_shown_to_be_the_beginning_on_sqlite() {
    what_somebody_kept_is_shown_to_be_the_beginning(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_kept_is_shown_to_be_the_beginning_on_postgresql() {
    let server = postgres::start();
    what_somebody_kept_is_shown_to_be_the_beginning(Database::Postgres(server.url())).await;
}
