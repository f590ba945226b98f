//! Credentials of services, made and ended by the operator at the machine.

use serde_json::Value;

use crate::harness::server::Site;

/// What a list prints: one JSON object a line.
fn keys(site: &Site) -> Vec<Value> {
    let printed = site.done(&["key", "list", "acme", "--json"]);
    let lines = printed.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_operator_replaces_and_revokes_keys() {
    let site = Site::sqlite();
    site.create_org("acme");
    site.create_key("acme", "decide");
    let [first] = keys(&site).try_into().unwrap();
    let (id, service) = (
        first["id"].as_str().unwrap(),
        first["service"].as_str().unwrap(),
    );
    assert_eq!(first["last_used_at"], Value::Null);
    let next = site.told(&[
        "key",
        "rotate",
        "acme",
        id,
        "--overlap-hours",
        "3",
        "--json",
    ]);
    assert!(next["key"].as_str().unwrap().starts_with("ck_live_"));
    assert_eq!(next["replaces"], id);
    assert!(next["replaced_ends_at"].is_string());
    let both = keys(&site);
    assert_eq!(both.len(), 2);
    assert!(both.iter().all(|key| key["service"] == service));
    // A third is refused with what to do.
    let third = site.refused(&["key", "create", "acme", "--name", "c", "--service", service]);
    assert!(third.contains("revoke one"), "{third}");
    site.refused(&["key", "rotate", "acme", id, "--overlap-hours", "169"]);
    site.done(&["key", "revoke", "acme", id]);
    assert_eq!(keys(&site).len(), 1);
    site.done(&["key", "create", "acme", "--name", "c", "--service", service]);
    let bound = site.told(&[
        "key",
        "create",
        "acme",
        "--name",
        "Chat",
        "--certificate",
        "spiffe://acme.example/chat",
        "--json",
    ]);
    assert_eq!(bound["certificate"], "spiffe://acme.example/chat");
    assert!(bound.get("key").is_none());
    for (arguments, says) in [
        (vec!["rotate", "acme", "key_nothing"], "no identifier"),
        (vec!["rotate", "acme", id], "there is no"),
        (vec!["revoke", "acme", id], "there is no"),
        (
            vec!["create", "acme", "--name", "x", "--service", id],
            "no identifier",
        ),
        (
            vec![
                "create",
                "acme",
                "--name",
                "x",
                "--certificate",
                "*.x.example",
            ],
            "certificate",
        ),
        (
            vec![
                "create",
                "acme",
                "--name",
                "x",
                "--service",
                service,
                "--scopes",
                "decide",
            ],
            "--scopes",
        ),
    ] {
        let said = site.refused(&[vec!["key"], arguments].concat());
        assert!(said.contains(says), "{said}");
    }
    site.verify("acme");
}
