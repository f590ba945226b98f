//! People whom the customer's directory keeps: made, changed in one change whatever of them changes, and found.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::change::{Change, Row, RowId};
use super::super::object::{Body, Kind, Object, Ref, Role, User};
use super::super::people::{self, Joining};
use super::super::run;
use super::super::session::end_sessions;
use super::super::snapshot::Snapshot;
use super::super::{DirectoryError, name};
use super::{Need, Provisioned, given};
use crate::decide::authorized::{
    Allowed, MemberChangeRole, MemberInvite, MemberSuspend, MemberUpdate,
};
use crate::log::vocabulary::Event;

/// A person as the directory wants them to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What people call them.
    pub name: String,
    /// Their address.
    pub email: String,
    /// Whether they may act; absent: as they are, and active where they are new.
    pub active: Option<bool>,
    /// What the directory says beside.
    pub provisioned: Provisioned,
}

/// What must be allowed for somebody to be made.
#[must_use]
pub fn new_needs(snapshot: &Snapshot) -> Vec<Need> {
    vec![Need::of::<MemberInvite>(snapshot.org())]
}

/// Somebody is made, with these 128 random bits.
///
/// # Errors
/// A name or an address that is none, or somebody who has that address or that user name.
pub fn create(
    granted: &Allowed,
    snapshot: &Snapshot,
    (id, wanted): ([u8; 16], &Wanted),
) -> Result<Change, DirectoryError> {
    let by = granted.to::<MemberInvite>(snapshot.org())?;
    let reference = Ref::new(Kind::User, id);
    unique(snapshot, reference, wanted)?;
    let scim = &snapshot.organization()?.scim;
    let given = given(snapshot, scim, &wanted.provisioned.roles, &[].into());
    let joining = Joining {
        id,
        name: wanted.name.clone(),
        email: wanted.email.clone(),
        role: given.unwrap_or(scim.default_role),
    };
    let joined = people::joined(snapshot, (&joining, [].into()), by.now())?;
    let (mut user, mut beside) = (None, Vec::new());
    for row in joined.rows {
        match row {
            Row::Put(RowId::Object(one), Body::Object(Object::User(joined)))
                if one == reference =>
            {
                user = Some(joined);
            }
            // How many Admins there are is counted below, for somebody who may not act yet.
            Row::Put(RowId::Object(one), _) if one == snapshot.org() => {}
            row => beside.push(row),
        }
    }
    let user = User {
        active: wanted.active.unwrap_or(true),
        provisioned: Some(Box::new(wanted.provisioned.clone())),
        ..user.ok_or_else(|| DirectoryError::absent(reference))?
    };
    let details = joined.events.into_iter().next().map(|event| event.details);
    let details = details.unwrap_or_default();
    let active = user.active;
    let mut change = people::replaced(snapshot, reference, user, Event::MemberJoined, details)?;
    change.rows.extend(beside);
    Ok(match active {
        true => change,
        false => change.and(Event::MemberSuspended, Some(reference), json!({})),
    })
}

/// What of a person is to be otherwise.
#[derive(Debug)]
struct Differences {
    new: User,
    /// The SCIM paths of what is otherwise.
    said: Vec<String>,
    role: Option<(Role, Role)>,
    active: Option<bool>,
    email: Option<(String, String)>,
}

