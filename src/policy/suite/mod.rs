//! Tests of policies, as an organization keeps them beside its own: who and what there is, questions, and the answers that are expected.
//!
//! A test file is YAML (`node`), read within limits and with the place of each value. What it gives (`given`) has names (`names`) and becomes
//! entities by the schema (`types`, `stage`, `values`, `scene`); each question (`file`, `asking`, `case`) is put to the engine that answers in
//! production, half by half. What came of it (`report`) says too which policies and which of their conditions no test reaches (`coverage`).

mod asking;
mod case;
mod coverage;
mod file;
mod given;
mod names;
mod node;
mod report;
mod scene;
mod stage;
mod types;
mod values;

use std::collections::HashMap;
use std::sync::Arc;

pub use case::{Answer, Case, Reasons};
pub use coverage::{Coverage, PartCoverage, PolicyCoverage};
pub use report::{CaseReport, SuiteReport};

use super::builtin::Library;
use super::compile::{Compiled, OwnPolicies, Source};
use super::error::{Finding, PolicyError};
use super::evaluate::evaluate;
use super::explain::explain;
use super::looked::Sight;
use super::program::STACK;
use super::request::Question;
use super::sentences::details;
use super::words::thing;
use types::Types;

/// How many questions the tests may put in all.
pub const CASES_MOST: usize = 20_000;

/// Of how many that do not pass is said why the answer is what it is.
const EXPLAINED_MOST: usize = 50;

/// Whose policies the coverage is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// The organization's own.
    Own,
    /// The built-in ones and the templates.
    BuiltIn,
}

/// Compiles an organization's own policies and runs tests on them.
///
/// # Errors
/// What is wrong with the policies; else what is wrong with the tests.
pub fn run(
    library: &Arc<Library>,
    own: &OwnPolicies,
    tests: &[Source],
) -> Result<SuiteReport, Vec<Finding>> {
    let compiled = Compiled::new(library, own).map_err(|error| match error {
        PolicyError::Refused(findings) => findings,
        error => vec![Finding::in_file("", error.to_string())],
    })?;
    let cases = read(&compiled, tests)?;
    Ok(run_on(&compiled, &cases, Measured::Own))
}

/// Reads test files: every question that they put, with its entities.
///
/// # Errors
/// Everything that is wrong with them.
pub fn read(compiled: &Compiled, tests: &[Source]) -> Result<Vec<Case>, Vec<Finding>> {
    let types = Types::of(compiled.library());
    let (mut cases, mut findings) = (Vec::new(), Vec::new());
    let mut names: HashMap<&str, usize> = HashMap::new();
    for source in tests {
        if names.insert(&source.name, 1).is_some() {
            let message = "there are two files of this name".to_owned();
            findings.push(Finding::in_file(&source.name, message));
            continue;
        }
        let found = stacker::grow(STACK, || {
            file::cases(compiled, &types, source, &mut findings)
        });
        cases.extend(found);
        if cases.len() > CASES_MOST {
            let message = format!("the tests put more than {CASES_MOST} questions");
            findings.push(Finding::in_file(&source.name, message).with_help("run them in parts"));
            break;
        }
    }
    match findings.is_empty() {
        true => Ok(cases),
        false => Err(findings),
    }
}

/// Puts questions that were read to policies, which may be others of the same vocabulary.
#[must_use]
pub fn run_on(compiled: &Compiled, cases: &[Case], measured: Measured) -> SuiteReport {
    stacker::grow(STACK, || {
        let mut watch = coverage::Watch::over(compiled, measured);
        let (mut reports, mut failed) = (Vec::new(), 0_usize);
        for case in cases {
            watch.look(case);
            let got = case.evaluate(compiled);
            let failure = case.differs(&got);
            failed = failed.saturating_add(usize::from(failure.is_some()));
            let why = match failure.is_some() && failed <= EXPLAINED_MOST {
                true => why(compiled, case),
                false => Vec::new(),
            };
            reports.push(CaseReport {
                file: case.file.clone(),
                line: case.line,
                test: case.test.clone(),
                asked: case.asked.clone(),
                number: case.number,
                expected: case.expected(),
                got: Answer::of(&got).to_string(),
                reasons: case::reasons(&got).into_iter().collect(),
                failure,
                why,
            });
        }
        SuiteReport {
            cases: reports,
            coverage: watch.coverage(),
        }
    })
}

/// Why the answer is what it is: of the half that says no, else of the first.
fn why(compiled: &Compiled, case: &Case) -> Vec<String> {
    let refused = |half: &&Question| {
        let links = case.compiled_links(compiled, half);
        !evaluate(compiled, &links, case.view(), half).is_allowed()
    };
    let halves = case.questions();
    let Some(half) = halves.iter().find(refused).or(halves.first()) else {
        return Vec::new();
    };
    let links = case.compiled_links(compiled, half);
    let sight = Sight {
        sees: &|_, _| true,
        named: &thing,
    };
    let explanation = explain(compiled, &links, case.view(), half, sight);
    details(&explanation, &thing)
}
