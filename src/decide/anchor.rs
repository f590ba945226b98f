//! Anchors of a log in the deployment's: a commitment to its last checkpoint, and the proof of one.

use super::audit;
use super::door::Door;
use super::error::{Refused, Unwritten};
use super::mark::root_at;
use crate::log::anchor::{Anchor, Salt, commitment};
use crate::log::anchors::{self, Row};
use crate::log::checkpoint::{Checkpoint, Origin, SignedCheckpoint, VerifierKey};
use crate::log::entry::{Entry, Fact};
use crate::tenant::Store;

/// How often a salt is read again that another node has sealed anew meanwhile.
const TRIES: usize = 3;

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
pub async fn anchor(
    (store, origin): (&Store, &Origin),
    deployment: &Door,
) -> Result<Option<u64>, Unanchored> {
    for _ in 1..TRIES {
        match try_anchor((store, origin), deployment).await {
            Err(Unanchored::Unwritten(error)) if error.is_of_unknown_key() => {
                store.reload_keys().await.map_err(Unwritten::from)?;
            }
            anchored => return anchored,
        }
    }
    try_anchor((store, origin), deployment).await
}

async fn try_anchor(
    (store, origin): (&Store, &Origin),
    deployment: &Door,
) -> Result<Option<u64>, Unanchored> {
    let head = audit::head(store).await?;
    if head.incarnation != store.life().incarnation.to_string() {
        return Err(Unwritten::OtherLife.into());
    }
    let Some(begun) = begun(store, head.size).await? else {
        return Ok(None);
    };
    let checkpoint = checkpoint_at(store, origin, begun.size).await?;
    let salt = open_salt(store, &begun)?;
    let recorded = deployment.commit_to(commitment(&salt, &checkpoint)).await?;
    anchors::end(store.database(), begun.size, recorded.index)
        .await
        .map_err(Unwritten::from)?;
    Ok(Some(recorded.index))
}

/// The size to commit to, with its salt: one that was begun and not ended, else the log's size now.
async fn begun(store: &Store, size: u64) -> Result<Option<Row>, Unwritten> {
    let database = store.database();
    while let Some(row) = anchors::newest(database).await? {
        match row.entry {
            Some(_) if row.size >= size => return Ok(None),
            Some(_) => break,
            None if row.size <= size => match open_salt(store, &row) {
                Ok(_) => return Ok(Some(row)),
                Err(error) if error.is_of_unknown_key() => return Err(error),
                Err(_) => anchors::forget(database, row.size).await?,
            },
            // It was begun for what is not there any more.
            None => anchors::forget(database, row.size).await?,
        }
    }
    if size == 0 {
        return Ok(None);
    }
    let salt: Salt = crate::crypto::random()?;
    let row = size.to_string();
    for _ in 0..TRIES {
        let label = store.keys().label();
        let keys = store.keys().at(size.saturating_sub(1));
        let sealed = keys.seal("anchor", "salt", &row, 0, &salt)?;
        drop(keys);
        let error = |cause| database.error(cause);
        let mut connection = database.connect().await?;
        let mut transaction = database.begin(&mut connection).await?;
        if store.hold_keys(&mut transaction, label).await? {
            // Of two nodes that do so at once both go on with the first one's.
            anchors::begin(database, &mut transaction, size, &sealed).await?;
            transaction.commit().await.map_err(error)?;
            return Ok(anchors::newest(database).await?);
        }
        // The key may be gone by now: it is sealed with those in force.
        transaction.rollback().await.map_err(error)?;
        store.reload_keys().await?;
    }
    Err(Unwritten::Contended)
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
    let keys = audit::verifiers(store, origin).await?;
    Ok(Checkpoint {
        origin: origin.with_incarnation(&life.incarnation.to_string())?,
        size,
        root: root_at(store, &keys, size).await?,
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
    for _ in 1..TRIES {
        match try_proof((store, origin), deployment, size).await {
            Err(error) if error.is_of_unknown_key() => store.reload_keys().await?,
            proof => return proof,
        }
    }
    try_proof((store, origin), deployment, size).await
}

async fn try_proof(
    (store, origin): (&Store, &Origin),
    deployment: &Store,
    size: Option<u64>,
) -> Result<Option<Anchor>, Unwritten> {
    let note = match published(deployment).await? {
        // Whoever gets it will want the log's own signature.
        Some(note) if note.verify(&[present_key(deployment, &note)]).is_ok() => Some(note),
        _ => None,
    };
    let mut next = anchors::covering(store.database(), size).await?;
    while let Some(row) = next {
        let checkpoint = checkpoint_at(store, origin, row.size).await?;
        let salt = open_salt(store, &row)?;
        let said = Fact::Commitment(commitment(&salt, &checkpoint));
        let entry = row.entry.unwrap_or_default();
        let receipt = match &note {
            Some(note) if note.checkpoint().size > entry => {
                audit::receipt_under(deployment, entry, note.clone()).await?
            }
            _ => audit::receipt(deployment, entry).await?,
        };
        if let Some(receipt) = receipt
            && Entry::parse(&receipt.leaf)?.fact == Some(said)
        {
            return Ok(Some(Anchor {
                salt,
                checkpoint,
                receipt,
            }));
        }
        // A restore of the deployment's log has lost it: another one has to do.
        next = match size {
            Some(_) => anchors::covering(store.database(), Some(row.size + 1)).await?,
            None => anchors::before(store.database(), row.size).await?,
        };
    }
    Ok(None)
}

fn present_key(deployment: &Store, note: &SignedCheckpoint) -> VerifierKey {
    let signing = deployment.keys().signing();
    VerifierKey::of(note.checkpoint().origin.clone(), signing.seed().key())
}

/// The checkpoint of the deployment's log that was published last, with the signatures of its witnesses; nothing where that cannot be read.
///
/// # Errors
/// The database does not answer.
pub async fn published(deployment: &Store) -> Result<Option<SignedCheckpoint>, Unwritten> {
    let note = anchors::published(deployment.database()).await?;
    Ok(note.and_then(|note| {
        let read = SignedCheckpoint::parse(note.as_bytes());
        read.inspect_err(|flaw| tracing::warn!(%flaw, "what was published last is not known"))
            .ok()
    }))
}
