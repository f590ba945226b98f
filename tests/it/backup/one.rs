//! One organization put back beside others and beside the service that has it open: the others go on, and it is served out of one life alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_takes_no_more_memory_than_some_rows() {
    let site = Site::sqlite();
    let key = site.create_todo_org("acme");
    let server = site.serve().await;
    let witness = Arc::new(Witness::default());
    let backup = |name: &str| site.beside().join(name).to_str().unwrap().to_owned();
    let small = site.peak(&["backup", "--output", &backup("small")]);
    let load = witness.load(&server, &key, 64);
    tokio::time::sleep(Duration::from_secs(6)).await;
    load.end().await;
    server.stop();
    let large = site.peak(&["backup", "--output", &backup("large")]);
    let length = |name: &str| {
        let files = std::fs::read_dir(backup(name)).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum::<u64>()
    };
    let bytes = length("large");
    println!(
        "{} decisions, {bytes} bytes: {small} KiB, then {large} KiB",
        witness.received()
    );
    assert!(bytes > 4 * length("small"));
    assert!(large < small + 48 * 1024, "{small} KiB, then {large} KiB");
}
