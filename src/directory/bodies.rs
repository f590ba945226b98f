//! What is known of each thing beyond its name: in memory up to a limit, and beyond it elsewhere, from where it is read back when
//! somebody asks.
//!
//! Where that is, is no matter of this room: it is handed in as a [`Spill`]. What is read back lies on a desk that all states share from
//! then on, so that a reference to it is as good as one into memory. A desk that is full is cleared: what was used lately goes along to
//! the next one.

use std::hash::Hash;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use elsa::sync::FrozenMap;
use foldhash::fast::RandomState;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::snapshot::Hashed;

/// What one body takes beyond its text, in bytes, about: nodes of the map, and what the allocator rounds up to.
const AROUND: u64 = 200;

/// Of the memory for bodies, the part that a desk may take before it is cleared; there are two at most.
const DESK_PART: u64 = 8;

/// What it may take in any case.
const DESK_LEAST: u64 = 256 << 10;

/// Where bodies lie that memory has no room for.
pub trait Spill: Send + Sync {
    /// Takes a body; nothing where it cannot, and then the body stays in memory.
    fn put(&self, body: &[u8]) -> Option<Arc<dyn Spilled>>;

    /// Whether everything that was asked for could be read back. Once it is not, what was computed meanwhile is worth nothing.
    fn is_sound(&self) -> bool;

    /// Says that what lies there is not what was put there.
    fn damaged(&self);
}

/// A body that lies elsewhere, until this is dropped.
pub trait Spilled: Send + Sync {
    /// A number that no other body of the same place ever had.
    fn number(&self) -> u64;

    /// Reads it; nothing where that fails, which [`Spill::is_sound`] remembers.
    fn get(&self) -> Option<Vec<u8>>;
}

/// How much memory the bodies of a state may take, and where the others go.
#[derive(Clone)]
pub struct Room {
    spill: Option<Arc<dyn Spill>>,
    most: u64,
    held: u64,
    /// How many bodies lie elsewhere.
    away: u64,
}

impl Room {
    /// As much as there is.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            spill: None,
            most: u64::MAX,
            held: 0,
            away: 0,
        }
    }

    /// So many bytes, about.
    #[must_use]
    pub fn of(most: u64, spill: Arc<dyn Spill>) -> Self {
        Self {
            spill: Some(spill),
            most,
            held: 0,
            away: 0,
        }
    }

    /// Whether anything lies elsewhere.
    pub(super) const fn is_spilled(&self) -> bool {
        self.away > 0
    }

    /// Whether everything that was asked for could be read back.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.spill.as_ref().is_none_or(|spill| spill.is_sound())
    }
}

/// What may lie elsewhere.
pub(super) trait Body: Serialize + DeserializeOwned {
    /// Whether it may: what nearly every decision or the upkeep of an organization asks for stays in memory.
    fn may_leave(&self) -> bool;
}

/// A body, wherever it is.
enum Lies<T> {
    Here(Arc<T>),
    Away(Arc<dyn Spilled>),
}

impl<T> Clone for Lies<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Here(body) => Self::Here(Arc::clone(body)),
            Self::Away(body) => Self::Away(Arc::clone(body)),
        }
    }
}

/// Bodies under their names.
pub(super) struct Bodies<K, T> {
    all: Hashed<K, Lies<T>>,
    desk: Arc<Desk<T>>,
}

impl<K: Clone, T> Clone for Bodies<K, T> {
    fn clone(&self) -> Self {
        Self {
            all: self.all.clone(),
            desk: Arc::clone(&self.desk),
        }
    }
}

impl<K: Clone + Eq + Hash, T: Body> Bodies<K, T> {
    pub(super) fn new() -> Self {
        Self {
            all: Hashed::with_hasher(RandomState::default()),
            desk: Arc::default(),
        }
    }

    pub(super) fn has(&self, key: &K) -> bool {
        self.all.contains_key(key)
    }

    /// A body. One that lay elsewhere takes memory for as long as the desk does.
    pub(super) fn get(&self, key: &K, room: &Room) -> Option<&T> {
        match self.all.get(key)? {
            Lies::Here(body) => Some(body),
            Lies::Away(body) => self.desk.get(body.as_ref(), room),
        }
    }

