//! Which policies, and which of their conditions, the tests reach: each conjunct must have held once, and failed once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::Measured;
use super::case::Case;
use crate::policy::compile::Compiled;
use crate::policy::index::{Body, Rule};
use crate::policy::parts::{Asked, Place, conditions, text};
use crate::policy::program::{self, Expr};
use crate::policy::run::Run;
use crate::policy::value::{Uid, Value};

/// How often a conjunct of a policy's conditions was looked at, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartCoverage {
    /// Where in the policy it stands.
    pub place: Place,
    /// In Cedar's syntax, so that it must hold; of an `unless`, turned round.
    pub text: String,
    /// How often it held.
    pub held: u64,
    /// How often it did not.
    pub failed: u64,
    /// How often it could not be evaluated.
    pub erred: u64,
}

/// How often a policy was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCoverage {
    /// Its id; a template's, for shares.
    pub id: String,
    /// The file that it stands in.
    pub file: String,
    /// How often its scope fitted a question.
    pub reached: u64,
    /// Each conjunct of its conditions.
    pub parts: Vec<PartCoverage>,
}

/// What the tests reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Every policy, by id.
    pub policies: Vec<PolicyCoverage>,
}

impl PartCoverage {
    fn place(&self) -> String {
        match self.place {
            Place::Principal => "principal".to_owned(),
            Place::Resource => "resource".to_owned(),
            Place::When(number) => format!("condition {number}, when"),
            Place::Unless(number) => format!("condition {number}, unless"),
        }
    }

    fn met(&self) -> u64 {
        u64::from(self.held > 0).saturating_add(u64::from(self.failed > 0))
    }

    /// What no test showed of it.
    fn missing(&self) -> Option<&'static str> {
        match (self.held, self.failed) {
            (0, 0) => Some("was never looked at"),
            (0, _) => Some("never held"),
            (_, 0) => Some("never failed"),
            _ => None,
        }
    }
}

impl PolicyCoverage {
    /// What there is to reach: that its scope fits, and each conjunct both ways.
    fn all(&self) -> u64 {
        let parts = u64::try_from(self.parts.len()).unwrap_or(u64::MAX);
        parts.saturating_mul(2).saturating_add(1)
    }

    fn met(&self) -> u64 {
        let parts = self.parts.iter().map(PartCoverage::met).sum::<u64>();
        parts.saturating_add(u64::from(self.reached > 0))
    }

    /// What no test showed, in words.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        if self.reached == 0 {
            return vec![format!("`{}`: no test reaches it", self.id)];
        }
        let parts = self.parts.iter();
        let missing = parts.filter_map(|part| {
            let what = part.missing()?;
            Some(format!(
                "`{}`, {}: `{}` {what}",
                self.id,
                part.place(),
                part.text
            ))
        });
        missing.collect()
    }
}

impl Coverage {
    /// How much of what there is to reach is reached, as a part of 100; all of it, where there is nothing.
    #[must_use]
    pub fn percent(&self) -> f64 {
        let (met, all) = self.counts();
        if all == 0 {
            return 100.0;
        }
        let exact = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        exact(met) * 100.0 / exact(all)
    }

    /// What is reached, and what there is to reach: of each policy that its scope fits, and of each conjunct that it holds and that it does not.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let policies = self.policies.iter();
        policies.fold((0, 0), |(met, all), policy| {
            (
                met.saturating_add(policy.met()),
                all.saturating_add(policy.all()),
            )
        })
    }

    /// What no test showed, in words.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.policies
            .iter()
            .flat_map(PolicyCoverage::missing)
            .collect()
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let policies = self.policies.iter().map(|policy| {
            let parts = policy.parts.iter().map(|part| {
                json!({
                    "place": part.place(), "text": part.text,
                    "held": part.held, "failed": part.failed, "erred": part.erred,
                })
            });
            json!({
                "id": policy.id, "file": policy.file, "reached": policy.reached,
                "parts": parts.collect::<Vec<_>>(),
            })
        });
        let (met, all) = self.counts();
        json!({
            "percent": (self.percent() * 10.0).floor() / 10.0, "met": met, "all": all,
            "missing": self.missing(), "policies": policies.collect::<Vec<_>>(),
        })
    }
}

