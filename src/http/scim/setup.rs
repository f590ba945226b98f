//! How provisioning is set up over HTTP: the directory's tokens, each shown once, and the roles that it gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value};

use super::super::call::Call;
use super::super::document::Page;
use super::super::document::calls::{Acting, Keyed, Paged, Problems};
use super::super::document::signin::provisioning::{
    DirectoryGroup, MadeScimToken, NewScimToken, ProvisionedRoles, Provisioning, ScimToken,
};
use super::super::fields::{Fields, wrong};
use super::super::page;
use super::super::problem::Problem;
use super::PREFIX;
use crate::app::App;
use crate::authn::token::{Token, Use};
use crate::crypto;
use crate::decide::authorized::{MemberRead, ScimConfigure, SettingsRead};
use crate::directory::object::Role;
use crate::directory::scim::setup::{self, NewToken};
use crate::directory::{Kind, Object, view};

/// How provisioning is set up: where the directory reaches this service, and which roles it gives.
#[utoipa::path(get, path = "/v1/scim", tag = "People", operation_id = "read_scim", params(Acting),
    responses((status = 200, description = "how it is set up", body = Provisioning), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(in crate::http) async fn read(
    State(app): State<Arc<App>>,
    call: Call,
) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let permitted = call
        .read::<SettingsRead>(call.singleton(Kind::Settings))
        .await?;
    let organization = permitted.snapshot().organization();
    let organization = organization.map_err(|_| Problem::NotFound)?;
    let view = with_base(&app, setup::roles_told(&organization.scim));
    Ok(Json(view).into_response())
}

