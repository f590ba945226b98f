//! AuthZEN's documents: what a request asks, and how an answer looks. Pure.
//!
//! Sizes and characters of what names something are bounded here, since those names become entity ids, log
//! fields and lines on a screen. Everything else in a request is left as it came: properties and context
//! that nobody knows are nobody's error.

use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    EVALUATION, EVALUATIONS, EXPLAIN_HEADER, EXPLAIN_OPTION, METADATA, SEARCH_ACTION,
    SEARCH_RESOURCE, SEARCH_SUBJECT,
};
use crate::config::BaseUrl;
use crate::http::problem::Problem;

/// The most items of one batch.
pub const ITEMS_LIMIT: usize = 1_000;

/// The longest type, id or action name, in bytes.
pub const NAME_LIMIT: usize = 1_024;

/// The most that a batch's defaults may come to when they are written into the items that use them, in
/// bytes: a small body with one great default and a thousand empty items must not become a gigabyte.
pub const EXPANDED_LIMIT: usize = 8 * 1024 * 1024;

/// A subject or a resource: what it is, and what the caller says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// Its type, as the caller calls it.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// What the caller says about it.
    pub properties: Map<String, Value>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// What the caller says about it.
    pub properties: Map<String, Value>,
}

/// One question, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Who.
    pub subject: Entity,
    /// Does what.
    pub action: Action,
    /// To what.
    pub resource: Entity,
    /// Under which circumstances.
    pub context: Map<String, Value>,
}

/// How much an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Detail {
    /// The decision alone.
    #[default]
    Minimal,
    /// The decision, why, and where it is recorded.
    Explained,
}

/// When a batch ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Semantic {
    /// Never.
    #[default]
    ExecuteAll,
    /// After the first deny.
    DenyOnFirstDeny,
    /// After the first permit.
    PermitOnFirstPermit,
}

impl Semantic {
    /// Whether a batch ends with an item that was decided so; an item in error is a deny.
    #[must_use]
    pub const fn ends_after(self, decision: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !decision,
            Self::PermitOnFirstPermit => decision,
        }
    }
}

/// What a call of the batch path asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// No items: the same as one evaluation, and answered like one.
    One(Box<Question>),
    /// Items in order; what is wrong with one is its own answer, not the batch's.
    Batch {
        /// The items.
        items: Vec<Result<Question, Problem>>,
        /// When to stop.
        semantic: Semantic,
    },
}

/// Reads a request for one evaluation.
///
/// # Errors
///
/// When a member is missing or is not what it should be; the message names it.
pub fn evaluation(body: Map<String, Value>) -> Result<(Question, Detail), Problem> {
    // `options` is no member of this request, so what else it may hold is not looked at.
    let detail = match body.get("options") {
        Some(Value::Object(options)) => option_detail(options)?,
        _ => Detail::Minimal,
    };
    Ok((question(body, None, "")?, detail))
}

/// Reads the members of one question.
///
/// # Errors
///
/// When a member is missing or is not what it should be; the message names it.
pub fn whole(body: Map<String, Value>) -> Result<Question, Problem> {
    question(body, None, "")
}

/// Reads a request for a batch.
///
/// # Errors
///
/// When the batch as a whole cannot be understood, or holds more than [`ITEMS_LIMIT`] items.
pub fn evaluations(mut body: Map<String, Value>) -> Result<(Asked, Detail), Problem> {
    let (semantic, detail) = match body.remove("options") {
        None => (Semantic::default(), Detail::default()),
        Some(Value::Object(options)) => (option_semantic(&options)?, option_detail(&options)?),
        Some(_) => return Err(malformed("`options` must be an object")),
    };
    let items = match body.remove("evaluations") {
        None => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(malformed("`evaluations` must be an array")),
    };
    if items.is_empty() {
        return Ok((Asked::One(Box::new(question(body, None, "")?)), detail));
    }
    if items.len() > ITEMS_LIMIT {
        return Err(Problem::Malformed(format!(
            "`evaluations` has {} items, at most {ITEMS_LIMIT} are taken",
            items.len()
        )));
    }
    if expanded(&items, &body) > EXPANDED_LIMIT {
        return Err(Problem::Malformed(format!(
            "the defaults of this batch come to more than {EXPANDED_LIMIT} bytes in its items; send smaller batches"
        )));
    }
    let items = items
        .into_iter()
        .enumerate()
        .map(|(at, item)| {
            let place = format!("evaluations[{at}]");
            match item {
                // Only now are the defaults looked at: one that no item uses may be anything.
                Value::Object(members) => question(members, Some(&body), &format!("{place}.")),
                _ => Err(Problem::Malformed(format!("`{place}` must be an object"))),
            }
        })
        .collect();
    Ok((Asked::Batch { items, semantic }, detail))
}

