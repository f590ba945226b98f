//! What a request says of content beside its bytes: which version it means, what is there already, and how it comes.

use cedarkeep::config::Database;
use serde_json::json;

use super::content::bytes;
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
