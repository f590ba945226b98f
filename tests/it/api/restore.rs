//! A database put back from a backup on purpose: its log goes on as another incarnation, says what is lost, and nothing goes on silently.

use std::path::{Path, PathBuf};

use cedarkeep::config::Database;
use cedarkeep::decide::{audit, check, upkeep};
use cedarkeep::ids::TenantId;
use cedarkeep::log::Event;
use cedarkeep::log::bundle;
use cedarkeep::log::checkpoint::{SignedCheckpoint, VerifierKey};
use cedarkeep::log::entry::Fact;
use cedarkeep::log::verify::{Finding, Kept, Report};
use chrono::Utc;
use serde_json::json;
use sqlx::{AnyConnection, Connection as _};

use super::harness::{Service, Tenant};
use super::keeping::{asked, every_entry};
use crate::harness::postgres;

/// A copy of an organization's database, taken while nobody has it open.
pub enum Backup {
    File(PathBuf),
    Database { name: String, copy: String },
}

async fn server(service: &Service) -> AnyConnection {
    sqlx::any::install_default_drivers();
    let Database::Postgres(url) = &service.app().config().data.database else {
        panic!("not on PostgreSQL");
    };
    AnyConnection::connect(url).await.unwrap()
}

async fn run(connection: &mut AnyConnection, sql: String) {
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
}

/// Waits until nobody in this process has a file open: a connection's own thread closes it a moment after it was let go of, and what it
/// writes then must not meet what was put back.
pub fn closed(file: &Path) {
    let is_open = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        open.flatten()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .any(|path| path.to_string_lossy().starts_with(&*file.to_string_lossy()))
    };
    while is_open() {
        std::thread::yield_now();
    }
}

impl Backup {
    pub async fn take(service: &Service, tenant: &Tenant) -> Self {
        if service.app().config().data.database == Database::Sqlite {
            let mut rows = service.database(tenant).await;
            let to = service.file(tenant).with_extension("backup");
            run(&mut rows, format!("VACUUM INTO '{}'", to.display())).await;
            return Self::File(to);
        }
        let id = tenant.door.store().id().to_string();
        let name = format!("cedarkeep_{}", id.split_once('_').unwrap().1);
        let copy = format!("backup_{}", id.split_once('_').unwrap().1);
        let mut server = server(service).await;
        run(
            &mut server,
            format!("CREATE DATABASE {copy} TEMPLATE {name}"),
        )
        .await;
        Self::Database { name, copy }
    }

