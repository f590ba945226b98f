//! A question in the words of AuthZEN, made into Cedar's.

use std::sync::Arc;

use cedar_policy::{Context, Request};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

use super::error::PolicyError;
use super::shape::{Fields, Shape, authzen_type, pairs};
use super::value::{Uid, Value, member};
use super::view::Entity;
use super::vocabulary::{Action, Vocabulary};

/// The member of a context that only the server fills.
pub(crate) const SERVER: &str = "cedarkeep";

/// The member of a context that an action's own properties fill, where its schema declares it.
const ACTION: &str = "action";

/// What the server knows about a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The time of the entry that will record it. Policies see it in milliseconds.
    pub now: DateTime<Utc>,
    /// The region of this node.
    pub region: String,
    /// How the person is signed in; absent when a back end asks about them.
    pub session: Option<SignedIn>,
    /// The user that an agent or a key acts for.
    pub acts_for: Option<Uid>,
}

/// How somebody is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The method, in the words of an organization's `sso_enforced`.
    pub method: String,
    /// Whether this is the break-glass sign-in.
    pub break_glass: bool,
}

/// What the caller said beside the names.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The request's `context`.
    pub context: &'a Map<String, Json>,
    /// The action's `properties`.
    pub action: &'a Map<String, Json>,
}

/// A question that the schema allows, ready to be evaluated.
#[derive(Debug, Clone)]
pub struct Question {
    pub(crate) now: DateTime<Utc>,
    principal: Uid,
    action: Arc<Action>,
    resource: Uid,
    context: Value,
}

impl Question {
    /// Who would act.
    #[must_use]
    pub const fn principal(&self) -> &Uid {
        &self.principal
    }

    /// What they would do.
    #[must_use]
    pub const fn action(&self) -> &Arc<Action> {
        &self.action
    }

    /// What they would do it to.
    #[must_use]
    pub const fn resource(&self) -> &Uid {
        &self.resource
    }

    /// The same about another resource, of the same type.
    #[must_use]
    pub fn about(&self, resource: Uid) -> Self {
        Self {
            resource,
            ..self.clone()
        }
    }

    /// Under which circumstances, as policies see them.
    pub(crate) const fn context(&self) -> &Value {
        &self.context
    }

    /// The question as Cedar takes it; nothing where a value has no word there.
    #[must_use]
    pub fn to_cedar(&self) -> Option<Request> {
        let Value::Record(members) = &self.context else {
            return None;
        };
        let members = members
            .iter()
            .map(|(name, value)| Some((name.to_string(), value.to_cedar()?)));
        let context = Context::from_pairs(members.collect::<Option<Vec<_>>>()?).ok()?;
        // No schema here: the types were checked, and every value was made by the schema's shape.
        Request::new(
            self.principal.to_cedar()?,
            self.action.cedar().clone(),
            self.resource.to_cedar()?,
            context,
            None,
        )
        .ok()
    }
}

impl Vocabulary {
    /// The question as Cedar's request. What the caller said that the action's schema doesn't know is dropped, and so
    /// is anything of theirs under the server's own name. What the schema requires and nobody said is absent: a policy
    /// that needs it errs, and the answer says so.
    ///
    /// # Errors
    /// `DoesNotApply` where the schema has no such question; `WrongType` and `BadValue` for what the caller said.
    pub fn question(
        &self,
        (principal, action, resource): (Uid, &Arc<Action>, Uid),
        said: Said<'_>,
        facts: &Facts,
    ) -> Result<Question, PolicyError> {
        if !action.applies_to(&principal.kind(), &resource.kind()) {
            return Err(PolicyError::DoesNotApply {
                action: action.name().to_owned(),
                principal: authzen_type(&principal.kind()).to_owned(),
                resource: authzen_type(&resource.kind()).to_owned(),
            });
        }
        Ok(Question {
            now: facts.now,
            context: context(action.context(), said, facts)?,
            principal,
            resource,
            action: Arc::clone(action),
        })
    }

