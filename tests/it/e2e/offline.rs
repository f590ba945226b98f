//! What a stranger does with a receipt: checks it with the public key alone, on a machine that has nothing of ours.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::client::may_morty_change;
use crate::harness::server::Site;

/// The command where there is no configuration, no data and no database.
pub fn elsewhere(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cedarkeep"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .output()
        .unwrap()
}

pub fn refused(directory: &Path, arguments: &[&str]) -> String {
    let output = elsewhere(directory, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("sound:"));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_verified_with_the_public_key_alone() {
    let site = Site::sqlite();
    let key = site.create_todo_org("acme");
    site.create_todo_org("other");
    let server = site.serve().await;
    for number in 0..5 {
        let question = may_morty_change(&number.to_string(), true);
        assert!(server.client(&key).decision(&question).await);
    }
    server.stop();
    let last = site.entries("acme").len() - 1;
    let receipt = site.done(&["audit", "receipt", "acme", &last.to_string()]);
    let public = site.done(&["audit", "checkpoint", "acme", "--key"]);
    let foreign = site.done(&["audit", "checkpoint", "other", "--key"]);
    assert!(site.done(&["audit", "checkpoint", "acme"]).contains("/t/"));

    let away = tempfile::tempdir().unwrap();
    let away = away.path();
    let write = |name: &str, text: &[u8]| std::fs::write(away.join(name), text).unwrap();
    write("receipt", receipt.as_bytes());
    write("key", public.as_bytes());
    for key in ["key", public.trim()] {
        let output = elsewhere(away, &["audit", "verify", "receipt", "--key", key]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && said.starts_with("sound: entry "),
            "{said}"
        );
        assert!(
            said.contains("decision.made") && said.contains("not checked:"),
            "{said}"
        );
    }
    let output = elsewhere(
        away,
        &["audit", "verify", "receipt", "--key", "key", "--json"],
    );
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (said["sound"].as_bool(), said["index"].as_str()),
        (Some(true), Some(&*last.to_string()))
    );

    // Whatever byte is another, it is no proof any more.
    let bytes = receipt.trim_end().as_bytes();
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut altered = receipt.as_bytes().to_vec();
        altered[at] ^= 1;
        write("altered", &altered);
        refused(away, &["audit", "verify", "altered", "--key", "key"]);
    }
    write("empty", b"");
    write("cut", &receipt.as_bytes()[..receipt.len() / 2]);
    write("foreign", foreign.as_bytes());
    for (arguments, said) in [
        (["empty", "key"], "is empty"),
        (["cut", "key"], "is no receipt"),
        (["absent", "key"], "absent"),
        (["receipt", "foreign"], "NOT SOUND"),
        (["receipt", "absent"], "neither a file nor a public key"),
        (["receipt", "receipt"], ""),
    ] {
        let told = refused(
            away,
            &["audit", "verify", arguments[0], "--key", arguments[1]],
        );
        assert!(told.contains(said), "{arguments:?}: {told}");
    }
    // Nothing was made where it ran.
    let left: Vec<_> = std::fs::read_dir(away)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.iter().all(|name| name != "data"), "{left:?}");

    // A file where a short name should be says what is missing.
    let file = away.join("receipt");
    let told = site.refused(&["audit", "verify", file.to_str().unwrap()]);
    assert!(told.contains("--key"), "{told}");
    let told = site.refused(&["audit", "receipt", "acme", "100000"]);
    assert!(told.contains("has no entry 100000"), "{told}");
    let told = site.refused(&["audit", "consistency", "acme", "1", "100000"]);
    assert!(told.contains("entries"), "{told}");
    assert!(
        site.done(&["audit", "consistency", "acme", "1"])
            .lines()
            .count()
            > 1
    );
    let decided = site.done(&[
        "audit",
        "query",
        "acme",
        "--action",
        "can_update_todo",
        "-n",
        "2",
        "--json",
    ]);
    assert_eq!(decided.lines().count(), 2);
    let all = site.done(&[
        "audit",
        "query",
        "acme",
        "--outcome",
        "allow",
        "-n",
        "0",
        "--json",
    ]);
    assert_eq!(all.lines().count(), 5);
    assert!(
        site.refused(&["audit", "query", "acme", "--event", "no.such"])
            .contains("`event`")
    );
}
