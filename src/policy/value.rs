//! Values as policies compute with them: small, cheap to copy, and equal where Cedar says so.

use core::net::IpAddr;
use std::fmt;
use std::sync::{Arc, LazyLock};

use cedar_policy::{
    Context, Entities, EntityId, EntityTypeName, EntityUid, EvalResult, Expression, Request,
    RestrictedExpression, eval_expression,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::reference::{Kind, Ref};

/// A type of entities.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// A built-in one that we give identifiers to.
    Ours(Kind),
    /// Any other, by its whole name.
    Other(Arc<str>),
}

impl Type {
    /// The type of this whole name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let ours = name.strip_prefix("Cedarkeep::").and_then(Kind::named);
        ours.map_or_else(|| Self::Other(name.into()), Self::Ours)
    }

    /// Its whole name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Ours(kind) => kind.type_name(),
            Self::Other(name) => name,
        }
    }
}

/// The name of an entity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Uid {
    /// Something of a built-in type, by the identifier that we gave it.
    Ours(Ref),
    /// Anything else: of another type, or with an id that we never gave.
    Other(Arc<(Type, Box<str>)>),
}

impl Uid {
    /// The entity of this type and id.
    #[must_use]
    pub fn new(kind: Type, id: &str) -> Self {
        match kind {
            Type::Ours(ours) => match Ref::of(ours, id) {
                Some(reference) => Self::Ours(reference),
                None => Self::Other(Arc::new((kind, id.into()))),
            },
            Type::Other(_) => Self::Other(Arc::new((kind, id.into()))),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Self::Ours(reference) => Type::Ours(reference.kind),
            Self::Other(other) => other.0.clone(),
        }
    }

    /// Whether it is of this type.
    #[must_use]
    pub fn is(&self, kind: &Type) -> bool {
        match (self, kind) {
            (Self::Ours(reference), Type::Ours(kind)) => reference.kind == *kind,
            (Self::Ours(_), Type::Other(_)) => false,
            (Self::Other(other), kind) => other.0 == *kind,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Ours(reference) => reference.to_string(),
            Self::Other(other) => other.1.to_string(),
        }
    }

    /// Its id, where it is none that we gave.
    #[must_use]
    pub fn other_id(&self) -> Option<&str> {
        match self {
            Self::Ours(_) => None,
            Self::Other(other) => Some(&other.1),
        }
    }

    /// What we gave an identifier to.
    #[must_use]
    pub fn reference(&self) -> Option<Ref> {
        match self {
            Self::Ours(reference) => Some(*reference),
            Self::Other(_) => None,
        }
    }

    /// The same in Cedar's own form; nothing where its type's name is none.
    #[must_use]
    pub fn to_cedar(&self) -> Option<EntityUid> {
        let kind: EntityTypeName = match self {
            Self::Ours(reference) => reference.kind.type_name().parse().ok()?,
            Self::Other(other) => other.0.name().parse().ok()?,
        };
        Some(EntityUid::from_type_name_and_id(
            kind,
            EntityId::new(self.id()),
        ))
    }
}

impl From<&EntityUid> for Uid {
    fn from(uid: &EntityUid) -> Self {
        Self::new(
            Type::named(&uid.type_name().to_string()),
            uid.id().unescaped(),
        )
    }
}

impl From<Ref> for Uid {
    fn from(reference: Ref) -> Self {
        Self::Ours(reference)
    }
}

/// As the whole name of its type, and its id.
impl Serialize for Uid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.kind().name(), self.id()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (kind, id) = <(String, String)>::deserialize(deserializer)?;
        Ok(Self::new(Type::named(&kind), &id))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(reference) => write!(f, "{}::\"{reference}\"", reference.kind.type_name()),
            Self::Other(other) => write!(f, "{}::\"{}\"", other.0.name(), other.1.escape_debug()),
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Named values, in the order of their names.
pub(super) type Members = [(Arc<str>, Value)];

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// A string.
    Text(Arc<str>),
    /// An entity.
    Entity(Uid),
    /// INVARIANT: sorted, none twice.
    Set(Arc<[Value]>),
    /// INVARIANT: sorted by name, none twice.
    Record(Arc<Members>),
    /// Milliseconds since 1970.
    Datetime(i64),
    /// Milliseconds.
    Duration(i64),
    /// In ten-thousandths.
    Decimal(i64),
    /// An address, and how many of its bits count.
    Ip(IpAddr, u8),
}

/// A member of a record.
pub(super) fn member<'a>(members: &'a Members, name: &str) -> Option<&'a Value> {
    let at = members.binary_search_by(|(known, _)| (**known).cmp(name));
    members.get(at.ok()?).map(|(_, value)| value)
}

impl Value {
    /// A set of these.
    #[must_use]
    pub fn set(mut values: Vec<Self>) -> Self {
        values.sort_unstable();
        values.dedup();
        Self::Set(values.into())
    }

