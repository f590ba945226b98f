//! Signing in by OpenID Connect: the browser is sent to the provider, and what it brings back is redeemed there.

use std::time::Instant;

use axum::extract::{Path, RawQuery};
use axum::response::Response;
use chrono::Utc;
use url::Url;

use super::arriving::{self, Said, Start, Unbelieved, Way};
use super::page::{self, see_other};
use super::{Browser, Form, enter};
use crate::app::App;
use crate::authn::oidc::discovery::{Provider, well_known};
use crate::authn::oidc::grant::{Grant, redeem};
use crate::authn::oidc::keys::KeySet;
use crate::authn::oidc::logout::Logout;
use crate::authn::oidc::request::{Callback, Pending, Seeds, begin};
use crate::authn::oidc::{OidcRefusal, Plain, logout, token};
use crate::authn::proof::Proof;
use crate::crypto;
use crate::decide::{Caller, Refused};
use crate::directory::connection::{ConnectionId, Oidc, Protocol};
use crate::directory::object::Identity;
use crate::directory::{DirectoryError, Effect, session};
use crate::http::page as shared;
use crate::http::problem::Problem;
use crate::http::refused;
use crate::ids::TenantId;
use crate::log::entry::Refusal;
use crate::outside::Unreached;

impl From<OidcRefusal> for Unbelieved {
    fn from(refusal: OidcRefusal) -> Self {
        Self {
            check: refusal.name(),
            why: refusal.to_string(),
        }
    }
}

impl From<Unreached> for Unbelieved {
    fn from(unreached: Unreached) -> Self {
        Self {
            check: "reach",
            why: unreached.to_string(),
        }
    }
}

/// What a provider says of itself.
///
/// # Errors
/// It cannot be had, or is against a rule.
pub(super) async fn provider(app: &App, oidc: &Oidc) -> Result<Provider, Unbelieved> {
    let plain = plain(app);
    let url = well_known(&oidc.issuer, plain)?;
    let document = app.outside().document(&url, Instant::now()).await?;
    Ok(Provider::read(&oidc.issuer, &document, plain)?)
}

fn plain(app: &App) -> Plain {
    match app.config().outside.allow_loopback {
        true => Plain::OnLoopback,
        false => Plain::Refused,
    }
}

/// Whether a provider can be signed in by: what it says of itself is asked for, and held to the rules.
///
/// # Errors
/// What is wrong with it.
pub(in crate::http) async fn check(app: &App, oidc: &Oidc) -> Result<(), Problem> {
    let found = provider(app, oidc).await;
    found.map(drop).map_err(|Unbelieved { check, why }| {
        Problem::Malformed(format!("`issuer`: the check `{check}` failed: {why}"))
    })
}

/// Where the provider sends the browser back to: this connection's own place, so that no other provider's answer is taken for its own.
pub(in crate::http) fn callback_url(app: &App, tenant: TenantId, id: ConnectionId) -> String {
    format!(
        "{}/signin/{tenant}/{id}/callback",
        app.config().http.base_url.as_str()
    )
}

/// Sends the browser to the provider.
pub(super) async fn go(
    browser: &Browser,
    start: Start,
    oidc: &Oidc,
) -> Result<Response, page::Refused> {
    let provider = provider(&browser.app, oidc).await.map_err(unavailable)?;
    let random = |_| Problem::Internal;
    let seeds = Seeds {
        state: crypto::random().map_err(random)?,
        nonce: crypto::random().map_err(random)?,
        verifier: crypto::random().map_err(random)?,
    };
    let back = callback_url(&browser.app, start.door.store().id(), start.id);
    let back = Url::parse(&back).map_err(|_| Problem::Internal)?;
    let (url, pending) = begin((oidc, &provider), &back, None, &seeds, Utc::now());
    let response = see_other(url.as_str())?;
    let key = pending.key();
    start.keep(&key, Way::Oidc(pending), response).await
}

fn unavailable(why: Unbelieved) -> page::Refused {
    Problem::Unavailable(format!(
        "the identity provider cannot be used now ({}): {}",
        why.check, why.why
    ))
    .into()
}

