//! Content over HTTP: written and read as a stream, whole or in part, version by version; each access is decided first and recorded.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::call::Call;
use super::document::calls::{Acting, Keyed, Paged, Problems, in_header};
use super::document::content::{AnyBytes, ContentVersion, WrittenContent};
use super::document::{self, Page};
use super::incoming::{self, Incoming};
use super::page::{self, Paging};
use super::problem::Problem;
use crate::app::App;
use crate::decide::authorized::{
    Action, AgentDelete, AgentEdit, AgentRead, AgentRun, AssistantDelete, AssistantEdit,
    AssistantRead, DocumentDelete, DocumentEdit, DocumentRead, MemoryForget, MemoryRead,
    MemoryWrite, PromptTemplateDelete, PromptTemplateEdit, PromptTemplateRead, ToolDelete,
    ToolEdit, ToolRead,
};
use crate::decide::content::keeps_newest;
use crate::decide::{Beside, Deposit};
use crate::directory::content::{self, Removes, Writes};
use crate::directory::{Kind, Ref};
use crate::ids;
use crate::log::Event;
use crate::vault::{Condition, Held, Keeping, Label, Opened, VaultError};

/// What every answer with content says: it may not be used to train a model (IETF AIPREF, draft-ietf-aipref-attach).
const CONTENT_USAGE: HeaderName = HeaderName::from_static("content-usage");
const NO_TRAINING: HeaderValue = HeaderValue::from_static("train-ai=n");

/// After how long an open download is decided anew.
const PERMITTED_FOR: std::time::Duration = std::time::Duration::from_secs(1);

/// How long it holds where nothing could be decided meanwhile.
const LATEST: std::time::Duration = std::time::Duration::from_secs(20);

/// How often content is looked for again that was replaced while it was decided.
pub(super) const TRIES: usize = 10;

/// How many pieces wait for a slow reader.
const WAITING: usize = 4;

/// Whether earlier versions of a thing's content are kept.
pub(super) const fn keeping(kind: Kind) -> Keeping {
    match kind {
        Kind::Thread => Keeping::Each,
        kind if keeps_newest(kind) => Keeping::Newest,
        _ => Keeping::Versions,
    }
}

async fn stored<A: Writes>(
    app: Arc<App>,
    call: Call,
    request: Request,
) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let resource = call.named("id", A::KIND)?;
    if call.is_keyed() {
        return Err(Problem::Malformed(
            "a PUT may be sent again as it is: send `If-Match` instead of `Idempotency-Key`".into(),
        ));
    }
    let condition = condition(request.headers())?;
    let limit = match A::KIND {
        Kind::Memory => app.config().content.memory_max_bytes,
        _ => app.config().content.max_bytes,
    };
    let incoming = Incoming::of(request, limit, app.config().http.request_timeout())?;
    if A::KIND == Kind::AgentRun {
        // Running is no touching of content; keeping what came of it is, and is decided like reading it.
        call.read::<AgentRead>(resource).await?;
    }
    let call = Arc::new(call);
    let owner = |snapshot: &crate::directory::Snapshot| content::owner(snapshot, resource);
    let arrived = incoming.take::<A>(&call, (resource, "ver"), owner).await?;
    let written = arrived.written();
    let version = written.version.clone();
    let changed = arrived
        .deposit::<A>(
            &call,
            resource,
            (keeping(A::KIND), condition, Beside::Nothing),
            move |by, snapshot| content::written(by, snapshot, &written),
        )
        .await?;
    let mut response = page::changed_to(changed);
    response.headers_mut().insert(header::ETAG, etag(&version)?);
    Ok(response)
}

