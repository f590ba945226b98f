//! Groups that the customer's directory keeps: made, filled, renamed and deleted, with the roles that they give.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::super::DirectoryError;
use super::super::change::{Change, RowId};
use super::super::name;
use super::super::object::{Body, Kind as Type, Object, Ref, Role, User};
use super::super::people::{self, keep_glass};
use super::super::roll::is_active_admin;
use super::super::session::end_sessions;
use super::super::snapshot::Snapshot;
use super::{DirectoryGroup, Kind, Misfit, Need, Provisioned, directory_group, given};
use crate::decide::authorized::{Allowed, DirectoryGroupWrite, MemberChangeRole};
use crate::log::vocabulary::Event;

/// How many groups a directory keeps here at the most.
pub const GROUPS_MOST: usize = 5_000;

/// How many people one request brings into a group or out of it at the most.
pub const MOVED_MOST: usize = 1_000;

/// A group as the directory wants it to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What people call it, and what the directory itself calls it by.
    pub group: DirectoryGroup,
    /// Who is in it.
    pub members: BTreeSet<Ref>,
}

/// Who comes, who goes, and who is something else for it.
struct Moves<'a> {
    was: Option<&'a DirectoryGroup>,
    people: BTreeMap<Ref, User>,
    added: Vec<Ref>,
    removed: Vec<Ref>,
    roles: BTreeMap<Ref, (Role, Role)>,
}

fn moves<'a>(
    snapshot: &'a Snapshot,
    group: Ref,
    wanted: Option<&Wanted>,
) -> Result<Moves<'a>, DirectoryError> {
    let was = directory_group(snapshot, group);
    let scim = &snapshot.organization()?.scim;
    let nobody = BTreeSet::new();
    let members = wanted.map_or(&nobody, |wanted| &wanted.members);
    let before: BTreeSet<Ref> = match was {
        Some(_) => snapshot.people_in(group).map(|(user, _)| user).collect(),
        None => BTreeSet::new(),
    };
    let added: Vec<Ref> = members.difference(&before).copied().collect();
    let removed: Vec<Ref> = before.difference(members).copied().collect();
    // Deleting a group is one request, however many are in it.
    if wanted.is_some() && added.len() + removed.len() > MOVED_MOST {
        return Err(Misfit::new(
            Kind::TooMany,
            format!("at most {MOVED_MOST} members are added or removed at once: send the rest in another request"),
        )
        .into());
    }
    let role_of = |group: &DirectoryGroup| scim.group_roles.get(&group.name).copied();
    let (old_role, new_role) = (
        was.and_then(role_of),
        wanted.and_then(|wanted| role_of(&wanted.group)),
    );
    let mut concerned: BTreeSet<Ref> = added.iter().chain(&removed).copied().collect();
    if old_role != new_role {
        concerned.extend(before.intersection(members));
    }
    let (mut people, mut roles) = (BTreeMap::new(), BTreeMap::new());
    for user in concerned {
        let old = snapshot.user(user).ok_or_else(|| {
            Misfit::new(
                Kind::InvalidValue,
                format!("`members`: there is no user `{user}`"),
            )
        })?;
        let mut new = old.clone();
        new.groups.remove(&group);
        if old_role.is_some() || new_role.is_some() {
            let nothing = Provisioned::default();
            let said = old.provisioned.as_deref().unwrap_or(&nothing);
            let elsewhere = given(snapshot, scim, &said.roles, &new.groups);
            let here = new_role.filter(|_| members.contains(&user));
            new.role = elsewhere
                .into_iter()
                .chain(here)
                .min()
                .unwrap_or(scim.default_role);
        }
        if members.contains(&user) {
            new.groups.insert(group);
        }
        if new.role != old.role {
            roles.insert(user, (old.role, new.role));
        }
        people.insert(user, new);
    }
    Ok(Moves {
        was,
        people,
        added,
        removed,
        roles,
    })
}

/// Whether the group is so by now.
///
/// # Errors
/// It cannot be so.
pub fn is_so(snapshot: &Snapshot, group: Ref, wanted: &Wanted) -> Result<bool, DirectoryError> {
    let found = moves(snapshot, group, Some(wanted))?;
    Ok(found.was == Some(&wanted.group) && found.people.is_empty())
}

