//! A database that was put back to an earlier state, against the mark outside it.

use cedarkeep::config::Database;
use cedarkeep::decide::{audit, upkeep};
use cedarkeep::log::append::Head;
use chrono::Utc;

use super::harness::{Service, Tenant};
use super::keeping::asked;
use crate::harness::postgres;

/// Puts a log back to what it was, as a database restored in secret would.
async fn put_back(service: &Service, tenant: &Tenant, head: &Head) {
    let mut rows = service.database(tenant).await;
    let size = i64::try_from(head.size).unwrap();
    for sql in [
        "DELETE FROM segment WHERE first_index >= $1",
        "DELETE FROM state WHERE from_index >= $1",
        "UPDATE state SET to_index = NULL WHERE to_index >= $1",
        "DELETE FROM tile WHERE (number + 1) * 256 > $1",
    ] {
        sqlx::query(sql)
            .bind(size)
            .execute(&mut rows)
            .await
            .unwrap();
    }
    sqlx::query("UPDATE head SET size = $1, frontier = $2, last_change = $3, last_time = $4, checkpoint = $5")
        .bind(size)
        .bind(head.frontier.as_slice())
        .bind(i64::try_from(head.last_change).unwrap())
        .bind(head.last_time)
        .bind(head.checkpoint.as_str())
        .execute(&mut rows)
        .await
        .unwrap();
}

async fn a_log_that_was_put_back_is_not_served(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let (door, id) = (&tenant.door, tenant.door.store().id());
    asked(&service, &tenant, tenant.member, 20).await;
    let before = audit::head(door.store()).await.unwrap();
    asked(&service, &tenant, tenant.member, 60).await;
    door.close().await;
    let seen = std::fs::read(service.mark(&tenant)).unwrap();
    put_back(&service, &tenant, &before).await;
    // Neither the same node nor over HTTP; what to do is said.
    let refused = service.app().door(id).await.unwrap_err().to_string();
    assert!(refused.contains("rollback_detected"), "{refused}");
    let told = service.get(&tenant, tenant.admin, "/v1/organization").await;
    told.is_problem(503);
    assert_eq!(told.body["code"], "rollback_detected", "{}", told.body);
    // Nor where it has been written on since, as far as it had come and further.
    std::fs::remove_file(service.mark(&tenant)).unwrap();
    asked(&service, &tenant, tenant.viewer, 90).await;
    service.app().door(id).await.unwrap().close().await;
    std::fs::write(service.mark(&tenant), &seen).unwrap();
    let refused = service.app().door(id).await.unwrap_err().to_string();
    assert!(refused.contains("rollback_detected"), "{refused}");
    // A mark that says nothing is no reason to believe the database.
    for text in ["", "nonsense", "cedarkeep.local/t/other/log\n5\nAAAA\n\n"] {
        std::fs::write(service.mark(&tenant), text).unwrap();
        let refused = service.app().door(id).await.unwrap_err().to_string();
        assert!(refused.contains("high-water mark"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_put_back_is_not_served_on_sqlite() {
    a_log_that_was_put_back_is_not_served(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_put_back_is_not_served_on_postgresql() {
    let server = postgres::start();
    a_log_that_was_put_back_is_not_served(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_put_back_under_an_open_door_is_not_written_on() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    asked(&service, &tenant, tenant.member, 20).await;
    let before = audit::head(door.store()).await.unwrap();
    asked(&service, &tenant, tenant.member, 20).await;
    upkeep::round(door, Utc::now(), false).await.unwrap();
    put_back(&service, &tenant, &before).await;
    let told = service.get(&tenant, tenant.admin, "/v1/organization").await;
    assert_eq!(told.status, 503);
    let size = audit::head(door.store()).await.unwrap().size;
    assert_eq!(size, before.size);
}
