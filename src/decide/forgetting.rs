//! What goes when a person is forgotten, in the transaction that records it: their key, and what rows say of them.

use sqlx::{Any, Transaction};

use super::error::Unwritten;
use super::{aside, rows};
use crate::directory::{Kind, Ref, Row, RowId};
use crate::log::upkeep;
use crate::tenant::Store;
use crate::vault;

/// Destroys a person's key and blanks their rows, those of what ends with them, and those of their invitations that were over before.
/// Sessions and requests for access that were over say nothing any more: [`forget_ended`]. What the log says of them goes afterwards, in the background.
pub(super) async fn forget(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    (person, ended): (Ref, &[Row]),
    now: i64,
) -> Result<(), Unwritten> {
    let (name, database) = (person.to_string(), store.database());
    store.subjects().destroy(transaction, &name).await?;
    vault::rows::forget_person(database, transaction, &name).await?;
    // By the addresses that their rows still say.
    let invitations = rows::invitations_of(store, transaction, person).await?;
    rows::blank(store, transaction, person).await?;
    for row in ended {
        if let Row::End(RowId::Object(thing)) = row
            && *thing != person
        {
            rows::blank(store, transaction, *thing).await?;
        }
    }
    for invitation in invitations {
        rows::blank(store, transaction, invitation).await?;
        let name = invitation.to_string();
        upkeep::begin_erasure(database, transaction, &name, now).await?;
    }
    upkeep::begin_erasure(database, transaction, &name, now).await?;
    Ok(())
}

/// With what and from where somebody came is kept no longer than their session, and why they asked for something no longer than their
/// request; that it was, the log says, under their key.
pub(super) async fn forget_ended(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    changed: &[Row],
) -> Result<(), Unwritten> {
    for row in changed {
        let Row::End(RowId::Object(ended)) = row else {
            continue;
        };
        if matches!(ended.kind, Kind::Session | Kind::AccessRequest) {
            rows::blank(store, transaction, *ended).await?;
        }
        if ended.kind == Kind::Session {
            aside::forget_use(store, transaction, *ended).await?;
        }
    }
    Ok(())
}
