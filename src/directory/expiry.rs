//! When shares end: how far off that may lie, and what becomes of those whose time is over.

use chrono::{DateTime, Duration, Utc};
use serde_json::json;

use super::change::{Change, RowId};
use super::object::Share;
use super::snapshot::Snapshot;
use super::{DirectoryError, view};
use crate::decide::authorized::Operator;
use crate::log::vocabulary::Event;

/// How far off the end of a share may lie, in days, unless the organization says otherwise.
pub const DAYS_MOST: u32 = 366;

/// The most that an organization may say.
pub const DAYS_LIMIT: u32 = 3_660;

/// The same in minutes.
pub const MINUTES_MOST: u32 = DAYS_LIMIT * 24 * 60;

/// How many shares are said to have expired in one change.
const EXPIRED_AT_ONCE: usize = 200;

/// When a share stops counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It does not.
    Never,
    /// At this time.
    At(DateTime<Utc>),
    /// So many minutes from when it is given.
    After(u32),
}

impl End {
    /// The member of a request that says so.
    pub(super) const fn member(self) -> &'static str {
        match self {
            Self::Never | Self::At(_) => "expires_at",
            Self::After(_) => "for_minutes",
        }
    }

    /// When that is, where it is one that the organization allows.
    pub(super) fn time(
        self,
        snapshot: &Snapshot,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, DirectoryError> {
        let limit = snapshot.organization()?.share_days;
        let end = match (self, limit) {
            (Self::Never, None) => return Ok(None),
            (Self::Never, Some(days)) => {
                return Err(DirectoryError::invalid(
                    self.member(),
                    format!(
                        "here every share ends, within {days} days: say when, or `for_minutes`"
                    ),
                ));
            }
            (Self::At(at), _) => at,
            (Self::After(minutes), _) => now + Duration::minutes(minutes.into()),
        };
        let days = limit.unwrap_or(DAYS_MOST);
        let why = if end <= now {
            "it is past".to_owned()
        } else if end > now + Duration::days(days.into()) {
            format!("a share ends within {days} days here")
        } else {
            return Ok(Some(end));
        };
        Err(DirectoryError::invalid(self.member(), why))
    }
}

/// The shares whose time is over, and which are still there.
pub fn due(snapshot: &Snapshot, now: DateTime<Utc>) -> impl Iterator<Item = ([u8; 16], &Share)> {
    snapshot.shares_over(now)
}

/// Takes shares away whose time is over, some of them at a time, and says so of each: until when it counted, its entry has.
///
/// # Errors
/// There are none.
pub fn expire(by: &Operator, snapshot: &Snapshot) -> Result<Change, DirectoryError> {
    let mut change: Option<Change> = None;
    for (id, share) in due(snapshot, by.now()).take(EXPIRED_AT_ONCE) {
        let of = Some(share.resource);
        let details = json!({"old": view::share_body(id, share), "new": null});
        let with = match change.take() {
            None => Change::new(Event::ShareExpired, of, details),
            Some(change) => change.and(Event::ShareExpired, of, details),
        };
        change = Some(with.end(RowId::Share(id)));
    }
    change.ok_or_else(|| DirectoryError::invalid("share", "none has expired"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::made::Audience;
    use super::super::object::{Kind, Level, Ref};
    use super::super::organization::set_share_days;
    use super::super::share::{Edit, Grant, edit, share};
    use super::super::world::{World, id, now};
    use super::*;
    use crate::decide::authorized::{SettingsUpdate, ThreadShare};

    #[test]
    fn a_share_ends_within_a_year_or_within_what_the_organization_says() {
        let mut world = World::new();
        let thread = world.thread(Audience::Private);
        let by = world.by::<ThreadShare>(thread);
        let given = |world: &World, until| {
            let grant = Grant {
                grantee: world.bob,
                level: Level::Viewer,
                until,
            };
            share(&by, &world.snapshot, id(90), &grant)
        };
        let year = now() + Duration::days(DAYS_MOST.into());
        let day = 24 * 60;
        assert!(given(&world, End::Never).is_ok());
        assert!(given(&world, End::At(year)).is_ok());
        assert!(given(&world, End::After(DAYS_MOST * day)).is_ok());
        assert!(given(&world, End::At(year + Duration::microseconds(1))).is_err());
        assert!(given(&world, End::After(u32::MAX)).is_err());
        let settings = world.by::<SettingsUpdate>(Ref::new(Kind::Settings, world.org.id));
        let set = |world: &World, days| set_share_days(&settings, &world.snapshot, days);
        for wrong in [Some(0), Some(DAYS_LIMIT + 1), None] {
            assert!(set(&world, wrong).is_err());
        }
        world.apply(set(&world, Some(2)));
        assert!(given(&world, End::After(2 * day)).is_ok());
        assert!(given(&world, End::After(2 * day + 1)).is_err());
        let endless = given(&world, End::Never).unwrap_err().to_string();
        assert!(endless.contains("every share ends, within 2 days"));
        world.apply(set(&world, Some(DAYS_LIMIT)));
        assert!(given(&world, End::At(year + Duration::days(1))).is_ok());
    }

    #[test]
    fn a_share_is_over_at_its_end_and_is_said_to_be_once() {
        let mut world = World::new();
        let (thread, first) = world.shared_thread();
        let by = world.by::<ThreadShare>(thread);
        let until = Some(End::After(5));
        let lasts = Edit { level: None, until };
        world.apply(edit(&by, &world.snapshot, first, lasts));
        let end = now() + Duration::minutes(5);
        let before = end - Duration::microseconds(1);
        assert!(expire(&Operator::in_test(before), &world.snapshot).is_err());
        let change = expire(&Operator::in_test(end), &world.snapshot).unwrap();
        let said = change.events.first().unwrap();
        assert_eq!(
            (said.event, said.resource),
            (Event::ShareExpired, Some(thread))
        );
        let expires_at = said.details.pointer("/old/expires_at");
        assert_eq!(expires_at, Some(&json!(end)));
        world.apply(Ok(change));
        assert!(world.snapshot.share(first).is_none());
        assert!(expire(&Operator::in_test(end), &world.snapshot).is_err());
        // One that has been given again meanwhile is not over.
        let (mut world, again) = (World::new(), End::After(10));
        let (_, first) = world.shared_thread();
        for until in [End::After(5), again] {
            let until = Some(until);
            let lasts = Edit { level: None, until };
            world.apply(edit(&by, &world.snapshot, first, lasts));
        }
        assert_eq!(due(&world.snapshot, end).count(), 0);
    }
}
