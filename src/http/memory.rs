//! Memory over HTTP: written, rewritten and forgotten, layer by layer.

use axum::response::Response;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::content;
use super::document::Page;
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::content::{Memory, MemoryChange, MemoryLayer, NewMemory};
use super::fields::{Fields, missing, wrong};
use super::page::{self, Paging};
use super::problem::Problem;
use super::{refused, shown};
use crate::crypto;
use crate::decide::authorized::{MemoryForget, MemoryRead, MemoryWrite, ThreadRead};
use crate::directory::object::Layer;
use crate::directory::{Kind, Object, Ref, Snapshot, memory, view};
use crate::log::Event;
use crate::log::entry::Outcome;

/// Write a new memory.
#[utoipa::path(post, path = "/v1/memory", tag = "Directory", operation_id = "create_memory", params(Acting, Keyed),
    request_body = NewMemory,
    responses((status = 201, description = "the memory, with `Location`", body = Memory), Problems),
    security(("api_key" = [])))]
pub(super) async fn create(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let id = crypto::random().map_err(|_| Problem::Internal)?;
    let layer: Layer = body.word("layer")?;
    let (kind, otherwise) = match layer {
        Layer::Thread => (Kind::Thread, None),
        Layer::Project => (Kind::Project, None),
        Layer::Team => (Kind::Team, None),
        Layer::Personal => (Kind::User, call.user()),
        Layer::Organization => (Kind::Organization, Some(call.org())),
    };
    let parent = body.maybe_reference("parent", &[kind])?;
    let parent = match (parent, otherwise, layer) {
        (Some(parent), _, _) | (None, Some(parent), _) => parent,
        (None, None, Layer::Personal) => {
            return Err(wrong(
                "layer",
                "a personal memory is of the user that `Cedarkeep-Acting-User` names",
            ));
        }
        (None, None, _) => return Err(missing("parent")),
    };
    let name = body.text("name")?;
    body.finish()?;
    let changed = call
        .change::<MemoryWrite>(parent, Map::new(), &body, move |by, snapshot| {
            memory::write_new(by, snapshot, id, &name)
        })
        .await?;
    Ok(page::made(Kind::Memory.collection(), changed))
}

/// The memories that the acting user may read; of one layer, a page may be shorter than its limit.
///
/// With `for` those that may be used in a thread, with their content: the most specific layer first (thread, project, team, personal,
/// organization), and for an agent only what agent and user may both read. Recorded as `content.read`.
#[utoipa::path(get, path = "/v1/memory", tag = "Directory", operation_id = "list_memory",
    params(("layer" = Option<MemoryLayer>, Query, description = "of this layer alone; without `for`"),
        ("for" = Option<String>, Query, description = "what may be used in this thread; without `layer`"), Acting, Paged),
    responses((status = 200, description = "a page of them", body = Page<Memory>), Problems),
    security(("api_key" = [])))]
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let [layer, thread, limit, cursor] = call.query(["layer", "for", "limit", "cursor"])?;
    if let Some(thread) = thread {
        if layer.is_some() {
            return Err(Problem::Malformed(
                "send `for` or `layer`: what is for a thread is of every layer".into(),
            ));
        }
        return of_use(&call, thread, &Paging::of(limit, cursor)?).await;
    }
    let layer: Option<Layer> = layer
        .map(|text| text.parse().map_err(|why: String| wrong("layer", &why)))
        .transpose()?;
    let of_layer = |reference: Ref, snapshot: &crate::directory::Snapshot| {
        let found = snapshot.object(reference).map(|stored| &stored.value);
        layer.is_none()
            || matches!(found, Some(Object::Memory(memory)) if Some(memory.layer) == layer)
    };
    page::list::<MemoryRead>(&call, Kind::Memory, &Paging::of(limit, cursor)?, of_layer).await
}

async fn of_use(call: &Call, thread: &str, paging: &Paging) -> Result<Response, Problem> {
    let thread = Ref::of(Kind::Thread, thread).ok_or(Problem::NotFound)?;
    let after = paging.after(|text| {
        let (layer, id) = text.split_once(' ')?;
        Some((layer.parse::<u8>().ok()?, Ref::of(Kind::Memory, id)?))
    })?;
    call.read::<ThreadRead>(thread).await?;
    for _ in 0..content::TRIES {
        if let Some(response) = used(call, (thread, after), paging.limit).await? {
            return Ok(response);
        }
        // Another took the place of some content while it was decided: that one is decided on.
    }
    Err(content::restless())
}

