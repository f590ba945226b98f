//! Metadata of providers: read, previewed, and refused by name.

use std::time::{Duration, Instant};

use cedarkeep::authn::saml::certificate::{NotACertificate, of_connection};
use cedarkeep::authn::saml::metadata::{LONGEST_METADATA, MetadataRefusal, read};
use cedarkeep::authn::saml::provider::Provider;
use cedarkeep::directory::connection::Binding;
use data_encoding::HEXLOWER;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;

use super::idp::{Around, EC, ENTITY, Idp, PLAIN, RSA, Signs, now, signed, swap, swap_first};

const SSO: &str = "<md:SingleSignOnService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"https://idp.citadel.example/sso\"/>";
const DESCRIPTOR: &str =
    "<md:IDPSSODescriptor protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">";

/// A key descriptor for signing.
fn key(idp: &Idp) -> String {
    format!(
        "<md:KeyDescriptor use=\"signing\"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>",
        idp.stored()
    )
}

fn good() -> String {
    format!(
        concat!(
            "<?xml version=\"1.0\"?>\n<!-- made by hand --><md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" ",
            "xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" entityID=\"{}\" validUntil=\"2026-04-01T00:00:00Z\">{}{}",
            "<md:NameIDFormat>urn:oasis:names:tc:SAML:2.0:nameid-format:persistent</md:NameIDFormat>{}",
            "</md:IDPSSODescriptor></md:EntityDescriptor>"
        ),
        ENTITY,
        DESCRIPTOR,
        key(&RSA),
        SSO
    )
}

#[test]
fn good_metadata_becomes_a_connection_with_a_preview() {
    let intake = read(good().as_bytes(), now()).unwrap();
    assert_eq!(intake.saml, Around::of(&RSA).saml);
    assert!(!intake.wants_signed_requests && !intake.only_transient);
    let [certificate] = intake.certificates.as_slice() else {
        panic!("{:?}", intake.certificates);
    };
    assert_eq!(certificate.subject, "CN=idp.citadel.example");
    assert_eq!(certificate.key, "RSA 2048");
    assert_eq!(
        certificate.not_after.to_rfc3339(),
        "2026-04-01T12:00:00+00:00"
    );
    assert_eq!(certificate.days_left, 31);
    let digest = openssl::hash::hash(MessageDigest::sha256(), &RSA.certificate).unwrap();
    assert_eq!(certificate.sha256, HEXLOWER.encode(&digest));
    // What was read takes what its provider signs.
    Provider::new(&intake.saml).unwrap();
    let mut around = Around::of(&EC);
    around.saml = intake.saml;
    around.take_xml(&signed(&RSA, PLAIN, Signs::Both)).unwrap();
}

#[test]
fn several_certificates_are_read_each_once() {
    let broken = key(&EC)
        .replace("use=\"signing\"", "")
        .replace("MII", "MII\n   ");
    let encryption = key(&Idp::rsa(1024)).replace("signing", "encryption");
    let three = good().replace(
        &key(&RSA),
        &format!("{}{broken}{}{encryption}", key(&RSA), key(&RSA)),
    );
    let intake = read(three.as_bytes(), now()).unwrap();
    assert_eq!(intake.saml.certificates, [RSA.stored(), EC.stored()]);
    let facts = of_connection(&intake.saml.certificates, now()).unwrap();
    assert_eq!(facts, intake.certificates);
    let keys: Vec<_> = facts.iter().map(|facts| facts.key.as_str()).collect();
    assert_eq!(keys, ["RSA 2048", "EC P-256"]);
}

#[test]
fn a_certificate_that_runs_out_is_counted_down() {
    let saml = Around::of(&RSA).saml;
    let left =
        |at: &str| of_connection(&saml.certificates, super::idp::at(at)).unwrap()[0].days_left;
    assert_eq!(left("2026-03-31T13:00:00Z"), 0);
    assert_eq!(left("2026-04-01T12:00:01Z"), -1);
    assert_eq!(left("2026-03-25T11:00:00Z"), 7);
    let mut unreadable = saml.clone();
    unreadable.certificates.push("QUJD".to_owned());
    assert_eq!(
        of_connection(&unreadable.certificates, now()),
        Err((2, NotACertificate::Unreadable))
    );
}

#[test]
fn a_form_is_taken_where_there_is_no_redirect() {
    let post = swap(&good(), "HTTP-Redirect", "HTTP-POST");
    assert_eq!(
        read(post.as_bytes(), now()).unwrap().saml.binding,
        Binding::Post
    );
    let both = swap(
        &post,
        SSO.replace("HTTP-Redirect", "HTTP-POST").as_str(),
        &format!(
            "{}{SSO}",
            SSO.replace("HTTP-Redirect", "HTTP-POST")
                .replace("/sso", "/post")
        ),
    );
    let saml = read(both.as_bytes(), now()).unwrap().saml;
    assert_eq!(
        (saml.binding, saml.sso_url.as_str()),
        (Binding::Redirect, "https://idp.citadel.example/sso")
    );
}

