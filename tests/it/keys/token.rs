//! Root keys in a PKCS#11 token: SoftHSM's, called as a library and by the service.

use std::path::Path;

use cedarkeep::crypto::CryptoError;
use cedarkeep::crypto::hierarchy::TenantKey;
use cedarkeep::crypto::keyring::Store;
use cedarkeep::crypto::provider::pkcs11::{Pin, Settings, Token as Root};
use cedarkeep::crypto::provider::{Provider, ProviderError, Under};
use cedarkeep::crypto::sealing::{Purpose, key_version};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use super::{decides, providers};
use crate::harness::server::Site;
use crate::harness::token::{PIN, TOKEN, Token, in_a_token, module, spy};

fn provider(dir: &Path, key: &str) -> Provider {
    Provider::Pkcs11(Root::new(Settings {
        module: module(),
        token: TOKEN.into(),
        key: key.into(),
        pin: Pin::File(dir.join("pin")),
    }))
}

/// Somebody else in the same process, with a log-in of their own.
fn beside() -> (Pkcs11, Session) {
    let library = Pkcs11::new(module()).unwrap();
    // It may be initialized already: then this says so.
    drop(library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)));
    let slots = library.get_slots_with_initialized_token().unwrap();
    let session = library.open_rw_session(slots[0]).unwrap();
    drop(session.login(UserType::User, Some(&AuthPin::from(PIN))));
    (library, session)
}

