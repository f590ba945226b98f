//! The names that a question may use: types and actions, the built-in ones and a tenant's own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{Entities, EntityId, EntityTypeName, EntityUid, Schema};
use serde_json::Value;

use super::builtin::NAMESPACE;
use super::shape::{Declared, Fields, authzen_name, choices, members, qualified};
use super::value::{Type, Uid};

/// An action, and what the schema says about it.
#[derive(Debug, Clone)]
pub struct Action {
    name: String,
    /// Its place among the actions of its vocabulary; the built-in ones are the first, and have the same in every vocabulary.
    number: u32,
    uid: Uid,
    cedar: EntityUid,
    groups: BTreeSet<String>,
    principals: Vec<Type>,
    resources: Vec<Type>,
    context: Fields,
    own: bool,
}

impl Action {
    /// Its AuthZEN name, as in `thread.read`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its uid.
    #[must_use]
    pub const fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The same as Cedar takes it.
    pub(crate) const fn cedar(&self) -> &EntityUid {
        &self.cedar
    }

    /// Its place among the actions of its vocabulary.
    pub(crate) const fn number(&self) -> u32 {
        self.number
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
    pub fn principals(&self) -> &[Type] {
        &self.principals
    }

    /// The types that it may be asked about.
    #[must_use]
    pub fn resources(&self) -> &[Type] {
        &self.resources
    }

    /// Whether a tenant added it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own
    }

    /// Whether a question about these types is one that the schema allows.
    #[must_use]
    pub fn applies_to(&self, principal: &Type, resource: &Type) -> bool {
        self.principals.contains(principal) && self.resources.contains(resource)
    }

    pub(crate) fn context(&self) -> &Fields {
        &self.context
    }
}

/// All types and actions that a tenant's questions may name.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    types: BTreeMap<String, Type>,
    actions: BTreeMap<String, Arc<Action>>,
    /// Their names, in the order in which the schemas declare them.
    declared: Vec<String>,
    /// Every action and group of actions: the groups that it is in, directly or not.
    above_actions: HashMap<Uid, HashSet<Uid>>,
    action_entities: Vec<cedar_policy::Entity>,
    own_attributes: HashMap<Type, Fields>,
    /// The types whose entities the schema lists, with their ids.
    closed: HashMap<Type, BTreeSet<String>>,
}

impl Vocabulary {
    /// What these fragments (in Cedar's JSON form, and the texts that they come from; the built-in one first) declare; `schema` is all of them together.
    pub(crate) fn new(schema: &Schema, fragments: &[&Value], texts: &[&str]) -> Self {
        let declared = Declared::new(fragments);
        let groups = schema
            .action_entities()
            .unwrap_or_else(|_| Entities::empty());
        let mut vocabulary = Self {
            types: BTreeMap::new(),
            actions: BTreeMap::new(),
            declared: Vec::new(),
            above_actions: above(&groups),
            action_entities: groups.iter().cloned().collect(),
            own_attributes: HashMap::new(),
            closed: HashMap::new(),
        };
        for (namespace, body) in fragments.iter().filter_map(|f| f.as_object()).flatten() {
            for (name, body) in members(body, "entityTypes") {
                if let Ok(kind) = qualified(namespace, name).parse() {
                    vocabulary.add_type(&kind, namespace, body, &declared);
                }
            }
            for (name, body) in members(body, "actions") {
                if let Ok(kind) = qualified(namespace, "Action").parse() {
                    let uid = EntityUid::from_type_name_and_id(kind, EntityId::new(name));
                    let context = body
                        .pointer("/appliesTo/context")
                        .map(|context| declared.fields(namespace, context))
                        .unwrap_or_default();
                    vocabulary.add_action(uid, namespace == NAMESPACE, context, schema);
                }
            }
        }
        let place = |name: &String| {
            let own = vocabulary.actions.get(name).is_some_and(|one| one.own);
            // The first text is the built-in one.
            let text = texts.get(usize::from(own)).copied().unwrap_or_default();
            (own, whole_word(text, name).unwrap_or(usize::MAX))
        };
        let mut declared: Vec<String> = vocabulary.actions.keys().cloned().collect();
        declared.sort_by_cached_key(place);
        vocabulary.declared = declared;
        vocabulary
    }

    fn add_type(
        &mut self,
        kind: &EntityTypeName,
        namespace: &str,
        body: &Value,
        declared: &Declared<'_>,
    ) {
        let name = authzen_name(kind);
        let kind = Type::named(&kind.to_string());
        self.types.insert(name, kind.clone());
        if let Some(choices) = choices(body) {
            self.closed.insert(kind.clone(), choices);
        }
        if namespace != NAMESPACE {
            let fields = body
                .get("shape")
                .map(|shape| declared.fields(namespace, shape))
                .unwrap_or_default();
            self.own_attributes.insert(kind, fields);
        }
    }

