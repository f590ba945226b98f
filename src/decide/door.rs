//! An open tenant: its state in memory, and the queue to the one sequencer that decides and records.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::aside::Uses;
use super::audit;
use super::authorized::{Action, Authorized, Operator};
use super::error::{Refused, Unwritten};
use super::flood::Flood;
use super::mark::Mark;
pub use super::permitted::{Listed, Permitted};
use super::question::{Answer, Asker, Question, Recorded, Until};
use super::recent::Recent;
pub use super::sequencer::Tip;
use super::sequencer::{Sequencer, Setting};
use super::shadow::Shadows;
use super::spill::Spilling;
use super::turn::{Turn, Turns};
use super::upkeep;
pub use super::work::{Changed, Deposit, IdempotencyKey};
use super::work::{Ground, Note, Permit, Plan, Proposal, Questions, Refresh, Reply, Work};
use super::world::World;
use crate::directory::{Change, DirectoryError, Kind, Ref, Snapshot};
use crate::log::Event;
use crate::log::checkpoint::{Origin, VerifierKey};
use crate::log::entry::{Fact, Outcome};
use crate::log::merkle::Hash;
use crate::policy::Library;
use crate::tenant::{Ledger, Store};
use crate::vault::Vault;

/// So many explanations are made at once, of one organization; and so many replays.
const EXPLAINING: usize = 2;
const REPLAYING: usize = 2;

/// So many exports of the log are under way at once, of one organization on one node.
const EXPORTING: usize = 4;

/// How long a change may take: it may bring thousands of rows.
pub(super) const CHANGE: Duration = Duration::from_secs(30);

/// What a door needs beside its tenant's store.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The built-in policies.
    pub library: Arc<Library>,
    /// The region of this node.
    pub region: String,
    /// The first part of the log's origin.
    pub deployment: String,
    /// How many may wait.
    pub queue: usize,
    /// Whose turn it is.
    pub turns: Arc<Turns>,
    /// How long an answer may take.
    pub commit_timeout: Duration,
    /// After how long without an entry a log gives a sign of life.
    pub heartbeat: Duration,
    /// The folder of the logs' high-water marks.
    pub marks: std::path::PathBuf,
    /// Who was erased, where no restore reaches it.
    pub ledger: Arc<Ledger>,
    /// How much of a directory is held in memory, and where the rest goes.
    pub spilling: Spilling,
    /// Whether open tenants are kept: indexed, pruned, heard of; a process that ends after one command leaves that to others.
    pub upkeep: bool,
}

/// An open tenant.
pub struct Door {
    store: Arc<Store>,
    setting: Arc<Setting>,
    seen: Arc<ArcSwap<World>>,
    healthy: Arc<AtomicBool>,
    queue: Mutex<Option<mpsc::Sender<Work>>>,
    sequencer: Mutex<Option<JoinHandle<()>>>,
    origin: Origin,
    patience: Duration,
    heartbeat: Duration,
    tip: watch::Receiver<Tip>,
    mark: Mark,
    marked: AtomicU64,
    /// The version that was announced last and is ready here.
    pub(super) announced: AtomicU64,
    pub(super) flood: Mutex<Flood>,
    turn: Arc<Turn>,
    pub(super) uses: Uses,
    pub(super) vault: Vault,
    /// Explanations hold up whatever else is asked: there are never more than a few.
    pub(super) explaining: Semaphore,
    /// Versions are compiled and tested one after the other, and found out about one at a time.
    pub(super) compiling: Arc<Semaphore>,
    checks: Semaphore,
    /// Replays take all processors that nobody else wants.
    pub(super) replaying: Arc<Semaphore>,
    /// An export lasts for as long as its reader is slow.
    pub(super) exporting: Arc<Semaphore>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// What a change does beside what becomes of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nothing: it is recorded, and no row of the directory changes.
    Nothing,
    /// It changes rows of the directory.
    Rows,
}

/// A change that takes an action which was allowed, as the sequencer computes it: once it is.
pub(super) fn planned<A: Action>(
    plan: impl Fn(&Authorized<A>, &Snapshot) -> Result<Change, DirectoryError> + Send + Sync + 'static,
) -> Plan {
    Box::new(move |ground: &Ground<'_>| {
        let as_of = ground.snapshot.as_of();
        plan(
            &Authorized::mint((ground.user, ground.by), ground.resource, as_of, ground.now),
            ground.snapshot,
        )
    })
}

