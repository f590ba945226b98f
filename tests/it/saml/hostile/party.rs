//! Well signed, and for somebody else: another service, another request, another provider.

use super::super::idp::{ASKED, Signs, swap, swap_first, swap_last};
use super::Case;
use super::Craft::{Around, Sent, Signed};

const ISSUER: &str = "<saml:Issuer>https://idp.citadel.example/metadata</saml:Issuer>";

const ANSWERS: &str = " InResponseTo=\"_00112233445566778899aabbccddeeff\"";

const RECIPIENT: &str = " Recipient=\"https://cedarkeep.example/saml/c137/acs\"";

const DESTINATION: &str = " Destination=\"https://cedarkeep.example/saml/c137/acs\"";

const AUDIENCE: &str =
    "<saml:Audience>https://cedarkeep.example/saml/c137/metadata</saml:Audience>";

pub(super) const CASES: &[Case] = &[
    // Whom it is for.
    Case(
        "audience of another service",
        "audience",
        Signs::Assertion,
        Signed(|xml| swap(xml, "c137/metadata</saml:Aud", "d99/metadata</saml:Aud")),
    ),
    Case(
        "audience with a slash more",
        "audience",
        Signs::Response,
        Signed(|xml| swap(xml, "/metadata</saml:Aud", "/metadata/</saml:Aud")),
    ),
    Case(
        "audience in capitals",
        "audience",
        Signs::Both,
        Signed(|xml| swap(xml, ">https://cedarkeep", ">HTTPS://CEDARKEEP")),
    ),
    Case(
        "audience with white space",
        "audience",
        Signs::Assertion,
        Signed(|xml| swap(xml, "<saml:Audience>", "<saml:Audience> ")),
    ),
    Case(
        "audience that begins as ours",
        "audience",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "/metadata</saml:Aud",
                "/metadata.evil.example</saml:Aud",
            )
        }),
    ),
    Case(
        "audience empty",
        "audience",
        Signs::Assertion,
        Signed(|xml| swap(xml, AUDIENCE, "<saml:Audience/>")),
    ),
    Case(
        "audience missing",
        "missing",
        Signs::Assertion,
        Signed(|xml| swap(xml, AUDIENCE, "")),
    ),
    Case(
        "audience restriction missing",
        "missing",
        Signs::Response,
        Signed(|xml| {
            swap(
                &swap(&swap(xml, AUDIENCE, ""), "<saml:AudienceRestriction>", ""),
                "</saml:AudienceRestriction>",
                "",
            )
        }),
    ),
    Case(
        "our entity id is another",
        "audience",
        Signs::Both,
        Around(|around| around.us.entity_id.push('2')),
    ),
    Case(
        "recipient of another service",
        "recipient",
        Signs::Assertion,
        Signed(|xml| swap(xml, RECIPIENT, " Recipient=\"https://evil.example/acs\"")),
    ),
    Case(
        "recipient of another connection",
        "recipient",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                RECIPIENT,
                " Recipient=\"https://cedarkeep.example/saml/d99/acs\"",
            )
        }),
    ),
    Case(
        "recipient missing",
        "recipient",
        Signs::Response,
        Signed(|xml| swap(xml, RECIPIENT, "")),
    ),
    Case(
        "recipient empty",
        "recipient",
        Signs::Both,
        Signed(|xml| swap(xml, RECIPIENT, " Recipient=\"\"")),
    ),
    Case(
        "destination of another service",
        "destination",
        Signs::Response,
        Signed(|xml| {
            swap(
                xml,
                DESTINATION,
                " Destination=\"https://evil.example/acs\"",
            )
        }),
    ),
    Case(
        "destination of another connection, not signed",
        "destination",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                DESTINATION,
                " Destination=\"https://cedarkeep.example/saml/d99/acs\"",
            )
        }),
    ),
    Case(
        "destination empty",
        "destination",
        Signs::Assertion,
        Sent(|xml| swap(xml, DESTINATION, " Destination=\"\"")),
    ),
    Case(
        "destination missing though signed",
        "destination",
        Signs::Response,
        Signed(|xml| swap(xml, DESTINATION, "")),
    ),
    Case(
        "destination missing though both are signed",
        "destination",
        Signs::Both,
        Signed(|xml| swap(xml, DESTINATION, "")),
    ),
    Case(
        "our consumer url is another",
        "destination",
        Signs::Both,
        Around(|around| around.us.acs_url.push('?')),
    ),
    // What it answers.
    Case(
        "in response to another request",
        "in_response_to",
        Signs::Response,
        Signed(|xml| swap(xml, ASKED, "_ffeeddccbbaa99887766554433221100")),
    ),
    Case(
        "the response answers another request than its assertion",
        "in_response_to",
        Signs::Assertion,
        Sent(|xml| swap_first(xml, ASKED, "_ff")),
    ),
    Case(
        "the assertion answers another request than its response",
        "in_response_to",
        Signs::Both,
        Signed(|xml| swap_last(xml, ASKED, "_ff")),
    ),
    Case(
        "in response to missing",
        "in_response_to",
        Signs::Both,
        Signed(|xml| swap(xml, ANSWERS, "")),
    ),
    Case(
        "in response to missing in the assertion",
        "in_response_to",
        Signs::Assertion,
        Signed(|xml| swap_last(xml, ANSWERS, "")),
    ),
    Case(
        "in response to missing in the response",
        "in_response_to",
        Signs::Assertion,
        Signed(|xml| swap_first(xml, ANSWERS, "")),
    ),
    Case(
        "in response to empty",
        "in_response_to",
        Signs::Assertion,
        Signed(|xml| swap(xml, ANSWERS, " InResponseTo=\"\"")),
    ),
    Case(
        "a stolen response in a browser that asked for another",
        "in_response_to",
        Signs::Both,
        Around(|around| around.request = Some("_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
    ),
    Case(
        "a stolen response in a browser that asked for none",
        "in_response_to",
        Signs::Both,
        Around(|around| around.request = None),
    ),
    Case(
        "a stolen response where sign-in may begin at the provider",
        "in_response_to",
        Signs::Both,
        Around(|around| {
            around.request = None;
            around.saml.idp_initiated = true;
        }),
    ),
    Case(
        "answers stripped off the response to pass it as unasked",
        "in_response_to",
        Signs::Assertion,
        Sent(|xml| swap_first(xml, ANSWERS, "")),
    ),
    // Who issued it.
    Case(
        "issuer of the assertion is another",
        "issuer",
        Signs::Assertion,
        Signed(|xml| {
            swap_last(
                xml,
                ISSUER,
                "<saml:Issuer>https://evil.example</saml:Issuer>",
            )
        }),
    ),
    Case(
        "issuer of the response is another",
        "issuer",
        Signs::Assertion,
        Sent(|xml| {
            swap_first(
                xml,
                ISSUER,
                "<saml:Issuer>https://evil.example</saml:Issuer>",
            )
        }),
    ),
    Case(
        "issuer of both is another",
        "issuer",
        Signs::Both,
        Signed(|xml| {
            swap(
                xml,
                ISSUER,
                "<saml:Issuer>https://evil.example</saml:Issuer>",
            )
        }),
    ),
    Case(
        "issuer of the assertion missing",
        "missing",
        Signs::Assertion,
        Signed(|xml| swap_last(xml, ISSUER, "")),
    ),
    Case(
        "issuer of a signed response missing",
        "issuer",
        Signs::Response,
        Signed(|xml| swap_first(xml, ISSUER, "")),
    ),
    Case(
        "issuer empty",
        "issuer",
        Signs::Assertion,
        Signed(|xml| swap_last(xml, ISSUER, "<saml:Issuer/>")),
    ),
    Case(
        "issuer with white space",
        "issuer",
        Signs::Assertion,
        Signed(|xml| swap_last(xml, "<saml:Issuer>", "<saml:Issuer>\n")),
    ),
    Case(
        "issuer of another format",
        "issuer",
        Signs::Assertion,
        Signed(|xml| {
            swap_last(
                xml,
                "<saml:Issuer>",
                "<saml:Issuer Format=\"urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified\">",
            )
        }),
    ),
    Case(
        "issuer that is qualified",
        "unexpected",
        Signs::Assertion,
        Signed(|xml| swap_last(xml, "<saml:Issuer>", "<saml:Issuer NameQualifier=\"x\">")),
    ),
    Case(
        "the connection is of another provider",
        "issuer",
        Signs::Both,
        Around(|around| around.saml.entity_id.push('x')),
    ),
    Case(
        "a provider that shares our certificate has another name",
        "issuer",
        Signs::Assertion,
        Around(|around| "https://other.example".clone_into(&mut around.saml.entity_id)),
    ),
];
