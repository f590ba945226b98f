//! Logged decisions made again: as they were recorded, which shows that the log tells the truth, or under a draft, which shows what it would
//! change.
//!
//! Everything that a decision was made on is in the log and in the state's rows, each with the index from which and up to which it counted.
//! So it is made again by the same code ([`super::judge`]), on the world as of its `as_of` and at its time. Nothing of it is on the path of an
//! answer: segments are read a few at a time, opened and judged on threads that stand behind all others.

mod again;
mod course;
mod crew;
mod decision;
mod past;
mod report;
mod tally;
mod walk;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::audit;
use super::authorized::{AuditLogRead, PolicyRead};
use super::door::Door;
use super::error::{Refused, Unwritten};
use super::permitted::Permitted;
use super::question::Asker;
use super::search;
use crate::directory::policies::Files;
use crate::directory::{DirectoryError, Kind, Ref, Snapshot};
use crate::log::Event;
use crate::log::entry::{Outcome, Time};
use crate::policy::Compiled;

pub(super) use again::Mode;
pub use again::Turn;
pub use course::Worlds;
pub(super) use course::{Judges, Together};
pub use decision::Why;
pub(super) use past::Seen;
pub use report::Report;
pub use tally::{Counts, Not, Ranking, Sample, Side, Tally};
pub(super) use walk::open;

use course::Course;

/// After so long, whether it may be told is decided anew.
const PERMITTED_FOR: Duration = Duration::from_secs(60);

/// Which entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// All that are kept.
    All,
    /// From the last so many decisions on.
    Last(u64),
    /// From one index up to another, which does not count any more; to the end where there is none.
    Indexes(u64, Option<u64>),
    /// From a moment up to another, which does not count any more.
    Times(Option<Time>, Option<Time>),
}

/// A range in the words of whoever asks: `last`, or `from` and `to`, or `since` and `until`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Given<'a> {
    /// The last so many decisions.
    pub last: Option<u64>,
    /// The first index.
    pub from: Option<u64>,
    /// The first index that does not count any more.
    pub to: Option<u64>,
    /// The first moment, in RFC 3339.
    pub since: Option<&'a str>,
    /// The first moment that does not count any more.
    pub until: Option<&'a str>,
}

impl Given<'_> {
    /// The range; all where nothing is given.
    ///
    /// # Errors
    /// Several ways of saying it at once, or what is no range.
    pub fn range(self) -> Result<Range, NotReplayed> {
        let wrong = |why: &str| Err(NotReplayed::Range { why: why.into() });
        let (indexes, times) = (
            self.from.is_some() || self.to.is_some(),
            self.since.is_some() || self.until.is_some(),
        );
        match (self.last, indexes, times) {
            (None, false, false) => Ok(Range::All),
            (Some(0), false, false) => wrong("`last` must be a number from 1"),
            (Some(last), false, false) => Ok(Range::Last(last)),
            (None, true, false) => {
                let from = self.from.unwrap_or_default();
                if self.to.is_some_and(|to| to <= from) {
                    return wrong("`to` must be beyond `from`");
                }
                Ok(Range::Indexes(from, self.to))
            }
            (None, false, true) => {
                let (since, until) = (
                    self.since.map(moment).transpose()?,
                    self.until.map(moment).transpose()?,
                );
                if since
                    .zip(until)
                    .is_some_and(|(since, until)| until <= since)
                {
                    return wrong("`until` must be later than `since`");
                }
                Ok(Range::Times(since, until))
            }
            _ => wrong("say `last`, or `from` and `to`, or `since` and `until`"),
        }
    }
}

fn moment(text: &str) -> Result<Time, NotReplayed> {
    let parsed = chrono::DateTime::parse_from_rfc3339(text).ok();
    parsed
        .and_then(|moment| Time::from_micros(moment.timestamp_micros()).ok())
        .ok_or_else(|| NotReplayed::Range {
            why: "a moment is written as 2026-01-31T12:00:00Z".into(),
        })
}

/// Under what decisions are made again.
#[derive(Debug, Clone)]
pub enum Under {
    /// What they were made under: each must come out exactly as it was recorded.
    Recorded,
    /// A version of the organization's own policies, in place of the one of then.
    Version(u64),
    /// A draft that is no version.
    Draft {
        /// Cedar schema text; as it is now where there is none.
        schema: Option<String>,
        /// File names and Cedar text.
        policies: Vec<(String, String)>,
    },
    /// The same, compiled already.
    Compiled(Arc<Compiled>),
}

