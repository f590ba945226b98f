//! What an explanation says: of the built-in policies row by row, and of a few made for it, in words and with what may not be seen.

use std::collections::HashSet;
use std::sync::Arc;

use cedar_policy::{Entity, EntityUid};
use cedarkeep::policy::{
    Compiled, Explanation, Facts, Library, Link, Place, Question, Said, Shown, Sight, Step, Truth,
    Uid, deed, details, evaluate, explain, headline,
};
use serde_json::{Map, Value, json};

use super::explained::ALL;
use super::slice::Slice;
use super::world::{Case, LIBRARY, about_each_row, answer, now};

const SCHEMA: &str = r#"
namespace Cedarkeep {
  entity Group in [Group];
  entity User in [Group] { level: Long, active: Bool };
  entity Thread { owner: User, label?: String, audience?: Group, tags: Set<String> };
  action "thread.read", "thread.change", "thread.burn" appliesTo { principal: [User], resource: [Thread], context: { purpose?: String } };
}"#;

const POLICIES: &str = r#"
@id("owner") @reason("Members may change threads that they created.")
permit(principal, action == Cedarkeep::Action::"thread.change", resource)
when { principal.active && resource.owner == principal };
@id("labelled") @reason("Whoever is high enough may change what is labelled.")
permit(principal, action == Cedarkeep::Action::"thread.change", resource)
when { resource has label && resource.label like "public*" && principal.level >= 7 }
unless { context has purpose || !principal.active };
@id("audience") @reason("The audience may read.")
permit(principal, action == Cedarkeep::Action::"thread.read", resource)
when { resource has audience && principal in resource.audience };
@id("staff") @reason("Staff may read and burn.")
permit(principal in Cedarkeep::Group::"staff", action in [Cedarkeep::Action::"thread.read", Cedarkeep::Action::"thread.burn"], resource);
@id("kept") @reason("What is to be kept is not burnt.")
forbid(principal, action == Cedarkeep::Action::"thread.burn", resource) when { resource.tags.contains("keep") };
@id("sum") @reason("A sum.")
permit(principal, action == Cedarkeep::Action::"thread.burn", resource) when { principal.level + 9223372036854775807 > 0 };
"#;

fn uid(text: &str) -> Uid {
    Uid::from(&format!("Cedarkeep::{text}").parse::<EntityUid>().unwrap())
}

/// Who there is: `mia` in `crew` in `staff` in `all`, and `vic` in nothing.
fn entities() -> Vec<Entity> {
    let one = |kind: &str, id: &str, attrs: Value, parents: &[&str]| {
        let parents: Vec<Value> = parents
            .iter()
            .map(|id| json!({"type": "Cedarkeep::Group", "id": id}))
            .collect();
        let uid = json!({"type": format!("Cedarkeep::{kind}"), "id": id});
        let entity = json!({"uid": uid, "attrs": attrs, "parents": parents});
        Entity::from_json_value(entity, None).unwrap()
    };
    let owner = json!({"__entity": {"type": "Cedarkeep::User", "id": "mia"}});
    let audience = json!({"__entity": {"type": "Cedarkeep::Group", "id": "all"}});
    vec![
        one(
            "User",
            "mia",
            json!({"level": 3, "active": true}),
            &["crew"],
        ),
        one("User", "vic", json!({"level": 5, "active": true}), &[]),
        one("Group", "crew", json!({}), &["staff"]),
        one("Group", "staff", json!({}), &["all"]),
        one("Group", "all", json!({}), &[]),
        one(
            "Thread",
            "plain",
            json!({"owner": owner, "label": "secret-canary", "tags": ["keep"]}),
            &[],
        ),
        one(
            "Thread",
            "open",
            json!({"owner": owner, "audience": audience, "tags": []}),
            &[],
        ),
    ]
}

struct Small {
    library: Arc<Library>,
    compiled: Compiled,
}

impl Small {
    fn new(policies: &str) -> Self {
        let library = Library::compile(SCHEMA, &[("small.cedar", policies)]);
        let library = Arc::new(library.unwrap_or_else(|error| panic!("{error}")));
        Self {
            compiled: Compiled::builtin(&library),
            library,
        }
    }

