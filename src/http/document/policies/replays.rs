//! Decisions made again, and what they come to.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::super::{Id, Moment};
use super::LineProblem;

/// Under what decisions are to be made again, and which: `last` so many, or entries `from` an index up `to` another, or `since` a moment
/// `until` another; all that are kept if nothing is said.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum NewReplay {
    Version(VersionReplay),
    Draft(DraftReplay),
}

/// Decisions that are to be made again under a version.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct VersionReplay {
    /// Its number.
    #[schema(minimum = 1)]
    version: u64,
    /// The last so many decisions; not with the members below.
    #[schema(nullable = false, minimum = 1)]
    last: Option<u64>,
    /// The first index that counts; 0 if absent.
    #[schema(nullable = false)]
    from: Option<u64>,
    /// The first index that does not count any more, beyond `from`; to the end if absent.
    #[schema(nullable = false, minimum = 1)]
    to: Option<u64>,
    /// The first moment that counts; from the beginning if absent. Not with `from` and `to`.
    #[schema(nullable = false)]
    since: Option<Moment>,
    /// The first moment that does not count any more, later than `since`; to the end if absent.
    #[schema(nullable = false)]
    until: Option<Moment>,
}

/// Decisions that are to be made again under a draft that is no version.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct DraftReplay {
    /// File names, each with its Cedar text: at most 1,000.
    policies: BTreeMap<String, String>,
    /// Cedar schema text; as it is now if absent.
    #[schema(nullable = false)]
    schema: Option<String>,
    /// The last so many decisions; not with the members below.
    #[schema(nullable = false, minimum = 1)]
    last: Option<u64>,
    /// The first index that counts; 0 if absent.
    #[schema(nullable = false)]
    from: Option<u64>,
    /// The first index that does not count any more, beyond `from`; to the end if absent.
    #[schema(nullable = false, minimum = 1)]
    to: Option<u64>,
    /// The first moment that counts; from the beginning if absent. Not with `from` and `to`.
    #[schema(nullable = false)]
    since: Option<Moment>,
    /// The first moment that does not count any more, later than `since`; to the end if absent.
    #[schema(nullable = false)]
    until: Option<Moment>,
}

/// A line of what is told of a replay: how far it is while it goes on, and last what it came to, or why it could not end.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum ReplayLine {
    #[schema(title = "ReplayProgressLine")]
    Progress { progress: ReplayProgress },
    #[schema(title = "ReplayReportLine")]
    Report { report: ReplayReport },
    #[schema(title = "ReplayProblemLine")]
    Problem { problem: LineProblem },
}

/// How far a replay has come.
#[derive(ToSchema)]
pub(in crate::http) struct ReplayProgress {
    /// How many entries were gone through.
    done: u64,
    /// Of how many.
    of: u64,
    /// How many of them a second.
    per_second: f64,
}

/// What a replay has come to.
#[derive(ToSchema)]
pub(in crate::http) struct ReplayReport {
    under: ReplayedUnder,
    /// The version that it was under; null where it was none, or is checked.
    #[schema(required)]
    version: Option<u64>,
    /// The entries that were gone through.
    entries: ReplayedEntries,
    /// The states that decisions were made on.
    states: ReplayedStates,
    /// How many decisions were made again.
    replayed: u64,
    /// How many came out as they were recorded.
    unchanged: u64,
    /// How many were denied, and would be allowed.
    gained: u64,
    /// How many were allowed, and would be denied.
    lost: u64,
    /// How many come to the same outcome by other policies, or for another reason.
    other_policies: u64,
    /// How many were not made again, by why not.
    not_replayed: Vec<NotReplayed>,
    failing: FailingPolicies,
    /// Those that come out otherwise, by person: who asked, or for whom an agent did, by identifier; whoever is no person, by type and id.
    people: ReplayRanking,
    /// The same by action.
    actions: ReplayRanking,
    /// The same by type of the resource.
    types: ReplayRanking,
    /// The same by resource, as type and id.
    resources: ReplayRanking,
    /// Some of those that come out otherwise.
    samples: ReplaySamples,
    /// How long it took, in milliseconds.
    took_ms: u64,
    /// How many entries were gone through a second.
    entries_per_second: f64,
}

/// Under what decisions were made again: what they were made under, or a draft in place of the policies of then.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReplayedUnder {
    Recorded,
    Draft,
}

/// The entries that a replay went through.
#[derive(ToSchema)]
struct ReplayedEntries {
    /// The index of the first.
    first: u64,
    /// The index behind the last.
    end: u64,
    /// How many of what was asked for are not kept any more.
    pruned: u64,
    /// How many decisions there were.
    decisions: u64,
    /// How many entries of anything else.
    others: u64,
}

/// The states that decisions were made on.
#[derive(ToSchema)]
struct ReplayedStates {
    /// How many in all.
    all: u64,
    /// How many at a time, at most.
    at_once: u64,
}

