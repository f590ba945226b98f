//! AuthZEN Authorization API 1.0: its paths, and the names that are ours beside it.

pub mod search;
pub mod wire;

/// What the paths of its calls begin with.
pub const PREFIX: &str = "/access/v1/";

/// The path of one evaluation.
pub const EVALUATION: &str = "/access/v1/evaluation";

/// The path of a batch.
pub const EVALUATIONS: &str = "/access/v1/evaluations";

/// The path of a search for subjects.
pub const SEARCH_SUBJECT: &str = "/access/v1/search/subject";

/// The path of a search for resources.
pub const SEARCH_RESOURCE: &str = "/access/v1/search/resource";

/// The path of a search for actions.
pub const SEARCH_ACTION: &str = "/access/v1/search/action";

/// The path of the metadata document, when the base URL has no path of its own.
pub const METADATA: &str = "/.well-known/authzen-configuration";

/// Our member of `options` that asks for the reasons of a decision.
pub const EXPLAIN_OPTION: &str = "explain";

/// The header that asks for the same.
pub const EXPLAIN_HEADER: &str = "cedarkeep-explain";
