//! Ten thousand people in one file, with one broken line: it is named, and time and memory are told.
//!
//! `PROVE=1` imports 20,000, as many as a file may have.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::harness::chance::Chance;

use crate::harness::postgres;
use crate::harness::server::Site;

/// The line that is broken, as an editor counts.
const BROKEN: usize = 7_321;

fn count() -> usize {
    if std::env::var_os("PROVE").is_some() {
        20_000
    } else {
        10_000
    }
}

/// A file of that many people; one of them has no address if `broken`.
fn file(broken: bool) -> String {
    let mut text = String::from("name,email,role,active\n");
    for number in 2..=count() + 1 {
        let at = if broken && number == BROKEN { "" } else { "@" };
        writeln!(
            text,
            "\"Person {number}, of Acme\",person{number}{at}example.com,Member,"
        )
        .unwrap();
    }
    text
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The lines of a report that cannot be taken.
fn refused(report: &[Value]) -> Vec<&Value> {
    let refused = report.iter().filter(|line| line["status"] == "refused");
    refused.map(|line| &line["line"]).collect()
}

async fn ten_thousand_are_imported(site: Site, name: &str) {
    site.create_org("acme");
    let admin = site.add_admin("acme");
    let key = site.create_key("acme", "directory.read,directory.write,audit.read");
    let server = site.serve().await;
    let client = server.client(&key);
    let headers = [
        ("content-type", "text/csv"),
        ("cedarkeep-acting-user", admin.as_str()),
    ];
    let send = async |query: &str, file: String| {
        let path = format!("/v1/users/import{query}");
        let begun = Instant::now();
        let answer = client.send(Method::POST, &path, &headers, Some(file.into_bytes()));
        let answer = answer.await.unwrap();
        let (took, peak) = (begun.elapsed(), server.status("VmHWM:"));
        (answer, took, peak)
    };
    let told = |what: &str, took: Duration, (idle, peak): (u64, u64)| {
        println!(
            "{name}: {what} of {} lines: {} ms, {} KiB beyond the {idle} KiB that it held idle",
            count(),
            took.as_millis(),
            peak.saturating_sub(idle)
        );
    };
    let idle = server.forget_peak();
    let (tried, took, peak) = send("?dry_run=true", file(true)).await;
    assert_eq!(tried.status, 200, "{}", tried.body);
    assert_eq!(refused(&lines(&tried.body)), [BROKEN]);
    told("dry run", took, (idle, peak));
    let idle = server.forget_peak();
    let (whole, took, peak) = send("", file(true)).await;
    assert_eq!(whole.status, 400, "{}", whole.body);
    assert_eq!(whole.json()["findings"][0]["line"], BROKEN);
    told("refusal", took, (idle, peak));
    let idle = server.forget_peak();
    let (each, took, peak) = send("?mode=each", file(true)).await;
    assert_eq!(each.status, 200, "{}", each.body);
    let report = lines(&each.body);
    assert_eq!(refused(&report), [BROKEN]);
    let summary = &report.last().unwrap()["summary"];
    assert_eq!(summary["created"], count() - 1, "{summary}");
    told("import line by line", took, (idle, peak));
    // The broken line mended: everything else is there.
    let idle = server.forget_peak();
    let (mended, took, peak) = send("", file(false)).await;
    assert_eq!(mended.status, 200, "{}", mended.body);
    let report = lines(&mended.body);
    let summary = &report.last().unwrap()["summary"];
    assert_eq!(
        (&summary["created"], &summary["unchanged"]),
        (&1.into(), &(count() - 1).into())
    );
    told("the same again, mended", took, (idle, peak));
    server.stop();
    site.verify("acme");
}

fn from_the_command_line(site: &Site, name: &str) {
    site.create_org("other");
    site.add_admin("other");
    let path = site.beside().join("people.csv");
    let path = path.to_str().unwrap();
    std::fs::write(path, file(true)).unwrap();
    let said = site.refused(&["member", "import", "other", path]);
    assert!(said.contains(&format!("1 of {} lines", count())), "{said}");
    let output = site.run(&["member", "import", "other", path]);
    let named = String::from_utf8(output.stdout).unwrap();
    assert!(
        named.contains(&format!("line {BROKEN}: `email`")),
        "{named}"
    );
    std::fs::write(path, file(false)).unwrap();
    let begun = Instant::now();
    let peak = site.peak(&["member", "import", "other", path]);
    println!(
        "{name}: import of {} lines in one change by the command line: {} ms, at most {peak} KiB",
        count(),
        begun.elapsed().as_millis()
    );
    let said = site.done(&["member", "import", "other", path, "--each"]);
    assert!(said.contains(&format!("unchanged {}", count())), "{said}");
    site.verify("other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_are_imported_on_sqlite() {
    ten_thousand_are_imported(Site::sqlite(), "SQLite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_are_imported_on_postgresql() {
    let server = postgres::start();
    ten_thousand_are_imported(Site::postgres(&server.url()), "PostgreSQL").await;
}

#[test]
fn ten_thousand_are_imported_from_the_command_line_on_sqlite() {
    from_the_command_line(&Site::sqlite(), "SQLite");
}

#[test]
fn ten_thousand_are_imported_from_the_command_line_on_postgresql() {
    let server = postgres::start();
    from_the_command_line(&Site::postgres(&server.url()), "PostgreSQL");
}

const SOONEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_millis(1_000);

/// How many people there are beside the Admin.
fn members(site: &Site) -> usize {
    site.done(&["member", "list", "acme", "--json"])
        .lines()
        .count()
        - 1
}

/// Killed in the middle of it, a file is there whole, in whole parts, or not at all, and sent again it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_is_done_by_being_done_again() {
    let site = Site::sqlite();
    site.create_org("acme");
    let admin = site.add_admin("acme");
    let key = site.create_key("acme", "directory.write");
    let mut chance = Chance::of_this_run("an_import_that_is_killed");
    let mut text = String::from("name,email,role\n");
    for number in 0..2_000 {
        writeln!(text, "Person,person{number}@example.com,Member").unwrap();
    }
    let mut seen = Vec::new();
    for query in ["?mode=each", "?mode=all", "?mode=each", "?mode=all"] {
        let server = site.serve().await;
        let client = server.client(&key);
        let headers = [
            ("content-type", "text/csv"),
            ("cedarkeep-acting-user", admin.as_str()),
        ];
        let path = format!("/v1/users/import{query}");
        let file = Some(text.clone().into_bytes());
        let import = client.send(Method::POST, &path, &headers, file);
        let moment = chance.span(SOONEST, LATEST);
        drop(tokio::time::timeout(moment, import).await);
        let before = seen.last().copied().unwrap_or_default();
        server.kill9();
        let there = members(&site);
        assert!(
            there >= before && there.is_multiple_of(500),
            "{there} after {before}"
        );
        seen.push(there);
        site.verify("acme");
    }
    let path = site.beside().join("people.csv");
    std::fs::write(&path, text).unwrap();
    site.done(&["member", "import", "acme", path.to_str().unwrap()]);
    assert_eq!(members(&site), 2_000, "{seen:?}");
    println!("after each kill there were {seen:?} of 2000");
    site.verify("acme");
}
