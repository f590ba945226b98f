//! The one appender of a tenant on this node: takes what waits, evaluates it, and commits it under the head's lock.
//!
//! A batch is evaluated and encoded outside the lock. Under it the head is compared with the one that the batch was
//! made for: where another node has written meanwhile, the batch is let go, the state caught up, and the batch made
//! again, the last time while holding the lock. So nothing is answered that contradicts a change committed before it.
//!
//! Under load the next batch is made while this one is written ([`super::ahead`]), for the head that this one will leave behind. The
//! same comparison makes that safe: if this one does not come to be, the next is made again.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use sqlx::AnyConnection;
use tokio::sync::{mpsc, watch};

use super::ahead::{Ahead, Incoming, Prepared};
use super::batch::{self, Made};
use super::content;
use super::drafts;
use super::error::{Refused, Unwritten};
use super::recent::Recent;
use super::rows;
use super::shadow::Shadows;
use super::spent::A_WHILE;
use super::spill::Spilling;
use super::state;
use super::work::{Changed, Work};
use super::world::World;
use crate::directory::{DirectoryError, Ref};
use crate::log::append::{self, Head};
use crate::log::checkpoint::{Checkpoint, Origin, SignedCheckpoint, VerifierKey};
use crate::log::tiles::Edge;
use crate::log::tree;
use crate::policy::Library;
use crate::tenant::{Ledger, Store};

/// So many questions take less than a millisecond.
const A_FEW: usize = 64;

/// How often a batch is made before the lock is held over the making.
const TRIES: usize = 3;

/// What a sequencer is made of.
pub(super) struct Setting {
    pub(super) store: Arc<Store>,
    pub(super) library: Arc<Library>,
    pub(super) region: String,
    pub(super) origin: Origin,
    pub(super) recent: Recent,
    pub(super) ledger: Arc<Ledger>,
    pub(super) shadows: Shadows,
    pub(super) spilling: Spilling,
}

/// The state that the next batch is made for.
pub(super) struct Known {
    pub(super) head: Head,
    pub(super) edge: Edge,
    pub(super) world: Arc<World>,
}

pub(super) struct Sequencer {
    setting: Arc<Setting>,
    seen: Arc<ArcSwap<World>>,
    healthy: Arc<std::sync::atomic::AtomicBool>,
    tip: watch::Sender<Tip>,
    known: Option<Known>,
    connection: Option<AnyConnection>,
    ahead: Option<Ahead>,
    /// How long making the present batch has taken.
    making: Duration,
}

/// The end of the log as this node has seen it last.
#[derive(Debug, Clone, Default)]
pub struct Tip {
    /// How many entries there are.
    pub size: u64,
    /// The time of the last one, in microseconds since 1970.
    pub last_time: i64,
    /// The least index that is kept.
    pub minimum: u64,
    /// The last signed checkpoint.
    pub checkpoint: Arc<str>,
}

impl Tip {
    fn of(head: &Head) -> Self {
        Self {
            size: head.size,
            last_time: head.last_time,
            minimum: head.minimum,
            checkpoint: Arc::from(head.checkpoint.as_str()),
        }
    }
}

impl Sequencer {
    /// Reads the tenant's state; the door opens with what it read.
    /// `seen_to`: how many entries it was seen to have.
    pub(super) async fn open(
        setting: Arc<Setting>,
        healthy: Arc<std::sync::atomic::AtomicBool>,
        seen_to: u64,
    ) -> Result<(Self, Arc<ArcSwap<World>>), Unwritten> {
        let id = setting.store.id();
        let org = Ref::new(crate::directory::Kind::Organization, *id.bytes());
        let empty = World::empty(org, &setting.library).within(setting.spilling.room(id));
        let seen = Arc::new(ArcSwap::from_pointee(empty));
        let mut sequencer = Self {
            setting,
            seen: Arc::clone(&seen),
            healthy,
            tip: watch::Sender::new(Tip {
                size: seen_to,
                ..Tip::default()
            }),
            known: None,
            connection: None,
            ahead: None,
            making: Duration::ZERO,
        };
        sequencer.know().await?;
        Ok((sequencer, seen))
    }

    /// Where the end of the log is told.
    pub(super) fn tip(&self) -> watch::Receiver<Tip> {
        self.tip.subscribe()
    }

