//! The log taken away by the operator, and what a stranger makes of it on a machine that has nothing of ours.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::offline::{elsewhere, refused};
use crate::harness::client::may_morty_change;
use crate::harness::postgres;
use crate::harness::server::Site;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The names of what lies in a directory, but for what was put there before.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn the_log_is_taken_away_and_verified_elsewhere(site: Site) {
    let key = site.create_todo_org("acme");
    site.create_todo_org("other");
    let server = site.serve().await;
    for number in 0..5 {
        let question = may_morty_change(&number.to_string(), true);
        assert!(server.client(&key).decision(&question).await);
    }
    let away = tempfile::tempdir().unwrap();
    let away = away.path();
    let file = |name: &str| away.join(name).to_str().unwrap().to_owned();
    let bundle = file("log.tar");
    let to_bundle = [
        "audit", "export", "acme", "--format", "bundle", "--output", &bundle,
    ];
    // The service is at work meanwhile.
    let told = site.run(&to_bundle);
    assert!(told.status.success(), "{told:?}");
    let progress = String::from_utf8(told.stderr).unwrap();
    assert!(
        progress.contains("entries checked") && progress.contains("entries exported"),
        "{progress}"
    );
    server.stop();
    let mode = std::fs::metadata(&bundle).unwrap().permissions().mode();
    assert_eq!((names(away), mode & 0o777), (vec!["log.tar".into()], 0o600));
    let last = site.entries("acme").pop().unwrap();
    assert_eq!(last["leaf"]["event"], "audit_log.exported");
    assert_eq!(last["leaf"]["caller"]["type"], "operator");
    assert_eq!(last["details"]["format"], "bundle");

    let write = |name: &str, text: &[u8]| std::fs::write(away.join(name), text).unwrap();
    let public = site.done(&["audit", "checkpoint", "acme", "--key"]);
    let foreign = site.done(&["audit", "checkpoint", "other", "--key"]);
    write("key", public.as_bytes());
    write("foreign", foreign.as_bytes());
    write("both", format!("{foreign}{public}").as_bytes());
    for key in ["key", public.trim(), "both"] {
        let output = elsewhere(away, &["audit", "verify", "log.tar", "--key", key]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && said.starts_with("sound: "),
            "{said}"
        );
        assert!(
            said.contains("  checked: ") && said.contains("  not checked: "),
            "{said}"
        );
    }
    let keys = ["--key", "foreign", "--key", "key", "--json"];
    let output = elsewhere(away, &[&["audit", "verify", "log.tar"], &keys[..]].concat());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["sound"], json!(true));
    assert_eq!(
        said["entries"],
        last["details"]["size"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    );
    assert_eq!(
        (&said["first"], &said["findings"]),
        (&json!("0"), &json!([]))
    );

    // Without a key, or with another's, it proves nothing, and it says what to do.
    for keys in [&[][..], &["--key", "foreign"]] {
        let arguments = [&["audit", "verify", "log.tar"], keys].concat();
        let output = elsewhere(away, &arguments);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("NOT SOUND") && said.contains("unknown key"),
            "{said}"
        );
        assert!(said.contains("audit checkpoint SLUG --key"), "{said}");
    }
    // Whatever byte is another, or missing, it is no proof any more.
    let bytes = std::fs::read(&bundle).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 20) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        write("altered", &altered);
        refused(away, &["audit", "verify", "altered", "--key", "key"]);
        write("cut", &bytes[..at]);
        refused(away, &["audit", "verify", "cut", "--key", "key"]);
    }
    write("empty", b"");
    write("strange", b"hello");
    for (arguments, said) in [
        (["empty", "key"], "is empty"),
        (["strange", "key"], "is no receipt, nor a bundle"),
        (["absent", "key"], "absent"),
        (["log.tar", "absent"], "neither a file nor a public key"),
        (["log.tar", "log.tar"], "log.tar"),
        (["log.tar", "empty"], "does not verify"),
    ] {
        let arguments = ["audit", "verify", arguments[0], "--key", arguments[1]];
        let told = refused(away, &arguments);
        assert!(told.contains(said), "{arguments:?}: {told}");
    }

    what_cannot_be_exported_is_said(&site, &bundle, away);
    views_hold_the_same_entries(&site);
    site.verify("acme");
    assert!(site.run(&["audit", "verify", "nobody"]).status.code() == Some(1));
}

