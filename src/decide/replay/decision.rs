//! A decision as it stands in the log: read back with what it takes to make it again, or why it cannot be.

use chrono::DateTime;
use serde::Deserialize;

use super::super::acting::Acts;
use super::super::error::Refused;
use super::super::explaining::people;
use super::super::judge::Moment;
use super::super::question::{Acting, Asker, Caller, Question};
use super::super::request::{Judged, Text};
use super::super::rows;
use super::super::world::World;
use crate::crypto::sealing::DataKeys;
use crate::directory::{Kind, Object, Ref, Snapshot};
use crate::log::entry::{self, Entry, PartName, SealedPart};
use crate::policy::Evaluation;
use crate::tenant::{Store, is_of_an_epoch};

/// Why a decision is not made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its person was erased, so that nobody knows what was asked.
    Erased,
    /// The operator was asked for nothing: no policy decided.
    Operator,
    /// It was recorded before entries said what it takes.
    Older,
    /// Other built-in policies have decided than those of this build.
    OtherBuild,
    /// What is stored does not open, or is not what is written.
    Altered,
    /// What is stored of the state of then does not fit this build.
    State,
    /// The draft knows no such type or action.
    Unknown,
    /// What was said does not fit the draft's schema.
    Misfit,
    /// Entities of then do not fit the draft's schema, and it may hang on them.
    Entities,
    /// Who asked is not in the state of then.
    Nobody,
}

impl Why {
    /// A word for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Operator => "operator",
            Self::Older => "older",
            Self::OtherBuild => "other_build",
            Self::Altered => "altered",
            Self::State => "state",
            Self::Unknown => "unknown",
            Self::Misfit => "misfit",
            Self::Entities => "entities",
            Self::Nobody => "nobody",
        }
    }

    /// A sentence for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Erased => "whom it was about was erased: nobody knows any more what was asked",
            Self::Operator => "it was the operator's: no policy decided",
            Self::Older => {
                "it was recorded by a version that did not yet write down what it takes to make it again"
            }
            Self::OtherBuild => "other built-in policies have decided than those of this build",
            Self::Altered => {
                "what is stored of it does not open, or is not what is written: run `cedarkeep audit verify`"
            }
            Self::State => "what is stored of the state of then does not fit this build",
            Self::Unknown => "the draft's schema knows no such type or action",
            Self::Misfit => "what was said does not fit the draft's schema",
            Self::Entities => {
                "entities that there were then do not fit the draft's schema, and it may hang on them"
            }
            Self::Nobody => "who asked is not in the state of then",
        }
    }
}

/// An entry of a decision, with its parts still sealed.
#[derive(Debug)]
pub(in crate::decide) struct Heard {
    pub(in crate::decide) entry: Entry,
    /// Whose key opens its parts.
    pub(in crate::decide) person: Option<Ref>,
    pub(in crate::decide) parts: Vec<SealedPart>,
}

/// What stands in the part of policies: the tenant's own, links, and what failed.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Apart {
    pub(super) determining: Vec<Named>,
    pub(super) failed: Vec<Failed>,
}

/// A policy of the tenant's own, or a link of a template.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) link: Option<String>,
}

/// A policy that could not be evaluated.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Failed {
    pub(super) id: String,
    pub(super) error: String,
}

/// A decision with everything that it was made on but the world.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) entry: Entry,
    pub(super) asked: Question,
    pub(super) apart: Apart,
    judged: Judged,
    region: String,
}

/// What an evaluation says; and who acts, for whom, on what, where that is something of ours.
pub(super) type Answered = (Evaluation, [Option<Ref>; 3]);

impl Decision {
    /// Opens what was asked, and by what it was decided, with the key of the person whom it is about.
    pub(super) fn read(
        heard: Heard,
        store: &Store,
        key: Option<&DataKeys>,
        builtin: &str,
    ) -> Result<Self, Why> {
        let Heard { entry, parts, .. } = heard;
        let (asked, apart, judged, region) = opened(&entry, &parts, (store, key), builtin)?;
        Ok(Self {
            entry,
            asked,
            apart,
            judged,
            region,
        })
    }

