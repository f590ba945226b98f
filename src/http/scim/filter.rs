//! Whether a resource is what a filter looks for (RFC 7644, section 3.4.2.2). Pure.

use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, Filter, ValFilter};
use serde_json::{Map, Value};

use super::schema::Resource;
use crate::directory::scim::{Kind, Misfit};

/// The longest filter, in bytes.
const FILTER_LIMIT: usize = 8_000;

/// Reads a filter.
///
/// # Errors
/// It is none, or is too long or too deep.
pub(super) fn read(text: &str) -> Result<Filter, Misfit> {
    let wrong = |why: &str| Misfit::new(Kind::InvalidFilter, format!("`filter`: {why}"));
    if text.len() > FILTER_LIMIT {
        return Err(wrong("it is longer than 8000 bytes"));
    }
    text.trim()
        .parse()
        .map_err(|_| wrong("it is no filter of SCIM, or is too deep"))
}

/// Whether it looks for this.
pub(super) fn matches(
    filter: &Filter,
    resource: &'static Resource,
    of: &Map<String, Value>,
) -> bool {
    match filter {
        Filter::Attr(one) => holds(one, Some(resource), of),
        Filter::ValuePath(path) => {
            let within = |value: &&Value| {
                let members = value.as_object();
                members.is_some_and(|members| chooses(&path.filter, members))
            };
            values(&path.attr, Some(resource), of).iter().any(within)
        }
        Filter::Not(one) => !matches(one, resource, of),
        Filter::And(all) => all.as_slice().iter().all(|one| matches(one, resource, of)),
        Filter::Or(any) => any.as_slice().iter().any(|one| matches(one, resource, of)),
    }
}

/// Whether it chooses this one of several values.
pub(super) fn chooses(filter: &ValFilter, of: &Map<String, Value>) -> bool {
    match filter {
        ValFilter::Attr(one) => holds(one, None, of),
        ValFilter::Not(one) => !chooses(one, of),
        ValFilter::And(all) => all.as_slice().iter().all(|one| chooses(one, of)),
        ValFilter::Or(any) => any.as_slice().iter().any(|one| chooses(one, of)),
    }
}

fn holds(one: &AttrExp, resource: Option<&'static Resource>, of: &Map<String, Value>) -> bool {
    match one {
        AttrExp::Present(path) => !values(path, resource, of).is_empty(),
        AttrExp::Comparison(path, op, wanted) => {
            let found = values(path, resource, of);
            let exact = ["id", "externalid"].contains(&path.name.to_ascii_lowercase().as_str());
            let is = |value: &&Value| compares(scalar(value), *op_of(op), wanted, exact);
            match (op, wanted) {
                (CompareOp::Eq, CompValue::Null) => found.is_empty(),
                (CompareOp::Ne, CompValue::Null) => !found.is_empty(),
                (CompareOp::Ne, _) => !found
                    .iter()
                    .any(|value| compares(scalar(value), Op::Eq, wanted, exact)),
                _ => found.iter().any(is),
            }
        }
    }
}

/// The same operators, to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Eq,
    Co,
    Sw,
    Ew,
    Gt,
    Lt,
    Ge,
    Le,
}

const fn op_of(op: &CompareOp) -> &'static Op {
    match op {
        // What is not equal is asked for as what is, and turned round.
        CompareOp::Eq | CompareOp::Ne => &Op::Eq,
        CompareOp::Co => &Op::Co,
        CompareOp::Sw => &Op::Sw,
        CompareOp::Ew => &Op::Ew,
        CompareOp::Gt => &Op::Gt,
        CompareOp::Lt => &Op::Lt,
        CompareOp::Ge => &Op::Ge,
        CompareOp::Le => &Op::Le,
    }
}

/// Of a value that is an object, the value in it.
fn scalar(value: &Value) -> &Value {
    match value {
        Value::Object(members) => members.get("value").unwrap_or(value),
        value => value,
    }
}

fn compares(found: &Value, op: Op, wanted: &CompValue, exact: bool) -> bool {
    let same = |text: &str| match exact {
        true => text.to_owned(),
        false => text.to_lowercase(),
    };
    match (found, wanted) {
        (Value::String(found), CompValue::Str(wanted)) => {
            let (found, wanted) = (same(found), same(wanted));
            match op {
                Op::Eq => found == wanted,
                Op::Co => found.contains(&wanted),
                Op::Sw => found.starts_with(&wanted),
                Op::Ew => found.ends_with(&wanted),
                Op::Gt => found > wanted,
                Op::Lt => found < wanted,
                Op::Ge => found >= wanted,
                Op::Le => found <= wanted,
            }
        }
        (Value::Bool(found), CompValue::True) => op == Op::Eq && *found,
        (Value::Bool(found), CompValue::False) => op == Op::Eq && !*found,
        // Entra says `"True"`.
        (Value::Bool(found), CompValue::Str(wanted)) => {
            op == Op::Eq && wanted.eq_ignore_ascii_case(if *found { "true" } else { "false" })
        }
        _ => false,
    }
}

/// The values that a path finds, each of several by itself.
pub(super) fn values<'a>(
    path: &AttrPath,
    resource: Option<&'static Resource>,
    of: &'a Map<String, Value>,
) -> Vec<&'a Value> {
    let place = match (&path.uri, resource) {
        (None, _) => Some(of),
        (Some(uri), Some(resource)) => match resource.schema(Some(uri)) {
            Some(schema) if resource.is_extension(schema) => {
                of.get(schema.id).and_then(Value::as_object)
            }
            Some(_) => Some(of),
            None => None,
        },
        (Some(_), None) => None,
    };
    let Some(found) = place.and_then(|place| member(place, &path.name)) else {
        return Vec::new();
    };
    let each = match found {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    };
    let Some(part) = &path.sub_attr else {
        return each;
    };
    each.into_iter()
        .filter_map(|value| member(value.as_object()?, part))
        .collect()
}

fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = members
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

/// What a filter says for certain of whatever it looks for, so that little else need be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pin<'a> {
    Id(&'a str),
    ExternalId(&'a str),
    UserName(&'a str),
    DisplayName(&'a str),
    Email(&'a str),
}

/// The first such thing.
pub(super) fn pin(filter: &Filter) -> Option<Pin<'_>> {
    match filter {
        Filter::And(all) => all.as_slice().iter().find_map(pin),
        Filter::Attr(AttrExp::Comparison(path, CompareOp::Eq, CompValue::Str(wanted)))
            if path.uri.is_none() =>
        {
            let name = path.name.to_ascii_lowercase();
            let part = path.sub_attr.as_deref().map(str::to_ascii_lowercase);
            match (name.as_str(), part.as_deref()) {
                ("id", None) => Some(Pin::Id(wanted)),
                ("externalid", None) => Some(Pin::ExternalId(wanted)),
                ("username", None) => Some(Pin::UserName(wanted)),
                ("displayname", None) => Some(Pin::DisplayName(wanted)),
                ("emails", None | Some("value")) => Some(Pin::Email(wanted)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether a filter asks about this attribute.
pub(super) fn mentions(filter: &Filter, name: &str) -> bool {
    let is_it = |path: &AttrPath| path.name.eq_ignore_ascii_case(name);
    match filter {
        Filter::Attr(AttrExp::Present(path) | AttrExp::Comparison(path, ..)) => is_it(path),
        Filter::ValuePath(path) => is_it(&path.attr),
        Filter::Not(one) => mentions(one, name),
        Filter::And(all) | Filter::Or(all) => all.as_slice().iter().any(|one| mentions(one, name)),
    }
}
