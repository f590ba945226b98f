//! The built-in schema and policies, which are part of the binary.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    Effect, Policy, PolicyId, PolicySet, Schema, SchemaFragment, Template, ValidationMode,
    ValidationResult, Validator,
};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::compile::POLICIES_MOST;
use super::error::{Finding, Lines, PolicyError};
use super::evaluate::Determining;
use super::extent;
use super::index::{Index, Note};
use super::link::Linkable;
use super::program::STACK;
use super::vocabulary::Vocabulary;

/// The namespace of the built-in types; no tenant may declare anything in it.
pub const NAMESPACE: &str = "Cedarkeep";

/// What refuses everything of an organization that is suspended, as if it were a policy; no policy has this id.
pub const SUSPENDED: &str = "organization.suspended";

/// How far a policy may follow attributes from the request's entities: an entity's attribute, and an attribute of the
/// entity that it names. A slice of the entities need not reach further.
pub const DEREFERENCE_LEVEL: u32 = 2;

/// The built-in schema.
pub const SCHEMA: &str = include_str!("../../schema/cedarkeep.cedarschema");

macro_rules! builtin_file {
    ($path:literal) => {
        ($path, include_str!(concat!("../../policies/", $path)))
    };
}

/// The built-in policy files: path below `policies/`, and text.
pub const FILES: &[(&str, &str)] = &[
    builtin_file!("access/requests.cedar"),
    builtin_file!("agents/agents.cedar"),
    builtin_file!("guardrails/active.cedar"),
    builtin_file!("guardrails/admins.cedar"),
    builtin_file!("guardrails/agents.cedar"),
    builtin_file!("guardrails/holds.cedar"),
    builtin_file!("guardrails/isolation.cedar"),
    builtin_file!("guardrails/last_admin.cedar"),
    builtin_file!("guardrails/never.cedar"),
    builtin_file!("guardrails/personal.cedar"),
    builtin_file!("guardrails/residency.cedar"),
    builtin_file!("guardrails/services.cedar"),
    builtin_file!("guardrails/sso.cedar"),
    builtin_file!("guardrails/viewer.cedar"),
    builtin_file!("integrations/integrations.cedar"),
    builtin_file!("memory/organization.cedar"),
    builtin_file!("memory/personal.cedar"),
    builtin_file!("memory/project.cedar"),
    builtin_file!("memory/team.cedar"),
    builtin_file!("memory/thread.cedar"),
    builtin_file!("plans/audit.cedar"),
    builtin_file!("plans/enterprise.cedar"),
    builtin_file!("roles/admin.cedar"),
    builtin_file!("roles/audience.cedar"),
    builtin_file!("roles/everyone.cedar"),
    builtin_file!("roles/members.cedar"),
    builtin_file!("roles/owners.cedar"),
    builtin_file!("services/services.cedar"),
    builtin_file!("templates/auditor.cedar"),
    builtin_file!("templates/shares.cedar"),
];

/// The built-in vocabulary and policies, compiled: what every tenant has, and shares with all others.
#[derive(Debug)]
pub struct Library {
    pub(crate) vocabulary: Arc<Vocabulary>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) fragment: SchemaFragment,
    pub(crate) json: Value,
    pub(crate) index: Index,
    pub(crate) templates: HashMap<Arc<str>, Arc<Linkable>>,
    /// All of it as one set, and the files by name, for validation.
    set: PolicySet,
    texts: HashMap<String, String>,
    digest: String,
    /// How many policies a tenant may add.
    pub(crate) own_most: usize,
}

impl Library {
    /// The library of this binary, not yet validated.
    ///
    /// # Errors
    /// `Refused` where the files that it was built from don't parse, which a test rules out.
    pub fn builtin() -> Result<Self, PolicyError> {
        Self::compile(SCHEMA, FILES)
    }

    /// The same, beside which a tenant may have so many policies of its own: for measuring what the engine does with more than the time
    /// for validating them allows.
    #[must_use]
    pub fn with_own_most(self, own_most: usize) -> Self {
        Self { own_most, ..self }
    }

