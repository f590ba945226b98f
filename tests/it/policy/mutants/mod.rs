//! Which check notices a change of a built-in policy: each policy changed a little by the machine, in every way that the operators know.
//!
//! A mutant is one policy with one thing changed. In Cedar a policy's outcome never depends on the others, so what all the policies say under
//! a mutant is what they say without that policy, and what the mutant says: a question is put to all of them once, and to all mutants once.
//!
//! Each is looked at by strict validation, the rows of the permissions page, and the project's own test files; a sample by analysis, which
//! compares it with the original over all requests, and by a replay of a recorded log. What none of the first three notices is listed
//! (`explained`) with the reason for which it is no other policy, and analysis has to agree, but for requests that are never made. `PROVE=1` analyses and replays all of them;
//! `SEED=n` repeats a sample.

mod analysed;
mod columns;
mod explained;
mod operators;
mod recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use cedar_policy::{Effect, Policy, PolicyId, Template};
use cedarkeep::policy::{FILES, Library, SCHEMA};
use serde_json::{Value, json};

use super::world::LIBRARY;
use crate::harness::chance::Chance;
use operators::{OPERATORS, changes};

/// A built-in policy or template with one thing changed.
pub struct Mutant {
    /// Its id in the library of mutants.
    pub id: String,
    /// The policy that it is made from.
    pub of: String,
    pub operator: &'static str,
    pub detail: String,
    pub form: Form,
}

pub enum Form {
    Removed,
    Policy(Box<Policy>),
    Template(Box<Template>),
}

impl Mutant {
    /// Whether a library takes it at all: a template that forbids is none.
    fn can_be_loaded(&self) -> bool {
        match &self.form {
            Form::Removed | Form::Policy(_) => true,
            Form::Template(template) => template.effect() == Effect::Permit,
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            of,
            operator,
            detail,
            ..
        } = self;
        match detail.is_empty() {
            true => write!(f, "{of}: {operator}"),
            false => write!(f, "{of}: {operator}: {detail}"),
        }
    }
}

/// Every mutant of the built-in policies and templates.
fn all() -> Vec<Mutant> {
    let mut all = Vec::new();
    let mut of = |policy: &str, json: Value, template: bool| {
        for change in changes(&json) {
            let id = format!("mutant-{}", all.len());
            let made = change.policy.map(|mut json| {
                json["annotations"]["id"] = json!(id);
                let id = Some(PolicyId::new(&id));
                match template {
                    false => Form::Policy(Box::new(Policy::from_json(id, json).unwrap())),
                    // Without its slots it is no template any more; the operators leave one of them.
                    true => Form::Template(Box::new(Template::from_json(id, json).unwrap())),
                }
            });
            all.push(Mutant {
                id,
                of: policy.to_owned(),
                operator: change.operator,
                detail: change.detail,
                form: made.unwrap_or(Form::Removed),
            });
        }
    };
    let policies = LIBRARY
        .policies()
        .map(|one| (one.id().to_string(), one.to_json().unwrap()));
    for (id, json) in policies.collect::<BTreeMap<_, _>>() {
        of(&id, json, false);
    }
    for (id, template) in templates() {
        of(&id, template.to_json().unwrap(), true);
    }
    all
}

/// The built-in templates by id.
fn templates() -> BTreeMap<String, Template> {
    let sets = FILES.iter().map(|(_, text)| text.parse().unwrap());
    let named = |template: &Template| {
        let id = template.annotation("id").unwrap().to_owned();
        (id.clone(), template.new_id(PolicyId::new(id)))
    };
    sets.flat_map(|set: cedar_policy::PolicySet| set.templates().map(named).collect::<Vec<_>>())
        .collect()
}

