//! What each piece of work in a batch comes to: the entries that it drafts, and the rows of a change.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::acting::EXPLAIN;
use super::content;
use super::error::{Refused, Unwritten};
use super::explained::Explained;
use super::judge::{Judgement, Moment, admins_can_change_policies};
use super::question::{Asker, Caller, Named, Question, Sought, Until};
use super::reading::Reading;
use super::record::{self, Looked, Unsealed};
use super::request::Request;
use super::rotate;
use super::rows;
use super::sequencer::Setting;
use super::sought::{Found, Looking};
use super::spent::Spent;
use super::work::{
    Among, Deposit, Explain, Ground, IdempotencyKey, List, Permit, Proposal, Questions, Search,
    Work,
};
use super::world::World;
use crate::crypto::hierarchy::Wrapped;
use crate::crypto::sealing::Purpose;
use crate::directory::keys::{self, KeyName, Phase};
use crate::directory::{Change, DirectoryError, Effect, Happening, InOrder, Kind, Ref, Row};
use crate::log::entry::Fact;
use crate::tenant::{NewKey, NextSigner, Rotation, Store};
use crate::vault::Sealed;

/// What each piece of work came to; its entries are counted from the batch's first.
pub(super) enum Done {
    Questions(Vec<Result<(Judgement, u64), Refused>>),
    Permit(Result<(Judgement, u64), Refused>),
    List(Result<(Vec<Ref>, Option<Ref>, u64), Refused>),
    Search(Result<(Found, u64), Refused>),
    /// Nothing: what it is about is not there for whoever asks.
    Explain(Result<(Option<Box<Explained>>, u64), Refused>),
    Change(Result<(Value, u64), Refused>),
    Denied(Box<Judgement>, u64),
    Scope(Box<Judgement>, u64),
    Note(u64),
    Refresh,
    /// The whole call.
    Refused(Refused),
}

/// The rows that a change brings with it.
pub(super) struct Applied {
    pub(super) rows: Vec<Row>,
    pub(super) index: u64,
    pub(super) world: Arc<World>,
    pub(super) new_subjects: Vec<(Ref, Wrapped)>,
    pub(super) idempotency: Option<(IdempotencyKey, Value)>,
    pub(super) effect: Prepared,
}

/// What a change does beside its rows, with what it takes to do it.
pub(super) enum Prepared {
    Nothing,
    Rotate(NextSigner),
    BeginLife(NextSigner),
    Forget(Ref),
    Forgotten(Ref),
    Prune(u64),
    RotateKey(NewKey),
    EndRotation(Rotation),
    Spend([u8; 32], i64),
}

impl Prepared {
    /// Makes what the effect takes, and what its last event says of it.
    fn of(change: &mut Change, index: u64, store: &Store) -> Result<Self, Unwritten> {
        Ok(match change.effect {
            Effect::Nothing => Self::Nothing,
            Effect::Forget(subject) => Self::Forget(subject),
            Effect::Forgotten(subject) => Self::Forgotten(subject),
            Effect::Prune(minimum) => Self::Prune(minimum),
            Effect::Spend(id, expires_at) => Self::Spend(id, expires_at),
            Effect::RotateKey(_) | Effect::BeginEpoch(_) => {
                let key = match change.effect {
                    Effect::RotateKey(key) => key,
                    _ => KeyName::Epoch,
                };
                let next = store.next_key(rotate::purpose(key))?;
                let phase = match key {
                    // What it seals is never sealed again.
                    KeyName::Epoch => Phase::Done,
                    _ => Phase::Begun,
                };
                tell(change, keys::said(key.as_str(), next.versions(), phase));
                Self::RotateKey(next)
            }
            Effect::EndRotation(key) => {
                let rotation = store.rotation(rotate::purpose(key));
                let rotation = rotation.ok_or(Unwritten::Corrupt { what: "rotation" })?;
                let versions = (rotation.old, rotation.new);
                tell(change, keys::said(key.as_str(), versions, Phase::Done));
                Self::EndRotation(rotation)
            }
            Effect::RotateLogKey => Self::Rotate(next_signer(change, store)?),
            // Somebody may have written since it was opened, and then another life would begin elsewhere.
            Effect::BeginLife if store.begins() && store.life().first == index => {
                Self::BeginLife(next_signer(change, store)?)
            }
            Effect::BeginLife => return Err(Unwritten::OtherLife),
        })
    }
}

