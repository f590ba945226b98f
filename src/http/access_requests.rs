//! Requests for access over HTTP: made, listed, approved, declined and withdrawn.
//!
//! Whoever asks is answered alike whether what they ask for is there or not. Approving is sharing: the action of what is shared decides.

use axum::response::Response;
use serde_json::Map;

use super::call::{Call, said};
use super::document::Page;
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::sharing::{
    AccessApproval, AccessRequest as Described, AccessRequestStatus, AccessRequestsBy,
    NewAccessRequest,
};
use super::fields::{Fields, wrong};
use super::page::{self, Paging};
use super::problem::Problem;
use super::refused;
use crate::crypto;
use crate::decide::Changed;
use crate::decide::authorized::{
    AccessDecline, AccessRead, AccessRequest, AccessWithdraw, AgentShare, AssistantShare,
    PromptTemplateShare, SettingsUpdate, ThreadShare, ToolShare,
};
use crate::directory::request::deciding::{self, Approval};
use crate::directory::request::{self, Asking, Request, Status};
use crate::directory::share::{SHARED, Shares};
use crate::directory::{Kind, Object, Ref, Snapshot};

/// Ask for access to something, which need not be there: whether it is, this does not tell. Whoever may share it sees the request for 14
/// days; 20 of a person may be open at once, one for each thing.
#[utoipa::path(post, path = "/v1/access-requests", tag = "Directory", operation_id = "create_access_request", params(Acting, Keyed),
    request_body = NewAccessRequest,
    responses((status = 202, description = "the request, with `Location`", body = Described), Problems),
    security(("api_key" = [])))]
pub(super) async fn create(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let asking = Asking {
        resource: body.one_of("resource", SHARED)?,
        level: body.word("level")?,
        reason: body.text("reason")?,
        minutes: body.maybe_minutes("for_minutes")?,
    };
    body.finish()?;
    let id = crypto::random().map_err(|_| Problem::Internal)?;
    let changed = call
        .change::<AccessRequest>(call.org(), Map::new(), &body, move |by, snapshot| {
            request::ask(by, snapshot, id, &asking)
        })
        .await?;
    Ok(page::waits(Kind::AccessRequest.collection(), changed))
}

/// The requests that the acting user has made, and those about what they may share.
#[utoipa::path(get, path = "/v1/access-requests", tag = "Directory", operation_id = "list_access_requests",
    params(("by" = inline(Option<AccessRequestsBy>), Query, description = "`me`: those that the acting user has made; `others`: those that wait, or have waited, for them"),
        ("resource" = Option<String>, Query, description = "about this alone"),
        ("status" = Option<AccessRequestStatus>, Query, description = "of which this has become"), Acting, Paged),
    responses((status = 200, description = "a page of them", body = Page<Described>), Problems),
    security(("api_key" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [by, resource, status, limit, cursor] =
        call.query(["by", "resource", "status", "limit", "cursor"])?;
    let user = call.user();
    let own = match by {
        None => None,
        Some("me") => Some(true),
        Some("others") => Some(false),
        Some(_) => return Err(wrong("by", "it must be `me` or `others`")),
    };
    let about = |text: &str| text.parse::<Ref>().map_err(|_| Problem::NotFound);
    let about = resource.map(about).transpose()?;
    let status = status.map(status_of).transpose()?;
    let shown = |request: &Request| {
        own.is_none_or(|own| own == (Some(request.owner) == user))
            && about.is_none_or(|about| request.resource == about)
            && status.is_none_or(|status| request.status == status)
    };
    let shown = |reference: Ref, snapshot: &Snapshot| {
        let found = snapshot.object(reference).map(|stored| &stored.value);
        matches!(found, Some(Object::AccessRequest(request)) if shown(request))
    };
    let paging = Paging::of(limit, cursor)?;
    page::list::<AccessRead>(&call, Kind::AccessRequest, &paging, shown).await
}

/// One request: for whoever made it, and for whoever may share what it is about.
#[utoipa::path(get, path = "/v1/access-requests/{id}", tag = "Directory", operation_id = "read_access_request",
    params(("id" = String, Path, description = "the request's identifier"), Acting),
    responses((status = 200, description = "the request, with what was `given` where it was approved", body = Described), Problems),
    security(("api_key" = [])))]
pub(super) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let wanted = call.named("id", Kind::AccessRequest)?;
    page::one(wanted, call.read::<AccessRead>(wanted).await?.snapshot())
}

