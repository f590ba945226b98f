//! The version that is evaluated beside the one that counts.

use utoipa::ToSchema;

use super::super::Moment;
use super::replays::{FailingPolicies, FlippedDecision, NotReplayedReason, ReplayRanking};

/// Which version is to be evaluated beside the one that counts.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewPolicyShadow {
    /// One that is not active.
    #[schema(minimum = 1)]
    version: u64,
}

/// The version that is evaluated beside the one that counts.
#[derive(ToSchema)]
pub(in crate::http) struct PolicyShadow {
    /// Which is to be; null: none.
    #[schema(required)]
    version: Option<u64>,
    /// What it has come to on the node that was asked; null where none is ready there.
    #[schema(required)]
    node: Option<ShadowReport>,
}

/// What a shadow has come to on a node, of what that node has decided.
#[derive(ToSchema)]
struct ShadowReport {
    /// The version.
    version: u64,
    /// Since when it is counted.
    since: Moment,
    /// How many decisions there were.
    decisions: u64,
    /// How many of them were made again under it.
    compared: u64,
    /// How many came out the same.
    unchanged: u64,
    /// How many were denied, and would be allowed.
    gained: u64,
    /// How many were allowed, and would be denied.
    lost: u64,
    /// How many come to the same outcome by other policies, or for another reason.
    other_policies: u64,
    /// How many were not made again, by why not.
    not_compared: Vec<NotCompared>,
    /// How many entries were left out, since too much was decided, or since they could not be read.
    skipped_entries: u64,
    failing: FailingPolicies,
    /// Those that come out otherwise, by action.
    actions: ReplayRanking,
    /// The last that came out otherwise, the newest first.
    #[schema(max_items = 100)]
    last: Vec<FlippedDecision>,
}

/// Decisions that were not made again, for one reason.
#[derive(ToSchema)]
struct NotCompared {
    why: NotReplayedReason,
    /// How many.
    count: u64,
    /// Why, for people.
    words: String,
}
