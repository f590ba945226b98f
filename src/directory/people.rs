//! People: they join, take another role, are suspended and brought back, and leave.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::change::{Change, RowId};
use super::object::{Body, Identity, Kind, Object, Organization, Ref, Role, User};
use super::roll::is_active_admin;
use super::session::end_sessions;
use super::snapshot::Snapshot;
use super::{DirectoryError, name, request, run, unreadable, view};
use crate::decide::authorized::{
    Authorized, MemberChangeRole, MemberInvite, MemberRemove, MemberSuspend, Operator,
};
use crate::log::vocabulary::Event;

/// Somebody new.
#[derive(Debug, Clone)]
pub struct Joining {
    /// 128 random bits.
    pub id: [u8; 16],
    /// What people call them.
    pub name: String,
    /// Their address.
    pub email: String,
    /// What they are.
    pub role: Role,
}

/// Whether somebody may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They may.
    Active,
    /// They may not, until they are brought back.
    Suspended,
}

/// Somebody joins the organization.
///
/// # Errors
/// A name or an address that is none, or an address that somebody has.
pub fn join(
    by: &Authorized<MemberInvite>,
    snapshot: &Snapshot,
    joining: &Joining,
) -> Result<Change, DirectoryError> {
    joined(snapshot, (joining, BTreeSet::new()), by.now())
}

/// The same by the operator: an organization's first Admin joins so.
///
/// # Errors
/// The same.
pub fn join_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    joining: &Joining,
) -> Result<Change, DirectoryError> {
    joined(snapshot, (joining, BTreeSet::new()), by.now())
}

/// The person asked about takes another role.
///
/// # Errors
/// They have it, or they are the last active Admin.
pub fn change_role(
    by: &Authorized<MemberChangeRole>,
    snapshot: &Snapshot,
    role: Role,
) -> Result<Change, DirectoryError> {
    let old = snapshot.require_user(by.resource())?;
    if old.role == role {
        return Err(DirectoryError::conflicting(
            "role",
            format!("they are {} now", role.name()),
        ));
    }
    if role != Role::Admin {
        keep_glass(snapshot, by.resource())?;
    }
    let details = json!({"old": old.role.name(), "new": role.name()});
    let changed = User {
        role,
        ..old.clone()
    };
    let change = replaced(
        snapshot,
        by.resource(),
        changed,
        Event::MemberRoleChanged,
        details,
    )?;
    // Whoever may more or less from now on shows again who they are.
    Ok(end_sessions(snapshot, by.resource(), change))
}

/// The person asked about is suspended, or brought back.
///
/// # Errors
/// They are so now, or they are the last active Admin.
pub fn set_active(
    by: &Authorized<MemberSuspend>,
    snapshot: &Snapshot,
    standing: Standing,
) -> Result<Change, DirectoryError> {
    let old = snapshot.require_user(by.resource())?;
    let active = standing == Standing::Active;
    if old.active == active {
        let why = if active {
            "they are active now"
        } else {
            "they are suspended now"
        };
        return Err(DirectoryError::conflicting("active", why));
    }
    if !active {
        keep_glass(snapshot, by.resource())?;
    }
    let event = if active {
        Event::MemberResumed
    } else {
        Event::MemberSuspended
    };
    let changed = User {
        active,
        ..old.clone()
    };
    let mut change = replaced(snapshot, by.resource(), changed, event, json!({}))?;
    if !active {
        change = run::stop_all(snapshot, by.resource(), change, by.now());
    }
    Ok(end_sessions(snapshot, by.resource(), change))
}

/// The person asked about leaves: with them end the shares to them and the agents that run for them. What they wrote stays.
///
/// # Errors
/// They are not there, or they are the last active Admin.
pub fn remove(
    by: &Authorized<MemberRemove>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    leave(snapshot, by.resource())
}

