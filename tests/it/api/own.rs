//! A tenant's own schema, policies and entities over HTTP.

use serde_json::json;

use super::harness::Service;

const SCHEMA: &str = "entity Ticket { title: String };\naction close appliesTo { principal: [Cedarkeep::User], resource: [Ticket] };";
const POLICY: &str = "@id(\"close\") @reason(\"Anybody closes tickets.\")\npermit (principal, action == Action::\"close\", resource);";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_loaded_is_read_back_and_entities_fit_it() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let put = async |path: &str, body| service.by(&tenant, tenant.admin, "PUT", path).body(&body).send().await;
    let loaded = put("/v1/policy-set", json!({"schema": SCHEMA, "policies": {"close.cedar": POLICY}})).await.ok();
    assert_eq!(loaded["version"], 1);
    let read = service.get(&tenant, tenant.admin, "/v1/policy-set").await.ok();
    assert_eq!((&read["schema"], &read["policies"][0]["text"]), (&json!(SCHEMA), &json!(POLICY)));

    let ticket = |id: &str, title| json!({"uid": {"type": "Ticket", "id": id}, "attrs": {"title": title}, "parents": []});
    let told = put("/v1/entities", json!({"entities": [ticket("1", json!("a")), ticket("2", json!("b"))]})).await.ok();
    assert_eq!(told["count"], 2);
    put("/v1/entities", json!({"entities": [ticket("3", json!(3))]})).await.is_problem(400);
    let many: Vec<_> = (0..1_001).map(|id| ticket(&id.to_string(), json!("t"))).collect();
    put("/v1/entities", json!({"entities": many})).await.is_problem(400);

    let list = service.get(&tenant, tenant.admin, "/v1/entities?limit=1").await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let next = format!("/v1/entities?cursor={}", list["next_cursor"].as_str().unwrap());
    let rest = service.get(&tenant, tenant.admin, &next).await.ok();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    assert!(rest.get("next_cursor").is_none());

    let end = async || {
        service.by(&tenant, tenant.admin, "DELETE", "/v1/entities").body(&json!({"type": "Ticket", "id": "1"})).send().await
    };
    assert_eq!((end().await.status, end().await.status), (204, 404));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_does_not_parse_is_refused_with_its_place() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let body = json!({"policies": {"broken.cedar": "permit (principal, action, resource)\nwhen {"}});
    let told = service.by(&tenant, tenant.admin, "PUT", "/v1/policy-set").body(&body).send().await;
    told.is_problem(400);
    assert_eq!(told.body["findings"][0]["file"], "broken.cedar");
    assert!(told.body["findings"][0]["line"].is_u64(), "{}", told.body);
    assert_eq!(service.get(&tenant, tenant.admin, "/v1/policy-set").await.ok()["version"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_locks_every_admin_out_is_refused() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let body = json!({"policies": {"never.cedar": "@id(\"never\") @reason(\"Nobody does anything.\")\nforbid (principal, action, resource);"}});
    let told = service.by(&tenant, tenant.admin, "PUT", "/v1/policy-set").body(&body).send().await;
    told.is_problem(409);
}
