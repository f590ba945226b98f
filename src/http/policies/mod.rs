//! The organization's own policies over HTTP: those that count, and what every call on a version shares.

pub(super) mod checking;
pub(super) mod replays;
pub(super) mod rules;
pub(super) mod shadow;
pub(super) mod versions;

use std::time::Duration;

use axum::Json;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value};

use super::call::Call;
use super::document::calls::{Acting, Keyed, Problems};
use super::document::policies::versions::{
    ActivatedPolicySet, NewPolicySet, PolicyRollback, PolicySet,
};
use super::fields::{Fields, missing, wrong};
use super::page;
use super::problem::Problem;
use super::refused;
use crate::decide::authorized::{Action, PolicyActivate, PolicyEdit, PolicyRead, SchemaEdit};
use crate::directory::policies::{self, Draft, Files};
use crate::directory::{DirectoryError, Kind, Ref, Snapshot, view};

/// The largest body that has a version's files: JSON needs more bytes than the texts that it carries.
const BODY_LIMIT: usize = 2 * policies::files::BYTES_LIMIT;

/// For routes whose bodies have a version's files.
pub(super) fn large() -> DefaultBodyLimit {
    DefaultBodyLimit::max(BODY_LIMIT)
}

/// The schema and the policies of the organization's own that count.
#[utoipa::path(get, path = "/v1/policy-set", tag = "Policies", operation_id = "read_policy_set", params(Acting),
    responses((status = 200, description = "they, and who had them count since when", body = PolicySet), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let permitted = call.read::<PolicyRead>(set(&call)).await?;
    Ok(Json(view::policy_set(permitted.snapshot())).into_response())
}

/// Replace the organization's own schema and policies, as a whole: drafted and activated in one step.
///
/// Where the organization asks for more of a version than its tests (`/v1/policy-conditions`), this is refused: draft one, check it, and
/// activate it.
#[utoipa::path(put, path = "/v1/policy-set", tag = "Policies", operation_id = "replace_policy_set", params(Acting, Keyed),
    request_body = NewPolicySet,
    responses((status = 200, description = "the new version, which counts now", body = ActivatedPolicySet), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn replace(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let given = Given::of(&mut body)?;
    body.finish()?;
    may::<PolicyEdit>(&call).await?;
    let Compiled {
        draft,
        schema,
        notice,
    } = given.draft(&call).await?;
    if notice.is_some() {
        return Err(Problem::Conflict(
            "these take so long to compile that the other nodes are told first: draft them at `/v1/policy-versions`, and activate that".into(),
        ));
    }
    let changed = call
        .change::<PolicyActivate>(set(&call), Map::new(), &body, move |by, snapshot| {
            schema.holds(snapshot)?;
            policies::load(by, snapshot, &draft)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Have a version count again that was active before.
///
/// Nothing is asked of it: taking something back must not wait. Refused is one after which no active Admin could edit policies and activate
/// them.
#[utoipa::path(post, path = "/v1/policy-set/rollback", tag = "Policies", operation_id = "roll_back_policy_set", params(Acting, Keyed),
    request_body = PolicyRollback,
    responses((status = 200, description = "the version that counts now", body = ActivatedPolicySet), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn roll_back(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let number = body.number("version")?;
    body.finish()?;
    versions::roll_back(&call, &body, number).await
}

/// The organization's policies as a resource.
fn set(call: &Call) -> Ref {
    call.singleton(Kind::PolicySet)
}

/// Decides what a call needs beside the change that it makes.
async fn may<A: Action>(call: &Call) -> Result<(), Problem> {
    call.permit_change::<A>(set(call)).await.map(|_| ())
}

/// What stands in a body that is to be a version.
struct Given {
    schema: Option<String>,
    policies: Vec<(String, String)>,
    tests: Vec<(String, String)>,
    message: String,
}

impl Given {
    fn of(body: &mut Fields) -> Result<Self, Problem> {
        Ok(Self {
            schema: body.maybe_text("schema")?,
            policies: files(body, "policies")?.ok_or_else(|| missing("policies"))?,
            tests: files(body, "tests")?.unwrap_or_default(),
            message: body.maybe_text("message")?.unwrap_or_default(),
        })
    }

    /// Compiled and tested, once whoever asks may edit the schema where it is another.
    async fn draft(self, call: &Call) -> Result<Compiled, Problem> {
        // What it is compared with may have been activated through another node a moment ago.
        call.door().refresh().await.map_err(refused::problem)?;
        let now = call.door().glance().snapshot().library().schema.clone();
        let text = self.schema.unwrap_or_else(|| now.clone());
        let schema = Schema::decided(call, (now, &text)).await?;
        let files = Files::of(text, self.policies, self.tests)
            .map_err(|error| refused::problem(error.into()))?;
        let prepared = call
            .door()
            .prepare(&files)
            .await
            .map_err(refused::problem)?;
        let trial = call.door().run_tests(&prepared, &files).await;
        let trial = trial.map_err(refused::problem)?;
        let notice = prepared.notice();
        let message = self.message;
        let packed = move || Draft::of(files, message).tested(trial.tested, trial.failures);
        let draft = tokio::task::spawn_blocking(packed).await;
        let draft = draft.map_err(|_| Problem::Internal)?;
        Ok(Compiled {
            draft,
            schema,
            notice,
        })
    }
}

/// What is to be a version, compiled and tested.
struct Compiled {
    draft: Draft,
    schema: Schema,
    /// For how long the other nodes are to be told before it counts.
    notice: Option<Duration>,
}

/// The schema that a change was decided on.
struct Schema {
    before: String,
    /// Whether another one was asked for, and allowed.
    may_change: bool,
}

impl Schema {
    /// Another schema is decided for itself, before; the change holds only while the schema is the one that was seen.
    async fn decided(call: &Call, (before, wanted): (String, &str)) -> Result<Self, Problem> {
        let may_change = before != wanted;
        if may_change {
            may::<SchemaEdit>(call).await?;
        }
        Ok(Self { before, may_change })
    }

    fn holds(&self, snapshot: &Snapshot) -> Result<(), DirectoryError> {
        if !self.may_change && snapshot.library().schema != self.before {
            return Err(DirectoryError::Moved);
        }
        Ok(())
    }
}

/// File names and texts.
fn files(body: &mut Fields, member: &str) -> Result<Option<Vec<(String, String)>>, Problem> {
    let wrong = || wrong(member, "it must be an object of file names and texts");
    match body.any(member) {
        None => Ok(None),
        Some(Value::Object(files)) => files
            .into_iter()
            .map(|(file, text)| match text {
                Value::String(text) => Ok((file, text)),
                _ => Err(wrong()),
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Some),
        Some(_) => Err(wrong()),
    }
}
