//! How an organization's people sign in, as its Admins set it: connections, mail domains, and what is enforced.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DirectoryError;
use super::change::{Change, RowId};
use super::connection::{Connection, ConnectionId, Domain, Protocol, SESSION_MINUTES, SignIn};
use super::object::{Body, Object, Organization, Ref};
use super::people;
use super::roll::is_active_admin;
use super::session;
use super::snapshot::Snapshot;
use crate::decide::authorized::{
    Authorized, Operator, Proven, SettingsUpdate, SsoConfigure, SsoDisable,
};
use crate::log::vocabulary::Event;

/// A test of a connection that an Admin may begin, as it is kept until they do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trial {
    /// What is tested.
    pub connection: ConnectionId,
    /// Who tests it.
    pub admin: Ref,
}

/// How many connections an organization has at the most: each is a button of the sign-in page.
pub const CONNECTIONS_MOST: usize = 20;

/// How many mail domains it has at the most.
pub const DOMAINS_MOST: usize = 100;

/// A connection is set up, or set otherwise. What decides whom the provider is trusted about must be tested anew.
///
/// # Errors
/// A name that cannot be read, or too many.
pub fn configure(
    _by: &Authorized<SsoConfigure>,
    snapshot: &Snapshot,
    (id, wanted): (ConnectionId, &Connection),
    was: Option<&Connection>,
) -> Result<Change, DirectoryError> {
    configured(snapshot, (id, wanted), was)
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn configure_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    (id, wanted): (ConnectionId, &Connection),
    was: Option<&Connection>,
) -> Result<Change, DirectoryError> {
    configured(snapshot, (id, wanted), was)
}

fn configured(
    snapshot: &Snapshot,
    (id, wanted): (ConnectionId, &Connection),
    was: Option<&Connection>,
) -> Result<Change, DirectoryError> {
    let old = snapshot.connection(id).map(|stored| &stored.value);
    // What another Admin has taken away or switched off meanwhile is not brought back by this.
    if old != was {
        return Err(DirectoryError::Moved);
    }
    if old.is_none() && snapshot.connections().count() >= CONNECTIONS_MOST {
        return Err(DirectoryError::Taken {
            what: format!("each of {CONNECTIONS_MOST} connections"),
        });
    }
    let is_same = old.is_some_and(|old| old.protocol == wanted.protocol);
    let connection = Connection {
        name: super::name("name", &wanted.name)?,
        tested_by: match old {
            Some(old) if is_same => old.tested_by.clone(),
            _ => [].into(),
        },
        ..wanted.clone()
    };
    let enforced = snapshot.organization()?.sso_enforced.as_deref();
    let carries = old.filter(|old| old.enabled && Some(old.protocol.name()) == enforced);
    if carries
        .is_some_and(|old| !connection.enabled || !is_akin(&old.protocol, &connection.protocol))
    {
        still_enforceable(snapshot, id)?;
    }
    let details = json!({
        "connection": id, "before": old.map(|old| told(id, old)), "after": told(id, &connection),
    });
    let is_over = old.is_some_and(|old| {
        old.enabled && (!connection.enabled || !is_akin(&old.protocol, &connection.protocol))
    });
    let change = kept(snapshot, id, connection, details);
    Ok(match is_over {
        true => session::end_of(snapshot, id, change),
        false => change,
    })
}

/// Whether it is the same provider still, which may have got another certificate beside one that it had.
fn is_akin(old: &Protocol, new: &Protocol) -> bool {
    match (old, new) {
        (Protocol::Oidc(old), Protocol::Oidc(new)) => {
            old.issuer == new.issuer && old.client_id == new.client_id
        }
        (Protocol::Saml(old), Protocol::Saml(new)) => {
            let keeps = |certificate: &String| new.certificates.contains(certificate);
            old.entity_id == new.entity_id && old.certificates.iter().any(keeps)
        }
        _ => false,
    }
}

/// An Admin has signed in by it in a test.
///
/// # Errors
/// It is not there, or was set otherwise since the test began.
pub fn tested(
    _by: &Proven,
    snapshot: &Snapshot,
    (id, protocol, admin): (ConnectionId, &Protocol, Ref),
) -> Result<Change, DirectoryError> {
    let old = require(snapshot, id)?;
    if old.protocol != *protocol {
        return Err(DirectoryError::Taken {
            what: "what was tested".into(),
        });
    }
    let mut connection = old.clone();
    connection.tested_by.insert(admin);
    let details = json!({"connection": id, "tested_by": admin});
    Ok(kept(snapshot, id, connection, details))
}

