//! What a reviewer asks of a log: which entries, by what their leaves and their opened parts say. Every condition given must hold.

use serde_json::{Map, Value};

use super::entry::{Category, Entry, Event, PartName, Time};

/// The longest identifier, name or request id that is asked for, in bytes.
const TEXT_LIMIT: usize = 1_024;

/// Why a query is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    /// A condition that nothing is known of.
    #[error("`{name}` is no condition: use one of {}", Query::NAMES.join(", "))]
    Unknown {
        /// As it was given.
        name: String,
    },
    /// A value that a condition cannot have.
    #[error("`{name}` must be {wanted}")]
    Value {
        /// The condition.
        name: &'static str,
        /// What it takes.
        wanted: &'static str,
    },
    /// A range without anything in it.
    #[error("`from` is not before `to`")]
    Inverted,
}

/// Conditions on entries; none at all is every entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    from: Option<Time>,
    to: Option<Time>,
    event: Option<Event>,
    category: Option<Category>,
    outcome: Option<&'static str>,
    actor: Option<String>,
    resource: Option<String>,
    action: Option<String>,
    policy: Option<String>,
    request_id: Option<String>,
}

impl Query {
    /// The conditions that there are. `from` is the first moment that counts, `to` the first that does not any more.
    pub const NAMES: &'static [&'static str] = &[
        "from",
        "to",
        "event",
        "category",
        "outcome",
        "actor",
        "resource",
        "action",
        "policy",
        "request_id",
    ];

    /// Reads conditions by their names.
    ///
    /// # Errors
    /// An unknown name, a value that cannot be, or an inverted range.
    pub fn of<'a>(given: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Unasked> {
        let mut query = Self::default();
        for (name, value) in given {
            query.set(name, value)?;
        }
        match (query.from, query.to) {
            (Some(from), Some(to)) if from >= to => Err(Unasked::Inverted),
            _ => Ok(query),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Unasked> {
        match name {
            "from" => self.from = Some(moment("from", value)?),
            "to" => self.to = Some(moment("to", value)?),
            "event" => {
                let wanted = "an event, as `thread.shared`";
                self.event = Some(known("event", wanted, Event::parse(value))?);
            }
            "category" => {
                let wanted = "decision, authentication, membership, settings, integrations, ai_activity or data_operations";
                self.category = Some(known("category", wanted, Category::parse(value))?);
            }
            "outcome" => {
                let outcome = ["allow", "deny", "ok", "failed"]
                    .into_iter()
                    .find(|outcome| *outcome == value);
                self.outcome = Some(known("outcome", "allow, deny, ok or failed", outcome)?);
            }
            "actor" => self.actor = Some(text("actor", value)?),
            "resource" => self.resource = Some(text("resource", value)?),
            "action" => self.action = Some(text("action", value)?),
            "policy" => self.policy = Some(text("policy", value)?),
            "request_id" => self.request_id = Some(text("request_id", value)?),
            _ => {
                return Err(Unasked::Unknown {
                    name: name.chars().take(64).collect(),
                });
            }
        }
        Ok(())
    }

    /// Whether every entry from this one back is too old: times never go back in a log.
    #[must_use]
    pub fn is_over(&self, entry: &Entry) -> bool {
        self.from.is_some_and(|from| entry.time < from)
    }

    /// Whether every entry from this one on is too new.
    #[must_use]
    pub fn is_past(&self, entry: &Entry) -> bool {
        self.to.is_some_and(|to| entry.time >= to)
    }

    /// Whether the leaf alone rules the entry out; what it does not rule out is asked of its parts.
    #[must_use]
    pub fn may_match(&self, entry: &Entry) -> bool {
        self.from.is_none_or(|from| entry.time >= from)
            && self.to.is_none_or(|to| entry.time < to)
            && self.event.is_none_or(|event| entry.event == event)
            && self
                .category
                .is_none_or(|category| entry.category() == category)
            && self
                .outcome
                .is_none_or(|outcome| entry.outcome.as_str() == outcome)
            && self.words().all(|word| may_say(entry, word))
    }

    /// Whether an entry of which [`Query::may_match`] is true is one that is asked for. A name is looked for in the leaf,
    /// and in the part that holds what a caller or a tenant called so; an erased part holds nothing.
    #[must_use]
    pub fn matches(&self, entry: &Entry, parts: &Map<String, Value>) -> bool {
        let part = |name: PartName| parts.get(name.as_str());
        self.words()
            .all(|word| said(entry, part).any(|other| other == word))
    }

    /// The words that an entry must say to be one that is asked for, beside its time.
    pub fn words(&self) -> impl Iterator<Item = Spoken<'_>> {
        [
            (About::Actor, self.actor.as_deref()),
            (About::Resource, self.resource.as_deref()),
            (About::Action, self.action.as_deref()),
            (About::Policy, self.policy.as_deref()),
            (About::RequestId, self.request_id.as_deref()),
            (About::Event, self.event.map(Event::as_str)),
            (About::Category, self.category.map(Category::as_str)),
            (About::Outcome, self.outcome),
        ]
        .into_iter()
        .filter_map(|(about, word)| Some((about, word?)))
    }

    /// The first moment that counts.
    #[must_use]
    pub const fn from(&self) -> Option<Time> {
        self.from
    }

    /// The first moment that does not count any more.
    #[must_use]
    pub const fn to(&self) -> Option<Time> {
        self.to
    }
}

