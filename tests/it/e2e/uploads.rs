//! `kill -9` in the middle of long uploads: nothing is left of them, and every upload that was answered is there byte for byte.
//!
//! `PROVE=1` makes it fifty times instead of five; `SEED=n` repeats the moments of a run.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use sqlx::{AnyConnection, Connection as _, Row as _};

use crate::harness::chance::Chance;
use crate::harness::client::Client;
use crate::harness::postgres;
use crate::harness::raw::{Raw, request, whole};
use crate::harness::server::{DEADLINE, Server, Site};

const SOONEST: Duration = Duration::from_millis(300);
const LATEST: Duration = Duration::from_millis(2_000);

/// An upload that no kill finds at its end.
const ENDLESS: usize = 1 << 30;

fn rounds() -> usize {
    if std::env::var_os("PROVE").is_some() {
        50
    } else {
        5
    }
}

/// Bytes that no other seed gives.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A version that was acknowledged: where it is, and of which seed and length.
type Kept = (String, u64, usize);

struct Scene {
    site: Site,
    /// The address of the organization's database, past the service.
    database: String,
    sqlite: bool,
    org: String,
    key: String,
    admin: String,
    documents: Vec<String>,
    kept: Arc<Mutex<Vec<Kept>>>,
}

impl Scene {
    async fn set(mut site: Site, server: Option<&str>) -> Self {
        let socket = site.beside().join("socket");
        site.set("CEDARKEEP_HTTP__UNIX_SOCKET", socket.to_str().unwrap());
        let org = site.create_org("uploads");
        let admin = site.add_admin("uploads");
        let key = site.create_key("uploads", "directory.read,directory.write,content");
        let database = match server {
            None => {
                let file = site.data().join("tenants").join(format!("{org}.db"));
                format!("sqlite://{}", file.display())
            }
            Some(server) => {
                let (_, bare) = org.split_once('_').unwrap();
                server.replacen("/postgres?", &format!("/cedarkeep_{bare}?"), 1)
            }
        };
        let mut scene = Self {
            site,
            database,
            sqlite: server.is_none(),
            org,
            key,
            admin,
            documents: Vec::new(),
            kept: Arc::default(),
        };
        let server = scene.site.serve().await;
        let client = server.client(&scene.key);
        for _ in 0..4 {
            scene.documents.push(scene.make(&client).await);
        }
        server.stop();
        scene
    }

    async fn make(&self, client: &Client) -> String {
        let headers = [
            ("content-type", "application/json"),
            ("cedarkeep-acting-user", self.admin.as_str()),
        ];
        let body = Some(json!({"name": "Budget"}).to_string().into_bytes());
        let made = client.send(Method::POST, "/v1/documents", &headers, body);
        let made = made.await.unwrap();
        assert_eq!(made.status, 201, "{}", made.body);
        format!(
            "/v1/documents/{}/content",
            made.json()["id"].as_str().unwrap()
        )
    }

    async fn connect(&self, server: &Server) -> Raw {
        Raw::tls(&self.site.data().join("tls/ca.crt"), server.port()).await
    }

    /// The socket of a service that was killed stays behind, and the next one takes its place.
    async fn connect_here(&self) -> Raw {
        Raw::unix(&self.site.beside().join("socket")).await
    }

    fn head(&self, method: &str, place: &str) -> String {
        request(method, place, &self.key, &self.admin)
    }

    /// Uploads that end, one after another, each remembered once it is answered.
    fn uploads(
        &self,
        mut raw: Raw,
        place: String,
        mut chance: Chance,
    ) -> tokio::task::JoinHandle<()> {
        let (head, kept) = (self.head("PUT", &place), Arc::clone(&self.kept));
        tokio::spawn(async move {
            loop {
                let seed = chance.number();
                // Short ones, and long ones of several pieces.
                let length = match seed % 3 {
                    0 => 100 + usize::try_from(seed % 900).unwrap(),
                    _ => 20_000 + usize::try_from(seed % 1_500_000).unwrap(),
                };
                let bytes = content(seed, length);
                let answer = raw.upload(&head, length, |sent| &bytes[sent..]).await;
                let Ok((status, body)) = answer else { return };
                let body = String::from_utf8(body).unwrap();
                assert_eq!(status, 200, "{body}");
                let told: serde_json::Value = serde_json::from_str(&body).unwrap();
                let version = told["version"].as_str().unwrap();
                let place = format!("{place}?version={version}");
                kept.lock().unwrap().push((place, seed, length));
            }
        })
    }

    /// One that is still under way when it is killed; how far it came.
    fn endless(&self, mut raw: Raw, place: &str) -> tokio::task::JoinHandle<usize> {
        let head = self.head("PUT", place);
        tokio::spawn(async move {
            let (piece, mut reached) = (content(7, 64 * 1024), 0);
            let answer = raw
                .upload(&head, ENDLESS, |sent| {
                    reached = sent;
                    &piece
                })
                .await;
            assert!(answer.is_err(), "it was answered: {answer:?}");
            reached
        })
    }

