//! A session begins: its cookie is made, the change is recorded, and the browser goes on.

use std::sync::Arc;

use axum::http::header;
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::super::cookies::{self, Name};
use super::super::problem::Problem;
use super::super::{refused, signed_in};
use super::Browser;
use super::page::{Refused, see_other};
use crate::authn::Refusal::Unknown;
use crate::authn::token::{Token, Use};
use crate::crypto;
use crate::decide::authorized::Proven;
use crate::decide::{Caller, Door, Refused as NotDone};
use crate::directory::connection::ConnectionId;
use crate::directory::session::{self, Arrival};
use crate::directory::{Change, DirectoryError, Kind, Ref, Snapshot};
use crate::ids::TenantId;
use crate::log::Event;
use crate::log::entry::{Outcome, Refusal};

/// How somebody has shown who they are.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) user: Ref,
    pub(super) method: &'static str,
    pub(super) break_glass: bool,
    pub(super) connection: Option<ConnectionId>,
    pub(super) provider_session: Option<String>,
    pub(super) ends_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// Begins a session for whoever has shown who they are, and sends the browser on to `place`. The session that it had is over.
///
/// # Errors
/// The change is refused: recorded, and the person is told why.
pub(super) async fn enter(
    browser: &Browser,
    door: &Arc<Door>,
    (shown, place): (Shown, &str),
    plan: impl Fn(&Proven, &Snapshot, &Arrival) -> Result<Change, DirectoryError>
    + Send
    + Sync
    + 'static,
) -> Result<Response, Refused> {
    let random = |_| Problem::Internal;
    let id: [u8; 16] = crypto::random().map_err(random)?;
    let secret: [u8; 32] = crypto::random().map_err(random)?;
    let token = Token::mint(Use::Session, *door.store().id().bytes(), id, secret);
    let from = browser.from();
    let caller = Caller::Session {
        session: Ref::new(Kind::Session, id),
        user: shown.user,
    };
    let arrival = Arrival {
        id,
        digest: token.digest(),
        user: shown.user,
        method: shown.method,
        break_glass: shown.break_glass,
        connection: shown.connection,
        provider_session: shown.provider_session,
        ends_at: shown.ends_at,
        agent: browser.agent(),
        client: from.client(),
    };
    let entered = door
        .arrive(from.asker(caller), move |by, snapshot| {
            plan(by, snapshot, &arrival)
        })
        .await;
    if let Err(error) = entered {
        note(browser, door, why(&error)).await?;
        return Err(refused::problem(error).into());
    }
    leave_before(browser).await;
    let mut response = see_other(place)?;
    let cookie = cookies::set(Name::Session, token.expose(), None).ok_or(Problem::Internal)?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// The session that the browser had ends: nobody goes on with it once its cookie is another. That it cannot be ended keeps nobody out.
async fn leave_before(browser: &Browser) {
    let Some(token) = signed_in::cookie(&browser.headers) else {
        return;
    };
    let from = browser.from();
    if let Ok(before) = signed_in::session(&browser.app, &from, token).await {
        let session = before.session;
        let left = before
            .door
            .arrive(before.asker(&from), move |by, snapshot| {
                session::leave(by, snapshot, session)
            });
        if let Err(error) = left.await {
            tracing::warn!(%error, "the session before a sign-in goes on until it is idle");
        }
    }
}

/// Takes what a link of this use was made for, once.
///
/// # Errors
/// It is none, was used, or its time is over: recorded, and told as any other that is none.
pub(super) async fn ticket<T: DeserializeOwned>(
    browser: &Browser,
    of: Use,
    text: &str,
) -> Result<(Arc<Door>, T), Refused> {
    browser.is_ours()?;
    let token = Token::parse(of, text).ok_or(Problem::BadLink)?;
    let door = browser.tenant(TenantId::new(token.tenant())).await?;
    let brought = browser.brought(&door, of, &token);
    brought.admit()?;
    let taken = door.take_expected(&token.digest()).await;
    let taken = taken.map_err(refused::problem)?;
    match taken.and_then(|body| serde_json::from_slice(&body).ok()) {
        Some(made_for) => Ok((door, made_for)),
        None => Err(brought.refuse_link(Unknown).await?.into()),
    }
}

/// Records that somebody was not let in; a flood of them is counted.
pub(super) async fn note(browser: &Browser, door: &Door, why: Refusal) -> Result<(), Problem> {
    tracing::warn!(tenant.id = %door.store().id(), why = why.as_str(), "a sign-in was refused");
    let asker = browser.from().asker(Caller::Operator);
    door.note_refused(asker, Event::UserLoginFailed, Outcome::Failed(why))
        .await
        .map_err(refused::problem)
}

/// The word for why the change was refused.
fn why(refused: &NotDone) -> Refusal {
    match refused {
        NotDone::Directory(DirectoryError::Suspended) => Refusal::Suspended,
        NotDone::Directory(DirectoryError::MethodNotAllowed { .. }) => Refusal::MethodNotAllowed,
        NotDone::Directory(DirectoryError::NoMember { .. } | DirectoryError::NotFound { .. }) => {
            Refusal::UnknownCredential
        }
        NotDone::Directory(DirectoryError::UsedUp) => Refusal::Conflict,
        NotDone::Directory(_) => Refusal::Invalid,
        _ => Refusal::Unavailable,
    }
}
