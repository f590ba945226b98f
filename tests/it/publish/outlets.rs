//! Where the deployment's log goes beside its witnesses: the sink, the folder, HTTP; and the settings that say so.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use cedarkeep::authn::api_key::{ApiKey, Environment};
use cedarkeep::config::{Config, Database};
use cedarkeep::decide::audit;
use cedarkeep::log::anchor::Anchor;
use cedarkeep::log::checkpoint::SignedCheckpoint;
use cedarkeep::publish::{Publisher, Unpublishable};

use super::{key, round, said, settings};
use crate::api::harness::Service;
use crate::api::keeping::{asked, every_entry};

/// A witness's public key in its text form.
fn witness_key(seed: u8) -> String {
    use sha2::Digest as _;
    let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key();
    let typed = [&[4], key.as_bytes().as_slice()].concat();
    let hash = sha2::Sha256::digest([b"w\n", typed.as_slice()].concat());
    let id = data_encoding::HEXLOWER.encode(&hash[..4]);
    format!("w+{id}+{}", data_encoding::BASE64.encode(&typed))
}

/// A sink on this machine: what it was sent, with which credential; it refuses the first.
async fn sink() -> (String, Arc<Mutex<Vec<(String, String)>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (kept, mut refused) = (Arc::clone(&taken), false);
    let answered = Arc::new(Mutex::new(move |credential: String, body: String| {
        if !std::mem::replace(&mut refused, true) {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        kept.lock().unwrap().push((credential, body));
        StatusCode::NO_CONTENT
    }));
    let routes = Router::new().route(
        "/checkpoints",
        post(async move |headers: HeaderMap, body: String| {
            let credential = headers["authorization"].to_str().unwrap().to_owned();
            (answered.lock().unwrap())(credential, body)
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/checkpoints", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, taken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_checkpoint_is_sent_to_the_sink_once_it_takes_it() {
    let service = Service::still(Database::Sqlite).await;
    let (app, beside) = (service.app(), tempfile::tempdir().unwrap());
    let tenant = service.tenant("acme").await;
    let (url, taken) = sink().await;
    let mut config = settings(&service, beside.path(), None);
    config.publish.sink = Some(url);
    let token = beside.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    config.publish.token_file = Some(token);
    let publisher = Publisher::open(&config).unwrap();
    assert!(!format!("{publisher:?}").contains("s3cret"));
    let told = round(app, &publisher).await;
    assert!(
        said(&told).contains("sink: it answers 503"),
        "{}",
        said(&told)
    );
    for _ in 0..3 {
        assert_eq!(said(&round(app, &publisher).await), "");
    }
    asked(&service, &tenant, tenant.member, 3).await;
    let told = round(app, &publisher).await;
    let taken = taken.lock().unwrap().clone();
    let sizes: Vec<_> = taken
        .iter()
        .map(|(credential, note)| {
            assert_eq!(credential, "Bearer s3cret");
            let note = SignedCheckpoint::parse(note.as_bytes()).unwrap();
            note.checkpoint().size
        })
        .collect();
    assert_eq!(sizes, [1, told.size]);
    // A folder that cannot be written keeps nothing else from going out.
    std::fs::remove_dir_all(beside.path().join("public")).unwrap();
    std::fs::write(beside.path().join("public"), "a file").unwrap();
    asked(&service, &tenant, tenant.member, 3).await;
    let told = round(app, &publisher).await;
    assert!(
        told.size > sizes[1] && said(&told).starts_with("folder"),
        "{}",
        said(&told)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_sends_elsewhere_is_not_followed() {
    let service = Service::still(Database::Sqlite).await;
    service.tenant("acme").await;
    let (elsewhere, taken) = sink().await;
    let routes = Router::new().route(
        "/",
        post(async move || (StatusCode::TEMPORARY_REDIRECT, [("location", elsewhere)])),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut config = service.app().config().clone();
    config.publish.sink = Some(url);
    let publisher = Publisher::open(&config).unwrap();
    for _ in 0..2 {
        let told = round(service.app(), &publisher).await;
        assert!(
            said(&told).contains("sink: it answers 307"),
            "{}",
            said(&told)
        );
    }
    assert!(taken.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_publish_nothing_safely_are_refused() {
    let beside = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = beside.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        Publisher::open(&config).unwrap_err()
    };
    for url in [
        "http://sink.example/",
        "ftp://127.0.0.1/",
        "nonsense",
        "https://user:pass@sink.example/",
    ] {
        let why = refused(&|config| config.publish.sink = Some(url.into()));
        assert!(matches!(why, Unpublishable::Url { .. }), "{why}");
        assert!(!why.to_string().contains("pass@"), "{why}");
    }
    let key = "w+6d7c1a0f+BAAA";
    for text in ["", "quorum w\n", &format!("witness w {key}\nquorum w\n")] {
        let path = write("policy", text);
        let why = refused(&|config| config.publish.witnesses = Some(path.clone()));
        assert!(
            why.to_string()
                .contains("policy` of `publish.witnesses`: line"),
            "{why}"
        );
    }
    let crowd: String = (1..=25_u8)
        .map(|seed| format!("witness w{seed} {}\n", witness_key(seed)))
        .collect();
    let path = write("policy", &format!("{crowd}quorum w1\n"));
    let why = refused(&|config| config.publish.witnesses = Some(path.clone()));
    assert!(matches!(why, Unpublishable::Crowd { count: 25 }), "{why}");
    let absent = beside.path().join("absent");
    let why = refused(&|config| config.publish.witnesses = Some(absent.clone()));
    assert!(matches!(why, Unpublishable::Unreadable { .. }), "{why}");
    let why = refused(&|config| config.publish.ca = Some(absent.clone()));
    assert!(matches!(why, Unpublishable::Unreadable { .. }), "{why}");
    let open = write("token", "s3cret\n");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let why = refused(&|config| {
        config.publish.sink = Some("https://sink.example/".into());
        config.publish.token_file = Some(open.clone());
    });
    assert!(
        why.to_string().contains("may be read by everybody"),
        "{why}"
    );
    assert!(!why.to_string().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anchor_is_handed_out_over_http() {
    let service = Service::still(Database::Sqlite).await;
    let (app, beside) = (service.app(), tempfile::tempdir().unwrap());
    let tenant = service.tenant("acme").await;
    let path = "/v1/audit/anchor";
    service
        .get(&tenant, tenant.admin, path)
        .await
        .is_problem(404);
    let publisher = Publisher::open(&settings(&service, beside.path(), None)).unwrap();
    round(app, &publisher).await;
    let told = service.get(&tenant, tenant.admin, path).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.headers["content-type"], "text/plain; charset=utf-8");
    let anchor = Anchor::parse(&told.bytes).unwrap();
    anchor.verify(&[key(app).await]).unwrap();
    let size = anchor.checkpoint.size;
    let same = service
        .get(&tenant, tenant.admin, &format!("{path}?size={size}"))
        .await;
    assert_eq!(
        Anchor::parse(&same.bytes).unwrap().checkpoint,
        anchor.checkpoint
    );
    let beyond = format!("{path}?size={}", size + 1);
    service
        .get(&tenant, tenant.admin, &beyond)
        .await
        .is_problem(404);
    for wrong in ["size=0", "size=x", "size=1&size=2", "other=1"] {
        let told = service
            .get(&tenant, tenant.admin, &format!("{path}?{wrong}"))
            .await;
        told.is_problem(400);
    }
    service
        .get(&tenant, tenant.member, path)
        .await
        .is_problem(403);
    // The deployment's own log takes no key, not even as one that is refused: nobody without a credential writes into it.
    let deployment = app.deployment().await.unwrap();
    let id = *deployment.store().id().bytes();
    let stranger = ApiKey::mint(Environment::Live, id, [1; 16], [2; 32]);
    let size = audit::head(deployment.store()).await.unwrap().size;
    let told = service
        .ask("GET", "/v1/organization")
        .key(stranger.expose())
        .user(tenant.admin)
        .send()
        .await;
    told.is_problem(401);
    let now = audit::head(deployment.store()).await.unwrap().size;
    assert_eq!(now, size);
    // The reading is in the log that was read.
    let last = every_entry(&tenant.door).await;
    assert!(
        last.iter()
            .any(|entry| entry.event.as_str() == "audit_log.read")
    );
}
