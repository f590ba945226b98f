//! Teams and projects over HTTP: made, joined, left and deleted.

use axum::response::Response;
use serde_json::Map;

use super::call::Call;
use super::document::Page;
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::circles::{Circle, Membership, NewCircle, NewMember};
use super::fields::Fields;
use super::page::{self, Paging};
use super::problem::Problem;
use crate::crypto;
use crate::decide::authorized::{
    MemberRead, ProjectAddMember, ProjectCreate, ProjectDelete, ProjectRemoveMember, TeamAddMember,
    TeamCreate, TeamDelete, TeamRemoveMember,
};
use crate::directory::circle::{
    self, AddsMember, CircleIds, CreatesCircle, DeletesCircle, Place, RemovesMember,
};
use crate::directory::{Kind, Ref};

async fn made<A: CreatesCircle>(
    call: Call,
    mut body: Fields,
    parents: &[Kind],
) -> Result<Response, Problem> {
    let random = || crypto::random().map_err(|_| Problem::Internal);
    let ids = CircleIds {
        circle: random()?,
        members: random()?,
        leads: random()?,
    };
    let parent = body
        .maybe_reference("parent", parents)?
        .unwrap_or(call.org());
    let name = body.text("name")?;
    body.finish()?;
    let changed = call
        .change::<A>(parent, Map::new(), &body, move |by, snapshot| {
            circle::create_circle(by, snapshot, ids, &name)
        })
        .await?;
    Ok(page::made(A::KIND.collection(), changed))
}

/// Everybody in an organization may see its teams and projects, so they are read as the organization is.
async fn listed(call: Call, kind: Kind) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    let paging = Paging::of(limit, cursor)?;
    page::all(
        call.read::<MemberRead>(call.org()).await?.snapshot(),
        kind,
        &paging,
    )
}

async fn found(call: Call, kind: Kind) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let circle = call.named("id", kind)?;
    page::one(
        circle,
        call.read::<MemberRead>(call.org()).await?.snapshot(),
    )
}

async fn deleted<A: DeletesCircle>(call: Call, kind: Kind) -> Result<Response, Problem> {
    let circle = call.named("id", kind)?;
    let changed = call
        .change::<A>(circle, Map::new(), &Fields::none(), circle::delete_circle)
        .await?;
    Ok(page::gone(&changed))
}

async fn joined<A: AddsMember>(
    call: Call,
    mut body: Fields,
    kind: Kind,
) -> Result<Response, Problem> {
    let circle = call.named("id", kind)?;
    let user: Ref = body.reference("user", Kind::User)?;
    let place = if body.maybe_flag("lead")?.unwrap_or(false) {
        Place::Lead
    } else {
        Place::Member
    };
    body.finish()?;
    let changed = call
        .change::<A>(circle, Map::new(), &body, move |by, snapshot| {
            circle::add_member(by, snapshot, user, place)
        })
        .await?;
    Ok(page::made(
        &format!("{}/{circle}/members", kind.collection()),
        changed_with_id(changed, user),
    ))
}

/// The place of a membership is named by its user.
fn changed_with_id(mut changed: crate::decide::Changed, user: Ref) -> crate::decide::Changed {
    if let Some(reply) = changed.reply.as_object_mut() {
        reply.insert("id".into(), user.to_string().into());
    }
    changed
}

async fn left<A: RemovesMember>(call: Call, kind: Kind) -> Result<Response, Problem> {
    let (circle, user) = (call.named("id", kind)?, call.named("user", Kind::User)?);
    let changed = call
        .change::<A>(circle, Map::new(), &Fields::none(), move |by, snapshot| {
            circle::remove_member(by, snapshot, user, Place::Member)
        })
        .await?;
    Ok(page::gone(&changed))
}

macro_rules! circles {
    ($(#[doc = $doc:literal])* $module:ident, $kind:ident, $parents:expr, $many:literal, $one:literal, $members:literal, $member:literal,
     [$create_id:literal, $list_id:literal, $read_id:literal, $delete_id:literal, $add_id:literal, $remove_id:literal],
     [$create:ident, $delete:ident, $add:ident, $remove:ident]) => {
        $(#[doc = $doc])*
        pub(super) mod $module {
            use super::*;

            /// Make one; whoever makes it leads it.
            #[utoipa::path(post, path = $many, tag = "Directory", operation_id = $create_id, params(Acting, Keyed),
                request_body = NewCircle,
                responses((status = 201, description = "what was made, with `Location`", body = Circle), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn create(call: Call, body: Fields) -> Result<Response, Problem> {
                made::<$create>(call, body, $parents).await
            }

            /// All of them.
            #[utoipa::path(get, path = $many, tag = "Directory", operation_id = $list_id, params(Acting, Paged),
                responses((status = 200, description = "a page of them", body = Page<Circle>), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
                listed(call, Kind::$kind).await
            }

            /// One of them.
            #[utoipa::path(get, path = $one, tag = "Directory", operation_id = $read_id,
                params(("id" = String, Path, description = "its identifier"), Acting),
                responses((status = 200, description = "the one", body = Circle), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn read(call: Call) -> Result<Response, Problem> {
                found(call, Kind::$kind).await
            }

            /// Delete an empty one.
            #[utoipa::path(delete, path = $one, tag = "Directory", operation_id = $delete_id,
                params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
                responses((status = 204, description = "it is no more"), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn delete(call: Call) -> Result<Response, Problem> {
                deleted::<$delete>(call, Kind::$kind).await
            }

            /// Bring somebody in, or let them lead.
            #[utoipa::path(post, path = $members, tag = "Directory", operation_id = $add_id,
                params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
                request_body = NewMember,
                responses((status = 201, description = "who is what there, with `Location`", body = Membership), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn add(call: Call, body: Fields) -> Result<Response, Problem> {
                joined::<$add>(call, body, Kind::$kind).await
            }

            /// Take somebody out.
            #[utoipa::path(delete, path = $member, tag = "Directory", operation_id = $remove_id,
                params(("id" = String, Path, description = "its identifier"), ("user" = String, Path, description = "the person's identifier"), Acting, Keyed),
                responses((status = 204, description = "they are no longer in it"), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn remove(call: Call) -> Result<Response, Problem> {
                left::<$remove>(call, Kind::$kind).await
            }
        }
    };
}

circles! {
    #[doc = "The calls on teams."]
    teams, Team, &[Kind::Organization],
    "/v1/teams", "/v1/teams/{id}", "/v1/teams/{id}/members", "/v1/teams/{id}/members/{user}",
    ["create_team", "list_teams", "read_team", "delete_team", "add_team_member", "remove_team_member"],
    [TeamCreate, TeamDelete, TeamAddMember, TeamRemoveMember]
}
circles! {
    #[doc = "The calls on projects."]
    projects, Project, &[Kind::Organization, Kind::Team],
    "/v1/projects", "/v1/projects/{id}", "/v1/projects/{id}/members", "/v1/projects/{id}/members/{user}",
    ["create_project", "list_projects", "read_project", "delete_project", "add_project_member", "remove_project_member"],
    [ProjectCreate, ProjectDelete, ProjectAddMember, ProjectRemoveMember]
}
