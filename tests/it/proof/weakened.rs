//! What the proofs notice: each policy that keeps a guardrail gone, and each made weaker by the machine in every way that is known
//! here, makes a property fail, with an example that Cedar's authorizer confirms.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Effect, Policy, PolicyId};
use cedarkeep::proof::{Verdict, Weakening, Which};
use serde_json::{Value, json};

use super::{Court, EVERYTHING, compiled, prover};
use crate::policy::world::LIBRARY;

/// The built-in policies that forbid, and the properties that each keeps. Without the policy, all of these fail.
const KEEPS: &[(&str, &[&str])] = &[
    ("active.user", &["active.user"]),
    ("active.acts_for", &["active.acts_for"]),
    ("admins.administer", &["administration"]),
    ("agents.acting_user", &["agents.acting_user"]),
    ("agents.ceiling", &["agents.ceiling"]),
    ("holds.destroy", &["holds.destroy", "holds.overwrite"]),
    ("holds.memory", &["holds.memory"]),
    ("isolation.acts_for", &["isolation.acts_for"]),
    (
        "isolation.grantee",
        &[
            "isolation.grantee",
            "isolation.grantee_group",
            "isolation.grantee_agent",
            "isolation.new_audience",
        ],
    ),
    ("isolation.new_owner", &["isolation.new_owner"]),
    (
        "isolation.new_parent",
        &["isolation.new_team", "isolation.new_project"],
    ),
    ("isolation.resource", &["isolation.resource"]),
    ("last_admin.demoted", &["last_admin.demoted"]),
    ("last_admin.leaves", &["last_admin.leaves"]),
    ("never.rewrite_the_log", &["log.append_only"]),
    ("never.train", &["training.action"]),
    ("never.train_purpose", &["training.purpose"]),
    ("personal.acts_for", &["personal.agent", "personal.key"]),
    (
        "personal.acts_for_new",
        &["personal.agent_new", "personal.key_new"],
    ),
    ("personal.run", &["personal.run"]),
    ("personal.run_agent", &["personal.run_agent"]),
    ("personal.user", &["personal.user"]),
    ("personal.user_new", &["personal.user_new"]),
    ("plans.audit", &["plans.audit"]),
    ("plans.compliance", &["plans.compliance"]),
    ("plans.import", &["plans.import"]),
    ("plans.provisioning", &["plans.provisioning"]),
    ("plans.residency", &["plans.residency"]),
    ("plans.retention", &["plans.retention"]),
    ("plans.saml", &["plans.saml"]),
    ("plans.scim", &["plans.scim"]),
    ("residency.content", &["residency"]),
    ("services.acting_user", &["keys.acting_user"]),
    ("services.audit", &["keys.audit"]),
    ("services.content", &["keys.content"]),
    ("services.decide", &["keys.decide"]),
    ("services.directory_read", &["keys.directory_read"]),
    ("services.directory_write", &["keys.directory_write"]),
    ("services.events", &["keys.events"]),
    ("services.explain", &["keys.explain"]),
    ("services.policy", &["keys.policy"]),
    ("services.search", &["keys.search"]),
    ("sso.enforced", &["sso.enforced"]),
    ("viewer.ceiling", &["viewers"]),
];

