//! `cedarkeep keys rewrap`: what moves, what stays, what is said, and what a kill in the middle leaves behind.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::{decides, keyring_table, providers};
use crate::harness::chance::Chance;
use crate::harness::postgres;
use crate::harness::server::Site;
use crate::harness::token::{Token, module};

fn said(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn summary(text: &str) -> (u64, u64, u64) {
    let last = said(text).pop().unwrap();
    let count = |name: &str| last[name].as_u64().unwrap();
    (count("moved"), count("kept"), count("failed"))
}

/// Everything in the tenants' databases, to the byte.
fn tenants(site: &Site) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(site.data().join("tenants")).unwrap();
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "db"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_keys_move_into_a_token_while_the_service_runs() {
    let token = Token::start();
    let mut site = Site::sqlite();
    let own = site.beside().join("own");
    let tables = [
        ("own", keyring_table(&own)),
        ("hsm", token.settings(&module())),
    ];
    providers(&mut site, &tables);
    site.set("SOFTHSM2_CONF", token.conf().to_str().unwrap());
    let keys = [site.create_todo_org("acme"), site.create_todo_org("beta")];
    site.done(&["org", "create", "gamma", "--keys", "own"]);
    let server = site.serve().await;
    let acme = server.client(&keys[0]);
    decides(&acme).await;
    let before = tenants(&site);

    let refused = site.refused(&["keys", "rewrap", "--to", "hsm"]);
    assert!(
        refused.contains("set `keys.root` to `hsm` first"),
        "{refused}"
    );
    // Two organizations, the deployment's log and the deployment itself; gamma's stays where its owner wants it.
    site.set("CEDARKEEP_KEYS__ROOT", "hsm");
    let text = site.done(&["keys", "rewrap", "--json"]);
    assert_eq!(summary(&text), (4, 1, 0), "{text}");
    let moved: Vec<_> = said(&text)
        .into_iter()
        .filter(|line| line["key"].is_string())
        .collect();
    assert_eq!(moved.len(), 4, "{text}");
    for line in &moved {
        assert_eq!(
            (&line["provider"], &line["root_version"]),
            (&"hsm".into(), &1.into()),
            "{text}"
        );
    }
    decides(&acme).await;
    decides(&server.client(&keys[1])).await;
    server.stop();
    let text = site.done(&["keys", "rewrap", "--json", "--to", "hsm"]);
    assert_eq!(summary(&text), (0, 5, 0), "{text}");

    // The keyring is needed by nobody any more.
    std::fs::remove_file(site.data().join("keyring")).unwrap();
    let server = site.serve().await;
    for key in &keys {
        decides(&server.client(key)).await;
    }
    server.stop();
    let after = tenants(&site);
    assert_eq!(before.len(), after.len());
    for slug in ["acme", "beta", "gamma"] {
        site.verify(slug);
    }
}

#[test]
fn tenants_databases_are_not_touched() {
    let mut site = Site::sqlite();
    let (own, other) = (site.beside().join("own"), site.beside().join("other"));
    providers(
        &mut site,
        &[
            ("own", keyring_table(&own)),
            ("other", keyring_table(&other)),
        ],
    );
    for slug in ["acme", "beta"] {
        site.create_org(slug);
    }
    let before = tenants(&site);
    let one = |to: &str| site.told(&["keys", "rewrap", "--org", "acme", "--to", to, "--json"]);
    for (to, provider, moved) in [
        ("own", "own", true),
        ("own", "own", false),
        ("other", "other", true),
        ("keyring", "keyring", true),
        ("keyring", "keyring", false),
        ("own", "own", true),
    ] {
        let done = one(to);
        assert_eq!(
            (&done["provider"], &done["moved"]),
            (&provider.into(), &moved.into()),
            "{to}"
        );
    }
    // A move of all leaves it with its own provider, under the newest key of that.
    let mut ring = cedarkeep::crypto::keyring::Keyring::open(&own).unwrap();
    ring.add_root().unwrap();
    let text = site.done(&["keys", "rewrap", "--json"]);
    assert_eq!(said(&text)[0]["root_version"], 2, "{text}");
    assert_eq!(summary(&text).0, 1, "{text}");
    ring.destroy_root(1).unwrap();
    assert_eq!(tenants(&site), before);
    for slug in ["acme", "beta"] {
        site.done(&["org", "show", slug]);
    }
    for (command, why) in [
        (
            &["keys", "rewrap", "--org", "nobody"][..],
            "no organization `nobody`",
        ),
        (
            &["keys", "rewrap", "--org", "acme", "--to", "x"],
            "[keys.providers.x]",
        ),
    ] {
        let refused = site.refused(command);
        assert!(refused.contains(why), "{refused}");
    }
    // Whose root key is away is said, the others move, and the next run does the rest.
    let away = site.beside().join("away");
    std::fs::rename(&own, &away).unwrap();
    site.set("CEDARKEEP_KEYS__ROOT", "other");
    let output = site.run(&["keys", "rewrap", "--json"]);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    // The deployment's own goes last, behind all others.
    assert_eq!(summary(&text), (1, 0, 1), "{text}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("run it again"));
    std::fs::rename(&away, &own).unwrap();
    assert_eq!(
        summary(&site.done(&["keys", "rewrap", "--json"])),
        (1, 2, 0)
    );
}

/// Whoever writes to the control database says that an organization's key belongs to others.
#[tokio::test]
async fn no_key_goes_over_to_another_owner_by_a_row_alone() {
    use sqlx::{Connection as _, Executor as _};
    let mut site = Site::sqlite();
    let (own, other) = (site.beside().join("own"), site.beside().join("other"));
    let tables = [
        ("own", keyring_table(&own)),
        ("other", keyring_table(&other)),
    ];
    providers(&mut site, &tables);
    site.create_org("ours");
    site.done(&["org", "create", "theirs", "--keys", "own"]);
    site.done(&["org", "create", "others", "--keys", "other"]);
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", site.data().join("control.db").display());
    let mut control = sqlx::AnyConnection::connect(&url).await.unwrap();
    for (forged, back) in [
        (
            "UPDATE tenant SET provider = '' WHERE provider = 'own'",
            "UPDATE tenant SET provider = 'own' WHERE wrapped_by = 'own'",
        ),
        (
            "UPDATE tenant SET provider = 'own' WHERE provider = ''",
            "UPDATE tenant SET provider = '' WHERE wrapped_by = 'keyring'",
        ),
    ] {
        control.execute(forged).await.unwrap();
        let output = site.run(&["keys", "rewrap", "--json"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("its row says that it belongs to"), "{said}");
        control.execute(back).await.unwrap();
    }
    // Said to be wrapped by others it does not open there, and nothing is made of it.
    control
        .execute(
            "UPDATE tenant SET wrapped_by = 'other', provider = 'other' WHERE provider = 'own'",
        )
        .await
        .unwrap();
    for command in [
        &["org", "show", "theirs"][..],
        &["keys", "rewrap", "--org", "theirs", "--to", "keyring"],
    ] {
        let said = site.refused(command);
        assert!(said.contains("does not open"), "{said}");
    }
    for slug in ["ours", "others"] {
        site.done(&["org", "show", slug]);
    }
}

/// Killed again and again at any moment, it comes to an end, and nothing is lost.
fn is_killed_and_resumes(mut site: Site, test: &str) {
    let mut chance = Chance::of_this_run(test);
    let own = site.beside().join("own");
    providers(&mut site, &[("own", keyring_table(&own))]);
    let slugs: Vec<String> = (0..12).map(|number| format!("org-{number}")).collect();
    for slug in &slugs {
        site.create_org(slug);
    }
    let whole = time_of(&site);
    site.set("CEDARKEEP_KEYS__ROOT", "own");
    let rounds = match std::env::var_os("PROVE") {
        Some(_) => 24,
        None => 6,
    };
    let (mut killed, mut begun) = (0, 0);
    while begun < rounds || killed == 0 {
        begun += 1;
        assert!(begun < 100, "it is over before it can be killed");
        let mut child = site.begin(&["keys", "rewrap"]);
        std::thread::sleep(chance.span(Duration::ZERO, whole * 2));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        // Whatever it did, everything opens.
        for slug in &slugs[..2] {
            site.done(&["org", "show", slug]);
        }
    }
    println!("killed {killed} of {begun} runs");
    let (moved, kept, failed) = summary(&site.done(&["keys", "rewrap", "--json"]));
    println!("the last run moved {moved}");
    assert_eq!((moved + kept, failed), (13, 0));
    std::fs::remove_file(site.data().join("keyring")).unwrap();
    for slug in &slugs {
        site.done(&["org", "show", slug]);
        site.verify(slug);
    }
}

fn time_of(site: &Site) -> Duration {
    let start = std::time::Instant::now();
    site.done(&["keys", "rewrap"]);
    start.elapsed()
}

#[test]
fn a_move_that_is_killed_resumes_on_sqlite() {
    is_killed_and_resumes(Site::sqlite(), "a_move_that_is_killed_resumes_on_sqlite");
}

#[test]
fn a_move_that_is_killed_resumes_on_postgresql() {
    let server = postgres::start();
    let site = Site::postgres(&server.url());
    is_killed_and_resumes(site, "a_move_that_is_killed_resumes_on_postgresql");
}
