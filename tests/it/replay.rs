//! A checker that shares nothing with the engine: from rows with their first and last index, the policies' files and an entry's own
//! words it decides anew, with cedar-policy's public `Authorizer` on the whole policy set, and compares.
//!
//! It knows no index, no slice and no cache of the service. Agents are not among what it replays.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, EntityUid, Policy, PolicyId, PolicySet,
    Request, Schema, SlotId, Template,
};
use serde_json::{Map, Value, json};

/// A row of `state`: what it is of, from which index on and up to which, and its body.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: String,
    pub from: u64,
    pub to: Option<u64>,
    pub body: Value,
}

/// The types of identifiers, by their prefix.
const KINDS: [(&str, &str); 13] = [
    ("org", "Organization"),
    ("usr", "User"),
    ("grp", "Group"),
    ("svc", "Service"),
    ("key", "ApiKey"),
    ("tea", "Team"),
    ("prj", "Project"),
    ("thr", "Thread"),
    ("pol", "PolicySet"),
    ("log", "AuditLog"),
    ("set", "Settings"),
    ("bil", "Billing"),
    ("adf", "AgentDefinition"),
];

fn kind_of(id: &str) -> &'static str {
    let prefix = id.split_once('_').map_or("", |(prefix, _)| prefix);
    KINDS
        .iter()
        .find(|(known, _)| *known == prefix)
        .unwrap_or_else(|| panic!("`{id}` is of a kind that the checker does not know"))
        .1
}

fn typed(kind: &str, id: &str) -> Value {
    json!({"__entity": {"type": format!("Cedarkeep::{kind}"), "id": id}})
}

fn named(id: &str) -> Value {
    typed(kind_of(id), id)
}

fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_json(json!({"type": format!("Cedarkeep::{kind}"), "id": id})).unwrap()
}

/// What the repository has of policies.
struct Files {
    schema: Schema,
    policies: Vec<Policy>,
    templates: HashMap<String, Template>,
}

fn cedar_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            cedar_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "cedar") {
            found.push(path);
        }
    }
}

impl Files {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(root.join("schema/cedarkeep.cedarschema")).unwrap();
        let (schema, _) = Schema::from_cedarschema_str(&text).unwrap();
        let mut files = Vec::new();
        cedar_files(&root.join("policies"), &mut files);
        let (mut policies, mut templates) = (Vec::new(), HashMap::new());
        for file in files {
            let set = PolicySet::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            for policy in set.policies() {
                let id = policy.annotation("id").unwrap().to_owned();
                policies.push(policy.new_id(PolicyId::new(id)));
            }
            for template in set.templates() {
                let id = template.annotation("id").unwrap().to_owned();
                templates.insert(id.clone(), template.new_id(PolicyId::new(id)));
            }
        }
        assert!(policies.len() > 60 && templates.len() >= 4);
        Self {
            schema,
            policies,
            templates,
        }
    }
}

/// The state as of one change.
struct State {
    entities: Entities,
    known: BTreeSet<EntityUid>,
    /// Everything, and everything but what the tenant permits itself.
    all: PolicySet,
    without_own_permits: PolicySet,
}

/// A history, and everything to replay it with.
pub struct Replay {
    files: Files,
    rows: Vec<Row>,
    region: String,
    states: HashMap<u64, State>,
    /// Those that were looked at.
    seen: BTreeSet<u64>,
    /// Every index at which something changed.
    changes: BTreeSet<u64>,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It was decided on an older state than the newest ahead of it.
    Stale { index: u64, newest: u64, as_of: u64 },
    /// The policies say otherwise.
    Decided { index: u64, said: String },
}

impl Replay {
    pub fn of(rows: Vec<Row>, region: &str) -> Self {
        let changes = rows
            .iter()
            .flat_map(|row| [Some(row.from), row.to])
            .flatten()
            .collect();
        Self {
            files: Files::read(),
            rows,
            region: region.to_owned(),
            states: HashMap::new(),
            seen: BTreeSet::new(),
            changes,
        }
    }

    /// The change ahead of this one.
    pub fn change_before(&self, change: u64) -> Option<u64> {
        self.changes.range(..change).next_back().copied()
    }

    /// How many states were looked at.
    pub fn states(&self) -> usize {
        self.seen.len()
    }

