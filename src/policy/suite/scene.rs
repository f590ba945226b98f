//! The entities of a test, as an evaluation sees them.

use std::collections::{BTreeSet, HashMap};

use crate::policy::value::Uid;
use crate::policy::view::{Attribute, Entity, View};

/// All the entities that there are.
#[derive(Debug, Clone, Default)]
pub(super) struct Scene {
    known: HashMap<Uid, (Entity, cedar_policy::Entity)>,
}

impl Scene {
    /// Adds an entity, in the place of one of its name.
    pub(super) fn add(&mut self, entity: Entity, cedar: cedar_policy::Entity) {
        self.known.insert(entity.uid().clone(), (entity, cedar));
    }

    /// One of them.
    pub(super) fn entity(&self, uid: &Uid) -> Option<&Entity> {
        self.known.get(uid).map(|(entity, _)| entity)
    }
}

impl View for Scene {
    fn attribute(&self, of: &Uid, name: &str) -> Attribute {
        self.entity(of)
            .map_or(Attribute::NoEntity, |entity| entity.attribute(name))
    }

    fn above(&self, of: &Uid, found: &mut dyn FnMut(&Uid) -> bool) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![of]);
        while let Some(uid) = next.pop() {
            for parent in self.entity(uid).into_iter().flat_map(Entity::parents) {
                if seen.insert(parent) {
                    if found(parent) {
                        return true;
                    }
                    next.push(parent);
                }
            }
        }
        false
    }

    fn parents(&self, of: &Uid) -> Vec<Uid> {
        let entity = self.entity(of);
        entity
            .map(|entity| entity.parents().to_vec())
            .unwrap_or_default()
    }

    fn slice(&self, _: &[Uid]) -> Option<Vec<cedar_policy::Entity>> {
        Some(
            self.known
                .values()
                .map(|(_, cedar)| cedar.clone())
                .collect(),
        )
    }
}
