//! The built-in library: sound, complete, and each policy with its name and its reason.

use std::collections::BTreeSet;
use std::path::Path;

use cedar_policy::{ValidationMode, Validator};
use cedarkeep::policy::{FILES, Library, Link, PolicyError, SCHEMA, Uid};

use super::world::{LIBRARY, named};

fn files_below(folder: &Path, found: &mut BTreeSet<String>, root: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found, root);
        } else {
            found.insert(
                path.strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
}

#[test]
fn every_policy_file_is_embedded() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/policies"));
    let mut found = BTreeSet::new();
    files_below(root, &mut found, root);
    let embedded: BTreeSet<String> = FILES.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(found, embedded);
}

#[test]
fn everything_is_strictly_valid_and_no_policy_is_impossible() {
    let library = Library::builtin().unwrap();
    library.validate().unwrap();
    let set = cedar_policy::PolicySet::from_policies(library.policies().cloned()).unwrap();
    let result = Validator::new(library.schema().clone()).validate(&set, ValidationMode::Strict);
    assert!(result.validation_passed_without_warnings(), "{result}");
}

#[test]
fn every_policy_has_a_reason_that_is_a_sentence() {
    for (file, text) in FILES {
        let ids = text.matches("@id(\"").count();
        let policies = text.matches("\npermit (").count() + text.matches("\nforbid (").count();
        assert_eq!(ids, policies, "{file}");
    }
    for policy in LIBRARY.policies() {
        let reason = policy.annotation("reason").unwrap();
        assert!(
            reason.ends_with('.') && reason.contains(' '),
            "{}: {reason}",
            policy.id()
        );
        let plan = policy.annotation("plan");
        let id: &str = policy.id().as_ref();
        assert_eq!(plan.is_some(), id.starts_with("plans."), "{id}");
        assert!(
            plan.is_none_or(|plan| ["Business", "Enterprise"].contains(&plan)),
            "{id}"
        );
    }
}

#[test]
fn every_action_is_in_one_kind_and_opened_by_one_scope() {
    let kinds = [
        "read",
        "write",
        "share",
        "run",
        "administer",
        "export",
        "audit",
        "ask",
        "never",
    ];
    for action in LIBRARY.vocabulary().actions() {
        let groups = action.groups();
        let of = kinds.iter().filter(|kind| groups.contains(**kind)).count();
        assert_eq!(of, 1, "{}: {groups:?}", action.name());
        assert!(groups.contains("any"), "{}", action.name());
        let scopes = groups
            .iter()
            .filter(|group| group.starts_with("scope.") && *group != "scope.provision")
            .count();
        assert_eq!(
            scopes,
            usize::from(!action.is_in("never")),
            "{}",
            action.name()
        );
    }
}

#[test]
fn what_changes_things_is_told_from_what_reads() {
    let vocabulary = LIBRARY.vocabulary();
    for (name, mutating) in [
        ("thread.read", false),
        ("thread.share", true),
        ("thread.restrict", true),
        ("settings.read", false),
        ("settings.update", true),
        ("agent.cancel", true),
        ("tool.use", false),
        ("audit_log.export", false),
        ("memory.forget", true),
        ("decision.ask", false),
    ] {
        assert_eq!(
            vocabulary.action(name).unwrap().is_mutating(),
            mutating,
            "{name}"
        );
    }
}

#[test]
fn a_policy_without_a_reason_or_against_the_schema_is_refused() {
    for text in [
        "@id(\"x\") permit(principal, action, resource);",
        "@reason(\"Because.\") permit(principal, action, resource);",
        "@id(\"x\") @reason(\"Because.\") permit(principal, action, resource) when { principal.nose };",
    ] {
        let compiled = Library::compile(SCHEMA, &[("x.cedar", text)]);
        let refused = compiled.and_then(|library| library.validate());
        assert!(matches!(refused, Err(PolicyError::Refused(_))), "{text}");
    }
}

#[test]
fn a_link_opens_one_thing_and_never_a_container() {
    let link = |template: &'static str, principal: Uid, resource: Uid| {
        LIBRARY.link(Link {
            id: "l".to_owned(),
            template: template.into(),
            principal,
            resource,
            expires_at: None,
        })
    };
    let (pat, thread) = (named("User", "pat"), named("Thread", "it"));
    assert!(link("share-viewer", pat.clone(), thread.clone()).is_ok());
    let unknown = link("share-owner", pat.clone(), thread.clone());
    assert!(matches!(unknown, Err(PolicyError::UnknownTemplate(_))));
    for (template, principal, resource) in [
        ("share-viewer", pat.clone(), named("Organization", "acme")),
        ("share-viewer", named("Service", "key"), thread.clone()),
        ("auditor", pat.clone(), thread),
        (
            "auditor",
            named("AgentDefinition", "helper"),
            named("AuditLog", "it"),
        ),
    ] {
        let refused = link(template, principal, resource);
        assert!(
            matches!(refused, Err(PolicyError::NotLinkable { .. })),
            "{template}"
        );
    }
}

#[test]
fn training_is_refused_by_name_before_anything_is_looked_up() {
    let empty = serde_json::Map::new();
    let refused = LIBRARY.reserved("model.train", &empty).unwrap();
    assert_eq!(&*refused.id, "never.train");
    assert!(!refused.reason.is_empty());
    let train = serde_json::json!({"purpose": "train"});
    let refused = LIBRARY
        .reserved("anything", train.as_object().unwrap())
        .unwrap();
    assert_eq!(&*refused.id, "never.train_purpose");
    assert!(LIBRARY.reserved("thread.read", &empty).is_none());
}
