//! Groups over SCIM: how one is shown, and what a directory wants one to be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::filter::Pin;
use super::schema::{GROUP, invalid};
use crate::directory::scim::groups::Wanted;
use crate::directory::scim::{DirectoryGroup, Misfit};
use crate::directory::{Kind, Object, Ref, Snapshot};

/// A group as it is shown; without who is in it where nobody asks for that.
pub(super) fn shown(
    base: &str,
    reference: Ref,
    group: &DirectoryGroup,
    members: Option<&BTreeSet<Ref>>,
) -> Map<String, Value> {
    let mut shown = Map::new();
    if let Some(external) = &group.external_id {
        shown.insert("externalId".into(), external.as_str().into());
    }
    let members: Vec<Value> = members
        .into_iter()
        .flatten()
        .map(|user| json!({"value": user, "$ref": format!("{base}/Users/{user}"), "type": "User"}))
        .collect();
    if !members.is_empty() {
        shown.insert("members".into(), Value::Array(members));
    }
    let rest = [
        ("schemas", json!([GROUP])),
        ("id", json!(reference)),
        ("displayName", group.name.as_str().into()),
        (
            "meta",
            json!({"resourceType": "Group", "location": format!("{base}/Groups/{reference}")}),
        ),
    ];
    // What says what it is comes first.
    let first = rest.map(|(name, value)| (name.to_owned(), value));
    first.into_iter().chain(shown).collect()
}

/// A group as a resource says that it is to be.
///
/// # Errors
/// No name, or a member that is no person.
pub(super) fn wanted(said: &Map<String, Value>) -> Result<Wanted, Misfit> {
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    let Some(name) = text("displayName") else {
        return Err(invalid("displayName", "it is missing"));
    };
    let name = crate::directory::name("displayName", name).map_err(|error| {
        Misfit::new(
            crate::directory::scim::Kind::InvalidValue,
            error.to_string(),
        )
    })?;
    let mut members = BTreeSet::new();
    if let Some(Value::Array(sent)) = said.get("members") {
        for member in sent {
            let id = member.get("value").and_then(Value::as_str);
            let id = id.or_else(|| {
                let place = member.get("$ref").and_then(Value::as_str)?;
                place.rsplit('/').next()
            });
            let user = id.and_then(|id| Ref::of(Kind::User, id));
            members.insert(user.ok_or_else(|| {
                invalid(
                    "members",
                    "each is the id of a person; groups in groups are not kept",
                )
            })?);
        }
    }
    Ok(Wanted {
        group: DirectoryGroup {
            name,
            external_id: text("externalId").map(str::to_owned),
        },
        members,
    })
}

/// Who is in each of these groups: one look at everybody, however many groups they are.
pub(super) fn members(snapshot: &Snapshot, groups: &[Ref]) -> BTreeMap<Ref, BTreeSet<Ref>> {
    let mut members: BTreeMap<Ref, BTreeSet<Ref>> = groups
        .iter()
        .map(|group| (*group, BTreeSet::new()))
        .collect();
    if members.is_empty() {
        return members;
    }
    for (reference, stored) in snapshot.objects_of(Kind::User, None) {
        if let Object::User(user) = &stored.value {
            for group in &user.groups {
                if let Some(members) = members.get_mut(group) {
                    members.insert(reference);
                }
            }
        }
    }
    members
}

/// Whether a group may be the one that is looked for.
pub(super) fn fits(pin: Pin<'_>, reference: Ref, group: &DirectoryGroup) -> bool {
    match pin {
        Pin::Id(id) => reference.to_string() == id,
        Pin::ExternalId(id) => group.external_id.as_deref() == Some(id),
        Pin::DisplayName(name) => group.name.to_lowercase() == name.to_lowercase(),
        Pin::UserName(_) | Pin::Email(_) => false,
    }
}
