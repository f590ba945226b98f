//! The one appender of a tenant on this node: takes what waits, evaluates it, and commits it under the head's lock.
//!
//! A batch is evaluated and encoded outside the lock. Under it the head is compared with the one that the batch was
//! made for: where another node has written meanwhile, the batch is let go, the state caught up, and the batch made
//! again, the last time while holding the lock. So nothing is answered that contradicts a change committed before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use sqlx::AnyConnection;
use tokio::sync::{mpsc, watch};

use super::audit;
use super::batch::{self, Made};
use super::drafts;
use super::error::{Refused, Unwritten};
use super::mark::Mark;
use super::rows;
use super::work::{Changed, Work};
use super::world::World;
use crate::directory::Ref;
use crate::log::append::{self, Head};
use crate::log::checkpoint::Origin;
use crate::log::tiles::Edge;
use crate::policy::Library;
use crate::tenant::Store;

/// The most that one commit takes.
const BATCH: usize = 1_024;

/// How often a batch is made again before the lock is held over the making.
const TRIES: usize = 3;

/// What a sequencer is made of.
pub(super) struct Setting {
    pub(super) store: Arc<Store>,
    pub(super) library: Arc<Library>,
    pub(super) region: String,
    pub(super) origin: Origin,
}

/// The state that the next batch is made for.
pub(super) struct Known {
    pub(super) head: Head,
    pub(super) edge: Edge,
    pub(super) world: Arc<World>,
}