/// What is to be made again.
#[derive(Debug, Clone)]
pub struct Replaying {
    /// Which entries.
    pub range: Range,
    /// Under what.
    pub under: Under,
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// How many entries were gone through.
    pub done: u64,
    /// Of how many.
    pub of: u64,
    /// How many of them a second.
    pub per_second: f64,
}

impl Progress {
    /// As one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "progress": { "done": self.done, "of": self.of, "per_second": self.per_second.round() } })
    }
}

/// Why nothing is replayed, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum NotReplayed {
    /// The log or the state cannot be read.
    #[error(transparent)]
    Unread(#[from] Unwritten),
    /// It is not allowed, or cannot be recorded; the draft does not compile; too many are under way.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No such entries.
    #[error("nothing to replay: {why}")]
    Range {
        /// What is wrong with them.
        why: String,
    },
    /// Whoever wanted it is gone.
    #[error("the replay was broken off: nobody waits for it any more")]
    Gone,
}

/// A replay that is allowed and recorded, of the log as it was then.
#[derive(Debug)]
pub struct Replay {
    door: Arc<Door>,
    asker: Asker,
    draft: Option<Arc<Compiled>>,
    version: Option<u64>,
    first: u64,
    end: u64,
    /// How many entries of what was asked for are not kept any more.
    pruned: u64,
    _turn: OwnedSemaphorePermit,
}

/// Begins a replay: it takes the right to read the policies and the log, and is recorded as a reading of the log.
///
/// # Errors
/// `Refused` where it is not allowed, where the draft does not compile, or where two are under way; `Range`; the log cannot be read.
pub async fn begin(
    door: Arc<Door>,
    asker: Asker,
    wanted: Replaying,
) -> Result<Replay, NotReplayed> {
    let turn = Arc::clone(&door.replaying).acquire_owned();
    let turn = tokio::time::timeout(door.patience() / 4, turn).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Refused::Busy.into());
    };
    // What is recorded of the replay itself is behind what it goes through.
    let head = audit::head(door.store()).await?;
    let policies = permitted(&door, &asker).await?;
    let (draft, version) = draft(&door, policies.snapshot(), wanted.under).await?;
    let (first, end) = extent(&door, wanted.range, (head.minimum, head.size)).await?;
    let kept = first.max(head.minimum).min(end);
    let replay = Replay {
        door,
        asker,
        draft,
        version,
        first: kept,
        end,
        pruned: kept - first,
        _turn: turn,
    };
    let details = json!({
        "replay": replay.under(), "version": replay.version,
        "first": replay.first.to_string(), "end": replay.end.to_string(),
    });
    let (event, asker) = (Event::AuditLogRead, replay.asker.clone());
    let noted = replay.door.note(asker, event, Outcome::Ok, details);
    noted.await?;
    Ok(replay)
}

/// Decides whether somebody may read both the policies and what they decided.
async fn permitted(door: &Door, asker: &Asker) -> Result<Permitted<PolicyRead>, Refused> {
    let singleton = |kind| Ref::new(kind, *door.store().id().bytes());
    let policies = (singleton(Kind::PolicySet), Map::new());
    let policies = door.permit_and(asker.clone(), policies, None).await?;
    door.permit::<AuditLogRead>(asker.clone(), singleton(Kind::AuditLog), Map::new())
        .await?;
    Ok(policies)
}

/// What takes the place of the policies of then, compiled, and which version it is.
async fn draft(
    door: &Door,
    snapshot: &Snapshot,
    under: Under,
) -> Result<(Option<Arc<Compiled>>, Option<u64>), Refused> {
    let (files, version) = match under {
        Under::Recorded => return Ok((None, None)),
        Under::Compiled(compiled) => return Ok((Some(compiled), None)),
        Under::Version(number) => {
            let version = snapshot.version(number);
            let version = version.ok_or_else(|| DirectoryError::NotFound {
                kind: "policy version",
                id: number.to_string(),
            })?;
            (version.files(number)?, Some(number))
        }
        Under::Draft { schema, policies } => {
            let schema = schema.unwrap_or_else(|| snapshot.library().schema.clone());
            (Files::of(schema, policies, Vec::new())?, None)
        }
    };
    let prepared = door.prepare(&files).await?;
    Ok((Some(prepared.compiled), version))
}

