//! Where signing in begins: which organization, and by which of its connections.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Extension, Path, RawQuery};
use axum::response::Response;
use maud::html;
use url::form_urlencoded;

use super::super::attempts::Begun;
use super::arriving::{Start, Test};
use super::page::{Forms, Refused, page, see_other};
use super::{Browser, Form, HOME, enter, oidc, place, saml};
use crate::authn::token::Use;
use crate::directory::connection::{ConnectionId, Protocol};
use crate::directory::sso::Trial;
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
    Ok(page("Sign in", Forms::Onward, &body))
}

/// Sends the browser on to the provider.
pub(super) async fn go(
    browser: Browser,
    Extension(begun): Extension<Arc<Begun>>,
    Path((org, id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Refused> {
    browser.is_ours()?;
    // Each is a row, and a call to a provider: nobody has a credential yet who could be held to anything.
    begun.another(browser.peer, Instant::now())?;
    let door = browser.organization(&org).await?;
    let id: ConnectionId = id.parse().map_err(|_| Problem::NotFound)?;
    let found = door.glance().snapshot().connection(id).cloned();
    let found = found.filter(|stored| stored.value.enabled);
    let start = Start {
        door,
        id,
        connection: found.ok_or(Problem::NotFound)?.value,
        next: place(form.get("next")).to_owned(),
        test: None,
        site: browser.site(),
    };
    send(&browser, start).await
}

/// Asks whether to begin a test of a connection.
pub(super) async fn ask(Path(_): Path<String>) -> Response {
    let body = html! {
        p { "This tests a connection to your identity provider: you sign in there, and are shown what it says. Nobody is signed in here by it." }
        form method="post" { button type="submit" { "Begin the test" } }
    };
    page("Test a connection", Forms::Onward, &body)
}

/// Begins it.
pub(super) async fn test(browser: Browser, Path(text): Path<String>) -> Result<Response, Refused> {
    let (door, trial) = enter::ticket::<Trial>(&browser, Use::Test, &text).await?;
    let found = door
        .glance()
        .snapshot()
        .connection(trial.connection)
        .cloned();
    let connection = found.ok_or(Problem::NotFound)?.value;
    let start = Start {
        door,
        id: trial.connection,
        test: Some(Test {
            admin: trial.admin,
            protocol: connection.protocol.clone(),
        }),
        connection,
        next: HOME.to_owned(),
        site: browser.site(),
    };
    send(&browser, start).await
}

async fn send(browser: &Browser, start: Start) -> Result<Response, Refused> {
    match start.connection.protocol.clone() {
        Protocol::Oidc(oidc) => oidc::go(browser, start, &oidc).await,
        Protocol::Saml(saml) => saml::go(browser, start, &saml).await,
    }
}

/// The first of that name behind the path.
fn value(query: Option<&str>, wanted: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.into_owned())
}
