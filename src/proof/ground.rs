//! What a proof is about: the policies of one version, by what their scopes can match, and the request environments of its schema.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Effect, EntityId, EntityTypeName, EntityUid, Policy, PolicyId,
    PrincipalConstraint, RequestEnv, ResourceConstraint, Template,
};
use cedar_policy_symcc::CompiledSchema;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::ProofError;
use super::scene::named;
use crate::policy::{Action, Compiled, CompiledLink, Library, Link, Uid};

/// The id of what a representative link is for, and of what it opens.
pub(super) const LINKED: &str = "Linked";

/// What of a policy a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// That it matches.
    Matches,
    /// That its scope fits and its conditions come to something, whatever that is.
    Evaluates,
    /// That its scope fits.
    Fits,
}

impl Form {
    const ALL: usize = 3;

    const fn number(self) -> usize {
        match self {
            Self::Matches => 0,
            Self::Evaluates => 1,
            Self::Fits => 2,
        }
    }
}

/// A static policy, ready to be asked about.
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    pub(super) effect: Effect,
    policy: Policy,
    principal: PrincipalConstraint,
    action: ActionConstraint,
    resource: ResourceConstraint,
    read: OnceCell<Read>,
    /// Its forms, as permits and as forbids.
    forms: [[OnceCell<Option<Policy>>; Form::ALL]; 2],
}

/// A policy in Cedar's JSON form, and what can be seen in it.
struct Read {
    /// Nothing where Cedar cannot say it.
    json: Option<Json>,
    may_err: bool,
    names: usize,
    meaning: [u8; 32],
}

impl Rule {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            id: AsRef::<str>::as_ref(policy.id()).into(),
            effect: policy.effect(),
            principal: policy.principal_constraint(),
            action: policy.action_constraint(),
            resource: policy.resource_constraint(),
            policy: policy.clone(),
            read: OnceCell::new(),
            forms: Default::default(),
        }
    }

    fn read(&self) -> &Read {
        self.read.get_or_init(|| {
            let json = self.policy.to_json().ok();
            Read {
                may_err: json.as_ref().is_none_or(can_err),
                names: json.as_ref().map_or(0, names),
                meaning: meaning(json.as_ref()),
                json,
            }
        })
    }

    /// It in Cedar's JSON form; nothing where Cedar cannot say it.
    pub(super) fn json(&self) -> Option<&Json> {
        self.read().json.as_ref()
    }

    /// Whether it can err at all on what the schema allows.
    pub(super) fn may_err(&self) -> bool {
        self.read().may_err
    }

    /// How many entities and attributes it names: what makes a question hard.
    pub(super) fn names(&self) -> usize {
        self.read().names
    }

    /// What it says, whatever it is called: the same for policies that differ in annotations alone.
    pub(super) fn meaning(&self) -> [u8; 32] {
        self.read().meaning
    }

    /// A policy of this effect that matches where this holds of it; nothing where Cedar cannot say so.
    pub(super) fn form(&self, form: Form, effect: Effect) -> Option<&Policy> {
        let (side, word) = match effect {
            Effect::Permit => (0, "permit"),
            Effect::Forbid => (1, "forbid"),
        };
        let cell = self.forms.get(side)?.get(form.number())?;
        let make = || {
            let mut json = self.json()?.clone();
            let members = json.as_object_mut()?;
            members.insert("effect".to_owned(), json!(word));
            match form {
                Form::Matches => {}
                // Its own scope stands before it, so that it matches where that fits alone.
                Form::Evaluates => {
                    let body = self.evaluated()?;
                    let conditions = json!([{"kind": "when", "body": body}]);
                    members.insert("conditions".to_owned(), conditions);
                }
                Form::Fits => {
                    members.insert("conditions".to_owned(), json!([]));
                }
            }
            Policy::from_json(Some(PolicyId::new("form")), json).ok()
        };
        cell.get_or_init(make).as_ref()
    }

    /// An expression that is true where the policy comes to something, and errs where it does.
    pub(super) fn evaluated(&self) -> Option<Json> {
        let json = self.json()?;
        let mut whole = json!({"Value": true});
        for condition in json.get("conditions")?.as_array()?.iter().rev() {
            let body = condition.get("body")?.clone();
            let holds = match condition.get("kind")?.as_str()? {
                "unless" => json!({"!": {"arg": body}}),
                _ => body,
            };
            whole = json!({"&&": {"left": holds, "right": whole}});
        }
        for part in ["resource", "action", "principal"] {
            if let Some(fits) = scope(part, json.get(part)?)? {
                whole = json!({"&&": {"left": fits, "right": whole}});
            }
        }
        Some(json!({"||": {"left": whole, "right": {"Value": true}}}))
    }

    /// Such a permit with another condition beside its own.
    pub(super) fn permit_where(&self, form: Form, body: &Json) -> Option<Policy> {
        let mut json = self.form(form, Effect::Permit)?.to_json().ok()?;
        let conditions = json.get_mut("conditions")?.as_array_mut()?;
        conditions.push(json!({"kind": "when", "body": body}));
        Policy::from_json(Some(PolicyId::new("form")), json).ok()
    }

    /// Whether its scope can match in this environment.
    pub(super) fn is_for(&self, at: &Environment) -> bool {
        let principal = match &self.principal {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) => {
                kind == at.principal()
            }
            PrincipalConstraint::Eq(uid) => uid.type_name() == at.principal(),
            PrincipalConstraint::In(uid) => at.principal_in.contains(uid.type_name()),
        };
        let resource = match &self.resource {
            ResourceConstraint::Any => true,
            ResourceConstraint::Is(kind) | ResourceConstraint::IsIn(kind, _) => {
                kind == at.resource()
            }
            ResourceConstraint::Eq(uid) => uid.type_name() == at.resource(),
            ResourceConstraint::In(uid) => at.resource_in.contains(uid.type_name()),
        };
        principal
            && resource
            && match &self.action {
                ActionConstraint::Any => true,
                ActionConstraint::Eq(uid) => uid == at.request.action(),
                ActionConstraint::In(uids) => uids.iter().any(|uid| at.action_in.contains(uid)),
            }
    }
}

