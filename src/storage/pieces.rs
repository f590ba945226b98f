//! The pieces in which a long value lies in PostgreSQL, read a slice at a time: so little that what is on its way takes no memory to speak
//! of, although it is there several times, as the driver read it and as it is handed on.

use sqlx::{Connection as _, Row as _};
use tokio::task::JoinHandle;

use super::{Database, StorageError};

/// Bytes of a piece.
pub(super) const PIECE: u64 = 1 << 20;
/// Bytes of a slice. A piece is made of whole slices, but for the last one.
pub(super) const SLICE: u64 = 1 << 18;

const READ: &str = "SELECT substring(bytes FROM $3 FOR $4) AS bytes FROM content_piece \
     WHERE version = $1 AND number = $2 LIMIT 1";

/// A slice's bytes; nothing where there is no such piece.
type Slice = Result<Option<Vec<u8>>, StorageError>;

/// A value's pieces, of which the last slice read is held. Where they are read in their order, the next is on its way.
#[derive(Debug)]
pub struct Pieces {
    database: Database,
    name: String,
    held: Option<(u64, Vec<u8>)>,
    next: Option<Next>,
}

#[derive(Debug)]
struct Next {
    number: u64,
    slice: JoinHandle<Slice>,
}

impl Drop for Next {
    fn drop(&mut self) {
        self.slice.abort();
    }
}

impl Pieces {
    pub(super) fn of(database: &Database, name: &str) -> Self {
        Self {
            database: database.clone(),
            name: name.to_owned(),
            held: None,
            next: None,
        }
    }

    /// A slice; nothing behind the last one.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn slice(&mut self, number: u64) -> Result<Option<&[u8]>, StorageError> {
        let before = self.held.as_ref().map(|(held, _)| *held);
        if before != Some(number) {
            let on_its_way = self.next.take().filter(|next| next.number == number);
            let slice = match on_its_way {
                Some(mut next) => (&mut next.slice).await.ok().and_then(Result::ok),
                None => None,
            };
            // Why it could not be read ahead is of no matter: it is read now.
            let slice = match slice {
                Some(slice) => Ok(slice),
                None => read(self.database.clone(), self.name.clone(), number).await,
            };
            self.held = slice?.map(|bytes| (number, bytes));
            // Whoever has read two wants the third: a part of something, or its beginning, is mostly within one.
            let in_order = before.and_then(|before| before.checked_add(1)) == Some(number);
            if in_order && self.held.is_some() {
                let next = number + 1;
                let (database, name) = (self.database.clone(), self.name.clone());
                self.next = Some(Next {
                    number: next,
                    slice: tokio::spawn(read(database, name, next)),
                });
            }
        }
        Ok(self.held.as_ref().map(|(_, bytes)| bytes.as_slice()))
    }
}

async fn read(database: Database, name: String, number: u64) -> Slice {
    let error = |cause| database.error(cause);
    let column = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let at = number.saturating_mul(SLICE);
    let mut connection = database.pool().acquire().await.map_err(error)?;
    let row = sqlx::query(READ)
        .bind(name)
        .bind(column(at / PIECE))
        // The first byte is number 1; both are 32 bits there.
        .bind(i32::try_from(at % PIECE + 1).unwrap_or(i32::MAX))
        .bind(i32::try_from(SLICE).unwrap_or(i32::MAX))
        .fetch_optional(&mut *connection)
        .await
        .map_err(error)?;
    // It would keep room for a slice for as long as it is open.
    connection.shrink_buffers();
    row.map(|row| row.try_get("bytes").map_err(error))
        .transpose()
}
