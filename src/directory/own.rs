//! The entities of the tenant's own types: written and deleted.

use std::collections::{HashMap, HashSet};

use cedar_policy::EntityUid;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::DirectoryError;
use super::change::{Change, RowId};
use super::object::{Body, OwnEntity};
use super::snapshot::Snapshot;
use crate::decide::authorized::{Authorized, EntityDelete, EntityWrite, Operator};
use crate::log::vocabulary::Event;
use crate::policy::{NAMESPACE, Uid};

/// The most entities in one call.
pub const ENTITIES_LIMIT: usize = 10_000;

/// How many uids an event names before it only counts.
const NAMED: usize = 100;

/// Writes entities of the tenant's own types, each as a whole; one that is there keeps its row. Whether they fit the
/// schema is seen when the rows are applied.
///
/// # Errors
/// Too many, one without a uid, one of a built-in type, or one twice.
pub fn put_entities(
    _by: &Authorized<EntityWrite>,
    snapshot: &Snapshot,
    entities: &[Value],
    seed: &[u8; 32],
) -> Result<Change, DirectoryError> {
    entities_put(snapshot, entities, seed)
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn put_entities_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    entities: &[Value],
    seed: &[u8; 32],
) -> Result<Change, DirectoryError> {
    entities_put(snapshot, entities, seed)
}

/// Deletes an entity of the tenant's own types.
///
/// # Errors
/// It is not there, or of a built-in type.
pub fn delete_entity(
    _by: &Authorized<EntityDelete>,
    snapshot: &Snapshot,
    uid: &EntityUid,
) -> Result<Change, DirectoryError> {
    refuse_built_in(uid)?;
    let text = uid.to_string();
    let row = snapshot
        .own_row(&uid.into())
        .ok_or_else(|| DirectoryError::NotFound {
            kind: "entity",
            id: text.clone(),
        })?;
    Ok(Change::new(
        Event::EntityDeleted,
        Some(snapshot.org()),
        json!({"uids": [text]}),
    )
    .end(row)
    .reply(json!({"uid": text})))
}

/// Identifiers that a seed gives, always the same.
pub fn fresh_ids(seed: &[u8; 32]) -> impl Iterator<Item = [u8; 16]> {
    let seed = *seed;
    (0_u64..).map(move |number| {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(seed)
            .chain_update(number.to_be_bytes())
            .finalize()
            .into();
        let mut id = [0; 16];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        id
    })
}

fn entities_put(
    snapshot: &Snapshot,
    entities: &[Value],
    seed: &[u8; 32],
) -> Result<Change, DirectoryError> {
    if entities.is_empty() || entities.len() > ENTITIES_LIMIT {
        return Err(DirectoryError::invalid("entities", "1 to 10000 at a time"));
    }
    let mut seen = HashSet::new();
    let mut uids = Vec::new();
    let mut rows = Vec::new();
    for (entity, fresh) in entities.iter().zip(fresh_ids(seed)) {
        let uid = uid_of(entity)?;
        refuse_built_in(&uid)?;
        let text = uid.to_string();
        if !seen.insert(uid.clone()) {
            return Err(DirectoryError::invalid(
                "entities",
                format!("`{text}` is there twice"),
            ));
        }
        if uids.len() < NAMED {
            uids.push(text);
        }
        rows.push((
            snapshot
                .own_row(&Uid::from(&uid))
                .unwrap_or(RowId::Own(fresh)),
            entity.clone(),
        ));
    }
    nothing_in_itself(snapshot, entities)?;
    let details = json!({"count": rows.len(), "uids": uids});
    let change = Change::new(Event::EntityWritten, Some(snapshot.org()), details)
        .reply(json!({"count": rows.len()}));
    Ok(rows.into_iter().fold(change, |change, (row, entity)| {
        change.put(row, Body::Own(OwnEntity { entity }))
    }))
}

/// What is in something that is in it again has no place.
fn nothing_in_itself(snapshot: &Snapshot, entities: &[Value]) -> Result<(), DirectoryError> {
    let mut parents: HashMap<Uid, Vec<Uid>> = HashMap::new();
    for entity in entities {
        let above = entity.get("parents").and_then(Value::as_array);
        let above = above.into_iter().flatten();
        let above = above.filter_map(|one| EntityUid::from_json(one.clone()).ok());
        let above = above.map(|one| Uid::from(&one)).collect();
        parents.insert(Uid::from(&uid_of(entity)?), above);
    }
    let above = |uid: &Uid| -> Vec<Uid> {
        match parents.get(uid) {
            Some(above) => above.clone(),
            None => snapshot
                .own_entity(uid)
                .map(|entity| entity.parents().to_vec())
                .unwrap_or_default(),
        }
    };
    // What has been walked through without coming back is not walked through again.
    let mut done: HashSet<Uid> = HashSet::new();
    for start in parents.keys().filter(|start| !above(start).is_empty()) {
        let mut under: HashSet<Uid> = HashSet::new();
        let mut path = vec![(start.clone(), false)];
        while let Some((uid, left)) = path.pop() {
            if left {
                under.remove(&uid);
                done.insert(uid);
                continue;
            }
            if done.contains(&uid) {
                continue;
            }
            if !under.insert(uid.clone()) {
                return Err(DirectoryError::invalid(
                    "entities",
                    format!("`{uid}` would be in itself"),
                ));
            }
            path.push((uid.clone(), true));
            path.extend(above(&uid).into_iter().map(|one| (one, false)));
        }
    }
    Ok(())
}

