//! Formats that must never change: what was written once is read for ever.

use cedarkeep::crypto::cobblestone::Salt;
use cedarkeep::crypto::hierarchy::{BlindIndex, CheckValue};
use cedarkeep::crypto::sealing::{Binding, DataKey, DataKeys, IndexedField, Purpose};
use cedarkeep::crypto::secret::Secret32;
use data_encoding::HEXLOWER;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    sealed: Vec<Sealed>,
    check_values: Vec<Check>,
    blind_indexes: Vec<Blind>,
}

#[derive(Deserialize)]
struct Sealed {
    purpose: String,
    key_version: u32,
    key: String,
    tenant: String,
    incarnation: String,
    table: String,
    column: String,
    row: String,
    row_version: u64,
    salt: String,
    text: String,
    context: String,
    stored: String,
    /// In format 1, which is read and no longer written.
    stored_1: String,
}

#[derive(Deserialize)]
struct Check {
    purpose: String,
    key_version: u32,
    key: String,
    check: String,
}

#[derive(Deserialize)]
struct Blind {
    key: String,
    value: String,
    index: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../vectors/sealed-values.json")).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn key(purpose: Purpose, version: u32, secret: &str) -> DataKey {
    DataKey {
        purpose,
        version,
        secret: Secret32::from_slice(&hex(secret)).unwrap(),
    }
}

#[test]
fn sealed_values_are_what_they_were() {
    let vectors = vectors().sealed;
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let purpose: Purpose = vector.purpose.parse().unwrap();
        let place = Binding {
            tenant: &vector.tenant,
            incarnation: &vector.incarnation,
            table: &vector.table,
            column: &vector.column,
            row: &vector.row,
            row_version: vector.row_version,
        };
        assert_eq!(
            HEXLOWER.encode(&place.context(purpose, vector.key_version)),
            vector.context
        );
        let keys = DataKeys::new(key(purpose, vector.key_version, &vector.key)).unwrap();
        let salt = Salt::fixed(hex(&vector.salt).try_into().unwrap());
        let stored = keys.seal(&place, salt, vector.text.as_bytes()).unwrap();
        assert_eq!(HEXLOWER.encode(&stored), vector.stored);
        for stored in [&vector.stored, &vector.stored_1] {
            let opened = keys.open(&place, &hex(stored)).unwrap();
            assert_eq!(opened, vector.text.as_bytes());
        }
        // One format's bytes are not the other's.
        let mut passed_off = hex(&vector.stored_1);
        passed_off[0] = 2;
        assert!(keys.open(&place, &passed_off).is_err());
    }
}

#[test]
fn check_values_are_what_they_were() {
    let vectors = vectors().check_values;
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let key = key(
            vector.purpose.parse().unwrap(),
            vector.key_version,
            &vector.key,
        );
        assert_eq!(
            HEXLOWER.encode(CheckValue::of(&key).as_bytes()),
            vector.check
        );
    }
}

#[test]
fn blind_indexes_are_what_they_were() {
    let vectors = vectors().blind_indexes;
    assert_eq!(vectors.len(), 1);
    for vector in vectors {
        let key = key(Purpose::BlindIndex(IndexedField::Email), 1, &vector.key);
        assert_eq!(
            HEXLOWER.encode(&BlindIndex::new(key).unwrap().of(&vector.value)),
            vector.index
        );
    }
}