fn differences(
    snapshot: &Snapshot,
    user: Ref,
    wanted: &Wanted,
) -> Result<Differences, DirectoryError> {
    let old = snapshot.require_user(user)?;
    unique(snapshot, user, wanted)?;
    let scim = &snapshot.organization()?.scim;
    let nothing = Provisioned::default();
    let before = old.provisioned.as_deref().unwrap_or(&nothing);
    let after = &wanted.provisioned;
    let mut new = old.clone();
    new.name = name("name", &wanted.name)?;
    new.email = people::address(&wanted.email)?;
    new.active = wanted.active.unwrap_or(old.active);
    new.provisioned = Some(Box::new(after.clone()));
    // What an Admin has made of them since stays, until the directory says another role.
    if before.roles != after.roles {
        let given = given(snapshot, scim, &after.roles, &old.groups);
        new.role = given.unwrap_or(scim.default_role);
    }
    let mut said = Vec::new();
    let mut differs = |path: &str, differs: bool| {
        if differs {
            said.push(path.to_owned());
        }
    };
    differs("externalId", before.external_id != after.external_id);
    differs("userName", before.user_name != after.user_name);
    differs(
        "emails",
        before.emails != after.emails || old.email != new.email,
    );
    differs("roles", before.roles != after.roles);
    let paths: std::collections::BTreeSet<&String> =
        before.texts.keys().chain(after.texts.keys()).collect();
    for path in paths {
        differs(path, before.texts.get(path) != after.texts.get(path));
    }
    if said.is_empty() && old.name != new.name {
        said.push("displayName".into());
    }
    Ok(Differences {
        said,
        role: (old.role != new.role).then_some((old.role, new.role)),
        active: (old.active != new.active).then_some(new.active),
        email: (old.email != new.email).then(|| (old.email.clone(), new.email.clone())),
        new,
    })
}

/// Whether the person is so by now.
///
/// # Errors
/// They are not there, or cannot be so.
pub fn is_so(snapshot: &Snapshot, user: Ref, wanted: &Wanted) -> Result<bool, DirectoryError> {
    let found = differences(snapshot, user, wanted)?;
    Ok(found.said.is_empty() && found.role.is_none() && found.active.is_none())
}

/// What must be allowed for somebody to be so.
///
/// # Errors
/// They are not there, or cannot be so.
pub fn needs(snapshot: &Snapshot, user: Ref, wanted: &Wanted) -> Result<Vec<Need>, DirectoryError> {
    let found = differences(snapshot, user, wanted)?;
    let mut needs = Vec::new();
    if let Some((_, role)) = found.role {
        needs.push(Need::role::<MemberChangeRole>(user, role));
    }
    if found.active.is_some() {
        needs.push(Need::of::<MemberSuspend>(user));
    }
    if !found.said.is_empty() || needs.is_empty() {
        needs.push(Need::of::<MemberUpdate>(user));
    }
    Ok(needs)
}

/// Somebody is so from here on: one change, with an event for each part of it.
///
/// # Errors
/// As [`needs`]; they are the last active Admin, or a part was not allowed.
pub fn change(
    granted: &Allowed,
    snapshot: &Snapshot,
    (user, wanted): (Ref, &Wanted),
) -> Result<Change, DirectoryError> {
    let found = differences(snapshot, user, wanted)?;
    let mut events: Vec<(Event, Value)> = Vec::new();
    if !found.said.is_empty() || (found.role.is_none() && found.active.is_none()) {
        granted.to::<MemberUpdate>(user)?;
        let mut details = json!({"changed": found.said});
        if let (Some((old, new)), Some(details)) = (&found.email, details.as_object_mut()) {
            details.insert("email".into(), json!({"old": old, "new": new}));
        }
        events.push((Event::MemberUpdated, details));
    }
    if found.active == Some(false) || found.role.is_some_and(|(_, new)| new != Role::Admin) {
        people::keep_glass(snapshot, user)?;
    }
    if let Some((old, new)) = found.role {
        granted.to::<MemberChangeRole>(user)?;
        let details = json!({"old": old.name(), "new": new.name(), "by": "directory"});
        events.push((Event::MemberRoleChanged, details));
    }
    if let Some(active) = found.active {
        granted.to::<MemberSuspend>(user)?;
        let event = match active {
            true => Event::MemberResumed,
            false => Event::MemberSuspended,
        };
        events.push((event, json!({"by": "directory"})));
    }
    let ends = found.role.is_some() || found.active.is_some();
    let mut events = events.into_iter();
    let (first, details) = events.next().unwrap_or((Event::MemberUpdated, json!({})));
    let mut change = people::replaced(snapshot, user, found.new, first, details)?;
    for (event, details) in events {
        change = change.and(event, Some(user), details);
    }
    if found.active == Some(false) {
        change = run::stop_all(snapshot, user, change, granted.now());
    }
    Ok(match ends {
        true => end_sessions(snapshot, user, change),
        false => change,
    })
}

