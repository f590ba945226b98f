//! Strict JSON from a request's body: one object, in UTF-8, that every reader understands alike.
//!
//! The rules are those of I-JSON (RFC 7493). Two readers that disagree about a document are a way around a
//! decision: a gateway that takes the first of two `id` members and a decision point that takes the last
//! decide about different things. So what could be read in two ways is refused, and where it is.

use std::fmt;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::body;
use super::problem::Problem;

/// How deep objects and arrays may nest, the outermost included.
pub const DEPTH_LIMIT: usize = 32;

/// The largest magnitude of a number: beyond it doubles skip integers, and what is recorded would no longer
/// be what was evaluated.
pub const NUMBER_LIMIT: i64 = 9_007_199_254_740_991;

/// Why a body is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing was sent.
    #[error("the body is empty; send a JSON object")]
    Empty,
    /// Not UTF-8.
    #[error("the body is not UTF-8 at byte {0}")]
    Encoding(usize),
    /// An array, a string, a number: anything but an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// Not JSON, or JSON that I-JSON forbids; the text says what and where.
    #[error("{0}")]
    Malformed(String),
}

/// The object that these bytes are.
///
/// # Errors
///
/// When they are not UTF-8, not one JSON object, or hold what could be read in two ways: a member twice, a
/// surrogate alone, a noncharacter, a number beyond [`NUMBER_LIMIT`], nesting beyond [`DEPTH_LIMIT`].
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Unreadable::Empty);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|refused| Unreadable::Encoding(refused.valid_up_to()))?;
    let malformed = |refused: serde_json::Error| Unreadable::Malformed(refused.to_string());
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { left: DEPTH_LIMIT }
        .deserialize(&mut reader)
        .map_err(malformed)?;
    reader.end().map_err(malformed)?;
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Unreadable::NotAnObject)
        }
    }
}

/// Reads a request's body as one JSON object: its content type, its size (the router's limit), the time
/// that it takes, its form.
///
/// # Errors
///
/// The problem that the caller is told of.
pub async fn body(request: Request, patience: Duration) -> Result<Map<String, Value>, Problem> {
    if !says(request.headers(), &["application/json"]) {
        return Err(Problem::Malformed(
            "send the body with `Content-Type: application/json`".to_owned(),
        ));
    }
    read(request, patience).await
}

/// The same of a request of SCIM, which has a media type of its own.
///
/// # Errors
///
/// The problem that the caller is told of.
pub async fn body_of_scim(
    request: Request,
    patience: Duration,
) -> Result<Map<String, Value>, Problem> {
    if !says(
        request.headers(),
        &["application/scim+json", "application/json"],
    ) {
        return Err(Problem::Malformed(
            "send the body with `Content-Type: application/scim+json`".to_owned(),
        ));
    }
    read(request, patience).await
}

async fn read(request: Request, patience: Duration) -> Result<Map<String, Value>, Problem> {
    let bytes = body::whole(request, patience).await?;
    object(&bytes).map_err(|refused| Problem::Malformed(refused.to_string()))
}

/// Whether a request says that its body is of one of these types; parameters such as a charset mean nothing.
fn says(headers: &HeaderMap, types: &[&str]) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(text) = value.to_str() else {
        return false;
    };
    text.split(';').next().is_some_and(|kind| {
        let kind = kind.trim();
        types.iter().any(|known| kind.eq_ignore_ascii_case(known))
    })
}

/// Reads one value, with this many levels left below it.
#[derive(Clone, Copy)]
struct Strict {
    left: usize,
}

