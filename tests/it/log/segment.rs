//! Framed batches: what goes in comes out, and damaged blobs are refused.

use cedarkeep::log::entry::{LEAF_LIMIT, PartName, SealedPart};
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::segment::{Leaves, Parts, Places, parts_of_entry};
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
    let read = Parts::parse(&blob).unwrap();
    for name in [PartName::Request, PartName::Client, PartName::Details] {
        for index in 7..13 {
            let mut those = read.get(index);
            if let Some(parts) = &mut those {
                parts.retain(|part| part.name == name);
            }
            assert_eq!(read.some(index, &[name]), those, "{index}");
        }
    }
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

proptest! {
    #[test]
    fn an_entry_lies_where_the_beginning_of_its_blob_says(count in 1_usize..60, first in 0_u64..1_000_000, seed in any::<u64>()) {
        let length = |at: usize| usize::try_from((seed >> (at % 50)) % 700).unwrap();
        let leaves: Vec<Vec<u8>> = (0..count).map(|at| vec![u8::try_from(at).unwrap(); length(at)]).collect();
        let parts: Vec<Vec<SealedPart>> = (0..count)
            .map(|at| match at % 3 {
                0 => Vec::new(),
                _ => vec![SealedPart { name: PartName::Details, sealed: vec![1; length(at)] }],
            })
            .collect();
        let (leaf_blob, part_blob) = (Leaves::frame(first, &leaves).unwrap(), Parts::frame(first, &parts).unwrap());
        let start = usize::try_from(Places::needs(u64::try_from(count).unwrap())).unwrap();
        let in_leaves = Places::of_leaves(&leaf_blob[..start]).unwrap();
        let in_parts = Places::of_parts(&part_blob[..start]).unwrap();
        prop_assert_eq!((in_leaves.first(), in_leaves.count()), (first, count));
        for (index, (leaf, parts)) in (first..).zip(leaves.iter().zip(&parts)) {
            let cut = |blob: &[u8], places: &Places| {
                let (begins, ends) = places.of_entry(index).unwrap();
                blob[usize::try_from(begins).unwrap()..usize::try_from(ends).unwrap()].to_vec()
            };
            prop_assert_eq!(&cut(&leaf_blob, &in_leaves), leaf);
            prop_assert_eq!(&parts_of_entry(&cut(&part_blob, &in_parts)).unwrap(), parts);
        }
        prop_assert!(in_leaves.of_entry(first + u64::try_from(count).unwrap()).is_none());
        prop_assert!(first == 0 || in_leaves.of_entry(first - 1).is_none());
        // One that is cut, or of the other kind, has no places.
        prop_assert!(Places::of_leaves(&leaf_blob[..start - 1]).is_err());
        prop_assert!(Places::of_leaves(&part_blob[..start]).is_err());
    }
}
