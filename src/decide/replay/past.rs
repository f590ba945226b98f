//! The world as it was, moved along the changes of a log: under the policies of then, or under others in their place.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::error::{Unfit, Unwritten};
use super::super::spill::Spilling;
use super::super::state::{self, Read};
use super::super::world::World;
use crate::directory::{Kind, Ref, Row, RowId};
use crate::policy::{Compiled, Library};
use crate::tenant::Store;

/// A world as of one change.
#[derive(Debug, Clone)]
pub(in crate::decide) struct Seen {
    pub(in crate::decide) world: Arc<World>,
    /// Whether entities of the tenant's own types are missing, since they do not fit the draft's schema.
    pub(in crate::decide) lacks: bool,
}

/// What there is as of a change.
pub(super) enum Then {
    Seen(Seen),
    /// A change before the one that was asked for last: nothing was decided on it any more.
    Gone,
    /// What is stored of it does not fit the build that reads it.
    Unfit,
}

/// The world, at the change that was asked for last.
pub(super) struct Past {
    store: Arc<Store>,
    library: Arc<Library>,
    spilling: Spilling,
    draft: Option<Arc<Compiled>>,
    seen: Option<Seen>,
    /// The rows of entities that do not fit the draft.
    misfits: BTreeSet<RowId>,
    reached: Option<u64>,
}

impl Past {
    /// Nothing yet; under a draft where one is given.
    pub(super) fn of(
        store: &Arc<Store>,
        library: &Arc<Library>,
        spilling: &Spilling,
        draft: Option<Arc<Compiled>>,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            library: Arc::clone(library),
            spilling: spilling.clone(),
            draft,
            seen: None,
            misfits: BTreeSet::new(),
            reached: None,
        }
    }

    /// What was known is not what it should be any more: it is read anew.
    pub(super) fn forget(&mut self) {
        (self.seen, self.reached) = (None, None);
        self.misfits.clear();
    }

    /// The world as of a change: moved on from the one before by what began and ended in between.
    ///
    /// # Errors
    /// The database does not answer, or a row does not open.
    pub(super) async fn at(&mut self, change: u64) -> Result<Then, Unwritten> {
        match self.reached {
            Some(reached) if change < reached => return Ok(Then::Gone),
            Some(reached) if change == reached => {
                self.clear();
                return Ok(self.then());
            }
            _ => {}
        }
        match self.seen.as_ref().and(self.reached) {
            Some(since) => {
                let rows = state::changed(&self.store, since, change).await?;
                self.seen = self.moved(&rows, change).ok();
            }
            None => self.seen = self.read(change).await?,
        }
        self.reached = Some(change);
        Ok(self.then())
    }

    /// Lets go of what was read back of the state and is not used, where that is much.
    fn clear(&mut self) {
        if let Some(seen) = &mut self.seen
            && seen.world.snapshot().is_full()
        {
            seen.world = Arc::new(seen.world.cleared());
        }
    }

    /// The state as of a change; nothing where something of it does not fit.
    async fn read(&mut self, change: u64) -> Result<Option<Seen>, Unwritten> {
        let store = Arc::clone(&self.store);
        for _ in 1..state::TRIES {
            match self.try_read(change).await {
                Err(error) if error.is_of_unknown_key() => store.reload_keys().await?,
                read => return read,
            }
        }
        self.try_read(change).await
    }

    async fn try_read(&mut self, change: u64) -> Result<Option<Seen>, Unwritten> {
        let store = Arc::clone(&self.store);
        self.forget();
        let mut is_fit = true;
        let mut take = |read: Read| {
            if is_fit {
                self.seen = self.moved(&read.rows, change).ok();
                is_fit = self.seen.is_some();
            }
            Ok(())
        };
        state::all_as_of(&store, change, &mut take).await?;
        Ok(self.seen.take())
    }

    fn then(&self) -> Then {
        self.seen
            .as_ref()
            .map_or(Then::Unfit, |seen| Then::Seen(seen.clone()))
    }

    fn moved(&mut self, rows: &[Row], change: u64) -> Result<Seen, Unfit> {
        let before = match &self.seen {
            Some(seen) => Arc::clone(&seen.world),
            None => Arc::new(self.nothing()),
        };
        let (world, misfits) = match &self.draft {
            None => (before.with(rows, change)?, Vec::new()),
            Some(_) => before.with_what_fits(rows, change)?,
        };
        for row in rows {
            self.misfits.remove(&row.id());
        }
        self.misfits.extend(misfits);
        Ok(Seen {
            world: Arc::new(world),
            lacks: !self.misfits.is_empty(),
        })
    }

    fn nothing(&self) -> World {
        let organization = Ref::new(Kind::Organization, *self.store.id().bytes());
        let room = self.spilling.room(self.store.id());
        let empty = World::empty(organization, &self.library).within(room);
        match &self.draft {
            Some(draft) => empty.under(draft).0,
            None => empty,
        }
    }
}