    /// A record of these; of a name that is there twice, either counts.
    #[must_use]
    pub fn record(mut members: Vec<(Arc<str>, Self)>) -> Self {
        members.sort_unstable();
        members.dedup_by(|one, other| one.0 == other.0);
        Self::Record(members.into())
    }

    /// How many sets and records lie within one another in it.
    pub(super) fn depth(&self) -> usize {
        let deepest = match self {
            Self::Set(values) => values.iter().map(Self::depth).max(),
            Self::Record(members) => members.iter().map(|(_, value)| value.depth()).max(),
            _ => return 0,
        };
        1 + deepest.unwrap_or(0)
    }

    /// A string.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// What Cedar has computed; nothing where we cannot represent it.
    #[must_use]
    pub fn from_cedar(value: &EvalResult) -> Option<Self> {
        Some(match value {
            EvalResult::Bool(value) => Self::Bool(*value),
            EvalResult::Long(value) => Self::Long(*value),
            EvalResult::String(text) => Self::text(text),
            EvalResult::EntityUid(uid) => Self::Entity(uid.into()),
            EvalResult::Set(values) => Self::set(
                values
                    .iter()
                    .map(Self::from_cedar)
                    .collect::<Option<Vec<_>>>()?,
            ),
            EvalResult::Record(members) => Self::record(
                members
                    .iter()
                    .map(|(name, value)| Some((name.as_str().into(), Self::from_cedar(value)?)))
                    .collect::<Option<Vec<_>>>()?,
            ),
            EvalResult::ExtensionValue(text) => extension(text)?,
        })
    }

    /// What a restricted expression of Cedar's comes to.
    ///
    /// # Errors
    /// Why it comes to nothing, in Cedar's words.
    pub(super) fn of_expression(expression: RestrictedExpression) -> Result<Self, String> {
        let context = Context::from_pairs([(String::new(), expression)]);
        let context = context.map_err(|error| error.to_string())?;
        let value = context.get("").as_ref().and_then(Self::from_cedar);
        value.ok_or_else(|| "it has no value here".to_owned())
    }

    /// What an expression that asks about nobody comes to; nothing where it errs.
    pub(super) fn of_constant(expression: &Expression) -> Option<Self> {
        Self::from_cedar(&constant(expression)?)
    }

    /// The same in Cedar's own form; nothing where that has no word for it.
    #[must_use]
    pub fn to_cedar(&self) -> Option<RestrictedExpression> {
        Some(match self {
            Self::Bool(value) => RestrictedExpression::new_bool(*value),
            Self::Long(value) => RestrictedExpression::new_long(*value),
            Self::Text(text) => RestrictedExpression::new_string(text.to_string()),
            Self::Entity(uid) => RestrictedExpression::new_entity_uid(uid.to_cedar()?),
            Self::Set(values) => {
                let values = values.iter().map(Self::to_cedar);
                RestrictedExpression::new_set(values.collect::<Option<Vec<_>>>()?)
            }
            Self::Record(members) => {
                let members = members
                    .iter()
                    .map(|(name, value)| Some((name.to_string(), value.to_cedar()?)));
                RestrictedExpression::new_record(members.collect::<Option<Vec<_>>>()?).ok()?
            }
            Self::Datetime(at) => {
                // Years of more than four digits have no text, and are reached by computing.
                let since = format!("datetime(\"1970-01-01\").offset(duration(\"{at}ms\"))");
                since.parse().ok()?
            }
            Self::Duration(length) => RestrictedExpression::new_duration(format!("{length}ms")),
            Self::Decimal(number) => {
                let (sign, size) = (if *number < 0 { "-" } else { "" }, number.unsigned_abs());
                let text = format!("{sign}{}.{:04}", size / 10_000, size % 10_000);
                RestrictedExpression::new_decimal(text)
            }
            Self::Ip(IpAddr::V4(address), bits) => {
                RestrictedExpression::new_ip(format!("{address}/{bits}"))
            }
            Self::Ip(IpAddr::V6(address), bits) => {
                // Cedar takes no address of the old kind within one.
                let parts = address.segments().map(|part| format!("{part:x}"));
                RestrictedExpression::new_ip(format!("{}/{bits}", parts.join(":")))
            }
        })
    }

    /// The entities that it names.
    pub(super) fn each_entity(&self, each: &mut impl FnMut(&Uid)) {
        match self {
            Self::Entity(uid) => each(uid),
            Self::Set(values) => values.iter().for_each(|value| value.each_entity(each)),
            Self::Record(members) => members
                .iter()
                .for_each(|(_, value)| value.each_entity(each)),
            _ => {}
        }
    }
}

