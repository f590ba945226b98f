//! The pieces in which a long value lies in PostgreSQL, read one after the other.

use sqlx::{Connection as _, Row as _};
use tokio::task::JoinHandle;

use super::{Database, StorageError};

const READ: &str = "SELECT bytes FROM content_piece WHERE version = $1 AND number = $2 LIMIT 1";

/// A piece's bytes; nothing where there is no such piece.
type Piece = Result<Option<Vec<u8>>, StorageError>;

/// A value's pieces, of which the last one read is held. Where they are read in their order, the next is on its way.
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
    piece: JoinHandle<Piece>,
}

impl Drop for Next {
    fn drop(&mut self) {
        self.piece.abort();
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

    /// A piece; nothing behind the last one.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn piece(&mut self, number: u64) -> Result<Option<&[u8]>, StorageError> {
        let before = self.held.as_ref().map(|(held, _)| *held);
        if before != Some(number) {
            let on_its_way = self.next.take().filter(|next| next.number == number);
            let piece = match on_its_way {
                Some(mut next) => (&mut next.piece).await.ok().and_then(Result::ok),
                None => None,
            };
            // Why it could not be read ahead is of no matter: it is read now.
            let piece = match piece {
                Some(piece) => Ok(piece),
                None => read(self.database.clone(), self.name.clone(), number).await,
            };
            self.held = piece?.map(|bytes| (number, bytes));
            // Whoever has read two wants the third: a part of something, or its beginning, is mostly within one.
            let in_order = before.and_then(|before| before.checked_add(1)) == Some(number);
            if in_order && self.held.is_some() {
                let next = number + 1;
                let (database, name) = (self.database.clone(), self.name.clone());
                self.next = Some(Next {
                    number: next,
                    piece: tokio::spawn(read(database, name, next)),
                });
            }
        }
        Ok(self.held.as_ref().map(|(_, bytes)| bytes.as_slice()))
    }
}

async fn read(database: Database, name: String, number: u64) -> Piece {
    let error = |cause| database.error(cause);
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let mut connection = database.pool().acquire().await.map_err(error)?;
    let row = sqlx::query(READ)
        .bind(name)
        .bind(number)
        .fetch_optional(&mut *connection)
        .await
        .map_err(error)?;
    // It would keep room for a piece for as long as it is open.
    connection.shrink_buffers();
    row.map(|row| row.try_get("bytes").map_err(error))
        .transpose()
}
