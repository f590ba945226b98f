//! Proofs: what holds for all requests, what a proof would notice, and what is said where there is no answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, EntityId, EntityUid, Policy, PolicyId,
    PolicySet, Request, Schema, SlotId, Template,
};
use cedarkeep::config;
use cedarkeep::policy::{Compiled, OwnPolicies, Source};
use cedarkeep::proof::{Example, Limits, Prover};
use serde_json::Value;

use crate::policy::world::LIBRARY;

mod command;
mod difference;
mod findings;
mod guardrails;
mod large;
mod solver;
mod weakened;

/// A permit of everything.
const EVERYTHING: &str = "permit (principal, action, resource);\n";

fn prover() -> Prover {
    let limits = Limits {
        question: Duration::from_secs(20),
        whole: Duration::from_secs(280),
        memory: cedarkeep::config::Proof::default().memory(),
    };
    Prover::find(config::Proof::default().program().as_deref(), limits).unwrap()
}

fn source(name: &str, text: &str) -> Source {
    Source {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

/// The built-in policies with these beside them.
fn compiled(policies: &str) -> Arc<Compiled> {
    with_schema(None, policies)
}

fn with_schema(schema: Option<&str>, policies: &str) -> Arc<Compiled> {
    let own = OwnPolicies {
        schema: schema.map(|text| source("schema.cedarschema", text)),
        policies: vec![source("own.cedar", policies)],
    };
    Arc::new(Compiled::new(&LIBRARY, &own).unwrap_or_else(|error| panic!("{error}")))
}

/// What Cedar's own authorizer answers to an example, read from nothing but its JSON: a second opinion, on policies put together
/// here.
struct Court {
    schema: Schema,
    templates: Vec<Template>,
    policies: BTreeMap<String, Policy>,
    own: Vec<String>,
}

impl Court {
    fn of(compiled: &Compiled) -> Self {
        let library = compiled.library();
        let named = |policy: &Policy| (policy.id().to_string(), policy.clone());
        Self {
            schema: compiled.schema().clone(),
            templates: library.templates().cloned().collect(),
            policies: library
                .policies()
                .chain(compiled.own_policies())
                .map(named)
                .collect(),
            own: compiled
                .own_policies()
                .map(|policy| policy.id().to_string())
                .collect(),
        }
    }

    /// The same with one policy changed or gone.
    fn with(&self, id: &str, instead: Option<&Policy>) -> Self {
        let mut policies = self.policies.clone();
        policies.remove(id);
        if let Some(instead) = instead {
            policies.insert(id.to_owned(), instead.new_id(PolicyId::new(id)));
        }
        Self {
            schema: self.schema.clone(),
            templates: self.templates.clone(),
            policies,
            own: self.own.clone(),
        }
    }

    fn allows(&self, example: &Example) -> bool {
        let question = &example.question;
        let uid = |name: &str| uid(&question[name]);
        let action = uid("action");
        let context = question["context"].clone();
        let context = Context::from_json_value(context, Some((&self.schema, &action))).unwrap();
        let (principal, resource) = (uid("principal"), uid("resource"));
        let request = Request::new(
            principal.clone(),
            action.clone(),
            resource.clone(),
            context,
            Some(&self.schema),
        );
        let entities = question["entities"].clone();
        let entities = Entities::from_json_value(entities, Some(&self.schema)).unwrap();
        let private = "Cedarkeep::Action::\"group.private\"".parse().unwrap();
        let is_private = entities.is_ancestor_of(&private, &action);
        let mut set = PolicySet::new();
        for (id, policy) in &self.policies {
            let counts = policy.effect() == Effect::Forbid || !is_private || !self.own.contains(id);
            if counts {
                set.add(policy.clone()).unwrap();
            }
        }
        self.link(&mut set, &principal, &resource);
        let response = Authorizer::new().is_authorized(&request.unwrap(), &set, &entities);
        // A forbid that errs refuses.
        let errs = response.diagnostics().errors().any(|error| {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            let policy = self.policies.get(&error.policy_id().to_string());
            policy.is_some_and(|policy| policy.effect() == Effect::Forbid)
        });
        response.decision() == Decision::Allow && !errs
    }

    /// The links that proofs take: one of each template, for the group or the agent and the thing called `Linked`.
    fn link(&self, set: &mut PolicySet, principal: &EntityUid, resource: &EntityUid) {
        let linked = |kind: &str| {
            let kind = format!("Cedarkeep::{kind}").parse().unwrap();
            EntityUid::from_type_name_and_id(kind, EntityId::new("Linked"))
        };
        let principal = match principal.type_name().basename() {
            "User" => linked("Group"),
            "Agent" => linked("AgentDefinition"),
            _ => return,
        };
        let resource = match resource.type_name().basename() {
            "Document" | "Memory" => linked("Thread"),
            "AgentRun" => linked("AgentDefinition"),
            kind => linked(kind),
        };
        for template in &self.templates {
            let is_for_agents = principal.type_name().basename() == "AgentDefinition";
            if is_for_agents && template.id().to_string() == "auditor" {
                continue;
            }
            set.add_template(template.clone()).unwrap();
            let slots = [
                (SlotId::principal(), principal.clone()),
                (SlotId::resource(), resource.clone()),
            ];
            let slots = slots
                .into_iter()
                .filter(|(slot, _)| template.slots().any(|one| one == slot));
            let id = PolicyId::new(format!("link of {}", template.id()));
            set.link(template.id().clone(), id, slots.collect())
                .unwrap();
        }
    }
}

fn uid(json: &Value) -> EntityUid {
    let text = |name: &str| json[name].as_str().unwrap();
    EntityUid::from_type_name_and_id(text("type").parse().unwrap(), EntityId::new(text("id")))
}
