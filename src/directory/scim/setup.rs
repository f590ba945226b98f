//! How provisioning is set up: the tokens of the customer's directory, and which roles it gives.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::super::change::{Change, RowId};
use super::super::object::{
    ApiKey, Body, Form, Kind, Object, Organization, Ref, Role, Scope, Service,
};
use super::super::snapshot::Snapshot;
use super::super::{DirectoryError, Through, name};
use super::Scim;
use crate::decide::authorized::{Authorized, Operator, ScimConfigure};
use crate::log::vocabulary::Event;

/// How many tokens there are at once: one is replaced by another without a pause.
pub const TOKENS_MOST: usize = 2;

/// Of how many groups a role is said.
pub const GROUP_ROLES_MOST: usize = 200;

/// A new token; the token itself is shown once and never comes here.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its 128 random bits.
    pub id: [u8; 16],
    /// Those of the service that it speaks for, where there is none yet.
    pub service: [u8; 16],
    /// What people call it.
    pub name: String,
    /// When it stops.
    pub expires_at: Option<DateTime<Utc>>,
    /// SHA-256 of the whole token.
    pub digest: [u8; 32],
}

/// Makes a token. Those that are over make room for it.
///
/// # Errors
/// A name that cannot be read, a time that is past, or two that are in use.
pub fn create_token(
    by: &Authorized<ScimConfigure>,
    snapshot: &Snapshot,
    new: &NewToken,
) -> Result<Change, DirectoryError> {
    created(snapshot, new, by.now())
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn create_token_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    new: &NewToken,
) -> Result<Change, DirectoryError> {
    created(snapshot, new, by.now())
}

fn created(
    snapshot: &Snapshot,
    new: &NewToken,
    now: DateTime<Utc>,
) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(DirectoryError::invalid("expires_at", "it is past"));
    }
    let called = name("name", &new.name)?;
    let is_over = |key: &ApiKey| key.expires_at.is_some_and(|end| end <= now);
    let (over, living): (Vec<_>, Vec<_>) = tokens(snapshot).partition(|(_, key)| is_over(key));
    if living.len() >= TOKENS_MOST {
        return Err(DirectoryError::Conflicting {
            why: format!("there are {TOKENS_MOST} tokens: revoke one first"),
        });
    }
    let known = old
        .scim
        .service
        .filter(|service| snapshot.object(*service).is_some());
    let service = known.unwrap_or(Ref::new(Kind::Service, new.service));
    let token = Ref::new(Kind::ApiKey, new.id);
    let object = ApiKey {
        name: called,
        service,
        digest: HEXLOWER.encode(&new.digest),
        expires_at: new.expires_at,
        created_at: now,
        certificate: None,
        form: Form::Scim,
        made_by: Through::Several,
    };
    let details = json!({"token": token, "name": object.name, "expires_at": new.expires_at});
    let reply = told(token, &object);
    let mut change = Change::new(Event::ScimConfigured, Some(settings(snapshot)), details);
    if known.is_none() {
        let scim = Scim {
            service: Some(service),
            ..Scim::clone(&old.scim)
        };
        change = with(change, snapshot, old, scim).put(
            RowId::Object(service),
            Body::Object(Object::Service(Service {
                name: "SCIM".into(),
                scopes: [Scope::Provision].into(),
            })),
        );
    }
    for (gone, _) in over {
        change = change.end(RowId::Object(gone));
    }
    Ok(change
        .put(RowId::Object(token), Body::Object(Object::ApiKey(object)))
        .reply(reply))
}

/// Revokes a token: from the next request on it opens nothing.
///
/// # Errors
/// There is no such token.
pub fn revoke_token(
    _by: &Authorized<ScimConfigure>,
    snapshot: &Snapshot,
    token: Ref,
) -> Result<Change, DirectoryError> {
    let (_, key) = tokens(snapshot)
        .find(|(other, _)| *other == token)
        .ok_or_else(|| DirectoryError::absent(token))?;
    let details = json!({"token": token, "name": key.name, "revoked": true});
    Ok(
        Change::new(Event::ScimConfigured, Some(settings(snapshot)), details)
            .end(RowId::Object(token))
            .reply(json!({"id": token})),
    )
}

/// Sets which roles the directory gives. Those that are there are given theirs when the directory says something of them next.
///
/// # Errors
/// Too many groups, or a group's name that is none.
pub fn configure(
    _by: &Authorized<ScimConfigure>,
    snapshot: &Snapshot,
    (default_role, group_roles): (Role, &BTreeMap<String, Role>),
) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    if group_roles.len() > GROUP_ROLES_MOST {
        return Err(DirectoryError::invalid(
            "group_roles",
            format!("they are of at most {GROUP_ROLES_MOST} groups"),
        ));
    }
    for group in group_roles.keys() {
        name("group_roles", group)?;
    }
    let scim = Scim {
        default_role,
        group_roles: group_roles.clone(),
        ..Scim::clone(&old.scim)
    };
    let details = json!({"old": roles_told(&old.scim), "new": roles_told(&scim)});
    let reply = roles_told(&scim);
    let change = Change::new(Event::ScimConfigured, Some(settings(snapshot)), details);
    Ok(with(change, snapshot, old, scim).reply(reply))
}

fn with(change: Change, snapshot: &Snapshot, old: &Organization, scim: Scim) -> Change {
    let organization = Organization {
        scim: Box::new(scim),
        ..old.clone()
    };
    change.put(
        RowId::Object(snapshot.org()),
        Body::Object(Object::Organization(organization)),
    )
}

/// The tokens, those that are over included.
pub fn tokens(snapshot: &Snapshot) -> impl Iterator<Item = (Ref, &ApiKey)> {
    let keys = snapshot.objects_of(Kind::ApiKey, None);
    keys.filter_map(|(reference, stored)| match &stored.value {
        Object::ApiKey(key) if key.form == Form::Scim => Some((reference, key)),
        _ => None,
    })
}

/// A token as it is told: never what it is compared with.
#[must_use]
pub fn told(token: Ref, key: &ApiKey) -> Value {
    json!({"id": token, "name": key.name, "created_at": key.created_at, "expires_at": key.expires_at})
}

/// Which roles the directory gives, as it is told.
#[must_use]
pub fn roles_told(scim: &Scim) -> Value {
    let groups = scim.group_roles.iter();
    let groups: serde_json::Map<String, Value> = groups
        .map(|(group, role)| (group.clone(), role.name().into()))
        .collect();
    json!({"default_role": scim.default_role.name(), "group_roles": groups})
}

const fn settings(snapshot: &Snapshot) -> Ref {
    Ref::new(Kind::Settings, snapshot.org().id)
}
