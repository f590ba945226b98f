//! An explanation in sentences, for people who do not write Cedar.

use super::evaluate::{Determining, Evaluation, Refusal};
use super::explain::{Explanation, NearMiss, Part, Told, Way};
use super::value::Uid;

/// How many near misses are told in sentences: all of them are in the explanation itself.
const NEAR: usize = 3;

/// The answer: `deed` is what `who` asks to do.
#[must_use]
pub fn headline(evaluation: &Evaluation, who: &str, deed: &str) -> String {
    match &evaluation.refusal {
        None => format!("{who} may {deed}."),
        Some(Refusal::Forbidden) => format!("{who} may not {deed}: it is forbidden."),
        Some(Refusal::NotPermitted) => format!("{who} may not {deed}: nothing permits it."),
        Some(Refusal::Error) => {
            format!("{who} may not {deed}: a policy that could decide it could not be evaluated.")
        }
        Some(Refusal::PlanRequired(plan)) => {
            format!("{who} may not {deed}: it needs the {plan} plan.")
        }
    }
}

/// Why; `named` gives each entity the name that whoever asks may know it by.
#[must_use]
pub fn details(explanation: &Explanation, named: &dyn Fn(&Uid) -> String) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(way) = &explanation.way {
        by(way, named, &mut all);
    }
    for told in &explanation.forbids {
        let since = since(&told.parts);
        all.push(format!("{}{since}.", saying(&told.policy)));
    }
    for told in &explanation.failed {
        all.push(failure(told));
    }
    for (at, miss) in explanation.near.iter().take(NEAR).enumerate() {
        all.push(nearly(miss, if at == 0 { "Closest:" } else { "Or:" }));
    }
    let told = explanation.near.len().min(NEAR);
    let more = explanation.near.len().saturating_sub(told);
    let more = more.saturating_add(explanation.left_off);
    if more > 0 {
        let policies = if more == 1 { "policy" } else { "policies" };
        all.push(format!(
            "{more} more {policies} would permit it under conditions that do not hold."
        ));
    }
    all
}

fn by(way: &Way, named: &dyn Fn(&Uid) -> String, all: &mut Vec<String>) {
    let since = since(&way.told.parts);
    all.push(format!("{}{since}.", saying(&way.told.policy)));
    if let (Some((whom, what)), Some(link)) = (&way.linked, &way.told.policy.link) {
        all.push(format!(
            "The share {link} is of {} with {}.",
            named(what),
            named(whom)
        ));
    }
    for step in &way.steps {
        let (child, parent) = (named(&step.child), named(&step.parent));
        all.push(format!("{} is in {parent}.", capital(&child)));
    }
    if way.withheld > 0 {
        all.push("It also goes by a membership that you may not see.".to_owned());
    }
}

fn nearly(miss: &NearMiss, begin: &str) -> String {
    let mut against: Vec<String> = miss.parts.iter().map(|part| part.words.clone()).collect();
    if let Some(end) = miss.expired_at {
        let link = miss.policy.link.as_deref().unwrap_or_default();
        against.insert(0, format!("the share {link} ended at {}", end.to_rfc3339()));
    }
    format!(
        "{begin} {} would permit it, but {}.",
        quoted(&miss.policy),
        against.join(", and ")
    )
}

fn failure(told: &Told) -> String {
    let parts: Vec<&str> = told.parts.iter().map(|part| part.words.as_str()).collect();
    match parts.is_empty() {
        true => format!("The policy `{}` could not be evaluated.", told.policy.id),
        false => format!(
            "In the policy `{}`, {}.",
            told.policy.id,
            parts.join(", and ")
        ),
    }
}

/// What a policy says of itself, as a sentence without its end.
fn saying(policy: &Determining) -> String {
    match policy.reason.trim().trim_end_matches('.') {
        "" => format!("The policy `{}` says so", policy.id),
        reason => reason.to_owned(),
    }
}

fn quoted(policy: &Determining) -> String {
    match policy.reason.trim().trim_end_matches('.') {
        "" => format!("the policy `{}`", policy.id),
        reason => format!("“{reason}”"),
    }
}

fn since(parts: &[Part]) -> String {
    let held: Vec<&str> = parts.iter().map(|part| part.words.as_str()).collect();
    match held.is_empty() {
        true => String::new(),
        false => format!(": {}", held.join(", and ")),
    }
}

fn capital(text: &str) -> String {
    let mut all = text.chars();
    all.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(all).collect()
    })
}
