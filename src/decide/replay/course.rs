//! Decisions of a range made again, in order: read, opened and judged a few thousand at a time, in as much memory however many there are.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::batch::SubjectKeys;
use super::super::error::Unwritten;
use super::super::record::{self, Names};
use super::super::rows;
use super::super::spill::Spilling;
use super::super::world::World;
use super::again::{After, Made, Mode, Turn, make};
use super::crew::shared_out;
use super::decision::{Decision, Heard, Why};
use super::past::{Past, Seen, Then};
use super::tally::{Sample, Tally, sample};
use super::walk::{Ahead, Page, apart};
use crate::directory::Ref;
use crate::log::append;
use crate::policy::{Compiled, Library};
use crate::tenant::Store;

/// How many worlds there are at a time, at most.
const WORLDS: usize = 64;

/// What it takes to judge decisions again.
#[derive(Clone)]
pub(in crate::decide) struct Judges {
    pub(in crate::decide) store: Arc<Store>,
    pub(in crate::decide) names: &'static Names,
    pub(in crate::decide) library: Arc<Library>,
    pub(in crate::decide) mode: Mode,
}

/// Decisions that were made on one world.
pub(in crate::decide) struct Together {
    pub(in crate::decide) seen: Seen,
    pub(in crate::decide) decisions: Vec<Heard>,
}

/// What came of some decisions: counted, and the last of those that came out otherwise, as many as are wanted.
#[derive(Default)]
pub(in crate::decide) struct Came {
    pub(in crate::decide) tally: Tally,
    pub(in crate::decide) last: VecDeque<Sample>,
}

impl Came {
    /// Keeps one more, and no more than so many.
    pub(in crate::decide) fn keep(&mut self, sample: Sample, most: usize) {
        self.last.push_back(sample);
        if self.last.len() > most {
            self.last.pop_front();
        }
    }
}

impl Judges {
    pub(in crate::decide) fn of(store: &Arc<Store>, library: &Arc<Library>, mode: Mode) -> Self {
        Self {
            store: Arc::clone(store),
            names: record::names(library),
            library: Arc::clone(library),
            mode,
        }
    }

    /// Judges decisions again, each on its world, on all processors behind whatever else they do. Of those that come out otherwise the last
    /// so many are shown.
    ///
    /// # Errors
    /// The database does not answer.
    pub(in crate::decide) async fn judge(
        &self,
        groups: Vec<Together>,
        last: usize,
    ) -> Result<Came, Unwritten> {
        let people: BTreeSet<Ref> = groups
            .iter()
            .flat_map(|group| &group.decisions)
            .filter_map(|heard| heard.person)
            .collect();
        let keys = rows::subject_keys(&self.store, people).await?;
        let judges = self.clone();
        let worlds = groups.iter().map(|group| Arc::clone(&group.seen.world));
        let worlds: Vec<Arc<World>> = worlds.collect();
        apart(move || {
            let placed: Vec<(Seen, Heard)> = groups
                .into_iter()
                .flat_map(|group| {
                    let Together { seen, decisions } = group;
                    decisions
                        .into_iter()
                        .map(move |heard| (seen.clone(), heard))
                })
                .collect();
            let shares = shared_out(placed, |share| {
                let mut came = Came::default();
                for (seen, heard) in share {
                    judges.one(&seen, heard, &keys, (&mut came, last));
                }
                came
            })?;
            if !worlds.iter().all(|world| world.snapshot().is_sound()) {
                return Err(Unwritten::Corrupt { what: "spill" });
            }
            let mut whole = Came::default();
            for came in shares {
                whole.tally.merge(came.tally);
                for sample in came.last {
                    whole.keep(sample, last);
                }
            }
            Ok(whole)
        })
        .await
    }

    fn one(&self, seen: &Seen, heard: Heard, keys: &SubjectKeys, (came, last): (&mut Came, usize)) {
        let key = heard.person.and_then(|person| keys.get(&person));
        let key = key.map(AsRef::as_ref);
        let index = heard.entry.index;
        let decision = match Decision::read(heard, &self.store, key, self.library.mark()) {
            Ok(decision) => decision,
            Err(why) => {
                came.tally.not(why, index, String::new());
                return;
            }
        };
        match make(self.names, &decision, seen, self.mode) {
            Ok(made) => {
                if let Some(turn) = came.tally.add(&decision, &made)
                    && last > 0
                {
                    came.keep(sample(&decision, &made, turn), last);
                }
            }
            Err((why, what)) => came.tally.not(why, index, what),
        }
    }
}

/// How far it has come.
pub(super) struct Course {
    judges: Judges,
    past: Past,
    /// The entries from here on are still to come, up to `end`.
    pub(super) next: u64,
    pub(super) end: u64,
    /// The last change that the entries before tell of for certain.
    change: Option<u64>,
    pub(super) tally: Tally,
    /// How many entries of the range were not kept any more.
    pub(super) pruned: u64,
    pub(super) worlds: Worlds,
}

/// How many states decisions were made on, and how many of them there were at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worlds {
    /// In all.
    pub all: u64,
    /// At a time, at most.
    pub at_once: u64,
}

impl Course {
    pub(super) fn of(
        store: &Arc<Store>,
        library: &Arc<Library>,
        spilling: &Spilling,
        draft: Option<Arc<Compiled>>,
        (next, end): (u64, u64),
    ) -> Self {
        let mode = match draft {
            Some(_) => Mode::Draft,
            None => Mode::Recorded,
        };
        Self {
            judges: Judges::of(store, library, mode),
            past: Past::of(store, library, spilling, draft),
            next,
            end,
            change: None,
            tally: Tally::default(),
            pruned: 0,
            worlds: Worlds::default(),
        }
    }

