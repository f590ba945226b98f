//! A tenant's policies: the built-in ones, and what its Admins added, checked before any of it counts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use serde_json::Value;

use super::builtin::{
    DEREFERENCE_LEVEL, Library, NAMESPACE, SUSPENDED, in_order, parse_policies, parse_schema,
    validation_findings, validation_warnings,
};
use super::error::{Finding, PolicyError, told};
use super::index::{Index, Note, Permits, Rule};
use super::program;
use super::request::{Question, SERVER};
use super::run::Run;
use super::shape::{Declared, members, qualified};
use super::spelling::did_you_mean;
use super::vocabulary::{Vocabulary, whole_word};

/// A text and the name of the file that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's name, for messages and for the ids of policies without one.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// How many policies a tenant may add. Validating so many takes half a minute at the most.
pub const POLICIES_MOST: usize = 10_000;

/// How many findings there are before nothing more is looked for.
const FINDINGS_MOST: usize = 1_000;

/// What a tenant adds to the built-in schema and policies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnPolicies {
    /// Its types and actions, in Cedar's schema syntax.
    pub schema: Option<Source>,
    /// Its policies.
    pub policies: Vec<Source>,
}

/// The policies of one tenant at one version, ready for questions. Immutable, and meant to be shared.
#[derive(Debug)]
pub struct Compiled {
    library: Arc<Library>,
    vocabulary: Arc<Vocabulary>,
    schema: Arc<Schema>,
    /// The built-in policies again, picked for own actions; what is picked for ours is shared by all tenants.
    beside: Option<Index>,
    own: Index,
    warnings: Vec<Finding>,
}

impl Compiled {
    /// The built-in policies with nothing added.
    #[must_use]
    pub fn builtin(library: &Arc<Library>) -> Self {
        Self {
            library: Arc::clone(library),
            vocabulary: Arc::clone(&library.vocabulary),
            schema: Arc::clone(&library.schema),
            beside: None,
            own: Index::default(),
            warnings: Vec::new(),
        }
    }

    /// The built-in policies with a tenant's own.
    ///
    /// Own types live in the empty namespace or in the tenant's, and no name of theirs is one that AuthZEN would take
    /// for a built-in. Own policies may speak of built-in types; they are validated strictly and to the same level.
    /// The guardrails bind our actions: an own action is in none of the built-in groups, so that what they say about
    /// our types is never asked about others.
    ///
    /// # Errors
    /// `Refused` with everything that is wrong; then nothing of it counts.
    pub fn new(library: &Arc<Library>, own: &OwnPolicies) -> Result<Self, PolicyError> {
        let mut compiled = Self::builtin(library);
        if let Some(schema) = &own.schema {
            compiled.add_schema(schema)?;
        }
        let whole = (compiled.schema.as_ref(), compiled.vocabulary.as_ref());
        (compiled.own, compiled.warnings) = own_index(library, whole, &own.policies)?;
        Ok(compiled)
    }

    /// The built-in library.
    #[must_use]
    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// The types and actions that questions may name.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The built-in schema together with the tenant's, as entities are checked by.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How many policies have no compiled form and are evaluated by Cedar itself, each for some hundred microseconds: those that use the
    /// functions of addresses, or tags.
    #[must_use]
    pub fn left_to_cedar(&self) -> usize {
        let builtin = self.library.index.left_to_cedar();
        builtin.saturating_add(self.own.left_to_cedar())
    }

    /// The policies that the tenant added.
    pub fn own_policies(&self) -> impl Iterator<Item = &Policy> {
        self.own.policies()
    }

    /// Whether a policy has this id: a built-in one, a template, or one that the tenant added.
    #[must_use]
    pub fn has_policy(&self, id: &str) -> bool {
        self.library.describe(id).is_some() || self.own.note(id).is_some()
    }

    /// The ids of all of them.
    #[must_use]
    pub fn policy_ids(&self) -> Vec<String> {
        let policies = self.library.policies().chain(self.own.policies());
        let templates = self.library.templates.keys();
        let templates = templates.map(ToString::to_string);
        policies
            .map(|policy| policy.id().to_string())
            .chain(templates)
            .collect()
    }

