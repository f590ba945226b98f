//! The shapes that a schema gives to contexts and attributes, and the JSON that fits them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::{EntityTypeName, RestrictedExpression};
use serde_json::{Map, Value};

use super::builtin::NAMESPACE;
use super::error::PolicyError;
use super::value::{self, Type, Uid};

/// The members of a record, by name.
pub(crate) type Fields = BTreeMap<Arc<str>, Shape>;

/// What a value may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Bool,
    Long,
    Text,
    Entity(Type),
    /// An entity of a type whose entities the schema lists, by their ids.
    Choice(Type, Arc<BTreeSet<String>>),
    Set(Box<Shape>),
    Record(Fields),
    Extension(Extension),
}

/// Cedar's types beyond JSON's; each is written as a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extension {
    Ip,
    Decimal,
    Datetime,
    Duration,
}

/// So many of the ids that a value may be are told.
const TOLD: usize = 10;

/// The types that schema fragments (in Cedar's JSON form) declare, for looking names up.
pub(crate) struct Declared<'a> {
    common: HashMap<String, (&'a str, &'a Value)>,
    /// With the ids of its entities, where they are listed.
    entities: HashMap<String, Option<Arc<BTreeSet<String>>>>,
}

impl<'a> Declared<'a> {
    /// Everything that these fragments declare.
    pub(crate) fn new(fragments: &[&'a Value]) -> Self {
        let mut declared = Self {
            common: HashMap::new(),
            entities: HashMap::new(),
        };
        for (namespace, body) in fragments.iter().filter_map(|f| f.as_object()).flatten() {
            for (name, body) in members(body, "commonTypes") {
                let full = qualified(namespace, name);
                declared.common.insert(full, (namespace, body));
            }
            for (name, body) in members(body, "entityTypes") {
                let choices = choices(body).map(Arc::new);
                declared
                    .entities
                    .insert(qualified(namespace, name), choices);
            }
        }
        declared
    }

    /// The members of a record type, as seen from a namespace; none where it isn't a record.
    pub(crate) fn fields(&self, namespace: &str, kind: &Value) -> Fields {
        match self.shape(namespace, kind) {
            Some(Shape::Record(fields)) => fields,
            _ => Fields::new(),
        }
    }

    fn shape(&self, namespace: &str, kind: &Value) -> Option<Shape> {
        let tag = kind.get("type")?.as_str()?;
        match tag {
            "Record" => {
                let attributes = kind.get("attributes")?.as_object()?;
                let field = |(name, kind): (&String, &Value)| {
                    Some((name.as_str().into(), self.shape(namespace, kind)?))
                };
                Some(Shape::Record(attributes.iter().filter_map(field).collect()))
            }
            "Set" => {
                let element = self.shape(namespace, kind.get("element")?)?;
                Some(Shape::Set(Box::new(element)))
            }
            "Entity" | "EntityOrCommon" | "Extension" => {
                self.named(namespace, kind.get("name")?.as_str()?)
            }
            name => self.named(namespace, name),
        }
    }

    /// A name as Cedar resolves it: common types before entity types, the own namespace before the empty one, and
    /// Cedar's own names last.
    fn named(&self, namespace: &str, name: &str) -> Option<Shape> {
        for full in [qualified(namespace, name), name.to_owned()] {
            if let Some((home, body)) = self.common.get(&full) {
                return self.shape(home, body);
            }
            if let Some(choices) = self.entities.get(&full) {
                let kind = Type::named(&full);
                return Some(match choices {
                    Some(choices) => Shape::Choice(kind, Arc::clone(choices)),
                    None => Shape::Entity(kind),
                });
            }
        }
        match name.strip_prefix("__cedar::").unwrap_or(name) {
            "Bool" | "Boolean" => Some(Shape::Bool),
            "Long" => Some(Shape::Long),
            "String" => Some(Shape::Text),
            "ipaddr" => Some(Shape::Extension(Extension::Ip)),
            "decimal" => Some(Shape::Extension(Extension::Decimal)),
            "datetime" => Some(Shape::Extension(Extension::Datetime)),
            "duration" => Some(Shape::Extension(Extension::Duration)),
            _ => None,
        }
    }
}

impl Shape {
    /// The value as Cedar's. Members that a record's shape doesn't know are dropped, null ones count as absent.
    ///
    /// # Errors
    /// `WrongType` with the path to what does not fit.
    pub(crate) fn value(&self, path: &str, json: &Value) -> Result<value::Value, PolicyError> {
        let wrong = || PolicyError::WrongType {
            member: path.to_owned(),
            expected: self.in_words(),
        };
        match self {
            Self::Bool => json.as_bool().map(value::Value::Bool).ok_or_else(wrong),
            Self::Long => json.as_i64().map(value::Value::Long).ok_or_else(wrong),
            Self::Text => json.as_str().map(value::Value::text).ok_or_else(wrong),
            Self::Entity(kind) => entity(kind, json)
                .map(value::Value::Entity)
                .ok_or_else(wrong),
            Self::Choice(kind, choices) => entity(kind, json)
                .filter(|uid| uid.other_id().is_some_and(|id| choices.contains(id)))
                .map(value::Value::Entity)
                .ok_or_else(wrong),
            Self::Set(element) => {
                let items = json.as_array().ok_or_else(wrong)?;
                let values: Result<Vec<_>, _> =
                    items.iter().map(|item| element.value(path, item)).collect();
                Ok(value::Value::set(values?))
            }
            Self::Record(fields) => {
                let members = json.as_object().ok_or_else(wrong)?;
                Ok(value::Value::record(pairs(fields, path, members)?))
            }
            Self::Extension(extension) => {
                let text = extension_text(json).ok_or_else(wrong)?;
                let value = value::Value::of_expression(extension.value(text));
                value.map_err(|reason| PolicyError::BadValue {
                    member: path.to_owned(),
                    reason,
                })
            }
        }
    }

