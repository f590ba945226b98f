//! Memory: written, rewritten and forgotten in the layer of what it hangs from.

use serde_json::json;

use super::change::{Change, RowId};
use super::object::{Body, Kind, Layer, Memory, Object, Ref};
use super::snapshot::Snapshot;
use super::{DirectoryError, name, view};
use crate::decide::authorized::{Authorized, MemoryForget, MemoryWrite};
use crate::log::vocabulary::Event;

/// What is asked about when a memory of this layer is written for the first time: the layer says which kind.
///
/// # Errors
/// A layer and a place that do not fit, or a personal memory of nobody or of somebody else.
pub fn place(
    layer: Layer,
    at: Option<Ref>,
    user: Option<Ref>,
    snapshot: &Snapshot,
) -> Result<Ref, DirectoryError> {
    let misfit = || {
        DirectoryError::invalid(
            "parent",
            format!(
                "a memory of the layer `{}` does not hang from that",
                layer.name()
            ),
        )
    };
    let place = match (layer, at) {
        (Layer::Personal, at) => {
            let user = user.ok_or(DirectoryError::NoActingUser)?;
            if at.is_some_and(|at| at != user) {
                return Err(misfit());
            }
            user
        }
        (Layer::Organization, None) => snapshot.org(),
        (_, Some(at)) if layer_at(at.kind) == Some(layer) => at,
        _ => return Err(misfit()),
    };
    snapshot.require(place)?;
    Ok(place)
}

/// A new memory at the place asked about (see [`place`]), which says its layer.
///
/// # Errors
/// Nobody acts, a name that cannot be read, somebody else's personal layer, or a place that has no memory.
pub fn write_new(
    by: &Authorized<MemoryWrite>,
    snapshot: &Snapshot,
    id: [u8; 16],
    new_name: &str,
) -> Result<Change, DirectoryError> {
    let owner = by.user().ok_or(DirectoryError::NoActingUser)?;
    snapshot.require_user(owner)?;
    let at = by.resource();
    let layer = layer_at(at.kind)
        .ok_or_else(|| DirectoryError::invalid("parent", format!("`{at}` has no memory")))?;
    // One's own personal layer alone: `place` refuses any other.
    place(layer, Some(at), Some(owner), snapshot)?;
    // A person is no container: a personal memory hangs from the organization, and its owner is its person.
    let parent = if layer == Layer::Personal {
        snapshot.org()
    } else {
        at
    };
    let memory = Memory {
        name: name("name", new_name)?,
        owner,
        layer,
        parent,
        holds: 0,
    };
    let details = json!({"name": memory.name, "layer": layer.name(), "parent": parent});
    Ok(written(
        snapshot,
        Ref::new(Kind::Memory, id),
        memory,
        details,
    ))
}

/// Another name for the memory asked about; its content is kept elsewhere.
///
/// # Errors
/// It is not there, or a name that cannot be read.
pub fn rewrite(
    by: &Authorized<MemoryWrite>,
    snapshot: &Snapshot,
    new_name: &str,
) -> Result<Change, DirectoryError> {
    let old = snapshot.require_memory(by.resource())?;
    let new = Memory {
        name: name("name", new_name)?,
        ..old.clone()
    };
    let details = json!({"old": old.name, "new": new.name, "layer": old.layer.name()});
    Ok(written(snapshot, by.resource(), new, details))
}

/// Forgets the memory asked about.
///
/// # Errors
/// It is not there.
pub fn forget(
    by: &Authorized<MemoryForget>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    let reference = by.resource();
    let old = snapshot.require_memory(reference)?;
    let details = json!({"name": old.name, "layer": old.layer.name(), "owner": old.owner, "parent": old.parent});
    Ok(
        Change::new(Event::MemoryForgotten, Some(reference), details)
            .end(RowId::Object(reference))
            .reply(json!({"id": reference})),
    )
}

/// What may be of use in a thread for somebody, the most specific layer first: the thread's, the project's, the team's, their own, the
/// organization's; behind `after`, a place in that order. Whether they may read each, policies say.
#[must_use]
pub fn of_use(
    snapshot: &Snapshot,
    (thread, user): (Ref, Option<Ref>),
    after: Option<(u8, Ref)>,
) -> Vec<Ref> {
    let mut found: Vec<(u8, Ref)> = Vec::new();
    let mut add = |layer, memories: &mut dyn Iterator<Item = Ref>| {
        let placed = memories.map(|memory| (specific(layer), memory));
        found.extend(placed.filter(|place| after.is_none_or(|after| *place > after)));
    };
    for place in snapshot.above(thread).into_iter().chain([thread]) {
        let layer = layer_at(place.kind);
        // Personal memories hang from the organization, too.
        if let Some(layer @ (Layer::Thread | Layer::Project | Layer::Team)) = layer {
            let under = snapshot.children(place);
            add(layer, &mut under.filter(|one| one.kind == Kind::Memory));
        }
    }
    add(
        Layer::Organization,
        &mut snapshot.memories_of(Layer::Organization),
    );
    if let Some(user) = user {
        let theirs = snapshot.owned_of(user, Kind::Memory);
        add(Layer::Personal, &mut theirs.filter(|one| {
            let stored = snapshot.lent(*one);
            stored.is_some_and(|one| matches!(&one.value, Object::Memory(memory) if memory.layer == Layer::Personal))
        }));
    }
    found.sort_unstable();
    found.into_iter().map(|(_, reference)| reference).collect()
}

