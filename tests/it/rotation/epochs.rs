//! Epochs of the log: begun, read over, wrapped anew, and destroyed with what was pruned; and logs that are older than there are epochs.

use std::time::Duration;

use cedarkeep::config::Database;
use cedarkeep::crypto;
use cedarkeep::crypto::hierarchy::FIRST_EPOCH;
use cedarkeep::decide::{Door, audit, rotate, upkeep};
use cedarkeep::directory::keys::{self, KeyName};
use cedarkeep::directory::object::{Plan, Role, Scope};
use cedarkeep::directory::organization::{self, Founding};
use cedarkeep::directory::people::{self, Joining};
use cedarkeep::directory::{Kind, Ref, keeping};
use chrono::Utc;

use super::columns::{held, named};
use super::load::what_was_written_is_read;
use crate::api::harness::{Service, Tenant, key};
use crate::api::keeping::asked;
use crate::harness::postgres;

async fn begin(door: &Door, key: KeyName) {
    door.operate(move |by, snapshot| keys::rotate_by_operator(by, snapshot, key))
        .await
        .unwrap();
}

async fn done(door: &Door, key: KeyName) {
    begin(door, key).await;
    while door.store().keys().rotates(rotate::purpose(key)) {
        rotate::advance(door, Utc::now(), Duration::from_secs(1))
            .await
            .unwrap();
    }
}

/// An organization as an earlier version has made it: without an epoch.
async fn older(service: &Service) -> Tenant {
    let slug = "acme".parse().unwrap();
    let control = service.app().control();
    let made = control.create(&slug, Utc::now()).await.unwrap();
    let id = made.id;
    made.store.database().close().await;
    let org = Ref::new(Kind::Organization, *id.bytes());
    let group = crypto::random().unwrap();
    let mut tenant = Tenant {
        door: service
            .app()
            .found(control.create(&slug, Utc::now()).await.unwrap())
            .await
            .unwrap(),
        org,
        everybody: Ref::new(Kind::Group, group),
        admin: org,
        member: org,
        viewer: org,
        key: String::new(),
    };
    tenant.door.close().await;
    let mut rows = service.database(&tenant).await;
    sqlx::query("DELETE FROM epoch")
        .execute(&mut rows)
        .await
        .unwrap();
    let door = service
        .app()
        .found(control.create(&slug, Utc::now()).await.unwrap())
        .await
        .unwrap();
    let founding = Founding {
        name: "acme".into(),
        plan: Plan::Enterprise,
    };
    door.operate(move |by, _| organization::found(by, org, &founding, group))
        .await
        .unwrap();
    for (role, name) in [
        (Role::Admin, "ada"),
        (Role::Member, "mia"),
        (Role::Viewer, "vic"),
    ] {
        let id = crypto::random().unwrap();
        let email = format!("{name}@example.com");
        let joining = Joining {
            id,
            name: name.into(),
            email,
            role,
        };
        door.operate(move |by, snapshot| people::join_by_operator(by, snapshot, &joining))
            .await
            .unwrap();
        let person = Ref::new(Kind::User, id);
        match role {
            Role::Admin => tenant.admin = person,
            Role::Member => tenant.member = person,
            _ => tenant.viewer = person,
        }
    }
    tenant.key = key(&door, Scope::ALL).await;
    door.close().await;
    control.mark_ready(id).await.unwrap();
    tenant.door = service.app().door(id).await.unwrap();
    tenant
}