/// A connection is taken away. Those who came by it stay members.
///
/// # Errors
/// It is not there, or single sign-on is enforced and could not be used without it.
pub fn remove(
    _by: &Authorized<SsoDisable>,
    snapshot: &Snapshot,
    id: ConnectionId,
) -> Result<Change, DirectoryError> {
    removed(snapshot, id)
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn remove_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    id: ConnectionId,
) -> Result<Change, DirectoryError> {
    removed(snapshot, id)
}

fn removed(snapshot: &Snapshot, id: ConnectionId) -> Result<Change, DirectoryError> {
    let old = require(snapshot, id)?;
    let organization = snapshot.organization()?;
    if old.enabled && organization.sso_enforced.as_deref() == Some(old.protocol.name()) {
        still_enforceable(snapshot, id)?;
    }
    let details = json!({"connection": id, "name": old.name, "protocol": old.protocol.name()});
    let change = Change::new(Event::SsoDisabled, Some(settings(snapshot)), details)
        .end(RowId::Connection(id));
    // Whoever came by it shows again who they are.
    Ok(session::end_of(snapshot, id, change).reply(json!({"id": id})))
}

/// From here on people sign in by this method alone, but for the break-glass Admin.
///
/// # Errors
/// No connection of that method is in use that the acting Admin has tested, or the break-glass person is no active Admin.
pub fn enforce(
    by: &Authorized<SsoConfigure>,
    snapshot: &Snapshot,
    (method, break_glass): (&str, Ref),
) -> Result<Change, DirectoryError> {
    let admin = by.user().ok_or(DirectoryError::NoActingUser)?;
    let tested = snapshot.connections().any(|(_, stored)| {
        let connection = &stored.value;
        connection.enabled
            && connection.protocol.name() == method
            && connection.tested_by.contains(&admin)
    });
    if !tested {
        return Err(DirectoryError::invalid(
            "method",
            "test a connection of this method yourself and enable it first, so that nobody is locked out",
        ));
    }
    if !snapshot.user(break_glass).is_some_and(is_active_admin) {
        return Err(DirectoryError::invalid(
            "break_glass",
            "it must be an active Admin",
        ));
    }
    let mut organization = snapshot.organization()?.clone();
    let before = organization.sso_enforced.replace(method.to_owned());
    let named = organization.sign_in.break_glass.replace(break_glass);
    let details = json!({"enforced": method, "before": before, "break_glass": break_glass});
    let change = set(snapshot, Event::SsoConfigured, organization, details);
    Ok(match named.filter(|named| *named != break_glass) {
        Some(named) => session::end_glass(snapshot, named, change),
        None => change,
    })
}

/// People sign in by any method again.
///
/// # Errors
/// Nothing is enforced.
pub fn relax(_by: &Authorized<SsoDisable>, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    relaxed(snapshot)
}

/// The same by the operator, where nobody gets in any more.
///
/// # Errors
/// The same.
pub fn relax_by_operator(_by: &Operator, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    relaxed(snapshot)
}

fn relaxed(snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let mut organization = snapshot.organization()?.clone();
    let Some(before) = organization.sso_enforced.take() else {
        return Err(DirectoryError::conflicting("method", "none is enforced"));
    };
    let details = json!({"enforced": null, "before": before});
    Ok(set(snapshot, Event::SsoDisabled, organization, details))
}

/// The organization says that a mail domain is its own; `token` is what must be found there.
///
/// # Errors
/// It is no domain, is there already, or there are too many.
pub fn claim(
    _by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    (name, token): (&str, &str),
) -> Result<Change, DirectoryError> {
    claimed(snapshot, (name, token))
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn claim_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    (name, token): (&str, &str),
) -> Result<Change, DirectoryError> {
    claimed(snapshot, (name, token))
}

