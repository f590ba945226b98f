//! The organization over HTTP: read, renamed, and kept to its regions.

use axum::response::Response;
use serde_json::Map;

use super::call::Call;
use super::fields::Fields;
use super::page::{self, Acting, Keyed, Problems};
use super::problem::Problem;
use crate::decide::authorized::{MemberRead, RegionUpdate, SettingsUpdate};
use crate::directory::{Kind, organization};

/// The organization of the key.
#[utoipa::path(get, path = "/v1/organization", tag = "Directory", operation_id = "read_organization", params(Acting),
    responses((status = 200, description = "the organization", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    page::one(call.org(), call.read::<MemberRead>(call.org()).await?.snapshot())
}

/// Another name, or other regions: one of them at a time.
#[utoipa::path(patch, path = "/v1/organization", tag = "Directory", operation_id = "update_organization", params(Acting, Keyed),
    request_body(content = serde_json::Value, description = "`name`, or `regions`: where content may be touched, everywhere if empty"),
    responses((status = 200, description = "the organization as it is now", body = serde_json::Value), Problems),
    security(("api_key" = [])))]
pub(super) async fn update(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let (name, regions) = (body.maybe_text("name")?, body.maybe_texts("regions")?);
    body.finish()?;
    let settings = call.singleton(Kind::Settings);
    let changed = match (name, regions) {
        (Some(name), None) => {
            call.change::<SettingsUpdate>(settings, Map::new(), &body, move |by, snapshot| {
                organization::rename(by, snapshot, &name)
            })
            .await?
        }
        (None, Some(regions)) => {
            let regions = regions.into_iter().collect();
            call.change::<RegionUpdate>(settings, Map::new(), &body, move |by, snapshot| {
                organization::set_regions(by, snapshot, &regions)
            })
            .await?
        }
        _ => return Err(Problem::Malformed("send either `name` or `regions`: each is decided for itself".into())),
    };
    Ok(page::changed_to(changed))
}
