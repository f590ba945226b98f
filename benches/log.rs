//! A million entries on each database: how fast they are appended beside bare inserts of the same rows, checked beside hashing the
//! same bytes, and asked for.
//!
//! Appending goes through the door, as an event does that is neither decided nor changes anything: drafted, sealed under its person's
//! key, hashed, signed, committed durably. The ceiling is what the same database takes in rows of the same size, batch by batch,
//! each batch committed as durably. The two take turns within one run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a measurement that fails has failed; the harness is shared with the tests"
)]

mod figures;
#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cedarkeep::app::App;
use cedarkeep::config::{Config, Database};
use cedarkeep::crypto;
use cedarkeep::decide::recent::Recent;
use cedarkeep::decide::{Acting, Asker, Caller, Door, audit, check, search};
use cedarkeep::directory::object::{Plan, Role};
use cedarkeep::directory::organization::{self, Founding};
use cedarkeep::directory::people::{self, Joining};
use cedarkeep::directory::{Kind, Ref};
use cedarkeep::log::Event;
use cedarkeep::log::append;
use cedarkeep::log::entry::Outcome;
use cedarkeep::log::query::Query;
use cedarkeep::log::segment::Leaves;
use chrono::Utc;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{AnyConnection, Connection as _, Executor as _};

use harness::postgres;

/// The service's own allocator, for what is compared with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Entries in all, in how many turns, and how many there are in a batch.
const ENTRIES: usize = 1_000_000;
const TURNS: usize = 10;
const BATCH: usize = 1_024;

/// People who act, and one who acts once in so many entries.
const PEOPLE: usize = 200;
const SELDOM: usize = 20_000;

