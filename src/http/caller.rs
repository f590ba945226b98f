//! Who calls: the API key, the certificate or the session of a request, the tenant that it belongs to, and on whose behalf it is used.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, header};
use axum_server::tls::TlsInfo;

use super::problem::Problem;
use super::refused;
use super::request_id::RequestId;
use super::serve::Peer;
use super::signed_in;
use crate::app::App;
use crate::authn::api_key::ApiKey;
use crate::authn::certificate::Certificate;
use crate::authn::lockout::{Address, Attempt, Verdict};
use crate::authn::{self, Refusal};
use crate::decide::{Acting, Asker, Caller, Door};
use crate::directory::{Kind, Ref, Snapshot};
use crate::ids::TenantId;
use crate::log::Event;
use crate::log::entry::{Outcome, Refusal as Recorded};
use crate::tenant;

/// The header that names the user on whose behalf a key is used.
pub const ACTING_USER: HeaderName = HeaderName::from_static("cedarkeep-acting-user");
/// The header that names the agent that acts for that user.
pub const ACTING_AGENT: HeaderName = HeaderName::from_static("cedarkeep-acting-agent");
/// The header that says what a call is for: `context.purpose` of every decision that is made on it.
pub const PURPOSE: HeaderName = HeaderName::from_static("cedarkeep-purpose");

/// The header that names the organization of a call by client certificate.
pub const ORGANIZATION: HeaderName = HeaderName::from_static("cedarkeep-organization");

/// The longest purpose, in bytes.
const PURPOSE_LIMIT: usize = 64;

/// Where a request comes from: what is recorded of it whoever asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct From<'a> {
    pub(super) peer: Peer,
    pub(super) id: &'a RequestId,
    /// What the client has shown as its connection began; TLS has verified it.
    pub(super) shown: Option<&'a TlsInfo>,
}

impl<'a> From<'a> {
    /// Where a request comes from, by what the listener and the layers have said of it.
    pub(super) fn of(said: &'a Extensions) -> Result<Self, Problem> {
        let ConnectInfo(peer) = said.get::<ConnectInfo<Peer>>().ok_or(Problem::Internal)?;
        Ok(Self {
            peer: *peer,
            id: said.get::<RequestId>().ok_or(Problem::Internal)?,
            shown: said.get::<Arc<TlsInfo>>().map(Arc::as_ref),
        })
    }
}

impl From<'_> {
    /// The client's address.
    pub(super) fn client(&self) -> Option<String> {
        match self.peer {
            Peer::Tcp(address) => Some(address.ip().to_string()),
            Peer::Unix => None,
        }
    }

    /// The same, as it is counted.
    fn address(&self) -> Address {
        match self.peer {
            Peer::Unix => Address::LOCAL,
            Peer::Tcp(address) => Address::of(match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            }),
        }
    }

    /// Who asks from there.
    pub(super) fn asker(&self, caller: Caller) -> Asker {
        // The one that the answer has, whoever chose it.
        let id = match self.id.sent() {
            Some(sent) => String::from_utf8_lossy(sent).into_owned(),
            None => self.id.shown().to_owned(),
        };
        Asker {
            caller,
            request_id: Some(id),
            client: self.client(),
            purpose: None,
        }
    }
}

/// A back end that asks about others: no acting user.
pub(super) async fn service(app: &App, parts: &Parts) -> Result<(Arc<Door>, Asker), Problem> {
    let from = From::of(&parts.extensions)?;
    authenticate(app, from, &parts.headers, None).await
}

