//! A tenant's data keys and epoch keys at one moment: read whole, held whole, and replaced whole when one of them changes.

use std::sync::Arc;

use sqlx::{Any, Row as _, Transaction};

use super::TenantError;
use super::roots::Roots;
use crate::crypto::CryptoError;
use crate::crypto::hierarchy::{
    BlindIndex, CheckValue, FIRST_EPOCH, TenantKey, Wrapped, create_epoch_key, open_epoch_key,
};
use crate::crypto::sealing::{DataKey, DataKeys, IndexedField, Purpose, key_version};
use crate::ids::TenantId;
use crate::storage::Database;

/// Every data key that a tenant is born with.
const PURPOSES: [Purpose; 5] = [
    Purpose::Records,
    Purpose::ContentWrap,
    Purpose::SubjectWrap,
    Purpose::LogSigning,
    REPLIES,
];

/// Finds the replies to requests that brought an Idempotency-Key.
pub(super) const REPLIES: Purpose = Purpose::BlindIndex(IndexedField::IdempotencyKey);

/// The version of the records key that segments of before there were epochs are sealed under.
pub(super) const LEGACY: u32 = 1;

pub(super) const ADD: &str =
    "INSERT INTO data_key (purpose, version, wrapped, key_check) VALUES ($1, $2, $3, $4)";
pub(super) const ADD_EPOCH: &str =
    "INSERT INTO epoch (version, first_index, wrapped, key_check) VALUES ($1, $2, $3, $4)";
const ADD_WHERE_UNUSED: &str = "INSERT INTO data_key (purpose, version, wrapped, key_check) \
     SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT 1 FROM content) ON CONFLICT DO NOTHING";
const KEYS_VERSION: &str = "SELECT keys_version FROM head WHERE one = 1";
const CHECK: &str = "SELECT key_check FROM tenant WHERE one = 1";
const ALL: &str = "SELECT purpose, version, wrapped, key_check FROM data_key ORDER BY purpose, version LIMIT 10000";
const EPOCHS: &str =
    "SELECT version, first_index, wrapped, key_check FROM epoch ORDER BY version LIMIT 1000000";
const ROTATIONS: &str = "SELECT purpose, old_version, new_version, step, after_text, after_number FROM rotation \
     ORDER BY purpose LIMIT 100";

/// An epoch of the log: its segments are sealed under a key of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// The version that its segments name, from [`FIRST_EPOCH`] on.
    pub version: u32,
    /// The index of the first entry that can lie in it.
    pub first: u64,
}

impl Epoch {
    /// Which it is, counted from 1.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.version.saturating_sub(FIRST_EPOCH).saturating_add(1)
    }
}

/// A rotation of a key that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// What the key is for.
    pub purpose: Purpose,
    /// The version that is to go.
    pub old: u32,
    /// The one that follows.
    pub new: u32,
    /// Which step it has come to.
    pub(super) step: i64,
    /// Where in that step: the rows up to here are done.
    pub(super) after: (String, i64),
}

/// The keys at one moment.
pub(super) struct Ring {
    /// At which count of the head's `keys_version` they were read, or before it.
    pub(super) label: u64,
    pub(super) key: Arc<TenantKey>,
    pub(super) records: DataKeys,
    pub(super) content_wrap: DataKeys,
    pub(super) subject_wrap: DataKeys,
    /// The newest first.
    pub(super) blind: Vec<(u32, BlindIndex)>,
    /// Nothing before the first epoch of a tenant that is older than there are epochs.
    pub(super) epoch_keys: Option<DataKeys>,
    pub(super) epochs: Vec<Epoch>,
    pub(super) rotations: Vec<Rotation>,
}

impl Ring {
    /// What seals new segments.
    pub(super) fn of_log(&self) -> &DataKeys {
        self.epoch_keys.as_ref().unwrap_or(&self.records)
    }

