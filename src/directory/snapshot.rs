//! The directory in memory as of one index of the log: shared by reference, changed by making another.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use cedar_policy::{Entity, EntityUid, EvalResult, Schema};
use chrono::{DateTime, Utc};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::DirectoryError;
use super::change::{Row, RowId};
use super::entity::{self, Shape};
use super::object::{Body, Kind, Object, Organization, OwnEntity, OwnLibrary, Ref, Share, User};

/// A stored value and the index at which it took effect.
#[derive(Debug, Clone)]
pub struct Stored<T> {
    /// The value.
    pub value: T,
    /// The index of the entry since which it holds.
    pub from_index: u64,
}

/// An entity of the tenant's own types.
#[derive(Debug, Clone)]
struct Own {
    uid: EntityUid,
    json: OwnEntity,
}

/// The directory as of one index of the log.
#[derive(Clone)]
pub struct Snapshot {
    org: Ref,
    as_of: u64,
    objects: RedBlackTreeMapSync<Ref, Arc<Stored<Object>>>,
    shares: RedBlackTreeMapSync<[u8; 16], Arc<Stored<Share>>>,
    shares_of: HashTrieMapSync<Ref, Arc<Vec<[u8; 16]>>>,
    own: RedBlackTreeMapSync<[u8; 16], Arc<Stored<Own>>>,
    own_ids: HashTrieMapSync<EntityUid, [u8; 16]>,
    shapes: HashTrieMapSync<EntityUid, Arc<Shape>>,
    library: Arc<OwnLibrary>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("org", &self.org)
            .field("as_of", &self.as_of)
            .finish_non_exhaustive()
    }
}

/// How far attributes are followed: one step further than the level to which every policy is validated.
pub const DEPTH: usize = 3;

impl Snapshot {
    /// Nothing yet but the organization's singletons.
    ///
    /// # Errors
    /// Cedar refuses a value.
    pub fn empty(org: Ref) -> Result<Self, DirectoryError> {
        let mut shapes = HashTrieMapSync::new_sync();
        for kind in Kind::SINGLETONS {
            let shape = entity::singleton(*kind, org)?;
            shapes.insert_mut(shape.entity.uid(), Arc::new(shape));
        }
        Ok(Self {
            org,
            as_of: 0,
            objects: RedBlackTreeMapSync::new_sync(),
            shares: RedBlackTreeMapSync::new_sync(),
            shares_of: HashTrieMapSync::new_sync(),
            own: RedBlackTreeMapSync::new_sync(),
            own_ids: HashTrieMapSync::new_sync(),
            shapes,
            library: Arc::default(),
        })
    }

    /// The organization.
    pub const fn org(&self) -> Ref {
        self.org
    }

    /// The index of the last change that it knows.
    pub const fn as_of(&self) -> u64 {
        self.as_of
    }

    /// The tenant's own schema and policies.
    pub const fn library(&self) -> &Arc<OwnLibrary> {
        &self.library
    }

    /// The organization's record.
    ///
    /// # Errors
    /// A tenant without one: its first change has not been written.
    pub fn organization(&self) -> Result<&Organization, DirectoryError> {
        match self.object(self.org) {
            Some(Stored {
                value: Object::Organization(organization),
                ..
            }) => Ok(organization),
            _ => Err(DirectoryError::NoOrganization),
        }
    }

    /// An object.
    pub fn object(&self, reference: Ref) -> Option<&Stored<Object>> {
        self.objects.get(&reference).map(AsRef::as_ref)
    }

    /// A person.
    pub fn user(&self, reference: Ref) -> Option<&User> {
        match self.object(reference) {
            Some(Stored {
                value: Object::User(user),
                ..
            }) => Some(user),
            _ => None,
        }
    }

    /// The objects of a kind, in the order of their identifiers, after `after`.
    pub fn objects_of(
        &self,
        kind: Kind,
        after: Option<Ref>,
    ) -> impl Iterator<Item = (Ref, &Stored<Object>)> {
        let start = match after {
            Some(after) => std::ops::Bound::Excluded(after),
            None => std::ops::Bound::Included(Ref::new(kind, [0; 16])),
        };
        let end = std::ops::Bound::Included(Ref::new(kind, [0xff; 16]));
        self.objects
            .range((start, end))
            .map(|(reference, stored)| (*reference, stored.as_ref()))
    }

    /// Every object.
    pub fn objects(&self) -> impl Iterator<Item = (Ref, &Stored<Object>)> {
        self.objects
            .iter()
            .map(|(reference, stored)| (*reference, stored.as_ref()))
    }

    /// A share.
    pub fn share(&self, id: [u8; 16]) -> Option<&Stored<Share>> {
        self.shares.get(&id).map(AsRef::as_ref)
    }

