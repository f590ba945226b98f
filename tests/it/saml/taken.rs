//! What is taken: each way of signing, each kind of key, and what a proof then says.

use cedarkeep::authn::saml::provider::{NotAProvider, Provider};
use data_encoding::BASE64;
use openssl::nid::Nid;

use super::idp::{
    ASKED, Around, EC, Idp, PLAIN, RSA, STRANGER, Signs, at, signed, signed_shaped, swap, swap_last,
};

fn unasked(xml: &str) -> String {
    swap(xml, &format!(" InResponseTo=\"{ASKED}\""), "")
}

#[test]
fn a_signed_response_a_signed_assertion_and_both_are_taken() {
    for idp in [&*RSA, &*EC] {
        for signs in [Signs::Response, Signs::Assertion, Signs::Both] {
            let proof = Around::of(idp)
                .take_xml(&signed(idp, PLAIN, signs))
                .unwrap();
            assert_eq!(
                proof.subject,
                "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent morty-c137"
            );
        }
    }
}

#[test]
fn a_proof_says_what_the_assertion_says() {
    let proof = Around::of(&RSA)
        .take_xml(&signed(&RSA, PLAIN, Signs::Assertion))
        .unwrap();
    assert_eq!(proof.email.as_deref(), Some("morty@citadel.example"));
    assert!(proof.email_verified);
    assert_eq!(proof.name.as_deref(), Some("Morty Smith"));
    assert_eq!(proof.groups, ["adventurers", "family"]);
    assert_eq!(proof.provider_session.as_deref(), Some("_session"));
    assert_eq!(proof.ends_at, None);
    // The earlier of two ends, and the minute of skew by which it is still taken.
    assert_eq!(
        proof.once,
        Some(("_assertion".to_owned(), at("2026-03-01T12:06:00Z")))
    );
    let said: Vec<_> = proof
        .claims
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert!(
        said.contains(&"displayName=Morty Smith".to_owned()),
        "{said:?}"
    );
    assert!(said.contains(&"NameID=morty-c137".to_owned()), "{said:?}");
}

#[test]
fn stronger_algorithms_and_other_curves_are_taken() {
    let strong = |template: &str| {
        let template = swap(
            template,
            "xmldsig-more#rsa-sha256",
            "xmldsig-more#rsa-sha512",
        );
        swap(&template, "xmlenc#sha256", "xmlenc#sha512")
    };
    let xml = signed_shaped(&RSA, PLAIN, Signs::Both, strong);
    Around::of(&RSA).take_xml(&xml).unwrap();
    let idp = Idp::elliptic(Nid::SECP384R1);
    let middle = |template: &str| {
        let template = swap(template, "#ecdsa-sha256", "#ecdsa-sha384");
        swap(&template, "xmlenc#sha256", "xmldsig-more#sha384")
    };
    let xml = signed_shaped(&idp, PLAIN, Signs::Assertion, middle);
    Around::of(&idp).take_xml(&xml).unwrap();
}

#[test]
fn inclusive_canonicalization_and_a_list_of_prefixes_are_taken() {
    let exclusive = r#"<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>"#;
    let inclusive = |template: &str| {
        swap(
            template,
            exclusive,
            r#"<ds:Transform Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"/>"#,
        )
    };
    let listed = |template: &str| {
        swap(
            template,
            exclusive,
            concat!(
                r#"<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"><ec:InclusiveNamespaces "#,
                r#"xmlns:ec="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="xs"/></ds:Transform>"#
            ),
        )
    };
    for signs in [Signs::Response, Signs::Assertion] {
        Around::of(&RSA)
            .take_xml(&signed_shaped(&RSA, PLAIN, signs, inclusive))
            .unwrap();
        Around::of(&RSA)
            .take_xml(&signed_shaped(&RSA, PLAIN, signs, listed))
            .unwrap();
    }
}

#[test]
fn either_of_two_certificates_will_do() {
    for (first, second) in [(&*STRANGER, &*RSA), (&*EC, &*RSA), (&*RSA, &*EC)] {
        let mut around = Around::of(first);
        around.saml.certificates.push(second.stored());
        for idp in [first, second] {
            for signs in [Signs::Response, Signs::Both] {
                around.take_xml(&signed(idp, PLAIN, signs)).unwrap();
            }
        }
    }
}

#[test]
fn the_end_of_the_providers_session_ends_ours() {
    let ends = " SessionIndex=\"_session\" SessionNotOnOrAfter=\"2026-03-01T14:00:00Z\"";
    let xml = signed(
        &RSA,
        &swap(PLAIN, " SessionIndex=\"_session\"", ends),
        Signs::Response,
    );
    let proof = Around::of(&RSA).take_xml(&xml).unwrap();
    assert_eq!(proof.ends_at, Some(at("2026-03-01T14:00:00Z")));
}

