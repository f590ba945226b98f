//! Killed in the middle, or with a full disk: a backup is there whole or not at all, and a restore is done by being done again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::chance::Chance;
use crate::harness::postgres;
use crate::harness::server::Site;
use crate::harness::witness::Witness;

/// An organization with a log that takes a while.
async fn filled(site: &Site) -> String {
    let key = site.create_todo_org("acme");
    site.create_todo_org("other");
    let server = site.serve().await;
    let witness = Arc::new(Witness::default());
    let load = witness.load(&server, &key, 32);
    tokio::time::sleep(Duration::from_secs(3)).await;
    load.end().await;
    server.stop();
    println!("{} decisions", witness.received());
    key
}

/// Begins a command and kills it after a while; whether it was at work still.
fn killed(site: &Site, arguments: &[&str], after: Duration) -> bool {
    let mut child = site.begin(arguments);
    std::thread::sleep(after);
    let ended = child.try_wait().unwrap().is_some();
    child.kill().ok();
    child.wait().unwrap();
    !ended
}

fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// `PROVE=1` makes it thirty times instead of three.
fn rounds() -> usize {
    if std::env::var_os("PROVE").is_some() {
        30
    } else {
        3
    }
}

/// How long a command takes that is not killed.
fn lasts(site: &Site, arguments: &[&str]) -> Duration {
    let since = Instant::now();
    site.done(arguments);
    since.elapsed()
}

async fn whoever_is_killed_comes_again(site: &mut Site, lose: impl FnOnce(&mut Site)) {
    let mut chance = Chance::of_this_run("backups killed");
    let key = filled(site).await;
    let backups = site.beside().join("backups");
    std::fs::create_dir(&backups).unwrap();
    let whole = backups.join("whole");
    let from = whole.to_str().unwrap();
    let most = lasts(site, &["backup", "--output", from]);
    let (mut hit, mut round) = (0, 0);
    while round < rounds() || hit == 0 {
        round += 1;
        assert!(round < 100, "no backup was killed at work");
        let output = backups.join(format!("{round}"));
        let backup = ["backup", "--output", output.to_str().unwrap()];
        hit += usize::from(killed(site, &backup, chance.span(Duration::ZERO, most)));
        // It has its name, and then it is whole; or what is left of it says that it is nothing.
        if output.exists() {
            site.done(&["restore", "--from", output.to_str().unwrap(), "--check"]);
        }
    }
    let halves = names(&backups)
        .into_iter()
        .filter(|name| name.starts_with('.'));
    for half in halves {
        let half = backups.join(half);
        let refused = site.refused(&["restore", "--from", half.to_str().unwrap(), "--check"]);
        assert!(refused.contains("is no backup"), "{refused}");
    }
    let size = site.entries("acme").len();

    // One organization, killed at any moment: it opens as it was, or not at all, until it is done.
    let one = [
        "restore",
        "--from",
        from,
        "--org",
        "acme",
        "--confirm",
        "acme",
    ];
    let most = lasts(site, &one);
    let mut between = 0;
    for _ in 0..rounds() {
        killed(site, &one, chance.span(most / 3, most));
        let shown = site.run(&["org", "show", "acme"]);
        if !shown.status.success() {
            let said = String::from_utf8(shown.stderr).unwrap();
            assert!(said.contains("is being put back"), "{said}");
            between += 1;
        }
        site.verify("other");
    }
    site.done(&one);
    site.verify("acme");
    println!("{hit} backups and {between} restores of one organization were killed in between");

    // Everything, on a machine where nothing is.
    lose(site);
    let all = [
        "restore",
        "--from",
        from,
        "--confirm",
        "cedarkeep.local",
        "--no-ledger",
    ];
    let mut between = 0;
    for _ in 0..rounds() {
        if !killed(site, &all, chance.span(most / 3, most)) {
            break;
        }
        let shown = site.run(&["org", "show", "acme"]);
        between +=
            usize::from(String::from_utf8_lossy(&shown.stderr).contains("is being put back"));
    }
    // Whoever was done in time is done; else it is done now.
    let last = site.run(&all);
    let said = String::from_utf8_lossy(&last.stderr).into_owned();
    assert!(
        last.status.success() || said.contains("holds a deployment"),
        "{said}"
    );
    println!("{between} restores of everything were killed in between");
    for log in ["acme", "other", "deployment"] {
        site.verify(log);
    }
    assert!(site.entries("acme").len() >= size);
    let server = site.serve().await;
    let question = crate::harness::client::may_morty_change("one", true);
    assert!(server.client(&key).decision(&question).await);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_comes_again_on_sqlite() {
    let mut site = Site::sqlite();
    whoever_is_killed_comes_again(&mut site, |site| {
        std::fs::remove_dir_all(site.data().join("tenants")).unwrap();
        for ending in ["db", "db-wal", "db-shm"] {
            std::fs::remove_file(site.data().join(format!("control.{ending}"))).ok();
        }
    })
    .await;
    // Nothing lies beside what there is.
    let left = names(&site.data().join("tenants"));
    assert!(left.iter().all(|name| !name.contains(".new")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_comes_again_on_postgresql() {
    let (one, two) = (postgres::start(), postgres::start());
    let mut site = Site::postgres(&one.url());
    let other = two.url();
    whoever_is_killed_comes_again(&mut site, |site| {
        site.set("CEDARKEEP_DATA__DATABASE", &other)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_nothing_of_a_backup_and_the_tenant_as_it_was() {
    let site = Site::sqlite();
    filled(&site).await;
    let backups = site.beside().join("backups");
    std::fs::create_dir(&backups).unwrap();
    let (whole, more) = (backups.join("whole"), backups.join("more"));
    site.done(&["backup", "--output", whole.to_str().unwrap()]);
    let size = site.entries("acme").len();
    let refused = site.refused_within(120, &["backup", "--output", more.to_str().unwrap()]);
    assert!(
        refused.contains("cannot write") && refused.contains("make room"),
        "{refused}"
    );
    assert_eq!(names(&backups), ["whole"]);
    // A restore that finds no room has changed nothing either.
    let from = whole.to_str().unwrap();
    site.refused_within(
        120,
        &[
            "restore",
            "--from",
            from,
            "--org",
            "acme",
            "--confirm",
            "acme",
        ],
    );
    assert!(site.entries("acme").len() >= size);
    site.verify("acme");
}