impl Door {
    /// Opens a tenant: reads its state and starts its sequencer.
    ///
    /// # Errors
    /// The database does not answer, or what it holds cannot be.
    pub async fn open(store: Store, terms: &Terms) -> Result<Arc<Self>, Unwritten> {
        let store = Arc::new(store);
        let vault = Vault::of(Arc::clone(&store));
        let origin = audit::origin(&store, &terms.deployment)?;
        let healthy = Arc::new(AtomicBool::new(true));
        let setting = Setting {
            store: Arc::clone(&store),
            library: Arc::clone(&terms.library),
            region: terms.region.clone(),
            origin: origin.clone(),
            recent: Recent::default(),
            ledger: Arc::clone(&terms.ledger),
            shadows: Shadows::default(),
            spilling: terms.spilling.clone(),
        };
        let setting = Arc::new(setting);
        let mark = Mark::of(&terms.marks, store.id());
        // A log that was put back on purpose is expected to end before its mark.
        let seen_to = match store.begins() {
            true => 0,
            false => {
                mark.check(&store, &audit::verifiers(&store, &origin).await?)
                    .await?
            }
        };
        let (sequencer, seen) =
            Sequencer::open(Arc::clone(&setting), Arc::clone(&healthy), seen_to).await?;
        let tip = sequencer.tip();
        let turn = terms.turns.of(store.id());
        let (queue, waiting) = mpsc::channel(terms.queue);
        let sequencer = Mutex::new(Some(tokio::spawn(sequencer.run(waiting))));
        let queue = Mutex::new(Some(queue));
        let door = Arc::new(Self {
            store,
            setting,
            seen,
            healthy,
            queue,
            sequencer,
            origin,
            patience: terms.commit_timeout,
            heartbeat: terms.heartbeat,
            tip,
            mark,
            marked: AtomicU64::new(0),
            flood: Mutex::default(),
            turn,
            uses: Uses::default(),
            vault,
            announced: AtomicU64::new(0),
            explaining: Semaphore::new(EXPLAINING),
            compiling: Arc::new(Semaphore::new(1)),
            checks: Semaphore::new(1),
            replaying: Arc::new(Semaphore::new(REPLAYING)),
            exporting: Arc::new(Semaphore::new(EXPORTING)),
        });
        if terms.upkeep {
            upkeep::begin(&door);
        }
        Ok(door)
    }

    /// What the newest entries of this node say.
    pub(super) fn recent(&self) -> &Recent {
        &self.setting.recent
    }

    /// The built-in policies.
    pub(super) fn library(&self) -> &Arc<Library> {
        &self.setting.library
    }

    /// How much of the directory is held in memory.
    pub(super) fn spilling(&self) -> &Spilling {
        &self.setting.spilling
    }

    /// The draft that is evaluated beside them, if there is one.
    pub(super) fn shadows(&self) -> &Shadows {
        &self.setting.shadows
    }