/// A policy that is watched while tests are run.
struct Watched {
    file: String,
    reached: u64,
    parts: Vec<(Json, Option<Expr>, PartCoverage)>,
}

/// What is watched.
pub(super) struct Watch<'a> {
    compiled: &'a Compiled,
    measured: Measured,
    policies: BTreeMap<Arc<str>, Watched>,
}

impl<'a> Watch<'a> {
    pub(super) fn over(compiled: &'a Compiled, measured: Measured) -> Self {
        let mut policies = BTreeMap::new();
        let mut add = |id: &Arc<str>, file: &str, json: Option<&Json>| {
            let parts = conditions(json).into_iter().map(|(place, json)| {
                let part = PartCoverage {
                    place,
                    text: text(&json),
                    held: 0,
                    failed: 0,
                    erred: 0,
                };
                let compiled = program::expression(&json);
                (json, compiled, part)
            });
            let watched = Watched {
                file: file.to_owned(),
                reached: 0,
                parts: parts.collect(),
            };
            policies.insert(Arc::clone(id), watched);
        };
        let mut rule = |rule: &Rule| {
            let json = rule.policy.to_json().ok();
            add(&rule.id, &rule.note.file, json.as_ref());
        };
        match measured {
            Measured::Own => compiled.each_own_rule(&mut rule),
            Measured::BuiltIn => {
                compiled.library().index.each_rule(&mut rule);
                for template in compiled.library().templates.values() {
                    let json = template.template.to_json().ok();
                    add(&template.id, &template.note.file, json.as_ref());
                }
            }
        }
        Self {
            compiled,
            measured,
            policies,
        }
    }

    /// Looks at what the policies make of a case.
    pub(super) fn look(&mut self, case: &Case) {
        let compiled = self.compiled;
        for question in case.questions() {
            let run = Run {
                vocabulary: compiled.vocabulary(),
                view: case.view(),
                question,
            };
            let asked = Asked::of(run);
            let mut reached = |id: &Arc<str>, body: &Body, linked: Option<(&Uid, &Uid)>| {
                let (whom, what) = linked.unzip();
                let fits = body.is_for(question.action())
                    && run.fits(&body.principal, question.principal(), whom)
                    && run.fits(&body.resource, question.resource(), what);
                if fits && let Some(watched) = self.policies.get_mut(id) {
                    watched.reach(&asked);
                }
            };
            match self.measured {
                Measured::Own => {
                    compiled.each_own(&run, &mut |rule| reached(&rule.id, &rule.body, None));
                }
                Measured::BuiltIn => {
                    compiled.each_built_in(&run, &mut |rule| reached(&rule.id, &rule.body, None));
                    for link in case.compiled_links(compiled, question) {
                        let (of, template) = (link.link(), &link.template);
                        if of.counts_at(question.now) {
                            let linked = (&of.principal, &of.resource);
                            reached(&template.id, &template.body, Some(linked));
                        }
                    }
                }
            }
        }
    }

    pub(super) fn coverage(self) -> Coverage {
        let policies = self
            .policies
            .into_iter()
            .map(|(id, watched)| PolicyCoverage {
                id: id.to_string(),
                file: watched.file,
                reached: watched.reached,
                parts: watched.parts.into_iter().map(|(_, _, part)| part).collect(),
            });
        Coverage {
            policies: policies.collect(),
        }
    }
}

impl Watched {
    /// Its scope fits: its conjuncts are looked at as Cedar does, until one does not hold.
    fn reach(&mut self, asked: &Asked<'_>) {
        self.reached = self.reached.saturating_add(1);
        for (json, compiled, part) in &mut self.parts {
            let found = match compiled.as_ref().map(|expr| asked.run.value(expr)) {
                Some(Ok(Value::Bool(truth))) => Ok(truth),
                _ => asked.holds(json),
            };
            let count = match found {
                Ok(true) => &mut part.held,
                Ok(false) => &mut part.failed,
                Err(_) => &mut part.erred,
            };
            *count = count.saturating_add(1);
            if found != Ok(true) {
                return;
            }
        }
    }
}