/// Has the change's last event, and the reply, say this of a key.
fn tell(change: &mut Change, said: Value) {
    change.reply = said.clone();
    if let Some(happening) = change.events.last_mut() {
        happening.details = said;
    }
}

/// Why a key is not rotated now.
fn not_now(effect: Effect, store: &Store) -> Option<DirectoryError> {
    let rotates = |key| store.keys().rotates(rotate::purpose(key));
    match effect {
        Effect::RotateKey(key) if rotates(key) => {
            let key = key.as_str();
            Some(DirectoryError::Rotating { key })
        }
        Effect::EndRotation(key) if !rotates(key) => {
            let key = key.as_str();
            Some(DirectoryError::NotRotating { key })
        }
        Effect::BeginEpoch(after) if newest_epoch(store) != after => {
            let key = KeyName::Epoch.as_str();
            Some(DirectoryError::NotRotating { key })
        }
        _ => None,
    }
}

fn newest_epoch(store: &Store) -> u32 {
    let newest = store.keys().versions(Purpose::Epoch);
    newest.last().copied().unwrap_or_default()
}

/// Makes the log's next key, which the change's last event names.
fn next_signer(change: &mut Change, store: &Store) -> Result<NextSigner, Unwritten> {
    let next = store.keys().next_signer()?;
    let public = *next.signer().seed().public_key().as_bytes();
    if let Some(happening) = change.events.last_mut() {
        happening.fact = Some(Fact::NewKey(public));
    }
    Ok(next)
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
            Work::Search(search) => {
                subjects.extend(mentioned(&search.query.question));
                &search.asker
            }
            Work::Explain(explain) => {
                subjects.extend(mentioned(&explain.question));
                &explain.asker
            }
            Work::Change(proposal) => {
                subjects.extend(&proposal.about);
                &proposal.asker
            }
            Work::Note(note) => &note.asker,
            Work::Refresh(_) => continue,
        };
        subjects.extend(asker.caller.user());
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
pub(super) struct Drafts<'a> {
    pub(super) setting: &'a Setting,
    pub(super) moment: Moment<'a>,
    pub(super) shared: Arc<World>,
    pub(super) first: u64,
    pub(super) entries: Vec<Unsealed>,
    /// Who was found to be allowed to use the decision point, for what.
    pub(super) open: Vec<(Caller, &'static str)>,
    /// What becomes of content, in order.
    pub(super) kept: Vec<Kept>,
    /// What the deposits find in the database.
    pub(super) found: content::Found,
    pub(super) spent: Spent,
}

/// What becomes of one resource's content with one entry.
pub(super) struct Kept {
    pub(super) index: u64,
    pub(super) resource: String,
    pub(super) deposit: Deposit,
}