    /// Goes through to the end; `told` after each page, and it ends where it says so.
    ///
    /// # Errors
    /// The database does not answer, or the log is not what it should be.
    pub(super) async fn run(
        &mut self,
        mut told: impl FnMut(&Self) -> bool,
    ) -> Result<(), Unwritten> {
        let (store, end) = (Arc::clone(&self.judges.store), self.end);
        let mut ahead = Ahead::of(&store, (self.next, end));
        while self.next < end {
            let Some((page, reached)) = ahead.read().await? else {
                self.skip_pruned().await?;
                ahead = Ahead::of(&store, (self.next, end));
                continue;
            };
            // The next are read and opened while these are judged.
            ahead = Ahead::from(&store, (reached, end));
            if !self.page(page, reached).await? {
                ahead = Ahead::of(&store, (self.next, end));
            }
            if !told(self) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is not there must have been pruned since.
    async fn skip_pruned(&mut self) -> Result<(), Unwritten> {
        let minimum = append::minimum(self.judges.store.database()).await?;
        if minimum <= self.next {
            return Err(Unwritten::Corrupt { what: "segment" });
        }
        self.skip_to(minimum);
        Ok(())
    }

    fn skip_to(&mut self, minimum: u64) {
        let to = minimum.min(self.end);
        self.pruned += to - self.next;
        self.next = to;
        // Rows that ended below it are gone: what was known before cannot be moved on.
        self.past.forget();
        self.change = None;
    }

    /// Judges a page. Where the log was pruned meanwhile, it was judged on rows that may have gone: it counts for nothing, and what is kept
    /// of it is read again.
    async fn page(&mut self, page: Page, reached: u64) -> Result<bool, Unwritten> {
        let Page {
            decisions,
            others,
            changes,
        } = page;
        let tally = self.judged(decisions, &changes).await?;
        let minimum = append::minimum(self.judges.store.database()).await?;
        if minimum > self.next {
            self.skip_to(minimum);
            return Ok(false);
        }
        self.tally.merge(tally);
        self.tally.others += others;
        self.change = changes.last().copied().or(self.change);
        self.next = reached;
        Ok(true)
    }

    async fn judged(&mut self, decisions: Vec<Heard>, changes: &[u64]) -> Result<Tally, Unwritten> {
        let mut tally = Tally::default();
        let mut groups: Vec<Together> = Vec::new();
        for heard in decisions {
            let Some(as_of) = heard.entry.as_of else {
                tally.not(Why::Older, heard.entry.index, String::new());
                continue;
            };
            if self.is_stale(&heard, as_of, changes) {
                self.stale(&mut tally, heard).await?;
                continue;
            }
            let seen = match self.past.at(as_of).await? {
                Then::Seen(seen) => seen,
                Then::Gone => {
                    self.stale(&mut tally, heard).await?;
                    continue;
                }
                Then::Unfit => {
                    tally.not(Why::State, heard.entry.index, format!("as of {as_of}"));
                    continue;
                }
            };
            match groups.last_mut() {
                Some(group) if Arc::ptr_eq(&group.seen.world, &seen.world) => {
                    group.decisions.push(heard);
                }
                _ => {
                    if groups.len() == WORLDS {
                        tally.merge(self.together(std::mem::take(&mut groups)).await?);
                    }
                    groups.push(Together {
                        seen,
                        decisions: vec![heard],
                    });
                }
            }
        }
        tally.merge(self.together(groups).await?);
        Ok(tally)
    }

    async fn together(&mut self, groups: Vec<Together>) -> Result<Tally, Unwritten> {
        let there = u64::try_from(groups.len()).unwrap_or(u64::MAX);
        self.worlds.all += there;
        self.worlds.at_once = self.worlds.at_once.max(there);
        Ok(self.judges.judge(groups, 0).await?.tally)
    }

    /// Whether it was made on a state that was not the newest before it any more, or on one that was not there yet.
    fn is_stale(&self, heard: &Heard, as_of: u64, changes: &[u64]) -> bool {
        let index = heard.entry.index;
        let before = changes.partition_point(|change| *change < index);
        let newest = before.checked_sub(1).and_then(|at| changes.get(at));
        let newest = newest.copied().or(self.change);
        newest.is_some_and(|newest| newest > as_of) || as_of >= index.max(1)
    }

    /// One that was made on the wrong state is wrong, whatever it says.
    async fn stale(&self, tally: &mut Tally, heard: Heard) -> Result<(), Unwritten> {
        let index = heard.entry.index;
        let what = "the state that it names is not the newest before it".to_owned();
        if self.judges.mode == Mode::Draft {
            tally.not(Why::Altered, index, what);
            return Ok(());
        }
        let people = heard.person.into_iter().collect();
        let keys = rows::subject_keys(&self.judges.store, people).await?;
        let key = heard.person.and_then(|person| keys.get(&person));
        let (store, builtin) = (&self.judges.store, self.judges.library.mark());
        match Decision::read(heard, store, key.map(AsRef::as_ref), builtin) {
            Ok(decision) => {
                let made = Made {
                    turn: Some(Turn::Otherwise),
                    after: After::Wrong(what),
                };
                tally.add(&decision, &made);
            }
            Err(why) => tally.not(why, index, String::new()),
        }
        Ok(())
    }
}
