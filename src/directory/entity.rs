//! How an object looks to policies: its attributes under the names of the schema, and what it is in. Nothing of it is stored: it is read
//! off the object when a policy asks.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::Entity;

use super::object::{Kind, Layer, Object, Plan, Ref, Role};
use super::request;
use crate::policy::{Type, Uid, Value};

/// Every name that an attribute of a built-in type has.
const NAMES: [&str; 23] = [
    "org",
    "holds",
    "plan",
    "regions",
    "sso_enforced",
    "active_admins",
    "members",
    "leads",
    "role",
    "active",
    "scopes",
    "owner",
    "audience",
    "thread",
    "project",
    "team",
    "layer",
    "definition",
    "prompt_template",
    "tool",
    "assistant",
    "agent",
    "log",
];

/// An object, and what about its organization it shows: whose it is, and how many legal holds stand on all of it.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// What it is called.
    pub reference: Ref,
    /// The object; nothing for what each organization has one of.
    pub object: Option<&'a Object>,
    /// Its organization.
    pub org: Ref,
    /// Legal holds on the organization: they hold whatever it has.
    pub above: i64,
    /// A request about something that is not there, which it does not name then.
    pub idle: bool,
}

/// A value of an enumerated type, made once.
fn listed(kind: &'static str, value: &'static str) -> Option<Value> {
    static ALL: LazyLock<HashMap<(&str, &str), Value>> = LazyLock::new(|| {
        let roles = [Role::Admin, Role::Member, Role::Viewer].map(|role| ("Role", role.name()));
        let plans = [Plan::Starter, Plan::Business, Plan::Enterprise];
        let plans = plans.map(|plan| ("Plan", plan.name()));
        let layers = [
            Layer::Thread,
            Layer::Project,
            Layer::Team,
            Layer::Personal,
            Layer::Organization,
        ];
        let layers = layers.map(|layer| ("Layer", layer.name()));
        let named = |(kind, name): (&'static str, &'static str)| {
            let of = Type::named(&format!("Cedarkeep::{kind}"));
            ((kind, name), Value::Entity(Uid::new(of, name)))
        };
        roles
            .into_iter()
            .chain(plans)
            .chain(layers)
            .map(named)
            .collect()
    });
    ALL.get(&(kind, value)).cloned()
}

/// The entity that a layer is to policies.
pub(super) fn layer(layer: Layer) -> Option<Uid> {
    match listed("Layer", layer.name()) {
        Some(Value::Entity(uid)) => Some(uid),
        _ => None,
    }
}

fn one(reference: Ref) -> Option<Value> {
    Some(Value::Entity(Uid::Ours(reference)))
}

fn strings<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Value> {
    Some(Value::set(values.into_iter().map(Value::text).collect()))
}

impl Seen<'_> {
    /// One of its attributes.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<Value> {
        if name == "org" {
            return one(self.org);
        }
        let object = self.object?;
        match (name, object) {
            ("holds", _) => self.holds(object).map(Value::Long),
            ("owner" | "audience" | "thread", _) if object.made().is_some() => {
                let made = object.made()?;
                match name {
                    "owner" => one(made.owner),
                    "audience" => made.audience.and_then(one),
                    _ => Some(made.parent)
                        .filter(|parent| parent.kind == Kind::Thread)
                        .and_then(one),
                }
            }
            ("plan", Object::Organization(org)) => listed("Plan", org.plan.name()),
            ("regions", Object::Organization(org)) => {
                strings(org.regions.iter().map(String::as_str))
            }
            ("sso_enforced", Object::Organization(org)) => {
                org.sso_enforced.as_deref().map(Value::text)
            }
            ("active_admins", Object::Organization(org)) => Some(Value::Long(org.active_admins)),
            ("members", Object::Organization(org)) => one(org.members),
            ("members", Object::Team(circle) | Object::Project(circle)) => one(circle.members),
            ("leads", Object::Team(circle) | Object::Project(circle)) => one(circle.leads),
            ("role", Object::User(user)) => listed("Role", user.role.name()),
            ("active", Object::User(user)) => Some(Value::Bool(user.active)),
            ("scopes", Object::Service(service)) => {
                strings(service.scopes.iter().map(|scope| scope.name()))
            }
            ("owner", Object::Memory(memory)) => one(memory.owner),
            ("owner", Object::AgentRun(run)) => one(run.owner),
            ("owner", Object::Session(session)) => one(session.owner),
            ("owner", Object::AccessRequest(request)) => one(request.owner),
            (name, Object::AccessRequest(request)) if !self.idle => {
                let about = request::names_by(request.resource.kind);
                about
                    .filter(|about| *about == name)
                    .and(one(request.resource))
            }
            ("audience", Object::Integration(integration)) => integration.audience.and_then(one),
            ("layer", Object::Memory(memory)) => listed("Layer", memory.layer.name()),
            ("thread", Object::Memory(memory)) if memory.layer == Layer::Thread => {
                one(memory.parent)
            }
            ("project", Object::Memory(memory)) if memory.layer == Layer::Project => {
                one(memory.parent)
            }
            ("team", Object::Memory(memory)) if memory.layer == Layer::Team => one(memory.parent),
            ("definition", Object::Agent { definition }) => one(*definition),
            ("definition", Object::AgentRun(run)) => one(run.definition),
            _ => None,
        }
    }

    fn holds(&self, object: &Object) -> Option<i64> {
        let own = match object {
            Object::Organization(org) => return Some(org.holds),
            Object::User(user) => user.holds,
            Object::Team(circle) | Object::Project(circle) => circle.holds,
            Object::Memory(memory) => memory.holds,
            _ => object.made()?.holds,
        };
        Some(own.saturating_add(self.above))
    }

    /// Shows what it is in directly, until `found` says that it is enough; whether it did.
    pub fn parents(&self, found: &mut dyn FnMut(Ref) -> bool) -> bool {
        match self.object {
            Some(Object::User(user)) => user.groups.iter().any(|group| found(*group)),
            Some(
                Object::Organization(_)
                | Object::Group { .. }
                | Object::DirectoryGroup(_)
                | Object::Service(_),
            ) => false,
            None
            | Some(
                Object::ApiKey(_)
                | Object::Integration(_)
                | Object::Invitation(_)
                | Object::AccessRequest(_)
                | Object::Session(_),
            ) => found(self.org),
            Some(object) => object.parent().is_some_and(found),
        }
    }

    /// All of it in Cedar's own form, and the entities that its attributes name; nothing where Cedar refuses a value.
    #[must_use]
    pub fn to_cedar(&self) -> Option<(Entity, Vec<Uid>)> {
        let mut attributes = HashMap::new();
        let mut points_to = Vec::new();
        for name in NAMES {
            let Some(value) = self.attribute(name) else {
                continue;
            };
            // What is enumerated is no entity of the directory.
            if let Value::Entity(uid @ Uid::Ours(_)) = &value {
                points_to.push(uid.clone());
            }
            attributes.insert(name.to_owned(), value.to_cedar()?);
        }
        let mut parents = HashSet::new();
        self.parents(&mut |parent| {
            parents.extend(Uid::Ours(parent).to_cedar());
            false
        });
        let uid = Uid::Ours(self.reference).to_cedar()?;
        Some((Entity::new(uid, attributes, parents).ok()?, points_to))
    }
}
