//! What a restore writes beside: nothing of it stays that nobody will go on with, and what somebody writes just now is left alone.

use cedarkeep::app::App;
use cedarkeep::backup::Progress;
use cedarkeep::config::Database;
use cedarkeep::ids::TenantId;
use cedarkeep::tenant::Control;
use sqlx::{Connection as _, Row as _};

use super::{one_of, put_back, put_back_while, said, taken};
use crate::api::harness::Service;
use crate::harness::postgres;

/// A copy, as a restore leaves it that is killed while it loads.
async fn left(control: &Control, id: TenantId) {
    let place = control.place();
    let database = place.make_beside(id).await.unwrap();
    // SQLite makes the file for whoever asks first.
    database.is_new().await.unwrap();
    database.close().await;
    if let Some(files) = place.content_beside(id) {
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("file"), b"sealed").unwrap();
    }
    assert!(place.has_beside(id).await.unwrap());
}

async fn nothing_stays_that_nobody_goes_on_with(database: Database) {
    let service = Service::still(database).await;
    let acme = service.tenant("acme").await;
    let id = acme.door.store().id();
    let backup = taken(&service, "backup").await;
    acme.door.close().await;
    let (control, wanted) = (service.app().control(), one_of("acme", &backup));
    let place = control.place();

    // A service that starts takes it away, but not from whoever is at work; and nobody else is, meanwhile.
    left(control, id).await;
    let restorer = place.restorer(id).await.unwrap().unwrap();
    assert!(place.restorer(id).await.unwrap().is_none());
    control.drop_abandoned().await.unwrap();
    assert!(place.has_beside(id).await.unwrap());
    let refused = said(put_back_while(&service, &wanted, async || {}).await);
    assert!(refused.contains("by another restore"), "{refused}");
    restorer.release().await;
    service.second_node().await.close().await;
    assert!(!place.has_beside(id).await.unwrap());
    assert!(!place.content_beside(id).is_some_and(|files| files.exists()));

    // What fails while it is loaded leaves nothing either, and the organization is what it was.
    let file = backup.join(id.to_string());
    let whole = std::fs::read(&file).unwrap();
    let refused = put_back_while(&service, &wanted, async || {
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    });
    let refused = said(refused.await);
    assert!(refused.contains("is not what was written"), "{refused}");
    assert!(!place.has_beside(id).await.unwrap());
    assert_eq!(control.restoring().await.unwrap(), []);
    std::fs::write(&file, &whole).unwrap();

    // Nor does it outlive the organization.
    left(control, id).await;
    service.app().destroy(id).await.unwrap();
    assert!(!place.has_beside(id).await.unwrap());
    assert!(place.all_beside().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_that_nobody_goes_on_with_on_sqlite() {
    nothing_stays_that_nobody_goes_on_with(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_that_nobody_goes_on_with_on_postgresql() {
    let server = postgres::start();
    nothing_stays_that_nobody_goes_on_with(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_lock_the_server_took_away_goes_no_further() {
    let server = postgres::start();
    let service = Service::still(Database::Postgres(server.url())).await;
    let acme = service.tenant("acme").await;
    let id = acme.door.store().id();
    let wanted = one_of("acme", &taken(&service, "backup").await);
    acme.door.close().await;
    let (mut ended, here) = (0, tokio::runtime::Handle::current());
    let mut end = |progress| {
        // It is loaded, and verified.
        if ended == 0 && matches!(progress, Progress::Entries { .. }) {
            tokio::task::block_in_place(|| {
                here.block_on(async {
                    let mut control = service.control().await;
                    let end = "SELECT pg_terminate_backend(pid) AS ended FROM pg_locks WHERE locktype = 'advisory'";
                    let all = sqlx::query(end).fetch_all(&mut control).await.unwrap();
                    ended = all.len();
                });
            });
        }
    };
    let config = service.app().config().clone();
    let why = said(App::restore(config, &wanted, &mut end).await);
    assert_eq!(ended, 1);
    assert!(why.contains("kept others from restoring"), "{why}");
    // What was there is served as before, and the restore may be done again.
    assert!(
        service
            .app()
            .control()
            .restoring()
            .await
            .unwrap()
            .is_empty()
    );
    let door = service.app().door(id).await.unwrap();
    assert_eq!(door.store().lives().len(), 1);
    door.close().await;
    put_back(service.app().config(), &wanted).await.unwrap();
    let door = service.app().door(id).await.unwrap();
    assert_eq!(door.store().lives().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_loaded_of_another_backup_is_not_gone_on_with() {
    let service = Service::still(Database::Sqlite).await;
    let acme = service.tenant("acme").await;
    let id = acme.door.store().id();
    let (one, two) = (taken(&service, "one").await, taken(&service, "two").await);
    acme.door.close().await;
    let control = service.app().control();
    // The first was killed once it was loaded, and the second while it loaded: half of that lies beside.
    let begun = super::backup_id(&one);
    let stored = control.stored(id).await.unwrap().unwrap();
    let is_begun = control.begin_restoring((id, "acme"), &stored, &begun);
    assert!(is_begun.await.unwrap());
    left(control, id).await;
    let file = two.join(id.to_string());
    let whole = std::fs::read(&file).unwrap();
    let second = one_of("acme", &two);
    let cut = put_back_while(&service, &second, async || {
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    });
    said(cut.await);
    let begun = control.restoring().await.unwrap();
    assert!(begun.iter().all(|one| !one.loaded), "{begun:?}");
    put_back(service.app().config(), &one_of("acme", &one))
        .await
        .unwrap();
    let door = service.app().door(id).await.unwrap();
    assert_eq!(door.store().lives().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_verify_takes_nobodys_place() {
    let service = Service::still(Database::Sqlite).await;
    let acme = service.tenant("acme").await;
    let id = acme.door.store().id();
    let mut rows = service.database(&acme).await;
    // What is only derived of the log is made again, and keeps nobody from being served.
    sqlx::query("INSERT INTO search_block (block, filter, pairs) VALUES (0, $1, $2)")
        .bind(b"garbage".as_slice())
        .bind(b"garbage".as_slice())
        .execute(&mut rows)
        .await
        .unwrap();
    let derived = taken(&service, "derived").await;
    let hashes: Vec<u8> = sqlx::query("SELECT hashes FROM segment WHERE first_index = 0")
        .fetch_one(&mut rows)
        .await
        .unwrap()
        .get("hashes");
    let set = "UPDATE segment SET hashes = $1 WHERE first_index = 0";
    let altered: Vec<u8> = hashes.iter().map(|byte| byte ^ 1).collect();
    for (hashes, name) in [(&altered, Some("altered")), (&hashes, None)] {
        sqlx::query(set)
            .bind(hashes.as_slice())
            .execute(&mut rows)
            .await
            .unwrap();
        if let Some(name) = name {
            taken(&service, name).await;
        }
    }
    rows.close().await.unwrap();
    acme.door.close().await;
    let (app, from) = (service.app(), derived.with_file_name("altered"));
    let refused = said(put_back(app.config(), &one_of("acme", &from)).await);
    assert!(refused.contains("does not verify"), "{refused}");
    let control = app.control();
    assert_eq!(control.restoring().await.unwrap(), []);
    assert!(!control.place().has_beside(id).await.unwrap());
    let door = app.door(id).await.unwrap();
    assert_eq!(door.store().lives().len(), 1);
    door.close().await;

    put_back(app.config(), &one_of("acme", &derived))
        .await
        .unwrap();
    let door = app.door(id).await.unwrap();
    assert_eq!(door.store().lives().len(), 2);
    let mut rows = service.database(&acme).await;
    let blocks = sqlx::query("SELECT block FROM search_block WHERE filter = $1")
        .bind(b"garbage".as_slice())
        .fetch_optional(&mut rows);
    assert!(blocks.await.unwrap().is_none());
}
