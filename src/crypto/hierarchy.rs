//! Which key wraps which: root, tenant, data and subject keys, their check values, and blind indexes.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac, digest::Key};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::cobblestone::Salt;
use super::provider::{Provider, Under};
use super::sealing::{Binding, DataKey, DataKeys, Purpose};
use super::secret::{Secret32, same};
use super::{CryptoError, put_field};

/// The version that every subject key has: a person's key is never replaced, only destroyed.
const SUBJECT_KEY_VERSION: u32 = 1;

/// The version that every content key has: a version of content has a key of its own, which is only destroyed.
const CONTENT_KEY_VERSION: u32 = 1;

/// The version of a tenant's first epoch key. They are counted from here so that a stored part says by its version alone whether an
/// epoch key has sealed it: no other key is ever rotated so often.
pub const FIRST_EPOCH: u32 = (1 << 31) | 1;

/// 64 bits derived from a key, kept in the clear: they tell that a key is the right one and nothing else about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckValue([u8; 8]);

impl CheckValue {
    /// HMAC-SHA-256 under the key over label, purpose and version, cut to 64 bits.
    #[must_use]
    pub fn of(key: &DataKey) -> Self {
        let mut input = Vec::with_capacity(96);
        put_field(&mut input, b"cedarkeep/key-check/1");
        put_field(&mut input, key.purpose.name().as_bytes());
        put_field(&mut input, &key.version.to_be_bytes());
        Self(cut(hmac_sha256(&key.secret, &input)))
    }

    /// One that was stored.
    ///
    /// # Errors
    /// [`CryptoError::Length`] unless there are 8 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, CryptoError> {
        let found = bytes.len();
        let bytes = bytes.try_into().map_err(|_| CryptoError::Length {
            what: "a check value",
            expected: 8,
            found,
        })?;
        Ok(Self(bytes))
    }

    /// To be stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// Whether the key is the one that this was derived from.
    ///
    /// # Errors
    /// [`CryptoError::WrongKey`].
    pub fn verify(&self, key: &DataKey) -> Result<(), CryptoError> {
        if same(&Self::of(key).0, &self.0) {
            return Ok(());
        }
        Err(CryptoError::WrongKey {
            purpose: key.purpose,
            version: key.version,
        })
    }
}

/// A key as it is stored: sealed under the key above it, with its check value beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The stored value; [`super::sealing::key_version`] gives the version of the key above.
    pub sealed: Vec<u8>,
    /// Of the key inside.
    pub check: CheckValue,
}

impl DataKeys {
    /// Wraps another key for its place.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn wrap(&self, binding: &Binding<'_>, key: &DataKey) -> Result<Wrapped, CryptoError> {
        let sealed = self.seal(binding, Salt::random()?, key.secret.expose())?;
        Ok(Wrapped {
            sealed,
            check: CheckValue::of(key),
        })
    }

    /// Unwraps a key that was wrapped for this place, purpose and version.
    ///
    /// # Errors
    /// As [`DataKeys::open`]; [`CryptoError::WrongKey`] if it is not the one that the check value stands for.
    pub fn unwrap_key(
        &self,
        binding: &Binding<'_>,
        purpose: Purpose,
        version: u32,
        wrapped: &Wrapped,
    ) -> Result<DataKey, CryptoError> {
        let opened = Zeroizing::new(self.open(binding, &wrapped.sealed)?);
        let key = DataKey {
            purpose,
            version,
            secret: Secret32::from_slice(&opened)?,
        };
        wrapped.check.verify(&key)?;
        Ok(key)
    }
}

/// A tenant's own key, under which its data keys lie.
#[derive(Debug)]
pub struct TenantKey {
    tenant: String,
    // INVARIANT: of the purpose `DataWrap`.
    keys: DataKeys,
}

impl TenantKey {
    /// A new one for this tenant, and what the control database keeps of it.
    ///
    /// # Errors
    /// [`CryptoError::BadVersion`]; as [`Provider::wrap`].
    pub async fn create(
        provider: &Provider,
        tenant: &str,
        version: u32,
        under: Under,
    ) -> Result<(Self, Wrapped), CryptoError> {
        let key = DataKey::random(Purpose::DataWrap, version)?;
        let wrapped = provider.wrap(tenant, &key, under).await?;
        Ok((
            Self {
                tenant: tenant.to_owned(),
                keys: DataKeys::new(key)?,
            },
            wrapped,
        ))
    }

    /// The one that was wrapped for this tenant.
    ///
    /// # Errors
    /// As [`Provider::unwrap_key`].
    pub async fn open(
        provider: &Provider,
        tenant: &str,
        version: u32,
        wrapped: &Wrapped,
    ) -> Result<Self, CryptoError> {
        let key = provider.unwrap_key(tenant, version, wrapped).await?;
        Ok(Self {
            tenant: tenant.to_owned(),
            keys: DataKeys::new(key)?,
        })
    }

