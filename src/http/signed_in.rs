//! Who is signed in: the session of a cookie, and that a change is asked for by a page of ours.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::caller::{self, Brought, From};
use super::cookies::{self, Name};
use super::problem::Problem;
use super::refused;
use crate::app::App;
use crate::authn::token::{Token, Use};
use crate::authn::{self, Refusal};
use crate::config::BaseUrl;
use crate::decide::{Asker, Caller, Door};
use crate::directory::object::Session;
use crate::directory::{Ref, Snapshot};
use crate::ids::TenantId;
use crate::log::Event;

/// Says from which site a browser sends a request.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Somebody who is signed in.
pub(super) struct SignedIn {
    pub(super) door: Arc<Door>,
    pub(super) session: Ref,
    pub(super) user: Ref,
    /// The cookie itself: what is derived of it shows that a form is ours.
    pub(super) token: Token,
}

impl SignedIn {
    /// Who asks.
    pub(super) fn asker(&self, from: &From<'_>) -> Asker {
        let caller = Caller::Session {
            session: self.session,
            user: self.user,
        };
        from.asker(caller)
    }
}

/// The session cookie that came along, if it can be one.
pub(super) fn cookie(headers: &HeaderMap) -> Option<Token> {
    let text = cookies::read(headers, Name::Session)?;
    Token::parse(Use::Session, &text)
}

/// The session of a cookie, on the newest state where this node does not know it.
///
/// # Errors
/// It is none, is over, or was not used for too long: recorded, as any refused credential.
pub(super) async fn session(app: &App, from: &From<'_>, token: Token) -> Result<SignedIn, Problem> {
    let door = caller::organization(app, TenantId::new(token.tenant())).await?;
    let brought = Brought::of(app, *from, &door, (Use::Session.word(), token.id()));
    brought.admit()?;
    let now = chrono::Utc::now();
    let look = |snapshot: &Snapshot| {
        let found = authn::session_of(snapshot, &token, now);
        found.map(|(session, found)| (session, Session::clone(found)))
    };
    let checked = match caller::found(&door, look).await? {
        Ok((session, found)) => used(&door, session, &found, now)
            .await?
            .map(|()| (session, found.owner)),
        Err(why) => Err(why),
    };
    match checked {
        Ok((session, user)) => {
            door.touch(session, now);
            Ok(SignedIn {
                door,
                session,
                user,
                token,
            })
        }
        Err(why) => Err(brought.refuse(Event::UserLoginFailed, why).await?),
    }
}

/// Whether it was used lately, here or on another node.
async fn used(
    door: &Door,
    session: Ref,
    found: &Session,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Result<(), Refusal>, Problem> {
    let idle = {
        let world = door.glance();
        let organization = world.snapshot().organization();
        organization.map_or_else(
            |_| chrono::Duration::zero(),
            |organization| organization.sign_in.idle(),
        )
    };
    let is_fresh = |at: Option<chrono::DateTime<chrono::Utc>>| {
        now - at.map_or(found.created_at, |at| at.max(found.created_at)) < idle
    };
    if is_fresh(door.used_here(session)) {
        return Ok(Ok(()));
    }
    let elsewhere = door.last_used(session).await.map_err(refused::problem)?;
    Ok(if is_fresh(elsewhere) {
        Ok(())
    } else {
        Err(Refusal::Expired)
    })
}

/// Has a browser keep nothing of what was answered to somebody who is signed in.
pub(super) fn keep_not(answered: &mut HeaderMap) {
    let kept = answered.entry(header::CACHE_CONTROL);
    kept.or_insert(HeaderValue::from_static("no-store"));
}

/// Whether a request that came with a cookie may change anything: only where a page of this service has sent it.
///
/// # Errors
/// Another site's page has, or nothing says which.
pub(super) fn is_ours(method: &Method, headers: &HeaderMap, base: &BaseUrl) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let ours = match (text(&header::ORIGIN), text(&SEC_FETCH_SITE)) {
        (Some(origin), site) => {
            let here = host.is_some_and(|host| origin == format!("https://{host}"));
            (origin == base.origin() || here) && site.is_none_or(|site| site == "same-origin")
        }
        (None, Some(site)) => site == "same-origin",
        (None, None) => false,
    };
    if ours {
        return Ok(());
    }
    Err(Problem::Forbidden(
        "a change with a session's cookie must come from a page of this service: send `Origin`, or use an API key".into(),
    ))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn only_a_page_of_ours_changes_anything() {
        let base = BaseUrl::try_from("https://keep.example/authz".to_owned()).unwrap();
        let check = |method: Method, pairs: &[(&'static str, &'static str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| {
                    (
                        HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                })
                .collect();
            is_ours(&method, &headers, &base).is_ok()
        };
        assert!(check(Method::GET, &[]));
        for (sent, expected) in [
            (&[("origin", "https://keep.example")][..], true),
            (
                &[
                    ("origin", "https://keep.example"),
                    ("sec-fetch-site", "same-origin"),
                ],
                true,
            ),
            (
                &[
                    ("origin", "https://10.0.0.1:8443"),
                    ("host", "10.0.0.1:8443"),
                ],
                true,
            ),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://keep.example")], false),
            (&[("origin", "https://keep.example.evil.example")], false),
            (
                &[("origin", "https://evil.example"), ("host", "keep.example")],
                false,
            ),
            (
                &[
                    ("origin", "https://keep.example"),
                    ("sec-fetch-site", "cross-site"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
        ] {
            assert_eq!(check(Method::POST, sent), expected, "{sent:?}");
            assert_eq!(check(Method::DELETE, sent), expected, "{sent:?}");
        }
    }
}
