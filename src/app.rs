//! The service put together: settings, the control database, and the tenants that are open.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::authn::lockout::Lockout;
use crate::backup::BackupError;
use crate::config::{self, Config};
use crate::crypto::CryptoError;
use crate::decide::door::Terms;
use crate::decide::error::Unwritten;
use crate::decide::mark::Mark;
use crate::decide::restore;
use crate::decide::spill::Spilling;
use crate::decide::turn::Turns;
use crate::decide::{Door, Refused, above, anchor, audit, rotate, upkeep};
use crate::directory::{Kind, Ref, closing};
use crate::ids::TenantId;
use crate::log::verify::Restored;
use crate::mail::{Mailer, Unsendable};
use crate::outside::{self, Outside};
use crate::policy::{Library, PolicyError};
use crate::proof::{self, NoSolver, Prover};
use crate::publish::{Publisher, Round};
use crate::storage::{Place, StorageError};
use crate::tenant::{Control, Created, Ledger, Providers, Slug, TenantError};

mod backup;
pub mod checking;
mod inviting;
mod open;
mod roots;

pub use backup::{Restore, Returned};
pub use inviting::Sent;

mod keys;

use open::Open;

/// Why the service does not start, or a tenant does not open.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The built-in policies: a defect of this build.
    #[error("the built-in policies are not valid: {0}")]
    Policies(#[from] PolicyError),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The control database, the keys, or a tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// A tenant's state.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// A change of the service's own.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The upkeep of a tenant's log.
    #[error(transparent)]
    Unkept(#[from] upkeep::Unkept),
    /// A backup, taken or put back.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A commitment to a tenant's log.
    #[error(transparent)]
    Unanchored(#[from] anchor::Unanchored),
    /// A key above those of tenants.
    #[error(transparent)]
    Unrotated(#[from] above::Unrotated),
    /// The process could not be hardened.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Calls to what tenants name.
    #[error(transparent)]
    Outside(#[from] outside::Unusable),
    /// Mail.
    #[error(transparent)]
    Mail(#[from] Unsendable),
    /// The settings.
    #[error(transparent)]
    Config(#[from] config::Misconfigured),
}

/// How often a start asks again for root keys that are out of reach.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Where the databases lie.
fn place(config: &Config) -> Result<Place, AppError> {
    let place = match &config.data.database {
        config::Database::Sqlite => Place::Folder(config.data.dir.clone()),
        config::Database::Postgres(url) => Place::server(
            url,
            config
                .database_password()?
                .as_ref()
                .map(config::Password::expose),
        )?,
    };
    Ok(place)
}

/// Has this node's ledger know what other nodes have noted. One that cannot be read keeps nobody from being served: a restore refuses it.
async fn settle(ledger: &Ledger) {
    if let Err(error) = ledger.settle(&[]).await {
        tracing::error!(%error, "the ledger of erasures is not whole here");
    }
}

/// How many tenants are listed at a time.
const TENANTS: i64 = 100;

/// The service.
pub struct App {
    config: Config,
    control: Arc<Control>,
    terms: Terms,
    outside: Outside,
    lockout: Lockout,
    mail: Option<Mailer>,
    prover: Result<Prover, NoSolver>,
    open: Open,
    written: Mutex<BTreeSet<TenantId>>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl App {
    /// Opens the control database, and makes it at the first start. Root keys that are out of reach are waited for,
    /// `keys.wait_s` at most.
    ///
    /// # Errors
    /// A database or root keys that cannot be used; the message says which and what to do.
    pub async fn open(config: Config) -> Result<Arc<Self>, AppError> {
        Self::begin(config, true).await
    }

    /// The same for one command: open tenants are not kept beside it.
    ///
    /// # Errors
    /// The same.
    pub async fn visit(config: Config) -> Result<Arc<Self>, AppError> {
        Self::begin(config, false).await
    }

    async fn begin(config: Config, upkeep: bool) -> Result<Arc<Self>, AppError> {
        crate::crypto::process::forbid_core_dumps()?;
        let library = Arc::new(Library::builtin()?);
        let place = place(&config)?;
        let providers = roots::providers(&config)?;
        let mail = Mailer::of(&config)?;
        let wait = if upkeep {
            config.keys.wait()
        } else {
            Duration::ZERO
        };
        let control = reach(&place, &providers, wait).await?;
        let terms = Terms {
            library,
            region: config.node.region.clone(),
            deployment: config.deployment.name.clone(),
            queue: config.log.queue,
            turns: Turns::new(
                std::thread::available_parallelism().map_or(1, usize::from),
                config.log.queue,
            ),
            commit_timeout: config.log.commit_timeout(),
            heartbeat: config.log.heartbeat(),
            marks: config.data.dir.join("marks"),
            ledger: Arc::new(Ledger::of(Arc::clone(&control), config.ledger())),
            spilling: Spilling {
                dir: config.data.dir.clone(),
                most: config.tenants.memory(),
            },
            upkeep,
        };
        if upkeep {
            settle(&terms.ledger).await;
            backup::tidy(&control).await;
        }
        let limits = proof::Limits {
            question: config.proof.timeout(),
            whole: config.proof.limit(),
            memory: config.proof.memory(),
        };
        let prover = Prover::find(config.proof.program().as_deref(), limits);
        let room = NonZeroUsize::new(config.tenants.open_max).unwrap_or(NonZeroUsize::MIN);
        Ok(Arc::new(Self {
            outside: Outside::open(&config.outside)?,
            lockout: Lockout::default(),
            config,
            control,
            terms,
            mail,
            prover,
            open: Open::with_room(room),
            written: Mutex::default(),
        }))
    }

    /// Validates the built-in policies strictly: at the start of a server.
    ///
    /// # Errors
    /// A defect of this build.
    pub fn check_policies(&self) -> Result<(), AppError> {
        Ok(self.terms.library.validate()?)
    }

    /// The settings.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Calls to what tenants have named.
    pub const fn outside(&self) -> &Outside {
        &self.outside
    }

    /// Credentials that were refused here of late.
    pub const fn lockout(&self) -> &Lockout {
        &self.lockout
    }

    /// What proofs about policies are made with, or why there is nothing.
    pub const fn prover(&self) -> Result<&Prover, &NoSolver> {
        self.prover.as_ref()
    }

    /// The directory of tenants.
    pub const fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// The built-in policies.
    pub const fn library(&self) -> &Arc<Library> {
        &self.terms.library
    }

    /// Who was erased and what was closed, where no restore reaches it.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.terms.ledger
    }

    /// Takes a tenant away that is closed, for good: its keys and its database.
    ///
    /// # Errors
    /// The ledger or the databases do not answer; it is done by being done again.
    pub async fn destroy(&self, id: TenantId) -> Result<(), AppError> {
        let now = Utc::now().timestamp_micros();
        let noted = self.ledger().closed(id, now).await?;
        Ok(self.control.remove(noted).await?)
    }

    /// The high-water mark of a tenant's log on this machine.
    #[must_use]
    pub fn mark(&self, id: TenantId) -> Mark {
        Mark::of(&self.terms.marks, id)
    }

    /// An open tenant; opens it where it is not.
    ///
    /// # Errors
    /// There is none of that id, or it cannot be opened.
    pub async fn door(&self, id: TenantId) -> Result<Arc<Door>, AppError> {
        let opened = self.open.door(id, || async {
            let store = self.control.open_store(id).await?;
            self.written().insert(id);
            Ok(Door::open(store, &self.terms).await?)
        });
        opened.await
    }

    /// Opens a tenant that was just made, beside those that are there.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn found(&self, created: Created) -> Result<Arc<Door>, AppError> {
        Ok(Door::open(created.store, &self.terms).await?)
    }

    /// Begins another life of a tenant's log, whose database was put back by other means than ours, and has those erased again whom the
    /// ledger knows and what was put back has the keys of.
    ///
    /// # Errors
    /// What was put back is not sound, or its database or the ledger does not answer.
    pub async fn restored(
        &self,
        id: TenantId,
        progress: impl FnMut(u64, u64),
    ) -> Result<Vec<Restored>, AppError> {
        let known = self.ledger().settle(&[]).await?;
        if known.closed.contains(&id) {
            let name = id.to_string();
            return Err(BackupError::Closed { name }.into());
        }
        let told = restore::restored(&self.control, id, &self.terms, None, progress)
            .await
            .map_err(BackupError::from)?;
        let people = restore::returned(&self.control, id, &known.people_of(id)).await?;
        if !people.is_empty() {
            restore::erase_again(&self.control, id, &self.terms, &people).await?;
        }
        Ok(told)
    }

    /// The deployment's own log; it is made where there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn deployment(&self) -> Result<Arc<Door>, AppError> {
        let id = self.control.make_deployment(Utc::now()).await?;
        self.door(id).await
    }

    /// Commits the deployment's log to the logs that are open here or were since the last time, and publishes it.
    ///
    /// # Errors
    /// The deployment's log does not answer. A log that is not committed to now is only logged, and its turn comes again.
    pub async fn publish(&self, publisher: &Publisher) -> Result<Round, AppError> {
        let deployment = self.deployment().await?;
        let mut ids = std::mem::take(&mut *self.written());
        ids.extend(self.doors().iter().map(|door| door.store().id()));
        for id in ids {
            match self.anchor(id, &deployment).await {
                Ok(_) | Err(AppError::Tenant(TenantError::NotFound { .. })) => {}
                Err(error) => {
                    tracing::warn!(tenant.id = %id, %error, "a log is committed to later");
                    self.written().insert(id);
                }
            }
        }
        Ok(publisher.round(&deployment).await?)
    }

    /// The same for every log that there is: how many were committed to, and which were not.
    ///
    /// # Errors
    /// The control database or the deployment's log does not answer.
    pub async fn publish_all(
        &self,
        publisher: &Publisher,
    ) -> Result<(u64, Vec<(Slug, AppError)>, Round), AppError> {
        let deployment = self.deployment().await?;
        let (mut after, mut anchored, mut failed) = (None, 0, Vec::new());
        loop {
            let tenants = self.control.list(after, TENANTS).await?;
            after = tenants.last().map(|last| last.id);
            for tenant in tenants {
                match self.anchor(tenant.id, &deployment).await {
                    Ok(made) => anchored += u64::from(made),
                    Err(error) => failed.push((tenant.slug, error)),
                }
            }
            if after.is_none() {
                return Ok((anchored, failed, publisher.round(&deployment).await?));
            }
        }
    }

    /// Commits the deployment's log to a log, open or not; whether there was anything new.
    async fn anchor(&self, id: TenantId, deployment: &Door) -> Result<bool, AppError> {
        if id == deployment.store().id() {
            return Ok(false);
        }
        let open = self
            .doors()
            .into_iter()
            .find(|door| door.store().id() == id);
        if let Some(door) = open {
            let made = anchor::anchor((door.store(), door.origin()), deployment).await?;
            return Ok(made.is_some());
        }
        let store = self.control.open_store(id).await?;
        let origin = audit::origin(&store, &self.terms.deployment).map_err(Unwritten::from)?;
        let made = anchor::anchor((&store, &origin), deployment).await;
        store.database().close().await;
        Ok(made?.is_some())
    }

    /// The tenants that were opened since they were last committed to.
    fn written(&self) -> MutexGuard<'_, BTreeSet<TenantId>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tenants that are open and at work.
    pub fn doors(&self) -> Vec<Arc<Door>> {
        let doors = self.open.all().into_iter().map(|(_, door)| door);
        doors.filter(|door| door.is_open()).collect()
    }

    /// Those whose sequencer has ended.
    fn ended(&self) -> Vec<TenantId> {
        let doors = self.open.all().into_iter();
        let ended = doors.filter(|(_, door)| !door.is_open());
        ended.map(|(id, _)| id).collect()
    }

    /// A round of upkeep for each tenant that is not open here and whose log has been silent for `silent`: it is opened for that alone.
    ///
    /// # Errors
    /// The control database does not answer. A tenant that does not open is only logged.
    pub async fn wake_silent(&self, now: DateTime<Utc>, silent: Duration) -> Result<(), AppError> {
        settle(self.ledger()).await;
        backup::tidy(&self.control).await;
        let mut after = None;
        loop {
            let tenants = self.control.list(after, TENANTS).await?;
            for tenant in &tenants {
                if !self.open.has(tenant.id)
                    && let Err(error) = self.wake(tenant.id, now, silent).await
                {
                    tracing::warn!(tenant.id = %tenant.id, %error, "a silent log could not be kept");
                }
            }
            match tenants.last() {
                Some(last) => after = Some(last.id),
                None => return Ok(()),
            }
        }
    }

    async fn wake(
        &self,
        id: TenantId,
        now: DateTime<Utc>,
        silent: Duration,
    ) -> Result<(), AppError> {
        let store = self.control.open_store(id).await?;
        let last = audit::head(&store).await?.last_time;
        let silent = i64::try_from(silent.as_micros()).unwrap_or(i64::MAX);
        if now.timestamp_micros().saturating_sub(last) < silent {
            store.database().close().await;
            return Ok(());
        }
        let door = Door::open(store, &self.terms).await?;
        let kept = upkeep::round(&door, now, true).await;
        let rotated = rotate::finish(&door, now).await;
        let due = closing::is_due(door.glance().snapshot(), now);
        door.close().await;
        self.written().insert(id);
        kept?;
        // What is to be closed is closed, whatever its rotations have come to.
        if due {
            return self.close_for_good(id).await;
        }
        Ok(rotated?)
    }

    /// Closes an organization whose time has come: from the last entry of its log on every node denies whatever it is asked, then its
    /// keys and all that it has are destroyed, and the deployment's log says so.
    ///
    /// # Errors
    /// A legal hold stands, its time has not come, it does not open, or a database does not answer.
    pub async fn close_for_good(&self, id: TenantId) -> Result<(), AppError> {
        let door = self.door(id).await?;
        door.operate(closing::close).await?;
        self.open.let_go(id);
        door.close().await;
        self.destroy_for_good(id).await
    }

    /// Destroys all that an organization has as it is, whether it opens or not, and has the deployment's log say so. Whether a legal hold
    /// stands is not asked: it is for one that has been closed, or whose database or key is lost.
    ///
    /// # Errors
    /// A database does not answer.
    pub async fn destroy_for_good(&self, id: TenantId) -> Result<(), AppError> {
        // Said before it is done and once it is done: its own log is destroyed with it.
        let organization = Ref::new(Kind::Organization, *id.bytes());
        let deployment = self.deployment().await?;
        deployment
            .operate(move |by, _| closing::destroying(by, organization))
            .await?;
        self.destroy(id).await?;
        deployment
            .operate(move |by, _| closing::destroyed(by, organization))
            .await?;
        Ok(())
    }

    /// Closes those that are open here and whose time has come.
    async fn close_due(&self, now: DateTime<Utc>) {
        for door in self.doors() {
            let id = door.store().id();
            if closing::is_due(door.glance().snapshot(), now)
                && let Err(error) = self.close_for_good(id).await
            {
                tracing::error!(tenant.id = %id, %error, "an organization is closed later");
            }
        }
    }

    /// Lets go of those that were closed: their keys leave the memory. One whose sequencer has ended, since its log goes on as another
    /// incarnation, is opened anew.
    ///
    /// # Errors
    /// The control database does not answer; whoever is left is looked at the next time.
    pub async fn let_go_of_closed(&self) -> Result<(), AppError> {
        self.close_due(Utc::now()).await;
        for id in self.ended() {
            if let Err(error) = self.door(id).await {
                tracing::error!(tenant.id = %id, %error, "a log that ended is not opened anew");
            }
        }
        for door in self.doors() {
            let id = door.store().id();
            if !self.control.holds(id).await? {
                self.open.let_go(id);
                door.close().await;
                tracing::info!(tenant.id = %id, "closed, and let go of");
            }
        }
        Ok(())
    }

    /// Lets go of every tenant once what it has taken is done.
    pub async fn close(&self) {
        for door in self.open.take_all() {
            door.close().await;
        }
    }
}

/// The control database, once its root keys can be reached. What only somebody can put right is an error at once.
async fn reach(
    place: &Place,
    providers: &Providers,
    wait: Duration,
) -> Result<Arc<Control>, TenantError> {
    let begun = Instant::now();
    loop {
        match Control::open(place.clone(), providers.clone()).await {
            Err(error) if error.may_pass() && begun.elapsed() + ASK_AGAIN <= wait => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the start waits for its root keys");
                tokio::time::sleep(ASK_AGAIN).await;
            }
            opened => return opened,
        }
    }
}