    /// How many changes there were.
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// Checks an entry that is a decision. `asks`: its caller's key asks about others; else it acts on somebody's behalf.
    pub fn check(&mut self, entry: &Value, asks: bool) -> Vec<Wrong> {
        let leaf = &entry["leaf"];
        let index = number(&leaf["index"]);
        let as_of = number(&leaf["as_of"]);
        let mut wrong = Vec::new();
        let newest = self.changes.range(..index).next_back().copied().unwrap();
        if newest != as_of {
            wrong.push(Wrong::Stale {
                index,
                newest,
                as_of,
            });
        }
        let said = leaf["outcome"].as_str().unwrap();
        if self.allows(entry, as_of, asks) != (said == "allow") {
            wrong.push(Wrong::Decided {
                index,
                said: said.to_owned(),
            });
        }
        wrong
    }

    fn allows(&mut self, entry: &Value, as_of: u64, asks: bool) -> bool {
        let (leaf, request) = (&entry["leaf"], &entry["request"]);
        if !self.states.contains_key(&as_of) {
            // Entries come in order: older states are not asked for again, or are made again.
            if self.states.len() > 64 {
                self.states.clear();
            }
            self.seen.insert(as_of);
            let state = self.state(as_of);
            self.states.insert(as_of, state);
        }
        let subject = request["subject"]["id"].as_str().unwrap();
        let mut halves = vec![(request["subject"]["type"].as_str().unwrap(), subject, None)];
        let service;
        if !asks {
            // Whoever acts through a key needs what its service may do as well, which acts for them.
            let key = leaf["caller"]["id"].as_str().unwrap();
            let row = self.row(key, as_of).expect("its key is there");
            service = row.body["object"]["service"].as_str().unwrap().to_owned();
            if subject != service {
                halves.push(("Service", &service, Some(subject)));
            }
        }
        halves.iter().all(|(kind, principal, acts_for)| {
            self.half(leaf, request, as_of, (kind, principal), *acts_for)
        })
    }

