//! The world that a row of the matrix asks about: one organization with a resource and somebody, placed as it says.
//!
//! `pat` is the one who asks, or whom the agent or the key acts for. A row asks about one principal: the half of an
//! agent or a key alone, since the door asks about each half by itself and wants both.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use cedar_policy::{Entity, EntityUid};
use cedarkeep::policy::{
    Compiled, CompiledLink, Evaluation, Facts, Library, Link, Question, Refusal, Said, SignedIn,
    Uid, evaluate,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::slice::Slice;

pub static LIBRARY: LazyLock<Arc<Library>> =
    LazyLock::new(|| Arc::new(Library::builtin().unwrap_or_else(|error| panic!("{error}"))));

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/permissions.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().enumerate().skip(1);
    rows.map(|(at, line)| Row::parse(at + 1, line)).collect()
});

/// Every row of `tests/cases/permissions.csv`.
pub fn rows() -> &'static [Row] {
    &ROWS
}

/// One question, and the answer that the permissions page gives.
#[derive(Debug, Clone)]
pub struct Row {
    pub line: usize,
    pub principal: String,
    pub relation: String,
    pub action: String,
    pub resource: String,
    pub plan: String,
    pub extra: HashMap<String, String>,
    pub decision: String,
    pub kind: String,
    pub guardrail: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            principal,
            relation,
            action,
            resource,
            plan,
            guardrail,
            ..
        } = self;
        write!(
            f,
            "line {line}: {principal} ({relation}) {action} {resource} {plan} "
        )?;
        write!(f, "{:?} guardrail `{guardrail}`", self.extra)
    }
}