#[test]
fn sign_in_begins_at_the_provider_where_that_is_on() {
    let xml = signed(&RSA, &unasked(PLAIN), Signs::Assertion);
    let mut around = Around::of(&RSA);
    around.request = None;
    assert_eq!(around.take_xml(&xml).unwrap_err().name(), "unasked");
    around.saml.idp_initiated = true;
    around.take_xml(&xml).unwrap();
    // Whoever has asked gets the answer to that, and nothing else.
    around.request = Some(ASKED);
    assert_eq!(around.take_xml(&xml).unwrap_err().name(), "in_response_to");
    // What answers a request is no response that nobody has asked for.
    around.request = None;
    let answer = signed(&RSA, PLAIN, Signs::Assertion);
    assert_eq!(
        around.take_xml(&answer).unwrap_err().name(),
        "in_response_to"
    );
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let xml = signed(&RSA, PLAIN, Signs::Both);
    let mut around = Around::of(&RSA);
    for (now, taken) in [
        ("2026-03-01T11:58:59Z", Err("from_the_future")),
        ("2026-03-01T11:59:00Z", Ok(())),
        ("2026-03-01T12:05:59Z", Ok(())),
        ("2026-03-01T12:06:00Z", Err("expired")),
    ] {
        around.now = at(now);
        let found = around.take_xml(&xml).map(drop);
        assert_eq!(
            found.as_ref().map_err(|refusal| refusal.name()),
            taken.as_ref().map_err(|word| *word),
            "{now}"
        );
    }
}

#[test]
fn an_address_is_vouched_for_in_the_organizations_own_domains_alone() {
    let xml = signed(&RSA, PLAIN, Signs::Assertion);
    let mut around = Around::of(&RSA);
    around.domains = vec!["Citadel.Example".to_owned()];
    assert!(around.take_xml(&xml).unwrap().email_verified);
    around.domains = vec!["example".to_owned(), "evil-citadel.example".to_owned()];
    let proof = around.take_xml(&xml).unwrap();
    assert!(!proof.email_verified && proof.email.is_some());
}

#[test]
fn attributes_have_the_names_that_are_set_or_usual_ones() {
    let mut around = Around::of(&RSA);
    let entra = swap(
        PLAIN,
        "Name=\"email\"",
        "Name=\"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress\"",
    );
    let entra = swap(
        &entra,
        "Name=\"groups\"",
        "Name=\"http://schemas.microsoft.com/ws/2008/06/identity/claims/groups\"",
    );
    let entra = swap(&entra, "Name=\"displayName\"", "Name=\"givenName\"");
    let proof = around
        .take_xml(&signed(&RSA, &entra, Signs::Assertion))
        .unwrap();
    assert_eq!(proof.email.as_deref(), Some("morty@citadel.example"));
    assert_eq!(proof.name.as_deref(), Some("Morty Smith"));
    assert_eq!(proof.groups, ["adventurers", "family"]);
    // What is set and not there is not made up.
    around.saml.email_attribute = Some("primaryMail".to_owned());
    around.saml.groups_attribute = Some("displayName".to_owned());
    let proof = around
        .take_xml(&signed(&RSA, PLAIN, Signs::Assertion))
        .unwrap();
    assert_eq!(proof.email, None);
    assert_eq!(proof.groups, ["Morty Smith"]);
    around.saml.email_attribute = None;
    let address = swap(
        PLAIN,
        "2.0:nameid-format:persistent\">morty-c137",
        "1.1:nameid-format:emailAddress\">smith@citadel.example",
    );
    let proof = around
        .take_xml(&signed(&RSA, &address, Signs::Assertion))
        .unwrap();
    assert_eq!(proof.email.as_deref(), Some("smith@citadel.example"));
    let list = swap(
        PLAIN,
        ">morty@citadel.example<",
        ">a@citadel.example,b@evil.example<",
    );
    assert_eq!(
        around
            .take_xml(&signed(&RSA, &list, Signs::Assertion))
            .unwrap()
            .email,
        None
    );
}

