//! The world as it was, moved along the changes of a log: under the policies of then, or under others in their place.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::error::{Unfit, Unwritten};
use super::super::rows;
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
        draft: Option<Arc<Compiled>>,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            library: Arc::clone(library),
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
            Some(reached) if change == reached => return Ok(self.then()),
            _ => {}
        }
        let since = self.seen.as_ref().and(self.reached);
        let rows = rows::changed(&self.store, since, change).await?;
        if since.is_none() {
            self.misfits.clear();
        }
        self.reached = Some(change);
        self.seen = self.moved(&rows, change).ok();
        Ok(self.then())
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
        let empty = World::empty(organization, &self.library);
        match &self.draft {
            Some(draft) => empty.under(draft).0,
            None => empty,
        }
    }
}
