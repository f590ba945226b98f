//! The directory as of one index of the log: shared by reference, changed by making another.

use std::sync::Arc;

use cedar_policy::Schema;
use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use imbl::OrdSet;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use serde::{Deserialize, Serialize};

use super::DirectoryError;
use super::bodies::{self, Bodies, Lent, Room};
use super::change::{Row, RowId};
use super::connection::{Connection, ConnectionId};
use super::entities::Entities;
use super::entity::{self, Seen};
use super::object::{
    Body, Identity, Kind, Layer, Object, Organization, OwnEntity, OwnLibrary, Ref, Share, User,
};
use super::pointing::{self, InOrder, Pointing};
use super::policies::{PolicyVersion, Rules, Standing};
use super::roll::Roll;
use super::shares::Shares;
use crate::policy::{Clause, Entity, Type, Uid};

/// A stored value and the index at which it took effect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored<T> {
    /// The value.
    pub value: T,
    /// The index of the entry since which it holds.
    pub from_index: u64,
}

/// The directory as of one index of the log.
#[derive(Clone)]
pub struct Snapshot {
    org: Ref,
    as_of: u64,
    room: Room,
    objects: Bodies<Ref, Stored<Object>>,
    /// Their references in order.
    order: OrdSet<Ref>,
    /// How many legal holds stand on the organization.
    holds: i64,
    shares: Shares,
    pointing: Pointing,
    roll: Roll,
    own: Entities,
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

/// The index since which each row is as it is.
pub type Since<'a> = dyn Fn(RowId) -> u64 + 'a;

/// Of how many lists one is put together that a clause gives.
const LISTS_MOST: usize = 1_000;

impl Snapshot {
    /// Nothing yet but the organization's singletons.
    pub fn empty(org: Ref) -> Self {
        Self {
            org,
            as_of: 0,
            room: Room::unlimited(),
            objects: Bodies::new(),
            order: OrdSet::new(),
            holds: 0,
            shares: Shares::new(),
            pointing: Pointing::new(),
            roll: Roll::new(),
            own: Entities::new(),
            library: Arc::default(),
            versions: RedBlackTreeMapSync::new_sync(),
            standings: RedBlackTreeMapSync::new_sync(),
            rules: Arc::default(),
            connections: RedBlackTreeMapSync::new_sync(),
            identities: HashTrieMapSync::new_sync(),
        }
    }

    /// Nothing yet, and no more in memory than there is room for.
    #[must_use]
    pub fn within(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// Whether everything that it was asked for could be read back: else nothing that was computed of it counts.
    pub fn is_sound(&self) -> bool {
        self.room.is_sound()
    }

    /// Whether something of it has to be read back, which may wait for a disk.
    pub const fn is_spilled(&self) -> bool {
        self.room.is_spilled()
    }

    /// The same with a desk of its own, for whoever looks at much: it takes no room from others.
    #[must_use]
    pub fn apart(&self) -> Self {
        let mut next = self.clone();
        next.objects.clear();
        next.own.clear();
        next
    }

    /// Whether what was read back takes so much memory that it should be [`Snapshot::cleared`].
    pub fn is_full(&self) -> bool {
        self.objects.is_full(&self.room) || self.own.is_full(&self.room)
    }

    /// The same, without what was read back and not used for long.
    #[must_use]
    pub fn cleared(&self) -> Self {
        let mut next = self.clone();
        next.clear();
        next
    }

    fn clear(&mut self) {
        if self.objects.is_full(&self.room) {
            self.objects.clear();
        }
        if self.own.is_full(&self.room) {
            self.own.clear();
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
        self.objects.get(&reference, &self.room)
    }

    /// The same for a moment, for a look at many.
    pub fn lent(&self, reference: Ref) -> Option<Lent<'_, Stored<Object>>> {
        self.objects.lent(&reference, &self.room)
    }

    /// Whether something stands in this row.
    pub fn has(&self, row: RowId) -> bool {
        match row {
            RowId::Object(reference) => self.objects.has(&reference),
            RowId::Share(id) => self.shares.get(id).is_some(),
            RowId::Own(id) => self.own.has(id),
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

    /// What of a kind somebody owns.
    pub(super) fn owned_of(&self, owner: Ref, kind: Kind) -> InOrder<'_> {
        let found = self.pointing.to("owner", &owner.into(), (kind, None));
        found.unwrap_or_else(|| Box::new(std::iter::empty()))
    }

    /// The objects of any kind whose owner this is.
    pub(super) fn all_owned(&self, owner: Ref) -> InOrder<'_> {
        self.pointing.all_to("owner", &owner.into())
    }

    /// The objects of a kind whose audience this is.
    pub(super) fn audience_of(&self, group: Ref, kind: Kind) -> InOrder<'_> {
        let found = self.pointing.to("audience", &group.into(), (kind, None));
        found.unwrap_or_else(|| Box::new(std::iter::empty()))
    }

    /// The memories of a layer.
    pub(super) fn memories_of(&self, layer: Layer) -> InOrder<'_> {
        let found = entity::layer(layer)
            .and_then(|layer| self.pointing.to("layer", &layer, (Kind::Memory, None)));
        found.unwrap_or_else(|| Box::new(std::iter::empty()))
    }

