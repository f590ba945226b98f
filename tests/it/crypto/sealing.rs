//! Stored values: bound to their place, and to every bit of themselves.

use cedarkeep::crypto::CryptoError;
use cedarkeep::crypto::cobblestone::{CHUNK, Chunk, HEADER, SEALED_CHUNK, Salt};
use cedarkeep::crypto::sealing::{
    self, Binding, DataKey, DataKeys, IndexedField, OVERHEAD, PREFIX, Purpose,
};
use cedarkeep::crypto::secret::Secret32;
use proptest::prelude::*;

const PLACE: Binding<'static> = Binding {
    tenant: "ten_a",
    incarnation: "1",
    table: "users",
    column: "name",
    row: "usr_a",
    row_version: 3,
};

fn key(purpose: Purpose, version: u32, byte: u8) -> DataKey {
    DataKey {
        purpose,
        version,
        secret: Secret32::new(&[byte; 32]),
    }
}

fn records(version: u32) -> DataKeys {
    DataKeys::new(key(Purpose::Records, version, 1)).unwrap()
}

fn seal(keys: &DataKeys, text: &[u8]) -> Vec<u8> {
    keys.seal(&PLACE, Salt::random().unwrap(), text).unwrap()
}

fn elsewhere() -> [(&'static str, Binding<'static>); 6] {
    [
        (
            "tenant",
            Binding {
                tenant: "ten_b",
                ..PLACE
            },
        ),
        (
            "incarnation",
            Binding {
                incarnation: "2",
                ..PLACE
            },
        ),
        (
            "table",
            Binding {
                table: "teams",
                ..PLACE
            },
        ),
        (
            "column",
            Binding {
                column: "email",
                ..PLACE
            },
        ),
        (
            "row",
            Binding {
                row: "usr_b",
                ..PLACE
            },
        ),
        (
            "row version",
            Binding {
                row_version: 4,
                ..PLACE
            },
        ),
    ]
}

#[test]
fn a_value_opens_at_its_place_and_at_no_other() {
    let keys = records(1);
    let stored = seal(&keys, b"Ada");
    assert_eq!(stored.len(), 3 + OVERHEAD);
    assert_eq!(keys.open(&PLACE, &stored).unwrap(), b"Ada");
    for (what, place) in elsewhere() {
        assert!(
            matches!(keys.open(&place, &stored), Err(CryptoError::DoesNotOpen)),
            "{what}"
        );
    }
}

#[test]
fn a_value_does_not_open_under_another_purpose_or_version_of_the_same_bytes() {
    let stored = seal(&records(1), b"Ada");
    let content = DataKeys::new(key(Purpose::Content, 1, 1)).unwrap();
    assert!(matches!(
        content.open(&PLACE, &stored),
        Err(CryptoError::DoesNotOpen)
    ));

    let mut relabelled = stored;
    relabelled[4] = 2;
    assert!(matches!(
        records(2).open(&PLACE, &relabelled),
        Err(CryptoError::DoesNotOpen)
    ));
}

#[test]
fn the_newest_version_seals_and_each_opens_its_own() {
    let mut keys = records(1);
    let old = seal(&keys, b"old");
    keys.add(key(Purpose::Records, 2, 2)).unwrap();
    let new = seal(&keys, b"new");
    assert_eq!(sealing::key_version(&old).unwrap(), 1);
    assert_eq!(sealing::key_version(&new).unwrap(), 2);
    assert_eq!(keys.open(&PLACE, &old).unwrap(), b"old");
    assert_eq!(keys.open(&PLACE, &new).unwrap(), b"new");

    keys.remove(1).unwrap();
    let gone = keys.open(&PLACE, &old);
    assert!(matches!(
        gone,
        Err(CryptoError::UnknownVersion {
            purpose: Purpose::Records,
            version: 1
        })
    ));
    assert!(matches!(
        keys.remove(2),
        Err(CryptoError::LastVersion(Purpose::Records))
    ));
    assert_eq!(keys.open(&PLACE, &new).unwrap(), b"new");
}

