//! What people make, over HTTP: threads, documents' metadata, templates, tools, assistants and agents.

use axum::response::Response;
use serde_json::Map;

use super::call::{Call, said};
use super::document::Page;
use super::document::calls::{Acting, Keyed, Paged, Problems};
use super::document::made::{
    AgentDefinition, Made, MadeChange, NewDocument, NewMade, ThreadChange,
};
use super::fields::Fields;
use super::page::{self, Paging};
use super::problem::Problem;
use crate::crypto;
use crate::decide::Action;
use crate::decide::authorized::{
    AgentCreate, AgentDelete, AgentEdit, AgentRead, AssistantCreate, AssistantDelete,
    AssistantEdit, AssistantRead, DocumentDelete, DocumentEdit, DocumentRead, DocumentUpload,
    PromptTemplateCreate, PromptTemplateDelete, PromptTemplateEdit, PromptTemplateRead,
    ThreadCreate, ThreadDelete, ThreadRead, ThreadRestrict, ThreadTransfer, ToolCreate, ToolDelete,
    ToolEdit, ToolRead,
};
use crate::directory::Kind;
use crate::directory::made::{self, Audience, Creates, Deletes, Edit, Edits, New};

async fn created<A: Creates>(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let random = || crypto::random().map_err(|_| Problem::Internal);
    let parents: &[Kind] = match A::KIND {
        Kind::Document => &[Kind::Organization, Kind::Team, Kind::Project, Kind::Thread],
        _ => &[Kind::Organization, Kind::Team, Kind::Project],
    };
    let parent = body
        .maybe_reference("parent", parents)?
        .unwrap_or(call.org());
    let new = New {
        id: random()?,
        agent: random()?,
        name: body.text("name")?,
        audience: body.maybe_audience()?.unwrap_or(Audience::Private),
    };
    body.finish()?;
    let changed = call
        .change::<A>(parent, Map::new(), &body, move |by, snapshot| {
            made::create(by, snapshot, &new)
        })
        .await?;
    Ok(page::made(A::KIND.collection(), changed))
}

async fn listed<A: Action>(call: Call, kind: Kind) -> Result<Response, Problem> {
    let [limit, cursor] = call.query(["limit", "cursor"])?;
    page::list::<A>(&call, kind, &Paging::of(limit, cursor)?, |_, _| true).await
}

async fn found<A: Action>(call: Call, kind: Kind) -> Result<Response, Problem> {
    let [] = call.query([])?;
    let wanted = call.named("id", kind)?;
    page::one(wanted, call.read::<A>(wanted).await?.snapshot())
}

async fn edited<A: Edits>(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let wanted = call.named("id", A::KIND)?;
    let edit = Edit {
        name: body.maybe_text("name")?,
        audience: body.maybe_audience()?,
    };
    body.finish()?;
    if edit.name.is_none() && edit.audience.is_none() {
        return Err(Problem::Malformed("send `name`, `audience` or both".into()));
    }
    let changed = call
        .change::<A>(wanted, Map::new(), &body, move |by, snapshot| {
            made::edit(by, snapshot, &edit)
        })
        .await?;
    Ok(page::changed_to(changed))
}

async fn narrowed_or_given(call: Call, mut body: Fields) -> Result<Response, Problem> {
    let thread = call.named("id", Kind::Thread)?;
    let audience = body.maybe_audience()?;
    let owner = body.maybe_reference("owner", &[Kind::User])?;
    body.finish()?;
    let changed = match (audience, owner) {
        (Some(audience), None) => {
            call.change::<ThreadRestrict>(thread, Map::new(), &body, move |by, snapshot| {
                made::restrict(by, snapshot, audience)
            })
            .await?
        }
        (None, Some(owner)) => {
            call.change::<ThreadTransfer>(
                thread,
                said("new_owner", owner),
                &body,
                move |by, snapshot| made::transfer(by, snapshot, owner),
            )
            .await?
        }
        _ => {
            return Err(Problem::Malformed(
                "send either `audience` or `owner`: each is decided for itself".into(),
            ));
        }
    };
    Ok(page::changed_to(changed))
}

async fn deleted<A: Deletes>(call: Call) -> Result<Response, Problem> {
    let wanted = call.named("id", A::KIND)?;
    let changed = call
        .change::<A>(wanted, Map::new(), &Fields::none(), made::delete)
        .await?;
    Ok(page::gone(&changed))
}