/// Changes that no property notices, and why nothing is allowed for them. Each is one that is made.
const HARMLESS: &[(&str, &str, &str)] = &[
    (
        "agents.acting_user",
        "condition 0: another attribute",
        NOT_SAID,
    ),
    (
        "personal.acts_for",
        "condition 1: left, another attribute",
        NOT_SAID,
    ),
    (
        "personal.acts_for_new",
        "condition 1: left, another attribute",
        NOT_SAID,
    ),
    (
        "personal.run_agent",
        "condition 0: left, another attribute",
        NOT_SAID,
    ),
    (
        "plans.provisioning",
        "condition 0: right, not, another attribute",
        NOT_SAID,
    ),
    (
        "services.acting_user",
        "condition 0: left, left, another attribute",
        NOT_SAID,
    ),
    (
        "never.train_purpose",
        "condition 0: left, another attribute",
        "it is the one that stands there",
    ),
    ("agents.ceiling", "without group.export", PRIVATE),
    ("viewer.ceiling", "without group.export", PRIVATE),
    (
        "viewer.ceiling",
        "condition 1: left, left, right, right side gone",
        PRIVATE,
    ),
    (
        "viewer.ceiling",
        "condition 1: left, left, right, right, == for !=",
        PRIVATE,
    ),
    (
        "viewer.ceiling",
        "condition 1: right, right side gone",
        THEIRS,
    ),
    (
        "viewer.ceiling",
        "condition 1: right, right, == for !=",
        THEIRS,
    ),
];

const NOT_SAID: &str =
    "the server says nothing of that name, so that no exception is left: it is stricter";
const PRIVATE: &str = "an export is private: an organization's own permits do not count, and no built-in one opens another's to them";
const THEIRS: &str = "withdrawing is private, and the one built-in permit is for whoever asked";

#[test]
fn every_policy_that_forbids_keeps_a_property() {
    let forbids = LIBRARY.policies();
    let forbids: BTreeSet<String> = forbids
        .filter(|policy| policy.effect() == Effect::Forbid)
        .map(|policy| policy.id().to_string())
        .collect();
    let keeps: BTreeSet<String> = KEEPS
        .iter()
        .map(|(policy, _)| (*policy).to_owned())
        .collect();
    assert_eq!(forbids, keeps);
    // What is permitted counts for the others, and no policy that forbids keeps them.
    let kept: BTreeSet<&str> = KEEPS.iter().flat_map(|(_, kept)| *kept).copied().collect();
    let all = cedarkeep::proof::property_ids();
    let others: Vec<&String> = all
        .iter()
        .filter(|id| !kept.contains(id.as_str()))
        .collect();
    assert!(
        others.iter().all(|id| id.starts_with("private.")),
        "{others:?}"
    );
    assert!(
        GROUPS
            .iter()
            .all(|group| keeps.iter().any(|id| id.starts_with(group)))
    );
    let in_groups = keeps
        .iter()
        .filter(|id| GROUPS.iter().any(|group| id.starts_with(group)));
    assert_eq!(in_groups.count(), keeps.len());
}

/// The policies of each of the tests below.
const GROUPS: &[&str] = &[
    "active.",
    "admins.",
    "agents.",
    "holds.",
    "isolation.",
    "last_admin.",
    "never.",
    "personal.",
    "plans.",
    "residency.",
    "services.",
    "sso.",
    "viewer.",
];

#[tokio::test]
async fn without_any_of_these_policies_its_properties_fail() {
    let gone = KEEPS.iter().map(|(policy, kept)| Weakening {
        policy: (*policy).to_owned(),
        instead: None,
        which: Which::Only(kept.iter().map(|id| (*id).to_owned()).collect()),
    });
    let compiled = compiled(EVERYTHING);
    let found = prover()
        .weakened(&compiled, gone.collect(), |_| {})
        .await
        .unwrap();
    let court = Court::of(&compiled);
    for ((policy, kept), found) in KEEPS.iter().zip(found) {
        assert_eq!(found.len(), kept.len(), "{policy}");
        for (property, verdict) in found {
            let Verdict::Fails(example) = verdict else {
                panic!("without {policy}, {property}: {verdict:?}");
            };
            assert!(
                court.with(policy, None).allows(&example),
                "{policy}: {example:?}"
            );
            assert!(!court.allows(&example), "{policy}: {example:?}");
        }
    }
}

#[tokio::test]
async fn weaker_isolation_is_noticed() {
    noticed(&["isolation."]).await;
}