/// What it takes for somebody to leave.
pub(super) fn leave(snapshot: &Snapshot, user: Ref) -> Result<Change, DirectoryError> {
    keep_glass(snapshot, user)?;
    let (change, active_admins) = departure(snapshot, user, Said::Who)?;
    if active_admins == 0 && snapshot.user(user).is_some_and(is_active_admin) {
        return Err(DirectoryError::LastAdmin {
            id: user.to_string(),
        });
    }
    Ok(change)
}

/// The same for somebody who was erased before, and whom a restore has brought back: nothing is said of who they were, and nothing that
/// stands in what was put back keeps them.
pub(super) fn vanish(snapshot: &Snapshot, user: Ref) -> Result<Change, DirectoryError> {
    departure(snapshot, user, Said::Nothing).map(|(change, _)| change)
}

/// What an entry says of somebody who leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Who,
    Nothing,
}

/// How somebody leaves, and how many active Admins there are then.
fn departure(
    snapshot: &Snapshot,
    user: Ref,
    said: Said,
) -> Result<(Change, usize), DirectoryError> {
    let old = snapshot.require_user(user)?;
    let shares: Vec<_> = snapshot.shares_to(user).map(|(id, _)| id).collect();
    let details = match said {
        Said::Who => json!({
            "name": old.name, "email": old.email, "role": old.role.name(),
            "shares_ended": shares.len(), "runs_ended": run::all_of(snapshot, user).count(),
            "requests_ended": request::of_person(snapshot, user).count(),
        }),
        Said::Nothing => json!({}),
    };
    let mut change = Change::new(Event::MemberRemoved, Some(user), details)
        .end(RowId::Object(user))
        .reply(json!({"id": user}));
    for share in shares {
        change = change.end(RowId::Share(share));
    }
    let change = run::end_all(snapshot, user, change);
    let change = request::end_all(snapshot, user, change);
    let change = end_sessions(snapshot, user, change);
    let others = other_admins(snapshot, user);
    Ok((count_admins(snapshot, others, change)?, others))
}

/// What it takes for somebody to join, who may be known to identity providers already; an invitation under their address ends with it.
pub(super) fn joined(
    snapshot: &Snapshot,
    (joining, identities): (&Joining, BTreeSet<Identity>),
    now: DateTime<Utc>,
) -> Result<Change, DirectoryError> {
    let reference = Ref::new(Kind::User, joining.id);
    let email = address(&joining.email)?;
    let taken = snapshot
        .user_at(&email)
        .is_some_and(|other| other != reference);
    if taken || snapshot.object(reference).is_some() {
        return Err(DirectoryError::Taken {
            what: format!("the address `{email}`"),
        });
    }
    let invitation = snapshot.invitation_at(&email);
    let user = User {
        name: name("name", &joining.name)?,
        email,
        role: joining.role,
        active: true,
        groups: [snapshot.organization()?.members].into(),
        holds: 0,
        identities,
        provisioned: None,
    };
    let details = json!({
        "name": user.name, "email": user.email, "role": user.role.name(), "at": now, "invitation": invitation,
    });
    let change = replaced(snapshot, reference, user, Event::MemberJoined, details)?;
    Ok(match invitation {
        Some(invitation) => change.end(RowId::Object(invitation)),
        None => change,
    })
}

/// Whether this is how one gets in where single sign-on is enforced and does not work.
pub(super) fn breaks_glass(snapshot: &Snapshot, person: Ref) -> Result<bool, DirectoryError> {
    let organization = snapshot.organization()?;
    let is_named = organization.sign_in.break_glass == Some(person);
    Ok(organization.sso_enforced.is_some() && is_named)
}

/// Refuses what would leave nobody who gets in by the break-glass link.
pub(super) fn keep_glass(snapshot: &Snapshot, person: Ref) -> Result<(), DirectoryError> {
    match breaks_glass(snapshot, person)? {
        true => Err(DirectoryError::BreaksGlass {
            id: person.to_string(),
        }),
        false => Ok(()),
    }
}