    /// Who was erased, where no restore reaches it.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.setting.ledger
    }

    /// One version of an organization is found out about at a time.
    pub const fn checks(&self) -> &Semaphore {
        &self.checks
    }

    /// The end of the log as this node has seen it last.
    pub fn tip(&self) -> Tip {
        self.tip.borrow().clone()
    }

    /// Tells whenever the log has grown.
    pub fn watch(&self) -> watch::Receiver<Tip> {
        self.tip.clone()
    }

    /// After how long without an entry the log gives a sign of life.
    pub(super) const fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Takes nothing more: whoever asks next opens the tenant anew, if it can be opened.
    pub(super) fn refuse_all(&self) {
        self.healthy.store(false, Ordering::Relaxed);
        drop(
            self.queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    /// Where the high-water mark lies.
    pub const fn mark_file(&self) -> &Mark {
        &self.mark
    }

    /// The size of which the mark is.
    pub(super) fn marked(&self) -> u64 {
        self.marked.load(Ordering::Relaxed)
    }

    pub(super) fn set_marked(&self, size: u64) {
        self.marked.store(size, Ordering::Relaxed);
    }

    /// Whether nobody has asked for so long.
    pub(super) fn is_quiet(&self, since: Duration) -> bool {
        self.turn.is_quiet(since)
    }

    /// How long an answer may take.
    pub(super) const fn patience(&self) -> Duration {
        self.patience
    }

    /// The tenant's store.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The log's origin.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The key that the log's checkpoints are verified with.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey::of(
            self.origin.clone(),
            self.store.keys().signing().seed().key(),
        )
    }

    /// Takes nothing more, and waits until everything taken is done.
    pub async fn close(&self) {
        if self.is_open()
            && let Err(error) = self.tell_refused().await
        {
            tracing::warn!(tenant.id = %self.store.id(), %error, "how many were refused is not said");
        }
        let sequencer = self
            .sequencer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(
            self.queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        if let Some(sequencer) = sequencer
            && let Err(error) = sequencer.await
        {
            tracing::error!(tenant.id = %self.store.id(), %error, "a sequencer ended by itself");
        }
        if let Err(error) = self.mark().await {
            tracing::warn!(tenant.id = %self.store.id(), %error, "the mark is not of the log's end");
        }
        self.store.database().close().await;
    }

    /// Whether its sequencer is at work; one that ended by itself leaves a door that answers nothing.
    pub fn is_open(&self) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().is_some_and(|queue| !queue.is_closed())
    }

    /// Whether the last commit succeeded.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// The directory as last seen: for finding a caller's key, never for an answer.
    pub fn glance(&self) -> Arc<World> {
        self.seen.load_full()
    }

    /// Answers a back end's questions, in order, each one recorded; the whole call is refused where the key's scope
    /// does not open it.
    ///
    /// # Errors
    /// `Scope`, or `Unavailable` when they cannot be recorded in time.
    pub async fn answers(
        &self,
        asker: Asker,
        items: Vec<Question>,
        until: Until,
    ) -> Result<Vec<Result<Answer, Refused>>, Refused> {
        self.ask(self.patience, |reply, deadline| {
            Work::Questions(Questions {
                asker,
                items,
                until,
                reply,
                deadline,
            })
        })
        .await
    }

    /// May this be read? The state is the one that the decision saw.
    ///
    /// # Errors
    /// `Denied`, `Unavailable`, or what makes the question none.
    pub async fn permit<A: Action>(
        &self,
        asker: Asker,
        resource: Ref,
        context: Map<String, Value>,
    ) -> Result<Permitted<A>, Refused> {
        self.permit_and(asker, (resource, context), None).await
    }

    /// The same; an allowed one is recorded as this event too.
    ///
    /// # Errors
    /// The same.
    pub async fn permit_and<A: Action>(
        &self,
        asker: Asker,
        (resource, context): (Ref, Map<String, Value>),
        then: Option<(Event, Value)>,
    ) -> Result<Permitted<A>, Refused> {
        let granted = self
            .ask(self.patience, |reply, deadline| {
                Work::Permit(Permit {
                    asker,
                    action: A::NAME,
                    resource,
                    context,
                    then,
                    reply,
                    deadline,
                })
            })
            .await?;
        Ok(granted.into())
    }

    /// Makes a change where Cedar allows it: the decision, the event and the rows are one transaction.
    ///
    /// # Errors
    /// `Denied`, `Directory` where the change cannot be made, `KeyReused`, `LockOut`, `Unavailable`.
    pub async fn change<A: Action>(
        &self,
        asker: Asker,
        resource: Ref,
        context: Map<String, Value>,
        idempotency: Option<IdempotencyKey>,
        plan: impl Fn(&Authorized<A>, &Snapshot) -> Result<Change, DirectoryError>
        + Send
        + Sync
        + 'static,
    ) -> Result<Changed, Refused> {
        self.change_with(asker, (resource, context), idempotency, None, plan)
            .await
    }

    /// The same, with what becomes of the resource's content.
    ///
    /// # Errors
    /// The same; `Precondition` where the content is not what it must be.
    pub async fn change_with<A: Action>(
        &self,
        asker: Asker,
        asked: (Ref, Map<String, Value>),
        idempotency: Option<IdempotencyKey>,
        content: Option<(Deposit, Beside)>,
        plan: impl Fn(&Authorized<A>, &Snapshot) -> Result<Change, DirectoryError>
        + Send
        + Sync
        + 'static,
    ) -> Result<Changed, Refused> {
        let content = (idempotency, content);
        self.propose(asker, Some(A::NAME), asked, content, planned(plan))
            .await
    }

    /// Makes a change as the operator at the machine: no policy decides, and it is recorded as theirs.
    ///
    /// # Errors
    /// `Directory` where the change cannot be made, `LockOut`, `Unavailable`.
    pub async fn operate(
        &self,
        plan: impl Fn(&Operator, &Snapshot) -> Result<Change, DirectoryError> + Send + Sync + 'static,
    ) -> Result<Changed, Refused> {
        self.rule(Asker::operator(), plan).await
    }

    /// Makes a change as the service itself: what the organization has asked for before, and what follows from it.
    ///
    /// # Errors
    /// `Directory` where the change cannot be made, `Unavailable`.
    pub(super) async fn keep(
        &self,
        plan: impl Fn(&Operator, &Snapshot) -> Result<Change, DirectoryError> + Send + Sync + 'static,
    ) -> Result<Changed, Refused> {
        self.rule(Asker::system(), plan).await
    }

    async fn rule(
        &self,
        asker: Asker,
        plan: impl Fn(&Operator, &Snapshot) -> Result<Change, DirectoryError> + Send + Sync + 'static,
    ) -> Result<Changed, Refused> {
        let plan: Plan =
            Box::new(move |ground: &Ground<'_>| plan(&Operator::mint(ground.now), ground.snapshot));
        let organization = Ref::new(Kind::Organization, *self.store.id().bytes());
        self.propose(asker, None, (organization, Map::new()), (None, None), plan)
            .await
    }

    /// Records something that is neither a decision nor a change.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note(
        &self,
        asker: Asker,
        event: Event,
        outcome: Outcome,
        details: Value,
    ) -> Result<Recorded, Refused> {
        self.ask(self.patience, |reply, deadline| {
            Work::Note(Note {
                asker,
                event,
                outcome,
                details,
                fact: None,
                unrecognised: false,
                reply,
                deadline,
            })
        })
        .await
    }

    /// Records a commitment to another log's checkpoint.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) async fn commit_to(&self, commitment: Hash) -> Result<Recorded, Refused> {
        self.ask(self.patience, |reply, deadline| {
            Work::Note(Note {
                asker: Asker::system(),
                event: Event::LogAnchored,
                outcome: Outcome::Ok,
                details: Value::Null,
                fact: Some(Fact::Commitment(commitment)),
                unrecognised: false,
                reply,
                deadline,
            })
        })
        .await
    }

    /// Catches up with what other processes have written: for a key that is not known yet.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn refresh(&self) -> Result<(), Refused> {
        self.ask(self.patience, |reply, deadline| {
            Work::Refresh(Refresh { reply, deadline })
        })
        .await
    }

    pub(super) async fn propose(
        &self,
        asker: Asker,
        action: Option<&'static str>,
        (resource, context): (Ref, Map<String, Value>),
        (idempotency, content): (Option<IdempotencyKey>, Option<(Deposit, Beside)>),
        plan: Plan,
    ) -> Result<Changed, Refused> {
        let (content, beside) = content.unzip();
        self.ask(CHANGE, |reply, deadline| {
            Work::Change(Box::new(Proposal {
                asker,
                action,
                resource,
                context,
                idempotency,
                needs: None,
                content,
                content_alone: beside == Some(Beside::Nothing),
                about: Vec::new(),
                plan,
                reply,
                deadline,
            }))
        })
        .await
    }

    /// Queues work and waits for its answer, no longer than `patience`.
    pub(super) async fn ask<T>(
        &self,
        patience: Duration,
        work: impl FnOnce(Reply<T>, Instant) -> Work,
    ) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        let begun = Instant::now();
        let deadline = begun + patience;
        let mut work = work(Reply::to(reply), deadline);
        if let Some(weight) = work.weight() {
            let taken = self.turn.take(weight, patience / 4).await;
            work.hold(taken.inspect_err(|_| {
                metrics::counter!("cedarkeep_unanswered_total", "cause" => "busy").increment(1);
            })?);
        }
        let sent = match self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            Some(queue) => queue.try_send(work),
            None => return Err(Refused::Unavailable),
        };
        match sent {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                metrics::counter!("cedarkeep_unanswered_total", "cause" => "queue_full")
                    .increment(1);
                return Err(Refused::Busy);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Refused::Unavailable),
        }
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(answer)) => {
                metrics::histogram!("cedarkeep_answer_seconds")
                    .record(begun.elapsed().as_secs_f64());
                answer
            }
            Ok(Err(_)) | Err(_) => Err(Refused::Unavailable),
        }
    }
}
