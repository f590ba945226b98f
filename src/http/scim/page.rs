//! Pages of SCIM: what a query finds, in a stable order, and how many there are in all.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::page::of_scim;
use super::query::Query;
use super::schema::Resource;
use super::{filter, groups, users};
use crate::directory::scim::directory_group;
use crate::directory::{Kind, Object, Ref, Snapshot};

const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// All of a few.
pub(super) fn all(items: Vec<Value>) -> Response {
    let total = items.len();
    answer(items, total, 1)
}

fn answer(items: Vec<Value>, total: usize, start: usize) -> Response {
    let body = json!({
        "schemas": [LIST], "totalResults": total, "startIndex": start, "itemsPerPage": items.len(),
        "Resources": items,
    });
    of_scim(&body, None)
}

/// What a query finds of these, the one after the other; in the order of identifiers where it names none.
pub(super) fn found(
    snapshot: &Snapshot,
    base: &str,
    resources: &[&'static Resource],
    query: &Query,
) -> Response {
    let skipped = query.start.saturating_sub(1);
    let (total, items) = if query.filter.is_none() && query.sort_by.is_none() {
        plain(snapshot, base, resources, (skipped, query))
    } else {
        let mut found: Vec<(Option<String>, &'static Resource, Map<String, Value>)> = Vec::new();
        for resource in resources {
            let mut documents = looked_for(snapshot, base, resource, query);
            if let Some(wanted) = &query.filter {
                documents.retain(|one| filter::matches(wanted, resource, one));
            }
            let keyed = documents
                .into_iter()
                .map(|one| (query.sort_key(resource, &one), *resource, one));
            found.extend(keyed);
        }
        if query.sort_by.is_some() {
            // What has no value for it comes last, or first where the order is turned round.
            found.sort_by(|(one, ..), (other, ..)| {
                (one.is_none(), one).cmp(&(other.is_none(), other))
            });
            if query.descending {
                found.reverse();
            }
        }
        let total = found.len();
        let page = found.into_iter().skip(skipped).take(query.count);
        (
            total,
            page.map(|(_, resource, one)| (resource, one)).collect(),
        )
    };
    let items = items
        .into_iter()
        .map(|(resource, one)| Value::Object(query.shape.of(resource, one)))
        .collect();
    answer(items, total, query.start)
}

type Documents = Vec<(&'static Resource, Map<String, Value>)>;

/// Without a filter and an order only what is on the page is made.
fn plain(
    snapshot: &Snapshot,
    base: &str,
    resources: &[&'static Resource],
    (skipped, query): (usize, &Query),
) -> (usize, Documents) {
    let (mut total, mut items) = (0_usize, Documents::new());
    let with_members = query.shape.shows("members");
    for resource in resources {
        let references = references(snapshot, resource);
        let page: Vec<Ref> = references
            .iter()
            .skip(skipped.saturating_sub(total))
            .take(query.count.saturating_sub(items.len()))
            .copied()
            .collect();
        let made = documents(snapshot, base, resource, (&page, with_members));
        items.extend(made.into_iter().map(|one| (*resource, one)));
        total = total.saturating_add(references.len());
    }
    (total, items)
}

fn references(snapshot: &Snapshot, resource: &Resource) -> Vec<Ref> {
    let kind = match resource.name {
        "User" => Kind::User,
        _ => Kind::Group,
    };
    let all = snapshot.objects_of(kind, None);
    all.filter(|(_, stored)| matches!(stored.value, Object::User(_) | Object::DirectoryGroup(_)))
        .map(|(reference, _)| reference)
        .collect()
}

/// All of a resource that a filter could find.
fn looked_for(
    snapshot: &Snapshot,
    base: &str,
    resource: &'static Resource,
    query: &Query,
) -> Vec<Map<String, Value>> {
    let mut references = references(snapshot, resource);
    if let Some(pin) = query.filter.as_ref().and_then(filter::pin) {
        references.retain(
            |one| match snapshot.object(*one).map(|stored| &stored.value) {
                Some(Object::User(user)) => users::fits(pin, *one, user),
                Some(Object::DirectoryGroup(group)) => groups::fits(pin, *one, group),
                _ => false,
            },
        );
    }
    let asks = query
        .filter
        .as_ref()
        .is_some_and(|filter| filter::mentions(filter, "members"));
    let with_members = query.shape.shows("members") || asks;
    documents(snapshot, base, resource, (&references, with_members))
}

fn documents(
    snapshot: &Snapshot,
    base: &str,
    resource: &Resource,
    (references, with_members): (&[Ref], bool),
) -> Vec<Map<String, Value>> {
    let members = match resource.name {
        "Group" if with_members => groups::members(snapshot, references),
        _ => [].into(),
    };
    let shown = |one: &Ref| match directory_group(snapshot, *one) {
        Some(group) => Some(groups::shown(base, *one, group, members.get(one))),
        None => Some(users::shown(base, *one, snapshot.user(*one)?, snapshot)),
    };
    references.iter().filter_map(shown).collect()
}