    /// Wraps it again.
    ///
    /// # Errors
    /// As [`Provider::wrap`].
    pub async fn rewrap(&self, provider: &Provider, under: Under) -> Result<Wrapped, CryptoError> {
        let key = self.keys.newest();
        provider.wrap(&self.tenant, key, under).await
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.keys.newest().version
    }

    /// What the tenant's own database keeps, so that it refuses the key of another.
    #[must_use]
    pub fn check_value(&self) -> CheckValue {
        CheckValue::of(self.keys.newest())
    }

    /// Whether this is the key that the tenant's database was written with.
    ///
    /// # Errors
    /// [`CryptoError::WrongKey`].
    pub fn verify(&self, recorded: &CheckValue) -> Result<(), CryptoError> {
        recorded.verify(self.keys.newest())
    }

    /// A new random data key, wrapped.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn create_data_key(
        &self,
        purpose: Purpose,
        version: u32,
    ) -> Result<(DataKey, Wrapped), CryptoError> {
        let key = DataKey::random(purpose, version)?;
        let wrapped = self.wrap_data_key(&key)?;
        Ok((key, wrapped))
    }

    /// Wraps a data key: a new one, or, when the tenant key is rotated, each of those that there are.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`].
    pub fn wrap_data_key(&self, key: &DataKey) -> Result<Wrapped, CryptoError> {
        self.keys
            .wrap(&self.data_key_binding(key.purpose, key.version), key)
    }

    /// Opens a data key.
    ///
    /// # Errors
    /// As [`DataKeys::unwrap_key`].
    pub fn open_data_key(
        &self,
        purpose: Purpose,
        version: u32,
        wrapped: &Wrapped,
    ) -> Result<DataKey, CryptoError> {
        self.keys.unwrap_key(
            &self.data_key_binding(purpose, version),
            purpose,
            version,
            wrapped,
        )
    }

    /// The place of a data key, wrapped by this one.
    fn data_key_binding(&self, purpose: Purpose, version: u32) -> Binding<'_> {
        Binding {
            tenant: &self.tenant,
            incarnation: "",
            table: "data_keys",
            column: "wrapped",
            row: purpose.name(),
            row_version: u64::from(version),
        }
    }
}

/// A new key for one subject, wrapped under the subject-wrap key: forgetting the wrap forgets the subject.
///
/// # Errors
/// [`CryptoError::WrongPurpose`] unless the keys are for this; [`CryptoError::NoRandomness`].
pub fn create_subject_key(
    wrap: &DataKeys,
    tenant: &str,
    subject: &str,
) -> Result<(DataKeys, Wrapped), CryptoError> {
    let key = DataKey::random(Purpose::Subject, SUBJECT_KEY_VERSION)?;
    let wrapped = subject_wrap(wrap)?.wrap(&subject_binding(tenant, subject), &key)?;
    Ok((DataKeys::new(key)?, wrapped))
}

/// A subject's key.
///
/// # Errors
/// [`CryptoError::WrongPurpose`]; as [`DataKeys::unwrap_key`].
pub fn open_subject_key(
    wrap: &DataKeys,
    tenant: &str,
    subject: &str,
    wrapped: &Wrapped,
) -> Result<DataKeys, CryptoError> {
    let binding = subject_binding(tenant, subject);
    DataKeys::new(subject_wrap(wrap)?.unwrap_key(
        &binding,
        Purpose::Subject,
        SUBJECT_KEY_VERSION,
        wrapped,
    )?)
}

/// Wraps a subject's key again, under the newest subject-wrap key.
///
/// # Errors
/// As [`open_subject_key`].
pub fn rewrap_subject_key(
    wrap: &DataKeys,
    tenant: &str,
    subject: &str,
    wrapped: &Wrapped,
) -> Result<Wrapped, CryptoError> {
    let key = open_subject_key(wrap, tenant, subject, wrapped)?;
    wrap.wrap(&subject_binding(tenant, subject), key.newest())
}

fn subject_wrap(keys: &DataKeys) -> Result<&DataKeys, CryptoError> {
    match keys.purpose() {
        Purpose::SubjectWrap => Ok(keys),
        found => Err(CryptoError::WrongPurpose {
            found,
            wanted: "a key that wraps subject keys",
        }),
    }
}

/// The place of a subject's key, wrapped by the subject-wrap key.
#[must_use]
pub const fn subject_binding<'a>(tenant: &'a str, subject: &'a str) -> Binding<'a> {
    Binding {
        tenant,
        incarnation: "",
        table: "subject_keys",
        column: "wrapped",
        row: subject,
        row_version: 1,
    }
}

/// A new key for one version of content, wrapped in its place under the key of the person whose it is, or under the tenant's
/// content-wrap key where it is nobody's: forgetting the wrap forgets the content.
///
/// # Errors
/// [`CryptoError::WrongPurpose`] unless the keys are for this; [`CryptoError::NoRandomness`].
pub fn create_content_key(
    wrap: &DataKeys,
    binding: &Binding<'_>,
) -> Result<(DataKeys, Wrapped), CryptoError> {
    let key = DataKey::random(Purpose::Content, CONTENT_KEY_VERSION)?;
    let wrapped = content_wrap(wrap)?.wrap(binding, &key)?;
    Ok((DataKeys::new(key)?, wrapped))
}