/// A value of Cedar's extension types, of the calls that make it. Cedar reads them; what is taken over is a number, or an address.
fn extension(calls: &str) -> Option<Value> {
    if let Some(text) = calls
        .strip_prefix("decimal(\"")
        .and_then(|rest| rest.strip_suffix("\")"))
    {
        return decimal(text).map(Value::Decimal);
    }
    if let Some(text) = calls
        .strip_prefix("ip(\"")
        .and_then(|rest| rest.strip_suffix("\")"))
    {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let all = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        return Some(Value::Ip(address, bits.unwrap_or(all)));
    }
    let since = format!("({calls}).durationSince(datetime(\"1970-01-01\")).toMilliseconds()");
    if let Some(at) = computed(&since) {
        return Some(Value::Datetime(at));
    }
    computed(&format!("({calls}).toMilliseconds()")).map(Value::Duration)
}

/// Whole numbers and up to four decimals, as Cedar has already read them.
fn decimal(text: &str) -> Option<i64> {
    let (whole, decimals) = text.split_once('.')?;
    let padded = format!("{decimals:0<4}");
    if padded.len() != 4 {
        return None;
    }
    format!("{whole}{padded}").parse().ok()
}

/// A number that Cedar computes.
fn computed(expression: &str) -> Option<i64> {
    match constant(&expression.parse().ok()?)? {
        EvalResult::Long(value) => Some(value),
        _ => None,
    }
}

/// What Cedar makes of an expression that asks about nobody.
fn constant(expression: &Expression) -> Option<EvalResult> {
    static NOBODY: LazyLock<Option<Request>> = LazyLock::new(|| {
        let nobody: EntityUid = "Nobody::\"\"".parse().ok()?;
        let action = "Action::\"\"".parse().ok()?;
        Request::new(nobody.clone(), action, nobody, Context::empty(), None).ok()
    });
    eval_expression(NOBODY.as_ref()?, &Entities::empty(), expression).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn extension_values_are_what_they_say_and_not_how_it_was_written() {
        let of = |text: &str| {
            let expression: Expression = text.parse().unwrap();
            let request = Request::new(
                "A::\"\"".parse().unwrap(),
                "Action::\"\"".parse().unwrap(),
                "A::\"\"".parse().unwrap(),
                Context::empty(),
                None,
            );
            let value = eval_expression(&request.unwrap(), &Entities::empty(), &expression);
            Value::from_cedar(&value.unwrap()).unwrap()
        };
        assert_eq!(of("decimal(\"1.2\")"), Value::Decimal(12_000));
        assert_eq!(of("decimal(\"-0.0200\")"), Value::Decimal(-200));
        assert_eq!(
            of("decimal(\"-922337203685477.5808\")"),
            Value::Decimal(i64::MIN)
        );
        assert_eq!(of("duration(\"1d2h\")"), Value::Duration(93_600_000));
        assert_eq!(of("datetime(\"1970-01-02\")"), Value::Datetime(86_400_000));
        assert_eq!(
            of("datetime(\"1970-01-01T00:00:00.001-0100\")"),
            Value::Datetime(3_600_001)
        );
        assert_eq!(
            of("datetime(\"1970-01-01\").offset(duration(\"1ms\"))"),
            Value::Datetime(1)
        );
        let all: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(of("ip(\"10.0.0.1\")"), Value::Ip(all, 32));
        assert_eq!(of("ip(\"10.0.0.1/32\")"), Value::Ip(all, 32));
        for value in [
            Value::Decimal(i64::MIN),
            Value::Decimal(-1),
            Value::Duration(-3),
            Value::Datetime(1_700_000_000_123),
            Value::Datetime(400_000_000_000_000),
            Value::Datetime(i64::MIN),
            Value::Ip("::ffff:10.0.0.1".parse().unwrap(), 128),
            Value::Ip(all, 8),
        ] {
            let there = Value::of_expression(value.to_cedar().unwrap());
            assert_eq!(there.unwrap(), value);
        }
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let ours = Ref::new(Kind::Thread, [7; 16]);
        let mut value = Value::record(vec![
            ("yes".into(), Value::Bool(true)),
            ("least".into(), Value::Long(i64::MIN)),
            ("text".into(), Value::text("\"quoted\" \u{0} \u{1f600}")),
            ("ours".into(), Value::Entity(ours.into())),
            (
                "not ours".into(),
                Value::Entity(Uid::new(Type::Ours(Kind::Thread), "of another")),
            ),
            (
                "own".into(),
                Value::Entity(Uid::new(Type::named("Shop::Ticket"), "1")),
            ),
            ("none".into(), Value::set(Vec::new())),
            ("time".into(), Value::Datetime(i64::MIN)),
            ("span".into(), Value::Duration(-3)),
            ("share".into(), Value::Decimal(i64::MAX)),
            (
                "place".into(),
                Value::Ip("::ffff:10.0.0.1".parse().unwrap(), 96),
            ),
        ]);
        for depth in 1..32 {
            assert_eq!(value.depth(), depth + 1);
            let text = serde_json::to_vec(&value).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), value);
            value = Value::record(vec![
                ("in".into(), value),
                ("number".into(), Value::Long(1)),
            ]);
        }
    }
}
