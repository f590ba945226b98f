//! Entities of a tenant's own types as a request tells them.

use std::borrow::Cow;

use serde_json::Value;

use super::question::{Named, Question};
use crate::directory::Snapshot;
use crate::policy::{Attribute, Entity, Uid, View, Vocabulary};

/// What a question says of its subject and of its resource. Where they are one entity, what is said of either is said of both, and what is
/// said of the resource wins.
pub(super) fn said<'a>(question: &'a Question, vocabulary: &Vocabulary) -> [Cow<'a, Named>; 2] {
    let (subject, resource) = (&question.subject, &question.resource);
    let uid = |named: &Named| vocabulary.entity(&named.kind, &named.id);
    if subject.id != resource.id || uid(subject) != uid(resource) {
        return [subject, resource].map(Cow::Borrowed);
    }
    let mut both = resource.clone();
    for (name, value) in &subject.properties {
        // `null` says nothing.
        if both.properties.get(name).is_none_or(Value::is_null) {
            both.properties.insert(name.clone(), value.clone());
        }
    }
    // Each under its own name: one that is no type's is told as it was sent.
    let subject = Named {
        kind: subject.kind.clone(),
        ..both.clone()
    };
    [subject, both].map(Cow::Owned)
}

/// The entities of a snapshot, but for those of the tenant's own types about which the request says something.
pub(super) struct Told<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) own: [Option<&'a Entity>; 2],
}

impl Told<'_> {
    fn own(&self, uid: &Uid) -> Option<&Entity> {
        let own = self.own.into_iter().flatten();
        own.into_iter().find(|entity| entity.uid() == uid)
    }
}

impl View for Told<'_> {
    fn attribute(&self, of: &Uid, name: &str) -> Attribute {
        match self.own(of) {
            Some(entity) => entity.attribute(name),
            None => self.snapshot.attribute(of, name),
        }
    }

    fn above(&self, of: &Uid, found: &mut dyn FnMut(&Uid) -> bool) -> bool {
        // What is in what, a request does not say: it has the parents that are stored.
        View::above(self.snapshot, of, found)
    }

    fn parents(&self, of: &Uid) -> Vec<Uid> {
        View::parents(self.snapshot, of)
    }

    fn slice(&self, starts: &[Uid]) -> Option<Vec<cedar_policy::Entity>> {
        let mut starts = starts.to_vec();
        let told: Vec<&Entity> = self.own.into_iter().flatten().collect();
        for entity in &told {
            starts.extend(entity.points_to());
            starts.extend(entity.parents().iter().cloned());
        }
        let mut slice = self.snapshot.slice(&starts)?;
        for (at, entity) in told.iter().enumerate() {
            let before = told.iter().take(at);
            if before.into_iter().all(|other| other.uid() != entity.uid()) {
                let entity = entity.to_cedar()?;
                slice.retain(|other| other.uid() != entity.uid());
                slice.push(entity);
            }
        }
        Some(slice)
    }
}
