//! Client certificates: the names that one has, and until when it counts. That its issuer is trusted was verified by TLS. Pure.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What is asked of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    names: Vec<String>,
    ends_at: DateTime<Utc>,
    id: [u8; 16],
}

impl Certificate {
    /// Reads one; nothing where it can't be read to its end.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (rest, read) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let names = match read.subject_alternative_name().ok()? {
            None => Vec::new(),
            Some(names) => names.value.general_names.iter().filter_map(name).collect(),
        };
        let digest: [u8; 32] = Sha256::digest(der).into();
        Some(Self {
            names,
            ends_at: DateTime::from_timestamp(read.validity().not_after.timestamp(), 0)?,
            id: *digest.first_chunk()?,
        })
    }

    /// Its subject alternative names that a service can be bound by: URIs as they are, and DNS names in small letters.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether its time is over: a connection may last longer than the certificate that it began with.
    #[must_use]
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        now > self.ends_at
    }

    /// What tells it from others: the beginning of its SHA-256.
    #[must_use]
    pub const fn id(&self) -> [u8; 16] {
        self.id
    }
}

/// A common name names nobody: since RFC 6125 only alternative names do.
fn name(one: &GeneralName<'_>) -> Option<String> {
    match one {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["Chat.Acme.Example".to_owned()]).unwrap();
        let uri = "spiffe://acme.example/Chat".try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        params
            .distinguished_name
            .push(DnType::CommonName, "other.example");
        params.not_after = rcgen::date_time_ymd(2027, 1, 31);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn its_alternative_names_count_and_its_common_name_does_not() {
        let read = Certificate::read(&certificate()).unwrap();
        assert_eq!(
            read.names(),
            ["chat.acme.example", "spiffe://acme.example/Chat"]
        );
        let end = "2027-01-31T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
        assert!(!read.is_over(end) && read.is_over(end + chrono::TimeDelta::seconds(1)));
    }

    #[test]
    fn what_is_cut_or_has_more_is_none() {
        let whole = certificate();
        assert!(Certificate::read(whole.split_last().unwrap().1).is_none());
        assert!(Certificate::read(&[whole.as_slice(), &[0]].concat()).is_none());
        assert!(Certificate::read(&[]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at in 0_usize..400, with: u8) {
            prop_assert!(Certificate::read(&bytes).is_none());
            let mut broken = certificate();
            if let Some(byte) = broken.get_mut(at) {
                *byte = with;
            }
            let _read = Certificate::read(&broken);
        }
    }
}
