//! The gate before the signature engine: a response has exactly the shape that we read, or goes no further.
//!
//! The engine resolves references of any kind, runs any transform and mends XML that is not well-formed. So what reaches it has
//! one reference a signature, to the element that it is in, with the two usual transforms, and one assertion in the one place
//! where one belongs. The same rules are held again to what the engine hands back.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};

use super::element::{
    ASSERTION, PROTOCOL, SIGNATURE, Slot, all, attributes, child, children, is, only, shown, text,
};
use super::refusal::SamlRefusal;
use super::signature;
use super::status;

/// What is never taken wherever it stands, by local name: a foreign namespace does not make it harmless.
const FORBIDDEN: &[&str] = &[
    "Object",
    "Manifest",
    "SignatureProperties",
    "RetrievalMethod",
    "Extensions",
    "Advice",
    "AuthzDecisionStatement",
    "Statement",
    "include",
];

/// What is encrypted, by local name.
const ENCRYPTED: &[&str] = &[
    "EncryptedAssertion",
    "EncryptedID",
    "EncryptedAttribute",
    "EncryptedData",
    "EncryptedKey",
    "NewEncryptedID",
];

/// The most attributes of foreign namespaces that an `Attribute` has: each may bring its namespace along in the canonical form.
const MOST_FOREIGN: usize = 4;

/// Which elements of a response are signed, by their identifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    /// The response's, where it is signed.
    pub(super) response: Option<String>,
    /// The assertion's, where it is signed.
    pub(super) assertion: Option<String>,
}

/// Holds a whole response to its shape, and says what of it is signed.
pub(super) fn response(document: &Document<'_>) -> Result<Signed, SamlRefusal> {
    let root = document.root_element();
    envelope(root)?;
    let assertion = only(root, ASSERTION, "Assertion", "Response")?;
    let signed = Signed {
        response: signature::of(root)?,
        assertion: signature::of(assertion)?,
    };
    self::assertion(assertion)?;
    if signed.response.is_none() && signed.assertion.is_none() {
        return Err(SamlRefusal::Unsigned);
    }
    Ok(signed)
}

/// Holds what the engine says is covered by a signature to the same rules, and gives the response, where that was signed,
/// and the assertion.
pub(super) fn covered<'a, 'input>(
    document: &'a Document<'input>,
    signed: &Signed,
) -> Result<(Option<Node<'a, 'input>>, Node<'a, 'input>), SamlRefusal> {
    let root = document.root_element();
    if let Some(id) = &signed.response {
        envelope(root)?;
        let assertion = only(root, ASSERTION, "Assertion", "Response")?;
        self::assertion(assertion)?;
        return match root.attribute("ID") {
            Some(found) if found == id => Ok((Some(root), assertion)),
            _ => Err(SamlRefusal::Covered),
        };
    }
    if !is(root, ASSERTION, "Assertion") || root.attribute("ID") != signed.assertion.as_deref() {
        return Err(SamlRefusal::Covered);
    }
    everywhere(root)?;
    self::assertion(root)?;
    Ok((None, root))
}

/// The response without what is inside its assertion.
fn envelope(root: Node<'_, '_>) -> Result<(), SamlRefusal> {
    if !is(root, PROTOCOL, "Response") {
        return Err(SamlRefusal::NotAResponse);
    }
    version(root)?;
    everywhere(root)?;
    attributes(
        root,
        "Response",
        &[
            "ID",
            "Version",
            "IssueInstant",
            "Destination",
            "Consent",
            "InResponseTo",
        ],
    )?;
    // A refusal of the provider's has no assertion, and what it says is worth more than that.
    status::success(only(root, PROTOCOL, "Status", "Response")?)?;
    let count = root
        .descendants()
        .filter(|node| node.is_element() && node.tag_name().name() == "Assertion")
        .count();
    if count != 1 {
        return Err(SamlRefusal::AssertionCount { count });
    }
    children(
        root,
        "Response",
        &[
            Slot::maybe(ASSERTION, "Issuer"),
            Slot::maybe(SIGNATURE, "Signature"),
            Slot::one(PROTOCOL, "Status"),
            Slot::one(ASSERTION, "Assertion"),
        ],
    )?;
    child(root, ASSERTION, "Issuer").map_or(Ok(()), issuer)
}

fn version(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    match node.attribute("Version") {
        Some("2.0") => Ok(()),
        _ => Err(SamlRefusal::Version),
    }
}

