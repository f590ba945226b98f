//! Sessions: somebody signs in, signs out, and what is done about sessions by others.

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::DirectoryError;
use super::change::{Change, RowId};
use super::connection::ConnectionId;
use super::object::{Body, Kind, Object, Ref, Session};
use super::snapshot::Snapshot;
use super::view;
use crate::decide::authorized::{Authorized, Operator, Proven, SessionRevoke};
use crate::log::vocabulary::Event;

/// How many sessions a person has at once; the oldest ends where another begins.
pub const SESSIONS_MOST: usize = 20;

/// How many sessions that are over are taken away at a time.
const EXPIRED_AT_ONCE: usize = 1_000;

/// The longest that is kept of how a program calls itself, in characters.
const AGENT_LIMIT: usize = 200;

/// A sign-in that has succeeded.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The session's 128 random bits.
    pub id: [u8; 16],
    /// SHA-256 of the cookie.
    pub digest: [u8; 32],
    /// Who.
    pub user: Ref,
    /// How, in the words of `sso_enforced`.
    pub method: &'static str,
    /// Whether it is the break-glass sign-in.
    pub break_glass: bool,
    /// By which connection.
    pub connection: Option<ConnectionId>,
    /// The provider's own session.
    pub provider_session: Option<String>,
    /// When it is over at the latest, as the provider says.
    pub ends_at: Option<DateTime<Utc>>,
    /// What the program calls itself.
    pub agent: Option<String>,
    /// The address that it comes from.
    pub client: Option<String>,
}

/// A session begins.
///
/// # Errors
/// There is no such person, they are suspended, or their organization wants another method.
pub fn begin(
    by: &Proven,
    snapshot: &Snapshot,
    arrival: &Arrival,
) -> Result<Change, DirectoryError> {
    let change = Change::new(Event::UserLogin, None, json!({}));
    entered(by, snapshot, arrival, change, true)
}

/// A one-time link, as it is kept until it is opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Link {
    /// Whom it signs in.
    pub user: Ref,
    /// Whether it opens an organization whose single sign-on does not work.
    pub break_glass: bool,
}

/// The operator has made a one-time link for a person.
///
/// # Errors
/// They are not there or suspended, or it is to break glass and they are not who may.
pub fn issue(_by: &Operator, snapshot: &Snapshot, link: &Link) -> Result<Change, DirectoryError> {
    if !snapshot.require_user(link.user)?.active {
        return Err(DirectoryError::Suspended);
    }
    if link.break_glass {
        breaks_glass(snapshot, link.user)?;
    }
    let details = json!({"break_glass": link.break_glass});
    Ok(Change::new(Event::UserLinkIssued, Some(link.user), details)
        .reply(json!({"user": link.user})))
}

/// A session begins by a one-time link.
///
/// # Errors
/// As [`begin`]; or it is to break glass, and the organization's Admins have named somebody else since.
pub fn begin_by_link(
    by: &Proven,
    snapshot: &Snapshot,
    arrival: &Arrival,
) -> Result<Change, DirectoryError> {
    if arrival.break_glass {
        breaks_glass(snapshot, arrival.user)?;
    }
    begin(by, snapshot, arrival)
}

fn breaks_glass(snapshot: &Snapshot, user: Ref) -> Result<(), DirectoryError> {
    match snapshot.organization()?.sign_in.break_glass == Some(user) {
        true => Ok(()),
        false => Err(DirectoryError::NoMember {
            why: "they are not the organization's break-glass Admin",
        }),
    }
}

