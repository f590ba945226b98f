//! People in bulk over HTTP: a file in CSV or JSON lines, tried or taken, and a report of every line while it is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::call::Call;
use super::document::calls::{Acting, Problems};
use super::document::signin::importing::{ImportLine, ImportMode, ImportedPerson};
use super::problem::{Finding, Problem};
use super::refused;
use crate::app::App;
use crate::crypto;
use crate::decide::authorized::MemberImport;
use crate::directory::import::{self, Counts, Form, LINES_AT_ONCE, Line, Mode, Part, Told};
use crate::directory::{DirectoryError, Snapshot};

/// The longest file, in bytes.
const FILE_LIMIT: usize = 8 * 1024 * 1024;

/// How many lines that cannot be taken are told of where nothing is.
const FINDINGS_MOST: usize = 1_000;

/// How many parts of a report wait for a slow reader; then the import waits too.
const WAITING: usize = 4;

/// How often a part is tried again while too much else is asked of the organization.
const TRIES: u32 = 30;

/// Import people. Sent again it changes nothing, so it takes no `Idempotency-Key`.
///
/// A file has at most 20,000 people and 8 MiB. Who has a line's address is made what the line says; who is not there joins. Nobody who
/// is not in the file is touched, and the last active Admin stays. With `mode=all` a line that cannot be taken keeps the whole file from
/// being taken: the answer is a problem whose `findings` name such lines. With `mode=each` it keeps nothing else.
///
/// The report is one JSON object a line, an `ImportLine`: what becomes of each line; with `mode=each` `progress` in between, as each part
/// is committed; `summary` at the end. A report that does not end so, or with `error`, is not whole: what it told was done. No address
/// stands in it.
#[utoipa::path(post, path = "/v1/users/import", tag = "Directory", operation_id = "import_users",
    params(Acting,
        ("dry_run" = Option<bool>, Query, description = "say what would become of each line, and change nothing; false if absent"),
        ("mode" = inline(Option<ImportMode>), Query, description = "`all`: all lines or none; `each`: every line stands for itself; `all` if absent")),
    request_body(description = "CSV whose first line names the columns `name`, `email`, `role` and perhaps `active`; or JSON objects with these members, one a line", content((String = "text/csv"), (ImportedPerson = "application/x-ndjson"))),
    responses((status = 200, description = "the report: lines of JSON, each an `ImportLine`", body = ImportLine, content_type = "application/x-ndjson"),
        Problems),
    security(("api_key" = [])))]
pub(super) async fn import(
    State(app): State<Arc<App>>,
    call: Call,
    request: Request,
) -> Result<Response, Problem> {
    let permitted = call.permit_change::<MemberImport>(call.org()).await?;
    if call.is_keyed() {
        return Err(Problem::Malformed(
            "this call takes no `Idempotency-Key`: sent again it changes nothing".into(),
        ));
    }
    let (dry_run, mode) = wanted(&call)?;
    let form = form(request.headers())?;
    let bytes = file(request, app.config().http.request_timeout()).await?;
    let lines = tokio::task::spawn_blocking(move || import::read(form, &bytes)).await;
    let lines = lines.map_err(|_| Problem::Internal)?.map_err(problem)?;
    if dry_run {
        let told = import::preview(permitted.snapshot(), &lines).map_err(problem)?;
        let mut report = values(&told);
        report.push(summary(Counts::of(&told), true));
        return Ok(reported(Body::from(text(&report))));
    }
    match mode {
        Mode::All => whole(&call, permitted.snapshot(), lines).await,
        Mode::Each => Ok(part_by_part(call, lines)),
    }
}

fn wanted(call: &Call) -> Result<(bool, Mode), Problem> {
    let [dry_run, mode] = call.query(["dry_run", "mode"])?;
    let dry_run = match dry_run {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::Malformed("`dry_run` must be true or false".into())),
    };
    let mode = match mode {
        None | Some("all") => Mode::All,
        Some("each") => Mode::Each,
        Some(_) => return Err(Problem::Malformed("`mode` must be all or each".into())),
    };
    Ok((dry_run, mode))
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let media = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().unwrap_or_default(),
        _ => "",
    };
    let media = media.split(';').next().unwrap_or_default().trim();
    match media.to_ascii_lowercase().as_str() {
        "text/csv" => Ok(Form::Csv),
        "application/x-ndjson" | "application/jsonl" => Ok(Form::Jsonl),
        _ => Err(Problem::Malformed(
            "send the file with `Content-Type: text/csv` or `application/x-ndjson`".into(),
        )),
    }
}

