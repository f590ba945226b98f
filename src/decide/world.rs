//! What a decision sees: the directory, the policies and the links, all as of one index of the log.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::error::Unfit;
use super::ready::Ready;
use crate::directory::bodies::Room;
use crate::directory::object::{Level, OwnLibrary, Share};
use crate::directory::snapshot::Since;
use crate::directory::{Body, InOrder, Kind, Object, Ref, Row, RowId, Snapshot, change};
use crate::ids;
use crate::policy::{Clause, Compiled, CompiledLink, Library, Link, Question, Uid, narrow};

/// How many things that are shared with somebody are put in order for a page.
const SHARED_MOST: usize = 10_000;

/// The directory, the policies and the links as of one index.
#[derive(Clone)]
pub struct World {
    snapshot: Snapshot,
    compiled: Arc<Compiled>,
    ready: Arc<Ready>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.snapshot.fmt(f)
    }
}

impl World {
    /// A tenant without anything yet.
    pub fn empty(org: Ref, library: &Arc<Library>) -> Self {
        Self {
            snapshot: Snapshot::empty(org),
            compiled: Arc::new(Compiled::builtin(library)),
            ready: Arc::default(),
        }
    }

    /// The same, with no more of it in memory than there is room for.
    #[must_use]
    pub fn within(self, room: Room) -> Self {
        let snapshot = self.snapshot.within(room);
        Self { snapshot, ..self }
    }

    /// The same, without what was read back and not used for long.
    #[must_use]
    pub fn cleared(&self) -> Self {
        let snapshot = self.snapshot.cleared();
        Self {
            snapshot,
            ..self.clone()
        }
    }

    /// The directory.
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The policies.
    pub const fn compiled(&self) -> &Arc<Compiled> {
        &self.compiled
    }

    /// What is compiled before it counts.
    pub const fn ready(&self) -> &Arc<Ready> {
        &self.ready
    }

    /// The same with these rows, as of that index.
    ///
    /// # Errors
    /// A library that does not compile, an entity that does not fit it, a link of nothing: nothing is changed.
    pub fn with(&self, rows: &[Row], index: u64) -> Result<Self, Unfit> {
        self.with_since(rows, index, &|_| index)
    }

    /// The same with rows that are as they are since an index of their own each.
    ///
    /// # Errors
    /// The same.
    pub fn with_since(&self, rows: &[Row], index: u64, since: &Since<'_>) -> Result<Self, Unfit> {
        let mut next = self.clone();
        let (library, rest): (Vec<_>, Vec<_>) = rows.iter().cloned().partition(is_library);
        if let Some(row) = library.last() {
            let own = match row {
                Row::Put(_, Body::Library(own)) => own.clone(),
                Row::Put(..) | Row::End(_) => OwnLibrary::default(),
            };
            let library = Arc::clone(next.compiled.library());
            next.compiled = next.ready.compiled(&library, &own.own())?;
            // Entities that the same change replaces need not fit the new schema in their old form.
            let ended: Vec<_> = rest
                .iter()
                .map(|row| Row::End(row_id(row)))
                .filter(is_own_end)
                .collect();
            let schema = next.compiled.schema();
            let same = own.schema == next.snapshot.library().schema;
            next.snapshot = next.snapshot.with(&ended, index, since, schema)?;
            if !same {
                next.snapshot = next.snapshot.reshaped(schema)?;
            }
        }
        for row in &rest {
            if let Row::Put(RowId::Share(id), Body::Share(share)) = row {
                // One that could not be linked is refused here, and never met later.
                next.compiled.library().link(link(*id, share))?;
            }
        }
        let rows: Vec<Row> = rest.into_iter().chain(library).collect();
        next.snapshot = next
            .snapshot
            .with(&rows, index, since, next.compiled.schema())?;
        Ok(next)
    }

    /// The same directory under other policies of the tenant's own. Entities that do not fit their schema are left out, and these are their
    /// rows.
    pub fn under(&self, compiled: &Arc<Compiled>) -> (Self, Vec<RowId>) {
        let (snapshot, misfits) = self.snapshot.refitted(compiled.schema());
        let next = Self {
            snapshot,
            compiled: Arc::clone(compiled),
            ready: Arc::clone(&self.ready),
        };
        (next, misfits)
    }

