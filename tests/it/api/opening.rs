//! Which organizations are open where there is room for few: none gives way to what is not there, and each is opened once for all who ask.

use std::sync::Arc;
use std::time::Duration;

use cedarkeep::authn::api_key::{ApiKey, Environment};
use cedarkeep::crypto;
use cedarkeep::decide::Door;
use cedarkeep::ids::TenantId;
use chrono::Utc;
use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::harness::Service;

/// Those that are open and no others.
fn are_open(service: &Service, doors: &[&Arc<Door>]) -> bool {
    let open = service.app().doors();
    let is_open = |door: &&Arc<Door>| open.iter().any(|other| Arc::ptr_eq(other, door));
    open.len() == doors.len() && doors.iter().all(is_open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gives_way_to_an_organization_that_is_not_there() {
    let service = Service::narrow(1).await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    assert!(are_open(&service, &[door]));
    // Anybody can make up a key that reads as one.
    let (org, id, secret) = (
        crypto::random().unwrap(),
        crypto::random().unwrap(),
        crypto::random().unwrap(),
    );
    let key = ApiKey::mint(Environment::Live, org, id, secret);
    let asked = service.ask("GET", "/v1/users").key(key.expose());
    asked.user(tenant.admin).send().await.is_problem(401);
    assert!(are_open(&service, &[door]));
    let place = format!("/signin/{}", TenantId::new(org));
    assert_eq!(service.ask("GET", &place).send().await.status, 404);
    assert!(are_open(&service, &[door]));
    let ready = service.ask("GET", "/readyz").send().await.ok();
    assert_eq!(ready["open_tenants"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_hangs_up_leaves_no_place_behind() {
    let service = Service::narrow(1).await;
    let (first, second) = (service.tenant("acme").await, service.tenant("other").await);
    let id = first.door.store().id();
    assert!(are_open(&service, &[&second.door]));
    assert!(service.app().door(id).now_or_never().is_none());
    assert!(are_open(&service, &[&second.door]));
    // It is not taken for one that is open: once a day such a one is woken.
    let size = first.door.tip().size;
    let (later, day) = (
        Utc::now() + chrono::Duration::days(2),
        Duration::from_secs(24 * 60 * 60),
    );
    service.app().wake_silent(later, day).await.unwrap();
    first.door.refresh().await.unwrap();
    assert!(first.door.tip().size > size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_is_opened_once_for_all_who_ask() {
    let service = Service::narrow(1).await;
    let (first, second) = (service.tenant("acme").await, service.tenant("other").await);
    let id = first.door.store().id();
    // The one who asked first hangs up: the others have it all the same.
    let mut gone = Box::pin(service.app().door(id));
    assert!(gone.as_mut().now_or_never().is_none());
    let asked = join_all((0..8).map(|_| service.app().door(id)));
    let mut asked = Box::pin(asked);
    assert!(asked.as_mut().now_or_never().is_none());
    drop(gone);
    let opened: Vec<_> = asked.await.into_iter().map(Result::unwrap).collect();
    assert!(opened.iter().all(|door| Arc::ptr_eq(door, &opened[0])));
    assert!(are_open(&service, &[&opened[0]]));
    assert!(!Arc::ptr_eq(&opened[0], &first.door));
    // What gave way is at work still for those who hold it.
    for held in [&first.door, &second.door] {
        held.refresh().await.unwrap();
    }
}
