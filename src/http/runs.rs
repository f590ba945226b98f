//! Runs of agents over HTTP: started, ended, cancelled, and seen by those for whom they run.

use axum::response::Response;
use serde_json::Map;

use super::call::Call;
use super::document::Page;
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::content::{AgentRun as Described, AgentRunEnd, NewAgentRun};
use super::fields::Fields;
use super::page::{self, Paging};
use super::problem::Problem;
use crate::crypto;
use crate::decide::authorized::{AgentCancel, AgentRead, AgentRun};
use crate::directory::run::{self, Status};
use crate::directory::{Kind, Ref};

/// Start a run of an agent, for the acting user.
#[utoipa::path(post, path = "/v1/agents/{id}/runs", tag = "Directory", operation_id = "start_agent_run",
    params(("id" = String, Path, description = "the agent's definition"), Acting, Keyed),
    responses((status = 201, description = "the run, with `Location`", body = Described), Problems),
    security(("api_key" = [])))]
pub(super) async fn start(call: Call) -> Result<Response, Problem> {
    let definition = call.named("id", Kind::AgentDefinition)?;
    begin(&call, definition, &Fields::none()).await
}

/// The same, where the body names the agent.
#[utoipa::path(post, path = "/v1/agent-runs", tag = "Directory", operation_id = "start_run", params(Acting, Keyed),
    request_body = NewAgentRun,
    responses((status = 201, description = "the run, with `Location`", body = Described), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn start_named(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let definition = body.reference("definition", Kind::AgentDefinition)?;
    body.finish()?;
    begin(&call, definition, &body).await
}

async fn begin(call: &Call, definition: Ref, body: &Fields) -> Result<Response, Problem> {
    let id = crypto::random().map_err(|_| Problem::Internal)?;
    let changed = call
        .change::<AgentRun>(definition, Map::new(), body, move |by, snapshot| {
            run::start(by, snapshot, id)
        })
        .await?;
    Ok(page::made(Kind::AgentRun.collection(), changed))
}

/// The runs for the acting user.
#[utoipa::path(get, path = "/v1/agent-runs", tag = "Directory", operation_id = "list_agent_runs", params(Acting, Paged),
    responses((status = 200, description = "a page of them", body = Page<Described>), Problems),
    security(("api_key" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    page::list::<AgentRead>(
        &call,
        Kind::AgentRun,
        &Paging::of(limit, cursor)?,
        |_, _| true,
    )
    .await
}

/// One run.
#[utoipa::path(get, path = "/v1/agent-runs/{id}", tag = "Directory", operation_id = "read_agent_run",
    params(("id" = String, Path, description = "its identifier"), Acting),
    responses((status = 200, description = "the run", body = Described), Problems),
    security(("api_key" = [])))]
pub(super) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let wanted = call.named("id", Kind::AgentRun)?;
    page::one(wanted, call.read::<AgentRead>(wanted).await?.snapshot())
}

/// Say how a run has ended.
#[utoipa::path(patch, path = "/v1/agent-runs/{id}", tag = "Directory", operation_id = "end_agent_run",
    params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
    request_body = AgentRunEnd,
    responses((status = 200, description = "the run as it is now", body = Described), Problems),
    security(("api_key" = [])))]
pub(super) async fn end(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::AgentRun)?;
    let status: Status = body.word("status")?;
    body.finish()?;
    ended(&call, wanted, &body, status).await
}

/// Say that a run did what it was started for.
#[utoipa::path(post, path = "/v1/agent-runs/{id}/complete", tag = "Directory", operation_id = "complete_agent_run",
    params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
    responses((status = 200, description = "the run as it is now", body = Described), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn complete(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::AgentRun)?;
    ended(&call, wanted, &Fields::none(), Status::Completed).await
}

/// Say that a run did not do what it was started for.
#[utoipa::path(post, path = "/v1/agent-runs/{id}/fail", tag = "Directory", operation_id = "fail_agent_run",
    params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
    responses((status = 200, description = "the run as it is now", body = Described), Problems),
    security(("api_key" = []), ("session" = [])))]
pub(super) async fn fail(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::AgentRun)?;
    ended(&call, wanted, &Fields::none(), Status::Failed).await
}

async fn ended(
    call: &Call,
    wanted: Ref,
    body: &Fields,
    status: Status,
) -> Result<Response, Problem> {
    let changed = call
        .change::<AgentRun>(wanted, Map::new(), body, move |by, snapshot| {
            run::end(by, snapshot, status)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Tell a run to stop.
#[utoipa::path(post, path = "/v1/agent-runs/{id}/cancel", tag = "Directory", operation_id = "cancel_agent_run",
    params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
    responses((status = 200, description = "the run as it is now", body = Described), Problems),
    security(("api_key" = [])))]
pub(super) async fn cancel(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::AgentRun)?;
    let changed = call
        .change::<AgentCancel>(wanted, Map::new(), &Fields::none(), run::cancel)
        .await?;
    Ok(page::changed_to(changed))
}
