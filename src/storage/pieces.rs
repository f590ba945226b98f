//! The pieces in which a long value lies in PostgreSQL, read some slices at a time: so little that what is on its way takes no memory to
//! speak of, although it is there several times, as the driver read it and as it is handed on.

use sqlx::{Connection as _, Row as _};
use tokio::task::JoinHandle;

use super::{Database, StorageError};

/// Bytes of a piece.
pub(super) const PIECE: u64 = 1 << 20;
/// Bytes of a slice. A piece is made of whole slices, but for the last one. The allocator keeps room for larger ones to itself.
pub(super) const SLICE: u64 = 1 << 16;

/// Slices that are read at once by whoever reads them in their order, within one piece.
const AT_ONCE: u64 = 8;

const READ: &str = "SELECT substring(bytes FROM place FOR $5) AS bytes \
     FROM content_piece, generate_series($3, $4, $5) AS place \
     WHERE version = $1 AND number = $2 ORDER BY place LIMIT 16";

/// Slices that follow one another, from the one of this number on.
#[derive(Debug)]
struct Run {
    first: u64,
    slices: Vec<Vec<u8>>,
}

impl Run {
    fn end(&self) -> u64 {
        let count = u64::try_from(self.slices.len()).unwrap_or(u64::MAX);
        self.first.saturating_add(count)
    }

    fn get(&self, number: u64) -> Option<&[u8]> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.slices.get(at).map(Vec::as_slice)
    }
}

/// A value's pieces, of which the slices read last are held. Where they are read in their order, the next are on their way.
#[derive(Debug)]
pub struct Pieces {
    database: Database,
    name: String,
    held: Option<Run>,
    next: Option<Next>,
}

#[derive(Debug)]
struct Next {
    first: u64,
    run: JoinHandle<Result<Run, StorageError>>,
}

impl Drop for Next {
    fn drop(&mut self) {
        self.run.abort();
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
        let holds = |run: &Run| run.get(number).is_some();
        if !self.held.as_ref().is_some_and(holds) {
            let in_order = self.held.as_ref().map(Run::end) == Some(number);
            let on_its_way = self.next.take().filter(|next| next.first == number);
            let run = match on_its_way {
                Some(mut next) => (&mut next.run).await.ok().and_then(Result::ok),
                None => None,
            };
            // Why it could not be read ahead is of no matter: it is read now.
            let run = match run {
                Some(run) => run,
                None => read(self.database.clone(), self.name.clone(), (number, 1)).await?,
            };
            // Whoever has read two wants more: a part of something, or its beginning, is mostly within one.
            if in_order && holds(&run) {
                let (database, name) = (self.database.clone(), self.name.clone());
                let first = run.end();
                self.next = Some(Next {
                    first,
                    run: tokio::spawn(read(database, name, (first, AT_ONCE))),
                });
            }
            self.held = Some(run);
        }
        Ok(self.held.as_ref().and_then(|run| run.get(number)))
    }
}

/// So many slices, or those that there are of them in their piece.
async fn read(
    database: Database,
    name: String,
    (first, count): (u64, u64),
) -> Result<Run, StorageError> {
    let error = |cause| database.error(cause);
    let wide = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let narrow = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
    let at = first.saturating_mul(SLICE);
    let (piece, from) = (at / PIECE, at % PIECE);
    let to = (from + count * SLICE).min(PIECE);
    let mut connection = database.pool().acquire().await.map_err(error)?;
    let rows = sqlx::query(READ)
        .bind(name)
        .bind(wide(piece))
        // The first byte is number 1; these are 32 bits there.
        .bind(narrow(from + 1))
        .bind(narrow(to))
        .bind(narrow(SLICE))
        .fetch_all(&mut *connection)
        .await
        .map_err(error)?;
    // It would keep room for slices for as long as it is open.
    connection.shrink_buffers();
    let mut slices = Vec::with_capacity(rows.len());
    for row in rows {
        let slice: Vec<u8> = row.try_get("bytes").map_err(error)?;
        if slice.is_empty() {
            break;
        }
        slices.push(slice);
    }
    Ok(Run { first, slices })
}
