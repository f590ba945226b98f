//! What is being put back is in no backup, and is said to be left out of it; what is there is in it, or there is none.

use cedarkeep::app::{App, AppError};
use cedarkeep::backup::Taken;
use cedarkeep::config::Database;
use cedarkeep::decide::anchor;
use cedarkeep::ids::TenantId;
use sqlx::Connection as _;

use super::backup_id;
use crate::api::harness::Service;
use crate::harness::postgres;

async fn backed_up(app: &App, name: &str) -> Result<Taken, AppError> {
    let output = app.config().data.dir.join(name);
    app.backup(&output, None, None, &mut |_| {}).await
}

/// As a restore begins that goes no further.
async fn begin_restoring(app: &App, id: TenantId) {
    let stored = app.control().stored(id).await.unwrap().unwrap();
    let begun = app
        .control()
        .begin_restoring((id, "acme"), &stored, "bak_1");
    assert!(begun.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_put_back_is_left_out_alone() {
    let service = Service::still(Database::Sqlite).await;
    let acme = service.tenant("acme").await;
    let other = service.tenant("other").await;
    let (app, id) = (service.app(), acme.door.store().id());
    // One without an entry has nothing to be kept.
    let deployment = app.deployment().await.unwrap();
    anchor::anchor((acme.door.store(), acme.door.origin()), &deployment)
        .await
        .unwrap();
    let deployment = deployment.store().id();
    acme.door.close().await;
    begin_restoring(app, id).await;
    let taken = backed_up(app, "backup").await.unwrap();
    assert_eq!(taken.left_out, [id.to_string()]);
    let output = app.config().data.dir.join("backup");
    assert!(!backup_id(&output).is_empty());
    for (id, is_there) in [
        (deployment, true),
        (other.door.store().id(), true),
        (id, false),
    ] {
        assert_eq!(output.join(id.to_string()).exists(), is_there, "{id}");
    }
    // Alone it is refused.
    let only = Some((id, "acme".to_owned()));
    let alone = app.config().data.dir.join("alone");
    let refused = app.backup(&alone, only, None, &mut |_| {}).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("is being put back"), "{refused}");
    assert!(!alone.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backup_cannot_read_to_its_end_is_not_left_out_silently() {
    let server = postgres::start();
    let service = Service::still(Database::Postgres(server.url())).await;
    let acme = service.tenant("acme").await;
    let (app, id) = (service.app(), acme.door.store().id());
    let mut holding = service.database(&acme).await;
    let mut looking = service.database(&acme).await;
    let mut held = holding.begin().await.unwrap();
    sqlx::query("LOCK TABLE segment IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *held)
        .await
        .unwrap();
    // The organization is there, so there is no backup without it.
    backed_up(app, "broken").await.unwrap_err();
    assert!(!app.config().data.dir.join("broken").exists());
    // A restore begins while it is read.
    let begun = async {
        let waits =
            "SELECT 1 AS waits FROM pg_locks WHERE relation = 'segment'::regclass AND NOT granted";
        while sqlx::query(waits)
            .fetch_optional(&mut looking)
            .await
            .unwrap()
            .is_none()
        {}
        begin_restoring(app, id).await;
    };
    let (taken, ()) = tokio::join!(backed_up(app, "backup"), begun);
    assert_eq!(taken.unwrap().left_out, [id.to_string()]);
    assert!(
        !app.config()
            .data
            .dir
            .join("backup")
            .join(id.to_string())
            .exists()
    );
}
