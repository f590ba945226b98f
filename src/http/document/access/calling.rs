//! What calls for decisions and searches have in common: headers, and how they are refused.

use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, IntoResponses};

use super::super::calls::{in_header, organization};

/// The header by which a question asks why.
pub(in crate::http) struct Explaining;

impl IntoParams for Explaining {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![in_header(
            "Cedarkeep-Explain",
            "`true` or `false`: whether the answer says more than it must, as where it is recorded; `false` if absent",
        )]
    }
}

/// The header by which a call that is on nobody's behalf names its organization.
pub(in crate::http) struct ByCertificate;

impl IntoParams for ByCertificate {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![organization()]
    }
}

/// Why one of AuthZEN's calls is not answered: a line of text.
#[derive(IntoResponses)]
pub(in crate::http) enum Unanswered {
    #[response(
        status = 401,
        description = "no valid API key or certificate",
        content_type = "text/plain"
    )]
    NoCredential(String),
    #[response(
        status = 408,
        description = "the request took too long to arrive",
        content_type = "text/plain"
    )]
    TooSlow(String),
    #[response(
        status = 413,
        description = "the body is larger than this service takes",
        content_type = "text/plain"
    )]
    TooLarge(String),
    #[response(
        status = 429,
        description = "the organization asks for more than its part of the node, or the credential was refused too often from where it comes: come again after `Retry-After`",
        content_type = "text/plain"
    )]
    TooMany(String),
    #[response(
        status = 503,
        description = "the answer could not be recorded in time, so there is none",
        content_type = "text/plain"
    )]
    Unrecorded(String),
}
