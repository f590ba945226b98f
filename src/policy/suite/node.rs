//! YAML as it stands in a test file: each value with its place, read within limits.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{MessageFormatter as _, Options, Spanned, UserMessageFormatter};

use crate::policy::compile::Source;
use crate::policy::error::Finding;
use crate::policy::spelling::did_you_mean;

/// How long a test file may be, in bytes.
pub(super) const BYTES_MOST: usize = 1024 * 1024;

/// How many values may stand in one.
const VALUES_MOST: usize = 100_000;

/// How deep they may nest.
const DEPTH_MOST: usize = 24;

/// How many of them may come from aliases.
const REPEATED_MOST: usize = 50_000;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) what: What,
}

/// A place in a file: line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A name and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) at: At,
    pub(super) text: String,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Null,
    Bool(bool),
    Whole(i64),
    /// What is written as a number, and is none of Cedar's.
    Fraction(String),
    Text(String),
    List(Vec<Node>),
    Members(Vec<(Key, Node)>),
}

/// Reads a test file.
///
/// # Errors
/// It is no YAML, or more than a test file may be.
pub(super) fn read(source: &Source) -> Result<Node, Finding> {
    let length = source.text.len();
    if length > BYTES_MOST {
        let message = format!("the file is too much: it is longer than {BYTES_MOST} bytes");
        return Err(Finding::in_file(&source.name, message).with_help("say it in several files"));
    }
    let read = serde_saphyr::from_str_with_options::<Option<Raw>>(&source.text, options());
    match read {
        Ok(Some(raw)) => Ok(raw.0.told(&source.text)),
        Ok(None) => Err(
            Finding::in_file(&source.name, "the file is empty".to_owned())
                .with_help("it begins with `tests:`"),
        ),
        Err(error) => {
            let at = error.location().map(|at| place(&at)).unwrap_or_default();
            Err(refused(&error, at, &source.name))
        }
    }
}

/// What is wrong with a text that was not read, where its parser says so.
fn refused(error: &serde_saphyr::Error, at: At, file: &str) -> Finding {
    use serde_saphyr::Error;
    let much = |what: &str| {
        let message = format!("the file is too much: {what}");
        at.finding(file, message)
            .with_help("say it in several files, each by itself")
    };
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => {
            refused(error, at, file)
        }
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Documents { .. } => {
                let message = "the file is several documents".to_owned();
                at.finding(file, message)
                    .with_help("a test file is one: take the `---` out")
            }
            BudgetBreach::Depth { .. } => {
                much(&format!("it nests deeper than {DEPTH_MOST} levels"))
            }
            BudgetBreach::Aliases { .. }
            | BudgetBreach::Anchors { .. }
            | BudgetBreach::MergeKeys { .. }
            | BudgetBreach::RecordedAnchorEvents { .. }
            | BudgetBreach::RecordedAnchorBytes { .. } => much("its aliases repeat too much"),
            _ => much(&format!("it has more than {VALUES_MOST} values")),
        },
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => much("its aliases repeat too much"),
        error => {
            let message = UserMessageFormatter.format_message(error).into_owned();
            match message.contains("recursion limit") {
                true => much(&format!("it nests deeper than {DEPTH_MOST} levels")),
                false => at.finding(file, message),
            }
        }
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_depth: DEPTH_MOST,
            flow_nesting_limit: DEPTH_MOST,
            max_nodes: VALUES_MOST,
            max_events: VALUES_MOST.saturating_mul(3),
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 1_000,
            max_recorded_anchor_events: REPEATED_MOST,
            max_recorded_anchor_bytes: BYTES_MOST,
            max_total_scalar_bytes: BYTES_MOST.saturating_mul(2),
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPEATED_MOST,
            max_replay_stack_depth: DEPTH_MOST,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        // `yes` and `no` are words here.
        strict_booleans: true,
        emit_comments: false,
        with_snippet: false,
    }
}

fn place(at: &serde_saphyr::Location) -> At {
    let number = |of: u64| usize::try_from(of).unwrap_or(usize::MAX);
    At {
        line: number(at.line()),
        column: number(at.column()),
    }
}

impl At {
    /// A finding here; of the whole file where the place is not known.
    pub(super) fn finding(self, file: &str, message: String) -> Finding {
        let known = self.line > 0;
        Finding {
            line: known.then_some(self.line),
            column: known.then_some(self.column),
            ..Finding::in_file(file, message)
        }
    }
}

