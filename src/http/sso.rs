//! Single sign-on over HTTP: connections, their tests, mail domains, what is enforced, and how long sessions last.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use chrono::Utc;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::fields::{Fields, missing, wrong};
use super::page::{self, Acting, Keyed, Problems};
use super::problem::Problem;
use super::refused;
use super::signin;
use crate::app::App;
use crate::authn::token::{Token, Use};
use crate::crypto;
use crate::decide::authorized::{SettingsRead, SettingsUpdate, SsoConfigure, SsoDisable};
use crate::directory::connection::{ClientSecret, Connection, ConnectionId, Oidc, Protocol};
use crate::directory::entering::GOOGLE;
use crate::directory::object::Role;
use crate::directory::sso::{self, Trial};
use crate::directory::{Kind, Ref};
use crate::outside::Verification;
use std::sync::Arc;

/// How long a test may wait to be begun.
const TEST_WAITS: chrono::Duration = chrono::Duration::minutes(15);

/// Set up a connection to an identity provider. `preset` `google` needs no issuer. An OpenID provider is asked for what it says of itself.
#[utoipa::path(post, path = "/v1/sso/connections", tag = "People", operation_id = "create_connection", params(Acting, Keyed),
    request_body(content = Value, description = "`name`, `protocol` (oidc), `issuer` or `preset` (google), `client_id`, `client_secret`, and, if wanted, `scopes`, `groups_claim`, `hosted_domain`, `enabled`, `provisioning`, `default_role`, `group_roles`"),
    responses((status = 201, description = "the connection, with what to tell the provider", body = Value), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    call: Call,
    mut body: Fields,
) -> Result<Response, Problem> {
    let id = ConnectionId(crypto::random().map_err(|_| Problem::Internal)?);
    let connection = read(&mut body, None)?;
    body.finish()?;
    let changed = configured(&app, &call, &body, (id, connection)).await?;
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
    request_body(content = Value, description = "members as they are given when it is set up"),
    responses((status = 200, description = "the connection as it is now", body = Value), Problems),
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
    let connection = read(&mut body, Some(old.value.clone()))?;
    body.finish()?;
    let changed = configured(&app, &call, &body, (id, connection)).await?;
    let view = with_ours(&app, &call, id, changed.reply);
    Ok(Json(view).into_response())
}

async fn configured(
    app: &App,
    call: &Call,
    body: &Fields,
    (id, connection): (ConnectionId, Connection),
) -> Result<crate::decide::Changed, Problem> {
    let context = protocol(&connection.protocol);
    let settings = call.singleton(Kind::Settings);
    // Whoever may not set it has no call made for them.
    if let Protocol::Oidc(oidc) = &connection.protocol {
        call.permit_change_with::<SsoConfigure>(settings, context.clone())
            .await?;
        signin::oidc::check(app, oidc).await?;
    }
    call.change::<SsoConfigure>(settings, context, body, move |by, snapshot| {
        sso::configure(by, snapshot, (id, &connection))
    })
    .await
}

/// The connections.
#[utoipa::path(get, path = "/v1/sso/connections", tag = "People", operation_id = "list_connections", params(Acting),
    responses((status = 200, description = "`items`: at most 20", body = Value), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn list(State(app): State<Arc<App>>, call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let permitted = call
        .read::<SettingsRead>(call.singleton(Kind::Settings))
        .await?;
    let all = permitted.snapshot().connections();
    let items = all
        .map(|(id, stored)| with_ours(&app, &call, id, sso::told(id, &stored.value)))
        .collect();
    Ok(page::page(items, None))
}

/// One connection.
#[utoipa::path(get, path = "/v1/sso/connections/{connection}", tag = "People", operation_id = "read_connection",
    params(("connection" = String, Path, description = "its identifier"), Acting),
    responses((status = 200, description = "the connection, never its secret", body = Value), Problems),
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
    let view = with_ours(&app, &call, id, sso::told(id, &found.value));
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
    responses((status = 200, description = "`url`, good once, for 15 minutes", body = Value), Problems),
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
    let context = protocol(&found.value.protocol);
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
    let kept = call.door().expect(&token.digest(), &body, expires_at).await;
    kept.map_err(refused::problem)?;
    let base = app.config().http.base_url.as_str();
    let url = format!("{base}/signin/test/{}", token.expose());
    Ok(Json(json!({ "url": url, "expires_at": expires_at })).into_response())
}

/// What is set about signing in.
#[utoipa::path(get, path = "/v1/sso", tag = "People", operation_id = "read_sso", params(Acting),
    responses((status = 200, description = "`enforced`, `break_glass`, `domains`, `idle_minutes`, `session_minutes`", body = Value), Problems),
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
    request_body(content = Value, description = "`idle_minutes` (1 to 30) and `session_minutes` (1 to 720), each a number or `null`"),
    responses((status = 200, description = "what is set now", body = Value), Problems),
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
    request_body(content = Value, description = "`method` (oidc or saml) and `break_glass`, an Admin's identifier"),
    responses((status = 200, description = "what is set now", body = Value), Problems),
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
    responses((status = 200, description = "what is set now", body = Value), Problems),
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
    request_body(content = Value, description = "`domain`"),
    responses((status = 200, description = "the domain, and the record to add", body = Value), Problems),
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
    responses((status = 200, description = "the domain, verified", body = Value), Problems),
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

