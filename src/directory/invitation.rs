//! Invitations: somebody may join by a link that counts for seven days, once, and until another is sent or it is revoked.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::change::{Change, Happening, RowId};
use super::object::{Body, Invitation, Kind, Object, Ref, Role};
use super::people::{Joining, address, joined};
use super::session::{self, Arrival};
use super::snapshot::Snapshot;
use super::{DirectoryError, name, view};
use crate::decide::authorized::{
    Action, Authorized, MemberInvite, MemberResendInvitation, MemberRevokeInvitation, Operator,
    Proven,
};
use crate::log::vocabulary::Event;

/// How long a link counts, in days.
pub const DAYS: i64 = 7;

/// How many are said to have expired in one change.
const EXPIRED_AT_ONCE: usize = 200;

/// Somebody to be invited; the link's token never comes here.
#[derive(Debug, Clone)]
pub struct Inviting {
    /// 128 random bits.
    pub id: [u8; 16],
    /// Their address.
    pub email: String,
    /// What people call them; if absent they say so themselves.
    pub name: Option<String>,
    /// What they will be.
    pub role: Role,
    /// SHA-256 of the link's token, in hex.
    pub digest: String,
}

/// Whoever has a link and joins by it.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// 128 random bits.
    pub id: [u8; 16],
    /// What they want to be called; if absent, what the invitation says.
    pub name: Option<String>,
}

/// Invites somebody.
///
/// # Errors
/// An address that is none, or that somebody has or is invited under; a name that cannot be read; an Admin, and nobody acts.
pub fn invite(
    by: &Authorized<MemberInvite>,
    snapshot: &Snapshot,
    inviting: &Inviting,
) -> Result<Change, DirectoryError> {
    in_somebodys_name(by, inviting.role)?;
    invited(snapshot, inviting, (by.user(), by.now()))
}

/// Whoever has the link is signed in as what it says: a back end that provisions brings nobody in as an Admin on its own.
fn in_somebodys_name<A: Action>(by: &Authorized<A>, role: Role) -> Result<(), DirectoryError> {
    match by.user() {
        None if role == Role::Admin => Err(DirectoryError::NoActingUser),
        _ => Ok(()),
    }
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn invite_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    inviting: &Inviting,
) -> Result<Change, DirectoryError> {
    invited(snapshot, inviting, (None, by.now()))
}

