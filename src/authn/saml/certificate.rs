//! Certificates that an identity provider signs with: which are good enough, and what an Admin is told of each.

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The fewest bits of an RSA key.
const LEAST_RSA: usize = 2048;
/// The most: a larger one makes each sign-in slow and nothing safer.
const MOST_RSA: usize = 8192;

/// The curves of elliptic keys, by their object identifiers.
const CURVES: &[(&str, &str)] = &[
    ("1.2.840.10045.3.1.7", "P-256"),
    ("1.3.132.0.34", "P-384"),
    ("1.3.132.0.35", "P-521"),
];

/// What an Admin is told of a certificate. Its dates warn and decide nothing: what is trusted is the key, which the
/// organization has named, and many providers sign with a certificate of their own long after it ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it says it is.
    pub subject: String,
    /// Its key: `RSA 2048`, `EC P-256`.
    pub key: String,
    /// From when it is valid.
    pub not_before: DateTime<Utc>,
    /// Until when it is valid.
    pub not_after: DateTime<Utc>,
    /// SHA-256 of the whole certificate, in lower-case hexadecimal digits.
    pub sha256: String,
    /// Whole days until it runs out; negative where it has.
    pub days_left: i64,
}

/// Why something is no certificate that signatures are verified with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotACertificate {
    /// It is not base 64.
    #[error("it is not base 64")]
    Base64,
    /// It is not an X.509 certificate, or something follows it.
    #[error("it is not one X.509 certificate in DER")]
    Unreadable,
    /// Its key is an RSA key that is too short, too long, or not one at all.
    #[error("its RSA key has {bits} bits: {LEAST_RSA} to {MOST_RSA} are taken")]
    Rsa {
        /// Its length.
        bits: usize,
    },
    /// Its key is of another kind.
    #[error("its key is neither RSA nor EC on P-256, P-384 or P-521")]
    Key,
}

/// The facts of a connection's certificates (each in base 64), in their order, for warnings before one runs out.
///
/// # Errors
/// One is none that signatures are verified with; with its place, from 1 on.
pub fn of_connection(
    certificates: &[String],
    now: DateTime<Utc>,
) -> Result<Vec<Certificate>, (usize, NotACertificate)> {
    certificates
        .iter()
        .zip(1..)
        .map(|(stored, place)| {
            let der = der_of(stored).map_err(|why| (place, why))?;
            Certificate::read(&der, now).map_err(|why| (place, why))
        })
        .collect()
}

/// The bytes of a certificate in base 64, with white space wherever somebody broke its lines.
pub(super) fn der_of(written: &str) -> Result<Vec<u8>, NotACertificate> {
    let plain: String = written
        .chars()
        .filter(|one| !one.is_ascii_whitespace())
        .collect();
    data_encoding::BASE64
        .decode(plain.as_bytes())
        .map_err(|_| NotACertificate::Base64)
}

impl Certificate {
    /// Reads a certificate and holds its key to what is taken.
    ///
    /// # Errors
    /// See [`NotACertificate`].
    pub fn read(der: &[u8], now: DateTime<Utc>) -> Result<Self, NotACertificate> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| NotACertificate::Unreadable)?;
        if !rest.is_empty() {
            return Err(NotACertificate::Unreadable);
        }
        let time =
            |seconds| DateTime::from_timestamp(seconds, 0).ok_or(NotACertificate::Unreadable);
        let not_before = time(certificate.validity().not_before.timestamp())?;
        let not_after = time(certificate.validity().not_after.timestamp())?;
        Ok(Self {
            subject: certificate.subject().to_string(),
            key: key(certificate.public_key())?,
            not_before,
            not_after,
            sha256: HEXLOWER.encode(&Sha256::digest(der)),
            days_left: not_after
                .signed_duration_since(now)
                .num_seconds()
                .div_euclid(24 * 60 * 60),
        })
    }
}

/// The name of a key that is taken.
fn key(info: &SubjectPublicKeyInfo<'_>) -> Result<String, NotACertificate> {
    match info.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let bits = rsa.key_size();
            // With an exponent of 1 anything is its own signature.
            let exponent = rsa.try_exponent().unwrap_or(0);
            if !(LEAST_RSA..=MOST_RSA).contains(&bits) || exponent < 3 {
                return Err(NotACertificate::Rsa { bits });
            }
            Ok(format!("RSA {bits}"))
        }
        Ok(PublicKey::EC(_)) => {
            let parameters = info.algorithm.parameters.as_ref();
            let curve = parameters
                .and_then(|named| named.as_oid().ok())
                .map(|oid| oid.to_id_string());
            let known = CURVES
                .iter()
                .find(|(oid, _)| Some(*oid) == curve.as_deref());
            known
                .map(|(_, name)| format!("EC {name}"))
                .ok_or(NotACertificate::Key)
        }
        _ => Err(NotACertificate::Key),
    }
}
