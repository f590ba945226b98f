//! By what a policy is satisfied besides what attributes say: the memberships that its tests of `in` went through, as few as it takes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value as Json, json};

use super::parts::{Asked, Piece, node};
use super::run::Run;
use super::value::{Uid, Value};
use super::view::{Attribute, View};

/// That an entity is in another, directly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// Who or what is in it.
    pub child: Uid,
    /// What it is in.
    pub parent: Uid,
}

/// Steps, in order, none twice.
pub(super) type Steps = Vec<Step>;

/// How often it is tried whether a membership is needed.
const TRIED_MOST: usize = 100;

/// How many entities are looked at for one chain.
const LOOKED_AT: usize = 2_000;

impl Asked<'_> {
    /// The memberships without which an expression would not be what it is; of two ways the shorter one.
    pub(super) fn needs(&self, json: &Json, truth: bool) -> Steps {
        let side = |body: &Json, name: &str| body.get(name).cloned().unwrap_or_default();
        match node(json) {
            Some(("!", body)) => self.needs(&side(body, "arg"), !truth),
            Some((operator @ ("&&" | "||"), body)) => {
                let (left, right) = (side(body, "left"), side(body, "right"));
                if (operator == "&&") == truth {
                    return joined(self.needs(&left, truth), self.needs(&right, truth));
                }
                // One side is enough.
                let sides = [left, right].into_iter();
                let enough = sides.filter(|side| self.holds(side) == Ok(truth));
                let ways = enough.map(|side| self.needs(&side, truth));
                ways.min_by_key(Vec::len).unwrap_or_default()
            }
            Some(("if-then-else", body)) => {
                let condition = side(body, "if");
                let Ok(met) = self.holds(&condition) else {
                    return Steps::new();
                };
                let chosen = side(body, if met { "then" } else { "else" });
                joined(self.needs(&condition, met), self.needs(&chosen, truth))
            }
            Some(("in", body)) if truth => self.between(&side(body, "left"), &side(body, "right")),
            Some(("is", body)) if truth && !side(body, "in").is_null() => {
                self.between(&side(body, "left"), &side(body, "in"))
            }
            Some(("in" | "is", _)) => Steps::new(),
            // Whatever it makes of them: each test in it that holds.
            _ => {
                let within: Vec<&Json> = match json {
                    Json::Array(items) => items.iter().collect(),
                    Json::Object(members) => members.values().collect(),
                    _ => Vec::new(),
                };
                let within = within.into_iter().map(|one| self.needs(one, true));
                within.fold(Steps::new(), joined)
            }
        }
    }

    /// Of these memberships those without which the parts would not all hold, where there are no others.
    pub(super) fn least(&self, pieces: &[Piece], steps: Steps) -> Steps {
        let enough = |steps: &[Step]| {
            let view = self.run.view;
            let only = Only { view, steps };
            let run = Run {
                view: &only,
                ..self.run
            };
            let asked = Asked::of(run);
            let mut pieces = pieces.iter();
            pieces.all(|piece| asked.holds(&piece.json) == Ok(true))
        };
        let mut steps = steps;
        if !enough(&steps) {
            // Without the others a part took a way that errs: then each test stays as it is.
            let all = pieces.iter().map(|piece| self.every(&piece.json));
            steps = all.fold(Steps::new(), joined);
        }
        // What was needed beside another may not be without it: those that are left are tried again, until all are needed.
        let (mut at, mut needed) = (0_usize, 0_usize);
        for _ in 0..TRIED_MOST {
            if needed >= steps.len() {
                break;
            }
            let others = steps.iter().enumerate().filter(|(other, _)| *other != at);
            let fewer: Steps = others.map(|(_, step)| step.clone()).collect();
            if enough(&fewer) {
                (steps, needed) = (fewer, 0);
            } else {
                (at, needed) = (at.saturating_add(1), needed.saturating_add(1));
            }
            if at >= steps.len() {
                at = 0;
            }
        }
        steps
    }

    /// The memberships of every test in an expression that holds.
    fn every(&self, json: &Json) -> Steps {
        let here = match node(json) {
            Some(("in" | "is", _)) if self.holds(json) == Ok(true) => self.needs(json, true),
            _ => Steps::new(),
        };
        let within: Vec<&Json> = match json {
            Json::Array(items) => items.iter().collect(),
            Json::Object(members) => members.values().collect(),
            _ => Vec::new(),
        };
        let within = within.into_iter().map(|one| self.every(one));
        within.fold(here, joined)
    }

    /// The shortest chain from one to the other, or to the nearest of others.
    fn between(&self, left: &Json, right: &Json) -> Steps {
        let Some(Value::Entity(from)) = self.value(left) else {
            return Steps::new();
        };
        let to: BTreeSet<Uid> = match self.value(right) {
            Some(Value::Entity(to)) => BTreeSet::from([to]),
            Some(Value::Set(all)) => {
                let uids = all.iter().filter_map(|one| match one {
                    Value::Entity(uid) => Some(uid.clone()),
                    _ => None,
                });
                uids.collect()
            }
            _ => BTreeSet::new(),
        };
        // What an action is in, the schema says, and nobody can change it.
        if self.run.vocabulary.above_action(&from).is_some() {
            return Steps::new();
        }
        self.chain(&from, &to)
    }

    /// A way up that is too wide to be looked through is told as one step.
    fn chain(&self, from: &Uid, to: &BTreeSet<Uid>) -> Steps {
        let mut come_from: BTreeMap<Uid, Uid> = BTreeMap::new();
        let mut queue = VecDeque::from([from.clone()]);
        while let Some(at) = queue.pop_front() {
            if to.contains(&at) {
                return back(&come_from, from, at);
            }
            if come_from.len() > LOOKED_AT {
                let run = &self.run;
                let parent = to.iter().find(|one| run.is_in(from, one)).cloned();
                let child = from.clone();
                return parent
                    .map(|parent| Step { child, parent })
                    .into_iter()
                    .collect();
            }
            let mut parents = self.run.view.parents(&at);
            parents.sort_unstable();
            for parent in parents {
                if parent != *from && !come_from.contains_key(&parent) {
                    come_from.insert(parent.clone(), at.clone());
                    queue.push_back(parent);
                }
            }
        }
        Steps::new()
    }
}