async fn a_log_that_is_older_than_epochs_goes_on_opening(database: Database) {
    let service = Service::still(database).await;
    let tenant = older(&service).await;
    let (door, store) = (&tenant.door, tenant.door.store());
    asked(&service, &tenant, tenant.member, 300).await;
    assert!(store.keys().epochs().is_empty());
    assert_eq!(named(&service, &tenant).await.of("log"), [1]);
    // Another node has it open, and reads what is sealed under epochs that begin without it.
    let beside = service.beside().await;
    let other = beside.app().door(store.id()).await.unwrap();
    upkeep::round(door, Utc::now(), false).await.unwrap();
    assert_eq!(store.keys().epochs().len(), 1);
    upkeep::round(door, Utc::now(), false).await.unwrap();
    assert_eq!(store.keys().epochs().len(), 1, "it is begun once");
    done(door, KeyName::Records).await;
    done(door, KeyName::Records).await;
    asked(&service, &tenant, tenant.viewer, 300).await;
    // Three epochs, and the records key that the oldest segments need; the second version is gone.
    assert_eq!(store.keys().epochs().len(), 3);
    assert_eq!(held(&service, &tenant).await["records"], [1, 3]);
    assert_eq!(store.keys().kept_for_segments(), Some(1));
    let here = named(&service, &tenant).await;
    assert_eq!(here.of("records"), [3]);
    assert_eq!(here.of("log").first(), Some(&1));
    assert_eq!(here.of("log").last(), Some(&(FIRST_EPOCH + 2)));
    let all = audit::entries(other.store(), 0, usize::MAX).await.unwrap();
    assert!(
        all.iter()
            .flat_map(|shown| shown.parts.values())
            .all(|part| part != "[erased]")
    );
    what_was_written_is_read(&service, &tenant).await;
    // What is pruned takes its keys along: the epochs that lie below it, and the records key.
    door.operate(|by, snapshot| keeping::set_retention_by_operator(by, snapshot, Some(30)))
        .await
        .unwrap();
    let later = Utc::now() + chrono::Duration::days(31);
    let last = store.keys().epochs().last().unwrap().first;
    for _ in 0..4 {
        upkeep::round(door, later, true).await.unwrap();
    }
    assert!(door.tip().minimum > last, "{} {last}", door.tip().minimum);
    assert_eq!(store.keys().epochs().len(), 1);
    assert_eq!(store.keys().kept_for_segments(), None);
    assert_eq!(held(&service, &tenant).await["records"], [3]);
    assert_eq!(named(&service, &tenant).await.of("log"), [FIRST_EPOCH + 2]);
    // The other node hears of it, and lets go of the keys.
    other.refresh().await.unwrap();
    assert_eq!(other.store().keys().epochs().len(), 1);
    asked(&beside, &tenant, tenant.member, 10).await;
    let mut versions = other
        .store()
        .keys()
        .versions(rotate::purpose(KeyName::Records));
    versions.dedup();
    assert_eq!(versions, [3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_older_than_epochs_goes_on_opening_on_sqlite() {
    a_log_that_is_older_than_epochs_goes_on_opening(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_older_than_epochs_goes_on_opening_on_postgresql() {
    let server = postgres::start();
    a_log_that_is_older_than_epochs_goes_on_opening(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_nowhere_is_gone_on_with_when_it_is_woken() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    service.things(&tenant).await;
    for key in [KeyName::Records, KeyName::SubjectWrap, KeyName::Tenant] {
        begin(&tenant.door, key).await;
    }
    tenant.door.close().await;
    let fresh = service.second_node().await;
    let later = Utc::now() + chrono::Duration::hours(25);
    let day = Duration::from_secs(24 * 60 * 60);
    fresh.wake_silent(later, day).await.unwrap();
    let store = fresh
        .control()
        .open_store(tenant.door.store().id())
        .await
        .unwrap();
    assert!(store.keys().rotations().is_empty());
    let versions = held(&service, &tenant).await;
    assert_eq!(
        (&versions["records"], &versions["subject-wrap"]),
        (&vec![2], &vec![2])
    );
    assert_eq!(named(&service, &tenant).await.of("tenant"), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_elsewhere_is_read_and_gone_on_with() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    service.things(&tenant).await;
    let beside = service.beside().await;
    let other = beside.app().door(tenant.door.store().id()).await.unwrap();
    for key in [
        KeyName::Epoch,
        KeyName::SubjectWrap,
        KeyName::Records,
        KeyName::Tenant,
    ] {
        begin(&tenant.door, key).await;
        asked(&service, &tenant, tenant.member, 5).await;
        // It was not told of the new key, and meets values under it.
        let newest = audit::entries(other.store(), 20, usize::MAX).await.unwrap();
        assert!(
            newest
                .iter()
                .flat_map(|shown| shown.parts.values())
                .all(|part| part != "[erased]")
        );
        asked(&beside, &tenant, tenant.viewer, 5).await;
    }
    // A second node may go on with what a first has begun, beside it.
    while !other.store().keys().rotations().is_empty() {
        let (one, two) = tokio::join!(
            rotate::advance(&tenant.door, Utc::now(), Duration::from_millis(50)),
            rotate::advance(&other, Utc::now(), Duration::from_millis(50))
        );
        one.unwrap();
        two.unwrap();
        tenant.door.refresh().await.unwrap();
        other.refresh().await.unwrap();
    }
    let versions = held(&service, &tenant).await;
    assert_eq!(
        (&versions["records"], &versions["subject-wrap"]),
        (&vec![2], &vec![2])
    );
    what_was_written_is_read(&service, &tenant).await;
}