async fn removed<A: Removes>(call: Call, headers: HeaderMap) -> Result<Response, Problem> {
    let resource = call.named("id", A::KIND)?;
    let asked = condition(&headers)?;
    let any = asked == Condition::Always;
    let deposit = Deposit {
        sealed: None,
        // The versions before go too: whoever deletes content wants it gone.
        keeping: Keeping::Newest,
        condition: if any { Condition::Present } else { asked },
    };
    let [] = call.query([])?;
    if A::KIND == Kind::AgentRun {
        call.read::<AgentRead>(resource).await?;
    }
    let digest = *super::fields::Fields::none().digest();
    let asked = call
        .ask_change::<A>(
            resource,
            &digest,
            (deposit, Beside::Nothing),
            content::removed,
        )
        .await;
    match call.told(resource, asked).await {
        Err(Problem::PreconditionFailed(_)) if any => Err(Problem::NotFound),
        changed => Ok(page::gone(&changed?)),
    }
}

async fn shown<A: Action>(call: Call, kind: Kind, headers: HeaderMap) -> Result<Response, Problem> {
    let [version] = call.query(["version"])?;
    let version = version.map(str::to_owned);
    let resource = call.named("id", kind)?;
    let call = Arc::new(call);
    for _ in 0..TRIES {
        let held = find(&call, resource, version.as_deref()).await?;
        match give::<A>(&call, resource, held, &headers).await? {
            Some(response) => return Ok(response),
            None if version.is_some() => return Err(Problem::NotFound),
            // Another took its place while it was decided: that one is decided on.
            None => {}
        }
    }
    Err(restless())
}

/// What a caller is told of content that was replaced as often as it was looked for.
pub(super) fn restless() -> Problem {
    Problem::Unavailable("the content is replaced again and again: try again".into())
}

async fn headed<A: Action>(
    call: Call,
    kind: Kind,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let [version] = call.query(["version"])?;
    let resource = call.named("id", kind)?;
    let held = find(&call, resource, version).await?;
    call.read::<A>(resource).await?;
    let held = held.ok_or(Problem::NotFound)?;
    if let Some(unmet) = unmet(&held, &headers)? {
        return unmet;
    }
    let opened = call.door().vault().open(&held).await.map_err(unopened)?;
    dressed(Body::empty(), &held, opened.label(), opened.label().length)
}

async fn listed<A: Action>(call: Call, kind: Kind) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    let paging = Paging::of(limit, cursor)?;
    let resource = call.named("id", kind)?;
    call.read::<A>(resource).await?;
    let held = held_after(&call, resource, &paging).await?;
    let vault = call.door().vault();
    let mut items = Vec::new();
    for held in &held {
        let item = match vault.open(held).await {
            Ok(opened) => described(held, opened.label()),
            // Whose it was is erased, and this version with them.
            Err(VaultError::Forgotten) => continue,
            Err(error) => return Err(unopened(error)),
        };
        items.push((held.from_index.to_string(), item));
    }
    Ok(page::cut(items, paging.limit))
}

/// Versions behind the page's cursor, one more than it holds.
pub(super) async fn held_after(
    call: &Call,
    resource: Ref,
    paging: &Paging,
) -> Result<Vec<Held>, Problem> {
    let after = paging.after(|text| text.parse::<u64>().ok())?;
    let vault = call.door().vault();
    vault
        .versions(&resource.to_string(), after, paging.limit.saturating_add(1))
        .await
        .map_err(unopened)
}

/// The version asked for, or the one that counts. What is no name of ours is no version: a database need not take it.
async fn find(call: &Call, resource: Ref, version: Option<&str>) -> Result<Option<Held>, Problem> {
    let (vault, name) = (call.door().vault(), resource.to_string());
    match version {
        Some(version) if ids::parse("ver", version).is_err() => return Ok(None),
        Some(version) => vault.version(&name, version).await,
        None => vault.current(&name).await,
    }
    .map_err(unopened)
}

