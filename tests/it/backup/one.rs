//! One organization put back beside others and beside the service that has it open: the others go on, and it is served out of one life alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{AnyConnection, Connection as _};

use crate::harness::client::may_morty_change;
use crate::harness::postgres;
use crate::harness::server::Site;
use crate::harness::witness::Witness;

async fn others_go_on(site: &Site) {
    let key = site.create_todo_org("acme");
    let other_key = site.create_todo_org("other");
    let server = site.serve().await;
    let (acme, other) = (Arc::new(Witness::default()), Arc::new(Witness::default()));
    let load = acme.load(&server, &key, 4);
    let others = other.load(&server, &other_key, 4);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let backup = site.beside().join("acme-alone");
    let from = backup.to_str().unwrap();
    site.done(&["backup", "--output", from, "--org", "acme"]);
    let late = site.create_key("acme", "decide");
    tokio::time::sleep(Duration::from_millis(300)).await;

    // Put back while it is asked all the time.
    let told = site.told(&[
        "restore",
        "--from",
        from,
        "--org",
        "acme",
        "--confirm",
        "acme",
        "--json",
    ]);
    assert_eq!(told["slug"], "acme", "{told}");
    // Whatever is answered from here on is in the log that was put back: nobody goes on in the old one.
    let after = Arc::new(Witness::default());
    let client = server.client(&key);
    let since = Instant::now();
    while !client
        .evaluate(&may_morty_change("one", true))
        .await
        .is_ok_and(|answer| answer.status == 200)
    {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "it is not served again"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("served again after {:?}", since.elapsed());
    load.end().await;
    let load = after.load(&server, &key, 4);
    tokio::time::sleep(Duration::from_millis(500)).await;
    load.end().await;
    others.end().await;
    assert_eq!(
        (other.refused(), other.broken()),
        (0, 0),
        "the others were held up"
    );
    let answer = server
        .client(&late)
        .evaluate(&may_morty_change("one", true))
        .await
        .unwrap();
    assert_eq!(answer.status, 401, "made after the backup: {}", answer.body);
    server.stop();
    after.check_new(site, "acme");
    other.check_all(site, "other");
    let report = site.told(&["audit", "verify", "acme", "--json"]);
    let restored = report["restored"][0].as_str().unwrap();
    assert!(restored.contains("are lost"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_go_on_on_sqlite() {
    others_go_on(&Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_go_on_on_postgresql() {
    let database = postgres::start();
    others_go_on(&Site::postgres(&database.url())).await;
}

/// Rows and a file of many MiB, which nobody reads but a backup.
async fn grown(site: &Site, id: &str) {
    let file = site.data().join(format!("tenants/{id}.db"));
    sqlx::any::install_default_drivers();
    let mut rows = AnyConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .unwrap();
    let mut written = rows.begin().await.unwrap();
    for block in 0..600_i64 {
        sqlx::query("INSERT INTO search_block (block, filter, pairs) VALUES ($1, $2, $3)")
            .bind(1_000_000 + block)
            .bind(vec![1_u8; 50_000])
            .bind(vec![2_u8; 50_000])
            .execute(&mut *written)
            .await
            .unwrap();
    }
    written.commit().await.unwrap();
    rows.close().await.unwrap();
    let content = site.data().join("content").join(id);
    std::fs::create_dir_all(&content).unwrap();
    std::fs::write(content.join("long"), vec![3; 40 << 20]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_takes_no_more_memory_than_some_rows() {
    let site = Site::sqlite();
    let id = site.create_org("acme");
    let folder = |name: &str| site.beside().join(name).to_str().unwrap().to_owned();
    let (small, large) = (folder("small"), folder("large"));
    let took = |name: &str| site.peak(&["backup", "--output", name]);
    let checked = |name: &str| site.peak(&["restore", "--from", name, "--check"]);
    let before = (took(&small), checked(&small));
    grown(&site, &id).await;
    let after = (took(&large), checked(&large));
    let length = |name: &str| {
        let files = std::fs::read_dir(name).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum::<u64>()
    };
    let bytes = length(&large);
    println!("{bytes} bytes: {before:?} KiB, then {after:?} KiB");
    assert!(bytes > 96_000_000 && length(&small) < 1 << 20);
    assert!(after.0 < before.0 + 32 * 1024 && after.1 < before.1 + 32 * 1024);
}
