//! What is no more is taken from the shelf round by round, and whatever cannot be taken keeps nothing else there; what a legal hold has kept
//! goes once none stands.

use cedarkeep::config::Database;
use cedarkeep::decide::upkeep;
use chrono::Utc;
use serde_json::json;
use sqlx::Row as _;

use super::content::kept;
use super::harness::{Service, Tenant};
use crate::harness::postgres;

/// How many versions that are no more still lie on the shelf.
async fn gone(service: &Service, tenant: &Tenant) -> i64 {
    let mut database = service.database(tenant).await;
    let count = sqlx::query("SELECT count(*) FROM content_gone");
    count.fetch_one(&mut database).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_more_leaves_the_shelf_with_the_next_round() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let shelf = service.shelf(&tenant);
    std::fs::create_dir_all(&shelf).unwrap();
    let mut database = service.database(&tenant).await;
    for number in 0..700 {
        let name = format!("ver_{number:04}");
        let row = sqlx::query("INSERT INTO content_gone (version) VALUES ($1)").bind(&name);
        row.execute(&mut database).await.unwrap();
        // The first cannot be removed: they are no files.
        match number {
            0..150 => std::fs::create_dir(shelf.join(name)).unwrap(),
            _ => std::fs::write(shelf.join(name), "sealed").unwrap(),
        }
    }
    let round = async |whole| upkeep::round(&tenant.door, Utc::now(), whole).await;
    // A busy machine may take more than one.
    for _ in 0..20 {
        round(false).await.unwrap();
        if gone(&service, &tenant).await == 150 {
            break;
        }
    }
    assert_eq!(gone(&service, &tenant).await, 150);
    assert_eq!(std::fs::read_dir(&shelf).unwrap().count(), 150);
    // That something cannot be taken away is said, once a minute.
    assert!(round(true).await.is_err());
    for entry in std::fs::read_dir(&shelf).unwrap() {
        std::fs::remove_dir(entry.unwrap().path()).unwrap();
    }
    round(true).await.unwrap();
    assert_eq!(gone(&service, &tenant).await, 0);
}

async fn what_a_legal_hold_has_kept_goes_once_none_stands(database: Database) {
    let service = Service::still(database).await;
    let tenant = service.tenant("acme").await;
    let connect = async || {
        let made = json!({"name": "Mail", "provider": "imap", "audience": tenant.everybody});
        let made = service.post(&tenant, tenant.admin, "/v1/integrations", made);
        format!("/v1/integrations/{}", made.await.id())
    };
    let give = async |place: &str, length: usize| {
        let put = service.by(&tenant, tenant.admin, "PUT", &format!("{place}/token"));
        let token = "t".repeat(length);
        put.content("text/plain", token).send().await.ok();
    };
    let hold = async |what: &str| {
        let path = format!("/v1/organization/{what}");
        let reason = json!({"reason": "a lawsuit"});
        let told = service.post(&tenant, tenant.admin, &path, reason);
        told.await.ok();
    };
    let rows = async || {
        let whole = upkeep::round(&tenant.door, Utc::now(), true);
        whole.await.unwrap();
        kept(&service, &tenant).await
    };
    let (stays, goes) = (connect().await, connect().await);
    for place in [&stays, &goes] {
        // On the shelf.
        give(place, 40_000).await;
    }
    hold("hold").await;
    for place in [&stays, &goes] {
        give(place, 10).await;
    }
    let ended = service.delete(&tenant, tenant.admin, &goes).await;
    assert_eq!(ended.status, 204, "{}", ended.body);
    assert_eq!(rows().await.0, 4);
    hold("release").await;
    assert_eq!(rows().await, (1, 0, 0));
    assert_eq!(gone(&service, &tenant).await, 0);
    let used = service.by(&tenant, tenant.admin, "POST", &format!("{stays}/use"));
    assert_eq!(used.send().await.ok()["token"]["text"], "t".repeat(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_legal_hold_has_kept_goes_once_none_stands_on_sqlite() {
    what_a_legal_hold_has_kept_goes_once_none_stands(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_legal_hold_has_kept_goes_once_none_stands_on_postgresql() {
    let server = postgres::start();
    what_a_legal_hold_has_kept_goes_once_none_stands(Database::Postgres(server.url())).await;
}
