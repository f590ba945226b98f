//! A request for access from outside: the process is killed between each step, and the operator sees who waits.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::client::{Answer, Client};
use crate::harness::postgres;
use crate::harness::server::Site;

const PLACE: &str = "/v1/access-requests";

async fn call(client: &Client, user: &str, (method, path): (Method, &str), body: Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("cedarkeep-acting-user", user),
    ];
    let body = (!body.is_null()).then(|| body.to_string().into_bytes());
    client.send(method, path, &headers, body).await.unwrap()
}

async fn a_request_outlives_a_crash_at_every_step(site: Site) {
    site.create_org("acme");
    let admin = site.add_admin("acme");
    let viewer = site.told(&[
        "member",
        "add",
        "acme",
        "--name",
        "Vic",
        "--email",
        "vic@example.com",
        "--role",
        "Viewer",
        "--json",
    ]);
    let viewer = viewer["id"].as_str().unwrap();
    let key = site.create_key("acme", "directory.read,directory.write,content");
    let server = site.serve().await;
    let client = server.client(&key);
    let thread = (Method::POST, "/v1/threads");
    let thread = call(&client, &admin, thread, json!({"name": "Secret"})).await;
    let thread = thread.json()["id"].as_str().unwrap().to_owned();
    let body = json!({"resource": thread, "level": "viewer", "reason": "to look into it", "for_minutes": 30});
    let asked = call(&client, viewer, (Method::POST, PLACE), body).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    server.kill9();

    let listed = site.told(&["member", "requests", "acme", "--json"]);
    assert_eq!(
        (&listed["id"], &listed["owner"], &listed["resource"]),
        (&json!(id), &json!(viewer), &json!(thread))
    );
    let line = site.done(&["member", "requests", "acme"]);
    for word in [
        &id,
        viewer,
        &thread,
        "viewer",
        "30 minutes",
        "open",
        "to look into it",
    ] {
        assert!(line.contains(word), "{line}");
    }

    let server = site.serve().await;
    let client = server.client(&key);
    let place = format!("{PLACE}/{id}/approve");
    let approved = call(&client, &admin, (Method::POST, &place), json!({})).await;
    assert_eq!(approved.status, 200, "{}", approved.body);
    server.kill9();

    assert_eq!(site.done(&["member", "requests", "acme"]), "");
    let all = site.told(&["member", "requests", "acme", "--all", "--json"]);
    assert_eq!(all["status"], "approved");
    assert_eq!(all["given"], approved.json()["given"]);
    let server = site.serve().await;
    let client = server.client(&key);
    let place = format!("/v1/threads/{thread}");
    let read = call(&client, viewer, (Method::GET, &place), Value::Null).await;
    assert_eq!(read.status, 200, "{}", read.body);
    server.stop();
    site.verify("acme");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_outlives_a_crash_at_every_step_on_sqlite() {
    a_request_outlives_a_crash_at_every_step(Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_outlives_a_crash_at_every_step_on_postgresql() {
    let server = postgres::start();
    a_request_outlives_a_crash_at_every_step(Site::postgres(&server.url())).await;
}
