//! What came of tests: for people, for programs, and for build servers.

use std::collections::BTreeMap;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value as Json, json};

use super::coverage::Coverage;

/// What came of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseReport {
    /// The file that it is in.
    pub file: String,
    /// The line that it stands in.
    pub line: usize,
    /// The test's name.
    pub test: String,
    /// What is asked, in words.
    pub asked: String,
    /// Which case of its test it is, from 1; nothing where the test is one question.
    pub number: Option<usize>,
    /// What was expected, in words.
    pub expected: String,
    /// What came, in words of the same kind.
    pub got: String,
    /// The policies that the answer goes by.
    pub reasons: Vec<String>,
    /// What is not as it was expected; nothing: it passed.
    pub failure: Option<String>,
    /// Why the answer is what it is, of one that did not pass.
    pub why: Vec<String>,
}

/// What came of tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteReport {
    /// Each question, in the order of the files.
    pub cases: Vec<CaseReport>,
    /// What the tests reach.
    pub coverage: Coverage,
}

impl CaseReport {
    /// Whether the answer is the expected one.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.failure.is_none()
    }

    /// What it is called: the test, and of several cases which.
    #[must_use]
    pub fn name(&self) -> String {
        match self.number {
            Some(number) => format!("{}, case {number}: {}", self.test, self.asked),
            None => self.test.clone(),
        }
    }
}

impl SuiteReport {
    /// Those that did not pass.
    pub fn failed(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(|case| !case.passed())
    }

    /// Whether all of them passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed().next().is_none()
    }

    /// For programs: `passed`, `cases` and `coverage`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let cases = self.cases.iter().map(|case| {
            json!({
                "file": case.file, "line": case.line, "test": case.test, "case": case.number,
                "asked": case.asked, "passed": case.passed(), "expected": case.expected,
                "got": case.got, "reasons": case.reasons, "failure": case.failure, "why": case.why,
            })
        });
        json!({
            "passed": self.passed(),
            "cases": cases.collect::<Vec<_>>(),
            "coverage": self.coverage.to_json(),
        })
    }

    /// For people, line by line: what did not pass, and how many did.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for case in self.failed() {
            let (file, line) = (&case.file, case.line);
            lines.push(format!("FAILED {file} line {line}: {}", case.name()));
            if case.number.is_none() {
                lines.push(format!("  asked: {}", case.asked));
            }
            lines.extend(case.failure.iter().map(|failure| format!("  {failure}")));
            lines.extend(case.why.iter().map(|why| format!("  {why}")));
        }
        let (all, failed) = (self.cases.len(), self.failed().count());
        lines.push(match failed {
            0 => format!("{all} of {all} cases pass"),
            failed => format!("{failed} of {all} cases fail"),
        });
        lines
    }

    /// In the format of JUnit, as build servers read it.
    ///
    /// # Errors
    /// What cannot be written as XML.
    pub fn to_junit(&self) -> Result<String, quick_junit::SerializeError> {
        let mut files: BTreeMap<&str, TestSuite> = BTreeMap::new();
        for case in &self.cases {
            let mut status = match &case.failure {
                None => TestCaseStatus::success(),
                Some(_) => TestCaseStatus::non_success(NonSuccessKind::Failure),
            };
            if let Some(failure) = &case.failure {
                status.set_message(failure);
                status.set_description(case.why.join("\n"));
            }
            let mut one = TestCase::new(case.name(), status);
            one.set_classname(&case.file);
            one.add_property(Property::new("line", case.line.to_string()));
            let suite = files.entry(&case.file);
            let suite = suite.or_insert_with(|| TestSuite::new(&case.file));
            suite.add_test_case(one);
        }
        let mut report = Report::new("cedarkeep policy test");
        report.add_test_suites(files.into_values());
        report.to_string()
    }
}
