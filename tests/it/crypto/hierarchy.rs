//! The hierarchy: each key opens under the key above it, in its own place, and is the right one.

use cedarkeep::crypto::CryptoError;
use cedarkeep::crypto::cobblestone::Salt;
use cedarkeep::crypto::hierarchy::{
    BlindIndex, CheckValue, TenantKey, Wrapped, create_subject_key, open_subject_key,
    rewrap_subject_key,
};
use cedarkeep::crypto::keyring::{Keyring, Store};
use cedarkeep::crypto::provider::{Provider, Under};
use cedarkeep::crypto::sealing::{self, Binding, DataKey, DataKeys, IndexedField, Purpose};
use cedarkeep::crypto::secret::Secret32;
use tempfile::TempDir;

/// Its result, once it is there.
fn wait<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.build().unwrap().block_on(work)
}

struct Root {
    provider: Provider,
    folder: TempDir,
}

impl Root {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring");
        Keyring::open_or_create(&path, Store::Empty).unwrap();
        Self {
            provider: Provider::Keyring(path),
            folder,
        }
    }

    fn tenant(&self, name: &str) -> (TenantKey, Wrapped) {
        wait(TenantKey::create(&self.provider, name, 1, Under::Newest)).unwrap()
    }

    /// Adds a root key, as an operator's command would; it is seen at once by whoever knows where the keyring is.
    fn rotate(&self) -> Keyring {
        let path = self.folder.path().join("keyring");
        Keyring::open(&path).unwrap().add_root().unwrap();
        Keyring::open(&path).unwrap()
    }
}

#[test]
fn a_tenant_key_opens_again_for_its_tenant_alone() {
    let root = Root::new();
    let (key, wrapped) = root.tenant("ten_a");
    let again = wait(TenantKey::open(&root.provider, "ten_a", 1, &wrapped)).unwrap();
    assert_eq!(again.check_value(), key.check_value());

    let other = wait(TenantKey::open(&root.provider, "ten_b", 1, &wrapped));
    assert!(matches!(other, Err(CryptoError::DoesNotOpen)));
    let later = wait(TenantKey::open(&root.provider, "ten_a", 2, &wrapped));
    assert!(matches!(later, Err(CryptoError::DoesNotOpen)));
}

#[test]
fn a_tenant_key_does_not_open_under_another_root() {
    let (_, wrapped) = Root::new().tenant("ten_a");
    let another = Root::new();
    let opened = wait(TenantKey::open(&another.provider, "ten_a", 1, &wrapped));
    assert!(matches!(opened, Err(CryptoError::DoesNotOpen)));
}

#[test]
fn another_root_key_is_told_at_start() {
    let (mine, other) = (Root::new(), Root::new());
    let (version, recorded) = wait(mine.provider.check_value()).unwrap();
    wait(mine.provider.verify(version, &recorded)).unwrap();
    let wrong = wait(other.provider.verify(version, &recorded));
    assert!(matches!(
        wrong,
        Err(CryptoError::WrongKey {
            purpose: Purpose::TenantWrap,
            version: 1
        })
    ));
    let missing = wait(mine.provider.verify(2, &recorded));
    assert!(matches!(
        missing,
        Err(CryptoError::UnknownVersion {
            purpose: Purpose::TenantWrap,
            version: 2
        })
    ));
}

#[test]
fn another_tenants_key_is_told_at_opening() {
    let root = Root::new();
    let ((a, _), (b, _)) = (root.tenant("ten_a"), root.tenant("ten_b"));
    let recorded = CheckValue::from_slice(a.check_value().as_bytes()).unwrap();
    a.verify(&recorded).unwrap();
    assert!(matches!(
        b.verify(&recorded),
        Err(CryptoError::WrongKey {
            purpose: Purpose::DataWrap,
            ..
        })
    ));
}

#[test]
fn a_data_key_opens_as_what_it_is_and_as_nothing_else() {
    let root = Root::new();
    let ((a, _), (b, _)) = (root.tenant("ten_a"), root.tenant("ten_b"));
    let (key, wrapped) = a.create_data_key(Purpose::Records, 1).unwrap();
    assert!(
        a.open_data_key(Purpose::Records, 1, &wrapped)
            .unwrap()
            .secret
            == key.secret
    );
    assert!(matches!(
        a.open_data_key(Purpose::Content, 1, &wrapped),
        Err(CryptoError::DoesNotOpen)
    ));
    assert!(matches!(
        a.open_data_key(Purpose::Records, 2, &wrapped),
        Err(CryptoError::DoesNotOpen)
    ));
    assert!(matches!(
        b.open_data_key(Purpose::Records, 1, &wrapped),
        Err(CryptoError::DoesNotOpen)
    ));
}

#[test]
fn a_data_key_with_another_check_value_is_refused() {
    let (tenant, _) = Root::new().tenant("ten_a");
    let (_, mut wrapped) = tenant.create_data_key(Purpose::Records, 1).unwrap();
    wrapped.check = CheckValue::from_slice(&[0; 8]).unwrap();
    let opened = tenant.open_data_key(Purpose::Records, 1, &wrapped);
    assert!(matches!(
        opened,
        Err(CryptoError::WrongKey {
            purpose: Purpose::Records,
            version: 1
        })
    ));
}

