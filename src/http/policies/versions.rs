//! Versions of the organization's own policies over HTTP: drafted, shown, approved, activated and let go of.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::Map;

use super::{Compiled, Given, Schema, may, set};
use crate::decide::authorized::{PolicyActivate, PolicyEdit, PolicyRead, PolicyRollback};
use crate::directory::policies::{self, Files, Wanted};
use crate::directory::view;
use crate::http::call::Call;
use crate::http::document::Page;
use crate::http::document::calls::{Acting, Keyed, Paged, Problems};
use crate::http::document::policies::differences::PolicyDifference;
use crate::http::document::policies::versions::{
    ActivatedPolicySet, DraftedPolicyVersion, NewPolicyVersion, PolicyActivation, PolicyVersion,
    PolicyVersionNumber, TriedPolicyVersion, WholePolicyVersion,
};
use crate::http::fields::Fields;
use crate::http::page::{self, Paging};
use crate::http::problem::Problem;
use crate::http::refused;
use crate::policy::{PolicyError, diff};

/// Draft a version: it is validated and tested, and does not count before it is activated.
#[utoipa::path(post, path = "/v1/policy-versions", tag = "Policies", operation_id = "draft_policy_version", params(Acting, Keyed),
    request_body = NewPolicyVersion,
    responses((status = 201, description = "what came of it, with `Location`", body = DraftedPolicyVersion),
        (status = 200, description = "what would come of it, of a `dry_run`, which drafts nothing", body = TriedPolicyVersion), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn create(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let given = Given::of(&mut body)?;
    let only_looks = body.maybe_flag("dry_run")?.unwrap_or_default();
    body.finish()?;
    may::<PolicyEdit>(&call).await?;
    let Compiled { draft, schema, .. } = given.draft(&call).await?;
    if only_looks {
        return Ok(Json(draft.to_json()).into_response());
    }
    let changed = call
        .change::<PolicyEdit>(set(&call), Map::new(), &body, move |by, snapshot| {
            schema.holds(snapshot)?;
            policies::draft(by, snapshot, &draft)
        })
        .await?;
    Ok(page::made_as("policy-versions", "version", changed))
}

/// The versions, the newest first, without their files.
#[utoipa::path(get, path = "/v1/policy-versions", tag = "Policies", operation_id = "list_policy_versions", params(Acting, Paged),
    responses((status = 200, description = "a page of them", body = Page<PolicyVersion>), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    let paging = Paging::of(limit, cursor)?;
    let after: Option<u64> = paging.after(|text| text.parse().ok())?;
    let permitted = call.read::<PolicyRead>(set(&call)).await?;
    let snapshot = permitted.snapshot();
    let items = snapshot
        .versions()
        .filter(|(number, _)| after.is_none_or(|after| *number < after))
        .take(paging.limit.saturating_add(1))
        .map(|(number, _)| (number.to_string(), view::policy_version(snapshot, number)))
        .collect();
    Ok(page::cut(items, paging.limit))
}

/// A version with its files.
#[utoipa::path(get, path = "/v1/policy-versions/{version}", tag = "Policies", operation_id = "read_policy_version",
    params(("version" = u64, Path, minimum = 1, description = "its number"), Acting),
    responses((status = 200, description = "what it is, how far it has come, and its files", body = WholePolicyVersion), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let number = number(&call)?;
    let permitted = call.read::<PolicyRead>(set(&call)).await?;
    let snapshot = permitted.snapshot();
    let version = snapshot.version(number).ok_or(Problem::NotFound)?;
    let files = version
        .files(number)
        .map_err(|error| refused::problem(error.into()))?;
    let mut shown = view::policy_version(snapshot, number);
    view::with_files(&mut shown, &files);
    Ok(Json(shown).into_response())
}

/// Let go of a draft that was never active.
#[utoipa::path(delete, path = "/v1/policy-versions/{version}", tag = "Policies", operation_id = "discard_policy_version",
    params(("version" = u64, Path, minimum = 1, description = "its number"), Acting, Keyed),
    responses((status = 204, description = "it is no more"), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn discard(call: Call) -> Result<Response, Problem> {
    let number = number(&call)?;
    let changed = call
        .change::<PolicyEdit>(
            set(&call),
            Map::new(),
            &Fields::none(),
            move |by, snapshot| policies::discard(by, snapshot, number),
        )
        .await?;
    Ok(page::gone(&changed))
}

/// Approve a version of somebody else's.
#[utoipa::path(post, path = "/v1/policy-versions/{version}/approve", tag = "Policies", operation_id = "approve_policy_version",
    params(("version" = u64, Path, minimum = 1, description = "its number"), Acting, Keyed),
    responses((status = 200, description = "it is approved", body = PolicyVersionNumber), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn approve(call: Call) -> Result<Response, Problem> {
    let number = number(&call)?;
    let changed = call
        .change::<PolicyActivate>(
            set(&call),
            Map::new(),
            &Fields::none(),
            move |by, snapshot| policies::approve(by, snapshot, number),
        )
        .await?;
    Ok(page::changed_to(changed))
}

/// Have a version count, on all nodes at once.
///
/// Refused where the organization's conditions are not met, each with the next step, and where no active Admin could edit policies after it.
/// A version that takes long to compile is announced first, so that every node has it ready: then this takes some seconds.
#[utoipa::path(post, path = "/v1/policy-versions/{version}/activate", tag = "Policies", operation_id = "activate_policy_version",
    params(("version" = u64, Path, minimum = 1, description = "its number"), Acting, Keyed),
    request_body = PolicyActivation,
    responses((status = 200, description = "the version that counts now", body = ActivatedPolicySet), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn activate(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let number = number(&call)?;
    let active = body.maybe_number("active")?;
    body.finish()?;
    may::<PolicyActivate>(&call).await?;
    let (schema, notice) = made_ready(&call, number).await?;
    let builtin = call
        .door()
        .glance()
        .compiled()
        .library()
        .digest()
        .to_owned();
    if let Some(notice) = notice {
        let builtin = builtin.clone();
        call.once::<PolicyActivate>(set(&call), move |by, snapshot| {
            let builtin = builtin.as_str();
            policies::announce(
                by,
                snapshot,
                &Wanted {
                    number,
                    active,
                    builtin,
                },
            )
        })
        .await?;
        tokio::time::sleep(notice).await;
    }
    let changed = call
        .change::<PolicyActivate>(set(&call), Map::new(), &body, move |by, snapshot| {
            schema.holds(snapshot)?;
            let builtin = builtin.as_str();
            policies::activate(
                by,
                snapshot,
                &Wanted {
                    number,
                    active,
                    builtin,
                },
            )
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Has a version count again.
pub(super) async fn roll_back(
    call: &Call,
    body: &Fields,
    number: u64,
) -> Result<Response, Problem> {
    may::<PolicyRollback>(call).await?;
    let (schema, notice) = made_ready(call, number).await?;
    if let Some(notice) = notice {
        call.once::<PolicyRollback>(set(call), move |by, snapshot| {
            policies::announce_rollback(by, snapshot, number)
        })
        .await?;
        tokio::time::sleep(notice).await;
    }
    let changed = call
        .change::<PolicyRollback>(set(call), Map::new(), body, move |by, snapshot| {
            schema.holds(snapshot)?;
            policies::roll_back(by, snapshot, number)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Compiles a version here; for how long others are to be told before it counts.
async fn made_ready(
    call: &Call,
    number: u64,
) -> Result<(Schema, Option<std::time::Duration>), Problem> {
    call.door().refresh().await.map_err(refused::problem)?;
    let world = call.door().glance();
    let version = world.snapshot().version(number).ok_or(Problem::NotFound)?;
    let files = version
        .files(number)
        .map_err(|error| refused::problem(error.into()))?;
    let now = world.snapshot().library().schema.clone();
    let schema = Schema::decided(call, (now, &files.schema)).await?;
    let prepared = call.door().prepare(&files).await;
    let prepared = prepared.map_err(refused::problem)?;
    // Sent again, it may count by now: then there is nothing to announce.
    let counts = world.snapshot().library().version == number;
    Ok((schema, prepared.notice().filter(|_| !counts)))
}

pub(super) fn number(call: &Call) -> Result<u64, Problem> {
    let text = call.text("version")?;
    let number = text.parse::<u64>().ok();
    number
        .filter(|number| number.to_string() == text)
        .ok_or(Problem::NotFound)
}

/// What differs between a version and another: policy by policy, by `@id`, wherever each stands.
#[utoipa::path(get, path = "/v1/policy-versions/{version}/difference", tag = "Policies", operation_id = "compare_policy_versions",
    params(("version" = u64, Path, minimum = 1, description = "its number"), ("from" = Option<u64>, Query, description = "the version that it is compared with; what counts, if absent; 0: the built-in policies alone"), Acting),
    responses((status = 200, description = "policies that are added, removed, changed or moved, and types and actions of the schema", body = PolicyDifference), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn difference(call: Call) -> Result<Response, Problem> {
    let [from] = call.query(["from"])?;
    let from = from.map(|text| text.parse::<u64>()).transpose();
    let from =
        from.map_err(|_| Problem::Malformed("`from` must be the number of a version".into()))?;
    let number = number(&call)?;
    let permitted = call.read::<PolicyRead>(set(&call)).await?;
    let snapshot = permitted.snapshot();
    let files = |number: u64| {
        let version = snapshot.version(number).ok_or(Problem::NotFound)?;
        version
            .files(number)
            .map_err(|error| refused::problem(error.into()))
    };
    let before = match from {
        Some(0) => Files::default(),
        Some(from) => files(from)?,
        None => {
            let library = snapshot.library();
            let (schema, policies) = (library.schema.clone(), library.policies.clone());
            Files {
                schema,
                policies,
                tests: Vec::new(),
            }
        }
    };
    let (before, after) = (before.own(), files(number)?.own());
    // Texts are parsed and formatted: not between two answers.
    let compared = tokio::task::spawn_blocking(move || diff(&before, &after)).await;
    let found = compared
        .map_err(|_| Problem::Internal)?
        .map_err(|(_, findings)| {
            refused::problem(crate::decide::Refused::Question(PolicyError::Refused(
                findings,
            )))
        })?;
    let mut shown = found.to_json();
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("words".into(), found.words().into());
    }
    Ok(Json(shown).into_response())
}
