//! Root keys out of reach while the service runs: what is open goes on, what is not says so, and all comes back by itself.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{
    decides, decides_again, has_no_keys, keyring_table, metric, providers, until_ready_says,
};
use crate::harness::postgres;
use crate::harness::server::Site;
use crate::harness::token::{Token, module};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_out_and_put_back() {
    let token = Token::start();
    let mut site = Site::sqlite();
    token.known_to(&mut site, &module());
    site.set("CEDARKEEP_KEYS__ROOT", "hsm");
    let (open, closed) = (site.create_todo_org("open"), site.create_todo_org("closed"));
    let mut server = site.serve().await;
    let (open, closed) = (server.client(&open), server.client(&closed));
    decides(&open).await;

    for _ in 0..2 {
        token.take_out();
        let first = Instant::now();
        has_no_keys(&closed, "what keeps its root key is out of reach").await;
        println!("the first refusal took {:?}", first.elapsed());
        for _ in 0..20 {
            decides(&open).await;
            has_no_keys(&closed, "what keeps its root key is out of reach").await;
        }
        until_ready_says(&server, |said| {
            said.contains("1 of 2 providers cannot be used")
        })
        .await;
        let start = Instant::now();
        while metric(&server, "cedarkeep_root_keys_down ").await != Some(1.0) {
            assert!(start.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        token.put_back();
        // Nobody asks for anything: the service finds it out by itself.
        until_ready_says(&server, str::is_empty).await;
        assert!(server.is_alive());
    }
    decides_again(&closed).await;
    decides(&open).await;
    let said = site.stderr();
    assert!(said.contains("root keys cannot be used"), "{said}");
    assert!(said.contains("root keys can be used again"), "{said}");
    server.stop();
    for slug in ["open", "closed"] {
        site.verify(slug);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_its_token_and_then_gives_up() {
    let token = Token::start();
    let mut site = Site::sqlite();
    token.known_to(&mut site, &module());
    site.set("CEDARKEEP_KEYS__ROOT", "hsm");
    let key = site.create_todo_org("acme");
    token.take_out();
    // A command does not wait.
    let start = Instant::now();
    let said = site.refused(&["org", "list"]);
    assert!(
        said.contains("the token `cedarkeep` is out of reach"),
        "{said}"
    );
    assert!(start.elapsed() < Duration::from_secs(8));

    site.set("CEDARKEEP_KEYS__WAIT_S", "3");
    let start = Instant::now();
    let said = site.refused(&["serve"]);
    assert!(said.contains("the start waits for its root keys"), "{said}");
    assert!(
        said.contains("cedarkeep: the root keys of `hsm` cannot be used"),
        "{said}"
    );
    assert!(
        (2..20).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );

    site.set("CEDARKEEP_KEYS__WAIT_S", "60");
    std::fs::remove_file(site.stderr_file()).ok();
    let said = site.stderr_file();
    let back = std::thread::spawn(move || {
        let waits = |text: String| text.contains("the start waits for its root keys");
        while !std::fs::read_to_string(&said).is_ok_and(waits) {
            std::thread::sleep(Duration::from_millis(50));
        }
        token.put_back();
        token
    });
    let server = site.serve().await;
    let _token = back.join().unwrap();
    decides(&server.client(&key)).await;
    server.stop();
}

/// A library that never comes back from its first call.
fn that_hangs(dir: &Path) -> PathBuf {
    let (source, library) = (dir.join("hangs.c"), dir.join("hangs.so"));
    let text = "#include <unistd.h>\nunsigned long C_GetFunctionList(void **l) { (void)l; for (;;) pause(); }\n";
    std::fs::write(&source, text).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(compiled.success());
    library
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_hangs_holds_up_nobody_else() {
    let token = Token::start();
    let mut site = Site::sqlite();
    token.known_to(&mut site, &module());
    site.set("CEDARKEEP_KEYS__TIMEOUT_MS", "1000");
    let (ours, theirs) = (site.create_todo_org("ours"), site.create_todo_org("theirs"));
    site.done(&["keys", "rewrap", "--org", "theirs", "--to", "hsm"]);
    token.known_to(&mut site, &that_hangs(token.dir()));
    let server = site.serve().await;
    let (ours, theirs) = (server.client(&ours), server.client(&theirs));
    // Many at once: they wait as long as one of them.
    let start = Instant::now();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let theirs = theirs.clone();
        asked.spawn(async move { has_no_keys(&theirs, "does not answer in time").await });
    }
    decides(&ours).await;
    while let Some(told) = asked.join_next().await {
        told.unwrap();
    }
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    decides(&ours).await;
    // And it ends when it is told to.
    server.stop();
}

/// A keyring of an organization's own, on a disk that is gone for a while.
async fn own_keyring_is_away(mut site: Site) {
    let (own, away) = (site.beside().join("own"), site.beside().join("away"));
    providers(&mut site, &[("own", keyring_table(&own))]);
    let (ours, theirs) = (site.create_todo_org("ours"), site.create_todo_org("theirs"));
    site.done(&["keys", "rewrap", "--org", "theirs", "--to", "own"]);
    let server = site.serve().await;
    let keys = (ours, theirs);
    let (ours, theirs) = (server.client(&keys.0), server.client(&keys.1));
    std::fs::rename(&own, &away).unwrap();
    has_no_keys(&theirs, "what keeps its root key is out of reach").await;
    decides(&ours).await;
    until_ready_says(&server, |said| said.contains("1 of 2")).await;
    assert!(!own.exists(), "none is made over data");
    std::fs::rename(&away, &own).unwrap();
    decides_again(&theirs).await;
    std::fs::rename(&own, &away).unwrap();
    // Open, it goes on without.
    decides(&theirs).await;
    server.stop();

    // A node that does not know the provider serves the others.
    site.set("CEDARKEEP_KEYS__PROVIDERS", "{}");
    let server = site.serve().await;
    let (ours, theirs) = (server.client(&keys.0), server.client(&keys.1));
    decides(&ours).await;
    has_no_keys(&theirs, "not known to this node").await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organizations_own_keyring_is_away_on_sqlite() {
    own_keyring_is_away(Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organizations_own_keyring_is_away_on_postgresql() {
    let server = postgres::start();
    own_keyring_is_away(Site::postgres(&server.url())).await;
}

/// Whether a legal hold stands cannot be asked while the key is away: nothing is destroyed, whatever is said.
async fn nothing_is_closed_unseen(mut site: Site) {
    let (own, away) = (site.beside().join("own"), site.beside().join("away"));
    let tables = [("own", keyring_table(&own))];
    providers(&mut site, &tables);
    site.create_todo_org("theirs");
    site.done(&["keys", "rewrap", "--org", "theirs", "--to", "own"]);
    site.done(&["org", "hold", "theirs", "--reason", "case 17"]);
    let close = "org close theirs --confirm theirs --grace 0 --unopened";
    let close: Vec<&str> = close.split(' ').collect();
    let said_less = &close[..close.len() - 1];
    let refuses = |site: &Site, why: &str| {
        let said = site.refused(&close);
        assert!(said.contains("nothing is destroyed"), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(!said.contains("--unopened"), "{said}");
    };

    std::fs::rename(&own, &away).unwrap();
    refuses(&site, "no keyring at");
    std::fs::rename(&away, &own).unwrap();
    std::fs::set_permissions(&own, Permissions::from_mode(0o644)).unwrap();
    refuses(&site, "has mode 0644");
    std::fs::set_permissions(&own, Permissions::from_mode(0o600)).unwrap();
    site.set("CEDARKEEP_KEYS__PROVIDERS", "{}");
    refuses(&site, "no provider of root keys `own` here");
    providers(&mut site, &tables);
    // It opens again, and says that the hold stands.
    let said = site.refused(&close);
    assert!(said.contains("legal hold"), "{said}");
    assert!(!said.contains("does not open"), "{said}");
    site.verify("theirs");

    // Another keyring in its place opens nothing: that is said, and what is lost goes where the operator says so.
    let other = Site::sqlite();
    other.done(&["org", "list"]);
    std::fs::copy(other.data().join("keyring"), &own).unwrap();
    let said = site.refused(said_less);
    assert!(said.contains("--unopened"), "{said}");
    assert!(site.done(&["org", "list"]).contains("theirs"));
    site.done(&close);
    assert!(!site.done(&["org", "list"]).contains("theirs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_closed_unseen_while_its_key_is_away_on_sqlite() {
    nothing_is_closed_unseen(Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_closed_unseen_while_its_key_is_away_on_postgresql() {
    let server = postgres::start();
    nothing_is_closed_unseen(Site::postgres(&server.url())).await;
}
