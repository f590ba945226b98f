//! A policy taken apart: what its scope asks and each conjunct of its conditions, in Cedar's JSON form; what each comes to, and its text.

use cedar_policy::{Policy, PolicyId};
use serde_json::{Value as Json, json};

use super::cedar::InCedar;
use super::index::Body;
use super::program::{self, Scope};
use super::run::{Fault, Run};
use super::value::{Uid, Value};

/// Where in a policy a part of it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// What the scope says of the principal.
    Principal,
    /// What the scope says of the resource.
    Resource,
    /// In a `when`: which of the policy's conditions, from 1.
    When(usize),
    /// In an `unless`, turned round.
    Unless(usize),
}

/// What a part of a policy comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It could not be evaluated: why, in Cedar's words; nothing where they may say more than whoever asks may see.
    Failed(Option<String>),
    /// It could not be evaluated by itself, and Cedar never does: a part before it does not hold.
    Unreached,
}

/// A part of a policy: all of them must hold.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) place: Place,
    pub(super) json: Json,
    pub(super) truth: Truth,
}

impl Piece {
    /// Whether it stands against the policy.
    pub(super) const fn fails(&self) -> bool {
        matches!(self.truth, Truth::False | Truth::Failed(_))
    }
}

/// A question, of which parts of policies are asked.
pub(super) struct Asked<'a> {
    pub(super) run: Run<'a>,
    cedar: InCedar<'a>,
}

impl<'a> Asked<'a> {
    pub(super) const fn of(run: Run<'a>) -> Self {
        Self {
            run,
            cedar: InCedar::of(run),
        }
    }

    /// The parts of a policy in the order in which Cedar looks at them; `linked` is the principal and the resource of a link.
    pub(super) fn pieces(
        &self,
        body: &Body,
        policy: Option<&Json>,
        linked: Option<(&Uid, &Uid)>,
    ) -> Vec<Piece> {
        let mut found = Vec::new();
        let (principal, resource) = linked.unzip();
        found.extend(
            scope("principal", &body.principal, principal).map(|one| (Place::Principal, one)),
        );
        found.extend(scope("resource", &body.resource, resource).map(|one| (Place::Resource, one)));
        found.extend(conditions(policy));
        let mut over = false;
        let evaluated = found.into_iter().map(|(place, json)| {
            let compiled = program::expression(&json);
            let truth = match compiled.as_ref().map(|expr| self.run.value(expr)) {
                Some(Ok(Value::Bool(true))) => Truth::True,
                Some(Ok(Value::Bool(false))) => Truth::False,
                // Why it errs does not matter, and asking Cedar takes long.
                Some(_) if over => Truth::Unreached,
                _ => match self.holds(&json) {
                    Ok(true) => Truth::True,
                    Ok(false) => Truth::False,
                    Err(_) if over => Truth::Unreached,
                    Err(why) => Truth::Failed(Some(why)),
                },
            };
            over |= truth != Truth::True;
            Piece { place, json, truth }
        });
        evaluated.collect()
    }

    /// Whether an expression holds.
    ///
    /// # Errors
    /// It could not be evaluated; why, in Cedar's words.
    pub(super) fn holds(&self, json: &Json) -> Result<bool, String> {
        let compiled = program::expression(json);
        if let Some(Ok(Value::Bool(truth))) = compiled.as_ref().map(|expr| self.run.value(expr)) {
            return Ok(truth);
        }
        let policy = alone(json).ok_or_else(|| "it is no condition".to_owned())?;
        let asked = self.cedar.holds(policy, compiled.is_some());
        // Whose policy it is stands beside it.
        asked.map_err(|why| match why.split_once("`: ") {
            Some((before, rest)) if before.contains(ALONE) => rest.to_owned(),
            _ => why,
        })
    }

    /// What an expression comes to; nothing where it errs or has no compiled form.
    pub(super) fn value(&self, json: &Json) -> Option<Value> {
        self.run.value(&program::expression(json)?).ok()
    }