    /// What speaks against policies that were taken: those that can never apply, and what looks like something else.
    #[must_use]
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// Shows every policy that the tenant added.
    pub(crate) fn each_own_rule(&self, show: &mut dyn FnMut(&Rule)) {
        self.own.each_rule(show);
    }

    /// Shows every policy that the tenant added and that can match.
    pub(crate) fn each_own(&self, run: &Run<'_>, show: &mut dyn FnMut(&Rule)) {
        let permits = if run.question.action().is_in("private") {
            Permits::DoNotCount
        } else {
            Permits::Count
        };
        self.own.each(run, permits, show);
    }

    /// Shows every policy that can match: the built-in ones, then the tenant's.
    pub(crate) fn each(&self, run: &Run<'_>, show: &mut dyn FnMut(&Rule)) {
        self.each_built_in(run, show);
        if !self.own.is_empty() {
            self.each_own(run, show);
        }
    }

    /// Shows every built-in policy that can match.
    pub(crate) fn each_built_in(&self, run: &Run<'_>, show: &mut dyn FnMut(&Rule)) {
        let builtin = match &self.beside {
            Some(beside) if run.question.action().is_own() => beside,
            _ => &self.library.index,
        };
        builtin.each(run, Permits::Count, show);
    }

    /// Shows every permit that can match with one resource or another of the question's type.
    pub(crate) fn each_permit(&self, run: &Run<'_>, show: &mut dyn FnMut(&Rule)) {
        let action = run.question.action();
        let builtin = match &self.beside {
            Some(beside) if action.is_own() => beside,
            _ => &self.library.index,
        };
        builtin.each_permit(run, show);
        if !action.is_in("private") {
            self.own.each_permit(run, show);
        }
    }

    /// Shows every permit for the question's action and types that counts, whomever and whatever its scope names.
    pub(crate) fn each_of_types(&self, question: &Question, show: &mut dyn FnMut(&Rule)) {
        self.library.index.each_of_types(question, show);
        if !question.action().is_in("private") {
            self.own.each_of_types(question, show);
        }
    }

    fn add_schema(&mut self, source: &Source) -> Result<(), PolicyError> {
        let (fragment, json) = parse_schema(&source.name, &source.text)?;
        let findings = shadows(&self.library, source, &json);
        if !findings.is_empty() {
            return Err(PolicyError::Refused(findings));
        }
        let fragments = [self.library.fragment.clone(), fragment];
        let schema = Schema::from_schema_fragments(fragments).map_err(|error| {
            let error = DetailedError::from(&error);
            PolicyError::Refused(Finding::from_cedar(&source.name, &source.text, &error))
        })?;
        let vocabulary = Vocabulary::new(
            &schema,
            &[&self.library.json, &json],
            &[super::builtin::SCHEMA, &source.text],
        );
        self.vocabulary = Arc::new(vocabulary);
        self.schema = Arc::new(schema);
        self.beside = Some(self.library.index.unpicked());
        Ok(())
    }
}

/// Everything in a tenant's schema that would stand in the way of the built-in one.
fn shadows(library: &Library, source: &Source, json: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let builtin_types: HashSet<&String> = ["entityTypes", "commonTypes"]
        .into_iter()
        .filter_map(|kind| library.json.get(NAMESPACE).map(|body| members(body, kind)))
        .flatten()
        .map(|(name, _)| name)
        .collect();
    let declared = Declared::new(&[&library.json, json]);
    let mut seen = HashSet::new();
    for (namespace, body) in json.as_object().into_iter().flatten() {
        if namespace == NAMESPACE || namespace.starts_with("Cedarkeep::") {
            let message = format!("the namespace `{namespace}` is built in");
            findings.push(named(source, namespace, message).with_help("use another namespace"));
            continue;
        }
        for kind in ["entityTypes", "commonTypes"] {
            for (name, _) in members(body, kind) {
                if namespace.is_empty() && builtin_types.contains(name) {
                    let message = format!("`{name}` is the name of a built-in type");
                    findings.push(named(source, name, message).with_help("choose another name"));
                }
            }
        }
        for (name, action) in members(body, "actions") {
            if library.vocabulary.action(name).is_some() {
                let message = format!("`{name}` is the name of a built-in action");
                findings.push(named(source, name, message).with_help("choose another name"));
            }
            if !seen.insert(name) {
                let message = format!("the action `{name}` is declared in two namespaces");
                findings.push(named(source, name, message).with_help("choose another name"));
            }
            findings.extend(action_findings(
                library,
                source,
                &declared,
                (namespace, name, action),
            ));
        }
    }
    findings
}

