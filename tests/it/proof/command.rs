//! `cedarkeep policy prove`: what it prints, and its exit codes.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn prove(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cedarkeep"))
        .args(["policy", "prove"])
        .args(arguments)
        .output()
        .unwrap()
}

fn folder(policies: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("own.cedar"), policies).unwrap();
    folder
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

#[test]
fn a_folder_is_proved_and_compared() {
    let before = folder("");
    let after = folder(
        "@id(\"auditors\") permit (principal in Cedarkeep::Group::\"auditors\", action == Cedarkeep::Action::\"audit_log.read\", resource);
         @id(\"idle\") permit (principal, action == Cedarkeep::Action::\"thread.read\", resource);",
    );
    let done = prove(&["--json", path(&after), "--against", path(&before)]);
    let text = String::from_utf8(done.stdout).unwrap();
    let error = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(0), "{text}{error}");
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["guardrails"]["fails"], 0);
    assert_eq!(found["guardrails"]["unknown"], 0);
    assert_eq!(found["difference"]["effect"], "more permissive");
    assert_eq!(found["findings"]["found"][0]["policy"], "idle");
    assert_eq!(found["findings"]["found"][0]["what"], "never_counts");
}

#[test]
fn what_is_not_known_has_an_exit_code_of_its_own() {
    let own = folder("");
    // There is time for the first questions at the most.
    let done = prove(&[path(&own), "--limit", "1"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(2), "{text}");
    assert!(
        text.contains("the time for the whole proof was over"),
        "{text}"
    );
    let error = String::from_utf8(done.stderr).unwrap();
    assert!(
        error.contains("more time may help (--timeout, --limit)"),
        "{error}"
    );
    for (arguments, said) in [
        (
            vec!["--solver", "/nowhere/cvc5"],
            "is no program that can be run",
        ),
        (vec!["/nowhere"], "cannot read the folder"),
    ] {
        let done = prove(&arguments);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}");
        let error = String::from_utf8(done.stderr).unwrap();
        assert!(error.contains(said), "{error}");
    }
    let wrong = folder("permit (principal, action, resource) when { principal.nose };");
    let done = prove(&[path(&wrong)]);
    assert_eq!(done.status.code(), Some(2));
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.contains("own.cedar:1:"), "{text}");
}

#[test]
fn the_exit_codes_are_documented() {
    let done = prove(&["--help"]);
    let text = String::from_utf8(done.stdout).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "0 every guardrail holds for all requests",
        "1 one fails",
        "2 something is not known",
        "--against <",
    ] {
        assert!(text.contains(said), "{text}");
    }
}
