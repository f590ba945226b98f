//! Policies of an organization: versions, checks, replays.

pub(in crate::http) mod checks;
pub(in crate::http) mod conditions;
pub(in crate::http) mod differences;
mod proofs;
pub(in crate::http) mod replays;
pub(in crate::http) mod shadow;
pub(in crate::http) mod versions;

use utoipa::ToSchema;

use super::{Id, Moment};

/// Somebody, and when.
#[derive(ToSchema)]
struct Signed {
    /// Who; null: the operator.
    #[schema(required)]
    by: Option<Id>,
    through: SignedThrough,
    /// When.
    at: Moment,
}

/// By whose key it came: nobody's, which is a session or a key of the operator's; one that this Admin made; or one that several Admins had
/// a hand in, or of which nobody knows who made it.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum SignedThrough {
    Nobody,
    #[schema(title = "AdminSigned")]
    Admin(Id),
    Several,
}

/// Why work that was begun did not come to its end.
#[derive(ToSchema)]
pub(in crate::http) struct LineProblem {
    /// A word for programs, as of a problem.
    #[schema(example = "unavailable")]
    code: String,
    /// What is wrong, and what to do.
    detail: String,
}
