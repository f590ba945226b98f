//! What is kept of an organization's log and for how long: its key, retention, legal holds, and the erasure of a person.

use std::collections::BTreeSet;

use serde_json::json;

use super::change::{Change, Effect, Row, RowId};
use super::object::{Body, Kind, Layer, Object, Organization, Ref};
use super::organization::changed;
use super::policies::Standing;
use super::session;
use super::snapshot::Snapshot;
use super::{DirectoryError, name, people};
use crate::decide::authorized::{
    Authorized, DataErase, KeyRotate, LegalHoldRelease, LegalHoldSet, Operator, RetentionUpdate,
};
use crate::ids::Incarnation;
use crate::log::entry::{Fact, Id};
use crate::log::merkle::Hash;
use crate::log::vocabulary::Event;

/// The longest that retention can be, in days: a hundred years.
const RETENTION_LIMIT: u32 = 36_500;

/// The log is signed by a new key from here on.
///
/// # Errors
/// None.
pub fn rotate_log_key(
    _by: &Authorized<KeyRotate>,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    Ok(rotated(snapshot))
}

/// The same by the operator.
///
/// # Errors
/// None.
pub fn rotate_log_key_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
) -> Result<Change, DirectoryError> {
    Ok(rotated(snapshot))
}

fn rotated(snapshot: &Snapshot) -> Change {
    Change::new(Event::LogKeyRotated, Some(snapshot.org()), json!({}))
        .effect(Effect::RotateLogKey)
        .reply(json!({"rotated": true}))
}

/// What is known of a life of a log that was put back from a backup.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// As many entries as it is known to have had.
    pub size: u64,
    /// Its root at that size.
    pub root: Hash,
}

impl Before {
    fn fact(&self) -> Fact {
        Fact::Restored {
            incarnation: Id::of(Incarnation::PREFIX, self.incarnation.bytes()),
            size: self.size,
            root: self.root,
        }
    }
}

/// The log was put back from a backup, and goes on as another life of it: with what is known of the one before, and of one that is lost
/// whole, since the backup is older than it.
///
/// # Errors
/// None.
pub fn restored(
    _by: &Operator,
    snapshot: &Snapshot,
    before: &Before,
    lost: Option<&Before>,
) -> Result<Change, DirectoryError> {
    let log = Some(snapshot.org());
    let mut change = Change::new(Event::LogRestored, log, json!({})).fact(before.fact());
    if let Some(lost) = lost {
        change = change
            .and(Event::LogRestored, log, json!({}))
            .fact(lost.fact());
    }
    let change = change.and(Event::LogKeyRotated, log, json!({}));
    Ok(session::end_every(snapshot, change)
        .effect(Effect::BeginLife)
        .reply(json!({"restored": true})))
}

/// For how many days entries of the log are kept; for ever if absent.
///
/// # Errors
/// No number of days, or it is so now.
pub fn set_retention(
    _by: &Authorized<RetentionUpdate>,
    snapshot: &Snapshot,
    days: Option<u32>,
) -> Result<Change, DirectoryError> {
    retention(snapshot, days)
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn set_retention_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    days: Option<u32>,
) -> Result<Change, DirectoryError> {
    retention(snapshot, days)
}

fn retention(snapshot: &Snapshot, days: Option<u32>) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    if days.is_some_and(|days| !(1..=RETENTION_LIMIT).contains(&days)) {
        return Err(DirectoryError::invalid(
            "retention_days",
            "it must lie between 1 and 36500, or be null to keep everything",
        ));
    }
    if old.retention_days == days {
        return Err(DirectoryError::conflicting(
            "retention_days",
            "it is so now",
        ));
    }
    let details = json!({"old": old.retention_days, "new": days});
    let new = Organization {
        retention_days: days,
        ..old.clone()
    };
    Ok(changed(snapshot, Event::RetentionUpdated, details, new))
}

