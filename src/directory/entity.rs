//! How an object looks to Cedar: its attributes and parents as the schema has them, and what it points to.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};

use super::DirectoryError;
use super::object::{Circle, Kind, Layer, Object, Ref};

/// The namespace of the built-in types.
pub const NAMESPACE: &str = "Cedarkeep";

/// A built-in type's name in the schema.
///
/// # Errors
/// Never for the names that we have; Cedar decides what a name is.
pub fn type_name(name: &str) -> Result<EntityTypeName, DirectoryError> {
    EntityTypeName::from_str(&format!("{NAMESPACE}::{name}")).map_err(|cause| {
        DirectoryError::Cedar {
            what: name.into(),
            cause: cause.to_string(),
        }
    })
}

/// A built-in type's name, parsed once.
fn cached_type_name(kind: Kind) -> Result<EntityTypeName, DirectoryError> {
    static NAMES: std::sync::OnceLock<HashMap<Kind, EntityTypeName>> = std::sync::OnceLock::new();
    NAMES
        .get_or_init(|| {
            Kind::ALL
                .iter()
                .filter_map(|kind| type_name(kind.name()).ok().map(|name| (*kind, name)))
                .collect()
        })
        .get(&kind)
        .cloned()
        .ok_or_else(|| DirectoryError::Cedar {
            what: kind.name().into(),
            cause: "no such type".into(),
        })
}

/// A reference as Cedar's uid.
///
/// # Errors
/// Never for the names that we have.
pub fn uid(reference: Ref) -> Result<EntityUid, DirectoryError> {
    Ok(EntityUid::from_type_name_and_id(
        cached_type_name(reference.kind)?,
        EntityId::new(reference.to_string()),
    ))
}

/// A uid of a built-in type as a reference; nothing for other types and for ids that we did not make.
pub fn reference(uid: &EntityUid) -> Option<Ref> {
    let name = uid.type_name();
    if !name.namespace_components().eq([NAMESPACE]) {
        return None;
    }
    Ref::of(Kind::named(name.basename())?, uid.id().unescaped())
}

/// A value of an enumerated type.
fn listed(kind: &str, value: &str) -> Result<RestrictedExpression, DirectoryError> {
    Ok(RestrictedExpression::new_entity_uid(
        EntityUid::from_type_name_and_id(type_name(kind)?, EntityId::new(value)),
    ))
}

/// The attributes under construction.
struct Attributes {
    values: HashMap<String, RestrictedExpression>,
    points_to: Vec<EntityUid>,
    /// Legal holds on the organization: they hold whatever it has.
    above: i64,
}

impl Attributes {
    fn holds(&mut self, own: i64) {
        let all = own.saturating_add(self.above);
        self.put("holds", RestrictedExpression::new_long(all));
    }

    fn put(&mut self, name: &str, value: RestrictedExpression) {
        self.values.insert(name.into(), value);
    }

    fn link(&mut self, name: &str, to: Ref) -> Result<(), DirectoryError> {
        let uid = uid(to)?;
        self.points_to.push(uid.clone());
        self.put(name, RestrictedExpression::new_entity_uid(uid));
        Ok(())
    }

    fn strings<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) {
        let values = values
            .into_iter()
            .map(|value| RestrictedExpression::new_string(value.into()));
        self.put(name, RestrictedExpression::new_set(values));
    }

    fn circle(&mut self, circle: &Circle) -> Result<(), DirectoryError> {
        self.link("members", circle.members)?;
        self.link("leads", circle.leads)?;
        self.holds(circle.holds);
        Ok(())
    }
}

/// An entity, and the uids that its attributes name.
#[derive(Debug, Clone)]
pub struct Shape {
    /// As Cedar takes it.
    pub entity: Entity,
    /// What its attributes point to.
    pub points_to: Vec<EntityUid>,
    /// What it is in.
    pub parents: Vec<EntityUid>,
}