fn meaning(json: Option<&Json>) -> [u8; 32] {
    let mut json = json.cloned().unwrap_or_default();
    if let Some(members) = json.as_object_mut() {
        members.remove("annotations");
    }
    Sha256::digest(json.to_string()).into()
}

/// A part of a scope as an expression; nothing within where it fits everything.
fn scope(part: &str, constraint: &Json) -> Option<Option<Json>> {
    let asked = json!({"Var": part});
    let value = |uid: &Json| json!({"Value": {"__entity": uid}});
    Some(match constraint.get("op")?.as_str()? {
        "All" => None,
        "is" => {
            let mut is = json!({"left": asked, "entity_type": constraint.get("entity_type")?});
            if let Some(within) = constraint.get("in") {
                let members = is.as_object_mut()?;
                members.insert("in".to_owned(), value(within.get("entity")?));
            }
            Some(json!({"is": is}))
        }
        operator => {
            let right = match (constraint.get("entity"), constraint.get("entities")) {
                (Some(uid), _) => value(uid),
                (None, Some(uids)) => {
                    let uids: Vec<Json> = uids.as_array()?.iter().map(value).collect();
                    json!({"Set": uids})
                }
                (None, None) => return None,
            };
            let mut one = serde_json::Map::new();
            one.insert(operator.to_owned(), json!({"left": asked, "right": right}));
            Some(Json::Object(one))
        }
    })
}

/// What of a strictly valid policy can err where every entity exists: numbers and times that run over.
fn can_err(json: &Json) -> bool {
    const ERRING: &[&str] = &["+", "-", "*", "neg", "offset", "durationSince", "toDate"];
    any_member(json, &|name| ERRING.contains(&name))
}

fn any_member(json: &Json, is: &dyn Fn(&str) -> bool) -> bool {
    match json {
        Json::Object(members) => members
            .iter()
            .any(|(name, value)| is(name) || any_member(value, is)),
        Json::Array(items) => items.iter().any(|item| any_member(item, is)),
        _ => false,
    }
}

/// How many entities a policy names or reaches.
fn names(json: &Json) -> usize {
    match json {
        Json::Object(members) => members
            .iter()
            .map(|(name, value)| usize::from(name == "__entity" || name == ".") + names(value))
            .sum(),
        Json::Array(items) => items.iter().map(names).sum(),
        _ => 0,
    }
}

/// A type of principals, an action and a type of resources that the schema puts together.
pub(super) struct Environment {
    pub(super) request: RequestEnv,
    pub(super) action: Arc<Action>,
    principal_in: HashSet<EntityTypeName>,
    resource_in: HashSet<EntityTypeName>,
    action_in: HashSet<EntityUid>,
    /// A link of each template that can open something here, as the solver takes it and as the engine does.
    linked: Vec<Rc<Rule>>,
    pub(super) links: Vec<CompiledLink>,
}

impl Environment {
    pub(super) fn principal(&self) -> &EntityTypeName {
        self.request.principal()
    }

    pub(super) fn resource(&self) -> &EntityTypeName {
        self.request.resource()
    }

    /// Whether own permits count.
    pub(super) fn own_permits_count(&self) -> bool {
        !self.action.is_in("private")
    }