#[test]
fn a_url_is_kept_as_it_is_written() {
    let written = "https://IDP.citadel.example:443";
    let other = swap(&good(), "https://idp.citadel.example/sso", written);
    assert_eq!(read(other.as_bytes(), now()).unwrap().saml.sso_url, written);
}

#[test]
fn what_an_admin_must_switch_off_is_noted() {
    let wants = swap(
        &good(),
        "<md:IDPSSODescriptor",
        "<md:IDPSSODescriptor WantAuthnRequestsSigned=\"true\"",
    );
    let wants = swap(&wants, "format:persistent", "format:transient");
    let intake = read(wants.as_bytes(), now()).unwrap();
    assert!(intake.wants_signed_requests && intake.only_transient);
}

type Change = fn(&str) -> String;

/// What is done to good metadata, and the word of the refusal.
const HOSTILE: &[(&str, &str, Change)] = &[
    ("not XML", "xml", |_| {
        "https://idp.citadel.example/metadata".to_owned()
    }),
    ("empty", "xml", |_| String::new()),
    ("not closed", "xml", |xml| {
        swap(xml, "</md:EntityDescriptor>", "")
    }),
    ("a page", "not_metadata", |_| {
        "<html><body>Sign in</body></html>".to_owned()
    }),
    ("a document type", "xml", |xml| {
        swap(
            xml,
            "<!-- made by hand -->",
            "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>",
        )
    }),
    ("an entity that multiplies", "xml", |xml| {
        swap(
            xml,
            "<!-- made by hand -->",
            "<!DOCTYPE a [<!ENTITY x \"ha\"><!ENTITY y \"&x;&x;\">]>",
        )
    }),
    ("a list of entities", "several_entities", |xml| {
        let (_, entity) = xml.split_once("-->").unwrap();
        format!(
            "<md:EntitiesDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\">{entity}</md:EntitiesDescriptor>"
        )
    }),
    ("another namespace", "not_metadata", |xml| {
        swap(xml, "SAML:2.0:metadata\" ", "SAML:1.0:metadata\" ")
    }),
    ("no entity ID", "entity_id", |xml| {
        swap(
            xml,
            " entityID=\"https://idp.citadel.example/metadata\"",
            "",
        )
    }),
    ("an empty entity ID", "entity_id", |xml| {
        swap(xml, "\"https://idp.citadel.example/metadata\"", "\"\"")
    }),
    ("an entity ID with a space", "entity_id", |xml| {
        swap(
            xml,
            "\"https://idp.citadel.example/metadata\"",
            "\"https://idp.citadel.example /\"",
        )
    }),
    ("an entity ID too long", "entity_id", |xml| {
        swap(
            xml,
            "example/metadata\"",
            &format!("example/{}\"", "m".repeat(1024)),
        )
    }),
    ("run out", "expired", |xml| {
        swap(xml, "2026-04-01T00", "2026-02-01T00")
    }),
    ("an end that is no time", "expired", |xml| {
        swap(xml, "2026-04-01T00:00:00Z", "later")
    }),
    ("a descriptor that has run out", "expired", |xml| {
        swap(
            xml,
            "<md:IDPSSODescriptor",
            "<md:IDPSSODescriptor validUntil=\"2020-01-01T00:00:00Z\"",
        )
    }),
    ("two descriptors", "descriptors", |xml| {
        swap(
            xml,
            DESCRIPTOR,
            &format!("{DESCRIPTOR}</md:IDPSSODescriptor>{DESCRIPTOR}"),
        )
    }),
    ("no descriptor", "descriptors", |xml| {
        xml.replace("IDPSSODescriptor", "SPSSODescriptor")
    }),
    ("a descriptor of another namespace", "descriptors", |xml| {
        swap(
            xml,
            "<md:IDPSSODescriptor",
            "<md:Extensions/><IDPSSODescriptor",
        )
        .replace("</md:IDPSSODescriptor", "</IDPSSODescriptor")
    }),
    ("version 1.1 alone", "protocol", |xml| {
        swap(xml, "SAML:2.0:protocol", "SAML:1.1:protocol")
    }),
    ("nowhere to sign in", "no_sign_on", |xml| swap(xml, SSO, "")),
    ("another binding", "no_sign_on", |xml| {
        swap(xml, "HTTP-Redirect", "SOAP")
    }),
    ("sign-in over HTTP", "sign_on_url", |xml| {
        swap(
            xml,
            "https://idp.citadel.example/sso",
            "http://idp.citadel.example/sso",
        )
    }),
    ("sign-in by a script", "sign_on_url", |xml| {
        swap(
            xml,
            "https://idp.citadel.example/sso",
            "javascript:alert(1)",
        )
    }),
    ("sign-in at no URL", "sign_on_url", |xml| {
        swap(xml, "https://idp.citadel.example/sso", "/sso")
    }),
    ("sign-in with a password", "sign_on_url", |xml| {
        swap(
            xml,
            "https://idp.citadel.example/sso",
            "https://rick:portal@idp.citadel.example/sso",
        )
    }),
    ("sign-in with a line break", "sign_on_url", |xml| {
        swap(xml, "citadel.example/sso", "citadel.example/s&#10;so")
    }),
    ("sign-in with a fragment", "sign_on_url", |xml| {
        swap(xml, "citadel.example/sso", "citadel.example/sso#x")
    }),
    ("no certificate", "no_certificate", |xml| {
        swap(xml, &key(&RSA), "")
    }),
    (
        "a certificate for encryption alone",
        "no_certificate",
        |xml| swap(xml, "use=\"signing\"", "use=\"encryption\""),
    ),
    ("a bare key", "no_certificate", |xml| {
        xml.replace("X509Certificate", "KeyName")
    }),
    ("a certificate that is none", "certificate", |xml| {
        swap(xml, &RSA.stored(), "QUJD")
    }),
    ("a certificate that is not base 64", "certificate", |xml| {
        swap(xml, &RSA.stored(), "-----BEGIN CERTIFICATE-----")
    }),
    ("a certificate that is empty", "certificate", |xml| {
        swap(xml, &RSA.stored(), "")
    }),
    ("an RSA key of 1024 bits", "certificate", |xml| {
        swap(xml, &key(&RSA), &key(&Idp::rsa(1024)))
    }),
    (
        "an RSA key of 1024 bits beside a good one",
        "certificate",
        |xml| {
            swap(
                xml,
                &key(&RSA),
                &format!("{}{}", key(&RSA), key(&Idp::rsa(1024))),
            )
        },
    ),
    ("a key of another curve", "certificate", |xml| {
        swap(xml, &key(&RSA), &key(&Idp::elliptic(Nid::SECP256K1)))
    }),
    ("nine certificates", "too_many_certificates", |xml| {
        let nine: String = (0..9)
            .map(|_| key(&Idp::elliptic(Nid::X9_62_PRIME256V1)))
            .collect();
        swap(xml, &key(&RSA), &nine)
    }),
    ("too long", "too_large", |xml| {
        format!("{xml}{}", " ".repeat(LONGEST_METADATA))
    }),
    ("too many elements", "too_complex", |xml| {
        swap(xml, SSO, &"<a/>".repeat(100_000))
    }),
    ("nested deeply", "too_complex", |xml| {
        swap(
            xml,
            SSO,
            &format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000)),
        )
    }),
    ("nested and never closed", "too_complex", |_| {
        "<a>".repeat(300_000)
    }),
    (
        "too many attributes behind one that looks like an end",
        "too_complex",
        |xml| {
            let many: String = (0..50_000).map(|at| format!(" a{at}=\"\"")).collect();
            swap_first(
                xml,
                "<md:IDPSSODescriptor",
                &format!("<md:IDPSSODescriptor b=\">\"{many}"),
            )
        },
    ),
    ("too many attributes", "too_complex", |xml| {
        let many: String = (0..50_000).map(|at| format!(" a{at}=\"\"")).collect();
        swap_first(
            xml,
            "<md:IDPSSODescriptor",
            &format!("<md:IDPSSODescriptor{many}"),
        )
    }),
];