fn named(call: &Call) -> Result<ConnectionId, Problem> {
    call.text("connection")?
        .parse()
        .map_err(|_| Problem::NotFound)
}

fn protocol(protocol: &Protocol) -> Map<String, Value> {
    said(protocol.name())
}

fn said(protocol: &str) -> Map<String, Value> {
    [("protocol".to_owned(), Value::from(protocol))]
        .into_iter()
        .collect()
}

/// A connection with what its provider must be told of us.
fn with_ours(app: &App, call: &Call, id: ConnectionId, mut view: Value) -> Value {
    let tenant = call.door().store().id();
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
    }
    view
}

/// A connection as it is asked for, on top of what it is now.
fn read(body: &mut Fields, old: Option<Connection>) -> Result<Connection, Problem> {
    let protocol = body.maybe_text("protocol")?;
    let is_same = |old: &Connection| {
        protocol
            .as_deref()
            .is_none_or(|name| old.protocol.name() == name)
    };
    if old.as_ref().is_some_and(|old| !is_same(old)) {
        return Err(wrong(
            "protocol",
            "it stays what it is: set another connection up",
        ));
    }
    let before = old.as_ref().map(|old| &old.protocol);
    let protocol = match protocol.as_deref().or(before.map(Protocol::name)) {
        Some("oidc") => Protocol::Oidc(oidc(body, before)?),
        Some(_) => return Err(wrong("protocol", "it must be oidc")),
        None => return Err(missing("protocol")),
    };
    let name = body.maybe_text("name")?;
    let roles = match body.any("group_roles") {
        None => None,
        Some(Value::Object(roles)) => Some(group_roles(roles)?),
        Some(_) => {
            return Err(wrong(
                "group_roles",
                "it must be an object of groups and roles",
            ));
        }
    };
    Ok(Connection {
        name: name
            .or_else(|| old.as_ref().map(|old| old.name.clone()))
            .ok_or_else(|| missing("name"))?,
        protocol,
        enabled: flag(body, "enabled", old.as_ref().map(|old| old.enabled))?,
        tested_by: BTreeSet::new(),
        provisioning: flag(
            body,
            "provisioning",
            old.as_ref().map(|old| old.provisioning),
        )?,
        default_role: body
            .maybe_word("default_role")?
            .or_else(|| old.as_ref().map(|old| old.default_role))
            .unwrap_or(Role::Viewer),
        group_roles: roles
            .or_else(|| old.map(|old| old.group_roles))
            .unwrap_or_default(),
    })
}

fn flag(body: &mut Fields, member: &str, before: Option<bool>) -> Result<bool, Problem> {
    Ok(body.maybe_flag(member)?.or(before).unwrap_or(false))
}

fn group_roles(roles: Map<String, Value>) -> Result<BTreeMap<String, Role>, Problem> {
    let read = |(group, role): (String, Value)| {
        let role = role.as_str().and_then(|role| role.parse::<Role>().ok());
        role.map(|role| (group, role))
            .ok_or_else(|| wrong("group_roles", "each group is given Admin, Member or Viewer"))
    };
    roles.into_iter().map(read).collect()
}

fn oidc(body: &mut Fields, before: Option<&Protocol>) -> Result<Oidc, Problem> {
    let old = match before {
        Some(Protocol::Oidc(oidc)) => Some(oidc.clone()),
        _ => None,
    };
    let issuer = match body.maybe_text("preset")?.as_deref() {
        None => body.maybe_text("issuer")?,
        Some("google") => Some(GOOGLE.to_owned()),
        Some(_) => return Err(wrong("preset", "it must be google")),
    };
    let client_id = body.maybe_text("client_id")?;
    let kept = |text: Option<String>, old: Option<String>, member: &str| {
        text.or(old).ok_or_else(|| missing(member))
    };
    let secret = body.maybe_text("client_secret")?.map(ClientSecret::new);
    let scopes = body.maybe_texts("scopes")?;
    let before = old.as_ref();
    Ok(Oidc {
        issuer: kept(issuer, before.map(|old| old.issuer.clone()), "issuer")?,
        client_id: kept(
            client_id,
            before.map(|old| old.client_id.clone()),
            "client_id",
        )?,
        client_secret: secret.or_else(|| before.and_then(|old| old.client_secret.clone())),
        scopes: scopes
            .map(BTreeSet::from_iter)
            .or_else(|| before.map(|old| old.scopes.clone()))
            .unwrap_or_else(|| ["email".to_owned(), "profile".to_owned()].into()),
        groups_claim: body
            .maybe_text("groups_claim")?
            .or_else(|| before.and_then(|old| old.groups_claim.clone())),
        hosted_domain: body
            .maybe_text("hosted_domain")?
            .or_else(|| before.and_then(|old| old.hosted_domain.clone())),
    })
}