/// Answers with content, whole or the part that was asked for: decided and recorded first. Nothing where it was taken away meanwhile.
pub(super) async fn give<A: Action>(
    call: &Arc<Call>,
    resource: Ref,
    held: Option<Held>,
    headers: &HeaderMap,
) -> Result<Option<Response>, Problem> {
    let Some(held) = held else {
        // Whether there is any is told to whoever may read it, and they are told the same.
        call.read::<A>(resource).await?;
        return Err(Problem::NotFound);
    };
    let tag = etag(&held.spot().version)?;
    if let Some(unmet) = unmet(&held, headers)? {
        call.read::<A>(resource).await?;
        return unmet.map(Some);
    }
    // A range of another version than the caller has part of is of no use to it.
    let ranges = headers
        .get(header::IF_RANGE)
        .is_none_or(|value| value == tag);
    let range = headers
        .get(header::RANGE)
        .filter(|_| ranges)
        .and_then(|value| value.to_str().ok());
    let details = json!({"version": held.spot().version, "range": range});
    call.read_and::<A>(resource, (Event::ContentRead, details))
        .await?;
    let vault = call.door().vault();
    // It was looked for before it was decided: what was taken away since is not given.
    if !vault.holds(&held).await.map_err(unopened)? {
        return Ok(None);
    }
    let opened = match vault.open(&held).await {
        Ok(opened) => opened,
        // Its bytes, or its key, went in this very moment.
        Err(_) if !vault.holds(&held).await.map_err(unopened)? => return Ok(None),
        Err(error) => return Err(unopened(error)),
    };
    let length = opened.label().length;
    let part = range
        .map(|range| part(range, length))
        .transpose()?
        .flatten();
    let (at, end) = part.unwrap_or((0, length));
    let mut response = dressed(Body::empty(), &held, opened.label(), end - at)?;
    if part.is_some() {
        response = page::partial(response);
        let last = end.saturating_sub(1);
        let value = HeaderValue::try_from(format!("bytes {at}-{last}/{length}"));
        let value = value.map_err(|_| Problem::Internal)?;
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    *response.body_mut() = match opened.short() {
        Some(bytes) => {
            let place = |position| usize::try_from(position).map_err(|_| Problem::Internal);
            let bytes = bytes.get(place(at)?..place(end)?);
            Body::from(bytes.ok_or(Problem::Internal)?.to_vec())
        }
        None => stream::<A>(Arc::clone(call), (resource, held), opened, (at, end)),
    };
    Ok(Some(response))
}

/// What whoever may read it is told in place of content that is not the version that they want (RFC 9110, section 13.2.2).
fn unmet(held: &Held, headers: &HeaderMap) -> Result<Option<Result<Response, Problem>>, Problem> {
    let tag = etag(&held.spot().version)?;
    let is_named = |by: HeaderName| headers.get_all(by).iter().any(|value| names(value, &tag));
    if headers.contains_key(header::IF_MATCH) && !is_named(header::IF_MATCH) {
        let other = "the content is another version than the one that `If-Match` names";
        return Ok(Some(Err(Problem::PreconditionFailed(other.into()))));
    }
    let is_there = is_named(header::IF_NONE_MATCH);
    Ok(is_there.then(|| Ok(page::not_modified(tag))))
}

/// The first range that was asked for of content of this length, as far as one can be read: several are answered with the whole.
fn part(range: &str, length: u64) -> Result<Option<(u64, u64)>, Problem> {
    let Ok(parsed) = http_range_header::parse_range_header(range) else {
        return Ok(None);
    };
    let ranges = parsed
        .validate(length)
        .map_err(|_| Problem::NoSuchRange(length))?;
    match ranges.as_slice() {
        [one] => Ok(Some((*one.start(), one.end().saturating_add(1)))),
        _ => Ok(None),
    }
}

/// The bytes on their way out. While they flow the reading is decided anew every few seconds, and ends where it is denied.
fn stream<A: Action>(
    call: Arc<Call>,
    (resource, held): (Ref, Held),
    mut opened: Opened,
    (mut at, end): (u64, u64),
) -> Body {
    let (out, pieces) = mpsc::channel::<Result<Bytes, std::io::Error>>(WAITING);
    tokio::spawn(async move {
        let mut permitted = Instant::now();
        let state = || call.door().glance().snapshot().as_of();
        let mut seen = state();
        while at < end {
            if permitted.elapsed() >= PERMITTED_FOR || state() != seen {
                seen = state();
                let there = call.door().vault().holds(&held).await.unwrap_or(false);
                let read = call.read::<A>(resource).await;
                // Too much else was asked just now: it is asked again with the next piece, for a while.
                let again =
                    matches!(read, Err(Problem::TooMany(_))) && permitted.elapsed() < LATEST;
                if !there || (read.is_err() && !again) {
                    let broken = std::io::Error::other("the reading is not allowed any more");
                    // Whoever is gone needs no word.
                    drop(out.send(Err(broken)).await);
                    return;
                }
                if !again {
                    permitted = Instant::now();
                }
            }
            let piece = match opened.next(at, end).await {
                Ok(piece) => piece,
                Err(error) => {
                    tracing::error!(%error, "content on its way out ended early");
                    drop(
                        out.send(Err(std::io::Error::other("it cannot be read")))
                            .await,
                    );
                    return;
                }
            };
            // A usize never exceeds a u64 on a platform that this builds for.
            at = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            if out.send(Ok(piece.into())).await.is_err() {
                return;
            }
        }
    });
    Body::from_stream(ReceiverStream::new(pieces))
}

/// What a version is, without its bytes.
pub(super) fn described(held: &Held, label: &Label) -> Value {
    json!({
        "version": held.spot().version, "media_type": label.media_type, "length": label.length,
        "author": label.author, "at": chrono::DateTime::from_timestamp_micros(label.at),
        "from_index": held.from_index, "to_index": held.to_index,
    })
}

/// An answer with the headers of content.
fn dressed(body: Body, held: &Held, label: &Label, length: u64) -> Result<Response, Problem> {
    let mut response = body.into_response();
    let media = HeaderValue::try_from(&label.media_type).map_err(|_| Problem::Internal)?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::ETAG, etag(&held.spot().version)?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    private(headers);
    Ok(response)
}

/// What no cache keeps, no browser takes for a page of ours, and no model learns from.
pub(super) fn private(headers: &mut HeaderMap) {
    headers.insert(CONTENT_USAGE, NO_TRAINING);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment"),
    );
}

