//! The one list of what is sealed under keys that rotate, by column; and sealing it again under the newest version.
//!
//! Segments are not in it: their keys are wrapped, and these wraps are. Nor is what people's keys have sealed, which are wrapped likewise.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::TenantError;
use super::keys::TenantKeys;
use super::store::Store;
use crate::crypto::CryptoError;
use crate::crypto::cobblestone::Salt;
use crate::crypto::hierarchy::{epoch_binding, subject_binding};
use crate::crypto::sealing::{Binding, FORMAT, Purpose};

/// How many entries a block of the search index is of.
pub const BLOCK: u64 = 1_024;

/// A column whose values are sealed under a key that rotates.
#[derive(Debug)]
pub struct Column {
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What the key is for.
    pub purpose: Purpose,
    /// What its rows are found by.
    by: By,
    /// What a value is bound to.
    place: Place,
    /// Its rows after one, in order, `LIMIT` many: the key of each and the value.
    page: &'static str,
    /// Puts another value in place of one.
    replace: &'static str,
    /// One whose value does not begin with these bytes.
    others: &'static str,
    /// Takes a value away that no key opens any more, where it is worth nothing by then; elsewhere that holds up the rotation.
    passing: Option<&'static str>,
}

/// What the values of a column are bound to, beside table, column and row.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The index of the log that is the row's number, which is the row's version too.
    State,
    /// The block of the search index that is the row's number.
    Block,
    /// The size of the log that is the row's number.
    Anchor,
    /// The log's first life, whatever life it is given in.
    Reply,
    /// The resource and the version that the row's text is, of the index of the log that is its number.
    Content,
    /// Nothing: it is the key of an epoch.
    Epoch,
    /// Nothing: it is the key of a person.
    Subject,
}

/// What the rows of a table are found by.
#[derive(Debug, Clone, Copy)]
enum By {
    /// A text.
    Text,
    /// A number.
    Number,
    /// A text and a number.
    Both,
    /// Bytes, which are a text here in hexadecimal.
    Bytes,
    /// The name of a version of content; the number and the resource tell its place.
    Version,
}

/// A row, by what it is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    text: String,
    number: i64,
    /// The resource of a version of content, where it was read.
    resource: String,
}

/// A value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where.
    pub at: At,
    /// The sealed bytes.
    pub value: Vec<u8>,
}

/// A value, and what it is sealed as again.
type Anew = (Stored, Vec<u8>);

