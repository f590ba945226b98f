//! Secrets: compared, and never printed.

use cedarkeep::crypto::CryptoError;
use cedarkeep::crypto::cobblestone::{Key, Opener, Salt, Sealer};
use cedarkeep::crypto::hierarchy::{BlindIndex, TenantKey};
use cedarkeep::crypto::keyring::{Keyring, Store};
use cedarkeep::crypto::process::{core_dumps_forbidden, forbid_core_dumps};
use cedarkeep::crypto::provider::{Provider, Under};
use cedarkeep::crypto::sealing::{DataKey, DataKeys, IndexedField, Purpose};
use cedarkeep::crypto::secret::{Secret32, same};
use cedarkeep::crypto::signing::SigningSeed;

/// A key whose bytes show, were they printed in decimal, hexadecimal or Base64.
fn key(purpose: Purpose) -> DataKey {
    DataKey {
        purpose,
        version: 1,
        secret: Secret32::new(&[0xc3; 32]),
    }
}

fn hides(printed: String) {
    for trace in ["195", "c3", "C3", "w8PD", "Ã"] {
        assert!(!printed.contains(trace), "`{printed}` has `{trace}`");
    }
}

#[test]
fn debug_of_what_holds_a_secret_shows_no_byte_of_it() {
    let keys = DataKeys::new(key(Purpose::Records)).unwrap();
    let mut sealed = Vec::new();
    let mut sealer = Sealer::start(
        &Key::of(&Secret32::new(&[0xc3; 32])),
        b"",
        Salt::fixed([1; 24]),
        &mut sealed,
    );
    sealer.push(&[0xc3; 20], &mut sealed).unwrap();
    let opener = Opener::start(
        &Key::of(&Secret32::new(&[0xc3; 32])),
        b"",
        sealed.first_chunk().unwrap(),
    )
    .unwrap();

    assert_eq!(format!("{:?}", Secret32::new(&[0xc3; 32])), "Secret32");
    hides(format!("{:?} {:#?}", key(Purpose::Records), keys));
    hides(format!("{sealer:?} {opener:?}"));
    hides(format!(
        "{:?}",
        SigningSeed::new(&Secret32::new(&[0xc3; 32]))
    ));
    let index = BlindIndex::new(key(Purpose::BlindIndex(IndexedField::Email))).unwrap();
    hides(format!("{index:?}"));
}

/// Their keys are random, so what is compared is the whole of what is printed.
#[tokio::test]
async fn debug_of_keyring_and_tenant_key_is_made_of_names_and_versions() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::open_or_create(&folder.path().join("k"), Store::Empty).unwrap();
    let root = "DataKey { purpose: TenantWrap, version: 1, secret: Secret32 }";
    assert_eq!(
        format!("{keyring:?}"),
        format!(
            "Keyring {{ path: {:?}, roots: DataKeys {{ newest: {root}, older: {{}} }} }}",
            folder.path().join("k")
        )
    );
    let provider = Provider::Keyring(folder.path().join("k"));
    let (tenant, _) = TenantKey::create(&provider, "ten_a", 1, Under::Newest)
        .await
        .unwrap();
    let key = "DataKey { purpose: DataWrap, version: 1, secret: Secret32 }";
    assert_eq!(
        format!("{tenant:?}"),
        format!(
            "TenantKey {{ tenant: \"ten_a\", keys: DataKeys {{ newest: {key}, older: {{}} }} }}"
        )
    );
}

#[test]
fn secrets_are_equal_by_their_bytes() {
    assert!(Secret32::new(&[1; 32]) == Secret32::new(&[1; 32]));
    assert!(Secret32::new(&[1; 32]) != Secret32::new(&[2; 32]));
    assert!(Secret32::random().unwrap() != Secret32::random().unwrap());
    assert!(same(b"abc", b"abc") && !same(b"abc", b"abd") && !same(b"abc", b"ab"));
}

#[test]
fn a_secret_has_32_bytes() {
    for length in [0, 16, 31, 33] {
        let short = Secret32::from_slice(&vec![0; length]);
        assert!(
            matches!(short, Err(CryptoError::Length { expected: 32, .. })),
            "{length}"
        );
    }
}

#[test]
fn core_dumps_are_forbidden() {
    forbid_core_dumps().unwrap();
    assert!(core_dumps_forbidden());
}
