//! What monitors are told.

use utoipa::ToSchema;

/// That the service can answer.
#[derive(ToSchema)]
pub(in crate::http) struct Readiness {
    /// True.
    ready: bool,
    /// How many organizations are open on this node.
    open_tenants: u64,
    /// Which root keys cannot be used now, and why: what is open goes on. Absent where all can.
    #[schema(nullable = false)]
    root_keys: Option<String>,
}
