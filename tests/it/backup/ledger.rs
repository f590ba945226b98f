//! Who was erased stays erased, whatever is put back: the ledger is where no restore reaches it, and nothing falls between it and the log.

use cedarkeep::app::Restore;
use cedarkeep::backup::PutBack;
use cedarkeep::config::Database;
use cedarkeep::decide::{Door, upkeep};
use cedarkeep::directory::{Ref, keeping};
use cedarkeep::log::Event;
use cedarkeep::log::entry::Caller;
use chrono::Utc;

use super::{Elsewhere, everything, one_of, put_back, put_back_while, said, taken};
use crate::api::harness::{Service, Tenant};
use crate::api::keeping::{asked, every_entry};
use crate::harness::postgres;

async fn erase(door: &Door, person: Ref) {
    door.operate(move |by, snapshot| keeping::erase_by_operator(by, snapshot, person))
        .await
        .unwrap();
}

async fn has_key(service: &Service, tenant: &Tenant, person: Ref) -> bool {
    let mut rows = service.database(tenant).await;
    let found = sqlx::query("SELECT subject FROM subject_key WHERE subject = $1")
        .bind(person.to_string())
        .fetch_optional(&mut rows)
        .await
        .unwrap();
    found.is_some()
}

async fn whoever_was_erased_stays_erased(database: Database) {
    let service = Service::still(database.clone()).await;
    let mut acme = service.tenant("acme").await;
    let id = acme.door.store().id();
    asked(&service, &acme, acme.viewer, 40).await;
    // What stands in the backup would keep them: a legal hold, and that the one is the last Admin.
    acme.door
        .operate(|by, snapshot| keeping::hold_by_operator(by, snapshot, "a lawsuit"))
        .await
        .unwrap();
    let backup = taken(&service, "backup").await;
    acme.door
        .operate(|by, snapshot| keeping::release_by_operator(by, snapshot, "settled"))
        .await
        .unwrap();
    let told =
        serde_json::json!({"name": "Second", "email": "second@example.com", "role": "Admin"});
    service
        .post(&acme, acme.admin, "/v1/users", told)
        .await
        .id();
    erase(&acme.door, acme.viewer).await;
    erase(&acme.door, acme.admin).await;
    // It is in the ledger with the answer: nobody has kept the log yet.
    let ledger = service.app().config().ledger();
    let text = std::fs::read_to_string(&ledger).unwrap();
    for person in [acme.viewer, acme.admin] {
        assert_eq!(
            text.matches(&format!("{id} {person} ")).count(),
            1,
            "{text}"
        );
    }
    assert!(!text.contains("acme") && !text.contains("vic@") && text.lines().count() == 2);
    acme.door.close().await;

    put_back(service.app().config(), &one_of("acme", &backup))
        .await
        .unwrap();
    acme.door = service.app().door(id).await.unwrap();
    for person in [acme.viewer, acme.admin] {
        assert!(!has_key(&service, &acme, person).await);
        assert!(acme.door.glance().snapshot().user(person).is_none());
    }
    assert!(has_key(&service, &acme, acme.member).await);
    // The service itself has done it, in the new life, and it is over.
    let entries = every_entry(&acme.door).await;
    let begun = entries
        .iter()
        .position(|entry| entry.event == Event::LogRestored)
        .unwrap();
    let of = |event| {
        let entries = entries
            .iter()
            .skip(begun)
            .filter(move |entry| entry.event == event);
        entries
            .map(|entry| entry.caller == Caller::System)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(Event::DataErasureRequested), [true, true]);
    assert_eq!(of(Event::DataErased), [true, true]);
    // Nothing of theirs can be read in the log any more, and it verifies.
    let report =
        cedarkeep::decide::check::verify(acme.door.store(), acme.door.origin(), &[], |_, _| {})
            .await
            .unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let told = service
        .get(&acme, acme.member, "/v1/users")
        .await
        .body
        .to_string();
    assert!(!told.contains("vic@example.com"), "{told}");

    // Once more: whoever is erased in the backup already is not erased again.
    acme.door.close().await;
    let later = taken(&service, "later").await;
    let done = put_back(service.app().config(), &one_of("acme", &later))
        .await
        .unwrap();
    assert!(
        matches!(&done.put_back[..], [PutBack::Served { erased: 0, .. }]),
        "{done:?}"
    );
    // On a machine where nothing is, a copy of the ledger does the same; without one nothing is put back, unless there is none.
    if database == Database::Sqlite {
        let there = Elsewhere::with_keyring(&service, Database::Sqlite);
        let silent = Restore {
            no_ledger: false,
            ..everything(&backup)
        };
        let refused = said(put_back(&there.config, &silent).await);
        assert!(refused.contains("--ledger"), "{refused}");
        assert!(!there.config.data.dir.join("control.db").exists());
        let copied = Restore {
            ledgers: vec![ledger],
            ..silent
        };
        let done = put_back(&there.config, &copied).await.unwrap();
        assert!(
            matches!(&done.put_back[..], [PutBack::Served { erased: 2, .. }]),
            "{done:?}"
        );
        assert_eq!(
            std::fs::read_to_string(there.config.ledger())
                .unwrap()
                .lines()
                .count(),
            2
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_erased_stays_erased_on_sqlite() {
    whoever_was_erased_stays_erased(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_erased_stays_erased_on_postgresql() {
    let server = postgres::start();
    whoever_was_erased_stays_erased(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_falls_between_an_erasure_and_the_ledger() {
    let service = Service::still(Database::Sqlite).await;
    let mut acme = service.tenant("acme").await;
    let id = acme.door.store().id();
    asked(&service, &acme, acme.viewer, 10).await;
    let backup = taken(&service, "backup").await;
    // Neither the file nor the control database has it, as if the process had been killed right after the commit.
    let ledger = service.app().config().ledger();
    let forget = async || {
        std::fs::remove_file(&ledger).unwrap();
        sqlx::query("DELETE FROM erased")
            .execute(&mut control_of(&service).await)
            .await
            .unwrap();
    };
    erase(&acme.door, acme.viewer).await;
    forget().await;
    // Another process, which knows nothing of it, keeps the log: it is noted before it is over.
    acme.door.close().await;
    let elsewhere = service.second_node().await;
    let door = elsewhere.door(id).await.unwrap();
    upkeep::round(&door, Utc::now(), false).await.unwrap();
    let entries = every_entry(&door).await;
    assert!(entries.iter().any(|entry| entry.event == Event::DataErased));
    assert!(
        std::fs::read_to_string(&ledger)
            .unwrap()
            .contains(&acme.viewer.to_string())
    );
    elsewhere.close().await;

    // And where nobody has kept the log before it is replaced: what was under way is read out of it.
    acme.door = service.app().door(id).await.unwrap();
    erase(&acme.door, acme.member).await;
    forget().await;
    acme.door.close().await;
    let done = put_back(service.app().config(), &one_of("acme", &backup))
        .await
        .unwrap();
    let [PutBack::Served { erased, .. }] = &done.put_back[..] else {
        panic!("{done:?}");
    };
    assert_eq!(*erased, 1);
    acme.door = service.app().door(id).await.unwrap();
    assert!(!has_key(&service, &acme, acme.member).await);
    assert!(
        std::fs::read_to_string(&ledger)
            .unwrap()
            .contains(&acme.member.to_string())
    );
}

async fn whoever_is_erased_while_a_restore_loads_stays_erased(database: Database) {
    let service = Service::still(database).await;
    let mut acme = service.tenant("acme").await;
    let id = acme.door.store().id();
    asked(&service, &acme, acme.viewer, 10).await;
    let backup = taken(&service, "backup").await;
    // It begins and is over while the organization is served still: no row tells of it any more.
    let (door, viewer) = (&acme.door, acme.viewer);
    let done = put_back_while(&service, &one_of("acme", &backup), async || {
        erase(door, viewer).await;
        upkeep::round(door, Utc::now(), false).await.unwrap();
        let entries = every_entry(door).await;
        assert!(entries.iter().any(|entry| entry.event == Event::DataErased));
    })
    .await
    .unwrap();
    assert!(
        matches!(&done.put_back[..], [PutBack::Served { erased: 1, .. }]),
        "{done:?}"
    );
    acme.door.close().await;
    acme.door = service.app().door(id).await.unwrap();
    assert!(!has_key(&service, &acme, acme.viewer).await);
    assert!(acme.door.glance().snapshot().user(acme.viewer).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_erased_while_a_restore_loads_stays_erased_on_sqlite() {
    whoever_is_erased_while_a_restore_loads_stays_erased(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_erased_while_a_restore_loads_stays_erased_on_postgresql() {
    let server = postgres::start();
    whoever_is_erased_while_a_restore_loads_stays_erased(Database::Postgres(server.url())).await;
}

async fn control_of(service: &Service) -> sqlx::AnyConnection {
    use sqlx::Connection as _;
    let file = service.app().config().data.dir.join("control.db");
    sqlx::any::install_default_drivers();
    sqlx::AnyConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_put_back_by_other_means_brings_nobody_back_either() {
    let service = Service::still(Database::Sqlite).await;
    let mut acme = service.tenant("acme").await;
    let id = acme.door.store().id();
    acme.door.close().await;
    let (file, copy) = (
        service.file(&acme),
        service.file(&acme).with_extension("copy"),
    );
    crate::api::restore::closed(&file);
    std::fs::copy(&file, &copy).unwrap();
    acme.door = service.app().door(id).await.unwrap();
    erase(&acme.door, acme.viewer).await;
    acme.door.close().await;
    crate::api::restore::closed(&file);
    std::fs::copy(&copy, &file).unwrap();
    service.app().restored(id, |_, _| {}).await.unwrap();
    acme.door = service.app().door(id).await.unwrap();
    assert!(!has_key(&service, &acme, acme.viewer).await);
    assert!(acme.door.glance().snapshot().user(acme.viewer).is_none());
    let entries = every_entry(&acme.door).await;
    assert!(entries.iter().any(|entry| entry.event == Event::DataErased));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_believed_where_it_was_written_by_us_and_is_whole() {
    let service = Service::still(Database::Sqlite).await;
    let acme = service.tenant("acme").await;
    let id = acme.door.store().id();
    let other = service.tenant("other").await;
    let backup = taken(&service, "backup").await;
    erase(&acme.door, acme.viewer).await;
    acme.door.close().await;
    let (ledger, wanted) = (service.app().config().ledger(), one_of("acme", &backup));
    let text = std::fs::read_to_string(&ledger).unwrap();
    // A line that was made up, moved to another person or organization, or altered: nothing is put back.
    let line = text.trim_end();
    let sealed = line.rsplit(' ').next().unwrap();
    for wrong in [
        format!("{text}{id} {} {sealed}\n", acme.admin),
        format!(
            "{text}{} {} {sealed}\n",
            other.door.store().id(),
            acme.viewer
        ),
        format!("{text}{id} - {sealed}\n"),
        format!("{text}{id} {} AAAA\n", acme.admin),
        format!("{text}{}\n", &line[..line.len() - 1]),
        format!("{text}nonsense\n"),
    ] {
        std::fs::write(&ledger, &wrong).unwrap();
        let refused = said(put_back(service.app().config(), &wanted).await);
        assert!(refused.contains("line 2"), "{wrong}: {refused}");
        assert_eq!(service.app().control().restoring().await.unwrap(), []);
    }
    // A line without an end is of somebody who was killed: the next one takes its place.
    std::fs::write(&ledger, format!("{text}{id} usr_")).unwrap();
    erase(&other.door, other.viewer).await;
    let now = std::fs::read_to_string(&ledger).unwrap();
    assert!(
        now.starts_with(&text) && now.ends_with('\n') && now.lines().count() == 2,
        "{now}"
    );
    // A file that is lost is made again of what the control database knows.
    std::fs::remove_file(&ledger).unwrap();
    service.app().ledger().settle(&[]).await.unwrap();
    let again = std::fs::read_to_string(&ledger).unwrap();
    assert!(again.contains(&acme.viewer.to_string()) && again.lines().count() == 2);
    put_back(service.app().config(), &wanted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_that_was_closed_is_not_put_back() {
    let service = Service::still(Database::Sqlite).await;
    let acme = service.tenant("acme").await;
    let id = acme.door.store().id();
    let other = service.tenant("other").await;
    let backup = taken(&service, "backup").await;
    acme.door.close().await;
    service.app().destroy(id).await.unwrap();
    let refused = said(put_back(service.app().config(), &one_of("acme", &backup)).await);
    assert!(refused.contains("`acme` was closed"), "{refused}");
    assert!(!service.file(&acme).exists());
    // Of a whole backup the others are put back.
    let there = Elsewhere::with_keyring(&service, Database::Sqlite);
    let copied = Restore {
        ledgers: vec![service.app().config().ledger()],
        no_ledger: false,
        ..everything(&backup)
    };
    let done = put_back(&there.config, &copied).await.unwrap();
    let closed = |one: &PutBack| matches!(one, PutBack::Closed { slug } if slug == "acme");
    assert_eq!(
        done.put_back.iter().filter(|one| closed(one)).count(),
        1,
        "{done:?}"
    );
    let back = Service::of(there.config.clone()).await;
    assert!(back.app().door(id).await.is_err());
    assert!(back.app().door(other.door.store().id()).await.is_ok());
    assert!(
        !there
            .config
            .data
            .dir
            .join(format!("tenants/{id}.db"))
            .exists()
    );
    assert!(
        !there
            .config
            .data
            .dir
            .join(format!("tenants/{id}.new.db"))
            .exists()
    );
}

async fn whoever_is_closed_while_a_restore_loads_stays_closed(database: Database) {
    let service = Service::still(database).await;
    let acme = service.tenant("acme").await;
    let id = acme.door.store().id();
    let backup = taken(&service, "backup").await;
    acme.door.close().await;
    let (app, wanted) = (service.app(), one_of("acme", &backup));
    let done = put_back_while(&service, &wanted, async || {
        app.destroy(id).await.unwrap();
    });
    let refused = said(done.await);
    assert!(refused.contains("`acme` was closed"), "{refused}");
    let control = app.control();
    assert!(control.stored(id).await.unwrap().is_none());
    assert_eq!(control.restoring().await.unwrap(), []);
    assert!(!control.place().has_beside(id).await.unwrap());
    assert!(app.door(id).await.is_err());
    assert!(!service.file(&acme).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_closed_while_a_restore_loads_stays_closed_on_sqlite() {
    whoever_is_closed_while_a_restore_loads_stays_closed(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_closed_while_a_restore_loads_stays_closed_on_postgresql() {
    let server = postgres::start();
    whoever_is_closed_while_a_restore_loads_stays_closed(Database::Postgres(server.url())).await;
}
