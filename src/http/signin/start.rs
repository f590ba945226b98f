//! Where signing in begins: which organization, and by which of its connections.

use axum::extract::{Path, RawQuery};
use axum::response::Response;
use maud::html;
use url::form_urlencoded;

use super::page::{Forms, Refused, page, see_other};
use super::{Browser, place};
use crate::http::problem::Problem;
use crate::tenant::Slug;

/// Asks which organization.
pub(super) async fn which(RawQuery(query): RawQuery) -> Result<Response, Refused> {
    let asked = value(query.as_deref(), "organization");
    if let Some(slug) = asked
        .as_deref()
        .and_then(|text| text.trim().parse::<Slug>().ok())
    {
        return see_other(&format!("/signin/{slug}"));
    }
    let body = html! {
        @if asked.is_some_and(|text| !text.is_empty()) {
            p role="alert" { "That is not the name of an organization: it has small letters, digits and hyphens." }
        }
        form method="get" action="/signin" {
            label for="organization" { "The name of your organization" }
            input id="organization" name="organization" autocomplete="organization" required
                autocapitalize="none" spellcheck="false";
            p {}
            button type="submit" { "Go on" }
        }
    };
    Ok(page("Sign in", Forms::Ours, &body))
}

/// Asks by which connection.
pub(super) async fn how(
    browser: Browser,
    Path(org): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let door = browser.organization(&org).await?;
    let world = door.glance();
    let snapshot = world.snapshot();
    let organization = snapshot.organization().map_err(|_| Problem::NotFound)?;
    let enforced = organization.sso_enforced.as_deref();
    let ways: Vec<_> = snapshot
        .connections()
        .filter(|(_, stored)| stored.value.enabled)
        .filter(|(_, stored)| enforced.is_none_or(|method| stored.value.protocol.name() == method))
        .map(|(id, stored)| (id, stored.value.name.clone()))
        .collect();
    let next = value(query.as_deref(), "next");
    let next = place(next.as_deref());
    let tenant = door.store().id();
    let body = html! {
        p { (organization.name) }
        @for (id, name) in &ways {
            form method="post" action={ "/signin/" (tenant) "/" (id) } {
                input type="hidden" name="next" value=(next);
                button type="submit" { "Sign in with " (name) }
            }
        }
        @if ways.is_empty() {
            p class="soft" { "No way of signing in is set up yet. Use the link that you were given, or ask an Admin." }
        }
    };
    Ok(page("Sign in", Forms::Ours, &body))
}

/// The first of that name behind the path.
fn value(query: Option<&str>, wanted: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.into_owned())
}