#[tokio::test]
async fn weaker_personal_memory_is_noticed() {
    noticed(&["personal.", "holds.", "last_admin.", "never."]).await;
}

#[tokio::test]
async fn weaker_plans_and_residency_are_noticed() {
    noticed(&["plans.", "residency.", "sso."]).await;
}

#[tokio::test]
async fn weaker_scopes_of_keys_are_noticed() {
    noticed(&["services."]).await;
}

#[tokio::test]
async fn weaker_roles_are_noticed() {
    noticed(&["active.", "admins.", "agents.", "viewer."]).await;
}

/// Every way in which the policies of these groups are made weaker makes a property fail that they keep, or is listed.
async fn noticed(groups: &[&str]) {
    let kept: BTreeMap<&str, &[&str]> = KEEPS.iter().copied().collect();
    let mut names = Vec::new();
    let mut weakenings = Vec::new();
    for policy in LIBRARY.policies() {
        let id = policy.id().to_string();
        if policy.effect() != Effect::Forbid || !groups.iter().any(|group| id.starts_with(group)) {
            continue;
        }
        for (change, json) in weaker(&policy.to_json().unwrap()) {
            let instead = Policy::from_json(Some(PolicyId::new(&id)), json).unwrap();
            weakenings.push(Weakening {
                policy: id.clone(),
                instead: Some(instead),
                which: Which::Only(
                    kept[id.as_str()]
                        .iter()
                        .map(|id| (*id).to_owned())
                        .collect(),
                ),
            });
            names.push((id.clone(), change));
        }
    }
    assert!(weakenings.len() >= 40, "{}", weakenings.len());
    let compiled = compiled(EVERYTHING);
    let found = prover()
        .weakened(&compiled, weakenings.clone(), |_| {})
        .await
        .unwrap();
    let court = Court::of(&compiled);
    let mut wrong = Vec::new();
    for (((policy, change), weakening), found) in names.iter().zip(&weakenings).zip(found) {
        let listed = HARMLESS
            .iter()
            .any(|(one, what, _)| one == policy && what == change);
        let (mut fails, mut refused) = (false, false);
        for (property, verdict) in found {
            match verdict {
                Verdict::Holds => {}
                Verdict::Fails(example) => {
                    fails = true;
                    let changed = court.with(policy, weakening.instead.as_ref());
                    if !changed.allows(&example) || court.allows(&example) {
                        wrong.push(format!("{policy}: {change}: no example: {example:?}"));
                    }
                }
                // Strict validation refuses it before anything is proved: it reads what may be absent.
                Verdict::Unknown(why)
                    if why
                        .iter()
                        .all(|(_, why)| why.to_string().contains("not well typed")) =>
                {
                    refused = true;
                }
                Verdict::Unknown(why) => {
                    wrong.push(format!("{policy}: {change}: {property} unknown: {why:?}"));
                }
            }
        }
        if fails == listed && !refused {
            let what = if listed {
                "listed, and noticed"
            } else {
                "not noticed"
            };
            wrong.push(format!("{policy}: {change}: {what}"));
        }
    }
    for (policy, change, _) in HARMLESS {
        let ours = groups.iter().any(|group| policy.starts_with(group));
        if ours
            && !names
                .iter()
                .any(|(one, what)| one == policy && what == change)
        {
            wrong.push(format!("{policy}: {change}: listed, and not made"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        names.len(),
        wrong.join("\n")
    );
}

/// Every way to forbid less that is known here, in Cedar's JSON form.
fn weaker(policy: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let mut add = |change: String, json: Value| all.push((change, json));
    let mut turned = policy.clone();
    turned["effect"] = json!("permit");
    add("permits".to_owned(), turned);
    let elsewhere = json!({"==": {
        "left": {".": {"left": {".": {"left": {"Var": "context"}, "attr": "cedarkeep"}}, "attr": "region"}},
        "right": {"Value": "elsewhere"},
    }});
    for kind in ["when", "unless"] {
        let mut more = policy.clone();
        let conditions = more["conditions"].as_array_mut().unwrap();
        conditions.push(json!({"kind": kind, "body": elsewhere}));
        add(format!("{kind} it is elsewhere"), more);
    }
    for kind in ["User", "Agent", "Service"] {
        let kind = format!("Cedarkeep::{kind}");
        if policy["principal"]["entity_type"] != *kind {
            let mut narrower = policy.clone();
            narrower["principal"] = json!({"op": "is", "entity_type": kind});
            add(format!("principal is {kind}"), narrower);
        }
    }
    if policy["resource"]["op"] == "All" {
        let mut narrower = policy.clone();
        narrower["resource"] = json!({"op": "is", "entity_type": "Cedarkeep::Thread"});
        add("resource is a Thread".to_owned(), narrower);
    }
    if policy["action"]["op"] != "==" {
        let mut narrower = policy.clone();
        narrower["action"] = json!({"op": "==", "entity": {
            "type": "Cedarkeep::Action", "id": "thread.read",
        }});
        add("only to read threads".to_owned(), narrower);
    }
    let actions = policy["action"]["entities"].as_array();
    for (at, action) in actions.into_iter().flatten().enumerate() {
        let mut fewer = policy.clone();
        fewer["action"]["entities"]
            .as_array_mut()
            .unwrap()
            .remove(at);
        add(format!("without {}", action["id"].as_str().unwrap()), fewer);
    }
    for (at, condition) in policy["conditions"].as_array().unwrap().iter().enumerate() {
        let holds = condition["kind"] == "when";
        let mut negated = policy.clone();
        negated["conditions"][at]["kind"] = json!(if holds { "unless" } else { "when" });
        add(format!("condition {at} negated"), negated);
        for (change, body) in narrower(&condition["body"], holds) {
            let mut changed = policy.clone();
            changed["conditions"][at]["body"] = body;
            add(format!("condition {at}: {change}"), changed);
        }
    }
    all
}

/// An expression changed in one place, so that it is true of fewer requests, or of others; `wanted` where it is to be true.
fn narrower(expression: &Value, wanted: bool) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let Some((operator, operands)) = expression.as_object().and_then(|one| one.iter().next())
    else {
        return all;
    };
    match operator.as_str() {
        "&&" | "||" => {
            // Fewer alternatives where it is to be true, fewer demands where it is not.
            if (operator == "||") == wanted {
                all.push(("right side gone".to_owned(), operands["left"].clone()));
                all.push(("left side gone".to_owned(), operands["right"].clone()));
            }
            for side in ["left", "right"] {
                for (change, part) in narrower(&operands[side], wanted) {
                    let mut whole = expression.clone();
                    whole[operator][side] = part;
                    all.push((format!("{side}, {change}"), whole));
                }
            }
        }
        "!" => {
            for (change, part) in narrower(&operands["arg"], !wanted) {
                all.push((format!("not, {change}"), json!({"!": {"arg": part}})));
            }
        }
        "==" => all.push(("== for !=".to_owned(), json!({"!=": operands}))),
        "!=" => all.push(("!= for ==".to_owned(), json!({"==": operands}))),
        ">" | "<=" => {
            let mut moved = expression.clone();
            let number = operands["right"]["Value"].as_i64().unwrap();
            let by = if operator == ">" { 1 } else { -1 };
            moved[operator]["right"]["Value"] = json!(number + by);
            all.push(("number off by one".to_owned(), moved));
        }
        "contains" => {
            let mut other = expression.clone();
            if other[operator]["right"].get("Value").is_some() {
                other[operator]["right"]["Value"] = json!("another");
                all.push(("another text".to_owned(), other));
            }
        }
        "has" => {
            let mut other = expression.clone();
            other[operator]["attr"] = json!("purpose");
            all.push(("another attribute".to_owned(), other));
        }
        _ => {}
    }
    all
}