    /// The question that Cedar's request is: the other way of [`Question::to_cedar`]. Nothing where the schema has no such
    /// question, or a value is none of ours.
    #[must_use]
    pub fn asked(&self, request: &Request) -> Option<Question> {
        let action = self.action(request.action()?.id().unescaped())?;
        let (principal, resource) = (
            Uid::from(request.principal()?),
            Uid::from(request.resource()?),
        );
        let applies = action.applies_to(&principal.kind(), &resource.kind());
        if action.cedar() != request.action()? || !applies {
            return None;
        }
        let mut members = Vec::new();
        for name in action.context().keys() {
            if let Some(value) = request.context()?.get(name) {
                members.push((Arc::clone(name), Value::from_cedar(&value)?));
            }
        }
        let context = Value::record(members);
        // When a link has expired is asked of `now` alone, and a time that no calendar has is before every expiry.
        let known = match &context {
            Value::Record(members) => member(members, SERVER),
            _ => None,
        };
        let now = match known {
            Some(Value::Record(known)) => match member(known, "now") {
                Some(Value::Datetime(at)) => DateTime::from_timestamp_millis(*at),
                _ => None,
            },
            _ => None,
        };
        Some(Question {
            now: now.unwrap_or(DateTime::UNIX_EPOCH),
            principal,
            action: Arc::clone(action),
            resource,
            context,
        })
    }

    /// An entity of a tenant's own type with the properties of a request: they win over what is stored, unknown ones
    /// are dropped. One that isn't stored has the request's properties alone, and no parents.
    ///
    /// # Errors
    /// `WrongType` and `BadValue` for a property that the type knows.
    pub fn own_entity(
        &self,
        uid: Uid,
        stored: Option<&Entity>,
        properties: &Map<String, Json>,
    ) -> Result<Entity, PolicyError> {
        let none = Fields::new();
        let fields = self.own_attributes(&uid.kind()).unwrap_or(&none);
        let said = pairs(fields, "properties", properties)?;
        let stored = stored.cloned().unwrap_or_else(|| Entity::bare(uid));
        Ok(if said.is_empty() {
            stored
        } else {
            stored.with(said)
        })
    }
}

fn context(fields: &Fields, said: Said<'_>, facts: &Facts) -> Result<Value, PolicyError> {
    let mut members = pairs(fields, "context", said.context)?;
    members.retain(|(name, _)| **name != *SERVER);
    if let Some((name, Shape::Record(known))) = fields.get_key_value(ACTION) {
        members.retain(|(name, _)| **name != *ACTION);
        let properties = pairs(known, "action.properties", said.action)?;
        members.push((Arc::clone(name), Value::record(properties)));
    }
    if let Some((name, Shape::Record(known))) = fields.get_key_value(SERVER) {
        members.push((Arc::clone(name), server(known, facts)));
    }
    Ok(Value::record(members))
}

/// What the server knows, under the names of the schema's `Server`.
fn server(known: &Fields, facts: &Facts) -> Value {
    let mut members = Vec::with_capacity(known.len());
    for (name, shape) in known {
        let value = match (&**name, shape) {
            ("now", _) => Some(Value::Datetime(facts.now.timestamp_millis())),
            ("region", _) => Some(Value::text(&facts.region)),
            ("acts_for", _) => facts.acts_for.clone().map(Value::Entity),
            ("session", Shape::Record(fields)) => facts
                .session
                .as_ref()
                .map(|session| signed_in(fields, session)),
            _ => None,
        };
        members.extend(value.map(|value| (Arc::clone(name), value)));
    }
    Value::record(members)
}

fn signed_in(known: &Fields, session: &SignedIn) -> Value {
    let members = known.keys().filter_map(|name| {
        let value = match &**name {
            "method" => Value::text(&session.method),
            "break_glass" => Value::Bool(session.break_glass),
            _ => return None,
        };
        Some((Arc::clone(name), value))
    });
    Value::record(members.collect())
}
