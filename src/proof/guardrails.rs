//! Whether the guardrails hold: no request that a property describes is allowed, in any request environment that it speaks of.

use std::sync::Arc;

use super::ground::Place;
use super::ground::{Environment, Form, Ground, Rule};
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
struct Tried {
    stated: Stated,
    environments: usize,
    example: Option<Box<Example>>,
    unknown: Vec<(Place, Unknown)>,
}

pub(super) async fn prove(
    bench: &mut Bench,
    compiled: &Arc<Compiled>,
    which: &Which,
) -> Result<Guardrails, ProofError> {
    let ground = Ground::new(compiled)?;
    let mut tried: Vec<Tried> = properties()?
        .into_iter()
        .filter(|stated| which.has(&stated.id))
        .map(|stated| Tried {
            stated,
            environments: 0,
            example: None,
            unknown: Vec::new(),
        })
        .collect();
    let before = bench.asked();
    bench.expects(ground.environments.len());
    for at in ground.environments.values() {
        for one in tried.iter_mut().filter(|one| one.stated.rule.is_for(at)) {
            one.environments = one.environments.saturating_add(1);
        }
        prove_at(bench, (&ground, at), &mut tried).await;
        bench.did(1);
    }
    let properties = tried.into_iter().map(|one| Property {
        id: one.stated.id,
        guardrail: one.stated.guardrail,
        says: one.stated.says,
        environments: one.environments,
        verdict: match (one.example, one.unknown.is_empty()) {
            (Some(example), _) => Verdict::Fails(example),
            (None, false) => Verdict::Unknown(one.unknown),
            (None, true) => Verdict::Holds,
        },
    });
    Ok(Guardrails {
        properties: properties.collect(),
        environments: ground.environments.len(),
        asked: bench.asked().saturating_sub(before),
    })
}

/// Proves in one environment what is still open: all of it at once, and what that leaves over by itself.
async fn prove_at(bench: &mut Bench, (ground, at): (&Ground, &Environment), tried: &mut [Tried]) {
    // One example is enough: what fails is looked into no further.
    let speaks = |one: &Tried| one.stated.rule.is_for(at) && one.example.is_none();
    let forbids = ground.builtin_at(at).forbids;
    let together: Vec<&Rule> = tried
        .iter()
        .filter(|one| speaks(one) && !one.stated.permits_count)
        .map(|one| &one.stated.rule)
        .collect();
    let all_hold = together.is_empty() || {
        let query = against_everything(ground, &forbids, &together);
        matches!(bench.ask(ground, at, &query).await, Asked::Never)
    };
    for one in tried.iter_mut().filter(|one| speaks(one)) {
        if one.stated.permits_count || !all_hold {
            alone(bench, (ground, at), &forbids, one).await;
        }
    }
}

/// Is something that these describe allowed where everything is permitted that the built-in policies do not forbid? If not, no
/// policies of an organization's own can allow it.
fn against_everything<'a>(
    ground: &'a Ground,
    forbids: &[&'a Rule],
    described: &[&'a Rule],
) -> Query<'a> {
    Query {
        any: vec![(&ground.everything, Form::Matches)],
        also: matching(described),
        none: matching(forbids),
        calm: Vec::new(),
    }
}

/// Proves one property in one environment, if need be by the permits that there are.
async fn alone(
    bench: &mut Bench,
    (ground, at): (&Ground, &Environment),
    forbids: &[&Rule],
    one: &mut Tried,
) {
    let Tried {
        stated,
        example,
        unknown,
        ..
    } = one;
    if !stated.permits_count {
        let query = against_everything(ground, forbids, &[&stated.rule]);
        match bench.ask(ground, at, &query).await {
            Asked::Never => return,
            Asked::Unknown(why) => return unknown.push((at.name(), why)),
            Asked::Example(_) => {}
        }
    }
    let (builtin, own) = (ground.builtin_at(at), ground.own_at(at));
    let known = |id: &str| {
        let builtin = builtin.forbids.iter().find(|rule| *rule.id == *id);
        builtin.copied().or_else(|| ground.own(id))
    };
    let mut doubt = None;
    for permits in [&builtin.permits, &own.permits] {
        let mut portions = Portions::of(permits);
        while let Some(permits) = portions.next() {
            let query = Query {
                any: matching(permits),
                also: matching(&[&stated.rule]),
                none: matching(forbids),
                calm: Vec::new(),
            };
            let judge = |scene: &Scene| judged(scene, (ground, at), &stated.rule, &known);
            match search(bench, (ground, at), query, judge).await {
                Found::Never(_) => portions.passed(),
                Found::Example(scene, said) => {
                    let decided = vec![Decided::of("policies", &said)];
                    *example = Some(Box::new(scene.shown(decided)));
                    return;
                }
                Found::Unknown(why) if portions.again(&why) => {}
                // Another permit may still show that it fails.
                Found::Unknown(why) => doubt = doubt.or(Some(why)),
            }
        }
    }
    unknown.extend(doubt.map(|why| (at.name(), why)));
}

fn judged<'a>(
    scene: &Scene,
    (ground, at): (&Ground, &Environment),
    property: &Rule,
    known: &dyn Fn(&str) -> Option<&'a Rule>,
) -> Judged<'a, Said> {
    let Some(said) = scene.put_to(ground, at) else {
        return Judged::Unsaid("the engine has no such question".to_owned());
    };
    if !said.allowed {
        return Judged::missed(&said.forbids, &said, known);
    }
    match scene.matches(ground, property) {
        Some(true) => Judged::Counts(said),
        _ => Judged::Unsaid("it is allowed, and not what the property describes".to_owned()),
    }
}
