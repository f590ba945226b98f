//! Policies in a Git repository, pushed to an organization: by the operator at the machine, and by a build server over HTTP with a key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::server::Site;

const SCHEMA: &str = "entity Ticket { open: Bool };\naction close appliesTo { principal: [Cedarkeep::User], resource: [Ticket] };\n";
const POLICY: &str = "@id(\"close\") @reason(\"Anybody closes tickets.\")\npermit (principal, action == Action::\"close\", resource);\n";
const TESTS: &str = "given: {users: {ben: Member}, entities: {Ticket:one: {open: true}}}
tests:
  - {name: anybody closes a ticket, principal: ben, action: close, resource: Ticket:one, expect: allow, reasons: close}
";
const STRICT: &str = "@id(\"close\") @reason(\"Open tickets can be closed.\")\npermit (principal, action == Action::\"close\", resource) when { resource.open };\n";

fn folder(site: &Site, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = site.beside().join(name);
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
    folder
}

fn texts(folder: &Path) -> Vec<(String, String)> {
    let mut texts: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    texts.sort();
    texts
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_operator_pushes_compares_activates_and_takes_back() {
    let site = Site::sqlite();
    site.create_org("acme");
    site.add_admin("acme");
    let first = folder(
        &site,
        "one",
        &[("schema.cedarschema", SCHEMA), ("a.cedar", POLICY)],
    );
    let second = folder(
        &site,
        "two",
        &[("schema.cedarschema", SCHEMA), ("b.cedar", STRICT)],
    );
    let [one, two] = [&first, &second].map(|folder| folder.to_str().unwrap().to_owned());
    let policy = |arguments: &[&str]| {
        let mut all = vec!["policy"];
        all.extend(arguments);
        all.extend(["--org", "acme", "--json"]);
        site.run(&all)
    };
    let told = |arguments: &[&str]| -> Value {
        let output = policy(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        serde_json::from_slice(output.stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
    };
    assert_eq!(told(&["push", &one, "-m", "tickets"])["version"], 1);
    assert_eq!(told(&["activate", "1"])["version"], 1);
    assert_eq!(told(&["push", &one])["unchanged"], true);
    let difference = policy(&["diff", &two, "--exit-code"]);
    assert_eq!(difference.status.code(), Some(1), "{}", said(&difference));
    assert!(said(&difference).contains("close"), "{}", said(&difference));
    assert_eq!(told(&["push", &two, "--activate"])["version"], 2);
    assert!(policy(&["diff", &two, "--exit-code"]).status.success());
    assert_eq!(told(&["rollback", "1"])["version"], 1);
    let pulled = site.beside().join("pulled");
    fs::create_dir_all(&pulled).unwrap();
    fs::write(pulled.join("old.cedar"), "").unwrap();
    fs::write(pulled.join("README.md"), "mine").unwrap();
    assert_eq!(
        told(&["pull", pulled.to_str().unwrap(), "--delete"])["deleted"],
        json!(["old.cedar"])
    );
    fs::remove_file(pulled.join("README.md")).unwrap();
    assert_eq!(texts(&pulled), texts(&first));
    let listed = policy(&["versions"]);
    let lines: Vec<Value> = String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let active: Vec<(u64, bool)> = lines
        .iter()
        .map(|line| {
            (
                line["version"].as_u64().unwrap(),
                line["active"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(active, [(2, false), (1, true)]);
    // What is wrong is said with its place, and nothing is drafted.
    let wrong = folder(
        &site,
        "wrong",
        &[
            ("a.cedar", POLICY),
            ("b.cedar", &format!("{POLICY}\npermit (principal")),
        ],
    );
    let output = policy(&["push", wrong.to_str().unwrap()]);
    assert!(
        output.status.code() == Some(2) && said(&output).contains("b.cedar"),
        "{}",
        said(&output)
    );
    assert_eq!(policy(&["rollback", "7"]).status.code(), Some(1));
    let empty = site.beside().join("empty");
    for asked in [
        &["activate", "7"][..],
        &["rollback", "7"],
        &["check", "7"],
        &["pull", empty.to_str().unwrap(), "--version", "7"],
    ] {
        let output = policy(asked);
        assert!(
            said(&output).contains("no version 7: `cedarkeep policy versions` lists them"),
            "{asked:?}: {}",
            said(&output)
        );
    }
    // A test that fails is named, and what runs it.
    let failing = TESTS.replace("expect: allow, reasons: close", "expect: deny");
    let files = [
        ("schema.cedarschema", SCHEMA),
        ("a.cedar", POLICY),
        ("a.test.yaml", failing.as_str()),
    ];
    let failing = folder(&site, "failing", &files);
    let failing = failing.to_str().unwrap();
    let output = site.run(&["policy", "push", failing, "--org", "acme"]);
    let why = said(&output);
    assert_eq!(output.status.code(), Some(1), "{why}");
    for part in [
        "1 of its 1 tests do not pass",
        "`a.test.yaml` line 3: anybody closes a ticket",
        &format!("`cedarkeep policy test {failing}` says why"),
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    let cleared = site.run(&["policy", "rollback", "--operator", "acme"]);
    assert!(
        said(&cleared).contains("the built-in policies alone"),
        "{}",
        said(&cleared)
    );
    site.verify("acme");
}

/// What the README exports for a service says nothing against an organization that is named: the way back in is taken in just that shell.
#[test]
fn an_organization_that_is_named_wins_over_the_environment() {
    let mut site = Site::sqlite();
    site.create_org("acme");
    site.add_admin("acme");
    for (name, value) in [
        ("CEDARKEEP_SERVER", "https://pdp.example.com"),
        ("CEDARKEEP_API_KEY", "ck_live_none"),
        ("CEDARKEEP_ACTING_USER", "usr_none"),
        ("CEDARKEEP_CA", "/nowhere/ca.crt"),
    ] {
        site.set(name, value);
    }
    let one = folder(
        &site,
        "one",
        &[("schema.cedarschema", SCHEMA), ("a.cedar", POLICY)],
    );
    let push = [
        "policy",
        "push",
        one.to_str().unwrap(),
        "--activate",
        "--org",
        "acme",
    ];
    assert!(site.done(&push).contains("version 1 counts"));
    let cleared = site.done(&["policy", "rollback", "--operator", "acme"]);
    assert!(cleared.contains("the built-in policies alone"), "{cleared}");
    // What is said on the line itself contradicts it as before.
    let both = [
        "policy",
        "versions",
        "--org",
        "acme",
        "--server",
        "https://pdp.example.com",
    ];
    let both = site.refused(&both);
    assert!(both.contains("cannot be used with"), "{both}");
    site.set("CEDARKEEP_SERVER", "nowhere");
    let wrong = site.refused(&["policy", "versions"]);
    assert!(wrong.contains("CEDARKEEP_SERVER is no URL"), "{wrong}");
}

/// A build server: a key with the scope `policy`, in whose calls an Admin acts; another Admin approves.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_server_pushes_and_an_admin_activates() {
    let mut site = Site::sqlite();
    site.create_org("acme");
    let admin = site.add_admin("acme");
    let add = [
        "member",
        "add",
        "acme",
        "--name",
        "Zoe",
        "--email",
        "zoe@acme.example",
        "--role",
        "Admin",
        "--json",
    ];
    let second = site.told(&add)["id"].as_str().unwrap().to_owned();
    let key = site.create_key("acme", "policy,audit.read,decide");
    let server = site.serve().await;
    let address = format!("https://127.0.0.1:{}", server.port());
    let ca = site.data().join("tls/ca.crt").to_str().unwrap().to_owned();
    let key_file = site.beside().join("key");
    fs::write(&key_file, format!("{key}\n")).unwrap();
    site.set("CEDARKEEP_API_KEY", &key);
    site.set("CEDARKEEP_SERVER", &address);
    let run = |user: &str, arguments: &[&str]| {
        let mut all = vec!["policy"];
        all.extend(arguments);
        all.extend(["--as", user, "--ca", &ca]);
        site.run(&all)
    };
    let done = |user: &str, arguments: &[&str]| {
        let output = run(user, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        said(&output)
    };
    let tests = "tests:\n  - name: nobody\n";
    let first = folder(
        &site,
        "one",
        &[
            ("schema.cedarschema", SCHEMA),
            ("a.cedar", POLICY),
            ("a.test.yaml", tests),
        ],
    );
    let one = first.to_str().unwrap();
    // Test files that are none are refused with their place, as policies are.
    let refused = run(&admin, &["push", one]);
    assert!(
        refused.status.code() == Some(2) && said(&refused).contains("a.test.yaml"),
        "{}",
        said(&refused)
    );
    fs::write(first.join("a.test.yaml"), TESTS).unwrap();
    let asked = ["conditions", "--approval", "--tests", "--proof", "yes"];
    assert!(done(&admin, &asked).contains("\"approval\":true"));
    assert!(done(&admin, &["push", one, "-m", "tickets"]).contains("drafted version 1"));
    let early = run(&admin, &["activate", "1"]);
    let why = said(&early);
    assert!(
        !early.status.success() && why.contains("was not checked") && why.contains("another Admin"),
        "{why}"
    );
    let own = said(&run(&admin, &["approve", "1"]));
    assert!(own.contains("is yours"), "{own}");
    assert!(done(&second, &["approve", "1"]).contains("approved"));
    let checked = done(&admin, &["check", "1", "--last", "100"]);
    assert!(
        checked.contains("1 of its 1 tests pass")
            && (checked.contains("proof: ") || checked.contains("replay: ")),
        "{checked}"
    );
    for asked in ["activate", "rollback", "check", "approve", "shadow"] {
        let absent = said(&run(&admin, &[asked, "99"]));
        let known = "no version 99: `cedarkeep policy versions` lists them";
        assert!(absent.contains(known), "{asked}: {absent}");
    }
    let stale = said(&run(&admin, &["activate", "1", "--active", "9"]));
    assert!(stale.contains("version 0 is active, and not 9"), "{stale}");
    assert!(done(&admin, &["activate", "1", "--active", "0"]).contains("version 1 counts"));
    assert!(done(&admin, &["versions"]).contains("counts"));
    let pulled = site.beside().join("pulled");
    done(
        &admin,
        &[
            "pull",
            pulled.to_str().unwrap(),
            "--key-file",
            key_file.to_str().unwrap(),
        ],
    );
    assert_eq!(texts(&pulled), texts(&first));
    assert!(run(&admin, &["diff", one, "--exit-code"]).status.success());

    // A name that would lead out of the folder is refused, whoever drafted it.
    let body = json!({"policies": {"../../evil.cedar": POLICY}, "schema": SCHEMA})
        .to_string()
        .into_bytes();
    let headers = [
        ("content-type", "application/json"),
        ("cedarkeep-acting-user", second.as_str()),
    ];
    let told = server
        .client(&key)
        .send(
            reqwest::Method::POST,
            "/v1/policy-versions",
            &headers,
            Some(body),
        )
        .await
        .unwrap();
    assert_eq!(told.status, 201, "{}", told.body);
    let evil = run(
        &admin,
        &["pull", pulled.to_str().unwrap(), "--version", "2"],
    );
    assert!(
        !evil.status.success() && said(&evil).contains("no name for one here"),
        "{}",
        said(&evil)
    );
    assert_eq!(texts(&pulled), texts(&first));
    // Its own policies are a shadow, and ended.
    assert!(done(&admin, &["shadow", "2"]).contains('2'));
    assert!(done(&admin, &["shadow", "--end"]).contains("no version"));

    // The key goes nowhere in the clear, and nowhere without one.
    let clear = said(&run(
        &admin,
        &["versions", "--server", "http://127.0.0.1:1"],
    ));
    assert!(
        clear.contains("over https alone") && !clear.contains(&key),
        "{clear}"
    );
    // A certificate that nobody known has signed: what to do about it. The variable is as good as the option.
    let unknown = said(&site.run(&["policy", "versions", "--as", &admin]));
    assert!(unknown.contains("--ca data/tls/ca.crt"), "{unknown}");
    site.set("CEDARKEEP_CA", &ca);
    site.set("CEDARKEEP_ACTING_USER", &admin);
    assert!(site.done(&["policy", "versions"]).contains("counts"));
    site.set("CEDARKEEP_API_KEY", "");
    let without = said(&site.run(&["policy", "versions", "--ca", &ca]));
    assert!(without.contains("CEDARKEEP_API_KEY"), "{without}");
    server.stop();
}
