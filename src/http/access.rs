//! AuthZEN's calls: a back end asks, the door answers, the edge puts it in AuthZEN's words.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::authzen::wire;
use super::authzen::wire::{
    Asked, Decision, Decisions, Detail, Determining, Explained, Kind, Metadata, Recorded, Semantic,
    evaluation, evaluations, header_detail,
};
use super::caller;
use super::document::access::calling::{ByCertificate, Explaining, Unanswered};
use super::document::access::{
    self as described, DecisionPoint, Evaluation, Evaluations, EvaluationsAnswer,
};
use super::json;
use super::problem::{Plain, Problem};
use super::refused;
use crate::app::App;
use crate::decide::{Answer, Asker, Door, Named, Question, Refused, Until};
use crate::policy::Refusal;

/// A back end's call: whose log it goes into, who asks, how much they want to be told, and what they have sent.
pub(super) async fn asked_by_service(
    app: &App,
    request: Request,
) -> Result<(Arc<Door>, Asker, Detail, Map<String, Value>), Problem> {
    let (parts, body) = request.into_parts();
    let (door, asker) = caller::service(app, &parts).await?;
    let wanted = header_detail(&parts.headers)?;
    let request = Request::from_parts(parts, body);
    let body = json::body(request, app.config().http.request_timeout()).await?;
    Ok((door, asker, wanted, body))
}

/// One question.
#[utoipa::path(
    post, path = "/access/v1/evaluation", tag = "AuthZEN", operation_id = "evaluate",
    params(Explaining, ByCertificate),
    request_body = Evaluation,
    responses(
        (status = 200, description = "the decision, which may be a deny", body = described::Decision),
        (status = 400, description = "a member is missing or is not what it should be", body = String, content_type = "text/plain"),
        (status = 403, description = "the key has not the scope `decide`", body = String, content_type = "text/plain"),
        Unanswered,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn one(State(app): State<Arc<App>>, request: Request) -> Result<Response, Plain> {
    let (door, asker, wanted, body) = asked_by_service(&app, request).await?;
    let (asked, detail) = evaluation(body)?;
    let detail = detail.max(wanted);
    alone(&door, asker, asked, detail).await
}

/// Several questions, or one.
#[utoipa::path(
    post, path = "/access/v1/evaluations", tag = "AuthZEN", operation_id = "evaluate_several",
    params(Explaining, ByCertificate),
    request_body = Evaluations,
    responses(
        (status = 200, description = "the decisions in the order of the items; without items one decision", body = EvaluationsAnswer),
        (status = 400, description = "the whole request is not what it should be", body = String, content_type = "text/plain"),
        (status = 403, description = "the key has not the scope `decide`", body = String, content_type = "text/plain"),
        Unanswered,
    ),
    security(("api_key" = [])),
)]
pub(super) async fn several(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Plain> {
    let (door, asker, wanted, body) = asked_by_service(&app, request).await?;
    let (asked, detail) = evaluations(body)?;
    let detail = detail.max(wanted);
    let (items, semantic) = match asked {
        Asked::One(one) => return alone(&door, asker, *one, detail).await,
        Asked::Batch { items, semantic } => (items, semantic),
    };
    // An item that is none ends a batch that ends at the first deny: what comes after it is not asked.
    let mut asked = Vec::with_capacity(items.len());
    let mut wrong = Vec::with_capacity(items.len());
    for item in items {
        let ends = item.is_err() && semantic.ends_after(false);
        match item {
            Ok(item) => {
                asked.push(question(item));
                wrong.push(None);
            }
            Err(problem) => wrong.push(Some(problem)),
        }
        if ends {
            break;
        }
    }
    let until = match semantic {
        Semantic::ExecuteAll => Until::All,
        Semantic::DenyOnFirstDeny => Until::FirstDeny,
        Semantic::PermitOnFirstPermit => Until::FirstPermit,
    };
    let mut answers = match asked.is_empty() {
        true => Vec::new(),
        false => door
            .answers(asker, asked, until)
            .await
            .map_err(refused::problem)?,
    }
    .into_iter();
    let mut evaluations = Vec::with_capacity(wrong.len());
    for problem in wrong {
        let one = match problem {
            Some(problem) => Decision::failed(&problem),
            None => match answers.next() {
                Some(Ok(answer)) => decision(&answer, detail),
                Some(Err(Refused::Unavailable)) => return Err(Problem::AuditUnavailable.into()),
                Some(Err(error)) => Decision::failed(&refused::problem(error)),
                None => break,
            },
        };
        let over = semantic.ends_after(one.decision());
        evaluations.push(one);
        if over {
            break;
        }
    }
    Ok(Json(Decisions { evaluations }).into_response())
}

/// One question's answer, the same on both paths.
async fn alone(
    door: &Door,
    asker: Asker,
    asked: wire::Question,
    detail: Detail,
) -> Result<Response, Plain> {
    let answers = door
        .answers(asker, vec![question(asked)], Until::All)
        .await
        .map_err(refused::problem)?;
    let answer = answers
        .into_iter()
        .next()
        .ok_or(Problem::Internal)?
        .map_err(refused::problem)?;
    Ok(Json(decision(&answer, detail)).into_response())
}

/// What a client learns of this decision point.
#[utoipa::path(
    get, path = "/.well-known/authzen-configuration", tag = "AuthZEN", operation_id = "read_authzen_metadata",
    responses((status = 200, description = "the metadata", body = DecisionPoint)),
)]
pub(super) async fn metadata(State(app): State<Arc<App>>) -> Response {
    let metadata = Metadata::of(&app.config().http.base_url);
    (
        [(header::CACHE_CONTROL, "public, max-age=3600")],
        Json(metadata),
    )
        .into_response()
}

/// A question in the words of the wire.
pub(super) fn question(asked: wire::Question) -> Question {
    let named = |entity: wire::Entity| Named {
        kind: entity.kind,
        id: entity.id,
        properties: entity.properties,
    };
    Question {
        subject: named(asked.subject),
        action: asked.action.name,
        action_properties: asked.action.properties,
        resource: named(asked.resource),
        context: asked.context,
    }
}

fn decision(answer: &Answer, detail: Detail) -> Decision {
    let judgement = answer.judgement();
    if detail == Detail::Minimal {
        return Decision::minimal(judgement.is_allowed());
    }
    Decision::explained(
        judgement.is_allowed(),
        Explained {
            kind: judgement.refusal.as_ref().map(|refusal| match refusal {
                Refusal::Forbidden => Kind::Forbidden,
                Refusal::NotPermitted => Kind::NotPermitted,
                Refusal::Error => Kind::Error,
                Refusal::PlanRequired(_) => Kind::PlanRequired,
            }),
            policies: refused::policies(judgement)
                .map(|(id, reason)| Determining { id, reason })
                .collect(),
            log: recorded(answer.recorded()),
        },
    )
}

/// Where something is recorded, in the words of the wire.
pub(super) fn recorded(place: &crate::decide::Recorded) -> Recorded {
    Recorded {
        log: place.log.clone(),
        index: place.index,
        as_of: place.as_of,
        leaf_hash: place.leaf_hash.base64(),
        checkpoint_size: place.checkpoint_size,
    }
}
