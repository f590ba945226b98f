//! What cannot be understood is refused with what is wrong, and nothing is changed.

use serde_json::{Value, json};

use super::harness::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_none_are_refused_by_name() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let cases: [(&str, Value, &str); 12] = [
        ("/v1/teams", json!({"name": "a", "colour": "red"}), "`colour`"),
        ("/v1/teams", json!({}), "`name`"),
        ("/v1/teams", json!({"name": 1}), "`name`"),
        ("/v1/teams", json!({"name": "n".repeat(10_000)}), "`name`"),
        ("/v1/teams", json!({"name": "a\u{0}b"}), "`name`"),
        ("/v1/teams", json!({"name": "a\u{202e}b"}), "`name`"),
        ("/v1/teams", json!({"name": "a", "parent": "x".repeat(10_000)}), "`parent`"),
        ("/v1/users", json!({"name": "a", "email": "no", "role": "Member"}), "`email`"),
        ("/v1/users", json!({"name": "a", "email": "a@b.example", "role": "God"}), "`role`"),
        ("/v1/memory", json!({"name": "a", "layer": "galaxy"}), "`layer`"),
        ("/v1/api-keys", json!({"name": "a", "scopes": ["everything"]}), "`scopes`"),
        ("/v1/api-keys", json!({"name": "a", "expires_at": "tomorrow"}), "`expires_at`"),
    ];
    for (path, body, named) in cases {
        let told = service.post(&tenant, tenant.admin, path, body).await;
        let detail = told.is_problem(400);
        assert!(detail.contains(named) && detail.len() < 400, "{path}: {detail}");
    }
    let teams = service.get(&tenant, tenant.admin, "/v1/teams").await.ok();
    assert_eq!(teams["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identifiers_that_are_none_name_nothing() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    for id in ["x", "usr_", "%00", "%ff", "thr_aaaaaaaaaaaaaaaaaaaaaaaaaa", &"a".repeat(10_000)] {
        for path in ["users", "teams", "threads", "memory", "integrations"] {
            let told = service.get(&tenant, tenant.admin, &format!("/v1/{path}/{id}")).await;
            told.is_problem(404);
        }
        service.delete(&tenant, tenant.admin, &format!("/v1/shares/{id}")).await.is_problem(404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acting_user_that_is_none_is_refused() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let ask = || service.ask("GET", "/v1/users").key(&tenant.key);
    ask().header("cedarkeep-acting-user", "mia").send().await.is_problem(400);
    let nobody = cedarkeep::directory::Ref::new(cedarkeep::directory::Kind::User, [7; 16]);
    ask().user(nobody).send().await.is_problem(403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_change_is_refused() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let things = service.things(&tenant).await;
    for path in [
        format!("/v1/users/{}", things.user),
        format!("/v1/threads/{}", things.thread),
        format!("/v1/tools/{}", things.tool),
        format!("/v1/memory/{}", things.memory),
        "/v1/organization".to_owned(),
    ] {
        service.patch(&tenant, tenant.admin, &path, json!({})).await.is_problem(400);
    }
}
