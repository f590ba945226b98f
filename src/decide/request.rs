//! The exact question as an entry records it: its JSON, written once, the words that it can be found by, and the same read back.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::judge::Moment;
use super::question::{Named, Question};
use crate::directory::Ref;
use crate::log::query::requested;
use crate::log::search::fingerprint;

/// Whose right was decided on: what it takes to decide it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Judged {
    /// The subject's, and that of whom they act for: a question about anybody.
    Question,
    /// That of everybody in whose name a call is made: the agent, the person, the service of the key.
    Call,
    /// The same without the service of the key.
    People,
}

/// A question, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(super) text: Vec<u8>,
    pub(super) prints: Vec<u64>,
}

impl Request {
    /// Of a back end, at the moment that it is answered.
    pub(super) fn asked(question: &Question, moment: &Moment<'_>) -> Self {
        let circumstances = Circumstances::of(moment, Judged::Question);
        Self::of(&Asked::of(question, Some(circumstances)))
    }

    /// What a back end looked for.
    pub(super) fn sought(question: &Question) -> Self {
        Self::of(&Asked::of(question, None))
    }

    /// An action of Cedarkeep's own.
    pub(super) fn own(
        (actor, action, resource): (Ref, &str, Ref),
        context: &Map<String, Value>,
        (moment, judged): (&Moment<'_>, Judged),
    ) -> Self {
        let [by, on] = [actor.to_string(), resource.to_string()];
        let nothing = Map::new();
        Self::of(&Asked {
            subject: Entity {
                kind: actor.kind.name(),
                id: &by,
                properties: &nothing,
            },
            action: Deed {
                name: action,
                properties: &nothing,
            },
            resource: Entity {
                kind: resource.kind.name(),
                id: &on,
                properties: &nothing,
            },
            context,
            cedarkeep: Some(Circumstances::of(moment, judged)),
        })
    }

    /// Nothing was asked: the operator is.
    pub(super) fn none() -> Self {
        Self {
            text: b"null".to_vec(),
            prints: Vec::new(),
        }
    }

    fn of(asked: &Asked<'_>) -> Self {
        let words = requested(
            Some(asked.subject.id),
            Some(asked.action.name),
            Some(asked.resource.id),
        );
        let mut text = Vec::with_capacity(512);
        match serde_json::to_writer(&mut text, asked) {
            Ok(()) => Self {
                text,
                prints: words.map(fingerprint).collect(),
            },
            // Names are text and values are JSON: there is nothing that could fail.
            Err(_) => Self::none(),
        }
    }
}

/// In the order in which an entry has it.
#[derive(Serialize)]
struct Asked<'a> {
    subject: Entity<'a>,
    action: Deed<'a>,
    resource: Entity<'a>,
    context: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cedarkeep: Option<Circumstances<'a>>,
}

impl<'a> Asked<'a> {
    fn of(question: &'a Question, cedarkeep: Option<Circumstances<'a>>) -> Self {
        Self {
            subject: Entity::of(&question.subject),
            action: Deed {
                name: &question.action,
                properties: &question.action_properties,
            },
            resource: Entity::of(&question.resource),
            context: &question.context,
            cedarkeep,
        }
    }
}

#[derive(Serialize)]
struct Entity<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    properties: &'a Map<String, Value>,
}

impl<'a> Entity<'a> {
    fn of(named: &'a Named) -> Self {
        Self {
            kind: &named.kind,
            id: &named.id,
            properties: &named.properties,
        }
    }
}

#[derive(Serialize)]
struct Deed<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    properties: &'a Map<String, Value>,
}

/// What Cedarkeep itself adds to the question.
#[derive(Serialize)]
struct Circumstances<'a> {
    #[serde(serialize_with = "in_microseconds")]
    now: DateTime<Utc>,
    region: &'a str,
    judged: Judged,
    /// By which built-in policies.
    builtin: &'a str,
}

impl<'a> Circumstances<'a> {
    fn of(moment: &Moment<'a>, judged: Judged) -> Self {
        Self {
            now: moment.now,
            region: moment.region,
            judged,
            builtin: moment.world.compiled().library().mark(),
        }
    }
}

fn in_microseconds<S: serde::Serializer>(now: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&now.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// A question that was recorded, read back.
#[derive(Debug, PartialEq)]
pub(super) struct Written<'a> {
    pub(super) question: Question,
    /// Nothing in what an earlier version has recorded.
    pub(super) judged: Option<Judged>,
    pub(super) builtin: Option<Cow<'a, str>>,
    pub(super) region: Cow<'a, str>,
}

/// What a part is that holds a request.
#[derive(Debug, PartialEq)]
pub(super) enum Text<'a> {
    /// Nothing was asked: it was the operator.
    Nothing,
    /// This was.
    Asked(Box<Written<'a>>),
}

impl<'a> Text<'a> {
    /// Reads what was recorded; nothing where it is not what is written here.
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
        let Some(wire) = serde_json::from_slice::<Option<Wire<'a>>>(text).ok()? else {
            return Some(Self::Nothing);
        };
        let cedarkeep = wire.cedarkeep?;
        let named = |one: Counterpart| Named {
            kind: one.kind,
            id: one.id,
            properties: one.properties,
        };
        Some(Self::Asked(Box::new(Written {
            question: Question {
                subject: named(wire.subject),
                action: wire.action.name,
                action_properties: wire.action.properties,
                resource: named(wire.resource),
                context: wire.context,
            },
            judged: cedarkeep.judged,
            builtin: cedarkeep.builtin,
            region: cedarkeep.region,
        })))
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    subject: Counterpart,
    action: Done,
    resource: Counterpart,
    context: Map<String, Value>,
    #[serde(borrow)]
    cedarkeep: Option<Known<'a>>,
}

#[derive(Deserialize)]
struct Counterpart {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    #[serde(default)]
    properties: Map<String, Value>,
}

#[derive(Deserialize)]
struct Done {
    name: String,
    #[serde(default)]
    properties: Map<String, Value>,
}

/// The time is the entry's own.
#[derive(Deserialize)]
struct Known<'a> {
    #[serde(borrow)]
    region: Cow<'a, str>,
    judged: Option<Judged>,
    #[serde(borrow, default)]
    builtin: Option<Cow<'a, str>>,
}
