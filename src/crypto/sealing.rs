//! A stored value: sealed under a versioned key and bound to the one place where it may be opened.
//!
//! `0x02 || key version (u32, big-endian) || Cobblestone-256 message`, the message's context being the SHA-256 of
//! [`Binding::context`]: short values are most of what is sealed, and deriving their keys costs half as much with a short context.
//! Format 1, whose context is those bytes themselves, is only read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::cobblestone::{self, HEADER, Opener, Salt, Sealer};
use super::secret::Secret32;
use super::{CryptoError, put_field};

/// The first byte of a stored value.
pub const FORMAT: u8 = 2;
/// The first byte of one that an earlier version has written.
pub const FORMAT_1: u8 = 1;
/// The first byte of a tenant key that is wrapped in a PKCS#11 token; nothing else is ever of this format.
pub const FORMAT_TOKEN: u8 = 0x11;
/// The first byte of a tenant key that is wrapped by AWS KMS.
pub const FORMAT_AWS_KMS: u8 = 0x12;
/// Bytes before the Cobblestone message.
pub const PREFIX: usize = 5;
/// Bytes that a stored value of less than 16 KiB has more than its text.
pub const OVERHEAD: usize = PREFIX + HEADER + cobblestone::TAG;

/// Product and format, the first field of every context.
const LABEL: &[u8] = b"cedarkeep/sealed/1";

/// What a key is for. A key serves one purpose and is bound to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// A root key: wraps tenant keys.
    TenantWrap,
    /// A tenant key: wraps data keys.
    DataWrap,
    /// Seals rows.
    Records,
    /// Seals the log's segments of one epoch.
    Epoch,
    /// Seals one version of content.
    Content,
    /// Wraps the keys of content that belongs to no person.
    ContentWrap,
    /// Wraps subject keys.
    SubjectWrap,
    /// A subject key: seals what is said of one person, and wraps their content keys.
    Subject,
    /// Seals the lines of the ledger of erasures, which lie in files as well: it is never another.
    Ledger,
    /// The seed of the log's Ed25519 key.
    LogSigning,
    /// Finds equal values of a field without opening them.
    BlindIndex(IndexedField),
}

/// A field with a blind index. A field of few values must never become one: counting would reveal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IndexedField {
    /// An e-mail address.
    Email,
    /// SCIM `userName`.
    UserName,
    /// SCIM `externalId`.
    ExternalId,
    /// An identity provider's name for somebody: issuer and subject.
    LoginSubject,
    /// An organization's short name, under the deployment's key.
    Slug,
    /// A request's Idempotency-Key.
    IdempotencyKey,
}

impl Purpose {
    /// Each of them.
    pub const ALL: [Self; 16] = [
        Self::TenantWrap,
        Self::DataWrap,
        Self::Records,
        Self::Epoch,
        Self::Content,
        Self::ContentWrap,
        Self::SubjectWrap,
        Self::Subject,
        Self::Ledger,
        Self::LogSigning,
        Self::BlindIndex(IndexedField::Email),
        Self::BlindIndex(IndexedField::UserName),
        Self::BlindIndex(IndexedField::ExternalId),
        Self::BlindIndex(IndexedField::LoginSubject),
        Self::BlindIndex(IndexedField::Slug),
        Self::BlindIndex(IndexedField::IdempotencyKey),
    ];