/// The same in a change that has more to it: for somebody who is `active` once it is applied.
pub(super) fn entered(
    by: &Proven,
    snapshot: &Snapshot,
    arrival: &Arrival,
    mut change: Change,
    is_there: bool,
) -> Result<Change, DirectoryError> {
    let organization = snapshot.organization()?;
    if organization.suspended {
        return Err(DirectoryError::NoMember {
            why: "the organization is suspended",
        });
    }
    if is_there && !snapshot.require_user(arrival.user)?.active {
        return Err(DirectoryError::Suspended);
    }
    let wanted = organization.sso_enforced.as_deref();
    if wanted.is_some_and(|wanted| wanted != arrival.method) && !arrival.break_glass {
        return Err(DirectoryError::MethodNotAllowed {
            wanted: wanted.unwrap_or_default().to_owned(),
        });
    }
    let reference = Ref::new(Kind::Session, arrival.id);
    let latest = by.now() + organization.sign_in.session();
    let expires_at = arrival
        .ends_at
        .map_or(latest, |ends_at| ends_at.min(latest));
    if expires_at <= by.now() {
        return Err(DirectoryError::invalid(
            "SessionNotOnOrAfter",
            "the provider says that the session is over",
        ));
    }
    let cut = |text: &String| text.chars().take(AGENT_LIMIT).collect::<String>();
    let object = Object::Session(Session {
        owner: arrival.user,
        digest: HEXLOWER.encode(&arrival.digest),
        method: arrival.method.into(),
        break_glass: arrival.break_glass,
        connection: arrival.connection,
        provider_session: arrival.provider_session.clone(),
        created_at: by.now(),
        expires_at,
        agent: arrival.agent.as_ref().map(cut),
        client: arrival.client.clone(),
    });
    let mut others: Vec<(DateTime<Utc>, Ref)> = sessions_of(snapshot, arrival.user)
        .map(|(other, session)| (session.created_at, other))
        .collect();
    others.sort_unstable();
    let over = |(_, other): &(_, Ref)| match snapshot.object(*other).map(|stored| &stored.value) {
        Some(Object::Session(session)) => session.expires_at <= by.now(),
        _ => false,
    };
    let (ended, mut living): (Vec<_>, Vec<_>) = others.into_iter().partition(over);
    let too_many = (living.len() + 1).saturating_sub(SESSIONS_MOST);
    for (_, other) in ended.into_iter().chain(living.drain(..too_many)) {
        change = change.end(RowId::Object(other));
    }
    let details = json!({
        "method": arrival.method, "connection": arrival.connection, "break_glass": arrival.break_glass,
        "session": reference,
    });
    if let Some(login) = change
        .events
        .iter_mut()
        .find(|happening| happening.event == Event::UserLogin)
    {
        login.resource = Some(reference);
        login.details = details;
    }
    let reply = view::body(reference, &object, snapshot);
    Ok(change
        .put(RowId::Object(reference), Body::Object(object))
        .reply(reply))
}

/// Whoever has the session signs out.
///
/// # Errors
/// It is over.
pub fn leave(_by: &Proven, snapshot: &Snapshot, session: Ref) -> Result<Change, DirectoryError> {
    let found = require(snapshot, session)?;
    let details = json!({"method": found.method});
    Ok(Change::new(Event::UserLogout, Some(session), details)
        .end(RowId::Object(session))
        .reply(json!({"id": session})))
}

/// The provider says that somebody has signed out there: their sessions by that connection end, or the one of that session there.
///
/// # Errors
/// None of that provider is there.
pub fn leave_by_provider(
    _by: &Proven,
    snapshot: &Snapshot,
    (connection, user, there): (ConnectionId, Option<Ref>, Option<&str>),
) -> Result<Change, DirectoryError> {
    let ended: Vec<Ref> = sessions(snapshot)
        .filter(|(_, session)| {
            session.connection == Some(connection)
                && user.is_none_or(|user| session.owner == user)
                && there.is_none_or(|there| session.provider_session.as_deref() == Some(there))
        })
        .map(|(session, _)| session)
        .collect();
    if ended.is_empty() || (user.is_none() && there.is_none()) {
        return Err(DirectoryError::NotFound {
            kind: Kind::Session.name(),
            id: "of that provider".into(),
        });
    }
    let details = json!({"connection": connection, "by": "provider", "sessions": ended});
    let change = Change::new(Event::UserLogout, user, details);
    Ok(end_all(change, ended))
}

/// One of the sessions of the person asked about ends.
///
/// # Errors
/// They have none of that identifier.
pub fn revoke(
    by: &Authorized<SessionRevoke>,
    snapshot: &Snapshot,
    session: Ref,
) -> Result<Change, DirectoryError> {
    if require(snapshot, session)?.owner != by.resource() {
        return Err(DirectoryError::absent(session));
    }
    let details = json!({"user": by.resource()});
    Ok(Change::new(Event::SessionRevoked, Some(session), details)
        .end(RowId::Object(session))
        .reply(json!({"id": session})))
}

/// All sessions of the person asked about end.
///
/// # Errors
/// They are not there.
pub fn revoke_all(
    by: &Authorized<SessionRevoke>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    all_revoked(snapshot, by.resource())
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn revoke_all_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    user: Ref,
) -> Result<Change, DirectoryError> {
    all_revoked(snapshot, user)
}