    /// Every share, in the order of their identifiers.
    pub fn shares(&self) -> impl Iterator<Item = ([u8; 16], &Stored<Share>)> {
        self.shares
            .iter()
            .map(|(id, stored)| (*id, stored.as_ref()))
    }

    /// The shares of one resource.
    pub fn shares_of(&self, resource: Ref) -> impl Iterator<Item = ([u8; 16], &Stored<Share>)> {
        self.shares_of
            .get(&resource)
            .into_iter()
            .flat_map(|ids| ids.iter())
            .filter_map(|id| self.share(*id).map(|share| (*id, share)))
    }

    /// The row of an entity of the tenant's own types.
    pub fn own_row(&self, uid: &EntityUid) -> Option<RowId> {
        self.own_ids.get(uid).map(|id| RowId::Own(*id))
    }

    /// The entities of the tenant's own types, in a stable order, after `after`.
    pub fn own(
        &self,
        after: Option<[u8; 16]>,
    ) -> impl Iterator<Item = ([u8; 16], &EntityUid, &OwnEntity)> {
        let start = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.own
            .range((start, std::ops::Bound::Unbounded))
            .map(|(id, stored)| (*id, &stored.value.uid, &stored.value.json))
    }

    /// An entity as Cedar sees it.
    pub fn entity(&self, uid: &EntityUid) -> Option<&Shape> {
        self.shapes.get(uid).map(AsRef::as_ref)
    }

    /// The containers above an object, the nearest first; the organization last.
    pub fn above(&self, reference: Ref) -> Vec<Ref> {
        let mut above = Vec::new();
        let mut at = reference;
        // A chain is at most five long; a longer one would be a loop.
        while above.len() < 8 {
            let Some(parent) = self.object(at).and_then(|stored| stored.value.parent()) else {
                break;
            };
            above.push(parent);
            at = parent;
        }
        if at != self.org && above.last() != Some(&self.org) {
            above.push(self.org);
        }
        above
    }

    /// What a question about these needs: them, what they are in, and what attributes reach within [`DEPTH`] steps.
    pub fn slice(&self, starts: impl IntoIterator<Item = EntityUid>) -> Vec<Entity> {
        let mut seen = HashSet::new();
        let mut slice = Vec::new();
        // Breadth first: what a path of k attributes reaches is met with at least DEPTH - k steps left.
        let mut queue: VecDeque<(EntityUid, usize)> =
            starts.into_iter().map(|uid| (uid, DEPTH)).collect();
        while let Some((uid, depth)) = queue.pop_front() {
            if seen.contains(&uid) {
                continue;
            }
            let Some(shape) = self.entity(&uid) else {
                continue;
            };
            if depth > 0 {
                queue.extend(shape.points_to.iter().map(|to| (to.clone(), depth - 1)));
            }
            slice.push(shape.entity.clone());
            // What it is in matters by name alone, but the chain upwards must be whole.
            queue.extend(shape.parents.iter().map(|parent| (parent.clone(), depth)));
            seen.insert(uid);
        }
        slice
    }

    /// The same with these rows, as of that index.
    ///
    /// # Errors
    /// A row that Cedar refuses: nothing is changed.
    pub fn with(&self, rows: &[Row], index: u64, schema: &Schema) -> Result<Self, DirectoryError> {
        let mut next = self.clone();
        next.as_of = index;
        for row in rows {
            match row {
                Row::Put(id, body) => next.put(*id, body, index, schema)?,
                Row::End(id) => next.end(*id)?,
            }
        }
        Ok(next)
    }

    /// The same entities of the tenant's own types under another schema.
    ///
    /// # Errors
    /// One of them does not fit the schema.
    pub fn reshaped(&self, schema: &Schema) -> Result<Self, DirectoryError> {
        let mut next = self.clone();
        for (_, stored) in &self.own {
            let shape = own_shape(&stored.value.json, schema)?;
            next.shapes
                .insert_mut(stored.value.uid.clone(), Arc::new(shape));
        }
        Ok(next)
    }

