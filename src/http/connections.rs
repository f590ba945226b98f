//! A connection to an identity provider as a request's body describes it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use serde_json::{Map, Value};

use super::fields::{Fields, missing, wrong};
use super::problem::Problem;
use crate::authn::saml::metadata;
use crate::directory::connection::{Binding, ClientSecret, Connection, Oidc, Protocol, Saml};
use crate::directory::entering::GOOGLE;
use crate::directory::object::Role;

/// A connection as it is asked for.
pub(super) struct Given {
    pub(super) connection: Connection,
    /// Where the provider's metadata is to be fetched from.
    pub(super) metadata_url: Option<String>,
}

impl Given {
    /// Takes over what a SAML provider's metadata says.
    pub(super) fn take(&mut self, text: &str) -> Result<(), Problem> {
        match &mut self.connection.protocol {
            Protocol::Saml(saml) => taken(saml, text),
            Protocol::Oidc(_) => Err(wrong("metadata_url", "it is for saml")),
        }
    }
}

/// A connection as it is asked for, on top of what it is now.
pub(super) fn given(body: &mut Fields, old: Option<Connection>) -> Result<Given, Problem> {
    let protocol = body.maybe_text("protocol")?;
    let is_same = |old: &Connection| {
        protocol
            .as_deref()
            .is_none_or(|name| old.protocol.name() == name)
    };
    if old.as_ref().is_some_and(|old| !is_same(old)) {
        return Err(wrong(
            "protocol",
            "it stays what it is: set another connection up",
        ));
    }
    let before = old.as_ref().map(|old| &old.protocol);
    let protocol = match protocol.as_deref().or(before.map(Protocol::name)) {
        Some("oidc") => Protocol::Oidc(oidc(body, before)?),
        Some("saml") => Protocol::Saml(saml(body, before)?),
        Some(_) => return Err(wrong("protocol", "it must be oidc or saml")),
        None => return Err(missing("protocol")),
    };
    let metadata_url = match &protocol {
        Protocol::Saml(_) => body.maybe_text("metadata_url")?,
        Protocol::Oidc(_) => None,
    };
    let name = body.maybe_text("name")?;
    let roles = match body.any("group_roles") {
        None => None,
        Some(Value::Object(roles)) => Some(group_roles(roles)?),
        Some(_) => {
            return Err(wrong(
                "group_roles",
                "it must be an object of groups and roles",
            ));
        }
    };
    let connection = Connection {
        name: name
            .or_else(|| old.as_ref().map(|old| old.name.clone()))
            .ok_or_else(|| missing("name"))?,
        protocol,
        enabled: flag(body, "enabled", old.as_ref().map(|old| old.enabled))?,
        tested_by: BTreeSet::new(),
        provisioning: flag(
            body,
            "provisioning",
            old.as_ref().map(|old| old.provisioning),
        )?,
        default_role: body
            .maybe_word("default_role")?
            .or_else(|| old.as_ref().map(|old| old.default_role))
            .unwrap_or(Role::Viewer),
        group_roles: roles
            .or_else(|| old.map(|old| old.group_roles))
            .unwrap_or_default(),
    };
    Ok(Given {
        connection,
        metadata_url,
    })
}

fn flag(body: &mut Fields, member: &str, before: Option<bool>) -> Result<bool, Problem> {
    Ok(body.maybe_flag(member)?.or(before).unwrap_or(false))
}

fn group_roles(roles: Map<String, Value>) -> Result<BTreeMap<String, Role>, Problem> {
    let read = |(group, role): (String, Value)| {
        let role = role.as_str().and_then(|role| role.parse::<Role>().ok());
        role.map(|role| (group, role))
            .ok_or_else(|| wrong("group_roles", "each group is given Admin, Member or Viewer"))
    };
    roles.into_iter().map(read).collect()
}

fn oidc(body: &mut Fields, before: Option<&Protocol>) -> Result<Oidc, Problem> {
    let old = match before {
        Some(Protocol::Oidc(oidc)) => Some(oidc.clone()),
        _ => None,
    };
    let issuer = match body.maybe_text("preset")?.as_deref() {
        None => body.maybe_text("issuer")?,
        Some("google") if body.any("issuer").is_some() => {
            return Err(wrong("issuer", "`preset` says it: send one of them"));
        }
        Some("google") => Some(GOOGLE.to_owned()),
        Some(_) => return Err(wrong("preset", "it must be google")),
    };
    let client_id = body.maybe_text("client_id")?;
    let kept = |text: Option<String>, old: Option<String>, member: &str| {
        text.or(old).ok_or_else(|| missing(member))
    };
    let secret = body.maybe_text("client_secret")?.map(ClientSecret::new);
    let scopes = body.maybe_texts("scopes")?;
    let before = old.as_ref();
    let issuer = kept(issuer, before.map(|old| old.issuer.clone()), "issuer")?;
    let client_id = kept(
        client_id,
        before.map(|old| old.client_id.clone()),
        "client_id",
    )?;
    // A secret is the one provider's: another is never sent what that one has given.
    let its = before.filter(|old| old.issuer == issuer && old.client_id == client_id);
    Ok(Oidc {
        client_secret: secret.or_else(|| its.and_then(|old| old.client_secret.clone())),
        issuer,
        client_id,
        scopes: scopes
            .map(BTreeSet::from_iter)
            .or_else(|| before.map(|old| old.scopes.clone()))
            .unwrap_or_else(|| ["email".to_owned(), "profile".to_owned()].into()),
        groups_claim: body
            .maybe_text("groups_claim")?
            .or_else(|| before.and_then(|old| old.groups_claim.clone())),
        hosted_domain: body
            .maybe_text("hosted_domain")?
            .or_else(|| before.and_then(|old| old.hosted_domain.clone())),
    })
}

fn saml(body: &mut Fields, before: Option<&Protocol>) -> Result<Saml, Problem> {
    let mut saml = match before {
        Some(Protocol::Saml(saml)) => saml.clone(),
        _ => Saml {
            entity_id: String::new(),
            sso_url: String::new(),
            binding: Binding::Redirect,
            certificates: Vec::new(),
            idp_initiated: false,
            email_attribute: None,
            name_attribute: None,
            groups_attribute: None,
        },
    };
    if let Some(text) = body.maybe_text("metadata")? {
        taken(&mut saml, &text)?;
    }
    saml.idp_initiated = flag(body, "idp_initiated", Some(saml.idp_initiated))?;
    for (member, attribute) in [
        ("email_attribute", &mut saml.email_attribute),
        ("name_attribute", &mut saml.name_attribute),
        ("groups_attribute", &mut saml.groups_attribute),
    ] {
        if let Some(text) = body.maybe_text(member)? {
            *attribute = Some(text).filter(|text| !text.is_empty());
        }
    }
    Ok(saml)
}

/// Takes over what metadata says of the provider. A certificate that was there and is not in it is trusted no more.
fn taken(saml: &mut Saml, text: &str) -> Result<(), Problem> {
    let read = metadata::read(text.as_bytes(), Utc::now());
    let read = read
        .map_err(|refusal| wrong("metadata", &refusal.to_string()))?
        .saml;
    saml.entity_id = read.entity_id;
    saml.sso_url = read.sso_url;
    saml.binding = read.binding;
    saml.certificates = read.certificates;
    Ok(())
}
