//! How long judging may take: what asks too much is given up, and what a batch has no time for is left for the next one.

use std::time::{Duration, Instant};

/// After so long a batch begins nothing more that asks much, and once it is written those that ask little are next.
pub(super) const A_WHILE: Duration = Duration::from_millis(250);

/// How often a call looks at the time.
const LOOKS: usize = 64;

/// The time that a batch has been judged for.
pub(super) struct Spent {
    begun: Instant,
}

impl Spent {
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
        }
    }

    /// Whether whatever else asks much is left for the next batch.
    pub(super) fn is_over(&self) -> bool {
        self.begun.elapsed() > A_WHILE
    }

    /// Whether a call that is answered by then, or not at all, is given up after so many of its questions: what is judged is to be written
    /// too, so three quarters of the time that it had left are its own.
    pub(super) fn is_too_long(&self, asked: usize, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(self.begun);
        asked > 0 && asked.is_multiple_of(LOOKS) && self.begun.elapsed() > left / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_given_up_while_there_is_time_to_write() {
        let spent = Spent {
            begun: Instant::now() - Duration::from_secs(8),
        };
        let soon = spent.begun + Duration::from_secs(10);
        let later = spent.begun + Duration::from_secs(60);
        // Few questions are asked whatever they take.
        assert!(!spent.is_too_long(0, soon) && !spent.is_too_long(63, soon));
        assert!(spent.is_too_long(64, soon) && !spent.is_too_long(64, later));
        assert!(spent.is_over() && !Spent::begin().is_over());
    }
}
