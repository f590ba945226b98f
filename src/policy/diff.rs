//! What is different between two versions of an organization's own policies: by the id of each policy, whichever file it stands in and
//! wherever there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value as Json, json};

use super::builtin::{parse_policies, parse_schema};
use super::compile::{OwnPolicies, Source};
use super::error::Finding;
use super::format::{cuts, pretty, remarks_in};
use super::program::{self, STACK};
use super::shape::{members, qualified};

/// How many lines of a policy are compared one by one; of more, all of them count as changed.
const LINES_MOST: usize = 2_000;

/// Which of two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that is compared with.
    Before,
    /// The one that is compared.
    After,
}

/// What happened to something that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It says something else.
    Changed,
    /// It says the same: it stands in another file, or is written otherwise.
    Rewritten,
}

impl Happened {
    const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Rewritten => "rewritten",
        }
    }

    const fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '~',
            Self::Rewritten => '=',
        }
    }
}

/// What of a policy is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// Whether it permits or forbids.
    Effect,
    /// Whom, what it is about, and which actions.
    Scope,
    /// Its `when` and `unless`.
    Conditions,
    /// What stands before it behind an `@`.
    Annotations,
    /// The remarks above and in it.
    Remarks,
    /// Where its lines end, and nothing else.
    Layout,
    /// The file that it stands in.
    File,
}

impl Aspect {
    const fn word(self) -> &'static str {
        match self {
            Self::Effect => "effect",
            Self::Scope => "scope",
            Self::Conditions => "conditions",
            Self::Annotations => "annotations",
            Self::Remarks => "remarks",
            Self::Layout => "layout",
            Self::File => "file",
        }
    }
}

/// A line of a text that was compared with another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// In both.
    Same(String),
    /// In the later one.
    Added(String),
    /// In the earlier one.
    Removed(String),
}

impl Line {
    fn text(&self) -> String {
        match self {
            Self::Same(line) => format!("  {line}"),
            Self::Added(line) => format!("+ {line}"),
            Self::Removed(line) => format!("- {line}"),
        }
    }
}

/// A policy that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// Its id, or its file and its place there.
    pub id: String,
    /// What happened to it.
    pub happened: Happened,
    /// The file that it stood in.
    pub before: Option<String>,
    /// The file that it stands in.
    pub after: Option<String>,
    /// What of it is another.
    pub aspects: Vec<Aspect>,
    /// Both in Cedar's format, line by line; nothing where that is the same.
    pub lines: Vec<Line>,
}

/// A type or an action that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaChange {
    /// `entity type`, `common type` or `action`.
    pub kind: &'static str,
    /// Its whole name.
    pub name: String,
    /// What happened to it.
    pub happened: Happened,
    /// What of it is another.
    pub details: Vec<String>,
}

/// What is different.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// The policies that are not as they were, by id.
    pub policies: Vec<PolicyChange>,
    /// The types and actions that are not as they were.
    pub schema: Vec<SchemaChange>,
}

/// Compares two versions. Neither needs to be valid; what does not parse cannot be compared.
///
/// # Errors
/// What does not parse, and in which of the two; of two policies with one id, which.
pub fn diff(before: &OwnPolicies, after: &OwnPolicies) -> Result<Difference, (Side, Vec<Finding>)> {
    let of = |side: Side, own: &OwnPolicies| {
        let read = || Ok((policies(&own.policies)?, schema(own.schema.as_ref())?));
        stacker::grow(STACK, read).map_err(|findings| (side, findings))
    };
    let (old, old_schema) = of(Side::Before, before)?;
    let (new, new_schema) = of(Side::After, after)?;
    Ok(Difference {
        policies: compared(old, new),
        schema: compared_schemas(&old_schema, &new_schema),
    })
}

