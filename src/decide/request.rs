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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::decide::world::World;
    use crate::directory::Kind;
    use crate::policy::Library;

    fn object(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let library = Arc::new(Library::builtin().unwrap());
        let organization = Ref::new(Kind::Organization, [7; 16]);
        let world = World::empty(organization, &library);
        let moment = Moment {
            world: &world,
            now: DateTime::UNIX_EPOCH,
            region: "eu \"west\"",
        };
        let named = |kind: &str, id: &str| Named {
            kind: kind.into(),
            id: id.into(),
            properties: object(json!({"level": 9, "of": ["\u{fc}\n", null, {"a": true}]})),
        };
        let question = Question {
            subject: named("Robot", "a \"quote\""),
            action: "see".into(),
            action_properties: object(json!({"fast": true})),
            resource: named("Docs::Page", "\u{1f600}"),
            context: object(json!({"reason": "", "nested": {"n": -9_007_199_254_740_991_i64}})),
        };
        let text = Request::asked(&question, &moment).text;
        let Some(Text::Asked(read)) = Text::read(&text) else {
            unreachable!("{}", String::from_utf8_lossy(&text));
        };
        assert_eq!(read.question, question);
        assert_eq!(read.judged, Some(Judged::Question));
        assert_eq!(read.builtin.as_deref(), Some(library.mark()));
        assert_eq!((library.mark().len(), &*read.region), (16, moment.region));
        for judged in [Judged::Call, Judged::People] {
            let asked = (organization, "settings.read", organization);
            let text = Request::own(asked, &question.context, (&moment, judged)).text;
            let Some(Text::Asked(read)) = Text::read(&text) else {
                unreachable!("{}", String::from_utf8_lossy(&text));
            };
            assert_eq!(read.judged, Some(judged));
            assert_eq!(read.question.resource, Named::of(organization));
        }
    }

    #[test]
    fn what_an_earlier_version_wrote_lacks_what_it_takes() {
        let asked = json!({
            "subject": {"type": "User", "id": "1"}, "action": {"name": "see"}, "resource": {"type": "Page", "id": "2"},
            "context": {}, "cedarkeep": {"now": "2026-01-31T12:00:00.000000Z", "region": "eu"},
        });
        let text = asked.to_string().into_bytes();
        let Some(Text::Asked(read)) = Text::read(&text) else {
            unreachable!("it is a request");
        };
        assert_eq!((read.judged, read.builtin), (None, None));
        assert_eq!(Text::read(b"null"), Some(Text::Nothing));
        for text in ["", "{}", "[]", "\"[erased]\"", "{\"subject\": 7}"] {
            assert_eq!(Text::read(text.as_bytes()), None, "{text}");
        }
        // What was looked for was not decided.
        let mut sought = asked;
        sought.as_object_mut().unwrap().remove("cedarkeep");
        assert_eq!(Text::read(sought.to_string().as_bytes()), None);
    }
}