    /// The same, as Cedar itself says it of what has no compiled form; nothing where that cannot be said.
    pub(super) fn comes_to(&self, json: &Json) -> Option<Result<Value, Fault>> {
        match program::expression(json) {
            Some(compiled) => Some(self.run.value(&compiled)),
            None => self.cedar.value(&text(json).parse().ok()?),
        }
    }
}

/// Each conjunct of a policy's conditions, in the order in which Cedar looks at them.
pub(super) fn conditions(policy: Option<&Json>) -> Vec<(Place, Json)> {
    let mut found = Vec::new();
    let conditions = policy.and_then(|json| json.get("conditions")?.as_array());
    for (at, condition) in conditions.into_iter().flatten().enumerate() {
        let number = at.saturating_add(1);
        let is_when = condition.get("kind").and_then(Json::as_str) == Some("when");
        let place = if is_when {
            Place::When(number)
        } else {
            Place::Unless(number)
        };
        if let Some(body) = condition.get("body") {
            conjuncts(body, is_when, &mut |json| found.push((place, json)));
        }
    }
    found
}

/// The id of a part as a policy by itself.
const ALONE: &str = "part";

/// A condition as a policy by itself.
fn alone(condition: &Json) -> Option<Policy> {
    let policy = json!({
        "effect": "permit",
        "principal": { "op": "All" },
        "action": { "op": "All" },
        "resource": { "op": "All" },
        "conditions": [{ "kind": "when", "body": condition }],
    });
    Policy::from_json(Some(PolicyId::new(ALONE)), policy).ok()
}

/// An expression in Cedar's syntax.
pub(super) fn text(json: &Json) -> String {
    let written = alone(json).map(|policy| policy.to_string());
    let written = written.as_deref().and_then(|text| {
        let (_, rest) = text.split_once("when {")?;
        let (body, _) = rest.rsplit_once('}')?;
        Some(body.trim().to_owned())
    });
    written.unwrap_or_else(|| json.to_string())
}

/// The one operator of a node of Cedar's JSON form, and what it is of.
pub(super) fn node(json: &Json) -> Option<(&str, &Json)> {
    let node = json.as_object()?;
    let (operator, body) = node.iter().next().filter(|_| node.len() == 1)?;
    Some((operator, body))
}

/// Takes an expression apart that must come to `truth`: `a && b`, and `!(a || b)`.
fn conjuncts(json: &Json, truth: bool, found: &mut dyn FnMut(Json)) {
    match (node(json), truth) {
        (Some(("&&", both)), true) | (Some(("||", both)), false) => {
            for side in ["left", "right"] {
                if let Some(side) = both.get(side) {
                    conjuncts(side, truth, found);
                }
            }
        }
        (Some(("!", of)), _) if of.get("arg").is_some() => {
            if let Some(of) = of.get("arg") {
                conjuncts(of, !truth, found);
            }
        }
        (_, true) => found(json.clone()),
        (_, false) => found(json!({ "!": { "arg": json } })),
    }
}

/// What a scope asks of an entity, as an expression; its type is looked at before.
fn scope(variable: &str, scope: &Scope, linked: Option<&Uid>) -> Option<Json> {
    let of = json!({ "Var": variable });
    let binary =
        |operator: &str, uid: &Uid| json!({ operator: { "left": of, "right": entity(uid) } });
    let is_in = |kind: &str, uid: &Uid| json!({ "is": { "left": of, "entity_type": kind, "in": entity(uid) } });
    match scope {
        Scope::Any | Scope::Is(_) => None,
        Scope::Equals(uid) => Some(binary("==", uid)),
        Scope::In(uid) => Some(binary("in", uid)),
        Scope::IsIn(kind, uid) => Some(is_in(kind.name(), uid)),
        Scope::EqualsLinked => linked.map(|uid| binary("==", uid)),
        Scope::InLinked => linked.map(|uid| binary("in", uid)),
        Scope::IsInLinked(kind) => linked.map(|uid| is_in(kind.name(), uid)),
    }
}

fn entity(uid: &Uid) -> Json {
    json!({ "Value": { "__entity": { "type": uid.kind().name(), "id": uid.id() } } })
}
