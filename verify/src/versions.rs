//! Which version of an organization's own policies each entry was decided by, held against the activations that the log itself has.

use super::entry::{Entry, Event, Fact};

/// What counts at the entry that was read last.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// The version, where it is known: told by an activation, or by the first entry that names one.
    counts: Option<u64>,
    /// What the last activation saw: whatever saw more was decided by what it made count.
    activated: Option<Activated>,
}

#[derive(Debug)]
struct Activated {
    as_of: u64,
    /// What counted before, for the entries of the same change.
    before: Option<u64>,
}

impl Versions {
    /// The version that counts where an entry says another.
    pub(super) fn next(&mut self, entry: &Entry) -> Option<u64> {
        let said = entry.policy_version;
        let wrong = match (said, entry.as_of) {
            (Some(said), Some(as_of)) => self.wrong(said, as_of),
            _ => None,
        };
        match (entry.event, &entry.fact) {
            (_, Some(Fact::PolicyVersion(version))) => {
                self.activated = entry.as_of.map(|as_of| Activated {
                    as_of,
                    before: said,
                });
                self.counts = Some(*version);
            }
            // Of a log that did not tell yet.
            (Event::PolicyActivated | Event::PolicyRolledBack, _) => *self = Self::default(),
            // What was put back may have had another.
            (Event::LogRestored, _) => *self = Self::default(),
            _ => {}
        }
        wrong
    }

    fn wrong(&mut self, said: u64, as_of: u64) -> Option<u64> {
        let counts = match &self.activated {
            Some(activated) if as_of <= activated.as_of => activated.before,
            _ => Some(*self.counts.get_or_insert(said)),
        };
        counts.filter(|counts| *counts != said)
    }
}
