//! A test file read: its tests, each with its cases.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::asking::Asking;
use super::case::Case;
use super::given::Given;
use super::node::{At, Key, Node, What, listed, read, unknown};
use super::scene::Scene;
use super::stage::Stage;
use super::types::Types;
use crate::policy::compile::{Compiled, Source};
use crate::policy::error::Finding;
use crate::policy::link::Link;
use crate::policy::spelling::did_you_mean;

/// What may be said of a question, by a file, a test or a case.
const WORDS: [&str; 11] = [
    "principal",
    "action",
    "resource",
    "context",
    "acts_for",
    "session",
    "region",
    "now",
    "expect",
    "reasons",
    "reasons_include",
];

/// What may be said for all tests of a file.
const OF_A_FILE: [&str; 4] = ["given", "tests", "now", "region"];

/// What a row of a table says, unless `columns` says otherwise.
const COLUMNS: [&str; 4] = ["principal", "action", "resource", "expect"];

/// Reads the tests of a file.
pub(super) fn cases(
    compiled: &Compiled,
    types: &Types,
    source: &Source,
    findings: &mut Vec<Finding>,
) -> Vec<Case> {
    let node = match read(source) {
        Ok(node) => node,
        Err(finding) => {
            findings.push(finding);
            return Vec::new();
        }
    };
    let mut file = File {
        compiled,
        types,
        name: &source.name,
        findings: Vec::new(),
        cases: Vec::new(),
    };
    file.read(&node);
    file.findings
        .sort_by_key(|finding| (finding.line, finding.column));
    findings.append(&mut file.findings);
    file.cases
}

/// What is said of a question, by its words.
pub(super) type Words<'n> = BTreeMap<&'static str, &'n Node>;

/// A file that is being read.
struct File<'a> {
    compiled: &'a Compiled,
    types: &'a Types,
    name: &'a str,
    findings: Vec<Finding>,
    cases: Vec<Case>,
}

/// What is given, as entities and shares, and what names stand for.
struct Staged<'a> {
    stage: Stage<'a>,
    scene: Arc<Scene>,
    links: Arc<[Link]>,
}

impl<'a> File<'a> {
    fn refuse(&mut self, at: At, message: String, help: impl Into<String>) {
        self.findings
            .push(at.finding(self.name, message).with_help(help));
    }

    fn read(&mut self, node: &Node) {
        let Some(members) = node.members() else {
            let message = format!("a test file has members, and this is {}", node.kind());
            return self.refuse(node.at, message, "it begins with `tests:`");
        };
        let (mut given, mut words) = (Given::default(), Words::new());
        let mut tests = None;
        for (key, node) in members {
            match key.text.as_str() {
                "given" => given.lay(self.name, node, self.types, &mut self.findings),
                "tests" => tests = Some((key.at, node)),
                "now" => drop(words.insert("now", node)),
                "region" => drop(words.insert("region", node)),
                _ => self
                    .findings
                    .push(unknown(self.name, key, "a test file", &OF_A_FILE)),
            }
        }
        let Some((at, tests)) = tests else {
            return self.refuse(node.at, "there are no `tests`".to_owned(), "a list of them");
        };
        let Some(tests) = tests.list().filter(|tests| !tests.is_empty()) else {
            return self.refuse(
                at,
                no_list("tests", tests),
                "each test begins with `- name:`",
            );
        };
        let mut staged = self.staged(&given);
        let mut names: HashMap<&str, usize> = HashMap::new();
        for test in tests {
            let Some(members) = test.members() else {
                let message = format!("a test has members, and this is {}", test.kind());
                self.refuse(test.at, message, "each test begins with `- name:`");
                continue;
            };
            let name = member(members, "name").and_then(|(_, node)| match &node.what {
                What::Text(name) => Some((node.at, name.as_str())),
                _ => None,
            });
            let Some((at, name)) = name else {
                self.refuse(
                    test.at,
                    "a test has a `name`".to_owned(),
                    "a few words on what it shows",
                );
                continue;
            };
            if let Some(line) = names.insert(name, at.line) {
                let message =
                    format!("there are two tests called `{name}`, the first in line {line}");
                self.refuse(at, message, "choose another name");
            }
            self.test((members, name), &given, &mut staged, &words);
        }
    }

