//! A tenant's data keys, as long as it is open: each wrapped by the tenant key in the tenant's own database.

use sqlx::{Any, Row as _, Transaction};

use super::TenantError;
use crate::crypto::CryptoError;
use crate::crypto::cobblestone::Salt;
use crate::crypto::hierarchy::{BlindIndex, CheckValue, TenantKey, Wrapped};
use crate::crypto::sealing::{Binding, DataKey, DataKeys, IndexedField, Purpose};
use crate::crypto::signing::SigningSeed;
use crate::ids::{Incarnation, TenantId};
use crate::storage::Database;

/// Every data key that a tenant is born with.
const PURPOSES: [Purpose; 4] = [
    Purpose::Records,
    Purpose::SubjectWrap,
    Purpose::LogSigning,
    Purpose::BlindIndex(IndexedField::IdempotencyKey),
];

const ADD: &str =
    "INSERT INTO data_key (purpose, version, wrapped, key_check) VALUES ($1, $2, $3, $4)";
const ALL: &str = "SELECT purpose, version, wrapped, key_check FROM data_key ORDER BY purpose, version LIMIT 10000";

/// The data keys of an open tenant.
pub struct TenantKeys {
    tenant: String,
    incarnation: String,
    records: DataKeys,
    subject_wrap: DataKeys,
    signing: SigningSeed,
    blind: BlindIndex,
}

impl std::fmt::Debug for TenantKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TenantKeys")
    }
}

impl TenantKeys {
    /// Makes every key and writes it, wrapped.
    pub(super) async fn create(
        database: &Database,
        transaction: &mut Transaction<'_, Any>,
        key: &TenantKey,
    ) -> Result<(), TenantError> {
        for purpose in PURPOSES {
            let (_, wrapped) = key.create_data_key(purpose, 1)?;
            sqlx::query(ADD)
                .bind(purpose.name())
                .bind(1_i64)
                .bind(wrapped.sealed.as_slice())
                .bind(wrapped.check.as_bytes().as_slice())
                .execute(&mut **transaction)
                .await
                .map_err(|cause| database.error(cause))?;
        }
        Ok(())
    }

    /// Opens every key.
    pub(super) async fn open(
        database: &Database,
        key: &TenantKey,
        tenant: TenantId,
        incarnation: Incarnation,
    ) -> Result<Self, TenantError> {
        let error = |cause| database.error(cause);
        let rows = sqlx::query(ALL)
            .fetch_all(database.pool())
            .await
            .map_err(error)?;
        let mut keys = Vec::new();
        for row in &rows {
            let purpose: String = row.try_get("purpose").map_err(error)?;
            let purpose: Purpose = purpose.parse()?;
            let version: i64 = row.try_get("version").map_err(error)?;
            let version =
                u32::try_from(version).map_err(|_| TenantError::Corrupt { what: "data key" })?;
            let check: Vec<u8> = row.try_get("key_check").map_err(error)?;
            let sealed: Vec<u8> = row.try_get("wrapped").map_err(error)?;
            let wrapped = Wrapped {
                sealed,
                check: CheckValue::from_slice(&check)?,
            };
            keys.push(key.open_data_key(purpose, version, &wrapped)?);
        }
        let mut take = |purpose: Purpose| {
            let at = keys
                .iter()
                .rposition(|key: &DataKey| key.purpose == purpose);
            at.map(|at| keys.remove(at))
                .ok_or(TenantError::Corrupt { what: "data key" })
        };
        Ok(Self {
            tenant: tenant.to_string(),
            incarnation: incarnation.to_string(),
            records: DataKeys::new(take(Purpose::Records)?)?,
            subject_wrap: DataKeys::new(take(Purpose::SubjectWrap)?)?,
            signing: SigningSeed::of(&take(Purpose::LogSigning)?)?,
            blind: BlindIndex::new(take(Purpose::BlindIndex(IndexedField::IdempotencyKey))?)?,
        })
    }

    /// What seals whatever belongs to no person.
    pub const fn records(&self) -> &DataKeys {
        &self.records
    }

    /// What wraps people's keys.
    pub(super) const fn subject_wrap(&self) -> &DataKeys {
        &self.subject_wrap
    }

    /// What signs the log.
    pub const fn signing(&self) -> &SigningSeed {
        &self.signing
    }

    /// What requests' own keys are looked up by.
    pub const fn blind(&self) -> &BlindIndex {
        &self.blind
    }

    /// The place of a value in this tenant's database.
    pub fn binding<'a>(
        &'a self,
        table: &'a str,
        column: &'a str,
        row: &'a str,
        row_version: u64,
    ) -> Binding<'a> {
        Binding {
            tenant: &self.tenant,
            incarnation: &self.incarnation,
            table,
            column,
            row,
            row_version,
        }
    }

    /// Seals a value for its place.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn seal(
        &self,
        table: &str,
        column: &str,
        row: &str,
        row_version: u64,
        text: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.records.seal(
            &self.binding(table, column, row, row_version),
            Salt::random()?,
            text,
        )
    }

    /// Opens a value in its place.
    ///
    /// # Errors
    /// It was moved, altered, or sealed under another key.
    pub fn open_value(
        &self,
        table: &str,
        column: &str,
        row: &str,
        row_version: u64,
        stored: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.records
            .open(&self.binding(table, column, row, row_version), stored)
    }
}
