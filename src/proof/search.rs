//! The search for an example that counts: the policies that stand in an example's way join the question, until the engine confirms one,
//! or the solver says that there is none.
//!
//! Asking about few policies leaves out reasons to refuse, so "there is none" is true of all of them as well. What an example
//! leaves out, the engine says.

use super::Unknown;
use super::ground::{Environment, Form, Ground, Rule};
use super::query::{Asked, Bench, Query};
use super::scene::{Said, Scene};

/// How many policies are asked about at once, to begin with and at the most.
const PORTION: usize = 8;
const PORTION_MOST: usize = 32;

/// How often an example may turn out not to count.
const ROUNDS_MOST: usize = 40;

/// What a search came to.
pub(super) enum Found<'a, T> {
    /// There is no such request, and these had to join the question until that was plain.
    Never(Vec<&'a Rule>),
    /// This one, and what was said of it.
    Example(Box<Scene>, T),
    Unknown(Unknown),
}

/// What the engine says of an example.
pub(super) enum Judged<'a, T> {
    /// It is one.
    Counts(T),
    /// It is none because of these: those that match, and those that err.
    Missed(Vec<&'a Rule>, Vec<&'a Rule>),
    /// Nobody can say.
    Unsaid(String),
}

impl<'a, T> Judged<'a, T> {
    /// It is none, since these policies say otherwise; `known` has those that can join a question.
    pub(super) fn missed(
        matching: &[String],
        said: &Said,
        known: &dyn Fn(&str) -> Option<&'a Rule>,
    ) -> Self {
        let matching = matching.iter().filter_map(|id| known(id)).collect();
        let erring = said.erred.iter().filter_map(|id| known(id));
        let forbids = |rule: &&Rule| rule.effect == cedar_policy::Effect::Forbid;
        Self::Missed(matching, erring.filter(forbids).collect())
    }
}

/// Searches for a request that the question describes and the engine confirms.
pub(super) async fn search<'a, T>(
    bench: &mut Bench,
    (ground, at): (&'a Ground, &'a Environment),
    mut query: Query<'a>,
    mut judge: impl FnMut(&Scene) -> Judged<'a, T>,
) -> Found<'a, T> {
    let asked = query.none.len();
    for _ in 0..ROUNDS_MOST {
        let example = match bench.ask(ground, at, &query).await {
            Asked::Never => {
                let joined = query.none.iter().skip(asked).map(|(rule, _)| *rule);
                return Found::Never(joined.chain(query.calm).collect());
            }
            Asked::Unknown(why) => return Found::Unknown(why),
            Asked::Example(example) => example,
        };
        let Some(scene) = Scene::of(ground, &example) else {
            let why = "it has a value that the engine has no word for";
            return Found::Unknown(Unknown::Unconfirmed(why.to_owned()));
        };
        match judge(&scene) {
            Judged::Counts(said) => return Found::Example(Box::new(scene), said),
            Judged::Unsaid(why) => return Found::Unknown(Unknown::Unconfirmed(why)),
            Judged::Missed(matching, erring) => {
                let before = (query.none.len(), query.calm.len());
                for rule in matching {
                    let known = |(one, form): &(&Rule, Form)| {
                        *form == Form::Matches && one.meaning() == rule.meaning()
                    };
                    if !query.none.iter().any(known) {
                        query.none.push((rule, Form::Matches));
                    }
                }
                for rule in erring {
                    if !query.calm.iter().any(|one| one.meaning() == rule.meaning()) {
                        query.calm.push(rule);
                    }
                }
                if before == (query.none.len(), query.calm.len()) {
                    let why = "the engine answers it otherwise";
                    return Found::Unknown(Unknown::Unconfirmed(why.to_owned()));
                }
            }
        }
    }
    let much = format!("more than {ROUNDS_MOST} policies matter at once");
    Found::Unknown(Unknown::TooMuch(much))
}

/// Policies, some at a time: more where those before were answered at once, fewer where they were too much.
pub(super) struct Portions<'r, 'a> {
    all: &'r [&'a Rule],
    /// Where the last portion began, and where it ended.
    given: (usize, usize),
    size: usize,
}

impl<'r, 'a> Portions<'r, 'a> {
    pub(super) const fn of(rules: &'r [&'a Rule]) -> Self {
        Self {
            all: rules,
            given: (0, 0),
            size: PORTION,
        }
    }

    /// The next ones.
    pub(super) fn next(&mut self) -> Option<&'r [&'a Rule]> {
        let start = self.given.1;
        let end = start.saturating_add(self.size).min(self.all.len());
        self.given = (start, end);
        self.all.get(start..end).filter(|given| !given.is_empty())
    }

    /// There was nothing about those.
    pub(super) fn passed(&mut self) {
        self.size = self.size.saturating_mul(2).min(PORTION_MOST);
    }

    /// Those were not answered for this reason. Whether half of them come again.
    pub(super) fn again(&mut self, why: &Unknown) -> bool {
        let much = matches!(
            why,
            Unknown::TooMuch(_) | Unknown::TimedOut | Unknown::Undecided
        );
        let (start, end) = self.given;
        let half = end.saturating_sub(start) / 2;
        if !much || half == 0 {
            return false;
        }
        self.size = half;
        self.given = (start, start);
        true
    }
}
