//! A person's own page: who they are, their sessions, and signing out.

use axum::http::header;
use axum::response::Response;
use maud::html;
use serde_json::Map;

use super::page::{Forms, Refused, page, see_other};
use super::{Browser, Form, HOME};
use crate::decide::authorized::{SessionRead, SessionRevoke};
use crate::directory::{Kind, Ref, session};
use crate::http::cookies::{self, Name};
use crate::http::problem::Problem;
use crate::http::refused;
use crate::http::signed_in::{self, SignedIn};

/// What the token of a form is derived for.
const FORM: &str = "form";

impl Browser {
    /// Whoever is signed in; others are sent to sign in.
    async fn signed_in(&self) -> Result<Option<SignedIn>, Refused> {
        let Some(cookie) = signed_in::cookie(&self.headers) else {
            return Ok(None);
        };
        match signed_in::session(&self.app, &self.from(), cookie).await {
            Ok(found) => Ok(Some(found)),
            Err(Problem::BadCredential) => Ok(None),
            Err(problem) => Err(problem.into()),
        }
    }

    /// The same for a form: one of a page of ours, that this session was shown.
    async fn signed_in_form(&self, form: &Form) -> Result<Option<SignedIn>, Refused> {
        self.is_ours()?;
        let found = self.signed_in().await?;
        let is_shown = |found: &SignedIn| {
            let wanted = found.token.derived(FORM);
            form.get("form")
                .is_some_and(|sent| found.token.is_same(sent, &wanted))
        };
        if found.as_ref().is_some_and(|found| !is_shown(found)) {
            let why = "this form is of another session: go back and load the page again";
            return Err(Problem::Forbidden(why.into()).into());
        }
        Ok(found)
    }
}

/// Shows it.
pub(super) async fn show(browser: Browser) -> Result<Response, Refused> {
    let Some(found) = browser.signed_in().await? else {
        return see_other("/signin");
    };
    let asker = found.asker(&browser.from());
    let permitted = found
        .door
        .permit::<SessionRead>(asker, found.user, Map::new())
        .await
        .map_err(refused::problem)?;
    let snapshot = permitted.snapshot();
    let user = snapshot.user(found.user).ok_or(Problem::NotFound)?;
    let organization = snapshot.organization().map_err(|_| Problem::NotFound)?;
    let form = found.token.derived(FORM);
    let now = chrono::Utc::now();
    let mut sessions: Vec<_> = session::sessions_of(snapshot, found.user)
        .filter(|(_, session)| now < session.expires_at)
        .collect();
    sessions.sort_by_key(|(_, session)| std::cmp::Reverse(session.created_at));
    let time = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M UTC").to_string();
    let body = html! {
        p { (user.name) br; span class="soft" { (user.email) " · " (user.role.name()) " · " (organization.name) } }
        h2 { "Where you are signed in" }
        table {
            thead { tr { th scope="col" { "Since" } th scope="col" { "With" } th scope="col" { "End" } } }
            tbody {
                @for (one, session) in &sessions {
                    tr {
                        td { time { (time(session.created_at)) } br; span class="soft" { "until " time { (time(session.expires_at)) } } }
                        td {
                            (session.agent.as_deref().unwrap_or("a program that does not say")) br;
                            span class="soft" { (session.client.as_deref().unwrap_or("this machine")) " · " (session.method) }
                        }
                        td {
                            @if *one == found.session { "this one" } @else {
                                form method="post" action="/account/end" {
                                    input type="hidden" name="form" value=(form);
                                    input type="hidden" name="session" value=(one);
                                    button class="quiet" type="submit" aria-label={ "End the session of " (time(session.created_at)) } { "End" }
                                }
                            }
                        }
                    }
                }
            }
        }
        h2 { "Leave" }
        form method="post" action="/signout" {
            input type="hidden" name="form" value=(form);
            button type="submit" { "Sign out" }
        }
    };
    Ok(page("Your account", Forms::Ours, &body))
}

/// Ends another session of whoever is signed in.
pub(super) async fn end(browser: Browser, form: Form) -> Result<Response, Refused> {
    let Some(found) = browser.signed_in_form(&form).await? else {
        return see_other("/signin");
    };
    let wanted = form
        .get("session")
        .and_then(|text| Ref::of(Kind::Session, text));
    let wanted = wanted.ok_or(Problem::NotFound)?;
    let asker = found.asker(&browser.from());
    found
        .door
        .change::<SessionRevoke>(asker, found.user, Map::new(), None, move |by, snapshot| {
            session::revoke(by, snapshot, wanted)
        })
        .await
        .map_err(refused::problem)?;
    see_other(HOME)
}

/// Ends this session.
pub(super) async fn sign_out(browser: Browser, form: Form) -> Result<Response, Refused> {
    if let Some(found) = browser.signed_in_form(&form).await? {
        let session = found.session;
        let asker = found.asker(&browser.from());
        found
            .door
            .arrive(asker, move |by, snapshot| {
                session::leave(by, snapshot, session)
            })
            .await
            .map_err(refused::problem)?;
    }
    let mut response = see_other("/signin")?;
    if let Some(cookie) = cookies::clear(Name::Session) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