/// What holds of every element, wherever it is: nothing forbidden, nothing encrypted, no signature out of place, and
/// identifiers that are well written, unique, and only where they belong.
fn everywhere(root: Node<'_, '_>) -> Result<(), SamlRefusal> {
    let mut seen = BTreeSet::new();
    for node in root.descendants() {
        if node.is_comment() || node.is_pi() {
            return Err(SamlRefusal::Markup);
        }
        if !node.is_element() {
            continue;
        }
        let name = node.tag_name().name();
        if ENCRYPTED.contains(&name) {
            return Err(SamlRefusal::Encrypted {
                element: name.to_owned(),
            });
        }
        if FORBIDDEN.contains(&name) {
            return Err(SamlRefusal::Forbidden {
                element: name.to_owned(),
            });
        }
        if name == "Signature" && !signature::may_stand(node) {
            return Err(SamlRefusal::SignatureShape { what: "Signature" });
        }
        for attribute in node.attributes() {
            if attribute.namespace() == Some(roxmltree::NS_XML_URI) {
                return Err(SamlRefusal::Unexpected {
                    what: shown(attribute.name()),
                    inside: "Response",
                });
            }
            if attribute.name().eq_ignore_ascii_case("id") {
                let at_home =
                    attribute.namespace().is_none() && may_have_id(node, attribute.name());
                if !at_home || !is_id(attribute.value()) || !seen.insert(attribute.value()) {
                    return Err(SamlRefusal::Ids);
                }
            }
        }
    }
    if root.attribute("ID").is_none() {
        return Err(SamlRefusal::Ids);
    }
    Ok(())
}

fn may_have_id(node: Node<'_, '_>, written: &str) -> bool {
    match written {
        "ID" => is(node, PROTOCOL, "Response") || is(node, ASSERTION, "Assertion"),
        "Id" => ["Signature", "SignedInfo", "SignatureValue", "KeyInfo"]
            .iter()
            .any(|name| is(node, SIGNATURE, name)),
        _ => false,
    }
}

/// An `xs:NCName` of ASCII, as providers make them.
fn is_id(text: &str) -> bool {
    let begins = text.starts_with(|one: char| one.is_ascii_alphabetic() || one == '_');
    begins
        && text.len() <= 256
        && text
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '.'))
}

/// Who issued something: its text alone counts, so nothing that would qualify it may be there.
fn issuer(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    attributes(node, "Issuer", &["Format"])?;
    text(node, "Issuer")?;
    match node.attribute("Format") {
        None | Some("urn:oasis:names:tc:SAML:2.0:nameid-format:entity") => Ok(()),
        Some(_) => Err(SamlRefusal::Issuer),
    }
}

/// The assertion: each element that we read once, in its place, with attributes that we know.
fn assertion(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    version(node)?;
    attributes(node, "Assertion", &["ID", "Version", "IssueInstant"])?;
    if node.attribute("ID").is_none() {
        return Err(SamlRefusal::Ids);
    }
    children(
        node,
        "Assertion",
        &[
            Slot::one(ASSERTION, "Issuer"),
            Slot::maybe(SIGNATURE, "Signature"),
            Slot::one(ASSERTION, "Subject"),
            Slot::one(ASSERTION, "Conditions"),
            // The order of statements is not laid down: what is in them is held below.
            Slot::any(ASSERTION, "AttributeStatement"),
            Slot::one(ASSERTION, "AuthnStatement"),
            Slot::any(ASSERTION, "AttributeStatement"),
        ],
    )?;
    issuer(only(node, ASSERTION, "Issuer", "Assertion")?)?;
    subject(only(node, ASSERTION, "Subject", "Assertion")?)?;
    conditions(only(node, ASSERTION, "Conditions", "Assertion")?)?;
    authentication(only(node, ASSERTION, "AuthnStatement", "Assertion")?)?;
    for statement in all(node, ASSERTION, "AttributeStatement") {
        said(statement)?;
    }
    Ok(())
}

fn subject(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    attributes(node, "Subject", &[])?;
    children(
        node,
        "Subject",
        &[
            Slot::one(ASSERTION, "NameID"),
            Slot::one(ASSERTION, "SubjectConfirmation"),
        ],
    )?;
    name_id(only(node, ASSERTION, "NameID", "Subject")?)?;
    let confirmation = only(node, ASSERTION, "SubjectConfirmation", "Subject")?;
    attributes(confirmation, "SubjectConfirmation", &["Method"])?;
    children(
        confirmation,
        "SubjectConfirmation",
        &[Slot::one(ASSERTION, "SubjectConfirmationData")],
    )?;
    let data = only(
        confirmation,
        ASSERTION,
        "SubjectConfirmationData",
        "SubjectConfirmation",
    )?;
    children(data, "SubjectConfirmationData", &[])?;
    attributes(
        data,
        "SubjectConfirmationData",
        &[
            "NotBefore",
            "NotOnOrAfter",
            "Recipient",
            "InResponseTo",
            "Address",
        ],
    )
}

fn name_id(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    attributes(
        node,
        "NameID",
        &["Format", "NameQualifier", "SPNameQualifier", "SPProvidedID"],
    )?;
    text(node, "NameID").map(drop)
}

