//! What an organization's own policies are there for: which can never apply, count or matter, and which can err.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::Effect;

use super::ground::{Environment, Field, Form, Ground, Place, Rule};
use super::query::{Asked, Bench, Query, matching};
use super::scene::{Decided, Example, Said, Scene};
use super::search::{Found, Judged, Portions, search};
use super::shape::{Literal, Renaming, Shape};
use super::{ProofError, Unknown};
use crate::policy::Compiled;

/// How many examples are kept of policies of one form.
const ALIKE_MOST: usize = 4;

/// How many other policies are asked whether they alone make one idle.
const OTHERS_MOST: usize = 8;

/// What was found out about an organization's own policies.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// How many policies were looked at.
    pub policies: usize,
    /// What is odd about them, in the order of their files.
    pub found: Vec<Finding>,
    /// About which something is not known, and why.
    pub unknown: Vec<(String, Unknown)>,
    /// How many questions the solver answered for it.
    pub asked: usize,
}

/// Something odd about a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The policy.
    pub policy: String,
    /// What it is.
    pub what: What,
}

/// What is odd about a policy.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// No request satisfies it.
    NeverApplies,
    /// It permits private actions alone, for which an organization's own permits count for nothing.
    NeverCounts,
    /// Whatever it permits, others forbid: these do in the example.
    AlwaysForbidden(Vec<String>, Example),
    /// Without it nothing would be answered otherwise, since these say the same, as in the example.
    Implied(Vec<String>, Example),
    /// It forbids what nothing permits, as in the example.
    ForbidsNothing(Example),
    /// Where its scope fits it always errs, as in the example.
    AlwaysErrs(Example),
    /// It can err, as in the example.
    CanErr(Example),
}

/// Whose policies are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Own,
    Builtin,
}

