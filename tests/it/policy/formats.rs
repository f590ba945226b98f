//! Formatting changes no meaning, loses no remark, and is done after the first time.

use cedar_policy::PolicySet;
use cedarkeep::policy::{FILES, Source, formatted};
use serde_json::Value;

use super::generator::{Maker, World};
use crate::harness::chance::Chance;

fn source(text: &str) -> Source {
    Source {
        name: "a.cedar".to_owned(),
        text: text.to_owned(),
    }
}

/// What a file's policies say, in the order of the text.
fn said(text: &str) -> Vec<Value> {
    let set: PolicySet = text.parse().unwrap();
    let mut said: Vec<(usize, Value)> = Vec::new();
    let number = |id: &str| id.trim_start_matches("policy").parse().unwrap();
    let policies = set.policies();
    said.extend(policies.map(|one| (number(one.id().as_ref()), one.to_json().unwrap())));
    let templates = set.templates();
    said.extend(templates.map(|one| (number(one.id().as_ref()), one.to_json().unwrap())));
    said.sort_by_key(|(number, _)| *number);
    said.into_iter().map(|(_, json)| json).collect()
}

fn remarks(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| line.starts_with("//")).collect()
}

fn is_kept(text: &str) {
    let once = formatted(&source(text)).unwrap();
    assert_eq!(said(&once), said(text), "{text}\n{once}");
    assert_eq!(remarks(&once), remarks(text), "{text}\n{once}");
    assert_eq!(formatted(&source(&once)).unwrap(), once);
}

#[test]
fn the_built_in_policies_say_the_same_when_formatted() {
    for (_, text) in FILES {
        is_kept(text);
        // However it was written.
        is_kept(&text.replace(" (", "(").replace("&&", "  &&\n"));
        is_kept(&text.replace('\n', "\r\n"));
    }
}

#[test]
fn generated_policies_say_the_same_when_formatted() {
    let mut chance = Chance::of_this_run("generated_policies_say_the_same_when_formatted");
    for _ in 0..40 {
        let mut maker = Maker {
            chance: chance.another(),
            pointed: false,
        };
        let world = World::new(&mut maker);
        let policies = (0..8).map(|at| world.policy(&mut maker, &format!("p{at}"), false));
        is_kept(&policies.collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn much_text_is_formatted_policy_by_policy() {
    let one = |at: usize| {
        format!(
            "// Number {at}.\n@id(\"p{at}\") permit(principal, action, resource) when {{ principal.level == {at} }};"
        )
    };
    let text: Vec<String> = (0..1_000).map(one).collect();
    let start = std::time::Instant::now();
    let once = formatted(&source(&text.join("\n"))).unwrap();
    assert_eq!(once.matches("// Number").count(), 1_000);
    // All at once it would take hours.
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}