fn claimed(snapshot: &Snapshot, (name, token): (&str, &str)) -> Result<Change, DirectoryError> {
    let name = domain(name)?;
    let mut organization = snapshot.organization()?.clone();
    if organization.sign_in.domains.len() >= DOMAINS_MOST {
        return Err(DirectoryError::invalid(
            "domain",
            format!("there are {DOMAINS_MOST} already"),
        ));
    }
    let claimed = Domain {
        token: token.to_owned(),
        verified_at: None,
    };
    if organization
        .sign_in
        .domains
        .insert(name.clone(), claimed)
        .is_some()
    {
        return Err(DirectoryError::Taken {
            what: format!("the domain `{name}`"),
        });
    }
    let details = json!({"domain": name, "verified": false});
    let reply = domain_told(&name, organization.sign_in.domains.get(&name));
    Ok(set(snapshot, Event::SettingsUpdated, organization, details).reply(reply))
}

/// What must be found at a domain was found there, with this token.
///
/// # Errors
/// The domain is not there, or waits for another token.
pub fn verified(
    by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    (name, token): (&str, &str),
) -> Result<Change, DirectoryError> {
    shown(snapshot, (name, token), by.now())
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn verified_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    (name, token): (&str, &str),
) -> Result<Change, DirectoryError> {
    shown(snapshot, (name, token), by.now())
}

fn shown(
    snapshot: &Snapshot,
    (name, token): (&str, &str),
    now: DateTime<Utc>,
) -> Result<Change, DirectoryError> {
    let mut organization = snapshot.organization()?.clone();
    let claimed = organization.sign_in.domains.get_mut(name);
    let Some(claimed) = claimed.filter(|claimed| claimed.token == token) else {
        return Err(no_domain(name));
    };
    claimed.verified_at = Some(now);
    let reply = domain_told(name, Some(claimed));
    let details = json!({"domain": name, "verified": true});
    Ok(set(snapshot, Event::SettingsUpdated, organization, details).reply(reply))
}

/// A mail domain is the organization's no longer. Members with an address of it stay.
///
/// # Errors
/// It is not there.
pub fn disclaim(
    _by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    name: &str,
) -> Result<Change, DirectoryError> {
    disclaimed(snapshot, name)
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn disclaim_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    name: &str,
) -> Result<Change, DirectoryError> {
    disclaimed(snapshot, name)
}

fn disclaimed(snapshot: &Snapshot, name: &str) -> Result<Change, DirectoryError> {
    let mut organization = snapshot.organization()?.clone();
    if organization.sign_in.domains.remove(name).is_none() {
        return Err(no_domain(name));
    }
    let details = json!({"domain": name, "removed": true});
    Ok(set(snapshot, Event::SettingsUpdated, organization, details).reply(json!({"domain": name})))
}

/// How long sessions last: shorter than what this service allows, never longer.
///
/// # Errors
/// A time that is none.
pub fn limit_sessions(
    _by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    (idle, whole): (Option<u32>, Option<u32>),
) -> Result<Change, DirectoryError> {
    limited(snapshot, (idle, whole))
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn limit_sessions_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    (idle, whole): (Option<u32>, Option<u32>),
) -> Result<Change, DirectoryError> {
    limited(snapshot, (idle, whole))
}

fn limited(
    snapshot: &Snapshot,
    (idle, whole): (Option<u32>, Option<u32>),
) -> Result<Change, DirectoryError> {
    let within = |member, minutes: Option<u32>, most: u32| match minutes {
        Some(minutes) if !(1..=most).contains(&minutes) => Err(DirectoryError::invalid(
            member,
            format!("it must be a number of minutes from 1 to {most}"),
        )),
        _ => Ok(()),
    };
    within("idle_minutes", idle, super::connection::IDLE_MINUTES)?;
    within("session_minutes", whole, SESSION_MINUTES)?;
    let mut organization = snapshot.organization()?.clone();
    let before = organization.sign_in.clone();
    organization.sign_in.idle_minutes = idle;
    organization.sign_in.session_minutes = whole;
    let details = json!({
        "idle_minutes": {"old": before.idle_minutes, "new": idle},
        "session_minutes": {"old": before.session_minutes, "new": whole},
    });
    Ok(set(snapshot, Event::SettingsUpdated, organization, details))
}

