//! One-time links: whoever opens one is asked whether to sign in by it, and it is used up once they do. That it is shown, or looked at by a
//! mail program, uses nothing up.

use axum::extract::Path;
use axum::response::Response;
use maud::html;

use super::enter::{self, Shown};
use super::page::{Forms, Refused, page};
use super::{Browser, HOME};
use crate::authn::token::Use;
use crate::directory::session::{self, Link};

/// Asks whether to sign in.
pub(super) async fn ask(Path(_): Path<String>) -> Response {
    let body = html! {
        p { "This link signs you in, once." }
        form method="post" { button type="submit" { "Sign in" } }
    };
    page("Sign in", Forms::Ours, &body)
}

/// Signs in.
pub(super) async fn take(browser: Browser, Path(text): Path<String>) -> Result<Response, Refused> {
    let (door, link) = enter::ticket::<Link>(&browser, Use::Link, &text).await?;
    let shown = Shown {
        user: link.user,
        method: "link",
        break_glass: link.break_glass,
        connection: None,
        provider_session: None,
        ends_at: None,
    };
    enter::enter(&browser, &door, (shown, HOME), |by, snapshot, arrival| {
        session::begin_by_link(by, snapshot, arrival)
    })
    .await
}