    /// Its name in stored rows and contexts: part of the format.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TenantWrap => "tenant-wrap",
            Self::DataWrap => "data-wrap",
            Self::Records => "records",
            Self::Epoch => "epoch",
            Self::Content => "content",
            Self::ContentWrap => "content-wrap",
            Self::SubjectWrap => "subject-wrap",
            Self::Subject => "subject",
            Self::Ledger => "ledger",
            Self::LogSigning => "log-signing",
            Self::BlindIndex(IndexedField::Email) => "blind-index/email",
            Self::BlindIndex(IndexedField::UserName) => "blind-index/user-name",
            Self::BlindIndex(IndexedField::ExternalId) => "blind-index/external-id",
            Self::BlindIndex(IndexedField::LoginSubject) => "blind-index/login-subject",
            Self::BlindIndex(IndexedField::Slug) => "blind-index/slug",
            Self::BlindIndex(IndexedField::IdempotencyKey) => "blind-index/idempotency-key",
        }
    }

    fn seals(self) -> bool {
        match self {
            Self::LogSigning | Self::BlindIndex(_) => false,
            Self::TenantWrap
            | Self::DataWrap
            | Self::Records
            | Self::Epoch
            | Self::Content
            | Self::ContentWrap
            | Self::SubjectWrap
            | Self::Subject
            | Self::Ledger => true,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Purpose {
    type Err = CryptoError;

    fn from_str(name: &str) -> Result<Self, CryptoError> {
        Self::ALL
            .into_iter()
            .find(|purpose| purpose.name() == name)
            .ok_or_else(|| CryptoError::UnknownPurpose(name.to_owned()))
    }
}

/// The place of a stored value. Change any of it and the value does not open there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The tenant's id.
    pub tenant: &'a str,
    /// The log's incarnation in which the row was written, stored with the row. Empty for keys, which outlive it.
    pub incarnation: &'a str,
    /// The table.
    pub table: &'a str,
    /// The column.
    pub column: &'a str,
    /// The row's primary key.
    pub row: &'a str,
    /// Which of the row's versions.
    pub row_version: u64,
}

impl Binding<'_> {
    /// What a value is bound to: each field behind its length (u64, big-endian), numbers big-endian, in this
    /// order: label, tenant, incarnation, table, column, row, row version (u64), purpose, key version (u32).
    #[must_use]
    pub fn context(&self, purpose: Purpose, key_version: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        put_field(&mut out, LABEL);
        put_field(&mut out, self.tenant.as_bytes());
        put_field(&mut out, self.incarnation.as_bytes());
        put_field(&mut out, self.table.as_bytes());
        put_field(&mut out, self.column.as_bytes());
        put_field(&mut out, self.row.as_bytes());
        put_field(&mut out, &self.row_version.to_be_bytes());
        put_field(&mut out, purpose.name().as_bytes());
        put_field(&mut out, &key_version.to_be_bytes());
        out
    }
}

/// One version of a key.
#[derive(Debug)]
pub struct DataKey {
    /// What it is for.
    pub purpose: Purpose,
    /// Counted from 1.
    pub version: u32,
    /// The key.
    pub secret: Secret32,
}

impl DataKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn random(purpose: Purpose, version: u32) -> Result<Self, CryptoError> {
        Ok(Self {
            purpose,
            version,
            secret: Secret32::random()?,
        })
    }
}

/// Every version of one key that seals: the newest seals, the one that a value names opens it.
#[derive(Debug)]
pub struct DataKeys {
    // INVARIANT: all of one purpose, one that seals; `newest` has the highest version, and it is not in `older`.
    newest: Ready,
    older: BTreeMap<u32, Ready>,
}

/// One version of a key, made ready to seal.
struct Ready {
    key: DataKey,
    cipher: cobblestone::Key,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl Ready {
    fn of(key: DataKey) -> Self {
        Self {
            cipher: cobblestone::Key::of(&key.secret),
            key,
        }
    }

    fn seal(&self, binding: &Binding<'_>, salt: Salt, text: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let Self { key, cipher } = self;
        let mut out = Vec::with_capacity(OVERHEAD + text.len() + text.len() / 1024);
        put_prefix(&mut out, key.version);
        cobblestone::seal_into(
            cipher,
            &digest(&binding.context(key.purpose, key.version)),
            salt,
            text,
            &mut out,
        )?;
        Ok(out)
    }
}

impl DataKeys {
    /// Starts with one version.
    ///
    /// # Errors
    /// [`CryptoError::WrongPurpose`] for a key that signs or indexes; [`CryptoError::BadVersion`] for version 0.
    pub fn new(key: DataKey) -> Result<Self, CryptoError> {
        if !key.purpose.seals() {
            return Err(CryptoError::WrongPurpose {
                found: key.purpose,
                wanted: "a key that seals",
            });
        }
        if key.version == 0 {
            return Err(CryptoError::BadVersion {
                purpose: key.purpose,
                version: 0,
            });
        }
        Ok(Self {
            newest: Ready::of(key),
            older: BTreeMap::new(),
        })
    }

