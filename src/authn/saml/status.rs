//! The status of a response: whether the provider let somebody in, and if not, what it says.

use roxmltree::Node;

use super::element::{PROTOCOL, Slot, attributes, child, children, only, shown};
use super::refusal::SamlRefusal;

const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";

/// Holds a status to success, and to nothing beside it.
pub(super) fn success(node: Node<'_, '_>) -> Result<(), SamlRefusal> {
    attributes(node, "Status", &[])?;
    let code = only(node, PROTOCOL, "StatusCode", "Status")?;
    if code.attribute("Value") == Some(SUCCESS) {
        attributes(code, "StatusCode", &["Value"])?;
        children(code, "StatusCode", &[])?;
        return children(
            node,
            "Status",
            &[
                Slot::one(PROTOCOL, "StatusCode"),
                Slot::maybe(PROTOCOL, "StatusMessage"),
            ],
        );
    }
    // The inner code is the one that says something.
    let inner = child(code, PROTOCOL, "StatusCode").unwrap_or(code);
    let value = inner.attribute("Value").unwrap_or_default();
    let message = child(node, PROTOCOL, "StatusMessage").and_then(|message| message.text());
    Err(SamlRefusal::Status {
        code: shown(value.rsplit(':').next().unwrap_or_default()),
        message: shown(message.unwrap_or_default()),
    })
}
