//! Shares over HTTP: given, listed, changed and taken back, each by the action of what is shared.

use axum::response::Response;
use serde_json::{Map, Value};

use super::call::{Call, said};
use super::document::Page;
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::sharing::{NewShare, Share, ShareChange};
use super::fields::Fields;
use super::page::{self, Paging};
use super::problem::Problem;
use super::refused;
use crate::crypto;
use crate::decide::authorized::{
    AgentRead, AgentShare, AgentUnshare, AssistantRead, AssistantShare, AssistantUnshare,
    AuditLogRead, PromptTemplateRead, PromptTemplateShare, PromptTemplateUnshare, SettingsUpdate,
    ThreadRead, ThreadShare, ThreadUnshare, ToolRead, ToolShare, ToolUnshare,
};
use crate::decide::{Action, Changed};
use crate::directory::change::SHARE;
use crate::directory::expiry::End;
use crate::directory::object::Level;
use crate::directory::share::{self, Edit, Grant, SHARED, Shares, Unshares};
use crate::directory::{Kind, Ref, view};
use crate::ids;

const COLLECTION: &str = "shares";

/// Share something, or the log with an auditor; what the grantee had of it is replaced.
#[utoipa::path(post, path = "/v1/shares", tag = "Directory", operation_id = "create_share", params(Acting, Keyed),
    request_body = NewShare,
    responses((status = 201, description = "the share, with `Location`", body = Share), Problems),
    security(("api_key" = [])))]
pub(super) async fn create(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let resource = body.one_of("resource", SHARED)?;
    let grant = Grant {
        grantee: body.one_of("grantee", &[Kind::User, Kind::Group, Kind::AgentDefinition])?,
        level: body.word::<Level>("level")?,
        until: body.maybe_end()?.unwrap_or(End::Never),
    };
    body.finish()?;
    let changed = match resource.kind {
        Kind::Thread => shared::<ThreadShare>(&call, &body, resource, grant).await,
        Kind::PromptTemplate => shared::<PromptTemplateShare>(&call, &body, resource, grant).await,
        Kind::Tool => shared::<ToolShare>(&call, &body, resource, grant).await,
        Kind::Assistant => shared::<AssistantShare>(&call, &body, resource, grant).await,
        Kind::AgentDefinition => shared::<AgentShare>(&call, &body, resource, grant).await,
        _ => audited(&call, &body, resource, grant).await,
    }?;
    Ok(page::made(COLLECTION, changed))
}

/// The shares of one thing, by whoever may read it.
#[utoipa::path(get, path = "/v1/shares", tag = "Directory", operation_id = "list_shares",
    params(("resource" = String, Query, description = "the identifier of what is shared"), Acting, Paged),
    responses((status = 200, description = "a page of them", body = Page<Share>), Problems),
    security(("api_key" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [resource, limit, cursor] = call.query(["resource", "limit", "cursor"])?;
    let resource =
        resource.ok_or_else(|| Problem::Malformed("the parameter `resource` is missing".into()))?;
    let resource: Ref = resource.parse().map_err(|_| Problem::NotFound)?;
    let paging = Paging::of(limit, cursor)?;
    match resource.kind {
        Kind::Thread => listed::<ThreadRead>(&call, resource, &paging).await,
        Kind::PromptTemplate => listed::<PromptTemplateRead>(&call, resource, &paging).await,
        Kind::Tool => listed::<ToolRead>(&call, resource, &paging).await,
        Kind::Assistant => listed::<AssistantRead>(&call, resource, &paging).await,
        Kind::AgentDefinition => listed::<AgentRead>(&call, resource, &paging).await,
        Kind::AuditLog => listed::<AuditLogRead>(&call, resource, &paging).await,
        _ => Err(Problem::NotFound),
    }
}

/// Take a share back.
#[utoipa::path(delete, path = "/v1/shares/{id}", tag = "Directory", operation_id = "delete_share",
    params(("id" = String, Path, description = "the share's identifier"), Acting, Keyed),
    responses((status = 204, description = "it no longer counts"), Problems),
    security(("api_key" = [])))]
pub(super) async fn delete(call: Call) -> Result<Response, Problem> {
    let (id, resource, _) = named(&call).await?;
    let changed = match resource.kind {
        Kind::PromptTemplate => unshared::<PromptTemplateUnshare>(&call, resource, id).await,
        Kind::Tool => unshared::<ToolUnshare>(&call, resource, id).await,
        Kind::Assistant => unshared::<AssistantUnshare>(&call, resource, id).await,
        Kind::AgentDefinition => unshared::<AgentUnshare>(&call, resource, id).await,
        Kind::AuditLog => {
            call.change::<SettingsUpdate>(
                call.singleton(Kind::Settings),
                Map::new(),
                &Fields::none(),
                move |by, snapshot| share::end_auditor(by, snapshot, id),
            )
            .await
        }
        _ => unshared::<ThreadUnshare>(&call, resource, id).await,
    }?;
    Ok(page::gone(&changed))
}

/// Have a share give more or less, or end sooner or later, by whoever may share what it is of.
#[utoipa::path(patch, path = "/v1/shares/{id}", tag = "Directory", operation_id = "update_share",
    params(("id" = String, Path, description = "the share's identifier"), Acting, Keyed),
    request_body = ShareChange,
    responses((status = 200, description = "the share as it is now", body = Share), Problems),
    security(("api_key" = [])))]
