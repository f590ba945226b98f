//! An identity provider that responses are taken from: made of a stored connection, or not at all.

use chrono::{DateTime, Utc};
use samael::crypto::CertificateDer;

use super::certificate::{Certificate, NotACertificate, der_of};
use crate::directory::connection::Saml;

/// The most certificates of a connection: each is tried on a response.
pub const MOST_CERTIFICATES: usize = 8;

/// A provider with an entity ID and certificates that were read. Without them nothing could be refused, so there is none.
#[derive(Debug, Clone)]
pub struct Provider<'a> {
    saml: &'a Saml,
    certificates: Vec<CertificateDer>,
}

/// Why a stored connection is nothing that responses are taken from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAProvider {
    /// It does not say whom it trusts.
    #[error("the connection has no entity ID: read the provider's metadata again")]
    EntityId,
    /// Nothing would verify a signature.
    #[error("the connection has no certificate: read the provider's metadata again")]
    NoCertificate,
    /// It has more than are tried.
    #[error(
        "the connection has more than {MOST_CERTIFICATES} certificates: remove those that are no longer used"
    )]
    TooManyCertificates,
    /// One of them is not good enough.
    #[error("certificate {place} of the connection can not be used: {why}")]
    Certificate {
        /// Its place, from 1 on.
        place: usize,
        /// What is wrong with it.
        #[source]
        why: NotACertificate,
    },
}

impl<'a> Provider<'a> {
    /// The provider of a connection.
    ///
    /// # Errors
    /// It has no entity ID, no certificate, too many, or one that signatures are not verified with.
    pub fn new(saml: &'a Saml) -> Result<Self, NotAProvider> {
        if saml.entity_id.trim().is_empty() {
            return Err(NotAProvider::EntityId);
        }
        if saml.certificates.is_empty() {
            return Err(NotAProvider::NoCertificate);
        }
        if saml.certificates.len() > MOST_CERTIFICATES {
            return Err(NotAProvider::TooManyCertificates);
        }
        let read = |stored: &String| {
            let der = der_of(stored)?;
            // Days left are of no interest here.
            Certificate::read(&der, DateTime::<Utc>::UNIX_EPOCH)?;
            Ok(CertificateDer::from(der))
        };
        let certificates = saml
            .certificates
            .iter()
            .zip(1..)
            .map(|(stored, place)| {
                read(stored).map_err(|why| NotAProvider::Certificate { place, why })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { saml, certificates })
    }

    /// What the connection's Admins have set.
    #[must_use]
    pub const fn saml(&self) -> &'a Saml {
        self.saml
    }

    pub(super) fn certificates(&self) -> &[CertificateDer] {
        &self.certificates
    }
}
