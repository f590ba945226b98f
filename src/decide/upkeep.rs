//! What an open tenant's log needs beside requests: news from other nodes, signs of life, the search index, its mark, and the end of
//! what is not kept any more.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::aside;
use super::audit;
use super::authorized::Operator;
use super::content;
use super::door::Door;
use super::error::{Refused, Unwritten};
use super::forgetting;
use super::question::Asker;
use super::rotate;
use super::search;
use crate::directory::{
    Change, DirectoryError, Kind, Ref, Snapshot, expiry, invitation, keeping, request, session,
};
use crate::log::Event;
use crate::log::append;
use crate::log::entry::{Entry, Fact, Outcome, Time};
use crate::log::query::Query;
use crate::log::segment::Parts;
use crate::log::tiles::WIDTH;
use crate::log::upkeep::{self, Erasure};
use crate::tenant::Store;

/// How often a round is made.
const EVERY: Duration = Duration::from_secs(1);

/// Where nobody has asked for so long (whoever follows a log asks more often), and nothing is left to do, one in so many rounds is made:
/// a thousand organizations that are open and idle cost next to nothing.
const QUIET: Duration = Duration::from_secs(90);
const QUIET_EVERY: u64 = 4;

/// In one of so many rounds it is asked what need not be kept any more.
const RETENTION_EVERY: u64 = 60;

/// How long one round works on the index, or on what is to go.
const STINT: Duration = Duration::from_millis(500);

/// How many segments are written again, and how many rows taken away, at a time.
const SEGMENTS: i64 = 16;
const ROWS: i64 = 500;

/// How often a segment is written again that somebody else has written meanwhile.
const TRIES: usize = 3;

/// Why a round was not finished; the next one begins anew.
#[derive(Debug, thiserror::Error)]
pub enum Unkept {
    /// The log's rows.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// An entry could not be made.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Keeps a tenant's log, for as long as it is open.
pub(super) fn begin(door: &Arc<Door>) {
    let door: Weak<Door> = Arc::downgrade(door);
    tokio::spawn(async move {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut rounds = 0_u64;
        // The size of the log at which nothing was left to do, and since when nothing was kept that a legal hold alone had kept.
        let (mut settled, mut swept) = (None, None);
        loop {
            every.tick().await;
            rounds = rounds.wrapping_add(1);
            let Some(door) = door.upgrade().filter(|door| door.is_open()) else {
                return;
            };
            let is_settled = |settled| settled == Some(door.tip().size);
            let kind = Round::of(rounds, is_settled(settled), door.is_quiet(QUIET));
            if kind == Round::Passed {
                continue;
            }
            let now = Utc::now();
            let made = async {
                news(&door, now).await?;
                let sweeping = match kind {
                    Round::Whole => sweep(&door, &mut swept).await,
                    Round::News | Round::Passed => Ok(()),
                };
                if kind == Round::Whole || !is_settled(settled) {
                    settled = work(&door, now, kind == Round::Whole).await?;
                }
                sweeping
            };
            match made.await {
                // A log that does not answer is said by the sequencer, and by readiness.
                Ok(()) | Err(Unkept::Refused(Refused::Unavailable | Refused::Busy)) => {}
                // It was closed in the middle of the round.
                Err(_) if !door.is_open() => return,
                Err(error) => {
                    tracing::warn!(tenant.id = %door.store().id(), %error, "the upkeep of a log goes on later");
                }
            }
        }
    });
}

/// What a round is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Nothing: it is left out.
    Passed,
    /// What others have written, and what that leaves to do.
    News,
    /// What need not be kept any more too, and what another node may have left behind.
    Whole,
}

impl Round {
    /// Of this number, where nothing was left to do at the last one, or nobody has asked for a while.
    const fn of(number: u64, is_settled: bool, is_quiet: bool) -> Self {
        if number % RETENTION_EVERY == 2 {
            Self::Whole
        } else if is_settled && is_quiet && !number.is_multiple_of(QUIET_EVERY) {
            Self::Passed
        } else {
            Self::News
        }
    }
}

