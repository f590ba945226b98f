//! The drill: a backup under load, more of everything, somebody erased, the databases lost, and all of it put back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cedarkeep::log::checkpoint::{SignedCheckpoint, VerifierKey};
use serde_json::Value;
use sqlx::{Connection as _, Row as _};

use crate::harness::chance::Chance;
use crate::harness::postgres;
use crate::harness::scan::Scan;
use crate::harness::server::Site;
use crate::harness::witness::{Witness, number_of};

/// Files that have these bytes in them.
fn files_with(bytes: &[u8], roots: &[&Path]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = roots.iter().map(|root| root.to_path_buf()).collect();
    let (mut found, mut read) = (Vec::new(), 0);
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|file| file.unwrap().path()),
            );
        } else if let Ok(text) = std::fs::read(&path) {
            read += text.len();
            if text.windows(bytes.len()).any(|window| window == bytes) {
                found.push(path);
            }
        }
    }
    assert!(read > 10_000, "nothing was read");
    found
}

async fn wrapped_key(address: &str, person: &str) -> Vec<u8> {
    sqlx::any::install_default_drivers();
    let mut rows = sqlx::AnyConnection::connect(address).await.unwrap();
    sqlx::query("SELECT wrapped FROM subject_key WHERE subject = $1")
        .bind(person)
        .fetch_one(&mut rows)
        .await
        .unwrap()
        .get("wrapped")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn events(site: &Site, event: &str) -> Vec<Value> {
    lines(&site.done(&["audit", "query", "acme", "--event", event, "--json"]))
}

/// What a test needs of one database: where an organization's lies, and how all of it is lost.
struct Ground<'a> {
    address: Box<dyn Fn(&str) -> String + 'a>,
    lose: Box<dyn FnOnce(&mut Site) + 'a>,
    /// Folders of whatever holds the databases after the loss, beside the data directory.
    after: Vec<PathBuf>,
}