/// A call on somebody's behalf, if it names them; or of somebody who is signed in.
pub(super) async fn on_behalf(app: &App, parts: &Parts) -> Result<(Arc<Door>, Asker), Problem> {
    let (from, headers) = (From::of(&parts.extensions)?, &parts.headers);
    let user = named(headers, &ACTING_USER, Kind::User)?;
    let agent = named(headers, &ACTING_AGENT, Kind::Agent)?;
    // A key or a certificate that is meant is what counts: a browser sends its cookie whatever else it is told to send.
    let meant = [header::AUTHORIZATION, ORGANIZATION];
    let cookie = match meant.iter().any(|name| headers.contains_key(name)) {
        true => None,
        false => signed_in::cookie(headers),
    };
    if let Some(cookie) = cookie {
        if user.is_some() || agent.is_some() {
            return Err(Problem::Malformed(
                "a session is its own user's: `Cedarkeep-Acting-User` and `Cedarkeep-Acting-Agent` go with an API key".into(),
            ));
        }
        signed_in::is_ours(&parts.method, headers, &app.config().http.base_url)?;
        let found = signed_in::session(app, &from, cookie).await?;
        let mut asker = found.asker(&from);
        asker.purpose = purpose(headers)?;
        return Ok((found.door, asker));
    }
    let acting = match (user, agent) {
        (Some(user), agent) => Some(Acting { user, agent }),
        (None, None) => None,
        (None, Some(_)) => {
            return Err(Problem::Malformed(
                "`Cedarkeep-Acting-Agent` needs `Cedarkeep-Acting-User`: an agent acts for somebody".into(),
            ));
        }
    };
    let (door, mut asker) = authenticate(app, from, headers, acting).await?;
    asker.purpose = purpose(headers)?;
    Ok((door, asker))
}

fn purpose(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(&PURPOSE).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|text| {
        (1..=PURPOSE_LIMIT).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    });
    match (text, values.next()) {
        // `Train` is `train`.
        (Some(text), None) => Ok(Some(text.to_ascii_lowercase())),
        _ => Err(Problem::Malformed(
            "the header `Cedarkeep-Purpose` must be there once, with 1 to 64 visible ASCII characters".into(),
        )),
    }
}

fn named(headers: &HeaderMap, name: &HeaderName, kind: Kind) -> Result<Option<Ref>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let wrong = || {
        Problem::Malformed(format!(
            "the header `{name}` must be one identifier of a {}",
            kind.name()
        ))
    };
    if values.next().is_some() {
        return Err(wrong());
    }
    value
        .to_str()
        .ok()
        .and_then(|text| Ref::of(kind, text))
        .map(Some)
        .ok_or_else(wrong)
}

async fn authenticate(
    app: &App,
    from: From<'_>,
    headers: &HeaderMap,
    acting: Option<Acting>,
) -> Result<(Arc<Door>, Asker), Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return certified(app, from, headers, acting).await;
    };
    if values.next().is_some() {
        return Err(Problem::BadCredential);
    }
    let text = value.to_str().map_err(|_| Problem::BadCredential)?;
    let (scheme, token) = text.split_once(' ').ok_or(Problem::BadCredential)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::NoCredential);
    }
    // A key that is none costs nothing: neither a look-up nor an entry.
    let key = ApiKey::parse(token.trim()).map_err(|_| Problem::BadCredential)?;
    let tenant = TenantId::new(key.tenant());
    let door = organization(app, tenant).await?;
    let brought = Brought::of(app, from, &door, ("ck", key.id()));
    brought.admit()?;
    let now = chrono::Utc::now();
    match found(&door, |snapshot| authn::key_of(snapshot, &key, now)).await? {
        Ok((key, service)) => {
            door.touch(key, now);
            let caller = Caller::Key {
                key,
                service,
                acting,
            };
            Ok((door, from.asker(caller)))
        }
        Err(why) => Err(brought.refuse(Event::ApiKeyRejected, why).await?),
    }
}

/// The organization that a credential names, opened.
pub(super) async fn organization(app: &App, tenant: TenantId) -> Result<Arc<Door>, Problem> {
    let door = app.door(tenant).await;
    let door = door.map_err(|error| refused::closed(&error))?;
    // Nobody has a key to the deployment's own log, and no refused one is recorded in it.
    match door.store().kind() {
        tenant::Kind::Organization => Ok(door),
        tenant::Kind::Deployment => Err(Problem::BadCredential),
    }
}

/// What a credential is, on the newest state where this node does not know it: another may have made it a moment ago.
pub(super) async fn found<T>(
    door: &Door,
    look: impl Fn(&Snapshot) -> Result<T, Refusal>,
) -> Result<Result<T, Refusal>, Problem> {
    let known = look(door.glance().snapshot());
    if !matches!(known, Err(Refusal::Unknown)) {
        return Ok(known);
    }
    door.refresh().await.map_err(refused::problem)?;
    Ok(look(door.glance().snapshot()))
}

