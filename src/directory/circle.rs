//! Teams and projects: made, joined, left and deleted.

use serde_json::json;

use super::change::{Change, RowId};
use super::object::{Body, Circle, Kind, Object, Ref, User};
use super::snapshot::Snapshot;
use super::{DirectoryError, name, view};
use crate::decide::authorized::{
    Action, Authorized, ProjectAddMember, ProjectCreate, ProjectDelete, ProjectRemoveMember,
    TeamAddMember, TeamCreate, TeamDelete, TeamRemoveMember,
};
use crate::log::vocabulary::Event;

/// An action that makes a team or a project.
pub trait CreatesCircle: Action {
    /// Which.
    const KIND: Kind;
    /// What it is recorded as.
    const EVENT: Event;
}

/// An action that brings somebody into a team or project.
pub trait AddsMember: Action {
    /// What it is recorded as.
    const EVENT: Event;
}

/// An action that takes somebody out of one.
pub trait RemovesMember: Action {
    /// What it is recorded as.
    const EVENT: Event;
}

/// An action that deletes one.
pub trait DeletesCircle: Action {
    /// What it is recorded as.
    const EVENT: Event;
}

impl CreatesCircle for TeamCreate {
    const KIND: Kind = Kind::Team;
    const EVENT: Event = Event::TeamCreated;
}
impl CreatesCircle for ProjectCreate {
    const KIND: Kind = Kind::Project;
    const EVENT: Event = Event::ProjectCreated;
}
impl AddsMember for TeamAddMember {
    const EVENT: Event = Event::TeamMemberAdded;
}
impl AddsMember for ProjectAddMember {
    const EVENT: Event = Event::ProjectMemberAdded;
}
impl RemovesMember for TeamRemoveMember {
    const EVENT: Event = Event::TeamMemberRemoved;
}
impl RemovesMember for ProjectRemoveMember {
    const EVENT: Event = Event::ProjectMemberRemoved;
}
impl DeletesCircle for TeamDelete {
    const EVENT: Event = Event::TeamDeleted;
}
impl DeletesCircle for ProjectDelete {
    const EVENT: Event = Event::ProjectDeleted;
}

/// Random bits for a new team or project.
#[derive(Debug, Clone, Copy)]
pub struct CircleIds {
    /// Its own.
    pub circle: [u8; 16],
    /// Its members group's.
    pub members: [u8; 16],
    /// Its leads group's.
    pub leads: [u8; 16],
}

/// What somebody is in a team or project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In it.
    Member,
    /// In it, and leads it.
    Lead,
}

/// A new team or project under the container asked about; whoever makes it leads it.
///
/// # Errors
/// A name that cannot be read, or a container that has none of these under it.
pub fn create_circle<A: CreatesCircle>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    ids: CircleIds,
    new_name: &str,
) -> Result<Change, DirectoryError> {
    let parent = by.resource();
    match (A::KIND, parent.kind) {
        (_, Kind::Organization) | (Kind::Project, Kind::Team) => snapshot.require(parent)?,
        _ => {
            return Err(DirectoryError::invalid(
                "parent",
                "a team hangs from the organization, a project also from a team",
            ));
        }
    };
    let reference = Ref::new(A::KIND, ids.circle);
    let (members, leads) = (
        Ref::new(Kind::Group, ids.members),
        Ref::new(Kind::Group, ids.leads),
    );
    let circle = Circle {
        name: name("name", new_name)?,
        parent,
        members,
        leads,
        holds: 0,
    };
    let details = json!({"name": circle.name, "parent": parent});
    let object = match A::KIND {
        Kind::Team => Object::Team(circle),
        _ => Object::Project(circle),
    };
    let reply = view::body(reference, &object, snapshot);
    let mut change = Change::new(A::EVENT, Some(reference), details)
        .put(RowId::Object(reference), Body::Object(object))
        .put(
            RowId::Object(members),
            Body::Object(Object::Group { of: reference }),
        )
        .put(
            RowId::Object(leads),
            Body::Object(Object::Group { of: reference }),
        )
        .reply(reply);
    if let Some(creator) = by.user() {
        let mut user = snapshot.require_user(creator)?.clone();
        user.groups.extend([members, leads]);
        change = change.put(RowId::Object(creator), Body::Object(Object::User(user)));
    }
    Ok(change)
}