    /// Adds a version; if it is the newest, it seals from now on.
    ///
    /// # Errors
    /// [`CryptoError::WrongPurpose`], [`CryptoError::BadVersion`].
    pub fn add(&mut self, key: DataKey) -> Result<(), CryptoError> {
        let (purpose, version) = (self.purpose(), key.version);
        if key.purpose != purpose {
            return Err(CryptoError::WrongPurpose {
                found: key.purpose,
                wanted: purpose.name(),
            });
        }
        if version == 0 || self.version(version).is_ok() {
            return Err(CryptoError::BadVersion { purpose, version });
        }
        let key = Ready::of(key);
        if version > self.newest.key.version {
            let previous = std::mem::replace(&mut self.newest, key);
            self.older.insert(previous.key.version, previous);
        } else {
            self.older.insert(version, key);
        }
        Ok(())
    }

    /// Forgets an older version: what is still sealed under it no longer opens.
    ///
    /// # Errors
    /// [`CryptoError::LastVersion`] for the newest; [`CryptoError::UnknownVersion`].
    pub fn remove(&mut self, version: u32) -> Result<(), CryptoError> {
        if version == self.newest.key.version {
            return Err(CryptoError::LastVersion(self.purpose()));
        }
        match self.older.remove(&version) {
            Some(_) => Ok(()),
            None => Err(CryptoError::UnknownVersion {
                purpose: self.purpose(),
                version,
            }),
        }
    }

    /// What they are for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.newest.key.purpose
    }