    fn question(&self, who: &str, action: &str, thread: &str) -> Question {
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
        let vocabulary = self.library.vocabulary();
        let (principal, resource) = (
            uid(&format!("User::\"{who}\"")),
            uid(&format!("Thread::\"{thread}\"")),
        );
        let action = vocabulary.action(action).unwrap();
        vocabulary
            .question((principal, action, resource), said, &facts)
            .unwrap()
    }

    fn explain(&self, question: &Question, sees: bool) -> Explanation {
        let slice = Slice::of(&entities());
        let sight = Sight {
            sees: &|_, _| sees,
            ..ALL
        };
        explain(&self.compiled, &[], &slice, question, sight)
    }

    fn words(&self, question: &Question, sees: bool) -> Vec<String> {
        let explanation = self.explain(question, sees);
        let mut words = vec![headline(
            &explanation.evaluation,
            &question.principal().id(),
            &deed(question),
        )];
        words.extend(details(&explanation, &|uid: &Uid| uid.id()));
        words
    }
}

#[test]
fn every_row_of_the_permissions_is_explained_as_it_is_answered() {
    let compiled = Compiled::builtin(&LIBRARY);
    // One in seven, and each with `PROVE=1`: a policy is taken apart for each of them.
    let every = std::env::var_os("PROVE").is_some();
    let look = |case: &Case| {
        if !every && !case.row.line.is_multiple_of(7) {
            return None;
        }
        let slice = Slice::of(&case.slice);
        let explanation = explain(&compiled, &case.links, &slice, &case.question, ALL);
        let evaluation = case.evaluate(&compiled);
        if explanation.evaluation != evaluation {
            return Some(format!("{}: another answer", case.row));
        }
        let told = match &evaluation.refusal {
            None => explanation.way.is_some(),
            Some(_) => {
                explanation.forbids.len() == evaluation.determining.len()
                    && (!explanation.forbids.is_empty()
                        || explanation
                            .near
                            .iter()
                            .all(|miss| !miss.parts.is_empty() || miss.expired_at.is_some()))
            }
        };
        let words = details(&explanation, &|uid: &Uid| uid.id()).concat();
        // Each condition of ours has words of its own.
        let spoken = !words.contains("` holds") && !words.contains("` does not hold");
        (!told || !spoken).then(|| format!("{} {}: {words}", case.row, answer(&evaluation)))
    };
    let wrong = about_each_row(look);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_near_miss_says_what_was_false_and_what_it_saw() {
    let small = Small::new(POLICIES);
    let question = small.question("vic", "thread.change", "plain");
    let explanation = small.explain(&question, true);
    let [owner, labelled] = explanation.near.as_slice() else {
        panic!("{explanation:#?}");
    };
    assert_eq!((&*owner.policy.id, owner.held), ("owner", 1));
    let [part] = owner.parts.as_slice() else {
        panic!("{owner:#?}");
    };
    assert_eq!(part.text.as_deref(), Some("resource.owner == principal"));
    assert_eq!((part.place, &part.truth), (Place::When(1), &Truth::False));
    assert_eq!(part.looked.len(), 1);
    assert_eq!(part.looked[0].path, "resource.owner");
    assert_eq!(part.looked[0].of, Some(uid("Thread::\"plain\"")));
    assert_eq!(
        part.looked[0].found,
        Shown::Is(cedarkeep::policy::Value::Entity(uid("User::\"mia\"")))
    );
    let texts: Vec<&str> = labelled
        .parts
        .iter()
        .map(|part| part.text.as_deref().unwrap())
        .collect();
    assert_eq!(
        texts,
        ["resource.label like \"public*\"", "principal.level >= 7"]
    );
    assert_eq!(
        small.words(&question, true),
        [
            "vic may not change this thread: nothing permits it.",
            "Closest: “Members may change threads that they created” would permit it, but this thread's owner is not this \
             person (it is mia).",
            "Or: “Whoever is high enough may change what is labelled” would permit it, but this thread's label does not match \
             “public*” (it is “secret-canary”), and this person's level is less than 7 (it is 5).",
        ]
    );
}

#[test]
fn what_may_not_be_seen_is_not_told() {
    let small = Small::new(POLICIES);
    for (who, action) in [
        ("vic", "thread.change"),
        ("mia", "thread.burn"),
        ("vic", "thread.burn"),
        ("mia", "thread.read"),
    ] {
        for thread in ["plain", "open"] {
            let question = small.question(who, action, thread);
            let explanation = small.explain(&question, false);
            let told = format!("{explanation:?} {:?}", small.words(&question, false));
            assert!(!told.contains("canary"), "{told}");
            assert_eq!(
                explanation.evaluation,
                small.explain(&question, true).evaluation
            );
            if let Some(way) = &explanation.way {
                assert!(way.steps.is_empty());
            }
        }
    }
    let words = small.words(&small.question("vic", "thread.change", "plain"), false);
    assert!(
        words[1].ends_with("(it is a value that you may not see)."),
        "{words:?}"
    );
    // The sum that is too much would tell its numbers.
    let question = small.question("vic", "thread.burn", "open");
    let [sum] = small.explain(&question, false).failed.try_into().unwrap();
    assert_eq!(sum.parts[0].truth, Truth::Failed(None));
    let [sum] = small.explain(&question, true).failed.try_into().unwrap();
    assert!(matches!(&sum.parts[0].truth, Truth::Failed(Some(why)) if why.contains("overflow")));
}

#[test]
fn a_forbid_says_which_condition_held() {
    let small = Small::new(POLICIES);
    let question = small.question("mia", "thread.burn", "plain");
    let explanation = small.explain(&question, true);
    assert!(explanation.permitted && explanation.near.is_empty());
    let [kept] = explanation.forbids.as_slice() else {
        panic!("{explanation:#?}");
    };
    assert_eq!(kept.parts.len(), 1);
    assert_eq!(
        small.words(&question, true)[..2],
        [
            "mia may not burn this thread: it is forbidden.",
            "What is to be kept is not burnt: “keep” is among this thread's tags (this thread's tags: “keep”).",
        ]
    );
}

/// The entities without one membership.
fn without(step: &Step) -> Slice {
    let child = step.child.to_cedar().unwrap();
    let parent = step.parent.to_cedar().unwrap();
    let entities = entities().into_iter().map(|entity| {
        if entity.uid() != child {
            return entity;
        }
        let (uid, attributes, parents) = entity.into_inner();
        let parents: HashSet<EntityUid> =
            parents.into_iter().filter(|one| *one != parent).collect();
        Entity::new(uid, attributes.into_iter().collect(), parents).unwrap()
    });
    Slice::of(&entities.collect::<Vec<_>>())
}

#[test]
fn each_element_of_the_shortest_set_is_needed() {
    let only = POLICIES.split("@id(\"staff\")").next().unwrap();
    let small = Small::new(only);
    let question = small.question("mia", "thread.read", "open");
    let way = small.explain(&question, true).way.unwrap();
    assert_eq!(&*way.told.policy.id, "audience");
    let step = |child: &str, parent: &str| Step {
        child: uid(child),
        parent: uid(&format!("Group::\"{parent}\"")),
    };
    assert_eq!(
        way.steps,
        [
            step("User::\"mia\"", "crew"),
            step("Group::\"crew\"", "staff"),
            step("Group::\"staff\"", "all"),
        ]
    );
    for step in &way.steps {
        let evaluation = evaluate(&small.compiled, &[], &without(step), &question);
        assert!(!evaluation.is_allowed(), "{step:?}");
    }
    let other = Small::new(only.split("@id(\"audience\")").next().unwrap());
    let slice = Slice::of(&entities());
    assert!(!evaluate(&other.compiled, &[], &slice, &question).is_allowed());
    // Another policy needs one membership less.
    let all = Small::new(POLICIES);
    let way = all.explain(&question, true).way.unwrap();
    assert_eq!((&*way.told.policy.id, way.steps.len()), ("staff", 2));
    let words = all.words(&question, true);
    assert_eq!(words[0], "mia may read this thread.");
    assert_eq!(words[2..], ["Mia is in crew.", "Crew is in staff."]);
}

#[test]
fn a_share_that_ended_is_a_near_miss_and_one_that_counts_is_the_way() {
    let small = Small::new(
        r#"@id("share-viewer") @reason("It was shared for reading.")
permit(principal in ?principal, action == Cedarkeep::Action::"thread.read", resource in ?resource);"#,
    );
    let question = small.question("mia", "thread.read", "plain");
    let link = |id: &str, expires_at| {
        let link = Link {
            id: id.to_owned(),
            template: "share-viewer".into(),
            principal: uid("Group::\"staff\""),
            resource: uid("Thread::\"plain\""),
            expires_at,
        };
        small.library.link(link).unwrap()
    };
    let slice = Slice::of(&entities());
    let ended = [link("shr_1", Some(now()))];
    let explanation = explain(&small.compiled, &ended, &slice, &question, ALL);
    let [miss] = explanation.near.as_slice() else {
        panic!("{explanation:#?}");
    };
    assert_eq!((miss.expired_at, miss.held), (Some(now()), 2));
    let words = details(&explanation, &|uid: &Uid| uid.id());
    assert!(
        words[0].starts_with(
            "Closest: “It was shared for reading” would permit it, but the share shr_1 ended at 20"
        ),
        "{words:?}"
    );
    let both = [link("shr_1", Some(now())), link("shr_2", None)];
    let way = explain(&small.compiled, &both, &slice, &question, ALL).way;
    let way = way.unwrap();
    assert_eq!(way.told.policy.link.as_deref(), Some("shr_2"));
    assert_eq!(way.steps.len(), 2);
    assert_eq!(
        way.linked,
        Some((uid("Group::\"staff\""), uid("Thread::\"plain\"")))
    );
    // Whoever may not see what somebody is in is not told it by the share.
    let blind = Sight {
        sees: &|_, _| false,
        ..ALL
    };
    let explanation = explain(&small.compiled, &both, &slice, &question, blind);
    let told = format!(
        "{explanation:?} {:?}",
        details(&explanation, &|uid| uid.id())
    );
    assert!(!told.contains("staff"), "{told}");
    assert_eq!(explanation.way.unwrap().withheld, 2);
    for step in &way.steps {
        let evaluation = evaluate(&small.compiled, &both, &without(step), &question);
        assert!(!evaluation.is_allowed(), "{step:?}");
    }
}

#[test]
fn of_many_near_misses_the_nearest_are_told_and_the_others_counted() {
    let mut policies = String::new();
    for number in 0..600 {
        // The later ones are for others, and the last one only by its level.
        let scope = match number {
            0..300 => "principal in Cedarkeep::Group::\"nobody\"".to_owned(),
            _ => "principal".to_owned(),
        };
        let more = match number {
            599 => "true",
            _ => "principal.level > 100",
        };
        policies.push_str(&format!(
            "@id(\"p{number:03}\") @reason(\"\") permit({scope}, action == Cedarkeep::Action::\"thread.read\", resource) when {{ principal.level > 10 && {more} }};\n"
        ));
    }
    let small = Small::new(&policies);
    let question = small.question("vic", "thread.read", "plain");
    let explanation = small.explain(&question, true);
    assert_eq!((explanation.near.len(), explanation.left_off), (20, 580));
    assert_eq!(&*explanation.near[0].policy.id, "p599");
    assert_eq!(explanation.near[0].parts.len(), 1);
    let ids = explanation.near.iter().skip(1);
    let ids: Vec<String> = ids.map(|miss| miss.policy.id.to_string()).collect();
    let expected: Vec<String> = (300..319).map(|number| format!("p{number}")).collect();
    assert_eq!(ids, expected);
    let words = small.words(&question, true);
    assert_eq!(
        words.last().unwrap(),
        "597 more policies would permit it under conditions that do not hold."
    );
}
