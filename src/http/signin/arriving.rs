//! A sign-in that is under way: kept for one browser while it is at the identity provider, taken once, and brought to its end.

use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use maud::html;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Browser;
use super::enter::{self, Shown};
use super::page::{Forms, Refused, page};
use crate::authn::oidc::request::Pending;
use crate::authn::proof::Proof;
use crate::crypto;
use crate::decide::{Caller, Door, Room};
use crate::directory::connection::{Connection, ConnectionId, Protocol};
use crate::directory::entering::{self, Expected, Vouched, Who};
use crate::directory::{Effect, Kind, Ref, sso};
use crate::http::cookies::{self, Name};
use crate::http::problem::Problem;
use crate::http::refused;
use crate::log::entry::Refusal;

/// How long one may be at the provider.
pub(super) const LASTS: Duration = Duration::minutes(10);

/// What is kept of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Arriving {
    pub(super) connection: ConnectionId,
    pub(super) way: Way,
    /// Where the browser goes on to.
    pub(super) next: String,
    /// SHA-256 of the cookie that the browser has for it, in hexadecimal.
    browser: String,
    /// The test that it is.
    pub(super) test: Option<Test>,
}

/// What the answer must fit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Way {
    /// OpenID Connect.
    Oidc(Pending),
    /// SAML: the identifier of the request.
    Saml(String),
}

/// A test of a connection, which signs nobody in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Test {
    /// Who tests it.
    pub(super) admin: Ref,
    /// What is tested.
    pub(super) protocol: Protocol,
}

/// Which connection somebody signs in by, and what for.
pub(super) struct Start {
    pub(super) door: Arc<Door>,
    pub(super) id: ConnectionId,
    pub(super) connection: Connection,
    pub(super) next: String,
    pub(super) test: Option<Test>,
    /// From which site.
    pub(super) site: String,
}

impl Start {
    /// Keeps it under this key until the browser comes back, and gives the browser its cookie.
    pub(super) async fn keep(
        self,
        key: &[u8; 32],
        way: Way,
        mut response: Response,
    ) -> Result<Response, Refused> {
        let secret: [u8; 32] = crypto::random().map_err(|_| Problem::Internal)?;
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let arriving = Arriving {
            connection: self.id,
            way,
            next: self.next,
            browser: digest(&secret),
            test: self.test,
        };
        let body = serde_json::to_vec(&arriving).map_err(|_| Problem::Internal)?;
        let kept = self
            .door
            .expect((key, Room::Anybody(&self.site)), &body, Utc::now() + LASTS)
            .await;
        kept.map_err(refused::problem)?;
        let cookie = cookies::set(Name::Arrival, &secret, Some(LASTS));
        response
            .headers_mut()
            .append(header::SET_COOKIE, cookie.ok_or(Problem::Internal)?);
        Ok(response)
    }
}

/// Takes the one that is kept under this key; it must be this browser's, by this connection. It is used up whoever brings it.
pub(super) async fn take(
    browser: &Browser,
    door: &Door,
    (id, key): (ConnectionId, &[u8; 32]),
) -> Result<Arriving, Refused> {
    let taken = door.take_expected(key).await.map_err(refused::problem)?;
    let arriving = taken.and_then(|body| serde_json::from_slice::<Arriving>(&body).ok());
    let cookie = cookies::read(&browser.headers, Name::Arrival).unwrap_or_default();
    let is_its = |arriving: &Arriving| {
        let same = digest(&cookie);
        bool::from(same.as_bytes().ct_eq(arriving.browser.as_bytes())) && arriving.connection == id
    };
    match arriving.filter(is_its) {
        Some(arriving) => Ok(arriving),
        None => {
            enter::note(browser, door, Refusal::UnknownCredential).await?;
            let why = "this sign-in was used, has taken longer than ten minutes, or was begun in another browser: begin again";
            Err(Problem::Forbidden(why.into()).into())
        }
    }
}

fn digest(cookie: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(cookie))
}

/// Why the provider's answer is not believed: the check that failed, and a sentence.
#[derive(Debug)]
pub(super) struct Unbelieved {
    pub(super) check: &'static str,
    pub(super) why: String,
}

/// What a provider has said, and the connection that it was said by.
pub(super) struct Said {
    pub(super) id: ConnectionId,
    /// As it was set when that was checked.
    pub(super) protocol: Protocol,
    pub(super) proof: Result<Proof, Unbelieved>,
}

