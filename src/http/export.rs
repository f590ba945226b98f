//! The log taken away over HTTP: exports as a stream, and the tiles, entry bundles and checkpoint that readers of C2SP tlog-tiles ask for.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::audit::{note, permitted, unread};
use super::call::Call;
use super::document::audit::{AuditCategory, AuditEvent, AuditExportFormat, AuditOutcome};
use super::document::calls::{Acting, Problems};
use super::document::content::AnyBytes;
use super::problem::Problem;
use super::refused;
use crate::decide::error::Unwritten;
use crate::decide::export::{self, Export, Format, NotExported, Wanted};
use crate::log::flaw::Flaw;
use crate::log::query::Query;

/// How many chunks wait for a slow reader; then the export waits too.
const WAITING: usize = 4;

/// The whole log as a bundle that proves itself, or the entries that fit every condition given as a view, the oldest first.
///
/// It is recorded before the first byte. What is appended meanwhile is not in it. One that lasts is decided anew every five seconds and
/// with every change that this node knows of, and breaks off where it is denied. A stream that does not end as streams do is not whole:
/// then ask again. Four are under way at once for one organization on a node; one more is a 429.
#[utoipa::path(get, path = "/v1/audit/export", tag = "Audit", operation_id = "export_audit_log",
    params(Acting,
        ("format" = inline(AuditExportFormat), Query, description = "`bundle` (tar with leaves, checkpoint, tiles, keys, manifest; takes no conditions), `jsonl`, `csv` or `ocsf`"),
        ("from" = Option<String>, Query, description = "the first moment that counts, as 2026-01-31T12:00:00Z"),
        ("to" = Option<String>, Query, description = "the first moment that does not count any more"),
        ("event" = Option<AuditEvent>, Query, description = "what happened"),
        ("category" = Option<AuditCategory>, Query, description = "the chapter of what happened"),
        ("outcome" = Option<AuditOutcome>, Query, description = "how it ended"),
        ("actor" = Option<String>, Query, description = "the id of who acted, of the user acted for, or of the key"),
        ("resource" = Option<String>, Query, description = "the id of what it was done to"),
        ("action" = Option<String>, Query, description = "as `thread.read`"),
        ("policy" = Option<String>, Query, description = "the id of a policy that determined it"),
        ("request_id" = Option<String>, Query, description = "the `X-Request-ID` of the call")),
    responses((status = 200, description = "the export, as an attachment; a line of `jsonl` is what `GET /v1/audit/entries` shows of an entry (`AuditEntry`), one of `ocsf` an event of OCSF's API Activity in JSON, one of `csv` behind the first, which has the names of the columns, an entry", content((inline(AnyBytes) = "application/x-tar"), (String = "application/x-ndjson"), (String = "text/csv"))), Problems),
    security(("api_key" = [])))]
pub(super) async fn export(call: Call) -> Result<Response, Problem> {
    let known = [&["format"], Query::NAMES].concat();
    let (format, conditions): (Vec<_>, Vec<_>) = call
        .given(&known)?
        .into_iter()
        .partition(|(name, _)| *name == "format");
    let format = format.first().and_then(|(_, name)| Format::of(name));
    let format = format
        .ok_or_else(|| Problem::Malformed("`format` must be bundle, jsonl, csv or ocsf".into()))?;
    let query = Query::of(conditions.iter().copied())
        .map_err(|unasked| Problem::Malformed(unasked.to_string()))?;
    let conditions: Map<String, Value> = conditions
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let wanted = Wanted {
        format,
        query,
        conditions: Value::Object(conditions),
    };
    let export = export::begin(call.door().clone(), call.asker(), wanted, |_, _| {})
        .await
        .map_err(problem)?;
    let name = format!("{}-{}", call.door().store().id(), export.size());
    stream(export, format, &name)
}

fn stream(export: Export, format: Format, name: &str) -> Result<Response, Problem> {
    let (media, ending) = match format {
        Format::Bundle => ("application/x-tar", "tar"),
        Format::Jsonl => ("application/x-ndjson", "jsonl"),
        Format::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        Format::Ocsf => ("application/x-ndjson", "ocsf.jsonl"),
    };
    let disposition = format!("attachment; filename=\"{name}.{ending}\"");
    let disposition = HeaderValue::try_from(disposition).map_err(|_| Problem::Internal)?;
    let length = export.length();
    let (out, chunks) = mpsc::channel(WAITING);
    // It says itself what went wrong; a reader who is gone ends it.
    tokio::spawn(async move { drop(export.write(out, |_, _| {}).await) });
    let mut response = Body::from_stream(ReceiverStream::new(chunks)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(response)
}

fn problem(error: NotExported) -> Problem {
    match error {
        NotExported::Conditions => Problem::Malformed(error.to_string()),
        NotExported::Refused(refused) => refused::problem(refused),
        NotExported::Empty => Problem::Unavailable(error.to_string()),
        NotExported::Unread(Unwritten::Flaw(Flaw::Unsound { wrong })) => {
            tracing::error!(wrong, "a log that does not verify is not exported");
            Problem::Unavailable(
                "the log does not verify, and is not exported: its operator should run `cedarkeep audit verify`".into(),
            )
        }
        NotExported::Unread(unwritten) => unread(unwritten),
        NotExported::Gone | NotExported::Stalled => Problem::Internal,
    }
}

/// A tile of the log's tree, or with `tile/entries/` the leaves at its place, in the layout of C2SP tlog-tiles.
#[utoipa::path(get, path = "/v1/audit/tile/{*path}", tag = "Audit", operation_id = "read_audit_log_tile",
    params(Acting,
        ("path" = String, Path, description = "`<L>/<N>[.p/<W>]`, or `entries/<N>[.p/<W>]` for the leaves, each behind its length in 16 bits")),
    responses((status = 200, description = "the hashes one behind the other, or the leaves", body = inline(AnyBytes), content_type = "application/octet-stream"), Problems),
    security(("api_key" = [])))]
pub(super) async fn tile(call: Call) -> Result<Response, Problem> {
    let path = format!("tile/{}", call.text("path")?);
    let store = permitted(&call).await?;
    let bytes = export::tile(store, &path).await.map_err(unread)?;
    let bytes = bytes.ok_or(Problem::NotFound)?;
    note(&call, json!({ "tile": path })).await?;
    let media = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((media, bytes).into_response())
}

/// Whether a caller wants a note as it is, as readers of C2SP tlog-tiles do.
pub(super) fn wants_text(headers: &HeaderMap) -> bool {
    let mut wanted = headers.get_all(header::ACCEPT).iter();
    wanted.any(|value| {
        value.to_str().is_ok_and(|value| {
            value.split(',').any(|one| {
                let media = one.split(';').next().unwrap_or_default();
                media.trim().eq_ignore_ascii_case("text/plain")
            })
        })
    })
}
