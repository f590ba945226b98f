//! Requests for access that are approved or declined: no more is ever given than was asked for, or than whoever approves could share.

use chrono::{DateTime, Duration, Utc};
use serde_json::json;

use super::{Given, Request, Status, ended, open, put, required};
use crate::decide::authorized::{AccessDecline, Authorized, SettingsUpdate};
use crate::directory::DirectoryError;
use crate::directory::change::Change;
use crate::directory::expiry::End;
use crate::directory::object::{Level, Ref};
use crate::directory::share::{self, Grant, Shared, Shares};
use crate::directory::snapshot::Snapshot;
use crate::log::vocabulary::Event;

/// What whoever approves gives; what they do not say is as it was asked for.
#[derive(Debug, Clone)]
pub struct Approval {
    /// 128 random bits, for the share.
    pub share: [u8; 16],
    /// How much.
    pub level: Option<Level>,
    /// For how long.
    pub until: Option<End>,
}

/// Shares the thing asked about with whoever asked for it, for no more and no longer than they asked.
///
/// # Errors
/// There is no such request about it, it is not open, or it is of whoever approves; more than was asked for; what would keep them from sharing
/// it with that person; or that person has it already.
pub fn approve<A: Shares>(
    by: &Authorized<A>,
    snapshot: &Snapshot,
    request: Ref,
    approval: &Approval,
) -> Result<Change, DirectoryError> {
    let found = decidable(snapshot, (request, by.resource()), (by.user(), by.now()))?;
    let grant = granted(found, approval, by.now())?;
    let shared = share::share_beside(by, snapshot, approval.share, &grant)?;
    approved(snapshot, (request, found), shared, by.now())
}

/// The same of a request to read the log: asked about are the settings, as for every auditor.
///
/// # Errors
/// The same.
pub fn approve_auditor(
    by: &Authorized<SettingsUpdate>,
    snapshot: &Snapshot,
    request: Ref,
    approval: &Approval,
) -> Result<Change, DirectoryError> {
    let about = (request, share::audit_log(snapshot));
    let found = decidable(snapshot, about, (by.user(), by.now()))?;
    let grant = granted(found, approval, by.now())?;
    let shared = share::auditor_beside(by, snapshot, approval.share, &grant)?;
    approved(snapshot, (request, found), shared, by.now())
}

/// Whoever may share it does not share it on the request asked about.
///
/// # Errors
/// It is not there, or not open.
pub fn decline(
    by: &Authorized<AccessDecline>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    ended(snapshot, by.resource(), Status::Declined, by.now())
}

/// The request, where somebody may decide on it who may share what it is about.
fn decidable(
    snapshot: &Snapshot,
    (reference, resource): (Ref, Ref),
    (user, now): (Option<Ref>, DateTime<Utc>),
) -> Result<&Request, DirectoryError> {
    let request = required(snapshot, reference)?;
    if request.resource != resource {
        return Err(DirectoryError::absent(reference));
    }
    let user = user.ok_or(DirectoryError::NoActingUser)?;
    if request.owner == user {
        return Err(DirectoryError::invalid(
            "id",
            "whoever asked for it does not approve it: that takes somebody else",
        ));
    }
    open(request, now)?;
    Ok(request)
}

/// What is shared on a request: no more and no longer than was asked for.
fn granted(
    request: &Request,
    approval: &Approval,
    now: DateTime<Utc>,
) -> Result<Grant, DirectoryError> {
    let level = approval.level.unwrap_or(request.level);
    if level > request.level {
        return Err(DirectoryError::invalid(
            "level",
            format!("they asked for `{}` at most", request.level.name()),
        ));
    }
    let asked = request.minutes.map_or(End::Never, End::After);
    let until = approval.until.unwrap_or(asked);
    let longest = request
        .minutes
        .map(|minutes| now + Duration::minutes(minutes.into()));
    let is_longer = longest.is_some_and(|longest| match until {
        End::Never => true,
        End::At(at) => at > longest,
        End::After(minutes) => now + Duration::minutes(minutes.into()) > longest,
    });
    if is_longer {
        return Err(DirectoryError::invalid(
            until.member(),
            "it is longer than they asked for",
        ));
    }
    Ok(Grant {
        grantee: request.owner,
        level,
        until,
    })
}