/// Whether this is the one active Admin that there is.
pub(super) fn is_last_admin(snapshot: &Snapshot, person: Ref) -> bool {
    snapshot.user(person).is_some_and(is_active_admin) && other_admins(snapshot, person) == 0
}

/// Puts a person's new row and keeps the number of active Admins.
pub(super) fn replaced(
    snapshot: &Snapshot,
    reference: Ref,
    user: User,
    event: Event,
    details: serde_json::Value,
) -> Result<Change, DirectoryError> {
    let object = Object::User(user.clone());
    let change = Change::new(event, Some(reference), details)
        .put(RowId::Object(reference), Body::Object(object.clone()))
        .reply(view::body(reference, &object, snapshot));
    keep_admins(snapshot, reference, Some(&user), change)
}

/// Keeps `active_admins` with a change of one person, and an active Admin with it: the second line behind the policy.
fn keep_admins(
    snapshot: &Snapshot,
    changed: Ref,
    new: Option<&User>,
    change: Change,
) -> Result<Change, DirectoryError> {
    let others = other_admins(snapshot, changed);
    let was = snapshot.user(changed).is_some_and(is_active_admin);
    let is = new.is_some_and(is_active_admin);
    if was && !is && others == 0 {
        return Err(DirectoryError::LastAdmin {
            id: changed.to_string(),
        });
    }
    count_admins(snapshot, others + usize::from(is), change)
}

/// How many active Admins there are beside this person.
fn other_admins(snapshot: &Snapshot, person: Ref) -> usize {
    let admins = snapshot.active_admins();
    admins.filter(|other| *other != person).count()
}

/// Notes how many active Admins there are. Counted anew each time: a number that is moved by steps stays wrong once it is.
pub(super) fn count_admins(
    snapshot: &Snapshot,
    admins: usize,
    change: Change,
) -> Result<Change, DirectoryError> {
    let organization = snapshot.organization()?;
    let active_admins = i64::try_from(admins).unwrap_or(i64::MAX);
    if active_admins == organization.active_admins {
        return Ok(change);
    }
    let organization = Object::Organization(Organization {
        active_admins,
        ..organization.clone()
    });
    Ok(change.put(RowId::Object(snapshot.org()), Body::Object(organization)))
}

