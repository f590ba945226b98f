//! The state's rows as they are sealed, written and read back, and the parts of entries.

use std::collections::BTreeSet;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::{Any, AnyConnection, Row as _, Transaction};

use super::batch::SubjectKeys;
use super::error::{Refused, Unwritten};
use super::sequencer::Replayed;
use super::work::{Changed, IdempotencyKey, Work};
use crate::crypto::cobblestone::{Opener, Salt};
use crate::crypto::hierarchy::Wrapped;
use crate::crypto::sealing::DataKeys;
use crate::directory::{Body, Kind, Object, Ref, Row, RowId, Snapshot};
use crate::log::append::column;
use crate::log::entry::PartName;
use crate::tenant::{KeysAt, Store, is_of_an_epoch};

const END: &str = "UPDATE state SET to_index = $1 WHERE id = $2 AND to_index IS NULL";
const BEGIN: &str = "INSERT INTO state (id, from_index, to_index, body) VALUES ($1, $2, NULL, $3)";
/// As many rows as one statement takes where there are that many: each is a journey to the database and back.
const MANY: usize = 16;
const BEGIN_MANY: &str = "INSERT INTO state (id, from_index, to_index, body) VALUES \
     ($1, $2, NULL, $3), ($4, $5, NULL, $6), ($7, $8, NULL, $9), ($10, $11, NULL, $12), \
     ($13, $14, NULL, $15), ($16, $17, NULL, $18), ($19, $20, NULL, $21), ($22, $23, NULL, $24), \
     ($25, $26, NULL, $27), ($28, $29, NULL, $30), ($31, $32, NULL, $33), ($34, $35, NULL, $36), \
     ($37, $38, NULL, $39), ($40, $41, NULL, $42), ($43, $44, NULL, $45), ($46, $47, NULL, $48)";
const EACH: &str =
    "SELECT from_index, body FROM state WHERE id = $1 ORDER BY from_index LIMIT 100000";
// An escape, since `_` stands for any character; the last row of each is as good as another, and none of them is current.
const OVER: &str = "SELECT id, from_index, body FROM state WHERE id > $1 AND id LIKE $2 ESCAPE '^' \
     AND from_index = (SELECT MAX(one.from_index) FROM state AS one WHERE one.id = state.id) AND to_index IS NOT NULL \
     ORDER BY id LIMIT 500";
// Who has left: a row that ended, or a key, or what is under way where retention has taken the row.
const PRESENCE: &str = "SELECT (SELECT COUNT(*) FROM state WHERE id = $1 AND to_index IS NULL) AS present, \
     (SELECT COUNT(*) FROM state WHERE id = $1) + (SELECT COUNT(*) FROM subject_key WHERE subject = $1) \
     + (SELECT COUNT(*) FROM erasure WHERE subject = $1) AS known";
const LAST: &str = "SELECT (SELECT MAX(from_index) FROM state WHERE from_index < $1) AS begun, \
     (SELECT MAX(to_index) FROM state WHERE to_index < $1) AS ended";
const REPLACE: &str = "UPDATE state SET body = $1 WHERE id = $2 AND from_index = $3";
const ADD_SUBJECT: &str =
    "INSERT INTO subject_key (subject, wrapped, key_check) VALUES ($1, $2, $3)";
const ADD_SUBJECTS: &str = "INSERT INTO subject_key (subject, wrapped, key_check) VALUES \
     ($1, $2, $3), ($4, $5, $6), ($7, $8, $9), ($10, $11, $12), \
     ($13, $14, $15), ($16, $17, $18), ($19, $20, $21), ($22, $23, $24), \
     ($25, $26, $27), ($28, $29, $30), ($31, $32, $33), ($34, $35, $36), \
     ($37, $38, $39), ($40, $41, $42), ($43, $44, $45), ($46, $47, $48)";
const REPLY: &str = "SELECT request, reply FROM idempotency WHERE key = $1 LIMIT 1";
const ADD_REPLY: &str =
    "INSERT INTO idempotency (key_version, key, request, reply, at) VALUES ($1, $2, $3, $4, $5)";
