//! A live store opened by somebody else's code: from the keyring down to the content, with PyPI's `cryptography`, which has Cobblestone-256
//! of its own (`tests/interop/python/open_store.py`).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use cedarkeep::config::Database;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection as _, Row as _};

use super::content::bytes;
use super::harness::{Service, Tenant};
use crate::harness::postgres;

/// What the other program says to these rows, and whether it refused none of them.
fn opened(rows: &Value) -> (Vec<Value>, bool) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new(root.join("target/interop/python/bin/python"))
        .arg(root.join("tests/interop/python/open_store.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{error}; `make test` installs the checkers"));
    let mut stdin = child.stdin.take().unwrap();
    let text = rows.to_string();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let told = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (told.collect(), output.status.success())
}

async fn each(
    rows: &mut AnyConnection,
    sql: &'static str,
    of: impl Fn(&AnyRow) -> Value,
) -> Vec<Value> {
    let found = sqlx::query(sql).fetch_all(rows).await.unwrap();
    found.iter().map(of).collect()
}

fn text(row: &AnyRow, column: &str) -> Value {
    json!(row.get::<String, _>(column))
}

fn number(row: &AnyRow, column: &str) -> Value {
    json!(row.get::<i64, _>(column))
}

fn hex(row: &AnyRow, column: &str) -> Value {
    json!(HEXLOWER.encode(&row.get::<Vec<u8>, _>(column)))
}

/// All that the other program needs, read past the service: the keyring, and rows as they are stored.
async fn stored(service: &Service, tenant: &Tenant) -> Value {
    let config = service.app().config();
    let keyring = std::fs::read_to_string(config.keyring()).unwrap();
    let mut rows = service.database(tenant).await;
    let id = tenant.door.store().id().to_string();
    let control = match &config.data.database {
        Database::Sqlite => format!("sqlite://{}", config.data.dir.join("control.db").display()),
        Database::Postgres(url) => url.clone(),
    };
    let mut control = AnyConnection::connect(&control).await.unwrap();
    let sql = "SELECT key_version, key_wrapped, key_check FROM tenant WHERE id = $1";
    let key = sqlx::query(sql).bind(&id).fetch_one(&mut control);
    let key = key.await.unwrap();
    let sql = "SELECT first_index, incarnation FROM life ORDER BY first_index";
    let lives = each(
        &mut rows,
        sql,
        |row| json!({"first": number(row, "first_index"), "incarnation": text(row, "incarnation")}),
    );
    let lives = lives.await;
    let sql = "SELECT purpose, version, wrapped, key_check FROM data_key";
    let data_keys = each(&mut rows, sql, |row| {
        json!({
            "purpose": text(row, "purpose"), "version": number(row, "version"),
            "wrapped": hex(row, "wrapped"), "key_check": hex(row, "key_check"),
        })
    });
    let data_keys = data_keys.await;
    let sql = "SELECT subject, wrapped, key_check FROM subject_key";
    let subject_keys = each(
        &mut rows,
        sql,
        |row| json!({"subject": text(row, "subject"), "wrapped": hex(row, "wrapped"), "key_check": hex(row, "key_check")}),
    );
    let subject_keys = subject_keys.await;
    let sql = "SELECT id, from_index, body FROM state";
    let state = each(
        &mut rows,
        sql,
        |row| json!({"id": text(row, "id"), "from_index": number(row, "from_index"), "body": hex(row, "body")}),
    );
    let state = state.await;
    let sql = "SELECT version, resource, from_index, subject, wrapped, key_check, body, shelved FROM content";
    let mut content = each(&mut rows, sql, |row| {
        json!({
            "version": text(row, "version"), "resource": text(row, "resource"), "subject": text(row, "subject"),
            "from_index": number(row, "from_index"), "wrapped": hex(row, "wrapped"),
            "key_check": hex(row, "key_check"), "body": hex(row, "body"),
            "shelf": (row.get::<i64, _>("shelved") == 1).then(String::new),
        })
    })
    .await;
    for row in &mut content {
        if row["shelf"].is_string() {
            let version = row["version"].as_str().unwrap();
            let sealed = match config.data.database {
                Database::Sqlite => std::fs::read(service.shelf(tenant).join(version)).unwrap(),
                Database::Postgres(_) => {
                    let sql = "SELECT bytes FROM content_piece WHERE version = $1 ORDER BY number";
                    let pieces = sqlx::query(sql).bind(version).fetch_all(&mut rows).await;
                    let pieces = pieces.unwrap();
                    pieces
                        .iter()
                        .flat_map(|piece| piece.get::<Vec<u8>, _>("bytes"))
                        .collect()
                }
            };
            row["shelf"] = json!(HEXLOWER.encode(&sealed));
        }
    }
    json!({
        "keyring": keyring, "tenant": id, "lives": lives, "data_keys": data_keys, "subject_keys": subject_keys,
        "tenant_key": {
            "version": number(&key, "key_version"), "wrapped": hex(&key, "key_wrapped"), "key_check": hex(&key, "key_check"),
        },
        "state": state, "content": content,
    })
}

