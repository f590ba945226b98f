//! People.

use utoipa::ToSchema;

use super::Id;
use super::circles::Place;

/// Somebody who is to join.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewUser {
    /// What people call them: 1 to 200 bytes, without control characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Their address, of at most 254 bytes, which nobody else in the organization has.
    #[schema(max_length = 254, example = "ada@example.com")]
    email: String,
    role: Role,
}

/// A person.
#[derive(ToSchema)]
pub(in crate::http) struct User {
    id: Id,
    r#type: UserType,
    /// What people call them.
    name: String,
    /// Their address, in small letters.
    #[schema(example = "ada@example.com")]
    email: String,
    role: Role,
    /// Whether they may act; not where they are suspended.
    active: bool,
    /// The groups that they are in.
    groups: Vec<UserGroup>,
    /// How many legal holds stand on them, beside those on the organization.
    holds: u64,
    /// The index in the log since which they are as they are; absent in the answer to a change.
    #[schema(nullable = false)]
    from_index: Option<u64>,
}

/// What a person is.
#[derive(ToSchema)]
enum UserType {
    User,
}

/// What somebody is in the organization.
#[derive(ToSchema)]
pub(in crate::http) enum Role {
    Admin,
    Member,
    Viewer,
}

/// A group that somebody is in.
#[derive(ToSchema)]
#[serde(untagged)]
enum UserGroup {
    /// The members or leads of the organization, a team or a project.
    #[schema(title = "CircleGroup")]
    Circle {
        group: Id,
        /// The organization, the team or the project.
        of: Id,
        place: Place,
    },
    /// People whom the organization's own directory keeps together.
    #[schema(title = "KeptGroup")]
    Directory {
        group: Id,
        /// What the directory calls it.
        name: String,
        /// Always `member`.
        place: Place,
    },
}

/// What is to change of a person: one of these at a time, since each is decided for itself.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum UserChange {
    /// Another role.
    #[serde(deny_unknown_fields)]
    #[schema(title = "UserRoleChange")]
    Role { role: Role },
    /// Suspended, or brought back.
    #[serde(deny_unknown_fields)]
    #[schema(title = "UserActiveChange")]
    Active {
        /// Whether they may act from now on.
        active: bool,
    },
}