impl Node {
    /// What is written here, in words.
    pub(super) const fn kind(&self) -> &'static str {
        match self.what {
            What::Null => "nothing",
            What::Bool(_) => "true or false",
            What::Whole(_) | What::Fraction(_) => "a number",
            What::Text(_) => "a text",
            What::List(_) => "a list",
            What::Members(_) => "members",
        }
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self.what, What::Null)
    }

    /// A name: what is written, numbers too.
    pub(super) fn name(&self) -> Option<String> {
        match &self.what {
            What::Text(text) => Some(text.clone()),
            What::Whole(number) => Some(number.to_string()),
            What::Null | What::Bool(_) | What::Fraction(_) | What::List(_) | What::Members(_) => {
                None
            }
        }
    }

    pub(super) fn list(&self) -> Option<&[Self]> {
        match &self.what {
            What::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn members(&self) -> Option<&[(Key, Self)]> {
        match &self.what {
            What::Members(members) => Some(members),
            _ => None,
        }
    }

    /// The same without its places.
    pub(super) fn json(&self) -> Json {
        match &self.what {
            What::Null => Json::Null,
            What::Bool(truth) => Json::Bool(*truth),
            What::Whole(number) => Json::from(*number),
            What::Fraction(number) => number.parse::<f64>().map_or(Json::Null, Json::from),
            What::Text(text) => Json::String(text.clone()),
            What::List(items) => Json::Array(items.iter().map(Self::json).collect()),
            What::Members(members) => {
                let members = members.iter();
                Json::Object(
                    members
                        .map(|(key, of)| (key.text.clone(), of.json()))
                        .collect(),
                )
            }
        }
    }
}

/// A finding that a name is none of those that may stand here.
pub(super) fn unknown(file: &str, key: &Key, of: &str, known: &[&str]) -> Finding {
    let message = format!("{of} has no `{}`", key.text);
    let help = did_you_mean(&key.text, known.iter().copied());
    let help = help.unwrap_or_else(|| format!("it may have {}", listed(known)));
    key.at.finding(file, message).with_help(help)
}

/// Names one behind the other.
pub(super) fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// A value as it was read.
struct Raw(Found);

struct Found {
    at: At,
    /// Which bytes of the text it is, where it stands there itself.
    bytes: Option<(usize, usize)>,
    what: Read,
}

enum Read {
    Scalar(What),
    List(Vec<Raw>),
    Members(Vec<(Key, Raw)>),
}

impl Found {
    fn told(self, text: &str) -> Node {
        let written = self.bytes.and_then(|(from, to)| text.get(from..to));
        let what = match self.what {
            // A name that looks like a number is kept as it is written.
            Read::Scalar(What::Whole(number)) => match written {
                Some(written) if written.trim() != number.to_string() => {
                    What::Text(written.trim().to_owned())
                }
                _ => What::Whole(number),
            },
            Read::Scalar(What::Fraction(number)) => {
                What::Fraction(written.map_or(number, |written| written.trim().to_owned()))
            }
            Read::Scalar(scalar) => scalar,
            Read::List(items) => {
                What::List(items.into_iter().map(|one| one.0.told(text)).collect())
            }
            Read::Members(members) => {
                let members = members.into_iter();
                What::Members(members.map(|(key, of)| (key, of.0.told(text))).collect())
            }
        };
        Node { at: self.at, what }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Read>::deserialize(deserializer)?;
        let span = spanned.defined.span();
        let bytes = span.byte_offset().zip(span.byte_len());
        let bytes = bytes.and_then(|(from, length)| {
            let from = usize::try_from(from).ok()?;
            Some((from, from.saturating_add(usize::try_from(length).ok()?)))
        });
        Ok(Self(Found {
            at: place(&spanned.referenced),
            bytes,
            what: spanned.value,
        }))
    }
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a list or members")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Read, E> {
        Ok(Read::Scalar(What::Bool(truth)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Read, E> {
        Ok(Read::Scalar(What::Whole(number)))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Read, E> {
        let number = i64::try_from(number);
        number
            .map(|number| Read::Scalar(What::Whole(number)))
            .map_err(|_| E::custom("the number is larger than any of Cedar's"))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Read, E> {
        Ok(Read::Scalar(What::Fraction(number.to_string())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Read, E> {
        Ok(Read::Scalar(What::Text(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Read, E> {
        Ok(Read::Scalar(What::Text(text)))
    }

    fn visit_unit<E>(self) -> Result<Read, E> {
        Ok(Read::Scalar(What::Null))
    }

    fn visit_none<E>(self) -> Result<Read, E> {
        Ok(Read::Scalar(What::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Read, D::Error> {
        Read::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Read, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element::<Raw>()? {
            all.push(item);
        }
        Ok(Read::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Read, A::Error> {
        let mut all = Vec::new();
        while let Some(key) = members.next_key::<Raw>()? {
            let at = key.0.at;
            let Read::Scalar(scalar) = key.0.what else {
                return Err(A::Error::custom("a name is a text"));
            };
            let text = match scalar {
                What::Text(text) => text,
                What::Whole(number) => number.to_string(),
                What::Bool(truth) => truth.to_string(),
                _ => return Err(A::Error::custom("a name is a text")),
            };
            all.push((Key { at, text }, members.next_value::<Raw>()?));
        }
        Ok(Read::Members(all))
    }
}
