//! Root key, deployment's keys and tenant keys: whoever dies between two steps leaves what opens and what is gone on with; and an
//! organization that was closed is opened by no old backup.

use std::path::Path;
use std::sync::Arc;

use cedarkeep::app::App;
use cedarkeep::config::Database;
use cedarkeep::crypto::sealing::Purpose;
use cedarkeep::decide::above::{self, Above, By};
use cedarkeep::decide::audit;
use cedarkeep::directory::keys::{self, KeyName};
use cedarkeep::storage::Place;
use cedarkeep::tenant::{Control, Providers, TenantError};
use chrono::Utc;
use sqlx::{AssertSqlSafe, Row as _};

use super::columns::{held, named, named_above};
use super::load::what_was_written_is_read;
use crate::api::harness::{Service, Tenant};
use crate::harness::postgres;

/// A node that starts now opens everything.
async fn opens(service: &Service, tenant: &Tenant) {
    let fresh = App::visit(service.app().config().clone()).await.unwrap();
    assert!(
        fresh
            .control()
            .find(&"acme".parse().unwrap())
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(fresh.control().list(None, 10).await.unwrap().len(), 1);
    let door = fresh.door(tenant.door.store().id()).await.unwrap();
    assert!(
        !audit::entries(door.store(), 0, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let told = service.get(tenant, tenant.admin, "/v1/organization").await;
    assert_eq!(told.status, 200, "{}", told.body);
    fresh.close().await;
}

async fn a_root_key_is_rotated_step_by_step(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let control = service.app().control();
    // Between any two steps a process may die: another goes on with it.
    assert_eq!(control.prepare_root().await.unwrap(), 2);
    assert_eq!(control.prepare_root().await.unwrap(), 2);
    opens(&service, &tenant).await;
    assert_eq!(control.standing().await.unwrap().root_rotation, None);
    // One that is made now lies under the root key that every machine has.
    let early = "early".parse().unwrap();
    let early = control.create(&early, Utc::now()).await.unwrap();
    early.store.database().close().await;
    let early = control.rewrap(tenant.door.store().id(), None);
    let early = early.await.unwrap();
    assert_eq!((early.root_version, early.moved), (1, false));
    assert_eq!(named_above(&service).await.of("root"), [1]);
    assert_eq!(control.begin_root().await.unwrap(), (1, 2));
    opens(&service, &tenant).await;
    // One that is made now lies under the key that follows.
    let beside = service.beside().await;
    let late = beside
        .app()
        .control()
        .create(&"late".parse().unwrap(), Utc::now())
        .await
        .unwrap();
    late.store.database().close().await;
    assert_eq!(named_above(&service).await.of("root"), [1, 2]);
    beside.app().control().rotate_root().await.unwrap();
    assert_eq!(named_above(&service).await.of("root"), [2]);
    opens(&service, &tenant).await;
    let standing = control.standing().await.unwrap();
    assert_eq!((standing.root, standing.root_rotation), (2, Some((1, 2))));
    // Recorded, and then over; what is over is not done again.
    let fresh = service.second_node().await;
    fresh.keep_keys(Utc::now()).await.unwrap();
    let standing = fresh.control().standing().await.unwrap();
    let held = fresh.control().root_versions().await.unwrap();
    assert_eq!((held, standing.root_rotation), (vec![2], None));
    fresh.keep_keys(Utc::now()).await.unwrap();
    assert_eq!(fresh.control().standing().await.unwrap().root, 2);
    // A keyring without the new root key opens nothing.
    let keyring = service.app().config().keyring();
    let old = keyring.with_extension("old");
    let text = std::fs::read_to_string(&keyring).unwrap();
    std::fs::copy(&keyring, &old).unwrap();
    std::fs::remove_file(&keyring).unwrap();
    let mut config = service.app().config().clone();
    config.keys.keyring = Some(keyring.with_extension("none"));
    assert!(App::visit(config).await.is_err());
    std::fs::rename(&old, &keyring).unwrap();
    assert_eq!(std::fs::read_to_string(&keyring).unwrap(), text);

    // The deployment's own keys, the same way.
    assert_eq!(control.begin_deployment().await.unwrap(), (1, 2));
    assert_eq!(control.begin_deployment().await.unwrap(), (1, 2));
    opens(&service, &tenant).await;
    beside.app().control().rotate_deployment().await.unwrap();
    assert_eq!(named_above(&service).await.of("deployment"), [2]);
    // This node has the keys before in its memory.
    opens(&service, &tenant).await;
    assert!(
        control
            .find(&"acme".parse().unwrap())
            .await
            .unwrap()
            .is_some()
    );
    let taken = control.create(&"acme".parse().unwrap(), Utc::now()).await;
    assert!(matches!(taken, Err(TenantError::Taken { .. })));
    beside.app().keep_keys(Utc::now()).await.unwrap();
    let standing = control.standing().await.unwrap();
    assert_eq!(
        (standing.deployment, standing.deployment_rotation),
        (2, None)
    );
    let made = control
        .create(&"late".parse().unwrap(), Utc::now())
        .await
        .unwrap();
    assert_eq!(made.id, late.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_key_is_rotated_step_by_step_on_sqlite() {
    a_root_key_is_rotated_step_by_step(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_key_is_rotated_step_by_step_on_postgresql() {
    let server = postgres::start();
    a_root_key_is_rotated_step_by_step(Database::Postgres(server.url())).await;
}

async fn a_tenant_key_is_rotated_step_by_step(database: Database) {
    let service = Service::still(database).await;
    let tenant = service.tenant("acme").await;
    let (door, store) = (&tenant.door, tenant.door.store());
    let rotate = |by: &_, snapshot: &_| keys::rotate_by_operator(by, snapshot, KeyName::Tenant);
    door.operate(rotate).await.unwrap();
    opens(&service, &tenant).await;
    // Its row says so, and a second is refused.
    let begun = store.rotation(Purpose::DataWrap).unwrap();
    assert_eq!((begun.old, begun.new), (1, 2));
    assert!(door.operate(rotate).await.is_err());
    // The data keys are wrapped anew; the control database has both, and this node goes on.
    assert!(!store.rewrap(&begun).await.unwrap());
    assert_eq!(named(&service, &tenant).await.of("tenant"), [2]);
    opens(&service, &tenant).await;
    // Somebody who still thinks that it is to be begun changes nothing.
    assert!(!store.rewrap(&begun).await.unwrap());
    let wrapped = store.rotation(Purpose::DataWrap).unwrap();
    assert!(store.rewrap(&wrapped).await.unwrap());
    assert!(store.rewrap(&wrapped).await.unwrap());
    opens(&service, &tenant).await;
    door.operate(|by, snapshot| keys::rotated(by, snapshot, KeyName::Tenant))
        .await
        .unwrap();
    assert!(store.rotation(Purpose::DataWrap).is_none());
    let over = door
        .operate(|by, snapshot| keys::rotated(by, snapshot, KeyName::Tenant))
        .await;
    assert!(over.is_err());
    let row = sqlx::query("SELECT key_version, next_version FROM tenant WHERE kind = 0")
        .fetch_one(&mut service.control().await)
        .await
        .unwrap();
    assert_eq!(row.get::<i64, _>("key_version"), 2);
    assert_eq!(row.get::<Option<i64>, _>("next_version"), None);
    what_was_written_is_read(&service, &tenant).await;
    assert_eq!(held(&service, &tenant).await["records"], [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_key_is_rotated_step_by_step_on_sqlite() {
    a_tenant_key_is_rotated_step_by_step(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_key_is_rotated_step_by_step_on_postgresql() {
    let server = postgres::start();
    a_tenant_key_is_rotated_step_by_step(Database::Postgres(server.url())).await;
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copied(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_closed_is_opened_by_no_old_backup() {
    let service = Service::on(Database::Sqlite).await;
    let (gone, stays) = (service.tenant("gone").await, service.tenant("stays").await);
    let id = gone.door.store().id();
    gone.door.close().await;
    stays.door.close().await;
    let data = service.app().config().data.dir.clone();
    let backup = tempfile::tempdir().unwrap();
    copied(&data, backup.path());
    std::fs::remove_file(backup.path().join("keyring")).unwrap();
    let opened = async |keyring: &Path| {
        let place = Place::Folder(backup.path().to_owned());
        let control: Arc<Control> =
            Control::open(place, Providers::keyring(keyring.to_owned())).await?;
        control.open_store(id).await
    };
    let now = Utc::now();
    let app = service.app();
    assert_eq!(
        app.control().standing().await.unwrap().shred_due_since,
        None
    );
    for _ in 0..2 {
        let noted = app.ledger().closed(id, 0).await.unwrap();
        app.control().remove(noted).await.unwrap();
    }
    // Until then the backup opens with the keyring as it is.
    assert_eq!(opened(&app.config().keyring()).await.unwrap().id(), id);
    let due = app
        .control()
        .standing()
        .await
        .unwrap()
        .shred_due_since
        .unwrap();
    assert!(due >= now - chrono::Duration::seconds(1));
    // Not before its time, and then by itself.
    app.keep_keys(now + chrono::Duration::hours(23))
        .await
        .unwrap();
    assert_eq!(app.control().standing().await.unwrap().root, 1);
    app.keep_keys(now + chrono::Duration::hours(25))
        .await
        .unwrap();
    let standing = app.control().standing().await.unwrap();
    assert_eq!((standing.root, standing.shred_due_since), (2, None));
    assert_eq!(app.control().root_versions().await.unwrap(), [2]);
    assert!(opened(&app.config().keyring()).await.is_err());
    let fresh = service.second_node().await;
    assert!(fresh.door(stays.door.store().id()).await.is_ok());
    // One who is removed after the root key was made that follows is not covered by that.
    let late = app
        .control()
        .create(&"late".parse().unwrap(), now)
        .await
        .unwrap();
    late.store.database().close().await;
    app.control().begin_root().await.unwrap();
    let noted = app.ledger().closed(late.id, 0).await.unwrap();
    app.control().remove(noted).await.unwrap();
    app.keep_keys(now).await.unwrap();
    let standing = app.control().standing().await.unwrap();
    assert_eq!(standing.root, 3);
    assert!(standing.shred_due_since.is_some());
    app.rotate_above(Above::Root, By::Operator).await.unwrap();
    assert_eq!(
        app.control().standing().await.unwrap().shred_due_since,
        None
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_rotate_the_root_key_at_once_do_it_one_after_the_other() {
    let service = Service::on(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let other = service.second_node().await;
    let (one, two) = tokio::join!(
        service.app().rotate_above(Above::Root, By::Operator),
        other.rotate_above(Above::Root, By::Operator)
    );
    let mut versions = [one.unwrap(), two.unwrap()];
    versions.sort_unstable();
    assert_eq!(versions, [(1, 2), (2, 3)]);
    opens(&service, &tenant).await;
    // The service does not wait for whoever is at it.
    let now = Utc::now();
    let held = now + chrono::Duration::seconds(60);
    let control = service.app().control();
    assert!(control.lease(now, held).await.unwrap());
    assert!(
        !control
            .lease(now, now + chrono::Duration::seconds(60))
            .await
            .unwrap()
    );
    let deployment = service.app().deployment().await.unwrap();
    let busy = above::rotate((control, &deployment), Above::Root, By::System).await;
    assert!(matches!(busy, Err(above::Unrotated::Busy)));
    // Whose time is over gives nothing back, and has it no longer.
    let late = now + chrono::Duration::seconds(1);
    control.release(late).await.unwrap();
    assert!(!control.renew(late, held).await.unwrap());
    assert!(!control.lease(now, held).await.unwrap());
    let longer = held + chrono::Duration::seconds(60);
    assert!(control.renew(held, longer).await.unwrap());
    assert!(!control.renew(held, longer).await.unwrap());
    control.release(held).await.unwrap();
    assert!(!control.lease(now, longer).await.unwrap());
    control.release(longer).await.unwrap();
    assert!(control.lease(now, held).await.unwrap());
    control.release(held).await.unwrap();
}

/// What the control database does by itself from now on: in place of an update of this row something else is written.
async fn in_place_of(service: &Service, when: &str, then: &str) {
    let sql = match &service.app().config().data.database {
        Database::Sqlite => format!(
            "CREATE TRIGGER played BEFORE UPDATE ON deployment WHEN {when} \
             BEGIN {then}; SELECT RAISE(IGNORE); END"
        ),
        Database::Postgres(_) => format!(
            "CREATE OR REPLACE FUNCTION played() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN {then}; RETURN NULL; END $$; \
             CREATE TRIGGER played BEFORE UPDATE ON deployment FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION played()"
        ),
    };
    let mut control = service.control().await;
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut control)
        .await
        .unwrap();
}

async fn write(service: &Service, sql: &'static str) {
    let mut control = service.control().await;
    sqlx::raw_sql(sql).execute(&mut control).await.unwrap();
}

/// One node rotates the root key while another ends it, begins the next, or raises it, between its look and its own step: it destroys
/// nothing but what is before the root key that the control database goes by.
async fn a_rotation_that_others_end_destroys_nothing_in_use(database: Database) {
    let sqlite = matches!(database, Database::Sqlite);
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let control = service.app().control();
    let beside = service.beside().await;
    // Another node ends it, and the operator makes the next one ready.
    assert_eq!(control.begin_root().await.unwrap(), (1, 2));
    beside.app().control().rotate_root().await.unwrap();
    assert_eq!(control.prepare_root().await.unwrap(), 3);
    // This node has read the row as it was before, and finds the next one: by then the row is what the other has left.
    let (raise, ended) = (
        "OLD.root_next = 2 AND NEW.root_next = 3",
        "UPDATE deployment SET root_version = 2, root_next = NULL, root_from = NULL",
    );
    write(
        &service,
        "UPDATE deployment SET root_version = 1, root_next = 2, root_from = 1",
    )
    .await;
    in_place_of(&service, raise, ended).await;
    control.rotate_root().await.unwrap();
    let drop_it = match sqlite {
        true => "DROP TRIGGER played",
        false => "DROP TRIGGER played ON deployment",
    };
    write(&service, drop_it).await;
    let standing = control.standing().await.unwrap();
    assert_eq!((standing.root, standing.root_rotation), (2, None));
    assert_eq!(control.root_versions().await.unwrap(), [2, 3]);
    assert_eq!(named_above(&service).await.of("root"), [2]);
    opens(&service, &tenant).await;

    // Another node, whose keyring is a copy with one more, raises it at the moment when this one would end it.
    assert_eq!(control.begin_root().await.unwrap(), (2, 3));
    let (end, raised) = (
        "OLD.root_next = 3 AND NEW.root_version = 3",
        "UPDATE deployment SET root_next = 4",
    );
    in_place_of(&service, end, raised).await;
    let missing = control.rotate_root().await.unwrap_err();
    assert!(missing.is_of_unknown_key(), "{missing}");
    write(&service, drop_it).await;
    let standing = control.standing().await.unwrap();
    assert_eq!((standing.root, standing.root_rotation), (2, Some((2, 4))));
    assert_eq!(control.root_versions().await.unwrap(), [2, 3]);
    opens(&service, &tenant).await;
    // Once it has that one too, it ends what was begun.
    let root = control.providers().named("").unwrap();
    assert_eq!(root.add_after(3).await.unwrap(), 4);
    control.rotate_root().await.unwrap();
    let standing = control.standing().await.unwrap();
    assert_eq!((standing.root, standing.root_rotation), (4, Some((2, 4))));
    assert_eq!(control.root_versions().await.unwrap(), [4]);
    assert_eq!(named_above(&service).await.of("root"), [4]);
    opens(&service, &tenant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_others_end_destroys_nothing_in_use_on_sqlite() {
    a_rotation_that_others_end_destroys_nothing_in_use(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_others_end_destroys_nothing_in_use_on_postgresql() {
    let server = postgres::start();
    a_rotation_that_others_end_destroys_nothing_in_use(Database::Postgres(server.url())).await;
}
