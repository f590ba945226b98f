//! Sessions over HTTP: who is signed in, signing out, and a person's sessions seen and ended.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, json};

use super::call::Call;
use super::cookies::{self, Name};
use super::document::Page;
use super::document::calls::{Acting, Keyed, Problems};
use super::document::signin::sessions::{EndedSessions, Session, SignedIn};
use super::fields::Fields;
use super::page;
use super::problem::Problem;
use super::refused;
use crate::decide::Caller;
use crate::decide::authorized::{SessionRead, SessionRevoke};
use crate::directory::{Kind, Object, Ref, Snapshot, session, view};

/// Who is signed in, and the session.
#[utoipa::path(get, path = "/v1/session", tag = "People", operation_id = "read_session",
    responses((status = 200, description = "both", body = SignedIn), Problems),
    security(("session" = [])))]
pub(super) async fn whoami(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let (session, user) = signed_in(&call)?;
    let permitted = call.read::<SessionRead>(user).await?;
    let snapshot = permitted.snapshot();
    let told = |one: Ref| {
        let stored = snapshot.object(one).ok_or(Problem::NotFound)?;
        Ok::<_, Problem>(view::view(one, &stored.value, snapshot))
    };
    let body = json!({ "user": told(user)?, "session": told(session)? });
    Ok(Json(body).into_response())
}

/// Sign out: the session ends, and the cookie with it.
#[utoipa::path(delete, path = "/v1/session", tag = "People", operation_id = "sign_out",
    responses((status = 204, description = "signed out"), Problems),
    security(("session" = [])))]
pub(super) async fn sign_out(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let (session, _) = signed_in(&call)?;
    let changed = call
        .door()
        .arrive(call.asker(), move |by, snapshot| {
            session::leave(by, snapshot, session)
        })
        .await
        .map_err(refused::problem)?;
    let mut response = page::gone(&changed);
    if let Some(cookie) = cookies::clear(Name::Session) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// A person's sessions, the newest first.
#[utoipa::path(get, path = "/v1/users/{id}/sessions", tag = "People", operation_id = "list_sessions",
    params(("id" = String, Path, description = "the person's identifier"), Acting),
    responses((status = 200, description = "all that are not over, at most 20", body = Page<Session>), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let user = call.named("id", Kind::User)?;
    let permitted = call.read::<SessionRead>(user).await?;
    let mut found = live(permitted.snapshot(), user, chrono::Utc::now());
    found.reverse();
    let mut items = Vec::with_capacity(found.len());
    for (one, object) in found {
        let mut item = view::view(one, &object, permitted.snapshot());
        let used = call.door().last_used(one).await.map_err(refused::problem)?;
        if let Some(item) = item.as_object_mut() {
            item.insert("last_used_at".into(), json!(used));
        }
        items.push(item);
    }
    Ok(page::page(items, None))
}

/// The sessions of a person that are not over, the oldest first.
fn live(snapshot: &Snapshot, user: Ref, now: chrono::DateTime<chrono::Utc>) -> Vec<(Ref, Object)> {
    let mut found: Vec<_> = session::sessions_of(snapshot, user)
        .filter(|(_, session)| now < session.expires_at)
        .map(|(one, session)| (session.created_at, one, Object::Session(session.clone())))
        .collect();
    found.sort_by_key(|(created_at, one, _)| (*created_at, *one));
    found
        .into_iter()
        .map(|(_, one, object)| (one, object))
        .collect()
}

/// End one of a person's sessions.
#[utoipa::path(delete, path = "/v1/users/{id}/sessions/{session}", tag = "People", operation_id = "revoke_session",
    params(("id" = String, Path, description = "the person's identifier"), ("session" = String, Path, description = "the session's"), Acting, Keyed),
    responses((status = 204, description = "it has ended, on every node"), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn revoke(call: Call) -> Result<Response, Problem> {
    let user = call.named("id", Kind::User)?;
    let wanted = call.named("session", Kind::Session)?;
    let changed = call
        .change::<SessionRevoke>(user, Map::new(), &Fields::none(), move |by, snapshot| {
            session::revoke(by, snapshot, wanted)
        })
        .await?;
    Ok(page::gone(&changed))
}

/// End all of a person's sessions.
#[utoipa::path(delete, path = "/v1/users/{id}/sessions", tag = "People", operation_id = "revoke_sessions",
    params(("id" = String, Path, description = "the person's identifier"), Acting, Keyed),
    responses((status = 200, description = "how many", body = EndedSessions), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn revoke_all(call: Call) -> Result<Response, Problem> {
    let user = call.named("id", Kind::User)?;
    let changed = call
        .change::<SessionRevoke>(user, Map::new(), &Fields::none(), session::revoke_all)
        .await?;
    Ok(page::changed_to(changed))
}

fn signed_in(call: &Call) -> Result<(Ref, Ref), Problem> {
    match call.asker().caller {
        Caller::Session { session, user } => Ok((session, user)),
        Caller::Key { .. }
        | Caller::Certificate { .. }
        | Caller::Directory { .. }
        | Caller::Operator
        | Caller::System => Err(Problem::Malformed(
            "this is for whoever is signed in: it takes a session's cookie, and no API key".into(),
        )),
    }
}
