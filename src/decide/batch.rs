//! A batch as it is made outside the lock: evaluated, drafted, sealed, hashed and signed for one head of the log.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Any, Transaction};

use super::error::{Refused, Unwritten};
use super::judge::{Judgement, Moment, an_admin_can_edit};
use super::question::{Answer, Asker, Caller, Question, Recorded, Until};
use super::record::{self, Unsealed};
use super::rows;
use super::sequencer::{Known, Replayed, Setting, Stage};
use super::work::{
    Changed, Granted, Ground, IdempotencyKey, List, Page, Proposal, Questions, Work,
};
use super::world::World;
use crate::crypto::hierarchy::Wrapped;
use crate::crypto::sealing::DataKeys;
use crate::directory::{Kind, Ref, Row};
use crate::log::append::{Head, Segment};
use crate::log::checkpoint::Checkpoint;
use crate::log::entry::{SealedPart, Time};
use crate::log::merkle::{Frontier, Hash};
use crate::log::segment::{Leaves, Parts};
use crate::log::tiles::{Edge, FullTile};
use crate::tenant::Store;

/// The keys of the people whom a batch is about.
pub(super) type SubjectKeys = HashMap<Ref, Arc<DataKeys>>;

/// What each piece of work came to; its entries are counted from the batch's first.
enum Done {
    Questions(Vec<Result<(Judgement, u64), Refused>>),
    Permit(Result<(Judgement, u64), Refused>),
    List(Result<(Vec<Ref>, Option<Ref>, u64), Refused>),
    Change(Result<(Value, u64), Refused>),
    Denied(Box<Judgement>, u64),
    Scope(Box<Judgement>, u64),
    Note(u64),
    Refresh,
}

/// The rows that a change brings with it.
struct Applied {
    rows: Vec<Row>,
    index: u64,
    world: Arc<World>,
    new_subjects: Vec<(Ref, Wrapped)>,
    idempotency: Option<(IdempotencyKey, Value)>,
}

/// All that a commit writes, and how it is answered.
struct Written {
    segment: Segment,
    tiles: Vec<FullTile>,
    head: Head,
    edge: Edge,
    hashes: Vec<Hash>,
}

/// A batch that is ready to be committed.
pub(super) struct Made {
    done: Vec<Done>,
    written: Option<Written>,
    applied: Option<Applied>,
    seen: Option<Arc<World>>,
    log: String,
    as_of: u64,
    replayed: Option<Replayed>,
    now: i64,
}

/// The people whose keys a batch will want.
pub(super) fn subjects(batch: &[Work], world: &World) -> BTreeSet<Ref> {
    let mut subjects = BTreeSet::new();
    for work in batch {
        let asker = match work {
            Work::Questions(questions) => {
                subjects.extend(questions.items.iter().flat_map(mentioned));
                &questions.asker
            }
            Work::Permit(permit) => &permit.asker,
            Work::List(list) => &list.asker,
            Work::Change(proposal) => &proposal.asker,
            Work::Note(note) => &note.asker,
            Work::Refresh(_) => continue,
        };
        if let Caller::Key {
            acting: Some(acting),
            ..
        } = asker.caller
        {
            subjects.insert(acting.user);
        }
    }
    subjects.retain(|subject| world.snapshot().user(*subject).is_some());
    subjects
}

fn mentioned(question: &Question) -> impl Iterator<Item = Ref> {
    let said = question.context.get("acts_for");
    let acts_for = said.and_then(|said| {
        said.as_str()
            .or_else(|| said.get("id").and_then(Value::as_str))
    });
    [Some(question.subject.id.as_str()), acts_for]
        .into_iter()
        .flatten()
        .filter_map(|id| Ref::of(Kind::User, id))
        .collect::<Vec<_>>()
        .into_iter()
}

/// Collects the entries of a batch.
struct Drafts<'a> {
    setting: &'a Setting,
    moment: Moment<'a>,
    first: u64,
    entries: Vec<Unsealed>,
}

