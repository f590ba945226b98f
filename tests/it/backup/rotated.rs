//! Backups of before a key was rotated: what still opens them puts them back, and what does not is said and changes nothing.

use cedarkeep::app::Restore;
use cedarkeep::backup::{Sealers, Taking, take};
use cedarkeep::config::Database;
use cedarkeep::crypto::keyring::{Keyring, Store};
use cedarkeep::crypto::provider::Provider;
use cedarkeep::decide::above::{Above, By};

use super::{Elsewhere, everything};
use crate::api::harness::Service;
use crate::harness::client::may_morty_change;
use crate::harness::postgres;
use crate::harness::server::{Server, Site};

/// Puts one organization back.
fn put_back<'a>(from: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut said = vec![
        "restore",
        "--from",
        from,
        "--org",
        "acme",
        "--confirm",
        "acme",
    ];
    said.extend_from_slice(more);
    said
}

async fn decides(server: &Server, key: &str) {
    let (client, asked) = (server.client(key), may_morty_change("one", true));
    let answer = client.evaluate(&asked).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// It is served, and its log verifies.
async fn goes_on(site: &Site, key: &str) {
    let server = site.serve().await;
    decides(&server, key).await;
    server.stop();
    site.verify("acme");
}

async fn old_backups(site: &Site) {
    let key = site.create_todo_org("acme");
    let place = |name: &str| site.beside().join(name).to_str().unwrap().to_owned();
    let (before, prepared, kept) = (place("before"), place("prepared"), place("kept"));
    let recovery = place("recovery");
    let with_recovery = ["--recovery-key", recovery.as_str()];
    let take = |name: &str, more: &[&str]| {
        let mut said = vec!["backup", "--output", name, "--org", "acme"];
        said.extend_from_slice(more);
        site.done(&said);
    };
    take(&before, &[]);
    take(&kept, &with_recovery);

    // The tenant's key is another, and the one of the backup destroyed here.
    site.done(&["keys", "rotate", "tenant", "acme"]);
    let server = site.serve().await;
    decides(&server, &key).await;
    site.second_tenant_key("acme").await;
    server.stop();
    site.done(&put_back(&before, &[]));
    goes_on(site, &key).await;

    // The next root key is there, and opens what is backed up from here on.
    site.done(&["keys", "rotate", "root", "--prepare"]);
    take(&prepared, &[]);
    for from in [&before, &prepared] {
        site.done(&put_back(from, &[]));
    }
    goes_on(site, &key).await;

    // From here on nobody has the key of before.
    site.done(&["keys", "rotate", "root"]);
    goes_on(site, &key).await;
    let said = site.done(&["audit", "verify", "acme", "--json"]);
    for from in [&before, &kept] {
        let refused = site.refused(&put_back(from, &[]));
        assert!(refused.contains("--recovery-key"), "{refused}");
    }
    assert_eq!(site.done(&["audit", "verify", "acme", "--json"]), said);
    goes_on(site, &key).await;
    site.done(&put_back(&prepared, &[]));
    goes_on(site, &key).await;
    // And whoever kept a recovery key has what it takes.
    site.done(&put_back(&kept, &with_recovery));
    goes_on(site, &key).await;
    let fresh = place("fresh");
    take(&fresh, &[]);
    site.done(&put_back(&fresh, &[]));
    goes_on(site, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_backups_are_opened_by_what_there_still_is_on_sqlite() {
    old_backups(&Site::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_backups_are_opened_by_what_there_still_is_on_postgresql() {
    let database = postgres::start();
    old_backups(&Site::postgres(&database.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_at_whose_end_the_root_key_is_rotated_opens_with_the_new_one() {
    let service = Service::still(Database::Sqlite).await;
    let acme = service.tenant("acme").await;
    let (app, id) = (service.app(), acme.door.store().id());
    app.deployment().await.unwrap();
    acme.door.close().await;
    let data = app.config().data.dir.clone();
    let (pipe, backup) = (data.join("pipe"), data.join("backup"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let recovery = data.join("recovery");
    Keyring::open_or_create(&recovery, Store::Empty).unwrap();
    // Whoever reads the keyring waits for whoever writes it: the control database is read by then.
    let (rotating, read) = (std::sync::Arc::clone(app), pipe.clone());
    let rotated = tokio::spawn(async move {
        let mut written = tokio::fs::OpenOptions::new()
            .write(true)
            .open(&read)
            .await
            .unwrap();
        rotating
            .rotate_above(Above::Root, By::Operator)
            .await
            .unwrap();
        let keyring = rotating.config().keyring();
        let copy = read.with_extension("copy");
        std::fs::copy(&keyring, &copy).unwrap();
        std::fs::rename(&copy, &read).unwrap();
        let text = std::fs::read(&keyring).unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut written, &text)
            .await
            .unwrap();
        tokio::io::AsyncWriteExt::flush(&mut written).await.unwrap();
    });
    let provider = Provider::Keyring(recovery.clone());
    let taking = Taking {
        control: app.control(),
        deployment: &app.config().deployment.name,
        only: None,
        sealers: Sealers {
            root: Some(app.control().provider().unwrap()),
            recovery: Some(&provider),
        },
        keyring: Some(&pipe),
    };
    let taken = take(&taking, &backup, "2026-01-01T00:00:00Z", &mut |_| {}).await;
    rotated.await.unwrap();
    assert!(taken.unwrap().keyring);
    // With the keyring as it is now, and with the recovery key alone.
    let with_keyring = Elsewhere::with_keyring(&service, Database::Sqlite);
    let bare = Elsewhere::new(Database::Sqlite);
    let with_recovery = Restore {
        recovery: Some(recovery),
        ..everything(&backup)
    };
    for (there, wanted) in [
        (&with_keyring, &everything(&backup)),
        (&bare, &with_recovery),
    ] {
        super::put_back(&there.config, wanted).await.unwrap();
        let back = Service::of(there.config.clone()).await;
        back.app().door(id).await.unwrap();
    }
}
