//! Tampering with what the database holds of a log: whatever is altered, taken away, moved, put back or brought in is found.
//!
//! A flip in one segment's row is attributed to that row: so many rows are altered at once, one flip in each, and the check must name
//! every one of them. `PROVE=1` tries every byte and 20,000 random ones more; else a sample of both. `SEED=n` repeats a run.

use std::collections::BTreeMap;

use cedarkeep::config::Database;
use cedarkeep::decide::{audit, check};
use cedarkeep::log::checkpoint::SignedCheckpoint;
use cedarkeep::log::verify::{Finding, Report, Unchecked};
use serde_json::json;
use sqlx::{AnyConnection, Row as _};

use super::harness::{Service, Tenant};
use super::keeping::asked;
use crate::harness::chance::Chance;
use crate::harness::postgres;

fn proves() -> bool {
    std::env::var_os("PROVE").is_some()
}

/// A row of `segment` as it is stored.
#[derive(Clone, PartialEq, Eq)]
struct Row {
    first: i64,
    entries: i64,
    blobs: [Vec<u8>; 3],
}

const BLOBS: [&str; 3] = ["leaves", "parts", "hashes"];

/// A log under attack, and the attacker's way in.
struct Scene {
    service: Service,
    tenant: Tenant,
    rows: AnyConnection,
    segments: Vec<Row>,
    kept: SignedCheckpoint,
    tried: BTreeMap<&'static str, usize>,
}

async fn checkpoint(tenant: &Tenant) -> SignedCheckpoint {
    let head = audit::head(tenant.door.store()).await.unwrap();
    SignedCheckpoint::parse(head.checkpoint.as_bytes()).unwrap()
}

async fn segments(rows: &mut AnyConnection) -> Vec<Row> {
    let sql =
        "SELECT first_index, entries, leaves, parts, hashes FROM segment ORDER BY first_index";
    let found = sqlx::query(sql).fetch_all(rows).await.unwrap();
    found
        .iter()
        .map(|row| Row {
            first: row.get("first_index"),
            entries: row.get("entries"),
            blobs: BLOBS.map(|column| row.get(column)),
        })
        .collect()
}

impl Scene {
    /// A log of some fifty entries of many kinds, one at a time and several at once, with a rotated key.
    async fn set(database: Database) -> Self {
        let service = Service::still(database).await;
        let tenant = service.tenant("acme").await;
        service.things(&tenant).await;
        asked(&service, &tenant, tenant.member, 7).await;
        service
            .by(&tenant, tenant.admin, "POST", "/v1/audit/key")
            .send()
            .await
            .ok();
        let kept = checkpoint(&tenant).await;
        let mut rows = service.database(&tenant).await;
        // The attacker need not be durable.
        let fast = match &service.app().config().data.database {
            Database::Sqlite => "PRAGMA synchronous = OFF",
            Database::Postgres(_) => "SET synchronous_commit = 'off'",
        };
        sqlx::query(fast).execute(&mut rows).await.unwrap();
        let segments = segments(&mut rows).await;
        Self {
            service,
            tenant,
            rows,
            segments,
            kept,
            tried: BTreeMap::new(),
        }
    }

    /// Some hundred entries, and a full tile.
    async fn grow(&mut self) {
        asked(&self.service, &self.tenant, self.tenant.viewer, 250).await;
        self.kept = checkpoint(&self.tenant).await;
        asked(&self.service, &self.tenant, self.tenant.member, 15).await;
        self.segments = segments(&mut self.rows).await;
    }

    async fn check(&self) -> Report {
        let (store, origin) = (self.tenant.door.store(), self.tenant.door.origin());
        check::verify(store, origin, &[], |_, _| {}).await.unwrap()
    }

    /// Nothing is found in what nobody touched.
    async fn is_sound(&self) {
        let report = self.check().await;
        assert!(report.is_sound(), "{:?}", report.findings);
    }

    async fn is_found(&mut self, class: &'static str, what: &str) {
        let report = self.check().await;
        assert!(!report.is_sound(), "{class}: {what}: not found");
        *self.tried.entry(class).or_default() += 1;
    }