/// Whether an entry may say a word, going by its leaf: what the leaf names itself, its parts do not name otherwise.
fn may_say(entry: &Entry, (about, word): Spoken<'_>) -> bool {
    let asked = entry.parts.contains_key(&PartName::Request);
    let elsewhere = match about {
        About::Actor => entry.actor.is_none() && asked,
        About::Resource => entry.resource.is_none() && asked,
        About::Action => entry.action.is_none() && asked,
        About::Policy => entry.parts.contains_key(&PartName::Policies),
        About::RequestId => [PartName::Client, PartName::RequestId]
            .iter()
            .any(|name| entry.parts.contains_key(name)),
        About::Event | About::Category | About::Outcome => false,
    };
    elsewhere || said(entry, |_| None).any(|other| other == (about, word))
}

/// What a word of an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum About {
    /// Who acted, the user acted for, or the credential.
    Actor = 1,
    /// What it was done to.
    Resource = 2,
    /// The action.
    Action = 3,
    /// A policy that determined it.
    Policy = 4,
    /// The `X-Request-ID`.
    RequestId = 5,
    /// The event.
    Event = 6,
    /// The event's category.
    Category = 7,
    /// How it ended.
    Outcome = 8,
}

/// A word, and what it is about.
pub type Spoken<'a> = (About, &'a str);

/// Every word by which an entry with these parts can be asked for: what queries match, and what the search index holds.
pub fn said<'a>(
    entry: &'a Entry,
    opened: impl Fn(PartName) -> Option<&'a Value>,
) -> impl Iterator<Item = Spoken<'a>> {
    let parts = [
        PartName::Request,
        PartName::Client,
        PartName::RequestId,
        PartName::Policies,
    ];
    let in_parts = parts
        .into_iter()
        .filter_map(move |name| Some(said_in_part(name, opened(name)?)));
    said_in_leaf(entry).chain(in_parts.flatten())
}

/// The words that stand in an entry's leaf.
pub fn said_in_leaf(entry: &Entry) -> impl Iterator<Item = Spoken<'_>> {
    let policies = entry.policies.iter().map(|policy| policy.as_str());
    [
        (
            About::Actor,
            entry.actor.as_ref().map(|one| one.id.as_str()),
        ),
        (
            About::Actor,
            entry.acts_for.as_ref().map(|one| one.id.as_str()),
        ),
        (About::Actor, entry.caller.id().map(|one| one.as_str())),
        (
            About::Resource,
            entry.resource.as_ref().map(|one| one.id.as_str()),
        ),
        (About::Action, entry.action.as_ref().map(|one| one.as_str())),
        (About::Event, Some(entry.event.as_str())),
        (About::Category, Some(entry.category().as_str())),
        (About::Outcome, Some(entry.outcome.as_str())),
    ]
    .into_iter()
    .filter_map(|(about, word)| Some((about, word?)))
    .chain(policies.map(|policy| (About::Policy, policy)))
}

/// The words that stand in one of its parts.
pub fn said_in_part(name: PartName, part: &Value) -> impl Iterator<Item = Spoken<'_>> {
    let text = |pointer: &str| part.pointer(pointer).and_then(Value::as_str);
    let request_id = match name {
        PartName::Client => text("/request_id"),
        // As entries of an earlier version have it.
        PartName::RequestId => text(""),
        _ => None,
    };
    let asked = (name == PartName::Request).then(|| {
        requested(
            text("/subject/id"),
            text("/action/name"),
            text("/resource/id"),
        )
    });
    let own = (name == PartName::Policies)
        .then(|| part.get("determining").and_then(Value::as_array))
        .flatten();
    let own = own.into_iter().flatten();
    let own = own.filter_map(|one| Some((About::Policy, one.get("id")?.as_str()?)));
    let request_id = request_id.map(|id| (About::RequestId, id));
    asked.into_iter().flatten().chain(request_id).chain(own)
}

/// The words of a question: who, does what, to what.
pub fn requested<'a>(
    subject: Option<&'a str>,
    action: Option<&'a str>,
    resource: Option<&'a str>,
) -> impl Iterator<Item = Spoken<'a>> {
    [
        (About::Actor, subject),
        (About::Action, action),
        (About::Resource, resource),
    ]
    .into_iter()
    .filter_map(|(about, word)| Some((about, word?)))
}

fn known<T>(name: &'static str, wanted: &'static str, value: Option<T>) -> Result<T, Unasked> {
    value.ok_or(Unasked::Value { name, wanted })
}

fn text(name: &'static str, value: &str) -> Result<String, Unasked> {
    let fits = !value.is_empty() && value.len() <= TEXT_LIMIT;
    known(
        name,
        "1 to 1024 bytes of text",
        fits.then(|| value.to_owned()),
    )
}

fn moment(name: &'static str, value: &str) -> Result<Time, Unasked> {
    let read = chrono::DateTime::parse_from_rfc3339(value).ok();
    let time = read.and_then(|time| Time::from_micros(time.timestamp_micros()).ok());
    known(name, "a time, as 2026-01-31T12:00:00Z", time)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_asked_is_said() {
        let wrong = |name: &str, value: &str| Query::of([(name, value)]).unwrap_err().to_string();
        assert!(wrong("colour", "red").contains("`colour` is no condition"));
        assert!(wrong("from", "yesterday").contains("`from` must be a time"));
        assert!(wrong("event", "thread.exploded").contains("`event`"));
        assert!(wrong("category", "all").contains("`category`"));
        assert!(wrong("outcome", "maybe").contains("`outcome`"));
        assert!(wrong("actor", "").contains("`actor`"));
        assert!(wrong("resource", &"x".repeat(1_025)).contains("`resource`"));
        let range = |from, to| Query::of([("from", from), ("to", to)]);
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00");
        assert_eq!(range(early, late), Err(Unasked::Inverted));
        assert!(range(early, "2026-01-01T00:00:00.000001Z").is_ok());
    }
}
