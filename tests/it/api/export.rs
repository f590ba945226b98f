//! The log taken away over HTTP: every format, whole or visibly broken, by those alone who may, and recorded first.

use std::collections::BTreeSet;

use cedarkeep::config::Database;
use cedarkeep::decide::{Asker, upkeep};
use cedarkeep::directory::object::{Plan, Scope};
use cedarkeep::directory::organization;
use cedarkeep::log::Event;
use cedarkeep::log::bundle::{Unseen, Verdict, verify};
use cedarkeep::log::checkpoint::{SignedCheckpoint, VerifierKey};
use cedarkeep::log::entry::Outcome;
use cedarkeep::log::merkle::{Hash, leaf_hash};
use cedarkeep::log::tiles::{Tile, inclusion_proof};
use cedarkeep::log::verify::Unchecked;
use cedarkeep::log::{flaw::Flaw, merkle::verify_inclusion};
use chrono::Utc;
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::harness::{Service, Tenant, key};
use crate::harness::postgres;

/// Names that are hard to write down, or that a spreadsheet would reckon.
const HARD: [&str; 6] = [
    "=HYPERLINK(\"http://x\",\"y\")",
    "+1",
    "@SUM(1)\r\nnext",
    "\0nul",
    "  -1\t",
    "\u{202e}\"quoted\", \u{200f}plain\n",
];

/// What a question takes of it: an id has no control characters, nor any that change the direction.
fn fit_for_an_id(text: &str) -> String {
    text.chars()
        .filter(|char| (' '..='~').contains(char))
        .collect()
}

/// Entries whose parts are hard to write down, and a decision about somebody with such a name.
async fn hard_entries(service: &Service, tenant: &Tenant) {
    for text in HARD {
        let noted = tenant.door.note(
            Asker::operator(),
            Event::AuditLogRead,
            Outcome::Ok,
            json!(text),
        );
        noted.await.unwrap();
        let id = fit_for_an_id(text);
        let question = json!({
            "subject": {"type": "User", "id": id},
            "action": {"name": "thread.read"},
            "resource": {"type": "Thread", "id": id},
        });
        let asked = service
            .ask("POST", "/access/v1/evaluation")
            .key(&tenant.key)
            .header("x-request-id", "=1+1")
            .body(&question);
        let told = asked.send().await;
        assert_eq!(told.status, 200, "{}", String::from_utf8_lossy(&told.bytes));
    }
}

async fn exported(service: &Service, tenant: &Tenant, query: &str) -> Vec<u8> {
    let path = format!("/v1/audit/export?{query}");
    let told = service.get(tenant, tenant.admin, &path).await;
    assert_eq!(told.status, 200, "{}", told.body);
    let named = told.headers["content-disposition"].to_str().unwrap();
    assert!(named.starts_with("attachment; filename=\"org_"), "{named}");
    told.bytes
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn judged(bundle: &[u8], keys: &[VerifierKey]) -> Verdict {
    verify(bundle, keys, &[], |_, _| {}).unwrap()
}

/// The content of a file of a bundle.
fn file(bundle: &[u8], wanted: &str) -> Vec<u8> {
    let mut archive = tar::Archive::new(bundle);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().to_str() == Some(wanted) {
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            return content;
        }
    }
    panic!("no `{wanted}`");
}

