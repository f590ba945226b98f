//! Entities of a tenant's own types, under the identifiers of their rows and by their names.

use std::ops::Bound;
use std::sync::Arc;

use cedar_policy::Schema;
use imbl::OrdSet;
use rpds::{HashTrieMapSync, HashTrieSetSync};
use serde::{Deserialize, Serialize};

use super::DirectoryError;
use super::bodies::{Bodies, Body, Room};
use super::object::OwnEntity;
use crate::policy::{Entity, Type, Uid};

/// Deeper entities stay in memory: whatever reads them back goes down as far.
const DEEP: usize = 32;

/// An entity of the tenant's own types.
#[derive(Debug, Serialize, Deserialize)]
struct Own {
    entity: Entity,
    /// As it was written, where Cedar would write it otherwise.
    json: Option<Box<str>>,
}

/// All of them.
#[derive(Clone)]
pub(super) struct Entities {
    all: Bodies<[u8; 16], Own>,
    order: OrdSet<[u8; 16]>,
    rows: HashTrieMapSync<Uid, [u8; 16]>,
    /// The names of their attributes, of which they share one copy.
    names: HashTrieSetSync<Arc<str>>,
}

impl Entities {
    pub(super) fn new() -> Self {
        Self {
            all: Bodies::new(),
            order: OrdSet::new(),
            rows: HashTrieMapSync::new_sync(),
            names: HashTrieSetSync::new_sync(),
        }
    }

    pub(super) fn has(&self, row: [u8; 16]) -> bool {
        self.all.has(&row)
    }

    pub(super) fn row(&self, uid: &Uid) -> Option<[u8; 16]> {
        self.rows.get(uid).copied()
    }

    pub(super) fn get(&self, uid: &Uid, room: &Room) -> Option<&Entity> {
        let row = self.rows.get(uid)?;
        self.all.get(row, room).map(|own| &own.entity)
    }

    /// All of them in the order of their rows, after `after`, as they were written.
    pub(super) fn after(
        &self,
        after: Option<[u8; 16]>,
        room: &Room,
    ) -> impl Iterator<Item = ([u8; 16], Uid, OwnEntity)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.order.range((start, Bound::Unbounded));
        rows.filter_map(|row| {
            let own = self.all.lent(row, room)?;
            Some((*row, own.entity.uid().clone(), own.written()))
        })
    }

    /// The ids of those of a type, in no order.
    pub(super) fn of(&self, kind: &Type) -> impl Iterator<Item = &str> {
        let uids = self.rows.keys().filter(|uid| uid.is(kind));
        uids.filter_map(Uid::other_id)
    }

    /// Reads one under its schema, and has it from now on.
    ///
    /// # Errors
    /// It does not fit the schema: nothing is changed.
    pub(super) fn put(
        &mut self,
        row: [u8; 16],
        own: &OwnEntity,
        schema: &Schema,
        room: &mut Room,
    ) -> Result<(), DirectoryError> {
        let own = self.read(own, schema)?;
        self.rows.insert_mut(own.entity.uid().clone(), row);
        self.order.insert(row);
        self.all.insert(row, own, room);
        Ok(())
    }

    pub(super) fn end(&mut self, row: [u8; 16], room: &mut Room) {
        if let Some(own) = self.all.lent(&row, room) {
            self.rows.remove_mut(own.entity.uid());
        }
        self.all.remove(&row, room);
        self.order.remove(&row);
    }

    /// Whether what was read back takes so much memory that it should be [`Entities::clear`]ed.
    pub(super) fn is_full(&self, room: &Room) -> bool {
        self.all.is_full(room)
    }

    /// What was not used for long goes.
    pub(super) fn clear(&mut self) {
        self.all.clear();
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
}

impl Body for Own {
    fn may_leave(&self) -> bool {
        self.entity.depth() <= DEEP
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
