//! A tenant's data keys, as long as it is open: each wrapped by the tenant key in the tenant's own database.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use sqlx::{Any, Transaction};

use super::TenantError;
use super::ring::{self, Epoch, LEGACY, Ring, Rotation};
use super::roots::{Roots, TRIES};
use super::store::Life;
use crate::crypto::CryptoError;
use crate::crypto::cobblestone::{Opener, Salt};
use crate::crypto::hierarchy::FIRST_EPOCH;
use crate::crypto::hierarchy::Wrapped;
use crate::crypto::sealing::{Binding, DataKey, DataKeys, Purpose, key_version};
use crate::crypto::signing::SigningSeed;
use crate::ids::TenantId;
use crate::storage::Database;

const REMOVE: &str = "DELETE FROM data_key WHERE purpose = $1 AND version <> $2";

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
    id: TenantId,
    tenant: String,
    lives: Vec<(u64, String)>,
    database: Database,
    roots: Arc<Roots>,
    ring: ArcSwap<Ring>,
    signing: ArcSwap<Signer>,
    /// One reads them again at a time, so that what is read later is never replaced by what was read before.
    reading: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for TenantKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TenantKeys")
    }
}

impl TenantKeys {
    /// Opens every key.
    pub(super) async fn open(
        database: Database,
        roots: Arc<Roots>,
        id: TenantId,
        lives: &[Life],
    ) -> Result<Self, TenantError> {
        let mut last = None;
        for _ in 0..TRIES {
            match ring::read(&database, &roots, id, None).await {
                Err(error) if error.is_of_unknown_key() => last = Some(error),
                Err(error) => return Err(error),
                Ok((ring, signing)) => {
                    let lives = lives.iter();
                    return Ok(Self {
                        id,
                        tenant: id.to_string(),
                        lives: lives
                            .map(|life| (life.first, life.incarnation.to_string()))
                            .collect(),
                        database,
                        roots,
                        ring: ArcSwap::from_pointee(ring),
                        signing: ArcSwap::from_pointee(Signer::of(&signing)?),
                        reading: tokio::sync::Mutex::default(),
                    });
                }
            }
        }
        Err(last.unwrap_or(TenantError::Corrupt { what: "data key" }))
    }

    /// Reads every key again: another node has changed them. What signs stays: the head says when that changes.
    pub(super) async fn reload(&self) -> Result<(), TenantError> {
        let _reading = self.reading.lock().await;
        let mut last = None;
        for _ in 0..TRIES {
            let known = Some(Arc::clone(&self.ring.load().key));
            match ring::read(&self.database, &self.roots, self.id, known).await {
                // Keys were wrapped anew between two readings.
                Err(error) if error.is_of_unknown_key() => last = Some(error),
                Err(error) => return Err(error),
                Ok((ring, _)) => {
                    self.ring.store(Arc::new(ring));
                    return Ok(());
                }
            }
        }
        Err(last.unwrap_or(TenantError::Corrupt { what: "data key" }))
    }

    /// The keys at this moment.
    pub(super) fn ring(&self) -> Guard<Arc<Ring>> {
        self.ring.load()
    }

    pub(super) const fn roots(&self) -> &Arc<Roots> {
        &self.roots
    }

    /// The place of a value of this tenant's in a life of its log; keys outlive them, and are of none.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// At which count of the head's `keys_version` the keys in memory were read.
    pub fn label(&self) -> u64 {
        self.ring.load().label
    }

