//! The shape of a signature: one reference, to the element that it is in, with transforms and algorithms off a short list.

use roxmltree::Node;

use super::element::{
    ASSERTION, PROTOCOL, SIGNATURE, Slot, attributes, child, children, is, only, text,
};
use super::refusal::SamlRefusal;

const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const INCLUSIVE: &str = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";

/// The signature methods that are taken; the engine is told the same.
const METHODS: &[&str] = &[
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
];

/// The digests that are taken.
const DIGESTS: &[&str] = &[
    "http://www.w3.org/2001/04/xmlenc#sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512",
];

/// The most bytes of a list of prefixes that are canonicalized inclusively: each costs time at each element.
const LONGEST_PREFIXES: usize = 200;

/// Whether an element called `Signature` is where one may be: inside the response or its assertion.
pub(super) fn may_stand(node: Node<'_, '_>) -> bool {
    is(node, SIGNATURE, "Signature")
        && node.parent().is_some_and(|parent| {
            is(parent, PROTOCOL, "Response") || is(parent, ASSERTION, "Assertion")
        })
}

/// The identifier of an element that is signed, if it is, where its signature is made of what it must be.
pub(super) fn of(parent: Node<'_, '_>) -> Result<Option<String>, SamlRefusal> {
    let Some(signature) = child(parent, SIGNATURE, "Signature") else {
        return Ok(None);
    };
    let id = parent.attribute("ID").ok_or(SamlRefusal::Ids)?;
    let wrong = |what| move |_| SamlRefusal::SignatureShape { what };
    children(
        signature,
        "Signature",
        &[
            Slot::one(SIGNATURE, "SignedInfo"),
            Slot::one(SIGNATURE, "SignatureValue"),
            Slot::maybe(SIGNATURE, "KeyInfo"),
        ],
    )
    .map_err(wrong("Signature"))?;
    attributes(signature, "Signature", &["Id"]).map_err(wrong("Signature"))?;
    let value = only(signature, SIGNATURE, "SignatureValue", "Signature")?;
    attributes(value, "SignatureValue", &["Id"]).map_err(wrong("SignatureValue"))?;
    base_64(value, "SignatureValue")?;
    if let Some(key) = child(signature, SIGNATURE, "KeyInfo") {
        key_info(key)?;
    }
    signed_info(only(signature, SIGNATURE, "SignedInfo", "Signature")?, id)?;
    Ok(Some(id.to_owned()))
}

fn signed_info(node: Node<'_, '_>, id: &str) -> Result<(), SamlRefusal> {
    let wrong = |what| move |_| SamlRefusal::SignatureShape { what };
    attributes(node, "SignedInfo", &["Id"]).map_err(wrong("SignedInfo"))?;
    children(
        node,
        "SignedInfo",
        &[
            Slot::one(SIGNATURE, "CanonicalizationMethod"),
            Slot::one(SIGNATURE, "SignatureMethod"),
            Slot::some(SIGNATURE, "Reference"),
        ],
    )
    .map_err(wrong("SignedInfo"))?;
    canonicalization(only(
        node,
        SIGNATURE,
        "CanonicalizationMethod",
        "SignedInfo",
    )?)?;
    let method = only(node, SIGNATURE, "SignatureMethod", "SignedInfo")?;
    algorithm(method, "SignatureMethod", METHODS)?;
    let reference =
        only(node, SIGNATURE, "Reference", "SignedInfo").map_err(|_| SamlRefusal::Reference)?;
    // A type would let it be read as something else than an element.
    attributes(reference, "Reference", &["URI"]).map_err(|_| SamlRefusal::Reference)?;
    if reference
        .attribute("URI")
        .and_then(|uri| uri.strip_prefix('#'))
        != Some(id)
    {
        return Err(SamlRefusal::Reference);
    }
    children(
        reference,
        "Reference",
        &[
            Slot::one(SIGNATURE, "Transforms"),
            Slot::one(SIGNATURE, "DigestMethod"),
            Slot::one(SIGNATURE, "DigestValue"),
        ],
    )
    .map_err(wrong("Reference"))?;
    transforms(only(reference, SIGNATURE, "Transforms", "Reference")?)?;
    algorithm(
        only(reference, SIGNATURE, "DigestMethod", "Reference")?,
        "DigestMethod",
        DIGESTS,
    )?;
    let digest = only(reference, SIGNATURE, "DigestValue", "Reference")?;
    attributes(digest, "DigestValue", &[]).map_err(wrong("DigestValue"))?;
    base_64(digest, "DigestValue")
}