/// A legal hold on the whole organization: nothing of it is deleted, overwritten, pruned or erased until each is released.
///
/// # Errors
/// A reason that cannot be read.
pub fn hold(
    _by: &Authorized<LegalHoldSet>,
    snapshot: &Snapshot,
    reason: &str,
) -> Result<Change, DirectoryError> {
    held(snapshot, 1, reason)
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn hold_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    reason: &str,
) -> Result<Change, DirectoryError> {
    held(snapshot, 1, reason)
}

/// Releases one legal hold.
///
/// # Errors
/// There is none, or a reason that cannot be read.
pub fn release(
    _by: &Authorized<LegalHoldRelease>,
    snapshot: &Snapshot,
    reason: &str,
) -> Result<Change, DirectoryError> {
    held(snapshot, -1, reason)
}

/// The same by the operator.
///
/// # Errors
/// The same.
pub fn release_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    reason: &str,
) -> Result<Change, DirectoryError> {
    held(snapshot, -1, reason)
}

fn held(snapshot: &Snapshot, by: i64, reason: &str) -> Result<Change, DirectoryError> {
    let old = snapshot.organization()?;
    let reason = name("reason", reason)?;
    let holds = old.holds.saturating_add(by);
    if holds < 0 {
        return Err(DirectoryError::conflicting(
            "legal_hold",
            "there is none to release",
        ));
    }
    let event = if by > 0 {
        Event::LegalHoldSet
    } else {
        Event::LegalHoldReleased
    };
    let details = json!({"reason": reason, "old": old.holds, "new": holds});
    let new = Organization {
        holds,
        ..old.clone()
    };
    Ok(changed(snapshot, event, details, new))
}

/// A person is forgotten: they leave, if they have not, and the key of what the log says about them is destroyed.
///
/// # Errors
/// They are not there, they are the last active Admin, or a legal hold stands.
pub fn erase(by: &Authorized<DataErase>, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    forget(snapshot, by.resource())
}

/// The same of somebody who left before: nothing of them is there to be asked about, so it was allowed of the organization.
///
/// # Errors
/// They are there after all, or a legal hold stands.
pub fn erase_who_left(
    _by: &Authorized<DataErase>,
    snapshot: &Snapshot,
    person: Ref,
) -> Result<Change, DirectoryError> {
    // INVARIANT: whoever is there is erased by what was decided about them.
    match snapshot.user(person) {
        Some(_) => Err(DirectoryError::Moved),
        None => forget(snapshot, person),
    }
}

/// The same by the operator, also for somebody who left before.
///
/// # Errors
/// They are the last active Admin, or a legal hold stands.
pub fn erase_by_operator(
    _by: &Operator,
    snapshot: &Snapshot,
    person: Ref,
) -> Result<Change, DirectoryError> {
    forget(snapshot, person)
}

fn forget(snapshot: &Snapshot, person: Ref) -> Result<Change, DirectoryError> {
    if person.kind != Kind::User {
        return Err(DirectoryError::invalid("member", "it is no person"));
    }
    let theirs = snapshot.user(person).map_or(0, |user| user.holds);
    not_held(snapshot, theirs)?;
    let change = match snapshot.user(person) {
        Some(_) => people::leave(snapshot, person)?.and(
            Event::DataErasureRequested,
            Some(person),
            json!({}),
        ),
        None => Change::new(Event::DataErasureRequested, Some(person), json!({})),
    };
    Ok(with_theirs(change, snapshot, person)
        .effect(Effect::Forget(person))
        .reply(json!({"id": person, "erasing": true})))
}

/// A person is forgotten again who was erased before, and whom a restore has brought back, or an invitation of theirs. Neither a legal hold that what was put back
/// knows of, nor that they were the last Admin then, keeps them: it was decided when they were erased.
///
/// # Errors
/// None.
pub fn erase_again(
    _by: &Operator,
    snapshot: &Snapshot,
    person: Ref,
) -> Result<Change, DirectoryError> {
    let requested = (Event::DataErasureRequested, Some(person), json!({}));
    let change = match snapshot.user(person) {
        Some(_) => people::vanish(snapshot, person)?.and(requested.0, requested.1, requested.2),
        None => Change::new(requested.0, requested.1, requested.2),
    };
    Ok(with_theirs(change, snapshot, person)
        .effect(Effect::Forget(person))
        .reply(json!({"id": person, "erasing": true})))
}