    fn half(
        &self,
        leaf: &Value,
        request: &Value,
        as_of: u64,
        (kind, principal): (&str, &str),
        acts_for: Option<&str>,
    ) -> bool {
        let state = &self.states[&as_of];
        let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).unwrap();
        let principal = uid(kind, principal);
        let action = uid("Action", text("/action/name"));
        let resource = uid(text("/resource/type"), text("/resource/id"));
        // What is not there may do nothing, and nothing may be done to it.
        if ![&principal, &resource]
            .iter()
            .all(|one| state.known.contains(one))
        {
            return false;
        }
        let mut context: Map<String, Value> = request["context"]
            .as_object()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| (name, of_a_caller(value)))
            .collect();
        // Policies see milliseconds.
        let time = leaf["time"].as_str().unwrap();
        let now = format!("{}Z", &time[..time.len() - 4]);
        let mut server = json!({
            "now": {"__extn": {"fn": "datetime", "arg": now}}, "region": self.region,
        });
        if let Some(user) = acts_for {
            server["acts_for"] = named(user);
        }
        context.insert("cedarkeep".into(), server);
        let context = Context::from_json_value(Value::Object(context), None).unwrap();
        // A question that the schema does not have is nobody's to ask.
        let Ok(asked) = Request::new(
            principal,
            action.clone(),
            resource,
            context,
            Some(&self.files.schema),
        ) else {
            return false;
        };
        // Administration is not surveillance: what a tenant permits itself opens nothing private.
        let private = uid("Action", "group.private");
        let policies = if state.entities.is_ancestor_of(&private, &action) {
            &state.without_own_permits
        } else {
            &state.all
        };
        let response = Authorizer::new().is_authorized(&asked, policies, &state.entities);
        let a_forbid_failed = response.diagnostics().errors().any(|error| {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            let policy = policies.policy(error.policy_id());
            policy.is_none_or(|policy| policy.effect() == Effect::Forbid)
        });
        response.decision() == Decision::Allow && !a_forbid_failed
    }

    /// The row of that name that counted as of an index.
    fn row(&self, id: &str, as_of: u64) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.id == id && row.counts(as_of))
    }

    fn state(&self, as_of: u64) -> State {
        let live: Vec<&Row> = self.rows.iter().filter(|row| row.counts(as_of)).collect();
        let org = live
            .iter()
            .find(|row| row.body["object"]["kind"] == "organization")
            .unwrap();
        let mut entities: Vec<Value> = ["pol", "log", "set", "bil"]
            .iter()
            .map(|prefix| {
                let id = org.id.replacen("org", prefix, 1);
                entity(&id, json!({"org": named(&org.id)}), &[&org.id])
            })
            .collect();
        let mut policies: Vec<Policy> = self.files.policies.clone();
        let (mut links, mut own) = (BTreeMap::new(), Vec::new());
        for row in &live {
            if let Some(object) = row.body.get("object") {
                entities.push(object_entity(&row.id, object, &org.id));
            } else if let Some(share) = row.body.get("share") {
                links.insert(row.id.clone(), share);
            } else if let Some(library) = row.body.get("library") {
                for (number, file) in library["policies"].as_array().unwrap().iter().enumerate() {
                    let set = PolicySet::from_str(file[1].as_str().unwrap()).unwrap();
                    own.extend(set.policies().map(|policy| {
                        policy.new_id(PolicyId::new(format!("own {number} {}", policy.id())))
                    }));
                }
            }
        }
        let known = entities
            .iter()
            .map(|one| EntityUid::from_json(one["uid"]["__entity"].clone()).unwrap())
            .collect();
        let entities =
            Entities::from_json_value(Value::Array(entities), Some(&self.files.schema)).unwrap();
        let set = |own: &[Policy], policies: &[Policy]| {
            let mut set = PolicySet::from_policies(policies.iter().chain(own).cloned()).unwrap();
            for (id, share) in &links {
                let template = format!("share-{}", share["level"].as_str().unwrap().to_lowercase());
                let template = &self.files.templates[&template];
                if set.template(template.id()).is_none() {
                    set.add_template(template.clone()).unwrap();
                }
                let [who, what] = ["grantee", "resource"].map(|slot| share[slot].as_str().unwrap());
                let values = HashMap::from([
                    (SlotId::principal(), uid(kind_of(who), who)),
                    (SlotId::resource(), uid(kind_of(what), what)),
                ]);
                set.link(template.id().clone(), PolicyId::new(id), values)
                    .unwrap();
            }
            set
        };
        let forbids: Vec<Policy> = own
            .iter()
            .filter(|policy| policy.effect() == Effect::Forbid)
            .cloned()
            .collect();
        policies.sort_by(|a, b| a.id().cmp(b.id()));
        State {
            all: set(&own, &policies),
            without_own_permits: set(&forbids, &policies),
            entities,
            known,
        }
    }
}

impl Row {
    fn counts(&self, as_of: u64) -> bool {
        self.from <= as_of && self.to.is_none_or(|to| to > as_of)
    }
}

/// `{type, id}` as a caller says it is an entity; everything else is what it is.
fn of_a_caller(value: Value) -> Value {
    match (value["type"].as_str(), value["id"].as_str()) {
        (Some(kind), Some(id)) => typed(kind, id),
        _ => value,
    }
}

fn entity(id: &str, attributes: Value, parents: &[&str]) -> Value {
    let parents: Vec<Value> = parents.iter().map(|parent| named(parent)).collect();
    json!({"uid": named(id), "attrs": attributes, "parents": parents})
}

