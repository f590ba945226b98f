//! The members of a JSON object, each there once, and their values as claims are read.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep objects and arrays may nest, the outermost included.
const DEPTH_LIMIT: usize = 16;

/// Why bytes are no object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A member is there twice.
    Twice,
    /// No JSON object in UTF-8; the text says where it ends to be one.
    Malformed(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice => f.write_str("a member is there twice"),
            Self::Malformed(text) => f.write_str(text),
        }
    }
}

/// The object that these bytes are. One that two readers could understand differently is none.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    let twice = Cell::new(false);
    let strict = Strict {
        left: DEPTH_LIMIT,
        twice: &twice,
    };
    let malformed = |refused: serde_json::Error| {
        if twice.get() {
            Unreadable::Twice
        } else {
            // What it says of bytes that are no JSON is a kind and a place.
            Unreadable::Malformed(super::shown(&refused.to_string()))
        }
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = strict.deserialize(&mut reader).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Unreadable::Malformed("it is not a JSON object".to_owned()))
        }
    }
}

/// Whole seconds of a NumericDate (RFC 7519), which may have a fraction.
pub(super) fn seconds(value: Option<&Value>) -> Option<i64> {
    let Some(Value::Number(number)) = value else {
        return None;
    };
    let text = number.to_string();
    text.split('.').next()?.parse().ok()
}

/// The strings of a value that may be one string or an array of them.
pub(super) fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(several) => several.iter().map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    left: usize,
    twice: &'a Cell<bool>,
}

impl Strict<'_> {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1);
        left.map(|left| Self { left, ..self })
            .ok_or_else(|| E::custom("it is nested too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is none"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut read = Vec::new();
        while let Some(value) = elements.next_element_seed(below)? {
            read.push(value);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut read = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(below)?;
            if read.insert(name, value).is_some() {
                self.twice.set(true);
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(Value::Object(read))
    }
}
