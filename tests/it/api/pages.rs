//! Lists: complete, in a stable order, and only what may be read.

use std::collections::BTreeSet;

use serde_json::json;

use super::harness::{Service, Tenant};

async fn walked(service: &Service, tenant: &Tenant, user: cedarkeep::directory::Ref, path: &str, limit: usize) -> Vec<String> {
    let join = if path.contains('?') { '&' } else { '?' };
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = service.get(tenant, user, &format!("{path}{join}limit={limit}{cursor}")).await.ok();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        found.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page.get("next_cursor") {
            Some(next) => cursor = format!("&cursor={}", next.as_str().unwrap()),
            None => return found,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_everything_once_and_in_one_order() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let mut made = BTreeSet::new();
    for number in 0..7 {
        let body = json!({"name": format!("Thread {number}"), "audience": tenant.everybody});
        made.insert(service.post(&tenant, tenant.admin, "/v1/threads", body).await.id());
        let team = json!({"name": format!("Team {number}")});
        service.post(&tenant, tenant.admin, "/v1/teams", team).await.id();
    }
    let whole = walked(&service, &tenant, tenant.admin, "/v1/threads", 200).await;
    assert_eq!(whole.iter().cloned().collect::<BTreeSet<_>>(), made);
    for limit in [1, 3, 7] {
        assert_eq!(walked(&service, &tenant, tenant.admin, "/v1/threads", limit).await, whole);
    }
    let teams = walked(&service, &tenant, tenant.admin, "/v1/teams", 200).await;
    assert_eq!((teams.len(), &walked(&service, &tenant, tenant.viewer, "/v1/teams", 2).await), (7, &teams));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_begun_before_a_deletion_goes_on() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    for number in 0..4 {
        service.post(&tenant, tenant.admin, "/v1/teams", json!({"name": format!("Team {number}")})).await.id();
    }
    let whole = walked(&service, &tenant, tenant.admin, "/v1/teams", 200).await;
    let first = service.get(&tenant, tenant.admin, "/v1/teams?limit=2").await.ok();
    let cursor = first["next_cursor"].as_str().unwrap();
    // The one that the cursor stands on is gone.
    let gone = service.delete(&tenant, tenant.admin, &format!("/v1/teams/{}", whole[1])).await;
    assert_eq!(gone.status, 204);
    let rest = service.get(&tenant, tenant.admin, &format!("/v1/teams?cursor={cursor}")).await.ok();
    let rest: Vec<_> = rest["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(rest, [&whole[2], &whole[3]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_holds_only_what_may_be_read() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let open = json!({"name": "Open", "audience": tenant.everybody});
    let open = service.post(&tenant, tenant.admin, "/v1/threads", open).await.id();
    let private = service.post(&tenant, tenant.admin, "/v1/threads", json!({"name": "Private"})).await.id();
    assert_eq!(walked(&service, &tenant, tenant.viewer, "/v1/threads", 1).await, [open]);
    service.get(&tenant, tenant.viewer, &format!("/v1/threads/{private}")).await.is_problem(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_page_is_refused() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    for list in ["users", "teams", "threads", "memory", "integrations", "api-keys", "entities"] {
        // The last two are base 64 of something, and of another kind's identifier.
        for query in ["limit=0", "limit=201", "limit=x", "cursor=!", "cursor=YWJj", "cursor=c2hyX2E", "page=2", "limit=1&limit=2"] {
            service.get(&tenant, tenant.admin, &format!("/v1/{list}?{query}")).await.is_problem(400);
        }
    }
}