fn what_cannot_be_exported_is_said(site: &Site, bundle: &str, away: &Path) {
    let before = names(away);
    let export = |more: &[&str]| {
        let arguments = [&["audit", "export", "acme"], more].concat();
        site.refused(&arguments)
    };
    let nowhere = away.join("no/such/file");
    let nowhere = nowhere.to_str().unwrap();
    let (late, early) = ("2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z");
    for (arguments, said) in [
        (&["--format", "bundle", "--output", bundle][..], "--force"),
        (&["--format", "bundle", "--output", nowhere], "cannot write"),
        (
            &["--format", "bundle", "--outcome", "deny"],
            "leave the conditions away",
        ),
        (&["--format", "csv", "--event", "no.such"], "`event`"),
        (
            &["--format", "csv", "--from", late, "--to", early],
            "`from` is not before `to`",
        ),
        (&["--format", "pdf"], "pdf"),
        (&[], "--format"),
    ] {
        let told = export(arguments);
        assert!(told.contains(said), "{arguments:?}: {told}");
    }
    let told = site.refused(&["audit", "export", "nobody", "--format", "csv"]);
    assert!(told.contains("nobody"), "{told}");
    assert_eq!(names(away), before);
    site.done(&[
        "audit", "export", "acme", "--format", "bundle", "--output", bundle, "--force",
    ]);
    assert_eq!(names(away), before);
    for (path, said) in [("tile/0/0", "has no tile"), ("tile/9/000", "has no tile")] {
        assert!(
            site.refused(&["audit", "tile", "acme", path])
                .contains(said)
        );
    }
    let tile = site.run(&["audit", "tile", "acme", "tile/0/000.p/2"]);
    assert_eq!((tile.status.code(), tile.stdout.len()), (Some(0), 64));
}

fn views_hold_the_same_entries(site: &Site) {
    let export = |format| site.done(&["audit", "export", "acme", "--format", format]);
    let whole = site.entries("acme");
    let json_lines = lines(&export("jsonl"));
    assert_eq!(json_lines[..whole.len()], whole);
    // The reading is an entry itself, and so is each export.
    assert_eq!(lines(&export("ocsf")).len(), whole.len() + 2);
    let table = export("csv");
    let mut table = csv::Reader::from_reader(table.as_bytes());
    assert_eq!(table.records().map(Result::unwrap).count(), whole.len() + 3);
    let some = ["--action", "can_update_todo", "--outcome", "allow"];
    let asked = [&["audit", "export", "acme", "--format", "jsonl"], &some[..]].concat();
    assert_eq!(lines(&site.done(&asked)).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_taken_away_and_verified_elsewhere_on_sqlite() {
    the_log_is_taken_away_and_verified_elsewhere(Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_taken_away_and_verified_elsewhere_on_postgresql() {
    let server = postgres::start();
    the_log_is_taken_away_and_verified_elsewhere(Site::postgres(&server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_and_its_verification_take_no_more_memory_for_a_longer_log() {
    let site = Site::sqlite();
    let key = site.create_todo_org("acme");
    let public = site.done(&["audit", "checkpoint", "acme", "--key"]);
    let bundle = site.beside().join("log.tar");
    let bundle = bundle.to_str().unwrap();
    // The same log gives peaks that are some ten MiB apart, as the allocator takes memory: what has to be held is in the lesser of two.
    let least = |arguments: &[&str]| site.peak(arguments).min(site.peak(arguments));
    let mut peaks = Vec::new();
    // The first is long enough for all that is under way at a time.
    for calls in [16, 40] {
        let server = site.serve().await;
        let client = server.client(&key);
        let batch = json!({"evaluations": vec![may_morty_change("1", true); 250]});
        for _ in 0..calls {
            assert_eq!(client.evaluations(&batch).await.unwrap().status, 200);
        }
        server.stop();
        let mut measured = Vec::new();
        for format in ["bundle", "csv"] {
            let arguments = ["audit", "export", "acme", "--format", format, "--force"];
            let output = [
                "--output",
                if format == "bundle" {
                    bundle
                } else {
                    "log.csv"
                },
            ];
            measured.push(least(&[&arguments[..], &output].concat()));
        }
        measured.push(site.peak(&["audit", "verify", bundle, "--key", public.trim()]));
        peaks.push((std::fs::metadata(bundle).unwrap().len(), measured));
    }
    let ((small, before), (large, after)) = (&peaks[0], &peaks[1]);
    // Much more was added than the memory beyond the first: it is held at no time.
    assert!(*small > 8 << 20 && large - small > 18 << 20, "{peaks:?}");
    println!(
        "bytes of the bundle, and peaks in KiB of export as bundle, as table, of verification: {peaks:?}"
    );
    for (before, after) in before.iter().zip(after) {
        assert!(*before > 0 && *after < before + 15 * 1024, "{peaks:?}");
    }
}
