//! What can be wrong with a schema, a policy, a link or a question.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use cedar_policy::ffi::DetailedError;

use super::spelling::did_you_mean;

/// One thing that is wrong in a file that somebody wrote, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's name, as it was given.
    pub file: String,
    /// The line, from 1; absent where Cedar names none.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What would put it right, where that is known.
    pub help: Option<String>,
}

impl Finding {
    /// A finding about a whole file.
    pub(crate) fn in_file(file: &str, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            column: None,
            message,
            help: None,
        }
    }

    /// A finding at a byte offset of a file's text.
    pub(crate) fn at(file: &str, text: &str, offset: usize, message: String) -> Self {
        Self::placed(file, Lines::of(text).place(offset), message)
    }

    fn placed(file: &str, (line, column): (usize, usize), message: String) -> Self {
        Self {
            line: Some(line),
            column: Some(column),
            ..Self::in_file(file, message)
        }
    }

    /// The finding with the next step.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Everything that Cedar says about one error in a file, its related errors included.
    pub(crate) fn from_cedar(file: &str, text: &str, error: &DetailedError) -> Vec<Self> {
        Self::of_cedar(file, &Lines::of(text), error)
    }

    /// The same of a file whose lines were looked for before.
    pub(crate) fn of_cedar(file: &str, lines: &Lines<'_>, error: &DetailedError) -> Vec<Self> {
        // Cedar has a type for each of `true` and `false`.
        let message = error.message.replace("__cedar::internal::", "");
        let mut finding = match error.source_locations.first() {
            Some(label) => Self::placed(file, lines.place(label.loc.start), message),
            None => Self::in_file(file, message),
        };
        let label = error
            .source_locations
            .first()
            .and_then(|label| label.label.clone());
        finding.help = error
            .help
            .clone()
            .or(label)
            .or_else(|| method(&finding.message));
        let mut findings = vec![finding];
        for related in &error.related {
            findings.extend(Self::of_cedar(file, lines, related));
        }
        findings
    }
}

impl Finding {
    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "file": self.file, "line": self.line, "column": self.column,
            "message": self.message, "help": self.help,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, " line {line} column {column}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

/// How many findings are told at a time.
const TOLD_MOST: usize = 100;

/// Findings in the order of the files, each once: of those that differ only in which of a policy's requests they are about, the first. What
/// is beyond a hundred is counted.
pub(crate) fn told(findings: Vec<Finding>) -> Vec<Finding> {
    let mut groups: BTreeMap<Place, (Finding, usize)> = BTreeMap::new();
    for finding in findings {
        let place = (
            finding.file.clone(),
            finding.line,
            finding.column,
            finding.help.clone(),
        );
        let alike = match finding.help.is_some() && finding.line.is_some() {
            true => None,
            false => Some(finding.message.clone()),
        };
        match groups.entry((place, alike)) {
            Entry::Vacant(group) => drop(group.insert((finding, 0))),
            Entry::Occupied(mut group) => {
                let (first, more) = group.get_mut();
                if finding.message != first.message {
                    *more = more.saturating_add(1);
                }
                // Cedar goes through the requests in an order that is another each time.
                if finding.message < first.message {
                    *first = finding;
                }
            }
        }
    }
    let all = groups.len();
    let told = groups.into_values().take(TOLD_MOST);
    let mut told: Vec<Finding> = told
        .map(|(mut finding, more)| {
            if more > 0 {
                finding
                    .message
                    .push_str(&format!(" (and {more} more like it)"));
            }
            finding
        })
        .collect();
    if all > TOLD_MOST {
        let more = all.saturating_sub(TOLD_MOST);
        told.push(Finding::in_file(
            "",
            format!("{more} more things are wrong"),
        ));
    }
    told
}

type Place = (
    (String, Option<usize>, Option<usize>, Option<String>),
    Option<String>,
);

/// Which of Cedar's methods was meant, where one is none.
fn method(message: &str) -> Option<String> {
    let said = message.strip_suffix("` is not a valid method")?;
    did_you_mean(said.strip_prefix('`')?, METHODS)
}

/// Cedar's methods.
const METHODS: [&str; 24] = [
    "contains",
    "containsAll",
    "containsAny",
    "isEmpty",
    "getTag",
    "hasTag",
    "lessThan",
    "lessThanOrEqual",
    "greaterThan",
    "greaterThanOrEqual",
    "isIpv4",
    "isIpv6",
    "isLoopback",
    "isMulticast",
    "isInRange",
    "offset",
    "durationSince",
    "toDate",
    "toTime",
    "toMilliseconds",
    "toSeconds",
    "toMinutes",
    "toHours",
    "toDays",
];

/// A text, and where its lines begin.
pub(crate) struct Lines<'a> {
    text: &'a str,
    begin: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let begin = ends.map(|(at, _)| at.saturating_add(1));
        Self {
            text,
            begin: std::iter::once(0).chain(begin).collect(),
        }
    }

    /// Line and column, both from 1, of a byte offset.
    fn place(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.begin.partition_point(|begin| *begin <= offset);
        let begin = self.begin.get(line.saturating_sub(1)).copied();
        let before = self.text.as_bytes().get(begin.unwrap_or_default()..offset);
        // Of each character the first byte.
        let before = before.unwrap_or_default().iter();
        let column = before.filter(|byte| !matches!(byte, 0x80..=0xBF)).count();
        (line, column.saturating_add(1))
    }
}

/// Why a schema, a policy, a link or a question was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A schema or policies that cannot be loaded; nothing of them was.
    #[error("{}", several(.0))]
    Refused(Vec<Finding>),
    /// A link of a template that is not built in.
    #[error("no template is called `{0}`")]
    UnknownTemplate(String),
    /// A link to something that its template is not for.
    #[error("`{template}` cannot link `{entity}`")]
    NotLinkable {
        /// The template.
        template: String,
        /// The principal or resource that does not fit.
        entity: String,
    },
    /// A member of the request whose JSON type is not the schema's.
    #[error("`{member}` must be {expected}")]
    WrongType {
        /// The path to it, with dots.
        member: String,
        /// What the schema says, in words.
        expected: String,
    },
    /// A member of the request that has the right JSON type and still no value (a date that is none).
    #[error("`{member}` has no valid value: {reason}")]
    BadValue {
        /// Where it is.
        member: String,
        /// What Cedar says.
        reason: String,
    },
    /// An action asked about types that it is not for.
    #[error("`{action}` does not apply to a `{principal}` and a `{resource}`")]
    DoesNotApply {
        /// The action's name.
        action: String,
        /// The principal's type.
        principal: String,
        /// The resource's type.
        resource: String,
    },
}

fn several(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    lines.join("; ")
}