/// From which index up to which.
async fn extent(
    door: &Door,
    range: Range,
    (minimum, size): (u64, u64),
) -> Result<(u64, u64), NotReplayed> {
    let store = door.store();
    let (first, end) = match range {
        Range::All => (0, size),
        Range::Last(count) => (
            walk::last_decisions(store, (minimum, size), count).await?,
            size,
        ),
        Range::Indexes(from, to) => (from, to.unwrap_or(size)),
        Range::Times(since, until) => {
            let at = async |moment| match moment {
                Some(moment) => search::first_at(store, moment).await.map(Some),
                None => Ok(None),
            };
            let (since, until) = (at(since).await?, at(until).await?);
            (since.unwrap_or_default(), until.unwrap_or(size).min(size))
        }
    };
    if end > size || first >= end {
        return Err(NotReplayed::Range {
            why: match range {
                Range::Times(..) => "no entry was made in that time".into(),
                _ => format!("the log has {size} entries"),
            },
        });
    }
    Ok((first, end))
}

impl Replay {
    /// Under what, in a word.
    fn under(&self) -> &'static str {
        match self.draft {
            Some(_) => "draft",
            None => "recorded",
        }
    }

    /// How many entries it goes through.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// Makes the decisions again. It ends early where whoever is told how far it is says so, or lets go of it.
    ///
    /// # Errors
    /// The log cannot be read any more, whoever asked may not read it any more, or `Gone`.
    pub async fn run(
        self,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Report, NotReplayed> {
        let begun = Instant::now();
        let (store, library) = (self.door.store(), self.door.library());
        let range = (self.first, self.end);
        let spilling = self.door.spilling();
        let mut course = Course::of(store, library, spilling, self.draft.clone(), range);
        let mut gone = false;
        let told = |course: &Course| {
            let done = course.next.saturating_sub(self.first);
            let now = Progress {
                done,
                of: self.entries(),
                per_second: rate(done, begun.elapsed()),
            };
            gone = progress(now).is_break();
            !gone
        };
        course.run(told).await?;
        if gone {
            return Err(NotReplayed::Gone);
        }
        if begun.elapsed() > PERMITTED_FOR {
            permitted(&self.door, &self.asker).await?;
        }
        Ok(Report {
            under: self.under(),
            version: self.version,
            first: self.first,
            end: self.end,
            pruned: self.pruned + course.pruned,
            worlds: course.worlds,
            tally: course.tally,
            took: begun.elapsed(),
        })
    }
}

/// How many of something a second.
fn rate(count: u64, time: Duration) -> f64 {
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

impl Door {
    /// Makes logged decisions again: [`begin`], and [`Replay::run`].
    ///
    /// # Errors
    /// The same.
    pub async fn replay(
        self: &Arc<Self>,
        asker: Asker,
        wanted: Replaying,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Report, NotReplayed> {
        let replay = begin(Arc::clone(self), asker, wanted).await?;
        replay.run(progress).await
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn given(set: impl FnOnce(&mut Given<'static>)) -> Result<Range, String> {
        let mut given = Given::default();
        set(&mut given);
        given.range().map_err(|error| error.to_string())
    }

    #[test]
    fn a_range_is_said_in_one_way() {
        let time = |text: &str| moment(text).unwrap();
        assert_eq!(given(|_| {}), Ok(Range::All));
        assert_eq!(given(|one| one.last = Some(7)), Ok(Range::Last(7)));
        assert_eq!(
            given(|one| one.to = Some(7)),
            Ok(Range::Indexes(0, Some(7)))
        );
        let since = "2026-01-31T13:00:00+01:00";
        assert_eq!(
            given(|one| one.since = Some(since)),
            Ok(Range::Times(Some(time("2026-01-31T12:00:00Z")), None))
        );
        let wrong: [fn(&mut Given<'static>); 5] = [
            |one| one.last = Some(0),
            |one| (one.last, one.from) = (Some(1), Some(1)),
            |one| (one.from, one.to) = (Some(7), Some(7)),
            |one| (one.from, one.since) = (Some(7), Some("2026-01-31T12:00:00Z")),
            |one| one.since = Some("yesterday"),
        ];
        for one in wrong {
            given(one).unwrap_err();
        }
    }
}
