//! What is said in threads, over HTTP: an append-only list of messages, each with its author.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::call::Call;
use super::content::{self, Ranged};
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::content::{AnyBytes, Message, PostedMessage};
use super::document::{self, Page};
use super::incoming::{Arrived, Incoming};
use super::page::{self, Paging};
use super::problem::Problem;
use super::shown;
use crate::app::App;
use crate::decide::Beside;
use crate::decide::authorized::{ThreadComment, ThreadPost, ThreadRead};
use crate::directory::content::{Posts, posted};
use crate::directory::{DirectoryError, Kind};
use crate::ids;
use crate::log::Event;
use crate::vault::{Condition, Held, Keeping, VaultError};

/// Say something in a thread.
///
/// The body is the message, of any media type, streamed.
#[utoipa::path(post, path = "/v1/threads/{id}/messages", tag = "Content", operation_id = "post_message",
    params(("id" = String, Path, description = "the thread"),
        ("comment" = Option<bool>, Query, description = "a comment, for which a `commenter` share will do"), Acting, Keyed),
    request_body(content = String, description = "the message: any media type is kept as it is sent, `text/plain` as a rule; 5 GiB at most, where the service is set up no other way", content_type = "text/plain"),
    responses((status = 201, description = "what was posted, with `Location`", body = PostedMessage),
        (status = 415, description = "it comes with `Content-Encoding`", body = document::Problem, content_type = "application/problem+json"), Problems),
    security(("api_key" = [])))]
pub(super) async fn post(
    State(app): State<Arc<App>>,
    call: Call,
    request: Request,
) -> Result<Response, Problem> {
    let [comment] = call.query(["comment"])?;
    let comment = match comment {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            return Err(Problem::Malformed("`comment` must be true or false".into()));
        }
    };
    let limit = app.config().content.max_bytes;
    let incoming = Incoming::of(request, limit, app.config().http.request_timeout())?;
    if comment {
        said::<ThreadComment>(call, incoming.comment()).await
    } else {
        said::<ThreadPost>(call, incoming).await
    }
}

async fn said<A: Posts>(call: Call, incoming: Incoming) -> Result<Response, Problem> {
    let thread = call.named("id", Kind::Thread)?;
    let call = Arc::new(call);
    let user = call.user();
    let author = move |_: &_| user.map(Some).ok_or(DirectoryError::NoActingUser);
    let arrived: Arrived = incoming.take::<A>(&call, (thread, "msg"), author).await?;
    let written = arrived.written();
    let how = (Keeping::Each, Condition::Always, Beside::Nothing);
    let changed = arrived
        .deposit::<A>(&call, thread, how, move |by, snapshot| {
            posted(by, snapshot, &written)
        })
        .await?;
    Ok(page::made(&format!("threads/{thread}/messages"), changed))
}

/// What was said in a thread, the oldest first.
///
/// Short messages are shown with their text, or in base64; a longer one has `content` null, and is read by itself. Recorded as
/// `content.read`.
#[utoipa::path(get, path = "/v1/threads/{id}/messages", tag = "Content", operation_id = "list_messages",
    params(("id" = String, Path, description = "the thread"), Acting, Paged),
    responses((status = 200, description = "a page of them", body = Page<Message>), Problems),
    security(("api_key" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    let paging = Paging::of(limit, cursor)?;
    let thread = call.named("id", Kind::Thread)?;
    // What is shown was said before it was decided that it may be.
    let held = content::held_after(&call, thread, &paging).await?;
    let shown: Vec<&str> = held
        .iter()
        .take(paging.limit)
        .map(|held| held.spot().version.as_str())
        .collect();
    call.read_and::<ThreadRead>(thread, (Event::ContentRead, json!({"messages": shown})))
        .await?;
    let mut items = Vec::new();
    for held in &held {
        items.push((held.from_index.to_string(), message(&call, held).await?));
    }
    let mut response = page::cut(items, paging.limit);
    content::private(response.headers_mut());
    Ok(response)
}

/// One message; of somebody who was erased there is nothing but that it was there.
async fn message(call: &Call, held: &Held) -> Result<Value, Problem> {
    match call.door().vault().open(held).await {
        Ok(opened) => {
            let mut item = content::described(held, opened.label());
            if let Some(item) = item.as_object_mut() {
                item.remove("version");
                item.remove("to_index");
                item.insert("id".into(), json!(held.spot().version));
                item.insert("comment".into(), json!(opened.label().comment));
                item.insert("content".into(), shown::short(&opened));
            }
            Ok(item)
        }
        Err(VaultError::Forgotten) => Ok(json!({"id": held.spot().version, "erased": true})),
        Err(error) => Err(content::unopened(error)),
    }
}

/// One message, or a range of it.
#[utoipa::path(get, path = "/v1/threads/{id}/messages/{message}", tag = "Content", operation_id = "read_message",
    params(("id" = String, Path, description = "the thread"), ("message" = String, Path, description = "the message"), Acting, Ranged),
    responses((status = 200, description = "the message, as it was sent and of the media type that it was sent with", body = inline(AnyBytes), content_type = "*/*"),
        (status = 206, description = "the range of it that was asked for", body = inline(AnyBytes), content_type = "*/*"),
        (status = 304, description = "it is the one that `If-None-Match` names"),
        (status = 412, description = "it is not the one that `If-Match` names", body = document::Problem, content_type = "application/problem+json"),
        (status = 416, description = "these bytes are not there", body = document::Problem, content_type = "application/problem+json"), Problems),
    security(("api_key" = [])))]
pub(super) async fn read(call: Call, headers: HeaderMap) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let thread = call.named("id", Kind::Thread)?;
    let (vault, message) = (call.door().vault(), call.text("message")?);
    // What is no name of ours is no message: a database need not take it.
    let held = match ids::parse("msg", message) {
        Err(_) => None,
        Ok(_) => vault
            .version(&thread.to_string(), message)
            .await
            .map_err(content::unopened)?,
    };
    content::give::<ThreadRead>(&Arc::new(call), thread, held, &headers)
        .await?
        .ok_or(Problem::NotFound)
}
