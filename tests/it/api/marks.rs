//! A database that was put back to an earlier state, against the mark outside it.

use cedarkeep::config::Database;
use cedarkeep::decide::{audit, check, upkeep};
use cedarkeep::log::append::Head;
use cedarkeep::log::checkpoint::SignedCheckpoint;
use cedarkeep::log::tiles::Tile;
use cedarkeep::log::tree;
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

/// The hashes of a tile are what they were at the mark, and its root is that of what was written since: each is believed somewhere.
async fn a_tile_that_says_two_things_hides_nothing(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let (door, id) = (&tenant.door, tenant.door.store().id());
    asked(&service, &tenant, tenant.member, 280).await;
    let before = audit::head(door.store()).await.unwrap();
    asked(&service, &tenant, tenant.member, 20).await;
    let size = audit::head(door.store()).await.unwrap().size;
    assert!(before.size > 256 && size < 512, "{size}");
    let tile = Tile {
        level: 0,
        index: 1,
        width: u16::try_from(size - 256).unwrap(),
    };
    let theirs = tree::tile(door.store().database(), tile).await.unwrap();
    door.close().await;
    let seen = std::fs::read(service.mark(&tenant)).unwrap();
    let marked = SignedCheckpoint::parse(&seen).unwrap();
    assert_eq!(marked.checkpoint().size, size);
    put_back(&service, &tenant, &before).await;
    std::fs::remove_file(service.mark(&tenant)).unwrap();
    asked(&service, &tenant, tenant.viewer, 300).await;
    let door = service.app().door(id).await.unwrap();
    let full = Tile { width: 256, ..tile };
    let mut hashes = tree::tile(door.store().database(), full).await.unwrap();
    door.close().await;
    assert_ne!(hashes[..theirs.len()], theirs);
    hashes[..theirs.len()].copy_from_slice(&theirs);
    let mut rows = service.database(&tenant).await;
    let cut = hashes[..theirs.len()].to_vec();
    for hashes in [hashes, cut] {
        sqlx::query("UPDATE tile SET hashes = $1 WHERE level = 0 AND number = 1")
            .bind(hashes)
            .execute(&mut rows)
            .await
            .unwrap();
        std::fs::write(service.mark(&tenant), &seen).unwrap();
        let refused = service.app().door(id).await.unwrap_err().to_string();
        assert!(refused.contains("rollback_detected"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tile_that_says_two_things_hides_nothing_on_sqlite() {
    a_tile_that_says_two_things_hides_nothing(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tile_that_says_two_things_hides_nothing_on_postgresql() {
    let server = postgres::start();
    a_tile_that_says_two_things_hides_nothing(Database::Postgres(server.url())).await;
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

/// Nobody can tell any more whether the log goes on from its mark: it is not written on either, until somebody has looked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_damaged_under_an_open_door_is_not_written_on() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    asked(&service, &tenant, tenant.member, 20).await;
    upkeep::round(door, Utc::now(), false).await.unwrap();
    asked(&service, &tenant, tenant.member, 5).await;
    let mut rows = service.database(&tenant).await;
    sqlx::query("DELETE FROM segment WHERE first_index = 3")
        .execute(&mut rows)
        .await
        .unwrap();
    let noticed = upkeep::round(door, Utc::now(), false).await.unwrap_err();
    assert!(noticed.to_string().contains("audit verify"), "{noticed}");
    let told = service.get(&tenant, tenant.admin, "/v1/organization").await;
    told.is_problem(503);
}

/// A list of keys into which somebody has put their own as an earlier one, that "handed over" to the log's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_another_key_has_signed_is_found() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let told = service
        .by(&tenant, tenant.admin, "POST", "/v1/audit/key")
        .send();
    told.await.ok();
    let (door, theirs) = (
        &tenant.door,
        ed25519_dalek::SigningKey::from_bytes(&[9; 32]),
    );
    let head = audit::head(door.store()).await.unwrap();
    let mut note = SignedCheckpoint::parse(head.checkpoint.as_bytes()).unwrap();
    let forged = note.checkpoint().clone().sign(&theirs);
    note.also_sign(&theirs);
    let mut rows = service.database(&tenant).await;
    sqlx::query("UPDATE log_key SET checkpoint = $1 WHERE version = 2")
        .bind(note.to_string())
        .execute(&mut rows)
        .await
        .unwrap();
    sqlx::query("UPDATE log_key SET public = $1 WHERE version = 1")
        .bind(theirs.verifying_key().as_bytes().as_slice())
        .execute(&mut rows)
        .await
        .unwrap();
    let sound = async || {
        let checked = check::verify(door.store(), door.origin(), &[], |_, _| {});
        checked.await.unwrap()
    };
    assert!(sound().await.is_sound(), "the list alone proves nothing");
    sqlx::query("UPDATE head SET checkpoint = $1")
        .bind(forged.to_string())
        .execute(&mut rows)
        .await
        .unwrap();
    let report = sound().await;
    let found = report.findings.first().map(ToString::to_string);
    assert!(
        found.is_some_and(|found| found.contains("earlier keys of the log alone")),
        "{:?}",
        report.findings
    );
    // Nor is anything signed upon it, here or by whoever opens the log anew.
    assert!(upkeep::beat(door).await.is_err());
    let id = door.store().id();
    assert!(service.second_node().await.door(id).await.is_err());
}
