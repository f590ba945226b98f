//! The verification of a whole log: its leaves and sealed parts against a signed checkpoint, with the public keys alone.
//!
//! It reads no file, database or network: whoever has the leaves pushes them in order, and absence of evidence is a finding.

use super::checkpoint::{Checkpoint, Origin, SignedCheckpoint, VerifierKey};
use super::entry::{Entry, Event, Fact, PartName, SealedPart, Time};
use super::flaw::Flaw;
use super::merkle::{Frontier, Hash, leaf_hash};
pub use super::report::{Finding, LISTED, Report, Unchecked};
pub use super::restored::Restored;
use super::versions::Versions;

/// What a log is held against.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// The log's last checkpoint, as it was stored or published; none is a finding.
    pub checkpoint: Option<&'a [u8]>,
    /// Earlier or later checkpoints of the same log that somebody kept: they show a log that went back.
    pub kept: &'a [Kept],
    /// The log's public keys.
    pub keys: &'a [VerifierKey],
    /// The log that it must be, where that is known from elsewhere.
    pub origin: Option<&'a Origin>,
    /// The tree ahead of the first leaf: empty for a log from its beginning, else what the tiles say of a pruned one. The
    /// checkpoint's root shows whether they say the truth.
    pub before: Frontier,
}

/// What somebody kept of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A signed checkpoint, such as that of a receipt.
    Signed(SignedCheckpoint),
    /// One that an anchor has shown to be in the deployment's log, which whoever gives it has verified.
    Anchored(Checkpoint),
}

impl Kept {
    /// How many entries it is of.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match self {
            Self::Signed(signed) => signed.checkpoint().size,
            Self::Anchored(checkpoint) => checkpoint.size,
        }
    }
}

impl From<SignedCheckpoint> for Kept {
    fn from(signed: SignedCheckpoint) -> Self {
        Self::Signed(signed)
    }
}

/// A verification under way. Leaves are pushed in the order of the log.
#[derive(Debug)]
pub struct Verification {
    tree: Frontier,
    next: u64,
    last_time: Option<Time>,
    versions: Versions,
    /// Those that were kept and can be trusted, the smallest first.
    kept: Vec<Checkpoint>,
    /// Kept checkpoints of earlier lives that the log agrees with, until an entry says that there was such a life.
    earlier: Vec<Checkpoint>,
    parts_absent: u64,
    kept_before_first: u64,
    first: u64,
    largest_kept: u64,
    report: Report,
}

/// A leaf that was read and hashed, and the hashes of its parts: all of the check that one entry needs no other for.
#[derive(Debug)]
pub struct Heard {
    /// What it says.
    pub entry: Result<Entry, Flaw>,
    /// Its hash in the tree.
    pub hash: Hash,
    /// The SHA-256 of each of its sealed parts that is there.
    pub parts: Vec<(PartName, Hash)>,
}

impl Heard {
    /// Reads and hashes a leaf.
    #[must_use]
    pub fn of(leaf: &[u8], parts: Vec<(PartName, Hash)>) -> Self {
        Self {
            entry: Entry::parse(leaf),
            hash: leaf_hash(leaf),
            parts,
        }
    }
}

impl Verification {
    /// Checks the signatures, and is ready for the first leaf.
    #[must_use]
    pub fn new(evidence: Evidence<'_>) -> Self {
        let report = Report::of(Vec::new());
        let mut this = Self {
            tree: Frontier::new(),
            next: 0,
            last_time: None,
            versions: Versions::default(),
            kept: Vec::new(),
            earlier: Vec::new(),
            parts_absent: 0,
            kept_before_first: 0,
            first: 0,
            largest_kept: 0,
            report,
        };
        match evidence.checkpoint.map(SignedCheckpoint::parse) {
            None => this.find(Finding::NoCheckpoint),
            Some(Err(flaw)) => this.find(Finding::Checkpoint(flaw)),
            Some(Ok(signed)) => match signed.verify(evidence.keys) {
                Err(flaw) => this.find(Finding::Checkpoint(flaw)),
                Ok(keys) => this.trust(signed.checkpoint(), &keys, evidence.origin),
            },
        }
        for kept in evidence.kept {
            let (checkpoint, signed) = match kept {
                Kept::Signed(signed) => (signed.checkpoint(), signed.verify(evidence.keys).err()),
                Kept::Anchored(checkpoint) => (checkpoint, None),
            };
            match signed {
                None if this.is_of_log(&checkpoint.origin) => this.kept.push(checkpoint.clone()),
                None => this.find(Finding::OtherLog {
                    found: checkpoint.origin.to_string(),
                }),
                Some(flaw) => this.find(Finding::Checkpoint(flaw)),
            }
        }
        this.kept.sort_by_key(|kept| std::cmp::Reverse(kept.size));
        this.largest_kept = this.kept.first().map_or(0, |kept| kept.size);
        this.skip_to(evidence.before);
        this
    }

