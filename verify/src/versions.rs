//! Which version of an organization's own policies each entry was decided by, held against the activations that the log itself has.

use super::entry::{Entry, Event, Fact};

/// What counts at the entry that was read last.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// The version, where it is known: told by an activation, or by the first entry that names one.
    counts: Option<u64>,
    /// The last activation, while entries of the same change may follow: they say what counted before, like it.
    activated: Option<Activated>,
}

#[derive(Debug)]
struct Activated {
    as_of: u64,
    /// The index of the next entry, if that is of the same change.
    next: u64,
    /// What counted before, for the entries of the same change.
    before: Option<u64>,
}

impl Versions {
    /// The version that counts where an entry says another.
    pub(super) fn next(&mut self, entry: &Entry) -> Option<u64> {
        let said = entry.policy_version;
        let wrong = self.wrong(entry);
        match (entry.event, &entry.fact) {
            (_, Some(Fact::PolicyVersion(version))) => {
                self.activated = entry.as_of.map(|as_of| Activated {
                    as_of,
                    next: entry.index.saturating_add(1),
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

    fn wrong(&mut self, entry: &Entry) -> Option<u64> {
        let said = entry.policy_version?;
        let is_of_it = |activated: &&mut Activated| {
            activated.next == entry.index
                && entry.as_of == Some(activated.as_of)
                && entry.event != Event::DecisionMade
        };
        if let Some(activated) = self.activated.as_mut().filter(is_of_it) {
            activated.next = activated.next.saturating_add(1);
            return activated.before.filter(|before| *before != said);
        }
        self.activated = None;
        let counts = *self.counts.get_or_insert(said);
        (counts != said).then_some(counts)
    }
}
