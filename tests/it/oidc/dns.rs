//! The record by which a domain shows whose it is.

use std::time::{Duration, Instant};

use cedarkeep::outside::{Unreached, Verification};
use hickory_proto::rr::RecordType;

use super::world::{Names, Told, outside};

fn texts(texts: &[&[&str]]) -> Told {
    let strings = |one: &&[&str]| one.iter().map(|text| (*text).to_owned()).collect();
    Told::Texts(texts.iter().map(strings).collect())
}

#[tokio::test]
async fn a_domain_shows_a_token_or_another_or_none() {
    let token = "abcdefghijklmnopqrstuvwxyz234567";
    let whole = format!("cedarkeep-verification={token}");
    let longer = format!("{whole}x");
    let names = Names::serve(&[
        ("_cedarkeep.shown.example", texts(&[&[&whole]])),
        (
            "_cedarkeep.beside.example",
            texts(&[&["v=spf1 -all"], &[&longer], &[&whole]]),
        ),
        (
            "_cedarkeep.split.example",
            texts(&[&[&whole[..30], &whole[30..]]]),
        ),
        ("_cedarkeep.spaced.example", texts(&[&[" ", &whole, "\n"]])),
        ("_cedarkeep.xn--bcher-kva.example", texts(&[&[&whole]])),
        (
            "_cedarkeep.other.example",
            texts(&[&["cedarkeep-verification=another"]]),
        ),
        ("_cedarkeep.longer.example", texts(&[&[&longer]])),
        (
            "_cedarkeep.shorter.example",
            texts(&[&[&whole[..whole.len() - 1]]]),
        ),
        (
            "_cedarkeep.parts.example",
            texts(&[&["cedarkeep-verification="], &[token]]),
        ),
        (
            "_cedarkeep.plain.example",
            texts(&[&[token], &["something else"]]),
        ),
        (
            "_cedarkeep.capitals.example",
            texts(&[&[&whole.to_uppercase()]]),
        ),
        ("_cedarkeep.empty.example", texts(&[])),
        ("www.apex.example", texts(&[&[&whole]])),
        ("apex.example", texts(&[&[&whole]])),
        ("_cedarkeep.fails.example", Told::Fails),
    ])
    .await;
    let outside = outside(None, Some(&names), false);
    let asked = async |domain: &str| outside.verification(domain, token).await;
    for domain in [
        "shown.example",
        "SHOWN.Example",
        "shown.example.",
        "beside.example",
        "split.example",
        "spaced.example",
        "bücher.example",
    ] {
        assert_eq!(
            asked(domain).await.unwrap(),
            Verification::Shown,
            "{domain}"
        );
    }
    for domain in [
        "other.example",
        "longer.example",
        "shorter.example",
        "parts.example",
    ] {
        assert_eq!(
            asked(domain).await.unwrap(),
            Verification::Other,
            "{domain}"
        );
    }
    for domain in [
        "plain.example",
        "capitals.example",
        "empty.example",
        "nobody.example",
        "apex.example",
        // The record of a domain says nothing of those below it.
        "sub.shown.example",
    ] {
        assert_eq!(
            asked(domain).await.unwrap(),
            Verification::Absent,
            "{domain}"
        );
    }
    assert!(matches!(
        asked("fails.example").await,
        Err(Unreached::Unresolved(_))
    ));
    // Nothing is kept: whoever adds the record is heard at once.
    asked("nobody.example").await.unwrap();
    assert!(names.count("_cedarkeep.nobody.example", RecordType::TXT) >= 2);
    // Exactly that name is asked for, and no other behind which this machine's domain was put.
    let asked = names.asked.lock().unwrap().clone();
    assert!(
        asked
            .iter()
            .all(|(name, _)| name.starts_with("_cedarkeep.") && name.ends_with(".example."))
    );
}

#[tokio::test]
async fn what_is_no_domain_is_asked_of_nobody() {
    let names = Names::serve(&[]).await;
    let outside = outside(None, Some(&names), false);
    let long = format!("{}.example", "x".repeat(64));
    for domain in [
        "",
        ".",
        "example",
        "127.0.0.1",
        "[::1]",
        "a b.example",
        "a..example",
        "a/b.example",
        &long,
    ] {
        let refused = outside.verification(domain, "t").await;
        assert_eq!(refused.unwrap_err().name(), "outside_name", "{domain}");
    }
    assert!(names.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_dns_server_that_says_nothing_is_waited_for_5_s() {
    let names = Names::serve(&[("_cedarkeep.silent.example", Told::Silent)]).await;
    let outside = outside(None, Some(&names), false);
    let begun = Instant::now();
    let refused = outside.verification("silent.example", "t").await;
    assert!(matches!(
        refused,
        Err(Unreached::Slow | Unreached::Unresolved(_))
    ));
    assert!(
        begun.elapsed() < Duration::from_secs(7),
        "{:?}",
        begun.elapsed()
    );
}
