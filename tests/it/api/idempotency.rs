//! A change is made once, however often it is sent.

use serde_json::json;

use super::harness::Service;

const TEAM: &str = "/v1/teams";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_call_again_is_answered_as_before_and_changes_nothing() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let send = async |name: &str| {
        service
            .by(&tenant, tenant.admin, "POST", TEAM)
            .header("idempotency-key", "first")
            .body(&json!({"name": name}))
            .send()
            .await
    };
    let first = send("One").await;
    let again = send("One").await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.body, again.body);
    assert_eq!(first.headers["location"], again.headers["location"]);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    send("Two").await.is_problem(409);
    let teams = service.get(&tenant, tenant.admin, TEAM).await.ok();
    assert_eq!(teams["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_of_members_makes_no_other_call() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let place = format!("/v1/teams/{}", {
        let team = service.post(&tenant, tenant.admin, TEAM, json!({"name": "One"}));
        team.await.id()
    });
    let send = async |text: &str| {
        service
            .by(&tenant, tenant.admin, "POST", &format!("{place}/members"))
            .header("idempotency-key", "first")
            .raw(text.into())
            .send()
            .await
    };
    let member = tenant.member;
    let first = send(&format!(r#"{{"user": "{member}", "lead": true}}"#)).await;
    let again = send(&format!(r#"{{"lead":true,"user":"{member}"}}"#)).await;
    assert!(first.status < 300, "{}", first.body);
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_its_users_own() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let send = async |user| {
        service
            .by(&tenant, user, "POST", "/v1/memory")
            .header("idempotency-key", "same")
            .body(&json!({"name": "Mine", "layer": "personal"}))
            .send()
            .await
            .id()
    };
    assert_ne!(send(tenant.admin).await, send(tenant.member).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_is_replayed_too() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let team = service
        .post(&tenant, tenant.admin, TEAM, json!({"name": "One"}))
        .await
        .id();
    for replayed in [false, true] {
        let told = service
            .by(&tenant, tenant.admin, "DELETE", &format!("{TEAM}/{team}"))
            .header("idempotency-key", "gone")
            .send()
            .await;
        assert_eq!(told.status, 204, "{}", told.body);
        assert_eq!(told.headers.contains_key("idempotency-replayed"), replayed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_none_is_refused() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    for key in ["", "with space", &"k".repeat(256)] {
        let told = service
            .by(&tenant, tenant.admin, "POST", TEAM)
            .header("idempotency-key", key)
            .body(&json!({"name": "One"}))
            .send()
            .await;
        assert!(told.is_problem(400).contains("Idempotency-Key"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_never_kept() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let ask = || {
        service
            .by(&tenant, tenant.admin, "POST", "/v1/api-keys")
            .body(&json!({"name": "nightly"}))
    };
    ask()
        .header("idempotency-key", "once")
        .send()
        .await
        .is_problem(400);
    let told = ask().send().await;
    assert_eq!(told.headers["cache-control"], "no-store");
    assert!(told.body["key"].as_str().unwrap().starts_with("ck_live_"));
}
