//! What goes when a person is forgotten, in the transaction that records it: their key, and what rows say of them; and whether they have left.

use sqlx::{Any, Transaction};

use super::door::Door;
use super::error::{Refused, Unwritten};
use super::rows::ERASED;
use super::{aside, rows};
use crate::directory::{Body, Kind, Object, Ref, Row, RowId, Snapshot, takeout};
use crate::log::{append, upkeep};
use crate::tenant::Store;
use crate::vault;

/// What has a name, and may be somebody's alone.
const NAMED: [Kind; 7] = [
    Kind::Memory,
    Kind::Thread,
    Kind::Document,
    Kind::PromptTemplate,
    Kind::Tool,
    Kind::Assistant,
    Kind::AgentDefinition,
];

impl Door {
    /// Whether somebody was of the organization and has left, erased since or not.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn has_left(&self, person: Ref) -> Result<bool, Refused> {
        rows::has_left(self.store(), person).await.map_err(|error| {
            tracing::error!(%error, "whether somebody has left cannot be read");
            Refused::Unavailable
        })
    }
}

/// Destroys a person's key and blanks their rows, those of what ends with them, and those of their invitations that were over before.
/// Sessions and requests for access that were over say nothing any more: [`forget_ended`]. What the log says of them goes afterwards, in the background.
pub(super) async fn forget(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    (person, changed): (Ref, &[Row]),
    now: i64,
) -> Result<(), Unwritten> {
    let (name, database) = (person.to_string(), store.database());
    store.subjects().destroy(transaction, &name).await?;
    vault::rows::forget_person(database, transaction, &name).await?;
    // By the addresses that their rows still say.
    let invitations = rows::invitations_of(store, transaction, person).await?;
    rows::blank(store, transaction, RowId::Object(person)).await?;
    for row in changed {
        match row {
            // What ends with them, and what they have said about versions of the policies.
            Row::End(RowId::Object(thing)) if *thing == person => {}
            Row::End(row @ RowId::Object(_)) | Row::Put(row @ RowId::Standing(_), _) => {
                rows::blank(store, transaction, *row).await?;
            }
            Row::End(_) | Row::Put(..) => {}
        }
    }
    for invitation in invitations {
        rows::blank(store, transaction, RowId::Object(invitation)).await?;
        let name = invitation.to_string();
        upkeep::begin_erasure(database, transaction, &name, now).await?;
    }
    upkeep::begin_erasure(database, transaction, &name, now).await?;
    Ok(())
}

/// With what and from where somebody came is kept no longer than their session, why they asked for something no longer than their
/// request, and what they said about a version no longer than that; that it was, the log says, under their key. What was private has no
/// name either once it is no more, but under a legal hold.
pub(super) async fn forget_ended(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    ((before, changed), held): ((&Snapshot, &[Row]), bool),
) -> Result<(), Unwritten> {
    for row in changed {
        let Row::End(row) = row else {
            continue;
        };
        let kind = match row {
            RowId::Object(ended) => Some(ended.kind),
            _ => None,
        };
        if matches!(kind, Some(Kind::Session | Kind::AccessRequest))
            || matches!(row, RowId::Standing(_))
            || !held && was_private(before, *row)
        {
            rows::blank(store, transaction, *row).await?;
        }
        if let (RowId::Object(session), Some(Kind::Session)) = (row, kind) {
            aside::forget_use(store, transaction, *session).await?;
        }
    }
    Ok(())
}

/// Blanks the names of what was somebody's alone and was no more before names went with it: in the background, since all that ever ended is
/// looked at.
pub(super) async fn forget_over(
    store: &Store,
    now: &Snapshot,
    person: Ref,
) -> Result<(), Unwritten> {
    let database = store.database();
    let error = |cause| database.error(cause);
    let is_theirs = |body: &Body| match body {
        Body::Object(object @ Object::Memory(memory)) => {
            memory.owner == person && memory.name != ERASED && takeout::is_private(now, object)
        }
        Body::Object(object) => object.made().is_some_and(|made| {
            made.owner == person && made.name != ERASED && takeout::is_private(now, object)
        }),
        _ => false,
    };
    let mut connection = database.connect().await?;
    for kind in NAMED {
        let mut after = String::new();
        loop {
            let page = rows::over(store, &mut connection, (kind, &after)).await?;
            let Some((last, _)) = page.last() else { break };
            after = last.to_string();
            let theirs = page.iter().filter(|(_, body)| is_theirs(body));
            let theirs: Vec<Ref> = theirs.map(|(id, _)| *id).collect();
            if theirs.is_empty() {
                continue;
            }
            let mut transaction = database.begin(&mut connection).await?;
            append::lock(database, &mut transaction).await?;
            for one in theirs {
                rows::blank(store, &mut transaction, RowId::Object(one)).await?;
            }
            transaction.commit().await.map_err(error)?;
        }
    }
    Ok(())
}

/// Whether it has a name that somebody alone could read.
fn was_private(before: &Snapshot, row: RowId) -> bool {
    let RowId::Object(reference) = row else {
        return false;
    };
    let is_named = |object: &Object| matches!(object, Object::Memory(_)) || object.made().is_some();
    let stored = before.lent(reference);
    stored.is_some_and(|one| is_named(&one.value) && takeout::is_private(before, &one.value))
}
