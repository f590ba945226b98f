//! Pages and answers of the directory's calls.

use std::convert::Infallible;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::call::Call;
use super::problem::Problem;
use super::refused::{self, is_about_the_caller};
use crate::decide::{Action, Changed, Listed, Refused};
use crate::directory::{Kind, Ref, Snapshot, view};

const LIMIT: usize = 50;
const LIMIT_MOST: usize = 200;

/// Where a page begins and how long it is.
#[derive(Debug, Clone)]
pub(super) struct Paging {
    after: Option<String>,
    pub(super) limit: usize,
}

impl Paging {
    /// Reads `limit` and `cursor`.
    pub(super) fn of(limit: Option<&str>, cursor: Option<&str>) -> Result<Self, Problem> {
        let limit = match limit {
            None => LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MOST).contains(limit))
                .ok_or_else(|| {
                    Problem::Malformed(format!("`limit` must be a number from 1 to {LIMIT_MOST}"))
                })?,
        };
        let after = cursor.map(|text| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok();
            bytes
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(bad_cursor)
        });
        Ok(Self {
            after: after.transpose()?,
            limit,
        })
    }

    /// What the page begins after, as the list reads it.
    pub(super) fn after<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        self.after
            .as_deref()
            .map(|text| read(text).ok_or_else(bad_cursor))
            .transpose()
    }
}

fn bad_cursor() -> Problem {
    Problem::Malformed("`cursor` must be a `next_cursor` of this list".into())
}

/// A page as it is answered.
pub(super) fn page(items: Vec<Value>, next: Option<String>) -> Response {
    let mut body = Map::from_iter([("items".to_owned(), Value::Array(items))]);
    if let Some(next) = next {
        body.insert("next_cursor".into(), URL_SAFE_NO_PAD.encode(next).into());
    }
    Json(Value::Object(body)).into_response()
}

/// A page cut from something in order, of which one more than the page holds was taken.
pub(super) fn cut(mut items: Vec<(String, Value)>, limit: usize) -> Response {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|(id, _)| id.clone());
    page(items.into_iter().map(|(_, item)| item).collect(), next)
}

/// A page of what the caller may read of a kind, of which `keep` says which to show.
pub(super) async fn list<A: Action>(
    call: &Call,
    kind: Kind,
    paging: &Paging,
    keep: impl Fn(Ref, &Snapshot) -> bool,
) -> Result<Response, Problem> {
    let listed = listed::<A>(call, kind, paging).await?;
    let shown = listed
        .items()
        .iter()
        .filter(|item| keep(**item, listed.snapshot()));
    let items = shown
        .filter_map(|item| shown_as(*item, listed.snapshot()))
        .collect();
    is_whole(listed.snapshot())?;
    Ok(page(items, listed.next().map(|next| next.to_string())))
}

/// What of a kind the caller may read, from where the page begins.
pub(super) async fn listed<A: Action>(
    call: &Call,
    kind: Kind,
    paging: &Paging,
) -> Result<Listed, Problem> {
    let after = paging.after(|text| Ref::of(kind, text))?;
    let listed = call
        .door()
        .list::<A>(call.asker(), kind, after, paging.limit)
        .await
        .map_err(refused::problem)?;
    if listed.items().is_empty() {
        // A key that may not ask is told so, not that there is nothing: it is asked about a thing that nobody has.
        let nothing = Ref::new(kind, [0; 16]);
        match call
            .door()
            .permit::<A>(call.asker(), nothing, Map::new())
            .await
        {
            Ok(_) => {}
            Err(Refused::Denied(judgement, _)) if !is_about_the_caller(&judgement) => {}
            Err(refused) => return Err(refused::problem(refused)),
        }
    }
    Ok(listed)
}