impl Drafts<'_> {
    fn version(&self) -> (u64, u64) {
        let snapshot = self.moment.world.snapshot();
        (snapshot.library().version, snapshot.as_of())
    }

    fn add(&mut self, entry: Unsealed) -> u64 {
        self.entries.push(entry);
        self.entries.len() as u64 - 1
    }

    fn decision(&mut self, asker: &Asker, judgement: &Judgement) -> u64 {
        let names = record::names(&self.setting.library);
        let entry = record::decision(names, asker, judgement, self.version());
        self.add(entry)
    }

    fn questions(&mut self, work: &Questions) -> Done {
        match self.moment.scope(&work.asker, "decision.ask") {
            Ok(scope) if scope.is_allowed() => {}
            Ok(scope) => {
                let at = self.decision(&work.asker, &scope);
                return Done::Scope(Box::new(scope), at);
            }
            Err(refused) => return Done::Questions(vec![Err(refused)]),
        }
        let mut answers = Vec::with_capacity(work.items.len());
        for question in &work.items {
            let answer = self.moment.question(question).map(|judgement| {
                let at = self.decision(&work.asker, &judgement);
                (judgement, at)
            });
            let allowed = answer
                .as_ref()
                .is_ok_and(|(judgement, _)| judgement.is_allowed());
            answers.push(answer);
            let over = match work.until {
                Until::All => false,
                Until::FirstDeny => !allowed,
                Until::FirstPermit => allowed,
            };
            if over {
                break;
            }
        }
        Done::Questions(answers)
    }

    fn list(&mut self, work: &List) -> Done {
        let world = self.moment.world;
        let nothing = serde_json::Map::new();
        let mut items = Vec::new();
        let mut next = None;
        for (reference, _) in world.snapshot().objects_of(work.kind, work.after) {
            match self
                .moment
                .own_action(&work.asker, work.action, reference, &nothing)
            {
                Ok(judgement) if judgement.is_allowed() => {}
                Ok(_) => continue,
                Err(refused) => return Done::List(Err(refused)),
            }
            if items.len() == work.limit {
                next = items.last().copied();
                break;
            }
            items.push(reference);
        }
        let actor = match work.asker.caller {
            Caller::Key {
                acting: Some(acting),
                ..
            } => acting.agent.or(Some(acting.user)),
            Caller::Key { .. } | Caller::Operator => None,
        };
        let names = record::names(&self.setting.library);
        let entry = record::search(
            names,
            &work.asker,
            (actor, work.action, work.kind),
            &items,
            self.version(),
        );
        let at = self.add(entry);
        Done::List(Ok((items, next, at)))
    }

    fn change(
        &mut self,
        work: &Proposal,
        store: &Store,
    ) -> Result<(Done, Option<Applied>), Unwritten> {
        let world = self.moment.world;
        let mut user = None;
        if let Some(action) = work.action {
            let judgement =
                match self
                    .moment
                    .own_action(&work.asker, action, work.resource, &work.context)
                {
                    Ok(judgement) => judgement,
                    Err(refused) => return Ok((Done::Change(Err(refused)), None)),
                };
            let at = self.decision(&work.asker, &judgement);
            if !judgement.is_allowed() {
                return Ok((Done::Denied(Box::new(judgement), at), None));
            }
            if let Caller::Key {
                acting: Some(acting),
                ..
            } = work.asker.caller
            {
                user = Some(acting.user);
            }
        }
        let ground = Ground {
            snapshot: world.snapshot(),
            user,
            resource: work.resource,
            now: self.moment.now,
        };
        let change = match (work.plan)(&ground) {
            Ok(change) => change,
            Err(error) => return Ok((Done::Change(Err(error.into())), None)),
        };
        let version = self.version();
        let index = self.first + self.entries.len() as u64;
        let next = match world.with(&change.rows, index) {
            Ok(next) => next,
            Err(unfit) => return Ok((Done::Change(Err(unfit.into())), None)),
        };
        let edits_policies = change
            .rows
            .iter()
            .any(|row| matches!(row, Row::Put(crate::directory::RowId::Library, _)));
        let after = Moment {
            world: &next,
            ..self.moment
        };
        if edits_policies && has_admin(world) && !an_admin_can_edit(&after) {
            return Ok((Done::Change(Err(Refused::LockOut)), None));
        }
        let mut last = index;
        for happening in &change.events {
            last = self.first + self.add(record::happening(&work.asker, user, happening, version));
        }
        let mut new_subjects = Vec::new();
        for row in &change.rows {
            if let Row::Put(crate::directory::RowId::Object(reference), _) = row
                && reference.kind == Kind::User
                && world.snapshot().user(*reference).is_none()
            {
                new_subjects.push((*reference, rows::new_subject_key(store, *reference)?));
            }
        }
        let applied = Applied {
            rows: change.rows,
            index,
            world: Arc::new(next),
            new_subjects,
            idempotency: work
                .idempotency
                .clone()
                .map(|key| (key, change.reply.clone())),
        };
        Ok((
            Done::Change(Ok((change.reply, last - self.first))),
            Some(applied),
        ))
    }
}

fn has_admin(world: &World) -> bool {
    world
        .snapshot()
        .organization()
        .is_ok_and(|organization| organization.active_admins > 0)
}

