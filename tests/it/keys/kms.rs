//! Root keys in AWS KMS: moto's, by a way that fails as it is told to.

use std::time::{Duration, Instant};

use cedarkeep::crypto::CryptoError;
use cedarkeep::crypto::hierarchy::TenantKey;
use cedarkeep::crypto::provider::aws_kms::{AwsKms, Identity, Settings};
use cedarkeep::crypto::provider::{Provider, ProviderError, Under};
use zeroize::Zeroizing;

use super::{decides, decides_again, has_no_keys, providers, until_ready_says};
use crate::harness::kms::{Fault, Moto, Way};
use crate::harness::server::Site;

const SECRET: &str = "kms-secret-that-nobody-may-see";

fn provider(endpoint: &str, key: &str) -> Provider {
    signed_by(
        endpoint,
        key,
        Identity {
            access_key: "AKIDTEST".into(),
            secret_key: Zeroizing::new(SECRET.into()),
            session_token: Some(Zeroizing::new("session-token".into())),
        },
    )
}

fn signed_by(endpoint: &str, key: &str, identity: Identity) -> Provider {
    Provider::AwsKms(
        AwsKms::new(Settings {
            key: key.into(),
            region: "eu-central-1".into(),
            endpoint: Some(endpoint.into()),
            identity,
            patience: Duration::from_millis(700),
            now: chrono::Utc::now,
        })
        .unwrap(),
    )
}

fn table(way: &Way, key: &str) -> String {
    format!(
        "{{ kind = \"aws-kms\", key = \"{key}\", region = \"eu-central-1\", endpoint = \"{}\" }}",
        way.url()
    )
}

