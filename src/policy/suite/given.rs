//! What a test file says there is: people, what they made, an organization's own entities and shares; what a test says of its own is laid over
//! what the file says.

use std::collections::BTreeMap;

use super::node::{At, Key, Node, What, unknown};
use super::types::{GROUP, ORGANIZATION, Types};
use crate::policy::error::Finding;

/// What is said of one thing, by the names of its members.
pub(super) type Said<'n> = BTreeMap<String, (At, &'n Node)>;

/// A thing that is there.
#[derive(Debug, Clone)]
pub(super) struct Thing<'n> {
    pub(super) at: At,
    pub(super) said: Said<'n>,
}

/// Everything that is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Given<'n> {
    pub(super) organization: Said<'n>,
    /// By the name of their type and their own.
    pub(super) things: BTreeMap<(String, String), Thing<'n>>,
    /// Of an organization's own types, as `type:id`.
    pub(super) own: BTreeMap<String, Thing<'n>>,
    /// In Cedar's JSON form.
    pub(super) cedar: Vec<&'n Node>,
    pub(super) shares: Vec<&'n Node>,
}

impl<'n> Given<'n> {
    /// Lays what a `given` says over this.
    pub(super) fn lay(
        &mut self,
        file: &str,
        node: &'n Node,
        types: &Types,
        findings: &mut Vec<Finding>,
    ) {
        let Some(members) = node.members() else {
            let message = format!("`given` has members, and this is {}", node.kind());
            findings.push(node.at.finding(file, message));
            return;
        };
        for (key, node) in members {
            match key.text.as_str() {
                "organization" => match node.members() {
                    Some(members) => self.organization.extend(said(members)),
                    None => {
                        let message =
                            format!("`organization` has members, and this is {}", node.kind());
                        let help = "as in `organization: {plan: Business}`";
                        findings.push(node.at.finding(file, message).with_help(help));
                    }
                },
                "shares" => match node.list() {
                    Some(shares) => self.shares.extend(shares),
                    None => {
                        let message = format!("`shares` is a list, and this is {}", node.kind());
                        findings.push(node.at.finding(file, message));
                    }
                },
                "entities" => self.lay_own(file, node, findings),
                section => match types.of_section(section) {
                    Some(of) => {
                        self.lay_section(file, (key, node), (&of.name, of.short()), findings)
                    }
                    None => {
                        let mut known: Vec<&str> =
                            types.sections().map(|one| one.section.as_str()).collect();
                        known.extend(["organization", "entities", "shares"]);
                        findings.push(unknown(file, key, "`given`", &known));
                    }
                },
            }
        }
    }

    fn lay_section(
        &mut self,
        file: &str,
        (section, node): (&Key, &'n Node),
        (kind, short): (&str, Option<&str>),
        findings: &mut Vec<Finding>,
    ) {
        let mut add = |name: String, at: At, said: Said<'n>| {
            let things = self.things.entry((kind.to_owned(), name));
            let thing = things.or_insert_with(|| Thing {
                at,
                said: Said::new(),
            });
            thing.said.extend(said);
        };
        match &node.what {
            // `groups: [crew, staff]`
            What::List(items) => {
                for item in items {
                    match item.name() {
                        Some(name) => add(name, item.at, Said::new()),
                        None => {
                            let message =
                                format!("a name is wanted here, and this is {}", item.kind());
                            findings.push(item.at.finding(file, message));
                        }
                    }
                }
            }
            What::Members(members) => {
                for (key, node) in members {
                    let short = match (&node.what, kind) {
                        (What::Null, _) => Ok(Said::new()),
                        (What::Members(members), _) => Ok(said(members)),
                        // `crew: [ben]`
                        (What::List(_), GROUP) => Ok(one("members", node)),
                        _ => short.map(|short| one(short, node)).ok_or(()),
                    };
                    match short {
                        Ok(said) => add(key.text.clone(), key.at, said),
                        Err(()) => {
                            let message =
                                format!("`{}` has members, and this is {}", key.text, node.kind());
                            findings.push(node.at.finding(file, message));
                        }
                    }
                }
            }
            What::Null => {}
            _ => {
                let message = format!(
                    "`{}` has names, each with what it is, and this is {}",
                    section.text,
                    node.kind()
                );
                findings.push(node.at.finding(file, message));
            }
        }
    }

    fn lay_own(&mut self, file: &str, node: &'n Node, findings: &mut Vec<Finding>) {
        match &node.what {
            What::List(items) => self.cedar.extend(items),
            What::Members(members) => {
                for (key, node) in members {
                    let said = match &node.what {
                        What::Null => Said::new(),
                        What::Members(members) => said(members),
                        _ => {
                            let message = format!(
                                "`{}` has attributes, and this is {}",
                                key.text,
                                node.kind()
                            );
                            findings.push(node.at.finding(file, message));
                            continue;
                        }
                    };
                    let thing = self.own.entry(key.text.clone()).or_insert_with(|| Thing {
                        at: key.at,
                        said: Said::new(),
                    });
                    thing.said.extend(said);
                }
            }
            What::Null => {}
            _ => {
                let message = format!(
                    "`entities` has members as `type:id`, or a list of entities in Cedar's JSON form, and this is {}",
                    node.kind()
                );
                findings.push(node.at.finding(file, message));
            }
        }
    }

    /// The things of a type.
    pub(super) fn of(&self, kind: &str) -> impl Iterator<Item = (&String, &Thing<'n>)> {
        let things = self.things.iter();
        let kind = kind.to_owned();
        things.filter_map(move |((of, name), thing)| (*of == kind).then_some((name, thing)))
    }

    /// The organizations besides the one that the tests are about.
    pub(super) fn others(&self) -> impl Iterator<Item = (&String, &Thing<'n>)> {
        self.of(ORGANIZATION)
    }
}

fn said(members: &[(Key, Node)]) -> Said<'_> {
    let members = members.iter();
    members
        .map(|(key, node)| (key.text.clone(), (key.at, node)))
        .collect()
}

fn one<'n>(name: &str, node: &'n Node) -> Said<'n> {
    BTreeMap::from([(name.to_owned(), (node.at, node))])
}