/// Brings somebody into the team or project asked about, or lets them lead it.
///
/// # Errors
/// Nobody there of that name, or they are that already.
pub fn add_member<A: AddsMember>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    user: Ref,
    place: Place,
) -> Result<Change, DirectoryError> {
    let circle = snapshot.require_circle(by.resource())?;
    let old = snapshot.require_user(user)?;
    let mut groups = old.groups.clone();
    groups.insert(circle.members);
    if place == Place::Lead {
        groups.insert(circle.leads);
    }
    moved(by.resource(), A::EVENT, (user, old), groups, place)
}

/// Takes somebody out of the team or project asked about, or only from its lead.
///
/// # Errors
/// Nobody there of that name, or they are not that.
pub fn remove_member<A: RemovesMember>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    user: Ref,
    place: Place,
) -> Result<Change, DirectoryError> {
    let circle = snapshot.require_circle(by.resource())?;
    let old = snapshot.require_user(user)?;
    let mut groups = old.groups.clone();
    // INVARIANT: leads are members, so who is no member leads nothing.
    groups.remove(&circle.leads);
    if place == Place::Member {
        groups.remove(&circle.members);
    }
    moved(by.resource(), A::EVENT, (user, old), groups, place)
}

/// Deletes the team or project asked about, and the shares to its groups.
///
/// # Errors
/// Something hangs from it.
pub fn delete_circle<A: DeletesCircle>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    let reference = by.resource();
    let circle = snapshot.require_circle(reference)?;
    let not_empty = |count, what| DirectoryError::NotEmpty {
        id: reference.to_string(),
        count,
        what,
    };
    let children = snapshot.children(reference).count();
    if children > 0 {
        return Err(not_empty(children, "things that hang from it"));
    }
    let used = snapshot
        .audience_of(circle.members, Kind::Integration)
        .count();
    if used > 0 {
        return Err(not_empty(used, "integrations whose audience it is"));
    }
    let mut change = Change::new(A::EVENT, Some(reference), json!({"name": circle.name}))
        .end(RowId::Object(reference))
        .end(RowId::Object(circle.members))
        .end(RowId::Object(circle.leads))
        .reply(json!({"id": reference}));
    // INVARIANT: leads are members, so the members are everybody whose row names a group of it.
    for (user, old) in snapshot.people_in(circle.members) {
        let mut new = old.clone();
        new.groups.remove(&circle.members);
        new.groups.remove(&circle.leads);
        change = change.put(RowId::Object(user), Body::Object(Object::User(new)));
    }
    for group in [circle.members, circle.leads] {
        for (share, _) in snapshot.shares_to(group) {
            change = change.end(RowId::Share(share));
        }
    }
    Ok(change)
}

