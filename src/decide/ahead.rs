//! What waits for the sequencer, and the batch that is made of it while the one before is still being written.
//!
//! A commit waits for the disk and a batch is made by the processors: under load one does not wait for the other. While little is
//! waiting nothing is made ahead, so that whoever asks meanwhile comes into the very next batch.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::batch::Made;
use super::error::Unwritten;
use super::sequencer::{self, Known, Setting};
use super::work::Work;
use crate::log::append::Head;

/// The most calls that one commit takes.
const BATCH: usize = 1_024;

/// The most questions that it takes: one call alone may have as many.
const QUESTIONS: usize = 4_096;

/// So many are worth making ahead.
const ENOUGH: usize = 24;

/// What was sent and is not done yet, in order.
pub(super) struct Incoming {
    queue: mpsc::Receiver<Work>,
    waiting: VecDeque<Work>,
    received: Vec<Work>,
    /// Whether the batch before took long.
    slow: bool,
    /// Whether it was of those that ask little alone.
    brief_alone: bool,
}

impl Incoming {
    pub(super) const fn of(queue: mpsc::Receiver<Work>) -> Self {
        Self {
            queue,
            waiting: VecDeque::new(),
            received: Vec::new(),
            slow: false,
            brief_alone: false,
        }
    }

    /// What the batch before left over comes first, and is told whether that one took long.
    pub(super) fn go_on(&mut self, left: Vec<Work>, slow: bool) {
        self.put_back(left);
        self.slow = slow;
    }

    fn put_back(&mut self, left: Vec<Work>) {
        for work in left.into_iter().rev() {
            self.waiting.push_front(work);
        }
    }

    /// A batch out of the first so many: the first that asks much, those that ask little, then as many more as it takes. After a batch that
    /// took long, those that ask little alone, and never twice running.
    fn take(&mut self, first: usize) -> Vec<Work> {
        let (brief, long): (Vec<_>, Vec<_>) = self.waiting.drain(..first).partition(Work::is_brief);
        let slow = std::mem::take(&mut self.slow) && !self.brief_alone;
        let brief_alone = slow && !brief.is_empty();
        self.brief_alone = brief_alone;
        let mut long = long.into_iter();
        let oldest = if brief_alone { None } else { long.next() };
        let (mut batch, mut left) = (Vec::new(), Vec::new());
        let mut questions = 0_usize;
        for work in oldest.into_iter().chain(brief).chain(long) {
            let more = questions.saturating_add(work.questions());
            let is_full = more > QUESTIONS || batch.len() == BATCH || !left.is_empty();
            let waits = is_full || brief_alone && !work.is_brief();
            // One call always fits.
            if waits && !batch.is_empty() {
                left.push(work);
            } else {
                questions = more;
                batch.push(work);
            }
        }
        self.put_back(left);
        batch
    }

    /// Whether everything was taken, and nothing more can be sent.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.queue.is_closed() && self.queue.is_empty()
    }

    /// Waits for more. It may be let go of at any time: nothing is lost.
    async fn receive(&mut self) -> usize {
        let count = self.queue.recv_many(&mut self.received, BATCH).await;
        self.waiting.extend(self.received.drain(..));
        count
    }

    /// A change alone, or everything up to the next one; nothing once nobody can send any more.
    pub(super) async fn next(&mut self) -> Option<Vec<Work>> {
        if self.waiting.is_empty() && self.receive().await == 0 {
            return None;
        }
        while self.waiting.len() < BATCH
            && let Ok(work) = self.queue.try_recv()
        {
            self.waiting.push_back(work);
        }
        let first_change = self.waiting.iter().position(Work::is_alone);
        let count = match first_change {
            Some(0) => 1,
            Some(ahead) => ahead,
            None => self.waiting.len(),
        };
        Some(self.take(count))
    }

    /// Makes the next batch for the state that the one being written will leave behind, as soon as enough is waiting. It may be let go of
    /// until then: nothing is lost.
    pub(super) async fn ahead(&mut self, setting: &Arc<Setting>, after: Known) -> Ahead {
        let plain = loop {
            let plain = self.waiting.iter().take_while(|work| work.is_plain());
            let plain = plain.take(BATCH).count();
            if plain >= ENOUGH {
                break plain;
            }
            // What changes something, or asks for what others have written, waits for the commit.
            if plain < self.waiting.len() || self.receive().await == 0 {
                std::future::pending::<()>().await;
            }
        };
        let batch = self.take(plain);
        let setting = Arc::clone(setting);
        Ahead(tokio::spawn(async move {
            let made = sequencer::make(&setting, &after, &batch).await;
            Prepared {
                batch,
                made: ready(made, after.head),
            }
        }))
    }
}

/// One that could not be made ahead is made when its turn comes, and fails then if it must.
fn ready(made: Result<Made, Unwritten>, head: Head) -> Option<(Head, Made)> {
    made.ok().map(|made| (head, made))
}

/// A batch that is being made.
pub(super) struct Ahead(JoinHandle<Prepared>);

impl Ahead {
    /// Waits until it is made; nothing where making it broke off.
    pub(super) async fn finish(self) -> Option<Prepared> {
        self.0.await.ok()
    }
}

/// A batch, and what was made of it for a head where it was made already.
pub(super) struct Prepared {
    pub(super) batch: Vec<Work>,
    pub(super) made: Option<(Head, Made)>,
}

impl Prepared {
    /// One that is still to be made.
    pub(super) const fn not_yet(batch: Vec<Work>) -> Self {
        Self { batch, made: None }
    }
}
