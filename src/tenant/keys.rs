//! A tenant's data keys, as long as it is open: each wrapped by the tenant key in the tenant's own database.

use std::sync::Arc;

use arc_swap::ArcSwap;
use sqlx::{Any, Row as _, Transaction};

use super::TenantError;
use super::store::Life;
use crate::crypto::CryptoError;
use crate::crypto::cobblestone::{Opener, Salt};
use crate::crypto::hierarchy::{BlindIndex, CheckValue, TenantKey, Wrapped};
use crate::crypto::sealing::{Binding, DataKey, DataKeys, IndexedField, Purpose};
use crate::crypto::signing::SigningSeed;
use crate::ids::TenantId;
use crate::storage::Database;

/// Every data key that a tenant is born with.
const PURPOSES: [Purpose; 5] = [
    Purpose::Records,
    Purpose::ContentWrap,
    Purpose::SubjectWrap,
    Purpose::LogSigning,
    Purpose::BlindIndex(IndexedField::IdempotencyKey),
];

const ADD: &str =
    "INSERT INTO data_key (purpose, version, wrapped, key_check) VALUES ($1, $2, $3, $4)";
const ONE_OF: &str = "SELECT version FROM data_key WHERE purpose = $1 LIMIT 1";
const ADD_WHERE_UNUSED: &str = "INSERT INTO data_key (purpose, version, wrapped, key_check) \
     SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT 1 FROM content) ON CONFLICT DO NOTHING";
const REMOVE: &str = "DELETE FROM data_key WHERE purpose = $1 AND version <> $2";
const ALL: &str = "SELECT purpose, version, wrapped, key_check FROM data_key ORDER BY purpose, version LIMIT 10000";

/// What signs the log, and which version of it this is.
#[derive(Debug)]
pub struct Signer {
    version: u32,
    seed: SigningSeed,
}

impl Signer {
    fn of(key: &DataKey) -> Result<Self, CryptoError> {
        Ok(Self {
            version: key.version,
            seed: SigningSeed::of(key)?,
        })
    }

    /// Which version, counted from 1.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The seed.
    pub const fn seed(&self) -> &SigningSeed {
        &self.seed
    }
}

/// The log's next signing key, that no row holds yet.
#[derive(Debug)]
pub struct NextSigner {
    signer: Arc<Signer>,
    wrapped: Wrapped,
}

impl NextSigner {
    /// What signs from the rotation on.
    pub const fn signer(&self) -> &Arc<Signer> {
        &self.signer
    }
}

/// The data keys of an open tenant.
pub struct TenantKeys {
    tenant: String,
    lives: Vec<(u64, String)>,
    key: TenantKey,
    records: DataKeys,
    content_wrap: DataKeys,
    subject_wrap: DataKeys,
    signing: ArcSwap<Signer>,
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

    /// Makes those keys that a tenant was not born with yet when it was made: only while nothing is kept that they would have sealed.
    pub(super) async fn complete(database: &Database, key: &TenantKey) -> Result<(), TenantError> {
        let error = |cause| database.error(cause);
        let purpose = Purpose::ContentWrap;
        let there = sqlx::query(ONE_OF)
            .bind(purpose.name())
            .fetch_optional(database.pool());
        if there.await.map_err(error)?.is_some() {
            return Ok(());
        }
        let (_, wrapped) = key.create_data_key(purpose, 1)?;
        // Of two nodes that come at once the first wins.
        sqlx::query(ADD_WHERE_UNUSED)
            .bind(purpose.name())
            .bind(1_i64)
            .bind(wrapped.sealed.as_slice())
            .bind(wrapped.check.as_bytes().as_slice())
            .execute(database.pool())
            .await
            .map(|_| ())
            .map_err(|cause| database.error(cause).into())
    }

    /// Opens every key.
    pub(super) async fn open(
        database: &Database,
        key: TenantKey,
        tenant: TenantId,
        lives: &[Life],
    ) -> Result<Self, TenantError> {
        let mut keys = read(database, &key).await?;
        let mut take = |purpose: Purpose| {
            let at = keys
                .iter()
                .rposition(|key: &DataKey| key.purpose == purpose);
            at.map(|at| keys.remove(at))
                .ok_or(TenantError::Corrupt { what: "data key" })
        };
        Ok(Self {
            tenant: tenant.to_string(),
            lives: lives
                .iter()
                .map(|life| (life.first, life.incarnation.to_string()))
                .collect(),
            records: DataKeys::new(take(Purpose::Records)?)?,
            content_wrap: DataKeys::new(take(Purpose::ContentWrap)?)?,
            subject_wrap: DataKeys::new(take(Purpose::SubjectWrap)?)?,
            signing: ArcSwap::from_pointee(Signer::of(&take(Purpose::LogSigning)?)?),
            blind: BlindIndex::new(take(Purpose::BlindIndex(IndexedField::IdempotencyKey))?)?,
            key,
        })
    }

