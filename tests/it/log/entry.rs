//! Leaves: the direct writer against a JSON library, and what is refused when read.

use cedarkeep::log::entry::{
    Caller, Draft, Entry, Event, Fact, Id, LEAF_LIMIT, Outcome, PartName, PolicyId, Ref, Refusal,
    SealedPart, Time, Word,
};
use cedarkeep::log::flaw::Flaw;
use cedarkeep::log::merkle::Hash;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::{id, record};

const WORDS: &[&str] = &[
    "User",
    "Thread",
    "thread.read",
    "prompt_template.share",
    "role.member.read",
    "A",
    "guardrails/isolation:1",
];

fn ids() -> impl Strategy<Value = Id> {
    (select(&["usr", "thr", "k", "a1"][..]), any::<[u8; 16]>())
        .prop_map(|(prefix, random)| Id::of(prefix, &random))
}

fn references() -> impl Strategy<Value = Ref> {
    (select(WORDS), ids()).prop_map(|(kind, id)| Ref::new(Word::of(kind), id))
}

fn callers() -> impl Strategy<Value = Caller> {
    prop_oneof![
        ids().prop_map(Caller::ApiKey),
        ids().prop_map(Caller::ClientCertificate),
        ids().prop_map(Caller::ScimToken),
        ids().prop_map(Caller::Session),
        Just(Caller::System),
        Just(Caller::Operator),
        Just(Caller::Unrecognised),
    ]
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Allow),
        Just(Outcome::Ok),
        select(Refusal::ALL).prop_map(Outcome::Deny),
        select(Refusal::ALL).prop_map(Outcome::Failed),
    ]
}

fn facts() -> impl Strategy<Value = Fact> {
    prop_oneof![
        any::<u64>().prop_map(Fact::Count),
        any::<[u8; 32]>().prop_map(|bytes| Fact::Commitment(Hash::new(bytes))),
        any::<[u8; 32]>().prop_map(Fact::NewKey),
        any::<u64>().prop_map(Fact::Minimum),
        any::<u64>().prop_map(Fact::PolicyVersion),
        (ids(), any::<u64>(), any::<[u8; 32]>()).prop_map(|(incarnation, size, root)| {
            Fact::Restored {
                incarnation,
                size,
                root: Hash::new(root),
            }
        }),
    ]
}

fn policies() -> impl Strategy<Value = PolicyId> {
    prop_oneof![
        select(WORDS).prop_map(PolicyId::built_in),
        ids().prop_map(PolicyId::given)
    ]
}

prop_compose! {
    pub fn entries()(
        index: u64,
        micros in 0..=253_402_300_799_999_999_i64,
        (event, caller, outcome) in (select(Event::ALL), callers(), outcomes()),
        (actor, acts_for, resource) in (option::of(references()), option::of(references()), option::of(references())),
        action in option::of(select(WORDS)),
        policies in prop::collection::btree_set(policies(), 0..5),
        (policy_version, as_of) in (option::of(any::<u64>()), option::of(any::<u64>())),
        fact in option::of(facts()),
        parts in prop::collection::btree_map(select(PartName::ALL), any::<[u8; 32]>().prop_map(Hash::new), 0..5),
    ) -> Entry {
        let time = Time::from_micros(micros).unwrap();
        let action = action.map(Word::of);
        Entry { index, time, event, caller, outcome, actor, acts_for, action, resource, policies, policy_version, as_of, fact, parts }
    }
}

/// The entry as a JSON library would be given it: what the documentation promises, written a second time.
fn as_json(entry: &Entry) -> Value {
    let reference =
        |reference: &Ref| json!({"type": reference.kind.as_str(), "id": reference.id.as_str()});
    let mut all = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            all.insert(key.to_owned(), value);
        }
    };
    put("format", Some(json!("cedarkeep.entry.v1")));
    put("index", Some(json!(entry.index.to_string())));
    put(
        "time",
        Some(json!(
            chrono::DateTime::from_timestamp_micros(entry.time.micros())
                .unwrap()
                .format("%Y-%m-%dT%H:%M:%S%.6fZ")
                .to_string()
        )),
    );
    put("event", Some(json!(entry.event.as_str())));
    put("category", Some(json!(entry.category().as_str())));
    put("actor", entry.actor.as_ref().map(reference));
    put("acts_for", entry.acts_for.as_ref().map(reference));
    put("resource", entry.resource.as_ref().map(reference));
    put(
        "action",
        entry.action.as_ref().map(|action| json!(action.as_str())),
    );
    put(
        "caller",
        Some(match entry.caller.id() {
            Some(id) => json!({"type": entry.caller.kind(), "id": id.as_str()}),
            None => json!({"type": entry.caller.kind()}),
        }),
    );
    put("outcome", Some(json!(entry.outcome.as_str())));
    put(
        "refusal",
        entry
            .outcome
            .refusal()
            .map(|refusal| json!(refusal.as_str())),
    );
    let policies: Vec<&str> = entry.policies.iter().map(PolicyId::as_str).collect();
    put("policies", (!policies.is_empty()).then(|| json!(policies)));
    put(
        "policy_version",
        entry
            .policy_version
            .map(|version| json!(version.to_string())),
    );
    put("as_of", entry.as_of.map(|index| json!(index.to_string())));
    put("fact", entry.fact.as_ref().map(|fact| match fact {
        Fact::Count(count) => json!({"count": count.to_string()}),
        Fact::Commitment(hash) => json!({"commitment": hash.to_string()}),
        Fact::NewKey(key) => json!({"key": data_encoding::HEXLOWER.encode(key)}),
        Fact::Minimum(index) => json!({"minimum": index.to_string()}),
        Fact::PolicyVersion(version) => json!({"policy_version": version.to_string()}),
        Fact::Restored { incarnation, size, root } => {
            json!({"size": size.to_string(), "root": root.to_string(), "incarnation": incarnation.as_str()})
        }
    }));
    let parts: Map<String, Value> = entry
        .parts
        .iter()
        .map(|(name, hash)| (name.as_str().to_owned(), json!(hash.to_string())))
        .collect();
    put("parts", (!parts.is_empty()).then_some(Value::Object(parts)));
    Value::Object(all)
}