impl Drafts<'_> {
    fn version(&self) -> (u64, u64) {
        let snapshot = self.moment.world.snapshot();
        (snapshot.library().version, snapshot.as_of())
    }

    pub(super) fn add(&mut self, entry: Unsealed) -> u64 {
        self.entries.push(entry);
        self.entries.len() as u64 - 1
    }

    pub(super) fn decision(&mut self, asker: &Asker, judgement: &mut Judgement) -> u64 {
        let names = record::names(&self.setting.library);
        let entry = record::decision(names, asker, judgement, self.version());
        self.add(entry)
    }

    /// What stands against a key's use of the decision point, which is recorded; nothing, if it may.
    fn closed(&mut self, asker: &Asker, action: &'static str) -> Result<Option<Done>, Refused> {
        // Of one moment: whoever may ask once may ask again. A purpose is for one call.
        let known = asker.purpose.is_none() && self.open.contains(&(asker.caller, action));
        if known {
            return Ok(None);
        }
        let mut scope = self.moment.scope(asker, action)?;
        if scope.is_allowed() {
            if asker.purpose.is_none() {
                self.open.push((asker.caller, action));
            }
            return Ok(None);
        }
        let at = self.decision(asker, &mut scope);
        Ok(Some(match asker.caller {
            Caller::Session { .. } => Done::Denied(Box::new(scope), at),
            _ => Done::Scope(Box::new(scope), at),
        }))
    }

    /// Whether this is left for the next batch.
    pub(super) fn leaves(&self, work: &Work) -> bool {
        !work.is_brief() && self.spent.is_over()
    }

    /// A back end's questions; all of them, or none.
    pub(super) fn questions(&mut self, work: &Questions) -> Done {
        match self.closed(&work.asker, "decision.ask") {
            Ok(None) => {}
            Ok(Some(closed)) => return closed,
            Err(refused) => return Done::Refused(refused),
        }
        let before = self.entries.len();
        let mut answers = Vec::with_capacity(work.items.len());
        for (number, question) in work.items.iter().enumerate() {
            if self.spent.is_too_long(number, work.deadline) {
                // Whoever is told nothing was never asked about.
                self.entries.truncate(before);
                return Done::Refused(Refused::Unavailable);
            }
            let answer = self.moment.question(question).map(|mut judgement| {
                let at = self.decision(&work.asker, &mut judgement);
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

    /// A reading; one that is allowed may be recorded as an event beside its decision.
    pub(super) fn permit(&mut self, work: &Permit) -> Done {
        let judged = self
            .moment
            .own_action(&work.asker, work.action, work.resource, &work.context);
        Done::Permit(judged.map(|mut judgement| {
            let at = self.decision(&work.asker, &mut judgement);
            if let Some((event, details)) = work.then.as_ref().filter(|_| judgement.is_allowed()) {
                let happening = Happening {
                    event: *event,
                    resource: Some(work.resource),
                    details: details.clone(),
                    fact: None,
                    reported: None,
                };
                let version = self.version();
                self.add(record::happening(
                    &work.asker,
                    work.asker.caller.user(),
                    &happening,
                    version,
                ));
            }
            (judgement, at)
        }))
    }

    /// What stands against a list, whatever could be in it, by what the call is for: it is asked of a thing that nobody has, and recorded.
    fn barred(&mut self, work: &List) -> Result<Option<Done>, Refused> {
        let library = self.moment.world.compiled().library();
        let reserved = library.reserved(work.action, &work.asker.said());
        if reserved.is_none() {
            return Ok(None);
        }
        let nothing = Ref::new(work.kind, [0; 16]);
        let judged = self
            .moment
            .own_action(&work.asker, work.action, nothing, &Map::new());
        let mut judgement = judged?;
        if judgement.is_allowed() {
            return Ok(None);
        }
        let at = self.decision(&work.asker, &mut judgement);
        Ok(Some(Done::Denied(Box::new(judgement), at)))
    }

    pub(super) fn list(&mut self, work: &List) -> Done {
        match self.barred(work) {
            Ok(None) => {}
            Ok(Some(barred)) => return barred,
            Err(refused) => return Done::List(Err(refused)),
        }
        let (items, next) = match self.page(work) {
            Ok(page) => page,
            Err(refused) => return Done::List(Err(refused)),
        };
        let acting = work.asker.caller.acting();
        let actor = acting.map(|acting| acting.agent.unwrap_or(acting.user));
        let found = items.iter().map(ToString::to_string);
        let entry = record::search(
            record::names(&self.setting.library),
            &work.asker,
            Looked {
                actor,
                action: work.action,
                kind: work.kind.name(),
                resource: None,
                acts_for: None,
                request: None,
            },
            found,
            self.version(),
        );
        let at = self.add(entry);
        Done::List(Ok((items, next, at)))
    }

    /// A search of a back end.
    pub(super) fn search(&mut self, work: &Search) -> Done {
        match self.closed(&work.asker, "decision.search") {
            Ok(None) => {}
            Ok(Some(closed)) => return closed,
            Err(refused) => return Done::Search(Err(refused)),
        }
        let found = self
            .moment
            .search(&work.query, work.after.as_deref(), work.limit);
        let found = match found {
            Ok(found) => found,
            Err(refused) => return Done::Search(Err(refused)),
        };
        let question = &work.query.question;
        let world = self.moment.world;
        let known = |named: &Named| {
            let reference = Ref::of(Kind::named(&named.kind)?, &named.id)?;
            world.known(reference).map(|_| reference)
        };
        let (subject, resource) = (known(&question.subject), known(&question.resource));
        let sought = work.query.sought;
        let entry = record::search(
            record::names(&self.setting.library),
            &work.asker,
            Looked {
                actor: subject.filter(|_| sought != Sought::Subject),
                action: if sought == Sought::Action {
                    ""
                } else {
                    &question.action
                },
                kind: match sought {
                    Sought::Subject => &question.subject.kind,
                    Sought::Resource => &question.resource.kind,
                    Sought::Action => "action",
                },
                resource: resource.filter(|_| sought != Sought::Resource),
                acts_for: self.moment.named_person(question),
                request: Some(Request::sought(question)),
            },
            found.results.iter().cloned(),
            self.version(),
        );
        let at = self.add(entry);
        Done::Search(Ok((found, at)))
    }

    /// Why a question is answered as it is: recorded as the decision that it is about.
    pub(super) fn explain(&mut self, work: &Explain) -> Done {
        match self.closed(&work.asker, EXPLAIN) {
            Ok(None) => {}
            Ok(Some(closed)) => return closed,
            Err(refused) => return Done::Explain(Err(refused)),
        }
        let mut right = match self.moment.may_explain(&work.asker, &work.question) {
            Ok(right) => right,
            Err(refused) => return Done::Explain(Err(refused)),
        };
        if let Some(judgement) = right.about_others.as_mut() {
            let at = self.decision(&work.asker, judgement);
            if !judgement.is_allowed() {
                return Done::Denied(Box::new(judgement.clone()), at);
            }
        }
        let explained = self.moment.explain(&work.asker, &work.question, &right);
        Done::Explain(explained.map(|(mut judgement, explained)| {
            let names = record::names(&self.setting.library);
            let digest = explained.as_ref().map(Explained::digest);
            let entry =
                record::explanation(names, &work.asker, (&mut judgement, digest), self.version());
            (explained.map(Box::new), self.add(entry))
        }))
    }

    /// Those that may be read, and where there are more, the one after which they come.
    fn page(&self, work: &List) -> Result<(Vec<Ref>, Option<Ref>), Refused> {
        let moment = self.moment;
        let reading = Reading::new(&moment, &work.asker, (work.action, work.kind))?;
        let candidates: InOrder<'_> = match &work.among {
            Among::All(after) => reading.candidates(*after)?,
            Among::These(choice) => Box::new(choice(moment.world.snapshot()).into_iter()),
        };
        let mut items = Vec::new();
        let mut last = None;
        let looking = Looking::begin();
        for (number, reference) in candidates.enumerate() {
            if looking.is_over(number) {
                return Ok((items, last));
            }
            if reading.allows(reference)? {
                if items.len() == work.limit {
                    let next = items.last().copied();
                    return Ok((items, next));
                }
                items.push(reference);
            }
            last = Some(reference);
        }
        Ok((items, None))
    }

    pub(super) fn change(
        &mut self,
        work: &Proposal,
        store: &Store,
    ) -> Result<(Done, Option<Applied>), Unwritten> {
        let world = self.moment.world;
        let user = work.asker.caller.user();
        if let Some(action) = work.action {
            let mut judgement =
                match self
                    .moment
                    .own_action(&work.asker, action, work.resource, &work.context)
                {
                    Ok(judgement) => judgement,
                    Err(refused) => return Ok((Done::Change(Err(refused)), None)),
                };
            let at = self.decision(&work.asker, &mut judgement);
            if !judgement.is_allowed() {
                return Ok((Done::Denied(Box::new(judgement), at), None));
            }
        }
        if let Some(refused) = work.content.as_ref().and_then(|one| self.unfit(one)) {
            return Ok((Done::Change(Err(refused)), None));
        }
        let granted = match self.granted(work) {
            Ok(granted) => granted,
            Err(refused) => return Ok((*refused, None)),
        };
        let ground = Ground {
            snapshot: world.snapshot(),
            user,
            by: self.moment.by(&work.asker),
            resource: work.resource,
            now: self.moment.now,
            granted: &granted,
        };
        let mut change = match (work.plan)(&ground) {
            Ok(change) => change,
            Err(error) => return Ok((Done::Change(Err(error.into())), None)),
        };
        if let Some(error) = not_now(change.effect, store) {
            return Ok((Done::Change(Err(error.into())), None));
        }
        let index = self.first + self.entries.len() as u64;
        if work.content_alone {
            if !change.rows.is_empty() || change.effect != Effect::Nothing {
                return Err(Unwritten::Corrupt { what: "deposit" });
            }
            let last = self.happened(&work.asker, user, &change);
            self.keep(work, self.first + last);
            let applied = work.idempotency.clone().map(|key| Applied {
                rows: Vec::new(),
                index,
                world: Arc::clone(&self.shared),
                new_subjects: Vec::new(),
                idempotency: Some((key, change.reply.clone())),
                effect: Prepared::Nothing,
            });
            return Ok((Done::Change(Ok((change.reply, last))), applied));
        }
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
        if edits_policies && has_admin(world) && !admins_can_change_policies(&after) {
            return Ok((Done::Change(Err(Refused::LockOut)), None));
        }
        let effect = Prepared::of(&mut change, index, store)?;
        let last = self.happened(&work.asker, user, &change);
        self.keep(work, self.first + last);
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
            effect,
        };
        Ok((Done::Change(Ok((change.reply, last))), Some(applied)))
    }

    /// Why a deposit cannot be made on what is there.
    fn unfit(&self, deposit: &Deposit) -> Option<Refused> {
        let organization = self.moment.world.snapshot().organization();
        let held = organization.is_ok_and(|organization| organization.holds > 0);
        let forgotten = |sealed: &Arc<Sealed>| {
            let subject = sealed.spot().subject.as_ref();
            subject.is_some_and(|subject| self.found.forgotten.contains(subject))
        };
        if !deposit.condition.holds(self.found.present.as_deref()) {
            Some(Refused::Precondition)
        } else if deposit.sealed.is_none() && held {
            Some(DirectoryError::Held.into())
        } else if deposit.sealed.as_ref().is_some_and(forgotten) {
            // Whose it would be was erased after it was sealed: it would never open.
            Some(Refused::Forgotten)
        } else {
            None
        }
    }

    /// Drafts a change's events; the last one's place in the batch.
    fn happened(&mut self, asker: &Asker, user: Option<Ref>, change: &Change) -> u64 {
        let version = self.version();
        let mut last = self.entries.len() as u64;
        for happening in &change.events {
            last = self.add(record::happening(asker, user, happening, version));
        }
        last
    }

    fn keep(&mut self, work: &Proposal, index: u64) {
        if let Some(deposit) = &work.content {
            self.kept.push(Kept {
                index,
                resource: work.resource.to_string(),
                deposit: deposit.clone(),
            });
        }
    }
}

fn has_admin(world: &World) -> bool {
    world
        .snapshot()
        .organization()
        .is_ok_and(|organization| organization.active_admins > 0)
}
