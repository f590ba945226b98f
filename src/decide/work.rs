//! What waits for the sequencer: questions, permits, lists, changes and notes, each with the way back to who asked.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::authorized::{Allowed, By};
use super::error::Refused;
use super::explained::Explained;
use super::judge::Judgement;
use super::question::{Answer, Asker, Caller, Query, Question, Recorded, Until};
use super::sought::Found;
use super::turn::Taken;
use super::world::World;
use crate::directory::scim::Need;
use crate::directory::{Change, DirectoryError, Kind, Ref, Snapshot};
use crate::log::Event;
use crate::log::entry::{Fact, Outcome};
use crate::vault::{Condition, Keeping, Sealed};

/// The way back; whoever asked may have gone.
pub(super) struct Reply<T> {
    to: oneshot::Sender<Result<T, Refused>>,
    /// Until it is answered: whoever hangs up does not have another turn for it.
    turn: Option<Taken>,
}

impl<T> Reply<T> {
    pub(super) const fn to(to: oneshot::Sender<Result<T, Refused>>) -> Self {
        Self { to, turn: None }
    }

    /// Whoever asked may have gone: then it comes back.
    pub(super) fn send(self, told: Result<T, Refused>) -> Result<(), Result<T, Refused>> {
        self.to.send(told)
    }
}

/// What a page, or an explanation, counts for: it may come to thousands of evaluations.
const A_PAGE: usize = 16;

/// One thing to do, in the order in which it arrived.
pub(super) enum Work {
    /// Questions of a back end.
    Questions(Questions),
    /// May this action of ours be done? It reads, and changes nothing.
    Permit(Permit),
    /// Which of a kind may be read.
    List(List),
    /// A search of a back end.
    Search(Box<Search>),
    /// Why a question is answered as it is.
    Explain(Box<Explain>),
    /// A change, with the decision that allows it.
    Change(Box<Proposal>),
    /// An event that is no decision and changes nothing.
    Note(Note),
    /// Look whether another node has written.
    Refresh(Refresh),
}

impl Work {
    /// Whether it neither changes what is decided on nor asks for what others have written.
    pub(super) fn is_plain(&self) -> bool {
        !self.is_alone() && !matches!(self, Self::Refresh(_))
    }

    /// How many questions it counts for.
    pub(super) fn questions(&self) -> usize {
        match self {
            Self::Questions(work) => work.items.len().max(1),
            Self::List(_) | Self::Search(_) | Self::Explain(_) => A_PAGE,
            Self::Change(work) => work.about.len().max(1),
            Self::Permit(_) | Self::Note(_) | Self::Refresh(_) => 1,
        }
    }

    /// The same where somebody asks: what the service does of itself needs no turn.
    pub(super) fn weight(&self) -> Option<usize> {
        let asker = match self {
            Self::Questions(work) => &work.asker,
            Self::Permit(work) => &work.asker,
            Self::List(work) => &work.asker,
            Self::Search(work) => &work.asker,
            Self::Explain(work) => &work.asker,
            Self::Change(work) => &work.asker,
            Self::Note(work) => &work.asker,
            Self::Refresh(_) => return None,
        };
        // What is noted of strangers, and what the operator does, waits for nobody's flood.
        let somebody = match asker.caller {
            Caller::Key { .. }
            | Caller::Certificate { .. }
            | Caller::Session { .. }
            | Caller::Directory { .. } => true,
            Caller::Operator | Caller::System => false,
        };
        somebody.then(|| self.questions())
    }

    /// Has it hold its turn until it is answered.
    pub(super) fn hold(&mut self, taken: Taken) {
        let turn = match self {
            Self::Questions(work) => &mut work.reply.turn,
            Self::Permit(work) => &mut work.reply.turn,
            Self::List(work) => &mut work.reply.turn,
            Self::Search(work) => &mut work.reply.turn,
            Self::Explain(work) => &mut work.reply.turn,
            Self::Change(work) => &mut work.reply.turn,
            Self::Note(work) => &mut work.reply.turn,
            Self::Refresh(work) => &mut work.reply.turn,
        };
        *turn = Some(taken);
    }

    /// Whether it is one question, or none.
    pub(super) fn is_brief(&self) -> bool {
        match self {
            Self::Questions(questions) => questions.items.len() <= 1,
            Self::Permit(_) | Self::Note(_) | Self::Refresh(_) => true,
            // Where nothing but content changes, it is one question and an entry more.
            Self::Change(proposal) => proposal.content_alone,
            Self::List(_) | Self::Search(_) | Self::Explain(_) => false,
        }
    }

    /// Whether it is a batch by itself, since others would be judged on what it changes.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self, Self::Change(proposal) if !proposal.is_plain())
    }

    /// Whoever asked has given up by then.
    pub(super) const fn deadline(&self) -> Instant {
        match self {
            Self::Questions(Questions { deadline, .. })
            | Self::Permit(Permit { deadline, .. })
            | Self::List(List { deadline, .. })
            | Self::Note(Note { deadline, .. })
            | Self::Refresh(Refresh { deadline, .. }) => *deadline,
            Self::Search(search) => search.deadline,
            Self::Explain(explain) => explain.deadline,
            Self::Change(proposal) => proposal.deadline,
        }
    }

    /// Says that there is no answer.
    pub(super) fn refuse(self, why: Refused) {
        // Whoever asked may have gone: then nobody is left to be told.
        match self {
            Self::Questions(work) => drop(work.reply.send(Err(why))),
            Self::Permit(work) => drop(work.reply.send(Err(why))),
            Self::List(work) => drop(work.reply.send(Err(why))),
            Self::Search(work) => drop(work.reply.send(Err(why))),
            Self::Explain(work) => drop(work.reply.send(Err(why))),
            Self::Change(work) => drop(work.reply.send(Err(why))),
            Self::Note(work) => drop(work.reply.send(Err(why))),
            Self::Refresh(work) => drop(work.reply.send(Err(why))),
        }
    }
}