/// A connection as it is told: everything but its secret.
#[must_use]
pub fn told(id: ConnectionId, connection: &Connection) -> Value {
    let mut view = match &connection.protocol {
        Protocol::Oidc(oidc) => json!({
            "issuer": oidc.issuer, "client_id": oidc.client_id, "has_client_secret": oidc.client_secret.is_some(),
            "scopes": oidc.scopes, "groups_claim": oidc.groups_claim, "hosted_domain": oidc.hosted_domain,
        }),
        Protocol::Saml(saml) => json!({
            "entity_id": saml.entity_id, "sso_url": saml.sso_url, "binding": saml.binding,
            "certificates": saml.certificates, "idp_initiated": saml.idp_initiated,
            "email_attribute": saml.email_attribute, "name_attribute": saml.name_attribute,
            "groups_attribute": saml.groups_attribute,
        }),
    };
    if let Some(view) = view.as_object_mut() {
        let roles: serde_json::Map<String, Value> = connection
            .group_roles
            .iter()
            .map(|(group, role)| (group.clone(), role.name().into()))
            .collect();
        view.insert("id".into(), json!(id));
        view.insert("protocol".into(), connection.protocol.name().into());
        view.insert("name".into(), connection.name.clone().into());
        view.insert("enabled".into(), connection.enabled.into());
        view.insert("tested_by".into(), json!(connection.tested_by));
        view.insert("provisioning".into(), connection.provisioning.into());
        view.insert("default_role".into(), connection.default_role.name().into());
        view.insert("group_roles".into(), Value::Object(roles));
    }
    view
}

/// What is set about signing in, as it is told.
#[must_use]
pub fn sign_in_told(organization: &Organization) -> Value {
    let SignIn {
        domains,
        break_glass,
        ..
    } = &organization.sign_in;
    let domains: Vec<_> = domains
        .iter()
        .map(|(name, domain)| domain_told(name, Some(domain)))
        .collect();
    json!({
        "enforced": organization.sso_enforced, "break_glass": break_glass, "domains": domains,
        "idle_minutes": organization.sign_in.idle().num_minutes(),
        "session_minutes": organization.sign_in.session().num_minutes(),
    })
}

/// A domain and what must be found at it.
fn domain_told(name: &str, domain: Option<&Domain>) -> Value {
    let record = domain.map(|domain| format!("cedarkeep-verification={}", domain.token));
    json!({
        "domain": name, "record_name": format!("_cedarkeep.{name}"), "record_type": "TXT", "record_value": record,
        "verified_at": domain.and_then(|domain| domain.verified_at),
    })
}

/// A domain of mail addresses, in small letters.
fn domain(text: &str) -> Result<String, DirectoryError> {
    let text = text.trim().trim_end_matches('.').to_lowercase();
    let known = people::address(&format!("a@{text}"));
    known
        .map(|_| text)
        .map_err(|_| DirectoryError::invalid("domain", "it is not a domain of mail addresses"))
}

fn no_domain(name: &str) -> DirectoryError {
    DirectoryError::NotFound {
        kind: "domain",
        id: name.chars().take(80).collect(),
    }
}

/// Without this one there must be another connection of the method that is enforced.
fn still_enforceable(snapshot: &Snapshot, without: ConnectionId) -> Result<(), DirectoryError> {
    let enforced = snapshot.organization()?.sso_enforced.as_deref();
    let another = snapshot.connections().any(|(id, stored)| {
        id != without
            && stored.value.enabled
            && !stored.value.tested_by.is_empty()
            && Some(stored.value.protocol.name()) == enforced
    });
    match another {
        true => Ok(()),
        false => Err(DirectoryError::invalid(
            "enabled",
            "people must sign in by it, and nobody has tested another: stop enforcing single sign-on first",
        )),
    }
}

fn require(snapshot: &Snapshot, id: ConnectionId) -> Result<&Connection, DirectoryError> {
    let found = snapshot.connection(id);
    found
        .map(|stored| &stored.value)
        .ok_or_else(|| DirectoryError::NotFound {
            kind: "connection",
            id: id.to_string(),
        })
}

fn settings(snapshot: &Snapshot) -> Ref {
    Ref::new(super::Kind::Settings, snapshot.org().id)
}

fn kept(snapshot: &Snapshot, id: ConnectionId, connection: Connection, details: Value) -> Change {
    let reply = told(id, &connection);
    Change::new(Event::SsoConfigured, Some(settings(snapshot)), details)
        .put(RowId::Connection(id), Body::Connection(connection))
        .reply(reply)
}

fn set(snapshot: &Snapshot, event: Event, organization: Organization, details: Value) -> Change {
    let reply = sign_in_told(&organization);
    let object = Object::Organization(organization);
    Change::new(event, Some(settings(snapshot)), details)
        .put(RowId::Object(snapshot.org()), Body::Object(object))
        .reply(reply)
}
