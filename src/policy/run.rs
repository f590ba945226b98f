//! A compiled policy on one question: whether it is satisfied. It says what Cedar would say, or that there is an error; which one, Cedar
//! is asked then.

use std::sync::Arc;

use super::program::{Expr, Glob, Method, Operator, Scope};
use super::request::Question;
use super::value::{Uid, Value, member};
use super::view::{Attribute, View};
use super::vocabulary::Vocabulary;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// The policy could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault;

type Found = Result<Value, Fault>;

/// One question on one moment's entities.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) view: &'a dyn View,
    pub(crate) question: &'a Question,
}

impl Run<'_> {
    /// Whether all conditions hold.
    pub(crate) fn holds(&self, conditions: &[Expr]) -> Result<bool, Fault> {
        for condition in conditions {
            if !self.truth(condition)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a scope fits an entity; `linked` is what the link says.
    pub(crate) fn fits(&self, scope: &Scope, uid: &Uid, linked: Option<&Uid>) -> bool {
        match scope {
            Scope::Any => true,
            Scope::Equals(other) => uid == other,
            Scope::In(other) => self.is_in(uid, other),
            Scope::Is(kind) => uid.is(kind),
            Scope::IsIn(kind, other) => uid.is(kind) && self.is_in(uid, other),
            Scope::EqualsLinked => linked == Some(uid),
            Scope::InLinked => linked.is_some_and(|other| self.is_in(uid, other)),
            Scope::IsInLinked(kind) => {
                uid.is(kind) && linked.is_some_and(|other| self.is_in(uid, other))
            }
        }
    }

    /// Whether an entity is in another, or is it.
    pub(crate) fn is_in(&self, uid: &Uid, other: &Uid) -> bool {
        if uid == other {
            return true;
        }
        match self.vocabulary.above_action(uid) {
            Some(above) => above.contains(other),
            None => self.view.above(uid, &mut |above| above == other),
        }
    }

    fn truth(&self, expr: &Expr) -> Result<bool, Fault> {
        match self.value(expr)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(Fault),
        }
    }

    /// What an expression comes to.
    pub(crate) fn value(&self, expr: &Expr) -> Found {
        Ok(match expr {
            Expr::Constant(value) => value.clone(),
            Expr::Principal => Value::Entity(self.question.principal().clone()),
            Expr::Action => Value::Entity(self.question.action().uid().clone()),
            Expr::Resource => Value::Entity(self.question.resource().clone()),
            Expr::Context => self.question.context().clone(),
            Expr::Not(arg) => Value::Bool(!self.truth(arg)?),
            Expr::Negate(arg) => match self.value(arg)? {
                Value::Long(number) => Value::Long(number.checked_neg().ok_or(Fault)?),
                _ => return Err(Fault),
            },
            Expr::And(both) => {
                let [left, right] = both.as_ref();
                Value::Bool(self.truth(left)? && self.truth(right)?)
            }
            Expr::Or(both) => {
                let [left, right] = both.as_ref();
                Value::Bool(self.truth(left)? || self.truth(right)?)
            }
            Expr::If(all) => {
                let [condition, then, otherwise] = all.as_ref();
                let chosen = if self.truth(condition)? {
                    then
                } else {
                    otherwise
                };
                self.value(chosen)?
            }
            Expr::Binary(operator, both) => {
                let [left, right] = both.as_ref();
                self.binary(*operator, &self.value(left)?, &self.value(right)?)?
            }
            Expr::IsEmpty(arg) => Value::Bool(set(&self.value(arg)?)?.is_empty()),
            Expr::Attribute(of, name) => match self.attribute(&self.value(of)?, name)? {
                Attribute::Is(value) => value,
                Attribute::Absent | Attribute::NoEntity => return Err(Fault),
            },
            Expr::Has(of, names) => {
                let mut at = self.value(of)?;
                for name in names {
                    match self.attribute(&at, name)? {
                        Attribute::Is(value) => at = value,
                        Attribute::Absent | Attribute::NoEntity => return Ok(Value::Bool(false)),
                    }
                }
                Value::Bool(true)
            }
            Expr::Like(of, pattern) => match self.value(of)? {
                Value::Text(text) => Value::Bool(is_like(&text, pattern)),
                _ => return Err(Fault),
            },
            Expr::Is(of, kind) => Value::Bool(entity(&self.value(of)?)?.is(kind)),
            Expr::IsIn(both, kind) => {
                let [left, right] = both.as_ref();
                let left = self.value(left)?;
                let uid = entity(&left)?;
                Value::Bool(uid.is(kind) && self.within(uid, &self.value(right)?)?)
            }
            Expr::Set(elements) => {
                let values = elements.iter().map(|element| self.value(element));
                Value::set(values.collect::<Result<_, _>>()?)
            }
            Expr::Record(members) => {
                let members = members
                    .iter()
                    .map(|(name, value)| Ok((Arc::clone(name), self.value(value)?)));
                Value::record(members.collect::<Result<_, _>>()?)
            }
            Expr::Method(method, arguments) => {
                let arguments = arguments.iter().map(|argument| self.value(argument));
                call(*method, &arguments.collect::<Result<Vec<_>, _>>()?)?
            }
        })
    }

    fn attribute(&self, of: &Value, name: &str) -> Result<Attribute, Fault> {
        match of {
            Value::Record(members) => Ok(member(members, name)
                .cloned()
                .map_or(Attribute::Absent, Attribute::Is)),
            // An action has none.
            Value::Entity(uid) if self.vocabulary.above_action(uid).is_some() => {
                Ok(Attribute::Absent)
            }
            Value::Entity(uid) => Ok(self.view.attribute(uid, name)),
            _ => Err(Fault),
        }
    }

    fn binary(&self, operator: Operator, left: &Value, right: &Value) -> Found {
        let compared = || match (left, right) {
            (Value::Long(left), Value::Long(right))
            | (Value::Datetime(left), Value::Datetime(right))
            | (Value::Duration(left), Value::Duration(right)) => Ok(left.cmp(right)),
            _ => Err(Fault),
        };
        let computed = |compute: fn(i64, i64) -> Option<i64>| match (left, right) {
            (Value::Long(left), Value::Long(right)) => {
                compute(*left, *right).map(Value::Long).ok_or(Fault)
            }
            _ => Err(Fault),
        };
        let truth = match operator {
            Operator::Equal => left == right,
            Operator::NotEqual => left != right,
            Operator::Less => compared()?.is_lt(),
            Operator::LessOrEqual => compared()?.is_le(),
            Operator::More => compared()?.is_gt(),
            Operator::MoreOrEqual => compared()?.is_ge(),
            Operator::Add => return computed(i64::checked_add),
            Operator::Subtract => return computed(i64::checked_sub),
            Operator::Multiply => return computed(i64::checked_mul),
            Operator::In => self.within(entity(left)?, right)?,
            Operator::Contains => set(left)?.binary_search(right).is_ok(),
            Operator::ContainsAll => {
                let (left, right) = (set(left)?, set(right)?);
                right.iter().all(|value| left.binary_search(value).is_ok())
            }
            Operator::ContainsAny => {
                let (left, right) = (set(left)?, set(right)?);
                right.iter().any(|value| left.binary_search(value).is_ok())
            }
        };
        Ok(Value::Bool(truth))
    }

    fn within(&self, uid: &Uid, place: &Value) -> Result<bool, Fault> {
        match place {
            Value::Entity(other) => Ok(self.is_in(uid, other)),
            Value::Set(places) => {
                // One that is no entity is an error, wherever it stands.
                let places = places.iter().map(entity).collect::<Result<Vec<_>, _>>()?;
                Ok(places.into_iter().any(|other| self.is_in(uid, other)))
            }
            _ => Err(Fault),
        }
    }
}