async fn file(request: Request, patience: Duration) -> Result<Vec<u8>, Problem> {
    let mut pieces = request.into_body().into_data_stream();
    let mut bytes = Vec::new();
    loop {
        match tokio::time::timeout(patience, pieces.next()).await {
            Err(_) => return Err(Problem::TooSlow),
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(_))) => {
                return Err(Problem::Malformed(
                    "the body broke off: nothing of it was taken".into(),
                ));
            }
            Ok(Some(Ok(piece))) => {
                if bytes.len().saturating_add(piece.len()) > FILE_LIMIT {
                    return Err(Problem::Malformed(format!(
                        "the file is longer than {FILE_LIMIT} bytes: send it in parts"
                    )));
                }
                bytes.extend_from_slice(&piece);
            }
        }
    }
}

fn part(number: u64, of: u64, mode: Mode) -> Result<Part, Problem> {
    let seed = crypto::random().map_err(|_| Problem::Internal)?;
    Ok(Part {
        seed,
        number,
        of,
        mode,
    })
}

/// All of a file in one change.
async fn whole(call: &Call, snapshot: &Snapshot, lines: Vec<Line>) -> Result<Response, Problem> {
    let told = import::preview(snapshot, &lines).map_err(problem)?;
    let counts = Counts::of(&told);
    if counts.refused > 0 {
        let refused = told.iter().filter_map(|one| {
            Some(Finding {
                message: one.why.clone()?,
                file: None,
                line: usize::try_from(one.line).ok(),
                column: None,
                help: None,
            })
        });
        let detail = format!(
            "{} of {} lines cannot be taken, and none was",
            counts.refused,
            counts.all()
        );
        return Err(Problem::Findings(
            detail,
            refused.take(FINDINGS_MOST).collect(),
        ));
    }
    let part = part(1, 1, Mode::All)?;
    let changed = call
        .once::<MemberImport>(call.org(), move |by, snapshot| {
            import::import(by, snapshot, &lines, &part)
        })
        .await?;
    let told = list(changed.reply)?;
    let mut report = values(&told);
    report.push(summary(Counts::of(&told), false));
    Ok(reported(Body::from(text(&report))))
}

/// A file in changes of some lines each, told of as they are committed. It ends with its reader: what is left is sent again.
fn part_by_part(call: Call, lines: Vec<Line>) -> Response {
    let (out, report) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let all = lines.len();
        let of = all.div_ceil(LINES_AT_ONCE);
        let (mut counts, mut done) = (Counts::default(), 0_usize);
        for (number, lines) in (1_u64..).zip(lines.chunks(LINES_AT_ONCE)) {
            let of = u64::try_from(of).unwrap_or(u64::MAX);
            let told = match part(number, of, Mode::Each) {
                Ok(part) => taken(&call, lines.to_vec(), part).await,
                Err(problem) => Err(problem),
            };
            let told = match told {
                Ok(told) => told,
                Err(problem) => {
                    let error =
                        json!({"error": {"code": problem.code(), "detail": problem.message()}});
                    drop(out.send(Ok(text(&[error]))).await);
                    return;
                }
            };
            counts = counts.and(Counts::of(&told));
            done = done.saturating_add(lines.len());
            let mut report = values(&told);
            report.push(json!({"progress": {"done": done, "of": all}}));
            if out.send(Ok(text(&report))).await.is_err() {
                return;
            }
        }
        drop(out.send(Ok(text(&[summary(counts, false)]))).await);
    });
    let report: ReceiverStream<Result<Bytes, Infallible>> = ReceiverStream::new(report);
    reported(Body::from_stream(report))
}

/// Some lines, once it is their turn.
async fn taken(call: &Call, lines: Vec<Line>, part: Part) -> Result<Vec<Told>, Problem> {
    let lines = Arc::new(lines);
    let mut tries = 0;
    loop {
        let these = Arc::clone(&lines);
        let changed = call
            .once::<MemberImport>(call.org(), move |by, snapshot| {
                import::import(by, snapshot, &these, &part)
            })
            .await;
        match changed {
            Ok(changed) => return list(changed.reply),
            Err(Problem::TooMany(pause)) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(pause).await;
            }
            Err(problem) => return Err(problem),
        }
    }
}

/// The report that a change replies.
fn list(reply: Value) -> Result<Vec<Told>, Problem> {
    serde_json::from_value(reply).map_err(|_| Problem::Internal)
}

fn values(told: &[Told]) -> Vec<Value> {
    told.iter().map(|one| json!(one)).collect()
}

fn summary(counts: Counts, dry_run: bool) -> Value {
    json!({"summary": {
        "lines": counts.all(), "created": counts.created, "updated": counts.updated,
        "unchanged": counts.unchanged, "refused": counts.refused, "dry_run": dry_run,
    }})
}

fn text(lines: &[Value]) -> Bytes {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.to_string());
        text.push('\n');
    }
    text.into()
}

fn reported(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    let media = HeaderValue::from_static("application/x-ndjson");
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn problem(error: DirectoryError) -> Problem {
    refused::problem(error.into())
}
