//! Exports of the log that last: decided anew for as long as they do, broken off where they are denied, and a few of them at once.

use std::time::Duration;

use axum::body::BodyDataStream;
use cedarkeep::config::Database;
use cedarkeep::directory::Ref;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::export::decisions;
use super::harness::{Service, Tenant};

/// How many pieces of an export wait for a slow reader.
const WAITING: usize = 4;

/// How many exports of one organization are under way at once.
const AT_ONCE: usize = 4;

/// An organization whose log is many pieces long; nothing happens there but what a test does.
async fn long_log() -> (Service, Tenant) {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    decisions(&service, &tenant, 40).await;
    (service, tenant)
}

/// The newest entries that fit, as they are shown.
async fn entries(service: &Service, tenant: &Tenant, conditions: &str) -> Vec<Value> {
    let path = format!("/v1/audit/entries?limit=50&{conditions}");
    let told = service.get(tenant, tenant.admin, &path).await.ok();
    told["items"].as_array().unwrap().clone()
}

/// An export of this format that this user has begun with this key, none of which is read yet.
async fn begun(service: &Service, key: &str, user: Ref, format: &str) -> BodyDataStream {
    let path = format!("/v1/audit/export?format={format}");
    let (status, pieces) = service.ask("GET", &path).key(key).user(user).stream().await;
    assert_eq!(status, 200);
    pieces
}

/// What comes of an export once its reader's right is gone: what waited, and then an end that shows.
async fn is_broken_off(
    service: &Service,
    tenant: &Tenant,
    (mut pieces, format): (BodyDataStream, &str),
) {
    let (mut came, mut broken) = (0, false);
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(_) => came += 1,
            Err(_) => broken = true,
        }
    }
    assert!(broken && came <= WAITING, "{format}: {came}, {broken}");
    let ended = entries(service, tenant, "event=audit_log.exported").await;
    let (leaf, details) = (&ended[0]["leaf"], &ended[0]["details"]);
    assert_eq!(leaf["outcome"], "failed");
    assert_eq!(leaf["refusal"], "not_permitted");
    assert_eq!(details["format"], format);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_breaks_off_where_its_key_is_revoked() {
    let (service, tenant) = long_log().await;
    let key = json!({"name": "archive", "scopes": ["audit.read"]});
    let key = service.post(&tenant, tenant.admin, "/v1/api-keys", key);
    let key = key.await;
    let secret = key.body["key"].as_str().unwrap();
    let mut pieces = begun(&service, secret, tenant.admin, "jsonl").await;
    assert!(pieces.next().await.unwrap().is_ok());
    let place = format!("/v1/api-keys/{}", key.id());
    let revoked = service.delete(&tenant, tenant.admin, &place).await;
    assert_eq!(revoked.status, 204, "{}", revoked.body);
    is_broken_off(&service, &tenant, (pieces, "jsonl")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_breaks_off_where_its_admin_is_suspended() {
    let (service, tenant) = long_log().await;
    let second = json!({"name": "Sam", "email": "sam@example.com", "role": "Admin"});
    let second = service.post(&tenant, tenant.admin, "/v1/users", second);
    let second = second.await.id();
    let mut pieces = begun(&service, &tenant.key, second.parse().unwrap(), "bundle").await;
    assert!(pieces.next().await.unwrap().is_ok());
    let (place, suspended) = (format!("/v1/users/{second}"), json!({"active": false}));
    let told = service.patch(&tenant, tenant.admin, &place, suspended);
    told.await.ok();
    is_broken_off(&service, &tenant, (pieces, "bundle")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_breaks_off_where_nobody_is_auditor_any_more() {
    let (service, tenant) = long_log().await;
    let log = tenant.org.to_string().replace("org_", "log_");
    let share = json!({"resource": log, "grantee": tenant.viewer, "level": "auditor"});
    let share = service.post(&tenant, tenant.admin, "/v1/shares", share);
    let place = format!("/v1/shares/{}", share.await.id());
    let mut pieces = begun(&service, &tenant.key, tenant.viewer, "csv").await;
    assert!(pieces.next().await.unwrap().is_ok());
    let taken_back = service.delete(&tenant, tenant.admin, &place).await;
    assert_eq!(taken_back.status, 204, "{}", taken_back.body);
    is_broken_off(&service, &tenant, (pieces, "csv")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_lasts_is_decided_anew_and_whole() {
    let (service, tenant) = long_log().await;
    let mut pieces = begun(&service, &tenant.key, tenant.admin, "jsonl").await;
    let mut tip = tenant.door.watch();
    let size = tenant.door.tip().size;
    // Nobody reads, and nothing else is asked.
    let anew = tip.wait_for(|tip| tip.size > size);
    let anew = tokio::time::timeout(Duration::from_secs(30), anew).await;
    anew.expect("it is decided anew within seconds").unwrap();
    let decided = entries(&service, &tenant, "action=audit_log.export").await;
    assert!(decided.len() >= 2, "{decided:?}");
    for one in &decided {
        assert_eq!(one["leaf"]["event"], "decision.made");
        assert_eq!(one["leaf"]["outcome"], "allow");
    }
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend(piece.unwrap());
    }
    // All but the last entry of then, which says that it was exported.
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(u64::try_from(lines).unwrap(), size - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_exports_are_under_way_at_once() {
    let (service, tenant) = long_log().await;
    let mut under_way = Vec::new();
    for _ in 0..AT_ONCE {
        under_way.push(begun(&service, &tenant.key, tenant.admin, "jsonl").await);
    }
    let path = "/v1/audit/export?format=jsonl";
    let asked = service.by(&tenant, tenant.admin, "GET", path);
    let told = asked.header("x-request-id", "one-more").send().await;
    told.is_problem(429);
    assert_eq!(told.headers["retry-after"], "1");
    let recorded = entries(&service, &tenant, "request_id=one-more").await;
    assert!(recorded.is_empty(), "{recorded:?}");
    // Whoever breaks off leaves room for the next.
    under_way.pop();
    let next = async {
        while service.get(&tenant, tenant.admin, path).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    let next = tokio::time::timeout(Duration::from_secs(30), next).await;
    next.expect("there is room again");
}