fn known_to(site: &mut Site, way: &Way, key: &str) {
    providers(site, &[("kms", table(way, key))]);
    site.set("AWS_ACCESS_KEY_ID", "AKIDTEST");
    site.set("AWS_SECRET_ACCESS_KEY", SECRET);
    site.set("CEDARKEEP_KEYS__TIMEOUT_MS", "2000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_in_its_place_alone() {
    let moto = Moto::start();
    let (mine, _) = (moto.key("alias/mine"), moto.key("alias/other"));
    let way = Way::to(&moto);
    let root = provider(&way.url(), "alias/mine");
    let (key, wrapped) = TenantKey::create(&root, "ten_a", 1, Under::Newest)
        .await
        .unwrap();
    let asked = way.seen().pop().unwrap();
    assert!(
        asked.contains("x-amz-target: TrentService.Encrypt"),
        "{asked}"
    );
    assert!(asked.contains("/eu-central-1/kms/aws4_request"), "{asked}");
    assert!(
        asked.contains("x-amz-security-token: session-token"),
        "{asked}"
    );
    assert!(!asked.contains(SECRET));
    for part in [
        "\"tenant\":\"ten_a\"",
        "\"version\":\"1\"",
        "\"purpose\":\"tenant-wrap\"",
    ] {
        assert!(asked.contains(part), "{asked}");
    }
    assert!(!format!("{root:?}").contains(SECRET));

    let again = TenantKey::open(&root, "ten_a", 1, &wrapped).await.unwrap();
    assert_eq!(again.check_value(), key.check_value());
    for (tenant, version) in [("ten_b", 1), ("ten_a", 2)] {
        let moved = TenantKey::open(&root, tenant, version, &wrapped).await;
        assert!(matches!(moved, Err(CryptoError::DoesNotOpen)), "{moved:?}");
    }
    let mut altered = wrapped.clone();
    *altered.sealed.last_mut().unwrap() ^= 1;
    let opened = TenantKey::open(&root, "ten_a", 1, &altered).await;
    assert!(
        matches!(opened, Err(CryptoError::DoesNotOpen)),
        "{opened:?}"
    );
    let by_id = provider(&way.url(), &mine);
    TenantKey::open(&by_id, "ten_a", 1, &wrapped).await.unwrap();

    let (version, check) = root.check_value().await.unwrap();
    root.verify(version, &check).await.unwrap();
    let none = provider(&way.url(), "alias/none").check_value().await;
    assert!(
        matches!(&none, Err(CryptoError::Provider(ProviderError::NoKey { key, .. })) if key == "alias/none"),
        "{none:?}"
    );
    assert!(matches!(
        root.create_next().await,
        Err(CryptoError::Provider(ProviderError::OwnVersions { .. }))
    ));
    assert!(matches!(
        root.destroy(1).await,
        Err(CryptoError::Provider(ProviderError::OwnVersions { .. }))
    ));
}

/// Moto's own check of signatures, which is off unless it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_signed_as_aws_wants_them() {
    let (moto, id, secret) = Moto::strict("alias/mine");
    let way = Way::to(&moto);
    let identity = |secret: &str| Identity {
        access_key: id.clone(),
        secret_key: Zeroizing::new(secret.to_owned()),
        session_token: None,
    };
    let root = signed_by(&way.url(), "alias/mine", identity(&secret));
    let (_, wrapped) = TenantKey::create(&root, "ten_a", 1, Under::Newest)
        .await
        .unwrap();
    TenantKey::open(&root, "ten_a", 1, &wrapped).await.unwrap();
    let forger = signed_by(&way.url(), "alias/mine", identity("another secret"));
    let told = forger.check_value().await.unwrap_err();
    assert!(told.to_string().contains("refuses"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kms_says_is_told_apart() {
    let moto = Moto::start();
    moto.key("alias/mine");
    let way = Way::to(&moto);
    let root = provider(&way.url(), "alias/mine");
    let (_, wrapped) = TenantKey::create(&root, "ten_a", 1, Under::Newest)
        .await
        .unwrap();
    let told = async |fault: Fault| {
        way.seen();
        way.set(fault);
        let told = TenantKey::open(&root, "ten_a", 1, &wrapped).await;
        (told.map(|_| ()), way.seen().len())
    };
    // What only somebody can put right is asked once, what may pass three times.
    for (status, kind, said) in [
        (400, "DisabledException", "enable it"),
        (
            400,
            "com.amazonaws.kms#KMSInvalidStateException",
            "pending deletion",
        ),
        (400, "AccessDeniedException", "AccessDeniedException"),
        (400, "ExpiredTokenException", "ExpiredTokenException"),
    ] {
        let (told, asked) = told(Fault::Says(status, kind)).await;
        let Err(CryptoError::Provider(error @ ProviderError::Refused { .. })) = told else {
            panic!("{kind}: {told:?}");
        };
        assert!(error.to_string().contains(said), "{error}");
        assert!(!error.may_pass());
        assert_eq!(asked, 1, "{kind}");
    }
    for (status, kind) in [
        (400, "ThrottlingException"),
        (429, ""),
        (500, "KMSInternalException"),
        (503, "DependencyTimeoutException"),
        (502, ""),
    ] {
        let (told, asked) = told(Fault::Says(status, kind)).await;
        let Err(CryptoError::Provider(error)) = told else {
            panic!("{kind}: {told:?}");
        };
        assert!(error.may_pass(), "{kind}: {error}");
        assert_eq!(asked, 3, "{kind}");
    }
    for kind in ["InvalidCiphertextException", "IncorrectKeyException"] {
        let (told, asked) = told(Fault::Says(400, kind)).await;
        assert!(matches!(told, Err(CryptoError::DoesNotOpen)), "{told:?}");
        assert_eq!(asked, 1);
    }
    let (told_of, asked) = told(Fault::Drops).await;
    assert!(
        matches!(
            told_of,
            Err(CryptoError::Provider(ProviderError::OutOfReach { .. }))
        ),
        "{told_of:?}"
    );
    assert!(asked >= 3);
    let start = Instant::now();
    let (told_of, _) = told(Fault::Hangs).await;
    assert!(
        matches!(
            told_of,
            Err(CryptoError::Provider(ProviderError::TooSlow { .. }))
        ),
        "{told_of:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    // What passes is not noticed.
    let (told_of, _) = told(Fault::DropsFirst(2)).await;
    told_of.unwrap();
    let (told_of, _) = told(Fault::None).await;
    told_of.unwrap();
    // What is no KMS.
    let (told_of, _) = told(Fault::Says(200, "")).await;
    assert!(told_of.unwrap_err().to_string().contains("no KMS"));
    let nobody = provider("http://127.0.0.1:9", "alias/mine");
    let told_of = nobody.check_value().await.unwrap_err();
    assert!(told_of.to_string().contains("out of reach"), "{told_of}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_lives_in_kms_and_goes_on_while_its_key_is_disabled() {
    let moto = Moto::start();
    moto.key("alias/cedarkeep");
    let way = Way::to(&moto);
    let mut site = Site::sqlite();
    known_to(&mut site, &way, "alias/cedarkeep");
    site.set("CEDARKEEP_KEYS__ROOT", "kms");
    let (open, closed) = (site.create_todo_org("open"), site.create_todo_org("closed"));
    let server = site.serve().await;
    let (open, closed) = (server.client(&open), server.client(&closed));
    decides(&open).await;
    for (fault, why) in [
        (Fault::Says(400, "DisabledException"), "refuses to use it"),
        (
            Fault::Says(400, "KMSInvalidStateException"),
            "refuses to use it",
        ),
        (
            Fault::Says(400, "ThrottlingException"),
            "takes no more calls now",
        ),
        (Fault::Drops, "is out of reach"),
        (Fault::Hangs, "does not answer in time"),
    ] {
        way.set(fault);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        has_no_keys(&closed, why).await;
        decides(&open).await;
    }
    until_ready_says(&server, |said| said.contains("1 of 2")).await;
    way.set(Fault::None);
    decides_again(&closed).await;
    until_ready_says(&server, str::is_empty).await;
    server.stop();
    assert!(!site.stderr().contains(SECRET));

    // A disabled key is no reason to wait at a start; one out of reach is.
    way.set(Fault::Says(400, "DisabledException"));
    let start = Instant::now();
    let said = site.refused(&["serve"]);
    assert!(said.contains("the key is disabled"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(10));
    way.set(Fault::None);
    site.done(&["org", "show", "closed"]);
    // Its versions are KMS's own.
    let said = site.refused(&["keys", "rotate", "root"]);
    assert!(
        said.contains("makes the versions of its keys by itself"),
        "{said}"
    );
    // Another key behind the name is a wrong key.
    moto.key("alias/another");
    known_to(&mut site, &way, "alias/another");
    way.set(Fault::Says(400, "IncorrectKeyException"));
    let said = site.refused(&["org", "list"]);
    assert!(said.contains("wrong key"), "{said}");
    way.set(Fault::None);
    site.set("AWS_SECRET_ACCESS_KEY", "");
    let said = site.refused(&["org", "list"]);
    assert!(said.contains("AWS_SECRET_ACCESS_KEY"), "{said}");
}

#[test]
fn keys_are_not_sent_in_the_clear() {
    for endpoint in ["http://kms.example.com", "ftp://127.0.0.1", "nonsense"] {
        let refused = AwsKms::new(Settings {
            key: "k".into(),
            region: "eu-central-1".into(),
            endpoint: Some(endpoint.into()),
            identity: Identity {
                access_key: "a".into(),
                secret_key: Zeroizing::new("b".into()),
                session_token: None,
            },
            patience: Duration::from_secs(1),
            now: chrono::Utc::now,
        });
        assert!(
            matches!(refused, Err(ProviderError::Refused { .. })),
            "{endpoint}"
        );
    }
}
