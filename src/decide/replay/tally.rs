//! What decisions that were made again come to: counted, ranked and sampled, in as much memory however many they are.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::again::{After, Made, Turn};
use super::decision::{Decision, Named, Why, reference};
use crate::directory::Kind;
use crate::log::entry::{Entry, Outcome, Time};

/// How many people, actions, types and resources are counted apart, each; what is beyond is counted together.
const KEYS: usize = 10_000;

/// How many of each are shown.
const SHOWN: usize = 20;

/// How many decisions of each turn are kept as samples, and how many of those that are not made again, for each reason.
const SAMPLES: usize = 25;
const EXAMPLES: usize = 5;

/// How many decisions came out otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Denied before, allowed now.
    pub gained: u64,
    /// Allowed before, denied now.
    pub lost: u64,
    /// The same outcome by other policies, or for another reason.
    pub otherwise: u64,
}

impl Counts {
    fn add(&mut self, turn: Turn) {
        let count = match turn {
            Turn::Gained => &mut self.gained,
            Turn::Lost => &mut self.lost,
            Turn::Otherwise => &mut self.otherwise,
        };
        *count += 1;
    }

    fn merge(&mut self, other: Self) {
        self.gained += other.gained;
        self.lost += other.lost;
        self.otherwise += other.otherwise;
    }

    /// How many outcomes are others.
    #[must_use]
    pub const fn flips(&self) -> u64 {
        self.gained.saturating_add(self.lost)
    }

    /// How many came out otherwise in any way.
    #[must_use]
    pub const fn all(&self) -> u64 {
        self.flips().saturating_add(self.otherwise)
    }

    pub(in crate::decide) fn put(self, into: &mut Map<String, Value>) {
        into.insert("gained".into(), self.gained.into());
        into.insert("lost".into(), self.lost.into());
        into.insert("other_policies".into(), self.otherwise.into());
    }
}

/// The same by what it is about: those that are met first are counted apart, the rest together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranking {
    apart: HashMap<String, Counts>,
    beyond: Counts,
}

impl Ranking {
    fn add(&mut self, key: &str, turn: Turn) {
        if let Some(counts) = self.apart.get_mut(key) {
            counts.add(turn);
        } else if self.apart.len() < KEYS {
            self.apart.entry(key.to_owned()).or_default().add(turn);
        } else {
            self.beyond.add(turn);
        }
    }

    fn merge(&mut self, other: Self) {
        for (key, counts) in other.apart {
            if self.apart.len() < KEYS || self.apart.contains_key(&key) {
                self.apart.entry(key).or_default().merge(counts);
            } else {
                self.beyond.merge(counts);
            }
        }
        self.beyond.merge(other.beyond);
    }

    /// What is counted of one.
    #[must_use]
    pub fn of(&self, key: &str) -> Counts {
        self.apart.get(key).copied().unwrap_or_default()
    }

    /// Those with the most outcomes that are others, then the most in any way, then by name.
    #[must_use]
    pub fn first(&self) -> Vec<(&str, Counts)> {
        let mut all: Vec<(&str, Counts)> = self
            .apart
            .iter()
            .map(|(key, counts)| (key.as_str(), *counts))
            .collect();
        all.sort_by(|(one, a), (other, b)| {
            (b.flips(), b.all(), one).cmp(&(a.flips(), a.all(), other))
        });
        all.truncate(SHOWN);
        all
    }

