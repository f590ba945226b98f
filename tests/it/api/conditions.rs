//! What a request says of content beside its bytes: which version it means, what is there already, and how it comes.

use cedarkeep::config::Database;
use serde_json::json;

use super::content::{bytes, events};
use super::harness::{Service, Tenant};
use crate::harness::postgres;

async fn document(service: &Service, tenant: &Tenant) -> String {
    let body = json!({"name": "Budget", "audience": tenant.everybody});
    let made = service.post(tenant, tenant.admin, "/v1/documents", body);
    format!("/v1/documents/{}/content", made.await.id())
}

async fn what_is_no_name_names_nothing(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let place = document(&service, &tenant).await;
    let put = service.by(&tenant, tenant.admin, "PUT", &place);
    put.content("text/plain", bytes(10)).send().await.ok();
    let thread = json!({"name": "Plan", "audience": tenant.everybody});
    let thread = service.post(&tenant, tenant.admin, "/v1/threads", thread);
    let messages = format!("/v1/threads/{}/messages", thread.await.id());
    for name in ["%00", "ver_%00", "msg_aaaaaaaaaaaaaaaaaaaaaaaaa%00", "x"] {
        for path in [
            format!("{place}?version={name}"),
            format!("{messages}/{name}"),
        ] {
            let told = service.get(&tenant, tenant.member, &path).await;
            told.is_problem(404);
        }
        let path = format!("{place}?version={name}");
        let head = service.by(&tenant, tenant.member, "HEAD", &path);
        assert_eq!(head.send().await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_name_names_nothing_on_sqlite() {
    what_is_no_name_names_nothing(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_name_names_nothing_on_postgresql() {
    let server = postgres::start();
    what_is_no_name_names_nothing(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_and_what_is_encoded_are_not_taken_for_the_whole() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let place = document(&service, &tenant).await;
    let put = || {
        let put = service.by(&tenant, tenant.admin, "PUT", &place);
        put.content("text/plain", bytes(10))
    };
    put().send().await.ok();
    let part = put().header("content-range", "bytes 0-9/20").send().await;
    assert!(part.is_problem(400).contains("`Content-Range`"));
    let encoded = put().header("content-encoding", "gzip").send().await;
    encoded.is_problem(415);
    assert_eq!(encoded.headers["accept-encoding"], "identity");
    let versions = place.replace("/content", "/versions");
    let versions = service.get(&tenant, tenant.admin, &versions).await.ok();
    assert_eq!(versions["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_says_which_version_it_wants() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let place = document(&service, &tenant).await;
    let put = service.by(&tenant, tenant.admin, "PUT", &place);
    let put = put.content("text/plain", bytes(10)).send().await;
    let tag = put.headers["etag"].to_str().unwrap();
    let other = "\"ver_aaaaaaaaaaaaaaaaaaaaaaaaaa\"";
    let both = format!("{other}, {tag}");
    let cases = [
        ("if-match", tag, 200),
        ("if-match", both.as_str(), 200),
        ("if-match", "*", 200),
        ("if-match", other, 412),
        ("if-match", "no tag", 412),
        ("if-none-match", tag, 304),
        ("if-none-match", "*", 304),
        ("if-none-match", other, 200),
    ];
    for method in ["GET", "HEAD"] {
        for (name, value, status) in cases {
            let ask = service.by(&tenant, tenant.viewer, method, &place);
            let told = ask.header(name, value).send().await;
            assert_eq!(told.status, status, "{method} {name}: {value}");
            if status == 304 {
                assert_eq!(told.headers["etag"], tag);
                assert_eq!(told.headers["cache-control"], "no-store");
                assert!(!told.headers.contains_key("content-length"));
                assert!(told.bytes.is_empty());
            }
        }
    }
    // What was not handed out is not said to be read.
    let read = events(&service, &tenant, "content.read").await;
    assert_eq!(read.len(), 4);
    // Nobody learns of a version by asking for it who may not read it.
    let private = json!({"name": "Mine"});
    let private = service.post(&tenant, tenant.admin, "/v1/documents", private);
    let private = format!("/v1/documents/{}/content", private.await.id());
    let put = service.by(&tenant, tenant.admin, "PUT", &private);
    put.content("text/plain", bytes(10)).send().await.ok();
    for name in ["if-match", "if-none-match"] {
        for value in ["*", other] {
            let ask = service.by(&tenant, tenant.member, "GET", &private);
            ask.header(name, value).send().await.is_problem(404);
        }
    }
}