/// A page of what may be used in a thread; nothing where content was replaced meanwhile.
async fn used(
    call: &Call,
    (thread, after): (Ref, Option<(u8, Ref)>),
    limit: usize,
) -> Result<Option<Response>, Problem> {
    let user = call.user();
    let choice = move |snapshot: &Snapshot| memory::of_use(snapshot, (thread, user), after);
    let listed = call
        .door()
        .list_of::<MemoryRead>(call.asker(), Kind::Memory, choice, limit)
        .await
        .map_err(refused::problem)?;
    let snapshot = listed.snapshot();
    let (mut items, mut versions) = (Vec::new(), Vec::new());
    let vault = call.door().vault();
    // At once: the sooner after the decision, the less was replaced since.
    let names: Vec<String> = listed.items().iter().map(Ref::to_string).collect();
    let current = join_all(names.iter().map(|name| vault.current(name))).await;
    for (reference, held) in listed.items().iter().zip(current) {
        let Some(stored) = snapshot.object(*reference) else {
            continue;
        };
        let mut item = view::view(*reference, &stored.value, snapshot);
        let said = match held.map_err(content::unopened)? {
            None => Value::Null,
            // What came after the decision is not what was decided on, and what was there before is gone.
            Some(held) if held.from_index > listed.recorded().index => return Ok(None),
            Some(held) => {
                versions.push(held.spot().version.clone());
                let opened = match vault.open(&held).await {
                    Ok(opened) => opened,
                    // Its bytes, or its key, went in this very moment.
                    Err(_) if !vault.holds(&held).await.map_err(content::unopened)? => {
                        return Ok(None);
                    }
                    Err(error) => return Err(content::unopened(error)),
                };
                let mut said = content::described(&held, opened.label());
                if let Some(said) = said.as_object_mut() {
                    said.insert("content".into(), shown::short(&opened));
                }
                said
            }
        };
        if let Some(item) = item.as_object_mut() {
            item.insert("content".into(), said);
        }
        items.push(item);
    }
    let next = listed.next().and_then(|next| {
        let layer = memory::specific(snapshot.require_memory(next).ok()?.layer);
        Some(format!("{layer} {next}"))
    });
    page::is_whole(snapshot)?;
    let details = json!({"for": thread, "versions": versions});
    call.door()
        .note(call.asker(), Event::ContentRead, Outcome::Ok, details)
        .await
        .map_err(refused::problem)?;
    let mut response = page::page(items, next);
    content::private(response.headers_mut());
    Ok(Some(response))
}

/// One memory.
#[utoipa::path(get, path = "/v1/memory/{id}", tag = "Directory", operation_id = "read_memory",
    params(("id" = String, Path, description = "its identifier"), Acting),
    responses((status = 200, description = "the memory", body = Memory), Problems),
    security(("api_key" = [])))]
pub(super) async fn read(call: Call) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let wanted = call.named("id", Kind::Memory)?;
    page::one(wanted, call.read::<MemoryRead>(wanted).await?.snapshot())
}

/// Rewrite a memory.
#[utoipa::path(patch, path = "/v1/memory/{id}", tag = "Directory", operation_id = "update_memory",
    params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
    request_body = MemoryChange,
    responses((status = 200, description = "the memory as it is now", body = Memory), Problems),
    security(("api_key" = [])))]
pub(super) async fn update(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::Memory)?;
    let name = body.text("name")?;
    body.finish()?;
    let changed = call
        .change::<MemoryWrite>(wanted, Map::new(), &body, move |by, snapshot| {
            memory::rewrite(by, snapshot, &name)
        })
        .await?;
    Ok(page::changed_to(changed))
}

/// Forget a memory.
#[utoipa::path(delete, path = "/v1/memory/{id}", tag = "Directory", operation_id = "forget_memory",
    params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
    responses((status = 204, description = "it is forgotten"), Problems),
    security(("api_key" = [])))]
pub(super) async fn delete(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", Kind::Memory)?;
    let changed = call
        .change::<MemoryForget>(wanted, Map::new(), &Fields::none(), memory::forget)
        .await?;
    Ok(page::gone(&changed))
}