fn etag(version: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::try_from(format!("\"{version}\"")).map_err(|_| Problem::Internal)
}

/// Whether a list of entity tags has this one, or stands for any.
fn names(value: &HeaderValue, tag: &HeaderValue) -> bool {
    tags(value).is_ok_and(|tags| match tags {
        None => true,
        Some(tags) => tags
            .iter()
            .any(|one| format!("\"{one}\"").as_bytes() == tag.as_bytes()),
    })
}

/// The entity tags of a header; nothing for `*`. A weak one is compared as if it were strong: a version never changes.
fn tags(value: &HeaderValue) -> Result<Option<Vec<String>>, Problem> {
    let wrong = || {
        Problem::Malformed(
            "`If-Match` and `If-None-Match` take `*`, or ETags in double quotes".into(),
        )
    };
    let text = value.to_str().map_err(|_| wrong())?.trim();
    if text == "*" {
        return Ok(None);
    }
    let each = text.split(',').map(|one| {
        let one = one.trim();
        let one = one.strip_prefix("W/").unwrap_or(one);
        let bare = one
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        bare.map(str::to_owned).ok_or_else(wrong)
    });
    each.collect::<Result<_, _>>().map(Some)
}

/// What a change says must hold of the present version.
fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    let one = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Problem::Malformed(
                "`If-Match` and `If-None-Match` may be there once".into(),
            )),
            (first, None) => Ok(first),
        }
    };
    match (one(header::IF_MATCH)?, one(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Condition::Always),
        (Some(value), None) => Ok(tags(value)?.map_or(Condition::Present, Condition::OneOf)),
        (None, Some(value)) if tags(value)?.is_none() => Ok(Condition::Absent),
        _ => Err(Problem::Malformed(
            "a change takes `If-Match`, or `If-None-Match: *` for content that is not there yet"
                .into(),
        )),
    }
}

