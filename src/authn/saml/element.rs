//! Elements of SAML documents by their names, and which of them may stand inside which.

use roxmltree::Node;

use super::refusal::SamlRefusal;

/// The namespace of protocol messages.
pub(super) const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
/// The namespace of assertions.
pub(super) const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
/// The namespace of metadata.
pub(super) const METADATA: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
/// The namespace of XML signatures.
pub(super) const SIGNATURE: &str = "http://www.w3.org/2000/09/xmldsig#";
/// The namespace of `xsi:type`.
const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// How much of a text of the response stands in a refusal.
const SHOWN: usize = 120;

/// Whether the element has this name.
pub(super) fn is(node: Node<'_, '_>, namespace: &str, name: &str) -> bool {
    node.is_element()
        && node.tag_name().namespace() == Some(namespace)
        && node.tag_name().name() == name
}

/// A text of the response, cut short, on one line, for a refusal.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .take(SHOWN)
        .collect()
}

/// A child that an element may have, and how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    namespace: &'static str,
    name: &'static str,
    least: usize,
    most: usize,
}

impl Slot {
    pub(super) const fn one(namespace: &'static str, name: &'static str) -> Self {
        Self {
            namespace,
            name,
            least: 1,
            most: 1,
        }
    }

    pub(super) const fn maybe(namespace: &'static str, name: &'static str) -> Self {
        Self {
            namespace,
            name,
            least: 0,
            most: 1,
        }
    }

    pub(super) const fn any(namespace: &'static str, name: &'static str) -> Self {
        Self {
            namespace,
            name,
            least: 0,
            most: usize::MAX,
        }
    }

    pub(super) const fn some(namespace: &'static str, name: &'static str) -> Self {
        Self {
            namespace,
            name,
            least: 1,
            most: usize::MAX,
        }
    }
}

/// Holds an element to its children, in this order, with nothing but white space between them.
pub(super) fn children(
    node: Node<'_, '_>,
    inside: &'static str,
    slots: &[Slot],
) -> Result<(), SamlRefusal> {
    let unexpected = |what: &str| SamlRefusal::Unexpected {
        what: shown(what),
        inside,
    };
    let mut elements = Vec::new();
    for child in node.children() {
        if child.is_element() {
            elements.push(child);
        } else if !child.is_text() || !child.text().unwrap_or_default().trim_ascii().is_empty() {
            return Err(unexpected("text"));
        }
    }
    let mut rest = elements.into_iter().peekable();
    for (at, slot) in slots.iter().enumerate() {
        let mut found = 0;
        while found < slot.most
            && rest
                .next_if(|child| is(*child, slot.namespace, slot.name))
                .is_some()
        {
            found += 1;
        }
        if found < slot.least {
            // What stands there says more than what does not, unless it is only early.
            let early = |child: &Node<'_, '_>| {
                slots
                    .iter()
                    .skip(at)
                    .any(|slot| is(*child, slot.namespace, slot.name))
            };
            return Err(match rest.peek() {
                Some(child) if !early(child) => unexpected(child.tag_name().name()),
                _ => SamlRefusal::Missing {
                    what: slot.name,
                    inside,
                },
            });
        }
    }
    match rest.next() {
        Some(child) => Err(unexpected(child.tag_name().name())),
        None => Ok(()),
    }
}

/// Holds an element to attributes of no namespace by their names; of others only `xsi:type` and `xsi:nil` may be there.
pub(super) fn attributes(
    node: Node<'_, '_>,
    inside: &'static str,
    names: &[&str],
) -> Result<(), SamlRefusal> {
    let foreign = node
        .attributes()
        .find(|attribute| match attribute.namespace() {
            None => !names.contains(&attribute.name()),
            Some(SCHEMA_INSTANCE) => false,
            Some(_) => true,
        });
    match foreign {
        Some(attribute) => Err(SamlRefusal::Unexpected {
            what: shown(attribute.name()),
            inside,
        }),
        None => Ok(()),
    }
}

/// The first child of this name.
pub(super) fn child<'a, 'input>(
    node: Node<'a, 'input>,
    namespace: &str,
    name: &str,
) -> Option<Node<'a, 'input>> {
    node.children().find(|child| is(*child, namespace, name))
}

/// All children of this name.
pub(super) fn all<'a, 'input>(
    node: Node<'a, 'input>,
    namespace: &'static str,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children()
        .filter(move |child| is(*child, namespace, name))
}

/// The one child of this name.
pub(super) fn only<'a, 'input>(
    node: Node<'a, 'input>,
    namespace: &'static str,
    name: &'static str,
    inside: &'static str,
) -> Result<Node<'a, 'input>, SamlRefusal> {
    let mut found = all(node, namespace, name);
    let first = found
        .next()
        .ok_or(SamlRefusal::Missing { what: name, inside })?;
    match found.next() {
        None => Ok(first),
        Some(_) => Err(SamlRefusal::Unexpected {
            what: name.to_owned(),
            inside,
        }),
    }
}

/// The whole text of an element that holds text alone: every text node, so that nothing can cut it short.
pub(super) fn text(node: Node<'_, '_>, inside: &'static str) -> Result<String, SamlRefusal> {
    let mut whole = String::new();
    for child in node.children() {
        if !child.is_text() {
            return Err(SamlRefusal::Unexpected {
                what: shown(child.tag_name().name()),
                inside,
            });
        }
        whole.push_str(child.text().unwrap_or_default());
    }
    Ok(whole)
}
