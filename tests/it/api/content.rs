//! Content over HTTP: written, read whole and in part, by version; refused before a byte of it is touched; broken off without a trace.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use cedarkeep::config::Database;
use cedarkeep::crypto::cobblestone::text_len;
use cedarkeep::crypto::sealing;
use cedarkeep::decide::upkeep;
use cedarkeep::directory::object::Scope;
use futures_util::stream;
use serde_json::{Value, json};
use sqlx::Row as _;

use super::harness::{Service, Tenant, Told, key};
use crate::harness::postgres;

const MIB: usize = 1 << 20;

/// Bytes that are the same at no two places for a long while.
pub(super) fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut made = Vec::with_capacity(length + 8);
    while made.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        made.extend_from_slice(&state.to_le_bytes());
    }
    made.truncate(length);
    made
}

async fn put(service: &Service, tenant: &Tenant, place: &str, body: Vec<u8>) -> Told {
    service
        .by(tenant, tenant.admin, "PUT", place)
        .content("text/plain", body)
        .send()
        .await
}

async fn document(service: &Service, tenant: &Tenant) -> String {
    let body = json!({"name": "Budget", "audience": tenant.everybody});
    let made = service.post(tenant, tenant.admin, "/v1/documents", body);
    format!("/v1/documents/{}/content", made.await.id())
}

/// How many versions there are, pieces of one on PostgreSQL, and files on the shelf.
pub(super) async fn kept(service: &Service, tenant: &Tenant) -> (i64, i64, usize) {
    let mut database = service.database(tenant).await;
    let mut count = async |sql: &'static str| {
        let row = sqlx::query(sql).fetch_one(&mut database).await;
        row.map(|row| row.get::<i64, _>(0)).unwrap_or_default()
    };
    let rows = count("SELECT count(*) FROM content").await;
    let pieces = count(
        "SELECT (SELECT count(*) FROM content_piece) + (SELECT count(*) FROM content_upload)",
    )
    .await;
    (rows, pieces, files(&service.shelf(tenant)))
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let count = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => files(&entry.path()),
        false => 1,
    };
    entries.map(|entry| count(entry.unwrap())).sum()
}

/// The newest entries of these events.
pub(super) async fn events(service: &Service, tenant: &Tenant, event: &str) -> Vec<Value> {
    let path = format!("/v1/audit/entries?event={event}&limit=50");
    let told = service.get(tenant, tenant.admin, &path).await.ok();
    told["items"].as_array().unwrap().clone()
}

