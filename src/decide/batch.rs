//! A batch made outside the lock for one head of the log: sealed, hashed and signed; then written, and answered after the commit.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Transaction};

use super::drafts::{Applied, Done, Drafts, Kept, Prepared};
use super::error::{Refused, Unwritten};
use super::explaining::not_there;
use super::forgetting;
use super::judge::Moment;
use super::question::{Answer, Recorded};
use super::recent::Recent;
use super::record::{self, Unsealed};
use super::rows;
use super::seal::{Sealed, seal};
use super::sequencer::{Known, Replayed, Setting, Stage};
use super::spent::Spent;
use super::work::{Changed, Granted, Page, Work};
use super::world::World;
use super::{aside, content};
use crate::crypto::sealing::DataKeys;
use crate::directory::{Ref, Row};
use crate::log::append::{self, Head, Segment};
use crate::log::checkpoint::Checkpoint;
use crate::log::entry::Time;
use crate::log::merkle::{Frontier, Hash};
use crate::log::segment::{Leaves, Parts};
use crate::log::tiles::{Edge, FullTile};
use crate::log::tree;
use crate::log::upkeep::{self, LogKey};
use crate::tenant::Store;

/// The keys of the people whom a batch is about.
pub(super) type SubjectKeys = HashMap<Ref, Arc<DataKeys>>;

/// All that a commit writes, and how it is answered.
struct Written {
    segment: Segment,
    tiles: Vec<FullTile>,
    head: Head,
    edge: Edge,
    hashes: Vec<Hash>,
    /// What each entry says, for the search index.
    prints: Vec<Vec<u64>>,
}

/// A batch that is ready to be committed.
pub(super) struct Made {
    done: Vec<Done>,
    written: Option<Written>,
    applied: Option<Applied>,
    kept: Vec<Kept>,
    seen: Option<Arc<World>>,
    log: String,
    as_of: u64,
    replayed: Option<Replayed>,
    now: i64,
}

/// Evaluates, drafts, seals and signs a batch for this head and this time: all of it, or its beginning where all takes too long.
pub(super) fn make(
    setting: &Setting,
    known: &Known,
    (keys, found): (&SubjectKeys, content::Found),
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
        shared: Arc::clone(&known.world),
        first: known.head.size,
        entries: Vec::new(),
        open: Vec::new(),
        kept: Vec::new(),
        found,
        spent: Spent::begin(),
    };
    let mut done = Vec::with_capacity(batch.len());
    let mut applied = None;
    let judging = Stage::begin("judge");
    for work in batch {
        if !done.is_empty() && drafts.leaves(work) {
            break;
        }
        done.push(match work {
            Work::Questions(work) => drafts.questions(work),
            Work::List(work) => drafts.list(work),
            Work::Search(work) => drafts.search(work),
            Work::Explain(work) => drafts.explain(work),
            Work::Permit(work) => drafts.permit(work),
            Work::Change(work) => {
                let (done, change) = drafts.change(work, &setting.store)?;
                // Whatever replaces the state is alone in its batch.
                applied = applied.or(change);
                done
            }
            Work::Note(work) => Done::Note(drafts.add(record::note(work))),
            Work::Refresh(_) => Done::Refresh,
        });
    }
    judging.end();
    let micros = now.timestamp_micros();
    let encoding = Stage::begin("encode");
    let kept = drafts.kept;
    let written = match drafts.entries.is_empty() {
        true => None,
        false => Some(encode(
            setting,
            known,
            keys,
            drafts.entries,
            (micros, applied.as_ref()),
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
        kept,
        replayed: None,
        now: micros,
    })
}