    async fn set_blob(&mut self, first: i64, column: &str, bytes: &[u8]) {
        let sql = format!("UPDATE segment SET {column} = $1 WHERE first_index = $2");
        let done = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(bytes)
            .bind(first)
            .execute(&mut self.rows)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1);
    }

    async fn run(&mut self, sql: &str) {
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&mut self.rows)
            .await
            .unwrap();
    }

    /// Alters one byte in each of these rows, and has the check name each; then puts all back.
    async fn flip_in_each(&mut self, class: &'static str, flips: &[(usize, usize, usize, u8)]) {
        for (row, column, byte, mask) in flips {
            let Row { first, blobs, .. } = self.segments[*row].clone();
            let mut altered = blobs[*column].clone();
            altered[*byte] ^= mask;
            self.set_blob(first, BLOBS[*column], &altered).await;
        }
        let report = self.check().await;
        for (row, column, byte, _) in flips {
            let Row { first, entries, .. } = &self.segments[*row];
            let named = report
                .findings
                .iter()
                .any(|finding| names(finding, *first, *entries));
            let column = BLOBS[*column];
            assert!(
                named,
                "{class}: byte {byte} of {column} of segment {first}: not found"
            );
        }
        *self.tried.entry(class).or_default() += flips.len();
        for (row, column, ..) in flips {
            let Row { first, blobs, .. } = self.segments[*row].clone();
            self.set_blob(first, BLOBS[*column], &blobs[*column]).await;
        }
    }
}

/// Whether a finding names this segment or an entry of it.
fn names(finding: &Finding, first: i64, entries: i64) -> bool {
    let holds = |index: u64| (first..first + entries).contains(&i64::try_from(index).unwrap());
    match finding {
        Finding::Stored { what } => what.starts_with(&format!("segment {first}:")),
        Finding::Leaf { index, .. }
        | Finding::PolicyVersion { index, .. }
        | Finding::PartAltered { index, .. }
        | Finding::PartForeign { index, .. } => holds(*index),
        _ => false,
    }
}

/// Every byte of the segments that hold the first 50 entries, or one in so many of them.
async fn every_byte(scene: &mut Scene) {
    let step = if proves() { 1 } else { 211 };
    let rows: Vec<usize> = (0..scene.segments.len())
        .filter(|row| scene.segments[*row].first < 50)
        .collect();
    for column in 0..BLOBS.len() {
        let longest = |scene: &Scene| {
            rows.iter()
                .map(|row| scene.segments[*row].blobs[column].len())
                .max()
                .unwrap()
        };
        let longest = longest(scene);
        for begin in (0..longest).step_by(step) {
            // A row that is shorter than others begins anew at another of its bytes in a sample, and is done in the whole.
            let flips: Vec<_> = rows
                .iter()
                .filter(|row| begin < scene.segments[**row].blobs[column].len())
                .map(|row| (*row, column, begin, 1 << (begin % 8)))
                .collect();
            scene
                .flip_in_each("bytes of 50 entries' rows", &flips)
                .await;
        }
    }
    scene.is_sound().await;
}

/// Random bytes of random rows, one in each of several rows at once.
async fn random_bytes(scene: &mut Scene, chance: &mut Chance) {
    let wanted = if proves() { 20_000 } else { 500 };
    let mut below = |limit: usize| usize::try_from(chance.number()).unwrap() % limit;
    let mut done = 0;
    while done < wanted {
        let mut flips: BTreeMap<usize, _> = BTreeMap::new();
        for _ in 0..20 {
            let (row, column) = (below(scene.segments.len()), below(3));
            let byte = below(scene.segments[row].blobs[column].len());
            flips.insert(row, (row, column, byte, 1 << below(8)));
        }
        let flips: Vec<_> = flips.into_values().collect();
        done += flips.len();
        scene.flip_in_each("random bytes", &flips).await;
    }
    scene.is_sound().await;
}

