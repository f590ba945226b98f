//! What an organization asks of a version before it counts, over HTTP.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::set;
use crate::decide::authorized::{PolicyActivate, PolicyRead};
use crate::directory::policies::standing::Flips;
use crate::directory::policies::{self, Conditions};
use crate::http::call::Call;
use crate::http::document::calls::{Acting, Keyed, Problems};
use crate::http::document::policies::conditions::{NewPolicyConditions, StandingPolicyConditions};
use crate::http::fields::{Fields, wrong};
use crate::http::page;
use crate::http::problem::Problem;

/// What is asked of a version before it is activated.
#[utoipa::path(get, path = "/v1/policy-conditions", tag = "Policies", operation_id = "read_policy_conditions", params(Acting),
    responses((status = 200, description = "they, and those that wait for another Admin", body = StandingPolicyConditions), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let permitted = call.read::<PolicyRead>(set(&call)).await?;
    let rules = permitted.snapshot().rules();
    let shown = json!({ "conditions": rules.conditions, "proposed": rules.proposed });
    Ok(Json(shown).into_response())
}

/// Ask for other conditions, as a whole. Where two people are asked for, less is asked for only once another Admin agrees.
#[utoipa::path(put, path = "/v1/policy-conditions", tag = "Policies", operation_id = "replace_policy_conditions", params(Acting, Keyed),
    request_body = NewPolicyConditions,
    responses((status = 200, description = "they, and those that wait for another Admin", body = StandingPolicyConditions), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn replace(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let conditions = said(&mut body)?;
    body.finish()?;
    let changed = call
        .change::<PolicyActivate>(set(&call), Map::new(), &body, move |by, snapshot| {
            policies::set_conditions(by, snapshot, &conditions)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Agree to the conditions that another Admin wants, which the body says: refused where others wait by now.
#[utoipa::path(post, path = "/v1/policy-conditions/approve", tag = "Policies", operation_id = "approve_policy_conditions", params(Acting, Keyed),
    request_body(content = NewPolicyConditions, description = "the `conditions` of `proposed`, as they were read"),
    responses((status = 200, description = "they, and none that wait", body = StandingPolicyConditions), Problems),
    security(("api_key" = [])))]
pub(in crate::http) async fn approve(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let conditions = said(&mut body)?;
    body.finish()?;
    let changed = call
        .change::<PolicyActivate>(set(&call), Map::new(), &body, move |by, snapshot| {
            policies::agree(by, snapshot, &conditions)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// The conditions in a body; what is absent is not asked for.
fn said(body: &mut Fields) -> Result<Conditions, Problem> {
    Ok(Conditions {
        tests: body.maybe_flag("tests")?.unwrap_or_default(),
        proof: match body.any("proof") {
            None => policies::standing::Demand::default(),
            Some(word) => serde_json::from_value(word)
                .map_err(|_| wrong("proof", "it must be `no`, `if_possible` or `yes`"))?,
        },
        replay: match body.any("replay") {
            None | Some(Value::Null) => None,
            Some(flips) => Some(replay(flips)?),
        },
        approval: body.maybe_flag("approval")?.unwrap_or_default(),
    })
}

fn replay(flips: Value) -> Result<Flips, Problem> {
    let Value::Object(members) = flips else {
        return Err(wrong(
            "replay",
            "it must have the numbers `last` and `most`",
        ));
    };
    let mut members = Fields::of(members);
    let flips = Flips {
        last: members.number("last")?,
        most: members.number("most")?,
    };
    members.finish()?;
    Ok(flips)
}
