//! People over SCIM: how one is shown, and what a directory wants one to be.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::filter::Pin;
use super::schema::{ENTERPRISE, PEOPLE, Type, USER, invalid, role};
use crate::directory::object::User;
use crate::directory::scim::people::{self, Wanted};
use crate::directory::scim::{Misfit, Provisioned, Valued};
use crate::directory::{Ref, Snapshot};

/// How many addresses, and how many roles, a person has at the most.
const VALUES_MOST: usize = 20;

/// A person as they are shown.
pub(super) fn shown(
    base: &str,
    reference: Ref,
    user: &User,
    snapshot: &Snapshot,
) -> Map<String, Value> {
    let nothing = Provisioned {
        texts: BTreeMap::from([("displayName".to_owned(), user.name.clone())]),
        ..Provisioned::default()
    };
    let said = user.provisioned.as_deref().unwrap_or(&nothing);
    let mut shown = Map::new();
    for (path, text) in &said.texts {
        let text = Value::from(text.as_str());
        let place = match path.strip_prefix(ENTERPRISE) {
            Some(name) => Some((ENTERPRISE, name.trim_start_matches(':'))),
            None => path.split_once('.'),
        };
        match place {
            None => {
                shown.insert(path.clone(), text);
            }
            Some((place, name)) => {
                let place = shown.entry(place).or_insert_with(|| Map::new().into());
                if let Value::Object(place) = place {
                    place.insert(name.to_owned(), text);
                }
            }
        }
    }
    let mut schemas = vec![USER];
    if shown.contains_key(ENTERPRISE) {
        schemas.push(ENTERPRISE);
    }
    let groups: Vec<Value> = people::groups(snapshot, user)
        .into_iter()
        .map(|(group, name)| {
            json!({"value": group, "$ref": format!("{base}/Groups/{group}"), "display": name, "type": "direct"})
        })
        .collect();
    let several = [
        ("emails", emails(user, said)),
        ("roles", said.roles.iter().map(valued).collect()),
        ("groups", groups),
    ];
    for (name, values) in several {
        if !values.is_empty() {
            shown.insert(name.to_owned(), Value::Array(values));
        }
    }
    if let Some(external) = &said.external_id {
        shown.insert("externalId".into(), external.as_str().into());
    }
    let rest = [
        ("schemas", json!(schemas)),
        ("id", json!(reference)),
        ("userName", people::user_name(user).into()),
        ("active", user.active.into()),
        (
            "meta",
            json!({"resourceType": "User", "location": format!("{base}/Users/{reference}")}),
        ),
    ];
    // What says what it is comes first.
    let first = rest.map(|(name, value)| (name.to_owned(), value));
    first.into_iter().chain(shown).collect()
}

fn valued(one: &Valued) -> Value {
    let mut shown = Map::from_iter([("value".to_owned(), one.value.as_str().into())]);
    if let Some(kind) = &one.kind {
        shown.insert("type".into(), kind.as_str().into());
    }
    if let Some(display) = &one.display {
        shown.insert("display".into(), display.as_str().into());
    }
    if let Some(primary) = one.primary {
        shown.insert("primary".into(), primary.into());
    }
    Value::Object(shown)
}

/// Their addresses; one that has been given them by another door comes first.
fn emails(user: &User, said: &Provisioned) -> Vec<Value> {
    let is_theirs = |one: &Valued| one.value.trim().to_lowercase() == user.email;
    if said.emails.iter().any(is_theirs) {
        return said.emails.iter().map(valued).collect();
    }
    let own = Valued {
        value: user.email.clone(),
        kind: Some("work".into()),
        display: None,
        primary: Some(true),
    };
    let others = said.emails.iter().map(|one| Valued {
        primary: one.primary.map(|_| false),
        ..one.clone()
    });
    std::iter::once(own)
        .chain(others)
        .map(|one| valued(&one))
        .collect()
}

