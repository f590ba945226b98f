//! What policies are there for: those that do nothing are found, each for its reason; those that do something are not.

use std::collections::BTreeMap;

use cedarkeep::proof::{Findings, What};

use super::{Court, compiled, prover};
use crate::policy::world::LIBRARY;

const ODD: &str = r#"
@id("never") permit (principal is Cedarkeep::User, action == Cedarkeep::Action::"member.invite", resource)
when { principal.active && principal.holds > 3 && principal.holds < 4 };
@id("private") permit (principal is Cedarkeep::User, action == Cedarkeep::Action::"thread.read", resource);
@id("beaten") permit (principal is Cedarkeep::Agent, action == Cedarkeep::Action::"settings.read", resource);
@id("role") permit (principal is Cedarkeep::User, action == Cedarkeep::Action::"audit_log.read", resource)
when { principal.role == Cedarkeep::Role::"Admin" && principal.active };
@id("needed") permit (principal is Cedarkeep::User, action == Cedarkeep::Action::"audit_log.read", resource)
when { principal in Cedarkeep::Group::"auditors" };
@id("narrower") permit (principal is Cedarkeep::User, action == Cedarkeep::Action::"audit_log.read", resource)
when { principal in Cedarkeep::Group::"auditors" && principal.holds > 3 };
@id("errs") forbid (principal is Cedarkeep::User, action == Cedarkeep::Action::"audit_log.read", resource)
when { principal.holds + 1 > 5 };
@id("always_errs") forbid (principal is Cedarkeep::User, action == Cedarkeep::Action::"settings.read", resource)
when { 9223372036854775807 + 1 > principal.holds };
@id("again") forbid (principal is Cedarkeep::Service, action == Cedarkeep::Action::"model.train", resource);
@id("nobody") forbid (principal is Cedarkeep::Agent, action == Cedarkeep::Action::"tool.delete", resource);
@id("mars") forbid (principal is Cedarkeep::User, action == Cedarkeep::Action::"thread.read", resource)
when { context.cedarkeep.region == "mars" };
@id("shared") forbid (principal is Cedarkeep::Agent, action == Cedarkeep::Action::"thread.read", resource);
"#;

fn by_policy(found: &Findings) -> BTreeMap<&str, &What> {
    let found = found.found.iter();
    found.map(|one| (one.policy.as_str(), &one.what)).collect()
}

#[tokio::test]
async fn each_policy_that_does_nothing_is_found_for_its_reason() {
    let compiled = compiled(ODD);
    let found = prover().findings(&compiled, |_| {}).await.unwrap();
    assert_eq!(found.unknown, []);
    let kinds: BTreeMap<&str, (&str, &[String])> = by_policy(&found)
        .into_iter()
        .map(|(policy, what)| (policy, (what.as_str(), what.by())))
        .collect();
    let ids = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
    assert_eq!(kinds["never"], ("never_applies", &[][..]));
    assert_eq!(kinds["private"], ("never_counts", &[][..]));
    assert_eq!(kinds["beaten"].0, "always_forbidden");
    assert!(kinds["beaten"].1.contains(&"agents.ceiling".to_owned()));
    assert_eq!(kinds["role"], ("implied", &ids(&["admin.audit"])[..]));
    assert_eq!(kinds["narrower"], ("implied", &ids(&["needed"])[..]));
    assert_eq!(kinds["errs"], ("can_err", &[][..]));
    assert_eq!(kinds["always_errs"], ("always_errs", &[][..]));
    assert_eq!(kinds["again"], ("implied", &ids(&["never.train"])[..]));
    assert_eq!(kinds["nobody"], ("forbids_nothing", &[][..]));
    assert_eq!(kinds.len(), 9, "{kinds:?}");
    let words = found.words().join("\n");
    for said in [
        "`never`: no request satisfies it",
        "`private`: it permits private actions alone",
        "`always_errs`: where its scope fits it always errs",
        "9223372036854775807",
    ] {
        assert!(words.contains(said), "{words}");
    }
    // The examples are true: of a permit that is implied, one that is allowed with it and without.
    let court = Court::of(&compiled);
    for policy in ["role", "narrower"] {
        let example = by_policy(&found)[policy].example().unwrap();
        assert!(court.allows(example), "{policy}");
        assert!(court.with(policy, None).allows(example), "{policy}");
    }
    for policy in ["beaten", "errs", "again", "nobody"] {
        let example = by_policy(&found)[policy].example().unwrap();
        assert!(!court.allows(example), "{policy}");
    }
    // Without the forbid that errs there, it would be allowed.
    let example = by_policy(&found)["errs"].example().unwrap();
    assert!(example.decided[0].by.contains(&"errs".to_owned()));
}

/// What is odd about the built-in policies, and why it is right that way.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("admins.administer", "forbids_nothing", BINDS),
    ("agents.ceiling", "forbids_nothing", BINDS),
    ("never.rewrite_the_log", "forbids_nothing", BINDS),
    ("never.train", "forbids_nothing", BINDS),
];

const BINDS: &str = "no built-in policy permits it: it binds what an organization permits itself";

#[tokio::test]
async fn every_built_in_policy_is_there_for_something() {
    let found = prover()
        .findings_of_builtin(&LIBRARY, |_| {})
        .await
        .unwrap();
    assert_eq!(found.policies, LIBRARY.policies().count());
    assert_eq!(found.unknown, []);
    let kinds: BTreeMap<&str, &str> = by_policy(&found)
        .into_iter()
        .map(|(policy, what)| (policy, what.as_str()))
        .collect();
    let expected: BTreeMap<&str, &str> = EXPECTED
        .iter()
        .map(|(policy, kind, _)| (*policy, *kind))
        .collect();
    assert_eq!(kinds, expected, "{}", found.words().join("\n"));
}
