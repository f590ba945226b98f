//! What an evaluation sees of entities: one attribute, or what is above one, at a time. Nothing is gathered for it beforehand.

use std::sync::Arc;

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

    /// What a question about these needs, in Cedar's own form: them, what they are in, and what attributes reach within
    /// [`DEREFERENCE_LEVEL`](super::DEREFERENCE_LEVEL). Asked only where Cedar itself has to evaluate.
    /// Nothing where Cedar has no word for a value.
    fn slice(&self, starts: &[Uid]) -> Option<Vec<cedar_policy::Entity>>;
}

/// An entity of a tenant's own types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    uid: Uid,
    attributes: Box<Members>,
    parents: Box<[Uid]>,
}

impl Entity {
    /// One without attributes and parents.
    #[must_use]
    pub fn bare(uid: Uid) -> Self {
        Self {
            uid,
            attributes: Box::default(),
            parents: Box::default(),
        }
    }

    /// Takes over what Cedar has read; `named` gives the one copy of an attribute's name that all entities share. Nothing for one with
    /// tags, and where a value cannot be represented.
    #[must_use]
    pub fn from_cedar(
        entity: &cedar_policy::Entity,
        mut named: impl FnMut(&str) -> Arc<str>,
    ) -> Option<Self> {
        if entity.tags().next().is_some() {
            return None;
        }
        let mut attributes = Vec::new();
        for (name, value) in entity.attrs() {
            attributes.push((named(name), Value::from_cedar(&value.ok()?)?));
        }
        attributes.sort_unstable();
        let (uid, _, parents) = entity.clone().into_inner();
        let mut parents: Vec<Uid> = parents.iter().map(Uid::from).collect();
        parents.sort_unstable();
        Some(Self {
            uid: Uid::from(&uid),
            attributes: attributes.into(),
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

    /// The entities that its attributes name.
    #[must_use]
    pub fn points_to(&self) -> Vec<Uid> {
        let mut found = Vec::new();
        for (_, value) in &self.attributes {
            value.each_entity(&mut |uid| found.push(uid.clone()));
        }
        found
    }

    /// The same in Cedar's own form; nothing where that has no word for a value.
    #[must_use]
    pub fn to_cedar(&self) -> Option<cedar_policy::Entity> {
        let attributes = self.attributes.iter();
        let attributes =
            attributes.map(|(name, value)| Some((name.to_string(), value.to_cedar()?)));
        let attributes = attributes.collect::<Option<_>>()?;
        let parents = self
            .parents
            .iter()
            .map(Uid::to_cedar)
            .collect::<Option<_>>()?;
        cedar_policy::Entity::new(self.uid.to_cedar()?, attributes, parents).ok()
    }
}
