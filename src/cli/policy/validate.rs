//! A folder's policies validated beside the built-in ones.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::folder::{Folder, counted, lines, show};
use crate::cli::Outcome;
use crate::cli::ending::Ending;
use crate::cli::print::Out;
use crate::policy::{Compiled, Finding, Library, PolicyError, suite};

/// Check a folder's schema, policies and test files strictly, beside the built-in ones; nothing is run and nothing is loaded
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(in crate::cli) struct Validate {
    /// A folder with `schema.cedarschema` (or none), `*.cedar` and `*.test.yaml`
    dir: PathBuf,
}

const AFTER: &str = "\
Exit codes: 0 all is valid, 1 something is wrong, 2 the folder cannot be read.
Each finding has file, line and column, and what would put it right where that is known.";

impl Validate {
    pub(super) fn run(&self, out: &Out) -> Outcome {
        let folder = match Folder::read(&self.dir) {
            Ok(folder) => folder,
            Err(unread) => return unread.end(out),
        };
        let library = Arc::new(Library::builtin()?);
        let compiled = match Compiled::new(&library, &folder.own) {
            Ok(compiled) => compiled,
            Err(PolicyError::Refused(findings)) => return refused(out, &findings),
            Err(error) => return Err(error.into()),
        };
        let cases = match suite::read(&compiled, &folder.tests) {
            Ok(cases) => cases.len(),
            Err(findings) => return refused(out, &findings),
        };
        let warnings = compiled.warnings();
        let policies = compiled.own_policies().count();
        let mut words: Vec<String> = warnings.iter().flat_map(warned).collect();
        words.push(format!(
            "valid: {}, {} and {}",
            count(policies, "policy", "policies"),
            count(warnings.len(), "warning", "warnings"),
            count(cases, "test case", "test cases"),
        ));
        let found: Vec<_> = warnings.iter().map(Finding::to_json).collect();
        out.say(
            &json!({ "valid": true, "policies": policies, "cases": cases, "findings": [], "warnings": found }),
            &words.join("\n"),
        )?;
        Ok(())
    }
}

fn refused(out: &Out, findings: &[Finding]) -> Outcome {
    if out.is_json() {
        let found: Vec<_> = findings.iter().map(Finding::to_json).collect();
        out.say(&json!({ "valid": false, "findings": found }), "")?;
    } else {
        show(out, findings)?;
    }
    Err(Ending::unmet(counted(findings)).into())
}

fn warned(warning: &Finding) -> Vec<String> {
    let lines = lines(warning).into_iter().enumerate();
    let lines = lines.map(|(at, line)| match at {
        0 => format!("warning: {line}"),
        _ => line,
    });
    lines.collect()
}

/// So many of something.
fn count(of: usize, one: &str, many: &str) -> String {
    match of {
        1 => format!("1 {one}"),
        of => format!("{of} {many}"),
    }
}