fn action_findings(
    library: &Library,
    source: &Source,
    declared: &Declared<'_>,
    (namespace, name, action): (&str, &str, &Value),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let groups = action.get("memberOf").and_then(Value::as_array);
    for group in groups.into_iter().flatten() {
        let kind = group
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if kind == qualified(NAMESPACE, "Action") {
            let message = format!("the action `{name}` is in a built-in group");
            let help = "the built-in groups are for built-in actions; declare a group of your own";
            findings.push(named(source, name, message).with_help(help));
        }
    }
    let context = action.pointer("/appliesTo/context");
    let fields = context.map(|context| declared.fields(namespace, context));
    let said = fields.as_ref().and_then(|fields| fields.get(SERVER));
    let ours = library
        .vocabulary
        .actions()
        .find_map(|action| action.context().get(SERVER));
    if said.is_some() && said != ours {
        let message =
            format!("the context of `{name}` declares `{SERVER}`, which the server fills");
        let help = "give it the type `Cedarkeep::Server`, or leave it out";
        findings.push(named(source, name, message).with_help(help));
    }
    findings
}

/// A finding where a name first stands in a schema; Cedar's JSON form has no positions.
fn named(source: &Source, name: &str, message: String) -> Finding {
    let text = &source.text;
    match whole_word(text, name) {
        Some(at) => Finding::at(&source.name, text, at, message),
        None => Finding::in_file(&source.name, message),
    }
}

