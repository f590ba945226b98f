//! What a commit does to content: deposits, what is no more, and the shelf's upkeep.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::{Any, Transaction};

use super::door::Door;
use super::drafts::Kept;
use super::error::Unwritten;
use super::work::Work;
use super::world::World;
use crate::directory::{Kind, Ref, Row, RowId};
use crate::log::append;
use crate::tenant::Store;
use crate::vault::rows::{self, Step};
use crate::vault::{Condition, Keeping, Vault};

/// How many resources are looked at at a time.
const MANY: i64 = 500;
/// How many values are taken from the shelf at a time.
const SOME: i64 = 100;

/// Whether content is kept of things of this kind.
#[must_use]
pub const fn is_carried_by(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Thread
            | Kind::Document
            | Kind::Memory
            | Kind::PromptTemplate
            | Kind::Tool
            | Kind::Assistant
            | Kind::AgentDefinition
            | Kind::AgentRun
            | Kind::Integration
    )
}

/// Whether of things of this kind the newest content alone is kept.
#[must_use]
pub const fn keeps_newest(kind: Kind) -> bool {
    matches!(kind, Kind::Memory | Kind::AgentRun | Kind::Integration)
}

/// What the deposits of a batch find in the database.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The version that is there now, where a deposit says what it must be: such a one is alone in its batch.
    pub(super) present: Option<String>,
    /// People whose content a deposit is, and whose key is gone.
    pub(super) forgotten: BTreeSet<String>,
}

/// Looks for what the deposits of a batch have to know.
pub(super) async fn find(store: &Store, batch: &[Work]) -> Result<Found, Unwritten> {
    let mut found = Found::default();
    let mut subjects = BTreeSet::new();
    for work in batch {
        let Work::Change(proposal) = work else {
            continue;
        };
        let Some(deposit) = &proposal.content else {
            continue;
        };
        if deposit.condition != Condition::Always {
            let resource = proposal.resource.to_string();
            found.present = rows::current_name(store.database(), &resource).await?;
        }
        let sealed = deposit.sealed.as_ref();
        subjects.extend(sealed.and_then(|sealed| sealed.spot().subject.as_deref()));
    }
    let subjects = Vec::from_iter(subjects);
    let with_key = rows::with_key(store.database(), &subjects).await?;
    let forgotten = subjects
        .into_iter()
        .filter(|subject| with_key.iter().all(|one| one != subject));
    found.forgotten = forgotten.map(str::to_owned).collect();
    Ok(found)
}

/// Writes what becomes of content. Under a legal hold what was there is kept beside what replaces it.
pub(super) async fn write(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    (kept, held): (&[Kept], bool),
) -> Result<(), Unwritten> {
    let keeping = |keeping| match keeping {
        Keeping::Newest if held => Keeping::Versions,
        keeping => keeping,
    };
    let steps: Vec<Step<'_>> = kept
        .iter()
        .map(|kept| Step {
            index: kept.index,
            resource: &kept.resource,
            sealed: kept.deposit.sealed.as_deref(),
            keeping: keeping(kept.deposit.keeping),
        })
        .collect();
    rows::write(store, transaction, &steps).await?;
    for sealed in steps.iter().filter_map(|step| step.sealed) {
        let name = &sealed.spot().version;
        if sealed.is_shelved() && !store.shelf().settle(transaction, name).await? {
            return Err(Unwritten::Corrupt { what: "upload" });
        }
    }
    Ok(())
}

/// Takes away the content of what a change ends.
pub(super) async fn end(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    changed: &[Row],
) -> Result<(), Unwritten> {
    let ended: Vec<String> = changed.iter().filter_map(ended).collect();
    Ok(rows::forget(store, transaction, &ended).await?)
}

fn ended(row: &Row) -> Option<String> {
    match row {
        Row::End(RowId::Object(reference)) if is_carried_by(reference.kind) => {
            Some(Ref::to_string(reference))
        }
        _ => None,
    }
}

