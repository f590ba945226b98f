//! Sign-ins that are under way while the key is rotated: sealed and opened by whichever node, and no hindrance to a rotation.

use std::time::Duration;

use cedarkeep::config::Database;
use cedarkeep::decide::{Door, Room, rotate, upkeep};
use cedarkeep::directory::keys::{self, KeyName};
use chrono::Utc;
use sqlx::Row as _;

use super::columns::{held, named};
use crate::api::harness::{Service, Tenant};
use crate::harness::postgres;

async fn begin(door: &Door) {
    door.operate(|by, snapshot| keys::rotate_by_operator(by, snapshot, KeyName::Records))
        .await
        .unwrap();
}

async fn end(door: &Door) {
    // A round takes a bounded piece: a rotation that is held up never comes to its end.
    for _ in 0..200 {
        if !door
            .store()
            .keys()
            .rotates(rotate::purpose(KeyName::Records))
        {
            return;
        }
        rotate::advance(door, Utc::now(), Duration::from_secs(1))
            .await
            .unwrap();
    }
    panic!("the rotation does not end");
}

async fn expect(door: &Door, id: u8, minutes: i64) {
    let until = Utc::now() + chrono::Duration::minutes(minutes);
    door.expect((&[id; 32], Room::Granted), &[id], until)
        .await
        .unwrap();
}

async fn taken(door: &Door, id: u8) -> Option<Vec<u8>> {
    door.take_expected(&[id; 32]).await.unwrap()
}

/// What is under way, and what it is sealed as.
async fn under_way(service: &Service, tenant: &Tenant) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = sqlx::query("SELECT id, body FROM arrival ORDER BY id")
        .fetch_all(&mut service.database(tenant).await)
        .await
        .unwrap();
    let both = |row: &sqlx::any::AnyRow| (row.get("id"), row.get("body"));
    rows.iter().map(both).collect()
}

async fn sign_ins_outlast_a_rotation(database: Database) {
    let service = Service::still(database).await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    // Another process, which reads nothing by itself, has the keys as they are now.
    let other = Service::of(service.app().config().clone()).await;
    let late = other.app().door(door.store().id()).await.unwrap();
    expect(door, 1, 10).await;
    let before = under_way(&service, &tenant).await;
    begin(door).await;
    end(door).await;
    assert_eq!(held(&service, &tenant).await["records"], [2]);
    // What it seals now lies under the key in force, and what others have sealed under that it opens.
    assert!(
        !late
            .store()
            .keys()
            .rotates(rotate::purpose(KeyName::Records))
    );
    expect(&late, 2, 10).await;
    assert_eq!(named(&service, &tenant).await.of("records"), [2]);
    assert_eq!(taken(door, 2).await, Some(vec![2]));
    let third = Service::of(service.app().config().clone()).await;
    let third = third.app().door(door.store().id()).await.unwrap();
    begin(door).await;
    end(door).await;
    assert_eq!(taken(&third, 1).await, Some(vec![1]));
    assert_eq!(taken(&third, 1).await, None);

    // One that was left behind under a key that is gone is worth nothing, and holds up nothing; the others are as they were.
    expect(door, 3, 10).await;
    expect(door, 4, 10).await;
    let (_, body) = before.first().unwrap();
    sqlx::query("UPDATE arrival SET body = $1 WHERE id = $2")
        .bind(body.as_slice())
        .bind([3_u8; 32].as_slice())
        .execute(&mut service.database(&tenant).await)
        .await
        .unwrap();
    begin(door).await;
    end(door).await;
    assert_eq!(held(&service, &tenant).await["records"], [4]);
    assert_eq!(named(&service, &tenant).await.of("records"), [4]);
    assert_eq!(taken(door, 3).await, None);
    assert_eq!(taken(door, 4).await, Some(vec![4]));

    // What nobody takes goes without anybody's coming.
    expect(door, 5, 10).await;
    expect(door, 6, 20).await;
    let later = Utc::now() + chrono::Duration::minutes(15);
    upkeep::round(door, later, true).await.unwrap();
    let left = under_way(&service, &tenant).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, [6; 32]);
    for door in [late, third] {
        door.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_outlast_a_rotation_on_sqlite() {
    sign_ins_outlast_a_rotation(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_outlast_a_rotation_on_postgresql() {
    let server = postgres::start();
    sign_ins_outlast_a_rotation(Database::Postgres(server.url())).await;
}
