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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::Map;
    use tokio::sync::oneshot;

    use super::super::question::{Asker, Named, Question, Until};
    use super::super::work::{Questions, Reply};
    use super::*;
    use crate::directory::{Kind, Ref};

    /// A call that asks so much.
    fn asking(questions: usize) -> Work {
        let named = Named::of(Ref::new(Kind::Thread, [0; 16]));
        let question = Question {
            subject: named.clone(),
            action: "thread.read".into(),
            action_properties: Map::new(),
            resource: named,
            context: Map::new(),
        };
        let (to, _) = oneshot::channel();
        Work::Questions(Questions {
            asker: Asker::operator(),
            items: vec![question; questions],
            until: Until::All,
            reply: Reply::to(to),
            deadline: Instant::now(),
        })
    }

    /// What is taken out of what waits, by how much each asks.
    fn taken(incoming: &mut Incoming) -> Vec<usize> {
        let batch = incoming.take(incoming.waiting.len());
        batch.iter().map(Work::questions).collect()
    }

    fn waiting(calls: &[usize]) -> Incoming {
        let (_, queue) = mpsc::channel(1);
        let mut incoming = Incoming::of(queue);
        incoming.waiting = calls.iter().map(|questions| asking(*questions)).collect();
        incoming
    }

    #[test]
    fn who_asks_little_is_taken_along_and_who_asks_much_in_order() {
        let mut incoming = waiting(&[1_000, 1, 900, 1, 800]);
        assert_eq!(taken(&mut incoming), [1_000, 1, 1, 900, 800]);
    }

    #[test]
    fn a_batch_has_so_many_questions_and_the_rest_keeps_its_order() {
        let mut incoming = waiting(&[3_000, 2_000, 1, 500]);
        assert_eq!(taken(&mut incoming), [3_000, 1]);
        assert_eq!(taken(&mut incoming), [2_000, 500]);
        assert_eq!(taken(&mut waiting(&[QUESTIONS + 1, 1])), [QUESTIONS + 1]);
    }

    #[test]
    fn a_batch_after_a_slow_one_is_of_who_asks_little_alone_and_never_twice_running() {
        let mut incoming = waiting(&[1_000, 1, 1_000, 1]);
        incoming.go_on(Vec::new(), true);
        assert_eq!(taken(&mut incoming), [1, 1]);
        incoming.waiting.push_back(asking(1));
        incoming.go_on(Vec::new(), true);
        assert_eq!(taken(&mut incoming), [1_000, 1, 1_000]);
        // Where nobody asks little, nobody is waited for.
        let mut much = waiting(&[1_000]);
        much.go_on(Vec::new(), true);
        assert_eq!(taken(&mut much), [1_000]);
    }
}