const OLD_REPLIES: &str = "DELETE FROM idempotency WHERE at < $1";
const BEFORE: &str = "SELECT 1 AS found FROM idempotency WHERE key_version < $1 LIMIT 1";

/// What stands where something about a person was.
pub(super) const ERASED: &str = "[erased]";

/// How long a reply is kept for its Idempotency-Key, in microseconds.
const KEPT: i64 = 24 * 60 * 60 * 1_000_000;

/// Seals a part of an entry under its subject's key, else under that of the log's epoch.
pub(super) fn seal_part(
    store: &Store,
    subject: Option<&DataKeys>,
    (index, name): (u64, PartName),
    (text, salt): (&[u8], Salt),
) -> Result<Vec<u8>, Unwritten> {
    let row = index.to_string();
    let keys = store.keys().at(index);
    let place = keys.binding("segment", name.as_str(), &row, 0);
    let key = subject.unwrap_or_else(|| keys.of_log());
    Ok(key.seal(&place, salt, text)?)
}

/// Opens what [`seal_part`] sealed; nothing where its key is gone.
pub(super) fn open_part(
    store: &Store,
    subject: Option<&DataKeys>,
    place: (u64, PartName),
    sealed: &[u8],
) -> Option<Value> {
    serde_json::from_slice(&part_text(store, subject, place, sealed)?).ok()
}

/// The same, as it was sealed.
pub(super) fn part_text(
    store: &Store,
    subject: Option<&DataKeys>,
    (index, name): (u64, PartName),
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let row = index.to_string();
    let keys = store.keys().at(index);
    let binding = keys.binding("segment", name.as_str(), &row, 0);
    // The leaf was opened before it: what is not known of its epoch by now has been pruned.
    let of_log = || keys.of_stored(sealed)?.open(&binding, sealed);
    match subject {
        Some(subject) if !is_of_an_epoch(sealed).ok()? => {
            let opened = subject.open(&binding, sealed);
            opened.or_else(|_| of_log()).ok()
        }
        _ => of_log().ok(),
    }
}

/// Seals the framed leaves of a segment.
pub(super) fn seal_leaves(store: &Store, first: u64, framed: &[u8]) -> Result<Vec<u8>, Unwritten> {
    let keys = store.keys().at(first);
    Ok(keys.seal_log("leaves", &first.to_string(), framed)?)
}

/// Opens them.
pub(super) fn open_leaves(store: &Store, first: u64, sealed: &[u8]) -> Result<Vec<u8>, Unwritten> {
    let keys = store.keys().at(first);
    Ok(keys.open_log("leaves", &first.to_string(), sealed)?)
}

/// Opens some chunks of a segment's leaves and no more: those of the numbers that are asked for.
pub(super) fn leaves_opener(store: &Store, first: u64, start: &[u8]) -> Result<Opener, Unwritten> {
    let (keys, row) = (store.keys().at(first), first.to_string());
    Ok(keys.log_opener("leaves", &row, start)?)
}

/// A new person's key, wrapped.
pub(super) fn new_subject_key(store: &Store, subject: Ref) -> Result<Wrapped, Unwritten> {
    Ok(store.subjects().create(&subject.to_string())?)
}