    async fn rows(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.database).await.unwrap()
    }

    /// What is there of uploads that no row names, and of how many there are rows.
    async fn left(&self) -> (usize, usize) {
        let mut rows = self.rows().await;
        let mut count = async |sql: &'static str| {
            let row = sqlx::query(sql).fetch_one(&mut rows).await.unwrap();
            usize::try_from(row.get::<i64, _>(0)).unwrap()
        };
        let shelved = count("SELECT count(*) FROM content WHERE shelved = 1").await;
        if self.sqlite {
            let shelf = self.site.data().join("content").join(&self.org);
            return (files(&shelf).saturating_sub(shelved), shelved);
        }
        let unnamed = "SELECT (SELECT count(*) FROM content_upload) \
             + (SELECT count(DISTINCT version) FROM content_piece p WHERE NOT EXISTS (SELECT 1 FROM content c WHERE c.version = p.version))";
        (count(unnamed).await, shelved)
    }

    /// The silence of an hour, past the service.
    async fn an_hour_later(&self) {
        if !self.sqlite {
            let sql = "UPDATE content_upload SET touched_at = touched_at - 3601000000";
            let done = sqlx::query(sql).execute(&mut self.rows().await).await;
            done.unwrap();
        }
    }

    /// Reads every version that was acknowledged, from that one on; how many there are in all.
    async fn check(&self, server: &Server, from: usize) -> usize {
        let kept = self.kept.lock().unwrap().clone();
        let mut raw = self.connect(server).await;
        // Whoever asks first has the organization opened.
        let list = whole(&self.head("GET", "/v1/documents"), b"");
        assert_eq!(raw.exchange(&list).await.unwrap().0, 200);
        for (place, seed, length) in &kept[from..] {
            let get = whole(&self.head("GET", place), b"");
            let (status, body) = raw.exchange(&get).await.unwrap();
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
            assert!(
                body == content(*seed, *length),
                "{place} is not what it was"
            );
        }
        kept.len()
    }
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

async fn of_what_was_killed_nothing_is_left(scene: Scene, chance: &mut Chance) {
    let (mut read, mut hit) = (0, 0);
    for round in 0..rounds() {
        let server = scene.site.serve().await;
        let mut ending = Vec::new();
        for place in &scene.documents[..2] {
            let raw = scene.connect(&server).await;
            ending.push(scene.uploads(raw, place.clone(), chance.another()));
        }
        let raws = [scene.connect(&server).await, scene.connect_here().await];
        let mut under_way = Vec::new();
        for (raw, place) in raws.into_iter().zip(&scene.documents[2..]) {
            under_way.push(scene.endless(raw, place));
        }
        let moment = chance.span(SOONEST, LATEST);
        tokio::time::sleep(moment).await;
        server.kill9();
        for upload in ending {
            upload.await.unwrap();
        }
        let mut reached = 0;
        for upload in under_way {
            reached += upload.await.unwrap();
        }
        let (left, _) = scene.left().await;
        hit += usize::from(left > 0);
        scene.an_hour_later().await;

        let server = scene.site.serve().await;
        let before = read;
        read = scene.check(&server, before).await;
        let begun = Instant::now();
        // A round comes within seconds.
        loop {
            let (left, shelved) = scene.left().await;
            if left == 0 {
                println!(
                    "round {round}: killed after {moment:?}, {} answered, {} MiB under way; {shelved} long ones are whole",
                    read - before,
                    reached >> 20
                );
                break;
            }
            assert!(begun.elapsed() < DEADLINE, "{left} are left");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        server.stop();
    }
    // A kill that finds nothing on its way shows little.
    assert!(hit * 2 > rounds(), "only {hit} rounds had something left");
    let server = scene.site.serve().await;
    assert_eq!(scene.check(&server, 0).await, read);
    assert!(read * 2 >= rounds(), "only {read} were answered");
    server.stop();
    scene.site.verify("uploads");
}

/// Whoever is refused reads why, on a connection that goes on: also one whose bytes are still on their way when it is decided.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_refused_is_answered_and_its_connection_goes_on() {
    let scene = Scene::set(Site::sqlite(), None).await;
    let server = scene.site.serve().await;
    let nowhere = "/v1/documents/doc_aaaaaaaaaaaaaaaaaaaaaaaaaa/content";
    for mut raw in [scene.connect(&server).await, scene.connect_here().await] {
        for length in [1, 100, 20_000, 100_000, 900_000] {
            let head = scene.head("PUT", nowhere);
            raw.send(format!("{head}content-length: {length}\r\n\r\n").as_bytes())
                .await
                .unwrap();
            // It is refused before this comes.
            tokio::time::sleep(Duration::from_millis(50)).await;
            raw.send(&content(length, usize::try_from(length).unwrap()))
                .await
                .unwrap();
            let (status, body) = raw.exchange(b"").await.unwrap();
            assert_eq!(status, 404, "{length}: {}", String::from_utf8_lossy(&body));
        }
        let list = whole(&scene.head("GET", "/v1/documents"), b"");
        assert_eq!(raw.exchange(&list).await.unwrap().0, 200);
    }
    // What is too long to wait for ends with its connection, and nothing of it is kept.
    let mut raw = scene.connect_here().await;
    let head = scene.head("PUT", nowhere);
    let piece = content(7, 64 * 1024);
    let told = raw.upload(&head, 64 << 20, |_| &piece).await;
    if let Ok((status, _)) = told {
        assert_eq!(status, 404);
    }
    assert_eq!(scene.left().await, (0, 0));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_uploads_that_were_killed_nothing_is_left_on_sqlite() {
    let mut chance = Chance::of_this_run("uploads on SQLite");
    let scene = Scene::set(Site::sqlite(), None).await;
    of_what_was_killed_nothing_is_left(scene, &mut chance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_uploads_that_were_killed_nothing_is_left_on_postgresql() {
    let mut chance = Chance::of_this_run("uploads on PostgreSQL");
    let database = postgres::start();
    let url = database.url();
    let scene = Scene::set(Site::postgres(&url), Some(&url)).await;
    of_what_was_killed_nothing_is_left(scene, &mut chance).await;
}
