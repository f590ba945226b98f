//! What a policy says, in words for people who do not write Cedar; where there are none for a shape, Cedar's own text.

use serde_json::Value as Json;

use super::looked::{Looked, Path, Root, Shown};
use super::parts::{node, text};
use super::request::Question;
use super::shape::authzen_type;
use super::value::{Type, Uid, Value};
use crate::ids::reference::Kind;

/// How many elements of a set are told.
const ELEMENTS: usize = 5;

/// What stands for whom a question is about.
pub(super) struct Who<'a> {
    principal: String,
    resource: String,
    /// What whoever asks may call an entity.
    named: &'a dyn Fn(&Uid) -> String,
}

impl<'a> Who<'a> {
    pub(super) fn of(question: &Question, named: &'a dyn Fn(&Uid) -> String) -> Self {
        let (principal, resource) = (question.principal().kind(), question.resource().kind());
        let that = if principal == resource {
            "that"
        } else {
            "this"
        };
        Self {
            principal: format!("this {}", noun(&principal)),
            resource: format!("{that} {}", noun(&resource)),
            named,
        }
    }

    /// That an expression is true, or that it is not, and what was looked at.
    pub(super) fn clause(&self, json: &Json, truth: bool, looked: &[Looked]) -> String {
        let clause = self
            .said(json, truth)
            .unwrap_or_else(|| literal(json, truth));
        let values = looked.iter().filter_map(|one| self.value(one));
        // What the clause says already is not said twice.
        let values = values.filter(|(what, is)| !clause.contains(&format!("{what} is {is}")));
        let values: Vec<(String, String)> = values.collect();
        match values.as_slice() {
            [] => clause,
            [(what, is)] if clause.starts_with(&format!("{what} ")) => {
                format!("{clause} (it is {is})")
            }
            values => {
                let values = values.iter().map(|(what, is)| format!("{what}: {is}"));
                format!("{clause} ({})", values.collect::<Vec<_>>().join("; "))
            }
        }
    }

    /// What was looked at, and what it is.
    fn value(&self, looked: &Looked) -> Option<(String, String)> {
        let what = self.path(&looked.at)?;
        match &looked.found {
            Shown::Is(found) => Some((what, told(found, self.named))),
            Shown::Withheld => Some((what, "a value that you may not see".to_owned())),
            Shown::Absent => None,
        }
    }

    fn either(&self, json: Option<&Json>, truth: bool) -> Option<String> {
        let json = json?;
        Some(
            self.said(json, truth)
                .unwrap_or_else(|| literal(json, truth)),
        )
    }

    /// The words for it, where there are some.
    fn said(&self, json: &Json, truth: bool) -> Option<String> {
        let (operator, body) = node(json)?;
        let (is, does) = match truth {
            true => ("is", ""),
            false => ("is not", "does not "),
        };
        let both = || {
            Some((
                self.phrase(body.get("left")?)?,
                self.phrase(body.get("right")?)?,
            ))
        };
        let compared = |yes: &str, no: &str| {
            let (left, right) = both()?;
            Some(format!(
                "{left} is {} {right}",
                if truth { yes } else { no }
            ))
        };
        match operator {
            "!" => self.either(body.get("arg"), !truth),
            "&&" | "||" => {
                let sides = (
                    self.either(body.get("left"), truth)?,
                    self.either(body.get("right"), truth)?,
                );
                let all = (operator == "&&") == truth;
                Some(match all {
                    true => format!("{}, and {}", sides.0, sides.1),
                    false => format!("either {} or {}", sides.0, sides.1),
                })
            }
            "==" => both().map(|(left, right)| format!("{left} {is} {right}")),
            "!=" => {
                let (left, right) = both()?;
                let is = if truth { "is not" } else { "is" };
                Some(format!("{left} {is} {right}"))
            }
            "<" => compared("less than", "not less than"),
            "<=" => compared("at most", "more than"),
            ">" => compared("more than", "at most"),
            ">=" => compared("at least", "less than"),
            "in" => {
                let left = self.phrase(body.get("left")?)?;
                let right = self.place(body.get("right")?)?;
                Some(format!("{left} {is} in {right}"))
            }
            "is" => {
                let left = self.phrase(body.get("left")?)?;
                let kind = noun(&Type::named(body.get("entity_type")?.as_str()?));
                let kind = format!("{} {kind}", article(&kind));
                match body.get("in").filter(|place| !place.is_null()) {
                    Some(place) => Some(format!("{left} {is} {kind} in {}", self.place(place)?)),
                    None => Some(format!("{left} {is} {kind}")),
                }
            }
            "contains" => both().map(|(left, right)| format!("{right} {is} among {left}")),
            "containsAll" => {
                let (left, right) = both()?;
                let all = if truth { "all" } else { "not all" };
                Some(format!("{all} of {right} are among {left}"))
            }
            "containsAny" => {
                let (left, right) = both()?;
                let some = if truth { "some" } else { "none" };
                Some(format!("{some} of {right} are among {left}"))
            }
            "isEmpty" => Some(format!("{} {is} empty", self.phrase(body.get("arg")?)?)),
            "has" => {
                let mut path = Path::of(json)?;
                let name = spoken(&path.names.pop()?);
                let of = self.path(&path)?;
                Some(match truth {
                    true => format!("{of} has {} {name}", article(&name)),
                    false => format!("{of} has no {name}"),
                })
            }
            "like" => {
                let left = self.phrase(body.get("left")?)?;
                let matches = if truth { "matches" } else { "match" };
                Some(format!(
                    "{left} {does}{matches} {}",
                    pattern(body.get("pattern")?)?
                ))
            }
            "." => {
                let mut path = Path::of(json)?;
                let name = spoken(&path.names.pop()?);
                Some(format!("{} {is} marked “{name}”", self.path(&path)?))
            }
            _ => None,
        }
    }