impl Row {
    fn parse(line: usize, text: &str) -> Self {
        let columns: Vec<&str> = text.split(',').collect();
        let [
            principal,
            relation,
            action,
            resource,
            plan,
            extra,
            decision,
            kind,
            guardrail,
        ] = columns[..]
        else {
            panic!("line {line} has {} columns", columns.len());
        };
        let extra = extra.split(';').filter(|one| !one.is_empty());
        Self {
            line,
            principal: principal.to_owned(),
            relation: relation.to_owned(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            plan: plan.to_owned(),
            extra: extra
                .map(|one| one.split_once('=').unwrap_or((one, "")))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            decision: decision.to_owned(),
            kind: kind.to_owned(),
            guardrail: guardrail.to_owned(),
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.extra.contains_key(key)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.extra.get(key).map(String::as_str)
    }

    fn is_user(&self) -> bool {
        self.principal_type() == "User"
    }

    /// The type of the one who asks.
    pub fn principal_type(&self) -> &str {
        match self.principal.split(':').next().unwrap() {
            "Agent" => "Agent",
            "Service" => "Service",
            _ => "User",
        }
    }

    /// What the row expects, as [`answer`] writes an evaluation.
    pub fn expected(&self) -> String {
        match self.kind.as_str() {
            "" => self.decision.clone(),
            kind => format!("{} {kind}", self.decision),
        }
    }
}

/// An evaluation in the words of the matrix.
pub fn answer(evaluation: &Evaluation) -> &'static str {
    match evaluation.refusal {
        None => "allow",
        Some(Refusal::Forbidden) => "deny forbidden",
        Some(Refusal::NotPermitted) => "deny not_permitted",
        Some(Refusal::PlanRequired(_)) => "deny plan_required",
        Some(Refusal::Error) => "deny error",
    }
}

/// A row as the engine takes it.
pub struct Case {
    pub row: &'static Row,
    pub question: Question,
    pub links: Vec<CompiledLink>,
    pub slice: Vec<Entity>,
}

/// What `look` says about the rows that it says something about, on all processors.
pub fn about_each_row(look: impl Fn(&Case) -> Option<String> + Sync) -> Vec<String> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = rows().len().div_ceil(processors);
    std::thread::scope(|scope| {
        let look = &look;
        let some = |rows: &'static [Row]| {
            let said = rows.iter().filter_map(|row| look(&Case::new(row)));
            said.collect::<Vec<_>>()
        };
        let threads = rows()
            .chunks(share)
            .map(|rows| scope.spawn(move || some(rows)));
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

pub fn uid(kind: &str, id: &str) -> EntityUid {
    format!("Cedarkeep::{kind}::\"{id}\"").parse().unwrap()
}

/// The same as the engine names it.
pub fn named(kind: &str, id: &str) -> Uid {
    Uid::from(&uid(kind, id))
}

impl Case {
    /// What the policies say, with other links than its own.
    pub fn evaluate_with(&self, compiled: &Compiled, links: &[CompiledLink]) -> Evaluation {
        evaluate(compiled, links, &Slice::of(&self.slice), &self.question)
    }

    /// What the policies say.
    pub fn evaluate(&self, compiled: &Compiled) -> Evaluation {
        self.evaluate_with(compiled, &self.links)
    }

    pub fn new(row: &'static Row) -> Self {
        let vocabulary = LIBRARY.vocabulary();
        let action = vocabulary
            .action(&row.action)
            .unwrap_or_else(|| panic!("line {}: no action {}", row.line, row.action));
        let acts_for = !row.is_user() && row.get("acts_for") != Some("none");
        let facts = Facts {
            now: now(),
            region: row.get("region").unwrap_or("eu").to_owned(),
            session: row.get("session").map(|method| SignedIn {
                method: method.to_owned(),
                break_glass: row.has("break_glass"),
            }),
            acts_for: acts_for.then(|| named("User", "pat")),
        };
        let context = said(row);
        let said = Said {
            context: &context,
            action: &Map::new(),
        };
        let parts = ((&principal(row)).into(), action, (&resource(row)).into());
        let question = vocabulary
            .question(parts, said, &facts)
            .unwrap_or_else(|error| panic!("line {}: {error}", row.line));
        Self {
            row,
            question,
            links: link(row).into_iter().collect(),
            slice: entities(row),
        }
    }
}

fn said(row: &Row) -> Map<String, Value> {
    let mut context = Map::new();
    for key in ["purpose", "new_role", "protocol"] {
        if let Some(value) = row.get(key) {
            context.insert(key.to_owned(), json!(value));
        }
    }
    for key in [
        "new_owner",
        "grantee",
        "grantee_group",
        "grantee_agent",
        "new_audience",
        "new_team",
        "new_project",
    ] {
        if let Some(value) = row.get(key) {
            context.insert(key.to_owned(), json!(format!("{value}-{key}")));
        }
    }
    context
}

fn principal(row: &Row) -> EntityUid {
    if row.is_user() {
        uid("User", "pat")
    } else if row.principal == "Agent" {
        uid("Agent", "bot")
    } else {
        uid("Service", "key")
    }
}

fn resource(row: &Row) -> EntityUid {
    match row.resource.split('/').next().unwrap() {
        "Organization" => uid("Organization", "acme"),
        "Team" => uid("Team", "core"),
        "Project" => uid("Project", "apollo"),
        "User" if row.relation == "self" => uid("User", "pat"),
        kind => uid(kind, "it"),
    }
}

/// The row's link. What has a thread is reached through it.
fn link(row: &Row) -> Option<CompiledLink> {
    let name = row.relation.strip_suffix("-link")?;
    let (how, level) = name.split_once('-').unwrap_or(("", name));
    let template = match level {
        "auditor" => "auditor".to_owned(),
        level => format!("share-{level}"),
    };
    let principal = match how {
        "group" => uid("Group", "crew"),
        "olive" => uid("User", "olive"),
        "user" => uid("User", "pat"),
        _ if row.principal == "Agent" && level != "auditor" => uid("AgentDefinition", "helper"),
        _ => uid("User", "pat"),
    };
    let resource = match (how, row.resource.as_str()) {
        ("elsewhere", "AuditLog") => uid("AuditLog", "elsewhere"),
        ("elsewhere", _) => uid("Thread", "elsewhere"),
        (_, "Document/thread" | "Memory/thread") => uid("Thread", "talk"),
        (_, "AgentRun") => uid("AgentDefinition", "helper"),
        _ => resource(row),
    };
    let link = Link {
        id: "link-1".to_owned(),
        template: template.into(),
        principal: (&principal).into(),
        resource: (&resource).into(),
        expires_at: (how == "expired").then(now),
    };
    Some(LIBRARY.link(link).unwrap())
}

fn role(row: &Row) -> &str {
    if row.is_user() {
        &row.principal
    } else {
        row.get("acts_for_role").unwrap_or("Member")
    }
}

/// What is the same in every row.
static ALWAYS: LazyLock<Vec<Entity>> = LazyLock::new(|| {
    let group = |id| entity("Group", id, json!({"org": "acme"}), vec![]);
    let groups = [
        "everyone",
        "crew",
        "core-members",
        "core-leads",
        "apollo-members",
        "apollo-leads",
    ];
    let olive = json!({"org": "acme", "role": "Member", "active": true, "holds": 0});
    let helper = json!({"org": "acme", "owner": "olive", "holds": 0});
    let people = [
        entity("User", "olive", olive, vec![]),
        entity("AgentDefinition", "helper", helper.clone(), vec![]),
        entity("AgentDefinition", "another", helper, vec![]),
    ];
    groups.into_iter().map(group).chain(people).collect()
});

fn entities(row: &Row) -> Vec<Entity> {
    let held =
        |kind: &str| i64::from(row.has("holds") && row.resource.split('/').next() == Some(kind));
    let mut all = ALWAYS.clone();
    all.push(organization("acme", row, held("Organization")));
    if row.extra.values().any(|value| value == "other") {
        all.push(organization("globex", row, 0));
    }
    let mut add = |kind: &str, id: &str, attributes: Value, parents: Vec<Value>| {
        all.push(entity(kind, id, attributes, parents));
    };
    let acme = || json!("acme");
    add(
        "Team",
        "core",
        json!({"org": acme(), "members": "core-members", "leads": "core-leads", "holds": held("Team")}),
        vec![reference("Organization", "acme")],
    );
    add(
        "Project",
        "apollo",
        json!({"org": acme(), "members": "apollo-members", "leads": "apollo-leads", "holds": held("Project")}),
        vec![reference("Team", "core")],
    );
    let pat_elsewhere = if row.is_user() {
        row.get("home")
    } else {
        row.get("acts_for_home")
    };
    let home = |elsewhere: Option<&str>| {
        if elsewhere.is_some() {
            "globex"
        } else {
            "acme"
        }
    };
    add(
        "User",
        "pat",
        json!({"org": home(pat_elsewhere), "role": role(row), "active": !row.has("inactive"),
            "holds": i64::from(row.has("holds") && row.relation == "self")}),
        groups_of_pat(row),
    );
    let org = home(row.get("home"));
    if let Some(scopes) = row.principal.strip_prefix("Service:") {
        let scopes: Vec<&str> = scopes.split('+').collect();
        add(
            "Service",
            "key",
            json!({"org": org, "scopes": scopes}),
            vec![],
        );
    } else if row.principal == "Agent" {
        let definition = vec![reference("AgentDefinition", "helper")];
        add(
            "Agent",
            "bot",
            json!({"org": org, "definition": "helper"}),
            definition,
        );
    }
    for (org, named) in [("acme", "same"), ("globex", "other")] {
        if !row.extra.values().any(|value| value == named) {
            continue;
        }
        let user = json!({"org": org, "role": "Member", "active": true, "holds": 0});
        add("User", &format!("{named}-new_owner"), user.clone(), vec![]);
        add("User", &format!("{named}-grantee"), user, vec![]);
        for key in ["grantee_group", "new_audience"] {
            add(
                "Group",
                &format!("{named}-{key}"),
                json!({"org": org}),
                vec![],
            );
        }
        let made = json!({"org": org, "owner": "olive", "holds": 0});
        add(
            "AgentDefinition",
            &format!("{named}-grantee_agent"),
            made,
            vec![],
        );
        let place = json!({"org": org, "members": "everyone", "leads": "everyone", "holds": 0});
        add("Team", &format!("{named}-new_team"), place.clone(), vec![]);
        add("Project", &format!("{named}-new_project"), place, vec![]);
    }
    if let Some((_, kind)) = about(row) {
        let owner = match row.relation.as_str() {
            "holder" => "pat",
            _ => "olive",
        };
        let made = json!({"org": "acme", "owner": owner, "holds": 0});
        match kind {
            "AuditLog" => add(kind, "about", json!({"org": "acme"}), vec![]),
            kind => add(kind, "about", made, vec![reference("Project", "apollo")]),
        }
    } else if row.resource.ends_with("/thread") {
        add(
            "Thread",
            "talk",
            talk(row),
            vec![reference("Project", "apollo")],
        );
    }
    if let Some((kind, attributes, parents)) =
        it(row, held(row.resource.split('/').next().unwrap()))
    {
        add(kind, "it", attributes, parents);
    }
    all
}

/// What a request for access is about: the attribute that names it, and its type.
fn about(row: &Row) -> Option<(&str, &'static str)> {
    let name = row.resource.strip_prefix("AccessRequest/")?;
    let kind = match name {
        "thread" => "Thread",
        "prompt_template" => "PromptTemplate",
        "tool" => "Tool",
        "assistant" => "Assistant",
        "agent" => "AgentDefinition",
        _ => "AuditLog",
    };
    Some((name, kind))
}

fn talk(row: &Row) -> Value {
    let talk_owner = if row.relation == "thread-owner" {
        "pat"
    } else {
        "olive"
    };
    let mut talk = json!({"org": "acme", "owner": talk_owner, "holds": 0});
    if row.relation.starts_with("thread-") && row.relation != "thread-owner" {
        talk["audience"] = json!("crew");
    }
    talk
}

fn groups_of_pat(row: &Row) -> Vec<Value> {
    let containers = match row.resource.as_str() {
        "Organization" => ["everyone", "everyone"],
        "Team" | "Memory/team" => ["core-members", "core-leads"],
        _ => ["apollo-members", "apollo-leads"],
    };
    let groups: Vec<&str> = match row.relation.as_str() {
        "member" => vec![containers[0]],
        "lead" => containers.to_vec(),
        "up-member" => vec!["core-members", "core-leads"],
        "audience" | "thread-audience" => vec!["crew"],
        relation if relation.starts_with("group-") => vec!["crew"],
        _ => vec![],
    };
    groups
        .into_iter()
        .map(|id| reference("Group", id))
        .collect()
}

/// The resource, where it is none of the containers and not `pat`.
fn it(row: &Row, holds: i64) -> Option<(&str, Value, Vec<Value>)> {
    let (kind, layer) = row.resource.split_once('/').unwrap_or((&row.resource, ""));
    let owner = if row.relation == "owner" {
        "pat"
    } else {
        "olive"
    };
    let mut attributes = json!({"org": "acme"});
    let apollo = vec![reference("Project", "apollo")];
    let acme = vec![reference("Organization", "acme")];
    let parents = match kind {
        "Organization" | "Team" | "Project" => return None,
        "User" if row.relation == "self" => return None,
        "User" => {
            attributes["role"] = json!(row.get("target").unwrap_or("Member"));
            attributes["active"] = json!(!row.has("target_inactive"));
            attributes["holds"] = json!(holds);
            return Some((kind, attributes, vec![]));
        }
        "Group" => return Some((kind, attributes, vec![])),
        "AgentRun" => {
            attributes["owner"] = json!(owner);
            let definition = row.get("definition").unwrap_or("helper");
            attributes["definition"] = json!(definition);
            vec![reference("AgentDefinition", definition)]
        }
        "Session" => {
            attributes["owner"] = json!(owner);
            acme
        }
        "AccessRequest" => {
            attributes["owner"] = json!(owner);
            if let Some((name, kind)) = about(row) {
                attributes[name] = reference(kind, "about");
            }
            acme
        }
        "Integration" => {
            audience(row, &mut attributes);
            acme
        }
        "Memory" | "Document" => {
            attributes["owner"] = json!(owner);
            attributes["holds"] = json!(holds);
            if kind == "Memory" {
                attributes["layer"] = json!(layer);
            } else {
                audience(row, &mut attributes);
            }
            let (name, id, parents) = match layer {
                "thread" => ("thread", "talk", vec![reference("Thread", "talk")]),
                "project" => ("project", "apollo", apollo),
                "team" => ("team", "core", vec![reference("Team", "core")]),
                "personal" => return Some((kind, attributes, vec![])),
                "organization" => return Some((kind, attributes, acme)),
                _ => return Some((kind, attributes, apollo)),
            };
            attributes[name] = json!(id);
            parents
        }
        "Thread" | "PromptTemplate" | "Tool" | "Assistant" | "AgentDefinition" => {
            attributes["owner"] = json!(owner);
            attributes["holds"] = json!(holds);
            audience(row, &mut attributes);
            apollo
        }
        _ => acme,
    };
    Some((kind, attributes, parents))
}

fn audience(row: &Row, attributes: &mut Value) {
    if ["audience", "outsider"].contains(&row.relation.as_str()) {
        attributes["audience"] = json!("crew");
    }
}

fn organization(id: &str, row: &Row, holds: i64) -> Entity {
    let regions: Vec<&str> = row
        .get("regions")
        .map_or(vec![], |regions| regions.split('+').collect());
    let mut attributes = json!({
        "org": id, "plan": row.plan, "regions": regions, "members": "everyone", "holds": holds,
        "active_admins": if row.has("last_admin") { 1 } else { 2 },
    });
    if let Some(method) = row.get("enforced") {
        attributes["sso_enforced"] = json!(method);
    }
    entity("Organization", id, attributes, vec![])
}

fn reference(kind: &str, id: &str) -> Value {
    json!({"type": format!("Cedarkeep::{kind}"), "id": id})
}

/// An entity checked against the schema. The few hundred that differ are made once.
fn entity(kind: &str, id: &str, attributes: Value, parents: Vec<Value>) -> Entity {
    thread_local! {
        static MADE: RefCell<HashMap<String, Entity>> = RefCell::default();
    }
    let mut attributes = attributes;
    for (name, kind) in [
        ("org", "Organization"),
        ("plan", "Plan"),
        ("role", "Role"),
        ("layer", "Layer"),
        ("members", "Group"),
        ("leads", "Group"),
        ("audience", "Group"),
        ("owner", "User"),
        ("definition", "AgentDefinition"),
        ("thread", "Thread"),
        ("project", "Project"),
        ("team", "Team"),
    ] {
        if let Some(value) = attributes.get_mut(name)
            && let Some(id) = value.as_str()
        {
            *value = reference(kind, id);
        }
    }
    let whole = json!({"uid": reference(kind, id), "attrs": attributes, "parents": parents});
    let key = whole.to_string();
    MADE.with_borrow_mut(|made| {
        made.entry(key)
            .or_insert_with(|| Entity::from_json_value(whole, Some(LIBRARY.schema())).unwrap())
            .clone()
    })
}

/// A moment after [`now`], for links that still count.
pub fn later() -> DateTime<Utc> {
    now() + TimeDelta::seconds(1)
}
