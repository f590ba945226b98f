//! What the matrix notices: every policy changed a little, each change made by the machine, must turn a row red.
//!
//! A mutant is one policy removed, with a condition or an operand of one dropped, with its scope widened, or with an
//! action dropped from its scope. In Cedar a policy's outcome never depends on the others, so a row under a mutant is
//! the row's other policies and the mutant alone.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{
    ActionConstraint, Authorizer, Decision, Effect, Entities, EntityUid, Policy, PolicyId,
    PolicySet, PrincipalConstraint, SlotId, Template, ValidationMode, Validator,
};
use cedarkeep::policy::{FILES, Link};
use serde_json::{Value, json};

use super::world::{Case, LIBRARY, Row, rows};

/// Changes that change nothing: what is dropped follows from the rest, or another policy says the same. Each must be
/// one that is made; all others must be noticed.
const EQUIVALENT: &[(&str, &str, &[&str])] = &[
    (
        "only a User is in a group or owns something, and other principals have the same by their own policies",
        "any principal",
        &[
            "access.own",
            "access.owner",
            "audience.read",
            "audience.thread_document",
            "audience.use",
            "everyone.directory",
            "everyone.self",
            "integrations.audience",
            "leads.delete_project",
            "leads.members",
            "members.create",
            "members.create_project",
            "members.upload_organization",
            "members.upload_project",
            "members.upload_team",
            "memory.organization",
            "memory.personal_new",
            "memory.project",
            "memory.project_forget",
            "memory.project_new",
            "memory.team",
            "memory.team_forget",
            "memory.team_new",
            "memory.thread_audience",
            "memory.thread_new",
            "memory.thread_owner",
            "owner.document",
            "owner.made",
            "owner.thread",
            "owner.thread_document",
        ],
    ),
    (
        "only an Agent's and a Service's question has an acting user, and a Service is held by its scopes",
        "any principal",
        &[
            "agents.directory",
            "agents.integration",
            "agents.memory_organization",
            "agents.memory_personal",
            "agents.memory_personal_new",
            "agents.memory_project",
            "agents.memory_project_new",
            "agents.memory_team",
            "agents.memory_team_new",
        ],
    ),
    (
        "a guardrail forbids it to agents, and to a Service its scope opens it",
        "any principal",
        &["access.ask"],
    ),
    (
        "the schema lets none but a Service ask for these",
        "any principal",
        &["services.decide", "services.explain", "services.search"],
    ),
    (
        "every built-in action is in `group.any`",
        "any action",
        &[
            "active.acts_for",
            "agents.acting_user",
            "isolation.acts_for",
            "isolation.grantee",
            "isolation.new_owner",
            "isolation.new_parent",
            "isolation.resource",
            "never.train_purpose",
            "services.acting_user",
            "sso.enforced",
        ],
    ),
    (
        "a guardrail forbids, or another policy permits, all else that applies to these types",
        "any action",
        &[
            "agents.memory_personal_new",
            "agents.runs",
            "auditor",
            "everyone.self",
            "memory.organization_write",
            "memory.personal",
            "memory.project_forget",
            "memory.team_forget",
            "memory.thread_new",
            "memory.thread_owner",
            "owner.thread",
            "owner.thread_document",
            "services.scoped",
        ],
    ),
    (
        "the actions apply to nothing else, or nothing else fits the condition",
        "any resource",
        &[
            "agents.memory_organization",
            "agents.memory_project",
            "agents.memory_team",
            "everyone.self",
            "last_admin.demoted",
            "memory.organization",
            "memory.project",
            "memory.project_forget",
            "memory.team",
            "memory.team_forget",
            "memory.thread_audience",
            "memory.thread_owner",
        ],
    ),
    (
        "`admins.administer` forbids it to all others",
        "condition 0 dropped",
        &["admin.administer", "leads.delete_project"],
    ),
];

struct Mutant {
    /// The policy that it is made from.
    of: String,
    /// What was done.
    change: String,
    effect: Effect,
    form: Form,
}

enum Form {
    Removed,
    Policy(Box<(PolicySet, PrincipalConstraint, ActionConstraint)>),
    Template(Box<Template>),
}

#[test]
fn every_mutant_of_the_policies_turns_a_row_red() {
    let mut alive = mutants();
    for (why, change, ids) in EQUIVALENT {
        for id in *ids {
            let before = alive.len();
            alive.retain(|mutant| !(mutant.of == *id && mutant.change == *change));
            assert_eq!(before, alive.len() + 1, "{id}: {change} ({why})");
        }
    }
    let made = alive.len();
    assert!(made >= 500, "{made}");
    let whole: Vec<Policy> = LIBRARY.policies().cloned().collect();
    let of = |effect| {
        PolicySet::from_policies(whole.iter().filter(|p| p.effect() == effect).cloned()).unwrap()
    };
    let (permits, forbids) = (of(Effect::Permit), of(Effect::Forbid));
    for row in shuffled() {
        if alive.is_empty() {
            break;
        }
        let scene = Scene::new(row);
        let base = Outcome {
            permits: scene.permits(&permits),
            forbids: scene.satisfied(&forbids).unwrap(),
        };
        alive.retain(|mutant| !scene.notices(mutant, &base));
    }
    let survivors: Vec<String> = alive
        .iter()
        .map(|mutant| format!("{}: {}", mutant.of, mutant.change))
        .collect();
    assert!(
        survivors.is_empty(),
        "{} of {made} survive:\n{}",
        survivors.len(),
        survivors.join("\n")
    );
}

