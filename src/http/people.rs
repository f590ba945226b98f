//! People over HTTP: they join, take another role, are suspended and brought back, and leave.

use axum::response::Response;
use serde_json::Map;

use super::call::Call;
use super::document::Page;
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::people::{NewUser, User, UserChange};
use super::fields::Fields;
use super::page::{self, Paging};
use super::problem::Problem;
use crate::crypto;
use crate::decide::authorized::{
    MemberChangeRole, MemberInvite, MemberRead, MemberRemove, MemberSuspend,
};
use crate::directory::Kind;
use crate::directory::object::Role;
use crate::directory::people::{self, Joining, Standing};

/// Somebody joins.
#[utoipa::path(post, path = "/v1/users", tag = "Directory", operation_id = "create_user", params(Acting, Keyed),
    request_body = NewUser,
    responses((status = 201, description = "the person, with `Location`", body = User), Problems),
    security(("api_key" = [])))]
pub(super) async fn create(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let joining = Joining {
        id: crypto::random().map_err(|_| Problem::Internal)?,
        name: body.text("name")?,
        email: body.text("email")?,
        role: body.word("role")?,
    };
    body.finish()?;
    let changed = call
        .change::<MemberInvite>(call.org(), Map::new(), &body, move |by, snapshot| {
            people::join(by, snapshot, &joining)
        })
        .await?;
    Ok(page::made(Kind::User.collection(), changed))
}

/// The people that the acting user may read.
#[utoipa::path(get, path = "/v1/users", tag = "Directory", operation_id = "list_users", params(Acting, Paged),
    responses((status = 200, description = "a page of them", body = Page<User>), Problems),
    security(("api_key" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    page::list::<MemberRead>(&call, Kind::User, &Paging::of(limit, cursor)?, |_, _| true).await
}

/// One person.
#[utoipa::path(get, path = "/v1/users/{id}", tag = "Directory", operation_id = "read_user",
    params(("id" = String, Path, description = "the person's identifier"), Acting),
    responses((status = 200, description = "the person", body = User), Problems),
    security(("api_key" = [])))]
pub(super) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let user = call.named("id", Kind::User)?;
    page::one(user, call.read::<MemberRead>(user).await?.snapshot())
}

/// Another role, or suspended, or brought back: one of them at a time.
#[utoipa::path(patch, path = "/v1/users/{id}", tag = "Directory", operation_id = "update_user",
    params(("id" = String, Path, description = "the person's identifier"), Acting, Keyed),
    request_body = UserChange,
    responses((status = 200, description = "the person as they are now", body = User), Problems),
    security(("api_key" = [])))]
pub(super) async fn update(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let user = call.named("id", Kind::User)?;
    let role: Option<Role> = body.maybe_word("role")?;
    let active = body.maybe_flag("active")?;
    body.finish()?;
    let changed = match (role, active) {
        (Some(role), None) => {
            let context = named_role(role);
            call.change::<MemberChangeRole>(user, context, &body, move |by, snapshot| {
                people::change_role(by, snapshot, role)
            })
            .await?
        }
        (None, Some(active)) => {
            let standing = if active {
                Standing::Active
            } else {
                Standing::Suspended
            };
            call.change::<MemberSuspend>(user, Map::new(), &body, move |by, snapshot| {
                people::set_active(by, snapshot, standing)
            })
            .await?
        }
        _ => {
            return Err(Problem::Malformed(
                "send either `role` or `active`: each is decided for itself".into(),
            ));
        }
    };
    Ok(page::changed_to(changed))
}

/// Somebody leaves.
#[utoipa::path(delete, path = "/v1/users/{id}", tag = "Directory", operation_id = "delete_user",
    params(("id" = String, Path, description = "the person's identifier"), Acting, Keyed),
    responses((status = 204, description = "they have left"), Problems),
    security(("api_key" = [])))]
pub(super) async fn delete(call: Call) -> Result<Response, Problem> {
    let user = call.named("id", Kind::User)?;
    let changed = call
        .change::<MemberRemove>(user, Map::new(), &Fields::none(), people::remove)
        .await?;
    Ok(page::gone(&changed))
}

/// The role as a policy reads it: a role is an entity whose identifier is its name.
fn named_role(role: Role) -> Map<String, serde_json::Value> {
    let value = serde_json::json!({ "type": "Role", "id": role.name() });
    std::iter::once(("new_role".to_owned(), value)).collect()
}