    /// What it may be, in words.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Long => "a whole number".to_owned(),
            Self::Text => "a string".to_owned(),
            Self::Entity(kind) => {
                let name = authzen_type(kind);
                format!("the id of a `{name}`, or an object with its `type` and `id`")
            }
            Self::Choice(_, choices) => {
                let some = choices.iter().take(TOLD).map(|id| format!("`{id}`"));
                let some = some.collect::<Vec<_>>().join(", ");
                let more = if choices.len() > TOLD { ", ..." } else { "" };
                format!("one of {some}{more}")
            }
            Self::Set(element) => format!("an array, each item {}", element.in_words()),
            Self::Record(_) => "an object".to_owned(),
            Self::Extension(Extension::Ip) => "an IP address in a string".to_owned(),
            Self::Extension(Extension::Decimal) => "a decimal number in a string".to_owned(),
            Self::Extension(Extension::Datetime) => "a date and time in a string".to_owned(),
            Self::Extension(Extension::Duration) => "a duration in a string".to_owned(),
        }
    }
}

impl Extension {
    /// The function of Cedar's that makes a value of it.
    pub(crate) const fn function(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Decimal => "decimal",
            Self::Datetime => "datetime",
            Self::Duration => "duration",
        }
    }

    fn value(self, text: &str) -> RestrictedExpression {
        match self {
            Self::Ip => RestrictedExpression::new_ip(text),
            Self::Decimal => RestrictedExpression::new_decimal(text),
            Self::Datetime => RestrictedExpression::new_datetime(text),
            Self::Duration => RestrictedExpression::new_duration(text),
        }
    }
}

/// The members of `json` that `fields` knows, as Cedar's values.
///
/// # Errors
/// `WrongType` with the path to what does not fit.
pub(crate) fn pairs(
    fields: &Fields,
    path: &str,
    json: &Map<String, Value>,
) -> Result<Vec<(Arc<str>, value::Value)>, PolicyError> {
    let mut pairs = Vec::with_capacity(fields.len());
    for (name, shape) in fields {
        match json.get(&**name) {
            None | Some(Value::Null) => {}
            Some(value) => {
                let value = shape.value(&format!("{path}.{name}"), value)?;
                pairs.push((Arc::clone(name), value));
            }
        }
    }
    Ok(pairs)
}

/// What AuthZEN calls a type: a built-in one without its namespace, a tenant's own by its whole name.
pub(crate) fn authzen_name(kind: &EntityTypeName) -> String {
    if kind.namespace() == NAMESPACE {
        kind.basename().to_owned()
    } else {
        kind.to_string()
    }
}

/// The same of a type as values name it.
pub(crate) fn authzen_type(kind: &Type) -> &str {
    let name = kind.name();
    let bare = name
        .strip_prefix(NAMESPACE)
        .and_then(|rest| rest.strip_prefix("::"));
    bare.filter(|bare| !bare.contains("::")).unwrap_or(name)
}

/// A member of a schema fragment's namespace, entry by entry.
pub(crate) fn members<'a>(
    namespace: &'a Value,
    member: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    namespace
        .get(member)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

/// A name with its namespace, which may be the empty one.
pub(crate) fn qualified(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}::{name}")
    }
}

/// The ids of the entities of a type, where its declaration lists them.
pub(crate) fn choices(declared: &Value) -> Option<BTreeSet<String>> {
    let ids = declared.get("enum")?.as_array()?.iter();
    Some(ids.filter_map(Value::as_str).map(str::to_owned).collect())
}

fn entity(kind: &Type, json: &Value) -> Option<Uid> {
    let json = json.get("__entity").unwrap_or(json);
    let id = match json {
        Value::String(id) => id,
        Value::Object(entity) => {
            let said = entity.get("type")?.as_str()?;
            if said != authzen_type(kind) && said != kind.name() {
                return None;
            }
            entity.get("id")?.as_str()?
        }
        _ => return None,
    };
    Some(Uid::new(kind.clone(), id))
}

fn extension_text(json: &Value) -> Option<&str> {
    match json.get("__extn") {
        Some(call) => call.get("arg")?.as_str(),
        None => json.as_str(),
    }
}