/// The rows in an order that meets something of everything early: a stride coprime to their number.
fn shuffled() -> impl Iterator<Item = &'static Row> {
    let all = rows();
    (0..all.len()).map(move |at| &all[(at * 7919) % all.len()])
}

/// Which policies match in a row.
struct Outcome {
    permits: BTreeSet<String>,
    forbids: BTreeSet<String>,
}

impl Outcome {
    fn answer(&self) -> &'static str {
        let only_plans = self.forbids.iter().all(|id| id.starts_with("plans."));
        match (self.forbids.is_empty(), self.permits.is_empty()) {
            (false, false) if only_plans => "deny plan_required",
            (false, _) => "deny forbidden",
            (true, false) => "allow",
            (true, true) => "deny not_permitted",
        }
    }
}

/// One row, ready for one policy at a time.
struct Scene {
    case: Case,
    entities: Entities,
    groups: HashSet<EntityUid>,
}

impl Scene {
    fn new(row: &'static Row) -> Self {
        let case = Case::new(row);
        let action = &case.question.action().uid().to_cedar().unwrap();
        static ACTIONS: LazyLock<Entities> =
            LazyLock::new(|| LIBRARY.schema().action_entities().unwrap());
        let mut groups: HashSet<EntityUid> = ACTIONS.ancestors(action).unwrap().cloned().collect();
        groups.insert(action.clone());
        let own = ACTIONS.get(action).unwrap().clone();
        let entities = case.slice.iter().cloned().chain([own]);
        Self {
            entities: Entities::from_entities(entities, None).unwrap(),
            groups,
            case,
        }
    }

    /// The ids that match, or nothing where one errs.
    fn satisfied(&self, set: &PolicySet) -> Option<BTreeSet<String>> {
        let request = self.case.question.to_cedar().unwrap();
        let response = Authorizer::new().is_authorized(&request, set, &self.entities);
        let diagnostics = response.diagnostics();
        if diagnostics.errors().next().is_some() {
            return None;
        }
        Some(diagnostics.reason().map(ToString::to_string).collect())
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        let links = self.case.links.iter().map(|link| link.link());
        links.filter(|link| link.counts_at(super::world::now()))
    }

    fn permits(&self, set: &PolicySet) -> BTreeSet<String> {
        let mut permits = self.satisfied(set).unwrap();
        for link in self.links() {
            let template = template(&link.template);
            if self.linked(template, link) {
                permits.insert(link.template.to_string());
            }
        }
        permits
    }

    fn linked(&self, template: &Template, link: &Link) -> bool {
        let mut set = PolicySet::new();
        set.add_template(template.clone()).unwrap();
        let slots = [
            (SlotId::principal(), link.principal.to_cedar().unwrap()),
            (SlotId::resource(), link.resource.to_cedar().unwrap()),
        ];
        let slots = template
            .slots()
            .map(|slot| slots.iter().find(|(id, _)| id == slot).unwrap().clone());
        let slots = slots.collect();
        if set
            .link(template.id().clone(), PolicyId::new("link"), slots)
            .is_err()
        {
            return false;
        }
        let request = self.case.question.to_cedar().unwrap();
        Authorizer::new()
            .is_authorized(&request, &set, &self.entities)
            .decision()
            == Decision::Allow
    }

    /// Whether this row is answered otherwise under the mutant. A policy that errs is noticed, too.
    fn notices(&self, mutant: &Mutant, base: &Outcome) -> bool {
        let before = base.permits.contains(&mutant.of) || base.forbids.contains(&mutant.of);
        let only_narrows = mutant.change.starts_with("without");
        let only_widens = mutant.change.starts_with("any");
        if (only_narrows && !before) || (only_widens && before) {
            return false;
        }
        let matches = match &mutant.form {
            Form::Removed => false,
            Form::Policy(parts) => {
                let (set, principal, action) = parts.as_ref();
                if !self.can_match(principal, action) {
                    false
                } else {
                    match self.satisfied(set) {
                        Some(ids) => !ids.is_empty(),
                        None => return true,
                    }
                }
            }
            Form::Template(template) => self
                .links()
                .any(|link| link.template == mutant.of && self.linked(template, link)),
        };
        if matches == before {
            return false;
        }
        let mut outcome = Outcome {
            permits: base.permits.clone(),
            forbids: base.forbids.clone(),
        };
        let side = match mutant.effect {
            Effect::Permit => &mut outcome.permits,
            Effect::Forbid => &mut outcome.forbids,
        };
        if matches {
            side.insert(mutant.of.clone());
        } else {
            side.remove(&mutant.of);
        }
        outcome.answer() != self.case.row.expected()
    }