impl Strict {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left }),
            None => Err(E::custom(format_args!(
                "nested deeper than {DEPTH_LIMIT} levels"
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
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

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        if value > NUMBER_LIMIT.unsigned_abs() {
            Err(too_great())
        } else {
            Ok(Value::from(value))
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        if value < -NUMBER_LIMIT {
            Err(too_great())
        } else {
            Ok(Value::from(value))
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // 2^53, the first double that an integer beyond the limit may have been rounded to.
        if value.abs() >= 9_007_199_254_740_992.0 {
            return Err(too_great());
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(too_great)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        plain(text).map(|()| Value::String(text.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        plain(&text).map(|()| Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(below)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            plain(&name)?;
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!(
                    "member {} is there twice",
                    quoted(&name)
                )));
            }
            let value = members.next_value_seed(below)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

fn too_great<E: serde::de::Error>() -> E {
    E::custom(format_args!(
        "number beyond {NUMBER_LIMIT}; send it as a string"
    ))
}

/// I-JSON forbids noncharacters; the parser has refused surrogates before.
fn plain<E: serde::de::Error>(text: &str) -> Result<(), E> {
    let stray = text.chars().find(|c| {
        let code = u32::from(*c);
        (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
    });
    match stray {
        Some(c) => Err(E::custom(format_args!(
            "noncharacter U+{:04X} in a string",
            u32::from(c)
        ))),
        None => Ok(()),
    }
}

/// A name as a message may show it: escaped, and cut where a caller made it long.
pub(crate) fn quoted(name: &str) -> String {
    let mut shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    if name.chars().nth(64).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> String {
        object(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_object_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,0.5,true,null,"\ud83d\ude00"],"b":{"a":{}}}"#;
        assert_eq!(
            Value::Object(object(text.as_bytes()).unwrap()).to_string(),
            text.replace("\\ud83d\\ude00", "😀")
        );
    }

    #[test]
    fn a_member_twice_is_refused_at_any_depth_and_however_it_is_spelt() {
        assert_eq!(
            refused(r#"{"id":1,"id":2}"#),
            "member `id` is there twice at line 1 column 12"
        );
        assert!(
            refused("{\"a\":[{\n\"x\":{\"id\":1,\"i\\u0064\":2}}]}")
                .starts_with("member `id` is there twice at line 2")
        );
    }

    #[test]
    fn the_same_name_in_two_objects_is_no_duplicate() {
        assert!(object(br#"{"a":{"id":1},"b":{"id":2},"id":3}"#).is_ok());
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(object(nested(DEPTH_LIMIT - 1).as_bytes()).is_ok());
        assert!(refused(&nested(DEPTH_LIMIT)).starts_with("nested deeper than 32 levels"));
        assert!(refused(&nested(100_000)).starts_with("nested deeper than 32 levels"));
    }

    #[test]
    fn what_is_not_utf8_is_refused_with_its_place() {
        assert_eq!(
            object(b"{\"a\":\"\xff\"}").unwrap_err(),
            Unreadable::Encoding(6)
        );
        assert_eq!(
            object(b"{\"a\":\"\xed\xa0\x80\"}").unwrap_err(),
            Unreadable::Encoding(6)
        );
    }

    #[test]
    fn surrogates_alone_and_noncharacters_are_refused() {
        for text in [
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00x"}"#,
            r#"{"\ud800":1}"#,
            r#"{"a":"\ud800\u0041"}"#,
        ] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(
            refused(r#"{"a":"\ufdd0"}"#).starts_with("noncharacter U+FDD0 in a string at line 1")
        );
        assert!(refused(r#"{"\uffff":1}"#).starts_with("noncharacter U+FFFF"));
    }

    #[test]
    fn numbers_that_a_double_cannot_hold_are_refused() {
        assert!(object(br#"{"a":9007199254740991,"b":-9007199254740991,"c":1.5e3}"#).is_ok());
        for number in [
            "9007199254740992",
            "-9007199254740992",
            "18446744073709551616",
            "1e17",
            "-1e300",
        ] {
            assert!(
                refused(&format!("{{\"a\":{number}}}")).starts_with("number beyond"),
                "{number}"
            );
        }
        for number in ["1e999", "NaN", "Infinity", "01", "+1", ".5", "0x10"] {
            assert!(
                object(format!("{{\"a\":{number}}}").as_bytes()).is_err(),
                "{number}"
            );
        }
    }

    #[test]
    fn only_one_object_is_a_body() {
        assert_eq!(object(b"").unwrap_err(), Unreadable::Empty);
        assert_eq!(object(b" \n\t").unwrap_err(), Unreadable::Empty);
        for text in ["[]", "null", "1", "\"a\"", "true"] {
            assert_eq!(
                object(text.as_bytes()).unwrap_err(),
                Unreadable::NotAnObject,
                "{text}"
            );
        }
        for text in [
            "{} {}",
            "{\"a\":1,}",
            "{'a':1}",
            "{\"a\":1",
            "\u{feff}{}",
            "{\"a\":\"\u{1}\"}",
            "{a:1}",
            "/**/{}",
        ] {
            assert!(
                matches!(object(text.as_bytes()), Err(Unreadable::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_long_name_is_cut_in_the_message() {
        let name = "n".repeat(10_000);
        assert!(refused(&format!("{{\"{name}\":1,\"{name}\":2}}")).len() < 200);
    }

    #[test]
    fn content_types_that_say_json() {
        let says = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.append(header::CONTENT_TYPE, value.parse().unwrap());
            super::says(&headers, &["application/json"])
        };
        assert!(says("application/json") && says("Application/JSON; charset=utf-8"));
        assert!(
            !says("text/plain")
                && !says("application/jsonp")
                && !says("application/x-www-form-urlencoded")
        );
        assert!(!super::says(&HeaderMap::new(), &["application/json"]));
    }

    fn any_object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-NUMBER_LIMIT..=NUMBER_LIMIT).prop_map(Value::from),
            "[a-zé\"\\\\\u{0}-\u{1f}😀]{0,12}".prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-e\"\u{1}]{0,4}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-z]{0,4}", value, 0..6)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn whatever_serde_writes_is_read_back(value in any_object()) {
            prop_assert_eq!(Value::Object(object(value.to_string().as_bytes()).unwrap()), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(members) = object(&bytes) {
                let plain: Value = serde_json::from_slice(&bytes).unwrap();
                prop_assert_eq!(Value::Object(members), plain);
            }
        }
    }
}
