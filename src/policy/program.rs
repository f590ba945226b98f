//! A policy's scope and conditions, compiled once from Cedar's JSON form of it.
//!
//! What has no form here (tags, the functions of addresses, whatever a later Cedar adds) is not compiled, and Cedar itself evaluates
//! the policy.

use std::sync::Arc;

use cedar_policy::{
    Expression, PrincipalConstraint, ResourceConstraint, TemplatePrincipalConstraint,
    TemplateResourceConstraint,
};
use serde_json::Value as Json;

use super::value::{Type, Uid, Value};

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr {
    Constant(Value),
    Principal,
    Action,
    Resource,
    Context,
    Not(Box<Expr>),
    Negate(Box<Expr>),
    And(Box<[Expr; 2]>),
    Or(Box<[Expr; 2]>),
    If(Box<[Expr; 3]>),
    Binary(Operator, Box<[Expr; 2]>),
    IsEmpty(Box<Expr>),
    Attribute(Box<Expr>, Arc<str>),
    /// Whether there is an attribute under the first name, under the next one of what that is, and so on.
    Has(Box<Expr>, Box<[Arc<str>]>),
    Like(Box<Expr>, Box<[Glob]>),
    Is(Box<Expr>, Type),
    IsIn(Box<[Expr; 2]>, Type),
    Set(Box<[Expr]>),
    Record(Box<[(Arc<str>, Expr)]>),
    Method(Method, Box<[Expr]>),
}

/// An operator of two operands, both of which are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Add,
    Subtract,
    Multiply,
    In,
    Contains,
    ContainsAll,
    ContainsAny,
}

/// A function of Cedar's extension types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    DecimalLess,
    DecimalLessOrEqual,
    DecimalMore,
    DecimalMoreOrEqual,
    Offset,
    DurationSince,
    ToDate,
    ToTime,
    /// A duration in units of so many milliseconds.
    In(i64),
}

/// A piece of a `like` pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glob {
    Any,
    One(char),
}

/// What a scope says about the principal or the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    Any,
    Equals(Uid),
    In(Uid),
    Is(Type),
    IsIn(Type, Uid),
    /// What the link says.
    EqualsLinked,
    InLinked,
    IsInLinked(Type),
}

impl Scope {
    /// The entity without which it does not match, where there is one.
    pub(crate) fn anchor(&self) -> Option<&Uid> {
        match self {
            Self::Equals(uid) | Self::In(uid) | Self::IsIn(_, uid) => Some(uid),
            _ => None,
        }
    }
}

/// Cedar has the same constraints under two names each.
macro_rules! scope_of {
    ($policy:ident, $template:ident) => {
        impl From<$policy> for Scope {
            fn from(constraint: $policy) -> Self {
                let named = |kind: cedar_policy::EntityTypeName| Type::named(&kind.to_string());
                match constraint {
                    $policy::Any => Self::Any,
                    $policy::Eq(uid) => Self::Equals((&uid).into()),
                    $policy::In(uid) => Self::In((&uid).into()),
                    $policy::Is(kind) => Self::Is(named(kind)),
                    $policy::IsIn(kind, uid) => Self::IsIn(named(kind), (&uid).into()),
                }
            }
        }

        impl From<$template> for Scope {
            fn from(constraint: $template) -> Self {
                let named = |kind: cedar_policy::EntityTypeName| Type::named(&kind.to_string());
                match constraint {
                    $template::Any => Self::Any,
                    $template::Eq(Some(uid)) => Self::Equals((&uid).into()),
                    $template::Eq(None) => Self::EqualsLinked,
                    $template::In(Some(uid)) => Self::In((&uid).into()),
                    $template::In(None) => Self::InLinked,
                    $template::Is(kind) => Self::Is(named(kind)),
                    $template::IsIn(kind, Some(uid)) => Self::IsIn(named(kind), (&uid).into()),
                    $template::IsIn(kind, None) => Self::IsInLinked(named(kind)),
                }
            }
        }
    };
}

scope_of!(PrincipalConstraint, TemplatePrincipalConstraint);
scope_of!(ResourceConstraint, TemplateResourceConstraint);

/// How deep its conditions may nest. Each level is a frame of the stack when it is evaluated.
const DEPTH_MOST: usize = 250;