    /// How many are counted apart.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.apart.len()
    }

    /// What is not shown, of those that are counted apart and of those that are not.
    #[must_use]
    pub fn rest(&self) -> (Counts, Counts) {
        let shown: Vec<&str> = self.first().into_iter().map(|(key, _)| key).collect();
        let mut rest = Counts::default();
        for (key, counts) in &self.apart {
            if !shown.contains(&key.as_str()) {
                rest.merge(*counts);
            }
        }
        (rest, self.beyond)
    }

    pub(in crate::decide) fn to_json(&self) -> Value {
        let shown = self.first().into_iter().map(|(key, counts)| {
            let mut one = Map::from_iter([("key".to_owned(), json!(key))]);
            counts.put(&mut one);
            Value::Object(one)
        });
        let shown: Vec<Value> = shown.collect();
        let (rest, beyond) = self.rest();
        let object = |counts: Counts| {
            let mut one = Map::new();
            counts.put(&mut one);
            Value::Object(one)
        };
        json!({
            "distinct": self.distinct(),
            "first": shown,
            "rest": object(rest),
            "not_counted_apart": object(beyond),
        })
    }
}

/// One side of a decision: what it came to, and by which policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// `allow`, `deny`, or nothing where there is no answer.
    pub outcome: Option<&'static str>,
    /// Why not.
    pub refusal: Option<&'static str>,
    /// The policies that decided; of a link the template's, a slash, the link's.
    pub policies: Vec<String>,
    /// The policies that failed.
    pub failed: Vec<String>,
    /// What is wrong, where there is no answer that can be compared.
    pub wrong: Option<String>,
}

impl Side {
    fn to_json(&self) -> Value {
        let mut side = json!({ "outcome": self.outcome, "policies": self.policies });
        if let Some(object) = side.as_object_mut() {
            if let Some(refusal) = self.refusal {
                object.insert("refusal".into(), refusal.into());
            }
            if !self.failed.is_empty() {
                object.insert("failed".into(), json!(self.failed));
            }
            if let Some(wrong) = &self.wrong {
                object.insert("wrong".into(), json!(wrong));
            }
        }
        side
    }
}

/// A decision that came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its entry.
    pub index: u64,
    /// When it was made.
    pub time: Time,
    /// In which way.
    pub turn: Turn,
    /// Who, as type and id.
    pub subject: (String, String),
    /// For whom an agent asked.
    pub acts_for: Option<String>,
    /// What.
    pub action: String,
    /// To what, as type and id.
    pub resource: (String, String),
    /// As it was recorded.
    pub before: Side,
    /// As it comes out now.
    pub after: Side,
}

impl Sample {
    pub(in crate::decide) fn to_json(&self) -> Value {
        json!({
            "index": self.index,
            "time": self.time.to_string(),
            "turn": self.turn.code(),
            "subject": { "type": self.subject.0, "id": self.subject.1 },
            "acts_for": self.acts_for,
            "action": self.action,
            "resource": { "type": self.resource.0, "id": self.resource.1 },
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        })
    }
}

/// Some of many, each as likely as another, and the same ones however the many are shared out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Samples(BTreeMap<u64, Sample>);