macro_rules! calls {
    ($(#[doc = $doc:literal])* $module:ident, $many:literal, $one:literal, [$new:ident, $made:ident, $change:ident],
     [$create_id:literal, $list_id:literal, $read_id:literal, $update_id:literal, $delete_id:literal],
     [$create:ident, $read:ident, $delete:ident], $update:path) => {
        $(#[doc = $doc])*
        pub(super) mod $module {
            use super::*;

            /// Make one, owned by the acting user.
            #[utoipa::path(post, path = $many, tag = "Directory", operation_id = $create_id, params(Acting, Keyed),
                request_body = $new,
                responses((status = 201, description = "what was made, with `Location`", body = $made), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn create(call: Call, body: Fields) -> Result<Response, Problem> {
                created::<$create>(call, body).await
            }

            /// Those that the acting user may read.
            #[utoipa::path(get, path = $many, tag = "Directory", operation_id = $list_id, params(Acting, Paged),
                responses((status = 200, description = "a page of them", body = Page<$made>), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn list(call: Call) -> Result<Response, Problem> {
                listed::<$read>(call, <$delete as Deletes>::KIND).await
            }

            /// One of them.
            #[utoipa::path(get, path = $one, tag = "Directory", operation_id = $read_id,
                params(("id" = String, Path, description = "its identifier"), Acting),
                responses((status = 200, description = "the one", body = $made), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn read(call: Call) -> Result<Response, Problem> {
                found::<$read>(call, <$delete as Deletes>::KIND).await
            }

            /// Change one.
            #[utoipa::path(patch, path = $one, tag = "Directory", operation_id = $update_id,
                params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
                request_body = $change,
                responses((status = 200, description = "as it is now", body = $made), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn update(call: Call, body: Fields) -> Result<Response, Problem> {
                $update(call, body).await
            }

            /// Delete one, and what hangs from it.
            #[utoipa::path(delete, path = $one, tag = "Directory", operation_id = $delete_id,
                params(("id" = String, Path, description = "its identifier"), Acting, Keyed),
                responses((status = 204, description = "it is no more"), Problems),
                security(("api_key" = [])))]
            pub(in crate::http) async fn delete(call: Call) -> Result<Response, Problem> {
                deleted::<$delete>(call).await
            }
        }
    };
}

calls! {
    #[doc = "The calls on threads."]
    threads, "/v1/threads", "/v1/threads/{id}", [NewMade, Made, ThreadChange],
    ["create_thread", "list_threads", "read_thread", "update_thread", "delete_thread"],
    [ThreadCreate, ThreadRead, ThreadDelete], narrowed_or_given
}
calls! {
    #[doc = "The calls on documents."]
    documents, "/v1/documents", "/v1/documents/{id}", [NewDocument, Made, MadeChange],
    ["create_document", "list_documents", "read_document", "update_document", "delete_document"],
    [DocumentUpload, DocumentRead, DocumentDelete], edited::<DocumentEdit>
}
calls! {
    #[doc = "The calls on prompt templates."]
    prompt_templates, "/v1/prompt-templates", "/v1/prompt-templates/{id}", [NewMade, Made, MadeChange],
    ["create_prompt_template", "list_prompt_templates", "read_prompt_template", "update_prompt_template", "delete_prompt_template"],
    [PromptTemplateCreate, PromptTemplateRead, PromptTemplateDelete], edited::<PromptTemplateEdit>
}
calls! {
    #[doc = "The calls on tools."]
    tools, "/v1/tools", "/v1/tools/{id}", [NewMade, Made, MadeChange],
    ["create_tool", "list_tools", "read_tool", "update_tool", "delete_tool"],
    [ToolCreate, ToolRead, ToolDelete], edited::<ToolEdit>
}
calls! {
    #[doc = "The calls on assistants."]
    assistants, "/v1/assistants", "/v1/assistants/{id}", [NewMade, Made, MadeChange],
    ["create_assistant", "list_assistants", "read_assistant", "update_assistant", "delete_assistant"],
    [AssistantCreate, AssistantRead, AssistantDelete], edited::<AssistantEdit>
}
calls! {
    #[doc = "The calls on agents' definitions."]
    agents, "/v1/agents", "/v1/agents/{id}", [NewMade, AgentDefinition, MadeChange],
    ["create_agent", "list_agents", "read_agent", "update_agent", "delete_agent"],
    [AgentCreate, AgentRead, AgentDelete], edited::<AgentEdit>
}
