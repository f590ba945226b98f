//! What a stranger does with a receipt: checks it with the public key alone, on a machine that has nothing of ours.

use std::path::Path;
use std::process::{Command, Output};

use cedarkeep::log::checkpoint::SignedCheckpoint;

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
    let proof = site.done(&["audit", "consistency", "acme", "1"]);
    let (hashes, checkpoint) = proof.split_once("\n\n").unwrap();
    let mut hashes = hashes.lines();
    assert_eq!(hashes.next(), Some("old 1"));
    assert!(hashes.all(|hash| hash.len() == 44), "{proof}");
    let checkpoint = format!("{}\n", checkpoint.trim_end());
    let checkpoint = SignedCheckpoint::parse(checkpoint.as_bytes());
    let size = checkpoint.unwrap().checkpoint().size;
    let between = site.done(&["audit", "consistency", "acme", "1", "2"]);
    assert!(
        size > 2 && between.starts_with("old 1\nnew 2\n"),
        "{between}"
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

/// What the operator hands to a reviewer, and what the reviewer does with it; and what the operator did is in the log.
#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_is_verified_with_a_policy_and_a_bundle_held_against_it() {
    let site = Site::sqlite();
    site.create_org("acme");
    let told = site.refused(&["audit", "checkpoint", "deployment"]);
    assert!(told.contains("audit publish"), "{told}");
    let told = site.refused(&["audit", "anchor", "acme"]);
    assert!(told.contains("audit publish"), "{told}");
    let told = site.refused(&["org", "create", "deployment"]);
    assert!(told.contains("deployment's own log"), "{told}");
    let published = site.told(&["audit", "publish", "--json"]);
    assert_eq!(
        (&published["anchored"], &published["failed"]),
        (&1.into(), &serde_json::json!([]))
    );
    let anchor = site.done(&["audit", "anchor", "acme"]);
    let told = site.refused(&["audit", "anchor", "acme", "1000"]);
    assert!(told.contains("no commitment"), "{told}");
    site.add_admin("acme");
    let log = site.done(&["audit", "checkpoint", "acme", "--key"]);
    let deployment = site.done(&["audit", "checkpoint", "deployment", "--key"]);

    let away = tempfile::tempdir().unwrap();
    let away = away.path();
    let bundle = away.join("log.tar");
    site.done(&[
        "audit",
        "export",
        "acme",
        "--format",
        "bundle",
        "--output",
        bundle.to_str().unwrap(),
    ]);
    let write = |name: &str, text: &str| std::fs::write(away.join(name), text).unwrap();
    write("anchor", &anchor);
    write(
        "policy",
        &format!("log {}\nquorum none\n", deployment.trim()),
    );
    write("foreign", &format!("log {}\nquorum none\n", log.trim()));
    write("keys", &format!("{log}{deployment}"));
    let said = |arguments: &[&str]| {
        let output = elsewhere(away, arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.starts_with("sound: "),
            "{arguments:?}: {text}"
        );
        text
    };
    let text = said(&["audit", "verify", "anchor", "--policy", "policy"]);
    assert!(text.contains("says entry 0 of cedarkeep"), "{text}");
    let text = said(&[
        "audit", "verify", "log.tar", "--key", "keys", "--kept", "anchor",
    ]);
    assert!(
        text.contains("the largest checkpoint from elsewhere that was given has 1"),
        "{text}"
    );
    for (arguments, why) in [
        (&["anchor", "--policy", "foreign"][..], "NOT SOUND"),
        (&["anchor", "--policy", "anchor"], "is no policy"),
        (&["anchor"], "--key"),
        (
            &["anchor", "--key", "keys", "--kept", "anchor"],
            "--kept is for",
        ),
        (
            &["log.tar", "--key", "keys", "--policy", "policy"],
            "--policy is for",
        ),
        (
            &["log.tar", "--key", log.trim(), "--kept", "anchor"],
            "is no anchor to go by",
        ),
        (
            &["log.tar", "--key", "keys", "--kept", "policy"],
            "neither a checkpoint",
        ),
    ] {
        let told = refused(away, &[&["audit", "verify"], arguments].concat());
        assert!(told.contains(why), "{arguments:?}: {told}");
    }
    // What was kept after the bundle was made: that it is older is said beside what it looks like.
    write("newer", &site.done(&["audit", "checkpoint", "acme"]));
    let newer = [
        "audit", "verify", "log.tar", "--key", "keys", "--kept", "newer",
    ];
    let output = elsewhere(away, &newer);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("has lost its end") && text.contains("only older than what was kept"),
        "{text}"
    );
    // The live log is held against the same file.
    let anchor = away.join("anchor");
    let text = site.done(&[
        "audit",
        "verify",
        "acme",
        "--kept",
        anchor.to_str().unwrap(),
    ]);
    assert!(text.starts_with("sound: "), "{text}");

    // Whoever reads at the machine is in the log, behind what was shown.
    for (reading, member) in [
        (&["audit", "tail", "acme", "-n", "1"][..], "newest"),
        (
            &["audit", "query", "acme", "--event", "log.key_rotated"],
            "query",
        ),
        (&["audit", "receipt", "acme", "0"], "receipt"),
        (&["audit", "tile", "acme", "tile/entries/000.p/1"], "tile"),
    ] {
        let shown = site.run(reading);
        assert!(shown.status.success(), "{reading:?}");
        let last = site.entries("acme").pop().unwrap();
        assert_eq!(last["leaf"]["event"], "audit_log.read", "{reading:?}");
        assert_eq!(last["leaf"]["caller"]["type"], "operator");
        assert!(!last["details"][member].is_null(), "{last}");
        assert!(
            !String::from_utf8_lossy(&shown.stdout)
                .contains(&format!("\"index\":{}", last["index"]))
        );
    }
    let told = site.refused(&["org", "restored", "acme", "--confirm", "other"]);
    assert!(told.contains("--confirm acme"), "{told}");
    let told = site.told(&["org", "restored", "acme", "--confirm", "acme", "--json"]);
    assert_eq!(
        told["before"][0]["known_size"].to_string(),
        told["index"].as_str().unwrap()
    );
    site.verify("acme");
}
