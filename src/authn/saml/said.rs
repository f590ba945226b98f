//! What an assertion's attributes say about somebody: address, name and groups, by the names that are set or the usual ones.

use std::collections::BTreeSet;

use roxmltree::Node;

use super::element::{ASSERTION, all};
use super::refusal::SamlRefusal;
use crate::directory::connection::Saml;

const EMAIL_FORMAT: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";

/// The most bytes of an address (RFC 5321, 4.5.3.1).
const LONGEST_EMAIL: usize = 254;

/// The usual names of an address: of Entra ID and AD FS, of LDAP, and plain ones. Compared without case.
const EMAILS: &[&str] = &[
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
    "urn:oid:0.9.2342.19200300.100.1.3",
    "email",
    "emailaddress",
    "mail",
    "user.email",
];

/// The usual names of what people call somebody.
const NAMES: &[&str] = &[
    "http://schemas.microsoft.com/identity/claims/displayname",
    "urn:oid:2.16.840.1.113730.3.1.241",
    "displayname",
    "urn:oid:2.5.4.3",
    "cn",
    "name",
];

/// The usual names of a given name.
const GIVEN_NAMES: &[&str] = &[
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname",
    "urn:oid:2.5.4.42",
    "givenname",
    "firstname",
];

/// The usual names of a family name.
const FAMILY_NAMES: &[&str] = &[
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname",
    "urn:oid:2.5.4.4",
    "sn",
    "surname",
    "lastname",
];

/// The usual names of groups.
const GROUPS: &[&str] = &[
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups",
    "http://schemas.xmlsoap.org/claims/group",
    "urn:oid:1.3.6.1.4.1.5923.1.5.1.1",
    "groups",
    "group",
    "memberof",
];

/// What the attributes say.
pub(super) struct Said {
    pub(super) email: Option<String>,
    pub(super) name: Option<String>,
    pub(super) groups: Vec<String>,
    /// Each attribute's name and each of its values.
    pub(super) attributes: Vec<(String, String)>,
}

struct Attribute {
    name: String,
    friendly: Option<String>,
    values: Vec<String>,
}

/// What an assertion says about whom it names by this NameID.
pub(super) fn by(
    assertion: Node<'_, '_>,
    saml: &Saml,
    format: &str,
    name_id: &str,
) -> Result<Said, SamlRefusal> {
    let mut attributes = Vec::new();
    for statement in all(assertion, ASSERTION, "AttributeStatement") {
        for attribute in all(statement, ASSERTION, "Attribute") {
            attributes.push(read(attribute)?);
        }
    }
    let one =
        |set: Option<&str>, usual: &[&str]| values(&attributes, set, usual).into_iter().next();
    let email = match saml.email_attribute.as_deref() {
        None if format == EMAIL_FORMAT => Some(name_id.to_owned()),
        set => one(set, EMAILS),
    };
    let name = one(saml.name_attribute.as_deref(), NAMES).or_else(|| {
        // Only where no attribute is set: what an Admin has named and is not there is not made up.
        if saml.name_attribute.is_some() {
            return None;
        }
        let parts = [one(None, GIVEN_NAMES), one(None, FAMILY_NAMES)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    });
    let groups = values(&attributes, saml.groups_attribute.as_deref(), GROUPS);
    let groups: BTreeSet<String> = groups.into_iter().collect();
    let attributes = attributes
        .into_iter()
        .flat_map(|attribute| {
            let name = attribute.name;
            attribute
                .values
                .into_iter()
                .map(move |value| (name.clone(), value))
        })
        .collect();
    Ok(Said {
        email: email.filter(|email| is_email(email)),
        name,
        groups: groups.into_iter().collect(),
        attributes,
    })
}

/// Whether an address is of one of these domains.
pub(super) fn is_of(email: &str, domains: &[String]) -> bool {
    email
        .rsplit_once('@')
        .is_some_and(|(_, domain)| domains.iter().any(|own| own.eq_ignore_ascii_case(domain)))
}

/// One `@`, something on both sides of it, and nothing that an address could hide in a list or a header.
fn is_email(text: &str) -> bool {
    let plain =
        |one: char| !one.is_whitespace() && !one.is_control() && !"<>,;\"()[]\\".contains(one);
    text.len() <= LONGEST_EMAIL
        && text.chars().all(plain)
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

/// The values of the attribute that is set, or of the first of the usual names that has any.
fn values(attributes: &[Attribute], set: Option<&str>, usual: &[&str]) -> Vec<String> {
    let called = |wanted: &dyn Fn(&str) -> bool| -> Vec<String> {
        attributes
            .iter()
            .filter(|one| wanted(&one.name) || one.friendly.as_deref().is_some_and(wanted))
            .flat_map(|one| one.values.iter())
            .filter(|value| !value.is_empty())
            .cloned()
            .collect()
    };
    if let Some(set) = set {
        return called(&|name| name == set);
    }
    usual
        .iter()
        .map(|usual| called(&|name| name.eq_ignore_ascii_case(usual)))
        .find(|values| !values.is_empty())
        .unwrap_or_default()
}

fn read(node: Node<'_, '_>) -> Result<Attribute, SamlRefusal> {
    let values = all(node, ASSERTION, "AttributeValue")
        // A value that is a NameID is somebody's identifier elsewhere, and none of what is asked for.
        .filter(|value| value.children().all(|child| child.is_text()))
        .map(|value| {
            Ok(super::element::text(value, "AttributeValue")?
                .trim()
                .to_owned())
        })
        .collect::<Result<Vec<_>, SamlRefusal>>()?;
    Ok(Attribute {
        name: node.attribute("Name").unwrap_or_default().to_owned(),
        friendly: node.attribute("FriendlyName").map(str::to_owned),
        values,
    })
}
