//! The pages for people: what they share, and how each is sent. They need no script, load nothing, and are shown in no frame.

use std::sync::LazyLock;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::super::page as shared;
use super::super::problem::Problem;

/// The one style sheet; it stands in the page, and the policy of the page names its hash.
const STYLE: &str = include_str!("page.css");

/// Where the forms of a page may go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Forms {
    /// To this service alone.
    Ours,
    /// And on to an identity provider, wherever that is: a browser follows the answer to a form no further than the page allows.
    Onward,
}

/// A page of ours.
pub(super) fn page(title: &str, forms: Forms, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " – Cedarkeep" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main { h1 { (title) } (body) }
                footer { "Cedarkeep" }
            }
        }
    };
    sent(page.into_string(), forms)
}

fn sent(text: String, forms: Forms) -> Response {
    static HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE)));
    let to = match forms {
        Forms::Ours => "",
        Forms::Onward => " https:",
    };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'{to}; frame-ancestors 'none'; base-uri 'none'",
        *HASH
    );
    let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    guard(headers);
    response
}

/// What every answer to a browser has: it is kept nowhere, and says no other site where it came from.
fn guard(headers: &mut axum::http::HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        // `no-referrer` would have a form of ours come without its origin.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The browser goes on there, with a GET. The place is ours, or a provider's that was checked.
pub(super) fn see_other(place: &str) -> Result<Response, Refused> {
    let place = HeaderValue::try_from(place).map_err(|_| Problem::Internal)?;
    let mut response = shared::see_other(place);
    guard(response.headers_mut());
    Ok(response)
}

/// What a person is told instead of what they wanted: the same as a program, as a page.
#[derive(Debug)]
pub(super) struct Refused(Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl axum::response::IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let body = html! {
            p role="alert" { (problem.message()) }
            p { a href="/signin" { "Sign in" } }
        };
        let mut response = page(problem.title(), Forms::Ours, &body);
        *response.status_mut() = problem.status();
        problem.dressed(response)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn a_page_loads_nothing_and_is_in_no_frame() {
        let response = page("Title", Forms::Onward, &html! { p { "<" } });
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
        assert!(policy.contains("form-action 'self' https:;"));
        assert!(policy.contains("frame-ancestors 'none'"));
        assert_eq!(response.headers()["referrer-policy"], "same-origin");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}
