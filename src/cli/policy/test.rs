//! A folder's test files run on its policies.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::folder::{Folder, counted, show};
use crate::cli::Outcome;
use crate::cli::ending::Ending;
use crate::cli::print::Out;
use crate::policy::suite::{self, Coverage, SuiteReport};
use crate::policy::{Finding, Library};

/// Run a folder's test files on its policies, as the service would answer; nothing is loaded
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(in crate::cli) struct Test {
    /// A folder with `schema.cedarschema` (or none), `*.cedar` and `*.test.yaml`
    dir: PathBuf,
    /// Write the results to a file in JUnit's format, for build servers
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Say which policies and which of their conditions no test reaches
    #[arg(long)]
    coverage: bool,
    /// Fail where less is reached, as a part of 100
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    min_coverage: Option<f64>,
}

const AFTER: &str = "\
Exit codes: 0 every test passes, 1 one does not (or the coverage is too small), 2 the files are wrong and nothing was run.

Example of a test file:
  given:
    users: {ada: Admin, ben: Member, vic: Viewer}
    threads: {talk: ben}
    shares: [{template: share-viewer, to: vic, of: talk, until: 2026-06-01}]
  tests:
    - name: a thread is its owner's, and whoever it is shared with reads it
      action: thread.read
      resource: talk
      columns: [principal, expect]
      cases:
        - [ben, allow]
        - [vic, allow]
        - [ada, not_permitted]
    - name: a share ends
      principal: vic
      action: thread.read
      resource: talk
      now: 2026-06-02
      expect: deny

Coverage counts, of each policy, that its scope fits a question, and of each of its conditions that it held and that it did not.";

fn percent(text: &str) -> Result<f64, String> {
    let wrong = || "it must be a number from 0 to 100".to_owned();
    let number: f64 = text.parse().map_err(|_| wrong())?;
    match (0.0..=100.0).contains(&number) {
        true => Ok(number),
        false => Err(wrong()),
    }
}

impl Test {
    pub(super) fn run(&self, out: &Out) -> Outcome {
        let folder = match Folder::read(&self.dir) {
            Ok(folder) => folder,
            Err(unread) => return unread.end(out),
        };
        if folder.tests.is_empty() {
            let said = format!("there is no `*.test.yaml` in `{}`", self.dir.display());
            return Err(Ending::unchecked(said).into());
        }
        let library = Arc::new(Library::builtin()?);
        let report = match suite::run(&library, &folder.own, &folder.tests) {
            Ok(report) => report,
            Err(findings) => return wrong(out, &findings),
        };
        if let Some(file) = &self.junit {
            let cannot = |why: &dyn std::fmt::Display| {
                Ending::unchecked(format!("cannot write `{}`: {why}", file.display()))
            };
            let xml = report.to_junit().map_err(|error| cannot(&error))?;
            fs::write(file, xml).map_err(|error| cannot(&error))?;
        }
        let mut words = report.words();
        if self.coverage || self.min_coverage.is_some() {
            words.extend(covered(&report.coverage, self.coverage));
        }
        out.say(&report.to_json(), &words.join("\n"))?;
        self.ended(&report)
    }

    fn ended(&self, report: &SuiteReport) -> Outcome {
        if !report.passed() {
            return Err(Ending::unmet("the tests do not pass").into());
        }
        let covered = report.coverage.percent();
        match self.min_coverage.filter(|least| covered < *least) {
            Some(least) => {
                let said = format!(
                    "the tests reach {covered:.1} % of the policies, and {least} % are wanted"
                );
                Err(Ending::unmet(said).into())
            }
            None => Ok(()),
        }
    }
}

fn wrong(out: &Out, findings: &[Finding]) -> Outcome {
    if out.is_json() {
        let found: Vec<_> = findings.iter().map(Finding::to_json).collect();
        out.say(&json!({ "passed": false, "findings": found }), "")?;
    } else {
        show(out, findings)?;
    }
    Err(Ending::unchecked(counted(findings)).into())
}

fn covered(coverage: &Coverage, all: bool) -> Vec<String> {
    let (met, of) = coverage.counts();
    let mut lines = vec![format!(
        "coverage: {:.1} % ({met} of {of})",
        coverage.percent()
    )];
    if all {
        lines.extend(
            coverage
                .missing()
                .into_iter()
                .map(|line| format!("  {line}")),
        );
    }
    lines
}
