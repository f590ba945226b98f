//! Teams and projects.

use utoipa::ToSchema;

use super::Id;

/// A team or project that is to be.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewCircle {
    /// What people call it: 1 to 200 bytes, without control characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it is in: the organization, which it is if absent, or for a project also a team.
    #[schema(nullable = false)]
    parent: Option<Id>,
}

/// A team or project.
#[derive(ToSchema)]
pub(in crate::http) struct Circle {
    id: Id,
    /// `Team` or `Project`.
    r#type: CircleType,
    /// What people call it.
    name: String,
    /// What it is in: the organization, or for a project also a team.
    parent: Id,
    /// The group of those who are in it.
    members: Id,
    /// The group of those who lead it.
    leads: Id,
    /// How many legal holds stand on it, beside those on the organization.
    holds: u64,
    /// The index in the log since which it is as it is; absent in the answer to a change.
    #[schema(nullable = false)]
    from_index: Option<u64>,
}

/// What a circle is.
#[derive(ToSchema)]
enum CircleType {
    Team,
    Project,
}

/// Who is to be in it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewMember {
    /// A person of the organization.
    user: Id,
    /// Whether they are to lead it; not if absent.
    #[schema(nullable = false)]
    lead: Option<bool>,
}

/// What somebody is in a team or project.
#[derive(ToSchema)]
pub(in crate::http) struct Membership {
    /// The person, which names the place of the membership.
    id: Id,
    /// The person.
    user: Id,
    place: Place,
}

/// What being in a team or project is called.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Place {
    Member,
    Lead,
}