pub(super) struct Questions {
    pub(super) asker: Asker,
    pub(super) items: Vec<Question>,
    pub(super) until: Until,
    pub(super) reply: Reply<Vec<Result<Answer, Refused>>>,
    pub(super) deadline: Instant,
}

/// An allowed reading: the world that it was allowed on, so that nothing later is read.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) judgement: Judgement,
    pub(super) recorded: Recorded,
    pub(super) world: Arc<World>,
}

pub(super) struct Permit {
    pub(super) asker: Asker,
    pub(super) action: &'static str,
    pub(super) resource: Ref,
    pub(super) context: Map<String, Value>,
    /// What is recorded beside the decision, if it allows.
    pub(super) then: Option<(Event, Value)>,
    pub(super) reply: Reply<Granted>,
    pub(super) deadline: Instant,
}

/// One page of what may be read.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) items: Vec<Ref>,
    pub(super) next: Option<Ref>,
    pub(super) world: Arc<World>,
    pub(super) recorded: Recorded,
}

pub(super) struct List {
    pub(super) asker: Asker,
    pub(super) action: &'static str,
    pub(super) kind: Kind,
    pub(super) among: Among,
    pub(super) limit: usize,
    pub(super) reply: Reply<Page>,
    pub(super) deadline: Instant,
}

pub(super) struct Search {
    pub(super) asker: Asker,
    pub(super) query: Query,
    /// The last that an earlier page looked at.
    pub(super) after: Option<String>,
    pub(super) limit: usize,
    pub(super) reply: Reply<(Found, Recorded)>,
    pub(super) deadline: Instant,
}

pub(super) struct Explain {
    pub(super) asker: Asker,
    pub(super) question: Question,
    pub(super) reply: Reply<(Explained, Recorded)>,
    pub(super) deadline: Instant,
}

/// What a change is computed from.
pub(super) struct Ground<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) user: Option<Ref>,
    pub(super) by: By,
    pub(super) resource: Ref,
    pub(super) now: chrono::DateTime<chrono::Utc>,
    /// What was decided beside the action asked for.
    pub(super) granted: &'a Allowed,
}

/// Says what a change of several parts needs to be allowed, on the state that it is made on.
pub(super) type Needs = Box<dyn Fn(&Snapshot) -> Result<Vec<Need>, DirectoryError> + Send + Sync>;

/// Computes a change; it may be asked again when the state has moved.
pub(super) type Plan = Box<dyn Fn(&Ground<'_>) -> Result<Change, DirectoryError> + Send + Sync>;

/// A mutating request's own key, and a digest of the request that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As the caller chose it, with who the caller is: hashed before it is stored.
    pub scope: String,
    /// SHA-256 of method, path and body.
    pub request: [u8; 32],
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// What whoever asked is told.
    pub reply: Value,
    /// Where the event is recorded; nothing for one that had been done before.
    pub recorded: Option<Recorded>,
}

/// Which of a kind a list is made of.
pub(super) enum Among {
    /// All, after this one, in the order of identifiers.
    All(Option<Ref>),
    /// Those that this finds, in its order.
    These(Choice),
}

/// Finds what a list is made of.
pub(super) type Choice = Box<dyn Fn(&Snapshot) -> Vec<Ref> + Send + Sync>;

/// What becomes of a resource's content, in the transaction that records it.
#[derive(Debug, Clone)]
pub struct Deposit {
    /// What is there from then on; none: nothing.
    pub sealed: Option<Arc<Sealed>>,
    /// What becomes of what was there.
    pub keeping: Keeping,
    /// What must hold of it.
    pub condition: Condition,
}

impl Deposit {
    /// Whether others may be in the same commit: nothing must be looked up for it under the head's lock.
    fn is_plain(&self) -> bool {
        self.condition == Condition::Always
            && self
                .sealed
                .as_ref()
                .is_some_and(|sealed| !sealed.is_shelved())
    }
}

pub(super) struct Proposal {
    pub(super) asker: Asker,
    /// None: the operator's, which no policy decides.
    pub(super) action: Option<&'static str>,
    pub(super) resource: Ref,
    pub(super) context: Map<String, Value>,
    pub(super) idempotency: Option<IdempotencyKey>,
    /// What must be allowed too.
    pub(super) needs: Option<Needs>,
    /// What becomes of the resource's content.
    pub(super) content: Option<Deposit>,
    /// Nothing changes but the content: no policy ever sees that.
    pub(super) content_alone: bool,
    /// The people whom its events are about, beside whoever asks.
    pub(super) about: Vec<Ref>,
    pub(super) plan: Plan,
    pub(super) reply: Reply<Changed>,
    pub(super) deadline: Instant,
}

impl Proposal {
    fn is_plain(&self) -> bool {
        self.content_alone
            && self.idempotency.is_none()
            && self.content.as_ref().is_none_or(Deposit::is_plain)
    }
}

pub(super) struct Note {
    pub(super) asker: Asker,
    pub(super) event: Event,
    pub(super) outcome: Outcome,
    pub(super) details: Value,
    /// What strangers must be able to read of it.
    pub(super) fact: Option<Fact>,
    /// Who could not prove to be anybody.
    pub(super) unrecognised: bool,
    pub(super) reply: Reply<Recorded>,
    pub(super) deadline: Instant,
}

pub(super) struct Refresh {
    pub(super) reply: Reply<()>,
    pub(super) deadline: Instant,
}
