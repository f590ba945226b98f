//! Rotations of a tenant's keys in its database: begun, gone on with step by step, and ended.
//!
//! Whoever changes keys holds the head's lock and the lock of the keys, and raises the head's `keys_version`: from then on nobody writes
//! under the keys before.

use sqlx::{Any, Row as _, Transaction};

use super::TenantError;
use super::ring::{self, ADD_EPOCH, LEGACY, Rotation};
use super::sealed::{At, Column};
use super::store::Store;
use crate::crypto::CryptoError;
use crate::crypto::hierarchy::{FIRST_EPOCH, Wrapped, create_epoch_key};
use crate::crypto::sealing::{DataKeys, Purpose};

const BEGIN: &str = "INSERT INTO rotation (purpose, old_version, new_version, step, after_text, after_number) \
     VALUES ($1, $2, $3, 0, '', -1)";
const GO_ON: &str = "UPDATE rotation SET step = $1, after_text = $2, after_number = $3 \
     WHERE purpose = $4 AND new_version = $5";
const REWRAPPED: &str =
    "UPDATE rotation SET step = 1 WHERE purpose = $1 AND new_version = $2 AND step = 0";
const END: &str = "DELETE FROM rotation WHERE purpose = $1";
const DESTROY: &str = "DELETE FROM data_key WHERE purpose = $1 AND version < $2";
const DESTROY_BUT: &str =
    "DELETE FROM data_key WHERE purpose = $1 AND version < $2 AND version <> $3";
const DESTROY_ONE: &str = "DELETE FROM data_key WHERE purpose = $1 AND version = $2";
const OLDER_SEGMENTS: &str = "SELECT 1 AS found FROM segment WHERE first_index < (SELECT MIN(first_index) FROM epoch) LIMIT 1";
const DESTROY_EPOCHS: &str =
    "DELETE FROM epoch WHERE version < (SELECT MAX(version) FROM epoch WHERE first_index <= $1)";
const REWRAP: &str = "UPDATE data_key SET wrapped = $1 WHERE purpose = $2 AND version = $3";
const CHECK: &str = "UPDATE tenant SET key_check = $1 WHERE one = 1";
const CHANGED: &str = "UPDATE head SET keys_version = keys_version + 1 WHERE one = 1";
const KEYS_VERSION: &str = "SELECT keys_version FROM head WHERE one = 1";

/// How many rows are sealed again in one transaction: the log's appender waits no longer for it than for a batch.
const ROWS: i64 = 64;

/// A key that follows another, which no row holds yet.
#[derive(Debug)]
pub struct NewKey {
    purpose: Purpose,
    old: u32,
    new: u32,
    /// Nothing for a tenant key, which lies elsewhere.
    wrapped: Option<Wrapped>,
    /// The epoch that begins with it.
    epoch: Option<(u32, Wrapped)>,
}

impl NewKey {
    /// The version before, 0 where there was none, and its own, as they are counted from 1.
    #[must_use]
    pub const fn versions(&self) -> (u32, u32) {
        match self.purpose {
            Purpose::Epoch => (number(self.old), number(self.new)),
            _ => (self.old, self.new),
        }
    }
}

const fn number(epoch: u32) -> u32 {
    (epoch + 1).saturating_sub(FIRST_EPOCH)
}

impl Store {
    /// Makes the key that follows the present one.
    ///
    /// # Errors
    /// The system has no randomness, or the key does not rotate like this.
    pub fn next_key(&self, purpose: Purpose) -> Result<NewKey, TenantError> {
        let ring = self.keys.ring();
        let newest = ring.versions(purpose).last().copied();
        let old = match purpose {
            Purpose::Epoch => newest.unwrap_or_default(),
            purpose => newest.ok_or(CryptoError::WrongPurpose {
                found: purpose,
                wanted: "a key that is rotated",
            })?,
        };
        let new = old.max(match purpose {
            Purpose::Epoch => FIRST_EPOCH - 1,
            _ => 0,
        }) + 1;
        let made = match purpose {
            Purpose::DataWrap | Purpose::Epoch => None,
            purpose => Some(ring.key.create_data_key(purpose, new)?),
        };
        let epoch = |records: &DataKeys| {
            let last = ring
                .epochs
                .last()
                .map_or(FIRST_EPOCH - 1, |epoch| epoch.version);
            let (_, wrapped) = create_epoch_key(records, self.keys.tenant(), last + 1)?;
            Ok::<_, TenantError>((last + 1, wrapped))
        };
        let (wrapped, epoch) = match (purpose, made) {
            (Purpose::Epoch, _) => (None, Some(epoch(&ring.records)?)),
            // What the old key has wrapped seals nothing any more.
            (Purpose::Records, Some((key, wrapped))) => {
                (Some(wrapped), Some(epoch(&DataKeys::new(key)?)?))
            }
            (_, made) => (made.map(|(_, wrapped)| wrapped), None),
        };
        Ok(NewKey {
            purpose,
            old,
            new,
            wrapped,
            epoch,
        })
    }

