//! Which policies can match a question: those whose scope fits its types and its action, and of those that name an entity the ones that
//! name this principal, this resource, or something that one of them is in.
//!
//! Picking is sound: a policy that is left out names an entity that the question's are not in, or a type or an action that is another
//! one, so it could not have matched. What names no entity is picked once per request environment (principal type, action, resource
//! type) and kept; what names one is found by it, so that a hundred thousand such policies cost what a few do.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use cedar_policy::{ActionConstraint, Effect, Policy};
use foldhash::fast::RandomState;

use super::evaluate::Determining;
use super::program::{self, Expr, Scope};
use super::request::Question;
use super::run::Run;
use super::value::{Type, Uid};
use super::vocabulary::{Action, Vocabulary};

/// What is known about a policy besides its conditions.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) file: String,
    pub(crate) effect: Effect,
    pub(crate) reason: Arc<str>,
    pub(crate) plan: Option<Arc<str>>,
}

impl Note {
    pub(crate) fn new(file: &str, policy: &Policy, reason: &str) -> Self {
        Self {
            file: file.to_owned(),
            effect: policy.effect(),
            reason: reason.into(),
            plan: policy.annotation("plan").map(Arc::from),
        }
    }

    /// The policy as an answer names it.
    pub(crate) fn determining(&self, id: Arc<str>) -> Determining {
        Determining {
            id,
            link: None,
            reason: Arc::clone(&self.reason),
            plan: self.plan.clone(),
        }
    }
}

/// What a policy or a template asks of a question, compiled.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) principal: Scope,
    /// The numbers of the actions that it is for, sorted; nothing: any.
    actions: Option<Box<[u32]>>,
    pub(crate) resource: Scope,
    /// Nothing where Cedar itself has to evaluate them.
    conditions: Option<Box<[Expr]>>,
}

impl Body {
    pub(crate) fn new(
        (principal, resource): (Scope, Scope),
        action: &ActionConstraint,
        json: Option<&serde_json::Value>,
        vocabulary: &Vocabulary,
    ) -> Self {
        Self {
            principal,
            actions: numbers(action, vocabulary),
            resource,
            conditions: json.and_then(program::conditions),
        }
    }

    /// What it asks beyond its scope; nothing where that has no compiled form.
    pub(crate) fn conditions(&self) -> Option<&[Expr]> {
        self.conditions.as_deref()
    }

    /// Whether its conditions have a compiled form.
    pub(crate) const fn is_compiled(&self) -> bool {
        self.conditions.is_some()
    }

    /// Whether it speaks of this action.
    pub(crate) fn is_for(&self, action: &Action) -> bool {
        let number = action.number();
        let actions = self.actions.as_ref();
        actions.is_none_or(|actions| actions.binary_search(&number).is_ok())
    }

    /// Whether it is satisfied; `linked` is the principal and the resource of a link. Nothing where Cedar has to be asked.
    pub(crate) fn is_satisfied(&self, run: &Run<'_>, linked: Option<(&Uid, &Uid)>) -> Option<bool> {
        let question = run.question;
        let (principal, resource) = (question.principal(), question.resource());
        if !self.is_for(question.action())
            || !run.fits(&self.principal, principal, linked.map(|(one, _)| one))
            || !run.fits(&self.resource, resource, linked.map(|(_, one)| one))
        {
            return Some(false);
        }
        run.holds(self.conditions.as_ref()?).ok()
    }
}

/// The actions that a constraint names, or whose groups it names.
fn numbers(constraint: &ActionConstraint, vocabulary: &Vocabulary) -> Option<Box<[u32]>> {
    let named: BTreeSet<Uid> = match constraint {
        ActionConstraint::Any => return None,
        ActionConstraint::Eq(uid) => BTreeSet::from([uid.into()]),
        ActionConstraint::In(uids) => uids.iter().map(Uid::from).collect(),
    };
    let groups = matches!(constraint, ActionConstraint::In(_));
    let fits = |action: &Action| {
        let above = vocabulary.above_action(action.uid()).into_iter().flatten();
        named.contains(action.uid()) || (groups && above.into_iter().any(|one| named.contains(one)))
    };
    let actions = vocabulary.actions().filter(|action| fits(action));
    let numbers: BTreeSet<u32> = actions.map(|action| action.number()).collect();
    Some(numbers.into_iter().collect())
}