/// The numbers of segments, and every column of the head.
async fn numbers_and_head(scene: &mut Scene) {
    let rows = if proves() { scene.segments.len() } else { 2 };
    for row in scene.segments.clone().into_iter().take(rows) {
        for other in [row.entries + 1, row.entries - 1, -row.entries, i64::MAX] {
            let set = |value: i64| {
                format!(
                    "UPDATE segment SET entries = {value} WHERE first_index = {}",
                    row.first
                )
            };
            scene.run(&set(other)).await;
            scene.is_found("numbers of segments", "entries").await;
            scene.run(&set(row.entries)).await;
        }
        for other in [row.first + 100_000, -1 - row.first, i64::MAX] {
            let set = |from: i64, to: i64| {
                format!("UPDATE segment SET first_index = {to} WHERE first_index = {from}")
            };
            scene.run(&set(row.first, other)).await;
            scene.is_found("numbers of segments", "first_index").await;
            scene.run(&set(other, row.first)).await;
        }
    }
    for column in [
        "size",
        "last_change",
        "last_time",
        "minimum",
        "signing_version",
    ] {
        let sql = format!("SELECT {column} AS value FROM head");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut scene.rows)
            .await
            .unwrap();
        let value: i64 = row.get("value");
        for bit in (0..64).step_by(if proves() { 1 } else { 9 }) {
            let set = |value: i64| format!("UPDATE head SET {column} = {value}");
            let altered = value ^ (1_i64 << bit);
            // SQL has no literal for the least number.
            if altered == i64::MIN {
                continue;
            }
            scene.run(&set(altered)).await;
            scene
                .is_found("head", &format!("bit {bit} of {column}"))
                .await;
            scene.run(&set(value)).await;
        }
    }
    let life = scene.tenant.door.store().life().incarnation.to_string();
    for byte in 0..life.len() {
        let other = if &life[byte..=byte] == "a" { "b" } else { "a" };
        let altered = format!("{}{other}{}", &life[..byte], &life[byte + 1..]);
        let set = |life: &str| format!("UPDATE head SET incarnation = '{life}'");
        scene.run(&set(&altered)).await;
        let what = format!("byte {byte} of the incarnation");
        scene.is_found("head", &what).await;
        scene.run(&set(&life)).await;
    }
    let row = sqlx::query("SELECT frontier, checkpoint FROM head")
        .fetch_one(&mut scene.rows)
        .await
        .unwrap();
    let (frontier, note): (Vec<u8>, String) = (row.get("frontier"), row.get("checkpoint"));
    let set = "UPDATE head SET frontier = $1, checkpoint = $2";
    let step = if proves() { 1 } else { 29 };
    for byte in (0..frontier.len()).step_by(step) {
        let mut altered = frontier.clone();
        altered[byte] ^= 1 << (byte % 8);
        let with = sqlx::query(set).bind(altered).bind(note.as_str());
        with.execute(&mut scene.rows).await.unwrap();
        scene
            .is_found("head", &format!("byte {byte} of the frontier"))
            .await;
    }
    for byte in (0..note.len()).step_by(step) {
        // Text stays text: another character stands there.
        let Some((at, old)) = note.char_indices().find(|(at, _)| *at >= byte) else {
            break;
        };
        let other = if old == 'A' { 'B' } else { 'A' };
        let altered = format!("{}{other}{}", &note[..at], &note[at + old.len_utf8()..]);
        let with = sqlx::query(set).bind(frontier.as_slice()).bind(altered);
        with.execute(&mut scene.rows).await.unwrap();
        scene
            .is_found("head", &format!("byte {byte} of the checkpoint"))
            .await;
    }
    let with = sqlx::query(set)
        .bind(frontier.as_slice())
        .bind(note.as_str());
    with.execute(&mut scene.rows).await.unwrap();
    scene.is_sound().await;
}

