//! A question of a test read, and put as the decision point puts it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

use super::case::{Answer, Put, Reasons};
use super::file::{Words, member};
use super::names::ours;
use super::node::{At, Node, What, listed, unknown};
use super::scene::Scene;
use super::stage::Stage;
use super::types::USER;
use crate::policy::evaluate::{Evaluation, Refusal};
use crate::policy::request::{Facts, SERVER, Said, SignedIn};
use crate::policy::shape::{Fields, Shape};
use crate::policy::spelling::did_you_mean;
use crate::policy::value::{Type, Uid};
use crate::policy::vocabulary::Action;

/// When a question is asked that says no time.
const NOW: &str = "2026-01-01T00:00:00Z";

/// Where one is asked that says no region.
const REGION: &str = "eu";

/// A question that is being read.
pub(super) struct Asking<'s, 'a, 'n> {
    pub(super) stage: &'s mut Stage<'a>,
    pub(super) words: Words<'n>,
    /// Where it stands.
    pub(super) line: usize,
    /// What is there, with what the question says of it.
    pub(super) scene: Arc<Scene>,
}

/// A question that was read.
pub(super) struct Read {
    pub(super) asked: String,
    pub(super) expected: Answer,
    pub(super) reasons: Reasons,
    pub(super) put: Put,
}

/// Whom or what a question names, and what it says of them.
struct Party {
    uid: Uid,
    name: String,
}

