//! The shortest set that gives a yes, of generated tests of membership: with it alone the answer is yes, and without any element of it no.
//!
//! `PROVE=1` makes it 3,000 policies instead of 150; `SEED=n` repeats a run.

use std::sync::Arc;

use cedar_policy::{Entity, EntityUid};
use cedarkeep::policy::{Compiled, Facts, Library, Question, Said, Step, Uid, evaluate, explain};
use serde_json::{Map, Value, json};

use super::explained::ALL;
use super::slice::Slice;
use super::world::now;
use crate::harness::chance::Chance;

const SCHEMA: &str = r#"
namespace Cedarkeep {
  entity Group in [Group];
  entity User in [Group];
  entity Thread in [Group] { also: Group, audience?: Group, all: Set<Group> };
  action "thread.read" appliesTo { principal: [User], resource: [Thread] };
}"#;

const GROUPS: usize = 8;

fn below(chance: &mut Chance, limit: usize) -> usize {
    usize::try_from(chance.number() >> 16).unwrap() % limit
}

fn group(chance: &mut Chance) -> String {
    format!("Cedarkeep::Group::\"g{}\"", below(chance, GROUPS))
}

/// Tests of membership, put together in every way; some err where there is no audience.
fn test(chance: &mut Chance, depth: usize) -> String {
    if depth > 0 {
        let mut part = || test(chance, depth - 1);
        let (one, other, third) = (part(), part(), part());
        match below(chance, 7) {
            0 | 1 => return format!("({one} && {other})"),
            2 | 3 => return format!("({one} || {other})"),
            4 => return format!("!({one})"),
            5 => return format!("(if {one} then {other} else {third})"),
            _ => {}
        }
    }
    let (left, one, other) = (
        ["principal", "principal", "resource"][below(chance, 3)],
        group(chance),
        group(chance),
    );
    match below(chance, 8) {
        0 => format!("{left} in [{one}, {other}]"),
        1 => format!("{left} in resource.also"),
        2 => format!("{left} in resource.all"),
        3 => "resource has audience".to_owned(),
        4 => format!("{left} in resource.audience"),
        5 => format!("({left} in {one}) == ({left} in {other})"),
        6 => format!("principal is Cedarkeep::User in {one}"),
        _ => format!("{left} in {one}"),
    }
}

/// Groups in groups, and a person and a thread in some.
fn entities(chance: &mut Chance) -> Vec<(EntityUid, Value, Vec<EntityUid>)> {
    let named = |kind: &str, id: &str| -> EntityUid {
        format!("Cedarkeep::{kind}::\"{id}\"").parse().unwrap()
    };
    let mut all = Vec::new();
    for number in 0..GROUPS {
        let mut parents = Vec::new();
        for above in number + 1..GROUPS {
            if below(chance, 4) == 0 {
                parents.push(named("Group", &format!("g{above}")));
            }
        }
        all.push((named("Group", &format!("g{number}")), json!({}), parents));
    }
    let any = |chance: &mut Chance| json!({"__entity": {"type": "Cedarkeep::Group", "id": format!("g{}", below(chance, GROUPS))}});
    let mut attributes = json!({"also": any(chance), "all": [any(chance), any(chance)]});
    if below(chance, 2) == 0 {
        attributes["audience"] = any(chance);
    }
    for (uid, attributes) in [
        (named("User", "pat"), json!({})),
        (named("Thread", "it"), attributes),
    ] {
        let parents = (0..3).map(|_| named("Group", &format!("g{}", below(chance, GROUPS))));
        all.push((uid, attributes, parents.collect()));
    }
    all
}

fn slice(
    entities: &[(EntityUid, Value, Vec<EntityUid>)],
    fits: impl Fn(&EntityUid, &EntityUid) -> bool,
) -> Slice {
    let name =
        |uid: &EntityUid| json!({"type": uid.type_name().to_string(), "id": uid.id().unescaped()});
    let entities = entities.iter().map(|(uid, attributes, parents)| {
        let parents = parents.iter().filter(|parent| fits(uid, parent)).map(name);
        let parents: Vec<Value> = parents.collect();
        let entity = json!({"uid": name(uid), "attrs": attributes, "parents": parents});
        Entity::from_json_value(entity, None).unwrap()
    });
    Slice::of(&entities.collect::<Vec<_>>())
}

fn question(library: &Library) -> Question {
    let facts = Facts {
        now: now(),
        region: "eu".to_owned(),
        session: None,
        acts_for: None,
    };
    let nothing = Map::new();
    let said = Said {
        context: &nothing,
        action: &nothing,
    };
    let uid = |text: &str| Uid::from(&text.parse::<EntityUid>().unwrap());
    let (principal, resource) = (
        uid("Cedarkeep::User::\"pat\""),
        uid("Cedarkeep::Thread::\"it\""),
    );
    let vocabulary = library.vocabulary();
    let action = vocabulary.action("thread.read").unwrap();
    vocabulary
        .question((principal, action, resource), said, &facts)
        .unwrap()
}

#[test]
fn a_set_that_is_told_is_enough_and_no_element_of_it_is_too_much() {
    let mut chance = Chance::of_this_run("generated memberships");
    let policies = match std::env::var_os("PROVE") {
        Some(_) => 3_000,
        None => 150,
    };
    let (mut allowed, mut told, mut longest) = (0, 0, 0);
    for _ in 0..policies {
        let scope = match below(&mut chance, 3) {
            0 => format!("principal in {}", group(&mut chance)),
            _ => "principal".to_owned(),
        };
        let text = format!(
            "@id(\"p\") @reason(\"P.\") permit({scope}, action, resource) when {{ {} }};",
            test(&mut chance, 3)
        );
        let library = Library::compile(SCHEMA, &[("one.cedar", text.as_str())]);
        let library = Arc::new(library.unwrap_or_else(|error| panic!("{error}\n{text}")));
        let compiled = Compiled::builtin(&library);
        let question = question(&library);
        for _ in 0..4 {
            let entities = entities(&mut chance);
            let whole = slice(&entities, |_, _| true);
            let explanation = explain(&compiled, &[], &whole, &question, ALL);
            let Some(way) = explanation.way else {
                assert!(!evaluate(&compiled, &[], &whole, &question).is_allowed());
                continue;
            };
            let allows = |steps: &[&Step]| {
                let only = slice(&entities, |child, parent| {
                    let (child, parent) = (Uid::from(child), Uid::from(parent));
                    steps
                        .iter()
                        .any(|step| step.child == child && step.parent == parent)
                });
                evaluate(&compiled, &[], &only, &question).is_allowed()
            };
            let steps: Vec<&Step> = way.steps.iter().collect();
            assert!(allows(&steps), "{text}\n{steps:?}\n{entities:?}");
            for left_out in &steps {
                let fewer: Vec<&Step> = steps
                    .iter()
                    .copied()
                    .filter(|step| step != left_out)
                    .collect();
                assert!(
                    !allows(&fewer),
                    "{text}\n{steps:?} without {left_out:?}\n{entities:?}"
                );
            }
            allowed += 1;
            told += steps.len();
            longest = longest.max(steps.len());
        }
    }
    println!("{allowed} allowed, {told} memberships, {longest} at most");
    assert!(allowed > policies / 4 && told > policies / 4 && longest > 2);
}
