//! The organization over HTTP: read, renamed, kept to its regions, and its shares to their end.

use axum::response::Response;
use serde_json::{Map, Value};

use super::call::Call;
use super::document::calls::{Acting, Keyed, Problems};
use super::document::organization::{Organization, OrganizationChange};
use super::fields::{Fields, wrong};
use super::page;
use super::problem::Problem;
use crate::decide::authorized::{MemberRead, RegionUpdate, SettingsUpdate};
use crate::directory::{Kind, organization};

/// The organization of the key.
#[utoipa::path(get, path = "/v1/organization", tag = "Directory", operation_id = "read_organization", params(Acting),
    responses((status = 200, description = "the organization", body = Organization), Problems),
    security(("api_key" = [])))]
pub(super) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    page::one(
        call.org(),
        call.read::<MemberRead>(call.org()).await?.snapshot(),
    )
}

/// Another name, other regions, or within how many days every share ends: one of them at a time.
#[utoipa::path(patch, path = "/v1/organization", tag = "Directory", operation_id = "update_organization", params(Acting, Keyed),
    request_body = OrganizationChange,
    responses((status = 200, description = "the organization as it is now", body = Organization), Problems),
    security(("api_key" = [])))]
pub(super) async fn update(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let (name, regions) = (body.maybe_text("name")?, body.maybe_texts("regions")?);
    let share_days = body.any("share_days").map(days).transpose()?;
    body.finish()?;
    let settings = call.singleton(Kind::Settings);
    let changed = match (name, regions, share_days) {
        (Some(name), None, None) => {
            call.change::<SettingsUpdate>(settings, Map::new(), &body, move |by, snapshot| {
                organization::rename(by, snapshot, &name)
            })
            .await?
        }
        (None, Some(regions), None) => {
            let regions = regions.into_iter().collect();
            call.change::<RegionUpdate>(settings, Map::new(), &body, move |by, snapshot| {
                organization::set_regions(by, snapshot, &regions)
            })
            .await?
        }
        (None, None, Some(days)) => {
            call.change::<SettingsUpdate>(settings, Map::new(), &body, move |by, snapshot| {
                organization::set_share_days(by, snapshot, days)
            })
            .await?
        }
        _ => {
            return Err(Problem::Malformed(
                "send either `name`, `regions` or `share_days`: each is decided for itself".into(),
            ));
        }
    };
    Ok(page::changed_to(changed))
}

/// A number of days, or `null`.
fn days(value: Value) -> Result<Option<u32>, Problem> {
    serde_json::from_value(value).map_err(|_| wrong("share_days", "it must be a number, or null"))
}