/// An address that mail could reach, in small letters: whether it does, only a letter to it tells.
///
/// # Errors
/// It is none.
pub fn address(text: &str) -> Result<String, DirectoryError> {
    let text = text.trim().to_lowercase();
    let plausible = text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| {
            (1..=64).contains(&local.len())
                && !local.chars().any(|character| {
                    character.is_whitespace()
                        || unreadable(character)
                        || "\"(),:;<>[]\\".contains(character)
                })
                && domain.contains('.')
                && domain.split('.').all(is_label)
        });
    if plausible {
        Ok(text)
    } else {
        Err(DirectoryError::invalid(
            "email",
            "it is not an e-mail address",
        ))
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .chars()
            .all(|character| character.is_alphanumeric() || character == '-')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::world::{World, id, now};
    use super::*;

    fn joining(number: u8, email: &str) -> Joining {
        Joining {
            id: id(number),
            name: "Zoe".into(),
            email: email.into(),
            role: Role::Member,
        }
    }

    #[test]
    fn an_address_is_kept_in_small_letters_and_given_once() {
        let mut world = World::new();
        let by = Operator::in_test(now());
        world.apply(join_by_operator(
            &by,
            &world.snapshot,
            &joining(90, " Zoe@Example.COM "),
        ));
        assert_eq!(
            world
                .snapshot
                .user(Ref::new(Kind::User, id(90)))
                .unwrap()
                .email,
            "zoe@example.com"
        );
        let again = join_by_operator(&by, &world.snapshot, &joining(91, "ZOE@example.com"));
        assert!(matches!(again, Err(DirectoryError::Taken { .. })));
    }

    #[test]
    fn an_address_needs_two_halves_and_a_domain() {
        for wrong in [
            "",
            "zoe",
            "zoe@",
            "@example.com",
            "zoe@example",
            "z oe@example.com",
            "a@b@c.de",
            "a@-b.de",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert!(address("zoe.o'neil+a@mail.example.co").is_ok());
    }

    #[test]
    fn whoever_joins_is_among_everybody() {
        let world = World::new();
        let by = world.by::<MemberInvite>(world.org);
        let change = join(&by, &world.snapshot, &joining(90, "z@example.com")).unwrap();
        assert_eq!(change.events.first().unwrap().event, Event::MemberJoined);
        let next = world.with(&change);
        let user = next.user(Ref::new(Kind::User, id(90))).unwrap();
        assert!(
            user.groups
                .contains(&world.snapshot.organization().unwrap().members)
        );
    }

    #[test]
    fn the_number_of_active_admins_follows_every_change() {
        let mut world = World::new();
        let admins = |world: &World| world.snapshot.organization().unwrap().active_admins;
        assert_eq!(admins(&world), 1);
        world.apply(change_role(
            &world.by(world.bob),
            &world.snapshot,
            Role::Admin,
        ));
        assert_eq!(admins(&world), 2);
        world.apply(set_active(
            &world.by(world.bob),
            &world.snapshot,
            Standing::Suspended,
        ));
        assert_eq!(admins(&world), 1);
        world.apply(set_active(
            &world.by(world.bob),
            &world.snapshot,
            Standing::Active,
        ));
        assert_eq!(admins(&world), 2);
        world.apply(remove(&world.by(world.ada), &world.snapshot));
        assert_eq!(admins(&world), 1);
    }

    #[test]
    fn the_last_active_admin_stays() {
        let mut world = World::new();
        // A suspended Admin does not count.
        world.apply(change_role(
            &world.by(world.bob),
            &world.snapshot,
            Role::Admin,
        ));
        world.apply(set_active(
            &world.by(world.bob),
            &world.snapshot,
            Standing::Suspended,
        ));
        let last = DirectoryError::LastAdmin {
            id: world.ada.to_string(),
        };
        let snapshot = &world.snapshot;
        assert_eq!(
            change_role(&world.by(world.ada), snapshot, Role::Member).unwrap_err(),
            last
        );
        assert_eq!(
            set_active(&world.by(world.ada), snapshot, Standing::Suspended).unwrap_err(),
            last
        );
        assert_eq!(remove(&world.by(world.ada), snapshot).unwrap_err(), last);
    }

    #[test]
    fn what_changes_nothing_is_refused() {
        let world = World::new();
        assert!(change_role(&world.by(world.bob), &world.snapshot, Role::Member).is_err());
        assert!(set_active(&world.by(world.bob), &world.snapshot, Standing::Active).is_err());
    }

    #[test]
    fn a_change_computed_twice_is_the_same_change() {
        let world = World::new();
        let by = world.by::<MemberInvite>(world.org);
        let new = joining(90, "z@example.com");
        let (one, two) = (
            join(&by, &world.snapshot, &new).unwrap(),
            join(&by, &world.snapshot, &new).unwrap(),
        );
        assert_eq!(one.rows, two.rows);
        assert_eq!(one.reply, two.reply);
    }

    #[test]
    fn shares_and_runs_end_with_whom_they_were_for() {
        let mut world = World::new();
        let (thread, share) = world.shared_thread();
        let run = world.run_for_bob();
        world.apply(remove(&world.by(world.bob), &world.snapshot));
        assert!(world.snapshot.object(world.bob).is_none());
        assert!(world.snapshot.object(run).is_none());
        assert!(world.snapshot.share(share).is_none());
        assert!(world.snapshot.object(thread).is_some());
    }
}
