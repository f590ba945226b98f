//! The exact question as an entry records it: its JSON, written once, and the words that it can be found by.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::judge::Moment;
use super::question::{Named, Question};
use crate::directory::Ref;
use crate::log::query::requested;
use crate::log::search::fingerprint;

/// A question, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(super) text: Vec<u8>,
    pub(super) prints: Vec<u64>,
}

impl Request {
    /// Of a back end, at the moment that it is answered.
    pub(super) fn asked(question: &Question, moment: &Moment<'_>) -> Self {
        Self::of(&Asked::of(question, Some(Circumstances::of(moment))))
    }

    /// What a back end looked for.
    pub(super) fn sought(question: &Question) -> Self {
        Self::of(&Asked::of(question, None))
    }

    /// An action of Cedarkeep's own.
    pub(super) fn own(
        (actor, action, resource): (Ref, &str, Ref),
        context: &Map<String, Value>,
        moment: &Moment<'_>,
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
            cedarkeep: Some(Circumstances::of(moment)),
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
}

impl<'a> Circumstances<'a> {
    const fn of(moment: &Moment<'a>) -> Self {
        Self {
            now: moment.now,
            region: moment.region,
        }
    }
}

fn in_microseconds<S: serde::Serializer>(now: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&now.to_rfc3339_opts(SecondsFormat::Micros, true))
}