async fn every_format_has_every_entry(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    service.things(&tenant).await;
    hard_entries(&service, &tenant).await;
    let keys = [tenant.door.verifier()];

    let bundle = exported(&service, &tenant, "format=bundle").await;
    let verdict = judged(&bundle, &keys);
    assert!(verdict.is_sound(), "{:?}", verdict.wrong);
    assert!(verdict.parts > verdict.entries && verdict.entries > 40);
    let mut altered = bundle.clone();
    let at = altered.windows(8).position(|eight| eight == b"category");
    altered[at.unwrap()] ^= 1;
    assert!(!judged(&altered, &keys).is_sound());

    // The views have the same entries, each with its index and leaf hash, and those that came since.
    let leaves = file(&bundle, "records.jsonl");
    let leaves: Vec<&[u8]> = leaves
        .trim_ascii_end()
        .split(|byte| *byte == b'\n')
        .collect();
    let json_lines = lines(&exported(&service, &tenant, "format=jsonl").await);
    let events = lines(&exported(&service, &tenant, "format=ocsf").await);
    let table = exported(&service, &tenant, "format=csv").await;
    let mut table = csv::Reader::from_reader(table.as_slice());
    let columns = table.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let cell = |row: usize, column: &str| -> String {
        let at = columns.iter().position(|name| name == column).unwrap();
        rows[row][at].to_owned()
    };
    for (index, leaf) in leaves.iter().enumerate() {
        let (number, hash) = (index.to_string(), leaf_hash(leaf).to_string());
        let leaf: Value = serde_json::from_slice(leaf).unwrap();
        let (line, event) = (&json_lines[index], &events[index]);
        assert_eq!((&line["index"], &line["leaf"]), (&json!(number), &leaf));
        assert_eq!(event["metadata"]["sequence"], json!(index));
        assert_eq!(event["metadata"]["uid"], json!(hash));
        assert_eq!(event["unmapped"]["leaf"], leaf);
        assert_eq!(
            (cell(index, "index"), cell(index, "leaf_hash")),
            (number, hash)
        );
        assert_eq!(json!(cell(index, "event")), leaf["event"]);
        has_what_the_class_asks_for(event);
    }

    // What is hard to write down is in all of them; in the table nothing of it is a formula.
    for text in HARD {
        let noted = |line: &&Value| line["details"] == json!(text);
        let id = fit_for_an_id(text);
        let asked = |line: &&Value| line["request"]["subject"]["id"] == json!(id);
        let row = json_lines.iter().position(|line| noted(&line)).unwrap();
        assert!(json_lines.iter().any(|line| asked(&line)));
        assert_eq!(events[row]["unmapped"]["parts"]["details"], json!(text));
        let shown = cell(row, "part_details");
        assert!(shown == text || shown == format!("'{text}"), "{shown:?}");
    }
    let reckoned = |cell: &str| {
        let first = cell.trim_start().chars().next().unwrap_or('x');
        "=+-@\0".contains(first) || cell.starts_with(['\t', '\r', '\n'])
    };
    for row in &rows {
        assert!(!row.iter().any(reckoned), "{row:?}");
    }
    let has = |text: &str| {
        rows.iter()
            .any(|row| row.iter().any(|cell| cell.contains(text)))
    };
    assert!(has("'=HYPERLINK") && has("'+1") && has("\"request_id\":\"=1+1\""));

    // Conditions choose as a query does, and are recorded.
    let denied = lines(&exported(&service, &tenant, "format=jsonl&outcome=deny").await);
    let wanted = json_lines
        .iter()
        .filter(|line| line["leaf"]["outcome"] == "deny");
    assert_eq!(
        denied.iter().collect::<Vec<_>>(),
        wanted.collect::<Vec<_>>()
    );
    let middle = json_lines[json_lines.len() / 2]["leaf"]["time"]
        .as_str()
        .unwrap();
    let early = lines(&exported(&service, &tenant, &format!("format=jsonl&to={middle}")).await);
    assert_eq!(early, json_lines[..early.len()]);
    assert_eq!(json_lines[early.len()]["leaf"]["time"], middle);
    let last = lines(&exported(&service, &tenant, "format=jsonl&event=audit_log.exported").await);
    let formats: Vec<&str> = last
        .iter()
        .map(|line| line["details"]["format"].as_str().unwrap())
        .collect();
    assert_eq!(
        formats,
        ["bundle", "jsonl", "ocsf", "csv", "jsonl", "jsonl"]
    );
    assert_eq!(last[4]["details"]["query"], json!({"outcome": "deny"}));
}

