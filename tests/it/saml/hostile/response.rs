//! A response built wrongly: its root, how many assertions, what is encrypted or never taken, and its elements.

use super::super::idp::{Signs, swap, swap_first, swap_last};
use super::Case;
use super::Craft::{Sent, Signed};
use super::cut::{doubled, element, into, without};

const STATUS: &str = "<samlp:Status><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/></samlp:Status>";

pub(super) const CASES: &[Case] = &[
    // The root.
    Case(
        "root of another name",
        "not_a_response",
        Signs::Assertion,
        Sent(|xml| swap(xml, "samlp:Response", "samlp:ArtifactResponse")),
    ),
    Case(
        "root of no namespace",
        "not_a_response",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                &swap(xml, "<samlp:Response", "<Response"),
                "</samlp:Response",
                "</Response",
            )
        }),
    ),
    Case(
        "root of the assertions' namespace",
        "not_a_response",
        Signs::Assertion,
        Sent(|xml| swap(xml, "samlp:Response", "saml:Response")),
    ),
    Case(
        "root of the namespace of version 1.1",
        "not_a_response",
        Signs::Response,
        Signed(|xml| swap(xml, "SAML:2.0:protocol", "SAML:1.0:protocol")),
    ),
    Case(
        "root is the assertion",
        "not_a_response",
        Signs::Assertion,
        Sent(|xml| {
            let assertion = element(xml, "Assertion");
            swap(
                assertion,
                "<saml:Assertion",
                "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"",
            )
        }),
    ),
    Case(
        "response inside an envelope",
        "not_a_response",
        Signs::Response,
        Sent(|xml| format!("<Envelope>{xml}</Envelope>")),
    ),
    Case(
        "a request instead of a response",
        "not_a_response",
        Signs::Response,
        Sent(|xml| swap(xml, "samlp:Response", "samlp:AuthnRequest")),
    ),
    Case(
        "a logout response",
        "not_a_response",
        Signs::Response,
        Sent(|xml| swap(xml, "samlp:Response", "samlp:LogoutResponse")),
    ),
    Case(
        "version 1.1 of the response",
        "version",
        Signs::Response,
        Signed(|xml| swap_first(xml, "Version=\"2.0\"", "Version=\"1.1\"")),
    ),
    Case(
        "version 1.1 of the assertion",
        "version",
        Signs::Assertion,
        Signed(|xml| swap_last(xml, "Version=\"2.0\"", "Version=\"1.1\"")),
    ),
    Case(
        "version missing",
        "version",
        Signs::Both,
        Signed(|xml| swap_first(xml, " Version=\"2.0\"", "")),
    ),
    Case(
        "version of the assertion missing",
        "version",
        Signs::Assertion,
        Signed(|xml| swap_last(xml, " Version=\"2.0\"", "")),
    ),
    // How many assertions.
    Case(
        "no assertion",
        "assertion_count",
        Signs::Response,
        Signed(|xml| without(xml, "Assertion")),
    ),
    Case(
        "two assertions that the provider signs",
        "assertion_count",
        Signs::Response,
        Signed(|xml| {
            let one = element(xml, "Assertion").to_owned();
            swap(
                xml,
                &one,
                &format!(
                    "{one}{}",
                    swap(&swap(&one, "_assertion", "_other"), "[[A]]", "")
                ),
            )
        }),
    ),
    Case(
        "an assertion of another namespace beside it",
        "assertion_count",
        Signs::Response,
        Signed(|xml| {
            swap(
                xml,
                "</samlp:Response>",
                "<Assertion xmlns=\"urn:x\"/></samlp:Response>",
            )
        }),
    ),
    Case(
        "an assertion in an attribute's value",
        "assertion_count",
        Signs::Assertion,
        Signed(|xml| swap(xml, ">Morty Smith<", "><saml:Assertion/><")),
    ),
    // Encryption.
    Case(
        "encrypted assertion",
        "encrypted",
        Signs::Response,
        Signed(|xml| {
            swap(
                xml,
                "</samlp:Response>",
                "<saml:EncryptedAssertion/></samlp:Response>",
            )
        }),
    ),
    Case(
        "encrypted assertion instead of one",
        "encrypted",
        Signs::Response,
        Signed(|xml| swap(xml, element(xml, "Assertion"), "<saml:EncryptedAssertion/>")),
    ),
    Case(
        "encrypted name",
        "encrypted",
        Signs::Assertion,
        Signed(|xml| swap(xml, element(xml, "NameID"), "<saml:EncryptedID/>")),
    ),
    Case(
        "encrypted attribute",
        "encrypted",
        Signs::Both,
        Signed(|xml| into(xml, "AttributeStatement", "<saml:EncryptedAttribute/>")),
    ),
    Case(
        "encrypted data in a value",
        "encrypted",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                ">Morty Smith<",
                "><x:EncryptedData xmlns:x=\"http://www.w3.org/2001/04/xmlenc#\"/><",
            )
        }),
    ),
    // What is never taken.
    Case(
        "extensions",
        "forbidden",
        Signs::Response,
        Signed(|xml| swap(xml, STATUS, &format!("<samlp:Extensions/>{STATUS}"))),
    ),
    Case(
        "advice",
        "forbidden",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "<saml:AuthnStatement",
                "<saml:Advice/><saml:AuthnStatement",
            )
        }),
    ),
    Case(
        "advice with an assertion",
        "forbidden",
        Signs::Both,
        Signed(|xml| {
            swap(
                xml,
                "<saml:AuthnStatement",
                "<saml:Advice><saml:Assertion/></saml:Advice><saml:AuthnStatement",
            )
        }),
    ),
    Case(
        "a decision",
        "forbidden",
        Signs::Assertion,
        Signed(|xml| into(xml, "Assertion", "<saml:AuthzDecisionStatement/>")),
    ),
    Case(
        "a statement of an own type",
        "forbidden",
        Signs::Assertion,
        Signed(|xml| into(xml, "Assertion", "<saml:Statement/>")),
    ),
    Case(
        "XInclude of a file",
        "forbidden",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                ">Morty Smith<",
                "><xi:include xmlns:xi=\"http://www.w3.org/2001/XInclude\" href=\"/etc/passwd\" parse=\"text\"/><",
            )
        }),
    ),
    Case(
        "XInclude beside the assertion",
        "forbidden",
        Signs::Response,
        Sent(|xml| {
            swap(
                xml,
                "</samlp:Response>",
                "<xi:include xmlns:xi=\"http://www.w3.org/2001/XInclude\" href=\"http://127.0.0.1/\"/></samlp:Response>",
            )
        }),
    ),
    // Elements of the response.
    Case(
        "no status",
        "missing",
        Signs::Response,
        Signed(|xml| swap(xml, STATUS, "")),
    ),
    Case(
        "two statuses",
        "unexpected",
        Signs::Response,
        Signed(|xml| swap(xml, STATUS, &format!("{STATUS}{STATUS}"))),
    ),
    Case(
        "status of another namespace",
        "missing",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                &swap(xml, "<samlp:Status>", "<saml:Status>"),
                "</samlp:Status>",
                "</saml:Status>",
            )
        }),
    ),
    Case(
        "status behind the assertion",
        "missing",
        Signs::Response,
        Signed(|xml| {
            swap(
                &swap(xml, STATUS, ""),
                "</samlp:Response>",
                &format!("{STATUS}</samlp:Response>"),
            )
        }),
    ),
    Case(
        "two status codes",
        "unexpected",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "</samlp:Status>",
                "<samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Requester\"/></samlp:Status>",
            )
        }),
    ),
    Case(
        "success with a reason not to",
        "unexpected",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "status:Success\"/>",
                "status:Success\"><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:AuthnFailed\"/></samlp:StatusCode>",
            )
        }),
    ),
    Case(
        "success with details",
        "unexpected",
        Signs::Response,
        Signed(|xml| {
            swap(
                xml,
                "</samlp:Status>",
                "<samlp:StatusDetail><x/></samlp:StatusDetail></samlp:Status>",
            )
        }),
    ),
    Case(
        "two issuers of the response",
        "unexpected",
        Signs::Response,
        Signed(|xml| doubled(xml, "Issuer")),
    ),
    Case(
        "issuer with an element inside",
        "unexpected",
        Signs::Response,
        Signed(|xml| swap_first(xml, "metadata</saml:Issuer>", "<b/>metadata</saml:Issuer>")),
    ),
    Case(
        "a foreign element in the response",
        "unexpected",
        Signs::Response,
        Signed(|xml| swap(xml, "</samlp:Response>", "<x/></samlp:Response>")),
    ),
    Case(
        "text in the response",
        "unexpected",
        Signs::Response,
        Signed(|xml| swap(xml, "</samlp:Response>", "x</samlp:Response>")),
    ),
    Case(
        "a foreign attribute of the response",
        "unexpected",
        Signs::Response,
        Signed(|xml| swap_first(xml, "ID=\"_response\"", "ID=\"_response\" Admin=\"true\"")),
    ),
    Case(
        "a base for URLs",
        "unexpected",
        Signs::Assertion,
        Sent(|xml| {
            swap_first(
                xml,
                "ID=\"_response\"",
                "ID=\"_response\" xml:base=\"http://127.0.0.1/\"",
            )
        }),
    ),
];
