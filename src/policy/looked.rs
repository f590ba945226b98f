//! What a part of a policy looks at: the paths of attributes in it, and what stands at their ends, as far as whoever asks may see it.

use serde_json::Value as Json;

use super::parts::{Asked, node};
use super::run::{Fault, Run};
use super::value::{Type, Uid, Value, member};
use super::view::Attribute;

/// What whoever asks may see.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// Whether they may see an attribute of an entity; without a name, what the entity is in.
    pub sees: &'a dyn Fn(&Uid, Option<&str>) -> bool,
    /// What they may call an entity.
    pub named: &'a dyn Fn(&Uid) -> String,
}

/// What stands somewhere, for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// This.
    Is(Value),
    /// Nothing.
    Absent,
    /// What they may not see.
    Withheld,
}

/// What a path of attributes begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Principal,
    Action,
    Resource,
    Context,
}

/// A path of attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) root: Root,
    pub(super) names: Vec<String>,
}

/// An attribute that a policy looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    pub(super) at: Path,
    /// As Cedar writes it: `resource.owner`.
    pub path: String,
    /// The entity whose attribute it is; nothing for what the request says, and where they may not see which.
    pub of: Option<Uid>,
    /// What is there.
    pub found: Shown,
}

impl Path {
    /// A variable, or attributes of it.
    pub(super) fn of(json: &Json) -> Option<Self> {
        match node(json)? {
            ("Var", name) => {
                let root = match name.as_str()? {
                    "principal" => Root::Principal,
                    "action" => Root::Action,
                    "resource" => Root::Resource,
                    "context" => Root::Context,
                    _ => return None,
                };
                let names = Vec::new();
                Some(Self { root, names })
            }
            (".", body) => {
                let mut path = Self::of(body.get("left")?)?;
                path.names.push(body.get("attr")?.as_str()?.to_owned());
                Some(path)
            }
            ("has", body) => {
                let mut path = Self::of(body.get("left")?)?;
                path.names.extend(names(body)?);
                Some(path)
            }
            _ => None,
        }
    }

    fn text(&self) -> String {
        let mut text = match self.root {
            Root::Principal => "principal",
            Root::Action => "action",
            Root::Resource => "resource",
            Root::Context => "context",
        }
        .to_owned();
        for name in &self.names {
            let plain = name
                .chars()
                .all(|one| one == '_' || one.is_ascii_alphanumeric());
            let plain = plain && !name.starts_with(|one: char| one.is_ascii_digit());
            match plain && !name.is_empty() {
                true => text.push_str(&format!(".{name}")),
                false => text.push_str(&format!("[\"{}\"]", name.escape_debug())),
            }
        }
        text
    }
}

/// The attributes that one `.` or `has` looks at, each of what the one before it is.
fn names(body: &Json) -> Option<Vec<String>> {
    match body.get("attr")? {
        Json::String(name) => Some(vec![name.clone()]),
        names => {
            let names = names.as_array()?.iter();
            Some(names.filter_map(Json::as_str).map(str::to_owned).collect())
        }
    }
}

/// Everything that an expression looks at, each once.
pub(super) fn looked(json: &Json, run: &Run<'_>, sight: Sight<'_>) -> Vec<Looked> {
    let mut paths = Vec::new();
    gather(json, &mut paths);
    paths
        .into_iter()
        .map(|at| {
            let (of, found) = follow(&at, run, sight);
            let path = at.text();
            Looked {
                at,
                path,
                of,
                found,
            }
        })
        .collect()
}

fn gather(json: &Json, paths: &mut Vec<Path>) {
    if let Some(path) = Path::of(json) {
        if !path.names.is_empty() && !paths.contains(&path) {
            paths.push(path);
        }
        return;
    }
    match json {
        Json::Array(items) => items.iter().for_each(|item| gather(item, paths)),
        Json::Object(members) => members.values().for_each(|value| gather(value, paths)),
        _ => {}
    }
}

/// What is at the end of a path, and whose it is.
fn follow(path: &Path, run: &Run<'_>, sight: Sight<'_>) -> (Option<Uid>, Shown) {
    let question = run.question;
    let begin = match path.root {
        Root::Principal => Value::Entity(question.principal().clone()),
        Root::Action => return (None, Shown::Absent),
        Root::Resource => Value::Entity(question.resource().clone()),
        Root::Context => question.context().clone(),
    };
    walk(begin, &path.names, run, sight)
}

/// What is behind these names, each an attribute of what the one before it is.
fn walk(begin: Value, names: &[String], run: &Run<'_>, sight: Sight<'_>) -> (Option<Uid>, Shown) {
    let (mut at, mut of) = (begin, None);
    for name in names {
        let found = match &at {
            Value::Entity(uid) if run.vocabulary.above_action(uid).is_some() => None,
            Value::Entity(uid) => {
                if !(sight.sees)(uid, Some(name)) {
                    // Up to here they may see it: whose attribute it is, they know.
                    return (Some(uid.clone()), Shown::Withheld);
                }
                of = Some(uid.clone());
                match run.view.attribute(uid, name) {
                    Attribute::Is(value) => Some(value),
                    Attribute::Absent | Attribute::NoEntity => None,
                }
            }
            Value::Record(members) => member(members, name).cloned(),
            _ => None,
        };
        match found {
            Some(value) => at = value,
            None => return (of, Shown::Absent),
        }
    }
    (of, Shown::Is(at))
}

/// Whether an expression looks at what may not be seen otherwise than by a path of attributes: at tags, at attributes of what is computed,
/// at what somebody or something is in. Where it cannot be said of what, it counts as if it did.
pub(super) fn looks_past(json: &Json, asked: &Asked<'_>, sight: Sight<'_>) -> bool {
    if Path::of(json).is_some() {
        return false;
    }
    let run = &asked.run;
    let hidden = |left: &Json, is_hidden: &dyn Fn(Value) -> bool| match asked.comes_to(left) {
        Some(Ok(of)) => is_hidden(of),
        // Whatever errs is the end: of what it would be, nothing was looked at.
        Some(Err(Fault)) => false,
        None => true,
    };
    let parts = node(json).and_then(|(operator, body)| Some((operator, body, body.get("left")?)));
    let here = match parts {
        Some(("." | "has", body, left)) => names(body).is_none_or(|names| {
            hidden(left, &|of| {
                walk(of, &names, run, sight).1 == Shown::Withheld
            })
        }),
        // A tag is told where all of the entity is: what a request says of one are its attributes.
        Some(("getTag" | "hasTag", _, left)) => hidden(left, &|of| match of {
            Value::Entity(uid) => !(sight.sees)(&uid, None),
            _ => false,
        }),
        Some(("in", _, left)) => hidden(left, &|of| hides_above(&of, run, sight)),
        Some(("is", body, left)) if body.get("in").is_some_and(|place| !place.is_null()) => {
            hidden(left, &|of| hides_above(&of, run, sight))
        }
        _ => false,
    };
    here || match json {
        Json::Array(items) => items.iter().any(|one| looks_past(one, asked, sight)),
        Json::Object(members) => members.values().any(|one| looks_past(one, asked, sight)),
        _ => false,
    }
}

/// Whether what it is in may not be seen.
fn hides_above(of: &Value, run: &Run<'_>, sight: Sight<'_>) -> bool {
    let Value::Entity(uid) = of else {
        return false;
    };
    // What an action, a role or a plan is in, the schema says.
    let is_schemas = matches!(uid.kind(), Type::Other(_)) && !run.vocabulary.is_own(&uid.kind());
    !is_schemas && !(sight.sees)(uid, None)
}
