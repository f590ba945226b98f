//! What an evaluation sees of entities: one attribute, or what is above one, at a time. Nothing is gathered for it beforehand.

use std::sync::Arc;

use cedar_policy::RestrictedExpression;
use serde::{Deserialize, Serialize};

use super::value::{Members, Uid, Value, member};

/// What an entity has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// There is no such entity.
    NoEntity,
    /// It has no such attribute.
    Absent,
    /// This.
    Is(Value),
}

/// The entities as of one moment.
pub trait View {
    /// An attribute of an entity.
    fn attribute(&self, of: &Uid, name: &str) -> Attribute;

    /// Shows everything that the entity is in, directly or not, until `found` says that it is enough; whether it did. What is met twice
    /// may be shown twice.
    fn above(&self, of: &Uid, found: &mut dyn FnMut(&Uid) -> bool) -> bool;

    /// What the entity is in directly. Asked only where somebody wants to know how it is in something.
    fn parents(&self, of: &Uid) -> Vec<Uid>;

    /// What a question about these needs, in Cedar's own form: them, what they are in, and what attributes reach within
    /// [`DEREFERENCE_LEVEL`](super::DEREFERENCE_LEVEL). Asked only where Cedar itself has to evaluate.
    /// Nothing where Cedar has no word for a value.
    fn slice(&self, starts: &[Uid]) -> Option<Vec<cedar_policy::Entity>>;
}

/// An entity of a tenant's own types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    uid: Uid,
    attributes: Box<Members>,
    /// Read by Cedar alone: no compiled policy does.
    tags: Box<Members>,
    parents: Box<[Uid]>,
}

impl Entity {
    /// One without attributes and parents.
    #[must_use]
    pub fn bare(uid: Uid) -> Self {
        Self {
            uid,
            attributes: Box::default(),
            tags: Box::default(),
            parents: Box::default(),
        }
    }

    /// Takes over what Cedar has read; `named` gives the one copy of a name that all entities share. Nothing where a value cannot be
    /// represented.
    #[must_use]
    pub fn from_cedar(
        entity: &cedar_policy::Entity,
        mut named: impl FnMut(&str) -> Arc<str>,
    ) -> Option<Self> {
        let (mut attributes, mut tags) = (Vec::new(), Vec::new());
        for (name, value) in entity.attrs() {
            attributes.push((named(name), Value::from_cedar(&value.ok()?)?));
        }
        for (name, value) in entity.tags() {
            tags.push((named(name), Value::from_cedar(&value.ok()?)?));
        }
        attributes.sort_unstable();
        tags.sort_unstable();
        let (uid, _, parents) = entity.clone().into_inner();
        let mut parents: Vec<Uid> = parents.iter().map(Uid::from).collect();
        parents.sort_unstable();
        Some(Self {
            uid: Uid::from(&uid),
            attributes: attributes.into(),
            tags: tags.into(),
            parents: parents.into(),
        })
    }

    /// The same with these attributes in the place of those of their names.
    pub(super) fn with(&self, said: Vec<(Arc<str>, Value)>) -> Self {
        let mut attributes: Vec<_> = self.attributes.to_vec();
        attributes.retain(|(name, _)| said.iter().all(|(other, _)| other != name));
        attributes.extend(said);
        attributes.sort_unstable();
        Self {
            attributes: attributes.into(),
            ..self.clone()
        }
    }

    /// Its name.
    #[must_use]
    pub const fn uid(&self) -> &Uid {
        &self.uid
    }

    /// What it is in directly.
    #[must_use]
    pub const fn parents(&self) -> &[Uid] {
        &self.parents
    }

    /// One of its attributes.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Attribute {
        match member(&self.attributes, name) {
            Some(value) => Attribute::Is(value.clone()),
            None => Attribute::Absent,
        }
    }

    /// How many sets and records lie within one another in it.
    #[must_use]
    pub fn depth(&self) -> usize {
        let all = self.attributes.iter().chain(&self.tags);
        all.map(|(_, value)| value.depth()).max().unwrap_or(0)
    }

    /// The entities that its attributes and tags name.
    #[must_use]
    pub fn points_to(&self) -> Vec<Uid> {
        let mut found = Vec::new();
        for (_, value) in self.attributes.iter().chain(&self.tags) {
            value.each_entity(&mut |uid| found.push(uid.clone()));
        }
        found
    }

    /// The same in Cedar's own form; nothing where that has no word for a value.
    #[must_use]
    pub fn to_cedar(&self) -> Option<cedar_policy::Entity> {
        let attributes: Vec<_> = expressions(&self.attributes)?;
        let tags: Vec<_> = expressions(&self.tags)?;
        let parents = self
            .parents
            .iter()
            .map(Uid::to_cedar)
            .collect::<Option<Vec<_>>>()?;
        cedar_policy::Entity::new_with_tags(self.uid.to_cedar()?, attributes, parents, tags).ok()
    }
}

fn expressions<T>(members: &Members) -> Option<T>
where
    T: FromIterator<(String, RestrictedExpression)>,
{
    let members = members
        .iter()
        .map(|(name, value)| Some((name.to_string(), value.to_cedar()?)));
    members.collect()
}
