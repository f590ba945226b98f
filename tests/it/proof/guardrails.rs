//! The guardrails, proved for all requests; and what is said where one does not hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedarkeep::policy::{Compiled, FILES, Library, OwnPolicies, SCHEMA};
use cedarkeep::proof::{Guardrails, Verdict, Which, property_ids};

use super::{Court, EVERYTHING, compiled, prover, source, with_schema};

fn only(id: &str) -> Which {
    Which::Only(vec![id.to_owned()])
}

#[tokio::test]
async fn every_guardrail_holds_beside_a_policy_that_permits_everything() {
    let compiled = compiled(EVERYTHING);
    let found = prover()
        .guardrails(&compiled, &Which::All, |_| {})
        .await
        .unwrap();
    assert_eq!(found.environments, compiled.schema().request_envs().count());
    let failing: Vec<String> = found
        .properties
        .iter()
        .filter(|one| one.verdict != Verdict::Holds)
        .map(|one| format!("{}: {:?}", one.id, one.verdict))
        .collect();
    assert!(failing.is_empty(), "{}", failing.join("\n"));
    assert_eq!(found.properties.len(), property_ids().len());
    // A property that speaks of no request holds without saying anything.
    let idle: Vec<&str> = found
        .properties
        .iter()
        .filter(|one| one.environments == 0 || one.says.is_empty())
        .map(|one| one.id.as_str())
        .collect();
    assert!(idle.is_empty(), "{idle:?}");
    let spoken: usize = found.properties.iter().map(|one| one.environments).sum();
    assert!(
        spoken > 9_000 && found.asked > 100,
        "{spoken}, {}",
        found.asked
    );
    let guardrails: BTreeSet<&str> = found
        .properties
        .iter()
        .map(|one| one.guardrail.as_str())
        .collect();
    for number in 1..=14 {
        assert!(guardrails.contains(number.to_string().as_str()), "{number}");
    }
    // What is not proved is said, to people and to programs.
    let words = found.words().join("\n");
    for said in [
        "shares and auditors",
        "count of active Admins",
        "leaves them out",
    ] {
        assert!(words.contains(said), "{words}");
    }
    let json = found.to_json();
    assert_eq!(json["holds"], found.properties.len());
    assert!(json["unproven"].as_array().unwrap().len() >= 8);
}

/// What an organization adds: a type, and what its people do with it.
const OWN_SCHEMA: &str = "
entity Ticket { open: Bool };
action \"ticket.close\" appliesTo {
  principal: [Cedarkeep::User, Cedarkeep::Agent], resource: [Ticket],
  context: { cedarkeep: Cedarkeep::Server },
};
";

#[tokio::test]
async fn who_is_not_active_does_nothing_of_an_organizations_own_actions_either() {
    let compiled = with_schema(Some(OWN_SCHEMA), EVERYTHING);
    let prover = prover();
    let found = prover
        .guardrails(&compiled, &only("active.user"), |_| {})
        .await
        .unwrap();
    let ours = Compiled::builtin(compiled.library());
    let built_in = ours.schema().request_envs().count();
    assert_eq!(found.environments, built_in + 2);
    let users = ours.schema().request_envs();
    let users = users
        .filter(|at| at.principal().basename() == "User")
        .count();
    assert_eq!(found.properties[0].environments, users + 1);
    assert_eq!(found.properties[0].verdict, Verdict::Holds);
}

/// Built-in policies that are other ones: these texts in the place of a file's.
fn library(file: &str, change: impl Fn(&str) -> String) -> Arc<Library> {
    let mut changed = None;
    let texts: Vec<(&str, String)> = FILES
        .iter()
        .map(|(name, text)| {
            let text = match *name == file {
                true => change(text),
                false => (*text).to_owned(),
            };
            if text
                != **FILES
                    .iter()
                    .find(|(one, _)| one == name)
                    .map(|(_, text)| text)
                    .unwrap()
            {
                changed = Some(name);
            }
            (*name, text)
        })
        .collect();
    assert!(changed.is_some(), "{file} is as it was");
    let files: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let library = Library::compile(SCHEMA, &files).unwrap_or_else(|error| panic!("{error}"));
    library.validate().unwrap();
    Arc::new(library)
}

async fn proved(library: &Arc<Library>, property: &str) -> (Arc<Compiled>, Guardrails) {
    let own = OwnPolicies {
        schema: None,
        policies: vec![source("own.cedar", EVERYTHING)],
    };
    let compiled = Arc::new(Compiled::new(library, &own).unwrap());
    let found = prover()
        .guardrails(&compiled, &only(property), |_| {})
        .await
        .unwrap();
    (compiled, found)
}

#[tokio::test]
async fn a_role_that_reads_private_threads_is_found_with_an_example() {
    let library = library("roles/admin.cedar", |text| {
        format!(
            "{text}\n@id(\"admin.peek\")\n@reason(\"Admins see everything.\")\npermit (\n  \
             principal is Cedarkeep::User,\n  action == Cedarkeep::Action::\"thread.read\",\n  \
             resource\n)\nwhen {{ principal.role == Cedarkeep::Role::\"Admin\" }};\n"
        )
    });
    let (compiled, found) = proved(&library, "private.thread").await;
    let Verdict::Fails(example) = &found.properties[0].verdict else {
        panic!("{:?}", found.properties[0]);
    };
    assert!(example.decided[0].by.contains(&"admin.peek".to_owned()));
    assert!(Court::of(&compiled).allows(example));
    let words = found.words().join("\n");
    assert!(
        words.contains("fails: Nobody reads, writes or shares a thread by their role"),
        "{words}"
    );
    assert!(words.contains("allowed, by admin.peek"), "{words}");
    assert_eq!(found.to_json()["properties"][0]["verdict"], "fails");
}

#[tokio::test]
async fn a_guardrail_that_is_gone_is_found_with_an_example() {
    let library = library("guardrails/never.cedar", |text| {
        let (before, rest) = text.split_once("@id(\"never.train\")").unwrap();
        let (_, after) = rest.split_once(";\n").unwrap();
        format!("{before}{after}")
    });
    let (compiled, found) = proved(&library, "training.action").await;
    let Verdict::Fails(example) = &found.properties[0].verdict else {
        panic!("{:?}", found.properties[0]);
    };
    assert_eq!(example.question["action"]["id"], "model.train");
    assert!(Court::of(&compiled).allows(example));
}

#[tokio::test]
async fn a_guardrail_that_errs_refuses_and_so_holds() {
    // To Cedar, a forbid that errs forbids nothing; the engine refuses, and the proof follows the engine.
    let library = library("guardrails/last_admin.cedar", |text| {
        let more = "resource.active &&\n  resource.holds + 1 > resource.holds &&";
        text.replace("resource.active &&", more)
    });
    let (_, found) = proved(&library, "last_admin.demoted").await;
    assert_eq!(found.properties[0].verdict, Verdict::Holds);
    // It is not the solver that thinks so at once: to Cedar there is such a request.
    assert!(found.asked > 2, "{}", found.asked);
}