/// The key of one version of content.
///
/// # Errors
/// [`CryptoError::WrongPurpose`]; as [`DataKeys::unwrap_key`].
pub fn open_content_key(
    wrap: &DataKeys,
    binding: &Binding<'_>,
    wrapped: &Wrapped,
) -> Result<DataKeys, CryptoError> {
    DataKeys::new(content_wrap(wrap)?.unwrap_key(
        binding,
        Purpose::Content,
        CONTENT_KEY_VERSION,
        wrapped,
    )?)
}

/// Wraps the key of one version of content again, under the newest version of the key above it.
///
/// # Errors
/// As [`open_content_key`].
pub fn rewrap_content_key(
    wrap: &DataKeys,
    binding: &Binding<'_>,
    wrapped: &Wrapped,
) -> Result<Wrapped, CryptoError> {
    let key = open_content_key(wrap, binding, wrapped)?;
    wrap.wrap(binding, key.newest())
}

fn content_wrap(keys: &DataKeys) -> Result<&DataKeys, CryptoError> {
    match keys.purpose() {
        Purpose::Subject | Purpose::ContentWrap => Ok(keys),
        found => Err(CryptoError::WrongPurpose {
            found,
            wanted: "a key that wraps content keys",
        }),
    }
}

/// The place of an epoch key, wrapped by the records key.
#[must_use]
pub const fn epoch_binding<'a>(tenant: &'a str, row: &'a str) -> Binding<'a> {
    Binding {
        tenant,
        incarnation: "",
        table: "epoch",
        column: "wrapped",
        row,
        row_version: 0,
    }
}

/// A new key for the segments of one epoch, wrapped under the newest records key.
///
/// # Errors
/// [`CryptoError::WrongPurpose`] unless the keys are for this; [`CryptoError::NoRandomness`].
pub fn create_epoch_key(
    records: &DataKeys,
    tenant: &str,
    version: u32,
) -> Result<(DataKey, Wrapped), CryptoError> {
    let key = DataKey::random(Purpose::Epoch, version)?;
    let row = version.to_string();
    let wrapped = records_key(records)?.wrap(&epoch_binding(tenant, &row), &key)?;
    Ok((key, wrapped))
}

/// The key of an epoch.
///
/// # Errors
/// [`CryptoError::WrongPurpose`]; as [`DataKeys::unwrap_key`].
pub fn open_epoch_key(
    records: &DataKeys,
    tenant: &str,
    version: u32,
    wrapped: &Wrapped,
) -> Result<DataKey, CryptoError> {
    let row = version.to_string();
    let binding = epoch_binding(tenant, &row);
    records_key(records)?.unwrap_key(&binding, Purpose::Epoch, version, wrapped)
}

fn records_key(keys: &DataKeys) -> Result<&DataKeys, CryptoError> {
    match keys.purpose() {
        Purpose::Records => Ok(keys),
        found => Err(CryptoError::WrongPurpose {
            found,
            wanted: "a key that wraps epoch keys",
        }),
    }
}

/// Finds equal values of one field without opening any.
pub struct BlindIndex {
    key: DataKey,
}

impl BlindIndex {
    /// The index of the field that the key's purpose names.
    ///
    /// # Errors
    /// [`CryptoError::WrongPurpose`].
    pub fn new(key: DataKey) -> Result<Self, CryptoError> {
        match key.purpose {
            Purpose::BlindIndex(_) => Ok(Self { key }),
            found => Err(CryptoError::WrongPurpose {
                found,
                wanted: "a blind index",
            }),
        }
    }

    /// The first 128 bits of HMAC-SHA-256 over the field's name behind its length and the value, which must be
    /// normalised: what a reader takes for the same must be the same bytes.
    #[must_use]
    pub fn of(&self, normalised: &str) -> [u8; 16] {
        let mut input = Zeroizing::new(Vec::with_capacity(64 + normalised.len()));
        put_field(&mut input, self.key.purpose.name().as_bytes());
        input.extend_from_slice(normalised.as_bytes());
        cut(hmac_sha256(&self.key.secret, &input))
    }
}

impl fmt::Debug for BlindIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlindIndex")
            .field("purpose", &self.key.purpose)
            .finish_non_exhaustive()
    }
}

fn hmac_sha256(key: &Secret32, input: &[u8]) -> [u8; 32] {
    let mut padded = Key::<Hmac<Sha256>>::default();
    for (place, byte) in padded.iter_mut().zip(key.expose()) {
        *place = *byte;
    }
    let mut mac = Hmac::<Sha256>::new(&padded);
    zeroize::Zeroize::zeroize(padded.as_mut_slice());
    mac.update(input);
    mac.finalize().into_bytes().into()
}

/// The first `N` of 32 bytes.
fn cut<const N: usize>(bytes: [u8; 32]) -> [u8; N] {
    let mut stream = bytes.into_iter();
    std::array::from_fn(|_| stream.next().unwrap_or_default())
}
