//! What every request meets: `X-Request-ID`, the body's rules, and the form of what is refused.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use cedarkeep::http::authzen::EVALUATION;
use cedarkeep::http::problem::{Finding, Plain, Problem};
use cedarkeep::http::{authzen::wire, edge, json as strict};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tower::ServiceExt as _;

use super::{DEADLINE, Service, own};

const LIMIT: usize = 1024 * 1024;

/// The two kinds of route: one of ours and one of AuthZEN's, which both read a body and say that they did.
fn routes(patience: Duration) -> Router {
    let ours = async move |request: Request| -> Result<&'static str, Problem> {
        strict::body(request, patience).await.map(|_| "read")
    };
    let theirs = async move |request: Request| -> Result<&'static str, Plain> {
        let (_question, _detail) = wire::evaluation(strict::body(request, patience).await?)?;
        Ok("read")
    };
    edge(
        Router::new()
            .route("/v1/things", post(ours))
            .route(EVALUATION, post(theirs)),
        LIMIT,
    )
}

async fn sent(request: Request) -> (StatusCode, HeaderMap, String) {
    let response = routes(DEADLINE).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (
        parts.status,
        parts.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

async fn posted(
    path: &str,
    kind: Option<&str>,
    body: impl Into<Body>,
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::post(path);
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    sent(request.body(body.into()).unwrap()).await
}

const JSON: Option<&str> = Some("application/json");
const WHOLE: &str = r#"{"subject":{"type":"User","id":"a"},"action":{"name":"read"},"resource":{"type":"Thread","id":"b"}}"#;

#[tokio::test]
async fn what_is_wrong_with_a_body_is_400_and_never_415_or_422() {
    let long = format!(
        r#"{{"subject":{{"type":"User","id":"{}"}}}}"#,
        "a".repeat(10_000)
    );
    let cases: [(Option<&str>, &str, &str); 12] = [
        (
            None,
            WHOLE,
            "send the body with `Content-Type: application/json`",
        ),
        (
            Some("text/plain"),
            WHOLE,
            "send the body with `Content-Type: application/json`",
        ),
        (
            Some("application/x-www-form-urlencoded"),
            WHOLE,
            "send the body with `Content-Type: application/json`",
        ),
        (JSON, "", "the body is empty; send a JSON object"),
        (JSON, "{", "EOF while parsing an object at line 1 column 1"),
        (JSON, "[]", "the body is not a JSON object"),
        (
            JSON,
            r#"{"a":1,"a":1}"#,
            "member `a` is there twice at line 1 column 10",
        ),
        (JSON, "{}", "`subject` is missing"),
        (
            JSON,
            r#"{"subject":"alice"}"#,
            "`subject` must be an object",
        ),
        (
            JSON,
            r#"{"subject":{"type":"User","id":7}}"#,
            "`subject.id` must be a string",
        ),
        (
            JSON,
            r#"{"subject":{"type":"User","id":"a\u0000"}}"#,
            "`subject.id` must not hold the control character U+0000",
        ),
        (
            JSON,
            &long,
            "`subject.id` is 10000 bytes long, at most 1024 are taken",
        ),
    ];
    for (kind, body, message) in cases {
        let (status, headers, text) = posted(EVALUATION, kind, body.to_owned()).await;
        assert_eq!((status.as_u16(), text.as_str()), (400, message), "{body}");
        assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    }
    assert_eq!(
        posted(EVALUATION, Some("application/json; charset=utf-8"), WHOLE)
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413() {
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(2 * LIMIT));
    let (status, headers, text) = posted(EVALUATION, JSON, body.clone()).await;
    assert_eq!(
        (status.as_u16(), text.as_str()),
        (413, "the body is larger than this service takes")
    );
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    let (status, headers, _) = posted("/v1/things", JSON, body).await;
    assert_eq!(status, 413);
    assert_eq!(headers["content-type"], "application/problem+json");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let (dir, certificates) = own();
    let path = dir.path().join("http.sock");
    let _service = Service::start_at(
        &certificates,
        routes(Duration::from_millis(20)),
        Some(path.clone()),
        DEADLINE,
    );
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let head = "POST /v1/things HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0_u8; 12];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_the_language_of_its_path() {
    let get = |path: &str| sent(Request::get(path).body(Body::empty()).unwrap());
    let (status, headers, text) = get("/v1/none").await;
    assert_eq!(
        (status.as_u16(), &headers["content-type"]),
        (404, &"application/problem+json".parse().unwrap())
    );
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        body,
        json!({
            "type": "urn:cedarkeep:problem:not_found", "title": "Not Found", "status": 404, "code": "not_found",
            "detail": "there is no such thing, or you may not know of it"
        })
    );
    let (status, headers, text) = get("/access/v1/none").await;
    assert_eq!(
        (status.as_u16(), text.as_str()),
        (404, "there is no such thing, or you may not know of it")
    );
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    for path in ["/v1/things", EVALUATION] {
        let (status, headers, _) = get(path).await;
        assert_eq!(
            (status.as_u16(), &headers["allow"]),
            (405, &"POST".parse().unwrap()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_request_id_comes_back_as_it_was_on_every_answer() {
    let ids: [&[u8]; 6] = [
        b"abc-123",
        b"two  words",
        b"",
        b"caf\xc3\xa9\xff",
        &[b'x'; 5000],
        b"\"<script>\"",
    ];
    for id in ids {
        for (path, body, status) in [
            (EVALUATION, WHOLE, 200),
            (EVALUATION, "{", 400),
            ("/none", "", 404),
            ("/v1/things", "{}", 200),
        ] {
            let request = Request::post(path)
                .header("x-request-id", id)
                .header("content-type", "application/json")
                .body(Body::from(body))
                .unwrap();
            let (got, headers, _) = sent(request).await;
            assert_eq!(got, status);
            let echoed: Vec<_> = headers
                .get_all("x-request-id")
                .iter()
                .map(|value| value.as_bytes())
                .collect();
            assert_eq!(echoed, [id]);
        }
    }
    let request = Request::get(EVALUATION)
        .header("X-Request-ID", "1")
        .header("x-request-id", "2");
    let (status, headers, _) = sent(request.body(Body::empty()).unwrap()).await;
    assert_eq!(status, 405);
    assert_eq!(
        headers.get_all("x-request-id").iter().collect::<Vec<_>>(),
        ["1", "2"]
    );
}

#[tokio::test]
async fn a_request_without_an_id_is_given_one() {
    let minted = async || {
        let (_, headers, _) = posted(EVALUATION, JSON, WHOLE).await;
        headers["x-request-id"].to_str().unwrap().to_owned()
    };
    let (first, second) = (minted().await, minted().await);
    assert!(first.starts_with("req_") && first.len() == 30, "{first}");
    assert_ne!(first, second);
}

#[test]
fn each_problem_has_its_status_and_its_headers() {
    let some = || "why".to_owned();
    let cases = [
        (Problem::Malformed(some()), 400),
        (Problem::Findings(some(), Vec::new()), 400),
        (Problem::NoCredential, 401),
        (Problem::BadCredential, 401),
        (Problem::Forbidden(some()), 403),
        (Problem::PlanRequired(some()), 403),
        (Problem::NotFound, 404),
        (Problem::MethodNotAllowed, 405),
        (Problem::TooSlow, 408),
        (Problem::Conflict(some()), 409),
        (Problem::TooLarge, 413),
        (Problem::Encoded, 415),
        (Problem::TooMany(Duration::from_millis(1500)), 429),
        (Problem::Internal, 500),
        (Problem::AuditUnavailable, 503),
        (Problem::Unavailable(some()), 503),
    ];
    for (problem, status) in cases {
        let (ours, theirs) = (
            problem.clone().into_response(),
            Plain(problem.clone()).into_response(),
        );
        for response in [ours, theirs] {
            assert_eq!(response.status().as_u16(), status, "{problem:?}");
            let header = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap())
            };
            let challenge = match problem {
                Problem::NoCredential => Some("Bearer realm=\"cedarkeep\""),
                Problem::BadCredential => {
                    Some("Bearer realm=\"cedarkeep\", error=\"invalid_token\"")
                }
                _ => None,
            };
            let pause = match status {
                429 => Some("2"),
                503 => Some("1"),
                _ => None,
            };
            assert_eq!(
                (header("www-authenticate"), header("retry-after")),
                (challenge, pause),
                "{problem:?}"
            );
            assert_eq!(header("cache-control"), Some("no-store"));
        }
    }
}

#[tokio::test]
async fn an_unrecorded_answer_says_so_in_both_languages() {
    let text = async |response: axum::response::Response| {
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    assert!(
        text(Plain(Problem::AuditUnavailable).into_response())
            .await
            .starts_with("audit_unavailable: ")
    );
    let body: Value =
        serde_json::from_str(&text(Problem::AuditUnavailable.into_response()).await).unwrap();
    assert_eq!(body["code"], "audit_unavailable");
}

#[tokio::test]
async fn findings_keep_their_places() {
    let finding = Finding {
        message: "unexpected token".to_owned(),
        file: Some("a.cedar".to_owned()),
        line: Some(3),
        column: Some(9),
        help: None,
    };
    let response =
        Problem::Findings("the policies do not parse".to_owned(), vec![finding]).into_response();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        body["findings"],
        json!([{"message": "unexpected token", "file": "a.cedar", "line": 3, "column": 9}])
    );
}

/// A browser keeps nothing of what was answered to a request with a cookie, unless the route itself has said for how long.
#[tokio::test]
async fn what_a_browser_is_told_is_not_kept_by_it() {
    let kept = async || [("cache-control", "public, max-age=3600")];
    let routes = edge(
        Router::new()
            .route("/plain", get(async || "told"))
            .route("/kept", get(kept)),
        LIMIT,
    );
    let told = async |path: &str, cookie: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = routes.clone().oneshot(request).await.unwrap();
        let says = answer.headers().get("cache-control").cloned();
        says.map(|says| says.to_str().unwrap().to_owned())
    };
    assert_eq!(told("/plain", None).await, None);
    for cookie in ["__Host-sid=abc", "other=1", ""] {
        let says = told("/plain", Some(cookie)).await;
        assert_eq!(says.as_deref(), Some("no-store"), "{cookie:?}");
    }
    for cookie in [None, Some("__Host-sid=abc")] {
        let says = told("/kept", cookie).await;
        assert_eq!(says.as_deref(), Some("public, max-age=3600"));
    }
    // What is not there at all is told by the same layer.
    let says = told("/nowhere", Some("__Host-sid=abc")).await;
    assert_eq!(says.as_deref(), Some("no-store"));
}