    /// Makes it again, on this world and at the time that it was made: by the same code.
    ///
    /// # Errors
    /// It cannot be asked there.
    pub(super) fn again(&self, world: &World) -> Result<Answered, Refused> {
        let now = DateTime::from_timestamp_micros(self.entry.time.micros());
        let moment = Moment {
            world,
            now: now.unwrap_or_default(),
            region: &self.region,
        };
        if self.judged == Judged::Question {
            return moment.answer(&self.asked);
        }
        let action = moment.action(&self.asked.action)?;
        let on = Kind::named(&self.asked.resource.kind)
            .and_then(|kind| Ref::of(kind, &self.asked.resource.id));
        let on = on.ok_or(Refused::Nobody { what: "resource" })?;
        let asker = Asker {
            caller: self.caller(world.snapshot())?,
            request_id: None,
            client: None,
            purpose: None,
        };
        let mut halves: Acts = moment.acting(&asker)?.unwrap_or_default();
        if self.judged == Judged::People {
            halves = people(halves);
        }
        moment.answer_ours(&halves, &action, on, &self.asked.context)
    }

    /// Who called, as the state of then knows them.
    fn caller(&self, snapshot: &Snapshot) -> Result<Caller, Refused> {
        let named = |id: &entry::Id| id.as_str().parse::<Ref>().ok();
        let service = |credential: &entry::Id| {
            let key = named(credential)?;
            match snapshot.object(key).map(|stored| &stored.value) {
                Some(Object::ApiKey(stored)) => Some((key, stored.service)),
                _ => None,
            }
        };
        let (actor, user) = (
            reference(self.entry.actor.as_ref()),
            reference(self.entry.acts_for.as_ref()),
        );
        let acting = match (actor, user) {
            (Some(user), _) if user.kind == Kind::User => Some(Acting { user, agent: None }),
            (Some(agent), Some(user)) if agent.kind == Kind::Agent => Some(Acting {
                user,
                agent: Some(agent),
            }),
            _ => None,
        };
        let caller = match &self.entry.caller {
            entry::Caller::ApiKey(id) => service(id).map(|(key, service)| Caller::Key {
                key,
                service,
                acting,
            }),
            entry::Caller::ClientCertificate(id) => {
                service(id).map(|(binding, service)| Caller::Certificate {
                    binding,
                    service,
                    acting,
                })
            }
            entry::Caller::ScimToken(id) => {
                service(id).map(|(token, service)| Caller::Directory { token, service })
            }
            entry::Caller::Session(id) => named(id)
                .zip(actor)
                .map(|(session, user)| Caller::Session { session, user }),
            entry::Caller::System | entry::Caller::Operator | entry::Caller::Unrecognised => None,
        };
        caller.ok_or(Refused::Nobody { what: "caller" })
    }
}

/// What an entry names, as the directory calls it.
pub(super) fn reference(one: Option<&entry::Ref>) -> Option<Ref> {
    one.and_then(|one| one.id.as_str().parse().ok())
}

type Opened = (Question, Apart, Judged, String);

fn opened(
    entry: &Entry,
    parts: &[SealedPart],
    keys: (&Store, Option<&DataKeys>),
    builtin: &str,
) -> Result<Opened, Why> {
    let text = part(entry, parts, keys, PartName::Request)?.ok_or(Why::Older)?;
    let asked = match Text::read(&text).ok_or(Why::Altered)? {
        Text::Nothing => return Err(Why::Operator),
        Text::Asked(asked) => *asked,
    };
    let (Some(judged), Some(by)) = (asked.judged, asked.builtin) else {
        return Err(Why::Older);
    };
    if by != builtin {
        return Err(Why::OtherBuild);
    }
    let apart = match part(entry, parts, keys, PartName::Policies)? {
        Some(text) => serde_json::from_slice(&text).map_err(|_| Why::Altered)?,
        None => Apart::default(),
    };
    let region = asked.region.into_owned();
    Ok((asked.question, apart, judged, region))
}

/// The text of a part; nothing where the entry never had one of that name.
fn part(
    entry: &Entry,
    parts: &[SealedPart],
    (store, key): (&Store, Option<&DataKeys>),
    name: PartName,
) -> Result<Option<Vec<u8>>, Why> {
    if !entry.parts.contains_key(&name) {
        return Ok(None);
    }
    // It may have been written away already, with the person.
    let stored = parts.iter().find(|part| part.name == name);
    let sealed = &stored.ok_or(Why::Erased)?.sealed;
    let text = rows::part_text(store, key, (entry.index, name), sealed);
    match text {
        Some(text) => Ok(Some(text)),
        // The key of an epoch goes with its entries, and not before.
        None if key.is_some() || is_of_an_epoch(sealed).unwrap_or(true) => Err(Why::Altered),
        None => Err(Why::Erased),
    }
}