impl Samples {
    /// Where an index stands in an order that has nothing to do with its own. No two stand in one place: each step can be undone.
    const fn place(index: u64) -> u64 {
        let mixed = (index ^ (index >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn add(&mut self, index: u64, sample: impl FnOnce() -> Sample) {
        let place = Self::place(index);
        let full = self.0.len() >= SAMPLES;
        if !full
            || self
                .0
                .last_key_value()
                .is_some_and(|(last, _)| place < *last)
        {
            self.0.insert(place, sample());
            if self.0.len() > SAMPLES {
                self.0.pop_last();
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
        while self.0.len() > SAMPLES {
            self.0.pop_last();
        }
    }
}

/// What is not made again for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Not {
    /// How many.
    pub count: u64,
    /// The first of them, with what there is to say about each.
    pub examples: BTreeMap<u64, String>,
}

/// What decisions that were made again come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many decisions there were.
    pub decisions: u64,
    /// How many entries of anything else.
    pub others: u64,
    /// How many came out as they were recorded.
    pub unchanged: u64,
    /// How many did not.
    pub changed: Counts,
    /// By person: who asked, or for whom an agent did; who is no person, by type and id.
    pub people: Ranking,
    /// By action.
    pub actions: Ranking,
    /// By type of the resource.
    pub types: Ranking,
    /// By resource, as type and id.
    pub resources: Ranking,
    /// In how many a policy fails that did not.
    pub failing: u64,
    /// In how many each, of those that are met first.
    pub failing_policies: BTreeMap<String, u64>,
    /// Why so many were not made again.
    pub not: BTreeMap<Why, Not>,
    samples: BTreeMap<Turn, Samples>,
}

impl Tally {
    /// Counts one that was not made again.
    pub(super) fn not(&mut self, why: Why, index: u64, what: String) {
        self.decisions += 1;
        let not = self.not.entry(why).or_default();
        not.count += 1;
        if not.examples.len() < EXAMPLES {
            not.examples.insert(index, what);
        }
    }

    /// Counts one that was; the sample of one that came out otherwise.
    pub(super) fn add(&mut self, decision: &Decision, made: &Made) -> Option<Turn> {
        self.decisions += 1;
        self.count_failing(decision, made);
        let Some(turn) = made.turn else {
            self.unchanged += 1;
            return None;
        };
        self.changed.add(turn);
        let (kind, id) = (&decision.asked.resource.kind, &decision.asked.resource.id);
        self.people.add(&person(decision), turn);
        self.actions.add(&decision.asked.action, turn);
        self.types.add(kind, turn);
        self.resources.add(&format!("{kind}:{id}"), turn);
        let samples = self.samples.entry(turn).or_default();
        samples.add(decision.entry.index, || sample(decision, made, turn));
        Some(turn)
    }

    fn count_failing(&mut self, decision: &Decision, made: &Made) {
        let After::Answer(evaluation) = &made.after else {
            return;
        };
        let mut fails = false;
        for failure in &evaluation.failures {
            let before = &decision.apart.failed;
            if before.iter().any(|one| one.id == failure.id) {
                continue;
            }
            fails = true;
            if let Some(count) = self.failing_policies.get_mut(&failure.id) {
                *count += 1;
            } else if self.failing_policies.len() < SHOWN {
                self.failing_policies.insert(failure.id.clone(), 1);
            }
        }
        self.failing += u64::from(fails);
    }

    /// Puts two together, of which this one is of what comes first.
    pub(in crate::decide) fn merge(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.others += other.others;
        self.unchanged += other.unchanged;
        self.changed.merge(other.changed);
        self.people.merge(other.people);
        self.actions.merge(other.actions);
        self.types.merge(other.types);
        self.resources.merge(other.resources);
        self.failing += other.failing;
        for (policy, count) in other.failing_policies {
            let known = self.failing_policies.contains_key(&policy);
            if known || self.failing_policies.len() < SHOWN {
                *self.failing_policies.entry(policy).or_default() += count;
            }
        }
        for (why, not) in other.not {
            let mine = self.not.entry(why).or_default();
            mine.count += not.count;
            mine.examples.extend(not.examples);
            while mine.examples.len() > EXAMPLES {
                mine.examples.pop_last();
            }
        }
        for (turn, samples) in other.samples {
            self.samples.entry(turn).or_default().merge(samples);
        }
    }

    /// How many were made again.
    #[must_use]
    pub const fn made(&self) -> u64 {
        self.unchanged.saturating_add(self.changed.all())
    }

    /// Some of those that came out otherwise in this way, by their index.
    #[must_use]
    pub fn samples(&self, turn: Turn) -> Vec<&Sample> {
        let mut found: Vec<&Sample> = self
            .samples
            .get(&turn)
            .map(|samples| samples.0.values().collect())
            .unwrap_or_default();
        found.sort_by_key(|sample| sample.index);
        found
    }

    /// How many were not made again.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.not.values().map(|not| not.count).sum()
    }

    /// How many were not made again for this reason.
    #[must_use]
    pub fn not_for(&self, why: Why) -> u64 {
        self.not.get(&why).map_or(0, |not| not.count)
    }
}

/// Whose right it is: the person who asked or for whom an agent did, else whoever is asked about.
fn person(decision: &Decision) -> String {
    let Entry {
        actor, acts_for, ..
    } = &decision.entry;
    let person = [acts_for, actor]
        .into_iter()
        .flatten()
        .find(|one| one.kind.as_str() == Kind::User.name());
    match person {
        Some(person) => person.id.as_str().to_owned(),
        None => {
            let subject = &decision.asked.subject;
            format!("{}:{}", subject.kind, subject.id)
        }
    }
}

/// What is shown of a decision that came out otherwise.
pub(super) fn sample(decision: &Decision, made: &Made, turn: Turn) -> Sample {
    let Decision {
        entry,
        asked,
        apart,
        ..
    } = decision;
    let linked = |one: &Named| match &one.link {
        Some(link) => format!("{}/{link}", one.id),
        None => one.id.clone(),
    };
    // Of a link the leaf has the template, and the part which link it is.
    let ours = entry.policies.iter().map(|id| id.as_str());
    let ours = ours.filter(|id| apart.determining.iter().all(|one| one.id != **id));
    let before = Side {
        outcome: Some(entry.outcome.as_str()),
        refusal: entry.outcome.refusal().map(|refusal| refusal.as_str()),
        policies: ours
            .map(str::to_owned)
            .chain(apart.determining.iter().map(linked))
            .collect(),
        failed: apart.failed.iter().map(|one| one.id.clone()).collect(),
        wrong: None,
    };
    let of = |one: &super::super::question::Named| (one.kind.clone(), one.id.clone());
    Sample {
        index: entry.index,
        time: entry.time,
        turn,
        subject: of(&asked.subject),
        acts_for: reference(entry.acts_for.as_ref()).map(|user| user.to_string()),
        action: asked.action.clone(),
        resource: of(&asked.resource),
        before,
        after: side(&made.after),
    }
}

fn side(after: &After) -> Side {
    match after {
        After::Answer(evaluation) => {
            let outcome = match &evaluation.refusal {
                None => Outcome::Allow,
                Some(why) => Outcome::Deny(super::super::record::refusal(why)),
            };
            let policies = evaluation.determining.iter().map(|one| match &one.link {
                Some(link) => format!("{}/{link}", one.id),
                None => one.id.to_string(),
            });
            Side {
                outcome: Some(outcome.as_str()),
                refusal: outcome.refusal().map(|refusal| refusal.as_str()),
                policies: policies.collect(),
                failed: evaluation
                    .failures
                    .iter()
                    .map(|one| one.id.clone())
                    .collect(),
                wrong: None,
            }
        }
        After::Wrong(what) => Side {
            outcome: None,
            refusal: None,
            policies: Vec::new(),
            failed: Vec::new(),
            wrong: Some(what.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_counted() {
        let mut ranking = Ranking::default();
        for number in 0..KEYS + 5 {
            ranking.add(&number.to_string(), Turn::Lost);
            if number < 3 {
                ranking.add(&number.to_string(), Turn::Gained);
            }
        }
        let first = ranking.first();
        assert_eq!(first.len(), SHOWN);
        assert_eq!(
            first.first().map(|(key, counts)| (*key, counts.flips())),
            Some(("0", 2))
        );
        let (rest, beyond) = ranking.rest();
        let shown: u64 = first.iter().map(|(_, counts)| counts.flips()).sum();
        assert_eq!(beyond.lost, 5);
        assert_eq!(shown + rest.flips() + beyond.flips(), KEYS as u64 + 5 + 3);
    }

    #[test]
    fn rankings_put_together_are_the_ranking_of_both() {
        let turns = [Turn::Gained, Turn::Lost, Turn::Otherwise];
        let of = |numbers: std::ops::Range<usize>| {
            let mut ranking = Ranking::default();
            for number in numbers {
                let turn = turns.get(number % 3).copied().unwrap_or(Turn::Lost);
                ranking.add(&(number % 7).to_string(), turn);
            }
            ranking
        };
        let mut both = of(0..40);
        both.merge(of(40..100));
        assert_eq!(both, of(0..100));
    }
}
