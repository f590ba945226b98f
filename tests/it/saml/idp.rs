//! An identity provider of the tests' own: keys, certificates, and responses signed with them.

use std::sync::LazyLock;

use cedarkeep::authn::proof::Proof;
use cedarkeep::authn::saml::ServiceProvider;
use cedarkeep::authn::saml::provider::Provider;
use cedarkeep::authn::saml::refusal::SamlRefusal;
use cedarkeep::authn::saml::response::{Expected, Request, accept};
use cedarkeep::directory::connection::{Binding, Saml};
use chrono::{DateTime, Utc};
use data_encoding::BASE64;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use samael::crypto::{Crypto, CryptoProvider as _};

pub(super) const ENTITY: &str = "https://idp.citadel.example/metadata";
pub(super) const US: &str = "https://cedarkeep.example/saml/c137/metadata";
pub(super) const ACS: &str = "https://cedarkeep.example/saml/c137/acs";
pub(super) const ASKED: &str = "_00112233445566778899aabbccddeeff";

/// The time of everything here: what is tested takes it as an argument.
pub(super) fn now() -> DateTime<Utc> {
    at("2026-03-01T12:00:00Z")
}

pub(super) fn at(written: &str) -> DateTime<Utc> {
    written.parse().unwrap()
}

/// A key with its certificate.
pub(super) struct Idp {
    pub(super) key: PKey<Private>,
    pub(super) certificate: Vec<u8>,
    elliptic: bool,
}

/// The provider that the connection knows, with an RSA key.
pub(super) static RSA: LazyLock<Idp> = LazyLock::new(|| Idp::rsa(2048));
/// The same with an elliptic key.
pub(super) static EC: LazyLock<Idp> = LazyLock::new(|| Idp::elliptic(Nid::X9_62_PRIME256V1));
/// Somebody else, whom the connection does not know.
pub(super) static STRANGER: LazyLock<Idp> = LazyLock::new(|| Idp::rsa(2048));

impl Idp {
    pub(super) fn rsa(bits: u32) -> Self {
        Self::of(PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap(), false)
    }

    pub(super) fn elliptic(curve: Nid) -> Self {
        let group = EcGroup::from_curve_name(curve).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        Self::of(key, true)
    }

    pub(super) fn of(key: PKey<Private>, elliptic: bool) -> Self {
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "idp.citadel.example")
            .unwrap();
        let name = name.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let serial = BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap();
        builder.set_serial_number(&serial).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_pubkey(&key).unwrap();
        let from = Asn1Time::from_str("20260101000000Z").unwrap();
        let until = Asn1Time::from_str("20260401120000Z").unwrap();
        builder.set_not_before(&from).unwrap();
        builder.set_not_after(&until).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self {
            certificate: builder.build().to_der().unwrap(),
            key,
            elliptic,
        }
    }

    pub(super) fn stored(&self) -> String {
        BASE64.encode(&self.certificate)
    }

    /// An empty signature over the element with this identifier, for the signer to fill in.
    pub(super) fn template(&self, id: &str) -> String {
        let method = if self.elliptic {
            "ecdsa-sha256"
        } else {
            "rsa-sha256"
        };
        format!(
            concat!(
                r#"<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo>"#,
                r#"<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>"#,
                r#"<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#{}"/>"#,
                r##"<ds:Reference URI="#{}"><ds:Transforms>"##,
                r#"<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>"#,
                r#"<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:Transforms>"#,
                r#"<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue/>"#,
                r#"</ds:Reference></ds:SignedInfo><ds:SignatureValue/><ds:KeyInfo><ds:X509Data>"#,
                r#"<ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>"#,
            ),
            method,
            id,
            self.stored(),
        )
    }

    /// Fills in the first signature of a document.
    pub(super) fn fill(&self, xml: &str) -> String {
        // RSA keys in their own form and elliptic ones in theirs, as the engine reads them.
        let der = self.key.private_key_to_der().unwrap();
        let filled = Crypto::sign_xml(xml, &der).unwrap();
        let (_, behind) = filled.split_once("?>").unwrap();
        behind.trim().to_owned()
    }
}

/// What of a response is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signs {
    Response,
    Assertion,
    Both,
    Nothing,
}

