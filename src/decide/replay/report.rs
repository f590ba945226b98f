//! What a replay has come to, for programs and for people.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::again::Turn;
use super::course::Worlds;
use super::decision::Why;
use super::rate;
use super::tally::{Ranking, Sample, Side, Tally};
use crate::directory::policies::standing::Replayed;

/// What a replay has come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// `recorded` or `draft`.
    pub under: &'static str,
    /// The version that the draft is, where it is one.
    pub version: Option<u64>,
    /// The index of the first entry that was gone through.
    pub first: u64,
    /// The index behind the last.
    pub end: u64,
    /// How many entries of what was asked for are not kept any more.
    pub pruned: u64,
    /// The states that decisions were made on.
    pub worlds: Worlds,
    /// What was counted.
    pub tally: Tally,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Whether every decision that was made again came out exactly as it was recorded, and nothing that was read is not what was written.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.tally.changed.all() == 0 && self.tally.not_for(Why::Altered) == 0
    }

    /// How many outcomes are others.
    #[must_use]
    pub const fn flips(&self) -> u64 {
        self.tally.changed.flips()
    }

    /// What is kept of it beside a version.
    #[must_use]
    pub fn replayed(&self) -> Replayed {
        Replayed {
            from: self.first,
            to: self.end,
            decisions: self.tally.made(),
            gained: self.tally.changed.gained,
            lost: self.tally.changed.lost,
            left_out: self.tally.left_out(),
            unknown: [Why::Unknown, Why::Misfit, Why::Entities]
                .into_iter()
                .map(|why| self.tally.not_for(why))
                .fold(0, u64::saturating_add),
            newest: 0,
        }
    }

    /// As an object of JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let tally = &self.tally;
        let mut report = Map::new();
        report.insert("under".into(), self.under.into());
        report.insert("version".into(), json!(self.version));
        report.insert(
            "entries".into(),
            json!({
                "first": self.first, "end": self.end, "pruned": self.pruned,
                "decisions": tally.decisions, "others": tally.others,
            }),
        );
        let Worlds { all, at_once } = self.worlds;
        report.insert("states".into(), json!({ "all": all, "at_once": at_once }));
        report.insert("replayed".into(), tally.made().into());
        report.insert("unchanged".into(), tally.unchanged.into());
        tally.changed.put(&mut report);
        let not = tally.not.iter().map(|(why, not)| {
            let examples = not.examples.iter();
            let examples = examples.map(|(index, what)| json!({ "index": index, "what": what }));
            let examples: Vec<Value> = examples.collect();
            json!({
                "why": why.code(), "count": not.count, "words": why.words(), "examples": examples,
            })
        });
        report.insert("not_replayed".into(), not.collect());
        report.insert(
            "failing".into(),
            json!({ "decisions": tally.failing, "policies": tally.failing_policies }),
        );
        for (name, ranking) in self.rankings() {
            report.insert(name.into(), ranking.to_json());
        }
        let samples = Turn::ALL.into_iter().map(|turn| {
            let some = tally.samples(turn).into_iter();
            let some: Vec<Value> = some.map(Sample::to_json).collect();
            (turn.code().to_owned(), Value::Array(some))
        });
        report.insert("samples".into(), Value::Object(samples.collect()));
        let entries = self.end.saturating_sub(self.first);
        let took_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        report.insert("took_ms".into(), took_ms.into());
        report.insert(
            "entries_per_second".into(),
            json!(rate(entries, self.took).round()),
        );
        Value::Object(report)
    }

    const fn rankings(&self) -> [(&'static str, &Ranking); 4] {
        [
            ("people", &self.tally.people),
            ("actions", &self.tally.actions),
            ("types", &self.tally.types),
            ("resources", &self.tally.resources),
        ]
    }

    /// For people, a line for each thing that there is to say.
    #[must_use]
    pub fn words(&self) -> String {
        let mut lines = self.what_it_comes_to();
        lines.extend(self.what_is_left_out());
        if self.tally.changed.all() > 0 {
            for (name, ranking) in self.rankings() {
                lines.push(format!("{name}:"));
                lines.extend(ranked(ranking));
            }
            for turn in Turn::ALL {
                let samples = self.tally.samples(turn);
                if !samples.is_empty() {
                    lines.push(format!("some that are {}:", turn.code().replace('_', " ")));
                }
                lines.extend(samples.into_iter().map(sampled));
            }
        }
        lines.join("\n")
    }

    fn what_it_comes_to(&self) -> Vec<String> {
        let (made, changed) = (self.tally.made(), self.tally.changed);
        let first = match self.under {
            "recorded" if self.is_same() => {
                format!("the same: {made} decisions come out exactly as they were recorded")
            }
            "recorded" => format!(
                "NOT THE SAME: of {made} decisions {} come out otherwise than they were recorded",
                changed.all()
            ),
            _ => format!(
                "of {made} decisions {} would come out otherwise: {} that were denied allowed, {} that were allowed denied",
                changed.flips(),
                changed.gained,
                changed.lost
            ),
        };
        let mut lines = vec![first];
        if changed.otherwise > 0 {
            lines.push(format!(
                "  {} with the same outcome by other policies, or for another reason",
                changed.otherwise
            ));
        }
        if self.tally.failing > 0 {
            let failing = self.tally.failing;
            lines.push(format!("  in {failing} a policy fails that did not:"));
            let policies = self.tally.failing_policies.iter();
            lines.extend(policies.map(|(policy, count)| format!("    {policy}: {count}")));
        }
        lines
    }

    fn what_is_left_out(&self) -> Vec<String> {
        let tally = &self.tally;
        let mut lines = vec![format!(
            "  entries {} to {}: {} decisions, {} others",
            self.first,
            self.end.saturating_sub(1),
            tally.decisions,
            tally.others
        )];
        if self.pruned > 0 {
            lines.push(format!("  {} entries are not kept any more", self.pruned));
        }
        for (why, not) in &tally.not {
            lines.push(format!("  {} not replayed: {}", not.count, why.words()));
            let said = not.examples.iter().filter(|(_, what)| !what.is_empty());
            lines.extend(said.map(|(index, what)| format!("    entry {index}: {what}")));
        }
        lines
    }
}

fn ranked(ranking: &Ranking) -> Vec<String> {
    let first = ranking.first();
    let mut lines: Vec<String> = first
        .iter()
        .map(|(key, counts)| {
            format!(
                "  {key}: {} gained, {} lost, {} by other policies",
                counts.gained, counts.lost, counts.otherwise
            )
        })
        .collect();
    let (rest, beyond) = ranking.rest();
    let others = ranking.distinct().saturating_sub(first.len());
    if others > 0 {
        lines.push(format!("  {others} others: {}", rest.all()));
    }
    if beyond.all() > 0 {
        lines.push(format!("  more, not counted apart: {}", beyond.all()));
    }
    lines
}

fn sampled(sample: &Sample) -> String {
    format!(
        "  entry {}: {} {} {}: {} -> {}",
        sample.index,
        sample.subject.1,
        sample.action,
        sample.resource.1,
        sided(&sample.before),
        sided(&sample.after)
    )
}

fn sided(side: &Side) -> String {
    let outcome = match (side.outcome, side.refusal) {
        (Some(_), Some(refusal)) => refusal,
        (Some(outcome), None) => outcome,
        (None, _) => side.wrong.as_deref().unwrap_or_default(),
    };
    let by = side.policies.iter().chain(&side.failed);
    let by: Vec<&str> = by.map(String::as_str).collect();
    match by.is_empty() {
        true => outcome.to_owned(),
        false => format!("{outcome} ({})", by.join(", ")),
    }
}
