//! A backup that was cut, altered, put together of others, or that nobody here can open is refused before anything is changed.

use std::path::{Path, PathBuf};

use cedarkeep::app::Restore;
use cedarkeep::config::Database;
use cedarkeep::crypto::cobblestone::{HEADER, SEALED_CHUNK};
use cedarkeep::crypto::keyring::{Keyring, Store};

use super::{Elsewhere, everything, put_back, said, taken};
use crate::api::harness::Service;
use crate::api::keeping::asked;
use crate::harness::chance::Chance;

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn files(backup: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(backup).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// Asserts that it is refused, with a word, and that nothing was made where it was to go.
async fn is_refused(there: &Elsewhere, backup: &Path, what: &str) {
    let check = Restore {
        from: backup.to_owned(),
        check: true,
        ..Restore::default()
    };
    assert!(
        put_back(&there.config, &check).await.is_err(),
        "{what} is not seen"
    );
    let refused = said(put_back(&there.config, &everything(backup)).await);
    assert!(!refused.is_empty(), "{what}");
    assert!(
        !there.config.data.dir.join("control.db").exists(),
        "{what}: {refused}"
    );
    assert!(
        !there.config.data.dir.join("tenants").exists(),
        "{what}: {refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_in_a_backup_is_found_before_anything_is_changed_here() {
    let service = Service::still(Database::Sqlite).await;
    let acme = service.tenant("acme").await;
    let other = service.tenant("other").await;
    asked(&service, &acme, acme.member, 400).await;
    let earlier = taken(&service, "earlier").await;
    let backup = taken(&service, "backup").await;
    let there = Elsewhere::with_keyring(&service, Database::Sqlite);
    let broken = there.path().join("broken");
    let mut chance = Chance::of_this_run("a backup altered");

    for file in files(&backup) {
        let name = file.file_name().unwrap().to_owned();
        let whole = std::fs::read(&file).unwrap();
        let at = broken.join(&name);
        copy(&backup, &broken);
        // Every byte of what stands in the clear and of a sealed file's beginning and end, and some in between.
        let clear = name == "backup.json";
        let mut places: Vec<usize> = (0..whole.len())
            .filter(|place| clear || *place < HEADER + 4 || *place + 20 > whole.len())
            .collect();
        for _ in 0..40 {
            places.push(usize::try_from(chance.number()).unwrap() % whole.len());
        }
        for place in places {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (chance.number() % 8);
            std::fs::write(&at, &bytes).unwrap();
            let check = Restore {
                from: broken.clone(),
                check: true,
                ..Restore::default()
            };
            let found = put_back(&there.config, &check).await;
            assert!(found.is_err(), "byte {place} of {name:?}");
        }
        std::fs::write(&at, &whole).unwrap();
        // Cut anywhere, at the borders of chunks as well; or longer.
        let mut ends = vec![0, 1, HEADER, whole.len() / 2, whole.len() - 1];
        ends.extend(
            (1..)
                .map(|chunk| HEADER + chunk * SEALED_CHUNK)
                .take_while(|end| *end < whole.len()),
        );
        for end in ends.into_iter().filter(|end| *end < whole.len()) {
            std::fs::write(&at, &whole[..end]).unwrap();
            is_refused(&there, &broken, &format!("{name:?} cut at {end}")).await;
        }
        let mut longer = whole.clone();
        longer.extend_from_slice(&whole[whole.len() - 1..]);
        std::fs::write(&at, &longer).unwrap();
        is_refused(&there, &broken, &format!("{name:?} longer")).await;
        std::fs::remove_file(&at).unwrap();
        is_refused(&there, &broken, &format!("{name:?} missing")).await;
        // The file of the same name of another backup of the same deployment.
        std::fs::copy(earlier.join(&name), &at).unwrap();
        is_refused(&there, &broken, &format!("{name:?} of another backup")).await;
    }

    // Chunks in another order, and one organization's file for another's.
    let (one, two) = (
        acme.door.store().id().to_string(),
        other.door.store().id().to_string(),
    );
    let whole = std::fs::read(backup.join(&one)).unwrap();
    assert!(
        whole.len() > HEADER + 2 * SEALED_CHUNK,
        "it has {} bytes",
        whole.len()
    );
    copy(&backup, &broken);
    let mut swapped = whole[..HEADER].to_vec();
    swapped.extend_from_slice(&whole[HEADER + SEALED_CHUNK..HEADER + 2 * SEALED_CHUNK]);
    swapped.extend_from_slice(&whole[HEADER..HEADER + SEALED_CHUNK]);
    swapped.extend_from_slice(&whole[HEADER + 2 * SEALED_CHUNK..]);
    assert_eq!(swapped.len(), whole.len());
    std::fs::write(broken.join(&one), swapped).unwrap();
    is_refused(&there, &broken, "chunks in another order").await;
    copy(&backup, &broken);
    std::fs::copy(backup.join(&two), broken.join(&one)).unwrap();
    std::fs::copy(backup.join(&one), broken.join(&two)).unwrap();
    is_refused(&there, &broken, "two organizations exchanged").await;
    copy(&backup, &broken);
    std::fs::write(broken.join("more"), b"").unwrap();
    is_refused(&there, &broken, "a file that is not of it").await;

    // As it was written it goes where it is to go.
    put_back(&there.config, &everything(&backup)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_keys_a_backup_opens_nothing() {
    let service = Service::still(Database::Sqlite).await;
    let mut acme = service.tenant("acme").await;
    asked(&service, &acme, acme.member, 20).await;
    acme.door.close().await;
    let backup = taken(&service, "backup").await;

    // No keyring, and another deployment's.
    let there = Elsewhere::new(Database::Sqlite);
    let refused = said(put_back(&there.config, &everything(&backup)).await);
    assert!(refused.contains("no keyring at"), "{refused}");
    Keyring::open_or_create(&there.config.keyring(), Store::Empty).unwrap();
    let refused = said(put_back(&there.config, &everything(&backup)).await);
    assert!(
        refused.contains("nothing here opens this backup"),
        "{refused}"
    );
    is_refused(&there, &backup, "another deployment's keyring").await;

    // With a recovery key the keyring lies in the backup, and whoever has neither has nothing.
    let recovery = there.path().join("recovery");
    let whole = service.app().config().data.dir.join("whole");
    let app = service.app();
    app.backup(&whole, None, Some(&recovery), &mut |_| {})
        .await
        .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&recovery).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let bare = Elsewhere::new(Database::Sqlite);
    let refused = said(put_back(&bare.config, &everything(&whole)).await);
    assert!(refused.contains("no keyring at"), "{refused}");
    let with_key = Restore {
        recovery: Some(recovery.clone()),
        ..everything(&whole)
    };
    // A recovery key opens a backup that was made without it no better than no key.
    let refused = said(
        put_back(
            &bare.config,
            &Restore {
                from: backup.clone(),
                ..everything(&backup)
            },
        )
        .await,
    );
    assert!(refused.contains("no keyring at"), "{refused}");
    // Where another keyring lies it is not overwritten, and opens nothing.
    let refused = said(put_back(&there.config, &with_key).await);
    assert!(
        refused.contains("nothing here opens") || refused.contains("wrong key"),
        "{refused}"
    );
    put_back(&bare.config, &with_key).await.unwrap();
    assert_eq!(
        std::fs::read(bare.config.keyring()).unwrap(),
        std::fs::read(app.config().keyring()).unwrap()
    );
    let back = Service::of(bare.config.clone()).await;
    acme.door = back.app().door(acme.door.store().id()).await.unwrap();
    asked(&back, &acme, acme.member, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_nowhere_where_it_does_not_belong() {
    let service = Service::still(Database::Sqlite).await;
    let acme = service.tenant("acme").await;
    let backup = taken(&service, "backup").await;
    let one = super::taken_of(&service, &acme, "acme", "one").await;
    let config = service.app().config();
    // Not over a deployment, not unconfirmed, not of another name, not what is not in it.
    let refused = said(put_back(config, &everything(&backup)).await);
    assert!(refused.contains("holds a deployment"), "{refused}");
    for (wanted, word) in [
        (
            Restore {
                confirm: None,
                ..everything(&backup)
            },
            "--confirm cedarkeep.local",
        ),
        (
            Restore {
                confirm: Some("acme".into()),
                ..everything(&backup)
            },
            "--confirm cedarkeep.local",
        ),
        (
            Restore {
                confirm: Some("acne".into()),
                ..super::one_of("acme", &backup)
            },
            "--confirm acme",
        ),
        (super::one_of("nobody", &backup), "no organization `nobody`"),
        (everything(&one), "name it with --org"),
        (
            everything(&service.app().config().data.dir.join("tenants")),
            "is no backup",
        ),
    ] {
        let refused = said(put_back(config, &wanted).await);
        assert!(refused.contains(word), "{refused}");
    }
    let mut renamed = config.clone();
    renamed.deployment.name = "other.example".into();
    let refused = said(put_back(&renamed, &everything(&backup)).await);
    assert!(
        refused.contains("is of the deployment `cedarkeep.local`"),
        "{refused}"
    );
    // A backup of another deployment under the same root key.
    let stranger = Elsewhere::with_keyring(&service, Database::Sqlite);
    let other = Service::of(stranger.config.clone()).await;
    other.tenant("acme").await;
    let refused = said(put_back(&stranger.config, &super::one_of("acme", &backup)).await);
    assert!(refused.contains("another deployment's"), "{refused}");
    // Nothing of all that has changed anything.
    let door = service.app().door(acme.door.store().id()).await.unwrap();
    assert_eq!(door.store().lives().len(), 1);
    // And a backup takes nobody's place.
    let app = service.app();
    let there = app
        .backup(&backup, None, None, &mut |_| {})
        .await
        .unwrap_err();
    assert!(there.to_string().contains("is there already"), "{there}");
}