/// Tiles and the list of keys: rebuilt from nothing but the entries, yet found.
async fn tiles_and_keys(scene: &mut Scene) {
    let row = sqlx::query("SELECT hashes FROM tile WHERE level = 0 AND number = 0")
        .fetch_one(&mut scene.rows)
        .await
        .unwrap();
    let tile: Vec<u8> = row.get("hashes");
    let step = if proves() { 1 } else { 211 };
    let set = "UPDATE tile SET hashes = $1";
    // Of every entry's hash a byte; of the first fifty every one.
    let some = (0..50 * 32)
        .step_by(step)
        .chain((50 * 32..tile.len()).step_by(32 * step));
    for byte in some {
        let mut altered = tile.clone();
        altered[byte] ^= 1 << (byte % 8);
        let with = sqlx::query(set).bind(altered);
        with.execute(&mut scene.rows).await.unwrap();
        scene.is_found("tiles", &format!("byte {byte}")).await;
    }
    // And no proof is read out of a damaged one.
    let mut altered = tile.clone();
    altered[32 * 3] ^= 1;
    sqlx::query(set)
        .bind(altered)
        .execute(&mut scene.rows)
        .await
        .unwrap();
    let told = audit::receipt(scene.tenant.door.store(), 2).await;
    assert!(told.is_err(), "a proof out of a damaged tile");
    let told = audit::consistency(scene.tenant.door.store(), 100, None).await;
    assert!(told.is_err(), "a proof out of a damaged tile");
    sqlx::query(set)
        .bind(tile.as_slice())
        .execute(&mut scene.rows)
        .await
        .unwrap();
    // The root that stands beside it is one of its hashes in the level above.
    let row = sqlx::query("SELECT root FROM tile WHERE level = 0 AND number = 0")
        .fetch_one(&mut scene.rows)
        .await
        .unwrap();
    let root: Vec<u8> = row.get("root");
    let sound = audit::receipt(scene.tenant.door.store(), 300).await;
    let sound = sound.unwrap().unwrap();
    let set_root = "UPDATE tile SET root = $1";
    for byte in (0..root.len()).step_by(if proves() { 1 } else { 5 }) {
        let mut altered = root.clone();
        altered[byte] ^= 1 << (byte % 8);
        let with = sqlx::query(set_root).bind(altered);
        with.execute(&mut scene.rows).await.unwrap();
        scene
            .is_found("tiles", &format!("byte {byte} of the root"))
            .await;
        let told = audit::receipt(scene.tenant.door.store(), 300).await;
        assert!(told.is_err(), "a proof out of a damaged root");
        let told = audit::consistency(scene.tenant.door.store(), 256, None).await;
        assert!(told.is_err(), "a proof out of a damaged root");
    }
    // A tile from before roots were kept is hashed.
    scene.run("UPDATE tile SET root = NULL").await;
    scene.is_sound().await;
    let again = audit::receipt(scene.tenant.door.store(), 300).await;
    assert_eq!(again.unwrap().unwrap(), sound);
    let with = sqlx::query(set_root).bind(root.as_slice());
    with.execute(&mut scene.rows).await.unwrap();
    for sql in [
        "UPDATE tile SET level = 7",
        "UPDATE tile SET number = 9",
        "DELETE FROM tile",
    ] {
        scene.run(sql).await;
        scene.is_found("tiles", sql).await;
        scene.run("DELETE FROM tile").await;
        sqlx::query("INSERT INTO tile (level, number, hashes) VALUES (0, 0, $1)")
            .bind(tile.as_slice())
            .execute(&mut scene.rows)
            .await
            .unwrap();
    }
    sqlx::query("INSERT INTO tile (level, number, hashes) VALUES (0, 1, $1)")
        .bind(tile.as_slice())
        .execute(&mut scene.rows)
        .await
        .unwrap();
    scene.is_found("tiles", "one too many").await;
    scene.run("DELETE FROM tile WHERE number = 1").await;
    let keys = sqlx::query("SELECT version, public, checkpoint FROM log_key ORDER BY version")
        .fetch_all(&mut scene.rows)
        .await
        .unwrap();
    assert_eq!(keys.len(), 2);
    for key in &keys {
        let (version, public): (i64, Vec<u8>) = (key.get("version"), key.get("public"));
        let note: String = key.get("checkpoint");
        let set = "UPDATE log_key SET public = $1, checkpoint = $2 WHERE version = $3";
        for byte in (0..public.len()).step_by(if proves() { 1 } else { 11 }) {
            let mut altered = public.clone();
            altered[byte] ^= 1 << (byte % 8);
            let with = sqlx::query(set).bind(altered).bind(note.as_str());
            with.bind(version).execute(&mut scene.rows).await.unwrap();
            scene
                .is_found("keys", &format!("byte {byte} of version {version}"))
                .await;
        }
        let altered = if note.is_empty() {
            String::new()
        } else {
            note.replacen('\n', "\nA", 2)
        };
        if altered != note {
            let with = sqlx::query(set).bind(public.as_slice()).bind(altered);
            with.bind(version).execute(&mut scene.rows).await.unwrap();
            scene.is_found("keys", "the handover").await;
        }
        let with = sqlx::query(set).bind(public.as_slice()).bind(note.as_str());
        with.bind(version).execute(&mut scene.rows).await.unwrap();
    }
    scene.is_sound().await;
}