fn all_revoked(snapshot: &Snapshot, user: Ref) -> Result<Change, DirectoryError> {
    snapshot.require_user(user)?;
    let ended: Vec<Ref> = sessions_of(snapshot, user)
        .map(|(session, _)| session)
        .collect();
    let reply = json!({"ended": ended.len()});
    let details = json!({"sessions": ended});
    let change = Change::new(Event::SessionRevoked, Some(user), details);
    Ok(end_all(change, ended).reply(reply))
}

/// Sessions that have been over for an hour are taken away.
///
/// # Errors
/// There are none.
pub fn expire(by: &Operator, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let ended: Vec<Ref> = expired(snapshot, by.now()).take(EXPIRED_AT_ONCE).collect();
    if ended.is_empty() {
        return Err(DirectoryError::NotFound {
            kind: Kind::Session.name(),
            id: "over".into(),
        });
    }
    let details = json!({"expired": ended.len()});
    let change = Change::new(Event::SessionRevoked, Some(snapshot.org()), details);
    Ok(end_all(change, ended))
}

/// Those that have been over for an hour.
pub fn expired(snapshot: &Snapshot, now: DateTime<Utc>) -> impl Iterator<Item = Ref> {
    let over = now - chrono::Duration::hours(1);
    sessions(snapshot)
        .filter(move |(_, session)| session.expires_at <= over)
        .map(|(session, _)| session)
}

/// A person's sessions end with this change, which is about the person.
pub(super) fn end_sessions(snapshot: &Snapshot, user: Ref, change: Change) -> Change {
    let ended = sessions_of(snapshot, user).map(|(session, _)| session);
    end_all(change, ended)
}

/// The sessions that a connection has begun end with this change.
pub(super) fn end_of(snapshot: &Snapshot, connection: ConnectionId, change: Change) -> Change {
    let ended = sessions(snapshot).filter(|(_, session)| session.connection == Some(connection));
    end_all(change, ended.map(|(one, _)| one))
}

/// A person's break-glass sessions end with this change.
pub(super) fn end_glass(snapshot: &Snapshot, user: Ref, change: Change) -> Change {
    let ended = sessions_of(snapshot, user).filter(|(_, session)| session.break_glass);
    end_all(change, ended.map(|(one, _)| one))
}

/// All sessions end with this change: of a log that was put back nobody knows which had ended since.
pub(super) fn end_every(snapshot: &Snapshot, change: Change) -> Change {
    end_all(change, sessions(snapshot).map(|(one, _)| one))
}

/// A person's sessions, those that are over included.
pub fn sessions_of(snapshot: &Snapshot, user: Ref) -> impl Iterator<Item = (Ref, &Session)> {
    snapshot
        .owned(user, Kind::Session)
        .filter_map(|(reference, object)| match object {
            Object::Session(session) => Some((reference, session)),
            _ => None,
        })
}

fn sessions(snapshot: &Snapshot) -> impl Iterator<Item = (Ref, &Session)> {
    let all = snapshot.objects_of(Kind::Session, None);
    all.filter_map(|(reference, stored)| match &stored.value {
        Object::Session(session) => Some((reference, session)),
        _ => None,
    })
}

fn require(snapshot: &Snapshot, reference: Ref) -> Result<&Session, DirectoryError> {
    match snapshot.require(reference)? {
        Object::Session(session) => Ok(session),
        _ => Err(DirectoryError::absent(reference)),
    }
}

