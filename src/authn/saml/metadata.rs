//! An identity provider's metadata read into a connection, with a preview of what was read.

use chrono::{DateTime, Utc};
use roxmltree::{Document, Node, ParsingOptions};
use url::Url;

use super::certificate::{Certificate, NotACertificate, der_of};
use super::element::{METADATA, PROTOCOL, SIGNATURE, all, is, shown};
use super::provider::MOST_CERTIFICATES;
use super::text::{Limits, measure};
use crate::directory::connection::{Binding, Saml};

/// The most bytes of metadata.
pub const LONGEST_METADATA: usize = 1024 * 1024;

/// The most nodes of metadata: elements, and what is between them.
const MOST_NODES: u32 = 20_000;

/// How much of metadata is read.
const LIMITS: Limits = Limits {
    elements: 10_000,
    levels: 32,
    attributes: 64,
    value: 4096,
};

/// The most bytes of an entity ID (metadata, 2.2.1).
const LONGEST_ENTITY_ID: usize = 1024;

const REDIRECT: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";
const POST: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";

/// What metadata came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// What a connection stores; sign-in that begins at the provider is off, and no attribute is named.
    pub saml: Saml,
    /// What an Admin is shown of the certificates, in the same order.
    pub certificates: Vec<Certificate>,
    /// Whether the provider says that it wants signed requests, which we do not send: it must be switched off there.
    pub wants_signed_requests: bool,
    /// Whether it says that it has only formats of NameID that change at each sign-in, which are refused.
    pub only_transient: bool,
}

/// What is wrong with metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataRefusal {
    /// It is too long.
    #[error(
        "the metadata is longer than {LONGEST_METADATA} bytes: give that of one provider alone"
    )]
    TooLarge,
    /// It has more in it than is read.
    #[error("the metadata has more elements than are read: give that of one provider alone")]
    TooComplex,
    /// It is not UTF-8.
    #[error("the metadata is not UTF-8")]
    Encoding,
    /// It is not well-formed, or has a document type.
    #[error("the metadata is not well-formed XML without a document type")]
    Xml,
    /// It is of several entities.
    #[error(
        "the metadata is a list of entities (`EntitiesDescriptor`): give the one `EntityDescriptor` of your provider"
    )]
    SeveralEntities,
    /// It is something else.
    #[error(
        "the document is not SAML 2.0 metadata: its root is `{root}` and not `EntityDescriptor`"
    )]
    NotMetadata {
        /// What its root is.
        root: String,
    },
    /// It is of nobody.
    #[error("`entityID` is missing, empty, too long or has white space in it")]
    EntityId,
    /// It has run out.
    #[error("the metadata was valid until {until}: fetch it again")]
    Expired {
        /// Until when.
        until: String,
    },
    /// It is not of an identity provider, or of several.
    #[error("the metadata has {count} `IDPSSODescriptor`: exactly one is taken")]
    Descriptors {
        /// How many.
        count: usize,
    },
    /// It is of an older protocol.
    #[error("the provider does not speak SAML 2.0: `protocolSupportEnumeration` does not name it")]
    Protocol,
    /// There is nowhere to go.
    #[error("no `SingleSignOnService` has the binding HTTP-Redirect or HTTP-POST")]
    NoSignOn,
    /// It is not safe to go there.
    #[error("the sign-in URL `{url}` is not an HTTPS URL without a user name or a fragment")]
    SignOnUrl {
        /// What it is.
        url: String,
    },
    /// Nothing would verify a signature.
    #[error("no `KeyDescriptor` for signing has an `X509Certificate`")]
    NoCertificate,
    /// It has more than are tried.
    #[error("the metadata has more than {MOST_CERTIFICATES} signing certificates")]
    TooManyCertificates,
    /// A certificate is not good enough.
    #[error("signing certificate {place} can not be used: {why}")]
    Certificate {
        /// Its place among them, from 1 on.
        place: usize,
        /// What is wrong with it.
        #[source]
        why: NotACertificate,
    },
}

impl MetadataRefusal {
    /// The word for what is wrong: stable, for logs and whoever sets up a connection.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::TooComplex => "too_complex",
            Self::Encoding => "encoding",
            Self::Xml => "xml",
            Self::SeveralEntities => "several_entities",
            Self::NotMetadata { .. } => "not_metadata",
            Self::EntityId => "entity_id",
            Self::Expired { .. } => "expired",
            Self::Descriptors { .. } => "descriptors",
            Self::Protocol => "protocol",
            Self::NoSignOn => "no_sign_on",
            Self::SignOnUrl { .. } => "sign_on_url",
            Self::NoCertificate => "no_certificate",
            Self::TooManyCertificates => "too_many_certificates",
            Self::Certificate { .. } => "certificate",
        }
    }
}

/// Reads a provider's metadata. Its own signature is not looked at: whoever gives the file, or the HTTPS URL that it comes
/// from, is who is trusted.
///
/// # Errors
/// See [`MetadataRefusal`].
pub fn read(metadata: &[u8], now: DateTime<Utc>) -> Result<Intake, MetadataRefusal> {
    if metadata.len() > LONGEST_METADATA {
        return Err(MetadataRefusal::TooLarge);
    }
    let text = std::str::from_utf8(metadata).map_err(|_| MetadataRefusal::Encoding)?;
    // Unlike a response, metadata is written into files by editors that put a mark there.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    measure(text, &LIMITS).map_err(|_| MetadataRefusal::TooComplex)?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MOST_NODES,
        entity_resolver: None,
    };
    let document = Document::parse_with_options(text, options).map_err(|why| match why {
        roxmltree::Error::NodesLimitReached => MetadataRefusal::TooComplex,
        _ => MetadataRefusal::Xml,
    })?;
    entity(document.root_element(), now)
}

