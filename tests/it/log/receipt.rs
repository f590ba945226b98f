//! Receipts: one text file that shows an entry offline.

use cedarkeep::log::checkpoint::VerifierKey;
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::receipt::Receipt;
use proptest::prelude::*;

use super::{SIZES, Sample, flips, key, keys, origin};

#[test]
fn a_receipt_gives_its_leaf_back_at_every_size() {
    for size in SIZES {
        let sample = Sample::new(size);
        for index in [0, size / 2, size - 1] {
            let text = sample.receipt(index).to_string();
            let receipt = Receipt::parse(text.as_bytes()).unwrap();
            let record = &sample.records[usize::try_from(index).unwrap()];
            assert_eq!(receipt.verify(&keys()).unwrap(), record.leaf);
            assert_eq!(receipt.verified_entry(&keys()).unwrap(), record.entry);
            assert_eq!(receipt.to_string(), text);
        }
    }
}

#[test]
fn a_receipt_has_the_shape_of_the_specification() {
    let text = Sample::new(2).receipt(1).to_string();
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines[0], "c2sp.org/tlog-proof@v1");
    assert!(lines[1].starts_with("extra ey"), "base 64 of a brace");
    assert_eq!(lines[2], "index 1");
    assert_eq!(lines[3].len(), 44);
    assert_eq!(lines[4..7], ["", origin().as_str(), "2"]);
}

#[test]
fn every_altered_bit_of_a_receipt_is_refused() {
    let text = Sample::new(257).receipt(100).to_string();
    for altered in flips(text.as_bytes()) {
        let verified = Receipt::parse(&altered)
            .and_then(|receipt| receipt.verify(&keys()).map(<[u8]>::to_vec));
        assert!(verified.is_err(), "{}", String::from_utf8_lossy(&altered));
    }
}

#[test]
fn every_cut_of_a_receipt_is_refused() {
    let text = Sample::new(8).receipt(3).to_string();
    for length in 0..text.len() {
        assert!(Receipt::parse(&text.as_bytes()[..length]).is_err());
    }
}

#[test]
fn a_receipt_without_its_entry_is_refused() {
    let text = Sample::new(8).receipt(3).to_string();
    let without: Vec<&str> = text
        .split('\n')
        .filter(|line| !line.starts_with("extra "))
        .collect();
    assert_eq!(
        Receipt::parse(without.join("\n").as_bytes()),
        Err(Flaw::Receipt {
            what: "it does not have its entry in an extra line"
        })
    );
}

#[test]
fn an_index_is_written_plainly() {
    let text = Sample::new(8).receipt(3).to_string();
    for spelled in ["index 03", "index +3", "index  3", "index 3 "] {
        assert!(
            Receipt::parse(text.replacen("index 3", spelled, 1).as_bytes()).is_err(),
            "{spelled}"
        );
    }
}

#[test]
fn a_foreign_key_trusts_nothing() {
    let receipt = Sample::new(8).receipt(3);
    assert!(matches!(
        receipt.verify(&[VerifierKey::of(origin(), &key(2))]),
        Err(Flaw::Untrusted { .. })
    ));
    assert!(matches!(receipt.verify(&[]), Err(Flaw::Untrusted { .. })));
}

#[test]
fn another_entry_index_or_checkpoint_does_not_fit() {
    let (sample, larger) = (Sample::new(8), Sample::new(9));
    let receipt = sample.receipt(3);
    let other_leaf = Receipt {
        leaf: sample.records[4].leaf.clone(),
        ..receipt.clone()
    };
    let other_index = Receipt {
        index: 4,
        ..receipt.clone()
    };
    let beyond = Receipt {
        index: 8,
        ..receipt.clone()
    };
    let other_head = Receipt {
        checkpoint: larger.signed(),
        ..receipt
    };
    assert_eq!(other_leaf.verify(&keys()), Err(Flaw::ProofRoot { size: 8 }));
    assert_eq!(
        other_index.verify(&keys()),
        Err(Flaw::ProofRoot { size: 8 })
    );
    assert_eq!(
        beyond.verify(&keys()),
        Err(Flaw::IndexBeyond { index: 8, size: 8 })
    );
    assert!(other_head.verify(&keys()).is_err());
}

#[test]
fn an_entry_that_lies_about_its_index_is_refused() {
    let mut sample = Sample::new(4);
    sample.append(super::record(9));
    let receipt = sample.receipt(4);
    receipt.verify(&keys()).unwrap();
    assert_eq!(
        receipt.verified_entry(&keys()),
        Err(Flaw::ReceiptIndex {
            receipt: 4,
            entry: 9
        })
    );
}

proptest! {
    #[test]
    fn garbage_is_refused_without_harm(text in "(c2sp.org/tlog-proof@v1\n)?(extra [A-Z=]{0,8}\n)?(index [0-9]{0,30}\n)?\\PC{0,40}\n{0,2}\\PC{0,40}") {
        prop_assert!(Receipt::parse(text.as_bytes()).is_err());
    }
}
