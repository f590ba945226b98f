//! What a proof found out, for programs and for people.

use serde_json::{Value as Json, json};

use super::difference::{Change, Difference, Direction, Effect};
use super::findings::{Findings, What};
use super::guardrails::{Guardrails, Verdict};
use super::properties::UNPROVEN;
use super::scene::Example;

/// The most examples of each direction that are shown in JSON; the environments are all named.
const EXAMPLES_MOST: usize = 100;

/// The most environments that a person is told the examples of.
const TOLD_MOST: usize = 5;

/// The most policies that a person is told not to be known.
const UNKNOWN_MOST: usize = 20;

/// All that was found out about a draft.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Whether the guardrails hold.
    pub guardrails: Guardrails,
    /// How it differs from what is in force; nothing where it was compared with nothing.
    pub difference: Option<Difference>,
    /// What is odd about its policies.
    pub findings: Findings,
}

impl Guardrails {
    /// How many properties hold, fail, and are not known.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let of = |is: fn(&Verdict) -> bool| {
            let all = self.properties.iter();
            all.filter(|one| is(&one.verdict)).count()
        };
        (
            of(|verdict| matches!(verdict, Verdict::Holds)),
            of(|verdict| matches!(verdict, Verdict::Fails(_))),
            of(|verdict| matches!(verdict, Verdict::Unknown(_))),
        )
    }

    /// It as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let (holds, fails, unknown) = self.counts();
        let properties = self.properties.iter().map(|one| {
            let mut json = json!({
                "id": one.id,
                "guardrail": one.guardrail,
                "says": one.says,
                "environments": one.environments,
                "verdict": match one.verdict {
                    Verdict::Holds => "holds",
                    Verdict::Fails(_) => "fails",
                    Verdict::Unknown(_) => "unknown",
                },
            });
            match &one.verdict {
                Verdict::Holds => {}
                Verdict::Fails(example) => set(&mut json, "example", example.to_json()),
                Verdict::Unknown(why) => {
                    let why = why.iter().map(|(place, why)| {
                        json!({"environment": place.to_json(), "why": why.to_string()})
                    });
                    set(&mut json, "unknown", why.collect::<Vec<_>>().into());
                }
            }
            json
        });
        let unproven = UNPROVEN
            .iter()
            .map(|(what, why)| json!({"what": what, "why": why}));
        json!({
            "holds": holds,
            "fails": fails,
            "unknown": unknown,
            "environments": self.environments,
            "questions": self.asked,
            "properties": properties.collect::<Vec<_>>(),
            "unproven": unproven.collect::<Vec<_>>(),
        })
    }

    /// It in lines for people.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let (holds, fails, unknown) = self.counts();
        let mut lines = vec![format!(
            "guardrails: {holds} properties hold for all requests, {fails} fail, {unknown} are not known ({} kinds of requests, {} questions to the solver)",
            self.environments, self.asked
        )];
        for one in &self.properties {
            match &one.verdict {
                Verdict::Holds => {}
                Verdict::Fails(example) => {
                    lines.push(format!("fails: {} ({})", one.says, one.id));
                    lines.extend(indented(example));
                }
                Verdict::Unknown(why) => {
                    lines.push(format!("not known: {} ({})", one.says, one.id));
                    for (place, why) in why.iter().take(TOLD_MOST) {
                        lines.push(format!("  {place}: {why}"));
                    }
                    if why.len() > TOLD_MOST {
                        lines.push(format!("  and {} more", why.len() - TOLD_MOST));
                    }
                }
            }
        }
        lines.push("not proved here:".to_owned());
        let unproven = UNPROVEN.iter();
        lines.extend(unproven.map(|(what, why)| format!("  {what}: {why}")));
        lines
    }
}

impl Difference {
    /// In how many kinds of requests the draft does this.
    #[must_use]
    pub fn count(&self, effect: Effect) -> usize {
        if effect == Effect::Equivalent {
            return self.equivalent;
        }
        let changes = self.changes.iter();
        changes.filter(|one| one.effect() == effect).count()
    }

    /// What the draft does as a whole.
    #[must_use]
    pub fn effect(&self) -> Effect {
        let any = |is: fn(&Change) -> bool| self.changes.iter().any(is);
        let more = any(|one| matches!(one.more, Direction::Example(_)));
        let less = any(|one| matches!(one.less, Direction::Example(_)));
        match (more, less) {
            (true, true) => Effect::Both,
            _ if self.count(Effect::Unknown) > 0 => Effect::Unknown,
            (true, false) => Effect::MorePermissive,
            (false, true) => Effect::Stricter,
            (false, false) => Effect::Equivalent,
        }
    }

