//! Events from outside: what a back end may report of its app, how it is told from ours, and runs that end with their person.

use cedarkeep::config::Database;
use cedarkeep::directory::object::Scope;
use chrono::{Duration, Utc};
use serde_json::{Value, json};

use super::harness::{Service, Tenant, Told, key};
use super::messages::sound;
use crate::harness::postgres;

const EVENTS: &str = "/v1/audit/events";

fn login(tenant: &Tenant) -> Value {
    json!({
        "event": "user.login", "actor": tenant.member, "outcome": "ok", "at": Utc::now(),
        "details": {"device": "a phone"},
    })
}

async fn report(service: &Service, key: &str, events: &[Value], once: Option<&str>) -> Told {
    let mut ask = service.ask("POST", EVENTS).key(key);
    if let Some(once) = once {
        ask = ask.header("idempotency-key", once);
    }
    ask.body(&json!({ "events": events })).send().await
}

/// The entries of an event, the newest first, with what is sealed.
async fn entries(service: &Service, tenant: &Tenant, event: &str) -> Vec<Value> {
    let path = format!("/v1/audit/entries?event={event}&limit=200");
    let told = service.get(tenant, tenant.admin, &path).await.ok();
    told["items"].as_array().unwrap().clone()
}

async fn an_event_is_recorded_as_reported(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let things = service.things(&tenant).await;
    let reporter = key(&tenant.door, &[Scope::Events]).await;
    let used = json!({
        "event": "integration.used", "actor": tenant.member, "resource": things.integration,
        "outcome": "failed", "reason": "expired", "at": Utc::now() - Duration::hours(3),
    });
    let failed = json!({
        "event": "user.login_failed", "actor": tenant.viewer, "outcome": "failed", "at": Utc::now(),
    });
    let told = report(&service, &reporter, &[login(&tenant), failed, used], None).await;
    assert_eq!(told.ok(), json!({"recorded": 3}));
    let found = entries(&service, &tenant, "user.login").await;
    let [one] = found.as_slice() else {
        panic!("{found:?}")
    };
    let leaf = &one["leaf"];
    assert_eq!(leaf["actor"]["id"], json!(tenant.member));
    assert_eq!(
        (&leaf["caller"]["type"], &leaf["outcome"]),
        (&json!("api_key"), &json!("ok"))
    );
    let said = &one["details"];
    assert_eq!(
        (&said["reported"], &said["details"]["device"]),
        (&json!(true), &json!("a phone"))
    );
    let found = entries(&service, &tenant, "integration.used").await;
    let leaf = &found[0]["leaf"];
    assert_eq!(leaf["resource"]["id"], json!(things.integration));
    assert_eq!(
        (&leaf["outcome"], &leaf["refusal"]),
        (&json!("failed"), &json!("expired"))
    );
    assert_eq!(found[0]["details"]["reported"], true);
    let found = entries(&service, &tenant, "user.login_failed").await;
    assert_eq!(found[0]["leaf"]["refusal"], "invalid");
    sound(&tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_recorded_as_reported_on_sqlite() {
    an_event_is_recorded_as_reported(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_recorded_as_reported_on_postgresql() {
    let server = postgres::start();
    an_event_is_recorded_as_reported(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_whole_or_not_at_all_and_made_once() {
    let service = Service::open().await;
    let (tenant, other) = (service.tenant("acme").await, service.tenant("other").await);
    let reporter = key(&tenant.door, &[Scope::Events]).await;
    let with = |member: &str, value: Value| {
        let mut event = login(&tenant);
        event[member] = value;
        event
    };
    for wrong in [
        with("event", json!("member.joined")),
        with("event", json!("decision.made")),
        with("actor", json!(other.member)),
        with("actor", json!("usr_nobody")),
        with("at", json!(Utc::now() - Duration::hours(25))),
        with("at", json!(Utc::now() + Duration::hours(25))),
        with("at", Value::Null),
        with("outcome", json!("maybe")),
        with("outcome", json!("failed")),
        with("reason", json!("expired")),
        with("details", json!({"text": "x".repeat(4096)})),
        with("details", json!("text")),
        with("reported", json!(false)),
        json!("user.login"),
    ] {
        let told = report(&service, &reporter, &[login(&tenant), wrong.clone()], None).await;
        let why = told.is_problem(400);
        assert!(why.contains("number 1"), "{wrong}: {why}");
    }
    report(&service, &reporter, &[], None).await.is_problem(400);
    let many = vec![login(&tenant); 101];
    report(&service, &reporter, &many, None)
        .await
        .is_problem(400);
    assert!(entries(&service, &tenant, "user.login").await.is_empty());
    // A hundred are, and sent again under the same key they are not recorded again.
    let many = vec![login(&tenant); 100];
    for again in [false, true] {
        let told = report(&service, &reporter, &many, Some("monday")).await;
        assert_eq!(told.headers.contains_key("idempotency-replayed"), again);
        assert_eq!(told.ok(), json!({"recorded": 100}));
    }
    let one = report(&service, &reporter, &many[..1], Some("monday")).await;
    one.is_problem(409);
    assert_eq!(entries(&service, &tenant, "user.login").await.len(), 100);
    sound(&tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_back_end_with_the_scope_reports() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let all_but: Vec<Scope> = Scope::ALL
        .iter()
        .copied()
        .filter(|scope| *scope != Scope::Events)
        .collect();
    let without = key(&tenant.door, &all_but).await;
    let told = report(&service, &without, &[login(&tenant)], None).await;
    assert!(told.is_problem(403).contains("events"));
    // In its own name: a person, or a key in one's name, reports nothing.
    let events = json!({"events": [login(&tenant)]});
    let acting = service
        .ask("POST", EVENTS)
        .key(&tenant.key)
        .user(tenant.admin);
    acting.body(&events).send().await.is_problem(403);
    let cookie = service.sign_in(&tenant, tenant.admin).await;
    let person = service.signed_in(&cookie, "POST", EVENTS);
    person.body(&events).send().await.is_problem(403);
    let logins = entries(&service, &tenant, "user.login").await;
    assert!(
        logins
            .iter()
            .all(|one| one["leaf"]["caller"]["type"] == "session")
    );
    // What was denied is a decision in the log, as any other.
    let denied = entries(&service, &tenant, "decision.made&action=event.record").await;
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0]["leaf"]["outcome"], "deny");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_started_ended_and_cancelled_by_routes_of_their_own() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let agent = json!({"name": "Researcher", "audience": tenant.everybody});
    let agent = service
        .post(&tenant, tenant.member, "/v1/agents", agent)
        .await
        .id();
    let start = || {
        let body = json!({ "definition": agent });
        service.post(&tenant, tenant.member, "/v1/agent-runs", body)
    };
    for (word, status, event) in [
        ("complete", "completed", "agent.run_completed"),
        ("fail", "failed", "agent.run_failed"),
        ("cancel", "cancelled", "agent.run_cancelled"),
    ] {
        let run = start().await.id();
        let place = format!("/v1/agent-runs/{run}/{word}");
        let told = service
            .ask("POST", &place)
            .key(&tenant.key)
            .user(tenant.member);
        assert_eq!(told.send().await.ok()["status"], status);
        let again = service
            .ask("POST", &place)
            .key(&tenant.key)
            .user(tenant.member);
        again.send().await.is_problem(409);
        let found = entries(&service, &tenant, event).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["leaf"]["resource"]["id"], run);
    }
    let wrong = json!({"definition": tenant.everybody});
    let wrong = service
        .post(&tenant, tenant.member, "/v1/agent-runs", wrong)
        .await;
    wrong.is_problem(400);
    // Sent again under the same key it is the same run.
    let body = json!({ "definition": agent });
    let once = || {
        let ask = service
            .ask("POST", "/v1/agent-runs")
            .key(&tenant.key)
            .user(tenant.member);
        ask.header("idempotency-key", "one").body(&body).send()
    };
    assert_eq!(once().await.id(), once().await.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_runs_end_with_their_person() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let agent = json!({"name": "Researcher", "audience": tenant.everybody});
    let agent = service
        .post(&tenant, tenant.admin, "/v1/agents", agent)
        .await
        .id();
    let body = json!({ "definition": agent });
    let start = || service.post(&tenant, tenant.member, "/v1/agent-runs", body.clone());
    let (over, runs) = (start().await.id(), start().await.id());
    let kept = service
        .post(&tenant, tenant.admin, "/v1/agent-runs", body.clone())
        .await
        .id();
    let done = format!("/v1/agent-runs/{over}/complete");
    service
        .ask("POST", &done)
        .key(&tenant.key)
        .user(tenant.member)
        .send()
        .await
        .ok();
    let person = format!("/v1/users/{}", tenant.member);
    let cancelled = async || {
        let found = entries(&service, &tenant, "agent.run_cancelled").await;
        let ids = found
            .iter()
            .map(|one| one["leaf"]["resource"]["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    service
        .patch(&tenant, tenant.admin, &person, json!({"active": false}))
        .await
        .ok();
    assert_eq!(cancelled().await, std::slice::from_ref(&runs));
    service
        .patch(&tenant, tenant.admin, &person, json!({"active": true}))
        .await
        .ok();
    let place = format!("/v1/agent-runs/{runs}");
    let read = service.get(&tenant, tenant.member, &place).await.ok();
    assert_eq!(read["status"], "cancelled");
    // Brought back, they begin another; it is cancelled as they leave, and what was over is not cancelled again.
    let next = start().await.id();
    assert_eq!(
        service.delete(&tenant, tenant.admin, &person).await.status,
        204
    );
    assert_eq!(cancelled().await, [next, runs]);
    let others = service
        .get(&tenant, tenant.admin, &format!("/v1/agent-runs/{kept}"))
        .await
        .ok();
    assert_eq!(others["status"], "running");
    sound(&tenant).await;
}