/// A person as a resource says that they are to be.
///
/// # Errors
/// No user name, no address, or a value that is none.
pub(super) fn wanted(said: &Map<String, Value>) -> Result<Wanted, Misfit> {
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    let Some(user_name) = text("userName") else {
        return Err(invalid("userName", "it is missing"));
    };
    let emails = several(said, "emails")?;
    let roles = several(said, "roles")?;
    let roles = roles.into_iter().map(|one| match role(&one.value) {
        Some(known) => Ok(Valued {
            value: known.name().to_owned(),
            ..one
        }),
        None => Err(invalid("roles", "each is Admin, Member or Viewer")),
    });
    let roles: Vec<Valued> = roles.collect::<Result<_, _>>()?;
    let main = emails.iter().find(|one| one.primary == Some(true));
    let work = || {
        emails
            .iter()
            .find(|one| one.kind.as_deref() == Some("work"))
    };
    let main = main.or_else(work).or_else(|| emails.first());
    let email = main.map_or(user_name, |one| &one.value).to_owned();
    crate::directory::people::address(&email).map_err(|_| {
        invalid(
            "emails",
            "a person needs one address, there or as their userName",
        )
    })?;
    let mut texts = BTreeMap::new();
    for attribute in PEOPLE.core.attributes {
        match (attribute.of, said.get(attribute.name)) {
            (Type::Text, Some(Value::String(text))) if attribute.name != "userName" => {
                texts.insert(attribute.name.to_owned(), text.clone());
            }
            (Type::Complex, Some(Value::Object(parts))) => {
                for (part, value) in parts {
                    if let Value::String(text) = value {
                        texts.insert(format!("{}.{part}", attribute.name), text.clone());
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(Value::Object(parts)) = said.get(ENTERPRISE) {
        for (part, value) in parts {
            if let Value::String(text) = value {
                texts.insert(format!("{ENTERPRISE}:{part}"), text.clone());
            }
        }
    }
    let is_address = user_name.trim().to_lowercase() == email.trim().to_lowercase();
    Ok(Wanted {
        name: called(&texts, user_name),
        email,
        active: said.get("active").and_then(Value::as_bool),
        provisioned: Provisioned {
            external_id: text("externalId").map(str::to_owned),
            user_name: (!is_address || user_name != user_name.to_lowercase())
                .then(|| user_name.to_owned()),
            texts,
            emails,
            roles,
        },
    })
}

/// What people call them: the first of these that is said, cut to what a name may be.
fn called(texts: &BTreeMap<String, String>, user_name: &str) -> String {
    let said = |path: &str| texts.get(path).cloned();
    let parts = [said("name.givenName"), said("name.familyName")];
    let joined: Vec<String> = parts.into_iter().flatten().collect();
    let name = said("displayName")
        .or_else(|| said("name.formatted"))
        .or_else(|| (!joined.is_empty()).then(|| joined.join(" ")))
        .unwrap_or_else(|| user_name.to_owned());
    let mut cut = String::new();
    for character in name.trim().chars() {
        if cut.len() + character.len_utf8() > crate::directory::NAME_LIMIT {
            break;
        }
        cut.push(character);
    }
    cut
}

fn several(said: &Map<String, Value>, name: &'static str) -> Result<Vec<Valued>, Misfit> {
    let Some(Value::Array(values)) = said.get(name) else {
        return Ok(Vec::new());
    };
    if values.len() > VALUES_MOST {
        return Err(invalid(name, "there are more than 20"));
    }
    let mut read = Vec::with_capacity(values.len());
    for value in values {
        let text = |part: &str| {
            let text = value.get(part).and_then(Value::as_str);
            text.map(str::to_owned)
        };
        let one = Valued {
            value: text("value").ok_or_else(|| invalid(name, "each needs a `value`"))?,
            kind: text("type"),
            display: text("display"),
            primary: value.get("primary").and_then(Value::as_bool),
        };
        read.push(one);
    }
    let main = read.iter().filter(|one| one.primary == Some(true)).count();
    if main > 1 {
        return Err(invalid(name, "one of them is primary at the most"));
    }
    Ok(read)
}

/// Whether somebody may be who is looked for.
pub(super) fn fits(pin: Pin<'_>, reference: Ref, user: &User) -> bool {
    let said = user.provisioned.as_deref();
    match pin {
        Pin::Id(id) => reference.to_string() == id,
        Pin::ExternalId(id) => said.and_then(|said| said.external_id.as_deref()) == Some(id),
        Pin::UserName(name) => is_same(people::user_name(user), name),
        Pin::DisplayName(name) => match said {
            Some(said) => said
                .texts
                .get("displayName")
                .is_some_and(|said| is_same(said, name)),
            None => is_same(&user.name, name),
        },
        Pin::Email(email) => {
            is_same(&user.email, email)
                || said.is_some_and(|said| said.emails.iter().any(|one| is_same(&one.value, email)))
        }
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