    /// Writes a key that follows another, in the transaction that has the head's lock: from then on it is used, by whoever writes after that
    /// transaction. An epoch begins with the entry of that index.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn write_key(
        &self,
        transaction: &mut Transaction<'_, Any>,
        key: &NewKey,
        first: u64,
    ) -> Result<(), TenantError> {
        let error = |cause| self.database.error(cause);
        self.lock_keys(transaction).await?;
        if let Some(wrapped) = &key.wrapped {
            ring::write(&self.database, transaction, (key.purpose, key.new), wrapped).await?;
        }
        if let Some((version, wrapped)) = &key.epoch {
            let first = i64::try_from(first).map_err(|_| TenantError::Corrupt { what: "epoch" })?;
            sqlx::query(ADD_EPOCH)
                .bind(i64::from(*version))
                .bind(first)
                .bind(wrapped.sealed.as_slice())
                .bind(wrapped.check.as_bytes().as_slice())
                .execute(&mut **transaction)
                .await
                .map_err(error)?;
        }
        // What an epoch's key has sealed is never written again.
        if key.purpose != Purpose::Epoch {
            sqlx::query(BEGIN)
                .bind(key.purpose.name())
                .bind(i64::from(key.old))
                .bind(i64::from(key.new))
                .execute(&mut **transaction)
                .await
                .map_err(error)?;
        }
        Ok(())
    }

    /// Ends a rotation in the transaction that has the head's lock: the versions before the newest are destroyed.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn write_end(
        &self,
        transaction: &mut Transaction<'_, Any>,
        rotation: &Rotation,
    ) -> Result<(), TenantError> {
        let error = |cause| self.database.error(cause);
        self.lock_keys(transaction).await?;
        let (name, new) = (rotation.purpose.name(), i64::from(rotation.new));
        let keeps = rotation.purpose == Purpose::Records
            && sqlx::query(OLDER_SEGMENTS)
                .fetch_optional(&mut **transaction)
                .await
                .map_err(error)?
                .is_some();
        let destroy = if keeps {
            sqlx::query(DESTROY_BUT)
                .bind(name)
                .bind(new)
                .bind(i64::from(LEGACY))
        } else {
            sqlx::query(DESTROY).bind(name).bind(new)
        };
        destroy.execute(&mut **transaction).await.map_err(error)?;
        sqlx::query(END)
            .bind(name)
            .execute(&mut **transaction)
            .await
            .map(|_| ())
            .map_err(|cause| error(cause).into())
    }

    /// The rotations that are under way, as far as they have come by now.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn rotations(&self) -> Result<Vec<Rotation>, TenantError> {
        ring::rotations(&self.database).await
    }

    /// The rotation of a key that is under way, as it was when the keys were read.
    pub fn rotation(&self, purpose: Purpose) -> Option<Rotation> {
        self.keys.ring().rotation(purpose).cloned()
    }

    /// Seals a bounded piece of what lies under the old version again; whether nothing is left.
    ///
    /// # Errors
    /// A value does not open: the rotation goes on once it does. Or the database does not answer.
    pub async fn seal_again(&self, rotation: &mut Rotation) -> Result<bool, TenantError> {
        let columns: Vec<_> = Column::under(rotation.purpose).collect();
        let step = usize::try_from(rotation.step).unwrap_or(0);
        let Some(column) = columns.get(step) else {
            for column in columns {
                if column.has_others(self, rotation.new).await? {
                    // Whatever it was, it is looked for again.
                    rotation.step = 0;
                    rotation.after = (String::new(), -1);
                    self.go_on(rotation).await?;
                    return Ok(false);
                }
            }
            return Ok(true);
        };
        let after = At::of(rotation.after.0.clone(), rotation.after.1);
        match column.seal_again(self, &after, ROWS).await? {
            Some(last) => {
                let (text, number) = last.parts();
                rotation.after = (text.to_owned(), number);
            }
            None => {
                rotation.step += 1;
                rotation.after = (String::new(), -1);
            }
        }
        self.go_on(rotation).await?;
        Ok(false)
    }

    /// Remembers how far a rotation has come. Two nodes that do so at once may go back a little, and then do some of it again.
    async fn go_on(&self, rotation: &Rotation) -> Result<(), TenantError> {
        sqlx::query(GO_ON)
            .bind(rotation.step)
            .bind(rotation.after.0.as_str())
            .bind(rotation.after.1)
            .bind(rotation.purpose.name())
            .bind(i64::from(rotation.new))
            .execute(self.database.pool())
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }

    /// A step of the rotation of the tenant key; whether nothing is left.
    ///
    /// First the control database keeps the next version beside the present one, then every data key is wrapped under it and the check value
    /// replaced, in one transaction; then the present one leaves the control database.
    ///
    /// # Errors
    /// Either database does not answer.
    pub async fn rewrap(&self, rotation: &Rotation) -> Result<bool, TenantError> {
        if rotation.step > 0 {
            self.keys.roots().promote(self.id(), rotation.new).await?;
            return Ok(true);
        }
        let next = self.keys.roots().prepare(self.id(), rotation.new).await?;
        let error = |cause| self.database.error(cause);
        let present = std::sync::Arc::clone(&self.keys.ring().key);
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        self.change_keys(&mut transaction).await?;
        let done = sqlx::query(REWRAPPED)
            .bind(rotation.purpose.name())
            .bind(i64::from(rotation.new))
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        if done.rows_affected() == 0 {
            // Another node was quicker.
            transaction.rollback().await.map_err(error)?;
            self.reload_keys().await?;
            return Ok(false);
        }
        let keys = ring::data_keys_within(&self.database, &mut transaction, &present).await?;
        for key in keys {
            let wrapped = next.wrap_data_key(&key)?;
            sqlx::query(REWRAP)
                .bind(wrapped.sealed)
                .bind(key.purpose.name())
                .bind(i64::from(key.version))
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
        }
        sqlx::query(CHECK)
            .bind(next.check_value().as_bytes().as_slice())
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        transaction.commit().await.map_err(error)?;
        self.reload_keys().await?;
        Ok(false)
    }

    /// Destroys the keys of epochs that lie below an index whole, whose segments are gone, and the records key that was kept for segments of
    /// before there were epochs, once the first epoch lies below it.
    ///
    /// # Errors
    /// The database does not take it.
    pub async fn destroy_pruned_keys(&self, minimum: u64) -> Result<(), TenantError> {
        let (epochs, legacy) = {
            let ring = self.keys.ring();
            let begun = ring.epochs.iter().filter(|epoch| epoch.first <= minimum);
            (begun.count(), self.keys.kept_for_segments())
        };
        if epochs < 2 && (epochs == 0 || legacy.is_none()) {
            return Ok(());
        }
        let error = |cause| self.database.error(cause);
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        self.change_keys(&mut transaction).await?;
        let first = i64::try_from(minimum).map_err(|_| TenantError::Corrupt { what: "minimum" })?;
        sqlx::query(DESTROY_EPOCHS)
            .bind(first)
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        if let Some(version) = legacy {
            let needed = sqlx::query(OLDER_SEGMENTS)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(error)?;
            if needed.is_none() {
                sqlx::query(DESTROY_ONE)
                    .bind(Purpose::Records.name())
                    .bind(i64::from(version))
                    .execute(&mut *transaction)
                    .await
                    .map_err(error)?;
            }
        }
        transaction.commit().await.map_err(error)?;
        self.reload_keys().await
    }

    /// For a transaction that writes what was sealed outside of the head's lock: whether the keys are those that were in memory at this
    /// [`label`](super::TenantKeys::label), taken ahead of the sealing. They stay so until the transaction ends.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn hold_keys(
        &self,
        transaction: &mut Transaction<'_, Any>,
        label: u64,
    ) -> Result<bool, TenantError> {
        let error = |cause| self.database.error(cause);
        sqlx::query(self.database.dialect().keys_share())
            .fetch_one(&mut **transaction)
            .await
            .map_err(error)?;
        let row = sqlx::query(KEYS_VERSION)
            .fetch_one(&mut **transaction)
            .await
            .map_err(error)?;
        let found: i64 = row.try_get("keys_version").map_err(error)?;
        Ok(u64::try_from(found) == Ok(label))
    }

    async fn lock_keys(&self, transaction: &mut Transaction<'_, Any>) -> Result<(), TenantError> {
        sqlx::query(self.database.dialect().keys_lock())
            .fetch_one(&mut **transaction)
            .await
            .map(|_| ())
            .map_err(|cause| self.database.error(cause).into())
    }

    /// Locks head and keys, and says that these are others from here on.
    async fn change_keys(&self, transaction: &mut Transaction<'_, Any>) -> Result<(), TenantError> {
        sqlx::query(CHANGED)
            .execute(&mut **transaction)
            .await
            .map_err(|cause| self.database.error(cause))?;
        self.lock_keys(transaction).await
    }
}