/// A static policy.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: Arc<str>,
    pub(crate) note: Note,
    pub(crate) policy: Policy,
    pub(crate) body: Body,
}

/// Which permits count in a set of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permits {
    Count,
    /// The action is one that a tenant's own permits do not open.
    DoNotCount,
}

type Environment = (Type, u32, Type);

/// Static policies with distinct ids, by what their scopes name.
#[derive(Debug, Default)]
struct Rules {
    all: Vec<Rule>,
    by_id: HashMap<Arc<str>, usize>,
    /// Those that name no entity.
    loose: Vec<usize>,
    by_principal: HashMap<Uid, Vec<usize>, RandomState>,
    by_resource: HashMap<Uid, Vec<usize>, RandomState>,
    /// Those that name one of each: by the principal, then by the resource.
    by_both: HashMap<Uid, HashMap<Uid, Vec<usize>, RandomState>, RandomState>,
}

/// Static policies, and what has been picked of them so far.
#[derive(Debug, Default)]
pub(crate) struct Index {
    rules: Arc<Rules>,
    picked: RwLock<HashMap<Environment, Arc<[usize]>, RandomState>>,
}

impl Index {
    /// An index of policies with distinct ids.
    pub(crate) fn new(policies: Vec<(Policy, Note)>, vocabulary: &Vocabulary) -> Self {
        let mut rules = Rules::default();
        for (policy, note) in policies {
            let scopes = (
                Scope::from(policy.principal_constraint()),
                Scope::from(policy.resource_constraint()),
            );
            // What does not fit was refused before; what of ours does not is left to Cedar.
            let json = program::read(|| policy.to_json().ok());
            let json = json.ok().flatten();
            let body = Body::new(
                scopes,
                &policy.action_constraint(),
                json.as_ref(),
                vocabulary,
            );
            let (id, at): (Arc<str>, _) =
                (AsRef::<str>::as_ref(policy.id()).into(), rules.all.len());
            match (body.principal.anchor(), body.resource.anchor()) {
                (None, None) => rules.loose.push(at),
                (Some(principal), None) => {
                    let of = rules.by_principal.entry(principal.clone());
                    of.or_default().push(at);
                }
                (None, Some(resource)) => {
                    let of = rules.by_resource.entry(resource.clone());
                    of.or_default().push(at);
                }
                (Some(principal), Some(resource)) => {
                    let of = rules.by_both.entry(principal.clone()).or_default();
                    of.entry(resource.clone()).or_default().push(at);
                }
            }
            rules.by_id.insert(Arc::clone(&id), at);
            rules.all.push(Rule {
                id,
                note,
                policy,
                body,
            });
        }
        Self {
            rules: Arc::new(rules),
            picked: RwLock::default(),
        }
    }

    /// The same policies with nothing picked of them yet.
    pub(crate) fn unpicked(&self) -> Self {
        Self {
            rules: Arc::clone(&self.rules),
            picked: RwLock::default(),
        }
    }