fn make_key(session: &Session, label: &str, extractable: bool) {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
        Attribute::Label(label.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(extractable),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .unwrap();
}

#[test]
fn a_key_opens_in_its_place_alone() {
    in_a_token("keys::token::a_key_opens_in_its_place_alone", async |dir| {
        let root = provider(dir, "cedarkeep-root");
        root.prepare(Store::Empty).await.unwrap();
        let (key, wrapped) = TenantKey::create(&root, "ten_a", 1, Under::Newest)
            .await
            .unwrap();
        assert_eq!((wrapped.sealed.len(), wrapped.sealed[0]), (65, 0x11));
        assert_eq!(key_version(&wrapped.sealed).unwrap(), 1);
        let again = TenantKey::open(&root, "ten_a", 1, &wrapped).await.unwrap();
        assert_eq!(again.check_value(), key.check_value());
        // What is wrapped twice is never the same.
        assert_ne!(
            key.rewrap(&root, Under::Newest).await.unwrap().sealed,
            wrapped.sealed
        );

        for (tenant, version) in [("ten_b", 1), ("ten_a", 2)] {
            let moved = TenantKey::open(&root, tenant, version, &wrapped).await;
            assert!(matches!(moved, Err(CryptoError::DoesNotOpen)), "{moved:?}");
        }
        let purpose = Purpose::TenantWrap;
        for at in 0..wrapped.sealed.len() {
            let mut altered = wrapped.clone();
            altered.sealed[at] ^= 1;
            let opened = TenantKey::open(&root, "ten_a", 1, &altered)
                .await
                .unwrap_err();
            let expected = match at {
                0 => matches!(opened, CryptoError::UnknownFormat(_)),
                1..=4 => {
                    matches!(opened, CryptoError::UnknownVersion { purpose: found, .. } if found == purpose)
                }
                _ => matches!(opened, CryptoError::DoesNotOpen),
            };
            assert!(expected, "{at}: {opened:?}");
        }
        for length in 0..wrapped.sealed.len() {
            let mut cut = wrapped.clone();
            cut.sealed.truncate(length);
            assert!(
                TenantKey::open(&root, "ten_a", 1, &cut).await.is_err(),
                "{length}"
            );
        }
        // It still works after all that.
        TenantKey::open(&root, "ten_a", 1, &wrapped).await.unwrap();
        let another = provider(dir, "another-root");
        let opened = TenantKey::open(&another, "ten_a", 1, &wrapped).await;
        assert!(matches!(
            opened,
            Err(CryptoError::UnknownVersion { version: 1, .. })
        ));
        another.prepare(Store::Empty).await.unwrap();
        let opened = TenantKey::open(&another, "ten_a", 1, &wrapped).await;
        assert!(matches!(opened, Err(CryptoError::DoesNotOpen)));
    });
}

#[test]
fn root_keys_have_versions_and_check_values() {
    in_a_token(
        "keys::token::root_keys_have_versions_and_check_values",
        async |dir| {
            let root = provider(dir, "cedarkeep-root");
            // None is made over data.
            root.prepare(Store::HasData).await.unwrap();
            let none = root.newest().await;
            assert!(
                matches!(&none, Err(CryptoError::Provider(ProviderError::NoKey { key, .. })) if key == "cedarkeep-root-1"),
                "{none:?}"
            );
            root.prepare(Store::Empty).await.unwrap();
            root.prepare(Store::Empty).await.unwrap();
            assert_eq!(root.newest().await.unwrap(), 1);
            let (version, check) = root.check_value().await.unwrap();
            root.verify(version, &check).await.unwrap();
            let (key, old) = TenantKey::create(&root, "ten_a", 1, Under::Newest)
                .await
                .unwrap();

            assert_eq!(root.create_next().await.unwrap(), 2);
            assert_eq!(root.newest().await.unwrap(), 2);
            let new = key.rewrap(&root, Under::Newest).await.unwrap();
            assert_eq!(key_version(&new.sealed).unwrap(), 2);
            // One that was made ready wraps nothing until it is said to.
            let still = key.rewrap(&root, Under::Version(1)).await.unwrap();
            assert_eq!(key_version(&still.sealed).unwrap(), 1);
            TenantKey::open(&root, "ten_a", 1, &still).await.unwrap();
            let none = key.rewrap(&root, Under::Version(3)).await.unwrap_err();
            assert!(
                matches!(&none, CryptoError::Provider(ProviderError::NoKey { key, .. }) if key == "cedarkeep-root-3"),
                "{none:?}"
            );
            TenantKey::open(&root, "ten_a", 1, &old).await.unwrap();
            root.verify(1, &check).await.unwrap();
            let last = root.destroy(2).await;
            assert!(matches!(last, Err(CryptoError::LastVersion(_))));
            root.destroy(1).await.unwrap();
            for gone in [
                root.destroy(1).await.unwrap_err(),
                root.verify(1, &check).await.unwrap_err(),
                TenantKey::open(&root, "ten_a", 1, &old).await.unwrap_err(),
            ] {
                assert!(
                    matches!(gone, CryptoError::UnknownVersion { version: 1, .. }),
                    "{gone:?}"
                );
            }
            TenantKey::open(&root, "ten_a", 1, &new).await.unwrap();
            // A gap stays one.
            assert_eq!(root.create_next().await.unwrap(), 3);
            each_has_one_after(&root, 3).await;

            let (version, check) = root.check_value().await.unwrap();
            let other = provider(dir, "other-root");
            for _ in 0..4 {
                other.create_next().await.unwrap();
            }
            let wrong = other.verify(version, &check).await;
            assert!(
                matches!(wrong, Err(CryptoError::WrongKey { version: 4, .. })),
                "{wrong:?}"
            );
        },
    );
}

/// A rotation that was interrupted goes on with the root key that it made.
async fn each_has_one_after(root: &Provider, newest: u32) {
    // Over data whose root key is not there none is made.
    let missing = root.add_after(newest + 7).await;
    assert!(matches!(missing, Err(CryptoError::UnknownVersion { .. })));
    assert_eq!(root.add_after(newest).await.unwrap(), newest + 1);
    assert_eq!(root.add_after(newest).await.unwrap(), newest + 1);
    assert!(root.versions().await.unwrap().len() > 1);
    for _ in 0..2 {
        root.destroy_before(newest + 1).await.unwrap();
        assert_eq!(root.versions().await.unwrap(), [newest + 1]);
    }
}

#[tokio::test]
async fn a_keyring_has_versions_as_a_token_has() {
    let dir = tempfile::tempdir().unwrap();
    let root = Provider::Keyring(dir.path().join("ring"));
    root.prepare(Store::Empty).await.unwrap();
    let (key, old) = TenantKey::create(&root, "ten_a", 1, Under::Newest)
        .await
        .unwrap();
    each_has_one_after(&root, 1).await;
    let new = key.rewrap(&root, Under::Newest).await.unwrap();
    TenantKey::open(&root, "ten_a", 1, &new).await.unwrap();
    // What was destroyed in the file is gone for whoever had it open.
    let gone = TenantKey::open(&root, "ten_a", 1, &old).await;
    assert!(matches!(
        gone,
        Err(CryptoError::UnknownVersion { version: 1, .. })
    ));
}

#[test]
fn a_key_that_could_leave_the_token_is_no_root_key() {
    in_a_token(
        "keys::token::a_key_that_could_leave_the_token_is_no_root_key",
        async |dir| {
            let root = provider(dir, "loose-root");
            let (_library, session) = beside();
            make_key(&session, "loose-root-1", true);
            let refused = TenantKey::create(&root, "ten_a", 1, Under::Newest)
                .await
                .unwrap_err();
            assert!(
                refused.to_string().contains("CKA_EXTRACTABLE false"),
                "{refused}"
            );
            // What we make cannot: the token itself says so.
            root.create_next().await.unwrap();
            let made = [Attribute::Label("loose-root-2".into())];
            let made = session.find_objects(&made).unwrap()[0];
            let asked = [cryptoki::object::AttributeType::Value];
            assert!(session.get_attributes(made, &asked).unwrap().is_empty());
            TenantKey::create(&root, "ten_a", 1, Under::Newest)
                .await
                .unwrap();
        },
    );
}

/// Each of two first starts at once has found none, and made one.
#[test]
fn two_keys_of_one_version_both_open_what_they_wrapped() {
    in_a_token(
        "keys::token::two_keys_of_one_version_both_open_what_they_wrapped",
        async |dir| {
            let root = provider(dir, "twin-root");
            root.prepare(Store::Empty).await.unwrap();
            let (key, first) = TenantKey::create(&root, "ten_a", 1, Under::Newest)
                .await
                .unwrap();
            let (_library, session) = beside();
            // It has no id, so it comes first from here on.
            make_key(&session, "twin-root-1", false);
            let second = key.rewrap(&root, Under::Newest).await.unwrap();
            for wrapped in [&first, &second] {
                let opened = TenantKey::open(&root, "ten_a", 1, wrapped).await.unwrap();
                assert_eq!(opened.check_value(), key.check_value());
            }
            let moved = TenantKey::open(&root, "ten_b", 1, &second).await;
            assert!(matches!(moved, Err(CryptoError::DoesNotOpen)));
        },
    );
}

#[test]
fn a_library_that_others_ended_is_begun_anew() {
    in_a_token(
        "keys::token::a_library_that_others_ended_is_begun_anew",
        async |dir| {
            let root = provider(dir, "cedarkeep-root");
            root.prepare(Store::Empty).await.unwrap();
            let (_, wrapped) = TenantKey::create(&root, "ten_a", 1, Under::Newest)
                .await
                .unwrap();
            for _ in 0..3 {
                Pkcs11::new(module()).unwrap().finalize().unwrap();
                TenantKey::open(&root, "ten_a", 1, &wrapped).await.unwrap();
                TenantKey::create(&root, "ten_b", 1, Under::Newest)
                    .await
                    .unwrap();
            }
        },
    );
}

#[test]
fn a_pin_file_for_others_eyes_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    in_a_token(
        "keys::token::a_pin_file_for_others_eyes_is_refused",
        async |dir| {
            let (root, pin) = (provider(dir, "cedarkeep-root"), dir.join("pin"));
            let said = async || root.prepare(Store::Empty).await.unwrap_err().to_string();
            let mode = |mode| std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(mode));
            for open in [0o644, 0o640, 0o604, 0o700] {
                mode(open).unwrap();
                assert!(said().await.contains("chmod 600"), "{open:o}");
            }
            mode(0o600).unwrap();
            std::fs::write(&pin, "two\nlines\n").unwrap();
            assert!(said().await.contains("one line"));
            std::fs::rename(&pin, dir.join("elsewhere")).unwrap();
            assert!(said().await.contains("there is no file"));
            std::os::unix::fs::symlink(dir.join("elsewhere"), &pin).unwrap();
            assert!(said().await.contains("regular file"));
            std::fs::remove_file(&pin).unwrap();
            std::fs::write(dir.join("elsewhere"), PIN).unwrap();
            std::fs::rename(dir.join("elsewhere"), &pin).unwrap();
            mode(0o600).unwrap();
            root.prepare(Store::Empty).await.unwrap();
        },
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_lives_in_a_token() {
    let token = Token::start();
    let mut site = Site::sqlite();
    token.known_to(&mut site, &module());
    site.set("CEDARKEEP_KEYS__ROOT", "hsm");
    let key = site.create_todo_org("acme");
    for _ in 0..2 {
        let server = site.serve().await;
        decides(&server.client(&key)).await;
        assert_eq!(super::readiness(&server).await, "");
        server.stop();
    }
    assert!(
        !site.data().join("keyring").exists(),
        "nobody needs a keyring"
    );
    site.verify("acme");
    assert!(!site.stderr().contains(PIN));

    // The PIN may come from a variable of the environment as well.
    let table = format!(
        "{{ kind = \"pkcs11\", module = \"{}\", token = \"{TOKEN}\", pin_variable = \"TOKEN_PIN\" }}",
        module().display()
    );
    providers(&mut site, &[("hsm", table)]);
    let said = site.refused(&["org", "list"]);
    assert!(said.contains("TOKEN_PIN"), "{said}");
    site.set("TOKEN_PIN", PIN);
    site.done(&["org", "show", "acme"]);
}

/// How often the library was asked to log in.
fn log_ins(spied: &Path) -> usize {
    let text = std::fs::read_to_string(spied).unwrap();
    text.matches(": C_Login").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_is_said_and_not_tried_again() {
    let token = Token::start();
    let mut site = Site::sqlite();
    let spied = site.beside().join("spied");
    token.known_to(&mut site, &spy());
    site.set("PKCS11SPY", module().to_str().unwrap());
    site.set("PKCS11SPY_OUTPUT", spied.to_str().unwrap());
    let key = site.create_todo_org("acme");
    let other = site.create_todo_org("beta");
    site.done(&["keys", "rewrap", "--org", "acme", "--to", "hsm"]);
    site.done(&["keys", "rewrap", "--org", "beta", "--to", "hsm"]);
    token.write_pin("wrong-1");
    std::fs::remove_file(&spied).unwrap();

    let server = site.serve().await;
    let (acme, beta) = (server.client(&key), server.client(&other));
    for _ in 0..5 {
        super::has_no_keys(&acme, "refuses").await;
        super::has_no_keys(&beta, "refuses").await;
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    }
    assert_eq!(log_ins(&spied), 1, "a PIN that was refused is tried once");
    assert!(
        site.stderr().contains("the PIN is wrong"),
        "{}",
        site.stderr()
    );
    assert!(!site.stderr().contains("wrong-1"));
    // Another wrong one is one more try; the right one is the last.
    token.write_pin("wrong-2");
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    super::has_no_keys(&acme, "refuses").await;
    token.write_pin(PIN);
    super::decides_again(&acme).await;
    decides(&beta).await;
    assert_eq!(log_ins(&spied), 3);
    server.stop();

    // A start that needs the key says so at once, and does not wait.
    token.write_pin("wrong-3");
    site.set("CEDARKEEP_KEYS__ROOT", "hsm");
    site.done(&["org", "list"]);
    token.write_pin(PIN);
    site.done(&["keys", "rewrap"]);
    token.write_pin("wrong-3");
    let start = std::time::Instant::now();
    let said = site.refused(&["serve"]);
    assert!(said.contains("the PIN is wrong"), "{said}");
    assert!(start.elapsed() < std::time::Duration::from_secs(10));
}

#[test]
fn another_token_of_the_same_name_is_refused_and_left_as_it_is() {
    let token = Token::start();
    let mut site = Site::sqlite();
    token.known_to(&mut site, &module());
    site.set("CEDARKEEP_KEYS__ROOT", "hsm");
    site.set("CEDARKEEP_KEYS__WAIT_S", "0");
    site.create_org("acme");

    // One without a key: none is made in it.
    let empty = Token::start();
    empty.known_to(&mut site, &module());
    for _ in 0..2 {
        for command in [&["org", "list"][..], &["serve"], &["org", "create", "beta"]] {
            let said = site.refused(command);
            assert!(said.contains("no tenant-wrap key of version 1"), "{said}");
        }
    }
    // One with another key.
    let mut stranger = Site::sqlite();
    empty.known_to(&mut stranger, &module());
    stranger.set("CEDARKEEP_KEYS__ROOT", "hsm");
    stranger.create_org("other");
    for command in [&["org", "list"][..], &["serve"]] {
        let said = site.refused(command);
        assert!(said.contains("wrong key"), "{said}");
    }
    // The right one, which was never touched.
    token.known_to(&mut site, &module());
    site.done(&["org", "show", "acme"]);

    let said = {
        site.set("SOFTHSM2_CONF", "/nowhere");
        site.refused(&["org", "list"])
    };
    assert!(said.contains("out of reach"), "{said}");
    let nothing = Path::new("/nowhere/library.so");
    token.known_to(&mut site, nothing);
    let said = site.refused(&["org", "list"]);
    assert!(said.contains("cannot be loaded"), "{said}");
}