    /// The log's next signing key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn next_signer(&self) -> Result<NextSigner, CryptoError> {
        let version = self.signing().version.saturating_add(1);
        let (key, wrapped) = self.key.create_data_key(Purpose::LogSigning, version)?;
        Ok(NextSigner {
            signer: Arc::new(Signer::of(&key)?),
            wrapped,
        })
    }

    /// Writes the next signing key in place of the one that there is, whose seed is gone with this transaction.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn write_signer(
        &self,
        database: &Database,
        transaction: &mut Transaction<'_, Any>,
        next: &NextSigner,
    ) -> Result<(), TenantError> {
        let error = |cause| database.error(cause);
        let (name, version) = (Purpose::LogSigning.name(), i64::from(next.signer.version));
        sqlx::query(ADD)
            .bind(name)
            .bind(version)
            .bind(next.wrapped.sealed.as_slice())
            .bind(next.wrapped.check.as_bytes().as_slice())
            .execute(&mut **transaction)
            .await
            .map_err(error)?;
        sqlx::query(REMOVE)
            .bind(name)
            .bind(version)
            .execute(&mut **transaction)
            .await
            .map_err(error)?;
        Ok(())
    }

    /// Signs with this one from now on: its rotation is committed.
    pub fn sign_with(&self, signer: Arc<Signer>) {
        self.signing.store(signer);
    }

    /// Reads the signing key again: another node has rotated it.
    ///
    /// # Errors
    /// The database does not answer, or the key of that version is not there.
    pub async fn reload_signer(
        &self,
        database: &Database,
        version: u32,
    ) -> Result<(), TenantError> {
        let keys = read(database, &self.key).await?;
        let found = keys
            .iter()
            .find(|key| key.purpose == Purpose::LogSigning && key.version == version);
        let found = found.ok_or(TenantError::Corrupt { what: "data key" })?;
        self.sign_with(Arc::new(Signer::of(found)?));
        Ok(())
    }

    /// What seals whatever belongs to no person.
    pub const fn records(&self) -> &DataKeys {
        &self.records
    }

    /// What wraps the keys of content that belongs to no person.
    pub const fn content_wrap(&self) -> &DataKeys {
        &self.content_wrap
    }

    /// The tenant's id, as it stands in every binding.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// What wraps people's keys.
    pub(super) const fn subject_wrap(&self) -> &DataKeys {
        &self.subject_wrap
    }

    /// What signs the log.
    pub fn signing(&self) -> Arc<Signer> {
        self.signing.load_full()
    }

    /// What requests' own keys are looked up by.
    pub const fn blind(&self) -> &BlindIndex {
        &self.blind
    }

    /// The keys as of an index of the log: what is written is bound to the life that the index is of.
    pub fn at(&self, index: u64) -> KeysAt<'_> {
        let life = self.lives.iter().rev().find(|(first, _)| *first <= index);
        KeysAt {
            keys: self,
            incarnation: life.map_or("", |(_, incarnation)| incarnation),
        }
    }
}

/// The data keys as of one index of the log.
#[derive(Debug, Clone, Copy)]
pub struct KeysAt<'a> {
    keys: &'a TenantKeys,
    incarnation: &'a str,
}

impl<'a> KeysAt<'a> {
    /// The place of a value in this tenant's database.
    pub const fn binding(
        self,
        table: &'a str,
        column: &'a str,
        row: &'a str,
        row_version: u64,
    ) -> Binding<'a> {
        Binding {
            tenant: self.keys.tenant.as_str(),
            incarnation: self.incarnation,
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
        self,
        table: &'a str,
        column: &'a str,
        row: &'a str,
        row_version: u64,
        text: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let binding = self.binding(table, column, row, row_version);
        self.keys.records.seal(&binding, Salt::random()?, text)
    }

    /// Opens a value in its place.
    ///
    /// # Errors
    /// It was moved, altered, or sealed under another key.
    pub fn open_value(
        self,
        table: &'a str,
        column: &'a str,
        row: &'a str,
        row_version: u64,
        stored: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let binding = self.binding(table, column, row, row_version);
        self.keys.records.open(&binding, stored)
    }

    /// Opens a long value in its place by its beginning, chunk by chunk.
    ///
    /// # Errors
    /// It was moved, or sealed under another key.
    pub fn opener(
        self,
        table: &'a str,
        column: &'a str,
        row: &'a str,
        row_version: u64,
        start: &[u8],
    ) -> Result<Opener, CryptoError> {
        let binding = self.binding(table, column, row, row_version);
        self.keys.records.opener(&binding, start)
    }
}

async fn read(database: &Database, key: &TenantKey) -> Result<Vec<DataKey>, TenantError> {
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
    Ok(keys)
}
