//! Framed batches: what goes in comes out, and damaged blobs are refused.

use cedarkeep::log::entry::{LEAF_LIMIT, PartName, SealedPart};
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::segment::{Leaves, Parts};
use proptest::prelude::*;
use proptest::sample::select;

use super::{flips, record};

fn parts() -> impl Strategy<Value = Vec<SealedPart>> {
    let part = prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::btree_map(select(PartName::ALL), part, 0..4).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(name, sealed)| SealedPart { name, sealed })
            .collect()
    })
}

proptest! {
    #[test]
    fn leaves_come_out_as_they_went_in(first in 0..1_u64 << 40, leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..40)) {
        let blob = Leaves::frame(first, &leaves).unwrap();
        let read = Leaves::parse(&blob).unwrap();
        prop_assert_eq!((read.first(), read.count()), (first, leaves.len()));
        for (place, leaf) in leaves.iter().enumerate() {
            prop_assert_eq!(read.get(first + place as u64), Some(leaf.as_slice()));
        }
        prop_assert_eq!(read.iter().map(|(_, leaf)| leaf.to_vec()).collect::<Vec<_>>(), leaves.clone());
        prop_assert_eq!(read.get(first + leaves.len() as u64), None);
        prop_assert_eq!(first.checked_sub(1).and_then(|before| read.get(before)), None);
    }

    #[test]
    fn parts_come_out_as_they_went_in(first in 0..1_u64 << 40, entries in prop::collection::vec(parts(), 1..20)) {
        let blob = Parts::frame(first, &entries).unwrap();
        let read = Parts::parse(&blob).unwrap();
        prop_assert_eq!(read.to_vec(), entries.clone());
        for (place, entry) in entries.into_iter().enumerate() {
            prop_assert_eq!(read.get(first + place as u64), Some(entry));
        }
    }

    #[test]
    fn garbage_behind_a_good_header_is_refused_without_harm(kind in select(&[b"CKL1", b"CKP1"][..]), first in 0_u64..9, count in 0_u32..5, rest: Vec<u8>) {
        let blob = [&kind[..], &first.to_be_bytes(), &count.to_be_bytes(), &rest].concat();
        if let Ok(leaves) = Leaves::parse(&blob) {
            let again = leaves.iter().map(|(_, leaf)| leaf).collect::<Vec<_>>();
            prop_assert_eq!(Leaves::frame(leaves.first(), &again).unwrap(), blob.clone());
        }
        if let Ok(parts) = Parts::parse(&blob) {
            prop_assert_eq!(Parts::frame(parts.first(), &parts.to_vec()).unwrap(), blob);
        }
    }
}

#[test]
fn an_altered_bit_is_refused_or_changes_what_is_read() {
    let leaves: Vec<Vec<u8>> = (40..43).map(|index| record(index).leaf).collect();
    let blob = Leaves::frame(40, &leaves).unwrap();
    let whole = Leaves::parse(&blob).unwrap();
    for altered in flips(&blob) {
        assert_ne!(Leaves::parse(&altered).as_ref(), Ok(&whole));
    }
    let entries: Vec<Vec<SealedPart>> = (40..43).map(|index| record(index).parts).collect();
    let blob = Parts::frame(40, &entries).unwrap();
    for altered in flips(&blob) {
        if let Ok(read) = Parts::parse(&altered) {
            assert!((read.first(), read.to_vec()) != (40, entries.clone()));
        }
    }
}

#[test]
fn a_blob_that_is_cut_or_longer_is_refused() {
    let leaves = Leaves::frame(0, &[b"one".as_slice(), b"two"]).unwrap();
    let parts = Parts::frame(0, &[record(1).parts, record(2).parts]).unwrap();
    for length in 0..leaves.len() {
        assert!(Leaves::parse(&leaves[..length]).is_err());
    }
    for length in 0..parts.len() {
        assert!(Parts::parse(&parts[..length]).is_err());
    }
    assert!(Leaves::parse(&[&leaves[..], b"x"].concat()).is_err());
    assert!(Leaves::parse(&parts).is_err(), "another kind");
    assert!(Parts::parse(&leaves).is_err(), "another kind");
}

#[test]
fn what_may_not_be_framed_is_refused() {
    assert!(matches!(
        Leaves::frame::<&[u8]>(0, &[]),
        Err(Flaw::Segment { .. })
    ));
    assert!(matches!(
        Leaves::frame(u64::MAX, &[b"x"]),
        Err(Flaw::Segment { .. })
    ));
    assert!(matches!(
        Leaves::frame(0, &[vec![0; LEAF_LIMIT + 1]]),
        Err(Flaw::LeafTooLong { .. })
    ));
    let twice = vec![
        SealedPart {
            name: PartName::Request,
            sealed: Vec::new()
        };
        2
    ];
    assert_eq!(
        Parts::frame(0, &[twice]),
        Err(Flaw::PartTwice { name: "request" })
    );
}

#[test]
fn parts_can_be_written_again_without_some() {
    let entries: Vec<Vec<SealedPart>> = (0..4).map(|index| record(index).parts).collect();
    let blob = Parts::frame(8, &entries).unwrap();
    let mut kept = Parts::parse(&blob).unwrap().to_vec();
    kept[2].retain(|part| part.name != PartName::Client);
    let again = Parts::frame(8, &kept).unwrap();
    let names: Vec<PartName> = Parts::parse(&again)
        .unwrap()
        .get(10)
        .unwrap()
        .iter()
        .map(|part| part.name)
        .collect();
    assert_eq!(names, [PartName::Request]);
}
