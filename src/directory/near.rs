//! A snapshot as policies see it: attributes read off its objects when they are asked for.

use std::collections::{BTreeSet, VecDeque};

use super::entity::Seen;
use super::object::{Kind, Ref};
use super::snapshot::Snapshot;
use crate::policy::{Attribute, DEREFERENCE_LEVEL, Entity, Uid, View};

/// How far attributes are followed for Cedar: one step further than the level to which every policy is validated.
const DEPTH: u32 = DEREFERENCE_LEVEL + 1;

/// A snapshot, and what of it a question asks about most: found once.
pub struct Near<'a> {
    snapshot: &'a Snapshot,
    found: [Option<Seen<'a>>; 3],
}

impl<'a> Near<'a> {
    /// With these two, and their organization.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot, one: &Uid, other: &Uid) -> Self {
        let seen = |uid: &Uid| uid.reference().and_then(|uid| snapshot.seen(uid));
        Self {
            snapshot,
            found: [seen(one), seen(other), snapshot.seen(snapshot.org())],
        }
    }

    fn near(&self, uid: &Uid) -> Option<&Seen<'a>> {
        let reference = uid.reference()?;
        let found = self.found.iter().flatten();
        found.into_iter().find(|seen| seen.reference == reference)
    }
}

impl View for Near<'_> {
    fn attribute(&self, of: &Uid, name: &str) -> Attribute {
        match self.near(of) {
            Some(seen) => seen
                .attribute(name)
                .map_or(Attribute::Absent, Attribute::Is),
            None => self.snapshot.attribute(of, name),
        }
    }

    fn above(&self, of: &Uid, found: &mut dyn FnMut(&Uid) -> bool) -> bool {
        match self.near(of) {
            Some(seen) => self.snapshot.above_seen(*seen, found),
            None => View::above(self.snapshot, of, found),
        }
    }

    fn parents(&self, of: &Uid) -> Vec<Uid> {
        View::parents(self.snapshot, of)
    }

    fn slice(&self, starts: &[Uid]) -> Option<Vec<cedar_policy::Entity>> {
        self.snapshot.slice(starts)
    }
}

impl View for Snapshot {
    fn attribute(&self, of: &Uid, name: &str) -> Attribute {
        match of {
            Uid::Ours(reference) => match self.seen(*reference) {
                Some(seen) => seen
                    .attribute(name)
                    .map_or(Attribute::Absent, Attribute::Is),
                None => Attribute::NoEntity,
            },
            Uid::Other(_) => match self.own_entity(of) {
                Some(entity) => entity.attribute(name),
                None => Attribute::NoEntity,
            },
        }
    }

    fn above(&self, of: &Uid, found: &mut dyn FnMut(&Uid) -> bool) -> bool {
        match of {
            Uid::Ours(reference) => self.above_ours(*reference, found),
            Uid::Other(_) => {
                let mut seen = BTreeSet::new();
                let mut next: Vec<&Uid> = self
                    .own_entity(of)
                    .map(|entity| entity.parents().iter().collect())
                    .unwrap_or_default();
                while let Some(uid) = next.pop() {
                    if !seen.insert(uid) {
                        continue;
                    }
                    if found(uid) {
                        return true;
                    }
                    if let Uid::Ours(reference) = uid
                        && self.above_ours(*reference, found)
                    {
                        return true;
                    }
                    next.extend(self.own_entity(uid).into_iter().flat_map(Entity::parents));
                }
                false
            }
        }
    }

    fn parents(&self, of: &Uid) -> Vec<Uid> {
        let mut parents = Vec::new();
        match of {
            Uid::Ours(reference) => {
                let mut show = |parent: Ref| {
                    parents.push(parent.into());
                    false
                };
                if let Some(seen) = self.seen(*reference) {
                    seen.parents(&mut show);
                }
            }
            Uid::Other(_) => {
                let own = self.own_entity(of).into_iter();
                parents.extend(own.flat_map(Entity::parents).cloned());
            }
        }
        parents
    }

    fn slice(&self, starts: &[Uid]) -> Option<Vec<cedar_policy::Entity>> {
        let mut seen = BTreeSet::new();
        let mut slice = Vec::new();
        // Breadth first: what a path of k attributes reaches is met with at least DEPTH - k steps left.
        let mut queue: VecDeque<(Uid, u32)> =
            starts.iter().map(|uid| (uid.clone(), DEPTH)).collect();
        while let Some((uid, depth)) = queue.pop_front() {
            if seen.contains(&uid) {
                continue;
            }
            // What it is in matters by name alone, but the chain upwards must be whole.
            let (entity, points_to) = match &uid {
                Uid::Ours(reference) => {
                    let Some(one) = self.seen(*reference) else {
                        continue;
                    };
                    one.parents(&mut |parent| {
                        queue.push_back((parent.into(), depth));
                        false
                    });
                    one.to_cedar()?
                }
                Uid::Other(_) => {
                    let Some(own) = self.own_entity(&uid) else {
                        continue;
                    };
                    queue.extend(own.parents().iter().map(|parent| (parent.clone(), depth)));
                    (own.to_cedar()?, own.points_to())
                }
            };
            if depth > 0 {
                queue.extend(points_to.into_iter().map(|to| (to, depth - 1)));
            }
            slice.push(entity);
            seen.insert(uid);
        }
        Some(slice)
    }
}

impl Snapshot {
    /// Everything above something of ours, the nearest first.
    fn above_ours(&self, of: Ref, found: &mut dyn FnMut(&Uid) -> bool) -> bool {
        match self.seen(of) {
            Some(seen) => self.above_seen(seen, found),
            None => false,
        }
    }

    fn above_seen(&self, seen: Seen<'_>, found: &mut dyn FnMut(&Uid) -> bool) -> bool {
        let mut at = Some(seen);
        // A chain is at most five long; a longer one would be a loop.
        for _ in 0..8 {
            let Some(seen) = at else {
                return false;
            };
            let mut next = None;
            let mut show = |parent: Ref| {
                next = Some(parent);
                found(&parent.into())
            };
            if seen.parents(&mut show) {
                return true;
            }
            // Groups, of which somebody may be in many, are in nothing, as is the organization.
            let next = next.filter(|next| ![Kind::Group, Kind::Organization].contains(&next.kind));
            at = next.and_then(|next| self.seen(next));
        }
        false
    }
}
