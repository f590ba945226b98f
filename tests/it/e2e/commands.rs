//! What commands say that was not clear to somebody new: a folder that is not there, nothing to load, what an import would take.

use std::fs;

use crate::harness::server::Site;

#[test]
fn a_backup_into_a_folder_that_is_not_there_says_so() {
    let site = Site::sqlite();
    site.create_org("acme");
    let said = site.refused(&["backup", "--output", "nowhere/monday"]);
    assert!(
        said.contains("there is no folder `nowhere`: make it"),
        "{said}"
    );
    assert!(!site.beside().join("nowhere").exists());
    site.done(&["backup", "--output", "monday"]);
}

#[test]
fn a_load_of_nothing_is_refused() {
    let site = Site::sqlite();
    site.create_org("acme");
    let output = site.run(&["org", "load", "acme"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("--schema, --policies or --entities"),
        "{said}"
    );
    fs::write(site.beside().join("none.json"), "[]").unwrap();
    let said = site.done(&["org", "load", "acme", "--entities", "none.json"]);
    assert!(said.contains("loaded 0 entities"), "{said}");
}

#[test]
fn a_dry_run_says_what_the_real_one_would_take() {
    let site = Site::sqlite();
    site.create_org("acme");
    site.add_admin("acme");
    let people = "name,email,role\nEve,eve@acme.example,Member\nZoe,zoe@acme.example,King\n";
    fs::write(site.beside().join("people.csv"), people).unwrap();
    let import = ["member", "import", "acme", "people.csv", "--dry-run"];
    let said = site.done(&import);
    assert!(
        said.contains("with --each would be created 1,")
            && said.contains("refused 1; without it none is taken"),
        "{said}"
    );
    let each = site.done(&[&import[..], &["--each"]].concat());
    assert!(each.contains("lines: would be created 1,"), "{each}");
    let real = site.refused(&import[..4]);
    assert!(real.contains("none was; --each takes the others"), "{real}");
}

#[test]
fn what_is_kept_of_an_organization_is_shown() {
    let site = Site::sqlite();
    site.create_org("acme");
    let plain = site.done(&["org", "show", "acme"]);
    assert!(
        !plain.contains("hold") && !plain.contains("closed"),
        "{plain}"
    );
    site.done(&["org", "close", "acme", "--confirm", "acme"]);
    site.done(&["org", "retention", "acme", "--days", "365"]);
    site.done(&["org", "hold", "acme", "--reason", "case 17"]);
    let shown = site.done(&["org", "show", "acme"]);
    for part in [
        "one legal hold",
        "its log is kept for 365 days",
        "closed at ",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let shown = site.told(&["org", "show", "acme", "--json"]);
    assert_eq!(
        (&shown["holds"], &shown["retention_days"]),
        (&1.into(), &365.into())
    );
    assert!(shown["closes_at"].is_string(), "{shown}");
}

/// Examples are copied by whoever is new: they name what every organization has.
#[test]
fn examples_name_what_is_built_in() {
    let site = Site::sqlite();
    for asked in [&["--help"][..], &["explain", "--help"]] {
        let said = site.done(asked);
        assert!(said.contains("thread.read"), "{said}");
        assert!(!said.contains("can_update"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_into_a_file_has_no_colours() {
    let site = Site::sqlite();
    site.create_org("acme");
    site.serve().await.stop();
    let log = fs::read(site.stderr_file()).unwrap();
    assert!(!log.is_empty() && !log.contains(&0x1B));
}
