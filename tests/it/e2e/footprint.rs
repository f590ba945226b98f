//! Content of any length takes the same memory: what the process holds at most while it goes in and comes out, beyond what it holds idle.
//!
//! `PROVE=1` sends a GiB instead of 64 MiB.

use reqwest::Method;
use serde_json::json;

use crate::harness::postgres;
use crate::harness::raw::{Raw, request, whole};
use crate::harness::server::Site;

/// The most that it may hold beyond that, in KiB, where 64 MiB is promised: of pieces of a file, and of rows of a MiB, some of which are
/// on their way through the driver.
const OF_FILES: u64 = 48 * 1024;
const OF_ROWS: u64 = 64 * 1024;

fn length() -> usize {
    if std::env::var_os("PROVE").is_some() {
        1 << 30
    } else {
        64 << 20
    }
}

async fn content_takes_no_memory_for_its_length(mut site: Site, (name, most): (&str, u64)) {
    // What is let go of is given back at once: the peak is of what is held.
    site.set("MIMALLOC_PURGE_DELAY", "0");
    site.create_org("acme");
    let admin = site.add_admin("acme");
    let key = site.create_key("acme", "directory.read,directory.write,content");
    let server = site.serve().await;
    let client = server.client(&key);
    let headers = [
        ("content-type", "application/json"),
        ("cedarkeep-acting-user", admin.as_str()),
    ];
    let body = Some(json!({"name": "Budget"}).to_string().into_bytes());
    let made = client.send(Method::POST, "/v1/documents", &headers, body);
    let made = made.await.unwrap().json();
    let place = format!("/v1/documents/{}/content", made["id"].as_str().unwrap());
    let mut raw = Raw::tls(&site.data().join("tls/ca.crt"), server.port()).await;
    let piece: Vec<u8> = (0..256 * 1024)
        .map(|at: usize| (at * 31 % 251) as u8)
        .collect();
    let put = request("PUT", &place, &key, &admin);
    let get = whole(&request("GET", &place, &key, &admin), b"");
    // Once, so that it has what it has as long as it runs: connections, threads, caches.
    for _ in 0..2 {
        raw.upload(&put, 2 << 20, |_| &piece).await.unwrap();
        raw.exchange(&get).await.unwrap();
    }
    let mut peaks = Vec::new();
    for what in ["upload", "download"] {
        let idle = server.forget_peak();
        match what {
            "upload" => {
                let (told, body) = raw.upload(&put, length(), |_| &piece).await.unwrap();
                assert_eq!(told, 200, "{}", String::from_utf8_lossy(&body));
            }
            _ => {
                raw.send(&get).await.unwrap();
                let mut taken = 0;
                let answer = raw.answer(|bytes| {
                    let at = taken % piece.len();
                    let same = bytes.len().min(piece.len() - at);
                    assert!(bytes[..same] == piece[at..at + same]);
                    taken += bytes.len();
                });
                assert_eq!(answer.await.unwrap().status, 200);
                assert_eq!(taken, length());
            }
        }
        let peak = server.status("VmHWM:");
        peaks.push((what, idle, peak.saturating_sub(idle)));
    }
    println!(
        "{name}, {} MiB: KiB idle, and beyond it: {peaks:?}",
        length() >> 20
    );
    for (what, _, beyond) in peaks {
        assert!(beyond < most, "{what}: {beyond} KiB beyond idle");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn content_takes_no_memory_for_its_length_on_sqlite() {
    content_takes_no_memory_for_its_length(Site::sqlite(), ("SQLite", OF_FILES)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_takes_no_memory_for_its_length_on_postgresql() {
    let database = postgres::start();
    let site = Site::postgres(&database.url());
    content_takes_no_memory_for_its_length(site, ("PostgreSQL", OF_ROWS)).await;
}
