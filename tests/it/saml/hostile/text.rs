//! Wrong as a text: no base 64, no UTF-8, markup that is not taken, too much of everything.

use super::super::idp::{Signs, swap, swap_first};
use super::Case;
use super::Craft::{Bytes, Field, Sent, Signed};
use data_encoding::{BASE64_NOPAD, BASE64URL, HEXLOWER};

/// Something put before everything else.
fn before(xml: &str, what: &str) -> String {
    format!("{what}{xml}")
}

fn inserted(bytes: Vec<u8>, what: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(6)
        .position(|window| window == b"Smith<")
        .unwrap();
    [&bytes[..at], what, &bytes[at..]].concat()
}

fn in_utf_16(bytes: &[u8], big: bool) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units
        .flat_map(|unit| {
            if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        })
        .collect()
}

fn value(xml: &str, what: &str) -> String {
    swap(xml, ">Morty Smith<", &format!(">{what}<"))
}

fn nested(levels: usize) -> String {
    format!("{}x{}", "<a>".repeat(levels), "</a>".repeat(levels))
}

pub(super) const CASES: &[Case] = &[
    // The field.
    Case("field empty", "xml", Signs::Both, Field(|_| String::new())),
    Case(
        "field not base 64",
        "base64",
        Signs::Both,
        Field(|_| "<samlp:Response/>".to_owned()),
    ),
    Case(
        "field with a line break",
        "base64",
        Signs::Both,
        Field(|field| format!("{}\r\n{}", &field[..76], &field[76..])),
    ),
    Case(
        "field with a space at its end",
        "base64",
        Signs::Both,
        Field(|field| format!("{field} ")),
    ),
    Case(
        "field with a space inside",
        "base64",
        Signs::Assertion,
        Field(|field| field.replacen('A', "A ", 1)),
    ),
    Case(
        "field cut off",
        "base64",
        Signs::Assertion,
        Field(|field| field[..field.len() - 3].to_owned()),
    ),
    Case(
        "field without padding",
        "base64",
        Signs::Assertion,
        Field(|field| {
            let mut xml = data_encoding::BASE64.decode(field.as_bytes()).unwrap();
            while xml.len() % 3 != 1 {
                xml.push(b' ');
            }
            BASE64_NOPAD.encode(&xml)
        }),
    ),
    Case(
        "field with padding inside",
        "base64",
        Signs::Assertion,
        Field(|field| format!("PGE=PGE={field}")),
    ),
    Case(
        "field in the alphabet of URLs",
        "base64",
        Signs::Assertion,
        Field(|_| BASE64URL.encode(b"<a>\xc3\xbf\xc3\xbf\xc3\xbf</a>")),
    ),
    Case(
        "field in hexadecimal digits",
        "encoding",
        Signs::Assertion,
        Field(|field| {
            let digits = HEXLOWER.encode(field.as_bytes());
            digits[..digits.len() / 4 * 4].to_owned()
        }),
    ),
    Case(
        "field encoded twice",
        "xml",
        Signs::Assertion,
        Field(|field| data_encoding::BASE64.encode(field.as_bytes())),
    ),
    Case(
        "field too long",
        "too_large",
        Signs::Both,
        Field(|field| format!("{field}{}", "QUFB".repeat(140_000))),
    ),
    Case(
        "field of a hundred megabytes",
        "too_large",
        Signs::Both,
        Field(|_| "QUFB".repeat(25_000_000)),
    ),
    // The encoding.
    Case(
        "not UTF-8",
        "encoding",
        Signs::Both,
        Bytes(|bytes| inserted(bytes, &[0xff])),
    ),
    Case(
        "Latin-1",
        "encoding",
        Signs::Assertion,
        Bytes(|bytes| inserted(bytes, &[0xe9])),
    ),
    Case(
        "overlong UTF-8",
        "encoding",
        Signs::Assertion,
        Bytes(|bytes| inserted(bytes, &[0xc0, 0xbc])),
    ),
    Case(
        "a surrogate in UTF-8",
        "encoding",
        Signs::Assertion,
        Bytes(|bytes| inserted(bytes, &[0xed, 0xa0, 0x80])),
    ),
    Case(
        "NUL",
        "encoding",
        Signs::Assertion,
        Bytes(|bytes| inserted(bytes, &[0])),
    ),
    Case(
        "NUL at the end",
        "encoding",
        Signs::Assertion,
        Bytes(|bytes| [bytes, vec![0]].concat()),
    ),
    Case(
        "a control character",
        "encoding",
        Signs::Assertion,
        Bytes(|bytes| inserted(bytes, &[8])),
    ),
    Case(
        "no character at all",
        "encoding",
        Signs::Assertion,
        Bytes(|bytes| inserted(bytes, "\u{fffe}".as_bytes())),
    ),
    Case(
        "UTF-16 little end first",
        "encoding",
        Signs::Both,
        Bytes(|bytes| in_utf_16(&bytes, false)),
    ),
    Case(
        "UTF-16 big end first",
        "encoding",
        Signs::Both,
        Bytes(|bytes| in_utf_16(&bytes, true)),
    ),
    Case(
        "byte order mark",
        "encoding",
        Signs::Assertion,
        Sent(|xml| before(xml, "\u{feff}")),
    ),
    Case(
        "declared as UTF-16",
        "encoding",
        Signs::Both,
        Sent(|xml| before(xml, "<?xml version=\"1.0\" encoding=\"UTF-16\"?>")),
    ),
    Case(
        "declared as UTF-7",
        "encoding",
        Signs::Both,
        Sent(|xml| before(xml, "<?xml version=\"1.0\" encoding=\"UTF-7\"?>")),
    ),
    Case(
        "declared as EBCDIC",
        "encoding",
        Signs::Both,
        Sent(|xml| before(xml, "<?xml version='1.0' encoding='IBM037'?>")),
    ),
    Case(
        "declared as XML 1.1",
        "markup",
        Signs::Both,
        Sent(|xml| before(xml, "<?xml version=\"1.1\"?>")),
    ),
    Case(
        "declared twice",
        "markup",
        Signs::Both,
        Sent(|xml| before(xml, "<?xml version=\"1.0\"?><?xml version=\"1.0\"?>")),
    ),
    Case(
        "declaration without an end",
        "markup",
        Signs::Both,
        Sent(|xml| before(xml, "<?xml version=\"1.0\"")),
    ),
    Case(
        "character that XML does not know, by number",
        "xml",
        Signs::Assertion,
        Sent(|xml| value(xml, "Morty&#0;Smith")),
    ),
    Case(
        "control character by number",
        "xml",
        Signs::Assertion,
        Sent(|xml| value(xml, "Morty&#x1;Smith")),
    ),
    // Markup.
    Case(
        "comment that cuts the name",
        "markup",
        Signs::Assertion,
        Sent(|xml| swap(xml, ">morty-c137<", ">morty<!-- -->-c137<")),
    ),
    Case(
        "comment that the provider signs in the name",
        "markup",
        Signs::Response,
        Signed(|xml| swap(xml, ">morty-c137<", ">rick<!---->morty<")),
    ),
    Case(
        "comment in an attribute's value",
        "markup",
        Signs::Assertion,
        Sent(|xml| value(xml, "Morty<!--x--> Smith")),
    ),
    Case(
        "comment before everything",
        "markup",
        Signs::Both,
        Sent(|xml| before(xml, "<!--x-->")),
    ),
    Case(
        "comment behind everything",
        "markup",
        Signs::Both,
        Sent(|xml| format!("{xml}<!--x-->")),
    ),
    Case(
        "CDATA in the name",
        "markup",
        Signs::Assertion,
        Sent(|xml| swap(xml, ">morty-c137<", "><![CDATA[rick]]><")),
    ),
    Case(
        "CDATA around a whole assertion",
        "markup",
        Signs::Assertion,
        Sent(|xml| value(xml, "<![CDATA[<saml:Assertion/>]]>")),
    ),
    Case(
        "processing instruction in the name",
        "markup",
        Signs::Assertion,
        Sent(|xml| swap(xml, ">morty-c137<", ">morty<?x?>-c137<")),
    ),
    Case(
        "style sheet",
        "markup",
        Signs::Both,
        Sent(|xml| before(xml, "<?xml-stylesheet href=\"http://127.0.0.1/x.xsl\"?>")),
    ),
    Case(
        "document type",
        "markup",
        Signs::Both,
        Sent(|xml| before(xml, "<!DOCTYPE samlp:Response>")),
    ),
    Case(
        "document type behind a declaration",
        "markup",
        Signs::Both,
        Sent(|xml| {
            before(
                xml,
                "<?xml version=\"1.0\"?><!DOCTYPE a SYSTEM \"http://127.0.0.1/a.dtd\">",
            )
        }),
    ),
    Case(
        "document type in small letters",
        "markup",
        Signs::Both,
        Sent(|xml| before(xml, "<!doctype html>")),
    ),
    Case(
        "external entity",
        "markup",
        Signs::Assertion,
        Sent(|xml| {
            before(
                &value(xml, "&x;"),
                "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>",
            )
        }),
    ),
    Case(
        "external parameter entity",
        "markup",
        Signs::Assertion,
        Sent(|xml| {
            before(
                xml,
                "<!DOCTYPE a [<!ENTITY % x SYSTEM \"http://127.0.0.1/x\"> %x;]>",
            )
        }),
    ),
    Case(
        "entities that multiply",
        "markup",
        Signs::Assertion,
        Sent(|xml| {
            let mut entities = "<!ENTITY a0 \"ha\">".to_owned();
            for level in 1..12 {
                let ten = format!("&a{};", level - 1).repeat(10);
                entities.push_str(&format!("<!ENTITY a{level} \"{ten}\">"));
            }
            before(&value(xml, "&a11;"), &format!("<!DOCTYPE a [{entities}]>"))
        }),
    ),
    Case(
        "an attribute's type declared as an identifier",
        "markup",
        Signs::Assertion,
        Sent(|xml| before(xml, "<!DOCTYPE a [<!ATTLIST a Name ID #IMPLIED>]>")),
    ),
    Case(
        "entity that nobody declared",
        "xml",
        Signs::Assertion,
        Sent(|xml| value(xml, "&x;")),
    ),
    // Not well-formed, which the engine's parser would mend.
    Case(
        "not closed",
        "xml",
        Signs::Both,
        Sent(|xml| xml.trim_end_matches("</samlp:Response>").to_owned()),
    ),
    Case(
        "closed twice",
        "xml",
        Signs::Both,
        Sent(|xml| format!("{xml}</samlp:Response>")),
    ),
    Case(
        "two roots",
        "xml",
        Signs::Both,
        Sent(|xml| format!("{xml}{xml}")),
    ),
    Case(
        "text behind the root",
        "xml",
        Signs::Both,
        Sent(|xml| format!("{xml}x")),
    ),
    Case(
        "attribute without quotes",
        "xml",
        Signs::Assertion,
        Sent(|xml| swap_first(xml, "ID=\"_response\"", "ID=_response")),
    ),
    Case(
        "attribute twice",
        "xml",
        Signs::Assertion,
        Sent(|xml| swap_first(xml, "ID=\"_response\"", "ID=\"_response\" ID=\"_response\"")),
    ),
    Case(
        "attribute twice by two prefixes",
        "xml",
        Signs::Assertion,
        Sent(|xml| {
            swap_first(
                xml,
                "ID=\"_response\"",
                "xmlns:b=\"u\" xmlns:c=\"u\" b:x=\"\" c:x=\"\" ID=\"_response\"",
            )
        }),
    ),
    Case(
        "prefix that nobody declared",
        "xml",
        Signs::Assertion,
        Sent(|xml| value(xml, "<x:y/>")),
    ),
    Case(
        "ampersand alone",
        "xml",
        Signs::Assertion,
        Sent(|xml| value(xml, "Morty & Smith")),
    ),
    Case(
        "less-than in an attribute",
        "xml",
        Signs::Assertion,
        Sent(|xml| swap(xml, "SessionIndex=\"_session\"", "SessionIndex=\"<\"")),
    ),
    Case(
        "elements that overlap",
        "xml",
        Signs::Assertion,
        Sent(|xml| value(xml, "<a><b></a></b>")),
    ),
    // Too much.
    Case(
        "nested deeply",
        "too_complex",
        Signs::Assertion,
        Sent(|xml| value(xml, &nested(25))),
    ),
    Case(
        "nested as deeply as fits",
        "too_complex",
        Signs::Assertion,
        Sent(|xml| value(xml, &nested(50_000))),
    ),
    Case(
        "nested and never closed",
        "too_complex",
        Signs::Assertion,
        Sent(|_| "<a>".repeat(100_000)),
    ),
    Case(
        "many elements",
        "too_complex",
        Signs::Both,
        Sent(|xml| value(xml, &"<a/>".repeat(90_000))),
    ),
    Case(
        "many empty values that the provider signs",
        "too_complex",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "<saml:AttributeValue>family<",
                &format!(
                    "{}<saml:AttributeValue>family<",
                    "<saml:AttributeValue/>".repeat(8_001)
                ),
            )
        }),
    ),
    Case(
        "many attributes",
        "too_complex",
        Signs::Assertion,
        Sent(|xml| {
            let many: String = (0..30_000).map(|at| format!(" a{at}=\"\"")).collect();
            swap_first(xml, "ID=\"_response\"", &format!("ID=\"_response\"{many}"))
        }),
    ),
    Case(
        "many namespaces",
        "too_complex",
        Signs::Assertion,
        Sent(|xml| {
            let many: String = (0..15_000)
                .map(|at| format!(" xmlns:a{at}=\"u\""))
                .collect();
            swap_first(xml, "ID=\"_response\"", &format!("ID=\"_response\"{many}"))
        }),
    ),
    Case(
        "a long namespace that canonicalization repeats",
        "too_complex",
        Signs::Assertion,
        Sent(|xml| {
            swap_first(
                xml,
                "ID=\"_response\"",
                &format!("xmlns:q=\"urn:{}\" ID=\"_response\"", "q".repeat(200_000)),
            )
        }),
    ),
    Case(
        "a long attribute",
        "too_complex",
        Signs::Both,
        Sent(|xml| {
            swap(
                xml,
                "SessionIndex=\"_session\"",
                &format!("SessionIndex='{}'", "s".repeat(1_100)),
            )
        }),
    ),
    Case(
        "many foreign attributes",
        "too_complex",
        Signs::Assertion,
        Signed(|xml| {
            swap(
                xml,
                "Name=\"groups\"",
                "xmlns:q=\"urn:q\" q:a=\"\" q:b=\"\" q:c=\"\" q:d=\"\" q:e=\"\" Name=\"groups\"",
            )
        }),
    ),
];
