//! Requests for access that wait: they lapse, outlive the process, and go with whoever asked.

use cedarkeep::config::Database;
use cedarkeep::decide::{audit, upkeep};
use cedarkeep::log::Event;
use chrono::Utc;
use serde_json::json;

use super::super::invitations::rows_of;
use super::{PLACE, Scene};
use crate::harness::postgres;

async fn a_request_lapses_and_is_said_to_once(database: Database) {
    let scene = Scene::still(database).await;
    let beside = scene.service.beside().await;
    let id = scene.tenant.door.store().id();
    let there = beside.app().door(id).await.unwrap();
    let (member, viewer) = (scene.tenant.member, scene.tenant.viewer);
    let (lapsed, fresh) = (scene.put_lapsed().await, scene.wanted().await);
    assert_eq!(scene.reads(viewer, &lapsed).await.ok()["status"], "open");
    let late = scene.approves(member, &lapsed).await;
    assert!(late.is_problem(409).contains("lapsed"));
    let now = Utc::now();
    for _ in 0..2 {
        let (here, there) = tokio::join!(
            upkeep::round(&scene.tenant.door, now, true),
            upkeep::round(&there, now, true)
        );
        here.unwrap();
        there.unwrap();
    }
    assert_eq!(scene.count(Event::AccessLapsed).await, 1);
    let seen = scene.reads(viewer, &lapsed).await.ok();
    assert_eq!(seen["status"], "lapsed");
    assert_eq!(scene.reads(viewer, &fresh).await.ok()["status"], "open");
    let late = scene.approves(member, &lapsed).await;
    assert!(late.is_problem(409).contains("lapsed"));
    let place = format!("{PLACE}/{lapsed}");
    let late = scene.service.delete(&scene.tenant, viewer, &place).await;
    late.is_problem(409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_lapses_and_is_said_to_once_on_sqlite() {
    a_request_lapses_and_is_said_to_once(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_lapses_and_is_said_to_once_on_postgresql() {
    let server = postgres::start();
    a_request_lapses_and_is_said_to_once(Database::Postgres(server.url())).await;
}

async fn a_request_outlives_the_process(database: Database) {
    let mut scene = Scene::still(database).await;
    let id = scene.wanted().await;
    let tenant = scene.tenant.door.store().id();
    scene.tenant.door.close().await;
    scene.tenant.door = scene.service.app().door(tenant).await.unwrap();
    let told = scene.approves(scene.tenant.member, &id).await.ok();
    scene.tenant.door.close().await;
    scene.tenant.door = scene.service.app().door(tenant).await.unwrap();
    let seen = scene.reads(scene.tenant.viewer, &id).await.ok();
    assert_eq!(seen["given"], told["given"]);
    assert_eq!(scene.thread_of(scene.tenant.viewer).await, 200);
    // Another node, which has never heard of it, decides the next one.
    let next = scene.asks(scene.tenant.admin, &scene.thread, "viewer", None);
    let next = next.await.waits();
    let beside = scene.service.beside().await;
    let path = format!("{PLACE}/{next}/approve");
    let approved = beside.by(&scene.tenant, scene.tenant.member, "POST", &path);
    approved.body(&json!({})).send().await.ok();
    assert_eq!(scene.thread_of(scene.tenant.admin).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_outlives_the_process_on_sqlite() {
    a_request_outlives_the_process(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_outlives_the_process_on_postgresql() {
    let server = postgres::start();
    a_request_outlives_the_process(Database::Postgres(server.url())).await;
}

async fn why_somebody_asked_goes_with_them(database: Database) {
    let scene = Scene::still(database).await;
    let (service, tenant) = (&scene.service, &scene.tenant);
    let mut people = Vec::new();
    for name in ["rob", "eli"] {
        let person = scene.person(name, "Member").await;
        let body = json!({"resource": scene.thread, "level": "viewer", "reason": format!("CANARY of {name}")});
        let asked = service.post(tenant, person, PLACE, body).await;
        scene.approves(tenant.member, &asked.waits()).await.ok();
        people.push(person);
    }
    let texts = async |what: &str| {
        let rows = rows_of(service, tenant, "acr_").await;
        rows.iter().filter(|row| row.contains(what)).count()
    };
    assert_eq!((texts("CANARY").await, texts("of rob").await), (4, 2));
    let path = format!("/v1/users/{}", people[0]);
    let removed = service.delete(tenant, tenant.admin, &path).await;
    assert_eq!(removed.status, 204);
    assert_eq!((texts("CANARY").await, texts("of rob").await), (2, 0));
    let path = format!("/v1/users/{}/erasure", people[1]);
    let erased = service.by(tenant, tenant.admin, "POST", &path).send().await;
    erased.ok();
    assert_eq!((texts("CANARY").await, texts("[erased]").await), (0, 4));
    for _ in 0..3 {
        upkeep::round(&tenant.door, Utc::now(), false)
            .await
            .unwrap();
    }
    let shown = audit::entries(tenant.door.store(), 0, usize::MAX)
        .await
        .unwrap();
    let text: String = shown.iter().map(|shown| shown.line().to_string()).collect();
    // Of whoever was removed the log says what it said; of whoever was erased it does not.
    assert!(text.contains("CANARY of rob") && !text.contains("CANARY of eli"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_somebody_asked_goes_with_them_on_sqlite() {
    why_somebody_asked_goes_with_them(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_somebody_asked_goes_with_them_on_postgresql() {
    let server = postgres::start();
    why_somebody_asked_goes_with_them(Database::Postgres(server.url())).await;
}