pub(super) async fn update(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let edit = Edit {
        level: body.maybe_word("level")?,
        until: body.maybe_end()?,
    };
    body.finish()?;
    let (id, resource, grantee) = named(&call).await?;
    let asked = (resource, grantee.map(to).unwrap_or_default());
    let changed = match resource.kind {
        Kind::PromptTemplate => {
            edited::<PromptTemplateShare>(&call, &body, asked, (id, edit)).await
        }
        Kind::Tool => edited::<ToolShare>(&call, &body, asked, (id, edit)).await,
        Kind::Assistant => edited::<AssistantShare>(&call, &body, asked, (id, edit)).await,
        Kind::AgentDefinition => edited::<AgentShare>(&call, &body, asked, (id, edit)).await,
        Kind::AuditLog if edit.level.is_none_or(|level| level == Level::Auditor) => {
            let settings = call.singleton(Kind::Settings);
            call.change::<SettingsUpdate>(settings, asked.1, &body, move |by, snapshot| {
                share::edit_auditor(by, snapshot, id, edit.until)
            })
            .await
        }
        Kind::AuditLog => Err(of_log()),
        _ => edited::<ThreadShare>(&call, &body, asked, (id, edit)).await,
    }?;
    Ok(page::changed_to(changed))
}

/// The share that a path names, what it is of and whom it is for.
async fn named(call: &Call) -> Result<([u8; 16], Ref, Option<Ref>), Problem> {
    let id = ids::parse(SHARE, call.text("id")?).map_err(|_| Problem::NotFound)?;
    // Only to know which action decides: the change is computed from the state that its own decision sees.
    let of = || {
        let world = call.door().glance();
        let share = world.snapshot().share(id);
        share.map(|stored| (stored.value.resource, stored.value.grantee))
    };
    let mut found = of();
    if found.is_none() {
        // It may have been given through another node a moment ago.
        call.door().refresh().await.map_err(refused::problem)?;
        found = of();
    }
    // One that is gone is asked for as a thread's: a stranger and a repeated call are answered as for any other.
    let (resource, grantee) = found.unzip();
    let resource = resource.unwrap_or(Ref::new(Kind::Thread, [0; 16]));
    Ok((id, resource, grantee))
}

fn of_log() -> Problem {
    super::fields::wrong("level", "the log is shared with the level `auditor` alone")
}

fn to(grantee: Ref) -> Map<String, Value> {
    let member = match grantee.kind {
        Kind::Group => "grantee_group",
        Kind::AgentDefinition => "grantee_agent",
        _ => "grantee",
    };
    said(member, grantee)
}

async fn shared<A: Shares>(
    call: &Call,
    body: &Fields,
    resource: Ref,
    grant: Grant,
) -> Result<Changed, Problem> {
    let id = crypto::random().map_err(|_| Problem::Internal)?;
    call.change::<A>(resource, to(grant.grantee), body, move |by, snapshot| {
        share::share(by, snapshot, id, &grant)
    })
    .await
}

/// Who may audit is one of the organization's settings.
async fn audited(call: &Call, body: &Fields, log: Ref, grant: Grant) -> Result<Changed, Problem> {
    if log != call.singleton(Kind::AuditLog) {
        return Err(Problem::NotFound);
    }
    if grant.level != Level::Auditor {
        return Err(of_log());
    }
    let id = crypto::random().map_err(|_| Problem::Internal)?;
    let settings = call.singleton(Kind::Settings);
    call.change::<SettingsUpdate>(settings, to(grant.grantee), body, move |by, snapshot| {
        share::auditor(by, snapshot, id, (grant.grantee, grant.until))
    })
    .await
}

async fn edited<A: Shares>(
    call: &Call,
    body: &Fields,
    (resource, context): (Ref, Map<String, Value>),
    (id, edit): ([u8; 16], Edit),
) -> Result<Changed, Problem> {
    call.change::<A>(resource, context, body, move |by, snapshot| {
        share::edit(by, snapshot, id, edit)
    })
    .await
}

async fn unshared<A: Unshares>(
    call: &Call,
    resource: Ref,
    id: [u8; 16],
) -> Result<Changed, Problem> {
    call.change::<A>(
        resource,
        Map::new(),
        &Fields::none(),
        move |by, snapshot| share::unshare(by, snapshot, id),
    )
    .await
}

async fn listed<A: Action>(
    call: &Call,
    resource: Ref,
    paging: &Paging,
) -> Result<Response, Problem> {
    let after = paging.after(|text| ids::parse(SHARE, text).ok())?;
    let permitted = call.read::<A>(resource).await?;
    let mut found: Vec<_> = permitted.snapshot().shares_of(resource).collect();
    found.sort_by_key(|(id, _)| *id);
    let items = found
        .into_iter()
        .filter(|(id, _)| after.is_none_or(|after| *id > after))
        .take(paging.limit.saturating_add(1))
        .map(|(id, stored)| (ids::text(SHARE, &id), view::share(id, stored)))
        .collect();
    Ok(page::cut(items, paging.limit))
}
