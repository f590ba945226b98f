//! The directory in memory as of one index of the log: shared by reference, changed by making another.

use std::sync::Arc;

use cedar_policy::Schema;
use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use rpds::{HashTrieMapSync, HashTrieSetSync, RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::DirectoryError;
use super::change::{Row, RowId};
use super::connection::{Connection, ConnectionId};
use super::entity::Seen;
use super::object::{
    Body, Identity, Kind, Object, Organization, OwnEntity, OwnLibrary, Ref, Share, User,
};
use super::pointing::{InOrder, Pointing};
use super::policies::{PolicyVersion, Rules, Standing};
use super::roll::Roll;
use super::shares::Shares;
use crate::policy::{Clause, Entity, Type, Uid};

/// A stored value and the index at which it took effect.
#[derive(Debug, Clone)]
pub struct Stored<T> {
    /// The value.
    pub value: T,
    /// The index of the entry since which it holds.
    pub from_index: u64,
}

/// An entity of the tenant's own types.
#[derive(Debug)]
struct Own {
    entity: Entity,
    /// As it was written, where Cedar would write it otherwise.
    json: Option<Box<str>>,
}

/// The directory as of one index of the log.
#[derive(Clone)]
pub struct Snapshot {
    org: Ref,
    as_of: u64,
    objects: Hashed<Ref, Arc<Stored<Object>>>,
    /// The same in the order of their references.
    order: RedBlackTreeSetSync<Ref>,
    /// How many legal holds stand on the organization.
    holds: i64,
    shares: Shares,
    pointing: Pointing,
    roll: Roll,
    own: RedBlackTreeMapSync<[u8; 16], Arc<Own>>,
    own_ids: HashTrieMapSync<Uid, [u8; 16]>,
    /// The names of their attributes, of which they share one copy.
    names: HashTrieSetSync<Arc<str>>,
    library: Arc<OwnLibrary>,
    versions: RedBlackTreeMapSync<u64, Arc<PolicyVersion>>,
    standings: RedBlackTreeMapSync<u64, Arc<Standing>>,
    rules: Arc<Rules>,
    connections: RedBlackTreeMapSync<ConnectionId, Arc<Stored<Connection>>>,
    identities: HashTrieMapSync<Identity, Ref>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("org", &self.org)
            .field("as_of", &self.as_of)
            .finish_non_exhaustive()
    }
}

/// A map of which each state has its own, and which costs a few cache misses to look something up in when it is large.
pub(super) type Hashed<K, V> =
    imbl::GenericHashMap<K, V, RandomState, imbl::shared_ptr::DefaultSharedPtr>;

/// Of how many lists one is put together that a clause gives.
const LISTS_MOST: usize = 1_000;

