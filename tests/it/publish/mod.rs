//! The deployment's log: what it commits to, its witnesses (which nobody here wrote), the folder and the sink that it goes to.

use std::path::Path;

use cedarkeep::app::App;
use cedarkeep::config::{Config, Database};
use cedarkeep::decide::{anchor, audit, check, upkeep};
use cedarkeep::log::anchor::{Anchor, commitment};
use cedarkeep::log::anchors;
use cedarkeep::log::checkpoint::{SignedCheckpoint, VerifierKey};
use cedarkeep::log::entry::Fact;
use cedarkeep::log::merkle::{Frontier, leaf_hash};
use cedarkeep::log::verify::Kept;
use cedarkeep::log::witness::Policy;
use cedarkeep::publish::{Publisher, Round};

use crate::api::harness::{Service, Tenant};
use crate::api::keeping::{asked, every_entry};
use crate::api::restore::closed;
use crate::harness::cosigner::Cosigner;
use crate::harness::postgres;

mod outlets;

async fn round(app: &App, publisher: &Publisher) -> Round {
    app.publish(publisher).await.unwrap()
}

fn said(round: &Round) -> String {
    let lines = round.failed.iter().map(|failed| {
        let mut text = failed.to_string();
        let mut source = std::error::Error::source(failed);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The settings of a service, with a folder to publish into and a policy.
fn settings(service: &Service, beside: &Path, policy: Option<&str>) -> Config {
    let mut config = service.app().config().clone();
    config.publish.dir = Some(beside.join("public"));
    if let Some(policy) = policy {
        let path = beside.join("policy");
        std::fs::write(&path, policy).unwrap();
        config.publish.witnesses = Some(path);
    }
    config
}

async fn key(app: &App) -> VerifierKey {
    app.deployment().await.unwrap().verifier()
}

async fn proof(app: &App, tenant: &Tenant, size: Option<u64>) -> Option<Anchor> {
    let deployment = app.deployment().await.unwrap();
    let log = (&**tenant.door.store(), tenant.door.origin());
    anchor::proof(log, deployment.store(), size).await.unwrap()
}

/// The log that lies in a folder, read by its files alone: each tile of hashes is that of the entries beside it.
fn read_folder(folder: &Path, key: &VerifierKey) -> SignedCheckpoint {
    let note = std::fs::read(folder.join("checkpoint")).unwrap();
    let note = SignedCheckpoint::parse(&note).unwrap();
    note.verify(std::slice::from_ref(key)).unwrap();
    let (size, mut tree) = (note.checkpoint().size, Frontier::new());
    for first in (0..size).step_by(256) {
        let width = (size - first).min(256);
        let ending = if width == 256 {
            String::new()
        } else {
            format!(".p/{width}")
        };
        let number = format!("{:03}{ending}", first / 256);
        let entries = std::fs::read(folder.join("tile/entries").join(&number)).unwrap();
        let hashes = std::fs::read(folder.join("tile/0").join(&number)).unwrap();
        let (mut rest, mut read) = (entries.as_slice(), Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (leaf, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
            read.extend_from_slice(leaf_hash(leaf).bytes());
            tree.push(leaf_hash(leaf)).unwrap();
            rest = after;
        }
        assert_eq!(read, hashes, "{number}");
    }
    assert_eq!(tree.root(), note.checkpoint().root);
    note
}

async fn a_log_is_anchored_and_its_anchor_witnessed(database: Database) {
    let service = Service::still(database).await;
    let (app, beside) = (service.app(), tempfile::tempdir().unwrap());
    let (acme, other) = (service.tenant("acme").await, service.tenant("other").await);
    asked(&service, &acme, acme.member, 10).await;
    let key = key(app).await;
    let witness = |name: &str, fault| {
        let state = beside.path().join(name);
        Cosigner::start(
            &state,
            (&key.to_string(), &format!("{name}.example")),
            fault,
        )
    };
    let (first, second) = (witness("first", None), witness("second", None));
    let policy = format!(
        "log {key}\nwitness first {}\nwitness second {}\ngroup both all first second\nquorum both\n",
        first.line, second.line
    );
    let config = settings(&service, beside.path(), Some(&policy));
    let publisher = Publisher::open(&config).unwrap();
    let told = round(app, &publisher).await;
    assert_eq!((told.size, said(&told).as_str()), (2, ""));
    assert_eq!(told.cosigned, ["first", "second"]);

    // Each log has an anchor under a witnessed checkpoint, which verifies with nothing else.
    let policy: Policy = policy.parse().unwrap();
    let deployment = app.deployment().await.unwrap();
    for tenant in [&acme, &other] {
        let anchor = proof(app, tenant, None).await.unwrap();
        let anchor = Anchor::parse(anchor.to_string().as_bytes()).unwrap();
        anchor.verify(policy.logs()).unwrap();
        assert_eq!(policy.met_by(&anchor.receipt.checkpoint).unwrap().len(), 2);
        assert_eq!(anchor.checkpoint.origin, *tenant.door.origin());
        // It is what the log itself says of that size.
        let head = audit::head(tenant.door.store()).await.unwrap();
        let note = SignedCheckpoint::parse(head.checkpoint.as_bytes()).unwrap();
        assert_eq!(anchor.checkpoint, *note.checkpoint());
    }
    // Of the organizations the deployment's log holds no name, id or root.
    for entry in every_entry(&deployment).await {
        let leaf = String::from_utf8(entry.leaf().unwrap()).unwrap();
        assert!(matches!(entry.fact, Some(Fact::Commitment(_))), "{leaf}");
        assert!(!leaf.contains("org_") && entry.parts.is_empty(), "{leaf}");
    }

    // Nothing new: nothing is written, and nobody is asked (the witnesses are gone).
    drop((first, second));
    let told = round(app, &publisher).await;
    assert_eq!((told.size, said(&told).as_str()), (2, ""));
    // Without them nothing goes out; the anchors wait under a checkpoint that nobody has cosigned.
    asked(&service, &acme, acme.member, 5).await;
    let told = round(app, &publisher).await;
    let why = said(&told);
    assert!(
        told.size == 0 && why.contains("witness `first`: it does not answer"),
        "{why}"
    );
    assert!(why.contains("are not the quorum of the policy"), "{why}");
    assert_eq!(
        read_folder(&beside.path().join("public"), &key)
            .checkpoint()
            .size,
        2
    );
    let waiting = proof(app, &acme, None).await.unwrap();
    waiting.verify(policy.logs()).unwrap();
    assert!(policy.met_by(&waiting.receipt.checkpoint).is_err());
    // They come back, at other addresses, and know what they have seen; full tiles go into the folder.
    let (first, second) = (witness("first", None), witness("second", None));
    let text = format!(
        "log {key}\nwitness first {}\nwitness second {}\ngroup both all first second\nquorum both\n",
        first.line, second.line
    );
    let publisher = Publisher::open(&settings(&service, beside.path(), Some(&text))).unwrap();
    for beats in [0, 1, 252, 1, 1, 300] {
        for _ in 0..beats {
            upkeep::beat(&deployment).await.unwrap();
        }
        let told = round(app, &publisher).await;
        assert_eq!(
            (told.cosigned.len(), said(&told).as_str()),
            (2, ""),
            "{beats}"
        );
        let laid = read_folder(&beside.path().join("public"), &key);
        assert_eq!(laid.checkpoint().size, told.size);
        policy.met_by(&laid).unwrap();
    }
    assert!(!beside.path().join("public/tile/0/000.p").exists());
    let report = check::verify(deployment.store(), deployment.origin(), &[], |_, _| {}).await;
    assert!(report.unwrap().is_sound());
    // An old size is answered by the first anchor that covers it.
    let first_anchor = proof(app, &acme, Some(1)).await.unwrap();
    let newest = proof(app, &acme, None).await.unwrap();
    assert!(first_anchor.checkpoint.size < newest.checkpoint.size);
    assert!(proof(app, &acme, Some(1_000_000)).await.is_none());
    assert_ne!(first_anchor.salt, newest.salt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_anchored_and_its_anchor_witnessed_on_sqlite() {
    a_log_is_anchored_and_its_anchor_witnessed(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_anchored_and_its_anchor_witnessed_on_postgresql() {
    let server = postgres::start();
    a_log_is_anchored_and_its_anchor_witnessed(Database::Postgres(server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_lies_counts_for_nothing() {
    let service = Service::still(Database::Sqlite).await;
    let (app, beside) = (service.app(), tempfile::tempdir().unwrap());
    service.tenant("acme").await;
    let key = key(app).await;
    let honest = Cosigner::start(
        &beside.path().join("honest"),
        (&key.to_string(), "honest"),
        None,
    );
    for (fault, why) in [
        ("500", "it answers 500"),
        ("forge", "the signature of key"),
        ("big", "longer than 64 KiB"),
        // It is waited for once, and for 10 seconds.
        ("hang", "it does not answer"),
    ] {
        let state = beside.path().join(fault);
        let faulty = Cosigner::start(&state, (&key.to_string(), fault), Some(fault));
        let quorums = [("any", true), ("all", false)];
        for (quorum, out) in quorums
            .into_iter()
            .take(if fault == "hang" { 1 } else { 2 })
        {
            let policy = format!(
                "witness good {}\nwitness bad {}\ngroup both {quorum} good bad\nquorum both\n",
                honest.line, faulty.line
            );
            let config = settings(&service, beside.path(), Some(&policy));
            let told = round(app, &Publisher::open(&config).unwrap()).await;
            assert_eq!(told.size > 0, out, "{fault} {quorum}: {}", said(&told));
            assert!(said(&told).contains(why), "{fault}: {}", said(&told));
            assert_eq!(told.cosigned, if out { vec!["good"] } else { vec![] });
        }
    }
    // One that knows another log, or trusts another key.
    let stranger = VerifierKey::of("elsewhere.example/log/x".parse().unwrap(), &signing());
    let same_name = VerifierKey::of(key.name().clone(), &signing());
    for (trusted, status) in [(stranger, 404), (same_name, 403)] {
        let state = beside.path().join(status.to_string());
        let witness = Cosigner::start(&state, (&trusted.to_string(), "w"), None);
        let policy = format!("witness w {}\nquorum w\n", witness.line);
        let config = settings(&service, beside.path(), Some(&policy));
        let told = round(app, &Publisher::open(&config).unwrap()).await;
        let why = said(&told);
        assert!(
            told.size == 0 && why.contains(&format!("it answers {status}")),
            "{why}"
        );
    }
}

fn signing() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[9; 32])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployments_log_that_was_put_back_is_noticed_by_its_witness_and_goes_on_as_another() {
    let service = Service::still(Database::Sqlite).await;
    let (app, beside) = (service.app(), tempfile::tempdir().unwrap());
    let tenant = service.tenant("acme").await;
    let key = key(app).await;
    let state = beside.path().join("state");
    let witness = Cosigner::start(&state, (&key.to_string(), "w"), None);
    let policy = format!("witness w {}\nquorum w\n", witness.line);
    let config = settings(&service, beside.path(), Some(&policy));
    let publisher = Publisher::open(&config).unwrap();
    let told = round(app, &publisher).await;
    assert_eq!(said(&told), "");
    let deployment = app.deployment().await.unwrap();
    let id = deployment.store().id();
    deployment.close().await;
    let data = &app.config().data.dir;
    let file = data.join(format!("tenants/{id}.db"));
    std::fs::copy(&file, beside.path().join("backup")).unwrap();
    // It grows, and is put back together with its mark: nobody here can tell.
    for size in [2, 3] {
        asked(&service, &tenant, tenant.member, 5).await;
        let told = round(app, &publisher).await;
        assert_eq!((told.size, said(&told).as_str()), (size, ""));
    }
    let lost = audit::head(tenant.door.store()).await.unwrap().size;
    app.deployment().await.unwrap().close().await;
    closed(&file);
    for ending in ["db-wal", "db-shm"] {
        drop(std::fs::remove_file(file.with_extension(ending)));
    }
    std::fs::copy(beside.path().join("backup"), &file).unwrap();
    std::fs::remove_file(data.join(format!("marks/{id}.checkpoint"))).unwrap();
    let fresh = Publisher::open(&config).unwrap();
    asked(&service, &tenant, tenant.member, 5).await;
    let why = said(&round(app, &fresh).await);
    assert!(
        why.contains("rollback_detected: it has seen 3 entries"),
        "{why}"
    );
    // On purpose, it goes on as another incarnation, which a witness does not know yet.
    app.deployment().await.unwrap().close().await;
    let restored = app.restored(id, |_, _| {}).await.unwrap();
    assert_eq!(restored[0].index, 2);
    let why = said(&round(app, &fresh).await);
    assert!(why.contains("it answers 404"), "{why}");
    let anew = app.deployment().await.unwrap();
    assert!(anew.verifier().name().is_of_same_log(key.name()));
    let note = audit::head(anew.store()).await.unwrap().checkpoint;
    SignedCheckpoint::parse(note.as_bytes())
        .unwrap()
        .verify(&[anew.verifier()])
        .unwrap();
    // What was published before by more signatures than a note may have, or in other words, is no reason to stop.
    let database = anew.store().database();
    let far = anchors::publish(database, (1_000, "nonsense"), 1_000).await;
    assert!(far.unwrap());
    assert!(anchor::published(anew.store()).await.unwrap().is_none());
    assert!(
        !anchors::publish(database, (2, "smaller"), 1_000)
            .await
            .unwrap()
    );
    let open = Publisher::open(&settings(&service, beside.path(), None)).unwrap();
    let told = round(app, &open).await;
    assert!(told.size > 2 && told.size < 1_000, "{}", said(&told));
    // Commitments that are lost are not handed out, but the next one that is there.
    let anchor = proof(app, &tenant, Some(lost)).await.unwrap();
    assert!(anchor.checkpoint.size > lost);
    anchor.verify(&[anew.verifier()]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commitment_that_was_begun_and_not_ended_is_made_with_the_same_salt() {
    let service = Service::still(Database::Sqlite).await;
    let app = service.app();
    let tenant = service.tenant("acme").await;
    let deployment = app.deployment().await.unwrap();
    let store = tenant.door.store();
    anchor::anchor((store, tenant.door.origin()), &deployment)
        .await
        .unwrap()
        .unwrap();
    let before = anchors::newest(store.database()).await.unwrap().unwrap();
    // As if the process had died between the two logs: the entry is there, and nobody knows of it.
    let mut rows = service.database(&tenant).await;
    sqlx::query("UPDATE anchor SET entry = NULL")
        .execute(&mut rows)
        .await
        .unwrap();
    asked(&service, &tenant, tenant.member, 3).await;
    let entry = anchor::anchor((store, tenant.door.origin()), &deployment)
        .await
        .unwrap();
    assert_eq!(entry, Some(1));
    let after = anchors::newest(store.database()).await.unwrap().unwrap();
    assert_eq!((after.size, &after.salt), (before.size, &before.salt));
    let found: Vec<_> = every_entry(&deployment)
        .await
        .into_iter()
        .map(|entry| entry.fact)
        .collect();
    assert_eq!(found[0], found[1]);
    let proved = proof(app, &tenant, None).await.unwrap();
    let said = Fact::Commitment(commitment(&proved.salt, &proved.checkpoint));
    assert_eq!(found[1], Some(said));
    // A row for what the log does not have, or with a salt that does not open, is in nobody's way.
    sqlx::query("INSERT INTO anchor (size, salt, entry) VALUES (1000000, $1, NULL)")
        .bind(after.salt.as_slice())
        .execute(&mut rows)
        .await
        .unwrap();
    // What has grown since has its turn, and then there is nothing to do.
    assert_eq!(
        anchor::anchor((store, tenant.door.origin()), &deployment)
            .await
            .unwrap(),
        Some(2)
    );
    assert_eq!(
        anchor::anchor((store, tenant.door.origin()), &deployment)
            .await
            .unwrap(),
        None
    );
    // A salt that was altered is no salt.
    sqlx::query("UPDATE anchor SET salt = (SELECT salt FROM anchor ORDER BY size LIMIT 1)")
        .execute(&mut rows)
        .await
        .unwrap();
    let log = (&**store, tenant.door.origin());
    assert!(anchor::proof(log, deployment.store(), None).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_publish_at_once_publish_one_log() {
    let server = postgres::start();
    let service = Service::on(Database::Postgres(server.url())).await;
    let (one, beside) = (service.app(), tempfile::tempdir().unwrap());
    let tenant = service.tenant("acme").await;
    let other = service.second_node().await;
    other.door(tenant.door.store().id()).await.unwrap();
    // Neither has it yet: both make it, and it is one.
    let (made, made_too) = tokio::join!(one.deployment(), other.deployment());
    let key = match (made, made_too) {
        (Ok(made), _) | (_, Ok(made)) => made.verifier(),
        (Err(error), _) => panic!("{error}"),
    };
    let witness = Cosigner::start(&beside.path().join("state"), (&key.to_string(), "w"), None);
    let policy = format!("witness w {}\nquorum w\n", witness.line);
    let publishers = ["a", "b"].map(|node| {
        let folder = beside.path().join(node);
        std::fs::create_dir(&folder).unwrap();
        Publisher::open(&settings(&service, &folder, Some(&policy))).unwrap()
    });
    for _ in 0..5 {
        asked(&service, &tenant, tenant.member, 3).await;
        let (a, b) = tokio::join!(round(one, &publishers[0]), round(&other, &publishers[1]));
        for told in [a, b] {
            // Whoever is slower is overtaken; nobody takes that for a log that was put back.
            assert!(
                !said(&told).contains("rollback_detected"),
                "{}",
                said(&told)
            );
        }
    }
    // Once they are quiet both have published the same.
    let told = [
        round(one, &publishers[0]).await,
        round(&other, &publishers[1]).await,
    ];
    assert_eq!(told.each_ref().map(said), ["", ""]);
    let laid = ["a", "b"].map(|node| read_folder(&beside.path().join(node).join("public"), &key));
    assert_eq!(laid[0].checkpoint(), laid[1].checkpoint());
    let deployment = one.deployment().await.unwrap();
    let report = check::verify(
        deployment.store(),
        deployment.origin(),
        &laid.map(Kept::Signed),
        |_, _| {},
    )
    .await
    .unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}
