//! Values of a test file read in the shape that the schema wants; times, and shares.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json, json};

use super::given::{Given, Said};
use super::node::{Key, Node, What, listed, unknown};
use super::stage::{Stage, reference};
use crate::policy::link::Link;
use crate::policy::shape::{Fields, Shape, authzen_type};
use crate::policy::spelling::did_you_mean;
use crate::policy::value::Uid;

/// What a share says.
const SHARE: [&str; 4] = ["template", "to", "of", "until"];

impl Stage<'_> {
    /// The shares that are given.
    pub(super) fn links(&mut self, given: &Given<'_>) -> Vec<Link> {
        let shares = given.shares.iter().enumerate();
        shares
            .filter_map(|(at, node)| self.share(at, node))
            .collect()
    }

    fn share(&mut self, number: usize, node: &Node) -> Option<Link> {
        let Some(members) = node.members() else {
            let message = format!("a share has members, and this is {}", node.kind());
            let help = "as in `{template: share-viewer, to: ben, of: talk}`";
            self.refuse(node.at, message, Some(help.to_owned()));
            return None;
        };
        let said: Said<'_> = members
            .iter()
            .map(|(key, node)| (key.text.clone(), (key.at, node)))
            .collect();
        for (key, _) in members {
            if !SHARE.contains(&key.text.as_str()) {
                self.findings
                    .push(unknown(self.file, key, "a share", &SHARE));
            }
        }
        let template = self.template(node, &said)?;
        // What an auditor may read there is one of.
        let log = match template.as_str() {
            "auditor" => self.uid("AuditLog", "AuditLog"),
            _ => None,
        };
        let principal = self.part_of_share(node, (&said, "to"), None);
        let resource = self.part_of_share(node, (&said, "of"), log);
        let expires_at = match said.get("until") {
            Some((_, until)) if !until.is_null() => Some(self.time(until)?),
            _ => None,
        };
        let link = Link {
            id: format!("share-{}", number.saturating_add(1)),
            template: template.into(),
            principal: principal?,
            resource: resource?,
            expires_at,
        };
        match self.compiled.library().link(link.clone()) {
            Ok(_) => Some(link),
            Err(error) => {
                self.refuse(node.at, error.to_string(), None);
                None
            }
        }
    }

    fn template(&mut self, share: &Node, said: &Said<'_>) -> Option<String> {
        let mut known: Vec<&str> = {
            let library = self.compiled.library();
            library.templates.keys().map(|name| &**name).collect()
        };
        known.sort_unstable();
        let Some((_, node)) = said.get("template") else {
            let help = format!("one of {}", listed(&known));
            self.refuse(share.at, "a share has a `template`".to_owned(), Some(help));
            return None;
        };
        let name = node.name().unwrap_or_default();
        if known.contains(&name.as_str()) {
            return Some(name);
        }
        let help = did_you_mean(&name, known.iter().copied());
        let help = help.unwrap_or_else(|| format!("one of {}", listed(&known)));
        self.refuse(
            node.at,
            format!("no template is called `{name}`"),
            Some(help),
        );
        None
    }

    fn part_of_share(
        &mut self,
        share: &Node,
        (said, name): (&Said<'_>, &str),
        or: Option<Uid>,
    ) -> Option<Uid> {
        match said.get(name) {
            Some((_, node)) => self.named(node, &[]),
            None => {
                if or.is_none() {
                    self.refuse(share.at, format!("a share says `{name}`"), None);
                }
                or
            }
        }
    }

    /// A time.
    pub(super) fn time(&mut self, node: &Node) -> Option<DateTime<Utc>> {
        let text = match &node.what {
            What::Text(text) => Some(text),
            _ => None,
        };
        let time = text.and_then(|text| {
            let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
            let day = day
                .and_then(|day| day.and_hms_opt(0, 0, 0))
                .map(|day| day.and_utc());
            day.or_else(|| Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc()))
        });
        if time.is_none() {
            let message = "a time is wanted here".to_owned();
            let help = "as `2026-03-01T12:00:00Z`, or a day as `2026-03-01`";
            self.refuse(node.at, message, Some(help.to_owned()));
        }
        time
    }

    /// What is written in the shape that the schema wants, in Cedar's JSON form.
    pub(super) fn value(&mut self, shape: &Shape, node: &Node, path: &str) -> Option<Json> {
        let wrong = |stage: &mut Self| {
            let message = format!(
                "`{path}` must be {}, and this is {}",
                wanted(shape),
                node.kind()
            );
            let help = match (shape, &node.what) {
                (Shape::Text, What::Bool(_) | What::Whole(_) | What::Fraction(_)) => {
                    Some("put it in quotes".to_owned())
                }
                _ => None,
            };
            stage.refuse(node.at, message, help);
            None
        };
        match (shape, &node.what) {
            (Shape::Bool, What::Bool(truth)) => Some(json!(truth)),
            (Shape::Long, What::Whole(number)) => Some(json!(number)),
            (Shape::Text, What::Text(text)) => Some(json!(text)),
            (Shape::Entity(kind) | Shape::Choice(kind, _), _) => match self.types.values(kind) {
                Some(values) => {
                    let name = node.name().unwrap_or_default();
                    if values.contains(&name) {
                        return Some(reference(&Uid::new(kind.clone(), &name)));
                    }
                    let known: Vec<&str> = values.iter().map(String::as_str).collect();
                    let message = format!("`{path}` must be one of {}", listed(&known));
                    let help = did_you_mean(&name, known);
                    self.refuse(node.at, message, help);
                    None
                }
                None => {
                    let uid = self.named(node, std::slice::from_ref(kind))?;
                    Some(reference(&uid))
                }
            },
            (Shape::Set(element), What::List(items)) => {
                let items = items.iter().map(|item| self.value(element, item, path));
                // All of them are looked at, so that each error is said.
                let items: Vec<Option<Json>> = items.collect();
                Some(Json::Array(items.into_iter().collect::<Option<_>>()?))
            }
            (Shape::Record(fields), What::Members(members)) => {
                self.record(fields, members, path).map(Json::Object)
            }
            (Shape::Extension(extension), What::Text(text) | What::Fraction(text)) => {
                Some(json!({"__extn": {"fn": extension.function(), "arg": text}}))
            }
            _ => wrong(self),
        }
    }

    /// Members in the shape of a record.
    pub(super) fn record(
        &mut self,
        fields: &Fields,
        members: &[(Key, Node)],
        path: &str,
    ) -> Option<Map<String, Json>> {
        let (mut all, mut good) = (Map::new(), true);
        for (key, node) in members {
            match fields.get(key.text.as_str()) {
                Some(_) if node.is_null() => {}
                Some(shape) => match self.value(shape, node, &format!("{path}.{}", key.text)) {
                    Some(value) => drop(all.insert(key.text.clone(), value)),
                    None => good = false,
                },
                None => {
                    self.no_such((key.at, &key.text), &format!("`{path}`"), fields, &[]);
                    good = false;
                }
            }
        }
        good.then_some(all)
    }
}

fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Entity(kind) | Shape::Choice(kind, _) => {
            format!("the name of a `{}`", authzen_type(kind))
        }
        shape => shape.in_words(),
    }
}
