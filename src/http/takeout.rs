//! Data handed out over HTTP: a person's own, and an organization's; what is private of others once two Admins want it.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Map;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::call::Call;
use super::content;
use super::document::calls::{Acting, Keyed, Problems};
use super::document::content::AnyBytes;
use super::document::organization::Organization;
use super::fields::Fields;
use super::page;
use super::problem::Problem;
use crate::decide::authorized::DataExport;
use crate::decide::takeout::Takeout;
use crate::decide::{Changed, Recipient};
use crate::directory::Kind;
use crate::directory::takeout::{self, Of};

/// How many chunks wait for a slow reader; then the export waits too.
const WAITING: usize = 4;

/// All that is kept of the acting user, as a tar: what they are, made and wrote, every version of their content, what was shared with
/// them, and what the log says by, for or about them.
///
/// Recorded as `data.exported` before the first byte. `end.json` is its last file: without it the export is not whole.
#[utoipa::path(get, path = "/v1/users/{id}/export", tag = "Content", operation_id = "export_user",
    params(("id" = String, Path, description = "the acting user's own identifier"),
        ("recipient" = Option<String>, Query, description = "an age recipient (`age1...`): sealed for whoever has its identity"), Acting),
    responses((status = 200, description = "the export, as an attachment: a tar, or where it is sealed for somebody an age file", content((inline(AnyBytes) = "application/x-tar"), (inline(AnyBytes) = "application/octet-stream"))), Problems),
    security(("api_key" = [])))]
pub(super) async fn person(call: Call) -> Result<Response, Problem> {
    let [recipient] = call.query(["recipient"])?;
    let recipient = recipient.map(parsed).transpose()?;
    let person = call.named("id", Kind::User)?;
    let sealed = recipient.is_some();
    let exported = call
        .once::<DataExport>(person, move |by, snapshot| {
            takeout::person(by, snapshot, sealed)
        })
        .await?;
    handed_out(&call, Of::Person(person), exported, recipient)
}

/// All that the organization has, as a tar: its directory, policies and entities, and every version of its content.
///
/// What is private of somebody (what has no audience, and the Personal layers) is in it only with `private=true`, which takes another
/// Admin's approval. The log has its own export. Recorded as `data.exported` before the first byte, with who approved.
#[utoipa::path(get, path = "/v1/organization/export", tag = "Content", operation_id = "export_organization",
    params(("private" = Option<bool>, Query, description = "with what is private: once another Admin has approved it"),
        ("recipient" = Option<String>, Query, description = "an age recipient (`age1...`): sealed for whoever has its identity"), Acting),
    responses((status = 200, description = "the export, as an attachment: a tar, or where it is sealed for somebody an age file", content((inline(AnyBytes) = "application/x-tar"), (inline(AnyBytes) = "application/octet-stream"))), Problems),
    security(("api_key" = [])))]
pub(super) async fn organization(call: Call) -> Result<Response, Problem> {
    let [private, recipient] = call.query(["private", "recipient"])?;
    let private = match private {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            return Err(Problem::Malformed("`private` must be true or false".into()));
        }
    };
    let recipient = recipient.map(parsed).transpose()?;
    let sealed = recipient.is_some();
    let exported = call
        .once::<DataExport>(call.org(), move |by, snapshot| {
            takeout::organization(by, snapshot, (private, sealed))
        })
        .await?;
    handed_out(&call, Of::Organization { private }, exported, recipient)
}

/// Ask for an export with what is private: it waits 24 hours for another Admin's approval.
#[utoipa::path(post, path = "/v1/organization/private-export", tag = "Content", operation_id = "request_private_export",
    params(Acting, Keyed),
    responses((status = 200, description = "the organization, with `private_export`", body = Organization), Problems),
    security(("api_key" = [])))]
pub(super) async fn request(call: Call) -> Result<Response, Problem> {
    let changed = call
        .change::<DataExport>(call.org(), Map::new(), &Fields::none(), takeout::request)
        .await?;
    Ok(page::changed_to(changed))
}

/// Approve the export with what is private that another Admin has asked for: for 24 hours either may take it.
#[utoipa::path(post, path = "/v1/organization/private-export/approval", tag = "Content", operation_id = "approve_private_export",
    params(Acting, Keyed),
    responses((status = 200, description = "the organization, with `private_export`", body = Organization), Problems),
    security(("api_key" = [])))]
pub(super) async fn approve(call: Call) -> Result<Response, Problem> {
    let changed = call
        .change::<DataExport>(call.org(), Map::new(), &Fields::none(), takeout::approve)
        .await?;
    Ok(page::changed_to(changed))
}

/// Withdraw it, asked for or approved.
#[utoipa::path(delete, path = "/v1/organization/private-export", tag = "Content", operation_id = "withdraw_private_export",
    params(Acting, Keyed),
    responses((status = 200, description = "the organization as it is now", body = Organization), Problems),
    security(("api_key" = [])))]
pub(super) async fn withdraw(call: Call) -> Result<Response, Problem> {
    let changed = call
        .change::<DataExport>(call.org(), Map::new(), &Fields::none(), takeout::withdraw)
        .await?;
    Ok(page::changed_to(changed))
}

fn parsed(text: &str) -> Result<Recipient, Problem> {
    text.parse().map_err(|_| {
        Problem::Malformed(
            "`recipient` must be a public key of age (`age1...`), as `age-keygen` prints it".into(),
        )
    })
}

fn handed_out(
    call: &Call,
    of: Of,
    exported: Changed,
    recipient: Option<Recipient>,
) -> Result<Response, Problem> {
    let (media, ending) = match recipient {
        None => ("application/x-tar", "tar"),
        Some(_) => ("application/octet-stream", "tar.age"),
    };
    let whose = match of {
        Of::Organization { .. } => call.org(),
        Of::Person(person) => person,
    };
    let takeout = Takeout::new(call.door().clone(), of, (call.asker(), exported));
    let (out, chunks) = mpsc::channel(WAITING);
    let now = u64::try_from(chrono::Utc::now().timestamp()).unwrap_or_default();
    // It says itself what went wrong; a reader who is gone ends it.
    tokio::spawn(async move { drop(takeout.write(out, recipient, now).await) });
    let mut response = Body::from_stream(ReceiverStream::new(chunks)).into_response();
    let headers = response.headers_mut();
    content::private(headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    let disposition = format!("attachment; filename=\"{whose}.{ending}\"");
    let disposition = HeaderValue::try_from(disposition).map_err(|_| Problem::Internal)?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
}