/// One round: what is due at this moment. `retention`: also what need not be kept any more.
///
/// # Errors
/// The log does not answer, or is not what it was.
pub async fn round(door: &Door, now: DateTime<Utc>, retention: bool) -> Result<(), Unkept> {
    news(door, now).await?;
    let sweeping = match retention {
        true => sweep(door, &mut None).await,
        false => Ok(()),
    };
    work(door, now, retention).await?;
    sweeping
}

/// Destroys what a legal hold has kept: when the log is opened, and whenever what the organization is has changed since.
async fn sweep(door: &Door, swept: &mut Option<u64>) -> Result<(), Unkept> {
    let since = content::free_since(&door.glance());
    if since.is_some() && *swept != since && content::sweep(door, STINT).await? {
        *swept = since;
    }
    Ok(())
}

/// What other nodes have written is known within a round, with or without requests; and others learn that this log is there.
async fn news(door: &Door, now: DateTime<Utc>) -> Result<(), Unkept> {
    door.refresh().await?;
    door.prepare_next().await;
    door.follow_shadow().await;
    door.mark().await?;
    door.write_uses(now).await?;
    door.tell_refused().await?;
    let idle = now.timestamp_micros().saturating_sub(door.tip().last_time);
    if i128::from(idle) >= i128::try_from(door.heartbeat().as_micros()).unwrap_or(i128::MAX) {
        beat(door).await?;
    }
    Ok(())
}

/// What is due; the size of the log at which nothing is left to do before it grows.
async fn work(door: &Door, now: DateTime<Utc>, retention: bool) -> Result<Option<u64>, Unkept> {
    let size = door.tip().size;
    let begun = Instant::now();
    if retention {
        retain(door, now).await?;
        expire(door, now).await?;
        aside::expire(door.store(), now.timestamp_micros()).await?;
        content::tidy(door.store(), now).await?;
    }
    let store = door.store();
    let cleared = content::clear(store, STINT).await;
    if let Err(error) = store.database().make_statistics(size).await {
        tracing::warn!(tenant.id = %store.id(), %error, "statistics are made later");
    }
    drop_pruned(store, door.tip().minimum).await?;
    let erasures = upkeep::erasures(store.database())
        .await
        .map_err(Unwritten::from)?;
    for erasure in &erasures {
        erase(door, erasure).await?;
    }
    let indexing = Instant::now();
    while indexing.elapsed() < STINT && search::index_next(store, door.recent()).await?.is_some() {}
    // The last: what does not open holds up nothing but its own rotation.
    rotate::round(door, now, STINT).await?;
    let is_cleared = match cleared {
        Err(error) if retention => return Err(error.into()),
        // What cannot be taken away is said once a minute.
        Err(_) => true,
        Ok(is_cleared) => is_cleared,
    };
    // What was ended by its time was perhaps not all of it.
    let is_all = begun.elapsed() < STINT && erasures.is_empty() && is_cleared;
    let rotates = !store.keys().rotations().is_empty();
    Ok((is_all && !rotates).then_some(size))
}

/// A sign of life: nothing happened, and the log says so.
///
/// # Errors
/// The log does not answer.
pub async fn beat(door: &Door) -> Result<(), Unkept> {
    door.note(
        Asker::system(),
        Event::LogHeartbeat,
        Outcome::Ok,
        Value::Null,
    )
    .await?;
    Ok(())
}