/// A page of all of a kind, where everybody who may ask may read each.
pub(super) fn all(snapshot: &Snapshot, kind: Kind, paging: &Paging) -> Result<Response, Problem> {
    let after = paging.after(|text| Ref::of(kind, text))?;
    let found = snapshot
        .objects_of(kind, after)
        .take(paging.limit.saturating_add(1));
    let items = found
        .map(|(id, stored)| (id.to_string(), view::view(id, &stored.value, snapshot)))
        .collect();
    is_whole(snapshot)?;
    Ok(cut(items, paging.limit))
}

/// One thing as it is answered.
pub(super) fn one(reference: Ref, snapshot: &Snapshot) -> Result<Response, Problem> {
    one_with(reference, snapshot, |_| {})
}

/// What is shown of a state counts only where all of it could be read.
pub(super) fn is_whole(snapshot: &Snapshot) -> Result<(), Problem> {
    let told = "a part of the directory cannot be read back on this node; ask again";
    match snapshot.is_sound() {
        true => Ok(()),
        false => Err(Problem::Unavailable(told.into())),
    }
}

/// The same with something beside it.
pub(super) fn one_with(
    reference: Ref,
    snapshot: &Snapshot,
    add: impl FnOnce(&mut Map<String, Value>),
) -> Result<Response, Problem> {
    let shown = shown_as(reference, snapshot);
    is_whole(snapshot)?;
    let mut view = shown.ok_or(Problem::NotFound)?;
    if let Some(view) = view.as_object_mut() {
        add(view);
    }
    Ok(Json(view).into_response())
}

pub(super) fn shown_as(reference: Ref, snapshot: &Snapshot) -> Option<Value> {
    snapshot
        .object(reference)
        .map(|stored| view::view(reference, &stored.value, snapshot))
}

/// Something was made: 201 with its place.
pub(super) fn made(collection: &str, changed: Changed) -> Response {
    made_as(collection, "id", changed)
}

/// The same of something that is called by another member of its reply.
pub(super) fn made_as(collection: &str, member: &str, changed: Changed) -> Response {
    let id = match changed.reply.get(member) {
        Some(Value::String(id)) => id.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let place = HeaderValue::try_from(format!("/v1/{collection}/{id}"));
    let mut response = changed_to(changed);
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(place) = place {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// Something waits for somebody else: 202 with its place.
pub(super) fn waits(collection: &str, changed: Changed) -> Response {
    let mut response = made(collection, changed);
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Something was changed: 200 with what it is now.
pub(super) fn changed_to(changed: Changed) -> Response {
    let replayed = changed.recorded.is_none();
    marked(Json(changed.reply).into_response(), replayed)
}

/// Something is no more: 204.
pub(super) fn gone(changed: &Changed) -> Response {
    marked(
        StatusCode::NO_CONTENT.into_response(),
        changed.recorded.is_none(),
    )
}

/// A resource of SCIM: 200, or 201 with its place where it was made.
pub(super) fn of_scim(body: &Value, made_at: Option<String>) -> Response {
    let kind = [
        (header::CONTENT_TYPE, "application/scim+json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let mut response = (kind, body.to_string()).into_response();
    if let Some(Ok(place)) = made_at.map(HeaderValue::try_from) {
        *response.status_mut() = StatusCode::CREATED;
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// The caller has it as it is: 304. How long it is, is not said: an empty body would be taken for that.
pub(super) fn not_modified(tag: HeaderValue) -> Response {
    let nothing = tokio_stream::empty::<Result<Bytes, Infallible>>();
    let headers = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let body = Body::from_stream(nothing);
    (StatusCode::NOT_MODIFIED, headers, body).into_response()
}

/// It is done, and there is nothing to say: 200.
pub(super) fn done() -> Response {
    (StatusCode::OK, [(header::CACHE_CONTROL, "no-store")]).into_response()
}

/// It goes on elsewhere, with a GET: 303.
pub(super) fn see_other(place: HeaderValue) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

/// A part of something: 206.
pub(super) fn partial(mut response: Response) -> Response {
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response
}

fn marked(mut response: Response, replayed: bool) -> Response {
    if replayed {
        let name = HeaderName::from_static("idempotency-replayed");
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static("true"));
    }
    response
}
