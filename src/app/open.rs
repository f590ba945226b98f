//! The tenants that are open, and beside them those that are being opened: nobody gives way to one that is not there.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::OnceCell;

use super::AppError;
use crate::decide::Door;
use crate::ids::TenantId;

/// A tenant that is being opened, once for everybody who waits.
type Opening = Arc<OnceCell<Arc<Door>>>;

/// The tenants that are open.
pub(super) struct Open {
    held: Mutex<Held>,
}

struct Held {
    doors: LruCache<TenantId, Arc<Door>>,
    /// With how many wait.
    opening: HashMap<TenantId, (Opening, usize)>,
}

impl Held {
    /// Whether this is how a tenant is being opened now.
    fn is_opening(&self, id: TenantId, opening: &Opening) -> bool {
        let held = self.opening.get(&id);
        held.is_some_and(|(held, _)| Arc::ptr_eq(held, opening))
    }
}

impl Open {
    /// Room for so many. Whoever was not asked for the longest gives way: what is under way there is done still.
    pub(super) fn with_room(room: NonZeroUsize) -> Self {
        let held = Held {
            doors: LruCache::new(room),
            opening: HashMap::new(),
        };
        Self {
            held: Mutex::new(held),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one of that id; it is opened where it is not.
    ///
    /// # Errors
    /// It does not open.
    pub(super) async fn door<F>(
        &self,
        id: TenantId,
        open: impl FnOnce() -> F,
    ) -> Result<Arc<Door>, AppError>
    where
        F: Future<Output = Result<Arc<Door>, AppError>>,
    {
        let waiting = match self.found(id) {
            Ok(door) => return Ok(door),
            Err(waiting) => waiting,
        };
        let opened = waiting.opening.get_or_try_init(|| async {
            let door = open().await?;
            self.keep(id, &door, &waiting.opening);
            Ok(door)
        });
        opened.await.cloned()
    }

    /// The open one, or a place among those who wait for it.
    fn found(&self, id: TenantId) -> Result<Arc<Door>, Waiting<'_>> {
        let mut held = self.held();
        if let Some(door) = held.doors.get(&id) {
            if door.is_open() {
                return Ok(Arc::clone(door));
            }
            // A sequencer that ended by itself: the tenant is opened anew, from what is committed.
            held.doors.pop(&id);
        }
        let (opening, waiting) = held.opening.entry(id).or_default();
        *waiting = waiting.saturating_add(1);
        Err(Waiting {
            open: self,
            id,
            opening: Arc::clone(opening),
        })
    }

    /// Keeps one that is open now; not where all were let go of meanwhile.
    fn keep(&self, id: TenantId, door: &Arc<Door>, opening: &Opening) {
        let mut held = self.held();
        if !held.is_opening(id, opening) {
            return;
        }
        held.opening.remove(&id);
        let gives_way = held.doors.push(id, Arc::clone(door));
        // All that it has in memory may go with it, and others wait.
        drop(held);
        drop(gives_way);
    }

    /// Those that are open, at work or not.
    pub(super) fn all(&self) -> Vec<(TenantId, Arc<Door>)> {
        let held = self.held();
        let doors = held.doors.iter();
        doors.map(|(id, door)| (*id, Arc::clone(door))).collect()
    }

    /// Whether it is open or being opened.
    pub(super) fn has(&self, id: TenantId) -> bool {
        let held = self.held();
        held.doors.contains(&id) || held.opening.contains_key(&id)
    }

    /// Lets go of one: whoever asks next opens it anew.
    pub(super) fn let_go(&self, id: TenantId) {
        let gone = self.held().doors.pop(&id);
        drop(gone);
    }

    /// Lets go of all; those that are being opened are not kept.
    pub(super) fn take_all(&self) -> Vec<Arc<Door>> {
        let mut held = self.held();
        held.opening.clear();
        let mut doors = Vec::new();
        while let Some((_, door)) = held.doors.pop_lru() {
            doors.push(door);
        }
        doors
    }
}

/// Somebody who waits for a tenant to be opened. With the last of them its place goes, however it ends: it is not there, it does not open,
/// or nobody waits any more.
struct Waiting<'a> {
    open: &'a Open,
    id: TenantId,
    opening: Opening,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut held = self.open.held();
        if !held.is_opening(self.id, &self.opening) {
            return;
        }
        if let Some((_, waiting)) = held.opening.get_mut(&self.id) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                held.opening.remove(&self.id);
            }
        }
    }
}