#[test]
fn an_older_version_added_later_does_not_seal() {
    let mut keys = records(2);
    keys.add(key(Purpose::Records, 1, 2)).unwrap();
    assert_eq!(sealing::key_version(&seal(&keys, b"x")).unwrap(), 2);
    assert_eq!(
        keys.iter().map(|key| key.version).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn keys_of_another_purpose_or_a_version_twice_are_refused() {
    let mut keys = records(1);
    let other = keys.add(key(Purpose::Content, 2, 2));
    assert!(matches!(
        other,
        Err(CryptoError::WrongPurpose {
            found: Purpose::Content,
            ..
        })
    ));
    let twice = keys.add(key(Purpose::Records, 1, 2));
    assert!(matches!(
        twice,
        Err(CryptoError::BadVersion { version: 1, .. })
    ));
    let zero = DataKeys::new(key(Purpose::Records, 0, 2));
    assert!(matches!(
        zero,
        Err(CryptoError::BadVersion { version: 0, .. })
    ));
    for purpose in [
        Purpose::LogSigning,
        Purpose::BlindIndex(IndexedField::Email),
    ] {
        let sealing = DataKeys::new(key(purpose, 1, 2));
        assert!(
            matches!(sealing, Err(CryptoError::WrongPurpose { .. })),
            "{purpose}"
        );
    }
}

#[test]
fn every_purpose_has_a_name_that_reads_back() {
    for purpose in Purpose::ALL {
        assert_eq!(purpose.name().parse::<Purpose>().unwrap(), purpose);
    }
    let mut names: Vec<_> = Purpose::ALL.iter().map(|purpose| purpose.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Purpose::ALL.len());
    assert!("Records".parse::<Purpose>().is_err());
}

#[test]
fn a_value_of_another_format_says_so() {
    let keys = records(1);
    let mut stored = seal(&keys, b"Ada");
    stored[0] = 3;
    assert!(matches!(
        keys.open(&PLACE, &stored),
        Err(CryptoError::UnknownFormat(3))
    ));
    assert!(matches!(
        keys.open(&PLACE, b""),
        Err(CryptoError::Truncated)
    ));
}

#[test]
fn a_long_value_is_written_in_pieces_and_read_from_its_middle() {
    let keys = records(1);
    let text: Vec<u8> = (0..3 * CHUNK + 1)
        .map(|place| (place % 253) as u8)
        .collect();
    let mut stored = Vec::new();
    let mut sealer = keys.sealer(&PLACE, Salt::random().unwrap(), &mut stored);
    for piece in text.chunks(1000) {
        sealer.push(piece, &mut stored).unwrap();
    }
    sealer.finish(&mut stored).unwrap();
    assert!(keys.open(&PLACE, &stored).unwrap() == text);

    let opener = keys.opener(&PLACE, &stored[..PREFIX + HEADER]).unwrap();
    let place = PREFIX + HEADER + 2 * SEALED_CHUNK;
    let mut out = Vec::new();
    let chunk = opener
        .open_chunk(2, &stored[place..place + SEALED_CHUNK], &mut out)
        .unwrap();
    assert_eq!(chunk, Chunk::Full);
    assert!(out == text[2 * CHUNK..3 * CHUNK]);
    let wrong = opener.open_chunk(1, &stored[place..place + SEALED_CHUNK], &mut out);
    assert!(matches!(wrong, Err(CryptoError::Altered { chunk: 1 })));
    assert_eq!(out.len(), CHUNK);
}

#[test]
fn two_seals_of_one_text_have_nothing_in_common() {
    let keys = records(1);
    let (one, two) = (seal(&keys, b"Ada"), seal(&keys, b"Ada"));
    assert_ne!(one[PREFIX..], two[PREFIX..]);
}

/// A place of five texts and a number.
type Place = ([String; 5], u64);

fn place() -> impl Strategy<Value = Place> {
    (prop::array::uniform5("[a-c]{0,3}"), 0u64..3)
}

fn binding((fields, row_version): &Place) -> Binding<'_> {
    let [tenant, incarnation, table, column, row] = fields.each_ref().map(String::as_str);
    Binding {
        tenant,
        incarnation,
        table,
        column,
        row,
        row_version: *row_version,
    }
}

proptest! {
    /// The fields are short and of few letters, so that many pairs differ only in where one field ends.
    #[test]
    fn a_value_opens_elsewhere_only_if_elsewhere_is_here(one in place(), two in place()) {
        let keys = records(1);
        let stored = keys.seal(&binding(&one), Salt::random().unwrap(), b"text").unwrap();
        prop_assert!(keys.open(&binding(&one), &stored).is_ok());
        prop_assert_eq!(keys.open(&binding(&two), &stored).is_ok(), one == two);
    }

    #[test]
    fn a_letter_moved_over_a_border_is_another_place(fields in prop::array::uniform5("[a-c]{1,3}"), border in 0usize..4) {
        let here: Place = (fields, 1);
        let mut there = here.clone();
        let letter = there.0[border].pop().unwrap();
        there.0[border + 1].insert(0, letter);
        let keys = records(1);
        let stored = keys.seal(&binding(&here), Salt::random().unwrap(), b"text").unwrap();
        prop_assert!(matches!(keys.open(&binding(&there), &stored), Err(CryptoError::DoesNotOpen)));
    }

    #[test]
    fn a_flipped_bit_anywhere_refuses_to_open(
        text in prop::collection::vec(any::<u8>(), 0..400),
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let keys = records(1);
        let mut stored = seal(&keys, &text);
        let place = place.index(stored.len());
        stored[place] ^= 1 << bit;
        prop_assert!(keys.open(&PLACE, &stored).is_err());
    }

    #[test]
    fn a_cut_or_longer_value_refuses_to_open(text in prop::collection::vec(any::<u8>(), 0..400), cut in any::<prop::sample::Index>()) {
        let keys = records(1);
        let mut stored = seal(&keys, &text);
        prop_assert!(keys.open(&PLACE, &stored[..cut.index(stored.len())]).is_err());
        stored.push(0);
        prop_assert!(keys.open(&PLACE, &stored).is_err());
    }
}

#[test]
fn no_bit_is_without_protection() {
    let keys = records(1);
    let mut stored = seal(&keys, b"a text of some length");
    for place in 0..stored.len() {
        for bit in 0..8 {
            stored[place] ^= 1 << bit;
            assert!(
                keys.open(&PLACE, &stored).is_err(),
                "byte {place}, bit {bit}"
            );
            stored[place] ^= 1 << bit;
        }
    }
    assert!(keys.open(&PLACE, &stored).is_ok());
}