pub(super) async fn find(
    bench: &mut Bench,
    draft: &Arc<Compiled>,
    whose: Whose,
) -> Result<Findings, ProofError> {
    let ground = Ground::new(draft)?;
    let rules = match whose {
        Whose::Own => ground.all_own(),
        Whose::Builtin => ground.all_builtin(),
    };
    let fields: Vec<(&Environment, Field<'_>)> = ground
        .environments
        .values()
        .map(|at| (at, ground.builtin_at(at)))
        .collect();
    let before = bench.asked();
    let mut findings = Findings {
        policies: rules.len(),
        found: Vec::new(),
        unknown: Vec::new(),
        asked: 0,
    };
    bench.expects(findings.policies);
    let mut alike = HashMap::new();
    for rule in rules {
        let json = rule.json();
        let mut look = Look {
            ground: &ground,
            rule,
            whose,
            places: fields.iter().filter(|(at, _)| rule.is_for(at)).collect(),
            shape: json.map(|json| Shape::of(json, draft.vocabulary())),
            alike: &mut alike,
            joined: BTreeSet::new(),
            doubt: None,
        };
        let found = look.look(bench).await;
        let policy = rule.id.to_string();
        findings.found.extend(found.into_iter().map(|what| Finding {
            policy: policy.clone(),
            what,
        }));
        findings.unknown.extend(look.doubt.map(|why| (policy, why)));
        bench.did(1);
    }
    findings.asked = bench.asked().saturating_sub(before);
    Ok(findings)
}

type Placed<'a> = (&'a Environment, Field<'a>);

/// Examples that showed a policy to be needed, by the form of the policy: with what it names, and where.
type Alike = HashMap<String, Vec<(Vec<Literal>, Place, Scene)>>;

/// A policy, looked at where its scope can match.
struct Look<'a, 'b> {
    ground: &'a Ground,
    rule: &'a Rule,
    whose: Whose,
    places: Vec<&'a Placed<'a>>,
    shape: Option<Shape>,
    alike: &'b mut Alike,
    /// The policies that had to join a question until it was plain that this one is not needed.
    joined: BTreeSet<String>,
    doubt: Option<Unknown>,
}

/// What an example has to show.
#[derive(Clone, Copy)]
enum Shows {
    /// That the policy matches.
    Matching,
    /// That it errs.
    Erring,
    /// That it comes to something.
    Evaluating,
    /// That it permits, and nothing forbids.
    Open,
    /// That without it the answer would be another one.
    Needed,
    /// That it forbids, and no other policy does.
    Alone,
}

impl<'a> Look<'a, '_> {
    async fn look(&mut self, bench: &mut Bench) -> Vec<What> {
        let mut found = Vec::new();
        if self.rule.may_err() {
            let erring = self.first(bench, Shows::Erring).await;
            if let Some((example, _)) = erring {
                let doubt = self.doubt.clone();
                if self.first(bench, Shows::Evaluating).await.is_none() && self.doubt == doubt {
                    return vec![What::AlwaysErrs(example)];
                }
                found.push(What::CanErr(example));
                // Where it errs, a forbid refuses as well: it is not idle.
                if self.rule.effect == Effect::Forbid {
                    return found;
                }
            }
        }
        let before = self.doubt.clone();
        let idle = match self.rule.effect {
            Effect::Permit => self.permit(bench).await,
            Effect::Forbid => self.forbid(bench).await,
        };
        // That it does nothing is said only where all of it is known.
        if self.doubt == before {
            found.extend(idle);
        }
        found
    }

    /// Why a permit permits nothing that is not permitted without it.
    async fn permit(&mut self, bench: &mut Bench) -> Option<What> {
        if !self.places.iter().any(|(at, _)| self.counts(at)) {
            return Some(if self.places.is_empty() {
                What::NeverApplies
            } else {
                What::NeverCounts
            });
        }
        if self.is_needed(bench).await {
            return None;
        }
        if let Some((example, said)) = self.first(bench, Shows::Open).await {
            let others = self.others(&said.permits);
            return Some(What::Implied(self.implying(bench, others).await, example));
        }
        Some(match self.first(bench, Shows::Matching).await {
            Some((example, said)) if !said.forbids.is_empty() => {
                What::AlwaysForbidden(self.others(&said.forbids), example)
            }
            Some(_) => What::NeverCounts,
            None => What::NeverApplies,
        })
    }

    /// Why a forbid forbids nothing that is allowed without it.
    async fn forbid(&mut self, bench: &mut Bench) -> Option<What> {
        if self.is_needed(bench).await {
            return None;
        }
        if let Some((example, _)) = self.first(bench, Shows::Alone).await {
            return Some(What::ForbidsNothing(example));
        }
        Some(match self.first(bench, Shows::Matching).await {
            Some((example, said)) => {
                let others = self.others(&said.forbids);
                What::Implied(self.implying(bench, others).await, example)
            }
            None => What::NeverApplies,
        })
    }

    /// Whether something would be answered otherwise without it. An example of one like it is tried first.
    async fn is_needed(&mut self, bench: &mut Bench) -> bool {
        if self.is_needed_like_another() {
            return true;
        }
        let Some((place, scene, _)) = self.scene(bench, Shows::Needed).await else {
            return false;
        };
        if let Some(shape) = &self.shape {
            let known = self.alike.entry(shape.form.clone()).or_default();
            if known.len() < ALIKE_MOST {
                known.push((shape.literals.clone(), place, *scene));
            }
        }
        true
    }

    /// Whether it counts there, if it is a permit.
    fn counts(&self, at: &Environment) -> bool {
        self.whose == Whose::Builtin || at.own_permits_count()
    }

    /// These without the policy that is looked at.
    fn but_this(&self, rules: &[&'a Rule]) -> Vec<(&'a Rule, Form)> {
        let mut all = matching(rules);
        all.retain(|(rule, _)| rule.id != self.rule.id);
        all
    }

    fn is_needed_like_another(&self) -> bool {
        let Some(shape) = &self.shape else {
            return false;
        };
        let known = self.alike.get(&shape.form).into_iter().flatten();
        let mut known = known.filter_map(|(literals, name, scene)| {
            let mut places = self.places.iter().filter(|(at, _)| at.name() == *name);
            let renaming = Renaming::between(literals, &shape.literals);
            Some((places.next()?, scene.renamed(self.ground, &renaming)?))
        });
        known.any(|(place, scene)| {
            matches!(self.judged(&scene, place, Shows::Needed), Judged::Counts(_))
        })
    }

    /// Which of the others make it idle: one that matches wherever it does, else those without which it was not plain.
    async fn implying(&self, bench: &mut Bench, others: Vec<String>) -> Vec<String> {
        let candidates: BTreeSet<&String> = self.joined.iter().chain(&others).collect();
        for id in candidates.into_iter().take(OTHERS_MOST) {
            let Some(other) = self
                .ground
                .rule(id)
                .filter(|other| other.id != self.rule.id)
            else {
                continue;
            };
            let mut whole = true;
            for (at, _) in &self.places {
                let query = Query {
                    any: vec![(self.rule, Form::Matches)],
                    none: vec![(other, Form::Matches)],
                    ..Query::default()
                };
                if !matches!(bench.ask(self.ground, at, &query).await, Asked::Never) {
                    whole = false;
                    break;
                }
            }
            if whole {
                return vec![id.clone()];
            }
        }
        match self.joined.is_empty() {
            true => others,
            false => self.joined.iter().cloned().collect(),
        }
    }

    fn others(&self, ids: &[String]) -> Vec<String> {
        let others: BTreeSet<&String> = ids.iter().filter(|id| **id != *self.rule.id).collect();
        others.into_iter().cloned().collect()
    }

    /// The first example that shows this, wherever the policy can match.
    async fn first(&mut self, bench: &mut Bench, shows: Shows) -> Option<(Example, Said)> {
        let (_, scene, said) = self.scene(bench, shows).await?;
        let decided = vec![Decided::of("policies", &said)];
        Some((scene.shown(decided), said))
    }

    async fn scene(
        &mut self,
        bench: &mut Bench,
        shows: Shows,
    ) -> Option<(Place, Box<Scene>, Said)> {
        for place in self.places.clone() {
            let (at, builtin) = place;
            let counts = self.rule.effect == Effect::Forbid || self.counts(at);
            if !counts && matches!(shows, Shows::Open | Shows::Needed) {
                continue;
            }
            let found = match (shows, self.rule.effect) {
                // What it forbids has to be permitted by something.
                (Shows::Needed, Effect::Forbid) => {
                    let own = self.ground.own_at(at).permits;
                    match self.permitted(bench, place, &builtin.permits).await {
                        None => self.permitted(bench, place, &own).await,
                        found => found,
                    }
                }
                _ => {
                    let query = self.query(place, shows);
                    match self.searched(bench, place, (query, shows)).await {
                        Ok(found) => found,
                        Err(why) => {
                            self.doubt.get_or_insert(why);
                            None
                        }
                    }
                }
            };
            if let Some((scene, said)) = found {
                return Some((at.name(), scene, said));
            }
        }
        None
    }

    /// Whether a forbid alone stands against something that these permit.
    async fn permitted(
        &mut self,
        bench: &mut Bench,
        place: &'a Placed<'a>,
        permits: &[&'a Rule],
    ) -> Option<(Box<Scene>, Said)> {
        let mut portions = Portions::of(permits);
        while let Some(permits) = portions.next() {
            let query = Query {
                any: matching(permits),
                also: matching(&[self.rule]),
                none: self.but_this(&place.1.forbids),
                calm: Vec::new(),
            };
            match self.searched(bench, place, (query, Shows::Needed)).await {
                Ok(None) => portions.passed(),
                Ok(found) => return found,
                Err(why) if portions.again(&why) => {}
                Err(why) => {
                    self.doubt.get_or_insert(why);
                }
            }
        }
        None
    }

    /// # Errors
    /// It is not known.
    async fn searched(
        &mut self,
        bench: &mut Bench,
        place: &'a Placed<'a>,
        (query, shows): (Query<'a>, Shows),
    ) -> Result<Option<(Box<Scene>, Said)>, Unknown> {
        let judge = |scene: &Scene| self.judged(scene, place, shows);
        match search(bench, (self.ground, &place.0), query, judge).await {
            Found::Never(joined) => {
                let joined = joined.into_iter().map(|rule| rule.id.to_string());
                self.joined.extend(joined);
                Ok(None)
            }
            Found::Example(scene, said) => Ok(Some((scene, said))),
            Found::Unknown(why) => Err(why),
        }
    }

    fn query(&self, (_, builtin): &'a Placed<'a>, shows: Shows) -> Query<'a> {
        let form = match shows {
            Shows::Erring => Form::Fits,
            Shows::Evaluating => Form::Evaluates,
            Shows::Matching | Shows::Open | Shows::Alone | Shows::Needed => Form::Matches,
        };
        let mut none = Vec::new();
        match shows {
            Shows::Matching | Shows::Evaluating => {}
            Shows::Erring => none.push((self.rule, Form::Evaluates)),
            Shows::Open | Shows::Alone => none.extend(self.but_this(&builtin.forbids)),
            Shows::Needed => {
                none.extend(self.but_this(&builtin.forbids));
                none.extend(self.but_this(&builtin.permits));
            }
        }
        Query {
            any: vec![(self.rule, form)],
            none,
            ..Query::default()
        }
    }

    fn judged(
        &self,
        scene: &Scene,
        (at, builtin): &'a Placed<'a>,
        shows: Shows,
    ) -> Judged<'a, Said> {
        let Some(said) = scene.put_to(self.ground, at) else {
            return Judged::Unsaid("the engine has no such question".to_owned());
        };
        let this = |ids: &[String]| ids.iter().any(|id| **id == *self.rule.id);
        let known = |id: &str| {
            let builtin = builtin.permits.iter().chain(&builtin.forbids);
            let mut found = builtin.copied().filter(|rule| *rule.id == *id);
            let found = found.next().or_else(|| self.ground.own(id));
            found.filter(|rule| rule.id != self.rule.id)
        };
        // A permit that does not count where it is asked about is evaluated by nobody but Cedar.
        let matches = scene.matches(self.ground, self.rule);
        let erred = said.erred.iter().any(|id| **id == *self.rule.id);
        let shown = match (shows, self.rule.effect) {
            (Shows::Matching, _) => matches == Some(true),
            (Shows::Evaluating, _) => matches.is_some(),
            (Shows::Erring, Effect::Forbid) => erred,
            (Shows::Erring, Effect::Permit) => matches.is_none(),
            (Shows::Open, _) => said.allowed && this(&said.permits),
            (Shows::Needed, Effect::Permit) => said.allowed && said.permits.len() == 1,
            (Shows::Alone, _) => this(&said.forbids) && said.forbids.len() == 1,
            (Shows::Needed, Effect::Forbid) => {
                this(&said.forbids) && said.forbids.len() == 1 && !said.permits.is_empty()
            }
        };
        if shown {
            return Judged::Counts(said);
        }
        let mut against: Vec<String> = said.forbids.clone();
        if matches!((shows, self.rule.effect), (Shows::Needed, Effect::Permit)) {
            against.extend(said.permits.iter().cloned());
        }
        Judged::missed(&against, &said, &known)
    }
}