/// Set which roles the directory gives: `default_role` to whom it gives none, and one to each group of `group_roles`, by its name.
/// Whoever is there is given theirs when the directory says something of them or of their groups next.
#[utoipa::path(put, path = "/v1/scim", tag = "People", operation_id = "configure_scim", params(Acting, Keyed),
    request_body = ProvisionedRoles,
    responses((status = 200, description = "what is set now", body = Provisioning), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(in crate::http) async fn configure(
    State(app): State<Arc<App>>,
    call: Call,
    mut body: Fields,
) -> Result<Response, Problem> {
    let default_role: Role = body.word("default_role")?;
    let group_roles = match body.any("group_roles") {
        None => BTreeMap::new(),
        Some(Value::Object(roles)) => of_groups(roles)?,
        Some(_) => {
            return Err(wrong(
                "group_roles",
                "it must be an object of groups and roles",
            ));
        }
    };
    body.finish()?;
    let mut changed = call
        .change::<ScimConfigure>(
            call.singleton(Kind::Settings),
            Map::new(),
            &body,
            move |by, snapshot| setup::configure(by, snapshot, (default_role, &group_roles)),
        )
        .await?;
    changed.reply = with_base(&app, changed.reply);
    Ok(page::changed_to(changed))
}

/// Make a token for the directory. It is shown in this answer and never again, so the call takes no `Idempotency-Key`. Two are in use at
/// once at the most, so that one can be replaced by another.
#[utoipa::path(post, path = "/v1/scim/token", tag = "People", operation_id = "create_scim_token", params(Acting),
    request_body = NewScimToken,
    responses((status = 201, description = "the token's record, with the whole token, once, and `Location`", body = MadeScimToken), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(in crate::http) async fn create_token(
    State(app): State<Arc<App>>,
    call: Call,
    mut body: Fields,
) -> Result<Response, Problem> {
    if call.is_keyed() {
        return Err(Problem::Malformed(
            "this call takes no `Idempotency-Key`: its answer holds a secret, which is not kept"
                .into(),
        ));
    }
    let random = || crypto::random().map_err(|_| Problem::Internal);
    let (id, service) = (random()?, random()?);
    let secret = crypto::random().map_err(|_| Problem::Internal)?;
    let token = Token::mint(Use::Scim, *call.door().store().id().bytes(), id, secret);
    let new = NewToken {
        id,
        service,
        name: body.text("name")?,
        expires_at: body.maybe_time("expires_at")?,
        digest: token.digest(),
    };
    body.finish()?;
    let mut changed = call
        .change::<ScimConfigure>(
            call.singleton(Kind::Settings),
            Map::new(),
            &body,
            move |by, snapshot| setup::create_token(by, snapshot, &new),
        )
        .await?;
    changed.reply = with_base(&app, changed.reply);
    if let Some(reply) = changed.reply.as_object_mut() {
        reply.insert("token".into(), token.expose().into());
    }
    let mut response = page::made("scim/token", changed);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The directory's tokens, without what is secret.
#[utoipa::path(get, path = "/v1/scim/token", tag = "People", operation_id = "list_scim_tokens", params(Acting),
    responses((status = 200, description = "all of them", body = Page<ScimToken>), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(in crate::http) async fn list_tokens(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let permitted = call
        .read::<SettingsRead>(call.singleton(Kind::Settings))
        .await?;
    let tokens = setup::tokens(permitted.snapshot());
    let mut items = Vec::new();
    for (token, key) in tokens {
        let mut told = setup::told(token, key);
        let used = call.door().last_used(token).await;
        let used = used.map_err(super::refused::problem)?;
        if let Some(told) = told.as_object_mut() {
            told.insert("last_used_at".into(), serde_json::json!(used));
        }
        items.push(told);
    }
    Ok(page::page(items, None))
}

/// Revoke a token: the directory's next request with it is refused.
#[utoipa::path(delete, path = "/v1/scim/token/{id}", tag = "People", operation_id = "delete_scim_token",
    params(("id" = String, Path, description = "the token's identifier"), Acting, Keyed),
    responses((status = 204, description = "it opens nothing from now on"), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(in crate::http) async fn delete_token(call: Call) -> Result<Response, Problem> {
    let token = call.named("id", Kind::ApiKey)?;
    let changed = call
        .change::<ScimConfigure>(
            call.singleton(Kind::Settings),
            Map::new(),
            &Fields::none(),
            move |by, snapshot| setup::revoke_token(by, snapshot, token),
        )
        .await?;
    Ok(page::gone(&changed))
}

/// The groups that the directory keeps: what is shared with one is shared with whoever is in it.
#[utoipa::path(get, path = "/v1/scim/groups", tag = "People", operation_id = "list_directory_groups", params(Acting, Paged),
    responses((status = 200, description = "a page of them", body = Page<DirectoryGroup>), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(in crate::http) async fn list_groups(call: Call) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    let paging = page::Paging::of(limit, cursor)?;
    let after = paging.after(|text| crate::directory::Ref::of(Kind::Group, text))?;
    let permitted = call.read::<MemberRead>(call.org()).await?;
    let snapshot = permitted.snapshot();
    let items = snapshot
        .objects_of(Kind::Group, after)
        .filter(|(_, stored)| matches!(stored.value, Object::DirectoryGroup(_)))
        .take(paging.limit.saturating_add(1))
        .map(|(id, stored)| (id.to_string(), view::view(id, &stored.value, snapshot)))
        .collect();
    Ok(page::cut(items, paging.limit))
}

fn of_groups(roles: Map<String, Value>) -> Result<BTreeMap<String, Role>, Problem> {
    let read = |(group, role): (String, Value)| {
        let role = role.as_str().and_then(|role| role.parse::<Role>().ok());
        role.map(|role| (group, role))
            .ok_or_else(|| wrong("group_roles", "each group is given Admin, Member or Viewer"))
    };
    roles.into_iter().map(read).collect()
}

fn with_base(app: &App, mut view: Value) -> Value {
    let base = app.config().http.base_url.as_str();
    if let Some(view) = view.as_object_mut() {
        view.insert("base_url".into(), format!("{base}{PREFIX}").into());
    }
    view
}
