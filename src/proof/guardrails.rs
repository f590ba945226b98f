//! Whether the guardrails hold: no request that a property describes is allowed, in any request environment that it speaks of.

use std::sync::Arc;

use cedar_policy::Effect;

use super::ground::Place;
use super::ground::{Environment, Field, Ground, Rule};
use super::properties::{Stated, properties};
use super::query::{Asked, Bench, Query, matching};
use super::scene::{Decided, Example, Said, Scene};
use super::search::{Found, Judged, Portions, search};
use super::{ProofError, Unknown, Which};
use crate::policy::Compiled;

/// What was found out about the guardrails.
#[derive(Debug, Clone, PartialEq)]
pub struct Guardrails {
    /// Each property.
    pub properties: Vec<Property>,
    /// How many request environments the schema has.
    pub environments: usize,
    /// How many questions the solver answered for it.
    pub asked: usize,
}

/// A property, and what was found out about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name.
    pub id: String,
    /// The guardrail's number on the permissions page, or what else it is about.
    pub guardrail: String,
    /// What it says.
    pub says: String,
    /// In how many request environments it says something.
    pub environments: usize,
    /// What was found out.
    pub verdict: Verdict,
}

/// What was found out about a property.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It holds for all requests.
    Holds,
    /// It does not: this is allowed.
    Fails(Box<Example>),
    /// Nobody knows, for these reasons.
    Unknown(Vec<(Place, Unknown)>),
}

/// A property under proof.
pub(super) struct Tried {
    pub(super) stated: Stated,
    environments: usize,
    example: Option<Box<Example>>,
    unknown: Vec<(Place, Unknown)>,
}

impl Tried {
    pub(super) const fn has_failed(&self) -> bool {
        self.example.is_some()
    }

    pub(super) fn verdict(&mut self) -> Verdict {
        match (self.example.take(), self.unknown.is_empty()) {
            (Some(example), _) => Verdict::Fails(example),
            (None, false) => Verdict::Unknown(std::mem::take(&mut self.unknown)),
            (None, true) => Verdict::Holds,
        }
    }
}

/// These properties, with nothing known about them.
///
/// # Errors
/// `Schema`.
pub(super) fn tried(which: &Which) -> Result<Vec<Tried>, ProofError> {
    let stated = properties()?.into_iter();
    let tried = stated
        .filter(|stated| which.has(&stated.id))
        .map(|stated| Tried {
            stated,
            environments: 0,
            example: None,
            unknown: Vec::new(),
        });
    Ok(tried.collect())
}

pub(super) async fn prove(
    bench: &mut Bench,
    compiled: &Arc<Compiled>,
    which: &Which,
) -> Result<Guardrails, ProofError> {
    let ground = Ground::new(compiled)?;
    let mut tried = tried(which)?;
    let before = bench.asked();
    bench.expects(ground.environments.len());
    for at in ground.environments.values() {
        for one in tried.iter_mut().filter(|one| one.stated.rule.is_for(at)) {
            one.environments = one.environments.saturating_add(1);
        }
        prove_at(bench, &Site::new(&ground, at, None), &mut tried).await;
        bench.did(1);
    }
    let properties = tried.into_iter().map(|mut one| Property {
        verdict: one.verdict(),
        id: one.stated.id,
        guardrail: one.stated.guardrail,
        says: one.stated.says,
        environments: one.environments,
    });
    Ok(Guardrails {
        properties: properties.collect(),
        environments: ground.environments.len(),
        asked: bench.asked().saturating_sub(before),
    })
}

/// A built-in policy as another one, or gone.
pub(super) struct Changed<'a> {
    pub(super) id: &'a str,
    pub(super) instead: Option<&'a Rule>,
}

/// A request environment, and the policies that can match in it.
pub(super) struct Site<'a> {
    ground: &'a Ground,
    at: &'a Environment,
    forbids: Vec<&'a Rule>,
    /// Built-in permits, and a link of each template.
    permits: Vec<&'a Rule>,
    changed: Option<&'a Changed<'a>>,
}