/// Evaluates, drafts, seals and signs a batch for this head and this time.
pub(super) fn make(
    setting: &Setting,
    known: &Known,
    keys: &SubjectKeys,
    batch: &[Work],
    now: DateTime<Utc>,
) -> Result<Made, Unwritten> {
    let moment = Moment {
        world: &known.world,
        now,
        region: &setting.region,
    };
    let mut drafts = Drafts {
        setting,
        moment,
        first: known.head.size,
        entries: Vec::new(),
    };
    let mut done = Vec::with_capacity(batch.len());
    let mut applied = None;
    let judging = Stage::begin("judge");
    for work in batch {
        done.push(match work {
            Work::Questions(work) => drafts.questions(work),
            Work::List(work) => drafts.list(work),
            Work::Permit(work) => {
                let judged =
                    moment.own_action(&work.asker, work.action, work.resource, &work.context);
                Done::Permit(judged.map(|judgement| {
                    let at = drafts.decision(&work.asker, &judgement);
                    (judgement, at)
                }))
            }
            Work::Change(work) => {
                let (done, change) = drafts.change(work, &setting.store)?;
                applied = change;
                done
            }
            Work::Note(work) => Done::Note(drafts.add(record::note(work))),
            Work::Refresh(_) => Done::Refresh,
        });
    }
    let last_change = applied
        .as_ref()
        .map_or(known.head.last_change, |applied: &Applied| applied.index);
    judging.end();
    let micros = now.timestamp_micros();
    let encoding = Stage::begin("encode");
    let written = match drafts.entries.is_empty() {
        true => None,
        false => Some(encode(
            setting,
            known,
            keys,
            drafts.entries,
            (micros, last_change),
        )?),
    };
    encoding.end();
    Ok(Made {
        done,
        written,
        seen: Some(Arc::clone(&known.world)),
        log: setting.origin.as_str().to_owned(),
        as_of: known.world.snapshot().as_of(),
        applied,
        replayed: None,
        now: micros,
    })
}

fn encode(
    setting: &Setting,
    known: &Known,
    keys: &SubjectKeys,
    entries: Vec<Unsealed>,
    (micros, last_change): (i64, u64),
) -> Result<Written, Unwritten> {
    let first = known.head.size;
    let time = Time::from_micros(micros)?;
    let (mut leaves, mut parts, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut edge, mut tiles) = (known.edge.clone(), Vec::new());
    let mut frontier: Frontier = known.head.frontier()?;
    for (index, mut entry) in (first..).zip(entries) {
        let key = entry
            .subject
            .and_then(|subject| keys.get(&subject))
            .map(Arc::as_ref);
        for (name, value) in &entry.parts {
            let sealed = rows::seal_part(&setting.store, key, (index, *name), value)?;
            entry.draft.attach(SealedPart {
                name: *name,
                sealed,
            })?;
        }
        let record = entry.draft.at(index, time)?;
        let hash = record.leaf_hash();
        tiles.extend(edge.push(hash)?);
        frontier.push(hash)?;
        hashes.push(hash);
        leaves.push(record.leaf);
        parts.push(record.parts);
    }
    let framed = Leaves::frame(first, &leaves)?;
    let segment = Segment {
        first,
        entries: hashes.len() as u64,
        leaves: rows::seal_leaves(&setting.store, first, &framed)?,
        parts: Parts::frame(first, &parts)?,
        hashes: hashes.iter().flat_map(Hash::bytes).copied().collect(),
    };
    let size = first + segment.entries;
    let checkpoint = Checkpoint {
        origin: setting.origin.clone(),
        size,
        root: frontier.root(),
    };
    let signed = checkpoint.sign(setting.store.keys().signing().key());
    let head = Head {
        size,
        frontier: frontier.to_bytes(),
        last_change,
        last_time: micros,
        checkpoint: signed.to_string(),
    };
    Ok(Written {
        segment,
        tiles,
        head,
        edge,
        hashes,
    })
}

impl Made {
    /// A change that had been made before under the same Idempotency-Key.
    pub(super) const fn replayed(reply: Replayed) -> Self {
        Self {
            done: Vec::new(),
            written: None,
            applied: None,
            seen: None,
            log: String::new(),
            as_of: 0,
            replayed: Some(reply),
            now: 0,
        }
    }

    /// How many entries it has.
    pub(super) fn entries(&self) -> u64 {
        self.written
            .as_ref()
            .map_or(0, |written| written.segment.entries)
    }