fn end_all(change: Change, ended: impl IntoIterator<Item = Ref>) -> Change {
    ended
        .into_iter()
        .fold(change, |change, one| change.end(RowId::Object(one)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::object::Role;
    use super::super::people::{Standing, change_role, remove, set_active};
    use super::super::world::{World, id, now};
    use super::*;

    fn arrival(number: u8, user: Ref) -> Arrival {
        Arrival {
            id: id(number),
            digest: [number; 32],
            user,
            method: "oidc",
            break_glass: false,
            connection: Some(ConnectionId(id(1))),
            provider_session: Some("there".into()),
            ends_at: None,
            agent: Some("x".repeat(999)),
            client: None,
        }
    }

    fn arrive(world: &mut World, number: u8, user: Ref) -> Ref {
        let change = begin(
            &Proven::in_test(now()),
            &world.snapshot,
            &arrival(number, user),
        );
        world.apply(change);
        Ref::new(Kind::Session, id(number))
    }

    #[test]
    fn a_session_lasts_twelve_hours_or_as_long_as_the_provider_says() {
        let mut world = World::new();
        let bob = world.bob;
        let one = arrive(&mut world, 90, bob);
        let session = require(&world.snapshot, one).unwrap();
        assert_eq!(session.expires_at, now() + chrono::Duration::hours(12));
        assert_eq!(session.agent.as_ref().unwrap().len(), AGENT_LIMIT);
        let shorter = Arrival {
            ends_at: Some(now() + chrono::Duration::minutes(5)),
            ..arrival(91, world.bob)
        };
        world.apply(begin(&Proven::in_test(now()), &world.snapshot, &shorter));
        let session = require(&world.snapshot, Ref::new(Kind::Session, id(91))).unwrap();
        assert_eq!(session.expires_at, now() + chrono::Duration::minutes(5));
        let over = Arrival {
            ends_at: Some(now()),
            ..arrival(92, world.bob)
        };
        assert!(begin(&Proven::in_test(now()), &world.snapshot, &over).is_err());
    }

    #[test]
    fn nobody_who_is_suspended_or_unknown_signs_in() {
        let mut world = World::new();
        world.suspend_bob();
        let by = Proven::in_test(now());
        let refused = begin(&by, &world.snapshot, &arrival(90, world.bob)).unwrap_err();
        assert_eq!(refused, DirectoryError::Suspended);
        let nobody = Ref::new(Kind::User, id(99));
        assert!(begin(&by, &world.snapshot, &arrival(90, nobody)).is_err());
    }

    #[test]
    fn sessions_end_with_a_removal_a_suspension_and_another_role() {
        for what in 0..3 {
            let mut world = World::new();
            let (bob, ada) = (world.bob, world.ada);
            let one = arrive(&mut world, 90, bob);
            let other = arrive(&mut world, 91, ada);
            let snapshot = &world.snapshot;
            let change = match what {
                0 => remove(&world.by(world.bob), snapshot),
                1 => set_active(&world.by(world.bob), snapshot, Standing::Suspended),
                _ => change_role(&world.by(world.bob), snapshot, Role::Viewer),
            };
            world.apply(change);
            assert!(world.snapshot.object(one).is_none(), "{what}");
            assert!(world.snapshot.object(other).is_some(), "{what}");
        }
    }

    #[test]
    fn the_oldest_ends_where_there_are_too_many() {
        let mut world = World::new();
        for number in 100..=100 + u8::try_from(SESSIONS_MOST).unwrap() {
            let bob = world.bob;
            arrive(&mut world, number, bob);
        }
        assert_eq!(
            sessions_of(&world.snapshot, world.bob).count(),
            SESSIONS_MOST
        );
        assert!(
            world
                .snapshot
                .object(Ref::new(Kind::Session, id(100)))
                .is_none()
        );
    }

    #[test]
    fn one_ends_ones_own_and_a_provider_those_that_it_has_begun() {
        let mut world = World::new();
        let (bob, ada) = (world.bob, world.ada);
        let (one, two) = (arrive(&mut world, 90, bob), arrive(&mut world, 91, ada));
        assert!(revoke(&world.by(bob), &world.snapshot, two).is_err());
        world.apply(revoke(&world.by(bob), &world.snapshot, one));
        assert!(world.snapshot.object(one).is_none());
        let by = Proven::in_test(now());
        let (here, elsewhere) = (ConnectionId(id(1)), ConnectionId(id(2)));
        let leave = |connection, user, there| {
            leave_by_provider(&by, &world.snapshot, (connection, user, there))
        };
        assert!(leave(here, None, None).is_err());
        assert!(leave(elsewhere, Some(ada), None).is_err());
        assert!(leave(here, Some(bob), None).is_err());
        assert!(leave(here, None, Some("nowhere")).is_err());
        let left = leave(here, None, Some("there"));
        world.apply(left);
        assert!(world.snapshot.object(two).is_none());
    }

    #[test]
    fn what_is_over_is_taken_away_an_hour_later() {
        let mut world = World::new();
        let bob = world.bob;
        let one = arrive(&mut world, 90, bob);
        let later = now() + chrono::Duration::hours(13);
        assert!(expire(&Operator::in_test(now()), &world.snapshot).is_err());
        world.apply(expire(&Operator::in_test(later), &world.snapshot));
        assert!(world.snapshot.object(one).is_none());
    }
}
