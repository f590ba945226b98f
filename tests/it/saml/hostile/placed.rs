//! A signature with something in it, or where none belongs.

use super::super::idp::{Signs, swap, swap_first, swap_last};
use super::Case;
use super::Craft::{Sent, Template};
use super::cut::signatures;

pub(super) const CASES: &[Case] = &[
    // Inside the signature.
    Case(
        "an object",
        "forbidden",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "</ds:Signature>",
                "<ds:Object>x</ds:Object></ds:Signature>",
            )
        }),
    ),
    Case(
        "a manifest in an object",
        "forbidden",
        Signs::Response,
        Sent(|xml| {
            swap(
                xml,
                "</ds:Signature>",
                "<ds:Object><ds:Manifest/></ds:Object></ds:Signature>",
            )
        }),
    ),
    Case(
        "an object that the provider signs along",
        "forbidden",
        Signs::Both,
        Template(|xml| swap(xml, "</ds:Signature>", "<ds:Object/></ds:Signature>")),
    ),
    Case(
        "a key to be retrieved",
        "forbidden",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "<ds:KeyInfo>",
                "<ds:KeyInfo><ds:RetrievalMethod URI=\"http://127.0.0.1:1/key\"/>",
            )
        }),
    ),
    Case(
        "a key of another namespace",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "<ds:KeyInfo>",
                "<ds:KeyInfo><x:KeyInfoReference xmlns:x=\"http://www.w3.org/2009/xmldsig11#\" URI=\"http://127.0.0.1:1/\"/>",
            )
        }),
    ),
    Case(
        "an encrypted key",
        "encrypted",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "<ds:KeyInfo>",
                "<ds:KeyInfo><x:EncryptedKey xmlns:x=\"http://www.w3.org/2001/04/xmlenc#\"/>",
            )
        }),
    ),
    Case(
        "two keys",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| swap(xml, "</ds:Signature>", "<ds:KeyInfo/></ds:Signature>")),
    ),
    Case(
        "two values",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "<ds:KeyInfo>",
                "<ds:SignatureValue>QUFB</ds:SignatureValue><ds:KeyInfo>",
            )
        }),
    ),
    Case(
        "what is signed stands twice in it",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| {
            swap_first(
                xml,
                "<ds:SignatureValue>",
                "<ds:SignedInfo/><ds:SignatureValue>",
            )
        }),
    ),
    Case(
        "an element inside the digest",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| swap(xml, "<ds:DigestValue>", "<ds:DigestValue><x/>")),
    ),
    // Where it stands.
    Case(
        "two signatures of one assertion",
        "unexpected",
        Signs::Assertion,
        Sent(|xml| {
            let one = signatures(xml)[0];
            swap(xml, one, &format!("{one}{one}"))
        }),
    ),
    Case(
        "a signature at the end of the response",
        "unexpected",
        Signs::Response,
        Sent(|xml| {
            let one = signatures(xml)[0];
            swap(
                &swap(xml, one, ""),
                "</samlp:Response>",
                &format!("{one}</samlp:Response>"),
            )
        }),
    ),
    Case(
        "a signature at the end of the assertion",
        "unexpected",
        Signs::Assertion,
        Sent(|xml| {
            let one = signatures(xml)[0];
            swap(
                &swap(xml, one, ""),
                "</saml:Assertion>",
                &format!("{one}</saml:Assertion>"),
            )
        }),
    ),
    Case(
        "a signature inside the subject",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| {
            let one = signatures(xml)[0];
            swap(
                &swap(xml, one, ""),
                "</saml:Subject>",
                &format!("{one}</saml:Subject>"),
            )
        }),
    ),
    Case(
        "a signature inside a signature",
        "signature_shape",
        Signs::Both,
        Sent(|xml| {
            swap_last(
                xml,
                "</ds:KeyInfo>",
                &format!("{}</ds:KeyInfo>", signatures(xml)[0]),
            )
        }),
    ),
    Case(
        "a signature inside a value",
        "signature_shape",
        Signs::Response,
        Sent(|xml| {
            swap(
                xml,
                ">Morty Smith<",
                "><ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"/><",
            )
        }),
    ),
];