    /// A library from other texts: how the tests try what would follow from a changed policy.
    ///
    /// # Errors
    /// `Refused` with everything that is wrong.
    pub fn compile(schema: &str, files: &[(&str, &str)]) -> Result<Self, PolicyError> {
        let (fragment, json) = parse_schema("cedarkeep.cedarschema", schema)?;
        let whole = Schema::from_schema_fragments([fragment.clone()]).map_err(|error| {
            PolicyError::Refused(Finding::from_cedar(
                "cedarkeep.cedarschema",
                schema,
                &DetailedError::from(&error),
            ))
        })?;
        let mut policies = Vec::new();
        let mut templates = Vec::new();
        let mut findings = Vec::new();
        for (file, text) in files {
            match parse_policies(file, text) {
                Ok(set) => {
                    policies.extend(in_order(&set).map(|policy| (*file, policy.clone())));
                    templates.extend(set.templates().map(|template| (*file, template.clone())));
                }
                Err(found) => findings.extend(found),
            }
        }
        let vocabulary = Vocabulary::new(&whole, &[&json], &[schema]);
        let (set, index, templates) = named(&policies, &templates, &vocabulary, &mut findings);
        if !findings.is_empty() {
            return Err(PolicyError::Refused(findings));
        }
        let texts = files
            .iter()
            .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        Ok(Self {
            vocabulary: Arc::new(vocabulary),
            schema: Arc::new(whole),
            fragment,
            json,
            index,
            templates,
            set,
            texts: texts.collect(),
            digest: digest(schema, files),
            own_most: POLICIES_MOST,
        })
    }

    /// Validates every policy and template strictly, and that none looks further than [`DEREFERENCE_LEVEL`]. Takes a
    /// second or two: for start-up, before the first question.
    ///
    /// # Errors
    /// `Refused` with everything that is wrong.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let texts = self
            .texts
            .iter()
            .map(|(file, text)| (file.as_str(), text.as_str()));
        let texts: HashMap<&str, &str> = texts.collect();
        let result = Validator::new(self.schema().clone()).validate_with_level(
            &self.set,
            ValidationMode::Strict,
            DEREFERENCE_LEVEL,
        );
        let file_of = |id: &PolicyId| self.note(id.as_ref()).map(|note| note.file.clone());
        let findings = validation_findings(&result, &file_of, &texts);
        if findings.is_empty() {
            Ok(())
        } else {
            Err(PolicyError::Refused(findings))
        }
    }

    /// What it was made of: `sha256:` and the SHA-256 of schema and files, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Sixty-four bits of [`Library::digest`]: what an entry names them by.
    #[must_use]
    pub fn mark(&self) -> &str {
        self.digest
            .split_once(':')
            .and_then(|(_, hex)| hex.get(..16))
            .unwrap_or_default()
    }

    /// The built-in types and actions.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The built-in schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The built-in policies, without the templates.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.index.policies()
    }

    /// The templates of links, in no order.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.templates.values().map(|template| &template.template)
    }

    /// The built-in policy or template of this id, as an answer names it.
    #[must_use]
    pub fn describe(&self, id: &str) -> Option<Determining> {
        Some(self.note(id)?.determining(id.into()))
    }

    fn note(&self, id: &str) -> Option<&Note> {
        let template = || self.templates.get(id).map(|template| &template.note);
        self.index.note(id).or_else(template)
    }

    /// What is refused before anything else is looked at, on a tenant's own types and unknown ones too: training.
    /// `context` is the caller's.
    #[must_use]
    pub fn reserved(&self, action: &str, context: &Map<String, Value>) -> Option<Determining> {
        let id = if action == "model.train" {
            "never.train"
        } else if context.get("purpose").and_then(Value::as_str) == Some("train") {
            "never.train_purpose"
        } else {
            return None;
        };
        Some(self.describe(id).unwrap_or_else(|| Determining {
            id: id.into(),
            link: None,
            reason: "".into(),
            plan: None,
        }))
    }
}

fn digest(schema: &str, files: &[(&str, &str)]) -> String {
    let mut digest = Sha256::new();
    let texts = files.iter().flat_map(|(name, text)| [*name, *text]);
    for text in std::iter::once(schema).chain(texts) {
        digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(text);
    }
    format!(
        "sha256:{}",
        data_encoding::HEXLOWER.encode(&digest.finalize())
    )
}

type Named = (PolicySet, Index, HashMap<Arc<str>, Arc<Linkable>>);