    /// What a stored segment, or a part of one, was sealed under.
    ///
    /// # Errors
    /// An epoch that is not known here.
    pub(super) fn of_stored(&self, stored: &[u8]) -> Result<&DataKeys, CryptoError> {
        let version = key_version(stored)?;
        if version < FIRST_EPOCH {
            return Ok(&self.records);
        }
        self.epoch_keys.as_ref().ok_or(CryptoError::UnknownVersion {
            purpose: Purpose::Epoch,
            version,
        })
    }

    /// The keys of a purpose that seals values in rows.
    ///
    /// # Errors
    /// A purpose that seals none.
    pub(super) const fn of(&self, purpose: Purpose) -> Result<&DataKeys, CryptoError> {
        match purpose {
            Purpose::Records => Ok(&self.records),
            Purpose::ContentWrap => Ok(&self.content_wrap),
            Purpose::SubjectWrap => Ok(&self.subject_wrap),
            found => Err(CryptoError::WrongPurpose {
                found,
                wanted: "a key that seals rows",
            }),
        }
    }

    /// The rotation of a key that is under way.
    pub(super) fn rotation(&self, purpose: Purpose) -> Option<&Rotation> {
        self.rotations
            .iter()
            .find(|rotation| rotation.purpose == purpose)
    }

    /// The version of a key that is used now, and those that are held beside it.
    pub(super) fn versions(&self, purpose: Purpose) -> Vec<u32> {
        let mut versions: Vec<u32> = match purpose {
            Purpose::DataWrap => vec![self.key.version()],
            Purpose::Epoch => self.epochs.iter().map(|epoch| epoch.version).collect(),
            REPLIES => self.blind.iter().map(|(version, _)| *version).collect(),
            purpose => {
                let keys = self.of(purpose).ok();
                keys.map(|keys| keys.iter().map(|key| key.version).collect())
                    .unwrap_or_default()
            }
        };
        versions.sort_unstable();
        versions
    }
}

/// Makes every key of a new tenant and writes it, wrapped.
pub(super) async fn create(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    (id, key): (TenantId, &TenantKey),
) -> Result<(), TenantError> {
    let error = |cause| database.error(cause);
    for purpose in PURPOSES {
        let (made, wrapped) = key.create_data_key(purpose, 1)?;
        write(database, transaction, (purpose, 1), &wrapped).await?;
        if purpose == Purpose::Records {
            let records = DataKeys::new(made)?;
            let (_, wrapped) = create_epoch_key(&records, &id.to_string(), FIRST_EPOCH)?;
            sqlx::query(ADD_EPOCH)
                .bind(i64::from(FIRST_EPOCH))
                .bind(0_i64)
                .bind(wrapped.sealed.as_slice())
                .bind(wrapped.check.as_bytes().as_slice())
                .execute(&mut **transaction)
                .await
                .map_err(error)?;
        }
    }
    Ok(())
}

/// Writes a data key.
pub(super) async fn write(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    (purpose, version): (Purpose, u32),
    wrapped: &Wrapped,
) -> Result<(), TenantError> {
    sqlx::query(ADD)
        .bind(purpose.name())
        .bind(i64::from(version))
        .bind(wrapped.sealed.as_slice())
        .bind(wrapped.check.as_bytes().as_slice())
        .execute(&mut **transaction)
        .await
        .map(|_| ())
        .map_err(|cause| database.error(cause).into())
}

