//! The project's own policies, checked as an organization's are: strict validation, Cedar's format, test files, and what those reach.

use std::path::Path;
use std::sync::Arc;

use cedarkeep::policy::suite::{self, Case, Measured};
use cedarkeep::policy::{Compiled, FILES, Finding, OwnPolicies, Source, formatted};

use super::world::LIBRARY;

/// What no test reaches, and why.
const UNREACHED: &[(&str, &str)] = &[
    (
        "`never.train`: no test reaches it",
        "`model.train` is refused by its name before any policy is asked",
    ),
    (
        "`never.train_purpose`, condition 1, when: `context.purpose == \"train\"` never held",
        "a question for training is refused by its purpose before any policy is asked",
    ),
];

/// The files of a folder below `tests/cases/` that end so.
fn files(folder: &str, ending: &str) -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(folder);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(ending) {
            let text = std::fs::read_to_string(&path).unwrap();
            files.push(Source { name, text });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!files.is_empty());
    files
}

/// Every question that the test files of the built-in policies put.
pub fn cases() -> Vec<Case> {
    let compiled = Compiled::builtin(&LIBRARY);
    read(&compiled, &files("policies", ".test.yaml"))
}

/// What an organization might have beside the built-in policies.
pub fn own() -> OwnPolicies {
    OwnPolicies {
        schema: files("policies/own", ".cedarschema").pop(),
        policies: files("policies/own", ".cedar"),
    }
}

/// Every question that its test files put.
pub fn own_cases() -> Vec<Case> {
    let compiled = Compiled::new(&LIBRARY, &own()).unwrap();
    read(&compiled, &files("policies/own", ".test.yaml"))
}

fn read(compiled: &Compiled, files: &[Source]) -> Vec<Case> {
    suite::read(compiled, files).unwrap_or_else(|findings| panic!("{}", lines(&findings)))
}

fn lines(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn the_built_in_policies_are_in_cedars_format() {
    let mut wrong = Vec::new();
    for (name, text) in FILES {
        let source = Source {
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        };
        if formatted(&source).unwrap() != *text {
            wrong.push(*name);
        }
    }
    let own = own().policies;
    let changed = own
        .iter()
        .filter(|source| formatted(source).unwrap() != source.text);
    wrong.extend(changed.map(|source| source.name.as_str()));
    assert!(
        wrong.is_empty(),
        "`cedarkeep policy format` would change {wrong:?}"
    );
}

#[test]
fn an_organizations_own_beside_them_pass_theirs() {
    let report = suite::run(&LIBRARY, &own(), &files("policies/own", ".test.yaml")).unwrap();
    assert!(report.passed(), "{}", report.words().join("\n"));
    assert_eq!(report.coverage.missing(), Vec::<String>::new());
    assert!(report.cases.len() > 50);
}

#[test]
fn the_built_in_policies_pass_their_tests_and_each_condition_is_reached() {
    let compiled = Compiled::builtin(&Arc::clone(&LIBRARY));
    let report = suite::run_on(&compiled, &cases(), Measured::BuiltIn);
    assert!(report.passed(), "{}", report.words().join("\n"));
    let (met, all) = report.coverage.counts();
    println!("{} cases, {met} of {all} reached", report.cases.len());
    let missing = report.coverage.missing();
    let unreached: Vec<&str> = UNREACHED.iter().map(|(what, _)| *what).collect();
    let unsaid: Vec<&String> = missing
        .iter()
        .filter(|one| !unreached.contains(&one.as_str()))
        .collect();
    let reached: Vec<&&str> = unreached
        .iter()
        .filter(|one| !missing.iter().any(|other| other == *one))
        .collect();
    assert!(
        unsaid.is_empty() && reached.is_empty(),
        "not reached:\n{unsaid:#?}\nsaid to be out of reach, and reached:\n{reached:#?}"
    );
}