/// How often one `is ... in` may stand in the subject of another: Cedar evaluates that twice.
const SUBJECTS_MOST: usize = 4;

/// What a policy takes on the stack while it is read, at its longest and with nothing optimized.
pub(super) const STACK: usize = 256 * 1024 * 1024;

/// A policy in Cedar's JSON form.
///
/// # Errors
/// It nests deeper than a policy may: how is said.
pub(crate) fn read(json: impl FnOnce() -> Option<Json>) -> Result<Option<Json>, String> {
    stacker::grow(STACK, || {
        let json = json();
        let conditions = json.as_ref().and_then(|json| json.get("conditions"));
        let (depth, subjects) = conditions.map_or((0, 0), depth);
        // A level of the JSON form is an operator and its operand.
        if depth / 2 > DEPTH_MOST {
            return Err(format!(
                "its conditions nest deeper than {DEPTH_MOST} levels"
            ));
        }
        if subjects > SUBJECTS_MOST {
            return Err(
                "one `is ... in` stands in the subject of another, again and again".to_owned(),
            );
        }
        Ok(json)
    })
}

/// How deep a value nests, and how often an `is ... in` stands in the subject of another.
fn depth(json: &Json) -> (usize, usize) {
    let below: Vec<(usize, usize)> = match json {
        Json::Array(items) => items.iter().map(depth).collect(),
        Json::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let (deep, subjects) = depth(value);
                let within = value.get("in").is_some_and(|place| !place.is_null());
                let subject = name == "is" && within;
                (deep, subjects.saturating_add(usize::from(subject)))
            })
            .collect(),
        _ => return (0, 0),
    };
    let deepest = below.iter().map(|(deep, _)| *deep).max().unwrap_or(0);
    let subjects = below.iter().map(|(_, subjects)| *subjects).max();
    (deepest.saturating_add(1), subjects.unwrap_or(0))
}

/// The conditions of a policy in Cedar's JSON form, each of which must hold; nothing where one has no form here.
pub(crate) fn conditions(policy: &Json) -> Option<Box<[Expr]>> {
    let conditions = policy.get("conditions")?.as_array()?;
    conditions
        .iter()
        .map(|condition| {
            let body = expression(condition.get("body")?)?;
            match condition.get("kind")?.as_str()? {
                "when" => Some(body),
                "unless" => Some(Expr::Not(Box::new(body))),
                _ => None,
            }
        })
        .collect()
}

/// An expression of Cedar's JSON form; nothing where it has no form here.
pub(super) fn expression(json: &Json) -> Option<Expr> {
    let node = json.as_object()?;
    let (operator, body) = node.iter().next().filter(|_| node.len() == 1)?;
    let part = |name: &str| expression(body.get(name)?);
    let boxed = |name: &str| part(name).map(Box::new);
    let both = || Some(Box::new([part("left")?, part("right")?]));
    let binary = |operator| Some(Expr::Binary(operator, both()?));
    match operator.as_str() {
        "Value" => Some(Expr::Constant(literal(body)?)),
        "Var" => match body.as_str()? {
            "principal" => Some(Expr::Principal),
            "action" => Some(Expr::Action),
            "resource" => Some(Expr::Resource),
            "context" => Some(Expr::Context),
            _ => None,
        },
        "!" => Some(Expr::Not(boxed("arg")?)),
        "neg" => Some(Expr::Negate(boxed("arg")?)),
        "isEmpty" => Some(Expr::IsEmpty(boxed("arg")?)),
        "&&" => Some(Expr::And(both()?)),
        "||" => Some(Expr::Or(both()?)),
        "==" => binary(Operator::Equal),
        "!=" => binary(Operator::NotEqual),
        "<" => binary(Operator::Less),
        "<=" => binary(Operator::LessOrEqual),
        ">" => binary(Operator::More),
        ">=" => binary(Operator::MoreOrEqual),
        "+" => binary(Operator::Add),
        "-" => binary(Operator::Subtract),
        "*" => binary(Operator::Multiply),
        "in" => binary(Operator::In),
        "contains" => binary(Operator::Contains),
        "containsAll" => binary(Operator::ContainsAll),
        "containsAny" => binary(Operator::ContainsAny),
        "if-then-else" => Some(Expr::If(Box::new([
            part("if")?,
            part("then")?,
            part("else")?,
        ]))),
        "." => Some(Expr::Attribute(
            boxed("left")?,
            body.get("attr")?.as_str()?.into(),
        )),
        "has" => Some(Expr::Has(boxed("left")?, names(body.get("attr")?)?)),
        "like" => {
            let pattern = body.get("pattern")?.as_array()?;
            let pattern: Option<Vec<Vec<Glob>>> = pattern.iter().map(globs).collect();
            Some(Expr::Like(
                boxed("left")?,
                pattern?.into_iter().flatten().collect(),
            ))
        }
        "is" => {
            let kind = Type::named(body.get("entity_type")?.as_str()?);
            match body.get("in") {
                None | Some(Json::Null) => Some(Expr::Is(boxed("left")?, kind)),
                Some(place) => {
                    let both = Box::new([part("left")?, expression(place)?]);
                    Some(Expr::IsIn(both, kind))
                }
            }
        }
        "Set" => {
            let values = body.as_array()?.iter().map(expression);
            Some(Expr::Set(values.collect::<Option<_>>()?))
        }
        "Record" => {
            let members = body.as_object()?.iter();
            let members =
                members.map(|(name, value)| Some((name.as_str().into(), expression(value)?)));
            Some(Expr::Record(members.collect::<Option<_>>()?))
        }
        function => call(function, body.as_array()?),
    }
}

