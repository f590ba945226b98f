//! Entities of Cedar's as the engine sees them.

use std::collections::{BTreeMap, BTreeSet};

use cedarkeep::policy::{Attribute, Entity, Type, Uid, View};

/// All the entities that there are.
pub struct Slice {
    cedar: Vec<cedar_policy::Entity>,
    ours: BTreeMap<Uid, Entity>,
}

impl Slice {
    pub fn of(entities: &[cedar_policy::Entity]) -> Self {
        let ours = entities.iter().map(|entity| {
            let entity = Entity::from_cedar(entity, |name| name.into()).unwrap();
            (entity.uid().clone(), entity)
        });
        Self {
            cedar: entities.to_vec(),
            ours: ours.collect(),
        }
    }
}

impl Slice {
    /// The entities of a type.
    pub fn of_type(&self, kind: &Type) -> Vec<Uid> {
        let uids = self.ours.keys().filter(|uid| uid.is(kind));
        uids.cloned().collect()
    }
}

impl View for Slice {
    fn attribute(&self, of: &Uid, name: &str) -> Attribute {
        self.ours
            .get(of)
            .map_or(Attribute::NoEntity, |entity| entity.attribute(name))
    }

    fn above(&self, of: &Uid, found: &mut dyn FnMut(&Uid) -> bool) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![of]);
        while let Some(uid) = next.pop() {
            for parent in self.ours.get(uid).into_iter().flat_map(Entity::parents) {
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
        let ours = self.ours.get(of).into_iter();
        ours.flat_map(Entity::parents).cloned().collect()
    }

    fn slice(&self, _: &[Uid]) -> Option<Vec<cedar_policy::Entity>> {
        Some(self.cedar.clone())
    }
}
