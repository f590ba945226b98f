//! Backups: taken under load and put back, cut and altered, killed in the middle; and the ledger of who was erased.

mod beside;
mod drill;
mod killed;
mod ledger;
mod left_out;
mod one;
mod rotated;
mod sealed;
mod tables;

use std::path::{Path, PathBuf};

use cedarkeep::app::{App, AppError, Restore, Returned};
use cedarkeep::backup::Progress;
use cedarkeep::config::{Config, Database};
use tempfile::TempDir;

use crate::api::harness::{Service, Tenant};

/// A place for a deployment on a machine where nothing of it is: the folder, and settings.
struct Elsewhere {
    dir: TempDir,
    config: Config,
}

impl Elsewhere {
    fn new(database: Database) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data.dir = dir.path().join("data");
        config.data.database = database;
        Self { dir, config }
    }

    /// With the keyring of that service, as its operator keeps it apart.
    fn with_keyring(service: &Service, database: Database) -> Self {
        let elsewhere = Self::new(database);
        std::fs::create_dir(&elsewhere.config.data.dir).unwrap();
        std::fs::copy(service.app().config().keyring(), elsewhere.config.keyring()).unwrap();
        elsewhere
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Everything that there is, put back on a machine that has no ledger.
fn everything(from: &Path) -> Restore {
    Restore {
        from: from.to_owned(),
        confirm: Some("cedarkeep.local".into()),
        no_ledger: true,
        ..Restore::default()
    }
}

async fn put_back(config: &Config, wanted: &Restore) -> Result<Returned, AppError> {
    App::restore(config.clone(), wanted, &mut |_| {}).await
}

/// What somebody is told at the end: the error with what lies beneath.
fn said(refused: Result<Returned, AppError>) -> String {
    let error = refused.unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// A backup of all that a service has.
async fn taken(service: &Service, name: &str) -> PathBuf {
    let output = service.app().config().data.dir.join(name);
    let mut silent = |_| {};
    let taken = service.app().backup(&output, None, None, &mut silent);
    taken.await.unwrap();
    output
}

async fn taken_of(service: &Service, tenant: &Tenant, slug: &str, name: &str) -> PathBuf {
    let output = service.app().config().data.dir.join(name);
    let only = Some((tenant.door.store().id(), slug.to_owned()));
    let mut silent = |_| {};
    let taken = service.app().backup(&output, only, None, &mut silent);
    taken.await.unwrap();
    output
}

/// One organization, in the place of what it is.
fn one_of(slug: &str, from: &Path) -> Restore {
    Restore {
        from: from.to_owned(),
        org: Some(slug.into()),
        confirm: Some(slug.into()),
        ..Restore::default()
    }
}

/// Puts one organization back, and does something when that has begun: the ledger was read, and nothing is loaded yet.
async fn put_back_while(
    service: &Service,
    wanted: &Restore,
    meanwhile: impl AsyncFn() + Sync,
) -> Result<Returned, AppError> {
    let begun = |progress: &Progress| matches!(progress, Progress::Said(text) if text.starts_with("putting back"));
    let here = tokio::runtime::Handle::current();
    App::restore(service.app().config().clone(), wanted, &mut |progress| {
        if begun(&progress) {
            tokio::task::block_in_place(|| here.block_on(meanwhile()));
        }
    })
    .await
}

/// The random name of a backup.
fn backup_id(from: &Path) -> String {
    let header = std::fs::read(from.join("backup.json")).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header["id"].as_str().unwrap().to_owned()
}