/// The required attributes of OCSF's API Activity, and the constraints of its objects.
fn has_what_the_class_asks_for(event: &Value) {
    let number = |name: &str| event[name].as_u64().unwrap();
    assert_eq!((number("category_uid"), number("class_uid")), (6, 6003));
    assert_eq!(number("type_uid"), 600_300 + number("activity_id"));
    assert!([1, 2, 3, 4, 99].contains(&number("activity_id")));
    assert!((1..=6).contains(&number("severity_id")) && (1..=2).contains(&number("status_id")));
    assert!(number("time") > 1_600_000_000_000 && number("time") < 100_000_000_000_000);
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap();
    assert_eq!(text("/metadata/version"), "1.3.0");
    assert_eq!(text("/metadata/product/vendor_name"), "Cedarkeep");
    assert!(!text("/api/operation").is_empty());
    assert!(!text("/actor/app_name").is_empty());
    if let Some(user) = event["actor"].get("user") {
        assert!(user["uid"].is_string());
    }
    let endpoint = event["src_endpoint"].as_object().unwrap();
    let known = ["ip", "name", "svc_name"];
    assert!(known.iter().any(|name| endpoint.contains_key(*name)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_format_has_every_entry_on_sqlite() {
    every_format_has_every_entry(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_format_has_every_entry_on_postgresql() {
    let server = postgres::start();
    every_format_has_every_entry(Database::Postgres(server.url())).await;
}

async fn a_bundle_outlives_rotation_erasure_and_retention(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let door = &tenant.door;
    decisions(&service, &tenant, 6).await;
    let old = [door.verifier()];
    let rotated = service.post(&tenant, tenant.admin, "/v1/audit/key", json!({}));
    assert_eq!(rotated.await.status, 200);
    let new = [door.verifier()];
    assert_ne!(old, new);
    let bundle = exported(&service, &tenant, "format=bundle").await;
    for (keys, rotations, older) in [(&old, 1, 0), (&new, 0, 1)] {
        let verdict = judged(&bundle, keys);
        assert!(verdict.is_sound(), "{:?}", verdict.wrong);
        assert_eq!(verdict.rotations, rotations);
        assert_eq!(verdict.signed_by.as_ref(), new.first());
        let unseen = Unseen::OlderKeys { count: older };
        assert_eq!(verdict.unchecked.contains(&unseen), older > 0);
    }
    // Of somebody who is erased the hashes are left, and everything holds.
    let erasure = format!("/v1/users/{}/erasure", tenant.member);
    let erased = service.post(&tenant, tenant.admin, &erasure, json!({}));
    assert!(erased.await.status < 300);
    upkeep::round(door, Utc::now(), false).await.unwrap();
    let bundle = exported(&service, &tenant, "format=bundle").await;
    let verdict = judged(&bundle, &old);
    assert!(verdict.is_sound(), "{:?}", verdict.wrong);
    let gone = verdict.unchecked.iter().find_map(|unseen| match unseen {
        Unseen::Log(Unchecked::PartsAbsent { count }) => Some(*count),
        _ => None,
    });
    assert!(gone.is_some_and(|gone| gone >= 300), "{gone:?}");
    let table = exported(&service, &tenant, "format=csv&event=decision.made").await;
    assert!(String::from_utf8(table).unwrap().contains("\"[erased]\""));
    // What need not be kept any more goes; the bundle begins behind it.
    let days = json!({"retention_days": 30});
    let asked = service.by(&tenant, tenant.admin, "PUT", "/v1/organization/retention");
    assert_eq!(asked.body(&days).send().await.status, 200);
    let later = Utc::now() + chrono::Duration::days(31);
    for _ in 0..2 {
        upkeep::round(door, later, true).await.unwrap();
    }
    let first = door.tip().minimum;
    assert!(first >= 256, "{first}");
    let bundle = exported(&service, &tenant, "format=bundle").await;
    let verdict = judged(&bundle, &new);
    assert!(verdict.is_sound(), "{:?}", verdict.wrong);
    let manifest = verdict.manifest.unwrap();
    let held = (manifest.first(), manifest.size() - first);
    assert_eq!(held, (first, verdict.entries));
    let pruned = Unseen::Log(Unchecked::Pruned { count: first });
    assert!(verdict.unchecked.contains(&pruned));
    let lines = lines(&exported(&service, &tenant, "format=jsonl").await);
    assert_eq!(lines[0]["index"], first.to_string());
    for (path, status) in [("entries/000", 404), ("0/000", 200)] {
        let path = format!("/v1/audit/tile/{path}");
        let told = service.get(&tenant, tenant.admin, &path).await;
        assert_eq!(told.status, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_outlives_rotation_erasure_and_retention_on_sqlite() {
    a_bundle_outlives_rotation_erasure_and_retention(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_outlives_rotation_erasure_and_retention_on_postgresql() {
    let server = postgres::start();
    a_bundle_outlives_rotation_erasure_and_retention(Database::Postgres(server.url())).await;
}

/// Decisions, many at a time.
pub(super) async fn decisions(service: &Service, tenant: &Tenant, calls: usize) {
    let question = json!({
        "subject": {"type": "User", "id": tenant.member},
        "action": {"name": "thread.create"},
        "resource": {"type": "Organization", "id": tenant.org},
    });
    let batch = json!({"evaluations": vec![question; 50]});
    for _ in 0..calls {
        let asked = service
            .ask("POST", "/access/v1/evaluations")
            .key(&tenant.key)
            .body(&batch);
        asked.send().await.ok();
    }
}

async fn an_export_is_of_one_moment_while_the_log_grows(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    decisions(&service, &tenant, 8).await;
    let keys = [tenant.door.verifier()];
    let mut sizes = BTreeSet::new();
    let growing = decisions(&service, &tenant, 12);
    let exporting = async {
        for _ in 0..4 {
            let bundle = exported(&service, &tenant, "format=bundle").await;
            let verdict = judged(&bundle, &keys);
            assert!(verdict.is_sound(), "{:?}", verdict.wrong);
            sizes.insert(verdict.entries);
            let lines = lines(&exported(&service, &tenant, "format=jsonl").await);
            let indexes = lines
                .iter()
                .map(|line| line["index"].as_str().unwrap().to_owned());
            let expected = (0..lines.len()).map(|index| index.to_string());
            assert!(indexes.eq(expected));
        }
    };
    tokio::join!(growing, exporting);
    assert!(
        sizes.len() == 4 && *sizes.first().unwrap() > 400,
        "{sizes:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_of_one_moment_while_the_log_grows_on_sqlite() {
    an_export_is_of_one_moment_while_the_log_grows(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_of_one_moment_while_the_log_grows_on_postgresql() {
    let server = postgres::start();
    an_export_is_of_one_moment_while_the_log_grows(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_exported_by_those_who_may_alone() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let path = "/v1/audit/export?format=jsonl";
    let may = async |user| service.get(&tenant, user, path).await.status;
    assert_eq!(may(tenant.admin).await, 200);
    assert_eq!(may(tenant.member).await, 403);
    assert_eq!(may(tenant.viewer).await, 403);
    let narrow = key(&tenant.door, &[Scope::Decide, Scope::DirectoryRead]).await;
    let asked = service.ask("GET", path).key(&narrow).user(tenant.admin);
    asked.send().await.is_problem(403);
    // It is recorded on every plan, and taken away from Business up.
    for (plan, status) in [(Plan::Starter, 403), (Plan::Business, 200)] {
        tenant
            .door
            .operate(move |by, snapshot| organization::set_plan(by, snapshot, plan))
            .await
            .unwrap();
        assert_eq!(may(tenant.admin).await, status, "{plan:?}");
    }
    for (query, said) in [
        ("", "`format` must be"),
        ("format=pdf", "`format` must be"),
        ("format=csv&format=csv", "is there twice"),
        ("format=csv&colour=red", "unknown parameter"),
        ("format=csv&event=no.such", "`event` must be"),
        (
            "format=csv&from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z",
            "`from` is not before `to`",
        ),
        ("format=bundle&outcome=deny", "leave the conditions away"),
    ] {
        let path = format!("/v1/audit/export?{query}");
        let told = service.get(&tenant, tenant.admin, &path).await;
        assert!(
            told.is_problem(400).contains(said),
            "{query}: {}",
            told.body
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_damaged_log_is_refused_or_visibly_broken() {
    // The keeper of the log would notice, and close the organization.
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    decisions(&service, &tenant, 20).await;
    let file = format!("sqlite://{}", service.file(&tenant).display());
    let mut database = sqlx::AnyConnection::connect(&file).await.unwrap();
    sqlx::query("DELETE FROM segment WHERE first_index = (SELECT MAX(first_index) FROM segment WHERE first_index < 900)")
        .execute(&mut database)
        .await
        .unwrap();
    for format in ["jsonl", "csv", "ocsf"] {
        let path = format!("/v1/audit/export?format={format}");
        let asked = service.by(&tenant, tenant.admin, "GET", &path);
        let (status, whole) = asked.streamed().await;
        assert!(status == 200 && whole.is_err(), "{format}");
    }
    let path = "/v1/audit/export?format=bundle";
    let told = service.get(&tenant, tenant.admin, path).await;
    assert!(
        told.is_problem(503).contains("audit verify"),
        "{}",
        told.body
    );
    // What was cut off and what came to nothing is in the log as well.
    let path = "/v1/audit/entries?event=audit_log.exported&outcome=failed&limit=4";
    let failed = service.get(&tenant, tenant.admin, path).await.ok();
    let formats: Vec<&str> = failed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["details"]["format"].as_str().unwrap())
        .collect();
    assert_eq!(formats, ["bundle", "ocsf", "csv", "jsonl"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_entries_were_exchanged_is_not_exported() {
    // The keeper of the log would notice, and close the organization.
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    decisions(&service, &tenant, 3).await;
    let file = format!("sqlite://{}", service.file(&tenant).display());
    let mut database = sqlx::AnyConnection::connect(&file).await.unwrap();
    sqlx::query("UPDATE segment SET hashes = CAST(substr(hashes, 33) || substr(hashes, 1, 32) AS BLOB) WHERE first_index = (SELECT MAX(first_index) FROM segment)")
        .execute(&mut database)
        .await
        .unwrap();
    let told = service
        .get(&tenant, tenant.admin, "/v1/audit/export?format=bundle")
        .await;
    assert!(
        told.is_problem(503).contains("audit verify"),
        "{}",
        told.body
    );
}

async fn tiles_are_those_of_the_checkpoint(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    decisions(&service, &tenant, 7).await;
    let asked = service.by(&tenant, tenant.admin, "GET", "/v1/audit/checkpoint");
    let told = asked.header("accept", "text/plain").send().await;
    assert_eq!(told.headers["content-type"], "text/plain; charset=utf-8");
    let note = SignedCheckpoint::parse(&told.bytes).unwrap();
    note.verify(&[tenant.door.verifier()]).unwrap();
    let (size, root) = (note.checkpoint().size, note.checkpoint().root);
    assert!(size > 350);
    let get = async |path: String| {
        let path = format!("/v1/audit/{path}");
        service.get(&tenant, tenant.admin, &path).await
    };
    let width = size - 256;
    let mut leaves = Vec::new();
    for path in [
        "tile/entries/000".to_owned(),
        format!("tile/entries/001.p/{width}"),
    ] {
        let mut rest = get(path).await.bytes;
        while !rest.is_empty() {
            let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            let after = rest.split_off(2 + length);
            leaves.push(leaf_hash(&rest[2..]));
            rest = after;
        }
    }
    assert_eq!(leaves.len() as u64, size);
    // A stranger who has the tiles proves each entry under the checkpoint's root.
    let mut held = std::collections::BTreeMap::new();
    for path in [
        "tile/0/000".to_owned(),
        format!("tile/0/001.p/{width}"),
        "tile/1/000.p/1".to_owned(),
    ] {
        let told = get(path.clone()).await;
        assert_eq!(told.headers["content-type"], "application/octet-stream");
        held.insert(Tile::parse(&path).unwrap(), told.bytes);
    }
    for index in [0, 17, 255, 256, size - 1] {
        let proof: Vec<Hash> = inclusion_proof(index, size, |tile| {
            held.get(&tile)
                .cloned()
                .ok_or_else(|| Flaw::TileMissing { path: tile.path() })
        })
        .unwrap();
        let leaf = &leaves[usize::try_from(index).unwrap()];
        verify_inclusion(leaf, index, size, &proof, &root).unwrap();
    }
    // A narrower tile of an earlier size is the beginning of the wider one.
    let narrow = get("tile/0/000.p/3".to_owned()).await.bytes;
    let whole = &held[&Tile::parse("tile/0/000").unwrap()];
    assert_eq!(narrow, whole[..96]);
    for path in [
        "tile/0/001",
        "tile/0/002.p/1",
        "tile/1/000",
        "tile/2/000.p/1",
        "tile/0/x999/999",
        "tile/0/0",
        "tile/entries/002",
        "tile/entries/1",
        "tile/0/000.p/256",
        "tile/63/x999/x999/x999/x999/x999/999",
        "tile/..%2f..",
    ] {
        get(path.to_owned()).await.is_problem(404);
    }
    let path = "/v1/audit/tile/0/000";
    service
        .get(&tenant, tenant.member, path)
        .await
        .is_problem(403);
    let read = "/v1/audit/entries?event=audit_log.read&limit=1";
    let read = service.get(&tenant, tenant.admin, read).await.ok();
    assert_eq!(read["items"][0]["details"]["tile"], "tile/0/000.p/3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiles_are_those_of_the_checkpoint_on_sqlite() {
    tiles_are_those_of_the_checkpoint(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiles_are_those_of_the_checkpoint_on_postgresql() {
    let server = postgres::start();
    tiles_are_those_of_the_checkpoint(Database::Postgres(server.url())).await;
}