#[test]
fn what_providers_write_differently_is_taken() {
    let around = Around::of(&RSA);
    let spaced = swap(PLAIN, "><saml:Subject", ">\n  <saml:Subject");
    let statements = "<saml:AttributeStatement><saml:Attribute Name=\"department\" FriendlyName=\"unit\"/></saml:AttributeStatement>";
    let last = swap_last(
        &spaced,
        "</saml:Assertion>",
        &format!("{statements}</saml:Assertion>"),
    );
    let nested = swap(
        &last,
        "<saml:AttributeValue>family<",
        "<saml:AttributeValue><saml:NameID>targeted</saml:NameID></saml:AttributeValue><saml:AttributeValue>family<",
    );
    let adfs = swap(
        &nested,
        "<saml:Attribute Name=\"email\"",
        "<saml:Attribute xmlns:a=\"urn:adfs\" a:OriginalIssuer=\"x\" Name=\"email\"",
    );
    let once = swap(
        &adfs,
        "</saml:Conditions>",
        "<saml:OneTimeUse/></saml:Conditions>",
    );
    let audiences = swap(
        &once,
        "<saml:Audience>",
        "<saml:Audience>urn:other</saml:Audience><saml:Audience>",
    );
    let xml = signed(&RSA, &audiences, Signs::Both);
    assert_eq!(
        around.take_xml(&xml).unwrap().groups,
        ["adventurers", "family"]
    );
    let declared = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{xml}");
    around.take_xml(&declared).unwrap();
    // Another prefix for the same namespace, and none.
    let other = PLAIN
        .replace("saml:", "s2:")
        .replace("xmlns:saml=", "xmlns:s2=");
    around
        .take_xml(&signed(&RSA, &other, Signs::Assertion))
        .unwrap();
    let none = PLAIN.replace("saml:", "").replace("xmlns:saml=", "xmlns=");
    around.take_xml(&signed(&RSA, &none, Signs::Both)).unwrap();
    // What XML escapes comes out as it was meant.
    let escaped = swap(PLAIN, ">morty-c137<", ">m&amp;m&#x2D;&lt;c137&gt;<");
    let proof = around
        .take_xml(&signed(&RSA, &escaped, Signs::Response))
        .unwrap();
    assert!(proof.subject.ends_with(" m&m-<c137>"), "{}", proof.subject);
}

#[test]
fn the_format_is_part_of_who_somebody_is() {
    let around = Around::of(&RSA);
    let without = swap(
        PLAIN,
        " Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\"",
        "",
    );
    let subjects = [PLAIN, without.as_str()].map(|xml| {
        around
            .take_xml(&signed(&RSA, xml, Signs::Assertion))
            .unwrap()
            .subject
    });
    assert_ne!(subjects[0], subjects[1]);
    assert!(subjects[1].starts_with("urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified "));
}

#[test]
fn without_an_entity_id_or_a_certificate_there_is_no_provider() {
    let around = Around::of(&RSA);
    let refused = |change: &dyn Fn(&mut cedarkeep::directory::connection::Saml)| {
        let mut saml = around.saml.clone();
        change(&mut saml);
        Provider::new(&saml).unwrap_err()
    };
    assert_eq!(
        refused(&|saml| saml.certificates.clear()),
        NotAProvider::NoCertificate
    );
    assert_eq!(
        refused(&|saml| saml.entity_id.clear()),
        NotAProvider::EntityId
    );
    assert_eq!(
        refused(&|saml| " ".clone_into(&mut saml.entity_id)),
        NotAProvider::EntityId
    );
    assert_eq!(
        refused(&|saml| saml.certificates = vec![RSA.stored(); 9]),
        NotAProvider::TooManyCertificates
    );
    for bad in [
        "",
        "!",
        "QUJD",
        &BASE64.encode(&[RSA.certificate.clone(), vec![0]].concat()),
    ] {
        let refusal = refused(&|saml| saml.certificates.push(bad.to_owned()));
        assert!(
            matches!(refusal, NotAProvider::Certificate { place: 2, .. }),
            "{refusal:?}"
        );
    }
    let weak = Idp::rsa(1024);
    let refusal = refused(&|saml| saml.certificates = vec![weak.stored()]);
    assert_eq!(
        refusal.to_string(),
        "certificate 1 of the connection can not be used: its RSA key has 1024 bits: 2048 to 8192 are taken"
    );
}

#[test]
fn many_are_taken_and_refused_at_once() {
    let good = signed(&RSA, PLAIN, Signs::Both);
    let bad = swap(&good, "morty-c137", "rick-c137");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let around = Around::of(&RSA);
                    assert!(
                        around
                            .take_xml(&good)
                            .unwrap()
                            .subject
                            .ends_with(" morty-c137")
                    );
                    assert_eq!(around.take_xml(&bad).unwrap_err().name(), "signature");
                }
            });
        }
    });
}

/// Each bit of a good response turned over, one byte at a time.
#[test]
fn no_byte_can_be_changed_for_another_subject() {
    let around = Around::of(&RSA);
    let xml = signed(&RSA, PLAIN, Signs::Assertion);
    let good = around.take_xml(&xml).unwrap();
    let mut taken = 0;
    for at in 0..xml.len() {
        // A few bits of each byte in turn, so that each kind of change meets each kind of place.
        let mut bytes = xml.clone().into_bytes();
        bytes[at] ^= 1 << (at % 7);
        if let Ok(proof) = around.take(&BASE64.encode(&bytes)) {
            taken += 1;
            assert_eq!(proof, good, "byte {at}");
        }
    }
    // What no signature covers and nobody reads: the certificate that the response brings along, and its identifier.
    assert!(taken < xml.len() / 2, "{taken}");
    let xml = signed(&RSA, PLAIN, Signs::Response);
    let good = around.take_xml(&xml).unwrap();
    for at in (0..xml.len()).step_by(3) {
        let mut bytes = xml.clone().into_bytes();
        bytes[at] = bytes[at].wrapping_add(1);
        if let Ok(proof) = around.take(&BASE64.encode(&bytes)) {
            assert_eq!(proof, good, "byte {at}");
        }
    }
}
