//! Logged decisions made again at the command line: exit codes for whoever has a machine look at them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::server::{Site, case_directory};

/// Two of the todo scenario: an editor and a viewer.
const MORTY: &str = "user:CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs";

/// The scenario's files as a folder of policies.
fn folder(site: &Site) -> std::path::PathBuf {
    let (from, to) = (case_directory("todo"), site.beside().join("policies"));
    fs::create_dir(&to).unwrap();
    fs::copy(from.join("todo.cedarschema"), to.join("schema.cedarschema")).unwrap();
    for file in fs::read_dir(from.join("policies")).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
    to
}

fn replace(folder: &Path, from: &str, to: &str) {
    let mut replaced = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        if text.contains(from) {
            fs::write(&path, text.replace(from, to)).unwrap();
            replaced += 1;
        }
    }
    assert!(replaced > 0, "`{from}` is nowhere");
}

#[test]
fn decisions_are_made_again_at_the_machine() {
    let site = Site::sqlite();
    site.create_todo_org("todo");
    for action in ["can_create_todo", "can_update_todo", "can_read_todos"] {
        let on = ["explain", "todo", "--subject", MORTY, "--action", action];
        site.done(&[&on[..], &["--resource", "todo:1"]].concat());
    }
    let words = site.done(&["audit", "replay", "todo"]);
    assert!(
        words.starts_with("the same: 3 decisions come out exactly as they were recorded"),
        "{words}"
    );
    let told = site.told(&["audit", "replay", "todo", "--last", "5", "--json"]);
    // Of the last five, two are the operator's readings of policies and log before.
    assert_eq!(told["entries"]["decisions"], 5, "{told}");
    assert_eq!(
        (&told["replayed"], &told["unchanged"]),
        (&told["unchanged"], &Value::from(3))
    );
    assert_eq!(told["not_replayed"][0]["why"], "operator");
    for wrong in [
        &["--last", "0"][..],
        &["--from", "7", "--to", "7"],
        &["--last", "5", "--from", "1"],
        &["--since", "tomorrow"],
        &["--from", "1000000"],
    ] {
        let arguments = [&["audit", "replay", "todo"][..], wrong].concat();
        let output = site.run(&arguments);
        assert!(!output.status.success(), "{wrong:?}");
    }

    let folder = folder(&site);
    let at = folder.to_str().unwrap();
    let under = |more: &[&str]| site.run(&[&["policy", "replay", "todo", at][..], more].concat());
    let same = under(&["--max-flips", "0", "--json"]);
    assert!(
        same.status.success(),
        "{}",
        String::from_utf8_lossy(&same.stderr)
    );
    let report: Value = serde_json::from_slice(&same.stdout).unwrap();
    assert_eq!(
        (&report["under"], &report["unchanged"]),
        (&Value::from("draft"), &Value::from(3))
    );
    // Nobody does anything any more.
    fs::write(
        folder.join("never.cedar"),
        "@id(\"never\") @reason(\"No.\") forbid(principal is user, action, resource);",
    )
    .unwrap();
    let lost = under(&[]);
    let words = String::from_utf8_lossy(&lost.stdout).into_owned();
    assert!(lost.status.success(), "{words}");
    assert!(words.contains("2 that were allowed denied"), "{words}");
    assert!(words.contains("-> forbidden (never)"), "{words}");
    let lost = under(&["--max-flips", "1"]);
    assert_eq!(lost.status.code(), Some(1));
    let said = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert!(
        said.contains("2 answers would be others, and 1 may"),
        "{said}"
    );
    // Files that do not compile are told with their place.
    replace(
        &folder,
        "forbid(principal is user,",
        "forbid(principal is nobody,",
    );
    let wrong = under(&[]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stdout).into_owned();
    assert!(said.contains("never.cedar"), "{said}");
    let missing = site.run(&["policy", "replay", "todo", "/nowhere"]);
    assert_eq!(missing.status.code(), Some(2));
    // Each is in the log, as a reading of it.
    let log = site.done(&[
        "audit",
        "query",
        "todo",
        "--event",
        "audit_log.read",
        "--json",
        "-n",
        "0",
    ]);
    assert!(log.matches("\"replay\":\"recorded\"").count() >= 2, "{log}");
    assert!(log.matches("\"replay\":\"draft\"").count() >= 3, "{log}");
    site.verify("todo");
}