/// The change, which takes along what is theirs alone, an invitation under their address, and what they have said about policies.
fn with_theirs(mut change: Change, snapshot: &Snapshot, person: Ref) -> Change {
    let ended: BTreeSet<RowId> = change.rows.iter().map(Row::id).collect();
    let mut theirs = theirs_alone(snapshot, person);
    let user = snapshot.user(person);
    let invitation = match person.kind {
        Kind::Invitation => snapshot.object(person).map(|_| person),
        _ => user.and_then(|user| snapshot.invitation_at(&user.email)),
    };
    theirs.extend(invitation.map(RowId::Object));
    for row in theirs.into_iter().filter(|row| !ended.contains(row)) {
        change = change.end(row);
    }
    let drafted = snapshot
        .versions()
        .filter(|(_, version)| version.drafted.by == Some(person));
    for (number, standing) in drafted.filter_map(|(n, _)| Some((n, snapshot.standing(n)?))) {
        let silent = Standing {
            message: String::new(),
            ..standing.clone()
        };
        change = change.put(RowId::Standing(number), Body::Standing(silent));
    }
    change
}

/// What is nobody else's: their personal memory, and what they made and shared with nobody, with what hangs from it, and what all that was
/// shared with.
fn theirs_alone(snapshot: &Snapshot, person: Ref) -> BTreeSet<RowId> {
    let is_shared = |reference: Ref| snapshot.shares_of(reference).next().is_some();
    let mut alone = BTreeSet::new();
    for reference in snapshot.all_owned(person) {
        let Some(stored) = snapshot.lent(reference) else {
            continue;
        };
        let is_alone = match &stored.value {
            Object::Memory(memory) => memory.layer == Layer::Personal && memory.owner == person,
            object => object.made().is_some_and(|made| {
                made.owner == person
                    && made.audience.is_none()
                    && made.parent.kind != Kind::Thread
                    && !is_shared(reference)
            }),
        };
        if is_alone {
            alone.insert(reference);
        }
    }
    let under = alone.iter().flat_map(|one| snapshot.children(*one));
    let all: BTreeSet<Ref> = alone.iter().copied().chain(under).collect();
    let shares = all
        .iter()
        .flat_map(|one| snapshot.shares_of(*one).chain(snapshot.shares_to(*one)))
        .map(|(id, _)| RowId::Share(id));
    let shares = Vec::from_iter(shares);
    all.into_iter().map(RowId::Object).chain(shares).collect()
}

/// What the log held about a person is gone from it.
///
/// # Errors
/// None.
pub fn erased(_by: &Operator, _snapshot: &Snapshot, person: Ref) -> Result<Change, DirectoryError> {
    Ok(Change::new(Event::DataErased, Some(person), json!({})).effect(Effect::Forgotten(person)))
}

/// Entries below this index are not kept any more.
///
/// # Errors
/// A legal hold stands, or retention has been lifted.
pub fn prune(_by: &Operator, snapshot: &Snapshot, minimum: u64) -> Result<Change, DirectoryError> {
    not_held(snapshot, 0)?;
    if snapshot.organization()?.retention_days.is_none() {
        return Err(DirectoryError::conflicting(
            "retention_days",
            "it was lifted",
        ));
    }
    Ok(
        Change::new(Event::LogPruned, Some(snapshot.org()), json!({}))
            .fact(Fact::Minimum(minimum))
            .effect(Effect::Prune(minimum)),
    )
}

