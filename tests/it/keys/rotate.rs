//! `cedarkeep keys rotate` where root keys are not in the one keyring, and what is refused.

use serde_json::Value;

use super::{decides, keyring_table, providers};
use crate::harness::server::Site;
use crate::harness::token::{Token, module};

/// The version of the root key, and those that are held where it is.
fn root(site: &Site) -> (u64, Vec<u64>) {
    let said = site.done(&["keys", "status", "--json"]);
    let mut lines = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let root = lines.find(|line| line["key"] == "root").unwrap();
    let held = root["held"].as_array().unwrap().iter();
    (
        root["version"].as_u64().unwrap(),
        held.map(|version| version.as_u64().unwrap()).collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_key_in_a_token_is_rotated_while_the_service_runs() {
    let token = Token::start();
    let mut site = Site::sqlite();
    providers(&mut site, &[("hsm", token.settings(&module()))]);
    site.set("SOFTHSM2_CONF", token.conf().to_str().unwrap());
    site.set("CEDARKEEP_KEYS__ROOT", "hsm");
    let key = site.create_todo_org("acme");
    let server = site.serve().await;
    let client = server.client(&key);
    decides(&client).await;
    assert_eq!(root(&site), (1, vec![1]));
    // The next one is there, and wraps nothing yet.
    site.done(&["keys", "rotate", "root", "--prepare"]);
    assert_eq!(root(&site), (1, vec![1, 2]));
    site.create_org("early");
    decides(&client).await;
    site.done(&["keys", "rotate", "root"]);
    assert_eq!(root(&site), (2, vec![2]));
    decides(&client).await;
    site.create_org("late");
    server.stop();
    // The token has no other key any more, and everything opens.
    let server = site.serve().await;
    decides(&server.client(&key)).await;
    server.stop();
    for slug in ["acme", "early", "late"] {
        site.verify(slug);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_key_moves_in_the_middle_of_its_rotation() {
    let mut site = Site::sqlite();
    let own = site.beside().join("own");
    providers(&mut site, &[("own", keyring_table(&own))]);
    let key = site.create_todo_org("acme");
    let file = site.beside().join("people.json");
    let people = (0..4_000).map(|number| {
        serde_json::json!({
            "uid": {"type": "user", "id": format!("somebody {number}")},
            "attrs": {"email": format!("{number}@example.com")}, "parents": [],
        })
    });
    std::fs::write(&file, Value::Array(people.collect()).to_string()).unwrap();
    site.done(&["org", "load", "acme", "--entities", file.to_str().unwrap()]);
    // No service runs that would go on with it: the first step is there, and the next key beside the present one.
    site.done(&["keys", "rotate", "tenant", "acme"]);
    site.done(&["keys", "rewrap", "--org", "acme", "--to", "own"]);
    let server = site.serve().await;
    let client = server.client(&key);
    decides(&client).await;
    let tenant = site.second_tenant_key("acme").await;
    assert_eq!(tenant["held"].as_array().unwrap().len(), 1, "{tenant}");
    decides(&client).await;
    server.stop();
    // The deployment's keyring is not asked for it: without its own it does not open.
    let away = own.with_extension("away");
    std::fs::rename(&own, &away).unwrap();
    let server = site.serve().await;
    super::has_no_keys(&server.client(&key), "out of reach").await;
    std::fs::rename(&away, &own).unwrap();
    super::decides_again(&server.client(&key)).await;
    server.stop();
    site.verify("acme");
}

#[test]
fn what_cannot_be_rotated_is_refused_with_the_next_step() {
    let mut site = Site::sqlite();
    let twin = site.beside().join("twin");
    site.create_org("acme");
    // The deployment's own keyring under another name: neither can lose a version that the other needs.
    std::os::unix::fs::symlink(site.data().join("keyring"), &twin).unwrap();
    providers(&mut site, &[("twin", keyring_table(&twin))]);
    let refused = site.refused(&["keys", "rotate", "root"]);
    assert!(refused.contains("are the same root keys"), "{refused}");
    assert_eq!(root(&site), (1, vec![1]));
    providers(&mut site, &[]);
    site.done(&["keys", "rotate", "root"]);
    assert_eq!(root(&site), (2, vec![2]));
}
