//! Well signed, and wrong: at another time, about nobody, under another key, or a refusal.

use super::super::idp::{EC, STRANGER, Signs, at, swap, swap_first};
use super::Case;
use super::Craft::{Around, Sent, Signed};

const END: &str = " NotOnOrAfter=\"2026-03-01T12:05:00Z\"";

const FORMAT: &str = "2.0:nameid-format:persistent";

fn named(xml: &str, name: &str) -> String {
    swap(xml, ">morty-c137<", &format!(">{name}<"))
}

pub(super) const CASES: &[Case] = &[
    // When.
    Case(
        "expired",
        "expired",
        Signs::Assertion,
        Around(|around| around.now = at("2026-03-01T12:06:00Z")),
    ),
    Case(
        "expired long ago",
        "expired",
        Signs::Both,
        Around(|around| around.now = at("2027-03-01T12:06:00Z")),
    ),
    Case(
        "conditions expired",
        "expired",
        Signs::Response,
        Signed(|xml| swap(xml, "12:10:00Z", "11:59:00Z")),
    ),
    Case(
        "confirmation expired",
        "expired",
        Signs::Assertion,
        Signed(|xml| swap(xml, "12:05:00Z", "11:59:00Z")),
    ),
    Case(
        "confirmation without an end",
        "missing",
        Signs::Assertion,
        Signed(|xml| swap(xml, END, "")),
    ),
    Case(
        "conditions not yet valid",
        "not_yet_valid",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "NotBefore=\"2026-03-01T11:59:30Z",
                "NotBefore=\"2026-03-01T12:01:01Z",
            )
        }),
    ),
    Case(
        "confirmation not yet valid",
        "not_yet_valid",
        Signs::Both,
        Signed(|xml| {
            swap(
                xml,
                END,
                " NotBefore=\"2026-03-01T12:02:00Z\" NotOnOrAfter=\"2026-03-01T12:05:00Z\"",
            )
        }),
    ),
    Case(
        "issued in the future",
        "from_the_future",
        Signs::Assertion,
        Signed(|xml| swap(xml, "2026-03-01T11:59:59.250Z", "2026-03-01T12:01:01Z")),
    ),
    Case(
        "response issued in the future",
        "from_the_future",
        Signs::Response,
        Signed(|xml| {
            swap_first(
                xml,
                "IssueInstant=\"2026-03-01T12:00",
                "IssueInstant=\"2026-03-01T12:02",
            )
        }),
    ),
    Case(
        "signed in in the future",
        "from_the_future",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "AuthnInstant=\"2026-03-01T11:59",
                "AuthnInstant=\"2026-03-01T12:59",
            )
        }),
    ),
    Case(
        "issue instant missing",
        "missing",
        Signs::Assertion,
        Signed(|xml| swap(xml, " IssueInstant=\"2026-03-01T11:59:59.250Z\"", "")),
    ),
    Case(
        "issue instant of the response missing",
        "missing",
        Signs::Assertion,
        Sent(|xml| swap_first(xml, " IssueInstant=\"2026-03-01T12:00:00Z\"", "")),
    ),
    Case(
        "instant of signing in missing",
        "missing",
        Signs::Both,
        Signed(|xml| swap(xml, " AuthnInstant=\"2026-03-01T11:59:58Z\"", "")),
    ),
    Case(
        "the provider's session is over",
        "session_over",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "SessionIndex=",
                "SessionNotOnOrAfter=\"2026-03-01T12:00:00Z\" SessionIndex=",
            )
        }),
    ),
    Case(
        "time without a zone",
        "time",
        Signs::Assertion,
        Signed(|xml| swap(xml, "12:05:00Z", "12:05:00")),
    ),
    Case(
        "time with another zone",
        "time",
        Signs::Assertion,
        Signed(|xml| swap(xml, "12:05:00Z", "12:05:00+02:00")),
    ),
    Case(
        "time empty",
        "time",
        Signs::Both,
        Signed(|xml| swap(xml, "2026-03-01T12:10:00Z", "")),
    ),
    Case(
        "time in words",
        "time",
        Signs::Assertion,
        Signed(|xml| swap(xml, "2026-03-01T12:10:00Z", "never")),
    ),
    Case(
        "time of year 0",
        "time",
        Signs::Assertion,
        Signed(|xml| swap(xml, "2026-03-01T11:59:30Z", "0000-03-01T11:59:30Z")),
    ),
    Case(
        "time past all years",
        "time",
        Signs::Assertion,
        Signed(|xml| swap(xml, "2026-03-01T12:10:00Z", "999999999-03-01T12:10:00Z")),
    ),
    Case(
        "time of month 13",
        "time",
        Signs::Response,
        Signed(|xml| swap(xml, "2026-03-01T12:10:00Z", "2026-13-01T12:10:00Z")),
    ),
    Case(
        "time with a sign",
        "time",
        Signs::Assertion,
        Signed(|xml| swap(xml, "2026-03-01T12:10:00Z", "+2026-03-01T12:10:00Z")),
    ),
    Case(
        "session's end is no time",
        "time",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "SessionIndex=",
                "SessionNotOnOrAfter=\"soon\" SessionIndex=",
            )
        }),
    ),
    // Who.
    Case(
        "transient name",
        "name_id",
        Signs::Assertion,
        Signed(|xml| swap(xml, FORMAT, "2.0:nameid-format:transient")),
    ),
    Case(
        "name empty",
        "name_id",
        Signs::Assertion,
        Signed(|xml| named(xml, "")),
    ),
    Case(
        "name of white space",
        "name_id",
        Signs::Response,
        Signed(|xml| named(xml, " \n ")),
    ),
    Case(
        "name with white space before it",
        "name_id",
        Signs::Assertion,
        Signed(|xml| named(xml, " morty-c137")),
    ),
    Case(
        "name with a line break in it",
        "name_id",
        Signs::Assertion,
        Signed(|xml| named(xml, "morty&#10;c137")),
    ),
    Case(
        "name too long",
        "name_id",
        Signs::Both,
        Signed(|xml| named(xml, &"m".repeat(513))),
    ),
    Case(
        "name of a format with a space",
        "name_id",
        Signs::Assertion,
        Signed(|xml| swap(xml, FORMAT, "persistent rick")),
    ),
    Case(
        "name of an empty format",
        "name_id",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
                "",
            )
        }),
    ),
    Case(
        "name of another provider's",
        "name_id",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "<saml:NameID",
                "<saml:NameID NameQualifier=\"https://evil.example\"",
            )
        }),
    ),
    Case(
        "name for another service",
        "name_id",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "<saml:NameID",
                "<saml:NameID SPNameQualifier=\"https://evil.example\"",
            )
        }),
    ),
    Case(
        "confirmed as the holder of a key",
        "confirmation",
        Signs::Assertion,
        Signed(|xml| swap(xml, "cm:bearer", "cm:holder-of-key")),
    ),
    Case(
        "confirmed as a sender",
        "confirmation",
        Signs::Response,
        Signed(|xml| swap(xml, "cm:bearer", "cm:sender-vouches")),
    ),
    Case(
        "confirmed by no method",
        "confirmation",
        Signs::Assertion,
        Signed(|xml| swap(xml, " Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\"", "")),
    ),
    // With which key.
    Case(
        "the connection has another certificate",
        "signature",
        Signs::Assertion,
        Around(|around| around.saml.certificates = vec![STRANGER.stored()]),
    ),
    Case(
        "the connection has a certificate of another kind",
        "signature",
        Signs::Both,
        Around(|around| around.saml.certificates = vec![EC.stored()]),
    ),
    Case(
        "a certificate taken out of the connection",
        "signature",
        Signs::Response,
        Around(|around| around.saml.certificates = vec![EC.stored(), STRANGER.stored()]),
    ),
    // What the provider itself says.
    Case(
        "status requester",
        "status",
        Signs::Both,
        Signed(|xml| swap(xml, "status:Success", "status:Requester")),
    ),
    Case(
        "status of a namespace that ends alike",
        "status",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "urn:oasis:names:tc:SAML:2.0:status:Success",
                "urn:evil:status:Success",
            )
        }),
    ),
    Case(
        "status without a value",
        "status",
        Signs::Response,
        Signed(|xml| {
            swap(
                xml,
                " Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"",
                "",
            )
        }),
    ),
    Case(
        "status that denies and succeeds inside",
        "status",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "<samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/>",
                "<samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Responder\"><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/></samlp:StatusCode>",
            )
        }),
    ),
];
