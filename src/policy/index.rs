//! Which policies can match a question: those whose scope fits its types and its action.
//!
//! Picking is sound: it asks only what Cedar's scope constraints and the schema's hierarchy say about types, never
//! about entities, so a policy that is left out could not have matched. It is done once per request environment
//! (principal type, action, resource type) and kept.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use cedar_policy::{
    ActionConstraint, Effect, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet,
    PrincipalConstraint, ResourceConstraint, Schema,
};

use super::evaluate::Determining;
use super::vocabulary::Action;

/// What is known about a policy besides its conditions.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) file: String,
    pub(crate) effect: Effect,
    pub(crate) reason: String,
    pub(crate) plan: Option<String>,
}

impl Note {
    pub(crate) fn new(file: &str, policy: &Policy, reason: &str) -> Self {
        Self {
            file: file.to_owned(),
            effect: policy.effect(),
            reason: reason.to_owned(),
            plan: policy.annotation("plan").map(str::to_owned),
        }
    }

    /// The policy as an answer names it.
    pub(crate) fn determining(&self, id: &str) -> Determining {
        Determining {
            id: id.to_owned(),
            link: None,
            reason: self.reason.clone(),
            plan: self.plan.clone(),
        }
    }
}

/// The policies that can match in one request environment.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// Permits and forbids.
    pub(crate) all: PolicySet,
    /// The permits alone: what would decide if no forbid did.
    pub(crate) permits: PolicySet,
}

/// Which permits count in a set of candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permits {
    Count,
    /// The action is one that a tenant's own permits do not open.
    DoNotCount,
}

type Environment = (EntityTypeName, EntityUid, EntityTypeName);

/// Static policies, and what has been picked of them so far.
#[derive(Debug)]
pub(crate) struct Index {
    policies: Vec<Policy>,
    notes: HashMap<PolicyId, Note>,
    picked: RwLock<HashMap<Environment, Arc<Candidates>>>,
}

impl Index {
    /// An index of policies with distinct ids.
    pub(crate) fn new(policies: Vec<(Policy, Note)>) -> Self {
        Self {
            notes: policies
                .iter()
                .map(|(policy, note)| (policy.id().clone(), note.clone()))
                .collect(),
            policies: policies.into_iter().map(|(policy, _)| policy).collect(),
            picked: RwLock::default(),
        }
    }

    /// The same policies with nothing picked yet, for another schema.
    pub(crate) fn unpicked(&self) -> Self {
        Self {
            policies: self.policies.clone(),
            notes: self.notes.clone(),
            picked: RwLock::default(),
        }
    }

    pub(crate) fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter()
    }

    pub(crate) fn note(&self, id: &PolicyId) -> Option<&Note> {
        self.notes.get(id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The policies that can match this action on these types.
    pub(crate) fn candidates(
        &self,
        schema: &Schema,
        (principal, action, resource): (&EntityTypeName, &Action, &EntityTypeName),
        permits: Permits,
    ) -> Arc<Candidates> {
        let environment = (principal.clone(), action.uid().clone(), resource.clone());
        let known = self.picked.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&environment) {
            return Arc::clone(found);
        }
        drop(known);
        let candidates = Arc::new(self.pick(schema, &environment, action, permits));
        self.picked
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(environment, Arc::clone(&candidates));
        candidates
    }

    fn pick(
        &self,
        schema: &Schema,
        (principal, _, resource): &Environment,
        action: &Action,
        permits: Permits,
    ) -> Candidates {
        let mut candidates = Candidates {
            all: PolicySet::new(),
            permits: PolicySet::new(),
        };
        for policy in &self.policies {
            let is_permit = policy.effect() == Effect::Permit;
            if is_permit && permits == Permits::DoNotCount {
                continue;
            }
            let fits = principal_fits(schema, &policy.principal_constraint(), principal)
                && action_fits(&policy.action_constraint(), action)
                && resource_fits(schema, &policy.resource_constraint(), resource);
            if !fits {
                continue;
            }
            // INVARIANT: ids are distinct (checked when they were given), so adding cannot fail.
            let added = candidates.all.add(policy.clone());
            debug_assert!(added.is_ok(), "policy ids are distinct");
            if is_permit {
                let added = candidates.permits.add(policy.clone());
                debug_assert!(added.is_ok(), "policy ids are distinct");
            }
        }
        candidates
    }
}

fn principal_fits(
    schema: &Schema,
    constraint: &PrincipalConstraint,
    kind: &EntityTypeName,
) -> bool {
    match constraint {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Eq(uid) => uid.type_name() == kind,
        PrincipalConstraint::In(uid) => can_be_in(schema, kind, uid),
        PrincipalConstraint::Is(name) => name == kind,
        PrincipalConstraint::IsIn(name, uid) => name == kind && can_be_in(schema, kind, uid),
    }
}

fn resource_fits(schema: &Schema, constraint: &ResourceConstraint, kind: &EntityTypeName) -> bool {
    match constraint {
        ResourceConstraint::Any => true,
        ResourceConstraint::Eq(uid) => uid.type_name() == kind,
        ResourceConstraint::In(uid) => can_be_in(schema, kind, uid),
        ResourceConstraint::Is(name) => name == kind,
        ResourceConstraint::IsIn(name, uid) => name == kind && can_be_in(schema, kind, uid),
    }
}

fn action_fits(constraint: &ActionConstraint, action: &Action) -> bool {
    let within = |uid: &EntityUid| uid == action.uid() || action.ancestors().contains(uid);
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => uid == action.uid(),
        ActionConstraint::In(uids) => uids.iter().any(within),
    }
}

/// Whether an entity of this type can be in `uid`: it is of that type itself, or the schema allows it as an ancestor.
fn can_be_in(schema: &Schema, kind: &EntityTypeName, uid: &EntityUid) -> bool {
    uid.type_name() == kind
        || schema
            .ancestors(kind)
            .is_some_and(|mut ancestors| ancestors.any(|ancestor| ancestor == uid.type_name()))
}
