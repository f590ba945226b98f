//! What a commit does to content: deposits, what is no more, and the shelf's upkeep.

use chrono::{DateTime, Utc};
use sqlx::{Any, Transaction};

use super::door::Door;
use super::drafts::Kept;
use super::error::Unwritten;
use super::work::Work;
use crate::directory::{Kind, Ref, Row, RowId};
use crate::tenant::Store;
use crate::vault::rows::{self, Step};
use crate::vault::{Condition, Vault};

/// How many values one round takes from the shelf.
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

/// The version that is there now, where a deposit says what it must be: such a one is alone in its batch.
pub(super) async fn present(store: &Store, batch: &[Work]) -> Result<Option<String>, Unwritten> {
    for work in batch {
        if let Work::Change(proposal) = work
            && let Some(deposit) = &proposal.content
            && deposit.condition != Condition::Always
        {
            let resource = proposal.resource.to_string();
            return Ok(rows::current_name(store.database(), &resource).await?);
        }
    }
    Ok(None)
}

/// Writes what becomes of content.
pub(super) async fn write(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    kept: &[Kept],
) -> Result<(), Unwritten> {
    let steps: Vec<Step<'_>> = kept
        .iter()
        .map(|kept| Step {
            index: kept.index,
            resource: &kept.resource,
            sealed: kept.deposit.sealed.as_deref(),
            keeping: kept.deposit.keeping,
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

/// Takes from the shelf what no row names: versions that are no more, and uploads whose writer is gone.
pub(super) async fn tidy(store: &Store, now: DateTime<Utc>) -> Result<(), Unwritten> {
    let (database, shelf) = (store.database(), store.shelf());
    for version in rows::gone(database, SOME).await? {
        shelf.remove(&version).await?;
        rows::forget_gone(database, &version).await?;
    }
    for abandoned in shelf.abandoned(now.timestamp_micros()).await? {
        let named = rows::is_named(database, &abandoned.name).await?;
        shelf.end(abandoned, named).await?;
    }
    Ok(())
}

impl Door {
    /// What is kept of the tenant's resources.
    #[must_use]
    pub fn vault(&self) -> Vault {
        Vault::of(self.store().clone())
    }
}
