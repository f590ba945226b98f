//! Refused credentials that come faster than they are recorded: counted, and kept out of the log.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::door::Door;
use super::error::Refused;
use super::question::Asker;
use super::work::{Note, Work};
use crate::log::Event;
use crate::log::entry::{Fact, Outcome, Refusal};

/// How many refused credentials a second are recorded one by one; and, beside them, how many locks.
const REFUSED_A_SECOND: u64 = 20;

/// Keeps a flood of refused credentials out of the log.
#[derive(Debug, Default)]
pub(super) struct Flood {
    since: Option<Instant>,
    refused: u64,
    locks: u64,
    left_out: u64,
}

impl Flood {
    /// So many more are kept out of the log, whatever room there is.
    const fn count(&mut self, more: u64) {
        self.left_out = self.left_out.saturating_add(more);
    }

    /// How many were left out since that was last said; nobody who is refused has to come again for it.
    const fn take(&mut self) -> u64 {
        std::mem::replace(&mut self.left_out, 0)
    }

    /// Whether this one is recorded, and how many were left out since the last that was.
    fn pass(&mut self, outcome: Outcome, now: Instant) -> Option<u64> {
        if self
            .since
            .is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1))
        {
            self.since = Some(now);
            (self.refused, self.locks) = (0, 0);
        }
        // A lock is the one entry of many attempts: those that led to it leave room for it.
        let recorded = match outcome {
            Outcome::Failed(Refusal::LockedOut) => &mut self.locks,
            _ => &mut self.refused,
        };
        if *recorded >= REFUSED_A_SECOND {
            self.left_out += 1;
            return None;
        }
        *recorded += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Door {
    /// Records that somebody could not prove who they are. A flood of them is kept out of the log and counted: the
    /// next one that is recorded says how many were not.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_refused(
        &self,
        request: Asker,
        event: Event,
        outcome: Outcome,
    ) -> Result<(), Refused> {
        let passed = self.flood().pass(outcome, Instant::now());
        let Some(left_out) = passed else {
            return Ok(());
        };
        self.tell_left_out(left_out).await?;
        self.note_stranger(request, event, outcome, None).await
    }

    /// One more who could not, and who is not recorded one by one.
    pub fn count_refused(&self) {
        self.flood().count(1);
    }

    /// Says how many were left out, where some were.
    pub(super) async fn tell_refused(&self) -> Result<(), Refused> {
        let left_out = self.flood().take();
        self.tell_left_out(left_out).await
    }

    async fn tell_left_out(&self, left_out: u64) -> Result<(), Refused> {
        if left_out == 0 {
            return Ok(());
        }
        let outcome = Outcome::Failed(Refusal::RateLimited);
        let event = Event::RequestsLimited;
        let told = self.note_stranger(Asker::operator(), event, outcome, Some(left_out));
        // What could not be said now is said the next time.
        told.await.inspect_err(|_| self.flood().count(left_out))
    }

    fn flood(&self) -> MutexGuard<'_, Flood> {
        self.flood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn note_stranger(
        &self,
        asker: Asker,
        event: Event,
        outcome: Outcome,
        count: Option<u64>,
    ) -> Result<(), Refused> {
        self.ask(self.patience(), |reply, deadline| {
            let details = Value::Null;
            Work::Note(Note {
                asker,
                event,
                outcome,
                details,
                fact: count.map(Fact::Count),
                unrecognised: true,
                reply,
                deadline,
            })
        })
        .await
        .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_said_once() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let wrong = Outcome::Failed(Refusal::WrongCredential);
        for _ in 0..REFUSED_A_SECOND {
            assert_eq!(flood.pass(wrong, now), Some(0));
        }
        assert_eq!(flood.pass(wrong, now), None);
        let locked = Outcome::Failed(Refusal::LockedOut);
        assert_eq!(flood.pass(locked, now), Some(1));
        flood.count(2);
        assert_eq!(flood.pass(wrong, now + Duration::from_secs(1)), Some(2));
        assert_eq!(flood.pass(wrong, now + Duration::from_secs(1)), Some(0));
        flood.count(5);
        assert_eq!((flood.take(), flood.take()), (5, 0));
    }
}
