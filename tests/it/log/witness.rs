//! Policies of witnesses and cosignatures; what a real witness answers is in `publish/`.

use cedarkeep::log::checkpoint::{Origin, SignedCheckpoint, VerifierKey};
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::witness::{Policy, WitnessKey, cosigned, submission, take_cosignature};
use data_encoding::BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{Sample, flips, key, keys};

/// A witness's key in its text form, written after C2SP tlog-cosignature and not by our own code.
fn vkey(name: &str, key: &SigningKey) -> String {
    let mut typed = vec![4];
    typed.extend_from_slice(key.verifying_key().as_bytes());
    let mut hash = Sha256::new();
    hash.update(name);
    hash.update(b"\n");
    hash.update(&typed);
    let id = data_encoding::HEXLOWER.encode(&hash.finalize()[..4]);
    format!("{name}+{id}+{}", BASE64.encode(&typed))
}

/// What such a witness answers about a checkpoint.
fn cosignature(name: &str, key: &SigningKey, text: &str, time: u64) -> String {
    let vkey = vkey(name, key);
    let id = vkey.split('+').nth(1).unwrap();
    let mut bytes = data_encoding::HEXLOWER.decode(id.as_bytes()).unwrap();
    bytes.extend_from_slice(&time.to_be_bytes());
    let message = format!("cosignature/v1\ntime {time}\n{text}");
    bytes.extend_from_slice(&key.sign(message.as_bytes()).to_bytes());
    format!("\u{2014} {name} {}\n", BASE64.encode(&bytes))
}

fn witness(seed: u8) -> (String, SigningKey, WitnessKey) {
    let (name, key) = (format!("w{seed}.example"), key(seed));
    let parsed = vkey(&name, &key).parse().unwrap();
    (name, key, parsed)
}

fn cosigned_by(seeds: &[u8]) -> SignedCheckpoint {
    let mut note = Sample::new(9).signed();
    for seed in seeds {
        let (name, key, parsed) = witness(*seed);
        let answer = cosignature(&name, &key, &note.checkpoint().text(), 1_700_000_000);
        take_cosignature(&mut note, &answer, &parsed).unwrap();
    }
    note
}

#[test]
fn a_cosignature_is_taken_over_and_survives_the_note() {
    let note = cosigned_by(&[50, 51]);
    let read = SignedCheckpoint::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(read, note);
    for seed in [50, 51] {
        assert_eq!(cosigned(&read, &witness(seed).2), Ok(Some(1_700_000_000)));
    }
    assert_eq!(cosigned(&read, &witness(52).2), Ok(None));
    // The log's own signature counts as before, and a witness's does not count for the log.
    assert_eq!(read.verify(&keys()).unwrap().len(), 1);
    let (name, key, _) = witness(50);
    let as_log = VerifierKey::of(name.parse().unwrap(), &key);
    assert!(read.verify(&[as_log]).is_err());
    assert_eq!(read.without_cosignatures(), Sample::new(9).signed());
    // Asked twice, there is one of it.
    let answer = cosignature(&name, &key, &note.checkpoint().text(), 1_800_000_000);
    let (mut again, (_, _, parsed)) = (note.clone(), witness(50));
    take_cosignature(&mut again, &answer, &parsed).unwrap();
    assert_eq!(cosigned(&again, &parsed), Ok(Some(1_800_000_000)));
    assert_eq!(
        again.to_string().lines().count(),
        note.to_string().lines().count()
    );
}

#[test]
fn every_altered_bit_of_a_cosignature_is_refused() {
    let (name, key, parsed) = witness(50);
    let note = Sample::new(9).signed();
    let answer = cosignature(&name, &key, &note.checkpoint().text(), 1_700_000_000);
    for altered in flips(answer.trim_end().as_bytes()) {
        let mut note = note.clone();
        let taken = take_cosignature(&mut note, &String::from_utf8_lossy(&altered), &parsed);
        assert!(taken.is_err(), "{}", String::from_utf8_lossy(&altered));
        assert_eq!(note, Sample::new(9).signed());
    }
    // One over another checkpoint, by another key in the same name, for a time that no clock has, or none at all.
    let text = note.checkpoint().text();
    let other = Sample::new(8).checkpoint().text();
    for answer in [
        cosignature(&name, &key, &other, 1_700_000_000),
        cosignature(&name, &super::key(51), &text, 1_700_000_000),
        cosignature(&name, &key, &text, u64::MAX),
        String::new(),
        "nonsense\n".repeat(1000),
    ] {
        assert!(take_cosignature(&mut note.clone(), &answer, &parsed).is_err());
    }
}

#[test]
fn a_submission_is_as_the_protocol_wants_it() {
    let note = cosigned_by(&[50]);
    let proof = [note.checkpoint().root, note.checkpoint().root];
    let root = note.checkpoint().root.base64();
    let own = note.without_cosignatures();
    assert_eq!(
        submission(7, &proof, &note),
        format!("old 7\n{root}\n{root}\n\n{own}")
    );
    assert_eq!(submission(0, &[], &note), format!("old 0\n\n{own}"));
}