    /// The same with those of these rows that fit, as of that index, under the policies that it has: a library among the rows is not one of
    /// them, and of entities that do not fit these are the rows.
    ///
    /// # Errors
    /// Anything else that cannot be.
    pub fn with_what_fits(&self, rows: &[Row], index: u64) -> Result<(Self, Vec<RowId>), Unfit> {
        let rows = rows.iter().filter(|row| !is_library(row)).cloned();
        let rows: Vec<Row> = rows.collect();
        if let Ok(next) = self.with(&rows, index) {
            return Ok((next, Vec::new()));
        }
        let is_own = |row: &Row| matches!(row, Row::Put(RowId::Own(_), _));
        let (own, rest): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_own);
        let (mut next, mut misfits) = (self.with(&rest, index)?, Vec::new());
        for row in own {
            let id = row_id(&row);
            next = match next.with(std::slice::from_ref(&row), index) {
                Ok(next) => next,
                Err(_) => {
                    misfits.push(id);
                    // What it was before it is no more.
                    next.with(&[Row::End(id)], index)?
                }
            };
        }
        Ok((next, misfits))
    }

    /// The links that a question of this principal about this resource may use.
    pub fn links(&self, principal: Ref, resource: Ref) -> Vec<CompiledLink> {
        let parent = self
            .snapshot
            .object(resource)
            .and_then(|stored| stored.value.parent());
        // Links open what is shared one by one; only what hangs from a thread follows a link of something above it.
        let thread = parent.filter(|parent| parent.kind == Kind::Thread);
        let shared = std::iter::once(resource).chain(thread);
        let shares = self
            .snapshot
            .shares_between(shared, &self.grantees(principal));
        let links = shares.into_iter();
        links
            .filter_map(|(id, share)| self.compiled.library().link(link(id, &share.value)).ok())
            .collect()
    }

    /// Whom a share must be for to be this principal's.
    fn grantees(&self, principal: Ref) -> Vec<Ref> {
        let mut all = vec![principal];
        match self.snapshot.object(principal).map(|stored| &stored.value) {
            Some(Object::Agent { definition }) => all.push(*definition),
            Some(Object::User(user)) => all.extend(&user.groups),
            _ => {}
        }
        all
    }

    /// What of a kind may be allowed to somebody: each of it that is, and seldom more, in the order of references after `after`. `question`
    /// is theirs, about any resource of that kind. Nothing where it could be any.
    pub fn among(
        &self,
        question: &Question,
        kind: Kind,
        after: Option<Ref>,
    ) -> Option<InOrder<'_>> {
        let snapshot = &self.snapshot;
        let clauses = narrow(&self.compiled, snapshot, question)?;
        let mut lists = Vec::new();
        for clause in &clauses {
            lists.extend(snapshot.pointing(clause, kind, after)?);
        }
        if let Some(principal) = question.principal().reference() {
            let mut shared = BTreeSet::new();
            for grantee in self.grantees(principal) {
                shared.extend(snapshot.shared_with(grantee, kind).take(SHARED_MOST + 1));
                let threads = snapshot.shared_with(grantee, Kind::Thread);
                for (number, thread) in threads.enumerate() {
                    if number == SHARED_MOST || shared.len() > SHARED_MOST {
                        return None;
                    }
                    let clause = Clause {
                        path: vec!["thread".into()],
                        to: thread.into(),
                    };
                    shared.extend(
                        snapshot
                            .pointing(&clause, kind, after)?
                            .into_iter()
                            .flatten(),
                    );
                }
            }
            // So many are looked at one page at a time, like everything.
            if shared.len() > SHARED_MOST {
                return None;
            }
            let later = shared
                .into_iter()
                .filter(move |one| after.is_none_or(|after| *one > after));
            lists.push(Box::new(later));
        }
        Some(Box::new(merged(lists)))
    }

    /// A built-in entity that is there.
    pub fn known(&self, reference: Ref) -> Option<Uid> {
        let uid = Uid::Ours(reference);
        self.snapshot.is_there(&uid).then_some(uid)
    }
}

/// Several lists in order as one, each element once.
fn merged<'a>(mut lists: Vec<InOrder<'a>>) -> impl Iterator<Item = Ref> + 'a {
    let mut heads: BinaryHeap<Reverse<(Ref, usize)>> = lists
        .iter_mut()
        .enumerate()
        .filter_map(|(at, list)| list.next().map(|one| Reverse((one, at))))
        .collect();
    let mut last = None;
    std::iter::from_fn(move || {
        loop {
            let Reverse((one, at)) = heads.pop()?;
            if let Some(next) = lists.get_mut(at).and_then(Iterator::next) {
                heads.push(Reverse((next, at)));
            }
            if last != Some(one) {
                last = Some(one);
                return Some(one);
            }
        }
    })
}

fn row_id(row: &Row) -> RowId {
    match row {
        Row::Put(id, _) | Row::End(id) => *id,
    }
}

fn is_library(row: &Row) -> bool {
    row_id(row) == RowId::Library
}

fn is_own_end(row: &Row) -> bool {
    matches!(row, Row::End(RowId::Own(_)))
}

fn link(id: [u8; 16], share: &Share) -> Link {
    Link {
        id: ids::text(change::SHARE, &id),
        template: match share.level {
            Level::Viewer => "share-viewer",
            Level::Commenter => "share-commenter",
            Level::Editor => "share-editor",
            Level::Auditor => "auditor",
        }
        .into(),
        principal: share.grantee.into(),
        resource: share.resource.into(),
        expires_at: share.expires_at,
    }
}
