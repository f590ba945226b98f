//! An example of the solver's: a question with its entities, asked of the engine that answers questions, and shown to people.
//!
//! What is asked is what is shown. The solver's own names for people and things are replaced by ones that can be read, and what
//! the question does not reach is left out, before the engine is asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request,
};
use cedar_policy_symcc::Env;
use chrono::DateTime;
use serde_json::{Map, Value as Json, json};

use super::ground::{Environment, Form, Ground, LINKED, Rule};
use super::shape::Renaming;
use crate::policy::{Attribute, Entity, Evaluation, Type, Uid, Verdict, View};

/// How far attributes and memberships are followed to find the entities that matter: as far as a policy may look, and what is
/// there is in.
const REACH: usize = 3;

/// A question that the solver came upon.
pub(super) struct Scene {
    /// As it is shown.
    question: Json,
    request: Request,
    /// Without the actions.
    cedar: Vec<cedar_policy::Entity>,
    ours: BTreeMap<Uid, Entity>,
}

/// What one version says about an example.
pub(super) struct Said {
    pub(super) allowed: bool,
    /// The permits that are satisfied.
    pub(super) permits: Vec<String>,
    /// The forbids that are satisfied.
    pub(super) forbids: Vec<String>,
    /// The policies that err, whatever they are.
    pub(super) erred: Vec<String>,
}

impl Said {
    /// What a version says that has no such question.
    pub(super) const fn nothing() -> Self {
        Self {
            allowed: false,
            permits: Vec::new(),
            forbids: Vec::new(),
            erred: Vec::new(),
        }
    }

    /// The same where one policy is not there, and perhaps another is instead, which matches, does not, or errs.
    pub(super) fn with(
        mut self,
        gone: &str,
        instead: Option<(&Rule, Option<bool>)>,
        effect: &dyn Fn(&str) -> Option<Effect>,
    ) -> Self {
        for ids in [&mut self.permits, &mut self.forbids, &mut self.erred] {
            ids.retain(|id| id != gone);
        }
        if let Some((rule, outcome)) = instead {
            let ids = match (outcome, rule.effect) {
                (Some(false), _) => None,
                (Some(true), Effect::Permit) => Some(&mut self.permits),
                (Some(true), Effect::Forbid) => Some(&mut self.forbids),
                (None, _) => Some(&mut self.erred),
            };
            if let Some(ids) = ids {
                ids.push(rule.id.to_string());
            }
        }
        // A forbid that errs refuses.
        let mut erred = self.erred.iter();
        let failed = erred.any(|id| effect(id) == Some(Effect::Forbid));
        self.allowed = !self.permits.is_empty() && self.forbids.is_empty() && !failed;
        self
    }
}

impl Scene {
    /// The example as the engine takes it; nothing where it has no word for a value.
    pub(super) fn of(ground: &Ground, found: &Env) -> Option<Self> {
        let request = &found.request;
        let mut entities = Vec::new();
        for entity in found.entities.iter() {
            if ground.is_open(&entity.uid()) {
                entities.push(entity.to_json_value().ok()?);
            }
        }
        let mut question = json!({
            "principal": uid_json(request.principal()?),
            "action": uid_json(request.action()?),
            "resource": uid_json(request.resource()?),
            "context": request.context()?.to_json_value().ok()?,
            "entities": entities,
        });
        keep_what_matters(&mut question)?;
        let mut names = Names {
            ground,
            given: HashMap::new(),
            counts: HashMap::new(),
        };
        names.tidy(&mut question);
        Self::read(ground, question)
    }

    /// The same with other names; nothing where the schema has no such question.
    pub(super) fn renamed(&self, ground: &Ground, renaming: &Renaming) -> Option<Self> {
        let mut question = self.question.clone();
        renaming.rename(&mut question);
        Self::read(ground, question)
    }

