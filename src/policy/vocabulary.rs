//! The names that a question may use: types and actions, the built-in ones and a tenant's own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, Schema};
use serde_json::Value;

use super::builtin::NAMESPACE;
use super::shape::{Declared, Fields, authzen_name, members, qualified};

/// An action, and what the schema says about it.
#[derive(Debug, Clone)]
pub struct Action {
    name: String,
    uid: EntityUid,
    entity: Entity,
    ancestors: HashSet<EntityUid>,
    groups: BTreeSet<String>,
    principals: Vec<EntityTypeName>,
    resources: Vec<EntityTypeName>,
    context: Fields,
    own: bool,
}

impl Action {
    /// Its AuthZEN name, as in `thread.read`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its uid in Cedar.
    #[must_use]
    pub fn uid(&self) -> &EntityUid {
        &self.uid
    }

    /// The names of the groups that it is in, directly or not: `write` for `group.write`, `scope.content` as it is.
    #[must_use]
    pub fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }

    /// Whether it is in this built-in group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        !self.own && self.groups.contains(group)
    }

    /// Whether it is a built-in action that changes what is kept: what writes, shares and administers does, unless it
    /// only reads; of what runs, starting and cancelling an agent's run.
    #[must_use]
    pub fn is_mutating(&self) -> bool {
        let changes = ["write", "share", "administer"]
            .iter()
            .any(|group| self.is_in(group))
            && !self.name.ends_with(".read");
        changes || (!self.own && ["agent.run", "agent.cancel"].contains(&self.name.as_str()))
    }

    /// The types that may ask for it.
    #[must_use]
    pub fn principals(&self) -> &[EntityTypeName] {
        &self.principals
    }

    /// The types that it may be asked about.
    #[must_use]
    pub fn resources(&self) -> &[EntityTypeName] {
        &self.resources
    }

    /// Whether a tenant added it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// Whether a question about these types is one that the schema allows.
    #[must_use]
    pub fn applies_to(&self, principal: &EntityTypeName, resource: &EntityTypeName) -> bool {
        self.principals.contains(principal) && self.resources.contains(resource)
    }

    /// The action as an entity that knows all its groups; without it `action in` never matches.
    pub(crate) fn entity(&self) -> &Entity {
        &self.entity
    }

    /// The groups that it is in, directly or not, as Cedar names them.
    pub(crate) fn ancestors(&self) -> &HashSet<EntityUid> {
        &self.ancestors
    }

    pub(crate) fn context(&self) -> &Fields {
        &self.context
    }
}

/// All types and actions that a tenant's questions may name.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    types: BTreeMap<String, EntityTypeName>,
    actions: BTreeMap<String, Arc<Action>>,
    by_uid: HashMap<EntityUid, Arc<Action>>,
    own_attributes: HashMap<EntityTypeName, Fields>,
}

impl Vocabulary {
    /// What these fragments (in Cedar's JSON form) declare; `schema` is all of them together.
    pub(crate) fn new(schema: &Schema, fragments: &[&Value]) -> Self {
        let declared = Declared::new(fragments);
        let groups = schema
            .action_entities()
            .unwrap_or_else(|_| Entities::empty());
        let mut vocabulary = Self {
            types: BTreeMap::new(),
            actions: BTreeMap::new(),
            by_uid: HashMap::new(),
            own_attributes: HashMap::new(),
        };
        for (namespace, body) in fragments.iter().filter_map(|f| f.as_object()).flatten() {
            for (name, body) in members(body, "entityTypes") {
                if let Ok(kind) = qualified(namespace, name).parse() {
                    vocabulary.add_type(kind, namespace, body, &declared);
                }
            }
            for (name, body) in members(body, "actions") {
                if let Ok(kind) = qualified(namespace, "Action").parse() {
                    let uid = EntityUid::from_type_name_and_id(kind, EntityId::new(name));
                    let context = body
                        .pointer("/appliesTo/context")
                        .map(|context| declared.fields(namespace, context))
                        .unwrap_or_default();
                    vocabulary.add_action(uid, namespace == NAMESPACE, context, (schema, &groups));
                }
            }
        }
        vocabulary
    }

    fn add_type(
        &mut self,
        kind: EntityTypeName,
        namespace: &str,
        body: &Value,
        declared: &Declared<'_>,
    ) {
        self.types.insert(authzen_name(&kind), kind.clone());
        if namespace != NAMESPACE {
            let fields = body
                .get("shape")
                .map(|shape| declared.fields(namespace, shape))
                .unwrap_or_default();
            self.own_attributes.insert(kind, fields);
        }
    }

    /// Adds an action that something applies to; a group alone is no name for a question.
    fn add_action(
        &mut self,
        uid: EntityUid,
        builtin: bool,
        context: Fields,
        (schema, groups): (&Schema, &Entities),
    ) {
        let principals: Vec<_> = schema
            .principals_for_action(&uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let resources: Vec<_> = schema
            .resources_for_action(&uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        if principals.is_empty() || resources.is_empty() {
            return;
        }
        let ancestors: HashSet<EntityUid> = groups
            .ancestors(&uid)
            .map(|found| found.cloned().collect())
            .unwrap_or_default();
        let action = Arc::new(Action {
            name: uid.id().unescaped().to_owned(),
            entity: Entity::new_no_attrs(uid.clone(), ancestors.clone()),
            groups: ancestors
                .iter()
                .map(|group| {
                    let name = group.id().unescaped();
                    name.strip_prefix("group.").unwrap_or(name).to_owned()
                })
                .collect(),
            ancestors,
            principals,
            resources,
            context,
            own: !builtin,
            uid: uid.clone(),
        });
        self.actions
            .insert(action.name.clone(), Arc::clone(&action));
        self.by_uid.insert(uid, action);
    }

    /// The type that AuthZEN calls so: a tenant's own, else a built-in one.
    #[must_use]
    pub fn entity_type(&self, name: &str) -> Option<&EntityTypeName> {
        self.types.get(name)
    }

    /// The entity that AuthZEN calls so; nothing where its type is unknown.
    #[must_use]
    pub fn entity(&self, kind: &str, id: &str) -> Option<EntityUid> {
        let kind = self.entity_type(kind)?.clone();
        Some(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
    }

    /// What AuthZEN calls a type.
    #[must_use]
    pub fn authzen_name(&self, kind: &EntityTypeName) -> String {
        authzen_name(kind)
    }

    /// Whether a tenant added this type.
    #[must_use]
    pub fn is_own(&self, kind: &EntityTypeName) -> bool {
        self.own_attributes.contains_key(kind)
    }

    /// The action that AuthZEN calls so.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&Arc<Action>> {
        self.actions.get(name)
    }

    /// The action with this uid.
    #[must_use]
    pub fn action_by_uid(&self, uid: &EntityUid) -> Option<&Arc<Action>> {
        self.by_uid.get(uid)
    }

    /// Every action, by name.
    pub fn actions(&self) -> impl Iterator<Item = &Arc<Action>> {
        self.actions.values()
    }

    /// Every type, with its AuthZEN name.
    pub fn types(&self) -> impl Iterator<Item = (&str, &EntityTypeName)> {
        self.types.iter().map(|(name, kind)| (name.as_str(), kind))
    }

    /// The attributes of a type that a tenant added.
    pub(crate) fn own_attributes(&self, kind: &EntityTypeName) -> Option<&Fields> {
        self.own_attributes.get(kind)
    }
}
