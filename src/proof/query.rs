//! A question to the solver about a few policies in one request environment, and what it came to.

use std::collections::HashSet;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet};
use cedar_policy_symcc::err::Error;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet, Env};
use serde_json::{Value as Json, json};

use super::ground::{Environment, Form, Ground, Rule};
use super::solver::Session;
use super::{Progress, Unknown};

/// How many entities the policies of a question may name: formulas grow with the square of that.
const NAMES_MOST: usize = 600;

/// Is there a request that some policy of `any` matches, some policy of `also` (if there are any), and none of `none`?
#[derive(Default, Clone)]
pub(super) struct Query<'a> {
    pub(super) any: Vec<(&'a Rule, Form)>,
    pub(super) also: Vec<(&'a Rule, Form)>,
    pub(super) none: Vec<(&'a Rule, Form)>,
    /// And on which none of these errs.
    pub(super) calm: Vec<&'a Rule>,
}

/// That these match.
pub(super) fn matching<'a>(rules: &[&'a Rule]) -> Vec<(&'a Rule, Form)> {
    rules.iter().map(|rule| (*rule, Form::Matches)).collect()
}

/// What a question came to.
pub(super) enum Asked {
    /// There is no such request.
    Never,
    /// There is this one, says the solver.
    Example(Box<Env>),
    Unknown(Unknown),
}

/// Where questions are asked, and counted.
pub(super) struct Bench {
    compiler: CedarSymCompiler<Session>,
    told: Box<dyn Fn(Progress) + Send>,
    progress: Progress,
}

impl Bench {
    pub(super) fn new(
        compiler: CedarSymCompiler<Session>,
        told: Box<dyn Fn(Progress) + Send>,
    ) -> Self {
        Self {
            compiler,
            told,
            progress: Progress { done: 0, of: 0 },
        }
    }

    /// There is more to do.
    pub(super) fn expects(&mut self, more: usize) {
        self.progress.of = self.progress.of.saturating_add(more);
        (self.told)(self.progress);
    }

    /// More of it is done.
    pub(super) fn did(&mut self, more: usize) {
        self.progress.done = self.progress.done.saturating_add(more);
        (self.told)(self.progress);
    }

    /// How many questions the solver has answered.
    pub(super) fn asked(&self) -> usize {
        self.compiler.solver().asked
    }

    /// Ends the solver.
    pub(super) async fn end(&mut self) {
        self.compiler.solver_mut().end().await;
    }

    /// Asks.
    pub(super) async fn ask(
        &mut self,
        ground: &Ground,
        at: &Environment,
        query: &Query<'_>,
    ) -> Asked {
        // Whoever waits may have gone.
        tokio::task::yield_now().await;
        if !self.compiler.solver().has_time() {
            return Asked::Unknown(Unknown::OutOfTime);
        }
        let made = match Made::of(ground, at, query) {
            Ok(made) => made,
            Err(why) => return Asked::Unknown(why),
        };
        self.compiler.solver_mut().forget();
        let found = match &made.also {
            None => {
                self.compiler
                    .check_always_denies_with_counterexample_opt(&made.allowed)
                    .await
            }
            Some(also) => {
                self.compiler
                    .check_disjoint_with_counterexample_opt(&made.allowed, also)
                    .await
            }
        };
        let why = self.compiler.solver_mut().why();
        match (found, why) {
            (_, Some(why)) => Asked::Unknown(why),
            (Ok(None), None) => Asked::Never,
            (Ok(Some(example)), None) => Asked::Example(Box::new(example)),
            (Err(error), None) => Asked::Unknown(unknown(&error)),
        }
    }
}

fn unknown(error: &Error) -> Unknown {
    match error {
        Error::SolverUnknown => Unknown::Undecided,
        Error::DecodeModel(_) | Error::ConcretizeError(_) | Error::ModelInvalid { .. } => {
            let said = error.to_string();
            Unknown::Unconfirmed(said.chars().take(200).collect())
        }
        Error::SolverError(_) | Error::EncodeError(_) => Unknown::Solver(error.to_string()),
        Error::PolicyNotWellTyped { errs } => {
            let first = errs.first().map(ToString::to_string).unwrap_or_default();
            Unknown::Unsupported(format!("{error}: {first}"))
        }
        _ => Unknown::Unsupported(error.to_string()),
    }
}

/// A question in the solver's terms: some permit of the first matches and none of its forbids, and the second allows it.
struct Made {
    allowed: CompiledPolicySet,
    also: Option<CompiledPolicySet>,
}

impl Made {
    fn of(ground: &Ground, at: &Environment, query: &Query<'_>) -> Result<Self, Unknown> {
        let rules = query.any.iter().chain(&query.also).chain(&query.none);
        let named: usize = rules.map(|(rule, _)| rule.names()).sum();
        if named > NAMES_MOST {
            let much = format!("the policies that matter name {named} entities and attributes");
            return Err(Unknown::TooMuch(much));
        }
        let calm = calm(&query.calm)?;
        let mut allowed = Vec::new();
        for (rule, form) in &query.any {
            allowed.push(match &calm {
                Some(calm) => rule.permit_where(*form, calm),
                None => rule.form(*form, Effect::Permit).cloned(),
            });
        }
        let mut seen = HashSet::new();
        for (rule, form) in &query.none {
            if seen.insert((rule.meaning(), *form)) {
                allowed.push(rule.form(*form, Effect::Forbid).cloned());
            }
        }
        let also = query
            .also
            .iter()
            .map(|(rule, form)| rule.form(*form, Effect::Permit).cloned());
        Ok(Self {
            allowed: compiled(ground, at, allowed)?,
            also: match query.also.is_empty() {
                true => None,
                false => Some(compiled(ground, at, also.collect())?),
            },
        })
    }
}

/// That none of these errs, as one condition.
fn calm(rules: &[&Rule]) -> Result<Option<Json>, Unknown> {
    let mut whole: Option<Json> = None;
    for rule in rules {
        let one = rule.evaluated().ok_or_else(unsaid)?;
        whole = Some(match whole {
            None => one,
            Some(others) => json!({"&&": {"left": others, "right": one}}),
        });
    }
    Ok(whole)
}

fn compiled(
    ground: &Ground,
    at: &Environment,
    policies: Vec<Option<Policy>>,
) -> Result<CompiledPolicySet, Unknown> {
    let mut set = PolicySet::new();
    for (number, policy) in policies.into_iter().enumerate() {
        let policy = policy.ok_or_else(unsaid)?;
        let policy = policy.new_id(PolicyId::new(number.to_string()));
        set.add(policy).map_err(|_| unsaid())?;
    }
    let schema = ground.schema.schema();
    let symbols = ground
        .schema
        .sym_env(&at.request)
        .map_err(|error| unknown(&error))?;
    CompiledPolicySet::compile_with_custom_symenv(&set, &at.request, schema, symbols)
        .map_err(|error| unknown(&error))
}

fn unsaid() -> Unknown {
    Unknown::Unsupported("a policy has no form in JSON".to_owned())
}