/// Decisions that were not made again, for one reason.
#[derive(ToSchema)]
struct NotReplayed {
    why: NotReplayedReason,
    /// How many.
    count: u64,
    /// Why, for people.
    words: String,
    /// The first of them.
    #[schema(max_items = 5)]
    examples: Vec<NotReplayedDecision>,
}

/// A decision that was not made again.
#[derive(ToSchema)]
struct NotReplayedDecision {
    /// The index of its entry.
    index: u64,
    /// What there is to say about it; empty where nothing is.
    what: String,
}

/// Why a decision is not made again: its person was erased; it was the operator's, and no policy decided; it was recorded before entries said
/// what it takes; other built-in policies have decided than those of this build; what is stored of it does not open, or is not what was
/// written; what is stored of the state of then does not fit this build; the draft knows no such type or action; what was said does not fit
/// its schema; entities of then do not, and it may hang on them; or who asked is not in the state of then.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NotReplayedReason {
    Erased,
    Operator,
    Older,
    OtherBuild,
    Altered,
    State,
    Unknown,
    Misfit,
    Entities,
    Nobody,
}

/// Policies that fail in decisions in which they did not.
#[derive(ToSchema)]
pub(super) struct FailingPolicies {
    /// In how many decisions one does.
    decisions: u64,
    /// In how many each, by id: of at most 20, those that were met first.
    policies: BTreeMap<String, u64>,
}

/// Decisions that come out otherwise, by what they are about.
#[derive(ToSchema)]
pub(super) struct ReplayRanking {
    /// How many are counted apart: at most 10,000, those that were met first.
    distinct: u64,
    /// Those with the most outcomes that are others.
    #[schema(max_items = 20)]
    first: Vec<RankedFlips>,
    /// Those that are counted apart and not shown, together.
    rest: Flips,
    /// Those that are not counted apart, together.
    not_counted_apart: Flips,
}

/// How many decisions about one thing come out otherwise.
#[derive(ToSchema)]
struct RankedFlips {
    /// What they are about.
    key: String,
    /// How many were denied, and would be allowed.
    gained: u64,
    /// How many were allowed, and would be denied.
    lost: u64,
    /// How many come to the same outcome by other policies, or for another reason.
    other_policies: u64,
}

/// How many decisions come out otherwise.
#[derive(ToSchema)]
struct Flips {
    /// How many were denied, and would be allowed.
    gained: u64,
    /// How many were allowed, and would be denied.
    lost: u64,
    /// How many come to the same outcome by other policies, or for another reason.
    other_policies: u64,
}

/// Some of the decisions that come out otherwise, each as likely as another, by index.
#[derive(ToSchema)]
struct ReplaySamples {
    #[schema(max_items = 25)]
    gained: Vec<FlippedDecision>,
    #[schema(max_items = 25)]
    lost: Vec<FlippedDecision>,
    #[schema(max_items = 25)]
    other_policies: Vec<FlippedDecision>,
}

/// A decision that comes out otherwise.
#[derive(ToSchema)]
pub(super) struct FlippedDecision {
    /// The index of its entry.
    index: u64,
    /// When it was made.
    time: Moment,
    turn: FlipKind,
    /// Who.
    subject: FlippedEntity,
    /// For whom an agent asked; null where none did.
    #[schema(required)]
    acts_for: Option<Id>,
    /// What.
    action: String,
    /// To what.
    resource: FlippedEntity,
    /// As it was recorded.
    before: DecisionSide,
    /// As it comes out now.
    after: DecisionSide,
}

/// In which way a decision comes out otherwise: it was denied and is allowed, the other way round, or the outcome is the same by other
/// policies, or for another reason.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum FlipKind {
    Gained,
    Lost,
    OtherPolicies,
}

/// Who or what a decision is about, as it was asked.
#[derive(ToSchema)]
struct FlippedEntity {
    r#type: String,
    id: String,
}

/// What a decision came to, and by which policies.
#[derive(ToSchema)]
struct DecisionSide {
    /// Null where there is no answer that can be compared: then `wrong` says what is the matter.
    #[schema(required)]
    outcome: Option<DecisionOutcome>,
    /// The policies that decided, by id; of a link the template's, a slash, and the link's.
    policies: Vec<String>,
    /// Why it was denied; absent where it was not.
    #[schema(nullable = false)]
    refusal: Option<DecisionRefusal>,
    /// The policies that could not be evaluated; absent where there are none.
    #[schema(nullable = false, min_items = 1)]
    failed: Option<Vec<String>>,
    /// What is the matter, where there is no answer that can be compared; absent otherwise.
    #[schema(nullable = false)]
    wrong: Option<String>,
}

/// What a decision came to.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum DecisionOutcome {
    Allow,
    Deny,
}

/// Why a decision was denied: a policy forbids it, none permits it, one could not be evaluated, or nothing but the organization's plan stands
/// against it.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum DecisionRefusal {
    Forbidden,
    NotPermitted,
    Error,
    PlanRequired,
}