#[test]
fn a_check_value_depends_on_key_purpose_and_version() {
    let of = |byte, purpose, version| {
        CheckValue::of(&DataKey {
            purpose,
            version,
            secret: Secret32::new(&[byte; 32]),
        })
    };
    let one = of(1, Purpose::Records, 1);
    assert_eq!(one, of(1, Purpose::Records, 1));
    assert_ne!(one, of(2, Purpose::Records, 1));
    assert_ne!(one, of(1, Purpose::Content, 1));
    assert_ne!(one, of(1, Purpose::Records, 2));
    assert!(matches!(
        CheckValue::from_slice(&[0; 7]),
        Err(CryptoError::Length { found: 7, .. })
    ));
}

/// The erasure of an organization: survivors go under the new root, the old root goes, and a copy of the wrapped
/// key from an old backup opens nothing.
#[test]
fn what_was_not_rewrapped_is_lost_with_the_old_root() {
    let root = Root::new();
    let (survivor, _) = root.tenant("ten_a");
    let (_, erased) = root.tenant("ten_b");
    let mut keyring = root.rotate();
    let rewrapped = wait(survivor.rewrap(&root.provider, Under::Newest)).unwrap();
    assert_eq!(sealing::key_version(&rewrapped.sealed).unwrap(), 2);

    keyring.destroy_root(1).unwrap();
    let again = wait(TenantKey::open(&root.provider, "ten_a", 1, &rewrapped)).unwrap();
    assert_eq!(again.check_value(), survivor.check_value());
    let lost = wait(TenantKey::open(&root.provider, "ten_b", 1, &erased));
    assert!(matches!(
        lost,
        Err(CryptoError::UnknownVersion {
            purpose: Purpose::TenantWrap,
            version: 1
        })
    ));
}

#[test]
fn data_keys_go_over_to_a_new_tenant_key() {
    let root = Root::new();
    let (old, _) = root.tenant("ten_a");
    let (key, wrapped) = old.create_data_key(Purpose::Records, 1).unwrap();
    let (new, _) = wait(TenantKey::create(&root.provider, "ten_a", 2, Under::Newest)).unwrap();
    let moved = new
        .wrap_data_key(&old.open_data_key(Purpose::Records, 1, &wrapped).unwrap())
        .unwrap();
    assert_eq!(
        (new.version(), sealing::key_version(&moved.sealed).unwrap()),
        (2, 2)
    );
    assert!(
        new.open_data_key(Purpose::Records, 1, &moved)
            .unwrap()
            .secret
            == key.secret
    );
    assert!(old.open_data_key(Purpose::Records, 1, &moved).is_err());
}

#[test]
fn a_subject_key_opens_for_its_subject_alone_and_survives_rotation() {
    let (tenant, _) = Root::new().tenant("ten_a");
    let (first, _) = tenant.create_data_key(Purpose::SubjectWrap, 1).unwrap();
    let (second, _) = tenant.create_data_key(Purpose::SubjectWrap, 2).unwrap();
    let mut wrap = DataKeys::new(first).unwrap();
    let (subject, wrapped) = create_subject_key(&wrap, "ten_a", "usr_a").unwrap();
    let place = Binding {
        tenant: "ten_a",
        incarnation: "1",
        table: "parts",
        column: "part",
        row: "7",
        row_version: 1,
    };
    let part = subject
        .seal(&place, Salt::random().unwrap(), b"10.0.0.1")
        .unwrap();

    assert!(matches!(
        open_subject_key(&wrap, "ten_a", "usr_b", &wrapped),
        Err(CryptoError::DoesNotOpen)
    ));
    assert!(matches!(
        open_subject_key(&wrap, "ten_b", "usr_a", &wrapped),
        Err(CryptoError::DoesNotOpen)
    ));

    wrap.add(second).unwrap();
    let rewrapped = rewrap_subject_key(&wrap, "ten_a", "usr_a", &wrapped).unwrap();
    wrap.remove(1).unwrap();
    assert!(open_subject_key(&wrap, "ten_a", "usr_a", &wrapped).is_err());
    let again = open_subject_key(&wrap, "ten_a", "usr_a", &rewrapped).unwrap();
    assert_eq!(again.open(&place, &part).unwrap(), b"10.0.0.1");
}

#[test]
fn a_records_key_wraps_no_subject_key() {
    let (tenant, _) = Root::new().tenant("ten_a");
    let (records, _) = tenant.create_data_key(Purpose::Records, 1).unwrap();
    let refused = create_subject_key(&DataKeys::new(records).unwrap(), "ten_a", "usr_a");
    assert!(matches!(
        refused,
        Err(CryptoError::WrongPurpose {
            found: Purpose::Records,
            ..
        })
    ));
}

#[test]
fn a_blind_index_tells_equal_from_different_within_one_field() {
    let index = |byte, field| {
        let purpose = Purpose::BlindIndex(field);
        BlindIndex::new(DataKey {
            purpose,
            version: 1,
            secret: Secret32::new(&[byte; 32]),
        })
        .unwrap()
    };
    let email = index(1, IndexedField::Email);
    assert_eq!(email.of("ada@example.com"), email.of("ada@example.com"));
    assert_ne!(email.of("ada@example.com"), email.of("bob@example.com"));
    assert_ne!(
        email.of("ada@example.com"),
        index(2, IndexedField::Email).of("ada@example.com")
    );
    assert_ne!(
        email.of("ada@example.com"),
        index(1, IndexedField::UserName).of("ada@example.com")
    );

    let records = DataKey {
        purpose: Purpose::Records,
        version: 1,
        secret: Secret32::new(&[1; 32]),
    };
    assert!(matches!(
        BlindIndex::new(records),
        Err(CryptoError::WrongPurpose { .. })
    ));
}
