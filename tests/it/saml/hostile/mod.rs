//! Hostile responses: a table, each made of a response that is taken, each refused by the check that it is for.

mod assertion;
mod cut;
mod party;
mod placed;
mod reference;
mod response;
mod saying;
mod signing;
mod text;
mod wrapping;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cedarkeep::authn::saml::LONGEST;
use data_encoding::BASE64;

use super::idp::{Around, PLAIN, RSA, Signs, signed, signed_shaped};

/// The longest that a refusal may take, on a machine that does other things beside.
const WITHIN: Duration = Duration::from_secs(3);

/// What is done to a good response, and when.
enum Craft {
    /// Before the provider signs it: the signature is good, and what is signed is not.
    Signed(fn(&str) -> String),
    /// To each empty signature, before it is filled in.
    Template(fn(&str) -> String),
    /// After it was signed: what an attacker can do.
    Sent(fn(&str) -> String),
    /// To its bytes.
    Bytes(fn(Vec<u8>) -> Vec<u8>),
    /// To the form field.
    Field(fn(&str) -> String),
    /// To what is around it.
    Around(fn(&mut Around)),
}

/// A hostile response: its name, the word of the refusal, what is signed, and what is done to it.
struct Case(&'static str, &'static str, Signs, Craft);

impl Case {
    /// What becomes of it, and how long that takes.
    fn outcome(&self) -> (Result<(), &'static str>, Duration) {
        let Self(_, _, signs, craft) = self;
        let mut around = Around::of(&RSA);
        let plain = || signed(&RSA, PLAIN, *signs);
        let encoded = |xml: String| BASE64.encode(xml.as_bytes());
        let field = match craft {
            Craft::Signed(change) => encoded(signed(&RSA, &change(PLAIN), *signs)),
            Craft::Template(change) => encoded(signed_shaped(&RSA, PLAIN, *signs, change)),
            Craft::Sent(change) => encoded(change(&plain())),
            Craft::Bytes(change) => BASE64.encode(&change(plain().into_bytes())),
            Craft::Field(change) => change(&encoded(plain())),
            Craft::Around(change) => {
                change(&mut around);
                encoded(plain())
            }
        };
        let begun = Instant::now();
        let outcome = around
            .take(&field)
            .map(drop)
            .map_err(|refusal| refusal.name());
        (outcome, begun.elapsed())
    }
}

const TABLES: &[&[Case]] = &[
    assertion::CASES,
    party::CASES,
    placed::CASES,
    reference::CASES,
    response::CASES,
    saying::CASES,
    signing::CASES,
    text::CASES,
    wrapping::CASES,
];

/// Each is refused by its check, and soon.
fn refused(cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let (outcome, took) = case.outcome();
        if outcome != Err(case.1) {
            wrong.push(format!("{}: {outcome:?} instead of `{}`", case.0, case.1));
        }
        if took > WITHIN {
            wrong.push(format!("{}: took {took:?}", case.0));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn what_is_for_somebody_else_is_refused() {
    refused(party::CASES);
}

#[test]
fn what_is_said_wrongly_is_refused() {
    refused(saying::CASES);
}

#[test]
fn a_response_built_wrongly_is_refused() {
    refused(response::CASES);
}

#[test]
fn an_assertion_built_wrongly_is_refused() {
    refused(assertion::CASES);
}

#[test]
fn what_is_signed_wrongly_is_refused() {
    refused(signing::CASES);
}

#[test]
fn a_signature_over_something_else_is_refused() {
    refused(reference::CASES);
}

#[test]
fn a_signature_out_of_place_is_refused() {
    refused(placed::CASES);
}

#[test]
fn what_is_written_wrongly_is_refused() {
    refused(text::CASES);
}

#[test]
fn what_wraps_something_signed_is_refused() {
    refused(wrapping::CASES);
}

#[test]
fn there_are_enough_cases_and_each_is_another() {
    let cases: Vec<&Case> = TABLES.iter().copied().flatten().collect();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.0).collect();
    assert_eq!(names.len(), cases.len(), "a name stands twice");
    assert!(cases.len() >= 380, "{}", cases.len());
}

/// The control: what every case is made of is taken, so that it is the change that is refused.
#[test]
fn what_they_are_made_of_is_taken() {
    for signs in [Signs::Response, Signs::Assertion, Signs::Both] {
        Around::of(&RSA)
            .take_xml(&signed(&RSA, PLAIN, signs))
            .unwrap();
        let used = TABLES
            .iter()
            .copied()
            .flatten()
            .filter(|case| case.2 == signs);
        assert!(used.count() > 5, "{signs:?}");
    }
    let unsigned = TABLES
        .iter()
        .copied()
        .flatten()
        .filter(|case| case.2 == Signs::Nothing);
    let words: Vec<_> = unsigned.map(|case| case.1).collect();
    assert!(words.iter().all(|word| *word == "unsigned"), "{words:?}");
}

/// The longest response that is read is refused or taken as soon as any other.
#[test]
fn the_longest_response_takes_no_longer() {
    let group = "<saml:AttributeValue>a-group-of-a-large-organization</saml:AttributeValue>";
    let many = PLAIN.replace(
        "<saml:AttributeValue>family<",
        &format!("{}<saml:AttributeValue>family<", group.repeat(5_150)),
    );
    let field = BASE64.encode(signed(&RSA, &many, Signs::Both).as_bytes());
    assert!(
        field.len() > LONGEST - 30_000 && field.len() <= LONGEST,
        "{}",
        field.len()
    );
    let begun = Instant::now();
    let proof = Around::of(&RSA).take(&field).unwrap();
    assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
    assert_eq!(proof.groups.len(), 3);
}