impl Snapshot {
    /// Nothing yet but the organization's singletons.
    pub fn empty(org: Ref) -> Self {
        Self {
            org,
            as_of: 0,
            objects: Hashed::with_hasher(RandomState::default()),
            order: RedBlackTreeSetSync::new_sync(),
            holds: 0,
            shares: Shares::new(),
            pointing: Pointing::new(),
            roll: Roll::new(),
            own: RedBlackTreeMapSync::new_sync(),
            own_ids: HashTrieMapSync::new_sync(),
            names: HashTrieSetSync::new_sync(),
            library: Arc::default(),
            versions: RedBlackTreeMapSync::new_sync(),
            standings: RedBlackTreeMapSync::new_sync(),
            rules: Arc::default(),
            connections: RedBlackTreeMapSync::new_sync(),
            identities: HashTrieMapSync::new_sync(),
        }
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

    /// A version of the tenant's own policies.
    pub fn version(&self, number: u64) -> Option<&PolicyVersion> {
        self.versions.get(&number).map(AsRef::as_ref)
    }

    /// All versions, the newest first.
    pub fn versions(&self) -> impl Iterator<Item = (u64, &PolicyVersion)> {
        let newest_first = self.versions.iter().rev();
        newest_first.map(|(number, version)| (*number, version.as_ref()))
    }

    /// How far a version has come.
    pub fn standing(&self, number: u64) -> Option<&Standing> {
        self.standings.get(&number).map(AsRef::as_ref)
    }

    /// What counts for all versions.
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
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

    /// Whether something stands in this row.
    pub fn has(&self, row: RowId) -> bool {
        match row {
            RowId::Object(reference) => self.objects.contains_key(&reference),
            RowId::Share(id) => self.shares.get(id).is_some(),
            RowId::Own(id) => self.own.contains_key(&id),
            RowId::Connection(id) => self.connections.contains_key(&id),
            // Their first version is nothing that is told apart from none.
            RowId::Library | RowId::Rules => true,
            RowId::Version(number) => self.versions.contains_key(&number),
            RowId::Standing(number) => self.standings.contains_key(&number),
        }
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

    /// A connection to an identity provider.
    pub fn connection(&self, id: ConnectionId) -> Option<&Stored<Connection>> {
        self.connections.get(&id).map(AsRef::as_ref)
    }

    /// All of them, in a stable order.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionId, &Stored<Connection>)> {
        self.connections
            .iter()
            .map(|(id, stored)| (*id, stored.as_ref()))
    }

    /// Whom an identity provider means.
    pub fn identified(&self, identity: &Identity) -> Option<Ref> {
        self.identities.get(identity).copied()
    }

    /// The objects of a kind whose owner this is.
    pub(super) fn owned(&self, owner: Ref, kind: Kind) -> impl Iterator<Item = (Ref, &Object)> {
        let found = self.pointing.to("owner", &owner.into(), (kind, None));
        found
            .into_iter()
            .flatten()
            .filter_map(|one| Some((one, &self.object(one)?.value)))
    }

    /// Who has this address, in small letters.
    pub fn user_at(&self, email: &str) -> Option<Ref> {
        self.roll.of(Kind::User, email)
    }

    /// The invitation under this address, in small letters.
    pub fn invitation_at(&self, email: &str) -> Option<Ref> {
        self.roll.of(Kind::Invitation, email)
    }

    /// The active Admins, in no order.
    pub fn active_admins(&self) -> impl Iterator<Item = Ref> {
        self.roll.admins()
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
        self.order
            .range((start, end))
            .filter_map(|reference| Some((*reference, self.object(*reference)?)))
    }

    /// Every object.
    pub fn objects(&self) -> impl Iterator<Item = (Ref, &Stored<Object>)> {
        self.order
            .iter()
            .filter_map(|reference| Some((*reference, self.object(*reference)?)))
    }

    /// A share.
    pub fn share(&self, id: [u8; 16]) -> Option<&Stored<Share>> {
        self.shares.get(id)
    }

    /// Every share, in the order of their identifiers.
    pub fn shares(&self) -> impl Iterator<Item = ([u8; 16], &Stored<Share>)> {
        self.shares.iter()
    }

    /// The shares of one resource.
    pub fn shares_of(&self, resource: Ref) -> impl Iterator<Item = ([u8; 16], &Stored<Share>)> {
        self.shares.of(resource)
    }

    /// The shares that do not count any more at this time, and are still there.
    pub(super) fn shares_over(
        &self,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = ([u8; 16], &Share)> {
        self.shares
            .over(now)
            .map(|(id, stored)| (id, &stored.value))
    }

    /// The shares of any of these resources for any of these.
    pub fn shares_between(
        &self,
        resources: impl IntoIterator<Item = Ref>,
        grantees: &[Ref],
    ) -> Vec<([u8; 16], &Stored<Share>)> {
        let mut found = Vec::new();
        for resource in resources {
            self.shares.between(resource, grantees, &mut found);
        }
        found
    }

    /// What of a kind is shared with somebody.
    pub fn shared_with(&self, grantee: Ref, kind: Kind) -> impl Iterator<Item = Ref> {
        self.shares.with(grantee, kind)
    }

    /// The objects of a kind after `after` for which a clause holds, each list in the order of their references; nothing where they are not
    /// found by its attributes.
    pub fn pointing(
        &self,
        clause: &Clause,
        kind: Kind,
        after: Option<Ref>,
    ) -> Option<Vec<InOrder<'_>>> {
        let at = (kind, after);
        match clause.path.as_slice() {
            [] => {
                let one = clause.to.reference();
                let one =
                    one.filter(|one| one.kind == kind && after.is_none_or(|after| *one > after));
                let one = one.filter(|one| self.objects.contains_key(one));
                Some(vec![Box::new(one.into_iter())])
            }
            [name] => Some(vec![self.pointing.to(name, &clause.to, at)?]),
            [name, beyond] => {
                let mut lists = Vec::new();
                for one in self.pointing.between(name, beyond, &clause.to)? {
                    // So many lists cost more than a look at everything, one page at a time.
                    if lists.len() == LISTS_MOST {
                        return None;
                    }
                    lists.push(self.pointing.to(name, &one.into(), at)?);
                }
                Some(lists)
            }
            _ => None,
        }
    }

    /// The row of an entity of the tenant's own types.
    pub fn own_row(&self, uid: &Uid) -> Option<RowId> {
        self.own_ids.get(uid).map(|id| RowId::Own(*id))
    }

    /// The entities of the tenant's own types, in a stable order, after `after`.
    pub fn own(
        &self,
        after: Option<[u8; 16]>,
    ) -> impl Iterator<Item = ([u8; 16], &Uid, OwnEntity)> {
        let start = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.own
            .range((start, std::ops::Bound::Unbounded))
            .map(|(id, own)| (*id, own.entity.uid(), own.written()))
    }

    /// The ids of the entities of one of the tenant's own types, in no order.
    pub fn own_of(&self, kind: &Type) -> impl Iterator<Item = &str> {
        let uids = self.own_ids.keys().filter(|uid| uid.is(kind));
        uids.filter_map(Uid::other_id)
    }

    /// An entity of the tenant's own types.
    pub fn own_entity(&self, uid: &Uid) -> Option<&Entity> {
        let id = self.own_ids.get(uid)?;
        self.own.get(id).map(|own| &own.entity)
    }

    /// Whether there is such an entity.
    pub fn is_there(&self, uid: &Uid) -> bool {
        match uid {
            Uid::Ours(reference) => self.seen(*reference).is_some(),
            Uid::Other(_) => self.own_ids.contains_key(uid),
        }
    }

    /// Something of ours as policies see it.
    pub(super) fn seen(&self, reference: Ref) -> Option<Seen<'_>> {
        let object = self.object(reference).map(|stored| &stored.value);
        let single = Kind::SINGLETONS.contains(&reference.kind) && reference.id == self.org.id;
        (object.is_some() || single).then_some(Seen {
            reference,
            object,
            org: self.org,
            above: self.holds,
            idle: self.is_idle(object),
        })
    }