    /// Works until nobody can send any more, and everything sent is done.
    pub(super) async fn run(mut self, queue: mpsc::Receiver<Work>) {
        let mut incoming = Incoming::of(queue);
        loop {
            let prepared = match self.ahead.take() {
                // Whoever waits for one that failed is told by the end of its reply.
                Some(ahead) => ahead.finish().await,
                None => incoming.next().await.map(Prepared::not_yet),
            };
            match prepared {
                Some(prepared) => match self.settle(prepared, &mut incoming).await {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(()) => return,
                },
                None if incoming.is_over() => return,
                None => {}
            }
        }
    }

    /// Commits a batch and answers, or says that there is no answer. It is over where the log is not the one that was opened: whoever asks
    /// next opens it anew.
    async fn settle(&mut self, prepared: Prepared, incoming: &mut Incoming) -> ControlFlow<()> {
        let now = Instant::now();
        let Prepared { batch, made } = prepared;
        let (late, batch): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|work| work.deadline() <= now);
        // What was made is for all of them.
        let made = made.filter(|_| late.is_empty());
        for work in late {
            metrics::counter!("cedarkeep_unanswered_total", "cause" => "late").increment(1);
            work.refuse(Refused::Unavailable);
        }
        let Some(deadline) = batch.iter().map(Work::deadline).max() else {
            return ControlFlow::Continue(());
        };
        let started = Instant::now();
        let patience = deadline
            .saturating_duration_since(now)
            .max(Duration::from_millis(100));
        self.making = Duration::ZERO;
        let commit = self.commit(&batch, made, incoming);
        let outcome = match tokio::time::timeout(patience, commit).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Unwritten::Slow),
        };
        match outcome {
            Ok(made) => {
                self.healthy
                    .store(true, std::sync::atomic::Ordering::Relaxed);
                metrics::histogram!("cedarkeep_commit_seconds")
                    .record(started.elapsed().as_secs_f64());
                metrics::counter!("cedarkeep_entries_total").increment(made.entries());
                if let Some(person) = made.forgotten() {
                    note_erased(&self.setting, person).await;
                }
                let shadow = self.setting.shadows.present();
                let place = shadow.as_ref().and_then(|_| made.place());
                let left = made.answer(batch);
                incoming.go_on(left, started.elapsed() > A_WHILE);
                if let (Some(shadow), Some(place)) = (shadow, place) {
                    shadow.offer(place);
                }
            }
            Err(error) => {
                // What was committed is unknown: everything is read again before anything else is written.
                self.known = None;
                self.connection = None;
                // Where the questions took the time, the log is as well as it was.
                if !matches!(error, Unwritten::Slow) || self.making < patience / 2 {
                    self.healthy
                        .store(false, std::sync::atomic::Ordering::Relaxed);
                }
                let cause = cause(&error);
                metrics::counter!("cedarkeep_unanswered_total", "cause" => cause).increment(1);
                tracing::error!(tenant.id = %self.setting.store.id(), cause, error = %chain(&error), "the log was not written");
                for work in batch {
                    work.refuse(Refused::Unavailable);
                }
                // What cannot be read back where it was put aside is in the rows still, and whoever opens the tenant anew has time to read them.
                let is_sound = self.seen.load().snapshot().is_sound();
                if !is_sound || matches!(error, Unwritten::RolledBack { .. } | Unwritten::OtherLife)
                {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    async fn commit(
        &mut self,
        batch: &[Work],
        mut prepared: Option<(Head, Made)>,
        incoming: &mut Incoming,
    ) -> Result<Made, Unwritten> {
        let setting = Arc::clone(&self.setting);
        for _ in 0..TRIES {
            self.know().await?;
            if batch.iter().any(|work| matches!(work, Work::Refresh(_))) {
                self.look().await?;
            }
            // Whatever is taken here and not put back is read again before anything else is written.
            let known = self
                .known
                .take()
                .ok_or(Unwritten::Corrupt { what: "state" })?;
            let made = match prepared.take() {
                Some((head, made)) if head == known.head => made,
                _ => {
                    let begun = Instant::now();
                    let made = make(&setting, &known, batch).await?;
                    self.making += begun.elapsed();
                    made
                }
            };
            if made.entries() == 0 && !batch.iter().any(|work| matches!(work, Work::Change(_))) {
                self.known = Some(known);
                return Ok(made);
            }
            let mut connection = self
                .connection
                .take()
                .ok_or(Unwritten::Corrupt { what: "connection" })?;
            let step: Result<Step, Unwritten> = {
                let step = write(&setting.store, &mut connection, batch, (&made, &known));
                tokio::pin!(step);
                // What a change leaves behind is known once it is committed.
                if self.ahead.is_none() && batch.iter().all(Work::is_plain) {
                    let after = made.known(&known);
                    tokio::select! {
                        biased;
                        step = &mut step => step,
                        ahead = incoming.ahead(&setting, after) => {
                            self.ahead = Some(ahead);
                            step.await
                        }
                    }
                } else {
                    step.await
                }
            };
            let step = match step {
                // The database has let go of all of it: what is there is read again, on another connection.
                Err(error) if error.is_collision() => {
                    metrics::counter!("cedarkeep_batches_made_again_total").increment(1);
                    continue;
                }
                step => step?,
            };
            self.connection = Some(connection);
            match step {
                Step::Committed => {
                    let made = self.committed(made, &known);
                    read_changed_keys(&setting.store, &made).await;
                    return Ok(made);
                }
                Step::Nothing => {
                    self.known = Some(known);
                    return Ok(made);
                }
                Step::Replayed(reply) => return Ok(Made::replayed(reply)),
                // Another node has written: catch up, come back.
                Step::Behind => {
                    metrics::counter!("cedarkeep_batches_made_again_total").increment(1);
                }
            }
        }
        self.commit_locked(batch).await
    }

    /// Makes the batch while holding the lock, when nobody else can write.
    async fn commit_locked(&mut self, batch: &[Work]) -> Result<Made, Unwritten> {
        let setting = Arc::clone(&self.setting);
        let database = setting.store.database();
        let error = |cause| database.error(cause);
        self.know().await?;
        self.known = None;
        let mut connection = self
            .connection
            .take()
            .ok_or(Unwritten::Corrupt { what: "connection" })?;
        let mut transaction = database.begin(&mut connection).await?;
        let head = append::lock(database, &mut transaction).await?;
        know_keys(&self.setting.store, &head).await?;
        if let Some(reply) = rows::replayed(&setting.store, &mut transaction, batch).await? {
            transaction.rollback().await.map_err(error)?;
            self.connection = Some(connection);
            return Ok(Made::replayed(reply));
        }
        let known = self.read(head).await?;
        let made = make(&setting, &known, batch).await?;
        if made.entries() == 0 {
            transaction.rollback().await.map_err(error)?;
            self.connection = Some(connection);
            self.known = Some(known);
            return Ok(made);
        }
        let written = made.write(&setting.store, &mut transaction, &known).await;
        if matches!(written, Err(Unwritten::UsedUp)) {
            transaction.rollback().await.map_err(error)?;
            self.connection = Some(connection);
            return Ok(Made::replayed(used_up()));
        }
        written?;
        transaction.commit().await.map_err(error)?;
        self.connection = Some(connection);
        let made = self.committed(made, &known);
        read_changed_keys(&setting.store, &made).await;
        Ok(made)
    }

    /// What the memory takes over once a batch is committed.
    fn committed(&mut self, made: Made, before: &Known) -> Made {
        made.settled(&self.setting.store, &self.setting.recent);
        let mut next = made.known(before);
        if next.world.snapshot().is_full() {
            next.world = Arc::new(next.world.cleared());
        }
        self.seen.store(Arc::clone(&next.world));
        self.tip.send_replace(Tip::of(&next.head));
        // Other keys are read before anything else is made.
        self.known = (!made.changes_keys()).then_some(next);
        made
    }

    /// Reads the head, and the state too where another process has written.
    async fn look(&mut self) -> Result<(), Unwritten> {
        let store = Arc::clone(&self.setting.store);
        let Some(connection) = self.connection.as_mut() else {
            return Err(Unwritten::Corrupt { what: "connection" });
        };
        let head = append::read_head(store.database(), connection).await?;
        if self.known.as_ref().is_none_or(|known| known.head != head) {
            self.known = None;
            self.know().await?;
        }
        Ok(())
    }

    /// Makes sure that there is a connection and a state: read whole at first, caught up with when others have written.
    async fn know(&mut self) -> Result<(), Unwritten> {
        let store = Arc::clone(&self.setting.store);
        if self.connection.is_none() {
            self.connection = Some(store.database().connect().await?);
        }
        if self.known.is_some() {
            return Ok(());
        }
        let Some(connection) = self.connection.as_mut() else {
            return Err(Unwritten::Corrupt { what: "connection" });
        };
        let head = append::read_head(store.database(), connection).await?;
        self.known = Some(self.read(head).await?);
        Ok(())
    }

    /// The state that this head is the end of.
    async fn read(&mut self, head: Head) -> Result<Known, Unwritten> {
        let store = &self.setting.store;
        let seen = self.tip.borrow().size;
        if head.size < seen {
            let size = head.size;
            return Err(Unwritten::RolledBack { seen, size });
        }
        if head.incarnation != store.written_life().incarnation.to_string() {
            return Err(Unwritten::OtherLife);
        }
        if head.signing_version != store.keys().signing().version() {
            let (keys, version) = (store.keys(), head.signing_version);
            keys.reload_signer(version).await?;
        }
        know_keys(store, &head).await?;
        // Others have written, and may have erased somebody.
        self.setting.recent.forget();
        let edge = tree::load_edge(store.database(), head.size).await?;
        self.check_head(&head, &edge)?;
        let before = self.seen.load_full();
        let world = Arc::new(state::catch_up(store, &before, head.last_change).await?);
        self.seen.store(Arc::clone(&world));
        self.tip.send_replace(Tip::of(&head));
        Ok(Known { head, edge, world })
    }
}

impl Sequencer {
    /// What is signed next grows out of this head: it must be what its own checkpoint says, and what the tiles make.
    fn check_head(&self, head: &Head, edge: &Edge) -> Result<(), Unwritten> {
        let wrong = || Unwritten::Corrupt { what: "head" };
        let tree = edge.frontier()?;
        if head.size == 0 {
            return Ok(());
        }
        let store = &self.setting.store;
        let life = store.written_life().incarnation.to_string();
        let origin = self.setting.origin.with_incarnation(&life)?;
        let present = VerifierKey::of(origin.clone(), store.keys().signing().seed().key());
        let note = SignedCheckpoint::parse(head.checkpoint.as_bytes())?;
        note.verify(std::slice::from_ref(&present))?;
        let wanted = Checkpoint {
            origin,
            size: head.size,
            root: tree.root(),
        };
        if *note.checkpoint() == wanted && tree.to_bytes() == head.frontier {
            Ok(())
        } else {
            Err(wrong())
        }
    }
}

/// Notes an erasure that is committed, before it is answered. Where that fails, it is done by the next round of whoever keeps the log: the
/// erasure is not over before.
async fn note_erased(setting: &Setting, person: Ref) {
    let (id, now) = (setting.store.id(), Utc::now().timestamp_micros());
    let person = person.to_string();
    if let Err(error) = setting.ledger.erased(id, &person, now).await {
        tracing::error!(tenant.id = %id, error = %chain(&error), "an erasure is noted in the ledger later");
    }
}

/// Makes sure that the keys in memory are those in force at this head, or newer ones.
async fn know_keys(store: &Store, head: &Head) -> Result<(), Unwritten> {
    if head.keys_version != store.keys().label() {
        store.reload_keys().await?;
    }
    Ok(())
}

/// Reads the keys that a committed batch has changed, so that whoever asked for it finds them here. What it has done is done, even if
/// they cannot be read now: then they are before anything else is made.
async fn read_changed_keys(store: &Store, made: &Made) {
    if made.changes_keys()
        && let Err(error) = store.reload_keys().await
    {
        tracing::warn!(tenant.id = %store.id(), error = %chain(&error), "changed keys are read later");
    }
}

/// A stage of a commit, timed into `cedarkeep_stage_seconds`: `judge`, `encode`, then `append` where nothing but entries and content is
/// written, or `lock`, `write`, `flush`.
pub(super) struct Stage {
    name: &'static str,
    begun: Instant,
}

impl Stage {
    pub(super) fn begin(name: &'static str) -> Self {
        Self {
            name,
            begun: Instant::now(),
        }
    }

    /// One that failed or was let go is not counted.
    pub(super) fn end(self) {
        metrics::histogram!("cedarkeep_stage_seconds", "stage" => self.name)
            .record(self.begun.elapsed().as_secs_f64());
    }
}

/// How far writing a batch came.
enum Step {
    Committed,
    /// There was nothing to write after all.
    Nothing,
    /// It is a change that had been made before, or whose place another has taken: this is what it is told.
    Replayed(Replayed),
    /// The head is not the one that the batch was made for.
    Behind,
}

/// Writes a batch that was made for this state, where the log still ends with it.
async fn write(
    store: &Store,
    connection: &mut AnyConnection,
    batch: &[Work],
    (made, known): (&Made, &Known),
) -> Result<Step, Unwritten> {
    let database = store.database();
    let error = |cause| database.error(cause);
    // What may have been made before under the same Idempotency-Key is looked for under the lock.
    let may_replay = batch.iter().any(Work::is_alone);
    if made.is_short() && !may_replay {
        let appending = Stage::begin("append");
        // Under other keys, the head is another too.
        let appended = made.append(store, connection, known).await?;
        appending.end();
        return Ok(if appended {
            Step::Committed
        } else {
            Step::Behind
        });
    }
    let locking = Stage::begin("lock");
    let mut transaction = database.begin(connection).await?;
    let head = append::lock(database, &mut transaction).await?;
    locking.end();
    // A reply may lie under keys that this node has not read yet.
    let replayed = match head.keys_version == store.keys().label() {
        true => Some(rows::replayed(store, &mut transaction, batch).await?),
        false => None,
    };
    let step = match replayed {
        None => Step::Behind,
        Some(Some(reply)) => Step::Replayed(reply),
        Some(None) if head != known.head => Step::Behind,
        Some(None) if made.entries() == 0 => Step::Nothing,
        Some(None) => {
            let writing = Stage::begin("write");
            let written = made.write(store, &mut transaction, known).await;
            if matches!(written, Err(Unwritten::UsedUp)) {
                Step::Replayed(used_up())
            } else {
                written?;
                writing.end();
                let flushing = Stage::begin("flush");
                transaction.commit().await.map_err(error)?;
                flushing.end();
                return Ok(Step::Committed);
            }
        }
    };
    transaction.rollback().await.map_err(error)?;
    Ok(step)
}

/// What a change is told that would have used up what somebody else has.
const fn used_up() -> Replayed {
    Err(Refused::Directory(DirectoryError::UsedUp))
}

/// Evaluates and encodes a batch for this state.
pub(super) async fn make(
    setting: &Setting,
    known: &Known,
    batch: &[Work],
) -> Result<Made, Unwritten> {
    let subjects = drafts::subjects(batch, &known.world);
    let keys = rows::subject_keys(&setting.store, subjects).await?;
    // Exact, since the head is compared under the lock: whoever changes content moves it.
    let found = content::find(&setting.store, batch).await?;
    let now = at_least(known.head.last_time)?;
    let make = || {
        let made = batch::make(setting, known, (&keys, found), batch, now)?;
        // What was not there to be judged may have been there.
        match known.world.snapshot().is_sound() {
            true => Ok(made),
            false => Err(Unwritten::Corrupt { what: "spill" }),
        }
    };
    // Handing this thread's other tasks over costs more than a few questions do.
    let is_brief = batch.len() <= A_FEW && batch.iter().all(Work::is_brief);
    if is_brief && !known.world.snapshot().is_spilled() {
        return make();
    }
    tokio::task::block_in_place(make)
}

/// The clock, or the last entry's time where the clock went back.
fn at_least(last: i64) -> Result<DateTime<Utc>, Unwritten> {
    let micros = Utc::now().timestamp_micros().max(last);
    DateTime::from_timestamp_micros(micros).ok_or(Unwritten::Corrupt { what: "time" })
}

const fn cause(error: &Unwritten) -> &'static str {
    match error {
        Unwritten::Storage(_) | Unwritten::Tenant(_) => "storage",
        Unwritten::Contended => "contended",
        Unwritten::Slow => "slow",
        Unwritten::UsedUp => "used_up",
        Unwritten::Flaw(_)
        | Unwritten::Unfit(_)
        | Unwritten::Crypto(_)
        | Unwritten::Vault(_)
        | Unwritten::Log(_)
        | Unwritten::Corrupt { .. } => "corrupt",
        Unwritten::RolledBack { .. } => "rolled_back",
        Unwritten::OtherLife => "restored",
        Unwritten::Mark { .. } => "mark",
    }
}

/// An error with what lies beneath it, for our own log.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What an idempotent request was told the first time.
pub(super) type Replayed = Result<Changed, Refused>;
