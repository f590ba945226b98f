//! The engine against Cedar's own authorizer on the whole set: generated schemas, entities, policies, links and requests.
//!
//! `PROVE=1` makes it 2,000 sets of policies with 100 requests each instead of 100; `SEED=n` repeats a run. In `tests/fuzz` a
//! fuzzer makes the choices instead; the corpus that it begins with is asked here too.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Authorizer, Decision, Entities, EntityUid, PolicyId, PolicySet, SlotId,
};
use cedarkeep::policy::{
    Attribute, Clause, Compiled, Library, Link, Question, Type, Uid, Value, Verdict, View as _,
    narrow,
};
use chrono::TimeDelta;

use super::generator::{Maker, TEMPLATES, World};
use super::slice::Slice;
use super::world::now;
use crate::harness::chance::Chance;

const REQUESTS: usize = 100;
/// Requests about each set that a fuzzer chooses: few, so that it tries many.
pub const FUZZED: usize = 8;

fn sets() -> usize {
    if std::env::var_os("PROVE").is_some() {
        2_000
    } else {
        100
    }
}

/// How often what was met.
#[derive(Debug, Default)]
pub struct Met {
    requests: usize,
    allowed: usize,
    forbidden: usize,
    errors: usize,
    by_links: usize,
    /// Resources that a search need not look at, and did not lose anything by it.
    narrowed: usize,
}

/// Whatever a static policy permits is among what a search looks at; how many it does not look at.
fn nothing_is_left_out(compiled: &Compiled, slice: &Slice, question: &Question) -> usize {
    let Some(clauses) = narrow(compiled, slice, question) else {
        return 0;
    };
    let holds = |clause: &Clause, resource: &Uid| {
        let mut at = Value::Entity(resource.clone());
        for name in &clause.path {
            let next = match &at {
                Value::Entity(uid) => match slice.attribute(uid, name) {
                    Attribute::Is(value) => Some(value),
                    Attribute::Absent | Attribute::NoEntity => None,
                },
                Value::Record(members) => {
                    let mut members = members.iter();
                    let found = members.find(|(known, _)| known == name);
                    found.map(|(_, value)| value.clone())
                }
                _ => None,
            };
            let Some(next) = next else {
                return false;
            };
            at = next;
        }
        let wanted = Value::Entity(clause.to.clone());
        match at {
            Value::Set(values) => values.contains(&wanted),
            other => other == wanted,
        }
    };
    let mut narrowed = 0;
    for resource in slice.of_type(&question.resource().kind()) {
        if clauses.iter().any(|clause| holds(clause, &resource)) {
            continue;
        }
        let question = question.about(resource.clone());
        let verdict = Verdict::of(compiled, &[], slice, &question);
        assert!(
            verdict.permits.is_empty(),
            "{resource} is left out: {:?} {clauses:?}",
            verdict.permits
        );
        narrowed += 1;
    }
    narrowed
}

