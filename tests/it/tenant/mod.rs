//! The control database and tenants' stores: what is lost, exchanged, half made or begun twice.

use std::path::Path;
use std::sync::Arc;

use cedarkeep::ids::TenantId;
use cedarkeep::storage::{Place, StorageError};
use cedarkeep::tenant::{Control, Ledger, Providers, Slug, TenantError};
use chrono::Utc;

use crate::harness::postgres;

fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

async fn opened(place: &Place, dir: &Path) -> Result<Arc<Control>, TenantError> {
    Control::open(place.clone(), Providers::keyring(dir.join("keyring"))).await
}

async fn made(control: &Control, name: &str) -> TenantId {
    let created = control.create(&slug(name), Utc::now()).await.unwrap();
    created.store.database().close().await;
    control.mark_ready(created.id).await.unwrap();
    created.id
}

fn file(dir: &Path, id: TenantId, ending: &str) -> std::path::PathBuf {
    dir.join("tenants").join(format!("{id}.db{ending}"))
}

async fn lives(place: &Place, dir: &Path) {
    // Two first starts at once make one deployment.
    let (one, two) = tokio::join!(opened(place, dir), opened(place, dir));
    let (one, two) = (one.unwrap(), two.unwrap());
    let acme = made(&one, "acme").await;
    assert_eq!(two.find(&slug("acme")).await.unwrap(), Some(acme));
    assert_eq!(two.find(&slug("nobody")).await.unwrap(), None);
    assert!(matches!(
        two.create(&slug("acme"), Utc::now()).await,
        Err(TenantError::Taken { .. })
    ));

    // Half made is not there, and goes on where it was.
    let half = one.create(&slug("half"), Utc::now()).await.unwrap().id;
    assert_eq!(one.find(&slug("half")).await.unwrap(), None);
    assert!(matches!(
        one.open_store(half).await,
        Err(TenantError::NotFound { .. })
    ));
    assert_eq!(made(&two, "half").await, half);

    let listed = one.list(None, 1).await.unwrap();
    assert_eq!(listed.len(), 1);
    let rest = one.list(Some(listed[0].id), 10).await.unwrap();
    let names: Vec<_> = listed
        .iter()
        .chain(&rest)
        .map(|one| one.slug.to_string())
        .collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"acme".into()) && names.contains(&"half".into()));

    // Opened again with the same keys, and never with others.
    let (one, two) = {
        drop((one, two));
        (
            opened(place, dir).await.unwrap(),
            Control::open(place.clone(), Providers::keyring(dir.join("other"))).await,
        )
    };
    assert_eq!(one.open_store(acme).await.unwrap().id(), acme);
    assert!(matches!(two, Err(TenantError::Keys { .. })));
    let ledger = Ledger::of(Arc::clone(&one), dir.join("erasures"));
    for _ in 0..2 {
        let noted = ledger.closed(half, 0).await.unwrap();
        one.remove(noted).await.unwrap();
    }
    assert_eq!(one.find(&slug("half")).await.unwrap(), None);
    assert!(one.open_store(half).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_lives_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    lives(&Place::Folder(dir.path().to_owned()), dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_lives_on_postgresql() {
    let (server, dir) = (postgres::start(), tempfile::tempdir().unwrap());
    lives(&Place::server(&server.url(), None).unwrap(), dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_tenants_file_is_an_error_and_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Folder(dir.path().to_owned());
    let control = opened(&place, dir.path()).await.unwrap();
    let id = made(&control, "gone").await;
    for ending in ["", "-wal", "-shm"] {
        std::fs::remove_file(file(dir.path(), id, ending)).ok();
    }
    assert!(matches!(
        control.open_store(id).await,
        Err(TenantError::Storage(StorageError::Database { .. }))
    ));
    assert!(!file(dir.path(), id, "").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanged_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Folder(dir.path().to_owned());
    let control = opened(&place, dir.path()).await.unwrap();
    let (one, two) = (made(&control, "one").await, made(&control, "two").await);
    let (a, b) = (file(dir.path(), one, ""), file(dir.path(), two, ""));
    let kept = dir.path().join("kept");
    std::fs::rename(&a, &kept).unwrap();
    std::fs::rename(&b, &a).unwrap();
    std::fs::rename(&kept, &b).unwrap();
    for id in [one, two] {
        assert!(matches!(
            control.open_store(id).await,
            Err(TenantError::Exchanged { .. })
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_without_their_control_database_make_no_new_deployment() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Folder(dir.path().to_owned());
    let control = opened(&place, dir.path()).await.unwrap();
    made(&control, "orphan").await;
    drop(control);
    for ending in ["", "-wal", "-shm"] {
        std::fs::remove_file(dir.path().join(format!("control.db{ending}"))).ok();
    }
    assert!(matches!(
        opened(&place, dir.path()).await,
        Err(TenantError::Orphans { .. })
    ));
}