/// Reads every key: the ring, and the key that signs. `known`: the tenant key that was right the last time.
pub(super) async fn read(
    database: &Database,
    roots: &Roots,
    id: TenantId,
    known: Option<Arc<TenantKey>>,
) -> Result<(Ring, DataKey), TenantError> {
    let error = |cause| database.error(cause);
    let corrupt = || TenantError::Corrupt { what: "data key" };
    // The count first: whatever is read after it is as new at least.
    let label = sqlx::query(KEYS_VERSION)
        .fetch_one(database.pool())
        .await
        .map_err(error)?;
    let label: i64 = label.try_get("keys_version").map_err(error)?;
    let label = u64::try_from(label).map_err(|_| TenantError::Corrupt { what: "head" })?;
    let key = tenant_key(database, roots, id, known).await?;
    let (mut records, mut content_wrap, mut subject_wrap) = (None, None, None);
    let (mut blind, mut signing) = (Vec::new(), None);
    let mut all = data_keys(database, &key).await?;
    if all.iter().all(|key| key.purpose != Purpose::ContentWrap) {
        complete(database, &key).await?;
        all = data_keys(database, &key).await?;
    }
    for key in all {
        match key.purpose {
            Purpose::Records => add(&mut records, key)?,
            Purpose::ContentWrap => add(&mut content_wrap, key)?,
            Purpose::SubjectWrap => add(&mut subject_wrap, key)?,
            Purpose::LogSigning => signing = Some(key),
            REPLIES => blind.insert(0, (key.version, BlindIndex::new(key)?)),
            _ => {}
        }
    }
    let records = records.ok_or_else(corrupt)?;
    if blind.is_empty() {
        return Err(corrupt());
    }
    let (epoch_keys, epochs) = epochs(database, &records, id).await?;
    let ring = Ring {
        label,
        key,
        records,
        content_wrap: content_wrap.ok_or_else(corrupt)?,
        subject_wrap: subject_wrap.ok_or_else(corrupt)?,
        blind,
        epoch_keys,
        epochs,
        rotations: rotations(database).await?,
    };
    Ok((ring, signing.ok_or_else(corrupt)?))
}

/// Makes those keys that a tenant was not born with yet when it was made: only while nothing is kept that they would have sealed.
async fn complete(database: &Database, key: &TenantKey) -> Result<(), TenantError> {
    let error = |cause| database.error(cause);
    let purpose = Purpose::ContentWrap;
    let (_, wrapped) = key.create_data_key(purpose, 1)?;
    let mut connection = database.connect().await?;
    let mut transaction = database.begin(&mut connection).await?;
    let row = sqlx::query(database.dialect().keys_lock())
        .fetch_one(&mut *transaction)
        .await
        .map_err(error)?;
    let check: Vec<u8> = row.try_get("key_check").map_err(error)?;
    if key.verify(&CheckValue::from_slice(&check)?).is_err() {
        // All keys have gone over to another tenant key meanwhile, and are read again.
        return Err(CryptoError::UnknownVersion {
            purpose: Purpose::DataWrap,
            version: key.version(),
        }
        .into());
    }
    // Of two nodes that come at once the first wins.
    sqlx::query(ADD_WHERE_UNUSED)
        .bind(purpose.name())
        .bind(1_i64)
        .bind(wrapped.sealed.as_slice())
        .bind(wrapped.check.as_bytes().as_slice())
        .execute(&mut *transaction)
        .await
        .map_err(error)?;
    transaction
        .commit()
        .await
        .map_err(|cause| error(cause).into())
}

fn add(keys: &mut Option<DataKeys>, key: DataKey) -> Result<(), CryptoError> {
    match keys {
        Some(keys) => keys.add(key),
        None => {
            *keys = Some(DataKeys::new(key)?);
            Ok(())
        }
    }
}

/// The tenant key that the data keys lie under: the one that the database's check value is of.
async fn tenant_key(
    database: &Database,
    roots: &Roots,
    id: TenantId,
    known: Option<Arc<TenantKey>>,
) -> Result<Arc<TenantKey>, TenantError> {
    let error = |cause| database.error(cause);
    let row = sqlx::query(CHECK)
        .fetch_one(database.pool())
        .await
        .map_err(error)?;
    let check: Vec<u8> = row.try_get("key_check").map_err(error)?;
    let check = CheckValue::from_slice(&check)?;
    if let Some(known) = known.filter(|known| known.verify(&check).is_ok()) {
        return Ok(known);
    }
    let mut wrong = None;
    for key in roots.tenant_keys(id).await? {
        match key.verify(&check) {
            Ok(()) => return Ok(Arc::new(key)),
            Err(error) => wrong = wrong.or(Some(error)),
        }
    }
    Err(wrong.map_or(TenantError::Corrupt { what: "tenant" }, TenantError::from))
}