fn moved(
    circle: Ref,
    event: Event,
    (user, old): (Ref, &User),
    groups: std::collections::BTreeSet<Ref>,
    place: Place,
) -> Result<Change, DirectoryError> {
    if groups == old.groups {
        return Err(DirectoryError::conflicting(
            "user",
            "this changes nothing of what they are there",
        ));
    }
    let place = match place {
        Place::Member => "member",
        Place::Lead => "lead",
    };
    let details = json!({"user": user, "place": place});
    let new = User {
        groups,
        ..old.clone()
    };
    Ok(Change::new(event, Some(circle), details.clone())
        .put(RowId::Object(user), Body::Object(Object::User(new)))
        .reply(details))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::world::{World, id};
    use super::*;

    const IDS: CircleIds = CircleIds {
        circle: [90; 16],
        members: [91; 16],
        leads: [92; 16],
    };

    #[test]
    fn whoever_makes_a_team_leads_it() {
        let world = World::new();
        let circle = world.snapshot.require_circle(world.team).unwrap();
        let ada = world.snapshot.user(world.ada).unwrap();
        assert!(ada.groups.contains(&circle.members) && ada.groups.contains(&circle.leads));
    }

    #[test]
    fn a_service_that_provisions_leads_nothing() {
        let world = World::new();
        let by = world.by_nobody::<TeamCreate>(world.org);
        let change = create_circle(&by, &world.snapshot, IDS, "Sales").unwrap();
        assert_eq!(change.rows.len(), 3);
    }

    #[test]
    fn a_team_hangs_from_the_organization_and_a_project_also_from_a_team() {
        let world = World::new();
        let snapshot = &world.snapshot;
        assert!(create_circle(&world.by::<ProjectCreate>(world.team), snapshot, IDS, "P").is_ok());
        assert!(create_circle(&world.by::<ProjectCreate>(world.org), snapshot, IDS, "P").is_ok());
        assert!(create_circle(&world.by::<TeamCreate>(world.team), snapshot, IDS, "T").is_err());
        assert!(
            create_circle(
                &world.by::<ProjectCreate>(world.project),
                snapshot,
                IDS,
                "P"
            )
            .is_err()
        );
    }

    #[test]
    fn leads_are_members_and_who_is_no_member_leads_nothing() {
        let mut world = World::new();
        world.apply(add_member::<TeamAddMember>(
            &world.by(world.team),
            &world.snapshot,
            world.bob,
            Place::Lead,
        ));
        let circle = world.snapshot.require_circle(world.team).unwrap().clone();
        let groups = |world: &World| world.snapshot.user(world.bob).unwrap().groups.clone();
        assert!(groups(&world).contains(&circle.members) && groups(&world).contains(&circle.leads));
        world.apply(remove_member::<TeamRemoveMember>(
            &world.by(world.team),
            &world.snapshot,
            world.bob,
            Place::Member,
        ));
        assert!(
            !groups(&world).contains(&circle.members) && !groups(&world).contains(&circle.leads)
        );
    }

    #[test]
    fn nobody_is_added_twice_or_removed_from_where_they_are_not() {
        let world = World::new();
        let add = world.by::<TeamAddMember>(world.team);
        assert!(add_member(&add, &world.snapshot, world.ada, Place::Lead).is_err());
        let remove = world.by::<TeamRemoveMember>(world.team);
        assert!(remove_member(&remove, &world.snapshot, world.bob, Place::Member).is_err());
        let nobody = Ref::new(Kind::User, id(99));
        assert_eq!(
            add_member(&add, &world.snapshot, nobody, Place::Member).unwrap_err(),
            DirectoryError::absent(nobody)
        );
    }

    #[test]
    fn a_team_with_a_project_is_not_deleted() {
        let mut world = World::new();
        let refused = delete_circle::<TeamDelete>(&world.by(world.team), &world.snapshot);
        assert!(matches!(
            refused,
            Err(DirectoryError::NotEmpty { count: 1, .. })
        ));
        world.apply(delete_circle::<ProjectDelete>(
            &world.by(world.project),
            &world.snapshot,
        ));
        let circle = world.snapshot.require_circle(world.team).unwrap().clone();
        world.apply(delete_circle::<TeamDelete>(
            &world.by(world.team),
            &world.snapshot,
        ));
        assert!(world.snapshot.object(world.team).is_none());
        assert!(world.snapshot.object(circle.members).is_none());
        let ada = world.snapshot.user(world.ada).unwrap();
        assert!(!ada.groups.contains(&circle.members) && !ada.groups.contains(&circle.leads));
    }

    #[test]
    fn a_team_that_an_integration_is_for_is_not_deleted() {
        let mut world = World::new();
        world.apply(delete_circle::<ProjectDelete>(
            &world.by(world.project),
            &world.snapshot,
        ));
        world.integration_for_the_team();
        let refused = delete_circle::<TeamDelete>(&world.by(world.team), &world.snapshot);
        assert!(matches!(
            refused,
            Err(DirectoryError::NotEmpty { count: 1, .. })
        ));
    }
}