fn main() {
    let entries = std::env::args()
        .skip_while(|argument| argument != "--entries")
        .nth(1)
        .map_or(ENTRIES, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut summary = Vec::new();
    runtime.block_on(async {
        measure("sqlite", Database::Sqlite, entries, &mut summary).await;
        let server = postgres::start();
        let url = Database::Postgres(server.url());
        measure("postgres", url, entries, &mut summary).await;
    });
    figures::write(summary);
}

/// An organization with people who act.
struct Log {
    door: Arc<Door>,
    people: Vec<Ref>,
    seldom: Ref,
    service: Ref,
    key: Ref,
    made: usize,
}

async fn found(app: &Arc<App>) -> Log {
    let created = app
        .control()
        .create(&"bench".parse().unwrap(), Utc::now())
        .await
        .unwrap();
    let id = created.id;
    let org = Ref::new(Kind::Organization, *id.bytes());
    let door = app.found(created).await.unwrap();
    let founding = Founding {
        name: "Bench".into(),
        plan: Plan::Enterprise,
    };
    let group = crypto::random().unwrap();
    door.operate(move |by, _| organization::found(by, org, &founding, group))
        .await
        .unwrap();
    let mut people = Vec::new();
    for number in 0..=PEOPLE {
        let joining = Joining {
            id: crypto::random().unwrap(),
            name: format!("Person {number}"),
            email: format!("person{number}@example.com"),
            role: Role::Member,
        };
        people.push(Ref::new(Kind::User, joining.id));
        door.operate(move |by, snapshot| people::join_by_operator(by, snapshot, &joining))
            .await
            .unwrap();
    }
    Log {
        door,
        seldom: people.pop().unwrap(),
        people,
        service: Ref::new(Kind::Service, crypto::random().unwrap()),
        key: Ref::new(Kind::ApiKey, crypto::random().unwrap()),
        made: 0,
    }
}

impl Log {
    fn asker(&self, number: usize) -> Asker {
        let user = match number % SELDOM {
            0 => self.seldom,
            _ => self.people[number % self.people.len()],
        };
        Asker {
            caller: Caller::Key {
                key: self.key,
                service: self.service,
                acting: Some(Acting { user, agent: None }),
            },
            request_id: Some(format!("req-{number:016}")),
            client: Some("192.0.2.17".into()),
            purpose: None,
        }
    }

    /// Appends so many entries, with four batches' worth waiting at any time: one is written, one is made, and whoever was answered has time
    /// to come again.
    async fn append(&mut self, entries: usize) -> Duration {
        let begun = Instant::now();
        let mut waiting = tokio::task::JoinSet::new();
        let (mut sent, mut done) = (0, 0);
        while done < entries {
            while sent < entries && sent - done < 4 * BATCH {
                let (door, asker) = (Arc::clone(&self.door), self.asker(self.made + sent));
                sent += 1;
                waiting.spawn(async move {
                    let details =
                        json!({"thread": "thr_aaaaaaaaaaaaaaaaaaaaaaaaaa", "messages": 3});
                    let event = Event::AuditLogRead;
                    door.note(asker, event, Outcome::Ok, details).await.unwrap();
                });
            }
            waiting.join_next().await.unwrap().unwrap();
            done += 1;
        }
        self.made += entries;
        begun.elapsed()
    }
}

/// The same rows, without anything that makes them worth something.
struct Bare {
    connection: AnyConnection,
    begin: &'static str,
    lock: &'static str,
    next: i64,
}

impl Bare {
    async fn open(database: &Database, folder: &Path) -> Self {
        let (url, begin, lock, blob) = match database {
            Database::Sqlite => (
                format!("sqlite://{}?mode=rwc", folder.join("bare.db").display()),
                "BEGIN IMMEDIATE",
                "SELECT size FROM head WHERE one = 1",
                "BLOB",
            ),
            Database::Postgres(url) => (
                url.clone(),
                "BEGIN",
                "SELECT size FROM head WHERE one = 1 FOR UPDATE",
                "BYTEA",
            ),
        };
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(&url).await.unwrap();
        if let Database::Sqlite = database {
            let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;";
            sqlx::raw_sql(pragmas)
                .execute(&mut connection)
                .await
                .unwrap();
        }
        for table in [
            format!(
                "CREATE TABLE segment (first_index BIGINT NOT NULL PRIMARY KEY, entries BIGINT NOT NULL, leaves {blob} NOT NULL, parts {blob} NOT NULL, hashes {blob} NOT NULL)"
            ),
            format!(
                "CREATE TABLE head (one BIGINT NOT NULL PRIMARY KEY, size BIGINT NOT NULL, frontier {blob} NOT NULL)"
            ),
        ] {
            connection
                .execute(sqlx::AssertSqlSafe(table))
                .await
                .unwrap();
        }
        if let Database::Postgres(_) = database {
            for column in ["leaves", "parts", "hashes"] {
                let plain =
                    format!("ALTER TABLE segment ALTER COLUMN {column} SET STORAGE EXTERNAL");
                connection
                    .execute(sqlx::AssertSqlSafe(plain))
                    .await
                    .unwrap();
            }
        }
        sqlx::query("INSERT INTO head (one, size, frontier) VALUES (1, 0, $1)")
            .bind(vec![0_u8; 640])
            .execute(&mut connection)
            .await
            .unwrap();
        Self {
            connection,
            begin,
            lock,
            next: 0,
        }
    }

    async fn insert(&mut self, batches: &[[usize; 4]]) -> Duration {
        let most = |column: usize| batches.iter().map(|row| row[column]).max().unwrap();
        // Like what is sealed, they do not get smaller.
        let mut bytes = vec![0_u8; most(1).max(most(2)).max(most(3))];
        for chunk in bytes.chunks_mut(1 << 10) {
            let random: [u8; 1 << 10] = crypto::random().unwrap();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        let begun = Instant::now();
        for [entries, leaves, parts, hashes] in batches {
            let mut transaction = self.connection.begin_with(self.begin).await.unwrap();
            sqlx::query(self.lock)
                .fetch_one(&mut *transaction)
                .await
                .unwrap();
            sqlx::query("INSERT INTO segment (first_index, entries, leaves, parts, hashes) VALUES ($1, $2, $3, $4, $5)")
                .bind(self.next)
                .bind(i64::try_from(*entries).unwrap())
                .bind(&bytes[..*leaves])
                .bind(&bytes[..*parts])
                .bind(&bytes[..*hashes])
                .execute(&mut *transaction)
                .await
                .unwrap();
            self.next += i64::try_from(*entries).unwrap();
            sqlx::query("UPDATE head SET size = $1, frontier = $2 WHERE one = 1")
                .bind(self.next)
                .bind(&bytes[..640])
                .execute(&mut *transaction)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
        }
        begun.elapsed()
    }
}

/// What the rows from an index on are like: entries, and the bytes of leaves, parts and hashes.
async fn rows_from(door: &Door, first: u64) -> Vec<[usize; 4]> {
    let (mut rows, mut next) = (Vec::new(), first);
    loop {
        let segments = append::segments_from(door.store().database(), next, 64)
            .await
            .unwrap();
        let Some(last) = segments.last() else {
            return rows;
        };
        next = last.first + last.entries;
        rows.extend(segments.iter().map(|segment| {
            let entries = usize::try_from(segment.entries).unwrap();
            [
                entries,
                segment.leaves.len(),
                segment.parts.len(),
                segment.hashes.len(),
            ]
        }));
    }
}

fn figure(name: String, value: f64, unit: &str, ratio: f64, against: &str) -> Value {
    json!({
        "name": name, "value": value.round(), "unit": unit,
        "ratio": (ratio * 1e3).round() / 1e3, "against": against,
    })
}

fn rate(entries: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(entries).unwrap()) / time.as_secs_f64()
}

async fn measure(name: &str, database: Database, entries: usize, summary: &mut Vec<Value>) {
    println!("\n## {name}: {entries} entries\n");
    let folder =
        tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).unwrap();
    let mut config = Config::default();
    config.data.dir = folder.path().to_owned();
    config.data.database = database.clone();
    let app = App::open(config).await.unwrap();
    let mut log = found(&app).await;
    let mut bare = Bare::open(&database, folder.path()).await;
    let warm_up = entries / TURNS / 10;
    log.append(warm_up).await;
    let (mut ours, mut theirs) = (Duration::ZERO, Duration::ZERO);
    let (mut appended, mut batches) = (0, 0);
    for _ in 0..TURNS {
        let first = audit::head(log.door.store()).await.unwrap().size;
        ours += log.append(entries / TURNS).await;
        let rows = rows_from(&log.door, first).await;
        theirs += bare.insert(&rows).await;
        appended += entries / TURNS;
        batches += rows.len();
    }
    let (mine, ceiling) = (rate(appended, ours), rate(appended, theirs));
    println!(
        "append: {mine:.0} entries/s in {batches} batches of {} entries; bare inserts of the same rows: {ceiling:.0}/s; ratio {:.3}",
        appended / batches,
        mine / ceiling
    );
    summary.push(figure(
        format!("log_append_vs_raw_{name}"),
        mine,
        "entries/s",
        mine / ceiling,
        &format!("raw_{name}"),
    ));
    verified(&log.door, name, summary).await;
    asked(&log, name, summary).await;
    log.door.close().await;
}

