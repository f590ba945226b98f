//! Picking policies by scope changes no answer: the index against Cedar's own authorizer on the whole set.

use std::collections::BTreeSet;

use cedar_policy::{Authorizer, Decision, Effect, Entities, PolicySet};
use cedarkeep::policy::{Compiled, OwnPolicies, Source};

use super::world::{Case, LIBRARY, rows};

/// Own policies of every form of scope, some of which match, some of which err.
const OWN: &str = r#"
@id("own.team") permit(principal in Cedarkeep::Group::"crew", action, resource in Cedarkeep::Team::"core");
@id("own.pat") permit(principal == Cedarkeep::User::"pat", action in Cedarkeep::Action::"group.share", resource);
@id("own.one") forbid(principal, action == Cedarkeep::Action::"thread.read", resource == Cedarkeep::Thread::"it") when { context has purpose };
@id("own.is") forbid(principal is Cedarkeep::User in Cedarkeep::Group::"apollo-members", action, resource is Cedarkeep::Project in Cedarkeep::Organization::"acme") when { principal.holds > 0 };
@id("own.agents") permit(principal is Cedarkeep::Agent in Cedarkeep::AgentDefinition::"helper", action in [Cedarkeep::Action::"tool.use", Cedarkeep::Action::"agent.cancel"], resource);
@id("own.err") permit(principal is Cedarkeep::User, action == Cedarkeep::Action::"tool.edit", resource) when { principal.holds + 9223372036854775807 > 0 };
@id("own.err_forbid") forbid(principal is Cedarkeep::User, action == Cedarkeep::Action::"project.create", resource) when { principal.holds - 9223372036854775807 - 2 > 0 };
"#;

#[test]
fn picking_by_scope_changes_no_answer() {
    let own = OwnPolicies {
        schema: None,
        policies: vec![Source {
            name: "own.cedar".to_owned(),
            text: OWN.to_owned(),
        }],
    };
    let compiled = Compiled::new(&LIBRARY, &own).unwrap();
    let policies: Vec<_> = LIBRARY
        .policies()
        .chain(compiled.own_policies())
        .cloned()
        .collect();
    let whole = PolicySet::from_policies(policies.clone()).unwrap();
    // For what only its owner hands on, a tenant's own permits are no part of the set.
    let private = PolicySet::from_policies(policies.into_iter().filter(|policy| {
        policy.effect() == Effect::Forbid || LIBRARY.describe(policy.id().as_ref()).is_some()
    }))
    .unwrap();
    let actions = LIBRARY.schema().action_entities().unwrap();
    let (mut compared, mut errors, mut by_own) = (0, 0, 0);
    for row in rows().iter().step_by(5) {
        let case = Case::new(row);
        let evaluation = case.evaluate_with(&compiled, &[]);
        let entities = case.slice.iter().chain(actions.iter()).cloned();
        let entities = Entities::from_entities(entities, None).unwrap();
        let action = LIBRARY.vocabulary().action(&row.action).unwrap();
        let set = if action.is_in("private") {
            &private
        } else {
            &whole
        };
        let request = case.question.to_cedar().unwrap();
        let response = Authorizer::new().is_authorized(&request, set, &entities);
        let whole: BTreeSet<&str> = response.diagnostics().reason().map(AsRef::as_ref).collect();
        let ours: BTreeSet<&str> = evaluation.determining.iter().map(|d| &*d.id).collect();
        let failed = response.diagnostics().errors().count();
        assert_eq!(failed, evaluation.failures.len(), "line {}", row.line);
        errors += failed;
        by_own += usize::from(ours.iter().any(|id| id.starts_with("own.")));
        let failed_forbid = evaluation.failures.iter().any(|f| f.id == "own.err_forbid");
        if failed_forbid && response.decision() == Decision::Allow {
            // The one difference that is meant: Cedar skips a forbid that errs.
            assert!(!evaluation.is_allowed());
            continue;
        }
        assert_eq!(
            response.decision() == Decision::Allow,
            evaluation.is_allowed(),
            "line {}",
            row.line
        );
        assert_eq!(whole, ours, "line {}", row.line);
        compared += 1;
    }
    assert!(
        compared > 1000 && errors > 10 && by_own > 10,
        "{compared} {errors} {by_own}"
    );
}

#[test]
fn a_forbid_that_errs_refuses_and_says_which() {
    let row = rows()
        .iter()
        .find(|row| {
            row.action == "project.create" && row.decision == "allow" && row.principal == "Admin"
        })
        .unwrap();
    let case = Case::new(row);
    let own = |text: &str| OwnPolicies {
        schema: None,
        policies: vec![Source {
            name: "own.cedar".to_owned(),
            text: text.to_owned(),
        }],
    };
    let errs = "when { resource.holds - 9223372036854775807 - 2 > 0 };";
    let forbid = format!(
        "@id(\"mine\") forbid(principal, action == Cedarkeep::Action::\"project.create\", resource) {errs}"
    );
    let compiled = Compiled::new(&LIBRARY, &own(&forbid)).unwrap();
    let evaluation = case.evaluate_with(&compiled, &[]);
    assert_eq!(super::world::answer(&evaluation), "deny error");
    assert_eq!(evaluation.failures[0].id, "mine");
    assert!(
        evaluation.failures[0].message.contains("overflow"),
        "{:?}",
        evaluation.failures
    );

    // A permit that errs takes nothing away.
    let permit = forbid.replace("forbid(", "permit(");
    let compiled = Compiled::new(&LIBRARY, &own(&permit)).unwrap();
    let evaluation = case.evaluate_with(&compiled, &[]);
    assert!(evaluation.is_allowed());
    assert_eq!(evaluation.failures[0].id, "mine");
}
