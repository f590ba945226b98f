//! An explanation as it is handed out: the answer, why it is so for each who must be allowed, and the same in words.

use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::policy::{
    Determining, Explanation, Looked, NearMiss, Part, Place, Refusal, Shown, Step, Told, Truth,
    Uid, Value, Way, authzen_type, value,
};

/// Why it is so for one who must be allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct HalfTold {
    /// Who.
    pub who: Uid,
    /// Why.
    pub explanation: Explanation,
}

/// An explanation.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// Why not; absent: it is allowed.
    pub refusal: Option<Refusal>,
    /// The policies that decided.
    pub determining: Vec<Determining>,
    /// Of each who must be allowed: of a refusal those alone who are not. Nobody where no policy was asked.
    pub halves: Vec<HalfTold>,
    /// All of it in sentences.
    pub words: Vec<String>,
}

impl Explained {
    /// The answer's name on the wire.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match &self.refusal {
            None => "allowed",
            Some(Refusal::Forbidden) => "forbidden",
            Some(Refusal::NotPermitted) => "not_permitted",
            Some(Refusal::Error) => "error",
            Some(Refusal::PlanRequired(_)) => "plan_required",
        }
    }

    /// All of it as JSON.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Json> {
        let mut all = Map::new();
        all.insert("decision".into(), self.refusal.is_none().into());
        all.insert("outcome".into(), self.outcome().into());
        if let Some(Refusal::PlanRequired(plan)) = &self.refusal {
            all.insert("plan".into(), plan.as_str().into());
        }
        all.insert("words".into(), json!(self.words));
        let determining: Vec<Json> = self.determining.iter().map(policy).collect();
        all.insert("policies".into(), determining.into());
        let halves: Vec<Json> = self.halves.iter().map(half).collect();
        all.insert("why".into(), halves.into());
        all
    }

    /// SHA-256 of that, for the log: the log never has the explanation itself.
    #[must_use]
    pub fn digest(&self) -> String {
        let text = Json::Object(self.to_json()).to_string();
        data_encoding::HEXLOWER.encode(&Sha256::digest(text))
    }
}

fn half(half: &HalfTold) -> Json {
    let why = &half.explanation;
    let mut all = Map::new();
    all.insert("subject".into(), entity(&half.who));
    let mut put = |name: &str, list: Vec<Json>| {
        if !list.is_empty() {
            all.insert(name.into(), list.into());
        }
    };
    put("forbidden_by", why.forbids.iter().map(told).collect());
    put("failed", why.failed.iter().map(told).collect());
    put("near_misses", why.near.iter().map(near).collect());
    if why.left_off > 0 {
        all.insert("left_off".into(), why.left_off.into());
    }
    if !why.evaluation.is_allowed() {
        all.insert("otherwise_permitted".into(), why.permitted.into());
    }
    if let Some(found) = &why.way {
        all.insert("because".into(), way(found));
    }
    Json::Object(all)
}

fn policy(one: &Determining) -> Json {
    let mut all = Map::new();
    all.insert("id".into(), (*one.id).into());
    if let Some(link) = &one.link {
        all.insert("link".into(), link.as_str().into());
    }
    if !one.reason.is_empty() {
        all.insert("reason".into(), (*one.reason).into());
    }
    if let Some(plan) = &one.plan {
        all.insert("plan".into(), (**plan).into());
    }
    Json::Object(all)
}

fn told(told: &Told) -> Json {
    with_parts(policy(&told.policy), &told.parts)
}

fn with_parts(mut policy: Json, parts: &[Part]) -> Json {
    let parts: Vec<Json> = parts.iter().map(part).collect();
    if let Some(all) = policy.as_object_mut() {
        all.insert("conditions".into(), parts.into());
    }
    policy
}

fn near(miss: &NearMiss) -> Json {
    let mut told = with_parts(policy(&miss.policy), &miss.parts);
    if let Some(all) = told.as_object_mut() {
        all.insert("held".into(), miss.held.into());
        if let Some(end) = miss.expired_at {
            all.insert("expired_at".into(), end.to_rfc3339().into());
        }
    }
    told
}

fn way(way: &Way) -> Json {
    let mut all = Map::new();
    all.insert("policy".into(), told(&way.told));
    if let Some((principal, resource)) = &way.linked {
        let link = json!({ "principal": entity(principal), "resource": entity(resource) });
        all.insert("link".into(), link);
    }
    let steps: Vec<Json> = way.steps.iter().map(step).collect();
    all.insert("memberships".into(), steps.into());
    if way.withheld > 0 {
        all.insert("withheld_memberships".into(), way.withheld.into());
    }
    Json::Object(all)
}

fn step(step: &Step) -> Json {
    json!({ "child": entity(&step.child), "parent": entity(&step.parent) })
}

fn part(part: &Part) -> Json {
    let (place, number) = match part.place {
        Place::Principal => ("principal", None),
        Place::Resource => ("resource", None),
        Place::When(number) => ("when", Some(number)),
        Place::Unless(number) => ("unless", Some(number)),
    };
    let mut all = Map::new();
    all.insert("place".into(), place.into());
    if let Some(number) = number {
        all.insert("number".into(), number.into());
    }
    match &part.text {
        Some(text) => all.insert("condition".into(), text.as_str().into()),
        None => all.insert("withheld".into(), true.into()),
    };
    let result = match &part.truth {
        Truth::True => "true",
        Truth::False => "false",
        Truth::Failed(_) => "error",
        Truth::Unreached => "not_reached",
    };
    all.insert("result".into(), result.into());
    if let Truth::Failed(Some(why)) = &part.truth {
        all.insert("error".into(), why.as_str().into());
    }
    all.insert("words".into(), part.words.as_str().into());
    let looked: Vec<Json> = part.looked.iter().map(look).collect();
    if !looked.is_empty() {
        all.insert("values".into(), looked.into());
    }
    Json::Object(all)
}

fn look(looked: &Looked) -> Json {
    let mut all = Map::new();
    all.insert("path".into(), looked.path.as_str().into());
    if let Some(of) = &looked.of {
        all.insert("of".into(), entity(of));
    }
    match &looked.found {
        Shown::Is(found) => all.insert("value".into(), shown(found)),
        Shown::Absent => all.insert("absent".into(), true.into()),
        Shown::Withheld => all.insert("withheld".into(), true.into()),
    };
    Json::Object(all)
}

fn shown(found: &Value) -> Json {
    match found {
        Value::Bool(truth) => (*truth).into(),
        Value::Long(number) => (*number).into(),
        Value::Text(text) => (**text).into(),
        Value::Entity(uid) => entity(uid),
        Value::Set(all) => all.iter().map(shown).collect(),
        Value::Record(members) => {
            let members = members.iter();
            let members = members.map(|(name, found)| (name.to_string(), shown(found)));
            Json::Object(members.collect())
        }
        Value::Datetime(_) | Value::Duration(_) | Value::Decimal(_) | Value::Ip(..) => {
            value(found).into()
        }
    }
}

fn entity(uid: &Uid) -> Json {
    json!({ "type": authzen_type(&uid.kind()), "id": uid.id() })
}