    /// Goes on behind leaves of which nothing is there but the tree over them.
    pub fn skip_to(&mut self, before: Frontier) {
        self.tree = before;
        self.first = self.tree.size();
        self.next = self.first;
        self.kept_before_first += self.drop_kept_before_first();
        self.compare_kept();
    }

    /// Takes the hash of the next leaf, ahead of the first that is there: nothing else is left of it.
    pub fn pass(&mut self, hash: Hash) {
        let index = self.next;
        if let Err(flaw) = self.tree.push(hash) {
            self.find(Finding::Leaf { index, flaw });
        }
        self.next += 1;
        self.first = self.next;
        self.compare_kept();
    }

    /// Takes the next leaf, with its parts where they are there. A part that is not there is counted; one that is must be the leaf's.
    pub fn push(&mut self, leaf: &[u8], parts: &[SealedPart]) {
        let parts = parts.iter().map(|part| (part.name, part.hash())).collect();
        self.push_read(&Heard::of(leaf, parts));
    }

    /// The same for what was read and hashed already.
    pub fn push_read(&mut self, heard: &Heard) {
        let index = self.next;
        match &heard.entry {
            Ok(entry) => self.check(entry, &heard.parts),
            Err(flaw) => {
                self.next += 1;
                let flaw = flaw.clone();
                self.find(Finding::Leaf { index, flaw });
            }
        }
        self.report.entries += 1;
        if let Err(flaw) = self.tree.push(heard.hash) {
            self.find(Finding::Leaf { index, flaw });
        }
        self.compare_kept();
    }

