//! A draft evaluated beside the policies in force, on what this node decides: behind the answers, and never in their way.
//!
//! What a batch has decided is read back from the log once it is committed and answered, and made again under the draft as a replay does it
//! ([`super::replay`]), on the very world that it was decided on. So what is counted here is what a replay of the same entries counts.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::door::Door;
use super::error::Unwritten;
use super::replay::{self, Judges, Mode, Sample, Seen, Tally, Together};
use super::world::World;
use crate::log::append;
use crate::policy::Compiled;

/// How many batches wait; one more is left out, and counted.
const QUEUE: usize = 64;

/// How many of them are judged at a time.
const AT_ONCE: usize = 16;

/// How many of the last decisions that come out otherwise are kept.
const LAST: usize = 100;

/// A draft that is evaluated beside the policies in force.
#[derive(Debug, Clone)]
pub struct Shadow {
    /// Its version.
    pub version: u64,
    /// The draft.
    pub compiled: Arc<Compiled>,
}

/// What a shadow has come to on this node.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadowed {
    /// The draft's version.
    pub version: u64,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How many entries were left out, since too much was decided, or since they could not be read.
    pub skipped: u64,
    /// What was counted.
    pub tally: Tally,
    /// The last that came out otherwise, the newest first.
    pub last: Vec<Sample>,
}

impl Shadowed {
    /// As an object of JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut shown = Map::new();
        shown.insert("version".into(), self.version.into());
        let since = self.since.to_rfc3339_opts(SecondsFormat::Micros, true);
        shown.insert("since".into(), since.into());
        shown.insert("decisions".into(), self.tally.decisions.into());
        shown.insert("compared".into(), self.tally.made().into());
        shown.insert("unchanged".into(), self.tally.unchanged.into());
        self.tally.changed.put(&mut shown);
        let not = self.tally.not.iter();
        let not = not.map(
            |(why, not)| json!({ "why": why.code(), "count": not.count, "words": why.words() }),
        );
        shown.insert("not_compared".into(), not.collect());
        shown.insert("skipped_entries".into(), self.skipped.into());
        shown.insert(
            "failing".into(),
            json!({ "decisions": self.tally.failing, "policies": self.tally.failing_policies }),
        );
        shown.insert("actions".into(), self.tally.actions.to_json());
        let last = self.last.iter().map(Sample::to_json);
        shown.insert("last".into(), last.collect());
        Value::Object(shown)
    }
}

/// What is counted, for as long as one draft is the shadow.
#[derive(Debug, Default)]
struct Counted {
    tally: Tally,
    last: VecDeque<Sample>,
}

/// The draft that is the shadow now.
pub(super) struct Present {
    version: u64,
    since: DateTime<Utc>,
    queue: mpsc::Sender<Batch>,
    skipped: Arc<AtomicU64>,
    counted: Arc<Mutex<Counted>>,
}

/// A batch that is committed: where it stands, and what it was judged on.
pub(super) type Batch = (u64, u64, Arc<World>);

/// The shadow of an open tenant on this node, if there is one.
#[derive(Default)]
pub(super) struct Shadows {
    is_set: AtomicBool,
    present: ArcSwapOption<Present>,
    /// The version that is to be the shadow and does not compile here; 0: none.
    unfit: AtomicU64,
}

impl Shadows {
    /// The one that there is: without any, this looks at one flag and no more.
    pub(super) fn present(&self) -> Option<Arc<Present>> {
        match self.is_set.load(Ordering::Relaxed) {
            true => self.present.load_full(),
            false => None,
        }
    }

    fn set(&self, present: Option<Arc<Present>>) {
        let is_set = present.is_some();
        self.present.store(present);
        self.is_set.store(is_set, Ordering::Relaxed);
    }
}

impl Present {
    /// Takes a batch where there is room, and waits for nothing.
    pub(super) fn offer(&self, batch: Batch) {
        let entries = batch.1;
        if self.queue.try_send(batch).is_err() {
            skip(&self.skipped, entries);
        }
    }
}

fn skip(skipped: &AtomicU64, entries: u64) {
    skipped.fetch_add(entries, Ordering::Relaxed);
    metrics::counter!("cedarkeep_shadow_skipped_entries_total").increment(entries);
}

impl Door {
    /// Has what is decided on this node evaluated under a draft too, from now on, in place of any before; or no more.
    pub fn shadow(&self, shadow: Option<Shadow>) {
        let present = shadow.map(|shadow| {
            let (queue, waiting) = mpsc::channel(QUEUE);
            let present = Present {
                version: shadow.version,
                since: Utc::now(),
                queue,
                skipped: Arc::default(),
                counted: Arc::default(),
            };
            let evaluation = Evaluation {
                judges: Judges::of(self.store(), self.library(), Mode::Draft),
                compiled: shadow.compiled,
                counted: Arc::clone(&present.counted),
                skipped: Arc::clone(&present.skipped),
                seen: None,
            };
            // It ends with the queue: once another is the shadow, or the tenant is let go of.
            tokio::spawn(evaluation.run(waiting));
            Arc::new(present)
        });
        self.shadows().set(present);
    }

