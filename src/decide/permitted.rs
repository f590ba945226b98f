//! What the door hands out once a reading is allowed and recorded: the state that it was allowed on.

use std::marker::PhantomData;

use super::authorized::Action;
use super::judge::Judgement;
use super::question::Recorded;
use super::work::{Granted, Page};
use super::world::World;
use crate::directory::{Ref, Snapshot};

/// An action of ours that is allowed and recorded, with the state that it was allowed on.
#[derive(Debug)]
pub struct Permitted<A: Action> {
    granted: Granted,
    action: PhantomData<A>,
}

impl<A: Action> From<Granted> for Permitted<A> {
    fn from(granted: Granted) -> Self {
        Self {
            granted,
            action: PhantomData,
        }
    }
}

impl<A: Action> Permitted<A> {
    /// The directory as the decision saw it.
    pub fn snapshot(&self) -> &Snapshot {
        self.granted.world.snapshot()
    }

    /// Directory, policies and links as the decision saw them.
    pub fn world(&self) -> &World {
        &self.granted.world
    }

    /// What was decided and why.
    pub const fn judgement(&self) -> &Judgement {
        &self.granted.judgement
    }

    /// Where it is recorded.
    pub const fn recorded(&self) -> &Recorded {
        &self.granted.recorded
    }
}

/// One page of what may be read; recorded as a search.
#[derive(Debug)]
pub struct Listed {
    page: Page,
}

impl From<Page> for Listed {
    fn from(page: Page) -> Self {
        Self { page }
    }
}

impl Listed {
    /// What may be read, in the order of identifiers.
    pub fn items(&self) -> &[Ref] {
        &self.page.items
    }

    /// Where the next page begins: after this one; nothing: this was the last.
    pub const fn next(&self) -> Option<Ref> {
        self.page.next
    }

    /// The directory as the search saw it.
    pub fn snapshot(&self) -> &Snapshot {
        self.page.world.snapshot()
    }

    /// Where it is recorded.
    pub const fn recorded(&self) -> &Recorded {
        &self.page.recorded
    }
}