/// Signs whoever was proven in, or says what a test has found.
pub(super) async fn finish(
    browser: &Browser,
    door: &Arc<Door>,
    said: Said,
    (next, test): (&str, Option<Test>),
) -> Result<Response, Refused> {
    let ended = match test {
        Some(test) => tested(browser, door, said, &test).await,
        None => sign_in(browser, door, said, next).await,
    };
    let mut response = ended.unwrap_or_else(|refused| refused.into_response());
    if let Some(cookie) = cookies::clear(Name::Arrival) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

async fn sign_in(
    browser: &Browser,
    door: &Arc<Door>,
    said: Said,
    next: &str,
) -> Result<Response, Refused> {
    let proof = match said.proof {
        Ok(proof) => proof,
        Err(Unbelieved { check, why }) => {
            tracing::warn!(tenant.id = %door.store().id(), check, "a provider's answer was not believed");
            enter::note(browser, door, Refusal::Invalid).await?;
            let told = format!("the identity provider's answer was refused ({check}): {why}");
            return Err(Problem::Forbidden(told).into());
        }
    };
    let once = once(said.id, &proof);
    if let Some((digest, _)) = &once
        && door.is_spent(digest).await.map_err(refused::problem)?
    {
        enter::note(browser, door, Refusal::Conflict).await?;
        let why = "the identity provider's answer was used before: begin again";
        return Err(Problem::Forbidden(why.into()).into());
    }
    let vouched = vouched(said.id, &proof);
    // Who that is may have been changed by another node a moment ago.
    door.refresh().await.map_err(refused::problem)?;
    let who = match entering::who(door.glance().snapshot(), &vouched, Utc::now()) {
        Ok(who) => who,
        Err(error) => {
            enter::note(browser, door, Refusal::UnknownCredential).await?;
            return Err(refused::problem(error.into()).into());
        }
    };
    let user = match who {
        Who::Known(user) | Who::ByAddress(user) => user,
        Who::New => {
            let id = crypto::random().map_err(|_| Problem::Internal)?;
            Ref::new(Kind::User, id)
        }
    };
    let expected = Expected {
        who,
        protocol: said.protocol,
    };
    let shown = Shown {
        user,
        method: expected.protocol.name(),
        break_glass: false,
        connection: Some(said.id),
        provider_session: proof.provider_session.clone(),
        ends_at: proof.ends_at,
    };
    enter::enter(
        browser,
        door,
        (shown, next),
        move |by, snapshot, arrival| {
            let change = entering::enter(by, snapshot, (&vouched, arrival), &expected)?;
            Ok(match once {
                Some((digest, until)) => change.effect(Effect::Spend(digest, until)),
                None => change,
            })
        },
    )
    .await
}

/// What must not be taken twice by this connection, and until when, in microseconds.
fn once(id: ConnectionId, proof: &Proof) -> Option<([u8; 32], i64)> {
    let (name, until) = proof.once.as_ref()?;
    Some(spent(id, name, *until))
}

/// What a provider must not say twice, by its name there.
pub(super) fn spent(id: ConnectionId, name: &str, until: DateTime<Utc>) -> ([u8; 32], i64) {
    let digest = Sha256::digest(format!("{id} {name}"));
    (digest.into(), until.timestamp_micros())
}

fn vouched(id: ConnectionId, proof: &Proof) -> Vouched {
    Vouched {
        connection: id,
        subject: proof.subject.clone(),
        email: proof.email.clone(),
        email_verified: proof.email_verified,
        name: proof.name.clone(),
        groups: proof.groups.clone(),
    }
}

/// What a test has found; one in which the Admin themselves was proven is kept.
async fn tested(
    browser: &Browser,
    door: &Arc<Door>,
    said: Said,
    test: &Test,
) -> Result<Response, Refused> {
    let proof = match said.proof {
        Ok(proof) => proof,
        Err(Unbelieved { check, why }) => {
            let body = html! {
                p role="alert" { "The check " strong { (check) } " failed: " (why) }
                p { "Nothing was changed, and nobody was signed in." }
            };
            return Ok(page("The test failed", Forms::Ours, &body));
        }
    };
    let world = door.glance();
    let snapshot = world.snapshot();
    let connection = snapshot.connection(said.id).ok_or(Problem::NotFound)?;
    let found = entering::known(
        snapshot,
        &connection.value,
        &vouched(said.id, &proof),
        Utc::now(),
    );
    let is_admin =
        matches!(found, Ok(Who::Known(user) | Who::ByAddress(user)) if user == test.admin);
    if is_admin {
        let (id, test) = (said.id, test.clone());
        let asker = browser.from().asker(Caller::System);
        door.arrive(asker, move |by, snapshot| {
            sso::tested(by, snapshot, (id, &test.protocol, test.admin))
        })
        .await
        .map_err(refused::problem)?;
    }
    let who = match &found {
        Ok(Who::Known(user) | Who::ByAddress(user)) => {
            let name = snapshot.user(*user).map(|user| user.name.clone());
            format!("They would be signed in as {}.", name.unwrap_or_default())
        }
        Ok(Who::New) => "They would become a member.".to_owned(),
        Err(error) => format!("They would not be let in: {error}."),
    };
    let body = html! {
        p { "Every check held. " (who) }
        @if is_admin { p { "This was your own sign-in: single sign-on may be enforced with it." } }
        @else { p class="soft" { "This was not your own sign-in, so it does not count for enforcing single sign-on." } }
        h2 { "What the provider said" }
        table {
            thead { tr { th scope="col" { "Claim" } th scope="col" { "Value" } } }
            tbody { @for (name, value) in &proof.claims { tr { td { (name) } td { (value) } } } }
        }
    };
    Ok(page("The test succeeded", Forms::Ours, &body))
}