async fn somebody_elses_code_opens_what_is_stored(database: Database) {
    let service = Service::still(database).await;
    let tenant = service.tenant("acme").await;
    let things = service.things(&tenant).await;
    let mut written = BTreeMap::new();
    let mut write = async |method: &str, path: String, content: Vec<u8>, media: &str| {
        let put = service.by(&tenant, tenant.admin, method, &path);
        let told = put.content(media, content.clone()).send().await;
        assert!([200, 201].contains(&told.status), "{}", told.body);
        let told = told.body;
        let version = told["version"].as_str().or_else(|| told["id"].as_str());
        written.insert(version.unwrap().to_owned(), (content, media.to_owned()));
    };
    // Short and long, empty, at the border of a row; a person's and the organization's.
    for length in [0, 5, 16 * 1024, 16 * 1024 + 1, (1 << 20) + 77_777] {
        let document = format!("/v1/documents/{}/content", things.document);
        write("PUT", document, bytes(length), "application/x-budget").await;
        let messages = format!("/v1/threads/{}/messages", things.thread);
        write("POST", messages, bytes(length), "text/plain").await;
    }
    let memory = format!("/v1/memory/{}/content", things.memory);
    write("PUT", memory, bytes(100_000), "text/x-terms").await;
    for (path, id) in [("tools", &things.tool), ("agents", &things.agent)] {
        write(
            "PUT",
            format!("/v1/{path}/{id}/content"),
            bytes(77),
            "application/json",
        )
        .await;
    }
    let mut rows = stored(&service, &tenant).await;
    let (told, sound) = opened(&rows);
    assert!(sound, "{told:?}");
    let states = rows["state"].as_array().unwrap().len();
    assert!(
        states > 15 && told.len() == states + written.len(),
        "{states}"
    );
    for one in &told {
        let text = |name: &str| HEXLOWER.decode(one[name].as_str().unwrap().as_bytes());
        if one["state"].is_string() {
            let body: Value = serde_json::from_slice(&text("text").unwrap()).unwrap();
            assert!(body.is_object(), "{body}");
            continue;
        }
        let (content, media) = written.remove(one["version"].as_str().unwrap()).unwrap();
        assert!(text("content").unwrap() == content, "{}", one["version"]);
        assert_eq!(one["label"]["media_type"], media);
        assert_eq!(one["label"]["length"], content.len());
        assert_eq!(one["label"]["author"], json!(tenant.admin));
    }
    assert!(written.is_empty());
    // It refuses what was moved or altered, as ours does.
    let contents = rows["content"].as_array_mut().unwrap();
    let count = contents.len();
    for row in contents.iter_mut() {
        let version = row["version"].as_str().unwrap().replace("ver_", "msg_");
        row["version"] = json!(version.replacen('a', "b", 1) + "x");
    }
    let (told, sound) = opened(&rows);
    let refused = told.iter().filter(|one| one["refused"].is_string());
    assert!(!sound && refused.count() == count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_code_opens_what_is_stored_on_sqlite() {
    somebody_elses_code_opens_what_is_stored(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_code_opens_what_is_stored_on_postgresql() {
    let server = postgres::start();
    somebody_elses_code_opens_what_is_stored(Database::Postgres(server.url())).await;
}
