//! Root keys: in a token, in AWS KMS, in keyrings of organizations' own; moved from one to another, and out of reach.

mod down;
mod keyring;
#[cfg(feature = "aws-kms")]
mod kms;
mod rewrap;
mod rotate;
mod settings;
mod token;

use std::time::{Duration, Instant};

use crate::harness::client::{Answer, Client, may_morty_change};
use crate::harness::server::{Server, Site};

/// How soon an organization must open again once its root key can be used.
const BACK_WITHIN: Duration = Duration::from_secs(20);

/// The longest that anybody waits for an answer of any kind.
const ANSWERS_WITHIN: Duration = Duration::from_secs(12);

async fn asked(client: &Client) -> Answer {
    let answer = client.evaluate(&may_morty_change("todo", true)).await;
    let answer = answer.unwrap();
    assert!(answer.took < ANSWERS_WITHIN, "{:?}", answer.took);
    answer
}

/// It decides.
async fn decides(client: &Client) {
    let answer = asked(client).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["decision"], true);
}

/// It does not, and says that root keys cannot be used, why, and when to try again.
async fn has_no_keys(client: &Client, why: &str) {
    let answer = asked(client).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("keys_unavailable"), "{}", answer.body);
    assert!(answer.body.contains(why), "{}", answer.body);
    assert_eq!(answer.header("retry-after"), Some("5"));
    // Our own calls say it as a problem.
    let answer = client.get("/v1/organization").await.unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json()["type"],
        "urn:cedarkeep:problem:keys_unavailable"
    );
}

/// It decides again, without anybody's doing.
async fn decides_again(client: &Client) {
    let start = Instant::now();
    while asked(client).await.status != 200 {
        assert!(start.elapsed() < BACK_WITHIN, "it does not come back");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What `/readyz` says of root keys; it says 200 all the same.
async fn readiness(server: &Server) -> String {
    let answer = server.client("").get("/readyz").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["root_keys"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Waits until the service itself has noticed.
async fn until_ready_says(server: &Server, wanted: impl Fn(&str) -> bool) {
    let start = Instant::now();
    loop {
        let said = readiness(server).await;
        if wanted(&said) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(40), "{said}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn metric(server: &Server, name: &str) -> Option<f64> {
    let text = server.client("").get("/metrics").await.unwrap().body;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim().parse().unwrap())
}

/// A table of providers for the environment.
fn providers(site: &mut Site, tables: &[(&str, String)]) {
    let tables: Vec<String> = tables
        .iter()
        .map(|(name, table)| format!("{name} = {table}"))
        .collect();
    site.set(
        "CEDARKEEP_KEYS__PROVIDERS",
        &format!("{{ {} }}", tables.join(", ")),
    );
}

fn keyring_table(file: &std::path::Path) -> String {
    format!("{{ kind = \"keyring\", file = \"{}\" }}", file.display())
}