/// The keys of these people, as far as there are any.
pub(super) async fn subject_keys(
    store: &Store,
    subjects: BTreeSet<Ref>,
) -> Result<SubjectKeys, Unwritten> {
    let names: Vec<String> = subjects.iter().map(Ref::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut keys = SubjectKeys::with_capacity(names.len());
    for (name, key) in store.subjects().several(&names).await? {
        let subject = name.parse();
        let subject = subject.map_err(|_| Unwritten::Corrupt { what: "subject" })?;
        keys.insert(subject, key);
    }
    Ok(keys)
}

/// Writes the rows of a change that is made on this state.
pub(super) async fn write_state(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    (before, rows): (&Snapshot, &[Row]),
    index: u64,
) -> Result<(), Unwritten> {
    let mut new = Vec::new();
    for row in rows {
        if let Row::Put(id, body) = row
            && !before.has(*id)
        {
            // Nothing ends with it.
            new.push((id.to_string(), body));
            continue;
        }
        begin(store, transaction, &std::mem::take(&mut new), index).await?;
        let id = row.id().to_string();
        sqlx::query(END)
            .bind(column(index)?)
            .bind(&id)
            .execute(&mut **transaction)
            .await
            .map_err(|cause| store.database().error(cause))?;
        if let Row::Put(_, body) = row {
            begin(store, transaction, &[(id, body)], index).await?;
        }
    }
    begin(store, transaction, &new, index).await
}

/// Writes rows that begin.
async fn begin(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    rows: &[(String, &Body)],
    index: u64,
) -> Result<(), Unwritten> {
    let (many, few) = rows.as_chunks::<MANY>();
    let many = many.iter().map(|rows| (BEGIN_MANY, rows.as_slice()));
    let few = few.chunks(1).map(|rows| (BEGIN, rows));
    for (statement, rows) in many.chain(few) {
        let mut query = sqlx::query(statement);
        for (id, body) in rows {
            let sealed = seal_body(store, id, index, body)?;
            query = query.bind(id).bind(column(index)?).bind(sealed);
        }
        query
            .execute(&mut **transaction)
            .await
            .map_err(|cause| store.database().error(cause))?;
    }
    Ok(())
}

/// Writes new people's keys.
pub(super) async fn write_subjects(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    subjects: &[(Ref, Wrapped)],
) -> Result<(), Unwritten> {
    let (many, few) = subjects.as_chunks::<MANY>();
    let many = many.iter().map(|some| (ADD_SUBJECTS, some.as_slice()));
    let few = few.chunks(1).map(|one| (ADD_SUBJECT, one));
    for (statement, subjects) in many.chain(few) {
        let mut query = sqlx::query(statement);
        for (subject, wrapped) in subjects {
            query = query
                .bind(subject.to_string())
                .bind(wrapped.sealed.as_slice())
                .bind(wrapped.check.as_bytes().as_slice());
        }
        query
            .execute(&mut **transaction)
            .await
            .map_err(|cause| store.database().error(cause))?;
    }
    Ok(())
}

/// The invitations that were sent to an address which a person has, or ever had, and that are over: used, revoked, expired and replaced.
///
/// Every one that there ever was is opened: nobody is forgotten so often that it would be worth an index of addresses in the database.
pub(super) async fn invitations_of(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    person: Ref,
) -> Result<Vec<Ref>, Unwritten> {
    let error = |cause| store.database().error(cause);
    let id = person.to_string();
    let mut addresses = BTreeSet::new();
    let rows = sqlx::query(EACH)
        .bind(&id)
        .fetch_all(&mut **transaction)
        .await
        .map_err(error)?;
    for row in &rows {
        if let Body::Object(Object::User(user)) = read_body(store, &id, row)?.1 {
            addresses.insert(user.email);
        }
    }
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = over(store, transaction, (Kind::Invitation, &after)).await?;
        let Some((last, _)) = page.last() else {
            return Ok(found);
        };
        after = last.to_string();
        for (id, body) in page {
            if let Body::Object(Object::Invitation(invitation)) = body
                && addresses.contains(&invitation.email)
            {
                found.push(id);
            }
        }
    }
}

/// Whether somebody is not there who was, as far as anything still says so.
pub(super) async fn has_left(store: &Store, person: Ref) -> Result<bool, Unwritten> {
    let database = store.database();
    let error = |cause| database.error(cause);
    let row = sqlx::query(PRESENCE)
        .bind(person.to_string())
        .fetch_one(database.pool())
        .await
        .map_err(error)?;
    let present: i64 = row.try_get("present").map_err(error)?;
    let known: i64 = row.try_get("known").map_err(error)?;
    Ok(present == 0 && known > 0)
}

/// What is no more of a kind, behind this identifier, as it was last: some of it.
pub(super) async fn over(
    store: &Store,
    connection: &mut AnyConnection,
    (kind, after): (Kind, &str),
) -> Result<Vec<(Ref, Body)>, Unwritten> {
    let error = |cause| store.database().error(cause);
    // From the first of the kind on, in whatever order a database has letters.
    let first = format!("{}_", kind.prefix());
    let rows = sqlx::query(OVER)
        .bind(after.max(&first))
        .bind(format!("{}^_%", kind.prefix()))
        .fetch_all(connection)
        .await
        .map_err(error)?;
    let read = rows.iter().map(|row| {
        let id: String = row.try_get("id").map_err(error)?;
        let body = read_body(store, &id, row)?.1;
        let id = id.parse();
        Ok((id.map_err(|_| Unwritten::Corrupt { what: "state" })?, body))
    });
    read.collect()
}