/// What the header asks for; what the body asks for counts beside it.
///
/// # Errors
///
/// When the header says neither `true` nor `false`.
pub fn header_detail(headers: &HeaderMap) -> Result<Detail, Problem> {
    match headers
        .get(EXPLAIN_HEADER)
        .map(|value| value.as_bytes().to_ascii_lowercase())
    {
        None => Ok(Detail::Minimal),
        Some(value) if value == b"true" => Ok(Detail::Explained),
        Some(value) if value == b"false" => Ok(Detail::Minimal),
        Some(_) => Err(malformed(
            "the header `Cedarkeep-Explain` must be `true` or `false`",
        )),
    }
}

/// Why a decision is a deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A policy forbids it.
    Forbidden,
    /// No policy permits it.
    NotPermitted,
    /// A policy that could forbid it failed.
    Error,
    /// The organization's plan does not hold it.
    PlanRequired,
}

/// A policy that determined a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Determining {
    /// Its id.
    pub id: String,
    /// Its reason, in words for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where a decision is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// The log's origin.
    pub log: String,
    /// The entry's index.
    pub index: u64,
    /// The index of the last change that the decision saw.
    pub as_of: u64,
    /// The entry's leaf hash, in base 64.
    pub leaf_hash: String,
    /// The size of the signed checkpoint that covers it.
    pub checkpoint_size: u64,
}

/// What a decision says when it is asked to say more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Why it is a deny; absent from a permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The policies that determined it.
    pub policies: Vec<Determining>,
    /// Where it is recorded.
    pub log: Recorded,
}

/// One decision, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    decision: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Context>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Context {
    Explained(Box<Explained>),
    Failed { error: Failure },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Failure {
    status: u16,
    message: String,
}

impl Decision {
    /// A decision and nothing else.
    #[must_use]
    pub const fn minimal(decision: bool) -> Self {
        Self {
            decision,
            context: None,
        }
    }

    /// A decision with its reasons and its place in the log.
    #[must_use]
    pub fn explained(decision: bool, why: Explained) -> Self {
        Self {
            decision,
            context: Some(Context::Explained(Box::new(why))),
        }
    }

    /// A batch's item that could not be decided: a deny, with what is wrong.
    #[must_use]
    pub fn failed(problem: &Problem) -> Self {
        let error = Failure {
            status: problem.status().as_u16(),
            message: problem.message().to_owned(),
        };
        Self {
            decision: false,
            context: Some(Context::Failed { error }),
        }
    }

    /// What was decided.
    #[must_use]
    pub const fn decision(&self) -> bool {
        self.decision
    }
}

/// A batch's answer, in the order of its items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decisions {
    /// The decisions; fewer than items when the batch ended early.
    pub evaluations: Vec<Decision>,
}

/// What a client learns of this decision point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metadata {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
    search_subject_endpoint: String,
    search_resource_endpoint: String,
    search_action_endpoint: String,
}

impl Metadata {
    /// The document of a service at this URL, which is configured and never taken from a request.
    #[must_use]
    pub fn of(base: &BaseUrl) -> Self {
        let base = base.as_str();
        Self {
            policy_decision_point: base.to_owned(),
            access_evaluation_endpoint: format!("{base}{EVALUATION}"),
            access_evaluations_endpoint: format!("{base}{EVALUATIONS}"),
            search_subject_endpoint: format!("{base}{SEARCH_SUBJECT}"),
            search_resource_endpoint: format!("{base}{SEARCH_RESOURCE}"),
            search_action_endpoint: format!("{base}{SEARCH_ACTION}"),
        }
    }
}

/// The path at which a client looks for the document of a service at this URL: the well-known part comes
/// right after the host, the URL's own path after it.
#[must_use]
pub fn metadata_path(base: &BaseUrl) -> String {
    format!("{METADATA}{}", base.path())
}

fn malformed(what: &str) -> Problem {
    Problem::Malformed(what.to_owned())
}

fn option_detail(options: &Map<String, Value>) -> Result<Detail, Problem> {
    match options.get(EXPLAIN_OPTION) {
        None | Some(Value::Bool(false)) => Ok(Detail::Minimal),
        Some(Value::Bool(true)) => Ok(Detail::Explained),
        Some(_) => Err(malformed("`options.explain` must be true or false")),
    }
}