pub(super) async fn data_keys(
    database: &Database,
    key: &TenantKey,
) -> Result<Vec<DataKey>, TenantError> {
    let rows = sqlx::query(ALL)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    rows.iter()
        .map(|row| data_key(database, key, row))
        .collect()
}

fn data_key(
    database: &Database,
    key: &TenantKey,
    row: &sqlx::any::AnyRow,
) -> Result<DataKey, TenantError> {
    let error = |cause| database.error(cause);
    let purpose: String = row.try_get("purpose").map_err(error)?;
    let version: i64 = row.try_get("version").map_err(error)?;
    let version = u32::try_from(version).map_err(|_| TenantError::Corrupt { what: "data key" })?;
    Ok(key.open_data_key(purpose.parse()?, version, &wrapped(database, row)?)?)
}

pub(super) fn wrapped(
    database: &Database,
    row: &sqlx::any::AnyRow,
) -> Result<Wrapped, TenantError> {
    let error = |cause| database.error(cause);
    let check: Vec<u8> = row.try_get("key_check").map_err(error)?;
    Ok(Wrapped {
        sealed: row.try_get("wrapped").map_err(error)?,
        check: CheckValue::from_slice(&check)?,
    })
}

/// Every data key as the transaction sees it.
pub(super) async fn data_keys_within(
    database: &Database,
    transaction: &mut Transaction<'_, Any>,
    key: &TenantKey,
) -> Result<Vec<DataKey>, TenantError> {
    let rows = sqlx::query(ALL)
        .fetch_all(&mut **transaction)
        .await
        .map_err(|cause| database.error(cause))?;
    rows.iter()
        .map(|row| data_key(database, key, row))
        .collect()
}

async fn epochs(
    database: &Database,
    records: &DataKeys,
    id: TenantId,
) -> Result<(Option<DataKeys>, Vec<Epoch>), TenantError> {
    let error = |cause| database.error(cause);
    let corrupt = || TenantError::Corrupt { what: "epoch" };
    let rows = sqlx::query(EPOCHS)
        .fetch_all(database.pool())
        .await
        .map_err(error)?;
    let (mut keys, mut epochs) = (None, Vec::new());
    let tenant = id.to_string();
    for row in &rows {
        let version: i64 = row.try_get("version").map_err(error)?;
        let version = u32::try_from(version).map_err(|_| corrupt())?;
        let first: i64 = row.try_get("first_index").map_err(error)?;
        let key = open_epoch_key(records, &tenant, version, &wrapped(database, row)?)?;
        add(&mut keys, key)?;
        epochs.push(Epoch {
            version,
            first: u64::try_from(first).map_err(|_| corrupt())?,
        });
    }
    Ok((keys, epochs))
}

pub(super) async fn rotations(database: &Database) -> Result<Vec<Rotation>, TenantError> {
    let error = |cause| database.error(cause);
    let corrupt = |_| TenantError::Corrupt { what: "rotation" };
    let rows = sqlx::query(ROTATIONS)
        .fetch_all(database.pool())
        .await
        .map_err(error)?;
    let read = rows.iter().map(|row| {
        let purpose: String = row.try_get("purpose").map_err(error)?;
        let old: i64 = row.try_get("old_version").map_err(error)?;
        let new: i64 = row.try_get("new_version").map_err(error)?;
        Ok(Rotation {
            purpose: purpose.parse()?,
            old: u32::try_from(old).map_err(corrupt)?,
            new: u32::try_from(new).map_err(corrupt)?,
            step: row.try_get("step").map_err(error)?,
            after: (
                row.try_get("after_text").map_err(error)?,
                row.try_get("after_number").map_err(error)?,
            ),
        })
    });
    read.collect()
}