    fn staged(&mut self, given: &Given<'_>) -> Staged<'a> {
        let mut stage = Stage::new(self.compiled, self.types, self.name, given);
        let (scene, links) = (stage.scene(given), stage.links(given));
        self.findings.append(&mut stage.findings);
        Staged {
            stage,
            scene: Arc::new(scene),
            links: links.into(),
        }
    }

    fn test<'n>(
        &mut self,
        (members, name): (&'n [(Key, Node)], &str),
        given: &Given<'n>,
        staged: &mut Staged<'a>,
        words: &Words<'n>,
    ) {
        let mut words = words.clone();
        let mut own = member(members, "given").map(|(_, node)| {
            let mut given = given.clone();
            given.lay(self.name, node, self.types, &mut self.findings);
            self.staged(&given)
        });
        let staged = own.as_mut().unwrap_or(staged);
        let (mut rows, mut columns) = (None, COLUMNS.to_vec());
        let mut line = 0;
        for (key, node) in members {
            match key.text.as_str() {
                "name" => line = node.at.line,
                "given" => {}
                "cases" => rows = Some(node),
                "columns" => columns = self.columns(node),
                text => match WORDS.iter().find(|word| **word == text) {
                    Some(word) => drop(words.insert(word, node)),
                    None => {
                        let mut known = vec!["name", "given", "cases", "columns"];
                        known.extend(WORDS);
                        self.findings
                            .push(unknown(self.name, key, "a test", &known));
                    }
                },
            }
        }
        let Some(rows) = rows else {
            return self.case(name, staged, words, (None, line));
        };
        let Some(rows) = rows.list().filter(|rows| !rows.is_empty()) else {
            return self.refuse(
                rows.at,
                no_list("cases", rows),
                "as in `- [ben, thread.read, talk, allow]`",
            );
        };
        for (at, row) in rows.iter().enumerate() {
            let mut words = words.clone();
            match &row.what {
                What::List(cells) => {
                    if cells.len() != columns.len() {
                        let message = format!(
                            "the row has {} columns, and there are {}",
                            cells.len(),
                            columns.len()
                        );
                        self.refuse(row.at, message, format!("they are {}", listed(&columns)));
                        continue;
                    }
                    words.extend(columns.iter().copied().zip(cells));
                }
                What::Members(members) => {
                    for (key, node) in members {
                        match WORDS.iter().find(|word| **word == key.text) {
                            Some(word) => drop(words.insert(word, node)),
                            None => self
                                .findings
                                .push(unknown(self.name, key, "a case", &WORDS)),
                        }
                    }
                }
                _ => {
                    let message =
                        format!("a case is a row or has members, and this is {}", row.kind());
                    self.refuse(row.at, message, "as in `- [ben, thread.read, talk, allow]`");
                    continue;
                }
            }
            let number = Some(at.saturating_add(1));
            self.case(name, staged, words, (number, row.at.line));
        }
    }

    fn columns(&mut self, node: &Node) -> Vec<&'static str> {
        let mut columns = Vec::new();
        for item in node.list().unwrap_or(std::slice::from_ref(node)) {
            let name = item.name().unwrap_or_default();
            match WORDS.iter().find(|word| **word == name) {
                Some(word) => columns.push(*word),
                None => {
                    let help = did_you_mean(&name, WORDS);
                    let help = help.unwrap_or_else(|| format!("they may be {}", listed(&WORDS)));
                    self.refuse(item.at, format!("no column is called `{name}`"), help);
                }
            }
        }
        columns
    }

    fn case(
        &mut self,
        test: &str,
        staged: &mut Staged<'a>,
        words: Words<'_>,
        (number, line): (Option<usize>, usize),
    ) {
        let mut asking = Asking {
            stage: &mut staged.stage,
            words,
            line,
            scene: Arc::clone(&staged.scene),
        };
        let read = asking.read();
        let scene = Arc::clone(&asking.scene);
        let wrong = !staged.stage.findings.is_empty();
        self.findings.append(&mut staged.stage.findings);
        let (Some(read), false) = (read, wrong) else {
            return;
        };
        self.cases.push(Case {
            file: self.name.to_owned(),
            test: test.to_owned(),
            asked: read.asked,
            number,
            line,
            expected: read.expected,
            reasons: read.reasons,
            put: read.put,
            scene,
            links: Arc::clone(&staged.links),
        });
    }
}

/// That something is no list, or one of nothing.
fn no_list(word: &str, node: &Node) -> String {
    match node.list() {
        Some(_) => format!("`{word}` is a list, and this one is empty"),
        None => format!("`{word}` is a list, and this is {}", node.kind()),
    }
}

/// The member of a name.
pub(super) fn member<'n>(members: &'n [(Key, Node)], name: &str) -> Option<&'n (Key, Node)> {
    members.iter().find(|(key, _)| key.text == name)
}
