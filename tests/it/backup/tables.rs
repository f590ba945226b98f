//! No table is forgotten, on either database, and what is read in one snapshot is of one moment.

use std::collections::BTreeSet;

use cedarkeep::config::Database;
use cedarkeep::storage::copy::{Cell, tables};
use cedarkeep::storage::{CONTROL, Dialect, TENANT};
use sqlx::Row as _;

use super::{Elsewhere, everything, put_back, said, taken};
use crate::api::harness::Service;
use crate::api::keeping::asked;
use crate::harness::postgres;

async fn catalogue(connection: &mut sqlx::AnyConnection, dialect: Dialect) -> BTreeSet<String> {
    let sql = match dialect {
        Dialect::Sqlite => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        }
        Dialect::Postgres => {
            "SELECT CAST(tablename AS TEXT) AS name FROM pg_tables WHERE schemaname = current_schema()"
        }
    };
    let rows = sqlx::query(sql).fetch_all(connection).await.unwrap();
    rows.iter()
        .map(|row| row.get::<String, _>("name"))
        .filter(|name| name != "migration")
        .collect()
}

async fn every_table_is_known(database: Database) {
    let service = Service::still(database).await;
    let tenant = service.tenant("acme").await;
    let dialect = service.app().control().place().dialect();
    let mut rows = service.database(&tenant).await;
    let known = |steps| {
        let known = tables(steps, dialect).into_iter().map(str::to_owned);
        known.collect::<BTreeSet<String>>()
    };
    assert_eq!(catalogue(&mut rows, dialect).await, known(TENANT));
    let control = service.app().control().database();
    let mut reading = control.reading().await.unwrap();
    let found = reading.tables(CONTROL).await.unwrap();
    let found: BTreeSet<String> = found.into_iter().map(|table| table.name).collect();
    assert_eq!(found, known(CONTROL));
    assert!(found.contains("erased") && found.contains("restoring"));

    // What is written after a snapshot has begun is not in it.
    let database = tenant.door.store().database();
    let mut reading = database.reading().await.unwrap();
    let head = reading.table("head").await.unwrap();
    let before = reading.row(&head, Cell::Number(1)).await.unwrap();
    asked(&service, &tenant, tenant.member, 40).await;
    assert_eq!(reading.row(&head, Cell::Number(1)).await.unwrap(), before);
    let segments = reading.table("segment").await.unwrap();
    let (mut last, mut count) = (None, 0);
    loop {
        let mut page = reading.page(&segments, last.as_deref()).await.unwrap();
        count += page.len();
        match page.pop() {
            Some(row) => last = Some(row),
            None => break,
        }
    }
    reading.close().await.unwrap();
    let now: i64 = sqlx::query("SELECT COUNT(*) AS segments FROM segment")
        .fetch_one(&mut rows)
        .await
        .unwrap()
        .get("segments");
    assert!(i64::try_from(count).unwrap() < now);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_table_is_forgotten_on_sqlite() {
    every_table_is_known(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_table_is_forgotten_on_postgresql() {
    let server = postgres::start();
    every_table_is_known(Database::Postgres(server.url())).await;
}

/// Every row of every table of an organization, but for those that a restore adds to.
async fn rows_of(
    service: &Service,
    tenant: &crate::api::harness::Tenant,
) -> Vec<(String, Vec<Vec<Cell>>)> {
    let control = service.app().control();
    let database = control
        .place()
        .tenant(tenant.door.store().id())
        .await
        .unwrap();
    let mut reading = database.reading().await.unwrap();
    let mut all = Vec::new();
    for table in reading.tables(TENANT).await.unwrap() {
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        loop {
            let last = rows.last().cloned();
            let page = reading.page(&table, last.as_deref()).await.unwrap();
            if page.is_empty() {
                break;
            }
            rows.extend(page);
        }
        // The two databases may order text otherwise.
        rows.sort_by_key(|row| format!("{row:?}"));
        all.push((table.name, rows));
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    reading.close().await.unwrap();
    database.close().await;
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_one_database_goes_to_the_other_and_back() {
    let server = postgres::start();
    let service = Service::still(Database::Sqlite).await;
    let mut tenant = service.tenant("acme").await;
    asked(&service, &tenant, tenant.member, 600).await;
    tenant.door.close().await;
    let before = rows_of(&service, &tenant).await;
    assert!(
        before
            .iter()
            .any(|(name, rows)| name == "segment" && rows.len() > 10)
    );
    let backup = taken(&service, "backup").await;

    // To PostgreSQL: each row is what it was, but for what the restore itself has written.
    let there = Elsewhere::with_keyring(&service, Database::Postgres(server.url()));
    put_back(&there.config, &everything(&backup)).await.unwrap();
    let moved = Service::of(there.config.clone()).await;
    let id = tenant.door.store().id();
    tenant.door = moved.app().door(id).await.unwrap();
    let mut after = rows_of(&moved, &tenant).await;
    // There the shelf is in the database.
    after.retain(|(name, _)| !["content_piece", "content_upload"].contains(&name.as_str()));
    assert_eq!(before.len(), after.len());
    for ((name, before), (other, after)) in before.iter().zip(&after) {
        assert_eq!(name, other);
        let added = ["head", "life", "log_key", "data_key"].contains(&name.as_str());
        let missing = before.iter().filter(|row| !after.contains(row)).count();
        assert!(
            added || missing == 0,
            "{missing} rows of {name} are missing"
        );
    }
    asked(&moved, &tenant, tenant.member, 40).await;
    tenant.door.close().await;
    let back = taken(&moved, "backup").await;

    // And back to SQLite.
    let here = Elsewhere::with_keyring(&service, Database::Sqlite);
    put_back(&here.config, &everything(&back)).await.unwrap();
    let home = Service::of(here.config.clone()).await;
    tenant.door = home.app().door(id).await.unwrap();
    asked(&home, &tenant, tenant.member, 40).await;
    assert_eq!(tenant.door.store().lives().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_back_where_files_can_lie_and_nowhere_else() {
    let server = postgres::start();
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let id = tenant.door.store().id();
    let content = service.app().control().place().content(id).unwrap();
    let long: Vec<u8> = (0..300_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    for (name, bytes) in [("a", &long[..]), ("below/b", b"short"), ("empty", b"")] {
        let path = content.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    // What is being written is of no snapshot.
    std::fs::create_dir_all(content.join("incoming")).unwrap();
    std::fs::write(content.join("incoming/half"), b"half").unwrap();
    let backup = taken(&service, "backup").await;

    let there = Elsewhere::with_keyring(&service, Database::Postgres(server.url()));
    let refused = said(put_back(&there.config, &everything(&backup)).await);
    assert!(
        refused.contains("put it back where it came from"),
        "{refused}"
    );

    let here = Elsewhere::with_keyring(&service, Database::Sqlite);
    let told = put_back(&here.config, &everything(&backup)).await.unwrap();
    let files: u64 = told.found.iter().map(|one| one.4).sum();
    assert_eq!(files, 3);
    let place = here.config.data.dir.join("content").join(id.to_string());
    assert_eq!(std::fs::read(place.join("a")).unwrap(), long);
    assert_eq!(std::fs::read(place.join("below/b")).unwrap(), b"short");
    assert_eq!(std::fs::read(place.join("empty")).unwrap(), b"");
    assert!(!place.join("incoming").exists());

    // Of one organization they take the place of those that are there.
    std::fs::write(content.join("later"), b"later").unwrap();
    tenant.door.close().await;
    let wanted = super::one_of("acme", &backup);
    put_back(service.app().config(), &wanted).await.unwrap();
    assert!(content.join("a").exists() && !content.join("later").exists());
    assert!(!content.with_extension("new").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_a_backup_without_files_goes_with_it() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let id = tenant.door.store().id();
    let content = service.app().control().place().content(id).unwrap();
    let backup = taken(&service, "backup").await;
    std::fs::create_dir_all(&content).unwrap();
    std::fs::write(content.join("later"), b"later").unwrap();
    tenant.door.close().await;
    let wanted = super::one_of("acme", &backup);
    put_back(service.app().config(), &wanted).await.unwrap();
    assert!(!content.join("later").exists());
    assert!(!content.with_extension("new").exists());
}