impl<'a> Site<'a> {
    pub(super) fn new(
        ground: &'a Ground,
        at: &'a Environment,
        changed: Option<&'a Changed<'a>>,
    ) -> Self {
        let Field {
            mut permits,
            mut forbids,
        } = ground.builtin_at(at);
        if let Some(changed) = changed {
            permits.retain(|rule| *rule.id != *changed.id);
            forbids.retain(|rule| *rule.id != *changed.id);
            let instead = changed.instead.filter(|rule| rule.is_for(at));
            match instead.map(|rule| rule.effect) {
                Some(Effect::Permit) => permits.extend(instead),
                Some(Effect::Forbid) => forbids.extend(instead),
                None => {}
            }
        }
        Self {
            ground,
            at,
            forbids,
            permits,
            changed,
        }
    }

    /// Is something that these describe allowed where everything is permitted that the built-in policies do not forbid? If not,
    /// no policies of an organization's own can allow it.
    async fn allows_if_all_is_permitted(&self, bench: &mut Bench, described: &[&Rule]) -> bool {
        let query = Query {
            any: matching(&[&self.ground.everything]),
            also: matching(described),
            none: matching(&self.forbids),
            calm: Vec::new(),
        };
        !matches!(bench.ask(self.ground, self.at, &query).await, Asked::Never)
    }

    fn rule(&self, id: &str) -> Option<&'a Rule> {
        let builtin = self.forbids.iter().find(|rule| *rule.id == *id);
        builtin.copied().or_else(|| self.ground.own(id))
    }

    /// What is said to an example.
    fn says(&self, scene: &Scene) -> Option<Said> {
        let said = scene.put_to(self.ground, self.at)?;
        let Some(changed) = self.changed else {
            return Some(said);
        };
        let instead = changed.instead.filter(|rule| rule.is_for(self.at));
        let outcome = instead.map(|rule| (rule, scene.matches(self.ground, rule)));
        Some(said.with(changed.id, outcome, &|id| {
            self.rule(id).map(|rule| rule.effect)
        }))
    }

    fn judged(&self, scene: &Scene, property: &Rule) -> Judged<'a, Said> {
        let Some(said) = self.says(scene) else {
            return Judged::Unsaid("the engine has no such question".to_owned());
        };
        if !said.allowed {
            return Judged::missed(&said.forbids, &said, &|id| self.rule(id));
        }
        match scene.matches(self.ground, property) {
            Some(true) => Judged::Counts(said),
            _ => Judged::Unsaid("it is allowed, and not what the property describes".to_owned()),
        }
    }
}

/// Proves in one environment what is still open: all of it at once, and what that leaves over by itself.
pub(super) async fn prove_at(bench: &mut Bench, site: &Site<'_>, tried: &mut [Tried]) {
    // One example is enough: what fails is looked into no further.
    let speaks = |one: &Tried| one.stated.rule.is_for(site.at) && one.example.is_none();
    let together: Vec<&Rule> = tried
        .iter()
        .filter(|one| speaks(one) && !one.stated.permits_count)
        .map(|one| &one.stated.rule)
        .collect();
    let all_hold = together.is_empty() || !site.allows_if_all_is_permitted(bench, &together).await;
    let several = together.len() > 1;
    for one in tried.iter_mut().filter(|one| speaks(one)) {
        if one.stated.permits_count {
            by_permits(bench, site, one).await;
        } else if !all_hold {
            let described = [&one.stated.rule];
            if !several || site.allows_if_all_is_permitted(bench, &described).await {
                by_permits(bench, site, one).await;
            }
        }
    }
}

/// Proves one property in one environment by the permits that there are.
async fn by_permits(bench: &mut Bench, site: &Site<'_>, one: &mut Tried) {
    let property = &one.stated.rule;
    let own = site.ground.own_at(site.at).permits;
    let mut doubt = None;
    for permits in [&site.permits, &own] {
        let mut portions = Portions::of(permits);
        while let Some(permits) = portions.next() {
            let query = Query {
                any: matching(permits),
                also: matching(&[property]),
                none: matching(&site.forbids),
                calm: Vec::new(),
            };
            let judge = |scene: &Scene| site.judged(scene, property);
            match search(bench, (site.ground, site.at), query, judge).await {
                Found::Never(_) => portions.passed(),
                Found::Example(scene, said) => {
                    let decided = vec![Decided::of("policies", &said)];
                    one.example = Some(Box::new(scene.shown(decided)));
                    return;
                }
                Found::Unknown(why) if portions.again(&why) => {}
                // Another permit may still show that it fails.
                Found::Unknown(why) => doubt = doubt.or(Some(why)),
            }
        }
    }
    one.unknown.extend(doubt.map(|why| (site.at.name(), why)));
}