    /// It as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let (mut more, mut less) = (0, 0);
        let told = |direction: &Direction, so_far: &mut usize| match direction {
            Direction::Never => json!({"found": "never"}),
            Direction::Unknown(why) => json!({"found": "unknown", "why": why.to_string()}),
            Direction::Example(example) => {
                *so_far += 1;
                match *so_far > EXAMPLES_MOST {
                    true => json!({"found": "example"}),
                    false => json!({"found": "example", "example": example.to_json()}),
                }
            }
        };
        let changes: Vec<Json> = self
            .changes
            .iter()
            .map(|one| {
                json!({
                    "environment": one.place.to_json(),
                    "effect": one.effect().as_str(),
                    "more": told(&one.more, &mut more),
                    "less": told(&one.less, &mut less),
                })
            })
            .collect();
        json!({
            "effect": self.effect().as_str(),
            "equivalent": self.equivalent,
            "stricter": self.count(Effect::Stricter),
            "more_permissive": self.count(Effect::MorePermissive),
            "both": self.count(Effect::Both),
            "unknown": self.count(Effect::Unknown),
            "questions": self.asked,
            "changes": changes,
        })
    }

    /// It in lines for people.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "difference: {}; of {} kinds of requests {} are answered as before, {} more strictly, {} more permissively, {} both, {} are not known ({} questions to the solver)",
            self.effect().as_str(),
            self.equivalent + self.changes.len(),
            self.equivalent,
            self.count(Effect::Stricter),
            self.count(Effect::MorePermissive),
            self.count(Effect::Both),
            self.count(Effect::Unknown),
            self.asked,
        )];
        for (number, one) in self.changes.iter().enumerate() {
            lines.push(format!("{}: {}", one.effect().as_str(), one.place));
            for (what, direction) in [("allows", &one.more), ("refuses", &one.less)] {
                match direction {
                    Direction::Never => {}
                    Direction::Unknown(why) => {
                        lines.push(format!("  whether it {what} more is not known: {why}"));
                    }
                    Direction::Example(example) if number < TOLD_MOST => {
                        lines.push(format!("  it {what} more:"));
                        lines.extend(indented(example));
                    }
                    Direction::Example(_) => {}
                }
            }
        }
        lines
    }
}

impl Effect {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equivalent => "equivalent",
            Self::Stricter => "stricter",
            Self::MorePermissive => "more permissive",
            Self::Both => "both",
            Self::Unknown => "unknown",
        }
    }
}

impl What {
    /// Its name for programs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NeverApplies => "never_applies",
            Self::NeverCounts => "never_counts",
            Self::AlwaysForbidden(..) => "always_forbidden",
            Self::Implied(..) => "implied",
            Self::ForbidsNothing(_) => "forbids_nothing",
            Self::AlwaysErrs(_) => "always_errs",
            Self::CanErr(_) => "can_err",
        }
    }

    /// The other policies that have a part in it.
    #[must_use]
    pub fn by(&self) -> &[String] {
        match self {
            Self::AlwaysForbidden(by, _) | Self::Implied(by, _) => by,
            _ => &[],
        }
    }

    /// An example of it.
    #[must_use]
    pub const fn example(&self) -> Option<&Example> {
        match self {
            Self::NeverApplies | Self::NeverCounts => None,
            Self::AlwaysForbidden(_, example)
            | Self::Implied(_, example)
            | Self::ForbidsNothing(example)
            | Self::AlwaysErrs(example)
            | Self::CanErr(example) => Some(example),
        }
    }

    /// It in words.
    #[must_use]
    pub fn words(&self) -> String {
        let by = self.by().join(", ");
        match self {
            Self::NeverApplies => "no request satisfies it".to_owned(),
            Self::NeverCounts => {
                "it permits private actions alone, for which only the built-in permits and shares count".to_owned()
            }
            Self::AlwaysForbidden(..) => format!("all that it permits is forbidden, as by {by}"),
            Self::Implied(..) if by.is_empty() => {
                "without it nothing would be answered otherwise".to_owned()
            }
            Self::Implied(..) => {
                format!("without it nothing would be answered otherwise, since others say the same, as {by}")
            }
            Self::ForbidsNothing(_) => "it forbids nothing that is permitted".to_owned(),
            Self::AlwaysErrs(_) => "where its scope fits it always errs".to_owned(),
            Self::CanErr(_) => "it can err".to_owned(),
        }
    }
}

impl Findings {
    /// It as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let found = self.found.iter().map(|one| {
            json!({
                "policy": one.policy,
                "what": one.what.as_str(),
                "words": one.what.words(),
                "by": one.what.by(),
                "example": one.what.example().map(Example::to_json),
            })
        });
        let unknown = self
            .unknown
            .iter()
            .map(|(policy, why)| json!({"policy": policy, "why": why.to_string()}));
        json!({
            "policies": self.policies,
            "questions": self.asked,
            "found": found.collect::<Vec<_>>(),
            "unknown": unknown.collect::<Vec<_>>(),
        })
    }

    /// It in lines for people.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "findings: {} of {} own policies; about {} something is not known ({} questions to the solver)",
            self.found.len(),
            self.policies,
            self.unknown.len(),
            self.asked,
        )];
        for one in &self.found {
            lines.push(format!("`{}`: {}", one.policy, one.what.words()));
            lines.extend(one.what.example().into_iter().flat_map(indented));
        }
        for (policy, why) in self.unknown.iter().take(UNKNOWN_MOST) {
            lines.push(format!("`{policy}`: not known, {why}"));
        }
        if let Some(more) = self
            .unknown
            .len()
            .checked_sub(UNKNOWN_MOST)
            .filter(|more| *more > 0)
        {
            lines.push(format!(
                "and {more} more about which something is not known"
            ));
        }
        lines
    }
}

impl Report {
    /// Whether something is not known.
    #[must_use]
    pub fn has_unknown(&self) -> bool {
        let (_, _, unknown) = self.guardrails.counts();
        let difference = self.difference.as_ref();
        unknown > 0
            || difference.is_some_and(|one| one.count(Effect::Unknown) > 0)
            || !self.findings.unknown.is_empty()
    }

    /// It as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({
            "guardrails": self.guardrails.to_json(),
            "difference": self.difference.as_ref().map(Difference::to_json),
            "findings": self.findings.to_json(),
        })
    }

    /// It in lines for people.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut lines = self.guardrails.words();
        lines.extend(self.difference.iter().flat_map(Difference::words));
        lines.extend(self.findings.words());
        lines
    }
}

fn set(json: &mut Json, name: &str, value: Json) {
    if let Some(members) = json.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

fn indented(example: &Example) -> Vec<String> {
    let lines = example.words().into_iter();
    lines.map(|line| format!("    {line}")).collect()
}
