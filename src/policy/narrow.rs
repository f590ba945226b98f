//! What a principal could be allowed at most: for each permit that may apply, a condition on the resource that must hold for it. Whoever
//! looks for what may be seen looks at those resources alone, and asks about each of them; what is left out could not be allowed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compile::Compiled;
use super::index::Rule;
use super::program::{Expr, Operator, Scope};
use super::request::Question;
use super::run::Run;
use super::value::{Uid, Value};
use super::view::View;

/// A resource whose attribute, or that of the entity or record that it is, and so on, is this entity, or a set with it. Without a path: the
/// resource itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clause {
    /// Names of attributes, from the resource on.
    pub path: Vec<Arc<str>>,
    /// What must be there at its end.
    pub to: Uid,
}

/// Resources, or more of them than there are.
enum Among {
    Nothing,
    /// Any of them may be.
    Anything,
    /// Those of which one of the clauses holds.
    These(BTreeSet<Clause>),
}

impl Among {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => Self::Nothing,
            (Self::Anything, other) => other,
            (these, Self::Anything) => these,
            // Either is enough.
            (Self::These(one), Self::These(other)) if other.len() < one.len() => Self::These(other),
            (these, Self::These(_)) => these,
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Anything, _) | (_, Self::Anything) => Self::Anything,
            (Self::Nothing, other) | (other, Self::Nothing) => other,
            (Self::These(mut one), Self::These(other)) => {
                one.extend(other);
                Self::These(one)
            }
        }
    }
}

/// The clauses of which one holds for every resource of the question's type that a static policy could permit; nothing where there is a
/// permit that could be for any. The question's own resource does not matter. Links are not looked at.
#[must_use]
pub fn narrow(
    compiled: &Compiled,
    view: &dyn View,
    question: &Question,
) -> Option<BTreeSet<Clause>> {
    let run = Run {
        vocabulary: compiled.vocabulary(),
        view,
        question,
    };
    let mut all = Among::Nothing;
    compiled.each_permit(&run, &mut |rule| {
        let before = std::mem::replace(&mut all, Among::Nothing);
        all = before.or(by(&run, rule));
    });
    match all {
        Among::Anything => None,
        Among::Nothing => Some(BTreeSet::new()),
        Among::These(clauses) => Some(clauses),
    }
}

fn by(run: &Run<'_>, rule: &Rule) -> Among {
    let body = &rule.body;
    if !run.fits(&body.principal, run.question.principal(), None) {
        return Among::Nothing;
    }
    let kind = run.question.resource().kind();
    let scope = match &body.resource {
        Scope::Is(wanted) | Scope::IsIn(wanted, _) if *wanted != kind => Among::Nothing,
        Scope::Equals(uid) => Among::These(BTreeSet::from([Clause {
            path: Vec::new(),
            to: uid.clone(),
        }])),
        _ => Among::Anything,
    };
    let Some(conditions) = body.conditions() else {
        return scope;
    };
    let conditions = conditions.iter();
    conditions.fold(scope, |all, condition| all.and(among(run, condition)))
}

/// The resources for which a condition may be true.
fn among(run: &Run<'_>, expr: &Expr) -> Among {
    if !is_about_resource(expr) {
        // A permit that errs permits nothing.
        return match run.value(expr) {
            Ok(Value::Bool(true)) => Among::Anything,
            _ => Among::Nothing,
        };
    }
    match expr {
        Expr::And(both) => {
            let [left, right] = both.as_ref();
            among(run, left).and(among(run, right))
        }
        Expr::Or(both) => {
            let [left, right] = both.as_ref();
            among(run, left).or(among(run, right))
        }
        Expr::If(all) => {
            let [condition, then, otherwise] = all.as_ref();
            if is_about_resource(condition) {
                return among(run, then).or(among(run, otherwise));
            }
            match run.value(condition) {
                Ok(Value::Bool(true)) => among(run, then),
                Ok(Value::Bool(false)) => among(run, otherwise),
                _ => Among::Nothing,
            }
        }
        Expr::Is(of, kind) if **of == Expr::Resource => {
            if run.question.resource().is(kind) {
                Among::Anything
            } else {
                Among::Nothing
            }
        }
        Expr::Binary(Operator::Equal, both) => {
            let [left, right] = both.as_ref();
            let (path, other) = match (path(left), path(right)) {
                (Some(path), None) => (path, right),
                (None, Some(path)) => (path, left),
                _ => return Among::Anything,
            };
            named(run, path, other, |_, uid| vec![uid])
        }
        Expr::Binary(Operator::In, both) => {
            let [left, right] = both.as_ref();
            let Some(path) = path(right) else {
                return Among::Anything;
            };
            named(run, path, left, |run, uid| {
                let mut all = vec![uid.clone()];
                run.view.above(&uid, &mut |above| {
                    all.push(above.clone());
                    false
                });
                all
            })
        }
        _ => Among::Anything,
    }
}

fn named(
    run: &Run<'_>,
    path: Vec<Arc<str>>,
    other: &Expr,
    all: impl Fn(&Run<'_>, Uid) -> Vec<Uid>,
) -> Among {
    if is_about_resource(other) {
        return Among::Anything;
    }
    match run.value(other) {
        Ok(Value::Entity(uid)) => {
            let clauses = all(run, uid).into_iter().map(|to| Clause {
                path: path.clone(),
                to,
            });
            Among::These(clauses.collect())
        }
        Ok(_) => Among::Anything,
        Err(_) => Among::Nothing,
    }
}

/// `resource`, `resource.one`, `resource.one.other`.
fn path(expr: &Expr) -> Option<Vec<Arc<str>>> {
    match expr {
        Expr::Resource => Some(Vec::new()),
        Expr::Attribute(of, name) => {
            let mut path = path(of)?;
            path.push(Arc::clone(name));
            Some(path)
        }
        _ => None,
    }
}

fn is_about_resource(expr: &Expr) -> bool {
    match expr {
        Expr::Resource => true,
        Expr::Constant(_) | Expr::Principal | Expr::Action | Expr::Context => false,
        Expr::Not(of)
        | Expr::Negate(of)
        | Expr::IsEmpty(of)
        | Expr::Attribute(of, _)
        | Expr::Has(of, _)
        | Expr::Like(of, _)
        | Expr::Is(of, _) => is_about_resource(of),
        Expr::And(both) | Expr::Or(both) | Expr::Binary(_, both) | Expr::IsIn(both, _) => {
            both.iter().any(is_about_resource)
        }
        Expr::If(all) => all.iter().any(is_about_resource),
        Expr::Set(all) | Expr::Method(_, all) => all.iter().any(is_about_resource),
        Expr::Record(members) => members.iter().any(|(_, value)| is_about_resource(value)),
    }
}