/// The check of everything that is stored, beside SHA-256 over the same bytes.
async fn verified(door: &Door, name: &str, summary: &mut Vec<Value>) {
    let begun = Instant::now();
    let report = check::verify(door.store(), door.origin(), &[], |_, _| {})
        .await
        .unwrap();
    let checking = begun.elapsed();
    assert!(report.is_sound(), "{:?}", report.findings);
    let (mut hashing, mut bytes, mut next) = (Duration::ZERO, 0, 0);
    loop {
        let segments = append::segments_from(door.store().database(), next, 64)
            .await
            .unwrap();
        let Some(last) = segments.last() else { break };
        next = last.first + last.entries;
        for segment in &segments {
            let keys = door.store().keys();
            let row = segment.first.to_string();
            let framed =
                keys.at(segment.first)
                    .open_value("segment", "leaves", &row, 0, &segment.leaves);
            let framed = framed.unwrap();
            let leaves = Leaves::parse(&framed).unwrap();
            let begun = Instant::now();
            let mut all = Sha256::new();
            for (_, leaf) in leaves.iter() {
                all.update(leaf);
                bytes += leaf.len();
            }
            all.update(&segment.parts);
            bytes += segment.parts.len();
            std::hint::black_box(all.finalize());
            hashing += begun.elapsed();
        }
    }
    let ratio = checking.as_secs_f64() / hashing.as_secs_f64();
    println!(
        "verify: {} entries and {} parts in {:.1} s; SHA-256 of the same {} MB: {:.2} s; ratio {ratio:.1}",
        report.entries,
        report.parts,
        checking.as_secs_f64(),
        bytes / 1_000_000,
        hashing.as_secs_f64(),
    );
    let figure_name = match name {
        "sqlite" => "log_verify_vs_sha256".to_owned(),
        other => format!("log_verify_vs_sha256_{other}"),
    };
    let value = checking.as_secs_f64() * 1e9 / report.entries as f64;
    summary.push(figure(figure_name, value, "ns/entry", ratio, "sha256"));
}

/// The newest page of what somebody did, with the index built, and how long building it takes.
async fn asked(log: &Log, name: &str, summary: &mut Vec<Value>) {
    let store = log.door.store();
    search::forget_index(store).await.unwrap();
    let begun = Instant::now();
    let mut blocks = 0;
    while search::index_next(store, &Recent::default())
        .await
        .unwrap()
        .is_some()
    {
        blocks += 1;
    }
    println!(
        "index: {blocks} blocks in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    for (who, actor) in [("often", log.people[7]), ("seldom", log.seldom)] {
        let actor = actor.to_string();
        let query = Query::of([("actor", actor.as_str())]).unwrap();
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..21 {
            let begun = Instant::now();
            let page = search::newest(store, &query, None, 50).await.unwrap();
            times.push(begun.elapsed());
            found = page.entries.len();
        }
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "query by an actor who acts {who}: {found} entries, median {:.1} ms, slowest {:.1} ms of 21",
            median.as_secs_f64() * 1e3,
            worst.as_secs_f64() * 1e3
        );
        summary.push(json!({
            "name": format!("log_query_actor_{who}_{name}"), "value": median.as_micros(), "unit": "us",
        }));
    }
}