    /// The one that seals.
    #[must_use]
    pub fn newest(&self) -> &DataKey {
        &self.newest.key
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &DataKey> {
        let all = self.older.values().chain(std::iter::once(&self.newest));
        all.map(|ready| &ready.key)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`CryptoError::UnknownVersion`].
    pub fn version(&self, version: u32) -> Result<&DataKey, CryptoError> {
        self.ready(version).map(|ready| &ready.key)
    }

    fn ready(&self, version: u32) -> Result<&Ready, CryptoError> {
        if version == self.newest.key.version {
            return Ok(&self.newest);
        }
        self.older.get(&version).ok_or(CryptoError::UnknownVersion {
            purpose: self.purpose(),
            version,
        })
    }

    /// Seals a value for its place.
    ///
    /// # Errors
    /// [`CryptoError::TooLong`].
    pub fn seal(
        &self,
        binding: &Binding<'_>,
        salt: Salt,
        text: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.newest.seal(binding, salt, text)
    }

    /// The same under the key of this version.
    ///
    /// # Errors
    /// [`CryptoError::UnknownVersion`]; as [`DataKeys::seal`].
    pub fn seal_under(
        &self,
        version: u32,
        binding: &Binding<'_>,
        salt: Salt,
        text: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.ready(version)?.seal(binding, salt, text)
    }

    /// Opens a value at its place.
    ///
    /// # Errors
    /// [`CryptoError::UnknownVersion`], [`CryptoError::DoesNotOpen`], [`CryptoError::Altered`],
    /// [`CryptoError::Truncated`], [`CryptoError::UnknownFormat`].
    pub fn open(&self, binding: &Binding<'_>, stored: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (format, version, message) = split_prefix(stored)?;
        let Ready { key, cipher } = self.ready(version)?;
        let context = binding.context(key.purpose, version);
        match format {
            Format::Plain => cobblestone::open(cipher, &context, message),
            Format::Digest => cobblestone::open(cipher, &digest(&context), message),
        }
    }

    /// Seals a stored value again under the newest version, in the same place; nothing where it is so already.
    ///
    /// # Errors
    /// As [`DataKeys::open`] and [`DataKeys::seal`].
    pub fn reseal(
        &self,
        binding: &Binding<'_>,
        salt: Salt,
        stored: &[u8],
    ) -> Result<Option<Vec<u8>>, CryptoError> {
        let (format, version, _) = split_prefix(stored)?;
        if matches!(format, Format::Digest) && version == self.newest.key.version {
            return Ok(None);
        }
        let text = Zeroizing::new(self.open(binding, stored)?);
        self.seal(binding, salt, &text).map(Some)
    }

    /// Starts a long value: prefix and header are appended to `out`, and the sealer appends the rest.
    #[must_use]
    pub fn sealer(&self, binding: &Binding<'_>, salt: Salt, out: &mut Vec<u8>) -> Sealer {
        let Ready { key, cipher } = &self.newest;
        put_prefix(out, key.version);
        Sealer::start(
            cipher,
            &digest(&binding.context(key.purpose, key.version)),
            salt,
            out,
        )
    }

    /// Opens a long value by its first `PREFIX + HEADER` bytes; chunk `n` lies at `PREFIX` + [`cobblestone::chunk_offset`]`(n)`.
    ///
    /// # Errors
    /// As [`DataKeys::open`].
    pub fn opener(&self, binding: &Binding<'_>, start: &[u8]) -> Result<Opener, CryptoError> {
        let (format, version, message) = split_prefix(start)?;
        let Ready { key, cipher } = self.ready(version)?;
        let header = message.first_chunk().ok_or(CryptoError::Truncated)?;
        let context = binding.context(key.purpose, version);
        match format {
            Format::Plain => Opener::start(cipher, &context, header),
            Format::Digest => Opener::start(cipher, &digest(&context), header),
        }
    }
}

/// The key version that a stored value names: what a rotation asks to find the values that it has yet to seal anew.
///
/// # Errors
/// [`CryptoError::UnknownFormat`], [`CryptoError::Truncated`].
pub fn key_version(stored: &[u8]) -> Result<u32, CryptoError> {
    if let Some((&(FORMAT_TOKEN | FORMAT_AWS_KMS), rest)) = stored.split_first() {
        return version_and_rest(rest).map(|(version, _)| version);
    }
    split_prefix(stored).map(|(_, version, _)| version)
}

/// What a provider that seals by itself keeps: `format || key version (u32, big-endian) || its own bytes`.
pub(super) fn put_foreign(format: u8, version: u32, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(PREFIX.saturating_add(length));
    out.push(format);
    out.extend_from_slice(&version.to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// The same, taken apart: the key's version, and the provider's own bytes.
pub(super) fn split_foreign(format: u8, stored: &[u8]) -> Result<(u32, &[u8]), CryptoError> {
    match stored.split_first() {
        Some((found, rest)) if *found == format => version_and_rest(rest),
        Some((found, _)) => Err(CryptoError::UnknownFormat(*found)),
        None => Err(CryptoError::Truncated),
    }
}

fn version_and_rest(rest: &[u8]) -> Result<(u32, &[u8]), CryptoError> {
    let (version, rest) = rest.split_first_chunk().ok_or(CryptoError::Truncated)?;
    Ok((u32::from_be_bytes(*version), rest))
}

fn put_prefix(out: &mut Vec<u8>, version: u32) {
    out.push(FORMAT);
    out.extend_from_slice(&version.to_be_bytes());
}

fn digest(context: &[u8]) -> [u8; 32] {
    Sha256::digest(context).into()
}

/// What the Cobblestone context of a value is.
#[derive(Clone, Copy)]
enum Format {
    /// The binding itself.
    Plain,
    /// Its SHA-256.
    Digest,
}

fn split_prefix(stored: &[u8]) -> Result<(Format, u32, &[u8]), CryptoError> {
    let (format, rest) = stored.split_first().ok_or(CryptoError::Truncated)?;
    let format = match *format {
        FORMAT => Format::Digest,
        FORMAT_1 => Format::Plain,
        other => return Err(CryptoError::UnknownFormat(other)),
    };
    let (version, message) = rest.split_first_chunk().ok_or(CryptoError::Truncated)?;
    Ok((format, u32::from_be_bytes(*version), message))
}
