//! Provisioning by the customer's directory: how it is set up, and the groups that it keeps.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::super::people::Role;
use super::super::{Id, Moment};

/// Which roles the directory is to give.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ProvisionedRoles {
    /// What somebody becomes to whom no group gives a role.
    default_role: Role,
    /// The directory's groups, by name, and the role that each gives; at most 200, each name of 1 to 200 bytes. None if absent.
    #[schema(nullable = false)]
    group_roles: Option<BTreeMap<String, Role>>,
}

/// How provisioning is set up.
#[derive(ToSchema)]
pub(in crate::http) struct Provisioning {
    /// Where the directory reaches this service.
    base_url: String,
    /// What somebody becomes to whom no group gives a role.
    default_role: Role,
    /// The directory's groups, by name, and the role that each gives.
    group_roles: BTreeMap<String, Role>,
}

/// A token that the directory is to have.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewScimToken {
    /// What people call it: 1 to 200 bytes, without control characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// When it stops, in the future; it does not if absent or null.
    expires_at: Option<Moment>,
}

/// A token of the directory's, with what is secret, which is in this answer alone.
#[derive(ToSchema)]
pub(in crate::http) struct MadeScimToken {
    id: Id,
    /// What people call it.
    name: String,
    /// When it was made.
    created_at: Moment,
    /// When it stops; null: it does not.
    #[schema(required)]
    expires_at: Option<Moment>,
    /// Where the directory reaches this service.
    base_url: String,
    /// The whole token, once.
    #[schema(example = "ckd_...")]
    token: String,
}

/// A token of the directory's, without what is secret.
#[derive(ToSchema)]
pub(in crate::http) struct ScimToken {
    id: Id,
    /// What people call it.
    name: String,
    /// When it was made.
    created_at: Moment,
    /// When it stops; null: it does not.
    #[schema(required)]
    expires_at: Option<Moment>,
    /// When it was used last; null: not yet, as far as is known.
    #[schema(required)]
    last_used_at: Option<Moment>,
}

/// A group that the directory keeps.
#[derive(ToSchema)]
pub(in crate::http) struct DirectoryGroup {
    id: Id,
    #[schema(inline)]
    r#type: DirectoryGroupType,
    /// What people call it.
    name: String,
    /// What the directory itself calls it by; null: it has not said.
    #[schema(required)]
    external_id: Option<String>,
    #[schema(inline)]
    place: DirectoryGroupPlace,
    /// The index in the log since which it is as it is.
    from_index: u64,
}

/// What a group is.
#[derive(ToSchema)]
enum DirectoryGroupType {
    Group,
}

/// What being in a group of the directory's is called.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum DirectoryGroupPlace {
    Member,
}