    /// Writes everything into the transaction that holds the head's lock.
    pub(super) async fn write(
        &self,
        store: &Store,
        transaction: &mut Transaction<'_, Any>,
        known: &Known,
    ) -> Result<(), Unwritten> {
        let Some(written) = &self.written else {
            return Ok(());
        };
        if let Some(applied) = &self.applied {
            rows::write_state(store, transaction, &applied.rows, applied.index).await?;
            rows::write_subjects(store, transaction, &applied.new_subjects).await?;
            if let Some((key, reply)) = &applied.idempotency {
                rows::write_reply(store, transaction, key, reply, self.now).await?;
            }
        }
        // Never two checkpoints that contradict each other: this one grows out of the head that is locked.
        if written.segment.first != known.head.size {
            return Err(Unwritten::Corrupt {
                what: "order of the log",
            });
        }
        crate::log::append::write(
            store.database(),
            transaction,
            &written.segment,
            &written.tiles,
            &written.head,
        )
        .await?;
        Ok(())
    }

    /// The state after the commit.
    pub(super) fn known(&self, before: &Known) -> Known {
        let world = self
            .applied
            .as_ref()
            .map_or(&before.world, |applied| &applied.world);
        match &self.written {
            Some(written) => Known {
                head: written.head.clone(),
                edge: written.edge.clone(),
                world: Arc::clone(world),
            },
            None => Known {
                head: before.head.clone(),
                edge: before.edge.clone(),
                world: Arc::clone(world),
            },
        }
    }

    fn recorded(&self, at: u64) -> Option<Recorded> {
        let written = self.written.as_ref()?;
        Some(Recorded {
            log: self.log.clone(),
            index: written.segment.first + at,
            as_of: self.as_of,
            leaf_hash: *written.hashes.get(usize::try_from(at).ok()?)?,
            checkpoint_size: written.head.size,
        })
    }

    /// Tells everybody, after the commit.
    pub(super) fn answer(mut self, batch: Vec<Work>) {
        if let Some(replayed) = self.replayed.take() {
            let mut replayed = Some(replayed);
            for work in batch {
                match (work, replayed.take()) {
                    (Work::Change(proposal), Some(replayed)) => drop(proposal.reply.send(replayed)),
                    (work, _) => work.refuse(Refused::Unavailable),
                }
            }
            return;
        }
        for (work, done) in batch.into_iter().zip(std::mem::take(&mut self.done)) {
            self.tell(work, done);
        }
    }

    fn tell(&self, work: Work, done: Done) {
        let at = |at: u64| self.recorded(at).ok_or(Refused::Unavailable);
        // Whoever asked may have gone: then nobody is left to be told.
        match (work, done) {
            (Work::Questions(work), Done::Questions(answers)) => {
                let answers = answers
                    .into_iter()
                    .map(|answer| {
                        answer.and_then(|(judgement, index)| Ok(Answer::new(judgement, at(index)?)))
                    })
                    .collect();
                drop(work.reply.send(Ok(answers)));
            }
            (Work::Permit(work), Done::Permit(judged)) => {
                drop(work.reply.send(judged.and_then(|(judgement, index)| {
                    let recorded = at(index)?;
                    if !judgement.is_allowed() {
                        return Err(Refused::Denied(Box::new(judgement), recorded));
                    }
                    let world = self.seen.clone().ok_or(Refused::Unavailable)?;
                    Ok(Granted {
                        judgement,
                        recorded,
                        world,
                    })
                })));
            }
            (Work::List(work), Done::List(listed)) => {
                drop(work.reply.send(listed.and_then(|(items, next, index)| {
                    let world = self.seen.clone().ok_or(Refused::Unavailable)?;
                    Ok(Page {
                        items,
                        next,
                        world,
                        recorded: at(index)?,
                    })
                })));
            }
            (Work::Change(work), Done::Change(changed)) => {
                drop(work.reply.send(changed.and_then(|(reply, index)| {
                    Ok(Changed {
                        reply,
                        recorded: Some(at(index)?),
                    })
                })));
            }
            (Work::Change(work), Done::Denied(judgement, index)) => {
                drop(work.reply.send(
                    at(index).and_then(|recorded| Err(Refused::Denied(judgement, recorded))),
                ));
            }
            (Work::Note(work), Done::Note(index)) => drop(work.reply.send(at(index))),
            (Work::Refresh(work), Done::Refresh) => drop(work.reply.send(Ok(()))),
            (work, Done::Scope(judgement, index)) => {
                work.refuse(
                    at(index)
                        .map_or_else(|why| why, |recorded| Refused::Scope(judgement, recorded)),
                );
            }
            (work, _) => work.refuse(Refused::Unavailable),
        }
    }
}
