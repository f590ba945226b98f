//! A folder of policies: `schema.cedarschema`, `*.cedar` and `*.test.yaml`, read within limits.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::cli::Outcome;
use crate::cli::ending::Ending;
use crate::cli::print::Out;
use crate::directory::policies::files::{BYTES_LIMIT, FILES_LIMIT};
use crate::policy::{Finding, OwnPolicies, Source};

/// What the schema's file is called.
pub(in crate::cli) const SCHEMA: &str = "schema.cedarschema";

/// How a file of policies ends, and one of tests.
const POLICIES: &str = ".cedar";
const TESTS: &str = ".test.yaml";

/// What a folder has.
#[derive(Debug, Default)]
pub(in crate::cli) struct Folder {
    /// Schema and policies.
    pub(in crate::cli) own: OwnPolicies,
    /// Test files.
    pub(in crate::cli) tests: Vec<Source>,
}

/// Why a folder was not read.
#[derive(Debug)]
pub(in crate::cli) enum Unread {
    /// It is not there, or is none.
    Folder(String),
    /// Files of it cannot be taken.
    Files(Vec<Finding>),
}

impl Folder {
    /// Reads a folder. Whatever has another name is left alone; a folder within that has policies is not, since they would be missed.
    ///
    /// # Errors
    /// It cannot be read, or a file of it is more than one may be, leads out of it, or is no UTF-8.
    pub(in crate::cli) fn read(path: &Path) -> Result<Self, Unread> {
        let cannot = |error: &io::Error| {
            Unread::Folder(format!(
                "cannot read the folder `{}`: {error}",
                path.display()
            ))
        };
        let home = fs::canonicalize(path).map_err(|error| cannot(&error))?;
        let mut names = Vec::new();
        let mut findings = Vec::new();
        for entry in fs::read_dir(&home).map_err(|error| cannot(&error))? {
            let entry = entry.map_err(|error| cannot(&error))?;
            let name = entry.file_name();
            let name = name.to_string_lossy().into_owned();
            if is_ours(&name) {
                names.push((name, entry.path()));
            } else if let Some(within) = policies_within(&entry.path()) {
                let message =
                    format!("`{within}` stands in a folder within, and would be left out");
                findings.push(finding(
                    &name,
                    message,
                    "policies stand side by side in one folder",
                ));
            }
        }
        names.sort();
        if names.len() > FILES_LIMIT {
            let message = format!("the folder is too much: it has more than {FILES_LIMIT} files");
            findings.push(finding("", message, "put several policies in a file"));
            names.clear();
        }
        let (mut folder, mut bytes) = (Self::default(), 0_usize);
        for (name, path) in names {
            match text(&home, &name, &path) {
                Ok(text) => {
                    bytes = bytes.saturating_add(text.len());
                    folder.add(Source { name, text });
                }
                Err(found) => findings.push(found),
            }
            if bytes > BYTES_LIMIT {
                let message = format!(
                    "the folder is too much: its files are longer than {BYTES_LIMIT} bytes"
                );
                findings.push(finding("", message, "split it"));
                break;
            }
        }
        match findings.is_empty() {
            true => Ok(folder),
            false => Err(Unread::Files(findings)),
        }
    }

    fn add(&mut self, source: Source) {
        if source.name == SCHEMA {
            self.own.schema = Some(source);
        } else if source.name.ends_with(TESTS) {
            self.tests.push(source);
        } else {
            self.own.policies.push(source);
        }
    }
}

/// Files as names and texts.
pub(in crate::cli) fn texts(sources: Vec<Source>) -> Vec<(String, String)> {
    let texts = sources.into_iter();
    texts.map(|source| (source.name, source.text)).collect()
}

impl Unread {
    /// Says so, and ends the command as one that could not check anything.
    pub(in crate::cli) fn end(self, out: &Out) -> Outcome {
        match self {
            Self::Folder(message) => Err(Ending::unchecked(message).into()),
            Self::Files(findings) => {
                show(out, &findings)?;
                Err(Ending::unchecked(counted(&findings)).into())
            }
        }
    }
}

/// Prints findings, for people one by one with the next step.
pub(in crate::cli) fn show(out: &Out, findings: &[Finding]) -> io::Result<()> {
    if out.is_json() {
        let findings: Vec<_> = findings.iter().map(Finding::to_json).collect();
        return out.say(&serde_json::json!({ "findings": findings }), "");
    }
    let lines: Vec<String> = findings.iter().flat_map(lines).collect();
    out.say(&serde_json::Value::Null, &lines.join("\n"))
}

/// A finding in lines, its place first.
pub(super) fn lines(finding: &Finding) -> Vec<String> {
    let mut place = finding.file.clone();
    if let (Some(line), Some(column)) = (finding.line, finding.column) {
        place.push_str(&format!(":{line}:{column}"));
    }
    let place = match place.is_empty() {
        true => String::new(),
        false => format!("{place}: "),
    };
    let mut lines = vec![format!("{place}{}", finding.message)];
    let help = finding.help.iter();
    lines.extend(help.map(|help| format!("    {}", help.replace('\n', "\n    "))));
    lines
}

/// How many there are, in words.
pub(super) fn counted(findings: &[Finding]) -> String {
    match findings.len() {
        1 => "one thing is wrong with the files".to_owned(),
        many => format!("{many} things are wrong with the files"),
    }
}

pub(super) fn is_ours(name: &str) -> bool {
    name == SCHEMA || name.ends_with(POLICIES) || name.ends_with(TESTS)
}

/// A policy file in a folder within.
fn policies_within(path: &Path) -> Option<String> {
    let folder = fs::symlink_metadata(path).ok().filter(Metadata::is_dir);
    let entries = folder.and_then(|_| fs::read_dir(path).ok())?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.ends_with(POLICIES)).min()
}

fn finding(file: &str, message: String, help: &str) -> Finding {
    Finding {
        file: file.to_owned(),
        line: None,
        column: None,
        message,
        help: Some(help.to_owned()),
    }
}

/// A file's text.
fn text(home: &Path, name: &str, path: &Path) -> Result<String, Finding> {
    let cannot = |error: io::Error| {
        finding(
            name,
            format!("the file cannot be read: {error}"),
            "see to its permissions",
        )
    };
    let real = fs::canonicalize(path).map_err(cannot)?;
    if !real.starts_with(home) {
        let message = "the file is a link that leads out of the folder".to_owned();
        return Err(finding(name, message, "put the file itself here"));
    }
    if !fs::metadata(&real).map_err(cannot)?.is_file() {
        return Err(finding(name, "this is no file".to_owned(), "rename it"));
    }
    let mut bytes = Vec::new();
    let opened = File::open(&real).map_err(cannot)?;
    opened
        .take(
            u64::try_from(BYTES_LIMIT)
                .unwrap_or(u64::MAX)
                .saturating_add(1),
        )
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() > BYTES_LIMIT {
        let message = format!("the file is too much: it is longer than {BYTES_LIMIT} bytes");
        return Err(finding(name, message, "say it in several files"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let before = bytes.get(..valid).unwrap_or_default();
        let before = std::str::from_utf8(before).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        let last = before.rsplit('\n').next().unwrap_or_default();
        Finding {
            line: Some(line),
            column: Some(last.chars().count().saturating_add(1)),
            ..finding(name, "the file is no UTF-8".to_owned(), "save it as UTF-8")
        }
    })
}

/// A file of the folder, where it really is.
pub(super) fn place(folder: &Path, name: &str) -> io::Result<PathBuf> {
    fs::canonicalize(folder.join(name))
}