/// A policy as it is compared.
#[derive(Debug, Clone)]
struct Written {
    id: String,
    /// Whether the id is its own, and not its place.
    named: bool,
    file: String,
    /// As it was found, without what is around it.
    text: String,
    remarks: Vec<String>,
    pretty: String,
    effect: Json,
    scope: Json,
    conditions: Json,
    annotations: Json,
}

impl Written {
    fn says_the_same(&self, other: &Self) -> bool {
        self.effect == other.effect
            && self.scope == other.scope
            && self.conditions == other.conditions
            && self.annotations == other.annotations
    }

    fn aspects(&self, other: &Self) -> Vec<Aspect> {
        let mut found = Vec::new();
        let mut add = |differs: bool, aspect: Aspect| found.extend(differs.then_some(aspect));
        add(self.effect != other.effect, Aspect::Effect);
        add(self.scope != other.scope, Aspect::Scope);
        add(self.conditions != other.conditions, Aspect::Conditions);
        add(self.annotations != other.annotations, Aspect::Annotations);
        add(self.remarks != other.remarks, Aspect::Remarks);
        add(self.file != other.file, Aspect::File);
        let written_otherwise = self.text != other.text;
        let otherwise = found.iter().all(|aspect| *aspect == Aspect::File);
        if written_otherwise && otherwise {
            found.push(Aspect::Layout);
        }
        found
    }

    fn lines(&self) -> Vec<&str> {
        self.pretty.lines().collect()
    }
}

fn policies(sources: &[Source]) -> Result<Vec<Written>, Vec<Finding>> {
    let (mut all, mut findings) = (Vec::new(), Vec::new());
    let mut names: HashMap<String, String> = HashMap::new();
    for source in sources {
        match of_file(source) {
            Ok(found) => {
                for one in found {
                    if let Some(file) = names.insert(one.id.clone(), one.file.clone()) {
                        let message = format!(
                            "there are two policies with the id `{}`, the first in `{file}`",
                            one.id
                        );
                        let help = "choose another `@id`";
                        findings.push(Finding::in_file(&source.name, message).with_help(help));
                    }
                    all.push(one);
                }
            }
            Err(found) => findings.extend(found),
        }
    }
    match findings.is_empty() {
        true => Ok(all),
        false => Err(findings),
    }
}

fn of_file(source: &Source) -> Result<Vec<Written>, Vec<Finding>> {
    let parsed = parse_policies(&source.name, &source.text)?;
    let cuts = cuts(&source.text);
    let cuts = cuts.iter().filter(|cut| !cut.policy.is_empty());
    let mut found = Vec::new();
    let mut unnamed = 0_usize;
    for (at, cut) in cuts.enumerate() {
        // Cedar numbers them in the order of the text, templates among them.
        let number = cedar_policy::PolicyId::new(format!("policy{at}"));
        let policy = parsed.policy(&number);
        let json = match (policy, parsed.template(&number)) {
            (Some(policy), _) => program::read(|| policy.to_json().ok()),
            (None, Some(template)) => program::read(|| template.to_json().ok()),
            (None, None) => Ok(None),
        };
        let refused = |why: &str| {
            let message = format!("policy {} cannot be compared: {why}", at.saturating_add(1));
            vec![Finding::in_file(&source.name, message)]
        };
        let json = json.map_err(|why| refused(&why))?;
        let json = json.ok_or_else(|| refused("it has no form that can be"))?;
        let pretty = pretty(cut.policy).map_err(|why| refused(&why))?;
        if policy.is_some() {
            unnamed = unnamed.saturating_add(1);
        }
        let part = |name: &str| json.get(name).cloned().unwrap_or_default();
        let annotations = part("annotations");
        let named = annotations.get("id").and_then(Json::as_str);
        found.push(Written {
            id: match (named, policy) {
                (Some(id), _) => id.to_owned(),
                (None, Some(_)) => format!("{}#{unnamed}", source.name),
                (None, None) => format!("{}#template {}", source.name, at.saturating_add(1)),
            },
            named: named.is_some(),
            file: source.name.clone(),
            text: cut.policy.trim().to_owned(),
            remarks: remarks_of(cut.remarks, cut.policy),
            pretty: with_remarks(cut.remarks, &pretty),
            effect: part("effect"),
            scope: json!([part("principal"), part("action"), part("resource")]),
            conditions: part("conditions"),
            annotations,
        });
    }
    Ok(found)
}