/// By what somebody is matched.
#[must_use]
pub fn user_name(user: &User) -> &str {
    let said = user.provisioned.as_ref();
    said.and_then(|said| said.user_name.as_deref())
        .unwrap_or(&user.email)
}

/// Whether nobody else has their address or their user name.
fn unique(snapshot: &Snapshot, user: Ref, wanted: &Wanted) -> Result<(), DirectoryError> {
    let email = people::address(&wanted.email)?;
    let wanted_name = wanted.provisioned.user_name.as_deref();
    let wanted_name = wanted_name.unwrap_or(&email).to_lowercase();
    let others = snapshot.objects_of(Kind::User, None);
    for (other, stored) in others {
        let Object::User(other_is) = &stored.value else {
            continue;
        };
        if other == user {
            continue;
        }
        let what = if other_is.email == email {
            format!("the address `{email}`")
        } else if user_name(other_is).to_lowercase() == wanted_name {
            format!("the userName `{wanted_name}`")
        } else {
            continue;
        };
        return Err(DirectoryError::Taken { what });
    }
    Ok(())
}

/// The groups of the directory's that somebody is in.
#[must_use]
pub fn groups<'a>(snapshot: &'a Snapshot, user: &'a User) -> BTreeMap<Ref, &'a str> {
    let groups = user.groups.iter();
    groups
        .filter_map(|group| {
            let found = super::directory_group(snapshot, *group)?;
            Some((*group, found.name.as_str()))
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::super::world::{World, id, now};
    use super::super::Valued;
    use super::*;
    use crate::decide::authorized::Action as _;

    fn wanted(email: &str) -> Wanted {
        Wanted {
            name: "Eve".into(),
            email: email.into(),
            active: None,
            provisioned: Provisioned::default(),
        }
    }

    fn role(name: &str) -> Vec<Valued> {
        vec![Valued {
            value: name.into(),
            kind: None,
            display: None,
            primary: None,
        }]
    }

    fn events(change: &Change) -> Vec<Event> {
        change.events.iter().map(|one| one.event).collect()
    }

    #[test]
    fn what_was_not_decided_is_not_made() {
        let world = World::new();
        let nothing = Allowed::in_test(&[], now());
        let new = (id(90), &wanted("eve@example.com"));
        let refused = create(&nothing, &world.snapshot, new);
        let undecided = |action| DirectoryError::Undecided { action };
        assert_eq!(refused.unwrap_err(), undecided(MemberInvite::NAME));
        let mut other = wanted("bob@example.com");
        other.active = Some(false);
        other.provisioned.roles = role("Admin");
        // Each part is asked for: what is allowed of the others does not stand in for it.
        let all = needs(&world.snapshot, world.bob, &other).unwrap();
        assert_eq!(all.len(), 3);
        for missing in &all {
            let some: Vec<_> = all
                .iter()
                .filter(|need| need.action != missing.action)
                .map(|need| (need.action, need.resource))
                .collect();
            let allowed = Allowed::in_test(&some, now());
            let refused = change(&allowed, &world.snapshot, (world.bob, &other));
            assert_eq!(refused.unwrap_err(), undecided(missing.action));
        }
    }

    #[test]
    fn several_parts_are_one_change_with_an_event_each() {
        let world = World::new();
        let mut other = wanted("robert@example.com");
        other.active = Some(false);
        other.provisioned.roles = role("Viewer");
        let needed = needs(&world.snapshot, world.bob, &other).unwrap();
        let needed: Vec<_> = needed
            .iter()
            .map(|need| (need.action, need.resource))
            .collect();
        let allowed = Allowed::in_test(&needed, now());
        let made = change(&allowed, &world.snapshot, (world.bob, &other)).unwrap();
        let wanted_events = [
            Event::MemberUpdated,
            Event::MemberRoleChanged,
            Event::MemberSuspended,
        ];
        assert_eq!(events(&made), wanted_events);
        let next = world.with(&made);
        let bob = next.user(world.bob).unwrap();
        assert_eq!(
            (bob.role, bob.active, bob.email.as_str()),
            (Role::Viewer, false, "robert@example.com")
        );
        assert!(is_so(&next, world.bob, &other).unwrap());
        assert!(!is_so(&world.snapshot, world.bob, &other).unwrap());
    }

    #[test]
    fn an_admin_who_may_not_act_yet_does_not_count() {
        let world = World::new();
        let mut new = wanted("eve@example.com");
        new.active = Some(false);
        new.provisioned.roles = role("Admin");
        let allowed = Allowed::in_test(&[(MemberInvite::NAME, world.org)], now());
        let made = create(&allowed, &world.snapshot, (id(90), &new)).unwrap();
        assert_eq!(events(&made), [Event::MemberJoined, Event::MemberSuspended]);
        let next = world.with(&made);
        assert_eq!(next.organization().unwrap().active_admins, 1);
        let eve = next.user(Ref::new(Kind::User, id(90))).unwrap();
        assert_eq!((eve.role, eve.active), (Role::Admin, false));
    }

    #[test]
    fn the_last_active_admin_is_kept_behind_the_policy_too() {
        let world = World::new();
        let mut off = wanted("ada@example.com");
        off.active = Some(false);
        let allowed = Allowed::in_test(
            &[
                (MemberSuspend::NAME, world.ada),
                (MemberUpdate::NAME, world.ada),
            ],
            now(),
        );
        let refused = change(&allowed, &world.snapshot, (world.ada, &off)).unwrap_err();
        assert!(matches!(refused, DirectoryError::LastAdmin { .. }));
    }

    #[test]
    fn the_break_glass_admin_stays_what_they_are() {
        let mut world = World::new();
        world.promote(world.bob);
        world.enforce_sso(world.bob);
        let all = [
            (MemberSuspend::NAME, world.bob),
            (MemberChangeRole::NAME, world.bob),
            (MemberUpdate::NAME, world.bob),
        ];
        let allowed = Allowed::in_test(&all, now());
        let mut off = wanted("bob@example.com");
        off.active = Some(false);
        let mut lesser = wanted("bob@example.com");
        lesser.provisioned.roles = role("Member");
        for other in [&off, &lesser] {
            let refused = change(&allowed, &world.snapshot, (world.bob, other)).unwrap_err();
            assert!(matches!(refused, DirectoryError::BreaksGlass { .. }));
        }
        let mut renamed = wanted("bob@example.com");
        renamed.name = "Robert".into();
        change(&allowed, &world.snapshot, (world.bob, &renamed)).unwrap();
    }

    #[test]
    fn whoever_is_suspended_has_no_agent_that_goes_on() {
        let mut world = World::new();
        let run = world.run_for_bob();
        let mut off = wanted("bob@example.com");
        off.active = Some(false);
        let all = [
            (MemberSuspend::NAME, world.bob),
            (MemberUpdate::NAME, world.bob),
        ];
        let allowed = Allowed::in_test(&all, now());
        let made = change(&allowed, &world.snapshot, (world.bob, &off)).unwrap();
        assert!(events(&made).contains(&Event::AgentRunCancelled));
        let next = world.with(&made);
        let ended = next.require(run).unwrap();
        assert!(matches!(ended, Object::AgentRun(run) if run.ended_at == Some(now())));
    }
}