fn encode(
    setting: &Setting,
    known: &Known,
    keys: &SubjectKeys,
    entries: Vec<Unsealed>,
    (micros, applied): (i64, Option<&Applied>),
) -> Result<Written, Unwritten> {
    let first = known.head.size;
    let time = Time::from_micros(micros)?;
    let (mut leaves, mut parts, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    let mut prints = Vec::new();
    let (mut edge, mut tiles) = (known.edge.clone(), Vec::new());
    let mut frontier: Frontier = known.head.frontier()?;
    for Sealed {
        record,
        hash,
        prints: words,
    } in seal(&setting.store, keys, entries, (first, time))?
    {
        prints.push(words);
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
    let store = &setting.store;
    let mut signed = checkpoint.sign(store.keys().signing().seed().key());
    let mut head = Head {
        size,
        frontier: frontier.to_bytes(),
        last_time: micros,
        ..known.head.clone()
    };
    if let Some(applied) = applied {
        // Content alone leaves the world as it was.
        if applied.world.snapshot().as_of() == applied.index {
            head.last_change = applied.index;
        }
        match &applied.effect {
            Prepared::Rotate(next) => {
                signed.also_sign(next.signer().seed().key());
                head.signing_version = next.signer().version();
            }
            Prepared::BeginLife(next) => {
                // The old key signs under the name of its own life, beside the one that begins here.
                let before = store.written_life().incarnation.to_string();
                let before = setting.origin.with_incarnation(&before)?;
                signed = signed.checkpoint().clone().sign(next.signer().seed().key());
                signed.sign_as(before, store.keys().signing().seed().key());
                head.signing_version = next.signer().version();
                head.incarnation = store.life().incarnation.to_string();
            }
            Prepared::Prune(minimum) => head.minimum = *minimum,
            // Whoever holds the lock next sees that the keys are others.
            Prepared::RotateKey(_) | Prepared::EndRotation(_) => head.keys_version += 1,
            Prepared::Nothing
            | Prepared::Forget(_)
            | Prepared::Forgotten(_)
            | Prepared::Spend(..) => {}
        }
    }
    head.checkpoint = signed.to_string();
    Ok(Written {
        segment,
        tiles,
        head,
        edge,
        hashes,
        prints,
    })
}

/// Whether the organization is under a legal hold: then nothing is destroyed on the side.
fn is_held(known: &Known) -> bool {
    let organization = known.world.snapshot().organization();
    organization.is_ok_and(|organization| organization.holds > 0)
}

impl Made {
    /// A change that had been made before under the same Idempotency-Key.
    pub(super) const fn replayed(reply: Replayed) -> Self {
        Self {
            done: Vec::new(),
            written: None,
            applied: None,
            kept: Vec::new(),
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

    /// Where it stands in the log, from which index on and how many entries, and what it was judged on.
    pub(super) fn place(&self) -> Option<(u64, u64, Arc<World>)> {
        let segment = &self.written.as_ref()?.segment;
        let seen = Arc::clone(self.seen.as_ref()?);
        Some((segment.first, segment.entries, seen))
    }

    /// Whether it is entries, and content if anything: no row of the directory, no key.
    pub(super) const fn is_short(&self) -> bool {
        self.applied.is_none() && self.written.is_some()
    }

    /// Writes one that [is short](Made::is_short); whether the log still ended where it was made for. Mostly one statement is all of it, which
    /// is a transaction of its own.
    pub(super) async fn append(
        &self,
        store: &Store,
        connection: &mut AnyConnection,
        known: &Known,
    ) -> Result<bool, Unwritten> {
        let Some(written) = &self.written else {
            return Err(Unwritten::Corrupt { what: "batch" });
        };
        let heads = (&known.head, &written.head);
        let (database, segment) = (store.database(), &written.segment);
        if self.kept.is_empty() && written.tiles.is_empty() {
            return Ok(append::advance(database, connection, segment, heads).await?);
        }
        let error = |cause| database.error(cause);
        let mut transaction = database.begin(connection).await?;
        // From here on it holds the head's lock.
        if !append::advance(database, &mut transaction, segment, heads).await? {
            transaction.rollback().await.map_err(error)?;
            return Ok(false);
        }
        tree::add_tiles(database, &mut transaction, &written.tiles).await?;
        content::write(store, &mut transaction, (&self.kept, is_held(known))).await?;
        transaction.commit().await.map_err(error)?;
        Ok(true)
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
        let held = is_held(known);
        if let Some(applied) = &self.applied {
            let rows = (known.world.snapshot(), applied.rows.as_slice());
            rows::write_state(store, transaction, rows, applied.index).await?;
            forgetting::forget_ended(store, transaction, (rows, held)).await?;
            rows::write_subjects(store, transaction, &applied.new_subjects).await?;
            if let Some((key, reply)) = &applied.idempotency {
                rows::write_reply(store, transaction, key, reply, self.now).await?;
            }
            let rows = &applied.rows;
            self.write_effect(store, transaction, (&applied.effect, rows), written)
                .await?;
            if !held {
                content::end(store, transaction, &applied.rows).await?;
            }
        }
        content::write(store, transaction, (&self.kept, held)).await?;
        // Never two checkpoints that contradict each other: this one grows out of the head that is locked.
        if written.segment.first != known.head.size {
            return Err(Unwritten::Corrupt {
                what: "order of the log",
            });
        }
        let database = store.database();
        append::write(database, transaction, &written.segment, &written.head).await?;
        tree::add_tiles(database, transaction, &written.tiles).await?;
        Ok(())
    }

    async fn write_effect(
        &self,
        store: &Store,
        transaction: &mut Transaction<'_, Any>,
        (effect, ended): (&Prepared, &[Row]),
        written: &Written,
    ) -> Result<(), Unwritten> {
        match effect {
            Prepared::Rotate(next) | Prepared::BeginLife(next) => {
                let (keys, database) = (store.keys(), store.database());
                for (signer, checkpoint) in [
                    (&keys.signing(), ""),
                    (next.signer(), written.head.checkpoint.as_str()),
                ] {
                    let key = LogKey {
                        version: signer.version(),
                        public: *signer.seed().public_key().as_bytes(),
                        checkpoint: checkpoint.to_owned(),
                    };
                    upkeep::write_key(database, transaction, &key).await?;
                }
                keys.write_signer(transaction, next).await?;
                if matches!(effect, Prepared::BeginLife(_)) {
                    store.write_life(transaction).await?;
                    aside::clear(store, transaction).await?;
                }
            }
            Prepared::Forget(subject) => {
                forgetting::forget(store, transaction, (*subject, ended), self.now).await?;
            }
            Prepared::Forgotten(subject) => {
                let (database, name) = (store.database(), subject.to_string());
                upkeep::end_erasure(database, transaction, &name).await?;
            }
            Prepared::RotateKey(next) => {
                // An epoch begins with the segment that follows this one.
                store
                    .write_key(transaction, next, written.head.size)
                    .await?;
            }
            Prepared::EndRotation(rotation) => store.write_end(transaction, rotation).await?,
            Prepared::Spend(id, expires_at) => {
                aside::spend(store, transaction, (id, *expires_at), self.now).await?;
            }
            // The rows go afterwards, a few at a time; from here on nobody reads them.
            Prepared::Prune(_) | Prepared::Nothing => {}
        }
        Ok(())
    }

    /// What the memory takes over once it is committed.
    pub(super) fn settled(&self, store: &Store, recent: &Recent) {
        if let Some(written) = &self.written {
            recent.append(written.segment.first, &written.prints);
        }
        match self.applied.as_ref().map(|applied| &applied.effect) {
            Some(Prepared::Rotate(next) | Prepared::BeginLife(next)) => {
                store.keys().sign_with(Arc::clone(next.signer()));
            }
            Some(Prepared::Forget(_)) => {
                store.subjects().let_go();
                recent.forget();
            }
            _ => {}
        }
    }

    /// Who was forgotten by it.
    pub(super) fn forgotten(&self) -> Option<Ref> {
        match self.applied.as_ref().map(|applied| &applied.effect) {
            Some(Prepared::Forget(person)) => Some(*person),
            _ => None,
        }
    }

    /// Whether the keys in memory are not those in force any more once it is committed.
    pub(super) fn changes_keys(&self) -> bool {
        let effect = self.applied.as_ref().map(|applied| &applied.effect);
        matches!(
            effect,
            Some(Prepared::RotateKey(_) | Prepared::EndRotation(_))
        )
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

    /// Tells everybody, after the commit; what it has left over comes back.
    pub(super) fn answer(mut self, mut batch: Vec<Work>) -> Vec<Work> {
        if let Some(replayed) = self.replayed.take() {
            let mut replayed = Some(replayed);
            for work in batch {
                match (work, replayed.take()) {
                    (Work::Change(proposal), Some(replayed)) => drop(proposal.reply.send(replayed)),
                    (work, _) => work.refuse(Refused::Unavailable),
                }
            }
            return Vec::new();
        }
        let left = batch.split_off(self.done.len().min(batch.len()));
        for (work, done) in batch.into_iter().zip(std::mem::take(&mut self.done)) {
            self.tell(work, done);
        }
        left
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
            (Work::Search(work), Done::Search(found)) => {
                let found = found.and_then(|(found, index)| Ok((found, at(index)?)));
                drop(work.reply.send(found));
            }
            (Work::Explain(work), Done::Explain(explained)) => {
                let explained = explained.and_then(|(explained, index)| {
                    let recorded = at(index)?;
                    match explained {
                        Some(explained) => Ok((*explained, recorded)),
                        None => Err(not_there(&work.question)),
                    }
                });
                drop(work.reply.send(explained));
            }
            (Work::Change(work), Done::Change(changed)) => {
                drop(work.reply.send(changed.and_then(|(reply, index)| {
                    Ok(Changed {
                        reply,
                        recorded: Some(at(index)?),
                    })
                })));
            }
            (Work::Note(work), Done::Note(index)) => drop(work.reply.send(at(index))),
            (Work::Refresh(work), Done::Refresh) => drop(work.reply.send(Ok(()))),
            (work, Done::Refused(why)) => work.refuse(why),
            (work, Done::Denied(judgement, index)) => {
                work.refuse(
                    at(index)
                        .map_or_else(|why| why, |recorded| Refused::Denied(judgement, recorded)),
                );
            }
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