/// Mutants as a library of their own.
pub fn library(mutants: &[&Mutant]) -> Arc<Library> {
    let mut text = String::new();
    for mutant in mutants {
        match &mutant.form {
            Form::Removed => {}
            Form::Policy(policy) => text.push_str(&format!("{policy}\n")),
            Form::Template(template) => text.push_str(&format!("{template}\n")),
        }
    }
    let library = Library::compile(SCHEMA, &[("mutants.cedar", &text)]);
    Arc::new(library.unwrap_or_else(|error| panic!("{error}")))
}

/// The built-in policies with a mutant in the place of what it is made from, under its id.
pub fn whole(mutant: &Mutant) -> Arc<Library> {
    let mut text = String::new();
    for policy in LIBRARY.policies() {
        if *policy.id().to_string() != mutant.of {
            text.push_str(&format!("{policy}\n"));
        }
    }
    for (id, template) in templates() {
        if id != mutant.of {
            text.push_str(&format!("{template}\n"));
        }
    }
    let changed = match &mutant.form {
        Form::Removed => String::new(),
        Form::Policy(policy) => policy.to_string(),
        Form::Template(template) => template.to_string(),
    };
    text.push_str(&changed.replace(&format!("\"{}\"", mutant.id), &format!("\"{}\"", mutant.of)));
    let library = Library::compile(SCHEMA, &[("mutant.cedar", &text)]);
    Arc::new(library.unwrap_or_else(|error| panic!("{mutant}: {error}")))
}

/// The checks, in the order of the table.
const COLUMNS: [&str; 3] = ["validate", "rows", "tests"];

#[test]
fn every_mutant_of_the_policies_is_noticed_or_explained() {
    let mutants = all();
    let made = mutants.len();
    assert!(made > 1_900, "{made}");
    let explained = explained::by_name();
    let names: BTreeSet<String> = mutants.iter().map(ToString::to_string).collect();
    let gone: Vec<&String> = explained
        .keys()
        .filter(|name| !names.contains(*name))
        .collect();
    assert!(gone.is_empty(), "explained, and made no more: {gone:#?}");
    let noticed: [BTreeSet<&str>; 3] = [
        columns::validation(&mutants),
        columns::rows(&mutants),
        columns::tests(&mutants),
    ];
    println!("{}", table(&mutants, &noticed));
    let by_none = |mutant: &&Mutant| noticed.iter().all(|by| !by.contains(mutant.id.as_str()));
    let survivors: BTreeSet<String> = mutants
        .iter()
        .filter(by_none)
        .map(ToString::to_string)
        .collect();
    let unexplained: Vec<&String> = survivors
        .iter()
        .filter(|name| !explained.contains_key(*name))
        .collect();
    let looked_at: BTreeSet<String> = mutants.iter().map(ToString::to_string).collect();
    let noticed: Vec<&String> = explained
        .keys()
        .filter(|name| looked_at.contains(*name) && !survivors.contains(*name))
        .collect();
    assert!(
        unexplained.is_empty() && noticed.is_empty(),
        "{} unexplained:\n{unexplained:#?}\n{} explained, and noticed:\n{noticed:#?}",
        unexplained.len(),
        noticed.len(),
    );
}

/// How many of those that are taken anyhow are analysed and replayed, and of those that are explained.
const SAMPLE: [usize; 2] = [5, 2];