/// Approve a request: what it is about is shared with whoever made it, as far as the acting user may share it. Nobody approves their own.
#[utoipa::path(post, path = "/v1/access-requests/{id}/approve", tag = "Directory", operation_id = "approve_access_request",
    params(("id" = String, Path, description = "the request's identifier"), Acting, Keyed),
    request_body = AccessApproval,
    responses((status = 200, description = "the request, with the share that was `given`", body = Described), Problems),
    security(("api_key" = [])))]
pub(super) async fn approve(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::AccessRequest)?;
    let approval = Approval {
        share: crypto::random().map_err(|_| Problem::Internal)?,
        level: body.maybe_word("level")?,
        until: body.maybe_end()?,
    };
    body.finish()?;
    let found = about(&call, wanted).await?;
    // One that is not there is decided as a thread's that is not there either.
    let (resource, context) = found.map_or_else(
        || (Ref::new(Kind::Thread, [0; 16]), Map::new()),
        |(resource, owner)| (resource, said("grantee", owner)),
    );
    let approved = Approved {
        call: &call,
        body: &body,
        wanted,
        approval,
    };
    let asked = (resource, context);
    let changed = match resource.kind {
        Kind::PromptTemplate => approved.by::<PromptTemplateShare>(asked).await,
        Kind::Tool => approved.by::<ToolShare>(asked).await,
        Kind::Assistant => approved.by::<AssistantShare>(asked).await,
        Kind::AgentDefinition => approved.by::<AgentShare>(asked).await,
        Kind::AuditLog => {
            let (settings, approval) = (call.singleton(Kind::Settings), approved.approval);
            call.change_known::<SettingsUpdate>(
                wanted,
                (settings, asked.1),
                &body,
                move |by, snapshot| deciding::approve_auditor(by, snapshot, wanted, &approval),
            )
            .await
        }
        _ => approved.by::<ThreadShare>(asked).await,
    }?;
    Ok(page::changed_to(changed))
}

/// Decline a request, by whoever may share what it is about.
#[utoipa::path(post, path = "/v1/access-requests/{id}/decline", tag = "Directory", operation_id = "decline_access_request",
    params(("id" = String, Path, description = "the request's identifier"), Acting, Keyed),
    responses((status = 200, description = "the request as it is now", body = Described), Problems),
    security(("api_key" = [])))]
pub(super) async fn decline(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::AccessRequest)?;
    let changed = call
        .change::<AccessDecline>(wanted, Map::new(), &Fields::none(), deciding::decline)
        .await?;
    Ok(page::changed_to(changed))
}

/// Withdraw a request, by whoever made it.
#[utoipa::path(delete, path = "/v1/access-requests/{id}", tag = "Directory", operation_id = "delete_access_request",
    params(("id" = String, Path, description = "the request's identifier"), Acting, Keyed),
    responses((status = 204, description = "it is withdrawn"), Problems),
    security(("api_key" = [])))]
pub(super) async fn withdraw(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::AccessRequest)?;
    let changed = call
        .change::<AccessWithdraw>(wanted, Map::new(), &Fields::none(), request::withdraw)
        .await?;
    Ok(page::gone(&changed))
}

/// A request that is approved.
struct Approved<'a> {
    call: &'a Call,
    body: &'a Fields,
    wanted: Ref,
    approval: Approval,
}

impl Approved<'_> {
    async fn by<A: Shares>(
        self,
        asked: (Ref, Map<String, serde_json::Value>),
    ) -> Result<Changed, Problem> {
        let (wanted, approval) = (self.wanted, self.approval);
        self.call
            .change_known::<A>(wanted, asked, self.body, move |by, snapshot| {
                deciding::approve(by, snapshot, wanted, &approval)
            })
            .await
    }
}

/// What a request is about and who made it, only to know which action decides: the change is computed from the state that its own decision
/// sees, and neither ever changes.
async fn about(call: &Call, wanted: Ref) -> Result<Option<(Ref, Ref)>, Problem> {
    let of = || {
        let world = call.door().glance();
        let found = request::required(world.snapshot(), wanted).ok()?;
        Some((found.resource, found.owner))
    };
    let mut found = of();
    if found.is_none() {
        // It may have been made through another node a moment ago.
        call.door().refresh().await.map_err(refused::problem)?;
        found = of();
    }
    // The log of another organization is none.
    let log = call.singleton(Kind::AuditLog);
    Ok(found.filter(|(resource, _)| resource.kind != Kind::AuditLog || *resource == log))
}

fn status_of(text: &str) -> Result<Status, Problem> {
    let found = Status::ALL.iter().find(|status| status.as_str() == text);
    found.copied().ok_or_else(|| {
        let known: Vec<_> = Status::ALL.iter().map(|status| status.as_str()).collect();
        wrong("status", &format!("it must be one of {}", known.join(", ")))
    })
}