/// An element that names an algorithm of a list and nothing beside it: a truncated output would be named inside.
fn algorithm(node: Node<'_, '_>, what: &'static str, taken: &[&str]) -> Result<(), SamlRefusal> {
    let wrong = |_| SamlRefusal::SignatureShape { what };
    if !node
        .attribute("Algorithm")
        .is_some_and(|named| taken.contains(&named))
    {
        return Err(SamlRefusal::Algorithm);
    }
    attributes(node, what, &["Algorithm"]).map_err(wrong)?;
    children(node, what, &[]).map_err(wrong)
}

fn transforms(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    let refused = |_| SamlRefusal::Transforms;
    attributes(node, "Transforms", &[]).map_err(refused)?;
    children(node, "Transforms", &[Slot::some(SIGNATURE, "Transform")]).map_err(refused)?;
    let mut named = node.children().filter(Node::is_element);
    let (Some(first), Some(second), None) = (named.next(), named.next(), named.next()) else {
        return Err(SamlRefusal::Transforms);
    };
    if first.attribute("Algorithm") != Some(ENVELOPED) {
        return Err(SamlRefusal::Transforms);
    }
    attributes(first, "Transform", &["Algorithm"]).map_err(refused)?;
    children(first, "Transform", &[]).map_err(refused)?;
    canonicalization(second)
}

/// Exclusive or inclusive canonicalization, without comments; an exclusive one may list prefixes.
fn canonicalization(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    let refused = |_| SamlRefusal::Transforms;
    attributes(node, "Transform", &["Algorithm"]).map_err(refused)?;
    match node.attribute("Algorithm") {
        Some(INCLUSIVE) => children(node, "Transform", &[]).map_err(refused),
        Some(EXCLUSIVE) => {
            children(
                node,
                "Transform",
                &[Slot::maybe(EXCLUSIVE, "InclusiveNamespaces")],
            )
            .map_err(refused)?;
            let Some(listed) = child(node, EXCLUSIVE, "InclusiveNamespaces") else {
                return Ok(());
            };
            attributes(listed, "InclusiveNamespaces", &["PrefixList"]).map_err(refused)?;
            children(listed, "InclusiveNamespaces", &[]).map_err(refused)?;
            match listed.attribute("PrefixList") {
                Some(prefixes) if prefixes.len() <= LONGEST_PREFIXES => Ok(()),
                _ => Err(SamlRefusal::Transforms),
            }
        }
        _ => Err(SamlRefusal::Transforms),
    }
}

/// What a signer says about its key is not used, since the connection has the certificates; it may only be a description.
fn key_info(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    let wrong = |_| SamlRefusal::SignatureShape { what: "KeyInfo" };
    attributes(node, "KeyInfo", &["Id"]).map_err(wrong)?;
    let described = ["X509Data", "KeyValue", "KeyName"];
    let foreign = |child: &Node<'_, '_>| !described.iter().any(|name| is(*child, SIGNATURE, name));
    if node
        .children()
        .filter(Node::is_element)
        .any(|child| foreign(&child))
    {
        return Err(SamlRefusal::SignatureShape { what: "KeyInfo" });
    }
    Ok(())
}

fn base_64(node: Node<'_, '_>, what: &'static str) -> Result<(), SamlRefusal> {
    let wrong = SamlRefusal::SignatureShape { what };
    let mut written = text(node, what).map_err(|_| wrong.clone())?;
    written.retain(|one| !one.is_ascii_whitespace());
    match data_encoding::BASE64.decode(written.as_bytes()) {
        Ok(bytes) if !bytes.is_empty() => Ok(()),
        _ => Err(wrong),
    }
}