fn option_semantic(options: &Map<String, Value>) -> Result<Semantic, Problem> {
    let known = "`options.evaluations_semantic` must be `execute_all`, `deny_on_first_deny` or `permit_on_first_permit`";
    match options.get("evaluations_semantic") {
        None => Ok(Semantic::ExecuteAll),
        Some(Value::String(name)) => match name.as_str() {
            "execute_all" => Ok(Semantic::ExecuteAll),
            "deny_on_first_deny" => Ok(Semantic::DenyOnFirstDeny),
            "permit_on_first_permit" => Ok(Semantic::PermitOnFirstPermit),
            _ => Err(malformed(known)),
        },
        Some(_) => Err(malformed(known)),
    }
}

/// The question that these members are; one that is missing comes whole from the defaults.
fn question(
    mut members: Map<String, Value>,
    defaults: Option<&Map<String, Value>>,
    place: &str,
) -> Result<Question, Problem> {
    let mut take = |name: &str| {
        members
            .remove(name)
            .or_else(|| defaults.and_then(|given| given.get(name).cloned()))
    };
    let (subject, action, resource, context) = (
        take("subject"),
        take("action"),
        take("resource"),
        take("context"),
    );
    let (subject, mut action) = (
        entity(subject, place, "subject")?,
        required(action, place, "action")?,
    );
    let name = name(&mut action, place, "action", "name")?;
    let properties = object(action.remove("properties"), || {
        format!("{place}action.properties")
    })?;
    Ok(Question {
        subject,
        action: Action { name, properties },
        resource: entity(resource, place, "resource")?,
        context: object(context, || format!("{place}context"))?,
    })
}

/// What the defaults come to in the items that use them.
fn expanded(items: &[Value], defaults: &Map<String, Value>) -> usize {
    ["subject", "action", "resource", "context"]
        .into_iter()
        .filter_map(|member| Some((member, size(defaults.get(member)?))))
        .map(|(member, size)| {
            let users = items
                .iter()
                .filter(|item| item.get(member).is_none())
                .count();
            users.saturating_mul(size)
        })
        .fold(0, usize::saturating_add)
}

/// About how many bytes a value is when it is written.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len().saturating_add(2),
        Value::Array(items) => items.iter().map(size).fold(2, usize::saturating_add),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len().saturating_add(3).saturating_add(size(value)))
            .fold(2, usize::saturating_add),
    }
}

fn entity(value: Option<Value>, place: &str, member: &str) -> Result<Entity, Problem> {
    let mut members = required(value, place, member)?;
    Ok(Entity {
        kind: name(&mut members, place, member, "type")?,
        id: name(&mut members, place, member, "id")?,
        properties: object(members.remove("properties"), || {
            format!("{place}{member}.properties")
        })?,
    })
}

fn required(
    value: Option<Value>,
    place: &str,
    member: &str,
) -> Result<Map<String, Value>, Problem> {
    match value {
        Some(Value::Object(members)) => Ok(members),
        Some(_) => Err(Problem::Malformed(format!(
            "`{place}{member}` must be an object"
        ))),
        None => Err(Problem::Malformed(format!("`{place}{member}` is missing"))),
    }
}

/// An optional object. Null is not absence: in a batch it could mean "the default" or "nothing".
fn object(value: Option<Value>, place: impl Fn() -> String) -> Result<Map<String, Value>, Problem> {
    match value {
        None => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(Value::Null) => Err(Problem::Malformed(format!(
            "`{}` must be an object; leave it out instead of sending null",
            place()
        ))),
        Some(_) => Err(Problem::Malformed(format!(
            "`{}` must be an object",
            place()
        ))),
    }
}

fn name(
    members: &mut Map<String, Value>,
    place: &str,
    of: &str,
    member: &str,
) -> Result<String, Problem> {
    let wrong = |what: String| Err(Problem::Malformed(format!("`{place}{of}.{member}` {what}")));
    match members.remove(member) {
        None => wrong("is missing".to_owned()),
        Some(Value::String(text)) if text.is_empty() => wrong("must not be empty".to_owned()),
        Some(Value::String(text)) if text.len() > NAME_LIMIT => wrong(format!(
            "is {} bytes long, at most {NAME_LIMIT} are taken",
            text.len()
        )),
        Some(Value::String(text)) => match text.chars().find(|c| is_unseen(*c)) {
            Some(c) => wrong(format!(
                "must not hold the control character U+{:04X}",
                u32::from(c)
            )),
            None => Ok(text),
        },
        Some(_) => wrong("must be a string".to_owned()),
    }
}

/// Control characters, and those that turn the direction of the text around them: an id that holds one is
/// not the id that people see.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