    /// Compares what was pushed with the checkpoint.
    #[must_use]
    pub fn finish(mut self) -> Report {
        if let Some(checkpoint) = &self.report.checkpoint {
            let (wanted, root) = (checkpoint.size, checkpoint.root);
            let found = self.tree.size();
            if wanted != found {
                self.find(Finding::Size { wanted, found });
            } else if self.tree.root() != root {
                self.find(Finding::Root);
            }
        }
        while let Some(kept) = self.kept.pop() {
            self.find(Finding::WentBack { kept: kept.size });
        }
        // What was pruned may have told of that life.
        if self.first == 0 {
            for kept in std::mem::take(&mut self.earlier) {
                self.find(Finding::OtherLog {
                    found: kept.origin.to_string(),
                });
            }
        }
        let counted = [
            (
                self.parts_absent,
                Unchecked::PartsAbsent {
                    count: self.parts_absent,
                },
            ),
            (self.first, Unchecked::Pruned { count: self.first }),
            (
                self.kept_before_first,
                Unchecked::KeptBeforeFirst {
                    count: self.kept_before_first,
                },
            ),
        ];
        self.report.unchecked = counted
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(_, unchecked)| unchecked)
            .collect();
        self.report.unchecked.push(Unchecked::RollBack {
            kept: self.largest_kept,
        });
        self.report
    }

    fn trust(&mut self, checkpoint: &Checkpoint, keys: &[&VerifierKey], wanted: Option<&Origin>) {
        if wanted.is_some_and(|wanted| *wanted != checkpoint.origin) {
            self.find(Finding::OtherLog {
                found: checkpoint.origin.to_string(),
            });
        } else {
            self.report.signed_by = keys.iter().map(|key| key.id()).collect();
            self.report.checkpoint = Some(checkpoint.clone());
        }
    }

    /// Whether a kept checkpoint of this origin may be of the log: of its present life, of an earlier one, or of any where there is
    /// none to compare with.
    fn is_of_log(&self, origin: &Origin) -> bool {
        let checkpoint = self.report.checkpoint.as_ref();
        checkpoint.is_none_or(|checkpoint| checkpoint.origin.is_of_same_log(origin))
    }

    fn is_earlier(&self, origin: &Origin) -> bool {
        let checkpoint = self.report.checkpoint.as_ref();
        checkpoint.is_some_and(|checkpoint| checkpoint.origin != *origin)
    }

    /// Here another life of the log begins: checkpoints that were kept of the one before are of entries ahead, or of lost ones.
    fn restored(&mut self, entry: &Entry) {
        let (
            Event::LogRestored,
            Some(Fact::Restored {
                incarnation, size, ..
            }),
        ) = (entry.event, &entry.fact)
        else {
            return;
        };
        let incarnation = incarnation.as_str();
        let is_theirs = |kept: &mut Checkpoint| kept.origin.incarnation() == incarnation;
        let lost: Vec<Checkpoint> = self.kept.extract_if(.., is_theirs).collect();
        // Where lives are lost whole, several such entries follow one another: the log was put back ahead of the first.
        let together = self.report.restored.last();
        let together = together.filter(|last| last.index + last.entries == entry.index);
        let index = together.map_or(entry.index, |last| last.index);
        let entries = entry.index - index + 1;
        for last in self.report.restored.iter_mut().rev() {
            if last.index == index {
                last.entries = entries;
            }
        }
        for kept in lost.iter().rev() {
            self.find(Finding::Lost {
                kept: kept.size,
                left: index,
            });
        }
        self.earlier
            .retain(|kept| kept.origin.incarnation() != incarnation);
        self.report.restored.push(Restored {
            index,
            entries,
            incarnation: incarnation.to_owned(),
            size: *size,
            is_lost_whole: entry.index > index,
        });
    }

    fn check(&mut self, entry: &Entry, parts: &[(PartName, Hash)]) {
        let wanted = self.next;
        if entry.index != wanted {
            self.find(Finding::Gap {
                wanted,
                found: entry.index,
            });
        }
        // After a gap the count goes on from what the entry says: one gap is one finding.
        self.next = entry.index.saturating_add(1);
        if self.last_time.is_some_and(|last| entry.time < last) {
            self.find(Finding::TimeWentBack { index: entry.index });
        }
        self.last_time = Some(entry.time);
        self.restored(entry);
        if let (Some(counts), Some(said)) = (self.versions.next(entry), entry.policy_version) {
            let index = entry.index;
            self.find(Finding::PolicyVersion {
                index,
                said,
                counts,
            });
        }
        let mut seen = Vec::with_capacity(parts.len());
        for (name, found) in parts {
            let (index, name) = (entry.index, *name);
            match entry.parts.get(&name) {
                Some(hash) if !seen.contains(&name) => {
                    seen.push(name);
                    self.report.parts += 1;
                    if found != hash {
                        self.find(Finding::PartAltered { index, name });
                    }
                }
                _ => self.find(Finding::PartForeign { index, name }),
            }
        }
        let absent = entry.parts.len().saturating_sub(seen.len());
        self.parts_absent += u64::try_from(absent).unwrap_or(u64::MAX);
    }

    fn drop_kept_before_first(&mut self) -> u64 {
        let mut count = 0;
        while self.kept.last().is_some_and(|kept| kept.size < self.first) {
            self.kept.pop();
            count += 1;
        }
        count
    }

    /// Compares every kept checkpoint of the present size.
    fn compare_kept(&mut self) {
        while let Some(kept) = self.kept.pop_if(|kept| kept.size == self.tree.size()) {
            if kept.root == self.tree.root() {
                self.report.kept += 1;
                if self.is_earlier(&kept.origin) {
                    self.earlier.push(kept);
                }
            } else if self.first > 0 && self.is_earlier(&kept.origin) {
                self.find(Finding::LostOrRewritten { kept: kept.size });
            } else {
                self.find(Finding::Rewritten { kept: kept.size });
            }
        }
    }

    fn find(&mut self, finding: Finding) {
        self.report.add(finding);
    }
}

/// Verifies a log whose leaves come as an iterator.
pub fn verify<L, I>(evidence: Evidence<'_>, leaves: I) -> Report
where
    L: AsRef<[u8]>,
    I: IntoIterator<Item = (L, Vec<SealedPart>)>,
{
    let mut verification = Verification::new(evidence);
    for (leaf, parts) in leaves {
        verification.push(leaf.as_ref(), &parts);
    }
    verification.finish()
}