    /// The same for a moment: for a look at everything.
    pub(super) fn lent(&self, key: &K, room: &Room) -> Option<Lent<'_, T>> {
        match self.all.get(key)? {
            Lies::Here(body) => Some(Lent::Here(body)),
            Lies::Away(body) => match self.desk.known(body.number()) {
                Some(known) => Some(Lent::Here(known)),
                None => Some(Lent::Read(Box::new(read(body.as_ref(), room)?))),
            },
        }
    }

    pub(super) fn insert(&mut self, key: K, body: T, room: &mut Room) {
        self.remove(&key, room);
        let Some(spill) = &room.spill else {
            self.all.insert(key, Lies::Here(Arc::new(body)));
            return;
        };
        let weight = weight(&body);
        let is_much = room.held.saturating_add(weight) > room.most;
        let text = (is_much && body.may_leave()).then(|| serde_json::to_vec(&body));
        let away = text.and_then(|text| spill.put(&text.ok()?));
        let lies = match away {
            Some(away) => {
                room.away = room.away.saturating_add(1);
                Lies::Away(away)
            }
            None => {
                room.held = room.held.saturating_add(weight);
                Lies::Here(Arc::new(body))
            }
        };
        self.all.insert(key, lies);
    }

    pub(super) fn remove(&mut self, key: &K, room: &mut Room) {
        match self.all.remove(key) {
            Some(Lies::Here(body)) if room.spill.is_some() => {
                room.held = room.held.saturating_sub(weight(body.as_ref()));
            }
            Some(Lies::Away(_)) => room.away = room.away.saturating_sub(1),
            _ => {}
        }
    }

    /// Whether what was read back takes so much memory that it should be [`Bodies::clear`]ed.
    pub(super) fn is_full(&self, room: &Room) -> bool {
        let most = (room.most / DESK_PART).max(DESK_LEAST);
        self.desk.held.load(Ordering::Relaxed) > most
    }

    /// What was read back since the last time stays at hand until the next; the rest goes.
    pub(super) fn clear(&mut self) {
        self.desk = Arc::new(Desk {
            now: Arc::default(),
            before: Some(Arc::clone(&self.desk.now)),
            held: AtomicU64::new(0),
        });
    }
}