fn entity(root: Node<'_, '_>, now: DateTime<Utc>) -> Result<Intake, MetadataRefusal> {
    if is(root, METADATA, "EntitiesDescriptor") {
        return Err(MetadataRefusal::SeveralEntities);
    }
    if !is(root, METADATA, "EntityDescriptor") {
        return Err(MetadataRefusal::NotMetadata {
            root: shown(root.tag_name().name()),
        });
    }
    let entity_id = root.attribute("entityID").unwrap_or_default();
    let plain = |one: char| !one.is_whitespace() && !one.is_control();
    if entity_id.is_empty() || entity_id.len() > LONGEST_ENTITY_ID || !entity_id.chars().all(plain)
    {
        return Err(MetadataRefusal::EntityId);
    }
    in_time(root, now)?;
    let descriptors: Vec<_> = all(root, METADATA, "IDPSSODescriptor").collect();
    let [descriptor] = descriptors.as_slice() else {
        return Err(MetadataRefusal::Descriptors {
            count: descriptors.len(),
        });
    };
    in_time(*descriptor, now)?;
    let spoken = descriptor
        .attribute("protocolSupportEnumeration")
        .unwrap_or_default();
    if !spoken
        .split_ascii_whitespace()
        .any(|protocol| protocol == PROTOCOL)
    {
        return Err(MetadataRefusal::Protocol);
    }
    let (sso_url, binding) = sign_on(*descriptor)?;
    let (certificates, facts) = certificates(*descriptor, now)?;
    let formats: Vec<_> = all(*descriptor, METADATA, "NameIDFormat")
        .map(|format| format.text().unwrap_or_default().trim().to_owned())
        .collect();
    Ok(Intake {
        saml: Saml {
            entity_id: entity_id.to_owned(),
            sso_url,
            binding,
            certificates,
            idp_initiated: false,
            email_attribute: None,
            name_attribute: None,
            groups_attribute: None,
        },
        certificates: facts,
        wants_signed_requests: matches!(
            descriptor.attribute("WantAuthnRequestsSigned"),
            Some("true" | "1")
        ),
        only_transient: !formats.is_empty()
            && formats.iter().all(|format| format.ends_with(":transient")),
    })
}

fn in_time(node: Node<'_, '_>, now: DateTime<Utc>) -> Result<(), MetadataRefusal> {
    let Some(until) = node.attribute("validUntil") else {
        return Ok(());
    };
    match DateTime::parse_from_rfc3339(until) {
        Ok(end) if end > now => Ok(()),
        _ => Err(MetadataRefusal::Expired {
            until: shown(until),
        }),
    }
}

/// Where requests go. A redirect is taken before a form: it needs no page.
fn sign_on(descriptor: Node<'_, '_>) -> Result<(String, Binding), MetadataRefusal> {
    let with = |wanted: &str| {
        all(descriptor, METADATA, "SingleSignOnService")
            .find(|service| service.attribute("Binding") == Some(wanted))
            .map(|service| service.attribute("Location").unwrap_or_default())
    };
    let redirect = with(REDIRECT).map(|location| (location, Binding::Redirect));
    let (location, binding) = redirect
        .or_else(|| with(POST).map(|location| (location, Binding::Post)))
        .ok_or(MetadataRefusal::NoSignOn)?;
    let safe = |url: &Url| {
        url.scheme() == "https"
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && location.chars().all(|one| one.is_ascii_graphic())
    };
    match Url::parse(location) {
        // As it is written: the provider compares `Destination` with it.
        Ok(url) if safe(&url) => Ok((location.to_owned(), binding)),
        _ => Err(MetadataRefusal::SignOnUrl {
            url: shown(location),
        }),
    }
}

/// The certificates for signing, each once: those said to be for it, or for nothing in particular.
fn certificates(
    descriptor: Node<'_, '_>,
    now: DateTime<Utc>,
) -> Result<(Vec<String>, Vec<Certificate>), MetadataRefusal> {
    let (mut stored, mut facts) = (Vec::new(), Vec::<Certificate>::new());
    let written = all(descriptor, METADATA, "KeyDescriptor")
        .filter(|key| matches!(key.attribute("use"), None | Some("signing")))
        .flat_map(|key| {
            key.descendants()
                .filter(|node| is(*node, SIGNATURE, "X509Certificate"))
        })
        .zip(1..);
    for (node, place) in written {
        let text: String = node.children().filter_map(|child| child.text()).collect();
        let refused = |why| MetadataRefusal::Certificate { place, why };
        let der = der_of(&text).map_err(refused)?;
        let certificate = Certificate::read(&der, now).map_err(refused)?;
        if facts.iter().any(|known| known.sha256 == certificate.sha256) {
            continue;
        }
        if facts.len() == MOST_CERTIFICATES {
            return Err(MetadataRefusal::TooManyCertificates);
        }
        stored.push(data_encoding::BASE64.encode(&der));
        facts.push(certificate);
    }
    if facts.is_empty() {
        return Err(MetadataRefusal::NoCertificate);
    }
    Ok((stored, facts))
}
