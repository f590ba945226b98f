//! Pieces cut out of responses and put into them.

use super::super::idp::{swap, swap_first, swap_last};

pub(super) const EXCLUSIVE: &str =
    "<ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"/>";
pub(super) const ENVELOPED: &str =
    "<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/>";
pub(super) const RSA_SHA_256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
pub(super) const SHA_256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
pub(super) const URI: &str = "URI=\"#_assertion\"";

/// The part of a text from one mark to the end of another.
pub(super) fn part<'a>(xml: &'a str, from: &str, to: &str) -> &'a str {
    let begin = xml.find(from).unwrap();
    let end = begin + xml[begin..].find(to).unwrap() + to.len();
    &xml[begin..end]
}

pub(super) fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    part(xml, &format!("<saml:{name}"), &format!("</saml:{name}>"))
}

pub(super) fn doubled(xml: &str, name: &str) -> String {
    let one = element(xml, name);
    swap_first(xml, one, &format!("{one}{one}"))
}

pub(super) fn without(xml: &str, name: &str) -> String {
    swap(xml, element(xml, name), "")
}

/// Something put into an element's end.
pub(super) fn into(xml: &str, name: &str, what: &str) -> String {
    swap_last(
        xml,
        &format!("</saml:{name}>"),
        &format!("{what}</saml:{name}>"),
    )
}

pub(super) fn with_assertion(xml: &str, change: impl Fn(&str) -> String) -> String {
    let one = element(xml, "Assertion");
    swap(xml, one, &change(one))
}

/// The signatures of a response, first to last.
pub(super) fn signatures(xml: &str) -> Vec<&str> {
    let end = "</ds:Signature>";
    xml.match_indices("<ds:Signature ")
        .map(|(at, _)| &xml[at..at + xml[at..].find(end).unwrap() + end.len()])
        .collect()
}

pub(super) fn stripped(xml: &str) -> String {
    let mut plain = xml.to_owned();
    for signature in signatures(xml) {
        plain = swap(&plain, signature, "");
    }
    plain
}

pub(super) fn transform(xml: &str, with: &str) -> String {
    swap(xml, EXCLUSIVE, with)
}

pub(super) fn inside<'a>(xml: &'a str, open: &str, close: &str) -> &'a str {
    let (_, behind) = xml.split_once(open).unwrap();
    behind.split_once(close).unwrap().0
}