#[test]
fn hostile_metadata_is_refused_by_name_and_soon() {
    let mut wrong = Vec::new();
    for (name, word, change) in HOSTILE {
        let hostile = change(&good());
        let begun = Instant::now();
        let found = read(hostile.as_bytes(), now())
            .map(drop)
            .map_err(|refusal| refusal.name());
        if found != Err(word) {
            wrong.push(format!("{name}: {found:?} instead of `{word}`"));
        }
        if begun.elapsed() > Duration::from_secs(3) {
            wrong.push(format!("{name}: took {:?}", begun.elapsed()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn metadata_in_another_encoding_is_refused() {
    let units = good()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect::<Vec<_>>();
    assert_eq!(
        read(&[&[0xff, 0xfe], &units[..]].concat(), now()),
        Err(MetadataRefusal::Encoding)
    );
    // Quotes and brackets in what is no element are none.
    let noted = swap(&good(), "made by hand", "don't <a b=\"");
    read(noted.as_bytes(), now()).unwrap();
    // A mark that an editor has put before it is none.
    read(format!("\u{feff}{}", good()).as_bytes(), now()).unwrap();
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let edwards = PKey::generate_ed25519().unwrap();
    let mut builder = openssl::x509::X509::builder().unwrap();
    builder.set_pubkey(&edwards).unwrap();
    let from = openssl::asn1::Asn1Time::from_str("20260101000000Z").unwrap();
    builder.set_not_before(&from).unwrap();
    builder.set_not_after(&from).unwrap();
    builder.sign(&edwards, MessageDigest::null()).unwrap();
    let mut saml = Around::of(&RSA).saml;
    saml.certificates = vec![data_encoding::BASE64.encode(&builder.build().to_der().unwrap())];
    assert_eq!(
        of_connection(&saml.certificates, now()),
        Err((1, NotACertificate::Key))
    );
}
