//! Shares, and requests for access.

use utoipa::ToSchema;

use super::{Id, Moment};

/// A share that is to be. It ends within 366 days, or what the organization says.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewShare {
    /// A thread, prompt template, tool, assistant, an agent's definition, or the log.
    resource: Id,
    /// A user, a group or an agent's definition.
    grantee: Id,
    level: ShareLevel,
    /// When it ends. If it is null, or absent without `for_minutes`, it does not end, which the organization may not allow.
    expires_at: Option<Moment>,
    /// How many minutes from now it ends, instead of `expires_at`; null is as if it were absent.
    #[schema(minimum = 1, maximum = 5_270_400)]
    for_minutes: Option<u32>,
}

/// What becomes other of a share: one of these at least. It ends within 366 days, or what the organization says.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub(in crate::http) struct ShareChange {
    /// As it was if absent.
    #[schema(nullable = false)]
    level: Option<ShareLevel>,
    /// When it ends: as before if absent without `for_minutes`; null: it does not, which the organization may not allow.
    expires_at: Option<Moment>,
    /// How many minutes from now it ends, instead of `expires_at`; null is as if it were absent.
    #[schema(minimum = 1, maximum = 5_270_400)]
    for_minutes: Option<u32>,
}

/// A share.
#[derive(ToSchema)]
pub(in crate::http) struct Share {
    id: Id,
    r#type: ShareType,
    level: ShareLevel,
    /// Whom it is for: a user, a group or an agent's definition.
    grantee: Id,
    /// What is shared.
    resource: Id,
    /// When it stops counting; null: it does not.
    #[schema(required)]
    expires_at: Option<Moment>,
    /// The index in the log since which it is as it is; absent in the answer to a change.
    #[schema(nullable = false)]
    from_index: Option<u64>,
}

/// What a share is.
#[derive(ToSchema)]
enum ShareType {
    Share,
}

/// How much a share gives: to read and use; to comment too; to write too; or to read the log, which is for the log alone.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ShareLevel {
    Viewer,
    Commenter,
    Editor,
    Auditor,
}

/// A request for access that is to be.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewAccessRequest {
    /// A thread, prompt template, tool, assistant, an agent's definition, or the log.
    resource: Id,
    level: ShareLevel,
    /// Why: 1 to 500 bytes.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// For how many minutes from when it is approved; without an end if absent or null.
    #[schema(minimum = 1, maximum = 5_270_400)]
    for_minutes: Option<u32>,
}

/// What is given on a request: `{}` for what was asked for, counted from now; or less of it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AccessApproval {
    /// What was asked for if absent.
    #[schema(nullable = false)]
    level: Option<ShareLevel>,
    /// When the share ends. If absent without `for_minutes`, after as many minutes as were asked for; null: it does not, where nothing else
    /// was asked for and the organization allows it.
    expires_at: Option<Moment>,
    /// How many minutes from now it ends, instead of `expires_at`; null is as if it were absent.
    #[schema(minimum = 1, maximum = 5_270_400)]
    for_minutes: Option<u32>,
}

/// A request for access.
#[derive(ToSchema)]
pub(in crate::http) struct AccessRequest {
    id: Id,
    r#type: AccessRequestType,
    /// Who asks.
    owner: Id,
    /// For what, as they named it: it need not be there.
    resource: Id,
    level: ShareLevel,
    /// Why.
    reason: String,
    /// For how many minutes from when it is approved; null: without an end.
    #[schema(required, minimum = 1, maximum = 5_270_400)]
    for_minutes: Option<u32>,
    /// When they asked.
    asked_at: Moment,
    /// When it lapses, if nobody has decided: 14 days later.
    lapses_at: Moment,
    status: AccessRequestStatus,
    /// Since when it is not open any more; null while it is.
    #[schema(required)]
    closed_at: Option<Moment>,
    /// What was given; null where it was not approved.
    #[schema(required)]
    given: Option<GivenAccess>,
    /// The index in the log since which it is as it is; absent in the answer to a change.
    #[schema(nullable = false)]
    from_index: Option<u64>,
}

/// What a request for access is.
#[derive(ToSchema)]
enum AccessRequestType {
    AccessRequest,
}

/// What has become of a request: nothing yet, it was shared, whoever may share it does not, whoever asked does not want it any more, or
/// nobody has decided in time.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum AccessRequestStatus {
    Open,
    Approved,
    Declined,
    Withdrawn,
    Lapsed,
}

/// Whose requests: those that the acting user has made, or those that wait, or have waited, for them.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum AccessRequestsBy {
    Me,
    Others,
}

/// What was given on a request, as it was then.
#[derive(ToSchema)]
struct GivenAccess {
    /// The share.
    share: Id,
    level: ShareLevel,
    /// When the share ends; null: it does not.
    #[schema(required)]
    expires_at: Option<Moment>,
}