/// Whether any row of an invitation holds an address.
pub(super) async fn keeps_address(store: &Store, invitation: Ref) -> Result<bool, Unwritten> {
    let (database, id) = (store.database(), invitation.to_string());
    let rows = sqlx::query(EACH)
        .bind(&id)
        .fetch_all(database.pool())
        .await
        .map_err(|cause| database.error(cause))?;
    for row in &rows {
        if let Body::Object(Object::Invitation(invitation)) = read_body(store, &id, row)?.1
            && invitation.email != ERASED
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The index and the body of a row.
pub(super) fn read_body(
    store: &Store,
    id: &str,
    row: &sqlx::any::AnyRow,
) -> Result<(u64, Body), Unwritten> {
    let error = |cause| store.database().error(cause);
    let from: i64 = row.try_get("from_index").map_err(error)?;
    let index = u64::try_from(from).map_err(|_| Unwritten::Corrupt { what: "state" })?;
    let sealed: Vec<u8> = row.try_get("body").map_err(error)?;
    Ok((index, open_body(store, id, index, &sealed)?))
}

/// Writes the rows of a forgotten person, or of a thing of theirs, again without what people chose: what they were and when stays.
pub(super) async fn blank(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    row: RowId,
) -> Result<(), Unwritten> {
    let error = |cause| store.database().error(cause);
    let id = row.to_string();
    let rows = sqlx::query(EACH)
        .bind(&id)
        .fetch_all(&mut **transaction)
        .await
        .map_err(error)?;
    for row in &rows {
        let (index, mut body) = read_body(store, &id, row)?;
        match &mut body {
            Body::Object(Object::User(user)) => {
                user.name = ERASED.into();
                user.email = ERASED.into();
                user.identities.clear();
                user.provisioned = None;
            }
            Body::Object(Object::Invitation(invitation)) => {
                invitation.email = ERASED.into();
                invitation.name = invitation.name.as_ref().map(|_| ERASED.into());
            }
            Body::Object(Object::AccessRequest(request)) => request.reason = ERASED.into(),
            Body::Object(Object::Memory(memory)) => memory.name = ERASED.into(),
            Body::Object(Object::Session(session)) => {
                session.agent = None;
                session.client = None;
                session.provider_session = None;
            }
            Body::Object(object) => {
                if let Some(made) = object.made_mut() {
                    made.name = ERASED.into();
                }
            }
            Body::Standing(standing) => standing.message.clear(),
            Body::Share(_)
            | Body::Own(_)
            | Body::Library(_)
            | Body::Version(_)
            | Body::Rules(_)
            | Body::Connection(_) => {}
        }
        sqlx::query(REPLACE)
            .bind(seal_body(store, &id, index, &body)?)
            .bind(&id)
            .bind(column(index)?)
            .execute(&mut **transaction)
            .await
            .map_err(error)?;
    }
    Ok(())
}

/// The last change below an index that left rows behind.
pub(super) async fn last_change(store: &Store, below: u64) -> Result<u64, Unwritten> {
    let database = store.database();
    let error = |cause| database.error(cause);
    let row = sqlx::query(LAST)
        .bind(column(below)?)
        .fetch_one(database.pool())
        .await
        .map_err(error)?;
    let begun: Option<i64> = row.try_get("begun").map_err(error)?;
    let ended: Option<i64> = row.try_get("ended").map_err(error)?;
    let last = begun.max(ended).unwrap_or_default();
    u64::try_from(last).map_err(|_| Unwritten::Corrupt { what: "state" })
}

fn seal_body(store: &Store, id: &str, index: u64, body: &Body) -> Result<Vec<u8>, Unwritten> {
    let text = serde_json::to_vec(body).map_err(|_| Unwritten::Corrupt { what: "state" })?;
    let keys = store.keys().at(index);
    Ok(keys.seal("state", "body", id, index, &text)?)
}

fn open_body(store: &Store, id: &str, index: u64, sealed: &[u8]) -> Result<Body, Unwritten> {
    let keys = store.keys().at(index);
    let text = keys.open_value("state", "body", id, index, sealed)?;
    serde_json::from_slice(&text).map_err(|_| Unwritten::Corrupt { what: "state" })
}

fn reply_row(key: &[u8; 16]) -> String {
    data_encoding::HEXLOWER.encode(key)
}

/// Replies are of no index: they are bound to the log's first life, whatever life they are given in.
fn reply_keys(store: &Store) -> KeysAt<'_> {
    store.keys().at(0)
}

/// What a change with this Idempotency-Key was answered before.
pub(super) async fn replayed(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    batch: &[Work],
) -> Result<Option<Replayed>, Unwritten> {
    let Some(Work::Change(proposal)) = batch.first() else {
        return Ok(None);
    };
    let Some(wanted) = &proposal.idempotency else {
        return Ok(None);
    };
    let error = |cause| store.database().error(cause);
    let mut found = None;
    // Under the newest key and those before it: a reply stays found by the one that was new when it was kept.
    for (_, key) in store.keys().blind(&wanted.scope) {
        let row = sqlx::query(REPLY)
            .bind(key.as_slice())
            .fetch_optional(&mut **transaction)
            .await
            .map_err(error)?;
        if let Some(row) = row {
            found = Some((key, row));
            break;
        }
    }
    let Some((key, row)) = found else {
        return Ok(None);
    };
    let request: Vec<u8> = row.try_get("request").map_err(error)?;
    if request != Sha256::digest(wanted.request).as_slice() {
        return Ok(Some(Err(Refused::KeyReused)));
    }
    let sealed: Vec<u8> = row.try_get("reply").map_err(error)?;
    let row = reply_row(&key);
    let text = reply_keys(store).open_value("idempotency", "reply", &row, 0, &sealed)?;
    let reply = serde_json::from_slice(&text).map_err(|_| Unwritten::Corrupt { what: "reply" })?;
    Ok(Some(Ok(Changed {
        reply,
        recorded: None,
    })))
}

/// Keeps what a change was answered, and lets go of old answers.
pub(super) async fn write_reply(
    store: &Store,
    transaction: &mut Transaction<'_, Any>,
    key: &IdempotencyKey,
    reply: &Value,
    now: i64,
) -> Result<(), Unwritten> {
    let error = |cause| store.database().error(cause);
    let newest = store.keys().blind(&key.scope).into_iter().next();
    let (version, id) = newest.ok_or(Unwritten::Corrupt { what: "data key" })?;
    let text = serde_json::to_vec(reply).map_err(|_| Unwritten::Corrupt { what: "reply" })?;
    let sealed = reply_keys(store).seal("idempotency", "reply", &reply_row(&id), 0, &text)?;
    sqlx::query(OLD_REPLIES)
        .bind(now - KEPT)
        .execute(&mut **transaction)
        .await
        .map_err(error)?;
    sqlx::query(ADD_REPLY)
        .bind(i64::from(version))
        .bind(id.as_slice())
        .bind(Sha256::digest(key.request).as_slice())
        .bind(sealed)
        .bind(now)
        .execute(&mut **transaction)
        .await
        .map_err(error)?;
    Ok(())
}

/// Lets go of answers that are kept no longer; whether none is left that only a blind index before this version finds.
pub(super) async fn expire_replies(
    store: &Store,
    version: u32,
    now: i64,
) -> Result<bool, Unwritten> {
    let error = |cause| store.database().error(cause);
    sqlx::query(OLD_REPLIES)
        .bind(now - KEPT)
        .execute(store.database().pool())
        .await
        .map_err(error)?;
    let left = sqlx::query(BEFORE)
        .bind(i64::from(version))
        .fetch_optional(store.database().pool())
        .await
        .map_err(error)?;
    Ok(left.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::plan;

    #[tokio::test]
    async fn what_a_row_was_before_is_not_looked_at() {
        let end = plan(END).await;
        assert_eq!(
            end,
            "SEARCH state USING INDEX state_by_to (to_index=? AND id=?)"
        );
    }
}
