//! Signing in: the pages for people, and what a browser brings to them.

mod account;
mod arriving;
mod enter;
mod join;
mod link;
pub(super) mod oidc;
mod page;
pub(super) mod saml;
mod start;

use std::sync::Arc;

use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::routing::{get, post};
use axum::{Extension, Router};
use url::form_urlencoded;

use self::page::Refused;
use super::attempts::{Attempts, Begun};
use super::body;
use super::caller::{Brought, From};
use super::problem::Problem;
use super::refused;
use super::request_id::RequestId;
use super::serve::Peer;
use super::signed_in;
use crate::app::App;
use crate::authn;
use crate::authn::token::{Token, Use};
use crate::decide::Door;
use crate::ids::TenantId;
use crate::tenant::{self, Slug};

/// The pages' routes: for people, so no program is told of them.
pub(super) fn routes(attempts: Extension<Arc<Attempts>>) -> Router<Arc<App>> {
    Router::new()
        .route("/signin", get(start::which))
        .route("/signin/{org}", get(start::how))
        .route("/signin/{org}/{connection}", post(start::go))
        .route("/signin/{org}/{connection}/callback", get(oidc::back))
        .route("/signin/{org}/{connection}/metadata", get(saml::ours))
        .route(
            "/signin/{org}/{connection}/acs",
            post(saml::acs).layer(DefaultBodyLimit::max(RESPONSE_LIMIT)),
        )
        .route(
            "/signin/{org}/{connection}/logout",
            post(oidc::logout).layer(DefaultBodyLimit::max(LOGOUT_LIMIT)),
        )
        .route("/signin/link/{token}", get(link::ask).post(link::take))
        .route("/signin/test/{token}", get(start::ask).post(start::test))
        .route("/join/{token}", get(join::ask).post(join::take))
        .route("/account", get(account::show))
        .route("/account/end", post(account::end))
        .route("/signout", post(account::sign_out))
        .layer(attempts)
        .layer(Extension(Arc::new(Begun::default())))
        .layer(DefaultBodyLimit::max(FORM_LIMIT))
}

/// The longest form of ours, in bytes: a stranger may send one.
const FORM_LIMIT: usize = 16 * 1024;

/// The longest form with a SAML response, which is half of that at most before its characters are escaped.
const RESPONSE_LIMIT: usize = 2 * authn::saml::LONGEST;

/// The longest form with a provider's logout token, which is half of that at most.
const LOGOUT_LIMIT: usize = 2 * authn::oidc::LONGEST;

/// Where a person goes once they are signed in.
const HOME: &str = "/account";

/// The longest place to go on to, in bytes.
const PLACE_LIMIT: usize = 512;

/// A browser's request: where it comes from, and its headers.
struct Browser {
    app: Arc<App>,
    peer: Peer,
    id: RequestId,
    method: Method,
    headers: HeaderMap,
}

impl FromRequestParts<Arc<App>> for Browser {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().copied();
        let ConnectInfo(peer) = peer.ok_or(Problem::Internal)?;
        let id = parts.extensions.get::<RequestId>().cloned();
        Ok(Self {
            app: Arc::clone(app),
            peer,
            id: id.ok_or(Problem::Internal)?,
            method: parts.method.clone(),
            headers: parts.headers.clone(),
        })
    }
}

impl Browser {
    fn from(&self) -> From<'_> {
        From {
            peer: self.peer,
            id: &self.id,
            shown: None,
        }
    }

    /// The site that it is at; everybody on this machine is at one.
    fn site(&self) -> String {
        let site = self.peer.site();
        site.map_or_else(String::new, |site| site.to_string())
    }

    /// A token that came along.
    fn brought<'a>(&'a self, door: &'a Door, of: Use, token: &Token) -> Brought<'a> {
        Brought::of(&self.app, self.from(), door, (of.word(), token.id()))
    }

    /// What the program calls itself.
    fn agent(&self) -> Option<String> {
        let agent = self.headers.get(header::USER_AGENT)?;
        agent.to_str().ok().map(str::to_owned)
    }

    /// Refuses a form that another site's page has sent.
    fn is_ours(&self) -> Result<(), Problem> {
        signed_in::is_ours(
            &self.method,
            &self.headers,
            &self.app.config().http.base_url,
        )
    }

    /// The organization of that name or identifier.
    async fn organization(&self, text: &str) -> Result<Arc<Door>, Problem> {
        let id = match text.parse::<TenantId>() {
            Ok(id) => Some(id),
            Err(_) => match text.parse::<Slug>() {
                Ok(slug) => self.app.control().find(&slug).await.map_err(|error| {
                    tracing::error!(%error, "an organization is not found");
                    Problem::Unavailable("this cannot be answered now: try again".into())
                })?,
                Err(_) => None,
            },
        };
        self.tenant(id.ok_or(Problem::NotFound)?).await
    }

    async fn tenant(&self, id: TenantId) -> Result<Arc<Door>, Problem> {
        let door = self.app.door(id).await;
        let door = door.map_err(|error| match refused::closed(&error) {
            // Nobody's credential is wrong here: there is no such organization.
            Problem::BadCredential => Problem::NotFound,
            problem => problem,
        })?;
        match door.store().kind() {
            tenant::Kind::Organization => Ok(door),
            tenant::Kind::Deployment => Err(Problem::NotFound),
        }
    }
}

/// The fields of a form of ours; one that is there twice counts once.
struct Form(Vec<(String, String)>);

impl FromRequest<Arc<App>> for Form {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refused> {
        let body = body::whole(request, app.config().http.request_timeout()).await?;
        Ok(Self(form_urlencoded::parse(&body).into_owned().collect()))
    }
}

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A place on this service to go on to: nothing that a browser reads as another host.
fn place(text: Option<&str>) -> &str {
    let ours = |text: &&str| {
        text.len() <= PLACE_LIMIT
            && text.starts_with('/')
            && !text.starts_with("//")
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    text.filter(ours).unwrap_or(HOME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_on_to_a_place_of_ours_alone() {
        assert_eq!(place(Some("/account?x=1#y")), "/account?x=1#y");
        for elsewhere in [
            "",
            "account",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/a\r\nSet-Cookie: x=1",
            "/a b",
            "javascript:alert(1)",
            "/\u{e9}",
            &format!("/{}", "a".repeat(PLACE_LIMIT)),
        ] {
            assert_eq!(place(Some(elsewhere)), HOME, "{elsewhere}");
        }
        assert_eq!(place(None), HOME);
    }
}
