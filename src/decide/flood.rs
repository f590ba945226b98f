//! Refused credentials that come faster than they are recorded: counted, and kept out of the log.

use std::time::{Duration, Instant};

/// How many refused credentials a second are recorded one by one.
const REFUSED_A_SECOND: u64 = 20;

/// Keeps a flood of refused credentials out of the log.
#[derive(Debug, Default)]
pub(super) struct Flood {
    since: Option<Instant>,
    recorded: u64,
    left_out: u64,
}

impl Flood {
    /// Whether this one is recorded, and how many were left out since the last that was.
    pub(super) fn pass(&mut self, now: Instant) -> Option<u64> {
        if self
            .since
            .is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1))
        {
            self.since = Some(now);
            self.recorded = 0;
        }
        if self.recorded >= REFUSED_A_SECOND {
            self.left_out += 1;
            return None;
        }
        self.recorded += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}
