//! What is found about a version before it counts.

use utoipa::ToSchema;

use super::super::Moment;
use super::LineProblem;
use super::proofs::ProofReport;
use super::replays::ReplayReport;
use super::versions::PolicyTests;

/// What is to be found out about a version. Which decisions are made again is said by `last`, by `from` and `to`, or by `since` and
/// `until`; if by none, as many of the last as the organization's conditions ask for, else 10,000.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewPolicyCheck {
    /// Whether proofs are made, which is so if absent.
    #[schema(nullable = false)]
    proof: Option<bool>,
    /// Whether decisions are made again, which is so if absent.
    #[schema(nullable = false)]
    replay: Option<bool>,
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

/// A line of what is told of a check: how far it is while it goes on, and last what was found, or why it could not end.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum CheckLine {
    #[schema(title = "CheckProgressLine")]
    Progress { progress: CheckProgress },
    #[schema(title = "CheckReportLine")]
    Report { report: CheckReport },
    #[schema(title = "CheckProblemLine")]
    Problem { problem: LineProblem },
}

/// How far a check has come.
#[derive(ToSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(in crate::http) enum CheckProgress {
    /// With the proofs.
    #[schema(title = "CheckProofProgress")]
    Proof {
        /// How many steps are done.
        done: u64,
        /// Of how many, as far as is known.
        of: u64,
    },
    /// With the replay.
    #[schema(title = "CheckReplayProgress")]
    Replay {
        /// How many entries were gone through.
        done: u64,
        /// Of how many.
        of: u64,
        /// How many of them a second.
        per_second: f64,
    },
}

/// What was found about a version.
#[derive(ToSchema)]
pub(in crate::http) struct CheckReport {
    /// What is kept of it beside the version.
    checked: PolicyCheck,
    /// What came of its tests, which ran again; null where it has none.
    #[schema(required)]
    tests: Option<PolicyTests>,
    /// Which of its tests failed, and why, in words: the first of them.
    #[schema(max_items = 20)]
    failures: Vec<String>,
    /// What was proved; absent where nothing was.
    #[schema(nullable = false)]
    proof: Option<ProofReport>,
    /// Why nothing was proved, where it was wanted and no solver is on the node; absent otherwise.
    #[schema(nullable = false)]
    no_proof: Option<String>,
    /// What decisions that were made again came to; absent where none were.
    #[schema(nullable = false)]
    replay: Option<ReplayReport>,
    /// Why no decisions were made again, where it was wanted and there are none; absent otherwise.
    #[schema(nullable = false)]
    no_replay: Option<String>,
    /// The same for people: lines, some of them several in one.
    words: Vec<String>,
}

/// What was found about a version, as it is kept beside it: it speaks for it for 24 hours.
#[derive(ToSchema)]
pub(super) struct PolicyCheck {
    /// The version that was active; 0: the built-in policies alone.
    against: u64,
    /// The digest of the built-in policies.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    builtin: String,
    /// When.
    at: Moment,
    /// What came of the proofs; null where none were made.
    #[schema(required)]
    proved: Option<ProofCounts>,
    /// Whether proofs were wanted, and no solver was there.
    without_solver: bool,
    /// What came of the replay; null where none was made.
    #[schema(required)]
    replayed: Option<ReplayCounts>,
}

/// How many properties were proved.
#[derive(ToSchema)]
struct ProofCounts {
    /// How many hold, for every request.
    holds: u64,
    /// How many do not.
    fails: u64,
    /// Of how many it is not known: the solver gave up.
    unknown: u64,
}

/// How many decisions were made again, and how they came out.
#[derive(ToSchema)]
struct ReplayCounts {
    /// The index of the first entry that was gone through.
    from: u64,
    /// The index behind the last.
    to: u64,
    /// How many decisions were made again.
    decisions: u64,
    /// How many were denied, and would be allowed.
    gained: u64,
    /// How many were allowed, and would be denied.
    lost: u64,
    /// How many could not be made again.
    left_out: u64,
    /// How many of those the version itself stands against: it does not know their action, or what was said does not fit it.
    unknown: u64,
    /// Of how many of the newest decisions it is; 0 of another stretch of the log, which says nothing about the newest.
    newest: u64,
}
