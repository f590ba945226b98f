//! Single sign-on over HTTP: connections, their tests, mail domains, what is enforced, and how long sessions last.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use chrono::Utc;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::connections::{Given, given};
use super::document::Page;
use super::document::calls::{Acting, Keyed, Problems};
use super::document::signin::connections::{
    Connection as DescribedConnection, ConnectionChange, ConnectionTest, NewConnection,
};
use super::document::signin::saml::{MetadataSource, SamlMetadata};
use super::document::signin::settings::{
    MailDomain, NewMailDomain, SessionLimits, SignInEnforcement, SignInSettings,
};
use super::fields::{Fields, missing, wrong};
use super::page;
use super::problem::Problem;
use super::refused;
use super::signin;
use crate::app::App;
use crate::authn::saml::{certificate, metadata};
use crate::authn::token::{Token, Use};
use crate::crypto;
use crate::decide::Room;
use crate::decide::authorized::{SettingsRead, SettingsUpdate, SsoConfigure, SsoDisable};
use crate::directory::connection::{Connection, ConnectionId, Protocol};
use crate::directory::sso::{self, Trial};
use crate::directory::{Kind, Ref};
use crate::ids::TenantId;
use crate::outside::Verification;

/// From so many days on an Admin is warned that a certificate expires.
const WARNED_DAYS: i64 = 30;

/// How long a test may wait to be begun.
const TEST_WAITS: chrono::Duration = chrono::Duration::minutes(15);

/// Set up a connection to an identity provider: by OpenID Connect (`preset` `google` needs no issuer; the provider is asked for what it says of
/// itself), or, on the Enterprise plan, by SAML 2.0 with the provider's metadata.
#[utoipa::path(post, path = "/v1/sso/connections", tag = "People", operation_id = "create_connection", params(Acting, Keyed),
    request_body = NewConnection,
    responses((status = 201, description = "the connection, with what to tell the provider, and `Location`", body = DescribedConnection), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    call: Call,
    mut body: Fields,
) -> Result<Response, Problem> {
    let id = ConnectionId(crypto::random().map_err(|_| Problem::Internal)?);
    let wanted = given(&mut body, None)?;
    body.finish()?;
    let changed = configured(&app, &call, &body, (id, wanted, None)).await?;
    // Sent again with its `Idempotency-Key`, it is the first one's.
    let id = made(&changed).unwrap_or(id);
    let mut response = page::made("sso/connections", changed.clone());
    *response.body_mut() = Json(with_ours(&app, &call, id, changed.reply))
        .into_response()
        .into_body();
    response
        .headers_mut()
        .remove(axum::http::header::CONTENT_LENGTH);
    Ok(response)
}