/// A response with a mark where each signature goes.
pub(super) const PLAIN: &str = concat!(
    r#"<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" "#,
    r#"ID="_response" Version="2.0" IssueInstant="2026-03-01T12:00:00Z" Destination="https://cedarkeep.example/saml/c137/acs" "#,
    r#"InResponseTo="_00112233445566778899aabbccddeeff">"#,
    r#"<saml:Issuer>https://idp.citadel.example/metadata</saml:Issuer>[[R]]"#,
    r#"<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>"#,
    r#"<saml:Assertion xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" "#,
    r#"ID="_assertion" Version="2.0" IssueInstant="2026-03-01T11:59:59.250Z">"#,
    r#"<saml:Issuer>https://idp.citadel.example/metadata</saml:Issuer>[[A]]"#,
    r#"<saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">morty-c137</saml:NameID>"#,
    r#"<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData "#,
    r#"NotOnOrAfter="2026-03-01T12:05:00Z" Recipient="https://cedarkeep.example/saml/c137/acs" "#,
    r#"InResponseTo="_00112233445566778899aabbccddeeff"/></saml:SubjectConfirmation></saml:Subject>"#,
    r#"<saml:Conditions NotBefore="2026-03-01T11:59:30Z" NotOnOrAfter="2026-03-01T12:10:00Z"><saml:AudienceRestriction>"#,
    r#"<saml:Audience>https://cedarkeep.example/saml/c137/metadata</saml:Audience></saml:AudienceRestriction></saml:Conditions>"#,
    r#"<saml:AuthnStatement AuthnInstant="2026-03-01T11:59:58Z" SessionIndex="_session"><saml:AuthnContext>"#,
    r#"<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef>"#,
    r#"</saml:AuthnContext></saml:AuthnStatement>"#,
    r#"<saml:AttributeStatement><saml:Attribute Name="email"><saml:AttributeValue xsi:type="xs:string">morty@citadel.example"#,
    r#"</saml:AttributeValue></saml:Attribute><saml:Attribute Name="displayName"><saml:AttributeValue>Morty Smith"#,
    r#"</saml:AttributeValue></saml:Attribute><saml:Attribute Name="groups"><saml:AttributeValue>family</saml:AttributeValue>"#,
    r#"<saml:AttributeValue>adventurers</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>"#,
    r#"</saml:Assertion></samlp:Response>"#,
);

/// Signs a response that has the marks; `shape` is what becomes of each empty signature before.
pub(super) fn signed_shaped(
    idp: &Idp,
    marked: &str,
    signs: Signs,
    shape: impl Fn(&str) -> String,
) -> String {
    let template = |id| shape(&idp.template(id));
    match signs {
        Signs::Nothing => marked.replace("[[R]]", "").replace("[[A]]", ""),
        Signs::Assertion => idp.fill(
            &marked
                .replace("[[R]]", "")
                .replace("[[A]]", &template("_assertion")),
        ),
        Signs::Response => idp.fill(
            &marked
                .replace("[[A]]", "")
                .replace("[[R]]", &template("_response")),
        ),
        Signs::Both => {
            let inner = idp.fill(&marked.replace("[[A]]", &template("_assertion")));
            idp.fill(&inner.replace("[[R]]", &template("_response")))
        }
    }
}

pub(super) fn signed(idp: &Idp, marked: &str, signs: Signs) -> String {
    signed_shaped(idp, marked, signs, str::to_owned)
}

/// Replaces a text that is there: a case that changes nothing shows nothing.
pub(super) fn swap(xml: &str, from: &str, to: &str) -> String {
    assert!(xml.contains(from), "`{from}` is not in {xml}");
    xml.replace(from, to)
}

/// The same for the first of several.
pub(super) fn swap_first(xml: &str, from: &str, to: &str) -> String {
    assert!(xml.contains(from), "`{from}` is not in {xml}");
    xml.replacen(from, to, 1)
}

/// The same for the last of several.
pub(super) fn swap_last(xml: &str, from: &str, to: &str) -> String {
    let at = xml
        .rfind(from)
        .unwrap_or_else(|| panic!("`{from}` is not in {xml}"));
    format!("{}{to}{}", &xml[..at], &xml[at + from.len()..])
}

/// What is around a response when it comes.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) saml: Saml,
    pub(super) us: ServiceProvider,
    pub(super) request: Option<&'static str>,
    pub(super) domains: Vec<String>,
    pub(super) now: DateTime<Utc>,
}

impl Around {
    /// The connection to one of the providers, and its request pending.
    pub(super) fn of(idp: &Idp) -> Self {
        Self {
            saml: Saml {
                entity_id: ENTITY.to_owned(),
                sso_url: "https://idp.citadel.example/sso".to_owned(),
                binding: Binding::Redirect,
                certificates: vec![idp.stored()],
                idp_initiated: false,
                email_attribute: None,
                name_attribute: None,
                groups_attribute: None,
            },
            us: ServiceProvider {
                entity_id: US.to_owned(),
                acs_url: ACS.to_owned(),
            },
            request: Some(ASKED),
            domains: vec!["citadel.example".to_owned()],
            now: now(),
        }
    }

    /// What becomes of a form field.
    pub(super) fn take(&self, field: &str) -> Result<Proof, SamlRefusal> {
        let provider = Provider::new(&self.saml).unwrap();
        let expected = Expected {
            us: &self.us,
            request: self.request.map_or(Request::Unasked, Request::Pending),
            domains: &self.domains,
            now: self.now,
        };
        accept(field, &provider, &expected)
    }

    /// What becomes of a response.
    pub(super) fn take_xml(&self, xml: &str) -> Result<Proof, SamlRefusal> {
        self.take(&BASE64.encode(xml.as_bytes()))
    }
}
