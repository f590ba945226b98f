//! How a judgement or an event becomes the draft of an entry: what may stand in the leaf, and what is a sealed part.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::judge::Judgement;
use super::question::{Asker, Caller};
use super::request::Request;
use super::work::Note;
use crate::directory::{Happening, Kind, Ref};
use crate::log::Event;
use crate::log::entry::{self, Draft, Fact, Id, Outcome, PartName, PolicyId, Word};
use crate::log::query::said_in_part;
use crate::log::search::fingerprint;
use crate::policy::{Determining, Library, Refusal};

/// A draft whose parts are not sealed yet, and the person whose key will seal them.
pub(super) struct Unsealed {
    pub(super) draft: Draft,
    pub(super) parts: Parts,
    pub(super) subject: Option<Ref>,
}

/// What is to be sealed, and the fingerprints of the words in it.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) texts: Vec<(PartName, Vec<u8>)>,
    pub(super) prints: Vec<u64>,
}

impl Parts {
    fn put(&mut self, name: PartName, part: &Value) {
        self.prints
            .extend(said_in_part(name, part).map(fingerprint));
        self.texts.push((name, part.to_string().into_bytes()));
    }

    fn put_request(&mut self, request: Request) {
        self.prints.extend(request.prints);
        self.texts.push((PartName::Request, request.text));
    }
}

/// The names of ours that may stand in a leaf: built-in actions and policies.
pub(super) struct Names {
    actions: HashMap<String, Word>,
    policies: HashMap<String, PolicyId>,
}

impl Names {
    /// The name of ours that stands in a leaf for a policy that determined a decision.
    pub(super) fn policy(&self, one: &Determining) -> Option<&PolicyId> {
        self.policies.get(&*one.id)
    }

    /// Whether a policy that determined a decision stands in the part of the tenant's own: as one of theirs, or as a link.
    pub(super) fn is_apart(&self, one: &Determining) -> bool {
        one.link.is_some() || self.policy(one).is_none()
    }
}

/// Reads the built-in names once; they live as long as the process.
pub(super) fn names(library: &Library) -> &'static Names {
    static NAMES: OnceLock<Names> = OnceLock::new();
    NAMES.get_or_init(|| {
        let keep = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let policies = library
            .policies()
            .map(|policy| AsRef::<str>::as_ref(policy.id()).to_owned());
        let templates = [
            "share-viewer",
            "share-commenter",
            "share-editor",
            "auditor",
            "organization.suspended",
        ];
        Names {
            actions: library
                .vocabulary()
                .actions()
                .map(|action| (action.name().to_owned(), Word::of(keep(action.name()))))
                .collect(),
            policies: policies
                .chain(templates.map(String::from))
                .map(|id| {
                    let name = PolicyId::built_in(keep(&id));
                    (id, name)
                })
                .collect(),
        }
    })
}

pub(super) fn reference(reference: Ref) -> entry::Ref {
    entry::Ref::new(
        Word::of(reference.kind.name()),
        Id::of(reference.kind.prefix(), &reference.id),
    )
}

fn caller(asker: &Asker) -> entry::Caller {
    match asker.caller {
        Caller::Key { key, .. } => entry::Caller::ApiKey(Id::of(key.kind.prefix(), &key.id)),
        Caller::Directory { token, .. } => {
            entry::Caller::ScimToken(Id::of(token.kind.prefix(), &token.id))
        }
        Caller::Certificate { binding, .. } => {
            entry::Caller::ClientCertificate(Id::of(binding.kind.prefix(), &binding.id))
        }
        Caller::Session { session, .. } => {
            entry::Caller::Session(Id::of(session.kind.prefix(), &session.id))
        }
        Caller::Operator => entry::Caller::Operator,
        Caller::System => entry::Caller::System,
    }
}

pub(super) const fn refusal(refusal: &Refusal) -> entry::Refusal {
    match refusal {
        Refusal::Forbidden => entry::Refusal::Forbidden,
        Refusal::NotPermitted => entry::Refusal::NotPermitted,
        Refusal::Error => entry::Refusal::PolicyError,
        Refusal::PlanRequired(_) => entry::Refusal::PlanRequired,
    }
}

/// What identifies the call, and is nobody's business but the log's: one part, since each costs a sealing of its own.
fn provenance(asker: &Asker, parts: &mut Parts) {
    let mut client = Map::new();
    if let Some(address) = &asker.client {
        client.insert("address".into(), json!(address));
    }
    if let Some(request_id) = &asker.request_id {
        client.insert("request_id".into(), json!(request_id));
    }
    if !client.is_empty() {
        parts.put(PartName::Client, &Value::Object(client));
    }
}

/// The entry of a decision, which takes the exact question over.
pub(super) fn decision(
    names: &Names,
    asker: &Asker,
    judgement: &mut Judgement,
    (policy_version, as_of): (u64, u64),
) -> Unsealed {
    let outcome = match &judgement.refusal {
        None => Outcome::Allow,
        Some(why) => Outcome::Deny(refusal(why)),
    };
    let mut draft =
        Draft::new(Event::DecisionMade, caller(asker), outcome).saw(policy_version, as_of);
    if let Some(actor) = judgement.actor {
        draft = draft.actor(reference(actor));
    }
    if let Some(user) = judgement.acts_for {
        draft = draft.acts_for(reference(user));
    }
    if let Some(resource) = judgement.resource {
        draft = draft.resource(reference(resource));
    }
    if let Some(action) = names.actions.get(&judgement.action) {
        draft = draft.action(action.clone());
    }
    draft = draft.policies(
        judgement
            .determining
            .iter()
            .filter_map(|one| names.policy(one).cloned()),
    );
    let mut parts = Parts::default();
    parts.put_request(judgement.request.take().unwrap_or_else(Request::none));
    let tenants_own: Vec<Value> = judgement
        .determining
        .iter()
        .filter(|one| names.is_apart(one))
        .map(determining)
        .collect();
    let failures: Vec<Value> = judgement
        .failures
        .iter()
        .map(|one| json!({ "id": one.id, "error": one.message }))
        .collect();
    if !tenants_own.is_empty() || !failures.is_empty() {
        let own = json!({ "determining": tenants_own, "failed": failures });
        parts.put(PartName::Policies, &own);
    }
    provenance(asker, &mut parts);
    let subject = [judgement.actor, judgement.acts_for]
        .into_iter()
        .flatten()
        .find(|one| one.kind == Kind::User);
    Unsealed {
        draft,
        parts,
        subject,
    }
}

