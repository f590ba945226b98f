//! The entities of the tenant's own types over HTTP.

use axum::response::Response;
use cedar_policy::{EntityId, EntityTypeName, EntityUid};
use serde_json::{Map, Value};

use super::call::Call;
use super::document::Page;
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::made::{EntityDeletion, NewEntities, OwnEntity, WrittenEntities};
use super::fields::{Fields, missing, wrong};
use super::page::{self, Paging};
use super::problem::Problem;
use crate::crypto;
use crate::decide::authorized::{EntityDelete, EntityRead, EntityWrite};
use crate::directory::{own, view};
use crate::ids;

/// The most entities in one call.
const ENTITIES_LIMIT: usize = 1_000;

/// How the rows of a tenant's own entities are called in a cursor.
const ROW: &str = "own";

/// The entities of the tenant's own types.
#[utoipa::path(get, path = "/v1/entities", tag = "Directory", operation_id = "list_entities", params(Acting, Paged),
    responses((status = 200, description = "a page of them", body = Page<OwnEntity>), Problems),
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
    page::is_whole(permitted.snapshot())?;
    Ok(page::cut(items, paging.limit))
}

/// Write entities of the tenant's own types, each as a whole.
#[utoipa::path(put, path = "/v1/entities", tag = "Directory", operation_id = "write_entities", params(Acting, Keyed),
    request_body = NewEntities,
    responses((status = 200, description = "how many", body = WrittenEntities), Problems),
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
    request_body = EntityDeletion,
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