    fn read(ground: &Ground, question: Json) -> Option<Self> {
        let schema = ground.compiled.schema();
        let uid = |name: &str| uid_of(question.get(name)?);
        let action = uid("action")?;
        let context = question.get("context")?.clone();
        let context = Context::from_json_value(context, Some((schema, &action))).ok()?;
        let request = Request::new(uid("principal")?, action, uid("resource")?, context, None);
        let entities = question.get("entities")?.clone();
        let entities = Entities::from_json_value(entities, Some(schema)).ok()?;
        let (mut cedar, mut ours) = (Vec::new(), BTreeMap::new());
        for entity in entities.iter() {
            if ground.is_open(&entity.uid()) {
                let one = Entity::from_cedar(entity, |name| name.into())?;
                ours.insert(one.uid().clone(), one);
                cedar.push(entity.clone());
            }
        }
        Some(Self {
            question,
            request: request.ok()?,
            cedar,
            ours,
        })
    }

    /// What a version says to it; nothing where the version has no such question.
    pub(super) fn put_to(&self, ground: &Ground, at: &Environment) -> Option<Said> {
        let compiled = &ground.compiled;
        let question = compiled.vocabulary().asked(&self.request)?;
        let verdict = Verdict::of(compiled, &at.links, self, &question);
        let ids = |all: &[crate::policy::Determining]| -> Vec<String> {
            all.iter().map(|one| one.id.to_string()).collect()
        };
        Some(Said {
            permits: ids(&verdict.permits),
            forbids: ids(&verdict.forbids),
            erred: verdict.failures.iter().map(|one| one.id.clone()).collect(),
            allowed: Evaluation::is_allowed(&verdict.conclude()),
        })
    }

    /// Whether a policy matches, says Cedar; nothing where it errs.
    pub(super) fn matches(&self, ground: &Ground, rule: &Rule) -> Option<bool> {
        let mut alone = PolicySet::new();
        alone
            .add(rule.form(Form::Matches, Effect::Permit)?.clone())
            .ok()?;
        let actions = ground.compiled.vocabulary().action_entities();
        let all = self.cedar.iter().chain(actions).cloned();
        let entities = Entities::from_entities(all, None).ok()?;
        let response = Authorizer::new().is_authorized(&self.request, &alone, &entities);
        if response.diagnostics().errors().next().is_some() {
            return None;
        }
        Some(response.decision() == Decision::Allow)
    }

    /// The example for people and programs, with what it is answered.
    pub(super) fn shown(&self, decided: Vec<Decided>) -> Example {
        Example {
            question: self.question.clone(),
            decided,
        }
    }
}

fn uid_json(uid: &EntityUid) -> Json {
    json!({"type": uid.type_name().to_string(), "id": uid.id().unescaped()})
}