#[test]
fn a_key_of_another_kind_is_no_witness() {
    let (name, key, _) = witness(50);
    let log = VerifierKey::of(name.parse::<Origin>().unwrap(), &key).to_string();
    assert!(matches!(log.parse::<WitnessKey>(), Err(Flaw::Key { .. })));
    let as_witness = vkey(&name, &key);
    assert!(as_witness.parse::<VerifierKey>().is_err());
    assert_eq!(
        as_witness.parse::<WitnessKey>().unwrap().to_string(),
        as_witness
    );
}

fn lines(witnesses: u8) -> String {
    (0..witnesses)
        .map(|seed| {
            let (name, key, _) = witness(50 + seed);
            format!("witness W{seed} {} https://{name}/\n", vkey(&name, &key))
        })
        .collect()
}

/// The example of the specification, with real keys: two of three, and one of two.
fn two_levels() -> Policy {
    let text = format!(
        "# who counts\nlog {}\n\n{}group X 2 W0 W1 W2\n\tgroup Y any W3 W4 \ngroup all-of-it all X Y\nquorum all-of-it\n",
        keys()[0],
        lines(5)
    );
    text.parse().unwrap()
}

#[test]
fn a_quorum_is_met_by_those_who_are_enough() {
    let policy = two_levels();
    assert_eq!(policy.logs(), keys());
    assert_eq!(policy.witnesses().len(), 5);
    assert_eq!(
        policy.witnesses()[1].url.as_deref(),
        Some("https://w51.example/")
    );
    for subset in 0..32_u8 {
        let seeds: Vec<u8> = (0..5).filter(|bit| subset & (1 << bit) != 0).collect();
        let x = seeds.iter().filter(|seed| **seed < 3).count();
        let enough = x >= 2 && x < seeds.len();
        let note = cosigned_by(&seeds.iter().map(|seed| 50 + seed).collect::<Vec<_>>());
        match policy.met_by(&note) {
            Ok(met) => assert!(enough && met.len() == seeds.len(), "{seeds:?}"),
            Err(flaw) => {
                assert!(!enough, "{seeds:?}");
                assert_eq!(
                    flaw,
                    Flaw::NoQuorum {
                        cosigned: seeds.len()
                    }
                );
            }
        }
    }
    let nobody: Policy = "quorum none".parse().unwrap();
    assert!(nobody.met_by(&Sample::new(9).signed()).unwrap().is_empty());
    assert!(Policy::default().met_by(&Sample::new(9).signed()).is_ok());
}

#[test]
fn what_is_no_policy_is_refused_with_its_line() {
    let (w0, w1) = (lines(1), lines(2));
    let log = keys()[0].to_string();
    let witness = |name: &str| w0.replacen("W0", name, 1);
    for (text, line, why) in [
        (String::new(), 2, "quorum"),
        (w0.clone(), 3, "quorum"),
        ("quorum W0\n".into(), 1, "names `W0`"),
        (format!("{w0}quorum W0\nquorum W0\n"), 3, "one `quorum"),
        (format!("{w0}quorum\n"), 2, "one `quorum"),
        (
            format!("log {log}\nlog {log} https://x\nquorum none"),
            2,
            "already",
        ),
        (format!("{w0}{}quorum none", witness("again")), 2, "already"),
        (format!("{}quorum none", witness("none")), 1, "taken"),
        (
            format!("log {}\nquorum none", vkey("a", &key(1))),
            1,
            "type",
        ),
        (format!("witness W0 {log}\nquorum none"), 1, "type"),
        ("witness W0\nquorum none".into(), 1, "none of"),
        ("hello\nquorum none".into(), 1, "none of"),
        (
            format!("{w1}group G 3 W0 W1\nquorum G"),
            3,
            "cannot ask for 3",
        ),
        (
            format!("{w1}group G 0 W0 W1\nquorum G"),
            3,
            "cannot ask for 0",
        ),
        (format!("{w1}group G some W0 W1\nquorum G"), 3, "any"),
        (format!("{w1}group G any\nquorum G"), 3, "cannot ask for 1"),
        (
            format!("{w1}group G any W0 W0\nquorum G"),
            3,
            "in a group already",
        ),
        (
            format!("{w1}group G any W0\ngroup H any W0 W1\nquorum H"),
            4,
            "in a group already",
        ),
        (format!("{w1}group G any G\nquorum G"), 3, "names `G`"),
        (format!("{w1}group W0 any W1\nquorum W0"), 3, "taken"),
        (format!("{w0}quorum W0\r\n"), 2, "control"),
    ] {
        match text.parse::<Policy>() {
            Err(Flaw::Policy { line: at, what }) => {
                assert!(
                    at == line && what.contains(why),
                    "{text:?}: line {at}: {what}"
                );
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_reading_of_a_policy(text in "(log|witness|group|quorum|[ \t\n]|any|all|none|[0-9]|[a-z+]){0,40}") {
        drop(text.parse::<Policy>());
    }

    #[test]
    fn no_answer_of_a_witness_breaks_the_reading(answer in "\\PC{0,200}") {
        let mut note = Sample::new(3).signed();
        prop_assert!(take_cosignature(&mut note, &answer, &witness(50).2).is_err());
    }
}