async fn put(scene: &mut Scene, row: &Row) {
    sqlx::query("INSERT INTO segment (first_index, entries, leaves, parts, hashes) VALUES ($1, $2, $3, $4, $5)")
        .bind(row.first)
        .bind(row.entries)
        .bind(row.blobs[0].as_slice())
        .bind(row.blobs[1].as_slice())
        .bind(row.blobs[2].as_slice())
        .execute(&mut scene.rows)
        .await
        .unwrap();
}

async fn take(scene: &mut Scene, first: i64) {
    scene
        .run(&format!("DELETE FROM segment WHERE first_index = {first}"))
        .await;
}

/// Whole rows: deleted, swapped, put elsewhere, brought in from another organization.
async fn whole_rows(scene: &mut Scene, theirs: &[Row]) {
    let all = scene.segments.clone();
    let step = if proves() { 1 } else { 13 };
    for row in all.iter().step_by(step) {
        take(scene, row.first).await;
        scene.is_found("rows deleted", &row.first.to_string()).await;
        put(scene, row).await;
    }
    for pair in all.windows(2).step_by(step) {
        let [one, two] = pair else { unreachable!() };
        for (here, there) in [(one, two), (two, one)] {
            for (column, blob) in BLOBS.iter().zip(&there.blobs) {
                scene.set_blob(here.first, column, blob).await;
            }
        }
        scene.is_found("rows swapped", &one.first.to_string()).await;
        for row in pair {
            for (column, blob) in BLOBS.iter().zip(&row.blobs) {
                scene.set_blob(row.first, column, blob).await;
            }
        }
    }
    // An old batch once more, behind the end: as it was, and in the place of the next one.
    let end = all.last().map(|row| row.first + row.entries).unwrap();
    for row in all.iter().step_by(step) {
        let again = Row {
            first: end,
            ..row.clone()
        };
        put(scene, &again).await;
        scene
            .is_found("rows replayed", &row.first.to_string())
            .await;
        take(scene, end).await;
    }
    let ends = all.len().saturating_sub(1);
    for (mine, foreign) in all.iter().zip(theirs).take(ends).step_by(step) {
        for (column, blob) in BLOBS.iter().zip(&foreign.blobs) {
            scene.set_blob(mine.first, column, blob).await;
        }
        scene
            .is_found("rows of another organization", &mine.first.to_string())
            .await;
        for (column, blob) in BLOBS.iter().zip(&mine.blobs) {
            scene.set_blob(mine.first, column, blob).await;
        }
    }
    scene.is_sound().await;
}