fn conditions(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    attributes(node, "Conditions", &["NotBefore", "NotOnOrAfter"])?;
    // Their order is free: each is asked for by its name.
    let restriction = only(node, ASSERTION, "AudienceRestriction", "Conditions")?;
    for name in ["OneTimeUse", "ProxyRestriction"] {
        if all(node, ASSERTION, name).count() > 1 {
            return Err(SamlRefusal::Unexpected {
                what: name.to_owned(),
                inside: "Conditions",
            });
        }
    }
    for condition in node.children() {
        if is(condition, ASSERTION, "OneTimeUse") {
            attributes(condition, "OneTimeUse", &[])?;
            children(condition, "OneTimeUse", &[])?;
        } else if is(condition, ASSERTION, "ProxyRestriction") {
            attributes(condition, "ProxyRestriction", &["Count"])?;
            children(
                condition,
                "ProxyRestriction",
                &[Slot::any(ASSERTION, "Audience")],
            )?;
        } else if condition.is_element() && condition != restriction {
            // A condition that is not understood must not be taken for one that holds.
            return Err(SamlRefusal::Unexpected {
                what: shown(condition.tag_name().name()),
                inside: "Conditions",
            });
        } else if condition.is_text()
            && !condition.text().unwrap_or_default().trim_ascii().is_empty()
        {
            return Err(SamlRefusal::Unexpected {
                what: "text".to_owned(),
                inside: "Conditions",
            });
        }
    }
    attributes(restriction, "AudienceRestriction", &[])?;
    children(
        restriction,
        "AudienceRestriction",
        &[Slot::some(ASSERTION, "Audience")],
    )?;
    for audience in all(restriction, ASSERTION, "Audience") {
        attributes(audience, "Audience", &[])?;
        text(audience, "Audience")?;
    }
    Ok(())
}

fn authentication(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    attributes(
        node,
        "AuthnStatement",
        &["AuthnInstant", "SessionIndex", "SessionNotOnOrAfter"],
    )?;
    children(
        node,
        "AuthnStatement",
        &[
            Slot::maybe(ASSERTION, "SubjectLocality"),
            Slot::one(ASSERTION, "AuthnContext"),
        ],
    )?;
    if let Some(locality) = child(node, ASSERTION, "SubjectLocality") {
        children(locality, "SubjectLocality", &[])?;
    }
    let context = only(node, ASSERTION, "AuthnContext", "AuthnStatement")?;
    attributes(context, "AuthnContext", &[])?;
    children(
        context,
        "AuthnContext",
        &[
            Slot::maybe(ASSERTION, "AuthnContextClassRef"),
            Slot::maybe(ASSERTION, "AuthnContextDeclRef"),
            Slot::any(ASSERTION, "AuthenticatingAuthority"),
        ],
    )?;
    for reference in context.children().filter(Node::is_element) {
        text(reference, "AuthnContext")?;
    }
    Ok(())
}

/// An attribute statement. Beside text a value may be one NameID, as providers of universities write a targeted identifier.
fn said(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    attributes(node, "AttributeStatement", &[])?;
    children(
        node,
        "AttributeStatement",
        &[Slot::some(ASSERTION, "Attribute")],
    )?;
    for attribute in all(node, ASSERTION, "Attribute") {
        if attribute.attribute("Name").is_none() {
            return Err(SamlRefusal::Missing {
                what: "Name",
                inside: "Attribute",
            });
        }
        // A few attributes of foreign namespaces are usual here, and not read.
        if attribute
            .attributes()
            .filter(|one| one.namespace().is_some())
            .count()
            > MOST_FOREIGN
        {
            return Err(SamlRefusal::TooComplex {
                what: "foreign attributes",
            });
        }
        let known = ["Name", "NameFormat", "FriendlyName"];
        let foreign = |one: &roxmltree::Attribute<'_, '_>| {
            one.namespace().is_none() && !known.contains(&one.name())
        };
        if let Some(foreign) = attribute.attributes().find(foreign) {
            return Err(SamlRefusal::Unexpected {
                what: shown(foreign.name()),
                inside: "Attribute",
            });
        }
        children(
            attribute,
            "Attribute",
            &[Slot::any(ASSERTION, "AttributeValue")],
        )?;
        for value in all(attribute, ASSERTION, "AttributeValue") {
            attributes(value, "AttributeValue", &[])?;
            if value.children().any(|child| child.is_element()) {
                children(value, "AttributeValue", &[Slot::one(ASSERTION, "NameID")])?;
                name_id(only(value, ASSERTION, "NameID", "AttributeValue")?)?;
            } else {
                text(value, "AttributeValue")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;

    /// No response that passes the gate comes back from the engine as something else; should one ever, it is refused.
    #[test]
    fn what_comes_back_must_be_what_went_in() {
        let assertion = Signed {
            response: None,
            assertion: Some("_a".to_owned()),
        };
        let response = Signed {
            response: Some("_r".to_owned()),
            assertion: Some("_a".to_owned()),
        };
        let refused =
            |xml: &str, signed| covered(&Document::parse(xml).unwrap(), signed).unwrap_err();
        let other = format!("<Assertion xmlns=\"{ASSERTION}\" ID=\"_b\" Version=\"2.0\"/>");
        assert_eq!(refused(&other, &assertion), SamlRefusal::Covered);
        assert_eq!(
            refused("<Assertion ID=\"_a\"/>", &assertion),
            SamlRefusal::Covered
        );
        let same = other.replace("_b", "_a");
        assert_eq!(refused(&same, &response), SamlRefusal::NotAResponse);
        // The same shape is asked of it as before.
        let missing = SamlRefusal::Missing {
            what: "Issuer",
            inside: "Assertion",
        };
        assert_eq!(refused(&same, &assertion), missing);
    }
}