/// What must be allowed for the group to be so, or not to be.
///
/// # Errors
/// It cannot be so.
pub fn needs(
    snapshot: &Snapshot,
    group: Ref,
    wanted: Option<&Wanted>,
) -> Result<Vec<Need>, DirectoryError> {
    let found = moves(snapshot, group, wanted)?;
    let mut needs = vec![Need::of::<DirectoryGroupWrite>(snapshot.org())];
    let roles = found.roles.into_iter();
    needs.extend(roles.map(|(user, (_, new))| Need::role::<MemberChangeRole>(user, new)));
    Ok(needs)
}

/// The group is so from here on, or is not: one change.
///
/// # Errors
/// As [`needs`]; it would leave no active Admin, or a part was not allowed.
pub fn change(
    granted: &Allowed,
    snapshot: &Snapshot,
    (group, wanted): (Ref, Option<&Wanted>),
) -> Result<Change, DirectoryError> {
    granted.to::<DirectoryGroupWrite>(snapshot.org())?;
    let found = moves(snapshot, group, wanted)?;
    let (event, details) = match (found.was, wanted) {
        (None, None) => return Err(DirectoryError::absent(group)),
        (None, Some(wanted)) => {
            let groups = snapshot.objects_of(Type::Group, None);
            let kept = groups
                .filter(|(_, stored)| matches!(stored.value, Object::DirectoryGroup(_)))
                .count();
            if kept >= GROUPS_MOST {
                let why = format!("there are {GROUPS_MOST} groups already: delete some");
                return Err(Misfit::new(Kind::TooMany, why).into());
            }
            let details = json!({"name": wanted.group.name, "added": found.added});
            (Event::DirectoryGroupCreated, details)
        }
        (Some(was), Some(wanted)) => (
            Event::DirectoryGroupUpdated,
            json!({
                "name": {"old": was.name, "new": wanted.group.name},
                "added": found.added, "removed": found.removed,
            }),
        ),
        (Some(was), None) => (
            Event::DirectoryGroupDeleted,
            json!({"name": was.name, "removed": found.removed}),
        ),
    };
    let mut change = Change::new(event, Some(group), details).reply(json!({"id": group}));
    match wanted {
        Some(wanted) => {
            let kept = DirectoryGroup {
                name: name("displayName", &wanted.group.name)?,
                external_id: wanted.group.external_id.clone(),
            };
            let body = Body::Object(Object::DirectoryGroup(kept));
            change = change.put(RowId::Object(group), body);
        }
        None => {
            change = change.end(RowId::Object(group));
            for (share, _) in snapshot.shares_to(group) {
                change = change.end(RowId::Share(share));
            }
        }
    }
    for (user, (old, new)) in &found.roles {
        granted.to::<MemberChangeRole>(*user)?;
        if *new != Role::Admin {
            keep_glass(snapshot, *user)?;
        }
        let details = json!({"old": old.name(), "new": new.name(), "by": "groups"});
        change = change.and(Event::MemberRoleChanged, Some(*user), details);
        change = end_sessions(snapshot, *user, change);
    }
    let change = with_admins(snapshot, &found, change)?;
    let people = found.people.into_iter();
    Ok(people.fold(change, |change, (user, new)| {
        change.put(RowId::Object(user), Body::Object(Object::User(new)))
    }))
}

/// Keeps the number of active Admins, and one of them: several may go at once, of whom each alone might.
fn with_admins(
    snapshot: &Snapshot,
    found: &Moves<'_>,
    change: Change,
) -> Result<Change, DirectoryError> {
    if found.roles.is_empty() {
        return Ok(change);
    }
    let admins = snapshot.objects_of(Type::User, None);
    let admins = admins
        .filter(
            |(user, stored)| match (found.people.get(user), &stored.value) {
                (Some(new), _) => is_active_admin(new),
                (None, Object::User(old)) => is_active_admin(old),
                _ => false,
            },
        )
        .count();
    let was = found.roles.iter().find(|(user, (old, _))| {
        *old == Role::Admin && snapshot.user(**user).is_some_and(|user| user.active)
    });
    match was {
        Some((user, _)) if admins == 0 => Err(DirectoryError::LastAdmin {
            id: user.to_string(),
        }),
        _ => people::count_admins(snapshot, admins, change),
    }
}