/// The end cut off: without its head it is found; with a head of then only against what was kept elsewhere, and the check says so.
async fn the_end_cut_off(scene: &mut Scene) {
    let head = audit::head(scene.tenant.door.store()).await.unwrap();
    let size = scene.kept.checkpoint().size;
    let cut = i64::try_from(size).unwrap();
    let gone: Vec<Row> = scene
        .segments
        .iter()
        .filter(|row| row.first >= cut)
        .cloned()
        .collect();
    assert!(!gone.is_empty());
    for row in gone.iter().rev() {
        take(scene, row.first).await;
        scene.is_found("truncation", &row.first.to_string()).await;
    }
    // The whole database as it was: its own evidence says nothing against it.
    let then = cedarkeep::log::tree::load_edge(scene.tenant.door.store().database(), size)
        .await
        .unwrap();
    let kept_time = {
        let shown = audit::entries(scene.tenant.door.store(), size - 1, 1)
            .await
            .unwrap();
        let entry = cedarkeep::log::entry::Entry::parse(&shown[0].leaf).unwrap();
        entry.time.micros()
    };
    sqlx::query("UPDATE head SET size = $1, frontier = $2, last_time = $3, checkpoint = $4")
        .bind(cut)
        .bind(then.frontier().unwrap().to_bytes())
        .bind(kept_time)
        .bind(scene.kept.to_string())
        .execute(&mut scene.rows)
        .await
        .unwrap();
    let report = scene.check().await;
    assert!(report.is_sound(), "{:?}", report.findings);
    let says_so = |one: &Unchecked| matches!(one, Unchecked::RollBack { kept: 0 });
    assert!(report.unchecked.iter().any(says_so));
    let now = SignedCheckpoint::parse(head.checkpoint.as_bytes()).unwrap();
    let (store, origin) = (scene.tenant.door.store(), scene.tenant.door.origin());
    let report = check::verify(store, origin, &[now.into()], |_, _| {})
        .await
        .unwrap();
    let back = |one: &Finding| matches!(one, Finding::WentBack { .. });
    assert!(report.findings.iter().any(back), "{:?}", report.findings);
    *scene
        .tried
        .entry("roll-back past a kept checkpoint")
        .or_default() += 1;
    for row in &gone {
        put(scene, row).await;
    }
    sqlx::query("UPDATE head SET size = $1, frontier = $2, last_time = $3, checkpoint = $4")
        .bind(i64::try_from(head.size).unwrap())
        .bind(head.frontier.as_slice())
        .bind(head.last_time)
        .bind(head.checkpoint.as_str())
        .execute(&mut scene.rows)
        .await
        .unwrap();
    scene.is_sound().await;
}

async fn whatever_is_tampered_with_is_found(database: Database) {
    let mut chance = Chance::of_this_run("tamper");
    let begun = std::time::Instant::now();
    let mut scene = Scene::set(database).await;
    scene.is_sound().await;
    let other = scene.service.tenant("globex").await;
    scene.service.things(&other).await;
    let theirs = segments(&mut scene.service.database(&other).await).await;
    every_byte(&mut scene).await;
    scene.grow().await;
    random_bytes(&mut scene, &mut chance).await;
    numbers_and_head(&mut scene).await;
    tiles_and_keys(&mut scene).await;
    whole_rows(&mut scene, &theirs).await;
    the_end_cut_off(&mut scene).await;
    let entries = audit::head(scene.tenant.door.store()).await.unwrap().size;
    println!(
        "tampering with {entries} entries in {} segments, all found: {} in {:.0} s",
        scene.segments.len(),
        json!(scene.tried),
        begun.elapsed().as_secs_f64()
    );
    assert!(scene.tried.values().sum::<usize>() > 800);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_tampered_with_is_found_on_sqlite() {
    whatever_is_tampered_with_is_found(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_tampered_with_is_found_on_postgresql() {
    let server = postgres::start();
    whatever_is_tampered_with_is_found(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanged_databases_do_not_open() {
    let service = Service::open().await;
    let (acme, globex) = (service.tenant("acme").await, service.tenant("globex").await);
    let files = [&acme, &globex].map(|tenant| service.file(tenant));
    for tenant in [&acme, &globex] {
        tenant.door.close().await;
    }
    let aside = files[0].with_extension("aside");
    std::fs::rename(&files[0], &aside).unwrap();
    std::fs::rename(&files[1], &files[0]).unwrap();
    std::fs::rename(&aside, &files[1]).unwrap();
    for tenant in [&acme, &globex] {
        let refused = service.app().door(tenant.door.store().id()).await;
        assert!(refused.is_err());
    }
}