/// Set a connection otherwise. Members that are not there stay as they are; a changed provider must be tested again.
#[utoipa::path(patch, path = "/v1/sso/connections/{connection}", tag = "People", operation_id = "update_connection",
    params(("connection" = String, Path, description = "its identifier"), Acting, Keyed),
    request_body = ConnectionChange,
    responses((status = 200, description = "the connection as it is now", body = DescribedConnection), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn update(
    State(app): State<Arc<App>>,
    call: Call,
    mut body: Fields,
) -> Result<Response, Problem> {
    let id = named(&call)?;
    let permitted = call
        .read::<SettingsRead>(call.singleton(Kind::Settings))
        .await?;
    let old = permitted
        .snapshot()
        .connection(id)
        .ok_or(Problem::NotFound)?;
    let old = old.value.clone();
    let wanted = given(&mut body, Some(old.clone()))?;
    body.finish()?;
    let changed = configured(&app, &call, &body, (id, wanted, Some(old))).await?;
    let view = with_ours(&app, &call, id, changed.reply);
    Ok(Json(view).into_response())
}

async fn configured(
    app: &App,
    call: &Call,
    body: &Fields,
    (id, wanted, was): (ConnectionId, Given, Option<Connection>),
) -> Result<crate::decide::Changed, Problem> {
    let context = said(wanted.connection.protocol.name());
    let settings = call.singleton(Kind::Settings);
    // Whoever may not set it has no call made for them.
    call.permit_change_with::<SsoConfigure>(settings, context.clone())
        .await?;
    let connection = asked(app, wanted).await?;
    call.change::<SsoConfigure>(settings, context, body, move |by, snapshot| {
        sso::configure(by, snapshot, (id, &connection), was.as_ref())
    })
    .await
}

/// A connection with what its provider says of itself.
async fn asked(app: &App, mut wanted: Given) -> Result<Connection, Problem> {
    if let Some(url) = &wanted.metadata_url {
        wanted.take(&fetched(app, url).await?)?;
    }
    match &wanted.connection.protocol {
        Protocol::Oidc(oidc) => signin::oidc::check(app, oidc).await?,
        Protocol::Saml(saml) if saml.certificates.is_empty() => return Err(missing("metadata")),
        Protocol::Saml(_) => {}
    }
    Ok(wanted.connection)
}

/// A connection as an object describes it that is like a body of `POST /v1/sso/connections`, on top of what it is now; its provider is asked.
///
/// # Errors
/// What is wrong with it.
pub async fn described(
    app: &App,
    members: Map<String, Value>,
    old: Option<Connection>,
) -> Result<Connection, Problem> {
    let mut body = Fields::of(members);
    let wanted = given(&mut body, old)?;
    body.finish()?;
    asked(app, wanted).await
}

/// A provider's metadata from where it publishes it.
async fn fetched(app: &App, url: &str) -> Result<String, Problem> {
    let place = url
        .parse()
        .map_err(|_| wrong("metadata_url", "it is no URL"))?;
    let unreached = |why: &dyn std::fmt::Display| wrong("metadata_url", &why.to_string());
    let answer = app.outside().get(&place, None).await;
    let answer = answer.map_err(|error| unreached(&error))?;
    if answer.status != 200 {
        return Err(unreached(&format!("it is answered with {}", answer.status)));
    }
    String::from_utf8(answer.body).map_err(|_| unreached(&"what it answers is not UTF-8"))
}

/// See what a SAML provider's metadata says, before anything is set up.
#[utoipa::path(post, path = "/v1/sso/metadata", tag = "People", operation_id = "preview_metadata", params(Acting),
    request_body = MetadataSource,
    responses((status = 200, description = "what it says", body = SamlMetadata), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn preview(
    State(app): State<Arc<App>>,
    call: Call,
    mut body: Fields,
) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let (text, url) = (
        body.maybe_text("metadata")?,
        body.maybe_text("metadata_url")?,
    );
    body.finish()?;
    let settings = call.singleton(Kind::Settings);
    call.permit_change_with::<SsoConfigure>(settings, said("saml"))
        .await?;
    let text = match (text, url) {
        (Some(text), None) => text,
        (None, Some(url)) => fetched(&app, &url).await?,
        _ => {
            return Err(Problem::Malformed(
                "send either `metadata` or `metadata_url`".into(),
            ));
        }
    };
    let read = metadata::read(text.as_bytes(), Utc::now());
    let read = read.map_err(|refusal| wrong("metadata", &refusal.to_string()))?;
    let mut warnings = warnings(&read.saml.certificates);
    if read.wants_signed_requests {
        warnings.push("the provider says that it wants signed requests: it is sent none".into());
    }
    if read.only_transient {
        warnings.push("the provider names only transient NameIDs: choose persistent ones".into());
    }
    let body = json!({
        "entity_id": read.saml.entity_id, "sso_url": read.saml.sso_url, "binding": read.saml.binding,
        "certificates": certificates(&read.saml.certificates), "warnings": warnings,
    });
    Ok(Json(body).into_response())
}

/// The certificates that a provider signs with, as people read them.
fn certificates(stored: &[String]) -> Vec<Value> {
    let found = certificate::of_connection(stored, Utc::now()).unwrap_or_default();
    let told = found.iter().map(|one| {
        json!({
            "subject": one.subject, "key": one.key, "not_before": one.not_before, "not_after": one.not_after,
            "sha256": one.sha256, "days_left": one.days_left,
        })
    });
    told.collect()
}

/// What an Admin should do something about.
fn warnings(stored: &[String]) -> Vec<String> {
    let found = certificate::of_connection(stored, Utc::now()).unwrap_or_default();
    let ending = found.iter().filter(|one| one.days_left <= WARNED_DAYS);
    let told = ending.map(|one| {
        let name = &one.subject;
        match one.days_left {
            days if days < 0 => format!("the certificate `{name}` has expired"),
            days => format!(
                "the certificate `{name}` expires in {days} days: add the provider's next one"
            ),
        }
    });
    told.collect()
}

/// The connections.
#[utoipa::path(get, path = "/v1/sso/connections", tag = "People", operation_id = "list_connections", params(Acting),
    responses((status = 200, description = "all of them, at most 20", body = Page<DescribedConnection>), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn list(State(app): State<Arc<App>>, call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let permitted = call
        .read::<SettingsRead>(call.singleton(Kind::Settings))
        .await?;
    let all = permitted.snapshot().connections();
    let items = all
        .map(|(id, stored)| told(&app, &call, id, &stored.value))
        .collect();
    Ok(page::page(items, None))
}

/// One connection.
#[utoipa::path(get, path = "/v1/sso/connections/{connection}", tag = "People", operation_id = "read_connection",
    params(("connection" = String, Path, description = "its identifier"), Acting),
    responses((status = 200, description = "the connection, never its secret", body = DescribedConnection), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn one(State(app): State<Arc<App>>, call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let id = named(&call)?;
    let permitted = call
        .read::<SettingsRead>(call.singleton(Kind::Settings))
        .await?;
    let found = permitted
        .snapshot()
        .connection(id)
        .ok_or(Problem::NotFound)?;
    let view = told(&app, &call, id, &found.value);
    Ok(Json(view).into_response())
}

/// Take a connection away. Members who came by it stay.
#[utoipa::path(delete, path = "/v1/sso/connections/{connection}", tag = "People", operation_id = "delete_connection",
    params(("connection" = String, Path, description = "its identifier"), Acting, Keyed),
    responses((status = 204, description = "nobody signs in by it any more"), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn delete(call: Call) -> Result<Response, Problem> {
    let id = named(&call)?;
    let settings = call.singleton(Kind::Settings);
    let changed = call
        .change::<SsoDisable>(
            settings,
            Map::new(),
            &Fields::none(),
            move |by, snapshot| sso::remove(by, snapshot, id),
        )
        .await?;
    Ok(page::gone(&changed))
}

/// Begin a test of a connection: open the URL in a browser, sign in at the provider, and see what it says and which check failed, if one
/// did. Nobody is signed in, and nothing need be enabled.
#[utoipa::path(post, path = "/v1/sso/connections/{connection}/test", tag = "People", operation_id = "test_connection",
    params(("connection" = String, Path, description = "its identifier"), Acting),
    responses((status = 200, description = "where to begin it", body = ConnectionTest), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn test(State(app): State<Arc<App>>, call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let id = named(&call)?;
    let settings = call.singleton(Kind::Settings);
    let admin = call.user().ok_or_else(|| {
        Problem::Malformed("name the Admin who tests in `Cedarkeep-Acting-User`".into())
    })?;
    let found = call.read::<SettingsRead>(settings).await?;
    let found = found.snapshot().connection(id).ok_or(Problem::NotFound)?;
    let context = said(found.value.protocol.name());
    call.permit_change_with::<SsoConfigure>(settings, context)
        .await?;
    let random = |_| Problem::Internal;
    let (one, secret) = (
        crypto::random().map_err(random)?,
        crypto::random().map_err(random)?,
    );
    let token = Token::mint(Use::Test, *call.door().store().id().bytes(), one, secret);
    let trial = Trial {
        connection: id,
        admin,
    };
    let body = serde_json::to_vec(&trial).map_err(|_| Problem::Internal)?;
    let expires_at = Utc::now() + TEST_WAITS;
    let kept = call
        .door()
        .expect((&token.digest(), Room::Granted), &body, expires_at)
        .await;
    kept.map_err(refused::problem)?;
    let base = app.config().http.base_url.as_str();
    let url = format!("{base}/signin/test/{}", token.expose());
    Ok(Json(json!({ "url": url, "expires_at": expires_at })).into_response())
}

/// What is set about signing in.
#[utoipa::path(get, path = "/v1/sso", tag = "People", operation_id = "read_sso", params(Acting),
    responses((status = 200, description = "what is set", body = SignInSettings), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn settings(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let permitted = call
        .read::<SettingsRead>(call.singleton(Kind::Settings))
        .await?;
    let organization = permitted
        .snapshot()
        .organization()
        .map_err(|_| Problem::NotFound)?;
    Ok(Json(sso::sign_in_told(organization)).into_response())
}

/// Set how long sessions last; `null` is as long as this service allows.
#[utoipa::path(put, path = "/v1/sso/sessions", tag = "People", operation_id = "limit_sessions", params(Acting, Keyed),
    request_body = SessionLimits,
    responses((status = 200, description = "what is set now", body = SignInSettings), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn sessions(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let mut minutes = |member: &str| match body.any(member) {
        None => Err(missing(member)),
        Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number
                .map(Some)
                .ok_or_else(|| wrong(member, "it must be a number of minutes"))
        }
    };
    let wanted = (minutes("idle_minutes")?, minutes("session_minutes")?);
    body.finish()?;
    let settings = call.singleton(Kind::Settings);
    let changed = call
        .change::<SettingsUpdate>(settings, Map::new(), &body, move |by, snapshot| {
            sso::limit_sessions(by, snapshot, wanted)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Have people sign in by one method alone, once you have tested it yourself. The break-glass Admin still gets in by a one-time link of the
/// command line.
#[utoipa::path(put, path = "/v1/sso/enforcement", tag = "People", operation_id = "enforce_sso", params(Acting, Keyed),
    request_body = SignInEnforcement,
    responses((status = 200, description = "what is set now", body = SignInSettings), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn enforce(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let method = body.text("method")?;
    let break_glass: Ref = body.reference("break_glass", Kind::User)?;
    body.finish()?;
    if !["oidc", "saml"].contains(&method.as_str()) {
        return Err(wrong("method", "it must be oidc or saml"));
    }
    let context = said(&method);
    let settings = call.singleton(Kind::Settings);
    let changed = call
        .change::<SsoConfigure>(settings, context, &body, move |by, snapshot| {
            sso::enforce(by, snapshot, (&method, break_glass))
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Let people sign in by any method again.
#[utoipa::path(delete, path = "/v1/sso/enforcement", tag = "People", operation_id = "relax_sso", params(Acting, Keyed),
    responses((status = 200, description = "what is set now", body = SignInSettings), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn relax(call: Call) -> Result<Response, Problem> {
    let settings = call.singleton(Kind::Settings);
    let changed = call
        .change::<SsoDisable>(settings, Map::new(), &Fields::none(), sso::relax)
        .await?;
    Ok(page::changed_to(changed))
}

/// Say that a mail domain is the organization's own; add the TXT record that is answered, then have it verified.
#[utoipa::path(post, path = "/v1/sso/domains", tag = "People", operation_id = "claim_domain", params(Acting, Keyed),
    request_body = NewMailDomain,
    responses((status = 200, description = "the domain, and the record to add", body = MailDomain), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn claim(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let name = body.text("domain")?;
    body.finish()?;
    let random: [u8; 16] = crypto::random().map_err(|_| Problem::Internal)?;
    let token = data_encoding::HEXLOWER.encode(&random);
    let settings = call.singleton(Kind::Settings);
    let changed = call
        .change::<SettingsUpdate>(settings, Map::new(), &body, move |by, snapshot| {
            sso::claim(by, snapshot, (&name, &token))
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Have DNS asked whether a domain shows its record.
#[utoipa::path(post, path = "/v1/sso/domains/{domain}/verification", tag = "People", operation_id = "verify_domain",
    params(("domain" = String, Path, description = "the domain"), Acting, Keyed),
    responses((status = 200, description = "the domain, verified", body = MailDomain), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn verify(State(app): State<Arc<App>>, call: Call) -> Result<Response, Problem> {
    let name = call.text("domain")?.to_lowercase();
    let settings = call.singleton(Kind::Settings);
    let permitted = call.permit_change::<SettingsUpdate>(settings).await?;
    let organization = permitted
        .snapshot()
        .organization()
        .map_err(|_| Problem::NotFound)?;
    let claimed = organization
        .sign_in
        .domains
        .get(&name)
        .ok_or(Problem::NotFound)?;
    let token = claimed.token.clone();
    let found = app.outside().verification(&name, &token).await;
    match found
        .map_err(|error| Problem::Conflict(format!("the domain is not verified: {error}")))?
    {
        Verification::Shown => {}
        Verification::Other => {
            return Err(Problem::Conflict(format!(
                "`_cedarkeep.{name}` shows another record: replace it with `cedarkeep-verification={token}`"
            )));
        }
        Verification::Absent => {
            return Err(Problem::Conflict(format!(
                "DNS shows no such record yet: add TXT `cedarkeep-verification={token}` at `_cedarkeep.{name}` and ask again"
            )));
        }
    }
    let changed = call
        .change::<SettingsUpdate>(
            settings,
            Map::new(),
            &Fields::none(),
            move |by, snapshot| sso::verified(by, snapshot, (&name, &token)),
        )
        .await?;
    Ok(page::changed_to(changed))
}

/// A domain is the organization's own no longer: nobody becomes a member by it. Those who are stay.
#[utoipa::path(delete, path = "/v1/sso/domains/{domain}", tag = "People", operation_id = "disclaim_domain",
    params(("domain" = String, Path, description = "the domain"), Acting, Keyed),
    responses((status = 204, description = "it is not the organization's"), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn disclaim(call: Call) -> Result<Response, Problem> {
    let name = call.text("domain")?.to_lowercase();
    let settings = call.singleton(Kind::Settings);
    let changed = call
        .change::<SettingsUpdate>(
            settings,
            Map::new(),
            &Fields::none(),
            move |by, snapshot| sso::disclaim(by, snapshot, &name),
        )
        .await?;
    Ok(page::gone(&changed))
}

fn made(changed: &crate::decide::Changed) -> Option<ConnectionId> {
    changed.reply.get("id")?.as_str()?.parse().ok()
}

fn named(call: &Call) -> Result<ConnectionId, Problem> {
    call.text("connection")?
        .parse()
        .map_err(|_| Problem::NotFound)
}

fn said(protocol: &str) -> Map<String, Value> {
    [("protocol".to_owned(), Value::from(protocol))]
        .into_iter()
        .collect()
}

/// A connection as an Admin sees it.
fn told(app: &App, call: &Call, id: ConnectionId, connection: &Connection) -> Value {
    with_ours(app, call, id, sso::told(id, connection))
}

/// A connection with what its provider must be told of us, and its certificates as people read them.
fn with_ours(app: &App, call: &Call, id: ConnectionId, view: Value) -> Value {
    let mut view = with_places(app, call.door().store().id(), id, view);
    if let Some(members) = view.as_object_mut()
        && let Some(Value::Array(stored)) = members.remove("certificates")
    {
        let stored: Vec<String> = stored
            .iter()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect();
        members.insert("certificates".into(), certificates(&stored).into());
        members.insert("warnings".into(), warnings(&stored).into());
    }
    view
}

/// The same of this tenant.
pub fn with_places(app: &App, tenant: TenantId, id: ConnectionId, mut view: Value) -> Value {
    let base = app.config().http.base_url.as_str();
    if let Some(members) = view.as_object_mut() {
        members.insert(
            "sign_in_url".into(),
            format!("{base}/signin/{tenant}").into(),
        );
        if members.get("protocol").and_then(Value::as_str) == Some("oidc") {
            let callback = signin::oidc::callback_url(app, tenant, id);
            members.insert("redirect_uri".into(), callback.into());
            let logout = format!("{base}/signin/{tenant}/{id}/logout");
            members.insert("backchannel_logout_uri".into(), logout.into());
        }
        if members.get("protocol").and_then(Value::as_str) == Some("saml") {
            let us = signin::saml::us(app, tenant, id);
            let metadata_url = us.entity_id.clone();
            members.insert("sp_entity_id".into(), us.entity_id.into());
            members.insert("sp_acs_url".into(), us.acs_url.into());
            members.insert("sp_metadata_url".into(), metadata_url.into());
        }
    }
    view
}