/// The remarks above a policy and in it.
fn remarks_of(above: &str, policy: &str) -> Vec<String> {
    let all = remarks_in(above).into_iter().chain(remarks_in(policy));
    all.map(str::to_owned).collect()
}

/// A policy with the remarks that stand right above it: those further up are the file's.
fn with_remarks(remarks: &str, pretty: &str) -> String {
    let mut near: Vec<&str> = Vec::new();
    for line in remarks.lines().map(str::trim) {
        match line {
            "" => near.clear(),
            line => near.push(line),
        }
    }
    near.push(pretty);
    near.join("\n")
}

fn compared(old: Vec<Written>, new: Vec<Written>) -> Vec<PolicyChange> {
    let (mut before, mut after): (Vec<Written>, Vec<Written>) = (Vec::new(), Vec::new());
    let mut changes = Vec::new();
    // What has no id of its own is first found by what it says: its place may be another.
    let mut by_content: HashMap<String, Vec<Written>> = HashMap::new();
    for one in old {
        match one.named {
            true => before.push(one),
            false => by_content.entry(one.pretty.clone()).or_default().push(one),
        }
    }
    for one in new {
        let same = match one.named {
            true => None,
            false => by_content.get_mut(&one.pretty).and_then(Vec::pop),
        };
        match same {
            Some(was) => changes.extend(changed(Some(&was), Some(&one))),
            None => after.push(one),
        }
    }
    before.extend(by_content.into_values().flatten());
    let mut after: BTreeMap<String, Written> =
        after.into_iter().map(|one| (one.id.clone(), one)).collect();
    for was in before {
        let is = after.remove(&was.id);
        changes.extend(changed(Some(&was), is.as_ref()));
    }
    changes.extend(after.values().filter_map(|one| changed(None, Some(one))));
    changes.sort_by(|a, b| (&a.id, &a.before).cmp(&(&b.id, &b.before)));
    changes
}

fn changed(was: Option<&Written>, is: Option<&Written>) -> Option<PolicyChange> {
    let aspects = match (was, is) {
        (Some(was), Some(is)) => was.aspects(is),
        _ => Vec::new(),
    };
    let happened = match (was, is) {
        (None, _) => Happened::Added,
        (_, None) => Happened::Removed,
        (Some(was), Some(is)) if was.says_the_same(is) => Happened::Rewritten,
        _ => Happened::Changed,
    };
    if was.is_some() && is.is_some() && aspects.is_empty() {
        return None;
    }
    let lines = |one: Option<&Written>| -> Vec<String> {
        let lines = one.map(Written::lines).unwrap_or_default();
        lines.into_iter().map(str::to_owned).collect()
    };
    let lines = line_by_line(&lines(was), &lines(is));
    let differs = lines.iter().any(|line| !matches!(line, Line::Same(_)));
    Some(PolicyChange {
        id: is.or(was)?.id.clone(),
        happened,
        before: was.map(|one| one.file.clone()),
        after: is.map(|one| one.file.clone()),
        aspects,
        lines: if differs { lines } else { Vec::new() },
    })
}

