//! What a PATCH makes of a resource (RFC 7644, section 3.5.2), as RFC, Entra and Okta write it. Pure.
//!
//! Beyond the RFC, since directories rely on it: operations in any case, values without a path whose members are paths themselves, `remove`
//! with the values to remove, `add` and `replace` that find no value make one of what their filter says, and `remove` of what is not there
//! does nothing.

use std::collections::HashSet;

use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, PatchPath, ValFilter};
use serde_json::{Map, Value};

use super::filter;
use super::schema::{Attribute, Resource, Schema, invalid, is_not_kept, named, short};
use crate::directory::scim::{Kind, Misfit};

/// How many operations one request has at the most.
const OPERATIONS_MOST: usize = 1_000;

/// The longest path, in bytes.
const PATH_LIMIT: usize = 2_000;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

/// What an operation is about.
#[derive(Debug)]
enum Target {
    /// The attributes that the value names.
    Whole,
    /// An extension as a whole.
    Extension(&'static Schema),
    /// An attribute, or a part of it.
    Attribute {
        schema: &'static Schema,
        attribute: &'static Attribute,
        chosen: Option<ValFilter>,
        part: Option<&'static Attribute>,
    },
    /// Something that is known and not kept.
    Nothing,
}

/// One operation.
#[derive(Debug)]
struct Operation {
    verb: Verb,
    target: Target,
    value: Value,
}

/// The operations of a request.
#[derive(Debug)]
pub(super) struct Patch {
    resource: &'static Resource,
    operations: Vec<Operation>,
}

fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = members
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

fn syntax(why: &str) -> Misfit {
    Misfit::new(Kind::InvalidSyntax, why)
}

impl Patch {
    /// Reads a request's body.
    ///
    /// # Errors
    /// It is none, or a path in it names nothing that there is.
    pub(super) fn read(
        resource: &'static Resource,
        body: &Map<String, Value>,
    ) -> Result<Self, Misfit> {
        let Some(Value::Array(sent)) = member(body, "Operations") else {
            return Err(syntax("`Operations` must be a list of operations"));
        };
        if sent.is_empty() {
            return Err(syntax("`Operations` is empty"));
        }
        if sent.len() > OPERATIONS_MOST {
            let why = format!("at most {OPERATIONS_MOST} operations are made at once");
            return Err(Misfit::new(Kind::TooMany, why));
        }
        let read = |one: &Value| match one {
            Value::Object(members) => Operation::read(resource, members),
            _ => Err(syntax("each of `Operations` must be an object")),
        };
        Ok(Self {
            resource,
            operations: sent.iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    /// The resource after these operations, one after the other.
    ///
    /// # Errors
    /// A value is not what its attribute holds, or a path finds nothing.
    pub(super) fn applied(&self, mut to: Map<String, Value>) -> Result<Map<String, Value>, Misfit> {
        for operation in &self.operations {
            self.apply(operation, &mut to)?;
        }
        Ok(to)
    }

    fn apply(&self, one: &Operation, to: &mut Map<String, Value>) -> Result<(), Misfit> {
        match &one.target {
            Target::Nothing => Ok(()),
            Target::Whole => {
                let Value::Object(members) = &one.value else {
                    return Err(syntax("without `path`, `value` must be an object"));
                };
                for (name, value) in members {
                    // What is not the directory's to say may come along, and what is not known here, as in a whole resource.
                    let target = match Target::read(self.resource, name) {
                        Ok(Target::Attribute { attribute, .. }) if !attribute.is_written() => {
                            continue;
                        }
                        Ok(Target::Whole) | Err(_) => continue,
                        Ok(target) => target,
                    };
                    let inner = Operation {
                        verb: one.verb,
                        target,
                        value: value.clone(),
                    };
                    self.apply(&inner, to)?;
                }
                Ok(())
            }
            Target::Extension(schema) => extension(schema, one, to),
            Target::Attribute {
                schema,
                attribute,
                chosen,
                part,
            } => {
                if !attribute.is_written() || part.is_some_and(|part| !part.is_written()) {
                    return Err(Misfit::new(
                        Kind::Mutability,
                        format!("`{}` is not the directory's to change", attribute.name),
                    ));
                }
                if self.resource.is_extension(schema) {
                    let place = to.entry(schema.id).or_insert_with(|| Map::new().into());
                    if let Value::Object(place) = place {
                        within(attribute, chosen.as_ref(), *part, one, place)?;
                        if place.is_empty() {
                            to.remove(schema.id);
                        }
                    }
                    return Ok(());
                }
                within(attribute, chosen.as_ref(), *part, one, to)
            }
        }
    }
}

impl Operation {
    fn read(resource: &'static Resource, members: &Map<String, Value>) -> Result<Self, Misfit> {
        let verb = member(members, "op")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let verb = match verb.to_ascii_lowercase().as_str() {
            "add" => Verb::Add,
            "replace" => Verb::Replace,
            "remove" => Verb::Remove,
            _ => return Err(syntax("`op` must be add, replace or remove")),
        };
        let path = match member(members, "path") {
            None | Some(Value::Null) => None,
            Some(Value::String(path)) if path.is_empty() => None,
            Some(Value::String(path)) => Some(path),
            Some(_) => return Err(syntax("`path` must be a string")),
        };
        let target = match path {
            Some(path) => Target::read(resource, path)?,
            None if verb == Verb::Remove => {
                return Err(Misfit::new(Kind::NoTarget, "`remove` needs a `path`"));
            }
            None => Target::Whole,
        };
        Ok(Self {
            verb,
            target,
            value: member(members, "value").cloned().unwrap_or_default(),
        })
    }
}

impl Target {
    fn read(resource: &'static Resource, path: &str) -> Result<Self, Misfit> {
        let wrong = |why: &str| Misfit::new(Kind::InvalidPath, format!("`{}`: {why}", short(path)));
        if path.len() > PATH_LIMIT {
            return Err(wrong("it is longer than 2000 bytes"));
        }
        if let Some(schema) = resource.schema(Some(path)) {
            return Ok(match resource.is_extension(schema) {
                true => Self::Extension(schema),
                false => Self::Whole,
            });
        }
        let parsed: PatchPath = path.parse().map_err(|_| wrong("it is no path of SCIM"))?;
        let (at, chosen, part) = match parsed {
            PatchPath::Attr(AttrPath {
                uri,
                name,
                sub_attr,
            }) => ((uri, name), None, sub_attr),
            PatchPath::Value(value) => (
                (value.attr.uri, value.attr.name),
                Some(value.filter),
                value.sub_attr,
            ),
        };
        let (uri, name) = at;
        let Some(schema) = resource.schema(uri.as_deref()) else {
            return match is_not_kept(&name) {
                true => Ok(Self::Nothing),
                false => Err(wrong("there is no such schema")),
            };
        };
        let Some(attribute) = resource.attribute(schema, &name) else {
            return match is_not_kept(&name) {
                true => Ok(Self::Nothing),
                false => Err(wrong("there is no such attribute")),
            };
        };
        if chosen.is_some() && !attribute.many {
            return Err(wrong("a filter chooses among several values"));
        }
        let part = match part {
            None => None,
            // What is known of a part that is not kept, as `display` of a member, is let go.
            Some(part) => match named(attribute.parts, &part) {
                Some(part) => Some(part),
                None if ["display", "type", "$ref"].contains(&part.as_str()) => {
                    return Ok(Self::Nothing);
                }
                None => return Err(wrong("there is no such part of it")),
            },
        };
        Ok(Self::Attribute {
            schema,
            attribute,
            chosen,
            part,
        })
    }
}

fn extension(
    schema: &'static Schema,
    one: &Operation,
    to: &mut Map<String, Value>,
) -> Result<(), Misfit> {
    if one.verb == Verb::Remove {
        to.remove(schema.id);
        return Ok(());
    }
    let Value::Object(members) = &one.value else {
        return Err(invalid(schema.id, "it must be an object"));
    };
    let read = super::schema::of_attributes(schema.attributes, members)?;
    let place = to.entry(schema.id).or_insert_with(|| Map::new().into());
    if let Value::Object(place) = place {
        place.extend(read);
        if place.is_empty() {
            to.remove(schema.id);
        }
    }
    Ok(())
}

/// An operation on one attribute of the object that it stands in.
fn within(
    attribute: &'static Attribute,
    chosen: Option<&ValFilter>,
    part: Option<&'static Attribute>,
    one: &Operation,
    place: &mut Map<String, Value>,
) -> Result<(), Misfit> {
    if attribute.many {
        return several(attribute, chosen, part, one, place);
    }
    match part {
        Some(part) => {
            let value = match one.verb {
                Verb::Remove => None,
                Verb::Add | Verb::Replace => part.read(&one.value)?,
            };
            let inside = place
                .entry(attribute.name)
                .or_insert_with(|| Map::new().into());
            if let Value::Object(inside) = inside {
                put(inside, part.name, value);
                if inside.is_empty() {
                    place.remove(attribute.name);
                }
            }
        }
        None if one.verb == Verb::Remove => {
            place.remove(attribute.name);
        }
        None => match (attribute.read(&one.value)?, place.get_mut(attribute.name)) {
            // Of a complex attribute, the parts that are not named stay.
            (Some(Value::Object(new)), Some(Value::Object(old))) => old.extend(new),
            (value, _) => put(place, attribute.name, value),
        },
    }
    Ok(())
}

fn put(place: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            place.insert(name.to_owned(), value);
        }
        None => {
            place.remove(name);
        }
    }
}

/// An operation on an attribute that has several values.
fn several(
    attribute: &'static Attribute,
    chosen: Option<&ValFilter>,
    part: Option<&'static Attribute>,
    one: &Operation,
    place: &mut Map<String, Value>,
) -> Result<(), Misfit> {
    let mut values = match place.remove(attribute.name) {
        Some(Value::Array(values)) => values,
        _ => Vec::new(),
    };
    match (chosen, part) {
        (None, None) => whole(attribute, one, &mut values)?,
        (chosen, part) => some(attribute, chosen, part, one, &mut values)?,
    }
    if !values.is_empty() {
        place.insert(attribute.name.to_owned(), Value::Array(values));
    }
    Ok(())
}

/// What tells one value from another.
fn told_apart(value: &Value) -> String {
    match value.get("value").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

fn whole(
    attribute: &'static Attribute,
    one: &Operation,
    values: &mut Vec<Value>,
) -> Result<(), Misfit> {
    let sent = match attribute.read(&one.value)? {
        Some(Value::Array(sent)) => sent,
        _ => Vec::new(),
    };
    match one.verb {
        Verb::Replace => *values = sent,
        Verb::Remove if one.value.is_null() => values.clear(),
        Verb::Remove => {
            let gone: HashSet<String> = sent.iter().map(told_apart).collect();
            values.retain(|value| !gone.contains(&told_apart(value)));
        }
        Verb::Add => {
            if sent.iter().any(is_primary) {
                values.iter_mut().for_each(demote);
            }
            let new: HashSet<String> = sent.iter().map(told_apart).collect();
            values.retain(|value| !new.contains(&told_apart(value)));
            values.extend(sent);
        }
    }
    Ok(())
}

fn some(
    attribute: &'static Attribute,
    chosen: Option<&ValFilter>,
    part: Option<&'static Attribute>,
    one: &Operation,
    values: &mut Vec<Value>,
) -> Result<(), Misfit> {
    let is_meant = |value: &Value| match (chosen, value) {
        (None, _) => true,
        (Some(chosen), Value::Object(members)) => filter::chooses(chosen, members),
        (Some(_), _) => false,
    };
    if one.verb == Verb::Remove {
        match part {
            None => values.retain(|value| !is_meant(value)),
            Some(part) => {
                for value in values.iter_mut().filter(|value| is_meant(value)) {
                    if let Value::Object(members) = value {
                        members.remove(part.name);
                    }
                }
                values.retain(|value| value.as_object().is_none_or(|members| !members.is_empty()));
            }
        }
        return Ok(());
    }
    let new = match part {
        Some(part) => {
            let value = part.read(&one.value)?;
            value
                .map(|value| Map::from_iter([(part.name.to_owned(), value)]))
                .unwrap_or_default()
        }
        None => match attribute.read(&one.value)? {
            Some(Value::Array(mut sent)) if sent.len() == 1 => match sent.pop() {
                Some(Value::Object(new)) => new,
                _ => Map::new(),
            },
            _ => {
                return Err(invalid(
                    attribute.name,
                    "one value is to be sent for a filter",
                ));
            }
        },
    };
    if !values.iter().any(is_meant) {
        let mut made = chosen
            .map(|chosen| said_by(attribute, chosen))
            .unwrap_or_default();
        // A filter on the value itself names one that must be there.
        if made.contains_key("value") || (chosen.is_some() && made.is_empty()) {
            let why = format!("no value of `{}` is meant by the path", attribute.name);
            return Err(Misfit::new(Kind::NoTarget, why));
        }
        made.extend(new);
        let made = Value::Object(made);
        if is_primary(&made) {
            values.iter_mut().for_each(demote);
        }
        values.push(made);
        return Ok(());
    }
    let is_main = new.get("primary") == Some(&Value::Bool(true));
    for value in values.iter_mut() {
        let meant = is_meant(value);
        if let (true, Value::Object(members)) = (meant, &mut *value) {
            members.extend(new.clone());
        } else if is_main {
            demote(value);
        }
    }
    Ok(())
}

fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}

fn demote(value: &mut Value) {
    if let Some(primary) = value.get_mut("primary") {
        *primary = Value::Bool(false);
    }
}

/// What a filter that only compares says about a value that fits it.
fn said_by(attribute: &'static Attribute, chosen: &ValFilter) -> Map<String, Value> {
    let mut said = Map::new();
    match chosen {
        ValFilter::Attr(AttrExp::Comparison(path, CompareOp::Eq, value)) => {
            let value = match value {
                CompValue::Str(text) => Value::String(text.clone()),
                CompValue::True => Value::Bool(true),
                CompValue::False => Value::Bool(false),
                CompValue::Null | CompValue::Number(_) => return said,
            };
            if let Some(part) = named(attribute.parts, &path.name)
                && let Ok(Some(value)) = part.read(&value)
            {
                said.insert(part.name.to_owned(), value);
            }
        }
        ValFilter::And(all) => {
            for one in all.as_slice() {
                said.extend(said_by(attribute, one));
            }
        }
        ValFilter::Attr(_) | ValFilter::Or(_) | ValFilter::Not(_) => {}
    }
    said
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::schema::{GROUPS, PEOPLE};
    use super::*;

    fn patched(to: Value, operations: Value) -> Value {
        let body = json!({ "Operations": operations });
        let patch = Patch::read(&PEOPLE, body.as_object().unwrap()).unwrap();
        patch
            .applied(to.as_object().unwrap().clone())
            .unwrap()
            .into()
    }

    #[test]
    fn one_value_is_primary_whatever_comes() {
        let before = json!({"emails": [{"value": "a", "primary": true}, {"value": "b"}]});
        for operation in [
            json!({"op": "add", "path": "emails", "value": [{"value": "c", "primary": true}]}),
            json!({"op": "replace", "path": "emails[value eq \"b\"].primary", "value": true}),
            json!({"op": "add", "path": "emails[type eq \"home\"]", "value": {"value": "d", "primary": "True"}}),
        ] {
            let after = patched(before.clone(), json!([operation]));
            let values = after["emails"].as_array().unwrap();
            let main = values.iter().filter(|value| is_primary(value)).count();
            assert_eq!(main, 1, "{after}");
        }
    }

    #[test]
    fn parts_of_a_name_that_are_not_named_stay() {
        let before = json!({"name": {"givenName": "A", "familyName": "B"}});
        for (operation, after) in [
            (
                json!({"op": "replace", "path": "name", "value": {"givenName": "C"}}),
                json!({"givenName": "C", "familyName": "B"}),
            ),
            (
                json!({"op": "remove", "path": "name.givenName"}),
                json!({"familyName": "B"}),
            ),
            (
                json!({"op": "add", "value": {"NAME": {"middleName": "M"}}}),
                json!({"givenName": "A", "familyName": "B", "middleName": "M"}),
            ),
        ] {
            assert_eq!(patched(before.clone(), json!([operation]))["name"], after);
        }
        assert_eq!(
            patched(before, json!([{"op": "remove", "path": "name"}])),
            json!({})
        );
    }

    proptest! {
        #[test]
        fn no_path_and_no_value_makes_it_panic(
            path in "\\PC{0,40}",
            attribute in prop::sample::select(vec!["emails", "roles", "members", "name", "active", "title"]),
            inner in "[a-z \"()\\[\\].]{0,30}",
            text in "\\PC{0,20}",
            verb in prop::sample::select(vec!["add", "Replace", "REMOVE"]),
        ) {
            for path in [path.clone(), format!("{attribute}[{inner}]"), format!("{attribute}.{inner}")] {
                for value in [json!(null), json!(text), json!([text]), json!({&*text: text, "value": text}), json!([[{}]]), json!(7)] {
                    let body = json!({"Operations": [{"op": verb, "path": path, "value": value}]});
                    for resource in [&PEOPLE, &GROUPS] {
                        let read = Patch::read(resource, body.as_object().unwrap());
                        let to = json!({"emails": [{"value": "a"}], "members": [{"value": "b"}], "name": {"givenName": "c"}});
                        drop(read.and_then(|patch| patch.applied(to.as_object().unwrap().clone())));
                    }
                }
            }
        }

        #[test]
        fn no_filter_makes_it_panic(text in "[a-z0-9 \"()\\[\\].\\\\é]{0,60}") {
            if let Ok(filter) = filter::read(&text) {
                let of = json!({"emails": [{"value": "a"}], "title": "b"});
                filter::matches(&filter, &PEOPLE, of.as_object().unwrap());
            }
        }
    }
}