/// By a certificate: the organization is named by the request, since a certificate names none, and has bound one of its names.
async fn certified(
    app: &App,
    from: From<'_>,
    headers: &HeaderMap,
    acting: Option<Acting>,
) -> Result<(Arc<Door>, Asker), Problem> {
    let mut values = headers.get_all(&ORGANIZATION).iter();
    let value = values.next().ok_or(Problem::NoCredential)?;
    let named = value.to_str().ok().filter(|_| values.next().is_none());
    let tenant = named.and_then(|text| text.parse::<TenantId>().ok());
    let tenant = tenant.ok_or_else(|| {
        Problem::Malformed(
            "the header `Cedarkeep-Organization` must be one identifier of an Organization".into(),
        )
    })?;
    let shown = from.shown.and_then(|shown| shown.peer_certificates.first());
    let shown = shown.ok_or(Problem::NoCredential)?;
    let certificate = Certificate::read(shown).ok_or(Problem::BadCredential)?;
    let door = organization(app, tenant).await?;
    let brought = Brought::of(app, from, &door, ("certificate", certificate.id()));
    brought.admit()?;
    let now = chrono::Utc::now();
    let look = |snapshot: &Snapshot| match certificate.is_over(now) {
        true => Err(Refusal::Expired),
        false => authn::binding_of(snapshot, certificate.names(), now),
    };
    match found(&door, look).await? {
        Ok((binding, service)) => {
            door.touch(binding, now);
            let caller = Caller::Certificate {
                binding,
                service,
                acting,
            };
            Ok((door, from.asker(caller)))
        }
        Err(why) => Err(brought.refuse(Event::ApiKeyRejected, why).await?),
    }
}

/// A credential that came along, before and after it is looked at.
pub(super) struct Brought<'a> {
    app: &'a App,
    from: From<'a>,
    door: &'a Door,
    attempt: Attempt,
}

impl<'a> Brought<'a> {
    /// The one of that identifier, which begins with this word.
    pub(super) fn of(
        app: &'a App,
        from: From<'a>,
        door: &'a Door,
        (of, id): (&'static str, [u8; 16]),
    ) -> Self {
        let attempt = Attempt {
            from: from.address(),
            of,
            tenant: *door.store().id().bytes(),
            id,
        };
        Self {
            app,
            from,
            door,
            attempt,
        }
    }

    /// Whether it is looked at. One that is locked is counted, right or wrong: that its secret is right would be told otherwise.
    pub(super) fn admit(&self) -> Result<(), Problem> {
        match self.app.lockout().locked(&self.attempt, Instant::now()) {
            None => Ok(()),
            Some(left) => {
                self.door.count_refused();
                Err(Problem::LockedOut(left))
            }
        }
    }

    /// It is refused: recorded, or counted where there are too many; what whoever brought it is told.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(super) async fn refuse(&self, event: Event, why: Refusal) -> Result<Problem, Problem> {
        self.refuse_as((event, word(why)), Problem::BadCredential)
            .await
    }

    /// The same of a link that somebody wanted to join or to sign in by.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn refuse_link(&self, why: Refusal) -> Result<Problem, Problem> {
        let why = (Event::UserLoginFailed, word(why));
        self.refuse_as(why, Problem::BadLink).await
    }

    /// The same in other words; what it is told as, where there are not too many.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn refuse_as(
        &self,
        (event, why): (Event, Recorded),
        told: Problem,
    ) -> Result<Problem, Problem> {
        match self.app.lockout().refused(&self.attempt, Instant::now()) {
            Verdict::Told => {
                note_refused(self.door, &self.from, event, why).await?;
                Ok(told)
            }
            Verdict::Locks(_) => {
                note_refused(self.door, &self.from, event, why).await?;
                note_refused(self.door, &self.from, event, Recorded::LockedOut).await?;
                Ok(told)
            }
            Verdict::Counted(pause) => {
                self.door.count_refused();
                Ok(Problem::TooMany(pause))
            }
        }
    }
}

/// The word for it in the log.
const fn word(why: Refusal) -> Recorded {
    match why {
        Refusal::Unknown => Recorded::UnknownCredential,
        Refusal::Wrong => Recorded::WrongCredential,
        Refusal::Expired => Recorded::Expired,
    }
}

/// Records that a credential was refused; a flood of them is counted.
async fn note_refused(
    door: &Door,
    from: &From<'_>,
    event: Event,
    why: Recorded,
) -> Result<(), Problem> {
    tracing::warn!(tenant.id = %door.store().id(), why = why.as_str(), "a credential was refused");
    door.note_refused(from.asker(Caller::Operator), event, Outcome::Failed(why))
        .await
        .map_err(refused::problem)
}