    /// The objects that hang from this one, in the order of their references.
    pub(super) fn children(&self, of: Ref) -> InOrder<'_> {
        self.pointing.under(of)
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
        let all = self.references_of(kind, after);
        all.filter_map(|reference| Some((reference, self.object(reference)?)))
    }

    /// What they are called, in the same order.
    pub fn references_of(&self, kind: Kind, after: Option<Ref>) -> impl Iterator<Item = Ref> {
        self.order.range(pointing::within(kind, after)).copied()
    }

    /// What all objects are called, in order.
    pub fn references(&self) -> impl Iterator<Item = Ref> {
        self.order.iter().copied()
    }

    /// Every object, each for a moment.
    pub fn objects(&self) -> impl Iterator<Item = (Ref, Lent<'_, Stored<Object>>)> {
        self.order.iter().filter_map(|reference| {
            let stored = self.objects.lent(reference, &self.room)?;
            Some((*reference, stored))
        })
    }

    /// A share.
    pub fn share(&self, id: [u8; 16]) -> Option<&Stored<Share>> {
        self.shares.get(id)
    }

    /// The shares of one resource.
    pub fn shares_of(&self, resource: Ref) -> impl Iterator<Item = ([u8; 16], &Stored<Share>)> {
        self.shares.of(resource)
    }

    /// The shares for a grantee: a person, a group, a thread.
    pub fn shares_to(&self, grantee: Ref) -> impl Iterator<Item = ([u8; 16], &Stored<Share>)> {
        self.shares.to(grantee)
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
                let one = one.filter(|one| self.objects.has(one));
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
        self.own.row(uid).map(RowId::Own)
    }

    /// The entities of the tenant's own types, in a stable order, after `after`.
    pub fn own(&self, after: Option<[u8; 16]>) -> impl Iterator<Item = ([u8; 16], Uid, OwnEntity)> {
        self.own.after(after, &self.room)
    }

    /// The ids of the entities of one of the tenant's own types, in no order.
    pub fn own_of(&self, kind: &Type) -> impl Iterator<Item = &str> {
        self.own.of(kind)
    }

    /// An entity of the tenant's own types.
    pub fn own_entity(&self, uid: &Uid) -> Option<&Entity> {
        self.own.get(uid, &self.room)
    }

    /// Whether there is such an entity.
    pub fn is_there(&self, uid: &Uid) -> bool {
        match uid {
            Uid::Ours(reference) => self.seen(*reference).is_some(),
            Uid::Other(_) => self.own.row(uid).is_some(),
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
        !single && !self.objects.has(&about)
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

    /// The same with these rows, as of that index, each of which is as it is since an index of its own.
    ///
    /// # Errors
    /// A row that Cedar refuses: nothing is changed.
    pub fn with(
        &self,
        rows: &[Row],
        index: u64,
        since: &Since<'_>,
        schema: &Schema,
    ) -> Result<Self, DirectoryError> {
        let mut next = self.clone();
        next.as_of = index;
        next.clear();
        for row in rows {
            match row {
                Row::Put(id, body) => next.put(*id, body, since(*id), schema)?,
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
        for (id, _, own) in self.own(None) {
            next.own.put(id, &own, schema, &mut next.room)?;
        }
        Ok(next)
    }

    /// The same, but for those that do not fit it: they are left out, and these are their rows.
    pub fn refitted(&self, schema: &Schema) -> (Self, Vec<RowId>) {
        let (mut next, mut misfits) = (self.clone(), Vec::new());
        for (id, _, own) in self.own(None) {
            if next.own.put(id, &own, schema, &mut next.room).is_err() {
                next.end(RowId::Own(id));
                misfits.push(RowId::Own(id));
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
                self.order.insert(reference);
                let stored = Stored {
                    value: object.clone(),
                    from_index: index,
                };
                self.objects.insert(reference, stored, &mut self.room);
            }
            (RowId::Share(id), Body::Share(share)) => {
                let share = Stored {
                    value: share.clone(),
                    from_index: index,
                };
                self.shares.put(id, share);
            }
            (RowId::Own(id), Body::Own(own)) => {
                self.own.put(id, own, schema, &mut self.room)?;
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
        if let Some(stored) = self.objects.lent(&reference, &self.room) {
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

    fn end(&mut self, id: RowId) {
        match id {
            RowId::Object(reference) => {
                self.forget(reference);
                self.order.remove(&reference);
                self.objects.remove(&reference, &mut self.room);
            }
            RowId::Share(id) => self.shares.end(id),
            RowId::Own(id) => self.own.end(id, &mut self.room),
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

impl bodies::Body for Stored<Object> {
    /// People, what they are in, and what they sign in with, are asked for all the time, and never so many.
    fn may_leave(&self) -> bool {
        matches!(
            &self.value,
            Object::Thread(_)
                | Object::Document(_)
                | Object::PromptTemplate(_)
                | Object::Tool(_)
                | Object::Assistant(_)
                | Object::AgentDefinition(_)
                | Object::Memory(_)
                | Object::AgentRun(_)
        )
    }
}

/// Whether a share counts at this time.
pub fn counts_at(share: &Share, now: DateTime<Utc>) -> bool {
    share.expires_at.is_none_or(|expires_at| now < expires_at)
}