/// A value that goes, and the statement that takes it away.
type Gone = (Stored, &'static str);

/// Every column that a rotation seals again.
pub const COLUMNS: &[Column] = &[
    Column {
        table: "state",
        name: "body",
        purpose: Purpose::Records,
        by: By::Both,
        place: Place::State,
        page: "SELECT id AS a_text, from_index AS a_number, body AS value FROM state \
             WHERE id > $1 OR (id = $1 AND from_index > $2) ORDER BY id, from_index LIMIT $3",
        replace: "UPDATE state SET body = $1 WHERE id = $2 AND from_index = $3 AND body = $4",
        others: "SELECT 1 AS found FROM state WHERE SUBSTR(body, 1, 5) <> $1 LIMIT 1",
        passing: None,
    },
    Column {
        table: "search_block",
        name: "filter",
        purpose: Purpose::Records,
        by: By::Number,
        place: Place::Block,
        page: "SELECT block AS a_number, filter AS value FROM search_block WHERE block > $1 ORDER BY block LIMIT $2",
        replace: "UPDATE search_block SET filter = $1 WHERE block = $2 AND filter = $3",
        others: "SELECT 1 AS found FROM search_block WHERE SUBSTR(filter, 1, 5) <> $1 LIMIT 1",
        passing: None,
    },
    Column {
        table: "search_block",
        name: "pairs",
        purpose: Purpose::Records,
        by: By::Number,
        place: Place::Block,
        page: "SELECT block AS a_number, pairs AS value FROM search_block WHERE block > $1 ORDER BY block LIMIT $2",
        replace: "UPDATE search_block SET pairs = $1 WHERE block = $2 AND pairs = $3",
        others: "SELECT 1 AS found FROM search_block WHERE SUBSTR(pairs, 1, 5) <> $1 LIMIT 1",
        passing: None,
    },
    Column {
        table: "idempotency",
        name: "reply",
        purpose: Purpose::Records,
        by: By::Bytes,
        place: Place::Reply,
        page: "SELECT key AS a_key, reply AS value FROM idempotency WHERE key > $1 ORDER BY key LIMIT $2",
        replace: "UPDATE idempotency SET reply = $1 WHERE key = $2 AND reply = $3",
        others: "SELECT 1 AS found FROM idempotency WHERE SUBSTR(reply, 1, 5) <> $1 LIMIT 1",
        passing: None,
    },
    Column {
        table: "arrival",
        name: "body",
        purpose: Purpose::Records,
        by: By::Bytes,
        place: Place::Reply,
        page: "SELECT id AS a_key, body AS value FROM arrival WHERE id > $1 ORDER BY id LIMIT $2",
        replace: "UPDATE arrival SET body = $1 WHERE id = $2 AND body = $3",
        others: "SELECT 1 AS found FROM arrival WHERE SUBSTR(body, 1, 5) <> $1 LIMIT 1",
        passing: Some("DELETE FROM arrival WHERE id = $1 AND body = $2"),
    },
    Column {
        table: "anchor",
        name: "salt",
        purpose: Purpose::Records,
        by: By::Number,
        place: Place::Anchor,
        page: "SELECT size AS a_number, salt AS value FROM anchor WHERE size > $1 ORDER BY size LIMIT $2",
        replace: "UPDATE anchor SET salt = $1 WHERE size = $2 AND salt = $3",
        others: "SELECT 1 AS found FROM anchor WHERE SUBSTR(salt, 1, 5) <> $1 LIMIT 1",
        passing: None,
    },
    Column {
        table: "epoch",
        name: "wrapped",
        purpose: Purpose::Records,
        by: By::Number,
        place: Place::Epoch,
        page: "SELECT version AS a_number, wrapped AS value FROM epoch WHERE version > $1 ORDER BY version LIMIT $2",
        replace: "UPDATE epoch SET wrapped = $1 WHERE version = $2 AND wrapped = $3",
        others: "SELECT 1 AS found FROM epoch WHERE SUBSTR(wrapped, 1, 5) <> $1 LIMIT 1",
        passing: None,
    },
    Column {
        table: "content",
        name: "wrapped",
        purpose: Purpose::ContentWrap,
        by: By::Version,
        place: Place::Content,
        page: "SELECT version AS a_text, from_index AS a_number, resource AS a_resource, wrapped AS value FROM content \
             WHERE subject = '' AND version > $1 ORDER BY version LIMIT $2",
        replace: "UPDATE content SET wrapped = $1 WHERE version = $2 AND wrapped = $3",
        others: "SELECT 1 AS found FROM content WHERE subject = '' AND SUBSTR(wrapped, 1, 5) <> $1 LIMIT 1",
        passing: None,
    },
    Column {
        table: "subject_key",
        name: "wrapped",
        purpose: Purpose::SubjectWrap,
        by: By::Text,
        place: Place::Subject,
        page: "SELECT subject AS a_text, wrapped AS value FROM subject_key WHERE subject > $1 ORDER BY subject LIMIT $2",
        replace: "UPDATE subject_key SET wrapped = $1 WHERE subject = $2 AND wrapped = $3",
        others: "SELECT 1 AS found FROM subject_key WHERE SUBSTR(wrapped, 1, 5) <> $1 LIMIT 1",
        passing: None,
    },
];

impl At {
    /// Ahead of every row.
    #[must_use]
    pub const fn beginning() -> Self {
        Self {
            text: String::new(),
            number: -1,
            resource: String::new(),
        }
    }

    pub(super) const fn of(text: String, number: i64) -> Self {
        Self {
            text,
            number,
            resource: String::new(),
        }
    }

    pub(super) fn parts(&self) -> (&str, i64) {
        (&self.text, self.number)
    }

    fn bytes(&self) -> Result<Vec<u8>, TenantError> {
        let bytes = data_encoding::HEXLOWER.decode(self.text.as_bytes());
        bytes.map_err(|_| TenantError::Corrupt { what: "rotation" })
    }
}

impl Column {
    /// The columns that are sealed under a key.
    pub fn under(purpose: Purpose) -> impl Iterator<Item = &'static Self> {
        COLUMNS
            .iter()
            .filter(move |column| column.purpose == purpose)
    }

    /// The values after a row, in order, `limit` at most.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn page(
        &self,
        store: &Store,
        after: &At,
        limit: i64,
    ) -> Result<Vec<Stored>, TenantError> {
        let query = sqlx::query(self.page);
        let query = match self.by {
            By::Text | By::Version => query.bind(after.text.clone()),
            By::Number => query.bind(after.number),
            By::Both => query.bind(after.text.clone()).bind(after.number),
            By::Bytes => query.bind(after.bytes()?),
        };
        let rows = query.bind(limit).fetch_all(store.database().pool()).await;
        let rows = rows.map_err(|cause| store.database().error(cause))?;
        rows.iter().map(|row| self.read(store, row)).collect()
    }

    fn read(&self, store: &Store, row: &AnyRow) -> Result<Stored, TenantError> {
        let error = |cause| store.database().error(cause);
        let mut at = At::beginning();
        if matches!(self.by, By::Version) {
            at.resource = row.try_get("a_resource").map_err(error)?;
        }
        if matches!(self.by, By::Text | By::Both | By::Version) {
            at.text = row.try_get("a_text").map_err(error)?;
        }
        if matches!(self.by, By::Number | By::Both | By::Version) {
            at.number = row.try_get("a_number").map_err(error)?;
        }
        if matches!(self.by, By::Bytes) {
            let key: Vec<u8> = row.try_get("a_key").map_err(error)?;
            at.text = data_encoding::HEXLOWER.encode(&key);
        }
        Ok(Stored {
            at,
            value: row.try_get("value").map_err(error)?,
        })
    }

    /// Does something with the place of a row's value.
    fn placed<T>(
        &self,
        keys: &TenantKeys,
        at: &At,
        then: impl FnOnce(&Binding<'_>) -> Result<T, CryptoError>,
    ) -> Result<T, TenantError> {
        let corrupt = || TenantError::Corrupt { what: "row" };
        let number = u64::try_from(at.number);
        let number = number.or_else(|_| match self.by {
            By::Text | By::Bytes => Ok(0),
            By::Number | By::Both | By::Version => Err(corrupt()),
        })?;
        let text = number.to_string();
        let content;
        let (index, row, version) = match self.place {
            Place::Content => {
                content = format!("{}/{}", at.resource, at.text);
                (number, content.as_str(), 0)
            }
            Place::Epoch => return Ok(then(&epoch_binding(keys.tenant(), &text))?),
            Place::Subject => return Ok(then(&subject_binding(keys.tenant(), &at.text))?),
            Place::State => (number, at.text.as_str(), number),
            Place::Block => (number.saturating_mul(BLOCK), text.as_str(), 0),
            Place::Anchor => (number.saturating_sub(1), text.as_str(), 0),
            Place::Reply => (0, at.text.as_str(), 0),
        };
        let binding = Binding {
            tenant: keys.tenant(),
            incarnation: keys.incarnation(index),
            table: self.table,
            column: self.name,
            row,
            row_version: version,
        };
        Ok(then(&binding)?)
    }

    /// Opens a value as if it lay at this row of the column.
    ///
    /// # Errors
    /// It does not lie there, or was altered.
    pub fn open(&self, store: &Store, at: &At, value: &[u8]) -> Result<Vec<u8>, TenantError> {
        let ring = store.keys().ring();
        let keys = ring.of(self.purpose)?;
        self.placed(store.keys(), at, |binding| keys.open(binding, value))
    }

    /// Seals the values after a row again, as far as they are not under the newest version, `limit` rows at most; the last of these rows,
    /// nothing where there are no more. What somebody else writes meanwhile is as new.
    ///
    /// # Errors
    /// A value does not open, or the database does not answer.
    pub async fn seal_again(
        &self,
        store: &Store,
        after: &At,
        limit: i64,
    ) -> Result<Option<At>, TenantError> {
        let database = store.database();
        let error = |cause| database.error(cause);
        let page = self.page(store, after, limit).await?;
        let Some(last) = page.last().map(|stored| stored.at.clone()) else {
            return Ok(None);
        };
        let (anew, gone) = self.anew(store, page)?;
        if anew.is_empty() && gone.is_empty() {
            return Ok(Some(last));
        }
        let mut connection = database.connect().await?;
        let mut transaction = database.begin(&mut connection).await?;
        for (stored, again) in anew {
            let query = sqlx::query(self.replace).bind(again);
            let query = match self.by {
                By::Text | By::Version => query.bind(stored.at.text),
                By::Number => query.bind(stored.at.number),
                By::Both => query.bind(stored.at.text).bind(stored.at.number),
                By::Bytes => query.bind(stored.at.bytes()?),
            };
            query
                .bind(stored.value)
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
        }
        for (stored, sql) in gone {
            sqlx::query(sql)
                .bind(stored.at.bytes()?)
                .bind(stored.value)
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
        }
        transaction.commit().await.map_err(error)?;
        Ok(Some(last))
    }

    /// Those that are not under the newest version, sealed again; and those that no key opens any more, each with what takes it away.
    fn anew(
        &self,
        store: &Store,
        page: Vec<Stored>,
    ) -> Result<(Vec<Anew>, Vec<Gone>), TenantError> {
        let ring = store.keys().ring();
        let keys = ring.of(self.purpose)?;
        let newest = keys.newest().version;
        let (mut anew, mut gone) = (Vec::new(), Vec::new());
        for stored in page {
            let salt = Salt::random()?;
            let again = self.placed(store.keys(), &stored.at, |binding| {
                keys.reseal(binding, salt, &stored.value)
            });
            match (again, self.passing) {
                (Ok(again), _) => anew.extend(again.map(|again| (stored, again))),
                // A version before the newest that is not there was destroyed; one after it is not known here yet.
                (
                    Err(TenantError::Crypto(CryptoError::UnknownVersion { version, .. })),
                    Some(sql),
                ) if version < newest => gone.push((stored, sql)),
                (Err(error), _) => return Err(error),
            }
        }
        Ok((anew, gone))
    }

    /// Whether a value of the column is under another version than this.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn has_others(&self, store: &Store, version: u32) -> Result<bool, TenantError> {
        let mut prefix = vec![FORMAT];
        prefix.extend_from_slice(&version.to_be_bytes());
        let row = sqlx::query(self.others)
            .bind(prefix)
            .fetch_optional(store.database().pool())
            .await
            .map_err(|cause| store.database().error(cause))?;
        Ok(row.is_some())
    }
}