const fn entity(value: &Value) -> Result<&Uid, Fault> {
    match value {
        Value::Entity(uid) => Ok(uid),
        _ => Err(Fault),
    }
}

fn set(value: &Value) -> Result<&[Value], Fault> {
    match value {
        Value::Set(values) => Ok(values),
        _ => Err(Fault),
    }
}

fn call(method: Method, arguments: &[Value]) -> Found {
    let found = match (method, arguments) {
        (_, [Value::Decimal(left), Value::Decimal(right)]) => Some(Value::Bool(match method {
            Method::DecimalLess => left < right,
            Method::DecimalLessOrEqual => left <= right,
            Method::DecimalMore => left > right,
            Method::DecimalMoreOrEqual => left >= right,
            _ => return Err(Fault),
        })),
        (Method::Offset, [Value::Datetime(at), Value::Duration(by)]) => {
            at.checked_add(*by).map(Value::Datetime)
        }
        (Method::DurationSince, [Value::Datetime(at), Value::Datetime(since)]) => {
            at.checked_sub(*since).map(Value::Duration)
        }
        (Method::ToDate, [Value::Datetime(at)]) => {
            at.checked_sub(at.rem_euclid(DAY)).map(Value::Datetime)
        }
        (Method::ToTime, [Value::Datetime(at)]) => Some(Value::Duration(at.rem_euclid(DAY))),
        (Method::In(unit), [Value::Duration(length)]) => length.checked_div(unit).map(Value::Long),
        _ => None,
    };
    found.ok_or(Fault)
}

/// Whether a text is as a pattern says; the last `*` alone is ever tried again, which is enough.
fn is_like(text: &str, pattern: &[Glob]) -> bool {
    let (mut rest, mut at) = (text.chars(), pattern);
    let mut again: Option<(std::str::Chars<'_>, &[Glob])> = None;
    loop {
        match at.split_first() {
            Some((Glob::Any, next)) => {
                again = Some((rest.clone(), next));
                at = next;
                continue;
            }
            Some((Glob::One(wanted), next)) => {
                let mut ahead = rest.clone();
                if ahead.next() == Some(*wanted) {
                    rest = ahead;
                    at = next;
                    continue;
                }
            }
            None => {
                if rest.as_str().is_empty() {
                    return true;
                }
            }
        }
        // One more character is the star's.
        let Some((from, next)) = &mut again else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        rest = from.clone();
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(text: &str, pattern: &str) -> bool {
        let pattern: Vec<Glob> = pattern
            .chars()
            .map(|one| {
                if one == '*' {
                    Glob::Any
                } else {
                    Glob::One(one)
                }
            })
            .collect();
        is_like(text, &pattern)
    }

    #[test]
    fn a_star_is_any_text() {
        for (text, pattern) in [
            ("", ""),
            ("", "*"),
            ("abc", "abc"),
            ("abc", "*"),
            ("abc", "a*c"),
            ("abcbc", "a*bc"),
            ("aXbXc", "a*b*c"),
            ("ää", "*ä"),
            ("abab", "*ab"),
        ] {
            assert!(like(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [
            ("a", ""),
            ("", "a"),
            ("abc", "ab"),
            ("abc", "*b"),
            ("ab", "a*b*c"),
            ("b", "a*"),
        ] {
            assert!(!like(text, pattern), "{text} {pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let (text, pattern) = ("a".repeat(2_000), "*a".repeat(200) + "b");
        assert!(!like(&text, &pattern));
    }
}