/// An object of the directory as the schema has it.
fn object_entity(id: &str, object: &Value, org: &str) -> Value {
    let text = |member: &str| object[member].as_str().unwrap();
    let mut attributes = json!({"org": named(org)});
    let mut parents: Vec<&str> = Vec::new();
    if kind_of(id) != "Organization"
        && let Some(holds) = object.get("holds")
    {
        attributes["holds"] = holds.clone();
    }
    match object["kind"].as_str().unwrap() {
        "organization" => {
            attributes["plan"] = typed("Plan", text("plan"));
            attributes["regions"] = object["regions"].clone();
            attributes["active_admins"] = object["active_admins"].clone();
            attributes["members"] = named(text("members"));
            attributes["holds"] = object["holds"].clone();
        }
        "user" => {
            attributes["role"] = typed("Role", text("role"));
            attributes["active"] = object["active"].clone();
            let groups = object["groups"].as_array().unwrap();
            parents.extend(groups.iter().map(|group| group.as_str().unwrap()));
        }
        "group" => {}
        "service" => attributes["scopes"] = object["scopes"].clone(),
        "api_key" => parents.push(org),
        "team" | "project" => {
            attributes["members"] = named(text("members"));
            attributes["leads"] = named(text("leads"));
            parents.push(text("parent"));
        }
        "thread" => {
            attributes["owner"] = named(text("owner"));
            if let Some(audience) = object["audience"].as_str() {
                attributes["audience"] = named(audience);
            }
            parents.push(text("parent"));
        }
        other => panic!("`{other}` is not in what is replayed"),
    }
    entity(id, attributes, &parents)
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

/// A history made by hand, whose decisions are written down here.
mod by_hand {
    use super::*;

    const ORG: &str = "org_aaaaaaaaaaaaaaaaaaaaaaaaaa";
    const EVERYBODY: &str = "grp_aaaaaaaaaaaaaaaaaaaaaaaaaa";
    const ADA: &str = "usr_aaaaaaaaaaaaaaaaaaaaaaaaaa";
    const BOB: &str = "usr_baaaaaaaaaaaaaaaaaaaaaaaaa";
    const THREAD: &str = "thr_aaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn row(id: &str, from: u64, to: Option<u64>, body: Value) -> Row {
        Row {
            id: id.into(),
            from,
            to,
            body,
        }
    }

    fn user(role: &str) -> Value {
        json!({"object": {"kind": "user", "role": role, "active": true, "groups": [EVERYBODY], "holds": 0}})
    }

    fn history() -> Vec<Row> {
        let organization = json!({"object": {"kind": "organization", "plan": "Enterprise",
            "regions": [], "active_admins": 1, "members": EVERYBODY, "holds": 0}});
        let thread = json!({"object": {"kind": "thread", "owner": ADA, "audience": null, "parent": ORG, "holds": 0}});
        let share = json!({"share": {"level": "Viewer", "grantee": BOB, "resource": THREAD}});
        vec![
            row(ORG, 0, None, organization),
            row(
                EVERYBODY,
                0,
                None,
                json!({"object": {"kind": "group", "of": ORG}}),
            ),
            row(ADA, 1, None, user("Admin")),
            row(BOB, 2, Some(10), user("Member")),
            row(BOB, 10, None, user("Viewer")),
            row(THREAD, 3, None, thread),
            row("shr_aaaaaaaaaaaaaaaaaaaaaaaaaa", 5, Some(8), share),
        ]
    }

    fn asked(index: u64, as_of: u64, (who, action): (&str, &str), outcome: &str) -> Value {
        let (kind, on) = match action {
            "thread.create" => ("Organization", ORG),
            _ => ("Thread", THREAD),
        };
        json!({
            "leaf": {"index": index.to_string(), "as_of": as_of.to_string(), "outcome": outcome,
                "time": "2026-11-24T12:00:00.123456Z"},
            "request": {"subject": {"type": "User", "id": who}, "action": {"name": action},
                "resource": {"type": kind, "id": on}, "context": {}},
        })
    }

    #[test]
    fn decisions_that_are_known_are_found_again_and_false_ones_found_out() {
        let mut replay = Replay::of(history(), "local");
        let bob_reads = (BOB, "thread.read");
        for right in [
            asked(4, 3, (ADA, "thread.read"), "allow"),
            asked(4, 3, bob_reads, "deny"),
            asked(6, 5, bob_reads, "allow"),
            asked(7, 5, (BOB, "thread.share"), "deny"),
            asked(9, 8, bob_reads, "deny"),
            asked(11, 10, (BOB, "thread.create"), "deny"),
        ] {
            assert_eq!(replay.check(&right, true), [], "{right}");
        }
        let said = |said: &str, index| {
            vec![Wrong::Decided {
                index,
                said: said.into(),
            }]
        };
        let unshared = asked(9, 8, bob_reads, "allow");
        assert_eq!(replay.check(&unshared, true), said("allow", 9));
        let mine = asked(4, 3, (ADA, "thread.read"), "deny");
        assert_eq!(replay.check(&mine, true), said("deny", 4));
        let stale = Wrong::Stale {
            index: 9,
            newest: 8,
            as_of: 5,
        };
        assert_eq!(
            replay.check(&asked(9, 5, bob_reads, "allow"), true),
            [stale]
        );
    }
}