async fn content_goes_in_and_comes_out(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let place = document(&service, &tenant).await;
    let get = async |place: &str| service.get(&tenant, tenant.member, place).await;

    // Nothing there yet.
    get(&place).await.is_problem(404);
    let mut before = String::new();
    for length in [0, 5, 16 * 1024, 16 * 1024 + 1, 300_000, 3 * MIB + 7] {
        let content = bytes(length);
        let told = put(&service, &tenant, &place, content.clone()).await;
        let tag = told.headers["etag"].to_str().unwrap().to_owned();
        let told = told.ok();
        assert_eq!(told["length"], length);
        assert_eq!(tag, format!("\"{}\"", told["version"].as_str().unwrap()));
        assert_ne!(tag, before);

        let read = get(&place).await;
        assert_eq!(read.status, 200);
        assert!(read.bytes == content, "{length}");
        assert_eq!(read.headers["etag"], tag.as_str());
        assert_eq!(read.headers["content-type"], "text/plain");
        assert_eq!(read.headers["content-length"], length.to_string().as_str());
        assert_eq!(read.headers["content-usage"], "train-ai=n");
        assert_eq!(read.headers["cache-control"], "no-store");
        assert_eq!(read.headers["x-content-type-options"], "nosniff");

        let head = service
            .by(&tenant, tenant.member, "HEAD", &place)
            .send()
            .await;
        assert_eq!((head.status, head.bytes.len()), (200, 0));
        assert_eq!(head.headers["content-length"], length.to_string().as_str());
        let same = service
            .by(&tenant, tenant.member, "GET", &place)
            .header("if-none-match", &tag);
        let same = same.send().await;
        assert_eq!((same.status, same.bytes.len()), (304, 0));
        for method in ["GET", "HEAD"] {
            for (wanted, status) in [("\"nope\"", 412), (&tag, 200), ("*", 200)] {
                let ask = service.by(&tenant, tenant.member, method, &place);
                let read = ask.header("if-match", wanted).send().await;
                assert_eq!(read.status, status, "{method} {wanted}");
            }
        }
        before = tag;
    }

    // Versions are kept, and read by their names.
    let versions = get(&place.replace("/content", "/versions")).await.ok();
    let versions = versions["items"].as_array().unwrap().clone();
    assert_eq!(versions.len(), 6);
    assert_eq!(versions[1]["length"], 5);
    let second = versions[1]["version"].as_str().unwrap();
    let old = get(&format!("{place}?version={second}")).await;
    assert_eq!(old.bytes, bytes(5));
    get(&format!("{place}?version=ver_aaaaaaaaaaaaaaaaaaaaaaaaaa"))
        .await
        .is_problem(404);
    // One of another document is none of this one's.
    let other = document(&service, &tenant).await;
    put(&service, &tenant, &other, bytes(9)).await.ok();
    get(&format!("{other}?version={second}"))
        .await
        .is_problem(404);

    // Each access is an entry, and names the version and the part.
    let read = events(&service, &tenant, "content.read").await;
    assert!(read.len() >= 7, "{}", read.len());
    let details = &read[0]["details"];
    assert_eq!(details["version"], second, "{}", read[0]);
    assert_eq!(events(&service, &tenant, "document.edited").await.len(), 7);

    // Deleted, it is gone with every version; the document stays.
    let gone = service.delete(&tenant, tenant.admin, &place).await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    get(&place).await.is_problem(404);
    get(&format!("{place}?version={second}"))
        .await
        .is_problem(404);
    service
        .delete(&tenant, tenant.admin, &place)
        .await
        .is_problem(404);
    get(place.trim_end_matches("/content")).await.ok();
    // What lay on the shelf goes with the next round of upkeep.
    upkeep::round(&tenant.door, chrono::Utc::now(), true)
        .await
        .unwrap();
    assert_eq!(kept(&service, &tenant).await, (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_goes_in_and_comes_out_on_sqlite() {
    content_goes_in_and_comes_out(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_goes_in_and_comes_out_on_postgresql() {
    let server = postgres::start();
    content_goes_in_and_comes_out(Database::Postgres(server.url())).await;
}

async fn a_part_is_what_was_asked_for(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    for length in [100, 2 * MIB + 333] {
        let place = document(&service, &tenant).await;
        let content = bytes(length);
        let tag = put(&service, &tenant, &place, content.clone())
            .await
            .headers["etag"]
            .clone();
        let tag = tag.to_str().unwrap();
        let ask = async |range: &str, if_range: Option<&str>| {
            let mut ask = service
                .by(&tenant, tenant.viewer, "GET", &place)
                .header("range", range);
            if let Some(if_range) = if_range {
                ask = ask.header("if-range", if_range);
            }
            ask.send().await
        };
        let last = length - 1;
        let mut parts = vec![(0, 0), (0, last), (last, last), (7, 70)];
        if length > MIB {
            let chunk = 16 * 1024;
            parts.extend([
                (chunk - 1, chunk),
                (chunk, chunk),
                (0, chunk),
                (1_000_000, 1_900_000),
                (MIB - 1, MIB + 1),
                (65_535, 65_536),
                (200_000, MIB + 200_000),
                (700_000, 2 * MIB + 300),
            ]);
        }
        for (first, last) in parts {
            let told = ask(&format!("bytes={first}-{last}"), Some(tag)).await;
            assert_eq!(told.status, 206);
            assert!(told.bytes == content[first..=last], "{first}-{last}");
            let wanted = format!("bytes {first}-{last}/{length}");
            assert_eq!(told.headers["content-range"], wanted.as_str());
        }
        let tail = ask("bytes=-10", None).await;
        assert_eq!(tail.bytes, content[length - 10..]);
        let rest = ask("bytes=50-", None).await;
        assert!(rest.bytes == content[50..]);
        let beyond = ask(&format!("bytes={length}-"), None).await;
        beyond.is_problem(416);
        assert_eq!(
            beyond.headers["content-range"],
            format!("bytes */{length}").as_str()
        );
        // A range of another version, several ranges, or what is no range: the whole.
        for (range, tag) in [
            ("bytes=0-1", Some("\"ver_other\"")),
            ("bytes=0-1,4-5", None),
            ("lines=1-2", None),
        ] {
            let whole = ask(range, tag).await;
            assert_eq!(whole.status, 200, "{range}");
            assert!(whole.bytes == content);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_what_was_asked_for_on_sqlite() {
    a_part_is_what_was_asked_for(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_what_was_asked_for_on_postgresql() {
    let server = postgres::start();
    a_part_is_what_was_asked_for(Database::Postgres(server.url())).await;
}

/// It lies in pieces of 1 MiB there, which are read in slices of 64 KiB: values that end with a slice, a run of them, or a piece.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_with_a_slice_comes_out_whole_on_postgresql() {
    let server = postgres::start();
    let service = Service::on(Database::Postgres(server.url())).await;
    let tenant = service.tenant("acme").await;
    let mut rows = service.database(&tenant).await;
    let prefix = u64::try_from(sealing::PREFIX).unwrap();
    for slices in [1, 2, 9, 10, 16, 17, 18, 32] {
        let place = document(&service, &tenant).await;
        let stored = slices * 65_536_u64;
        for more in [0, 1] {
            let length = usize::try_from(text_len(stored - prefix).unwrap()).unwrap() + more;
            let content = bytes(length);
            put(&service, &tenant, &place, content.clone()).await.ok();
            let told = service.get(&tenant, tenant.admin, &place).await;
            assert!(told.bytes == content, "{slices} slices and {more}");
        }
        let sql = "SELECT SUM(LENGTH(bytes)) AS n FROM content_piece GROUP BY version ORDER BY n";
        let sums = sqlx::query(sql).fetch_all(&mut rows).await.unwrap();
        let sums: Vec<i64> = sums.iter().map(|row| row.get("n")).collect();
        let stored = i64::try_from(stored).unwrap();
        assert!(sums.ends_with(&[stored + 1]), "{sums:?}");
    }
}

async fn a_change_replaces_what_it_names(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let place = document(&service, &tenant).await;
    let ask = async |header: Option<(&str, &str)>, length: usize| {
        let mut ask = service.by(&tenant, tenant.admin, "PUT", &place);
        if let Some((name, value)) = header {
            ask = ask.header(name, value);
        }
        ask.content("text/plain", bytes(length)).send().await
    };
    ask(Some(("if-match", "*")), 10).await.is_problem(412);
    let first = ask(Some(("if-none-match", "*")), 10).await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    ask(Some(("if-none-match", "*")), 10).await.is_problem(412);
    ask(Some(("if-match", "\"ver_other\"")), 10)
        .await
        .is_problem(412);
    ask(Some(("if-match", "not a tag")), 10)
        .await
        .is_problem(400);
    ask(Some(("if-none-match", &tag)), 10).await.is_problem(400);
    // Of a long one nothing is left either.
    ask(Some(("if-match", "\"ver_other\"")), MIB)
        .await
        .is_problem(412);
    let (rows, pieces, files) = kept(&service, &tenant).await;
    assert_eq!((rows, pieces, files), (1, 0, 0));
    let second = ask(Some(("if-match", &format!("\"ver_other\", {tag}"))), 11).await;
    assert_eq!(second.status, 200, "{}", second.body);
    let gone = async |tag: &str| {
        let ask = service.by(&tenant, tenant.admin, "DELETE", &place);
        ask.header("if-match", tag).send().await
    };
    gone(&tag).await.is_problem(412);
    let tag = second.headers["etag"].to_str().unwrap();
    assert_eq!(gone(tag).await.status, 204);
    // Of two that replace the same version one comes through, on two nodes as well.
    let tag = ask(None, 1).await.headers["etag"]
        .to_str()
        .unwrap()
        .to_owned();
    let both = async || ask(Some(("if-match", &tag)), 2).await.status;
    let (one, two, three) = tokio::join!(both(), both(), both());
    let mut told = [one, two, three];
    told.sort_unstable();
    assert_eq!(told, [200, 412, 412]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_replaces_what_it_names_on_sqlite() {
    a_change_replaces_what_it_names(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_replaces_what_it_names_on_postgresql() {
    let server = postgres::start();
    a_change_replaces_what_it_names(Database::Postgres(server.url())).await;
}

/// A body of so many pieces of 64 KiB that counts those that were taken, and breaks after them where it should.
fn counted(pieces: usize, breaks: bool) -> (Body, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let piece = Bytes::from(bytes(64 * 1024));
    let body = stream::unfold(0, move |at| {
        let (count, piece) = (Arc::clone(&count), piece.clone());
        async move {
            // As from a socket: not at once.
            tokio::task::yield_now().await;
            count.fetch_add(1, Ordering::Relaxed);
            match at {
                at if at < pieces => Some((Ok(piece), at + 1)),
                at if at == pieces && breaks => Some((Err(std::io::Error::other("gone")), at + 1)),
                _ => None,
            }
        }
    });
    (Body::from_stream(body), taken)
}

async fn what_is_refused_touches_nothing(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let place = document(&service, &tenant).await;
    put(&service, &tenant, &place, bytes(MIB)).await.ok();
    let before = kept(&service, &tenant).await;
    for user in [tenant.viewer, tenant.member] {
        let (body, taken) = counted(32, false);
        let told = service
            .by(&tenant, user, "PUT", &place)
            .content("text/plain", body)
            .send()
            .await;
        told.is_problem(403);
        assert_eq!(taken.load(Ordering::Relaxed), 0, "a byte of it was read");
        assert_eq!(put_as(&service, &tenant, user, &place).await.status, 403);
        let gone = service.delete(&tenant, user, &place).await;
        gone.is_problem(403);
    }
    assert_eq!(kept(&service, &tenant).await, before);
    // Somebody else's private document is not there, and neither is its content.
    let private = json!({"name": "Mine"});
    let private = service.post(&tenant, tenant.member, "/v1/documents", private);
    let private = format!("/v1/documents/{}/content", private.await.id());
    let theirs = service
        .by(&tenant, tenant.member, "PUT", &private)
        .content("text/plain", bytes(100));
    theirs.send().await.ok();
    for place in [private.clone(), private.replace("/content", "/versions")] {
        service
            .get(&tenant, tenant.admin, &place)
            .await
            .is_problem(404);
    }
    put(&service, &tenant, &private, bytes(10))
        .await
        .is_problem(404);
    // A key without the scope says so.
    let narrow = key(&tenant.door, &[Scope::DirectoryRead, Scope::DirectoryWrite]).await;
    let told = service.ask("GET", &place).key(&narrow).user(tenant.admin);
    told.send().await.is_problem(403);
    // Under a legal hold nothing is replaced and nothing deleted.
    let reason = json!({"reason": "a lawsuit"});
    let hold = service.post(
        &tenant,
        tenant.admin,
        "/v1/organization/hold",
        reason.clone(),
    );
    hold.await.ok();
    assert_eq!(put(&service, &tenant, &place, bytes(10)).await.status, 403);
    service
        .delete(&tenant, tenant.admin, &place)
        .await
        .is_problem(403);
    let release = service.post(&tenant, tenant.admin, "/v1/organization/release", reason);
    release.await.ok();
    // Where the organization allows no region of this node's, neither in nor out.
    let regions = json!({"regions": ["eu-west"]});
    service
        .patch(&tenant, tenant.admin, "/v1/organization", regions)
        .await
        .ok();
    for method in ["GET", "HEAD", "PUT"] {
        let told = service.by(&tenant, tenant.admin, method, &place);
        let told = told.content("text/plain", bytes(10)).send().await;
        assert!(
            [403, 404].contains(&told.status),
            "{method}: {}",
            told.status
        );
    }
    assert_eq!(kept(&service, &tenant).await.0, before.0 + 1);
}

async fn put_as(
    service: &Service,
    tenant: &Tenant,
    user: cedarkeep::directory::Ref,
    place: &str,
) -> Told {
    let ask = service.by(tenant, user, "PUT", place);
    ask.content("text/plain", bytes(100)).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_touches_nothing_on_sqlite() {
    what_is_refused_touches_nothing(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_touches_nothing_on_postgresql() {
    let server = postgres::start();
    what_is_refused_touches_nothing(Database::Postgres(server.url())).await;
}

async fn what_breaks_off_leaves_nothing(database: Database) {
    let service = Service::on(database).await;
    let tenant = service.tenant("acme").await;
    let place = document(&service, &tenant).await;
    let before = bytes(1000);
    put(&service, &tenant, &place, before.clone()).await.ok();
    let ask = || service.by(&tenant, tenant.admin, "PUT", &place);
    for pieces in [0, 1, 40] {
        let (body, _) = counted(pieces, true);
        ask()
            .content("text/plain", body)
            .send()
            .await
            .is_problem(400);
    }
    // Shorter or longer than it says.
    for length in ["10", "5000000"] {
        let (body, _) = counted(1, false);
        let told = ask()
            .header("content-length", length)
            .content("text/plain", body);
        told.send().await.is_problem(400);
    }
    // Longer than is taken: at once where it says so.
    let (body, taken) = counted(1, false);
    let told = ask()
        .header("content-length", "5368709121")
        .content("text/plain", body);
    told.send().await.is_problem(413);
    assert_eq!(taken.load(Ordering::Relaxed), 0);
    for media in ["text", "text plain/x", "a/b/c", "/", ""] {
        let told = ask().content(media, bytes(10));
        told.send().await.is_problem(400);
    }
    // Whoever gives up in the middle: the request is let go of.
    let (body, taken) = counted(1_000_000, false);
    let given_up = ask().content("text/plain", body).send();
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(300), given_up).await;
    assert!(given_up.is_err() && taken.load(Ordering::Relaxed) > 2);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while kept(&service, &tenant).await != (1, 0, 0) {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?}",
            kept(&service, &tenant).await
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let read = service.get(&tenant, tenant.admin, &place).await;
    assert_eq!(read.bytes, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_off_leaves_nothing_on_sqlite() {
    what_breaks_off_leaves_nothing(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_off_leaves_nothing_on_postgresql() {
    let server = postgres::start();
    what_breaks_off_leaves_nothing(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_for_training_and_the_refusal_is_recorded() {
    let service = Service::open().await;
    let tenant = service.tenant("acme").await;
    let things = service.things(&tenant).await;
    let place = document(&service, &tenant).await;
    put(&service, &tenant, &place, bytes(100)).await.ok();
    let asks = [
        ("GET", place.clone()),
        ("HEAD", place.clone()),
        ("PUT", place.clone()),
        ("DELETE", place.clone()),
        ("GET", format!("/v1/threads/{}/messages", things.thread)),
        ("GET", format!("/v1/memory?for={}", things.thread)),
        ("GET", "/v1/memory".to_owned()),
        (
            "POST",
            format!("/v1/integrations/{}/use", things.integration),
        ),
        ("GET", "/v1/audit/entries".to_owned()),
    ];
    for (method, place) in &asks {
        let ask = service
            .by(&tenant, tenant.admin, method, place)
            .header("cedarkeep-purpose", "train");
        let told = ask.content("text/plain", bytes(10)).send().await;
        assert_eq!(told.status, 403, "{method} {place}: {told:?}");
        let why = told.body["detail"].as_str();
        let said = why.is_some_and(|why| why.contains("never.train_purpose"));
        assert!(said || *method == "HEAD", "{method} {place}: {told:?}");
    }
    let refused = "/v1/audit/entries?policy=never.train_purpose&limit=50";
    let refused = service.get(&tenant, tenant.admin, refused).await.ok();
    let refused = refused["items"].as_array().unwrap();
    assert!(
        refused.len() >= asks.len(),
        "{}: {refused:?}",
        refused.len()
    );
    let other = service
        .by(&tenant, tenant.admin, "GET", &place)
        .header("cedarkeep-purpose", "summary");
    assert_eq!(other.send().await.status, 200);
    let bad = service
        .by(&tenant, tenant.admin, "GET", &place)
        .header("cedarkeep-purpose", "two words");
    bad.send().await.is_problem(400);
}

/// A writer on PostgreSQL that was given up, whose end came before all of its pieces were gone: the next round takes up where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_is_taken_away_and_can_not_be_settled() {
    let server = postgres::start();
    let service = Service::still(Database::Postgres(server.url())).await;
    let tenant = service.tenant("acme").await;
    let place = document(&service, &tenant).await;
    let mut database = service.database(&tenant).await;
    for sql in [
        "INSERT INTO content_upload (version, touched_at) VALUES ('ver_silent', 1), ('ver_given_up', -1)",
        "INSERT INTO content_piece (version, number, bytes) SELECT 'ver_silent', number, 'x' FROM generate_series(0, 700) number",
        "INSERT INTO content_piece (version, number, bytes) VALUES ('ver_given_up', 3, 'x')",
    ] {
        sqlx::query(sql).execute(&mut database).await.unwrap();
    }
    upkeep::round(&tenant.door, chrono::Utc::now(), true)
        .await
        .unwrap();
    assert_eq!(kept(&service, &tenant).await, (0, 0, 0));
    // One that is given up while it is still being written: it is told so, and leaves nothing.
    let (body, taken) = counted(200, false);
    let given_up = async {
        while taken.load(Ordering::Relaxed) < 100 {
            tokio::task::yield_now().await;
        }
        let sql = "UPDATE content_upload SET touched_at = -1";
        let done = sqlx::query(sql).execute(&mut database).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
    };
    let put = service.by(&tenant, tenant.admin, "PUT", &place);
    let put = put.content("text/plain", body).send();
    let (told, ()) = tokio::join!(put, given_up);
    assert_eq!(told.status, 503, "{}", told.body);
    upkeep::round(&tenant.door, chrono::Utc::now(), true)
        .await
        .unwrap();
    assert_eq!(kept(&service, &tenant).await, (0, 0, 0));
    service
        .get(&tenant, tenant.admin, &place)
        .await
        .is_problem(404);
}

/// Content alone is no change of what is decided on: the log's check knows which entries are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_ends_with_content_is_sound() {
    let service = Service::still(Database::Sqlite).await;
    let tenant = service.tenant("acme").await;
    let place = document(&service, &tenant).await;
    for length in [10, MIB] {
        put(&service, &tenant, &place, bytes(length)).await.ok();
    }
    let (store, origin) = (tenant.door.store(), tenant.door.origin());
    let report = cedarkeep::decide::check::verify(store, origin, &[], |_, _| {});
    let report = report.await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}
