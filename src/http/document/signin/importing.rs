//! People in bulk: what a file says, and what is told of its lines.

use utoipa::ToSchema;

use super::super::Id;
use super::super::people::Role;
use super::super::policies::LineProblem;

/// One line of a file in JSON: what somebody is to be.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ImportedPerson {
    /// What people call them: 1 to 200 bytes, without control characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Their address, of at most 254 bytes, by which they are known.
    #[schema(max_length = 254, example = "ada@example.com")]
    email: String,
    role: Role,
    /// Whether they may act; if absent or null, as they are, and active where they are new.
    active: Option<bool>,
}

/// What is done with the lines of a file: all or none, or each that can be.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum ImportMode {
    All,
    Each,
}

/// One line of the report of an import. No address stands in it.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum ImportLine {
    /// What becomes, or became, of a line of the file.
    #[schema(title = "ImportedLine")]
    Line {
        /// Counted from 1 in the file.
        #[schema(minimum = 1)]
        line: u64,
        status: ImportStatus,
        /// The person; absent where they are not there yet, or where nobody can be read in the line.
        #[schema(nullable = false)]
        id: Option<Id>,
        /// Why it cannot be taken; absent where it can.
        #[schema(nullable = false)]
        why: Option<String>,
    },
    /// How far it has come, with `mode=each`: what was told of is committed.
    #[schema(title = "ImportProgressLine")]
    Progress { progress: ImportProgress },
    /// The last line.
    #[schema(title = "ImportSummaryLine")]
    Summary { summary: ImportSummary },
    /// The last line of a report that is not whole: what it told was done.
    #[schema(title = "ImportErrorLine")]
    Error { error: LineProblem },
}

/// What becomes, or became, of a line: somebody joins, is changed, is there as it says, or it cannot be taken.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum ImportStatus {
    Created,
    Updated,
    Unchanged,
    Refused,
}

/// How far an import has come.
#[derive(ToSchema)]
pub(in crate::http) struct ImportProgress {
    /// How many lines are done.
    done: u64,
    /// Of how many.
    of: u64,
}

/// What an import has come to.
#[derive(ToSchema)]
pub(in crate::http) struct ImportSummary {
    /// How many lines there were.
    lines: u64,
    /// How many people joined.
    created: u64,
    /// How many were changed.
    updated: u64,
    /// How many were there as the file says.
    unchanged: u64,
    /// How many lines could not be taken.
    refused: u64,
    /// Whether nothing was changed, and this is what would be.
    dry_run: bool,
}
