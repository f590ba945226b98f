//! Cedar's own authorizer, asked about one policy: where the compiled form errs, and where there is none.

use std::cell::OnceCell;

use cedar_policy::{
    AuthorizationError, Authorizer, Entities, Expression, Policy, PolicySet, Request,
    eval_expression,
};

use super::index::{Body, Rule};
use super::link::CompiledLink;
use super::run::{Fault, Run};
use super::value::{Uid, Value};

/// A question and its entities as Cedar takes them, made when they are first asked for.
pub(super) struct InCedar<'a> {
    run: Run<'a>,
    made: OnceCell<Result<(Request, Entities), String>>,
}

impl<'a> InCedar<'a> {
    pub(super) const fn of(run: Run<'a>) -> Self {
        Self {
            run,
            made: OnceCell::new(),
        }
    }

    /// Whether a policy is satisfied.
    ///
    /// # Errors
    /// It could not be evaluated; why, in Cedar's words.
    pub(super) fn evaluate(&self, rule: &Rule) -> Result<bool, String> {
        let mut alone = PolicySet::new();
        let added = alone.add(rule.policy.clone());
        added.map_err(|error| error.to_string())?;
        self.decide(&alone, &rule.body)
    }

    /// The same for a link.
    ///
    /// # Errors
    /// The same.
    pub(super) fn evaluate_link(&self, link: &CompiledLink) -> Result<bool, String> {
        let set = link.in_cedar().ok_or_else(unsaid)?;
        self.decide(&set, &link.template.body)
    }

    /// Whether one condition holds, as a policy of its own; `compiled` where the compiled form of it erred.
    ///
    /// # Errors
    /// The same.
    pub(super) fn holds(&self, condition: Policy, compiled: bool) -> Result<bool, String> {
        let mut alone = PolicySet::new();
        let added = alone.add(condition);
        added.map_err(|error| error.to_string())?;
        self.ask(&alone, compiled)
    }

    /// What an expression comes to, or that it errs; nothing where it cannot be asked, or told.
    pub(super) fn value(&self, expression: &Expression) -> Option<Result<Value, Fault>> {
        let made = self.made.get_or_init(|| self.make());
        let (request, entities) = made.as_ref().ok()?;
        match eval_expression(request, entities, expression) {
            Ok(value) => Value::from_cedar(&value).map(Ok),
            Err(_) => Some(Err(Fault)),
        }
    }

    fn decide(&self, alone: &PolicySet, body: &Body) -> Result<bool, String> {
        self.ask(alone, body.is_compiled())
    }

    fn ask(&self, alone: &PolicySet, compiled: bool) -> Result<bool, String> {
        let made = self.made.get_or_init(|| self.make());
        let (request, entities) = made.as_ref().map_err(Clone::clone)?;
        let response = Authorizer::new().is_authorized(request, alone, entities);
        if let Some(AuthorizationError::PolicyEvaluationError(error)) =
            response.diagnostics().errors().next()
        {
            return Err(error.to_string());
        }
        if compiled {
            // It was asked because the compiled form erred. Two that do not agree decide nothing.
            return Err("it errs as it was compiled, and not in Cedar".to_owned());
        }
        Ok(response.diagnostics().reason().next().is_some())
    }

    fn make(&self) -> Result<(Request, Entities), String> {
        let question = self.run.question;
        let request = question.to_cedar().ok_or_else(unsaid)?;
        let mut starts: Vec<Uid> = vec![question.principal().clone(), question.resource().clone()];
        if let Value::Record(members) = question.context() {
            for (_, value) in members.iter() {
                value.each_entity(&mut |uid| starts.push(uid.clone()));
            }
        }
        let actions = self.run.vocabulary.action_entities().iter().cloned();
        let slice = self.run.view.slice(&starts).ok_or_else(unsaid)?;
        let slice = slice.into_iter().chain(actions);
        let entities = Entities::from_entities(slice, None).map_err(|error| error.to_string())?;
        Ok((request, entities))
    }
}

fn unsaid() -> String {
    "it cannot be said in Cedar's words".to_owned()
}