/// Takes versions that are no more from the shelf, for so long at most; whether none is left. What cannot be taken now does not keep the
/// rest.
pub(super) async fn clear(store: &Store, stint: Duration) -> Result<bool, Unwritten> {
    let (database, shelf) = (store.database(), store.shelf());
    let (begun, mut after, mut failed) = (Instant::now(), String::new(), None);
    loop {
        let some = rows::gone(database, &after, SOME).await?;
        let Some(last) = some.last() else { break };
        after.clone_from(last);
        let mut taken = Vec::new();
        for version in &some {
            // A long one on PostgreSQL is thousands of rows.
            if begun.elapsed() >= stint {
                break;
            }
            match shelf.remove(version).await {
                Ok(()) => taken.push(version.as_str()),
                Err(error) => failed = Some(error),
            }
        }
        rows::forget_gone(database, &taken).await?;
        if begun.elapsed() >= stint {
            return Ok(false);
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(true),
    }
}

/// Takes uploads from the shelf whose writer is gone. What cannot be taken now does not keep the rest.
pub(super) async fn tidy(store: &Store, now: DateTime<Utc>) -> Result<(), Unwritten> {
    let (database, shelf) = (store.database(), store.shelf());
    let mut failed = None;
    for abandoned in shelf.abandoned(now.timestamp_micros()).await? {
        // Its commit may have been under way when its writer gave up on it: nobody commits while this holds the lock.
        let mut connection = database.connect().await?;
        let mut transaction = database.begin(&mut connection).await?;
        append::lock(database, &mut transaction).await?;
        let named = rows::is_named(database, &mut transaction, &abandoned.name).await?;
        transaction
            .rollback()
            .await
            .map_err(|cause| database.error(cause))?;
        if let Err(error) = shelf.end(abandoned, named).await {
            failed = Some(error);
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Takes away what a legal hold has kept, where none stands any more, for so long at most: the content of what is no more, and what was
/// replaced where the newest alone is kept. That it goes was recorded then. Whether all of it was looked at.
pub(super) async fn sweep(door: &Door, stint: Duration) -> Result<bool, Unwritten> {
    let database = door.store().database();
    let (begun, mut after) = (Instant::now(), String::new());
    loop {
        let some = rows::kept(database, &after, MANY).await?;
        let Some(last) = some.last() else {
            return Ok(true);
        };
        after.clone_from(last);
        let world = door.glance();
        let (mut ended, mut newest) = (Vec::new(), Vec::new());
        for name in &some {
            let Ok(reference) = name.parse::<Ref>() else {
                continue;
            };
            if !world.snapshot().has(RowId::Object(reference)) {
                ended.push(reference);
            } else if keeps_newest(reference.kind) {
                newest.push(name.as_str());
            }
        }
        let replaced = rows::replaced(database, &newest).await?;
        // Decisions wait for each: there are a few thousand rows in one, and a moment between them.
        while !ended.is_empty() || !replaced.is_empty() {
            match destroy(door, (&ended, &replaced)).await? {
                Destroyed::All => break,
                Destroyed::Some if begun.elapsed() < stint => {}
                Destroyed::Some | Destroyed::Nothing => return Ok(false),
            }
        }
    }
}

/// How much was taken away.
enum Destroyed {
    All,
    Some,
    /// The state was not known that the head is of, or a hold stands in it.
    Nothing,
}

/// Takes some of it away under the head's lock, where the state is known that the head is of, with no hold in it.
async fn destroy(
    door: &Door,
    (ended, replaced): (&[Ref], &[String]),
) -> Result<Destroyed, Unwritten> {
    let store = door.store();
    let database = store.database();
    let error = |cause| database.error(cause);
    let mut connection = database.connect().await?;
    let mut transaction = database.begin(&mut connection).await?;
    let head = append::lock(database, &mut transaction).await?;
    let world = door.glance();
    if head.last_change != world.snapshot().as_of() || free_since(&world).is_none() {
        transaction.rollback().await.map_err(error)?;
        return Ok(Destroyed::Nothing);
    }
    // What another node has made since it was looked at had not begun then.
    let is_over = |one: &&Ref| !world.snapshot().has(RowId::Object(**one));
    let ended: Vec<String> = ended.iter().filter(is_over).map(Ref::to_string).collect();
    let ended: Vec<&str> = ended.iter().map(String::as_str).collect();
    let replaced: Vec<&str> = replaced.iter().map(String::as_str).collect();
    let is_all = rows::forget_some(store, &mut transaction, (&ended, &replaced)).await?;
    transaction.commit().await.map_err(error)?;
    Ok(match is_all {
        true => Destroyed::All,
        false => Destroyed::Some,
    })
}

/// Since when the organization has been what it is, without a legal hold; nothing under one, or where that is not known.
pub(super) fn free_since(world: &World) -> Option<u64> {
    let snapshot = world.snapshot();
    let organization = snapshot.organization().ok()?;
    let stored = snapshot.object(snapshot.org())?;
    (organization.holds == 0).then_some(stored.from_index)
}

impl Door {
    /// What is kept of the tenant's resources.
    #[must_use]
    pub fn vault(&self) -> Vault {
        self.vault.clone()
    }
}
