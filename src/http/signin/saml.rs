//! Signing in by SAML 2.0: the browser is sent to the provider with a request, and the response that it posts is held to every rule.

use std::time::Duration;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use maud::html;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::arriving::{self, Said, Start, Unbelieved, Way};
use super::page::{Forms, Refused, page, see_other};
use super::{Browser, Form, HOME, enter};
use crate::app::App;
use crate::authn::proof::Proof;
use crate::authn::saml::ServiceProvider;
use crate::authn::saml::provider::Provider;
use crate::authn::saml::request::{RelayState, RequestId, Sent, authentication, metadata};
use crate::authn::saml::response::{Expected, Request, accept};
use crate::crypto;
use crate::decide::Door;
use crate::directory::connection::{ConnectionId, Protocol, Saml};
use crate::http::problem::Problem;
use crate::http::refused;
use crate::ids::TenantId;
use crate::log::entry::Refusal;

/// How many responses are looked at at once: each keeps a processor busy.
static LOOKING: Semaphore = Semaphore::const_new(2);

/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// What we are to a connection's provider: it is told apart from every other, so that none is answered with what another has said.
pub(in crate::http) fn us(app: &App, tenant: TenantId, id: ConnectionId) -> ServiceProvider {
    let base = app.config().http.base_url.as_str();
    ServiceProvider {
        entity_id: format!("{base}/signin/{tenant}/{id}/metadata"),
        acs_url: format!("{base}/signin/{tenant}/{id}/acs"),
    }
}

/// Our metadata, for the provider.
pub(super) async fn ours(
    browser: Browser,
    Path((org, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let door = browser.organization(&org).await?;
    let (id, _) = found(&door, &id)?;
    let us = us(&browser.app, door.store().id(), id);
    let text = metadata(&us).map_err(|_| Problem::Internal)?;
    let kind = [
        (header::CONTENT_TYPE, "application/samlmetadata+xml"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((kind, text).into_response())
}

fn found(door: &Door, id: &str) -> Result<(ConnectionId, Saml), Problem> {
    let id: ConnectionId = id.parse().map_err(|_| Problem::NotFound)?;
    let found = door.glance().snapshot().connection(id).cloned();
    match found.map(|stored| stored.value.protocol) {
        Some(Protocol::Saml(saml)) => Ok((id, saml)),
        Some(Protocol::Oidc(_)) | None => Err(Problem::NotFound),
    }
}

/// Sends the browser to the provider.
pub(super) async fn go(browser: &Browser, start: Start, saml: &Saml) -> Result<Response, Refused> {
    let random = |_| Problem::Internal;
    let request = RequestId::new(crypto::random().map_err(random)?);
    let relay: [u8; 32] = crypto::random().map_err(random)?;
    let relay = RelayState::new(&URL_SAFE_NO_PAD.encode(relay)).ok_or(Problem::Internal)?;
    let us = us(&browser.app, start.door.store().id(), start.id);
    let sent = authentication(saml, &us, &request, &relay, Utc::now())
        .map_err(|error| Problem::Unavailable(error.to_string()))?;
    let response = match sent {
        Sent::Redirect { url } => see_other(&url)?,
        Sent::Post { action, fields } => {
            let body = html! {
                p { "You go on to sign in with " (start.connection.name) "." }
                form method="post" action=(action) {
                    @for (name, value) in &fields { input type="hidden" name=(name) value=(value); }
                    button type="submit" { "Go on" }
                }
            };
            page("Sign in", Forms::Onward, &body)
        }
    };
    let way = Way::Saml(request.as_str().to_owned());
    start.keep(&key(&relay), way, response).await
}

fn key(relay: &RelayState) -> [u8; 32] {
    Sha256::digest(relay.as_str()).into()
}

/// The browser is back, with what the provider says.
pub(super) async fn acs(
    browser: Browser,
    Path((org, id)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Refused> {
    let door = browser.organization(&org).await?;
    let (id, saml) = found(&door, &id)?;
    let field = form.get("SAMLResponse");
    let field = field.ok_or_else(|| Problem::Malformed("`SAMLResponse` is missing".into()))?;
    let relay = form.get("RelayState").and_then(RelayState::new);
    let arriving = match relay {
        // What nobody has asked for is taken where the connection says so, and is no test.
        None if saml.idp_initiated => None,
        None => {
            enter::note(&browser, &door, Refusal::MethodNotAllowed).await?;
            let why = "nobody has asked for this: begin at this organization's sign-in page";
            return Err(Problem::Forbidden(why.into()).into());
        }
        Some(relay) => Some(arriving::take(&browser, &door, (id, &key(&relay))).await?),
    };
    let (asked, next, test) = match arriving {
        None => (None, HOME.to_owned(), None),
        Some(arriving) => match arriving.way {
            Way::Saml(request) => (Some(request), arriving.next, arriving.test),
            Way::Oidc(_) => return Err(Problem::NotFound.into()),
        },
    };
    let us = us(&browser.app, door.store().id(), id);
    let domains = domains(&door)?;
    let proof = looked_at(field.to_owned(), (saml.clone(), us, domains), asked).await?;
    let said = Said {
        id,
        protocol: Protocol::Saml(saml),
        proof,
    };
    arriving::finish(&browser, &door, said, (&next, test)).await
}

/// The mail domains that were shown to be the organization's: of these its own provider is believed.
fn domains(door: &Door) -> Result<Vec<String>, Problem> {
    let world = door.glance();
    let organization = world.snapshot().organization();
    let organization = organization.map_err(|error| refused::problem(error.into()))?;
    let owned = organization.sign_in.domains.iter();
    let owned = owned.filter(|(_, domain)| domain.verified_at.is_some());
    Ok(owned.map(|(name, _)| name.clone()).collect())
}

/// Holds a response to the rules, on a thread where that keeps nobody waiting.
async fn looked_at(
    field: String,
    (saml, us, domains): (Saml, ServiceProvider, Vec<String>),
    asked: Option<String>,
) -> Result<Result<Proof, Unbelieved>, Problem> {
    let turn = tokio::time::timeout(PATIENCE, LOOKING.acquire()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Problem::TooMany(PATIENCE));
    };
    let looked = tokio::task::spawn_blocking(move || {
        // Whoever hangs up gives nobody else a third processor.
        let _turn = turn;
        let provider = Provider::new(&saml).map_err(|error| Unbelieved {
            check: "connection",
            why: error.to_string(),
        })?;
        let request = match &asked {
            Some(request) => Request::Pending(request),
            None => Request::Unasked,
        };
        let expected = Expected {
            us: &us,
            request,
            domains: &domains,
            now: Utc::now(),
        };
        accept(&field, &provider, &expected).map_err(|refusal| Unbelieved {
            check: refusal.name(),
            why: refusal.to_string(),
        })
    });
    looked.await.map_err(|error| {
        tracing::error!(%error, "a SAML response was not looked at to its end");
        Problem::Internal
    })
}