fn literal(json: &Json) -> Option<Value> {
    match json {
        Json::Bool(value) => Some(Value::Bool(*value)),
        Json::Number(number) => number.as_i64().map(Value::Long),
        Json::String(text) => Some(Value::text(text)),
        Json::Object(_) => {
            let entity = json.get("__entity")?;
            let kind = Type::named(entity.get("type")?.as_str()?);
            Some(Value::Entity(Uid::new(kind, entity.get("id")?.as_str()?)))
        }
        Json::Null | Json::Array(_) => None,
    }
}

/// `one`, or `one.and.another`.
fn names(names: &Json) -> Option<Box<[Arc<str>]>> {
    match names {
        Json::String(name) => Some(Box::new([name.as_str().into()])),
        Json::Array(names) if !names.is_empty() => {
            let names = names.iter().map(|name| Some(name.as_str()?.into()));
            names.collect()
        }
        _ => None,
    }
}

fn globs(piece: &Json) -> Option<Vec<Glob>> {
    match piece {
        Json::String(any) if any == "Wildcard" => Some(vec![Glob::Any]),
        Json::Object(literal) => {
            let text = literal.get("Literal")?.as_str()?;
            Some(text.chars().map(Glob::One).collect())
        }
        _ => None,
    }
}

fn call(function: &str, arguments: &[Json]) -> Option<Expr> {
    if let ([argument], "decimal" | "datetime" | "duration" | "ip") = (arguments, function) {
        let text = argument.get("Value")?.as_str()?.to_owned();
        let made = match function {
            "decimal" => Expression::new_decimal(text),
            "datetime" => Expression::new_datetime(text),
            "duration" => Expression::new_duration(text),
            _ => Expression::new_ip(text),
        };
        // A text that is none is an error of Cedar's at evaluation, which it tells better.
        return Value::of_constant(&made).map(Expr::Constant);
    }
    let method = match (function, arguments.len()) {
        ("lessThan", 2) => Method::DecimalLess,
        ("lessThanOrEqual", 2) => Method::DecimalLessOrEqual,
        ("greaterThan", 2) => Method::DecimalMore,
        ("greaterThanOrEqual", 2) => Method::DecimalMoreOrEqual,
        ("offset", 2) => Method::Offset,
        ("durationSince", 2) => Method::DurationSince,
        ("toDate", 1) => Method::ToDate,
        ("toTime", 1) => Method::ToTime,
        ("toMilliseconds", 1) => Method::In(1),
        ("toSeconds", 1) => Method::In(1_000),
        ("toMinutes", 1) => Method::In(60_000),
        ("toHours", 1) => Method::In(3_600_000),
        ("toDays", 1) => Method::In(86_400_000),
        _ => return None,
    };
    let arguments = arguments.iter().map(expression).collect::<Option<_>>()?;
    Some(Expr::Method(method, arguments))
}