    /// Adds an action that something applies to; a group alone is no name for a question.
    fn add_action(&mut self, cedar: EntityUid, builtin: bool, context: Fields, schema: &Schema) {
        let named = |kind: &EntityTypeName| Type::named(&kind.to_string());
        let principals: Vec<_> = schema
            .principals_for_action(&cedar)
            .into_iter()
            .flatten()
            .map(named)
            .collect();
        let resources: Vec<_> = schema
            .resources_for_action(&cedar)
            .into_iter()
            .flatten()
            .map(named)
            .collect();
        if principals.is_empty() || resources.is_empty() {
            return;
        }
        let uid = Uid::from(&cedar);
        let groups = self.above_actions.get(&uid).into_iter().flatten();
        let groups = groups.map(|group| {
            let name = group.id();
            name.strip_prefix("group.").unwrap_or(&name).to_owned()
        });
        let action = Arc::new(Action {
            name: cedar.id().unescaped().to_owned(),
            number: u32::try_from(self.actions.len()).unwrap_or(u32::MAX),
            groups: groups.collect(),
            principals,
            resources,
            context,
            own: !builtin,
            uid,
            cedar,
        });
        self.actions.insert(action.name.clone(), action);
    }

    /// The type that AuthZEN calls so: a tenant's own, else a built-in one.
    #[must_use]
    pub fn entity_type(&self, name: &str) -> Option<&Type> {
        self.types.get(name)
    }

    /// The entity that AuthZEN calls so; nothing where its type is unknown.
    #[must_use]
    pub fn entity(&self, kind: &str, id: &str) -> Option<Uid> {
        Some(Uid::new(self.entity_type(kind)?.clone(), id))
    }

    /// Whether a tenant added this type.
    #[must_use]
    pub fn is_own(&self, kind: &Type) -> bool {
        self.own_attributes.contains_key(kind)
    }

    /// Whether the schema lists all entities of this type.
    #[must_use]
    pub fn is_closed(&self, kind: &Type) -> bool {
        self.closed.contains_key(kind)
    }

    /// The ids of the entities of this type, where the schema lists them.
    #[must_use]
    pub fn choices(&self, kind: &Type) -> Option<&BTreeSet<String>> {
        self.closed.get(kind)
    }

    /// Whether the schema allows an entity of this name: one of a type whose entities it lists is one of them.
    #[must_use]
    pub fn lists(&self, uid: &Uid) -> bool {
        let listed = uid
            .other_id()
            .and_then(|id| Some((self.choices(&uid.kind())?, id)));
        listed.is_none_or(|(choices, id)| choices.contains(id))
    }

    /// The action that AuthZEN calls so.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&Arc<Action>> {
        self.actions.get(name)
    }

    /// The groups that an action or a group of actions is in, directly or not; nothing for what is none.
    pub(crate) fn above_action(&self, uid: &Uid) -> Option<&HashSet<Uid>> {
        match uid {
            Uid::Ours(_) => None,
            Uid::Other(_) => self.above_actions.get(uid),
        }
    }

    /// Every action and group of actions, as Cedar takes them: without them `action in` never matches.
    pub(crate) fn action_entities(&self) -> &[cedar_policy::Entity] {
        &self.action_entities
    }

    /// Every action, by name.
    pub fn actions(&self) -> impl Iterator<Item = &Arc<Action>> {
        self.actions.values()
    }

    /// Every action, in the order in which the schemas declare them.
    pub fn actions_as_declared(&self) -> impl Iterator<Item = &Arc<Action>> {
        self.declared.iter().filter_map(|name| self.action(name))
    }

    /// Every type, with its AuthZEN name.
    pub fn types(&self) -> impl Iterator<Item = (&str, &Type)> {
        self.types.iter().map(|(name, kind)| (name.as_str(), kind))
    }

    /// The attributes of a type that a tenant added.
    pub(crate) fn own_attributes(&self, kind: &Type) -> Option<&Fields> {
        self.own_attributes.get(kind)
    }
}

/// Where a name first stands in a text by itself.
pub(super) fn whole_word(text: &str, name: &str) -> Option<usize> {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    let whole = text.match_indices(name).find(|(at, _)| {
        let before = text
            .get(..*at)
            .and_then(|before| before.chars().next_back());
        let after = text
            .get(at.saturating_add(name.len())..)
            .and_then(|after| after.chars().next());
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    });
    whole.map(|(at, _)| at)
}

fn above(actions: &Entities) -> HashMap<Uid, HashSet<Uid>> {
    let entities = actions.iter();
    let above = entities.map(|action| {
        let above = actions.ancestors(&action.uid()).into_iter().flatten();
        (Uid::from(&action.uid()), above.map(Uid::from).collect())
    });
    above.collect()
}