fn uid_of(json: &Json) -> Option<EntityUid> {
    let (kind, id) = named(json)?;
    let kind: EntityTypeName = kind.parse().ok()?;
    Some(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// Type and id, where that is all that an object says.
pub(super) fn named(json: &Json) -> Option<(&str, &str)> {
    let members = json.as_object().filter(|members| members.len() == 2)?;
    let text = |name: &str| members.get(name).and_then(Json::as_str);
    Some((text("type")?, text("id")?))
}

/// Gives an entity another id.
pub(super) fn call(json: &mut Json, id: String) {
    if let Some(said) = json.get_mut("id") {
        *said = Json::String(id);
    }
}

/// Leaves out the entities that the question does not reach, and those that say nothing about themselves.
fn keep_what_matters(question: &mut Json) -> Option<()> {
    let entities = question.get_mut("entities")?.as_array_mut()?;
    let mut all: HashMap<String, Json> = std::mem::take(entities)
        .into_iter()
        .filter_map(|entity| Some((entity.get("uid")?.to_string(), entity)))
        .collect();
    let asked = [question.get("principal")?, question.get("resource")?];
    let asked = asked.map(Json::to_string);
    let mut next: BTreeSet<String> = asked.iter().cloned().collect();
    each_named(question.get("context")?, &mut |uid| {
        next.insert(uid.to_string());
    });
    let mut kept = Vec::new();
    for _ in 0..REACH {
        for uid in std::mem::take(&mut next) {
            if let Some(entity) = all.remove(&uid) {
                each_named(&entity, &mut |uid| {
                    next.insert(uid.to_string());
                });
                let says = |name: &str| match entity.get(name) {
                    Some(Json::Object(members)) => !members.is_empty(),
                    Some(Json::Array(items)) => !items.is_empty(),
                    _ => false,
                };
                let says = ["attrs", "parents", "tags"].into_iter().any(says);
                if says || asked.contains(&uid) {
                    kept.push(entity);
                }
            }
        }
    }
    *question.get_mut("entities")? = Json::Array(kept);
    Some(())
}

fn each_named(json: &Json, each: &mut impl FnMut(&Json)) {
    if named(json).is_some() {
        return each(json);
    }
    match json {
        Json::Object(members) => members.values().for_each(|value| each_named(value, each)),
        Json::Array(items) => items.iter().for_each(|item| each_named(item, each)),
        _ => {}
    }
}

/// Names that can be read, for what no policy names.
struct Names<'a> {
    ground: &'a Ground,
    given: HashMap<(String, String), String>,
    counts: HashMap<String, usize>,
}

impl Names<'_> {
    fn tidy(&mut self, json: &mut Json) {
        if let Some(time) = json.get("__extn").and_then(time) {
            *json = json!({"__extn": {"fn": "datetime", "arg": time}});
            return;
        }
        if let Some((kind, id)) = named(json) {
            if let Some(id) = self.name(kind, id) {
                call(json, id);
            }
            return;
        }
        match json {
            Json::Object(members) => members.values_mut().for_each(|value| self.tidy(value)),
            Json::Array(items) => items.iter_mut().for_each(|item| self.tidy(item)),
            _ => {}
        }
    }

    fn name(&mut self, kind: &str, id: &str) -> Option<String> {
        let key = (kind.to_owned(), id.to_owned());
        if !self.ground.may_be_renamed(kind, id) {
            return None;
        }
        if let Some(name) = self.given.get(&key) {
            return Some(name.clone());
        }
        let base = kind.rsplit("::").next().unwrap_or(kind).to_lowercase();
        let count = self.counts.entry(kind.to_owned()).or_default();
        let name = loop {
            *count = count.saturating_add(1);
            let name = format!("{base}-{count}");
            if self.ground.may_be_renamed(kind, &name) {
                break name;
            }
        };
        self.given.insert(key, name.clone());
        Some(name)
    }
}

/// A time as people write it, of the calls that make it; nothing for what is none, and for years that have no such form.
fn time(call: &Json) -> Option<String> {
    let args = call.get("args")?.as_array()?;
    let (Some("offset"), [start, after]) = (call.get("fn")?.as_str(), args.as_slice()) else {
        return None;
    };
    let arg = |json: &Json| {
        json.pointer("/__extn/arg")
            .and_then(Json::as_str)
            .map(str::to_owned)
    };
    if arg(start)? != "1970-01-01" {
        return None;
    }
    let millis: i64 = arg(after)?.strip_suffix("ms")?.parse().ok()?;
    let time = DateTime::from_timestamp_millis(millis)?;
    let text = time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    (text.len() == "1970-01-01T00:00:00.000Z".len()).then_some(text)
}

impl View for Scene {
    fn attribute(&self, of: &Uid, name: &str) -> Attribute {
        self.ours
            .get(of)
            .map_or(Attribute::NoEntity, |entity| entity.attribute(name))
    }

    fn above(&self, of: &Uid, found: &mut dyn FnMut(&Uid) -> bool) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![of]);
        while let Some(uid) = next.pop() {
            for parent in self.ours.get(uid).into_iter().flat_map(Entity::parents) {
                if seen.insert(parent) {
                    if found(parent) {
                        return true;
                    }
                    next.push(parent);
                }
            }
        }
        false
    }

    fn parents(&self, of: &Uid) -> Vec<Uid> {
        let ours = self.ours.get(of).into_iter();
        ours.flat_map(Entity::parents).cloned().collect()
    }

    fn slice(&self, _: &[Uid]) -> Option<Vec<cedar_policy::Entity>> {
        Some(self.cedar.clone())
    }
}

impl Ground {
    /// Whether an entity is none of the schema's own, like an action or a role.
    fn is_open(&self, uid: &EntityUid) -> bool {
        let kind = uid.type_name().to_string();
        !is_action(&kind) && !self.compiled.vocabulary().is_closed(&Type::named(&kind))
    }

