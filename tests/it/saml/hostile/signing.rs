//! Signed wrongly: not at all, with another key, over another text, with another algorithm.

use super::super::idp::{PLAIN, RSA, STRANGER, Signs, signed, swap};
use super::Case;
use super::Craft::{Sent, Signed, Template};
use super::cut::{RSA_SHA_256, SHA_256, inside, signatures, stripped};

pub(super) const CASES: &[Case] = &[
    // No signature.
    Case(
        "not signed",
        "unsigned",
        Signs::Nothing,
        Signed(str::to_owned),
    ),
    Case(
        "not signed and changed",
        "unsigned",
        Signs::Nothing,
        Signed(|xml| swap(xml, "morty-c137", "rick-c137")),
    ),
    Case(
        "the response's signature stripped",
        "unsigned",
        Signs::Response,
        Sent(stripped),
    ),
    Case(
        "the assertion's signature stripped",
        "unsigned",
        Signs::Assertion,
        Sent(stripped),
    ),
    Case(
        "both signatures stripped",
        "unsigned",
        Signs::Both,
        Sent(stripped),
    ),
    Case(
        "a signature of no namespace",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                &swap(xml, "<ds:Signature ", "<Signature "),
                "</ds:Signature>",
                "</Signature>",
            )
        }),
    ),
    Case(
        "a signature of another namespace",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "http://www.w3.org/2000/09/xmldsig#\"><ds:SignedInfo",
                "http://www.w3.org/2000/09/xmldsig\"><ds:SignedInfo",
            )
        }),
    ),
    Case(
        "an empty signature",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                signatures(xml)[0],
                "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"/>",
            )
        }),
    ),
    Case(
        "a signature without a value",
        "signature_shape",
        Signs::Both,
        Sent(|xml| {
            let value = inside(xml, "<ds:SignatureValue>", "</ds:SignatureValue>").to_owned();
            swap(xml, &value, "")
        }),
    ),
    Case(
        "a signature whose value is no base 64",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| swap(xml, "<ds:SignatureValue>", "<ds:SignatureValue>!")),
    ),
    Case(
        "a digest that is no base 64",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| swap(xml, "<ds:DigestValue>", "<ds:DigestValue>!")),
    ),
    // Another key, another text.
    Case(
        "signed by a stranger",
        "signature",
        Signs::Assertion,
        Sent(|_| signed(&STRANGER, PLAIN, Signs::Assertion)),
    ),
    Case(
        "response signed by a stranger",
        "signature",
        Signs::Response,
        Sent(|_| signed(&STRANGER, PLAIN, Signs::Response)),
    ),
    Case(
        "signed by a stranger under our provider's certificate",
        "signature",
        Signs::Assertion,
        Sent(|_| {
            signed(&STRANGER, PLAIN, Signs::Assertion).replace(&STRANGER.stored(), &RSA.stored())
        }),
    ),
    Case(
        "signed by a stranger with a bare key beside it",
        "signature",
        Signs::Assertion,
        Sent(|_| {
            let xml = signed(&STRANGER, PLAIN, Signs::Assertion);
            let key = "<ds:KeyInfo><ds:KeyValue><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus><ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue></ds:KeyValue></ds:KeyInfo>";
            let info = format!(
                "<ds:KeyInfo>{}</ds:KeyInfo>",
                inside(&xml, "<ds:KeyInfo>", "</ds:KeyInfo>")
            );
            swap(&xml, &info, key)
        }),
    ),
    Case(
        "a stranger's response around a signed assertion",
        "signature",
        Signs::Both,
        Sent(|_| {
            let template = STRANGER.template("_response");
            let inner = RSA.fill(&PLAIN.replace("[[A]]", &RSA.template("_assertion")));
            STRANGER.fill(&inner.replace("[[R]]", &template))
        }),
    ),
    Case(
        "a stranger's assertion in a signed response",
        "signature",
        Signs::Both,
        Sent(|_| {
            let inner = STRANGER.fill(&PLAIN.replace("[[A]]", &STRANGER.template("_assertion")));
            RSA.fill(&inner.replace("[[R]]", &RSA.template("_response")))
        }),
    ),
    Case(
        "name changed",
        "signature",
        Signs::Assertion,
        Sent(|xml| swap(xml, "morty-c137", "rick-c137")),
    ),
    Case(
        "name changed in a signed response",
        "signature",
        Signs::Response,
        Sent(|xml| swap(xml, "morty-c137", "rick-c137")),
    ),
    Case(
        "name changed by one letter",
        "signature",
        Signs::Both,
        Sent(|xml| swap(xml, "morty-c137", "morty-c138")),
    ),
    Case(
        "a group added",
        "signature",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "<saml:AttributeValue>family<",
                "<saml:AttributeValue>admins</saml:AttributeValue><saml:AttributeValue>family<",
            )
        }),
    ),
    Case(
        "a time put off",
        "signature",
        Signs::Assertion,
        Sent(|xml| swap(xml, "12:05:00Z", "12:55:00Z")),
    ),
    Case(
        "white space added to what is signed",
        "signature",
        Signs::Assertion,
        Sent(|xml| swap(xml, "<saml:Conditions", " <saml:Conditions")),
    ),
    Case(
        "the response's own attributes changed though signed",
        "signature",
        Signs::Response,
        Sent(|xml| {
            swap(
                xml,
                "ID=\"_response\"",
                "Consent=\"urn:x\" ID=\"_response\"",
            )
        }),
    ),
    Case(
        "digest of another assertion",
        "signature",
        Signs::Assertion,
        Sent(|xml| {
            let other = signed(
                &RSA,
                &swap(PLAIN, "morty-c137", "rick-c137"),
                Signs::Assertion,
            );
            let from = inside(xml, "<ds:DigestValue>", "</ds:DigestValue>").to_owned();
            swap(
                xml,
                &from,
                inside(&other, "<ds:DigestValue>", "</ds:DigestValue>"),
            )
        }),
    ),
    Case(
        "signature of another assertion",
        "signature",
        Signs::Assertion,
        Sent(|xml| {
            let other = signed(
                &RSA,
                &swap(PLAIN, "morty-c137", "rick-c137"),
                Signs::Assertion,
            );
            swap(xml, signatures(xml)[0], signatures(&other)[0])
        }),
    ),
    Case(
        "signature value cut short",
        "signature",
        Signs::Assertion,
        Sent(|xml| {
            let from = inside(xml, "<ds:SignatureValue>", "</ds:SignatureValue>").to_owned();
            swap(xml, &from, "AAAA")
        }),
    ),
    Case(
        "one of two signatures broken",
        "signature",
        Signs::Both,
        Sent(|xml| {
            let inner = signatures(xml)[0].to_owned();
            let value = inside(&inner, "<ds:SignatureValue>", "</ds:SignatureValue>").to_owned();
            swap(xml, &value, "QUFB")
        }),
    ),
    // Algorithms.
    Case(
        "RSA with SHA-1",
        "algorithm",
        Signs::Assertion,
        Template(|xml| {
            swap(
                xml,
                RSA_SHA_256,
                "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
            )
        }),
    ),
    Case(
        "RSA with SHA-1 over the response",
        "algorithm",
        Signs::Response,
        Template(|xml| {
            swap(
                xml,
                RSA_SHA_256,
                "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
            )
        }),
    ),
    Case(
        "digest with SHA-1",
        "algorithm",
        Signs::Assertion,
        Template(|xml| swap(xml, SHA_256, "http://www.w3.org/2000/09/xmldsig#sha1")),
    ),
    Case(
        "digest with SHA-1 over the response",
        "algorithm",
        Signs::Both,
        Template(|xml| swap(xml, SHA_256, "http://www.w3.org/2000/09/xmldsig#sha1")),
    ),
    Case(
        "RSA with SHA-224",
        "algorithm",
        Signs::Assertion,
        Template(|xml| {
            swap(
                xml,
                RSA_SHA_256,
                "http://www.w3.org/2001/04/xmldsig-more#rsa-sha224",
            )
        }),
    ),
    Case(
        "RSA with MD5",
        "algorithm",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                RSA_SHA_256,
                "http://www.w3.org/2001/04/xmldsig-more#rsa-md5",
            )
        }),
    ),
    Case(
        "HMAC with SHA-1",
        "algorithm",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                RSA_SHA_256,
                "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
            )
        }),
    ),
    Case(
        "HMAC with SHA-256",
        "algorithm",
        Signs::Response,
        Sent(|xml| {
            swap(
                xml,
                RSA_SHA_256,
                "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
            )
        }),
    ),
    Case(
        "HMAC cut to nothing",
        "algorithm",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                &format!("<ds:SignatureMethod Algorithm=\"{RSA_SHA_256}\"/>"),
                "<ds:SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#hmac-sha256\"><ds:HMACOutputLength>0</ds:HMACOutputLength></ds:SignatureMethod>",
            )
        }),
    ),
    Case(
        "DSA",
        "algorithm",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                RSA_SHA_256,
                "http://www.w3.org/2009/xmldsig11#dsa-sha256",
            )
        }),
    ),
    Case(
        "algorithm none",
        "algorithm",
        Signs::Assertion,
        Sent(|xml| swap(xml, RSA_SHA_256, "none")),
    ),
    Case(
        "algorithm empty",
        "algorithm",
        Signs::Both,
        Sent(|xml| swap(xml, RSA_SHA_256, "")),
    ),
    Case(
        "algorithm in capitals",
        "algorithm",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                RSA_SHA_256,
                "http://www.w3.org/2001/04/xmldsig-more#RSA-SHA256",
            )
        }),
    ),
    Case(
        "algorithm missing",
        "algorithm",
        Signs::Assertion,
        Sent(|xml| swap(xml, &format!(" Algorithm=\"{RSA_SHA_256}\""), "")),
    ),
    Case(
        "algorithm of another kind than the key",
        "signature",
        Signs::Assertion,
        Sent(|xml| swap(xml, "#rsa-sha256", "#ecdsa-sha256")),
    ),
    Case(
        "digest none",
        "algorithm",
        Signs::Assertion,
        Sent(|xml| swap(xml, SHA_256, "none")),
    ),
    Case(
        "something inside the signature method",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                &format!("<ds:SignatureMethod Algorithm=\"{RSA_SHA_256}\"/>"),
                &format!(
                    "<ds:SignatureMethod Algorithm=\"{RSA_SHA_256}\"><ds:HMACOutputLength>8</ds:HMACOutputLength></ds:SignatureMethod>"
                ),
            )
        }),
    ),
];