async fn drill(mut site: Site, ground: Ground<'_>) {
    let mut chance = Chance::of_this_run("the drill");
    let key = site.create_todo_org("acme");
    let other_key = site.create_todo_org("other");
    let acme = site.told(&["org", "show", "acme", "--json"])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let (name, email) = (
        format!("canary{}", chance.word()),
        format!("canary{}@example.com", chance.word()),
    );
    let person = site.told(&[
        "member", "add", "acme", "--name", &name, "--email", &email, "--json",
    ]);
    let person = person["id"].as_str().unwrap().to_owned();
    let wrapped = wrapped_key(&(ground.address)(&acme), &person).await;

    // Taken while it answers.
    let (backup, kept, lost) = (
        site.beside().join("monday"),
        site.beside().join("kept.note"),
        site.beside().join("lost.note"),
    );
    let server = site.serve().await;
    let witness = Arc::new(Witness::default());
    let load = witness.load(&server, &key, 8);
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::write(&kept, site.done(&["audit", "checkpoint", "acme"])).unwrap();
    let old: VerifierKey = site
        .done(&["audit", "checkpoint", "acme", "--key"])
        .trim()
        .parse()
        .unwrap();
    let before = witness.received();
    let told = site.told(&["backup", "--output", backup.to_str().unwrap(), "--json"]);
    assert!(told["logs"].as_u64().unwrap() >= 2, "{told}");
    assert!(
        witness.received() > before,
        "nobody asked during the backup"
    );
    // More of everything, and somebody is erased.
    tokio::time::sleep(Duration::from_millis(500)).await;
    load.end().await;
    assert_eq!(witness.refused(), 0);
    let late = site.create_key("acme", "decide");
    site.done(&["member", "erase", "acme", &person, "--confirm", &person]);
    let since = Instant::now();
    while events(&site, "data.erased").is_empty() {
        assert!(since.elapsed() < Duration::from_secs(30), "never erased");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::fs::write(&lost, site.done(&["audit", "checkpoint", "acme"])).unwrap();
    server.stop();
    let entries = site.entries("acme").len();

    (ground.lose)(&mut site);
    assert!(!site.run(&["org", "show", "acme"]).status.success());
    let restore = [
        "restore",
        "--from",
        backup.to_str().unwrap(),
        "--confirm",
        "cedarkeep.local",
        "--json",
    ];
    let told = lines(&site.done(&restore));
    let of = |slug: &str| {
        let found = told.iter().find(|line| line["slug"] == slug);
        found.unwrap_or_else(|| panic!("{slug}: {told:?}")).clone()
    };
    assert_eq!(
        (&of("acme")["erased_again"], &of("other")["erased_again"]),
        (&1.into(), &0.into())
    );
    let restored_at = number_of(&of("acme")["index"]);

    // Erased stays erased: the person's key was written nowhere, and neither name nor address.
    let data = site.data().to_owned();
    let mut roots = vec![data.as_path(), backup.as_path()];
    roots.extend(ground.after.iter().map(PathBuf::as_path));
    assert_eq!(files_with(&wrapped, &roots), Vec::<PathBuf>::new());
    let (hits, _) =
        Scan::new([name.clone(), email.split('@').next().unwrap().to_owned()]).files(&roots);
    assert!(hits.is_empty(), "{hits:?}");
    let members = site.done(&["member", "list", "acme"]);
    assert!(
        !members.contains(&person) && !members.contains(&name),
        "{members}"
    );
    let again = events(&site, "data.erased");
    assert_eq!(
        (again.len(), &again[0]["leaf"]["caller"]["type"]),
        (1, &"system".into()),
        "{again:?}"
    );
    assert!(
        !site
            .done(&["audit", "tail", "acme", "--json", "-n", "1000000"])
            .contains(&name)
    );

    // What was lost is said, and the old life verifies as far as it was put back.
    let report = site.told(&["audit", "verify", "acme", "--json"]);
    let restored = report["restored"][0].as_str().unwrap();
    assert!(
        report["restored"].as_array().unwrap().len() == 1,
        "{report}"
    );
    assert!(restored.contains("are lost"), "{report}");
    assert!(restored_at < u64::try_from(entries).unwrap());
    site.done(&["audit", "verify", "acme", "--kept", kept.to_str().unwrap()]);
    site.refused(&["audit", "verify", "acme", "--kept", lost.to_str().unwrap()]);
    for log in ["other", "deployment"] {
        site.verify(log);
    }
    // The old key signs nothing any more.
    let new = site.done(&["audit", "checkpoint", "acme", "--key"]);
    assert_ne!(new.trim(), old.to_string());
    let head =
        SignedCheckpoint::parse(site.done(&["audit", "checkpoint", "acme"]).as_bytes()).unwrap();
    assert!(head.verify(std::slice::from_ref(&old)).is_err());
    head.verify(&[new.trim().parse().unwrap()]).unwrap();

    // The same keys ask again; what was made after the backup is gone.
    let server = site.serve().await;
    let after = Arc::new(Witness::default());
    for key in [&key, &other_key] {
        assert!(
            server
                .client(key)
                .decision(&crate::harness::client::may_morty_change("one", true))
                .await
        );
    }
    assert!(after.ask(&server.client(&key)).await);
    assert_eq!(
        server
            .client(&late)
            .evaluate(&crate::harness::client::may_morty_change("one", true))
            .await
            .unwrap()
            .status,
        401
    );
    server.stop();
    after.check_new(&site, "acme");
    // It is over: nothing is left to be put back, and a second one is refused.
    let refused = site.refused(&restore);
    assert!(refused.contains("holds a deployment"), "{refused}");
    println!(
        "{entries} entries, put back to {restored_at}; {} decisions under load",
        witness.received()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_put_back_on_sqlite() {
    let site = Site::sqlite();
    let data = site.data().to_owned();
    let ground = Ground {
        address: Box::new(|id| {
            format!(
                "sqlite://{}",
                data.join(format!("tenants/{id}.db")).display()
            )
        }),
        lose: Box::new(|site| {
            std::fs::remove_dir_all(site.data().join("tenants")).unwrap();
            for ending in ["db", "db-wal", "db-shm"] {
                std::fs::remove_file(site.data().join(format!("control.{ending}"))).ok();
            }
        }),
        after: Vec::new(),
    };
    drill(site, ground).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_put_back_on_postgresql() {
    let (one, two) = (postgres::start(), postgres::start());
    let (url, other) = (one.url(), two.url());
    let ground = Ground {
        address: Box::new(|id| {
            let name = format!("cedarkeep_{}", id.split_once('_').unwrap().1);
            url.replacen("/postgres?", &format!("/{name}?"), 1)
        }),
        lose: Box::new(|site| {
            one.stop_now();
            site.set("CEDARKEEP_DATA__DATABASE", &other);
        }),
        after: vec![two.directory()],
    };
    drill(Site::postgres(&url), ground).await;
}
