//! Shares, found by their id, by what they open, and by whom they are for.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::object::{Kind, Ref, Share};
use super::snapshot::{Hashed, Stored};

type ById = RedBlackTreeMapSync<[u8; 16], Arc<Stored<Share>>>;
/// By the other end of each, then by its id.
type ByEnd = RedBlackTreeSetSync<(Ref, [u8; 16])>;
type Ends = Hashed<Ref, ByEnd>;

/// All shares of an organization.
#[derive(Clone)]
pub(super) struct Shares {
    all: ById,
    of: Ends,
    with: Ends,
    /// Those that end, in the order in which they do.
    ending: RedBlackTreeSetSync<(DateTime<Utc>, [u8; 16])>,
}

impl Shares {
    pub(super) fn new() -> Self {
        Self {
            all: RedBlackTreeMapSync::new_sync(),
            of: Hashed::with_hasher(RandomState::default()),
            with: Hashed::with_hasher(RandomState::default()),
            ending: RedBlackTreeSetSync::new_sync(),
        }
    }

    pub(super) fn get(&self, id: [u8; 16]) -> Option<&Stored<Share>> {
        self.all.get(&id).map(AsRef::as_ref)
    }

    /// Those of one resource, in the order of whom they are for.
    pub(super) fn of(&self, resource: Ref) -> impl Iterator<Item = ([u8; 16], &Stored<Share>)> {
        self.met(&self.of, resource)
    }

    /// Those for one grantee, in the order of what they open.
    pub(super) fn to(&self, grantee: Ref) -> impl Iterator<Item = ([u8; 16], &Stored<Share>)> {
        self.met(&self.with, grantee)
    }

    fn met<'a>(
        &'a self,
        ends: &'a Ends,
        at: Ref,
    ) -> impl Iterator<Item = ([u8; 16], &'a Stored<Share>)> {
        let all = ends.get(&at).into_iter().flat_map(|all| all.iter());
        all.filter_map(|(_, id)| self.get(*id).map(|share| (*id, share)))
    }

    /// Those of one resource for any of these; what it costs grows with the fewer of both.
    pub(super) fn between<'a>(
        &'a self,
        resource: Ref,
        grantees: &[Ref],
        found: &mut Vec<([u8; 16], &'a Stored<Share>)>,
    ) {
        let Some(all) = self.of.get(&resource) else {
            return;
        };
        let mut add = |id: [u8; 16]| found.extend(self.get(id).map(|share| (id, share)));
        if all.size() <= grantees.len() {
            let theirs = all.iter().filter(|(grantee, _)| grantees.contains(grantee));
            theirs.for_each(|(_, id)| add(*id));
        } else {
            for grantee in grantees {
                let theirs = all.range(within(*grantee));
                theirs.for_each(|(_, id)| add(*id));
            }
        }
    }

    /// What of a kind is shared with somebody.
    pub(super) fn with(&self, grantee: Ref, kind: Kind) -> impl Iterator<Item = Ref> {
        let all = self.with.get(&grantee).into_iter();
        let of_kind = (
            Bound::Included((Ref::new(kind, [0; 16]), [0; 16])),
            Bound::Included((Ref::new(kind, [0xff; 16]), [0xff; 16])),
        );
        all.flat_map(move |all| all.range(of_kind))
            .map(|(resource, _)| *resource)
    }

    /// Those that do not count any more at this time.
    pub(super) fn over(
        &self,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = ([u8; 16], &Stored<Share>)> {
        let over = self.ending.range(..=(now, [0xff; 16]));
        over.filter_map(|(_, id)| self.get(*id).map(|share| (*id, share)))
    }

    pub(super) fn put(&mut self, id: [u8; 16], share: Stored<Share>) {
        self.end(id);
        let (resource, grantee) = (share.value.resource, share.value.grantee);
        add(&mut self.of, resource, (grantee, id));
        add(&mut self.with, grantee, (resource, id));
        if let Some(end) = share.value.expires_at {
            self.ending.insert_mut((end, id));
        }
        self.all.insert_mut(id, Arc::new(share));
    }

    pub(super) fn end(&mut self, id: [u8; 16]) {
        let Some(share) = self.all.get(&id).map(|stored| stored.value.clone()) else {
            return;
        };
        remove(&mut self.of, share.resource, &(share.grantee, id));
        remove(&mut self.with, share.grantee, &(share.resource, id));
        if let Some(end) = share.expires_at {
            self.ending.remove_mut(&(end, id));
        }
        self.all.remove_mut(&id);
    }
}

fn within(end: Ref) -> impl RangeBounds<(Ref, [u8; 16])> {
    (end, [0; 16])..=(end, [0xff; 16])
}

fn add(map: &mut Ends, at: Ref, entry: (Ref, [u8; 16])) {
    match map.get_mut(&at) {
        Some(set) => set.insert_mut(entry),
        None => {
            let mut set = RedBlackTreeSetSync::new_sync();
            set.insert_mut(entry);
            map.insert(at, set);
        }
    }
}

fn remove(map: &mut Ends, at: Ref, entry: &(Ref, [u8; 16])) {
    if let Some(set) = map.get_mut(&at) {
        set.remove_mut(entry);
        if set.is_empty() {
            map.remove(&at);
        }
    }
}