proptest! {
    #[test]
    fn a_leaf_is_what_a_jcs_library_writes(entry in entries()) {
        let leaf = entry.leaf().unwrap();
        prop_assert_eq!(String::from_utf8(leaf).unwrap(), serde_json_canonicalizer::to_string(&as_json(&entry)).unwrap());
    }

    #[test]
    fn a_leaf_reads_back(entry in entries()) {
        prop_assert_eq!(Entry::parse(&entry.leaf().unwrap()).unwrap(), entry);
    }

    #[test]
    fn what_reads_is_what_would_be_written(entry in entries(), at: prop::sample::Index, byte: u8) {
        let mut leaf = entry.leaf().unwrap();
        let at = at.index(leaf.len());
        leaf[at] = byte;
        if let Ok(read) = Entry::parse(&leaf) {
            prop_assert_eq!(read.leaf().unwrap(), leaf);
        }
    }

    #[test]
    fn garbage_is_refused_without_harm(bytes: Vec<u8>) {
        prop_assert!(Entry::parse(&bytes).is_err());
    }
}

#[test]
fn a_decision_looks_like_this() {
    let leaf = String::from_utf8(record(6).leaf).unwrap();
    insta::assert_snapshot!(leaf, @r#"{"action":"thread.read","actor":{"id":"usr_aaaaaaaaaaaamaaaaaabencwpa","type":"User"},"as_of":"3","caller":{"id":"key_aaaaaaaaaaaaoaaaaaabencwpa","type":"api_key"},"category":"decision","event":"decision.made","format":"cedarkeep.entry.v1","index":"6","outcome":"deny","parts":{"client":"c97d18c6607cc7247e729034a7c0c07600e82c1a3111f8c8367fbbb5b34f2219","request":"9b1130faaebc05484649ea460bc4d48137e2ef6f508a0f468b8cb0f05600c673"},"policies":["lnk_aaaaaaaaaaaamaaaaaabencwpa","role.member.read"],"policy_version":"4","refusal":"forbidden","resource":{"id":"thr_aaaaaaaaaaaacaaaaaabencwpa","type":"Thread"},"time":"2026-11-18T11:06:40.000001Z"}"#);
}

#[test]
fn spellings_that_are_not_canonical_are_refused() {
    let leaf = String::from_utf8(record(5).leaf).unwrap();
    let altered = [
        ("{\"action\"", "{ \"action\""),
        ("\"index\":\"5\"", "\"index\":5"),
        ("\"index\":\"5\"", "\"index\":\"05\""),
        ("\"index\":\"5\"", "\"index\":\"+5\""),
        ("\"outcome\":\"allow\"", "\"outcome\":\"deny\""),
        ("\"outcome\":\"allow\"", "\"outcome\":\"allo\\u0077\""),
        ("\"category\":\"decision\"", "\"category\":\"settings\""),
        (
            "\"event\":\"decision.made\"",
            "\"event\":\"decision.unmade\"",
        ),
        (".v1\"", ".v2\""),
        (",\"index\":\"5\"", ""),
        (",\"index\":\"5\"", ",\"index\":\"5\",\"index\":\"5\""),
        (",\"index\"", ",\"host\":\"x\",\"index\""),
    ];
    for (from, to) in altered {
        let altered = leaf.replacen(from, to, 1);
        assert_ne!(altered, leaf, "{from}");
        assert!(Entry::parse(altered.as_bytes()).is_err(), "{to}");
    }
    let mut longer = leaf.into_bytes();
    longer.push(b'\n');
    assert!(Entry::parse(&longer).is_err());
}

#[test]
fn policies_out_of_order_are_refused() {
    let leaf = String::from_utf8(record(5).leaf).unwrap();
    let start = leaf.find("\"policies\":[").unwrap() + "\"policies\":[".len();
    let end = start + leaf[start..].find(']').unwrap();
    let (first, second) = leaf[start..end].split_once(',').unwrap();
    let swapped = format!("{}{second},{first}{}", &leaf[..start], &leaf[end..]);
    assert_eq!(
        Entry::parse(swapped.as_bytes()),
        Err(Flaw::LeafNotCanonical)
    );
}

#[test]
fn an_entry_that_is_too_long_is_refused() {
    let draft = |count: u64| {
        Draft::new(Event::DecisionMade, Caller::System, Outcome::Allow)
            .policies((0..count).map(|number| PolicyId::given(id("pol", number))))
    };
    let time = Time::from_micros(0).unwrap();
    // The least number of policies that is too many.
    let too_many = (1_900..)
        .find(|count| draft(*count).at(0, time).is_err())
        .unwrap();
    assert!(draft(too_many - 1).at(0, time).unwrap().leaf.len() <= LEAF_LIMIT);
    assert!(
        matches!(draft(too_many).at(0, time), Err(Flaw::LeafTooLong { length }) if length > LEAF_LIMIT)
    );
}

#[test]
fn a_record_has_the_hashes_of_its_sealed_parts_in_order() {
    let record = record(9);
    let named: Vec<(PartName, Hash)> = record
        .parts
        .iter()
        .map(|part| (part.name, part.hash()))
        .collect();
    assert_eq!(
        named,
        record.entry.parts.clone().into_iter().collect::<Vec<_>>()
    );
    assert_eq!(named[0], (PartName::Client, Hash::of(b"sealed client 9")));
}

#[test]
fn a_draft_takes_the_words_of_callers_as_parts_alone() {
    let mut draft = Draft::new(
        Event::UserLoginFailed,
        Caller::Unrecognised,
        Outcome::Failed(Refusal::UnknownCredential),
    );
    draft
        .attach(SealedPart {
            name: PartName::Actor,
            sealed: b"anna@example.com".to_vec(),
        })
        .unwrap();
    let leaf = draft.at(0, Time::from_micros(0).unwrap()).unwrap().leaf;
    assert!(!String::from_utf8(leaf).unwrap().contains("anna"));
    assert!("anna@example.com".parse::<Id>().is_err());
}

/// The list of the specification, with the families written out.
#[test]
fn every_event_has_its_name_and_category() {
    let families = ["prompt_template", "tool", "assistant", "agent"];
    let verbs = ["created", "edited", "shared", "deleted"];
    for name in families
        .iter()
        .flat_map(|family| verbs.map(|verb| format!("{family}.{verb}")))
    {
        assert_eq!(
            Event::parse(&name).map(|event| event.category().as_str()),
            Some("data_operations"),
            "{name}"
        );
    }
    let chapters: [(&str, &[&str]); 7] = [
        ("decision", &["decision.made"]),
        (
            "authentication",
            &[
                "user.login",
                "user.login_failed",
                "user.logout",
                "session.revoked",
                "api_key.created",
                "api_key.revoked",
                "api_key.rejected",
            ],
        ),
        (
            "membership",
            &[
                "member.invited",
                "member.invitation_resent",
                "member.invitation_revoked",
                "member.invitation_expired",
                "member.joined",
                "member.role_changed",
                "member.suspended",
                "member.removed",
                "member.imported",
                "team.created",
                "team.deleted",
                "team.member_added",
                "team.member_removed",
                "project.created",
                "project.deleted",
                "project.member_added",
                "project.member_removed",
            ],
        ),
        (
            "settings",
            &[
                "sso.configured",
                "sso.disabled",
                "settings.updated",
                "plan.changed",
                "region.changed",
                "retention.updated",
                "legal_hold.set",
                "legal_hold.released",
                "scim.configured",
                "schema.edited",
                "log.key_rotated",
                "log.pruned",
                "log.heartbeat",
                "log.restored",
                "policy.drafted",
                "policy.discarded",
                "policy.checked",
                "policy.approved",
                "policy.conditions_changed",
                "policy.shadowed",
                "policy.announced",
                "policy.activated",
                "policy.rolled_back",
                "key.rotated",
            ],
        ),
        (
            "integrations",
            &[
                "integration.connected",
                "integration.disconnected",
                "integration.token_refreshed",
                "integration.used",
            ],
        ),
        (
            "ai_activity",
            &[
                "agent.run_started",
                "agent.run_completed",
                "agent.run_failed",
                "agent.run_cancelled",
            ],
        ),
        (
            "data_operations",
            &[
                "thread.created",
                "thread.posted",
                "thread.shared",
                "thread.unshared",
                "thread.transferred",
                "thread.restricted",
                "thread.deleted",
                "document.uploaded",
                "document.edited",
                "document.deleted",
                "memory.written",
                "memory.forgotten",
                "share.expired",
                "access.requested",
                "access.approved",
                "access.declined",
                "access.withdrawn",
                "access.lapsed",
                "entity.written",
                "entity.deleted",
                "content.read",
                "search.made",
                "data.exported",
                "data.erasure_requested",
                "data.erased",
                "audit_log.read",
                "audit_log.exported",
            ],
        ),
    ];
    for (category, names) in chapters {
        for name in names {
            assert_eq!(
                Event::parse(name).map(|event| event.category().as_str()),
                Some(category),
                "{name}"
            );
        }
    }
}
