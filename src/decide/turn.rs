//! Whose turn it is: how much of each tenant's work is under way at once, so that one tenant's flood is not another's wait.
//!
//! A tenant that is alone has all of the node. Where several are active, so much is under way for all of them together, in equal parts;
//! what one does not use of its part, others may. What is beyond waits, in order, without using a processor, and is refused when its
//! patience is over. Work that waits is not recorded: whoever is refused was never asked about.

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
            state: Mutex::default(),
        });
        all.insert(tenant, Arc::downgrade(&turn));
        turn
    }

    fn now(&self) -> u64 {
        // At least 1: a tenant that has not asked yet has asked at 0.
        millis(self.begun.elapsed()).saturating_add(1)
    }

    /// How much of one tenant's work may be under way whatever others do: all, if it is alone.
    fn part(&self) -> usize {
        match self.active.load(Ordering::Relaxed) {
            0 | 1 => usize::MAX,
            active => (self.together / active).max(LEAST),
        }
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

#[derive(Debug, Default)]
struct State {
    /// Of this tenant.
    under_way: usize,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    weight: usize,
    turn: oneshot::Sender<Taken>,
}

impl State {
    /// A part smaller than one call's weight still has one call at a time.
    fn has_room(&self, weight: usize, turns: &Turns) -> bool {
        self.under_way == 0
            || self.under_way.saturating_add(weight) <= turns.part()
            || turns.is_left(weight)
    }

    fn begin(&mut self, weight: usize, turns: &Turns) {
        self.under_way = self.under_way.saturating_add(weight);
        turns.under_way.fetch_add(weight, Ordering::Relaxed);
    }

    fn end(&mut self, weight: usize, turns: &Turns) {
        self.under_way = self.under_way.saturating_sub(weight);
        turns.under_way.fetch_sub(weight, Ordering::Relaxed);
    }
}

/// A turn: something of this weight is under way until it is dropped.
#[derive(Debug)]
pub struct Taken {
    turn: Arc<Turn>,
    weight: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.turn.is_over(self.weight);
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
            if state.waiting.is_empty() && state.has_room(weight, &self.turns) {
                state.begin(weight, &self.turns);
                return Ok(self.taken(weight));
            }
            if state.waiting.len() >= self.turns.waiting {
                return Err(Refused::Busy);
            }
            let (turn, waiting) = oneshot::channel();
            state.waiting.push_back(Waiting { weight, turn });
            waiting
        };
        match tokio::time::timeout(patience, turn).await {
            Ok(Ok(taken)) => Ok(taken),
            Ok(Err(_)) | Err(_) => Err(Refused::Busy),
        }
    }

    fn taken(self: &Arc<Self>, weight: usize) -> Taken {
        Taken {
            turn: Arc::clone(self),
            weight,
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

    /// Something of this weight is done: whoever waits and fits now begins.
    fn is_over(self: &Arc<Self>, weight: usize) {
        // Given back once the lock is let go of, which giving back takes.
        let mut given_back = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.end(weight, &self.turns);
        while let Some(next) = state.waiting.front() {
            let weight = next.weight;
            // Who has given up leaves room for the next.
            let waits = !next.turn.is_closed();
            if waits && !state.has_room(weight, &self.turns) {
                break;
            }
            let Some(next) = state.waiting.pop_front().filter(|_| waits) else {
                continue;
            };
            state.begin(weight, &self.turns);
            given_back.extend(next.turn.send(self.taken(weight)).err());
        }
        drop(state);
    }
}