pub(super) struct Sequencer {
    setting: Setting,
    seen: Arc<ArcSwap<World>>,
    healthy: Arc<std::sync::atomic::AtomicBool>,
    tip: watch::Sender<Tip>,
    known: Option<Known>,
    connection: Option<AnyConnection>,
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
    pub(super) async fn open(
        setting: Setting,
        healthy: Arc<std::sync::atomic::AtomicBool>,
        mark: &Mark,
    ) -> Result<(Self, Arc<ArcSwap<World>>), Unwritten> {
        let keys = audit::verifiers(&setting.store, &setting.origin).await?;
        let seen_to = mark.check(&setting.store, &keys).await?;
        let org = Ref::new(
            crate::directory::Kind::Organization,
            *setting.store.id().bytes(),
        );
        let empty = World::empty(org, &setting.library)?;
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
        };
        sequencer.know().await?;
        Ok((sequencer, seen))
    }

    /// Where the end of the log is told.
    pub(super) fn tip(&self) -> watch::Receiver<Tip> {
        self.tip.subscribe()
    }

    /// Works until nobody can send any more, and everything sent is done.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Work>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut waiting, BATCH).await > 0 {
            let mut rest = std::mem::take(&mut waiting).into_iter().peekable();
            while rest.peek().is_some() {
                let batch = next_batch(&mut rest);
                self.settle(batch).await;
            }
        }
    }

    /// Commits a batch and answers, or says that there is no answer.
    async fn settle(&mut self, batch: Vec<Work>) {
        let now = Instant::now();
        let (late, batch): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|work| work.deadline() <= now);
        for work in late {
            metrics::counter!("cedarkeep_unanswered_total", "cause" => "late").increment(1);
            work.refuse(Refused::Unavailable);
        }
        let Some(deadline) = batch.iter().map(Work::deadline).max() else {
            return;
        };
        let started = Instant::now();
        let patience = deadline
            .saturating_duration_since(now)
            .max(Duration::from_millis(100));
        let outcome = match tokio::time::timeout(patience, self.commit(&batch)).await {
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
                made.answer(batch);
            }
            Err(error) => {
                // What was committed is unknown: everything is read again before anything else is written.
                self.known = None;
                self.connection = None;
                self.healthy
                    .store(false, std::sync::atomic::Ordering::Relaxed);
                let cause = cause(&error);
                metrics::counter!("cedarkeep_unanswered_total", "cause" => cause).increment(1);
                tracing::error!(tenant.id = %self.setting.store.id(), cause, error = %chain(&error), "the log was not written");
                for work in batch {
                    work.refuse(Refused::Unavailable);
                }
            }
        }
    }

    async fn commit(&mut self, batch: &[Work]) -> Result<Made, Unwritten> {
        let store = Arc::clone(&self.setting.store);
        let database = store.database();
        let error = |cause| database.error(cause);
        for attempt in 0..=TRIES {
            self.know().await?;
            if batch.iter().any(|work| matches!(work, Work::Refresh(_))) {
                self.look().await?;
            }
            // Whatever is taken here and not put back is read again before anything else is written.
            let mut known = self
                .known
                .take()
                .ok_or(Unwritten::Corrupt { what: "state" })?;
            let mut made = make(&self.setting, &known, batch).await?;
            if made.entries() == 0 && !batch.iter().any(|work| matches!(work, Work::Change(_))) {
                self.known = Some(known);
                return Ok(made);
            }
            let mut connection = self
                .connection
                .take()
                .ok_or(Unwritten::Corrupt { what: "connection" })?;
            let locking = Stage::begin("lock");
            let mut transaction = database.begin(&mut connection).await?;
            let head = append::lock(database, &mut transaction).await?;
            locking.end();
            if let Some(reply) = rows::replayed(&store, &mut transaction, batch).await? {
                transaction.rollback().await.map_err(error)?;
                self.connection = Some(connection);
                return Ok(Made::replayed(reply));
            }
            if head != known.head {
                metrics::counter!("cedarkeep_batches_made_again_total").increment(1);
                if attempt < TRIES {
                    // Another node has written: let go, catch up, come back.
                    transaction.rollback().await.map_err(error)?;
                    self.connection = Some(connection);
                    continue;
                }
                // Nobody else can write while the lock is held.
                known = self.read(head).await?;
                made = make(&self.setting, &known, batch).await?;
            }
            if made.entries() == 0 {
                transaction.rollback().await.map_err(error)?;
                self.connection = Some(connection);
                self.known = Some(known);
                return Ok(made);
            }
            let writing = Stage::begin("write");
            made.write(&store, &mut transaction, &known).await?;
            writing.end();
            let flushing = Stage::begin("flush");
            transaction.commit().await.map_err(error)?;
            flushing.end();
            made.settled(&store);
            let next = made.known(&known);
            self.seen.store(Arc::clone(&next.world));
            self.tip.send_replace(Tip::of(&next.head));
            self.known = Some(next);
            self.connection = Some(connection);
            return Ok(made);
        }
        Err(Unwritten::Contended)
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
        if head.signing_version != store.keys().signing().version() {
            let (keys, version) = (store.keys(), head.signing_version);
            keys.reload_signer(store.database(), version).await?;
        }
        let edge = append::load_edge(store.database(), head.size).await?;
        let before = self.seen.load_full();
        let world = Arc::new(rows::catch_up(store, &before, head.last_change).await?);
        self.seen.store(Arc::clone(&world));
        self.tip.send_replace(Tip::of(&head));
        Ok(Known { head, edge, world })
    }
}

/// A stage of a commit, timed into `cedarkeep_stage_seconds`: `judge`, `encode`, `lock`, `write`, `flush`.
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

/// Evaluates and encodes a batch for this state.
async fn make(setting: &Setting, known: &Known, batch: &[Work]) -> Result<Made, Unwritten> {
    let subjects = drafts::subjects(batch, &known.world);
    let keys = rows::subject_keys(&setting.store, subjects).await?;
    let now = at_least(known.head.last_time)?;
    tokio::task::block_in_place(|| batch::make(setting, known, &keys, batch, now))
}

/// A change alone, or everything up to the next one.
fn next_batch(rest: &mut std::iter::Peekable<std::vec::IntoIter<Work>>) -> Vec<Work> {
    let mut batch = Vec::new();
    while let Some(work) = rest.peek() {
        let change = matches!(work, Work::Change(_));
        if change && !batch.is_empty() {
            break;
        }
        batch.extend(rest.next());
        if change {
            break;
        }
    }
    batch
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
        Unwritten::Flaw(_)
        | Unwritten::Unfit(_)
        | Unwritten::Crypto(_)
        | Unwritten::Log(_)
        | Unwritten::Corrupt { .. } => "corrupt",
        Unwritten::RolledBack { .. } => "rolled_back",
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
