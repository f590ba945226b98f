//! Anchors: what shows that the deployment's log commits to a checkpoint, and every way to falsify it.

use cedarkeep::log::anchor::{Anchor, commitment};
use cedarkeep::log::checkpoint::{Checkpoint, Origin, VerifierKey};
use cedarkeep::log::entry::{Caller, Draft, Event, Fact, Outcome, Time};
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::merkle::{Frontier, leaf_hash};
use cedarkeep::log::receipt::Receipt;
use sha2::{Digest as _, Sha256};

use super::{Sample, flips, key};

fn deployment() -> Origin {
    Origin::deployment("keep.example", "inc_first").unwrap()
}

/// An anchor of a checkpoint in a deployment's log that has this one entry.
fn anchored(event: Event, fact: Option<Fact>) -> Anchor {
    let mut draft = Draft::new(event, Caller::System, Outcome::Ok);
    if let Some(fact) = fact {
        draft = draft.fact(fact);
    }
    let record = draft
        .at(0, Time::from_micros(1_700_000_000_000_000).unwrap())
        .unwrap();
    let mut tree = Frontier::new();
    tree.push(leaf_hash(&record.leaf)).unwrap();
    let head = Checkpoint {
        origin: deployment(),
        size: 1,
        root: tree.root(),
    };
    Anchor {
        salt: [7; 32],
        checkpoint: Sample::new(9).checkpoint(),
        receipt: Receipt {
            leaf: record.leaf,
            index: 0,
            path: Vec::new(),
            checkpoint: head.sign(&key(3)),
        },
    }
}

fn honest() -> Anchor {
    let fact = Fact::Commitment(commitment(&[7; 32], &Sample::new(9).checkpoint()));
    anchored(Event::LogAnchored, Some(fact))
}

fn trusted() -> [VerifierKey; 1] {
    [VerifierKey::of(deployment(), &key(3))]
}

#[test]
fn a_commitment_is_the_hash_that_its_format_says() {
    let checkpoint = Sample::new(9).checkpoint();
    let mut text = b"cedarkeep.anchor.v1\n".to_vec();
    text.extend_from_slice(&[7; 32]);
    text.extend_from_slice(checkpoint.text().as_bytes());
    let wanted = data_encoding::HEXLOWER.encode(&Sha256::digest(&text));
    assert_eq!(commitment(&[7; 32], &checkpoint).to_string(), wanted);
    assert_ne!(commitment(&[8; 32], &checkpoint).to_string(), wanted);
}

#[test]
fn an_anchor_survives_its_text_and_verifies_with_the_deployments_key_alone() {
    let anchor = honest();
    let read = Anchor::parse(anchor.to_string().as_bytes()).unwrap();
    assert_eq!(read, anchor);
    assert_eq!(read.verify(&trusted()).unwrap().event, Event::LogAnchored);
    // Nothing of the log is in what the deployment's log holds.
    let leaf = String::from_utf8(anchor.receipt.leaf.clone()).unwrap();
    assert!(!leaf.contains(anchor.checkpoint.origin.as_str()));
    let stranger = [VerifierKey::of(deployment(), &key(4))];
    assert!(matches!(
        read.verify(&stranger),
        Err(Flaw::Untrusted { .. })
    ));
    assert!(read.verify(&[]).is_err());
}

#[test]
fn every_altered_bit_of_an_anchor_is_refused() {
    let text = honest().to_string();
    for altered in flips(text.as_bytes()) {
        let verified = Anchor::parse(&altered).and_then(|anchor| anchor.verify(&trusted()));
        assert!(verified.is_err(), "{}", String::from_utf8_lossy(&altered));
    }
    for cut in 0..text.len() {
        assert!(
            Anchor::parse(&text.as_bytes()[..cut])
                .and_then(|anchor| anchor.verify(&trusted()))
                .is_err()
        );
    }
}

#[test]
fn another_salt_checkpoint_or_entry_is_refused() {
    let no_commitment = Flaw::Anchor {
        what: "the entry does not commit to this checkpoint",
    };
    let mut salt = honest();
    salt.salt = [8; 32];
    let mut smaller = honest();
    smaller.checkpoint = Sample::new(8).checkpoint();
    let mut renamed = honest();
    renamed.checkpoint.origin = "keep.example/t/other/inc".parse().unwrap();
    let fact = Fact::Commitment(commitment(&[7; 32], &Sample::new(9).checkpoint()));
    let of_another_kind = anchored(Event::LogHeartbeat, Some(fact));
    let empty = anchored(Event::LogAnchored, None);
    let counted = anchored(Event::LogAnchored, Some(Fact::Count(1)));
    for anchor in [salt, smaller, renamed, of_another_kind, empty, counted] {
        assert_eq!(anchor.verify(&trusted()), Err(no_commitment.clone()));
    }
}
