//! A response taken, or refused with the check that failed: gate, signature, then what the signed assertion says.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use roxmltree::Node;

use super::element::{ASSERTION, all, child, only, text};
use super::provider::Provider;
use super::refusal::SamlRefusal;
use super::said::{self, Said};
use super::{ServiceProvider, engine, gate, text as written};
use crate::authn::proof::Proof;

/// How far the provider's clock may be from ours.
pub const SKEW: TimeDelta = TimeDelta::seconds(60);

const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const UNSPECIFIED: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified";
const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";

/// The most bytes of a NameID.
const LONGEST_NAME_ID: usize = 512;

/// Which request a response must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// The one that this browser was sent with, by its identifier as [`super::request::RequestId`] writes it.
    Pending(&'a str),
    /// None: sign-in began at the provider. Taken only where the connection says so.
    Unasked,
}

/// What must hold of a response that comes now.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Who we are to the provider.
    pub us: &'a ServiceProvider,
    /// Which request it must answer.
    pub request: Request<'a>,
    /// The domains that the connection's organization has shown to be its own, in lower case.
    pub domains: &'a [String],
    /// The time.
    pub now: DateTime<Utc>,
}

/// Takes a form field `SAMLResponse`, or refuses it.
///
/// Everything in the [`Proof`] comes out of the bytes that a signature of the provider's covers. `subject` is the NameID's format,
/// one space, and the NameID: a format has no space, so the first one parts them. `once` is the assertion's identifier, until
/// the moment from which on the assertion would be refused anyway, the skew included: the caller refuses it a second time for
/// the same connection, in the transaction that makes the session.
///
/// `email_verified`: SAML has no word for it. A provider that an organization's Admins have set up speaks for the addresses
/// of that organization, so it is true where the address's domain is one of [`Expected::domains`], and false for all others.
///
/// It computes for as long as some milliseconds and never waits: call it where blocking is allowed (`spawn_blocking`), and
/// bound how many run at once.
///
/// # Errors
/// The first check that failed.
pub fn accept(
    field: &str,
    provider: &Provider<'_>,
    expected: &Expected<'_>,
) -> Result<Proof, SamlRefusal> {
    let response = written::of_field(field)?;
    let document = written::parse(&response)?;
    let signed = gate::response(&document)?;
    let whole = document.root_element();
    // What is not signed may not let anybody in; it may keep them out, and say sooner what is wrong.
    envelope(whole, signed.response.is_some(), provider, expected)?;

    let reduced = engine::covered(&response, provider.certificates())?;
    let document = written::parse(&reduced)?;
    let (covered, assertion) = gate::covered(&document, &signed)?;
    if let Some(response) = covered {
        envelope(response, true, provider, expected)?;
    }
    read(assertion, provider, expected)
}

/// The checks of the response around the assertion.
fn envelope(
    response: Node<'_, '_>,
    signed: bool,
    provider: &Provider<'_>,
    expected: &Expected<'_>,
) -> Result<(), SamlRefusal> {
    match response.attribute("Destination") {
        Some(destination) if destination == expected.us.acs_url => {}
        None if !signed => {}
        _ => return Err(SamlRefusal::Destination),
    }
    match child(response, ASSERTION, "Issuer") {
        Some(named) if text(named, "Issuer")? == provider.saml().entity_id => {}
        None if !signed => {}
        _ => return Err(SamlRefusal::Issuer),
    }
    answers(response.attribute("InResponseTo"), provider, expected)?;
    issued(response, expected.now)
}

/// Whether what a response or an assertion answers is what was asked.
fn answers(
    in_response_to: Option<&str>,
    provider: &Provider<'_>,
    expected: &Expected<'_>,
) -> Result<(), SamlRefusal> {
    match (expected.request, in_response_to) {
        (Request::Pending(asked), Some(answered)) if asked == answered => Ok(()),
        (Request::Unasked, None) if provider.saml().idp_initiated => Ok(()),
        (Request::Unasked, None) => Err(SamlRefusal::Unasked),
        _ => Err(SamlRefusal::InResponseTo),
    }
}

fn issued(node: Node<'_, '_>, now: DateTime<Utc>) -> Result<(), SamlRefusal> {
    let what = "IssueInstant";
    let instant = required(node, what, "Response")?;
    if instant > now + SKEW {
        return Err(SamlRefusal::FromTheFuture { what });
    }
    Ok(())
}

/// The checks of the assertion, and what it proves.
fn read(
    assertion: Node<'_, '_>,
    provider: &Provider<'_>,
    expected: &Expected<'_>,
) -> Result<Proof, SamlRefusal> {
    let now = expected.now;
    let issuer = only(assertion, ASSERTION, "Issuer", "Assertion")?;
    if text(issuer, "Issuer")? != provider.saml().entity_id {
        return Err(SamlRefusal::Issuer);
    }
    issued(assertion, now)?;
    let subject = only(assertion, ASSERTION, "Subject", "Assertion")?;
    let confirmed_until = confirmed(subject, provider, expected)?;
    let conditions = only(assertion, ASSERTION, "Conditions", "Assertion")?;
    let until = window(conditions, now)?.map_or(confirmed_until, |end| end.min(confirmed_until));
    audience(conditions, expected)?;
    let statement = only(assertion, ASSERTION, "AuthnStatement", "Assertion")?;
    let what = "AuthnInstant";
    if required(statement, what, "AuthnStatement")? > now + SKEW {
        return Err(SamlRefusal::FromTheFuture { what });
    }
    let ends_at = time(statement, "SessionNotOnOrAfter")?;
    if ends_at.is_some_and(|end| end <= now) {
        return Err(SamlRefusal::SessionOver);
    }
    let (format, name_id) = name_id(subject, provider, expected)?;
    let session = statement.attribute("SessionIndex");
    let mut claims = vec![
        ("NameID".to_owned(), name_id.clone()),
        ("NameID format".to_owned(), format.clone()),
        ("Issuer".to_owned(), provider.saml().entity_id.clone()),
    ];
    claims.extend(session.map(|index| ("SessionIndex".to_owned(), index.to_owned())));
    let Said {
        email,
        name,
        groups,
        attributes,
    } = said::by(assertion, provider.saml(), &format, &name_id)?;
    claims.extend(attributes);
    let id = assertion.attribute("ID").ok_or(SamlRefusal::Ids)?;
    Ok(Proof {
        subject: format!("{format} {name_id}"),
        email_verified: email
            .as_deref()
            .is_some_and(|email| said::is_of(email, expected.domains)),
        email,
        name,
        groups,
        provider_session: session.map(str::to_owned),
        ends_at,
        once: Some((id.to_owned(), until + SKEW)),
        claims,
    })
}

