//! A log that was put back from a backup goes on as another life of it, whose first entry says what is known of the one before.

use std::collections::BTreeSet;

use chrono::Utc;

use super::audit;
use super::check;
use super::door::{Door, Terms};
use super::error::{Refused, Unwritten};
use super::mark::Mark;
use super::rows;
use super::upkeep::{self, Unkept};
use crate::directory::keeping::{self, Before};
use crate::directory::{Kind, Ref};
use crate::ids::TenantId;
use crate::log::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::log::upkeep as log;
use crate::log::verify::{Kept, Restored};
use crate::tenant::{Control, Store, TenantError};

/// Why a log does not go on.
#[derive(Debug, thiserror::Error)]
pub enum NotRestored {
    /// Its database.
    #[error(transparent)]
    Unread(#[from] Unwritten),
    /// Its database, or its keys.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// It could not be recorded.
    #[error(transparent)]
    Unrecorded(#[from] Refused),
    /// A log without an entry.
    #[error("its log has no entries: there is nothing that could have been put back")]
    Empty,
    /// What was put back is not sound, or not this log.
    #[error(
        "what was put back does not verify, so it is not gone on from: {wrong}; put another backup back"
    )]
    Unsound {
        /// The first that is wrong.
        wrong: String,
    },
}

/// A log that was found sound before it took another's place: its last checkpoint.
#[derive(Debug)]
pub struct Sound(Checkpoint);

/// Checks a log that is not in its place yet, so that one that is not sound takes nobody's. What does not open of its search index goes:
/// that is built again.
///
/// # Errors
/// It is not sound, or not what this machine has seen of the log as far as that goes; or its database does not answer.
pub async fn sound(
    store: &Store,
    terms: &Terms,
    progress: impl FnMut(u64, u64),
) -> Result<Sound, NotRestored> {
    let mark = Mark::of(&terms.marks, store.id()).read()?;
    let origin = audit::origin(store, &terms.deployment).map_err(Unwritten::from)?;
    let head = audit::head(store).await?;
    if head.size == 0 {
        return Err(NotRestored::Empty);
    }
    check::drop_unfit_blocks(store, head.size).await?;
    let is_behind = mark.filter(|mark| {
        let seen = mark.checkpoint();
        seen.origin == origin && seen.size <= head.size
    });
    let kept: Vec<Kept> = is_behind.map(Kept::Signed).into_iter().collect();
    let report = check::verify(store, &origin, &kept, progress).await?;
    let unsound = |wrong: String| NotRestored::Unsound { wrong };
    if !report.is_sound() {
        let wrong = report.findings.first();
        return Err(unsound(wrong.map_or_else(String::new, ToString::to_string)));
    }
    let checkpoint = report.checkpoint;
    checkpoint
        .map(Sound)
        .ok_or_else(|| unsound("there is no checkpoint".into()))
}

/// Checks what was put back, unless that was done before, and begins another life of the log with it; what is known of the life before, and of one that is lost whole.
///
/// # Errors
/// It is not sound, or not what this machine has seen of the log as far as that goes; or its database does not answer.
pub async fn restored(
    control: &Control,
    id: TenantId,
    terms: &Terms,
    sound: Option<Sound>,
    progress: impl FnMut(u64, u64),
) -> Result<Vec<Restored>, NotRestored> {
    let terms = &resting(terms);
    let (before, lost) = checked(control, id, (terms, sound), progress).await?;
    let store = control.open_restored(id).await?;
    let index = store.life().first;
    let door = Door::open(store, terms).await?;
    let changed = door
        .operate(move |by, snapshot| keeping::restored(by, snapshot, &before, lost.as_ref()))
        .await;
    door.close().await;
    changed?;
    let entries = 1 + u64::from(lost.is_some());
    let told = |(life, is_lost_whole): (Before, bool)| Restored {
        index,
        entries,
        incarnation: life.incarnation.to_string(),
        size: life.size,
        is_lost_whole,
    };
    let lost = lost.map(|lost| (lost, true));
    let lives = std::iter::once((before, false)).chain(lost);
    Ok(lives.map(told).collect())
}