    /// Whether it is a request about something that is not there.
    fn is_idle(&self, object: Option<&Object>) -> bool {
        let Some(Object::AccessRequest(request)) = object else {
            return false;
        };
        let about = request.resource;
        let single = Kind::SINGLETONS.contains(&about.kind) && about.id == self.org.id;
        !single && !self.objects.contains_key(&about)
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
                Row::End(id) => next.end(*id),
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
        for (id, own) in &self.own {
            let again = next.read(&own.written(), schema)?;
            next.own.insert_mut(*id, Arc::new(again));
        }
        Ok(next)
    }

    /// The same, but for those that do not fit it: they are left out, and these are their rows.
    pub fn refitted(&self, schema: &Schema) -> (Self, Vec<RowId>) {
        let (mut next, mut misfits) = (self.clone(), Vec::new());
        for (id, own) in &self.own {
            match next.read(&own.written(), schema) {
                Ok(again) => next.own.insert_mut(*id, Arc::new(again)),
                Err(_) => {
                    next.end(RowId::Own(*id));
                    misfits.push(RowId::Own(*id));
                }
            }
        }
        (next, misfits)
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
                self.forget(reference);
                self.pointing.add(&Seen {
                    reference,
                    object: Some(object),
                    org: self.org,
                    above: 0,
                    idle: false,
                });
                self.roll.add(reference, object);
                match object {
                    Object::Organization(organization) => self.holds = organization.holds,
                    Object::User(user) => {
                        for identity in &user.identities {
                            self.identities.insert_mut(identity.clone(), reference);
                        }
                    }
                    _ => {}
                }
                self.order.insert_mut(reference);
                self.objects.insert(
                    reference,
                    Arc::new(Stored {
                        value: object.clone(),
                        from_index: index,
                    }),
                );
            }
            (RowId::Share(id), Body::Share(share)) => {
                let share = Stored {
                    value: share.clone(),
                    from_index: index,
                };
                self.shares.put(id, share);
            }
            (RowId::Own(id), Body::Own(own)) => {
                let own = self.read(own, schema)?;
                self.own_ids.insert_mut(own.entity.uid().clone(), id);
                self.own.insert_mut(id, Arc::new(own));
            }
            (RowId::Library, Body::Library(library)) => self.library = Arc::new(library.clone()),
            (RowId::Connection(id), Body::Connection(connection)) => {
                let stored = Stored {
                    value: connection.clone(),
                    from_index: index,
                };
                self.connections.insert_mut(id, Arc::new(stored));
            }
            (RowId::Version(number), Body::Version(version)) => {
                self.versions.insert_mut(number, Arc::new(version.clone()));
            }
            (RowId::Standing(number), Body::Standing(standing)) => {
                self.standings
                    .insert_mut(number, Arc::new(standing.clone()));
            }
            (RowId::Rules, Body::Rules(rules)) => self.rules = Arc::new(rules.clone()),
            (id, _) => return Err(DirectoryError::WrongBody { id: id.to_string() }),
        }
        Ok(())
    }

    /// An object is not found any more by what its attributes name.
    fn forget(&mut self, reference: Ref) {
        if let Some(stored) = self.objects.get(&reference).cloned() {
            if let Object::User(user) = &stored.value {
                for identity in &user.identities {
                    self.identities.remove_mut(identity);
                }
            }
            self.roll.remove(reference, &stored.value);
            self.pointing.remove(&Seen {
                reference,
                object: Some(&stored.value),
                org: self.org,
                above: 0,
                idle: false,
            });
        }
    }

    /// Reads an entity of the tenant's own types under its schema.
    fn read(&mut self, own: &OwnEntity, schema: &Schema) -> Result<Own, DirectoryError> {
        let refused = |cause: String| DirectoryError::OwnEntity {
            what: own_name(&own.entity),
            cause,
        };
        let entity = cedar_policy::Entity::from_json_value(own.entity.clone(), Some(schema))
            .map_err(|cause| refused(miette_text(&cause)))?;
        let names = &mut self.names;
        let named = |name: &str| match names.get(name) {
            Some(known) => Arc::clone(known),
            None => {
                let name: Arc<str> = name.into();
                names.insert_mut(Arc::clone(&name));
                name
            }
        };
        let entity = Entity::from_cedar(&entity, named)
            .ok_or_else(|| refused("one of its values is of an unknown kind".into()))?;
        let is_same = in_cedars_words(&entity).as_ref() == Some(&own.entity);
        Ok(Own {
            json: (!is_same).then(|| own.entity.to_string().into()),
            entity,
        })
    }

    fn end(&mut self, id: RowId) {
        match id {
            RowId::Object(reference) => {
                self.forget(reference);
                self.order.remove_mut(&reference);
                self.objects.remove(&reference);
            }
            RowId::Share(id) => self.shares.end(id),
            RowId::Own(id) => {
                if let Some(own) = self.own.get(&id).cloned() {
                    self.own_ids.remove_mut(own.entity.uid());
                    self.own.remove_mut(&id);
                }
            }
            RowId::Library => self.library = Arc::default(),
            RowId::Version(number) => {
                self.versions.remove_mut(&number);
            }
            RowId::Standing(number) => {
                self.standings.remove_mut(&number);
            }
            RowId::Rules => self.rules = Arc::default(),
            RowId::Connection(id) => {
                self.connections.remove_mut(&id);
            }
        }
    }
}

impl Own {
    fn written(&self) -> OwnEntity {
        // INVARIANT: it was written out of a JSON value, or Cedar has written the very same.
        let entity = match &self.json {
            Some(json) => serde_json::from_str(json).unwrap_or_default(),
            None => in_cedars_words(&self.entity).unwrap_or_default(),
        };
        OwnEntity { entity }
    }
}

/// Whether a share counts at this time.
pub fn counts_at(share: &Share, now: DateTime<Utc>) -> bool {
    share.expires_at.is_none_or(|expires_at| now < expires_at)
}

fn in_cedars_words(entity: &Entity) -> Option<serde_json::Value> {
    entity.to_cedar()?.to_json_value().ok()
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
