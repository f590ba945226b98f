//! An assertion built wrongly: elements missing, doubled or foreign, and identifiers out of place.

use super::super::idp::{Signs, swap, swap_first};
use super::Case;
use super::Craft::{Sent, Signed};
use super::cut::{doubled, element, into, part, with_assertion, without};

pub(super) const CASES: &[Case] = &[
    // Elements of the assertion.
    Case(
        "assertion of another namespace",
        "ids",
        Signs::Response,
        Signed(|xml| {
            with_assertion(xml, |one| {
                swap(
                    one,
                    "<saml:Assertion",
                    "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:1.0:assertion\"",
                )
            })
        }),
    ),
    Case(
        "assertion of no namespace",
        "ids",
        Signs::Response,
        Signed(|xml| {
            swap(
                &swap(xml, "<saml:Assertion", "<Assertion"),
                "</saml:Assertion",
                "</Assertion",
            )
        }),
    ),
    Case(
        "prefix bound anew inside the subject",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| swap(xml, "<saml:NameID", "<saml:NameID xmlns:saml=\"urn:x\"")),
    ),
    Case(
        "no subject",
        "missing",
        Signs::Assertion,
        Signed(|xml| without(xml, "Subject")),
    ),
    Case(
        "two subjects",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| {
            let one = part(xml, "<saml:Subject>", "</saml:Subject>").to_owned();
            swap(xml, &one, &format!("{one}{}", one.replace("morty", "rick")))
        }),
    ),
    Case(
        "no name",
        "missing",
        Signs::Assertion,
        Signed(|xml| without(xml, "NameID")),
    ),
    Case(
        "two names",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| {
            let one = element(xml, "NameID").to_owned();
            swap(xml, &one, &format!("{one}{}", one.replace("morty", "rick")))
        }),
    ),
    Case(
        "name with an element inside",
        "unexpected",
        Signs::Both,
        Signed(|xml| swap(xml, ">morty-c137<", ">morty<b/>-c137<")),
    ),
    Case(
        "a base identifier instead of a name",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| swap(xml, element(xml, "NameID"), "<saml:BaseID/>")),
    ),
    Case(
        "name with a foreign attribute",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| swap(xml, "<saml:NameID", "<saml:NameID Admin=\"true\"")),
    ),
    Case(
        "no confirmation",
        "missing",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                part(
                    xml,
                    "<saml:SubjectConfirmation ",
                    "</saml:SubjectConfirmation>",
                ),
                "",
            )
        }),
    ),
    Case(
        "two confirmations",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| {
            let one = part(
                xml,
                "<saml:SubjectConfirmation ",
                "</saml:SubjectConfirmation>",
            )
            .to_owned();
            swap(xml, &one, &format!("{one}{one}"))
        }),
    ),
    Case(
        "confirmation without data",
        "missing",
        Signs::Assertion,
        Signed(|xml| swap(xml, part(xml, "<saml:SubjectConfirmationData", "/>"), "")),
    ),
    Case(
        "confirmation with two data",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| {
            let one = part(xml, "<saml:SubjectConfirmationData", "/>").to_owned();
            swap(xml, &one, &format!("{one}{one}"))
        }),
    ),
    Case(
        "confirmation of another name",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "<saml:SubjectConfirmationData",
                "<saml:NameID>rick</saml:NameID><saml:SubjectConfirmationData",
            )
        }),
    ),
    Case(
        "confirmation data with a key inside",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| {
            let one = part(xml, "<saml:SubjectConfirmationData", "/>").to_owned();
            swap(
                xml,
                &one,
                &format!(
                    "{}><x/></saml:SubjectConfirmationData>",
                    one.trim_end_matches("/>")
                ),
            )
        }),
    ),
    Case(
        "no conditions",
        "missing",
        Signs::Assertion,
        Signed(|xml| without(xml, "Conditions")),
    ),
    Case(
        "two conditions",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| doubled(xml, "Conditions")),
    ),
    Case(
        "two audience restrictions",
        "unexpected",
        Signs::Response,
        Signed(|xml| doubled(xml, "AudienceRestriction")),
    ),
    Case(
        "two audience restrictions, one of another service",
        "unexpected",
        Signs::Both,
        Signed(|xml| {
            swap(
                xml,
                "<saml:AudienceRestriction>",
                "<saml:AudienceRestriction><saml:Audience>urn:x</saml:Audience></saml:AudienceRestriction><saml:AudienceRestriction>",
            )
        }),
    ),
    Case(
        "audience with an element inside",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| swap(xml, "<saml:Audience>", "<saml:Audience><b/>")),
    ),
    Case(
        "a condition that nobody knows",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| into(xml, "Conditions", "<saml:Condition/>")),
    ),
    Case(
        "a condition of another namespace",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| into(xml, "Conditions", "<x:Delegated xmlns:x=\"urn:x\"/>")),
    ),
    Case(
        "text among the conditions",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| into(xml, "Conditions", "x")),
    ),
    Case(
        "one-time use twice",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| into(xml, "Conditions", "<saml:OneTimeUse/><saml:OneTimeUse/>")),
    ),
    Case(
        "one-time use with something inside",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| into(xml, "Conditions", "<saml:OneTimeUse><x/></saml:OneTimeUse>")),
    ),
    Case(
        "one-time use with an attribute",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| into(xml, "Conditions", "<saml:OneTimeUse Count=\"2\"/>")),
    ),
    Case(
        "no statement of signing in",
        "missing",
        Signs::Assertion,
        Signed(|xml| without(xml, "AuthnStatement")),
    ),
    Case(
        "two statements of signing in",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| doubled(xml, "AuthnStatement")),
    ),
    Case(
        "statement without a context",
        "missing",
        Signs::Assertion,
        Signed(|xml| without(xml, "AuthnContext")),
    ),
    Case(
        "context with a declaration",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| {
            into(
                xml,
                "AuthnContext",
                "<saml:AuthnContextDecl><x/></saml:AuthnContextDecl>",
            )
        }),
    ),
    Case(
        "attribute without a name",
        "missing",
        Signs::Assertion,
        Signed(|xml| swap(xml, " Name=\"groups\"", "")),
    ),
    Case(
        "attribute with a foreign attribute",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| swap(xml, " Name=\"groups\"", " Name=\"groups\" Label=\"x\"")),
    ),
    Case(
        "value with elements inside",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| swap(xml, ">Morty Smith<", "><b>Morty</b><")),
    ),
    Case(
        "value with text and an element",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| swap(xml, ">Morty Smith<", ">Morty<saml:NameID>x</saml:NameID><")),
    ),
    Case(
        "value with a foreign attribute",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| swap(xml, "xsi:type=\"xs:string\"", "kind=\"x\"")),
    ),
    Case(
        "statement of attributes without any",
        "missing",
        Signs::Assertion,
        Signed(|xml| into(xml, "Assertion", "<saml:AttributeStatement/>")),
    ),
    // Identifiers.
    Case(
        "no identifier of the response",
        "ids",
        Signs::Assertion,
        Signed(|xml| swap_first(xml, " ID=\"_response\"", "")),
    ),
    Case(
        "no identifier of the assertion",
        "ids",
        Signs::Response,
        Signed(|xml| swap(xml, " ID=\"_assertion\"", "")),
    ),
    Case(
        "the same identifier twice",
        "ids",
        Signs::Assertion,
        Sent(|xml| swap_first(xml, "ID=\"_response\"", "ID=\"_assertion\"")),
    ),
    Case(
        "identifier with a colon",
        "ids",
        Signs::Assertion,
        Sent(|xml| swap(xml, "_assertion", "_a:b")),
    ),
    Case(
        "identifier that begins with a digit",
        "ids",
        Signs::Assertion,
        Sent(|xml| swap(xml, "_assertion", "1assertion")),
    ),
    Case(
        "identifier empty",
        "ids",
        Signs::Assertion,
        Sent(|xml| swap_first(xml, "ID=\"_response\"", "ID=\"\"")),
    ),
    Case(
        "identifier that is an XPointer",
        "ids",
        Signs::Assertion,
        Sent(|xml| swap(xml, "_assertion", "xpointer(/)")),
    ),
    Case(
        "identifier with a space",
        "ids",
        Signs::Assertion,
        Sent(|xml| swap_first(xml, "\"_response\"", "\"_response _x\"")),
    ),
    Case(
        "identifier beyond ASCII",
        "ids",
        Signs::Assertion,
        Sent(|xml| swap_first(xml, "\"_response\"", "\"_réponse\"")),
    ),
    Case(
        "an identifier where none belongs",
        "ids",
        Signs::Assertion,
        Signed(|xml| swap(xml, "<saml:Subject>", "<saml:Subject ID=\"_subject\">")),
    ),
    Case(
        "an identifier in small letters",
        "ids",
        Signs::Assertion,
        Signed(|xml| swap(xml, "<saml:Subject>", "<saml:Subject id=\"_subject\">")),
    ),
    Case(
        "an identifier of a foreign namespace",
        "ids",
        Signs::Assertion,
        Sent(|xml| {
            swap_first(
                xml,
                "ID=\"_response\"",
                "xmlns:q=\"urn:q\" q:ID=\"_assertion\" ID=\"_response\"",
            )
        }),
    ),
    Case(
        "an identifier of XML's own",
        "unexpected",
        Signs::Assertion,
        Sent(|xml| {
            swap_first(
                xml,
                "ID=\"_response\"",
                "ID=\"_response\" xml:id=\"_assertion\"",
            )
        }),
    ),
    Case(
        "an identifier in a value",
        "ids",
        Signs::Assertion,
        Signed(|xml| swap(xml, ">Morty Smith<", "><x ID=\"_response2\"/><")),
    ),
];