/// Raises the least index that is kept, where the organization has said for how long entries are.
async fn retain(door: &Door, now: DateTime<Utc>) -> Result<(), Unkept> {
    let world = door.glance();
    let Ok(organization) = world.snapshot().organization() else {
        return Ok(());
    };
    let (Some(days), 0) = (organization.retention_days, organization.holds) else {
        return Ok(());
    };
    let kept_from = now - chrono::Duration::days(i64::from(days));
    let Ok(moment) = Time::from_micros(kept_from.timestamp_micros()) else {
        return Ok(());
    };
    let first = search::first_at(door.store(), moment).await?;
    let minimum = first / WIDTH * WIDTH;
    if minimum > door.tip().minimum {
        // The organization may have thought better of it since: it is asked again on the state that the change is made on.
        let pruned = door.keep(move |by, snapshot| keeping::prune(by, snapshot, minimum));
        match pruned.await {
            Ok(_) | Err(Refused::Directory(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Has the log say of invitations, sessions, shares and requests for access whose time is over that it is.
async fn expire(door: &Door, now: DateTime<Utc>) -> Result<(), Unkept> {
    let due = |snapshot: &Snapshot| invitation::due(snapshot, now).next().is_some();
    say(door, due, invitation::expire).await?;
    let due = |snapshot: &Snapshot| session::expired(snapshot, now).next().is_some();
    say(door, due, session::expire).await?;
    let due = |snapshot: &Snapshot| expiry::due(snapshot, now).next().is_some();
    say(door, due, expiry::expire).await?;
    let due = |snapshot: &Snapshot| request::due(snapshot, now).next().is_some();
    say(door, due, request::lapse).await
}

/// Makes a change of what is due, of some of it at a time, until nothing is.
async fn say(
    door: &Door,
    is_due: impl Fn(&Snapshot) -> bool,
    change: fn(&Operator, &Snapshot) -> Result<Change, DirectoryError>,
) -> Result<(), Unkept> {
    while is_due(door.glance().snapshot()) {
        match door.keep(change).await {
            Ok(_) => {}
            // Another node was quicker, or somebody has thought better of it meanwhile.
            Err(Refused::Directory(_)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Takes rows away that nobody reads any more: once the log itself says that they were pruned, and not because a number of the
/// head does.
async fn drop_pruned(store: &Store, minimum: u64) -> Result<(), Unwritten> {
    if minimum == 0 {
        return Ok(());
    }
    if !upkeep::holds_below(store.database(), minimum).await? {
        return Ok(store.destroy_pruned_keys(minimum).await?);
    }
    let pruned = Query::of([("event", Event::LogPruned.as_str())]);
    let pruned = pruned.map_err(|_| Unwritten::Corrupt { what: "query" })?;
    let mut before = None;
    let said = loop {
        let found = search::newest(store, &pruned, before, 1).await?;
        match (found.entries.first(), found.before) {
            (Some(shown), _) => break Entry::parse(&shown.leaf)?.fact,
            (None, Some(next)) => before = Some(next),
            (None, None) => break None,
        }
    };
    if said != Some(Fact::Minimum(minimum)) {
        return Err(Unwritten::Corrupt { what: "minimum" });
    }
    let begun = Instant::now();
    while begun.elapsed() < STINT {
        if upkeep::drop_below(store.database(), minimum, ROWS).await? == 0 {
            return Ok(store.destroy_pruned_keys(minimum).await?);
        }
    }
    Ok(())
}

/// Writes segments again without what they hold about somebody whose key is gone, and says when that is done.
async fn erase(door: &Door, erasure: &Erasure) -> Result<(), Unkept> {
    let store = door.store();
    let Ok(person) = erasure.subject.parse::<Ref>() else {
        return Err(Unwritten::Corrupt { what: "erasure" }.into());
    };
    // Whoever was killed between the commit and the ledger's line: it is not over before the ledger has it.
    let now = Utc::now().timestamp_micros();
    let noted = door.ledger().erased(store.id(), &erasure.subject, now);
    noted.await.map_err(Unwritten::from)?;
    let (begun, end) = (Instant::now(), door.tip().size);
    let mut reached = erasure.reached;
    while reached < end {
        if begun.elapsed() >= STINT {
            return Ok(());
        }
        let segments = append::segments_from(store.database(), reached, SEGMENTS)
            .await
            .map_err(Unwritten::from)?;
        let Some(last) = segments.last() else { break };
        let next = last.first + last.entries;
        for segment in &segments {
            let mut written = write_without(store, segment, &erasure.subject).await?;
            // Another node writes the same segment again meanwhile: it is read anew, and perhaps nothing is left to do.
            for _ in 0..TRIES {
                if written {
                    break;
                }
                let anew = append::segment_of(store.database(), segment.first)
                    .await
                    .map_err(Unwritten::from)?;
                let anew = anew.ok_or(Unwritten::Corrupt { what: "segment" })?;
                written = write_without(store, &anew, &erasure.subject).await?;
            }
            if !written {
                return Err(Unwritten::Contended.into());
            }
        }
        upkeep::reached(store.database(), &erasure.subject, next)
            .await
            .map_err(Unwritten::from)?;
        reached = next;
    }
    let still = upkeep::erasures(store.database())
        .await
        .map_err(Unwritten::from)?;
    if still.iter().any(|other| other.subject == erasure.subject) {
        if person.kind == Kind::User {
            forgetting::forget_over(store, door.glance().snapshot(), person).await?;
        }
        door.keep(move |by, snapshot| keeping::erased(by, snapshot, person))
            .await?;
    }
    Ok(())
}

/// One segment without the parts of entries that are by, for or about somebody; whether it was still as it had been read.
async fn write_without(
    store: &Store,
    segment: &append::Segment,
    subject: &str,
) -> Result<bool, Unwritten> {
    let (mut left, mut altered) = (Vec::new(), false);
    for (_, leaf, mut parts) in audit::open_known(store, segment, |_| true).await? {
        let entry = Entry::parse(&leaf)?;
        let about = [&entry.actor, &entry.acts_for, &entry.resource];
        let is_theirs = about
            .into_iter()
            .flatten()
            .any(|one| one.id.as_str() == subject);
        if is_theirs && !parts.is_empty() {
            parts.clear();
            altered = true;
        }
        left.push(parts);
    }
    if !altered {
        return Ok(true);
    }
    let without = Parts::frame(segment.first, &left)?;
    Ok(upkeep::replace_parts(store.database(), segment, &without).await?)
}

impl Door {
    /// Puts the log's last checkpoint into its mark, where it has grown since; it must be the same log, grown.
    ///
    /// # Errors
    /// The mark cannot be written, or the log is not what it was.
    pub(super) async fn mark(&self) -> Result<(), Unwritten> {
        let tip = self.tip();
        let marked = self.marked();
        if tip.size == 0 || tip.size == marked {
            return Ok(());
        }
        // Another process may have put the database back and written on: then this is another log.
        let keys = audit::verifiers(self.store(), self.origin()).await?;
        match self.mark_file().check(self.store(), &keys).await {
            Ok(seen) if seen >= tip.size => return Ok(()),
            Ok(_) => {}
            Err(error @ (Unwritten::RolledBack { .. } | Unwritten::Mark { .. })) => {
                self.refuse_all();
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        let (mark, checkpoint) = (self.mark_file().clone(), Arc::clone(&tip.checkpoint));
        let written = tokio::task::spawn_blocking(move || mark.write(&checkpoint)).await;
        match written {
            Ok(Ok(())) => {
                self.set_marked(tip.size);
                Ok(())
            }
            Ok(Err(cause)) => Err(self.mark_file().unwritten(&cause)),
            Err(_) => Err(Unwritten::Slow),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(kind: Round, settled: bool, quiet: bool) -> usize {
        let numbers = 1..=RETENTION_EVERY;
        let kinds = numbers.map(|number| Round::of(number, settled, quiet));
        kinds.filter(|one| *one == kind).count()
    }

    #[test]
    fn a_quiet_log_is_looked_after_too() {
        for (settled, quiet) in [(true, true), (true, false), (false, true), (false, false)] {
            assert_eq!(count(Round::Whole, settled, quiet), 1);
            let passed = if settled && quiet { 44 } else { 0 };
            assert_eq!(count(Round::Passed, settled, quiet), passed);
        }
    }
}
