//! How a draft differs from what is in force: in each request environment equivalent, stricter, more permissive or both, with examples.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ground::{Environment, Field, Form, Ground, Place, Rule};
use super::query::{Asked, Bench, Query, matching};
use super::scene::{Decided, Example, Said, Scene};
use super::search::{Found, Judged, Portions, search};
use super::{ProofError, Unknown};
use crate::policy::Compiled;

/// What was found out about a draft beside what is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The request environments in which it differs, or may.
    pub changes: Vec<Change>,
    /// In how many it is equivalent.
    pub equivalent: usize,
    /// How many questions the solver answered for it.
    pub asked: usize,
}

/// A request environment in which a draft differs, or may.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Where.
    pub place: Place,
    /// Whether the draft allows what is refused today.
    pub more: Direction,
    /// Whether it refuses what is allowed today.
    pub less: Direction,
}

/// What was found out about one direction.
#[derive(Debug, Clone, PartialEq)]
pub enum Direction {
    /// There is no such request.
    Never,
    /// There are such requests; this is one.
    Example(Box<Example>),
    /// Nobody knows.
    Unknown(Unknown),
}

/// What a draft does in one request environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It answers every request as today.
    Equivalent,
    /// It refuses what is allowed today, and allows nothing more.
    Stricter,
    /// It allows what is refused today, and refuses nothing more.
    MorePermissive,
    /// It does both.
    Both,
    /// Nobody knows.
    Unknown,
}

impl Change {
    /// Both directions in a word.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        match (&self.more, &self.less) {
            (Direction::Example(_), Direction::Example(_)) => Effect::Both,
            (Direction::Unknown(_), _) | (_, Direction::Unknown(_)) => Effect::Unknown,
            (Direction::Example(_), Direction::Never) => Effect::MorePermissive,
            (Direction::Never, Direction::Example(_)) => Effect::Stricter,
            (Direction::Never, Direction::Never) => Effect::Equivalent,
        }
    }
}

/// One version in one environment.
struct Side<'a> {
    version: &'static str,
    ground: &'a Ground,
    /// Nothing where the version has no such environment: then it allows nothing there.
    at: Option<&'a Environment>,
    builtin: Field<'a>,
    own: Field<'a>,
}

impl<'a> Side<'a> {
    fn of(version: &'static str, ground: &'a Ground, place: &Place) -> Self {
        let at = ground.environments.get(place);
        Self {
            version,
            ground,
            at,
            builtin: at.map(|at| ground.builtin_at(at)).unwrap_or_default(),
            own: at.map(|at| ground.own_at(at)).unwrap_or_default(),
        }
    }

    fn permits(&self) -> impl Iterator<Item = &'a Rule> {
        let own = self.own.permits.iter();
        self.builtin.permits.iter().chain(own).copied()
    }

    fn forbids(&self) -> impl Iterator<Item = &'a Rule> {
        let own = self.own.forbids.iter();
        self.builtin.forbids.iter().chain(own).copied()
    }

    fn rule(&self, id: &str) -> Option<&'a Rule> {
        let builtin = self.builtin.permits.iter().chain(&self.builtin.forbids);
        let mut found = builtin.copied().filter(|rule| *rule.id == *id);
        found.next().or_else(|| self.ground.own(id))
    }

    fn says(&self, scene: &Scene) -> Option<Said> {
        match self.at {
            Some(at) => scene.put_to(self.ground, at),
            None => Some(Said::nothing()),
        }
    }
}

pub(super) async fn compare(
    bench: &mut Bench,
    active: &Arc<Compiled>,
    draft: &Arc<Compiled>,
) -> Result<Difference, ProofError> {
    let (mut active, mut draft) = (Ground::new(active)?, Ground::new(draft)?);
    // What either names keeps its name in examples.
    active.share_names(&mut draft);
    let places: BTreeSet<&Place> = [&active, &draft]
        .into_iter()
        .flat_map(|ground| ground.environments.keys())
        .collect();
    let before = bench.asked();
    bench.expects(places.len());
    let (mut changes, mut equivalent) = (Vec::new(), 0_usize);
    for place in places {
        let sides = (
            Side::of("active", &active, place),
            Side::of("draft", &draft, place),
        );
        let change = Change {
            place: place.clone(),
            more: gained(bench, &sides.0, &sides.1).await,
            less: gained(bench, &sides.1, &sides.0).await,
        };
        if change.effect() == Effect::Equivalent {
            equivalent = equivalent.saturating_add(1);
        } else {
            changes.push(change);
        }
        bench.did(1);
    }
    Ok(Difference {
        changes,
        equivalent,
        asked: bench.asked().saturating_sub(before),
    })
}