/// Has another link count for the invitation asked about, again for seven days; the one before counts no more.
///
/// # Errors
/// It is not there.
pub fn resend(
    by: &Authorized<MemberResendInvitation>,
    snapshot: &Snapshot,
    digest: &str,
) -> Result<Change, DirectoryError> {
    let role = required(snapshot, by.resource())?.role;
    in_somebodys_name(by, role)?;
    resent(snapshot, by.resource(), (digest, by.now()))
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn resend_by_operator(
    by: &Operator,
    snapshot: &Snapshot,
    invitation: Ref,
    digest: &str,
) -> Result<Change, DirectoryError> {
    resent(snapshot, invitation, (digest, by.now()))
}

/// Takes the invitation asked about back.
///
/// # Errors
/// It is not there.
pub fn revoke(
    by: &Authorized<MemberRevokeInvitation>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    revoked(snapshot, by.resource())
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn revoke_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    invitation: Ref,
) -> Result<Change, DirectoryError> {
    revoked(snapshot, invitation)
}

/// Whoever has the link joins, and it counts no more. That they may was decided when they were invited: the link is the proof, and
/// `digest` what it was found by.
///
/// # Errors
/// The link counts no more, the organization is suspended, or a name is missing or cannot be read.
pub fn accept(
    by: &Proven,
    snapshot: &Snapshot,
    (invitation, digest): (Ref, &str),
    newcomer: &Newcomer,
) -> Result<Change, DirectoryError> {
    let found = required(snapshot, invitation).map_err(|_| DirectoryError::DeadLink)?;
    let same = bool::from(found.digest.as_bytes().ct_eq(digest.as_bytes()));
    let is_over = !same || by.now() >= found.expires_at;
    if is_over || snapshot.organization()?.suspended {
        return Err(DirectoryError::DeadLink);
    }
    let called = newcomer.name.clone().or_else(|| found.name.clone());
    let joining = Joining {
        id: newcomer.id,
        name: called.ok_or_else(|| {
            DirectoryError::invalid("name", "the invitation has none: say how you are called")
        })?,
        email: found.email.clone(),
        role: found.role,
    };
    joined(snapshot, (&joining, BTreeSet::new()), by.now())
}

/// The same, and a session begins.
///
/// # Errors
/// As [`accept`]; or the organization wants its people to sign in by another method.
pub fn accept_and_enter(
    by: &Proven,
    snapshot: &Snapshot,
    link: (Ref, &str),
    (newcomer, arrival): (&Newcomer, &Arrival),
) -> Result<Change, DirectoryError> {
    let change = accept(by, snapshot, link, newcomer)?;
    let change = change.and(Event::UserLogin, None, json!({}));
    session::entered(by, snapshot, arrival, change, false)
}

/// Those whose time is over and of which the log does not say so yet.
pub fn due(snapshot: &Snapshot, now: DateTime<Utc>) -> impl Iterator<Item = (Ref, &Invitation)> {
    snapshot
        .objects_of(Kind::Invitation, None)
        .filter_map(move |(reference, stored)| match &stored.value {
            Object::Invitation(found) if !found.expired && now >= found.expires_at => {
                Some((reference, found))
            }
            _ => None,
        })
}

/// Says of those whose time is over that it is, of some of them at a time. They stay, so that they can be sent again.
///
/// # Errors
/// There is none.
pub fn expire(by: &Operator, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let mut change: Option<Change> = None;
    for (reference, found) in due(snapshot, by.now()).take(EXPIRED_AT_ONCE) {
        let with = match change.take() {
            None => Change::new(Event::MemberInvitationExpired, Some(reference), json!({})),
            Some(change) => change.and(Event::MemberInvitationExpired, Some(reference), json!({})),
        };
        let expired = Invitation {
            expired: true,
            ..found.clone()
        };
        let body = Body::Object(Object::Invitation(expired));
        change = Some(with.put(RowId::Object(reference), body));
    }
    change.ok_or_else(|| DirectoryError::invalid("invitation", "none has expired"))
}

fn required(snapshot: &Snapshot, reference: Ref) -> Result<&Invitation, DirectoryError> {
    match snapshot.require(reference)? {
        Object::Invitation(invitation) => Ok(invitation),
        _ => Err(DirectoryError::absent(reference)),
    }
}

fn invited(
    snapshot: &Snapshot,
    inviting: &Inviting,
    (by, now): (Option<Ref>, DateTime<Utc>),
) -> Result<Change, DirectoryError> {
    snapshot.organization()?;
    let email = address(&inviting.email)?;
    if snapshot.user_at(&email).is_some() {
        return Err(DirectoryError::Taken {
            what: format!("the address `{email}`"),
        });
    }
    let called = inviting.name.as_deref();
    let called = called.map(|text| name("name", text)).transpose()?;
    let reference = Ref::new(Kind::Invitation, inviting.id);
    let invitation = Invitation {
        email,
        name: called,
        role: inviting.role,
        invited_by: by,
        digest: inviting.digest.clone(),
        sent_at: now,
        expires_at: now + Duration::days(DAYS),
        expired: false,
    };
    let details = json!({
        "email": invitation.email, "name": invitation.name, "role": invitation.role.name(),
        "expires_at": invitation.expires_at,
    });
    let before = snapshot.invitation_at(&invitation.email);
    let mut change = put(
        snapshot,
        (Event::MemberInvited, details),
        reference,
        invitation,
    );
    if let Some(before) = before {
        let old = required(snapshot, before)?;
        if !old.expired && now < old.expires_at {
            return Err(DirectoryError::Invited {
                email: old.email.clone(),
                id: before.to_string(),
            });
        }
        change = change.end(RowId::Object(before));
        if !old.expired {
            // Nobody has said so yet.
            let expired = Happening {
                event: Event::MemberInvitationExpired,
                resource: Some(before),
                details: json!({}),
                fact: None,
                reported: None,
            };
            change.events.insert(0, expired);
        }
    }
    Ok(change)
}

fn resent(
    snapshot: &Snapshot,
    reference: Ref,
    (digest, now): (&str, DateTime<Utc>),
) -> Result<Change, DirectoryError> {
    let old = required(snapshot, reference)?;
    let invitation = Invitation {
        digest: digest.to_owned(),
        sent_at: now,
        expires_at: now + Duration::days(DAYS),
        expired: false,
        ..old.clone()
    };
    let details = json!({"email": invitation.email, "expires_at": invitation.expires_at});
    let event = (Event::MemberInvitationResent, details);
    Ok(put(snapshot, event, reference, invitation))
}

fn revoked(snapshot: &Snapshot, reference: Ref) -> Result<Change, DirectoryError> {
    let old = required(snapshot, reference)?;
    let details = json!({"email": old.email, "role": old.role.name()});
    Ok(
        Change::new(Event::MemberInvitationRevoked, Some(reference), details)
            .end(RowId::Object(reference))
            .reply(json!({"id": reference})),
    )
}

fn put(
    snapshot: &Snapshot,
    (event, details): (Event, serde_json::Value),
    reference: Ref,
    invitation: Invitation,
) -> Change {
    let object = Object::Invitation(invitation);
    let reply = view::body(reference, &object, snapshot);
    Change::new(event, Some(reference), details)
        .put(RowId::Object(reference), Body::Object(object))
        .reply(reply)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::keeping::erase_by_operator;
    use super::super::people::{join, remove};
    use super::super::world::{World, id, now};
    use super::*;

    fn inviting(number: u8, email: &str) -> Inviting {
        Inviting {
            id: id(number),
            email: email.into(),
            name: Some("Zoe".into()),
            role: Role::Member,
            digest: format!("digest {number}"),
        }
    }

    fn zoe() -> Ref {
        Ref::new(Kind::Invitation, id(90))
    }

    fn newcomer(number: u8) -> Newcomer {
        Newcomer {
            id: id(number),
            name: None,
        }
    }

    fn later(days: i64) -> Operator {
        Operator::in_test(now() + Duration::days(days))
    }

    fn proven(days: i64) -> Proven {
        Proven::in_test(now() + Duration::days(days))
    }

    fn with_zoe() -> World {
        let mut world = World::new();
        let by = world.by::<MemberInvite>(world.org);
        world.apply(invite(
            &by,
            &world.snapshot,
            &inviting(90, "Zoe@Example.com "),
        ));
        world
    }

    fn events(change: &Change) -> Vec<Event> {
        change.events.iter().map(|one| one.event).collect()
    }

    #[test]
    fn whoever_accepts_is_what_they_were_invited_as_and_the_link_is_used_up() {
        let mut world = with_zoe();
        let link = (zoe(), "digest 90");
        let joined = accept(&proven(6), &world.snapshot, link, &newcomer(91)).unwrap();
        assert_eq!(events(&joined), [Event::MemberJoined]);
        world.apply(Ok(joined));
        let user = world.snapshot.user(Ref::new(Kind::User, id(91))).unwrap();
        assert_eq!(
            (user.name.as_str(), user.email.as_str(), user.role),
            ("Zoe", "zoe@example.com", Role::Member)
        );
        let again = accept(&proven(6), &world.snapshot, link, &newcomer(92));
        assert_eq!(again.unwrap_err(), DirectoryError::DeadLink);
        assert_eq!(world.snapshot.invitation_at("zoe@example.com"), None);
    }

    #[test]
    fn a_link_counts_for_seven_days() {
        let world = with_zoe();
        let link = (zoe(), "digest 90");
        let almost = Proven::in_test(now() + Duration::days(DAYS) - Duration::microseconds(1));
        assert!(accept(&almost, &world.snapshot, link, &newcomer(91)).is_ok());
        let over = accept(&proven(DAYS), &world.snapshot, link, &newcomer(91));
        assert_eq!(over.unwrap_err(), DirectoryError::DeadLink);
    }

    #[test]
    fn another_link_takes_the_place_of_the_one_before() {
        let mut world = with_zoe();
        let again = resend_by_operator(&later(5), &world.snapshot, zoe(), "another");
        assert_eq!(
            events(again.as_ref().unwrap()),
            [Event::MemberInvitationResent]
        );
        world.apply(again);
        let accepted = |day, digest| {
            accept(
                &proven(day),
                &world.snapshot,
                (zoe(), digest),
                &newcomer(91),
            )
        };
        assert_eq!(
            accepted(5, "digest 90").unwrap_err(),
            DirectoryError::DeadLink
        );
        assert!(accepted(11, "another").is_ok());
        assert!(accepted(12, "another").is_err());
    }

    #[test]
    fn a_revoked_link_opens_nothing() {
        let mut world = with_zoe();
        world.apply(revoke(&world.by(zoe()), &world.snapshot));
        let revoked = accept(
            &proven(1),
            &world.snapshot,
            (zoe(), "digest 90"),
            &newcomer(91),
        );
        assert_eq!(revoked.unwrap_err(), DirectoryError::DeadLink);
        assert!(resend_by_operator(&later(1), &world.snapshot, zoe(), "another").is_err());
        assert!(revoke(&world.by(zoe()), &world.snapshot).is_err());
    }

    #[test]
    fn nobody_is_invited_twice_and_no_member_is() {
        let world = with_zoe();
        let by = world.by::<MemberInvite>(world.org);
        let again = invite(&by, &world.snapshot, &inviting(91, "zoe@example.com"));
        let invited = DirectoryError::Invited {
            email: "zoe@example.com".into(),
            id: zoe().to_string(),
        };
        assert_eq!(again.unwrap_err(), invited);
        let member = invite(&by, &world.snapshot, &inviting(91, "BOB@example.com"));
        assert!(matches!(member, Err(DirectoryError::Taken { .. })));
    }

    #[test]
    fn an_expired_invitation_is_said_to_be_once_and_makes_room() {
        let mut world = with_zoe();
        assert_eq!(due(&world.snapshot, later(6).now()).count(), 0);
        assert!(expire(&later(6), &world.snapshot).is_err());
        let instead =
            invite_by_operator(&later(8), &world.snapshot, &inviting(91, "zoe@example.com"));
        assert_eq!(
            events(&instead.unwrap()),
            [Event::MemberInvitationExpired, Event::MemberInvited]
        );
        let expired = expire(&later(8), &world.snapshot);
        assert_eq!(
            events(expired.as_ref().unwrap()),
            [Event::MemberInvitationExpired]
        );
        world.apply(expired);
        assert!(expire(&later(9), &world.snapshot).is_err());
        let instead =
            invite_by_operator(&later(9), &world.snapshot, &inviting(91, "zoe@example.com"));
        assert_eq!(events(instead.as_ref().unwrap()), [Event::MemberInvited]);
        let next = world.with(&instead.unwrap());
        assert_eq!(next.object(zoe()).map(|_| ()), None);
        assert_eq!(
            next.invitation_at("zoe@example.com"),
            Some(Ref::new(Kind::Invitation, id(91)))
        );
        // And it may be sent again.
        world.apply(resend_by_operator(
            &later(9),
            &world.snapshot,
            zoe(),
            "another",
        ));
        assert!(
            accept(
                &proven(15),
                &world.snapshot,
                (zoe(), "another"),
                &newcomer(92)
            )
            .is_ok()
        );
    }

    #[test]
    fn an_invitation_ends_with_any_way_of_joining() {
        let mut world = with_zoe();
        let by = world.by::<MemberInvite>(world.org);
        let joining = Joining {
            id: id(91),
            name: "Zoe".into(),
            email: "zoe@example.com".into(),
            role: Role::Viewer,
        };
        world.apply(join(&by, &world.snapshot, &joining));
        assert!(world.snapshot.object(zoe()).is_none());
        // Who has left may be invited again.
        world.apply(remove(
            &world.by(Ref::new(Kind::User, id(91))),
            &world.snapshot,
        ));
        assert!(invite(&by, &world.snapshot, &inviting(92, "zoe@example.com")).is_ok());
    }

    #[test]
    fn a_name_is_the_invitations_unless_whoever_joins_has_another() {
        let mut world = World::new();
        let by = world.by::<MemberInvite>(world.org);
        let nameless = Inviting {
            name: None,
            ..inviting(90, "zoe@example.com")
        };
        world.apply(invite(&by, &world.snapshot, &nameless));
        let accepted = |name: Option<&str>| {
            let newcomer = Newcomer {
                id: id(91),
                name: name.map(Into::into),
            };
            accept(&proven(1), &world.snapshot, (zoe(), "digest 90"), &newcomer)
        };
        assert!(matches!(
            accepted(None),
            Err(DirectoryError::Invalid { member: "name", .. })
        ));
        assert!(accepted(Some("Zoe\r\nBcc: x")).is_err());
        assert!(accepted(Some("Zoë")).is_ok());
    }

    #[test]
    fn a_digest_is_in_no_reply_and_no_event() {
        let world = World::new();
        let by = world.by::<MemberInvite>(world.org);
        let change = invite(&by, &world.snapshot, &inviting(90, "zoe@example.com")).unwrap();
        assert!(!change.reply.to_string().contains("digest"));
        let said = |change: &Change| {
            change
                .events
                .iter()
                .any(|one| one.details.to_string().contains("digest"))
        };
        assert!(!said(&change));
        assert!(format!("{:?}", change.rows).contains("digest 90"));
    }

    #[test]
    fn who_is_erased_takes_an_invitation_under_their_address_along() {
        let mut world = with_zoe();
        // Somebody whose address it became by other means than joining.
        let bob = world.snapshot.user(world.bob).unwrap().clone();
        let bob = Object::User(super::super::object::User {
            email: "zoe@example.com".into(),
            ..bob
        });
        let moved = Change::new(Event::MemberImported, Some(world.bob), json!({}))
            .put(RowId::Object(world.bob), Body::Object(bob));
        world.apply(Ok(moved));
        let erased = erase_by_operator(&later(1), &world.snapshot, world.bob).unwrap();
        assert!(world.with(&erased).object(zoe()).is_none());
    }
}
