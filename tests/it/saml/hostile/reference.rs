//! A signature over something else, or through something else than it may be.

use super::super::idp::{Signs, swap};
use super::Case;
use super::Craft::{Sent, Template};
use super::cut::{ENVELOPED, EXCLUSIVE, URI, inside, transform};

pub(super) const CASES: &[Case] = &[
    // References.
    Case(
        "reference over HTTP",
        "reference",
        Signs::Assertion,
        Sent(|xml| swap(xml, URI, "URI=\"http://127.0.0.1:1/x\"")),
    ),
    Case(
        "reference to a file",
        "reference",
        Signs::Assertion,
        Sent(|xml| swap(xml, URI, "URI=\"file:///etc/passwd\"")),
    ),
    Case(
        "reference to a device without an end",
        "reference",
        Signs::Assertion,
        Sent(|xml| swap(xml, URI, "URI=\"file:///dev/zero\"")),
    ),
    Case(
        "reference to a path",
        "reference",
        Signs::Assertion,
        Sent(|xml| swap(xml, URI, "URI=\"/etc/passwd\"")),
    ),
    Case(
        "reference over FTP",
        "reference",
        Signs::Assertion,
        Sent(|xml| swap(xml, URI, "URI=\"ftp://127.0.0.1:1/x\"")),
    ),
    Case(
        "reference to the whole document",
        "reference",
        Signs::Response,
        Template(|xml| swap(xml, "URI=\"#_response\"", "URI=\"\"")),
    ),
    Case(
        "reference without a URI",
        "reference",
        Signs::Response,
        Template(|xml| swap(xml, " URI=\"#_response\"", "")),
    ),
    Case(
        "reference to everything by XPointer",
        "reference",
        Signs::Response,
        Template(|xml| swap(xml, "#_response", "#xpointer(/)")),
    ),
    Case(
        "reference to an identifier by XPointer",
        "reference",
        Signs::Assertion,
        Template(|xml| swap(xml, "#_assertion", "#xpointer(id('_assertion'))")),
    ),
    Case(
        "reference to nothing",
        "reference",
        Signs::Assertion,
        Sent(|xml| swap(xml, URI, "URI=\"#\"")),
    ),
    Case(
        "reference to what is not there",
        "reference",
        Signs::Assertion,
        Sent(|xml| swap(xml, URI, "URI=\"#_gone\"")),
    ),
    Case(
        "reference of the response to its assertion",
        "reference",
        Signs::Response,
        Template(|xml| swap(xml, "#_response", "#_assertion")),
    ),
    Case(
        "reference of the assertion to its response",
        "reference",
        Signs::Assertion,
        Template(|xml| swap(xml, "#_assertion", "#_response")),
    ),
    Case(
        "reference with a URL before the identifier",
        "reference",
        Signs::Assertion,
        Sent(|xml| swap(xml, URI, "URI=\"http://127.0.0.1:1/#_assertion\"")),
    ),
    Case(
        "reference of a type",
        "reference",
        Signs::Assertion,
        Template(|xml| {
            swap(
                xml,
                "<ds:Reference ",
                "<ds:Reference Type=\"http://www.w3.org/2000/09/xmldsig#Manifest\" ",
            )
        }),
    ),
    Case(
        "two references",
        "reference",
        Signs::Assertion,
        Template(|xml| {
            let open = "<ds:Reference ";
            let one = format!(
                "{open}{}</ds:Reference>",
                inside(xml, open, "</ds:Reference>")
            );
            swap(xml, &one, &format!("{one}{one}"))
        }),
    ),
    Case(
        "two references, one of them outside",
        "reference",
        Signs::Assertion,
        Sent(|xml| {
            let open = "<ds:Reference ";
            let one = format!(
                "{open}{}</ds:Reference>",
                inside(xml, open, "</ds:Reference>")
            );
            swap(
                xml,
                &one,
                &format!("{one}{}", swap(&one, URI, "URI=\"file:///dev/zero\"")),
            )
        }),
    ),
    Case(
        "no reference",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| {
            let open = "<ds:Reference ";
            let one = format!(
                "{open}{}</ds:Reference>",
                inside(xml, open, "</ds:Reference>")
            );
            swap(xml, &one, "")
        }),
    ),
    // Transforms.
    Case(
        "transform XSLT",
        "transforms",
        Signs::Assertion,
        Sent(|xml| {
            transform(
                xml,
                "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\"><xsl:stylesheet xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\" version=\"1.0\"/></ds:Transform>",
            )
        }),
    ),
    Case(
        "transform XPath",
        "transforms",
        Signs::Assertion,
        Template(|xml| {
            transform(
                xml,
                "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"><ds:XPath>true()</ds:XPath></ds:Transform>",
            )
        }),
    ),
    Case(
        "transform XPath that takes for ever",
        "transforms",
        Signs::Assertion,
        Sent(|xml| {
            transform(
                xml,
                "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"><ds:XPath>count(//*[count(//*[count(//*[count(//*)])])])</ds:XPath></ds:Transform>",
            )
        }),
    ),
    Case(
        "transform XPath filter",
        "transforms",
        Signs::Assertion,
        Sent(|xml| {
            transform(
                xml,
                "<ds:Transform Algorithm=\"http://www.w3.org/2002/06/xmldsig-filter2\"><XPath xmlns=\"http://www.w3.org/2002/06/xmldsig-filter2\" Filter=\"subtract\">//x</XPath></ds:Transform>",
            )
        }),
    ),
    Case(
        "transform base 64",
        "transforms",
        Signs::Assertion,
        Sent(|xml| {
            transform(
                xml,
                "<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#base64\"/>",
            )
        }),
    ),
    Case(
        "transform decrypt",
        "transforms",
        Signs::Assertion,
        Sent(|xml| {
            transform(
                xml,
                "<ds:Transform Algorithm=\"http://www.w3.org/2002/07/decrypt#XML\"/>",
            )
        }),
    ),
    Case(
        "canonicalization with comments",
        "transforms",
        Signs::Assertion,
        Template(|xml| {
            transform(
                xml,
                "<ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#WithComments\"/>",
            )
        }),
    ),
    Case(
        "inclusive canonicalization with comments",
        "transforms",
        Signs::Assertion,
        Template(|xml| {
            transform(
                xml,
                "<ds:Transform Algorithm=\"http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments\"/>",
            )
        }),
    ),
    Case(
        "signature canonicalized with comments",
        "transforms",
        Signs::Assertion,
        Template(|xml| {
            swap(
                xml,
                "<ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"",
                "<ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#WithComments\"",
            )
        }),
    ),
    Case(
        "canonicalization of another version",
        "transforms",
        Signs::Assertion,
        Template(|xml| {
            transform(
                xml,
                "<ds:Transform Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"/>",
            )
        }),
    ),
    Case(
        "three transforms",
        "transforms",
        Signs::Assertion,
        Template(|xml| transform(xml, &format!("{EXCLUSIVE}{EXCLUSIVE}"))),
    ),
    Case(
        "a thousand transforms",
        "transforms",
        Signs::Assertion,
        Sent(|xml| transform(xml, &EXCLUSIVE.repeat(1_000))),
    ),
    Case(
        "one transform",
        "transforms",
        Signs::Assertion,
        Sent(|xml| transform(xml, "")),
    ),
    Case(
        "only canonicalization",
        "transforms",
        Signs::Assertion,
        Sent(|xml| swap(xml, ENVELOPED, "")),
    ),
    Case(
        "canonicalization before the signature is left out",
        "transforms",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                &format!("{ENVELOPED}{EXCLUSIVE}"),
                &format!("{EXCLUSIVE}{ENVELOPED}"),
            )
        }),
    ),
    Case(
        "no transforms",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                &format!("<ds:Transforms>{ENVELOPED}{EXCLUSIVE}</ds:Transforms>"),
                "",
            )
        }),
    ),
    Case(
        "something inside the enveloped transform",
        "transforms",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                ENVELOPED,
                &swap(ENVELOPED, "/>", "><ds:XPath>1</ds:XPath></ds:Transform>"),
            )
        }),
    ),
    Case(
        "a long list of prefixes",
        "transforms",
        Signs::Assertion,
        Sent(|xml| {
            let list = "a ".repeat(200);
            transform(
                xml,
                &format!(
                    "<ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"><ec:InclusiveNamespaces xmlns:ec=\"http://www.w3.org/2001/10/xml-exc-c14n#\" PrefixList=\"{list}\"/></ds:Transform>"
                ),
            )
        }),
    ),
];