    /// The version of the draft that is the shadow on this node.
    #[must_use]
    pub fn shadow_version(&self) -> Option<u64> {
        self.shadows().present().map(|present| present.version)
    }

    /// Has the shadow be the version that the state says.
    pub(super) async fn follow_shadow(&self) {
        let world = self.glance();
        let snapshot = world.snapshot();
        let wanted = snapshot.rules().shadow;
        let unfit = &self.shadows().unfit;
        if wanted == self.shadow_version() || wanted == Some(unfit.load(Ordering::Relaxed)) {
            return;
        }
        unfit.store(0, Ordering::Relaxed);
        let version = wanted.and_then(|number| Some((number, snapshot.version(number)?)));
        let Some((number, version)) = version else {
            self.shadow(None);
            return;
        };
        let made = match version.files(number) {
            Ok(files) => self.prepare(&files).await,
            Err(error) => Err(error.into()),
        };
        match made {
            Ok(prepared) => self.shadow(Some(Shadow {
                version: number,
                compiled: prepared.compiled,
            })),
            Err(error) => {
                // What is no more the shadow is not counted on as if it were, and not compiled again each round.
                self.shadow(None);
                unfit.store(number, Ordering::Relaxed);
                tracing::warn!(tenant.id = %self.store().id(), version = number, %error, "the version that is to be the shadow does not compile here");
            }
        }
    }

    /// What the shadow has come to on this node; nothing where there is none.
    #[must_use]
    pub fn shadowed(&self) -> Option<Shadowed> {
        let present = self.shadows().present()?;
        let counted = present.counted.lock();
        let counted = counted.unwrap_or_else(PoisonError::into_inner);
        Some(Shadowed {
            version: present.version,
            since: present.since,
            skipped: present.skipped.load(Ordering::Relaxed),
            tally: counted.tally.clone(),
            last: counted.last.iter().rev().cloned().collect(),
        })
    }
}

/// What evaluates batches under a draft, one after the other.
struct Evaluation {
    judges: Judges,
    compiled: Arc<Compiled>,
    counted: Arc<Mutex<Counted>>,
    skipped: Arc<AtomicU64>,
    /// As of when the last world was, and the same under the draft.
    seen: Option<(u64, Seen)>,
}

impl Evaluation {
    async fn run(mut self, mut waiting: mpsc::Receiver<Batch>) {
        let mut batches = Vec::new();
        while waiting.recv_many(&mut batches, AT_ONCE).await > 0 {
            let entries = batches.iter().map(|(_, entries, _)| entries).sum();
            if let Err(error) = self.judge(batches.drain(..)).await {
                skip(&self.skipped, entries);
                let tenant = self.judges.store.id();
                tracing::warn!(tenant.id = %tenant, %error, "the shadow has left out some entries");
            }
        }
    }

    async fn judge(&mut self, batches: impl Iterator<Item = Batch>) -> Result<(), Unwritten> {
        let (mut groups, mut others) = (Vec::new(), 0);
        for (first, entries, world) in batches {
            let store = &self.judges.store;
            let segment = append::segment_of(store.database(), first).await?;
            let segment = segment.ok_or(Unwritten::Corrupt { what: "segment" })?;
            let page = replay::open(store, vec![segment], (first, first + entries)).await?;
            others += page.others;
            if !page.decisions.is_empty() {
                groups.push(Together {
                    seen: self.under(world),
                    decisions: page.decisions,
                });
            }
        }
        let came = self.judges.judge(groups, LAST).await?;
        count(&came.tally);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.tally.merge(came.tally);
        counted.tally.others += others;
        counted.last.extend(came.last);
        let beyond = counted.last.len().saturating_sub(LAST);
        counted.last.drain(..beyond);
        Ok(())
    }

    /// A world under the draft: made once for all that was decided on it.
    fn under(&mut self, world: Arc<World>) -> Seen {
        let as_of = world.snapshot().as_of();
        if let Some((known, seen)) = &mut self.seen
            && *known == as_of
        {
            if seen.world.snapshot().is_full() {
                seen.world = Arc::new(seen.world.cleared());
            }
            return seen.clone();
        }
        let (under, misfits) = world.under(&self.compiled);
        let seen = Seen {
            world: Arc::new(under),
            lacks: !misfits.is_empty(),
        };
        self.seen = Some((as_of, seen.clone()));
        seen
    }
}

fn count(tally: &Tally) {
    for (result, count) in [
        ("unchanged", tally.unchanged),
        ("gained", tally.changed.gained),
        ("lost", tally.changed.lost),
        ("other_policies", tally.changed.otherwise),
        ("not_compared", tally.left_out()),
    ] {
        metrics::counter!("cedarkeep_shadow_decisions_total", "result" => result).increment(count);
    }
}