    pub async fn put_back(&self, service: &Service, tenant: &Tenant) {
        match self {
            Self::File(copy) => {
                let file = service.file(tenant);
                closed(&file);
                for ending in ["db-wal", "db-shm"] {
                    drop(std::fs::remove_file(file.with_extension(ending)));
                }
                std::fs::copy(copy, file).unwrap();
            }
            Self::Database { name, copy } => {
                let mut server = server(service).await;
                run(&mut server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
                run(
                    &mut server,
                    format!("CREATE DATABASE {name} TEMPLATE {copy}"),
                )
                .await;
            }
        }
    }
}

async fn checked(tenant: &Tenant, service: &Service, kept: &[Kept]) -> Report {
    let store = service
        .app()
        .control()
        .open_store(tenant.door.store().id())
        .await
        .unwrap();
    let origin = audit::origin(&store, "cedarkeep.local").unwrap();
    check::verify(&store, &origin, kept, |_, _| {})
        .await
        .unwrap()
}

async fn head_of(tenant: &Tenant, service: &Service) -> (u64, SignedCheckpoint) {
    let control = service.app().control();
    let store = control.open_store(tenant.door.store().id()).await.unwrap();
    let head = audit::head(&store).await.unwrap();
    let note = SignedCheckpoint::parse(head.checkpoint.as_bytes()).unwrap();
    (head.size, note)
}

/// Asks through whatever door is open now.
async fn ask_again(service: &Service, tenant: &mut Tenant, questions: usize) {
    tenant.door = service.app().door(tenant.door.store().id()).await.unwrap();
    asked(service, tenant, tenant.member, questions).await;
}

async fn a_log_that_was_put_back_goes_on_as_another_incarnation(database: Database) {
    let service = Service::on(database).await;
    let mut tenant = service.tenant("acme").await;
    let id = tenant.door.store().id();
    asked(&service, &tenant, tenant.member, 300).await;
    let (old, mark) = (tenant.door.verifier(), service.mark(&tenant));
    let receipt = audit::receipt(tenant.door.store(), 2)
        .await
        .unwrap()
        .unwrap();
    tenant.door.close().await;
    let backup = Backup::take(&service, &tenant).await;
    let (size, at_backup) = head_of(&tenant, &service).await;
    // What comes after the backup is lost: decisions, and a key that signed some of them.
    ask_again(&service, &mut tenant, 60).await;
    let told = service
        .by(&tenant, tenant.admin, "POST", "/v1/audit/key")
        .send()
        .await;
    told.ok();
    asked(&service, &tenant, tenant.member, 40).await;
    let lost_key = tenant.door.verifier();
    tenant.door.close().await;
    let (lost, at_end) = head_of(&tenant, &service).await;
    let seen = std::fs::read(&mark).unwrap();
    assert_eq!(SignedCheckpoint::parse(&seen).unwrap(), at_end);
    backup.put_back(&service, &tenant).await;

    let refused = service.app().door(id).await.unwrap_err().to_string();
    assert!(
        refused.contains("rollback_detected") || refused.contains("high-water"),
        "{refused}"
    );
    let [restored] =
        <[_; 1]>::try_from(service.app().restored(id, |_, _| {}).await.unwrap()).unwrap();
    assert_eq!((restored.index, restored.size), (size, lost));
    assert_eq!(restored.incarnation, old.name().incarnation());

    ask_again(&service, &mut tenant, 500).await;
    let door = tenant.door.clone();
    let new = door.verifier();
    assert_ne!(new.name(), old.name());
    assert!(new.name().is_of_same_log(old.name()));
    // The first entry says what is known of the life before, the second names the key; the old key vouches for both.
    let entries = every_entry(&door).await;
    let first = &entries[usize::try_from(size).unwrap()];
    assert_eq!(first.event, Event::LogRestored);
    let Some(Fact::Restored {
        incarnation,
        size: known,
        root,
    }) = &first.fact
    else {
        panic!("{first:?}");
    };
    assert_eq!(incarnation.as_str(), old.name().incarnation());
    assert_eq!((*known, *root), (lost, at_end.checkpoint().root));
    let second = &entries[usize::try_from(size).unwrap() + 1];
    assert_eq!(second.fact, Some(Fact::NewKey(*new.bytes())));
    let keys = audit::verifiers(door.store(), door.origin()).await.unwrap();
    assert_eq!(keys, [new.clone(), old.clone()]);

    // It is sound, and goes on from whatever was kept of what was put back; what was kept of what is lost shows.
    let report = checked(&tenant, &service, &[at_backup.clone().into()]).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.kept, report.restored.len()), (1, 1));
    assert_eq!(report.restored[0], restored);
    let lines = restored.to_string();
    assert!(
        lines.contains(&format!(
            "{} entries are lost, {size} to {}",
            lost - size,
            lost - 1
        )),
        "{lines}"
    );
    let report = checked(&tenant, &service, &[at_end.clone().into()]).await;
    assert!(!report.is_sound(), "signed by a key that is lost");
    // The old incarnation still verifies, by its own key.
    at_backup.verify(std::slice::from_ref(&old)).unwrap();
    receipt.verified_entry(std::slice::from_ref(&old)).unwrap();
    assert!(receipt.verified_entry(std::slice::from_ref(&new)).is_err());

    // A bundle verifies by the new key, and by the old one, which has vouched for it; not by the lost one.
    let told = service
        .get(&tenant, tenant.admin, "/v1/audit/export?format=bundle")
        .await;
    assert_eq!(told.status, 200, "{}", told.body);
    for key in [&new, &old] {
        let verdict = bundle::verify(
            told.bytes.as_slice(),
            std::slice::from_ref(key),
            &[],
            |_, _| {},
        )
        .unwrap();
        assert!(verdict.is_sound(), "{:?}", verdict.wrong);
        assert_eq!(verdict.restored.first(), Some(&restored));
    }
    let verdict = bundle::verify(told.bytes.as_slice(), &[lost_key], &[], |_, _| {}).unwrap();
    assert!(!verdict.is_sound());

    // Whoever was there is there, and everything can be asked for, across the seam.
    let path = format!("/v1/users/{}", tenant.viewer);
    service.get(&tenant, tenant.admin, &path).await.ok();
    let path = "/v1/audit/entries?event=log.restored";
    let found = service.get(&tenant, tenant.admin, path).await.ok();
    assert_eq!(found["items"][0]["index"], size.to_string(), "{found}");

    // The mark is the present life's; the one before is kept beside it.
    upkeep::round(&door, Utc::now(), false).await.unwrap();
    let marked = SignedCheckpoint::parse(&std::fs::read(&mark).unwrap()).unwrap();
    assert_eq!(marked.checkpoint().origin, *new.name());
    let beside = mark.with_extension(format!("{}.checkpoint", old.name().incarnation()));
    assert_eq!(std::fs::read(beside).unwrap(), seen);
    // Put back once more, in secret: it is not served, though that life had ended well.
    door.close().await;
    let (whole, second) = head_of(&tenant, &service).await;
    backup.put_back(&service, &tenant).await;
    let refused = service.app().door(id).await.unwrap_err().to_string();
    assert!(refused.contains("rollback_detected"), "{refused}");
    // On purpose, it goes on, and says that a whole life is lost which what was put back knows nothing of.
    let told = service.app().restored(id, |_, _| {}).await.unwrap();
    let lives: Vec<_> = told
        .iter()
        .map(|life| (life.index, life.incarnation.as_str(), life.size))
        .collect();
    let (before, lost) = (old.name().incarnation(), new.name().incarnation());
    assert_eq!(lives, [(size, before, size), (size, lost, whole)]);
    ask_again(&service, &mut tenant, 700).await;
    let report = checked(&tenant, &service, &[at_backup.into()]).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.restored, told);
    let key = tenant.door.verifier();
    let report = checked(
        &tenant,
        &service,
        &[Kept::Anchored(second.checkpoint().clone())],
    )
    .await;
    assert_eq!(
        report.findings,
        [Finding::Lost {
            kept: whole,
            left: size
        }]
    );
    let bytes = service
        .get(&tenant, tenant.admin, "/v1/audit/export?format=bundle")
        .await
        .bytes;
    let verdict = bundle::verify(bytes.as_slice(), &[old], &[], |_, _| {}).unwrap();
    assert!(verdict.is_sound(), "{:?}", verdict.wrong);
    let kept = [Kept::Anchored(second.checkpoint().clone())];
    let verdict = bundle::verify(bytes.as_slice(), &[key], &kept, |_, _| {}).unwrap();
    assert!(!verdict.is_sound());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_put_back_goes_on_as_another_incarnation_on_sqlite() {
    a_log_that_was_put_back_goes_on_as_another_incarnation(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_put_back_goes_on_as_another_incarnation_on_postgresql() {
    let server = postgres::start();
    a_log_that_was_put_back_goes_on_as_another_incarnation(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_of_what_a_restore_lost_shows() {
    let service = Service::open().await;
    let mut tenant = service.tenant("acme").await;
    let id = tenant.door.store().id();
    tenant.door.close().await;
    let backup = Backup::take(&service, &tenant).await;
    let (size, _) = head_of(&tenant, &service).await;
    ask_again(&service, &mut tenant, 30).await;
    tenant.door.close().await;
    let (lost, at_end) = head_of(&tenant, &service).await;
    backup.put_back(&service, &tenant).await;
    service.app().restored(id, |_, _| {}).await.unwrap();
    // Even where the log has grown past it.
    ask_again(&service, &mut tenant, 200).await;
    let report = checked(&tenant, &service, &[at_end.into()]).await;
    assert_eq!(
        report.findings,
        [Finding::Lost {
            kept: lost,
            left: size
        }]
    );
    // A second restore is another life still, and each tells of the one before.
    tenant.door.close().await;
    let [restored] =
        <[_; 1]>::try_from(service.app().restored(id, |_, _| {}).await.unwrap()).unwrap();
    ask_again(&service, &mut tenant, 10).await;
    let report = checked(&tenant, &service, &[]).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.restored.len(), 2);
    assert_eq!(restored.size, restored.index);
    assert!(
        restored
            .to_string()
            .contains("no entry is known to be lost")
    );
    let keys = audit::verifiers(tenant.door.store(), tenant.door.origin())
        .await
        .unwrap();
    let names: Vec<_> = keys.iter().map(VerifierKey::name).collect();
    assert_eq!(names.len(), 3);
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_have_a_log_open_notice_that_it_was_put_back() {
    let server = postgres::start();
    let service = Service::on(Database::Postgres(server.url())).await;
    let tenant = service.tenant("acme").await;
    let id = tenant.door.store().id();
    let elsewhere = service.second_node().await;
    let open = elsewhere.door(id).await.unwrap();
    asked(&service, &tenant, tenant.member, 30).await;
    tenant.door.close().await;
    service.app().restored(id, |_, _| {}).await.unwrap();
    // The life that it was opened for is over: by itself the node opens the log anew, and is ready all the while it does not know.
    assert!(open.refresh().await.is_err());
    while open.is_open() {
        tokio::task::yield_now().await;
    }
    assert!(elsewhere.doors().is_empty());
    elsewhere.let_go_of_closed().await.unwrap();
    assert_eq!(elsewhere.doors().len(), 1);
    let anew = elsewhere.door(id).await.unwrap();
    assert_ne!(anew.origin(), open.origin());
    upkeep::beat(&anew).await.unwrap();
    let last = every_entry(&anew).await.pop().unwrap();
    assert_eq!(last.event, Event::LogHeartbeat);
}

async fn is_refused(service: &Service, id: TenantId) {
    let refused = service.app().restored(id, |_, _| {}).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("does not verify"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_that_is_lost_whole_locks_nobody_out_however_long_it_was() {
    let service = Service::still(Database::Sqlite).await;
    let mut tenant = service.tenant("acme").await;
    let id = tenant.door.store().id();
    tenant.door.close().await;
    let early = Backup::take(&service, &tenant).await;
    ask_again(&service, &mut tenant, 60).await;
    tenant.door.close().await;
    // Two backups of one life: the later one is put back over a life that the earlier one began, and that is shorter.
    let file = service.file(&tenant);
    let late = file.with_extension("late");
    let mut rows = service.database(&tenant).await;
    run(&mut rows, format!("VACUUM INTO '{}'", late.display())).await;
    rows.close().await.unwrap();
    early.put_back(&service, &tenant).await;
    service.app().restored(id, |_, _| {}).await.unwrap();
    ask_again(&service, &mut tenant, 3).await;
    let short = tenant.door.verifier();
    tenant.door.close().await;
    let (seen, _) = head_of(&tenant, &service).await;
    Backup::File(late).put_back(&service, &tenant).await;
    let (size, _) = head_of(&tenant, &service).await;
    assert!(seen < size);
    let refused = service.app().door(id).await.unwrap_err().to_string();
    assert!(refused.contains("rollback_detected"), "{refused}");
    let told = service.app().restored(id, |_, _| {}).await.unwrap();
    assert_eq!(
        (told[1].incarnation.as_str(), told[1].size),
        (short.name().incarnation(), seen)
    );
    let line = told[1].to_string();
    assert!(
        line.contains(&format!(
            "nothing is left, which was seen with {seen} entries"
        )),
        "{line}"
    );
    ask_again(&service, &mut tenant, 5).await;
    let report = checked(&tenant, &service, &[]).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.restored, told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_whose_end_is_pruned_locks_nobody_out_who_saw_what_is_there() {
    let service = Service::still(Database::Sqlite).await;
    let mut tenant = service.tenant("acme").await;
    asked(&service, &tenant, tenant.member, 40).await;
    tenant.door.close().await;
    let seen = std::fs::read(service.mark(&tenant)).unwrap();
    let id = tenant.door.store().id();
    service.app().restored(id, |_, _| {}).await.unwrap();
    ask_again(&service, &mut tenant, 300).await;
    let retention = "/v1/organization/retention";
    let ask = service.by(&tenant, tenant.admin, "PUT", retention);
    let told = ask.body(&json!({"retention_days": 30})).send().await;
    told.ok();
    let later = Utc::now() + chrono::Duration::days(31);
    for _ in 0..2 {
        upkeep::round(&tenant.door, later, true).await.unwrap();
    }
    assert_eq!(tenant.door.tip().minimum, 256);
    tenant.door.close().await;
    std::fs::write(service.mark(&tenant), &seen).unwrap();
    ask_again(&service, &mut tenant, 1).await;
    // Who has seen something else is not told that it was lost on purpose.
    tenant.door.close().await;
    let text = String::from_utf8(seen).unwrap();
    let root = text.lines().nth(2).unwrap();
    let other = text.replace(root, &format!("{}=", "A".repeat(43)));
    std::fs::write(service.mark(&tenant), other).unwrap();
    let refused = service.app().door(id).await.unwrap_err().to_string();
    assert!(refused.contains("rollback_detected"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_sound_is_not_gone_on_from() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let id = tenant.door.store().id();
    asked(&service, &tenant, tenant.member, 30).await;
    tenant.door.close().await;
    let (size, _) = head_of(&tenant, &service).await;
    // A row of the list of lives that no entry tells of.
    let mut rows = service.database(&tenant).await;
    run(
        &mut rows,
        format!(
            "INSERT INTO life (first_index, incarnation) VALUES ({size}, '{}')",
            "inc_aaaaaaaaaaaaaaaaaaaaaaaaaa"
        ),
    )
    .await;
    assert!(service.app().door(id).await.is_err());
    run(&mut rows, "DELETE FROM life WHERE first_index > 0".into()).await;
    run(
        &mut rows,
        "UPDATE head SET incarnation = 'inc_aaaaaaaaaaaaaaaaaaaaaaaaaa'".into(),
    )
    .await;
    assert!(service.app().door(id).await.is_err());
    assert!(!checked(&tenant, &service, &[]).await.is_sound());
    is_refused(&service, id).await;
    let life = tenant.door.store().life().incarnation;
    run(&mut rows, format!("UPDATE head SET incarnation = '{life}'")).await;
    // A life that somebody made up, with a log cut back to where it begins: nothing is signed upon it, marks or no marks.
    let mark = std::fs::read(service.mark(&tenant)).unwrap();
    let fake = "inc_aaaaaaaaaaaaaaaaaaaaaaaaaa";
    run(
        &mut rows,
        format!("INSERT INTO life (first_index, incarnation) VALUES ({size}, '{fake}')"),
    )
    .await;
    run(&mut rows, format!("UPDATE head SET incarnation = '{fake}'")).await;
    for marked in [true, false] {
        if !marked {
            std::fs::remove_file(service.mark(&tenant)).unwrap();
        }
        assert!(service.app().door(id).await.is_err());
        let (now, _) = head_of(&tenant, &service).await;
        assert_eq!(now, size);
    }
    std::fs::write(service.mark(&tenant), mark).unwrap();
    run(&mut rows, "DELETE FROM life WHERE first_index > 0".into()).await;
    run(&mut rows, format!("UPDATE head SET incarnation = '{life}'")).await;
    // A head that is not what its own checkpoint says is not signed upon.
    let frontier: Vec<u8> = sqlx::query_scalar("SELECT frontier FROM head")
        .fetch_one(&mut rows)
        .await
        .unwrap();
    let mut other = frontier.clone();
    *other.last_mut().unwrap() ^= 1;
    for (bytes, opens) in [(other, false), (frontier, true)] {
        sqlx::query("UPDATE head SET frontier = $1")
            .bind(bytes)
            .execute(&mut rows)
            .await
            .unwrap();
        let opened = service.app().door(id).await;
        assert_eq!(opened.is_ok(), opens);
        if let Ok(door) = opened {
            door.close().await;
        }
    }
    // A hole in what was put back.
    run(
        &mut rows,
        "DELETE FROM segment WHERE first_index = 3".into(),
    )
    .await;
    is_refused(&service, id).await;
    // Nothing was begun: the log is of its first life still, and as long as it was.
    let store = service.app().control().open_store(id).await.unwrap();
    assert_eq!(store.lives().len(), 1);
    assert_eq!(audit::head(&store).await.unwrap().size, size);
}
