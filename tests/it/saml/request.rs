//! What a provider gets from us: our metadata and requests, whatever stands in the names.

use std::collections::BTreeMap;

use cedarkeep::authn::saml::ServiceProvider;
use cedarkeep::authn::saml::request::{RelayState, RequestId, Sent, authentication, metadata};
use cedarkeep::directory::connection::{Binding, Saml};
use data_encoding::BASE64;
use miniz_oxide::inflate::decompress_to_vec;
use roxmltree::Document;
use url::Url;

use super::idp::{ACS, Around, RSA, US, now};

const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";

/// A name that would end an attribute, an element and a query.
const NASTY: &str = "https://cedarkeep.example/\"'><x y=\"&amp;&#x3c;\"/>?a=b&c=d]]>";

fn sent(saml: &Saml, us: &ServiceProvider) -> Sent {
    let id = RequestId::new([0xab; 16]);
    let key = RelayState::new("a-Z_0").unwrap();
    authentication(saml, us, &id, &key, now()).unwrap()
}

/// The request inside what a browser is sent with.
fn request(sent: &Sent) -> String {
    let bytes = match sent {
        Sent::Redirect { url } => {
            let url = Url::parse(url).unwrap();
            let query: BTreeMap<_, _> = url.query_pairs().collect();
            assert_eq!(query["RelayState"], "a-Z_0");
            decompress_to_vec(&BASE64.decode(query["SAMLRequest"].as_bytes()).unwrap()).unwrap()
        }
        Sent::Post { fields, .. } => {
            assert_eq!(fields[1], ("RelayState", "a-Z_0".to_owned()));
            assert_eq!(fields[0].0, "SAMLRequest");
            BASE64.decode(fields[0].1.as_bytes()).unwrap()
        }
    };
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_request_says_who_asks_and_where_the_answer_goes() {
    let around = Around::of(&RSA);
    for binding in [Binding::Redirect, Binding::Post] {
        let saml = Saml {
            binding,
            ..around.saml.clone()
        };
        let xml = request(&sent(&saml, &around.us));
        let document = Document::parse(&xml).unwrap();
        let root = document.root_element();
        assert!(root.has_tag_name((PROTOCOL, "AuthnRequest")));
        for (name, value) in [
            ("ID", "_abababababababababababababababab"),
            ("Version", "2.0"),
            ("IssueInstant", "2026-03-01T12:00:00Z"),
            ("Destination", "https://idp.citadel.example/sso"),
            (
                "ProtocolBinding",
                "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST",
            ),
            ("AssertionConsumerServiceURL", ACS),
        ] {
            assert_eq!(root.attribute(name), Some(value), "{name}");
        }
        let issuer = root.first_element_child().unwrap();
        assert!(issuer.has_tag_name((ASSERTION, "Issuer")));
        assert_eq!(issuer.text(), Some(US));
    }
}

#[test]
fn a_redirect_keeps_what_the_url_already_asks_for() {
    let mut around = Around::of(&RSA);
    "https://idp.citadel.example/sso?tenant=c%26137".clone_into(&mut around.saml.sso_url);
    let Sent::Redirect { url } = sent(&around.saml, &around.us) else {
        panic!("no redirect");
    };
    assert!(
        url.starts_with("https://idp.citadel.example/sso?tenant=c%26137&SAMLRequest="),
        "{url}"
    );
    assert!(!url.contains('+') && !url.contains(' '), "{url}");
}

#[test]
fn a_form_goes_to_the_providers_url() {
    let mut around = Around::of(&RSA);
    around.saml.binding = Binding::Post;
    let Sent::Post { action, .. } = sent(&around.saml, &around.us) else {
        panic!("no form");
    };
    assert_eq!(action, "https://idp.citadel.example/sso");
}

#[test]
fn nothing_in_a_name_becomes_markup() {
    let around = Around::of(&RSA);
    let us = ServiceProvider {
        entity_id: NASTY.to_owned(),
        acs_url: NASTY.to_owned(),
    };
    let saml = Saml {
        sso_url: NASTY.to_owned(),
        ..around.saml
    };
    let xml = request(&sent(&saml, &us));
    let document = Document::parse(&xml).unwrap();
    let root = document.root_element();
    assert_eq!(root.attribute("Destination"), Some(NASTY));
    assert_eq!(root.attribute("AssertionConsumerServiceURL"), Some(NASTY));
    assert_eq!(root.first_element_child().unwrap().text(), Some(NASTY));
    assert_eq!(
        root.descendants().filter(|node| node.is_element()).count(),
        3
    );
    let xml = metadata(&us).unwrap();
    let document = Document::parse(&xml).unwrap();
    assert_eq!(document.root_element().attribute("entityID"), Some(NASTY));
}

#[test]
fn our_metadata_says_where_responses_come_and_that_assertions_are_signed() {
    let us = Around::of(&RSA).us;
    insta::assert_snapshot!(metadata(&us).unwrap(), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://cedarkeep.example/saml/c137/metadata">
      <md:SPSSODescriptor AuthnRequestsSigned="false" WantAssertionsSigned="true" protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
        <md:NameIDFormat>urn:oasis:names:tc:SAML:2.0:nameid-format:persistent</md:NameIDFormat>
        <md:NameIDFormat>urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress</md:NameIDFormat>
        <md:AssertionConsumerService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://cedarkeep.example/saml/c137/acs" index="0" isDefault="true"/>
      </md:SPSSODescriptor>
    </md:EntityDescriptor>
    "#);
}

#[test]
fn a_relay_state_is_an_opaque_key() {
    for wrong in [
        "",
        "https://evil.example",
        "/home",
        "a b",
        "a.b",
        "ä",
        &"a".repeat(81),
    ] {
        assert_eq!(RelayState::new(wrong), None, "{wrong}");
    }
    assert_eq!(RelayState::new(&"a".repeat(80)).unwrap().as_str().len(), 80);
}

#[test]
fn identifiers_of_requests_are_128_bits() {
    let id = RequestId::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
    assert_eq!(id.as_str(), "_000102030405060708090a0b0c0d0eff");
}