/// Whether `to` allows what `from` refuses. Only a permit that `from` lacks, or a forbid that `to` lacks, can be why.
async fn gained(bench: &mut Bench, from: &Side<'_>, to: &Side<'_>) -> Direction {
    if to.at.is_none() {
        return Direction::Never;
    }
    let meanings =
        |rules: &mut dyn Iterator<Item = &Rule>| rules.map(|rule| rule.meaning()).collect();
    let permitted: BTreeSet<[u8; 32]> = meanings(&mut from.permits());
    let forbidden: BTreeSet<[u8; 32]> = meanings(&mut to.forbids());
    let new: Vec<&Rule> = to
        .permits()
        .filter(|rule| !permitted.contains(&rule.meaning()))
        .collect();
    let gone: Vec<&Rule> = from
        .forbids()
        .filter(|rule| !forbidden.contains(&rule.meaning()))
        .collect();
    let mut doubt = None;
    let mut portions = Portions::of(&new);
    while let Some(permits) = portions.next() {
        let none = [&to.builtin.forbids, &from.builtin.permits];
        let query = Query {
            any: matching(permits),
            none: none.into_iter().flat_map(|rules| matching(rules)).collect(),
            ..Query::default()
        };
        let found = tried(bench, (from, to), query).await;
        if let Some(found) = settled(found, &mut portions, &mut doubt) {
            return found;
        }
    }
    let mut portions = Portions::of(&gone);
    while let Some(forbids) = portions.next() {
        let mut why = vec![(matching(forbids), Vec::new())];
        for rule in forbids.iter().filter(|rule| rule.may_err()) {
            why.push((vec![(*rule, Form::Fits)], vec![(*rule, Form::Evaluates)]));
        }
        let mut found = Direction::Never;
        for stood in why {
            if matches!(found, Direction::Never) {
                found = freed(bench, (from, to), stood).await;
            }
        }
        if let Some(found) = settled(found, &mut portions, &mut doubt) {
            return found;
        }
    }
    doubt.map_or(Direction::Never, Direction::Unknown)
}

type Matching<'a> = Vec<(&'a Rule, Form)>;

/// Whether `to` permits something that these stood against.
async fn freed(
    bench: &mut Bench,
    (from, to): (&Side<'_>, &Side<'_>),
    (also, not): (Matching<'_>, Matching<'_>),
) -> Direction {
    let question = |any| Query {
        any,
        also: also.clone(),
        none: matching(&to.builtin.forbids)
            .into_iter()
            .chain(not.clone())
            .collect(),
        calm: Vec::new(),
    };
    if let (false, Some((ground, at))) = (to.own.permits.is_empty(), base(from, to)) {
        // What is forbidden anyhow, no permit opens.
        let everything = question(vec![(&to.ground.everything, Form::Matches)]);
        if matches!(bench.ask(ground, at, &everything).await, Asked::Never) {
            return Direction::Never;
        }
    }
    let mut doubt = None;
    for permits in [&to.builtin.permits, &to.own.permits] {
        let mut portions = Portions::of(permits);
        while let Some(permits) = portions.next() {
            let found = tried(bench, (from, to), question(matching(permits))).await;
            if let Some(found) = settled(found, &mut portions, &mut doubt) {
                return found;
            }
        }
    }
    doubt.map_or(Direction::Never, Direction::Unknown)
}

/// An answer that ends the search; what is not known is kept.
fn settled(
    found: Direction,
    portions: &mut Portions<'_, '_>,
    doubt: &mut Option<Unknown>,
) -> Option<Direction> {
    match found {
        Direction::Never => portions.passed(),
        Direction::Example(_) => return Some(found),
        Direction::Unknown(why) if portions.again(&why) => {}
        Direction::Unknown(why) => {
            doubt.get_or_insert(why);
        }
    }
    None
}

/// The schema that questions about both are asked in: the draft's, where it has the environment.
fn base<'a>(one: &Side<'a>, other: &Side<'a>) -> Option<(&'a Ground, &'a Environment)> {
    let (draft, active) = match one.version {
        "draft" => (one, other),
        _ => (other, one),
    };
    let at = |side: &Side<'a>| side.at.map(|at| (side.ground, at));
    at(draft).or_else(|| at(active))
}

/// One question, asked until the engine confirms an example.
async fn tried(
    bench: &mut Bench,
    (from, to): (&Side<'_>, &Side<'_>),
    query: Query<'_>,
) -> Direction {
    let Some((ground, at)) = base(from, to) else {
        return Direction::Never;
    };
    let judge = |scene: &Scene| {
        let (Some(new), Some(old)) = (to.says(scene), from.says(scene)) else {
            return Judged::Unsaid("one of the versions has no such question".to_owned());
        };
        if !new.allowed {
            return Judged::missed(&new.forbids, &new, &|id| to.rule(id));
        }
        if old.allowed {
            return Judged::missed(&old.permits, &Said::nothing(), &|id| from.rule(id));
        }
        Judged::Counts((old, new))
    };
    match search(bench, (ground, at), query, judge).await {
        Found::Never(_) => Direction::Never,
        Found::Unknown(why) => Direction::Unknown(why),
        Found::Example(scene, (old, new)) => {
            let mut decided = vec![
                Decided::of(from.version, &old),
                Decided::of(to.version, &new),
            ];
            decided.sort_by_key(|one| one.version);
            Direction::Example(Box::new(scene.shown(decided)))
        }
    }
}