/// Two texts beside each other, with as many lines as can be in both.
fn line_by_line(old: &[String], new: &[String]) -> Vec<Line> {
    let mut lines = Vec::new();
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (begin, old) = old.split_at(same);
    let (_, new) = new.split_at(same);
    let ends = old.iter().rev().zip(new.iter().rev());
    let ends = ends.take_while(|(a, b)| a == b).count();
    let (old, end) = old.split_at(old.len().saturating_sub(ends));
    let (new, _) = new.split_at(new.len().saturating_sub(ends));
    lines.extend(begin.iter().cloned().map(Line::Same));
    if old.len() > LINES_MOST || new.len() > LINES_MOST {
        lines.extend(old.iter().cloned().map(Line::Removed));
        lines.extend(new.iter().cloned().map(Line::Added));
    } else {
        lines.extend(between(old, new));
    }
    lines.extend(end.iter().cloned().map(Line::Same));
    lines
}

fn between(old: &[String], new: &[String]) -> Vec<Line> {
    // How many lines what is left of both has in common, from each pair of places on.
    let mut table: Vec<Vec<usize>> = vec![vec![0; new.len().saturating_add(1)]];
    for a in old.iter().rev() {
        let below = table.last().cloned().unwrap_or_default();
        let mut row = vec![0_usize];
        let places = new.iter().zip(below.iter().zip(below.iter().skip(1)));
        for (b, (down, diagonal)) in places.rev() {
            let right = row.last().copied().unwrap_or(0);
            row.push(match a == b {
                true => diagonal.saturating_add(1),
                false => right.max(*down),
            });
        }
        row.reverse();
        table.push(row);
    }
    table.reverse();
    let common = |at: usize, of: usize| {
        let row = table.get(at);
        row.and_then(|row| row.get(of)).copied().unwrap_or(0)
    };
    let mut lines = Vec::new();
    let (mut at, mut of) = (0_usize, 0_usize);
    loop {
        match (old.get(at), new.get(of)) {
            (Some(a), Some(b)) if a == b => {
                lines.push(Line::Same(a.clone()));
                (at, of) = (at.saturating_add(1), of.saturating_add(1));
            }
            (Some(a), other) => {
                let keep = other.is_some()
                    && common(at, of.saturating_add(1)) > common(at.saturating_add(1), of);
                if keep {
                    lines.extend(other.cloned().map(Line::Added));
                    of = of.saturating_add(1);
                } else {
                    lines.push(Line::Removed(a.clone()));
                    at = at.saturating_add(1);
                }
            }
            (None, Some(b)) => {
                lines.push(Line::Added(b.clone()));
                of = of.saturating_add(1);
            }
            (None, None) => return lines,
        }
    }
}

type Declarations = BTreeMap<(&'static str, String), Json>;

/// Every type and action of a schema, under its whole name.
fn schema(source: Option<&Source>) -> Result<Declarations, Vec<Finding>> {
    let Some(source) = source else {
        return Ok(Declarations::new());
    };
    let (_, json) = parse_schema(&source.name, &source.text).map_err(|error| match error {
        super::PolicyError::Refused(findings) => findings,
        error => vec![Finding::in_file(&source.name, error.to_string())],
    })?;
    let mut all = Declarations::new();
    for (namespace, body) in json.as_object().into_iter().flatten() {
        for (member, kind) in [
            ("entityTypes", "entity type"),
            ("commonTypes", "common type"),
            ("actions", "action"),
        ] {
            for (name, body) in members(body, member) {
                let mut body = body.clone();
                sorted(&mut body);
                all.insert((kind, qualified(namespace, name)), body);
            }
        }
    }
    Ok(all)
}

/// In what order a schema lists things says nothing.
fn sorted(json: &mut Json) {
    match json {
        Json::Array(items) => {
            items.iter_mut().for_each(sorted);
            items.sort_by_key(Json::to_string);
        }
        Json::Object(members) => members.values_mut().for_each(sorted),
        _ => {}
    }
}

fn compared_schemas(old: &Declarations, new: &Declarations) -> Vec<SchemaChange> {
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let changes = names.into_iter().filter_map(|key| {
        let (happened, details) = match (old.get(key), new.get(key)) {
            (None, _) => (Happened::Added, Vec::new()),
            (_, None) => (Happened::Removed, Vec::new()),
            (Some(was), Some(is)) if was == is => return None,
            (Some(was), Some(is)) => (Happened::Changed, details(was, is)),
        };
        let (kind, name) = key;
        Some(SchemaChange {
            kind,
            name: name.clone(),
            happened,
            details,
        })
    });
    changes.collect()
}

/// What of a type or an action is another.
fn details(was: &Json, is: &Json) -> Vec<String> {
    let mut found = Vec::new();
    for (path, what) in [
        ("/shape/attributes", "attribute"),
        ("/attributes", "attribute"),
        ("/appliesTo/context/attributes", "context member"),
    ] {
        let (old, new) = (fields(was, path), fields(is, path));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let said = match (old.get(name), new.get(name)) {
                (None, _) => "added",
                (_, None) => "removed",
                (Some(was), Some(is)) if was == is => continue,
                _ => "changed",
            };
            found.push(format!("{what} `{name}` {said}"));
        }
    }
    for (path, what) in [
        ("/memberOfTypes", "what it may be in"),
        ("/enum", "its values"),
        ("/tags", "its tags"),
        ("/memberOf", "the groups that it is in"),
        ("/appliesTo/principalTypes", "its principals"),
        ("/appliesTo/resourceTypes", "its resources"),
        ("/annotations", "its annotations"),
    ] {
        if was.pointer(path) != is.pointer(path) {
            found.push(format!("{what} changed"));
        }
    }
    if found.is_empty() {
        found.push("its shape changed".to_owned());
    }
    found
}