impl Asking<'_, '_, '_> {
    fn refuse(&mut self, at: At, message: impl Into<String>, help: Option<String>) -> Option<Read> {
        self.stage.refuse(at, message.into(), help);
        None
    }

    /// A word that must be said.
    fn needed(&mut self, word: &str) -> Option<Node> {
        let found = self.words.get(word).map(|node| (*node).clone());
        if found.is_none() {
            let at = At {
                line: self.line,
                column: 1,
            };
            self.refuse(at, format!("it says no `{word}`"), None);
        }
        found
    }

    /// The question; nothing where something is wrong with it.
    pub(super) fn read(&mut self) -> Option<Read> {
        let (principal, action, resource) = (
            self.needed("principal"),
            self.needed("action"),
            self.needed("resource"),
        );
        let (expected, reasons) = (self.expected(), self.reasons());
        let (action, properties) = self.action(&action?)?;
        let principal = self.party(&principal?, action.principals())?;
        let resource = self.party(&resource?, action.resources())?;
        let asked = format!("{} {} {}", principal.name, action.name(), resource.name);
        let context = self.context(&action);
        let facts = self.facts(&principal.uid);
        let (expected, reasons, context, facts) = (expected?, reasons?, context?, facts?);
        let library = self.stage.compiled.library();
        let put = match library.reserved(action.name(), &context) {
            Some(by) => Put::Settled(Evaluation::refused(Refusal::Forbidden, vec![by])),
            None => {
                let said = Said {
                    context: &context,
                    action: &properties,
                };
                self.halves(&principal.uid, &action, &resource.uid, said, &facts)?
            }
        };
        Some(Read {
            asked,
            expected,
            reasons,
            put,
        })
    }

    fn expected(&mut self) -> Option<Answer> {
        let node = self.needed("expect")?;
        let name = node.name().unwrap_or_default();
        let found = Answer::ALL.into_iter().find(|answer| answer.word() == name);
        if found.is_none() {
            let known = Answer::ALL.map(Answer::word);
            let help = match name.as_str() {
                "yes" => Some("did you mean `allow`?".to_owned()),
                "no" => Some("did you mean `deny`?".to_owned()),
                name => did_you_mean(name, known),
            };
            let help = help.unwrap_or_else(|| format!("one of {}", listed(&known)));
            self.refuse(node.at, "this is no answer", Some(help));
        }
        found
    }

    fn reasons(&mut self) -> Option<Reasons> {
        let (exactly, including) = (
            self.words.get("reasons").copied(),
            self.words.get("reasons_include").copied(),
        );
        match (exactly, including) {
            (None, None) => Some(Reasons::Any),
            (Some(node), None) => Some(Reasons::Exactly(self.ids(node)?)),
            (None, Some(node)) => Some(Reasons::Including(self.ids(node)?)),
            (Some(_), Some(node)) => {
                let message = "both `reasons` and `reasons_include` are said";
                self.refuse(node.at, message, Some("say one of them".to_owned()));
                None
            }
        }
    }

    fn ids(&mut self, node: &Node) -> Option<BTreeSet<String>> {
        let mut ids = BTreeSet::new();
        let items = node.list().unwrap_or(std::slice::from_ref(node));
        for item in items.iter().filter(|item| !item.is_null()) {
            let id = item.name().unwrap_or_default();
            if !self.stage.compiled.has_policy(&id) {
                let compiled = self.stage.compiled;
                let known = compiled.policy_ids();
                let help = did_you_mean(&id, known.iter().map(String::as_str));
                let message = format!("no policy has the id `{id}`");
                self.refuse(item.at, message, help);
                return None;
            }
            ids.insert(id);
        }
        Some(ids)
    }

    /// A name, and what is said of it: `7`, or `{name: 7, properties: {..}}`.
    fn told(&mut self, node: &Node, of: &str) -> (Node, Option<Node>) {
        let Some(members) = node.members() else {
            return (node.clone(), None);
        };
        let known = ["name", "properties"];
        for (key, _) in members {
            if !known.contains(&key.text.as_str()) {
                let finding = unknown(self.stage.file, key, of, &known);
                self.stage.findings.push(finding);
            }
        }
        let [name, properties] =
            known.map(|name| member(members, name).map(|(_, node)| node.clone()));
        (name.unwrap_or_else(|| node.clone()), properties)
    }

    /// The action, and what is said of it.
    fn action(&mut self, node: &Node) -> Option<(Arc<Action>, Map<String, Json>)> {
        let (name, properties) = self.told(node, "an action");
        let said = name.name().unwrap_or_default();
        let vocabulary = self.stage.compiled.vocabulary();
        let Some(action) = vocabulary.action(&said).cloned() else {
            let help = did_you_mean(&said, vocabulary.actions().map(|action| action.name()));
            self.refuse(name.at, format!("no action is called `{said}`"), help);
            return None;
        };
        let properties = match properties {
            None => Map::new(),
            Some(node) => {
                let fields = match action.context().get("action") {
                    Some(Shape::Record(fields)) => fields.clone(),
                    _ => Fields::new(),
                };
                self.members(&node, &fields, "properties")?
            }
        };
        Some((action, properties))
    }

    /// What has members, each in the shape that the schema wants.
    fn members(&mut self, node: &Node, fields: &Fields, path: &str) -> Option<Map<String, Json>> {
        match &node.what {
            What::Null => Some(Map::new()),
            What::Members(members) => self.stage.record(fields, members, path),
            _ => {
                let message = format!("`{path}` has members, and this is {}", node.kind());
                self.refuse(node.at, message, None);
                None
            }
        }
    }

    /// Who or what is meant; of an organization's own types with what is said of it.
    fn party(&mut self, node: &Node, wanted: &[Type]) -> Option<Party> {
        let (name, properties) = self.told(node, "it");
        let uid = self.stage.named(&name, wanted)?;
        let vocabulary = self.stage.compiled.vocabulary();
        let fields = vocabulary.own_attributes(&uid.kind()).cloned();
        let said = match (properties, &fields) {
            (None, _) => Map::new(),
            (Some(node), Some(fields)) => self.members(&node, fields, "properties")?,
            (Some(node), None) => {
                let message =
                    "what is of a built-in type has no properties but those that are given";
                self.refuse(node.at, message, None);
                return None;
            }
        };
        let stored = self.scene.entity(&uid);
        if fields.is_some() && (stored.is_none() || !said.is_empty()) {
            let told = vocabulary.own_entity(uid.clone(), stored, &said);
            let added = match told {
                Ok(entity) => entity.to_cedar().map(|cedar| (entity, cedar)),
                Err(error) => {
                    self.refuse(name.at, error.to_string(), None);
                    return None;
                }
            };
            if let Some((entity, cedar)) = added {
                Arc::make_mut(&mut self.scene).add(entity, cedar);
            }
        }
        Some(Party {
            uid,
            name: name.name().unwrap_or_default(),
        })
    }

    /// What is said of the circumstances.
    fn context(&mut self, action: &Action) -> Option<Map<String, Json>> {
        let Some(node) = self.words.get("context").copied() else {
            return Some(Map::new());
        };
        let mut fields = action.context().clone();
        fields.retain(|name, _| **name != *SERVER && **name != *"action");
        self.members(node, &fields, "context")
    }

    /// What the server would know.
    fn facts(&mut self, principal: &Uid) -> Option<Facts> {
        let now = match self.words.get("now").copied() {
            Some(node) => self.stage.time(node)?,
            None => NOW.parse::<DateTime<Utc>>().unwrap_or_default(),
        };
        let region = match self.words.get("region").copied() {
            Some(node) => match node.name() {
                Some(region) => region,
                None => {
                    let message = format!("`region` is a name, and this is {}", node.kind());
                    self.refuse(node.at, message, None);
                    return None;
                }
            },
            None => REGION.to_owned(),
        };
        let person = principal.is(&ours(USER));
        let session = match self.words.get("session").copied() {
            Some(node) if !node.is_null() => {
                if !person {
                    let message = "only people are signed in";
                    self.refuse(node.at, message, None);
                    return None;
                }
                Some(self.session(node)?)
            }
            _ => None,
        };
        let acts_for = match self.words.get("acts_for").copied() {
            Some(node) if !node.is_null() => {
                if !principal.is(&ours("Agent")) && !principal.is(&ours("Service")) {
                    let message = "only agents and services act for somebody";
                    self.refuse(node.at, message, None);
                    return None;
                }
                Some(self.stage.named(node, &[ours(USER)])?)
            }
            _ => None,
        };
        Some(Facts {
            now,
            region,
            session,
            acts_for,
        })
    }

    fn session(&mut self, node: &Node) -> Option<SignedIn> {
        if let Some(method) = node.name() {
            return Some(SignedIn {
                method,
                break_glass: false,
            });
        }
        let known = ["method", "break_glass"];
        let members = node.members().unwrap_or_default();
        for (key, _) in members {
            if !known.contains(&key.text.as_str()) {
                let finding = unknown(self.stage.file, key, "a session", &known);
                self.stage.findings.push(finding);
            }
        }
        let method = member(members, "method").and_then(|(_, node)| node.name());
        let break_glass = member(members, "break_glass").map(|(_, node)| &node.what);
        match (method, break_glass) {
            (Some(method), None) => Some(SignedIn {
                method,
                break_glass: false,
            }),
            (Some(method), Some(What::Bool(break_glass))) => Some(SignedIn {
                method,
                break_glass: *break_glass,
            }),
            _ => {
                let help =
                    "as in `session: google`, or `session: {method: google, break_glass: true}`";
                self.refuse(node.at, "a session has a `method`", Some(help.to_owned()));
                None
            }
        }
    }

    /// The question as the decision point puts it: once for each who must be allowed.
    fn halves(
        &mut self,
        principal: &Uid,
        action: &Arc<Action>,
        resource: &Uid,
        said: Said<'_>,
        facts: &Facts,
    ) -> Option<Put> {
        let agent = principal.is(&ours("Agent"));
        // An agent that names nobody does nothing, on an organization's own types too, where no guardrail of ours is asked.
        if agent && facts.acts_for.is_none() && action.is_own() {
            let evaluation = Evaluation::refused(Refusal::NotPermitted, Vec::new());
            return Some(Put::Settled(evaluation));
        }
        let mut asked = vec![(principal.clone(), facts.clone())];
        if let Some(user) = &facts.acts_for {
            let person = Facts {
                acts_for: None,
                session: None,
                ..facts.clone()
            };
            // A key's person is asked about before the key.
            let place = usize::from(agent);
            asked.insert(place, (user.clone(), person));
        }
        let mut halves = Vec::new();
        for (who, facts) in asked {
            let vocabulary = self.stage.compiled.vocabulary();
            let parts = (who, action, resource.clone());
            match vocabulary.question(parts, said, &facts) {
                Ok(question) => halves.push(question),
                Err(error) => {
                    let at = At {
                        line: self.line,
                        column: 1,
                    };
                    self.refuse(at, error.to_string(), None);
                    return None;
                }
            }
        }
        Some(Put::Halves(halves))
    }
}