#[tokio::test(flavor = "multi_thread")]
async fn analysis_and_replay_notice_mutants_and_none_that_is_explained() {
    let name = "analysis_and_replay_notice_mutants_and_none_that_is_explained";
    let mut chance = Chance::of_this_run(name);
    let mutants = all();
    let refused = columns::validation(&mutants);
    let explained = explained::by_name();
    let taken = mutants
        .iter()
        .filter(|one| !refused.contains(one.id.as_str()));
    let (mut equal, mut others): (Vec<&Mutant>, Vec<&Mutant>) =
        taken.partition(|one| explained.contains_key(&one.to_string()));
    if std::env::var_os("PROVE").is_none() {
        for (of, most) in [(&mut others, SAMPLE[0]), (&mut equal, SAMPLE[1])] {
            of.sort_by_cached_key(|_| chance.number());
            of.truncate(most);
        }
    }
    let looked_at: Vec<&Mutant> = others.iter().chain(&equal).copied().collect();
    let recorded = recorded::Recorded::make().await;
    let begun = std::time::Instant::now();
    let timed = async |what: &str, most: usize| {
        println!("{most} mutants {what} in {:?}", begun.elapsed());
    };
    let (analysed, replayed) = tokio::join!(
        async {
            let found = analysed::analysis(&looked_at).await;
            timed("analysed", looked_at.len()).await;
            found
        },
        async {
            let found = recorded.notices(&looked_at).await;
            timed("replayed", looked_at.len()).await;
            found
        }
    );
    println!(
        "the log that was replayed has {} entries",
        recorded.entries()
    );
    println!(
        "{:<28} {:>7} {:>9} {:>9}",
        "operator", "mutants", "analysis", "replay"
    );
    let line = |name: &str, these: &[&&Mutant]| {
        let by = |by: &BTreeSet<&str>| {
            these
                .iter()
                .filter(|one| by.contains(one.id.as_str()))
                .count()
        };
        let (analysis, replay) = (by(&analysed.noticed), by(&replayed));
        println!("{name:<28} {:>7} {analysis:>9} {replay:>9}", these.len());
    };
    for operator in OPERATORS {
        let these: Vec<_> = looked_at
            .iter()
            .filter(|one| one.operator == operator)
            .collect();
        line(operator, &these);
    }
    line("all", &looked_at.iter().collect::<Vec<_>>());
    let named = |ids: &mut dyn Iterator<Item = &&str>| -> Vec<String> {
        let ids: BTreeSet<&str> = ids.copied().collect();
        let these = looked_at.iter().filter(|one| ids.contains(one.id.as_str()));
        these.map(ToString::to_string).collect()
    };
    let alike = others
        .iter()
        .filter(|one| analysed.equivalent.contains(one.id.as_str()));
    let alike: Vec<String> = alike.map(ToString::to_string).collect();
    println!("not told apart by analysis, and noticed otherwise: {alike:#?}");
    println!("not known: {:#?}", named(&mut analysed.unknown.keys()));
    let wrong: Vec<String> = equal
        .iter()
        .filter(|one| {
            let id = one.id.as_str();
            let is_made = explained[&one.to_string()] != explained::NEVER_ASKED;
            analysed.noticed.contains(id) == is_made || replayed.contains(id)
        })
        .map(ToString::to_string)
        .collect();
    assert!(
        wrong.is_empty(),
        "explained otherwise than it is noticed: {wrong:#?}"
    );
    assert!(!analysed.noticed.is_empty() && !replayed.is_empty());
}

/// How many mutants of each operator which check notices.
fn table(mutants: &[Mutant], noticed: &[BTreeSet<&str>]) -> String {
    let mut lines = vec![format!(
        "{:<28} {:>7} {:>9} {:>9} {:>9} {:>9}",
        "operator", "mutants", COLUMNS[0], COLUMNS[1], COLUMNS[2], "none"
    )];
    let mut line = |name: &str, these: &[&Mutant]| {
        let by = |by: &BTreeSet<&str>| {
            these
                .iter()
                .filter(|one| by.contains(one.id.as_str()))
                .count()
        };
        let none = these
            .iter()
            .filter(|one| noticed.iter().all(|by| !by.contains(one.id.as_str())));
        lines.push(format!(
            "{name:<28} {:>7} {:>9} {:>9} {:>9} {:>9}",
            these.len(),
            by(&noticed[0]),
            by(&noticed[1]),
            by(&noticed[2]),
            none.count(),
        ));
    };
    for operator in OPERATORS {
        let these: Vec<&Mutant> = mutants
            .iter()
            .filter(|one| one.operator == operator)
            .collect();
        line(operator, &these);
    }
    line("all", &mutants.iter().collect::<Vec<_>>());
    lines.join("\n")
}
