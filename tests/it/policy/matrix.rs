//! The matrix: who may do what, as the permissions page says it, row by row.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use cedarkeep::policy::{Compiled, OwnPolicies, Source};

use super::world::{Case, LIBRARY, about_each_row, answer, rows};

fn evaluated(compiled: &Compiled, case: &Case) -> &'static str {
    let evaluation = case.evaluate(compiled);
    assert!(
        evaluation.failures.is_empty(),
        "line {}: {:?}",
        case.row.line,
        evaluation.failures
    );
    answer(&evaluation)
}

#[test]
fn every_row_is_answered_as_the_page_says() {
    let compiled = Compiled::builtin(&LIBRARY);
    let wrong = about_each_row(|case| {
        let (got, expected) = (evaluated(&compiled, case), case.row.expected());
        (got != expected).then(|| format!("{}: expected {expected}, got {got}", case.row))
    });
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_action_is_asked_by_every_principal_that_it_applies_to() {
    let asked: HashSet<(String, String, String)> = rows()
        .iter()
        .map(|row| {
            let kind = row.resource.split('/').next().unwrap();
            (
                row.action.clone(),
                row.principal_type().to_owned(),
                kind.to_owned(),
            )
        })
        .collect();
    let vocabulary = LIBRARY.vocabulary();
    let missing: Vec<_> = vocabulary
        .actions()
        .flat_map(|action| {
            let pairs = action
                .principals()
                .iter()
                .flat_map(move |p| action.resources().iter().map(move |r| (p, r)));
            pairs.map(|(p, r)| {
                (
                    action.name().to_owned(),
                    p.name().trim_start_matches("Cedarkeep::").to_owned(),
                    r.name().trim_start_matches("Cedarkeep::").to_owned(),
                )
            })
        })
        // Keys meet the actions on everything with one resource or two.
        .filter(|(action, principal, _)| {
            principal != "Service"
                || !(action.starts_with("legal_hold.")
                    || ["audit_log.edit", "audit_log.delete", "model.train"]
                        .contains(&action.as_str()))
        })
        .filter(|triple| !asked.contains(triple))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_guardrail_has_its_rows() {
    let seen: BTreeSet<&str> = rows()
        .iter()
        .flat_map(|row| row.guardrail.split('+'))
        .collect();
    for guardrail in 1..=14 {
        assert!(
            seen.contains(guardrail.to_string().as_str()),
            "guardrail {guardrail}"
        );
    }
}

#[test]
fn a_tenants_permit_for_everything_opens_no_guardrail() {
    let own = OwnPolicies {
        schema: None,
        policies: vec![Source {
            name: "open.cedar".to_owned(),
            text: "permit(principal, action, resource);".to_owned(),
        }],
    };
    let compiled = Compiled::new(&LIBRARY, &own).unwrap();
    let opened = AtomicUsize::new(0);
    let wrong = about_each_row(|case| {
        let guarded = !case.row.guardrail.is_empty();
        let got = evaluated(&compiled, case);
        if case.row.decision == "deny" && got == "allow" {
            opened.fetch_add(1, Ordering::Relaxed);
        }
        (got.starts_with("deny") != guarded).then(|| format!("{}: {got}", case.row))
    });
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // The positive control: where no guardrail stands, the tenant's permit counts.
    assert!(opened.into_inner() > 100);
}

#[test]
fn a_link_counts_until_its_end() {
    let row = rows()
        .iter()
        .find(|row| {
            row.relation == "expired-editor-link"
                && row.principal == "Member"
                && row.action == "thread.read"
                && row.extra.is_empty()
        })
        .unwrap();
    let case = &Case::new(row);
    let compiled = Compiled::builtin(&LIBRARY);
    assert_eq!(evaluated(&compiled, case), "deny not_permitted");
    let mut link = case.links[0].link().clone();
    link.expires_at = Some(super::world::later());
    let links = [LIBRARY.link(link).unwrap()];
    let evaluation = case.evaluate_with(&compiled, &links);
    assert!(evaluation.is_allowed());
    assert_eq!(evaluation.determining[0].link.as_deref(), Some("link-1"));
    assert_eq!(&*evaluation.determining[0].id, "share-editor");
}
