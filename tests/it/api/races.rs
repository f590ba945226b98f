//! Two at once: what each of them may alone, and both together may not.

use cedarkeep::config::Database;
use cedarkeep::directory::Ref;
use serde_json::{Value, json};

use super::harness::{Service, Tenant};
use crate::harness::postgres;

async fn demoted(service: &Service, tenant: &Tenant, by: &str, whom: &str) -> u16 {
    let told = service
        .ask("PATCH", &format!("/v1/users/{whom}"))
        .key(&tenant.key)
        .header("cedarkeep-acting-user", by)
        .body(&json!({"role": "Member"}))
        .send()
        .await;
    told.status
}

async fn two_admins_demote_each_other(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let ada = tenant.admin.to_string();
    for round in 0..5 {
        let eve =
            json!({"name": "Eve", "email": format!("eve{round}@example.com"), "role": "Admin"});
        let eve = service
            .post(&tenant, tenant.admin, "/v1/users", eve)
            .await
            .id();
        let (first, second) = tokio::join!(
            demoted(&service, &tenant, &ada, &eve),
            demoted(&service, &tenant, &eve, &ada),
        );
        let mut both = [first, second];
        both.sort_unstable();
        assert_eq!(
            both,
            [200, 403],
            "whoever came second was no Admin any more"
        );
        // Ada is the one that goes on.
        let restore = json!({"role": "Admin"});
        if second == 200 {
            let told = service
                .ask("PATCH", &format!("/v1/users/{ada}"))
                .key(&tenant.key)
                .header("cedarkeep-acting-user", &eve)
                .body(&restore)
                .send()
                .await;
            assert_eq!(told.status, 200, "{}", told.body);
            assert_eq!(demoted(&service, &tenant, &ada, &eve).await, 200);
        }
    }
    // And the last one stays.
    assert_eq!(demoted(&service, &tenant, &ada, &ada).await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_admins_who_demote_each_other_leave_one_on_sqlite() {
    two_admins_demote_each_other(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_admins_who_demote_each_other_leave_one_on_postgresql() {
    let server = postgres::start();
    two_admins_demote_each_other(Database::Postgres(server.url())).await;
}

async fn asked(service: &Service, tenant: &Tenant, key: &str) -> Option<u64> {
    let told = service
        .ask("POST", "/access/v1/evaluation")
        .key(key)
        .header("cedarkeep-explain", "true")
        .body(&json!({
            "subject": {"type": "User", "id": tenant.member},
            "action": {"name": "thread.create"},
            "resource": {"type": "Organization", "id": tenant.org},
        }))
        .send()
        .await;
    match told.status {
        200 => told.body["context"]["log"]["index"].as_u64(),
        status => {
            assert_eq!(status, 401, "{}", told.body);
            None
        }
    }
}

/// Asks with a key until it is refused; the indexes of the answers.
async fn asked_until_refused(service: &Service, tenant: &Tenant, key: &str) -> Vec<u64> {
    let mut answered = Vec::new();
    while let Some(index) = asked(service, tenant, key).await {
        answered.push(index);
    }
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_answered_to_a_key_after_its_revocation() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let by: Ref = tenant.admin;
    for _ in 0..5 {
        let made = service
            .post(&tenant, by, "/v1/api-keys", json!({"name": "nightly"}))
            .await;
        let (key, place) = (
            made.body["key"].as_str().unwrap().to_owned(),
            format!("/v1/api-keys/{}", made.id()),
        );
        let revoke = async {
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
            service.delete(&tenant, by, &place).await.status
        };
        let (one, two, status) = tokio::join!(
            asked_until_refused(&service, &tenant, &key),
            asked_until_refused(&service, &tenant, &key),
            revoke,
        );
        assert_eq!(status, 204);
        let page = service
            .get(
                &tenant,
                by,
                "/v1/audit/entries?event=api_key.revoked&limit=1",
            )
            .await
            .ok();
        let revoked = index(&page["items"][0]);
        assert!(!one.is_empty() && !two.is_empty());
        for answered in one.into_iter().chain(two) {
            assert!(
                answered < revoked,
                "entry {answered} after the revocation at {revoked}"
            );
        }
    }
}

fn index(entry: &Value) -> u64 {
    entry["index"].as_str().unwrap().parse().unwrap()
}
