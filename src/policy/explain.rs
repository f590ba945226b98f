//! Why an answer is what it is: of a refusal the policies that forbid it, or that come nearest to permitting it, with what of each does not
//! hold and what it looked at; of a yes the shortest set of policies and memberships that gives it.
//!
//! It is a way of its own beside `evaluate`: a policy is taken apart when somebody asks, and nothing is kept for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::Effect;
use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::compile::Compiled;
use super::evaluate::{Determining, Evaluation, Verdict};
use super::index::{Body, Rule};
use super::link::CompiledLink;
use super::looked::{Looked, Shown, Sight, looked, looks_past};
use super::parts::{Asked, Piece, Place, Truth, text};
use super::program::STACK;
use super::request::Question;
use super::run::Run;
use super::value::{Type, Uid};
use super::view::View;
use super::way::{Step, Steps, joined};
use super::words::Who;

/// What a condition is called whose text is not told.
const UNTOLD: &str = "a condition that you may not see";

/// How many near misses are told.
pub const NEAR_MOST: usize = 20;

/// How many permits are taken apart for them: others wait meanwhile.
const LOOKED_AT: usize = 500;

/// How many that are satisfied are compared by what each needs.
const WAYS_MOST: usize = 50;

/// A part of a policy, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where in the policy it stands.
    pub place: Place,
    /// In Cedar's syntax, so that it must hold; of an `unless`, turned round. Nothing where an organization's own policy looks at what
    /// whoever asks may not see, or names it: that it does not hold, or does, would tell them.
    pub text: Option<String>,
    /// What is the case, in words.
    pub words: String,
    /// What it came to.
    pub truth: Truth,
    /// What it looked at.
    pub looked: Vec<Looked>,
}

/// A policy, and parts of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The policy.
    pub policy: Determining,
    /// Its parts: those that say something here.
    pub parts: Vec<Part>,
}

/// A permit that is not satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// The policy.
    pub policy: Determining,
    /// For a link that counts no more: since when.
    pub expired_at: Option<DateTime<Utc>>,
    /// What of it does not hold.
    pub parts: Vec<Part>,
    /// How many of its parts hold.
    pub held: usize,
}

/// The shortest set that gives a yes: one policy, and what its tests of membership went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The permit, and what it asked for.
    pub told: Told,
    /// For a link: whom it is for, and what it opens, where whoever asks may see that these are those of the question.
    pub linked: Option<(Uid, Uid)>,
    /// The memberships, each from the child to its parent.
    pub steps: Vec<Step>,
    /// How many more whoever asks may not see.
    pub withheld: usize,
}

/// Why an answer is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The answer, as `evaluate` gives it.
    pub evaluation: Evaluation,
    /// The policies that forbid it.
    pub forbids: Vec<Told>,
    /// The policies that could not be evaluated.
    pub failed: Vec<Told>,
    /// The permits that came nearest, the nearest first.
    pub near: Vec<NearMiss>,
    /// How many more of them there are.
    pub left_off: usize,
    /// Whether something permits it, whatever else stands against it.
    pub permitted: bool,
    /// What gives a yes.
    pub way: Option<Way>,
}

/// Explains the answer to a question, with those values alone that `sight` lets be seen.
#[must_use]
pub fn explain(
    compiled: &Compiled,
    links: &[CompiledLink],
    view: &dyn View,
    question: &Question,
    sight: Sight<'_>,
) -> Explanation {
    let run = Run {
        vocabulary: compiled.vocabulary(),
        view,
        question,
    };
    let explaining = Explaining {
        compiled,
        links,
        asked: Asked::of(run),
        sight,
    };
    // Expressions nest, and what walks through them here is no compiled form of theirs.
    stacker::grow(STACK, || explaining.whole())
}

/// A policy that is taken apart.
struct Apart {
    policy: Determining,
    pieces: Vec<Piece>,
    linked: Option<(Uid, Uid)>,
    expired_at: Option<DateTime<Utc>>,
}

impl Apart {
    /// How far it is from being satisfied.
    fn distance(&self) -> usize {
        let failing = self.pieces.iter().filter(|piece| piece.fails()).count();
        failing.saturating_add(usize::from(self.expired_at.is_some()))
    }

    fn name(&self) -> (Arc<str>, Option<String>) {
        (Arc::clone(&self.policy.id), self.policy.link.clone())
    }
}

struct Explaining<'a> {
    compiled: &'a Compiled,
    links: &'a [CompiledLink],
    asked: Asked<'a>,
    sight: Sight<'a>,
}

type Names = BTreeSet<(Arc<str>, Option<String>)>;