/// The browser is back.
pub(super) async fn back(
    browser: Browser,
    Path((org, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, page::Refused> {
    let door = browser.organization(&org).await?;
    let id: ConnectionId = id.parse().map_err(|_| Problem::NotFound)?;
    let callback = Callback::read(query.as_deref().unwrap_or_default())
        .map_err(|refusal| Problem::Malformed(refusal.to_string()))?;
    let arriving = arriving::take(&browser, &door, (id, &callback.key())).await?;
    let found = door.glance().snapshot().connection(id).cloned();
    let protocol = found.map(|stored| stored.value.protocol);
    let (Some(Protocol::Oidc(oidc)), Way::Oidc(pending)) = (protocol, &arriving.way) else {
        return Err(Problem::NotFound.into());
    };
    let proof = redeemed(&browser.app, &oidc, pending, &callback).await;
    let said = Said {
        id,
        protocol: Protocol::Oidc(oidc),
        proof,
    };
    arriving::finish(&browser, &door, said, (&arriving.next, arriving.test)).await
}

/// The provider says that somebody has signed out there (OpenID Connect Back-Channel Logout 1.0): their sessions by this connection end. Asked
/// by the provider itself, not by a browser.
pub(super) async fn logout(
    browser: Browser,
    Path((org, id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Problem> {
    let door = browser.organization(&org).await?;
    let id: ConnectionId = id.parse().map_err(|_| Problem::NotFound)?;
    let found = door.glance().snapshot().connection(id).cloned();
    let Some(Protocol::Oidc(oidc)) = found.map(|stored| stored.value.protocol) else {
        return Err(Problem::NotFound);
    };
    let token = form.get("logout_token");
    let token = token.ok_or_else(|| Problem::Malformed("`logout_token` is missing".into()))?;
    let ended = match said_logout(&browser.app, &oidc, token).await {
        Ok(ended) => ended,
        Err(Unbelieved { check, why }) => {
            enter::note(&browser, &door, Refusal::Invalid).await?;
            return Err(Problem::Malformed(format!(
                "`logout_token`: the check `{check}` failed: {why}"
            )));
        }
    };
    let (name, until) = ended.once;
    let once = arriving::spent(id, &name, until);
    if door.is_spent(&once.0).await.map_err(refused::problem)? {
        return Err(Problem::Malformed("`logout_token` was used before".into()));
    }
    let asker = browser.from().asker(Caller::System);
    let left = door
        .arrive(asker, move |by, snapshot| {
            let user = match &ended.subject {
                Some(subject) => {
                    let identity = Identity {
                        connection: id,
                        subject: subject.clone(),
                    };
                    // Nobody of ours has a session there.
                    Some(snapshot.identified(&identity).unwrap_or(snapshot.org()))
                }
                None => None,
            };
            let there = ended.provider_session.as_deref();
            let change = session::leave_by_provider(by, snapshot, (id, user, there))?;
            Ok(change.effect(Effect::Spend(once.0, once.1)))
        })
        .await;
    match left {
        // Whoever has no session here is signed out.
        Ok(_) | Err(Refused::Directory(DirectoryError::NotFound { .. })) => Ok(shared::done()),
        Err(error) => Err(refused::problem(error)),
    }
}

async fn said_logout(app: &App, oidc: &Oidc, token: &str) -> Result<Logout, Unbelieved> {
    let provider = provider(app, oidc).await?;
    let outside = app.outside();
    let keys = KeySet::read(&outside.document(provider.keys(), Instant::now()).await?)?;
    match logout::verify(token, oidc, &keys, Utc::now()) {
        Err(unknown @ OidcRefusal::UnknownKey(_)) => {
            let again = outside
                .document_again(provider.keys(), Instant::now())
                .await?;
            let again = again.ok_or_else(|| Unbelieved::from(unknown))?;
            Ok(logout::verify(
                token,
                oidc,
                &KeySet::read(&again)?,
                Utc::now(),
            )?)
        }
        verified => Ok(verified?),
    }
}

/// What the provider says of whoever has come back.
async fn redeemed(
    app: &App,
    oidc: &Oidc,
    pending: &Pending,
    callback: &Callback,
) -> Result<Proof, Unbelieved> {
    let provider = provider(app, oidc).await?;
    let code = pending.accept((oidc, &provider), callback, Utc::now())?;
    let request = redeem((oidc, &provider), pending, &code)?;
    let outside = app.outside();
    let answer = outside
        .post(
            &request.url,
            request.authorization.as_deref(),
            &request.form,
        )
        .await?;
    let grant = Grant::read(answer.status, &answer.body)?;
    let keys = KeySet::read(&outside.document(provider.keys(), Instant::now()).await?)?;
    let verified = match token::verify(&grant, pending, oidc, &keys, Utc::now()) {
        Err(unknown @ OidcRefusal::UnknownKey(_)) => {
            // It may have changed its keys since they were fetched.
            let again = outside
                .document_again(provider.keys(), Instant::now())
                .await?;
            let Some(again) = again else {
                return Err(unknown.into());
            };
            token::verify(&grant, pending, oidc, &KeySet::read(&again)?, Utc::now())?
        }
        verified => verified?,
    };
    let verified = match provider.userinfo().filter(|_| verified.lacks(oidc)) {
        Some(url) => {
            let answer = outside.get(url, Some(&grant.authorization())).await?;
            verified.with_userinfo(answer.status, &answer.media, &answer.body)?
        }
        None => verified,
    };
    Ok(verified.proof(oidc)?)
}
