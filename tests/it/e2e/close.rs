//! An organization closed beside a running service: nothing is allowed any more, and others are as they were.

use std::time::{Duration, Instant};

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};

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

async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(url).await.unwrap()
}

/// An organization whose database does not open: statements keep it from that, and then it is taken away for good.
async fn it_goes_only_where_it_is_lost(
    site: &Site,
    (url, hold): (impl Fn(&str) -> String, &'static str),
    lose: impl AsyncFnOnce(&str),
) {
    site.create_todo_org("held");
    site.done(&["org", "hold", "held", "--reason", "case 17"]);
    let id = site.told(&["org", "show", "held", "--json"])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let close = "org close held --confirm held --grace 0 --unopened";
    let close: Vec<&str> = close.split(' ').collect();

    let mut other = connect(&url(&id)).await;
    for statement in hold.split("; ") {
        other.execute(statement).await.unwrap();
    }
    let said = site.refused(&close);
    assert!(said.contains("nothing is destroyed"), "{said}");
    assert!(!said.contains("--unopened"), "{said}");
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    let said = site.refused(&close);
    assert!(said.contains("legal hold"), "{said}");
    assert!(!said.contains("does not open"), "{said}");
    site.verify("held");

    lose(&id).await;
    let said = site.refused(&close[..close.len() - 1]);
    assert!(said.contains("--unopened"), "{said}");
    assert!(site.done(&["org", "list"]).contains("held"));
    site.done(&close);
    assert!(!site.done(&["org", "list"]).contains("held"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_open_goes_only_where_it_is_lost_on_sqlite() {
    let site = Site::sqlite();
    let file = |id: &str| site.data().join(format!("tenants/{id}.db"));
    let url = |id: &str| format!("sqlite://{}", file(id).display());
    let lose = async |id: &str| std::fs::remove_file(file(id)).unwrap();
    it_goes_only_where_it_is_lost(&site, (url, "BEGIN IMMEDIATE"), lose).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_open_goes_only_where_it_is_lost_on_postgresql() {
    let database = postgres::start();
    let site = Site::postgres(&database.url());
    let name = |id: &str| format!("cedarkeep_{}", id.split_once('_').unwrap().1);
    let all = database.url();
    let url = |id: &str| all.replacen("/postgres?", &format!("/{}?", name(id)), 1);
    let lose = async |id: &str| {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", name(id));
        let dropped = connect(&all).await.execute(AssertSqlSafe(drop)).await;
        dropped.unwrap();
    };
    let hold = "BEGIN; LOCK TABLE migration";
    it_goes_only_where_it_is_lost(&site, (url, hold), lose).await;
}
