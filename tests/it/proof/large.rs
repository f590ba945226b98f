//! Many policies: the solver is asked about few of them at a time, and when time is over it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cedarkeep::policy::Compiled;
use cedarkeep::proof::{Effect, Limits, Prover, Unknown, Which};

use super::{compiled, prover};

/// As many policies as somebody's program might write, of five forms.
fn policies(count: usize) -> Arc<Compiled> {
    let one = |at: usize| {
        let policy = match at % 5 {
            0 => format!(
                "permit (principal == Cedarkeep::User::\"u{at}\", action == Cedarkeep::Action::\"tool.edit\", resource == Cedarkeep::Tool::\"t{at}\");"
            ),
            1 => format!(
                "permit (principal in Cedarkeep::Group::\"g{at}\", action in [Cedarkeep::Action::\"assistant.edit\", Cedarkeep::Action::\"assistant.delete\"], resource in Cedarkeep::Project::\"p{}\");",
                at / 7
            ),
            2 => format!(
                "permit (principal is Cedarkeep::User, action == Cedarkeep::Action::\"audit_log.read\", resource) when {{ principal in Cedarkeep::Group::\"g{at}\" && principal.holds > {at} }};"
            ),
            3 => format!(
                "forbid (principal in Cedarkeep::Group::\"g{at}\", action in Cedarkeep::Action::\"group.write\", resource) when {{ resource.holds > {at} }};"
            ),
            _ => format!(
                "permit (principal == Cedarkeep::User::\"u{at}\", action == Cedarkeep::Action::\"project.add_member\", resource == Cedarkeep::Project::\"p{at}\") when {{ context.cedarkeep.region == \"r{at}\" }};"
            ),
        };
        format!("@id(\"own.{at}\")\n{policy}\n")
    };
    compiled(&(0..count).map(one).collect::<String>())
}

#[tokio::test]
async fn two_hundred_policies_take_a_few_questions() {
    let (before, draft) = (compiled(""), policies(200));
    let prover = prover();
    let found = prover.findings(&draft, |_| {}).await.unwrap();
    assert_eq!(found.policies, 200);
    assert_eq!(
        (found.found.len(), found.unknown.len()),
        (0, 0),
        "{:?}",
        found.words()
    );
    // Policies that differ in names alone are found out about at once.
    assert!(found.asked < 50, "{}", found.asked);
    let found = prover.difference(&before, &draft, |_| {}).await.unwrap();
    assert_eq!(found.effect(), Effect::Both);
    assert_eq!(found.count(Effect::Unknown), 0);
    assert!(found.asked < 200, "{}", found.asked);
}

#[tokio::test]
async fn what_is_not_known_when_the_time_is_over_is_unknown() {
    let draft = policies(400);
    let limits = Limits {
        question: Duration::from_secs(10),
        whole: Duration::from_millis(400),
        memory: cedarkeep::config::Proof::default().memory(),
    };
    let program = cedarkeep::config::Proof::default().program();
    let prover = Prover::find(program.as_deref(), limits).unwrap();
    let start = Instant::now();
    let report = prover
        .report(Some(&compiled("")), &draft, |_| {})
        .await
        .unwrap();
    // The rest is no more than going through what there is.
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    assert!(report.has_unknown());
    let (_, fails, unknown) = report.guardrails.counts();
    assert!(fails == 0 && unknown > 0, "{fails} {unknown}");
    let late = |why: &Unknown| *why == Unknown::OutOfTime;
    assert!(report.findings.unknown.iter().any(|(_, why)| late(why)));
    // Nothing is said to be idle that was not looked at to its end.
    assert_eq!(report.findings.found, []);
    let words = report.words();
    assert!(words.len() < 1_000, "{}", words.len());
    assert!(
        words
            .iter()
            .any(|line| line.contains("more about which something is not known"))
    );
}

#[tokio::test]
async fn the_guardrails_do_not_ask_about_own_policies_that_they_bind_anyhow() {
    let (few, many) = (compiled(super::EVERYTHING), policies(300));
    let which = Which::Only(vec!["administration".to_owned(), "private.tool".to_owned()]);
    let prover = prover();
    let few = prover.guardrails(&few, &which, |_| {}).await.unwrap();
    let many = prover.guardrails(&many, &which, |_| {}).await.unwrap();
    assert_eq!(few.counts(), (2, 0, 0));
    assert_eq!(many.counts(), (2, 0, 0));
    assert_eq!(few.asked, many.asked);
}
