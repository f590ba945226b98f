//! A request's body as a whole: within the router's limit, and within the time that there is for it.

use std::time::Duration;

use axum::RequestExt as _;
use axum::body::Bytes;
use axum::extract::Request;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};

use super::problem::Problem;

/// Reads it.
///
/// # Errors
///
/// `TooLarge`, `TooSlow`, or it broke off.
pub(super) async fn whole(request: Request, patience: Duration) -> Result<Bytes, Problem> {
    match tokio::time::timeout(patience, request.extract::<Bytes, _>()).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)))) => {
            Err(Problem::TooLarge)
        }
        Ok(Err(_)) => Err(Problem::Malformed("the body broke off".to_owned())),
        Err(_) => Err(Problem::TooSlow),
    }
}