    /// What something may be in: one, or any of several.
    fn place(&self, json: &Json) -> Option<String> {
        match node(json)? {
            ("Set", all) => {
                let all = all.as_array()?.iter();
                let all: Option<Vec<String>> = all.map(|one| self.phrase(one)).collect();
                Some(format!("any of {}", all?.join(", ")))
            }
            _ => self.phrase(json),
        }
    }

    /// What an expression stands for.
    fn phrase(&self, json: &Json) -> Option<String> {
        if let Some(path) = Path::of(json) {
            // Whether it has something is no thing.
            return self
                .path(&path)
                .filter(|_| node(json).is_some_and(|(operator, _)| operator != "has"));
        }
        match node(json)? {
            ("Value", constant) => constant_in_words(constant, self.named),
            ("Set", all) => {
                let all = all.as_array()?.iter();
                let all: Option<Vec<String>> = all.map(|one| self.phrase(one)).collect();
                Some(all?.join(", "))
            }
            ("datetime" | "duration" | "decimal" | "ip", arguments) => {
                let [one] = arguments.as_array()?.as_slice() else {
                    return None;
                };
                Some(one.get("Value")?.as_str()?.to_owned())
            }
            _ => None,
        }
    }

    fn path(&self, path: &Path) -> Option<String> {
        let mut names = path.names.as_slice();
        let mut text = match path.root {
            Root::Principal => self.principal.clone(),
            Root::Resource => self.resource.clone(),
            Root::Action => "the action".to_owned(),
            Root::Context => {
                // What the server knows about the request is the request's, too.
                if let Some((first, rest)) = names.split_first()
                    && first == super::request::SERVER
                {
                    names = rest;
                }
                "the request".to_owned()
            }
        };
        for name in names {
            text.push_str(&format!("'s {}", spoken(name)));
        }
        Some(text)
    }
}

/// What is asked for, as somebody would say it: `delete this thread`.
#[must_use]
pub fn deed(question: &Question) -> String {
    let who = Who::of(question, &thing);
    let kind = authzen_type(&question.resource().kind()).to_owned();
    said_deed(question.action().name(), (&kind, &who.resource))
}

/// The same of names: the action's, the type's, and what stands for the resource.
pub(super) fn said_deed(action: &str, (kind, resource): (&str, &str)) -> String {
    let Some((of, verb)) = action.split_once('.') else {
        return format!("do “{action}” to {resource}");
    };
    let (of, verb) = (spoken(of), spoken(verb));
    if of == spaced(kind) || (of == "member" && kind == "User") {
        let verb = match verb.as_str() {
            "post" => "post to",
            "comment" => "comment on",
            verb => verb,
        };
        return format!("{verb} {resource}");
    }
    match verb.as_str() {
        "create" | "upload" | "write" => format!("{verb} {} {of} in {resource}", article(&of)),
        _ => format!("do “{action}” to {resource}"),
    }
}