fn not_held(snapshot: &Snapshot, theirs: i64) -> Result<(), DirectoryError> {
    if theirs > 0 || snapshot.organization()?.holds > 0 {
        Err(DirectoryError::Held)
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::expiry::End;
    use super::super::made::Audience;
    use super::super::object::{Level, Role};
    use super::super::share::{Grant, share};
    use super::super::world::{World, now};
    use super::*;
    use crate::decide::authorized::ThreadShare;
    use crate::policy::{Attribute, Value, View as _};

    #[test]
    fn what_is_nobody_elses_goes_with_its_person() {
        let by = Operator::in_test(now());
        let after = |world: &mut World| {
            // Somebody else stays an Admin.
            let role = people::change_role(&world.by(world.bob), &world.snapshot, Role::Admin);
            world.apply(role);
            let change = erase_by_operator(&by, &world.snapshot, world.ada).unwrap();
            world.with(&change)
        };
        let mut world = World::new();
        let own = world.memory_of(world.ada);
        let private = world.thread(Audience::Private);
        let next = after(&mut world);
        for gone in [own, private, world.ada] {
            assert!(next.object(gone).is_none(), "{gone}");
        }
        let mut world = World::new();
        let team = world.memory_of(world.team);
        let group = world.snapshot.organization().unwrap().members;
        let open = world.thread(Audience::Members(group));
        let next = after(&mut world);
        for kept in [team, open, world.org] {
            assert!(next.object(kept).is_some(), "{kept}");
        }
    }

    #[test]
    fn what_was_shared_with_what_goes_is_not_shared_with_it_any_more() {
        let mut world = World::new();
        let role = people::change_role(&world.by(world.bob), &world.snapshot, Role::Admin);
        world.apply(role);
        let definition = world.definition();
        let group = world.snapshot.organization().unwrap().members;
        let thread = world.thread(Audience::Members(group));
        let grant = Grant {
            grantee: definition,
            level: Level::Viewer,
            until: End::Never,
        };
        let shared = share(
            &world.by::<ThreadShare>(thread),
            &world.snapshot,
            [1; 16],
            &grant,
        );
        world.apply(shared);
        let by = Operator::in_test(now());
        let change = erase_by_operator(&by, &world.snapshot, world.ada).unwrap();
        let next = world.with(&change);
        assert!(next.object(definition).is_none() && next.object(thread).is_some());
        assert!(next.share([1; 16]).is_none());
    }

    /// The legal holds on an object as Cedar sees them.
    fn holds(snapshot: &Snapshot, reference: Ref) -> String {
        let found = snapshot.attribute(&reference.into(), "holds");
        let Attribute::Is(Value::Long(holds)) = found else {
            return format!("{found:?}");
        };
        holds.to_string()
    }

    #[test]
    fn a_hold_on_the_organization_holds_whatever_it_has() {
        let mut world = World::new();
        let by = Operator::in_test(now());
        let (org, bob) = (world.org, world.bob);
        assert_eq!(holds(&world.snapshot, bob), "0");
        world.apply(hold_by_operator(&by, &world.snapshot, "a lawsuit"));
        world.apply(hold_by_operator(&by, &world.snapshot, "another"));
        assert_eq!(holds(&world.snapshot, org), "2");
        assert_eq!(holds(&world.snapshot, bob), "2");
        assert_eq!(
            erase_by_operator(&by, &world.snapshot, bob).unwrap_err(),
            DirectoryError::Held
        );
        for _ in 0..2 {
            world.apply(release_by_operator(&by, &world.snapshot, "settled"));
        }
        assert_eq!(holds(&world.snapshot, bob), "0");
        assert!(release_by_operator(&by, &world.snapshot, "settled").is_err());
        assert!(erase_by_operator(&by, &world.snapshot, bob).is_ok());
    }

    #[test]
    fn nothing_is_pruned_that_must_be_kept() {
        let mut world = World::new();
        let by = Operator::in_test(now());
        assert!(prune(&by, &world.snapshot, 256).is_err());
        world.apply(set_retention_by_operator(&by, &world.snapshot, Some(30)));
        assert!(set_retention_by_operator(&by, &world.snapshot, Some(30)).is_err());
        assert!(set_retention_by_operator(&by, &world.snapshot, Some(0)).is_err());
        assert!(prune(&by, &world.snapshot, 256).is_ok());
        world.apply(hold_by_operator(&by, &world.snapshot, "a lawsuit"));
        assert_eq!(
            prune(&by, &world.snapshot, 256).unwrap_err(),
            DirectoryError::Held
        );
    }
}