/// Builds an object's entity; `org` is its organization, on which `above` legal holds stand.
///
/// # Errors
/// Cedar refuses a value.
pub fn shape(
    reference: Ref,
    object: &Object,
    org: Ref,
    above: i64,
) -> Result<Shape, DirectoryError> {
    let mut attributes = Attributes {
        values: HashMap::new(),
        points_to: Vec::new(),
        above: if reference == org { 0 } else { above },
    };
    let mut parents = HashSet::new();
    attributes.link("org", org)?;
    match object {
        Object::Organization(organization) => {
            attributes.put("plan", listed("Plan", organization.plan.name())?);
            attributes.strings("regions", organization.regions.iter().map(String::as_str));
            if let Some(method) = &organization.sso_enforced {
                attributes.put(
                    "sso_enforced",
                    RestrictedExpression::new_string(method.clone()),
                );
            }
            attributes.put(
                "active_admins",
                RestrictedExpression::new_long(organization.active_admins),
            );
            attributes.link("members", organization.members)?;
            attributes.holds(organization.holds);
        }
        Object::User(user) => {
            attributes.put("role", listed("Role", user.role.name())?);
            attributes.put("active", RestrictedExpression::new_bool(user.active));
            attributes.holds(user.holds);
            for group in &user.groups {
                parents.insert(uid(*group)?);
            }
        }
        Object::Group { .. } => {}
        Object::Service(service) => {
            attributes.strings("scopes", service.scopes.iter().map(|scope| scope.name()));
        }
        Object::ApiKey(_) => {
            parents.insert(uid(org)?);
        }
        Object::Team(circle) | Object::Project(circle) => {
            attributes.circle(circle)?;
            parents.insert(uid(circle.parent)?);
        }
        Object::Thread(made)
        | Object::Document(made)
        | Object::PromptTemplate(made)
        | Object::Tool(made)
        | Object::Assistant(made)
        | Object::AgentDefinition(made) => {
            attributes.link("owner", made.owner)?;
            if let Some(audience) = made.audience {
                attributes.link("audience", audience)?;
            }
            attributes.holds(made.holds);
            if made.parent.kind == Kind::Thread {
                attributes.link("thread", made.parent)?;
            }
            parents.insert(uid(made.parent)?);
        }
        Object::Memory(memory) => {
            attributes.link("owner", memory.owner)?;
            attributes.put("layer", listed("Layer", memory.layer.name())?);
            attributes.holds(memory.holds);
            match memory.layer {
                Layer::Thread => attributes.link("thread", memory.parent)?,
                Layer::Project => attributes.link("project", memory.parent)?,
                Layer::Team => attributes.link("team", memory.parent)?,
                Layer::Personal | Layer::Organization => {}
            }
            parents.insert(uid(memory.parent)?);
        }
        Object::Integration(integration) => {
            if let Some(audience) = integration.audience {
                attributes.link("audience", audience)?;
            }
            parents.insert(uid(org)?);
        }
        Object::Agent { definition } => {
            attributes.link("definition", *definition)?;
            parents.insert(uid(*definition)?);
        }
        Object::AgentRun(run) => {
            attributes.link("owner", run.owner)?;
            attributes.link("definition", run.definition)?;
            parents.insert(uid(run.definition)?);
        }
    }
    finish(uid(reference)?, attributes, parents)
}

/// One of the organization's singletons.
///
/// # Errors
/// Cedar refuses a value.
pub fn singleton(kind: Kind, org: Ref) -> Result<Shape, DirectoryError> {
    let mut attributes = Attributes {
        values: HashMap::new(),
        points_to: Vec::new(),
        above: 0,
    };
    attributes.link("org", org)?;
    finish(
        uid(Ref::new(kind, org.id))?,
        attributes,
        HashSet::from([uid(org)?]),
    )
}

fn finish(
    uid: EntityUid,
    attributes: Attributes,
    parents: HashSet<EntityUid>,
) -> Result<Shape, DirectoryError> {
    let what = uid.to_string();
    let chain = parents.iter().cloned().collect();
    let entity =
        Entity::new(uid, attributes.values, parents).map_err(|cause| DirectoryError::Cedar {
            what,
            cause: cause.to_string(),
        })?;
    Ok(Shape {
        entity,
        points_to: attributes.points_to,
        parents: chain,
    })
}