    fn put(
        &mut self,
        id: RowId,
        body: &Body,
        index: u64,
        schema: &Schema,
    ) -> Result<(), DirectoryError> {
        match (id, body) {
            (RowId::Object(reference), Body::Object(object)) if reference.kind == object.kind() => {
                let before = self.held();
                self.objects.insert_mut(
                    reference,
                    Arc::new(Stored {
                        value: object.clone(),
                        from_index: index,
                    }),
                );
                self.shape(reference, object)?;
                if self.held() != before {
                    self.hold()?;
                }
            }
            (RowId::Share(id), Body::Share(share)) => {
                let mut of: Vec<_> = self
                    .shares_of
                    .get(&share.resource)
                    .map(|of| of.to_vec())
                    .unwrap_or_default();
                if !of.contains(&id) {
                    of.push(id);
                }
                self.shares_of.insert_mut(share.resource, Arc::new(of));
                self.shares.insert_mut(
                    id,
                    Arc::new(Stored {
                        value: share.clone(),
                        from_index: index,
                    }),
                );
            }
            (RowId::Own(id), Body::Own(own)) => {
                let shape = own_shape(own, schema)?;
                let uid = shape.entity.uid();
                self.own_ids.insert_mut(uid.clone(), id);
                self.shapes.insert_mut(uid.clone(), Arc::new(shape));
                self.own.insert_mut(
                    id,
                    Arc::new(Stored {
                        value: Own {
                            uid,
                            json: own.clone(),
                        },
                        from_index: index,
                    }),
                );
            }
            (RowId::Library, Body::Library(library)) => self.library = Arc::new(library.clone()),
            (id, _) => return Err(DirectoryError::WrongBody { id: id.to_string() }),
        }
        Ok(())
    }

    /// How many legal holds stand on the organization.
    fn held(&self) -> i64 {
        self.organization().map_or(0, |one| one.holds)
    }

    fn shape(&mut self, reference: Ref, object: &Object) -> Result<(), DirectoryError> {
        let shape = entity::shape(reference, object, self.org, self.held())?;
        self.shapes.insert_mut(shape.entity.uid(), Arc::new(shape));
        Ok(())
    }

    /// A hold on the organization holds whatever it has: every object looks otherwise to Cedar.
    fn hold(&mut self) -> Result<(), DirectoryError> {
        let objects = self.objects.clone();
        for (reference, stored) in &objects {
            self.shape(*reference, &stored.value)?;
        }
        Ok(())
    }

    fn end(&mut self, id: RowId) -> Result<(), DirectoryError> {
        match id {
            RowId::Object(reference) => {
                self.objects.remove_mut(&reference);
                self.shapes.remove_mut(&entity::uid(reference)?);
            }
            RowId::Share(id) => {
                if let Some(stored) = self.shares.get(&id).cloned() {
                    let resource = stored.value.resource;
                    let left: Vec<_> = self
                        .shares_of
                        .get(&resource)
                        .map(|of| of.iter().copied().filter(|other| *other != id).collect())
                        .unwrap_or_default();
                    self.shares_of.insert_mut(resource, Arc::new(left));
                    self.shares.remove_mut(&id);
                }
            }
            RowId::Own(id) => {
                if let Some(stored) = self.own.get(&id).cloned() {
                    self.own_ids.remove_mut(&stored.value.uid);
                    self.shapes.remove_mut(&stored.value.uid);
                    self.own.remove_mut(&id);
                }
            }
            RowId::Library => self.library = Arc::default(),
        }
        Ok(())
    }
}

/// Whether a share counts at this time.
pub fn counts_at(share: &Share, now: DateTime<Utc>) -> bool {
    share.expires_at.is_none_or(|expires_at| now < expires_at)
}

/// Reads an entity of the tenant's own types under its schema.
///
/// # Errors
/// It does not fit the schema.
pub fn own_shape(own: &OwnEntity, schema: &Schema) -> Result<Shape, DirectoryError> {
    let entity = Entity::from_json_value(own.entity.clone(), Some(schema)).map_err(|cause| {
        DirectoryError::OwnEntity {
            what: own_name(&own.entity),
            cause: miette_text(&cause),
        }
    })?;
    let mut points_to = Vec::new();
    for (_, value) in entity.attrs() {
        if let Ok(value) = value {
            collect(&value, &mut points_to);
        }
    }
    for (_, value) in entity.tags() {
        if let Ok(value) = value {
            collect(&value, &mut points_to);
        }
    }
    let (_, _, parents) = entity.clone().into_inner();
    Ok(Shape {
        entity,
        points_to,
        parents: parents.into_iter().collect(),
    })
}

/// An error of Cedar's with what it says beneath.
fn miette_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn own_name(entity: &serde_json::Value) -> String {
    entity
        .get("uid")
        .map(ToString::to_string)
        .unwrap_or_else(|| "an entity without a uid".into())
}

fn collect(value: &EvalResult, into: &mut Vec<EntityUid>) {
    match value {
        EvalResult::EntityUid(uid) => into.push(uid.clone()),
        EvalResult::Set(set) => set.iter().for_each(|value| collect(value, into)),
        EvalResult::Record(record) => record.iter().for_each(|(_, value)| collect(value, into)),
        EvalResult::Bool(_)
        | EvalResult::Long(_)
        | EvalResult::String(_)
        | EvalResult::ExtensionValue(_) => {}
    }
}