/// The entry of a decision that was explained: the decision, and a digest of the explanation, never what it says; nothing was told where
/// there is none.
pub(super) fn explanation(
    names: &Names,
    asker: &Asker,
    (judgement, digest): (&mut Judgement, Option<String>),
    version: (u64, u64),
) -> Unsealed {
    let mut entry = decision(names, asker, judgement, version);
    let details = json!({ "explanation": { "digest": digest } });
    entry.parts.put(PartName::Details, &details);
    entry
}

fn determining(one: &Determining) -> Value {
    json!({ "id": &*one.id, "link": one.link })
}

/// The entry of an event that a change was recorded as.
pub(super) fn happening(
    asker: &Asker,
    actor: Option<Ref>,
    happening: &Happening,
    (policy_version, as_of): (u64, u64),
) -> Unsealed {
    let (actor, outcome) = match happening.reported {
        Some(reported) => (Some(reported.actor), reported.outcome),
        None => (actor, Outcome::Ok),
    };
    let mut draft = Draft::new(happening.event, caller(asker), outcome).saw(policy_version, as_of);
    if let Some(actor) = actor {
        draft = draft.actor(reference(actor));
    }
    if let Some(resource) = happening.resource {
        draft = draft.resource(reference(resource));
    }
    if let Some(fact) = &happening.fact {
        draft = draft.fact(fact.clone());
    }
    let mut parts = Parts::default();
    if !happening.details.is_null() {
        parts.put(PartName::Details, &happening.details);
    }
    provenance(asker, &mut parts);
    Unsealed {
        draft,
        parts,
        subject: actor.filter(|actor| actor.kind == Kind::User),
    }
}

/// The entry of something that was neither decided nor changed.
pub(super) fn note(note: &Note) -> Unsealed {
    let who = if note.unrecognised {
        entry::Caller::Unrecognised
    } else {
        caller(&note.asker)
    };
    let mut draft = Draft::new(note.event, who, note.outcome);
    let acting = note.asker.caller.acting().filter(|_| !note.unrecognised);
    if let Some(acting) = acting {
        draft = match acting.agent {
            Some(agent) => draft
                .actor(reference(agent))
                .acts_for(reference(acting.user)),
            None => draft.actor(reference(acting.user)),
        };
    }
    if let Some(fact) = &note.fact {
        draft = draft.fact(fact.clone());
    }
    let mut parts = Parts::default();
    if !note.details.is_null() {
        parts.put(PartName::Details, &note.details);
    }
    provenance(&note.asker, &mut parts);
    Unsealed {
        draft,
        parts,
        subject: acting.map(|acting| acting.user),
    }
}

/// What somebody looked for.
pub(super) struct Looked<'a> {
    /// Who could do it, where one is asked about.
    pub(super) actor: Option<Ref>,
    pub(super) action: &'a str,
    /// Of which type, in the words of the question.
    pub(super) kind: &'a str,
    /// To what, where one is asked about.
    pub(super) resource: Option<Ref>,
    /// The person that it would be done for, where one is named.
    pub(super) acts_for: Option<Ref>,
    /// A back end's question.
    pub(super) request: Option<Request>,
}

/// The entry of a search: how many were found, and a digest of which; never the list.
pub(super) fn search(
    names: &Names,
    asker: &Asker,
    looked: Looked<'_>,
    found: impl Iterator<Item = String>,
    (policy_version, as_of): (u64, u64),
) -> Unsealed {
    let mut digest = Sha256::new();
    let mut count = 0_u64;
    for one in found {
        digest.update(one);
        digest.update(b"\n");
        count = count.saturating_add(1);
    }
    let actor = looked.actor;
    let mut draft = Draft::new(Event::SearchMade, caller(asker), Outcome::Ok)
        .saw(policy_version, as_of)
        .fact(Fact::Count(count));
    if let Some(actor) = actor {
        draft = draft.actor(reference(actor));
    }
    if let Some(user) = looked.acts_for {
        draft = draft.acts_for(reference(user));
    }
    if let Some(resource) = looked.resource {
        draft = draft.resource(reference(resource));
    }
    if let Some(action) = names.actions.get(looked.action) {
        draft = draft.action(action.clone());
    }
    let digest = data_encoding::HEXLOWER.encode(&digest.finalize());
    let mut parts = Parts::default();
    parts.put(
        PartName::Details,
        &json!({ "kind": looked.kind, "digest": digest }),
    );
    if let Some(request) = looked.request {
        parts.put_request(request);
    }
    provenance(asker, &mut parts);
    Unsealed {
        draft,
        parts,
        subject: [actor, looked.acts_for]
            .into_iter()
            .flatten()
            .find(|one| one.kind == Kind::User),
    }
}
