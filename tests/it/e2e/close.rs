//! An organization closed beside a running service: nothing is allowed any more, and others are as they were.

use std::time::{Duration, Instant};

use crate::harness::client::may_morty_change;
use crate::harness::postgres;
use crate::harness::server::Site;

async fn nothing_is_left(site: &Site) {
    let closed = site.create_todo_org("closed");
    let other = site.create_todo_org("other");
    let server = site.serve().await;
    let question = may_morty_change("one", true);
    for key in [&closed, &other] {
        assert!(server.client(key).decision(&question).await);
    }
    // Not without saying so twice.
    site.refused(&["org", "close", "closed", "--confirm", "other"]);
    assert!(server.client(&closed).decision(&question).await);

    site.done(&[
        "org",
        "close",
        "closed",
        "--confirm",
        "closed",
        "--grace",
        "0",
    ]);
    let client = server.client(&closed);
    let since = Instant::now();
    loop {
        let answer = client.evaluate(&question).await.unwrap();
        match answer.status {
            200 => assert_eq!(answer.json()["decision"], false, "{}", answer.body),
            403 | 503 => assert!(!answer.body.contains("\"decision\""), "{}", answer.body),
            401 => break,
            _ => panic!("{} {}", answer.status, answer.body),
        }
        assert!(
            since.elapsed() < Duration::from_secs(15),
            "the process still knows the key"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(server.client(&other).decision(&question).await);
    assert!(!site.done(&["org", "list"]).contains("closed"));
    site.refused(&[
        "org",
        "close",
        "closed",
        "--confirm",
        "closed",
        "--grace",
        "0",
    ]);
    server.stop();
    site.verify("other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_organization_is_gone_at_once_on_sqlite() {
    nothing_is_left(&Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_organization_is_gone_at_once_on_postgresql() {
    let database = postgres::start();
    nothing_is_left(&Site::postgres(&database.url())).await;
}