    pub(super) fn name(&self) -> Place {
        Place {
            principal: self.principal().to_string(),
            action: self.action.name().to_owned(),
            resource: self.resource().to_string(),
        }
    }
}

/// A request environment, by its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The action's name.
    pub action: String,
    /// The type of whoever asks.
    pub principal: String,
    /// The type of what it is about.
    pub resource: String,
}

impl Place {
    /// It as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({"principal": self.principal, "action": self.action, "resource": self.resource})
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |name: &str| name.strip_prefix("Cedarkeep::").unwrap_or(name).to_owned();
        write!(
            f,
            "{} of a {} by a {}",
            self.action,
            bare(&self.resource),
            bare(&self.principal)
        )
    }
}

/// One version of policies, and where they can be asked about.
pub(super) struct Ground {
    pub(super) compiled: Arc<Compiled>,
    pub(super) schema: CompiledSchema,
    pub(super) environments: BTreeMap<Place, Environment>,
    /// A permit of everything: more than whatever an organization permits.
    pub(super) everything: Rule,
    /// The entities that some policy names.
    names: OnceCell<HashSet<(String, String)>>,
    builtin: Vec<Rule>,
    own: Vec<Rule>,
    by_id: HashMap<Arc<str>, usize>,
}

impl Ground {
    /// # Errors
    /// `Schema`.
    pub(super) fn new(compiled: &Arc<Compiled>) -> Result<Self, ProofError> {
        let schema = compiled.schema();
        let symbols =
            CompiledSchema::new(schema).map_err(|error| ProofError::Schema(error.to_string()))?;
        let everything = "permit(principal, action, resource);".parse();
        let everything: Policy = everything
            .map_err(|error: cedar_policy::ParseErrors| ProofError::Schema(error.to_string()))?;
        let builtin: Vec<Rule> = compiled.library().policies().map(Rule::new).collect();
        let own: Vec<Rule> = compiled.own_policies().map(Rule::new).collect();
        let by_id = own.iter().enumerate();
        let by_id = by_id.map(|(at, rule)| (Arc::clone(&rule.id), at)).collect();
        let mut made = Links::new();
        let environments = schema
            .request_envs()
            .filter_map(|request| environment(compiled, request, &mut made))
            .map(|at| (at.name(), at))
            .collect();
        Ok(Self {
            compiled: Arc::clone(compiled),
            schema: symbols,
            environments,
            names: OnceCell::new(),
            everything: Rule::new(&everything),
            builtin,
            own,
            by_id,
        })
    }

    /// Whether some policy names this entity.
    pub(super) fn names(&self, kind: &str, id: &str) -> bool {
        let make = || mentioned(self.builtin.iter().chain(&self.own));
        let names = self.names.get_or_init(make);
        names.contains(&(kind.to_owned(), id.to_owned()))
    }

    /// Lets each of both know what the other names.
    pub(super) fn share_names(&mut self, other: &mut Self) {
        let all = self.builtin.iter().chain(&self.own);
        let names = mentioned(all.chain(&other.builtin).chain(&other.own));
        self.names = names.clone().into();
        other.names = names.into();
    }

    /// An own policy.
    pub(super) fn own(&self, id: &str) -> Option<&Rule> {
        self.own.get(*self.by_id.get(id)?)
    }

    /// A policy, own or built in.
    pub(super) fn rule(&self, id: &str) -> Option<&Rule> {
        let builtin = || self.builtin.iter().find(|rule| *rule.id == *id);
        self.own(id).or_else(builtin)
    }

    /// All own policies, in the order of their files.
    pub(super) fn all_own(&self) -> &[Rule] {
        &self.own
    }

    /// All built-in policies, in the order of their files.
    pub(super) fn all_builtin(&self) -> &[Rule] {
        &self.builtin
    }

    /// The built-in policies that can match in an environment, and a link of each template.
    pub(super) fn builtin_at<'a>(&'a self, at: &'a Environment) -> Field<'a> {
        let mut field = Field::default();
        for rule in self.builtin.iter().filter(|rule| rule.is_for(at)) {
            match rule.effect {
                Effect::Permit => field.permits.push(rule),
                Effect::Forbid => field.forbids.push(rule),
            }
        }
        field.permits.extend(at.linked.iter().map(Rc::as_ref));
        field
    }

    /// The own policies that can match in an environment, and count there.
    pub(super) fn own_at<'a>(&'a self, at: &Environment) -> Field<'a> {
        let mut field = Field::default();
        for rule in self.own.iter().filter(|rule| rule.is_for(at)) {
            match rule.effect {
                Effect::Permit if at.own_permits_count() => field.permits.push(rule),
                Effect::Permit => {}
                Effect::Forbid => field.forbids.push(rule),
            }
        }
        field
    }
}

