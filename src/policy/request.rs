//! A question in the words of AuthZEN, made into Cedar's.

use cedar_policy::{Context, Entity, EntityUid, Request, RestrictedExpression};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::error::PolicyError;
use super::shape::{Fields, Shape, authzen_name, pairs};
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
    pub acts_for: Option<EntityUid>,
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
    pub context: &'a Map<String, Value>,
    /// The action's `properties`.
    pub action: &'a Map<String, Value>,
}

/// A question that the schema allows, ready to be evaluated.
#[derive(Debug, Clone)]
pub struct Question {
    request: Request,
    pub(crate) now: DateTime<Utc>,
    principal: EntityUid,
    resource: EntityUid,
    action: EntityUid,
}

impl Question {
    /// Who would act.
    #[must_use]
    pub fn principal(&self) -> &EntityUid {
        &self.principal
    }

    /// What they would do.
    #[must_use]
    pub fn action(&self) -> &EntityUid {
        &self.action
    }

    /// The question as Cedar takes it.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// What they would do it to.
    #[must_use]
    pub fn resource(&self) -> &EntityUid {
        &self.resource
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
        (principal, action, resource): (EntityUid, &Action, EntityUid),
        said: Said<'_>,
        facts: &Facts,
    ) -> Result<Question, PolicyError> {
        let does_not_apply = || PolicyError::DoesNotApply {
            action: action.name().to_owned(),
            principal: authzen_name(principal.type_name()),
            resource: authzen_name(resource.type_name()),
        };
        if !action.applies_to(principal.type_name(), resource.type_name()) {
            return Err(does_not_apply());
        }
        let context = context(action.context(), said, facts)?;
        // No schema here: the types were checked above, and every value was made by the schema's shape.
        let request = Request::new(
            principal.clone(),
            action.uid().clone(),
            resource.clone(),
            context,
            None,
        )
        .map_err(|_| does_not_apply())?;
        Ok(Question {
            request,
            now: facts.now,
            principal,
            resource,
            action: action.uid().clone(),
        })
    }

    /// An entity of a tenant's own type with the properties of a request: they win over what is stored, unknown ones
    /// are dropped. One that isn't stored has the request's properties alone, and no parents.
    ///
    /// # Errors
    /// `WrongType` and `BadValue` for a property that the type knows.
    pub fn own_entity(
        &self,
        uid: EntityUid,
        stored: Option<Entity>,
        properties: &Map<String, Value>,
    ) -> Result<Entity, PolicyError> {
        let none = Fields::new();
        let fields = self.own_attributes(uid.type_name()).unwrap_or(&none);
        let said = pairs(fields, "properties", properties)?;
        if said.is_empty()
            && let Some(stored) = stored
        {
            return Ok(stored);
        }
        let (mut attributes, parents) = match stored.map(Entity::into_inner) {
            Some((_, attributes, parents)) => (attributes, parents),
            None => Default::default(),
        };
        attributes.extend(said);
        Entity::new(uid, attributes, parents).map_err(|error| PolicyError::BadValue {
            member: "properties".to_owned(),
            reason: error.to_string(),
        })
    }
}

fn context(fields: &Fields, said: Said<'_>, facts: &Facts) -> Result<Context, PolicyError> {
    let mut members = pairs(fields, "context", said.context)?;
    members.retain(|(name, _)| name != SERVER);
    if let Some(Shape::Record(known)) = fields.get(ACTION) {
        members.retain(|(name, _)| name != ACTION);
        let properties = pairs(known, "action.properties", said.action)?;
        members.push((ACTION.to_owned(), record(properties)?));
    }
    if fields.contains_key(SERVER) {
        members.push((SERVER.to_owned(), server(facts)?));
    }
    Context::from_pairs(members).map_err(|error| bad("context", &error))
}

fn server(facts: &Facts) -> Result<RestrictedExpression, PolicyError> {
    let now = facts.now.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut members = vec![
        ("now".to_owned(), RestrictedExpression::new_datetime(now)),
        (
            "region".to_owned(),
            RestrictedExpression::new_string(facts.region.clone()),
        ),
    ];
    if let Some(session) = &facts.session {
        let method = RestrictedExpression::new_string(session.method.clone());
        let break_glass = RestrictedExpression::new_bool(session.break_glass);
        let session = vec![
            ("method".to_owned(), method),
            ("break_glass".to_owned(), break_glass),
        ];
        members.push(("session".to_owned(), record(session)?));
    }
    if let Some(user) = &facts.acts_for {
        let user = RestrictedExpression::new_entity_uid(user.clone());
        members.push(("acts_for".to_owned(), user));
    }
    record(members)
}

fn record(
    members: Vec<(String, RestrictedExpression)>,
) -> Result<RestrictedExpression, PolicyError> {
    RestrictedExpression::new_record(members).map_err(|error| bad("context", &error))
}

fn bad(member: &str, error: &dyn std::fmt::Display) -> PolicyError {
    PolicyError::BadValue {
        member: member.to_owned(),
        reason: error.to_string(),
    }
}