/// Those of these people whose key is there again, and of these invitations whose address is: one is older than the person that came by
/// it, and may be put back without them.
///
/// # Errors
/// The database does not answer.
pub async fn returned(
    control: &Control,
    id: TenantId,
    people: &BTreeSet<String>,
) -> Result<BTreeSet<String>, Unwritten> {
    let store = control.open_put_back(id).await?;
    let mut found = BTreeSet::new();
    for person in people {
        let is_back = match person.parse::<Ref>() {
            Ok(one) if one.kind == Kind::Invitation => rows::keeps_address(&store, one).await?,
            _ => store.subjects().get(person).await?.is_some(),
        };
        if is_back {
            found.insert(person.clone());
        }
    }
    store.database().close().await;
    Ok(found)
}

/// Has everybody erased again whom what was put back holds again, and what the log says about them written out of it, before anybody is
/// served.
///
/// # Errors
/// The log does not answer, or the ledger of erasures.
pub async fn erase_again(
    control: &Control,
    id: TenantId,
    terms: &Terms,
    people: &BTreeSet<String>,
) -> Result<(), Unkept> {
    let people: Result<Vec<Ref>, _> = people.iter().map(|person| person.parse()).collect();
    let people = people.map_err(|_| Unwritten::Corrupt {
        what: "ledger of erasures",
    })?;
    let store = control.open_put_back(id).await.map_err(Unwritten::from)?;
    let door = Door::open(store, &resting(terms)).await?;
    let erased = async {
        for person in people {
            door.keep(move |by, snapshot| keeping::erase_again(by, snapshot, person))
                .await?;
        }
        // Also those that were under way when the backup was taken.
        while !log::erasures(door.store().database())
            .await
            .map_err(Unwritten::from)?
            .is_empty()
        {
            upkeep::round(&door, Utc::now(), false).await?;
        }
        Ok(())
    };
    let erased = erased.await;
    door.close().await;
    erased
}

/// The same terms for a log that nobody else keeps meanwhile.
fn resting(terms: &Terms) -> Terms {
    Terms {
        upkeep: false,
        ..terms.clone()
    }
}

/// What is known of the life that ends: its last checkpoint here, or the one that this machine has seen. That is believed unsigned where it
/// says that there was more: its key may be among what is lost, and nobody but this machine writes it.
async fn checked(
    control: &Control,
    id: TenantId,
    (terms, found): (&Terms, Option<Sound>),
    progress: impl FnMut(u64, u64),
) -> Result<(Before, Option<Before>), NotRestored> {
    let store = control.open_put_back(id).await?;
    let Sound(checkpoint) = match found {
        Some(found) => found,
        None => sound(&store, terms, progress).await?,
    };
    let origin = audit::origin(&store, &terms.deployment).map_err(Unwritten::from)?;
    // Read now: what was seen meanwhile of the life that ends is lost as well.
    let mark = Mark::of(&terms.marks, id).read()?;
    store.database().close().await;
    let seen = mark.as_ref().map(SignedCheckpoint::checkpoint);
    let is_present = |seen: &&Checkpoint| seen.origin == origin;
    let ahead = seen
        .filter(is_present)
        .filter(|seen| seen.size > checkpoint.size);
    let known = ahead.unwrap_or(&checkpoint);
    let before = Before {
        incarnation: store.life().incarnation,
        size: known.size,
        root: known.root,
    };
    // A life that what was put back knows nothing of.
    let lives: Vec<String> = store
        .lives()
        .iter()
        .map(|life| life.incarnation.to_string())
        .collect();
    let of_log = seen.filter(|seen| seen.origin.is_of_same_log(&origin));
    let unknown = of_log.filter(|seen| !lives.iter().any(|life| life == seen.origin.incarnation()));
    let lost = unknown.and_then(|seen| {
        Some(Before {
            incarnation: seen.origin.incarnation().parse().ok()?,
            size: seen.size,
            root: seen.root,
        })
    });
    Ok((before, lost))
}