/// A thing, as somebody would call it: `the thread thr_...`.
#[must_use]
pub fn thing(uid: &Uid) -> String {
    format!("the {} {}", noun(&uid.kind()), uid.id())
}

fn literal(json: &Json, truth: bool) -> String {
    let holds = if truth { "holds" } else { "does not hold" };
    format!("`{}` {holds}", text(json))
}

/// A value.
#[must_use]
pub fn value(of: &Value) -> String {
    told(of, &thing)
}

fn told(of: &Value, named: &dyn Fn(&Uid) -> String) -> String {
    match of {
        Value::Bool(truth) => truth.to_string(),
        Value::Long(number) => number.to_string(),
        Value::Text(text) => format!("“{text}”"),
        Value::Entity(uid) => entity(uid, named),
        Value::Set(all) if all.is_empty() => "empty".to_owned(),
        Value::Set(all) => {
            let some = all.iter().take(ELEMENTS).map(|one| told(one, named));
            let mut text = some.collect::<Vec<_>>().join(", ");
            if all.len() > ELEMENTS {
                text.push_str(&format!(" and {} more", all.len().saturating_sub(ELEMENTS)));
            }
            text
        }
        Value::Record(members) => {
            let members = members.iter().take(ELEMENTS);
            let members = members.map(|(name, of)| format!("{} {}", spoken(name), told(of, named)));
            format!("({})", members.collect::<Vec<_>>().join(", "))
        }
        Value::Datetime(at) => chrono::DateTime::from_timestamp_millis(*at)
            .map_or_else(|| format!("{at} ms"), |at| at.to_rfc3339()),
        Value::Duration(length) => format!("{length} ms"),
        Value::Decimal(number) => {
            let (sign, size) = (if *number < 0 { "-" } else { "" }, number.unsigned_abs());
            format!("{sign}{}.{:04}", size / 10_000, size % 10_000)
        }
        Value::Ip(address, bits) => format!("{address}/{bits}"),
    }
}

fn entity(uid: &Uid, named: &dyn Fn(&Uid) -> String) -> String {
    let kind = uid.kind();
    // What is enumerated, and an action, is its own name.
    let listed = ["Role", "Plan", "Layer", "Action"];
    if matches!(kind, Type::Other(_)) && listed.contains(&authzen_type(&kind)) {
        return format!("“{}”", uid.id());
    }
    named(uid)
}

fn constant_in_words(constant: &Json, named: &dyn Fn(&Uid) -> String) -> Option<String> {
    Some(match constant {
        Json::Bool(truth) => truth.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => format!("“{text}”"),
        Json::Object(_) => {
            let uid = constant.get("__entity")?;
            let kind = Type::named(uid.get("type")?.as_str()?);
            entity(&Uid::new(kind, uid.get("id")?.as_str()?), named)
        }
        Json::Null | Json::Array(_) => return None,
    })
}

fn pattern(pieces: &Json) -> Option<String> {
    let mut text = String::new();
    for piece in pieces.as_array()? {
        match piece {
            Json::String(_) => text.push('*'),
            piece => text.push_str(piece.get("Literal")?.as_str()?),
        }
    }
    Some(format!("“{text}”"))
}

/// What people call one of a type.
fn noun(kind: &Type) -> String {
    if *kind == Type::Ours(Kind::User) {
        return "person".to_owned();
    }
    let name = authzen_type(kind);
    spaced(name.rsplit("::").next().unwrap_or(name))
}

/// `AgentDefinition` as `agent definition`.
fn spaced(name: &str) -> String {
    let mut text = String::new();
    for one in name.chars() {
        if one.is_uppercase() && !text.is_empty() && !text.ends_with(' ') {
            text.push(' ');
        }
        match one {
            '_' => text.push(' '),
            one => text.extend(one.to_lowercase()),
        }
    }
    text
}

/// The name of an attribute: `new_role` as `new role`.
fn spoken(name: &str) -> String {
    match name {
        "acts_for" => "acting person".to_owned(),
        "holds" => "number of legal holds".to_owned(),
        "org" => "organization".to_owned(),
        name => name.replace('_', " "),
    }
}

fn article(word: &str) -> &'static str {
    match word.chars().next() {
        Some('a' | 'e' | 'i' | 'o' | 'u' | 'A' | 'E' | 'I' | 'O' | 'U') => "an",
        _ => "a",
    }
}
