//! The edge: what every request meets before and after its handler.

pub mod authzen;
mod hello;
pub mod json;
pub mod problem;
pub mod request_id;
pub mod serve;
pub mod tls;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};

use problem::{Plain, Problem};

/// These routes with what all of them share: the body limit, `X-Request-ID`, and answers of ours where no
/// route or no method matches. Routes added to the result afterwards have none of it.
pub fn edge<S: Clone + Send + Sync + 'static>(routes: Router<S>, body_limit: usize) -> Router<S> {
    routes
        .fallback(async |uri: Uri| spoken(&uri, Problem::NotFound))
        .method_not_allowed_fallback(async |uri: Uri| spoken(&uri, Problem::MethodNotAllowed))
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(from_fn(request_id::carry))
}

/// A problem in the language of the calls under this path.
fn spoken(uri: &Uri, problem: Problem) -> Response {
    if uri.path().starts_with(authzen::PREFIX) {
        Plain(problem).into_response()
    } else {
        problem.into_response()
    }
}