/// Entities as they are, but in nothing beyond these memberships.
struct Only<'a> {
    view: &'a dyn View,
    steps: &'a [Step],
}

impl View for Only<'_> {
    fn attribute(&self, of: &Uid, name: &str) -> Attribute {
        self.view.attribute(of, name)
    }

    fn above(&self, of: &Uid, found: &mut dyn FnMut(&Uid) -> bool) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![of]);
        while let Some(uid) = next.pop() {
            for step in self.steps.iter().filter(|step| step.child == *uid) {
                if seen.insert(&step.parent) {
                    if found(&step.parent) {
                        return true;
                    }
                    next.push(&step.parent);
                }
            }
        }
        false
    }

    fn parents(&self, of: &Uid) -> Vec<Uid> {
        let steps = self.steps.iter().filter(|step| step.child == *of);
        steps.map(|step| step.parent.clone()).collect()
    }

    fn slice(&self, starts: &[Uid]) -> Option<Vec<cedar_policy::Entity>> {
        let all = self.view.slice(starts)?.into_iter();
        let all = all.map(|entity| {
            let parents = self.parents(&Uid::from(&entity.uid()));
            let parents = parents
                .iter()
                .map(|one| json!({ "type": one.kind().name(), "id": one.id() }));
            let parents: Vec<Json> = parents.collect();
            let mut written = entity.to_json_value().ok()?;
            written
                .as_object_mut()?
                .insert("parents".into(), parents.into());
            cedar_policy::Entity::from_json_value(written, None).ok()
        });
        all.collect()
    }
}

/// The steps up to here, the first one first.
fn back(come_from: &BTreeMap<Uid, Uid>, from: &Uid, end: Uid) -> Steps {
    let mut steps = Steps::new();
    let mut at = end;
    while at != *from {
        let Some(child) = come_from.get(&at).cloned() else {
            break;
        };
        steps.push(Step {
            child: child.clone(),
            parent: at,
        });
        at = child;
    }
    steps.reverse();
    steps
}

pub(super) fn joined(mut one: Steps, other: Steps) -> Steps {
    for step in other {
        if !one.contains(&step) {
            one.push(step);
        }
    }
    one
}