    pub(crate) fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.rules.all.iter().map(|rule| &rule.policy)
    }

    /// Shows every policy.
    pub(crate) fn each_rule(&self, show: &mut dyn FnMut(&Rule)) {
        self.rules.all.iter().for_each(show);
    }

    pub(crate) fn note(&self, id: &str) -> Option<&Note> {
        let at = self.rules.by_id.get(id)?;
        self.rules.all.get(*at).map(|rule| &rule.note)
    }

    /// How many have no compiled form.
    pub(crate) fn left_to_cedar(&self) -> usize {
        let all = self.rules.all.iter();
        all.filter(|rule| !rule.body.is_compiled()).count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.all.is_empty()
    }

    /// Shows every policy that can match.
    pub(crate) fn each(&self, run: &Run<'_>, permits: Permits, show: &mut dyn FnMut(&Rule)) {
        let rules = self.rules.as_ref();
        let counts = |rule: &&Rule| permits == Permits::Count || rule.note.effect == Effect::Forbid;
        let mut show_all = |places: &[usize]| {
            let found = places.iter().filter_map(|at| rules.all.get(*at));
            found.filter(counts).for_each(&mut *show);
        };
        show_all(&self.loose(run.question));
        let anchored = !rules.by_both.is_empty();
        if !anchored && rules.by_principal.is_empty() && rules.by_resource.is_empty() {
            return;
        }
        let principals = with_above(run, run.question.principal());
        let resources = with_above(run, run.question.resource());
        for (known, uids) in [
            (&rules.by_principal, &principals),
            (&rules.by_resource, &resources),
        ] {
            if !known.is_empty() {
                let found = uids.iter().filter_map(|uid| known.get(uid));
                found.for_each(|places| show_all(places));
            }
        }
        if anchored {
            for of in principals.iter().filter_map(|uid| rules.by_both.get(uid)) {
                let found = resources.iter().filter_map(|uid| of.get(uid));
                found.for_each(|places| show_all(places));
            }
        }
    }

    /// Shows every permit that can match with one resource or another of the question's type.
    pub(crate) fn each_permit(&self, run: &Run<'_>, show: &mut dyn FnMut(&Rule)) {
        let rules = self.rules.as_ref();
        let mut show_all = |places: &[usize]| {
            let found = places.iter().filter_map(|at| rules.all.get(*at));
            found
                .filter(|rule| rule.note.effect == Effect::Permit)
                .filter(|rule| rule.body.is_for(run.question.action()))
                .for_each(&mut *show);
        };
        show_all(&self.loose(run.question));
        rules
            .by_resource
            .values()
            .for_each(|places| show_all(places));
        if rules.by_principal.is_empty() && rules.by_both.is_empty() {
            return;
        }
        for uid in with_above(run, run.question.principal()) {
            if let Some(places) = rules.by_principal.get(&uid) {
                show_all(places);
            }
            let of = rules.by_both.get(&uid).into_iter();
            of.flat_map(HashMap::values)
                .for_each(|places| show_all(places));
        }
    }

    /// Shows every permit for the question's action and types, whomever and whatever its scope names.
    pub(crate) fn each_of_types(&self, question: &Question, show: &mut dyn FnMut(&Rule)) {
        let (principal, resource) = (question.principal().kind(), question.resource().kind());
        let fits = |scope: &Scope, kind: &Type| match scope {
            Scope::Is(wanted) | Scope::IsIn(wanted, _) => wanted == kind,
            Scope::Equals(uid) => uid.is(kind),
            _ => true,
        };
        let all = self.rules.all.iter();
        all.filter(|rule| rule.note.effect == Effect::Permit)
            .filter(|rule| rule.body.is_for(question.action()))
            .filter(|rule| fits(&rule.body.principal, &principal))
            .filter(|rule| fits(&rule.body.resource, &resource))
            .for_each(show);
    }

    /// The policies that name no entity and fit the question's types and action.
    fn loose(&self, question: &Question) -> Arc<[usize]> {
        let environment = (
            question.principal().kind(),
            question.action().number(),
            question.resource().kind(),
        );
        let known = self.picked.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&environment) {
            return Arc::clone(found);
        }
        drop(known);
        let fits = |at: &usize| {
            let is =
                |scope: &Scope, kind: &Type| !matches!(scope, Scope::Is(wanted) if wanted != kind);
            self.rules.all.get(*at).is_some_and(|rule| {
                rule.body.is_for(question.action())
                    && is(&rule.body.principal, &environment.0)
                    && is(&rule.body.resource, &environment.2)
            })
        };
        let found: Arc<[usize]> = self.rules.loose.iter().copied().filter(fits).collect();
        self.picked
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(environment, Arc::clone(&found));
        found
    }
}

/// An entity and everything that it is in, each once, sorted.
fn with_above(run: &Run<'_>, uid: &Uid) -> Vec<Uid> {
    let mut all = Vec::with_capacity(8);
    all.push(uid.clone());
    run.view.above(uid, &mut |above| {
        all.push(above.clone());
        false
    });
    all.sort_unstable();
    all.dedup();
    all
}