fn names(policies: &[Determining]) -> Names {
    let names = policies.iter();
    names
        .map(|one| (Arc::clone(&one.id), one.link.clone()))
        .collect()
}

impl Explaining<'_> {
    fn whole(&self) -> Explanation {
        let run = &self.asked.run;
        let verdict = Verdict::of(self.compiled, self.links, run.view, run.question);
        let (permits, forbids) = (names(&verdict.permits), names(&verdict.forbids));
        let failures: BTreeSet<String> =
            verdict.failures.iter().map(|one| one.id.clone()).collect();
        let evaluation = verdict.conclude();
        let mut explanation = Explanation {
            forbids: Vec::new(),
            failed: Vec::new(),
            near: Vec::new(),
            left_off: 0,
            permitted: !permits.is_empty(),
            way: None,
            evaluation,
        };
        let (mut ways, mut failed) = (Vec::new(), Vec::new());
        self.compiled.each(run, &mut |rule| {
            let name = (Arc::clone(&rule.id), None);
            if rule.note.effect == Effect::Forbid && forbids.contains(&name) {
                let apart = self.rule(rule);
                explanation.forbids.push(self.told(&apart, |_| true));
            } else if failures.contains(&*rule.id) {
                failed.push(self.rule(rule));
            } else if permits.contains(&name) && ways.len() < WAYS_MOST {
                ways.push(self.rule(rule));
            }
        });
        for link in self.links {
            let apart = self.link(link);
            let id = format!("{}/{}", link.template.id, link.link().id);
            if failures.contains(&id) {
                failed.push(apart);
            } else if permits.contains(&apart.name()) && ways.len() < WAYS_MOST {
                ways.push(apart);
            }
        }
        explanation.failed = failed
            .iter()
            .map(|apart| self.told(apart, Piece::fails))
            .collect();
        for all in [&mut explanation.forbids, &mut explanation.failed] {
            all.sort_by(|a, b| (&a.policy.id, &a.policy.link).cmp(&(&b.policy.id, &b.policy.link)));
        }
        if explanation.evaluation.is_allowed() {
            explanation.way = self.shortest(ways);
        } else if !explanation.permitted {
            self.add_near(&mut explanation, &failures);
        }
        explanation
    }

    fn rule(&self, rule: &Rule) -> Apart {
        let json = rule.policy.to_json().ok();
        Apart {
            policy: rule.note.determining(Arc::clone(&rule.id)),
            pieces: self.asked.pieces(&rule.body, json.as_ref(), None),
            linked: None,
            expired_at: None,
        }
    }

    fn link(&self, compiled: &CompiledLink) -> Apart {
        let (link, template) = (compiled.link(), &compiled.template);
        let json = template.template.to_json().ok();
        let linked = (&link.principal, &link.resource);
        let expired = !link.counts_at(self.asked.run.question.now);
        Apart {
            policy: compiled.determining(),
            pieces: self
                .asked
                .pieces(&template.body, json.as_ref(), Some(linked)),
            linked: Some((link.principal.clone(), link.resource.clone())),
            expired_at: link.expires_at.filter(|_| expired),
        }
    }

    /// The permits that are not satisfied: those of which the fewest parts do not hold come first.
    fn add_near(&self, explanation: &mut Explanation, failures: &BTreeSet<String>) {
        let question = self.asked.run.question;
        let (mut near, mut beyond) = (Vec::new(), 0_usize);
        // Those whose scope fits before those that are for others.
        for wanted in [true, false] {
            self.compiled.each_of_types(question, &mut |rule| {
                if self.fits(&rule.body) != wanted || failures.contains(&*rule.id) {
                    return;
                }
                if near.len() < LOOKED_AT {
                    near.push(self.rule(rule));
                } else {
                    beyond = beyond.saturating_add(1);
                }
            });
        }
        let links = self.links.iter();
        for link in links.filter(|link| link.template.body.is_for(question.action())) {
            let id = format!("{}/{}", link.template.id, link.link().id);
            if !failures.contains(&id) {
                near.push(self.link(link));
            }
        }
        near.retain(|apart| apart.distance() > 0);
        near.sort_by_cached_key(|apart| (apart.distance(), apart.name()));
        let more = near.len().saturating_sub(NEAR_MOST);
        explanation.left_off = beyond.saturating_add(more);
        near.truncate(NEAR_MOST);
        let told = near.iter().map(|apart| {
            let Told { policy, parts } = self.told(apart, Piece::fails);
            let held = apart.pieces.iter();
            NearMiss {
                policy,
                parts,
                expired_at: apart.expired_at,
                held: held.filter(|piece| piece.truth == Truth::True).count(),
            }
        });
        explanation.near = told.collect();
    }

    fn fits(&self, body: &Body) -> bool {
        let run = &self.asked.run;
        run.fits(&body.principal, run.question.principal(), None)
            && run.fits(&body.resource, run.question.resource(), None)
    }

    /// Of the permits that are satisfied the one that needs the fewest memberships and links.
    fn shortest(&self, satisfied: Vec<Apart>) -> Option<Way> {
        let ways = satisfied.into_iter().map(|apart| {
            let needs = apart.pieces.iter();
            let needs = needs.map(|piece| self.asked.needs(&piece.json, true));
            let steps = needs.fold(Steps::new(), joined);
            (apart, steps)
        });
        let (apart, steps) = ways.min_by_key(|(apart, steps)| {
            let links = usize::from(apart.linked.is_some());
            (steps.len().saturating_add(links), apart.name())
        })?;
        let steps = self.asked.least(&apart.pieces, steps);
        let all = steps.len();
        let seen = steps
            .into_iter()
            .filter(|step| (self.sight.sees)(&step.child, None));
        let steps: Vec<Step> = seen.collect();
        Some(Way {
            told: self.told(&apart, |_| true),
            linked: apart.linked.filter(|(whom, what)| {
                let question = self.asked.run.question;
                let known = |one: &Uid, of: &Uid| one == of || (self.sight.sees)(of, None);
                known(whom, question.principal()) && known(what, question.resource())
            }),
            withheld: all.saturating_sub(steps.len()),
            steps,
        })
    }

    fn told(&self, apart: &Apart, which: impl Fn(&Piece) -> bool) -> Told {
        let library = self.compiled.library();
        let builtin = library.describe(&apart.policy.id).is_some();
        let pieces = apart.pieces.iter().filter(|piece| which(piece));
        Told {
            policy: apart.policy.clone(),
            parts: pieces.map(|piece| self.part(piece, builtin)).collect(),
        }
    }

    /// A part as it is told; what the built-in policies say, everybody may know.
    fn part(&self, piece: &Piece, builtin: bool) -> Part {
        let looked = looked(&piece.json, &self.asked.run, self.sight);
        let withheld = looked.iter().any(|one| one.found == Shown::Withheld);
        let unseen = withheld
            || looks_past(&piece.json, &self.asked, self.sight)
            || self.names_unseen(&piece.json);
        let truth = match &piece.truth {
            // Cedar tells the values that it could not compute with.
            Truth::Failed(_) if unseen => Truth::Failed(None),
            truth => truth.clone(),
        };
        let who = Who::of(self.asked.run.question, self.sight.named);
        // A scope of a built-in template names what the link says.
        let scoped = matches!(piece.place, Place::Principal | Place::Resource);
        let untold = unseen && (!builtin || scoped);
        // Which attribute it is about would tell what it is: that one is true, or is there, may be all of the condition.
        let (condition, looked) = match untold {
            true => (None, Vec::new()),
            false => (Some(text(&piece.json)), looked),
        };
        let words = match (&truth, &condition) {
            (Truth::Failed(why), condition) => {
                let what = condition.as_deref().map(|text| format!("`{text}`"));
                let what = what.unwrap_or_else(|| UNTOLD.to_owned());
                let why = why.as_deref().map(|why| format!(": {why}"));
                format!("{what} could not be evaluated{}", why.unwrap_or_default())
            }
            (Truth::True, Some(_)) => who.clause(&piece.json, true, &looked),
            (Truth::True, None) => format!("{UNTOLD} holds"),
            (_, Some(_)) => who.clause(&piece.json, false, &looked),
            (_, None) => format!("{UNTOLD} does not hold"),
        };
        Part {
            place: piece.place,
            text: condition,
            words,
            truth,
            looked,
        }
    }
}

impl Explaining<'_> {
    /// Whether an expression names somebody or something that whoever asks may not see, and did not name.
    fn names_unseen(&self, json: &Json) -> bool {
        let Asked { run, .. } = &self.asked;
        let named = json.get("__entity").and_then(|one| {
            let kind = Type::named(one.get("type")?.as_str()?);
            Some(Uid::new(kind, one.get("id")?.as_str()?))
        });
        let known = |uid: &Uid| {
            // Roles and plans are the schema's.
            let is_somebodys = uid.reference().is_some() || run.vocabulary.is_own(&uid.kind());
            !is_somebodys
                || [run.question.principal(), run.question.resource()].contains(&uid)
                || (self.sight.sees)(uid, None)
        };
        named.is_some_and(|uid| !known(&uid))
            || match json {
                Json::Array(items) => items.iter().any(|one| self.names_unseen(one)),
                Json::Object(members) => members.values().any(|one| self.names_unseen(one)),
                _ => false,
            }
    }
}
