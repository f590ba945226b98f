//! Sign-ins that are under way: a flood of them takes its own places, and nobody else's.

use cedarkeep::config::Database;
use cedarkeep::crypto;
use cedarkeep::decide::{Door, Room};
use chrono::{TimeDelta, Utc};
use sqlx::{Connection as _, Row as _};

use super::harness::Service;
use crate::harness::postgres;

/// As many as an organization has places.
const MOST: usize = 10_000;

/// Begins one, and says which it is.
async fn begun(door: &Door, room: Room<'_>) -> [u8; 32] {
    let id: [u8; 32] = crypto::random().unwrap();
    let until = Utc::now() + TimeDelta::minutes(10);
    door.expect((&id, room), b"body", until).await.unwrap();
    id
}

async fn is_there(door: &Door, id: &[u8; 32]) -> bool {
    door.take_expected(id).await.unwrap().is_some()
}

async fn a_flood_keeps_nobody_else_out(database: Database) {
    let service = Service::still(database).await;
    let tenant = service.tenant("acme").await;
    let other = service.second_node().await;
    let other = other.door(tenant.door.store().id()).await.unwrap();
    let (one, flood) = (Room::Anybody("198.51.100.1"), Room::Anybody("192.0.2.1"));
    let honest = begun(&tenant.door, one).await;
    let link = begun(&tenant.door, Room::Granted).await;
    let first = begun(&tenant.door, flood).await;

    // The rest of the flood, as it lies there: of the same origin, and a little younger.
    let mut rows = service.database(&tenant).await;
    let found = sqlx::query("SELECT body, expires_at, origin FROM arrival WHERE id = $1")
        .bind(first.as_slice())
        .fetch_one(&mut rows)
        .await
        .unwrap();
    let origin: Vec<u8> = found.get("origin");
    assert!(!origin.windows(7).any(|some| some == b"192.0.2"));
    let mut filling = rows.begin().await.unwrap();
    for _ in 2..MOST {
        let id: [u8; 32] = crypto::random().unwrap();
        sqlx::query("INSERT INTO arrival (id, body, expires_at, origin) VALUES ($1, $2, $3, $4)")
            .bind(id.as_slice())
            .bind(found.get::<Vec<u8>, _>("body"))
            .bind(found.get::<i64, _>("expires_at") + 1)
            .bind(origin.clone())
            .execute(&mut *filling)
            .await
            .unwrap();
    }
    filling.commit().await.unwrap();

    // All places are taken: the flood goes on at both nodes, and others begin.
    let mut last = first;
    for door in [&tenant.door, &other] {
        for _ in 0..5 {
            last = begun(door, flood).await;
        }
    }
    let later = begun(&other, Room::Anybody("2001:db8::")).await;
    let count = sqlx::query("SELECT COUNT(*) AS found FROM arrival WHERE origin IS NOT NULL");
    let count: i64 = count.fetch_one(&mut rows).await.unwrap().get("found");
    assert_eq!(usize::try_from(count).unwrap(), MOST);
    let of_it = sqlx::query("SELECT COUNT(*) AS found FROM arrival WHERE origin = $1").bind(origin);
    let of_it: i64 = of_it.fetch_one(&mut rows).await.unwrap().get("found");
    assert_eq!(of_it, count - 2, "both nodes know it by one origin");
    assert!(!is_there(&tenant.door, &first).await, "its oldest is gone");
    for id in [last, honest, later, link] {
        assert!(is_there(&tenant.door, &id).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_keeps_nobody_else_out_on_sqlite() {
    a_flood_keeps_nobody_else_out(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_keeps_nobody_else_out_on_postgresql() {
    let server = postgres::start();
    a_flood_keeps_nobody_else_out(Database::Postgres(server.url())).await;
}
