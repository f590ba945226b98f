//! The organization, what it keeps, and how it ends.

use utoipa::ToSchema;

use super::{Id, Moment};

/// The organization.
#[derive(ToSchema)]
pub(in crate::http) struct Organization {
    id: Id,
    r#type: OrganizationType,
    /// What people call it.
    name: String,
    /// What it has bought.
    plan: Plan,
    /// Where content may be touched; everywhere if empty.
    regions: Vec<Region>,
    /// The one method by which people sign in; null where each will do.
    #[schema(required)]
    sso_enforced: Option<EnforcedMethod>,
    /// How many active Admins it has.
    active_admins: u64,
    /// The group of everybody in it.
    members: Id,
    /// How many legal holds stand on the whole of it.
    holds: u64,
    /// Whether the operator has suspended it: nothing is allowed then.
    suspended: bool,
    /// For how many days entries of the log are kept; null where it is for ever.
    #[schema(required, minimum = 1, maximum = 36500)]
    retention_days: Option<u32>,
    /// When it is closed; null where nobody has asked for that.
    #[schema(required)]
    closes_at: Option<Moment>,
    /// The export with what is private that was last asked for; null where there is none, or it was withdrawn.
    #[schema(required)]
    private_export: Option<PrivateExport>,
    /// Within how many days every new share must end; null where one may be without an end.
    #[schema(required, minimum = 1, maximum = 3660)]
    share_days: Option<u32>,
    /// The index in the log since which it is as it is; absent in the answer to a change.
    #[schema(nullable = false)]
    from_index: Option<u64>,
}

/// What an organization is.
#[derive(ToSchema)]
enum OrganizationType {
    Organization,
}

/// What an organization has bought.
#[derive(ToSchema)]
enum Plan {
    Starter,
    Business,
    Enterprise,
}

/// A region's name.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[a-z0-9-]{1,63}$", example = "eu-1")]
pub(in crate::http) struct Region(String);

/// A method of signing in that can be enforced.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum EnforcedMethod {
    Oidc,
    Saml,
}

/// An export with what is private: asked for by one Admin, and approved by another.
#[derive(ToSchema)]
struct PrivateExport {
    /// The Admin who asked for it.
    requested_by: Id,
    /// By whose key that came.
    requested_through: RequestedThrough,
    /// The Admin who approved it; null where it waits for that.
    #[schema(required)]
    approved_by: Option<Id>,
    /// Until when it may be approved, or once it is, taken: 24 hours from then. It counts for nothing after that.
    until: Moment,
}

/// By whose key a request came: `nobody` where it was a session or a key of the operator's, an Admin who alone made it, or `several` where
/// more than one had a hand in it, or that is not known.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum RequestedThrough {
    Nobody,
    /// By a key that this Admin made.
    #[schema(title = "AdminThrough")]
    Admin(Id),
    Several,
}

/// What is to change of the organization: one of these at a time, since each is decided for itself.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum OrganizationChange {
    /// Another name.
    #[serde(deny_unknown_fields)]
    #[schema(title = "OrganizationNameChange")]
    Name {
        /// What people are to call it: 1 to 200 bytes, without control characters.
        #[schema(min_length = 1, max_length = 200)]
        name: String,
    },
    /// Other regions.
    #[serde(deny_unknown_fields)]
    #[schema(title = "OrganizationRegionsChange")]
    Regions {
        /// Where content may be touched; everywhere if empty.
        #[schema(max_items = 64)]
        regions: Vec<Region>,
    },
    /// How long shares last.
    #[serde(deny_unknown_fields)]
    #[schema(title = "OrganizationShareDaysChange")]
    ShareDays {
        /// Within how many days every new share must end; null where one may be without an end.
        #[schema(required, minimum = 1, maximum = 3660)]
        share_days: Option<u32>,
    },
}

/// For how long the log is to be kept.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RetentionChange {
    /// For how many days entries are kept; null to keep everything.
    #[schema(required, minimum = 1, maximum = 36500)]
    retention_days: Option<u32>,
}

/// Why a legal hold is set or released.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct LegalHoldReason {
    /// Why, in 1 to 200 bytes: it is recorded.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
}

/// When the organization is to be closed.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OrganizationClosing {
    /// In how many days; 30 if absent.
    #[schema(nullable = false, minimum = 0, maximum = 30)]
    days: Option<u32>,
}

/// The log is signed by a new key, which `GET /v1/audit/checkpoint` has.
#[derive(ToSchema)]
pub(in crate::http) struct LogKeyRotation {
    /// It always is.
    rotated: bool,
}

/// How far the rotation of a key has come.
#[derive(ToSchema)]
pub(in crate::http) struct KeyRotationProgress {
    key: KeyName,
    /// The version that was used so far.
    old: u32,
    /// The version that is used from here on.
    new: u32,
    phase: RotationPhase,
}

/// A key of the organization's that is rotated by itself.
#[derive(ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::http) enum KeyName {
    Tenant,
    Records,
    ContentWrap,
    SubjectWrap,
    Idempotency,
    Epoch,
}

/// `begun`: what lies under the old version is sealed or wrapped again in the background; `done`: nothing is left to do.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum RotationPhase {
    Begun,
    Done,
}

/// A person is being forgotten.
#[derive(ToSchema)]
pub(in crate::http) struct Erasure {
    /// The person.
    id: Id,
    /// They always are: `data.erased` in the log says when it is done.
    erasing: bool,
}