    /// The log's next signing key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn next_signer(&self) -> Result<NextSigner, CryptoError> {
        let version = self.signing().version.saturating_add(1);
        let ring = self.ring.load();
        let (key, wrapped) = ring.key.create_data_key(Purpose::LogSigning, version)?;
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
        transaction: &mut Transaction<'_, Any>,
        next: &NextSigner,
    ) -> Result<(), TenantError> {
        let version = next.signer.version;
        let key = (Purpose::LogSigning, version);
        ring::write(&self.database, transaction, key, &next.wrapped).await?;
        sqlx::query(REMOVE)
            .bind(Purpose::LogSigning.name())
            .bind(i64::from(version))
            .execute(&mut **transaction)
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }

    /// Signs with this one from now on: its rotation is committed.
    pub fn sign_with(&self, signer: Arc<Signer>) {
        self.signing.store(signer);
    }

    /// Reads the signing key again: another node has rotated it.
    ///
    /// # Errors
    /// The database does not answer, or the key of that version is not there.
    pub async fn reload_signer(&self, version: u32) -> Result<(), TenantError> {
        // It may lie under a tenant key that was made since.
        self.reload().await?;
        let key = Arc::clone(&self.ring.load().key);
        let keys = ring::data_keys(&self.database, &key).await?;
        let found = keys
            .iter()
            .find(|key| key.purpose == Purpose::LogSigning && key.version == version);
        let found = found.ok_or(TenantError::Corrupt { what: "data key" })?;
        self.sign_with(Arc::new(Signer::of(found)?));
        Ok(())
    }

    /// What signs the log.
    pub fn signing(&self) -> Arc<Signer> {
        self.signing.load_full()
    }

    /// What a request's own key is looked up by, in each version that a reply may be found by: the newest, which new ones are, first.
    /// Where a sign-in is begun from is counted by the newest.
    pub fn blind(&self, normalised: &str) -> Vec<(u32, [u8; 16])> {
        let ring = self.ring.load();
        let each = ring.blind.iter();
        each.map(|(version, index)| (*version, index.of(normalised)))
            .collect()
    }

    /// The versions of a key that are held: the newest, which is used, last.
    pub fn versions(&self, purpose: Purpose) -> Vec<u32> {
        match purpose {
            Purpose::LogSigning => vec![self.signing().version],
            purpose => self.ring.load().versions(purpose),
        }
    }

    /// The epochs of the log whose keys are held, oldest first.
    pub fn epochs(&self) -> Vec<Epoch> {
        self.ring.load().epochs.clone()
    }

    /// The rotations that are under way.
    pub fn rotations(&self) -> Vec<Rotation> {
        self.ring.load().rotations.clone()
    }

    /// Whether the rotation of a key is under way.
    pub fn rotates(&self, purpose: Purpose) -> bool {
        self.ring.load().rotation(purpose).is_some()
    }

    /// The version of the records key that is kept for segments of before there were epochs, until they are pruned.
    pub fn kept_for_segments(&self) -> Option<u32> {
        let ring = self.ring.load();
        let is_older = ring.records.newest().version > LEGACY;
        let is_rotating = ring.rotation(Purpose::Records).is_some();
        (is_older && !is_rotating && ring.records.version(LEGACY).is_ok()).then_some(LEGACY)
    }

    /// The keys as of an index of the log: what is written is bound to the life that the index is of.
    pub fn at(&self, index: u64) -> KeysAt<'_> {
        KeysAt {
            tenant: &self.tenant,
            ring: self.ring.load(),
            incarnation: self.incarnation(index),
        }
    }

    /// The life that an index of the log is of.
    pub(super) fn incarnation(&self, index: u64) -> &str {
        let life = self.lives.iter().rev().find(|(first, _)| *first <= index);
        life.map_or("", |(_, incarnation)| incarnation)
    }
}

/// The data keys as of one index of the log.
pub struct KeysAt<'a> {
    tenant: &'a str,
    ring: Guard<Arc<Ring>>,
    incarnation: &'a str,
}

impl std::fmt::Debug for KeysAt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeysAt")
    }
}

impl<'a> KeysAt<'a> {
    /// The place of a value in this tenant's database.
    pub const fn binding<'b>(
        &self,
        table: &'b str,
        column: &'b str,
        row: &'b str,
        row_version: u64,
    ) -> Binding<'b>
    where
        'a: 'b,
    {
        Binding {
            tenant: self.tenant,
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
        &self,
        table: &str,
        column: &str,
        row: &str,
        row_version: u64,
        text: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let binding = self.binding(table, column, row, row_version);
        self.ring.records.seal(&binding, Salt::random()?, text)
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
        let binding = self.binding(table, column, row, row_version);
        self.ring.records.open(&binding, stored)
    }

    /// What wraps the keys of content that belongs to no person.
    pub fn content_wrap(&self) -> &DataKeys {
        &self.ring.content_wrap
    }

    /// What seals segments, and parts of entries that are about no person: the key of the newest epoch.
    pub fn of_log(&self) -> &DataKeys {
        self.ring.of_log()
    }

    /// What a stored segment, or a part of an entry, was sealed under: the key of its epoch, or the records key of before there were epochs.
    ///
    /// # Errors
    /// An epoch that is not known here yet, or whose key is gone.
    pub fn of_stored(&self, stored: &[u8]) -> Result<&DataKeys, CryptoError> {
        self.ring.of_stored(stored)
    }

    /// Seals the column of a segment.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn seal_log(&self, column: &str, row: &str, text: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let binding = self.binding("segment", column, row, 0);
        self.of_log().seal(&binding, Salt::random()?, text)
    }

    /// Opens it.
    ///
    /// # Errors
    /// It was moved, altered, or sealed under another key.
    pub fn open_log(&self, column: &str, row: &str, stored: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let binding = self.binding("segment", column, row, 0);
        self.of_stored(stored)?.open(&binding, stored)
    }

    /// Opens it by its beginning, chunk by chunk.
    ///
    /// # Errors
    /// It was moved, or sealed under another key.
    pub fn log_opener(&self, column: &str, row: &str, start: &[u8]) -> Result<Opener, CryptoError> {
        let binding = self.binding("segment", column, row, 0);
        self.of_stored(start)?.opener(&binding, start)
    }
}

/// Whether an epoch key has sealed this.
///
/// # Errors
/// It is no stored value.
pub fn is_of_an_epoch(stored: &[u8]) -> Result<bool, CryptoError> {
    Ok(key_version(stored)? >= FIRST_EPOCH)
}
