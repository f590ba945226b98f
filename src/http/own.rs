//! The tenant's own schema, policies and entities over HTTP.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use cedar_policy::{EntityId, EntityTypeName, EntityUid};
use serde_json::{Map, Value};

use super::call::Call;
use super::fields::{Fields, missing, wrong};
use super::page::{self, Acting, Keyed, Paged, Paging, Problems};
use super::problem::Problem;
use super::refused;
use crate::crypto;
use crate::decide::Refused;
use crate::decide::authorized::{
    EntityDelete, EntityRead, EntityWrite, PolicyEdit, PolicyRead, SchemaEdit,
};
use crate::directory::own::{self, Load};
use crate::directory::{DirectoryError, Kind, view};
use crate::ids;

/// The most entities in one call.
const ENTITIES_LIMIT: usize = 1_000;

/// How the rows of a tenant's own entities are called in a cursor.
const ROW: &str = "own";

/// The tenant's own schema and policies.
#[utoipa::path(get, path = "/v1/policy-set", tag = "Directory", operation_id = "read_policy_set", params(Acting),
    responses((status = 200, description = "`version`, `schema` and `policies`", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn read_policies(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let permitted = call
        .read::<PolicyRead>(call.singleton(Kind::PolicySet))
        .await?;
    Ok(Json(view::library(permitted.snapshot().library())).into_response())
}

/// Replace the tenant's own schema and policies, as a whole.
#[utoipa::path(put, path = "/v1/policy-set", tag = "Directory", operation_id = "replace_policy_set", params(Acting, Keyed),
    request_body(content = serde_json::Value, description = "`schema`: Cedar schema text, as it is now if absent; `policies`: file names, each with its Cedar text"),
    responses((status = 200, description = "the new version and its files", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn replace_policies(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let schema = body.maybe_text("schema")?;
    let policies = match body.any("policies") {
        Some(Value::Object(files)) => files
            .into_iter()
            .map(|(file, text)| match text {
                Value::String(text) => Ok((file, text)),
                _ => Err(wrong(
                    "policies",
                    "it must be an object of file names and texts",
                )),
            })
            .collect::<Result<Vec<_>, _>>()?,
        Some(_) => {
            return Err(wrong(
                "policies",
                "it must be an object of file names and texts",
            ));
        }
        None => return Err(missing("policies")),
    };
    body.finish()?;
    let set = call.singleton(Kind::PolicySet);
    // What it is compared with may have been loaded through another node a moment ago.
    call.door().refresh().await.map_err(refused::problem)?;
    let before = call.door().glance().snapshot().library().schema.clone();
    // Another schema is decided for itself, before; the change below holds only while the schema is the one it saw.
    if schema.as_ref().is_some_and(|schema| *schema != before) {
        let asked = call
            .door()
            .permit::<SchemaEdit>(call.asker(), set, Map::new())
            .await;
        match asked {
            Ok(_) => {}
            Err(Refused::Denied(judgement, at)) => {
                return Err(call.denied(set, judgement, at).await);
            }
            Err(refused) => return Err(refused::problem(refused)),
        }
    }
    let changed = call
        .change::<PolicyEdit>(set, Map::new(), &body, move |by, snapshot| {
            let now = &snapshot.library().schema;
            if schema.is_some() && *now != before {
                let why = "somebody else has changed it just now: read it and try again".into();
                return Err(DirectoryError::Invalid {
                    member: "schema",
                    why,
                });
            }
            let schema = schema.clone().unwrap_or_else(|| now.clone());
            own::load_library(
                by,
                snapshot,
                &Load {
                    schema,
                    policies: policies.clone(),
                },
            )
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// The entities of the tenant's own types.
#[utoipa::path(get, path = "/v1/entities", tag = "Directory", operation_id = "list_entities", params(Acting, Paged),
    responses((status = 200, description = "`items`, and `next_cursor` where there are more", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn list_entities(call: Call) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    let paging = Paging::of(limit, cursor)?;
    let after = paging.after(|text| ids::parse(ROW, text).ok())?;
    let permitted = call.read::<EntityRead>(call.org()).await?;
    let items = permitted
        .snapshot()
        .own(after)
        .take(paging.limit.saturating_add(1))
        .map(|(id, _, entity)| (ids::text(ROW, &id), view::own(&entity)))
        .collect();
    Ok(page::cut(items, paging.limit))
}

/// Write entities of the tenant's own types, each as a whole.
#[utoipa::path(put, path = "/v1/entities", tag = "Directory", operation_id = "write_entities", params(Acting, Keyed),
    request_body(content = serde_json::Value, description = "`entities`: 1 to 1,000 in Cedar's JSON format"),
    responses((status = 200, description = "how many", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn write_entities(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let seed = crypto::random().map_err(|_| Problem::Internal)?;
    let entities = match body.any("entities") {
        Some(Value::Array(entities)) if (1..=ENTITIES_LIMIT).contains(&entities.len()) => entities,
        Some(_) => return Err(wrong("entities", "it must be a list of 1 to 1000 entities")),
        None => return Err(missing("entities")),
    };
    body.finish()?;
    let changed = call
        .change::<EntityWrite>(call.org(), Map::new(), &body, move |by, snapshot| {
            own::put_entities(by, snapshot, &entities, &seed)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Delete an entity of the tenant's own types.
#[utoipa::path(delete, path = "/v1/entities", tag = "Directory", operation_id = "delete_entity", params(Acting, Keyed),
    request_body(content = serde_json::Value, description = "`type` and `id` of the entity"),
    responses((status = 204, description = "it is no more"), Problems),
    security(("api_key" = [])))]
pub(super) async fn delete_entity(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let (kind, id) = (body.text("type")?, body.text("id")?);
    body.finish()?;
    let kind: EntityTypeName = kind
        .parse()
        .map_err(|_| wrong("type", "it is no name of a Cedar type"))?;
    let uid = EntityUid::from_type_name_and_id(kind, EntityId::new(id));
    let changed = call
        .change::<EntityDelete>(call.org(), Map::new(), &body, move |by, snapshot| {
            own::delete_entity(by, snapshot, &uid)
        })
        .await?;
    Ok(page::gone(&changed))
}
