//! Backups of this deployment: who may open them, and where they go back to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{SecondsFormat, Utc};

use super::{App, AppError, place, roots};
use crate::backup::{
    self, Backup, BackupError, Checked, Progress, PutBack, Sealers, Taken, Taking,
};
use crate::config::Config;
use crate::crypto::CryptoError;
use crate::crypto::keyring::{self, Keyring};
use crate::crypto::provider::{Provider, RootCheck};
use crate::ids::TenantId;
use crate::storage::copy::Cell;
use crate::tenant::{Control, DEPLOYMENT, Providers, Stored, TenantError};

/// What is to be put back, and how.
#[derive(Debug, Default)]
pub struct Restore {
    /// The backup.
    pub from: PathBuf,
    /// One organization alone, by its short name; else all, where there is nothing.
    pub org: Option<String>,
    /// The organization's short name once more, or the deployment's name.
    pub confirm: Option<String>,
    /// Only see whether all of it is as it was written.
    pub check: bool,
    /// A key that is kept apart from the machine.
    pub recovery: Option<PathBuf>,
    /// Copies of the ledger of erasures.
    pub ledgers: Vec<PathBuf>,
    /// There is no ledger: nobody was erased since.
    pub no_ledger: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Returned {
    /// The backup's random name.
    pub backup: String,
    /// When it was begun.
    pub created_at: String,
    /// What it has of each tenant that was wanted: short name, id, entries of its log, rows, files.
    pub found: Vec<(String, TenantId, u64, u64, u64)>,
    /// What was put back; nothing where it was only checked.
    pub put_back: Vec<PutBack>,
}

impl App {
    /// Takes a backup of everything, or of one organization.
    ///
    /// # Errors
    /// A database, a key, or the disk.
    pub async fn backup(
        &self,
        output: &Path,
        org: Option<(TenantId, String)>,
        recovery: Option<&Path>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Taken, AppError> {
        // The ledger goes along as it is now.
        self.ledger().settle(&[]).await?;
        let recovery = match recovery {
            Some(path) => {
                Keyring::open_or_create(path, keyring::Store::Empty)?;
                Some(Provider::Keyring(path.to_owned()))
            }
            None => None,
        };
        // A token or a KMS gives its root key to nobody.
        let wraps = self.control.standing().await?.provider;
        let ring = match self.control.providers().named(&wraps)?.provider() {
            Provider::Keyring(path) => recovery.is_some().then_some(path.as_path()),
            _ => None,
        };
        let taking = Taking {
            control: &self.control,
            deployment: &self.config.deployment.name,
            only: org,
            sealers: Sealers {
                root: Some(self.control.provider()?),
                recovery: recovery.as_ref(),
            },
            keyring: ring,
        };
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        Ok(backup::take(&taking, output, &now, progress).await?)
    }

    /// Checks a backup and puts it back: everything where there is nothing yet, or one organization in the place of the one that is there.
    ///
    /// # Errors
    /// The backup is not what was written, does not fit what is here, or a database or the disk. Nothing was changed unless a tenant says
    /// that it is being put back; then it is not served before this has been done again.
    pub async fn restore(
        config: Config,
        wanted: &Restore,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Returned, AppError> {
        let place = place(&config)?;
        let recovery = match &wanted.recovery {
            Some(path) => {
                Keyring::open(path)?;
                Some(Provider::Keyring(path.clone()))
            }
            None => None,
        };
        let providers = roots::providers(&config)?;
        let root = providers.named("")?.provider();
        let root = match root.newest().await {
            Ok(_) => Some(root),
            Err(CryptoError::KeyringMissing(_)) if recovery.is_some() => None,
            Err(error) => return Err(error.into()),
        };
        let sealers = Sealers {
            root,
            recovery: recovery.as_ref(),
        };
        let backup = Backup::open(&wanted.from, sealers).await?;
        let only = meant(&backup, wanted, &config)?;
        let checked = backup.check(
            backup::Wanted {
                only,
                dialect: place.dialect(),
            },
            progress,
        )?;
        let mut restored = Returned {
            backup: backup.id().to_owned(),
            created_at: backup.created_at().to_owned(),
            found: Vec::new(),
            put_back: Vec::new(),
        };
        for one in &checked.found {
            let found = (one.slug.clone(), one.id, one.size, one.rows, one.files);
            restored.found.push(found);
        }
        if wanted.check {
            return Ok(restored);
        }
        ledger_is_known(&config, wanted)?;
        match only {
            Some(_) => {}
            None => {
                match (root, recovery) {
                    (Some(_), _) => {}
                    (None, Some(recovery)) => {
                        let path = keyring_file(&providers, &checked.deployment)?;
                        keyring_of(&path, wanted, &recovery).await?;
                    }
                    (None, None) => {
                        return Err(CryptoError::KeyringMissing(config.keyring()).into());
                    }
                }
                opens(&providers, &checked.deployment).await?;
                backup::load_control(&place, &backup, &checked).await?;
            }
        }
        let app = Self::visit(config).await?;
        restored.put_back = app.put_back(&backup, &checked, wanted, progress).await?;
        app.close().await;
        Ok(restored)
    }

    async fn put_back(
        self: &Arc<Self>,
        backup: &Backup,
        checked: &Checked,
        wanted: &Restore,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Vec<PutBack>, AppError> {
        let known = self.ledger().settle(&wanted.ledgers).await?;
        let begun = self.control.restoring().await?;
        if wanted.org.is_some() {
            same_deployment(&self.control, &checked.deployment).await?;
        }
        let mut done = Vec::new();
        for found in &checked.found {
            // Of a whole backup those that are done already stay as they are.
            if wanted.org.is_none() && begun.iter().all(|one| one.tenant != found.id) {
                continue;
            }
            if wanted.org.is_some() && found.slug != DEPLOYMENT {
                name_is_free(&self.control, found.id, &found.slug).await?;
            }
            progress(Progress::Said(format!("putting back {}", found.slug)));
            let put = (self.control.as_ref(), &self.terms);
            let put = backup::put_back(put, (backup, checked, found), &known, progress).await?;
            done.push(put);
        }
        Ok(done)
    }
}

/// Has nothing lie beside that a restore has left which was killed: it keeps nobody from being served.
pub(super) async fn tidy(control: &Control) {
    if let Err(error) = control.drop_abandoned().await {
        tracing::error!(%error, "what a restore has left beside is taken away later");
    }
}

/// Which tenant is meant, and that it is meant.
fn meant(
    backup: &Backup,
    wanted: &Restore,
    config: &Config,
) -> Result<Option<TenantId>, BackupError> {
    let name = &config.deployment.name;
    if backup.deployment() != name {
        return Err(BackupError::Unfit(format!(
            "the backup is of the deployment `{}`, and this one is `{name}` (`deployment.name`)",
            backup.deployment()
        )));
    }
    let confirmed = wanted.confirm.as_deref();
    let Some(slug) = &wanted.org else {
        if !backup.is_whole() && !wanted.check {
            return Err(BackupError::Unfit(
                "the backup is of one organization: name it with --org".into(),
            ));
        }
        if !wanted.check && confirmed != Some(name) {
            return Err(BackupError::Unfit(format!(
                "this puts a whole deployment back: repeat it with --confirm {name}"
            )));
        }
        return Ok(None);
    };
    let mut tenants = backup.tenants();
    let (id, _) = tenants
        .find(|(_, one)| one == slug)
        .ok_or_else(|| BackupError::Unfit(format!("the backup has no organization `{slug}`")))?;
    if !wanted.check && confirmed != Some(slug) {
        return Err(BackupError::Unfit(format!(
            "this puts what `{slug}` was in the place of what it is, and ends the present incarnation of its log: repeat it \
             with --confirm {slug}"
        )));
    }
    Ok(Some(id))
}

/// What was erased since must be known, or known to be nothing.
fn ledger_is_known(config: &Config, wanted: &Restore) -> Result<(), BackupError> {
    let path = config.ledger();
    if wanted.no_ledger || !wanted.ledgers.is_empty() || path.exists() || wanted.org.is_some() {
        return Ok(());
    }
    Err(BackupError::Unfit(format!(
        "there is no ledger of erasures at `{}`, so that whoever was erased after this backup would be back: give the copy \
         that you keep with --ledger, or say with --no-ledger that there is none",
        path.display()
    )))
}

/// Where the keyring lies that the deployment in a backup is wrapped by.
fn keyring_file(providers: &Providers, deployment: &Stored) -> Result<PathBuf, AppError> {
    let at = deployment.table.place("wrapped_by");
    let Some(Cell::Text(name)) = at.and_then(|at| deployment.row.get(at)) else {
        return Err(TenantError::Corrupt { what: DEPLOYMENT }.into());
    };
    match providers.named(name)?.provider() {
        Provider::Keyring(path) => Ok(path.clone()),
        _ => Err(BackupError::Unfit(format!(
            "the recovery key alone does not restore this backup: what it holds is wrapped by `{name}`, which is no keyring; \
             set `keys.root` to it"
        ))
        .into()),
    }
}

/// The keyring out of the backup, in its place.
async fn keyring_of(path: &Path, wanted: &Restore, recovery: &Provider) -> Result<(), AppError> {
    let text = Backup::keyring(&wanted.from, recovery).await?;
    let text = text.ok_or_else(|| CryptoError::KeyringMissing(path.to_owned()))?;
    Keyring::put(path, &text)?;
    Ok(())
}

/// Whether the root key here is the one that the deployment in a backup lies under.
async fn opens(providers: &Providers, deployment: &Stored) -> Result<(), AppError> {
    let cell = |name: &str| {
        let at = deployment.table.place(name);
        at.and_then(|at| deployment.row.get(at))
    };
    let (Some(Cell::Number(version)), Some(Cell::Bytes(check)), Some(Cell::Text(wrapped_by))) =
        (cell("root_version"), cell("root_check"), cell("wrapped_by"))
    else {
        return Err(TenantError::Corrupt { what: DEPLOYMENT }.into());
    };
    let version = u32::try_from(*version).map_err(|_| TenantError::Corrupt { what: DEPLOYMENT })?;
    let root = providers.named(wrapped_by)?.provider();
    let verified = root.verify(version, &RootCheck::from_slice(check)).await;
    Ok(verified.map_err(BackupError::WrongKeys)?)
}

async fn same_deployment(control: &Control, told: &Stored) -> Result<(), AppError> {
    let mut reading = control.database().reading().await?;
    let table = reading.table(DEPLOYMENT).await?;
    let row = reading.row(&table, Cell::Number(1)).await?;
    reading.close().await?;
    let is_ours = row.is_some_and(|row| backup::identity(&Stored { table, row }, told));
    if is_ours {
        return Ok(());
    }
    Err(BackupError::Unfit("the backup is another deployment's".into()).into())
}

/// No other organization has the name.
async fn name_is_free(control: &Control, id: TenantId, slug: &str) -> Result<(), AppError> {
    match control.find(&slug.parse()?).await {
        Ok(Some(other)) if other != id => Err(TenantError::Taken { slug: slug.into() }.into()),
        Ok(_) | Err(TenantError::Restoring { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
