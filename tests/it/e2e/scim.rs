//! SCIM over HTTPS, tried by a client that nobody here wrote: `scim2-cli` of PyPI.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::postgres;
use crate::harness::server::Site;

/// Every check that it makes is passed, and it makes as many as it did.
async fn every_check_is_passed(site: &Site) {
    site.create_org("acme");
    site.add_admin("acme");
    let made = site.told(&["member", "scim-token", "acme", "--json"]);
    let token = made["token"].as_str().unwrap();
    let server = site.serve().await;
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/interop/python/bin/scim2");
    let output = tokio::task::block_in_place(|| {
        Command::new(program)
            .args([
                "--url",
                &format!("https://localhost:{}/scim/v2", server.port()),
            ])
            .arg("test")
            .env("SCIM_CLI_HEADERS", format!("Authorization: Bearer {token}"))
            .env("SSL_CERT_FILE", site.data().join("tls/ca.crt"))
            .env("NO_COLOR", "1")
            .output()
            .expect("scim2 starts; `make test` installs it into target/interop")
    });
    let said = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let statuses = [
        "SUCCESS",
        "COMPLIANT",
        "ACCEPTABLE",
        "DEVIATION",
        "ERROR",
        "CRITICAL",
        "SKIPPED",
    ];
    let checks: Vec<&str> = said
        .lines()
        .filter(|line| statuses.iter().any(|status| line.starts_with(status)))
        .collect();
    let failed: Vec<_> = checks
        .iter()
        .filter(|line| !line.starts_with("SUCCESS"))
        .collect();
    assert!(
        output.status.success() && failed.is_empty() && checks.len() >= 108,
        "{} checks, not passed: {failed:?}\n{said}\n{stderr}",
        checks.len()
    );
    println!(
        "{} of {} checks are passed",
        checks.len() - failed.len(),
        checks.len()
    );
    server.stop();
    site.verify("acme");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_check_of_scim2_is_passed_on_sqlite() {
    every_check_is_passed(&Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_check_of_scim2_is_passed_on_postgresql() {
    let postgres = postgres::start();
    every_check_is_passed(&Site::postgres(&postgres.url())).await;
}