fn uid_of(entity: &Value) -> Result<EntityUid, DirectoryError> {
    let uid = entity
        .get("uid")
        .ok_or_else(|| DirectoryError::invalid("entities", "one has no `uid`"))?;
    EntityUid::from_json(uid.clone()).map_err(|cause| DirectoryError::OwnEntity {
        what: uid.to_string(),
        cause: cause.to_string(),
    })
}

fn refuse_built_in(uid: &EntityUid) -> Result<(), DirectoryError> {
    let of = uid.type_name();
    // An action is declared in the schema, never written.
    if of.namespace_components().next() == Some(NAMESPACE) || of.basename() == "Action" {
        return Err(DirectoryError::invalid(
            "entities",
            format!("`{uid}` is of a built-in type: it has its own calls"),
        ));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::str::FromStr as _;

    use super::super::world::World;
    use super::*;

    const SEED: [u8; 32] = [5; 32];

    fn ticket(id: &str, title: &str) -> Value {
        json!({"uid": {"type": "Ticket", "id": id}, "attrs": {"title": title}, "parents": []})
    }

    #[test]
    fn nothing_is_in_itself() {
        let mut world = World::new();
        let by = world.by::<EntityWrite>(world.org);
        let within = |id: &str, above: &[&str]| {
            let parents: Vec<Value> = above
                .iter()
                .map(|id| json!({"type": "Ticket", "id": id}))
                .collect();
            json!({"uid": {"type": "Ticket", "id": id}, "attrs": {"title": id}, "parents": parents})
        };
        for wrong in [
            vec![within("a", &["a"])],
            vec![
                within("a", &["b"]),
                within("b", &["c"]),
                within("c", &["a"]),
            ],
        ] {
            let refused = put_entities(&by, &world.snapshot, &wrong, &SEED).unwrap_err();
            assert!(
                refused.to_string().contains("would be in itself"),
                "{refused}"
            );
        }
        // Two ways to the same are none.
        let diamond = [
            within("a", &["b", "c"]),
            within("b", &["d"]),
            within("c", &["d"]),
        ];
        assert!(put_entities(&by, &world.snapshot, &diamond, &SEED).is_ok());
        // Nor through what is there already; `Ticket` has no place in the schema of this test, so it is put past it.
        world.apply(put_entities(
            &by,
            &world.snapshot,
            &[within("a", &[])],
            &SEED,
        ));
        assert!(put_entities(&by, &world.snapshot, &[within("b", &["a"])], &SEED).is_ok());
    }

    #[test]
    fn an_entity_that_is_there_keeps_its_row() {
        let mut world = World::new();
        let by = world.by::<EntityWrite>(world.org);
        world.apply(put_entities(
            &by,
            &world.snapshot,
            &[ticket("1", "a")],
            &SEED,
        ));
        let uid = EntityUid::from_str("Ticket::\"1\"").unwrap();
        let row = world.snapshot.own_row(&Uid::from(&uid)).unwrap();
        world.apply(put_entities(
            &by,
            &world.snapshot,
            &[ticket("2", "b"), ticket("1", "c")],
            &[6; 32],
        ));
        assert_eq!(world.snapshot.own_row(&Uid::from(&uid)), Some(row));
        assert_eq!(world.snapshot.own(None).count(), 2);
        world.apply(delete_entity(&world.by(world.org), &world.snapshot, &uid));
        assert!(delete_entity(&world.by(world.org), &world.snapshot, &uid).is_err());
    }

    #[test]
    fn built_in_types_actions_and_twins_are_refused() {
        let world = World::new();
        let by = world.by::<EntityWrite>(world.org);
        for of in [
            "Cedarkeep::User",
            "Cedarkeep::Deep::Thing",
            "Action",
            "Mine::Action",
        ] {
            let entity = json!({"uid": {"type": of, "id": "1"}, "attrs": {}, "parents": []});
            assert!(
                put_entities(&by, &world.snapshot, &[entity], &SEED).is_err(),
                "{of}"
            );
        }
        assert!(
            put_entities(
                &by,
                &world.snapshot,
                &[ticket("1", "a"), ticket("1", "b")],
                &SEED
            )
            .is_err()
        );
        assert!(put_entities(&by, &world.snapshot, &[json!({"attrs": {}})], &SEED).is_err());
    }

    #[test]
    fn entities_come_in_lots_of_ten_thousand() {
        let world = World::new();
        let by = world.by::<EntityWrite>(world.org);
        let many: Vec<_> = (0..=ENTITIES_LIMIT)
            .map(|id| ticket(&id.to_string(), "t"))
            .collect();
        assert!(put_entities(&by, &world.snapshot, &many, &SEED).is_err());
        let (_, lot) = many.split_first().unwrap();
        let change = put_entities(&by, &world.snapshot, lot, &SEED).unwrap();
        let rows: HashSet<_> = change.rows.iter().map(|row| format!("{row:?}")).collect();
        assert_eq!(rows.len(), ENTITIES_LIMIT);
        assert_eq!(
            change.rows,
            put_entities(&by, &world.snapshot, lot, &SEED).unwrap().rows
        );
    }
}