fn fields(of: &Json, path: &str) -> Map<String, Json> {
    let fields = of.pointer(path).and_then(Json::as_object);
    fields.cloned().unwrap_or_default()
}

impl PolicyChange {
    fn to_json(&self) -> Json {
        let aspects: Vec<&str> = self.aspects.iter().map(|one| one.word()).collect();
        let lines: Vec<String> = self.lines.iter().map(Line::text).collect();
        json!({
            "id": self.id, "change": self.happened.word(), "before": self.before, "after": self.after,
            "changed": aspects, "lines": lines,
        })
    }

    fn words(&self, all: &mut Vec<String>) {
        let aspects: Vec<&str> = self.aspects.iter().map(|one| one.word()).collect();
        let place = match (&self.before, &self.after) {
            (Some(before), Some(after)) if before != after => {
                format!("{before} -> {after}")
            }
            (before, after) => after
                .as_ref()
                .or(before.as_ref())
                .cloned()
                .unwrap_or_default(),
        };
        let what = match aspects.is_empty() {
            true => self.happened.word().to_owned(),
            false => format!("{}: {}", self.happened.word(), aspects.join(", ")),
        };
        let sign = self.happened.sign();
        all.push(format!("{sign} policy {} ({place}) {what}", self.id));
        all.extend(self.lines.iter().map(|line| format!("    {}", line.text())));
    }
}

impl SchemaChange {
    fn to_json(&self) -> Json {
        json!({
            "kind": self.kind, "name": self.name, "change": self.happened.word(), "details": self.details,
        })
    }

    fn words(&self, all: &mut Vec<String>) {
        let (sign, what) = (self.happened.sign(), self.happened.word());
        all.push(format!("{sign} {} {} {what}", self.kind, self.name));
        all.extend(self.details.iter().map(|detail| format!("    {detail}")));
    }
}

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.schema.is_empty()
    }

    /// For programs: `policies` and `schema`, each with what is not as it was.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let policies: Vec<Json> = self.policies.iter().map(PolicyChange::to_json).collect();
        let schema: Vec<Json> = self.schema.iter().map(SchemaChange::to_json).collect();
        json!({ "policies": policies, "schema": schema })
    }

    /// For people, line by line.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.schema.iter().for_each(|one| one.words(&mut all));
        self.policies.iter().for_each(|one| one.words(&mut all));
        if all.is_empty() {
            all.push("no difference".to_owned());
        }
        all
    }
}