/// What a caller is told when content does not open.
pub(super) fn unopened(error: VaultError) -> Problem {
    match error {
        VaultError::Forgotten => Problem::NotFound,
        error => incoming::unkept(error),
    }
}

macro_rules! contents {
    ($(#[doc = $doc:literal])* $module:ident, $path:literal, $versions:literal, $kind:ident,
     [$put:literal, $get:literal, $head:literal, $delete:literal, $list:literal], [$read:ident, $write:ident, $remove:ident]) => {
        $(#[doc = $doc])*
        pub(super) mod $module {
            use super::*;

            /// Replace the content.
            ///
            /// The body is the content, of any media type, streamed. What breaks off leaves nothing.
            #[utoipa::path(put, path = $path, tag = "Content", operation_id = $put,
                params(("id" = String, Path, description = "its identifier"), Acting, Matching),
                request_body(content = inline(AnyBytes), description = "the content: any media type is kept as it is sent; 5 GiB at most, of a memory 1 MiB, where the service is set up no other way", content_type = "application/octet-stream"),
                responses((status = 200, description = "what was written, with the version as `ETag`", body = WrittenContent),
                    (status = 412, description = "the content is not the version that the request names", body = document::Problem, content_type = "application/problem+json"),
                    (status = 415, description = "it comes with `Content-Encoding`", body = document::Problem, content_type = "application/problem+json"), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn put(State(app): State<Arc<App>>, call: Call, request: Request) -> Result<Response, Problem> {
                stored::<$write>(app, call, request).await
            }

            /// The content, or a range of it.
            ///
            /// Recorded as `content.read` before the first byte. A download that lasts is decided anew with every change that this node knows of and every second, and breaks off
            /// where it is denied.
            #[utoipa::path(get, path = $path, tag = "Content", operation_id = $get,
                params(("id" = String, Path, description = "its identifier"),
                    ("version" = Option<String>, Query, description = "an earlier version, where versions are kept"), Acting, Ranged),
                responses((status = 200, description = "the content, as it was sent and of the media type that it was sent with", body = inline(AnyBytes), content_type = "*/*"),
                    (status = 206, description = "the range of it that was asked for", body = inline(AnyBytes), content_type = "*/*"),
                    (status = 304, description = "it is the version that `If-None-Match` names"),
                    (status = 412, description = "it is not the version that `If-Match` names", body = document::Problem, content_type = "application/problem+json"),
                    (status = 416, description = "these bytes are not there", body = document::Problem, content_type = "application/problem+json"), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn get(call: Call, headers: HeaderMap) -> Result<Response, Problem> {
                shown::<$read>(call, Kind::$kind, headers).await
            }

            /// What the content is, without its bytes.
            #[utoipa::path(head, path = $path, tag = "Content", operation_id = $head,
                params(("id" = String, Path, description = "its identifier"),
                    ("version" = Option<String>, Query, description = "an earlier version, where versions are kept"), Acting, Known),
                responses((status = 200, description = "the headers that GET would answer with"),
                    (status = 304, description = "it is the version that `If-None-Match` names"),
                    (status = 412, description = "it is not the version that `If-Match` names"), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn head(call: Call, headers: HeaderMap) -> Result<Response, Problem> {
                headed::<$read>(call, Kind::$kind, headers).await
            }

            /// Delete the content with all its versions, and their keys; the thing itself stays.
            #[utoipa::path(delete, path = $path, tag = "Content", operation_id = $delete,
                params(("id" = String, Path, description = "its identifier"), Acting, Matching, Keyed),
                responses((status = 204, description = "it is no more"),
                    (status = 412, description = "the content is not the version that the request names", body = document::Problem, content_type = "application/problem+json"), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn delete(call: Call, headers: HeaderMap) -> Result<Response, Problem> {
                removed::<$remove>(call, headers).await
            }

            /// Its versions, the oldest first.
            #[utoipa::path(get, path = $versions, tag = "Content", operation_id = $list,
                params(("id" = String, Path, description = "its identifier"), Acting, Paged),
                responses((status = 200, description = "a page of them", body = Page<ContentVersion>), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
                listed::<$read>(call, Kind::$kind).await
            }
        }
    };
}

contents! {
    #[doc = "The content of documents."]
    documents, "/v1/documents/{id}/content", "/v1/documents/{id}/versions", Document,
    ["put_document_content", "read_document_content", "head_document_content", "delete_document_content", "list_document_versions"],
    [DocumentRead, DocumentEdit, DocumentDelete]
}
contents! {
    #[doc = "The content of memories."]
    memory, "/v1/memory/{id}/content", "/v1/memory/{id}/versions", Memory,
    ["put_memory_content", "read_memory_content", "head_memory_content", "delete_memory_content", "list_memory_versions"],
    [MemoryRead, MemoryWrite, MemoryForget]
}
contents! {
    #[doc = "The content of prompt templates."]
    prompt_templates, "/v1/prompt-templates/{id}/content", "/v1/prompt-templates/{id}/versions", PromptTemplate,
    ["put_prompt_template_content", "read_prompt_template_content", "head_prompt_template_content", "delete_prompt_template_content", "list_prompt_template_versions"],
    [PromptTemplateRead, PromptTemplateEdit, PromptTemplateDelete]
}
contents! {
    #[doc = "The content of tools."]
    tools, "/v1/tools/{id}/content", "/v1/tools/{id}/versions", Tool,
    ["put_tool_content", "read_tool_content", "head_tool_content", "delete_tool_content", "list_tool_versions"],
    [ToolRead, ToolEdit, ToolDelete]
}
contents! {
    #[doc = "The content of assistants."]
    assistants, "/v1/assistants/{id}/content", "/v1/assistants/{id}/versions", Assistant,
    ["put_assistant_content", "read_assistant_content", "head_assistant_content", "delete_assistant_content", "list_assistant_versions"],
    [AssistantRead, AssistantEdit, AssistantDelete]
}
contents! {
    #[doc = "The content of agents' definitions."]
    agents, "/v1/agents/{id}/content", "/v1/agents/{id}/versions", AgentDefinition,
    ["put_agent_content", "read_agent_content", "head_agent_content", "delete_agent_content", "list_agent_versions"],
    [AgentRead, AgentEdit, AgentDelete]
}

contents! {
    #[doc = "What runs of agents did."]
    runs, "/v1/agent-runs/{id}/content", "/v1/agent-runs/{id}/versions", AgentRun,
    ["put_agent_run_content", "read_agent_run_content", "head_agent_run_content", "delete_agent_run_content", "list_agent_run_versions"],
    [AgentRead, AgentRun, AgentRun]
}

/// The headers by which content is asked for, as they are documented.
pub(super) struct Ranged;

/// The headers by which a reading says what is there already, as they are documented.
pub(super) struct Known;

/// The headers by which a change says what it replaces, as they are documented.
pub(super) struct Matching;

macro_rules! documented {
    ($name:ident, $([$header:literal, $text:literal]),*) => {
        impl utoipa::IntoParams for $name {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                vec![$(in_header($header, $text)),*]
            }
        }
    };
}

documented! {
    Ranged,
    ["Range", "as `bytes=0-1023`: one range; several are answered with the whole"],
    ["If-Range", "the `ETag` of the version that a part is there of"],
    ["If-Match", "the `ETag` of the version that is wanted, and no other"],
    ["If-None-Match", "the `ETag` of the version that is there already"]
}
documented! {
    Known,
    ["If-Match", "the `ETag` of the version that is wanted, and no other"],
    ["If-None-Match", "the `ETag` of the version that is there already"]
}
documented! {
    Matching,
    ["If-Match", "the `ETag` of the version that is replaced, or `*` for any"],
    ["If-None-Match", "`*`: there is no content yet"]
}