/// Whether whoever brings the assertion may, here and now; and until when.
fn confirmed(
    subject: Node<'_, '_>,
    provider: &Provider<'_>,
    expected: &Expected<'_>,
) -> Result<DateTime<Utc>, SamlRefusal> {
    let inside = "SubjectConfirmationData";
    let confirmation = only(subject, ASSERTION, "SubjectConfirmation", "Subject")?;
    if confirmation.attribute("Method") != Some(BEARER) {
        return Err(SamlRefusal::Confirmation);
    }
    let data = only(confirmation, ASSERTION, inside, "SubjectConfirmation")?;
    if data.attribute("Recipient") != Some(expected.us.acs_url.as_str()) {
        return Err(SamlRefusal::Recipient);
    }
    answers(data.attribute("InResponseTo"), provider, expected)?;
    window(data, expected.now)?.ok_or(SamlRefusal::Missing {
        what: "NotOnOrAfter",
        inside,
    })
}

/// Holds now to an element's `NotBefore` and `NotOnOrAfter`, and gives the latter.
fn window(node: Node<'_, '_>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, SamlRefusal> {
    let (what, end) = ("NotBefore", "NotOnOrAfter");
    if time(node, what)?.is_some_and(|begin| now + SKEW < begin) {
        return Err(SamlRefusal::NotYetValid { what });
    }
    let until = time(node, end)?;
    if until.is_some_and(|until| now - SKEW >= until) {
        return Err(SamlRefusal::Expired { what: end });
    }
    Ok(until)
}

fn audience(conditions: Node<'_, '_>, expected: &Expected<'_>) -> Result<(), SamlRefusal> {
    let restriction = only(conditions, ASSERTION, "AudienceRestriction", "Conditions")?;
    for audience in all(restriction, ASSERTION, "Audience") {
        if text(audience, "Audience")? == expected.us.entity_id {
            return Ok(());
        }
    }
    Err(SamlRefusal::Audience)
}

/// The format of the NameID, and the NameID.
fn name_id(
    subject: Node<'_, '_>,
    provider: &Provider<'_>,
    expected: &Expected<'_>,
) -> Result<(String, String), SamlRefusal> {
    let refused = |why| Err(SamlRefusal::NameId { why });
    let node = only(subject, ASSERTION, "NameID", "Subject")?;
    let format = node.attribute("Format").unwrap_or(UNSPECIFIED);
    if format == TRANSIENT {
        return refused(
            "a transient one is another at each sign-in: let the provider send a persistent one or an address",
        );
    }
    if format.is_empty() || !format.chars().all(|one| one.is_ascii_graphic()) {
        return refused("its format is not a URI");
    }
    // Of another party's namespace the same text would be somebody else.
    let foreign = |name, ours: &str| node.attribute(name).is_some_and(|named| named != ours);
    if foreign("NameQualifier", &provider.saml().entity_id)
        || foreign("SPNameQualifier", &expected.us.entity_id)
    {
        return refused("it is qualified by somebody else than the provider and us");
    }
    let name_id = text(node, "NameID")?;
    if name_id.is_empty() || name_id.len() > LONGEST_NAME_ID {
        return refused("it is empty or too long");
    }
    if name_id.trim() != name_id || name_id.chars().any(char::is_control) {
        return refused("it has white space around it or control characters in it");
    }
    Ok((format.to_owned(), name_id))
}

fn required(
    node: Node<'_, '_>,
    what: &'static str,
    inside: &'static str,
) -> Result<DateTime<Utc>, SamlRefusal> {
    time(node, what)?.ok_or(SamlRefusal::Missing { what, inside })
}

/// A time as SAML writes it (core, 1.3.3): UTC, with a `Z`, with or without a fraction of a second.
fn time(node: Node<'_, '_>, what: &'static str) -> Result<Option<DateTime<Utc>>, SamlRefusal> {
    let Some(written) = node.attribute(what) else {
        return Ok(None);
    };
    let read = written
        .strip_suffix('Z')
        .filter(|plain| plain.len() >= "2026-01-31T12:00:00".len())
        .filter(|plain| {
            plain
                .chars()
                .all(|one| one.is_ascii_digit() || "-:.T".contains(one))
        })
        .and_then(|plain| NaiveDateTime::parse_from_str(plain, "%Y-%m-%dT%H:%M:%S%.f").ok())
        // Far enough from the ends of what a time can be, so that the skew can be added and taken away.
        .filter(|plain| plain.and_utc().timestamp() > 0 && written.len() <= 40)
        .map(|plain| plain.and_utc());
    read.map(Some).ok_or(SamlRefusal::Time { what })
}