/// Policies and templates under their own ids, each with its reason.
fn named(
    policies: &[(&str, Policy)],
    templates: &[(&str, Template)],
    vocabulary: &Vocabulary,
    findings: &mut Vec<Finding>,
) -> Named {
    let mut set = PolicySet::new();
    let mut indexed = Vec::new();
    let mut by_template = HashMap::new();
    let refused = |file: &str, message: String| Finding::in_file(file, message);
    for (file, policy) in policies {
        let (Some(id), Some(reason)) = (policy.annotation("id"), policy.annotation("reason"))
        else {
            findings.push(refused(
                file,
                "a policy lacks its `@id` or `@reason`".to_owned(),
            ));
            continue;
        };
        let policy = policy.new_id(PolicyId::new(id));
        if let Err(error) = set.add(policy.clone()) {
            findings.push(refused(file, error.to_string()));
        }
        indexed.push((policy.clone(), Note::new(file, &policy, reason)));
    }
    for (file, template) in templates {
        let (Some(id), Some(reason)) = (template.annotation("id"), template.annotation("reason"))
        else {
            findings.push(refused(
                file,
                "a template lacks its `@id` or `@reason`".to_owned(),
            ));
            continue;
        };
        // A link opens something: one that forbade would be taken for one that permits.
        if template.effect() == Effect::Forbid {
            findings.push(refused(file, format!("the template `{id}` forbids")));
        }
        let note = Note {
            file: (*file).to_owned(),
            effect: Effect::Permit,
            reason: reason.into(),
            plan: None,
        };
        let template = template.new_id(PolicyId::new(id));
        if let Err(error) = set.add_template(template.clone()) {
            findings.push(refused(file, error.to_string()));
        }
        let linkable = Arc::new(Linkable::new(template, note, vocabulary));
        by_template.insert(Arc::clone(&linkable.id), linkable);
    }
    (set, Index::new(indexed, vocabulary), by_template)
}

/// A schema's fragment, and the same in JSON.
pub(crate) fn parse_schema(file: &str, text: &str) -> Result<(SchemaFragment, Value), PolicyError> {
    if let Some((at, message)) = extent::too_deep(text) {
        return Err(PolicyError::Refused(vec![Finding::at(
            file, text, at, message,
        )]));
    }
    let refused =
        |error: DetailedError| PolicyError::Refused(Finding::from_cedar(file, text, &error));
    let (fragment, _warnings) = SchemaFragment::from_cedarschema_str(text)
        .map_err(|error| refused(DetailedError::from(&error)))?;
    let json = fragment
        .clone()
        .to_json_value()
        .map_err(|error| refused(DetailedError::from(&error)))?;
    Ok((fragment, json))
}

/// A file's policies and templates, under the ids that Cedar gives them.
pub(crate) fn parse_policies(file: &str, text: &str) -> Result<PolicySet, Vec<Finding>> {
    if let Some((at, message)) = extent::too_much(text) {
        let finding = Finding::at(file, text, at, message);
        return Err(vec![finding.with_help("say it in several policies")]);
    }
    stacker::grow(STACK, || {
        text.parse()
            .map_err(|error| Finding::from_cedar(file, text, &DetailedError::from(&error)))
    })
}

/// A parsed file's policies in the order of the text; Cedar numbers them (`policy0`, `policy1`).
pub(crate) fn in_order(set: &PolicySet) -> impl Iterator<Item = &Policy> {
    let mut policies: Vec<&Policy> = set.policies().collect();
    policies.sort_by_key(|policy| {
        let id: &str = policy.id().as_ref();
        id.trim_start_matches("policy")
            .parse::<usize>()
            .unwrap_or(usize::MAX)
    });
    policies.into_iter()
}

/// How many of Cedar's errors are looked at.
const ERRORS_MOST: usize = 1_000;

/// What strict validation warns of, by file.
pub(crate) fn validation_warnings(
    result: &ValidationResult,
    file_of: &dyn Fn(&PolicyId) -> Option<String>,
    texts: &HashMap<&str, &str>,
) -> Vec<Finding> {
    let warnings = result.validation_warnings();
    let warnings = warnings.map(|one| (one.policy_id(), DetailedError::from(one)));
    placed(warnings, file_of, texts)
}

/// What strict validation found, by file.
pub(crate) fn validation_findings(
    result: &ValidationResult,
    file_of: &dyn Fn(&PolicyId) -> Option<String>,
    texts: &HashMap<&str, &str>,
) -> Vec<Finding> {
    let errors = result.validation_errors();
    let errors = errors.map(|one| (one.policy_id(), DetailedError::from(one)));
    placed(errors, file_of, texts)
}

fn placed<'a>(
    errors: impl Iterator<Item = (&'a PolicyId, DetailedError)>,
    file_of: &dyn Fn(&PolicyId) -> Option<String>,
    texts: &HashMap<&str, &str>,
) -> Vec<Finding> {
    let mut lines: HashMap<String, Lines<'_>> = HashMap::new();
    let errors = errors.take(ERRORS_MOST).flat_map(|(id, error)| {
        let file = file_of(id).unwrap_or_default();
        let lines = lines
            .entry(file.clone())
            .or_insert_with(|| Lines::of(texts.get(file.as_str()).copied().unwrap_or_default()));
        Finding::of_cedar(&file, lines, &error)
    });
    errors.collect()
}