/// A tenant's policies, each under an id of its own, validated against the whole schema.
fn own_index(
    library: &Library,
    (schema, vocabulary): (&Schema, &Vocabulary),
    sources: &[Source],
) -> Result<(Index, Vec<Finding>), PolicyError> {
    let mut findings = Vec::new();
    let (mut read, mut count, most) = (Vec::new(), 0_usize, library.own_most);
    for source in sources {
        match parse_policies(&source.name, &source.text) {
            Ok(parsed) => {
                let before = count;
                count = count.saturating_add(parsed.policies().count());
                if before <= most && count > most {
                    let message =
                        format!("there are {count} policies up to here, and {most} at most may be");
                    let help = "say it of groups and of attributes, or share one by one what is shared one by one";
                    findings.push(Finding::in_file(&source.name, message).with_help(help));
                }
                read.push((source, parsed));
            }
            Err(found) => findings.extend(found),
        }
    }
    if count > most {
        return Err(PolicyError::Refused(told(findings)));
    }
    let mut set = PolicySet::new();
    let mut indexed = Vec::new();
    for (source, parsed) in read {
        if parsed.templates().next().is_some() {
            let message = "this is a template".to_owned();
            let help = "the templates are built in; write a policy for a group instead";
            let slots = ["?principal", "?resource"].into_iter();
            let slot = slots.filter_map(|slot| source.text.find(slot)).min();
            let at = slot.unwrap_or_default();
            let finding = Finding::at(&source.name, &source.text, at, message);
            findings.push(finding.with_help(help));
        }
        for (at, policy) in in_order(&parsed).enumerate() {
            if findings.len() >= FINDINGS_MOST {
                break;
            }
            let id = policy
                .annotation("id")
                .map_or_else(|| format!("{}#{}", source.name, at + 1), str::to_owned);
            if library.describe(&id).is_some() || id == SUSPENDED {
                let message = format!("`{id}` is the id of a built-in policy");
                findings.push(named(source, &id, message).with_help("choose another `@id`"));
                continue;
            }
            // Before anything walks through it.
            if let Err(why) = program::read(|| policy.to_json().ok()) {
                let message = format!("the policy `{id}` is too much: {why}");
                findings.push(named(source, &id, message).with_help("say it in several policies"));
                continue;
            }
            let policy = policy.new_id(PolicyId::new(&id));
            if set.add(policy.clone()).is_err() {
                let message = format!("there are two policies with the id `{id}`");
                findings.push(named(source, &id, message).with_help("choose another `@id`"));
                continue;
            }
            let reason = policy.annotation("reason").unwrap_or_default().to_owned();
            let note = Note::new(&source.name, &policy, &reason);
            // Only a built-in policy speaks for the plans.
            indexed.push((policy, Note { plan: None, ..note }));
        }
    }
    if !findings.is_empty() {
        return Err(PolicyError::Refused(told(findings)));
    }
    let texts: HashMap<&str, &str> = sources
        .iter()
        .map(|source| (source.name.as_str(), source.text.as_str()))
        .collect();
    let result = Validator::new(schema.clone()).validate_with_level(
        &set,
        ValidationMode::Strict,
        DEREFERENCE_LEVEL,
    );
    let files: HashMap<&PolicyId, &str> = indexed
        .iter()
        .map(|(policy, note)| (policy.id(), note.file.as_str()))
        .collect();
    let file_of = |id: &PolicyId| files.get(id).map(|file| (*file).to_owned());
    let mut findings = validation_findings(&result, &file_of, &texts);
    if !findings.is_empty() {
        findings
            .iter_mut()
            .for_each(|finding| meant_name(finding, schema));
        return Err(PolicyError::Refused(told(findings)));
    }
    let mut warnings = validation_warnings(&result, &file_of, &texts);
    let index = Index::new(indexed, vocabulary);
    index.each_rule(&mut |rule| {
        let actions = vocabulary.actions();
        let mut actions = actions.filter(|action| rule.body.is_for(action)).peekable();
        let counts = rule.note.effect == Effect::Forbid
            || actions.peek().is_none()
            || actions.any(|action| !action.is_in("private"));
        if !counts {
            let text = texts.get(rule.note.file.as_str()).copied().unwrap_or_default();
            let message = format!("the permit `{}` never counts: its actions are opened by ownership, audience and shares alone", rule.id);
            let at = whole_word(text, &rule.id);
            let finding = match at {
                Some(at) => Finding::at(&rule.note.file, text, at, message),
                None => Finding::in_file(&rule.note.file, message),
            };
            warnings.push(finding.with_help("share the thing instead, or give it an audience"));
        }
    });
    Ok((index, told(warnings)))
}

/// Says which name was meant where one is none of the schema's: Cedar itself looks at a few of them, and never at other namespaces.
fn meant_name(finding: &mut Finding, schema: &Schema) {
    let quoted = |before: &str| {
        let (_, rest) = finding.message.split_once(before)?;
        let (name, _) = rest.rsplit_once('`')?;
        Some(name.to_owned())
    };
    let (said, known): (String, Vec<String>) = match (
        quoted("unrecognized action `"),
        quoted("unrecognized entity type `"),
    ) {
        (Some(said), _) => {
            let actions = schema.actions().map(ToString::to_string);
            let groups = schema.action_groups().map(ToString::to_string);
            (said, actions.chain(groups).collect())
        }
        (_, Some(said)) => {
            let types = schema.entity_types().map(ToString::to_string);
            (said, types.collect())
        }
        (None, None) => return,
    };
    let known = || known.iter().map(String::as_str);
    let ending = format!("::{said}");
    let elsewhere = known().find(|name| name.ends_with(&ending));
    let help = match elsewhere {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None => did_you_mean(&said, known()),
    };
    if help.is_some() {
        finding.help = help;
    }
}