/// How much memory a body takes, about, by the length of its text.
fn weight(body: &impl Serialize) -> u64 {
    struct Length(u64);

    impl io::Write for Length {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(text.len() as u64);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut length = Length(AROUND);
    // INVARIANT: it has no writer that fails, and whatever was counted is as good a guess as any.
    drop(serde_json::to_writer(&mut length, body));
    length.0
}

fn read<T: Body>(body: &dyn Spilled, room: &Room) -> Option<T> {
    let text = body.get()?;
    let read = serde_json::from_slice(&text);
    if read.is_err()
        && let Some(spill) = &room.spill
    {
        spill.damaged();
    }
    read.ok()
}

/// What was read back, by the number under which it lies elsewhere.
type Read<T> = FrozenMap<u64, Box<Arc<T>>>;

struct Desk<T> {
    now: Arc<Read<T>>,
    before: Option<Arc<Read<T>>>,
    /// In bytes, about.
    held: AtomicU64,
}

impl<T> Default for Desk<T> {
    fn default() -> Self {
        Self {
            now: Arc::default(),
            before: None,
            held: AtomicU64::new(0),
        }
    }
}

impl<T: Body> Desk<T> {
    fn known(&self, number: u64) -> Option<&T> {
        let before = || self.before.as_ref()?.get(&number);
        self.now.get(&number).or_else(before).map(AsRef::as_ref)
    }

    fn get(&self, body: &dyn Spilled, room: &Room) -> Option<&T> {
        let number = body.number();
        if let Some(known) = self.now.get(&number) {
            return Some(known);
        }
        let before = self.before.as_ref().and_then(|before| before.get(&number));
        let found = match before {
            Some(found) => Arc::clone(found),
            None => Arc::new(read(body, room)?),
        };
        self.held
            .fetch_add(weight(found.as_ref()), Ordering::Relaxed);
        Some(self.now.insert(number, Box::new(found)))
    }
}

/// A body for a moment.
pub enum Lent<'a, T> {
    /// It is in memory.
    Here(&'a T),
    /// It was read back for this.
    Read(Box<T>),
}

impl<T> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Here(body) => body,
            Self::Read(body) => body,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use serde::Deserialize;

    use super::*;

    /// Bodies as they were put, and how often they were read.
    #[derive(Default)]
    struct Elsewhere {
        last: AtomicU64,
        reads: Arc<AtomicU64>,
        damaged: AtomicBool,
        is_full: AtomicBool,
    }

    struct There(u64, Mutex<Vec<u8>>, Arc<AtomicU64>);

    impl Spill for Elsewhere {
        fn put(&self, body: &[u8]) -> Option<Arc<dyn Spilled>> {
            if self.is_full.load(Ordering::Relaxed) {
                return None;
            }
            let number = self.last.fetch_add(1, Ordering::Relaxed);
            let there = There(number, Mutex::new(body.to_vec()), Arc::clone(&self.reads));
            Some(Arc::new(there))
        }

        fn is_sound(&self) -> bool {
            !self.damaged.load(Ordering::Relaxed)
        }

        fn damaged(&self) {
            self.damaged.store(true, Ordering::Relaxed);
        }
    }

    impl Spilled for There {
        fn number(&self) -> u64 {
            self.0
        }

        fn get(&self) -> Option<Vec<u8>> {
            self.2.fetch_add(1, Ordering::Relaxed);
            Some(self.1.lock().unwrap().clone())
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Thing {
        text: String,
        stays: bool,
    }

    impl Body for Thing {
        fn may_leave(&self) -> bool {
            !self.stays
        }
    }

    fn thing(number: usize) -> Thing {
        Thing {
            text: number.to_string().repeat(100),
            stays: number.is_multiple_of(7),
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_read_back_once_while_it_is_used() {
        let elsewhere = Arc::new(Elsewhere::default());
        let spill: Arc<dyn Spill> = Arc::<Elsewhere>::clone(&elsewhere);
        let reads = || elsewhere.reads.load(Ordering::Relaxed);
        let mut room = Room::of(10_000, spill);
        let mut bodies = Bodies::new();
        for number in 0..1_000 {
            bodies.insert(number, thing(number), &mut room);
        }
        let put = elsewhere.last.load(Ordering::Relaxed);
        assert!((700..900).contains(&put) && room.away == put, "{put}");
        for round in 0..3 {
            for number in 0..1_000 {
                assert_eq!(
                    *bodies.get(&number, &room).unwrap(),
                    thing(number),
                    "{round}"
                );
            }
            assert_eq!(reads(), put, "each was read once");
        }
        assert!(bodies.is_full(&room));
        let before = bodies.clone();
        bodies.clear();
        // What was on the desk stays at hand on the next, and is gone from the one after where nobody asked for it.
        for number in 0..100 {
            assert_eq!(*bodies.get(&number, &room).unwrap(), thing(number));
        }
        assert_eq!(reads(), put);
        bodies.clear();
        let kept = bodies.lent(&50, &room).unwrap();
        assert!(matches!(kept, Lent::Here(_)));
        let gone = bodies.lent(&500, &room).unwrap();
        assert!(matches!(gone, Lent::Read(_)) && *gone == thing(500));
        assert_eq!(reads(), put + 1);
        assert_eq!(*before.get(&500, &room).unwrap(), thing(500));
        assert_eq!(reads(), put + 1, "an earlier state has its own");

        let held = room.held;
        bodies.insert(500, thing(501), &mut room);
        assert_eq!(*bodies.get(&500, &room).unwrap(), thing(501));
        assert_eq!(*before.get(&500, &room).unwrap(), thing(500));
        assert_eq!(room.held, held);
        for number in 0..1_000 {
            bodies.remove(&number, &mut room);
            assert!(!bodies.has(&number) && bodies.get(&number, &room).is_none());
        }
        assert_eq!((room.held, room.is_spilled()), (0, false));
    }

    #[test]
    fn what_cannot_be_put_aside_stays_and_what_is_no_body_is_damage() {
        let elsewhere = Arc::new(Elsewhere::default());
        let spill: Arc<dyn Spill> = Arc::<Elsewhere>::clone(&elsewhere);
        let mut room = Room::of(0, spill);
        let mut bodies = Bodies::new();
        elsewhere.is_full.store(true, Ordering::Relaxed);
        bodies.insert(1, thing(1), &mut room);
        assert_eq!(*bodies.get(&1, &room).unwrap(), thing(1));
        assert!(room.held > 0 && room.is_sound());

        let there: Arc<dyn Spilled> = Arc::new(There(9, Mutex::new(b"{".to_vec()), Arc::default()));
        bodies.all.insert(2, Lies::Away(there));
        assert!(bodies.get(&2, &room).is_none() && bodies.has(&2));
        assert!(!room.is_sound());
    }
}