/// The entities that these name, and those of a representative link.
fn mentioned<'a>(rules: impl Iterator<Item = &'a Rule>) -> HashSet<(String, String)> {
    fn each(json: &Json, found: &mut HashSet<(String, String)>) {
        if let Some((kind, id)) = named(json) {
            found.insert((kind.to_owned(), id.to_owned()));
            return;
        }
        match json {
            Json::Object(members) => members.values().for_each(|value| each(value, found)),
            Json::Array(items) => items.iter().for_each(|item| each(item, found)),
            _ => {}
        }
    }
    let mut found = HashSet::new();
    for rule in rules {
        if let Some(json) = rule.json() {
            each(json, &mut found);
        }
    }
    found
}

/// The policies that can match in one environment, and count there.
#[derive(Default)]
pub(super) struct Field<'a> {
    pub(super) permits: Vec<&'a Rule>,
    pub(super) forbids: Vec<&'a Rule>,
}

/// Representatives of templates that were made, by template and types.
type Links = HashMap<(String, EntityTypeName, EntityTypeName), Option<Rc<Rule>>>;

fn environment(compiled: &Compiled, request: RequestEnv, made: &mut Links) -> Option<Environment> {
    let schema = compiled.schema();
    let vocabulary = compiled.vocabulary();
    let action = Arc::clone(vocabulary.action(request.action().id().unescaped())?);
    let within = |kind: &EntityTypeName| -> HashSet<EntityTypeName> {
        let above = schema.ancestors(kind).into_iter().flatten().cloned();
        above.chain([kind.clone()]).collect()
    };
    let above = vocabulary.above_action(action.uid()).into_iter().flatten();
    let action_in = above
        .filter_map(Uid::to_cedar)
        .chain([request.action().clone()])
        .collect();
    let mut at = Environment {
        principal_in: within(request.principal()),
        resource_in: within(request.resource()),
        action_in,
        request,
        action,
        linked: Vec::new(),
        links: Vec::new(),
    };
    (at.linked, at.links) = links(compiled.library(), &at, made).into_iter().unzip();
    Some(at)
}

/// A link of each template that can open something in an environment: for a group or an agent's definition that whoever
/// asks may be in, and for what the resource is or hangs from.
fn links(library: &Library, at: &Environment, made: &mut Links) -> Vec<(Rc<Rule>, CompiledLink)> {
    // A group stands for a person, too: a share with somebody is one with a group of their own.
    let mut principals: Vec<_> = at.principal_in.iter().collect();
    principals.sort_by_key(|kind| (*kind == at.principal(), kind.to_string()));
    let mut resources: Vec<_> = at.resource_in.iter().collect();
    resources.sort_by_key(|kind| (*kind != at.resource(), kind.to_string()));
    let mut links = Vec::new();
    for template in library.templates() {
        let fits = match template.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => uid == *at.request.action(),
            ActionConstraint::In(uids) => uids.iter().any(|uid| at.action_in.contains(uid)),
        };
        let both = principals.iter().flat_map(|principal| {
            resources
                .iter()
                .map(move |resource| (*principal, *resource))
        });
        for both in both.filter(|_| fits) {
            let Some(link) = link(library, template, both) else {
                continue;
            };
            let key = (template.id().to_string(), both.0.clone(), both.1.clone());
            let rule = made.entry(key);
            let rule = rule.or_insert_with(|| linked(template, both).map(Rc::new));
            links.extend(rule.clone().map(|rule| (rule, link)));
            break;
        }
    }
    links.sort_by(|(one, _), (other, _)| one.id.cmp(&other.id));
    links
}

fn representative(kind: &EntityTypeName) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(LINKED))
}

/// The link as the engine takes it; nothing where the template is not for these types.
fn link(
    library: &Library,
    template: &Template,
    (principal, resource): (&EntityTypeName, &EntityTypeName),
) -> Option<CompiledLink> {
    let link = library.link(Link {
        id: LINKED.to_owned(),
        template: template.id().to_string().into(),
        principal: Uid::from(&representative(principal)),
        resource: Uid::from(&representative(resource)),
        expires_at: None,
    });
    link.ok()
}

/// The same link as a policy that the solver takes.
fn linked(
    template: &Template,
    (principal, resource): (&EntityTypeName, &EntityTypeName),
) -> Option<Rule> {
    let mut json = template.to_json().ok()?;
    for (part, kind) in [("principal", principal), ("resource", resource)] {
        let scope = json.get_mut(part)?.as_object_mut()?;
        if scope.remove("slot").is_some() {
            let entity = json!({"type": kind.to_string(), "id": LINKED});
            scope.insert("entity".to_owned(), entity);
        }
    }
    let policy = Policy::from_json(Some(template.id().clone()), json).ok()?;
    Some(Rule::new(&policy))
}