/// One set of policies: Cedar's answers and ours, request by request.
pub fn compare(chance: Chance, requests: usize) -> Met {
    let mut maker = Maker {
        chance,
        pointed: false,
    };
    let world = World::new(&mut maker);
    let entities = world.entities(&mut maker);
    // In a few policies none may be for everything, and then a search can leave something out.
    let few = maker.often(5);
    maker.pointed = few;
    let count = if few {
        1 + maker.below(4)
    } else {
        2 + maker.below(30)
    };
    let mut text = String::new();
    for number in 0..count {
        text.push_str(&world.policy(&mut maker, &format!("p{number}"), false));
    }
    for template in TEMPLATES {
        text.push_str(&world.policy(&mut maker, template, true));
    }
    let library = Library::compile(&world.schema, &[("generated.cedar", text.as_str())]);
    let library = Arc::new(library.unwrap_or_else(|error| panic!("{error}\n{text}")));
    let compiled = Compiled::builtin(&library);
    // It is the compiled form that is compared, not Cedar with itself.
    let left = text.matches("isInRange").count();
    assert!(compiled.left_to_cedar() <= left, "{text}");

    let parsed: PolicySet = text.parse().unwrap();
    let mut whole = PolicySet::new();
    for policy in parsed.policies() {
        let id = PolicyId::new(policy.annotation("id").unwrap());
        whole.add(policy.new_id(id)).unwrap();
    }
    for template in parsed.templates() {
        let id = PolicyId::new(template.annotation("id").unwrap());
        whole.add_template(template.new_id(id)).unwrap();
    }
    let mut links = Vec::new();
    for number in 0..maker.below(12) {
        let grantee = maker.one(&["User", "Group"]);
        let ((kind, id), (of, on)) = (maker.uid(grantee), maker.uid("Thread"));
        let link = Link {
            id: format!("l{number}"),
            template: maker.one(&TEMPLATES).into(),
            principal: Uid::new(Type::named(&kind), &id),
            resource: Uid::new(Type::named(&of), &on),
            expires_at: match maker.below(3) {
                0 => None,
                1 => Some(now()),
                _ => Some(now() + TimeDelta::microseconds(1)),
            },
        };
        if link.counts_at(now()) {
            let slots = [
                (SlotId::principal(), link.principal.to_cedar().unwrap()),
                (SlotId::resource(), link.resource.to_cedar().unwrap()),
            ];
            let (template, id) = (PolicyId::new(&*link.template), PolicyId::new(&link.id));
            whole
                .link(template, id, slots.into_iter().collect())
                .unwrap();
        }
        links.push(library.link(link).unwrap());
    }
    let actions = library.schema().action_entities().unwrap();
    let all = entities.iter().chain(actions.iter()).cloned();
    let all = Entities::from_entities(all, None).unwrap();
    let slice = Slice::of(&entities);

    let mut met = Met::default();
    for _ in 0..requests {
        let question = world.question(&mut maker, &library, &links);
        let request = question.to_cedar().unwrap();
        let response = Authorizer::new().is_authorized(&request, &whole, &all);
        let verdict = Verdict::of(&compiled, &links, &slice, &question);
        let named = |list: &[cedarkeep::policy::Determining]| -> BTreeSet<String> {
            let ids = list.iter().map(|one| match &one.link {
                Some(link) => link.clone(),
                None => one.id.to_string(),
            });
            ids.collect()
        };
        let (permits, forbids) = (named(&verdict.permits), named(&verdict.forbids));
        assert_eq!(permits.len(), verdict.permits.len(), "one counts twice");
        assert_eq!(forbids.len(), verdict.forbids.len(), "one counts twice");
        let (decision, reasons) = match (forbids.is_empty(), permits.is_empty()) {
            (false, _) => (Decision::Deny, forbids),
            (true, false) => (Decision::Allow, permits),
            (true, true) => (Decision::Deny, BTreeSet::new()),
        };
        let cedar: BTreeSet<String> = response
            .diagnostics()
            .reason()
            .map(ToString::to_string)
            .collect();
        let failed: BTreeSet<String> = response
            .diagnostics()
            .errors()
            .map(|AuthorizationError::PolicyEvaluationError(error)| error.policy_id().to_string())
            .collect();
        let ours: BTreeSet<String> = verdict
            .failures
            .iter()
            .map(|failure| failure.id.rsplit('/').next().unwrap().to_owned())
            .collect();
        let told = || {
            let at = |uid: &Uid| -> EntityUid { uid.to_cedar().unwrap() };
            format!(
                "{} {} {} {:?}\n{text}\n{:?}",
                at(question.principal()),
                question.action().name(),
                at(question.resource()),
                request.context(),
                verdict.failures
            )
        };
        assert_eq!(ours, failed, "errors: {}", told());
        assert_eq!(reasons, cedar, "policies: {}", told());
        assert_eq!(decision, response.decision(), "{}", told());
        met.narrowed += nothing_is_left_out(&compiled, &slice, &question);
        met.requests += 1;
        met.allowed += usize::from(decision == Decision::Allow);
        met.forbidden += usize::from(decision == Decision::Deny && !reasons.is_empty());
        met.errors += usize::from(!failed.is_empty());
        met.by_links += usize::from(reasons.iter().any(|id| id.starts_with('l')));
    }
    met
}

#[test]
fn what_is_generated_is_answered_as_cedar_answers_it() {
    let mut chance = Chance::of_this_run("generated policies");
    let seeds: Vec<Chance> = (0..sets()).map(|_| chance.another()).collect();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = seeds.len().div_ceil(processors);
    let mut shares: Vec<Vec<Chance>> = Vec::new();
    for (number, one) in seeds.into_iter().enumerate() {
        if number % share == 0 {
            shares.push(Vec::new());
        }
        shares.last_mut().unwrap().push(one);
    }
    let of_this_run = |chance| compare(chance, REQUESTS);
    let mut met = Met::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|some| scope.spawn(|| some.into_iter().map(of_this_run).collect::<Vec<_>>()))
            .collect();
        for one in threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
        {
            met.requests += one.requests;
            met.allowed += one.allowed;
            met.forbidden += one.forbidden;
            met.errors += one.errors;
            met.by_links += one.by_links;
            met.narrowed += one.narrowed;
        }
    });
    println!("{} sets: {met:?}", sets());
    let some = met.requests / 100;
    for count in [met.allowed, met.forbidden, met.errors, met.narrowed] {
        assert!(count > some, "{met:?}");
    }
    assert!(met.by_links > met.requests / 1_000, "{met:?}");
}

#[test]
fn what_a_fuzzer_begins_with_is_answered_as_cedar_answers_it() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/engine");
    let mut met = Met::default();
    let mut files = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let path = file.unwrap().path();
        println!("{}", path.display());
        let one = compare(Chance::of_bytes(&std::fs::read(path).unwrap()), FUZZED);
        met.allowed += one.allowed;
        met.forbidden += one.forbidden;
        met.errors += one.errors;
        files += 1;
    }
    assert!(files > 20, "{files} files");
    for count in [met.allowed, met.forbidden, met.errors] {
        assert!(count > 0, "{met:?}");
    }
}