/// How specific a layer is in a thread: the most specific is 0.
#[must_use]
pub const fn specific(layer: Layer) -> u8 {
    match layer {
        Layer::Thread => 0,
        Layer::Project => 1,
        Layer::Team => 2,
        Layer::Personal => 3,
        Layer::Organization => 4,
    }
}

/// The layer of what hangs there.
const fn layer_at(kind: Kind) -> Option<Layer> {
    match kind {
        Kind::Thread => Some(Layer::Thread),
        Kind::Project => Some(Layer::Project),
        Kind::Team => Some(Layer::Team),
        Kind::User => Some(Layer::Personal),
        Kind::Organization => Some(Layer::Organization),
        _ => None,
    }
}

fn written(
    snapshot: &Snapshot,
    reference: Ref,
    memory: Memory,
    details: serde_json::Value,
) -> Change {
    let object = Object::Memory(memory);
    let reply = view::body(reference, &object, snapshot);
    Change::new(Event::MemoryWritten, Some(reference), details)
        .put(RowId::Object(reference), Body::Object(object))
        .reply(reply)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::made::Audience;
    use super::super::world::{World, id};
    use super::*;

    #[test]
    fn the_place_says_the_layer() {
        let mut world = World::new();
        let thread = world.thread(Audience::Private);
        for (at, layer) in [
            (thread, Layer::Thread),
            (world.project, Layer::Project),
            (world.team, Layer::Team),
            (world.org, Layer::Organization),
        ] {
            let change = write_new(&world.by(at), &world.snapshot, id(90), "Facts").unwrap();
            let next = world.with(&change);
            let memory = next.require_memory(Ref::new(Kind::Memory, id(90))).unwrap();
            assert_eq!((memory.layer, memory.parent), (layer, at));
        }
    }

    #[test]
    fn a_personal_memory_hangs_from_the_organization_and_is_its_persons() {
        let world = World::new();
        let change = write_new(&world.by(world.ada), &world.snapshot, id(90), "Mine").unwrap();
        let next = world.with(&change);
        let memory = next.require_memory(Ref::new(Kind::Memory, id(90))).unwrap();
        assert_eq!(
            (memory.layer, memory.parent, memory.owner),
            (Layer::Personal, world.org, world.ada)
        );
    }

    #[test]
    fn nobody_writes_into_anothers_personal_layer() {
        let world = World::new();
        assert!(write_new(&world.by(world.bob), &world.snapshot, id(90), "Theirs").is_err());
        let nobody = write_new(
            &world.by_nobody(world.team),
            &world.snapshot,
            id(90),
            "Whose",
        );
        assert_eq!(nobody.unwrap_err(), DirectoryError::NoActingUser);
    }

    #[test]
    fn a_layer_fits_where_it_hangs() {
        let world = World::new();
        let (snapshot, ada) = (&world.snapshot, Some(world.ada));
        assert_eq!(
            place(Layer::Team, Some(world.team), ada, snapshot),
            Ok(world.team)
        );
        assert_eq!(place(Layer::Personal, None, ada, snapshot), Ok(world.ada));
        assert_eq!(
            place(Layer::Organization, None, ada, snapshot),
            Ok(world.org)
        );
        assert!(place(Layer::Team, Some(world.project), ada, snapshot).is_err());
        assert!(place(Layer::Project, None, ada, snapshot).is_err());
        assert!(place(Layer::Personal, Some(world.bob), ada, snapshot).is_err());
        assert_eq!(
            place(Layer::Personal, None, None, snapshot),
            Err(DirectoryError::NoActingUser)
        );
        let gone = Ref::new(Kind::Thread, id(99));
        assert_eq!(
            place(Layer::Thread, Some(gone), ada, snapshot),
            Err(DirectoryError::absent(gone))
        );
    }

    #[test]
    fn what_is_of_use_in_a_thread_stands_the_most_specific_first() {
        let mut world = World::new();
        let thread = world.thread(Audience::Private);
        let at = [world.org, world.ada, world.team, world.project, thread];
        for (number, place) in (90..).zip(at) {
            world.apply(write_new(
                &world.by(place),
                &world.snapshot,
                id(number),
                "Facts",
            ));
        }
        let found = |user, after| of_use(&world.snapshot, (thread, user), after);
        let layers = |found: &[Ref]| -> Vec<Layer> {
            let layer = |one: &Ref| world.snapshot.require_memory(*one).unwrap().layer;
            found.iter().map(layer).collect()
        };
        let all = found(Some(world.ada), None);
        let order = [
            Layer::Thread,
            Layer::Project,
            Layer::Team,
            Layer::Personal,
            Layer::Organization,
        ];
        assert_eq!(layers(&all), order);
        // Somebody's own is nobody else's.
        assert_eq!(
            layers(&found(Some(world.bob), None)),
            [order[0], order[1], order[2], order[4]]
        );
        assert_eq!(
            layers(&found(None, None)),
            [order[0], order[1], order[2], order[4]]
        );
        let third = all.get(2).copied().unwrap();
        let rest: Vec<_> = all.into_iter().skip(3).collect();
        assert_eq!(found(Some(world.ada), Some((2, third))), rest);
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let mut world = World::new();
        let memory = world.memory_of(world.team);
        world.apply(rewrite(&world.by(memory), &world.snapshot, "Newer"));
        assert_eq!(world.snapshot.require_memory(memory).unwrap().name, "Newer");
        world.apply(forget(&world.by(memory), &world.snapshot));
        assert_eq!(
            forget(&world.by(memory), &world.snapshot).unwrap_err(),
            DirectoryError::absent(memory)
        );
    }
}