    fn can_match(&self, principal: &PrincipalConstraint, action: &ActionConstraint) -> bool {
        let kind = self.case.question.principal().to_cedar().unwrap();
        let kind = kind.type_name();
        let principal = match principal {
            PrincipalConstraint::Is(name) => name == kind,
            _ => true,
        };
        principal
            && match action {
                ActionConstraint::Any => true,
                ActionConstraint::Eq(uid) => self.groups.contains(uid),
                ActionConstraint::In(uids) => uids.iter().any(|uid| self.groups.contains(uid)),
            }
    }
}

fn template(id: &str) -> &'static Template {
    static TEMPLATES: LazyLock<HashMap<String, Template>> = LazyLock::new(|| {
        let sets = FILES.iter().map(|(_, text)| text.parse().unwrap());
        let named = |template: &Template| {
            let id = template.annotation("id").unwrap().to_owned();
            (id.clone(), template.new_id(PolicyId::new(id)))
        };
        sets.flat_map(|set: PolicySet| set.templates().map(named).collect::<Vec<_>>())
            .collect()
    });
    &TEMPLATES[id]
}

fn mutants() -> Vec<Mutant> {
    let validator = Validator::new(LIBRARY.schema().clone());
    let mut all = Vec::new();
    for policy in LIBRARY.policies() {
        let of = policy.id().to_string();
        let mut add = |change: String, form| {
            all.push(Mutant {
                of: of.clone(),
                change,
                effect: policy.effect(),
                form,
            });
        };
        add("removed".to_owned(), Form::Removed);
        for (change, json) in changes(&policy.to_json().unwrap()) {
            let changed = Policy::from_json(Some(policy.id().clone()), json).unwrap();
            let (principal, action) = (changed.principal_constraint(), changed.action_constraint());
            let set = PolicySet::from_policies([changed]).unwrap();
            // A scope too wide for its conditions is caught before it is ever loaded.
            let valid = !change.starts_with("any")
                || validator
                    .validate(&set, ValidationMode::Strict)
                    .validation_passed();
            if valid {
                add(change, Form::Policy(Box::new((set, principal, action))));
            }
        }
    }
    for id in ["share-viewer", "share-commenter", "share-editor", "auditor"] {
        let template = template(id);
        let mut add = |change: String, form| {
            all.push(Mutant {
                of: id.to_owned(),
                change,
                effect: Effect::Permit,
                form,
            });
        };
        add("removed".to_owned(), Form::Removed);
        for (change, json) in changes(&template.to_json().unwrap()) {
            // With one slot dropped it is still a template, for the other one.
            let changed = Template::from_json(Some(PolicyId::new(id)), json).unwrap();
            add(change, Form::Template(Box::new(changed)));
        }
    }
    all
}

/// Every small change of a policy in its JSON form, and what it is.
fn changes(policy: &Value) -> Vec<(String, Value)> {
    let mut changes = Vec::new();
    let conditions = policy["conditions"].as_array().unwrap();
    for (at, condition) in conditions.iter().enumerate() {
        let mut without = policy.clone();
        without["conditions"].as_array_mut().unwrap().remove(at);
        changes.push((format!("condition {at} dropped"), without));
        for (operand, body) in weaker(&condition["body"]).into_iter().enumerate() {
            let mut changed = policy.clone();
            changed["conditions"][at]["body"] = body;
            changes.push((
                format!("condition {at}, operand {operand} dropped"),
                changed,
            ));
        }
    }
    for part in ["principal", "action", "resource"] {
        if policy[part]["op"] != "All" {
            let mut wider = policy.clone();
            wider[part] = json!({"op": "All"});
            changes.push((format!("any {part}"), wider));
        }
    }
    let actions = policy["action"]["entities"].as_array();
    for (at, action) in actions.into_iter().flatten().enumerate() {
        let mut fewer = policy.clone();
        fewer["action"]["entities"]
            .as_array_mut()
            .unwrap()
            .remove(at);
        changes.push((format!("without {}", action["id"]), fewer));
    }
    changes
}

/// An expression with one operand of an `&&` or `||` in it dropped, in every way.
fn weaker(expression: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for operator in ["&&", "||"] {
        let Some(operands) = expression.get(operator) else {
            continue;
        };
        all.push(operands["left"].clone());
        all.push(operands["right"].clone());
        for side in ["left", "right"] {
            for changed in weaker(&operands[side]) {
                let mut whole = expression.clone();
                whole[operator][side] = changed;
                all.push(whole);
            }
        }
    }
    if let Some(negated) = expression.get("!") {
        for changed in weaker(&negated["arg"]) {
            all.push(json!({"!": {"arg": changed}}));
        }
    }
    all
}