/// The change that shares it, and closes the request.
fn approved(
    snapshot: &Snapshot,
    (reference, request): (Ref, &Request),
    (shared, id, share): Shared,
    now: DateTime<Utc>,
) -> Result<Change, DirectoryError> {
    let given = Given {
        share: id,
        level: share.level,
        expires_at: share.expires_at,
    };
    let details = json!({
        "resource": request.resource, "grantee": request.owner, "share": given.share,
        "level": given.level.name(), "expires_at": given.expires_at,
        "asked": {"level": request.level.name(), "for_minutes": request.minutes},
    });
    let request = Request {
        given: Some(given),
        ..request.closed(Status::Approved, now)
    };
    let change = shared.and(Event::AccessApproved, Some(reference), details);
    Ok(put(snapshot, change, reference, request))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::tests::{later, named, wanted};
    use super::super::{DAYS, due, lapse, withdraw};
    use super::*;
    use crate::decide::authorized::ThreadShare;
    use crate::directory::object::Kind;
    use crate::directory::share::share;
    use crate::directory::world::{World, id, now};

    fn approval(level: Option<Level>, until: Option<End>) -> Approval {
        Approval {
            share: id(95),
            level,
            until,
        }
    }

    fn status(world: &World) -> Status {
        required(&world.snapshot, named(90)).unwrap().status
    }

    #[test]
    fn what_is_approved_is_shared_from_then_on_for_as_long_as_was_asked() {
        let (mut world, thread) = wanted();
        let by = Authorized::in_test(Some(world.ada), thread, now() + Duration::days(3));
        let change =
            approve::<ThreadShare>(&by, &world.snapshot, named(90), &approval(None, None)).unwrap();
        let events: Vec<Event> = change.events.iter().map(|one| one.event).collect();
        assert_eq!(events, [Event::ThreadShared, Event::AccessApproved]);
        world.apply(Ok(change));
        let shared = &world.snapshot.share(id(95)).unwrap().value;
        assert_eq!(
            (shared.grantee, shared.level),
            (world.bob, Level::Commenter)
        );
        let end = now() + Duration::days(3) + Duration::minutes(60);
        assert_eq!(shared.expires_at, Some(end));
        let request = required(&world.snapshot, named(90)).unwrap();
        assert_eq!(request.status, Status::Approved);
        assert_eq!(request.reason, "to answer it");
        assert_eq!(request.given.as_ref().unwrap().expires_at, Some(end));
    }

    #[test]
    fn no_more_is_given_than_was_asked_for() {
        let (world, thread) = wanted();
        let by = world.by::<ThreadShare>(thread);
        let given = |level, until| {
            approve(&by, &world.snapshot, named(90), &approval(level, until)).map(|change| {
                let next = world.with(&change);
                let share = next.share(id(95)).unwrap();
                (share.value.level, share.value.expires_at.unwrap() - now())
            })
        };
        let minutes = Duration::minutes;
        assert_eq!(
            given(Some(Level::Viewer), Some(End::After(5))).unwrap(),
            (Level::Viewer, minutes(5))
        );
        let sooner = now() + minutes(59);
        assert_eq!(
            given(None, Some(End::At(sooner))).unwrap(),
            (Level::Commenter, minutes(59))
        );
        for (level, until) in [
            (Some(Level::Editor), None),
            (Some(Level::Auditor), None),
            (None, Some(End::Never)),
            (None, Some(End::After(61))),
            (None, Some(End::At(now() + minutes(61)))),
            (None, Some(End::At(now()))),
        ] {
            let refused = given(level, until).unwrap_err();
            assert!(
                matches!(refused, DirectoryError::Invalid { .. }),
                "{level:?} {until:?}"
            );
        }
    }

    #[test]
    fn nobody_approves_their_own_and_nothing_but_what_it_is_about_is_shared() {
        let (mut world, thread) = wanted();
        let approve = |world: &World, user, on| {
            let by = Authorized::<ThreadShare>::in_test(user, on, now());
            super::approve(&by, &world.snapshot, named(90), &approval(None, None))
        };
        let own = approve(&world, Some(world.bob), thread).unwrap_err();
        assert!(matches!(own, DirectoryError::Invalid { member: "id", .. }));
        assert_eq!(
            approve(&world, None, thread).unwrap_err(),
            DirectoryError::NoActingUser
        );
        let other = Ref::new(Kind::Thread, id(99));
        assert_eq!(
            approve(&world, Some(world.ada), other).unwrap_err(),
            DirectoryError::absent(named(90))
        );
        world.suspend_bob();
        assert!(approve(&world, Some(world.ada), thread).is_err());
    }

    #[test]
    fn a_request_is_decided_once_and_for_fourteen_days() {
        let (mut world, thread) = wanted();
        let by = |time| Authorized::<ThreadShare>::in_test(Some(world.ada), thread, time);
        let end = now() + Duration::days(DAYS);
        let given = |time| approve(&by(time), &world.snapshot, named(90), &approval(None, None));
        assert!(given(end - Duration::microseconds(1)).is_ok());
        assert!(matches!(
            given(end).unwrap_err(),
            DirectoryError::Conflicting { .. }
        ));
        assert!(lapse(&later(DAYS - 1), &world.snapshot).is_err());
        let lapsed = lapse(&later(DAYS), &world.snapshot).unwrap();
        assert_eq!(lapsed.events.len(), 1);
        let next = world.with(&lapsed);
        assert_eq!(due(&next, end).count(), 0);
        let by = world.by_user(world.ada, named(90));
        world.apply(decline(&by, &world.snapshot));
        assert_eq!(status(&world), Status::Declined);
        let again = decline(&world.by_user(world.ada, named(90)), &world.snapshot);
        assert!(again.unwrap_err().to_string().contains("it was declined"));
        let by = world.by_user(world.bob, named(90));
        assert!(withdraw(&by, &world.snapshot).is_err());
    }

    #[test]
    fn approving_takes_nothing_away() {
        let (mut world, thread) = wanted();
        let by = world.by::<ThreadShare>(thread);
        let have = |level, until| Grant {
            grantee: world.bob,
            level,
            until,
        };
        let with = |grant: &Grant| {
            let had = share(&by, &world.snapshot, id(80), grant).unwrap();
            let before = world.with(&had);
            approve(&by, &before, named(90), &approval(None, None))
        };
        // Less, and no longer: it is replaced, and keeps its identifier.
        let replaced = with(&have(Level::Viewer, End::After(30))).unwrap();
        let next = world.with(&replaced);
        assert!(next.share(id(95)).is_none());
        assert_eq!(next.share(id(80)).unwrap().value.level, Level::Commenter);
        // Less, and for longer; or more, and not as long: it stays beside.
        for stays in [
            have(Level::Viewer, End::Never),
            have(Level::Editor, End::After(30)),
        ] {
            let had = share(&by, &world.snapshot, id(80), &stays).unwrap();
            let mut both = World::new();
            both.snapshot = world.with(&had);
            both.apply(with(&stays));
            assert_eq!(both.snapshot.shares_of(thread).count(), 2);
            assert_eq!(
                both.snapshot.share(id(80)).unwrap().value.level,
                stays.level
            );
            // Whoever shares it again says what they have, whole.
            let again = have(Level::Viewer, End::Never);
            both.apply(share(&by, &both.snapshot, id(81), &again));
            assert_eq!(both.snapshot.shares_of(thread).count(), 1);
        }
        // All of it, and as long.
        for more in [
            have(Level::Commenter, End::After(60)),
            have(Level::Editor, End::Never),
        ] {
            let refused = with(&more).unwrap_err();
            assert!(refused.to_string().contains("they have that already"));
        }
        let over = have(Level::Editor, End::After(1));
        let had = share(&by, &world.snapshot, id(80), &over).unwrap();
        world.apply(Ok(had));
        let by = Authorized::<ThreadShare>::in_test(
            Some(world.ada),
            thread,
            now() + Duration::minutes(1),
        );
        let change = approve(&by, &world.snapshot, named(90), &approval(None, None)).unwrap();
        let next = world.with(&change);
        assert_eq!(next.share(id(80)).unwrap().value.level, Level::Commenter);
    }
}
