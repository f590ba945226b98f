//! An example of the solver's: a question with its entities, asked of the engine that answers questions, and shown to people.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Authorizer, Decision, Effect, Entities, PolicySet, Request};
use cedar_policy_symcc::Env;
use serde_json::{Value as Json, json};

use super::ground::{Environment, Form, Ground, Rule};
use crate::policy::{Attribute, Entity, Evaluation, Uid, Verdict, View};

/// How far attributes are followed to find the entities that matter: farther than a policy may look.
const REACH: usize = 4;

/// A question that the solver came upon.
pub(super) struct Scene {
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
}

impl Scene {
    /// The example as the engine takes it; nothing where it has no word for a value.
    pub(super) fn of(ground: &Ground, found: &Env) -> Option<Self> {
        let actions: BTreeSet<String> = ground
            .compiled
            .vocabulary()
            .action_entities()
            .iter()
            .map(|action| action.uid().to_string())
            .collect();
        let mut scene = Self {
            request: found.request.clone(),
            cedar: Vec::new(),
            ours: BTreeMap::new(),
        };
        for entity in found.entities.iter() {
            if actions.contains(&entity.uid().to_string()) {
                continue;
            }
            let ours = Entity::from_cedar(entity, |name| name.into())?;
            scene.cedar.push(entity.clone());
            scene.ours.insert(ours.uid().clone(), ours);
        }
        Some(scene)
    }

    /// What a version says to it; nothing where the version has no such question.
    pub(super) fn put_to(&self, ground: &Ground, at: &Environment) -> Option<Said> {
        let compiled = &ground.compiled;
        let question = compiled.vocabulary().asked(&self.request)?;
        let mut said = Said::nothing();
        let verdict = Verdict::of(compiled, &at.links, self, &question);
        said.permits
            .extend(verdict.permits.iter().map(|one| one.id.to_string()));
        said.forbids
            .extend(verdict.forbids.iter().map(|one| one.id.to_string()));
        said.erred
            .extend(verdict.failures.iter().map(|one| one.id.clone()));
        said.allowed = Evaluation::is_allowed(&verdict.conclude());
        Some(said)
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

    /// The example for people and programs, with the policies that decide it.
    pub(super) fn shown(&self, decided: Vec<Decided>) -> Example {
        let uid = |uid: Option<&cedar_policy::EntityUid>| {
            uid.map_or(
                Json::Null,
                |uid| json!({"type": uid.type_name().to_string(), "id": uid.id().unescaped()}),
            )
        };
        let context = self.request.context();
        let context = context.and_then(|context| context.to_json_value().ok());
        let matter = self.matter();
        let entities = self.cedar.iter().filter(|entity| {
            let uid = Uid::from(&entity.uid());
            matter.contains(&uid)
        });
        let mut entities: Vec<Json> = entities
            .filter_map(|entity| entity.to_json_value().ok())
            .collect();
        entities.sort_by_key(|entity| entity.get("uid").map(Json::to_string));
        Example {
            question: json!({
                "principal": uid(self.request.principal()),
                "action": uid(self.request.action()),
                "resource": uid(self.request.resource()),
                "context": context.unwrap_or(Json::Null),
                "entities": entities,
            }),
            decided,
        }
    }

    /// The entities that the question reaches.
    fn matter(&self) -> BTreeSet<Uid> {
        let mut next: Vec<Uid> = [self.request.principal(), self.request.resource()]
            .into_iter()
            .flatten()
            .map(Uid::from)
            .collect();
        if let Some(context) = self.request.context() {
            let named = context.to_json_value().unwrap_or_default();
            each_uid(&named, &mut |uid| next.push(uid));
        }
        let mut found = BTreeSet::new();
        for _ in 0..REACH {
            for uid in std::mem::take(&mut next) {
                if let Some(entity) = self.ours.get(&uid)
                    && found.insert(uid)
                {
                    next.extend(entity.points_to());
                    next.extend(entity.parents().iter().cloned());
                }
            }
        }
        found
    }
}

/// The entities that a value in Cedar's JSON names.
fn each_uid(json: &Json, each: &mut impl FnMut(Uid)) {
    match json {
        Json::Object(members) => {
            if let Some(named) = members.get("__entity") {
                let text = |name: &str| named.get(name).and_then(Json::as_str);
                if let (Some(kind), Some(id)) = (text("type"), text("id")) {
                    each(Uid::new(crate::policy::Type::named(kind), id));
                }
                return;
            }
            for value in members.values() {
                each_uid(value, each);
            }
        }
        Json::Array(items) => {
            for item in items {
                each_uid(item, each);
            }
        }
        _ => {}
    }
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
    pub(super) fn of(version: &'static str, said: Option<&Said>) -> Self {
        let Some(said) = said else {
            return Self {
                version,
                allowed: false,
                by: Vec::new(),
            };
        };
        let mut by = if said.allowed {
            said.permits.clone()
        } else if said.forbids.is_empty() {
            said.erred.clone()
        } else {
            said.forbids.clone()
        };
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
        let uid = |name: &str| {
            let text = |part: &str| {
                let found = self.question.get(name).and_then(|one| one.get(part));
                found.and_then(Json::as_str).unwrap_or_default().to_owned()
            };
            format!("{}::{:?}", text("type"), text("id"))
        };
        let asked = format!(
            "{} asks for {} of {}",
            uid("principal"),
            uid("action"),
            uid("resource")
        );
        let mut lines = vec![asked];
        if let Some(context) = self.question.get("context") {
            lines.push(format!("  context {context}"));
        }
        let entities = self.question.get("entities").and_then(Json::as_array);
        for entity in entities.into_iter().flatten() {
            let part = |name: &str| entity.get(name).cloned().unwrap_or_default();
            let uid = part("uid");
            let text = |part: &str| uid.get(part).and_then(Json::as_str).unwrap_or_default();
            let parents: Vec<String> = part("parents")
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| {
                    let text = |part: &str| one.get(part).and_then(Json::as_str);
                    let (kind, id) = (text("type"), text("id"));
                    format!("{}::{:?}", kind.unwrap_or_default(), id.unwrap_or_default())
                })
                .collect();
            let within = match parents.is_empty() {
                true => String::new(),
                false => format!(" in {}", parents.join(", ")),
            };
            lines.push(format!(
                "  {}::{:?}{within} {}",
                text("type"),
                text("id"),
                part("attrs")
            ));
        }
        for one in &self.decided {
            let answer = if one.allowed { "allowed" } else { "refused" };
            let by = match (one.by.is_empty(), one.allowed) {
                (true, _) => "nothing permits it".to_owned(),
                (false, _) => format!("by {}", one.by.join(", ")),
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