    /// Whether an entity could be called otherwise, and nothing would be answered otherwise.
    fn may_be_renamed(&self, kind: &str, id: &str) -> bool {
        id != LINKED
            && !is_action(kind)
            && !self.compiled.vocabulary().is_closed(&Type::named(kind))
            && !self.names(kind, id)
    }
}

/// Whether a type is one of actions, which no type of entities may be called.
pub(super) fn is_action(kind: &str) -> bool {
    kind == "Action" || kind.ends_with("::Action")
}

/// What a version of policies answers to an example, and by which policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Which version: `policies` where there is one alone, else `active` or `draft`.
    pub version: &'static str,
    /// Whether it allows it.
    pub allowed: bool,
    /// The policies that do, or that refuse it; none where nothing permits it.
    pub by: Vec<String>,
}

impl Decided {
    pub(super) fn of(version: &'static str, said: &Said) -> Self {
        let by = if said.allowed {
            &said.permits
        } else if said.forbids.is_empty() {
            &said.erred
        } else {
            &said.forbids
        };
        let mut by = by.clone();
        by.sort();
        Self {
            version,
            allowed: said.allowed,
            by,
        }
    }
}

/// An example that the engine has confirmed: a question in Cedar's JSON, with the entities that matter to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// `principal`, `action`, `resource`, `context` and `entities`.
    pub question: Json,
    /// What it is answered.
    pub decided: Vec<Decided>,
}

impl Example {
    /// It as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let decided = self
            .decided
            .iter()
            .map(|one| json!({"version": one.version, "allowed": one.allowed, "by": one.by}));
        json!({"question": self.question, "decided": decided.collect::<Vec<_>>()})
    }

    /// It in a few lines.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let part = |name: &str| self.question.get(name).map(uid_words).unwrap_or_default();
        let mut lines = vec![format!(
            "{} asks for {} of {}",
            part("principal"),
            part("action"),
            part("resource")
        )];
        if let Some(context) = self.question.get("context") {
            lines.push(format!("  context {}", value_words(context)));
        }
        let entities = self.question.get("entities").and_then(Json::as_array);
        for entity in entities.into_iter().flatten() {
            let uid = entity.get("uid").map(uid_words).unwrap_or_default();
            let parents = entity.get("parents").and_then(Json::as_array);
            let parents: Vec<String> = parents.into_iter().flatten().map(uid_words).collect();
            let within = match parents.is_empty() {
                true => String::new(),
                false => format!(" in {}", parents.join(", ")),
            };
            let attributes = entity.get("attrs").map(value_words).unwrap_or_default();
            lines.push(format!("  {uid}{within} {attributes}"));
        }
        for one in &self.decided {
            let answer = if one.allowed { "allowed" } else { "refused" };
            let by = match one.by.is_empty() {
                true => "nothing permits it".to_owned(),
                false => format!("by {}", one.by.join(", ")),
            };
            let version = match one.version {
                "policies" => String::new(),
                version => format!("{version}: "),
            };
            lines.push(format!("  {version}{answer}, {by}"));
        }
        lines
    }
}

/// An entity as people read it: ours without their namespace.
fn uid_words(json: &Json) -> String {
    named(json).map_or_else(String::new, |(kind, id)| {
        let bare = kind.strip_prefix("Cedarkeep::").unwrap_or(kind);
        format!("{bare}::{id:?}")
    })
}

fn value_words(json: &Json) -> String {
    let record = |members: &Map<String, Json>| {
        let members = members
            .iter()
            .map(|(name, value)| format!("{name}: {}", value_words(value)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
    };
    match json {
        Json::Object(members) => match (members.get("__entity"), members.get("__extn")) {
            (Some(uid), _) => uid_words(uid),
            (None, Some(call)) => match (call.get("fn").and_then(Json::as_str), call.get("arg")) {
                (Some(function), Some(arg)) => format!("{function}({arg})"),
                _ => call.to_string(),
            },
            (None, None) => record(members),
        },
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(value_words).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}
