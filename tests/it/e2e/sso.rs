//! How people sign in, set by the operator at the machine: a connection to a provider that nobody here wrote, domains, sessions, and what is
//! wrong.

use serde_json::{Value, json};

use crate::harness::server::Site;
use crate::oidc::provider::Node;

/// What is printed, one JSON object a line.
fn lines(site: &Site, arguments: &[&str]) -> Vec<Value> {
    let printed = site.done(arguments);
    let lines = printed.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_operator_sets_how_people_sign_in() {
    let node = Node::start("http://127.0.0.1:9/logout", "https://nowhere.example/");
    let mut site = Site::sqlite();
    site.create_org("acme");
    let admin = site.add_admin("acme");
    let file = site.beside().join("connection.json");
    let path = file.to_str().unwrap().to_owned();
    let write = |value: &Value| std::fs::write(&file, value.to_string()).unwrap();
    let connection = json!({
        "name": "Staff", "protocol": "oidc", "issuer": node.issuer, "client_id": "cedarkeep",
        "client_secret": "CANARY-SECRET", "enabled": true,
    });
    write(&connection);
    // This machine is no provider's place, but where that is said.
    let set = ["sso", "set", "acme", "--file", &path, "--json"];
    let refused = site.refused(&set);
    assert!(
        refused.contains("issuer_url") || refused.contains("reach"),
        "{refused}"
    );
    site.set("CEDARKEEP_OUTSIDE__ALLOW_LOOPBACK", "true");
    write(&json!({"name": "Staff", "protocol": "oidc", "client_id": "cedarkeep"}));
    assert!(site.refused(&set).contains("issuer"));
    write(&connection);
    let made = site.told(&set);
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(made["redirect_uri"].as_str().unwrap().contains(&id));
    write(&json!({"name": "Renamed"}));
    let renamed = site.told(&["sso", "set", "acme", "--file", &path, "--id", &id, "--json"]);
    assert_eq!(
        (&renamed["name"], &renamed["enabled"]),
        (&json!("Renamed"), &json!(true))
    );

    let claimed = site.told(&["sso", "domain", "acme", "Example.com", "--json"]);
    assert_eq!(claimed["record_name"], "_cedarkeep.example.com");
    site.refused(&["sso", "domain", "acme", "example.com"]);
    site.refused(&["sso", "domain", "acme", "other.example", "--verify"]);
    let limited = site.told(&["sso", "limit", "acme", "--idle", "5", "--json"]);
    assert_eq!(limited["idle_minutes"], 5);
    assert!(
        site.refused(&["sso", "limit", "acme", "--idle", "31"])
            .contains("from 1 to 30")
    );
    assert!(
        site.refused(&["sso", "relax", "acme"])
            .contains("none is enforced")
    );

    let shown = lines(&site, &["sso", "show", "acme", "--json"]);
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[1]["domains"][0]["domain"], "example.com");
    assert!(!shown.iter().any(|line| line.to_string().contains("CANARY")));
    assert!(lines(&site, &["sso", "sessions", "acme", &admin, "--json"]).is_empty());
    let ended = site.told(&[
        "sso",
        "sessions",
        "acme",
        "admin@acme.example",
        "--end",
        "--json",
    ]);
    assert_eq!(ended["ended"], 0);
    site.refused(&["sso", "sessions", "acme", "nobody@acme.example"]);

    site.done(&["sso", "domain", "acme", "example.com", "--remove"]);
    site.done(&["sso", "remove", "acme", &id]);
    site.refused(&["sso", "remove", "acme", &id]);
    assert_eq!(lines(&site, &["sso", "show", "acme", "--json"]).len(), 1);
    let log = site.entries("acme");
    let told: Vec<String> = log.iter().map(ToString::to_string).collect();
    assert!(!told.iter().any(|entry| entry.contains("CANARY-SECRET")));
    assert_eq!(
        told.iter()
            .filter(|entry| entry.contains("\"sso.configured\""))
            .count(),
        2
    );
    site.verify("acme");
}
