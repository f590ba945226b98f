//! Whose turn it is: how much of each tenant's work is under way at once, so that one tenant's flood is not another's wait.
//!
//! A tenant that is alone has all of the node, and as much under way as is answered in time. Where several are active, so much is under way
//! for all of them together, in equal parts; what one does not use of its part, others may. What is beyond waits without using a processor,
//! in order, who asks little ahead of who asks much, and is refused when its patience is over, or at once where too much waits. Work that
//! waits is not recorded: whoever is refused was never asked about.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::Refused;
use crate::ids::TenantId;

/// Who has asked within this time is active.
const ACTIVE: Duration = Duration::from_secs(1);

/// How often it is counted who is active.
const COUNTED: Duration = Duration::from_millis(100);

/// Questions under way for each processor, where several tenants are active: enough for batches to be worth their flush.
const A_PROCESSOR: usize = 8;

/// No tenant's part is smaller.
const LEAST: usize = 8;

/// The most questions under way for one tenant, if it is alone: two commits of them.
const ALONE: usize = 8_192;

/// The fewest, and how many it begins with, where calls ask much: as many as one may ask.
const SLOWLY: usize = 1_000;

/// So many questions for each call that may wait for one tenant are under way and wait, where calls ask much.
const A_CALL: usize = 4;

/// A call of no more questions asks little: it waits for nobody who asks much.
const LITTLE: usize = 16;

/// After how long whoever was refused is told to come again.
pub const AGAIN: Duration = Duration::from_secs(1);

/// The turns of all tenants of this node.
#[derive(Debug)]
pub struct Turns {
    begun: Instant,
    /// Questions under way for all active tenants, where there are several.
    together: usize,
    /// The most that waits for one tenant.
    waiting: usize,
    active: AtomicUsize,
    /// What is under way for all of them.
    under_way: AtomicUsize,
    /// When they were counted, in milliseconds since `begun`.
    counted: AtomicU64,
    all: Mutex<HashMap<TenantId, Weak<Turn>>>,
}

impl Turns {
    /// For a node of so many processors; for each tenant at most so many wait.
    #[must_use]
    pub fn new(processors: usize, waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            together: processors.max(1).saturating_mul(A_PROCESSOR),
            waiting,
            active: AtomicUsize::new(1),
            under_way: AtomicUsize::new(0),
            counted: AtomicU64::new(0),
            all: Mutex::default(),
        })
    }

    /// A tenant's turns, for as long as it is open.
    pub fn of(self: &Arc<Self>, tenant: TenantId) -> Arc<Turn> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = all.get(&tenant).and_then(Weak::upgrade) {
            return turn;
        }
        all.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn {
            turns: Arc::clone(self),
            last: AtomicU64::new(0),
            state: Mutex::new(State {
                under_way: 0,
                much: 0,
                alone: SLOWLY.min(self.most()),
                narrowed: None,
                waiting: VecDeque::new(),
                waits: 0,
            }),
        });
        all.insert(tenant, Arc::downgrade(&turn));
        turn
    }

    fn now(&self) -> u64 {
        // At least 1: a tenant that has not asked yet has asked at 0.
        millis(self.begun.elapsed()).saturating_add(1)
    }

    /// How much of one tenant's work may be under way whatever others do: as much as is answered in time, if it is alone.
    fn part(&self, alone: usize) -> usize {
        match self.active.load(Ordering::Relaxed) {
            0 | 1 => alone,
            active => (self.together / active).max(LEAST),
        }
    }

    /// The most questions that are under way and wait for one tenant, where calls ask much.
    const fn most(&self) -> usize {
        self.waiting.saturating_mul(A_CALL)
    }

    /// Whether others leave room for this much more.
    fn is_left(&self, weight: usize) -> bool {
        let under_way = self.under_way.load(Ordering::Relaxed);
        under_way.saturating_add(weight) <= self.together
    }

    fn count(&self, now: u64) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let active = all
            .values()
            .filter_map(Weak::upgrade)
            .filter(|turn| turn.is_active(now))
            .count();
        self.active.store(active, Ordering::Relaxed);
        self.counted.store(now, Ordering::Relaxed);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One tenant's turns.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    /// When it asked last, in milliseconds.
    last: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Of this tenant.
    under_way: usize,
    /// Of it, what asks much.
    much: usize,
    /// How much may be under way of what asks much, if it is alone.
    alone: usize,
    /// When that became less.
    narrowed: Option<Instant>,
    /// Those that ask little first.
    waiting: VecDeque<Waiting>,
    /// How many questions wait.
    waits: usize,
}

#[derive(Debug)]
struct Waiting {
    weight: usize,
    patience: Duration,
    turn: oneshot::Sender<Taken>,
}

const fn is_little(weight: usize) -> bool {
    weight <= LITTLE
}

impl State {
    /// A part smaller than one call's weight still has one call at a time.
    fn has_room(&self, weight: usize, turns: &Turns) -> bool {
        // Who asks little is always under way: who asks much waits for those who ask much, and not for a gap between the others.
        let (under_way, alone) = match is_little(weight) {
            true => (self.under_way, ALONE),
            false => (self.much, self.alone),
        };
        under_way == 0
            || under_way.saturating_add(weight) <= turns.part(alone)
            || turns.is_left(weight)
    }

