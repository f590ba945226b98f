//! Anchors of a log in the deployment's: a commitment to its last checkpoint, and the proof of one.

use super::audit;
use super::door::Door;
use super::error::{Refused, Unwritten};
use super::mark::root_at;
use crate::log::anchor::{Anchor, Salt, commitment};
use crate::log::anchors::{self, Row};
use crate::log::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use crate::log::entry::{Entry, Fact};
use crate::tenant::Store;

/// Why a log was not anchored.
#[derive(Debug, thiserror::Error)]
pub enum Unanchored {
    /// The logs' rows.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// The entry could not be made.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Commits the deployment's log to the checkpoint that a log ends with; the entry, nothing where there is one already.
///
/// The salt is kept first: whoever dies in between leaves a commitment that is made again with the same salt.
///
/// # Errors
/// Either log does not answer.
pub async fn anchor(door: &Door, deployment: &Door) -> Result<Option<u64>, Unanchored> {
    let store = door.store();
    let size = door.tip().size;
    let newest = newest(store).await?;
    let begun = match newest {
        Some(row) if row.entry.is_none() => row,
        Some(row) if row.size >= size => return Ok(None),
        _ if size == 0 => return Ok(None),
        _ => begin(store, size).await?,
    };
    let checkpoint = checkpoint_at(store, door.origin(), begun.size).await?;
    let salt = open_salt(store, &begun)?;
    let recorded = deployment.commit_to(commitment(&salt, &checkpoint)).await?;
    anchors::end(store.database(), begun.size, recorded.index)
        .await
        .map_err(Unwritten::from)?;
    Ok(Some(recorded.index))
}

async fn newest(store: &Store) -> Result<Option<Row>, Unwritten> {
    Ok(anchors::newest(store.database()).await?)
}

/// Keeps a new salt for this size; of two nodes that do so at once both go on with the first one's.
async fn begin(store: &Store, size: u64) -> Result<Row, Unwritten> {
    let salt: Salt = crate::crypto::random()?;
    let row = size.to_string();
    let keys = store.keys().at(size.saturating_sub(1));
    let sealed = keys.seal("anchor", "salt", &row, 0, &salt)?;
    anchors::begin(store.database(), size, &sealed).await?;
    let missing = Unwritten::Corrupt { what: "anchor" };
    newest(store).await?.ok_or(missing)
}

fn open_salt(store: &Store, anchor: &Row) -> Result<Salt, Unwritten> {
    let row = anchor.size.to_string();
    let keys = store.keys().at(anchor.size.saturating_sub(1));
    let salt = keys.open_value("anchor", "salt", &row, 0, &anchor.salt)?;
    let wrong = |_| Unwritten::Corrupt { what: "anchor" };
    salt.try_into().map_err(wrong)
}

/// What the log committed to when it had so many entries, under the name that it had then.
async fn checkpoint_at(store: &Store, origin: &Origin, size: u64) -> Result<Checkpoint, Unwritten> {
    let mut lives = store.lives().iter().rev();
    let life = lives.find(|life| life.first < size.max(1));
    let life = life.ok_or(Unwritten::Corrupt { what: "life" })?;
    Ok(Checkpoint {
        origin: origin.with_incarnation(&life.incarnation.to_string())?,
        size,
        root: root_at(store, size).await?,
    })
}

/// The proof that the deployment's log has a commitment to a checkpoint of this one of `size` entries or more; to the newest there is
/// where no size is given. It is under the checkpoint that was published last, as far as that reaches.
///
/// # Errors
/// Either database does not answer. Nothing where there is no such commitment.
pub async fn proof(
    (store, origin): (&Store, &Origin),
    deployment: &Store,
    size: Option<u64>,
) -> Result<Option<Anchor>, Unwritten> {
    while let Some(row) = anchors::covering(store.database(), size).await? {
        let checkpoint = checkpoint_at(store, origin, row.size).await?;
        let salt = open_salt(store, &row)?;
        let said = Fact::Commitment(commitment(&salt, &checkpoint));
        let entry = row.entry.unwrap_or_default();
        let receipt = match published(deployment).await? {
            Some(note) if note.checkpoint().size > entry => {
                audit::receipt_under(deployment, entry, note).await?
            }
            _ => audit::receipt(deployment, entry).await?,
        };
        match receipt {
            Some(receipt) if Entry::parse(&receipt.leaf)?.fact == Some(said) => {
                return Ok(Some(Anchor {
                    salt,
                    checkpoint,
                    receipt,
                }));
            }
            // A restore of the deployment's log has lost it: the next anchor takes its place.
            _ => anchors::forget(store.database(), row.size).await?,
        }
    }
    Ok(None)
}

/// The checkpoint of the deployment's log that was published last, with the signatures of its witnesses.
///
/// # Errors
/// The database does not answer.
pub async fn published(deployment: &Store) -> Result<Option<SignedCheckpoint>, Unwritten> {
    let note = anchors::published(deployment.database()).await?;
    let read = note.map(|note| SignedCheckpoint::parse(note.as_bytes()));
    Ok(read.transpose()?)
}