    /// Whether it would begin ahead of all that wait.
    fn is_first(&self, weight: usize) -> bool {
        let next = self.waiting.front();
        next.is_none_or(|next| is_little(weight) && !is_little(next.weight))
    }

    /// Whether too much is under way and waits for this to wait too. Who asks little is not refused for who asks much.
    fn is_full(&self, weight: usize, turns: &Turns) -> bool {
        let all = self.under_way.saturating_add(self.waits);
        let too_much = all.saturating_add(weight) > turns.most() && !is_little(weight);
        // One that asks much may always wait.
        let too_much = too_much && self.waits > 0;
        too_much || self.waiting.len() >= turns.waiting
    }

    fn wait(&mut self, waiting: Waiting) {
        let place = match is_little(waiting.weight) {
            true => self.waiting.partition_point(|one| is_little(one.weight)),
            false => self.waiting.len(),
        };
        self.waits = self.waits.saturating_add(waiting.weight);
        self.waiting.insert(place, waiting);
    }

    /// Takes the first one of those that wait.
    fn next(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front()?;
        self.waits = self.waits.saturating_sub(next.weight);
        Some(next)
    }

    /// What asked much and took twice as long as one may wait for a turn narrows what is under way of the kind, and what did not widens it.
    fn learn(&mut self, taken: &Taken, turns: &Turns) {
        if is_little(taken.weight) {
            return;
        }
        let most = ALONE.min(turns.most());
        if taken.begun.elapsed() <= taken.patience.saturating_mul(2) {
            self.alone = self.alone.saturating_add(taken.weight).min(most);
            return;
        }
        // Once for all that were under way together.
        if self.narrowed.is_none_or(|at| at <= taken.begun) {
            self.narrowed = Some(Instant::now());
            self.alone = (self.alone / 2).max(SLOWLY).min(most);
        }
    }

    fn begin(&mut self, weight: usize, turns: &Turns) {
        self.under_way = self.under_way.saturating_add(weight);
        if !is_little(weight) {
            self.much = self.much.saturating_add(weight);
        }
        turns.under_way.fetch_add(weight, Ordering::Relaxed);
    }

    fn end(&mut self, weight: usize, turns: &Turns) {
        self.under_way = self.under_way.saturating_sub(weight);
        if !is_little(weight) {
            self.much = self.much.saturating_sub(weight);
        }
        turns.under_way.fetch_sub(weight, Ordering::Relaxed);
    }
}

/// A turn: something of this weight is under way until it is dropped.
#[derive(Debug)]
pub struct Taken {
    turn: Arc<Turn>,
    weight: usize,
    begun: Instant,
    /// How long it might have waited for.
    patience: Duration,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.turn.is_over(self);
    }
}

impl Turn {
    /// Waits for a turn for work of this weight, which is its number of questions, and no longer than `patience`.
    ///
    /// # Errors
    /// `Busy`: too many wait, or it did not come in time.
    pub async fn take(
        self: &Arc<Self>,
        weight: usize,
        patience: Duration,
    ) -> Result<Taken, Refused> {
        let now = self.turns.now();
        self.last.store(now, Ordering::Relaxed);
        let counted = self.turns.counted.load(Ordering::Relaxed);
        if now.saturating_sub(counted) > millis(COUNTED) {
            self.turns.count(now);
        }
        let turn = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.is_first(weight) && state.has_room(weight, &self.turns) {
                state.begin(weight, &self.turns);
                return Ok(self.taken(weight, patience));
            }
            if state.is_full(weight, &self.turns) {
                return Err(Refused::Busy);
            }
            let (turn, waiting) = oneshot::channel();
            state.wait(Waiting {
                weight,
                patience,
                turn,
            });
            waiting
        };
        match tokio::time::timeout(patience, turn).await {
            Ok(Ok(taken)) => Ok(taken),
            Ok(Err(_)) | Err(_) => Err(Refused::Busy),
        }
    }

    fn taken(self: &Arc<Self>, weight: usize, patience: Duration) -> Taken {
        Taken {
            turn: Arc::clone(self),
            weight,
            begun: Instant::now(),
            patience,
        }
    }

    /// Whether it has not asked for so long.
    pub(super) fn is_quiet(&self, since: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        self.turns.now().saturating_sub(last) > millis(since)
    }

    fn is_active(&self, now: u64) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last != 0 && now.saturating_sub(last) <= millis(ACTIVE)
    }

    /// Something is done: whoever waits and fits now begins.
    fn is_over(self: &Arc<Self>, taken: &Taken) {
        // Given back once the lock is let go of, which giving back takes.
        let mut given_back = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.end(taken.weight, &self.turns);
        state.learn(taken, &self.turns);
        while let Some(next) = state.waiting.front() {
            // Who has given up leaves room for the next.
            let waits = !next.turn.is_closed();
            if waits && !state.has_room(next.weight, &self.turns) {
                break;
            }
            let Some(next) = state.next().filter(|_| waits) else {
                continue;
            };
            state.begin(next.weight, &self.turns);
            let turn = self.taken(next.weight, next.patience);
            given_back.extend(next.turn.send(turn).err());
        }
        drop(state);
    }
}
